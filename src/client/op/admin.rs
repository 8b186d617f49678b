//! The ensemble, the session, and the rest.

use std::borrow::Cow;

use super::sealed::{Answer, Encode, Unread};
use super::{Encoded, Operation, server_path};
use crate::client::chroot::Chroot;
use crate::client::watch::Watcher;
use crate::error::Result;
use crate::proto::buffer::Buffer;
use crate::proto::jute::Writer;
use crate::proto::opcode::OpCode;
use crate::proto::reply;
use crate::proto::request::{PathRequest, ReconfigRequest, WatchedRead};
use crate::proto::stat::Stat;
use crate::session::event::WatchedEvent;
use crate::session::watches::WatchKind;

pub use crate::proto::reply::ClientInfo as AuthInfo;

/// Waits until the server that the client is connected to has seen what the leader had
/// committed when the request reached it. Answers the path.
///
/// Not a quorum barrier: a leader that was deposed and does not know it yet can answer
/// (ZOOKEEPER-1675, ZOOKEEPER-2136).
#[derive(Clone, Debug)]
#[must_use = "an operation does nothing until it is called or submitted"]
pub struct Sync<'a> {
    path: Cow<'a, str>,
}

/// Counts all nodes below a path. Since 3.6.
#[derive(Clone, Debug)]
#[must_use = "an operation does nothing until it is called or submitted"]
pub struct GetAllChildrenNumber<'a> {
    path: Cow<'a, str>,
}

/// Lists the paths of this session's ephemeral nodes below a path. Since 3.6.
#[derive(Clone, Debug)]
#[must_use = "an operation does nothing until it is called or submitted"]
pub struct GetEphemerals<'a> {
    path: Cow<'a, str>,
}

/// Lists the identities that the server knows this client by. Since 3.7.
#[derive(Clone, Debug, Default)]
#[must_use = "an operation does nothing until it is called or submitted"]
#[non_exhaustive]
pub struct WhoAmI;

