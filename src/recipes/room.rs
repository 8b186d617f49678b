//! Room in a queue: putting items, and waiting for those before to be taken out where it may hold so
//! many at most.
//!
//! ```text
//! read the queue's node: its version, how many are in it ─▶ room? ─yes─▶ one transaction:
//!   ▲                                                         │ no        write the node, if it has
//!   │                                                         ▼           that version still;
//!   ├──────────────── news ◀── wait ◀── list with a watch: count the items      the items
//!   └──────────────────────────── another put meanwhile ◀─────────────────────────┘
//! ```
//!
//! Nobody who puts by this way can have put between the look and the transaction, and who takes
//! only makes room. The count and the version come in one answer, however long the list is.

use std::time::{Instant, SystemTime};

use crate::client::op::{self, CreateMode};
use crate::client::transaction::{OpResult, Transaction};
use crate::client::watch::Watch;
use crate::error::{Error, Result};
use crate::path;
use crate::proto::code::Code;
use crate::recipes::entries;
use crate::recipes::patience::Patience;
use crate::recipes::shelf::Shelf;
use crate::recipes::wall_clock;

/// How long who puts waits for room.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Room {
    /// Not at all.
    Now,
    Until(Option<Instant>),
}

/// What a put gives: the names of the nodes; `None` if there was no room.
pub(crate) type Put = Result<Option<Vec<String>>>;

