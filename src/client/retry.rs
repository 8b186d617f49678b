//! When a failed call may be made again, and after which wait.
//!
//! The answer is a pure function of the policy, the error and the time: it neither sleeps nor
//! calls. Two questions decide, in this order:
//!
//! ```text
//! 1  could it go better now?      the connection broke, the deadline passed, the server was busy
//! 2  may it happen twice?         the request was not applied, or the caller said `idempotent`
//! ```

use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::error::{Applied, Error};
use crate::proto::code::Code;

/// How often and how fast a call is made again after trouble with the connection.
///
/// Reads are repeated whatever happened to them. Writes are repeated only if they were *not
/// applied*, because a write that happens twice is worse than one that fails: see
/// [`Error::applied`]. A write for which twice is as good as once can say so with
/// [`RetryPolicy::idempotent`]. What the server refused for a reason (no node, bad version, no
/// permission) is never repeated.
///
/// All tries together keep the deadline of the call
/// ([`ClientBuilder::call_timeout`](crate::ClientBuilder::call_timeout)).
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use zookeeper_blocking::RetryPolicy;
///
/// // For a handle that sets data without a version: twice is as good as once.
/// let policy = RetryPolicy::default()
///     .max_tries(10)
///     .deadline(Duration::from_secs(20))
///     .idempotent();
/// # let _ = policy;
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    max_tries: u32,
    deadline: Option<Duration>,
    base_delay: Duration,
    max_delay: Duration,
    jitter: f64,
    idempotent: bool,
    through_expiry: bool,
}

impl RetryPolicy {
    /// Never repeats a call.
    pub fn none() -> Self {
        Self { max_tries: 1, ..Self::default() }
    }

    /// Sets how many times the call is made at most, the first time included.
    ///
    /// Defaults to 5. Both 0 and 1 mean that it is never repeated; `u32::MAX` leaves it to
    /// [`RetryPolicy::deadline`].
    pub fn max_tries(mut self, tries: u32) -> Self {
        self.max_tries = tries;
        self
    }

    /// Sets the time for all tries and the waits between them.
    ///
    /// A wait that would end after it is not begun. A try that has begun runs to the deadline of the
    /// call.
    /// Defaults to none: the number of tries is the bound.
    pub fn deadline(mut self, total: Duration) -> Self {
        self.deadline = Some(total);
        self
    }

    /// Sets the wait before the second try; it doubles with each further one.
    ///
    /// Defaults to 100 ms.
    pub fn base_delay(mut self, delay: Duration) -> Self {
        self.base_delay = delay;
        self
    }

    /// Sets the longest wait.
    ///
    /// Defaults to 5 s.
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }

    /// Sets how much of a wait is left to chance, from 0 (nothing) to 1 (all of it).
    ///
    /// The wait is never longer for it: with 0.5, between half of it and all of it is waited.
    /// Values outside are taken for the nearest bound, NaN for 0. Defaults to 0.5.
    pub fn jitter(mut self, part: f64) -> Self {
        self.jitter = if part.is_nan() { 0.0 } else { part.clamp(0.0, 1.0) };
        self
    }

    /// Declares that the call may be repeated even if it may have been applied.
    ///
    /// True of writes that come to the same twice: setting data without a version, for one; reads
    /// need not be declared. Not true of sequential creates, and of anything that checks a version: there the
    /// second try is refused *because* the first one was applied.
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Sets whether a call is repeated in the session that follows an expired one.
    ///
    /// Defaults to no: with the session its ephemeral nodes, locks and watches are gone, and what
    /// was to be done under them must not be done now.
    pub fn through_expiry(mut self, yes: bool) -> Self {
        self.through_expiry = yes;
        self
    }

    /// The policy for a call that reads: it may be repeated whatever happened to it.
    pub(crate) fn for_reads(&self, is_read: bool) -> Self {
        if is_read { self.clone().idempotent() } else { self.clone() }
    }

    /// Says how long to wait before the call is made again, `None` if it must not be.
    ///
    /// `tries_so_far` counts the calls made, so it is at least 1; `started` is when the first of
    /// them began.
    pub(crate) fn decide(
        &self,
        tries_so_far: u32,
        started: Instant,
        now: Instant,
        error: &Error,
        rng: &mut Rng,
    ) -> Option<Duration> {
        if tries_so_far >= self.max_tries || !self.permits(error) {
            return None;
        }
        let delay = self.delay(tries_so_far, rng);
        if let Some(deadline) = self.deadline {
            let spent = now.saturating_duration_since(started);
            if spent.saturating_add(delay) >= deadline {
                return None;
            }
        }
        Some(delay)
    }

    fn permits(&self, error: &Error) -> bool {
        let applied = match error {
            Error::Busy { .. } | Error::Connect { .. } => Applied::No,
            Error::ConnectionLoss { .. } | Error::Timeout { .. } => error.applied(),
            Error::SessionExpired { .. } if self.through_expiry => error.applied(),
            Error::Refused { code, .. } | Error::Transaction { code, .. } => match code {
                // The server looks at these before it orders the request: it was not applied.
                Code::SessionMoved | Code::ThrottledOp => Applied::No,
                Code::SessionExpired if self.through_expiry => Applied::No,
                // A server that answers so (ClickHouse Keeper does) has given up waiting for the
                // quorum, which may yet apply the request.
                Code::ConnectionLoss | Code::OperationTimeout | Code::RequestTimeout => {
                    Applied::Unknown
                }
                _ => return false,
            },
            _ => return false,
        };
        applied == Applied::No || self.idempotent
    }

    fn delay(&self, tries_so_far: u32, rng: &mut Rng) -> Duration {
        let doublings = tries_so_far.saturating_sub(1);
        let full = self.base_delay.saturating_mul(2_u32.saturating_pow(doublings));
        let full = full.min(self.max_delay);
        let part = 1.0 - self.jitter * rng.f64();
        // Not `mul_f64`: it panics where the product rounds up past the longest Duration.
        Duration::try_from_secs_f64(full.as_secs_f64() * part).map_or(full, |some| some.min(full))
    }
}

