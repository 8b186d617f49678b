//! Frames that no server should send, and ours that no server should get.

use std::time::{Duration, Instant};

use zookeeper_blocking::SessionState::{Connected, Disconnected};
use zookeeper_blocking::{Applied, Client, Error, op as ops};

use crate::answers::{States, hurried, soon, yes};
use crate::support::calm::undisturbed;
use crate::support::process;
use crate::support::proxy::{Act, Pick, Proxy, Way};
use crate::support::scripted::{Peer, Scripted, reply};
use crate::support::wait::{eventually, scaled};
use crate::support::wire::{Out, code, event, op, xid};

/// The first connection answers the first `get_data` by `answer`; everything else gets a yes.
pub(crate) fn odd_answer(
    answer: impl Fn(&mut Peer, &crate::support::scripted::Request) + Send + Sync + 'static,
) -> Scripted {
    Scripted::start(move |number, peer| {
        peer.handshake();
        if number == 0 {
            let request = peer.expect(op::GET_DATA);
            answer(peer, &request);
        }
        peer.serve(yes);
    })
}

pub(crate) fn connect(server: &Scripted) -> Client {
    hurried(&server.connect_string()).connect().expect("connects")
}

/// The answer costs the connection, not the session: what was in flight is unknown, what comes
/// next works.
#[track_caller]
fn costs_the_connection(server: &Scripted) {
    let client = connect(server);
    let id = client.session_id();
    let lost = client.get_data("/a").expect_err("nonsense is no answer");
    assert!(matches!(lost, Error::ConnectionLoss { sent: true, .. }), "{lost}");
    assert_eq!(lost.applied(), Applied::Unknown);
    client.get_data("/a").expect("on the next connection");
    assert_eq!(client.session_id(), id);
    assert_eq!(server.connections(), 2);
}

#[test]
fn c1_frames_cut_to_single_bytes_are_put_together() {
    let server = Scripted::start(|_, peer| {
        peer.handshake();
        peer.serve(yes);
    });
    let proxy = Proxy::start(server.address());
    proxy.slice(Way::ToClient, 1);
    proxy.slice(Way::ToServer, 1);
    let client = hurried(&proxy.connect_string()).connect().expect("connects");
    let pending: Vec<_> =
        (0..5).map(|_| client.submit(ops::GetData::new("/a")).expect("queued")).collect();
    for pending in pending {
        assert_eq!(pending.wait().expect("whole").0, b"x");
    }
    assert_eq!(client.get_children("/a").expect("whole"), ["c"]);
}

#[test]
fn c1_events_and_replies_glued_together_are_taken_apart() {
    let server = odd_answer(|peer, request| {
        let mut bytes = Vec::new();
        let (zxid, err, body) = yes(request);
        for frame in [
            crate::support::scripted::notification(event::CREATED, "/z"),
            reply(xid::PING, 0, 0, &[]),
            reply(request.xid, zxid, err, &body),
            crate::support::scripted::notification(event::DELETED, "/z"),
        ] {
            bytes.extend(Out(frame).framed());
        }
        peer.raw(&bytes);
    });
    let client = connect(&server);
    assert_eq!(client.get_data("/a").expect("found among the others").0, b"x");
}

#[test]
fn c2_impossible_lengths_cost_the_connection() {
    let lengths: [&[u8]; 5] = [
        &[0xff, 0xff, 0xff, 0xff],
        &[0x80, 0, 0, 0],
        &[0, 0, 0, 0],
        &[0, 0, 0, 15],
        // 2^31 - 1, and then a header that answers nothing.
        &[0x7f, 0xff, 0xff, 0xff],
    ];
    for length in lengths {
        let server = odd_answer(move |peer, _| {
            peer.raw(length);
            peer.raw(&[0x55; 32]);
            peer.hang();
        });
        costs_the_connection(&server);
    }
}

