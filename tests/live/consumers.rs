//! Threads that have the items of queues worked on.
//!
//! Retold by behaviour: Curator `TestDistributedQueue`: `testErrorMode`,
//! `testRetryAfterFailure_Curator56`, `testSafetyBasic`, `testFlush` (nothing is left to be flushed),
//! `testNoDuplicateProcessing`; `TestDistributedPriorityQueue.testMinItemsBeforeRefresh` (a batch is
//! worked on in its order); `TestDistributedIdQueue.testRequeue`.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use zookeeper_blocking::recipes::{
    Consumer, ConsumerError, DelayQueue, ErrorMode, HeldItem, IdQueue, LockingDelayQueue,
    LockingIdQueue, LockingQueue, NameStyle, Queue,
};
use zookeeper_blocking::{Applied, Client, CreateMode, Error, RecipeError, Transaction, Version};

use crate::clients::{doomed, expire, patience};
use crate::faults::figure;
use crate::locks::{Yard, ms};
use crate::nodes::{await_children, children};
use crate::support::wait::{eventually, scaled};
use crate::support::wire::op;

type Refusal = Box<dyn std::error::Error + Send + Sync>;

fn locking(client: &Client) -> LockingQueue {
    LockingQueue::new(client, "/a/queue").expect("legal")
}

fn queue(client: &Client) -> Queue {
    Queue::new(client, "/a/queue").expect("legal")
}

fn text(data: &[u8]) -> String {
    String::from_utf8(data.to_vec()).expect("text")
}

#[track_caller]
fn next(heard: &Receiver<String>) -> String {
    heard.recv_timeout(patience()).expect("in time")
}

/// A handler that tells the test of each item; fails with those that begin with "bad", and panics
/// with those that begin with "panic".
fn teller(tell: Sender<String>) -> impl FnMut(&[u8]) -> Result<(), Refusal> + Send + 'static {
    move |data| {
        let data = text(data);
        tell.send(data.clone())?;
        assert!(!data.starts_with("panic"), "on purpose");
        if data.starts_with("bad") { Err(data.into()) } else { Ok(()) }
    }
}

/// Hears of the handler's failures by the name of the node, of others by what they are.
fn listener(tell: Sender<String>) -> impl FnMut(&ConsumerError) + Send + 'static {
    move |error| {
        let words = match error {
            ConsumerError::Handler { node, source, .. } => {
                format!("{}: {source}", node.rsplit('/').next().expect("a name"))
            }
            other => other.to_string(),
        };
        // The test may have heard enough.
        let _ = tell.send(words);
    }
}

fn start(queue: &LockingQueue, mode: ErrorMode) -> (Consumer, Receiver<String>, Receiver<String>) {
    let (tell, heard) = channel();
    let (complain, complaints) = channel();
    let mut work = teller(tell);
    let consumer = queue.consumer(move |item| work(item.data()));
    let consumer = consumer.error_mode(mode).on_error(listener(complain));
    (consumer.start().expect("a thread"), heard, complaints)
}

#[test]
fn items_are_worked_on_in_order_and_taken_out_then() {
    let yard = Yard::new();
    let client = yard.client();
    let queue = locking(&client);
    queue.put_all(["1", "2"], 100).expect("put");
    queue.put_priority("0", 1).expect("put");
    let (consumer, heard, complaints) = start(&queue, ErrorMode::Requeue);
    assert_eq!([next(&heard), next(&heard), next(&heard)], ["0", "1", "2"]);
    await_children(&yard, "/a/queue/entries", 0);
    // It waits for more, and asks nothing meanwhile.
    eventually("it waits", patience(), || client.watch_count() == 2);
    // A cancel of the queue's is none of its business.
    queue.cancel();
    locking(&yard.client()).put("3").expect("put");
    assert_eq!(next(&heard), "3");
    await_children(&yard, "/a/queue/entries", 0);
    assert!(consumer.is_running());
    assert_eq!(consumer.path(), "/a/queue");
    consumer.close().expect("done");
    eventually("b9: no watch left", patience(), || client.watch_count() == 0);
    queue.put("4").expect("put");
    assert!(heard.recv_timeout(ms(100)).is_err(), "closed");
    assert!(complaints.try_recv().is_err());
    await_children(&yard, "/a/queue/taken", 0);
}

