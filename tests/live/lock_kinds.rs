//! What is built on locks: several as one, re-entrant ones, and asking a holder to give one up.
//!
//! Behaviours of Curator's `TestInterProcessMultiMutex`, `TestInterProcessMutexBase` (`testReentrant`,
//! `testReentrant2Threads`, `testReentrantSingleLock`) and `TestInterProcessMutex` (`testRevoking`),
//! told anew.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use zookeeper_blocking::recipes::{Lock, MultiLock, ReadLock, ReentrantLock, WriteLock};
use zookeeper_blocking::{Client, Error, RecipeError, Version};

use crate::clients::{doomed, expire, patience};
use crate::locks::{Yard, assert_code, assert_recipe, await_contenders, lock, ms, wait_for};
use crate::support::wait::{eventually, scaled};

fn at(client: &Client, path: &str) -> Lock {
    Lock::new(client, path).expect("legal")
}

fn both(client: &Client) -> MultiLock {
    MultiLock::new().lock(&at(client, "/a")).lock(&at(client, "/b"))
}

#[track_caller]
fn await_free(lock: &Lock) {
    await_contenders(lock, 0);
}

#[test]
fn e16_several_locks_are_had_together_or_not_at_all() {
    let yard = Yard::new();
    let (one, two) = (yard.client(), yard.client());
    let guard = both(&one).acquire().expect("free");
    let fences: Vec<_> = guard.holds().iter().map(|hold| hold.fence()).collect();
    assert!(guard.is_held() && fences.len() == 2 && fences[0] < fences[1], "{fences:?}");
    for path in ["/a", "/b"] {
        assert!(at(&two, path).try_acquire().expect("answered").is_none(), "{path}");
    }
    guard.release().expect("held");
    // Only the second is taken: the first is given back.
    let second = at(&two, "/b").acquire().expect("free");
    assert!(both(&one).try_acquire().expect("answered").is_none());
    await_free(&at(&one, "/a"));
    let timed_out = both(&one).acquire_timeout(scaled(ms(120)));
    assert!(matches!(timed_out, Err(Error::Timeout { .. })), "{timed_out:?}");
    await_free(&at(&one, "/a"));
    let multi = both(&one);
    let waiter = multi.clone();
    let waiting = thread::spawn(move || waiter.acquire());
    await_contenders(&at(&one, "/b"), 2);
    let started = Instant::now();
    multi.cancel();
    let cancelled = waiting.join().expect("no panic");
    assert_recipe(cancelled, RecipeError::Cancelled, started, Duration::from_secs(1));
    await_free(&at(&one, "/a"));
    await_contenders(&at(&one, "/b"), 1);
    second.release().expect("held");
    drop(multi.acquire().expect("free"));
    await_free(&at(&one, "/a"));
    await_free(&at(&one, "/b"));
}

#[test]
fn e16_locks_added_in_any_order_never_wait_for_each_other() {
    let yard = Yard::new();
    let inside = AtomicUsize::new(0);
    thread::scope(|scope| {
        for number in 0..4 {
            let (client, inside) = (yard.client(), &inside);
            scope.spawn(move || {
                let (a, b) = (at(&client, "/a"), at(&client, "/b"));
                let multi = if number % 2 == 0 {
                    MultiLock::new().lock(&a).lock(&b)
                } else {
                    MultiLock::new().lock(&b).lock(&a)
                };
                for _ in 0..20 {
                    let guard = multi.acquire_timeout(patience()).expect("no deadlock");
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    inside.fetch_sub(1, Ordering::SeqCst);
                    guard.release().expect("held");
                }
            });
        }
    });
}

#[test]
fn readers_and_writers_may_be_among_several() {
    let yard = Yard::new();
    let client = yard.client();
    let read = ReadLock::new(&client, "/r").expect("legal");
    let write = WriteLock::new(&client, "/w").expect("legal");
    let multi = MultiLock::new().write_lock(&write).read_lock(&read);
    let guard = multi.acquire().expect("free");
    drop(read.try_acquire().expect("answered").expect("shared"));
    assert!(write.try_acquire().expect("answered").is_none());
    guard.release().expect("held");
    for (wrong, why) in [
        (MultiLock::new(), "none"),
        (MultiLock::new().read_lock(&read).write_lock(&write).read_lock(&read), "twice"),
    ] {
        let refused = wrong.try_acquire();
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{why}: {refused:?}");
    }
}

