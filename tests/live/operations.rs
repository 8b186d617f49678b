//! Every operation of the protocol against a real server, each as a blocking call, as a `Pending`
//! and as a completion on the event thread.
//!
//! Nothing can be forgotten: the types that went through are compared with those that the crate
//! exports, the operations that were seen on the wire with those that the crate knows.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use zookeeper_blocking::op::{self, Operation};
use zookeeper_blocking::{
    Acl, Client, Code, CreateMode, EventKind, OpResult, Pending, Permissions, Result, SessionState,
    Transaction, Version, WatchMode, WatcherType, path,
};

use crate::clients::{await_state, patience};
use crate::support::proxy::Proxy;
use crate::support::server::{Ensemble, Node};
use crate::support::wait::eventually;
use crate::support::wire;

type Show = fn(&Ground<'_>);

/// The operations by name, and how each is shown.
const TABLE: &[(&str, Show)] = &[
    ("create", create),
    ("create in all modes", create_in_all_modes),
    ("create with a time to live", create_with_a_time_to_live),
    ("delete", delete),
    ("exists", exists),
    ("get and set data", data),
    ("null and empty data", null_data),
    ("get and set ACL", acl),
    ("children", children),
    ("sync and counts", sync_and_counts),
    ("transaction", transaction),
    ("multi read", multi_read),
    ("watches: check and remove", check_and_remove_watches),
    ("watches: add", add_watch),
    ("watches: set again", set_watches),
    ("configuration", configuration),
    ("who am I", who_am_i),
    ("ping", ping),
    ("close", close),
];

/// Exported by `op`, but no operations: what they are made of and what they give.
const NO_OPERATIONS: &[&str] = &[
    "AuthInfo",
    "CreateMode",
    "Created",
    "Data",
    "ReadItem",
    "ReadOutcome",
    "Version",
    "WatchMode",
    "WatcherType",
];

/// Known to the crate and never sent by it, with the reason.
const NEVER_SENT: &[(&str, i32)] = &[
    // Alone, servers answer it with an error, a closed connection, or not at all: it goes in a
    // transaction of one.
    ("Check", wire::op::CHECK),
    // Not built yet.
    ("Sasl", wire::op::SASL),
    // Counted apart by the proxy.
    ("Ping", wire::op::PING),
];

#[test]
fn every_operation_three_ways() {
    let ensemble = Ensemble::start(1);
    let proxy = Proxy::start(ensemble.nodes()[0].address());
    let zk = Client::builder(&proxy.connect_string())
        .auth("digest", "super:test")
        .session_timeout(Duration::from_secs(1))
        .connect()
        .expect("the ensemble of one serves");
    let ground =
        Ground { zk, node: &ensemble.nodes()[0], proxy: &proxy, shown: RefCell::default() };
    for (name, show) in TABLE {
        eprintln!("{name}");
        show(&ground);
    }

    let shown = ground.shown.into_inner();
    let exported = exported_by(include_str!("../../src/client/op/mod.rs"));
    assert!(exported.len() > 20, "{exported:?}");
    for name in NO_OPERATIONS {
        assert!(exported.contains(*name), "{name} is no more");
    }
    let missed: Vec<_> = exported
        .iter()
        .filter(|name| !shown.contains(*name) && !NO_OPERATIONS.contains(&name.as_str()))
        .collect();
    assert!(missed.is_empty(), "operations without a test: {missed:?}");

    let known = opcodes_of(include_str!("../../src/proto/opcode.rs"));
    assert_eq!(known.len(), 29, "{known:?}");
    let sent = proxy.counts().to_server.ops;
    let missed: Vec<_> = known
        .iter()
        .filter(|(name, raw)| {
            !sent.contains_key(raw) && !NEVER_SENT.contains(&(name.as_str(), *raw))
        })
        .collect();
    assert!(missed.is_empty(), "never seen on the wire: {missed:?}");
    for (name, raw) in NEVER_SENT {
        assert!(!sent.contains_key(raw), "{name} is sent after all");
    }
}

struct Ground<'a> {
    zk: Client,
    node: &'a Node,
    proxy: &'a Proxy,
    shown: RefCell<BTreeSet<String>>,
}

