//! The decision on queues of all kinds of names and numbers.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

fn children(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).into()).collect()
}

fn lock(guid: impl std::fmt::Display, sequence: i32) -> String {
    format!("{guid}__lock__{sequence:010}")
}

/// All names that hold, each asked for itself with the rivals of its kind.
fn holders(children: &[String], leases: usize) -> Vec<Contender<'_>> {
    let all = parse_all(children, EXCLUSIVE_AND_SHARED);
    all.filter(|contender| {
        let rivals = match contender.kind {
            Kind::Shared => EXCLUSIVE,
            _ => EXCLUSIVE_AND_SHARED,
        };
        decide(children, contender.name, rivals, leases) == Decision::Held
    })
    .collect()
}

#[test]
fn first_holds_and_each_other_waits_for_the_one_before() {
    let names = children(&["b__lock__0000000002", "a__lock__0000000003", "c__lock__0000000001"]);
    let decided = |own| decide(&names, own, EXCLUSIVE, 1);
    assert_eq!(decided("c__lock__0000000001"), Decision::Held);
    assert_eq!(
        decided("b__lock__0000000002"),
        Decision::Wait { predecessor: "c__lock__0000000001" }
    );
    assert_eq!(
        decided("a__lock__0000000003"),
        Decision::Wait { predecessor: "b__lock__0000000002" }
    );
    assert_eq!(decided("d__lock__0000000001"), Decision::Missing);
    assert_eq!(decided("no number"), Decision::Missing);
    assert_eq!(
        ordered(&names, EXCLUSIVE).concat(),
        "c__lock__0000000001b__lock__0000000002a__lock__0000000003"
    );
}

#[test]
fn e7_used_up_parent_waits_for_sound_contenders_and_gives_up_for_strangers() {
    let sound = [lock("a", 7), lock("b", i32::MAX - 1), lock("c", i32::MAX), lock("d", -5)];
    assert_eq!(rest(&sound), Rest::Sound(&sound[1]));
    assert_eq!(rest(&sound[2..]), Rest::Exhausted);
    assert_eq!(rest(&[]), Rest::Exhausted);
    let reader = children(&["r__rlock__0000000007", "c__lock__2147483647"]);
    assert_eq!(rest(&reader), Rest::Sound("r__rlock__0000000007"));
    assert_eq!(rest(&children(&["config", "a__lock__0000000007"])), Rest::Stranger);
}

#[test]
fn names_of_all_clients_are_read() {
    for (name, kind) in [
        ("514e5a831836450cb1a56c741e990fd8__lock__0000000032", Kind::Exclusive),
        ("514e5a831836450cb1a56c741e990fd8__rlock__0000000032", Kind::Shared),
        ("_c_8eb33557-3c2f-4a3c-8eb3-35573c2f4a3c-lock-0000000032", Kind::Exclusive),
        ("_c_8eb33557-3c2f-4a3c-8eb3-35573c2f4a3c-latch-0000000032", Kind::Exclusive),
        ("_c_8eb33557-3c2f-4a3c-8eb3-35573c2f4a3c-__WRIT__0000000032", Kind::Exclusive),
        ("_c_8eb33557-3c2f-4a3c-8eb3-35573c2f4a3c-__READ__0000000032", Kind::Shared),
        ("_c_514e5a831836450cb1a56c741e990fd8-lock-0000000032", Kind::Exclusive),
    ] {
        let read = Contender::parse(name, EXCLUSIVE_AND_SHARED);
        assert_eq!(read, Some(Contender { name, kind, sequence: 32 }));
        let exclusive = Contender::parse(name, EXCLUSIVE).is_some();
        assert_eq!(exclusive, kind == Kind::Exclusive, "{name}");
    }
    let lease = Contender::parse("_c_8eb33557-lease-0000000032", LEASES).unwrap();
    assert_eq!((lease.kind, lease.sequence), (Kind::Lease, 32));
}

// Every way to take the wrong part of the name for the order: a session id or GUID that sorts
// the other way (ZOOKEEPER-2931), a longer prefix, digits before the pattern.
#[test]
fn e6_order_is_by_sequence_whatever_stands_before_it() {
    let names = children(&[
        "_c_ffffffff-lock-0000000004",
        "0000000000__lock__0000000005",
        "zzz__lock__0000000001",
        "_c_00000000-__WRIT__0000000003",
        "_c_0-lock-9999999999-latch-0000000002",
    ]);
    assert_eq!(
        ordered(&names, EXCLUSIVE),
        [
            "zzz__lock__0000000001",
            "_c_0-lock-9999999999-latch-0000000002",
            "_c_00000000-__WRIT__0000000003",
            "_c_ffffffff-lock-0000000004",
            "0000000000__lock__0000000005",
        ]
    );
    assert_eq!(holders(&names, 1).len(), 1);
}

