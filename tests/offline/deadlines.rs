//! Every call ends in time, whatever the network does, and the session is kept alive meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use zookeeper_blocking::SessionState::{Connected, Disconnected};
use zookeeper_blocking::{
    Acl, Applied, Client, CreateMode, Error, Permissions, Transaction, Version, WatchMode,
    WatcherType, WhenFull, op as ops,
};

use crate::answers::{States, hurried, serve_yes, soon, yes, yes_server};
use crate::support::calm::undisturbed;
use crate::support::ports::SilentPort;
use crate::support::proxy::{Proxy, Way};
use crate::support::scripted::{Scripted, reply};
use crate::support::wait::{eventually, scaled};
use crate::support::wire::{Out, Stat, op};

const SECOND: Duration = Duration::from_secs(1);

type Call = (&'static str, fn(&Client) -> Result<(), Error>);

/// Every call that waits for a server.
fn calls() -> Vec<Call> {
    vec![
        ("create", |c| c.create("/n", b"", CreateMode::Persistent).map(drop)),
        ("create ttl", |c| c.call(ops::Create::new("/n").ttl(SECOND)).map(drop)),
        ("delete", |c| c.delete("/n", Version::Any)),
        ("exists", |c| c.exists("/n").map(drop)),
        ("get_data", |c| c.get_data("/n").map(drop)),
        ("set_data", |c| c.set_data("/n", "x", 1).map(drop)),
        ("get_acl", |c| c.get_acl("/n").map(drop)),
        ("set_acl", |c| {
            let everybody = Acl::new(Permissions::ALL, "world", "anyone");
            c.set_acl("/n", [everybody], 1).map(drop)
        }),
        ("get_children", |c| c.get_children("/n").map(drop)),
        ("get_children_with_stat", |c| c.get_children_with_stat("/n").map(drop)),
        ("sync", |c| c.sync("/n")),
        ("check", |c| c.check("/n", 1)),
        ("transaction", |c| c.call(Transaction::new().check("/n", 1)).map(drop)),
        ("multi_read", |c| c.call(ops::MultiRead::new().get_data("/n")).map(drop)),
        ("get_ephemerals", |c| c.get_ephemerals("/n").map(drop)),
        ("get_all_children_number", |c| c.get_all_children_number("/n").map(drop)),
        ("who_am_i", |c| c.who_am_i().map(drop)),
        ("get_config", |c| c.get_config().map(drop)),
        ("reconfig", |c| c.call(ops::Reconfig::new().leaving("9")).map(drop)),
        ("watch_data", |c| c.watch_data("/n").map(drop)),
        ("watch_exists", |c| c.watch_exists("/n").map(drop)),
        ("watch_children", |c| c.watch_children("/n").map(drop)),
        ("add_watch", |c| c.add_watch("/n", WatchMode::Recursive).map(drop)),
        ("remove_watches", |c| c.remove_watches("/n", WatcherType::Any)),
        ("ensure_path", |c| c.ensure_path("/n/m")),
        ("delete_recursive", |c| c.delete_recursive("/n").map(drop)),
        ("submit", |c| c.submit(ops::GetData::new("/n"))?.wait().map(drop)),
        ("submit_with", |c| {
            let (sender, done) = std::sync::mpsc::channel();
            c.submit_with(ops::GetData::new("/n"), move |r| drop(sender.send(r.map(drop))))?;
            done.recv().expect("exactly once")
        }),
        ("add_auth", |c| c.add_auth("digest", "a:b")),
    ]
}

/// All calls at once, each in a thread of its own.
#[track_caller]
fn all_end_in_time(state: &str, client: &Client) {
    let limit = scaled(SECOND / 4);
    let threads: Vec<_> = calls()
        .into_iter()
        .map(|(name, call)| {
            let client = client.with_timeout(limit);
            let run = move || {
                let start = Instant::now();
                let result = call(&client);
                (name, result, start.elapsed())
            };
            thread::spawn(run)
        })
        .collect();
    for thread in threads {
        let (name, result, took) = thread.join().expect("no panic");
        let error = result.expect_err(name);
        assert!(
            matches!(error, Error::Timeout { .. } | Error::ConnectionLoss { .. }),
            "{state}, {name}: {error}"
        );
        // The promise is 100 ms; another 100 for thirty threads on a busy machine.
        let late = took.saturating_sub(limit);
        assert!(late <= scaled(SECOND / 5), "{state}, {name}: {late:?} late");
    }
}

#[test]
fn d13_every_call_ends_by_its_deadline_in_every_fault() {
    type Fault = fn(&Proxy);
    let faults: [(&str, Fault); 6] = [
        ("black hole", |proxy| proxy.black_hole()),
        ("requests held", |proxy| proxy.hold(Way::ToServer)),
        ("replies lost", |proxy| proxy.lose(Way::ToClient)),
        ("refused", |proxy| {
            proxy.refuse();
            proxy.cut();
        }),
        ("handshakes swallowed", |proxy| {
            proxy.black_hole();
            proxy.cut();
        }),
        ("slow line", |proxy| proxy.delay(Way::ToServer, Duration::from_secs(60))),
    ];
    let server = yes_server();
    for (name, fault) in faults {
        undisturbed(|| {
            let proxy = Proxy::start(server.address());
            let client = hurried(&proxy.connect_string()).connect().expect("connects");
            fault(&proxy);
            all_end_in_time(name, &client);
            drop(proxy);
            let _ = client.close_timeout(Duration::ZERO);
        });
    }
}

#[test]
fn d13_every_call_ends_by_its_deadline_when_the_host_is_gone() {
    undisturbed(|| {
        let server = Scripted::start(|_, peer| {
            peer.handshake();
            peer.expect(op::SYNC);
            peer.close();
        });
        let silent = SilentPort::new();
        let (builder, mut states) = States::of(hurried(&server.connect_string()));
        let client = builder.connect().expect("connects");
        client.set_hosts(&silent.address().to_string()).expect("a list");
        states.wait_for(Disconnected);
        all_end_in_time("silent host", &client);
    });
}

#[test]
fn d13_deadline_tells_whether_the_request_was_sent() {
    let server = Scripted::start(|_, peer| {
        peer.handshake();
        peer.hang();
    });
    let proxy = Proxy::start(server.address());
    let (builder, mut states) = States::of(hurried(&proxy.connect_string()));
    let client = builder.connect().expect("connects");
    // Time enough to be sent, and little enough for the connection to outlive it.
    let patient = client.with_timeout(scaled(2 * SECOND));
    let error = patient.set_data("/a", "x", 1).expect_err("no answer");
    assert!(matches!(error, Error::Timeout { sent: true, .. }), "{error}");
    assert_eq!(error.applied(), Applied::Unknown);
    // Given up or not, it is on its way.
    server.wait_for(op::SET_DATA, 1);
    let quick = client.with_timeout(scaled(SECOND / 10));
    proxy.refuse();
    proxy.cut();
    states.wait_for(Disconnected);
    let error = quick.set_data("/a", "x", 1).expect_err("no connection");
    assert!(matches!(error, Error::Timeout { sent: false, .. }), "{error}");
    assert_eq!(error.applied(), Applied::No);
    proxy.accept();
    states.wait_for(Connected);
    thread::sleep(Duration::from_millis(50));
    assert_eq!(server.received_of(op::SET_DATA).len(), 1, "given up means never sent");
}

#[test]
fn d13_waits_on_a_pending_keep_their_own_time() {
    let server = Scripted::start(|_, peer| {
        peer.handshake();
        let get = peer.expect(op::GET_DATA);
        peer.expect(op::SYNC);
        let (zxid, err, body) = yes(&get);
        peer.reply_with(get.xid, zxid, err, &body);
        peer.hang();
    });
    let client = hurried(&server.connect_string()).connect().expect("connects");
    let pending = client.submit(ops::GetData::new("/a")).expect("queued");
    let start = Instant::now();
    let pending = pending.wait_timeout(scaled(SECOND / 10)).expect_err("not there yet");
    assert!(start.elapsed() >= scaled(SECOND / 10));
    let pending = pending.try_wait().expect_err("not there yet");
    let _go = client.submit(ops::Sync::new("/")).expect("queued");
    assert_eq!(pending.wait().expect("there").0, b"x");
}

#[test]
fn d12_requests_are_bounded_while_disconnected_and_keep_their_order() {
    const BOUND: usize = 1_000;
    let server = yes_server();
    for when in [WhenFull::Fail, WhenFull::Wait] {
        let proxy = Proxy::start(server.address());
        let before = server.received_of(op::DELETE).len();
        let builder = hurried(&proxy.connect_string()).max_in_flight(BOUND).when_full(when);
        let (builder, mut states) = States::of(builder);
        let client = builder.connect().expect("connects");
        proxy.refuse();
        proxy.cut();
        states.wait_for(Disconnected);
        let pending: Vec<_> = (0..BOUND)
            .map(|n| client.submit(ops::Delete::new(format!("/{n}"))).expect("room"))
            .collect();
        let limit = if when == WhenFull::Fail { scaled(10 * SECOND) } else { scaled(SECOND / 5) };
        let quick = client.with_timeout(limit);
        let start = Instant::now();
        let error = quick.submit(ops::Delete::new("/more")).expect_err("full");
        let took = start.elapsed();
        assert_eq!(error.applied(), Applied::No);
        if when == WhenFull::Fail {
            assert!(matches!(error, Error::Busy { limit: BOUND, .. }), "{error}");
            assert!(took < limit / 2, "{took:?}");
        } else {
            assert!(matches!(error, Error::Timeout { sent: false, .. }), "{error}");
            assert!(took >= limit && took < limit + soon(), "{took:?}");
        }
        // One that waits gets in as soon as there is room.
        let waiting = (when == WhenFull::Wait).then(|| {
            let client = client.clone();
            thread::spawn(move || client.delete("/late", Version::Any))
        });
        proxy.accept();
        for pending in pending {
            pending.wait().expect("sent in the end");
        }
        if let Some(waiting) = waiting {
            waiting.join().expect("no panic").expect("there was room");
        }
        let deletes = server.received_of(op::DELETE);
        let paths: Vec<String> = deletes[before..].iter().map(|r| r.path()).take(BOUND).collect();
        assert_eq!(paths, (0..BOUND).map(|n| format!("/{n}")).collect::<Vec<_>>());
    }
}

#[test]
fn d12_many_threads_at_a_small_bound_all_get_through() {
    let server = yes_server();
    let client = hurried(&server.connect_string()).max_in_flight(2).connect().expect("connects");
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let client = client.clone();
            thread::spawn(move || (0..100).all(|_| client.get_data("/a").is_ok()))
        })
        .collect();
    assert!(threads.into_iter().all(|thread| thread.join().expect("no panic")));
}

