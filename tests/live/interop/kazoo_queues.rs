//! Queues that Kazoo 2.11 and ours put into and take out of.

use std::thread;
use std::time::Instant;

use zookeeper_blocking::recipes::{HeldItem, LockingQueue, Queue};
use zookeeper_blocking::{Client, Error, RecipeError};

use crate::clients::patience;
use crate::faults::figure;
use crate::interop::kazoo::Kazoo;
use crate::interop::victim::{Victim, play};
use crate::locks::{Yard, assert_recipe, ms};
use crate::nodes::{await_children, children, whole};
use crate::support::wait::eventually;

fn kazoo(yard: &Yard) -> Kazoo {
    Kazoo::start(&yard.chroot.connect_string())
}

fn queue(client: &Client) -> Queue {
    Queue::new(client, "/queue").expect("legal")
}

fn locking(client: &Client) -> LockingQueue {
    LockingQueue::new(client, "/queue").expect("legal")
}

fn text(data: &[u8]) -> String {
    String::from_utf8(data.to_vec()).expect("text")
}

fn take(queue: &Queue) -> String {
    text(&queue.take().expect("an item").data)
}

fn get(queue: &LockingQueue) -> HeldItem {
    queue.get().expect("an item")
}

/// What is wanted of the one who works on an item: each once, in the order of the names.
fn sorted(items: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut items: Vec<_> = items.into_iter().filter(|item| !item.is_empty()).collect();
    items.sort_unstable();
    items
}

fn numbered(who: &str, count: usize) -> impl Iterator<Item = String> + '_ {
    (0..count).map(move |number| format!("{who} {number:02}"))
}

/// Puts from both sides, in turn; gives the items in the order in which they are to be served.
fn put_all_sorts(python: &Kazoo, name: &str, put: impl Fn(&str, i32)) -> Vec<String> {
    let mut items = Vec::new();
    for (number, priority) in [100, 999, 0, 100, 0, 999, 7, 100].into_iter().enumerate() {
        let theirs = format!("python {number}");
        assert_eq!(python.ask(&["put", name, &theirs, &priority.to_string()]), "None");
        let ours = format!("rust {number}");
        put(&ours, priority);
        items.extend([(priority, theirs), (priority, ours)]);
    }
    // Stable: within a priority, in the order in which they were put.
    items.sort_by_key(|(priority, _)| *priority);
    items.into_iter().map(|(_, item)| item).collect()
}

#[test]
fn items_of_both_come_by_priority_then_in_the_order_of_putting() {
    let yard = Yard::new();
    let python = kazoo(&yard);
    let ours = queue(&yard.client());
    python.make("q", "queue", &["/queue"]);
    assert_eq!(python.ask(&["get", "q"]), "None");
    let put = |item: &str, priority| {
        ours.put_priority(item, priority).expect("put");
    };
    let expected = put_all_sorts(&python, "q", put);
    assert_eq!(ours.len().expect("answered"), expected.len());
    assert_eq!(python.ask(&["len", "q"]), expected.len().to_string());
    // In turn, which Kazoo's list of old times has to stand.
    for pair in expected.chunks(2) {
        assert_eq!(take(&ours), pair[0]);
        assert_eq!(python.ask(&["get", "q"]), pair[1]);
    }
    assert_eq!(python.ask(&["get", "q"]), "None");
    assert!(ours.try_take().expect("answered").is_none());
    // Several put at once are in Kazoo's order too.
    ours.put_all(["one", "two", "three"], 5).expect("put");
    assert_eq!(python.ask(&["put", "q", "four", "5"]), "None");
    assert_eq!(python.ask(&["drain", "q"]), "one,two,three,four");
}

#[test]
fn item_that_kazoo_puts_wakes_ours() {
    let yard = Yard::new();
    let python = kazoo(&yard);
    let ours = queue(&yard.client());
    python.make("q", "queue", &["/queue"]);
    let waiting = thread::spawn(move || take(&ours));
    eventually("its node is there", patience(), || {
        let mut raw = yard.raw();
        let there = raw.exists(&whole(&yard, "/queue")).is_ok();
        raw.close();
        there
    });
    assert!(!waiting.is_finished());
    assert_eq!(python.ask(&["put", "q", "gr\u{fc}n", "100"]), "None");
    assert_eq!(waiting.join().expect("no panic"), "gr\u{fc}n");
    assert_eq!(children(&yard, "/queue"), <[String; 0]>::default());
}

