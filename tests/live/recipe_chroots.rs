//! Every recipe on nodes and watches, in a chroot whose nodes are not there yet.

use std::time::Duration;

use zookeeper_blocking::recipes::{
    Barrier, Cache, ChildrenWatch, Counter, DataWatch, DelayQueue, DoubleBarrier, GroupMember,
    IdQueue, LockingQueue, Party, PersistentNode, Queue, ShallowParty, SharedCount,
};
use zookeeper_blocking::{Client, Version};

use crate::clients::patience;
use crate::locks::Yard;
use crate::nodes::children;

/// A client with a chroot of its own that nobody made.
fn astray(yard: &Yard, name: &str) -> Client {
    yard.client().with_chroot(&format!("/not/there/{name}")).expect("legal")
}

#[test]
fn values_and_nodes_are_made_with_the_chroot() {
    let yard = Yard::new();
    let counter: Counter = Counter::new(&astray(&yard, "counter"), "/n").expect("legal");
    assert_eq!(counter.add(1).expect("counted").after, 1);
    let count = SharedCount::new(&astray(&yard, "count"), "/n", 5).expect("legal");
    assert_eq!(count.get().expect("made").value, 5);
    let client = astray(&yard, "kept");
    let kept = PersistentNode::new(&client, "/n").expect("legal").keep().expect("made");
    assert_eq!(kept.path(), "/n");
    let client = astray(&yard, "party");
    let member = Party::new(&client, "/p").expect("legal").join().expect("joined");
    assert!(member.node().starts_with("/p/"));
    assert_eq!(Party::new(&client, "/p").expect("legal").count().expect("answered"), 1);
    let shallow = ShallowParty::new(&astray(&yard, "shallow"), "/p", "me").expect("legal");
    let shallow_member = shallow.join().expect("joined");
    assert_eq!(shallow.members().expect("answered"), ["me"]);
    let group = GroupMember::new(&astray(&yard, "group"), "/g", "me").expect("legal");
    let group_member = group.join().expect("joined");
    assert_eq!(group.members().expect("answered").len(), 1);
    for member in [member, shallow_member, group_member] {
        member.leave().expect("was there");
    }
    kept.close().expect("deleted");
    let made = ["count", "counter", "group", "kept", "party", "shallow"];
    assert_eq!(children(&yard, "/not/there"), made);
}

#[test]
fn barriers_and_queues_are_made_with_the_chroot() {
    let yard = Yard::new();
    let barrier = Barrier::new(&astray(&yard, "barrier"), "/b").expect("legal");
    barrier.wait().expect("there is none");
    barrier.create().expect("made");
    assert!(barrier.remove().expect("answered"));
    let double = DoubleBarrier::new(&astray(&yard, "double"), "/b", 1).expect("legal");
    let inside = double.enter().expect("enough");
    assert!(inside.node().starts_with("/b/"));
    inside.leave().expect("alone");
    let queue = Queue::new(&astray(&yard, "queue"), "/q").expect("legal");
    assert!(queue.try_take().expect("answered").is_none());
    queue.put("x").expect("put");
    assert_eq!(queue.take().expect("there").data, b"x");
    let locking = LockingQueue::new(&astray(&yard, "locking"), "/q").expect("legal");
    assert!(locking.try_get().expect("answered").is_none());
    locking.put("x").expect("put");
    let held = locking.get().expect("there");
    assert!(held.path().starts_with("/q/entries/"));
    held.consume().expect("held");
    let client = astray(&yard, "curator");
    let locking = LockingQueue::curator(&client, "/q", "/holds/of/q").expect("legal");
    assert!(locking.try_get().expect("answered").is_none());
    locking.put("x").expect("put");
    let held = locking.get().expect("there");
    assert!(held.path().starts_with("/q/queue-"));
    held.consume().expect("held");
    let delay = DelayQueue::new(&astray(&yard, "delay"), "/q").expect("legal");
    assert!(delay.try_take().expect("answered").is_none());
    assert!(delay.first_due().expect("answered").is_none());
    delay.put("x", Duration::ZERO).expect("put");
    assert_eq!(delay.take().expect("there").data, b"x");
    let ids = IdQueue::new(&astray(&yard, "ids"), "/q").expect("legal");
    assert_eq!(ids.remove("x").expect("answered"), 0);
    ids.put("x", "id").expect("put");
    assert_eq!(ids.take().expect("there").data, b"x");
}

#[test]
fn watches_and_caches_see_paths_as_their_client_does() {
    let yard = Yard::new();
    let client = astray(&yard, "watched");
    let data = DataWatch::new(&client, "/n").expect("legal");
    let names = ChildrenWatch::new(&client, "/n").expect("legal");
    assert!(data.recv().expect("answered").is_none());
    assert!(names.recv().expect("answered").is_none());
    let cache = Cache::new(&client, "/n").expect("there is none");
    assert!(cache.is_empty());
    client.ensure_path("/n/child").expect("made");
    assert!(data.recv_timeout(patience()).expect("news").is_some());
    let mut seen = names.recv_timeout(patience()).expect("news").expect("there").names;
    if seen.is_empty() {
        seen = names.recv_timeout(patience()).expect("news").expect("there").names;
    }
    assert_eq!(seen, ["child"]);
    let events = cache.subscribe();
    client.set_data("/n/child", "x", Version::Any).expect("there");
    while cache.get("/n/child").is_none_or(|node| node.data != b"x") {
        events.recv_timeout(patience()).expect("an event");
    }
    assert_eq!(cache.children("/n").expect("there"), ["child"]);
}