/// Curator `testErrorMode`, `testRetryAfterFailure_Curator56`.
#[test]
fn item_that_the_handler_fails_with_goes_to_the_end_or_out() {
    let yard = Yard::new();
    let queue = locking(&yard.client());
    queue.put_all(["bad", "panic", "good"], 7).expect("put");
    queue.put_priority("last", 8).expect("put");
    // Whoever holds what comes last keeps the consumer from coming to the same items again.
    let blocker = LockingQueue::new(&yard.client(), "/a/queue").expect("legal");
    let (go, gone) = channel::<()>();
    let (tell, heard) = channel();
    let (complain, complaints) = channel();
    let mut work = teller(tell);
    let consumer = queue.consumer(move |item: &HeldItem| {
        let done = work(item.data());
        gone.recv().expect("the test lives");
        done
    });
    let consumer = consumer.on_error(listener(complain)).start().expect("a thread");
    assert_eq!(next(&heard), "bad");
    go.send(()).expect("waits");
    // A handler that panics tells before it waits.
    assert_eq!(next(&heard), "panic");
    assert_eq!(next(&complaints), "entry-007-0000000000: bad");
    assert_eq!(next(&complaints), "entry-007-0000000001: the handler panicked");
    assert_eq!(next(&heard), "good");
    eventually("put to the end, of its priority", patience(), || {
        children(&yard, "/a/queue/entries")
            == [
                "entry-007-0000000002",
                "entry-007-0000000004",
                "entry-007-0000000005",
                "entry-008-0000000003",
            ]
    });
    go.send(()).expect("waits");
    assert_eq!(next(&heard), "bad", "again");
    let late = consumer.close_timeout(ms(50));
    assert!(matches!(late, Err(Error::Timeout { .. })), "{late:?}");
    go.send(()).expect("waits");
    eventually("nothing is begun any more", patience(), || {
        children(&yard, "/a/queue/taken").is_empty()
            && children(&yard, "/a/queue/entries").contains(&"entry-007-0000000006".into())
    });
    assert_eq!(blocker.len().expect("answered"), 3);
    let (consumer, heard, complaints) = start(&queue, ErrorMode::Delete);
    assert_eq!([next(&heard), next(&heard), next(&heard)], ["panic", "bad", "last"]);
    await_children(&yard, "/a/queue/entries", 0);
    consumer.close().expect("done");
    assert_eq!(complaints.try_iter().count(), 2);
}

/// And what is begun is done.
#[test]
fn close_waits_for_the_item_in_work_and_lets_the_others_go() {
    let yard = Yard::new();
    let client = yard.client();
    let queue = locking(&client);
    queue.put_all(["1", "2", "3"], 100).expect("put");
    let (tell, heard) = channel();
    let (go, gone) = channel::<()>();
    let consumer = queue.consumer(move |item: &HeldItem| {
        tell.send(text(item.data()))?;
        gone.recv()?;
        Ok::<_, Refusal>(())
    });
    let consumer = consumer.batch(3).start().expect("a thread");
    assert_eq!(next(&heard), "1");
    assert_eq!(children(&yard, "/a/queue/taken").len(), 3, "a batch");
    let closing = thread::spawn(move || consumer.close_timeout(patience()));
    thread::sleep(ms(50));
    assert!(!closing.is_finished());
    go.send(()).expect("waits");
    closing.join().expect("no panic").expect("done");
    await_children(&yard, "/a/queue/taken", 0);
    assert_eq!(children(&yard, "/a/queue/entries").len(), 2);
    assert!(heard.try_recv().is_err());
    // Closed within its own handler it does not wait for itself.
    let own: Arc<Mutex<Option<Consumer>>> = Arc::default();
    let (tell, heard) = channel();
    let handle = own.clone();
    let consumer = queue.consumer(move |item: &HeldItem| {
        let consumer = loop {
            if let Some(consumer) = handle.lock().expect("no panic").take() {
                break consumer;
            }
        };
        tell.send((text(item.data()), consumer.close()))?;
        Ok::<_, Refusal>(())
    });
    *own.lock().expect("no panic") = Some(consumer.start().expect("a thread"));
    let (item, closed) = heard.recv_timeout(patience()).expect("in time");
    assert_eq!(item, "2");
    closed.expect("does not wait");
    await_children(&yard, "/a/queue/entries", 1);
    eventually("b9: no watch left", patience(), || client.watch_count() == 0);
    // A drop is a close without a word.
    let (consumer, heard, _complaints) = start(&queue, ErrorMode::Delete);
    assert_eq!(next(&heard), "3");
    drop(consumer);
    await_children(&yard, "/a/queue/entries", 0);
    queue.put("4").expect("put");
    eventually("b9: no watch left", patience(), || client.watch_count() == 0);
    assert!(heard.recv_timeout(ms(50)).is_err());
}

