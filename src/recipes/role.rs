//! How contenders of each sort are called, and whom each of them waits for.

use crate::client::protected::{curator_name, unique_bits};
use crate::recipes::contender::{EXCLUSIVE, EXCLUSIVE_AND_SHARED, Pattern};

/// How the nodes of a recipe are called.
///
/// Where contenders stand in a line, ours read the names of all: whatever the style, Kazoo's,
/// Curator's and Go's nodes count, in the order of their numbers. But Curator overlooks nodes that are not called as its own, and Kazoo
/// needs `extra_lock_patterns=["-lock-"]` to see Curator's. So choose the style of the other
/// clients on the path.
///
/// | | Kazoo | Curator |
/// |---|---|---|
/// | [`Lock`](crate::recipes::Lock) | `Lock` | `InterProcessMutex`; also Go's `zk.Lock` |
/// | [`Queue`](crate::recipes::Queue) | `Queue` | `DistributedQueue`, `DistributedPriorityQueue`; a queue has items of one style |

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NameStyle {
    /// `_c_<uuid>-lock-<number>` and its like.
    Curator,
    /// `<32 hex>__lock__<number>` and its like. The default.
    #[default]
    Kazoo,
}

impl NameStyle {
    /// A name for one node, up to the number that the server appends: nobody else uses it.
    pub(crate) fn unique(self, mark: &str) -> String {
        match self {
            Self::Kazoo => {
                let (random, count) = unique_bits();
                format!("{random:024x}{count:08x}{mark}")
            }
            Self::Curator => curator_name(mark),
        }
    }
}

/// A sort of contender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Candidate,
    Lock,
    Reader,
    Writer,
}

impl Role {
    /// What stands between the unique part of the name and the number.
    pub(crate) fn mark(self, style: NameStyle) -> &'static str {
        match (style, self) {
            (NameStyle::Kazoo, Self::Reader) => "__rlock__",
            (NameStyle::Kazoo, Self::Candidate | Self::Lock | Self::Writer) => "__lock__",
            (NameStyle::Curator, Self::Candidate) => "latch-",
            (NameStyle::Curator, Self::Lock) => "lock-",
            (NameStyle::Curator, Self::Reader) => "__READ__",
            (NameStyle::Curator, Self::Writer) => "__WRIT__",
        }
    }

    /// Whom it waits for, if they came before.
    pub(crate) fn rivals(self) -> &'static [Pattern<'static>] {
        match self {
            Self::Candidate | Self::Lock | Self::Reader => EXCLUSIVE,
            Self::Writer => EXCLUSIVE_AND_SHARED,
        }
    }

    /// Whom it sees in the queue, itself included.
    pub(crate) fn company(self) -> &'static [Pattern<'static>] {
        match self {
            Self::Candidate | Self::Lock => EXCLUSIVE,
            Self::Reader | Self::Writer => EXCLUSIVE_AND_SHARED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipes::contender::{Contender, Kind};

    #[test]
    fn own_names_are_read_as_what_they_are() {
        for (role, kind) in [
            (Role::Candidate, Kind::Exclusive),
            (Role::Lock, Kind::Exclusive),
            (Role::Reader, Kind::Shared),
            (Role::Writer, Kind::Exclusive),
        ] {
            for style in [NameStyle::Kazoo, NameStyle::Curator] {
                let name = format!("{}0000000007", style.unique(role.mark(style)));
                let read = Contender::parse(&name, role.company());
                assert_eq!(read.map(|read| (read.kind, read.sequence)), Some((kind, 7)), "{name}");
            }
        }
    }

    #[test]
    fn names_have_the_length_and_the_digits_of_each_style() {
        let kazoo = NameStyle::Kazoo.unique("__lock__");
        let (hex, mark) = kazoo.split_at(32);
        assert!(hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{kazoo}");
        assert_eq!(mark, "__lock__");
        let curator = NameStyle::Curator.unique("lock-");
        let parts: Vec<_> = curator.split('-').map(str::len).collect();
        assert_eq!(parts, [3 + 8, 4, 4, 4, 12, 4, 0], "{curator}");
        assert!(curator.starts_with("_c_") && curator.ends_with("-lock-"), "{curator}");
        assert_ne!(NameStyle::Curator.unique(""), NameStyle::Curator.unique(""));
    }
}
