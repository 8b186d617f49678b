use super::SessionState::*;
use super::*;

/// A machine that serves and has armed watch `id`.
fn watching(op: OpCode, kind: WatchKind, id: u64) -> Bench {
    let mut bench = Bench::serving();
    bench.arm(op, kind, "/a", id);
    let body = 0i32.to_be_bytes();
    bench.reply(1, 1, 0, &body).unwrap();
    bench.wrote();
    bench.said();
    bench
}

#[test]
fn b1_watch_is_set_by_the_reply_that_says_so() {
    use OpCode::{AddWatch, Exists, GetChildren, GetData};
    use WatchKind::{Child, Data, Recursive};
    let rows = [
        // op, kind, header error, error in the body, set
        (GetData, Data, 0, 0, true),
        (GetData, Data, -101, 0, false),
        (GetData, Data, -102, 0, false),
        (GetChildren, Child, 0, 0, true),
        (GetChildren, Child, -101, 0, false),
        (Exists, Data, 0, 0, true),
        (Exists, Data, -101, 0, true),
        (Exists, Data, -102, 0, false),
        (Exists, Data, -9_999, 0, false),
        (AddWatch, Recursive, 0, 0, true),
        (AddWatch, Recursive, -6, 0, false),
        // addWatch tells its errors in the body, behind a header that says ok.
        (AddWatch, Recursive, 0, -101, false),
    ];
    for (op, kind, err, inner, set) in rows {
        let row = format!("{op:?} {err} {inner}");
        let mut bench = Bench::serving();
        bench.arm(op, kind, "/a", 5);
        assert_eq!(bench.machine.watch_count(), 0, "{row}: before the reply");
        bench.reply(1, 1, err, &i32::to_be_bytes(inner)).unwrap();
        let said = bench.said();
        assert_eq!(bench.machine.watch_count(), usize::from(set), "{row}");
        assert_eq!(!said.contains(&Said::Forgot(5)), set, "{row}: {said:?}");
        assert!(matches!(said.last(), Some(Said::Answered(5, _))), "{row}");
    }
}

#[test]
fn b1_watch_of_a_lost_request_is_forgotten() {
    let mut bench = Bench::serving();
    bench.arm(OpCode::Exists, WatchKind::Data, "/a", 5);
    bench.lose();
    assert_eq!(
        bench.said(),
        [
            Said::Published(Disconnected),
            Said::Forgot(5),
            Said::Failed(5, Failure::ConnectionLoss { sent: true }),
            Said::Announced(Disconnected),
        ]
    );
    bench.serve();
    assert_eq!(bench.machine.watch_count(), 0);
}

#[test]
fn b1_addwatch_whose_answer_cannot_be_read_sets_nothing() {
    let mut bench = Bench::serving();
    bench.arm(OpCode::AddWatch, WatchKind::Persistent, "/a", 5);
    bench.reply(1, 1, 0, &[0, 0]).unwrap();
    assert_eq!(bench.said(), [Said::Forgot(5), Said::Answered(5, -5)]);
}

#[test]
fn one_shot_hears_once_and_persistent_until_it_ends() {
    let mut bench = watching(OpCode::GetData, WatchKind::Data, 5);
    bench.event(3, "/a", -1).unwrap();
    bench.event(3, "/a", -1).unwrap();
    assert_eq!(bench.said(), [Said::Heard(5, EventKind::DataChanged, true)]);

    let mut bench = watching(OpCode::AddWatch, WatchKind::Recursive, 6);
    bench.event(1, "/a/b/c", -1).unwrap();
    bench.event(2, "/a", -1).unwrap();
    bench.event(1, "/ab", -1).unwrap();
    bench.machine.terminate(Closed, &mut bench.fx);
    assert_eq!(
        bench.said(),
        [
            Said::Heard(6, EventKind::Created, false),
            Said::Heard(6, EventKind::Deleted, false),
            Said::Published(Closed),
            Said::Announced(Closed),
            Said::Heard(6, EventKind::Ended, true),
        ]
    );
}

#[test]
fn b8_event_that_nobody_knows_is_no_error() {
    let mut bench = watching(OpCode::GetData, WatchKind::Data, 5);
    bench.event(3, "/unknown", -1).unwrap();
    bench.event(99, "/a", -1).unwrap();
    bench.event(-1, "", -1).unwrap();
    assert_eq!(bench.said(), []);
    assert_eq!(bench.machine.watch_count(), 1, "still waits for its own");
}

