//! What is done once: connecting, filling memory, coming back after a cut, deleting.

use std::thread;

use zookeeper_blocking::op;
use zookeeper_blocking::{Client, Code, CreateMode, Error, SessionState};

use crate::null_server::child;
use crate::wire::{CREATED, LOCK, TREE, list_node, missing_node, node};
use crate::{Job, NoSuchCall, Result, cue};

pub(super) fn run(job: &Job, zk: &Client) -> Result<()> {
    zk.get_data(&node(100))?;
    match job.work.as_str() {
        "connect" => {
            cue::stamp("answered")?;
            cue::wait_end()
        }
        "inflight" => {
            cue::say("ready")?;
            cue::go()?;
            let path = node(100);
            let read = |_| zk.submit(op::GetData::new(path.as_str()));
            let pending: Vec<_> =
                (0..job.n).map(read).collect::<zookeeper_blocking::Result<_>>()?;
            cue::say("full")?;
            for pending in pending {
                super::same(pending.wait()?.0.len(), 100)?;
            }
            cue::say("done")?;
            cue::wait_end()
        }
        "watched" => {
            cue::say("ready")?;
            cue::go()?;
            set_watches(job, zk)?;
            cue::say("full")?;
            cue::wait_end()
        }
        "rearm" => {
            let states = zk.subscribe()?;
            set_watches(job, zk)?;
            cue::say("ready")?;
            thread::spawn(|| {
                let _ = cue::wait_end();
                std::process::exit(0);
            });
            while let Some(state) = states.recv() {
                if state == SessionState::Connected {
                    cue::stamp("resumed")?;
                    zk.get_data(&node(100))?;
                    cue::stamp("answered")?;
                }
            }
            Ok(())
        }
        "delete" => {
            cue::say("ready")?;
            cue::go()?;
            let deleted = zk.delete_recursive(TREE)?;
            cue::say("done")?;
            super::same(deleted, job.n)?;
            cue::wait_end()
        }
        _ => Err(NoSuchCall.into()),
    }
}

fn set_watches(job: &Job, zk: &Client) -> Result<()> {
    let mut pending = Vec::with_capacity(1000);
    for i in 0..job.n {
        let exists = op::Exists::new(missing_node(i)).watch(|_| ());
        pending.push(zk.submit(exists)?);
        if pending.len() == 1000 || i + 1 == job.n {
            for pending in pending.drain(..) {
                pending.wait()?;
            }
        }
    }
    Ok(())
}

/// Makes the nodes that are read, and those that others are made under.
pub fn prepare(address: &str, sizes: &[usize], children: usize) -> Result<()> {
    let zk = Client::connect(address)?;
    for &size in sizes {
        let data = vec![b'x'; size];
        let create = op::Create::new(node(size)).data(data.as_slice());
        ignore_existing(zk.call(create))?;
    }
    let parent = CREATED.rsplit_once('/').map_or("", |(parent, _)| parent);
    for path in [parent, LOCK, &list_node(children)] {
        ignore_existing(zk.create(path, "", CreateMode::Persistent))?;
    }
    make(&zk, &list_node(children), children)?;
    Ok(zk.close()?)
}

/// Makes a tree of `n` nodes, the root included, a hundred wide at the first level.
pub fn grow(address: &str, n: usize) -> Result<()> {
    let zk = Client::connect(address)?;
    // What a client left that did not come to its end.
    zk.delete_recursive(TREE)?;
    zk.create(TREE, "", CreateMode::Persistent)?;
    make(&zk, TREE, 100)?;
    let leaves = n - 101;
    for i in 0..100 {
        let share = leaves / 100 + usize::from(i < leaves % 100);
        make(&zk, &format!("{TREE}/{}", child(i)), share)?;
    }
    Ok(zk.close()?)
}

/// Makes the children of a node.
fn make(zk: &Client, parent: &str, children: usize) -> Result<()> {
    let create = |i| zk.submit(op::Create::new(format!("{parent}/{}", child(i))));
    let pending: Vec<_> = (0..children).map(create).collect::<zookeeper_blocking::Result<_>>()?;
    for pending in pending {
        ignore_existing(pending.wait())?;
    }
    Ok(())
}

fn ignore_existing<T>(created: zookeeper_blocking::Result<T>) -> Result<()> {
    match created {
        Err(Error::Refused { code: Code::NodeExists, .. }) => Ok(()),
        created => Ok(created.map(drop)?),
    }
}
