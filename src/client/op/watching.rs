//! Persistent watches, and taking watches back.

use std::borrow::Cow;

use super::sealed::{Answer, Encode, Unread};
use super::{Encoded, Operation, server_path};
use crate::client::chroot::Chroot;
use crate::client::watch::Watcher;
use crate::error::Result;
use crate::proto::buffer::Buffer;
use crate::proto::code::Code;
use crate::proto::jute::Writer;
use crate::proto::opcode::OpCode;
use crate::proto::request::{AddWatchRequest, RemoveWatchesRequest};
use crate::session::Change;
use crate::session::event::WatchedEvent;
use crate::session::watches::WatchKind;

/// How far a watch that stays reaches.
///
/// Source: `AddWatchMode.java`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WatchMode {
    /// The node, and the names of its children: created, deleted, data changed, children
    /// changed.
    Persistent,
    /// The node and everything below: created, deleted, data changed; children come by their own
    /// events.
    Recursive,
}

/// Sets a watch that stays. Since 3.6.
///
/// Events missed during a disconnect are *not* replayed by the server; after each reconnect the
/// watch hears [`EventKind::Resync`](crate::EventKind::Resync) instead.
#[derive(Debug)]
#[must_use = "an operation does nothing until it is called or submitted"]
pub struct AddWatch<'a> {
    path: Cow<'a, str>,
    mode: WatchMode,
    watcher: Option<Watcher>,
}

impl<'a> AddWatch<'a> {
    /// Watches `path`; `callback` runs on the event thread, once per event, and last with
    /// [`EventKind::Ended`](crate::EventKind::Ended). It stays until the session ends or
    /// [`RemoveWatches`] takes it back; for a handle whose drop takes it back, see
    /// [`Client::add_watch`](crate::Client::add_watch).
    pub fn new(
        path: impl Into<Cow<'a, str>>,
        mode: WatchMode,
        callback: impl FnMut(WatchedEvent) + Send + 'static,
    ) -> Self {
        Self::with(path, mode, Watcher::each(callback))
    }

    pub(crate) fn with(path: impl Into<Cow<'a, str>>, mode: WatchMode, watcher: Watcher) -> Self {
        Self { path: path.into(), mode, watcher: Some(watcher) }
    }
}

impl Encode for AddWatch<'_> {
    type Memo = ();

    const NAME: &'static str = "add_watch";

    fn path(&self) -> &str {
        &self.path
    }

    fn encode(&mut self, chroot: &Chroot, out: &mut Buffer) -> Result<(Encoded, ())> {
        let path = server_path("add_watch", &self.path, chroot)?;
        let (mode, kind) = match self.mode {
            WatchMode::Persistent => (0, WatchKind::Persistent),
            WatchMode::Recursive => (1, WatchKind::Recursive),
        };
        let encoded = Encoded::new(out, OpCode::AddWatch, 8 + path.len(), |out| {
            AddWatchRequest { path: &path, mode }.encode(&mut Writer::new(out));
        });
        Ok((encoded.watch(&path, kind, self.watcher.take()), ()))
    }
}

impl Operation for AddWatch<'_> {
    type Reply = ();

    fn decode(answer: Answer<'_>, (): ()) -> Result<(), Unread> {
        answer.ok().map(drop)
    }
}

/// Which watches are meant.
///
/// Source: `Watcher.WatcherType`; [`Persistent`](Self::Persistent) and
/// [`Recursive`](Self::Recursive) since 3.9.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WatcherType {
    /// One-shot watches on children.
    Children,
    /// One-shot watches on data and existence.
    Data,
    /// All of them.
    Any,
    /// Those of [`WatchMode::Persistent`].
    Persistent,
    /// Those of [`WatchMode::Recursive`].
    Recursive,
}

impl WatcherType {
    pub(crate) fn raw(self) -> i32 {
        match self {
            Self::Children => 1,
            Self::Data => 2,
            Self::Any => 3,
            Self::Persistent => 4,
            Self::Recursive => 5,
        }
    }
}

/// Takes all watches of one type off a path, here and on the server. Each of them hears
/// [`EventKind::Ended`](crate::EventKind::Ended). Since 3.5.
///
/// One watch of many is taken back by dropping its handle.
#[derive(Clone, Debug)]
#[must_use = "an operation does nothing until it is called or submitted"]
pub struct RemoveWatches<'a> {
    path: Cow<'a, str>,
    kind: WatcherType,
}

impl<'a> RemoveWatches<'a> {
    /// Takes the watches of type `kind` off `path`.
    pub fn new(path: impl Into<Cow<'a, str>>, kind: WatcherType) -> Self {
        Self { path: path.into(), kind }
    }
}

impl Encode for RemoveWatches<'_> {
    type Memo = ();

    const NAME: &'static str = "remove_watches";

    fn path(&self) -> &str {
        &self.path
    }

    fn encode(&mut self, chroot: &Chroot, out: &mut Buffer) -> Result<(Encoded, ())> {
        let path = server_path("remove_watches", &self.path, chroot)?;
        let kind = self.kind.raw();
        let mut encoded = Encoded::new(out, OpCode::RemoveWatches, 8 + path.len(), |out| {
            RemoveWatchesRequest { path: &path, kind }.encode(&mut Writer::new(out));
        });
        let remove = Change::Remove { path: path.as_ref().into(), watcher_type: kind };
        encoded.change = Some(Box::new(remove));
        Ok((encoded, ()))
    }
}

impl Operation for RemoveWatches<'_> {
    type Reply = ();

    fn decode(answer: Answer<'_>, (): ()) -> Result<(), Unread> {
        answer.ok().map(drop)
    }
}

/// Asks the server whether this session has a watch of a type on a path. Since 3.5.
#[derive(Clone, Debug)]
#[must_use = "an operation does nothing until it is called or submitted"]
pub struct CheckWatches<'a> {
    path: Cow<'a, str>,
    kind: WatcherType,
}

impl<'a> CheckWatches<'a> {
    /// Asks for watches of type `kind` on `path`.
    pub fn new(path: impl Into<Cow<'a, str>>, kind: WatcherType) -> Self {
        Self { path: path.into(), kind }
    }
}

impl Encode for CheckWatches<'_> {
    type Memo = ();

    const NAME: &'static str = "check_watches";

    fn path(&self) -> &str {
        &self.path
    }

    fn is_read(&self) -> bool {
        true
    }

    fn encode(&mut self, chroot: &Chroot, out: &mut Buffer) -> Result<(Encoded, ())> {
        let path = server_path("check_watches", &self.path, chroot)?;
        let kind = self.kind.raw();
        let encoded = Encoded::new(out, OpCode::CheckWatches, 8 + path.len(), |out| {
            RemoveWatchesRequest { path: &path, kind }.encode(&mut Writer::new(out));
        });
        Ok((encoded, ()))
    }
}

impl Operation for CheckWatches<'_> {
    type Reply = bool;

    fn decode(answer: Answer<'_>, (): ()) -> Result<bool, Unread> {
        match answer.code {
            Code::NoWatcher => Ok(false),
            _ => answer.ok().map(|_| true),
        }
    }
}
