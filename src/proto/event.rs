//! Watches on the wire: the event that tells of one, and the request that sets many again.
//!
//! Source: `WatcherEvent`, `SetWatches` and `SetWatches2` in `zookeeper.jute`; `Watcher.java`.

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
pub(crate) struct WatcherEvent {
    /// What happened, see [`EventKind::from_raw`].
    pub(crate) kind: i32,
    /// The state of the session; servers send 3, connected.
    pub(crate) state: i32,
    /// The node that it happened to, as the server calls it.
    pub(crate) path: String,
}

impl WatcherEvent {
    /// Reads the body. Bytes after it are ignored.
    pub(crate) fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(body);
        Ok(Self { kind: r.i32()?, state: r.i32()?, path: r.string()? })
    }

    #[cfg(any(test, feature = "_fuzz"))]
    pub(crate) fn encode(&self, w: &mut Writer<'_>) {
        w.i32(self.kind);
        w.i32(self.state);
        w.string(&self.path);
    }
}

/// Appends the body of set_watches or, if `two`, of set_watches2.
///
/// The lists are: data, exist, child, persistent, persistent recursive. Only set_watches2 has the
/// last two; set_watches leaves them out. The server answers first with the events that were missed
/// since `relative_zxid`, for the first three lists only, then with the reply.
pub(crate) fn encode_set_watches(
    out: &mut Vec<u8>,
    relative_zxid: i64,
    lists: [&[&str]; 5],
    two: bool,
) {
    out.reserve(set_watches_len(lists, two));
    let mut w = Writer::new(out);
    w.i64(relative_zxid);
    for list in sent_lists(&lists, two) {
        w.count(list.len());
        for path in *list {
            w.string(path);
        }
    }
}

/// How many bytes [`encode_set_watches`] appends.
pub(crate) fn set_watches_len(lists: [&[&str]; 5], two: bool) -> usize {
    let strings = |list: &&[&str]| list.iter().map(|path| 4 + path.len()).sum::<usize>();
    8 + sent_lists(&lists, two).map(|list| 4 + strings(list)).sum::<usize>()
}

fn sent_lists<'l, 'p>(
    lists: &'l [&'p [&'p str]; 5],
    two: bool,
) -> impl Iterator<Item = &'l &'p [&'p str]> {
    lists.iter().take(if two { 5 } else { 3 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::captured::unhex;

    #[test]
    fn data_changed_is_golden() {
        let event = WatcherEvent::decode(&unhex("0000000300000003000000022f61")).unwrap();
        assert_eq!(EventKind::from_raw(event.kind), EventKind::DataChanged);
        assert_eq!((event.state, event.path.as_str()), (3, "/a"));
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

    #[test]
    fn set_watches_is_golden() {
        let mut out = Vec::new();
        encode_set_watches(&mut out, 0x1ff, [&["/a"], &[], &[], &[], &[]], false);
        let golden = "00000000000001ff00000001000000022f610000000000000000";
        assert_eq!(out, unhex(golden));
    }

    #[test]
    fn set_watches_leaves_out_the_lists_that_old_servers_do_not_know() {
        let lists: [&[&str]; 5] = [&["/a"], &[], &[], &["/p"], &["/r"]];
        let (mut one, mut two) = (Vec::new(), Vec::new());
        encode_set_watches(&mut one, 7, lists, false);
        encode_set_watches(&mut two, 7, lists, true);
        assert!(two.starts_with(&one));
        assert_eq!(two[one.len()..], unhex("00000001000000022f7000000001000000022f72"));
    }

    proptest! {
        #[test]
        fn event_comes_back_whatever_follows(kind: i32, state: i32, path in ".*", tail: Vec<u8>) {
            let event = WatcherEvent { kind, state, path };
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
        fn set_watches_comes_back_and_has_the_length_foretold(
            zxid: i64,
            lists in prop::array::uniform5(prop::collection::vec(".{0,8}", 0..4)),
            two: bool,
        ) {
            let lists: Vec<Vec<&str>> =
                lists.iter().map(|list| list.iter().map(String::as_str).collect()).collect();
            let slices = std::array::from_fn(|n| lists[n].as_slice());
            let mut out = Vec::new();
            encode_set_watches(&mut out, zxid, slices, two);
            prop_assert_eq!(out.len(), set_watches_len(slices, two));
            let mut r = Reader::new(&out);
            prop_assert_eq!(r.i64()?, zxid);
            for list in &lists[..if two { 5 } else { 3 }] {
                prop_assert_eq!(&r.vector(4, Reader::string)?, list);
            }
            prop_assert_eq!(r.remaining(), 0);
        }
    }
}
