//! Queues with ids: what is removed is not taken, and what is taken is not removed.
//!
//! Retold by behaviour: Curator `TestDistributedIdQueue` (`testOrdering`; `testDeletingWithLock` and
//! `testRequeuingWithLock` are of a queue with ids and a `lockPath`, which ours is not: what is held
//! is not removed there, here it is taken already).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use zookeeper_blocking::recipes::IdQueue;
use zookeeper_blocking::{Acl, Applied, Client, Error, RecipeError};

use crate::clients::patience;
use crate::faults::figure;
use crate::locks::{Yard, assert_recipe, cancelled, ms};
use crate::nodes::{assert_ours, in_callback, we};
use crate::support::calm::undisturbed;
use crate::support::wait::eventually;
use crate::support::wire::op;

fn queue(client: &Client) -> IdQueue {
    IdQueue::new(client, "/a/queue").expect("legal")
}

fn take(queue: &IdQueue) -> (String, String) {
    let item = queue.take().expect("an item");
    (String::from_utf8(item.data).expect("text"), item.id)
}

/// Curator `testOrdering`.
#[test]
fn items_come_in_order_of_putting_whatever_their_ids() {
    let yard = Yard::new();
    let queue = queue(&yard.client());
    assert_eq!(queue.put("0", "zebra").expect("put"), "queue-|zebra|0000000000");
    let more =
        [("1", "aardvark"), ("2", "queue-"), ("3", "0000000009"), ("4", "a/b|c"), ("5", ".")];
    queue.put_all(more).expect("put");
    queue.put("6", "zebra").expect("put");
    assert_eq!(queue.len().expect("answered"), 7);
    let expect = |number: &str, id: &str| (number.to_owned(), id.to_owned());
    assert_eq!(take(&queue), expect("0", "zebra"));
    assert_eq!(take(&queue), expect("1", "aardvark"));
    let rest = queue.try_take_all(9).expect("answered");
    let ids: Vec<_> = rest.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(ids, ["queue-", "0000000009", "a_b_c", ".", "zebra"]);
    assert!(queue.try_take().expect("answered").is_none());
}

#[test]
fn what_is_removed_by_its_id_is_counted_and_not_taken() {
    let yard = Yard::new();
    let queue = queue(&yard.client());
    assert_eq!(queue.remove("x").expect("answered"), 0, "there is no queue yet");
    queue.put_all([("0", "x"), ("1", "y"), ("2", "x"), ("3", "xx")]).expect("put");
    assert!(queue.contains("x").expect("answered"));
    assert_eq!(queue.remove("x").expect("answered"), 2);
    assert_eq!(queue.remove("x").expect("answered"), 0);
    assert!(!queue.contains("x").expect("answered"));
    assert_eq!((take(&queue).0, take(&queue).0), ("1".into(), "3".into()));
    assert_eq!(queue.remove("y").expect("answered"), 0, "taken before");
    // More than go into one transaction.
    for _ in 0..3 {
        queue.put_all([("", "many"); 500]).expect("put");
    }
    queue.put("left", "one").expect("put");
    assert_eq!(queue.remove("many").expect("answered"), 1_500);
    assert_eq!(take(&queue).0, "left");
}

#[test]
fn ids_that_no_node_can_have_are_refused_and_those_with_separators_are_found() {
    let yard = Yard::new();
    let queue = queue(&yard.client());
    let refused = [queue.put("x", ""), queue.put("x", "\0"), queue.put("x", "\u{7f}")];
    for refused in refused {
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }
    assert!(matches!(queue.remove(""), Err(Error::Invalid { .. })));
    assert!(matches!(queue.contains(""), Err(Error::Invalid { .. })));
    let some = queue.put_all([("x", "good"), ("y", "")]);
    assert!(matches!(some, Err(Error::Invalid { .. })), "{some:?}");
    assert!(queue.is_empty().expect("answered"), "all or none");
    queue.put("x", "a/b").expect("put");
    queue.put("x", "a|b").expect("put");
    queue.put("x", "gr\u{fc}n").expect("put");
    assert!(queue.contains("a/b").expect("answered"));
    assert_eq!(queue.remove("a_b").expect("answered"), 2, "one id");
    assert_eq!(queue.remove("gr\u{fc}n").expect("answered"), 1);
}

