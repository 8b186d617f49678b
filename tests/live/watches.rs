//! What each kind of watch hears, and that its end is told exactly once.

use std::sync::mpsc::{Receiver, RecvTimeoutError};

use zookeeper_blocking::{
    Client, CreateMode, EventKind, SessionState, Version, Watch, WatchMode, WatchWait,
    WatchedEvent, WatcherType, op,
};

use crate::clients::{await_state, client, doomed, ear, expire, patience, through};
use crate::support::proxy::Proxy;
use crate::support::server::fresh_chroot;
use crate::support::wait::eventually;

/// A watch of each kind on one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Data,
    Exist,
    Child,
    Persistent,
    Recursive,
}

pub(crate) const KINDS: [Kind; 5] =
    [Kind::Data, Kind::Exist, Kind::Child, Kind::Persistent, Kind::Recursive];

impl Kind {
    pub(crate) fn watch(self, zk: &Client, path: &str) -> zookeeper_blocking::Result<Watch> {
        match self {
            Self::Data => zk.watch_data(path).map(|(_, _, watch)| watch),
            Self::Exist => zk.watch_exists(path).map(|(_, watch)| watch),
            Self::Child => zk.watch_children(path).map(|(_, watch)| watch),
            Self::Persistent => zk.add_watch(path, WatchMode::Persistent),
            Self::Recursive => zk.add_watch(path, WatchMode::Recursive),
        }
    }

    pub(crate) fn call_back(
        self,
        zk: &Client,
        path: &str,
        callback: impl FnMut(WatchedEvent) + Send + 'static,
    ) -> zookeeper_blocking::Result<()> {
        match self {
            Self::Data => zk.call(op::GetData::new(path).watch(callback)).map(drop),
            Self::Exist => zk.call(op::Exists::new(path).watch(callback)).map(drop),
            Self::Child => zk.call(op::GetChildren::new(path).watch(callback)).map(drop),
            Self::Persistent => zk.add_watch_with(path, WatchMode::Persistent, callback),
            Self::Recursive => zk.add_watch_with(path, WatchMode::Recursive, callback),
        }
    }

    pub(crate) fn is_one_shot(self) -> bool {
        matches!(self, Self::Data | Self::Exist | Self::Child)
    }

    fn watcher_type(self) -> WatcherType {
        match self {
            Self::Data | Self::Exist => WatcherType::Data,
            Self::Child => WatcherType::Children,
            Self::Persistent | Self::Recursive => WatcherType::Any,
        }
    }
}

