//! Parents as containers, by choice: they go when nobody needs them, and come again (E9). What
//! Curator's recipes always do.

use zookeeper_blocking::recipes::{
    Barrier, Counter, Election, Lock, LockingQueue, Party, Queue, Semaphore,
};
use zookeeper_blocking::{Client, Code, CreateMode, Version, op};

use crate::clients::patience;
use crate::locks::{Yard, assert_code};
use crate::nodes::children;
use crate::support::wait::eventually;
use crate::support::wire::op as ops;

#[test]
fn parents_go_after_use_and_come_again() {
    type Use = fn(&Client);
    let yard = Yard::new();
    let plain = yard.client();
    let client = plain.with_container_parents();
    let uses: [Use; 7] = [
        |zk| {
            let guard = Lock::new(zk, "/app/lock").expect("legal").acquire().expect("free");
            guard.release().expect("held");
        },
        |zk| {
            let semaphore = Semaphore::new(zk, "/app/semaphore", 2).expect("legal");
            let guard = semaphore.acquire().expect("free");
            guard.release().expect("held");
        },
        |zk| {
            let election = Election::new(zk, "/app/election").expect("legal");
            let leader = election.campaign().expect("alone");
            drop(leader);
        },
        |zk| {
            let party = Party::new(zk, "/app/party").expect("legal");
            let member = party.join().expect("joined");
            member.leave().expect("there");
        },
        |zk| {
            let queue = Queue::new(zk, "/app/queue").expect("legal");
            queue.put("x").expect("put");
            assert!(queue.take().is_ok());
        },
        |zk| {
            let queue = LockingQueue::new(zk, "/app/held").expect("legal");
            queue.put("x").expect("put");
            queue.get().expect("there").consume().expect("held");
        },
        |zk| {
            let counter: Counter = Counter::new(zk, "/app/below/counter").expect("legal");
            counter.add(1).expect("added");
            zk.delete("/app/below/counter", Version::Any).expect("there");
        },
    ];
    for _ in 0..2 {
        uses.iter().for_each(|once| once(&client));
        eventually("nothing is left", patience(), || {
            plain.exists("/app").expect("answered").is_none()
        });
    }
    assert!(children(&yard, "/").is_empty());
}

#[test]
fn nodes_that_hold_something_stay_and_other_handles_make_what_they_made() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let plain = yard.through(&proxy).connect().expect("serves");
    let client = plain.with_container_parents();
    // The tries for what is missing above count too: from the last name up, then down again.
    let made = |what: &str, containers: &[usize]| {
        let made = proxy.counts().to_server.ops.get(&ops::CREATE_CONTAINER).copied();
        assert!(containers.contains(&made.unwrap_or_default()), "{what}: {made:?}");
        proxy.reset_counts();
    };
    Barrier::new(&client, "/app/barrier").expect("legal").create().expect("made");
    made("barrier: its parent", &[1]);
    client.create_with_parents(op::Create::new("/made/by/hand")).expect("new");
    made("by hand: two parents", &[3]);
    client.ensure_path("/ensured").expect("made");
    made("a path", &[1]);
    plain.ensure_path("/plain/path").expect("made");
    let guard = Lock::new(&plain, "/plain/lock").expect("legal").acquire().expect("free");
    guard.release().expect("held");
    made("without the option", &[0]);
    // A namespace that is not there is made as it is needed, in the same way.
    let inside = client.with_chroot("/space/inner").expect("legal");
    assert_code(inside.create("/x", "", CreateMode::Persistent), Code::NoNode);
    let guard = Lock::new(&inside, "/lock").expect("legal").acquire().expect("free");
    guard.release().expect("held");
    made("a namespace of two, and the lock", &[3, 4, 5, 6]);
    eventually("nothing is left of the namespace", patience(), || {
        plain.exists("/space").expect("answered").is_none()
    });
    for path in ["/app/barrier", "/made/by/hand", "/plain/path", "/plain/lock"] {
        assert!(plain.exists(path).expect("answered").is_some(), "{path}");
    }
}

#[test]
fn parents_are_persistent_where_containers_are_unknown() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    proxy.forget_ops(&[ops::CREATE_CONTAINER]);
    let client = yard.through(&proxy).connect().expect("serves").with_container_parents();
    let guard = Lock::new(&client, "/app/lock").expect("legal").acquire().expect("free");
    assert!(guard.is_held());
    guard.release().expect("held");
    let asked = proxy.counts().to_server.ops;
    // Some more than the nodes: what met the end of a connection is asked again.
    assert!(asked[&ops::CREATE_CONTAINER] >= 2 && asked[&ops::CREATE] >= 2, "{asked:?}");
    assert_eq!(children(&yard, "/app"), ["lock"]);
}
