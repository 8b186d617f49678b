//! Latches, groups, kept nodes and barriers that Curator 5.4 and ours meet in.

use std::thread;
use std::time::Instant;

use zookeeper_blocking::recipes::{
    Barrier, DoubleBarrier, Election, GroupMember, Inside, NameStyle, PersistentNode,
};
use zookeeper_blocking::{Client, Error};

use crate::clients::patience;
use crate::faults::figure;
use crate::interop::curator::Curator;
use crate::interop::victim::{Victim, play};
use crate::locks::{Yard, ms};
use crate::nodes::{await_children, children, whole};
use crate::support::wait::eventually;

fn curator(yard: &Yard) -> Curator {
    Curator::start(&yard.chroot.connect_string())
}

/// Time enough for one that lets itself in wrongly.
fn settle() {
    thread::sleep(ms(100));
}

/// Our election, which Curator's latches see.
fn election(client: &Client) -> Election {
    Election::new(client, "/lock").expect("legal").name_style(NameStyle::Curator)
}

#[track_caller]
fn await_answer(java: &Curator, name: &str, verb: &str, wanted: &str) {
    eventually(&format!("{name}: {verb} {wanted}"), patience(), || {
        java.ask(name, &[verb]) == wanted
    });
}

#[test]
fn leadership_goes_in_one_order_through_latches_and_campaigns() {
    let yard = Yard::new();
    let java = curator(&yard);
    let ours = election(&yard.client()).identifier("rust");
    java.make("a", "latch", &["/lock", "a"]);
    await_answer(&java, "a", "leads", "true");
    let own = ours.clone();
    let second = thread::spawn(move || own.campaign().expect("elected in time"));
    yard.await_nodes(2);
    for (name, count) in [("b", 3), ("c", 4)] {
        java.make(name, "latch", &["/lock", name]);
        yard.await_nodes(count);
    }
    let who = ours.contenders().expect("answered");
    let who: Vec<_> = who.iter().map(|contender| contender.identifier_text()).collect();
    assert_eq!(who, ["a", "rust", "b", "c"]);
    assert_eq!(java.ask("c", &["participants"]), "a leads,rust,b,c");
    let mut observer = ours.observe();
    let mut leads = || {
        let leader = observer.recv_timeout(patience()).expect("a change");
        leader.map(|leader| leader.identifier_text())
    };
    assert_eq!(leads().as_deref(), Some("a"));
    assert!(!second.is_finished(), "two leaders");
    // From Curator to ours.
    assert_eq!(java.ask("a", &["close"]), "done");
    let leadership = second.join().expect("no panic");
    assert_eq!(leads().as_deref(), Some("rust"));
    assert_eq!(java.ask("b", &["leader"]), "rust");
    leadership.proclaim("rust leads").expect("held");
    assert_eq!(leads().as_deref(), Some("rust leads"));
    assert_eq!(java.ask("b", &["leader"]), "rust leads");
    settle();
    assert_eq!(java.ask("b", &["leads"]), "false");
    // One of the waiting gives up.
    assert_eq!(java.ask("b", &["close"]), "done");
    yard.await_nodes(2);
    // From ours to Curator.
    leadership.resign().expect("held");
    await_answer(&java, "c", "leads", "true");
    assert_eq!(leads().as_deref(), Some("c"));
    assert!(ours.try_campaign().expect("answered").is_none());
    assert_eq!(java.ask("c", &["close"]), "done");
    yard.await_nodes(0);
}

#[test]
fn killed_leader_of_either_hands_over_to_the_other() {
    if play(|client| election(client).identifier("victim").campaign().expect("free")) {
        return;
    }
    let yard = Yard::new();
    let java = curator(&yard);
    let mut doomed = Curator::start_alone(&yard.chroot.connect_string());
    doomed.make("a", "latch", &["/lock", "a"]);
    await_answer(&doomed, "a", "leads", "true");
    let name = "interop::curator_members::killed_leader_of_either_hands_over_to_the_other";
    let mut ours = Victim::start(name, &yard.chroot.connect_string());
    yard.await_nodes(2);
    java.make("b", "latch", &["/lock", "b"]);
    yard.await_nodes(3);
    assert_eq!(java.ask("b", &["participants"]), "a leads,victim,b");
    let started = Instant::now();
    doomed.kill();
    await_answer(&java, "b", "leader", "victim");
    figure("interop: from kill -9 of Curator's leader to ours", started.elapsed());
    let started = Instant::now();
    ours.kill();
    await_answer(&java, "b", "leads", "true");
    figure("interop: from kill -9 of our leader to Curator's", started.elapsed());
    let last = election(&yard.client());
    assert!(last.try_campaign().expect("answered").is_none());
    java.ask("b", &["close"]);
    drop(last.campaign().expect("elected in time"));
}

