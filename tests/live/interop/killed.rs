//! Who is killed (-9) while he holds leases, leads or has a lease for a time: the other language has
//! it when the session is over, or the time. (Locks, latches, queues, parties and shares: with the
//! rest of theirs.)

use std::thread;
use std::time::{Duration, Instant};

use zookeeper_blocking::Client;
use zookeeper_blocking::recipes::{
    Election, Lease, MultiLease, NameStyle, ReadLock, Semaphore, WriteLock,
};

use crate::clients::patience;
use crate::faults::figure;
use crate::interop::curator::Curator;
use crate::interop::kazoo::Kazoo;
use crate::interop::victim::{Victim, play};
use crate::locks::{Yard, ms};
use crate::nodes::await_children;
use crate::support::wait::{eventually, scaled};

fn kazoo(yard: &Yard) -> Kazoo {
    Kazoo::start(&yard.chroot.connect_string())
}

fn victim(yard: &Yard, test: &str) -> Victim {
    Victim::start(&format!("interop::killed::{test}"), &yard.chroot.connect_string())
}

fn semaphore(client: &Client, style: NameStyle) -> Semaphore {
    Semaphore::new(client, "/sem", 2).expect("legal").name_style(style)
}

#[test]
fn our_leases_of_a_semaphore_go_to_kazoo() {
    if play(|client| semaphore(client, NameStyle::Kazoo).acquire_many(2).expect("free")) {
        return;
    }
    let yard = Yard::new();
    let python = kazoo(&yard);
    for name in ["a", "b"] {
        python.make(name, "semaphore", &["/sem", name, "2"]);
    }
    let mut ours = victim(&yard, "our_leases_of_a_semaphore_go_to_kazoo");
    await_children(&yard, "/sem", 2);
    assert_eq!(python.ask(&["try", "a"]), "False");
    let asked = ["a", "b"].map(|name| python.begin(&["acquire", name]));
    await_children(&yard, "/sem-__lock__", 2);
    let started = Instant::now();
    ours.kill();
    assert_eq!(asked.map(|asked| asked.answer()), ["True", "True"]);
    figure("interop: from kill -9 of our leases to Kazoo", started.elapsed());
    let third = semaphore(&yard.client(), NameStyle::Kazoo).try_acquire().expect("answered");
    assert!(third.is_none(), "three of two");
}

#[test]
fn our_leases_of_a_semaphore_go_to_curator() {
    if play(|client| semaphore(client, NameStyle::Curator).acquire_many(2).expect("free")) {
        return;
    }
    let yard = Yard::new();
    let java = Curator::start(&yard.chroot.connect_string());
    java.make("a", "semaphore", &["/sem", "2"]);
    let mut ours = victim(&yard, "our_leases_of_a_semaphore_go_to_curator");
    await_children(&yard, "/sem/leases", 2);
    assert_eq!(java.ask("a", &["try", "50", "1"]), "false");
    let asked = java.begin("a", &["try", "60000", "2"]);
    await_children(&yard, "/sem/locks", 1);
    let started = Instant::now();
    ours.kill();
    assert_eq!(asked.answer(), "true");
    figure("interop: from kill -9 of our leases to Curator", started.elapsed());
    let third = semaphore(&yard.client(), NameStyle::Curator).try_acquire().expect("answered");
    assert!(third.is_none(), "three of two");
    for _ in 0..2 {
        assert_eq!(java.ask("a", &["release"]), "done");
    }
}

#[test]
fn our_leadership_goes_to_kazoo() {
    let election = |client: &Client| Election::new(client, "/lock").expect("legal");
    if play(|client| election(client).campaign().expect("free")) {
        return;
    }
    let yard = Yard::new();
    let python = kazoo(&yard);
    let mut ours = victim(&yard, "our_leadership_goes_to_kazoo");
    yard.await_nodes(1);
    python.make("a", "election", &["/lock", "a"]);
    let asked = python.begin(&["run", "a"]);
    yard.await_nodes(2);
    let started = Instant::now();
    ours.kill();
    assert_eq!(python.leads(), "a");
    figure("interop: from kill -9 of our leader to Kazoo's", started.elapsed());
    assert!(election(&yard.client()).try_campaign().expect("answered").is_none());
    python.ask(&["stop", "a"]);
    assert_eq!(asked.answer(), "ended");
}