impl Ground<'_> {
    /// Does the operations `make(0)`, `make(1)` and `make(2)`, one each way.
    #[track_caller]
    fn three_ways<O: Operation>(&self, make: impl Fn(usize) -> O) -> [O::Reply; 3] {
        self.three_results(make).map(|result| match result {
            Ok(reply) => reply,
            Err(error) => panic!("{error}"),
        })
    }

    #[track_caller]
    fn three_results<O: Operation>(&self, make: impl Fn(usize) -> O) -> [Result<O::Reply>; 3] {
        let name = std::any::type_name::<O>().rsplit("::").next().expect("a type has a name");
        // Without its lifetime.
        let name = name.split_once('<').map_or(name, |(name, _)| name);
        self.shown.borrow_mut().insert(name.to_owned());
        let called = self.zk.call(make(0));
        let waited = poll(self.zk.submit(make(1)).expect("room in flight"));
        let (tell, told) = channel();
        let done = move |result| {
            let _ = tell.send((thread::current().name().map(str::to_owned), result));
        };
        self.zk.submit_with(make(2), done).expect("room in flight");
        let (thread, completed) = told.recv_timeout(patience()).expect("a completion");
        assert_eq!(thread.as_deref(), Some("zk-event"));
        [called, waited, completed]
    }

    /// Makes `/name0`, `/name1` and `/name2`, one for each way.
    fn nodes(&self, name: &str) -> [String; 3] {
        [0, 1, 2].map(|n| {
            self.zk
                .create(&format!("/{name}{n}"), "x", CreateMode::Persistent)
                .expect("a name used once")
        })
    }
}

/// Waits by asking again and again, now and then with a little patience.
fn poll<T>(mut pending: Pending<T>) -> Result<T> {
    loop {
        pending = match pending.try_wait() {
            Ok(result) => return result,
            Err(back) => back,
        };
        pending = match pending.wait_timeout(Duration::from_micros(100)) {
            Ok(result) => return result,
            Err(back) => back,
        };
    }
}

// ---- one entry of the table each ----

fn create(g: &Ground<'_>) {
    for created in g.three_ways(|n| op::Create::new(format!("/plain{n}")).data("x")) {
        let (data, stat) = g.zk.get_data(&created.path).expect("just created");
        assert_eq!((created.zxid, created.stat), (stat.czxid, None));
        assert_eq!((data.as_slice(), stat.ephemeral_owner), (&b"x"[..], 0));
    }
    for created in g.three_ways(|n| op::Create::new(format!("/told{n}")).with_stat()) {
        let stat = g.zk.exists(&created.path).expect("asked");
        assert!(created.stat.is_some());
        assert_eq!(created.stat, stat);
    }
    let acl = [Acl::world(Permissions::READ), Acl::creator_all()];
    let created = g.three_ways(|n| op::Create::new(format!("/guarded{n}")).acl(acl.clone()));
    let (read, _) = g.zk.get_acl(&created[0].path).expect("just created");
    assert!(read.contains(&Acl::world(Permissions::READ)), "{read:?}");
}

