//! The lock as long as nothing breaks: order, exclusion, deadlines, cancelling, its price.
//!
//! Retold by behaviour: Kazoo `test_lock.py` (`test_lock_one`, `test_lock`, `test_lock_non_blocking`,
//! `test_lock_cancel`, `test_lock_no_double_calls`, `test_lock_same_thread_no_block`,
//! `test_lock_many_threads*`, `test_lock_reacquire`, `test_lock_timeout`); Curator
//! `TestInterProcessMutexBase` (`test2Clients`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use zookeeper_blocking::recipes::Lock;
use zookeeper_blocking::{CreateMode, Error, RecipeError};

use crate::clients::{patience, soon};
use crate::faults::figure;
use crate::locks::{
    Yard, assert_recipe, await_contenders, cancelled, lock, ms, sequence, wait_for,
};
use crate::support::calm::undisturbed;
use crate::support::proxy::Way;
use crate::support::wait::{eventually, scaled};
use crate::support::wire::op;

#[test]
fn contenders_show_who_holds_and_who_waits_in_order() {
    let yard = Yard::new();
    let holder = yard.lock().identifier("holder");
    assert_eq!(holder.contenders().expect("answered"), []);
    let guard = holder.acquire().expect("free");
    let waiter = yard.lock().identifier("waiter");
    let waiting = wait_for(&waiter);
    await_contenders(&holder, 2);
    let contenders = waiter.contenders().expect("answered");
    let who: Vec<_> = contenders.iter().map(|contender| contender.identifier_text()).collect();
    assert_eq!(who, ["holder", "waiter"]);
    assert_eq!(contenders[0].session_id, guard.session().id());
    assert_eq!(contenders[0].fence, guard.fence());
    assert!(guard.node().ends_with(&contenders[0].node));
    guard.release().expect("held");
    let second = waiting.join().expect("no panic").expect("not cancelled");
    assert_eq!(second.fence(), contenders[1].fence);
    drop(second);
    yard.await_nodes(0);
}

#[test]
fn waiters_are_served_in_the_order_of_their_asking() {
    let yard = Yard::new();
    let holder = yard.lock();
    let first = holder.acquire().expect("free");
    let (tell, served) = channel();
    let mut waiters = Vec::new();
    for number in 0..8 {
        // Some share a client, some have their own.
        let own = if number % 2 == 0 { holder.clone() } else { yard.lock() };
        let tell = tell.clone();
        waiters.push(thread::spawn(move || {
            let guard = own.acquire().expect("granted in time");
            tell.send((number, guard.fence())).expect("the test waits");
            guard.release().expect("held");
        }));
        await_contenders(&holder, number + 2);
    }
    let fence = first.fence();
    first.release().expect("held");
    for waiter in waiters {
        waiter.join().expect("no panic");
    }
    let served: Vec<(usize, i64)> = served.try_iter().collect();
    let order: Vec<usize> = served.iter().map(|(number, _)| *number).collect();
    assert_eq!(order, [0, 1, 2, 3, 4, 5, 6, 7]);
    let fences: Vec<i64> = [fence].into_iter().chain(served.iter().map(|(_, f)| *f)).collect();
    assert!(fences.is_sorted_by(|a, b| a < b), "{fences:?}");
}

