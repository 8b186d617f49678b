//! How clients end, on purpose or not, and that nothing is left of them.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use zookeeper_blocking::SessionState::{Closed, Disconnected};
use zookeeper_blocking::{Client, Error, Pending, WatchMode, op as ops};

use crate::answers::{States, hurried, soon, yes_server};
use crate::support::calm::undisturbed;
use crate::support::ports::SilentPort;
use crate::support::process;
use crate::support::proxy::Proxy;
use crate::support::scripted::Scripted;
use crate::support::wait::{eventually, scaled};
use crate::support::wire::op;

const SECOND: Duration = Duration::from_secs(1);

/// A server that grants sessions and answers nothing, not even the end.
fn mute_server() -> Scripted {
    Scripted::start(|_, peer| {
        peer.handshake();
        peer.hang();
    })
}

fn submit(client: &Client, count: usize) -> Vec<Pending<(Vec<u8>, zookeeper_blocking::Stat)>> {
    (0..count).map(|_| client.submit(ops::GetData::new("/a")).expect("queued")).collect()
}

/// Closes, and gives how long it took.
fn close(client: &Client) -> (Result<(), Error>, Duration) {
    let start = Instant::now();
    let result = client.close();
    (result, start.elapsed())
}

#[test]
fn d5_close_sends_what_was_submitted_before() {
    let server = yes_server();
    let builder = hurried(&server.connect_string()).close_timeout(scaled(20 * SECOND));
    let client = builder.connect().expect("connects");
    let pending = submit(&client, 1_000);
    let (result, took) = close(&client);
    result.expect("acknowledged");
    assert!(took <= soon(), "{took:?}");
    assert!(pending.into_iter().all(|pending| pending.wait().is_ok()));
    assert_eq!(server.received_of(op::CLOSE_SESSION).len(), 1);
}

#[test]
fn d5_close_with_a_mute_server_completes_every_waiter() {
    undisturbed(|| {
        let server = mute_server();
        let client = hurried(&server.connect_string())
            .close_timeout(scaled(SECOND / 2))
            .connect()
            .expect("connects");
        let pending = submit(&client, 100);
        let (sender, done) = mpsc::channel();
        client
            .submit_with(ops::GetData::new("/a"), move |result| drop(sender.send(result)))
            .expect("queued");
        let waiting = thread::spawn({
            let client = client.clone();
            move || client.get_data("/b")
        });
        server.wait_for(op::GET_DATA, 102);
        let (result, took) = close(&client);
        assert!(
            matches!(result, Err(Error::ConnectionLoss { .. })),
            "nobody acknowledged: {result:?}"
        );
        assert!(took <= soon(), "{took:?}");
        for pending in pending {
            let error = pending.wait().expect_err("never answered");
            assert!(matches!(error, Error::Closed { sent: true, .. }), "{error}");
        }
        let error = waiting.join().expect("no panic").expect_err("never answered");
        assert!(matches!(error, Error::Closed { .. }), "{error}");
        let error = done.recv().expect("exactly once").expect_err("never answered");
        assert!(matches!(error, Error::Closed { sent: true, .. }), "{error}");
    });
}

#[test]
fn d5_close_twice_and_from_many_threads_at_once() {
    let server = yes_server();
    let builder = hurried(&server.connect_string()).close_timeout(scaled(20 * SECOND));
    let client = builder.connect().expect("connects");
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let client = client.clone();
            thread::spawn(move || close(&client))
        })
        .collect();
    for thread in threads {
        let (result, took) = thread.join().expect("no panic");
        result.expect("the same answer for all");
        assert!(took <= soon(), "{took:?}");
    }
    let (again, took) = close(&client);
    again.expect("once closed, closed");
    assert!(took <= soon(), "{took:?}");
    assert_eq!(server.received_of(op::CLOSE_SESSION).len(), 1);
    assert_eq!(client.state(), Closed);
    assert!(matches!(client.get_data("/a"), Err(Error::Closed { sent: false, .. })));
    assert!(matches!(client.add_auth("a", "b"), Err(Error::Closed { .. })));
    assert!(matches!(client.set_hosts("h:1"), Err(Error::Closed { .. })));
    assert!(client.subscribe().is_err() && client.session().is_err());
}

#[test]
fn d5_close_while_disconnected_or_dialing_keeps_its_limit() {
    undisturbed(|| {
        let silent = SilentPort::new();
        for black_hole in [false, true] {
            let server = Scripted::start(|number, peer| {
                if number == 0 {
                    peer.handshake();
                    peer.expect(op::SYNC);
                }
                peer.close();
            });
            let (builder, mut states) =
                States::of(hurried(&server.connect_string()).close_timeout(scaled(SECOND)));
            let client = builder.connect().expect("connects");
            if black_hole {
                client.set_hosts(&silent.address().to_string()).expect("a list");
            } else {
                client.sync("/").expect_err("cut");
            }
            states.wait_for(Disconnected);
            let pending = submit(&client, 10);
            let (result, took) = close(&client);
            assert!(matches!(result, Err(Error::ConnectionLoss { .. })), "{result:?}");
            assert!(took <= scaled(SECOND) + soon(), "{took:?}");
            for pending in pending {
                let error = pending.wait().expect_err("never sent");
                assert!(matches!(error, Error::Closed { sent: false, .. }), "{error}");
            }
        }
    });
}

