//! Queues in Curator's layouts, among ourselves; with real Curator see `interop::curator_queues`.
//!
//! Retold by behaviour: Curator `TestSimpleDistributedQueue`: `testPollWithTimeout`, `testOffer1`,
//! `testOffer2`, `testTake1`, `testTake2`, `testRemova1`, `testRemove2`, `testRemove3`; not its
//! `testElement*`, as ours show no item that they do not take. `TestDistributedQueue`: `testSimple`,
//! `testPutMulti`, `testMultiPutterSingleGetter`, `testCustomExecutor`, `testNoDuplicateProcessing`
//! (many consumers; the last with holds too), `testSafetyBasic`; `testErrorMode`,
//! `testRetryAfterFailure_Curator56` and `testFlush` are in `consumers`; not `testPutListener`, as ours
//! put while the caller waits. `TestDistributedPriorityQueue`: `testSimple`, `testAdditions`,
//! `testSortingWhileTaking`; `testMinItemsBeforeRefresh` is in `consumers`. `TestBoundedDistributedQueue` is in `queue_bounds`. `TestQueueSharder` is in `sharders`.

use std::collections::HashSet;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use zookeeper_blocking::recipes::{LockingQueue, NameStyle, Queue};
use zookeeper_blocking::{Client, CreateMode, Error, RecipeError};

use crate::locks::{Yard, assert_recipe, ms};
use crate::nodes::children;

fn queue(client: &Client) -> Queue {
    Queue::new(client, "/a/queue").expect("legal").name_style(NameStyle::Curator)
}

fn simple(client: &Client) -> Queue {
    Queue::new(client, "/a/queue").expect("legal").simple()
}

fn locking(client: &Client) -> LockingQueue {
    LockingQueue::curator(client, "/a/queue", "/a/locks").expect("legal")
}

fn text(data: &[u8]) -> String {
    String::from_utf8(data.to_vec()).expect("text")
}

fn take(queue: &Queue) -> String {
    text(&queue.take().expect("an item").data)
}

/// Curator `testOffer1` to `testRemove3`, `testPollWithTimeout`.
#[test]
fn simple_queue_gives_the_items_as_they_were_put() {
    let yard = Yard::new();
    let (ours, other) = (simple(&yard.client()), simple(&yard.client()));
    assert!(ours.try_take().expect("answered").is_none());
    let late = ours.take_timeout(ms(30));
    assert!(matches!(late, Err(Error::Timeout { .. })), "{late:?}");
    assert_eq!(ours.put("Hello World").expect("put"), "qn-0000000000");
    assert_eq!(yard.client().get_data("/a/queue/qn-0000000000").expect("there").0, b"Hello World");
    let item = other.take().expect("there");
    assert_eq!((text(&item.data), item.priority), ("Hello World".into(), 0));
    ours.put_all((0..1_000).map(|n| n.to_string()), None).expect("put");
    assert_eq!([take(&other), take(&other)], ["0", "1"]);
    let rest = other.try_take_all(1_000).expect("answered");
    assert!(rest.iter().map(|item| text(&item.data)).eq((2..1_000).map(|n| n.to_string())));
    for refused in [ours.put_priority("x", 100).map(drop), ours.put_all(["x"], 1).map(drop)] {
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }
    assert!(ours.is_empty().expect("answered"));
}

/// Each sort passes by what is not its own.
#[test]
fn items_of_several_layouts_in_one_place_do_not_meet() {
    let yard = Yard::new();
    let client = yard.client();
    let kazoo = Queue::new(&client, "/a/queue").expect("legal");
    kazoo.put("kazoo").expect("put");
    simple(&client).put("simple").expect("put");
    queue(&client).put("curator").expect("put");
    assert_eq!(take(&queue(&client)), "curator");
    assert_eq!(take(&simple(&client)), "simple");
    assert_eq!(take(&kazoo), "kazoo");
    assert_eq!(children(&yard, "/a/queue"), <[String; 0]>::default());
}

