//! Servers before 3.6, which know no watches that stay: the same promises, by other watches.
//!
//! The server is a real one, to which the proxy makes those operations unknown: it answers them as
//! an old one does, and closes the connection. Curator `UnsupportedAddWatcherTest`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use zookeeper_blocking::recipes::{Cache, Discovery, Lock, Party, ServiceInstance};
use zookeeper_blocking::{
    Client, Code, CreateMode, EventKind, SessionCredentials, Version, WatchMode, op,
};

use crate::caches::{await_same, next};
use crate::clients::{doomed, expire, patience, soon};
use crate::faults::figure;
use crate::locks::{Yard, assert_code, ms};
use crate::nodes::in_callback;
use crate::support::proxy::Proxy;
use crate::support::wait::eventually;
use crate::support::wire::op as ops;

/// A client of an old server, and what the test needs to end its session.
struct Old {
    yard: Yard,
    proxy: Proxy,
    client: Client,
    session: SessionCredentials,
}

impl Old {
    fn new() -> Self {
        let yard = Yard::new();
        let proxy = yard.proxy();
        proxy.forget_ops(&[ops::ADD_WATCH, ops::SET_WATCHES2]);
        let (client, session) = doomed(|| yard.through(&proxy));
        Self { yard, proxy, client, session }
    }

    /// One before 3.5.
    fn older() -> Self {
        let old = Self::new();
        let newer = [ops::ADD_WATCH, ops::SET_WATCHES2, ops::CREATE2, ops::REMOVE_WATCHES];
        old.proxy.forget_ops(&newer);
        old
    }

    fn asked(&self) -> BTreeMap<i32, usize> {
        self.proxy.counts().to_server.ops
    }
}

#[test]
fn lasting_watch_is_refused_and_the_client_is_usable_after() {
    let old = Old::new();
    assert_code(old.client.add_watch("/a", WatchMode::Recursive), Code::Unimplemented);
    // What is sent before the end of the connection is known is lost with it.
    eventually("the next connection", patience(), || old.client.exists("/a").is_ok());
    old.client.create("/a", "", CreateMode::Persistent).expect("usable");
    assert_eq!(old.client.session_id(), old.session.id());
    assert_eq!(old.client.watch_count(), 0);
}

#[test]
fn dropped_watches_cost_one_connection_in_all() {
    let old = Old::older();
    old.client.create("/a", "", CreateMode::Persistent).expect("new");
    let (_, _, kept) = old.client.watch_data("/a").expect("there");
    drop(old.client.watch_children("/a").expect("there"));
    eventually("the next connection", patience(), || old.proxy.counts().connections == 3);
    eventually("serves again", patience(), || old.client.exists("/a").is_ok());
    for _ in 0..5 {
        drop(old.client.watch_children("/a").expect("connected"));
    }
    old.client.set_data("/a", "x", Version::Any).expect("connected");
    let event = kept.recv_timeout(patience()).expect("it was kept over the cut");
    assert_eq!(event.kind, EventKind::DataChanged);
    // What is left of the dropped ones there is nobody's.
    old.client.create("/a/b", "", CreateMode::Persistent).expect("connected");
    assert_eq!((old.proxy.counts().connections, old.asked()[&ops::REMOVE_WATCHES]), (3, 1));
    assert_eq!(old.client.watch_count(), 0);
}

#[test]
fn recipes_with_nodes_of_their_own_work_where_no_create_tells_a_stat() {
    let old = Old::older();
    let lock = Lock::new(&old.client, "/lock").expect("a path");
    let first = lock.acquire().expect("free");
    let next = thread::scope(|scope| {
        let next = scope.spawn(|| lock.acquire().expect("granted"));
        eventually("it waits", patience(), || lock.contenders().is_ok_and(|all| all.len() == 2));
        let (stat, fence) = (old.client.exists(first.node()), first.fence());
        assert_eq!(stat.expect("asked").map(|stat| stat.czxid), Some(fence));
        first.release().expect("held");
        next.join().expect("no panic")
    });
    next.release().expect("held");
    let party = Party::new(&old.client, "/party").expect("a path").identifier("me");
    let member = party.join().expect("joined");
    assert_eq!(party.members().expect("read").len(), 1);
    member.leave().expect("a member");
    // The first create is told that it is unknown, and none after it asks so.
    assert_eq!(old.asked()[&ops::CREATE2], 1, "{:?}", old.asked());
    // Those who hear it at the same time in the next session go on too.
    expire(&old.proxy, old.yard.chroot.server(), &old.session);
    eventually("a new session", patience(), || old.client.exists("/").is_ok());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| lock.acquire().expect("granted").release().expect("held"));
        }
    });
    let left = ["/lock", "/party"].map(|path| old.client.get_children(path).expect("there"));
    assert_eq!(left, [Vec::<String>::new(), Vec::new()]);
}