#[test]
fn consumer_goes_on_in_the_next_session_and_tells_of_an_item_that_it_lost() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    let queue = locking(&client);
    let (tell, heard) = channel();
    let (go, gone) = channel::<()>();
    let (complain, complaints) = channel();
    let consumer = queue.consumer(move |item: &HeldItem| {
        tell.send(text(item.data()))?;
        gone.recv()?;
        Ok::<_, Refusal>(())
    });
    let consumer = consumer.on_error(listener(complain)).start().expect("a thread");
    let other = locking(&yard.client());
    other.put("1").expect("put");
    assert_eq!(next(&heard), "1");
    expire(&proxy, yard.chroot.server(), &session);
    eventually("in the next session", patience(), || client.session_id() != session.id());
    go.send(()).expect("waits");
    let told = next(&complaints);
    assert!(told.contains("session expired") && told.contains("/a/queue/entries/"), "{told}");
    assert_eq!(next(&heard), "1", "again");
    go.send(()).expect("waits");
    await_children(&yard, "/a/queue/entries", 0);
    // And while it only waits.
    eventually("it waits", patience(), || client.watch_count() == 2);
    let again = client.session_id();
    proxy.cut();
    other.put("2").expect("put");
    assert_eq!(next(&heard), "2");
    go.send(()).expect("waits");
    await_children(&yard, "/a/queue/entries", 0);
    assert_eq!(client.session_id(), again);
    consumer.close().expect("done");
}

#[test]
fn e11_lost_answers_do_not_have_an_item_worked_on_twice() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).connect().expect("serves");
    let queue = locking(&client);
    // The directory of the holds is there: else what is lost is a refusal.
    queue.put("0").expect("put");
    queue.get().expect("there").consume().expect("held");
    for lost in [op::GET_DATA, op::GET_CHILDREN, op::MULTI] {
        locking(&yard.client()).put_all(["1", "2"], 100).expect("put");
        proxy.drop_reply_to(lost);
        let (consumer, heard, complaints) = start(&queue, ErrorMode::Requeue);
        assert_eq!([next(&heard), next(&heard)], ["1", "2"]);
        await_children(&yard, "/a/queue/entries", 0);
        consumer.close().expect("done");
        assert!(heard.try_recv().is_err() && complaints.try_recv().is_err());
    }
    // The answer to the transaction that takes the item out.
    let (tell, heard) = channel();
    let consumer = queue.consumer(move |item: &HeldItem| {
        proxy.drop_reply_to(op::MULTI);
        tell.send(text(item.data()))
    });
    let consumer = consumer.start().expect("a thread");
    locking(&yard.client()).put("3").expect("put");
    assert_eq!(next(&heard), "3");
    await_children(&yard, "/a/queue/entries", 0);
    consumer.close().expect("done");
    assert!(heard.try_recv().is_err());
}

