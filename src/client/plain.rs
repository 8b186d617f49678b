//! The plain calls: one line each over the operation values.

use std::time::Instant;

use crossbeam_channel::RecvTimeoutError;

use crate::client::op::{self, AuthInfo, CreateMode, Version, WatchMode, WatcherType};
use crate::client::transaction::ClientTransaction;
use crate::client::watch::{Watch, Watcher};
use crate::client::{Armed, Client};
use crate::error::{At, Error, Result};
use crate::io::driver::Command;
use crate::io::mailbox::Mailbox;
use crate::proto::acl::Acl;
use crate::proto::stat::Stat;
use crate::session::event::WatchedEvent;

impl Client {
    /// Creates a node, open to everybody, and gives its path, with the number that the server
    /// appended to a sequential one. For ACLs, times to live and the new [`Stat`], see
    /// [`op::Create`].
    ///
    /// # Errors
    /// * [`Code::NodeExists`](crate::Code::NodeExists), [`Code::NoNode`](crate::Code::NoNode) if
    ///   the parent is missing, [`Code::NoAuth`](crate::Code::NoAuth),
    ///   [`Code::NoChildrenForEphemerals`](crate::Code::NoChildrenForEphemerals).
    /// * [`Error::ConnectionLoss`]: the node may have been created.
    pub fn create(&self, path: &str, data: impl AsRef<[u8]>, mode: CreateMode) -> Result<String> {
        self.call(op::Create::new(path).data(data.as_ref()).mode(mode)).map(|created| created.path)
    }

    /// Deletes a node that has `version` and no children.
    ///
    /// # Errors
    /// [`Code::NoNode`](crate::Code::NoNode), [`Code::BadVersion`](crate::Code::BadVersion),
    /// [`Code::NotEmpty`](crate::Code::NotEmpty), [`Code::NoAuth`](crate::Code::NoAuth).
    pub fn delete(&self, path: &str, version: impl Into<Version>) -> Result<()> {
        self.call(op::Delete::new(path).version(version))
    }

    /// The node's [`Stat`]; `None` if it does not exist.
    ///
    /// # Errors
    /// [`Code::NoAuth`](crate::Code::NoAuth) from newer servers, such as 3.9.3, which want READ for
    /// it (ZOOKEEPER-2590).
    pub fn exists(&self, path: &str) -> Result<Option<Stat>> {
        self.call(op::Exists::new(path))
    }

    /// The node's data and [`Stat`]. Null data reads as empty; [`op::GetDataOrNull`] tells them
    /// apart.
    ///
    /// # Errors
    /// [`Code::NoNode`](crate::Code::NoNode), [`Code::NoAuth`](crate::Code::NoAuth).
    pub fn get_data(&self, path: &str) -> Result<(Vec<u8>, Stat)> {
        self.call(op::GetData::new(path))
    }

    /// Sets the data of a node that has `version`, and gives its new [`Stat`].
    ///
    /// # Errors
    /// * [`Code::NoNode`](crate::Code::NoNode), [`Code::BadVersion`](crate::Code::BadVersion),
    ///   [`Code::NoAuth`](crate::Code::NoAuth).
    /// * [`Error::Invalid`] if the data is larger than the servers take.
    /// * [`Error::ConnectionLoss`]: the write may have happened.
    pub fn set_data(
        &self,
        path: &str,
        data: impl AsRef<[u8]>,
        version: impl Into<Version>,
    ) -> Result<Stat> {
        self.call(op::SetData::new(path, data.as_ref()).version(version))
    }

    /// The names of the node's children, in no order.
    ///
    /// # Errors
    /// [`Code::NoNode`](crate::Code::NoNode), [`Code::NoAuth`](crate::Code::NoAuth).
    pub fn get_children(&self, path: &str) -> Result<Vec<String>> {
        self.call(op::GetChildren::new(path))
    }

    /// The names of the node's children, in no order, and the node's [`Stat`].
    ///
    /// # Errors
    /// As [`get_children`](Self::get_children).
    pub fn get_children_with_stat(&self, path: &str) -> Result<(Vec<String>, Stat)> {
        self.call(op::GetChildrenWithStat::new(path))
    }

