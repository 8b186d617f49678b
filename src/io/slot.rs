//! The hand-off of one answer: who waits, and exactly one outcome.
//!
//! A [`Completion`] travels down with its request and comes back with the outcome. It answers
//! when it is told to and, should it be dropped on the way (a queue torn down, a thread that
//! died), it answers `Closed` from its `Drop`: no path leaves a caller waiting.
//!
//! A blocking caller waits on a [`Slot`]. Its life is one word:
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
//! * *Reply against deadline.* `finish` and `abandon` take the slot's lock. If the reply is first
//!   the caller returns it though late; if the deadline is first, `finish` says so and the IO
//!   thread takes back what the reply set up.
//! * *Reuse.* A thread uses its slot again only when nobody else holds it (`Arc::get_mut`). A
//!   timed-out call leaves its slot behind with the IO thread, so a late reply can never reach
//!   another call.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use parking_lot::Mutex;

use crate::io::dispatch::Event;
use crate::session::{Failure, Outcome};

const QUEUED: u8 = 0;
const SENT: u8 = 1;
const DONE: u8 = 2;
const GONE: u8 = 3;

/// Where a caller waits for one outcome.
#[derive(Debug)]
pub(crate) struct Slot {
    phase: AtomicU8,
    cell: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    outcome: Option<Outcome>,
    waiter: Option<Thread>,
}

impl Slot {
    fn new() -> Self {
        Self { phase: AtomicU8::new(QUEUED), cell: Mutex::new(Waiting::default()) }
    }

    /// The calling thread's own slot, or a new one while that is in use.
    pub(crate) fn take() -> Arc<Self> {
        let cached = CACHED.with(Cell::take);
        if let Some(mut slot) = cached {
            if let Some(own) = Arc::get_mut(&mut slot) {
                *own.phase.get_mut() = QUEUED;
                *own.cell.get_mut() = Waiting::default();
                return slot;
            }
        }
        Arc::new(Self::new())
    }

    /// Gives a slot back for the thread's next call.
    pub(crate) fn give_back(slot: Arc<Self>) {
        CACHED.with(|cached| cached.set(Some(slot)));
    }

    /// Marks the request as sent; false if nobody waits any more, and it must not be sent.
    fn claim(&self) -> bool {
        self.phase.compare_exchange(QUEUED, SENT, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Stores the outcome. `Err` if nobody waits any more; else whom to wake, if somebody parks.
    fn finish(&self, outcome: Outcome) -> Result<Option<Thread>, Abandoned> {
        let mut cell = self.cell.lock();
        if self.phase.load(Ordering::Acquire) == GONE {
            return Err(Abandoned);
        }
        cell.outcome = Some(outcome);
        self.phase.store(DONE, Ordering::Release);
        Ok(cell.waiter.take())
    }

    /// The outcome, if it came.
    pub(crate) fn try_take(&self) -> Option<Outcome> {
        if self.phase.load(Ordering::Acquire) != DONE {
            return None;
        }
        self.cell.lock().outcome.take()
    }

    /// Waits for the outcome until `deadline`, calling `still_alive` now and then. `None` if it
    /// did not come; the request goes on.
    pub(crate) fn wait_until(
        &self,
        deadline: Option<Instant>,
        mut still_alive: impl FnMut() -> bool,
    ) -> Option<Outcome> {
        {
            let mut cell = self.cell.lock();
            if let Some(outcome) = cell.outcome.take() {
                return Some(outcome);
            }
            cell.waiter = Some(thread::current());
        }
        let mut now = Instant::now();
        let mut look = now + LOOK_AFTER;
        loop {
            if let Some(outcome) = self.try_take() {
                return Some(outcome);
            }
            if deadline.is_some_and(|deadline| now >= deadline) {
                return None;
            }
            if now >= look {
                if !still_alive() {
                    return None;
                }
                look = now + LOOK_AFTER;
            }
            let until = deadline.map_or(look, |deadline| deadline.min(look));
            // A wake-up between the check above and the park is kept: unpark leaves a token.
            thread::park_timeout(until.saturating_duration_since(now));
            now = Instant::now();
        }
    }

    /// Gives the call up. `Ok(sent)` if no outcome will be delivered any more; else the outcome
    /// that was first.
    pub(crate) fn abandon(&self) -> Result<bool, Outcome> {
        let mut cell = self.cell.lock();
        if let Some(outcome) = cell.outcome.take() {
            return Err(outcome);
        }
        cell.waiter = None;
        Ok(self.phase.swap(GONE, Ordering::AcqRel) == SENT)
    }
}

/// Nobody waits for the outcome any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Abandoned;

/// How often a parked caller looks whether it was forked away from its IO thread.
const LOOK_AFTER: Duration = Duration::from_millis(50);

thread_local! {
    static CACHED: Cell<Option<Arc<Slot>>> = const { Cell::new(None) };
}

/// What the event thread runs when a request ended.
pub(crate) type Callback = Box<dyn FnOnce(Outcome) + Send>;

/// Whoever is owed the outcome of one request.
#[derive(Debug)]
pub(crate) struct Completion(Option<Owed>);

#[derive(Debug)]
enum Owed {
    Slot(Arc<Slot>),
    Callback(Box<OwedCallback>),
}

struct OwedCallback {
    run: Callback,
    deadline: Option<Instant>,
    sent: bool,
    events: Sender<Event>,
}

impl std::fmt::Debug for OwedCallback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwedCallback").field("sent", &self.sent).finish_non_exhaustive()
    }
}

