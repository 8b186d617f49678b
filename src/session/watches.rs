//! Who watches what.
//!
//! One table, path to watchers, owned by the IO thread. A watcher enters with the reply that
//! armed it on the server and leaves with its event, with its handle, or with the session. The
//! table also knows what the *server* still holds, since taking a watch back there is coarser
//! than taking it back here:
//!
//! * Servers before 3.9 keep one mode per connection, path and table: a one-shot watch set on a
//!   path with a persistent one *replaces* it (ZOOKEEPER-4466). So a one-shot read under a
//!   persistent watch of ours is not armed at all: the persistent one brings its event
//!   ([`Watches::arming`]).
//! * The same servers send no `ChildrenChanged` for a path whose mode is recursive, whoever else
//!   watches its children; they send the child's own event. So that is taken for both
//!   ([`Watches::implied`]), and the server's word, where it comes as well, is not told twice.
//! * `removeWatches` of one kind may take another with it. So a watch is taken back on the server
//!   only when that cannot hurt what is left; else it stays, its events find nobody, and it goes
//!   with the last watcher of the path ([`Entry::stale`]).
//! * While a request that arms a path is in flight, nothing on that path is taken back: the
//!   removal would reach the server after it ([`Entry::arming`]).

mod few;
mod kind;

use std::collections::HashMap;
use std::sync::Arc;

use few::Few;
pub(crate) use kind::WatchKind;

use crate::path;
use crate::proto::event::{EventKind, SetWatches};

/// The name of one watch, given out by the client floor, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct WatchId(pub(crate) u64);

/// What to ask of the server after a watcher left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disarm {
    Nothing,
    /// Send removeWatches with this `WatcherType`: 1 children, 2 data, 3 any. The finer types 4
    /// and 5 are unknown to servers before 3.9.
    Remove(i32),
}

#[derive(Debug)]
struct Watcher<W> {
    id: WatchId,
    kind: WatchKind,
    sink: W,
}

#[derive(Debug)]
struct Entry<W> {
    watchers: Few<Watcher<W>>,
    /// Requests in flight that arm this path; of them, those that add a persistent watch.
    arming: u32,
    arming_lasting: u32,
    /// The server holds more than `watchers` need.
    stale: bool,
}

impl<W> Entry<W> {
    fn any(&self, wanted: impl Fn(WatchKind) -> bool) -> bool {
        self.watchers.as_slice().iter().any(|w| wanted(w.kind))
    }

    fn is_unused(&self) -> bool {
        matches!(self.watchers, Few::None) && self.arming == 0
    }

    /// Whether a one-shot watch of `kind` is covered by a persistent watch which the server holds
    /// or is about to hold, and so must not be armed.
    fn covers(&self, kind: WatchKind) -> bool {
        self.arming_lasting > 0
            || self.any(|k| match k {
                WatchKind::Persistent => true,
                WatchKind::Recursive => kind != WatchKind::Child,
                _ => false,
            })
    }
}

/// How many watchers there are.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    all: usize,
    /// Those that stay.
    lasting: usize,
    /// Of them, the recursive ones; if none, events need not look at ancestors.
    recursive: usize,
}

impl Count {
    fn add(&mut self, kind: WatchKind) {
        self.all += 1;
        self.lasting += usize::from(!kind.is_one_shot());
        self.recursive += usize::from(kind == WatchKind::Recursive);
    }

    fn remove(&mut self, kind: WatchKind) {
        self.all -= 1;
        self.lasting -= usize::from(!kind.is_one_shot());
        self.recursive -= usize::from(kind == WatchKind::Recursive);
    }
}

/// The table. `W` is the opaque token that the floors above get back with each event.
#[derive(Debug)]
pub(crate) struct Watches<W> {
    entries: HashMap<Arc<str>, Entry<W>>,
    count: Count,
    /// The path of the last implied event, until another comes or a watch is armed.
    implied: Option<Arc<str>>,
}

impl<W> Watches<W> {
    pub(crate) fn new() -> Self {
        Self { entries: HashMap::new(), count: Count::default(), implied: None }
    }

    /// The number of watchers.
    pub(crate) fn len(&self) -> usize {
        self.count.all
    }

    /// Notes that a request which arms `path` goes out. False if it must not ask for the watch: a
    /// one-shot one under a persistent one that brings its event.
    pub(crate) fn arming(&mut self, path: &Arc<str>, kind: WatchKind) -> bool {
        let entry = self.entries.entry(path.clone()).or_default();
        let ask = !kind.is_one_shot() || !entry.covers(kind);
        entry.arming += 1;
        if !kind.is_one_shot() {
            entry.arming_lasting += 1;
        }
        ask
    }

    /// Whether a lasting watch sits on `path`.
    pub(crate) fn is_shared(&self, path: &str) -> bool {
        self.entries
            .get(path)
            .is_some_and(|entry| entry.arming_lasting > 0 || entry.any(|k| !k.is_one_shot()))
    }

