//! One place for one outcome: who waits, who gives up, who answers.

use std::time::Duration;

use loom::sync::Arc;
use loom::thread;

use crate::Model;
use crate::io::completion::Completion;
use crate::io::crowd::Crowd;
use crate::io::slot::{Slot, Wake};
use crate::io::sync::clock::{self, Instant};
use crate::session::{Failure, Outcome};

pub(crate) const MODELS: &[Model] = &[
    ("a caller that waits alone is woken by its answer", 4, || waits(|c| answer(c, 1))),
    ("a caller is answered by a completion that is dropped", 4, || waits(drop)),
    ("an answer and a caller that gives up agree on who was first", 5, gives_up),
    ("an answer and a deadline agree on who was first", 3, misses_its_deadline),
    ("a late answer never reaches the next call of its caller", 4, calls_again),
    ("answers to calls one after the other stay apart", 3, calls_twice),
    ("a call that was handed to another thread wakes that thread", 3, is_handed_on),
];

/// As the IO thread does it: claims, answers, wakes. Whether the answer came first.
fn answer(completion: Completion, with: u32) -> bool {
    if !completion.claim() {
        return false;
    }
    match completion.finish(Outcome::Reply(with)) {
        Ok(Wake::Thread(waiter)) => waiter.unpark(),
        Ok(Wake::Nobody) => {}
        Ok(other) => panic!("{other:?}"),
        Err(_) => return false,
    }
    true
}

fn waits<T: 'static>(end: fn(Completion) -> T) {
    let crowd = Crowd::default();
    let slot = Slot::take();
    let completion = Completion::slot(&slot);
    let io = thread::spawn(move || drop(end(completion)));
    match slot.wait_until(None, Instant::now(), &crowd, || true) {
        Some(Outcome::Reply(1) | Outcome::Failed(Failure::Closed { sent: false })) => {}
        other => panic!("{other:?}"),
    }
    io.join().unwrap();
}

/// What the caller has in the end; `Ok(sent)` if nothing.
fn give_up(slot: &Slot) -> Result<bool, u32> {
    match slot.abandon() {
        Ok(sent) => Ok(sent),
        Err(Outcome::Reply(with)) => Err(with),
        Err(other) => panic!("{other:?}"),
    }
}

fn gives_up() {
    let slot = Slot::take();
    let completion = Completion::slot(&slot);
    let io = thread::spawn(move || {
        let claimed = completion.claim();
        (claimed, claimed && completion.finish(Outcome::Reply(1)).is_ok())
    });
    let ended = match slot.try_take() {
        Some(Outcome::Reply(with)) => Err(with),
        Some(other) => panic!("{other:?}"),
        None => give_up(&slot),
    };
    match (ended, io.join().unwrap()) {
        (Err(1), (true, true)) | (Ok(true), (true, false)) | (Ok(false), (false, false)) => {}
        other => panic!("{other:?}"),
    }
}

fn misses_its_deadline() {
    let crowd = Crowd::default();
    let deadline = Instant::now() + Duration::from_millis(10);
    let slot = Slot::take();
    let completion = Completion::slot(&slot);
    let io = thread::spawn(move || answer(completion, 1));
    clock::tick();
    let came = match slot.wait_until(Some(deadline), Instant::now(), &crowd, || true) {
        Some(Outcome::Reply(1)) => true,
        Some(other) => panic!("{other:?}"),
        None => give_up(&slot).is_err(),
    };
    assert_eq!(came, io.join().unwrap());
}

fn calls_again() {
    let crowd = Crowd::default();
    let first = Slot::take();
    let late = Completion::slot(&first);
    let one = thread::spawn(move || answer(late, 1));
    let first_came = give_up(&first).is_err();
    drop(first);
    let second = Slot::take();
    let completion = Completion::slot(&second);
    // Behind the first, on the same thread or another: the place is what matters.
    let two = thread::spawn(move || answer(completion, 2));
    match second.wait_until(None, Instant::now(), &crowd, || true) {
        Some(Outcome::Reply(2)) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(one.join().unwrap(), first_came);
    assert!(two.join().unwrap());
}

fn calls_twice() {
    let crowd = Crowd::default();
    for with in 1..=2 {
        let slot = Slot::take();
        let completion = Completion::slot(&slot);
        let io = thread::spawn(move || answer(completion, with));
        match slot.wait_until(None, Instant::now(), &crowd, || true) {
            Some(Outcome::Reply(came)) => assert_eq!(came, with),
            other => panic!("{other:?}"),
        }
        drop(slot);
        if with == 2 {
            assert!(io.join().unwrap());
        }
    }
}

fn is_handed_on() {
    let slot = Slot::take();
    let completion = Completion::slot(&slot);
    let limit = Instant::now() + Duration::from_millis(10);
    let first = thread::spawn(move || {
        let came = slot.wait_until(Some(limit), Instant::now(), &Crowd::default(), || true);
        came.ok_or(slot)
    });
    let io = thread::spawn(move || answer(completion, 1));
    clock::tick();
    let came = match first.join().unwrap() {
        Ok(outcome) => Some(outcome),
        Err(slot) => slot.wait_until(None, Instant::now(), &Crowd::default(), || true),
    };
    assert!(matches!(came, Some(Outcome::Reply(1))), "{came:?}");
    assert!(io.join().unwrap());
}

/// Answers a call of a crowd; tells whether the crowd is to be called.
pub(crate) fn answer_in_crowd(completion: Completion, with: u32) -> bool {
    assert!(completion.claim());
    match completion.finish(Outcome::Reply(with)) {
        Ok(Wake::Thread(waiter)) => {
            waiter.unpark();
            false
        }
        Ok(Wake::Crowd) => true,
        Ok(Wake::Nobody) => false,
        other => panic!("{other:?}"),
    }
}

/// Waits for that answer.
pub(crate) fn wait_for(slot: &Slot, crowd: &Arc<Crowd>, with: u32) {
    match slot.wait_until(None, Instant::now(), crowd, || true) {
        Some(Outcome::Reply(came)) => assert_eq!(came, with),
        other => panic!("{other:?}"),
    }
}
