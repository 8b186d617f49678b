//! The work that is counted: a process that makes calls, some to warm up, then so many.

use std::collections::VecDeque;
use std::env;
use std::fmt;
use std::fs;
use std::process::Command;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Barrier, Mutex};
use std::thread::{self, Thread};

use zookeeper_blocking::{Client, Pending, Version, op};

use crate::Result;
use crate::allocator::{self, allocations};
use crate::null_server::{Arrived, arrived};
use crate::sites;
use crate::usage::Usage;
use crate::wire::{DATA, NODE};

/// What is done, from the main thread but for `Threads`.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    Get,
    Set,
    Exists,
    /// Blocking gets of so many threads on one session.
    Threads(usize),
    /// As many gets in flight.
    PipeGet(usize),
    PipeSet(usize),
    /// As many gets in flight, their answers on the event thread.
    With(u64),
    /// A get that leaves a watch, and its event.
    Watch,
}

impl Work {
    pub fn named(name: &str) -> Result<Self> {
        let (verb, number) = match name.split_once('-') {
            Some((verb, number)) => (verb, number.parse()?),
            None => (name, 0),
        };
        Ok(match verb {
            "get" if number > 0 => Self::Threads(number),
            "get" => Self::Get,
            "set" => Self::Set,
            "exists" => Self::Exists,
            "pipeget" => Self::PipeGet(number),
            "pipeset" => Self::PipeSet(number),
            "with" => Self::With(number as u64),
            "watch" => Self::Watch,
            _ => return Err(format!("there is no work named {name}").into()),
        })
    }
}

/// What was counted in the measured calls.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    pub calls: u64,
    /// Of all threads of the client.
    pub allocations: u64,
    pub usage: Usage,
    /// That arrived at the server, and the reads that brought them.
    pub requests: u64,
    pub reads: u64,
}

/// The command line for the work, but for the number of calls, which ends it.
pub fn arguments(name: &str, address: &str, warm: u64) -> Vec<String> {
    ["work", name, address, &warm.to_string()].map(str::to_owned).to_vec()
}

/// Has a process of its own do the work; gives what it printed.
pub fn spawn(arguments: &[String]) -> Result<String> {
    let output = Command::new(env::current_exe()?).args(arguments).output()?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{arguments:?}: {}: {why}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Does the work and prints what was counted.
pub fn run(work: Work, address: &str, warm: u64, calls: u64, sites: bool) -> Result<()> {
    let zk = Client::connect(address)?;
    let window = Window { address, sites };
    let counted = match work {
        Work::Threads(threads) => of_threads(&zk, threads as u64, warm, calls, &window)?,
        _ => {
            alone(&zk, work, warm)?;
            let open = window.open()?;
            alone(&zk, work, calls)?;
            open.close(&window, calls)?
        }
    };
    if sites {
        sites::print(calls);
    } else {
        println!("{counted}");
    }
    Ok(())
}

/// For the process that started this one.
impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, allocations, usage, requests, reads } = self;
        write!(f, "{calls} {allocations} {requests} {reads}")?;
        for count in [usage.writes, usage.sleeps] {
            match count {
                Some(count) => write!(f, " {count}")?,
                None => f.write_str(" -")?,
            }
        }
        Ok(())
    }
}

impl FromStr for Counted {
    type Err = Box<dyn std::error::Error + Send + Sync>;

    fn from_str(line: &str) -> Result<Self> {
        let words: Vec<_> = line.split_whitespace().map(|word| word.parse().ok()).collect();
        match words[..] {
            [Some(calls), Some(allocations), Some(requests), Some(reads), writes, sleeps] => {
                let usage = Usage { writes, sleeps };
                Ok(Self { calls, allocations, usage, requests, reads })
            }
            _ => Err(format!("not what the work says: {line}").into()),
        }
    }
}

fn alone(zk: &Client, work: Work, calls: u64) -> Result<()> {
    match work {
        Work::Get | Work::Threads(_) => gets(zk, calls)?,
        Work::Set => {
            for _ in 0..calls {
                zk.set_data(NODE, DATA, Version::Any)?;
            }
        }
        Work::Exists => {
            for _ in 0..calls {
                assert!(zk.exists(NODE)?.is_some());
            }
        }
        Work::PipeGet(window) => pipe(
            window,
            calls,
            || zk.submit(op::GetData::new(NODE)),
            |(data, _)| assert_eq!(data.len(), DATA.len()),
        )?,
        Work::PipeSet(window) => {
            pipe(window, calls, || zk.submit(op::SetData::new(NODE, DATA)), drop)?;
        }
        Work::With(window) => {
            await_each(window, calls, || {
                zk.submit_with(op::GetData::new(NODE), |answer| {
                    assert!(answer.is_ok());
                    told();
                })
            })?;
        }
        Work::Watch => {
            await_each(1, calls, || zk.call(op::GetData::new(NODE).watch(|_| told())).map(drop))?;
        }
    }
    Ok(())
}

