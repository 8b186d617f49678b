//! Read and write locks: who may be in together, in which order, at which price.
//!
//! Behaviours of Kazoo's `test_lock.py` (`test_read_lock`, `test_write_lock`, `test_rw_lock`) and of
//! Curator's `TestInterProcessReadWriteLock` (`testDowngrading`, `testContendingDowngrading`,
//! `testThatUpgradingIsDisallowed`, `testBasic`), told anew.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use zookeeper_blocking::recipes::{LockGuard, NameStyle, ReadLock, WriteLock};
use zookeeper_blocking::{Client, CreateMode, Error, RecipeError, Version};

use crate::clients::patience;
use crate::faults::figure;
use crate::locks::{Yard, assert_recipe, await_contenders, lock, ms, sequence};
use crate::support::calm::undisturbed;
use crate::support::forge::{AUTO, Forge};
use crate::support::proxy::{Act, Pick, Way};
use crate::support::server::Place;
use crate::support::wait::{eventually, scaled};
use crate::support::wire::op;

fn read(client: &Client) -> ReadLock {
    ReadLock::new(client, "/lock").expect("a legal path")
}

fn write(client: &Client) -> WriteLock {
    WriteLock::new(client, "/lock").expect("a legal path")
}

fn wait_read(lock: &ReadLock) -> thread::JoinHandle<LockGuard> {
    let lock = lock.clone();
    thread::spawn(move || lock.acquire().expect("granted in time"))
}

fn wait_write(lock: &WriteLock) -> thread::JoinHandle<LockGuard> {
    let lock = lock.clone();
    thread::spawn(move || lock.acquire().expect("granted in time"))
}

/// Time enough for one that lets itself in wrongly.
fn settle() {
    thread::sleep(ms(30));
}

#[test]
fn readers_share_and_a_writer_is_alone() {
    let yard = Yard::new();
    let (one, two) = (yard.client(), yard.client());
    let first = read(&one).acquire().expect("free");
    let second = read(&two).try_acquire().expect("answered").expect("shared");
    let third = read(&one).try_acquire().expect("answered").expect("shared");
    assert!(write(&two).try_acquire().expect("answered").is_none());
    assert!(first.fence() < second.fence() && second.fence() < third.fence());
    for guard in [first, second, third] {
        guard.release().expect("held");
    }
    let alone = write(&two).try_acquire().expect("answered").expect("free");
    assert!(write(&one).try_acquire().expect("answered").is_none());
    assert!(read(&one).try_acquire().expect("answered").is_none());
    assert!(read(&two).try_acquire().expect("answered").is_none());
    // No look left a node behind.
    assert_eq!(yard.nodes().len(), 1);
    alone.release().expect("held");
}

#[test]
fn e15_reader_that_came_before_a_writer_goes_before_it() {
    // Kazoo #649: the reader watched the later writer, which waited for the reader.
    let yard = Yard::new();
    let (one, two, three) = (yard.client(), yard.client(), yard.client());
    let held = write(&one).acquire().expect("free");
    let reader = wait_read(&read(&two));
    yard.await_nodes(2);
    let writer = wait_write(&write(&three));
    yard.await_nodes(3);
    held.release().expect("held");
    let reading = reader.join().expect("no panic");
    settle();
    assert!(!writer.is_finished(), "let in beside a reader");
    let fence = reading.fence();
    reading.release().expect("held");
    let writing = writer.join().expect("no panic");
    assert!(writing.fence() > fence);
    writing.release().expect("held");
}

#[test]
fn e15_waiting_writer_is_not_passed_by_readers_that_come_later() {
    let yard = Yard::new();
    let (one, two) = (yard.client(), yard.client());
    let reading = read(&one).acquire().expect("free");
    let writer = wait_write(&write(&two));
    yard.await_nodes(2);
    let late = wait_read(&read(&one));
    yard.await_nodes(3);
    settle();
    assert!(!late.is_finished(), "passed a writer");
    assert!(read(&one).try_acquire().expect("answered").is_none());
    reading.release().expect("held");
    let writing = writer.join().expect("no panic");
    settle();
    assert!(!late.is_finished(), "let in beside a writer");
    let fence = writing.fence();
    writing.release().expect("held");
    let last = late.join().expect("no panic");
    assert!(last.fence() > fence);
    last.release().expect("held");
}

