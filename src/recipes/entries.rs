//! The items of a queue: how they are named, packed and ordered.
//!
//! ```text
//! entry-100-0000000007            Kazoo: priority 000 to 999
//! queue-0000000007                Curator: without priority
//! queue-1000000640000000007       Curator: 1 and the priority in hex, or 0 if it is below zero
//! queue-|18C6A2F3B40|0000000007   Curator: when it is due, in ms since 1970, in hex
//! queue-|order 17|0000000007      Curator: with an id
//! qn-0000000007                   Curator's simple queue, and ZooKeeper's own
//!                  └ sequence, by the server
//! ```
//!
//! Kazoo and Curator order them as text; that is the same as by number, until the server has counted
//! 2^31 of them.

use std::borrow::Cow;

use crate::path;
use crate::recipes::parcel;
use crate::recipes::role::NameStyle;

/// The sorts of queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    Curator,
    Delay,
    Id,
    Kazoo,
    Simple,
}

impl From<NameStyle> for Layout {
    fn from(style: NameStyle) -> Self {
        match style {
            NameStyle::Curator => Self::Curator,
            NameStyle::Kazoo => Self::Kazoo,
        }
    }
}

impl Layout {
    /// The name of an item of this priority, up to the number; or why there is none.
    pub(crate) fn prefix(self, priority: Option<i32>) -> Result<String, &'static str> {
        match (self, priority) {
            (Self::Kazoo, priority) => match priority.unwrap_or(DEFAULT_PRIORITY) {
                priority @ 0..=999 => Ok(format!("entry-{priority:03}-")),
                _ => Err("a priority is 0 to 999"),
            },
            (Self::Curator, Some(priority)) => {
                Ok(format!("queue-{}{priority:08X}", u8::from(priority >= 0)))
            }
            (Self::Curator, None) => Ok("queue-".to_owned()),
            (Self::Simple, None) => Ok("qn-".to_owned()),
            (Self::Simple | Self::Delay | Self::Id, _) => Err("this queue has no priorities"),
        }
    }

    /// Whether Curator's parcels are what its nodes hold.
    fn is_packed(self) -> bool {
        matches!(self, Self::Curator | Self::Delay | Self::Id)
    }

    /// What the node of one item holds.
    pub(crate) fn pack(self, item: &[u8]) -> Cow<'_, [u8]> {
        if self.is_packed() { parcel::pack(&[item]).into() } else { item.into() }
    }

    /// The items in a node; `None` if it cannot be read.
    pub(crate) fn unpack(self, data: &[u8]) -> Option<Vec<&[u8]>> {
        if self.is_packed() { parcel::unpack(data) } else { Some(vec![data]) }
    }

    /// `None` for a child that is no item.
    pub(crate) fn parse(self, name: &str) -> Option<Entry> {
        let (rank, sequence) = match self {
            Self::Curator => cut(name, |prefix| curator_rank(prefix.strip_prefix("queue-")?)),
            Self::Delay => match name.strip_prefix("queue-|") {
                Some(rest) => {
                    let (hex, sequence) = rest.split_once('|')?;
                    if !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                        return None;
                    }
                    let due = i64::from_str_radix(hex, 16).ok()?;
                    cut(sequence, |prefix| prefix.is_empty().then_some(due))
                }
                // What a consumer of Curator's failed with, and put back without its time.
                None => cut(name, |prefix| (prefix == "queue-").then_some(0)),
            },
            Self::Id => {
                let (_, sequence) = name.strip_prefix("queue-|")?.split_once('|')?;
                cut(sequence, |prefix| prefix.is_empty().then_some(0))
            }
            Self::Kazoo => cut(name, |prefix| kazoo_rank(prefix.strip_prefix("entry-")?)),
            Self::Simple => cut(name, |prefix| (prefix == "qn-").then_some(0)),
        }?;
        Some(Entry { rank, sequence: sequence as u32, name: name.to_owned() })
    }

    /// The items among the children, first to be served first.
    pub(crate) fn ordered(self, names: &[String]) -> Vec<Entry> {
        let mut entries: Vec<_> = names.iter().filter_map(|name| self.parse(name)).collect();
        entries.sort_unstable();
        entries
    }
}

/// The name of an item, in the order in which items are served.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    /// The priority, or when it is due.
    pub(crate) rank: i64,
    sequence: u32,
    pub(crate) name: String,
}

impl Entry {
    /// The rank of an item in a queue with priorities.
    pub(crate) fn priority(&self) -> i32 {
        i32::try_from(self.rank).unwrap_or(0)
    }

    /// Its name, up to the number.
    pub(crate) fn prefix(&self) -> &str {
        let of_ours = |(_, sequence): &(&str, i32)| *sequence as u32 == self.sequence;
        path::sequence_cuts(&self.name).find(of_ours).map_or(&self.name, |(prefix, _)| prefix)
    }

    /// The id of an item in a queue with ids.
    pub(crate) fn id(&self) -> &str {
        let parts = self.name.strip_prefix("queue-|").and_then(|rest| rest.split_once('|'));
        parts.map_or("", |(id, _)| id)
    }
}

/// The name of an item that is due then, up to the number.
pub(crate) fn due_prefix(ms: i64) -> String {
    format!("queue-|{ms:08X}|")
}

