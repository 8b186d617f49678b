//! Locks that stay closed for a while after their holder failed, and only then.

use std::thread;
use std::time::{Duration, Instant};

use zookeeper_blocking::recipes::{DelayedGuard, DelayedLock};
use zookeeper_blocking::{Acl, Client, CreateMode, Error, RecipeError, Version};

use crate::clients::{doomed, expire, patience};
use crate::faults::figure;
use crate::locks::{Yard, assert_recipe, lock, ms};
use crate::nodes::{assert_ours, children, in_callback, we};
use crate::support::calm::undisturbed;
use crate::support::proxy::{Act, Pick, Way};
use crate::support::wait::{eventually, scaled};
use crate::support::wire::op;

fn delayed(client: &Client, delay: Duration) -> DelayedLock {
    DelayedLock::new(&lock(client), delay)
}

/// A holder whose session ended without a release.
fn failed(yard: &Yard, delay: Duration) -> DelayedGuard {
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    let guard = delayed(&client, delay).acquire().expect("free");
    expire(&proxy, yard.chroot.server(), &session);
    guard.wait_lost(patience()).expect("told");
    guard
}

#[track_caller]
fn await_free(yard: &Yard) {
    eventually("no node is left", patience(), || yard.nodes().is_empty());
}

#[test]
fn e21_lock_stays_closed_after_a_failure_for_the_holders_delay() {
    undisturbed(|| {
        let yard = Yard::new();
        let delay = scaled(ms(600));
        let proxy = yard.proxy();
        let (client, session) = doomed(|| yard.through(&proxy));
        let guard = delayed(&client, delay).acquire().expect("free");
        let fence = guard.fence();
        let waiter = yard.client();
        let waiting = thread::spawn(move || {
            // Its own delay is another: that of the failed holder counts.
            let guard = delayed(&waiter, ms(1)).acquire().expect("granted in time");
            (guard, Instant::now())
        });
        yard.await_nodes(3);
        // The session is over within this call, not before.
        let before = Instant::now();
        expire(&proxy, yard.chroot.server(), &session);
        let (next, at) = waiting.join().expect("no panic");
        let closed = at - before;
        figure("closed after a failure, of a delay of", (closed, delay));
        assert!(closed >= delay, "{closed:?}");
        assert!(next.fence() > fence && next.is_held());
        // A release opens at once.
        let after = yard.client();
        let last_client = after.clone();
        let waiting = thread::spawn(move || {
            let guard = delayed(&after, delay).acquire().expect("granted in time");
            (guard, Instant::now())
        });
        yard.await_nodes(3);
        let before = Instant::now();
        next.release().expect("held");
        let (last, at) = waiting.join().expect("no panic");
        figure("closed after a release", at - before);
        assert!(at - before < delay);
        // So does a drop; if it is not that of the client too.
        let before = Instant::now();
        drop(last);
        let next = yard.client();
        let last = delayed(&next, delay).acquire().expect("free");
        assert!(before.elapsed() < delay);
        drop((guard, last_client));
        last.release().expect("held");
        assert_eq!(yard.nodes(), Vec::<String>::new());
        // A session that ends with the lock held is a failure, however it ends.
        let guard = delayed(&next, delay).acquire().expect("free");
        next.close().expect("acknowledged");
        assert_eq!(yard.nodes(), ["lock-delay"]);
        drop(guard);
    });
}

#[test]
fn who_comes_after_the_failure_waits_for_the_whole_delay() {
    let yard = Yard::new();
    let delay = scaled(ms(500));
    let _lost = failed(&yard, delay);
    assert_eq!(yard.nodes(), ["lock-delay"]);
    let client = yard.client();
    let late = delayed(&client, delay);
    assert!(late.try_acquire().expect("answered").is_none());
    let timed_out = late.acquire_timeout(delay / 4);
    assert!(matches!(timed_out, Err(Error::Timeout { .. })), "{timed_out:?}");
    eventually("only the seal", patience(), || yard.nodes() == ["lock-delay"]);
    let start = Instant::now();
    let guard = late.acquire().expect("granted in time");
    assert!(start.elapsed() >= delay, "{:?}", start.elapsed());
    let (seal, _) = client.get_data("/lock/lock-delay").expect("there");
    let text = format!("{:x} {}", guard.fence(), delay.as_millis());
    assert_eq!(seal, text.as_bytes());
    guard.release().expect("held");
    assert_eq!(yard.nodes(), Vec::<String>::new());
}