fn group(client: &Client, id: &str, payload: &str) -> GroupMember {
    GroupMember::new(client, "/a/group", id).expect("legal").payload(payload)
}

/// What ours sees, as Curator's driver tells what it sees.
fn list(group: &GroupMember) -> String {
    let members = group.members().expect("answered");
    let text =
        |(id, payload): (&String, &Vec<u8>)| format!("{id}={}", String::from_utf8_lossy(payload));
    members.iter().map(text).collect::<Vec<_>>().join(",")
}

#[test]
fn group_has_the_same_members_on_both_sides() {
    let yard = Yard::new();
    let java = curator(&yard);
    let mut doomed = Curator::start_alone(&yard.chroot.connect_string());
    let ours = group(&yard.client(), "rust \u{2603}", "r");
    java.make("j", "member", &["/a/group", "java", "j"]);
    doomed.make("v", "member", &["/a/group", "victim", "v"]);
    let membership = ours.join().expect("joined");
    let all = "java=j,rust \u{2603}=r,victim=v";
    eventually("ours sees all", patience(), || list(&ours) == all);
    await_answer(&java, "j", "members", all);
    // New payloads.
    membership.set_data("r2").expect("set");
    java.ask("j", &["set", "j2"]);
    let all = "java=j2,rust \u{2603}=r2,victim=v";
    eventually("ours sees all", patience(), || list(&ours) == all);
    await_answer(&java, "j", "members", all);
    // One dies, one of each leaves.
    doomed.kill();
    let all = "java=j2,rust \u{2603}=r2";
    eventually("ours sees all", patience(), || list(&ours) == all);
    await_answer(&java, "j", "members", all);
    membership.leave().expect("left");
    await_answer(&java, "j", "members", "java=j2");
    java.ask("j", &["close"]);
    assert_eq!(list(&ours), "");
}

#[test]
fn name_in_a_group_has_one_member_of_either() {
    let yard = Yard::new();
    let java = curator(&yard);
    let ours = group(&yard.client(), "name", "ours");
    java.make("j", "member", &["/a/group", "name", "java's"]);
    eventually("Curator has the name", patience(), || list(&ours) == "name=java's");
    assert!(ours.try_join().expect("answered").is_none());
    let own = ours.clone();
    let waiting = thread::spawn(move || own.join().expect("joined in time"));
    settle();
    assert!(!waiting.is_finished(), "two of one name");
    assert_eq!(list(&ours), "name=java's");
    java.ask("j", &["close"]);
    let membership = waiting.join().expect("no panic");
    assert_eq!(list(&ours), "name=ours");
    // Curator takes a name that it finds for its own, and writes into it; the node stays ours.
    java.make("k", "member", &["/a/group", "name", "java's again"]);
    eventually("Curator writes", patience(), || list(&ours) == "name=java's again");
    let presence = membership.presence();
    assert_eq!(presence.made, 1);
    assert!(membership.is_present());
    // Once ours left, it is Curator's indeed.
    membership.leave().expect("left");
    let node = whole(&yard, "/a/group/name");
    let mut raw = yard.raw();
    eventually("Curator makes its own", patience(), || {
        raw.exists(&node).is_ok_and(|stat| Some(stat.ephemeral_owner) != presence.session_id)
    });
    raw.close();
    java.ask("k", &["close"]);
    assert_eq!(list(&ours), "");
}

#[test]
fn kept_node_is_made_again_by_whichever_of_both_is_there() {
    let yard = Yard::new();
    let mut java = Curator::start_alone(&yard.chroot.connect_string());
    let client = yard.client();
    let ours = PersistentNode::new(&client, "/a/node").expect("legal").data("ours");
    java.make("n", "node", &["/a/node", "EPHEMERAL", "java's"]);
    assert_eq!(java.ask("n", &["await", "10000"]), "true");
    assert!(ours.try_keep().expect("answered").is_none(), "Curator has it");
    let waiting = thread::spawn(move || ours.keep().expect("kept in time"));
    settle();
    assert!(!waiting.is_finished());
    let read = || client.get_data("/a/node").map(|(data, _)| data);
    let started = Instant::now();
    java.kill();
    let kept = waiting.join().expect("no panic");
    figure("interop: from kill -9 of Curator's node to ours", started.elapsed());
    assert_eq!(read().expect("there"), b"ours");
    // And back: Curator's waits for ours, in its own way.
    let java = curator(&yard);
    java.make("n", "node", &["/a/node", "EPHEMERAL", "java's"]);
    assert_eq!(java.ask("n", &["await", "10000"]), "true");
    // An admin deletes it: whoever is faster makes it again.
    let mut raw = yard.raw();
    let node = whole(&yard, "/a/node");
    let known = raw.exists(&node).expect("there").czxid;
    raw.delete(&node, -1).expect("there");
    eventually("it is made again", patience(), || {
        raw.exists(&node).is_ok_and(|stat| stat.czxid != known)
    });
    raw.close();
    drop(kept);
    eventually("Curator makes it", patience(), || read().is_ok_and(|data| data == b"java's"));
    java.ask("n", &["set", "changed"]);
    eventually("Curator sets it", patience(), || read().is_ok_and(|data| data == b"changed"));
    java.ask("n", &["close"]);
    assert!(read().is_err());
}