impl Shelf {
    /// Puts items of one priority, all or none.
    pub(crate) fn put_alike<'a>(
        &self,
        items: impl IntoIterator<Item = &'a [u8]>,
        priority: Option<i32>,
        room: Room,
    ) -> Put {
        let prefix = self.layout.prefix(priority);
        let prefix = prefix.map_err(|why| Error::invalid("put", &self.site.path, why))?;
        self.put(items.into_iter().map(|item| (prefix.as_str(), item)), room)
    }

    /// Puts items that are due then, all or none. `None` is a time that no clock shows.
    pub(crate) fn put_due<'a>(
        &self,
        items: impl IntoIterator<Item = &'a [u8]>,
        time: Option<SystemTime>,
        room: Room,
    ) -> Put {
        let Some(ms) = time.and_then(wall_clock::ms_of) else {
            let why = "an item is due after 1970, at a time that a clock shows";
            return Err(Error::invalid("put", &self.site.path, why));
        };
        let prefix = entries::due_prefix(ms);
        self.put(items.into_iter().map(|item| (prefix.as_str(), item)), room)
    }

    /// Puts items with ids, all or none.
    pub(crate) fn put_with_ids<I: AsRef<[u8]>, S: AsRef<str>>(
        &self,
        items: impl IntoIterator<Item = (I, S)>,
        room: Room,
    ) -> Put {
        let named = |(item, id): (I, S)| {
            Ok((entries::id_prefix(&self.fitting_id("put", id.as_ref())?), item))
        };
        let items = items.into_iter().map(named).collect::<Result<Vec<_>>>()?;
        self.put(items.iter().map(|(prefix, item)| (prefix.as_str(), item.as_ref())), room)
    }

    /// The id as it stands in names.
    pub(crate) fn fitting_id(&self, op: &'static str, id: &str) -> Result<String> {
        if id.is_empty() {
            return Err(Error::invalid(op, &self.site.path, "an id is not empty"));
        }
        Ok(entries::fitting(id))
    }

    /// The names, where it was waited for room.
    pub(crate) fn all_put(&self, put: Put) -> Result<Vec<String>> {
        put?.ok_or_else(|| Error::invalid("put", &self.site.path, "no room"))
    }

    /// The name, where it was waited for room.
    pub(crate) fn one_put(&self, put: Put) -> Result<String> {
        let name = self.all_put(put)?.into_iter().next();
        name.ok_or_else(|| Error::invalid("put", &self.site.path, "no answer"))
    }

    /// Puts items, all or none, each under a name that begins as is said.
    fn put<'p, 'a>(&self, items: impl IntoIterator<Item = (&'p str, &'a [u8])>, room: Room) -> Put {
        let site = &self.site;
        let deadline = match room {
            Room::Now => site.deadline(),
            Room::Until(deadline) => deadline,
        };
        let pack = |(prefix, item)| (site.below(prefix), self.layout.pack(item));
        let items: Vec<_> = items.into_iter().map(pack).collect();
        let create = |(path, data)| {
            let create = op::Create::new(path).mode(CreateMode::PersistentSequential).data(data);
            create.acl(site.acl.iter().cloned())
        };
        let items: Vec<_> =
            items.iter().map(|(path, data)| create((path.as_str(), &**data))).collect();
        if items.is_empty() {
            return Ok(Some(Vec::new()));
        }
        site.patiently(deadline, "put", |patience| match self.most {
            None => self.put_anyway(&items, patience).map(Some),
            Some(most) => self.put_within(most, &items, room, patience),
        })
    }

    /// However many there are.
    fn put_anyway(&self, items: &[op::Create<'_>], patience: &Patience<'_>) -> Result<Vec<String>> {
        let site = &self.site;
        loop {
            let made = match items {
                [item] => site
                    .write(&site.client, patience, || item.clone())
                    .map(|created| vec![path::name(&created.path).to_owned()]),
                items => {
                    let all = || items.iter().cloned().fold(Transaction::new(), Transaction::op);
                    site.write(&site.client, patience, all).map(|results| names(&results))
                }
            };
            match made {
                Err(error) if error.code() == Some(Code::NoNode) => {
                    site.ensure(patience, &site.path)?;
                }
                made => return made,
            }
        }
    }

    /// When there are so many with them at most.
    fn put_within(
        &self,
        most: usize,
        items: &[op::Create<'_>],
        room: Room,
        patience: &Patience<'_>,
    ) -> Put {
        let site = &self.site;
        let Some(before) = most.checked_sub(items.len()) else {
            let why = format!("{} items are more than it may hold", items.len());
            return Err(Error::invalid("put", &site.path, why));
        };
        // Kept until the items are put: they ring it, so it need not be taken back.
        let mut watch: Option<Watch> = None;
        loop {
            let read = site.ask(patience, || op::GetData::new(&*site.path));
            let (data, stat) = match read {
                Err(error) if error.code() == Some(Code::NoNode) => {
                    site.ensure(patience, &site.path)?;
                    continue;
                }
                read => read?,
            };
            let mut count = usize::try_from(stat.num_children).unwrap_or(0);
            if count > before {
                // Some of them may be no items.
                count = match room {
                    Room::Now => self.list(patience)?.len(),
                    Room::Until(_) => {
                        let (entries, new) = self.watched(patience)?;
                        watch = Some(new);
                        entries.len()
                    }
                };
            }
            if count > before {
                let Some(watch) = &watch else { return Ok(None) };
                patience.wait_for(&[watch])?;
                continue;
            }
            if before - count >= AMPLE {
                return self.put_anyway(items, patience).map(Some);
            }
            let own = || {
                let own = Transaction::new();
                let own = own.set_data(&*site.path, data.as_slice(), stat.version);
                items.iter().cloned().fold(own, Transaction::op)
            };
            match site.write(&site.client, patience, own) {
                // Another put meanwhile, or somebody removed the queue: look again.
                Err(Error::Transaction {
                    index: 0, code: Code::BadVersion | Code::NoNode, ..
                }) => {}
                made => return made.map(|results| Some(names(&results))),
            }
        }
    }
}

fn names(results: &[OpResult]) -> Vec<String> {
    let created = results.iter().filter_map(OpResult::created);
    created.map(|created| path::name(&created.path).to_owned()).collect()
}

/// Where more than so many places are free it is not looked whether others put meanwhile: at once
/// they are not so many, and each would send all the others back.
const AMPLE: usize = 1_000;
