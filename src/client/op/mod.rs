//! One small value per operation.
//!
//! The same value serves a blocking [`call`](crate::Client::call), a pipelined
//! [`submit`](crate::Client::submit), a completion callback
//! ([`submit_with`](crate::Client::submit_with)) and, where the protocol has it, a
//! [transaction](crate::Transaction). The plain methods of [`Client`](crate::Client) are
//! shorthands for `call`.
//!
//! ```no_run
//! use zookeeper_blocking::{Client, CreateMode, op};
//!
//! let zk = Client::connect("localhost:2181")?;
//! // Block for the answer.
//! let created = zk.call(op::Create::new("/a").data("x").mode(CreateMode::Ephemeral))?;
//! // Ask now, wait later: many requests from one thread share a round trip.
//! let pending = zk.submit(op::GetData::new(created.path))?;
//! let (data, stat) = pending.wait()?;
//! # Ok::<(), zookeeper_blocking::Error>(())
//! ```

mod admin;
mod create;
mod data;
mod read;
mod watching;
mod write;

pub use admin::{AuthInfo, GetAllChildrenNumber, GetConfig, GetEphemerals, Reconfig, Sync, WhoAmI};
pub use create::{Create, CreateMode, Created};
pub use data::Data;
pub use read::{
    Exists, GetAcl, GetChildren, GetChildrenWithStat, GetData, GetDataOrNull, MultiRead, ReadItem,
    ReadOutcome,
};
pub use watching::{AddWatch, CheckWatches, RemoveWatches, WatchMode, WatcherType};
pub use write::{Delete, SetAcl, SetData, Version};

use crate::client::chroot::Chroot;
use crate::client::watch::Watcher;
use crate::error::{At, Error, Result};
use crate::io::dispatch::WatchCallback;
use crate::io::driver::Sink;
use crate::path;
use crate::proto::buffer::Buffer;
use crate::proto::code::Code;
use crate::proto::jute::DecodeError;
use crate::proto::opcode::OpCode;
use crate::proto::reply;
use crate::proto::stat::Stat;
use crate::session::watches::{WatchId, WatchKind};
use crate::session::{Arming, Change, Reply, machine};

/// An operation of the server: what it asks, and what the answer is.
///
/// Implemented by the values of this module and by [`Transaction`](crate::Transaction); not for
/// others to implement.
pub trait Operation: sealed::Encode {
    /// What the server answers.
    type Reply: Send + 'static;

    /// Reads the answer. `memo` is what [`sealed::Encode::encode`] kept for it.
    #[doc(hidden)]
    fn decode(answer: Answer<'_>, memo: Self::Memo) -> Result<Self::Reply, Unread>;
}

pub(crate) mod sealed {
    use std::ops::{Deref, Range};

    use super::{Buffer, Chroot, Code, DecodeError, Encoded, Error, OpCode};

    /// The way down.
    pub trait Encode: Send {
        /// What has to be kept until the answer comes.
        type Memo: Send + 'static;

        const NAME: &'static str;

        fn path(&self) -> &str;

        /// Whether asking twice is the same as asking once.
        fn is_read(&self) -> bool {
            false
        }

        /// Appends one request to `out`.
        fn encode(
            &mut self,
            chroot: &Chroot,
            out: &mut Buffer,
        ) -> Result<(Encoded, Self::Memo), Error>;
    }

    /// The way up: the answer as it came.
    #[derive(Debug)]
    pub struct Answer<'a> {
        /// What was asked for.
        pub(crate) op: OpCode,
        pub(crate) code: Code,
        pub(crate) zxid: i64,
        pub(crate) body: Body<'a>,
        pub(crate) chroot: &'a Chroot,
    }

    /// The bytes of an answer: by themselves, or among those of others.
    #[derive(Debug)]
    pub(crate) enum Body<'a> {
        Own(Buffer),
        Part(&'a [u8]),
    }

    impl Deref for Body<'_> {
        type Target = [u8];

