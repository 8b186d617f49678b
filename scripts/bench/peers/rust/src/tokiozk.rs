//! The crate `tokio-zookeeper`. A call sends when it is first polled, so many at a time are tasks.

use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio_zookeeper::{Acl, CreateMode, ZooKeeper, ZooKeeperBuilder};
use zk_bench::wire::{CREATED, list_node, missing_node, node, watched_node};
use zk_bench::{Job, NoSuchCall, Result, cue};

use crate::{same, tasks};

pub async fn run(job: &Job) -> Result<()> {
    let mut builder = ZooKeeperBuilder::default();
    builder.set_timeout(Duration::from_secs(30));
    let (zk, _events) = builder.connect(&job.address.parse()?).await?;
    let figures = match job.work.as_str() {
        "sync-get" | "sync-set" | "sync-list" | "pipe-get" | "pipe-set" | "pipe-create" => {
            calls(job, &zk).await?
        }
        "watch" => watch(job, &zk).await?,
        _ => return once(job, &zk).await,
    };
    cue::say(&figures)?;
    tasks::wait_end().await?;
    drop(zk);
    // Nothing tells when the session is closed.
    tokio::time::sleep(Duration::from_millis(50)).await;
    Ok(())
}

/// `n` tasks, each of which waits for its answer before it asks again.
async fn calls(job: &Job, zk: &ZooKeeper) -> Result<String> {
    let blocking = job.work.starts_with("sync-");
    tasks::measure(job.n, job.length, |meter, i| {
        let (zk, job) = (zk.clone(), job.clone());
        async move {
            let tally = meter.tally(i);
            let (path, list) = (node(job.size), list_node(job.size));
            let data: &'static [u8] = vec![b'x'; job.size].leak();
            loop {
                let start = Instant::now();
                match job.work.as_str() {
                    "sync-get" | "pipe-get" => {
                        same(
                            zk.get_data(&path).await?.map_or(0, |(data, _)| data.len()),
                            job.size,
                        )?;
                    }
                    "sync-set" | "pipe-set" => drop(zk.set_data(&path, None, data).await??),
                    "sync-list" => {
                        same(
                            zk.get_children(&list).await?.map_or(0, |names| names.len()),
                            job.size,
                        )?;
                    }
                    _ => {
                        let mode = CreateMode::EphemeralSequential;
                        drop(zk.create(CREATED, data, Acl::open_unsafe(), mode).await??);
                    }
                }
                if !(if blocking { tally.took(start) } else { tally.did(1) }) {
                    return Ok(());
                }
            }
        }
    })
    .await
}

/// One task for each watch, which sets it again after its event.
async fn watch(job: &Job, zk: &ZooKeeper) -> Result<String> {
    tasks::measure(job.n, job.length, |meter, i| {
        let zk = zk.clone();
        async move {
            let (tally, path) = (meter.tally(i), watched_node(i));
            loop {
                let read = zk.with_watcher().get_data(&path).await?;
                let (event, data, _) = read.ok_or("no node")?;
                same(data.len(), 100)?;
                event.await?;
                if !tally.did(1) {
                    return Ok(());
                }
            }
        }
    })
    .await
}

async fn once(job: &Job, zk: &ZooKeeper) -> Result<()> {
    let path: &'static str = node(100).leak();
    zk.get_data(path).await?;
    match job.work.as_str() {
        "connect" => cue::stamp("answered")?,
        "inflight" => {
            cue::say("ready")?;
            tasks::go().await?;
            let pending: Vec<_> = (0..job.n)
                .map(|_| {
                    let zk = zk.clone();
                    tokio::spawn(async move { zk.get_data(path).await })
                })
                .collect();
            // All were polled once: on a runtime of one thread, this task comes after them.
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            cue::say("full")?;
            for pending in pending {
                same(pending.await??.map_or(0, |(data, _)| data.len()), 100)?;
            }
            cue::say("done")?;
        }
        "watched" => {
            cue::say("ready")?;
            tasks::go().await?;
            let watches = set_watches(job, zk).await?;
            cue::say("full")?;
            tasks::wait_end().await?;
            drop(watches);
            std::process::exit(0);
        }
        // No state is told, and watches are not set again after a cut.
        _ => return Err(NoSuchCall.into()),
    }
    tasks::wait_end().await?;
    std::process::exit(0)
}

async fn set_watches(job: &Job, zk: &ZooKeeper) -> Result<Vec<impl Sized + use<>>> {
    static ROOM: Semaphore = Semaphore::const_new(1000);
    let mut tasks = Vec::with_capacity(job.n);
    for i in 0..job.n {
        let (zk, room) = (zk.clone(), ROOM.acquire().await?);
        tasks.push(tokio::spawn(async move {
            let watch = zk.with_watcher().exists(&missing_node(i)).await;
            drop(room);
            watch.map(|(event, _)| event)
        }));
    }
    let mut watches = Vec::with_capacity(job.n);
    for task in tasks {
        watches.push(task.await??);
    }
    Ok(watches)
}
