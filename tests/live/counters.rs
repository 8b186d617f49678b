//! Counters and atomic values: the forms of Kazoo and Curator, and that nothing counts twice.
//!
//! Retold by behaviour: Kazoo `test_counter.py` (all five); Curator `TestDistributedAtomicLong`
//! (`testCorruptedValue`, `testForceSet`, `testCompareAndSetWithFreshInstance`, `testBasic`,
//! `testSimulation`), `TestSharedCount` (`testSimple*`, `testMultiClientVersioned`,
//! `testMultiClientDifferentSeed`, `testDisconnectReconnectEventDoesNotFireValueWatcher`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use zookeeper_blocking::recipes::{AtomicValue, BinaryNumber, Counter, Number, SharedCount};
use zookeeper_blocking::{Acl, Applied, Client, Code, CreateMode, Error, RecipeError, Version};

use crate::clients::soon;
use crate::faults::figure;
use crate::locks::{Yard, assert_code, assert_recipe, cancelled, ms};
use crate::nodes::{assert_ours, in_callback, we, whole};
use crate::support::calm::undisturbed;
use crate::support::forge::{AUTO, Forge};
use crate::support::server::Place;
use crate::support::wait::scaled;
use crate::support::wire::op;

fn counter<N: Number>(client: &Client) -> Counter<N> {
    Counter::new(client, "/counter").expect("legal")
}

fn binary<N: BinaryNumber>(client: &Client) -> Counter<N> {
    counter(client).binary()
}

fn stored(yard: &Yard) -> Vec<u8> {
    let mut raw = yard.raw();
    let data = raw.get(&whole(yard, "/counter")).expect("there").0;
    raw.close();
    data
}

fn store(yard: &Yard, data: &[u8]) {
    let mut raw = yard.raw();
    let path = whole(yard, "/counter");
    if raw.set(&path, data, -1).is_err() {
        raw.create(&path, data, 0).expect("new");
    }
    raw.close();
}

/// Kazoo `test_int_counter`, `test_counter_value_type`.
#[test]
fn integers_are_written_as_kazoo_writes_them() {
    let yard = Yard::new();
    let counter: Counter = counter(&yard.client());
    assert_eq!(counter.get().expect("answered"), 0);
    let change = counter.add(2).expect("counted");
    assert_eq!((change.before, change.after, change.lost), (0, 2, 0));
    assert_eq!(stored(&yard), b"2");
    counter.add(-7).expect("counted");
    assert_eq!(stored(&yard), b"-5");
    // As Kazoo makes it: empty. And as a person would type it.
    for (text, value) in
        [(&b""[..], 0), (b"41", 41), (b" 7\n", 7), (b"-9223372036854775808", i64::MIN)]
    {
        store(&yard, text);
        assert_eq!(counter.get().expect("a number"), value);
    }
}

/// Kazoo `test_float_counter`.
#[test]
fn floats_are_written_as_kazoo_writes_them() {
    let yard = Yard::new();
    let counter: Counter<f64> = counter(&yard.client());
    counter.add(2.1).expect("counted");
    assert_eq!(stored(&yard), b"2.1");
    counter.add(-3.1).expect("counted");
    assert_eq!(stored(&yard), b"-1.0");
    counter.set(1e16).expect("set");
    assert_eq!(stored(&yard), b"1e+16");
    store(&yard, b"inf");
    assert_eq!(counter.get().expect("a number"), f64::INFINITY);
}

/// Kazoo `test_int_curator_counter`; Curator `testBasic`.
#[test]
fn binary_numbers_are_written_as_curator_writes_them() {
    let yard = Yard::new();
    let client = yard.client();
    let four: Counter<i32> = binary(&client);
    four.add(i32::MAX).expect("counted");
    assert_eq!(stored(&yard), [0x7f, 0xff, 0xff, 0xff]);
    four.set(-i32::MAX).expect("set");
    assert_eq!(stored(&yard), [0x80, 0, 0, 1]);
    let eight: Counter<i64> = binary(&client);
    assert_recipe(eight.get(), RecipeError::Unreadable, Instant::now(), ms(5_000));
    eight.set(-2).expect("set");
    assert_eq!(stored(&yard), [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]);
    assert_eq!(eight.add(3).expect("counted").after, 1);
}

