//! The one error type of the crate.
//!
//! Variants are grouped by what the caller may do next, not by where the failure came from. Two
//! questions are answered by methods: [`Error::code`], what the server said, and
//! [`Error::applied`], whether the request may have happened.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::proto::code::Code;

/// The result of every call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a failed call was: the operation and the path it was for.
#[derive(Clone, PartialEq, Eq)]
pub struct At {
    /// The operation in snake case, as the method is named: `set_data`.
    pub op: &'static str,
    /// The path as the caller wrote it; empty where the operation has none.
    pub path: Box<str>,
}

impl At {
    pub(crate) fn new(op: &'static str, path: impl Into<Box<str>>) -> Box<Self> {
        Box::new(Self { op, path: path.into() })
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.op)?;
        if !self.path.is_empty() {
            write!(f, " {}", self.path)?;
        }
        Ok(())
    }
}

impl fmt::Debug for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether a failed request changed anything on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Applied {
    /// The request was not applied, and never will be. Safe to try again.
    No,
    /// The request was sent and its answer never came: it happened once or not at all.
    Unknown,
}

/// Why a call failed, grouped by what the caller may do next.
///
/// Cheap to clone: one lost connection fails many waiting calls.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server answered no. Look at the code; try again only if the world changed.
    #[error("{at}: {code}")]
    #[non_exhaustive]
    Refused {
        /// What the server said.
        code: Code,
        /// The operation and its path.
        at: Box<At>,
    },

    /// One operation of a transaction was refused, so none of them was applied.
    #[error("{at}: operation {index} of the transaction: {code}")]
    #[non_exhaustive]
    Transaction {
        /// The position of the operation that failed, from 0, in the order of the transaction.
        index: usize,
        /// What the server said of that operation.
        code: Code,
        /// That operation and its path.
        at: Box<At>,
    },

    /// The connection broke before the answer came.
    #[error("{at}: connection lost {}", sent_words(*sent))]
    #[non_exhaustive]
    ConnectionLoss {
        /// Whether the request was among the bytes for the socket. If not, it was not applied.
        sent: bool,
        /// The operation and its path.
        at: Box<At>,
    },

    /// The deadline of the call passed.
    #[error("{at}: deadline passed {}", sent_words(*sent))]
    #[non_exhaustive]
    Timeout {
        /// Whether the request was among the bytes for the socket. If not, it was not applied.
        sent: bool,
        /// The operation and its path.
        at: Box<At>,
    },

    /// The session that the call was for is gone, and with it its ephemeral nodes and locks.
    ///
    /// The client makes a new session unless it was built with `ExpiryPolicy::Close`.
    #[error("{at}: session expired {}", sent_words(*sent))]
    #[non_exhaustive]
    SessionExpired {
        /// Whether the request was among the bytes for the socket. If not, it was not applied.
        sent: bool,
        /// The operation and its path.
        at: Box<At>,
    },

    /// The server refused the credentials. Terminal: make a new client.
    #[error("{at}: authentication failed")]
    #[non_exhaustive]
    AuthFailed {
        /// Whether the request was among the bytes for the socket. If not, it was not applied.
        sent: bool,
        /// The operation and its path.
        at: Box<At>,
    },

    /// The client is closed. Terminal: make a new client.
    #[error("{at}: client is closed")]
    #[non_exhaustive]
    Closed {
        /// Whether the request was among the bytes for the socket. If not, it was not applied.
        sent: bool,
        /// The operation and its path.
        at: Box<At>,
    },

    /// The process was forked after this client was made. The client belongs to the parent; the
    /// child has no IO thread and must make its own.
    #[error("{at}: client was made before fork, make a new one in this process")]
    #[non_exhaustive]
    Forked {
        /// The operation and its path.
        at: Box<At>,
    },

    /// Too many requests are in flight and the client was told not to wait.
    #[error("{at}: {limit} requests are in flight already")]
    #[non_exhaustive]
    Busy {
        /// The bound that was reached.
        limit: usize,
        /// The operation and its path.
        at: Box<At>,
    },

    /// The answer is larger than the client accepts. The connection and other calls are unharmed;
    /// for a write, the server has applied it.
    #[error("{at}: the answer has {len} bytes, the client accepts {limit}")]
    #[non_exhaustive]
    TooLarge {
        /// The size of the answer in bytes.
        len: usize,
        /// The limit in bytes, see `ClientBuilder::max_reply`.
        limit: usize,
        /// The operation and its path.
        at: Box<At>,
    },

    /// A bad path, version, option or size; nothing was sent.
    #[error("{at}: {why}")]
    #[non_exhaustive]
    Invalid {
        /// What is wrong, in words.
        why: Box<str>,
        /// The operation and its path.
        at: Box<At>,
    },

    /// No server could be reached in time; for each host its last failure.
    #[error("cannot connect: {}", tried_words(tried))]
    #[non_exhaustive]
    Connect {
        /// The hosts that were tried, each with why it failed.
        tried: Arc<[(String, String)]>,
    },

    /// The client could not start: threads or descriptors are exhausted.
    #[error("cannot start the client: {source}")]
    #[non_exhaustive]
    Start {
        /// What the system said.
        source: Arc<io::Error>,
    },

    /// The server sent bytes that cannot be read. The connection was dropped or the answer thrown
    /// away.
    #[error("{at}: cannot read the answer: {what}")]
    #[non_exhaustive]
    Protocol {
        /// What could not be read.
        what: Box<str>,
        /// The operation and its path.
        at: Box<At>,
    },

    /// A recipe gave up, with the reason; see the recipe's own documentation.
    #[error("{at}: {why}")]
    #[non_exhaustive]
    Recipe {
        /// Why, as data.
        why: RecipeError,
        /// The recipe's operation and path.
        at: Box<At>,
    },
}

