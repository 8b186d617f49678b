//! What user code may do on the event thread: block, panic, call the client, close it, drop its
//! last handle.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use zookeeper_blocking::{Client, CreateMode, EventKind, Version, WatchMode, op};

use crate::clients::{client, patience, soon};
use crate::support::calm::undisturbed;
use crate::support::process;
use crate::support::server::fresh_chroot;
use crate::support::wait::eventually;

#[track_caller]
fn next<T>(told: &Receiver<T>) -> T {
    told.recv_timeout(patience()).expect("the callback runs")
}

#[test]
fn d1_callback_that_blocks_holds_up_nobody_but_later_callbacks() {
    undisturbed(|| {
        let chroot = fresh_chroot();
        let zk = Client::builder(&chroot.connect_string())
            .session_timeout(Duration::from_secs(1))
            .connect()
            .expect("serves");
        let id = zk.session_id();
        assert_eq!(zk.session_timeout(), Duration::from_secs(1));
        zk.create("/a", "", CreateMode::Ephemeral).expect("new");
        let (release, held) = channel::<()>();
        let (tell, told) = channel();
        zk.call(op::Exists::new("/a").watch(move |_| {
            let _ = tell.send(());
            let _ = held.recv();
        }))
        .expect("serves");
        let watch = zk.add_watch("/a", WatchMode::Persistent).expect("there");
        zk.set_data("/a", "", Version::Any).expect("there");
        next(&told);
        // Blocked from here on, for longer than the session lives without pings.
        let start = Instant::now();
        let (done, completed) = channel();
        zk.submit_with(op::Exists::new("/a"), move |_| {
            let _ = done.send(());
        })
        .expect("room");
        while start.elapsed() < Duration::from_millis(1500) {
            zk.set_data("/a", "", Version::Any).expect("others go on");
            let event = watch.recv_timeout(patience()).expect("handles go on");
            assert_eq!(event.kind, EventKind::DataChanged);
            thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(completed.try_recv().ok(), None);
        drop(release);
        next(&completed);
        assert_eq!(zk.session_id(), id);
        assert_eq!(zk.exists("/a").expect("serves").map(|stat| stat.ephemeral_owner), Some(id));
    });
}

#[test]
fn d2_callback_that_panics_takes_nothing_down() {
    let zk = client(&fresh_chroot());
    zk.create("/a", "", CreateMode::Persistent).expect("new");
    let (tell, told) = channel();
    let mut count = 0;
    zk.add_watch_with("/a", WatchMode::Persistent, move |_| {
        count += 1;
        let _ = tell.send(count);
        panic!("on purpose, {count}");
    })
    .expect("there");
    let listener = zk.add_listener(|state| panic!("on purpose, {state}"));
    for n in 1..4 {
        zk.submit_with(op::Exists::new("/a"), |_| panic!("on purpose")).expect("room");
        zk.set_data("/a", "", Version::Any).expect("there");
        assert_eq!(next(&told), n);
    }
    let (done, completed) = channel();
    zk.submit_with(op::Exists::new("/a"), move |_| {
        let _ = done.send(());
    })
    .expect("room");
    next(&completed);
    // Hears `Closed`, and its panic is the last of four kinds.
    zk.close().expect("serves");
    assert_eq!(next(&told), 4);
    drop(listener);
}

#[test]
fn d3_callback_may_make_calls_that_block_and_set_watches() {
    let zk = client(&fresh_chroot());
    zk.create("/a", "0", CreateMode::Persistent).expect("new");
    let (tell, told) = channel();
    let weak = zk.downgrade();
    // Arms itself again, and reads, each time.
    fn again(zk: &Client, tell: std::sync::mpsc::Sender<Vec<u8>>) {
        let weak = zk.downgrade();
        let telling = tell.clone();
        let callback = move |event: zookeeper_blocking::WatchedEvent| {
            if let (EventKind::DataChanged, Some(zk)) = (event.kind, weak.upgrade()) {
                again(&zk, tell);
            }
        };
        let (data, _) = zk.call(op::GetData::new("/a").watch(callback)).expect("there");
        let _ = telling.send(data);
    }
    again(&zk, tell);
    assert_eq!(next(&told), b"0");
    for n in 1..20 {
        zk.set_data("/a", n.to_string(), Version::Any).expect("there");
        assert_eq!(next(&told), n.to_string().into_bytes());
    }
    // Handles may be waited on even there: their events come past the event thread.
    let (tell, told) = channel();
    zk.submit_with(op::Exists::new("/a"), move |_| {
        let zk = weak.upgrade().expect("the test has a handle");
        let (_, _, watch) = zk.watch_data("/a").expect("there");
        zk.set_data("/a", "x", Version::Any).expect("there");
        let pending = zk.submit(op::Sync::new("/a")).expect("room");
        let event = watch.recv_timeout(patience());
        let _ = tell.send((event.is_ok(), pending.wait().is_ok()));
    })
    .expect("room");
    assert_eq!(next(&told), (true, true));
}

#[test]
fn d4_callback_may_close_the_client() {
    let zk = client(&fresh_chroot());
    zk.create("/a", "", CreateMode::Persistent).expect("new");
    let other = zk.clone();
    let (tell, told) = channel();
    let start = Instant::now();
    let callback = move |event: zookeeper_blocking::WatchedEvent| {
        let _ = tell.send((event.kind, other.close()));
    };
    zk.call(op::GetData::new("/a").watch(callback)).expect("there");
    zk.set_data("/a", "", Version::Any).expect("there");
    let (kind, closed) = next(&told);
    assert_eq!(kind, EventKind::DataChanged);
    closed.expect("the server acknowledges");
    zk.close().expect("closed already");
    assert!(zk.exists("/a").is_err());
    assert!(start.elapsed() < soon(), "{:?}", start.elapsed());
    let none = told.recv_timeout(patience());
    assert_eq!(none.map(|(kind, _)| kind), Err(RecvTimeoutError::Disconnected));
}

#[test]
fn d4_callback_may_drop_the_last_handle() {
    process::alone("callbacks::d4_callback_may_drop_the_last_handle", || {
        let own = || process::thread_names().iter().filter(|name| name.starts_with("zk-")).count();
        let zk = client(&fresh_chroot());
        zk.create("/own", "", CreateMode::Ephemeral).expect("new");
        // A thread gives itself its name.
        eventually("both threads run", patience(), || own() >= 2);
        let (go, gone) = channel::<()>();
        let (tell, told) = channel();
        let last = zk.clone();
        zk.submit_with(op::Exists::new("/own"), move |_| {
            let _ = gone.recv();
            drop(last);
            let _ = tell.send(());
        })
        .expect("room");
        drop(zk);
        drop(go);
        next(&told);
        eventually("the threads are gone", Duration::from_secs(1), || own() == 0);
    });
}
