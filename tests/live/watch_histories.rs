//! What watches hear of changes that were made while the client was disconnected.
//!
//! The server compares the node with the last zxid that the client has seen, not with what the
//! watch has seen: histories fall together, and some leave nothing. Lasting watches are told to
//! look again, and nothing else.
//!
//! Source: `DataTree.setWatches`.

use zookeeper_blocking::{
    Client, CreateMode, EventKind, SessionState, Version, WatchMode, WatcherType, op,
};

use crate::clients::{await_state, client, patience, through};
use crate::support::forge::{AUTO, Forge};
use crate::support::proxy::Proxy;
use crate::support::server::{Place, fresh_chroot};
use crate::watches::{KINDS, Kind};

#[derive(Clone, Copy, Debug)]
enum Did {
    Create,
    Delete,
    Set,
    CreateChild,
    DeleteChild,
}

/// Whether the node is there before, and what is done.
const HISTORIES: [(bool, &[Did]); 12] = [
    (false, &[]),
    (false, &[Did::Create]),
    (false, &[Did::Create, Did::Set]),
    (false, &[Did::Create, Did::Delete]),
    (true, &[]),
    (true, &[Did::Set]),
    (true, &[Did::Delete]),
    (true, &[Did::Delete, Did::Create]),
    (true, &[Did::CreateChild]),
    (true, &[Did::CreateChild, Did::DeleteChild]),
    (true, &[Did::Set, Did::Delete]),
    (true, &[Did::Delete, Did::Create, Did::Delete]),
];

/// What a one-shot watch hears of each: data, exists, children. `None` for a watch that cannot be.
fn heard(history: usize, kind: Kind) -> Option<Option<EventKind>> {
    use EventKind::{ChildrenChanged, Created, DataChanged, Deleted};
    let (data, exist, child) = match history {
        0 | 3 => (None, Some(None), None),
        1 | 2 => (None, Some(Some(Created)), None),
        4 => (Some(None), Some(None), Some(None)),
        5 => (Some(Some(DataChanged)), Some(Some(DataChanged)), Some(None)),
        // Deleted and created again looks like a change.
        7 => (Some(Some(DataChanged)), Some(Some(DataChanged)), Some(Some(ChildrenChanged))),
        8 | 9 => (Some(None), Some(None), Some(Some(ChildrenChanged))),
        _ => (Some(Some(Deleted)), Some(Some(Deleted)), Some(Some(Deleted))),
    };
    match kind {
        Kind::Data => data,
        Kind::Exist => exist,
        Kind::Child => child,
        Kind::Persistent | Kind::Recursive => Some(Some(EventKind::Resync)),
    }
}

fn redo(witness: &Client, path: &str, did: Did) {
    let child = format!("{path}/c");
    let create = |path: &str| drop(witness.create(path, "", CreateMode::Persistent).expect("new"));
    match did {
        Did::Create => create(path),
        Did::Delete => witness.delete(path, Version::Any).expect("there"),
        Did::Set => {
            witness.set_data(path, "x", Version::Any).expect("there");
        }
        Did::CreateChild => create(&child),
        Did::DeleteChild => witness.delete(&child, Version::Any).expect("there"),
    }
}