/// Curator `testCorruptedValue`.
#[test]
fn what_is_no_such_number_is_told_and_left_alone() {
    let yard = Yard::new();
    let client = yard.client();
    let now = Instant::now();
    // The last but one is a Python integer.
    for junk in [&b"three"[..], b"\xff\xfe", b"9223372036854775808", b"1.5"] {
        store(&yard, junk);
        let counter: Counter = counter(&client);
        assert_recipe(counter.get(), RecipeError::Unreadable, now, ms(20_000));
        assert_recipe(counter.add(1), RecipeError::Unreadable, now, ms(20_000));
        assert_eq!(stored(&yard), junk);
    }
    let counter: Counter = counter(&client);
    counter.set(i64::MAX).expect("set");
    assert_recipe(counter.add(1), RecipeError::Overflow, now, ms(20_000));
    assert_eq!(counter.get().expect("kept"), i64::MAX);
}

/// Curator `testCompareAndSetWithFreshInstance`, `testForceSet`, `initialize`.
#[test]
fn value_is_set_only_if_it_is_the_expected_one() {
    let yard = Yard::new();
    let client = yard.client();
    let counter: Counter = counter(&client);
    assert!(counter.compare_and_set(0, 10).expect("answered"), "none is 0");
    assert!(!counter.compare_and_set(0, 11).expect("answered"));
    assert!(!counter.initialize(5).expect("answered"));
    assert_eq!(counter.get().expect("answered"), 10);
    let same = counter.update(|_| None).expect("answered");
    assert_eq!((same.before, same.after), (10, 10));
    assert_eq!(client.exists("/counter").expect("answered").expect("there").version, 0);
    let other = AtomicValue::new(&client, "/other").expect("legal");
    assert!(other.initialize("x").expect("answered"));
    other.set("y").expect("set");
    assert_eq!(other.get().expect("answered"), b"y");
}

/// Curator `testSimulation`.
#[test]
fn additions_of_many_clients_are_all_counted() {
    let yard = Yard::new();
    let clients: Vec<_> = (0..4).map(|_| yard.client()).collect();
    let lost = AtomicUsize::new(0);
    let start = Instant::now();
    thread::scope(|scope| {
        for number in 0..8 {
            let counter: Counter = counter(&clients[number % 4]);
            let lost = &lost;
            scope.spawn(move || {
                for _ in 0..25 {
                    let change = counter.add(1).expect("counted");
                    assert_eq!(change.after, change.before + 1);
                    lost.fetch_add(change.lost as usize, Ordering::Relaxed);
                }
            });
        }
    });
    figure("counter: 200 additions by 8 threads, lost tries", (start.elapsed(), lost));
    assert_eq!(counter::<i64>(&clients[0]).get().expect("answered"), 200);
}

#[test]
fn whoever_loses_too_often_goes_on_with_a_lock() {
    let yard = Yard::new();
    let counter: Counter = counter(&yard.client());
    let counter = counter.promote_to_lock("/lock", 2).expect("legal");
    let rival = yard.client();
    let mut tries = 0;
    let change = counter
        .update(|number| {
            tries += 1;
            assert_eq!(yard.nodes().len(), usize::from(tries > 2), "try {tries}");
            if tries < 5 {
                AtomicValue::new(&rival, "/counter").expect("legal").set("1").expect("set");
            }
            Some(number + 1)
        })
        .expect("the rival gives up");
    assert_eq!((change.after, change.lost), (2, 4));
    yard.await_nodes(0);
}

#[test]
fn deadline_and_cancel_end_a_change_that_always_loses() {
    undisturbed(|| {
        let yard = Yard::new();
        let client = yard.client();
        let value = AtomicValue::new(&client, "/counter").expect("legal");
        let rival = value.clone();
        let lose = move |_: &[u8]| {
            rival.set("theirs").expect("set");
            Some(b"ours".to_vec())
        };
        assert!(value.try_update(lose.clone()).expect("answered").is_none());
        let start = Instant::now();
        let late = value.update_timeout(scaled(ms(200)), lose.clone());
        let took = start.elapsed();
        // Unknown if the deadline came just in the middle of a write, which lost all the same.
        assert!(matches!(&late, Err(Error::Timeout { .. })), "{late:?}");
        assert_eq!(value.get().expect("answered"), b"theirs");
        assert!(took >= scaled(ms(200)) && took < scaled(ms(300)), "{took:?}");
        let start = Instant::now();
        let ended = cancelled(|| value.cancel(), || value.update(lose));
        assert_recipe(ended, RecipeError::Cancelled, start, ms(1_000));
        assert_eq!(value.get().expect("answered"), b"theirs");
    });
}

