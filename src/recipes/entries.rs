//! The items of a queue: how they are named, put and ordered.
//!
//! ```text
//! entry-100-0000000007
//!       └ priority, 000 first, 999 last
//!           └ sequence, by the server
//! ```
//!
//! Kazoo's names. Kazoo orders them as text; that is the same as by number, until the server has
//! counted 2^31 of them.

use crate::client::op::{self, CreateMode};
use crate::client::transaction::Transaction;
use crate::error::{Error, Result};
use crate::path;
use crate::proto::code::Code;
use crate::recipes::patience::Patience;
use crate::recipes::site::Site;

/// What Kazoo gives an item that nobody said anything of.
pub(crate) const DEFAULT_PRIORITY: u16 = 100;

/// The name of an item, in the order in which items are served.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) priority: u16,
    sequence: u32,
    pub(crate) name: String,
}

impl Entry {
    /// `None` for a child that is no item.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        path::sequence_cuts(name).find_map(|(prefix, sequence)| {
            let digits = prefix.strip_prefix("entry-")?.strip_suffix('-')?;
            if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            let priority = digits.parse().ok()?;
            Some(Self { priority, sequence: sequence as u32, name: name.to_owned() })
        })
    }

    /// The items among the children, first to be served first.
    pub(crate) fn ordered(names: &[String]) -> Vec<Self> {
        let mut entries: Vec<_> = names.iter().filter_map(|name| Self::parse(name)).collect();
        entries.sort_unstable();
        entries
    }
}

/// Puts items into the directory of `site`, all or none. Gives their names.
pub(crate) fn put(
    site: &Site,
    items: &[&[u8]],
    priority: u16,
    patience: &Patience<'_>,
) -> Result<Vec<String>> {
    if priority > 999 {
        return Err(Error::invalid("put", &site.path, "a priority is 0 to 999"));
    }
    if items.is_empty() {
        return Ok(Vec::new());
    }
    let prefix = site.below(&format!("entry-{priority:03}-"));
    let create = |item| {
        op::Create::new(prefix.as_str())
            .mode(CreateMode::PersistentSequential)
            .data(item)
            .acl(site.acl.iter().cloned())
    };
    let name = |path: &str| path::name(path).to_owned();
    loop {
        let made = match items {
            [item] => site
                .write(&site.client, patience, || create(*item))
                .map(|created| vec![name(&created.path)]),
            items => {
                let all =
                    || items.iter().fold(Transaction::new(), |all, item| all.op(create(*item)));
                site.write(&site.client, patience, all).map(|results| {
                    results.iter().filter_map(|r| r.created()).map(|c| name(&c.path)).collect()
                })
            }
        };
        match made {
            Err(error) if error.code() == Some(Code::NoNode) => {
                site.ensure(patience, &site.path)?
            }
            made => return made,
        }
    }
}

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
        let ordered = Entry::ordered(&names);
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
        assert_eq!(ordered.first().map(|entry| entry.priority), Some(0));
    }
}
