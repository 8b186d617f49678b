//! Caches: after whatever happened they are as the server is.
//!
//! Retold by behaviour: Kazoo `test_cache.py` (`test_start`, `test_start_closed`, `test_close`,
//! `test_delete_operation`, `test_children_operation`, `test_subtree_operation`, `test_get_data*`,
//! `test_get_children*`, `test_session_reconnected`, `test_root_recreated`); Curator
//! `TestCuratorCache`, `TestCuratorCacheConsistency`, `TestPathChildrenCacheInCluster`
//! (`testMissedDelete`) in small.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use zookeeper_blocking::recipes::{Cache, CacheEvent, CacheEvents, DataWatch};
use zookeeper_blocking::{Client, CreateMode, Error, Version, WatchWait};

use crate::clients::{doomed, expire, patience, soon};
use crate::faults::figure;
use crate::locks::{Yard, ms};
use crate::nodes::in_callback;
use crate::support::forge::{AUTO, Forge};
use crate::support::process;
use crate::support::server::Place;
use crate::support::wait::{eventually, scaled};
use crate::support::wire::op;

/// What the server has below a path: data by path.
fn on_server(client: &Client, root: &str) -> BTreeMap<String, Vec<u8>> {
    let paths = client.subtree(root).expect("answered");
    let reads = client.get_many(&paths).expect("answered");
    paths.into_iter().zip(reads).filter_map(|(p, r)| r.ok().map(|(data, _)| (p, data))).collect()
}

fn in_cache(cache: &Cache) -> BTreeMap<String, Vec<u8>> {
    let nodes = cache.snapshot();
    nodes.into_iter().map(|(path, node)| (path.to_string(), node.data.clone())).collect()
}

#[track_caller]
pub(crate) fn await_same(cache: &Cache, client: &Client) {
    client.sync("/").expect("answered");
    let start = Instant::now();
    while in_cache(cache) != on_server(client, cache.path()) {
        let (ours, theirs) = (in_cache(cache), on_server(client, cache.path()));
        assert!(start.elapsed() < patience(), "{ours:?}\nis not\n{theirs:?}");
        thread::sleep(ms(2));
    }
}

#[track_caller]
pub(crate) fn next(events: &CacheEvents) -> (char, String) {
    match events.recv_timeout(patience()).expect("an event") {
        CacheEvent::Created { path, .. } => ('+', path.to_string()),
        CacheEvent::Changed { path, before, node } => {
            assert!(before.stat.mzxid < node.stat.mzxid);
            ('=', path.to_string())
        }
        CacheEvent::Deleted { path, .. } => ('-', path.to_string()),
        other => panic!("{other:?}"),
    }
}

/// What was heard of each node is in the order of its transactions, and makes sense: gives how much.
#[track_caller]
pub(crate) fn assert_in_order(events: &CacheEvents) -> usize {
    let (mut last, mut count) = (HashMap::new(), 0);
    for event in events.try_iter() {
        count += 1;
        let (path, is_there, zxid) = match event {
            CacheEvent::Created { path, node } | CacheEvent::Changed { path, node, .. } => {
                (path, true, node.stat.mzxid)
            }
            CacheEvent::Deleted { path, before } => (path, false, before.stat.mzxid),
            other => panic!("{other:?}"),
        };
        let (was_there, before) = last.insert(path, (is_there, zxid)).unwrap_or_default();
        assert!(if is_there { zxid > before } else { was_there && zxid == before });
    }
    count
}

#[test]
fn tree_is_read_and_followed_without_asking_for_what_is_known() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).connect().expect("serves");
    let writer = yard.client();
    writer.ensure_path("/tree/a/b").expect("made");
    writer.create("/tree/c", "sea", CreateMode::Persistent).expect("new");
    writer.create("/treeless", "", CreateMode::Persistent).expect("new");
    let cache = Cache::new(&client, "/tree").expect("read");
    let events = cache.subscribe();
    assert!(cache.is_fresh());
    proxy.reset_counts();
    assert_eq!(cache.len(), 4);
    assert_eq!(cache.get("/tree/c").expect("there").data, b"sea");
    assert_eq!(cache.children("/tree").expect("there"), ["a", "c"]);
    assert_eq!((cache.get("/treeless"), cache.children("/tree/x")), (None, None));
    assert_eq!(proxy.counts().to_server.requests(), 0);
    writer.set_data("/tree/c", "sky", Version::Any).expect("there");
    assert_eq!(next(&events), ('=', "/tree/c".into()));
    assert_eq!(cache.get("/tree/c").expect("there").data, b"sky");
    writer.create("/tree/a/b/d", "", CreateMode::Persistent).expect("new");
    assert_eq!(next(&events), ('+', "/tree/a/b/d".into()));
    assert_eq!(proxy.counts().to_server.requests(), 2, "one a change");
    writer.delete_recursive("/tree/a").expect("there");
    for path in ["/tree/a/b/d", "/tree/a/b", "/tree/a"] {
        assert_eq!(next(&events), ('-', path.into()), "deepest first");
    }
    writer.delete_recursive("/tree").expect("there");
    assert_eq!([next(&events).0, next(&events).0], ['-', '-']);
    assert!(cache.is_empty());
    writer.create("/tree", "again", CreateMode::Persistent).expect("new");
    assert_eq!(next(&events), ('+', "/tree".into()));
    await_same(&cache, &writer);
    drop(cache);
    assert_eq!(events.recv_timeout(patience()), Err(WatchWait::Over));
    eventually("no watch left", patience(), || client.watch_count() == 0);
}

