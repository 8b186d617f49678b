//! Reading nodes, with or without leaving a watch.

use std::borrow::Cow;

use super::sealed::{Answer, Encode, Unread};
use super::{Encoded, Operation, server_path};
use crate::client::chroot::Chroot;
use crate::client::watch::Watcher;
use crate::error::{Error, Result};
use crate::proto::acl::Acl;
use crate::proto::buffer::Buffer;
use crate::proto::code::Code;
use crate::proto::jute::Writer;
use crate::proto::multi::{self, MultiResult, MultiWriter};
use crate::proto::opcode::OpCode;
use crate::proto::reply;
use crate::proto::request::{PathRequest, WatchedRead};
use crate::proto::stat::Stat;
use crate::session::event::WatchedEvent;
use crate::session::watches::WatchKind;

/// Writes the operations that are a path and a watch flag: they differ in opcode and reply only.
macro_rules! watched_read {
    (
        $(#[$doc:meta])* $name:ident, $op:ident, $kind:ident, $method:literal,
        $reply:ty, |$answer:ident| $decode:expr
    ) => {
        $(#[$doc])*
        #[derive(Debug)]
        #[must_use = "an operation does nothing until it is called or submitted"]
        pub struct $name<'a> {
            path: Cow<'a, str>,
            watcher: Option<Watcher>,
        }

        impl<'a> $name<'a> {
            /// Reads `path`.
            pub fn new(path: impl Into<Cow<'a, str>>) -> Self {
                Self { path: path.into(), watcher: None }
            }

            /// Leaves a one-shot watch. `callback` runs once, on the event thread: with the event,
            /// or with [`EventKind::Ended`](crate::EventKind::Ended) when the session ends. If the
            /// call fails it is dropped, unrun.
            pub fn watch(self, callback: impl FnOnce(WatchedEvent) + Send + 'static) -> Self {
                self.watcher(Watcher::once(callback))
            }

            pub(crate) fn watcher(mut self, watcher: Watcher) -> Self {
                self.watcher = Some(watcher);
                self
            }
        }

        impl Encode for $name<'_> {
            type Memo = ();

            const NAME: &'static str = $method;

            fn path(&self) -> &str {
                &self.path
            }

            fn is_read(&self) -> bool {
                    true
                }

                fn encode(&mut self, chroot: &Chroot, out: &mut Buffer) -> Result<(Encoded, ())> {
                let path = server_path($method, &self.path, chroot)?;
                let watcher = self.watcher.take();
                let watch = watcher.is_some();
                let encoded = Encoded::new(out, OpCode::$op, 5 + path.len(), |out| {
                    WatchedRead { path: &path, watch }.encode(&mut Writer::new(out));
                });
                Ok((encoded.watch(&path, WatchKind::$kind, watcher), ()))
            }
        }

        impl Operation for $name<'_> {
            type Reply = $reply;

            fn decode($answer: Answer<'_>, (): ()) -> Result<$reply, Unread> {
                $decode
            }
        }
    };
}

watched_read! {
    /// Asks whether a node is there. Answers its [`Stat`], or `None`: absence is an answer.
    ///
    /// The only read that can watch a node which does not exist yet.
    Exists, Exists, Data, "exists", Option<Stat>,
    |answer| match answer.code {
        Code::NoNode => Ok(None),
        _ => Ok(Some(reply::stat(&answer.ok()?.body)?)),
    }
}

watched_read! {
    /// Reads a node's data and [`Stat`]. Null data reads as empty; see [`GetDataOrNull`].
    GetData, GetData, Data, "get_data", (Vec<u8>, Stat),
    |answer| {
        let (data, stat) = answer.data()?;
        Ok((data.unwrap_or_default(), stat))
    }
}

watched_read! {
    /// Reads a node's data and [`Stat`], telling null data (`None`) from empty data.
    GetDataOrNull, GetData, Data, "get_data", (Option<Vec<u8>>, Stat),
    |answer| answer.data()
}

watched_read! {
    /// Lists the names of a node's children, in no order.
    GetChildren, GetChildren, Child, "get_children", Vec<String>,
    |answer| Ok(reply::children(&answer.ok()?.body)?)
}

watched_read! {
    /// Lists the names of a node's children, in no order, with the node's [`Stat`]. Since 3.3.
    GetChildrenWithStat, GetChildren2, Child, "get_children_with_stat", (Vec<String>, Stat),
    |answer| Ok(reply::children_and_stat(&answer.ok()?.body)?)
}

/// Reads a node's ACL and [`Stat`].
///
/// Servers since 3.7.3 want READ or ADMIN for it, and hide the digests of others without ADMIN.
#[derive(Clone, Debug)]
#[must_use = "an operation does nothing until it is called or submitted"]
pub struct GetAcl<'a> {
    path: Cow<'a, str>,
}

