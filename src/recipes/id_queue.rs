//! A queue whose items have ids, and can be removed by them.
//!
//! ```text
//! <path>/queue-|<id>|<sequence>      persistent, holds the item, packed
//! ```
//!
//! The layout of Curator's `DistributedIdQueue`.

use std::fmt;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::error::Result;
use crate::proto::acl::Acl;
use crate::recipes::consumer::ConsumerBuilder;
use crate::recipes::entries::Layout;
use crate::recipes::puts::puts_with_ids;
use crate::recipes::room::Room;
use crate::recipes::shelf::{Shelf, Taken};
use crate::recipes::site::Site;
use crate::recipes::takes::{Takes, takes};

/// A queue, first in, first out, whose items have ids by which they can be taken back.
///
/// # What it promises
/// * What [`Queue`](super::Queue) promises: an item is taken by one consumer at most, several
///   together all or none, and where nobody can tell whether it was done the error says so.
/// * What [`remove`](Self::remove) counts, no consumer gets.
///
/// # What it does not promise
/// * That an id is there once: who puts it twice has two items. And as the characters `/` and `|`
///   cannot stand in a name, they become `_`, as in Curator: `a/b` and `a_b` are one id.
/// * What [`Queue`](super::Queue) does not promise: a taken item is lost with its consumer, who
///   waits is served in no order, the list of all items must fit into one answer.
///
/// ```no_run
/// use zookeeper_blocking::{Client, recipes::IdQueue};
///
/// let zk = Client::connect("localhost:2181")?;
/// let queue = IdQueue::new(&zk, "/app/orders")?;
/// queue.put("two teas", "order 17")?;
/// queue.put("a cake", "order 18")?;
/// if queue.remove("order 17")? == 0 {
///     println!("somebody makes tea already");
/// }
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
///
/// # Interop
/// With Curator's `DistributedIdQueue` without a `lockPath`, both ways; for one with it see
/// [`LockingIdQueue`](super::LockingIdQueue). (Curator's own `remove` finds
/// an id with a `/` or a `|` only under its name with `_`; ours finds both.)
///
/// Costs one round trip to put, however many; three to take, however many; two to remove.
#[derive(Clone)]
pub struct IdQueue {
    shelf: Shelf,
}

/// What was taken out of an [`IdQueue`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdItem {
    /// What was put.
    pub data: Vec<u8>,
    /// Its id, with `_` where there was a `/` or a `|`.
    pub id: String,
    /// The name that its node had.
    pub name: String,
}

impl IdItem {
    fn of(taken: Taken) -> Self {
        let id = taken.entry.id().to_owned();
        Self { data: taken.data, id, name: taken.entry.name }
    }
}

impl IdQueue {
    /// The queue at `path`. Nothing is sent yet; its node is made when it is first needed.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if `path` is not a legal path, or is "/".
    pub fn new(client: &Client, path: &str) -> Result<Self> {
        let site = Site::new(client, "id_queue", path)?;
        Ok(Self { shelf: Shelf::new(site, Layout::Id) })
    }

    /// Removes the items with this id, up to 1,000 in one transaction. Gives how many of them no
    /// consumer had taken before.
    ///
    /// # Errors
    /// * Where [`applied`](crate::Error::applied) is [`Unknown`](crate::Applied::Unknown): they may have
    ///   been removed, or some of them if they are more than 1,000.
    /// * [`Error::Invalid`](crate::Error::Invalid) for an id that is empty; [`Code::NoAuth`](crate::Code::NoAuth) and the
    ///   like.
    pub fn remove(&self, id: &str) -> Result<usize> {
        self.shelf.remove(id, None)
    }
}

puts_with_ids!(IdQueue, shelf);
takes!(IdQueue, IdItem, "the first item", "the first items");
