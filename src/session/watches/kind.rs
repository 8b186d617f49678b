//! The kinds of watches, and how the server counts them.

use crate::proto::event::EventKind;

/// What a watch listens to, as the client remembers it for a reconnect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WatchKind {
    /// One-shot, on a node that was there.
    Data,
    /// One-shot, on a node that was not there.
    Exist,
    /// One-shot, on the children.
    Child,
    /// Stays; the node and its children's names.
    Persistent,
    /// Stays; the node and everything below.
    Recursive,
}

impl WatchKind {
    pub(crate) fn is_one_shot(self) -> bool {
        matches!(self, Self::Data | Self::Exist | Self::Child)
    }

    /// The position in SetWatches2.
    pub(super) fn list(self) -> usize {
        match self {
            Self::Data => 0,
            Self::Exist => 1,
            Self::Child => 2,
            Self::Persistent => 3,
            Self::Recursive => 4,
        }
    }

    /// Whether `event`, on its own path, is the one that a one-shot watch waited for.
    pub(super) fn is_spent_by(self, event: EventKind) -> bool {
        self.is_one_shot() && self.hears(event, true)
    }

    pub(super) fn hears(self, event: EventKind, same_path: bool) -> bool {
        match self {
            Self::Data | Self::Exist => {
                same_path
                    && matches!(
                        event,
                        EventKind::Created | EventKind::Deleted | EventKind::DataChanged
                    )
            }
            Self::Child => {
                same_path && matches!(event, EventKind::Deleted | EventKind::ChildrenChanged)
            }
            Self::Persistent => same_path && event != EventKind::Resync,
            // A recursive watch learns of children by their own events, never by
            // ChildrenChanged (ZOOKEEPER-4475).
            Self::Recursive => !matches!(event, EventKind::ChildrenChanged | EventKind::Resync),
        }
    }

    /// The server keeps data and exist watches in one table.
    pub(super) fn shares_table(self, other: Self) -> bool {
        matches!(self, Self::Data | Self::Exist) && matches!(other, Self::Data | Self::Exist)
    }

    /// Whether the server's `WatcherType` names this kind.
    pub(crate) fn is_of_type(self, watcher_type: i32) -> bool {
        match watcher_type {
            1 => self == Self::Child,
            2 => matches!(self, Self::Data | Self::Exist),
            3 => true,
            4 => self == Self::Persistent,
            5 => self == Self::Recursive,
            _ => false,
        }
    }

    pub(super) fn watcher_type(self) -> i32 {
        match self {
            Self::Child => 1,
            Self::Data | Self::Exist => 2,
            Self::Persistent | Self::Recursive => 3,
        }
    }
}
