//! Watches against a server that sends what it likes, when it likes.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use zookeeper_blocking::SessionState::{Connected, Disconnected};
use zookeeper_blocking::{
    Client, Code, Error, EventKind, WatchMode, WatchWait, WatchedEvent, op as ops,
};

use crate::answers::{States, hurried, yes};
use crate::support::calm::undisturbed;
use crate::support::scripted::{Peer, Request, Scripted, notification};
use crate::support::wait::{eventually, scaled};
use crate::support::wire::{In, Out, code, event, op, xid};

const SECOND: Duration = Duration::from_secs(1);

/// A notification of any zxid; servers since 3.9 tell it.
fn notify(peer: &mut Peer, kind: i32, path: &str, zxid: i64) {
    let header = Out::new().i32(xid::NOTIFICATION).i64(zxid).i32(0);
    peer.frame(&header.i32(kind).i32(3).string(path).0);
}

fn say_yes(peer: &mut Peer, request: &Request) {
    let (zxid, err, body) = yes(request);
    peer.reply_with(request.xid, zxid, err, &body);
}

#[test]
fn a10_last_zxid_only_from_replies() {
    // Two events of one transaction, the connection cut between them.
    let server = Scripted::start(|number, peer| {
        let greeting = peer.handshake();
        if number > 0 {
            assert_eq!(greeting.last_zxid, 10);
            return peer.serve(yes);
        }
        for _ in 0..2 {
            let watch = peer.expect(op::GET_DATA);
            let (_, _, body) = yes(&watch);
            peer.reply(&watch, 10, &body);
        }
        notify(peer, event::DATA_CHANGED, "/a", 50);
        peer.close();
    });
    let client = hurried(&server.connect_string()).connect().expect("connects");
    let (_, _, first) = client.watch_data("/a").expect("yes");
    let (_, _, _second) = client.watch_data("/b").expect("yes");
    assert_eq!(first.recv().expect("the first event").zxid, Some(50));
    let set = server.wait_for(op::SET_WATCHES, 1);
    let mut body = In(&set[0].body);
    assert_eq!(body.i64(), 10, "50 would lose the second event");
    assert_eq!(body.strings(), ["/b"]);
}

#[test]
fn b1_client_holds_what_the_server_holds() {
    type Arm = fn(&Client) -> Result<(), Error>;
    // The handle would take its watch back: callbacks stay.
    let data: Arm = |c| c.call(ops::GetData::new("/w").watch(|_| ())).map(drop);
    let exists: Arm = |c| c.call(ops::Exists::new("/w").watch(|_| ())).map(drop);
    let children: Arm = |c| c.call(ops::GetChildren::new("/w").watch(|_| ())).map(drop);
    let persistent: Arm = |c| c.add_watch_with("/w", WatchMode::Persistent, |_| ());
    let recursive: Arm = |c| c.add_watch_with("/w", WatchMode::Recursive, |_| ());
    let kinds = [data, exists, children, persistent, recursive];
    let errors = [0, code::NO_NODE, code::NO_AUTH, code::UNIMPLEMENTED];
    for (kind, arm) in kinds.into_iter().enumerate() {
        for error in errors.into_iter().map(Some).chain([None]) {
            let server = Scripted::start(move |number, peer| {
                peer.handshake();
                while let Some(request) = peer.next() {
                    let (zxid, _, body) = yes(&request);
                    match (number, request.op, error) {
                        // Cut before the reply.
                        (0, _, None) => return peer.close(),
                        (0, op::SYNC, _) => return peer.close(),
                        // addWatch tells some of its errors in the body.
                        (0, op::ADD_WATCH, Some(error @ -102)) => {
                            peer.reply(&request, zxid, &Out::new().i32(error).0);
                        }
                        (0, _, Some(error)) => peer.reply_with(request.xid, zxid, error, &body),
                        _ => say_yes(peer, &request),
                    }
                }
            });
            let client = hurried(&server.connect_string()).connect().expect("connects");
            let armed = arm(&client);
            let set = error == Some(0) || (kind == 1 && error == Some(code::NO_NODE));
            let row = format!("kind {kind}, error {error:?}: {armed:?}");
            assert_eq!(client.watch_count(), usize::from(set), "{row}");
            if error.is_some() {
                client.sync("/").expect_err("cut");
            }
            client.get_data("/other").expect("on the next connection");
            // In which of the five lists the watch is set again.
            let lists: Vec<usize> = server
                .received()
                .iter()
                .filter(|r| r.op == op::SET_WATCHES || r.op == op::SET_WATCHES2)
                .flat_map(|r| {
                    let mut body = In(&r.body);
                    body.i64();
                    let lists = if r.op == op::SET_WATCHES { 3 } else { 5 };
                    (0..lists).filter(|_| body.strings() == ["/w"]).collect::<Vec<_>>()
                })
                .collect();
            let list = match (kind, error) {
                (0 | 1, Some(0)) => 0,
                (1, _) => 1,
                (kind, _) => kind,
            };
            assert_eq!(lists, if set { vec![list] } else { vec![] }, "{row}");
            assert_eq!(client.watch_count(), usize::from(set), "{row}");
        }
    }
}

