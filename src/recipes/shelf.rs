//! Where the items of a queue lie: waiting for them, taking them out. For putting them see `room`.
//!
//! ```text
//! list ─▶ is one ready? ──no──▶ list with a watch ─▶ wait: news, or the first is due ─┐
//!  ▲          │ yes                                                                  │
//!  │          ▼                                                                      │
//!  │      read, then delete in one transaction ──▶ they are ours                     │
//!  │          │ another was faster                                                   │
//!  └──────────┴──────────────────────────────────────────────────────────────────────┘
//! ```

use std::time::{Duration, Instant};

use crate::client::op::{self, CreateMode, Version};
use crate::client::transaction::Transaction;
use crate::client::watch::Watch;
use crate::error::{Applied, At, Error, RecipeError, Result};
use crate::proto::code::Code;
use crate::recipes::entries::{Entry, Layout};
use crate::recipes::parcel;
use crate::recipes::patience::Patience;
use crate::recipes::site::Site;
use crate::recipes::wall_clock;

#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    pub(crate) site: Site,
    pub(crate) layout: Layout,
    /// How many items there may be, for those who put.
    pub(crate) most: Option<usize>,
}

/// An item that was taken out.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) entry: Entry,
    pub(crate) data: Vec<u8>,
}

impl Shelf {
    pub(crate) fn new(site: Site, layout: Layout) -> Self {
        Self { site, layout, most: None }
    }

    /// The items that are there, first to be served first. One round trip.
    pub(crate) fn list(&self, patience: &Patience<'_>) -> Result<Vec<Entry>> {
        match self.site.ask(patience, || op::GetChildren::new(&*self.site.path)) {
            Err(error) if error.code() == Some(Code::NoNode) => Ok(Vec::new()),
            names => Ok(self.layout.ordered(&names?)),
        }
    }

    /// How many items there are.
    pub(crate) fn len(&self) -> Result<usize> {
        self.site.patiently(self.site.deadline(), "len", |patience| Ok(self.list(patience)?.len()))
    }

    /// Takes the first out; waits for it.
    pub(crate) fn take_one(&self, deadline: Option<Instant>) -> Result<Taken> {
        loop {
            if let Some(taken) = self.take(1, deadline)?.into_iter().next() {
                return Ok(taken);
            }
        }
    }

    /// Takes the first `most` out; waits until there is one.
    pub(crate) fn take(&self, most: usize, deadline: Option<Instant>) -> Result<Vec<Taken>> {
        self.site.patiently(deadline, "take", |patience| self.take_by(most, patience))
    }

    /// As [`take`](Self::take), with the patience of whoever waits.
    pub(crate) fn take_by(&self, most: usize, patience: &Patience<'_>) -> Result<Vec<Taken>> {
        if most == 0 {
            return Ok(Vec::new());
        }
        let mut entries = self.list(patience)?;
        // Only where it has to be waited: to take a watch back costs a request. And none needs
        // to be taken back that was waited with: what we take rings it.
        let mut watch: Option<Watch> = None;
        loop {
            let ready = self.ready(&entries, most);
            if !ready.is_empty() {
                let taken = self.take_first(ready, most, patience)?;
                if !taken.is_empty() {
                    return Ok(taken);
                }
                entries = self.list(patience)?;
                continue;
            }
            match &watch {
                Some(watch) if !watch.has_news() => {
                    let due = entries.first().map(|first| first.rank);
                    self.wait_for_first(due, &[watch], patience)?;
                }
                _ => {
                    let (listed, new) = self.watched(patience)?;
                    entries = listed;
                    watch = Some(new);
                }
            }
        }
    }

    /// Takes the first `most` out, those that are there and ready.
    pub(crate) fn try_take(&self, most: usize) -> Result<Vec<Taken>> {
        self.site.patiently(self.site.deadline(), "take", |patience| {
            loop {
                let ready = self.ready(&self.list(patience)?, most);
                if ready.is_empty() {
                    return Ok(Vec::new());
                }
                let taken = self.take_first(ready, most, patience)?;
                if !taken.is_empty() {
                    return Ok(taken);
                }
            }
        })
    }