#[test]
fn consumer_of_a_queue_without_holds_works_on_each_item_once_at_most() {
    let yard = Yard::new();
    let client = yard.client();
    let queue = queue(&client);
    queue.put_all(["1", "bad", "panic", "2"], 100).expect("put");
    let (tell, heard) = channel();
    let (complain, complaints) = channel();
    let mut work = teller(tell);
    let consumer = queue.consumer(move |item| work(&item.data));
    let consumer = consumer.on_error(listener(complain)).start().expect("a thread");
    let all: Vec<_> = (0..4).map(|_| next(&heard)).collect();
    assert_eq!(all, ["1", "bad", "panic", "2"]);
    assert_eq!(next(&complaints), "entry-100-0000000001: bad");
    assert_eq!(next(&complaints), "entry-100-0000000002: the handler panicked");
    assert!(queue.is_empty().expect("answered"));
    consumer.close().expect("done");
    eventually("b9: no watch left", patience(), || client.watch_count() == 0);
    // What was taken out together is worked on, all of it: else it would be lost.
    queue.put_all(["a", "b", "c", "d"], 100).expect("put");
    let (tell, heard) = channel();
    let (go, gone) = channel::<()>();
    let consumer = queue.consumer(move |item| {
        gone.recv()?;
        tell.send(text(&item.data))?;
        Ok::<_, Refusal>(())
    });
    let consumer = consumer.batch(3).start().expect("a thread");
    await_children(&yard, "/a/queue", 1);
    let closing = thread::spawn(move || consumer.close_timeout(patience()));
    for wanted in ["a", "b", "c"] {
        go.send(()).expect("waits");
        assert_eq!(next(&heard), wanted);
    }
    closing.join().expect("no panic").expect("done");
    assert!(heard.try_recv().is_err());
    assert_eq!(queue.len().expect("answered"), 1);
}

#[test]
fn consumers_of_all_sorts_of_queues_have_their_items() {
    let yard = Yard::new();
    let client = yard.client();
    let (tell, heard) = channel();
    let due = SystemTime::now() + scaled(ms(200));
    let delay = DelayQueue::new(&client, "/delay").expect("legal");
    let told = tell.clone();
    let first = delay.consumer(move |item| {
        assert!(item.due <= SystemTime::now(), "before its time");
        told.send(text(&item.data))
    });
    let first = first.start().expect("a thread");
    delay.put_at("delay", due).expect("put");
    assert_eq!(next(&heard), "delay");
    let ids = IdQueue::new(&client, "/ids").expect("legal");
    let told = tell.clone();
    let second = ids.consumer(move |item| told.send(item.id.clone())).start().expect("a thread");
    ids.put("x", "an id").expect("put");
    assert_eq!(next(&heard), "an id");
    let delay = LockingDelayQueue::new(&client, "/held/delay", "/locks/delay").expect("legal");
    let told = tell.clone();
    let third = delay.consumer(move |item| {
        assert!(item.due() <= Some(SystemTime::now()), "before its time");
        told.send(text(item.data()))
    });
    let third = third.start().expect("a thread");
    delay.put("held delay", scaled(ms(200))).expect("put");
    assert_eq!(next(&heard), "held delay");
    // Curator `testRequeue`: the id stays.
    let ids = LockingIdQueue::new(&client, "/held/ids", "/locks/ids").expect("legal");
    let mut count = 0;
    let fourth = ids.consumer(move |item| {
        tell.send(item.id().expect("has one").to_owned())?;
        count += 1;
        if count == 1 { Err(Refusal::from("the first time")) } else { Ok(()) }
    });
    let fourth = fourth.on_error(|_| {}).start().expect("a thread");
    ids.put("x", "a/b").expect("put");
    assert_eq!([next(&heard), next(&heard)], ["a_b", "a_b"]);
    for path in ["/delay", "/ids", "/held/delay", "/held/ids"] {
        await_children(&yard, path, 0);
    }
    for consumer in [first, second, third, fourth] {
        consumer.close().expect("done");
    }
    eventually("b9: no watch left", patience(), || client.watch_count() == 0);
}

#[test]
fn what_cannot_be_had_is_told_and_tried_again_until_the_client_is_closed() {
    let yard = Yard::new();
    let client = yard.client();
    client.ensure_path("/a/queue").expect("made");
    let bad = client.create("/a/queue/queue-", "not packed", CreateMode::PersistentSequential);
    let bad = bad.expect("new");
    let queue = LockingQueue::curator(&client, "/a/queue", "/a/locks").expect("legal");
    queue.put("good").expect("put");
    let (consumer, heard, complaints) = start(&queue, ErrorMode::Requeue);
    for _ in 0..2 {
        let told = next(&complaints);
        assert!(told.contains(&bad), "{told}");
    }
    client.delete(&bad, Version::Any).expect("there");
    assert_eq!(next(&heard), "good");
    await_children(&yard, "/a/queue", 0);
    // A close ends the pause after an error.
    client.create("/a/queue/queue-", "not packed", CreateMode::PersistentSequential).expect("new");
    while complaints.try_recv().is_ok() {}
    next(&complaints);
    consumer.close_timeout(patience()).expect("ended");
    let (consumer, _heard, complaints) = start(&locking(&client), ErrorMode::Requeue);
    client.close().expect("answered");
    eventually("it ends with the client", patience(), || !consumer.is_running());
    assert!(next(&complaints).contains("closed"));
    let closed = consumer.close();
    assert!(matches!(closed, Err(Error::Closed { .. })), "{closed:?}");
}

