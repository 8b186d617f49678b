//! Locks and semaphores that Curator 5.4 and ours contend for.

use std::sync::mpsc::channel;
use std::thread;
use std::time::Instant;

use zookeeper_blocking::Client;
use zookeeper_blocking::recipes::{Lock, NameStyle, ReadLock, Semaphore, SharedCount, WriteLock};

use crate::clients::patience;
use crate::faults::figure;
use crate::interop::curator::Curator;
use crate::interop::victim::{Victim, play};
use crate::locks::{Yard, lock, ms, wait_for};
use crate::nodes::await_children;
use crate::support::wait::eventually;

fn curator(yard: &Yard) -> Curator {
    Curator::start(&yard.chroot.connect_string())
}

/// Our lock, which Curator sees.
fn mutex(client: &Client) -> Lock {
    lock(client).name_style(NameStyle::Curator)
}

fn texts(lock: &Lock) -> Vec<String> {
    let contenders = lock.contenders().expect("answered");
    contenders.iter().map(|contender| contender.identifier_text()).collect()
}

/// Time enough for one that lets itself in wrongly.
fn settle() {
    thread::sleep(ms(100));
}

#[test]
fn mutex_goes_from_curator_to_ours_and_back_in_the_order_of_asking() {
    let yard = Yard::new();
    let java = curator(&yard);
    let ours = mutex(&yard.client()).identifier("rust 0");
    java.make("0", "mutex", &["/lock", "java 0"]);
    assert_eq!(java.ask("0", &["acquire"]), "done");
    assert!(ours.try_acquire().expect("answered").is_none());
    let (tell, served) = channel();
    let mut expected = vec!["java 0".to_owned()];
    let mut asked = Vec::new();
    for number in 1..=5 {
        let name = number.to_string();
        let who = format!("rust {number}");
        let own = mutex(&yard.client()).identifier(&who);
        expected.push(who.clone());
        let tell = tell.clone();
        thread::spawn(move || {
            let guard = own.acquire().expect("granted in time");
            tell.send(who).expect("the test waits");
            // Longer than any answer takes: who is next comes after us.
            thread::sleep(ms(20));
            guard.release().expect("held");
        });
        yard.await_nodes(2 * number);
        java.make(&name, "mutex", &["/lock", &format!("java {number}")]);
        expected.push(format!("java {number}"));
        asked.push((name.clone(), java.begin(&name, &["acquire"])));
        yard.await_nodes(2 * number + 1);
    }
    // Both see all, in one order.
    assert_eq!(texts(&ours), expected);
    assert_eq!(java.ask("0", &["contenders"]), expected.join(","));
    assert_eq!(java.ask("0", &["release"]), "done");
    for (number, (name, asked)) in asked.iter().enumerate() {
        let who = served.recv_timeout(patience()).expect("granted in time");
        assert_eq!(who, format!("rust {}", number + 1));
        assert_eq!(asked.answer(), "done");
        settle();
        assert!(served.try_recv().is_err(), "two holders");
        assert_eq!(java.ask(name, &["release"]), "done");
    }
    yard.await_nodes(0);
}

#[test]
fn killed_holder_of_curator_hands_over_to_ours() {
    let yard = Yard::new();
    let mut java = Curator::start_alone(&yard.chroot.connect_string());
    java.make("a", "mutex", &["/lock", "java"]);
    assert_eq!(java.ask("a", &["acquire"]), "done");
    let waiting = wait_for(&mutex(&yard.client()));
    yard.await_nodes(2);
    let started = Instant::now();
    java.kill();
    waiting.join().expect("no panic").expect("not cancelled").release().expect("held");
    figure("interop: from kill -9 of Curator to ours", started.elapsed());
}

