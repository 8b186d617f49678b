//! Where a recipe works: a client, a path, the ACL of what it makes, and the threads that wait.

use std::sync::Arc;
use std::time::Instant;

use crate::client::Client;
use crate::client::op::Operation;
use crate::client::session::Session;
use crate::client::watch::{Watch, Watcher};
use crate::error::{Applied, Error, Result};
use crate::path;
use crate::proto::acl::Acl;
use crate::recipes::patience::{Patience, Waits};
use crate::recipes::place::{ensure_node, ensure_parent};

#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) client: Client,
    pub(crate) path: Arc<str>,
    pub(crate) acl: Arc<[Acl]>,
    waits: Waits,
}

impl Site {
    /// Nothing is sent. `Invalid` if `path` is not a legal path, or is "/".
    pub(crate) fn new(client: &Client, recipe: &'static str, path: &str) -> Result<Self> {
        let legal =
            if path == "/" { Err("the root cannot be used for it") } else { path::validate(path) };
        legal.map_err(|why| Error::invalid(recipe, path, why))?;
        Ok(Self {
            client: client.clone(),
            path: path.into(),
            acl: [Acl::open()].into(),
            waits: Waits::default(),
        })
    }

    /// As it was checked before.
    pub(crate) fn of(client: Client, path: Arc<str>, acl: Arc<[Acl]>) -> Self {
        Self { client, path, acl, waits: Waits::default() }
    }

    pub(crate) fn set_acl(&mut self, acl: impl IntoIterator<Item = Acl>) {
        self.acl = acl.into_iter().collect();
    }

    /// The same client and ACL, and the same waits, at another path.
    pub(crate) fn at(&self, path: String) -> Self {
        Self { path: path.into(), ..self.clone() }
    }

    /// The same, with waits of its own: a cancel of the others is none of its business.
    pub(crate) fn apart(&self) -> Self {
        Self { waits: Waits::default(), ..self.clone() }
    }

    /// The path of a node below.
    pub(crate) fn below(&self, name: &str) -> String {
        path::join(&self.path, name)
    }

    /// The deadline of a call that begins now.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.client.deadline(Instant::now())
    }

    /// Ends the waits that are under way.
    pub(crate) fn cancel(&self) {
        self.waits.cancel();
    }

    /// Runs `work` with a patience that ends with `deadline` or a cancel.
    pub(crate) fn patiently<T>(
        &self,
        deadline: Option<Instant>,
        op: &'static str,
        work: impl FnOnce(&Patience<'_>) -> Result<T>,
    ) -> Result<T> {
        self.waits.patiently(deadline, op, &self.path, work)
    }

    /// The present session; waits for one while there is none.
    pub(crate) fn session(&self, patience: &Patience<'_>) -> Result<Session> {
        patience.session(&self.client)
    }

    /// Whether the next session will do as well. A handle that is pinned to one has no other.
    pub(crate) fn may_renew(&self) -> bool {
        self.client.scope().pin.is_none()
    }

    /// Reads, until there is an answer, in this session or the next.
    pub(crate) fn ask<O: Operation>(
        &self,
        patience: &Patience<'_>,
        op: impl Fn() -> O,
    ) -> Result<O::Reply> {
        loop {
            match patience.ask(&self.client, &op) {
                Err(Error::SessionExpired { .. }) if self.may_renew() => patience.check()?,
                result => return result,
            }
        }
    }

    /// Reads and leaves a watch, until there is an answer, in this session or the next.
    pub(crate) fn watch<O: Operation>(
        &self,
        patience: &Patience<'_>,
        read: impl Fn(Watcher) -> O,
    ) -> Result<(O::Reply, Watch)> {
        loop {
            match look(&self.client, patience, &read) {
                Err(Error::SessionExpired { .. }) if self.may_renew() => {}
                result => return result,
            }
        }
    }

    /// Writes, once. What was not sent is sent again; where the answer was lost the error says so.
    ///
    /// A cancel does not end the wait: whoever cancels wants to know what happened.
    pub(crate) fn write<O: Operation>(
        &self,
        client: &Client,
        patience: &Patience<'_>,
        op: impl Fn() -> O,
    ) -> Result<O::Reply> {
        loop {
            patience.check()?;
            let pending = client.submit_until(op(), patience.deadline)?;
            match pending.wait_or_give_up(patience.deadline) {
                Err(error) if error.applied() == Applied::No && error.is_connection() => {}
                Err(error @ Error::SessionExpired { .. })
                    if error.applied() == Applied::No && client.scope().pin.is_none() => {}
                result => return result,
            }
        }
    }

    /// Makes the node at `path`, below which others are to be, and those above it, empty, where they
    /// are missing.
    pub(crate) fn ensure(&self, patience: &Patience<'_>, path: &str) -> Result<()> {
        ensure_parent(&self.client, path, &[], &self.acl, patience)
    }

    /// As [`ensure`](Self::ensure), a node that stays though nothing is below it.
    pub(crate) fn ensure_node(&self, patience: &Patience<'_>, path: &str) -> Result<()> {
        ensure_node(&self.client, path, &[], &self.acl, patience)
    }

    /// Makes what is missing above `path`, the chroot included.
    pub(crate) fn ensure_above(&self, patience: &Patience<'_>, path: &str) -> Result<()> {
        self.ensure(patience, path::parent(path).unwrap_or("/"))
    }
}

/// Reads and leaves a watch, until there is an answer.
pub(crate) fn look<O: Operation>(
    client: &Client,
    patience: &Patience<'_>,
    read: impl Fn(Watcher) -> O,
) -> Result<(O::Reply, Watch)> {
    loop {
        patience.check()?;
        match patience.watch(client, &read)? {
            Err(error) if error.is_connection() => {}
            read => return read,
        }
    }
}
