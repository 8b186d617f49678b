//! One measurement of this process: calls, time, CPU, context switches, how long calls took.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::Result;
use crate::latency::Latencies;

#[derive(Clone, Copy, Debug)]
pub enum Length {
    Time(Duration),
    Calls(u64),
}

impl std::str::FromStr for Length {
    type Err = Box<dyn std::error::Error + Send + Sync>;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text.strip_suffix('s') {
            Some(seconds) => Self::Time(Duration::try_from_secs_f64(seconds.parse()?)?),
            None => Self::Calls(text.parse()?),
        })
    }
}

/// Shared by the workers and by whoever measures them.
#[derive(Debug)]
pub struct Meter {
    counts: Vec<Count>,
    /// Of each worker.
    limit: u64,
    stage: AtomicU8,
    latencies: Latencies,
}

/// The calls of one worker, who alone writes it, in a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Count(AtomicU64);

const WARMING_UP: u8 = 0;
const MEASURING: u8 = 1;
const OVER: u8 = 2;

impl Meter {
    pub fn new(workers: usize, length: Length) -> Self {
        let (limit, stage) = match length {
            Length::Time(_) => (u64::MAX, WARMING_UP),
            Length::Calls(calls) => (calls / workers as u64, MEASURING),
        };
        Self {
            counts: (0..workers).map(|_| Count::default()).collect(),
            limit,
            stage: AtomicU8::new(stage),
            latencies: Latencies::default(),
        }
    }

    pub fn tally(&self, worker: usize) -> Tally<'_> {
        Tally { meter: self, count: &self.counts[worker].0 }
    }

    /// Begins the measurement of so many calls, which has no warm-up.
    pub fn begin_if_counted(&self, length: Length) -> Result<Option<Reading>> {
        match length {
            Length::Time(_) => Ok(None),
            Length::Calls(_) => self.begin().map(Some),
        }
    }

    /// Begins the measurement, after the warm-up.
    pub fn begin(&self) -> Result<Reading> {
        self.stage.store(MEASURING, Ordering::Relaxed);
        Reading::now(self)
    }

    /// Ends it. Workers hear of it at their next call.
    pub fn end(&self) -> Result<Reading> {
        let reading = Reading::now(self)?;
        self.stage.store(OVER, Ordering::Relaxed);
        Ok(reading)
    }

    /// The line of figures that a driver prints.
    pub fn figures(&self, before: &Reading, after: &Reading) -> String {
        let calls = after.calls - before.calls;
        let seconds = (after.at - before.at).as_secs_f64();
        let cpu = (after.cpu - before.cpu).as_secs_f64() * 1e6;
        let switches = after.switches - before.switches;
        let mut line =
            format!("calls {calls} seconds {seconds:.6} cpu_us {cpu:.0} switches {switches}");
        if let Some((p50, p99)) = self.latencies.percentiles() {
            line += &format!(" p50_us {p50:.2} p99_us {p99:.2}");
        }
        line
    }
}

/// One worker's side of a [`Meter`].
#[derive(Clone, Copy, Debug)]
pub struct Tally<'a> {
    meter: &'a Meter,
    count: &'a AtomicU64,
}

impl Tally<'_> {
    /// Counts `n` calls more; true until the measurement is over.
    pub fn did(&self, n: u64) -> bool {
        let calls = self.count.load(Ordering::Relaxed) + n;
        self.count.store(calls, Ordering::Relaxed);
        calls < self.meter.limit && self.meter.stage.load(Ordering::Relaxed) != OVER
    }

    /// Counts one call that began at `start`; true until the measurement is over.
    pub fn took(&self, start: Instant) -> bool {
        if self.meter.stage.load(Ordering::Relaxed) == MEASURING {
            self.meter.latencies.record(start.elapsed());
        }
        self.did(1)
    }
}

/// Runs `work` on as many threads, warm-up first, and measures.
pub fn measure(
    threads: usize,
    length: Length,
    work: impl Fn(Tally<'_>) -> Result<()> + Sync,
) -> Result<String> {
    let meter = Meter::new(threads, length);
    let (meter, work) = (&meter, &work);
    thread::scope(|scope| {
        let mut before = meter.begin_if_counted(length)?;
        let workers: Vec<_> =
            (0..threads).map(|i| scope.spawn(move || work(meter.tally(i)))).collect();
        let mut after = None;
        if let Length::Time(time) = length {
            thread::sleep(WARM_UP);
            before = Some(meter.begin()?);
            thread::sleep(time);
            after = Some(meter.end()?);
        }
        for worker in workers {
            worker.join().map_err(|_| "a worker panicked")??;
        }
        let after = after.map_or_else(|| meter.end(), Ok)?;
        Ok(meter.figures(&before.ok_or("no measurement")?, &after))
    })
}

#[derive(Debug)]
pub struct Reading {
    at: Instant,
    calls: u64,
    cpu: Duration,
    switches: i64,
}

impl Reading {
    fn now(meter: &Meter) -> Result<Self> {
        let usage = getrusage(UsageWho::RUSAGE_SELF)?;
        let cpu = usage.user_time() + usage.system_time();
        Ok(Self {
            at: Instant::now(),
            calls: meter.counts.iter().map(|count| count.0.load(Ordering::Relaxed)).sum(),
            cpu: Duration::from_micros(u64::try_from(cpu.num_microseconds())?),
            switches: usage.voluntary_context_switches() + usage.involuntary_context_switches(),
        })
    }
}

pub const WARM_UP: Duration = Duration::from_millis(200);