    /// The node's ACL and [`Stat`].
    ///
    /// # Errors
    /// [`Code::NoNode`](crate::Code::NoNode), [`Code::NoAuth`](crate::Code::NoAuth).
    pub fn get_acl(&self, path: &str) -> Result<(Vec<Acl>, Stat)> {
        self.call(op::GetAcl::new(path))
    }

    /// Sets the ACL of a node whose ACL has `version`, and gives its new [`Stat`].
    ///
    /// # Errors
    /// [`Code::InvalidAcl`](crate::Code::InvalidAcl), [`Code::NoNode`](crate::Code::NoNode),
    /// [`Code::BadVersion`](crate::Code::BadVersion), [`Code::NoAuth`](crate::Code::NoAuth).
    pub fn set_acl(
        &self,
        path: &str,
        acl: impl IntoIterator<Item = Acl>,
        version: impl Into<Version>,
    ) -> Result<Stat> {
        self.call(op::SetAcl::new(path, acl).version(version))
    }

    /// Waits until the server has caught up with the leader; see [`op::Sync`] for what that does
    /// not promise.
    ///
    /// # Errors
    /// Those of every call.
    pub fn sync(&self, path: &str) -> Result<()> {
        self.call(op::Sync::new(path)).map(drop)
    }

    /// Goes through if the node exists and has `version`.
    ///
    /// Sent as a transaction of one: servers answer a bare check with an error, with a closed
    /// connection, or not at all.
    ///
    /// # Errors
    /// [`Code::NoNode`](crate::Code::NoNode), [`Code::BadVersion`](crate::Code::BadVersion).
    pub fn check(&self, path: &str, version: impl Into<Version>) -> Result<()> {
        self.transaction().check(path, version).commit().map(drop).map_err(|error| match error {
            Error::Transaction { code, at, .. } => Error::Refused { code, at },
            error => error,
        })
    }

