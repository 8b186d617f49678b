//! Parties and barriers that Kazoo 2.11 and ours meet in.

use std::thread;
use std::time::Instant;

use zookeeper_blocking::recipes::{
    Barrier, DoubleBarrier, Inside, Membership, Party, ShallowParty,
};
use zookeeper_blocking::{Client, CreateMode, Error};

use crate::clients::{doomed, expire, patience};
use crate::faults::figure;
use crate::interop::kazoo::Kazoo;
use crate::interop::victim::{Victim, play};
use crate::locks::{Yard, ms};
use crate::nodes::{await_children, children, whole};
use crate::support::wait::eventually;

fn kazoo(yard: &Yard) -> Kazoo {
    Kazoo::start(&yard.chroot.connect_string())
}

fn party(client: &Client) -> Party {
    Party::new(client, "/party").expect("legal")
}

/// The identifiers that ours sees, as Kazoo's driver tells those that it sees.
fn list(party: &Party) -> String {
    let members = party.members().expect("answered");
    let mut names: Vec<_> = members.iter().map(|member| member.identifier_text()).collect();
    names.sort_unstable();
    names.join(",")
}

fn shallow_list(party: &ShallowParty) -> String {
    let mut names = party.members().expect("answered");
    names.sort_unstable();
    names.join(",")
}

/// Time enough for one that passes wrongly.
fn settle() {
    thread::sleep(ms(100));
}

const NAMES: [&str; 4] = ["", "a-b", "gr\u{fc}n \u{2603}", "plain"];

#[test]
fn party_has_the_same_members_on_both_sides() {
    let yard = Yard::new();
    let python = kazoo(&yard);
    let client = yard.client();
    let reader = party(&client);
    let mut memberships = Vec::new();
    for name in NAMES {
        python.make(name, "party", &["/party", &format!("python {name}")]);
        python.ask(&["join", name]);
        let ours = party(&client).identifier(format!("rust {name}"));
        memberships.push(ours.join().expect("joined"));
    }
    // What is no member is none for either.
    client.create("/party/config", b"junk", CreateMode::Persistent).expect("made");
    let all: Vec<_> = ["python", "rust"]
        .iter()
        .flat_map(|who| NAMES.iter().map(move |name| format!("{who} {name}")))
        .collect();
    assert_eq!(list(&reader), all.join(","));
    assert_eq!(python.ask(&["members", "plain"]), all.join(","));
    assert_eq!(python.ask(&["len", "plain"]), "8");
    assert_eq!(reader.count().expect("answered"), 8);
    // Who leaves is gone for both, and what he says anew is read by both.
    memberships.remove(0).leave().expect("left");
    assert_eq!(python.ask(&["leave", ""]), "True");
    memberships[0].set_data("rust now").expect("set");
    let all = "python a-b,python gr\u{fc}n \u{2603},python plain,\
               rust gr\u{fc}n \u{2603},rust now,rust plain";
    assert_eq!(list(&reader), all);
    assert_eq!(python.ask(&["members", "plain"]), all);
}

#[test]
fn shallow_party_has_the_same_members_on_both_sides() {
    let yard = Yard::new();
    let python = kazoo(&yard);
    let client = yard.client();
    let ours = |name| ShallowParty::new(&client, "/party", name).expect("legal");
    let reader = ours("reader");
    assert_eq!(shallow_list(&reader), "");
    python.make("reader", "shallow", &["/party", "reader"]);
    assert_eq!(python.ask(&["members", "reader"]), "");
    let mut memberships: Vec<Membership> = Vec::new();
    for name in NAMES {
        memberships.push(ours(name).join().expect("joined"));
        python.make(name, "shallow", &["/party", name]);
        python.ask(&["join", name]);
    }
    let all = NAMES.map(|name| format!("{name},{name}")).join(",");
    assert_eq!(shallow_list(&reader), all);
    assert_eq!(python.ask(&["members", "reader"]), all);
    // Both read what they did not write in the same way.
    client.create("/party/no dash", b"", CreateMode::Persistent).expect("made");
    client.create("/party/dash-", b"", CreateMode::Persistent).expect("made");
    assert_eq!(python.ask(&["members", "reader"]), shallow_list(&reader));
    assert_eq!(python.ask(&["len", "reader"]), "10");
    memberships.pop().expect("four").leave().expect("left");
    assert_eq!(python.ask(&["leave", "plain"]), "True");
    assert_eq!(python.ask(&["members", "reader"]), shallow_list(&reader));
    assert!(!shallow_list(&reader).contains("plain"));
}