fn create_in_all_modes(g: &Ground<'_>) {
    let modes = [
        CreateMode::Persistent,
        CreateMode::PersistentSequential,
        CreateMode::Ephemeral,
        CreateMode::EphemeralSequential,
        CreateMode::Container,
    ];
    for (at, mode) in modes.into_iter().enumerate() {
        // A mode that is not in the list would not get past this.
        let (numbered, ephemeral) = match mode {
            CreateMode::Persistent | CreateMode::Container => (false, false),
            CreateMode::PersistentSequential => (true, false),
            CreateMode::Ephemeral => (false, true),
            CreateMode::EphemeralSequential => (true, true),
            _ => panic!("a mode without a test: {mode:?}"),
        };
        let name = |n| format!("/mode{at}-{n}-");
        let mut last = None;
        let created = g.three_ways(|n| op::Create::new(name(n)).mode(mode));
        for (n, created) in created.into_iter().enumerate() {
            let number = path::sequence(&created.path);
            assert_eq!(number.is_some(), numbered, "{created:?}");
            assert!(number.is_none() || number > last, "{created:?}");
            assert!(created.path.starts_with(&name(n)), "{created:?}");
            last = number;
            let stat = g.zk.exists(&created.path).expect("asked").expect("created");
            let owner = if ephemeral { g.zk.session_id() } else { 0 };
            assert_eq!(stat.ephemeral_owner, owner);
            // A container's reply tells its Stat unasked.
            assert_eq!(created.stat.is_some(), mode == CreateMode::Container);
        }
    }
    // Only a container that had a child goes by itself.
    let child = "/mode4-0-/child";
    g.zk.create(child, "", CreateMode::Persistent).expect("created above");
    g.zk.delete(child, Version::Any).expect("just created");
    eventually("the empty container goes", patience(), || {
        g.zk.exists("/mode4-0-").expect("asked").is_none()
    });
}

fn create_with_a_time_to_live(g: &Ground<'_>) {
    let ttl = Duration::from_millis(1);
    for created in g.three_ways(|n| op::Create::new(format!("/mortal{n}")).ttl(ttl)) {
        assert!(created.stat.is_some());
        eventually("its time is over", patience(), || {
            g.zk.exists(&created.path).expect("asked").is_none()
        });
    }
    let numbered = |n| {
        op::Create::new(format!("/mortal{n}-"))
            .ttl(Duration::from_secs(3600))
            .mode(CreateMode::PersistentSequential)
    };
    for created in g.three_ways(numbered) {
        assert!(path::sequence(&created.path).is_some(), "{created:?}");
        // The server hides from clients what it keeps there of the time to live.
        assert_eq!(created.stat.map(|stat| stat.ephemeral_owner), Some(0));
    }
}

fn delete(g: &Ground<'_>) {
    let paths = g.nodes("victim");
    let wrong = g.three_results(|n| op::Delete::new(&paths[n]).version(7));
    assert!(
        wrong.iter().all(|r| { r.as_ref().is_err_and(|e| e.code() == Some(Code::BadVersion)) })
    );
    g.three_ways(|n| op::Delete::new(&paths[n]).version(0));
    for path in &paths {
        assert_eq!(g.zk.exists(path).expect("asked"), None);
    }
}

fn exists(g: &Ground<'_>) {
    let paths = g.nodes("there");
    for stat in g.three_ways(|n| op::Exists::new(&paths[n])) {
        assert_eq!(stat.expect("created").data_length, 1);
    }
    assert_eq!(g.three_ways(|_| op::Exists::new("/not-there")), [None, None, None]);
}

fn data(g: &Ground<'_>) {
    let paths = g.nodes("data");
    for stat in g.three_ways(|n| op::SetData::new(&paths[n], format!("new{n}")).version(0)) {
        assert_eq!((stat.version, stat.data_length), (1, 4));
    }
    let read = g.three_ways(|n| op::GetData::new(&paths[n]));
    for (n, (data, stat)) in read.into_iter().enumerate() {
        assert_eq!((data, stat.version), (format!("new{n}").into_bytes(), 1));
    }
}

fn null_data(g: &Ground<'_>) {
    let created = g.three_ways(|n| op::Create::new(format!("/null{n}")).null_data());
    let read = |want: Option<Vec<u8>>| {
        for (data, stat) in g.three_ways(|n| op::GetDataOrNull::new(&created[n].path)) {
            assert_eq!((&data, stat.data_length), (&want, 0));
        }
        for (data, _) in g.three_ways(|n| op::GetData::new(&created[n].path)) {
            assert!(data.is_empty());
        }
    };
    read(None);
    g.three_ways(|n| op::SetData::new(&created[n].path, ""));
    read(Some(Vec::new()));
    g.three_ways(|n| op::SetData::null(&created[n].path));
    read(None);
}

