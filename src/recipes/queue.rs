//! A queue with priorities whose items are taken out before they are worked on.
//!
//! ```text
//! <path>/entry-<priority>-<sequence>      persistent, holds the item
//! ```
//!
//! The layout of Kazoo's `Queue`.

use std::fmt;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::client::op::{self, Version};
use crate::client::transaction::Transaction;
use crate::error::{Applied, Error, Result};
use crate::proto::acl::Acl;
use crate::proto::code::Code;
use crate::recipes::entries::{self, DEFAULT_PRIORITY, Entry};
use crate::recipes::patience::Patience;
use crate::recipes::site::Site;

/// A queue: first in, first out, within each priority.
///
/// # What it promises
/// * An item is taken by one consumer at most: whoever deletes it has it.
/// * Of several items put, or taken, together, all are or none.
/// * If the answer to a put or a take is lost and nobody can tell whether it was done, the error
///   says so ([`Applied::Unknown`]); it is not done twice.
///
/// # What it does not promise
/// * That a taken item is worked on: if its consumer dies it is lost, and so it may be with an error
///   of unknown outcome. See [`LockingQueue`](super::LockingQueue) for that.
/// * Fairness among consumers: who waits for an item is woken by each put, as all the others are.
/// * Room without end: the list of the items must fit into one answer. With some ten thousands of
///   them a take fails with [`Error::TooLarge`] until the client was built with a larger
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
/// Costs one round trip to put, however many; three to take, however many.
#[derive(Clone)]
pub struct Queue {
    site: Site,
}

/// What was taken out of a [`Queue`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Item {
    /// What was put.
    pub data: Vec<u8>,
    /// 0 to 999; the smaller is served first.
    pub priority: u16,
    /// The name that its node had.
    pub name: String,
}

impl Queue {
    /// The queue at `path`. Nothing is sent yet; its node is made when it is first needed.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `path` is not a legal path, or is "/".
    pub fn new(client: &Client, path: &str) -> Result<Self> {
        Ok(Self { site: Site::new(client, "queue", path)? })
    }

    /// The ACL of the nodes that are made, parents and items included. Defaults to everybody
    /// everything.
    pub fn acl(mut self, acl: impl IntoIterator<Item = Acl>) -> Self {
        self.site.set_acl(acl);
        self
    }

    /// The queue's path.
    pub fn path(&self) -> &str {
        &self.site.path
    }

    /// Puts an item, with priority 100. Gives the name of its node.
    ///
    /// # Errors
    /// * Where [`applied`](Error::applied) is [`Unknown`](Applied::Unknown): the item was put once or
    ///   not at all.
    /// * [`Error::Invalid`] if it is larger than the servers take; [`Code::NoAuth`] and the like.
    pub fn put(&self, item: impl AsRef<[u8]>) -> Result<String> {
        self.put_priority(item, DEFAULT_PRIORITY)
    }

    /// As [`put`](Self::put), with a priority from 0, served first, to 999.
    ///
    /// # Errors
    /// As [`put`](Self::put), and [`Error::Invalid`] for a priority of more than 999.
    pub fn put_priority(&self, item: impl AsRef<[u8]>, priority: u16) -> Result<String> {
        let names = self.put_all([item], priority)?;
        names.into_iter().next().ok_or_else(|| Error::invalid("put", self.path(), "no answer"))
    }

    /// Puts items, all or none, in this order. Gives the names of their nodes.
    ///
    /// # Errors
    /// As [`put_priority`](Self::put_priority); together they must not be larger than the servers
    /// take.
    pub fn put_all<I: AsRef<[u8]>>(
        &self,
        items: impl IntoIterator<Item = I>,
        priority: u16,
    ) -> Result<Vec<String>> {
        let items: Vec<I> = items.into_iter().collect();
        let items: Vec<&[u8]> = items.iter().map(AsRef::as_ref).collect();
        self.site.patiently(self.site.deadline(), "put", |patience| {
            entries::put(&self.site, &items, priority, patience)
        })
    }

    /// Takes the first item out; waits for one, until the deadline of the client's calls.
    ///
    /// # Errors
    /// * [`Error::Timeout`] if none came.
    /// * [`RecipeError::Cancelled`](crate::RecipeError::Cancelled) after [`cancel`](Self::cancel).
    /// * Where [`applied`](Error::applied) is [`Unknown`](Applied::Unknown): an item may have been
    ///   taken out, and then is lost.
    /// * [`Error::TooLarge`], [`Error::Closed`] and the like.
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most (30 s by default).
    pub fn take(&self) -> Result<Item> {
        self.take_until(self.site.deadline())
    }