impl<'a> GetAcl<'a> {
    /// Reads the ACL of `path`.
    pub fn new(path: impl Into<Cow<'a, str>>) -> Self {
        Self { path: path.into() }
    }
}

impl Encode for GetAcl<'_> {
    type Memo = ();

    const NAME: &'static str = "get_acl";

    fn path(&self) -> &str {
        &self.path
    }

    fn is_read(&self) -> bool {
        true
    }

    fn encode(&mut self, chroot: &Chroot, out: &mut Buffer) -> Result<(Encoded, ())> {
        let path = server_path("get_acl", &self.path, chroot)?;
        let encoded = Encoded::new(out, OpCode::GetAcl, 4 + path.len(), |out| {
            PathRequest { path: &path }.encode(&mut Writer::new(out));
        });
        Ok((encoded, ()))
    }
}

impl Operation for GetAcl<'_> {
    type Reply = (Vec<Acl>, Stat);

    fn decode(answer: Answer<'_>, (): ()) -> Result<Self::Reply, Unread> {
        Ok(reply::acl(&answer.ok()?.body)?)
    }
}

/// Reads many nodes in one request. Answers one [`ReadOutcome`] per item, in order. Since 3.6.
///
/// Each item succeeds or fails for itself; the batch fails as a whole only with the connection.
#[derive(Clone, Debug, Default)]
#[must_use = "an operation does nothing until it is called or submitted"]
pub struct MultiRead {
    items: Vec<ReadItem>,
}

/// One read of a [`MultiRead`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadItem {
    /// The names of a node's children.
    Children(String),
    /// A node's data and [`Stat`].
    Data(String),
}

/// What one read of a [`MultiRead`] gave.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadOutcome {
    /// The names of the node's children, in no order.
    Children(Vec<String>),
    /// The node's data (`None` for null data) and [`Stat`].
    Data(Option<Vec<u8>>, Stat),
    /// The server refused this read.
    Refused(Code),
}

impl MultiRead {
    /// Nothing yet; reading nothing is refused.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the data of `path` too.
    pub fn get_data(mut self, path: impl Into<String>) -> Self {
        self.items.push(ReadItem::Data(path.into()));
        self
    }

    /// Lists the children of `path` too.
    pub fn get_children(mut self, path: impl Into<String>) -> Self {
        self.items.push(ReadItem::Children(path.into()));
        self
    }
}

impl Extend<ReadItem> for MultiRead {
    fn extend<I: IntoIterator<Item = ReadItem>>(&mut self, items: I) {
        self.items.extend(items);
    }
}

impl Encode for MultiRead {
    type Memo = usize;

    const NAME: &'static str = "multi_read";

    fn path(&self) -> &str {
        ""
    }

    fn is_read(&self) -> bool {
        true
    }

    fn encode(&mut self, chroot: &Chroot, out: &mut Buffer) -> Result<(Encoded, usize)> {
        if self.items.is_empty() {
            return Err(Error::invalid("multi_read", "", "there is nothing to read"));
        }
        let mut paths = Vec::with_capacity(self.items.len());
        for item in &self.items {
            let (op, path) = match item {
                ReadItem::Children(path) => (OpCode::GetChildren, path),
                ReadItem::Data(path) => (OpCode::GetData, path),
            };
            paths.push((op, server_path("multi_read", path, chroot)?));
        }
        let len = paths.iter().map(|(_, path)| 14 + path.len()).sum::<usize>() + 9;
        let encoded = Encoded::new(out, OpCode::MultiRead, len, |out| {
            let mut writer = MultiWriter::new(out);
            for (op, path) in &paths {
                WatchedRead { path, watch: false }.encode(&mut writer.op(*op));
            }
            writer.finish();
        });
        Ok((encoded, self.items.len()))
    }
}

impl Operation for MultiRead {
    type Reply = Vec<ReadOutcome>;

    fn decode(answer: Answer<'_>, asked: usize) -> Result<Self::Reply, Unread> {
        let results = multi::results(&answer.ok()?.body)?;
        if results.len() != asked {
            return Err(Unread::Shape("not as many results as reads"));
        }
        results
            .into_iter()
            .map(|result| match result {
                MultiResult::Children(names) => Ok(ReadOutcome::Children(names)),
                MultiResult::Data(data, stat) => Ok(ReadOutcome::Data(data, stat)),
                MultiResult::Error(code) => Ok(ReadOutcome::Refused(Code::from_raw(code))),
                _ => Err(Unread::Shape("a result of a write among reads")),
            })
            .collect()
    }
}
