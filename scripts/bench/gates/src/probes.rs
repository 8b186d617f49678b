//! What is counted of which work.

use crate::callgrind::{self, Role};
use crate::recorded::{Allowed, Figure};
use crate::steps::STEPS;
use crate::work::Counted;
use crate::{Result, strace, work};

/// One run of a program, and the figures that it gives.
#[derive(Clone, Copy, Debug)]
pub enum Probe {
    /// A step alone, under callgrind.
    Step(&'static str),
    /// Whole calls, under callgrind.
    Instructions(&'static str),
    /// Whole calls, by what the process and the server count.
    Plain(&'static str, u64, &'static [Count]),
    /// Whole calls, under strace.
    Traced(&'static str, u64),
}

#[derive(Clone, Copy, Debug)]
pub enum Count {
    Allocations,
    /// What one read of the server brings: what one write of the client took along.
    Batch,
    /// Wake-ups of the IO thread.
    IoWakes,
    Sleeps,
}

/// Each count is large enough for its figures to repeat; all of them take half a minute.
pub fn all() -> Vec<Probe> {
    use Count::{Allocations, Batch, IoWakes, Sleeps};
    use Probe::{Instructions, Plain, Step, Traced};
    let mut all: Vec<_> = STEPS.into_iter().map(Step).collect();
    all.extend([
        Instructions("get"),
        Instructions("pipeget-100"),
        Instructions("pipeget-1000"),
        Plain("get", 20_000, &[Allocations, IoWakes, Sleeps]),
        Plain("set", 10_000, &[Allocations]),
        Plain("exists", 10_000, &[Allocations]),
        Plain("watch", 10_000, &[Allocations, IoWakes]),
        Plain("get-8", 32_000, &[Allocations, IoWakes, Batch]),
        Plain("get-64", 64_000, &[Allocations, IoWakes, Batch]),
        Plain("pipeget-100", 200_000, &[Allocations, IoWakes, Batch]),
        Plain("pipeget-1000", 400_000, &[Allocations, IoWakes, Batch]),
        Plain("pipeset-1000", 400_000, &[Allocations, IoWakes, Batch]),
        Plain("with-1000", 400_000, &[Allocations, IoWakes, Batch]),
        Traced("get", 5_000),
        Traced("get-8", 8_000),
        Traced("get-64", 8_000),
        Traced("pipeget-100", 50_000),
        Traced("pipeget-1000", 200_000),
    ]);
    all
}

impl Count {
    fn name(self) -> &'static str {
        match self {
            Self::Allocations => "allocations",
            Self::Batch => "requests-per-write",
            Self::IoWakes => "io-wakes",
            Self::Sleeps => "sleeps",
        }
    }
}

impl Probe {
    pub fn names(self) -> Vec<String> {
        match self {
            Self::Step(step) => vec![format!("instructions/{step}")],
            Self::Instructions(work) => {
                ["caller", "io"].map(|role| format!("instructions/{work}/{role}")).to_vec()
            }
            Self::Plain(work, _, counts) => {
                counts.iter().map(|count| format!("{}/{work}", count.name())).collect()
            }
            Self::Traced(work, _) => {
                ["system-calls", "futex-wakes"].map(|count| format!("{count}/{work}")).to_vec()
            }
        }
    }

    /// Counts, against the server at `address`.
    pub fn run(self, address: &str) -> Result<Vec<Figure>> {
        let counts: Vec<Counts> = match self {
            Self::Step(step) => {
                vec![Some((callgrind::count_step(step, 10_000)?, "instructions", TENTH_MORE))]
            }
            Self::Instructions(work) => {
                let count =
                    callgrind::count(&work::arguments(work, address, 1_000), 2_000, 22_000)?;
                let total = |role| Some((count.total(role), "instructions a call", TENTH_MORE));
                [Role::Caller, Role::Io].map(total).to_vec()
            }
            Self::Plain(work, calls, counts) => {
                let mut line = work::arguments(work, address, 5_000);
                line.push(calls.to_string());
                let counted: Counted = work::spawn(&line)?.parse()?;
                counts.iter().map(|count| count.of(work, &counted)).collect()
            }
            Self::Traced(work, calls) => {
                let mut line = work::arguments(work, address, 2_000);
                line.push(calls.to_string());
                let counted = strace::count(&line)?;
                [counted.all, counted.futex_wakes]
                    .map(|count| Some(per_call(work, count, calls, TENTH_MORE)))
                    .to_vec()
            }
        };
        let named = self.names().into_iter().zip(counts);
        let figures = named.filter_map(|(name, counts)| {
            let (value, unit, allowed) = counts?;
            Some(Figure::new(name, value, unit, allowed))
        });
        Ok(figures.collect())
    }
}

/// A figure without its name; `None` if the kernel does not keep the count.
type Counts = Option<(f64, &'static str, Allowed)>;

impl Count {
    fn of(self, work: &str, counted: &Counted) -> Counts {
        let Counted { calls, allocations, usage, requests, reads } = counted;
        Some(match self {
            Self::Allocations => {
                (*allocations as f64 / *calls as f64, "a call", Allowed::Over(0.0))
            }
            Self::Batch => (*requests as f64 / *reads as f64, "requests", Allowed::Below(0.1)),
            Self::IoWakes => per_call(work, usage.writes?, *calls, Allowed::Over(0.05)),
            Self::Sleeps => per_call(work, usage.sleeps?, *calls, Allowed::Info),
        })
    }
}

/// What happens a few times per window only is easier to read for a thousand calls.
fn per_call(work: &str, count: u64, calls: u64, allowed: Allowed) -> (f64, &'static str, Allowed) {
    let one = count as f64 / calls as f64;
    if work.starts_with("pipe") || work.starts_with("with") {
        (one * 1_000.0, "per 1,000 calls", allowed)
    } else {
        (one, "a call", allowed)
    }
}

const TENTH_MORE: Allowed = Allowed::Above(0.1);
