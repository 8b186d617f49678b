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
//! Whoever waits in the crowd looks at its own slot at least every 50 ms, so nobody depends on a
//! wake-up that the end of the IO thread swallowed.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// See the [module](self).
///
/// The standard library's condition variable, not `parking_lot`'s: it wakes all who wait by one
/// system call, where the other wakes one and queues the rest on the mutex.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    open: AtomicBool,
    /// How sure we are that answers come together. Of the IO thread alone.
    sure: AtomicU8,
    door: Mutex<()>,
    called: Condvar,
}

impl Crowd {
    /// Whether to wait here rather than alone.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Waits to be called, for `limit` at most; not at all if `done`. May return for nothing.
    pub(crate) fn wait(&self, limit: Duration, done: impl Fn() -> bool) {
        let door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        // With the door in hand: `call` takes it after the outcome was stored, so either we see
        // the outcome or we hear the call.
        if !done() {
            let _ = self.called.wait_timeout(door, limit);
        }
    }

    /// Wakes everybody.
    pub(crate) fn call(&self) {
        drop(self.door.lock().unwrap_or_else(PoisonError::into_inner));
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
                            crowd.wait(Duration::from_secs(30), || {
                                turn.load(Ordering::Acquire) >= wanted
                            });
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
}
