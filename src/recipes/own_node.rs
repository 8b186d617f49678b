//! One ephemeral node of a name that is known beforehand: made once, found again after a lost
//! answer, and never left behind.
//!
//! Unlike a [`Place`], whose name nobody else uses, the name may be somebody else's, be it another
//! thread's of the same session. So a node that is found counts as ours only if we do not know what
//! became of our create, and it has our session and our data: whoever competes for a name must say
//! something that nobody else says. And before one is deleted it is looked at again.

use std::sync::Arc;

use crate::client::Pending;
use crate::client::op::{self, CreateMode};
use crate::client::session::Session;
use crate::client::transaction::{OpResult, Transaction};
use crate::error::{Applied, Error, RecipeError, Result};
use crate::io::shared::Novelty;
use crate::proto::code::Code;
use crate::proto::stat::Stat;
use crate::recipes::patience::Patience;
use crate::recipes::place::Place;
use crate::recipes::site::Site;

/// The node, as long as it is to be there; its drop deletes it in the background.
#[derive(Debug)]
pub(crate) struct OwnNode {
    pub(crate) session: Session,
    pub(crate) path: Arc<str>,
    /// The transaction that made it; 0 while that is not known.
    pub(crate) czxid: i64,
    data: Arc<[u8]>,
    armed: bool,
}

impl OwnNode {
    /// Makes the node, and its parents if they are missing. `None` if somebody else has the name.
    pub(crate) fn make(
        site: &Site,
        session: &Session,
        path: &str,
        data: &[u8],
        patience: &Patience<'_>,
    ) -> Result<Option<Self>> {
        // From the first send on, it may exist, or come to exist.
        let mut node = Self {
            session: session.clone(),
            path: path.into(),
            czxid: 0,
            data: data.into(),
            armed: true,
        };
        let mut is_unsure = false;
        loop {
            let create = op::Create::new(path)
                .mode(CreateMode::Ephemeral)
                .data(data)
                .acl(site.acl.iter().cloned());
            let tells = session.knows(Novelty::CreateWithStat);
            let create = if tells { create.with_stat() } else { create };
            patience.check()?;
            let pending = session.submit_until(create, patience.deadline)?;
            match patience.wait(pending)? {
                Ok(created) => match created.stat {
                    Some(stat) => return node.of(&stat, patience).map(Some),
                    // One that does not tell it: ask for what was left out.
                    None => is_unsure = true,
                },
                Err(error) if error.code() == Some(Code::NodeExists) => {
                    if !is_unsure {
                        node.armed = false;
                        return Ok(None);
                    }
                }
                Err(error) if error.code() == Some(Code::NoNode) => {
                    site.ensure_above(patience, path)?;
                    continue;
                }
                Err(error) if tells && error.code() == Some(Code::Unimplemented) => {
                    session.note_without(Novelty::CreateWithStat);
                    continue;
                }
                Err(error) if error.is_connection() => {
                    is_unsure |= error.applied() == Applied::Unknown;
                    continue;
                }
                Err(error) => {
                    node.armed = error.applied() != Applied::No;
                    return Err(error);
                }
            }
            node = match node.look(patience)? {
                Looked::Settled(made) => return Ok(made),
                Looked::Missing(node) => node,
            };
        }
    }

    /// Looks what became of a create that was not answered.
    fn look(mut self, patience: &Patience<'_>) -> Result<Looked> {
        match patience.ask(&self.session, || op::GetData::new(&*self.path)) {
            Ok((found, stat))
                if stat.ephemeral_owner == self.session.id() && *found == *self.data =>
            {
                self.of(&stat, patience).map(Some).map(Looked::Settled)
            }
            Ok(_) => {
                self.armed = false;
                Ok(Looked::Settled(None))
            }
            Err(error) if error.code() == Some(Code::NoNode) => Ok(Looked::Missing(self)),
            Err(error) => Err(error),
        }
    }

    /// Begins to make the node in one transaction with `more`, whose members come from index 2 on.
    /// Does not wait, so that several can be under way.
    ///
    /// The data are written twice, and so the node's version is [`WRITTEN_TWICE`]: a check of it
    /// tells the node from one that another client made under its name.
    pub(crate) fn begin(
        site: &Site,
        session: &Session,
        path: &str,
        data: &[u8],
        more: Transaction<'static>,
        patience: &Patience<'_>,
    ) -> Result<Making> {
        let all = written_twice(site, path, data, more.clone());
        let pending = session.submit_until(all, patience.deadline)?;
        let node = Self {
            session: session.clone(),
            path: path.into(),
            czxid: 0,
            data: data.into(),
            armed: true,
        };
        Ok(Making { node, more, pending })
    }

    /// If it is of the session that was meant; not so where the session began on a server that had
    /// no quorum, and got its id later.
    fn of(mut self, stat: &Stat, patience: &Patience<'_>) -> Result<Self> {
        if stat.ephemeral_owner != self.session.id() {
            return Err(Error::SessionExpired { sent: true, at: patience.at() });
        }
        self.czxid = stat.czxid;
        Ok(self)
    }

    /// Deletes the node and waits for it. `NotHeld` if somebody else deleted it before.
    pub(crate) fn leave(&mut self, patience: &Patience<'_>) -> Result<()> {
        // What is not done by then goes on in the background.
        self.armed = false;
        let node = self.path.to_string();
        Place { session: self.session.clone(), node, fence: self.czxid }.leave(patience)
    }

