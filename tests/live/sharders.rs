//! Queues that are several: shards, and who adds them.
//!
//! Retold by behaviour: Curator `TestQueueSharder`: `testDistribution`, `testSharderWatchSync`,
//! `testSimpleDistributedQueue`.

use std::collections::HashSet;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use zookeeper_blocking::recipes::{Election, NameStyle, Queue, QueueSharder, QueueShards};
use zookeeper_blocking::{Acl, Client, Code, CreateMode, Error, Version};

use crate::clients::{doomed, expire, patience};
use crate::locks::{Yard, assert_code, ms};
use crate::nodes::{assert_ours, await_children, children, in_callback, we};
use crate::support::wait::eventually;

const SOON: Duration = Duration::from_millis(20);

fn sharder(client: &Client) -> QueueSharder {
    let sharder = QueueSharder::new(client, "/a/queue", "/a/leader").expect("legal");
    sharder.threshold(10).look_every(SOON)
}

fn start(client: &Client, sharder: QueueSharder) -> QueueShards<Queue> {
    let own = client.clone();
    sharder.start(move |path| Queue::new(&own, path)).expect("answered")
}

fn shards(client: &Client) -> QueueShards<Queue> {
    start(client, sharder(client))
}

fn await_count<Q>(shards: &QueueShards<Q>, count: usize) {
    eventually(&format!("{count} shards"), patience(), || shards.count() == count);
}

#[test]
fn first_sharder_makes_a_shard_and_the_leader_adds_one_when_it_is_long() {
    let yard = Yard::new();
    let client = yard.client();
    let ours = shards(&client);
    assert_eq!(ours.count(), 1);
    let names = children(&yard, "/a/queue");
    let lengths: Vec<_> = names[0].split('-').map(str::len).collect();
    assert_eq!(lengths, [5, 8, 4, 4, 4, 12], "queue- and a UUID: {names:?}");
    assert_eq!(ours.paths(), [format!("/a/queue/{}", names[0])]);
    eventually("leads", patience(), || ours.is_leader());
    let first = ours.pick();
    first.put_all(["x"; 9], None).expect("put");
    std::thread::sleep(SOON * 5);
    assert_eq!(ours.count(), 1, "nine are not ten");
    // A second one knows the shards that there are; it does not lead.
    let other = shards(&yard.client());
    assert_eq!(other.paths(), ours.paths());
    assert!(!other.is_leader());
    first.put("the tenth").expect("put");
    await_count(&ours, 2);
    await_count(&other, 2);
    assert_eq!(other.paths(), ours.paths());
    // As long as a shard is long it is not put into, and another is added each time.
    eventually("all is put into those that are short", patience(), || {
        (0..200).all(|_| ours.pick().path() != first.path())
    });
    await_count(&ours, 10);
    std::thread::sleep(SOON * 5);
    assert_eq!(ours.count(), 10, "no more than so many");
    // And is again when it is half as long.
    first.take_all(5).expect("there");
    eventually("it is put into", patience(), || ours.pick().path() == first.path());
    assert_eq!(children(&yard, "/a/queue").len(), 10);
    assert!(ours.failure().is_none());
    ours.close().expect("done");
    eventually("the other leads", patience(), || other.is_leader());
    drop(other);
    await_children(&yard, "/a/leader", 0);
    eventually("b9: no watch left", patience(), || client.watch_count() == 0);
}

/// Curator `testDistribution`, `testSimpleDistributedQueue`.
#[test]
fn puts_spread_and_consumers_have_the_items_of_all_shards() {
    const ITEMS: usize = 200;
    let yard = Yard::new();
    for _ in 0..3 {
        let client = yard.client();
        let name = zookeeper_blocking::recipes::ServiceInstance::new("x").id;
        client.ensure_path(&format!("/a/queue/queue-{name}")).expect("made");
    }
    yard.client().create("/a/queue/junk", "", CreateMode::Persistent).expect("new");
    let putting = start(&yard.client(), sharder(&yard.client()).threshold(1_000));
    assert_eq!(putting.count(), 3, "E6: junk is no shard");
    for number in 0..ITEMS {
        putting.pick().put(number.to_string()).expect("put");
    }
    let lens: Vec<_> = putting.all().iter().map(|shard| shard.len().expect("answered")).collect();
    assert_eq!(lens.iter().sum::<usize>(), ITEMS);
    assert!(lens.iter().all(|len| *len > ITEMS / 10), "{lens:?}");
    let (tell, heard) = channel();
    let client = yard.client();
    let consuming = sharder(&client).start(move |path| {
        let tell = tell.clone();
        Queue::new(&client, path)?.consumer(move |item| tell.send(item.data.clone())).start()
    });
    let consuming = consuming.expect("answered");
    let had: HashSet<_> =
        (0..ITEMS).map(|_| heard.recv_timeout(patience()).expect("in time")).collect();
    assert_eq!(had.len(), ITEMS);
    // What is put into a shard that comes is had as well.
    yard.client().ensure_path("/a/queue/queue-new").expect("made");
    await_count(&putting, 4);
    let all = putting.all();
    let new = all.iter().find(|shard| shard.path().ends_with("new")).expect("there");
    new.put("late").expect("put");
    assert_eq!(heard.recv_timeout(patience()).expect("in time"), b"late");
    // No consumer is left.
    consuming.close().expect("done");
    eventually("all have ended", patience(), || {
        heard.recv_timeout(ms(10)) == Err(RecvTimeoutError::Disconnected)
    });
}

