//! The end of a slot that travels with a request, and callbacks that wait in one.
//!
//! A [`Completion`] goes down with its request and comes back with the outcome. It answers when
//! it is told to and, should it be dropped on the way (a queue torn down, a thread that died), it
//! answers `Closed` from its `Drop`: no path leaves a caller waiting.

use crossbeam_channel::Sender;

use crate::io::dispatch::Event;
use crate::io::slot::{Abandoned, Slot, Wake};
use crate::io::sync::Instant;
use crate::session::{Failure, Outcome};

/// What is owed to a callback.
pub(crate) trait Owed: Send {
    /// When the IO thread has to give the call up: a callback has nobody who waits.
    fn deadline(&self) -> Option<Instant>;

    /// The queue of the event thread.
    fn events(&self) -> &Sender<Event>;

    /// On the event thread.
    fn run(self: Box<Self>, outcome: Outcome);
}

impl std::fmt::Debug for dyn Owed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Owed").field("deadline", &self.deadline()).finish_non_exhaustive()
    }
}

struct Callback<F> {
    run: F,
    deadline: Option<Instant>,
    events: Sender<Event>,
}

impl<F: FnOnce(Outcome) + Send> Owed for Callback<F> {
    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn events(&self) -> &Sender<Event> {
        &self.events
    }

    fn run(self: Box<Self>, outcome: Outcome) {
        (self.run)(outcome);
    }
}

/// The callback runs, and is dropped, on the event thread. Only if that thread has ended is it
/// dropped here, unrun: then the client was closed, and its user has been told.
pub(crate) fn deliver(run: Box<dyn Owed>, outcome: Outcome) {
    let events = run.events().clone();
    let _ = events.send(Event::Complete { run, outcome });
}

/// Whoever is owed the outcome of one request.
#[derive(Debug)]
pub(crate) struct Completion(Option<Slot>);

impl Completion {
    /// For the thread that waits at the other end of `slot`.
    pub(crate) fn slot(slot: &Slot) -> Self {
        Self(Some(slot.clone()))
    }

    /// For a callback on the event thread, whose queue is `events`.
    pub(crate) fn callback(
        run: impl FnOnce(Outcome) + Send + 'static,
        deadline: Option<Instant>,
        events: Sender<Event>,
    ) -> Self {
        Self(Some(Slot::with_callback(Box::new(Callback { run, deadline, events }))))
    }

    /// Answers nobody, of a request that was refused before it was queued.
    pub(crate) fn defuse(&mut self) {
        if let Some(slot) = self.0.take() {
            slot.defuse();
        }
    }

    /// Whether to send the request: not if its caller gave up while it was queued.
    pub(crate) fn claim(&self) -> bool {
        self.0.as_ref().is_none_or(Slot::claim)
    }

    /// The deadline that the IO thread has to watch: that of a callback.
    pub(crate) fn watched_deadline(&self) -> Option<Instant> {
        self.0.as_ref().filter(|slot| slot.has_callback())?.callback_deadline()
    }

    /// Delivers the outcome, to callbacks at once. Tells whom to wake.
    pub(crate) fn finish(mut self, outcome: Outcome) -> Result<Wake, Abandoned> {
        // Expired: the callback was told already.
        let Some(slot) = self.0.take() else { return Err(Abandoned) };
        match slot.finish(outcome)? {
            Wake::Callback(callback, outcome) => {
                deliver(callback, outcome);
                Ok(Wake::Nobody)
            }
            wake => Ok(wake),
        }
    }

    /// Times a callback out; its reply, if it comes, finds nobody.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        let Some(slot) = self.0.as_ref().filter(|slot| slot.has_callback()) else { return false };
        let Some(callback) = slot.expire(|deadline| now >= deadline) else { return false };
        let failure = Failure::Timeout { sent: slot.is_sent() };
        self.0 = None;
        deliver(callback, Outcome::Failed(failure));
        true
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        let Some(slot) = self.0.take() else { return };
        let failure = Failure::Closed { sent: slot.is_sent() };
        match slot.finish(Outcome::Failed(failure)) {
            Ok(Wake::Thread(waiter)) => waiter.unpark(),
            Ok(Wake::Callback(callback, outcome)) => deliver(callback, outcome),
            // Whoever is in the crowd looks for himself now and then; see `Crowd`.
            Ok(Wake::Crowd | Wake::Nobody) | Err(Abandoned) => {}
        }
    }
}