    /// Somebody, or something, else takes care of it.
    pub(crate) fn disarm(&mut self) {
        self.armed = false;
    }
}

enum Looked {
    /// It is ours, or somebody else has the name.
    Settled(Option<OwnNode>),
    /// There is none.
    Missing(OwnNode),
}

/// The version of a node that [`OwnNode::begin`] makes. Those of others are made with version 0, and
/// nobody writes to them.
pub(crate) const WRITTEN_TWICE: i32 = 1;

/// A node that is being made; its drop deletes it in the background.
pub(crate) struct Making {
    node: OwnNode,
    more: Transaction<'static>,
    pending: Pending<Vec<OpResult>>,
}

impl Making {
    /// Waits until it is made; makes its parents if they are missing. `None` if somebody else has
    /// the name.
    ///
    /// Fails if a member of `more` was refused, with its index; then there is no node.
    pub(crate) fn finish(self, site: &Site, patience: &Patience<'_>) -> Result<Option<OwnNode>> {
        let Self { mut node, more, mut pending } = self;
        let mut is_unsure = false;
        loop {
            match patience.wait(pending)? {
                Ok(results) => match results.get(1).and_then(OpResult::stat) {
                    Some(stat) => return node.of(stat, patience).map(Some),
                    None => is_unsure = true,
                },
                Err(Error::Transaction { index: 0, code: Code::NodeExists, .. }) => {
                    if !is_unsure {
                        node.armed = false;
                        return Ok(None);
                    }
                    node = match node.look(patience)? {
                        Looked::Settled(made) => return Ok(made),
                        Looked::Missing(node) => node,
                    };
                }
                Err(Error::Transaction { index: 0, code: Code::NoNode, .. }) => {
                    site.ensure_above(patience, &node.path)?;
                }
                Err(error) if error.is_connection() => {
                    is_unsure |= error.applied() == Applied::Unknown;
                }
                Err(error) => {
                    node.armed = is_unsure || error.applied() != Applied::No;
                    return Err(error);
                }
            }
            patience.check()?;
            let all = written_twice(site, &node.path, &node.data, more.clone());
            pending = node.session.submit_until(all, patience.deadline)?;
        }
    }
}

fn written_twice<'a>(
    site: &Site,
    path: &'a str,
    data: &'a [u8],
    more: Transaction<'a>,
) -> Transaction<'a> {
    let create = op::Create::new(path).mode(CreateMode::Ephemeral).data(data);
    let create = create.acl(site.acl.iter().cloned());
    Transaction::new().op(create).set_data(path, data, 0).and(more)
}

impl Drop for OwnNode {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let (czxid, owner, data) = (self.czxid, self.session.id(), self.data.clone());
        let is_ours = move |found: &[u8], stat: &Stat| match czxid {
            0 => stat.ephemeral_owner == owner && *found == *data,
            czxid => stat.czxid == czxid,
        };
        look_behind(&self.session, self.path.clone(), Arc::new(is_ours));
    }
}

/// Deletes a node that was made, or may have been, and waits for it. `NotHeld` if there is none, or
/// it is somebody else's although it is to be ours.
pub(crate) fn remove(
    session: &Session,
    path: &str,
    is_owned: bool,
    patience: &Patience<'_>,
) -> Result<()> {
    let not_held = || Error::Recipe { why: RecipeError::NotHeld, at: patience.at() };
    patience.ask(session, || op::Sync::new(path))?;
    let stat = patience.ask(session, || op::Exists::new(path))?.ok_or_else(not_held)?;
    if is_owned && stat.ephemeral_owner != session.id() {
        return Err(not_held());
    }
    let node = path.to_owned();
    Place { session: session.clone(), node, fence: stat.czxid }.leave(patience)
}

/// Deletes, in the background, a node that was made, or may come to be made by a request that is
/// in a queue still: what is asked now is answered after that one. On another server the `sync`
/// waits for it.
pub(crate) fn look_behind(session: &Session, path: Arc<str>, is_ours: IsOurs) {
    let weak = session.downgrade_session();
    let sync = op::Sync::new(path.to_string());
    let _ = session.submit_behind(sync, move |synced| {
        let Some(session) = weak.upgrade() else { return };
        match synced {
            Ok(_) => delete_behind(&session, path, is_ours),
            Err(error) if error.is_connection() => look_behind(&session, path, is_ours),
            Err(_) => {}
        }
    });
}

fn delete_behind(session: &Session, path: Arc<str>, is_ours: IsOurs) {
    let weak = session.downgrade_session();
    let read = op::GetData::new(path.to_string());
    let _ = session.submit_behind(read, move |found| {
        let Some(session) = weak.upgrade() else { return };
        match found {
            Ok((data, stat)) if is_ours(&data, &stat) => {
                let node = path.to_string();
                Place { session, node, fence: stat.czxid }.leave_behind();
            }
            Err(error) if error.is_connection() => delete_behind(&session, path, is_ours),
            _ => {}
        }
    });
}

/// Whether the node of these data is the one that is to go.
pub(crate) type IsOurs = Arc<dyn Fn(&[u8], &Stat) -> bool + Send + Sync>;