#[test]
fn each_item_is_taken_once_while_both_take() {
    let yard = Yard::new();
    let python = kazoo(&yard);
    let ours = queue(&yard.client());
    ours.put_all(numbered("rust", 60), 100).expect("put");
    python.make("q", "queue", &["/queue"]);
    let asked = python.begin(&["drain", "q"]);
    let mut taken = Vec::new();
    while let Some(item) = ours.try_take().expect("answered") {
        taken.push(text(&item.data));
    }
    let theirs = asked.answer();
    figure("interop: of 60 items ours took", taken.len());
    let all = taken.into_iter().chain(theirs.split(',').map(str::to_owned));
    assert_eq!(sorted(all), numbered("rust", 60).collect::<Vec<_>>());
}

// ---- LockingQueue ----

#[test]
fn item_that_one_holds_is_passed_over_by_the_other() {
    let yard = Yard::new();
    let python = kazoo(&yard);
    let ours = locking(&yard.client());
    for name in ["a", "b"] {
        python.make(name, "locking", &["/queue"]);
    }
    assert_eq!(python.ask(&["get", "a", "0.05"]), "None");
    let put = |item: &str, priority| {
        ours.put_priority(item, priority).expect("put");
    };
    let expected = put_all_sorts(&python, "a", put);
    let first = get(&ours);
    assert_eq!(text(first.data()), expected[0]);
    assert_eq!(python.ask(&["get", "a", "10"]), expected[1]);
    let third = get(&ours);
    assert_eq!((text(third.data()), third.priority()), (expected[2].clone(), 0));
    assert_eq!(python.ask(&["get", "b", "10"]), expected[3]);
    // Held items are in the queue for both.
    assert_eq!(ours.len().expect("answered"), expected.len());
    assert_eq!(python.ask(&["len", "a"]), expected.len().to_string());
    // What is let go comes back, to whoever asks first, in its old place.
    first.release().expect("held");
    assert_eq!(python.ask(&["release", "a"]), "True");
    assert_eq!(python.ask(&["get", "a", "10"]), expected[0]);
    let second = get(&ours);
    assert_eq!(text(second.data()), expected[1]);
    // What is consumed does not.
    assert_eq!(python.ask(&["consume", "a"]), "True");
    assert_eq!(python.ask(&["consume", "b"]), "True");
    second.consume().expect("held");
    third.consume().expect("held");
    assert_eq!(ours.len().expect("answered"), expected.len() - 4);
    assert_eq!(python.ask(&["get", "a", "10"]), expected[4]);
    assert_eq!(python.ask(&["holds", "a"]), "True");
    assert_eq!(text(get(&ours).data()), expected[5]);
}

#[test]
fn item_that_is_put_or_let_go_wakes_whoever_waits() {
    let yard = Yard::new();
    let python = kazoo(&yard);
    let client = yard.client();
    let ours = locking(&client);
    for name in ["a", "b"] {
        python.make(name, "locking", &["/queue"]);
    }
    // Put by ours.
    let asked = python.begin(&["get", "a", "60"]);
    await_children(&yard, "/queue", 2);
    ours.put("first").expect("put");
    assert_eq!(asked.answer(), "first");
    // Let go by Kazoo.
    let own = ours.clone();
    let waiting = thread::spawn(move || get(&own));
    thread::sleep(ms(50));
    assert!(!waiting.is_finished(), "it is held");
    assert_eq!(python.ask(&["release", "a"]), "True");
    let held = waiting.join().expect("no panic");
    assert_eq!(text(held.data()), "first");
    // Let go by ours.
    let asked = python.begin(&["get", "b", "60"]);
    thread::sleep(ms(50));
    assert!(asked.is_answered().is_none(), "it is held");
    held.release().expect("held");
    assert_eq!(asked.answer(), "first");
    // Put by Kazoo.
    let waiting = thread::spawn(move || get(&ours));
    thread::sleep(ms(50));
    assert_eq!(python.ask(&["put", "a", "second", "100"]), "None");
    assert_eq!(text(waiting.join().expect("no panic").data()), "second");
}

