//! Where callers wait for their answers, and exactly one outcome for each.
//!
//! A [`Slot`] is one place in a rack of places. The caller has one end of it, the
//! [`Completion`](crate::io::completion::Completion) that travels with the request has the other.
//! Its life is one word:
//!
//! ```text
//!             claim()            finish()
//!   QUEUED ───────────▶ SENT ───────────────▶ DONE
//!     │ abandon()         │ abandon()
//!     ▼                   ▼
//!   GONE (never sent)   GONE (outcome dropped)
//! ```
//!
//! The races, each decided once:
//! * *Deadline against sending.* `claim` and `abandon` both leave QUEUED by compare-exchange, so
//!   a caller told "not sent" is right: the IO thread will not send it any more.
//! * *Reply against deadline.* `finish` and `abandon` take the place's lock. If the reply is first
//!   the caller returns it though late; if the deadline is first, `finish` says so and the IO
//!   thread takes back what the reply set up.
//! * *Reuse.* A thread begins its rack again only when nobody else holds any of it
//!   (`Arc::get_mut`). A timed-out call leaves its place behind with the IO thread, so a late
//!   reply can never reach another call.
//!
//! A rack is one allocation for many requests in flight, and none for calls that wait for their
//! answer one after the other.

use std::cell::Cell;
use std::time::Duration;

use crate::io::completion::Owed;
use crate::io::crowd::Crowd;
use crate::io::sync::atomic::{AtomicU8, Ordering};
use crate::io::sync::thread::{self, Thread};
use crate::io::sync::{Arc, Instant, Mutex, MutexGuard, thread_local};
use crate::session::Outcome;

const QUEUED: u8 = 0;
const SENT: u8 = 1;
const DONE: u8 = 2;
const GONE: u8 = 3;

/// Places side by side in one allocation.
#[derive(Debug)]
pub(crate) struct Rack {
    first: Place,
    others: [Place; OTHERS],
}

/// Where one outcome is put.
#[derive(Debug, Default)]
struct Place {
    phase: AtomicU8,
    waiting: Mutex<Waiting>,
}

/// Who waits, or what for.
#[derive(Debug, Default)]
enum Waiting {
    #[default]
    Nobody,
    /// A thread of its own parks.
    Parked(Thread),
    /// Somebody waits in the crowd.
    InCrowd,
    /// Nobody: the event thread is to run a callback.
    Callback(Box<dyn Owed>),
    Outcome(Outcome),
}

/// Whom to wake for an outcome.
#[derive(Debug)]
pub(crate) enum Wake {
    Nobody,
    Thread(Thread),
    Crowd,
    /// Not to be woken, but to be run.
    Callback(Box<dyn Owed>, Outcome),
}

/// Nobody waits for the outcome any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Abandoned;

/// One end of a place in a rack.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    rack: Arc<Rack>,
    at: u8,
    /// Whether a callback was put there; says it without the lock.
    callback: bool,
}

impl Rack {
    fn new() -> Arc<Self> {
        Arc::new(Self { first: Place::default(), others: Default::default() })
    }

    fn place(&self, at: u8) -> &Place {
        match usize::from(at).checked_sub(1) {
            None => &self.first,
            // There is no other: `take` counts no further.
            Some(other) => self.others.get(other).unwrap_or(&self.first),
        }
    }

    /// Empties the first `used` places.
    fn clear(&mut self, used: u8) {
        for place in std::iter::once(&mut self.first).chain(&mut self.others).take(used.into()) {
            place.phase.store(QUEUED, Ordering::Relaxed);
            *place.waiting.get_mut() = Waiting::Nobody;
        }
    }
}

impl Slot {
    /// The next place of the calling thread's rack.
    pub(crate) fn take() -> Self {
        let kept = KEPT.try_with(Cell::take).ok().flatten();
        let (rack, at) = match kept {
            None => (Rack::new(), 0),
            Some((mut rack, used)) => match Arc::get_mut(&mut rack) {
                Some(own) => {
                    own.clear(used);
                    (rack, 0)
                }
                None if usize::from(used) <= OTHERS => (rack, used),
                None => (Rack::new(), 0),
            },
        };
        // A thread that is ending keeps nothing.
        let _ = KEPT.try_with(|kept| kept.set(Some((rack.clone(), at + 1))));
        Self { rack, at, callback: false }
    }

    /// As [`take`](Self::take), for a callback.
    pub(crate) fn with_callback(callback: Box<dyn Owed>) -> Self {
        let slot = Self { callback: true, ..Self::take() };
        *slot.waiting() = Waiting::Callback(callback);
        slot
    }

    pub(crate) fn has_callback(&self) -> bool {
        self.callback
    }

