use proptest::prelude::*;

use super::SessionState::*;
use super::*;

#[test]
fn answers_come_in_order_with_their_codes() {
    let mut bench = Bench::serving();
    for token in [10, 11, 12] {
        bench.get(token);
    }
    let xids: Vec<i32> = bench.wrote().iter().map(|frame| frame.xid).collect();
    assert_eq!(xids, [1, 2, 3]);
    for (xid, err) in [(1, 0), (2, -101), (3, -9_999)] {
        bench.reply(xid, 5, err, b"body").unwrap();
    }
    assert_eq!(
        bench.said(),
        [Said::Answered(10, 0), Said::Answered(11, -101), Said::Answered(12, -9_999)]
    );
}

#[test]
fn c5_answers_that_fit_nothing_drop_the_connection_and_keep_the_session() {
    for xid in [2, 3, 99, i32::MAX, i32::MIN, -3, 0] {
        let mut bench = Bench::serving();
        bench.get(1);
        if xid == 2 {
            // A success that overtakes: the first is still owed.
            bench.get(2);
        }
        assert!(matches!(bench.reply(xid, 1, 0, &[]), Err(Drop::Protocol(_))), "{xid}");
        bench.lose();
        let failed = Said::Failed(1, Failure::ConnectionLoss { sent: true });
        assert!(bench.said().contains(&failed), "{xid}");
        bench.connect();
        assert_eq!(bench.greeted().2, 7, "the session goes on");
    }
}

#[test]
fn c5_second_answer_to_one_request_drops_the_connection() {
    let mut bench = Bench::serving();
    bench.get(1);
    bench.reply(1, 1, 0, &[]).unwrap();
    assert!(matches!(bench.reply(1, 1, 0, &[]), Err(Drop::Protocol(_))));
}

#[test]
fn c6_reserved_xids_answer_no_request() {
    let mut bench = Bench::serving();
    bench.get(1);
    bench.said();
    bench.reply(XID_PING, 1, 0, &[]).unwrap();
    assert!(bench.reply(-8, 1, 0, &[]).is_err());
    assert_eq!(bench.said(), []);
}

#[test]
fn c6_xids_wrap_to_one_in_the_machine() {
    let mut bench = Bench::with(Options { first_xid: i32::MAX - 1, ..options() });
    bench.serve();
    bench.said();
    for token in 0..4 {
        bench.get(token);
    }
    let xids: Vec<i32> = bench.wrote().iter().map(|frame| frame.xid).collect();
    assert_eq!(xids, [i32::MAX - 1, i32::MAX, 1, 2]);
    for (token, xid) in (0..).zip(xids) {
        bench.reply(xid, 1, 0, &[]).unwrap();
        assert_eq!(bench.said(), [Said::Answered(token, 0)]);
    }
}

#[test]
fn a8_session_moved_answers_its_request_and_drops_the_connection() {
    for code in [-118, -112] {
        let mut bench = Bench::serving();
        bench.get(1);
        bench.get(2);
        assert!(matches!(bench.reply(1, 1, code, &[]), Err(Drop::Protocol(_))));
        bench.lose();
        assert_eq!(
            bench.said(),
            [
                Said::Answered(1, code),
                Said::Published(Disconnected),
                Said::Failed(2, Failure::ConnectionLoss { sent: true }),
                Said::Announced(Disconnected),
            ]
        );
    }
}

#[test]
fn c9_too_large_an_answer_fails_its_own_call_only() {
    let mut bench = Bench::serving();
    bench.get(1);
    bench.get(2);
    let head = [&1i32.to_be_bytes()[..], &5i64.to_be_bytes(), &[0; 4]].concat();
    let piece = Piece::Oversize { head: &head, len: 2 << 20 };
    bench.machine.on_piece(piece, bench.now, &mut bench.fx).unwrap();
    bench.reply(2, 6, 0, &[]).unwrap();
    let failure = Failure::TooLarge { len: 2 << 20, limit: 1 << 20 };
    assert_eq!(bench.said(), [Said::Failed(1, failure), Said::Answered(2, 0)]);
}

#[test]
fn c9_too_large_a_frame_that_answers_nothing_drops_the_connection() {
    for xid in [-1, -2, -4, 2, 77] {
        let mut bench = Bench::serving();
        bench.get(1);
        let head = [&i32::to_be_bytes(xid)[..], &[0; 12]].concat();
        let piece = Piece::Oversize { head: &head, len: 2 << 20 };
        let result = bench.machine.on_piece(piece, bench.now, &mut bench.fx);
        assert!(matches!(result, Err(Drop::Protocol(_))), "{xid}");
    }
}

#[test]
fn c4_short_header_drops_the_connection() {
    for len in 0..16 {
        let mut bench = Bench::serving();
        bench.get(1);
        let bytes = [0, 0, 0, 1].repeat(4);
        assert!(matches!(bench.frame(&bytes[..len]), Err(Drop::Protocol(_))), "{len}");
    }
}

