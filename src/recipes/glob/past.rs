//! What a mirror knows of transactions: which is the next that touched a matching node.
//!
//! A tree that is read node by node is of no one moment. If B is seen to be set by transaction 9,
//! then A, which was read before, may have been set by 8 meanwhile; who is told of 9 and asks for
//! what came after it would never hear of 8. But the server sends an event before it shows anybody
//! its change: when 9 was seen, the event of 8 was in our queue. So a transaction is told only once
//! all that was in the queue then has been read: once it is *settled*.
//!
//! A node that is set again faster than it can be read has no settled transaction at any time.
//! One is remembered for it ([`Past::first`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::proto::stat::Stat;
use crate::recipes::glob::pattern::Pattern;
use crate::recipes::glob::{GlobChange, GlobNews};
use crate::recipes::sight::NodeData;

type Nodes = BTreeMap<Arc<str>, Arc<NodeData>>;

#[derive(Debug)]
pub(crate) struct Past {
    pattern: Arc<Pattern>,
    root: Arc<str>,
    /// The nodes that match, by the last transaction that set their data. One transaction may have
    /// set several.
    set: BTreeSet<(i64, Arc<str>)>,
    /// Those that are gone, and nobody was told.
    gone: Nodes,
    /// Of the nodes above those that match, as they were found at first: the transaction that
    /// changed the list of children last, and that which made the node.
    lists: BTreeSet<(i64, Arc<str>, i64)>,
    /// What was told while lists were left to tell: up to where its reader knew then what it had not
    /// heard here.
    origins: BTreeMap<i64, i64>,
    /// All was read once.
    is_filled: bool,
    settled: i64,
    /// The largest that ever was settled.
    known: i64,
    /// One that is not settled, and may be overtaken.
    first: Option<(i64, Arc<str>)>,
}

impl Past {
    pub(crate) fn new(pattern: Arc<Pattern>, root: Arc<str>) -> Self {
        Self {
            pattern,
            root,
            set: BTreeSet::new(),
            gone: BTreeMap::new(),
            lists: BTreeSet::new(),
            origins: BTreeMap::new(),
            is_filled: false,
            settled: 0,
            known: 0,
            first: None,
        }
    }

    pub(crate) fn put(&mut self, path: &Arc<str>, before: Option<&NodeData>, node: &NodeData) {
        if !self.pattern.matches(path) {
            return;
        }
        self.gone.remove(path);
        if let Some(before) = before {
            self.set.remove(&(before.stat.mzxid, path.clone()));
        }
        self.set.insert((node.stat.mzxid, path.clone()));
    }

    pub(crate) fn remove(&mut self, path: &Arc<str>, before: &Arc<NodeData>) {
        if self.set.remove(&(before.stat.mzxid, path.clone())) {
            self.gone.insert(path.clone(), before.clone());
        }
    }

    pub(crate) fn listed(&mut self, path: &Arc<str>, stat: &Stat) {
        if !self.is_filled && self.pattern.leads(path) {
            self.lists.insert((stat.pzxid, path.clone(), stat.czxid));
        }
    }

    pub(crate) fn filled(&mut self) {
        self.is_filled = true;
    }

    pub(crate) fn settled(&mut self, zxid: i64) {
        self.settled = self.settled.max(zxid);
        self.known = self.known.max(zxid);
    }

    /// Another session, whose servers may be behind.
    pub(crate) fn unsettled(&mut self) {
        self.settled = 0;
    }

    pub(crate) fn known(&self) -> i64 {
        self.known
    }

    /// The next transaction after `from` of which something is left to see; before it, those nodes
    /// that are gone.
    pub(crate) fn next(&mut self, nodes: &Nodes, from: i64) -> Option<GlobNews> {
        if !self.gone.is_empty() {
            let gone = std::mem::take(&mut self.gone).into_iter();
            let changes = gone.map(|(path, before)| GlobChange::Deleted { path, before }).collect();
            return Some(GlobNews { zxid: from, changes });
        }
        let news = self.next_transaction(nodes, from)?;
        // No list is asked for beyond the last of them.
        if self.lists.last().is_some_and(|last| news.zxid < last.0) {
            let origin = self.origin(from);
            let known = self.origins.entry(news.zxid).or_insert(origin);
            *known = origin.max(*known);
        }
        Some(news)
    }

