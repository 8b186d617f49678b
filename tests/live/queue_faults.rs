//! E11: each item is had once, of each sort of queue, while connections are cut all the time.
//!
//! The transaction log is the judge: each item was put once and deleted once, and whoever has it
//! deleted it, unless it was told that this is not known.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use zookeeper_blocking::recipes::{DelayQueue, IdQueue, LockingQueue, NameStyle, Queue};
use zookeeper_blocking::{Applied, Client, Error};

use crate::clients::{doomed, expire, patience};
use crate::ensemble::trouble::OverWhenDropped;
use crate::faults::figure;
use crate::locks::{Yard, ms};
use crate::queue_sorts::{BOUNDED, DELAY, ID, LOCKING, PLAIN, SEVERAL, Sort};
use crate::support::proxy::{Act, Pick, Way};
use crate::support::txnlog;
use crate::support::wait::{eventually, scaled};
use crate::support::wire::op;

const PATH: &str = "/a/queue";
/// Each of two producers puts so often, three at a time.
const ROUNDS: usize = 60;

/// What consumers had, and what nobody can tell.
#[derive(Default)]
struct Book {
    had: Mutex<Vec<String>>,
    unknown: Mutex<usize>,
    put: Mutex<(usize, usize)>,
}

impl Book {
    fn produce(&self, sort: &Sort, who: usize, client: &Client) {
        for n in 0..ROUNDS {
            let items: Vec<_> = (0..3).map(|part| format!("{who}-{n}-{part}")).collect();
            match (sort.put)(client, PATH, items) {
                Ok(count) => self.put.lock().expect("no panic").0 += count,
                Err(error) => {
                    assert_eq!(error.applied(), Applied::Unknown, "{error}");
                    self.put.lock().expect("no panic").1 += 3;
                }
            }
        }
    }

    /// Until nothing comes any more.
    fn consume(&self, sort: &Sort, who: usize, client: &Client, over: &AtomicBool) {
        loop {
            let mut count = 0;
            let mut had = |item| {
                count += 1;
                self.had.lock().expect("no panic").push(String::from_utf8(item).expect("text"));
            };
            let (taken, most) = match who % 2 {
                0 => ((sort.take)(client, PATH, scaled(ms(1_500)), &mut had), 1),
                _ => ((sort.try_take)(client, PATH, &mut had), SEVERAL),
            };
            match taken {
                Ok(()) => {
                    if count == 0 && over.load(Ordering::SeqCst) {
                        return;
                    }
                }
                Err(Error::Timeout { sent: false, .. }) => return,
                Err(error) => {
                    assert_eq!(error.applied(), Applied::Unknown, "{error}");
                    *self.unknown.lock().expect("no panic") += most - count;
                }
            }
        }
    }
}

