//! The session, as a machine without socket, thread or clock.
//!
//! [`Machine`] takes frames, requests and the time, and gives bytes to write and
//! [`Effect`]s to carry out. What survives a reconnect (identity, credentials, watches) is in
//! the machine; what dies with a connection (requests in flight, clocks, unsent bytes) is in
//! its [`link::Link`].
//!
//! ```text
//!              connected()          ConnectResponse          last auth reply
//!   no link ───────────────▶ Greeting ─────────────▶ Authenticating ─────────▶ Serving
//!      ▲                        │                         │                      │
//!      └────────────────────────┴──── disconnected() ─────┴──────────────────────┘
//! ```
//!
//! Every effect of one cause comes in one order: first the new state is published, then what was
//! in flight fails, oldest first, then the state is announced. A caller woken with
//! `ConnectionLoss` must not read `Connected` afterwards.

pub(crate) mod batch;
pub(crate) mod event;
pub(crate) mod heartbeat;
pub(crate) mod hosts;
pub(crate) mod link;
pub(crate) mod machine;
pub(crate) mod state;
pub(crate) mod watches;

use std::sync::Arc;

use crate::proto::buffer::Buffer;
use crate::proto::opcode::OpCode;
use crate::proto::reply;
use crate::session::batch::Answers;
use crate::session::event::WatchedEvent;
use crate::session::state::SessionState;
use crate::session::watches::{WatchId, WatchKind};

pub(crate) use machine::{Machine, Options};

/// A request on its way down, or a batch of them. `T` comes back with the outcome, `W` with the
/// events.
#[derive(Debug)]
pub(crate) struct Request<T, W> {
    /// Length, xid, opcode, body, of each; the xids are filled in when they are sent.
    pub(crate) frame: Buffer,
    /// How many frames there are. Of more than one all have the same opcode, and none a `change`.
    pub(crate) count: u32,
    pub(crate) op: OpCode,
    pub(crate) change: Option<Box<Change<W>>>,
    pub(crate) token: T,
}

/// What a request does to the watch table, once it is answered.
#[derive(Debug)]
pub(crate) enum Change<W> {
    Arm(Arming<W>),
    /// Takes every watch of a `WatcherType` off the path.
    Remove {
        path: Arc<str>,
        watcher_type: i32,
    },
}

/// The watch that a request sets.
#[derive(Debug)]
pub(crate) struct Arming<W> {
    pub(crate) path: Arc<str>,
    /// `Data` for `exists` too: the reply decides between `Data` and `Exist`.
    pub(crate) kind: WatchKind,
    pub(crate) id: WatchId,
    pub(crate) sink: W,
}

/// How a request ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    Reply(Reply),
    /// Of a batch.
    Batch(Box<Answers>),
    Failed(Failure),
}

/// An answer of the server, not decoded yet.
#[derive(Debug)]
pub(crate) struct Reply {
    /// What was asked for.
    pub(crate) op: OpCode,
    pub(crate) code: i32,
    pub(crate) zxid: i64,
    /// A large one to getData is in the order of [`reply::rotated_data`].
    pub(crate) body: Buffer,
}

impl Reply {
    pub(crate) fn new(op: OpCode, code: i32, zxid: i64, body: &[u8]) -> Self {
        let rotated = Self::is_rotated(op, body);
        let body = if rotated { reply::rotated_data(body) } else { Buffer::copy_of(body) };
        Self { op, code, zxid, body }
    }

    /// Whether the body of such an answer is kept rotated.
    pub(crate) fn is_rotated(op: OpCode, body: &[u8]) -> bool {
        op == OpCode::GetData && Buffer::is_large(body)
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    ConnectionLoss { sent: bool },
    Timeout { sent: bool },
    SessionExpired { sent: bool },
    AuthFailed { sent: bool },
    Closed { sent: bool },
    TooLarge { len: usize, limit: usize },
}

/// What the floor above has to do.
#[derive(Debug)]
pub(crate) enum Effect<T, W> {
    /// A request, or `count` of them, ended; `armed` names the watch that it set.
    Done { token: T, outcome: Outcome, count: u32, armed: Option<(Arc<str>, WatchId)> },
    /// A watch hears an event; `last` if it never will again.
    Fire { id: WatchId, sink: W, event: WatchedEvent, last: bool },
    /// A watch was never set, or its handle is gone.
    Forget { id: WatchId, sink: W },
    /// Make this the state that everybody reads.
    Publish(SessionState),
    /// Tell the listeners.
    Announce(SessionState),
}

/// Why a connection has to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Drop {
    /// The server said that the session is gone. The machine has dealt with it.
    Expired,
    /// The server refused the credentials; the machine is in its terminal state.
    AuthFailed,
    /// The server broke the protocol, or asked for another connection.
    Protocol(String),
    /// The answer to closeSession came.
    Closed,
}