fn acl(g: &Ground<'_>) {
    let paths = g.nodes("acl");
    let acl = [
        Acl::world(Permissions::READ),
        Acl::digest("ann", "secret", Permissions::ALL),
        Acl::ip("127.0.0.1", Permissions::WRITE),
    ];
    for stat in g.three_ways(|n| op::SetAcl::new(&paths[n], acl.clone()).version(0)) {
        assert_eq!(stat.aversion, 1);
    }
    for (read, stat) in g.three_ways(|n| op::GetAcl::new(&paths[n])) {
        assert_eq!((read.as_slice(), stat.aversion), (&acl[..], 1));
    }
}

fn children(g: &Ground<'_>) {
    let paths = g.nodes("parent");
    for path in &paths {
        for name in ["b", "a"] {
            g.zk.create(&path::join(path, name), "", CreateMode::Persistent).expect("just created");
        }
    }
    for mut names in g.three_ways(|n| op::GetChildren::new(&paths[n])) {
        names.sort();
        assert_eq!(names, ["a", "b"]);
    }
    for (mut names, stat) in g.three_ways(|n| op::GetChildrenWithStat::new(&paths[n])) {
        names.sort();
        assert_eq!(names, ["a", "b"]);
        assert_eq!((stat.num_children, stat.cversion), (2, 2));
    }
}

fn sync_and_counts(g: &Ground<'_>) {
    g.zk.ensure_path("/counted/a/b").expect("not there yet");
    for synced in g.three_ways(|_| op::Sync::new("/counted")) {
        assert_eq!(synced, "/counted");
    }
    assert_eq!(g.three_ways(|_| op::GetAllChildrenNumber::new("/counted")), [2, 2, 2]);
    let own = g.zk.create("/counted/own", "", CreateMode::Ephemeral).expect("not there yet");
    for paths in g.three_ways(|_| op::GetEphemerals::new("/counted")) {
        assert_eq!(paths, [own.as_str()]);
    }
}

fn transaction(g: &Ground<'_>) {
    g.zk.create("/tx", "", CreateMode::Persistent).expect("not there yet");
    let every_member = |n: usize| {
        let at = |name: &str| format!("/tx/{n}{name}");
        Transaction::new()
            .check("/tx", Version::Any)
            .create(at("plain"), "x")
            .op(op::Create::new(at("told")).with_stat())
            .op(op::Create::new(at("container")).mode(CreateMode::Container))
            .op(op::Create::new(at("mortal")).ttl(Duration::from_secs(3600)))
            .op(op::Create::new(at("own-")).mode(CreateMode::EphemeralSequential))
            .set_data(at("plain"), "new", 0)
            .check(at("plain"), 1)
            .delete(at("plain"), 1)
            .op(op::Delete::new(at("told")))
            .op(op::SetData::null(at("mortal")))
    };
    for (n, results) in g.three_ways(every_member).into_iter().enumerate() {
        use OpResult::{Checked, Deleted};
        assert_eq!(results.len(), 11);
        assert_eq!((&results[0], &results[7]), (&Checked, &Checked));
        assert_eq!((&results[8], &results[9]), (&Deleted, &Deleted));
        let created: Vec<_> = results.iter().filter_map(OpResult::created).collect();
        let paths: Vec<_> = created.iter().map(|created| created.path.as_str()).collect();
        let at = |name: &str| format!("/tx/{n}{name}");
        assert_eq!(paths[..4], [at("plain"), at("told"), at("container"), at("mortal")]);
        assert!(path::sequence(paths[4]).is_some(), "{paths:?}");
        assert_eq!(results[6].stat().map(|stat| stat.version), Some(1));
        assert_eq!(results[10].stat().map(|stat| stat.version), Some(1));
        // One transaction, one zxid.
        let container = g.zk.exists(paths[2]).expect("asked").expect("created");
        // Servers before 3.9 answer a create2 here as a create, without the Stat (ZOOKEEPER-4026).
        let told = created[1].stat.map(|stat| stat.czxid);
        assert_eq!(told, (g.node.version() >= (3, 9)).then_some(container.czxid));
        assert!(created.iter().all(|one| one.zxid == container.czxid));
        assert_eq!(g.zk.exists(paths[0]).expect("asked"), None);
    }
    g.zk.check("/tx", 0).expect("never written");
}