#[test]
fn killed_holder_of_ours_hands_over_to_curator() {
    if play(|client| mutex(client).acquire().expect("free")) {
        return;
    }
    let yard = Yard::new();
    let name = "interop::curator_locks::killed_holder_of_ours_hands_over_to_curator";
    let mut ours = Victim::start(name, &yard.chroot.connect_string());
    yard.await_nodes(1);
    let java = curator(&yard);
    java.make("a", "mutex", &["/lock", "java"]);
    let asked = java.begin("a", &["acquire"]);
    yard.await_nodes(2);
    let started = Instant::now();
    ours.kill();
    assert_eq!(asked.answer(), "done");
    figure("interop: from kill -9 of ours to Curator", started.elapsed());
    assert_eq!(java.ask("a", &["release"]), "done");
}

#[test]
fn tries_time_outs_and_cancels_of_either_leave_no_node() {
    let yard = Yard::new();
    let java = curator(&yard);
    let ours = mutex(&yard.client());
    let held = ours.acquire().expect("free");
    java.make("a", "mutex", &["/lock", "java"]);
    assert_eq!(java.ask("a", &["try", "0"]), "false");
    yard.await_nodes(1);
    assert_eq!(java.ask("a", &["try", "100"]), "false");
    yard.await_nodes(1);
    held.release().expect("held");
    assert_eq!(java.ask("a", &["try", "10000"]), "true");
    assert!(ours.try_acquire().expect("answered").is_none());
    assert!(ours.acquire_timeout(ms(80)).is_err());
    let waiting = wait_for(&ours);
    yard.await_nodes(2);
    ours.cancel();
    assert!(waiting.join().expect("no panic").is_none());
    yard.await_nodes(1);
    assert_eq!(java.ask("a", &["release"]), "done");
    yard.await_nodes(0);
}

#[test]
fn curator_overlooks_names_in_kazoos_style_and_ours_overlooks_none() {
    let yard = Yard::new();
    let java = curator(&yard);
    let kazoos = yard.lock();
    let held = kazoos.acquire().expect("free");
    java.make("a", "mutex", &["/lock", "java"]);
    // Curator sorts a name that is none of its own as a whole: by its digits, which are random, but
    // behind the 0s of a number unless they begin with as many.
    assert_eq!(java.ask("a", &["try", "10000"]), "true", "as it is known to");
    held.release().expect("held");
    assert!(kazoos.try_acquire().expect("answered").is_none(), "ours sees Curator's");
    let waiting = wait_for(&kazoos);
    yard.await_nodes(2);
    assert_eq!(java.ask("a", &["release"]), "done");
    waiting.join().expect("no panic").expect("not cancelled").release().expect("held");
}

#[test]
fn holder_of_either_is_asked_to_give_up_by_the_other() {
    let yard = Yard::new();
    let java = curator(&yard);
    let ours = mutex(&yard.client());
    java.make("a", "mutex", &["/lock", ""]);
    // Ours asks.
    assert_eq!(java.ask("a", &["make_revocable"]), "done");
    assert_eq!(java.ask("a", &["acquire"]), "done");
    assert_eq!(java.ask("a", &["is_asked"]), "false");
    let holder = ours.contenders().expect("answered").remove(0);
    ours.revoke(&holder).expect("there");
    eventually("Curator's holder is asked", patience(), || java.ask("a", &["is_asked"]) == "true");
    assert_eq!(java.ask("a", &["release"]), "done");
    // Curator asks.
    let held = ours.acquire().expect("free");
    let mut asked = held.revocation().expect("held");
    assert!(!asked.is_requested().expect("held"));
    assert_eq!(java.ask("a", &["revoke_first"]), "done");
    assert!(asked.wait_timeout(patience()).expect("held"), "ours is asked");
    held.release().expect("held");
}

