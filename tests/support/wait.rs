//! Waiting for a condition, never for time.

use std::thread;
use std::time::{Duration, Instant};

/// Waits until `condition` holds; panics with its name when `timeout` (scaled) has passed, and 20 s
/// at least: only a test that fails waits so long, and a busy machine may need it.
#[track_caller]
pub(crate) fn eventually(what: &str, timeout: Duration, mut condition: impl FnMut() -> bool) {
    eventually_some(what, timeout, || condition().then_some(()));
}

/// Waits until `find` gives a value, as [`eventually`] waits.
#[track_caller]
pub(crate) fn eventually_some<T>(
    what: &str,
    timeout: Duration,
    find: impl FnMut() -> Option<T>,
) -> T {
    within(what, scaled(timeout.max(Duration::from_secs(20))), find)
}

/// Waits until `find` gives a value; panics with its name when `timeout` has passed, exactly.
#[track_caller]
pub(crate) fn within<T>(what: &str, timeout: Duration, mut find: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    // Most conditions hold within a millisecond or not for a long time.
    let mut pause = Duration::from_micros(200);
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(start.elapsed() < timeout, "not so after {timeout:?}: {what}");
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// `time` multiplied by `ZK_TEST_TIMING`, for machines slower than the one where it was chosen.
/// Defaults to 1.
pub(crate) fn scaled(time: Duration) -> Duration {
    let factor = std::env::var("ZK_TEST_TIMING").ok();
    let factor = factor.map_or(1.0, |text| {
        let factor = text.parse::<f64>().ok();
        factor.filter(|f| *f > 0.0).expect("ZK_TEST_TIMING: a number above 0")
    });
    time.mul_f64(factor)
}