/// The answer is lost with the connection: the addition was made, or it was not.
#[test]
fn e8_lost_answer_is_told_and_lost_request_is_made_again_and_nothing_counts_twice() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).connect().expect("serves");
    let counter: Counter = counter(&client);
    let mut expected = 0;
    // The first is a create, the later ones set.
    for code in [op::CREATE, op::SET_DATA, op::SET_DATA] {
        proxy.drop_request(code);
        let change = counter.add(1).expect("not made, so made again");
        expected += 1;
        assert_eq!((change.after, change.lost), (expected, 1));
    }
    proxy.drop_reply_to(op::SET_DATA);
    let error = counter.add(1).expect_err("nobody can tell");
    expected += 1;
    assert_eq!(error.applied(), Applied::Unknown, "{error}");
    assert_eq!(counter.get().expect("answered"), expected, "made once");
    // A read is repeated, whatever happens to it.
    proxy.drop_reply_to(op::GET_DATA);
    assert_eq!(counter.add(1).expect("counted").after, expected + 1);
    client.delete("/counter", Version::Any).expect("there");
    proxy.drop_reply_to(op::CREATE);
    let error = counter.add(1).expect_err("nobody can tell");
    assert_eq!(error.applied(), Applied::Unknown, "{error}");
    assert_eq!(counter.get().expect("answered"), 1, "made once");
}

#[test]
fn e8_deadline_while_a_write_is_on_its_way_says_that_it_was_sent() {
    undisturbed(|| {
        let yard = Yard::new();
        let proxy = yard.proxy();
        let counter: Counter = counter(&yard.through(&proxy).connect().expect("serves"));
        counter.add(1).expect("counted");
        proxy.once(
            crate::support::proxy::Way::ToServer,
            crate::support::proxy::Pick::Op(op::SET_DATA),
            1,
            crate::support::proxy::Act::Hold,
        );
        let error = counter.add_timeout(1, scaled(ms(150))).expect_err("no answer");
        assert!(matches!(error, Error::Timeout { sent: true, .. }), "{error}");
        proxy.heal();
        assert!((1..=2).contains(&counter.get().expect("answered")));
    });
}

/// A history of additions under cuts at random places: what was counted is what was told, and at
/// most what could not be told.
#[test]
fn e8_sum_is_that_of_the_books_under_random_cuts() {
    let yard = Yard::new();
    let proxy = Arc::new(yard.proxy());
    let over = Arc::new(AtomicBool::new(false));
    let cutter = {
        let (proxy, over) = (proxy.clone(), over.clone());
        thread::spawn(move || {
            let mut cuts = 0;
            while !over.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(7 + cuts % 23));
                proxy.wait_replies(2, &over);
                proxy.cut();
                cuts += 1;
            }
            cuts
        })
    };
    let (told, unknown) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..3 {
            let client = yard.through(&proxy).connect().expect("serves");
            let counter: Counter = counter(&client);
            let (told, unknown) = (&told, &unknown);
            scope.spawn(move || {
                for _ in 0..60 {
                    match counter.add(1) {
                        Ok(_) => told.fetch_add(1, Ordering::Relaxed),
                        Err(error) => {
                            assert_eq!(error.applied(), Applied::Unknown, "{error}");
                            unknown.fetch_add(1, Ordering::Relaxed)
                        }
                    };
                }
            });
        }
    });
    over.store(true, Ordering::Relaxed);
    let cuts = cutter.join().expect("no panic");
    let (told, unknown) = (told.into_inner() as i64, unknown.into_inner() as i64);
    let sum = counter::<i64>(&yard.client()).get().expect("answered");
    figure("counter: cuts, told, unknown, sum", (cuts, told, unknown, sum));
    assert!(told <= sum && sum <= told + unknown, "{told} told, {unknown} unknown, {sum} counted");
}

/// ZOOKEEPER-4743: version -1 means any version to servers before 3.9.
#[test]
fn e8_version_minus_one_is_refused_and_not_overwritten_blindly() {
    let log = Forge::new()
        .create("/counter", b"7", AUTO)
        .set_data("/counter", b"7", -2)
        .set_data("/counter", b"7", -1)
        .finish();
    let server = Place::start_with_log(log);
    let client = Client::connect(&server.connect_string()).expect("serves");
    let counter: Counter = counter(&client);
    assert_eq!(client.exists("/counter").expect("answered").expect("forged").version, -1);
    let refused = counter.add(1);
    assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    assert_eq!(counter.get().expect("answered"), 7);
}

