//! Many callers that wait for the answers of one read, woken together.
//!
//! Waking a thread costs a system call, and on a busy machine the woken one takes the CPU from the
//! IO thread at once: one caller after the other, two switches for each. A crowd is woken by one
//! call, after all answers of a read are in their places.
//!
//! That is right only where the answers come together. Where they trickle in, as from a server
//! that is slower than its clients, each would wake everybody for nothing. So the IO thread watches
//! how many of those who wait are answered by one read, and opens the crowd only while it is most
//! of them ([`Crowd::answered`]). Callers look at that each time before they wait.
//!
//! A timer for each of the crowd would cost as much again as its switch. So one of them keeps
//! watch for all: it alone waits with a limit, and when that is over everybody looks at the clock
//! and at his slot. Nobody depends on a call that the end of the IO thread swallowed.

use std::sync::PoisonError;
use std::time::Duration;

use crate::io::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use crate::io::sync::standard::{Condvar, Mutex, MutexGuard};

/// See the [module](self).
///
/// The standard library's condition variable, not `parking_lot`'s: it wakes all who wait by one
/// system call, where the other wakes one and queues the rest on the mutex.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    open: AtomicBool,
    /// How sure we are that answers come together. Of the IO thread alone.
    sure: AtomicU8,
    door: Mutex<Inside>,
    called: Condvar,
}

#[derive(Debug, Default)]
struct Inside {
    /// Somebody keeps watch.
    watched: bool,
    /// Counts the calls.
    calls: u64,
    /// Those who wait without a limit.
    trusting: usize,
}

impl Crowd {
    /// Whether to wait here rather than alone.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    fn door(&self) -> MutexGuard<'_, Inside> {
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits to be called; not at all if `done`. May return for nothing.
    ///
    /// Returns after `limit` at the latest if `strict`, else some time after it, as long as that
    /// is the limit of all who are not strict.
    pub(crate) fn wait(&self, limit: Duration, strict: bool, done: impl Fn() -> bool) {
        let mut inside = self.door();
        // With the door in hand: `call` takes it after the outcome was stored, so either we see
        // the outcome or we hear the call.
        if done() {
            return;
        }
        if strict {
            drop(self.called.wait_timeout(inside, limit));
        } else if inside.watched {
            inside.trusting += 1;
            let woken = self.called.wait(inside);
            woken.unwrap_or_else(PoisonError::into_inner).trusting -= 1;
        } else {
            inside.watched = true;
            let calls = inside.calls;
            let woken = self.called.wait_timeout(inside, limit);
            let (mut inside, _) = woken.unwrap_or_else(PoisonError::into_inner);
            // A call relieves whoever keeps watch: all who trusted him are awake, and the first to
            // wait again keeps watch.
            if inside.calls == calls {
                inside.watched = false;
                let left_alone = inside.trusting > 0;
                drop(inside);
                if left_alone {
                    self.called.notify_all();
                }
            }
        }
    }

    /// Wakes everybody.
    pub(crate) fn call(&self) {
        let mut inside = self.door();
        inside.calls += 1;
        inside.watched = false;
        drop(inside);
        self.called.notify_all();
    }

    /// The IO thread tells that one read answered so many who waited, of so many in flight.
    pub(crate) fn answered(&self, answered: usize, in_flight: usize) {
        let together = answered >= 2 && answered * 2 >= in_flight;
        let sure = self.sure.load(Ordering::Relaxed);
        let sure = if together { (sure + 1).min(SURE * 2) } else { sure.saturating_sub(1) };
        self.sure.store(sure, Ordering::Relaxed);
        self.open.store(sure >= SURE, Ordering::Relaxed);
    }
}

/// So many reads in a row, that answered most of those who waited, open the crowd.
const SURE: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::thread;
    use std::time::Instant;

    #[test]
    fn it_opens_while_answers_come_together_and_closes_when_they_trickle() {
        let crowd = Crowd::default();
        crowd.answered(60, 64);
        assert!(!crowd.is_open(), "once may be chance");
        crowd.answered(50, 64);
        assert!(crowd.is_open());
        for _ in 0..10 {
            crowd.answered(64, 64);
        }
        for _ in 0..3 {
            assert!(crowd.is_open());
            crowd.answered(3, 64);
        }
        assert!(!crowd.is_open());
        for _ in 0..10 {
            crowd.answered(1, 1);
        }
        assert!(!crowd.is_open(), "one caller is no crowd");
    }

    #[test]
    fn d5_nobody_in_the_crowd_misses_a_call() {
        let crowd = Arc::new(Crowd::default());
        let turn = Arc::new(AtomicUsize::new(0));
        let callers: Vec<_> = (0..8)
            .map(|_| {
                let (crowd, turn) = (crowd.clone(), turn.clone());
                thread::spawn(move || {
                    for wanted in 1..=200 {
                        let from = Instant::now();
                        while turn.load(Ordering::Acquire) < wanted {
                            let done = || turn.load(Ordering::Acquire) >= wanted;
                            crowd.wait(Duration::from_secs(30), false, done);
                        }
                        assert!(from.elapsed() < Duration::from_secs(20), "a call was missed");
                    }
                })
            })
            .collect();
        for _ in 0..200 {
            turn.fetch_add(1, Ordering::AcqRel);
            crowd.call();
            thread::yield_now();
        }
        for caller in callers {
            caller.join().unwrap();
        }
    }

    #[test]
    fn who_keeps_watch_wakes_the_others_when_the_time_is_over() {
        let crowd = Arc::new(Crowd::default());
        let from = Instant::now();
        let callers: Vec<_> = (0..5)
            .map(|_| {
                let crowd = crowd.clone();
                thread::spawn(move || {
                    while from.elapsed() < Duration::from_millis(60) {
                        crowd.wait(Duration::from_millis(20), false, || false);
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.join().unwrap();
        }
        assert!(from.elapsed() < Duration::from_secs(10));
        assert_eq!(crowd.door().trusting, 0);
        assert!(!crowd.door().watched);
    }

    #[test]
    fn the_strict_wait_no_longer_than_they_said() {
        let crowd = Arc::new(Crowd::default());
        let watch = crowd.clone();
        thread::spawn(move || watch.wait(Duration::from_secs(20), false, || false));
        while !crowd.door().watched {
            thread::yield_now();
        }
        let from = Instant::now();
        crowd.wait(Duration::from_millis(20), true, || false);
        assert!(from.elapsed() < Duration::from_secs(10));
        crowd.call();
    }
}
