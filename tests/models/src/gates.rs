//! The bound on requests in flight.

use std::time::Duration;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::Model;
use crate::io::gate::Gate;
use crate::io::sync::clock::{self, Instant};

pub(crate) const MODELS: &[Model] = &[
    ("the gate lets no more in than its limit, and everybody in the end", 3, everybody_enters),
    ("the room of who waits in vain goes to the next in line", 3, the_next_has_his_turn),
    ("who asks for too much keeps nobody out", 4, too_much_keeps_nobody_out),
];

fn everybody_enters() {
    let gate = Arc::new(Gate::new(2));
    let inside = Arc::new(AtomicUsize::new(0));
    let pass = |n: usize| {
        let (gate, inside) = (gate.clone(), inside.clone());
        move || {
            assert!(gate.enter(n, None, || false));
            assert!(inside.fetch_add(n, Ordering::AcqRel) + n <= 2, "too many");
            inside.fetch_sub(n, Ordering::AcqRel);
            gate.leave(n);
        }
    };
    let others = [thread::spawn(pass(2)), thread::spawn(pass(1))];
    pass(1)();
    others.into_iter().for_each(|other| other.join().unwrap());
    assert_eq!(gate.inside(), 0);
    assert!(gate.try_enter(2), "nobody stands in line");
}

fn the_next_has_his_turn() {
    let gate = Arc::new(Gate::new(2));
    assert!(gate.try_enter(1));
    let large = {
        let gate = gate.clone();
        // In vain, or not at all: what is inside never leaves.
        let deadline = Instant::now() + Duration::from_millis(10);
        thread::spawn(move || assert!(!gate.enter(2, Some(deadline), || false)))
    };
    let small = {
        let gate = gate.clone();
        thread::spawn(move || assert!(gate.enter(1, None, || false)))
    };
    clock::tick();
    large.join().unwrap();
    small.join().unwrap();
    assert_eq!(gate.inside(), 2);
    gate.leave(1);
    assert!(gate.try_enter(1), "nobody stands in line");
}

fn too_much_keeps_nobody_out() {
    let gate = Arc::new(Gate::new(3));
    assert!(gate.try_enter(1));
    let greedy = {
        let gate = gate.clone();
        thread::spawn(move || assert!(!gate.try_enter(3)))
    };
    assert!(gate.try_enter(1), "there is room");
    greedy.join().unwrap();
    assert_eq!(gate.inside(), 2);
}
