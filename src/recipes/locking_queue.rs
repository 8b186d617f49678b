//! A queue whose items stay in it until they were worked on.
//!
//! ```text
//! <path>/entries/entry-<priority>-<sequence>     persistent, holds the item
//! <path>/taken/<name of the item's node>         ephemeral: somebody works on it; holds his mark
//! ```
//!
//! The layout of Kazoo's `LockingQueue`; see [`LockingQueue::curator`] for another.

use std::collections::HashSet;
use std::fmt;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::client::op;
use crate::client::session::Session;
use crate::client::watch::Watch;
use crate::error::{Error, Result};
use crate::proto::acl::Acl;
use crate::proto::code::Code;
use crate::recipes::entries::{Entry, Layout};
use crate::recipes::held_item::HeldItem;
use crate::recipes::holding::Holding;
use crate::recipes::patience::Patience;
use crate::recipes::puts::puts;
use crate::recipes::room::Room;
use crate::recipes::shelf::Shelf;
use crate::recipes::site::{Site, look};

/// A queue whose items are held while they are worked on, and come back if that fails.
///
/// # What it promises
/// * An item is held by one consumer at a time, for as long as his session lives. If he dies, or
///   drops it, others get it.
/// * [`consume`](HeldItem::consume) takes the item out in one transaction with the hold, which the
///   servers check: see [`HeldItem`]. It tells whether it did, also where the answer is lost.
/// * No item is lost: each is in the queue until somebody consumed it.
///
/// # What it does not promise
/// * That an item is worked on once only. Whose session expires may be at work still when another
///   gets the item: look at [`is_held`](HeldItem::is_held), and write to ZooKeeper itself within
///   [`consume_with`](HeldItem::consume_with).
/// * Fairness among consumers, and room without end: as [`Queue`](super::Queue).
///
/// ```no_run
/// use zookeeper_blocking::{Client, recipes::LockingQueue};
///
/// let zk = Client::connect("localhost:2181")?;
/// let queue = LockingQueue::new(&zk, "/app/jobs")?;
/// queue.put("resize 7.png")?;
/// let item = queue.get()?;
/// println!("{}", String::from_utf8_lossy(item.data()));
/// item.consume()?;
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
///
/// # Interop
/// | | items | holds | who else |
/// |---|---|---|---|
/// | [`new`](Self::new) | `<path>/entries/entry-100-0000000007` | `<path>/taken/<its name>` | Kazoo `LockingQueue` |
/// | [`curator`](Self::curator) | `<path>/queue-0000000007` | `<lock path>/<its name>` | Curator `DistributedQueue` and `DistributedPriorityQueue` with a `lockPath` |
///
/// Kazoo and Curator check their own hold before the transaction that consumes, or not at all: what
/// is said of checks in [`HeldItem`] holds for ours.
///
/// Costs one round trip to put, three to get, up to a hundred at a time, and one to consume.
#[derive(Clone)]
pub struct LockingQueue {
    site: Site,
    entries: Shelf,
    taken: Site,
}

impl LockingQueue {
    /// The queue at `path`. Nothing is sent yet; its nodes are made when they are first needed.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `path` is not a legal path, or is "/".
    pub fn new(client: &Client, path: &str) -> Result<Self> {
        let site = Site::new(client, "locking_queue", path)?;
        let entries = Shelf::new(site.at(site.below("entries")), Layout::Kazoo);
        let taken = site.at(site.below("taken"));
        Ok(Self { site, entries, taken })
    }

    /// The queue of Curator's `DistributedQueue` or `DistributedPriorityQueue` at `path` with its
    /// `lockPath`, which makes it one whose items are held.
    ///
    /// A consumer of Curator's holds an item while its `consumeMessage` runs; if that throws, the item
    /// goes to the end of the queue under a new name. It is woken by items that are put and taken
    /// only: one that ours give back is not looked at by Curator before that. Of several that
    /// `putMulti` put into one node ours hold and consume one at a time.
    ///
    /// # Errors
    /// [`Error::Invalid`] if one of the paths is not legal, or is "/".
    pub fn curator(client: &Client, path: &str, lock_path: &str) -> Result<Self> {
        let site = Site::new(client, "locking_queue", path)?;
        Site::new(client, "locking_queue", lock_path)?;
        let taken = site.at(lock_path.to_owned());
        Ok(Self { entries: Shelf::new(site.clone(), Layout::Curator), taken, site })
    }