#[test]
fn closing_sends_nothing_more_and_ends_with_the_answer() {
    let mut bench = Bench::serving();
    bench.get(1);
    assert!(bench.machine.close_session(bench.now));
    assert!(!bench.machine.is_serving());
    assert!(!bench.machine.close_session(bench.now), "once");
    assert_eq!(bench.wrote_ops(), [OpCode::GetData.raw(), -11]);
    bench.reply(1, 1, 0, &[]).unwrap();
    assert_eq!(bench.reply(2, 2, 0, &[]), Err(Drop::Closed));
}

#[test]
fn closing_is_not_possible_without_a_connection_that_serves() {
    let mut bench = Bench::new();
    assert!(!bench.machine.close_session(bench.now));
    bench.connect();
    assert!(!bench.machine.close_session(bench.now));
}

#[test]
fn debug_print_shows_no_secret() {
    let mut bench = Bench::serving();
    bench.machine.add_auth("digest".into(), b"user:tiger".to_vec(), None);
    let text = format!("{:?}", bench.machine);
    assert!(!text.contains("tiger") && !text.contains("116, 105"), "{text}");
}

/// What may befall a machine.
#[derive(Clone, Debug)]
enum Blow {
    Frame(Vec<u8>),
    Reply(i32, i64, i32, Vec<u8>),
    Greeting(i64, i32, bool),
    Send,
    Watch(u64),
    Pass(u64),
    Connect,
    Lose,
    Renew,
    Auth,
    Close,
}

fn blow() -> impl Strategy<Value = Blow> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..60);
    prop_oneof![
        bytes.clone().prop_map(Blow::Frame),
        (-5..12i32, -1..9i64, prop_oneof![Just(0), Just(-101), Just(-118), any::<i32>()], bytes)
            .prop_map(|(xid, zxid, err, body)| Blow::Reply(xid, zxid, err, body)),
        (0..4i64, prop_oneof![Just(6_000), Just(0), any::<i32>()], any::<bool>())
            .prop_map(|(id, timeout, read_only)| Blow::Greeting(id, timeout, read_only)),
        Just(Blow::Send),
        (0..100u64).prop_map(Blow::Watch),
        (0..5_000u64).prop_map(Blow::Pass),
        Just(Blow::Connect),
        Just(Blow::Lose),
        Just(Blow::Renew),
        Just(Blow::Auth),
        Just(Blow::Close),
    ]
}

proptest! {
    /// Whatever a server says in whatever order: no panic, no illegal step (debug assertion), and
    /// every request that went in comes out exactly once.
    #[test]
    fn no_server_breaks_the_machine(
        blows in proptest::collection::vec(blow(), 1..120),
        read_only in any::<bool>(),
    ) {
        let mut bench = Bench::with(Options { read_only, ..options() });
        let mut sent = 0;
        let mut ended = Vec::new();
        for blow in blows {
            let mut result = Ok(());
            match blow {
                Blow::Frame(bytes) => result = bench.frame(&bytes),
                Blow::Reply(xid, zxid, err, body) => result = bench.reply(xid, zxid, err, &body),
                Blow::Greeting(id, timeout, read_only) => {
                    // Only an answer to a greeting has this shape.
                    result = bench.grant(id, timeout, read_only);
                }
                Blow::Send if bench.machine.is_serving() => {
                    bench.get(sent);
                    sent += 1;
                }
                Blow::Watch(n) if bench.machine.is_serving() => {
                    let kinds = [WatchKind::Data, WatchKind::Child, WatchKind::Recursive];
                    let kind = kinds[n as usize % 3];
                    let op = if kind.is_one_shot() { OpCode::Exists } else { OpCode::AddWatch };
                    bench.arm(op, kind, "/a", u64::from(sent));
                    sent += 1;
                }
                Blow::Send | Blow::Watch(_) => {}
                Blow::Pass(ms) => {
                    bench.pass(ms);
                    if bench.machine.tick(bench.now).is_err() {
                        bench.lose();
                    }
                }
                Blow::Connect if bench.machine.deadline().is_none() => bench.connect(),
                Blow::Connect => {}
                Blow::Lose => bench.lose(),
                Blow::Renew => bench.machine.renew(&mut bench.fx),
                Blow::Auth => bench.machine.add_auth("digest".into(), vec![1], None),
                Blow::Close => drop(bench.machine.close_session(bench.now)),
            }
            if result.is_err() {
                bench.lose();
                bench.machine.renew(&mut bench.fx);
            }
            for said in bench.said() {
                if let Said::Answered(token, _) | Said::Failed(token, _) = said {
                    ended.push(token);
                }
            }
        }
        bench.machine.terminate(Closed, &mut bench.fx);
        for said in bench.said() {
            if let Said::Answered(token, _) | Said::Failed(token, _) = said {
                ended.push(token);
            }
        }
        ended.sort_unstable();
        prop_assert_eq!(ended, (0..sent).collect::<Vec<_>>());
        prop_assert_eq!(bench.machine.watch_count(), 0);
    }
}

