//! Where items are held: finding those that nobody holds, waiting for them, getting hold of them.

use std::collections::HashSet;
use std::time::Instant;

use crate::client::op;
use crate::client::session::Session;
use crate::client::watch::Watch;
use crate::error::{Error, Result};
use crate::proto::acl::Acl;
use crate::proto::code::Code;
use crate::recipes::consumer::Supply;
use crate::recipes::consumer_error::ErrorMode;
use crate::recipes::entries::{Entry, Layout};
use crate::recipes::held_item::HeldItem;
use crate::recipes::holding::Holding;
use crate::recipes::patience::Patience;
use crate::recipes::shelf::Shelf;
use crate::recipes::site::{Site, look};

/// A queue whose items are held while they are worked on.
#[derive(Clone, Debug)]
pub(crate) struct Holds {
    pub(crate) site: Site,
    /// Where the items lie.
    pub(crate) entries: Shelf,
    /// Where the holds are, each of the name of its item.
    pub(crate) taken: Site,
}

impl Holds {
    /// That of a queue of Curator's, with its `lockPath`. `Invalid` if that is not a legal path, or is
    /// "/".
    pub(crate) fn new(site: Site, layout: Layout, lock_path: &str) -> Result<Self> {
        Site::new(&site.client, "lock_path", lock_path)?;
        let taken = site.at(lock_path.to_owned());
        Ok(Self { entries: Shelf::new(site.clone(), layout), taken, site })
    }

    pub(crate) fn set_acl(&mut self, acl: impl IntoIterator<Item = Acl>) {
        self.site.set_acl(acl);
        self.entries.site.set_acl(self.site.acl.iter().cloned());
        self.taken.set_acl(self.site.acl.iter().cloned());
    }

    /// The first that nobody holds; waits for it.
    pub(crate) fn get_one(&self, deadline: Option<Instant>) -> Result<HeldItem> {
        loop {
            if let Some(held) = self.get_until(1, deadline)?.into_iter().next() {
                return Ok(held);
            }
        }
    }

    /// The first `most` that nobody holds; waits until there is one.
    pub(crate) fn get_until(
        &self,
        most: usize,
        deadline: Option<Instant>,
    ) -> Result<Vec<HeldItem>> {
        self.site.patiently(deadline, "get", |patience| self.get_by(most, patience))
    }

    /// As [`get_until`](Self::get_until), with the patience of whoever waits.
    pub(crate) fn get_by(&self, most: usize, patience: &Patience<'_>) -> Result<Vec<HeldItem>> {
        if most == 0 {
            return Ok(Vec::new());
        }
        self.in_a_session(patience, |session| self.get_in(session, most, patience))
    }

