//! The event thread: the only place where user code runs.
//!
//! It takes [`Event`]s in the order in which the IO thread queued them, one at a time, each
//! under `catch_unwind`. It owns every callback: the IO thread knows watches by their ids, so
//! that no user code, not even the drop of a captured value, runs on the thread that keeps the
//! session alive.
//!
//! The queue is unbounded: the IO thread never waits for a user and never drops an event. The
//! last event is [`Event::Last`]; clients hold senders too, so waiting for a disconnect would
//! wait for ever.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crossbeam_channel::Receiver;

use crate::io::completion::Owed;
use crate::session::Outcome;
use crate::session::event::WatchedEvent;
use crate::session::state::SessionState;
use crate::session::watches::WatchId;

/// What a watch callback is to the event thread.
pub(crate) type WatchCallback = Box<dyn FnMut(WatchedEvent) + Send>;

/// What a state listener is to the event thread.
pub(crate) type StateCallback = Box<dyn FnMut(SessionState) + Send>;

/// The work of the event thread.
pub(crate) enum Event {
    /// From callers, before the request that names the id.
    Watch(WatchId, WatchCallback),
    Fire {
        id: WatchId,
        event: WatchedEvent,
        last: bool,
    },
    Forget(WatchId),
    Complete {
        run: Box<dyn Owed>,
        outcome: Outcome,
    },
    Listen(ListenerId, StateCallback),
    Unlisten(ListenerId),
    State(SessionState),
    /// Nothing comes after this.
    Last,
}

/// The name of a state listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ListenerId(pub(crate) u64);

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self {
            Self::Watch(..) => "Watch",
            Self::Fire { .. } => "Fire",
            Self::Forget(..) => "Forget",
            Self::Complete { .. } => "Complete",
            Self::Listen(..) => "Listen",
            Self::Unlisten(..) => "Unlisten",
            Self::State(..) => "State",
            Self::Last => "Last",
        };
        f.write_str(name)
    }
}

/// Hashes what the client itself counts up: nobody else can choose it, so it need not be guarded
/// against numbers that collide.
#[derive(Clone, Copy, Debug, Default)]
struct CountHasher(u64);

impl Hasher for CountHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    /// The product is well mixed in its upper half only; the table looks at both ends.
    fn write_u64(&mut self, count: u64) {
        self.0 = (self.0 ^ count).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Runs until [`Event::Last`].
pub(crate) fn run(events: &Receiver<Event>) {
    let mut watches: HashMap<WatchId, WatchCallback, BuildHasherDefault<CountHasher>> =
        HashMap::default();
    let mut listeners: Vec<(ListenerId, StateCallback)> = Vec::new();
    for event in events {
        match event {
            Event::Watch(id, callback) => {
                watches.insert(id, callback);
            }
            Event::Fire { id, event, last: true } => {
                if let Some(mut callback) = watches.remove(&id) {
                    guarded("watch callback", move || callback(event));
                }
            }
            Event::Fire { id, event, last: false } => {
                if let Some(callback) = watches.get_mut(&id) {
                    guarded("watch callback", || callback(event));
                }
            }
            Event::Forget(id) => {
                let callback = watches.remove(&id);
                guarded("drop of a watch callback", move || drop(callback));
            }
            Event::Complete { run, outcome } => guarded("completion", move || run.run(outcome)),
            Event::Listen(id, callback) => listeners.push((id, callback)),
            Event::Unlisten(id) => {
                if let Some(at) = listeners.iter().position(|(known, _)| *known == id) {
                    let listener = listeners.remove(at);
                    guarded("drop of a state listener", move || drop(listener));
                }
            }
            Event::State(state) => {
                for (_, listener) in &mut listeners {
                    guarded("state listener", || listener(state));
                }
            }
            Event::Last => break,
        }
    }
    guarded("drop of callbacks", move || drop((watches, listeners)));
    // What came after the end is dropped here too, not with the last sender on a user's thread.
    for late in events.try_iter() {
        guarded("drop of a late event", move || drop(late));
    }
}

/// A callback that panics must not take the later ones down. The default panic hook has already
/// printed the message; with `panic = "abort"` the process ends.
fn guarded(what: &str, run: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
        log::warn!("a {what} panicked; the client goes on");
        // The payload is a value of the user's, and its drop may panic again.
        let _ = catch_unwind(AssertUnwindSafe(move || drop(payload)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::hash::BuildHasher;

    #[test]
    fn ids_that_follow_each_other_spread_over_both_ends_of_the_hash() {
        let hasher = BuildHasherDefault::<CountHasher>::default();
        for (first, step) in [(1, 1), (1 << 20, 1), (1, 2), (5, 64)] {
            let hashes: Vec<u64> =
                (0..4096).map(|n| hasher.hash_one(WatchId(first + n * step))).collect();
            let low: HashSet<u64> = hashes.iter().map(|hash| hash % 4096).collect();
            let high: HashSet<u64> = hashes.iter().map(|hash| hash >> 57).collect();
            // By chance 63 of 100 places would be taken.
            assert!(low.len() > 2400, "{} of 4096 places from {first} by {step}", low.len());
            assert_eq!(high.len(), 128, "from {first} by {step}");
        }
    }
}