#[test]
fn member_of_ours_joins_again_and_kazoo_sees_it() {
    let yard = Yard::new();
    let python = kazoo(&yard);
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    let ours = party(&client).identifier("rust").join().expect("joined");
    python.make("p", "party", &["/party", "python"]);
    python.ask(&["join", "p"]);
    assert_eq!(python.ask(&["members", "p"]), "python,rust");
    // Its session ends.
    let known = ours.presence();
    expire(&proxy, yard.chroot.server(), &session);
    eventually("joined again", patience(), || ours.presence().made > known.made);
    assert_eq!(python.ask(&["members", "p"]), "python,rust");
    // An admin deletes it.
    let known = ours.presence();
    let mut raw = yard.raw();
    raw.delete(&whole(&yard, ours.node()), -1).expect("there");
    raw.close();
    eventually("joined again", patience(), || ours.presence().made > known.made);
    assert_eq!(python.ask(&["members", "p"]), "python,rust");
    // Kazoo's own can be joined again by hand.
    assert_eq!(python.ask(&["leave", "p"]), "True");
    assert_eq!(python.ask(&["members", "p"]), "rust");
    python.ask(&["join", "p"]);
    assert_eq!(list(&party(&client)), "python,rust");
}

#[test]
fn killed_members_of_both_are_gone_for_the_other() {
    if play(|client| party(client).identifier("rust victim").join().expect("joined")) {
        return;
    }
    let yard = Yard::new();
    let reader = party(&yard.client()).identifier("rust");
    let staying = reader.join().expect("joined");
    let (python, mut doomed) = (kazoo(&yard), kazoo(&yard));
    for (process, who) in [(&python, "python"), (&doomed, "python victim")] {
        process.make("p", "party", &["/party", who]);
        process.ask(&["join", "p"]);
    }
    let name = "interop::kazoo_members::killed_members_of_both_are_gone_for_the_other";
    let mut ours = Victim::start(name, &yard.chroot.connect_string());
    await_children(&yard, "/party", 4);
    let all = "python,python victim,rust,rust victim";
    assert_eq!((list(&reader).as_str(), python.ask(&["members", "p"]).as_str()), (all, all));
    let started = Instant::now();
    doomed.kill();
    ours.kill();
    eventually("both are gone", patience(), || list(&reader) == "python,rust");
    figure("interop: from kill -9 of members to their absence", started.elapsed());
    assert_eq!(python.ask(&["members", "p"]), "python,rust");
    staying.leave().expect("left");
}

#[test]
fn barrier_of_either_holds_up_the_other() {
    let yard = Yard::new();
    let python = kazoo(&yard);
    let ours = Barrier::new(&yard.client(), "/a/barrier").expect("legal");
    python.make("b", "barrier", &["/a/barrier"]);
    // Open for both.
    assert!(ours.try_wait().expect("answered"));
    assert_eq!(python.ask(&["wait", "b", "0"]), "True");
    assert_eq!(python.ask(&["remove", "b"]), "False");
    // Ours.
    ours.create().expect("made");
    assert_eq!(python.ask(&["wait", "b", "0.05"]), "False");
    let asked = python.begin(&["wait", "b", "60"]);
    settle();
    assert!(asked.is_answered().is_none(), "Kazoo passed our barrier");
    assert!(ours.remove().expect("answered"));
    assert_eq!(asked.answer(), "True");
    // Kazoo's.
    python.ask(&["create", "b"]);
    assert!(matches!(ours.wait_timeout(ms(50)), Err(Error::Timeout { .. })));
    let own = ours.clone();
    let waiting = thread::spawn(move || own.wait_timeout(patience()));
    settle();
    assert!(!waiting.is_finished(), "ours passed Kazoo's barrier");
    assert_eq!(python.ask(&["remove", "b"]), "True");
    waiting.join().expect("no panic").expect("open");
    // What one closed the other may open.
    python.ask(&["create", "b"]);
    assert!(ours.remove().expect("answered"));
    ours.create().expect("made");
    assert_eq!(python.ask(&["remove", "b"]), "True");
}

