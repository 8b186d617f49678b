//! What a mirror has read: between its thread and the handles.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::error::{Error, Result};
use crate::proto::stat::Stat;
use crate::recipes::glob::past::Past;
use crate::recipes::patience::Patience;
use crate::recipes::sight::NodeData;

/// What became of a node of a [`Cache`](crate::recipes::Cache).
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
    changed: Condvar,
}

#[derive(Debug, Default)]
pub(crate) struct Inside {
    pub(crate) nodes: BTreeMap<Arc<str>, Arc<NodeData>>,
    /// Everything that the watch has named was read.
    pub(crate) is_fresh: bool,
    pub(crate) listeners: Vec<Sender<CacheEvent>>,
    /// Why there will be no more.
    pub(crate) ended: Option<Error>,
    /// For those who wait for changes in the order of their transactions.
    pub(crate) past: Option<Past>,
}

impl Inside {
    fn tell(&mut self, event: &CacheEvent) {
        self.listeners.retain(|listener| listener.send(event.clone()).is_ok());
    }

    /// Takes over what was read. Older readings cannot come later: one thread reads.
    pub(super) fn put(&mut self, path: &Arc<str>, node: NodeData) {
        let (path, node) = (path.clone(), Arc::new(node));
        let before = self.nodes.insert(path.clone(), node.clone());
        if let Some(past) = &mut self.past {
            past.put(&path, before.as_deref(), &node);
        }
        let event = match before {
            Some(before) if before.stat.czxid != node.stat.czxid => {
                CacheEvent::Created { path, node }
            }
            Some(before) if before.stat.mzxid == node.stat.mzxid => return,
            Some(before) => CacheEvent::Changed { path, before, node },
            None => CacheEvent::Created { path, node },
        };
        self.tell(&event);
    }

    pub(super) fn remove(&mut self, path: &str) {
        if let Some((path, before)) = self.nodes.remove_entry(path) {
            if let Some(past) = &mut self.past {
                past.remove(&path, &before);
            }
            self.tell(&CacheEvent::Deleted { path, before });
        }
    }

    /// Takes out what is not among `there`, deepest first: parents are deleted last.
    pub(super) fn keep_only(&mut self, there: impl Fn(&str) -> bool) {
        let gone: Vec<_> = self.nodes.keys().filter(|path| !there(path)).cloned().collect();
        gone.iter().rev().for_each(|path| self.remove(path));
    }

    /// The children of a node were listed.
    pub(super) fn listed(&mut self, path: &Arc<str>, stat: &Stat) {
        if let Some(past) = &mut self.past {
            past.listed(path, stat);
        }
    }

    /// All transactions up to `zxid` were heard of, and what they touched was read after them.
    pub(super) fn settled(&mut self, zxid: i64) {
        if let Some(past) = &mut self.past {
            past.settled(zxid);
        }
    }

    /// The session is another: its servers may be behind those of the one before.
    pub(super) fn unsettled(&mut self) {
        self.is_fresh = false;
        if let Some(past) = &mut self.past {
            past.unsettled();
        }
    }

    /// Everything that was heard of was read.
    pub(super) fn fresh(&mut self, zxid: i64) {
        self.is_fresh = true;
        self.settled(zxid);
        if let Some(past) = &mut self.past {
            past.filled();
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
    pub(crate) fn with_past(past: Past) -> Self {
        let inside = Inside { past: Some(past), ..Inside::default() };
        Self { inside: Mutex::new(inside), changed: Condvar::new() }
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Inside)) {
        change(&mut self.inside.lock());
        self.changed.notify_all();
    }

    /// Waits until `look` finds something, the tree's end or that of `patience`.
    pub(crate) fn wait<T>(
        &self,
        patience: &Patience<'_>,
        mut look: impl FnMut(&mut MutexGuard<'_, Inside>) -> Option<T>,
    ) -> Result<T> {
        let mut inside = self.inside.lock();
        loop {
            if let Some(found) = look(&mut inside) {
                return Ok(found);
            }
            if let Some(error) = &inside.ended {
                return Err(error.clone().moved_to(patience.at()));
            }
            patience.check()?;
            let look = Instant::now() + LOOK_EVERY;
            let until = patience.deadline.map_or(look, |deadline| deadline.min(look));
            self.changed.wait_until(&mut inside, until);
        }
    }
}

/// How often a wait looks whether it was cancelled.
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

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