#[test]
fn hold_that_somebody_deleted_is_lost_for_its_holder_and_the_item_for_nobody() {
    let yard = Yard::new();
    let python = kazoo(&yard);
    let ours = locking(&yard.client());
    for name in ["a", "b"] {
        python.make(name, "locking", &["/queue"]);
    }
    ours.put("item").expect("put");
    let delete_hold = || {
        let mut raw = yard.raw();
        let holds = children(&yard, "/queue/taken");
        raw.delete(&whole(&yard, &format!("/queue/taken/{}", holds[0])), -1).expect("there");
        raw.close();
    };
    let held = get(&ours);
    delete_hold();
    assert_recipe(held.consume(), RecipeError::NotHeld, Instant::now(), ms(1_000));
    assert_eq!(python.ask(&["get", "a", "10"]), "item");
    assert_eq!(python.ask(&["holds", "a"]), "True");
    delete_hold();
    assert_eq!(python.ask(&["consume", "a"]), "NoNodeError");
    // Nor can ours consume what Kazoo holds now.
    for act in [HeldItem::consume, HeldItem::release] {
        let late = get(&ours);
        delete_hold();
        assert_eq!(python.ask(&["get", "b", "10"]), "item");
        assert_recipe(act(late), RecipeError::NotHeld, Instant::now(), ms(1_000));
        assert_eq!(python.ask(&["holds", "b"]), "True");
        assert_eq!(python.ask(&["release", "b"]), "True");
    }
    let held = get(&ours);
    // Kazoo finds another's mark.
    assert_eq!(python.ask(&["holds", "a"]), "False");
    assert_eq!(python.ask(&["consume", "a"]), "False");
    held.consume().expect("held");
    assert!(ours.is_empty().expect("answered"));
}

#[test]
fn killed_consumer_of_kazoo_gives_its_item_back_to_ours() {
    let yard = Yard::new();
    let mut python = kazoo(&yard);
    let ours = locking(&yard.client());
    ours.put("item").expect("put");
    python.make("a", "locking", &["/queue"]);
    assert_eq!(python.ask(&["get", "a", "10"]), "item");
    assert!(ours.try_get().expect("answered").is_none());
    assert!(matches!(ours.get_timeout(ms(50)), Err(Error::Timeout { .. })));
    let started = Instant::now();
    python.kill();
    let held = ours.get_timeout(patience()).expect("given back in time");
    figure("interop: from kill -9 of Kazoo's consumer to ours", started.elapsed());
    assert_eq!(text(held.data()), "item");
    held.consume().expect("held");
}

#[test]
fn killed_consumer_of_ours_gives_its_item_back_to_kazoo() {
    if play(|client| get(&locking(client))) {
        return;
    }
    let yard = Yard::new();
    let python = kazoo(&yard);
    python.make("a", "locking", &["/queue"]);
    assert_eq!(python.ask(&["put", "a", "item", "100"]), "None");
    let name = "interop::kazoo_queues::killed_consumer_of_ours_gives_its_item_back_to_kazoo";
    let mut ours = Victim::start(name, &yard.chroot.connect_string());
    await_children(&yard, "/queue/taken", 1);
    assert_eq!(python.ask(&["get", "a", "0.05"]), "None");
    let asked = python.begin(&["get", "a", "60"]);
    let started = Instant::now();
    ours.kill();
    assert_eq!(asked.answer(), "item");
    figure("interop: from kill -9 of our consumer to Kazoo's", started.elapsed());
    assert_eq!(python.ask(&["consume", "a"]), "True");
    assert_eq!(children(&yard, "/queue/entries"), <[String; 0]>::default());
}

#[test]
fn each_item_is_consumed_once_while_both_work() {
    let yard = Yard::new();
    let python = kazoo(&yard);
    let ours = locking(&yard.client());
    ours.put_all(numbered("rust", 40), 100).expect("put");
    for name in ["a", "b"] {
        python.make(name, "locking", &["/queue"]);
    }
    let asked = ["a", "b"].map(|name| python.begin(&["work", name, "0.5"]));
    let mut done = Vec::new();
    eventually("nothing is left", patience(), || {
        while let Some(held) = ours.try_get().expect("answered") {
            let item = text(held.data());
            held.consume().expect("held");
            done.push(item);
        }
        ours.is_empty().expect("answered")
    });
    figure("interop: of 40 items ours consumed", done.len());
    let theirs: Vec<_> = asked.iter().map(|asked| asked.answer()).collect();
    let theirs = theirs.iter().flat_map(|items| items.split(',')).map(str::to_owned);
    assert_eq!(sorted(done.into_iter().chain(theirs)), numbered("rust", 40).collect::<Vec<_>>());
    assert_eq!(children(&yard, "/queue/taken"), <[String; 0]>::default());
}
