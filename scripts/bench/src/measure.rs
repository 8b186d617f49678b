//! One measurement of this process: calls, time, CPU, context switches.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::Result;

#[derive(Clone, Copy, Debug)]
pub enum Length {
    Time(Duration),
    Calls(u64),
}

impl FromStr for Length {
    type Err = Box<dyn std::error::Error + Send + Sync>;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text.strip_suffix('s') {
            Some(seconds) => Self::Time(Duration::try_from_secs_f64(seconds.parse()?)?),
            None => Self::Calls(text.parse()?),
        })
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub calls_per_second: f64,
    /// Of the whole process, user and system.
    pub cpu_us_per_call: f64,
    pub switches_per_call: f64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls_per_second, cpu_us_per_call, switches_per_call } = self;
        write!(f, "{calls_per_second:.1} {cpu_us_per_call:.4} {switches_per_call:.5}")
    }
}

impl FromStr for Figures {
    type Err = Box<dyn std::error::Error + Send + Sync>;

    fn from_str(text: &str) -> Result<Self> {
        let mut words = text.split_whitespace();
        let mut next = || words.next().ok_or("a figure is missing");
        Ok(Self {
            calls_per_second: next()?.parse()?,
            cpu_us_per_call: next()?.parse()?,
            switches_per_call: next()?.parse()?,
        })
    }
}

/// Shared by the workers and the thread that measures them.
#[derive(Debug)]
pub struct Meter {
    calls: AtomicU64,
    limit: u64,
    over: AtomicBool,
}

impl Meter {
    /// Counts `n` calls more; true until the measurement is over.
    pub fn did(&self, n: u64) -> bool {
        self.calls.fetch_add(n, Ordering::Relaxed) + n < self.limit
            && !self.over.load(Ordering::Relaxed)
    }
}

/// Runs `work` on as many threads, warm-up first, and measures.
pub fn measure(
    threads: usize,
    length: Length,
    work: impl Fn(&Meter) -> Result<()> + Sync,
) -> Result<Figures> {
    let limit = match length {
        Length::Time(_) => u64::MAX,
        Length::Calls(calls) => calls,
    };
    let meter = Meter { calls: AtomicU64::new(0), limit, over: AtomicBool::new(false) };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| work(&meter))).collect();
        let (before, after) = match length {
            Length::Time(time) => {
                thread::sleep(WARM_UP);
                let before = Reading::now(&meter)?;
                thread::sleep(time);
                let after = Reading::now(&meter)?;
                meter.over.store(true, Ordering::Relaxed);
                (before, Some(after))
            }
            Length::Calls(_) => (Reading::now(&meter)?, None),
        };
        for worker in workers {
            worker.join().map_err(|_| "a worker panicked")??;
        }
        let after = after.map_or_else(|| Reading::now(&meter), Ok)?;
        Ok(after.since(&before))
    })
}

struct Reading {
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
            calls: meter.calls.load(Ordering::Relaxed),
            cpu: Duration::from_micros(u64::try_from(cpu.num_microseconds())?),
            switches: usage.voluntary_context_switches() + usage.involuntary_context_switches(),
        })
    }

    fn since(&self, before: &Self) -> Figures {
        let calls = (self.calls - before.calls).max(1) as f64;
        Figures {
            calls_per_second: calls / (self.at - before.at).as_secs_f64(),
            cpu_us_per_call: (self.cpu - before.cpu).as_secs_f64() * 1e6 / calls,
            switches_per_call: (self.switches - before.switches) as f64 / calls,
        }
    }
}

const WARM_UP: Duration = Duration::from_millis(300);
