use std::collections::HashSet;

use super::SessionState::*;
use super::*;

/// A machine in `state`, by the shortest way.
fn in_state(state: SessionState) -> Bench {
    let mut bench = Bench::read_only();
    match state {
        Connecting => {}
        Connected => bench.serve(),
        ReadOnly => {
            bench.connect();
            bench.grant(0, 6_000, true).unwrap();
        }
        Disconnected => {
            bench.serve();
            bench.lose();
        }
        Expired => {
            bench.serve();
            bench.lose();
            bench.connect();
            assert_eq!(bench.refuse_session(), Err(Drop::Expired));
        }
        AuthFailed | Closed => bench.machine.terminate(state, &mut bench.fx),
    }
    assert_eq!(bench.machine.state(), state);
    bench.wrote();
    bench.said();
    bench
}

/// Makes the machine take the step to `to`, by what causes it in life.
fn step(bench: &mut Bench, to: SessionState) {
    match to {
        Connecting => bench.machine.renew(&mut bench.fx),
        Connected => {
            bench.connect();
            bench.grant(7, 6_000, false).unwrap();
        }
        ReadOnly => {
            bench.connect();
            bench.grant(0, 6_000, true).unwrap();
        }
        Disconnected => bench.lose(),
        Expired => {
            if bench.machine.state() == Connecting {
                bench.machine.attach(7, vec![9; 16]);
            }
            bench.connect();
            assert_eq!(bench.refuse_session(), Err(Drop::Expired));
        }
        AuthFailed | Closed => bench.machine.terminate(to, &mut bench.fx),
    }
}

const ALL: [SessionState; 7] =
    [Connecting, Connected, ReadOnly, Disconnected, Expired, AuthFailed, Closed];

#[test]
fn every_legal_step_is_walked_and_publishes_first_and_announces_once() {
    let mut walked = HashSet::new();
    for from in ALL {
        for to in ALL.into_iter().filter(|to| from.may_become(*to)) {
            let mut bench = in_state(from);
            step(&mut bench, to);
            assert_eq!(bench.machine.state(), to, "{from} to {to}");
            let said = bench.said();
            assert_eq!(said.first(), Some(&Said::Published(to)), "{from} to {to}");
            let announced = said.iter().filter(|s| **s == Said::Announced(to)).count();
            assert_eq!(announced, 1, "{from} to {to}: {said:?}");
            walked.insert((from, to));
        }
    }
    // 6 by the network, 3 by expiry, 2 ends for each of 5 living states.
    assert_eq!(walked.len(), 19);
}

#[test]
fn nothing_moves_a_terminal_state() {
    for state in [AuthFailed, Closed] {
        let mut bench = in_state(state);
        bench.lose();
        bench.machine.renew(&mut bench.fx);
        bench.machine.give_up_session(&mut bench.fx);
        bench.machine.terminate(Closed, &mut bench.fx);
        bench.machine.terminate(AuthFailed, &mut bench.fx);
        assert_eq!(bench.machine.state(), state);
        assert_eq!(bench.said(), []);
    }
}

#[test]
fn in_flight_fails_oldest_first_between_publishing_and_announcing() {
    type Cause = fn(&mut Bench);
    let lost: Cause = |bench| bench.lose();
    let closed: Cause = |bench| bench.machine.terminate(Closed, &mut bench.fx);
    let refused: Cause = |bench| {
        bench.machine.add_auth("digest".into(), b"a:b".to_vec(), None);
        assert_eq!(bench.reply(XID_AUTH, 0, -115, &[]), Err(Drop::AuthFailed));
    };
    let causes = [
        (lost, Disconnected, Failure::ConnectionLoss { sent: true }),
        (closed, Closed, Failure::Closed { sent: true }),
        (refused, AuthFailed, Failure::AuthFailed { sent: true }),
    ];
    for (cause, state, failure) in causes {
        let mut bench = Bench::serving();
        for token in [1, 2, 3] {
            bench.get(token);
        }
        cause(&mut bench);
        let expected = [
            Said::Published(state),
            Said::Failed(1, failure),
            Said::Failed(2, failure),
            Said::Failed(3, failure),
            Said::Announced(state),
        ];
        assert_eq!(bench.said(), expected);
    }
}