#[test]
fn cache_follows_by_one_shot_watches() {
    let old = Old::new();
    let writer = old.yard.client();
    writer.ensure_path("/tree/a/b").expect("made");
    writer.create("/tree/c", "sea", CreateMode::Persistent).expect("new");
    let cache = Cache::new(&old.client, "/tree").expect("read");
    let events = cache.subscribe();
    assert!(cache.is_fresh());
    assert_eq!(cache.len(), 4);
    assert_eq!(old.client.watch_count(), 8, "two a node");
    let asked = old.asked();
    figure("old server: requests to fill a cache of 4 nodes", &asked);
    // The first may meet the end of the connection that was refused.
    for op in [ops::GET_DATA, ops::GET_CHILDREN2] {
        assert!((4..=5).contains(&asked[&op]), "{asked:?}");
    }
    old.proxy.reset_counts();
    writer.set_data("/tree/c", "sky", Version::Any).expect("there");
    assert_eq!(next(&events), ('=', "/tree/c".into()));
    cache.wait_fresh(patience()).expect("read");
    assert_eq!(old.proxy.counts().to_server.requests(), 1, "the read");
    old.proxy.reset_counts();
    writer.create("/tree/a/b/d", "", CreateMode::Persistent).expect("new");
    assert_eq!(next(&events), ('+', "/tree/a/b/d".into()));
    cache.wait_fresh(patience()).expect("read");
    let asked = old.asked();
    assert_eq!((asked[&ops::GET_DATA], asked[&ops::GET_CHILDREN2]), (1, 2), "it and its parent");
    writer.delete_recursive("/tree/a").expect("there");
    let mut gone: Vec<_> = (0..3).map(|_| next(&events)).collect();
    gone.sort();
    assert_eq!(gone, ["/tree/a", "/tree/a/b", "/tree/a/b/d"].map(|path| ('-', path.into())));
    writer.delete_recursive("/tree").expect("there");
    assert_eq!([next(&events).0, next(&events).0], ['-', '-']);
    assert!(cache.is_empty());
    eventually("only the root is waited for", patience(), || old.client.watch_count() == 1);
    writer.create("/tree", "again", CreateMode::Persistent).expect("new");
    assert_eq!(next(&events), ('+', "/tree".into()));
    writer.create("/tree/x", "", CreateMode::Persistent).expect("new");
    assert_eq!(next(&events), ('+', "/tree/x".into()));
    await_same(&cache, &writer);
    drop(cache);
    eventually("no watch left", patience(), || old.client.watch_count() == 0);
}

#[test]
fn second_cache_of_a_session_does_not_ask_for_the_watch_again() {
    let old = Old::new();
    let first = Cache::new(&old.client, "/").expect("read");
    let connections = old.proxy.counts().connections;
    let second = Cache::new(&old.client, "/").expect("read");
    old.client.create("/a", "", CreateMode::Persistent).expect("new");
    await_same(&first, &old.client);
    await_same(&second, &old.client);
    assert_eq!(old.asked()[&ops::ADD_WATCH], 1);
    assert_eq!(old.proxy.counts().connections, connections);
    // What one of them holds is not taken from the other.
    drop(first);
    old.client.set_data("/a", "x", Version::Any).expect("there");
    old.client.create("/b", "", CreateMode::Persistent).expect("new");
    await_same(&second, &old.client);
}

