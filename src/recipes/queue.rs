//! A queue with priorities whose items are taken out before they are worked on.
//!
//! ```text
//! <path>/entry-<priority>-<sequence>      persistent, holds the item
//! ```
//!
//! The layout of Kazoo's `Queue`; see [`Queue::name_style`] and [`Queue::simple`] for others.

use std::fmt;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::error::Result;
use crate::proto::acl::Acl;
use crate::recipes::consumer::ConsumerBuilder;
use crate::recipes::entries::Layout;
use crate::recipes::puts::puts;
use crate::recipes::role::NameStyle;
use crate::recipes::room::Room;
use crate::recipes::shelf::{Shelf, Taken};
use crate::recipes::site::Site;
use crate::recipes::takes::{Takes, takes};

/// A queue: first in, first out, within each priority.
///
/// # What it promises
/// * An item is taken by one consumer at most: whoever deletes it has it.
/// * Of several items put, or taken, together, all are or none.
/// * If the answer to a put or a take is lost and nobody can tell whether it was done, the error
///   says so ([`Applied::Unknown`](crate::Applied::Unknown)); it is not done twice.
///
/// # What it does not promise
/// * That a taken item is worked on: if its consumer dies it is lost, and so it may be with an error
///   of unknown outcome. See [`LockingQueue`](super::LockingQueue) for that.
/// * Fairness among consumers: who waits for an item is woken by each put, as all the others are.
/// * Room without end: the list of the items must fit into one answer. With some ten thousands of
///   them a take fails with [`Error::TooLarge`](crate::Error::TooLarge) until the client was built with a larger
///   [`max_reply`](crate::ClientBuilder::max_reply).
///
/// ```no_run
/// use zookeeper_blocking::{Client, recipes::Queue};
///
/// let zk = Client::connect("localhost:2181")?;
/// let queue = Queue::new(&zk, "/app/jobs")?;
/// queue.put("resize 7.png")?;
/// let item = queue.take()?;
/// println!("{}", String::from_utf8_lossy(&item.data));
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
///
/// # Layouts
/// | | node | priorities | who else |
/// |---|---|---|---|
/// | default | `entry-100-0000000007` | 0 to 999, 100 if none is said | Kazoo `Queue` |
/// | [`NameStyle::Curator`] | `queue-0000000007` | none: served before all that have one | Curator `DistributedQueue` |
/// | | `queue-1000000640000000007` | any | Curator `DistributedPriorityQueue` |
/// | [`simple`](Self::simple) | `qn-0000000007` | none | Curator `SimpleDistributedQueue`, ZooKeeper's own `DistributedQueue` |
///
/// Children of other names are passed by. See [`DelayQueue`](super::DelayQueue) and
/// [`IdQueue`](super::IdQueue) for Curator's other two.
///
/// # A bound
/// With [`max_items`](Self::max_items) a put waits while it would make the queue larger than that:
/// [`put`](Self::put) until the deadline of the client's calls, [`put_timeout`](Self::put_timeout) so
/// long, [`try_put`](Self::try_put) not at all. The same holds for all queues. Several items are put
/// when there is room for all of them.
///
/// What it promises: those who put with a bound never make the queue larger, however many they are
/// and whatever they overlook; each put goes through only if no other did since it counted. (Where
/// 1,000 places or more are free this is not checked. So the queue gets larger only if so many are
/// put while one put is on its way.)
///
/// What it does not promise:
/// * That others keep to it. Who puts without the bound, or with Curator's `maxItems`, which looks at
///   its own list of a moment ago, is not held up; but ours count what is there, whoever put it.
///   Curator counts children of other names and what was put at once as one; ours count nodes of
///   items.
/// * Fairness. What is taken out wakes all who wait for room, and the first to ask has it: near the
///   bound a client far from the servers may lose to nearer ones until its deadline.
///
/// Each put writes the queue's node, whose data stay as they are: who puts needs the right to write
/// it. Two round trips to put; one more each time that another was faster.
///
/// Costs one round trip to put without a bound, however many; three to take, however many.
#[derive(Clone)]
pub struct Queue {
    shelf: Shelf,
}

/// What was taken out of a [`Queue`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Item {
    /// What was put.
    pub data: Vec<u8>,
    /// The smaller is served first. 0 where the queue has no priorities; [`i32::MIN`] for what was
    /// put without one in Curator's layout.
    pub priority: i32,
    /// The name that its node had. In Curator's layout others may have had it too: those that were
    /// put at once.
    pub name: String,
}

impl Item {
    fn of(taken: Taken) -> Self {
        let (priority, name) = (taken.entry.priority(), taken.entry.name);
        Self { data: taken.data, priority, name }
    }
}

impl Queue {
    /// The queue at `path`. Nothing is sent yet; its node is made when it is first needed.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if `path` is not a legal path, or is "/".
    pub fn new(client: &Client, path: &str) -> Result<Self> {
        let site = Site::new(client, "queue", path)?;
        Ok(Self { shelf: Shelf::new(site, Layout::Kazoo) })
    }

    /// How the nodes are called, and what they hold. Defaults to Kazoo's way.
    ///
    /// [`NameStyle::Curator`] is the layout of Curator's `DistributedQueue` and
    /// `DistributedPriorityQueue`, which packs items before they are written. Where Curator's
    /// `putMulti` put several at once into one node, they are taken out one by one all the same:
    /// the rest is left in the node. (Curator's consumers do not look at it before something else
    /// is put or taken; ours do.)
    ///
    /// Of Curator's options this is the queue without a `lockPath`; for one with it see
    /// [`LockingQueue::curator`](super::LockingQueue::curator). For
    /// its `maxItems` see [below](Queue#a-bound).
    pub fn name_style(mut self, style: NameStyle) -> Self {
        self.shelf.layout = style.into();
        self
    }

    /// The layout of Curator's `SimpleDistributedQueue`, and of the `DistributedQueue` that comes
    /// with ZooKeeper: no priorities, the items as they are.
    pub fn simple(mut self) -> Self {
        self.shelf.layout = Layout::Simple;
        self
    }
}

puts!(Queue, shelf);
takes!(Queue, Item, "the first item", "the first items");
