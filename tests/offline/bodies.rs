//! Frames that are whole, and answers in them that are not what was asked for.

use std::time::Duration;

use zookeeper_blocking::{Applied, Code, Error, Transaction, Version, op as ops};

use crate::answers::{hurried, yes, yes_server};
use crate::support::scripted::Scripted;
use crate::support::wire::{Out, Stat, code, op};
use crate::wire::{connect, odd_answer};

/// The answer costs its own call and nothing else.
#[track_caller]
fn costs_the_call(server: &Scripted) -> Error {
    let client = connect(server);
    let error = client.get_data("/a").expect_err("nonsense is no answer");
    client.get_data("/a").expect("on the same connection");
    assert_eq!(server.connections(), 1, "{error}");
    error
}

#[test]
fn c3_impossible_counts_and_strings_cost_the_call() {
    let bodies = [
        ("2^31 - 1 bytes in 8", Out::new().i32(i32::MAX).i32(0)),
        ("-2 bytes", Out::new().i32(-2)),
        ("no stat", Out::new().buffer(b"x")),
        ("nothing", Out::new()),
        ("half a stat", Out::new().buffer(b"x").bytes(&[0; 67])),
    ];
    for (what, body) in bodies {
        let server = odd_answer(move |peer, request| peer.reply(request, 7, &body.0));
        let error = costs_the_call(&server);
        assert!(matches!(error, Error::Protocol { .. }), "{what}: {error}");
        assert_eq!(error.applied(), Applied::Unknown);
    }
}

#[test]
fn c3_lists_of_strings_are_read_with_care() {
    let lists = [
        ("2^31 - 1 names in 8 bytes", Out::new().i32(i32::MAX).i32(0), None),
        ("-2 names", Out::new().i32(-2), None),
        ("bad UTF-8", Out::new().i32(1).buffer(&[0xff, 0xfe]), Some(vec!["\u{fffd}\u{fffd}"])),
        ("NULL list", Out::new().null(), Some(vec![])),
        ("NUL in a name", Out::new().strings(&["a\0b"]), Some(vec!["a\0b"])),
        ("empty name", Out::new().strings(&[""]), Some(vec![""])),
    ];
    for (what, body, expected) in lists {
        let server = Scripted::start(move |_, peer| {
            peer.handshake();
            peer.serve(|request| match request.op {
                op::GET_CHILDREN | op::GET_CHILDREN2 => {
                    let stat = Out(body.0.clone()).stat(&Stat::default());
                    (7, 0, stat.0)
                }
                _ => yes(request),
            });
        });
        let client = connect(&server);
        match (client.get_children("/a"), expected) {
            (Ok(names), Some(expected)) => assert_eq!(names, expected, "{what}"),
            (Err(error), None) => {
                assert!(matches!(error, Error::Protocol { .. }), "{what}: {error}");
            }
            (other, _) => panic!("{what}: {other:?}"),
        }
        client.get_data("/a").expect("the connection lives");
        assert_eq!(server.connections(), 1, "{what}");
    }
}

#[test]
fn c7_every_error_code_is_a_value() {
    let server = Scripted::start(|_, peer| {
        peer.handshake();
        // The path is the code.
        peer.serve(|request| (7, request.path()[1..].parse().expect("a number"), Vec::new()));
    });
    let client = connect(&server);
    let codes = (-32_768..32_768).step_by(7).chain([i32::MIN, i32::MAX, -127, -125, -14]);
    // These two say that the session is elsewhere or gone, and cost the connection.
    let codes: Vec<i32> = codes.filter(|code| ![0, -112, -118].contains(code)).collect();
    let pending: Vec<_> = codes
        .iter()
        .map(|code| client.submit(ops::Delete::new(format!("/{code}"))).expect("queued"))
        .collect();
    for (raw, pending) in codes.iter().zip(pending) {
        let error = pending.wait().expect_err("a code that is not 0");
        assert!(matches!(error, Error::Refused { .. }), "{raw}: {error}");
        assert_eq!(error.code().map(Code::raw), Some(*raw));
    }
    assert_eq!(server.connections(), 1);
}

/// One result in the answer to a transaction.
fn result(out: Out, kind: i32, err: i32) -> Out {
    out.i32(kind).bool(false).i32(err)
}

fn end(out: Out) -> Vec<u8> {
    out.i32(-1).bool(true).i32(-1).0
}

fn answer_multi(header_err: i32, body: Vec<u8>) -> Scripted {
    Scripted::start(move |_, peer| {
        peer.handshake();
        peer.serve(|request| match request.op {
            op::MULTI => (7, header_err, body.clone()),
            _ => yes(request),
        });
    })
}

fn three_ops() -> Transaction<'static> {
    Transaction::new().check("/a", 1).delete("/b", Version::Any).set_data("/c", "y", 2)
}