    fn next_transaction(&mut self, nodes: &Nodes, from: i64) -> Option<GlobNews> {
        let after = from.saturating_add(1);
        let origin = self.origin(from);
        let set = self.set.range((after, "".into())..).next().cloned();
        let lists = self.lists.range((after, "".into(), 0)..);
        let list = lists.filter(|list| self.is_unclear(list, origin)).map(|list| list.0).next();
        let zxid = [set.as_ref().map(|set| set.0), list].into_iter().flatten().min();
        if let Some(zxid) = zxid.filter(|zxid| *zxid <= self.settled) {
            return Some(GlobNews { zxid, changes: self.changes_of(zxid, nodes, from) });
        }
        // Nothing is settled. What was seen first may be by now, though its node was set again.
        if let Some((zxid, path)) = self.first.take().filter(|first| first.0 > from) {
            if let Some(node) = nodes.get(&path) {
                if zxid <= self.settled {
                    let changes = vec![GlobChange::of(&path, node, from)];
                    return Some(GlobNews { zxid, changes });
                }
                self.first = Some((zxid, path));
                return None;
            }
        }
        self.first = set;
        None
    }

    fn changes_of(&self, zxid: i64, nodes: &Nodes, from: i64) -> Vec<GlobChange> {
        let set = self.set.range((zxid, "".into())..).take_while(|set| set.0 == zxid);
        let set = set.filter_map(|(_, path)| Some(GlobChange::of(path, nodes.get(path)?, from)));
        let lists = self.lists.range((zxid, "".into(), 0)..).take_while(|list| list.0 == zxid);
        let origin = self.origin(from);
        let unclear = lists.filter(|list| self.is_unclear(list, origin));
        set.chain(unclear.map(|list| GlobChange::Unclear { path: list.1.clone() })).collect()
    }

    /// Up to where who passes `from` knew the tree when nobody watched.
    fn origin(&self, from: i64) -> i64 {
        self.origins.get(&from).copied().unwrap_or(from)
    }

    /// Whether who knew the node's children as they were at `origin` cannot know which are gone. Who
    /// knew nothing, or not this node, misses none of them; but if it is the root, nobody else
    /// tells that it was another then.
    fn is_unclear(&self, (_, path, czxid): &(i64, Arc<str>, i64), origin: i64) -> bool {
        origin > 0 && (*czxid <= origin || *path == self.root)
    }
}

