//! Hearing of states: listeners on the event thread, or a queue.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded, unbounded};

use crate::client::Client;
use crate::client::watch::WatchWait;
use crate::error::{At, Error, Result};
use crate::io::dispatch::{Event, ListenerId};
use crate::io::driver::Command;
use crate::io::shared::Shared;
use crate::session::state::SessionState;

/// The states of a client as they come, from the subscription on. Unbounded; nothing is dropped.
pub struct StateEvents {
    states: Receiver<SessionState>,
}

impl StateEvents {
    /// Waits for the next state, without a limit of time. `None` once the client is closed.
    pub fn recv(&self) -> Option<SessionState> {
        self.states.recv().ok()
    }

    /// Waits for the next state for `timeout` at most.
    ///
    /// # Errors
    /// [`WatchWait::Empty`] if none came, [`WatchWait::Over`] if none will come.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<SessionState, WatchWait> {
        use crossbeam_channel::RecvTimeoutError::{Disconnected, Timeout};
        let received = match Instant::now().checked_add(timeout) {
            Some(deadline) => self.states.recv_deadline(deadline),
            None => self.states.recv().map_err(|_| Disconnected),
        };
        received.map_err(|error| match error {
            Timeout => WatchWait::Empty,
            Disconnected => WatchWait::Over,
        })
    }

    /// The states that are there now.
    pub fn try_iter(&self) -> impl Iterator<Item = SessionState> + '_ {
        self.states.try_iter()
    }
}

impl fmt::Debug for StateEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StateEvents")
    }
}

/// A state listener; dropping it ends it.
#[must_use = "dropping it removes the listener"]
pub struct StateListener {
    id: ListenerId,
    shared: Arc<Shared>,
}

impl Drop for StateListener {
    fn drop(&mut self) {
        let _ = self.shared.events.send(Event::Unlisten(self.id));
    }
}

impl fmt::Debug for StateListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StateListener")
    }
}

impl Client {
    /// The states from now on, as a queue.
    ///
    /// # Errors
    /// [`Error::Closed`] or [`Error::AuthFailed`] if there will be none.
    pub fn subscribe(&self) -> Result<StateEvents> {
        let at = || At::new("subscribe", "");
        let closed = || self.ended("subscribe", "");
        if self.shared().is_forked() {
            return Err(Error::Forked { at: at() });
        }
        let (sender, states) = unbounded();
        let (taken, is_taken) = bounded(1);
        self.shared().command(Command::Subscribe(sender, taken)).map_err(|_| closed())?;
        // The IO thread may read of a lost connection before it reads the queue. So wait until it
        // has it: a state that comes after this call must not be missed.
        let answer = match self.deadline(Instant::now()) {
            Some(deadline) => is_taken.recv_deadline(deadline),
            None => is_taken.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        answer.map_err(|error| match error {
            RecvTimeoutError::Timeout => Error::Timeout { sent: false, at: at() },
            RecvTimeoutError::Disconnected => closed(),
        })?;
        Ok(StateEvents { states })
    }

    /// Calls `listener` on the event thread with each state from now on, until the returned
    /// handle is dropped.
    pub fn add_listener(
        &self,
        listener: impl FnMut(SessionState) + Send + 'static,
    ) -> StateListener {
        let id = ListenerId(self.shared().next_id());
        let _ = self.shared().events.send(Event::Listen(id, Box::new(listener)));
        StateListener { id, shared: self.shared().clone() }
    }
}
