//! Curator's `LeaderLatch` in its modes and `LeaderSelector`, beside our latches and locks.

use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use zookeeper_blocking::Client;
use zookeeper_blocking::recipes::{CloseMode, Election, Latch, NameStyle};

use crate::clients::{doomed, expire, patience};
use crate::faults::figure;
use crate::interop::curator::Curator;
use crate::interop::victim::{Victim, play};
use crate::locks::{Yard, lock, ms, sequence};
use crate::support::wait::eventually;

fn curator(yard: &Yard) -> Curator {
    Curator::start(&yard.chroot.connect_string())
}

/// Our latch, which Curator sees, and what its listener hears: whether it leads.
fn latch(client: &Client, identifier: &str) -> (Latch, Receiver<bool>) {
    let election = Election::new(client, "/lock").expect("legal");
    let (tell, told) = channel();
    let latch = election.name_style(NameStyle::Curator).identifier(identifier).latch(move |lead| {
        // The test may have heard enough.
        let _ = tell.send(lead.is_some());
    });
    (latch.expect("a thread"), told)
}

#[track_caller]
fn await_answer(java: &Curator, name: &str, verb: &str, wanted: &str) {
    eventually(&format!("{name}: {verb} {wanted}"), patience(), || {
        java.ask(name, &[verb]) == wanted
    });
}

/// Time enough for one that leads wrongly.
fn settle() {
    thread::sleep(ms(100));
}

#[test]
fn latches_of_both_lead_in_turn_and_each_hears_by_its_mode() {
    let yard = Yard::new();
    let java = curator(&yard);
    java.make("a", "latch", &["/lock", "a", "NOTIFY_LEADER"]);
    await_answer(&java, "a", "leads", "true");
    let (first, first_told) = latch(&yard.client(), "rust 1");
    yard.await_nodes(2);
    java.make("b", "latch", &["/lock", "b", "SILENT"]);
    yard.await_nodes(3);
    let (second, second_told) = latch(&yard.client(), "rust 2");
    yard.await_nodes(4);
    java.make("c", "latch", &["/lock", "c"]);
    yard.await_nodes(5);
    assert_eq!(java.ask("c", &["participants"]), "a leads,rust 1,b,rust 2,c");
    settle();
    assert!(!first.has_leadership() && !second.has_leadership(), "two leaders");
    // Curator's is told that it does not lead any more, ours that it does.
    assert_eq!(java.ask("a", &["close"]), "done");
    assert_eq!(java.ask("a", &["heard"]), "+-");
    assert_eq!(first_told.recv_timeout(patience()), Ok(true));
    first.wait_elected(patience()).expect("it leads");
    assert_eq!(java.ask("c", &["leader"]), "rust 1");
    settle();
    assert_eq!(java.ask("b", &["leads"]), "false", "two leaders");
    let fence = first.fence().expect("it leads");
    first.close(CloseMode::NotifyLeader).expect("led");
    assert_eq!(first_told.recv_timeout(patience()), Ok(false));
    await_answer(&java, "b", "leads", "true");
    settle();
    assert!(!second.has_leadership(), "two leaders");
    // Without a word.
    assert_eq!(java.ask("b", &["close"]), "done");
    assert_eq!(java.ask("b", &["heard"]), "+");
    assert_eq!(second_told.recv_timeout(patience()), Ok(true));
    assert!(second.fence().expect("it leads") > fence);
    second.close(CloseMode::Silent).expect("led");
    assert!(second_told.recv().is_err(), "not a word");
    await_answer(&java, "c", "leads", "true");
    assert_eq!(java.ask("c", &["participants"]), "c leads");
    java.ask("c", &["close"]);
    yard.await_nodes(0);
}

