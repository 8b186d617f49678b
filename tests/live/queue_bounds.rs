//! Queues that hold so many items at most: who puts waits, and never makes them larger.
//!
//! Retold by behaviour: Curator `TestBoundedDistributedQueue`: `testSimple`, `testMulti`. Different
//! here: the bound is kept exactly, which the transaction log shows.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use zookeeper_blocking::recipes::{DelayQueue, IdQueue, LockingQueue, NameStyle, Queue};
use zookeeper_blocking::{Acl, Applied, Client, CreateMode, Error, Permissions, RecipeError};

use crate::clients::{doomed, expire, patience};
use crate::faults::figure;
use crate::locks::{Yard, assert_code, assert_recipe, ms};
use crate::nodes::{assert_ours, await_children, children, in_callback, we};
use crate::support::server::Server;
use crate::support::txnlog;
use crate::support::wait::{eventually, scaled};
use crate::support::wire::op;

fn queue(client: &Client, most: usize) -> Queue {
    Queue::new(client, "/a/queue").expect("legal").max_items(most)
}

#[track_caller]
fn assert_late<T: std::fmt::Debug>(result: zookeeper_blocking::Result<T>) {
    match &result {
        Err(error @ Error::Timeout { .. }) => assert_eq!(error.applied(), Applied::No, "{error}"),
        other => panic!("not late but {other:?}"),
    }
}

/// Curator `testSimple`.
#[test]
fn put_waits_while_the_queue_is_full_until_an_item_is_taken() {
    let yard = Yard::new();
    let client = yard.client();
    let ours = queue(&client, 2);
    ours.put("0").expect("room");
    assert!(ours.try_put("1").expect("answered").is_some());
    assert_eq!(ours.try_put("x").expect("answered"), None);
    assert_late(ours.put_timeout("x", scaled(ms(80))));
    eventually("b9: no watch left", patience(), || client.watch_count() == 0);
    let waiting = {
        let own = ours.clone();
        thread::spawn(move || own.put("2").expect("room in time"))
    };
    eventually("it waits", patience(), || client.watch_count() == 1);
    assert!(!waiting.is_finished());
    let other = queue(&yard.client(), 1_000);
    assert_eq!(other.take().expect("there").data, b"0");
    assert_eq!(waiting.join().expect("no panic"), "entry-100-0000000002");
    assert_eq!(ours.len().expect("answered"), 2);
    eventually("b9: no watch left", patience(), || client.watch_count() == 0);
    // Another bound, or none, is another's business.
    other.put("3").expect("room");
    Queue::new(&client, "/a/queue").expect("legal").put("4").expect("no bound");
    assert_eq!(ours.try_put("x").expect("answered"), None);
    assert_eq!(ours.take_all(9).expect("there").len(), 4);
    assert!(ours.try_put("5").expect("answered").is_some());
}

#[test]
fn wait_for_room_is_cancelled_outlives_the_session_and_the_queue_itself() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    let ours = queue(&client, 1);
    ours.put("0").expect("room");
    let canceller = ours.clone();
    let cancelling = thread::spawn(move || {
        thread::sleep(ms(30));
        canceller.cancel();
    });
    assert_recipe(ours.put("x"), RecipeError::Cancelled, Instant::now(), ms(2_000));
    cancelling.join().expect("no panic");
    let put = |item: &'static str| {
        let own = ours.clone();
        thread::spawn(move || own.put(item).expect("room in time"))
    };
    let waiting = put("1");
    eventually("it waits", patience(), || client.watch_count() == 1);
    expire(&proxy, yard.chroot.server(), &session);
    eventually("it waits in the next session", patience(), || {
        client.session_id() != session.id() && client.watch_count() == 1
    });
    assert!(!waiting.is_finished());
    queue(&yard.client(), 1).take().expect("there");
    waiting.join().expect("no panic");
    let waiting = put("2");
    eventually("it waits", patience(), || client.watch_count() == 1);
    yard.client().delete_recursive("/a").expect("there");
    waiting.join().expect("no panic");
    assert_eq!(ours.take().expect("there").data, b"2");
    eventually("b9: no watch left", patience(), || client.watch_count() == 0);
}

#[test]
fn several_items_are_put_when_there_is_room_for_all_and_more_than_that_never() {
    let yard = Yard::new();
    let ours = queue(&yard.client(), 3);
    assert!(matches!(ours.put_all(["x"; 4], 100), Err(Error::Invalid { .. })));
    assert!(matches!(queue(&yard.client(), 0).put("x"), Err(Error::Invalid { .. })));
    assert_eq!(ours.put_all(["0", "1"], None).expect("room").len(), 2);
    assert_eq!(ours.try_put_all(["x"; 2], None).expect("answered"), None);
    assert_late(ours.put_all_timeout(["x"; 2], None, ms(50)));
    assert!(ours.try_put_priority("2", 7).expect("answered").is_some());
    assert_late(ours.put_priority_timeout("x", 7, ms(50)));
    assert_eq!(ours.put_all([""; 0], None).expect("nothing to do"), Vec::<String>::new());
    let waiting = {
        let own = ours.clone();
        thread::spawn(move || own.put_all(["3", "4"], None).expect("room in time"))
    };
    ours.take().expect("there");
    thread::sleep(ms(50));
    assert!(!waiting.is_finished(), "room for one only");
    ours.take().expect("there");
    waiting.join().expect("no panic");
    assert_eq!(ours.len().expect("answered"), 3);
}