#[test]
fn connection_that_never_served_is_lost_without_a_word() {
    let mut bench = Bench::new();
    bench.connect();
    bench.lose();
    assert_eq!(bench.machine.state(), Connecting);
    assert_eq!(bench.said(), []);
    // Nor when it was the reconnect.
    bench.serve();
    bench.lose();
    bench.said();
    bench.connect();
    bench.lose();
    assert_eq!(bench.machine.state(), Disconnected);
    assert_eq!(bench.said(), []);
}

#[test]
fn reconnect_asks_for_the_same_session() {
    let mut bench = Bench::new();
    bench.connect();
    assert_eq!(bench.greeted(), (0, 6_000, 0));
    bench.grant(7, 4_000, false).unwrap();
    assert_eq!(bench.machine.identity(), (7, &[9; 16][..]));
    bench.get(1);
    bench.reply(1, 55, 0, &[]).unwrap();
    bench.wrote();
    bench.lose();
    bench.connect();
    // The timeout is asked for anew: another server may grant more.
    assert_eq!(bench.greeted(), (55, 6_000, 7));
}

#[test]
fn a6_another_session_on_reconnect_is_an_expiry_and_is_not_taken_over() {
    let mut bench = Bench::serving();
    bench.lose();
    bench.said();
    bench.connect();
    bench.wrote();
    assert_eq!(bench.grant(8, 6_000, false), Err(Drop::Expired));
    assert_eq!(bench.said(), [Said::Published(Expired), Said::Announced(Expired)]);
    assert_eq!(bench.machine.identity().0, 0);
    assert_eq!(bench.machine.epoch(), 2);
}

#[test]
fn a7_session_refused_is_typed_expired_and_forgets_everything_of_it() {
    let mut bench = Bench::serving();
    bench.get(1);
    bench.reply(1, 55, 0, &[]).unwrap();
    bench.lose();
    bench.said();
    bench.connect();
    assert_eq!(bench.refuse_session(), Err(Drop::Expired));
    assert_eq!(bench.machine.lease_until(), None);
    bench.machine.renew(&mut bench.fx);
    bench.connect();
    assert_eq!(bench.greeted(), (0, 6_000, 0));
    bench.grant(8, 6_000, false).unwrap();
    assert_eq!(
        bench.said(),
        [
            Said::Published(Expired),
            Said::Announced(Expired),
            Said::Published(Connecting),
            Said::Announced(Connecting),
            Said::Published(Connected),
            Said::Announced(Connected),
        ]
    );
    assert_eq!(bench.machine.identity().0, 8);
}

#[test]
fn a13_new_session_with_no_time_to_live_is_refused_not_divided_by() {
    for timeout in [0, -1, i32::MIN] {
        let mut bench = Bench::new();
        bench.connect();
        assert!(matches!(bench.grant(7, timeout, false), Err(Drop::Protocol(_))));
        assert_eq!(bench.machine.state(), Connecting);
        assert_eq!(bench.machine.identity().0, 0);
        assert_eq!(bench.said(), []);
    }
}

#[test]
fn a13_clocks_run_by_the_negotiated_timeout() {
    for granted in [1, 300, 30_000, i32::MAX] {
        let mut bench = Bench::new();
        bench.connect();
        bench.grant(7, granted, false).unwrap();
        bench.wrote();
        let granted = Duration::from_millis(granted as u64);
        assert_eq!(bench.machine.timeout(), granted);
        assert_eq!(bench.machine.lease_until(), Some(bench.now + granted));
        assert_eq!(bench.machine.deadline(), Some(bench.now + granted / 3));
    }
}

