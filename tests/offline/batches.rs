//! Operations submitted together, against servers that answer too early, too late, too much or
//! not at all.

use std::thread;
use std::time::{Duration, Instant};

use zookeeper_blocking::SessionState::Disconnected;
use zookeeper_blocking::{Client, Code, Error, op as ops};

use crate::answers::{States, hurried, yes, yes_server};
use crate::support::calm::undisturbed;
use crate::support::proxy::{Act, Pick, Proxy, Way};
use crate::support::scripted::{Peer, Request, Scripted, reply};
use crate::support::wait::{eventually, scaled};
use crate::support::wire::{Out, code, op};

const SECOND: Duration = Duration::from_secs(1);

fn syncs(count: usize) -> impl Iterator<Item = ops::Sync<'static>> {
    (0..count).map(|n| ops::Sync::new(format!("/{n}")))
}

/// What became of each of so many, submitted together.
fn submit(client: &Client, count: usize) -> Vec<Result<String, Error>> {
    client.submit_all(syncs(count)).expect("sound").wait()
}

/// Reads so many requests, sent together.
fn expect(peer: &mut Peer, count: usize) -> Vec<Request> {
    (0..count).map(|_| peer.expect(op::SYNC)).collect()
}

/// The whole frame that answers `request`.
fn answer(request: &Request) -> Vec<u8> {
    let body = Out::new().string(&request.path()).0;
    Out::new().buffer(&reply(request.xid, 7, 0, &body)).0
}

/// A server whose first connection gets `count` syncs and treats them as told; the others say yes.
fn first(count: usize, treat: impl Fn(&mut Peer, &[Request]) + Send + Sync + 'static) -> Scripted {
    Scripted::start(move |number, peer| {
        peer.handshake();
        if number == 0 {
            let requests = expect(peer, count);
            treat(peer, &requests);
        }
        peer.serve(yes);
    })
}

#[track_caller]
fn assert_lost(ended: &[Result<String, Error>]) {
    for ended in ended {
        assert!(matches!(ended, Err(Error::ConnectionLoss { sent: true, .. })), "{ended:?}");
    }
}

/// Whether each was answered with its own path.
#[track_caller]
fn assert_answered(ended: &[Result<String, Error>], from: usize) {
    for (n, ended) in ended.iter().enumerate() {
        assert_eq!(ended.as_ref().expect("answered"), &format!("/{}", from + n));
    }
}

#[test]
fn answers_cut_at_any_byte_leave_those_that_came_whole() {
    const COUNT: usize = 4;
    let frame = 4 + 16 + 4 + 2;
    for cut in 0..=COUNT * frame {
        let server = first(COUNT, move |peer, requests| {
            let bytes: Vec<u8> = requests.iter().flat_map(answer).collect();
            peer.raw(&bytes[..cut]);
            peer.close();
        });
        let client = hurried(&server.connect_string()).connect().expect("connects");
        let ended = submit(&client, COUNT);
        assert_eq!(ended.len(), COUNT);
        let (told, lost) = ended.split_at(cut / frame);
        assert_answered(told, 0);
        assert_lost(lost);
        let _ = client.close_timeout(Duration::ZERO);
    }
}

#[test]
fn c5_success_that_overtakes_within_a_batch_drops_the_connection() {
    // Behind the first answer, or before all; from within the batch, or from behind it.
    for order in [&[0, 2][..], &[1], &[2, 0], &[0, 1, 3]] {
        let server = Scripted::start(move |number, peer| {
            peer.handshake();
            if number == 0 {
                let requests = expect(peer, 4);
                for at in order {
                    peer.raw(&answer(&requests[*at]));
                }
            }
            peer.serve(yes);
        });
        let client = hurried(&server.connect_string()).connect().expect("connects");
        let batch = client.submit_all(syncs(3)).expect("sound");
        let behind = client.submit(ops::Sync::new("/3")).expect("sound");
        let in_order = order.iter().enumerate().take_while(|(n, at)| n == *at).count();
        let ended = batch.wait();
        let (told, lost) = ended.split_at(in_order);
        assert_answered(told, 0);
        assert_lost(lost);
        assert_lost(&[behind.wait()]);
        assert_answered(&submit(&client, 3), 0);
        assert_eq!(server.connections(), 2);
    }
}

#[test]
fn refusals_that_overtake_are_told_in_their_places() {
    // In the order of the answers; those with a mark are refusals.
    for order in [
        &[(2, true), (0, false), (1, false), (3, false)][..],
        &[(3, true), (0, false), (1, false), (2, false)],
        &[(3, true), (2, true), (1, true), (0, true)],
        &[(1, true), (2, true), (0, false), (3, false)],
        &[(0, true), (3, true), (1, false), (2, true)],
    ] {
        let server = first(4, move |peer, requests| {
            for (at, refused) in order {
                match refused {
                    true => peer.reply_error(&requests[*at], code::UNIMPLEMENTED),
                    false => peer.raw(&answer(&requests[*at])),
                }
            }
        });
        let client = hurried(&server.connect_string()).connect().expect("connects");
        for (n, ended) in submit(&client, 4).into_iter().enumerate() {
            let refused = order.iter().any(|(at, refused)| *at == n && *refused);
            match ended {
                Ok(path) => assert_eq!((path, refused), (format!("/{n}"), false)),
                Err(error) => {
                    assert_eq!((error.code(), refused), (Some(Code::Unimplemented), true));
                }
            }
        }
        assert_answered(&submit(&client, 4), 0);
        assert_eq!(server.connections(), 1);
    }
}