#[test]
fn latch_that_expires_or_whose_node_is_deleted_stands_again() {
    let yard = Yard::new();
    let java = curator(&yard);
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    let (ours, told) = latch(&client, "rust");
    assert_eq!(told.recv_timeout(patience()), Ok(true));
    java.make("a", "latch", &["/lock", "a"]);
    yard.await_nodes(2);
    expire(&proxy, yard.chroot.server(), &session);
    assert_eq!(told.recv_timeout(patience()), Ok(false));
    await_answer(&java, "a", "leads", "true");
    eventually("ours is behind it", patience(), || {
        java.ask("a", &["participants"]) == "a leads,rust"
    });
    settle();
    assert!(!ours.has_leadership(), "two leaders");
    java.ask("a", &["close"]);
    assert_eq!(told.recv_timeout(patience()), Ok(true));
    // One that waits loses its node, and hears of it when its turn comes: it makes another.
    java.make("b", "latch", &["/lock", "b"]);
    yard.await_nodes(2);
    let mut raw = yard.raw();
    let number = |node: &&String| sequence(node);
    let theirs = yard.nodes().iter().max_by_key(number).expect("two").clone();
    raw.delete(&format!("{}/{theirs}", yard.path()), -1).expect("there");
    raw.close();
    settle();
    assert_eq!(java.ask("b", &["leads"]), "false", "two leaders");
    ours.close(CloseMode::NotifyLeader).expect("led");
    await_answer(&java, "b", "leads", "true");
    java.ask("b", &["close"]);
    yard.await_nodes(0);
}

#[test]
fn killed_latch_of_either_hands_over_to_the_other() {
    if play(|client| {
        let (latch, _) = latch(client, "victim");
        latch.wait_elected(6 * patience()).expect("elected in time");
        latch
    }) {
        return;
    }
    let yard = Yard::new();
    let mut doomed = Curator::start_alone(&yard.chroot.connect_string());
    doomed.make("a", "latch", &["/lock", "a"]);
    await_answer(&doomed, "a", "leads", "true");
    let name = "interop::curator_leaders::killed_latch_of_either_hands_over_to_the_other";
    let mut victim = Victim::start(name, &yard.chroot.connect_string());
    yard.await_nodes(2);
    let java = curator(&yard);
    java.make("b", "latch", &["/lock", "b"]);
    yard.await_nodes(3);
    let (ours, _told) = latch(&yard.client(), "rust");
    yard.await_nodes(4);
    let started = Instant::now();
    doomed.kill();
    await_answer(&java, "b", "leader", "victim");
    figure("interop: from kill -9 of Curator's latch to ours", started.elapsed());
    settle();
    assert_eq!(java.ask("b", &["leads"]), "false", "two leaders");
    let started = Instant::now();
    victim.kill();
    await_answer(&java, "b", "leads", "true");
    figure("interop: from kill -9 of our latch to Curator's", started.elapsed());
    settle();
    assert!(!ours.has_leadership(), "two leaders");
    java.ask("b", &["close"]);
    ours.wait_elected(patience()).expect("next");
}

/// A `LeaderSelector` stands with the nodes of an `InterProcessMutex`: beside our locks.
#[test]
fn selector_takes_its_turns_with_our_locks_and_queues_again() {
    if play(|client| {
        lock(client).name_style(NameStyle::Curator).identifier("victim").acquire().expect("in time")
    }) {
        return;
    }
    let yard = Yard::new();
    let mut java = Curator::start_alone(&yard.chroot.connect_string());
    let ours = lock(&yard.client()).name_style(NameStyle::Curator).identifier("rust");
    java.make("s", "selector", &["/lock", "java"]);
    await_answer(&java, "s", "leads", "true");
    for _ in 0..3 {
        let own = ours.clone();
        let waiting = thread::spawn(move || own.acquire().expect("elected in time"));
        await_answer(&java, "s", "participants", "java leads,rust");
        settle();
        assert!(!waiting.is_finished(), "two leaders");
        java.ask("s", &["stop"]);
        let held = waiting.join().expect("no panic");
        // It queues again, behind ours.
        await_answer(&java, "s", "participants", "rust leads,java");
        assert_eq!(java.ask("s", &["leader"]), "rust");
        settle();
        assert_eq!(java.ask("s", &["leads"]), "false", "two leaders");
        held.release().expect("held");
        await_answer(&java, "s", "leads", "true");
    }
    // kill -9 of either.
    let name = "interop::curator_leaders::selector_takes_its_turns_with_our_locks_and_queues_again";
    let mut victim = Victim::start(name, &yard.chroot.connect_string());
    yard.await_nodes(2);
    java.ask("s", &["stop"]);
    await_answer(&java, "s", "participants", "victim leads,java");
    victim.kill();
    await_answer(&java, "s", "leads", "true");
    java.kill();
    ours.acquire().expect("given back in time").release().expect("held");
    yard.await_nodes(0);
}
