//! A queue whose items stay in it until they were worked on.
//!
//! ```text
//! <path>/entries/entry-<priority>-<sequence>     persistent, holds the item
//! <path>/taken/<name of the item's node>         ephemeral: somebody works on it; holds his mark
//! ```
//!
//! The layout of Kazoo's `LockingQueue`.

use std::fmt;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::client::op::{self, Version};
use crate::client::session::Session;
use crate::client::transaction::{ClientTransaction, Transaction};
use crate::client::watch::Watch;
use crate::error::{Applied, Error, RecipeError, Result};
use crate::proto::acl::Acl;
use crate::proto::code::Code;
use crate::recipes::entries::{self, DEFAULT_PRIORITY, Entry};
use crate::recipes::own_node::OwnNode;
use crate::recipes::patience::Patience;
use crate::recipes::role::NameStyle;
use crate::recipes::site::{Site, look};

/// A queue whose items are held while they are worked on, and come back if that fails.
///
/// # What it promises
/// * An item is held by one consumer at a time, for as long as his session lives. If he dies, or
///   drops it, others get it.
/// * [`consume`](HeldItem::consume) takes the item out in one transaction with the hold. It tells
///   whether it did, also where the answer is lost.
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
/// Costs one round trip to put, three to get, one to consume.
#[derive(Clone)]
pub struct LockingQueue {
    site: Site,
    entries: Site,
    taken: Site,
}

impl LockingQueue {
    /// The queue at `path`. Nothing is sent yet; its nodes are made when they are first needed.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `path` is not a legal path, or is "/".
    pub fn new(client: &Client, path: &str) -> Result<Self> {
        let site = Site::new(client, "locking_queue", path)?;
        let entries = site.at(site.below("entries"));
        let taken = site.at(site.below("taken"));
        Ok(Self { site, entries, taken })
    }

    /// The ACL of the nodes that are made, parents and items included. Defaults to everybody
    /// everything.
    pub fn acl(mut self, acl: impl IntoIterator<Item = Acl>) -> Self {
        self.site.set_acl(acl);
        self.entries.set_acl(self.site.acl.iter().cloned());
        self.taken.set_acl(self.site.acl.iter().cloned());
        self
    }

    /// The queue's path.
    pub fn path(&self) -> &str {
        &self.site.path
    }

    /// As [`Queue::put`](super::Queue::put).
    ///
    /// # Errors
    /// As [`Queue::put`](super::Queue::put).
    pub fn put(&self, item: impl AsRef<[u8]>) -> Result<String> {
        self.put_priority(item, DEFAULT_PRIORITY)
    }

    /// As [`Queue::put_priority`](super::Queue::put_priority).
    ///
    /// # Errors
    /// As [`Queue::put_priority`](super::Queue::put_priority).
    pub fn put_priority(&self, item: impl AsRef<[u8]>, priority: u16) -> Result<String> {
        let names = self.put_all([item], priority)?;
        names.into_iter().next().ok_or_else(|| Error::invalid("put", self.path(), "no answer"))
    }

    /// As [`Queue::put_all`](super::Queue::put_all).
    ///
    /// # Errors
    /// As [`Queue::put_all`](super::Queue::put_all).
    pub fn put_all<I: AsRef<[u8]>>(
        &self,
        items: impl IntoIterator<Item = I>,
        priority: u16,
    ) -> Result<Vec<String>> {
        let items: Vec<I> = items.into_iter().collect();
        let items: Vec<&[u8]> = items.iter().map(AsRef::as_ref).collect();
        self.site.patiently(self.site.deadline(), "put", |patience| {
            entries::put(&self.entries, &items, priority, patience)
        })
    }

    /// Gets hold of the first item that nobody holds; waits for one, until the deadline of the
    /// client's calls. A session that expires meanwhile is replaced by the next.
    ///
    /// # Errors
    /// * [`Error::Timeout`] if none came; nothing is held.
    /// * [`RecipeError::Cancelled`] after [`cancel`](Self::cancel).
    /// * [`Error::TooLarge`], [`Code::NoAuth`], [`Error::Closed`] and the like.
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most (30 s by default).
    pub fn get(&self) -> Result<HeldItem> {
        self.get_until(self.site.deadline())
    }

