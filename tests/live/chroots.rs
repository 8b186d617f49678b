//! A client in a chroot sees its part of the tree as the whole, in every answer and every event.

use std::collections::BTreeSet;

use zookeeper_blocking::{
    Client, Code, CreateMode, EventKind, OpResult, Transaction, Version, WatchMode, op,
};

use crate::clients::{client, ear, patience};
use crate::support::server::{Chroot, fresh_chroot};

/// A client of the same server without a chroot.
fn outside(chroot: &Chroot) -> Client {
    Client::connect(&chroot.server().connect_string()).expect("serves")
}

#[test]
fn a24_answers_have_the_paths_that_were_asked_for() {
    let chroot = fresh_chroot();
    let zk = client(&chroot);
    assert_eq!(zk.chroot(), chroot.path());
    let path = zk.create("/a", "x", CreateMode::Persistent).expect("a fresh chroot");
    assert_eq!(path, "/a");
    let numbered = zk.create("/a/n-", "", CreateMode::EphemeralSequential).expect("just created");
    assert_eq!(numbered, "/a/n-0000000000");
    let told = zk.call(op::Create::new("/told").with_stat()).expect("a fresh chroot");
    assert_eq!(told.path, "/told");
    for path in ["/", "/a", "/nowhere"] {
        assert_eq!(zk.call(op::Sync::new(path)).expect("serves"), path);
    }
    let own: BTreeSet<_> = zk.get_ephemerals("/").expect("serves").into_iter().collect();
    assert_eq!(own, BTreeSet::from([numbered.clone()]));
    assert_eq!(zk.get_ephemerals("/a").expect("serves"), [numbered]);
    assert_eq!(zk.get_all_children_number("/").expect("there"), 3);
    assert_eq!(zk.subtree("/").expect("there").len(), 4);

    let results = zk
        .call(
            Transaction::new()
                .create("/tx", "")
                .op(op::Create::new("/tx/n-").mode(CreateMode::PersistentSequential))
                .check("/a", 0)
                .delete("/told", 0),
        )
        .expect("all there");
    let created: Vec<_> = results.iter().filter_map(OpResult::created).collect();
    assert_eq!(created[0].path, "/tx");
    assert_eq!(created[1].path, "/tx/n-0000000000");
    let reads = op::MultiRead::new().get_data("/a").get_children("/tx");
    let outcomes = zk.call(reads).expect("all there");
    assert!(matches!(&outcomes[0], op::ReadOutcome::Data(Some(data), _) if data == b"x"));
    let names = vec!["n-0000000000".to_owned()];
    assert_eq!(outcomes[1], op::ReadOutcome::Children(names));

    let witness = outside(&chroot);
    let on_server = format!("{}/a", chroot.path());
    assert_eq!(witness.get_data(&on_server).expect("there").0, b"x");
}

#[test]
fn a24_errors_have_the_paths_that_were_asked_for() {
    let zk = client(&fresh_chroot());
    let error = zk.get_data("/none").expect_err("nothing there");
    assert_eq!(error.to_string(), "get_data /none: no node");
    let failed = zk.transaction().create("/a", "").delete("/none", 0);
    let error = failed.commit().expect_err("nothing there");
    assert!(error.to_string().starts_with("delete /none: "), "{error}");
}

#[test]
fn a24_events_have_the_paths_that_were_watched() {
    let chroot = fresh_chroot();
    let zk = client(&chroot);
    let witness = outside(&chroot);
    let at = |path: &str| format!("{}{path}", chroot.path());

    let (callback, heard) = ear();
    zk.call(op::Exists::new("/a").watch(callback)).expect("asked");
    let (_, coming) = zk.watch_exists("/a").expect("asked");
    let (_, names) = zk.watch_children("/").expect("there");
    let all = zk.add_watch("/", WatchMode::Recursive).expect("there");
    let (callback, heard_all) = ear();
    zk.add_watch_with("/", WatchMode::Recursive, callback).expect("there");
    // The same node under another name, and one whose name begins like the chroot's.
    let root = outside(&chroot);
    let (_, from_root) = root.watch_exists(&at("/a")).expect("asked");
    let beside = format!("{}-beside", chroot.path());

    assert_eq!((coming.path(), names.path()), ("/a".to_owned(), "/".to_owned()));
    assert_eq!(from_root.path(), at("/a"));
    witness.create(&at("/a"), "", CreateMode::Persistent).expect("a fresh chroot");
    witness.create(&beside, "", CreateMode::Persistent).expect("a name used once");
    witness.create(&at("/a/b"), "", CreateMode::Persistent).expect("just created");

    let next = |watch: &zookeeper_blocking::Watch| {
        let event = watch.recv_timeout(patience()).expect("an event");
        (event.kind, event.path)
    };
    let created = |path: &str| (EventKind::Created, path.into());
    assert_eq!(next(&coming), created("/a"));
    assert_eq!(next(&names), (EventKind::ChildrenChanged, "/".into()));
    assert_eq!(next(&all), created("/a"));
    assert_eq!(next(&all), created("/a/b"));
    assert_eq!(next(&from_root), created(&at("/a")));
    let event = heard.recv_timeout(patience()).expect("an event");
    assert_eq!((event.kind, event.path), created("/a"));
    for path in ["/a", "/a/b"] {
        let event = heard_all.recv_timeout(patience()).expect("an event");
        assert_eq!((event.kind, event.path), created(path));
    }
    zk.close().expect("serves");
    assert_eq!(next(&all), (EventKind::Ended, "/".into()));
    let event = heard_all.recv_timeout(patience()).expect("the end");
    assert_eq!((event.kind, event.path), (EventKind::Ended, "/".into()));
    assert!(all.recv().is_none() && heard_all.recv().is_err());
    witness.delete(&beside, Version::Any).expect("created");
}