#[test]
fn barrier_of_either_holds_up_the_other() {
    let yard = Yard::new();
    let java = curator(&yard);
    let ours = Barrier::new(&yard.client(), "/a/barrier").expect("legal");
    java.make("b", "barrier", &["/a/barrier"]);
    assert_eq!(java.ask("b", &["wait", "0"]), "true");
    ours.create().expect("made");
    assert_eq!(java.ask("b", &["wait", "50"]), "false");
    let asked = java.begin("b", &["wait", "60000"]);
    settle();
    assert!(asked.is_answered().is_none(), "Curator passed our barrier");
    assert!(ours.remove().expect("answered"));
    assert_eq!(asked.answer(), "true");
    java.ask("b", &["create"]);
    assert!(matches!(ours.wait_timeout(ms(50)), Err(Error::Timeout { .. })));
    let waiting = thread::spawn(move || ours.wait_timeout(patience()));
    settle();
    assert!(!waiting.is_finished(), "ours passed Curator's barrier");
    assert_eq!(java.ask("b", &["remove"]), "done");
    waiting.join().expect("no panic").expect("open");
}

fn leave(inside: Inside) -> thread::JoinHandle<()> {
    thread::spawn(move || inside.leave_timeout(patience()).expect("all leave in time"))
}

#[test]
fn double_barrier_lets_members_of_both_in_and_out_together() {
    let yard = Yard::new();
    let java = curator(&yard);
    let barrier = DoubleBarrier::new(&yard.client(), "/round", 4).expect("legal");
    let enter = || {
        let own = barrier.clone();
        thread::spawn(move || own.enter_timeout(patience()).expect("all come in time"))
    };
    // Each of the two is last once.
    for last in ["ours", "Curator's"] {
        for name in ["a", "b"] {
            java.make(name, "double", &["/round", "4"]);
        }
        let first = java.begin("a", &["enter", "60000"]);
        let second = enter();
        await_children(&yard, "/round", 2);
        let (third, fourth) = if last == "ours" {
            let third = java.begin("b", &["enter", "60000"]);
            await_children(&yard, "/round", 3);
            settle();
            assert!(first.is_answered().is_none() && third.is_answered().is_none());
            assert!(!second.is_finished(), "ours went in as one of three");
            (third, enter())
        } else {
            let fourth = enter();
            await_children(&yard, "/round", 3);
            settle();
            assert!(first.is_answered().is_none(), "Curator's went in as one of three");
            assert!(!second.is_finished() && !fourth.is_finished());
            (java.begin("b", &["enter", "60000"]), fourth)
        };
        let (second, fourth) = (second.join().expect("in"), fourth.join().expect("in"));
        assert_eq!((first.answer().as_str(), third.answer().as_str()), ("true", "true"));
        // Out: three of them wait for the fourth.
        let second = leave(second);
        let first = java.begin("a", &["leave", "60000"]);
        let (third, fourth) = if last == "ours" {
            let third = java.begin("b", &["leave", "60000"]);
            settle();
            assert!(first.is_answered().is_none() && third.is_answered().is_none());
            assert!(!second.is_finished(), "ours left before all did");
            (third, leave(fourth))
        } else {
            let fourth = leave(fourth);
            settle();
            assert!(first.is_answered().is_none(), "Curator's left before all did");
            assert!(!second.is_finished() && !fourth.is_finished());
            (java.begin("b", &["leave", "60000"]), fourth)
        };
        second.join().expect("out");
        fourth.join().expect("out");
        assert_eq!((first.answer().as_str(), third.answer().as_str()), ("true", "true"));
        eventually("nothing is left", patience(), || children(&yard, "/round").is_empty());
    }
}