#[test]
fn c9_too_large_an_answer_fails_one_and_holds_up_no_refusal_behind_it() {
    for refused_early in [false, true] {
        let server = first(4, move |peer, requests| {
            if refused_early {
                peer.reply_error(&requests[2], code::UNIMPLEMENTED);
            }
            peer.raw(&answer(&requests[0]));
            peer.reply(&requests[1], 7, &[b'x'; 5_000]);
            if !refused_early {
                peer.reply_error(&requests[2], code::UNIMPLEMENTED);
            }
            peer.raw(&answer(&requests[3]));
        });
        let client = hurried(&server.connect_string()).max_reply(1_000).connect();
        let client = client.expect("connects");
        let ended = submit(&client, 4);
        assert_answered(&ended[..1], 0);
        assert!(matches!(ended[1], Err(Error::TooLarge { limit: 1_000, .. })), "{ended:?}");
        let refused = ended[2].as_ref().expect_err("refused");
        assert_eq!(refused.code(), Some(Code::Unimplemented));
        assert_answered(&ended[3..], 3);
        assert_answered(&submit(&client, 4), 0);
        assert_eq!(server.connections(), 1, "nobody was to blame");
    }
}

#[test]
fn c8_an_answer_that_cannot_be_read_fails_one_of_its_batch() {
    let server = first(5, |peer, requests| {
        for request in requests {
            match request.path().as_str() {
                "/1" => peer.reply(request, 7, &[0xff; 3]),
                "/3" => peer.reply(request, 7, &Out::new().i32(9).bytes(b"short").0),
                _ => peer.raw(&answer(request)),
            }
        }
    });
    let client = hurried(&server.connect_string()).connect().expect("connects");
    for (n, ended) in submit(&client, 5).into_iter().enumerate() {
        match ended {
            Ok(path) => assert_eq!((path, n % 2), (format!("/{n}"), 0)),
            Err(error) => {
                assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
                assert_eq!(error.at().map(|at| &*at.path), Some(&*format!("/{n}")));
            }
        }
    }
    assert_answered(&submit(&client, 5), 0);
    assert_eq!(server.connections(), 1);
}

#[test]
fn d13_at_the_deadline_the_parts_that_were_answered_are_told() {
    undisturbed(|| {
        // A part has up to 256 operations; the second lacks its last answer.
        let server = first(600, |peer, requests| {
            let answers: Vec<u8> = requests[..511].iter().flat_map(answer).collect();
            peer.raw(&answers);
            peer.delay(SECOND);
            let late: Vec<u8> = requests[511..].iter().flat_map(answer).collect();
            peer.raw(&late);
        });
        let client = hurried(&server.connect_string()).connect().expect("connects");
        let limit = scaled(SECOND / 4);
        let start = Instant::now();
        let ended = submit(&client.with_timeout(limit), 600);
        let took = start.elapsed();
        assert!(took >= limit && took < limit + scaled(SECOND / 5), "{took:?}");
        assert_answered(&ended[..256], 0);
        for ended in &ended[256..] {
            assert!(matches!(ended, Err(Error::Timeout { sent: true, .. })), "{ended:?}");
        }
        // The late answers reach nobody else.
        assert_answered(&submit(&client, 300), 0);
        assert_eq!(server.connections(), 1);
    });
}

#[test]
fn a_batch_dropped_before_it_was_sent_is_not_sent() {
    let server = yes_server();
    let proxy = Proxy::start(server.address());
    let (builder, mut states) = States::of(hurried(&proxy.connect_string()));
    let client = builder.max_in_flight(600).connect().expect("connects");
    proxy.refuse();
    proxy.cut();
    states.wait_for(Disconnected);
    let batch = client.submit_all(syncs(600)).expect("waits for a connection");
    assert_eq!(batch.len(), 600);
    drop(batch);
    proxy.accept();
    // Nor does it take up room for ever.
    assert_eq!(client.submit_all((0..600).map(|_| ops::WhoAmI::new())).expect("room").count(), 600);
    assert_eq!(server.received_of(op::SYNC).len(), 0);
}

#[test]
fn a_batch_dropped_after_it_was_sent_is_done_and_its_answers_reach_nobody() {
    let server = yes_server();
    let proxy = Proxy::start(server.address());
    let client = hurried(&proxy.connect_string()).max_in_flight(600).connect().expect("connects");
    proxy.hold(Way::ToClient);
    let mut batch = client.submit_all(syncs(600)).expect("room");
    server.wait_for(op::SYNC, 600);
    proxy.release(Way::ToClient);
    assert_eq!(batch.next().expect("600").expect("answered"), "/0");
    assert_eq!((batch.len(), batch.size_hint()), (599, (599, Some(599))));
    proxy.once(Way::ToClient, Pick::AnyOp, 1, Act::Hold);
    drop(batch);
    proxy.heal();
    assert_answered(&submit(&client, 600), 0);
    assert_eq!(server.received_of(op::SYNC).len(), 1_200);
}

