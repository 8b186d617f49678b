//! A lock that stays closed for a while if its holder fails: Chubby's lock-delay.
//!
//! ```text
//! <path>/<32 hex>__lock__<10 digits>      as a Lock
//! <path>/lock-delay                       persistent, "<fence in hex> <milliseconds>", while held
//! ```
//!
//! All that ZooKeeper shows of a holder that failed is that its node is gone, and so it does of one
//! that released. What tells them apart has to outlive the session: a seal that the holder puts on
//! the lock before it acts, and takes off in the same transaction that releases. Whoever finds it
//! there when its turn comes knows that the former holder failed.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::op::{self, Version};
use crate::client::session::Session;
use crate::client::transaction::Transaction;
use crate::error::{Error, RecipeError, Result};
use crate::path;
use crate::proto::code::Code;
use crate::recipes::guard::Hold;
use crate::recipes::line::Line;
use crate::recipes::lock::Lock;
use crate::recipes::patience::{Patience, Waits};
use crate::recipes::place::Place;
use crate::recipes::site::look;

/// A [`Lock`] that nobody gets for a while after its holder failed.
///
/// For what is protected by nothing but the lock: a holder whose session expired may have work
/// under way that its process, or another machine, carries out still. The delay gives it time to
/// end. (Where fences can be compared, compare them: that is no matter of time.)
///
/// # What it promises
/// * Who releases, by [`release`](DelayedGuard::release) or by dropping the guard while its client
///   lives on, leaves the lock open: the next in the line has it at once.
/// * If the session ends with the lock held instead, because it expired, the process died, or the
///   client was closed (also by dropping its last handle, be it the guard), the next gets it no
///   earlier than the delay *that the failed holder chose* after ZooKeeper ended the session. It is
///   measured by the clock of the one who waits, from when it saw that the holder was gone, so
///   clocks need not agree.
/// * The lock is fair, and its guards are those of a lock, with a fence.
///
/// # What it does not promise
/// * That it is open as soon as the delay is over. If nobody was in the line when the holder failed,
///   or the first in the line gives up meanwhile, the next one waits for the whole delay anew.
/// * To keep those away who do not ask. A plain [`Lock`], Kazoo's and Curator's pass the seal by.
/// * To survive somebody who deletes the seal by hand. That opens the lock; waiters notice at once.
///
/// Since the delay counts against the time of an acquire, choose one that is clearly smaller.
///
/// ```no_run
/// use std::time::Duration;
/// use zookeeper_blocking::{Client, recipes::{DelayedLock, Lock}};
///
/// let zk = Client::connect("localhost:2181")?;
/// let lock = Lock::new(&zk, "/app/tape")?.identifier("drive 2");
/// let lock = DelayedLock::new(&lock, Duration::from_secs(10));
/// let guard = lock.acquire()?;
/// guard.release()?;
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
///
/// Costs two round trips to acquire uncontended, one to release.
///
/// # Layout
///
/// ```text
/// <path>/<32 hex>__lock__<10 digits>      as a Lock, in its style
/// <path>/lock-delay                       persistent, "<fence in hex> <milliseconds>", while held
/// ```
#[derive(Clone)]
pub struct DelayedLock {
    line: Line,
    delay: Duration,
}

impl DelayedLock {
    /// `lock`, closed for `delay` whenever a holder that has it by this handle fails. Its waits are
    /// of its own: a [`cancel`](Self::cancel) does not concern `lock`. In whole milliseconds.
    pub fn new(lock: &Lock, delay: Duration) -> Self {
        let line = Line { waits: Waits::default(), ..lock.line().clone() };
        Self { line, delay }
    }

    /// The lock's path.
    pub fn path(&self) -> &str {
        &self.line.path
    }

    /// Waits for the lock, and for the end of a delay, until the deadline of the client's calls.
    ///
    /// # Errors
    /// As [`Lock::acquire`].
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most (30 s by default).
    pub fn acquire(&self) -> Result<DelayedGuard> {
        self.acquire_until(self.line.client.deadline(Instant::now()))
    }