    /// The ACL of the nodes that are made, parents and items included. Defaults to everybody
    /// everything.
    pub fn acl(mut self, acl: impl IntoIterator<Item = Acl>) -> Self {
        self.site.set_acl(acl);
        self.entries.site.set_acl(self.site.acl.iter().cloned());
        self.taken.set_acl(self.site.acl.iter().cloned());
        self
    }

    /// Lets this handle put only while there are no more than `most` items then, those that are held
    /// included: see [`Queue`](super::Queue#a-bound). Defaults to any number.
    pub fn max_items(mut self, most: usize) -> Self {
        self.entries.most = Some(most);
        self
    }

    /// The queue's path.
    pub fn path(&self) -> &str {
        &self.site.path
    }

    /// Gets hold of the first item that nobody holds; waits for one, until the deadline of the
    /// client's calls. A session that expires meanwhile is replaced by the next.
    ///
    /// # Errors
    /// * [`Error::Timeout`] if none came; nothing is held.
    /// * [`RecipeError::Cancelled`](crate::RecipeError::Cancelled) after [`cancel`](Self::cancel).
    /// * [`Error::TooLarge`], [`Code::NoAuth`], [`Error::Closed`] and the like.
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most (30 s by default).
    pub fn get(&self) -> Result<HeldItem> {
        self.get_one(self.site.deadline())
    }

