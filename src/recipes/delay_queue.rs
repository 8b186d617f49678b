//! A queue whose items wait until their time has come.
//!
//! ```text
//! <path>/queue-|<ms since 1970, in hex>|<sequence>      persistent, holds the item, packed
//! ```
//!
//! The layout of Curator's `DistributedDelayQueue`.

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use crate::client::Client;
use crate::error::Result;
use crate::proto::acl::Acl;
use crate::recipes::consumer::ConsumerBuilder;
use crate::recipes::entries::Layout;
use crate::recipes::puts::delayed_puts;
use crate::recipes::room::Room;
use crate::recipes::shelf::{Shelf, Taken};
use crate::recipes::site::Site;
use crate::recipes::takes::{Takes, takes};
use crate::recipes::wall_clock;

/// A queue whose items are not taken out before their time.
///
/// They come in the order of their times; those of one millisecond in the order of putting.
///
/// # What it promises
/// * What [`Queue`](super::Queue) promises: an item is taken by one consumer at most, several
///   together all or none, and where nobody can tell whether it was done the error says so.
/// * Whoever waits wakes for an item that is put meanwhile and is due earlier than all others.
///
/// # Whose clock counts
/// The time is written into the node by the clock of whoever puts, and read by the clock of whoever
/// takes: the time of day of these machines, no server's. So an item comes too early or too late by
/// as much as the two clocks differ. A clock that is set while somebody waits is noticed within a
/// second.
///
/// # What it does not promise
/// * That an item comes at its time exactly: it comes some time after it, to whoever waits or asks
///   first. All that wait for the same item wake at its time.
/// * What [`Queue`](super::Queue) does not promise: a taken item is lost with its consumer, who
///   waits is served in no order, the list of all items must fit into one answer.
///
/// ```no_run
/// use std::time::Duration;
/// use zookeeper_blocking::{Client, recipes::DelayQueue};
///
/// let zk = Client::connect("localhost:2181")?;
/// let queue = DelayQueue::new(&zk, "/app/reminders")?;
/// queue.put("tea is ready", Duration::from_secs(180))?;
/// # queue.put("coffee is ready", Duration::ZERO)?;
/// let item = queue.take_timeout(Duration::from_secs(200))?;
/// println!("{}", String::from_utf8_lossy(&item.data));
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
///
/// # Interop
/// With Curator's `DistributedDelayQueue` without a `lockPath`, both ways; for one with it see
/// [`LockingDelayQueue`](super::LockingDelayQueue). Several items that its `putMulti` put at once are
/// taken out one by one. A name that Curator cannot read is due at once for it; ours pass it by,
/// unless it is `queue-<sequence>`, as Curator calls what its consumer failed with.
///
/// Costs one round trip to put, however many; three to take, however many.
#[derive(Clone)]
pub struct DelayQueue {
    shelf: Shelf,
}

/// What was taken out of a [`DelayQueue`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DelayedItem {
    /// What was put.
    pub data: Vec<u8>,
    /// When it was due, by the clock of whoever put it.
    pub due: SystemTime,
    /// The name that its node had. Others may have had it too: those that Curator put at once.
    pub name: String,
}

impl DelayedItem {
    fn of(taken: Taken) -> Self {
        let due = wall_clock::time_of(taken.entry.rank);
        Self { data: taken.data, due, name: taken.entry.name }
    }
}

impl DelayQueue {
    /// The queue at `path`. Nothing is sent yet; its node is made when it is first needed.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if `path` is not a legal path, or is "/".
    pub fn new(client: &Client, path: &str) -> Result<Self> {
        let site = Site::new(client, "delay_queue", path)?;
        Ok(Self { shelf: Shelf::new(site, Layout::Delay) })
    }
}

delayed_puts!(DelayQueue, shelf);
takes!(DelayQueue, DelayedItem, "the first item that is due", "the first items that are due");
