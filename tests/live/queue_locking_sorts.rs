//! Delay queues and id queues whose items are held while they are worked on.
//!
//! Retold by behaviour: Curator `TestDistributedDelayQueue` and `TestDistributedIdQueue`, with the
//! `lockPath` that the tests of its plain queue have (`TestDistributedQueue.testSafetyBasic`,
//! `testSafetyWithCrash`): `testBasic`, `testSimple`, `testSorting`, `testLateAddition`;
//! `testOrdering`, `testRequeue`, `testDeletingWithLock`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use zookeeper_blocking::recipes::{HeldItem, LockingDelayQueue, LockingIdQueue};
use zookeeper_blocking::{Acl, Applied, Client, CreateMode, Error, RecipeError, Version};

use crate::clients::{doomed, expire, patience};
use crate::faults::figure;
use crate::locks::{Yard, assert_recipe, ms};
use crate::nodes::{assert_ours, await_children, children, in_callback, we};
use crate::support::wait::{eventually, scaled};
use crate::support::wire::op;

const HOUR: Duration = Duration::from_secs(3_600);

fn delays(client: &Client) -> LockingDelayQueue {
    LockingDelayQueue::new(client, "/a/queue", "/a/locks").expect("legal")
}

fn ids(client: &Client) -> LockingIdQueue {
    LockingIdQueue::new(client, "/a/queue", "/a/locks").expect("legal")
}

fn text(held: &HeldItem) -> String {
    String::from_utf8(held.data().to_vec()).expect("text")
}

#[track_caller]
fn assert_late<T: std::fmt::Debug>(result: zookeeper_blocking::Result<T>) {
    assert!(matches!(result, Err(Error::Timeout { .. })), "{result:?}");
}

/// Curator `testBasic`, `testSorting`.
#[test]
fn no_item_is_held_before_its_time_and_the_earliest_is_first() {
    let yard = Yard::new();
    let queue = delays(&yard.client());
    let past = |ms| UNIX_EPOCH + Duration::from_millis(ms);
    queue.put_at("second", past(16)).expect("put");
    queue.put("never", HOUR).expect("put");
    queue.put_at("first", past(9)).expect("put");
    let due = SystemTime::now() + scaled(ms(300));
    queue.put_at("soon", due).expect("put");
    let some = queue.try_get_all(9).expect("answered");
    assert_eq!(some.iter().map(text).collect::<Vec<_>>(), ["first", "second"]);
    assert_eq!((some[0].due(), some[0].id(), some[0].priority()), (Some(past(9)), None, 0));
    assert!(queue.try_get().expect("answered").is_none());
    let soon = queue.get().expect("in time");
    assert!(SystemTime::now() >= due, "before its time");
    assert_eq!(text(&soon), "soon");
    // What comes back is in its old place.
    for held in some {
        held.release().expect("held");
    }
    assert_eq!(text(&queue.get().expect("there")), "first");
    soon.consume().expect("held");
    assert_eq!(queue.len().expect("answered"), 3);
    assert_eq!(queue.first_due().expect("answered"), Some(past(9)));
}

/// Curator `testLateAddition`; and an item that another holds is nobody's next.
#[test]
fn wait_goes_by_the_first_item_that_nobody_holds_and_asks_nothing_meanwhile() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).connect().expect("serves");
    let other = delays(&yard.client());
    other.put("held", Duration::ZERO).expect("put");
    other.put("never", HOUR).expect("put");
    let held = other.get().expect("due");
    let own = delays(&client);
    let get = || {
        let own = own.clone();
        thread::spawn(move || {
            let held = own.get().expect("in time");
            let data = text(&held);
            held.consume().expect("held");
            data
        })
    };
    proxy.reset_counts();
    let waiting = get();
    eventually("it waits", patience(), || client.watch_count() == 2);
    // More than one look at the clock.
    thread::sleep(ms(1_300));
    assert!(!waiting.is_finished());
    assert_eq!(proxy.counts().to_server.requests(), 4, "both lists, and once more with watches");
    other.put_at("late", SystemTime::now()).expect("put");
    assert_eq!(waiting.join().expect("no panic"), "late");
    let waiting = get();
    eventually("it waits", patience(), || client.watch_count() == 2);
    other.put("later", scaled(ms(400))).expect("put");
    other.put("sooner", scaled(ms(200))).expect("put");
    assert_eq!(waiting.join().expect("no panic"), "sooner");
    // What is given back wakes whoever waits for what is to come.
    let waiting = get();
    held.release().expect("held");
    assert_eq!(waiting.join().expect("no panic"), "held");
    assert_eq!(text(&own.get().expect("in time")), "later");
    eventually("b9: no watch left", patience(), || client.watch_count() == 0);
}