#[test]
fn e9_parents_are_made_again_when_somebody_removed_them() {
    let yard = Yard::new();
    let client = yard.client();
    let counter: Counter = Counter::new(&client, "/a/b/counter").expect("legal");
    for _ in 0..2 {
        assert_eq!(counter.add(3).expect("counted").after, 3);
        client.delete_recursive("/a").expect("there");
    }
    counter.set(4).expect("set");
    assert_eq!(counter.get().expect("answered"), 4);
}

#[test]
fn e10_acl_is_on_the_node_and_on_every_parent() {
    let yard = Yard::new();
    let counter: Counter = Counter::new(&we(&yard), "/a/counter").expect("legal");
    counter.acl([Acl::creator_all()]).add(1).expect("counted");
    assert_ours(&yard, &["/a", "/a/counter"]);
    let stranger: Counter = Counter::new(&yard.client(), "/a/counter").expect("legal");
    let start = Instant::now();
    assert_code(stranger.add(1), Code::NoAuth);
    assert!(start.elapsed() < soon(), "no retries");
}

#[test]
fn counters_work_in_callbacks_and_cost_two_round_trips() {
    undisturbed(|| {
        let yard = Yard::new();
        let proxy = yard.proxy();
        let client = yard.through(&proxy).connect().expect("serves");
        let counter: Counter = counter(&client);
        let own = counter.clone();
        assert_eq!(in_callback(&client, move || own.add(1)).expect("counted").after, 1);
        proxy.far();
        proxy.reset_counts();
        counter.add(1).expect("counted");
        let counts = proxy.counts();
        figure("counter: round trips of an addition", counts.round_trips);
        assert_eq!((counts.round_trips, counts.to_server.requests()), (2, 2));
    });
}

#[test]
fn e22_counter_on_a_pinned_session_does_not_go_on_in_the_next() {
    let yard = Yard::new();
    let client = yard.client();
    let session = client.session().expect("connected");
    let pinned: Counter = counter(&session);
    pinned.add(1).expect("counted");
    client.create("/ephemeral", "", CreateMode::Ephemeral).expect("new");
    client.close().expect("acknowledged");
    assert!(pinned.add(1).is_err());
    assert_eq!(stored(&yard), b"1");
}

/// Curator `TestSharedCount`: `testBasic`, `testSimpleVersioned`, `testMultiClientVersioned`,
/// `testMultiClientDifferentSeed`.
#[test]
fn shared_count_is_set_by_version_and_seen_by_all() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).connect().expect("serves");
    let count = SharedCount::new(&client, "/a/count", 3).expect("legal");
    let other = SharedCount::new(&yard.client(), "/a/count", 9).expect("legal");
    assert_eq!(other.recv().expect("answered"), 9, "none yet: its seed");
    let read = count.get().expect("made");
    assert_eq!((read.value, read.version()), (3, 0));
    assert_eq!(other.recv().expect("made"), 3, "the first seed counts");
    assert_eq!(yard.raw().get(&whole(&yard, "/a/count")).expect("there").0, [0, 0, 0, 3]);
    assert!(count.try_set(&read, 4).expect("answered"));
    assert!(!other.try_set(&read, 5).expect("answered"), "it is not what was read any more");
    assert_eq!(other.recv().expect("set"), 4);
    other.set(6).expect("set");
    let read = count.get().expect("there");
    assert_eq!(read.value, 6);
    proxy.drop_request(op::SET_DATA);
    assert!(count.try_set(&read, 7).expect("made again"));
    let read = count.get().expect("there");
    proxy.drop_reply_to(op::SET_DATA);
    let error = count.try_set(&read, 8).expect_err("nobody can tell");
    assert_eq!(error.applied(), Applied::Unknown);
    assert_eq!(other.get().expect("there").value, 8);
    let counter: Counter<i32> = Counter::new(&client, "/a/count").expect("legal").binary();
    assert_eq!(counter.add(1).expect("counted").after, 9);
}

#[test]
fn shared_count_tells_of_changes_and_not_of_cuts() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).connect().expect("serves");
    let count = SharedCount::new(&client, "/count", 3).expect("legal");
    count.set(4).expect("set");
    assert_eq!(count.recv().expect("set"), 4);
    for value in [5, 6] {
        proxy.cut();
        client.sync("/").or_else(|_| client.sync("/")).expect("connected again");
        let nothing = count.recv_timeout(scaled(ms(60)));
        assert!(matches!(nothing, Err(Error::Timeout { .. })), "{nothing:?}");
        // Set while there is no connection.
        proxy.refuse();
        proxy.cut();
        SharedCount::new(&yard.client(), "/count", 0).expect("legal").set(value).expect("set");
        proxy.accept();
        assert_eq!(count.recv().expect("connected again"), value);
    }
}