#[test]
fn wait_for_the_delay_can_be_cancelled_and_opened_by_hand() {
    let yard = Yard::new();
    let _lost = failed(&yard, Duration::from_secs(60));
    let client = yard.client();
    let late = delayed(&client, ms(1));
    let waiter = late.clone();
    let waiting = thread::spawn(move || waiter.acquire());
    yard.await_nodes(2);
    let started = Instant::now();
    late.cancel();
    let cancelled = waiting.join().expect("no panic");
    assert_recipe(cancelled, RecipeError::Cancelled, started, ms(1_000));
    eventually("only the seal", patience(), || yard.nodes() == ["lock-delay"]);
    let waiting = thread::spawn(move || late.acquire());
    yard.await_nodes(2);
    client.delete("/lock/lock-delay", Version::Any).expect("there");
    let guard = waiting.join().expect("no panic").expect("open");
    drop(guard);
    await_free(&yard);
    eventually("no watch left", patience(), || client.watch_count() == 0);
}

#[test]
fn session_that_ends_during_the_delay_lines_up_anew() {
    undisturbed(|| {
        let yard = Yard::new();
        let delay = scaled(ms(400));
        let _lost = failed(&yard, delay);
        let proxy = yard.proxy();
        let (client, session) = doomed(|| yard.through(&proxy));
        let waiting = thread::spawn(move || delayed(&client, ms(1)).acquire().expect("granted"));
        yard.await_nodes(2);
        let start = Instant::now();
        expire(&proxy, yard.chroot.server(), &session);
        let guard = waiting.join().expect("no panic");
        assert!(start.elapsed() >= delay, "from the beginning");
        assert!(guard.is_held());
        assert_ne!(guard.session().id(), session.id(), "E22");
    });
}

/// What a plain lock leaves is no failure, and it passes a seal by.
#[test]
fn plain_locks_neither_leave_a_delay_nor_wait_for_one() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    let _plain = lock(&client).acquire().expect("free");
    expire(&proxy, yard.chroot.server(), &session);
    let delay = Duration::from_secs(60);
    let guard = delayed(&yard.client(), delay).acquire().expect("no delay");
    guard.release().expect("held");
    let _lost = failed(&yard, delay);
    let plain = lock(&yard.client()).acquire().expect("passes it by");
    plain.release().expect("held");
}

/// A seal that somebody else wrote, of which nothing can be read.
#[test]
fn unreadable_seal_counts_as_our_own_delay() {
    let yard = Yard::new();
    let client = yard.client();
    client.ensure_path("/lock").expect("made");
    client.create("/lock/lock-delay", "?", CreateMode::Persistent).expect("new");
    let (start, delay) = (Instant::now(), scaled(ms(200)));
    let guard = delayed(&client, delay).acquire().expect("free");
    assert!(start.elapsed() >= delay);
    guard.release().expect("held");
    assert_eq!(yard.nodes(), Vec::<String>::new());
}

#[test]
fn e4_lost_answers_seal_once_and_leave_nothing_behind() {
    for way in [Way::ToServer, Way::ToClient] {
        for step in [op::CREATE2, op::MULTI] {
            for is_dropped in [false, true] {
                let yard = Yard::new();
                let proxy = yard.proxy();
                let client = yard.through(&proxy).connect().expect("serves");
                let lock = delayed(&client, Duration::from_secs(60));
                proxy.once(way, Pick::Op(step), 1, Act::LoseAndCut);
                let guard = lock.acquire().expect("free");
                assert_eq!(yard.nodes().len(), 2);
                proxy.once(way, Pick::Op(op::MULTI), 1, Act::LoseAndCut);
                if is_dropped {
                    drop(guard);
                } else {
                    guard.release().expect("held");
                }
                await_free(&yard);
            }
        }
    }
}