    /// As [`acquire`](Self::acquire), for `timeout` at most, in all.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<DelayedGuard> {
        self.acquire_until(Instant::now().checked_add(timeout))
    }

    /// Takes the lock if it is free and no delay is under way; else `None`.
    ///
    /// # Errors
    /// As [`Lock::try_acquire`].
    pub fn try_acquire(&self) -> Result<Option<DelayedGuard>> {
        let deadline = self.line.client.deadline(Instant::now());
        self.line.waits.patiently(deadline, "try_acquire", &self.line.path, |patience| {
            let session = patience.session(&self.line.client)?;
            let Some(hold) = self.line.try_by(&session, patience)? else { return Ok(None) };
            let mut guard = DelayedGuard::new(hold, self);
            Ok(self.seal(&mut guard, true, patience)?.then_some(guard))
        })
    }

    /// Ends the waits of all threads that wait for this handle or its clones, with
    /// [`RecipeError::Cancelled`].
    pub fn cancel(&self) {
        self.line.waits.cancel();
    }

    fn acquire_until(&self, deadline: Option<Instant>) -> Result<DelayedGuard> {
        self.line.waits.patiently(deadline, "acquire", &self.line.path, |patience| {
            loop {
                let hold = self.line.acquire_by(patience)?;
                let mut guard = DelayedGuard::new(hold, self);
                match self.seal(&mut guard, false, patience) {
                    Ok(true) if guard.is_held() => return Ok(guard),
                    Err(Error::SessionExpired { .. }) | Ok(_) => {}
                    Err(error) => return Err(error),
                }
                // The place was lost while we waited for the delay: line up anew.
                drop(guard);
                patience.check()?;
            }
        })
    }

    /// Waits for the delay that a failed holder left, and puts our own seal on. `false` if the place
    /// was taken from us meanwhile; or if there is a delay, and we only try.
    fn seal(
        &self,
        guard: &mut DelayedGuard,
        is_try: bool,
        patience: &Patience<'_>,
    ) -> Result<bool> {
        // From when on we know that nobody before us is left.
        let since = Instant::now();
        let session = guard.hold.session().clone();
        let (node, seal) = (guard.hold.node().to_owned(), guard.seal.clone());
        let own = guard.text.clone();
        let text = &*own;
        // Its answer is the server's word that we hold.
        let held = || Transaction::new().check(node.as_str(), Version::Any);
        // From the first send on, the seal may be ours.
        guard.is_sealed = true;
        loop {
            let acl = self.line.acl.iter().cloned();
            let create = op::Create::new(&*seal).data(text).acl(acl);
            match patience.ask(&session, || held().op(create.clone())) {
                Ok(_) => return Ok(true),
                Err(Error::Transaction { index: 0, code: Code::NoNode, .. }) => return Ok(false),
                Err(error) if error.code() == Some(Code::NodeExists) => {}
                Err(error) => return Err(error),
            }
            let read = |watcher| op::GetData::new(&*seal).watcher(watcher);
            let ((found, stat), watch) = match look(&session, patience, read) {
                Err(error) if error.code() == Some(Code::NoNode) => continue,
                looked => looked?,
            };
            if found == text.as_bytes() {
                return Ok(true);
            }
            // Of one that we cannot read we know that somebody wanted one.
            let until = since.checked_add(delay_in(&found).unwrap_or(self.delay));
            if is_try && until.is_none_or(|until| Instant::now() < until) {
                return Ok(false);
            }
            if !patience.wait_out(until, &[&watch])? {
                continue;
            }
            let version = stat.version;
            match patience.ask(&session, || held().set_data(&*seal, text, version)) {
                Ok(_) => return Ok(true),
                Err(Error::Transaction { index: 0, code: Code::NoNode, .. }) => return Ok(false),
                Err(Error::Transaction { code: Code::BadVersion | Code::NoNode, .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A held [`DelayedLock`]; what it can tell is in [`Hold`].
///
/// Dropping it gives the lock up in the background, and leaves it open;
/// [`release`](Self::release) waits and tells.
#[must_use = "dropping the guard gives the lock up"]
pub struct DelayedGuard {
    hold: Hold,
    seal: Arc<str>,
    /// What our seal says, and nobody else's.
    text: Box<str>,
    /// The seal is ours, or may be.
    is_sealed: bool,
}

impl DelayedGuard {
    fn new(hold: Hold, lock: &DelayedLock) -> Self {
        let seal = path::join(&lock.line.path, SEAL).into();
        let text = format!("{:x} {}", hold.fence(), lock.delay.as_millis()).into();
        Self { hold, seal, text, is_sealed: false }
    }

    /// Gives the lock up, with no delay for the next, and waits for the server's word. One round
    /// trip.
    ///
    /// # Errors
    /// As [`LockGuard::release`](crate::recipes::LockGuard::release).
    ///
    /// # Blocking
    /// Until the deadline of the call at most.
    pub fn release(mut self) -> Result<()> {
        let session = self.hold.session().clone();
        let node = self.hold.node().to_owned();
        let deadline = session.call_deadline();
        // If this gives up, the drop goes on in the background.
        Waits::default()
            .patiently(deadline, "release", &node, |patience| self.open(&session, &node, patience))
    }

    fn open(&mut self, session: &Session, node: &str, patience: &Patience<'_>) -> Result<()> {
        let mut is_unsure = false;
        let left = loop {
            patience.check()?;
            let open = opening(&self.seal, node, Version::Any);
            match patience.wait(session.submit_until(open, patience.deadline)?)? {
                Ok(_) => break Ok(()),
                // Somebody took the seal off by hand; or the answer to this was lost.
                Err(Error::Transaction { index: 0, code: Code::NoNode, .. }) => {
                    break match self.hold.place().leave(patience) {
                        Err(Error::Recipe { why: RecipeError::NotHeld, .. }) if is_unsure => Ok(()),
                        left => left,
                    };
                }
                Err(Error::Transaction { code: Code::NoNode, .. }) => {
                    break Err(patience.error(RecipeError::NotHeld));
                }
                Err(error) if error.is_connection() => is_unsure = true,
                Err(error) => return Err(error),
            }
        };
        self.is_sealed = false;
        self.hold.disarm();
        left
    }
}

impl Deref for DelayedGuard {
    type Target = Hold;

    fn deref(&self) -> &Hold {
        &self.hold
    }
}

impl Drop for DelayedGuard {
    fn drop(&mut self) {
        if self.is_sealed {
            self.hold.disarm();
            open_behind(self.hold.place().clone(), self.seal.clone(), self.text.clone());
        }
    }
}

/// Takes the seal off and gives the lock up: both, or neither if the lock is not ours any more.
fn opening(seal: &str, node: &str, version: Version) -> Transaction<'static> {
    Transaction::new().delete(seal.to_owned(), version).delete(node.to_owned(), Version::Any)
}

/// The same in the background, as far as the seal is ours: the request that put it on may have been
/// given up, and be in a queue still. Behind the sync we see what became of it.
fn open_behind(place: Place, seal: Arc<str>, text: Box<str>) {
    let weak = place.session.downgrade_session();
    let (node, fence) = (place.node, place.fence);
    let sync = op::Sync::new(seal.to_string());
    let _ = place.session.submit_behind(sync, move |synced| {
        let Some(session) = weak.upgrade() else { return };
        let place = Place { session, node, fence };
        match synced {
            Ok(_) => open_ours_behind(place, seal, text),
            Err(error) if error.is_connection() => open_behind(place, seal, text),
            Err(_) => {}
        }
    });
}

fn open_ours_behind(place: Place, seal: Arc<str>, text: Box<str>) {
    let weak = place.session.downgrade_session();
    let (node, fence) = (place.node, place.fence);
    let read = op::GetData::new(seal.to_string());
    let _ = place.session.submit_behind(read, move |found| {
        let Some(session) = weak.upgrade() else { return };
        let place = Place { session, node, fence };
        match found {
            Ok((found, stat)) if found == text.as_bytes() => {
                delete_both_behind(place, seal, text, stat.version.into());
            }
            Err(error) if error.is_connection() => open_behind(place, seal, text),
            _ => place.leave_behind(),
        }
    });
}

fn delete_both_behind(place: Place, seal: Arc<str>, text: Box<str>, version: Version) {
    let weak = place.session.downgrade_session();
    let open = opening(&seal, &place.node, version);
    let (node, fence) = (place.node, place.fence);
    let _ = place.session.submit_behind(open, move |opened| {
        let Some(session) = weak.upgrade() else { return };
        let place = Place { session, node, fence };
        match opened {
            Ok(_) => {}
            Err(error) if error.is_connection() => open_behind(place, seal, text),
            // One of the two is gone: at least the other.
            Err(_) => place.leave_behind(),
        }
    });
}

/// The delay that a seal speaks of.
fn delay_in(seal: &[u8]) -> Option<Duration> {
    let (_, ms) = std::str::from_utf8(seal).ok()?.split_once(' ')?;
    ms.parse().ok().map(Duration::from_millis)
}

/// Sorts behind all contenders where a client (Curator) takes all children for such.
const SEAL: &str = "lock-delay";

impl fmt::Debug for DelayedLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DelayedLock")
            .field("path", &self.line.path)
            .field("delay", &self.delay)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for DelayedGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DelayedGuard").field(&self.hold).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seal_says_how_long_and_junk_says_nothing() {
        assert_eq!(delay_in(b"10000002c 1500"), Some(Duration::from_millis(1_500)));
        for junk in [&b""[..], b"10000002c", b"10000002c -1", b"a b c", b"\xff 1"] {
            assert_eq!(delay_in(junk), None, "{junk:?}");
        }
    }
}