impl GlobChange {
    fn of(path: &Arc<str>, node: &Arc<NodeData>, from: i64) -> Self {
        let (path, node) = (path.clone(), node.clone());
        if node.stat.czxid > from {
            Self::Created { path, node }
        } else {
            Self::Changed { path, node }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(czxid: i64, mzxid: i64) -> Arc<NodeData> {
        let stat = Stat { czxid, mzxid, ..Stat::default() };
        Arc::new(NodeData { data: Vec::new(), stat })
    }

    struct Table {
        past: Past,
        nodes: Nodes,
    }

    impl Table {
        fn new() -> Self {
            let pattern = Arc::new(Pattern::parse("/a/*").expect("a pattern"));
            Self { past: Past::new(pattern, "/a".into()), nodes: Nodes::new() }
        }

        fn put(&mut self, path: &str, czxid: i64, mzxid: i64) {
            let (path, node) = (Arc::from(path), node(czxid, mzxid));
            let before = self.nodes.insert(Arc::clone(&path), node.clone());
            self.past.put(&path, before.as_deref(), &node);
        }

        fn remove(&mut self, path: &str) {
            let (path, before) = self.nodes.remove_entry(path).expect("there");
            self.past.remove(&path, &before);
        }

        fn next(&mut self, from: i64) -> Option<(i64, Vec<String>)> {
            let news = self.past.next(&self.nodes, from)?;
            let change = |change: &GlobChange| match change {
                GlobChange::Created { path, .. } => format!("+{path}"),
                GlobChange::Changed { path, .. } => format!("={path}"),
                GlobChange::Deleted { path, .. } => format!("-{path}"),
                GlobChange::Unclear { path } => format!("?{path}"),
            };
            Some((news.zxid, news.changes.iter().map(change).collect()))
        }
    }

    fn news(zxid: i64, changes: &[&str]) -> Option<(i64, Vec<String>)> {
        Some((zxid, changes.iter().map(ToString::to_string).collect()))
    }

    #[test]
    fn transactions_come_in_their_order_and_with_all_their_nodes() {
        let mut table = Table::new();
        table.put("/a/z", 3, 7);
        table.put("/a/x", 5, 5);
        table.put("/a/y", 7, 7);
        table.put("/a", 1, 6);
        assert_eq!(table.next(0), None, "none of it is settled");
        table.past.settled(6);
        assert_eq!(table.next(0), news(5, &["+/a/x"]));
        assert_eq!(table.next(5), None, "7 is not settled");
        table.past.settled(7);
        assert_eq!(table.next(5), news(7, &["+/a/y", "=/a/z"]));
        assert_eq!(table.next(7), None);
        assert_eq!(table.next(2), news(5, &["+/a/x"]));
        assert_eq!(table.past.known(), 7);
    }

    #[test]
    fn node_that_is_never_settled_is_told_by_an_earlier_transaction() {
        let mut table = Table::new();
        table.put("/a/x", 1, 10);
        assert_eq!(table.next(5), None);
        // Read again before what was heard with it was settled, again and again.
        table.put("/a/x", 1, 20);
        table.past.settled(10);
        assert_eq!(table.next(5), news(10, &["=/a/x"]));
        assert_eq!(table.next(10), None);
        table.put("/a/x", 1, 30);
        table.past.settled(20);
        assert_eq!(table.next(10), news(20, &["=/a/x"]));
        table.past.settled(30);
        assert_eq!(table.next(20), news(30, &["=/a/x"]));
        assert_eq!(table.next(30), None);
    }

    #[test]
    fn earlier_transaction_of_another_node_goes_before_it() {
        let mut table = Table::new();
        table.put("/a/x", 1, 10);
        assert_eq!(table.next(5), None);
        table.put("/a/x", 1, 20);
        table.put("/a/y", 1, 8);
        table.past.settled(10);
        assert_eq!(table.next(5), news(8, &["=/a/y"]));
        assert_eq!(table.next(8), news(10, &["=/a/x"]));
    }

    #[test]
    fn deletions_go_first_and_move_nobody_on() {
        let mut table = Table::new();
        table.put("/a/x", 1, 10);
        table.put("/a/y", 1, 11);
        table.past.settled(11);
        table.remove("/a/x");
        assert_eq!(table.next(5), news(5, &["-/a/x"]));
        assert_eq!(table.next(5), news(11, &["=/a/y"]));
        // One that was made again meanwhile is not gone.
        table.remove("/a/y");
        table.put("/a/y", 14, 14);
        table.past.settled(14);
        assert_eq!(table.next(11), news(14, &["+/a/y"]));
    }

    #[test]
    fn lists_that_changed_before_anybody_watched_are_unclear_to_whoever_knew_them() {
        let mut table = Table::new();
        let stat = |czxid, pzxid| Stat { czxid, pzxid, ..Stat::default() };
        table.past.listed(&"/a".into(), &stat(2, 9));
        table.past.listed(&"/a/x".into(), &stat(3, 9));
        table.put("/a/x", 3, 8);
        table.past.settled(9);
        table.past.filled();
        table.past.listed(&"/a".into(), &stat(2, 12));
        table.past.settled(12);
        assert_eq!(table.next(0), news(8, &["+/a/x"]));
        assert_eq!(table.next(8), None, "who knew nothing misses nothing");
        assert_eq!(table.next(4), news(8, &["=/a/x"]));
        assert_eq!(table.next(8), news(9, &["?/a"]));
        assert_eq!(table.next(9), None);
    }

    #[test]
    fn list_of_a_node_that_was_made_since_hides_nothing_from_whoever_hears_of_it_here() {
        let mut table = Table::new();
        let stat = |czxid, pzxid| Stat { czxid, pzxid, ..Stat::default() };
        table.past.pattern = Arc::new(Pattern::parse("/a/**").expect("a pattern"));
        table.past.listed(&"/a".into(), &stat(2, 8));
        table.past.listed(&"/a/x".into(), &stat(8, 9));
        table.put("/a/x", 8, 8);
        table.put("/a/x/y", 9, 9);
        table.past.settled(9);
        table.past.filled();
        assert_eq!(table.next(5), news(8, &["+/a/x", "?/a"]));
        assert_eq!(table.next(8), news(9, &["+/a/x/y"]));
        // Somebody who comes with 8 from elsewhere may have known other children of it.
        let mut other = Table::new();
        other.past.listed(&"/a".into(), &stat(8, 9));
        other.past.settled(9);
        assert_eq!(other.next(8), news(9, &["?/a"]));
    }

    #[test]
    fn nothing_is_settled_in_a_new_session() {
        let mut table = Table::new();
        table.past.settled(20);
        table.past.unsettled();
        table.put("/a/x", 1, 10);
        assert_eq!(table.next(5), None);
        assert_eq!(table.past.known(), 20);
        table.past.settled(10);
        assert_eq!(table.next(5), news(10, &["=/a/x"]));
    }
}
