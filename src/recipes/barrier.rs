//! A barrier: all wait while a node is there.
//!
//! ```text
//! <path>      persistent, empty; while it exists the barrier is closed
//! ```
//!
//! The layout of Kazoo's `Barrier` and Curator's `DistributedBarrier`.

use std::fmt;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::client::op;
use crate::error::Result;
use crate::proto::acl::Acl;
use crate::proto::code::Code;
use crate::recipes::site::Site;

/// A barrier that holds up whoever waits at it, until somebody removes it.
///
/// # What it promises
/// A wait ends when the barrier is not there, seen after the wait began, and at its deadline;
/// nothing else ends it: no lost connection, no expired session. Its watch goes with it.
///
/// # What it does not promise
/// That the barrier is still open when the wait returns: who creates it again right away may find
/// some inside.
///
/// ```no_run
/// use std::time::Duration;
/// use zookeeper_blocking::{Client, recipes::Barrier};
///
/// let zk = Client::connect("localhost:2181")?;
/// let barrier = Barrier::new(&zk, "/app/barrier")?;
/// barrier.create()?;
/// // Elsewhere:
/// # barrier.remove()?;
/// barrier.wait_timeout(Duration::from_secs(3600))?;
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
///
/// Costs one round trip to wait, one more when it is removed.
#[derive(Clone)]
pub struct Barrier {
    site: Site,
}

impl Barrier {
    /// The barrier at `path`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if `path` is not a legal path, or is "/".
    pub fn new(client: &Client, path: &str) -> Result<Self> {
        Ok(Self { site: Site::new(client, "barrier", path)? })
    }

    /// The ACL of the nodes that are made, parents included. Defaults to everybody everything.
    pub fn acl(mut self, acl: impl IntoIterator<Item = Acl>) -> Self {
        self.site.set_acl(acl);
        self
    }

    /// The barrier's path.
    pub fn path(&self) -> &str {
        &self.site.path
    }

    /// Closes the barrier, if it is not closed already.
    ///
    /// # Errors
    /// Those of every call.
    pub fn create(&self) -> Result<()> {
        self.site.patiently(self.site.deadline(), "create", |patience| {
            self.site.ensure_node(patience, &self.site.path)
        })
    }

    /// Opens the barrier. Gives whether it was closed.
    ///
    /// # Errors
    /// Those of every call.
    pub fn remove(&self) -> Result<bool> {
        self.site.patiently(self.site.deadline(), "remove", |patience| {
            // Whether it was there: a delete that is repeated after a lost answer finds nothing.
            let there = self.site.ask(patience, || op::Exists::new(&*self.site.path))?.is_some();
            match self.site.ask(patience, || op::Delete::new(&*self.site.path)) {
                Err(error) if error.code() == Some(Code::NoNode) => Ok(there),
                removed => removed.map(|()| true),
            }
        })
    }

    /// Waits while the barrier is closed, until the deadline of the client's calls.
    ///
    /// # Errors
    /// * [`Error::Timeout`](crate::Error::Timeout) if it still is closed.
    /// * [`RecipeError::Cancelled`](crate::RecipeError::Cancelled) after [`cancel`](Self::cancel).
    /// * [`Error::Closed`](crate::Error::Closed) and the like.
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most (30 s by default).
    pub fn wait(&self) -> Result<()> {
        self.wait_until(self.site.deadline())
    }

    /// As [`wait`](Self::wait), for `timeout` at most.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<()> {
        self.wait_until(Instant::now().checked_add(timeout))
    }

    /// Whether the barrier is open now.
    ///
    /// # Errors
    /// Those of every call.
    pub fn try_wait(&self) -> Result<bool> {
        self.site.patiently(self.site.deadline(), "try_wait", |patience| {
            Ok(self.site.ask(patience, || op::Exists::new(&*self.site.path))?.is_none())
        })
    }

    /// Ends the waits of all threads on this handle and its clones.
    pub fn cancel(&self) {
        self.site.cancel();
    }

    fn wait_until(&self, deadline: Option<Instant>) -> Result<()> {
        self.site.patiently(deadline, "wait", |patience| {
            loop {
                let exists = |watcher| op::Exists::new(&*self.site.path).watcher(watcher);
                let (there, watch) = self.site.watch(patience, exists)?;
                if there.is_none() {
                    return Ok(());
                }
                patience.wait_for(&[&watch])?;
            }
        })
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier").field("path", &self.site.path).finish_non_exhaustive()
    }
}
