//! Queues: order, and that each item is had once.
//!
//! Retold by behaviour: Kazoo `test_queue.py`: all twelve (`test_queue_validation`,
//! `test_empty_queue`, `test_queue`, `test_priority`; of the locking queue `test_queue_empty`,
//! `test_queue_validation`, `test_queue`, `test_priority`, `test_release`, `test_consume`,
//! `test_holds_lock`, `test_concurrent_execution`). Different here: a consumer that gets twice gets
//! two items. Curator `TestSimpleDistributedQueue.testHangFromContainerLoss`,
//! `TestDistributedQueue.testSafetyWithCrash`; its other queues are in `queue_layouts`,
//! `delay_queues`, `id_queues` and `queue_holds`, what cuts do to all of them in `queue_faults`.

use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use zookeeper_blocking::recipes::{HeldItem, LockingQueue, Queue};
use zookeeper_blocking::{
    Acl, Applied, Client, Code, CreateMode, Error, RecipeError, Transaction, Version,
};

use crate::clients::{doomed, expire, patience, soon};
use crate::faults::figure;
use crate::locks::{Yard, assert_code, assert_recipe, cancelled, ms};
use crate::nodes::{assert_ours, await_children, children, in_callback, we};
use crate::support::calm::undisturbed;
use crate::support::proxy::{Act, Pick, Way};
use crate::support::wait::{eventually, scaled};
use crate::support::wire::op;

fn queue(client: &Client) -> Queue {
    Queue::new(client, "/a/queue").expect("legal")
}

fn locking(client: &Client) -> LockingQueue {
    LockingQueue::new(client, "/a/queue").expect("legal")
}

fn text(data: &[u8]) -> String {
    String::from_utf8(data.to_vec()).expect("text")
}

fn take(queue: &Queue) -> String {
    text(&queue.take().expect("an item").data)
}

#[track_caller]
fn assert_late<T: std::fmt::Debug>(result: zookeeper_blocking::Result<T>) {
    assert!(matches!(result, Err(Error::Timeout { .. })), "{result:?}");
}

// ---- Queue ----

#[test]
fn items_come_by_priority_then_in_order_under_kazoos_names() {
    let yard = Yard::new();
    let queue = queue(&yard.client());
    assert!(queue.try_take().expect("answered").is_none());
    assert!(queue.is_empty().expect("answered"));
    assert_eq!(queue.put("first").expect("put"), "entry-100-0000000000");
    queue.put("second").expect("put");
    assert_eq!(queue.put_priority("urgent", 7).expect("put"), "entry-007-0000000002");
    queue.put_priority("late", 999).expect("put");
    let names = queue.put_all(["third", "fourth"], 100).expect("put");
    assert_eq!(names, ["entry-100-0000000004", "entry-100-0000000005"]);
    assert!(matches!(queue.put_priority("x", 1000), Err(Error::Invalid { .. })));
    assert_eq!(queue.put_all([""; 0], 100).expect("nothing to do"), Vec::<String>::new());
    // E6: not an item.
    yard.client().create("/a/queue/junk", "", CreateMode::Persistent).expect("new");
    assert_eq!(queue.len().expect("answered"), 6);
    let first = queue.try_take().expect("answered").expect("there");
    assert_eq!((text(&first.data), first.priority), ("urgent".into(), 7));
    assert_eq!([take(&queue), take(&queue)], ["first", "second"]);
    let rest = queue.try_take_all(10).expect("answered");
    let rest: Vec<_> = rest.iter().map(|item| text(&item.data)).collect();
    assert_eq!(rest, ["third", "fourth", "late"]);
    assert_eq!(children(&yard, "/a/queue"), ["junk"]);
}

#[test]
fn take_waits_for_an_item_to_its_deadline_and_is_cancelled() {
    let yard = Yard::new();
    let client = yard.client();
    let queue = queue(&client);
    let start = Instant::now();
    assert_late(queue.take_timeout(scaled(ms(100))));
    assert!(start.elapsed() < soon());
    eventually("b9: no watch left", patience(), || client.watch_count() == 0);
    let ended = cancelled(|| queue.cancel(), || queue.take());
    assert_recipe(ended, RecipeError::Cancelled, Instant::now(), ms(2_000));
    let waiting = thread::spawn(move || take(&queue));
    thread::sleep(ms(30));
    self::queue(&yard.client()).put("there").expect("put");
    assert_eq!(waiting.join().expect("no panic"), "there");
}