#[test]
fn a_batch_is_told_once_when_its_last_answer_came() {
    let mut bench = Bench::serving();
    bench.get(1);
    bench.batch(3, 2);
    bench.get(3);
    let xids: Vec<i32> = bench.wrote().iter().map(|frame| frame.xid).collect();
    assert_eq!(xids, [1, 2, 3, 4, 5], "each has its own xid");
    for (xid, err) in [(1, 0), (2, 0), (3, -101)] {
        bench.reply(xid, 5, err, b"body").unwrap();
    }
    assert_eq!(bench.said(), [Said::Answered(1, 0)]);
    bench.reply(4, 6, 0, b"body").unwrap();
    assert_eq!(bench.said(), [Said::AnsweredAll(2, vec![Ok(0), Ok(-101), Ok(0)])]);
    assert_eq!(bench.machine.last_zxid(), 6);
    bench.reply(5, 6, 0, b"body").unwrap();
    assert_eq!(bench.said(), [Said::Answered(3, 0)]);
}

#[test]
fn a_lost_connection_leaves_the_answers_that_came_and_fails_the_rest() {
    let mut bench = Bench::serving();
    bench.batch(3, 1);
    bench.batch(2, 2);
    bench.wrote();
    bench.reply(1, 5, 0, b"body").unwrap();
    bench.reply(2, 5, -101, b"").unwrap();
    bench.machine.disconnected(&mut bench.fx);
    let lost = Failure::ConnectionLoss { sent: true };
    assert_eq!(
        bench.said()[1..3],
        [
            Said::AnsweredAll(1, vec![Ok(0), Ok(-101), Err(lost)]),
            Said::AnsweredAll(2, vec![Err(lost), Err(lost)]),
        ]
    );
}

#[test]
fn a_refusal_that_overtakes_within_a_batch_waits_for_its_turn() {
    let mut bench = Bench::serving();
    bench.get(1);
    bench.batch(4, 2);
    bench.batch(1, 3);
    bench.wrote();
    bench.reply(3, 5, -6, b"").unwrap();
    bench.reply(5, 5, -6, b"").unwrap();
    assert_eq!(bench.said(), []);
    bench.reply(1, 5, 0, b"").unwrap();
    bench.reply(2, 5, 0, b"").unwrap();
    assert_eq!(bench.said(), [Said::Answered(1, 0)]);
    bench.reply(4, 5, 0, b"").unwrap();
    assert_eq!(bench.said(), [Said::AnsweredAll(2, vec![Ok(0), Ok(-6), Ok(0), Ok(-6)])]);
    bench.reply(6, 5, 0, b"").unwrap();
    assert_eq!(bench.said(), [Said::Answered(3, 0)], "a batch of one is a request");
}

#[test]
fn c5_a_second_answer_within_a_batch_drops_the_connection() {
    for (first, second) in
        [((2, -6), (2, -6)), ((2, -6), (2, 0)), ((1, 0), (1, 0)), ((1, 0), (4, 0))]
    {
        let mut bench = Bench::serving();
        bench.batch(3, 1);
        bench.reply(first.0, 5, first.1, b"").unwrap();
        assert!(bench.reply(second.0, 5, second.1, b"").is_err(), "{first:?} {second:?}");
    }
}

#[test]
fn an_answer_that_is_too_large_fails_one_of_a_batch() {
    let mut bench = Bench::serving();
    bench.batch(3, 1);
    bench.reply(1, 5, 0, b"body").unwrap();
    let mut head = Vec::new();
    Writer::new(&mut head).i32(2);
    Writer::new(&mut head).i64(5);
    Writer::new(&mut head).i32(0);
    let (now, len) = (bench.now, 9_000_000);
    let piece = Piece::Oversize { head: &head, len };
    bench.machine.on_piece(piece, now, &mut bench.fx).unwrap();
    bench.reply(3, 5, 0, b"body").unwrap();
    let said = bench.said();
    let [Said::AnsweredAll(1, ended)] = &said[..] else { panic!("{said:?}") };
    assert!(matches!(ended[..], [Ok(0), Err(Failure::TooLarge { len: 9_000_000, .. }), Ok(0)]));
}

#[test]
fn a_refusal_that_overtook_has_its_turn_behind_an_answer_that_is_too_large() {
    for large in [1, 2] {
        let mut bench = Bench::serving();
        bench.get(1);
        bench.batch(3, 2);
        bench.wrote();
        bench.reply(large + 1, 5, -6, b"").unwrap();
        if large == 2 {
            bench.reply(1, 5, 0, b"").unwrap();
        }
        bench.oversize(large).unwrap();
        for xid in large + 2..=4 {
            bench.reply(xid, 5, 0, b"").unwrap();
        }
        let too_large = Failure::TooLarge { len: 2 << 20, limit: 1 << 20 };
        let said = match large {
            1 => [Said::Failed(1, too_large), Said::AnsweredAll(2, vec![Ok(-6), Ok(0), Ok(0)])],
            _ => {
                let ended = vec![Err(too_large), Ok(-6), Ok(0)];
                [Said::Answered(1, 0), Said::AnsweredAll(2, ended)]
            }
        };
        assert_eq!(bench.said(), said);
    }
}