#[test]
fn each_kind_hears_its_events_by_callback_and_by_handle() {
    use EventKind::{ChildrenChanged, Created, DataChanged, Deleted};
    let chroot = fresh_chroot();
    let zk = client(&chroot);
    let tells_zxid = chroot.server().version() >= (3, 9);
    type Step = fn(&Client, &str);
    let create: Step = |zk, path| drop(zk.create(path, "", CreateMode::Persistent).expect("new"));
    let set: Step = |zk, path| {
        zk.set_data(path, "x", Version::Any).expect("there");
    };
    let delete: Step = |zk, path| zk.delete(path, Version::Any).expect("there");
    let child: Step = |zk, path| {
        zk.create(&format!("{path}/c"), "", CreateMode::Persistent).expect("there");
    };
    // Kind, whether the node is there before, what happens, what is heard: "" is the node itself.
    type Row<'a> = (Kind, bool, Step, &'a [(EventKind, &'a str)]);
    let rows: Vec<Row<'_>> = vec![
        (Kind::Data, true, set, &[(DataChanged, "")]),
        (Kind::Data, true, delete, &[(Deleted, "")]),
        (Kind::Data, true, child, &[]),
        (Kind::Exist, false, create, &[(Created, "")]),
        (Kind::Exist, true, set, &[(DataChanged, "")]),
        (Kind::Exist, true, delete, &[(Deleted, "")]),
        (Kind::Exist, true, child, &[]),
        (Kind::Child, true, child, &[(ChildrenChanged, "")]),
        (Kind::Child, true, delete, &[(Deleted, "")]),
        (Kind::Child, true, set, &[]),
        (Kind::Persistent, false, create, &[(Created, "")]),
        (Kind::Persistent, true, set, &[(DataChanged, "")]),
        (Kind::Persistent, true, delete, &[(Deleted, "")]),
        (Kind::Persistent, true, child, &[(ChildrenChanged, "")]),
        (Kind::Recursive, false, create, &[(Created, "")]),
        (Kind::Recursive, true, set, &[(DataChanged, "")]),
        (Kind::Recursive, true, delete, &[(Deleted, "")]),
        (Kind::Recursive, true, child, &[(Created, "/c")]),
    ];
    for (n, (kind, there, step, wanted)) in rows.into_iter().enumerate() {
        let path = format!("/row{n}");
        if there {
            create(&zk, &path);
        }
        let watch = kind.watch(&zk, &path).expect("may be watched");
        let (callback, heard) = ear();
        kind.call_back(&zk, &path, callback).expect("may be watched");
        step(&zk, &path);
        // What the server sent before this answer is there when it is.
        zk.sync("/").expect("serves");
        let by_handle: Vec<_> = watch.try_iter().collect();
        let told: Vec<_> = by_handle
            .iter()
            .map(|event| (event.kind, event.path.strip_prefix(&path).unwrap_or("?")))
            .collect();
        assert_eq!(told, wanted, "row {n}: {kind:?}");
        for event in by_handle {
            assert_eq!(event.state, SessionState::Connected);
            let zxid = event.zxid.filter(|zxid| *zxid > 0 && *zxid <= zk.last_zxid());
            assert_eq!((zxid, zxid.is_some()), (event.zxid, tells_zxid), "b12");
            assert_eq!(heard.recv_timeout(patience()), Ok(event), "row {n}");
        }
        let over = watch.try_recv().expect_err("no more events");
        let fired = !wanted.is_empty() && kind.is_one_shot();
        let state = if fired { WatchWait::Over } else { WatchWait::Empty };
        assert_eq!(over, state, "row {n}: {kind:?}");
    }
}

#[test]
fn lasting_watches_hear_every_event_in_order() {
    let chroot = fresh_chroot();
    let (zk, writer) = (client(&chroot), client(&chroot));
    let watch = zk.add_watch("/", WatchMode::Recursive).expect("there");
    let pending: Vec<_> =
        (0..300).map(|n| writer.submit(op::Create::new(format!("/{n}"))).expect("room")).collect();
    for pending in pending {
        pending.wait().expect("new");
    }
    for n in 0..300 {
        let event = watch.recv_timeout(patience()).expect("an event");
        assert_eq!((event.kind, &*event.path), (EventKind::Created, &*format!("/{n}")));
    }
}

/// How watches end without their node.
#[derive(Clone, Copy, Debug)]
enum End {
    Close,
    LastHandle,
    Expiry,
    Remove,
    RemoveLocal,
    RemoveDisconnected,
}

#[track_caller]
fn last_call(kind: Kind, end: End, heard: &Receiver<WatchedEvent>) -> WatchedEvent {
    let last = heard.recv_timeout(patience());
    let last = last.unwrap_or_else(|why| panic!("{kind:?}, {end:?}: {why}"));
    // The callback is dropped after its last call: there can be no second.
    let none = heard.recv_timeout(patience());
    assert_eq!(none, Err(RecvTimeoutError::Disconnected), "{kind:?}, {end:?}");
    last
}

fn ends(end: End) {
    let chroot = fresh_chroot();
    let proxy = Proxy::start(chroot.server().address());
    let (zk, session) = doomed(|| through(&proxy, &chroot));
    let states = zk.subscribe().expect("not closed");
    let mut set = Vec::new();
    for (n, kind) in KINDS.into_iter().enumerate() {
        let path = format!("/n{n}");
        zk.create(&path, "", CreateMode::Persistent).expect("new");
        let watch = kind.watch(&zk, &path).expect("there");
        let (callback, heard) = ear();
        kind.call_back(&zk, &path, callback).expect("there");
        set.push((kind, path, watch, heard));
    }
    assert_eq!(zk.watch_count(), 10);
    let mut zk = Some(zk);
    let state = match end {
        End::Close => {
            zk.as_ref().expect("some").close().expect("serves");
            SessionState::Closed
        }
        End::LastHandle => {
            zk = None;
            SessionState::Closed
        }
        End::Expiry => {
            expire(&proxy, chroot.server(), &session);
            await_state(&states, SessionState::Expired);
            SessionState::Expired
        }
        End::Remove | End::RemoveLocal | End::RemoveDisconnected => {
            let zk = zk.as_ref().expect("some");
            let mut state = SessionState::Connected;
            if matches!(end, End::RemoveDisconnected) {
                proxy.refuse();
                proxy.cut();
                await_state(&states, SessionState::Disconnected);
                state = SessionState::Disconnected;
            }
            for (kind, path, _, _) in &set {
                if matches!(end, End::Remove) {
                    zk.remove_watches(path, kind.watcher_type()).expect("set");
                } else {
                    let removed = zk.remove_watches_local(path, kind.watcher_type());
                    assert_eq!(removed.expect("not closed"), 2, "{kind:?}");
                }
            }
            proxy.accept();
            state
        }
    };
    for (kind, path, watch, heard) in set {
        let last = last_call(kind, end, &heard);
        assert_eq!((last.kind, last.state), (EventKind::Ended, state), "{kind:?}");
        assert_eq!(*last.path, path);
        assert!(last.is_end());
        assert_eq!(watch.recv_timeout(patience()), Ok(last), "{kind:?}, {end:?}");
        assert_eq!(watch.recv(), None, "{kind:?}, {end:?}");
    }
    if let Some(zk) = zk {
        assert_eq!(zk.watch_count(), 0);
    }
}

#[test]
fn close_is_the_last_that_watches_hear() {
    ends(End::Close);
}

#[test]
fn dropping_the_last_handle_is_the_last_that_watches_hear() {
    ends(End::LastHandle);
}

#[test]
fn expiry_is_the_last_that_watches_hear() {
    ends(End::Expiry);
}

#[test]
fn removal_is_the_last_that_watches_hear() {
    ends(End::Remove);
    ends(End::RemoveLocal);
    ends(End::RemoveDisconnected);
}

#[test]
fn event_of_a_one_shot_watch_is_its_last_call() {
    let zk = client(&fresh_chroot());
    for kind in [Kind::Data, Kind::Exist, Kind::Child] {
        let path = format!("/{kind:?}");
        zk.create(&path, "", CreateMode::Persistent).expect("new");
        let (callback, heard) = ear();
        kind.call_back(&zk, &path, callback).expect("there");
        zk.delete(&path, Version::Any).expect("there");
        // A second event of the node finds nobody.
        zk.create(&path, "", CreateMode::Persistent).expect("new");
        assert_eq!(last_call(kind, End::Remove, &heard).kind, EventKind::Deleted);
    }
    assert_eq!(zk.watch_count(), 0);
}

#[test]
fn callback_of_a_refused_call_is_dropped_unrun() {
    let zk = client(&fresh_chroot());
    for kind in [Kind::Data, Kind::Child] {
        let (callback, heard) = ear();
        kind.call_back(&zk, "/none", callback).expect_err("no node");
        let none = heard.recv_timeout(patience());
        assert_eq!(none, Err(RecvTimeoutError::Disconnected), "{kind:?}");
    }
}

#[test]
fn handle_that_is_dropped_takes_its_watch_back_and_no_other() {
    let chroot = fresh_chroot();
    let zk = client(&chroot);
    zk.create("/a", "", CreateMode::Persistent).expect("new");
    let holds = |kind| {
        let ask = op::CheckWatches::new("/a", kind);
        zk.call(ask).expect("serves")
    };
    for kind in KINDS {
        let first = kind.watch(&zk, "/a").expect("there");
        let second = kind.watch(&zk, "/a").expect("there");
        assert_eq!(zk.watch_count(), 2);
        drop(first);
        eventually("one watch is left", patience(), || zk.watch_count() == 1);
        assert!(holds(WatcherType::Any), "{kind:?}");
        assert_eq!(second.try_recv(), Err(WatchWait::Empty));
        drop(second);
        eventually("none is left", patience(), || zk.watch_count() == 0);
        assert!(!holds(WatcherType::Any), "{kind:?}");
    }
}

/// The drop takes its watch back on the server; that must not take the next one along.
#[test]
fn watch_set_right_after_the_drop_of_another_on_its_path_hears() {
    let chroot = fresh_chroot();
    let (zk, writer) = (client(&chroot), client(&chroot));
    zk.create("/a", "", CreateMode::Persistent).expect("new");
    zk.create("/a/b", "", CreateMode::Persistent).expect("new");
    let kinds = [WatchMode::Recursive, WatchMode::Persistent, WatchMode::Recursive];
    let mut before = None;
    for round in 0..300 {
        let watch = match round % 4 {
            3 => zk.watch_data("/a").expect("there").2,
            n => zk.add_watch("/a", kinds[n % 3]).expect("there"),
        };
        // Before the next one is set, behind it, or with a request between them.
        match round % 3 {
            0 => before = None,
            1 => drop(before.replace(watch)),
            _ => {
                before = None;
                zk.exists("/a").expect("answers");
            }
        }
        let watch = match before.take() {
            Some(watch) => watch,
            None => zk.add_watch("/a", kinds[round % 3]).expect("there"),
        };
        writer.set_data("/a", round.to_string(), Version::Any).expect("there");
        let heard = watch.recv_timeout(patience());
        assert!(heard.is_ok_and(|event| event.kind == EventKind::DataChanged), "round {round}");
        before = Some(watch);
    }
    drop(before);
    eventually("all are taken back", patience(), || zk.watch_count() == 0);
}
