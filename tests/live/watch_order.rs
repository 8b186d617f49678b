//! Events come before the data that they announce, and nothing of the end is missed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;

use zookeeper_blocking::{CreateMode, EventKind, Version, WatchWait, op};

use crate::clients::{client, patience};
use crate::support::server::fresh_chroot;

#[test]
fn b3_event_is_queued_before_the_new_data_is_returned() {
    let chroot = fresh_chroot();
    let (zk, writer) = (client(&chroot), client(&chroot));
    zk.create("/a", "", CreateMode::Persistent).expect("new");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                writer.set_data("/a", "x", Version::Any).expect("there");
            }
        });
        let _stopped_at_last = Stop(&stop);
        for round in 0..300 {
            let (_, seen, watch) = zk.watch_data("/a").expect("there");
            let mut event = None;
            loop {
                let (_, now) = zk.get_data("/a").expect("there");
                // It may come alone, behind an answer of before it.
                event = event.or_else(|| watch.try_recv().ok());
                if now.version > seen.version {
                    let event = event.expect("the event came first");
                    assert_eq!(event.kind, EventKind::DataChanged, "round {round}");
                    break;
                }
            }
        }
    });
}

/// Ends the writer however the reader ends.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn b3_completions_and_events_share_one_order() {
    let chroot = fresh_chroot();
    let (zk, writer) = (client(&chroot), client(&chroot));
    zk.create("/a", "", CreateMode::Persistent).expect("new");
    /// What the event thread ran, in order.
    #[derive(Debug)]
    enum Ran {
        Event,
        Read(i32),
    }
    let (tell, told) = channel();
    let telling = tell.clone();
    zk.add_watch_with("/a", zookeeper_blocking::WatchMode::Persistent, move |event| {
        if event.kind == EventKind::DataChanged {
            let _ = telling.send(Ran::Event);
        }
    })
    .expect("there");
    let writes = 300;
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..writes {
                writer.set_data("/a", "x", Version::Any).expect("there");
            }
        });
        let (mut events, mut version) = (0, 0);
        while version < writes {
            let tell = tell.clone();
            zk.submit_with(op::GetData::new("/a"), move |read| {
                let (_, stat) = read.expect("there");
                let _ = tell.send(Ran::Read(stat.version));
            })
            .expect("room");
            loop {
                match told.recv_timeout(patience()).expect("something runs") {
                    Ran::Event => events += 1,
                    Ran::Read(read) => {
                        // As many events as writes that the read has seen: no fewer, as each
                        // comes before its data; no more, as none is ahead of its time.
                        assert_eq!(events, read);
                        version = read;
                        break;
                    }
                }
            }
        }
    });
}

#[test]
fn pipelined_answers_come_in_the_order_of_submission() {
    let zk = client(&fresh_chroot());
    zk.create("/a", "", CreateMode::Persistent).expect("new");
    let (tell, told) = channel();
    let mut pending = Vec::new();
    for n in 0..1_000 {
        pending.push(zk.submit(op::SetData::new("/a", "x").version(2 * n)).expect("room"));
        let tell = tell.clone();
        zk.submit_with(op::SetData::new("/a", "x").version(2 * n + 1), move |stat| {
            let _ = tell.send(stat.map(|stat| stat.version));
        })
        .expect("room");
    }
    // Waited for in another order than submitted.
    for (n, pending) in pending.into_iter().enumerate().rev() {
        let stat = pending.wait().expect("in order");
        assert_eq!(stat.version, 2 * n as i32 + 1);
    }
    for n in 0..1_000 {
        let version = told.recv_timeout(patience()).expect("a completion");
        assert_eq!(version.expect("in order"), 2 * n + 2);
    }
}

#[test]
fn b5_last_of_many_writes_is_seen() {
    let chroot = fresh_chroot();
    let (zk, writer) = (client(&chroot), client(&chroot));
    zk.create("/a", "0", CreateMode::Persistent).expect("new");
    let writes = 5_000;
    let (go, going) = channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            going.recv().expect("told to go");
            let write = |n: i32| op::SetData::new("/a", n.to_string());
            let all: Vec<_> =
                (1..=writes).map(|n| writer.submit(write(n)).expect("room")).collect();
            for pending in all {
                pending.wait().expect("there");
            }
        });
        let mut rounds = 0;
        loop {
            let (data, _, watch) = zk.watch_data("/a").expect("there");
            if rounds == 0 {
                go.send(()).expect("the writer waits");
            }
            if data == writes.to_string().into_bytes() {
                assert_eq!(watch.try_recv(), Err(WatchWait::Empty));
                break;
            }
            rounds += 1;
            watch.recv_timeout(patience()).expect("the next write");
        }
        assert!(rounds > 0, "there was nothing to be seen");
    });
}
