//! Knowing the shards of a queue: a thread that hears of new ones, and looks how long they are.
//!
//! ```text
//!  list with a watch ─▶ make what is to be made for new ones ─▶ wait: news, or it is time
//!    ▲                                                            │         │
//!    ├────────────────────────────────────────────────────────────┘         ▼
//!    └── add one ◀── leads, and one is long ◀────────────── count the items of all
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::client::op;
use crate::client::protected::uuid;
use crate::client::watch::Watch;
use crate::error::{Error, RecipeError, Result};
use crate::proto::code::Code;
use crate::recipes::election::Latch;
use crate::recipes::patience::{Patience, Waits};
use crate::recipes::site::Site;

/// What the thread and its handle share.
pub(crate) struct Shared<Q> {
    pub(crate) site: Site,
    pub(crate) waits: Waits,
    pub(crate) closed: AtomicBool,
    pub(crate) known: Mutex<Known<Q>>,
}

/// What is known of the shards.
pub(crate) struct Known<Q> {
    /// By path.
    pub(crate) shards: BTreeMap<String, Arc<Q>>,
    /// Those to put into, by path.
    pub(crate) short: BTreeSet<String>,
    /// There is one at least.
    pub(crate) first: Arc<Q>,
    pub(crate) failed: Option<Error>,
}

/// The thread's side.
pub(crate) struct Looking<Q> {
    pub(crate) shared: Arc<Shared<Q>>,
    pub(crate) latch: Arc<Latch>,
    pub(crate) threshold: usize,
    pub(crate) every: Duration,
    pub(crate) most: usize,
}

impl<Q> Looking<Q> {
    pub(crate) fn run(self, mut make: impl FnMut(&str) -> Result<Q>) {
        let shared = &self.shared;
        let mut at = Instant::now().checked_add(self.every);
        while !shared.closed.load(Ordering::SeqCst) {
            let looked = shared.waits.patiently(None, "shards", &shared.site.path, |patience| {
                // Before the wait began, the close found nothing to cancel.
                if shared.closed.load(Ordering::SeqCst) {
                    return Err(patience.error(RecipeError::Cancelled));
                }
                self.look(&mut at, &mut make, patience)
            });
            let error = match looked {
                Ok(()) | Err(Error::Recipe { why: RecipeError::Cancelled, .. }) => continue,
                Err(error) => error,
            };
            log::warn!("cannot look at the shards of {}: {error}", shared.site.path);
            let is_expired = matches!(error, Error::SessionExpired { .. });
            let is_last = error.is_terminal() || is_expired && !shared.site.may_renew();
            shared.known.lock().failed = Some(error);
            if is_last {
                return;
            }
            let pause = Instant::now() + self.every.min(LONGEST_PAUSE);
            // A close cancels it.
            let _ = shared.waits.patiently(Some(pause), "shards", &shared.site.path, |patience| {
                if shared.closed.load(Ordering::SeqCst) {
                    return Ok(());
                }
                patience.wait_end()
            });
        }
    }

    /// Looks for new shards, and, when it is time, how long all are; until there is a reason to list
    /// them again.
    fn look(
        &self,
        at: &mut Option<Instant>,
        make: &mut impl FnMut(&str) -> Result<Q>,
        patience: &Patience<'_>,
    ) -> Result<()> {
        let (paths, watch) = watched(&self.shared.site, patience)?;
        self.welcome(&paths, make)?;
        self.shared.known.lock().failed = None;
        while patience.wait_out(*at, &[&watch])? {
            let is_long = self.measure(&paths, patience)?;
            *at = Instant::now().checked_add(self.every);
            if is_long && self.latch.has_leadership() {
                if paths.len() < self.most {
                    // It rings the watch.
                    add(&self.shared.site, patience)?;
                } else {
                    log::warn!("{} has all the shards that it may, and a long one", self.path());
                }
            }
        }
        Ok(())
    }

    /// Makes what is to be made for shards that are new.
    fn welcome(&self, paths: &[String], make: &mut impl FnMut(&str) -> Result<Q>) -> Result<()> {
        for path in paths {
            if self.shared.known.lock().shards.contains_key(path) {
                continue;
            }
            let made = Arc::new(make(path)?);
            let mut known = self.shared.known.lock();
            // What is made after the close is nobody's.
            if !self.shared.closed.load(Ordering::SeqCst) {
                known.shards.insert(path.clone(), made);
                known.short.insert(path.clone());
            }
        }
        Ok(())
    }

    /// Sees which of the shards are long; whether there is one. One round trip.
    fn measure(&self, paths: &[String], patience: &Patience<'_>) -> Result<bool> {
        let site = &self.shared.site;
        let mut asked = Vec::with_capacity(paths.len());
        for path in paths {
            let exists = op::Exists::new(path.as_str());
            asked.push((path, site.client.submit_until(exists, patience.deadline)?));
        }
        let mut is_long = false;
        for (path, asked) in asked {
            let answer = match patience.wait(asked)? {
                Err(error) if error.is_connection() => {
                    site.ask(patience, || op::Exists::new(path.as_str()))?
                }
                answer => answer?,
            };
            let count = answer.map_or(0, |stat| usize::try_from(stat.num_children).unwrap_or(0));
            let mut known = self.shared.known.lock();
            if count >= self.threshold {
                is_long = true;
                known.short.remove(path);
            } else if count <= self.threshold / 2 {
                known.short.insert(path.clone());
            }
        }
        Ok(is_long)
    }

    fn path(&self) -> &str {
        &self.shared.site.path
    }
}

/// The paths of the shards.
fn shards_among(site: &Site, names: Vec<String>) -> Vec<String> {
    let mut paths: Vec<_> =
        names.iter().filter(|name| name.starts_with(PREFIX)).map(|name| site.below(name)).collect();
    paths.sort_unstable();
    paths
}

pub(crate) fn list(site: &Site, patience: &Patience<'_>) -> Result<Vec<String>> {
    match site.ask(patience, || op::GetChildren::new(&*site.path)) {
        Err(error) if error.code() == Some(Code::NoNode) => Ok(Vec::new()),
        names => Ok(shards_among(site, names?)),
    }
}

fn watched(site: &Site, patience: &Patience<'_>) -> Result<(Vec<String>, Watch)> {
    loop {
        let list = |watcher| op::GetChildren::new(&*site.path).watcher(watcher);
        match site.watch(patience, list) {
            Err(error) if error.code() == Some(Code::NoNode) => {
                site.ensure(patience, &site.path)?
            }
            listed => {
                let (names, watch) = listed?;
                return Ok((shards_among(site, names), watch));
            }
        }
    }
}

/// Makes a shard, and gives its path.
pub(crate) fn add(site: &Site, patience: &Patience<'_>) -> Result<String> {
    let path = site.below(&format!("{PREFIX}{}", uuid()));
    site.ensure_node(patience, &path)?;
    Ok(path)
}

const PREFIX: &str = "queue-";

/// After an error it is looked again no later than that.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
