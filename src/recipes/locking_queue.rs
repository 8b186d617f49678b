//! A queue whose items stay in it until they were worked on.
//!
//! ```text
//! <path>/entries/entry-<priority>-<sequence>     persistent, holds the item
//! <path>/taken/<name of the item's node>         ephemeral: somebody works on it; holds his mark
//! ```
//!
//! The layout of Kazoo's `LockingQueue`; see [`LockingQueue::curator`] for another.

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
use crate::recipes::puts::puts;
use crate::recipes::room::Room;
use crate::recipes::shelf::Shelf;
use crate::recipes::site::Site;

/// A queue whose items are held while they are worked on, and come back if that fails.
///
/// # What it promises
/// * An item is held by one consumer at a time, for as long as his session lives. If he dies, or
///   drops it, others get it.
/// * [`consume`](HeldItem::consume) takes the item out in one transaction with the hold, which the
///   servers check: see [`HeldItem`]. It tells whether it did, also where the answer is lost.
/// * No item is lost: each is in the queue until somebody consumed it.
///
/// # What it does not promise
/// * That an item is worked on once only. Whose session expires may be at work still when another
///   gets the item: look at [`is_held`](HeldItem::is_held), and write to ZooKeeper itself within
///   [`consume_with`](HeldItem::consume_with).
/// * Fairness among consumers, and room without end: as [`Queue`](super::Queue).
///
/// ```no_run
/// use zookeeper_blocking::{Client, recipes::LockingQueue};
///
/// let zk = Client::connect("localhost:2181")?;
/// let queue = LockingQueue::new(&zk, "/app/jobs")?;
/// queue.put("resize 7.png")?;
/// let item = queue.get()?;
/// println!("{}", String::from_utf8_lossy(item.data()));
/// item.consume()?;
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
///
/// # Interop
/// | | items | holds | who else |
/// |---|---|---|---|
/// | [`new`](Self::new) | `<path>/entries/entry-100-0000000007` | `<path>/taken/<its name>` | Kazoo `LockingQueue` |
/// | [`curator`](Self::curator) | `<path>/queue-0000000007` | `<lock path>/<its name>` | Curator `DistributedQueue` and `DistributedPriorityQueue` with a `lockPath` |
/// | [`LockingDelayQueue`](super::LockingDelayQueue) | `<path>/queue-\|18C6A2F3B40\|0000000007` | `<lock path>/<its name>` | Curator `DistributedDelayQueue` with a `lockPath` |
/// | [`LockingIdQueue`](super::LockingIdQueue) | `<path>/queue-\|order 17\|0000000007` | `<lock path>/<its name>` | Curator `DistributedIdQueue` with a `lockPath` |
///
/// Kazoo and Curator check their own hold before the transaction that consumes, or not at all: what
/// is said of checks in [`HeldItem`] holds for ours.
///
/// Costs one round trip to put, three to get, up to a hundred at a time, and one to consume.
#[derive(Clone)]
pub struct LockingQueue {
    holds: Holds,
}

impl LockingQueue {
    /// The queue at `path`. Nothing is sent yet; its nodes are made when they are first needed.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if `path` is not a legal path, or is "/".
    pub fn new(client: &Client, path: &str) -> Result<Self> {
        let site = Site::new(client, "locking_queue", path)?;
        let entries = Shelf::new(site.at(site.below("entries")), Layout::Kazoo);
        let taken = site.at(site.below("taken"));
        Ok(Self { holds: Holds { site, entries, taken } })
    }

    /// The queue of Curator's `DistributedQueue` or `DistributedPriorityQueue` at `path` with its
    /// `lockPath`, which makes it one whose items are held.
    ///
    /// A consumer of Curator's holds an item while its `consumeMessage` runs; if that throws, the item
    /// goes to the end of the queue under a new name. It is woken by items that are put and taken
    /// only: one that ours give back is not looked at by Curator before that. Of several that
    /// `putMulti` put into one node ours hold and consume one at a time.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if one of the paths is not legal, or is "/".
    pub fn curator(client: &Client, path: &str, lock_path: &str) -> Result<Self> {
        let site = Site::new(client, "locking_queue", path)?;
        Ok(Self { holds: Holds::new(site, Layout::Curator, lock_path)? })
    }
}

puts!(LockingQueue, holds.entries);
gets!(LockingQueue, "the first item that nobody holds", "the first items that nobody holds");
