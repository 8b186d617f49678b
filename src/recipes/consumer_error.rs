//! What a consumer could not do, and what becomes of the item then.

use std::error::Error as StdError;
use std::fmt;

use crate::error::Error;

/// What becomes of an item that is held when its handler failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorMode {
    /// It is taken out all the same.
    Delete,
    /// It goes to the end of the queue, or of its priority, under a new name: see
    /// [`HeldItem::requeue`](super::HeldItem::requeue). The default, as in Curator.
    #[default]
    Requeue,
}

/// What a [`Consumer`](super::Consumer) could not do.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConsumerError {
    /// The handler failed with an item, or panicked.
    #[non_exhaustive]
    Handler {
        /// The path of the item's node.
        node: String,
        /// What it failed with.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// No item could be had. It is tried again, unless the client is closed.
    #[non_exhaustive]
    Queue {
        /// Why. Where [`applied`](Error::applied) is [`Unknown`](crate::Applied::Unknown), items may
        /// have been taken out of a queue without holds, and then are lost.
        source: Error,
    },
    /// The handler has returned, but the item could not be taken out or put to the end. It comes
    /// again, here or elsewhere; unless [`applied`](Error::applied) is
    /// [`Unknown`](crate::Applied::Unknown): then it may.
    #[non_exhaustive]
    Settle {
        /// The path of the item's node.
        node: String,
        /// Why.
        source: Error,
    },
}

impl fmt::Display for ConsumerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handler { node, source } => write!(f, "cannot work on {node}: {source}"),
            Self::Queue { source } => write!(f, "cannot have an item: {source}"),
            Self::Settle { node, source } => write!(f, "cannot be done with {node}: {source}"),
        }
    }
}

impl StdError for ConsumerError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Handler { source, .. } => Some(&**source),
            Self::Queue { source } | Self::Settle { source, .. } => Some(source),
        }
    }
}
