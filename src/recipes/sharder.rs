//! Several queues as one: more of them when they get long.
//!
//! ```text
//! <path>/queue-<uuid>                              persistent: a shard, which is a queue
//! <leader path>/_c_<uuid>-latch-<sequence>         ephemeral: a sharder; the first of them leads
//! ```
//!
//! The layout of Curator's `QueueSharder`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::client::Client;
use crate::error::{Error, Result};
use crate::proto::acl::Acl;
use crate::recipes::election::{Election, Latch};
use crate::recipes::patience::Waits;
use crate::recipes::role::NameStyle;
use crate::recipes::shards::{Known, Looking, Shared, add, list};
use crate::recipes::site::Site;

/// Several queues below one path, of which there are more when they get long: a list of children that
/// is too large for one answer never comes about.
///
/// All who put and all who consume start one; each then knows all shards. Curator's `QueueSharder`.
///
/// # What it promises
/// * Each shard that is added, by whomever, is known to each [`QueueShards`] soon, and what was made
///   for it by the closure of [`start`](Self::start) is there as long as the shards are: a queue to
///   put into, or a queue and its [`Consumer`](super::Consumer).
/// * Puts spread: [`pick`](QueueShards::pick) gives a shard at random, of those that are not long.
/// * One of all sharders, which leads, adds a shard when there is one that has as many items as the
///   [threshold](Self::threshold) or more; one at a time, each time that it looks.
///
/// # What it does not promise
/// * One order: each shard is a queue for itself.
/// * Fewer shards again: they stay, empty.
/// * Exactly so many: two sharders that begin at once where there is no shard may begin with two, and
///   a leader that loses the lead at that moment may add one more.
///
/// ```no_run
/// use std::time::Duration;
/// use zookeeper_blocking::{Client, recipes::{Queue, QueueSharder}};
///
/// let zk = Client::connect("localhost:2181")?;
/// let client = zk.clone();
/// let shards = QueueSharder::new(&zk, "/app/jobs", "/app/jobs-leader")?
///     .threshold(5_000)
///     .start(move |path| {
///         let queue = Queue::new(&client, path)?;
///         let consumer = queue
///             .consumer(|item| {
///                 println!("{}", String::from_utf8_lossy(&item.data));
///                 Ok::<_, std::convert::Infallible>(())
///             })
///             .start()?;
///         Ok((queue, consumer))
///     })?;
/// let shard = shards.pick();
/// shard.0.put("resize 7.png")?;
/// # drop(shard);
/// shards.close()?;
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
///
/// # Interop
/// With Curator's `QueueSharder` at the same two paths, both ways, if what is made for each shard is
/// a queue in Curator's layout, as [`Queue`](super::Queue) with [`NameStyle::Curator`]. Curator takes
/// every child of the path for a shard; ours those of the name above. Curator hears of a new shard
/// when it looks next; ours at once.
///
/// Costs a thread, and that of a [`Latch`](super::Latch); each time that it looks, one round trip, whatever the
/// number of shards and of items.
#[must_use = "a sharder does nothing until it is started"]
pub struct QueueSharder {
    site: Site,
    leader_path: Box<str>,
    threshold: usize,
    every: Duration,
    most: usize,
}

/// The shards of a [`QueueSharder`]; `Q` is what its closure made for each.
#[must_use = "dropping it ends what was made for the shards"]
pub struct QueueShards<Q> {
    shared: Arc<Shared<Q>>,
    latch: Arc<Latch>,
}

impl QueueSharder {
    /// The shards below `path`; the sharders elect their leader at `leader_path`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Invalid`] if one of the paths is not legal, or is "/".
    pub fn new(client: &Client, path: &str, leader_path: &str) -> Result<Self> {
        let site = Site::new(client, "queue_sharder", path)?;
        Site::new(client, "queue_sharder", leader_path)?;
        let leader_path = leader_path.into();
        let (threshold, every, most) = (THRESHOLD, EVERY, MOST);
        Ok(Self { site, leader_path, threshold, every, most })
    }

    /// The ACL of the nodes that are made, parents included. Defaults to everybody everything.
    pub fn acl(mut self, acl: impl IntoIterator<Item = Acl>) -> Self {
        self.site.set_acl(acl);
        self
    }

    /// A shard of so many items, or more, is long: if there is one, another shard is added; and it is
    /// not put into until it has no more than half of that. Defaults to 10,000.
    pub fn threshold(mut self, items: usize) -> Self {
        self.threshold = items.max(1);
        self
    }

    /// How often it is looked how long the shards are: every 10 ms at most. Defaults to 30 s.
    pub fn look_every(mut self, pause: Duration) -> Self {
        self.every = pause.max(SHORTEST);
        self
    }

    /// How many shards there are at most: then none is added. Defaults to 10.
    pub fn max_shards(mut self, most: usize) -> Self {
        self.most = most;
        self
    }