/// Why a recipe gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// Another thread cancelled the wait.
    #[error("cancelled")]
    Cancelled,
    /// The semaphore has another number of leases than this handle was made with.
    #[error("the semaphore has another number of leases")]
    LimitMismatch,
    /// The parent node has counted 2^31 creates, so the order of its children is lost; it could
    /// not be re-created because it has children.
    #[error("the sequence numbers of the parent node are used up")]
    SequenceExhausted,
    /// The guard no longer stands for the lock: it was released, or its session is gone.
    #[error("not held any more")]
    NotHeld,
    /// The result would be larger, or smaller, than the node's form can hold. Nothing was written.
    #[error("the value would be out of range")]
    Overflow,
    /// The node holds something else than the recipe writes there.
    #[error("the node holds what this recipe cannot read")]
    Unreadable,
}

fn sent_words(sent: bool) -> &'static str {
    if sent { "after the request was sent" } else { "before the request was sent" }
}

fn tried_words(tried: &[(String, String)]) -> String {
    if tried.is_empty() {
        return "no host answered in time".into();
    }
    let all: Vec<_> = tried.iter().map(|(host, why)| format!("{host} ({why})")).collect();
    all.join(", ")
}

impl Error {
    /// What the server said, if it said anything.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused { code, .. } | Self::Transaction { code, .. } => Some(*code),
            Self::SessionExpired { .. } => Some(Code::SessionExpired),
            Self::AuthFailed { .. } => Some(Code::AuthFailed),
            _ => None,
        }
    }

    /// Whether the request may have happened.
    pub fn applied(&self) -> Applied {
        match self {
            Self::ConnectionLoss { sent: true, .. }
            | Self::Timeout { sent: true, .. }
            | Self::SessionExpired { sent: true, .. }
            | Self::AuthFailed { sent: true, .. }
            | Self::Closed { sent: true, .. }
            | Self::TooLarge { .. }
            | Self::Protocol { .. } => Applied::Unknown,
            _ => Applied::No,
        }
    }

    /// Whether this client can never work again: closed, refused credentials, or forked.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::AuthFailed { .. } | Self::Closed { .. } | Self::Forked { .. })
    }

    /// Whether the connection, and not the request, was the trouble.
    pub fn is_connection(&self) -> bool {
        matches!(self, Self::ConnectionLoss { .. } | Self::Timeout { .. } | Self::Connect { .. })
    }

    /// The operation and path of the failed call, where there was one.
    pub fn at(&self) -> Option<&At> {
        match self {
            Self::Refused { at, .. }
            | Self::Transaction { at, .. }
            | Self::ConnectionLoss { at, .. }
            | Self::Timeout { at, .. }
            | Self::SessionExpired { at, .. }
            | Self::AuthFailed { at, .. }
            | Self::Closed { at, .. }
            | Self::Forked { at }
            | Self::Busy { at, .. }
            | Self::TooLarge { at, .. }
            | Self::Invalid { at, .. }
            | Self::Protocol { at, .. }
            | Self::Recipe { at, .. } => Some(at),
            Self::Connect { .. } | Self::Start { .. } => None,
        }
    }

    /// The same, of another operation or path; those that name none stay as they are.
    pub(crate) fn moved_to(mut self, now: Box<At>) -> Self {
        match &mut self {
            Self::Refused { at, .. }
            | Self::Transaction { at, .. }
            | Self::ConnectionLoss { at, .. }
            | Self::Timeout { at, .. }
            | Self::SessionExpired { at, .. }
            | Self::AuthFailed { at, .. }
            | Self::Closed { at, .. }
            | Self::Forked { at }
            | Self::Busy { at, .. }
            | Self::TooLarge { at, .. }
            | Self::Invalid { at, .. }
            | Self::Protocol { at, .. }
            | Self::Recipe { at, .. } => *at = now,
            Self::Connect { .. } | Self::Start { .. } => {}
        }
        self
    }

    pub(crate) fn invalid(op: &'static str, path: &str, why: impl Into<Box<str>>) -> Self {
        Self::Invalid { why: why.into(), at: At::new(op, path) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_is_small_shared_and_cloned() {
        fn check<T: Send + Sync + Clone + 'static>() {}
        check::<Error>();
        assert!(size_of::<Error>() <= 48, "{} bytes", size_of::<Error>());
    }

    #[test]
    fn message_names_operation_and_path_first() {
        let error = Error::Refused { code: Code::BadVersion, at: At::new("set_data", "/app/a") };
        assert_eq!(error.to_string(), "set_data /app/a: bad version");
    }

    #[test]
    fn only_what_was_sent_may_have_been_applied() {
        for sent in [false, true] {
            let error = Error::ConnectionLoss { sent, at: At::new("create", "/a") };
            assert_eq!(error.applied() == Applied::Unknown, sent);
        }
    }
}