#[test]
fn e6_go_lock_is_predecessor_of_kazoo_lock() {
    // Kazoo's own vectors, `test_lock.py:TestSequence`.
    let go = "_c_8eb33557-3c2f-4a3c-8eb3-35573c2f4a3c-lock-0000000031";
    let kazoo = "514e5a831836450cb1a56c741e990fd8__lock__0000000032";
    let names = children(&["hello", go, "_c_8eb33557-lock-00000000", kazoo]);
    assert_eq!(decide(&names, kazoo, EXCLUSIVE, 1), Decision::Wait { predecessor: go });
    assert_eq!(decide(&names, go, EXCLUSIVE, 1), Decision::Held);
    let kazoo_only = [Pattern::KAZOO_LOCK];
    assert_eq!(decide(&names, kazoo, &kazoo_only, 1), Decision::Held);
}

#[test]
fn e6_junk_is_ignored() {
    for junk in [
        "",
        "config",
        "lease_holder",
        "0000000000",
        "x__lock__",
        "x__lock__000000000",
        "x__lock__00000000000",
        "x__lock__0000000000x",
        "x__lock__2147483648",
        "x__lock__-0000000001",
        "x__LOCK__0000000000",
        "x_lock_0000000000",
        "x-lock-+000000001",
        "x__lock__é000000000",
        "日本__lock__日本日本",
        "__lock____lock__",
        "_c_x-lease-0000000000",
    ] {
        let names = children(&[junk, "a__lock__0000000001"]);
        assert_eq!(
            decide(&names, "a__lock__0000000001", EXCLUSIVE_AND_SHARED, 1),
            Decision::Held,
            "{junk}"
        );
        assert_eq!(ordered(&names, EXCLUSIVE_AND_SHARED), ["a__lock__0000000001"], "{junk}");
    }
}

#[test]
fn readers_share_and_wait_for_the_last_writer_before() {
    let names = children(&[
        "a__rlock__0000000001",
        "b__rlock__0000000002",
        "c__lock__0000000003",
        "_c_d-__WRIT__0000000004",
        "_c_e-__READ__0000000005",
    ]);
    let reader = |own| decide(&names, own, EXCLUSIVE, 1);
    let writer = |own| decide(&names, own, EXCLUSIVE_AND_SHARED, 1);
    assert_eq!(reader("a__rlock__0000000001"), Decision::Held);
    assert_eq!(reader("b__rlock__0000000002"), Decision::Held);
    assert_eq!(
        writer("c__lock__0000000003"),
        Decision::Wait { predecessor: "b__rlock__0000000002" }
    );
    // A plain lock of Kazoo passes the readers by.
    assert_eq!(decide(&names, "c__lock__0000000003", EXCLUSIVE, 1), Decision::Held);
    assert_eq!(
        reader("_c_e-__READ__0000000005"),
        Decision::Wait { predecessor: "_c_d-__WRIT__0000000004" }
    );
}

#[test]
fn downgraded_reader_of_curator_stands_behind_its_writer() {
    // Names chosen so that by name alone the reader would be first.
    let names = children(&[
        "_c_a-__READ__0000000005",
        "_c_b-__WRIT__0000000005",
        "_c_c-__WRIT__0000000006",
        "_c_d-__READ__0000000007",
    ]);
    let holding: Vec<_> = holders(&names, 1).iter().map(|holder| holder.name).collect();
    assert_eq!(holding, ["_c_b-__WRIT__0000000005"]);
    // The next writer waits for the reader too, the next reader for the writers only.
    assert_eq!(
        decide(&names, "_c_c-__WRIT__0000000006", EXCLUSIVE_AND_SHARED, 1),
        Decision::Wait { predecessor: "_c_a-__READ__0000000005" }
    );
    assert_eq!(
        decide(&names, "_c_d-__READ__0000000007", EXCLUSIVE, 1),
        Decision::Wait { predecessor: "_c_c-__WRIT__0000000006" }
    );
}

#[test]
fn as_many_hold_as_there_are_leases() {
    let names: Vec<_> = (0..6).map(|n| format!("_c_x-lease-{n:010}")).collect();
    let decided: Vec<_> = names.iter().map(|own| decide(&names, own, LEASES, 3)).collect();
    assert_eq!(decided[..3], [Decision::Held; 3]);
    for n in 3..6 {
        assert_eq!(decided[n], Decision::Wait { predecessor: &names[n - 3] });
    }
    assert_eq!(decide(&names, &names[5], LEASES, 6), Decision::Held);
    assert_eq!(decide(&names, &names[5], LEASES, usize::MAX), Decision::Held);
    assert_eq!(decide(&names, &names[1], LEASES, 0), decide(&names, &names[1], LEASES, 1));
}

