//! Whole paths, whole subtrees, and changes that read before they write.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use zookeeper_blocking::{Acl, Code, CreateMode, Permissions, Version, op, path};

use crate::clients::{client, patience, through};
use crate::support::proxy::Proxy;
use crate::support::server::fresh_chroot;
use crate::support::wait::{eventually, scaled};
use crate::support::wire;

#[test]
fn ensure_path_makes_what_is_missing_and_no_more() {
    let chroot = fresh_chroot();
    let proxy = Proxy::start(chroot.server().address());
    let zk = through(&proxy, &chroot).connect().expect("serves");
    zk.ensure_path("/a/b/c").expect("missing");
    zk.set_data("/a/b", "kept", Version::Any).expect("made");
    let before = proxy.counts().round_trips;
    zk.ensure_path("/a/b/d").expect("its parent is there");
    assert_eq!(proxy.counts().round_trips, before + 1);
    zk.ensure_path("/a/b").expect("there");
    zk.ensure_path("/").expect("there");
    assert_eq!(zk.get_data("/a/b").expect("there").0, b"kept");
    let error = zk.ensure_path("/a//b").expect_err("no path");
    assert!(error.to_string().contains("/a//b"), "{error}");
}

#[test]
fn ensure_path_keeps_mode_and_acl_and_tells_what_stands_in_the_way() {
    let zk = client(&fresh_chroot());
    let acl = [Acl::world(Permissions::READ | Permissions::CREATE)];
    zk.ensure_path_with("/c/d", CreateMode::Persistent, &acl).expect("missing");
    for path in ["/c", "/c/d"] {
        assert_eq!(zk.get_acl(path).expect("there").0, acl);
    }
    zk.ensure_path_with("/e/f", CreateMode::Container, &[Acl::open()]).expect("missing");
    zk.delete("/e/f", Version::Any).expect("there");
    eventually("the container goes", patience(), || zk.exists("/e").expect("asked").is_none());
    zk.create("/own", "", CreateMode::Ephemeral).expect("new");
    let error = zk.ensure_path("/own/x/y").expect_err("no children");
    assert_eq!(error.code(), Some(Code::NoChildrenForEphemerals), "{error}");
}

#[test]
fn ensure_path_by_many_at_once_is_no_conflict() {
    let chroot = fresh_chroot();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let zk = client(&chroot);
                for n in 0..20 {
                    zk.ensure_path(&format!("/{n}/a/b/c")).expect("serves");
                }
            });
        }
    });
    assert_eq!(client(&chroot).get_all_children_number("/").expect("there"), 80);
}

#[test]
fn create_with_parents_makes_them_for_all_modes() {
    let zk = client(&fresh_chroot());
    let created = zk.create_with_parents(op::Create::new("/a/b/c").data("x")).expect("missing");
    assert_eq!(created.path, "/a/b/c");
    let sequential = |path| op::Create::new(path).mode(CreateMode::EphemeralSequential);
    let created = zk.create_with_parents(sequential("/q/n-")).expect("missing");
    assert_eq!(created.path, "/q/n-0000000000");
    let created = zk.create_with_parents(sequential("/r/s/")).expect("missing");
    assert_eq!(created.path, "/r/s/0000000000");
    let error = zk.create_with_parents(op::Create::new("/a/b/c")).expect_err("there");
    assert_eq!(error.code(), Some(Code::NodeExists));
}

