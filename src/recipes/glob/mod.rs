//! The next change under a pattern of paths.

pub(crate) mod past;
mod pattern;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use crate::client::Client;
use crate::error::{Error, Result};
use crate::recipes::mirror::{Mirror, Tree};
use crate::recipes::sight::NodeData;
use crate::recipes::site::Site;
use past::Past;
pub(crate) use pattern::Pattern;

/// Waits for the next change of the nodes whose paths match a pattern, from a transaction on;
/// Doozer's `wait`.
///
/// In a pattern, `*` stands for any characters of one name, `?` for one character, and a `**`
/// between slashes for any number of names, also none: `/svc/*/addr`, `/jobs/**`.
///
/// ```no_run
/// use zookeeper_blocking::{Client, recipes::{Glob, GlobChange}};
///
/// let zk = Client::connect("localhost:2181")?;
/// # use zookeeper_blocking::op;
/// # zk.create_with_parents(op::Create::new("/svc/mail/addr").data("10.0.0.7:25"))?;
/// let addresses = Glob::new(&zk, "/svc/*/addr")?;
/// let mut zxid = 0; // or what the last run of this program left in a file
/// loop {
///     let news = addresses.wait(zxid)?;
///     for change in &news.changes {
///         match change {
///             GlobChange::Created { path, node } | GlobChange::Changed { path, node } => {
///                 println!("{path}: {}", String::from_utf8_lossy(&node.data));
///             }
///             GlobChange::Deleted { path, .. } => println!("{path} is gone"),
///             other => println!("look yourself: {other:?}"),
///         }
///     }
///     zxid = news.zxid;
///     # break;
/// }
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
///
/// # What it promises
/// * Who passes the last [`zxid`](GlobNews::zxid) again and again, from process to process if need
///   be, is told of each matching node's last state, of the data and of the transaction that set
///   them, over lost connections and ended sessions. The transactions come in their order, and each
///   with all the nodes that it set last.
/// * A deletion that happens while a `Glob` lives is told, to one of its callers, unless the node is
///   made again before.
/// * Where children of a node came or went while no `Glob` lived, and since `zxid`, that node is told
///   as [`Unclear`](GlobChange::Unclear). A node that was deleted then was below one of these.
///
/// # What it does not promise
/// * Each change: a tree has no history. Who sets a node twice may be seen once, then by the later
///   transaction.
/// * To know what was deleted while no `Glob` lived, or in which transaction: no server tells. If
///   the node before the first `*` or `?` is missing from the beginning, not even `Unclear` is told.
/// * Changes of ACLs.
/// * To a client that allows servers cut off from their quorum
///   ([`read_only`](crate::ClientBuilder::read_only)): such a server may not have a node yet that was
///   seen at another, which is told as a deletion.
///
/// # What it costs
/// As a [`Cache`](super::Cache) of the nodes that match and those above them, from the last name
/// that is fixed on: a thread, one watch, the data in memory. So keep it: each `new` reads them all.
/// It works with the same servers. Cloning makes one more handle; the last that is dropped ends it.
#[derive(Clone)]
pub struct Glob {
    site: Site,
    tree: Arc<Tree>,
    pattern: Arc<str>,
    /// Its end is the thread's.
    _stop: Arc<Sender<()>>,
}

/// What one transaction did to the nodes of a [`Glob`], as far as it is still to be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GlobNews {
    /// To be passed next: all changes up to this transaction were told. For deletions, of which the
    /// tree does not say when they were, it is what was passed. For a node that is set all the time
    /// it may be an earlier transaction than the one whose data are given; then these are told again.
    pub zxid: i64,
    /// At least one.
    pub changes: Vec<GlobChange>,
}

