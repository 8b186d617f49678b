//! A place in a queue: one sequential ephemeral node, found again after a lost answer, and never
//! left behind.
//!
//! The answer to a create can be lost with its connection. Then the node exists or it does not,
//! and asking again could make two, of which the first would hold the lock for nobody. So each
//! node carries a name that nobody else uses, and after a lost answer the children are searched
//! for it; after a `sync`, since the server that we are connected to now may not have seen the
//! create yet. A node of that name made by an *earlier* session of ours is dying and is not ours
//! (CURATOR-498): its owner is compared.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::client::op::{self, CreateMode, Created, Operation};
use crate::client::session::Session;
use crate::client::watch::{Watch, Watcher};
use crate::client::{Client, Pending};
use crate::error::{Applied, At, Error, RecipeError, Result};
use crate::path;
use crate::proto::acl::Acl;
use crate::proto::code::Code;
use crate::proto::stat::Stat;

/// What a wait of a recipe may be ended by.
pub(crate) struct Patience<'a> {
    pub(crate) deadline: Option<Instant>,
    pub(crate) cancelled: &'a dyn Fn() -> bool,
    /// The recipe's operation and path, for errors.
    pub(crate) op: &'static str,
    pub(crate) path: &'a str,
}

impl Patience<'_> {
    pub(crate) fn at(&self) -> Box<At> {
        At::new(self.op, self.path)
    }

    pub(crate) fn check(&self) -> Result<()> {
        if (self.cancelled)() {
            return Err(Error::Recipe { why: RecipeError::Cancelled, at: self.at() });
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(Error::Timeout { sent: false, at: self.at() });
        }
        Ok(())
    }

    /// Waits for an answer. If patience ends first the request is given up: `Err` tells whether it
    /// may have been sent.
    pub(crate) fn wait<T>(&self, mut pending: Pending<T>) -> Result<Result<T>> {
        loop {
            let look = Instant::now() + LOOK_EVERY;
            let until = self.deadline.map_or(look, |deadline| deadline.min(look));
            match pending.wait_deadline(until) {
                Ok(result) => return Ok(result),
                Err(still) => {
                    self.check()?;
                    pending = still;
                }
            }
        }
    }

    /// Waits for the answer to a read that leaves a watch with a handle.
    pub(crate) fn watch<O: Operation>(
        &self,
        session: &Session,
        read: impl FnOnce(Watcher) -> O,
    ) -> Result<Result<Watch>> {
        let (pending, watch) = session.submit_watched(read, self.deadline)?;
        // If this gives up, the handle is dropped and takes the watch back.
        Ok(self.wait(pending)?.map(|_| watch))
    }

    /// Asks until there is an answer: for operations that may be repeated.
    pub(crate) fn ask<O: Operation>(
        &self,
        session: &Client,
        op: impl Fn() -> O,
    ) -> Result<O::Reply> {
        loop {
            self.check()?;
            match self.wait(session.submit_until(op(), self.deadline)?)? {
                Err(error) if error.is_connection() => {}
                result => return result,
            }
        }
    }
}

/// Our node in the queue.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) session: Session,
    /// The whole path.
    pub(crate) node: String,
    /// The transaction that created the node: larger for each later one, whatever happens to the
    /// parent.
    pub(crate) fence: i64,
}

/// How places are made.
#[derive(Clone, Debug)]
pub(crate) struct PlaceOptions<'a> {
    pub(crate) parent: &'a str,
    /// What stands between the unique name and the number: `__lock__`.
    pub(crate) infix: &'a str,
    pub(crate) data: &'a [u8],
    pub(crate) acl: &'a [Acl],
}

