//! Whether a session surely lives: a promise that can be waited on.
//!
//! One [`Life`] is shared by all that holds on to a session. The IO thread ends it: when a server
//! says that the session expired, when the client closes, or when the session *may* be over: no
//! request sent within the last session timeout was answered, so the servers are free to give the
//! session up. That last end comes from our own clock and needs no server; it is early by a
//! margin, so that it comes before a server can hand anything to another client.
//!
//! One thing no client can see: a follower that is cut off from its leader goes on answering reads
//! and pings until it notices (`syncLimit` ticks), while the leader gives our session up. Against
//! that, only what the leader itself decides helps: fences and transactions.
//!
//! An ended life never comes back. If the session turns out to have survived its silence, the
//! session gets a new life, and what was built on the old one stays lost.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

/// Why nothing that rests on a session can be relied on any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Loss {
    /// The client was closed.
    #[error("the client was closed")]
    Closed,
    /// A server said that the session expired.
    #[error("the session expired")]
    Expired,
    /// No server answered for as long as the session timeout, less a margin: the servers may have
    /// given the session up, and nobody can tell.
    #[error("no server answered for the session timeout")]
    Silence,
}

/// One stretch of time in which the session surely lives.
#[derive(Debug)]
pub(crate) struct Life {
    loss: OnceLock<Loss>,
    /// Disconnects at the end.
    pub(crate) ended: Receiver<()>,
}

/// The end of it, in the hands of the IO thread.
#[derive(Debug)]
pub(crate) struct LifeLine(#[allow(dead_code, reason = "its drop is the signal")] Sender<()>);

impl Life {
    pub(crate) fn begin() -> (Self, LifeLine) {
        let (line, ended) = bounded(0);
        (Self { loss: OnceLock::new(), ended }, LifeLine(line))
    }

    /// A life that is over.
    pub(crate) fn over(loss: Loss) -> Self {
        let (life, _) = Self::begin();
        life.lose(loss);
        life
    }

    pub(crate) fn loss(&self) -> Option<Loss> {
        self.loss.get().copied()
    }

    /// Marks the end, for good. Says what it was: the first mark stays.
    pub(crate) fn lose(&self, loss: Loss) -> Loss {
        *self.loss.get_or_init(|| loss)
    }

    /// Waits for the end until `deadline`.
    pub(crate) fn wait(&self, deadline: Instant) -> Option<Loss> {
        if let Some(loss) = self.loss() {
            return Some(loss);
        }
        match self.ended.recv_deadline(deadline) {
            Err(crossbeam_channel::RecvTimeoutError::Timeout) => self.loss(),
            // The mark is set before the line is dropped; without one the IO thread died.
            _ => Some(self.loss().unwrap_or(Loss::Closed)),
        }
    }
}

/// How much before the end of the session timeout we count the session as lost.
///
/// The leader decides, and learns of our requests from the server that we are connected to when it
/// pings it: half a tick later at most, and a session timeout is no less than two ticks unless the
/// servers were told otherwise (`minSessionTimeout`). So if that server dies before it told, the
/// leader counts from up to a quarter of the timeout earlier than we do. Measured: with a twentieth
/// as margin, one killed follower of four had sessions given up 10 to 46 ms before our deadline.
///
/// Source: `Leader.java` (pings each half tick), `LearnerHandler.java` (session table in the answer).
pub(crate) fn margin(timeout: Duration) -> Duration {
    timeout / 4
}