fn multi_read(g: &Ground<'_>) {
    g.zk.ensure_path("/read/a").expect("not there yet");
    let ask = |_| {
        op::MultiRead::new()
            .get_data("/read")
            .get_children("/read")
            .get_data("/read/none")
            .get_children("/read/a")
    };
    for outcomes in g.three_ways(ask) {
        use op::ReadOutcome::{Children, Data, Refused};
        assert!(matches!(&outcomes[0], Data(Some(data), _) if data.is_empty()));
        assert_eq!(outcomes[1], Children(vec!["a".to_owned()]));
        assert_eq!(outcomes[2], Refused(Code::NoNode));
        assert_eq!(outcomes[3], Children(vec![]));
    }
}

fn check_and_remove_watches(g: &Ground<'_>) {
    let paths = g.nodes("watched");
    for kind in [WatcherType::Data, WatcherType::Children, WatcherType::Any] {
        let has = || g.three_ways(|n| op::CheckWatches::new(&paths[n], kind));
        assert_eq!(has(), [false; 3]);
        let watches: Vec<_> = paths
            .iter()
            .map(|path| match kind {
                WatcherType::Children => g.zk.watch_children(path).expect("created").1,
                _ => g.zk.watch_data(path).expect("created").2,
            })
            .collect();
        assert_eq!(has(), [true; 3]);
        g.three_ways(|n| op::RemoveWatches::new(&paths[n], kind));
        assert_eq!(has(), [false; 3]);
        for watch in watches {
            assert_eq!(watch.recv().map(|event| event.kind), Some(EventKind::Ended));
            assert_eq!(watch.recv(), None);
        }
        let none = g.three_results(|n| op::RemoveWatches::new(&paths[n], kind));
        assert!(none.iter().all(|r| r.as_ref().is_err_and(|e| e.code() == Some(Code::NoWatcher))));
    }
}

fn add_watch(g: &Ground<'_>) {
    for (mode, name) in [(WatchMode::Persistent, "stay"), (WatchMode::Recursive, "deep")] {
        let paths = g.nodes(name);
        let (tell, told) = channel();
        g.three_ways(|n| {
            let tell = tell.clone();
            op::AddWatch::new(&paths[n], mode, move |event| {
                let _ = tell.send((n, event.kind, event.path.to_string()));
            })
        });
        for (n, path) in paths.iter().enumerate() {
            let child = path::join(path, "child");
            g.zk.set_data(path, "new", Version::Any).expect("created");
            g.zk.create(&child, "", CreateMode::Persistent).expect("created");
            let hear = || told.recv_timeout(patience()).expect("an event");
            assert_eq!(hear(), (n, EventKind::DataChanged, path.clone()));
            let second = match mode {
                WatchMode::Persistent => (n, EventKind::ChildrenChanged, path.clone()),
                _ => (n, EventKind::Created, child),
            };
            assert_eq!(hear(), second);
        }
        g.three_ways(|n| op::RemoveWatches::new(&paths[n], WatcherType::Any));
        for (n, path) in paths.into_iter().enumerate() {
            let last = told.recv_timeout(patience()).expect("the end of each");
            assert_eq!(last, (n, EventKind::Ended, path));
        }
    }
}

/// `setWatches` after a reconnect with one-shot watches only, `setWatches2` with others too.
fn set_watches(g: &Ground<'_>) {
    let [path, deep, _] = g.nodes("again");
    let states = g.zk.subscribe().expect("not closed");
    let (_, _, watch) = g.zk.watch_data(&path).expect("created");
    let reconnect = || {
        g.proxy.cut();
        await_state(&states, SessionState::Connected);
    };
    reconnect();
    let lasting = g.zk.add_watch(&deep, WatchMode::Recursive).expect("created");
    reconnect();
    let resync = lasting.recv_timeout(patience()).expect("a sign to look");
    assert_eq!(resync.kind, EventKind::Resync);
    for path in [&path, &deep] {
        g.zk.set_data(path, "new", Version::Any).expect("created");
    }
    for watch in [&watch, &lasting] {
        let event = watch.recv_timeout(patience()).expect("an event");
        assert_eq!(event.kind, EventKind::DataChanged);
    }
}