/// Curator `testNoDuplicateProcessing`.
#[test]
fn consumers_share_the_items_of_a_queue() {
    const ITEMS: usize = 120;
    let yard = Yard::new();
    let (tell, heard) = channel();
    let consumers: Vec<_> = (0..4)
        .map(|number| {
            let tell = tell.clone();
            let queue = locking(&yard.client());
            let consumer = queue.consumer(move |item| tell.send((number, text(item.data()))));
            consumer.batch(1 + number).start().expect("a thread")
        })
        .collect();
    let queue = locking(&yard.client());
    for first in (0..ITEMS).step_by(20) {
        queue.put_all((first..first + 20).map(|n| n.to_string()), 100).expect("put");
    }
    let mut had: Vec<_> =
        (0..ITEMS).map(|_| heard.recv_timeout(patience()).expect("in time")).collect();
    await_children(&yard, "/a/queue/entries", 0);
    for consumer in consumers {
        consumer.close().expect("done");
    }
    assert!(heard.try_recv().is_err(), "none twice");
    let shares: Vec<_> =
        (0..4).map(|number| had.iter().filter(|(who, _)| *who == number).count()).collect();
    figure("consumers: of 120 items each of 4 had", shares);
    had.sort_by_key(|(_, item)| item.parse::<usize>().expect("a number"));
    assert!(had.iter().map(|(_, item)| item.clone()).eq((0..ITEMS).map(|n| n.to_string())));
}

#[test]
fn consumer_costs_four_round_trips_an_item_that_is_held_and_none_while_it_waits() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).connect().expect("serves");
    let queue = locking(&client);
    queue.put("0").expect("put");
    let (consumer, heard, _complaints) = start(&queue, ErrorMode::Requeue);
    assert_eq!(next(&heard), "0");
    await_children(&yard, "/a/queue/entries", 0);
    eventually("it waits", patience(), || client.watch_count() == 2);
    proxy.reset_counts();
    thread::sleep(ms(300));
    assert_eq!(proxy.counts().to_server.requests(), 0);
    locking(&yard.client()).put_all(["x"; 20], 100).expect("put");
    for _ in 0..20 {
        next(&heard);
    }
    await_children(&yard, "/a/queue/entries", 0);
    eventually("it waits", patience(), || client.watch_count() == 2);
    let requests = proxy.counts().to_server.requests();
    figure("consumer: requests for 20 items", requests);
    // Two lists, a read, a hold, a consumption; and about the wait two lists, twice, and a watch
    // that is taken back.
    assert!(requests <= 20 * 5 + 10, "{requests}");
    consumer.close().expect("done");
}

/// Whoever was not told that an item is to come again has not had it twice.
#[test]
fn e11_all_items_are_worked_on_under_cuts() {
    const ITEMS: usize = 60;
    let yard = Yard::new();
    let proxy = yard.proxy();
    let (tell, heard) = channel();
    let (complain, complaints) = channel();
    let consumers: Vec<_> = [1, 4]
        .into_iter()
        .map(|batch| {
            let queue = locking(&yard.through(&proxy).connect().expect("serves"));
            let (tell, complain) = (tell.clone(), complain.clone());
            let consumer = queue.consumer(move |item| {
                // Long enough for a cut now and then.
                thread::sleep(ms(5));
                tell.send(text(item.data()))
            });
            let consumer = consumer.batch(batch).on_error(listener(complain));
            consumer.start().expect("a thread")
        })
        .collect();
    let queue = locking(&yard.client());
    queue.put_all((0..ITEMS).map(|n| n.to_string()), 100).expect("put");
    eventually("all are consumed", patience() * 6, || {
        proxy.cut();
        thread::sleep(ms(40));
        queue.is_empty().expect("answered")
    });
    for consumer in consumers {
        consumer.close_timeout(patience()).expect("done");
    }
    let (had, told) = (heard.try_iter().collect::<Vec<_>>(), complaints.try_iter().count());
    let unique: std::collections::HashSet<_> = had.iter().collect();
    figure("e11, consumers: had, told of", (had.len(), told));
    assert_eq!(unique.len(), ITEMS);
    assert!(had.len() <= ITEMS + told, "twice: {had:?}");
    await_children(&yard, "/a/queue/taken", 0);
}

