//! What stands for something held: a lock, a lease of a semaphore, the leadership.

use std::fmt;
use std::ops::Deref;
use std::time::{Duration, Instant};

use crate::client::op::Version;
use crate::client::session::Session;
use crate::client::transaction::ClientTransaction;
use crate::error::Result;
use crate::io::life::Loss;
use crate::recipes::patience::Waits;
use crate::recipes::place::Place;
use crate::recipes::revocation::Revocation;
use crate::recipes::sequencer::Sequencer;

/// What all guards have: a node that stands for what is held, and the session that it belongs to.
///
/// Dropping it gives up what is held in the background, again and again until the server answered
/// or the session is gone. The guards' own methods wait for that, and tell.
///
/// # What it does not promise
/// That it is still held in the next moment. The session can expire at any time, and a
/// process that was stopped does not see it until it runs again. So check
/// [`is_held`](Self::is_held) before each step, have the protected resource refuse fences smaller
/// than it has seen, and write to ZooKeeper itself through [`transaction`](Self::transaction).
///
/// Nor that `is_held` is false in time when the server that the client is connected to is cut off
/// from its leader and has not noticed yet: see [`Session::deadline`]. The fence and the
/// transaction are right even then.
pub struct Hold {
    place: Place,
    released: bool,
}

impl Hold {
    pub(crate) fn new(place: Place) -> Self {
        Self { place, released: false }
    }

    /// Whether this process may act as the holder now: the session is not lost, by word of a
    /// server or by this process's own clock. Once false, false for ever.
    ///
    /// Asks no server. It does not see that somebody deleted the node by hand; a
    /// [`transaction`](Self::transaction) does.
    pub fn is_held(&self) -> bool {
        self.place.session.is_sure()
    }

    /// A number larger than that of every earlier holder, and smaller than that of every later
    /// one: the transaction (czxid) that created the node, never negative.
    ///
    /// It grows through anything that happens to the nodes, and is void only if the ensemble's
    /// data is wiped or restored from a backup.
    pub fn fence(&self) -> i64 {
        self.place.fence
    }

    /// Until when it is surely held, if no server is heard of any more. Moves on with each
    /// answer of a server. `None` if it is lost.
    pub fn deadline(&self) -> Option<Instant> {
        self.place.session.deadline()
    }

    /// Why it is lost, if it is.
    pub fn lost(&self) -> Option<Loss> {
        self.place.session.loss()
    }

    /// Waits for the loss for `timeout` at most. `None` if it is held still.
    pub fn wait_lost(&self, timeout: Duration) -> Option<Loss> {
        self.place.session.wait_lost(timeout)
    }

    /// The path of the node.
    pub fn node(&self) -> &str {
        &self.place.node
    }

    /// The session that holds it: its calls fail once that session is gone.
    pub fn session(&self) -> &Session {
        &self.place.session
    }

    /// Begins a transaction that goes through only while it is held: its first operation, index 0,
    /// checks the node. The servers decide, so no clock and no pause can fool it.
    ///
    /// If it is lost, that fails with [`Error::Transaction`](crate::Error::Transaction) at
    /// index 0, or with [`Error::SessionExpired`](crate::Error::SessionExpired).
    pub fn transaction(&self) -> ClientTransaction<'_> {
        self.place.session.transaction().check(self.place.node.as_str(), Version::Any)
    }

    /// What another process needs to know to see whether it is held still.
    pub fn sequencer(&self) -> Sequencer {
        Sequencer::of(self)
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Whatever it stood for is somebody else's to give up now.
    pub(crate) fn forget(mut self) {
        self.disarm();
    }

    /// Its drop gives up nothing.
    pub(crate) fn disarm(&mut self) {
        self.released = true;
    }

    /// Deletes the node and waits for the server's word.
    pub(crate) fn release(mut self, op: &'static str) -> Result<()> {
        self.released = true;
        let deadline = self.place.session.call_deadline();
        let node = self.place.node.as_str();
        Waits::default().patiently(deadline, op, node, |patience| self.place.leave(patience))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.released {
            self.place.leave_behind();
        }
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold")
            .field("node", &self.place.node)
            .field("fence", &format_args!("0x{:x}", self.place.fence))
            .finish_non_exhaustive()
    }
}

/// A held [`Lock`](crate::recipes::Lock), [`ReadLock`](crate::recipes::ReadLock) or
/// [`WriteLock`](crate::recipes::WriteLock); what it can tell is in [`Hold`].
///
/// Dropping it gives the lock up in the background; [`release`](Self::release) waits and tells.
#[derive(Debug)]
#[must_use = "dropping the guard gives the lock up"]
pub struct LockGuard(Hold);

impl LockGuard {
    pub(crate) fn new(hold: Hold) -> Self {
        Self(hold)
    }

    pub(crate) fn into_hold(self) -> Hold {
        self.0
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
    pub fn release(self) -> Result<()> {
        self.0.release("release")
    }

    /// Hears from now on whether somebody [asks](crate::recipes::Lock::revoke) for the lock to be
    /// given up. One round trip.
    ///
    /// # Errors
    /// [`RecipeError::NotHeld`](crate::RecipeError::NotHeld),
    /// [`Error::SessionExpired`](crate::Error::SessionExpired): the lock is lost.
    pub fn revocation(&self) -> Result<Revocation> {
        Revocation::of(self.0.session(), self.0.node())
    }
}

impl Deref for LockGuard {
    type Target = Hold;

    fn deref(&self) -> &Hold {
        &self.0
    }
}
