//! Locks, semaphores and elections that Kazoo 2.11 and ours contend for.

use std::sync::mpsc::channel;
use std::thread;
use std::time::Instant;

use zookeeper_blocking::recipes::{
    Election, Lock, LockGuard, NameStyle, ReadLock, Semaphore, WriteLock,
};
use zookeeper_blocking::{Client, RecipeError};

use crate::clients::patience;
use crate::faults::figure;
use crate::interop::kazoo::Kazoo;
use crate::interop::victim::{Victim, play};
use crate::locks::{Yard, assert_recipe, lock, ms, wait_for};
use crate::support::wait::eventually;

fn kazoo(yard: &Yard) -> Kazoo {
    Kazoo::start(&yard.chroot.connect_string())
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
fn lock_goes_from_kazoo_to_ours_and_back_in_the_order_of_asking() {
    let yard = Yard::new();
    let python = kazoo(&yard);
    let ours = yard.lock().identifier("rust 0");
    python.make("0", "lock", &["/lock", "python 0"]);
    assert_eq!(python.ask(&["acquire", "0"]), "True");
    assert!(ours.try_acquire().expect("answered").is_none());
    let (tell, served) = channel();
    let mut expected = vec!["python 0".to_owned()];
    let mut asked = Vec::new();
    for number in 1..=5 {
        let name = number.to_string();
        let (who, own) = (format!("rust {number}"), yard.lock());
        expected.push(who.clone());
        let (own, tell) = (own.identifier(&who), tell.clone());
        thread::spawn(move || {
            let guard = own.acquire().expect("granted in time");
            tell.send(who).expect("the test waits");
            // Longer than any answer takes: who is next comes after us.
            thread::sleep(ms(20));
            guard.release().expect("held");
        });
        yard.await_nodes(2 * number);
        python.make(&name, "lock", &["/lock", &format!("python {number}")]);
        expected.push(format!("python {number}"));
        asked.push((name.clone(), python.begin(&["acquire", &name])));
        yard.await_nodes(2 * number + 1);
    }
    // Both see all, in one order.
    assert_eq!(texts(&ours), expected);
    assert_eq!(python.ask(&["contenders", "0"]), expected.join(","));
    assert_eq!(python.ask(&["release", "0"]), "True");
    for (number, (name, asked)) in asked.iter().enumerate() {
        let who = served.recv_timeout(patience()).expect("granted in time");
        assert_eq!(who, format!("rust {}", number + 1));
        assert_eq!(asked.answer(), "True");
        settle();
        assert!(served.try_recv().is_err(), "two holders");
        assert_eq!(python.ask(&["release", name]), "True");
    }
    yard.await_nodes(0);
}

#[test]
fn killed_holder_of_kazoo_hands_over_to_ours() {
    let yard = Yard::new();
    let mut python = kazoo(&yard);
    python.make("a", "lock", &["/lock", "python"]);
    assert_eq!(python.ask(&["acquire", "a"]), "True");
    let waiting = wait_for(&yard.lock());
    yard.await_nodes(2);
    let started = Instant::now();
    python.kill();
    waiting.join().expect("no panic").expect("not cancelled").release().expect("held");
    figure("interop: from kill -9 of Kazoo to ours", started.elapsed());
}

#[test]
fn killed_holder_of_ours_hands_over_to_kazoo() {
    if play(|client| lock(client).acquire().expect("free")) {
        return;
    }
    let yard = Yard::new();
    let name = "interop::kazoo_locks::killed_holder_of_ours_hands_over_to_kazoo";
    let mut ours = Victim::start(name, &yard.chroot.connect_string());
    yard.await_nodes(1);
    let python = kazoo(&yard);
    python.make("a", "lock", &["/lock", "python"]);
    let asked = python.begin(&["acquire", "a"]);
    yard.await_nodes(2);
    let started = Instant::now();
    ours.kill();
    assert_eq!(asked.answer(), "True");
    figure("interop: from kill -9 of ours to Kazoo", started.elapsed());
    assert_eq!(python.ask(&["release", "a"]), "True");
}

#[test]
fn tries_time_outs_and_cancels_of_either_leave_no_node() {
    let yard = Yard::new();
    let python = kazoo(&yard);
    let held = yard.lock().acquire().expect("free");
    python.make("a", "lock", &["/lock", "python"]);
    assert_eq!(python.ask(&["try", "a"]), "False");
    yard.await_nodes(1);
    assert_eq!(python.ask(&["acquire_timeout", "a", "0.1"]), "LockTimeout");
    yard.await_nodes(1);
    let asked = python.begin(&["acquire", "a"]);
    yard.await_nodes(2);
    assert_eq!(python.ask(&["cancel", "a"]), "None");
    assert_eq!(asked.answer(), "CancelledError");
    yard.await_nodes(1);
    held.release().expect("held");
    assert_eq!(python.ask(&["acquire", "a"]), "True");
    let ours = yard.lock();
    assert!(ours.try_acquire().expect("answered").is_none());
    assert!(ours.acquire_timeout(ms(80)).is_err());
    let waiting = wait_for(&ours);
    yard.await_nodes(2);
    ours.cancel();
    assert!(waiting.join().expect("no panic").is_none());
    yard.await_nodes(1);
    assert_eq!(python.ask(&["release", "a"]), "True");
    yard.await_nodes(0);
}

#[test]
fn readers_and_writers_of_both_share_and_exclude() {
    let yard = Yard::new();
    let python = kazoo(&yard);
    let client = yard.client();
    let read = ReadLock::new(&client, "/lock").expect("legal");
    let write = WriteLock::new(&client, "/lock").expect("legal");
    for (name, kind) in [("r", "read"), ("s", "read"), ("w", "write")] {
        python.make(name, kind, &["/lock", name]);
    }
    // r(py) r(ours) w(py) r(ours) w(ours) r(py): in this order.
    assert_eq!(python.ask(&["acquire", "r"]), "True");
    let second = read.try_acquire().expect("answered").expect("shared");
    let writer = python.begin(&["acquire", "w"]);
    yard.await_nodes(3);
    let wait = |guard: Box<dyn FnOnce() -> LockGuard + Send>| thread::spawn(guard);
    let own = read.clone();
    let third = wait(Box::new(move || own.acquire().expect("granted in time")));
    yard.await_nodes(4);
    let own = write.clone();
    let last = wait(Box::new(move || own.acquire().expect("granted in time")));
    yard.await_nodes(5);
    let behind = python.begin(&["acquire", "s"]);
    yard.await_nodes(6);
    assert!(read.try_acquire().expect("answered").is_none());
    assert_eq!(python.ask(&["release", "r"]), "True");
    settle();
    assert!(writer.is_answered().is_none(), "a writer beside our reader");
    second.release().expect("held");
    assert_eq!(writer.answer(), "True");
    settle();
    assert!(!third.is_finished(), "a reader beside Kazoo's writer");
    assert_eq!(python.ask(&["release", "w"]), "True");
    let third = third.join().expect("no panic");
    settle();
    assert!(!last.is_finished() && behind.is_answered().is_none());
    third.release().expect("held");
    let writing = last.join().expect("no panic");
    settle();
    assert!(behind.is_answered().is_none(), "Kazoo's reader beside our writer");
    // Kazoo takes a downgraded writer for the reader that it is.
    let reading = write.downgrade(writing).expect("held");
    assert_eq!(behind.answer(), "True");
    assert_eq!(python.ask(&["try", "w"]), "False");
    reading.release().expect("held");
    assert_eq!(python.ask(&["release", "s"]), "True");
    yard.await_nodes(0);
}

#[test]
fn plain_locks_of_both_pass_readers_by_and_writers_do_not() {
    let yard = Yard::new();
    let python = kazoo(&yard);
    let client = yard.client();
    python.make("r", "read", &["/lock", ""]);
    python.make("l", "lock", &["/lock", ""]);
    python.make("w", "write", &["/lock", ""]);
    assert_eq!(python.ask(&["acquire", "r"]), "True");
    let plain = lock(&client).try_acquire().expect("answered").expect("sees no readers");
    let write = WriteLock::new(&client, "/lock").expect("legal");
    assert!(write.try_acquire().expect("answered").is_none());
    assert_eq!(python.ask(&["try", "l"]), "False", "but our lock");
    plain.release().expect("held");
    assert_eq!(python.ask(&["release", "r"]), "True");
    let reading = ReadLock::new(&client, "/lock").expect("legal").acquire().expect("free");
    assert_eq!(python.ask(&["try", "w"]), "False");
    assert_eq!(python.ask(&["try", "l"]), "True");
    reading.release().expect("held");
    assert_eq!(python.ask(&["release", "l"]), "True");
}

#[test]
fn kazoo_sees_names_in_curators_style_by_its_extra_patterns() {
    let yard = Yard::new();
    let python = kazoo(&yard);
    let client = yard.client();
    let curator = lock(&client).name_style(NameStyle::Curator).identifier("rust");
    let held = curator.acquire().expect("free");
    python.make("blind", "lock", &["/lock", "blind"]);
    assert_eq!(python.ask(&["try", "blind"]), "True", "as it is known to");
    assert_eq!(python.ask(&["release", "blind"]), "True");
    python.make("seeing", "lock", &["/lock", "seeing", "-lock-"]);
    assert_eq!(python.ask(&["try", "seeing"]), "False");
    let asked = python.begin(&["acquire", "seeing"]);
    yard.await_nodes(2);
    assert_eq!(python.ask(&["contenders", "seeing"]), "rust,seeing");
    held.release().expect("held");
    assert_eq!(asked.answer(), "True");
    // Ours sees Kazoo's whatever its own style.
    assert!(curator.try_acquire().expect("answered").is_none());
    assert_eq!(python.ask(&["release", "seeing"]), "True");
}

#[test]
fn chroot_of_one_is_the_path_of_the_other() {
    let yard = Yard::new();
    let python = kazoo(&yard);
    let client = Client::connect(&yard.chroot.server().connect_string()).expect("serves");
    let ours = Lock::new(&client, &yard.path()).expect("legal");
    python.make("a", "lock", &["/lock", "python"]);
    let held = ours.acquire().expect("free");
    let asked = python.begin(&["acquire", "a"]);
    yard.await_nodes(2);
    held.release().expect("held");
    assert_eq!(asked.answer(), "True");
    assert!(ours.try_acquire().expect("answered").is_none());
    assert_eq!(python.ask(&["release", "a"]), "True");
}

#[test]
fn semaphore_is_shared_and_its_maximum_agreed_on() {
    let yard = Yard::new();
    let mut python = kazoo(&yard);
    let client = yard.client();
    let ours = Semaphore::new(&client, "/sem", 2).expect("legal").identifier("rust");
    let first = ours.acquire().expect("free");
    python.make("a", "semaphore", &["/sem", "python", "2"]);
    assert_eq!(python.ask(&["acquire", "a"]), "True");
    assert!(ours.try_acquire().expect("answered").is_none());
    assert_eq!(python.ask(&["holders", "a"]), "python,rust");
    let who = ours.holders().expect("answered");
    let who: Vec<_> = who.iter().map(|holder| holder.identifier_text()).collect();
    assert_eq!(who, ["rust", "python"]);
    // Kazoo waits behind the door, ours before it.
    python.make("b", "semaphore", &["/sem", "python 2", "2"]);
    let second = python.begin(&["acquire", "b"]);
    let mut raw = yard.raw();
    let door = format!("{}/sem-__lock__", yard.chroot.path());
    let mut await_waiters = |count: usize| {
        eventually("waiters", patience(), || {
            raw.children(&door).unwrap_or_default().len() == count
        });
    };
    await_waiters(1);
    let own = ours.clone();
    let third = thread::spawn(move || own.acquire().expect("granted in time"));
    await_waiters(2);
    first.release().expect("held");
    assert_eq!(second.answer(), "True");
    settle();
    assert!(!third.is_finished(), "three holders of two leases");
    assert_eq!(python.ask(&["release", "a"]), "True");
    let third = third.join().expect("no panic");
    // And the other way round. Ours gives its place at the door up behind the answer.
    await_waiters(0);
    let own = ours.clone();
    let fourth = thread::spawn(move || own.acquire().expect("granted in time"));
    await_waiters(1);
    let again = python.begin(&["acquire", "a"]);
    await_waiters(2);
    third.release().expect("held");
    let fourth = fourth.join().expect("no panic");
    settle();
    assert!(again.is_answered().is_none(), "three holders of two leases");
    fourth.release().expect("held");
    assert_eq!(again.answer(), "True");
    // Each refuses the other's maximum.
    python.make("c", "semaphore", &["/sem", "", "3"]);
    assert_eq!(python.ask(&["try", "c"]), "ValueError");
    python.make("d", "semaphore", &["/new", "", "3"]);
    assert_eq!(python.ask(&["acquire", "d"]), "True");
    let other = Semaphore::new(&client, "/new", 2).expect("legal").acquire().map(drop);
    assert_recipe(other, RecipeError::LimitMismatch, Instant::now(), ms(1_000));
    // kill -9 gives its leases back.
    let last = thread::spawn(move || ours.acquire_many(2).expect("granted in time"));
    await_waiters(1);
    python.kill();
    drop(last.join().expect("no panic"));
}

#[test]
fn election_goes_in_one_order_through_both() {
    let yard = Yard::new();
    let mut python = kazoo(&yard);
    let ours = Election::new(&yard.client(), "/lock").expect("legal").identifier("rust");
    for name in ["a", "b", "c"] {
        python.make(name, "election", &["/lock", name]);
    }
    let first = python.begin(&["run", "a"]);
    assert_eq!(python.leads(), "a");
    let own = ours.clone();
    let second = thread::spawn(move || own.campaign().expect("elected in time"));
    yard.await_nodes(2);
    let third = python.begin(&["run", "b"]);
    yard.await_nodes(3);
    let fourth = python.begin(&["run", "c"]);
    yard.await_nodes(4);
    let who = ours.contenders().expect("answered");
    let who: Vec<_> = who.iter().map(|contender| contender.identifier_text()).collect();
    assert_eq!(who, ["a", "rust", "b", "c"]);
    assert_eq!(python.ask(&["contenders", "b"]), "a,rust,b,c");
    let mut observer = ours.observe();
    let mut leads = || {
        let leader = observer.recv_timeout(patience()).expect("a change");
        leader.map(|leader| leader.identifier_text())
    };
    assert_eq!(leads().as_deref(), Some("a"));
    python.ask(&["stop", "a"]);
    assert_eq!(first.answer(), "ended");
    let leadership = second.join().expect("no panic");
    assert_eq!(leads().as_deref(), Some("rust"));
    leadership.proclaim("rust leads").expect("held");
    assert_eq!(leads().as_deref(), Some("rust leads"));
    assert_eq!(python.ask(&["contenders", "b"]), "rust leads,b,c");
    // One of the waiting is cancelled.
    python.ask(&["cancel", "b"]);
    assert_eq!(third.answer(), "ended");
    yard.await_nodes(2);
    leadership.resign().expect("held");
    assert_eq!(python.leads(), "c");
    assert_eq!(leads().as_deref(), Some("c"));
    let last = thread::spawn(move || ours.campaign().expect("elected in time"));
    yard.await_nodes(2);
    assert!(fourth.is_answered().is_none());
    python.kill();
    let leadership = last.join().expect("no panic");
    assert_eq!(leads().as_deref(), Some("rust"));
    leadership.resign().expect("held");
}