impl Place {
    /// Takes a place at the end of the queue.
    ///
    /// One round trip if the parent exists, and in it the list of the parent's children, asked for
    /// right behind the create: it has our node. Gives up only with `patience` or the session, and
    /// then leaves no node behind.
    pub(crate) fn take(
        session: &Session,
        options: &PlaceOptions<'_>,
        patience: &Patience<'_>,
    ) -> Result<(Self, Option<Vec<String>>)> {
        let unique = format!("{}{}", unique_name(), options.infix);
        let prefix = path::join(options.parent, &unique);
        // From the first send on, a node of our name may exist, or come to exist.
        let mut cleanup = Cleanup::armed(session, options.parent, &unique);
        loop {
            patience.check()?;
            let create = op::Create::new(prefix.as_str())
                .mode(CreateMode::EphemeralSequential)
                .data(options.data)
                .acl(options.acl.iter().cloned())
                .with_stat();
            let created = session.submit_until(create, patience.deadline)?;
            // If it fails, whoever needs the list asks again.
            let list = op::GetChildren::new(options.parent);
            let listed = session.submit_until(list, patience.deadline).ok();
            match patience.wait(created)? {
                Ok(Created { path: node, stat: Some(stat), .. }) => {
                    let place = Self::of(session, node, &stat, patience)?;
                    let listed = listed.map(|listed| patience.wait(listed)).transpose()?;
                    cleanup.disarm();
                    return Ok((place, listed.and_then(Result::ok)));
                }
                Ok(Created { path: node, stat: None, .. }) => {
                    // A server that answers create2 as create: ask for what it left out.
                    let stat = patience.ask(session, || op::Exists::new(node.as_str()))?;
                    if let Some(stat) = stat {
                        let place = Self::of(session, node, &stat, patience)?;
                        cleanup.disarm();
                        return Ok((place, None));
                    }
                }
                Err(error) if error.code() == Some(Code::NoNode) => {
                    // Removed by an admin, or a container that expired: it is made again, always.
                    session.ensure_by(options.parent, &|client, path| {
                        let acl = options.acl.iter().cloned();
                        match patience.ask(client, || op::Create::new(path).acl(acl.clone())) {
                            // The server looks at the parent's ACL before it looks for the node.
                            Err(error)
                                if error.code() == Some(Code::NoAuth)
                                    && patience
                                        .ask(client, || op::Exists::new(path))?
                                        .is_some() =>
                            {
                                Ok(())
                            }
                            created => created.map(drop),
                        }
                    })?;
                }
                Err(error) if error.is_connection() => {
                    if let Some(place) = Self::find(session, options.parent, &unique, patience)? {
                        cleanup.disarm();
                        return Ok((place, None));
                    }
                }
                Err(error) => {
                    if error.applied() == Applied::No {
                        cleanup.disarm();
                    }
                    return Err(error);
                }
            }
        }
    }

    /// The place of our node, if it is of the session that we meant. Not so where the session began
    /// on a server that had no quorum, and got its id later.
    fn of(session: &Session, node: String, stat: &Stat, patience: &Patience<'_>) -> Result<Self> {
        if stat.ephemeral_owner != session.id() {
            return Err(Error::SessionExpired { sent: true, at: patience.at() });
        }
        Ok(Self { session: session.clone(), node, fence: stat.czxid })
    }

    /// Looks for the node whose create was not answered.
    fn find(
        session: &Session,
        parent: &str,
        unique: &str,
        patience: &Patience<'_>,
    ) -> Result<Option<Self>> {
        patience.ask(session, || op::Sync::new(parent))?;
        let children = match patience.ask(session, || op::GetChildren::new(parent)) {
            Err(error) if error.code() == Some(Code::NoNode) => return Ok(None),
            children => children?,
        };
        for name in children.iter().filter(|name| name.starts_with(unique)) {
            let node = path::join(parent, name);
            if let Some(stat) = patience.ask(session, || op::Exists::new(node.as_str()))? {
                if stat.ephemeral_owner == session.id() {
                    let fence = stat.czxid;
                    return Ok(Some(Self { session: session.clone(), node, fence }));
                }
            }
        }
        Ok(None)
    }

    pub(crate) fn name(&self) -> &str {
        path::name(&self.node)
    }

