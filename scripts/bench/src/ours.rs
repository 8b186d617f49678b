//! The client that is measured, by what it offers to everybody.

mod once;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use zookeeper_blocking::op::{self, Operation};
use zookeeper_blocking::recipes::Lock;
use zookeeper_blocking::{Client, CreateMode, EventKind, Version};

use crate::measure::{Tally, measure};
use crate::wire::{CREATED, LOCK, list_node, node, watched_node};
use crate::{Job, NoSuchCall, Result, cue};

pub use once::{grow, prepare};

pub fn run(job: &Job) -> Result<()> {
    let zk = connect(job)?;
    let Some(figures) = rate(job, &zk, false)? else { return once::run(job, &zk) };
    end(&zk, &figures)
}

/// As [`run`], where many requests are in flight: a quarter of them handed over at a time.
pub fn run_batches(job: &Job) -> Result<()> {
    if !job.work.starts_with("pipe-") {
        return Err(NoSuchCall.into());
    }
    let zk = connect(job)?;
    let figures = rate(job, &zk, true)?.ok_or(NoSuchCall)?;
    end(&zk, &figures)
}

fn connect(job: &Job) -> Result<Client> {
    let builder = Client::builder(&job.address).session_timeout(Duration::from_secs(30));
    // All that the work has in flight, and some.
    Ok(builder.max_in_flight(job.n + 65_536).connect()?)
}

fn end(zk: &Client, figures: &str) -> Result<()> {
    cue::say(figures)?;
    cue::wait_end()?;
    Ok(zk.close()?)
}

/// The figures, if the work is one that is done over and over.
fn rate(job: &Job, zk: &Client, batch: bool) -> Result<Option<String>> {
    let path = node(job.size);
    let data = vec![b'x'; job.size];
    let data = data.as_slice();
    let figures = match job.work.as_str() {
        "sync-get" => sync(job, || same(zk.get_data(&path)?.0.len(), job.size)),
        "sync-set" => sync(job, || Ok(zk.set_data(&path, data, Version::Any).map(drop)?)),
        "sync-list" => {
            let path = list_node(job.size);
            sync(job, || same(zk.get_children(&path)?.len(), job.size))
        }
        "pipe-get" => pipe(
            job,
            zk,
            batch,
            || op::GetData::new(path.as_str()),
            |(got, _)| same(got.len(), job.size),
        ),
        "pipe-set" => pipe(job, zk, batch, || op::SetData::new(path.as_str(), data), |_| Ok(())),
        "pipe-create" => {
            let mode = CreateMode::EphemeralSequential;
            let create = || op::Create::new(CREATED).data(data).mode(mode);
            pipe(job, zk, batch, create, |created| same(created.path.find(CREATED).unwrap_or(9), 0))
        }
        "watch" => watch(job, zk),
        "lock" => lock(job, zk),
        _ => return Ok(None),
    };
    figures.map(Some)
}

fn same(got: usize, wanted: usize) -> Result<()> {
    if got == wanted { Ok(()) } else { Err(format!("{got} instead of {wanted}").into()) }
}

/// Each thread waits for its answer before it asks again.
fn sync(job: &Job, call: impl Fn() -> Result<()> + Sync) -> Result<String> {
    measure(job.n, job.length, |tally| {
        loop {
            let start = Instant::now();
            call()?;
            if !tally.took(start) {
                return Ok(());
            }
        }
    })
}

/// One thread keeps `n` requests in flight.
fn pipe<O: Operation>(
    job: &Job,
    zk: &Client,
    batch: bool,
    request: impl Fn() -> O + Sync,
    check: impl Fn(O::Reply) -> Result<()> + Sync,
) -> Result<String> {
    measure(1, job.length, |tally| {
        if batch {
            return batches(job, zk, tally, &request, &check);
        }
        let mut pending = VecDeque::with_capacity(job.n);
        loop {
            while pending.len() < job.n {
                pending.push_back(zk.submit(request())?);
            }
            let Some(oldest) = pending.pop_front() else { return Ok(()) };
            check(oldest.wait()?)?;
            if !tally.did(1) {
                return Ok(());
            }
        }
    })
}

/// As [`pipe`], a quarter of the requests handed over at a time.
fn batches<O: Operation>(
    job: &Job,
    zk: &Client,
    tally: Tally<'_>,
    request: &dyn Fn() -> O,
    check: &dyn Fn(O::Reply) -> Result<()>,
) -> Result<()> {
    let batch = (job.n / 4).max(1);
    let mut pending = VecDeque::with_capacity(4);
    loop {
        while pending.len() < 4 {
            pending.push_back(zk.submit_all((0..batch).map(|_| request()))?);
        }
        let Some(oldest) = pending.pop_front() else { return Ok(()) };
        for answer in oldest {
            check(answer?)?;
        }
        if !tally.did(batch as u64) {
            return Ok(());
        }
    }
}

/// `n` watches, each set again in its own callback.
fn watch(job: &Job, zk: &Client) -> Result<String> {
    let watching = Arc::new(Watching {
        zk: zk.clone(),
        paths: (0..job.n).map(watched_node).collect(),
        events: AtomicU64::new(0),
        failed: AtomicBool::new(false),
    });
    measure(1, job.length, |tally| {
        for i in 0..job.n {
            watching.arm(i)?;
        }
        let mut seen = 0;
        loop {
            thread::sleep(Duration::from_millis(2));
            let events = watching.events.load(Ordering::Relaxed);
            if watching.failed.load(Ordering::Relaxed) {
                return Err("a watch failed".into());
            }
            if !tally.did(events - seen) {
                return Ok(());
            }
            seen = events;
        }
    })
}

struct Watching {
    zk: Client,
    paths: Vec<String>,
    events: AtomicU64,
    failed: AtomicBool,
}

impl Watching {
    fn arm(self: &Arc<Self>, i: usize) -> zookeeper_blocking::Result<()> {
        let again = self.clone();
        let read = op::GetData::new(self.paths[i].as_str()).watch(move |event| {
            again.events.fetch_add(1, Ordering::Relaxed);
            if event.kind != EventKind::DataChanged || again.arm(i).is_err() {
                again.failed.store(true, Ordering::Relaxed);
            }
        });
        let this = self.clone();
        self.zk.submit_with(read, move |answer| {
            if !answer.is_ok_and(|(data, _)| data.len() == 100) {
                this.failed.store(true, Ordering::Relaxed);
            }
        })
    }
}

/// `n` threads, each of which wants the lock, and gives it up at once.
fn lock(job: &Job, zk: &Client) -> Result<String> {
    measure(job.n, job.length, |tally| {
        let lock = Lock::new(zk, LOCK)?;
        loop {
            let start = Instant::now();
            lock.acquire()?.release()?;
            if !tally.took(start) {
                return Ok(());
            }
        }
    })
}