    fn phase(&self) -> &AtomicU8 {
        &self.rack.place(self.at).phase
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.rack.place(self.at).waiting.lock()
    }

    /// Marks the request as sent; false if nobody waits any more, and it must not be sent.
    pub(crate) fn claim(&self) -> bool {
        self.phase().compare_exchange(QUEUED, SENT, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    pub(crate) fn is_sent(&self) -> bool {
        self.phase().load(Ordering::Acquire) == SENT
    }

    pub(crate) fn is_done(&self) -> bool {
        self.phase().load(Ordering::Acquire) == DONE
    }

    /// Stores the outcome. `Err` if nobody waits any more; else whom to wake.
    pub(crate) fn finish(&self, outcome: Outcome) -> Result<Wake, Abandoned> {
        let mut waiting = self.waiting();
        if self.phase().load(Ordering::Acquire) == GONE {
            return Err(Abandoned);
        }
        self.phase().store(DONE, Ordering::Release);
        Ok(match std::mem::replace(&mut *waiting, Waiting::Nobody) {
            Waiting::Callback(callback) => Wake::Callback(callback, outcome),
            who => {
                *waiting = Waiting::Outcome(outcome);
                match who {
                    Waiting::Parked(thread) => Wake::Thread(thread),
                    Waiting::InCrowd => Wake::Crowd,
                    _ => Wake::Nobody,
                }
            }
        })
    }

    /// Gives a callback up if `past` says so of its deadline.
    pub(crate) fn expire(&self, past: impl FnOnce(Instant) -> bool) -> Option<Box<dyn Owed>> {
        let mut waiting = self.waiting();
        match &*waiting {
            Waiting::Callback(callback) if callback.deadline().is_some_and(past) => {}
            _ => return None,
        }
        match std::mem::take(&mut *waiting) {
            Waiting::Callback(callback) => Some(callback),
            _ => None,
        }
    }

    /// The deadline of a callback, which has nobody who waits.
    pub(crate) fn callback_deadline(&self) -> Option<Instant> {
        match &*self.waiting() {
            Waiting::Callback(callback) => callback.deadline(),
            _ => None,
        }
    }

    /// Nothing will be delivered: the request was refused before it was queued.
    pub(crate) fn defuse(&self) {
        self.phase().store(GONE, Ordering::Release);
        let waiting = std::mem::take(&mut *self.waiting());
        drop(waiting);
    }

    /// The outcome, if it came.
    pub(crate) fn try_take(&self) -> Option<Outcome> {
        if !self.is_done() {
            return None;
        }
        match std::mem::take(&mut *self.waiting()) {
            Waiting::Outcome(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// Waits for the outcome until `deadline`, calling `still_alive` now and then. `None` if it
    /// did not come; the request goes on. `now` may be a moment ago: the caller mostly looked at
    /// the clock, and another look would cost as much as the rest of this.
    pub(crate) fn wait_until(
        &self,
        deadline: Option<Instant>,
        mut now: Instant,
        crowd: &Crowd,
        mut still_alive: impl FnMut() -> bool,
    ) -> Option<Outcome> {
        if let Some(outcome) = self.try_take() {
            return Some(outcome);
        }
        let mut look = now + LOOK_AFTER;
        loop {
            if deadline.is_some_and(|deadline| now >= deadline) {
                return None;
            }
            if now >= look {
                if !still_alive() {
                    return None;
                }
                look = now + LOOK_AFTER;
            }
            // Mostly the deadline is far, and nothing has to be worked out.
            let strict = deadline.filter(|deadline| *deadline < look);
            let limit = strict.map_or(LOOK_AFTER, |until| until.saturating_duration_since(now));
            let in_crowd = crowd.is_open();
            if let Some(outcome) = self.enlist(in_crowd) {
                return Some(outcome);
            }
            if in_crowd {
                crowd.wait(limit, strict.is_some(), || self.is_done());
            } else {
                // A wake-up between `enlist` and here is kept: unpark leaves a token.
                thread::park_timeout(limit);
            }
            if let Some(outcome) = self.try_take() {
                return Some(outcome);
            }
            now = Instant::now();
        }
    }

    /// Says how the caller will wait; or gives the outcome, if it came meanwhile.
    fn enlist(&self, in_crowd: bool) -> Option<Outcome> {
        let mut waiting = self.waiting();
        match std::mem::take(&mut *waiting) {
            Waiting::Outcome(outcome) => return Some(outcome),
            _ if in_crowd => *waiting = Waiting::InCrowd,
            // Whoever is noted there may be another thread, which handed the call on.
            _ => *waiting = Waiting::Parked(thread::current()),
        }
        None
    }

    /// Gives the call up. `Ok(sent)` if no outcome will be delivered any more; else the outcome
    /// that was first.
    pub(crate) fn abandon(&self) -> Result<bool, Outcome> {
        let mut waiting = self.waiting();
        if let Waiting::Outcome(outcome) = std::mem::take(&mut *waiting) {
            return Err(outcome);
        }
        Ok(self.phase().swap(GONE, Ordering::AcqRel) == SENT)
    }
}

/// How often a waiting caller looks whether it was forked away from its IO thread.
const LOOK_AFTER: Duration = Duration::from_millis(50);

/// The places of a rack but the first: 32 in all, 2 KiB.
const OTHERS: usize = 31;

thread_local! {
    /// The thread's rack, and how many of its places were used.
    static KEPT: Cell<Option<(Arc<Rack>, u8)>> = const { Cell::new(None) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::completion::Completion;
    use crate::proto::buffer::Buffer;
    use crate::proto::opcode::OpCode;
    use crate::session::{Failure, Reply};

    fn reply(code: i32) -> Outcome {
        Outcome::Reply(Reply { op: OpCode::GetData, code, zxid: 0, body: Buffer::default() })
    }

    fn code(outcome: Option<Outcome>) -> i32 {
        match outcome {
            Some(Outcome::Reply(reply)) => reply.code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn d14_a_late_reply_never_reaches_the_next_call_of_the_thread() {
        let crowd = Crowd::default();
        let slot = Slot::take();
        let late = Completion::slot(&slot);
        assert!(late.claim());
        assert!(slot.wait_until(Some(Instant::now()), Instant::now(), &crowd, || true).is_none());
        assert!(slot.abandon().unwrap(), "it was sent");
        drop(slot);

        let next = Slot::take();
        let answer = Completion::slot(&next);
        assert!(answer.claim());
        assert_eq!(late.finish(reply(1)).unwrap_err(), Abandoned);
        assert!(answer.finish(reply(2)).is_ok());
        assert_eq!(code(next.wait_until(None, Instant::now(), &crowd, || true)), 2);
    }

    #[test]
    fn a_call_that_gave_up_while_queued_is_never_sent() {
        let slot = Slot::take();
        let queued = Completion::slot(&slot);
        assert!(!slot.abandon().unwrap(), "it was not sent");
        assert!(!queued.claim());
    }

    #[test]
    fn a_reply_that_is_first_wins_over_the_deadline() {
        let slot = Slot::take();
        assert!(Completion::slot(&slot).finish(reply(7)).is_ok());
        assert_eq!(code(Some(slot.abandon().unwrap_err())), 7);
    }

    #[test]
    fn d15_a_completion_that_is_dropped_answers() {
        let crowd = Crowd::default();
        let slot = Slot::take();
        let completion = Completion::slot(&slot);
        assert!(completion.claim());
        let dropper = thread::spawn(move || drop(completion));
        let outcome = slot.wait_until(
            Some(Instant::now() + Duration::from_secs(10)),
            Instant::now(),
            &crowd,
            || true,
        );
        assert!(
            matches!(outcome, Some(Outcome::Failed(Failure::Closed { sent: true }))),
            "{outcome:?}"
        );
        dropper.join().unwrap();
    }

    #[test]
    fn reply_and_deadline_race_to_exactly_one_outcome() {
        let crowd = Crowd::default();
        for round in 0..2_000 {
            let slot = Slot::take();
            let completion = Completion::slot(&slot);
            assert!(completion.claim());
            let replier = thread::spawn(move || completion.finish(reply(1)).is_ok());
            if round % 2 == 0 {
                thread::yield_now();
            }
            let came = match slot.wait_until(Some(Instant::now()), Instant::now(), &crowd, || true)
            {
                Some(_) => true,
                None => slot.abandon().is_err(),
            };
            assert_eq!(came, replier.join().unwrap());
            drop(slot);
        }
    }

    #[test]
    fn what_is_in_flight_is_small() {
        use crate::session::link::Sent;
        assert_eq!(size_of::<Option<Sent<Completion>>>(), 24);
        assert_eq!(size_of::<Place>(), 56);
    }

    #[test]
    fn who_waits_last_is_woken() {
        let slot = Slot::take();
        assert!(slot.enlist(false).is_none());
        let second = slot.clone();
        let second = thread::spawn(move || {
            assert!(second.enlist(false).is_none());
            thread::current().id()
        });
        let second = second.join().unwrap();
        match slot.finish(reply(0)) {
            Ok(Wake::Thread(woken)) => assert_eq!(woken.id(), second),
            other => panic!("{other:?}"),
        }
    }
}