#[test]
fn b3_event_is_queued_before_the_reply_that_came_after_it() {
    const ROUNDS: usize = 500;
    let server = Scripted::start(|_, peer| {
        peer.handshake();
        let add = peer.expect(op::ADD_WATCH);
        say_yes(peer, &add);
        for round in 0..ROUNDS {
            let get = peer.expect(op::GET_DATA);
            notify(peer, event::DATA_CHANGED, &format!("/v/{round}"), -1);
            say_yes(peer, &get);
        }
        peer.serve(yes);
    });
    let client = hurried(&server.connect_string()).connect().expect("connects");
    let watch = client.add_watch("/v", WatchMode::Recursive).expect("yes");
    for round in 0..ROUNDS {
        client.get_data("/v").expect("yes");
        let event = watch.try_recv().expect("it was there before the reply");
        assert_eq!(*event.path, format!("/v/{round}"));
        assert_eq!(watch.try_recv(), Err(WatchWait::Empty));
    }
}

#[test]
fn b3_events_and_completions_share_the_servers_order() {
    const ROUNDS: usize = 300;
    let server = Scripted::start(|_, peer| {
        peer.handshake();
        let add = peer.expect(op::ADD_WATCH);
        say_yes(peer, &add);
        for round in 0..ROUNDS {
            let get = peer.expect(op::GET_DATA);
            notify(peer, event::DATA_CHANGED, &format!("/v/{round}"), -1);
            say_yes(peer, &get);
            notify(peer, event::DELETED, &format!("/v/{round}"), -1);
        }
        peer.serve(yes);
    });
    let client = hurried(&server.connect_string()).connect().expect("connects");
    let (sender, heard) = channel();
    let events = sender.clone();
    let callback = move |event: WatchedEvent| drop(events.send(format!("{:?}", event.kind)));
    client.add_watch_with("/v", WatchMode::Recursive, callback).expect("yes");
    for _ in 0..ROUNDS {
        let sender = sender.clone();
        let done = move |result: Result<_, Error>| {
            result.expect("yes");
            drop(sender.send("reply".to_owned()));
        };
        client.submit_with(ops::GetData::new("/v"), done).expect("queued");
    }
    for round in 0..ROUNDS {
        let next = || heard.recv_timeout(scaled(5 * SECOND)).expect("more to come");
        assert_eq!([next(), next(), next()], ["DataChanged", "reply", "Deleted"], "{round}");
    }
}

#[test]
fn b8_events_of_unknown_kind_or_for_unknown_watches_are_no_errors() {
    let server = Scripted::start(|_, peer| {
        peer.handshake();
        for _ in 0..2 {
            let watch = peer.next().expect("two watches");
            say_yes(peer, &watch);
        }
        peer.notify(event::DELETED, "/unknown");
        peer.notify(99, "/a");
        peer.notify(-1, "");
        peer.notify(i32::MIN, "not even a path");
        // A state that is none.
        let odd = Out::new().i32(xid::NOTIFICATION).i64(-1).i32(0).i32(3).i32(77).string("/a");
        peer.frame(&odd.0);
        peer.serve(yes);
    });
    let client = hurried(&server.connect_string()).connect().expect("connects");
    let (_, _, one_shot) = client.watch_data("/a").expect("yes");
    let persistent = client.add_watch("/a", WatchMode::Persistent).expect("yes");
    client.get_data("/a").expect("behind the events");
    assert_eq!(server.connections(), 1);
    let kinds: Vec<EventKind> = persistent.try_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::Unknown(99), EventKind::DataChanged]);
    let kinds: Vec<EventKind> = one_shot.try_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::DataChanged]);
}

