//! A value in one node, changed by compare and set.
//!
//! ```text
//! <path>      persistent, holds the value; made by the first change
//! ```
//!
//! The layout of Curator's `DistributedAtomicValue` and `SharedValue`, and of Kazoo's `Counter`:
//! they differ in how they write a number, see [`Counter`](super::Counter).
//!
//! # One write, one count
//!
//! The answer to a write can be lost with its connection. To write again could count twice, to
//! give up would not be needed where the write never reached the servers. So the node is read
//! again, after a `sync`: once this session has another connection, or none any more, the servers
//! take nothing from the old one (`SESSIONMOVED`, `SESSIONEXPIRED`). If the node still is as it was
//! when we read it, the write was not made and never will be. If it is not, nobody can tell whose
//! change that is, and the error says so.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::client::op::{self, Version};
use crate::error::{Applied, Result};
use crate::proto::acl::Acl;
use crate::proto::code::Code;
use crate::proto::stat::Stat;
use crate::recipes::lock::Lock;
use crate::recipes::patience::Patience;
use crate::recipes::role::NameStyle;
use crate::recipes::site::Site;

/// Bytes that many processes change, each change made of what it replaces.
///
/// Curator's `DistributedAtomicValue`; for numbers see [`Counter`](super::Counter). Cloning makes
/// one more handle; a [`cancel`](Self::cancel) on one ends the waits of all clones.
///
/// # What it promises
/// A change is computed from the value that it replaces, and made once or not at all. If that
/// cannot be known the error's [`applied`](crate::Error::applied) is [`Applied::Unknown`], and the change
/// was made once at most.
///
/// # What it does not promise
/// * Order or fairness: whoever writes first is first, the others read again.
/// * That a node which somebody deletes and makes anew counts as changed: if its version happens
///   to be what it was, the change goes through.
///
/// ```no_run
/// use zookeeper_blocking::{Client, recipes::AtomicValue};
///
/// let zk = Client::connect("localhost:2181")?;
/// let value = AtomicValue::new(&zk, "/app/members")?;
/// let change = value.update(|old| Some([old, &b"worker 7\n"[..]].concat()))?;
/// println!("{} bytes now", change.after.len());
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
///
/// Costs two round trips for a change, one more for each that somebody else made in between.
#[derive(Clone)]
pub struct AtomicValue {
    site: Site,
    promotion: Option<Promotion>,
}

/// When optimism ends.
#[derive(Clone)]
struct Promotion {
    lock: Lock,
    tries: u32,
}

/// What a change did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change<T> {
    /// The value that was replaced.
    pub before: T,
    /// The value that is there now: the same where the change was not wanted.
    pub after: T,
    /// How often somebody else was faster.
    pub lost: u32,
}

impl<T> Change<T> {
    pub(crate) fn read<U>(self, read: impl Fn(T) -> Result<U>) -> Result<Change<U>> {
        Ok(Change { before: read(self.before)?, after: read(self.after)?, lost: self.lost })
    }
}

/// What one try came to.
enum Attempt {
    Done {
        before: Vec<u8>,
        after: Vec<u8>,
    },
    /// Somebody else wrote since we read.
    Lost,
}

impl AtomicValue {
    /// The value at `path`. Nothing is sent yet; the node is made by the first change.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if `path` is not a legal path, or is "/".
    pub fn new(client: &Client, path: &str) -> Result<Self> {
        Ok(Self { site: Site::new(client, "atomic", path)?, promotion: None })
    }

    /// The ACL of the nodes that are made, parents included. Defaults to everybody everything.
    pub fn acl(mut self, acl: impl IntoIterator<Item = Acl>) -> Self {
        self.site.set_acl(acl);
        if let Some(promotion) = &mut self.promotion {
            promotion.lock = promotion.lock.clone().acl(self.site.acl.iter().cloned());
        }
        self
    }

    /// Has a change that lost `tries` times against others wait for the lock at `lock_path`, and go
    /// on while it holds it: Curator's promotion to a mutex. It helps where those who change the
    /// value are many and all of them do so; the nodes at the lock are called as Curator's, which
    /// overlooks others. Defaults to none.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if `lock_path` is not a legal path, or is "/".
    pub fn promote_to_lock(mut self, lock_path: &str, tries: u32) -> Result<Self> {
        let lock = Lock::new(&self.site.client, lock_path)?
            .acl(self.site.acl.iter().cloned())
            .name_style(NameStyle::Curator);
        self.promotion = Some(Promotion { lock, tries });
        Ok(self)
    }

    /// The value's path.
    pub fn path(&self) -> &str {
        &self.site.path
    }

    /// The value; empty if there is no node yet. As the connected server knows it, which may be a
    /// little behind.
    ///
    /// # Errors
    /// Those of every call.
    pub fn get(&self) -> Result<Vec<u8>> {
        self.site.patiently(self.site.deadline(), "get", |patience| {
            self.read(patience).map(|(data, _)| data)
        })
    }

