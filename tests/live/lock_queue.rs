//! The queue itself: members that die in the middle, herds, foreign names, numbers that run out,
//! parents that vanish, nodes that are not ours to read.
//!
//! Retold by behaviour: Kazoo `test_lock.py` (`TestSequence`); Curator `TestInterProcessMutexBase`
//! (`testContainerCleanup`), `TestLockACLs`, `TestLeaderLatch` (`testGetChildrenHitsNoNode`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use zookeeper_blocking::recipes::{Lock, LockGuard};
use zookeeper_blocking::{
    Acl, Client, Code, CreateMode, Error, RecipeError, SessionState, Version,
};

use crate::clients::{await_state, patience, soon};
use crate::faults::figure;
use crate::locks::{Book, Yard, assert_code, assert_recipe, await_contenders, lock, ms, wait_for};
use crate::support::calm::undisturbed;
use crate::support::forge::{AUTO, Forge};
use crate::support::server::Place;
use crate::support::wait::{eventually, scaled};
use crate::support::wire::{Out, op};

#[test]
fn e3_death_in_the_middle_of_the_queue_lets_nobody_in() {
    let yard = Yard::new();
    let holder = yard.lock();
    let held = holder.acquire().expect("free");
    let clients: Vec<Client> = (0..4).map(|_| yard.client()).collect();
    let mut waiting: Vec<_> = Vec::new();
    for (number, client) in clients.iter().enumerate() {
        let own = lock(client);
        waiting.push(thread::spawn(move || own.acquire()));
        await_contenders(&holder, number + 2);
    }
    let last = waiting.pop().expect("four");
    // From the last one's predecessor to the first: each death wakes somebody behind it.
    for (client, left) in clients[..3].iter().rev().zip([4, 3, 2]) {
        client.close().expect("acknowledged");
        await_contenders(&holder, left);
        // Time enough for one who takes a vanished predecessor for its turn.
        thread::sleep(ms(30));
        assert!(!last.is_finished(), "let in while another held");
    }
    assert!(held.is_held());
    let fence = held.fence();
    held.release().expect("held");
    let guard = last.join().expect("no panic").expect("granted");
    assert!(guard.fence() > fence);
    guard.release().expect("held");
    for dead in waiting {
        assert!(dead.join().expect("no panic").is_err());
    }
}

#[test]
fn b6_events_that_are_not_its_turn_let_no_waiter_in() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let holder = yard.lock();
    let held = holder.acquire().expect("free");
    let client = yard.through(&proxy).connect().expect("serves");
    let states = client.subscribe().expect("open");
    let waiter = lock(&client);
    let waiting = thread::spawn(move || waiter.acquire());
    await_contenders(&holder, 2);
    let zk = yard.client();
    for round in 0..5 {
        // The data of the node that it watches, a stranger beside it, the connection itself.
        zk.set_data(held.node(), format!("{round}"), Version::Any).expect("held");
        zk.create("/lock/stranger-", "", CreateMode::PersistentSequential).expect("new");
        proxy.cut();
        await_state(&states, SessionState::Connected);
        thread::sleep(ms(20));
        assert!(!waiting.is_finished(), "let in by an event, in round {round}");
    }
    assert!(held.is_held());
    held.release().expect("held");
    waiting.join().expect("no panic").expect("granted").release().expect("held");
}

