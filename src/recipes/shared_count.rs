//! A count that is set by version and kept in sight.
//!
//! ```text
//! <path>      persistent, 4 bytes, big-endian; made with the seed
//! ```
//!
//! The layout of Curator's `SharedCount`.

use std::fmt;
use std::time::Duration;

use crate::client::Client;
use crate::error::{At, Error, RecipeError, Result};
use crate::proto::acl::Acl;
use crate::proto::stat::Stat;
use crate::recipes::atomic::AtomicValue;
use crate::recipes::sight::NodeData;
use crate::recipes::watches::DataWatch;

/// A small number that all know: how many may come in, which shard is active.
///
/// To count up and down, use a [`Counter`](super::Counter), which reads the same node with
/// [`binary`](super::Counter::binary).
///
/// # What it promises
/// * [`try_set`](Self::try_set) sets the count only if nobody did since it was read; if that cannot
///   be known the error's [`applied`](Error::applied) is [`Applied::Unknown`](crate::Applied), and
///   it was set once at most.
/// * [`recv`](Self::recv) gives the last count, whatever happens on the way: see [`DataWatch`].
///
/// # What it does not promise
/// As [`AtomicValue`].
///
/// ```no_run
/// use zookeeper_blocking::{Client, recipes::SharedCount};
///
/// let zk = Client::connect("localhost:2181")?;
/// let permits = SharedCount::new(&zk, "/app/permits", 10)?;
/// let read = permits.get()?;
/// if !permits.try_set(&read, read.value + 5)? {
///     println!("somebody else changed it");
/// }
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
#[derive(Clone)]
pub struct SharedCount {
    value: AtomicValue,
    watch: DataWatch,
    seed: i32,
}

/// A count as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionedCount {
    /// The count.
    pub value: i32,
    stat: Stat,
}

impl VersionedCount {
    /// The node's data version.
    pub fn version(&self) -> i32 {
        self.stat.version
    }
}

impl SharedCount {
    /// The count at `path`, `seed` if there is none yet. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `path` is not a legal path, or is "/".
    pub fn new(client: &Client, path: &str, seed: i32) -> Result<Self> {
        let value = AtomicValue::new(client, path)?;
        Ok(Self { value, watch: DataWatch::new(client, path)?, seed })
    }

    /// The ACL of the nodes that are made, parents included. Defaults to everybody everything.
    pub fn acl(mut self, acl: impl IntoIterator<Item = Acl>) -> Self {
        self.value = self.value.acl(acl);
        self
    }

    /// The count's path.
    pub fn path(&self) -> &str {
        self.value.path()
    }

    /// The count; made with the seed if there is none. As the connected server knows it, which may
    /// be a little behind.
    ///
    /// # Errors
    /// [`RecipeError::Unreadable`] if the node does not hold 4 bytes; those of every call.
    pub fn get(&self) -> Result<VersionedCount> {
        let (data, stat) = self.value.get_or_make(&self.seed.to_be_bytes())?;
        Ok(VersionedCount { value: self.parse("get", &data)?, stat })
    }

    /// Sets the count if it is the one that was `read`. Gives whether it was.
    ///
    /// # Errors
    /// As [`AtomicValue::update`].
    pub fn try_set(&self, read: &VersionedCount, value: i32) -> Result<bool> {
        self.value.set_over(&read.stat, &value.to_be_bytes())
    }

    /// Sets the count whatever it was.
    ///
    /// # Errors
    /// As [`AtomicValue::set`].
    pub fn set(&self, value: i32) -> Result<()> {
        self.value.set(value.to_be_bytes())
    }

    /// Waits until the count is another than was given last, and gives it; the first time at once.
    /// Makes no node: without one it is the seed. See [`DataWatch::recv`].
    ///
    /// # Errors
    /// As [`DataWatch::recv`], and [`RecipeError::Unreadable`].
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most (30 s by default).
    pub fn recv(&self) -> Result<i32> {
        self.seen(self.watch.recv()?)
    }

    /// As [`recv`](Self::recv), for `timeout` at most.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<i32> {
        self.seen(self.watch.recv_timeout(timeout)?)
    }

    /// Ends the waits of all threads on this handle and its clones.
    pub fn cancel(&self) {
        self.value.cancel();
        self.watch.cancel();
    }

    fn seen(&self, node: Option<NodeData>) -> Result<i32> {
        node.map_or(Ok(self.seed), |node| self.parse("recv", &node.data))
    }

    fn parse(&self, op: &'static str, data: &[u8]) -> Result<i32> {
        data.try_into().map(i32::from_be_bytes).map_err(|_| Error::Recipe {
            why: RecipeError::Unreadable,
            at: At::new(op, self.path()),
        })
    }
}

impl fmt::Debug for SharedCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedCount").field("path", &self.path()).finish_non_exhaustive()
    }
}