/// Curator `testHangFromContainerLoss`.
#[test]
fn e9_consumer_goes_on_when_the_queue_was_removed_under_it() {
    let yard = Yard::new();
    let client = yard.client();
    let waiting = {
        let queue = queue(&client);
        thread::spawn(move || take(&queue))
    };
    let held = {
        let queue = LockingQueue::new(&client, "/b/queue").expect("legal");
        thread::spawn(move || text(queue.get().expect("an item").data()))
    };
    await_children(&yard, "/a", 1);
    await_children(&yard, "/b/queue", 2);
    let other = yard.client();
    other.delete_recursive("/a").expect("there");
    other.delete_recursive("/b").expect("there");
    thread::sleep(ms(50));
    assert!(!waiting.is_finished() && !held.is_finished());
    queue(&other).put("there").expect("put");
    LockingQueue::new(&other, "/b/queue").expect("legal").put("too").expect("put");
    assert_eq!(waiting.join().expect("no panic"), "there");
    assert_eq!(held.join().expect("no panic"), "too");
}

#[test]
fn e11_lost_answers_to_puts_and_takes_are_told_and_nothing_is_done_twice() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let queue = queue(&yard.through(&proxy).connect().expect("serves"));
    queue.put("0").expect("put");
    proxy.drop_reply_to(op::CREATE);
    assert_eq!(queue.put("1").expect_err("nobody can tell").applied(), Applied::Unknown);
    assert_eq!(queue.len().expect("answered"), 2, "put once");
    proxy.drop_request(op::MULTI);
    assert_eq!(take(&queue), "0", "not done, so done again");
    proxy.drop_reply_to(op::GET_DATA);
    proxy.drop_reply_to(op::GET_CHILDREN);
    queue.put("2").expect("put");
    assert_eq!(take(&queue), "1");
    proxy.drop_reply_to(op::MULTI);
    assert_eq!(queue.take().expect_err("nobody can tell").applied(), Applied::Unknown);
    assert!(queue.is_empty().expect("answered"), "taken once");
}

#[test]
fn queues_cost_few_round_trips_however_many_items() {
    undisturbed(|| {
        let yard = Yard::new();
        let proxy = yard.proxy();
        let client = yard.through(&proxy).connect().expect("serves");
        let queue = queue(&client);
        queue.put_all(["0"], 100).expect("put");
        queue.take().expect("there");
        proxy.far();
        let count = |what: &str, work: &dyn Fn()| {
            proxy.reset_counts();
            work();
            let trips = proxy.counts().round_trips;
            figure(&format!("queue: round trips to {what}"), trips);
            trips
        };
        assert_eq!(count("put 1", &|| drop(queue.put("1").expect("put"))), 1);
        assert_eq!(count("put 100", &|| drop(queue.put_all(["x"; 100], 100).expect("put"))), 1);
        assert_eq!(count("take 1", &|| drop(queue.take().expect("there"))), 3);
        let all = || assert_eq!(queue.try_take_all(100).expect("answered").len(), 100);
        assert_eq!(count("take 100", &all), 3);
        let locking = LockingQueue::new(&client, "/a/locking").expect("legal");
        locking.put_all(["1", "2"], 100).expect("put");
        locking.get().expect("there").consume().expect("held");
        assert_eq!(count("put 1, locking", &|| drop(locking.put("1").expect("put"))), 1);
        let held = Mutex::new(None);
        let get = || *held.lock().expect("no panic") = Some(locking.get().expect("there"));
        assert_eq!(count("get, locking", &get), 3);
        let consume = || {
            let held: HeldItem = held.lock().expect("no panic").take().expect("held");
            held.consume().expect("held");
        };
        assert_eq!(count("consume", &consume), 1);
    });
}

#[test]
fn e10_acl_is_on_every_node() {
    let yard = Yard::new();
    let client = we(&yard);
    queue(&client).acl([Acl::creator_all()]).put("x").expect("put");
    let locking = LockingQueue::new(&client, "/a/locking").expect("legal");
    let locking = locking.acl([Acl::creator_all()]);
    locking.put("x").expect("put");
    let held = locking.get().expect("there");
    let name = held.path().rsplit('/').next().expect("a name").to_owned();
    let paths = ["/a/queue", "/a/locking", "/a/locking/entries", "/a/locking/taken"];
    assert_ours(&yard, &paths);
    assert_ours(&yard, &["/a/queue/entry-100-0000000000", held.path()]);
    assert_ours(&yard, &[&format!("/a/locking/taken/{name}")]);
    held.release().expect("held");
    let start = Instant::now();
    assert_code(queue(&yard.client()).take(), Code::NoAuth);
    assert!(start.elapsed() < soon(), "no retries");
}