#[test]
fn readers_and_writers_of_both_share_and_exclude() {
    let yard = Yard::new();
    let java = curator(&yard);
    let client = yard.client();
    let read = ReadLock::new(&client, "/lock").expect("legal").name_style(NameStyle::Curator);
    let write = WriteLock::new(&client, "/lock").expect("legal").name_style(NameStyle::Curator);
    for name in ["r", "s", "w"] {
        java.make(name, "rwlock", &["/lock", name]);
    }
    // r(java) r(ours) w(java) r(ours) w(ours) r(java): in this order.
    assert_eq!(java.ask("r", &["read"]), "done");
    let second = read.try_acquire().expect("answered").expect("shared");
    let writer = java.begin("w", &["write"]);
    yard.await_nodes(3);
    let third = thread::spawn(move || read.acquire().expect("granted in time"));
    yard.await_nodes(4);
    let own = write.clone();
    let last = thread::spawn(move || own.acquire().expect("granted in time"));
    yard.await_nodes(5);
    let behind = java.begin("s", &["read"]);
    yard.await_nodes(6);
    assert_eq!(java.ask("r", &["end_read"]), "done");
    settle();
    assert!(writer.is_answered().is_none(), "a writer beside our reader");
    second.release().expect("held");
    assert_eq!(writer.answer(), "done");
    settle();
    assert!(!third.is_finished(), "a reader beside Curator's writer");
    assert_eq!(java.ask("w", &["end_write"]), "done");
    let third = third.join().expect("no panic");
    settle();
    assert!(!last.is_finished() && behind.is_answered().is_none());
    third.release().expect("held");
    let writing = last.join().expect("no panic");
    settle();
    assert!(behind.is_answered().is_none(), "Curator's reader beside our writer");
    // Curator takes a downgraded writer for the reader that it is.
    let reading = write.downgrade(writing).expect("held");
    assert_eq!(behind.answer(), "done");
    assert_eq!(java.ask("w", &["try_write", "0"]), "false");
    reading.release().expect("held");
    assert_eq!(java.ask("s", &["end_read"]), "done");
    yard.await_nodes(0);
}

#[test]
fn writer_of_curator_that_became_a_reader_is_one_for_ours() {
    let yard = Yard::new();
    let java = curator(&yard);
    let client = yard.client();
    let read = ReadLock::new(&client, "/lock").expect("legal").name_style(NameStyle::Curator);
    let write = WriteLock::new(&client, "/lock").expect("legal").name_style(NameStyle::Curator);
    java.make("d", "rwlock", &["/lock", "d"]);
    assert_eq!(java.ask("d", &["write"]), "done");
    assert_eq!(java.ask("d", &["read"]), "done");
    assert!(read.try_acquire().expect("answered").is_none());
    // No writer may be in line by now: the read lock is behind it, and Curator 5.4 does not mind
    // (CURATOR-621).
    assert_eq!(java.ask("d", &["end_write"]), "done");
    assert!(write.try_acquire().expect("answered").is_none());
    read.try_acquire().expect("answered").expect("shared").release().expect("held");
    let writer = thread::spawn(move || write.acquire().expect("granted in time"));
    yard.await_nodes(2);
    assert_eq!(java.ask("d", &["end_read"]), "done");
    writer.join().expect("no panic").release().expect("held");
    yard.await_nodes(0);
}

fn semaphore(client: &Client, max: u32) -> Semaphore {
    let semaphore = Semaphore::new(client, "/sem", max).expect("legal");
    semaphore.name_style(NameStyle::Curator).identifier("rust")
}