#[test]
fn a17_silent_greeting_is_given_up_after_a_third_of_the_session() {
    for (timeout_ms, limit) in [(100, 300), (6_000, 2_000), (60_000, 5_000)] {
        let mut bench = Bench::with(Options { timeout: ms(timeout_ms), ..options() });
        bench.connect();
        assert_eq!(bench.machine.deadline(), Some(bench.now + ms(limit)));
        bench.pass(limit - 1);
        // Bytes that are no answer do not keep it alive.
        bench.machine.heard(1, bench.now);
        assert_eq!(bench.machine.tick(bench.now), Ok(()));
        bench.pass(1);
        assert!(bench.machine.tick(bench.now).is_err());
    }
}

#[test]
fn ping_goes_out_after_a_third_and_silence_is_death_after_two() {
    let mut bench = Bench::serving();
    bench.pass(1_999);
    bench.machine.tick(bench.now).unwrap();
    assert_eq!(bench.wrote(), []);
    bench.pass(1);
    bench.machine.tick(bench.now).unwrap();
    let ping = bench.wrote();
    assert_eq!((ping[0].xid, ping[0].op), (XID_PING, OpCode::Ping.raw()));
    bench.pass(1_999);
    bench.machine.tick(bench.now).unwrap();
    assert_eq!(bench.wrote(), [], "one ping at a time");
    bench.pass(1);
    assert!(bench.machine.tick(bench.now).is_err());
}

#[test]
fn a16_requests_without_answers_do_not_hide_a_dead_server() {
    let mut bench = Bench::serving();
    for token in 0..39 {
        bench.pass(100);
        bench.get(token);
        bench.wrote();
        assert_eq!(bench.machine.tick(bench.now), Ok(()), "{token}");
    }
    bench.pass(100);
    assert!(bench.machine.tick(bench.now).is_err());
}

#[test]
fn lease_runs_from_the_send_time_of_what_was_answered() {
    let mut bench = Bench::new();
    let greeted = bench.now;
    bench.connect();
    bench.pass(100);
    bench.grant(7, 6_000, false).unwrap();
    assert_eq!(bench.machine.lease_until(), Some(greeted + T));
    bench.pass(100);
    let asked = bench.now;
    bench.get(1);
    bench.pass(1_000);
    bench.get(2);
    assert_eq!(bench.machine.lease_until(), Some(greeted + T));
    bench.reply(1, 1, 0, &[]).unwrap();
    assert_eq!(bench.machine.lease_until(), Some(asked + T));
    // An event tells that the server lives, not that it heard us.
    bench.pass(500);
    bench.event(1, "/a", -1).unwrap();
    assert_eq!(bench.machine.lease_until(), Some(asked + T));
    // An error that overtakes, and then the answer to the older: never backwards.
    let asked = bench.now;
    bench.get(3);
    bench.reply(3, 1, -6, &[]).unwrap();
    assert_eq!(bench.machine.lease_until(), Some(asked + T));
    bench.reply(2, 1, 0, &[]).unwrap();
    assert_eq!(bench.machine.lease_until(), Some(asked + T));
    // A lost connection moves nothing.
    bench.lose();
    assert_eq!(bench.machine.lease_until(), Some(asked + T));
}

#[test]
fn lease_runs_from_the_send_time_of_the_answered_ping() {
    let mut bench = Bench::serving();
    bench.pass(2_000);
    let pinged = bench.now;
    bench.machine.tick(bench.now).unwrap();
    bench.pass(900);
    bench.reply(XID_PING, 0, 0, &[]).unwrap();
    assert_eq!(bench.machine.lease_until(), Some(pinged + T));
    // An answer to no ping proves nothing.
    bench.pass(100);
    bench.reply(XID_PING, 0, 0, &[]).unwrap();
    assert_eq!(bench.machine.lease_until(), Some(pinged + T));
}