/// Curator `testSimple`, `testAdditions`, `testSortingWhileTaking` of the queue with priorities.
#[test]
fn item_of_a_better_priority_is_served_before_those_that_came_earlier() {
    let yard = Yard::new();
    let queue = queue(&yard.client());
    for number in 0..5 {
        queue.put_priority(number.to_string(), 10).expect("put");
    }
    assert_eq!(take(&queue), "0");
    assert_eq!(queue.put_priority("first", 1).expect("put"), "queue-1000000010000000005");
    queue.put_priority("before it", -1).expect("put");
    queue.put_priority("last", i32::MAX).expect("put");
    assert_eq!(queue.put("without").expect("put"), "queue-0000000008");
    queue.put_all(["after", "all"], i32::MAX).expect("put");
    let without = queue.take().expect("there");
    assert_eq!((text(&without.data), without.priority), ("without".into(), i32::MIN));
    assert_eq!([take(&queue), take(&queue), take(&queue)], ["before it", "first", "1"]);
    let rest = queue.take_all(9).expect("there");
    let rest: Vec<_> = rest.iter().map(|item| text(&item.data)).collect();
    assert_eq!(rest, ["2", "3", "4", "last", "after", "all"]);
}

#[test]
fn node_that_cannot_be_read_is_named_and_stays() {
    let yard = Yard::new();
    let client = yard.client();
    client.ensure_path("/a/queue").expect("made");
    let bad = client.create("/a/queue/queue-", "not packed", CreateMode::PersistentSequential);
    let bad = bad.expect("new");
    let queue = queue(&client);
    queue.put("good").expect("put");
    let start = Instant::now();
    for result in [queue.take().map(drop), queue.try_take_all(2).map(drop)] {
        let words = result.as_ref().expect_err("unreadable").to_string();
        assert!(words.contains(&bad), "{words}");
        assert_recipe(result, RecipeError::Unreadable, start, ms(5_000));
    }
    assert_recipe(locking(&client).get(), RecipeError::Unreadable, start, ms(5_000));
    assert_eq!(children(&yard, "/a/locks").len(), 0);
    assert_eq!(queue.len().expect("answered"), 2, "nothing was taken");
    client.delete(&bad, zookeeper_blocking::Version::Any).expect("there");
    assert_eq!(take(&queue), "good");
}

/// Curator lets nothing be put, too: a node without an item.
#[test]
fn node_without_items_is_removed_and_is_nobodys_item() {
    let yard = Yard::new();
    let client = yard.client();
    client.ensure_path("/a/queue").expect("made");
    let empty = || {
        let put =
            client.create("/a/queue/queue-", b"\0\x01\0\x01\x02", CreateMode::PersistentSequential);
        put.expect("new");
    };
    let queue = queue(&client);
    empty();
    assert!(queue.try_take().expect("answered").is_none());
    empty();
    queue.put("good").expect("put");
    assert_eq!(take(&queue), "good");
    assert!(queue.is_empty().expect("answered"));
    empty();
    assert!(locking(&client).try_get().expect("answered").is_none());
    assert!(queue.is_empty().expect("answered"));
    assert_eq!(children(&yard, "/a/locks").len(), 0);
}

/// Curator `testMultiPutterSingleGetter`, `testCustomExecutor`, `testNoDuplicateProcessing`.
#[test]
fn each_item_is_had_once_by_many_consumers_with_holds_and_without() {
    const ITEMS: usize = 200;
    let yard = Yard::new();
    for with_holds in [false, true] {
        thread::scope(|scope| {
            for who in 0..2 {
                let own = queue(&yard.client());
                scope.spawn(move || {
                    for n in 0..ITEMS / 2 {
                        own.put(format!("{who} {n}")).expect("put");
                    }
                });
            }
        });
        let had = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..4 {
                let (client, had) = (yard.client(), &had);
                scope.spawn(move || {
                    let note = |data: &[u8]| had.lock().expect("no panic").push(text(data));
                    let (queue, locking) = (queue(&client), locking(&client));
                    while !queue.is_empty().expect("answered") {
                        if with_holds {
                            for held in locking.try_get_all(3).expect("answered") {
                                let data = held.data().to_vec();
                                held.consume().expect("held");
                                note(&data);
                            }
                        } else if let Some(item) = queue.try_take().expect("answered") {
                            note(&item.data);
                        }
                    }
                });
            }
        });
        let had = had.into_inner().expect("no panic");
        assert_eq!(had.len(), ITEMS, "with holds: {with_holds}");
        assert_eq!(had.iter().collect::<HashSet<_>>().len(), ITEMS, "with holds: {with_holds}");
        assert_eq!(children(&yard, "/a/locks"), <[String; 0]>::default());
    }
}
