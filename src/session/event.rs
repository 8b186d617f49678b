//! What a watch hears.

use std::sync::Arc;

use crate::proto::event::EventKind;
use crate::session::state::SessionState;

/// One event of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatchedEvent {
    /// What happened.
    pub kind: EventKind,
    /// The node that it happened to, as the client that set the watch names it. For a recursive
    /// watch this may be any node below the watched one.
    ///
    /// Shared, not copied: keep it, send it on or use it as a key at no cost.
    pub path: Arc<str>,
    /// The state of the session when the event was received.
    pub state: SessionState,
    /// The transaction that caused the event; servers before 3.9 do not say (ZOOKEEPER-4655).
    pub zxid: Option<i64>,
}