/// E19: what was missed is found, and only that is read.
#[test]
fn e19_reconnect_reads_only_what_changed_meanwhile() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).connect().expect("serves");
    let writer = yard.client();
    for n in 0..300 {
        writer
            .create_with_parents(zookeeper_blocking::op::Create::new(format!("/t/n{n}")))
            .expect("new");
    }
    let cache = Cache::new(&client, "/t").expect("read");
    let events = cache.subscribe();
    proxy.refuse();
    proxy.cut();
    writer.set_data("/t/n7", "new", Version::Any).expect("there");
    writer.delete("/t/n8", Version::Any).expect("there");
    writer.create("/t/n9/child", "", CreateMode::Persistent).expect("new");
    let again = writer.transaction().delete("/t/n10", Version::Any).create("/t/n10", "other");
    again.commit().expect("committed");
    proxy.reset_counts();
    proxy.accept();
    let mut heard: Vec<_> = (0..4).map(|_| next(&events)).collect();
    heard.sort();
    let expected = [('+', "/t/n10"), ('+', "/t/n9/child"), ('-', "/t/n8"), ('=', "/t/n7")];
    assert_eq!(heard, expected.map(|(what, path)| (what, path.to_owned())));
    cache.wait_fresh(patience()).expect("read");
    let ops = proxy.counts().to_server.ops;
    let of = |op: i32| ops.get(&op).copied().unwrap_or_default();
    figure(
        "e19: nodes, looks, data reads after a reconnect",
        (301, of(op::GET_CHILDREN2), of(op::GET_DATA)),
    );
    assert_eq!((of(op::GET_DATA), of(op::GET_CHILDREN2)), (3, 301));
    await_same(&cache, &writer);
}

/// E19: churn and cuts, then quiet: the same, byte for byte, and no event out of order.
#[test]
fn e19_cache_is_the_tree_after_churn_and_cuts() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).connect().expect("serves");
    let writer = yard.client();
    writer.create("/t", "", CreateMode::Persistent).expect("new");
    let cache = Cache::new(&client, "/t").expect("read");
    let events = cache.subscribe();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0.. {
                thread::sleep(ms(97 + number % 100));
                // One that is never connected for long sees nothing.
                while !client.state().is_connected() && !over.load(Ordering::Relaxed) {
                    thread::sleep(ms(1));
                }
                if over.load(Ordering::Relaxed) {
                    return;
                }
                proxy.cut();
            }
        });
        let mut seed = 12_345_u64;
        let mut random = |limit: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % limit
        };
        for step in 0..3_000 {
            let mut path = format!("/t/{}", random(8));
            if random(2) == 0 {
                path += &format!("/{}", random(8));
            }
            let _ = match random(5) {
                0 | 1 => writer.create(&path, step.to_string(), CreateMode::Persistent).map(drop),
                2 => writer.delete_recursive(&path).map(drop),
                _ => writer.set_data(&path, step.to_string(), Version::Any).map(drop),
            };
        }
        over.store(true, Ordering::Relaxed);
    });
    let start = Instant::now();
    await_same(&cache, &writer);
    cache.wait_fresh(patience()).expect("quiet");
    let lag = start.elapsed();
    let count = assert_in_order(&events);
    figure("e19: events heard of 3,000 steps, time to the same tree", (count, lag));
    assert!(lag < soon(), "{lag:?}");
}

