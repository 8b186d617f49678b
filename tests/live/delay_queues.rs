//! Delay queues: no item before its time, the earliest first, and no wait that asks again and again.
//!
//! Retold by behaviour: Curator `TestDistributedDelayQueue`: all four (`testLateAddition`,
//! `testBasic`, `testSimple`, `testSorting`).

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use zookeeper_blocking::recipes::DelayQueue;
use zookeeper_blocking::{Acl, Applied, Client, CreateMode, Error, RecipeError};

use crate::clients::patience;
use crate::faults::figure;
use crate::locks::{Yard, assert_recipe, cancelled, ms};
use crate::nodes::{assert_ours, await_children, children, in_callback, we};
use crate::support::calm::undisturbed;
use crate::support::wait::{eventually, scaled};
use crate::support::wire::op;

const HOUR: Duration = Duration::from_secs(3_600);

fn queue(client: &Client) -> DelayQueue {
    DelayQueue::new(client, "/a/queue").expect("legal")
}

fn text(data: &[u8]) -> String {
    String::from_utf8(data.to_vec()).expect("text")
}

fn take(queue: &DelayQueue) -> String {
    text(&queue.take().expect("an item").data)
}

/// So many milliseconds after 1970: long ago.
fn past(ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(ms)
}

/// Curator `testSorting`, `testSimple`.
#[test]
fn items_come_by_time_then_in_order_of_putting() {
    let yard = Yard::new();
    let queue = queue(&yard.client());
    // Times whose hex digits are fewer, or sort otherwise as text.
    let times = [9, 1, 0xffff_ffff, 16, 0x1_0000_0000, 2, 16, 9, 1 << 40, 0xa];
    for (number, time) in times.into_iter().enumerate() {
        let name = queue.put_at(format!("{time} {number}"), past(time)).expect("put");
        assert_eq!(name, format!("queue-|{time:08X}|{number:010}"));
    }
    queue.put("never", HOUR).expect("put");
    yard.client()
        .create("/a/queue/queue-|junk|0000000001", "", CreateMode::Persistent)
        .expect("new");
    assert_eq!(queue.first_due().expect("answered"), Some(past(1)));
    assert_eq!(queue.len().expect("answered"), times.len() + 1);
    let mut wanted: Vec<_> = times.into_iter().enumerate().map(|(n, time)| (time, n)).collect();
    wanted.sort_unstable();
    let first = queue.take().expect("there");
    assert_eq!((text(&first.data), first.due), ("1 1".into(), past(1)));
    let rest = queue.try_take_all(100).expect("answered");
    let rest: Vec<_> = rest.iter().map(|item| text(&item.data)).collect();
    let wanted: Vec<_> = wanted[1..].iter().map(|(time, n)| format!("{time} {n}")).collect();
    assert_eq!(rest, wanted);
    assert_eq!(queue.len().expect("answered"), 1);
}

/// Curator `testBasic`.
#[test]
fn no_item_comes_before_its_time() {
    undisturbed(|| {
        let yard = Yard::new();
        let queue = queue(&yard.client());
        let before = SystemTime::now();
        queue.put_all(["a", "b"], scaled(ms(300))).expect("put");
        assert_eq!(queue.try_take().expect("answered"), None);
        assert_eq!(queue.try_take_all(5).expect("answered"), []);
        let some = queue.take_all(5).expect("in time");
        assert_eq!(some.iter().map(|item| text(&item.data)).collect::<Vec<_>>(), ["a", "b"]);
        let now = SystemTime::now();
        assert!(now >= before + scaled(ms(300)), "{:?} early", before + scaled(ms(300)));
        assert!(some[0].due >= before + scaled(ms(300)) && some[0].due <= now);
        // To a millisecond.
        for number in 0..40 {
            let due = SystemTime::now() + Duration::from_micros(500 * number + 1);
            queue.put_at("x", due).expect("put");
            queue.take().expect("in time");
            assert!(SystemTime::now() >= due, "early");
        }
    });
}

/// Curator `testLateAddition`.
#[test]
fn wait_for_a_far_item_ends_with_an_earlier_one_and_asks_nothing_meanwhile() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).connect().expect("serves");
    let other = queue(&yard.client());
    other.put("never", HOUR).expect("put");
    let own = queue(&client);
    proxy.reset_counts();
    let waiting = thread::spawn(move || take(&own));
    let asked = || proxy.counts().to_client.ops.get(&op::GET_CHILDREN).copied().unwrap_or(0);
    eventually("it waits", patience(), || asked() == 2);
    // More than one look at the clock.
    thread::sleep(ms(1_300));
    assert!(!waiting.is_finished());
    assert_eq!(proxy.counts().to_server.requests(), 2, "a list, and one with a watch");
    other.put_at("late", SystemTime::now()).expect("put");
    assert_eq!(waiting.join().expect("no panic"), "late");
    eventually("the watch is gone", patience(), || client.watch_count() == 0);
    assert_eq!(proxy.counts().to_server.requests(), 5, "list, read, delete, and nothing else");
    // Not the earliest: the wait goes on.
    let own = queue(&client);
    let waiting = thread::spawn(move || take(&own));
    eventually("it waits", patience(), || client.watch_count() == 1);
    other.put("soon", scaled(ms(4_000))).expect("put");
    other.put("sooner", scaled(ms(200))).expect("put");
    assert_eq!(waiting.join().expect("no panic"), "sooner");
}