// ---- LockingQueue ----

/// Kazoo `test_queue`, `test_priority`, `test_consume`, `test_release`, `test_holds_lock`.
#[test]
fn item_is_held_until_it_is_consumed_or_released() {
    let yard = Yard::new();
    let (client, other) = (yard.client(), yard.client());
    let queue = locking(&client);
    assert!(queue.try_get().expect("answered").is_none());
    queue.put("one").expect("put");
    queue.put_all(["two", "three"], 100).expect("put");
    queue.put_priority("urgent", 0).expect("put");
    assert_eq!(queue.len().expect("answered"), 4);
    let urgent = queue.get().expect("there");
    assert_eq!((text(urgent.data()), urgent.priority()), ("urgent".into(), 0));
    assert!(urgent.is_held());
    assert_eq!(children(&yard, "/a/queue/taken"), ["entry-000-0000000003"]);
    let mark = client.get_data("/a/queue/taken/entry-000-0000000003").expect("there");
    assert_eq!((mark.0.len(), mark.1.ephemeral_owner), (32, client.session_id()));
    let one = locking(&other).get().expect("there");
    assert_eq!(text(one.data()), "one");
    let fence = urgent.fence();
    urgent.release().expect("held");
    let urgent = locking(&other).get().expect("there again");
    assert_eq!(text(urgent.data()), "urgent");
    assert!(urgent.fence() > fence);
    urgent.consume().expect("held");
    drop(one);
    await_children(&yard, "/a/queue/taken", 0);
    assert_eq!(queue.len().expect("answered"), 3);
    let rest: Vec<_> = (0..3).map(|_| queue.try_get().expect("answered").expect("free")).collect();
    assert!(queue.try_get().expect("answered").is_none());
    assert_late(queue.get_timeout(ms(30)));
    let rest: Vec<_> = rest
        .into_iter()
        .map(|held| {
            let data = text(held.data());
            held.consume().expect("held");
            data
        })
        .collect();
    assert_eq!(rest, ["one", "two", "three"]);
    assert_eq!(children(&yard, "/a/queue/entries"), Vec::<String>::new());
}

/// Kazoo `test_concurrent_execution`, and #366: whoever lost the race tries the next.
#[test]
fn consumers_of_one_client_and_of_many_share_the_items() {
    let yard = Yard::new();
    let client = yard.client();
    let queue = locking(&client);
    queue.put_all((0..40).map(|n| n.to_string()), 100).expect("put");
    let had = Mutex::new(Vec::new());
    let start = Instant::now();
    thread::scope(|scope| {
        for number in 0..6 {
            let had = &had;
            let queue = if number < 3 { queue.clone() } else { locking(&yard.client()) };
            scope.spawn(move || {
                while let Some(held) = queue.try_get().expect("answered") {
                    had.lock().expect("no panic").push(text(held.data()));
                    thread::yield_now();
                    held.consume().expect("held by nobody else");
                }
            });
        }
    });
    figure("locking queue: 40 items by 6 consumers", start.elapsed());
    let mut had = had.into_inner().expect("no panic");
    // An item that all who looked saw held may be left by those who went: none is lost.
    while let Some(held) = queue.try_get().expect("answered") {
        had.push(text(held.data()));
        held.consume().expect("held");
    }
    had.sort_by_key(|item| item.parse::<u32>().expect("a number"));
    assert_eq!(had, (0..40).map(|n| n.to_string()).collect::<Vec<_>>());
    await_children(&yard, "/a/queue/taken", 0);
}

/// Curator `testSafetyWithCrash`.
#[test]
fn e11_item_of_a_dead_consumer_returns() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    let queue = locking(&client);
    queue.put("precious").expect("put");
    let held = queue.get().expect("there");
    let waiting = {
        let other = locking(&yard.client());
        thread::spawn(move || other.get().expect("returned"))
    };
    thread::sleep(ms(50));
    assert!(!waiting.is_finished());
    expire(&proxy, yard.chroot.server(), &session);
    let again = waiting.join().expect("no panic");
    assert_eq!(text(again.data()), "precious");
    eventually("told", patience(), || !held.is_held());
    let consumed = held.consume();
    assert!(matches!(consumed, Err(Error::SessionExpired { .. })), "{consumed:?}");
    again.consume().expect("held");
    assert!(queue.is_empty().expect("answered"));
}