/// E19: what changes while the tree is read for the first time is in it, too.
#[test]
fn e19_tree_that_changes_while_it_is_read_is_read_as_it_is() {
    let yard = Yard::new();
    let writer = yard.client();
    writer.create("/t", "", CreateMode::Persistent).expect("new");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let busy = scope.spawn(|| {
            for step in 0.. {
                let path = format!("/t/{}", fastrand::u8(..6));
                let _ = match fastrand::u8(..4) {
                    0 => writer.create(&path, step.to_string(), CreateMode::Persistent).map(drop),
                    1 => writer.delete_recursive(&path).map(drop),
                    2 => writer.create(&format!("{path}/x"), "", CreateMode::Persistent).map(drop),
                    _ => writer.set_data(&path, step.to_string(), Version::Any).map(drop),
                };
                if over.load(Ordering::Relaxed) {
                    return step;
                }
            }
            0
        });
        let client = yard.client();
        let caches: Vec<_> = (0..30).map(|_| Cache::new(&client, "/t").expect("read")).collect();
        over.store(true, Ordering::Relaxed);
        figure("e19: changes while 30 caches were read", busy.join().expect("no panic"));
        for cache in &caches {
            await_same(cache, &writer);
        }
    });
}

/// E8: versions wrap, and so does nothing that goes by them.
#[test]
fn e8_node_whose_version_wraps_is_followed() {
    let log = Forge::new().create("/t", b"", AUTO).create("/t/n", b"", AUTO);
    let server = Place::start_with_log(log.set_data("/t/n", b"0", i32::MAX - 2).finish());
    let client = Client::connect(&server.connect_string()).expect("serves");
    let cache = Cache::new(&client, "/t").expect("read");
    let watch = DataWatch::new(&client, "/t/n").expect("legal");
    let events = cache.subscribe();
    let mut versions = Vec::new();
    for step in 0..6 {
        let wanted = i32::to_string(&step).into_bytes();
        if step > 0 {
            let stat = client.set_data("/t/n", &wanted, Version::Any).expect("there");
            versions.push(stat.version);
            assert_eq!(next(&events), ('=', "/t/n".to_owned()), "version {}", stat.version);
        }
        let seen = watch.recv_timeout(patience()).expect("something new").expect("there");
        assert_eq!(seen.data, wanted);
        eventually("cached", patience(), || {
            cache.get("/t/n").is_some_and(|node| node.data == wanted)
        });
    }
    let wrapped = [i32::MAX - 1, i32::MAX, i32::MIN, i32::MIN + 1, i32::MIN + 2];
    assert_eq!(versions, wrapped, "it did wrap");
}

#[test]
fn cache_goes_on_in_the_next_session_and_ends_with_the_client() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    let writer = yard.client();
    let cache = Cache::new(&client, "/t").expect("there is none");
    let events = cache.subscribe();
    assert!(cache.is_empty());
    writer.create("/t", "1", CreateMode::Persistent).expect("new");
    assert_eq!(next(&events), ('+', "/t".into()));
    expire(&proxy, yard.chroot.server(), &session);
    writer.set_data("/t", "2", Version::Any).expect("there");
    assert_eq!(next(&events), ('=', "/t".into()));
    cache.wait_fresh(patience()).expect("read");
    assert_ne!(client.session_id(), session.id());
    client.close().expect("acknowledged");
    assert_eq!(events.recv_timeout(patience()), Err(WatchWait::Over));
    assert_eq!(cache.get("/t").expect("remembered").data, b"2");
    assert!(!cache.is_fresh());
    let ended = cache.wait_fresh(patience());
    assert!(matches!(ended, Err(Error::Closed { .. })), "{ended:?}");
}

#[test]
fn caches_work_in_callbacks_and_their_threads_end() {
    process::alone("caches::caches_work_in_callbacks_and_their_threads_end", || {
        let yard = Yard::new();
        let client = yard.client();
        client.ensure_path("/t/a").expect("made");
        let own = client.clone();
        in_callback(&client, move || {
            let cache = Cache::new(&own, "/t").expect("read");
            assert_eq!(cache.len(), 2);
            own.set_data("/t/a", "x", Version::Any).expect("there");
            let start = Instant::now();
            while cache.get("/t/a").expect("there").data != b"x" {
                assert!(start.elapsed() < patience());
            }
        });
        let caches = || process::thread_names().iter().filter(|name| *name == "zk-cache").count();
        eventually("no thread left", patience(), || caches() == 0);
        let proxy = yard.proxy();
        let through = yard.through(&proxy).connect().expect("serves");
        proxy.hold_both();
        let late = Cache::new_timeout(&through, "/t", scaled(ms(100)));
        assert!(matches!(late, Err(Error::Timeout { .. })), "{late:?}");
        eventually("no thread left", patience(), || caches() == 0);
        proxy.heal();
    });
}