/// E6; and the node's data are not ours.
#[test]
fn foreign_children_do_not_count_and_the_data_of_the_node_stay() {
    let yard = Yard::new();
    let client = yard.client();
    client.ensure_path("/a/queue").expect("made");
    client.set_data("/a/queue", "10.0.0.7", zookeeper_blocking::Version::Any).expect("there");
    for name in ["junk", "queue-0000000001", "lock"] {
        client.create(&format!("/a/queue/{name}"), "", CreateMode::Persistent).expect("new");
    }
    let ours = queue(&client, 2);
    for _ in 0..2 {
        ours.put("x").expect("room");
        eventually("b9: no watch left", patience(), || client.watch_count() == 0);
    }
    assert_eq!(ours.try_put("x").expect("answered"), None);
    assert_late(ours.put_timeout("x", ms(50)));
    ours.take().expect("there");
    assert!(ours.try_put("x").expect("answered").is_some());
    assert_eq!(client.get_data("/a/queue").expect("there").0, b"10.0.0.7");
}

/// Each sort of queue, full with two.
#[test]
fn all_sorts_of_queues_have_a_bound() {
    let yard = Yard::new();
    let client = yard.client();
    let soon = Duration::ZERO;
    let due = std::time::SystemTime::now();
    let curator = Queue::new(&client, "/curator").expect("legal").name_style(NameStyle::Curator);
    let simple = Queue::new(&client, "/simple").expect("legal").simple();
    for queue in [curator.max_items(2), simple.max_items(2)] {
        queue.put_all(["0", "1"], None).expect("room");
        assert_eq!(queue.try_put("x").expect("answered"), None);
    }
    let delay = DelayQueue::new(&client, "/delay").expect("legal").max_items(2);
    assert_eq!(delay.put_all(["0"], soon).expect("room").len(), 1);
    assert!(delay.try_put("1", soon).expect("answered").is_some());
    assert_eq!(delay.try_put("x", soon).expect("answered"), None);
    assert_eq!(delay.try_put_at("x", due).expect("answered"), None);
    assert_eq!(delay.try_put_all(["x"], soon).expect("answered"), None);
    assert_late(delay.put_timeout("x", soon, ms(30)));
    assert_late(delay.put_at_timeout("x", due, ms(30)));
    assert_late(delay.put_all_timeout(["x"], soon, ms(30)));
    delay.take().expect("due");
    delay.put_at_timeout("2", due, patience()).expect("room");
    let ids = IdQueue::new(&client, "/ids").expect("legal").max_items(2);
    ids.put("0", "a").expect("room");
    assert!(ids.try_put("1", "b").expect("answered").is_some());
    assert_eq!(ids.try_put("x", "c").expect("answered"), None);
    assert_eq!(ids.try_put_all([("x", "c")]).expect("answered"), None);
    assert_late(ids.put_timeout("x", "c", ms(30)));
    assert_late(ids.put_all_timeout([("x", "c")], ms(30)));
    // An item that is removed makes room as well.
    let waiting = {
        let own = ids.clone();
        thread::spawn(move || own.put("2", "c").expect("room in time"))
    };
    eventually("it waits", patience(), || client.watch_count() == 1);
    assert_eq!(ids.remove("b").expect("answered"), 1);
    waiting.join().expect("no panic");
    for (locking, items) in [
        (LockingQueue::new(&client, "/locking").expect("legal"), "/locking/entries"),
        (LockingQueue::curator(&client, "/held", "/locks").expect("legal"), "/held"),
    ] {
        let locking = locking.max_items(2);
        locking.put_all(["0", "1"], None).expect("room");
        let held = locking.get().expect("there");
        assert_eq!(locking.try_put("x").expect("answered"), None, "held items count");
        assert_late(locking.put_timeout("x", ms(30)));
        held.consume().expect("held");
        locking.put("2").expect("room");
        await_children(&yard, items, 2);
    }
    eventually("b9: no watch left", patience(), || client.watch_count() == 0);
}