/// What became of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GlobChange {
    /// A node that was made since; or made anew.
    Created {
        /// Its path.
        path: Arc<str>,
        /// What it holds.
        node: Arc<NodeData>,
    },
    /// A node whose data were set since.
    Changed {
        /// Its path.
        path: Arc<str>,
        /// What it holds.
        node: Arc<NodeData>,
    },
    /// A node that is there no more.
    Deleted {
        /// Its path.
        path: Arc<str>,
        /// What it held when it was last read.
        before: Arc<NodeData>,
    },
    /// Children of this node came or went while nobody watched. Those that came are told by
    /// themselves; whether some that match, or had below them what matches, went, only whoever knew
    /// them can say.
    Unclear {
        /// The path of the parent.
        path: Arc<str>,
    },
}

impl Glob {
    /// Reads what matches `pattern`, and follows it from then on.
    ///
    /// # Errors
    /// * [`Error::Invalid`] if `pattern` is no legal path, or has a `**` beside other characters.
    /// * [`Error::Timeout`] if not all was read by the deadline of the client's calls.
    /// * [`Code::NoAuth`](crate::Code::NoAuth) if a node may not be read, [`Error::Closed`] and the
    ///   like.
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most (30 s by default).
    pub fn new(client: &Client, pattern: &str) -> Result<Self> {
        Self::new_until(client, pattern, client.deadline(Instant::now()))
    }

    /// As [`new`](Self::new), for `timeout` at most.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn new_timeout(client: &Client, pattern: &str, timeout: Duration) -> Result<Self> {
        Self::new_until(client, pattern, Instant::now().checked_add(timeout))
    }

    fn new_until(client: &Client, pattern: &str, deadline: Option<Instant>) -> Result<Self> {
        let parsed = Pattern::parse(pattern).map_err(|why| Error::invalid("glob", pattern, why))?;
        let (root, parsed) = (Arc::<str>::from(parsed.root()), Arc::new(parsed));
        let tree = Arc::new(Tree::with_past(Past::new(parsed.clone(), root.clone())));
        let stop = Mirror::start(client, &root, tree.clone(), Some(parsed))?;
        let site = Site::of(client.clone(), root, [].into());
        let glob = Self { site, tree, pattern: pattern.into(), _stop: stop };
        glob.site.patiently(deadline, "glob", |patience| {
            glob.tree.wait(patience, |inside| inside.is_fresh.then_some(()))
        })?;
        Ok(glob)
    }

    /// The pattern.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// A transaction up to which everything is known: who passes it hears of what comes later.
    pub fn zxid(&self) -> i64 {
        self.tree.inside.lock().past.as_ref().map_or(0, Past::known)
    }

    /// Waits for the next change after the transaction `from`; 0 for all nodes that match.
    ///
    /// # Errors
    /// * [`Error::Timeout`].
    /// * [`RecipeError::Cancelled`](crate::RecipeError::Cancelled) after [`cancel`](Self::cancel).
    /// * [`Error::Closed`], [`Code::NoAuth`](crate::Code::NoAuth) and the like: nothing more will be
    ///   heard.
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most (30 s by default).
    pub fn wait(&self, from: i64) -> Result<GlobNews> {
        self.wait_until(from, self.site.deadline())
    }

    /// As [`wait`](Self::wait), for `timeout` at most.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&self, from: i64, timeout: Duration) -> Result<GlobNews> {
        self.wait_until(from, Instant::now().checked_add(timeout))
    }

    /// As [`wait`](Self::wait), of what was heard already. Asks no server.
    ///
    /// # Errors
    /// As [`wait`](Self::wait), but for the first two.
    pub fn try_wait(&self, from: i64) -> Result<Option<GlobNews>> {
        match self.wait_until(from, Some(Instant::now())) {
            Ok(news) => Ok(Some(news)),
            Err(Error::Timeout { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Ends the waits of all handles.
    pub fn cancel(&self) {
        self.site.cancel();
    }

    fn wait_until(&self, from: i64, deadline: Option<Instant>) -> Result<GlobNews> {
        self.site.patiently(deadline, "glob", |patience| {
            self.tree.wait(patience, |inside| {
                let inside = &mut **inside;
                inside.past.as_mut().and_then(|past| past.next(&inside.nodes, from))
            })
        })
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Glob").field("pattern", &self.pattern).finish_non_exhaustive()
    }
}