#[test]
fn e7_exhausted_number_never_claims() {
    // As a 3.8.0 server gives them out at its end: the same number to all, or the wrap.
    for sequence in [i32::MAX, i32::MIN, i32::MIN + 1, -1_000_000_000, -999_999_999, -1] {
        for style in [
            "a__lock__",
            "_c_a-lock-",
            "a__rlock__",
            "_c_a-__READ__",
            "_c_a-latch-",
            "_c_a-lease-",
            "other-",
        ] {
            let own = format!("{style}{sequence:010}");
            for names in [vec![own.clone()], vec![own.clone(), lock("b", i32::MAX)], Vec::new()] {
                let decided = decide(&names, &own, EXCLUSIVE, 100);
                assert_eq!(decided, Decision::Exhausted, "{own}");
            }
        }
    }
    let last = lock("a", i32::MAX - 1);
    assert_eq!(decide(std::slice::from_ref(&last), &last, EXCLUSIVE, 1), Decision::Held);
}

// The pattern tells the sign from a dash: `-1234567890` after `__lock__` is negative, after
// `-lock` it is not.
#[test]
fn e7_sign_is_told_from_the_dash_of_the_pattern() {
    for (name, sequence) in [
        ("x__lock__1234567890", 1_234_567_890),
        ("x__lock__-1234567890", -1_234_567_890),
        ("_c_x-lock-1234567890", 1_234_567_890),
        ("_c_x-lock--1234567890", -1_234_567_890),
        ("_c_x-lock--000000001", -1),
        ("x__lock__-000000001", -1),
        ("_c_x-lock--2147483648", i32::MIN),
    ] {
        let read = Contender::parse(name, EXCLUSIVE).map(|contender| contender.sequence);
        assert_eq!(read, Some(sequence), "{name}");
    }
    assert_eq!(Contender::parse("_c_x-lock-000000001", EXCLUSIVE), None);
}

#[test]
fn e7_sound_contender_does_not_wait_for_exhausted_ones() {
    let sound = lock("z", i32::MAX - 1);
    let worn: Vec<_> = [i32::MAX, i32::MAX, i32::MIN, -1]
        .iter()
        .enumerate()
        .map(|(n, sequence)| lock(n, *sequence))
        .collect();
    let mut names = worn.clone();
    names.push(sound.clone());
    let holding: Vec<_> = holders(&names, 1).iter().map(|holder| holder.name).collect();
    assert_eq!(holding, [sound.as_str()]);
    // Once it is gone, nobody.
    assert!(holders(&worn, 1).is_empty());
    // All are listed, in the order in which the server made them.
    let mut expected = vec![sound];
    expected.extend(worn);
    assert_eq!(ordered(&names, EXCLUSIVE), expected);
}

#[test]
fn e7_order_agrees_with_the_circle_over_any_half_of_it_that_starts_sound() {
    let step = 1 << 27;
    for start in (0..i32::MAX - step).step_by(1 << 27) {
        for ahead in [1, 2, step, i32::MAX] {
            let (a, b) = (start, start.wrapping_add(ahead));
            assert!(a.wrapping_sub(b) < 0);
            let (a, b) = (lock("z", a), lock("a", b));
            let names = [b.clone(), a.clone()];
            assert_eq!(ordered(&names, EXCLUSIVE), [a, b]);
        }
    }
}

/// Names of all styles around a common start, with equal numbers, in no order.
fn crowd() -> impl Strategy<Value = Vec<String>> {
    let style =
        select(vec!["__lock__", "__rlock__", "-lock-", "-__WRIT__", "-__READ__", "-latch-"]);
    let start = prop_oneof![Just(0), Just(i32::MAX - 3), Just(999_999_998), any::<i32>()];
    let ahead = prop_oneof![4 => 0..6, 1 => 0..=i32::MAX];
    (start, prop::collection::vec(("[0-9a-f]{1,3}", style, ahead), 1..12)).prop_map(
        |(start, members)| {
            let names = members.into_iter().map(|(guid, style, ahead)| {
                format!("{guid}{style}{:010}", start.wrapping_add(ahead))
            });
            // The server lists no name twice.
            names.collect::<BTreeSet<_>>().into_iter().collect()
        },
    )
}

fn junk() -> impl Strategy<Value = Vec<String>> {
    let odd = select(vec!["__lock__", "x-lock-", "lease_holder", "__lock__00000000001", ""]);
    prop::collection::vec(prop_oneof![any::<String>(), odd.prop_map(String::from)], 0..6).prop_map(
        |names| {
            let is_junk = |name: &String| parse_own(name, EXCLUSIVE_AND_SHARED).is_none();
            names.into_iter().filter(is_junk).collect()
        },
    )
}

