//! Queues that Curator 5.4 and ours put into and take out of.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use zookeeper_blocking::Client;
use zookeeper_blocking::recipes::{
    DelayQueue, IdQueue, LockingDelayQueue, LockingIdQueue, LockingQueue, NameStyle, Queue,
    QueueSharder,
};

use crate::clients::patience;
use crate::faults::figure;
use crate::interop::curator::Curator;
use crate::locks::{Yard, ms};
use crate::nodes::{await_children, children};
use crate::support::wait::{eventually, scaled};

fn curator(yard: &Yard) -> Curator {
    Curator::start(&yard.chroot.connect_string())
}

fn queue(client: &Client) -> Queue {
    Queue::new(client, "/a/queue").expect("legal").name_style(NameStyle::Curator)
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

/// What Curator's consumer is given next, in good time.
#[track_caller]
fn taken(java: &Curator, name: &str) -> String {
    java.ask(name, &["taken", &(patience() / 2).as_millis().to_string()])
}

fn epoch_ms(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).expect("after 1970").as_millis()
}

#[test]
fn simple_queue_is_shared_both_ways() {
    let yard = Yard::new();
    let java = curator(&yard);
    let ours = Queue::new(&yard.client(), "/a/queue").expect("legal").simple();
    java.make("q", "simple", &["/a/queue"]);
    for number in 0..3 {
        assert_eq!(java.ask("q", &["offer", &format!("java {number}")]), "true");
        assert_eq!(
            ours.put(format!("rust {number}")).expect("put"),
            format!("qn-000000000{}", 2 * number + 1)
        );
    }
    assert_eq!(java.ask("q", &["peek"]), "java 0");
    assert_eq!(take(&ours), "java 0");
    assert_eq!(java.ask("q", &["remove"]), "rust 0");
    assert_eq!(take(&ours), "java 1");
    assert_eq!(java.ask("q", &["poll", "0"]), "rust 1");
    assert_eq!(java.ask("q", &["take"]), "java 2");
    assert_eq!(take(&ours), "rust 2");
    // Each wakes the other.
    let asked = java.begin("q", &["take"]);
    thread::sleep(ms(50));
    assert!(asked.is_answered().is_none());
    ours.put("gr\u{fc}n").expect("put");
    assert_eq!(asked.answer(), "gr\u{fc}n");
    let waiting = thread::spawn(move || take(&ours));
    thread::sleep(ms(50));
    java.ask("q", &["offer", "blue"]);
    assert_eq!(waiting.join().expect("no panic"), "blue");
    assert_eq!(java.ask("q", &["remove"]), "NoSuchElementException");
}

#[test]
fn distributed_queue_is_shared_both_ways() {
    let yard = Yard::new();
    let java = curator(&yard);
    let ours = queue(&yard.client());
    java.make("put", "queue", &["/a/queue", "put"]);
    // Ours wait, and Curator's put.
    let own = ours.clone();
    let waiting = thread::spawn(move || take(&own));
    thread::sleep(ms(30));
    java.ask("put", &["put", "first"]);
    assert_eq!(waiting.join().expect("no panic"), "first");
    assert_eq!(ours.put("second").expect("put"), "queue-0000000001");
    java.ask("put", &["put", ""]);
    ours.put_all(["fourth", "fifth"], None).expect("put");
    assert_eq!([take(&ours), take(&ours), take(&ours)], ["second", "", "fourth"]);
    // Curator's consumer comes, and takes what is left and what is put then.
    java.make("take", "queue", &["/a/queue", "take"]);
    assert_eq!(taken(&java, "take"), "fifth");
    ours.put("sixth").expect("put");
    assert_eq!(taken(&java, "take"), "sixth");
    await_children(&yard, "/a/queue", 0);
    java.ask("take", &["close"]);
}

