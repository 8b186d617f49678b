//! Fills a cache and keeps it like the servers' tree: a thread that reads what the watch names.
//!
//! ```text
//!  add a recursive watch ─▶ look at every node ─▶ wait for events ─▶ read what they name ─┐
//!        ▲                        ▲                     ▲                                 │
//!        │ session ended          │ reconnected         └─────────────────────────────────┘
//! ```
//!
//! An event says *that* a node is other than before. The node is read then, whatever the event
//! was, and what is read counts: so events that come late, or together, do no harm, and a node that
//! is not there is one that was deleted.
//!
//! After a reconnect the server tells nothing of what happened meanwhile, so every node is looked
//! at: its stat and the names of its children, in one small answer. Data are read only where they
//! changed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use parking_lot::{Condvar, Mutex};

use crate::client::WeakClient;
use crate::client::op::{self, WatchMode};
use crate::client::session::Session;
use crate::client::watch::Watch;
use crate::error::{Error, Result};
use crate::path;
use crate::proto::code::Code;
use crate::proto::event::EventKind;
use crate::recipes::patience::Patience;
use crate::recipes::sight::NodeData;
use crate::recipes::site::{Site, look};

/// What became of a node of a [`Cache`](super::Cache).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CacheEvent {
    /// A node that is there, and was not, or is another of the same name.
    Created {
        /// Its path.
        path: Arc<str>,
        /// What it holds.
        node: Arc<NodeData>,
    },
    /// A node whose data were set.
    Changed {
        /// Its path.
        path: Arc<str>,
        /// What it held.
        before: Arc<NodeData>,
        /// What it holds.
        node: Arc<NodeData>,
    },
    /// A node that is there no more.
    Deleted {
        /// Its path.
        path: Arc<str>,
        /// What it held.
        before: Arc<NodeData>,
    },
}

/// The tree, between the thread and the handles.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) inside: Mutex<Inside>,
    pub(crate) changed: Condvar,
}

#[derive(Debug, Default)]
pub(crate) struct Inside {
    pub(crate) nodes: BTreeMap<Arc<str>, Arc<NodeData>>,
    /// Everything that the watch has named was read.
    pub(crate) is_fresh: bool,
    pub(crate) listeners: Vec<Sender<CacheEvent>>,
    /// Why there will be no more.
    pub(crate) ended: Option<Error>,
}

impl Inside {
    fn tell(&mut self, event: &CacheEvent) {
        self.listeners.retain(|listener| listener.send(event.clone()).is_ok());
    }

    /// Takes over what was read. Older readings cannot come later: one thread reads.
    fn put(&mut self, path: &Arc<str>, node: NodeData) {
        let (path, node) = (path.clone(), Arc::new(node));
        let event = match self.nodes.insert(path.clone(), node.clone()) {
            Some(before) if before.stat.czxid != node.stat.czxid => {
                CacheEvent::Created { path, node }
            }
            Some(before) if before.stat.mzxid == node.stat.mzxid => return,
            Some(before) => CacheEvent::Changed { path, before, node },
            None => CacheEvent::Created { path, node },
        };
        self.tell(&event);
    }

    fn remove(&mut self, path: &str) {
        if let Some((path, before)) = self.nodes.remove_entry(path) {
            self.tell(&CacheEvent::Deleted { path, before });
        }
    }

    /// The names of the children of `path`, sorted. Looks at each child once or twice, not at what
    /// is below it: that is a stretch of its own in the order of paths, and is jumped over.
    pub(crate) fn children(&self, path: &str) -> BTreeSet<String> {
        let prefix = if path == "/" { String::from("/") } else { format!("{path}/") };
        let mut names = BTreeSet::new();
        let mut after = prefix.clone();
        loop {
            let rest = (Bound::Excluded(after.as_str()), Bound::Unbounded);
            let next = self.nodes.range::<str, _>(rest).next();
            let Some(below) = next.and_then(|(next, _)| next.strip_prefix(prefix.as_str())) else {
                return names;
            };
            after = match below.split_once('/') {
                Some((name, _)) => format!("{prefix}{name}/{}", char::MAX),
                None => {
                    names.insert(below.to_owned());
                    format!("{prefix}{below}")
                }
            };
        }
    }
}

impl Tree {
    pub(crate) fn change(&self, change: impl FnOnce(&mut Inside)) {
        change(&mut self.inside.lock());
        self.changed.notify_all();
    }
}

pub(crate) struct Mirror {
    pub(crate) tree: Arc<Tree>,
    pub(crate) client: WeakClient,
    pub(crate) root: Arc<str>,
    /// Disconnects when the last handle is dropped.
    pub(crate) stop: Receiver<()>,
}

impl Mirror {
    pub(crate) fn run(&self) {
        loop {
            match self.round() {
                Ok(true) => {}
                Ok(false) => return,
                Err(Error::SessionExpired { .. }) if self.may_renew() => {}
                Err(error) => {
                    return self.tree.change(|inside| {
                        inside.is_fresh = false;
                        inside.listeners.clear();
                        inside.ended = Some(error);
                    });
                }
            }
            self.tree.change(|inside| inside.is_fresh = false);
        }
    }

    fn may_renew(&self) -> bool {
        self.client.upgrade().is_some_and(|client| client.scope().pin.is_none())
    }

    fn is_stopped(&self) -> bool {
        self.stop.try_recv() == Err(crossbeam_channel::TryRecvError::Disconnected)
    }