impl Default for RetryPolicy {
    /// Up to 5 tries with waits of 100, 200, 400 and 800 ms, of which half is left to chance.
    fn default() -> Self {
        Self {
            max_tries: 5,
            deadline: None,
            base_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(5),
            jitter: 0.5,
            idempotent: false,
            through_expiry: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use super::*;
    use crate::error::{At, RecipeError};

    fn at() -> Box<At> {
        At::new("set_data", "/a")
    }

    fn refused(code: Code) -> Error {
        Error::Refused { code, at: at() }
    }

    fn first_wait(policy: &RetryPolicy, error: &Error) -> Option<Duration> {
        let now = Instant::now();
        policy.decide(1, now, now, error, &mut Rng::with_seed(1))
    }

    fn repeats(policy: &RetryPolicy, error: &Error) -> bool {
        first_wait(policy, error).is_some()
    }

    fn all_after(sent: bool) -> Vec<Error> {
        vec![Error::ConnectionLoss { sent, at: at() }, Error::Timeout { sent, at: at() }]
    }

    #[test]
    fn unsent_request_is_repeated() {
        let policy = RetryPolicy::default();
        for error in all_after(false) {
            assert!(repeats(&policy, &error), "{error}");
        }
        assert!(repeats(&policy, &Error::Busy { limit: 1, at: at() }));
        assert!(repeats(&policy, &Error::Connect { tried: Arc::from([]) }));
        for code in [Code::SessionMoved, Code::ThrottledOp] {
            assert!(repeats(&policy, &refused(code)), "{code:?}");
            assert!(repeats(&policy, &Error::Transaction { index: 0, code, at: at() }), "{code:?}");
        }
    }

    #[test]
    fn a3_request_that_may_have_been_applied_is_repeated_only_if_declared_idempotent() {
        let policy = RetryPolicy::default();
        let mut errors = all_after(true);
        for code in [Code::OperationTimeout, Code::ConnectionLoss, Code::RequestTimeout] {
            errors.push(refused(code));
        }
        for error in errors {
            assert!(!repeats(&policy, &error), "{error}");
            assert!(repeats(&policy.clone().idempotent(), &error), "{error}");
        }
    }

    #[test]
    fn refusal_and_terminal_errors_are_never_repeated() {
        let policy = RetryPolicy::default().idempotent().through_expiry(true);
        for code in
            [Code::NoNode, Code::BadVersion, Code::NoAuth, Code::NodeExists, Code::Unknown(-9999)]
        {
            assert!(!repeats(&policy, &refused(code)), "{code:?}");
        }
        for sent in [false, true] {
            assert!(!repeats(&policy, &Error::AuthFailed { sent, at: at() }));
            assert!(!repeats(&policy, &Error::Closed { sent, at: at() }));
        }
        for error in [
            Error::Forked { at: at() },
            Error::TooLarge { len: 2, limit: 1, at: at() },
            Error::invalid("create", "a", "the path must start with /"),
            Error::Start { source: Arc::new(io::Error::other("no threads")) },
            Error::Protocol { what: "short".into(), at: at() },
            Error::Recipe { why: RecipeError::Cancelled, at: at() },
            Error::Transaction { index: 0, code: Code::BadVersion, at: at() },
        ] {
            assert!(!repeats(&policy, &error), "{error}");
        }
    }

    #[test]
    fn expiry_is_never_hidden_unless_asked() {
        let unsent = Error::SessionExpired { sent: false, at: at() };
        let sent = Error::SessionExpired { sent: true, at: at() };
        let policy = RetryPolicy::default();
        for error in [&unsent, &sent, &refused(Code::SessionExpired)] {
            assert!(!repeats(&policy, error), "{error}");
            assert!(!repeats(&policy.clone().idempotent(), error), "{error}");
        }
        let through = policy.through_expiry(true);
        assert!(repeats(&through, &unsent));
        assert!(repeats(&through, &refused(Code::SessionExpired)));
        assert!(!repeats(&through, &sent));
        assert!(repeats(&through.idempotent(), &sent));
    }

    #[test]
    fn tries_count_the_first_call() {
        let now = Instant::now();
        let error = Error::Busy { limit: 1, at: at() };
        let rng = &mut Rng::with_seed(1);
        for (max_tries, calls) in [(0, 1), (1, 1), (2, 2), (5, 5)] {
            let policy = RetryPolicy::default().max_tries(max_tries);
            let mut tries = 1;
            while policy.decide(tries, now, now, &error, rng).is_some() {
                tries += 1;
            }
            assert_eq!(tries, calls, "max_tries {max_tries}");
        }
        assert_eq!(first_wait(&RetryPolicy::none(), &error), None);
    }

    #[test]
    fn wait_doubles_up_to_the_longest() {
        let now = Instant::now();
        let error = Error::Busy { limit: 1, at: at() };
        let policy = RetryPolicy::default()
            .max_tries(u32::MAX)
            .base_delay(Duration::from_millis(10))
            .max_delay(Duration::from_millis(55))
            .jitter(0.0);
        let rng = &mut Rng::with_seed(1);
        let waits: Vec<_> = (1..6)
            .map(|tries| policy.decide(tries, now, now, &error, rng).unwrap().as_millis())
            .collect();
        assert_eq!(waits, [10, 20, 40, 55, 55]);
    }

    #[test]
    fn jitter_shortens_the_wait_and_never_lengthens_it() {
        let now = Instant::now();
        let error = Error::Busy { limit: 1, at: at() };
        let base = Duration::from_millis(100);
        let rng = &mut Rng::with_seed(1);
        for (jitter, least) in [(0.5, 50), (1.0, 0), (7.0, 0), (-1.0, 100), (f64::NAN, 100)] {
            let policy = RetryPolicy::default().base_delay(base).jitter(jitter);
            let waits: Vec<_> =
                (0..1_000).map(|_| policy.decide(1, now, now, &error, rng).unwrap()).collect();
            let least = Duration::from_millis(least);
            assert!(waits.iter().all(|wait| (least..=base).contains(wait)), "jitter {jitter}");
            assert!(waits.iter().any(|wait| *wait < least + Duration::from_millis(5)), "{jitter}");
        }
        let too_much = RetryPolicy::default().jitter(7.0);
        assert_eq!(too_much, RetryPolicy::default().jitter(1.0));
    }

    #[test]
    fn wait_past_the_deadline_is_not_begun() {
        let started = Instant::now();
        let error = Error::Busy { limit: 1, at: at() };
        let policy = RetryPolicy::default()
            .base_delay(Duration::from_millis(100))
            .jitter(0.0)
            .deadline(Duration::from_secs(1));
        let rng = &mut Rng::with_seed(1);
        let mut waits_at = |ms| {
            let now = started + Duration::from_millis(ms);
            policy.decide(1, started, now, &error, rng).is_some()
        };
        assert!(waits_at(0));
        assert!(waits_at(899));
        assert!(!waits_at(900));
        assert!(!waits_at(5_000));
        // A clock that the caller read in the wrong order.
        let later = started + Duration::from_secs(9);
        assert!(policy.decide(1, later, started, &error, rng).is_some());
    }

    #[test]
    fn a26_retry_delay_never_overflows() {
        let now = Instant::now();
        let error = Error::Busy { limit: 1, at: at() };
        let rng = &mut Rng::with_seed(1);
        let policy = RetryPolicy::default().max_tries(u32::MAX).jitter(1e-17);
        let widest = policy
            .clone()
            .base_delay(Duration::MAX)
            .max_delay(Duration::MAX)
            .deadline(Duration::MAX);
        for tries in [0, 1, 2, 31, 32, 33, 64, 65, 1_000_000, u32::MAX - 1] {
            let wait = policy.decide(tries, now, now, &error, rng).unwrap();
            assert!(wait <= Duration::from_secs(5), "{tries}: {wait:?}");
            // The sum of wait and time spent reaches the deadline, and stays there.
            assert_eq!(widest.decide(tries, now, now, &error, rng), None);
        }
        assert_eq!(policy.decide(u32::MAX, now, now, &error, rng), None);
        let zero = policy.base_delay(Duration::ZERO);
        assert_eq!(zero.decide(9, now, now, &error, rng), Some(Duration::ZERO));
    }
}