#[test]
fn sharder_goes_on_in_the_next_session_and_when_its_nodes_were_removed() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    let ours = shards(&client);
    eventually("leads", patience(), || ours.is_leader());
    expire(&proxy, yard.chroot.server(), &session);
    eventually("leads again", patience(), || {
        client.session_id() != session.id() && ours.is_leader()
    });
    let long = ours.pick();
    long.put_all(["x"; 10], None).expect("put");
    eventually("one is added", patience(), || ours.count() > 1);
    long.take_all(10).expect("there");
    proxy.cut();
    yard.client().ensure_path("/a/queue/queue-b").expect("made");
    eventually("knows it", patience(), || {
        ours.paths().iter().any(|path| path == "/a/queue/queue-b")
    });
    yard.client().delete_recursive("/a/queue").expect("there");
    eventually("made again", patience(), || {
        yard.client().exists("/a/queue").expect("answered").is_some()
    });
    ours.pick().put("x").expect("a queue makes its node");
    eventually("it looks again", patience(), || ours.failure().is_none());
    ours.close().expect("done");
}

#[test]
fn shards_work_in_callbacks_keep_the_acl_and_tell_what_fails() {
    let yard = Yard::new();
    let client = we(&yard);
    let own = client.clone();
    let ours = in_callback(&client, move || {
        let sharder = sharder(&own).acl([Acl::creator_all()]);
        let make = move |path: &str| Ok(Queue::new(&own, path)?.acl([Acl::creator_all()]));
        let ours = sharder.start(make).expect("answered");
        ours.pick().put("x").expect("put");
        ours
    });
    eventually("leads", patience(), || ours.is_leader());
    assert_ours(&yard, &["/a/queue", &ours.paths()[0], "/a/leader"]);
    let stranger = yard.client();
    assert_code(sharder(&stranger).start(|_| Ok(())).map(drop), Code::NoAuth);
    let late = sharder(&client).start_timeout(Duration::ZERO, |_| Ok(())).map(drop);
    assert!(matches!(late, Err(Error::Timeout { .. })), "{late:?}");
    for legal in [
        QueueSharder::new(&client, "/", "/l").map(drop),
        QueueSharder::new(&client, "/a", "l").map(drop),
    ] {
        assert!(matches!(legal, Err(Error::Invalid { .. })), "{legal:?}");
    }
    // What the closure fails with is told at the start, and later tried again.
    let own = client.clone();
    let refused = sharder(&client).start(move |path| Queue::new(&own, &path[1..]).map(drop));
    assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    let mut count = 0;
    let made = sharder(&client).start(move |path| {
        count += 1;
        if count == 2 { Err(refused.as_ref().expect_err("above").clone()) } else { Ok(path.len()) }
    });
    let made = made.expect("the first");
    let path = format!("{}0", ours.paths()[0]);
    client.create(&path, "", CreateMode::Persistent).expect("new");
    await_count(&made, 2);
    client.delete(&path, Version::Any).expect("there");
    // The election is one that others can stand for.
    let election =
        Election::new(&client, "/a/leader").expect("legal").name_style(NameStyle::Curator);
    await_contenders(&election, 2);
    drop(made);
    await_contenders(&election, 1);
    client.close().expect("answered");
    eventually("told", patience(), || matches!(ours.failure(), Some(Error::Closed { .. })));
    let closed = ours.close();
    assert!(matches!(closed, Err(Error::Closed { .. })), "{closed:?}");
}

fn await_contenders(election: &Election, count: usize) {
    eventually("so many stand", patience(), || {
        election.contenders().expect("answered").len() == count
    });
}