/// The name of an item with this id, as [`fitting`], up to the number.
pub(crate) fn id_prefix(id: &str) -> String {
    format!("queue-|{id}|")
}

/// The id, without what cannot stand in a name. As Curator does it.
pub(crate) fn fitting(id: &str) -> String {
    id.replace(['/', '|'], "_")
}

/// Tries both ways to cut a name into a prefix, which tells the rank, and a number.
fn cut(name: &str, rank: impl Fn(&str) -> Option<i64>) -> Option<(i64, i32)> {
    path::sequence_cuts(name).find_map(|(prefix, sequence)| Some((rank(prefix)?, sequence)))
}

fn kazoo_rank(prefix: &str) -> Option<i64> {
    let digits = prefix.strip_suffix('-')?;
    if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// Who has no priority is served first, as in Curator's order of the names.
fn curator_rank(prefix: &str) -> Option<i64> {
    if prefix.is_empty() {
        return Some(i32::MIN.into());
    }
    let (sign, hex) = prefix.split_at_checked(1)?;
    if hex.len() != 8 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let priority = u32::from_str_radix(hex, 16).ok()? as i32;
    (sign == if priority >= 0 { "1" } else { "0" }).then_some(priority.into())
}

/// What Kazoo gives an item that nobody said anything of.
const DEFAULT_PRIORITY: i32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_ordered_by_priority_then_sequence_and_junk_is_no_item() {
        let names = [
            "entry-100-0000000002",
            "entry-100-0000000001",
            "entry-000-0000000009",
            "entry-999-0000000000",
            // After 2^31 items the server's count goes on below zero.
            "entry-100--2147483648",
            "entry-100-2147483647",
            "entry-1000-0000000001",
            "entry-10-0000000001",
            "entry-100-1",
            "lease_holder",
            "qn-0000000001",
        ]
        .map(str::to_owned);
        let ordered = Layout::Kazoo.ordered(&names);
        let names: Vec<_> = ordered.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "entry-000-0000000009",
                "entry-100-0000000001",
                "entry-100-0000000002",
                "entry-100-2147483647",
                "entry-100--2147483648",
                "entry-999-0000000000",
            ]
        );
        assert_eq!(ordered.first().map(|entry| entry.rank), Some(0));
    }

    #[test]
    fn names_are_curators_and_ordered_as_it_orders_them() {
        let prefix = |priority| Layout::Curator.prefix(Some(priority)).unwrap();
        assert_eq!(prefix(100), "queue-100000064");
        assert_eq!(prefix(-1), "queue-0FFFFFFFF");
        assert_eq!(prefix(i32::MIN), "queue-080000000");
        assert_eq!(prefix(i32::MAX), "queue-17FFFFFFF");
        assert_eq!(due_prefix(1_700_000_000_000), "queue-|18BCFE56800|");
        assert_eq!(due_prefix(1), "queue-|00000001|");
        assert_eq!(id_prefix(&fitting("a/b|c")), "queue-|a_b_c|");
        let priorities = [i32::MIN, -7, -1, 0, 1, 100, i32::MAX];
        let mut names: Vec<_> = priorities.map(|p| format!("{}0000000003", prefix(p))).into();
        let text = {
            names.sort();
            names.clone()
        };
        names.reverse();
        let ordered = Layout::Curator.ordered(&names);
        assert!(ordered.iter().map(|entry| &entry.name).eq(&text));
        assert!(ordered.iter().map(Entry::priority).eq(priorities));
    }

    #[test]
    fn each_layout_knows_its_own_items_and_no_others() {
        let names = [
            ("entry-100-0000000001", Layout::Kazoo, 100),
            ("qn-0000000001", Layout::Simple, 0),
            ("qn--2147483648", Layout::Simple, 0),
            ("queue-0000000001", Layout::Curator, i32::MIN.into()),
            ("queue--2147483648", Layout::Curator, i32::MIN.into()),
            ("queue-1000000640000000001", Layout::Curator, 100),
            ("queue-0FFFFFFFF-2147483648", Layout::Curator, -1),
            ("queue-|18BCFE56800|0000000001", Layout::Delay, 1_700_000_000_000),
        ];
        for layout in [Layout::Curator, Layout::Delay, Layout::Kazoo, Layout::Simple] {
            for (name, own, rank) in names {
                let parsed = layout.parse(name).map(|entry| entry.rank);
                let is_put_back = layout == Layout::Delay && own == Layout::Curator && rank < -100;
                let rank = if is_put_back { 0 } else { rank };
                let known = layout == own || is_put_back;
                assert_eq!(parsed, known.then_some(rank), "{name} in {layout:?}");
            }
        }
        let entry = Layout::Id.parse("queue-|order 17|0000000001").unwrap();
        assert_eq!((entry.id(), entry.rank), ("order 17", 0));
        for junk in [
            "queue-|no number|",
            "queue-|no end0000000001",
            "queue-|-1|0000000001x",
            "queue-",
            "queue-20000006400000000010",
            "queue-0000000640000000001",
            "queue-|x|y0000000001",
        ] {
            for layout in [Layout::Curator, Layout::Delay, Layout::Id] {
                assert_eq!(layout.parse(junk), None, "{junk} in {layout:?}");
            }
        }
        assert_eq!(Layout::Delay.parse("queue-|+1|0000000001"), None);
    }
}