#[test]
fn d11_bulk_answers_do_not_starve_pings() {
    undisturbed(|| {
        let body = Out::new().buffer(&vec![7; 90 << 10]).stat(&Stat::default());
        let body = Arc::new(body.0);
        let server = Scripted::start(move |_, peer| {
            peer.handshake();
            while let Some(request) = peer.next() {
                if request.op != op::GET_DATA {
                    let (zxid, err, body) = yes(&request);
                    peer.reply_with(request.xid, zxid, err, &body);
                    continue;
                }
                // A line of some 4 MB/s, always full.
                let bytes = Out(reply(request.xid, 7, 0, &body)).framed();
                for piece in bytes.chunks(64 << 10) {
                    peer.raw(piece);
                    thread::sleep(Duration::from_millis(15));
                }
            }
        });
        let timeout = scaled(SECOND);
        // The server reads no ping before it has answered what came first: the proxy sees them sent.
        let proxy = Proxy::start(server.address());
        let (builder, mut states) =
            States::of(hurried(&proxy.connect_string()).session_timeout(timeout));
        let client = builder.connect().expect("connects");
        let start = Instant::now();
        let pending: Vec<_> =
            (0..100).map(|_| client.submit(ops::GetData::new("/a")).expect("queued")).collect();
        for pending in pending {
            assert_eq!(pending.wait().expect("in the end").0.len(), 90 << 10);
        }
        assert_eq!(states.seen(), [Connected], "never lost");
        let took = start.elapsed();
        assert!(took > timeout, "{took:?}: too fast to show anything");
        // The server counts the time since it last heard the client, whose pongs are stuck.
        let pings = proxy.counts().to_server.pings;
        let least = (took.as_secs_f64() / timeout.as_secs_f64() * 2.0) as usize;
        assert!(pings >= least, "{pings} pings in {took:?}, not {least}");
    });
}