#[test]
fn hold_that_was_taken_away_is_told_and_consumes_nothing() {
    let yard = Yard::new();
    let client = yard.client();
    let queue = locking(&client);
    queue.put("x").expect("put");
    let held = queue.get().expect("there");
    client.create("/result", "", CreateMode::Persistent).expect("new");
    let done = held.transaction().set_data("/result", "half", Version::Any).commit();
    done.expect("held");
    client.delete("/a/queue/taken/entry-100-0000000000", Version::Any).expect("there");
    assert!(held.transaction().set_data("/result", "late", Version::Any).commit().is_err());
    let start = Instant::now();
    assert_recipe(held.consume(), RecipeError::NotHeld, start, ms(2_000));
    let held = queue.get().expect("still there");
    let more = Transaction::new().set_data("/none", "", Version::Any);
    assert_code(held.consume_with(more), Code::NoNode);
    await_children(&yard, "/a/queue/taken", 0);
    let held = queue.get().expect("still there");
    let more = Transaction::new().set_data("/result", "whole", Version::Any);
    held.consume_with(more).expect("held");
    assert_eq!(client.get_data("/result").expect("there").0, b"whole");
    assert!(queue.is_empty().expect("answered"));
}

#[test]
fn e4_lost_answers_hold_an_item_once_and_leave_no_hold_behind() {
    undisturbed(|| {
        let yard = Yard::new();
        let proxy = yard.proxy();
        let client = yard.through(&proxy).connect().expect("serves");
        let queue = locking(&client);
        queue.put_all(["a", "b"], 100).expect("put");
        // The directory of the holds is there: else what is lost is a refusal.
        queue.get().expect("there").release().expect("held");
        for code in [op::MULTI, op::GET_DATA, op::GET_CHILDREN] {
            proxy.drop_reply_to(code);
            let held = queue.get().expect("there");
            assert_eq!(text(held.data()), "a", "{code}");
            assert_eq!(children(&yard, "/a/queue/taken").len(), 1);
            proxy.drop_reply_to(op::MULTI);
            held.release().expect("held");
            await_children(&yard, "/a/queue/taken", 0);
        }
        // Both ends of a consumption.
        for (lost, left) in [(false, 1), (true, 0)] {
            let held = queue.get().expect("there");
            if lost {
                proxy.drop_reply_to(op::MULTI)
            } else {
                proxy.drop_request(op::MULTI)
            }
            held.consume().expect("held, and known to be done");
            assert_eq!(queue.len().expect("answered"), left);
            assert_eq!(children(&yard, "/a/queue/taken").len(), 0);
        }
        // Given up on the way.
        queue.put("c").expect("put");
        for code in [op::MULTI, op::GET_DATA] {
            let caught = proxy.caught().len();
            proxy.once(Way::ToServer, Pick::Op(code), 1, Act::Hold);
            assert_late(queue.get_timeout(scaled(ms(150))));
            proxy.wait_caught(caught + 1);
            proxy.heal();
            client.sync("/").expect("served");
            await_children(&yard, "/a/queue/taken", 0);
            // And another thread's hold is not taken for what is to be cleaned up.
            let held = queue.get().expect("there");
            thread::sleep(ms(50));
            assert_eq!(children(&yard, "/a/queue/taken").len(), 1);
            held.release().expect("held");
        }
    });
}

#[test]
fn queues_work_in_callbacks() {
    let yard = Yard::new();
    let client = yard.client();
    let own = client.clone();
    in_callback(&client, move || {
        queue(&own).put("x").expect("put");
        assert_eq!(take(&queue(&own)), "x");
        assert_late(queue(&own).take_timeout(ms(20)));
        let locking = LockingQueue::new(&own, "/a/locking").expect("legal");
        locking.put("y").expect("put");
        locking.get().expect("there").consume().expect("held");
        assert_late(locking.get_timeout(ms(20)));
    });
    eventually("b9: no watch left", patience(), || client.watch_count() == 0);
}

/// E12: the list of the items must fit into an answer; else it is told, at once.
#[test]
fn e12_too_many_items_are_told_and_can_be_taken_with_a_larger_limit() {
    let yard = Yard::new();
    let small = Client::builder(&yard.chroot.connect_string()).max_reply(20_000);
    let small = queue(&small.connect().expect("serves"));
    let large = queue(&yard.client());
    for _ in 0..2 {
        large.put_all(["x"; 500], 100).expect("put");
    }
    let start = Instant::now();
    for result in [small.take().map(drop), small.try_take().map(drop), small.len().map(drop)] {
        assert!(matches!(result, Err(Error::TooLarge { .. })), "{result:?}");
    }
    assert!(start.elapsed() < soon());
    assert_eq!(large.try_take_all(5_000).expect("answered").len(), 1_000);
}
