//! Very many watches over a broken connection: all armed again, in frames that the server takes,
//! and each fires exactly once.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use zookeeper_blocking::{Client, EventKind, Transaction, Version, op};

use crate::faults::{connect, figure};
use crate::support::calm::undisturbed;
use crate::support::proxy::{Kind, Proxy, Seen, Way};
use crate::support::server::Server;
use crate::support::wait::eventually;
use crate::support::wire;

/// How often each watch was called, and with what at last.
#[derive(Debug)]
struct Calls {
    by_watch: Vec<AtomicUsize>,
    wrong: AtomicUsize,
    total: AtomicUsize,
}

impl Calls {
    fn new(count: usize) -> Arc<Self> {
        Arc::new(Self {
            by_watch: (0..count).map(|_| AtomicUsize::new(0)).collect(),
            wrong: AtomicUsize::new(0),
            total: AtomicUsize::new(0),
        })
    }

    fn total(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }
}

/// Even ones are there when they are watched, odd ones are not. Long names, as in real life.
fn path(number: usize) -> String {
    format!("/services/production/some-service-with-a-long-name/instances/{number:08}-of-all")
}

fn create_parents(client: &Client) {
    let path = path(0);
    let ends = path.match_indices('/').map(|(at, _)| at).skip(1);
    for end in ends {
        client.create(&path[..end], b"", Default::default()).expect("an empty server");
    }
}

