//! A fair lock: the first in the line holds; each other watches the one before it, so a release
//! wakes one waiter.

use std::fmt;
use std::time::Duration;

use crate::client::Client;
use crate::client::op::Version;
use crate::error::Result;
use crate::path;
use crate::proto::acl::Acl;
use crate::recipes::guard::LockGuard;
use crate::recipes::line::{Contender, Line};
use crate::recipes::revocation::REVOKE;
use crate::recipes::role::{NameStyle, Role};

/// A lock that one holder at a time has, in the order of asking.
///
/// Not re-entrant: a thread that asks twice waits for itself. Handles of one lock, and of one
/// path in any process, contend with each other alike. Cloning makes one more handle; a
/// [`cancel`](Self::cancel) on one ends the waits of all clones.
///
/// Passes readers by, as Kazoo's does: where a [`ReadLock`](crate::recipes::ReadLock) is used on
/// the path, use a [`WriteLock`](crate::recipes::WriteLock) instead.
///
/// ```no_run
/// use zookeeper_blocking::{Client, recipes::Lock};
///
/// let zk = Client::connect("localhost:2181")?;
/// let lock = Lock::new(&zk, "/app/lock")?.identifier("worker 7");
/// let guard = lock.acquire()?;
/// # zk.create("/app/state", "", zookeeper_blocking::CreateMode::Persistent)?;
/// guard.transaction().set_data("/app/state", "mine", zookeeper_blocking::Version::Any).commit()?;
/// guard.release()?;
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
///
/// Costs one round trip to acquire uncontended, one to release.
///
/// # Layout
///
/// ```text
/// <path>                                        persistent, made if it is missing
/// <path>/<32 hex>__lock__<10 digits>            ephemeral, holds the identifier
/// <path>/_c_<uuid>-lock-<10 digits>             the same in Curator's style
/// ```
///
/// The order is that of the numbers. Nodes of Kazoo, Curator and Go count, whatever the style.
#[derive(Clone)]
pub struct Lock(Line);

impl Lock {
    /// The lock at `path`. Nothing is sent yet; the node is made when it is first needed.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if `path` is not a legal path, or is "/".
    pub fn new(client: &Client, path: &str) -> Result<Self> {
        Line::new(client, path, Role::Lock, "lock").map(Self)
    }

    /// What [`contenders`](Self::contenders) shows of whoever acquires through this handle.
    /// Defaults to nothing.
    pub fn identifier(mut self, identifier: impl AsRef<[u8]>) -> Self {
        self.0.identifier = identifier.as_ref().into();
        self
    }

    /// The ACL of the nodes that the lock makes, parents included. Defaults to everybody
    /// everything. All contenders need READ, CREATE and DELETE on the lock's path.
    pub fn acl(mut self, acl: impl IntoIterator<Item = Acl>) -> Self {
        self.0.acl = acl.into_iter().collect();
        self
    }

    /// Whose names its nodes have. Defaults to [`NameStyle::Kazoo`].
    pub fn name_style(mut self, style: NameStyle) -> Self {
        self.0.style = style;
        self
    }

    /// The lock's path.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// Waits for the lock until the deadline of the client's calls (30 s by default; see
    /// [`Client::with_timeout`] for another, or none).
    ///
    /// A connection that breaks meanwhile is waited out; a session that expires costs the place
    /// in the queue, and the wait goes on at its end with the next session.
    ///
    /// # Errors
    /// * [`Error::Timeout`](crate::Error::Timeout) at the deadline, with no node left behind.
    /// * [`RecipeError::Cancelled`](crate::RecipeError::Cancelled) after
    ///   [`cancel`](Self::cancel).
    /// * [`RecipeError::SequenceExhausted`](crate::RecipeError::SequenceExhausted) after 2^31
    ///   acquisitions, if the lock's node cannot be made anew because a child that is no contender
    ///   is in it, or a client that knows nothing of used-up numbers. (Contenders with sound
    ///   numbers are waited for; whoever comes after them lines up anew, this one time in no
    ///   order.)
    /// * [`Code::NoAuth`](crate::Code::NoAuth), [`Error::Closed`](crate::Error::Closed) and the
    ///   like.
    pub fn acquire(&self) -> Result<LockGuard> {
        self.0.acquire("acquire").map(LockGuard::new)
    }

    /// Waits for the lock for `timeout` at most, in all.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<LockGuard> {
        self.0.acquire_timeout(timeout, "acquire").map(LockGuard::new)
    }

    /// Takes the lock if it is free; `None` if it is not. Does not wait for other holders, but for
    /// the server, until the deadline of the client's calls.
    ///
    /// Makes a node only if a look shows no contender.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub fn try_acquire(&self) -> Result<Option<LockGuard>> {
        Ok(self.0.try_acquire("try_acquire")?.map(LockGuard::new))
    }

    /// Ends the waits of all threads that wait for this handle or its clones, with
    /// [`RecipeError::Cancelled`](crate::RecipeError::Cancelled). Guards that are held and later
    /// acquisitions are not concerned.
    pub fn cancel(&self) {
        self.0.waits.cancel();
    }

    /// Who holds the lock, first, and who waits for it, in order. Nodes of other clients of the
    /// same family (Kazoo, Curator, Go) are among them.
    ///
    /// # Errors
    /// Those of every call. A lock that was never used has no contenders.
    pub fn contenders(&self) -> Result<Vec<Contender>> {
        self.0.contenders()
    }

    /// Asks `contender`, one of [`contenders`](Self::contenders), to give the lock up, as Curator's
    /// `Revoker` does. It hears so if it listens ([`LockGuard::revocation`]), and does as it likes.
    /// What it said of itself is overwritten.
    ///
    /// # Errors
    /// [`Code::NoNode`](crate::Code::NoNode) if it is gone already, and those of every call.
    pub fn revoke(&self, contender: &Contender) -> Result<()> {
        let node = path::join(&self.0.path, &contender.node);
        self.0.client.set_data(&node, REVOKE, Version::Any).map(drop)
    }

    pub(crate) fn line(&self) -> &Line {
        &self.0
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").field("path", &self.0.path).finish_non_exhaustive()
    }
}