    /// As [`get`](Self::get), for `timeout` at most.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<HeldItem> {
        self.get_one(Instant::now().checked_add(timeout))
    }

    /// Gets hold of the first item that nobody holds, if there is one.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn try_get(&self) -> Result<Option<HeldItem>> {
        Ok(self.try_get_all(1)?.into_iter().next())
    }

    /// Gets hold of the first items that nobody holds, `most` at most and never more than 1,000;
    /// waits until there is one, until the deadline of the client's calls. Each is held for itself.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most (30 s by default).
    pub fn get_all(&self, most: usize) -> Result<Vec<HeldItem>> {
        self.get_until(most, self.site.deadline())
    }

    /// As [`get_all`](Self::get_all), for `timeout` at most.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_all_timeout(&self, most: usize, timeout: Duration) -> Result<Vec<HeldItem>> {
        self.get_until(most, Instant::now().checked_add(timeout))
    }

    /// As [`get_all`](Self::get_all), but of those that are there: none if there is none.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn try_get_all(&self, most: usize) -> Result<Vec<HeldItem>> {
        self.in_a_session("try_get", self.site.deadline(), |session, patience| {
            loop {
                let free = self.free(session, patience)?;
                if free.is_empty() || most == 0 {
                    return Ok(Vec::new());
                }
                let held = self.holding(session, patience).hold(free, most)?;
                if !held.is_empty() {
                    return Ok(held);
                }
                // Others were faster with all of them: they may have given some back.
            }
        })
    }

    /// How many nodes with items there are, those that are held included.
    ///
    /// # Errors
    /// Those of every call.
    pub fn len(&self) -> Result<usize> {
        self.entries.len()
    }

    /// Whether there is no item.
    ///
    /// # Errors
    /// Those of every call.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Ends the waits of all threads on this handle and its clones. Items that are held are not
    /// concerned.
    pub fn cancel(&self) {
        self.site.cancel();
    }

    fn get_one(&self, deadline: Option<Instant>) -> Result<HeldItem> {
        loop {
            if let Some(held) = self.get_until(1, deadline)?.into_iter().next() {
                return Ok(held);
            }
        }
    }

    fn get_until(&self, most: usize, deadline: Option<Instant>) -> Result<Vec<HeldItem>> {
        if most == 0 {
            return Ok(Vec::new());
        }
        self.in_a_session("get", deadline, |session, patience| self.get_in(session, most, patience))
    }

    /// Does `work` in the present session, and again in the next if that expires.
    fn in_a_session<T>(
        &self,
        op: &'static str,
        deadline: Option<Instant>,
        work: impl Fn(&Session, &Patience<'_>) -> Result<T>,
    ) -> Result<T> {
        self.site.patiently(deadline, op, |patience| {
            loop {
                let session = self.site.session(patience)?;
                match work(&session, patience) {
                    Err(Error::SessionExpired { .. }) if self.site.may_renew() => {
                        patience.check()?;
                    }
                    done => return done,
                }
            }
        })
    }

    fn get_in(
        &self,
        session: &Session,
        most: usize,
        patience: &Patience<'_>,
    ) -> Result<Vec<HeldItem>> {
        loop {
            let mut free = self.free(session, patience)?;
            // Watches only where it has to be waited: to take them back costs two requests.
            if free.is_empty() {
                let (taken, given_back) = self.watched(&self.taken, session, patience)?;
                let (entries, came) = self.watched(&self.entries.site, session, patience)?;
                free = self.free_of(&entries, &taken);
                if free.is_empty() {
                    patience.wait_for(&[&given_back, &came])?;
                    continue;
                }
            }
            let held = self.holding(session, patience).hold(free, most)?;
            if !held.is_empty() {
                return Ok(held);
            }
        }
    }

    /// The items that nobody holds, first to be served first. One round trip.
    fn free(&self, session: &Session, patience: &Patience<'_>) -> Result<Vec<Entry>> {
        loop {
            let list = |site: &Site| {
                let list = op::GetChildren::new(&*site.path);
                session.submit_until(list, patience.deadline)
            };
            // In this order: an item that is consumed in between is in neither list.
            let (taken, entries) = (list(&self.taken)?, list(&self.entries.site)?);
            let taken = none_if_missing(patience.wait(taken)?);
            let entries = none_if_missing(patience.wait(entries)?);
            match (entries, taken) {
                (Ok(entries), Ok(taken)) => return Ok(self.free_of(&entries, &taken)),
                (Err(error), _) | (_, Err(error)) if error.is_connection() => patience.check()?,
                (Err(error), _) | (_, Err(error)) => return Err(error),
            }
        }
    }

    /// The children of a directory, which is made if it is missing, and a watch on them.
    fn watched(
        &self,
        site: &Site,
        session: &Session,
        patience: &Patience<'_>,
    ) -> Result<(Vec<String>, Watch)> {
        loop {
            let list = |watcher| op::GetChildren::new(&*site.path).watcher(watcher);
            match look(session, patience, list) {
                Err(error) if error.code() == Some(Code::NoNode) => {
                    site.ensure(patience, &site.path)?;
                }
                listed => return listed,
            }
        }
    }

    fn holding<'a>(&'a self, session: &'a Session, patience: &'a Patience<'a>) -> Holding<'a> {
        let Self { site, entries, taken } = self;
        Holding { site, entries, taken, session, patience }
    }

    /// The items that nobody holds, first to be served first.
    fn free_of(&self, entries: &[String], taken: &[String]) -> Vec<Entry> {
        let taken: HashSet<&str> = taken.iter().map(String::as_str).collect();
        let mut free = self.entries.layout.ordered(entries);
        free.retain(|entry| !taken.contains(entry.name.as_str()));
        free
    }
}

puts!(LockingQueue, entries);

fn none_if_missing(listed: Result<Vec<String>>) -> Result<Vec<String>> {
    match listed {
        Err(error) if error.code() == Some(Code::NoNode) => Ok(Vec::new()),
        listed => listed,
    }
}

impl fmt::Debug for LockingQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockingQueue").field("path", &self.site.path).finish_non_exhaustive()
    }
}
