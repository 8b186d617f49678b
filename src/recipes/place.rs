//! A place among others: one ephemeral node, found again after a lost answer, and never left
//! behind.
//!
//! The answer to a create can be lost with its connection. Then the node exists or it does not,
//! and asking again could make two, of which the first would hold the lock for nobody. So each
//! node carries a name that nobody else uses, and after a lost answer the children are searched
//! for it; after a `sync`, since the server that we are connected to now may not have seen the
//! create yet. A node of that name made by an *earlier* session of ours is dying and is not ours
//! (CURATOR-498): its owner is compared.

use crate::client::Client;
use crate::client::behind::{Cleanup, delete_behind};
use crate::client::op::{self, CreateMode, Created, Version};
use crate::client::session::Session;
use crate::error::{Applied, Error, RecipeError, Result};
use crate::io::shared::Novelty;
use crate::path;
use crate::proto::acl::Acl;
use crate::proto::code::Code;
use crate::proto::stat::Stat;
use crate::recipes::patience::Patience;

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
    /// The parent's data, should it have to be made.
    pub(crate) parent_data: &'a [u8],
    /// The name, which nobody else uses, up to the number that the server appends, if it does.
    pub(crate) unique: String,
    /// One of the ephemeral modes.
    pub(crate) mode: CreateMode,
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
        let prefix = path::join(options.parent, &options.unique);
        // From the first send on, a node of our name may exist, or come to exist.
        let mut cleanup = Cleanup::armed(session, options.parent, &options.unique);
        loop {
            patience.check()?;
            let create = op::Create::new(prefix.as_str())
                .mode(options.mode)
                .data(options.data)
                .acl(options.acl.iter().cloned());
            let tells = session.knows(Novelty::CreateWithStat);
            let create = if tells { create.with_stat() } else { create };
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
                    // One that does not tell it: ask for what was left out.
                    let stat = patience.ask(session, || op::Exists::new(node.as_str()))?;
                    if let Some(stat) = stat {
                        let place = Self::of(session, node, &stat, patience)?;
                        cleanup.disarm();
                        return Ok((place, None));
                    }
                }
                Err(error) if error.code() == Some(Code::NoNode) => {
                    // Removed by an admin, or a container that expired: it is made again, always.
                    let (parent, data) = (options.parent, options.parent_data);
                    ensure_parent(session, parent, data, options.acl, patience)?;
                }
                Err(error) if tells && error.code() == Some(Code::Unimplemented) => {
                    session.note_without(Novelty::CreateWithStat);
                }
                Err(error) if error.is_connection() => {
                    if let Some(place) = Self::find(session, options, patience)? {
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
        options: &PlaceOptions<'_>,
        patience: &Patience<'_>,
    ) -> Result<Option<Self>> {
        let parent = options.parent;
        patience.ask(session, || op::Sync::new(parent))?;
        let children = match patience.ask(session, || op::GetChildren::new(parent)) {
            Err(error) if error.code() == Some(Code::NoNode) => return Ok(None),
            children => children?,
        };
        for name in children.iter().filter(|name| name.starts_with(&options.unique)) {
            let node = path::join(parent, name);
            if let Some(stat) = patience.ask(session, || op::Exists::new(node.as_str()))? {
                if stat.ephemeral_owner == session.id() {
                    return Self::of(session, node, &stat, patience).map(Some);
                }
            }
        }
        Ok(None)
    }

    /// The same place, in the session's present life: a loss that the session survived before the
    /// place was ours is none of it.
    pub(crate) fn refreshed(&self) -> Self {
        Self { session: self.session.refreshed(), ..self.clone() }
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
                    return Err(patience.error(RecipeError::NotHeld));
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
        delete_behind(&self.session, self.node.clone(), Version::Any);
    }
}

/// Makes a node with `data` that others are below, and its parents, empty, where they are missing: as
/// the client makes parents.
pub(crate) fn ensure_parent(
    client: &Client,
    node: &str,
    data: &[u8],
    acl: &[Acl],
    patience: &Patience<'_>,
) -> Result<()> {
    ensure(client, node, data, acl, client.scope().parents, patience)
}

/// As [`ensure_parent`], a node that stays.
pub(crate) fn ensure_node(
    client: &Client,
    node: &str,
    data: &[u8],
    acl: &[Acl],
    patience: &Patience<'_>,
) -> Result<()> {
    ensure(client, node, data, acl, CreateMode::Persistent, patience)
}

fn ensure(
    client: &Client,
    node: &str,
    data: &[u8],
    acl: &[Acl],
    mode: CreateMode,
    patience: &Patience<'_>,
) -> Result<()> {
    client.ensure_by(node, &|client, path| {
        let (data, is_parent) =
            if path == node { (data, mode != CreateMode::Persistent) } else { (&[][..], true) };
        let create = |mode| {
            let create = || op::Create::new(path).data(data).mode(mode).acl(acl.iter().cloned());
            patience.ask(client, create)
        };
        let created = if is_parent { client.make_parent(create) } else { create(mode) };
        match created {
            // The server looks at the parent's ACL before it looks for the node.
            Err(error)
                if error.code() == Some(Code::NoAuth)
                    && patience.ask(client, || op::Exists::new(path))?.is_some() =>
            {
                Ok(())
            }
            created => created.map(drop),
        }
    })
}