/// Each of the items is either removed or taken, and counted once.
#[test]
fn removers_and_consumers_share_the_items() {
    const ITEMS: usize = 200;
    let yard = Yard::new();
    let client = yard.client();
    let ids = ["a", "b", "c", "d"];
    let all = (0..ITEMS).map(|number| (number.to_string(), ids[number % ids.len()]));
    queue(&client).put_all(all).expect("put");
    let (removed, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..2 {
            let (own, taken) = (queue(&yard.client()), &taken);
            scope.spawn(move || {
                while let Some(_item) = own.try_take().expect("answered") {
                    taken.fetch_add(1, Ordering::SeqCst);
                }
            });
            for id in ids {
                let (own, removed) = (queue(&yard.client()), &removed);
                scope.spawn(move || {
                    removed.fetch_add(own.remove(id).expect("answered"), Ordering::SeqCst);
                });
            }
        }
    });
    let (removed, taken) = (removed.into_inner(), taken.into_inner());
    figure("id queue: of 200 items removed, taken", (removed, taken));
    assert_eq!(removed + taken, ITEMS);
    assert!(queue(&client).is_empty().expect("answered"));
}

#[test]
fn e11_lost_answers_to_a_removal_are_told_and_it_is_not_done_twice() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let own = queue(&yard.through(&proxy).connect().expect("serves"));
    own.put_all([("0", "x"), ("1", "x"), ("2", "y"), ("3", "y")]).expect("put");
    proxy.drop_request(op::MULTI);
    assert_eq!(own.remove("x").expect("not done, so done again"), 2);
    proxy.drop_reply_to(op::MULTI);
    assert_eq!(own.remove("y").expect_err("nobody can tell").applied(), Applied::Unknown);
    assert!(own.is_empty().expect("answered"));
    proxy.drop_reply_to(op::CREATE);
    assert_eq!(own.put("4", "z").expect_err("nobody can tell").applied(), Applied::Unknown);
    proxy.drop_reply_to(op::GET_CHILDREN);
    assert_eq!(own.remove("z").expect("answered"), 1, "put once");
}

#[test]
fn id_queues_wait_are_cancelled_work_in_callbacks_and_keep_the_acl() {
    undisturbed(|| {
        let yard = Yard::new();
        let proxy = yard.proxy();
        let client = yard.through(&proxy).connect().expect("serves");
        let own = queue(&client);
        let late = own.take_timeout(ms(30));
        assert!(matches!(late, Err(Error::Timeout { .. })), "{late:?}");
        let ended = cancelled(|| own.cancel(), || own.take_all(3));
        assert_recipe(ended, RecipeError::Cancelled, Instant::now(), ms(2_000));
        eventually("b9: no watch left", patience(), || client.watch_count() == 0);
        let waiting = {
            let own = own.clone();
            thread::spawn(move || take(&own).1)
        };
        thread::sleep(ms(30));
        queue(&yard.client()).put("x", "there").expect("put");
        assert_eq!(waiting.join().expect("no panic"), "there");
        let callback = own.clone();
        in_callback(&client, move || {
            callback.put("x", "id").expect("put");
            assert_eq!(callback.remove("id").expect("answered"), 1);
        });
        own.put_all([("x", "id"); 3]).expect("put");
        proxy.far();
        proxy.reset_counts();
        assert_eq!(own.remove("id").expect("answered"), 3);
        let trips = proxy.counts().round_trips;
        figure("id queue: round trips to remove 3", trips);
        assert_eq!(trips, 2);
        let ours = IdQueue::new(&we(&yard), "/b/queue").expect("legal").acl([Acl::creator_all()]);
        let name = ours.put("x", "id").expect("put");
        assert_ours(&yard, &["/b", "/b/queue", &format!("/b/queue/{name}")]);
    });
}