#[test]
fn e5_one_release_wakes_one_of_two_hundred_waiters() {
    const WAITERS: usize = 200;
    let yard = Yard::new();
    let proxy = yard.proxy();
    let (lock, holder) = (yard.lock_through(&proxy), yard.lock());
    let first = holder.acquire().expect("free");
    let go_on = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..WAITERS)
        .map(|_| {
            let (lock, go_on, served) = (lock.clone(), go_on.clone(), served.clone());
            thread::spawn(move || {
                let guard = lock.acquire().expect("granted in time");
                served.fetch_add(1, Ordering::SeqCst);
                while !go_on.load(Ordering::SeqCst) {
                    thread::sleep(ms(1));
                }
                guard.release().expect("held");
            })
        })
        .collect();
    await_contenders(&holder, WAITERS + 1);
    eventually("all wait", patience(), || {
        proxy.counts().to_client.ops.get(&op::GET_DATA) == Some(&WAITERS)
    });
    proxy.reset_counts();
    first.release().expect("held");
    eventually("one is served", patience(), || served.load(Ordering::SeqCst) == 1);
    let one = proxy.counts();
    assert_eq!(one.to_client.notifications, 1);
    assert_eq!(one.to_server.ops.get(&op::GET_CHILDREN), Some(&1));
    assert_eq!(one.to_server.requests(), 1, "{one:?}");
    go_on.store(true, Ordering::SeqCst);
    for thread in threads {
        thread.join().expect("no panic");
    }
    let all = proxy.counts();
    let looks = all.to_server.ops[&op::GET_CHILDREN];
    assert!(all.to_client.notifications <= WAITERS, "{all:?}");
    assert!(looks <= 2 * WAITERS, "{all:?}");
    figure("e5: hand-overs, notifications, looks", (WAITERS, all.to_client.notifications, looks));
}

#[test]
fn e6_names_of_all_clients_queue_by_number_and_junk_is_passed_by() {
    let yard = Yard::new();
    let path = yard.path();
    let mut raw = yard.raw();
    raw.create(&path, b"", 0).expect("our chroot");
    for junk in ["lease_holder", "hello", "x__lock__12", "__lock__", "y__rlock__0000000000"] {
        raw.create(&format!("{path}/{junk}"), b"", 0).expect("a parent");
    }
    // Names sort against the order of their numbers.
    let mut before = Vec::new();
    for name in [
        "_z_8eb33557-3c2f-4a3c-8eb3-35573c2f4a3c-lock-",
        "f14e5a831836450cb1a56c741e990fd8__lock__",
        "_c_514e5a831836450cb1a56c741e990fd8-lock-",
        "_c_114e5a831836450cb1a56c741e990fd8-__WRIT__",
        "_c_014e5a831836450cb1a56c741e990fd8-latch-",
    ] {
        before.push(raw.create(&format!("{path}/{name}"), name.as_bytes(), 3).expect("a parent"));
    }
    let ours = yard.lock().identifier("ours");
    let waiting = wait_for(&ours);
    await_contenders(&ours, 6);
    // Behind us, with the smallest name of all.
    let behind = raw.create(&format!("{path}/0-lock-"), b"behind", 3).expect("a parent");
    let who: Vec<_> = ours.contenders().expect("answered");
    let who: Vec<_> = who.iter().map(|contender| contender.identifier_text()).collect();
    assert_eq!(who[5..], ["ours", "behind"]);
    assert!(ours.try_acquire().expect("answered").is_none());
    for (left, node) in before.iter().enumerate() {
        assert!(!waiting.is_finished(), "let in before {:?}", &before[left..]);
        raw.delete(node, -1).expect("there");
        thread::sleep(ms(10));
    }
    let guard = waiting.join().expect("no panic").expect("not cancelled");
    assert_eq!(ours.contenders().expect("answered").len(), 2);
    guard.release().expect("held");
    raw.delete(&behind, -1).expect("there");
    // Junk and readers are in nobody's way.
    ours.try_acquire().expect("answered").expect("free").release().expect("held");
}

/// Four clients that want the lock all the time, until it was had so many times; gives how many
/// acquisitions failed, and with what.
fn crowd(connect: &str, path: &str, times: usize) -> (Book, Vec<Error>) {
    let (book, had) = (Book::default(), AtomicUsize::new(0));
    let errors = std::sync::Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let client = Client::connect(connect).expect("serves");
                let lock = Lock::new(&client, path).expect("legal");
                while had.load(Ordering::SeqCst) < times {
                    match lock.acquire() {
                        Ok(guard) => {
                            book.hold(&guard, ms(1));
                            had.fetch_add(1, Ordering::SeqCst);
                            guard.release().expect("held");
                        }
                        Err(error) => {
                            had.fetch_add(1, Ordering::SeqCst);
                            errors.lock().expect("no panic").push(error);
                        }
                    }
                }
            });
        }
    });
    (book, errors.into_inner().expect("no panic"))
}