    /// Deletes these items, those that others take meanwhile excepted, and those that others hold at
    /// `holds`. Gives how many.
    pub(crate) fn discard(
        &self,
        entries: &[Entry],
        holds: Option<&Site>,
        patience: &Patience<'_>,
    ) -> Result<usize> {
        let mut discarded = 0;
        for entries in entries.chunks(MOST_AT_ONCE / OPS_WITH_HOLD) {
            let whole = |entry: &Entry| Lot {
                path: self.site.below(&entry.name),
                version: Version::Any,
                rest: None,
                hold: holds.map(|holds| holds.below(&entry.name)),
            };
            let mut lots: Vec<_> = entries.iter().map(whole).collect();
            while !lots.is_empty() {
                match self.commit(&lots, holds, patience)? {
                    Outcome::Done => {
                        discarded += lots.len();
                        break;
                    }
                    Outcome::Gone { index } if index < lots.len() => drop(lots.remove(index)),
                    Outcome::Gone { .. } | Outcome::NotDone => {}
                }
            }
        }
        Ok(discarded)
    }

    /// Deletes the items with this id, but those that others hold at `holds`. Gives how many.
    pub(crate) fn remove(&self, id: &str, holds: Option<&Site>) -> Result<usize> {
        let id = self.fitting_id("remove", id)?;
        self.site.patiently(self.site.deadline(), "remove", |patience| {
            let mut entries = self.list(patience)?;
            entries.retain(|entry| entry.id() == id);
            self.discard(&entries, holds, patience)
        })
    }

    /// The first `most` whose time has come, of items in order.
    fn ready(&self, entries: &[Entry], most: usize) -> Vec<Entry> {
        let count = self.count_ready(entries);
        entries.iter().take(count.min(most).min(MOST_AT_ONCE)).cloned().collect()
    }

    /// How many there are whose time has come, of items in order.
    pub(crate) fn count_ready(&self, entries: &[Entry]) -> usize {
        match self.layout {
            Layout::Delay => {
                let now = wall_clock::now_ms();
                entries.partition_point(|entry| entry.rank <= now)
            }
            _ => entries.len(),
        }
    }

    /// Waits for news, or until the first item is due.
    pub(crate) fn wait_for_first(
        &self,
        due: Option<i64>,
        watches: &[&Watch],
        patience: &Patience<'_>,
    ) -> Result<()> {
        loop {
            let left = due.map(|due| due.saturating_sub(wall_clock::now_ms()));
            let until = match left.map(u64::try_from) {
                None => None,
                Some(Ok(left)) if left > 0 => {
                    // The clock may be set meanwhile.
                    Instant::now().checked_add(Duration::from_millis(left).min(LOOK_AT_CLOCK_EVERY))
                }
                Some(_) => return Ok(()),
            };
            if !patience.wait_out(until, watches)? {
                return Ok(());
            }
        }
    }

    /// Lists the items, and leaves a watch on the directory, which is made if it is missing.
    pub(crate) fn watched(&self, patience: &Patience<'_>) -> Result<(Vec<Entry>, Watch)> {
        let path = &*self.site.path;
        loop {
            let list = |watcher| op::GetChildren::new(path).watcher(watcher);
            match self.site.watch(patience, list) {
                Err(error) if error.code() == Some(Code::NoNode) => {
                    self.site.ensure(patience, path)?;
                }
                listed => {
                    let (names, watch) = listed?;
                    return Ok((self.layout.ordered(&names), watch));
                }
            }
        }
    }