#[test]
fn a24_missing_chroot_is_told_by_the_first_call_and_can_be_made() {
    let chroot = fresh_chroot();
    let connect = format!("{}/not/there", chroot.connect_string());
    let zk = Client::connect(&connect).expect("a session needs no node");
    assert_eq!(zk.chroot(), format!("{}/not/there", chroot.path()));
    assert_eq!(zk.exists("/").expect("asked"), None);
    for error in [
        zk.create("/a", "", CreateMode::Persistent).expect_err("no parent"),
        zk.get_children("/").expect_err("no node"),
    ] {
        assert_eq!(error.code(), Some(Code::NoNode), "{error}");
    }
    zk.ensure_chroot(CreateMode::Container, &[zookeeper_blocking::Acl::open()])
        .expect("its parent is there");
    zk.ensure_chroot(CreateMode::Container, &[zookeeper_blocking::Acl::open()])
        .expect("it is there");
    zk.create("/a", "", CreateMode::Persistent).expect("now");
    assert_eq!(zk.get_children("/").expect("now"), ["a"]);

    // By the helpers too, which make what is missing.
    type Make = fn(&Client) -> zookeeper_blocking::Result<()>;
    let helpers: [(Make, &str); 3] = [
        (|zk| zk.ensure_path("/x/y"), "/x/y"),
        (|zk| zk.ensure_path("/"), "/"),
        (|zk| zk.create_with_parents(op::Create::new("/x")).map(drop), "/x"),
    ];
    for (n, (make, made)) in helpers.into_iter().enumerate() {
        let zk = Client::connect(&format!("{}/by{n}/helper", chroot.connect_string()))
            .expect("a session needs no node");
        make(&zk).expect("parents are made");
        assert!(zk.exists(made).expect("asked").is_some(), "helper {n}");
    }
}

#[test]
fn a24_root_as_chroot_is_none() {
    let chroot = fresh_chroot();
    let connect = format!("{}/", chroot.server().connect_string());
    let zk = Client::connect(&connect).expect("serves");
    assert_eq!(zk.chroot(), "/");
    assert!(zk.exists(chroot.path()).expect("asked").is_some());
    let same = zk.with_chroot("/").expect("legal");
    assert_eq!(same.chroot(), "/");
    let (_, watch) = same.watch_exists(&format!("{}/a", chroot.path())).expect("asked");
    assert_eq!(watch.path(), format!("{}/a", chroot.path()));
}

#[test]
fn a24_chroots_stack_and_the_handles_share_one_session() {
    let chroot = fresh_chroot();
    let zk = client(&chroot);
    let a = zk.with_chroot("/a").expect("legal");
    let b = a.with_chroot("/b").expect("legal");
    assert_eq!(b.chroot(), format!("{}/a/b", chroot.path()));
    assert_eq!(b.session_id(), zk.session_id());
    b.ensure_path("/c").expect("parents are made");
    assert!(zk.exists("/a/b/c").expect("asked").is_some());
    let own = b.create("/own", "", CreateMode::Ephemeral).expect("there");
    assert_eq!(own, "/own");
    assert_eq!(b.get_ephemerals("/").expect("serves"), ["/own"]);
    assert_eq!(a.get_ephemerals("/").expect("serves"), ["/b/own"]);
    // One event, told to each handle by its own names.
    let watches: Vec<_> = [(&zk, "/a/b/c"), (&a, "/b/c"), (&b, "/c")]
        .into_iter()
        .map(|(zk, path)| (path, zk.watch_data(path).expect("there").2))
        .collect();
    zk.set_data("/a/b/c", "new", Version::Any).expect("there");
    for (path, watch) in &watches {
        let event = watch.recv_timeout(patience()).expect("an event");
        assert_eq!((event.kind, &*event.path), (EventKind::DataChanged, *path));
    }
    for bad in ["", "a", "/a/", "/a//b"] {
        assert!(zk.with_chroot(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a24_the_servers_own_nodes_keep_their_names() {
    let chroot = fresh_chroot();
    let zk = client(&chroot);
    let (_, stat, watch) = zk.watch_config().expect("readable by all");
    assert_eq!(watch.path(), "/zookeeper/config");
    assert_eq!(zk.get_config().expect("readable by all").1, stat);
    drop(watch);
    // The path is the client's own, below its chroot, for every other call.
    assert_eq!(zk.exists("/zookeeper/config").expect("asked"), None);
}