#[test]
fn c8_transaction_that_failed_behind_a_header_that_says_ok() {
    let errors = [0, code::NO_NODE, -2];
    let body = errors.iter().fold(Out::new(), |out, err| result(out, -1, *err).i32(*err));
    let server = answer_multi(0, end(body));
    let client = connect(&server);
    match client.call(three_ops()) {
        Err(Error::Transaction { index: 1, code: Code::NoNode, at, .. }) => {
            assert_eq!((at.op, &*at.path), ("delete", "/b"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn c8_transaction_answers_of_the_wrong_shape_cost_the_call() {
    let check = |out| result(out, op::CHECK, 0);
    let delete = |out| result(out, op::DELETE, 0);
    let set = |out| result(out, op::SET_DATA, 0).stat(&Stat::default());
    let rows = [
        ("nothing", Vec::new()),
        ("no results", end(Out::new())),
        ("two of three", end(delete(check(Out::new())))),
        ("four of three", end(delete(set(delete(check(Out::new())))))),
        ("no end", set(delete(check(Out::new()))).0),
        ("other kinds", end(check(delete(set(Out::new()))))),
        ("torn stat", result(delete(check(Out::new())), op::SET_DATA, 0).bytes(&[0; 60]).0),
    ];
    for (what, body) in rows {
        let server = answer_multi(0, body);
        let client = connect(&server);
        let error = client.call(three_ops()).expect_err(what);
        assert!(matches!(error, Error::Protocol { .. }), "{what}: {error}");
        client.get_data("/a").expect("the connection lives");
        assert_eq!(server.connections(), 1, "{what}");
    }
    let server = answer_multi(0, end(set(delete(check(Out::new())))));
    assert_eq!(connect(&server).call(three_ops()).expect("the right shape").len(), 3);
}

#[test]
fn c8_transaction_refused_in_the_header_is_refused() {
    let server = answer_multi(code::MARSHALLING_ERROR, Vec::new());
    let error = connect(&server).call(three_ops()).expect_err("refused");
    assert_eq!(error.code(), Some(Code::MarshallingError));
}

#[test]
fn c9_answer_over_the_limit_fails_its_own_call() {
    let server = Scripted::start(|_, peer| {
        peer.handshake();
        peer.serve(|request| match request.op {
            op::GET_DATA if request.path() == "/big" => {
                let body = Out::new().buffer(&vec![0; 1 << 20]).stat(&Stat::default());
                (7, 0, body.0)
            }
            _ => yes(request),
        });
    });
    let client = hurried(&server.connect_string()).max_reply(100_000).connect().expect("connects");
    let paths = ["/a", "/big", "/b", "/big", "/c"];
    let pending = paths.map(|path| client.submit(ops::GetData::new(path)).expect("queued"));
    for (path, pending) in paths.into_iter().zip(pending) {
        match (path, pending.wait()) {
            ("/big", Err(Error::TooLarge { len, limit: 100_000, .. })) => assert!(len > 1 << 20),
            (_, Ok((data, _))) => assert_eq!(data, b"x", "{path}"),
            (_, other) => panic!("{path}: {other:?}"),
        }
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn c10_request_over_the_servers_limit_is_not_sent() {
    let server = yes_server();
    let client = connect(&server);
    let error = client.set_data("/a", vec![0; 1 << 20], 1).expect_err("too large");
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
    assert_eq!(error.applied(), Applied::No);
    // The members of a transaction count together.
    let half = vec![0; 600 << 10];
    let both = Transaction::new().set_data("/a", half.clone(), 1).set_data("/b", half.clone(), 1);
    let error = client.call(both).expect_err("too large");
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
    client.set_data("/a", half, 1).expect("one of them fits");
    assert_eq!(server.received_of(op::MULTI).len(), 0);
    assert_eq!(server.received_of(op::SET_DATA).len(), 1);
    assert_eq!(server.connections(), 1);

    let tiny = hurried(&server.connect_string()).max_request(100).connect().expect("connects");
    assert!(tiny.set_data("/a", [0; 100], 1).is_err(), "the limit is the user's");
}

#[test]
fn c12_old_servers_refusals_are_typed() {
    for (raw, code) in [
        (code::UNIMPLEMENTED, Code::Unimplemented),
        (code::MARSHALLING_ERROR, Code::MarshallingError),
    ] {
        let server = odd_answer(move |peer, request| peer.reply_error(request, raw));
        assert_eq!(costs_the_call(&server).code(), Some(code));
    }
}

#[test]
fn c12_refusal_that_overtakes_reaches_its_own_call() {
    // Unknown operations are refused before those ahead of them are done.
    let server = odd_answer(|peer, request| {
        let later = peer.expect(op::WHO_AM_I);
        peer.reply_error(&later, code::UNIMPLEMENTED);
        let (zxid, err, body) = yes(request);
        peer.reply_with(request.xid, zxid, err, &body);
    });
    let client = connect(&server);
    let get = client.submit(ops::GetData::new("/a")).expect("queued");
    let who = client.submit(ops::WhoAmI::new()).expect("queued");
    assert_eq!(who.wait().expect_err("refused").code(), Some(Code::Unimplemented));
    assert_eq!(get.wait().expect("done").0, b"x");
    assert_eq!(server.connections(), 1);
}

#[test]
fn c14_lifetimes_out_of_range_are_not_sent() {
    let server = Scripted::start(|_, peer| {
        peer.handshake();
        peer.serve(|request| match request.op {
            op::CREATE_TTL => (7, code::UNIMPLEMENTED, Vec::new()),
            _ => yes(request),
        });
    });
    let client = connect(&server);
    let create = |ttl| client.call(ops::Create::new("/a").ttl(ttl));
    let longest = (1 << 40) - 1;
    for ttl in [Duration::ZERO, Duration::from_millis(longest + 1), Duration::MAX] {
        let error = create(ttl).expect_err("out of range");
        assert!(matches!(error, Error::Invalid { .. }), "{ttl:?}: {error}");
    }
    assert_eq!(server.received_of(op::CREATE_TTL).len(), 0);
    for ttl in [1, longest] {
        let error = create(Duration::from_millis(ttl)).expect_err("no such nodes here");
        assert_eq!(error.code(), Some(Code::Unimplemented));
    }
    assert_eq!(server.received_of(op::CREATE_TTL).len(), 2);
}