#[test]
fn delete_recursive_takes_ten_thousand_nodes_in_a_few_round_trips() {
    let chroot = fresh_chroot();
    let proxy = Proxy::start(chroot.server().address());
    let zk = through(&proxy, &chroot).connect().expect("serves");
    zk.create("/beside", "", CreateMode::Persistent).expect("new");
    zk.create("/t", "", CreateMode::Persistent).expect("new");
    let mut all = Vec::new();
    for n in 0..99 {
        all.push(zk.submit(op::Create::new(format!("/t/{n}"))).expect("room"));
        for m in 0..100 {
            all.push(zk.submit(op::Create::new(format!("/t/{n}/{m}"))).expect("room"));
        }
    }
    for pending in all {
        pending.wait().expect("new");
    }
    let found = zk.subtree("/t").expect("there");
    assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 10_000);
    for (n, node) in found.iter().enumerate().skip(1) {
        let parent = path::parent(node).expect("not the root");
        assert!(found[..n].iter().any(|before| before == parent), "{node}");
    }
    proxy.reset_counts();
    assert_eq!(zk.delete_recursive("/t").expect("nobody is in the way"), 10_000);
    let counts = proxy.counts();
    let ops = &counts.to_server.ops;
    assert_eq!(ops.get(&wire::op::DELETE), None, "all in transactions");
    assert!(ops[&wire::op::MULTI] <= 30, "{ops:?}");
    assert_eq!(zk.get_children("/").expect("there"), ["beside"]);
    assert_eq!(zk.delete_recursive("/t").expect("nothing there"), 0);
}

#[test]
fn delete_recursive_comes_to_an_end_while_others_add() {
    let chroot = fresh_chroot();
    let (zk, other) = (client(&chroot), client(&chroot));
    for n in 0..300 {
        zk.ensure_path(&format!("/t/{n}")).expect("new");
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..100 {
                // Under nodes that are being deleted: some will be too late.
                let _ = other.create(&format!("/t/{n}/late"), "", CreateMode::Persistent);
            }
        });
        let deleted = zk.delete_recursive("/t").expect("others stop some time");
        assert!(deleted > 300, "{deleted}");
    });
    zk.delete_recursive("/t").expect("nobody is in the way");
    assert_eq!(zk.exists("/t").expect("asked"), None);
}

#[test]
fn delete_recursive_tells_what_it_may_not_delete() {
    let zk = client(&fresh_chroot());
    zk.ensure_path("/t/a").expect("new");
    // Nobody may delete the children of this one.
    let acl = [Acl::world(Permissions::READ | Permissions::CREATE)];
    zk.call(op::Create::new("/t/b").acl(acl)).expect("new");
    zk.create("/t/b/c", "", CreateMode::Persistent).expect("new");
    let error = zk.delete_recursive("/t").expect_err("not allowed");
    assert_eq!(error.code(), Some(Code::NoAuth), "{error}");
    assert!(error.to_string().contains("/t/b/c"), "{error}");
    assert_eq!(zk.exists("/t/a").expect("asked"), None);
}

#[test]
fn update_loses_nobodys_change() {
    let chroot = fresh_chroot();
    let zk = client(&chroot);
    zk.create("/n", "0", CreateMode::Persistent).expect("new");
    let read = |data: &[u8]| String::from_utf8_lossy(data).parse::<u32>().expect("a number");
    let (threads, each) = (6, 40);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let zk = client(&chroot);
                for _ in 0..each {
                    zk.update("/n", |data| Some((read(data) + 1).to_string().into_bytes()))
                        .expect("some time it goes through");
                }
            });
        }
    });
    let (data, stat) = zk.get_data("/n").expect("there");
    assert_eq!(read(&data), threads * each);
    assert_eq!(stat.version as u32, threads * each, "each written once");
    assert_eq!(zk.update("/n", |_| None).expect("there"), stat);
    let error = zk.update("/none", |_| None).expect_err("nothing there");
    assert_eq!(error.code(), Some(Code::NoNode));
}

#[test]
fn update_gives_up_at_its_deadline() {
    let chroot = fresh_chroot();
    let (zk, other) = (client(&chroot), client(&chroot));
    zk.create("/n", "", CreateMode::Persistent).expect("new");
    // Each of its calls has as much: time enough for one to be answered.
    let short = zk.with_timeout(scaled(Duration::from_secs(1)));
    // Somebody always comes in between.
    let error = short.update("/n", |_| {
        other.set_data("/n", "", Version::Any).expect("there");
        Some(Vec::new())
    });
    assert_eq!(error.expect_err("never").code(), Some(Code::BadVersion));
}