#[test]
fn a10_last_zxid_only_from_replies() {
    let mut bench = Bench::serving();
    let far = 1 << 40;
    bench.get(1);
    bench.reply(1, 10, 0, &[]).unwrap();
    bench.event(3, "/a", far).unwrap();
    bench.reply(XID_PING, far, 0, &[]).unwrap();
    bench.machine.add_auth("digest".into(), b"a:b".to_vec(), None);
    bench.reply(XID_AUTH, far, 0, &[]).unwrap();
    assert_eq!(bench.machine.last_zxid(), 10);
    // A watch is set, so that the reconnect has something to send.
    bench.arm(OpCode::GetData, WatchKind::Data, "/a", 2);
    bench.reply(2, 11, 0, &[]).unwrap();
    bench.lose();
    bench.connect();
    bench.grant(7, 6_000, false).unwrap();
    bench.reply(XID_AUTH, 0, 0, &[]).unwrap();
    let wrote = bench.wrote();
    let set = wrote.iter().find(|frame| frame.op == 101).unwrap();
    assert_eq!(set.body[..8], 11i64.to_be_bytes());
    bench.reply(set.xid, far, 0, &[]).unwrap();
    assert_eq!(bench.machine.last_zxid(), 11, "not from SetWatches either");
}

#[test]
fn a11_read_only_server_is_refused_unless_wanted() {
    let mut bench = Bench::new();
    bench.connect();
    assert!(matches!(bench.grant(5, 6_000, true), Err(Drop::Protocol(_))));
    assert_eq!(bench.machine.state(), Connecting);
}

#[test]
fn a11_read_only_server_gives_no_session() {
    let mut bench = Bench::read_only();
    bench.connect();
    bench.grant(5, 6_000, true).unwrap();
    assert_eq!(bench.said(), [Said::Published(ReadOnly), Said::Announced(ReadOnly)]);
    assert_eq!(bench.machine.identity().0, 0, "5 means nothing elsewhere");
    bench.wrote();
    bench.lose();
    bench.connect();
    assert_eq!(bench.greeted().2, 0);
    bench.grant(7, 6_000, false).unwrap();
    assert_eq!(bench.machine.identity().0, 7);
    // Once there is a session, a read-only server neither takes nor changes it.
    bench.lose();
    bench.connect();
    bench.wrote();
    bench.grant(9, 6_000, true).unwrap();
    assert_eq!(bench.machine.state(), ReadOnly);
    assert_eq!(bench.machine.identity().0, 7);
    bench.lose();
    bench.connect();
    assert_eq!(bench.greeted().2, 7);
    bench.grant(7, 6_000, false).unwrap();
    assert_eq!(bench.machine.epoch(), 1);
}

#[test]
fn a22_order_is_greeting_credentials_watches_requests() {
    let mut bench = Bench::serving();
    bench.arm(OpCode::GetData, WatchKind::Data, "/a", 1);
    bench.reply(1, 1, 0, &[]).unwrap();
    bench.lose();
    for user in [b"a:b", b"c:d"] {
        bench.machine.add_auth("digest".into(), user.to_vec(), Some(40));
    }
    bench.said();
    bench.connect();
    let mut ops = bench.wrote_ops();
    bench.grant(7, 6_000, false).unwrap();
    ops.extend(bench.wrote_ops());
    assert_eq!(ops, [GREETING, 100, 100]);
    // Connected only when both are acknowledged.
    bench.reply(XID_AUTH, 0, 0, &[]).unwrap();
    assert!(!bench.machine.is_serving());
    assert_eq!(bench.said(), [Said::Answered(40, 0)]);
    assert_eq!(bench.machine.state(), Disconnected);
    bench.reply(XID_AUTH, 0, 0, &[]).unwrap();
    assert!(bench.machine.is_serving());
    assert_eq!(
        bench.said(),
        [Said::Answered(40, 0), Said::Published(Connected), Said::Announced(Connected)]
    );
    bench.get(50);
    assert_eq!(bench.wrote_ops(), [101, OpCode::GetData.raw()]);
}

