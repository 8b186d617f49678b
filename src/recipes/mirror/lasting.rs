//! One recursive watch for all nodes.
//!
//! After a reconnect the server tells nothing of what happened meanwhile, so every node is looked
//! at: its stat and the names of its children, in one small answer. Data are read only where they
//! changed.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crossbeam_channel::Sender;

use super::{Inside, Mirror, WINDOW};
use crate::client::op::{self, WatchMode};
use crate::client::session::Session;
use crate::client::watch::Watch;
use crate::error::Result;
use crate::proto::code::Code;
use crate::recipes::patience::Patience;
use crate::recipes::site::look;
use crate::session::event::WatchedEvent;

pub(super) struct Lasting {
    watch: Watch,
}

impl Lasting {
    pub(super) fn set(root: &str, session: &Session, patience: &Patience<'_>) -> Result<Self> {
        let add = |watcher| op::AddWatch::with(root, WatchMode::Recursive, watcher);
        look(session, patience, add).map(|((), watch)| Self { watch })
    }

    pub(super) fn try_recv(&self) -> Option<WatchedEvent> {
        self.watch.try_recv().ok()
    }

    pub(super) fn ring(&self, bell: Sender<()>) {
        self.watch.ring(bell);
    }

    /// Looks at the root and everything below, and reads what is other than we know.
    pub(super) fn look_at_all(
        &self,
        mirror: &Mirror,
        session: &Session,
        patience: &Patience<'_>,
    ) -> Result<()> {
        let mut waiting = VecDeque::from([mirror.root.clone()]);
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
                    waiting.extend(mirror.listed(&path, &names, &stat));
                    let known = |inside: &Inside| {
                        inside.nodes.get(&path).is_some_and(|node| {
                            (node.stat.czxid, node.stat.mzxid) == (stat.czxid, stat.mzxid)
                        })
                    };
                    if !known(&mirror.tree.inside.lock()) {
                        other.push(path.clone());
                    }
                    seen.insert(path);
                }
                Err(error) if error.code() == Some(Code::NoNode) => {}
                Err(error) if error.is_connection() => waiting.push_back(path),
                Err(error) => return Err(error),
            }
        }
        mirror.tree.change(|inside| inside.keep_only(|path| seen.contains(path)));
        self.read(mirror, session, other, patience)
    }

    /// Reads nodes and takes over what they are.
    pub(super) fn read(
        &self,
        mirror: &Mirror,
        session: &Session,
        paths: Vec<Arc<str>>,
        patience: &Patience<'_>,
    ) -> Result<()> {
        let mut waiting = VecDeque::from(paths);
        let mut asked = VecDeque::new();
        let mut gone = BTreeSet::new();
        loop {
            while asked.len() < WINDOW {
                let Some(path) = waiting.pop_front() else { break };
                let read = op::GetData::new(path.to_string());
                asked.push_back((path, session.submit_until(read, patience.deadline)?));
            }
            let Some((path, pending)) = asked.pop_front() else { break };
            match patience.wait(pending)? {
                Ok((data, stat)) => mirror.put(&path, data, stat),
                Err(error) if error.code() == Some(Code::NoNode) => drop(gone.insert(path)),
                Err(error) if error.is_connection() => waiting.push_back(path),
                Err(error) => return Err(error),
            }
        }
        mirror.tree.change(|inside| gone.iter().rev().for_each(|path| inside.remove(path)));
        Ok(())
    }
}
