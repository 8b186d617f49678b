//! Numbers that Curator 5.4 and ours change in one node.

use std::thread;
use std::time::Instant;

use zookeeper_blocking::recipes::{AtomicValue, BinaryNumber, Counter, NameStyle, SharedCount};
use zookeeper_blocking::{Client, RecipeError};

use crate::clients::patience;
use crate::interop::curator::Curator;
use crate::locks::{Yard, assert_recipe, lock, ms};
use crate::nodes::whole;
use crate::support::wait::eventually;

fn curator(yard: &Yard) -> Curator {
    Curator::start(&yard.chroot.connect_string())
}

fn counter<N: BinaryNumber>(client: &Client) -> Counter<N> {
    Counter::new(client, "/a/count").expect("legal").binary()
}

/// What is in the node, as a witness sees it.
fn bytes(yard: &Yard) -> Vec<u8> {
    let mut raw = yard.raw();
    let (data, _) = raw.get(&whole(yard, "/a/count")).expect("there");
    raw.close();
    data
}

#[track_caller]
fn assert_unlike<T: std::fmt::Debug>(result: zookeeper_blocking::Result<T>, wanted: RecipeError) {
    assert_recipe(result, wanted, Instant::now(), ms(1_000));
}

#[test]
fn atomic_long_is_a_counter_of_eight_bytes() {
    let yard = Yard::new();
    let java = curator(&yard);
    let ours = counter::<i64>(&yard.client());
    java.make("n", "long", &["/a/count"]);
    // Nothing is 0 for both, and Curator's look makes no node.
    assert_eq!(java.ask("n", &["get"]), "0");
    assert_eq!(ours.get().expect("readable"), 0);
    assert_eq!(java.ask("n", &["add", "5"]), "0 5");
    assert_eq!(bytes(&yard), [0, 0, 0, 0, 0, 0, 0, 5]);
    let change = ours.add(-12).expect("added");
    assert_eq!((change.before, change.after), (5, -7));
    assert_eq!(java.ask("n", &["get"]), "-7");
    assert_eq!(java.ask("n", &["compare_and_set", "5", "1"]), "false");
    assert_eq!(java.ask("n", &["compare_and_set", "-7", "9223372036854775807"]), "true");
    assert_unlike(ours.add(1), RecipeError::Overflow);
    assert!(!ours.compare_and_set(5, 1).expect("answered"));
    assert!(ours.compare_and_set(i64::MAX, i64::MIN).expect("answered"));
    assert_eq!(java.ask("n", &["add", "1"]), format!("{} {}", i64::MIN, i64::MIN + 1));
    // Who comes first initializes.
    assert_eq!(java.ask("n", &["initialize", "3"]), "false");
    assert!(!ours.initialize(3).expect("answered"));
    java.ask("n", &["set", "77"]);
    assert_eq!(ours.get().expect("readable"), 77);
    ours.set(-78).expect("set");
    assert_eq!(java.ask("n", &["get"]), "-78");
}

#[test]
fn atomic_integer_is_a_counter_of_four_bytes() {
    let yard = Yard::new();
    let java = curator(&yard);
    let client = yard.client();
    let ours = counter::<i32>(&client);
    java.make("n", "int", &["/a/count"]);
    assert!(ours.initialize(-3).expect("answered"));
    assert_eq!(bytes(&yard), [0xff, 0xff, 0xff, 0xfd]);
    assert_eq!(java.ask("n", &["initialize", "8"]), "false");
    assert_eq!(java.ask("n", &["add", "10"]), "-3 7");
    assert_eq!(ours.add(i32::MIN).expect("in range").after, i32::MIN + 7);
    assert_eq!(java.ask("n", &["get"]), (i32::MIN + 7).to_string());
    // A number of the other length is none for either.
    java.make("l", "long", &["/a/count"]);
    assert_eq!(java.ask("l", &["get"]), "RuntimeException");
    assert_unlike(counter::<i64>(&client).get(), RecipeError::Unreadable);
    java.ask("l", &["set", "1"]);
    assert_unlike(ours.add(1), RecipeError::Unreadable);
    assert_eq!(counter::<i64>(&client).add(1).expect("added").after, 2);
}

