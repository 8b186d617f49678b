//! The bound on requests in flight.
//!
//! One word counts those inside and says whether anybody waits: whoever leaves reads both in the
//! step by which he leaves, so no room goes unnoticed and leaving an unwatched gate is one step.
//!
//! Who waits stands in a line, and nobody passes it. A batch needs much room at once; among
//! callers who each take the next free place it would wait for ever.

use std::collections::VecDeque;
use std::time::Duration;

use crate::io::sync::atomic::{AtomicUsize, Ordering};
use crate::io::sync::{Condvar, Instant, Mutex};

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Gate {
    limit: usize,
    /// How many are inside, and [`LINE`].
    word: AtomicUsize,
    line: Mutex<Line>,
    room: Condvar,
}

#[derive(Debug, Default)]
struct Line {
    tickets: VecDeque<u64>,
    next: u64,
}

impl Gate {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit: limit.clamp(1, LINE - 1),
            word: AtomicUsize::new(0),
            line: Mutex::new(Line::default()),
            room: Condvar::new(),
        }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// How many are inside now.
    pub(crate) fn inside(&self) -> usize {
        self.word.load(Ordering::Relaxed) & !LINE
    }

    /// Enters with `n` at once, at most the limit; not while others stand in line.
    pub(crate) fn try_enter(&self, n: usize) -> bool {
        // A word with the line in it is above every limit.
        self.step_in(n, |word| word)
    }

    /// Enters whether there is room or not: for the few requests that clean up behind a user and
    /// may not wait.
    pub(crate) fn force(&self) {
        self.word.fetch_add(1, Ordering::AcqRel);
    }

    /// Waits for room; false if there was none until `deadline`, or `give_up` says so.
    pub(crate) fn enter(
        &self,
        n: usize,
        deadline: Option<Instant>,
        give_up: impl Fn() -> bool,
    ) -> bool {
        if self.try_enter(n) {
            return true;
        }
        let mut line = self.line.lock();
        let ticket = line.next;
        line.next += 1;
        line.tickets.push_back(ticket);
        // Before the next look at the room: who leaves before this leaves room that we see, who
        // leaves after it sees the line. The lock keeps his signal from falling between our look
        // and our wait.
        self.word.fetch_or(LINE, Ordering::AcqRel);
        let entered = loop {
            if line.tickets.front() == Some(&ticket) && self.step_in(n, |word| word & !LINE) {
                break true;
            }
            let now = Instant::now();
            if give_up() || deadline.is_some_and(|deadline| now >= deadline) {
                break false;
            }
            let look = now + LOOK_AFTER;
            let until = deadline.map_or(look, |deadline| deadline.min(look));
            self.room.wait_until(&mut line, until);
        };
        line.tickets.retain(|other| *other != ticket);
        if line.tickets.is_empty() {
            self.word.fetch_and(!LINE, Ordering::AcqRel);
        } else {
            // There may be room for the next one too.
            self.room.notify_all();
        }
        entered
    }

    pub(crate) fn leave(&self, n: usize) {
        if n > 0 && self.word.fetch_sub(n, Ordering::AcqRel) & LINE != 0 {
            let _line = self.line.lock();
            self.room.notify_all();
        }
    }

    /// Adds `n` if there is room beside what `counted` makes of the word.
    fn step_in(&self, n: usize, counted: impl Fn(usize) -> usize) -> bool {
        // Never more than the limit, not even for a moment: somebody else would be refused.
        let step = |word| (counted(word).saturating_add(n) <= self.limit).then_some(word + n);
        self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, step).is_ok()
    }
}

/// Somebody stands in line.
const LINE: usize = 1 << (usize::BITS - 1);

/// How often somebody in line asks whether to give up.
const LOOK_AFTER: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    #[test]
    fn d12_the_gate_never_lets_more_in_than_its_limit() {
        let gate = Arc::new(Gate::new(5));
        let most = Arc::new(AtomicUsize::new(0));
        let inside = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let (gate, most, inside) = (gate.clone(), most.clone(), inside.clone());
                let n = 1 + thread % 5;
                thread::spawn(move || {
                    for _ in 0..300 {
                        assert!(gate.enter(n, None, || false));
                        most.fetch_max(inside.fetch_add(n, Ordering::SeqCst) + n, Ordering::SeqCst);
                        thread::yield_now();
                        inside.fetch_sub(n, Ordering::SeqCst);
                        gate.leave(n);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(most.load(Ordering::SeqCst) <= 5);
        assert_eq!(gate.word.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_full_gate_refuses_at_the_deadline() {
        let gate = Gate::new(1);
        assert!(gate.try_enter(1));
        assert!(!gate.try_enter(1));
        assert!(!gate.enter(1, Some(Instant::now() + Duration::from_millis(20)), || false));
        gate.leave(1);
        assert!(gate.enter(1, Some(Instant::now()), || false));
        assert_eq!(gate.inside(), 1);
    }

    #[test]
    fn who_needs_much_room_is_not_passed_by_for_ever() {
        let gate = Arc::new(Gate::new(4));
        let over = Arc::new(AtomicBool::new(false));
        // Now the one of them is inside, now the other, and never none.
        let busy: Vec<_> = (0..2)
            .map(|_| {
                let (gate, over) = (gate.clone(), over.clone());
                thread::spawn(move || {
                    assert!(gate.enter(1, None, || false));
                    while !over.load(Ordering::Relaxed) {
                        if gate.try_enter(1) {
                            thread::yield_now();
                            gate.leave(1);
                        } else {
                            gate.leave(1);
                            assert!(gate.enter(1, None, || false));
                        }
                    }
                    gate.leave(1);
                })
            })
            .collect();
        while gate.inside() < 2 {
            thread::yield_now();
        }
        let entered = gate.enter(4, Some(Instant::now() + Duration::from_secs(60)), || false);
        over.store(true, Ordering::Relaxed);
        gate.leave(if entered { 4 } else { 0 });
        for thread in busy {
            thread.join().unwrap();
        }
        assert!(entered);
        assert_eq!(gate.inside(), 0);
    }

    #[test]
    fn who_gives_up_lets_the_next_in() {
        let gate = Arc::new(Gate::new(4));
        assert!(gate.try_enter(3));
        // Stands in line until the next one does: its patience does not end by the clock, or it might
        // have come and gone unseen.
        let enough = Arc::new(AtomicBool::new(false));
        let large = {
            let (gate, enough) = (gate.clone(), enough.clone());
            thread::spawn(move || gate.enter(2, None, || enough.load(Ordering::SeqCst)))
        };
        while gate.word.load(Ordering::SeqCst) & LINE == 0 {
            thread::yield_now();
        }
        assert!(!gate.try_enter(1), "nobody passes the line");
        let next_in_line = || {
            enough.store(true, Ordering::SeqCst);
            false
        };
        assert!(gate.enter(1, None, next_in_line));
        assert!(!large.join().unwrap());
        assert!(!gate.try_enter(1), "full");
        gate.leave(1);
        assert!(gate.try_enter(1), "there is no line any more");
    }
}