fn gets(zk: &Client, calls: u64) -> Result<()> {
    for _ in 0..calls {
        let (data, _) = zk.get_data(NODE)?;
        assert_eq!(data.len(), DATA.len());
    }
    Ok(())
}

/// Keeps `window` calls in flight, and waits for the oldest.
fn pipe<T>(
    window: usize,
    calls: u64,
    submit: impl Fn() -> zookeeper_blocking::Result<Pending<T>>,
    check: impl Fn(T),
) -> Result<()> {
    let mut pending = VecDeque::with_capacity(window);
    for _ in 0..calls {
        if pending.len() == window
            && let Some(oldest) = pending.pop_front()
        {
            check(Pending::wait(oldest)?);
        }
        pending.push_back(submit()?);
    }
    for left in pending {
        check(left.wait()?);
    }
    Ok(())
}

/// Keeps `window` calls in flight that are told of on the event thread.
fn await_each(
    window: u64,
    calls: u64,
    submit: impl Fn() -> zookeeper_blocking::Result<()>,
) -> Result<()> {
    let first = TOLD.load(SeqCst);
    *WAITER.lock().map_err(|_| "poisoned")? = Some(thread::current());
    for n in 1..=calls {
        submit()?;
        // For the whole window at once: being woken for each would be counted too.
        if n % window == 0 || n == calls {
            AWAITED.store(first + n, SeqCst);
            while TOLD.load(SeqCst) < first + n {
                thread::park();
            }
        }
    }
    Ok(())
}

fn told() {
    if TOLD.fetch_add(1, SeqCst) + 1 == AWAITED.load(SeqCst)
        && let Ok(waiter) = WAITER.lock()
        && let Some(waiter) = &*waiter
    {
        waiter.unpark();
    }
}

static TOLD: AtomicU64 = AtomicU64::new(0);
static AWAITED: AtomicU64 = AtomicU64::new(u64::MAX);
static WAITER: Mutex<Option<Thread>> = Mutex::new(None);

fn of_threads(
    zk: &Client,
    threads: u64,
    warm: u64,
    calls: u64,
    window: &Window<'_>,
) -> Result<Counted> {
    let meet = Barrier::new(usize::try_from(threads)? + 1);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    gets(zk, warm / threads)?;
                    meet.wait();
                    meet.wait();
                    let done = gets(zk, calls / threads);
                    meet.wait();
                    // Alive until their sleeps are counted.
                    meet.wait();
                    done
                })
            })
            .collect();
        meet.wait();
        let open = window.open()?;
        meet.wait();
        meet.wait();
        let counted = open.close(window, calls / threads * threads)?;
        meet.wait();
        for worker in workers {
            worker.join().map_err(|_| "a worker panicked")??;
        }
        Ok(counted)
    })
}

struct Window<'a> {
    address: &'a str,
    sites: bool,
}

struct Open {
    allocations: u64,
    usage: Usage,
    arrived: Arrived,
}

impl Window<'_> {
    fn open(&self) -> Result<Open> {
        let (arrived, usage) = (arrived(self.address)?, Usage::now());
        mark(BEGIN);
        if self.sites {
            allocator::note_sites();
        }
        Ok(Open { arrived, usage, allocations: allocations() })
    }
}

impl Open {
    fn close(self, window: &Window<'_>, calls: u64) -> Result<Counted> {
        let now = allocations();
        allocator::stop_noting();
        mark(END);
        let usage = Usage::now().since(self.usage);
        let (s, s0) = (arrived(window.address)?, self.arrived);
        Ok(Counted {
            calls,
            allocations: now - self.allocations,
            usage,
            requests: s.requests - s0.requests,
            reads: s.reads - s0.reads,
        })
    }
}

/// A system call that a trace shows by its argument.
fn mark(path: &str) {
    let _ = fs::metadata(path);
}

pub const BEGIN: &str = "/zk-gates/begin";
pub const END: &str = "/zk-gates/end";