    /// The reply came and armed the watch: from here on it hears events.
    pub(crate) fn armed(&mut self, path: &Arc<str>, kind: WatchKind, id: WatchId, sink: W) {
        // The server's next event may be of after this, so none is a repetition any more.
        self.implied = None;
        self.count.add(kind);
        let entry = self.entries.entry(path.clone()).or_default();
        entry.settle(kind);
        entry.watchers.push(Watcher { id, kind, sink });
    }

    /// The request failed: nothing was armed. Tells whether the server now holds a watch on `path`
    /// that nobody wants: one that was given up while this request was under way.
    pub(crate) fn not_armed(&mut self, path: &str, kind: WatchKind) -> Disarm {
        let Some(entry) = self.entries.get_mut(path) else { return Disarm::Nothing };
        entry.settle(kind);
        if !entry.is_unused() {
            return Disarm::Nothing;
        }
        let stale = entry.stale;
        self.entries.remove(path);
        if stale { Disarm::Remove(3) } else { Disarm::Nothing }
    }

    /// Whether `path` is watched, or about to be.
    pub(crate) fn is_in_use(&self, path: &str) -> bool {
        self.entries.get(path).is_some_and(|entry| !entry.is_unused())
    }

    /// Whether both kinds of lasting watch sit on `path`. Servers before 3.9 then hold only the
    /// one that was added last in their data table, so the recursive one must be added again.
    pub(crate) fn has_both_lasting(&self, path: &str) -> bool {
        self.entries.get(path).is_some_and(|entry| {
            entry.any(|k| k == WatchKind::Persistent) && entry.any(|k| k == WatchKind::Recursive)
        })
    }

    /// Removes one watcher and gives it back, with what the server must be told.
    pub(crate) fn remove(&mut self, path: &str, id: WatchId) -> Option<(W, Disarm)> {
        let entry = self.entries.get_mut(path)?;
        let mut gone = None;
        entry.watchers.take_if(|w| w.id == id, |w| gone = Some(w));
        let gone = gone?;
        let kind = gone.kind;
        self.count.remove(kind);
        let still = entry.any(|k| k == kind || (k != WatchKind::Child && kind.shares_table(k)));
        let lasting = entry.any(|k| !k.is_one_shot());
        let disarm = if entry.arming > 0 {
            entry.stale = true;
            Disarm::Nothing
        } else if entry.is_unused() {
            let any = entry.stale || !kind.is_one_shot();
            self.entries.remove(path);
            Disarm::Remove(if any { 3 } else { kind.watcher_type() })
        } else if still || (kind.is_one_shot() && lasting) {
            Disarm::Nothing
        } else if kind.is_one_shot() && !entry.stale {
            Disarm::Remove(kind.watcher_type())
        } else {
            entry.stale = true;
            Disarm::Nothing
        };
        Some((gone.sink, disarm))
    }

    /// Whether the server holds a watch on `path` that goes with the last watcher of the path.
    pub(crate) fn is_stale(&self, path: &str) -> bool {
        self.entries.get(path).is_some_and(|entry| entry.stale)
    }

    /// Takes the watchers on `path` that are `wanted` out, telling the server nothing.
    pub(crate) fn take(
        &mut self,
        path: &str,
        wanted: impl Fn(WatchKind) -> bool,
        mut gone: impl FnMut(&Arc<str>, WatchId, W),
    ) -> usize {
        let Some((path, mut entry)) = self.entries.remove_entry(path) else { return 0 };
        let before = self.count.all;
        entry.watchers.take_if(
            |w| wanted(w.kind),
            |w| {
                self.count.remove(w.kind);
                gone(&path, w.id, w.sink);
            },
        );
        if !entry.is_unused() {
            self.entries.insert(path, entry);
        }
        before - self.count.all
    }