#[test]
fn e7_numbers_that_run_out_never_make_two_holders_and_the_lock_heals() {
    let log = Forge::new()
        .create("/wrap", b"", AUTO)
        .create("/wrap/x", b"", i32::MAX - 20)
        .delete("/wrap/x")
        // Here somebody is in the way: the parent cannot be made anew.
        .create("/full", b"", AUTO)
        .create("/full/x", b"", i32::MAX - 3);
    let server = Place::start_with_log(log.finish());
    let mut raw = server.raw();
    let (_, parent) = raw.get("/wrap").expect("forged");

    let (book, errors) = crowd(&server.connect_string(), "/wrap", 60);
    assert!(errors.is_empty(), "{errors:?}");
    assert!(book.judge() >= 60);
    let (_, healed) = raw.get("/wrap").expect("made anew");
    assert!(healed.czxid > parent.czxid, "the numbers never ran out");
    assert_eq!(raw.children("/wrap"), Ok(vec![]));
    figure("e7: acquisitions around the end of the numbers, failed", (book.judge(), errors.len()));

    let client = Client::connect(&server.connect_string()).expect("serves");
    let full = Lock::new(&client, "/full").expect("legal");
    let mut fence = 0;
    // The last sound numbers.
    for number in [i32::MAX - 3, i32::MAX - 2, i32::MAX - 1] {
        let guard = full.acquire().expect("a sound number");
        assert!(guard.fence() > fence && guard.node().ends_with(&number.to_string()), "{guard:?}");
        fence = guard.fence();
        guard.release().expect("held");
    }
    let started = Instant::now();
    assert_recipe(full.acquire().map(drop), RecipeError::SequenceExhausted, started, ms(1_000));
    let started = Instant::now();
    let tried = full.try_acquire();
    assert_recipe(tried.map(drop), RecipeError::SequenceExhausted, started, ms(1_000));
    assert_eq!(raw.children("/full").expect("there"), ["x"]);
    raw.delete("/full/x", -1).expect("there");
    let guard = full.acquire().expect("healed");
    assert!(guard.fence() > fence && guard.node().ends_with("0000000000"), "{guard:?}");
    guard.release().expect("held");
    let guard = full.try_acquire().expect("answered").expect("free");
    guard.release().expect("held");
}

#[test]
fn e7_holder_with_a_sound_number_is_never_joined_by_one_with_a_used_up_number() {
    undisturbed(|| {
        let log = Forge::new()
            .create("/wrap", b"", AUTO)
            .create("/wrap/x", b"", i32::MAX - 1)
            .delete("/wrap/x");
        let server = Place::start_with_log(log.finish());
        let locks: Vec<Lock> = (0..3)
            .map(|_| {
                let client = Client::connect(&server.connect_string()).expect("serves");
                Lock::new(&client, "/wrap").expect("legal")
            })
            .collect();
        let guard = locks[0].acquire().expect("the last sound number");
        assert!(guard.node().ends_with("2147483646"), "{guard:?}");
        // They wait for it, without a node, and keep their deadline.
        let waiting: Vec<_> = locks[1..].iter().map(wait_for).collect();
        let started = Instant::now();
        let timed_out = locks[1].acquire_timeout(scaled(ms(200)));
        assert!(matches!(timed_out, Err(Error::Timeout { .. })), "{timed_out:?}");
        assert!(started.elapsed() <= scaled(ms(300)), "{:?}", started.elapsed());
        assert!(locks[2].try_acquire().expect("answered").is_none());
        assert!(guard.is_held() && waiting.iter().all(|waiting| !waiting.is_finished()));
        let fence = guard.fence();
        guard.release().expect("held");
        eventually("one of them is served", patience(), || {
            waiting.iter().any(thread::JoinHandle::is_finished)
        });
        let (served, left): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(thread::JoinHandle::is_finished);
        let join = |waiting: thread::JoinHandle<Option<LockGuard>>| {
            waiting.join().expect("no panic").expect("not cancelled")
        };
        let guards: Vec<_> = served.into_iter().map(join).collect();
        assert_eq!(guards.len(), 1, "{guards:?}");
        assert!(guards[0].fence() > fence && guards[0].is_held());
        drop(guards);
        left.into_iter().map(join).for_each(|guard| guard.release().expect("held"));
        // All at once, with the parent empty: one after the other, none fails.
        let (book, errors) = crowd(&server.connect_string(), "/wrap", 12);
        assert!(errors.is_empty(), "{errors:?}");
        assert!(book.judge() >= 12);
        let next = locks[1].acquire().expect("healed");
        assert!(next.fence() > fence);
        next.release().expect("held");
    });
}

