//! Numbers that Kazoo 2.11 and ours count in one node, in each of the forms.

use std::thread;
use std::time::Instant;

use zookeeper_blocking::recipes::{Counter, SharedCount};
use zookeeper_blocking::{Client, RecipeError};

use crate::interop::kazoo::Kazoo;
use crate::locks::{Yard, assert_recipe, ms};
use crate::nodes::whole;

fn kazoo(yard: &Yard) -> Kazoo {
    Kazoo::start(&yard.chroot.connect_string())
}

fn integer(client: &Client) -> Counter {
    Counter::new(client, "/count").expect("legal")
}

/// What is in the node, as a witness sees it.
fn bytes(yard: &Yard) -> Vec<u8> {
    let mut raw = yard.raw();
    let (data, _) = raw.get(&whole(yard, "/count")).expect("there");
    raw.close();
    data
}

#[track_caller]
fn assert_unlike<T: std::fmt::Debug>(result: zookeeper_blocking::Result<T>, wanted: RecipeError) {
    assert_recipe(result, wanted, Instant::now(), ms(1_000));
}

#[test]
fn integers_are_counted_in_text_by_both() {
    let yard = Yard::new();
    let python = kazoo(&yard);
    let ours = integer(&yard.client());
    python.make("c", "int", &["/count"]);
    // To look makes an empty node, which is 0 for both.
    assert_eq!(python.ask(&["value", "c"]), "0");
    assert_eq!(ours.get().expect("readable"), 0);
    assert_eq!(python.ask(&["add", "c", "5"]), "5");
    let change = ours.add(-12).expect("added");
    assert_eq!((change.before, change.after), (5, -7));
    assert_eq!(bytes(&yard), b"-7");
    assert_eq!(python.ask(&["value", "c"]), "-7");
    assert_eq!(python.ask(&["add", "c", "-3"]), "-10");
    assert!(ours.compare_and_set(-10, i64::MIN).expect("answered"));
    assert_eq!(python.ask(&["add", "c", "1"]), (i64::MIN + 1).to_string());
    // And where ours makes the node.
    let other = Counter::<i64>::new(&yard.client(), "/a/b/other").expect("legal");
    other.initialize(3).expect("made");
    python.make("o", "int", &["/a/b/other"]);
    assert_eq!(python.ask(&["add", "o", "4"]), "7");
    assert_eq!(other.get().expect("readable"), 7);
}

#[test]
fn integers_beyond_ours_are_refused_and_left_alone() {
    let yard = Yard::new();
    let python = kazoo(&yard);
    let ours = integer(&yard.client());
    python.make("c", "int", &["/count"]);
    ours.set(i64::MAX).expect("set");
    assert_unlike(ours.add(1), RecipeError::Overflow);
    // Python's integers have no end.
    assert_eq!(python.ask(&["add", "c", "1"]), "9223372036854775808");
    assert_unlike(ours.get(), RecipeError::Unreadable);
    assert_unlike(ours.add(-1), RecipeError::Unreadable);
    assert_eq!(bytes(&yard), b"9223372036854775808");
    assert_eq!(python.ask(&["add", "c", "-1"]), i64::MAX.to_string());
    assert_eq!(ours.add(-1).expect("in range again").after, i64::MAX - 1);
    // Nor is a number of another sort one for either.
    let float = Counter::<f64>::new(&yard.client(), "/count").expect("legal");
    float.set(2.5).expect("set");
    assert_eq!(python.ask(&["value", "c"]), "ValueError");
    assert_unlike(ours.add(1), RecipeError::Unreadable);
}

