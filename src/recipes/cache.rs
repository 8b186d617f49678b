//! A part of the tree, kept in memory.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use crate::client::Client;
use crate::client::watch::WatchWait;
use crate::error::{Error, Result};
use crate::path;
use crate::recipes::mirror::{CacheEvent, Mirror, Tree};
use crate::recipes::sight::NodeData;
use crate::recipes::site::Site;

/// A node and everything below it, kept in memory as the servers have it.
///
/// # What it promises
/// * It follows the servers: by one watch, however many nodes there are. After a reconnect it looks
///   at every node (one small answer each, 256 requests in flight) and reads the data that changed;
///   so too in the next session after an expiry.
/// * Events come in the order of each node's changes. The last state of a node is always told.
/// * Reading it asks no server.
///
/// # What it does not promise
/// * To be up to date: it lags behind by what is on the way, and by the time of an outage.
///   [`is_fresh`](Self::is_fresh) says whether all that was heard of was read.
/// * To be of one moment: nodes that were changed together may be seen one after the other.
/// * To tell every change: who sets a node twice quickly may be seen once.
/// * The numbers of children in a node's [`Stat`](crate::Stat): they are those of when its data
///   were last read.
///
/// Servers before 3.6 know no watch of that sort. There each node has two one-shot watches, with the
/// same promises: a reconnect reads nothing, a child that comes or goes costs two reads more, and
/// once a session the client is cut off: it asks for the other watch first, and such a server answers
/// that it does not know it, and closes the connection. Calls of other threads that are under way
/// then fail with [`Error::ConnectionLoss`].
///
/// Curator's `CuratorCache`, Kazoo's `TreeCache`.
///
/// ```no_run
/// use std::time::Duration;
/// use zookeeper_blocking::{Client, recipes::Cache};
///
/// let zk = Client::connect("localhost:2181")?;
/// let config = Cache::new(&zk, "/app/config")?;
/// if let Some(node) = config.get("/app/config/colour") {
///     println!("{}", String::from_utf8_lossy(&node.data));
/// }
/// let events = config.subscribe();
/// # zk.close()?;
/// while let Ok(event) = events.recv_timeout(Duration::from_secs(3600)) {
///     println!("{event:?}");
/// }
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
///
/// Costs two requests a node to fill, one a change, and a thread that sleeps. Cloning makes one more
/// handle; the last that is dropped ends it.
#[derive(Clone)]
pub struct Cache {
    site: Site,
    tree: Arc<Tree>,
    /// Its end is the thread's.
    _stop: Arc<Sender<()>>,
}

impl Cache {
    /// Reads `path` and everything below, and follows it from then on. A node that is not there yet
    /// is waited for in the background.
    ///
    /// # Errors
    /// * [`Error::Timeout`] if not all was read by the deadline of the client's calls.
    /// * [`Error::Invalid`] if `path` is not a legal path.
    /// * [`Code::NoAuth`](crate::Code::NoAuth) if a node may not be read, [`Error::Closed`] and the
    ///   like.
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most (30 s by default).
    pub fn new(client: &Client, path: &str) -> Result<Self> {
        Self::new_until(client, path, client.deadline(Instant::now()))
    }

    /// As [`new`](Self::new), for `timeout` at most.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn new_timeout(client: &Client, path: &str, timeout: Duration) -> Result<Self> {
        Self::new_until(client, path, Instant::now().checked_add(timeout))
    }

    fn new_until(client: &Client, path: &str, deadline: Option<Instant>) -> Result<Self> {
        path::validate(path).map_err(|why| Error::invalid("cache", path, why))?;
        let tree = Arc::new(Tree::default());
        let stop = Mirror::start(client, path, tree.clone(), None)?;
        let site = Site::of(client.clone(), path.into(), [].into());
        let cache = Self { site, tree, _stop: stop };
        cache.wait_fresh_until(deadline)?;
        Ok(cache)
    }

    /// The path of the root.
    pub fn path(&self) -> &str {
        &self.site.path
    }

    /// The node at `path`, a whole path as the client names it; `None` if there is none, or it is
    /// not below the root.
    pub fn get(&self, path: &str) -> Option<Arc<NodeData>> {
        self.tree.inside.lock().nodes.get(path).cloned()
    }

    /// The names of the children of `path`, sorted; `None` if there is no such node.
    pub fn children(&self, path: &str) -> Option<Vec<String>> {
        let inside = self.tree.inside.lock();
        inside.nodes.get(path)?;
        Some(inside.children(path).into_iter().collect())
    }

    /// Every path and its node, parents first.
    pub fn snapshot(&self) -> Vec<(Arc<str>, Arc<NodeData>)> {
        let inside = self.tree.inside.lock();
        inside.nodes.iter().map(|(path, node)| (path.clone(), node.clone())).collect()
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.tree.inside.lock().nodes.len()
    }

    /// Whether there is no node, not even the root.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether everything was read that was heard of, and nothing waits for a connection.
    ///
    /// A fact of the past; and during an outage that was not noticed yet it says yes.
    pub fn is_fresh(&self) -> bool {
        self.tree.inside.lock().is_fresh && self.site.client.state().is_connected()
    }

    /// Waits until everything was read that was heard of, for `timeout` at most.
    ///
    /// # Errors
    /// * [`Error::Timeout`].
    /// * [`RecipeError::Cancelled`](crate::RecipeError::Cancelled) after [`cancel`](Self::cancel).
    /// * Why the cache ended: [`Error::Closed`], [`Code::NoAuth`](crate::Code::NoAuth) and the like.
    pub fn wait_fresh(&self, timeout: Duration) -> Result<()> {
        self.wait_fresh_until(Instant::now().checked_add(timeout))
    }

    /// The events from now on. Unbounded; nothing is dropped.
    pub fn subscribe(&self) -> CacheEvents {
        let (tell, events) = unbounded();
        let mut inside = self.tree.inside.lock();
        if inside.ended.is_none() {
            inside.listeners.push(tell);
        }
        CacheEvents { events }
    }

    /// Ends the waits of [`wait_fresh`](Self::wait_fresh) of all handles.
    pub fn cancel(&self) {
        self.site.cancel();
    }

    fn wait_fresh_until(&self, deadline: Option<Instant>) -> Result<()> {
        self.site.patiently(deadline, "cache", |patience| {
            self.tree.wait(patience, |inside| {
                (inside.is_fresh && self.site.client.state().is_connected()).then_some(())
            })
        })
    }
}

/// The changes of a [`Cache`] as they come.
pub struct CacheEvents {
    events: Receiver<CacheEvent>,
}

impl CacheEvents {
    /// Waits for the next event for `timeout` at most.
    ///
    /// # Errors
    /// [`WatchWait::Empty`] if none came, [`WatchWait::Over`] if none will come.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<CacheEvent, WatchWait> {
        let received = match Instant::now().checked_add(timeout) {
            Some(deadline) => self.events.recv_deadline(deadline),
            None => self.events.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        received.map_err(|error| match error {
            RecvTimeoutError::Timeout => WatchWait::Empty,
            RecvTimeoutError::Disconnected => WatchWait::Over,
        })
    }

    /// The events that are there now.
    pub fn try_iter(&self) -> impl Iterator<Item = CacheEvent> + '_ {
        self.events.try_iter()
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("path", &self.site.path)
            .field("nodes", &self.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for CacheEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CacheEvents")
    }
}