proptest! {
    #[test]
    fn e7_never_two_holders(names in crowd()) {
        let holding = holders(&names, 1);
        if holding.iter().any(|holder| holder.kind == Kind::Exclusive) {
            prop_assert_eq!(holding.len(), 1, "{:?}", holding);
        }
        prop_assert!(!holding.iter().any(Contender::is_exhausted));
        // And no one waits for nothing: if anyone is sound, someone holds.
        let sound = parse_all(&names, EXCLUSIVE_AND_SHARED).any(|c| !c.is_exhausted());
        prop_assert_eq!(sound, !holding.is_empty());
    }

    #[test]
    fn never_more_holders_than_leases(names in crowd(), leases in 1_usize..5) {
        let held = |own: &&String| {
            decide(&names, own, EXCLUSIVE_AND_SHARED, leases) == Decision::Held
        };
        let sound = parse_all(&names, EXCLUSIVE_AND_SHARED).filter(|c| !c.is_exhausted());
        prop_assert_eq!(names.iter().filter(held).count(), leases.min(sound.count()));
    }

    #[test]
    fn predecessor_is_another_child_that_came_before(names in crowd(), leases in 1_usize..4) {
        for own in &names {
            let decided = decide(&names, own, EXCLUSIVE_AND_SHARED, leases);
            if let Decision::Wait { predecessor } = decided {
                prop_assert!(names.iter().any(|name| name == predecessor));
                let sequence = |name| {
                    Contender::parse(name, EXCLUSIVE_AND_SHARED).unwrap().sequence
                };
                let (mine, theirs) = (sequence(own), sequence(predecessor));
                prop_assert!(theirs <= mine && predecessor != own);
                prop_assert!(theirs.wrapping_sub(mine) <= 0);
            }
        }
    }

    // Waiting is a chain without forks (no herd) and without a ring (no deadlock).
    #[test]
    fn each_waiter_has_a_predecessor_of_its_own(names in crowd()) {
        let mut watched = BTreeSet::new();
        for own in &names {
            if let Decision::Wait { predecessor } =
                decide(&names, own, EXCLUSIVE_AND_SHARED, 1)
            {
                prop_assert!(watched.insert(predecessor));
            }
        }
    }

    #[test]
    fn release_lets_the_watcher_in(names in crowd()) {
        let mut names = names;
        let mut served = Vec::new();
        let order: Vec<String> = ordered(&names, EXCLUSIVE_AND_SHARED)
            .into_iter()
            .filter(|name| {
                !Contender::parse(name, EXCLUSIVE_AND_SHARED).unwrap().is_exhausted()
            })
            .map(String::from)
            .collect();
        let holds = |names: &[String]| {
            let held = |own: &&String| {
                decide(names, own, EXCLUSIVE_AND_SHARED, 1) == Decision::Held
            };
            names.iter().find(held).cloned()
        };
        while let Some(holder) = holds(&names) {
            names.retain(|name| *name != holder);
            served.push(holder);
        }
        prop_assert_eq!(served, order);
    }

    #[test]
    fn e6_junk_never_matters(names in crowd(), junk in junk(), at in any::<Index>()) {
        let mut mixed = names.clone();
        let at = at.index(names.len() + 1);
        mixed.splice(at..at, junk);
        prop_assert_eq!(
            ordered(&mixed, EXCLUSIVE_AND_SHARED),
            ordered(&names, EXCLUSIVE_AND_SHARED)
        );
        for own in &names {
            prop_assert_eq!(
                decide(&mixed, own, EXCLUSIVE, 1),
                decide(&names, own, EXCLUSIVE, 1)
            );
        }
    }

    #[test]
    fn order_of_the_list_never_matters(names in crowd(), turn in any::<Index>()) {
        let mut turned = names.clone();
        turned.rotate_left(turn.index(names.len()));
        turned.reverse();
        prop_assert_eq!(
            ordered(&turned, EXCLUSIVE_AND_SHARED),
            ordered(&names, EXCLUSIVE_AND_SHARED)
        );
        for own in &names {
            prop_assert_eq!(
                decide(&turned, own, EXCLUSIVE, 2),
                decide(&names, own, EXCLUSIVE, 2)
            );
        }
    }

    #[test]
    fn no_name_panics(
        names in prop::collection::vec(any::<String>(), 0..4),
        own: String,
        leases: usize,
    ) {
        let _ = decide(&names, &own, EXCLUSIVE_AND_SHARED, leases);
        let _ = ordered(&names, &[Pattern::new("", Kind::Lease)]);
    }
}
