//! A queue whose items wait until their time has come, and stay in it until they were worked on.
//!
//! ```text
//! <path>/queue-|<ms since 1970, in hex>|<sequence>      persistent, holds the item, packed
//! <lock path>/<name of the item's node>                 ephemeral: somebody works on it
//! ```
//!
//! The layout of Curator's `DistributedDelayQueue` with a `lockPath`.

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use crate::client::Client;
use crate::error::Result;
use crate::proto::acl::Acl;
use crate::recipes::consumer::ConsumerBuilder;
use crate::recipes::entries::Layout;
use crate::recipes::gets::gets;
use crate::recipes::held_item::HeldItem;
use crate::recipes::holds::Holds;
use crate::recipes::puts::delayed_puts;
use crate::recipes::room::Room;
use crate::recipes::site::Site;
use crate::recipes::wall_clock;

/// A queue whose items are not held before their time, are held while they are worked on, and come
/// back if that fails.
///
/// # What it promises
/// * What [`LockingQueue`](super::LockingQueue) promises: one consumer at a time holds an item, that
///   of a dead one returns, none is lost.
/// * What [`DelayQueue`](super::DelayQueue) promises of times. An item that came back is in its old
///   place: due, and before all that are due later.
///
/// # What it does not promise
/// What these two do not: that an item is worked on once only, that it comes at its time exactly,
/// that clocks agree.
///
/// ```no_run
/// use std::time::Duration;
/// use zookeeper_blocking::{Client, recipes::LockingDelayQueue};
///
/// let zk = Client::connect("localhost:2181")?;
/// let queue = LockingDelayQueue::new(&zk, "/app/reminders", "/app/reminded")?;
/// queue.put("tea is ready", Duration::from_secs(180))?;
/// # queue.put("coffee is ready", Duration::ZERO)?;
/// let item = queue.get_timeout(Duration::from_secs(200))?;
/// println!("{}", String::from_utf8_lossy(item.data()));
/// item.consume()?;
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
///
/// # Interop
/// With Curator's `DistributedDelayQueue` with a `lockPath`, both ways. When its consumer fails with
/// an item, Curator puts that to the end without its time: due at once, for ours as for Curator's.
/// All who use the queue must have the same lock path: a [`DelayQueue`](super::DelayQueue) would take
/// what others hold.
///
/// Costs one round trip to put, three to get, up to a hundred at a time, and one to consume.
#[derive(Clone)]
pub struct LockingDelayQueue {
    holds: Holds,
}

impl LockingDelayQueue {
    /// The queue at `path`, whose holds are below `lock_path`. Nothing is sent yet; the nodes are made
    /// when they are first needed.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if one of the paths is not legal, or is "/".
    pub fn new(client: &Client, path: &str, lock_path: &str) -> Result<Self> {
        let site = Site::new(client, "locking_delay_queue", path)?;
        Ok(Self { holds: Holds::new(site, Layout::Delay, lock_path)? })
    }
}

delayed_puts!(LockingDelayQueue, holds.entries);
gets!(
    LockingDelayQueue,
    "the first item that is due and that nobody holds",
    "the first items that are due and that nobody holds"
);
