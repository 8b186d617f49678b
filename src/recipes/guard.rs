//! What stands for a held lock.

use std::fmt;
use std::time::{Duration, Instant};

use crate::client::op::Version;
use crate::client::session::Session;
use crate::client::transaction::ClientTransaction;
use crate::error::Result;
use crate::io::life::Loss;
use crate::recipes::place::{Patience, Place};

/// A held lock.
///
/// Dropping it gives the lock up in the background, again and again until the server answered or
/// the session is gone; [`release`](Self::release) waits and tells.
///
/// # What it does not promise
/// That the lock is still held in the next moment. The session can expire at any time, and a
/// process that was stopped does not see it until it runs again. So check
/// [`is_held`](Self::is_held) before each step, have the protected resource refuse fences smaller
/// than it has seen, and write to ZooKeeper itself through [`transaction`](Self::transaction).
///
/// Nor that `is_held` is false in time when the server that the client is connected to is cut off
/// from its leader and has not noticed yet: see [`Session::deadline`]. The fence and the
/// transaction are right even then.
#[must_use = "dropping the guard gives the lock up"]
pub struct LockGuard {
    place: Place,
    released: bool,
}

impl LockGuard {
    pub(crate) fn new(place: Place) -> Self {
        Self { place, released: false }
    }

    /// Whether this process may act as the holder now: the session is not lost, by word of a
    /// server or by this process's own clock. Once false, false for ever.
    ///
    /// Asks no server. It does not see that somebody deleted the lock's node by hand; a
    /// [`transaction`](Self::transaction) does.
    pub fn is_held(&self) -> bool {
        self.place.session.is_sure()
    }

    /// A number larger than that of every earlier holder of the lock, and smaller than that of
    /// every later one: the transaction (czxid) that created the lock's node, never negative.
    ///
    /// It grows through anything that happens to the nodes, and is void only if the ensemble's
    /// data is wiped or restored from a backup.
    pub fn fence(&self) -> i64 {
        self.place.fence
    }

    /// Until when the lock is surely held, if no server is heard of any more. Moves on with each
    /// answer of a server. `None` if it is lost.
    pub fn deadline(&self) -> Option<Instant> {
        self.place.session.deadline()
    }

    /// Why the lock is lost, if it is.
    pub fn lost(&self) -> Option<Loss> {
        self.place.session.loss()
    }

    /// Waits for the loss of the lock for `timeout` at most. `None` if it is held still.
    pub fn wait_lost(&self, timeout: Duration) -> Option<Loss> {
        self.place.session.wait_lost(timeout)
    }

    /// The path of the lock's node.
    pub fn node(&self) -> &str {
        &self.place.node
    }

    /// The session that holds the lock: its calls fail once that session is gone.
    pub fn session(&self) -> &Session {
        &self.place.session
    }

    /// Begins a transaction that goes through only while the lock is held: its first operation,
    /// index 0, checks the lock's node. The servers decide, so no clock and no pause can fool it.
    ///
    /// If the lock is lost it fails with [`Error::Transaction`](crate::Error::Transaction) at
    /// index 0, or with [`Error::SessionExpired`](crate::Error::SessionExpired).
    pub fn transaction(&self) -> ClientTransaction<'_> {
        self.place.session.transaction().check(self.place.node.as_str(), Version::Any)
    }

    /// Gives the lock up and waits for the server's word. One round trip.
    ///
    /// # Errors
    /// * [`Error::SessionExpired`](crate::Error::SessionExpired) or
    ///   [`RecipeError::NotHeld`](crate::RecipeError::NotHeld): the lock was lost before.
    /// * [`Error::Timeout`](crate::Error::Timeout): not done by the deadline of the call; it goes
    ///   on in the background.
    ///
    /// # Blocking
    /// Until the deadline of the call at most.
    pub fn release(mut self) -> Result<()> {
        self.released = true;
        let patience = Patience {
            deadline: self.place.session.call_deadline(),
            cancelled: &|| false,
            op: "release",
            path: &self.place.node,
        };
        self.place.leave(&patience)
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        if !self.released {
            self.place.leave_behind();
        }
    }
}

impl fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockGuard")
            .field("node", &self.place.node)
            .field("fence", &format_args!("0x{:x}", self.place.fence))
            .finish_non_exhaustive()
    }
}