#[test]
fn read_and_write_locks_of_either_go_to_the_other() {
    let write =
        |client: &Client, style| WriteLock::new(client, "/lock").expect("legal").name_style(style);
    if play(|client| {
        // The test waits for it beside theirs.
        let read = ReadLock::new(client, "/lock").expect("legal");
        read.acquire_timeout(6 * patience()).expect("free in time")
    }) {
        return;
    }
    let yard = Yard::new();
    let client = yard.client();
    // A reader of ours and one of Kazoo's: Kazoo's writer waits for both.
    let (python, mut doomed) = (kazoo(&yard), kazoo(&yard));
    doomed.make("r", "read", &["/lock", "r"]);
    assert_eq!(doomed.ask(&["acquire", "r"]), "True");
    let mut ours = victim(&yard, "read_and_write_locks_of_either_go_to_the_other");
    yard.await_nodes(2);
    python.make("w", "write", &["/lock", "w"]);
    let asked = python.begin(&["acquire", "w"]);
    yard.await_nodes(3);
    doomed.kill();
    yard.await_nodes(2);
    assert!(asked.is_answered().is_none(), "a writer beside our reader");
    ours.kill();
    assert_eq!(asked.answer(), "True");
    assert!(write(&client, NameStyle::Kazoo).try_acquire().expect("answered").is_none());
    assert_eq!(python.ask(&["release", "w"]), "True");
    // A writer of Curator's, and ours.
    let mut java = Curator::start_alone(&yard.chroot.connect_string());
    java.make("w", "rwlock", &["/lock", "w"]);
    assert_eq!(java.ask("w", &["write"]), "done");
    let own = write(&client, NameStyle::Curator);
    assert!(own.try_acquire().expect("answered").is_none());
    let waiting = thread::spawn(move || own.acquire().expect("granted in time"));
    yard.await_nodes(2);
    java.kill();
    waiting.join().expect("no panic").release().expect("held");
}

/// A lease outlives its holder: it ends at its time, whoever waits.
#[test]
fn lease_of_either_ends_at_its_time_and_not_before() {
    let duration = scaled(Duration::from_secs(6));
    let lease = |client: &Client, holder: &str| {
        Lease::new(client, "/lock", holder, duration).expect("legal")
    };
    if play(|client| lease(client, "victim").acquire().expect("free")) {
        return;
    }
    let yard = Yard::new();
    let client = yard.client();
    let ours = lease(&client, "rust");
    // Kazoo's; its record says when it ends, in whole seconds.
    let mut doomed = kazoo(&yard);
    let seconds = duration.as_secs().to_string();
    let started = Instant::now();
    assert_eq!(doomed.ask(&["lease", "/lock", &seconds, "python", "0"]), "True");
    doomed.kill();
    let held = ours.acquire_timeout(duration + patience()).expect("at its end");
    let took = started.elapsed();
    assert!(took > duration - Duration::from_secs(2), "{took:?}");
    held.release().expect("ours");
    // Ours.
    let python = kazoo(&yard);
    let started = Instant::now();
    let mut victim = victim(&yard, "lease_of_either_ends_at_its_time_and_not_before");
    eventually("the victim has it", patience(), || {
        ours.holder().expect("answered").is_some_and(|it| it.holder == "victim")
    });
    let theirs = || python.ask(&["lease", "/lock", "600", "python", "0"]) == "True";
    assert!(!theirs());
    victim.kill();
    eventually("Kazoo takes it over", duration + patience(), theirs);
    let took = started.elapsed();
    figure("interop: from before our lease to Kazoo's, and how long it lasts", (took, duration));
    assert!(took > duration - Duration::from_secs(2), "{took:?}");
    assert!(ours.try_acquire().expect("answered").is_none());
    // A slot of several.
    let slots = |name: &str| MultiLease::new(&client, "/slots", name, 2, ms(600_000));
    let mut doomed = kazoo(&yard);
    assert_eq!(doomed.ask(&["multi", "2", "/slots", "1", "python"]), "True");
    doomed.kill();
    let _first = slots("one").expect("legal").try_acquire().expect("answered").expect("free");
    eventually("Kazoo's slot is over", patience(), || {
        slots("two").expect("legal").try_acquire().expect("answered").is_some()
    });
}