/// Curator `TestDistributedQueue.testPutMulti`.
#[test]
fn items_that_curator_put_at_once_are_taken_one_by_one() {
    let yard = Yard::new();
    let java = curator(&yard);
    let ours = queue(&yard.client());
    java.make("put", "queue", &["/a/queue", "put"]);
    java.ask("put", &["put_multi", "a,b,c,d,e"]);
    java.ask("put", &["put", "f"]);
    assert_eq!(ours.len().expect("answered"), 2, "two nodes");
    let first = ours.take().expect("there");
    assert_eq!((text(&first.data), &*first.name), ("a".into(), "queue-0000000000"));
    let some = ours.try_take_all(2).expect("answered");
    assert_eq!(some.iter().map(|item| text(&item.data)).collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!(ours.len().expect("answered"), 2, "the rest is in its old place");
    java.make("take", "queue", &["/a/queue", "take"]);
    assert_eq!([taken(&java, "take"), taken(&java, "take")], ["d", "e"]);
    assert_eq!(taken(&java, "take"), "f");
    java.ask("take", &["close"]);
    // All of a node and a part of the next, in one transaction.
    java.ask("put", &["put_multi", "g,h"]);
    java.ask("put", &["put_multi", "i,j"]);
    let some = ours.take_all(3).expect("answered");
    assert_eq!(some.iter().map(|item| text(&item.data)).collect::<Vec<_>>(), ["g", "h", "i"]);
    assert_eq!(take(&ours), "j");
    assert!(ours.is_empty().expect("answered"));
}

/// Curator `TestDistributedPriorityQueue.testSimple`.
#[test]
fn priorities_are_in_one_order_for_both() {
    let yard = Yard::new();
    let java = curator(&yard);
    let ours = queue(&yard.client());
    java.make("put", "priority", &["/a/queue", "put"]);
    let priorities = vec![7, -7, i32::MAX, 0, i32::MIN, -1, 100, 1 << 30, -(1 << 30), 99_999, 1];
    let put = || {
        for priority in &priorities {
            java.ask("put", &["put", &format!("java {priority}"), &priority.to_string()]);
            ours.put_priority(format!("rust {priority}"), *priority).expect("put");
        }
    };
    put();
    put();
    let order = |mut priorities: Vec<i32>| -> Vec<String> {
        priorities.sort_unstable();
        let each = |p| {
            [format!("java {p}"), format!("rust {p}"), format!("java {p}"), format!("rust {p}")]
        };
        priorities.into_iter().flat_map(each).collect()
    };
    let expected = order(priorities.clone());
    let half = expected.len() / 2;
    for wanted in &expected[..half] {
        let item = ours.take().expect("there");
        assert_eq!(text(&item.data), *wanted);
        assert!(wanted.ends_with(&format!(" {}", item.priority)), "{item:?}");
    }
    java.make("take", "priority", &["/a/queue", "take"]);
    for wanted in &expected[half..] {
        assert_eq!(taken(&java, "take"), *wanted);
    }
    java.ask("take", &["close"]);
}

#[test]
fn no_item_comes_before_its_time_on_either_side() {
    let yard = Yard::new();
    let java = curator(&yard);
    let ours = DelayQueue::new(&yard.client(), "/a/queue").expect("legal");
    java.make("put", "delay", &["/a/queue", "put"]);
    let soon = SystemTime::now() + scaled(ms(600));
    let later = soon + ms(100);
    let due = |time| epoch_ms(time).to_string();
    java.ask("put", &["put", "java's", &due(later)]);
    ours.put_at("ours", soon).expect("put");
    java.ask(
        "put",
        &["put_multi", "never,ever", &due(SystemTime::now() + Duration::from_secs(9_000))],
    );
    let names = children(&yard, "/a/queue");
    assert!(names.contains(&format!("queue-|{:08X}|0000000000", epoch_ms(later))), "{names:?}");
    assert_eq!(ours.try_take().expect("answered"), None);
    for (wanted, time) in [("ours", soon), ("java's", later)] {
        let item = ours.take().expect("in time");
        assert!(SystemTime::now() >= time, "before its time");
        assert_eq!(text(&item.data), wanted);
        assert!(epoch_ms(item.due) >= epoch_ms(time));
    }
    // Curator's consumer waits for what never comes, and hears of what ours put meanwhile.
    java.make("take", "delay", &["/a/queue", "take"]);
    let soon = SystemTime::now() + scaled(ms(500));
    ours.put_at("waited for", soon).expect("put");
    assert_eq!(taken(&java, "take"), "waited for");
    assert!(SystemTime::now() >= soon, "before its time");
    java.ask("take", &["close"]);
    // And so do ours.
    let waiting = thread::spawn(move || text(&ours.take().expect("an item").data));
    thread::sleep(ms(50));
    assert!(!waiting.is_finished());
    java.ask("put", &["put", "now", &due(SystemTime::now())]);
    assert_eq!(waiting.join().expect("no panic"), "now");
    assert_eq!(children(&yard, "/a/queue").len(), 1);
}

/// Curator `TestDistributedIdQueue.testOrdering`.
#[test]
fn items_with_ids_are_in_order_and_removed_by_either_side() {
    let yard = Yard::new();
    let java = curator(&yard);
    let ours = IdQueue::new(&yard.client(), "/a/queue").expect("legal");
    java.make("put", "id", &["/a/queue", "put"]);
    assert_eq!(ours.put("0", "order 1").expect("put"), "queue-|order 1|0000000000");
    java.ask("put", &["put", "1", "zebra"]);
    ours.put("2", "a/b|c").expect("put");
    java.ask("put", &["put", "3", "a/b|c"]);
    ours.put("4", "order 1").expect("put");
    java.ask("put", &["put", "5", "order 1"]);
    let names = children(&yard, "/a/queue");
    assert!(names.contains(&"queue-|a_b_c|0000000002".to_owned()), "{names:?}");
    assert!(names.contains(&"queue-|a_b_c|0000000003".to_owned()), "{names:?}");
    assert_eq!(java.ask("put", &["remove", "order 1"]), "3");
    assert!(!ours.contains("order 1").expect("answered"));
    assert_eq!(
        java.ask("put", &["remove", "a/b|c"]),
        "0",
        "Curator looks for what it never writes"
    );
    assert_eq!(ours.remove("a/b|c").expect("answered"), 2);
    assert_eq!(ours.remove("a/b|c").expect("answered"), 0);
    java.ask("put", &["put", "6", "again"]);
    ours.put("7", "aardvark").expect("put");
    java.ask("put", &["put", "8", "badger"]);
    let first = ours.take().expect("there");
    assert_eq!((text(&first.data), &*first.id), ("1".into(), "zebra"));
    assert_eq!(text(&ours.take().expect("there").data), "6");
    java.make("take", "id", &["/a/queue", "take"]);
    assert_eq!([taken(&java, "take"), taken(&java, "take")], ["7", "8"]);
    java.ask("take", &["close"]);
}

#[test]
fn each_item_is_taken_once_while_both_take() {
    let yard = Yard::new();
    let java = curator(&yard);
    let ours = queue(&yard.client());
    java.make("put", "queue", &["/a/queue", "put"]);
    for number in 0..20 {
        java.ask("put", &["put_multi", &format!("{number} a,{number} b,{number} c")]);
    }
    java.make("take", "queue", &["/a/queue", "take"]);
    let mut had = Vec::new();
    let mut count = 0;
    // What ours left of a node is not looked at by Curator's before the next change.
    while !ours.is_empty().expect("answered") {
        let some = ours.try_take_all(2).expect("answered");
        count += some.len();
        had.extend(some.into_iter().map(|item| text(&item.data)));
    }
    figure("interop: of 60 items ours took", count);
    while had.len() < 60 {
        let item = taken(&java, "take");
        assert_ne!(item, "null", "{} of 60", had.len());
        had.push(item);
    }
    assert_eq!(java.ask("take", &["taken", "100"]), "null");
    java.ask("take", &["close"]);
    had.sort();
    let mut wanted: Vec<_> =
        (0..20).flat_map(|n| ["a", "b", "c"].map(|part| format!("{n} {part}"))).collect();
    wanted.sort();
    assert_eq!(had, wanted);
}

/// Curator `TestBoundedDistributedQueue.testSimple`.
#[test]
fn each_waits_for_room_in_a_bounded_queue_and_is_woken_by_the_other() {
    let yard = Yard::new();
    let java = curator(&yard);
    let ours = queue(&yard.client()).max_items(2);
    java.make("put", "queue", &["/a/queue", "put", "", "2"]);
    assert_eq!(java.ask("put", &["put_timeout", "java 1", "1000"]), "true");
    ours.put("rust 1").expect("room");
    assert_eq!(ours.try_put("x").expect("answered"), None);
    // Curator looks at its own list, of a moment ago.
    let full = |java: &Curator| java.ask("put", &["put_timeout", "x", "50"]) == "false";
    eventually("Curator sees that it is full", patience(), || {
        full(&java) || {
            ours.take().expect("there");
            false
        }
    });
    assert_eq!(ours.len().expect("answered"), 2);
    // Ours make room for it.
    let asked = java.begin("put", &["put_timeout", "java 2", "30000"]);
    thread::sleep(ms(50));
    assert!(asked.is_answered().is_none());
    ours.take().expect("there");
    assert_eq!(asked.answer(), "true");
    // And its consumer makes room for ours.
    let waiting = thread::spawn(move || ours.put("rust 2").expect("room in time"));
    thread::sleep(ms(50));
    assert!(!waiting.is_finished());
    java.make("hold", "queue", &["/a/queue", "hold"]);
    taken(&java, "hold");
    waiting.join().expect("no panic");
    for _ in 0..3 {
        java.ask("hold", &["go"]);
    }
    await_children(&yard, "/a/queue", 0);
    java.ask("hold", &["close"]);
}

// ---- with a lockPath ----

#[test]
fn item_that_one_holds_is_passed_over_by_the_other() {
    let yard = Yard::new();
    let java = curator(&yard);
    let ours = locking(&yard.client());
    let first = {
        ours.put_all(["a", "b", "c", "d"], None).expect("put");
        ours.get().expect("there")
    };
    assert_eq!(text(first.data()), "a");
    assert_eq!(children(&yard, "/a/locks"), ["queue-0000000000"]);
    // Curator's cannot get hold of "a".
    java.make("hold", "queue", &["/a/queue", "hold", "/a/locks"]);
    assert_eq!(taken(&java, "hold"), "b");
    let third = ours.get().expect("there");
    assert_eq!(text(third.data()), "c");
    third.consume().expect("held");
    java.ask("hold", &["go"]);
    assert_eq!(taken(&java, "hold"), "d");
    // What fails there goes to the end of the queue, under a new name.
    java.ask("hold", &["fail"]);
    java.ask("hold", &["go"]);
    eventually("put again", patience(), || {
        children(&yard, "/a/queue") == ["queue-0000000000", "queue-0000000004"]
    });
    assert_eq!(taken(&java, "hold"), "d");
    java.ask("hold", &["go"]);
    await_children(&yard, "/a/queue", 1);
    // Given back by ours: Curator's sees it with the next change.
    first.release().expect("held");
    let held = ours.put("e").expect("put");
    assert_eq!(held, "queue-0000000005");
    assert_eq!(taken(&java, "hold"), "a");
    java.ask("hold", &["go"]);
    assert_eq!(taken(&java, "hold"), "e");
    java.ask("hold", &["go"]);
    await_children(&yard, "/a/queue", 0);
    await_children(&yard, "/a/locks", 0);
    java.ask("hold", &["close"]);
}

#[test]
fn items_that_curator_put_at_once_are_held_and_consumed_one_by_one() {
    let yard = Yard::new();
    let java = curator(&yard);
    let ours = locking(&yard.client());
    java.make("put", "queue", &["/a/queue", "put", "/a/locks"]);
    java.ask("put", &["put_multi", "a,b,c"]);
    let held = ours.get().expect("there");
    assert_eq!(text(held.data()), "a");
    assert!(ours.try_get().expect("answered").is_none(), "the node is held");
    held.release().expect("held");
    for wanted in ["a", "b"] {
        let held = ours.get().expect("there");
        assert_eq!(text(held.data()), wanted);
        held.consume().expect("held");
    }
    java.make("take", "queue", &["/a/queue", "take", "/a/locks"]);
    assert_eq!(taken(&java, "take"), "c");
    await_children(&yard, "/a/queue", 0);
    java.ask("take", &["close"]);
}

/// Curator `TestDistributedQueue.testSafetyWithCrash`.
#[test]
fn killed_consumer_of_curator_gives_its_item_back_to_ours() {
    let yard = Yard::new();
    let mut java = Curator::start_alone(&yard.chroot.connect_string());
    let ours = locking(&yard.client());
    ours.put("precious").expect("put");
    java.make("hold", "queue", &["/a/queue", "hold", "/a/locks"]);
    assert_eq!(taken(&java, "hold"), "precious");
    assert!(ours.try_get().expect("answered").is_none());
    let started = Instant::now();
    java.kill();
    let held = ours.get_timeout(patience()).expect("given back in time");
    figure("interop: from kill -9 of Curator's consumer to ours", started.elapsed());
    assert_eq!(text(held.data()), "precious");
    held.consume().expect("held");
    assert!(ours.is_empty().expect("answered"));
}

#[test]
fn item_of_a_delay_queue_that_one_holds_is_passed_over_by_the_other() {
    let yard = Yard::new();
    let java = curator(&yard);
    let ours = LockingDelayQueue::new(&yard.client(), "/a/queue", "/a/locks").expect("legal");
    ours.put_all(["a", "b"], Duration::ZERO).expect("put");
    let first = ours.get().expect("due");
    assert_eq!(text(first.data()), "a");
    java.make("hold", "delay", &["/a/queue", "hold", "/a/locks"]);
    assert_eq!(taken(&java, "hold"), "b");
    assert!(ours.try_get().expect("answered").is_none());
    // What fails there goes to the end, without its time: due at once, for ours as well.
    java.ask("hold", &["fail"]);
    java.ask("hold", &["go"]);
    assert_eq!(taken(&java, "hold"), "b");
    assert!(children(&yard, "/a/queue").contains(&"queue-0000000002".into()));
    assert_eq!(ours.first_due().expect("answered"), Some(UNIX_EPOCH));
    java.ask("hold", &["go"]);
    await_children(&yard, "/a/queue", 1);
    // Given back by ours: Curator's sees it with the next change, in its old place.
    first.requeue().expect("held");
    assert_eq!(taken(&java, "hold"), "a");
    java.ask("hold", &["go"]);
    await_children(&yard, "/a/queue", 0);
    await_children(&yard, "/a/locks", 0);
    let soon = SystemTime::now() + scaled(ms(300));
    java.ask("hold", &["put", "java's", &epoch_ms(soon).to_string()]);
    assert_eq!(taken(&java, "hold"), "java's");
    assert!(SystemTime::now() >= soon, "before its time");
    java.ask("hold", &["go"]);
    java.ask("hold", &["close"]);
}

/// Curator `TestDistributedIdQueue.testDeletingWithLock`.
#[test]
fn item_with_an_id_that_one_holds_is_not_removed_by_the_other() {
    let yard = Yard::new();
    let java = curator(&yard);
    let ours = LockingIdQueue::new(&yard.client(), "/a/queue", "/a/locks").expect("legal");
    ours.put_all([("0", "x"), ("1", "x")]).expect("put");
    let first = ours.get().expect("there");
    java.make("put", "id", &["/a/queue", "put", "/a/locks"]);
    assert_eq!(java.ask("put", &["remove", "x"]), "1", "not the one that ours hold");
    first.requeue().expect("held");
    java.make("hold", "id", &["/a/queue", "hold", "/a/locks"]);
    assert_eq!(taken(&java, "hold"), "0");
    assert_eq!(children(&yard, "/a/locks"), ["queue-|x|0000000002"]);
    assert_eq!(ours.remove("x").expect("answered"), 0, "nor the one that Curator holds");
    java.ask("hold", &["go"]);
    await_children(&yard, "/a/queue", 0);
    await_children(&yard, "/a/locks", 0);
    ours.put("2", "y").expect("put");
    assert_eq!(taken(&java, "hold"), "2");
    java.ask("hold", &["go"]);
    java.ask("hold", &["close"]);
}

/// Curator `TestDistributedQueue.testErrorMode`.
#[test]
fn consumers_of_both_share_a_queue_and_have_what_the_other_failed_with() {
    let yard = Yard::new();
    let java = curator(&yard);
    let ours = locking(&yard.client());
    java.make("put", "queue", &["/a/queue", "put", "/a/locks"]);
    java.ask("put", &["put", "good"]);
    java.ask("put", &["put", "bad"]);
    let (tell, heard) = std::sync::mpsc::channel();
    let consumer = ours.consumer(move |item| {
        tell.send(text(item.data())).expect("the test lives");
        if item.data() == b"bad" { Err("on purpose") } else { Ok(()) }
    });
    let (complain, complaints) = std::sync::mpsc::channel();
    let consumer = consumer.on_error(move |error| {
        // It hears the same again and again, and the test only once.
        let _ = complain.send(error.to_string());
    });
    let consumer = consumer.start().expect("a thread");
    for wanted in ["good", "bad"] {
        assert_eq!(heard.recv_timeout(patience()).expect("in time"), wanted);
    }
    let told = complaints.recv_timeout(patience()).expect("in time");
    assert!(told.contains("/a/queue/queue-0000000001") && told.contains("on purpose"), "{told}");
    consumer.close().expect("done");
    let names = children(&yard, "/a/queue");
    assert!(names.len() == 1 && *names[0] > *"queue-0000000001", "{names:?}");
    java.make("hold", "queue", &["/a/queue", "hold", "/a/locks"]);
    assert_eq!(taken(&java, "hold"), "bad");
    java.ask("hold", &["go"]);
    await_children(&yard, "/a/queue", 0);
    java.ask("hold", &["close"]);
}

// ---- shards ----

/// Curator `TestQueueSharder.testDistribution`, `testSharderWatchSync`.
#[test]
fn shards_are_known_to_both_and_added_by_whoever_leads() {
    let yard = Yard::new();
    let java = curator(&yard);
    java.make("theirs", "sharder", &["/a/queue", "/a/leader", "5"]);
    assert_eq!(java.ask("theirs", &["count"]), "1");
    await_children(&yard, "/a/leader", 1);
    let client = yard.client();
    let sharder = QueueSharder::new(&client, "/a/queue", "/a/leader").expect("legal");
    let ours = sharder.threshold(5).look_every(ms(20)).max_shards(100);
    let ours =
        ours.start(move |path| Ok(Queue::new(&client, path)?.name_style(NameStyle::Curator)));
    let ours = ours.expect("answered");
    let same = |name: &str| {
        eventually("both know the same shards", patience(), || {
            java.ask(name, &["paths"]) == ours.paths().join(",")
        });
    };
    same("theirs");
    // Curator's leads, and adds while one is long.
    let long = ours.pick();
    for number in 0..5 {
        long.put(number.to_string()).expect("put");
    }
    eventually("Curator added one", patience(), || ours.count() > 1);
    assert!(!ours.is_leader());
    assert_eq!(long.take_all(5).expect("there").len(), 5);
    same("theirs");
    // What Curator puts, wherever, ours have.
    for number in 0..8 {
        java.ask("theirs", &["put", &number.to_string()]);
    }
    let all = ours.all();
    let had = all.iter().flat_map(|shard| shard.try_take_all(9).expect("answered"));
    let mut had: Vec<_> = had.map(|item| text(&item.data)).collect();
    had.sort();
    assert!(had.iter().cloned().eq((0..8).map(|number| number.to_string())), "{had:?}");
    // And when it is closed ours lead.
    java.ask("theirs", &["close"]);
    eventually("ours lead", patience(), || ours.is_leader());
    java.make("more", "sharder", &["/a/queue", "/a/leader", "5"]);
    let before = ours.count();
    long.put_all(["x"; 5], None).expect("put");
    eventually("ours added one", patience(), || ours.count() > before);
    long.take_all(5).expect("there");
    same("more");
    java.ask("more", &["close"]);
    ours.close().expect("done");
}
