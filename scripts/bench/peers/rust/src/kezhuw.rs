//! The crate `zookeeper-client`: by tasks, or by OS threads that wait for each call.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use zk_bench::wire::{CREATED, LOCK, list_node, missing_node, node, watched_node};
use zk_bench::{Job, NoSuchCall, Result, cue, measure};
use zookeeper_client::{
    Acls, Client, CreateMode, CreateOptions, EventType, LockPrefix, SessionState, Stat,
};

use crate::{same, tasks};

async fn connect(job: &Job) -> Result<Client> {
    let connector = Client::connector().with_session_timeout(Duration::from_secs(30));
    Ok(connector.connect(&job.address).await?)
}

pub async fn run(job: &Job) -> Result<()> {
    let zk = connect(job).await?;
    let figures = match job.work.as_str() {
        "sync-get" | "sync-set" | "sync-list" | "lock" => sync(job, &zk).await?,
        "pipe-get" | "pipe-set" | "pipe-create" => pipe(job, &zk).await?,
        "watch" => watch(job, &zk).await?,
        _ => return once(job, &zk).await,
    };
    cue::say(&figures)?;
    tasks::wait_end().await?;
    close(zk).await;
    Ok(())
}

/// There is no call for it: the drop of the last handle closes the session.
async fn close(zk: Client) {
    let mut states = zk.state_watcher();
    drop(zk);
    while !states.changed().await.is_terminated() {}
}

pub fn run_threads(job: &Job, runtime: &Runtime) -> Result<()> {
    if !matches!(job.work.as_str(), "sync-get" | "sync-set" | "sync-list") {
        return Err(NoSuchCall.into());
    }
    let zk = runtime.block_on(connect(job))?;
    let figures = measure::measure(job.n, job.length, |tally| {
        let target = Target::new(job);
        loop {
            let start = Instant::now();
            runtime.block_on(target.call(&zk))?;
            if !tally.took(start) {
                return Ok(());
            }
        }
    })?;
    cue::say(&figures)?;
    cue::wait_end()?;
    runtime.block_on(close(zk));
    Ok(())
}

/// What the blocking calls are about.
struct Target {
    job: Job,
    path: String,
    data: Vec<u8>,
}

impl Target {
    fn new(job: &Job) -> Self {
        let path = if job.work == "sync-list" { list_node(job.size) } else { node(job.size) };
        Self { job: job.clone(), path, data: vec![b'x'; job.size] }
    }

    async fn call(&self, zk: &Client) -> Result<()> {
        match self.job.work.as_str() {
            "sync-get" => same(zk.get_data(&self.path).await?.0.len(), self.job.size),
            "sync-set" => Ok(zk.set_data(&self.path, &self.data, None).await.map(drop)?),
            "sync-list" => same(zk.list_children(&self.path).await?.len(), self.job.size),
            _ => {
                // Curator's name of the node: an ephemeral with a GUID before it.
                let prefix = LockPrefix::new_curator(LOCK, "latch-")?;
                let lock = zk.lock(prefix, b"", Acls::anyone_all()).await?;
                let (path, zk) = (lock.lock_path().to_owned(), lock.client());
                Ok(zk.delete(&path, None).await?)
            }
        }
    }
}

async fn sync(job: &Job, zk: &Client) -> Result<String> {
    tasks::measure(job.n, job.length, |meter, i| {
        let (zk, target) = (zk.clone(), Target::new(job));
        async move {
            let tally = meter.tally(i);
            loop {
                let start = Instant::now();
                target.call(&zk).await?;
                if !tally.took(start) {
                    return Ok(());
                }
            }
        }
    })
    .await
}

/// One task keeps `n` requests in flight: a call sends, its future waits. What the futures borrow
/// lives in the task, which a function with closures could not say.
macro_rules! keep {
    ($job:ident, $zk:ident, |$client:ident, $path:ident, $data:ident| $call:expr, $check:expr) => {
        tasks::measure(1, $job.length, |meter, i| {
            let ($client, job) = ($zk.clone(), $job.clone());
            async move {
                let (tally, check) = (meter.tally(i), $check);
                let ($path, $data) = (node(job.size), vec![b'x'; job.size]);
                let mut pending = VecDeque::with_capacity(job.n);
                loop {
                    while pending.len() < job.n {
                        pending.push_back($call);
                    }
                    let Some(oldest) = pending.pop_front() else { return Ok(()) };
                    check(oldest.await?, job.size)?;
                    if !tally.did(1) {
                        return Ok(());
                    }
                }
            }
        })
        .await
    };
}

async fn pipe(job: &Job, zk: &Client) -> Result<String> {
    match job.work.as_str() {
        "pipe-get" => {
            keep!(job, zk, |zk, path, _data| zk.get_data(&path), |got: (Vec<u8>, _), size| {
                let _: &Stat = &got.1;
                same(got.0.len(), size)
            })
        }
        "pipe-set" => {
            keep!(job, zk, |zk, path, data| zk.set_data(&path, &data, None), |_, _| {
                Result::<()>::Ok(())
            })
        }
        _ => keep!(job, zk, |zk, _path, data| zk.create(CREATED, &data, &ephemeral()), |_, _| {
            Result::<()>::Ok(())
        }),
    }
}

fn ephemeral() -> CreateOptions<'static> {
    CreateMode::EphemeralSequential.with_acls(Acls::anyone_all())
}

/// One task for each watch, which sets it again after its event.
async fn watch(job: &Job, zk: &Client) -> Result<String> {
    tasks::measure(job.n, job.length, |meter, i| {
        let zk = zk.clone();
        async move {
            let (tally, path) = (meter.tally(i), watched_node(i));
            loop {
                let (data, _, watcher) = zk.get_and_watch_data(&path).await?;
                same(data.len(), 100)?;
                if watcher.changed().await.event_type != EventType::NodeDataChanged {
                    return Err("another event".into());
                }
                if !tally.did(1) {
                    return Ok(());
                }
            }
        }
    })
    .await
}

async fn once(job: &Job, zk: &Client) -> Result<()> {
    let path: &'static str = node(100).leak();
    zk.get_data(path).await?;
    match job.work.as_str() {
        "connect" => cue::stamp("answered")?,
        "inflight" => {
            cue::say("ready")?;
            tasks::go().await?;
            let pending: Vec<_> = (0..job.n).map(|_| zk.get_data(path)).collect();
            cue::say("full")?;
            for pending in pending {
                same(pending.await?.0.len(), 100)?;
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
        "rearm" => {
            let watches = set_watches(job, zk).await?;
            cue::say("ready")?;
            tasks::end_with_input();
            let mut states = zk.state_watcher();
            loop {
                if states.changed().await == SessionState::SyncConnected {
                    cue::stamp("resumed")?;
                    if zk.get_data(path).await.is_ok() {
                        cue::stamp("answered")?;
                    }
                } else if zk.state().is_terminated() {
                    drop(watches);
                    return Err("the session ended".into());
                }
            }
        }
        _ => return Err(NoSuchCall.into()),
    }
    tasks::wait_end().await?;
    std::process::exit(0)
}

async fn set_watches(job: &Job, zk: &Client) -> Result<Vec<zookeeper_client::OneshotWatcher>> {
    let mut watches = Vec::with_capacity(job.n);
    let paths: Vec<String> = (0..job.n).map(missing_node).collect();
    for batch in paths.chunks(1000) {
        let pending: Vec<_> = batch.iter().map(|path| zk.check_and_watch_stat(path)).collect();
        for pending in pending {
            watches.push(pending.await?.1);
        }
    }
    Ok(watches)
}