#[test]
fn e7_those_with_used_up_numbers_who_come_and_go_are_waited_for() {
    let log =
        Forge::new().create("/wrap", b"", AUTO).create("/wrap/x", b"", i32::MAX).delete("/wrap/x");
    let server = Place::start_with_log(log.finish());
    let mut raw = server.raw();
    let contender = |round: usize| format!("/wrap/{round:032}__lock__");
    let mut node = raw.create(&contender(0), b"", 3).expect("forged");
    assert!(node.ends_with("2147483647"), "{node}");
    let client = Client::connect(&server.connect_string()).expect("serves");
    let lock = Lock::new(&client, "/wrap").expect("legal");
    let waiting = wait_for(&lock);
    // All the time one of them is there, and never the same for long.
    for round in 1..32 {
        thread::sleep(ms(100));
        assert!(!waiting.is_finished(), "in or out, in round {round}");
        let next = raw.create(&contender(round), b"", 3).expect("forged");
        raw.delete(&node, -1).expect("there");
        node = next;
    }
    raw.delete(&node, -1).expect("there");
    let guard = waiting.join().expect("no panic").expect("not cancelled");
    assert!(guard.node().ends_with("0000000000"), "{guard:?}");
    guard.release().expect("held");
}

#[test]
fn e9_parent_deleted_under_waiters_is_made_again_and_they_go_on() {
    let yard = Yard::new();
    let holder = yard.lock();
    let held = holder.acquire().expect("free");
    let mut waiting = Vec::new();
    for number in 0..3 {
        let (lock, fence) = (yard.lock(), held.fence());
        // Their new order is the order in which they found out.
        waiting.push(thread::spawn(move || {
            let guard = lock.acquire().expect("granted in time");
            assert!(guard.is_held() && guard.fence() > fence);
            guard.release().expect("held");
        }));
        await_contenders(&holder, number + 2);
    }
    let mut raw = yard.raw();
    let path = yard.path();
    // An admin clears the place, from the last in the queue to the first.
    let mut nodes = raw.children(&path).expect("there");
    nodes.sort_by_key(|node| std::cmp::Reverse(crate::locks::sequence(node)));
    for node in nodes {
        raw.delete(&format!("{path}/{node}"), -1).expect("there");
    }
    // The waiters may be back before it can go.
    let gone = raw.delete(&path, -1);
    assert!(held.release().is_err(), "its node was deleted");
    for waiting in waiting {
        waiting.join().expect("no panic");
    }
    figure("e9: parent was gone in between", gone.is_ok());
    yard.await_nodes(0);
}

#[test]
fn e9_parent_deleted_between_place_and_look_is_made_again() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let lock = yard.lock_through(&proxy);
    let mut raw = yard.raw();
    let path = yard.path();
    let look = crate::support::proxy::Pick::Op(op::GET_CHILDREN);
    // The first goes with the create that finds no parent.
    proxy.once(crate::support::proxy::Way::ToServer, look, 2, crate::support::proxy::Act::Hold);
    let waiting = wait_for(&lock);
    proxy.wait_caught(1);
    for node in raw.children(&path).expect("there") {
        raw.delete(&format!("{path}/{node}"), -1).expect("there");
    }
    raw.delete(&path, -1).expect("empty");
    proxy.heal();
    let guard = waiting.join().expect("no panic").expect("not cancelled");
    assert_eq!(yard.nodes().len(), 1);
    guard.release().expect("held");
}

#[test]
fn e9_container_that_expired_is_made_again() {
    let yard = Yard::new();
    let client = yard.client();
    let container = zookeeper_blocking::op::Create::new("/lock").mode(CreateMode::Container);
    client.call(container).expect("an empty chroot");
    let lock = lock(&client);
    let guard = lock.acquire().expect("free");
    let fence = guard.fence();
    guard.release().expect("held");
    eventually("the empty container is gone", patience(), || {
        client.exists("/lock").expect("answered").is_none()
    });
    let guard = lock.acquire().expect("made again");
    assert!(guard.fence() > fence, "though its number is again 0: {guard:?}");
    assert!(guard.node().ends_with("0000000000"));
    guard.release().expect("held");
}