#[test]
fn each_change_counts_once_while_both_count() {
    const EACH: usize = 100;
    let yard = Yard::new();
    let java = curator(&yard);
    for name in ["a", "b"] {
        java.make(name, "long", &["/a/count"]);
    }
    let asked = ["a", "b"].map(|name| java.begin(name, &["add", "1", &EACH.to_string()]));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let own = counter::<i64>(&yard.client());
            thread::spawn(move || {
                for _ in 0..EACH {
                    own.add(1_000).expect("added");
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
    for asked in asked {
        let answer = asked.answer();
        assert!(answer.contains(' '), "{answer}");
    }
    let total = counter::<i64>(&yard.client()).get().expect("readable");
    assert_eq!(total, 2 * 1_001 * EACH as i64);
}

#[test]
fn change_that_lost_too_often_waits_in_line_with_curators_mutexes() {
    let yard = Yard::new();
    let java = curator(&yard);
    let client = yard.client();
    java.make("m", "mutex", &["/lock", "java"]);
    java.make("n", "mutex", &["/lock", "java behind"]);
    assert_eq!(java.ask("m", &["acquire"]), "done");
    let ours = AtomicValue::new(&client, "/a/count").expect("legal");
    let rival = ours.clone();
    let ours = ours.promote_to_lock("/lock", 1).expect("legal");
    let changing = thread::spawn(move || {
        let mut is_first = true;
        let change = ours.update(|old| {
            if std::mem::take(&mut is_first) {
                rival.set("rival's").expect("set");
            }
            Some([old, &b" and ours"[..]].concat())
        });
        change.expect("in time")
    });
    yard.await_nodes(2);
    // Curator counts ours: whoever asks after it is served after it.
    let behind = java.begin("n", &["acquire"]);
    yard.await_nodes(3);
    assert!(!changing.is_finished(), "Curator has the lock");
    assert_eq!(java.ask("m", &["release"]), "done");
    let change = changing.join().expect("no panic");
    assert_eq!((&change.after[..], change.lost), (&b"rival's and ours"[..], 1));
    assert_eq!(behind.answer(), "done");
    let held = lock(&client).name_style(NameStyle::Curator).contenders().expect("answered");
    assert_eq!(held.len(), 1, "ours is out of the line");
    assert_eq!(java.ask("n", &["release"]), "done");
}

#[test]
fn shared_count_is_seen_and_set_by_version_on_both_sides() {
    let yard = Yard::new();
    let java = curator(&yard);
    let ours = SharedCount::new(&yard.client(), "/a/count", 7).expect("legal");
    // The first seed is everybody's.
    java.make("c", "count", &["/a/count", "-5"]);
    assert_eq!(java.ask("c", &["read"]), "-5");
    assert_eq!(bytes(&yard), [0xff, 0xff, 0xff, 0xfb]);
    let read = ours.get().expect("readable");
    assert_eq!(read.value, -5);
    assert_eq!(ours.recv().expect("readable"), -5);
    // Curator's change is seen, and what was read before is out of date.
    assert_eq!(java.ask("c", &["try_set", "6"]), "true");
    assert_eq!(ours.recv_timeout(patience()).expect("a change"), 6);
    assert!(!ours.try_set(&read, 8).expect("answered"));
    // Ours is seen.
    assert_eq!(java.ask("c", &["read"]), "6");
    let read = ours.get().expect("readable");
    assert!(ours.try_set(&read, i32::MAX).expect("answered"));
    assert_eq!(java.ask("c", &["try_set", "9"]), "false");
    eventually("Curator sees it", patience(), || java.ask("c", &["get"]) == i32::MAX.to_string());
    ours.set(i32::MIN).expect("set");
    eventually("Curator sees it", patience(), || java.ask("c", &["get"]) == i32::MIN.to_string());
    // The counter of four bytes is the same node.
    assert_eq!(counter::<i32>(&yard.client()).add(1).expect("added").after, i32::MIN + 1);
    java.ask("c", &["set", "0"]);
    eventually("ours sees the last", patience(), || {
        ours.recv_timeout(patience()).expect("a change") == 0
    });
    // And where ours makes the node.
    let other = SharedCount::new(&yard.client(), "/b/other", 3).expect("legal");
    assert_eq!(other.get().expect("made").value, 3);
    java.make("o", "count", &["/b/other", "4"]);
    assert_eq!(java.ask("o", &["get"]), "3");
}
