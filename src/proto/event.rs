//! Watches on the wire: the event that tells of one, and the request that sets many again.
//!
//! Source: `WatcherEvent`, `SetWatches` and `SetWatches2` in `zookeeper.jute`; `Watcher.java`.

use std::borrow::Cow;

use super::jute::{DecodeError, Reader, Writer};

/// What happened to a node that was watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// The node was created.
    Created,
    /// The node was deleted.
    Deleted,
    /// The data of the node was set, be it to the same bytes.
    DataChanged,
    /// A child of the node was created or deleted.
    ChildrenChanged,
    /// Made by the client: a watch that stays was armed anew after a reconnect. What happened
    /// meanwhile is *not* told (the server does not replay it); read again what matters.
    Resync,
    /// Made by the client: the watch hears nothing more. The session expired, the client was
    /// closed, or the watch was removed; the event's state tells.
    Ended,
    /// An event that this crate has no name for.
    Unknown(i32),
}

impl EventKind {
    /// Names the number of an event.
    pub(crate) const fn from_raw(raw: i32) -> Self {
        match raw {
            1 => Self::Created,
            2 => Self::Deleted,
            3 => Self::DataChanged,
            4 => Self::ChildrenChanged,
            _ => Self::Unknown(raw),
        }
    }
}

/// The body of a notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WatcherEvent<'a> {
    /// What happened, see [`EventKind::from_raw`].
    pub(crate) kind: i32,
    /// The state of the session; servers send 3, connected.
    pub(crate) state: i32,
    /// The node that it happened to, as the server calls it.
    pub(crate) path: Cow<'a, str>,
}

impl<'a> WatcherEvent<'a> {
    /// Reads the body. Bytes after it are ignored.
    pub(crate) fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(body);
        Ok(Self { kind: r.i32()?, state: r.i32()?, path: r.text()? })
    }

    #[cfg(any(test, feature = "_fuzz"))]
    pub(crate) fn encode(&self, w: &mut Writer<'_>) {
        w.i32(self.kind);
        w.i32(self.state);
        w.string(&self.path);
    }
}

/// The body of set_watches or set_watches2, filled path by path and used again for the next.
///
/// The lists are: data, exist, child, persistent, persistent recursive. Only set_watches2 has the
/// last two. The server answers first with the events that were missed since the zxid that is sent
/// along, for the first three lists only, then with the reply.
#[derive(Debug, Default)]
pub(crate) struct SetWatches {
    lists: [Paths; 5],
}

/// One list: its paths as they go on the wire.
#[derive(Debug, Default)]
struct Paths {
    count: usize,
    bytes: Vec<u8>,
}

impl SetWatches {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn clear(&mut self) {
        for list in &mut self.lists {
            list.count = 0;
            list.bytes.clear();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lists.iter().all(|list| list.count == 0)
    }

    /// Adds `path` to a list, counted from 0.
    pub(crate) fn push(&mut self, list: usize, path: &str) {
        if let Some(list) = self.lists.get_mut(list) {
            list.count += 1;
            Writer::new(&mut list.bytes).string(path);
        }
    }

    /// How long the longer of the two bodies is with `path` in it.
    pub(crate) fn len_with(&self, path: &str) -> usize {
        8 + self.lists.iter().map(|list| 4 + list.bytes.len()).sum::<usize>() + 4 + path.len()
    }

    /// Whether only set_watches2 will do; servers before 3.6 know only the other.
    pub(crate) fn needs_two(&self) -> bool {
        self.lists.iter().skip(3).any(|list| list.count > 0)
    }

