//! Which instances failed of late, by the word of those who asked them.
//!
//! ```text
//!   error    error                          window after the first
//! ────┼────────┼───────────── down ───────────────┼──── forgotten: up ───▶
//!     └ counted└ the second of two: down
//! ```
//!
//! No clock is asked here: each call says what time it is.
//!
//! Source: Curator `DownInstancePolicy`, `details/DownInstanceManager`.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::recipes::discovery::ServiceInstance;

#[derive(Debug)]
pub(super) struct Failures {
    threshold: u32,
    window: Duration,
    /// By the id of the instance.
    noted: HashMap<String, Noted>,
}

#[derive(Debug)]
struct Noted {
    /// Another record with the same id is another instance.
    instance: ServiceInstance,
    since: Instant,
    errors: u32,
}

impl Failures {
    pub(super) fn new(threshold: u32, window: Duration) -> Self {
        Self { threshold, window, noted: HashMap::new() }
    }

    /// Counts an error of this instance.
    pub(super) fn note(&mut self, instance: &ServiceInstance, now: Instant) {
        let window = self.window;
        self.noted.retain(|_, noted| noted.is_of_late(window, now));
        match self.noted.get_mut(&instance.id) {
            Some(noted) if noted.instance == *instance => {
                noted.errors = noted.errors.saturating_add(1);
            }
            _ => {
                let noted = Noted { instance: instance.clone(), since: now, errors: 1 };
                self.noted.insert(instance.id.clone(), noted);
            }
        }
    }

    /// Whether it had fewer errors of late than make it count as down.
    pub(super) fn is_up(&self, instance: &ServiceInstance, now: Instant) -> bool {
        !self.noted.get(&instance.id).is_some_and(|noted| {
            noted.errors >= self.threshold
                && noted.is_of_late(self.window, now)
                && noted.instance == *instance
        })
    }
}

impl Default for Failures {
    fn default() -> Self {
        Self::new(THRESHOLD, WINDOW)
    }
}

impl Noted {
    fn is_of_late(&self, window: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < window
    }
}

/// As Curator has them.
const THRESHOLD: u32 = 2;
const WINDOW: Duration = Duration::from_secs(30);

/// Retold by behaviour: Curator `TestDownInstanceManager`: `testBasic`, `testThreshold`,
/// `testExpires`.
#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn instance(id: &str) -> ServiceInstance {
        ServiceInstance::new("mail").id(id).address("h7").port(25)
    }

    #[test]
    fn instance_is_down_from_the_error_that_reaches_the_threshold() {
        let (one, other, now) = (instance("1"), instance("2"), Instant::now());
        let mut failures = Failures::default();
        assert!(failures.is_up(&one, now));
        failures.note(&one, now);
        assert!(failures.is_up(&one, now), "one error is not two");
        failures.note(&other, now);
        failures.note(&one, now + 29 * SECOND);
        assert!(!failures.is_up(&one, now + 29 * SECOND));
        assert!(failures.is_up(&other, now + 29 * SECOND));
        let mut strict = Failures::new(1, SECOND);
        strict.note(&one, now);
        assert!(!strict.is_up(&one, now) && strict.is_up(&other, now));
    }

    #[test]
    fn errors_are_forgotten_when_the_window_after_the_first_has_passed() {
        let (one, now) = (instance("1"), Instant::now());
        let mut failures = Failures::new(2, 10 * SECOND);
        failures.note(&one, now);
        failures.note(&one, now + 9 * SECOND);
        let end = now + 10 * SECOND;
        assert!(!failures.is_up(&one, end - Duration::from_nanos(1)));
        assert!(failures.is_up(&one, end));
        // The next error is the first of another window.
        failures.note(&one, end);
        assert!(failures.is_up(&one, end));
        failures.note(&one, end + SECOND);
        assert!(!failures.is_up(&one, end + 9 * SECOND));
        assert!(failures.is_up(&one, end + 10 * SECOND));
        // And nothing is kept of those that nobody asks any more.
        failures.note(&instance("2"), end + 99 * SECOND);
        assert_eq!(failures.noted.len(), 1);
    }

    #[test]
    fn instance_that_is_registered_anew_elsewhere_is_another_one() {
        let (old, now) = (instance("1"), Instant::now());
        let new = instance("1").address("h8");
        let mut failures = Failures::new(2, SECOND);
        failures.note(&old, now);
        failures.note(&old, now);
        assert!(!failures.is_up(&old, now) && failures.is_up(&new, now));
        failures.note(&new, now);
        assert!(failures.is_up(&new, now), "its first error");
        failures.note(&new, now);
        assert!(!failures.is_up(&new, now));
    }

    #[test]
    fn threshold_of_none_and_window_of_all_time_are_what_they_say() {
        let (one, now) = (instance("1"), Instant::now());
        let mut never_up = Failures::new(0, Duration::MAX);
        assert!(never_up.is_up(&one, now), "nothing is known of it");
        never_up.note(&one, now);
        assert!(!never_up.is_up(&one, now + 1_000_000 * SECOND));
        let mut never_down = Failures::new(1, Duration::ZERO);
        never_down.note(&one, now);
        assert!(never_down.is_up(&one, now));
    }
}