#[test]
fn e4_wait_that_is_given_up_while_the_seal_is_on_its_way_leaves_nothing_behind() {
    for way in [Way::ToServer, Way::ToClient] {
        let yard = Yard::new();
        let proxy = yard.proxy();
        let client = yard.through(&proxy).connect().expect("serves");
        proxy.once(way, Pick::Op(op::MULTI), 1, Act::Hold);
        let late = delayed(&client, Duration::from_secs(60)).acquire_timeout(scaled(ms(300)));
        assert!(matches!(late, Err(Error::Timeout { .. })), "{late:?}");
        proxy.heal();
        await_free(&yard);
        // Nobody failed.
        drop(delayed(&yard.client(), ms(1)).acquire().expect("free"));
    }
}

#[test]
fn e9_lock_that_is_removed_during_the_delay_is_made_again() {
    let yard = Yard::new();
    let _lost = failed(&yard, Duration::from_secs(60));
    let client = yard.client();
    let waiter = delayed(&client, ms(1));
    let waiting = thread::spawn(move || waiter.acquire());
    yard.await_nodes(2);
    let mut all = client.transaction();
    for name in yard.nodes() {
        all = all.delete(format!("/lock/{name}"), Version::Any);
    }
    all.delete("/lock", Version::Any).commit().expect("there");
    let guard = waiting.join().expect("no panic").expect("open");
    assert_eq!(yard.nodes().len(), 2);
    guard.release().expect("held");
}

#[test]
fn release_tells_that_the_lock_was_lost() {
    let yard = Yard::new();
    let client = yard.client();
    let lock = delayed(&client, ms(100));
    let guard = lock.acquire().expect("free");
    client.delete(guard.node(), Version::Any).expect("there");
    assert_recipe(guard.release(), RecipeError::NotHeld, Instant::now(), ms(1_000));
    // It did not release: so it failed.
    assert_eq!(yard.nodes(), ["lock-delay"]);
    let guard = lock.acquire().expect("free");
    client.delete("/lock/lock-delay", Version::Any).expect("there");
    guard.release().expect("held still");
    let lost = failed(&yard, ms(1));
    let released = lost.release();
    assert!(matches!(released, Err(Error::SessionExpired { .. })), "{released:?}");
}

#[test]
fn e10_acl_is_on_the_seal_too() {
    let yard = Yard::new();
    let client = we(&yard);
    let lock = lock(&client).acl([Acl::creator_all()]);
    let guard = DelayedLock::new(&lock, ms(1)).acquire().expect("free");
    assert_ours(&yard, &["/lock", "/lock/lock-delay", guard.node()]);
}

#[test]
fn delayed_lock_works_in_a_chroot_and_in_a_callback_for_two_round_trips_and_one() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).connect().expect("serves");
    let astray = client.with_chroot("/not/there").expect("legal");
    let inside = astray.clone();
    in_callback(&astray, move || {
        delayed(&inside, ms(50)).acquire().expect("free").release().expect("held");
    });
    assert_eq!(children(&yard, "/not/there"), ["lock"]);
    proxy.reset_counts();
    let guard = delayed(&astray, ms(50)).try_acquire().expect("answered").expect("free");
    drop(guard);
    eventually("given up", patience(), || children(&yard, "/not/there/lock").is_empty());
    proxy.reset_counts();
    let guard = delayed(&astray, ms(50)).acquire().expect("free");
    // The list of the line goes along with the create.
    assert_eq!(proxy.counts().to_server.requests(), 3);
    guard.release().expect("held");
    assert_eq!(proxy.counts().to_server.requests(), 4);
}