#[test]
fn plain_lock_passes_readers_by_and_keeps_them_out_a_write_lock_waits_for_them() {
    let yard = Yard::new();
    let (one, two) = (yard.client(), yard.client());
    let reading = read(&one).acquire().expect("free");
    let plain = lock(&two).try_acquire().expect("answered").expect("it sees no readers");
    assert!(read(&one).try_acquire().expect("answered").is_none(), "readers see it");
    assert!(write(&one).try_acquire().expect("answered").is_none());
    let names = |contenders: Vec<zookeeper_blocking::recipes::Contender>| contenders.len();
    assert_eq!(names(lock(&two).contenders().expect("answered")), 1);
    assert_eq!(names(read(&two).contenders().expect("answered")), 2);
    assert_eq!(names(write(&two).contenders().expect("answered")), 2);
    plain.release().expect("held");
    assert!(write(&one).try_acquire().expect("answered").is_none());
    reading.release().expect("held");
    // And as one lock with writers.
    let writing = write(&one).acquire().expect("free");
    assert!(lock(&two).try_acquire().expect("answered").is_none());
    writing.release().expect("held");
}

#[test]
fn e15_crowd_of_readers_and_writers_is_never_mixed() {
    let yard = Yard::new();
    let (readers, writers) = (AtomicI64::new(0), AtomicI64::new(0));
    let (last_writer, together) = (AtomicI64::new(0), AtomicI64::new(0));
    let done = AtomicUsize::new(0);
    thread::scope(|scope| {
        for number in 0..6 {
            let client = yard.client();
            let (readers, writers, done) = (&readers, &writers, &done);
            let (last_writer, together) = (&last_writer, &together);
            scope.spawn(move || {
                for turn in 0..30 {
                    let writes = (number + turn) % 3 == 0;
                    let guard =
                        if writes { write(&client).acquire() } else { read(&client).acquire() };
                    let guard = guard.expect("granted in time");
                    if writes {
                        assert_eq!(writers.fetch_add(1, Ordering::SeqCst), 0, "two writers");
                        assert_eq!(readers.load(Ordering::SeqCst), 0, "a reader inside");
                        let before = last_writer.swap(guard.fence(), Ordering::SeqCst);
                        assert!(before < guard.fence(), "{before} then {}", guard.fence());
                        thread::yield_now();
                        writers.fetch_sub(1, Ordering::SeqCst);
                    } else {
                        let others = readers.fetch_add(1, Ordering::SeqCst);
                        together.fetch_max(others + 1, Ordering::SeqCst);
                        assert_eq!(writers.load(Ordering::SeqCst), 0, "a writer inside");
                        assert!(last_writer.load(Ordering::SeqCst) < guard.fence());
                        thread::yield_now();
                        readers.fetch_sub(1, Ordering::SeqCst);
                    }
                    guard.release().expect("held");
                    done.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(done.load(Ordering::SeqCst), 180);
    figure("e15: readers together at most", together.load(Ordering::SeqCst));
    assert_eq!(yard.nodes(), Vec::<String>::new());
}

#[test]
fn e5_writer_that_leaves_wakes_the_readers_behind_it_and_a_reader_one_writer() {
    const READERS: usize = 40;
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).connect().expect("serves");
    let own = yard.client();
    let held = write(&own).acquire().expect("free");
    let readers: Vec<_> = (0..READERS).map(|_| wait_read(&read(&client))).collect();
    yard.await_nodes(1 + READERS);
    // One after the other: they are joined in the order in which they will be let in.
    let writers: Vec<_> = (1..=3)
        .map(|number| {
            let waiting = wait_write(&write(&client));
            yard.await_nodes(1 + READERS + number);
            waiting
        })
        .collect();
    eventually("all wait", patience(), || {
        proxy.counts().to_client.ops.get(&op::GET_DATA) == Some(&(READERS + 3))
    });
    proxy.reset_counts();
    held.release().expect("held");
    let mut reading: Vec<_> =
        readers.into_iter().map(|reader| reader.join().expect("no panic")).collect();
    let came_in = proxy.counts();
    // Some watches on one node of one client are one notification.
    assert!(came_in.to_client.notifications <= READERS, "{came_in:?}");
    assert_eq!(came_in.to_server.ops.get(&op::GET_CHILDREN), Some(&READERS), "{came_in:?}");
    // All but the last reader in the line: nobody watches them.
    reading.sort_by_key(|guard| sequence(guard.node()));
    let last = reading.pop().expect("forty");
    proxy.reset_counts();
    for guard in reading {
        guard.release().expect("held");
    }
    assert_eq!(proxy.counts().to_client.notifications, 0, "{:?}", proxy.counts());
    last.release().expect("held");
    for writer in writers {
        writer.join().expect("no panic").release().expect("held");
    }
    let handed = proxy.counts();
    assert_eq!(handed.to_client.notifications, 3, "{handed:?}");
    figure("e5: readers let in, notifications", (READERS, came_in.to_client.notifications));
}

#[test]
fn e7_numbers_that_run_out_never_mix_readers_and_writers_and_the_lock_heals() {
    let log = Forge::new()
        .create("/lock", b"", AUTO)
        .create("/lock/x", b"", i32::MAX - 15)
        .delete("/lock/x");
    let server = Place::start_with_log(log.finish());
    let before = server.raw().get("/lock").expect("forged").1.czxid;
    let (readers, writers) = (AtomicI64::new(0), AtomicI64::new(0));
    let last_writer = AtomicI64::new(0);
    thread::scope(|scope| {
        for number in 0..4 {
            let (readers, writers, last_writer) = (&readers, &writers, &last_writer);
            let connect = server.connect_string();
            scope.spawn(move || {
                let client = Client::connect(&connect).expect("serves");
                for turn in 0..15 {
                    if (number + turn) % 2 == 0 {
                        let guard = write(&client).acquire().expect("granted in time");
                        assert_eq!(writers.fetch_add(1, Ordering::SeqCst), 0, "two writers");
                        assert_eq!(readers.load(Ordering::SeqCst), 0, "a reader inside");
                        let fence = guard.fence();
                        assert!(last_writer.swap(fence, Ordering::SeqCst) < fence);
                        thread::yield_now();
                        writers.fetch_sub(1, Ordering::SeqCst);
                        guard.release().expect("held");
                    } else {
                        let guard = read(&client).acquire().expect("granted in time");
                        readers.fetch_add(1, Ordering::SeqCst);
                        assert_eq!(writers.load(Ordering::SeqCst), 0, "a writer inside");
                        thread::yield_now();
                        readers.fetch_sub(1, Ordering::SeqCst);
                        guard.release().expect("held");
                    }
                }
            });
        }
    });
    let healed = server.raw().get("/lock").expect("made anew").1.czxid;
    assert!(healed > before, "the numbers never ran out");
}

#[test]
fn upgrading_waits_for_itself_until_its_deadline_and_leaves_no_node() {
    let yard = Yard::new();
    let client = yard.client();
    let reading = read(&client).acquire().expect("free");
    let upgraded = write(&client).acquire_timeout(scaled(ms(150)));
    assert!(matches!(upgraded, Err(Error::Timeout { .. })), "{upgraded:?}");
    yard.await_nodes(1);
    assert!(reading.is_held());
    reading.release().expect("held");
}

#[test]
fn downgrade_lets_readers_in_but_no_writer_in_between() {
    for style in [NameStyle::Kazoo, NameStyle::Curator] {
        let yard = Yard::new();
        let (one, two) = (yard.client(), yard.client());
        let writer = write(&one).name_style(style).identifier("we");
        let writing = writer.acquire().expect("free");
        let second = wait_write(&write(&two));
        yard.await_nodes(2);
        let late = wait_read(&read(&two));
        yard.await_nodes(3);
        let (fence, number) = (writing.fence(), sequence(writing.node()));
        let reading = writer.downgrade(writing).expect("held");
        assert_eq!((reading.fence(), sequence(reading.node())), (fence, number));
        assert!(reading.is_held());
        let who = writer.contenders().expect("answered");
        assert_eq!((who.len(), who[0].identifier_text()), (3, "we".to_owned()), "{who:?}");
        // The transaction of its guard checks the new node.
        reading.transaction().create("/state", "").commit().expect("held");
        settle();
        assert!(!second.is_finished() && !late.is_finished(), "a writer came in between");
        assert!(read(&two).try_acquire().expect("answered").is_none(), "a writer waits");
        reading.release().expect("held");
        let writing = second.join().expect("no panic");
        assert!(writing.fence() > fence);
        writing.release().expect("held");
        late.join().expect("no panic").release().expect("held");
        // With readers only behind it, they come in at once.
        let writing = write(&one).name_style(style).acquire().expect("free");
        let late = wait_read(&read(&two));
        yard.await_nodes(2);
        let reading = write(&one).name_style(style).downgrade(writing).expect("held");
        late.join().expect("no panic").release().expect("held");
        reading.release().expect("held");
        yard.await_nodes(0);
    }
}

#[test]
fn downgrade_is_for_held_write_locks_of_the_path_only() {
    let yard = Yard::new();
    let client = yard.client();
    let writer = write(&client);
    let reading = read(&client).acquire().expect("free");
    let wrong = writer.downgrade(reading);
    assert!(matches!(wrong, Err(Error::Invalid { .. })), "{wrong:?}");
    yard.await_nodes(0);
    let other = WriteLock::new(&client, "/other").expect("legal").acquire().expect("free");
    let wrong = writer.downgrade(other);
    assert!(matches!(wrong, Err(Error::Invalid { .. })), "{wrong:?}");
    let writing = writer.acquire().expect("free");
    client.delete(writing.node(), Version::Any).expect("there");
    let started = Instant::now();
    assert_recipe(writer.downgrade(writing), RecipeError::NotHeld, started, ms(1_000));
    yard.await_nodes(0);
}

#[test]
fn e4_downgrade_whose_reply_is_lost_is_found_done_or_done_again() {
    let yard = Yard::new();
    for act in [Way::ToServer, Way::ToClient] {
        let proxy = yard.proxy();
        let client = yard.through(&proxy).connect().expect("serves");
        let writer = write(&client);
        let writing = writer.acquire().expect("free");
        proxy.once(act, Pick::Op(op::MULTI), 1, Act::LoseAndCut);
        let reading = writer.downgrade(writing).expect("held");
        let nodes = yard.nodes();
        assert_eq!(nodes.len(), 1, "{nodes:?}");
        assert!(nodes[0].contains("__rlock__") && reading.node().ends_with(&nodes[0]));
        reading.release().expect("held");
        yard.await_nodes(0);
    }
}

#[test]
fn e4_no_reader_or_writer_is_left_behind_whatever_answer_is_lost() {
    let yard = Yard::new();
    let held = write(&yard.client()).acquire().expect("free");
    for step in [op::CREATE2, op::GET_CHILDREN, op::GET_DATA] {
        for way in [Way::ToServer, Way::ToClient] {
            for reads in [true, false] {
                let proxy = yard.proxy();
                let client = yard.through(&proxy).connect().expect("serves");
                proxy.once(way, Pick::Op(step), 1, Act::LoseAndCut);
                let wait = scaled(ms(250));
                let result = if reads {
                    read(&client).acquire_timeout(wait)
                } else {
                    write(&client).acquire_timeout(wait)
                };
                assert!(matches!(result, Err(Error::Timeout { .. })), "{step}: {result:?}");
                yard.await_nodes(1);
            }
        }
    }
    held.release().expect("held");
}

#[test]
fn cancel_ends_the_waits_of_each_side() {
    let yard = Yard::new();
    let client = yard.client();
    let held = lock(&client).acquire().expect("free");
    let (reader, writer) = (read(&client), write(&client));
    let (a, b) = (reader.clone(), writer.clone());
    let reading = thread::spawn(move || a.acquire());
    let writing = thread::spawn(move || b.acquire());
    yard.await_nodes(3);
    let started = Instant::now();
    reader.cancel();
    writer.cancel();
    let within = Duration::from_secs(1);
    assert_recipe(reading.join().expect("no panic"), RecipeError::Cancelled, started, within);
    assert_recipe(writing.join().expect("no panic"), RecipeError::Cancelled, started, within);
    yard.await_nodes(1);
    held.release().expect("held");
}

#[test]
fn nodes_have_the_names_of_each_style_and_queue_together() {
    let yard = Yard::new();
    let client = yard.client();
    let curator = NameStyle::Curator;
    let reading = read(&client).name_style(curator).acquire().expect("free");
    let also = read(&client).acquire().expect("shared");
    let writer = write(&client).name_style(curator);
    let writing = wait_write(&writer);
    await_contenders(&lock(&client), 1);
    let mut nodes = yard.nodes();
    nodes.sort_by_key(|node| sequence(node));
    assert!(nodes[0].starts_with("_c_") && nodes[0].contains("-__READ__"), "{nodes:?}");
    assert!(nodes[1].contains("__rlock__"), "{nodes:?}");
    assert!(nodes[2].starts_with("_c_") && nodes[2].contains("-__WRIT__"), "{nodes:?}");
    reading.release().expect("held");
    settle();
    assert!(!writing.is_finished(), "a reader of the other style is inside");
    also.release().expect("held");
    writing.join().expect("no panic").release().expect("held");
    // A plain lock in Curator's style is what its InterProcessMutex makes.
    let guard = lock(&client).name_style(curator).acquire().expect("free");
    assert!(guard.node().contains("/_c_") && guard.node().contains("-lock-"), "{guard:?}");
    guard.release().expect("held");
}

#[test]
fn read_lock_costs_one_round_trip_and_e9_its_parent_is_made_again() {
    undisturbed(|| {
        let yard = Yard::new();
        let proxy = yard.proxy();
        let client = yard.through(&proxy).connect().expect("serves");
        let first = read(&client).acquire().expect("free");
        proxy.far();
        proxy.reset_counts();
        let second = read(&client).acquire().expect("shared");
        assert_eq!(proxy.counts().round_trips, 1);
        figure("round trips: read lock beside another", proxy.counts().round_trips);
        for guard in [first, second] {
            guard.release().expect("held");
        }
        client.delete("/lock", Version::Any).expect("empty");
        let writing = write(&client).acquire().expect("made again");
        client.create("/other", "", CreateMode::Persistent).expect("new");
        assert!(write(&client).try_acquire().expect("answered").is_none());
        writing.release().expect("held");
    });
}
