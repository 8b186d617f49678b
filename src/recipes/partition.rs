//! What a member of a partitioner holds: its share of the items, each with its lock.

use std::fmt;
use std::time::{Duration, Instant};

use crate::client::session::Session;
use crate::client::watch::Watch;
use crate::error::Result;
use crate::io::life::Loss;
use crate::recipes::guard::Hold;

/// A member's share of the items of a [`Partitioner`](crate::recipes::Partitioner), held.
///
/// Dropping it gives the items up in the background; [`release`](Self::release) waits and tells.
#[must_use = "dropping the partition gives its items up"]
pub struct Partition<T> {
    session: Session,
    /// Has news once the party is another than the one that this share is of. They are left inside.
    party: Watch,
    held: Vec<(T, Hold)>,
}

/// What its owner is to do with a [`Partition`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PartitionState {
    /// Work on the items.
    Acquired,
    /// They are lost, with the session: stop. The next acquire gives others.
    Failure,
    /// The party has changed. They are held still, but others wait for some of them: finish, give
    /// them up, and acquire the next share.
    Release,
}

impl<T> Partition<T> {
    pub(crate) fn new(session: &Session, party: Watch, held: Vec<(T, Hold)>) -> Self {
        Self { session: session.refreshed(), party, held }
    }

    /// What is to be done with it. Asks no server. Never goes back: from
    /// [`Acquired`](PartitionState::Acquired) to [`Release`](PartitionState::Release), and from
    /// either to [`Failure`](PartitionState::Failure).
    pub fn state(&self) -> PartitionState {
        if !self.is_held() {
            PartitionState::Failure
        } else if self.party.has_news() {
            PartitionState::Release
        } else {
            PartitionState::Acquired
        }
    }

    /// Waits until the [`state`](Self::state) is no longer
    /// [`Acquired`](PartitionState::Acquired), for `timeout` at most; gives what it is then.
    pub fn wait_change(&self, timeout: Duration) -> PartitionState {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            let state = self.state();
            if state != PartitionState::Acquired || deadline.is_some_and(|d| d <= Instant::now()) {
                return state;
            }
            // By then a server has answered, or the session counts as lost.
            let Some(sure) = self.session.deadline() else { continue };
            self.party.wait_news(deadline.map_or(sure, |deadline| deadline.min(sure)));
        }
    }

    /// Whether this process may act as the owner now: see [`Hold::is_held`].
    pub fn is_held(&self) -> bool {
        self.session.is_sure() && self.held.iter().all(|(_, hold)| hold.is_held())
    }

    /// Why it is lost, if it is.
    pub fn lost(&self) -> Option<Loss> {
        self.held.iter().find_map(|(_, hold)| hold.lost()).or_else(|| self.session.loss())
    }

    /// The items, in order.
    pub fn items(&self) -> impl Iterator<Item = &T> {
        self.held.iter().map(|(item, _)| item)
    }

    /// The items, in order, each with what holds it: its fence, and transactions that go through
    /// only while it is held.
    pub fn iter(&self) -> impl Iterator<Item = (&T, &Hold)> {
        self.held.iter().map(|(item, hold)| (item, hold))
    }

    /// What holds this item; `None` if it is not in our share.
    pub fn hold(&self, item: &T) -> Option<&Hold>
    where
        T: PartialEq,
    {
        self.iter().find_map(|(held, hold)| (held == item).then_some(hold))
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether there are none: there are more members than items.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Gives the items up and waits for the server's word. One round trip for each.
    ///
    /// # Errors
    /// The first, as [`LockGuard::release`](crate::recipes::LockGuard::release); all the others are
    /// given up nevertheless.
    pub fn release(self) -> Result<()> {
        let mut result = Ok(());
        for (_, hold) in self.held {
            let released = hold.release("release");
            result = result.and(released);
        }
        result
    }
}

impl<T: fmt::Debug> fmt::Debug for Partition<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partition")
            .field("items", &self.items().collect::<Vec<_>>())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