#[test]
fn take_waits_to_its_deadline_and_is_cancelled_whatever_is_to_come() {
    let yard = Yard::new();
    let client = yard.client();
    let queue = queue(&client);
    queue.put("never", HOUR).expect("put");
    let late = queue.take_timeout(ms(50));
    assert!(matches!(late, Err(Error::Timeout { sent: false, .. })), "{late:?}");
    let late = queue.take_all_timeout(3, ms(50));
    assert!(matches!(late, Err(Error::Timeout { sent: false, .. })), "{late:?}");
    let ended = cancelled(|| queue.cancel(), || queue.take());
    assert_recipe(ended, RecipeError::Cancelled, Instant::now(), ms(2_000));
    eventually("b9: no watch left", patience(), || client.watch_count() == 0);
    let callback = queue.clone();
    in_callback(&client, move || {
        callback.put("now", Duration::ZERO).expect("put");
        assert_eq!(take(&callback), "now");
        callback.take_timeout(ms(20)).expect_err("none is due");
    });
    assert_eq!(queue.take_all(0).expect("nothing to do"), []);
}

#[test]
fn times_that_no_node_can_have_are_refused() {
    let yard = Yard::new();
    let queue = queue(&yard.client());
    for refused in [
        queue.put_at("x", UNIX_EPOCH),
        queue.put_at("x", UNIX_EPOCH - HOUR),
        queue.put("x", Duration::MAX),
    ] {
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }
    assert_eq!(queue.put_all([""; 0], HOUR).expect("nothing to do"), Vec::<String>::new());
    assert!(queue.is_empty().expect("answered"));
    assert_eq!(queue.first_due().expect("answered"), None);
    assert!(DelayQueue::new(&yard.client(), "/").is_err());
}

/// All wait for the same item: one has it, the others go on waiting.
#[test]
fn one_of_many_waiters_has_the_item_that_becomes_due() {
    let yard = Yard::new();
    let clients: Vec<_> = (0..4).map(|_| yard.client()).collect();
    let waiting: Vec<_> = clients
        .iter()
        .map(|client| {
            let own = queue(client);
            thread::spawn(move || take(&own))
        })
        .collect();
    await_children(&yard, "/a", 1);
    let other = queue(&yard.client());
    for number in 0..waiting.len() {
        other.put(number.to_string(), scaled(ms(100))).expect("put");
        let done = || waiting.iter().filter(|waiter| waiter.is_finished()).count();
        eventually("another is served", patience(), || done() == number + 1);
    }
    let mut had: Vec<_> = waiting.into_iter().map(|w| w.join().expect("no panic")).collect();
    had.sort();
    assert_eq!(had, ["0", "1", "2", "3"]);
    for client in clients {
        eventually("b9: no watch left", patience(), || client.watch_count() == 0);
    }
}

#[test]
fn e9_waiter_goes_on_when_the_queue_was_removed_under_it() {
    let yard = Yard::new();
    let own = queue(&yard.client());
    own.put("gone", HOUR).expect("put");
    let waiting = thread::spawn(move || take(&own));
    thread::sleep(ms(30));
    let other = yard.client();
    other.delete_recursive("/a").expect("there");
    eventually("made again", patience(), || children(&yard, "/a") == ["queue"]);
    queue(&other).put("there", ms(20)).expect("put");
    assert_eq!(waiting.join().expect("no panic"), "there");
}

#[test]
fn e11_lost_answers_are_told_and_nothing_is_done_twice() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let queue = queue(&yard.through(&proxy).connect().expect("serves"));
    queue.put("0", Duration::ZERO).expect("put");
    proxy.drop_reply_to(op::CREATE);
    let error = queue.put("1", Duration::ZERO).expect_err("nobody can tell");
    assert_eq!(error.applied(), Applied::Unknown);
    assert_eq!(queue.len().expect("answered"), 2, "put once");
    proxy.drop_request(op::MULTI);
    assert_eq!(take(&queue), "0", "not done, so done again");
    proxy.drop_reply_to(op::MULTI);
    assert_eq!(queue.take().expect_err("nobody can tell").applied(), Applied::Unknown);
    assert!(queue.is_empty().expect("answered"), "taken once");
    // Cut while it waits for an item's time.
    let own = queue.clone();
    queue.put("2", scaled(ms(1_500))).expect("put");
    let waiting = thread::spawn(move || take(&own));
    for _ in 0..4 {
        thread::sleep(ms(50));
        proxy.cut();
    }
    assert_eq!(waiting.join().expect("no panic"), "2");
}

#[test]
fn delay_queues_cost_few_round_trips_and_keep_the_acl() {
    undisturbed(|| {
        let yard = Yard::new();
        let proxy = yard.proxy();
        let own = queue(&yard.through(&proxy).connect().expect("serves"));
        own.put("0", Duration::ZERO).expect("put");
        take(&own);
        proxy.far();
        let count = |what: &str, work: &dyn Fn()| {
            proxy.reset_counts();
            work();
            let trips = proxy.counts().round_trips;
            figure(&format!("delay queue: round trips to {what}"), trips);
            trips
        };
        assert_eq!(count("put 1", &|| drop(own.put("1", Duration::ZERO).expect("put"))), 1);
        let all = || drop(own.put_all(["x"; 100], Duration::ZERO).expect("put"));
        assert_eq!(count("put 100", &all), 1);
        assert_eq!(count("take 1", &|| drop(own.take().expect("there"))), 3);
        let all = || assert_eq!(own.try_take_all(100).expect("answered").len(), 100);
        assert_eq!(count("take 100", &all), 3);
        let ours =
            DelayQueue::new(&we(&yard), "/b/queue").expect("legal").acl([Acl::creator_all()]);
        let name = ours.put("x", Duration::ZERO).expect("put");
        assert_ours(&yard, &["/b", "/b/queue", &format!("/b/queue/{name}")]);
    });
}