fn each_item_is_had_once(sort: &Sort) {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let connect = || yard.through(&proxy).connect().expect("serves");
    let clients: Vec<_> = (0..4).map(|_| connect()).collect();
    let (book, over) = (Book::default(), AtomicBool::new(false));
    let start = Instant::now();
    thread::scope(|scope| {
        let (book, over, proxy) = (&book, &over, &proxy);
        let ended = OverWhenDropped(over);
        scope.spawn(move || {
            while !over.load(Ordering::SeqCst) {
                thread::sleep(ms(40));
                proxy.wait_replies(4, over);
                proxy.cut();
            }
        });
        let produce = |(who, client)| scope.spawn(move || book.produce(sort, who, client));
        let consume = |(who, client)| scope.spawn(move || book.consume(sort, who, client, over));
        let producers: Vec<_> = clients[..2].iter().enumerate().map(produce).collect();
        let consumers: Vec<_> = clients.iter().enumerate().map(consume).collect();
        for producer in producers {
            producer.join().expect("no panic");
        }
        // Those who wait end by their deadline, the others then.
        let (waiting, asking): (Vec<_>, Vec<_>) =
            consumers.into_iter().enumerate().partition(|(who, _)| who % 2 == 0);
        let join = |(_, consumer): (usize, thread::ScopedJoinHandle<'_, ()>)| {
            consumer.join().expect("no panic");
        };
        waiting.into_iter().for_each(join);
        drop(ended);
        asking.into_iter().for_each(join);
    });
    let Book { had, unknown, put } = book;
    let (had, unknown) =
        (had.into_inner().expect("no panic"), unknown.into_inner().expect("no panic"));
    let (told, maybe) = put.into_inner().expect("no panic");
    let unique: HashSet<&String> = had.iter().collect();
    assert_eq!(unique.len(), had.len(), "had twice");
    let left = (sort.len)(&clients[0], PATH).expect("answered");
    let log = txnlog::read(&yard.chroot.server().data());
    let changes = || log.iter().flat_map(|txn| &txn.changes);
    let begins = format!("{}{PATH}{}", yard.chroot.path(), sort.mark);
    let of = |code: i32| changes().filter(|c| c.op == code && c.path.starts_with(&begins)).count();
    let (created, deleted) = (of(op::CREATE), of(op::DELETE));
    let figures = (start.elapsed(), created, deleted, left, had.len(), unknown);
    let what = format!("e11, {}: time, created, deleted, left, had, of unknown outcome", sort.name);
    figure(&what, figures);
    assert!(told <= created && created <= told + maybe);
    assert_eq!(created, deleted + left);
    assert!(had.len() <= deleted && deleted <= had.len() + unknown);
    assert!(had.len() >= ROUNDS, "hardly any item came");
    let (mut now, mut largest) = (0_usize, 0);
    for txn in &log {
        for change in txn.changes.iter().filter(|change| change.path.starts_with(&begins)) {
            match change.op {
                op::CREATE => now += 1,
                op::DELETE => now -= 1,
                // Holders write to what is not theirs alone.
                op::SET_DATA => {}
                other => panic!("{other}"),
            }
        }
        largest = largest.max(now);
    }
    figure(&format!("e11, {}: the most items at a time", sort.name), largest);
    assert!(sort.most.is_none_or(|most| largest <= most), "{largest}");
}

#[test]
fn e11_each_item_is_had_once_under_cuts() {
    each_item_is_had_once(&PLAIN);
}

#[test]
fn e11_each_item_of_a_bounded_queue_is_had_once_and_none_is_too_many_under_cuts() {
    each_item_is_had_once(&BOUNDED);
}

#[test]
fn e11_each_item_of_a_delay_queue_is_had_once_and_not_before_its_time_under_cuts() {
    each_item_is_had_once(&DELAY);
}

#[test]
fn e11_each_item_of_an_id_queue_is_had_once_under_cuts() {
    each_item_is_had_once(&ID);
}

/// Who consumes is told for sure, unless its session ended: so nothing is unknown here.
#[test]
fn e11_each_held_item_is_consumed_once_under_cuts() {
    each_item_is_had_once(&LOCKING);
}

/// The two items of each node are taken one by one, also by different consumers: so a node is
/// written once, and deleted once.
#[test]
fn e11_each_item_of_a_shared_node_is_had_once_under_cuts() {
    fn queue(client: &Client) -> Queue {
        Queue::new(client, PATH).expect("legal").name_style(NameStyle::Curator)
    }
    // What Curator's putMulti writes.
    fn packed(items: &[String]) -> Vec<u8> {
        let mut packed = vec![0, 1, 0, 1];
        for item in items {
            packed.extend([1, 0, 0, 0, item.len() as u8]);
            packed.extend(item.as_bytes());
        }
        packed.push(2);
        packed
    }
    let yard = Yard::new();
    let (proxy, quiet) = (yard.proxy(), yard.client());
    quiet.ensure_path(PATH).expect("made");
    for n in 0..60 {
        let items: Vec<_> = (0..3).map(|part| format!("{n}-{part}")).collect();
        let node = format!("{PATH}/queue-");
        let mode = zookeeper_blocking::CreateMode::PersistentSequential;
        quiet.create(&node, packed(&items), mode).expect("made");
    }
    let (had, unknown, over) = (Mutex::new(Vec::new()), Mutex::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let (had, unknown, over, proxy) = (&had, &unknown, &over, &proxy);
        let _ended = OverWhenDropped(over);
        scope.spawn(move || {
            while !over.load(Ordering::SeqCst) {
                thread::sleep(ms(40));
                proxy.wait_replies(4, over);
                proxy.cut();
            }
        });
        let consumers: Vec<_> = (1..4)
            .map(|most| {
                let client = yard.through(proxy).connect().expect("serves");
                scope.spawn(move || {
                    let queue = queue(&client);
                    loop {
                        match queue.try_take_all(most) {
                            Ok(items) if items.is_empty() => return,
                            Ok(items) => {
                                let data = items.into_iter().map(|item| item.data);
                                had.lock().expect("no panic").extend(data);
                            }
                            Err(error) => {
                                assert_eq!(error.applied(), Applied::Unknown, "{error}");
                                *unknown.lock().expect("no panic") += most;
                            }
                        }
                    }
                })
            })
            .collect();
        for consumer in consumers {
            consumer.join().expect("no panic");
        }
    });
    let (had, unknown) =
        (had.into_inner().expect("no panic"), unknown.into_inner().expect("no panic"));
    figure("e11, shared nodes: had, of unknown outcome at most", (had.len(), unknown));
    let unique: HashSet<&Vec<u8>> = had.iter().collect();
    assert_eq!(unique.len(), had.len(), "had twice");
    assert!(had.len() <= 180 && 180 <= had.len() + unknown, "lost");
    assert!(queue(&quiet).is_empty().expect("answered"));
}