#[test]
fn b12_zxid_of_an_event_is_an_option() {
    let mut bench = watching(OpCode::AddWatch, WatchKind::Persistent, 5);
    for (raw, zxid) in [(-1, None), (0, None), (0x1_0000_0007, Some(0x1_0000_0007))] {
        bench.event(3, "/a", raw).unwrap();
        match bench.fx.pop() {
            Some(Effect::Fire { event, .. }) => assert_eq!(event.zxid, zxid),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn torn_event_drops_the_connection() {
    let mut bench = watching(OpCode::GetData, WatchKind::Data, 5);
    for body in [&[][..], &[0; 7], &[0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 9, b'/']] {
        assert!(matches!(bench.reply(XID_NOTIFICATION, -1, 0, body), Err(Drop::Protocol(_))));
    }
}

#[test]
fn watches_outlive_a_connection_and_persistent_ones_hear_of_the_gap() {
    let mut bench = watching(OpCode::AddWatch, WatchKind::Persistent, 5);
    bench.arm(OpCode::GetChildren, WatchKind::Child, "/b", 6);
    bench.reply(2, 2, 0, &[]).unwrap();
    bench.wrote();
    bench.lose();
    bench.said();
    bench.connect();
    bench.grant(7, 6_000, false).unwrap();
    let wrote = bench.wrote();
    assert_eq!(wrote[1].op, OpCode::SetWatches2.raw());
    assert_eq!(wrote[1].xid, 1, "an ordinary xid");
    assert_eq!(
        bench.said(),
        [
            Said::Published(Connected),
            Said::Announced(Connected),
            Said::Heard(5, EventKind::Resync, false),
        ]
    );
}

#[test]
fn one_shot_watches_alone_are_set_as_old_servers_know_it() {
    let mut bench = watching(OpCode::GetData, WatchKind::Data, 5);
    bench.lose();
    bench.connect();
    bench.grant(7, 6_000, false).unwrap();
    assert_eq!(
        bench.wrote_ops(),
        [GREETING, OpCode::SetWatches.raw()],
        "SetWatches2 is unknown before 3.6"
    );
}

#[test]
fn refused_watches_drop_the_connection() {
    let mut bench = watching(OpCode::GetData, WatchKind::Data, 5);
    bench.lose();
    bench.connect();
    bench.grant(7, 6_000, false).unwrap();
    assert!(matches!(bench.reply(1, 1, -5, &[]), Err(Drop::Protocol(_))));
}

#[test]
fn expiry_ends_every_watch_once_and_sets_none_again() {
    let mut bench = watching(OpCode::AddWatch, WatchKind::Persistent, 5);
    bench.lose();
    bench.said();
    bench.connect();
    assert!(bench.refuse_session().is_err());
    assert_eq!(
        bench.said(),
        [
            Said::Published(Expired),
            Said::Announced(Expired),
            Said::Heard(5, EventKind::Ended, true),
        ]
    );
    bench.machine.renew(&mut bench.fx);
    bench.connect();
    bench.grant(8, 6_000, false).unwrap();
    assert_eq!(bench.wrote_ops(), [GREETING]);
    assert!(!bench.said().iter().any(|said| matches!(said, Said::Heard(..))));
}

#[test]
fn b2_hundred_thousand_watches_come_back_in_batches_of_128_kib() {
    let mut bench = Bench::serving();
    // Multi-byte characters: the limit is of bytes. 120 bytes each, every fifth also lasting.
    let path = |n: u64| format!("/{}/{n:09}", "ü".repeat(54));
    for n in 0..100_000 {
        let kind = match n % 5 {
            0 => WatchKind::Persistent,
            1 => WatchKind::Child,
            _ => WatchKind::Data,
        };
        let op = if kind.is_one_shot() { OpCode::GetData } else { OpCode::AddWatch };
        bench.arm(op, kind, &path(n), n);
        let xid = i32::try_from(n).unwrap() + 1;
        bench.reply(xid, 1, 0, &[0; 4]).unwrap();
        if n % 1_000 == 0 {
            bench.wrote();
        }
    }
    assert_eq!(bench.machine.watch_count(), 100_000);
    bench.wrote();
    bench.lose();
    bench.said();
    bench.connect();
    bench.grant(7, 6_000, false).unwrap();
    let mut seen: Vec<String> = Vec::new();
    let wrote = bench.wrote();
    let batches = &wrote[1..];
    for batch in batches {
        assert!([101, 105].contains(&batch.op), "{}", batch.op);
        // As the server's jute.maxbuffer counts: with the header, without the length.
        let len = 8 + batch.body.len();
        assert!(len <= 128 * 1024, "{len}");
        let mut reader = Reader::new(&batch.body);
        assert_eq!(reader.i64().unwrap(), 1);
        while reader.remaining() > 0 {
            for _ in 0..reader.i32().unwrap() {
                seen.push(reader.string().unwrap());
            }
        }
    }
    let bytes: usize = seen.iter().map(|path| path.len() + 4).sum();
    assert!(batches.len() <= bytes / (127 * 1024) + 1, "{}", batches.len());
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 100_000, "each once, none lost");
    for batch in batches {
        bench.reply(batch.xid, 1, 0, &[]).unwrap();
    }
}

#[test]
fn b2_path_larger_than_a_batch_goes_alone() {
    let mut bench = Bench::serving();
    for (id, path) in [(1, "/".to_owned() + &"x".repeat(200_000)), (2, "/b".to_owned())] {
        bench.arm(OpCode::GetData, WatchKind::Data, &path, id);
        bench.reply(id as i32, 1, 0, &[]).unwrap();
    }
    bench.wrote();
    bench.lose();
    bench.connect();
    bench.grant(7, 6_000, false).unwrap();
    assert_eq!(bench.wrote_ops().len(), 3);
}

#[test]
fn dropped_handle_takes_its_watch_off_the_server() {
    let mut bench = watching(OpCode::GetData, WatchKind::Data, 5);
    bench.machine.unwatch("/a", WatchId(5), bench.now, &mut bench.fx);
    assert_eq!(bench.said(), [Said::Forgot(5)]);
    let wrote = bench.wrote();
    assert_eq!(wrote[0].op, OpCode::RemoveWatches.raw());
    // The answer, whatever it is, is nobody's.
    bench.reply(wrote[0].xid, 1, -121, &[]).unwrap();
    assert_eq!(bench.said(), []);
    // Twice is once.
    bench.machine.unwatch("/a", WatchId(5), bench.now, &mut bench.fx);
    assert_eq!((bench.said(), bench.wrote()), (vec![], vec![]));
}

#[test]
fn server_that_cannot_take_watches_back_is_asked_once_a_session() {
    let drop_one = |bench: &mut Bench, id: u64| {
        bench.arm(OpCode::GetData, WatchKind::Data, "/a", id);
        let xid = bench.wrote()[0].xid;
        bench.reply(xid, 1, 0, &[]).unwrap();
        bench.machine.unwatch("/a", WatchId(id), bench.now, &mut bench.fx);
        bench.wrote()
    };
    let mut bench = Bench::serving();
    let asked = drop_one(&mut bench, 5);
    bench.reply(asked[0].xid, 1, -6, &[]).unwrap();
    assert_eq!(drop_one(&mut bench, 6), []);
    // Not by the next connection either, and what is left there is heard by nobody.
    bench.lose();
    bench.serve();
    bench.said();
    assert_eq!(drop_one(&mut bench, 7), []);
    bench.said();
    bench.event(3, "/a", -1).unwrap();
    assert_eq!((bench.said(), bench.machine.watch_count()), (vec![], 0));
    // The next session may be on newer servers.
    bench.lose();
    bench.connect();
    bench.refuse_session().unwrap_err();
    bench.machine.renew(&mut bench.fx);
    bench.serve();
    assert_eq!(drop_one(&mut bench, 8).len(), 1);
}

#[test]
fn watch_dropped_while_disconnected_is_not_set_again() {
    let mut bench = watching(OpCode::GetData, WatchKind::Data, 5);
    bench.lose();
    bench.machine.unwatch("/a", WatchId(5), bench.now, &mut bench.fx);
    bench.connect();
    bench.grant(7, 6_000, false).unwrap();
    assert_eq!(bench.wrote_ops(), [GREETING]);
}

#[test]
fn b7_one_shot_read_under_a_persistent_watch_does_not_replace_it() {
    let mut bench = watching(OpCode::AddWatch, WatchKind::Persistent, 5);
    bench.arm(OpCode::GetData, WatchKind::Data, "/a", 6);
    let wrote = bench.wrote();
    assert_eq!(wrote[0].body.last(), Some(&0), "not armed on the server");
    bench.reply(wrote[0].xid, 1, 0, &[]).unwrap();
    bench.said();
    bench.event(3, "/a", -1).unwrap();
    let mut heard = bench.said();
    heard.sort_by_key(|said| format!("{said:?}"));
    assert_eq!(
        heard,
        [
            Said::Heard(5, EventKind::DataChanged, false),
            Said::Heard(6, EventKind::DataChanged, true),
        ]
    );
}

#[test]
fn b7_both_lasting_kinds_on_a_path_add_the_recursive_one_last() {
    let mut bench = watching(OpCode::AddWatch, WatchKind::Recursive, 5);
    bench.arm(OpCode::AddWatch, WatchKind::Persistent, "/a", 6);
    bench.wrote();
    bench.reply(2, 1, 0, &[0; 4]).unwrap();
    let again = bench.wrote();
    assert_eq!(again[0].op, OpCode::AddWatch.raw());
    assert_eq!(again[0].body.last(), Some(&1), "recursive");
    assert_eq!(bench.said(), [Said::Answered(6, 0)]);
    bench.reply(again[0].xid, 1, 0, &[0; 4]).unwrap();
    assert_eq!(bench.said(), []);
}

#[test]
fn b7_removing_one_kind_under_a_lasting_watch_only_checks() {
    let mut bench = watching(OpCode::AddWatch, WatchKind::Persistent, 5);
    let change = |watcher_type| Some(Change::Remove { path: "/a".into(), watcher_type });
    bench.request(OpCode::RemoveWatches, 6, change(2));
    bench.request(OpCode::RemoveWatches, 7, change(3));
    assert_eq!(bench.wrote_ops(), [OpCode::CheckWatches.raw(), OpCode::RemoveWatches.raw()]);
    bench.reply(2, 1, 0, &[]).unwrap();
    assert_eq!(bench.said(), [Said::Answered(6, 0)], "5 is not of that type");
    bench.reply(3, 1, 0, &[]).unwrap();
    assert_eq!(bench.said(), [Said::Heard(5, EventKind::Ended, true), Said::Answered(7, 0)]);
}