    /// Begins a transaction.
    pub fn transaction(&self) -> ClientTransaction<'_> {
        ClientTransaction::new(self)
    }

    /// The number of nodes below a path, at any depth.
    ///
    /// # Errors
    /// [`Code::NoNode`](crate::Code::NoNode).
    pub fn get_all_children_number(&self, path: &str) -> Result<i32> {
        self.call(op::GetAllChildrenNumber::new(path))
    }

    /// The paths of this session's ephemeral nodes that begin with `path`.
    ///
    /// # Errors
    /// Those of every call.
    pub fn get_ephemerals(&self, path: &str) -> Result<Vec<String>> {
        self.call(op::GetEphemerals::new(path))
    }

    /// The identities that the server knows this client by.
    ///
    /// # Errors
    /// [`Code::Unimplemented`](crate::Code::Unimplemented) before 3.7.
    pub fn who_am_i(&self) -> Result<Vec<AuthInfo>> {
        self.call(op::WhoAmI::new())
    }

    /// The configuration of the ensemble and its node's [`Stat`].
    ///
    /// # Errors
    /// Those of every call.
    pub fn get_config(&self) -> Result<(Vec<u8>, Stat)> {
        self.call(op::GetConfig::new())
    }

    /// As [`get_data`](Self::get_data), leaving a one-shot watch on data and deletion.
    ///
    /// # Errors
    /// As [`get_data`](Self::get_data); then no watch is left.
    pub fn watch_data(&self, path: &str) -> Result<(Vec<u8>, Stat, Watch)> {
        let (watcher, events) = Watcher::handle();
        let ((data, stat), armed) = self.call_armed(op::GetData::new(path).watcher(watcher))?;
        Ok((data, stat, self.handle_of("get_data", path, events, armed)?))
    }

    /// As [`exists`](Self::exists), leaving a one-shot watch on creation, data and deletion.
    ///
    /// # Errors
    /// As [`exists`](Self::exists); then no watch is left.
    pub fn watch_exists(&self, path: &str) -> Result<(Option<Stat>, Watch)> {
        let (watcher, events) = Watcher::handle();
        let (stat, armed) = self.call_armed(op::Exists::new(path).watcher(watcher))?;
        Ok((stat, self.handle_of("exists", path, events, armed)?))
    }

    /// As [`get_children`](Self::get_children), leaving a one-shot watch on the children.
    ///
    /// # Errors
    /// As [`get_children`](Self::get_children); then no watch is left.
    pub fn watch_children(&self, path: &str) -> Result<(Vec<String>, Watch)> {
        let (watcher, events) = Watcher::handle();
        let (names, armed) = self.call_armed(op::GetChildren::new(path).watcher(watcher))?;
        Ok((names, self.handle_of("get_children", path, events, armed)?))
    }

    /// As [`get_config`](Self::get_config), leaving a one-shot watch.
    ///
    /// # Errors
    /// As [`get_config`](Self::get_config); then no watch is left.
    pub fn watch_config(&self) -> Result<(Vec<u8>, Stat, Watch)> {
        let (watcher, events) = Watcher::handle();
        let ((data, stat), armed) = self.call_armed(op::GetConfig::new().watcher(watcher))?;
        Ok((data, stat, self.handle_of("get_config", "", events, armed)?))
    }

    /// Sets a watch that stays, until its handle is dropped. Since 3.6.
    ///
    /// # Errors
    /// [`Code::Unimplemented`](crate::Code::Unimplemented) before 3.6.
    pub fn add_watch(&self, path: &str, mode: WatchMode) -> Result<Watch> {
        let (watcher, events) = Watcher::handle();
        let ((), armed) = self.call_armed(op::AddWatch::with(path, mode, watcher))?;
        self.handle_of("add_watch", path, events, armed)
    }

    /// As [`add_watch`](Self::add_watch), for a callback on the event thread: it hears each event
    /// until the session ends, the last of kind [`EventKind::Ended`](crate::EventKind::Ended).
    ///
    /// # Errors
    /// As [`add_watch`](Self::add_watch); then the callback is dropped, unrun.
    pub fn add_watch_with(
        &self,
        path: &str,
        mode: WatchMode,
        callback: impl FnMut(WatchedEvent) + Send + 'static,
    ) -> Result<()> {
        self.call(op::AddWatch::new(path, mode, callback))
    }

    /// Takes all watches of a type off a path, here and on the server; each hears that it ended.
    ///
    /// # Errors
    /// [`Code::NoWatcher`](crate::Code::NoWatcher) if the server holds none; any that the client
    /// still held have ended all the same.
    pub fn remove_watches(&self, path: &str, kind: WatcherType) -> Result<()> {
        self.call(op::RemoveWatches::new(path, kind))
    }

    /// As [`remove_watches`](Self::remove_watches), but here only, without asking the server, so
    /// also while there is no connection. Gives their number.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad path, [`Error::Closed`] and the like.
    pub fn remove_watches_local(&self, path: &str, kind: WatcherType) -> Result<usize> {
        crate::path::validate(path)
            .map_err(|why| Error::invalid("remove_watches_local", path, why))?;
        let (ended, answer) = crossbeam_channel::bounded(1);
        let closed = || self.ended("remove_watches_local", path);
        let server_path = self.scope().chroot.down(path).into_owned();
        let command = Command::EndWatches { path: server_path, watcher_type: kind.raw(), ended };
        self.shared().command(command).map_err(|_| closed())?;
        let Some(deadline) = self.deadline(Instant::now()) else {
            return answer.recv().map_err(|_| closed());
        };
        answer.recv_deadline(deadline).map_err(|error| match error {
            RecvTimeoutError::Disconnected => closed(),
            RecvTimeoutError::Timeout => {
                Error::Timeout { sent: false, at: At::new("remove_watches_local", path) }
            }
        })
    }

    fn handle_of(
        &self,
        op: &'static str,
        path: &str,
        events: Mailbox,
        armed: Armed,
    ) -> Result<Watch> {
        let Some((server_path, id)) = armed else {
            return Err(Error::invalid(op, path, "no watch was set"));
        };
        let chroot = self.scope().chroot.clone();
        Ok(Watch::new(events, server_path, id, self.shared().clone(), chroot))
    }
}