/// The right to reconfigure is the superuser's, and one server can do it to itself.
fn configuration(g: &Ground<'_>) {
    // A chroot does not apply.
    let below = g.zk.with_chroot("/anywhere").expect("a legal path");
    let (_, _, watch) = below.watch_config().expect("readable by all");
    let [(text, stat), ..] = g.three_ways(|_| op::GetConfig::new());
    let text = String::from_utf8(text).expect("text");
    assert!(text.starts_with("server.1=127.0.0.1:"), "{text}");
    let me = text.lines().next().expect("a line");
    for (text, now) in g.three_ways(|_| op::Reconfig::new().members(me)) {
        assert!(String::from_utf8_lossy(&text).contains(me));
        assert!(now.mzxid > stat.mzxid);
    }
    let event = watch.recv_timeout(patience()).expect("a change");
    assert_eq!((event.kind, &*event.path), (EventKind::DataChanged, "/zookeeper/config"));
    let nobody = Client::connect(&g.node.connect_string()).expect("serves");
    let refused = nobody.call(op::Reconfig::new().members(me));
    assert_eq!(refused.expect_err("not everybody may").code(), Some(Code::NoAuth));
    let (_, now) = g.zk.get_config().expect("readable by all");
    let stale = g.three_results(|_| op::Reconfig::new().members(me).from_version(1));
    for result in stale {
        assert_eq!(result.expect_err("of old").code(), Some(Code::BadVersion));
    }
    assert_eq!(g.zk.get_config().expect("readable by all").1, now);
}

fn who_am_i(g: &Ground<'_>) {
    g.zk.add_auth("digest", "ann:secret").expect("any will do");
    for infos in g.three_ways(|_| op::WhoAmI::new()) {
        let has = |scheme: &str, user: &str| {
            infos.iter().any(|info| info.scheme == scheme && info.user == user)
        };
        assert!(has("digest", "ann") && has("ip", "127.0.0.1"), "{infos:?}");
        assert!(has("super", ""), "{infos:?}");
    }
}

fn ping(g: &Ground<'_>) {
    let before = g.proxy.counts().to_client.pings;
    eventually("an idle client pings", patience(), || g.proxy.counts().to_client.pings > before);
}

/// The last: nothing goes through it afterwards.
fn close(g: &Ground<'_>) {
    let id = g.zk.session_id();
    let own = g.zk.create("/gone-with-me", "", CreateMode::Ephemeral).expect("not there yet");
    g.zk.close().expect("the server acknowledges");
    let mut witness = g.node.raw();
    assert_eq!(witness.exists(&own), Err(wire::code::NO_NODE), "0x{id:x}");
    let error = g.zk.exists("/").expect_err("closed");
    assert!(error.is_terminal(), "{error}");
}

// ---- what the crate has ----

/// The names in the `pub use` lines of a source file.
fn exported_by(source: &str) -> BTreeSet<String> {
    let uses = source.split("\npub use ").skip(1);
    let lists = uses.filter_map(|text| text.split(';').next());
    let names = lists.flat_map(|list| list.rsplit("::").next().unwrap_or(list).split(','));
    names
        .map(|name| name.trim_matches(|c: char| !c.is_alphanumeric()).to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

/// The lines `Name = number, "name", "version";` of the table of operations.
fn opcodes_of(source: &str) -> Vec<(String, i32)> {
    let table = source.split("opcodes! {").nth(1).expect("the table");
    let table = table.split('}').next().expect("its end");
    table
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once('=')?;
            let raw = rest.split(',').next()?.trim().parse().ok()?;
            Some((name.trim().to_owned(), raw))
        })
        .collect()
}