/// Writes the operations that are a path only.
macro_rules! path_operation {
    ($name:ident, $op:ident, $method:literal, $about:literal, $reply:ty, |$answer:ident| $decode:expr) => {
        impl<'a> $name<'a> {
            #[doc = $about]
            pub fn new(path: impl Into<Cow<'a, str>>) -> Self {
                Self { path: path.into() }
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
                let encoded = Encoded::new(out, OpCode::$op, 4 + path.len(), |out| {
                    PathRequest { path: &path }.encode(&mut Writer::new(out));
                });
                Ok((encoded, ()))
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

path_operation!(Sync, Sync, "sync", "Syncs at `path`, which need not exist.", String, |answer| {
    let Answer { body, chroot, .. } = answer.ok()?;
    Ok(chroot.up(reply::path(&body)?))
});

path_operation!(
    GetAllChildrenNumber,
    GetAllChildrenNumber,
    "get_all_children_number",
    "Counts below `path`.",
    i32,
    |answer| Ok(reply::count(&answer.ok()?.body)?)
);

path_operation!(
    GetEphemerals,
    GetEphemerals,
    "get_ephemerals",
    "Lists those whose path begins with `path`.",
    Vec<String>,
    |answer| {
        let Answer { body, chroot, .. } = answer.ok()?;
        // The server compares and answers its own paths; Java's client forgets that. It compares
        // them as text: asked for `/app` it names what is under `/application` too.
        let paths = reply::children(&body)?;
        let inside = paths.into_iter().filter(|path| chroot.holds(path));
        Ok(inside.map(|path| chroot.up(path)).collect())
    }
);

impl WhoAmI {
    /// Asks.
    pub fn new() -> Self {
        Self
    }
}

impl Encode for WhoAmI {
    type Memo = ();

    const NAME: &'static str = "who_am_i";

    fn path(&self) -> &str {
        ""
    }

    fn is_read(&self) -> bool {
        true
    }

    fn encode(&mut self, _: &Chroot, out: &mut Buffer) -> Result<(Encoded, ())> {
        Ok((Encoded::new(out, OpCode::WhoAmI, 0, |_| {}), ()))
    }
}

impl Operation for WhoAmI {
    type Reply = Vec<AuthInfo>;

    fn decode(answer: Answer<'_>, (): ()) -> Result<Self::Reply, Unread> {
        Ok(reply::client_infos(&answer.ok()?.body)?)
    }
}

/// Reads the configuration of the ensemble and its node's [`Stat`]. Since 3.5.
///
/// The text has a line per server and one with the version. A chroot does not apply. With a
/// watch, the client hears of the next change of servers.
#[derive(Debug, Default)]
#[must_use = "an operation does nothing until it is called or submitted"]
pub struct GetConfig {
    watcher: Option<Watcher>,
}

impl GetConfig {
    /// Reads `/zookeeper/config`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Leaves a one-shot watch; see [`GetData::watch`](super::GetData::watch).
    pub fn watch(self, callback: impl FnOnce(WatchedEvent) + Send + 'static) -> Self {
        self.watcher(Watcher::once(callback))
    }

    pub(crate) fn watcher(mut self, watcher: Watcher) -> Self {
        self.watcher = Some(watcher);
        self
    }
}

impl Encode for GetConfig {
    type Memo = ();

    const NAME: &'static str = "get_config";

    fn path(&self) -> &str {
        CONFIG_PATH
    }

    fn is_read(&self) -> bool {
        true
    }

    fn encode(&mut self, _: &Chroot, out: &mut Buffer) -> Result<(Encoded, ())> {
        let watcher = self.watcher.take();
        let watch = watcher.is_some();
        let encoded = Encoded::new(out, OpCode::GetData, 5 + CONFIG_PATH.len(), |out| {
            WatchedRead { path: CONFIG_PATH, watch }.encode(&mut Writer::new(out));
        });
        Ok((encoded.watch(CONFIG_PATH, WatchKind::Data, watcher), ()))
    }
}

impl Operation for GetConfig {
    type Reply = (Vec<u8>, Stat);

    fn decode(answer: Answer<'_>, (): ()) -> Result<Self::Reply, Unread> {
        let (data, stat) = answer.data()?;
        Ok((data.unwrap_or_default(), stat))
    }
}

/// Changes the servers of the ensemble. Answers the new configuration and its node's [`Stat`].
/// Since 3.5, and only where the server allows it (`reconfigEnabled`) and the client has the
/// right.
#[derive(Clone, Debug, Default)]
#[must_use = "an operation does nothing until it is called or submitted"]
pub struct Reconfig {
    joining: Option<String>,
    leaving: Option<String>,
    members: Option<String>,
    from: Option<i64>,
}

impl Reconfig {
    /// Changes nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Servers that join: comma-separated, `server.4=host:2888:3888:participant;2181`.
    pub fn joining(mut self, servers: impl Into<String>) -> Self {
        self.joining = Some(servers.into());
        self
    }

    /// Servers that leave: comma-separated ids.
    pub fn leaving(mut self, ids: impl Into<String>) -> Self {
        self.leaving = Some(ids.into());
        self
    }

    /// All servers from now on, in the form of [`joining`](Self::joining), instead of a change.
    pub fn members(mut self, servers: impl Into<String>) -> Self {
        self.members = Some(servers.into());
        self
    }

    /// The version of the configuration that this is a change of. Defaults to any.
    pub fn from_version(mut self, version: i64) -> Self {
        self.from = Some(version);
        self
    }
}

impl Encode for Reconfig {
    type Memo = ();

    const NAME: &'static str = "reconfig";

    fn path(&self) -> &str {
        ""
    }

    fn encode(&mut self, _: &Chroot, out: &mut Buffer) -> Result<(Encoded, ())> {
        let encoded = Encoded::new(out, OpCode::Reconfig, 256, |out| {
            ReconfigRequest {
                joining: self.joining.as_deref(),
                leaving: self.leaving.as_deref(),
                members: self.members.as_deref(),
                version: self.from.unwrap_or(-1),
            }
            .encode(&mut Writer::new(out));
        });
        Ok((encoded, ()))
    }
}

impl Operation for Reconfig {
    type Reply = (Vec<u8>, Stat);

    fn decode(answer: Answer<'_>, (): ()) -> Result<Self::Reply, Unread> {
        let (data, stat) = answer.data()?;
        Ok((data.unwrap_or_default(), stat))
    }
}

/// Never under a chroot.
const CONFIG_PATH: &str = "/zookeeper/config";
