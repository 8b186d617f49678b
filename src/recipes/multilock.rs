//! Several locks as one: all or none.

use std::fmt;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::error::{Error, Result};
use crate::io::life::Loss;
use crate::recipes::guard::Hold;
use crate::recipes::line::Line;
use crate::recipes::lock::Lock;
use crate::recipes::patience::{Patience, Waits};
use crate::recipes::rwlock::{ReadLock, WriteLock};

/// Several locks that are had together or not at all, of one client or of several.
///
/// They are taken in the order of their paths, whatever the order in which they were added, so that
/// two of these never wait for each other. Each stays with those that it has already while it waits
/// for the next.
///
/// # What is not promised
/// * That a thread that holds one of the locks by itself, and asks for this, does not wait for
///   itself, until its deadline.
/// * That two programs that see the paths through different chroots take them in the same order.
///
/// # Example
///
/// ```no_run
/// use zookeeper_blocking::{Client, recipes::{Lock, MultiLock, ReadLock}};
///
/// let zk = Client::connect("localhost:2181")?;
/// let both = MultiLock::new()
///     .lock(&Lock::new(&zk, "/accounts/7")?)
///     .read_lock(&ReadLock::new(&zk, "/rates")?);
/// let guard = both.acquire()?;
/// assert!(guard.is_held());
/// guard.release()?;
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct MultiLock {
    /// Sorted by path.
    lines: Vec<Line>,
    waits: Waits,
}

impl MultiLock {
    /// No locks yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a lock.
    pub fn lock(self, lock: &Lock) -> Self {
        self.with(lock.line())
    }

    /// Adds a read lock.
    pub fn read_lock(self, lock: &ReadLock) -> Self {
        self.with(lock.line())
    }

    /// Adds a write lock.
    pub fn write_lock(self, lock: &WriteLock) -> Self {
        self.with(lock.line())
    }

    fn with(mut self, line: &Line) -> Self {
        self.lines.push(line.clone());
        self.lines.sort_by(|a, b| a.path.cmp(&b.path));
        self
    }

    /// Waits for all of them until the deadline of the first client's calls.
    ///
    /// # Errors
    /// * As [`Lock::acquire`], with none of them held.
    /// * [`Error::Invalid`] if there are none, or two of one path: they would wait for each other.
    pub fn acquire(&self) -> Result<MultiLockGuard> {
        self.acquire_until(self.deadline())
    }

    /// Waits for all of them for `timeout` at most, in all.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<MultiLockGuard> {
        self.acquire_until(Instant::now().checked_add(timeout))
    }

    /// Takes all of them if all are free; `None`, and none of them, if not.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub fn try_acquire(&self) -> Result<Option<MultiLockGuard>> {
        self.patiently(self.deadline(), "try_acquire", |patience| {
            let mut holds = Vec::with_capacity(self.lines.len());
            for line in &self.lines {
                let session = patience.session(&line.client)?;
                let Some(hold) = line.try_by(&session, patience)? else { return Ok(None) };
                holds.push(hold);
            }
            let guard = MultiLockGuard { holds };
            Ok(guard.is_held().then_some(guard))
        })
    }

    /// Ends the waits of all threads that wait for this handle or its clones. Those that wait for
    /// one of its locks alone are not concerned.
    pub fn cancel(&self) {
        self.waits.cancel();
    }

    fn acquire_until(&self, deadline: Option<Instant>) -> Result<MultiLockGuard> {
        self.patiently(deadline, "acquire", |patience| {
            loop {
                let holds = self.lines.iter().map(|line| line.acquire_by(patience));
                let guard = MultiLockGuard { holds: holds.collect::<Result<_>>()? };
                // While it waited for the last, the first may have been lost.
                if guard.is_held() {
                    return Ok(guard);
                }
                drop(guard);
                patience.check()?;
            }
        })
    }

    fn deadline(&self) -> Option<Instant> {
        let first: Option<&Client> = self.lines.first().map(|line| &line.client);
        first.and_then(|client| client.deadline(Instant::now()))
    }

    fn patiently<T>(
        &self,
        deadline: Option<Instant>,
        op: &'static str,
        work: impl FnOnce(&Patience<'_>) -> Result<T>,
    ) -> Result<T> {
        let Some(first) = self.lines.first() else {
            return Err(Error::invalid("multi_lock", "", "no locks"));
        };
        let twice = self.lines.windows(2).find_map(|pair| match pair {
            [a, b] if a.path == b.path => Some(&*a.path),
            _ => None,
        });
        if let Some(path) = twice {
            return Err(Error::invalid("multi_lock", path, "the same path twice"));
        }
        self.waits.patiently(deadline, op, &first.path, work)
    }
}

impl fmt::Debug for MultiLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lines.iter().map(|line| &line.path)).finish()
    }
}

/// All locks of a [`MultiLock`], held.
///
/// Dropping it gives all up in the background; [`release`](Self::release) waits and tells.
#[derive(Debug)]
#[must_use = "dropping the guard gives the locks up"]
pub struct MultiLockGuard {
    holds: Vec<Hold>,
}

impl MultiLockGuard {
    /// What is held of each lock, with its fence, in the order of their paths.
    pub fn holds(&self) -> &[Hold] {
        &self.holds
    }

    /// Whether all of them are held: see [`Hold::is_held`].
    pub fn is_held(&self) -> bool {
        self.holds.iter().all(Hold::is_held)
    }

    /// Why one of them is lost, if one is.
    pub fn lost(&self) -> Option<Loss> {
        self.holds.iter().find_map(Hold::lost)
    }

    /// Gives all up, the last taken first, and waits for the servers' word.
    ///
    /// # Errors
    /// The first, as [`LockGuard::release`](crate::recipes::LockGuard::release); all the others are
    /// given up nevertheless.
    pub fn release(self) -> Result<()> {
        let mut result = Ok(());
        for hold in self.holds.into_iter().rev() {
            let released = hold.release("release");
            result = result.and(released);
        }
        result
    }
}