    /// Reads the items, `most` at most, then deletes them; none if another consumer was faster with
    /// one of them, or nothing was sent.
    fn take_first(
        &self,
        entries: Vec<Entry>,
        most: usize,
        patience: &Patience<'_>,
    ) -> Result<Vec<Taken>> {
        let mut reads = Vec::with_capacity(entries.len());
        for entry in &entries {
            let read = op::GetData::new(self.site.below(&entry.name));
            reads.push(self.site.client.submit_until(read, patience.deadline)?);
        }
        let (mut taken, mut lots) = (Vec::new(), Vec::new());
        for (entry, read) in entries.into_iter().zip(reads) {
            let left = most.saturating_sub(taken.len());
            if left == 0 {
                break;
            }
            let (data, stat) = match patience.wait(read)? {
                Ok(found) => found,
                // Others may have all that we looked at, or only this one.
                Err(error) if error.code() == Some(Code::NoNode) => continue,
                Err(Error::SessionExpired { .. }) if self.site.may_renew() => return Ok(Vec::new()),
                Err(error) if error.is_connection() => return Ok(Vec::new()),
                Err(error) => return Err(error),
            };
            let path = self.site.below(&entry.name);
            let Some(items) = self.layout.unpack(&data) else {
                return Err(Error::Recipe {
                    why: RecipeError::Unreadable,
                    at: At::new("take", path),
                });
            };
            let rest = items.get(left..).filter(|rest| !rest.is_empty()).map(parcel::pack);
            let take = |item: &[u8]| Taken { entry: entry.clone(), data: item.to_owned() };
            taken.extend(items.into_iter().take(left).map(take));
            lots.push(Lot { path, version: stat.version.into(), rest, hold: None });
        }
        if lots.is_empty() {
            return Ok(Vec::new());
        }
        match self.commit(&lots, None, patience)? {
            Outcome::Done => Ok(taken),
            Outcome::Gone { .. } | Outcome::NotDone => Ok(Vec::new()),
        }
    }

    /// Deletes the lots, or leaves the rest of one; all or none. Those that have a hold have it at
    /// `holds`, all of them or none.
    fn commit(
        &self,
        lots: &[Lot],
        holds: Option<&Site>,
        patience: &Patience<'_>,
    ) -> Result<Outcome> {
        let all = || {
            lots.iter().fold(Transaction::new(), |all, lot| {
                let all = match &lot.hold {
                    Some(hold) => {
                        let create = op::Create::new(&**hold).mode(CreateMode::Ephemeral);
                        let create = create.acl(self.site.acl.iter().cloned());
                        all.op(create).delete(&**hold, Version::Any)
                    }
                    None => all,
                };
                match &lot.rest {
                    Some(rest) => all.set_data(&*lot.path, rest.as_slice(), lot.version),
                    None => all.delete(&*lot.path, lot.version),
                }
            })
        };
        let ops = if holds.is_some() { OPS_WITH_HOLD } else { 1 };
        let error = match (self.site.write(&self.site.client, patience, all), holds) {
            (Ok(_), _) => return Ok(Outcome::Done),
            (Err(Error::Transaction { index, code: Code::NoNode, .. }), Some(holds))
                if index % ops == 0 =>
            {
                holds.ensure(patience, &holds.path)?;
                return Ok(Outcome::NotDone);
            }
            (
                Err(Error::Transaction {
                    index,
                    code: Code::NoNode | Code::BadVersion | Code::NodeExists,
                    ..
                }),
                _,
            ) => return Ok(Outcome::Gone { index: index / ops }),
            (Err(error), _) => error,
        };
        if error.applied() == Applied::No || error.is_terminal() {
            return Err(error);
        }
        // The answer was lost. If the first is there still, as it was, all are, and the servers take
        // nothing more from the old connection.
        let Some(first) = lots.first() else { return Ok(Outcome::NotDone) };
        let look = self
            .site
            .ask(patience, || op::Sync::new(&*self.site.path))
            .and_then(|_| self.site.ask(patience, || op::Exists::new(&*first.path)));
        let is_as_it_was = |version: i32| match first.version {
            Version::Any => true,
            wanted => wanted == version.into(),
        };
        match look {
            Ok(Some(stat)) if is_as_it_was(stat.version) => Ok(Outcome::NotDone),
            // By us or by another: nobody can tell.
            _ => Err(error),
        }
    }
}

/// A node whose items are taken out.
struct Lot {
    path: String,
    version: Version,
    /// What is left in it, packed, if not all of them are.
    rest: Option<Vec<u8>>,
    /// The hold that nobody else has while they are.
    hold: Option<String>,
}

/// What became of a transaction that takes items out.
enum Outcome {
    Done,
    /// Another has this one, so nothing was done.
    Gone {
        index: usize,
    },
    /// Nothing was done, for another reason.
    NotDone,
}

/// Deletes in one transaction: some 100 KiB with paths of 100 bytes, well below the servers' limit.
pub(crate) const MOST_AT_ONCE: usize = 1_000;

/// What is done for each item whose hold must be free.
const OPS_WITH_HOLD: usize = 3;

/// How soon a wait for an item's time notices that the clock was set.
const LOOK_AT_CLOCK_EVERY: Duration = Duration::from_secs(1);