#[test]
fn e16_several_locks_are_lost_with_one_of_them() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    let other = yard.client();
    let multi = MultiLock::new().lock(&at(&other, "/a")).lock(&at(&client, "/b"));
    let guard = multi.acquire().expect("free");
    expire(&proxy, yard.chroot.server(), &session);
    eventually("the loss", patience(), || guard.lost().is_some());
    assert!(!guard.is_held() && guard.holds()[0].is_held());
    assert!(guard.release().is_err());
    await_free(&at(&other, "/a"));
}

#[test]
fn e16_thread_takes_its_reentrant_lock_again_and_others_wait_for_the_last_guard() {
    let yard = Yard::new();
    let lock = ReentrantLock::new(yard.lock());
    let outer = lock.acquire().expect("free");
    let inner = lock.acquire_timeout(ms(100)).expect("its own");
    let third = lock.try_acquire().expect("answered").expect("its own");
    assert_eq!((outer.fence(), yard.nodes().len()), (inner.fence(), 1));
    let waiting = wait_for(lock.lock());
    let own = lock.clone();
    let tried = thread::spawn(move || own.try_acquire().expect("answered").is_none());
    assert!(tried.join().expect("no panic"), "another thread is no owner");
    yard.await_nodes(2);
    outer.release().expect("not the last");
    drop(third);
    thread::sleep(ms(30));
    assert!(!waiting.is_finished() && inner.is_held());
    inner.release().expect("held");
    waiting.join().expect("no panic").expect("not cancelled").release().expect("held");
    // Not an owner any more.
    let again = lock.acquire().expect("free");
    again.release().expect("held");
    yard.await_nodes(0);
}

#[test]
fn e16_threads_of_one_reentrant_lock_exclude_each_other() {
    let yard = Yard::new();
    let lock = ReentrantLock::new(yard.lock());
    let inside = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let outer = lock.acquire().expect("granted in time");
                    let inner = lock.acquire().expect("its own");
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two owners");
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(outer);
                    drop(inner);
                }
            });
        }
    });
    yard.await_nodes(0);
}

#[test]
fn e16_reentrant_lock_that_was_lost_is_not_had_by_asking_again() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    let own = ReentrantLock::new(lock(&client));
    let outer = own.acquire().expect("free");
    expire(&proxy, yard.chroot.server(), &session);
    assert!(outer.wait_lost(patience()).is_some());
    let started = Instant::now();
    assert_recipe(own.acquire().map(drop), RecipeError::NotHeld, started, ms(1_000));
    let fence = outer.fence();
    drop(outer);
    let next = own.acquire().expect("with the next session");
    assert!(next.fence() > fence);
    next.release().expect("held");
}

#[test]
fn holder_that_listens_hears_that_it_is_asked_to_give_up() {
    let yard = Yard::new();
    let holder = yard.lock().identifier("holder");
    let guard = holder.acquire().expect("free");
    let mut revocation = guard.revocation().expect("held");
    assert!(!revocation.is_requested().expect("held"));
    assert!(!revocation.wait_timeout(ms(30)).expect("held"));
    // Other news of the node is no request.
    yard.client().set_data(guard.node(), "other", Version::Any).expect("there");
    assert!(!revocation.wait_timeout(ms(50)).expect("held"));
    let other = yard.lock();
    let who = other.contenders().expect("answered").remove(0);
    let asking = {
        let (other, who) = (other.clone(), who.clone());
        thread::spawn(move || {
            thread::sleep(ms(30));
            other.revoke(&who).expect("there");
        })
    };
    assert!(revocation.wait_timeout(patience()).expect("held"));
    asking.join().expect("no panic");
    assert!(revocation.is_requested().expect("held"), "once asked, always asked");
    assert!(guard.is_held(), "a request, no more");
    // One that listens late hears it too.
    assert!(guard.revocation().expect("held").is_requested().expect("held"));
    guard.release().expect("held");
    assert_code(other.revoke(&who), zookeeper_blocking::Code::NoNode);
}

#[test]
fn listening_for_a_request_ends_with_the_lock() {
    let yard = Yard::new();
    let client = yard.client();
    let guard = lock(&client).acquire().expect("free");
    let mut revocation = guard.revocation().expect("held");
    let node = guard.node().to_owned();
    let waiting = thread::spawn(move || (revocation.wait_timeout(patience()), Instant::now()));
    thread::sleep(ms(20));
    client.delete(&node, Version::Any).expect("there");
    let (result, _) = waiting.join().expect("no panic");
    assert_recipe(result, RecipeError::NotHeld, Instant::now(), ms(1_000));
    let lost = guard.revocation();
    assert_recipe(lost.map(drop), RecipeError::NotHeld, Instant::now(), ms(1_000));
    eventually("no watch is left", patience(), || client.watch_count() == 0);
}