#[test]
fn what_was_missed_is_told_after_a_reconnect_and_nothing_else_is_read() {
    let old = Old::new();
    let writer = old.yard.client();
    for n in 0..300 {
        writer.create_with_parents(op::Create::new(format!("/t/n{n}"))).expect("new");
    }
    let cache = Cache::new(&old.client, "/t").expect("read");
    let events = cache.subscribe();
    old.proxy.refuse();
    old.proxy.cut();
    writer.set_data("/t/n7", "new", Version::Any).expect("there");
    writer.delete("/t/n8", Version::Any).expect("there");
    writer.create("/t/n9/child", "", CreateMode::Persistent).expect("new");
    let again = writer.transaction().delete("/t/n10", Version::Any).create("/t/n10", "other");
    again.commit().expect("committed");
    old.proxy.reset_counts();
    old.proxy.accept();
    let mut heard: Vec<_> = (0..4).map(|_| next(&events)).collect();
    heard.sort();
    let expected = [('+', "/t/n10"), ('+', "/t/n9/child"), ('-', "/t/n8"), ('=', "/t/n7")];
    assert_eq!(heard, expected.map(|(what, path)| (what, path.to_owned())));
    cache.wait_fresh(patience()).expect("read");
    let asked = old.asked();
    figure("old server: requests of 301 nodes after a reconnect", &asked);
    assert!(asked[&ops::GET_DATA] < 10, "{asked:?}");
    await_same(&cache, &writer);
}

/// As that of newer servers: churn and cuts, then quiet: the same, byte for byte.
#[test]
fn cache_is_the_tree_after_churn_cuts_and_expiries() {
    let old = Old::new();
    let writer = old.yard.client();
    writer.create("/t", "", CreateMode::Persistent).expect("new");
    let cache = Cache::new(&old.client, "/t").expect("read");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0.. {
                thread::sleep(ms(97 + number % 100));
                if over.load(Ordering::Relaxed) {
                    return;
                }
                match number {
                    5 => expire(&old.proxy, old.yard.chroot.server(), &old.session),
                    _ => old.proxy.cut(),
                }
            }
        });
        let mut seed = 54_321_u64;
        let mut random = |limit: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % limit
        };
        for step in 0..3_000 {
            let mut path = format!("/t/{}", random(8));
            if random(2) == 0 {
                path += &format!("/{}", random(8));
            }
            let _ = match random(40) {
                0 => writer.delete_recursive("/t").map(drop),
                1..8 => writer.delete_recursive(&path).map(drop),
                8..24 => writer
                    .create_with_parents(op::Create::new(path.as_str()).data(step.to_string()))
                    .map(drop),
                _ => writer.set_data(&path, step.to_string(), Version::Any).map(drop),
            };
        }
        over.store(true, Ordering::Relaxed);
    });
    let start = Instant::now();
    await_same(&cache, &writer);
    cache.wait_fresh(patience()).expect("quiet");
    let (nodes, lag) = (cache.len(), start.elapsed());
    figure("old server: time to the same tree", lag);
    assert!(lag < soon(), "{lag:?}");
    let watches = if nodes == 0 { 1 } else { 2 * nodes };
    eventually("two watches a node", patience(), || old.client.watch_count() == watches);
    // It lives: the next change is heard.
    let _ = writer.ensure_path("/t/last/of/all");
    await_same(&cache, &writer);
}

#[test]
fn server_that_turns_old_under_a_cache_is_followed_too() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).connect().expect("serves");
    let cache = Cache::new(&client, "/").expect("read");
    assert_eq!(client.watch_count(), 1);
    proxy.forget_ops(&[ops::ADD_WATCH, ops::SET_WATCHES2]);
    proxy.cut();
    let writer = yard.client();
    writer.create("/a", "", CreateMode::Persistent).expect("new");
    await_same(&cache, &writer);
    cache.wait_fresh(patience()).expect("read");
    assert_eq!(client.watch_count(), 4);
    writer.set_data("/a", "x", Version::Any).expect("there");
    await_same(&cache, &writer);
}

#[test]
fn service_cache_and_callbacks_work_with_old_servers() {
    let old = Old::new();
    let services = Discovery::new(&old.client, "/services").expect("a legal path");
    let own = old.client.clone();
    let instances = in_callback(&old.client, move || {
        let services = Discovery::new(&own, "/services").expect("a legal path");
        services.cache("web").expect("read")
    });
    let me = ServiceInstance::new("web");
    let registration = services.register(&me).expect("made");
    eventually("found", patience(), || instances.instances().len() == 1);
    drop(registration);
    eventually("gone", patience(), || instances.instances().is_empty());
}