#[test]
fn floats_are_the_same_to_the_last_bit_and_to_the_last_byte() {
    let yard = Yard::new();
    let python = kazoo(&yard);
    let ours = Counter::<f64>::new(&yard.client(), "/count").expect("legal");
    python.make("c", "float", &["/count"]);
    assert_eq!(python.ask(&["value", "c"]), "0.0");
    for number in [
        0.1,
        -2.0,
        3.25e-5,
        0.0001,
        123_456_789.123_456_79,
        9_999_999_999_999_998.0,
        1e16,
        -1.5e300,
        f64::MAX,
        f64::MIN_POSITIVE,
        5e-324,
        f64::INFINITY,
        f64::NEG_INFINITY,
    ] {
        // Theirs, made of nothing.
        ours.set(0.0).expect("set");
        let shown = python.ask(&["add", "c", &format!("{number:e}")]);
        let written = bytes(&yard);
        assert_eq!(written, shown.as_bytes());
        assert_eq!(ours.get().expect("readable").to_bits(), number.to_bits(), "{shown}");
        // Ours, of the same number.
        ours.set(number).expect("set");
        assert_eq!(bytes(&yard), written);
        assert_eq!(python.ask(&["value", "c"]), shown);
    }
    // Both add in the same way.
    ours.set(0.1).expect("set");
    assert_eq!(python.ask(&["add", "c", "0.2"]), "0.30000000000000004");
    assert_eq!(ours.add(0.2).expect("added").after.to_bits(), (0.1 + 0.2 + 0.2_f64).to_bits());
}

#[test]
fn four_bytes_are_curators_for_both() {
    let yard = Yard::new();
    let python = kazoo(&yard);
    let client = yard.client();
    let ours = Counter::<i32>::new(&client, "/count").expect("legal").binary();
    python.make("c", "bytes", &["/count"]);
    assert_eq!(python.ask(&["value", "c"]), "0");
    assert_eq!(ours.add(7).expect("added").after, 7);
    assert_eq!(bytes(&yard), [0, 0, 0, 7]);
    assert_eq!(python.ask(&["add", "c", "-9"]), "-2");
    assert_eq!(bytes(&yard), [0xff, 0xff, 0xff, 0xfe]);
    let shared = SharedCount::new(&client, "/count", 1).expect("legal");
    let read = shared.get().expect("readable");
    assert_eq!(read.value, -2);
    assert_eq!(python.ask(&["add", "c", "1"]), "-1");
    assert!(!shared.try_set(&read, 5).expect("answered"), "Kazoo was faster");
    assert_eq!(shared.recv().expect("readable"), -1);
    assert_eq!(python.ask(&["add", "c", "3"]), "2");
    assert_eq!(shared.recv().expect("a change"), 2);
    // Neither wraps around.
    ours.set(i32::MAX).expect("set");
    assert_eq!(python.ask(&["add", "c", "1"]), "error");
    assert_unlike(ours.add(1), RecipeError::Overflow);
    assert_eq!(python.ask(&["value", "c"]), i32::MAX.to_string());
    // Text is no bytes.
    integer(&client).set(12_345).expect("set");
    assert_eq!(python.ask(&["value", "c"]), "error");
    assert_unlike(ours.get(), RecipeError::Unreadable);
}

#[test]
fn each_change_counts_once_while_both_count() {
    const EACH: usize = 25;
    let yard = Yard::new();
    let python = kazoo(&yard);
    // One each, as two threads may not share Kazoo's.
    for name in ["a", "b"] {
        python.make(name, "int", &["/count"]);
    }
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let own = integer(&yard.client());
            thread::spawn(move || {
                for _ in 0..EACH {
                    own.add(1_000).expect("added");
                    // Kazoo backs off further each time that it loses.
                    thread::sleep(ms(2));
                }
            })
        })
        .collect();
    let asked = ["a", "b"].map(|name| python.begin(&["add", name, "1", &EACH.to_string()]));
    for thread in threads {
        thread.join().expect("no panic");
    }
    for asked in asked {
        let last: i64 = asked.answer().parse().expect("a number");
        assert!(last > 0);
    }
    let total = integer(&yard.client()).get().expect("readable");
    assert_eq!(total, 2 * 1_001 * EACH as i64);
}