    /// As [`take`](Self::take), for `timeout` at most.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn take_timeout(&self, timeout: Duration) -> Result<Item> {
        self.take_until(Instant::now().checked_add(timeout))
    }

    /// Takes the first item out if there is one.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn try_take(&self) -> Result<Option<Item>> {
        Ok(self.try_take_all(1)?.into_iter().next())
    }

    /// Takes out the first items, `most` at most and never more than 1,000, all of them in one
    /// transaction; none if there is none.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn try_take_all(&self, most: usize) -> Result<Vec<Item>> {
        self.site.patiently(self.site.deadline(), "take", |patience| {
            loop {
                let list = || op::GetChildren::new(&*self.site.path);
                let names = match self.site.ask(patience, list) {
                    Err(error) if error.code() == Some(Code::NoNode) => return Ok(Vec::new()),
                    names => names?,
                };
                let entries = Entry::ordered(&names);
                if entries.is_empty() || most == 0 {
                    return Ok(Vec::new());
                }
                if let Some(items) = self.take_first(entries, most, patience)? {
                    return Ok(items);
                }
            }
        })
    }

    /// How many items there are.
    ///
    /// # Errors
    /// Those of every call.
    pub fn len(&self) -> Result<usize> {
        self.site.patiently(self.site.deadline(), "len", |patience| {
            match self.site.ask(patience, || op::GetChildren::new(&*self.site.path)) {
                Err(error) if error.code() == Some(Code::NoNode) => Ok(0),
                names => Ok(Entry::ordered(&names?).len()),
            }
        })
    }

    /// Whether there is no item.
    ///
    /// # Errors
    /// Those of every call.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Ends the waits of all threads on this handle and its clones. A take that is on its way is
    /// waited for.
    pub fn cancel(&self) {
        self.site.cancel();
    }

    fn take_until(&self, deadline: Option<Instant>) -> Result<Item> {
        self.site.patiently(deadline, "take", |patience| {
            loop {
                let entries = self.await_entries(patience)?;
                if let Some(items) = self.take_first(entries, 1, patience)? {
                    if let Some(item) = items.into_iter().next() {
                        return Ok(item);
                    }
                }
            }
        })
    }

    /// Lists the items, once there are some. Leaves a watch only where it has to wait: to take one
    /// back costs a request.
    fn await_entries(&self, patience: &Patience<'_>) -> Result<Vec<Entry>> {
        let path = &*self.site.path;
        match self.site.ask(patience, || op::GetChildren::new(path)) {
            Err(error) if error.code() == Some(Code::NoNode) => {}
            names => {
                let entries = Entry::ordered(&names?);
                if !entries.is_empty() {
                    return Ok(entries);
                }
            }
        }
        loop {
            let list = |watcher| op::GetChildren::new(path).watcher(watcher);
            let (names, watch) = match self.site.watch(patience, list) {
                Err(error) if error.code() == Some(Code::NoNode) => {
                    self.site.ensure(patience, path)?;
                    continue;
                }
                listed => listed?,
            };
            let entries = Entry::ordered(&names);
            if !entries.is_empty() {
                return Ok(entries);
            }
            patience.wait_for(&[&watch])?;
        }
    }

    /// Reads the first `most` items, then deletes them: `None` if another consumer was faster with
    /// one of them.
    fn take_first(
        &self,
        mut entries: Vec<Entry>,
        most: usize,
        patience: &Patience<'_>,
    ) -> Result<Option<Vec<Item>>> {
        entries.truncate(most.min(MOST_AT_ONCE));
        let mut reads = Vec::with_capacity(entries.len());
        for entry in &entries {
            let read = op::GetData::new(self.site.below(&entry.name));
            reads.push(self.site.client.submit_until(read, patience.deadline)?);
        }
        let mut items = Vec::with_capacity(entries.len());
        for (entry, read) in entries.into_iter().zip(reads) {
            let data = match patience.wait(read)? {
                Ok((data, _)) => data,
                Err(error) if error.code() == Some(Code::NoNode) => return Ok(None),
                Err(Error::SessionExpired { .. }) if self.site.may_renew() => return Ok(None),
                Err(error) if error.is_connection() => return Ok(None),
                Err(error) => return Err(error),
            };
            items.push(Item { data, priority: entry.priority, name: entry.name });
        }
        Ok(self.delete(&items, patience)?.then_some(items))
    }

    /// `false` if they surely are not ours, and not deleted by us.
    fn delete(&self, items: &[Item], patience: &Patience<'_>) -> Result<bool> {
        let all = || {
            items.iter().fold(Transaction::new(), |all, item| {
                all.delete(self.site.below(&item.name), Version::Any)
            })
        };
        let error = match self.site.write(&self.site.client, patience, all) {
            Ok(_) => return Ok(true),
            Err(error) if error.code() == Some(Code::NoNode) => return Ok(false),
            Err(error) => error,
        };
        if error.applied() == Applied::No || error.is_terminal() {
            return Err(error);
        }
        // The answer was lost. If the first is there still, all are, and the servers take nothing
        // more from the old connection.
        let Some(first) = items.first() else { return Ok(false) };
        let first = self.site.below(&first.name);
        let look = self
            .site
            .ask(patience, || op::Sync::new(&*self.site.path))
            .and_then(|_| self.site.ask(patience, || op::Exists::new(first.as_str())));
        match look {
            Ok(Some(_)) => Ok(false),
            // By us or by another: nobody can tell.
            _ => Err(error),
        }
    }
}

/// Deletes in one transaction: some 100 KiB with paths of 100 bytes, well below the servers' limit.
const MOST_AT_ONCE: usize = 1_000;

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("path", &self.site.path).finish_non_exhaustive()
    }
}