// ---- an item that is put to the end ----

#[test]
fn item_is_put_to_the_end_once_whatever_answers_are_lost() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).connect().expect("serves");
    let queue = locking(&client);
    queue.put_priority("x", 7).expect("put");
    queue.get().expect("there").requeue().expect("held");
    assert_eq!(children(&yard, "/a/queue/entries"), ["entry-007-0000000001"]);
    for lost in [true, false] {
        let held = queue.get().expect("there");
        if lost {
            proxy.drop_reply_to(op::MULTI)
        } else {
            proxy.drop_request(op::MULTI)
        }
        held.requeue().expect("held, and known to be done");
        assert_eq!(children(&yard, "/a/queue/entries").len(), 1);
        assert_eq!(children(&yard, "/a/queue/taken").len(), 0);
    }
    assert_eq!(children(&yard, "/a/queue/entries"), ["entry-007-0000000003"]);
    let held = queue.get().expect("there");
    assert_eq!((text(held.data()), held.priority()), ("x".into(), 7));
    client.delete("/a/queue/taken/entry-007-0000000003", Version::Any).expect("there");
    let late = held.requeue();
    assert!(matches!(late, Err(Error::Recipe { why: RecipeError::NotHeld, .. })), "{late:?}");
    assert_eq!(children(&yard, "/a/queue/entries"), ["entry-007-0000000003"]);
    // Nor is what is said of a transaction with more another.
    let more = Transaction::new().delete("/none", Version::Any);
    let refused = queue.get().expect("there").consume_with(more).expect_err("none");
    assert_eq!(refused.applied(), Applied::No);
}

#[test]
fn item_is_put_to_the_end_of_each_sort_of_queue_under_a_name_of_its_own() {
    let yard = Yard::new();
    let client = yard.client();
    let plain = LockingQueue::curator(&client, "/a/queue", "/a/locks").expect("legal");
    for (priority, name) in [
        (None, "queue-0000000001"),
        (Some(-1), "queue-0FFFFFFFF0000000003"),
        (Some(i32::MIN), "queue-0800000000000000005"),
    ] {
        plain.put_all(["x"], priority).expect("put");
        plain.get().expect("there").requeue().expect("held");
        assert_eq!(children(&yard, "/a/queue"), [name]);
        plain.get().expect("there").consume().expect("held");
    }
    // One of several that Curator put into one node: the rest stays where it is.
    let packed = b"\0\x01\0\x01\x01\0\0\0\x01a\x01\0\0\0\x01b\x02";
    client.create("/a/queue/queue-", packed, CreateMode::PersistentSequential).expect("new");
    plain.get().expect("there").requeue().expect("held");
    assert_eq!(children(&yard, "/a/queue"), ["queue-0000000006", "queue-0000000007"]);
    let next = || {
        let held = plain.get().expect("there");
        let data = text(held.data());
        held.consume().expect("held");
        data
    };
    assert_eq!([next(), next()], ["b", "a"]);
    let curator = Queue::new(&client, "/a/queue").expect("legal").name_style(NameStyle::Curator);
    assert!(curator.is_empty().expect("answered"));
    let delay = LockingDelayQueue::new(&client, "/delay", "/locks").expect("legal");
    delay.put_at("x", SystemTime::UNIX_EPOCH + Duration::from_millis(9)).expect("put");
    delay.get().expect("due").requeue().expect("held");
    assert_eq!(children(&yard, "/delay"), ["queue-|00000009|0000000001"]);
    let ids = LockingIdQueue::new(&client, "/ids", "/locks").expect("legal");
    ids.put("x", "a/b").expect("put");
    ids.get().expect("there").requeue().expect("held");
    assert_eq!(children(&yard, "/ids"), ["queue-|a_b|0000000001"]);
}
