//! The time of day, as this process believes it to be.
//!
//! The only place where it is asked. It jumps when it is set, and no two machines agree on it; so
//! only what is written in it goes by it: the items of a delay queue. All else counts by `Instant`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, not rounded up.
pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// `delay` from now. `None` where no clock shows that.
pub(crate) fn after(delay: Duration) -> Option<SystemTime> {
    SystemTime::now().checked_add(delay)
}

/// Milliseconds since 1970, rounded up: what waits for them does not come too early. `None` for what
/// is not after 1970, or too far.
pub(crate) fn ms_of(time: SystemTime) -> Option<i64> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    let ms = since.as_nanos().div_ceil(1_000_000);
    i64::try_from(ms).ok().filter(|ms| *ms > 0)
}

/// The point in time that is so many milliseconds after 1970.
pub(crate) fn time_of(ms: i64) -> SystemTime {
    let since = Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    // No clock shows that: as good as never.
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_rounded_up_and_comes_back() {
        let time = UNIX_EPOCH + Duration::from_nanos(1_000_001);
        assert_eq!(ms_of(time), Some(2));
        assert_eq!(time_of(2), UNIX_EPOCH + Duration::from_millis(2));
        assert_eq!(ms_of(UNIX_EPOCH), None);
        assert_eq!(ms_of(UNIX_EPOCH - Duration::from_secs(1)), None);
        assert!(ms_of(after(Duration::ZERO).unwrap()).unwrap() >= now_ms());
        assert_eq!(after(Duration::MAX), None);
    }
}
