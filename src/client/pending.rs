//! An answer that is still to come.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::chroot::Chroot;
use crate::client::op::Operation;
use crate::client::op::sealed::Answer;
use crate::error::{At, Error, Result};
use crate::io::shared::Shared;
use crate::io::slot::Slot;
use crate::proto::code::Code;
use crate::session::{Failure, Outcome, Reply};

/// Makes a result of an outcome. `at` is asked for only if it is an error.
pub(crate) fn finish<O: Operation>(
    outcome: Outcome,
    memo: O::Memo,
    chroot: &Chroot,
    at: impl FnOnce() -> Box<At>,
) -> Result<O::Reply> {
    match outcome {
        Outcome::Reply(Reply { code, zxid, body }) => {
            let answer = Answer { code: Code::from_raw(code), zxid, body, chroot };
            O::decode(answer, memo).map_err(|unread| unread.into_error(at()))
        }
        Outcome::Failed(failure) => Err(failed(failure, at())),
    }
}

/// A failure of the floors below, as the caller's error.
pub(crate) fn failed(failure: Failure, at: Box<At>) -> Error {
    match failure {
        Failure::ConnectionLoss { sent } => Error::ConnectionLoss { sent, at },
        Failure::Timeout { sent } => Error::Timeout { sent, at },
        Failure::SessionExpired { sent } => Error::SessionExpired { sent, at },
        Failure::AuthFailed { sent } => Error::AuthFailed { sent, at },
        Failure::Closed { sent } => Error::Closed { sent, at },
        Failure::TooLarge { len, limit } => Error::TooLarge { len, limit, at },
    }
}

/// Waits for the outcome on `slot` until `deadline`; gives the call up if it does not come.
pub(crate) fn wait(slot: Arc<Slot>, deadline: Option<Instant>, shared: &Shared) -> Waited {
    let mut forked = false;
    let outcome = slot.wait_until(deadline, || {
        forked = shared.is_forked();
        !forked
    });
    match outcome {
        Some(outcome) => {
            Slot::give_back(slot);
            Waited::Outcome(outcome)
        }
        None if forked => Waited::Forked,
        None => match slot.abandon() {
            Ok(sent) => Waited::Outcome(Outcome::Failed(Failure::Timeout { sent })),
            Err(outcome) => Waited::Outcome(outcome),
        },
    }
}

/// How a wait ended.
pub(crate) enum Waited {
    Outcome(Outcome),
    Forked,
}

type Finish<T> = Box<dyn FnOnce(Waited) -> Result<T> + Send>;

/// The answer to a request that was [submitted](crate::Client::submit) and is still to come.
///
/// Requests are sent, and answered, in the order of their submission, whether and whenever
/// anybody waits. Dropping a `Pending` drops the answer, not the request; one that was not sent
/// yet is not sent any more.
#[must_use = "dropping it drops the answer, not the request"]
pub struct Pending<T> {
    slot: Option<Arc<Slot>>,
    finish: Option<Finish<T>>,
    deadline: Option<Instant>,
    shared: Arc<Shared>,
}

impl<T> Pending<T> {
    pub(crate) fn new(
        slot: Arc<Slot>,
        finish: Finish<T>,
        deadline: Option<Instant>,
        shared: Arc<Shared>,
    ) -> Self {
        Self { slot: Some(slot), finish: Some(finish), deadline, shared }
    }

    /// Waits for the answer, until the deadline that the call was submitted with.
    ///
    /// # Errors
    /// Those of the operation, and [`Error::Timeout`] at the deadline.
    pub fn wait(mut self) -> Result<T> {
        let (Some(slot), Some(finish)) = (self.slot.take(), self.finish.take()) else {
            return Err(taken());
        };
        finish(wait(slot, self.deadline, &self.shared))
    }

    /// The answer if it is there; else the `Pending` back.
    pub fn try_wait(mut self) -> Result<Result<T>, Self> {
        match self.slot.as_ref().and_then(|slot| slot.try_take()) {
            Some(outcome) => {
                let finish = self.finish.take();
                self.slot = None;
                Ok(finish.map_or_else(|| Err(taken()), |finish| finish(Waited::Outcome(outcome))))
            }
            None => Err(self),
        }
    }

    /// Waits for `timeout` at most; if the answer did not come, gives the `Pending` back and the
    /// request goes on.
    pub fn wait_timeout(self, timeout: Duration) -> Result<Result<T>, Self> {
        match Instant::now().checked_add(timeout) {
            Some(deadline) => self.wait_deadline(deadline),
            None => Ok(self.wait()),
        }
    }

    /// Waits until `deadline` at most; if the answer did not come, gives the `Pending` back and
    /// the request goes on. The call's own deadline ends it all the same.
    pub fn wait_deadline(mut self, deadline: Instant) -> Result<Result<T>, Self> {
        if self.deadline.is_some_and(|own| own <= deadline) {
            return Ok(self.wait());
        }
        let outcome = self
            .slot
            .as_ref()
            .and_then(|slot| slot.wait_until(Some(deadline), || !self.shared.is_forked()));
        match outcome {
            Some(outcome) => {
                let finish = self.finish.take();
                self.slot = None;
                Ok(finish.map_or_else(|| Err(taken()), |finish| finish(Waited::Outcome(outcome))))
            }
            None => Err(self),
        }
    }
}

/// Cannot happen: every method that takes the slot also takes `self`.
fn taken() -> Error {
    Error::invalid("wait", "", "the answer was taken already")
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            let _ = slot.abandon();
        }
    }
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}