    /// Finds the shards that there are, adds one if there is none, and keeps on looking in a thread.
    /// `make` is called with the path of each shard once: here for those that there are, in the thread
    /// for those that come.
    ///
    /// # Errors
    /// * What `make` fails with. Later that is logged, and `make` is called again when it is looked
    ///   next.
    /// * [`Error::Start`] if there is no thread.
    /// * [`Error::Timeout`], [`Code::NoAuth`](crate::Code::NoAuth) and the like.
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most (30 s by default).
    pub fn start<Q: Send + Sync + 'static>(
        self,
        make: impl FnMut(&str) -> Result<Q> + Send + 'static,
    ) -> Result<QueueShards<Q>> {
        let deadline = self.site.deadline();
        self.start_by(deadline, make)
    }

    /// As [`start`](Self::start), for `timeout` at most.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_timeout<Q: Send + Sync + 'static>(
        self,
        timeout: Duration,
        make: impl FnMut(&str) -> Result<Q> + Send + 'static,
    ) -> Result<QueueShards<Q>> {
        self.start_by(Instant::now().checked_add(timeout), make)
    }

    fn start_by<Q: Send + Sync + 'static>(
        self,
        deadline: Option<Instant>,
        mut make: impl FnMut(&str) -> Result<Q> + Send + 'static,
    ) -> Result<QueueShards<Q>> {
        let site = self.site.apart();
        let paths = site.patiently(deadline, "start", |patience| {
            let mut paths = list(&site, patience)?;
            if paths.is_empty() {
                paths.push(add(&site, patience)?);
            }
            Ok(paths)
        })?;
        let mut shards = BTreeMap::new();
        for path in paths {
            let made = Arc::new(make(&path)?);
            shards.insert(path, made);
        }
        let Some((_, first)) = shards.first_key_value() else {
            return Err(Error::invalid("start", &site.path, "no shard"));
        };
        let first = first.clone();
        let short = shards.keys().cloned().collect();
        let election = Election::new(&site.client, &self.leader_path)?;
        let election = election.name_style(NameStyle::Curator).acl(site.acl.iter().cloned());
        let latch = Arc::new(election.latch(|_| {})?);
        let shared = Arc::new(Shared {
            site,
            waits: Waits::default(),
            closed: AtomicBool::new(false),
            known: Mutex::new(Known { shards, short, first, failed: None }),
        });
        let looking = Looking {
            shared: shared.clone(),
            latch: latch.clone(),
            threshold: self.threshold,
            every: self.every,
            most: self.most,
        };
        thread::Builder::new()
            .name("zk-shards".into())
            .spawn(move || looking.run(make))
            .map_err(|source| Error::Start { source: Arc::new(source) })?;
        Ok(QueueShards { shared, latch })
    }
}

impl<Q> QueueShards<Q> {
    /// A shard to put into: one at random, of those that are not long; if all are, of all.
    pub fn pick(&self) -> Arc<Q> {
        let known = self.shared.known.lock();
        let short = fastrand::choice(&known.short).and_then(|path| known.shards.get(path));
        let any = || fastrand::choice(known.shards.values());
        short.or_else(any).unwrap_or(&known.first).clone()
    }

    /// All shards, in the order of their paths.
    pub fn all(&self) -> Vec<Arc<Q>> {
        self.shared.known.lock().shards.values().cloned().collect()
    }

    /// The paths of all shards, sorted.
    pub fn paths(&self) -> Vec<String> {
        self.shared.known.lock().shards.keys().cloned().collect()
    }

    /// How many shards there are.
    pub fn count(&self) -> usize {
        self.shared.known.lock().shards.len()
    }

    /// Whether this one leads: it adds the shards.
    pub fn is_leader(&self) -> bool {
        self.latch.has_leadership()
    }

    /// Why it could not look the last time; `None` if it could.
    pub fn failure(&self) -> Option<Error> {
        self.shared.known.lock().failed.clone()
    }

    /// The path.
    pub fn path(&self) -> &str {
        &self.shared.site.path
    }

    /// Looks no more, gives up the lead, and lets go of what was made for the shards, on this thread;
    /// what [`pick`](Self::pick) gave lives on with whoever has it. The shards stay. Dropping it does
    /// the same.
    ///
    /// # Errors
    /// The last [`failure`](Self::failure), if it was one for good.
    pub fn close(self) -> Result<()> {
        match self.failure() {
            Some(error) if error.is_terminal() => Err(error),
            _ => Ok(()),
        }
    }
}

impl<Q> Drop for QueueShards<Q> {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.shared.waits.cancel();
        // The thread has the rest for a moment still.
        let made = std::mem::take(&mut self.shared.known.lock().shards);
        drop(made);
    }
}

impl<Q> fmt::Debug for QueueShards<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueShards").field("paths", &self.paths()).finish_non_exhaustive()
    }
}

impl fmt::Debug for QueueSharder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueSharder").field("path", &self.site.path).finish_non_exhaustive()
    }
}

/// As Curator has them.
const THRESHOLD: usize = 10_000;
const EVERY: Duration = Duration::from_secs(30);
const MOST: usize = 10;

/// More often than that is a storm.
const SHORTEST: Duration = Duration::from_millis(10);