/// The transaction that consumes was sent, its answer is lost, and what asks for its outcome finds
/// the session gone: nobody knows, and that is what has to be told.
#[test]
fn e11_consumption_whose_session_ends_before_its_outcome_is_known_is_unknown() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    let queue = LockingQueue::new(&client, "/queue").expect("legal");
    queue.put("item").expect("put");
    let held = queue.get().expect("an item");
    let caught = proxy.caught().len();
    proxy.once(Way::ToClient, Pick::Op(op::MULTI), 1, Act::Hold);
    let consuming = thread::spawn(move || held.consume());
    proxy.wait_caught(caught + 1);
    expire(&proxy, yard.chroot.server(), &session);
    proxy.heal();
    let error = consuming.join().expect("no panic").expect_err("not known");
    assert!(matches!(error, Error::SessionExpired { sent: true, .. }), "{error:?}");
    let other = LockingQueue::new(&yard.client(), "/queue").expect("legal");
    assert!(other.is_empty().expect("answered"), "it was consumed");
}

/// Curator `TestLongNetworkPartition` (CURATOR-623).
#[test]
fn waits_go_on_in_the_next_session() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    let text = |data: &[u8]| String::from_utf8(data.to_vec()).expect("text");
    let queue = |client: &Client| Queue::new(client, "/queue").expect("legal");
    let delays = |client: &Client| DelayQueue::new(client, "/delays").expect("legal");
    let ids = |client: &Client| IdQueue::new(client, "/ids").expect("legal");
    let locking = |client: &Client| LockingQueue::new(client, "/locking").expect("legal");
    delays(&client).put("never", Duration::from_secs(3_600)).expect("put");
    let waiting = [
        thread::spawn({
            let own = queue(&client);
            move || text(&own.take().expect("an item").data)
        }),
        thread::spawn({
            let own = delays(&client);
            move || text(&own.take().expect("an item").data)
        }),
        thread::spawn({
            let own = ids(&client);
            move || text(&own.take().expect("an item").data)
        }),
        thread::spawn({
            let own = locking(&client);
            move || {
                let held = own.get().expect("an item");
                let data = text(held.data());
                held.consume().expect("held by the next session");
                data
            }
        }),
    ];
    eventually("all wait", patience(), || client.watch_count() == 5);
    expire(&proxy, yard.chroot.server(), &session);
    eventually("a new session", patience(), || {
        client.session().is_ok_and(|next| next.id() != session.id())
    });
    let other = yard.client();
    queue(&other).put("one").expect("put");
    delays(&other).put("two", ms(10)).expect("put");
    ids(&other).put("three", "id").expect("put");
    locking(&other).put("four").expect("put");
    let had = waiting.map(|waiting| waiting.join().expect("no panic"));
    assert_eq!(had, ["one", "two", "three", "four"]);
    eventually("b9: no watch left", patience(), || client.watch_count() == 0);
}
