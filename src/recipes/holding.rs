//! Getting hold of items that nobody holds.
//!
//! ```text
//! read the item ─▶ one transaction: make the hold, write it again, write the item again
//!                                   └ version 1, unlike others' ┘  └ a version nobody saw yet
//! ```
//!
//! Of several items, up to a hundred, each step is done for all at once.

use crate::client::Pending;
use crate::client::op;
use crate::client::session::Session;
use crate::client::transaction::Transaction;
use crate::error::{At, Error, RecipeError, Result};
use crate::proto::code::Code;
use crate::proto::stat::Stat;
use crate::recipes::entries::Entry;
use crate::recipes::held_item::HeldItem;
use crate::recipes::own_node::{Making, OwnNode};
use crate::recipes::parcel;
use crate::recipes::patience::Patience;
use crate::recipes::role::NameStyle;
use crate::recipes::shelf::{MOST_AT_ONCE, Shelf};
use crate::recipes::site::Site;

/// Where items lie and where they are held, and by which session.
pub(crate) struct Holding<'a> {
    pub(crate) site: &'a Site,
    pub(crate) entries: &'a Shelf,
    pub(crate) taken: &'a Site,
    pub(crate) session: &'a Session,
    pub(crate) patience: &'a Patience<'a>,
}

impl Holding<'_> {
    /// Gets hold of the first `most` that no other consumer is faster with.
    pub(crate) fn hold(&self, free: Vec<Entry>, most: usize) -> Result<Vec<HeldItem>> {
        let most = most.min(MOST_AT_ONCE);
        let mut held = Vec::new();
        let mut free = free.into_iter();
        while held.len() < most {
            let count = AT_ONCE.min(most - held.len());
            let wanted: Vec<Entry> = free.by_ref().take(count).collect();
            if wanted.is_empty() {
                break;
            }
            // Two round trips for all of them.
            let mut reads = Vec::with_capacity(wanted.len());
            for entry in wanted {
                let read = op::GetData::new(self.entries.site.below(&entry.name));
                reads.push((entry, self.session.submit_until(read, self.patience.deadline)?));
            }
            let mut all_found = Vec::with_capacity(reads.len());
            for (entry, read) in reads {
                all_found.extend(self.found(&entry, read)?);
            }
            let mut attempts = Vec::with_capacity(all_found.len());
            for found in all_found {
                let is_rewritten = found.whole.len() <= MOST_REWRITTEN;
                attempts.push(self.attempt(found, is_rewritten)?);
            }
            for attempt in attempts {
                held.extend(self.finish(attempt)?);
            }
        }
        Ok(held)
    }

    /// What was read of an item; `None` if it was consumed since we looked.
    fn found(&self, entry: &Entry, read: Pending<(Vec<u8>, Stat)>) -> Result<Option<Found>> {
        let (session, patience) = (self.session, self.patience);
        let path = self.entries.site.below(&entry.name);
        let read = match patience.wait(read)? {
            Err(error) if error.is_connection() => {
                patience.ask(session, || op::GetData::new(path.as_str()))
            }
            read => read,
        };
        let (whole, stat) = match read {
            Err(error) if error.code() == Some(Code::NoNode) => return Ok(None),
            read => read?,
        };
        let items = self.entries.layout.unpack(&whole);
        let Some(items) = items else {
            return Err(Error::Recipe { why: RecipeError::Unreadable, at: At::new("get", path) });
        };
        let Some((first, rest)) = items.split_first() else {
            // Curator lets nothing be put, too: that is nobody's work.
            let delete = || op::Delete::new(path.as_str()).version(stat.version);
            return match patience.ask(session, delete) {
                Err(error) if !matches!(error.code(), Some(Code::NoNode | Code::BadVersion)) => {
                    Err(error)
                }
                _ => Ok(None),
            };
        };
        let item = first.to_vec();
        let rest = (!rest.is_empty()).then(|| parcel::pack(rest));
        let (entry, version) = (entry.clone(), stat.version);
        Ok(Some(Found { path, entry, version, whole, item, rest }))
    }

    /// Begins to get hold of an item.
    fn attempt(&self, found: Found, is_rewritten: bool) -> Result<Attempt> {
        // Kazoo has one mark for each consumer; here threads of one session compete as well.
        let mark = NameStyle::Kazoo.unique("");
        let hold = self.taken.below(&found.entry.name);
        let path = found.path.clone();
        let own = match is_rewritten {
            true => Transaction::new().set_data(path, found.whole.clone(), found.version),
            false => Transaction::new().check(path, found.version),
        };
        let making =
            OwnNode::begin(self.taken, self.session, &hold, mark.as_bytes(), own, self.patience)?;
        Ok(Attempt { making, found, is_rewritten })
    }

    /// The item, or `None` if another was faster.
    fn finish(&self, attempt: Attempt) -> Result<Option<HeldItem>> {
        let Attempt { making, found, is_rewritten } = attempt;
        match making.finish(self.taken, self.patience) {
            Ok(hold) => Ok(hold.map(|hold| HeldItem {
                site: self.site.clone(),
                hold,
                path: found.path,
                version: found.version.wrapping_add(i32::from(is_rewritten)),
                entry: found.entry,
                layout: self.entries.layout,
                data: found.item,
                rest: found.rest,
            })),
            // Consumed, or held and given back, since we looked.
            Err(Error::Transaction { index: 2, code: Code::NoNode | Code::BadVersion, .. }) => {
                Ok(None)
            }
            Err(Error::Transaction { index: 2, code: Code::NoAuth, .. }) if is_rewritten => {
                let attempt = self.attempt(found, false)?;
                self.finish(attempt)
            }
            Err(error) => Err(error),
        }
    }
}

/// An item that may be free.
struct Found {
    path: String,
    entry: Entry,
    version: i32,
    /// What is in its node: the item, and what else was put with it.
    whole: Vec<u8>,
    item: Vec<u8>,
    rest: Option<Vec<u8>>,
}

/// An item of which somebody is getting hold.
struct Attempt {
    making: Making,
    found: Found,
    is_rewritten: bool,
}

/// So many are read, and then held, at a time: their data are in memory meanwhile.
const AT_ONCE: usize = 100;

/// An item that is larger is not written again when it is held.
const MOST_REWRITTEN: usize = 64 * 1024;