    /// Has `change` make the new value of the present one, again for each time that somebody else
    /// was faster, until the deadline of the client's calls. `change` gives `None` to leave the
    /// value as it is.
    ///
    /// # Errors
    /// * [`Error::ConnectionLoss`](crate::Error::ConnectionLoss), [`Error::Timeout`](crate::Error::Timeout), [`Error::SessionExpired`](crate::Error::SessionExpired) and the like: see
    ///   [`Error::applied`](crate::Error::applied).
    /// * [`Error::Timeout`](crate::Error::Timeout) if others were faster all the time; with
    ///   [`Applied::Unknown`](crate::Applied::Unknown) if the deadline came in the middle of a write.
    /// * [`RecipeError::Cancelled`](crate::RecipeError::Cancelled) after [`cancel`](Self::cancel);
    ///   nothing was written.
    /// * [`Error::Invalid`](crate::Error::Invalid) if the node has the version -1, after some 2^32 changes: servers would
    ///   overwrite it blindly.
    /// * [`Code::NoAuth`] and the like.
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most (30 s by default).
    pub fn update(&self, change: impl FnMut(&[u8]) -> Option<Vec<u8>>) -> Result<Change<Vec<u8>>> {
        self.update_until(self.site.deadline(), change)
    }

    /// As [`update`](Self::update), for `timeout` at most.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn update_timeout(
        &self,
        timeout: Duration,
        change: impl FnMut(&[u8]) -> Option<Vec<u8>>,
    ) -> Result<Change<Vec<u8>>> {
        self.update_until(Instant::now().checked_add(timeout), change)
    }

    /// As [`update`](Self::update), once: `None` if somebody else was faster.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn try_update(
        &self,
        mut change: impl FnMut(&[u8]) -> Option<Vec<u8>>,
    ) -> Result<Option<Change<Vec<u8>>>> {
        self.try_change(&mut |old| Ok(change(old)))
    }

    /// Sets the value whatever it was.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn set(&self, value: impl AsRef<[u8]>) -> Result<()> {
        let value = value.as_ref();
        self.site.patiently(self.site.deadline(), "set", |patience| {
            loop {
                let set = || op::SetData::new(&*self.site.path, value);
                match self.site.write(&self.site.client, patience, set) {
                    Err(error) if error.code() == Some(Code::NoNode) => {}
                    done => return done.map(drop),
                }
                match self.create(value, patience) {
                    Err(error) if error.code() == Some(Code::NodeExists) => {}
                    done => return done,
                }
            }
        })
    }

    /// Makes the node with this value if there is none. Gives whether it did: Curator's
    /// `initialize`, Kazoo's default.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn initialize(&self, value: impl AsRef<[u8]>) -> Result<bool> {
        self.site.patiently(self.site.deadline(), "initialize", |patience| {
            match self.create(value.as_ref(), patience) {
                Err(error) if error.code() == Some(Code::NodeExists) => Ok(false),
                done => done.map(|()| true),
            }
        })
    }

    /// Ends the waits of all threads that change this value through this handle or its clones. A
    /// write that is on its way is waited for.
    pub fn cancel(&self) {
        self.site.cancel();
        if let Some(promotion) = &self.promotion {
            promotion.lock.cancel();
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.site.deadline()
    }

    fn update_until(
        &self,
        deadline: Option<Instant>,
        mut change: impl FnMut(&[u8]) -> Option<Vec<u8>>,
    ) -> Result<Change<Vec<u8>>> {
        self.change_until(deadline, &mut |old| Ok(change(old)))
    }

    pub(crate) fn change_until(
        &self,
        deadline: Option<Instant>,
        change: &mut impl FnMut(&[u8]) -> Result<Option<Vec<u8>>>,
    ) -> Result<Change<Vec<u8>>> {
        self.site.patiently(deadline, "update", |patience| {
            let (mut lost, mut guard) = (0_u32, None);
            loop {
                if let Attempt::Done { before, after } = self.attempt(patience, change)? {
                    return Ok(Change { before, after, lost });
                }
                lost = lost.saturating_add(1);
                match &self.promotion {
                    Some(Promotion { lock, tries }) if lost >= *tries && guard.is_none() => {
                        guard = Some(match patience.deadline {
                            Some(at) => {
                                lock.acquire_timeout(at.saturating_duration_since(Instant::now()))?
                            }
                            None => lock.acquire_timeout(Duration::MAX)?,
                        });
                    }
                    _ => pause(lost, patience),
                }
            }
        })
    }

    pub(crate) fn try_change(
        &self,
        change: &mut impl FnMut(&[u8]) -> Result<Option<Vec<u8>>>,
    ) -> Result<Option<Change<Vec<u8>>>> {
        self.site.patiently(self.site.deadline(), "try_update", |patience| {
            match self.attempt(patience, change)? {
                Attempt::Done { before, after } => Ok(Some(Change { before, after, lost: 0 })),
                Attempt::Lost => Ok(None),
            }
        })
    }

    /// Reads, changes, writes: once, unless the write surely was not made.
    fn attempt(
        &self,
        patience: &Patience<'_>,
        change: &mut impl FnMut(&[u8]) -> Result<Option<Vec<u8>>>,
    ) -> Result<Attempt> {
        let (before, stat) = self.read(patience)?;
        let Some(after) = change(&before)? else {
            return Ok(Attempt::Done { after: before.clone(), before });
        };
        if self.write_over(stat.as_ref(), &after, patience)? {
            Ok(Attempt::Done { before, after })
        } else {
            Ok(Attempt::Lost)
        }
    }

    /// Writes over what was read; `false` if it surely was not written.
    fn write_over(
        &self,
        stat: Option<&Stat>,
        value: &[u8],
        patience: &Patience<'_>,
    ) -> Result<bool> {
        let written = match stat {
            Some(stat) => {
                let version = Version::Exactly(stat.version);
                let set = || op::SetData::new(&*self.site.path, value).version(version);
                self.site.write(&self.site.client, patience, set).map(drop)
            }
            None => self.create(value, patience),
        };
        let error = match written {
            Ok(()) => return Ok(true),
            Err(error) => error,
        };
        match error.code() {
            Some(Code::BadVersion | Code::NodeExists | Code::NoNode) => return Ok(false),
            _ if error.applied() == Applied::No || error.is_terminal() => return Err(error),
            _ => {}
        }
        // The answer was lost.
        match self.is_untouched(stat, patience) {
            Ok(true) => Ok(false),
            // Not known; why we could not find out does not matter.
            Ok(false) | Err(_) => Err(error),
        }
    }

    /// Writes over what was read, once; `false` if somebody else wrote since.
    pub(crate) fn set_over(&self, read: &Stat, value: &[u8]) -> Result<bool> {
        self.site.patiently(self.site.deadline(), "try_set", |patience| {
            loop {
                if self.write_over(Some(read), value, patience)? {
                    return Ok(true);
                }
                // Not written, perhaps only because the connection broke.
                match self.read(patience)? {
                    (_, Some(now)) if (now.czxid, now.mzxid) == (read.czxid, read.mzxid) => {}
                    _ => return Ok(false),
                }
            }
        })
    }

    /// The value and the node's stat; made with `seed` if it is missing.
    pub(crate) fn get_or_make(&self, seed: &[u8]) -> Result<(Vec<u8>, Stat)> {
        self.site.patiently(self.site.deadline(), "get", |patience| {
            loop {
                if let (value, Some(stat)) = self.read(patience)? {
                    return Ok((value, stat));
                }
                match self.create(seed, patience) {
                    Err(error) if error.code() == Some(Code::NodeExists) => {}
                    // Whether it was this create that made it does not matter.
                    Err(error) if error.is_connection() => {}
                    made => made?,
                }
            }
        })
    }

    /// Whether the node is as it was when it was read, and will not be changed by a write of
    /// before that was not answered.
    fn is_untouched(&self, then: Option<&Stat>, patience: &Patience<'_>) -> Result<bool> {
        self.site.ask(patience, || op::Sync::new(&*self.site.path))?;
        let now = self.site.ask(patience, || op::Exists::new(&*self.site.path))?;
        Ok(match (then, now) {
            (None, None) => true,
            (Some(then), Some(now)) => (then.czxid, then.mzxid) == (now.czxid, now.mzxid),
            _ => false,
        })
    }

    fn read(&self, patience: &Patience<'_>) -> Result<(Vec<u8>, Option<Stat>)> {
        match self.site.ask(patience, || op::GetData::new(&*self.site.path)) {
            Ok((data, stat)) => Ok((data, Some(stat))),
            Err(error) if error.code() == Some(Code::NoNode) => Ok((Vec::new(), None)),
            Err(error) => Err(error),
        }
    }

    fn create(&self, value: &[u8], patience: &Patience<'_>) -> Result<()> {
        loop {
            let create =
                || op::Create::new(&*self.site.path).data(value).acl(self.site.acl.iter().cloned());
            match self.site.write(&self.site.client, patience, create) {
                Err(error) if error.code() == Some(Code::NoNode) => {
                    self.site.ensure_above(patience, &self.site.path)?;
                }
                done => return done.map(drop),
            }
        }
    }
}

/// The first to come again is the first to win; from the third loss on, chance spreads the rivals.
fn pause(lost: u32, patience: &Patience<'_>) {
    if lost < 3 {
        return;
    }
    let most = Duration::from_micros(500) * lost.min(40);
    let left = patience.deadline.map_or(most, |at| at.saturating_duration_since(Instant::now()));
    thread::sleep(most.mul_f64(fastrand::f64()).min(left));
}

impl fmt::Debug for AtomicValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AtomicValue").field("path", &self.site.path).finish_non_exhaustive()
    }
}