/// Curator `testSafetyWithCrash`.
#[test]
fn e11_item_of_a_dead_consumer_returns_of_either_sort() {
    let yard = Yard::new();
    for is_delay in [true, false] {
        let proxy = yard.proxy();
        let (client, session) = doomed(|| yard.through(&proxy));
        let get = move |client: &Client| match is_delay {
            true => delays(client).get().expect("returned"),
            false => ids(client).get().expect("returned"),
        };
        match is_delay {
            true => delays(&client).put("precious", Duration::ZERO).expect("put"),
            false => ids(&client).put("precious", "id").expect("put"),
        };
        let held = get(&client);
        let other = yard.client();
        let waiting = {
            let other = other.clone();
            thread::spawn(move || get(&other))
        };
        eventually("it waits", patience(), || other.watch_count() == 2);
        assert!(!waiting.is_finished());
        expire(&proxy, yard.chroot.server(), &session);
        let again = waiting.join().expect("no panic");
        assert_eq!(text(&again), "precious");
        let consumed = held.consume();
        assert!(matches!(consumed, Err(Error::SessionExpired { .. })), "{consumed:?}");
        again.consume().expect("held");
        await_children(&yard, "/a/queue", 0);
    }
}

/// Curator `testOrdering`, `testDeletingWithLock`.
#[test]
fn items_with_ids_are_in_order_and_one_that_is_held_is_not_removed() {
    let yard = Yard::new();
    let (client, other) = (yard.client(), yard.client());
    let queue = ids(&client);
    // The directory of the holds is not there yet.
    queue.put("0", "x").expect("put");
    assert_eq!(queue.remove("x").expect("answered"), 1);
    assert_eq!(queue.remove("x").expect("answered"), 0);
    queue.put_all([("1", "a"), ("2", "b"), ("3", "a"), ("4", "c/d")]).expect("put");
    let held = queue.get().expect("there");
    assert_eq!((text(&held), held.id(), held.due()), ("1".into(), Some("a"), None));
    assert_eq!(ids(&other).remove("a").expect("answered"), 1, "not the one that is held");
    assert!(queue.contains("a").expect("answered"));
    assert_eq!(ids(&other).remove("a").expect("answered"), 0);
    let second = queue.get().expect("there");
    assert_eq!(text(&second), "2");
    held.transaction().check("/a/queue", Version::Any).commit().expect("held still");
    held.release().expect("held");
    assert_eq!(queue.remove("a").expect("answered"), 1);
    assert_eq!(queue.remove("c/d").expect("answered"), 1);
    second.consume().expect("held");
    assert!(queue.is_empty().expect("answered"));
    await_children(&yard, "/a/locks", 0);
    assert!(matches!(queue.remove(""), Err(Error::Invalid { .. })));
    assert!(matches!(queue.put("x", ""), Err(Error::Invalid { .. })));
}

