//! A queue whose items have ids, and stay in it until they were worked on.
//!
//! ```text
//! <path>/queue-|<id>|<sequence>             persistent, holds the item, packed
//! <lock path>/<name of the item's node>     ephemeral: somebody works on it
//! ```
//!
//! The layout of Curator's `DistributedIdQueue` with a `lockPath`.

use std::fmt;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::error::Result;
use crate::proto::acl::Acl;
use crate::recipes::consumer::ConsumerBuilder;
use crate::recipes::entries::Layout;
use crate::recipes::gets::gets;
use crate::recipes::held_item::HeldItem;
use crate::recipes::holds::Holds;
use crate::recipes::puts::puts_with_ids;
use crate::recipes::room::Room;
use crate::recipes::site::Site;

/// A queue, first in, first out, whose items have ids by which they can be taken back, are held while
/// they are worked on, and come back if that fails.
///
/// # What it promises
/// * What [`LockingQueue`](super::LockingQueue) promises: one consumer at a time holds an item, that
///   of a dead one returns, none is lost.
/// * [`remove`](Self::remove) takes nothing from under a consumer: what it counts nobody held, and
///   nobody gets.
///
/// # What it does not promise
/// What [`IdQueue`](super::IdQueue) and [`LockingQueue`](super::LockingQueue) do not: that an id is
/// there once, that an item is worked on once only.
///
/// ```no_run
/// use zookeeper_blocking::{Client, recipes::LockingIdQueue};
///
/// let zk = Client::connect("localhost:2181")?;
/// let queue = LockingIdQueue::new(&zk, "/app/orders", "/app/ordered")?;
/// queue.put("two teas", "order 17")?;
/// let item = queue.get()?;
/// if queue.remove("order 17")? == 0 {
///     println!("somebody makes tea already");
/// }
/// item.consume()?;
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
///
/// # Interop
/// With Curator's `DistributedIdQueue` with a `lockPath`, both ways. All who use the queue must have
/// the same lock path: an [`IdQueue`](super::IdQueue) would take what others hold.
///
/// Costs one round trip to put, three to get, up to a hundred at a time, and one to consume; two to
/// remove.
#[derive(Clone)]
pub struct LockingIdQueue {
    holds: Holds,
}

impl LockingIdQueue {
    /// The queue at `path`, whose holds are below `lock_path`. Nothing is sent yet; the nodes are made
    /// when they are first needed.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if one of the paths is not legal, or is "/".
    pub fn new(client: &Client, path: &str, lock_path: &str) -> Result<Self> {
        let site = Site::new(client, "locking_id_queue", path)?;
        Ok(Self { holds: Holds::new(site, Layout::Id, lock_path)? })
    }

    /// Removes the items with this id that nobody holds, up to 333 in one transaction, which the
    /// servers check against the holds. Gives how many.
    ///
    /// # Errors
    /// As [`IdQueue::remove`](super::IdQueue::remove).
    pub fn remove(&self, id: &str) -> Result<usize> {
        self.holds.entries.remove(id, Some(&self.holds.taken))
    }
}

puts_with_ids!(LockingIdQueue, holds.entries);
gets!(LockingIdQueue, "the first item that nobody holds", "the first items that nobody holds");