    /// As [`get`](Self::get), for `timeout` at most.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<HeldItem> {
        self.get_until(Instant::now().checked_add(timeout))
    }

    /// Gets hold of the first item that nobody holds, if there is one.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn try_get(&self) -> Result<Option<HeldItem>> {
        self.site.patiently(self.site.deadline(), "try_get", |patience| {
            loop {
                let session = self.site.session(patience)?;
                let held = self.free(&session, patience).and_then(|free| {
                    let is_none = free.is_empty();
                    Ok((self.hold_first(&session, free, patience)?, is_none))
                });
                match held {
                    Err(Error::SessionExpired { .. }) if self.site.may_renew() => {}
                    // Others were faster with all of them: they may have given some back.
                    Ok((None, false)) => patience.check()?,
                    held => return held.map(|(held, _)| held),
                }
            }
        })
    }

    /// How many items there are, those that are held included.
    ///
    /// # Errors
    /// Those of every call.
    pub fn len(&self) -> Result<usize> {
        self.site.patiently(self.site.deadline(), "len", |patience| {
            let list = || op::GetChildren::new(&*self.entries.path);
            let names = none_if_missing(self.site.ask(patience, list))?;
            Ok(Entry::ordered(&names).len())
        })
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

    fn get_until(&self, deadline: Option<Instant>) -> Result<HeldItem> {
        self.site.patiently(deadline, "get", |patience| {
            loop {
                let session = self.site.session(patience)?;
                match self.get_in(&session, patience) {
                    Err(Error::SessionExpired { .. }) if self.site.may_renew() => {
                        patience.check()?;
                    }
                    held => return held,
                }
            }
        })
    }

    fn get_in(&self, session: &Session, patience: &Patience<'_>) -> Result<HeldItem> {
        loop {
            let mut free = self.free(session, patience)?;
            // Watches only where it has to be waited: to take them back costs two requests.
            if free.is_empty() {
                let (taken, given_back) = self.watched(&self.taken, session, patience)?;
                let (entries, came) = self.watched(&self.entries, session, patience)?;
                free = self::free(&entries, &taken);
                if free.is_empty() {
                    patience.wait_for(&[&given_back, &came])?;
                    continue;
                }
            }
            if let Some(held) = self.hold_first(session, free, patience)? {
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
            let (taken, entries) = (list(&self.taken)?, list(&self.entries)?);
            let taken = none_if_missing(patience.wait(taken)?);
            let entries = none_if_missing(patience.wait(entries)?);
            match (entries, taken) {
                (Ok(entries), Ok(taken)) => return Ok(free(&entries, &taken)),
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

    /// Gets hold of the first that no other consumer is faster with.
    fn hold_first(
        &self,
        session: &Session,
        free: Vec<Entry>,
        patience: &Patience<'_>,
    ) -> Result<Option<HeldItem>> {
        for entry in free {
            // Kazoo has one mark for each consumer; here threads of one session compete as well.
            let mark = NameStyle::Kazoo.unique("");
            let hold = self.taken.below(&entry.name);
            let made = OwnNode::make(&self.taken, session, &hold, mark.as_bytes(), patience)?;
            let Some(hold) = made else { continue };
            let path = self.entries.below(&entry.name);
            match patience.ask(session, || op::GetData::new(path.as_str())) {
                Ok((data, _)) => {
                    let priority = entry.priority;
                    let site = self.site.clone();
                    return Ok(Some(HeldItem { site, hold, path, priority, data }));
                }
                // Consumed since we looked; the drop of the hold takes it back.
                Err(error) if error.code() == Some(Code::NoNode) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

/// An item that this process holds.
///
/// Dropping it lets others have it, in the background, again and again until the server answered or
/// the session is gone; [`release`](Self::release) waits and tells.
#[must_use = "dropping it lets others have the item"]
#[derive(Debug)]
pub struct HeldItem {
    site: Site,
    hold: OwnNode,
    path: String,
    priority: u16,
    data: Vec<u8>,
}

impl HeldItem {
    /// What was put.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// 0 to 999; the smaller is served first.
    pub fn priority(&self) -> u16 {
        self.priority
    }

    /// The path of the item's node.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The session that holds the item.
    pub fn session(&self) -> &Session {
        &self.hold.session
    }

    /// A number larger than that of every earlier hold of this item: the transaction (czxid) that
    /// made the hold.
    pub fn fence(&self) -> i64 {
        self.hold.czxid
    }

    /// Whether this process may go on with the item: its session is not lost, by word of a server or
    /// by this process's own clock. Asks no server.
    pub fn is_held(&self) -> bool {
        self.hold.session.is_sure()
    }

    /// Begins a transaction that goes through only while the item is held; index 0 checks that.
    pub fn transaction(&self) -> ClientTransaction<'_> {
        self.hold.session.transaction().check(&*self.hold.path, Version::Any)
    }

    /// Takes the item out of the queue, for good.
    ///
    /// # Errors
    /// * [`RecipeError::NotHeld`]: the hold was lost; another has the item, or will have it.
    /// * [`Error::SessionExpired`]: the hold went with its session. Where
    ///   [`applied`](Error::applied) is [`Unknown`](Applied::Unknown) the item may be consumed.
    /// * [`Error::Timeout`]: no answer by the deadline of the client's calls.
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most.
    pub fn consume(self) -> Result<()> {
        self.consume_with(Transaction::new())
    }

    /// As [`consume`](Self::consume), in one transaction with `more`: what comes of the work is
    /// written if, and only if, the item is consumed. The members of `more` come after the two of
    /// the queue's, from index 2 on.
    ///
    /// # Errors
    /// As [`consume`](Self::consume), and [`Error::Transaction`] if a member of `more` is refused:
    /// then nothing was done, and others can have the item.
    pub fn consume_with(mut self, more: Transaction<'_>) -> Result<()> {
        let site = self.site.clone();
        site.patiently(site.deadline(), "consume", |patience| {
            let session = self.hold.session.clone();
            loop {
                let (item, hold) = (self.path.as_str(), &*self.hold.path);
                let consume = || {
                    let own = Transaction::new().delete(item, Version::Any);
                    own.delete(hold, Version::Any).and(more.clone())
                };
                let Err(error) = site.write(&session, patience, consume) else {
                    self.hold.disarm();
                    return Ok(());
                };
                match &error {
                    Error::Transaction { index: 0 | 1, code: Code::NoNode, .. } => {
                        return Err(Error::Recipe { why: RecipeError::NotHeld, at: patience.at() });
                    }
                    _ if error.applied() == Applied::No || !error.is_connection() => {
                        return Err(error);
                    }
                    _ => {}
                }
                // The answer was lost. While our hold is there nobody else may take the item out:
                // it is gone if we did it.
                patience.ask(&session, || op::Sync::new(item))?;
                if patience.ask(&session, || op::Exists::new(item))?.is_none() {
                    self.hold.disarm();
                    return Ok(());
                }
            }
        })
    }

    /// Lets others have the item, and waits for the server's word.
    ///
    /// # Errors
    /// * [`RecipeError::NotHeld`]: it was not held any more.
    /// * [`Error::SessionExpired`]: the hold went with its session.
    /// * [`Error::Timeout`]: not done by the deadline of the client's calls; it goes on in the
    ///   background.
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most.
    pub fn release(mut self) -> Result<()> {
        let site = self.site.clone();
        site.patiently(site.deadline(), "release", |patience| self.hold.leave(patience))
    }
}

/// The items that nobody holds, first to be served first.
fn free(entries: &[String], taken: &[String]) -> Vec<Entry> {
    let taken: std::collections::HashSet<&str> = taken.iter().map(String::as_str).collect();
    let mut free = Entry::ordered(entries);
    free.retain(|entry| !taken.contains(entry.name.as_str()));
    free
}

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