    /// Appends the body of the one that will do.
    pub(crate) fn encode(&self, out: &mut Vec<u8>, relative_zxid: i64) {
        let sent = if self.needs_two() { 5 } else { 3 };
        out.reserve(self.len_with(""));
        Writer::new(out).i64(relative_zxid);
        for list in self.lists.iter().take(sent) {
            Writer::new(out).count(list.count);
            out.extend_from_slice(&list.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::captured::unhex;

    #[test]
    fn data_changed_is_golden() {
        let body = unhex("0000000300000003000000022f61");
        let event = WatcherEvent::decode(&body).unwrap();
        assert_eq!(EventKind::from_raw(event.kind), EventKind::DataChanged);
        assert_eq!((event.state, &*event.path), (3, "/a"));
    }

    #[test]
    fn events_have_the_numbers_of_the_server() {
        assert_eq!(EventKind::from_raw(1), EventKind::Created);
        assert_eq!(EventKind::from_raw(2), EventKind::Deleted);
        assert_eq!(EventKind::from_raw(3), EventKind::DataChanged);
        assert_eq!(EventKind::from_raw(4), EventKind::ChildrenChanged);
        for raw in [-1, 0, 5, 6, 7, i32::MIN] {
            assert_eq!(EventKind::from_raw(raw), EventKind::Unknown(raw));
        }
    }

    fn set_watches(lists: &[(usize, &str)]) -> SetWatches {
        let mut batch = SetWatches::new();
        for (list, path) in lists {
            batch.push(*list, path);
        }
        batch
    }

    #[test]
    fn set_watches_is_golden() {
        let mut out = Vec::new();
        set_watches(&[(0, "/a")]).encode(&mut out, 0x1ff);
        let golden = "00000000000001ff00000001000000022f610000000000000000";
        assert_eq!(out, unhex(golden));
    }

    #[test]
    fn set_watches_leaves_out_the_lists_that_old_servers_do_not_know() {
        let (mut one, mut two) = (Vec::new(), Vec::new());
        let batch = set_watches(&[(0, "/a")]);
        assert!(!batch.needs_two());
        batch.encode(&mut one, 7);
        let batch = set_watches(&[(4, "/r"), (0, "/a"), (3, "/p")]);
        assert!(batch.needs_two());
        batch.encode(&mut two, 7);
        assert!(two.starts_with(&one));
        assert_eq!(two[one.len()..], unhex("00000001000000022f7000000001000000022f72"));
    }

    #[test]
    fn set_watches_that_was_cleared_is_as_good_as_new() {
        let mut batch = set_watches(&[(0, "/a"), (1, "/b"), (4, "/c")]);
        batch.clear();
        assert!(batch.is_empty() && !batch.needs_two());
        let (mut used, mut fresh) = (Vec::new(), Vec::new());
        batch.push(2, "/d");
        batch.encode(&mut used, 1);
        set_watches(&[(2, "/d")]).encode(&mut fresh, 1);
        assert_eq!(used, fresh);
    }

    proptest! {
        #[test]
        fn event_comes_back_whatever_follows(kind: i32, state: i32, path in ".*", tail: Vec<u8>) {
            let event = WatcherEvent { kind, state, path: path.into() };
            let mut out = Vec::new();
            event.encode(&mut Writer::new(&mut out));
            out.extend(tail);
            prop_assert_eq!(WatcherEvent::decode(&out)?, event);
        }

        #[test]
        fn any_bytes_are_an_event_or_an_error(bytes: Vec<u8>) {
            let _ = WatcherEvent::decode(&bytes);
        }

        #[test]
        fn set_watches_comes_back_and_is_no_longer_than_foretold(
            zxid: i64,
            paths in prop::collection::vec((0..5_usize, ".{0,8}"), 1..20),
        ) {
            let mut batch = SetWatches::new();
            let mut foretold = 0;
            for (list, path) in &paths {
                foretold = batch.len_with(path);
                batch.push(*list, path);
            }
            let mut out = Vec::new();
            batch.encode(&mut out, zxid);
            let two = paths.iter().any(|(list, _)| *list > 2);
            prop_assert_eq!(out.len(), foretold - if two { 0 } else { 8 });
            let mut r = Reader::new(&out);
            prop_assert_eq!(r.i64()?, zxid);
            for list in 0..if two { 5 } else { 3 } {
                let of_list = paths.iter().filter(|(of, _)| *of == list);
                let wanted: Vec<String> = of_list.map(|(_, path)| path.clone()).collect();
                prop_assert_eq!(r.vector(4, Reader::string)?, wanted);
            }
            prop_assert_eq!(r.remaining(), 0);
        }
    }
}