#[test]
fn c2_claimed_length_is_not_allocated() {
    process::alone("wire::c2_claimed_length_is_not_allocated", || {
        let server = odd_answer(|peer, request| {
            // Below the limit of 64 MiB, so it would be read if it came.
            peer.raw(&Out::new().i32(60 << 20).i32(request.xid).0);
            peer.hang();
        });
        let client = hurried(&server.connect_string()).session_timeout(scaled(SECOND)).connect();
        let client = client.expect("connects");
        let before = resident();
        let pending = client.submit(ops::GetData::new("/a")).expect("queued");
        server.wait_for(op::GET_DATA, 1);
        let mut most = 0;
        eventually("the silence is noticed", SECOND * 5, || {
            most = most.max(resident());
            server.connections() > 1
        });
        assert!(pending.wait().is_err());
        let grown = most.saturating_sub(before);
        assert!(grown < 16 << 20, "{grown} bytes for eight that came");
    });
}

/// The memory of this process in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    let kib: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}

#[test]
fn c4_trailing_bytes_are_a_newer_servers_business() {
    let server = odd_answer(|peer, request| {
        let (zxid, _, mut body) = yes(request);
        body.extend([1; 100]);
        peer.reply(request, zxid, &body);
    });
    assert_eq!(connect(&server).get_data("/a").expect("what we know of it").0, b"x");
    assert_eq!(server.connections(), 1);
}

#[test]
fn c4_torn_end_costs_the_connection() {
    let server = odd_answer(|peer, request| {
        let whole = Out(reply(request.xid, 7, 0, &[0; 80])).framed();
        peer.raw(&whole[..40]);
        peer.close();
    });
    costs_the_connection(&server);
}

#[test]
fn c5_answers_that_fit_nothing_cost_the_connection() {
    let offsets: [fn(i32) -> i32; 6] =
        [|x| x + 1, |x| x - 1, |x| x + 1_000, |_| i32::MAX, |_| i32::MIN, |_| 0];
    for offset in offsets {
        let server = odd_answer(move |peer, request| {
            peer.reply_with(offset(request.xid), 7, 0, &[]);
            peer.hang();
        });
        costs_the_connection(&server);
    }
}

#[test]
fn c5_second_answer_fails_what_is_pending_and_the_next_call_works() {
    let server = odd_answer(|peer, request| {
        let (zxid, err, body) = yes(request);
        peer.expect(op::EXISTS);
        peer.reply_with(request.xid, zxid, err, &body);
        peer.reply_with(request.xid, zxid, err, &body);
        peer.hang();
    });
    let client = connect(&server);
    let first = client.submit(ops::GetData::new("/a")).expect("queued");
    let second = client.submit(ops::Exists::new("/a")).expect("queued");
    first.wait().expect("its first answer");
    let lost = second.wait().expect_err("the stream is out of step");
    assert_eq!(lost.applied(), Applied::Unknown, "{lost}");
    client.exists("/a").expect("on the next connection");
}

#[test]
fn c5_answer_when_nothing_is_pending_costs_the_connection() {
    let server = Scripted::start(|number, peer| {
        peer.handshake();
        if number == 0 {
            peer.reply_with(1, 7, 0, &[]);
        }
        peer.serve(yes);
    });
    let (builder, mut states) = States::of(hurried(&server.connect_string()));
    let client = builder.connect().expect("connects");
    states.wait_for(Disconnected);
    states.wait_for(Connected);
    client.get_data("/a").expect("works");
}

#[test]
fn c6_reserved_xids_are_no_answers() {
    // -2 and an event are harmless at any time; -4 and -8 were not asked for.
    for (reserved, harmless) in [(xid::PING, true), (xid::AUTH, false), (xid::SET_WATCHES, false)] {
        let server = odd_answer(move |peer, request| {
            peer.reply_with(reserved, 1 << 40, 0, &[]);
            let (zxid, err, body) = yes(request);
            peer.reply_with(request.xid, zxid, err, &body);
        });
        let client = connect(&server);
        assert_eq!(client.get_data("/a").is_ok(), harmless, "{reserved}");
        client.get_data("/a").expect("works");
        assert_eq!(client.last_zxid(), 7, "a ping's zxid is not adopted");
    }
}

