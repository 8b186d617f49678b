//! Whole paths and whole subtrees, and changes that read before they write.

use std::collections::VecDeque;

use crate::client::op::{self, CreateMode, Version};
use crate::client::transaction::Transaction;
use crate::client::{Client, Pending};
use crate::error::{Error, Result};
use crate::path;
use crate::proto::acl::Acl;
use crate::proto::code::Code;
use crate::proto::stat::Stat;

impl Client {
    /// Makes `path` and its parents, persistent (or as this handle makes
    /// [parents](Self::with_container_parents)), empty and open to everybody, where they are missing.
    ///
    /// # Errors
    /// [`Code::NoAuth`], [`Code::NoChildrenForEphemerals`].
    pub fn ensure_path(&self, path: &str) -> Result<()> {
        self.make_parent(|mode| self.ensure_path_with(path, mode, &[Acl::open()]))
    }

    /// Has `make` make a node that others are below, as this handle makes such nodes.
    pub(crate) fn make_parent<T>(&self, make: impl Fn(CreateMode) -> Result<T>) -> Result<T> {
        match make(self.scope().parents) {
            Err(error)
                if error.code() == Some(Code::Unimplemented)
                    && self.scope().parents == CreateMode::Container =>
            {
                make(CreateMode::Persistent)
            }
            made => made,
        }
    }

    /// As [`ensure_path`](Self::ensure_path), with a mode ([`CreateMode::Persistent`] or
    /// [`CreateMode::Container`]) and ACL for what is missing.
    ///
    /// Costs one round trip if the node is there or only it is missing, and two more for each
    /// further level that is missing.
    ///
    /// # Errors
    /// As [`ensure_path`](Self::ensure_path).
    pub fn ensure_path_with(&self, path: &str, mode: CreateMode, acl: &[Acl]) -> Result<()> {
        self.ensure_by(path, &|client, path| {
            let create = op::Create::new(path).mode(mode).acl(acl.iter().cloned());
            match client.call(create) {
                // The server looks at the parent's ACL before it looks for the node.
                Err(error)
                    if error.code() == Some(Code::NoAuth) && client.exists(path)?.is_some() =>
                {
                    Ok(())
                }
                created => created.map(drop),
            }
        })
    }

    /// As [`ensure_path`](Self::ensure_path), by whatever way `create` makes one node.
    pub(crate) fn ensure_by(
        &self,
        path: &str,
        create: &dyn Fn(&Self, &str) -> Result<()>,
    ) -> Result<()> {
        // From the end towards the root until one exists, then back down.
        let mut missing = vec![path];
        while let Some(&next) = missing.last() {
            match create(self, next) {
                Ok(()) => missing.truncate(missing.len().saturating_sub(1)),
                Err(error) => match (error.code(), path::parent(next)) {
                    (Some(Code::NodeExists), _) => {
                        missing.truncate(missing.len().saturating_sub(1));
                    }
                    (Some(Code::NoNode), Some(parent)) if parent != "/" => missing.push(parent),
                    // Under "/" only a chroot can be missing.
                    (Some(Code::NoNode), _) if next == "/" => {
                        match self.chroot() {
                            "/" => {}
                            chroot => self.unrooted().ensure_by(chroot, create)?,
                        }
                        missing.truncate(missing.len().saturating_sub(1));
                    }
                    (Some(Code::NoNode), Some(parent)) => missing.push(parent),
                    _ => return Err(error),
                },
            }
        }
        Ok(())
    }

    /// Makes the nodes of this handle's chroot where they are missing.
    ///
    /// # Errors
    /// As [`ensure_path`](Self::ensure_path).
    pub fn ensure_chroot(&self, mode: CreateMode, acl: &[Acl]) -> Result<()> {
        match self.chroot() {
            "/" => Ok(()),
            chroot => self.unrooted().ensure_path_with(chroot, mode, acl),
        }
    }

    /// Creates a node, making its parents if they are missing.
    ///
    /// # Errors
    /// Those of [`op::Create`] and [`ensure_path`](Self::ensure_path).
    pub fn create_with_parents(&self, create: op::Create<'_>) -> Result<op::Created> {
        let path = create.path_ref().to_owned();
        loop {
            match self.call(create.clone()) {
                Err(error) if error.code() == Some(Code::NoNode) => {
                    // A name that ends in a slash is its own parent's: `/queue/` + number.
                    match path.strip_suffix('/').or_else(|| path::parent(&path)) {
                        Some(parent) if !parent.is_empty() => self.ensure_path(parent)?,
                        _ => self.make_parent(|mode| self.ensure_chroot(mode, &[Acl::open()]))?,
                    }
                }
                result => return result,
            }
        }
    }

