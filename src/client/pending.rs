//! An answer that is still to come.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::Scope;
use crate::client::chroot::Chroot;
use crate::client::op::Operation;
use crate::client::op::sealed::{Answer, Body, Unread};
use crate::client::short_path::ShortPath;
use crate::error::{At, Error, Result};
use crate::io::shared::{Packed, Shared};
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
        Outcome::Reply(Reply { op, code, zxid, body }) => {
            let answer =
                Answer { op, code: Code::from_raw(code), zxid, body: Body::Own(body), chroot };
            O::decode(answer, memo).map_err(|unread| unread.into_error(at()))
        }
        Outcome::Failed(failure) => Err(failed(failure, at())),
        Outcome::Batch(_) => Err(Unread::Shape("the answers of a batch").into_error(at())),
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

/// Waits for the outcome on `slot` until `deadline`; gives the call up if it does not come. `now`
/// may be a moment ago.
pub(crate) fn wait(
    slot: &Slot,
    deadline: Option<Instant>,
    now: Instant,
    shared: &Shared,
) -> Waited {
    let mut forked = false;
    let outcome = slot.wait_until(deadline, now, &shared.crowd, || {
        forked = shared.is_forked();
        !forked
    });
    match outcome {
        Some(outcome) => Waited::Outcome(outcome),
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

/// Reads the answer. It captures what the operation keeps for that, which mostly is nothing: then
/// its box allocates nothing.
type Finish<T> = Box<dyn FnOnce(Waited, &Chroot, ShortPath) -> Result<T> + Send>;

/// The answer to a request that was [submitted](crate::Client::submit) and is still to come.
///
/// Requests are sent, and answered, in the order of their submission, whether and whenever
/// anybody waits. Dropping a `Pending` drops the answer, not the request; one that was not sent
/// yet is not sent any more.
#[must_use = "dropping it drops the answer, not the request"]
pub struct Pending<T> {
    /// Gone when the answer was taken.
    rest: Option<Rest<T>>,
}

/// All of a [`Pending`]. A hundred thousand of them may be in flight: it is small.
struct Rest<T> {
    slot: Slot,
    scope: Arc<Scope>,
    deadline: Packed,
    path: ShortPath,
    finish: Finish<T>,
}

impl<T> Rest<T> {
    fn deadline(&self) -> Option<Instant> {
        self.scope.shared.unpack(self.deadline)
    }

    fn finish(self, waited: Waited) -> Result<T> {
        (self.finish)(waited, &self.scope.chroot, self.path)
    }
}

impl<T> Pending<T> {
    pub(crate) fn new<O: Operation<Reply = T>>(
        op: &O,
        memo: O::Memo,
        slot: Slot,
        deadline: Option<Instant>,
        scope: Arc<Scope>,
    ) -> Self {
        let finish = move |waited, chroot: &Chroot, path: ShortPath| {
            let at = || At::new(O::NAME, path);
            match waited {
                Waited::Outcome(outcome) => finish::<O>(outcome, memo, chroot, at),
                Waited::Forked => Err(Error::Forked { at: at() }),
            }
        };
        let deadline = scope.shared.pack(deadline);
        let path = ShortPath::from(op.path());
        Self { rest: Some(Rest { slot, scope, deadline, path, finish: Box::new(finish) }) }
    }

    /// Waits for the answer, until the deadline that the call was submitted with.
    ///
    /// # Errors
    /// Those of the operation, and [`Error::Timeout`] at the deadline.
    pub fn wait(mut self) -> Result<T> {
        let Some(rest) = self.rest.take() else { return Err(taken()) };
        // Mostly it is there already: then nobody needs to know the deadline.
        let waited = match rest.slot.try_take() {
            Some(outcome) => Waited::Outcome(outcome),
            None => wait(&rest.slot, rest.deadline(), Instant::now(), &rest.scope.shared),
        };
        rest.finish(waited)
    }

    /// The answer if it is there; else the `Pending` back.
    pub fn try_wait(mut self) -> Result<Result<T>, Self> {
        match self.rest.as_ref().and_then(|rest| rest.slot.try_take()) {
            Some(outcome) => Ok(self.take(outcome)),
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
        let own = self.rest.as_ref().and_then(Rest::deadline);
        if own.is_some_and(|own| own <= deadline) {
            return Ok(self.wait());
        }
        let outcome = self.rest.as_ref().and_then(|rest| {
            let shared = &rest.scope.shared;
            let now = Instant::now();
            rest.slot.wait_until(Some(deadline), now, &shared.crowd, || !shared.is_forked())
        });
        match outcome {
            Some(outcome) => Ok(self.take(outcome)),
            None => Err(self),
        }
    }

    /// Waits for the answer until `deadline`, and gives the request up then: the error tells
    /// whether it was sent. For recipes, whose requests have no deadline of their own.
    pub(crate) fn wait_or_give_up(mut self, deadline: Option<Instant>) -> Result<T> {
        let Some(rest) = self.rest.take() else { return Err(taken()) };
        let waited = wait(&rest.slot, deadline, Instant::now(), &rest.scope.shared);
        rest.finish(waited)
    }

    fn take(&mut self, outcome: Outcome) -> Result<T> {
        match self.rest.take() {
            Some(rest) => rest.finish(Waited::Outcome(outcome)),
            None => Err(taken()),
        }
    }
}

/// Cannot happen: every method that takes the answer also takes `self`.
fn taken() -> Error {
    Error::invalid("wait", "", "the answer was taken already")
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        if let Some(rest) = self.rest.take() {
            let _ = rest.slot.abandon();
        }
    }
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deadline = self.rest.as_ref().and_then(Rest::deadline);
        f.debug_struct("Pending").field("deadline", &deadline).finish_non_exhaustive()
    }
}
