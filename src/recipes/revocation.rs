//! Asking a holder to give a lock up.
//!
//! ```text
//! <path>/<the holder's node>      its data becomes __REVOKE__
//! ```
//!
//! Source: Curator `Revoker.java`, `LockInternals.java`.

use std::fmt;
use std::time::{Duration, Instant};

use crate::client::op;
use crate::client::session::Session;
use crate::client::watch::Watch;
use crate::error::{Error, RecipeError, Result};
use crate::proto::code::Code;
use crate::recipes::patience::{Patience, Waits};

/// What asks: the node's data.
pub(crate) const REVOKE: &[u8] = b"__REVOKE__";

/// Hears whether somebody asks the holder of a lock to give it up; see
/// [`LockGuard::revocation`](crate::recipes::LockGuard::revocation).
///
/// A request, no more: the holder decides. Nothing is taken from one that does not listen.
pub struct Revocation {
    session: Session,
    node: String,
    watch: Watch,
    requested: bool,
}

impl Revocation {
    /// Reads the node, and sets the watch.
    pub(crate) fn of(session: &Session, node: &str) -> Result<Self> {
        patiently(session, session.call_deadline(), node, |patience| {
            let (watch, requested) = look(session, node, patience)?;
            let (session, node) = (session.clone(), node.to_owned());
            Ok(Self { session, node, watch, requested })
        })
    }

    /// Whether it was requested, by what was heard up to now.
    ///
    /// # Errors
    /// As [`wait_timeout`](Self::wait_timeout).
    pub fn is_requested(&mut self) -> Result<bool> {
        self.wait_timeout(Duration::ZERO)
    }

    /// Waits for a request for `timeout` at most; whether there is one.
    ///
    /// # Errors
    /// [`RecipeError::NotHeld`], [`Error::SessionExpired`]: the lock is lost.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<bool> {
        let Self { session, node, watch, requested } = self;
        patiently(session, Instant::now().checked_add(timeout), node, |patience| {
            while !*requested {
                match patience.wait_for(&[watch]) {
                    // An event that is there counts, however late it is.
                    Err(Error::Timeout { .. }) if watch.try_recv().is_err() => return Ok(false),
                    Err(Error::Timeout { .. }) | Ok(()) => {}
                    Err(error) => return Err(error),
                }
                // The answer gets the time of a call, whatever is left of the wait.
                let deadline = session.call_deadline();
                (*watch, *requested) =
                    patiently(session, deadline, node, |patience| look(session, node, patience))?;
            }
            Ok(true)
        })
    }
}

fn patiently<T>(
    session: &Session,
    deadline: Option<Instant>,
    node: &str,
    work: impl FnOnce(&Patience<'_>) -> Result<T>,
) -> Result<T> {
    // A session that is lost says so, even to a wait of no time.
    session.session()?;
    Waits::default().patiently(deadline, "revocation", node, work)
}

fn look(session: &Session, node: &str, patience: &Patience<'_>) -> Result<(Watch, bool)> {
    loop {
        let read = |watcher| op::GetData::new(node).watcher(watcher);
        match patience.watch(session, read)? {
            Ok(((data, _), watch)) => return Ok((watch, data == REVOKE)),
            Err(error) if error.is_connection() => patience.check()?,
            Err(error) if error.code() == Some(Code::NoNode) => {
                return Err(patience.error(RecipeError::NotHeld));
            }
            Err(error) => return Err(error),
        }
    }
}

impl fmt::Debug for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocation").field("node", &self.node).finish_non_exhaustive()
    }
}