fn enter(barrier: &DoubleBarrier) -> thread::JoinHandle<Inside> {
    let barrier = barrier.clone();
    thread::spawn(move || barrier.enter_timeout(patience()).expect("all come in time"))
}

fn leave(inside: Inside) -> thread::JoinHandle<()> {
    thread::spawn(move || inside.leave_timeout(patience()).expect("all leave in time"))
}

#[test]
fn double_barrier_lets_members_of_both_in_and_out_together() {
    let yard = Yard::new();
    let python = kazoo(&yard);
    let barrier = DoubleBarrier::new(&yard.client(), "/round", 4).expect("legal");
    // Each of the two is last once; a further round finds nothing of the one before.
    for last in ["ours", "Kazoo's", "ours"] {
        for name in ["a", "b"] {
            python.make(name, "double", &["/round", "4", name]);
        }
        let first = python.begin(&["enter", "a"]);
        let second = enter(&barrier);
        await_children(&yard, "/round", 2);
        let (third, fourth) = if last == "ours" {
            let third = python.begin(&["enter", "b"]);
            await_children(&yard, "/round", 3);
            settle();
            assert!(first.is_answered().is_none() && third.is_answered().is_none());
            assert!(!second.is_finished(), "ours went in as one of three");
            (third, enter(&barrier))
        } else {
            let fourth = enter(&barrier);
            await_children(&yard, "/round", 3);
            settle();
            assert!(first.is_answered().is_none(), "Kazoo's went in as one of three");
            assert!(!second.is_finished() && !fourth.is_finished());
            (python.begin(&["enter", "b"]), fourth)
        };
        let (second, fourth) = (second.join().expect("in"), fourth.join().expect("in"));
        for (asked, name) in [(first, "a"), (third, "b")] {
            asked.answer();
            assert_eq!(python.ask(&["is_inside", name]), "True");
        }
        // Out: three of them wait for the fourth, which is the last to come or the other's.
        let second = leave(second);
        let first = python.begin(&["leave", "a"]);
        let (third, fourth) = if last == "ours" {
            let third = python.begin(&["leave", "b"]);
            settle();
            assert!(first.is_answered().is_none() && third.is_answered().is_none());
            assert!(!second.is_finished(), "ours left before all did");
            (third, leave(fourth))
        } else {
            let fourth = leave(fourth);
            settle();
            assert!(first.is_answered().is_none(), "Kazoo's left before all did");
            assert!(!second.is_finished() && !fourth.is_finished());
            (python.begin(&["leave", "b"]), fourth)
        };
        second.join().expect("out");
        fourth.join().expect("out");
        first.answer();
        third.answer();
        assert_eq!(children(&yard, "/round"), <[String; 0]>::default(), "{last} came last");
    }
}

#[test]
fn left_over_ready_counts_as_a_member_for_kazoo_and_for_ours_as_nothing() {
    let yard = Yard::new();
    let python = kazoo(&yard);
    let client = yard.client();
    client.ensure_path("/round/ready").expect("made");
    let barrier = DoubleBarrier::new(&client, "/round", 2).expect("legal");
    assert!(barrier.try_enter().expect("answered").is_none());
    assert!(matches!(barrier.enter_timeout(ms(80)), Err(Error::Timeout { .. })));
    await_children(&yard, "/round", 1);
    // One and the left-over: enough for Kazoo, which is known for it.
    python.make("a", "double", &["/round", "2", "a"]);
    python.ask(&["enter", "a"]);
    assert_eq!(python.ask(&["is_inside", "a"]), "True");
    // With Kazoo's ours are two.
    let inside = barrier.enter_timeout(patience()).expect("two are there");
    let leaving = leave(inside);
    settle();
    assert!(!leaving.is_finished(), "Kazoo's is still in");
    python.ask(&["leave", "a"]);
    leaving.join().expect("out");
    assert_eq!(children(&yard, "/round"), <[String; 0]>::default());
}