    /// One session. `false` if nobody needs the tree any more.
    fn round(&self) -> Result<bool> {
        let cancelled = || self.is_stopped();
        let patience = Patience::of_thread(&cancelled, "cache", &self.root);
        let watch = {
            let Some(client) = self.client.upgrade() else { return Ok(false) };
            let site = Site::of(client, self.root.clone(), [].into());
            let session = site.session(&patience)?;
            let add = |watcher| op::AddWatch::with(&*self.root, WatchMode::Recursive, watcher);
            let ((), watch) = look(&session, &patience, add)?;
            self.look_at_all(&session, &patience)?;
            watch
        };
        let mut is_due = false;
        loop {
            let mut named = BTreeSet::new();
            while let Ok(event) = watch.try_recv() {
                match event.kind {
                    EventKind::Ended => return Ok(!self.is_stopped()),
                    EventKind::Resync => is_due = true,
                    _ => drop(named.insert(event.path)),
                }
            }
            if named.is_empty() && !is_due {
                self.tree.change(|inside| inside.is_fresh = true);
                // Nothing keeps the client alive while it is only waited.
                if !self.wait(&watch) {
                    return Ok(false);
                }
                continue;
            }
            self.tree.change(|inside| inside.is_fresh = false);
            let Some(client) = self.client.upgrade() else { return Ok(false) };
            let session = client.session()?;
            if std::mem::take(&mut is_due) {
                self.look_at_all(&session, &patience)?;
            }
            self.read(&session, named.into_iter().collect(), &patience)?;
        }
    }

    fn wait(&self, watch: &Watch) -> bool {
        let (bell, rung) = bounded(0);
        watch.ring(bell);
        select! {
            recv(rung) -> _ => true,
            recv(self.stop) -> _ => false,
        }
    }

    /// Looks at the root and everything below, and reads what is other than we know.
    fn look_at_all(&self, session: &Session, patience: &Patience<'_>) -> Result<()> {
        let mut waiting = VecDeque::from([self.root.clone()]);
        let mut asked = VecDeque::new();
        let (mut seen, mut other) = (BTreeSet::new(), Vec::new());
        loop {
            while asked.len() < WINDOW {
                let Some(path) = waiting.pop_front() else { break };
                let list = op::GetChildrenWithStat::new(path.to_string());
                let pending = session.submit_until(list, patience.deadline)?;
                asked.push_back((path, pending));
            }
            let Some((path, pending)) = asked.pop_front() else { break };
            match patience.wait(pending)? {
                Ok((names, stat)) => {
                    waiting.extend(names.iter().map(|name| path::join(&path, name).into()));
                    let known = |inside: &Inside| {
                        inside.nodes.get(&path).is_some_and(|node| {
                            (node.stat.czxid, node.stat.mzxid) == (stat.czxid, stat.mzxid)
                        })
                    };
                    if !known(&self.tree.inside.lock()) {
                        other.push(path.clone());
                    }
                    seen.insert(path);
                }
                Err(error) if error.code() == Some(Code::NoNode) => {}
                Err(error) if error.is_connection() => waiting.push_back(path),
                Err(error) => return Err(error),
            }
        }
        // Parents are created first, and deleted last.
        self.tree.change(|inside| {
            let gone: Vec<_> =
                inside.nodes.keys().filter(|path| !seen.contains(*path)).cloned().collect();
            gone.iter().rev().for_each(|path| inside.remove(path));
        });
        self.read(session, other, patience)
    }

    /// Reads nodes and takes over what they are.
    fn read(&self, session: &Session, paths: Vec<Arc<str>>, patience: &Patience<'_>) -> Result<()> {
        let mut waiting = VecDeque::from(paths);
        let mut asked = VecDeque::new();
        let mut gone = Vec::new();
        loop {
            while asked.len() < WINDOW {
                let Some(path) = waiting.pop_front() else { break };
                let read = op::GetData::new(path.to_string());
                asked.push_back((path, session.submit_until(read, patience.deadline)?));
            }
            let Some((path, pending)) = asked.pop_front() else { break };
            match patience.wait(pending)? {
                Ok((data, stat)) => {
                    self.tree.change(|inside| inside.put(&path, NodeData { data, stat }));
                }
                Err(error) if error.code() == Some(Code::NoNode) => gone.push(path),
                Err(error) if error.is_connection() => waiting.push_back(path),
                Err(error) => return Err(error),
            }
        }
        gone.sort_unstable();
        self.tree.change(|inside| gone.iter().rev().for_each(|path| inside.remove(path)));
        Ok(())
    }
}

/// Requests in flight.
const WINDOW: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::stat::Stat;

    fn tree(paths: &[&str]) -> Inside {
        let mut inside = Inside::default();
        for path in paths {
            let node = NodeData { data: Vec::new(), stat: Stat::default() };
            inside.nodes.insert((*path).into(), Arc::new(node));
        }
        inside
    }

    #[test]
    fn children_are_found_among_neighbours_that_sort_between_them() {
        let paths = ["/", "/a", "/a!", "/a!/x", "/a/b", "/a/b-c", "/a/b-c/y", "/a/b.d", "/a/b/z"];
        let more = ["/a/b/z/deep", "/a/b0", "/a/\u{10fffd}", "/a0/b", "/ab"];
        let inside = tree(&[&paths[..], &more[..]].concat());
        let names = |path| inside.children(path).into_iter().collect::<Vec<_>>();
        assert_eq!(names("/a"), ["b", "b-c", "b.d", "b0", "\u{10fffd}"]);
        assert_eq!(names("/a/b"), ["z"]);
        assert_eq!(names("/"), ["a", "a!", "ab"]);
        assert_eq!(names("/a/b.d"), Vec::<String>::new());
    }
}