    /// The first `most` that nobody holds, of those that are there.
    pub(crate) fn try_get(&self, most: usize) -> Result<Vec<HeldItem>> {
        let try_in = |session: &Session, patience: &Patience<'_>| {
            loop {
                let mut free = self.free(session, patience)?;
                free.truncate(self.entries.count_ready(&free));
                if free.is_empty() || most == 0 {
                    return Ok(Vec::new());
                }
                let held = self.holding(session, patience).hold(free, most)?;
                if !held.is_empty() {
                    return Ok(held);
                }
                // Others were faster with all of them: they may have given some back.
            }
        };
        self.site.patiently(self.site.deadline(), "try_get", |patience| {
            self.in_a_session(patience, |session| try_in(session, patience))
        })
    }

    /// Does `work` in the present session, and again in the next if that expires.
    fn in_a_session<T>(
        &self,
        patience: &Patience<'_>,
        work: impl Fn(&Session) -> Result<T>,
    ) -> Result<T> {
        loop {
            let session = self.site.session(patience)?;
            match work(&session) {
                Err(Error::SessionExpired { .. }) if self.site.may_renew() => patience.check()?,
                done => return done,
            }
        }
    }

    fn get_in(
        &self,
        session: &Session,
        most: usize,
        patience: &Patience<'_>,
    ) -> Result<Vec<HeldItem>> {
        loop {
            let mut free = self.free(session, patience)?;
            // Watches only where it has to be waited: to take them back costs two requests.
            let mut watches = None;
            if self.entries.count_ready(&free) == 0 {
                let (taken, given_back) = self.watched(&self.taken, session, patience)?;
                let (entries, came) = self.watched(&self.entries.site, session, patience)?;
                free = self.free_of(&entries, &taken);
                watches = Some((given_back, came));
            }
            if let Some((given_back, came)) = &watches {
                if self.entries.count_ready(&free) == 0 {
                    let due = free.first().map(|first| first.rank);
                    self.entries.wait_for_first(due, &[given_back, came], patience)?;
                }
                // There are news, or it is due.
                if self.entries.count_ready(&free) == 0 {
                    continue;
                }
            }
            free.truncate(self.entries.count_ready(&free));
            let held = self.holding(session, patience).hold(free, most)?;
            if !held.is_empty() {
                return Ok(held);
            }
        }
    }

    /// The items that nobody holds, first to be served first. One round trip.
    fn free(&self, session: &Session, patience: &Patience<'_>) -> Result<Vec<Entry>> {
        loop {
            let list = |site: &Site| {
                let list = op::GetChildren::new(&*site.path);
                session.submit_until(list, patience.deadline)
            };
            // In this order: an item that is consumed in between is in neither list.
            let (taken, entries) = (list(&self.taken)?, list(&self.entries.site)?);
            let taken = none_if_missing(patience.wait(taken)?);
            let entries = none_if_missing(patience.wait(entries)?);
            match (entries, taken) {
                (Ok(entries), Ok(taken)) => return Ok(self.free_of(&entries, &taken)),
                (Err(error), _) | (_, Err(error)) if error.is_connection() => patience.check()?,
                (Err(error), _) | (_, Err(error)) => return Err(error),
            }
        }
    }

    /// The children of a directory, which is made if it is missing, and a watch on them.
    fn watched(
        &self,
        site: &Site,
        session: &Session,
        patience: &Patience<'_>,
    ) -> Result<(Vec<String>, Watch)> {
        loop {
            let list = |watcher| op::GetChildren::new(&*site.path).watcher(watcher);
            match look(session, patience, list) {
                Err(error) if error.code() == Some(Code::NoNode) => {
                    site.ensure(patience, &site.path)?;
                }
                listed => return listed,
            }
        }
    }

    fn holding<'a>(&'a self, session: &'a Session, patience: &'a Patience<'a>) -> Holding<'a> {
        let Self { site, entries, taken } = self;
        Holding { site, entries, taken, session, patience }
    }

    /// The items that nobody holds, first to be served first.
    fn free_of(&self, entries: &[String], taken: &[String]) -> Vec<Entry> {
        let taken: HashSet<&str> = taken.iter().map(String::as_str).collect();
        let mut free = self.entries.layout.ordered(entries);
        free.retain(|entry| !taken.contains(entry.name.as_str()));
        free
    }
}

impl Supply<HeldItem> for Holds {
    fn site(&self) -> &Site {
        &self.site
    }

    fn next(&self, most: usize, patience: &Patience<'_>) -> Result<Vec<HeldItem>> {
        self.get_by(most, patience)
    }

    fn node(&self, item: &HeldItem) -> String {
        item.path().to_owned()
    }

    fn is_held(&self) -> bool {
        true
    }

    fn settle(&self, item: HeldItem, failed_in: Option<ErrorMode>) -> Result<()> {
        match failed_in {
            None | Some(ErrorMode::Delete) => item.consume(),
            Some(ErrorMode::Requeue) => item.requeue(),
        }
    }
}

fn none_if_missing(listed: Result<Vec<String>>) -> Result<Vec<String>> {
    match listed {
        Err(error) if error.code() == Some(Code::NoNode) => Ok(Vec::new()),
        listed => listed,
    }
}
