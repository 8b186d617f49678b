//! The server's log as judge of who held what: at each zxid the tree is as the log has it so far, so
//! there is no clock in it.
//!
//! Whoever holds leaves marks: he writes the fence that he holds by into a node, each time he
//! believes that he holds. The log tells whether he was the first in line when that was done.

use std::collections::BTreeMap;

use crate::locks::sequence;
use crate::support::server::Node;
use crate::support::txnlog::{self, Change, Txn};
use crate::support::wire::op;

/// A node whose children are contenders or leases: each ephemeral, all gone with their session.
#[derive(Debug)]
pub(crate) struct Room {
    prefix: String,
    here: BTreeMap<String, Here>,
}

/// One child of a [`Room`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Here {
    pub(crate) session: i64,
    pub(crate) czxid: i64,
}

impl Room {
    pub(crate) fn new(path: &str) -> Self {
        Self { prefix: format!("{path}/"), here: BTreeMap::new() }
    }

    /// What the transaction does to it.
    pub(crate) fn step(&mut self, txn: &Txn) {
        if txn.op == op::CLOSE_SESSION {
            self.here.retain(|_, here| here.session != txn.session);
        }
        for change in &txn.changes {
            let Some(name) = change.path.strip_prefix(&self.prefix) else { continue };
            match change.op {
                op::CREATE | op::CREATE2 if !name.contains('/') => {
                    let here = Here { session: txn.session, czxid: txn.zxid };
                    let known = self.here.insert(name.to_owned(), here);
                    assert!(known.is_none(), "{}: made twice", change.path);
                }
                op::DELETE => drop(self.here.remove(name)),
                _ => {}
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.here.len()
    }

    /// Whose turn it is: of those with a number the smallest.
    pub(crate) fn first(&self) -> Option<Here> {
        self.here.iter().min_by_key(|(name, _)| sequence(name)).map(|(_, here)| *here)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.here.keys().map(String::as_str)
    }

    /// The one of this fence, and those before it in the order of their numbers.
    #[track_caller]
    pub(crate) fn line_of(&self, fence: i64) -> (String, Vec<String>) {
        let own = self.here.iter().find(|(_, here)| here.czxid == fence);
        let (own, _) = own.expect("the fence of one that is here");
        let is_before = |name: &&String| sequence(name) < sequence(own);
        (own.clone(), self.here.keys().filter(is_before).cloned().collect())
    }

    pub(crate) fn of_fence(&self, fence: i64) -> Option<Here> {
        self.here.values().find(|here| here.czxid == fence).copied()
    }
}

/// A line in which one holds at a time, and the node that holders mark.
#[derive(Debug)]
pub(crate) struct Line {
    room: Room,
    mark: String,
    marks: usize,
    last: i64,
}

impl Line {
    pub(crate) fn new(path: &str, mark: &str) -> Self {
        Self { room: Room::new(path), mark: mark.to_owned(), marks: 0, last: 0 }
    }

    /// Who marks is first in line, in the session that stands there, and his fence is not smaller
    /// than one that was marked before.
    #[track_caller]
    pub(crate) fn step(&mut self, txn: &Txn) {
        for fence in marks(txn, &self.mark) {
            let (zxid, first) = (txn.zxid, self.room.first());
            let is_first = first.is_some_and(|it| (it.czxid, it.session) == (fence, txn.session));
            assert!(
                is_first,
                "{}: 0x{fence:x} of 0x{:x} marked at 0x{zxid:x}, when it was the turn of {first:x?}",
                self.mark, txn.session
            );
            assert!(fence >= self.last, "0x{fence:x} after 0x{:x}, at 0x{zxid:x}", self.last);
            self.last = fence;
            self.marks += 1;
        }
        self.room.step(txn);
    }

    /// How often it was marked.
    pub(crate) fn marks(&self) -> usize {
        self.marks
    }
}

/// The fences that the transaction writes into this node.
pub(crate) fn marks<'t>(txn: &'t Txn, node: &'t str) -> impl Iterator<Item = i64> + 't {
    let is_mark = move |change: &&Change| change.op == op::SET_DATA && change.path == node;
    txn.changes.iter().filter(is_mark).map(|change| {
        let data = change.data.as_deref().unwrap_or_default();
        String::from_utf8_lossy(data).parse().expect("a fence")
    })
}

/// The transactions of an ensemble of three, oldest first: those that two have in their logs. One
/// alone may have what never came to be, and lack what it was given in a snapshot.
#[track_caller]
pub(crate) fn committed(nodes: &[Node]) -> Vec<Txn> {
    let mut found: BTreeMap<i64, (Txn, usize)> = BTreeMap::new();
    for node in nodes {
        for txn in txnlog::read(&node.data()) {
            let known = found.entry(txn.zxid).or_insert_with(|| (txn.clone(), 0));
            assert_eq!(known.0, txn, "server {}: another of this zxid", node.id());
            known.1 += 1;
        }
    }
    found.into_values().filter(|(_, count)| *count > nodes.len() / 2).map(|(txn, _)| txn).collect()
}
