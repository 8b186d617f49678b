//! What stands for a lease that was taken.

use std::time::Instant;

use crate::client::op::{self, Version};
use crate::client::transaction::Transaction;
use crate::error::{Error, RecipeError, Result};
use crate::proto::stat::Stat;
use crate::recipes::guard::Hold;
use crate::recipes::lease::Lease;
use crate::recipes::patience::Patience;

/// A lease that was taken.
///
/// Dropping it gives nothing up: the lease runs to its end, or until [`release`](Self::release).
#[derive(Debug)]
#[must_use = "a lease is good only until its end"]
pub struct HeldLease {
    lease: Lease,
    fence: i64,
    until: Instant,
}

impl HeldLease {
    pub(super) fn new(lease: Lease, fence: i64, until: Instant) -> Self {
        Self { lease, fence, until }
    }

    /// Whether the lease is not over yet, by the clock of the leader when it was taken and the time
    /// that passed here since. Asks no server.
    pub fn is_held(&self) -> bool {
        Instant::now() < self.until
    }

    /// The end of the lease.
    pub fn deadline(&self) -> Instant {
        self.until
    }

    /// A number larger than that of every earlier holder, and smaller than that of every later one,
    /// Kazoo's included: the transaction that created the record.
    pub fn fence(&self) -> i64 {
        self.fence
    }

    /// Takes the lease anew, with a new end and a new fence, if nobody took it since; `None` if
    /// somebody did, even under our name.
    ///
    /// # Errors
    /// As [`Lease::try_acquire`]. After one that leaves it open whether it happened (see
    /// [`Error::applied`]), the lease may be a new one already: take it by
    /// [`Lease::try_acquire`].
    pub fn renew(&self) -> Result<Option<Self>> {
        let deadline = self.lease.line.client.deadline(Instant::now());
        self.lease.patiently(deadline, "renew", |patience| {
            Ok(self.lease.take(Some(self.fence), false, patience)?.lease)
        })
    }

    /// Gives the lease up before its end.
    ///
    /// # Errors
    /// * [`RecipeError::NotHeld`] if somebody took it since.
    /// * As [`Lease::try_acquire`].
    pub fn release(self) -> Result<()> {
        let line = &self.lease.line;
        let deadline = line.client.deadline(Instant::now());
        self.lease.patiently(deadline, "release", |patience| {
            let mut unsure = false;
            loop {
                let door = line.acquire_by(patience)?;
                match self.delete(&door, patience) {
                    Err(Error::SessionExpired { sent, .. }) => {
                        unsure |= sent;
                        patience.check()?;
                    }
                    Err(error) if error.is_connection() => {
                        unsure = true;
                        patience.check()?;
                    }
                    // The lock was lost: line up anew.
                    Err(Error::Transaction { .. }) => patience.check()?,
                    // It is gone, and it was we who asked for that.
                    Ok(false) if unsure => return Ok(()),
                    Ok(false) => return Err(patience.error(RecipeError::NotHeld)),
                    result => return result.map(drop),
                }
            }
        })
    }

    /// Whether it was there to be deleted.
    fn delete(&self, door: &Hold, patience: &Patience<'_>) -> Result<bool> {
        let node = self.lease.node();
        let session = door.session();
        let stat: Option<Stat> = patience.ask(session, || op::Exists::new(node.as_str()))?;
        let Some(stat) = stat.filter(|stat| stat.czxid == self.fence) else { return Ok(false) };
        let delete =
            Transaction::new().check(door.node(), Version::Any).delete(node.as_str(), stat.version);
        patience.wait(session.submit_until(delete, patience.deadline)?)?.map(|_| true)
    }
}
