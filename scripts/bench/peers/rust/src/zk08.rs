//! The crate `zookeeper`: blocking calls, and no others.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use zk_bench::measure::measure;
use zk_bench::wire::{TREE, list_node, missing_node, node, watched_node};
use zk_bench::{Job, NoSuchCall, Result, cue};
use zookeeper::{WatchedEvent, WatchedEventType, ZkState, ZooKeeper, ZooKeeperExt};

use crate::same;

/// As many threads wait as the client answers at its best.
const THREADS: usize = 64;

pub fn run(job: &Job) -> Result<()> {
    let zk = ZooKeeper::connect(&job.address, Duration::from_secs(30), |_| ())?;
    let path = node(job.size);
    let data = vec![b'x'; job.size];
    let list = list_node(job.size);
    let figures = match job.work.as_str() {
        "sync-get" => sync(job, || same(zk.get_data(&path, false)?.0.len(), job.size))?,
        "sync-set" => sync(job, || Ok(zk.set_data(&path, data.clone(), None).map(drop)?))?,
        "sync-list" => sync(job, || same(zk.get_children(&list, false)?.len(), job.size))?,
        "watch" => watch(job, &zk)?,
        _ => return once(job, zk),
    };
    cue::say(&figures)?;
    cue::wait_end()?;
    Ok(zk.close()?)
}

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

/// A callback may not wait for an answer, so it tells threads which watch to set again.
fn watch(job: &Job, zk: &ZooKeeper) -> Result<String> {
    let (fired, to_arm) = mpsc::channel::<Option<usize>>();
    let to_arm = Mutex::new(to_arm);
    let events = Arc::new(AtomicU64::new(0));
    for i in 0..job.n {
        fired.send(Some(i))?;
    }
    measure(1, job.length, |tally| {
        let arm = || -> Result<()> {
            loop {
                let next = to_arm.lock().map_err(|_| "poisoned")?.recv()?;
                let Some(i) = next else { return Ok(()) };
                let (fired, events) = (fired.clone(), events.clone());
                let read = zk.get_data_w(&watched_node(i), move |event: WatchedEvent| {
                    if event.event_type == WatchedEventType::NodeDataChanged {
                        events.fetch_add(1, Ordering::Relaxed);
                        let _ = fired.send(Some(i));
                    }
                });
                same(read?.0.len(), 100)?;
            }
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(arm)).collect();
            let mut seen = 0;
            loop {
                thread::sleep(Duration::from_millis(2));
                let now = events.load(Ordering::Relaxed);
                if !tally.did(now - seen) {
                    break;
                }
                seen = now;
            }
            for _ in 0..THREADS {
                fired.send(None)?;
            }
            for thread in threads {
                thread.join().map_err(|_| "a thread panicked")??;
            }
            Ok(())
        })
    })
}

fn once(job: &Job, zk: ZooKeeper) -> Result<()> {
    zk.get_data(&node(100), false)?;
    match job.work.as_str() {
        "connect" => cue::stamp("answered")?,
        "watched" => {
            cue::say("ready")?;
            cue::go()?;
            set_watches(job, &zk)?;
            cue::say("full")?;
        }
        "rearm" => {
            set_watches(job, &zk)?;
            let (resumed, states) = mpsc::channel();
            let resumed = Mutex::new(resumed);
            zk.add_listener(move |state| {
                if state == ZkState::Connected {
                    let _ = cue::stamp("resumed");
                    let _ = resumed.lock().map(|sender| sender.send(()));
                }
            });
            cue::say("ready")?;
            thread::spawn(|| {
                let _ = cue::wait_end();
                std::process::exit(0);
            });
            for () in states {
                if zk.get_data(&node(100), false).is_ok() {
                    cue::stamp("answered")?;
                }
            }
        }
        "delete" => {
            cue::say("ready")?;
            cue::go()?;
            zk.delete_recursive(TREE)?;
            cue::say("done")?;
        }
        _ => return Err(NoSuchCall.into()),
    }
    cue::wait_end()?;
    std::process::exit(0)
}

fn set_watches(job: &Job, zk: &ZooKeeper) -> Result<()> {
    let next = AtomicU64::new(0);
    let set = || -> Result<()> {
        loop {
            let i = usize::try_from(next.fetch_add(1, Ordering::Relaxed))?;
            if i >= job.n {
                return Ok(());
            }
            zk.exists_w(&missing_node(i), |_| ())?;
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(set)).collect();
        for thread in threads {
            thread.join().map_err(|_| "a thread panicked")??;
        }
        Ok(())
    })
}