#[test]
fn semaphore_is_shared_and_never_over_its_maximum() {
    let yard = Yard::new();
    let mut java = Curator::start_alone(&yard.chroot.connect_string());
    let ours = semaphore(&yard.client(), 2);
    for name in ["a", "b"] {
        java.make(name, "semaphore", &["/sem", "2"]);
        java.ask(name, &["name", name]);
    }
    let first = ours.acquire().expect("free");
    assert_eq!(java.ask("a", &["acquire"]), "done");
    assert!(ours.try_acquire().expect("answered").is_none());
    assert_eq!(java.ask("b", &["try", "100", "1"]), "false");
    assert_eq!(java.ask("a", &["count"]), "2");
    let who = ours.holders().expect("answered");
    let mut who: Vec<_> = who.iter().map(|holder| holder.identifier_text()).collect();
    who.sort_unstable();
    assert_eq!(who, ["a", "rust"]);
    // Curator waits behind the door, ours before it.
    let second = java.begin("b", &["acquire"]);
    await_children(&yard, "/sem/locks", 1);
    let own = ours.clone();
    let third = thread::spawn(move || own.acquire().expect("granted in time"));
    await_children(&yard, "/sem/locks", 2);
    first.release().expect("held");
    assert_eq!(second.answer(), "done");
    settle();
    assert!(!third.is_finished(), "three holders of two leases");
    assert_eq!(java.ask("a", &["release"]), "done");
    let third = third.join().expect("no panic");
    // And the other way round. Ours gives its place at the door up behind the answer.
    await_children(&yard, "/sem/locks", 0);
    let own = ours.clone();
    let fourth = thread::spawn(move || own.acquire().expect("granted in time"));
    await_children(&yard, "/sem/locks", 1);
    let again = java.begin("a", &["acquire"]);
    await_children(&yard, "/sem/locks", 2);
    third.release().expect("held");
    let fourth = fourth.join().expect("no panic");
    settle();
    assert!(again.is_answered().is_none(), "three holders of two leases");
    fourth.release().expect("held");
    assert_eq!(again.answer(), "done");
    // kill -9 gives its leases back.
    let last = thread::spawn(move || ours.acquire_many(2).expect("granted in time"));
    await_children(&yard, "/sem/locks", 1);
    let started = Instant::now();
    java.kill();
    drop(last.join().expect("no panic"));
    figure("interop: from kill -9 of Curator's leases to ours", started.elapsed());
}

#[test]
fn several_leases_at_once_are_all_or_none_beside_the_others() {
    let yard = Yard::new();
    let java = curator(&yard);
    let ours = semaphore(&yard.client(), 3);
    java.make("a", "semaphore", &["/sem", "3"]);
    let one = ours.acquire().expect("free");
    assert_eq!(java.ask("a", &["try", "50", "3"]), "false");
    await_children(&yard, "/sem/leases", 1);
    assert_eq!(java.ask("a", &["try", "10000", "2"]), "true");
    assert!(ours.try_acquire_many(2).expect("answered").is_none());
    one.release().expect("held");
    assert!(ours.acquire_many_timeout(2, ms(50)).is_err());
    await_children(&yard, "/sem/leases", 2);
    for _ in 0..2 {
        assert_eq!(java.ask("a", &["release"]), "done");
    }
    drop(ours.try_acquire_many(3).expect("answered").expect("free"));
    await_children(&yard, "/sem/leases", 0);
}

#[test]
fn maximum_in_a_shared_count_is_followed_by_both() {
    let yard = Yard::new();
    let java = curator(&yard);
    let client = yard.client();
    let ours = semaphore(&client, 1).shared_count("/most").expect("legal");
    java.make("a", "counted", &["/sem", "/most", "1"]);
    let first = ours.acquire().expect("free");
    assert_eq!(java.ask("a", &["try", "50", "1"]), "false");
    let asked = java.begin("a", &["acquire"]);
    await_children(&yard, "/sem/locks", 1);
    // Raised: whoever waits is told, Curator's and ours.
    let most = SharedCount::new(&client, "/most", 1).expect("legal");
    most.set(2).expect("set");
    assert_eq!(asked.answer(), "done");
    let own = ours.clone();
    let waiting = thread::spawn(move || own.acquire().expect("granted in time"));
    await_children(&yard, "/sem/locks", 1);
    java.make("m", "count", &["/most", "1"]);
    assert_eq!(java.ask("m", &["set", "3"]), "done");
    let second = waiting.join().expect("no panic");
    // Lowered: who has one keeps it.
    assert_eq!(java.ask("m", &["set", "1"]), "done");
    first.release().expect("held");
    assert_eq!(java.ask("a", &["release"]), "done");
    await_children(&yard, "/sem/leases", 1);
    assert!(ours.try_acquire().expect("answered").is_none());
    eventually("Curator's other handle has heard of it", patience(), || {
        let is_refused = java.ask("a", &["try", "50", "1"]) == "false";
        if !is_refused {
            java.ask("a", &["release"]);
        }
        is_refused
    });
    second.release().expect("held");
    assert_eq!(java.ask("a", &["try", "10000", "1"]), "true");
    assert!(ours.acquire_timeout(ms(50)).is_err());
}