/// Commits `make` of all numbers, some hundreds at a time, many at once.
fn commit_all(
    client: &Client,
    numbers: impl Iterator<Item = usize>,
    make: impl Fn(Transaction<'static>, String) -> Transaction<'static>,
) {
    let numbers: Vec<usize> = numbers.collect();
    let pending: Vec<_> = numbers
        .chunks(500)
        .map(|chunk| {
            let transaction =
                chunk.iter().fold(Transaction::new(), |all, number| make(all, path(*number)));
            client.submit(transaction).expect("room")
        })
        .collect();
    for pending in pending {
        pending.wait().expect("nothing in the way");
    }
}

/// Sets one-shot watches with callbacks, all in flight at once.
fn watch_all(client: &Client, numbers: Range<usize>, calls: &Arc<Calls>) {
    let start = Instant::now();
    let pending: Vec<_> = numbers
        .clone()
        .map(|number| {
            let calls = Arc::clone(calls);
            let due = if number % 2 == 0 { EventKind::Deleted } else { EventKind::Created };
            let exists = op::Exists::new(path(number)).watch(move |event| {
                let right = event.kind == due && *event.path == path(number);
                calls.wrong.fetch_add(usize::from(!right), Ordering::Relaxed);
                calls.by_watch[number].fetch_add(1, Ordering::Relaxed);
                calls.total.fetch_add(1, Ordering::Relaxed);
            });
            client.submit(exists).expect("room")
        })
        .collect();
    for (number, pending) in numbers.clone().zip(pending) {
        let there = pending.wait().expect("nothing in the way").is_some();
        assert_eq!(there, number % 2 == 0);
    }
    let count = numbers.len();
    figure(&format!("{count} watches set, pipelined, through the proxy"), start.elapsed());
}

fn set_watches(proxy: &Proxy) -> Vec<Seen> {
    let is = |seen: &Seen| {
        seen.way == Way::ToServer
            && matches!(seen.kind, Kind::Op(wire::op::SET_WATCHES | wire::op::SET_WATCHES2))
    };
    proxy.seen().into_iter().filter(is).collect()
}

/// Cuts, and measures until the first answered call, which the server gives after it has armed all
/// again; looks at the frames that did it.
fn measure_cut(client: &Client, proxy: &Proxy) {
    let (id, count) = (client.session_id(), client.watch_count());
    proxy.reset_counts();
    let start = Instant::now();
    proxy.cut();
    while client.exists("/").is_err() {}
    figure(&format!("{count} watches: cut to first answered call"), start.elapsed());
    assert_eq!((client.session_id(), client.watch_count()), (id, count));
    let frames = set_watches(proxy);
    let bytes: usize = frames.iter().map(|seen| seen.bytes).sum();
    for seen in &frames {
        // The limit is on the encoded watches; length, header, zxid and counts are around it.
        assert!(seen.bytes <= 128 * 1024 + 64, "a frame of {} bytes", seen.bytes);
    }
    assert!(bytes >= count * path(0).len(), "{bytes} bytes cannot hold {count} watches");
    figure(&format!("{count} watches: frames and bytes of SetWatches"), (frames.len(), bytes));
}

#[test]
fn b2_100_000_watches_survive_cuts_and_each_fires_once() {
    const COUNT: usize = 100_000;
    const MISSED: usize = 1_000;
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    // All are in flight at once: on a busy machine the last answer takes its time.
    let patient = |at: &str| {
        let client = connect(at, Duration::from_secs(10));
        client.with_timeout(Duration::from_secs(120))
    };
    let client = patient(&proxy.connect_string());
    let other = patient(&server.connect_string());
    create_parents(&other);
    let (even, odd) = ((0..COUNT).step_by(2), (1..COUNT).step_by(2));
    commit_all(&other, even.clone(), |all, path| all.create(path, b""));
    let calls = Calls::new(COUNT);
    watch_all(&client, 0..10_000, &calls);
    measure_cut(&client, &proxy);
    watch_all(&client, 10_000..COUNT, &calls);
    assert_eq!(client.watch_count(), COUNT);
    let id = client.session_id();

    // Some change while nobody listens: that is told with the arming. The proxy refuses, so that
    // the client cannot be back before.
    proxy.refuse();
    proxy.cut();
    eventually("the client has noticed", Duration::from_secs(5), || !client.state().is_connected());
    commit_all(&other, even.clone().take(MISSED), |all, path| all.delete(path, Version::Any));
    commit_all(&other, odd.clone().take(MISSED), |all, path| all.create(path, b""));
    proxy.accept();
    client.exists("/").expect("back");
    eventually("what was missed is told", Duration::from_secs(10), || calls.total() >= 2 * MISSED);
    assert_eq!(calls.total(), 2 * MISSED);

    measure_cut(&client, &proxy);
    assert_eq!(client.session_id(), id);

    let start = Instant::now();
    commit_all(&other, even.skip(MISSED), |all, path| all.delete(path, Version::Any));
    commit_all(&other, odd.skip(MISSED), |all, path| all.create(path, b""));
    eventually("all watches fire", Duration::from_secs(60), || calls.total() >= COUNT);
    figure("98,000 nodes changed and their watches heard", start.elapsed());
    // Everything that the server has sent by now has been handled once this is answered.
    client.exists("/").expect("connected");
    let with = |wanted: fn(usize) -> bool| {
        let all = calls.by_watch.iter().map(|n| n.load(Ordering::Relaxed));
        all.filter(|n| wanted(*n)).count()
    };
    assert_eq!((with(|n| n == 0), with(|n| n > 1)), (0, 0), "never, twice");
    assert_eq!(calls.wrong.load(Ordering::Relaxed), 0);
    assert_eq!((client.watch_count(), calls.total()), (0, COUNT));
}

#[test]
fn cut_client_without_watches_is_back_at_once() {
    undisturbed(|| {
        let chroot = crate::support::server::fresh_chroot();
        let proxy = Proxy::start(chroot.server().address());
        let client = connect(&proxy.connect_string(), Duration::from_secs(10));
        let mut times: Vec<Duration> = (0..5)
            .map(|_| {
                // Long enough connected that the next search starts at once.
                std::thread::sleep(Duration::from_millis(1_050));
                let start = Instant::now();
                proxy.cut();
                while client.exists("/").is_err() {}
                start.elapsed()
            })
            .collect();
        times.sort();
        figure("cut to first answered call, no watches, median of 5", times[2]);
        assert!(times[2] < Duration::from_millis(200), "{times:?}");
    });
}