        fn deref(&self) -> &[u8] {
            match self {
                Self::Own(buffer) => buffer,
                Self::Part(bytes) => bytes,
            }
        }
    }

    impl Body<'_> {
        /// Some of the bytes, in memory of their own.
        pub(crate) fn into_part(self, part: Range<usize>) -> Vec<u8> {
            match self {
                Self::Own(buffer) => buffer.into_part(part.start, part.end),
                Self::Part(bytes) => bytes.get(part).unwrap_or_default().to_vec(),
            }
        }
    }

    /// Why an answer is not a reply.
    #[derive(Debug)]
    pub enum Unread {
        /// The server said no.
        Code(Code),
        /// One operation of a transaction was refused: its index, name and path.
        Member { index: usize, code: Code, op: &'static str, path: Box<str> },
        /// The bytes make no sense.
        Bytes(DecodeError),
        /// They do, but not as an answer to this.
        Shape(&'static str),
    }

    impl From<DecodeError> for Unread {
        fn from(error: DecodeError) -> Self {
            Self::Bytes(error)
        }
    }
}

use sealed::{Answer, Body, Unread};

/// What is to be known of a request that was encoded. Small, since each is moved a few times.
pub struct Encoded {
    pub(crate) op: OpCode,
    /// What it does to watches. One that it sets has no number yet.
    pub(crate) change: Option<Box<Change<Sink>>>,
    /// Of the watch that it sets, if that is not a handle.
    pub(crate) callback: Option<WatchCallback>,
}

impl std::fmt::Debug for Encoded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoded").field("op", &self.op).finish_non_exhaustive()
    }
}

impl Encoded {
    fn new(out: &mut Buffer, op: OpCode, body_len: usize, body: impl FnOnce(&mut Vec<u8>)) -> Self {
        out.make_room(12 + body_len);
        machine::build(out, op, body);
        Self { op, change: None, callback: None }
    }

    fn watch(mut self, path: &str, kind: WatchKind, watcher: Option<Watcher>) -> Self {
        let sink = match watcher {
            None => return self,
            Some(Watcher::Handle(post)) => Sink::Handle(post),
            Some(Watcher::Callback(callback)) => {
                self.callback = Some(callback);
                Sink::Callback
            }
        };
        let arming = Arming { path: path.into(), kind, id: WatchId(0), sink };
        self.change = Some(Box::new(Change::Arm(arming)));
        self
    }
}

impl Answer<'_> {
    /// The data and `Stat` of a node.
    fn data(self) -> Result<(Option<Vec<u8>>, Stat), Unread> {
        let Self { op, body, .. } = self.ok()?;
        let (data, stat) = match &body {
            Body::Own(bytes) if Reply::is_rotated(op, bytes) => reply::data_in_rotated(bytes)?,
            _ => reply::data(&body)?,
        };
        Ok((data.map(|part| body.into_part(part)), stat))
    }

    /// The answer of an operation for which every code but OK is a refusal.
    fn ok(self) -> Result<Self, Unread> {
        match self.code {
            Code::Ok => Ok(self),
            code => Err(Unread::Code(code)),
        }
    }
}

impl Unread {
    pub(crate) fn into_error(self, at: Box<At>) -> Error {
        match self {
            Self::Code(Code::SessionExpired) => Error::SessionExpired { sent: true, at },
            Self::Code(Code::AuthFailed) => Error::AuthFailed { sent: true, at },
            Self::Code(code) => Error::Refused { code, at },
            Self::Member { index, code, op, path } => {
                Error::Transaction { index, code, at: Box::new(At { op, path }) }
            }
            Self::Bytes(error) => Error::Protocol { what: error.to_string().into(), at },
            Self::Shape(what) => Error::Protocol { what: what.into(), at },
        }
    }
}

/// The server's name of `path`, if it is a legal one.
fn server_path<'a>(
    op: &'static str,
    path: &'a str,
    chroot: &Chroot,
) -> Result<std::borrow::Cow<'a, str>> {
    path::validate(path).map_err(|why| Error::invalid(op, path, why))?;
    Ok(chroot.down(path))
}
