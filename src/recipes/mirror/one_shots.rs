//! Two one-shot watches a node, for servers that know no others: one on its data, one on its
//! children. A root that is not there has one that waits for it.
//!
//! Each node that is known is watched, or its event is in the queue and it is about to be visited.
//! A visit reads what is not watched, and watches it in the same request; it goes on with the
//! children that it finds and did not know. So a child that came or went is told by its parent's
//! watch, or was in a list that the parent's watch was set with.
//!
//! After a reconnect nothing has to be read: the client sets such watches anew, and the server then
//! tells of what they missed.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use crossbeam_channel::Sender;

use super::{Mirror, WINDOW};
use crate::client::Pending;
use crate::client::chroot::Chroot;
use crate::client::gathering::Gathering;
use crate::client::op;
use crate::client::session::Session;
use crate::client::watch::ArmedWatch;
use crate::error::{Error, Result};
use crate::proto::code::Code;
use crate::proto::event::EventKind;
use crate::proto::stat::Stat;
use crate::recipes::patience::Patience;
use crate::session::event::WatchedEvent;

pub(super) struct OneShots {
    gathering: Gathering,
    chroot: Chroot,
    /// By path, of the nodes that are there; and of the root.
    armed: HashMap<Arc<str>, Armed>,
}

#[derive(Default)]
struct Armed {
    data: Option<ArmedWatch>,
    children: Option<ArmedWatch>,
}

/// Requests that are under way.
struct Visit {
    path: Arc<str>,
    data: Option<Asked<(Vec<u8>, Stat)>>,
    children: Option<Asked<(Vec<String>, Stat)>>,
}

/// A read, and the watch that it sets.
type Asked<T> = (Pending<T>, Option<ArmedWatch>);

/// What a read of one half of a node found.
enum Found<T> {
    /// It was not asked for: it is watched.
    Watched,
    There(T),
    Gone,
    /// The answer was lost.
    Unknown,
}

impl OneShots {
    pub(super) fn new(session: &Session) -> Self {
        let chroot = session.scope().chroot.clone();
        Self { gathering: Gathering::new(), chroot, armed: HashMap::new() }
    }

    /// The next event, which has spent its watch.
    pub(super) fn try_recv(&mut self) -> Option<WatchedEvent> {
        let mut event = self.gathering.try_recv()?;
        event.path = self.chroot.up(event.path);
        if let Some(armed) = self.armed.get_mut(&event.path) {
            match event.kind {
                EventKind::ChildrenChanged => armed.children = None,
                EventKind::Deleted => *armed = Armed::default(),
                _ => armed.data = None,
            }
        }
        Some(event)
    }

    pub(super) fn ring(&self, bell: Sender<()>) {
        self.gathering.ring(bell);
    }

    /// Reads the root and everything below.
    pub(super) fn visit_all(
        &mut self,
        mirror: &Mirror,
        session: &Session,
        patience: &Patience<'_>,
    ) -> Result<()> {
        self.visit(mirror, session, [mirror.root.clone()].into(), patience)?;
        mirror.tree.change(|inside| inside.keep_only(|path| self.armed.contains_key(path)));
        Ok(())
    }

    /// Reads nodes and takes over what they are, and what is found to be new below them.
    pub(super) fn visit(
        &mut self,
        mirror: &Mirror,
        session: &Session,
        paths: BTreeSet<Arc<str>>,
        patience: &Patience<'_>,
    ) -> Result<()> {
        let mut waiting = VecDeque::from_iter(paths);
        let mut asked = VecDeque::new();
        let mut gone = BTreeSet::new();
        loop {
            while asked.len() < WINDOW {
                let Some(path) = waiting.pop_front() else { break };
                asked.push_back(self.ask(path, mirror, session, patience)?);
            }
            let Some(Visit { path, data, children }) = asked.pop_front() else { break };
            let (data, data_watch) = answer(data, patience)?;
            let (children, children_watch) = answer(children, patience)?;
            let lost = matches!(data, Found::Unknown) || matches!(children, Found::Unknown);
            // One that was made again between the two reads is read again. One that was deleted
            // between them is named by the event of the first.
            let again = matches!((&data, &children), (Found::Gone, Found::There(_)));
            let is_gone = matches!(data, Found::Gone)
                || (matches!(children, Found::Gone) && !matches!(data, Found::There(_)));
            if is_gone && !again && !lost {
                self.armed.remove(&path);
                gone.insert(path.clone());
                if path == mirror.root && self.await_root(mirror, session, patience)? {
                    waiting.push_back(path);
                }
                continue;
            }
            let armed = self.armed.entry(path.clone()).or_default();
            armed.data = data_watch.or_else(|| armed.data.take());
            armed.children = children_watch.or_else(|| armed.children.take());
            if let Found::There((data, stat)) = data {
                gone.remove(&path);
                mirror.put(&path, data, stat);
            }
            if let Found::There((names, stat)) = children {
                let below = mirror.listed(&path, &names, &stat);
                waiting.extend(below.filter(|child| !self.armed.contains_key(child)));
            }
            if again || lost {
                waiting.push_back(path);
            }
        }
        mirror.tree.change(|inside| gone.iter().rev().for_each(|path| inside.remove(path)));
        Ok(())
    }

    /// Asks for what is not watched of a node.
    fn ask(
        &self,
        path: Arc<str>,
        mirror: &Mirror,
        session: &Session,
        patience: &Patience<'_>,
    ) -> Result<Visit> {
        let (deadline, armed) = (patience.deadline, self.armed.get(&path));
        let mut visit = Visit { path, data: None, children: None };
        let path = &*visit.path;
        if armed.is_none_or(|armed| armed.data.is_none()) {
            let read = |watcher| op::GetData::new(path.to_owned()).watcher(watcher);
            visit.data = Some(self.gathering.submit(session, read, deadline)?);
        }
        if mirror.leads(path) && armed.is_none_or(|armed| armed.children.is_none()) {
            let list = |watcher| op::GetChildrenWithStat::new(path.to_owned()).watcher(watcher);
            visit.children = Some(self.gathering.submit(session, list, deadline)?);
        }
        Ok(visit)
    }

    /// Watches for the root to come. Says whether it is there already.
    fn await_root(
        &mut self,
        mirror: &Mirror,
        session: &Session,
        patience: &Patience<'_>,
    ) -> Result<bool> {
        loop {
            patience.check()?;
            let exists = |watcher| op::Exists::new(mirror.root.to_string()).watcher(watcher);
            let asked = self.gathering.submit(session, exists, patience.deadline)?;
            let (found, watch) = answer(Some(asked), patience)?;
            match found {
                Found::There(None) => {
                    let armed = Armed { data: watch, children: None };
                    self.armed.insert(mirror.root.clone(), armed);
                    return Ok(false);
                }
                Found::Unknown => {}
                _ => return Ok(true),
            }
        }
    }
}

/// Waits for the answer. The watch is worth something if the node is there, or may come.
fn answer<T>(
    asked: Option<Asked<T>>,
    patience: &Patience<'_>,
) -> Result<(Found<T>, Option<ArmedWatch>)> {
    let Some((pending, watch)) = asked else { return Ok((Found::Watched, None)) };
    match patience.wait(pending)? {
        Ok(reply) => Ok((Found::There(reply), watch)),
        Err(error) if error.code() == Some(Code::NoNode) => Ok((Found::Gone, None)),
        Err(error) if error.is_connection() => Ok((Found::Unknown, None)),
        Err(error) => Err::<_, Error>(error),
    }
}