/// Each item is either removed or consumed, and counted once.
#[test]
fn removers_and_holders_share_the_items() {
    const ITEMS: usize = 200;
    let yard = Yard::new();
    let names = ["a", "b", "c", "d"];
    let all = (0..ITEMS).map(|number| (number.to_string(), names[number % names.len()]));
    ids(&yard.client()).put_all(all).expect("put");
    let (removed, consumed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..2 {
            let (own, consumed) = (ids(&yard.client()), &consumed);
            scope.spawn(move || {
                while let Some(held) = own.try_get().expect("answered") {
                    held.consume().expect("nobody takes it from under us");
                    consumed.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for id in names {
            let (own, removed) = (ids(&yard.client()), &removed);
            scope.spawn(move || {
                removed.fetch_add(own.remove(id).expect("answered"), Ordering::SeqCst);
            });
        }
    });
    // Those that the removers saw held, and whose holders saw no more that was free.
    let left = ids(&yard.client()).try_get_all(ITEMS).expect("answered");
    let (removed, consumed) = (removed.into_inner(), consumed.into_inner());
    figure("locking id queue: of 200 items removed, consumed", (removed, consumed));
    assert_eq!(removed + consumed + left.len(), ITEMS);
    assert!(removed > 0);
    assert_eq!(children(&yard, "/a/queue").len(), left.len());
}

#[test]
fn e11_lost_answers_to_a_removal_beside_holders_are_told_and_it_is_not_done_twice() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let own = ids(&yard.through(&proxy).connect().expect("serves"));
    own.put_all([("0", "x"), ("1", "x"), ("2", "y")]).expect("put");
    own.get().expect("there").release().expect("held");
    proxy.drop_request(op::MULTI);
    assert_eq!(own.remove("x").expect("not done, so done again"), 2);
    proxy.drop_reply_to(op::MULTI);
    assert_eq!(own.remove("y").expect_err("nobody can tell").applied(), Applied::Unknown);
    assert!(own.is_empty().expect("answered"));
    await_children(&yard, "/a/locks", 0);
    proxy.far();
    own.put_all([("x", "id"); 3]).expect("put");
    proxy.reset_counts();
    assert_eq!(own.remove("id").expect("answered"), 3);
    let trips = proxy.counts().round_trips;
    figure("locking id queue: round trips to remove 3", trips);
    assert_eq!(trips, 2);
}

/// As Curator's `ErrorMode.REQUEUE` writes it in a delay queue.
#[test]
fn item_that_was_put_back_without_its_time_is_due_at_once() {
    let yard = Yard::new();
    let client = yard.client();
    let queue = delays(&client);
    queue.put_at("due", UNIX_EPOCH + Duration::from_millis(5)).expect("put");
    let packed = b"\0\x01\0\x01\x01\0\0\0\x04back\x02";
    client.create("/a/queue/queue-", packed, CreateMode::PersistentSequential).expect("new");
    let held = queue.get().expect("there");
    assert_eq!((text(&held), held.due()), ("back".into(), Some(UNIX_EPOCH)));
    held.consume().expect("held");
    assert_eq!(text(&queue.get().expect("there")), "due");
}

#[test]
fn waits_for_holds_end_and_are_cancelled_work_in_callbacks_and_keep_the_acl() {
    let yard = Yard::new();
    let client = yard.client();
    let queue = delays(&client);
    queue.put("never", HOUR).expect("put");
    assert_late(queue.get_timeout(ms(50)));
    assert_late(queue.get_all_timeout(3, ms(50)));
    let canceller = queue.clone();
    let cancelling = thread::spawn(move || {
        thread::sleep(ms(30));
        canceller.cancel();
    });
    assert_recipe(queue.get(), RecipeError::Cancelled, Instant::now(), ms(2_000));
    cancelling.join().expect("no panic");
    eventually("b9: no watch left", patience(), || client.watch_count() == 0);
    let callback = queue;
    in_callback(&client, move || {
        callback.put("now", Duration::ZERO).expect("put");
        let held = callback.get().expect("due");
        assert_late(callback.get_timeout(ms(20)));
        held.consume().expect("held");
    });
    for legal in [
        LockingDelayQueue::new(&client, "/a", "locks").map(drop),
        LockingIdQueue::new(&client, "/", "/locks").map(drop),
    ] {
        assert!(matches!(legal, Err(Error::Invalid { .. })), "{legal:?}");
    }
    let ours = we(&yard).with_chroot("/not/there").expect("legal");
    let ids = LockingIdQueue::new(&ours, "/queue", "/holds/of/it").expect("legal");
    let ids = ids.acl([Acl::creator_all()]);
    ids.put("x", "removed").expect("put");
    assert_eq!(ids.remove("removed").expect("answered"), 1);
    let name = ids.put("x", "id").expect("put");
    let held = ids.get().expect("there");
    let item = format!("/not/there/queue/{name}");
    let hold = format!("/not/there/holds/of/it/{name}");
    assert_ours(&yard, &["/not/there/queue", "/not/there/holds/of/it", &item, &hold]);
    held.consume().expect("held");
}