#[test]
fn twenty_threads_of_one_lock_exclude_each_other() {
    let yard = Yard::new();
    let lock = yard.lock();
    let (inside, served) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let threads: Vec<_> = (0..20)
        .map(|_| {
            let (lock, inside, served) = (lock.clone(), inside.clone(), served.clone());
            thread::spawn(move || {
                for _ in 0..3 {
                    let guard = lock.acquire().expect("granted in time");
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two holders");
                    served.fetch_add(1, Ordering::SeqCst);
                    thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    guard.release().expect("held");
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
    assert_eq!(served.load(Ordering::SeqCst), 60);
    assert_eq!(yard.nodes(), Vec::<String>::new());
}

#[test]
fn try_acquire_of_twenty_threads_gives_the_lock_to_one_at_most_and_leaves_no_node() {
    let yard = Yard::new();
    let lock = yard.lock();
    let threads: Vec<_> = (0..20)
        .map(|_| {
            let lock = lock.clone();
            thread::spawn(move || lock.try_acquire().expect("answered"))
        })
        .collect();
    let guards: Vec<_> =
        threads.into_iter().filter_map(|thread| thread.join().expect("no panic")).collect();
    // None at all, should each have seen another who gave up too.
    assert!(guards.len() <= 1, "{guards:?}");
    assert_eq!(yard.nodes().len(), guards.len());
    drop(guards);
    yard.await_nodes(0);
    let alone = lock.try_acquire().expect("answered").expect("free");
    assert!(lock.try_acquire().expect("answered").is_none());
    assert_eq!(yard.nodes().len(), 1);
    alone.release().expect("held");
}

#[test]
fn a_thread_that_asks_twice_waits_for_itself() {
    let yard = Yard::new();
    let lock = yard.lock();
    let guard = lock.acquire().expect("free");
    let again = lock.acquire_timeout(ms(100));
    assert!(matches!(again, Err(Error::Timeout { .. })), "{again:?}");
    assert!(guard.is_held());
    guard.release().expect("held");
    yard.await_nodes(0);
}

#[test]
fn deadline_is_kept_in_all_however_often_the_waiter_is_woken() {
    undisturbed(|| {
        let yard = Yard::new();
        let lock = yard.lock();
        // Kazoo waits its whole time-out again after each wake-up.
        let holders: Vec<_> = (0..6)
            .map(|number| {
                let waiting = wait_for(&lock);
                await_contenders(&lock, number + 1);
                waiting
            })
            .collect();
        let started = Instant::now();
        let last = thread::spawn(move || (lock.acquire_timeout(scaled(ms(400))), Instant::now()));
        for holder in holders {
            thread::sleep(scaled(ms(90)));
            drop(holder.join().expect("no panic").expect("not cancelled"));
        }
        let (result, at) = last.join().expect("no panic");
        assert!(matches!(result, Err(Error::Timeout { .. })), "{result:?}");
        let took = at - started;
        assert!(took >= scaled(ms(400)) && took <= scaled(ms(500)), "{took:?}");
        yard.await_nodes(0);
    });
}

#[test]
fn deadline_is_kept_when_no_answer_comes_at_any_step() {
    undisturbed(|| {
        let yard = Yard::new();
        // The lock's parents are missing too: their creation is one of the steps.
        for (step, path) in [
            (op::CREATE2, "/a/b/c"),
            (op::CREATE, "/d/e/f"),
            (op::GET_CHILDREN, "/g"),
            (op::GET_DATA, "/g"),
        ] {
            let proxy = yard.proxy();
            let client = yard.through(&proxy).connect().expect("serves");
            let lock = Lock::new(&client, path).expect("legal");
            let held = Lock::new(&yard.client(), "/g").expect("legal").acquire().expect("free");
            let caught = proxy.caught().len();
            proxy.once(
                Way::ToServer,
                crate::support::proxy::Pick::Op(step),
                1,
                crate::support::proxy::Act::Hold,
            );
            let started = Instant::now();
            let result = lock.acquire_timeout(scaled(ms(150)));
            let took = started.elapsed();
            assert!(matches!(result, Err(Error::Timeout { .. })), "{step}: {result:?}");
            assert!(took <= scaled(ms(250)), "{step}: {took:?}");
            proxy.wait_caught(caught + 1);
            proxy.heal();
            // What was held is carried out now, and cleaned up after.
            client.sync("/").expect("served");
            held.release().expect("held");
            let mut raw = yard.raw();
            let whole = format!("{}{path}", yard.chroot.path());
            eventually("no contender left", Duration::from_secs(10), || {
                raw.children(&whole).unwrap_or_default().is_empty()
            });
        }
    });
}

#[test]
fn deadline_is_kept_while_too_many_requests_are_in_flight() {
    undisturbed(|| {
        let yard = Yard::new();
        let proxy = yard.proxy();
        let client = yard.through(&proxy).max_in_flight(1).connect().expect("serves");
        proxy.hold(Way::ToServer);
        let in_flight =
            client.submit(zookeeper_blocking::op::Sync::new("/")).expect("room for one");
        let started = Instant::now();
        let result = lock(&client).acquire_timeout(scaled(ms(150)));
        let took = started.elapsed();
        assert!(matches!(result, Err(Error::Timeout { .. })), "{result:?}");
        assert!(took <= scaled(ms(250)), "{took:?}");
        proxy.heal();
        in_flight.wait().expect("answered late");
        lock(&client).acquire().expect("free").release().expect("held");
    });
}

#[test]
fn acquire_waits_longer_than_one_call_may() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).call_timeout(scaled(ms(50))).connect().expect("serves");
    proxy.hold(Way::ToServer);
    let lock = lock(&client);
    let waiting = thread::spawn(move || lock.acquire_timeout(patience()));
    thread::sleep(scaled(ms(300)));
    proxy.release(Way::ToServer);
    let guard = waiting.join().expect("no panic").expect("the lock's own time-out counts");
    assert_eq!(yard.nodes().len(), 1);
    guard.release().expect("held");
}

#[test]
fn cancel_ends_the_waits_of_all_clones_and_nothing_else() {
    let yard = Yard::new();
    let lock = yard.lock();
    let guard = lock.acquire().expect("free");
    let waiting: Vec<_> = (0..3).map(|_| wait_for(&lock.clone())).collect();
    let stranger = wait_for(&yard.lock());
    await_contenders(&lock, 5);
    lock.cancel();
    for waiting in waiting {
        assert!(waiting.join().expect("no panic").is_none());
    }
    yard.await_nodes(2);
    assert!(guard.is_held());
    guard.release().expect("held");
    drop(stranger.join().expect("no panic"));
    // Not an earlier cancel, either.
    lock.acquire().expect("free").release().expect("held");
    yard.await_nodes(0);
}

#[test]
fn cancel_ends_a_wait_without_a_connection_too() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let lock = yard.lock_through(&proxy);
    let guard = yard.lock().acquire().expect("free");
    // One that waits in the queue, one that has no place yet.
    let queued = wait_for(&lock);
    yard.await_nodes(2);
    proxy.refuse();
    proxy.cut();
    let unplaced = wait_for(&lock);
    let started = Instant::now();
    cancelled(
        || lock.cancel(),
        || {
            assert!(queued.join().expect("no panic").is_none());
            assert!(unplaced.join().expect("no panic").is_none());
        },
    );
    assert!(started.elapsed() <= soon(), "{:?}", started.elapsed());
    proxy.accept();
    yard.await_nodes(1);
    drop(guard);
}

#[test]
fn lock_of_a_pinned_handle_ends_with_its_session() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let (client, session) = crate::clients::doomed(|| yard.through(&proxy));
    let pinned = client.session().expect("connected");
    let states = client.subscribe().expect("open");
    crate::clients::expire(&proxy, yard.chroot.server(), &session);
    crate::clients::await_state(&states, zookeeper_blocking::SessionState::Connected);
    // Without a deadline: it must not wait for a session that cannot come back.
    let lock = lock(&pinned.with_timeout(None));
    let result = lock.acquire();
    assert!(matches!(result, Err(Error::SessionExpired { .. })), "{result:?}");
}

#[test]
fn closed_client_ends_the_wait() {
    let yard = Yard::new();
    let guard = yard.lock().acquire().expect("free");
    let client = yard.client();
    let lock = lock(&client);
    let waiting = thread::spawn(move || lock.acquire());
    yard.await_nodes(2);
    client.close().expect("acknowledged");
    let result = waiting.join().expect("no panic");
    assert!(matches!(result, Err(Error::Closed { .. })), "{result:?}");
    yard.await_nodes(1);
    drop(guard);
}

#[test]
fn acquire_costs_one_round_trip_and_release_one() {
    undisturbed(|| {
        let yard = Yard::new();
        let proxy = yard.proxy();
        let lock = yard.lock_through(&proxy);
        lock.acquire().expect("free").release().expect("held");
        proxy.far();
        proxy.reset_counts();
        let guard = lock.acquire().expect("free");
        let acquired = proxy.counts();
        guard.release().expect("held");
        let released = proxy.counts();
        assert_eq!((acquired.round_trips, released.round_trips), (1, 2), "{released:?}");
        assert_eq!((acquired.to_server.requests(), released.to_server.requests()), (2, 3));
        figure("round trips: acquire", acquired.round_trips);
        figure("round trips: release", released.round_trips - acquired.round_trips);
        // Contended: one more, for the watch; then one look after the wake-up.
        let other = yard.lock().acquire().expect("free");
        proxy.reset_counts();
        let waiting = wait_for(&lock);
        eventually("the watch is set", Duration::from_secs(10), || {
            proxy.counts().to_client.ops.contains_key(&op::GET_DATA)
        });
        other.release().expect("held");
        let guard = waiting.join().expect("no panic").expect("not cancelled");
        assert_eq!(proxy.counts().round_trips, 3, "{:?}", proxy.counts());
        figure("round trips: contended acquire", proxy.counts().round_trips);
        drop(guard);
    });
}

#[test]
fn lock_may_be_acquired_in_a_callback() {
    let yard = Yard::new();
    let client = yard.client();
    let other = yard.lock();
    let guard = other.acquire().expect("free");
    let (tell, told) = channel();
    let inner = lock(&client);
    client
        .submit_with(zookeeper_blocking::op::Exists::new("/"), move |_| {
            let result = inner.acquire().and_then(|guard| guard.release());
            tell.send(result).expect("the test waits");
        })
        .expect("open");
    yard.await_nodes(2);
    guard.release().expect("held");
    told.recv_timeout(patience()).expect("not stuck").expect("granted and released");
}

#[test]
fn node_has_kazoos_name_and_holds_the_identifier() {
    let yard = Yard::new();
    let lock = yard.lock().identifier("we");
    let guard = lock.acquire().expect("free");
    let node = yard.nodes().pop().expect("one");
    let (unique, rest) = node.split_at(32);
    assert!(unique.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{node}");
    assert!(rest.starts_with("__lock__") && rest.len() == 18, "{node}");
    assert_eq!(sequence(&node), 0);
    let (data, stat) = yard.raw().get(&format!("{}/{node}", yard.path())).expect("there");
    assert_eq!((&*data, stat.ephemeral_owner), (&b"we"[..], guard.session().id()));
    let parent = yard.raw().get(&yard.path()).expect("there");
    assert_eq!((&*parent.0, parent.1.ephemeral_owner), (&b""[..], 0));
    drop(guard);
}

#[test]
fn the_root_and_bad_paths_are_refused_at_once() {
    let yard = Yard::new();
    let client = yard.client();
    for path in ["/", "", "lock", "/lock/", "/a//b"] {
        assert!(matches!(Lock::new(&client, path), Err(Error::Invalid { .. })), "{path}");
    }
}

#[test]
fn release_tells_when_the_node_was_deleted_by_somebody_else() {
    let yard = Yard::new();
    let lock = yard.lock();
    let guard = lock.acquire().expect("free");
    let path = format!("{}{}", yard.chroot.path(), guard.node());
    yard.raw().delete(&path, -1).expect("there");
    assert!(guard.is_held(), "no server is asked, as documented");
    let client = yard.client();
    client.create("/state", b"", CreateMode::Persistent).expect("new");
    let refused =
        guard.transaction().set_data("/state", b"mine", zookeeper_blocking::Version::Any).commit();
    match refused {
        Err(Error::Transaction { index, code, .. }) => {
            assert_eq!((index, code), (0, zookeeper_blocking::Code::NoNode));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(client.get_data("/state").expect("there").0, b"");
    let started = Instant::now();
    assert_recipe(guard.release(), RecipeError::NotHeld, started, ms(1_000));
}