#[test]
fn b4_each_history_of_a_disconnect_leaves_its_mark() {
    let chroot = fresh_chroot();
    let proxy = Proxy::start(chroot.server().address());
    let (zk, witness) = (through(&proxy, &chroot).connect().expect("serves"), client(&chroot));
    let states = zk.subscribe().expect("not closed");
    let mut set = Vec::new();
    for (history, (there, _)) in HISTORIES.iter().enumerate() {
        for kind in KINDS {
            let path = format!("/{history}-{kind:?}");
            if *there {
                witness.create(&path, "", CreateMode::Persistent).expect("new");
                zk.sync(&path).expect("serves");
            }
            match (heard(history, kind), kind.watch(&zk, &path)) {
                (Some(wanted), watch) => {
                    set.push((history, kind, path, watch.expect("possible"), wanted));
                }
                (None, watch) => assert!(watch.is_err(), "{path}"),
            }
        }
    }
    assert_eq!(set.len(), 12 * 5 - 2 * 4);
    // The last zxid that this client sees is of after the watches.
    zk.exists("/").expect("serves");

    proxy.refuse();
    proxy.cut();
    await_state(&states, SessionState::Disconnected);
    for (history, (_, done)) in HISTORIES.iter().enumerate() {
        for kind in KINDS {
            for did in *done {
                redo(&witness, &format!("/{history}-{kind:?}"), *did);
            }
        }
    }
    proxy.accept();
    await_state(&states, SessionState::Connected);
    // What the server tells of the past it tells before it answers anything new.
    zk.sync("/").expect("serves");
    let mut armed = 0;
    for (_, kind, path, watch, wanted) in &set {
        let told: Vec<_> = watch.try_iter().map(|event| (event.kind, event.path)).collect();
        let wanted: Vec<_> = wanted.iter().map(|kind| (*kind, path.as_str().into())).collect();
        assert_eq!(told, wanted, "{path}");
        let still = !kind.is_one_shot() || told.is_empty();
        armed += usize::from(still);
        let ask = op::CheckWatches::new(path.as_str(), WatcherType::Any);
        assert_eq!(zk.call(ask).expect("serves"), still, "{path}");
    }
    assert_eq!(zk.watch_count(), armed);

    // What is still armed hears of what comes.
    for (history, kind, path, watch, _) in &set {
        let there = witness.exists(path).expect("serves").is_some();
        let did = if there { Did::Delete } else { Did::Create };
        let child = format!("{path}/c");
        if there && witness.exists(&child).expect("serves").is_some() {
            witness.delete(&child, Version::Any).expect("there");
        }
        let used_up = kind.is_one_shot() && heard(*history, *kind).flatten().is_some();
        // The deletion of the child was one to some.
        let before = watch.try_iter().count();
        redo(&witness, path, did);
        zk.sync(path).expect("serves");
        let now = watch.try_iter().count();
        assert_eq!(before + now == 0, used_up, "{path}: {before}, {now}");
    }
}

/// At a parent that has counted 2^31 creates the server's note of the last change of children
/// stands still, so it finds nothing to tell: the client must look for itself after a reconnect.
#[test]
fn b11_children_of_an_exhausted_parent_change_unseen_while_disconnected() {
    let log = Forge::new()
        .create("/q", b"", AUTO)
        .create("/q/old", b"", i32::MAX)
        .create("/sound", b"", AUTO)
        .finish();
    let server = Place::start_with_log(log);
    let proxy = Proxy::start(server.address());
    let zk = Client::connect(&proxy.connect_string()).expect("serves");
    let witness = Client::connect(&server.connect_string()).expect("serves");
    let states = zk.subscribe().expect("not closed");
    let (_, q) = zk.watch_children("/q").expect("there");
    let (_, sound) = zk.watch_children("/sound").expect("there");
    let lasting = zk.add_watch("/q", WatchMode::Recursive).expect("there");
    zk.exists("/").expect("serves");
    proxy.refuse();
    proxy.cut();
    await_state(&states, SessionState::Disconnected);
    for parent in ["/q", "/sound"] {
        witness.create(&format!("{parent}/new"), "", CreateMode::Persistent).expect("new");
    }
    proxy.accept();
    await_state(&states, SessionState::Connected);
    zk.sync("/q").expect("serves");
    let event = sound.try_recv().expect("the server has noticed");
    assert_eq!(event.kind, EventKind::ChildrenChanged);
    assert!(q.try_recv().is_err(), "the server has noticed after all");
    // What the client can do about it, it does: say that something may have been missed.
    assert_eq!(lasting.try_recv().map(|event| event.kind), Ok(EventKind::Resync));
    assert_eq!(zk.get_children("/q").expect("there").len(), 2);
    // And the watch is not lost.
    witness.create("/q/newer", "", CreateMode::Persistent).expect("new");
    let event = q.recv_timeout(patience()).expect("armed still");
    assert_eq!(event.kind, EventKind::ChildrenChanged);
}