    /// Deletes a node and everything below it; gives the number of nodes that it deleted. A node
    /// that is not there is no error.
    ///
    /// Lists level by level and deletes from the leaves up, many requests in flight at a time and
    /// many deletes in one transaction. Not atomic: others may see the subtree half gone, and
    /// nodes that they add meanwhile are deleted too. For "/", everything but `/zookeeper` and
    /// the root goes.
    ///
    /// # Errors
    /// [`Code::NoAuth`], or [`Code::NotEmpty`] if others add nodes faster than they are deleted;
    /// what was deleted stays deleted.
    pub fn delete_recursive(&self, path: &str) -> Result<usize> {
        let mut deleted = 0;
        let mut result = Ok(());
        for _ in 0..SWEEPS {
            let nodes = self.subtree(path)?;
            if nodes.is_empty() {
                return Ok(deleted);
            }
            let (n, outcome) = self.delete_nodes(&nodes)?;
            deleted += n;
            result = outcome;
            match &result {
                Ok(()) => return Ok(deleted),
                Err(error) if error.code() == Some(Code::NotEmpty) => {}
                Err(_) => break,
            }
        }
        result.map(|()| deleted)
    }

    /// The paths of a node and everything below it, parents before children. Empty if the node is
    /// not there.
    ///
    /// # Errors
    /// [`Code::NoAuth`].
    pub fn subtree(&self, root: &str) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let mut level = VecDeque::from([root.to_owned()]);
        let mut asked: VecDeque<(String, Pending<Vec<String>>)> = VecDeque::new();
        loop {
            while asked.len() < WINDOW {
                let Some(path) = level.pop_front() else { break };
                let pending = self.submit(op::GetChildren::new(path.as_str()))?;
                asked.push_back((path, pending));
            }
            let Some((path, pending)) = asked.pop_front() else {
                return Ok(found);
            };
            match pending.wait() {
                Ok(names) => {
                    level.extend(names.iter().map(|name| path::join(&path, name)));
                    found.push(path);
                }
                Err(error) if error.code() == Some(Code::NoNode) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Deletes nodes, given parents before children. Gives their number, and the first refusal
    /// that is not "there is none".
    fn delete_nodes(&self, nodes: &[String]) -> Result<(usize, Result<()>)> {
        let doomed = |path: &&String| {
            *path != "/"
                && !(self.chroot() == "/"
                    && (*path == "/zookeeper" || path.starts_with("/zookeeper/")))
        };
        let leaves_first: Vec<&String> = nodes.iter().filter(doomed).rev().collect();
        let mut deleted = 0;
        let mut again = Vec::new();
        let mut in_flight = VecDeque::new();
        let mut batches = leaves_first.chunks(BATCH);
        loop {
            while in_flight.len() < BATCHES {
                let Some(batch) = batches.next() else { break };
                let transaction = batch
                    .iter()
                    .fold(Transaction::new(), |t, path| t.delete(path.as_str(), Version::Any));
                in_flight.push_back((batch, self.submit(transaction)?));
            }
            let Some((batch, pending)) = in_flight.pop_front() else {
                break;
            };
            match pending.wait() {
                Ok(_) => deleted += batch.len(),
                // One node of the batch is gone already, or has a new child: one by one then.
                Err(Error::Transaction { .. }) => again.extend_from_slice(batch),
                Err(error) => return Err(error),
            }
        }
        let mut refused = Ok(());
        for chunk in again.chunks(WINDOW) {
            let pending: Vec<_> = chunk
                .iter()
                .map(|path| self.submit(op::Delete::new(path.as_str())))
                .collect::<Result<_>>()?;
            for pending in pending {
                match pending.wait() {
                    Ok(()) => deleted += 1,
                    Err(error) if error.code() == Some(Code::NoNode) => {}
                    Err(error @ Error::Refused { .. }) => refused = refused.and(Err(error)),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok((deleted, refused))
    }

    /// Reads the node's data, has `change` make the new data of it, and writes that, if nobody
    /// else wrote meanwhile; if somebody did, all over again. `change` gives `None` to leave the
    /// node as it is. Gives the node's [`Stat`], after the write or as read.
    ///
    /// # Errors
    /// * [`Code::NoNode`], [`Code::NoAuth`].
    /// * [`Code::BadVersion`] if the deadline of the call passed with others writing all the time.
    /// * [`Error::ConnectionLoss`] and [`Error::Timeout`]: the write may have happened once. It is
    ///   never made twice, unless the handle's [`RetryPolicy`](crate::RetryPolicy) declares it
    ///   [`idempotent`](crate::RetryPolicy::idempotent).
    pub fn update(
        &self,
        path: &str,
        mut change: impl FnMut(&[u8]) -> Option<Vec<u8>>,
    ) -> Result<Stat> {
        let deadline = self.deadline(std::time::Instant::now());
        loop {
            let (data, stat) = self.get_data(path)?;
            let Some(new) = change(&data) else {
                return Ok(stat);
            };
            match self.set_data(path, new, stat.version) {
                Err(error)
                    if error.code() == Some(Code::BadVersion)
                        && deadline.is_none_or(|at| std::time::Instant::now() < at) => {}
                result => return result,
            }
        }
    }

    /// A handle that sees the whole tree.
    pub(crate) fn unrooted(&self) -> Self {
        self.scoped(|scope| scope.chroot = crate::client::chroot::Chroot::new(""))
    }
}

/// Requests in flight while a subtree is listed.
const WINDOW: usize = 1_000;

/// Deletes in one transaction: some 100 KiB with paths of 200 bytes, well below the servers'
/// limit; the request's own size check catches what is not.
const BATCH: usize = 400;

/// Transactions in flight.
const BATCHES: usize = 8;

/// How often the subtree is listed anew because others added to it.
const SWEEPS: usize = 10;