    /// The node whose children changed by this event of one of them, if somebody watches them.
    pub(crate) fn implied<'a>(&mut self, event: EventKind, path: &'a str) -> Option<&'a str> {
        if !matches!(event, EventKind::Created | EventKind::Deleted) {
            return None;
        }
        let parent = path::parent(path)?;
        let (key, entry) = self.entries.get_key_value(parent)?;
        if !entry.any(|k| matches!(k, WatchKind::Child | WatchKind::Persistent)) {
            return None;
        }
        self.implied = Some(key.clone());
        Some(parent)
    }

    /// Whether the server says what was [`implied`](Self::implied) by its event before: it sends
    /// the two one right after the other.
    pub(crate) fn repeats(&mut self, event: EventKind, path: &str) -> bool {
        let implied = self.implied.take();
        event == EventKind::ChildrenChanged && implied.as_deref() == Some(path)
    }

    /// Calls `hear(id, sink, path, is its last)` for each watcher that the event concerns, and
    /// removes the one-shot ones. Tells whether the server now holds a watch on `path` that nobody
    /// wants.
    pub(crate) fn fire(
        &mut self,
        event: EventKind,
        path: &str,
        mut hear: impl FnMut(WatchId, W, &Arc<str>, bool),
    ) -> Disarm
    where
        W: Clone,
    {
        let mut disarm = Disarm::Nothing;
        // The name that the watchers get: the table's own, if it has one.
        let mut name = None;
        // Most events end the only watch that they are for: one look is then enough, and the next
        // read of the path makes its place anew. Beside lasting watches it takes a look first.
        let spends = self.count.lasting == 0
            || self.entries.get(path).is_some_and(|e| e.any(|k| k.is_spent_by(event)));
        if spends {
            if let Some((known, mut entry)) = self.entries.remove_entry(path) {
                for w in entry.watchers.as_slice() {
                    if !w.kind.is_one_shot() && w.kind.hears(event, true) {
                        hear(w.id, w.sink.clone(), &known, false);
                    }
                }
                entry.watchers.take_if(
                    |w| w.kind.is_spent_by(event),
                    |w| {
                        self.count.remove(w.kind);
                        hear(w.id, w.sink, &known, true);
                    },
                );
                name = Some(known.clone());
                if !entry.is_unused() {
                    self.entries.insert(known, entry);
                } else if entry.stale {
                    disarm = Disarm::Remove(3);
                }
            }
        } else if let Some((known, entry)) = self.entries.get_key_value(path) {
            for w in entry.watchers.as_slice().iter().filter(|w| w.kind.hears(event, true)) {
                hear(w.id, w.sink.clone(), known, false);
            }
            name = Some(known.clone());
        }
        if self.count.recursive > 0 {
            let name = name.unwrap_or_else(|| path.into());
            for at in above(path) {
                let Some(entry) = self.entries.get(at) else { continue };
                for w in entry.watchers.as_slice() {
                    if w.kind == WatchKind::Recursive && w.kind.hears(event, false) {
                        hear(w.id, w.sink.clone(), &name, false);
                    }
                }
            }
        }
        disarm
    }

    /// Visits every lasting watcher: after a reconnect they may have missed events.
    pub(crate) fn lasting(&self, mut visit: impl FnMut(&Arc<str>, WatchId, &W)) {
        if self.count.lasting == 0 {
            return;
        }
        for (path, entry) in &self.entries {
            for w in entry.watchers.as_slice().iter().filter(|w| !w.kind.is_one_shot()) {
                visit(path, w.id, &w.sink);
            }
        }
    }

    /// The connection is gone, and with it everything that the server held for it.
    pub(crate) fn connection_lost(&mut self) {
        self.implied = None;
        self.entries.retain(|_, entry| {
            entry.stale = false;
            !entry.is_unused()
        });
    }

    /// Empties the table, giving each watcher its last word.
    pub(crate) fn end(&mut self, mut visit: impl FnMut(&Arc<str>, WatchId, W)) {
        for (path, entry) in std::mem::take(&mut self.entries) {
            entry.watchers.into_each(|w| visit(&path, w.id, w.sink));
        }
        self.count = Count::default();
    }

    /// Cuts everything into SetWatches requests: `send` gets one after the other, none of which has
    /// more than `max` bytes unless it is a single path.
    ///
    /// The server refuses frames over its `jute.maxbuffer` by closing the connection, so one
    /// request for all watches would keep a large client out for ever (ZOOKEEPER-706).
    ///
    /// Paths go in the order in which they were first watched, which is how they are likely to lie
    /// in the memory of the server: 100,000 in the order of the table's hashes took it half as long
    /// again.
    pub(crate) fn batches(&self, max: usize, mut send: impl FnMut(&SetWatches)) {
        let mut batch = SetWatches::new();
        let mut entries: Vec<_> = self
            .entries
            .iter()
            .filter_map(|(path, entry)| Some((entry.watchers.as_slice().first()?.id, path, entry)))
            .collect();
        entries.sort_unstable_by_key(|(id, ..)| *id);
        for (_, path, entry) in entries {
            let mut lists = [false; 5];
            for w in entry.watchers.as_slice() {
                if let Some(list) = lists.get_mut(w.kind.list()) {
                    *list = true;
                }
            }
            for (list, wanted) in lists.into_iter().enumerate() {
                if !wanted {
                    continue;
                }
                if !batch.is_empty() && batch.len_with(path) + REQUEST_HEADER > max {
                    send(&batch);
                    batch.clear();
                }
                batch.push(list, path);
            }
        }
        if !batch.is_empty() {
            send(&batch);
        }
    }
}

/// The nodes above `path`, the nearest first.
fn above(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(path::parent(path), |path| path::parent(path))
}

/// What stands before the body of a request: xid and operation.
const REQUEST_HEADER: usize = 8;

impl<W> Entry<W> {
    fn settle(&mut self, kind: WatchKind) {
        self.arming = self.arming.saturating_sub(1);
        if !kind.is_one_shot() {
            self.arming_lasting = self.arming_lasting.saturating_sub(1);
        }
    }
}

impl<W> Default for Entry<W> {
    fn default() -> Self {
        Self { watchers: Few::None, arming: 0, arming_lasting: 0, stale: false }
    }
}

#[cfg(test)]
mod tests;