#[test]
fn parents_are_made_below_a_chroot_that_is_missing_too() {
    let yard = Yard::new();
    let client = yard.client().with_chroot("/not/there/yet").expect("legal");
    let lock = Lock::new(&client, "/a/lock").expect("legal");
    let guard = lock.acquire().expect("free");
    assert!(guard.node().starts_with("/a/lock/"), "{guard:?}");
    let seen = format!("{}/not/there/yet/a/lock", yard.chroot.path());
    assert_eq!(yard.raw().children(&seen).expect("made").len(), 1);
    guard.release().expect("held");
}

/// The ACL of a node as the server tells it: permissions, scheme, id.
fn acl_of(raw: &mut crate::support::raw::Raw, path: &str) -> Vec<(i32, String, String)> {
    let answer = raw.call(op::GET_ACL, &Out::new().string(path).0).expect("a reply");
    assert_eq!(answer.err, 0, "{path}");
    let mut from = crate::support::wire::In(&answer.body);
    (0..from.i32()).map(|_| (from.i32(), from.string(), from.string())).collect()
}

#[test]
fn e10_acl_is_set_on_the_node_and_on_every_parent() {
    let yard = Yard::new();
    let builder = Client::builder(&yard.chroot.connect_string());
    let client = builder.auth("digest", "we:secret").connect().expect("serves");
    let lock = Lock::new(&client, "/a/b/lock").expect("legal").acl([Acl::creator_all()]);
    let guard = lock.acquire().expect("free");
    let mut raw = yard.raw();
    raw.auth("super:test").expect("as in scripts/zk-server");
    for path in ["/a", "/a/b", "/a/b/lock", guard.node()] {
        let acl = acl_of(&mut raw, &format!("{}{path}", yard.chroot.path()));
        assert_eq!(acl.len(), 1, "{path}: {acl:?}");
        let (permissions, scheme, id) = &acl[0];
        assert_eq!((*permissions, &**scheme), (31, "digest"), "{path}");
        assert!(id.starts_with("we:"), "{path}: {id}");
    }
    guard.release().expect("held");
}

#[test]
fn e10_locked_out_contender_is_told_and_does_not_try_again() {
    let yard = Yard::new();
    let builder = Client::builder(&yard.chroot.connect_string());
    let owner = builder.auth("digest", "we:secret").connect().expect("serves");
    let guard = lock(&owner).acl([Acl::creator_all()]).acquire().expect("free");
    let proxy = yard.proxy();
    let stranger = yard.lock_through(&proxy);
    proxy.reset_counts();
    assert_code(stranger.acquire().map(drop), Code::NoAuth);
    assert_eq!(proxy.counts().to_server.ops.get(&op::CREATE2), Some(&1), "{:?}", proxy.counts());
    assert_code(stranger.try_acquire().map(drop), Code::NoAuth);
    assert_code(stranger.contenders().map(drop), Code::NoAuth);
    assert!(guard.is_held());
    guard.release().expect("held");
}

#[test]
fn e10_parents_that_exist_need_no_right_to_make_them() {
    let yard = Yard::new();
    let builder = Client::builder(&yard.chroot.connect_string());
    let owner = builder.auth("digest", "we:secret").connect().expect("serves");
    // "/a" belongs to others, "/a/b" is everybody's.
    owner.create("/a", b"", CreateMode::Persistent).expect("new");
    owner.create("/a/b", b"", CreateMode::Persistent).expect("new");
    owner.set_acl("/a", [Acl::creator_all()], Version::Any).expect("ours");
    let lock = Lock::new(&yard.client(), "/a/b/c/lock").expect("legal");
    lock.acquire().expect("free").release().expect("held");
    let locked_out = Lock::new(&yard.client(), "/a/c/lock").expect("legal");
    let started = Instant::now();
    assert_code(locked_out.acquire().map(drop), Code::NoAuth);
    assert!(started.elapsed() < soon());
}