#[test]
fn a_batch_is_not_passed_by_for_ever_by_callers_who_need_less_room() {
    let server = yes_server();
    let client = hurried(&server.connect_string()).max_in_flight(8).connect().expect("connects");
    let over = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            // Two on their way at any time.
            scope.spawn(|| {
                let get = || client.submit(ops::GetData::new("/a")).expect("room");
                let mut before = get();
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    let next = get();
                    before.wait().expect("yes");
                    before = next;
                }
                before.wait().expect("yes");
            });
        }
        server.wait_for(op::GET_DATA, 1_000);
        let ended = client.submit_all(syncs(40)).map(|batch| batch.wait());
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_answered(&ended.expect("room"), 0);
    });
}

#[test]
fn batches_of_many_threads_get_their_own_answers_in_order() {
    let server = yes_server();
    let client = hurried(&server.connect_string()).max_in_flight(500).connect().expect("connects");
    thread::scope(|scope| {
        for thread in 0..8 {
            let client = &client;
            scope.spawn(move || {
                for round in 0..10 {
                    let name = |n: usize| format!("/{thread}-{round}-{n}");
                    let count = 1 + (thread * 97 + round * 41) % 700;
                    let batch = client.submit_all((0..count).map(|n| ops::Sync::new(name(n))));
                    let one = client.submit(ops::Sync::new("/one")).expect("room");
                    let batch = batch.expect("room").wait();
                    assert_eq!(batch.len(), count);
                    for (n, path) in batch.into_iter().enumerate() {
                        assert_eq!(path.expect("yes"), name(n));
                    }
                    assert_eq!(one.wait().expect("yes"), "/one");
                }
            });
        }
    });
    assert_eq!(server.connections(), 1);
}

#[test]
fn close_in_the_middle_leaves_nobody_waiting() {
    let server = first(300, |peer, requests| {
        // In one piece: who hears of the first part has the answers of the second.
        peer.raw(&requests[..280].iter().flat_map(answer).collect::<Vec<_>>());
        peer.hang();
    });
    let builder = hurried(&server.connect_string()).max_in_flight(300);
    let client = builder.call_timeout(scaled(30 * SECOND)).connect().expect("connects");
    let start = Instant::now();
    thread::scope(|scope| {
        let mut batch = client.submit_all(syncs(300)).expect("room");
        // The first part: the second waits for all of its answers.
        let answered: Vec<_> = batch.by_ref().take(256).collect();
        assert_answered(&answered, 0);
        let waits_for_answers = scope.spawn(move || batch.wait());
        let waits_for_room = scope.spawn(|| client.submit_all(syncs(300)).map(|all| all.wait()));
        // Some may be handed over before the close, some find no room until then.
        thread::sleep(SECOND / 20);
        let _ = client.close_timeout(SECOND / 10);
        let ended = waits_for_answers.join().expect("no panic");
        assert_answered(&ended[..24], 256);
        assert_eq!(ended.len(), 300 - 256);
        for ended in &ended[24..] {
            assert!(matches!(ended, Err(Error::Closed { sent: true, .. })), "{ended:?}");
        }
        match waits_for_room.join().expect("no panic") {
            Ok(ended) => {
                assert_eq!(ended.len(), 300);
                assert!(ended.iter().all(|ended| matches!(ended, Err(Error::Closed { .. }))));
            }
            Err(error) => assert!(matches!(error, Error::Closed { sent: false, .. }), "{error}"),
        }
    });
    assert!(start.elapsed() < scaled(15 * SECOND), "{:?}", start.elapsed());
}

#[test]
fn a_watch_of_a_completion_that_timed_out_is_taken_back() {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let server = Scripted::start(move |_, peer| {
        peer.handshake();
        let exists = peer.expect(op::EXISTS);
        released.lock().expect("one connection").recv().expect("released");
        let (zxid, err, body) = yes(&exists);
        peer.reply_with(exists.xid, zxid, err, &body);
        peer.serve(yes);
    });
    let client = hurried(&server.connect_string()).connect().expect("connects");
    let (tell, told) = std::sync::mpsc::channel();
    let watched = ops::Exists::new("/a").watch(|_| panic!("its caller was told of no watch"));
    client
        .with_timeout(scaled(SECOND))
        .submit_with(watched, move |result| drop(tell.send(result)))
        .expect("room");
    let error = told.recv().expect("told once").expect_err("too late");
    assert!(matches!(error, Error::Timeout { sent: true, .. }), "{error}");
    release.send(()).expect("the script waits");
    // Answered behind it, so the late answer came.
    client.sync("/").expect("yes");
    eventually("the watch is gone", 5 * SECOND, || client.watch_count() == 0);
    server.wait_for(op::REMOVE_WATCHES, 1);
}