#[test]
fn d11_requests_without_pause_do_not_starve_answers() {
    undisturbed(|| {
        let server = yes_server();
        let client = hurried(&server.connect_string())
            .session_timeout(scaled(SECOND))
            .max_in_flight(10_000)
            .connect()
            .expect("connects");
        let end = Instant::now() + scaled(SECOND * 3 / 2);
        let mut sent = 0;
        while Instant::now() < end {
            let pending: Vec<_> =
                (0..500).map(|_| client.submit(ops::GetData::new("/a")).expect("queued")).collect();
            for pending in pending {
                pending.wait().expect("answered");
                sent += 1;
            }
        }
        assert!(sent > 500);
        assert_eq!(server.connections(), 1);
    });
}

#[test]
fn a16_silent_server_is_left_after_two_thirds_of_the_session_busy_or_idle() {
    undisturbed(|| {
        for busy in [false, true] {
            let server = Scripted::start(|number, peer| match number {
                0 => {
                    peer.handshake();
                    peer.hang();
                }
                _ => serve_yes(peer),
            });
            let timeout = scaled(SECOND * 6 / 5);
            let (builder, mut states) =
                States::of(hurried(&server.connect_string()).session_timeout(timeout));
            let client = builder.connect().expect("connects");
            let start = Instant::now();
            let talks = Arc::new(AtomicBool::new(busy));
            let talker = busy.then(|| {
                let (client, talks) = (client.clone(), talks.clone());
                thread::spawn(move || {
                    while talks.load(Ordering::Relaxed) {
                        let _ = client.submit(ops::GetData::new("/a"));
                        thread::sleep(Duration::from_millis(5));
                    }
                })
            });
            let took = states.wait_for(Disconnected) - start;
            let due = timeout * 2 / 3;
            assert!(took + scaled(SECOND / 20) >= due, "busy {busy}: {took:?}");
            assert!(took <= due + scaled(SECOND / 5), "busy {busy}: {took:?}");
            states.wait_for(Connected);
            talks.store(false, Ordering::Relaxed);
            if let Some(talker) = talker {
                talker.join().expect("no panic");
            }
            client.get_data("/a").expect("on the next connection");
        }
    });
}

#[test]
fn a16_client_blocked_in_a_write_leaves_a_silent_server() {
    undisturbed(|| {
        let server = yes_server();
        let proxy = Proxy::start(server.address());
        let (builder, mut states) =
            States::of(hurried(&proxy.connect_string()).session_timeout(scaled(SECOND)));
        let client = builder.connect().expect("connects");
        proxy.hold(Way::ToServer);
        let big = vec![0; 1 << 19];
        let pending: Vec<_> = (0..40)
            .map(|_| client.submit(ops::SetData::new("/a", big.clone())).expect("queued"))
            .collect();
        let start = Instant::now();
        let took = states.wait_for(Disconnected) - start;
        assert!(took <= scaled(SECOND), "{took:?}");
        proxy.heal();
        proxy.cut();
        for pending in pending {
            // Those that were not sent go out on the next connection.
            if let Err(error) = pending.wait() {
                assert_eq!(error.applied(), Applied::Unknown, "{error}");
            }
        }
        eventually("the client works", 5 * SECOND, || client.get_data("/a").is_ok());
    });
}