#[test]
fn a22_refused_credentials_end_the_client_on_a_reconnect_too() {
    let mut bench = Bench::new();
    bench.machine.add_auth("digest".into(), b"a:b".to_vec(), Some(1));
    bench.serve();
    bench.reply(XID_AUTH, 0, 0, &[]).unwrap();
    bench.arm(OpCode::GetData, WatchKind::Data, "/a", 2);
    bench.reply(1, 1, 0, &[]).unwrap();
    bench.lose();
    bench.connect();
    bench.said();
    bench.grant(7, 6_000, false).unwrap();
    assert_eq!(bench.reply(XID_AUTH, 0, -115, &[]), Err(Drop::AuthFailed));
    assert_eq!(
        bench.said(),
        [
            Said::Published(AuthFailed),
            Said::Announced(AuthFailed),
            Said::Heard(2, EventKind::Ended, true),
        ]
    );
}

#[test]
fn nothing_comes_after_the_end_whatever_a_server_says() {
    let mut bench = Bench::new();
    bench.machine.add_auth("digest".into(), b"a:b".to_vec(), None);
    bench.connect();
    bench.grant(7, 6_000, false).unwrap();
    assert_eq!(bench.reply(XID_AUTH, 0, -115, &[]), Err(Drop::AuthFailed));
    bench.said();
    bench.connect();
    assert!(bench.machine.output().is_empty(), "greeted after the end");
    // The session refused: this found its way to an expiry once.
    assert_eq!(bench.grant(0, 0, false), Ok(()));
    assert_eq!(bench.said(), []);
    assert_eq!(bench.machine.state(), AuthFailed);
}

#[test]
fn credentials_are_replayed_in_the_next_session() {
    let mut bench = Bench::new();
    bench.machine.add_auth("digest".into(), b"a:b".to_vec(), None);
    for _ in 0..2 {
        bench.connect();
        bench.grant(7, 6_000, false).unwrap();
        assert_eq!(bench.wrote_ops(), [GREETING, 100]);
        bench.reply(XID_AUTH, 0, 0, &[]).unwrap();
        assert_eq!(bench.machine.state(), Connected);
        bench.lose();
        bench.connect();
        bench.wrote();
        assert_eq!(bench.refuse_session(), Err(Drop::Expired));
        bench.machine.renew(&mut bench.fx);
    }
}

#[test]
fn a_credential_answer_that_was_not_asked_for_drops_the_connection() {
    let mut bench = Bench::serving();
    for err in [0, -115] {
        assert!(matches!(bench.reply(XID_AUTH, 0, err, &[]), Err(Drop::Protocol(_))));
    }
    assert_eq!(bench.machine.state(), Connected, "a stray -115 is no verdict");
}

#[test]
fn session_is_given_up_only_while_there_is_no_connection() {
    let mut bench = Bench::serving();
    bench.machine.give_up_session(&mut bench.fx);
    assert_eq!(bench.machine.state(), Connected);
    bench.lose();
    bench.said();
    bench.machine.give_up_session(&mut bench.fx);
    assert_eq!(bench.said(), [Said::Published(Expired), Said::Announced(Expired)]);
}

#[test]
fn greeting_in_pieces_and_greeting_that_is_none() {
    for bytes in [&[][..], &[0; 7], &[0; 19], &[0xff; 35]] {
        let mut bench = Bench::new();
        bench.connect();
        assert!(matches!(bench.frame(bytes), Err(Drop::Protocol(_))), "{bytes:?}");
    }
    let mut bench = Bench::new();
    bench.connect();
    let piece = Piece::Oversize { head: &[0; 16], len: 1 << 30 };
    assert!(bench.machine.on_piece(piece, bench.now, &mut bench.fx).is_err());
}
