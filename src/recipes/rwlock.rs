//! A lock that readers share.
//!
//! One line for both. A reader waits for the last writer before it, a writer for the last of
//! anybody before it: nobody passes, so neither starves. A reader that leaves wakes at most the
//! writer behind it; a writer that leaves wakes the writer or the readers behind it.

use std::fmt;
use std::time::Duration;

use crate::client::Client;
use crate::client::op::{self, CreateMode, Version};
use crate::client::transaction::Transaction;
use crate::error::{Error, RecipeError, Result};
use crate::path;
use crate::proto::acl::Acl;
use crate::proto::code::Code;
use crate::recipes::contender::{self, Kind};
use crate::recipes::guard::{Hold, LockGuard};
use crate::recipes::line::{Contender, Line};
use crate::recipes::patience::{Patience, Waits};
use crate::recipes::place::Place;
use crate::recipes::role::{NameStyle, Role};

/// The shared side of a read-write lock: any number of readers hold it, while no writer does.
///
/// In the order of asking: a reader that came after a writer waits for it, though other readers
/// hold. [`WriteLock`] on the same path is the other side; a [`Lock`](crate::recipes::Lock) keeps
/// readers out too, but does not wait for them.
///
/// # What is not promised
/// * Upgrading: a thread that holds the read lock and asks for the write lock waits for itself,
///   until its deadline. Release first; another writer may come in between, so read again.
/// * Asking twice: it is not re-entrant. A second read lock waits behind a writer that waits for
///   the first.
/// * What no lock over a network can: see [`Hold`](crate::recipes::Hold).
///
/// # Layout
///
/// ```text
/// <path>/<32 hex>__rlock__<10 digits>     a reader        Curator: _c_<uuid>-__READ__<10 digits>
/// <path>/<32 hex>__lock__<10 digits>      a writer        Curator: _c_<uuid>-__WRIT__<10 digits>
/// ```
///
/// Readers and writers of Kazoo and of Curator count, whatever the style.
///
/// # Example
///
/// ```no_run
/// use zookeeper_blocking::{Client, recipes::ReadLock};
///
/// let zk = Client::connect("localhost:2181")?;
/// # zk.create_with_parents(zookeeper_blocking::op::Create::new("/app/table"))?;
/// let table = ReadLock::new(&zk, "/app/table-lock")?;
/// let guard = table.acquire()?;
/// println!("{:?}", zk.get_children("/app/table")?);
/// guard.release()?;
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
#[derive(Clone)]
pub struct ReadLock(Line);

impl ReadLock {
    /// The read lock at `path`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `path` is not a legal path, or is "/".
    pub fn new(client: &Client, path: &str) -> Result<Self> {
        Line::new(client, path, Role::Reader, "read_lock").map(Self)
    }

    /// See [`Lock::identifier`](crate::recipes::Lock::identifier).
    pub fn identifier(mut self, identifier: impl AsRef<[u8]>) -> Self {
        self.0.identifier = identifier.as_ref().into();
        self
    }

    /// See [`Lock::acl`](crate::recipes::Lock::acl).
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

    /// Waits for the read lock until the deadline of the client's calls. One round trip if no
    /// writer is there.
    ///
    /// # Errors
    /// As [`Lock::acquire`](crate::recipes::Lock::acquire).
    pub fn acquire(&self) -> Result<LockGuard> {
        self.0.acquire("acquire").map(LockGuard::new)
    }

    /// Waits for the read lock for `timeout` at most, in all.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<LockGuard> {
        self.0.acquire_timeout(timeout, "acquire").map(LockGuard::new)
    }

    /// Takes the read lock if no writer holds or waits; `None` if one does.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub fn try_acquire(&self) -> Result<Option<LockGuard>> {
        Ok(self.0.try_acquire("try_acquire")?.map(LockGuard::new))
    }

    /// See [`Lock::cancel`](crate::recipes::Lock::cancel).
    pub fn cancel(&self) {
        self.0.waits.cancel();
    }

    /// All readers and writers at the path, holding or waiting, in their order.
    ///
    /// # Errors
    /// Those of every call.
    pub fn contenders(&self) -> Result<Vec<Contender>> {
        self.0.contenders()
    }

    pub(crate) fn line(&self) -> &Line {
        &self.0
    }
}

impl fmt::Debug for ReadLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadLock").field("path", &self.0.path).finish_non_exhaustive()
    }
}

/// The exclusive side of a read-write lock: one holds it, and no reader does.
///
/// In the order of asking, readers included. See [`ReadLock`] for the other side and for what is
/// not promised; [`downgrade`](Self::downgrade) is the way from here to there.
///
/// # Example
///
/// ```no_run
/// use zookeeper_blocking::{Client, Version, recipes::WriteLock};
///
/// let zk = Client::connect("localhost:2181")?;
/// # zk.create_with_parents(zookeeper_blocking::op::Create::new("/app/table"))?;
/// let table = WriteLock::new(&zk, "/app/table-lock")?;
/// let guard = table.acquire()?;
/// guard.transaction().set_data("/app/table", "new", Version::Any).commit()?;
/// // No writer comes in between.
/// let guard = table.downgrade(guard)?;
/// println!("{:?}", zk.get_children("/app/table")?);
/// guard.release()?;
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
#[derive(Clone)]
pub struct WriteLock(Line);