#[test]
fn b10_flood_on_a_slow_callback_loses_nothing_and_starves_no_ping() {
    undisturbed(|| {
        const EVENTS: usize = 50_000;
        let server = Scripted::start(|_, peer| {
            peer.handshake();
            let add = peer.expect(op::ADD_WATCH);
            say_yes(peer, &add);
            let mut burst = Vec::new();
            for n in 0..EVENTS {
                burst.extend(Out(notification(event::CREATED, &format!("/f/{n}"))).framed());
            }
            peer.raw(&burst);
            peer.serve(yes);
        });
        let client = hurried(&server.connect_string())
            .session_timeout(scaled(SECOND))
            .connect()
            .expect("connects");
        let (release, gate) = channel::<()>();
        let heard = Arc::new(Mutex::new(Vec::with_capacity(EVENTS)));
        let for_callback = heard.clone();
        let callback = move |event: WatchedEvent| {
            if for_callback.lock().expect("one thread").is_empty() {
                gate.recv().expect("released");
            }
            for_callback.lock().expect("one thread").push(event.path);
        };
        client.add_watch_with("/f", WatchMode::Recursive, callback).expect("yes");
        // The callback blocks for longer than the session lives without pings.
        server.wait_for(op::PING, 4);
        client.get_data("/a").expect("other threads are served");
        assert_eq!(server.connections(), 1, "the session lives on");
        assert!(heard.lock().expect("one thread").is_empty());
        release.send(()).expect("the callback waits");
        eventually("all events are heard", 5 * SECOND, || {
            heard.lock().expect("one thread").len() == EVENTS
        });
        let heard = heard.lock().expect("one thread");
        assert!(heard.iter().enumerate().all(|(n, path)| **path == format!("/f/{n}")), "in order");
    });
}

#[test]
fn b12_zxid_of_an_event_is_told_if_the_server_tells_it() {
    let server = Scripted::start(|_, peer| {
        peer.handshake();
        let add = peer.expect(op::ADD_WATCH);
        say_yes(peer, &add);
        notify(peer, event::DATA_CHANGED, "/a", -1);
        notify(peer, event::DATA_CHANGED, "/a", 0x1_0000_0001);
        peer.serve(yes);
    });
    let client = hurried(&server.connect_string()).connect().expect("connects");
    let watch = client.add_watch("/a", WatchMode::Persistent).expect("yes");
    let zxids = [(); 2].map(|()| watch.recv().expect("an event").zxid);
    assert_eq!(zxids, [None, Some(0x1_0000_0001)]);
    assert_eq!(client.last_zxid(), 7, "that of the reply");
}

#[test]
fn watches_set_again_fire_what_was_missed_once() {
    let server = Scripted::start(|number, peer| {
        peer.handshake();
        while let Some(request) = peer.next() {
            if request.op == op::SYNC && number == 0 {
                return peer.close();
            }
            if request.op == op::SET_WATCHES2 {
                // The server sends what was missed before its reply.
                peer.notify(event::DATA_CHANGED, "/a");
            }
            say_yes(peer, &request);
        }
    });
    let (builder, mut states) = States::of(hurried(&server.connect_string()));
    let client = builder.connect().expect("connects");
    let (_, _, one_shot) = client.watch_data("/a").expect("yes");
    let persistent = client.add_watch("/b", WatchMode::Persistent).expect("yes");
    client.sync("/").expect_err("cut");
    states.wait_for(Disconnected);
    states.wait_for(Connected);
    assert_eq!(persistent.recv().expect("resync").kind, EventKind::Resync);
    assert_eq!(one_shot.recv().expect("missed").kind, EventKind::DataChanged);
    assert_eq!(one_shot.recv(), None, "its only event");
    client.get_data("/a").expect("yes");
    assert_eq!(persistent.try_recv(), Err(WatchWait::Empty));
    assert_eq!(client.watch_count(), 1);
}

#[test]
fn refused_set_watches_are_tried_on_another_connection() {
    let server = Scripted::start(|number, peer| {
        peer.handshake();
        while let Some(request) = peer.next() {
            match (number, request.op) {
                (0, op::SYNC) => return peer.close(),
                (1, op::SET_WATCHES) => peer.reply_error(&request, code::MARSHALLING_ERROR),
                _ => say_yes(peer, &request),
            }
        }
    });
    let client = hurried(&server.connect_string()).connect().expect("connects");
    let (_, _, _watch) = client.watch_data("/a").expect("yes");
    client.sync("/").expect_err("cut");
    let sets = server.wait_for(op::SET_WATCHES, 2);
    assert_eq!((sets[0].connection, sets[1].connection), (1, 2));
    eventually("the client works", 5 * SECOND, || client.get_data("/a").is_ok());
}

#[test]
fn watch_whose_call_timed_out_is_taken_back() {
    let (release, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let server = Scripted::start(move |_, peer| {
        peer.handshake();
        let watch = peer.expect(op::GET_DATA);
        gate.lock().expect("one connection").recv().expect("released");
        say_yes(peer, &watch);
        peer.serve(yes);
    });
    let client = hurried(&server.connect_string()).connect().expect("connects");
    // Time enough to be sent.
    let quick = client.with_timeout(scaled(SECOND));
    let error = quick.watch_data("/a").expect_err("no answer in time");
    assert!(matches!(error, Error::Timeout { sent: true, .. }), "{error}");
    release.send(()).expect("the script waits");
    server.wait_for(op::REMOVE_WATCHES, 1);
    eventually("nothing is left", SECOND, || client.watch_count() == 0);
    assert_ne!(error.code(), Some(Code::Ok));
}