#[test]
fn d5_close_into_a_black_hole_keeps_its_limit() {
    let server = yes_server();
    let proxy = Proxy::start(server.address());
    let client = hurried(&proxy.connect_string()).connect().expect("connects");
    proxy.black_hole();
    let pending = submit(&client, 10);
    let limit = scaled(SECOND / 2);
    let start = Instant::now();
    assert!(client.close_timeout(limit).is_err());
    let took = start.elapsed();
    assert!(took <= limit + soon(), "{took:?}");
    assert!(pending.into_iter().all(|pending| pending.wait().is_err()));
}

#[test]
fn d5_close_with_a_full_queue_wakes_those_who_wait_for_room() {
    let server = mute_server();
    let client = hurried(&server.connect_string())
        .max_in_flight(5)
        .close_timeout(scaled(SECOND / 2))
        .connect()
        .expect("connects");
    let _full = submit(&client, 5);
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let client = client.clone();
            thread::spawn(move || client.get_data("/a"))
        })
        .collect();
    thread::sleep(Duration::from_millis(50));
    let (_, took) = close(&client);
    assert!(took <= soon(), "{took:?}");
    let start = Instant::now();
    for waiting in waiting {
        let error = waiting.join().expect("no panic").expect_err("no room, and then closed");
        assert!(matches!(error, Error::Closed { .. }), "{error}");
    }
    assert!(start.elapsed() <= soon(), "{:?}", start.elapsed());
}

#[test]
fn d5_failed_connect_leaves_no_thread_and_no_descriptor() {
    process::alone("ending::d5_failed_connect_leaves_no_thread_and_no_descriptor", || {
        let silent = SilentPort::new();
        let mute = Scripted::start(|_, peer| peer.hang());
        let hosts = format!("{},{}", silent.address(), mute.address());
        let before = (process::threads(), process::descriptors());
        for _ in 0..5 {
            let limit = Duration::from_millis(100);
            let error = hurried(&hosts).connect_timeout(limit).connect().expect_err("nobody");
            assert!(matches!(error, Error::Connect { .. }), "{error}");
        }
        drop(mute);
        eventually("nothing is left", 5 * SECOND, || {
            let now = (process::threads(), process::descriptors());
            // The server is gone too: its acceptor, its listener.
            now.0 < before.0 && now.1 < before.1
        });
        let names = process::thread_names();
        assert!(!names.iter().any(|name| name.starts_with("zk-")), "{names:?}");
    });
}

#[test]
fn d6_handles_may_be_dropped_in_any_order_by_any_thread() {
    let server = yes_server();
    // Every order of six things, cut to 60 by taking every twelfth.
    for seed in (0..720).step_by(12) {
        let client = hurried(&server.connect_string()).connect().expect("connects");
        let (sender, heard) = mpsc::channel();
        let things: Vec<Box<dyn Send>> = vec![
            Box::new(client.clone()),
            Box::new(client.watch_data("/a").expect("yes").2),
            Box::new(client.add_watch("/b", WatchMode::Recursive).expect("yes")),
            Box::new(client.submit(ops::GetData::new("/c")).expect("queued")),
            Box::new(client.add_listener(move |state| {
                let _ = sender.send(state);
            })),
            Box::new((client.session().expect("a session"), client.downgrade())),
        ];
        let weak = client.downgrade();
        let mut things: Vec<_> = things.into_iter().map(Some).collect();
        drop(client);
        let mut code = seed;
        let mut threads = Vec::new();
        for left in (1..=things.len()).rev() {
            let at = code % left;
            code /= left;
            let thing = things.remove(at);
            // Three threads, and now and then one waits for another.
            threads.push(thread::spawn(move || drop(thing)));
            if threads.len() == 3 {
                threads.drain(..).for_each(|thread| thread.join().expect("no panic"));
            }
        }
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        assert!(weak.upgrade().is_none(), "{seed}");
        drop(heard);
    }
    eventually("every session was closed", 5 * SECOND, || {
        server.received_of(op::CLOSE_SESSION).len() == 60
    });
}

#[test]
fn d6_last_handle_dropped_in_a_callback_closes_the_session() {
    let server = yes_server();
    let client = hurried(&server.connect_string()).connect().expect("connects");
    let own = client.clone();
    client.submit_with(ops::GetData::new("/a"), move |_| drop(own)).expect("queued");
    drop(client);
    server.wait_for(op::CLOSE_SESSION, 1);
}