impl WriteLock {
    /// The write lock at `path`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `path` is not a legal path, or is "/".
    pub fn new(client: &Client, path: &str) -> Result<Self> {
        Line::new(client, path, Role::Writer, "write_lock").map(Self)
    }

    /// See [`Lock::identifier`](crate::recipes::Lock::identifier).
    pub fn identifier(mut self, identifier: impl AsRef<[u8]>) -> Self {
        self.0.identifier = identifier.as_ref().into();
        self
    }

    /// See [`Lock::acl`](crate::recipes::Lock::acl).
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

    /// Waits for the write lock until the deadline of the client's calls. One round trip if
    /// nobody is there.
    ///
    /// # Errors
    /// As [`Lock::acquire`](crate::recipes::Lock::acquire).
    pub fn acquire(&self) -> Result<LockGuard> {
        self.0.acquire("acquire").map(LockGuard::new)
    }

    /// Waits for the write lock for `timeout` at most, in all.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<LockGuard> {
        self.0.acquire_timeout(timeout, "acquire").map(LockGuard::new)
    }

    /// Takes the write lock if nobody holds or waits, reader or writer; `None` if somebody does.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub fn try_acquire(&self) -> Result<Option<LockGuard>> {
        Ok(self.0.try_acquire("try_acquire")?.map(LockGuard::new))
    }

    /// Makes a held write lock a read lock, with no writer in between: one transaction puts a
    /// reader in the writer's place in the line. Readers behind it come in; the fence stays.
    ///
    /// # Errors
    /// * [`Error::Invalid`] if `guard` is not of a write lock at this path; it is dropped.
    /// * [`RecipeError::NotHeld`], [`Error::SessionExpired`]: it was lost.
    /// * [`Error::ConnectionLoss`], [`Error::Timeout`]: given up, in the background.
    pub fn downgrade(&self, guard: LockGuard) -> Result<LockGuard> {
        let writer = guard.into_hold();
        let place = writer.place();
        let number = contender::Contender::parse(place.name(), Role::Writer.rivals())
            .filter(|contender| contender.kind == Kind::Exclusive)
            .filter(|_| path::parent(&place.node) == Some(self.path()));
        let Some(number) = number.map(|contender| contender.sequence) else {
            return Err(Error::invalid("downgrade", &place.node, "not a write lock of this path"));
        };
        let unique = self.0.style.unique(Role::Reader.mark(self.0.style));
        let node = path::join(self.path(), &format!("{unique}{number:010}"));
        let reader = Hold::new(Place { node, ..place.clone() });
        let deadline = place.session.call_deadline();
        // If it fails, the drop of both holds deletes what is left of them.
        Waits::default().patiently(deadline, "downgrade", &place.node, |patience| {
            self.swap(place, &reader, patience)
        })?;
        writer.forget();
        Ok(LockGuard::new(reader))
    }

    /// Deletes the writer's node and makes the reader's, in one transaction.
    fn swap(&self, writer: &Place, reader: &Hold, patience: &Patience<'_>) -> Result<()> {
        let session = &writer.session;
        let mut unsure = false;
        loop {
            let create = op::Create::new(reader.node())
                .mode(CreateMode::Ephemeral)
                .data(&*self.0.identifier)
                .acl(self.0.acl.iter().cloned());
            let swap = Transaction::new().delete(writer.node.as_str(), Version::Any).op(create);
            match patience.wait(session.submit_until(swap, patience.deadline)?)? {
                Err(error) if error.is_connection() => {
                    unsure = true;
                    patience.check()?;
                }
                Err(Error::Transaction { index: 0, code: Code::NoNode, .. }) => {
                    // The swap whose answer was lost had been done, or the writer's node is lost.
                    let made = || op::Exists::new(reader.node());
                    if unsure && patience.ask(session, made)?.is_some() {
                        return Ok(());
                    }
                    return Err(patience.error(RecipeError::NotHeld));
                }
                result => return result.map(drop),
            }
        }
    }

    /// See [`Lock::cancel`](crate::recipes::Lock::cancel).
    pub fn cancel(&self) {
        self.0.waits.cancel();
    }

    /// All readers and writers at the path, holding or waiting, in their order.
    ///
    /// # Errors
    /// Those of every call.
    pub fn contenders(&self) -> Result<Vec<Contender>> {
        self.0.contenders()
    }

    pub(crate) fn line(&self) -> &Line {
        &self.0
    }
}

impl fmt::Debug for WriteLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteLock").field("path", &self.0.path).finish_non_exhaustive()
    }
}