/// Curator `testMulti`. Judged by the log of the server: how many there were at each zxid.
#[test]
fn queue_is_never_larger_than_its_bound_with_many_who_put_and_take() {
    const MOST: usize = 5;
    const PUTTERS: usize = 6;
    const EACH: usize = 40;
    let server = Server::start();
    let connect = || Client::connect(&server.connect_string()).expect("serves");
    let had = Mutex::new(Vec::new());
    let left = AtomicUsize::new(PUTTERS * EACH);
    let start = Instant::now();
    thread::scope(|scope| {
        for who in 0..PUTTERS {
            let own = queue(&connect(), MOST);
            scope.spawn(move || {
                for n in 0..EACH / 2 {
                    own.put_timeout(format!("{who} {n}"), patience() * 6).expect("room in time");
                    let items = [format!("{who} {n} again")];
                    own.put_all_timeout(items, 5, patience() * 6).expect("room in time");
                }
            });
        }
        for _ in 0..2 {
            let (own, had, left) = (queue(&connect(), MOST), &had, &left);
            scope.spawn(move || {
                while left.load(Ordering::SeqCst) > 0 {
                    for item in own.try_take_all(2).expect("answered") {
                        had.lock().expect("no panic").push(item.data);
                        left.fetch_sub(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    figure("bounded queue: 240 items by 6 through 5 places", start.elapsed());
    let had = had.into_inner().expect("no panic");
    assert_eq!(had.iter().collect::<HashSet<_>>().len(), PUTTERS * EACH);
    let (mut now, mut largest, mut full) = (0_usize, 0, 0);
    for txn in txnlog::read(&server.data()) {
        for change in txn.changes.iter().filter(|c| c.path.starts_with("/a/queue/entry-")) {
            match change.op {
                op::CREATE => now += 1,
                op::DELETE => now -= 1,
                other => panic!("{other}"),
            }
        }
        largest = largest.max(now);
        full += usize::from(now == MOST);
    }
    assert_eq!(now, 0);
    assert!(full > 10, "hardly ever full: {full}");
    assert_eq!(largest, MOST);
}

#[test]
fn e11_lost_answers_to_a_bounded_put_are_told_and_nothing_is_put_twice() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let ours = queue(&yard.through(&proxy).connect().expect("serves"), 9);
    ours.put("0").expect("room");
    proxy.drop_reply_to(op::MULTI);
    assert_eq!(ours.put("1").expect_err("nobody can tell").applied(), Applied::Unknown);
    assert_eq!(ours.len().expect("answered"), 2, "put once");
    proxy.drop_reply_to(op::GET_DATA);
    ours.put("2").expect("room");
    assert_eq!(ours.len().expect("answered"), 3);
}

#[test]
fn bounded_put_costs_two_round_trips_and_one_without_a_check_where_there_is_ample_room() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).connect().expect("serves");
    queue(&client, 9).put("first").expect("room");
    proxy.far();
    for (most, version) in [(9, 2), (5_000, 2)] {
        proxy.reset_counts();
        queue(&client, most).put("x").expect("room");
        let counts = proxy.counts();
        figure(&format!("queue: round trips to put within {most}"), counts.round_trips);
        assert_eq!((counts.round_trips, counts.to_server.requests()), (2, 2));
        // In ample room the node is not written.
        assert_eq!(client.get_data("/a/queue").expect("there").1.version, version);
    }
}

/// Each item that is taken wakes those who wait for room, once.
#[test]
fn those_who_wait_for_room_ask_only_when_something_changed() {
    const WAITING: usize = 4;
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).connect().expect("serves");
    let ours = queue(&client, 1);
    ours.put("x").expect("room");
    proxy.reset_counts();
    let waiting: Vec<_> = (0..WAITING)
        .map(|_| {
            let own = ours.clone();
            thread::spawn(move || own.put("y").expect("room in time"))
        })
        .collect();
    eventually("all wait", patience(), || client.watch_count() == WAITING);
    thread::sleep(ms(200));
    assert_eq!(proxy.counts().to_server.requests(), 2 * WAITING, "a look, and a list each");
    let other = Queue::new(&yard.client(), "/a/queue").expect("legal");
    for _ in 0..=WAITING {
        other.take().expect("one of them");
    }
    for waiting in waiting {
        waiting.join().expect("no panic");
    }
    assert!(other.is_empty().expect("answered"));
    eventually("b9: no watch left", patience(), || client.watch_count() == 0);
}

#[test]
fn bounded_queues_work_in_callbacks_and_keep_the_acl() {
    let yard = Yard::new();
    let client = yard.client();
    let own = queue(&client, 1);
    in_callback(&client, move || {
        own.put("x").expect("room");
        assert_late(own.put_timeout("y", ms(20)));
        own.take().expect("there");
        own.put("y").expect("room");
    });
    let ours = Queue::new(&we(&yard), "/b/queue").expect("legal").max_items(3);
    let name = ours.acl([Acl::creator_all()]).put("x").expect("room");
    assert_ours(&yard, &["/b", "/b/queue", &format!("/b/queue/{name}")]);
    // Who may make items, but not write their node, is told.
    let others = Permissions::READ | Permissions::CREATE;
    let create = zookeeper_blocking::op::Create::new("/c").acl([Acl::world(others)]);
    client.call(create).expect("new");
    let ours = Queue::new(&client, "/c").expect("legal");
    ours.put("x").expect("put");
    assert_code(ours.max_items(3).put("x"), zookeeper_blocking::Code::NoAuth);
    assert_eq!(children(&yard, "/c").len(), 1);
}