#[test]
fn c6_several_batches_of_watches_are_each_acknowledged() {
    let server = Scripted::start(|number, peer| {
        peer.handshake();
        while let Some(request) = peer.next() {
            if request.op == op::SYNC && number == 0 {
                return peer.close();
            }
            let (zxid, err, body) = yes(&request);
            peer.reply_with(request.xid, zxid, err, &body);
        }
    });
    let client = connect(&server);
    let long = "x".repeat(120);
    let watches: Vec<_> = (0..3_000)
        .map(|n| {
            let get = ops::GetData::new(format!("/{long}{n}")).watch(|_| ());
            client.submit(get).expect("queued")
        })
        .collect();
    for watch in watches {
        watch.wait().expect("yes");
    }
    assert_eq!(client.watch_count(), 3_000);
    client.sync("/").expect_err("cut");
    client.get_data("/a").expect("behind the watches");
    let batches = server.received_of(op::SET_WATCHES);
    assert!(batches.len() >= 3, "{}", batches.len());
    assert!(batches.iter().all(|batch| batch.body.len() + 8 <= 128 * 1024));
    assert!(batches.iter().all(|batch| batch.xid > 0), "ordinary xids");
    assert_eq!(server.connections(), 2);
}

#[test]
fn c13_flipped_bits_kill_nothing() {
    undisturbed(|| {
        let server = Scripted::start(|_, peer| {
            peer.handshake();
            // The server has its own troubles with flipped requests: it closes.
            peer.serve(|request| match request.op {
                op::GET_DATA if request.body.len() == 7 => yes(request),
                _ => (7, code::UNIMPLEMENTED, Vec::new()),
            });
        });
        let proxy = Proxy::start(server.address());
        let client = hurried(&proxy.connect_string())
            .session_timeout(scaled(SECOND * 3 / 5))
            .connect()
            .expect("connects");
        let quick = client.with_timeout(scaled(SECOND / 5));
        let start = Instant::now();
        let (mut good, mut bad) = (0, 0);
        for place in (0..).take_while(|_| start.elapsed() < 3 * SECOND) {
            // Length, header, code, length of the data, data, stat.
            let byte = place * 13 % 93;
            proxy.once(Way::ToClient, Pick::AnyOp, 1, Act::Flip(byte, 1 << (place % 8)));
            match quick.get_data("/a") {
                Ok(_) => good += 1,
                Err(error) => {
                    assert!(!error.is_terminal(), "{error}");
                    bad += 1;
                }
            }
            proxy.heal();
            eventually("all is well again", SECOND * 5, || client.get_data("/a").is_ok());
        }
        assert!(good > 0 && bad > 0, "{good} good, {bad} bad");
        client.close().expect("in good order");
    });
}

#[test]
fn c13_garbled_length_does_not_swallow_the_connection() {
    // A megabyte is announced, and then come pongs: bytes, but never a frame.
    let server = odd_answer(|peer, request| {
        peer.raw(&Out::new().i32(1 << 20).i32(request.xid).0);
        peer.idle();
    });
    let timeout = scaled(SECOND / 2);
    let (builder, mut states) =
        States::of(hurried(&server.connect_string()).session_timeout(timeout));
    let client = builder.connect().expect("connects");
    let start = Instant::now();
    let lost = client.get_data("/a").expect_err("no answer");
    assert!(matches!(lost, Error::ConnectionLoss { sent: true, .. }), "{lost}");
    assert!(start.elapsed() <= timeout * 2 + soon(), "{:?}", start.elapsed());
    states.wait_for(Disconnected);
    states.wait_for(Connected);
    client.get_data("/a").expect("on the next connection");
}

#[test]
fn answers_of_a_server_that_stalls_in_the_middle_of_a_frame_are_waited_for() {
    let server = odd_answer(|peer, request| {
        let (zxid, err, body) = yes(request);
        let bytes = Out(reply(request.xid, zxid, err, &body)).framed();
        for piece in bytes.chunks(30) {
            peer.raw(piece);
            peer.delay(SECOND / 10);
        }
    });
    let client = connect(&server);
    assert_eq!(client.get_data("/a").expect("in the end").0, b"x");
    assert_eq!(server.connections(), 1);
}

const SECOND: Duration = Duration::from_secs(1);