    /// Deletes the node and waits for it, until `deadline`; whatever is not done by then goes on
    /// in the background. `NotHeld` if somebody else deleted it before.
    pub(crate) fn leave(&self, patience: &Patience<'_>) -> Result<()> {
        let mut unsure = false;
        loop {
            let delete = op::Delete::new(&*self.node);
            let asked = self.session.submit_until(delete, patience.deadline);
            let deleted = match asked.and_then(|pending| patience.wait(pending)) {
                Ok(result) => result,
                Err(error) => {
                    self.leave_behind();
                    return Err(error);
                }
            };
            match deleted {
                Ok(()) => return Ok(()),
                // The delete whose answer was lost had been done.
                Err(error) if error.code() == Some(Code::NoNode) && unsure => return Ok(()),
                Err(error) if error.code() == Some(Code::NoNode) => {
                    return Err(Error::Recipe { why: RecipeError::NotHeld, at: patience.at() });
                }
                Err(error) if error.is_connection() => {
                    unsure = true;
                    if let Err(over) = patience.check() {
                        self.leave_behind();
                        return Err(over);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Deletes the node in the background, until it is gone or the session is.
    pub(crate) fn leave_behind(&self) {
        delete_behind(&self.session, self.node.clone());
    }
}

/// Deletes `node` without waiting, again and again until the server answered.
///
/// What is queued does not keep the client alive: if its last handle is dropped the session is
/// closed, and the node goes with it.
fn delete_behind(session: &Session, node: String) {
    let weak = session.downgrade_session();
    let delete = op::Delete::new(node.clone());
    let _ = session.submit_behind(delete, move |result| match result {
        Err(error) if error.is_connection() => {
            if let Some(session) = weak.upgrade() {
                delete_behind(&session, node);
            }
        }
        Err(Error::Refused { code, .. }) if code != Code::NoNode => {
            log::warn!("cannot give up {node}: {code}");
        }
        _ => {}
    });
}

/// Finds and deletes the node of a create that was given up, in the background.
struct Cleanup {
    session: Session,
    parent: String,
    unique: String,
    armed: bool,
}

impl Cleanup {
    fn armed(session: &Session, parent: &str, unique: &str) -> Self {
        Self {
            session: session.clone(),
            parent: parent.to_owned(),
            unique: unique.to_owned(),
            armed: true,
        }
    }

    fn disarm(&mut self) {
        self.armed = false;
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        if self.armed {
            find_behind(&self.session, self.parent.clone(), self.unique.clone());
        }
    }
}

/// The create may still be in a queue of ours or of the server's; what is asked now is answered
/// after it, and on another server the `sync` waits for it. The list is asked for once the sync was
/// answered: from then on no server that is behind it takes us.
fn find_behind(session: &Session, parent: String, unique: String) {
    let weak = session.downgrade_session();
    let sync = op::Sync::new(parent.clone());
    let _ = session.submit_behind(sync, move |synced| {
        let Some(session) = weak.upgrade() else { return };
        match synced {
            Ok(_) => sweep_behind(&session, parent, unique),
            Err(error) if error.is_connection() => find_behind(&session, parent, unique),
            Err(_) => {}
        }
    });
}

/// Deletes what is listed under our unique name.
fn sweep_behind(session: &Session, parent: String, unique: String) {
    let weak = session.downgrade_session();
    let list = op::GetChildren::new(parent.clone());
    let _ = session.submit_behind(list, move |listed| {
        let Some(session) = weak.upgrade() else { return };
        match listed {
            Ok(names) => {
                for name in names.iter().filter(|name| name.starts_with(&unique)) {
                    delete_behind(&session, path::join(&parent, name));
                }
            }
            Err(error) if error.is_connection() => sweep_behind(&session, parent, unique),
            Err(error) => log::warn!("cannot look for {unique} under {parent}: {error}"),
        }
    });
}

/// 32 hex digits that nobody else uses, as Kazoo's: random, but for a count that keeps two of one
/// process apart whatever the random numbers are.
pub(crate) fn unique_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{:024x}{:08x}", fastrand::u128(..) >> 32, count as u32)
}

/// How often a waiting recipe looks whether it was cancelled while the server does not answer.
const LOOK_EVERY: Duration = Duration::from_millis(50);