impl Completion {
    pub(crate) fn slot(slot: Arc<Slot>) -> Self {
        Self(Some(Owed::Slot(slot)))
    }

    pub(crate) fn callback(
        run: Callback,
        deadline: Option<Instant>,
        events: Sender<Event>,
    ) -> Self {
        Self(Some(Owed::Callback(Box::new(OwedCallback { run, deadline, sent: false, events }))))
    }

    /// The callback back, unrun, from a request that was refused before it was queued.
    pub(crate) fn defuse(&mut self) {
        self.0 = None;
    }

    /// Whether to send the request: not if its caller gave up while it was queued.
    pub(crate) fn claim(&mut self) -> bool {
        match &mut self.0 {
            None => true,
            Some(Owed::Slot(slot)) => slot.claim(),
            Some(Owed::Callback(owed)) => {
                owed.sent = true;
                true
            }
        }
    }

    /// The deadline that the IO thread has to watch: a callback has nobody who waits.
    pub(crate) fn watched_deadline(&self) -> Option<Instant> {
        match &self.0 {
            Some(Owed::Callback(owed)) => owed.deadline,
            _ => None,
        }
    }

    /// Delivers the outcome. Tells whom to wake.
    pub(crate) fn finish(mut self, outcome: Outcome) -> Result<Option<Thread>, Abandoned> {
        match self.0.take() {
            None => Ok(None),
            Some(Owed::Slot(slot)) => slot.finish(outcome),
            Some(Owed::Callback(owed)) => {
                owed.deliver(outcome);
                Ok(None)
            }
        }
    }

    /// Times a callback out; its reply, if it comes, finds nobody.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        match self.0.take() {
            Some(Owed::Callback(owed)) if owed.deadline.is_some_and(|at| now >= at) => {
                let failure = Failure::Timeout { sent: owed.sent };
                owed.deliver(Outcome::Failed(failure));
                true
            }
            other => {
                self.0 = other;
                false
            }
        }
    }
}

impl OwedCallback {
    /// The callback runs, and is dropped, on the event thread. Only if that thread has ended is
    /// it dropped here, unrun: then the client was closed, and its user has been told.
    fn deliver(self, outcome: Outcome) {
        let Self { run, events, .. } = self;
        let _ = events.send(Event::Complete { run, outcome });
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        match self.0.take() {
            None => {}
            Some(Owed::Slot(slot)) => {
                let sent = slot.phase.load(Ordering::Acquire) == SENT;
                let outcome = Outcome::Failed(Failure::Closed { sent });
                if let Ok(Some(waiter)) = slot.finish(outcome) {
                    waiter.unpark();
                }
            }
            Some(Owed::Callback(owed)) => {
                let failure = Failure::Closed { sent: owed.sent };
                owed.deliver(Outcome::Failed(failure));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::buffer::Buffer;
    use crate::session::Reply;

    fn reply(code: i32) -> Outcome {
        Outcome::Reply(Reply { code, zxid: 0, body: Buffer::default() })
    }

    fn code(outcome: Option<Outcome>) -> i32 {
        match outcome {
            Some(Outcome::Reply(reply)) => reply.code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn d14_a_late_reply_never_reaches_the_next_call_of_the_thread() {
        let slot = Slot::take();
        let mut late = Completion::slot(slot.clone());
        assert!(late.claim());
        assert!(slot.wait_until(Some(Instant::now()), || true).is_none());
        assert!(slot.abandon().unwrap(), "it was sent");
        Slot::give_back(slot);

        let next = Slot::take();
        let mut answer = Completion::slot(next.clone());
        assert!(answer.claim());
        assert_eq!(late.finish(reply(1)).unwrap_err(), Abandoned);
        assert!(answer.finish(reply(2)).is_ok());
        assert_eq!(code(next.wait_until(None, || true)), 2);
    }

    #[test]
    fn a_call_that_gave_up_while_queued_is_never_sent() {
        let slot = Slot::take();
        let mut queued = Completion::slot(slot.clone());
        assert!(!slot.abandon().unwrap(), "it was not sent");
        assert!(!queued.claim());
    }

    #[test]
    fn a_reply_that_is_first_wins_over_the_deadline() {
        let slot = Slot::take();
        assert!(Completion::slot(slot.clone()).finish(reply(7)).is_ok());
        assert_eq!(code(Some(slot.abandon().unwrap_err())), 7);
    }

    #[test]
    fn d15_a_completion_that_is_dropped_answers() {
        let slot = Slot::take();
        let mut completion = Completion::slot(slot.clone());
        assert!(completion.claim());
        let dropper = thread::spawn(move || drop(completion));
        let outcome = slot.wait_until(Some(Instant::now() + Duration::from_secs(10)), || true);
        assert!(
            matches!(outcome, Some(Outcome::Failed(Failure::Closed { sent: true }))),
            "{outcome:?}"
        );
        dropper.join().unwrap();
    }

    #[test]
    fn reply_and_deadline_race_to_exactly_one_outcome() {
        for round in 0..2_000 {
            let slot = Slot::take();
            let mut completion = Completion::slot(slot.clone());
            assert!(completion.claim());
            let replier = thread::spawn(move || completion.finish(reply(1)).is_ok());
            if round % 2 == 0 {
                thread::yield_now();
            }
            let came = match slot.wait_until(Some(Instant::now()), || true) {
                Some(_) => true,
                None => slot.abandon().is_err(),
            };
            assert_eq!(came, replier.join().unwrap());
            Slot::give_back(slot);
        }
    }
}
