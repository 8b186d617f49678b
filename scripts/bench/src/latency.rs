//! How long calls took, in buckets of 3 %.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// 32 buckets for each doubling of the time in nanoseconds.
#[derive(Debug)]
pub struct Latencies {
    buckets: Vec<AtomicU64>,
}

const STEPS: u64 = 32;

impl Default for Latencies {
    fn default() -> Self {
        Self { buckets: (0..40 * STEPS).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl Latencies {
    pub fn record(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get(bucket(nanos)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The median and the 99th percentile, in microseconds; nothing if nothing was recorded.
    pub fn percentiles(&self) -> Option<(f64, f64)> {
        let counts: Vec<u64> = self.buckets.iter().map(|b| b.load(Ordering::Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        let percentile = |share: u64| {
            let rank = (total * share).div_ceil(100);
            let mut seen = 0;
            counts.iter().position(|&count| {
                seen += count;
                seen >= rank
            })
        };
        (total > 0).then_some(())?;
        Some((start(percentile(50)?) / 1e3, start(percentile(99)?) / 1e3))
    }
}

fn bucket(nanos: u64) -> usize {
    if nanos < STEPS {
        return nanos as usize;
    }
    let doublings = u64::from(nanos.ilog2() - STEPS.ilog2());
    ((doublings + 1) * STEPS + (nanos >> doublings) - STEPS) as usize
}

/// The shortest time of a bucket, in nanoseconds.
fn start(bucket: usize) -> f64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket as f64;
    }
    let doublings = bucket / STEPS - 1;
    ((STEPS + bucket % STEPS) << doublings) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_start_and_spans_three_per_cent() {
        for nanos in [0, 31, 32, 33, 100, 999, 1_000_000, 3_000_000_000] {
            let begin = start(bucket(nanos));
            assert!(begin <= nanos as f64 && nanos as f64 <= begin * 1.032, "{nanos}: {begin}");
        }
    }

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let latencies = Latencies::default();
        assert_eq!(latencies.percentiles(), None);
        for n in 1..=100 {
            latencies.record(Duration::from_micros(n));
        }
        let (p50, p99) = latencies.percentiles().expect("times were recorded");
        assert!((48.0..=50.0).contains(&p50) && (96.0..=99.0).contains(&p99), "{p50} {p99}");
    }
}
