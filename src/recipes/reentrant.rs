//! A lock that a thread may ask for again while it has it.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::{Arc, Weak};
use std::thread::{self, ThreadId};
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::{At, Error, RecipeError, Result};
use crate::recipes::guard::{Hold, LockGuard};
use crate::recipes::lock::Lock;

/// A [`Lock`] that the thread that holds it may take again, as often as it likes: it is given up
/// with the last of its guards. Curator's `InterProcessMutex` works so.
///
/// Threads are told apart within this handle and its clones: make one and clone it. A guard cannot
/// go to another thread, so none but the owner gives it up.
///
/// # What is not promised
/// That a lock that was lost is had again by asking again: while guards of the lost one are left,
/// that is [`RecipeError::NotHeld`].
///
/// # Example
///
/// ```no_run
/// use zookeeper_blocking::{Client, recipes::{Lock, ReentrantLock}};
///
/// let zk = Client::connect("localhost:2181")?;
/// let lock = ReentrantLock::new(Lock::new(&zk, "/app/lock")?);
/// let outer = lock.acquire()?;
/// let inner = lock.acquire()?;
/// inner.release()?;
/// assert!(outer.is_held());
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
#[derive(Clone)]
pub struct ReentrantLock {
    lock: Lock,
    owner: Arc<Mutex<Option<Owner>>>,
}

/// The thread that had it last, and what it has as long as one of its guards is left.
struct Owner {
    thread: ThreadId,
    guard: Weak<LockGuard>,
}

impl ReentrantLock {
    /// A re-entrant face of `lock`, with its options.
    pub fn new(lock: Lock) -> Self {
        Self { lock, owner: Arc::default() }
    }

    /// Takes the lock again if this thread has it; else waits for it, as [`Lock::acquire`].
    ///
    /// # Errors
    /// As [`Lock::acquire`], and [`RecipeError::NotHeld`] if this thread had it and lost it.
    pub fn acquire(&self) -> Result<ReentrantGuard> {
        match self.again("acquire")? {
            Some(guard) => Ok(guard),
            None => self.lock.acquire().map(|guard| self.own(guard)),
        }
    }

    /// As [`acquire`](Self::acquire), for `timeout` at most.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<ReentrantGuard> {
        match self.again("acquire")? {
            Some(guard) => Ok(guard),
            None => self.lock.acquire_timeout(timeout).map(|guard| self.own(guard)),
        }
    }

    /// Takes the lock if it is free or this thread has it; `None` if another has it.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub fn try_acquire(&self) -> Result<Option<ReentrantGuard>> {
        match self.again("try_acquire")? {
            Some(guard) => Ok(Some(guard)),
            None => Ok(self.lock.try_acquire()?.map(|guard| self.own(guard))),
        }
    }

    /// See [`Lock::cancel`].
    pub fn cancel(&self) {
        self.lock.cancel();
    }

    /// The lock itself, which is not re-entrant: for its path and its contenders.
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// One more guard of what this thread has.
    fn again(&self, op: &'static str) -> Result<Option<ReentrantGuard>> {
        let owner = self.owner.lock();
        let ours = owner.as_ref().filter(|owner| owner.thread == thread::current().id());
        let Some(guard) = ours.and_then(|owner| owner.guard.upgrade()) else { return Ok(None) };
        if !guard.is_held() {
            let at = At::new(op, self.lock.path());
            return Err(Error::Recipe { why: RecipeError::NotHeld, at });
        }
        Ok(Some(ReentrantGuard { guard, thread: PhantomData }))
    }

    fn own(&self, guard: LockGuard) -> ReentrantGuard {
        let guard = Arc::new(guard);
        let owner = Owner { thread: thread::current().id(), guard: Arc::downgrade(&guard) };
        *self.owner.lock() = Some(owner);
        ReentrantGuard { guard, thread: PhantomData }
    }
}

impl fmt::Debug for ReentrantLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReentrantLock").field("path", &self.lock.path()).finish_non_exhaustive()
    }
}

/// One of the guards of a [`ReentrantLock`]; what it can tell is in [`Hold`].
///
/// Dropping the last of the thread's guards gives the lock up in the background. It stays in its
/// thread:
///
/// ```compile_fail,E0277
/// fn to_another_thread(guard: zookeeper_blocking::recipes::ReentrantGuard) {
///     std::thread::spawn(move || guard.release());
/// }
/// ```
#[derive(Debug)]
#[must_use = "dropping the last guard gives the lock up"]
pub struct ReentrantGuard {
    guard: Arc<LockGuard>,
    /// Keeps it in the thread.
    thread: PhantomData<*const ()>,
}

impl ReentrantGuard {
    /// Gives this guard up; with the last one the lock, and waits for the server's word.
    ///
    /// # Errors
    /// As [`LockGuard::release`], if it is the last.
    pub fn release(self) -> Result<()> {
        match Arc::try_unwrap(self.guard) {
            Ok(last) => last.release(),
            Err(_) => Ok(()),
        }
    }
}

impl Deref for ReentrantGuard {
    type Target = Hold;

    fn deref(&self) -> &Hold {
        &self.guard
    }
}
