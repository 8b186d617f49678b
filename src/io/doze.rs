//! Whether the IO thread sleeps and must be woken.
//!
//! Most wake-ups are not needed, and each costs a system call: so the IO thread says when it is
//! about to sleep, and only then it is rung.
//!
//! No wake-up is lost. The caller *queues, then looks at the flag*; the IO thread *sets the flag,
//! then looks at the queue*. The two fences put these four steps into one order in which at least
//! one of the two looks sees the other's step: either the caller sees the flag and rings, or the
//! IO thread sees the request and does not sleep.

use crate::io::sync::atomic::{AtomicBool, Ordering, fence};

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Doze {
    asleep: AtomicBool,
}

impl Doze {
    pub(crate) fn new() -> Self {
        Self { asleep: AtomicBool::new(false) }
    }

    /// Something was queued: rings if the IO thread sleeps or is about to.
    pub(crate) fn wake(&self, ring: impl FnOnce()) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::SeqCst) {
            ring();
        }
    }

    /// The IO thread announces that it is about to sleep. False if there is work after all.
    pub(crate) fn may_sleep(&self, is_idle: impl FnOnce() -> bool) -> bool {
        self.asleep.swap(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if is_idle() {
            return true;
        }
        self.awake();
        false
    }

    pub(crate) fn awake(&self) {
        // Swapped, not stored, here and above: it costs the same, and the checker of tests/models
        // knows that swaps of one word stand in one order.
        self.asleep.swap(false, Ordering::SeqCst);
    }
}
