//! Watches with memory: the last state is always seen, once.
//!
//! Retold by behaviour: Kazoo `test_watchers.py`: `test_data_watcher`, `test_data_watcher_once`,
//! `test_data_watcher_with_event`, `test_func_style_data_watch`, `test_datawatch_across_session_expire`,
//! `test_func_stops`, `test_no_such_node`, `test_no_such_node_for_children_watch`,
//! `test_watcher_evaluating_to_false`, `test_watcher_repeat_delete`, `test_watcher_with_closing`,
//! `test_child_watcher`, `test_child_watch_session_loss`, `test_child_stop_on_session_loss`,
//! `test_patient_children_watch`. Not: what is of Python only (decorators, argument counts).

use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use zookeeper_blocking::recipes::{ChildrenWatch, DataWatch, Following, NodeChildren, NodeData};
use zookeeper_blocking::{
    Client, Code, CreateMode, Error, RecipeError, Result, Version, WatcherType, op,
};

use crate::clients::{doomed, expire, patience, soon};
use crate::faults::figure;
use crate::locks::{Yard, assert_code, assert_recipe, cancelled, ms};
use crate::nodes::{in_callback, whole};
use crate::support::calm::undisturbed;
use crate::support::wait::{eventually, scaled};

fn data_watch(client: &Client) -> DataWatch {
    DataWatch::new(client, "/node").expect("legal")
}

fn text(seen: Option<NodeData>) -> Option<String> {
    seen.map(|node| String::from_utf8(node.data).expect("text"))
}

/// The next state that a waiting watch gives, soon.
#[track_caller]
fn next(watch: &DataWatch) -> Option<String> {
    text(watch.recv_timeout(patience()).expect("something new"))
}

/// A callback's states as a queue.
#[track_caller]
fn follow(client: &Client) -> (Following, Receiver<Result<Option<NodeData>>>) {
    let (tell, told) = channel();
    let following = DataWatch::on_change(client, "/node", move |seen| {
        let _ = tell.send(seen);
    });
    (following.expect("open"), told)
}

#[track_caller]
fn heard(told: &Receiver<Result<Option<NodeData>>>) -> Option<String> {
    text(told.recv_timeout(patience()).expect("called").expect("no error"))
}

#[track_caller]
fn assert_nothing_new(watch: &DataWatch) {
    let result = watch.recv_timeout(scaled(ms(60)));
    assert!(matches!(result, Err(Error::Timeout { .. })), "{result:?}");
}

/// Whether the server still holds a watch of this client's on the path.
fn is_watched(client: &Client, path: &str) -> bool {
    client.call(op::CheckWatches::new(path, WatcherType::Any)).expect("answered")
}

#[test]
fn every_state_of_a_quiet_node_is_told_once() {
    let yard = Yard::new();
    let (client, writer) = (yard.client(), yard.client());
    let watch = data_watch(&client);
    let (following, told) = follow(&client);
    let mut expected = Vec::new();
    for round in 0..3 {
        expected.push(None);
        expected.push(Some(format!("made {round}")));
        expected.push(Some(format!("set {round}")));
        expected.push(Some(format!("set {round}")));
    }
    for (at, state) in expected.iter().enumerate() {
        match (at % 4, state) {
            (0, None) if at == 0 => {}
            (0, None) => writer.delete("/node", Version::Any).expect("there"),
            (1, Some(data)) => {
                writer.create("/node", data, CreateMode::Persistent).expect("new");
            }
            (_, Some(data)) => {
                writer.set_data("/node", data, Version::Any).expect("there");
            }
            _ => unreachable!("as made above"),
        }
        assert_eq!(&next(&watch), state, "state {at}");
        assert_eq!(&heard(&told), state, "state {at}");
        assert!(watch.try_recv().expect("answered").is_none());
    }
    assert_nothing_new(&watch);
    assert!(told.try_recv().is_err());
    drop(following);
}

/// B5.
#[test]
fn b5_last_of_many_quick_writes_is_always_seen() {
    let yard = Yard::new();
    let (client, writer) = (yard.client(), yard.client());
    writer.create("/node", "-", CreateMode::Persistent).expect("new");
    let watch = data_watch(&client);
    let (following, told) = follow(&client);
    const WRITES: usize = 10_000;
    let writing = thread::spawn(move || {
        for part in 0..10 {
            let writes = (0..WRITES / 10).map(|n| part * (WRITES / 10) + n + 1);
            let ops = writes.map(|n| op::SetData::new("/node", n.to_string()));
            for written in writer.submit_all(ops).expect("room") {
                written.expect("there");
            }
        }
        Instant::now()
    });
    let last = Some(WRITES.to_string());
    let mut seen = 1;
    let mut before = next(&watch);
    while before != last {
        let now = next(&watch);
        assert_ne!(now, before, "told twice");
        (before, seen) = (now, seen + 1);
    }
    let saw = Instant::now();
    let mut calls = 1;
    while heard(&told) != last {
        calls += 1;
    }
    let lag = saw.saturating_duration_since(writing.join().expect("no panic"));
    figure(
        "b5: writes, seen by a wait, by a callback, lag of the last",
        (WRITES, seen, calls, lag),
    );
    assert!(lag < soon());
    assert_nothing_new(&watch);
    drop(following);
}

/// B4: what the server tells after a reconnect is coarser than what happened.
#[test]
fn b4_state_after_an_outage_is_seen_whatever_happened_during_it() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).connect().expect("serves");
    let writer = yard.client();
    type History = fn(&Client);
    let set: History = |zk| {
        zk.set_data("/node", "set", Version::Any).expect("there");
    };
    let make: History = |zk| drop(zk.create("/node", "made", CreateMode::Persistent).expect("new"));
    let delete: History = |zk| zk.delete("/node", Version::Any).expect("there");
    let histories = [
        (true, vec![], None),
        (true, vec![set], Some(Some("set"))),
        (true, vec![delete], Some(None)),
        (true, vec![delete, make], Some(Some("made"))),
        (true, vec![delete, make, delete], Some(None)),
        (true, vec![set, delete, make, set], Some(Some("set"))),
        (false, vec![], None),
        (false, vec![make], Some(Some("made"))),
        (false, vec![make, delete], None),
    ];
    for (number, (there, history, wanted)) in histories.iter().enumerate() {
        if *there {
            writer.create("/node", "old", CreateMode::Persistent).expect("new");
        }
        let old = there.then(|| "old".to_owned());
        client.sync("/").expect("connected");
        let watch = data_watch(&client);
        let (following, told) = follow(&client);
        assert_eq!((next(&watch), heard(&told)), (old.clone(), old), "{number}");
        proxy.refuse();
        proxy.cut();
        history.iter().for_each(|step| step(&writer));
        proxy.accept();
        match wanted {
            Some(state) => {
                let state = state.map(str::to_owned);
                assert_eq!((next(&watch), heard(&told)), (state.clone(), state), "{number}");
            }
            None => {
                client.sync("/").or_else(|_| client.sync("/")).expect("connected");
                assert_nothing_new(&watch);
                assert!(told.try_recv().is_err(), "{number}");
            }
        }
        drop((watch, following));
        let _ = writer.delete("/node", Version::Any);
    }
}

/// Kazoo `test_datawatch_across_session_expire`, `test_child_watch_session_loss`.
#[test]
fn watch_goes_on_in_the_next_session_and_tells_only_news() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    let writer = yard.client();
    writer.create("/node", "1", CreateMode::Persistent).expect("new");
    let watch = data_watch(&client);
    let children = ChildrenWatch::new(&client, "/node").expect("legal");
    let (following, told) = follow(&client);
    assert_eq!((next(&watch), heard(&told)), (Some("1".into()), Some("1".into())));
    children.recv().expect("there");
    expire(&proxy, yard.chroot.server(), &session);
    eventually("the next session", patience(), || client.session_id() != session.id());
    assert_nothing_new(&watch);
    writer.set_data("/node", "2", Version::Any).expect("there");
    assert_eq!((next(&watch), heard(&told)), (Some("2".into()), Some("2".into())));
    writer.create("/node/child", "", CreateMode::Persistent).expect("new");
    let seen = children.recv_timeout(patience()).expect("news").expect("there");
    assert_eq!(seen.names, ["child"]);
    drop(following);
}

#[test]
fn pinned_watch_ends_with_its_session() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    let pinned = client.session().expect("connected");
    let watch = data_watch(&pinned);
    let (following, told) = follow(&pinned);
    assert_eq!((next(&watch), heard(&told)), (None, None));
    expire(&proxy, yard.chroot.server(), &session);
    let result = watch.recv_timeout(patience());
    assert!(matches!(result, Err(Error::SessionExpired { .. })), "{result:?}");
    let last = told.recv_timeout(patience()).expect("called");
    assert!(matches!(last, Err(Error::SessionExpired { .. })), "{last:?}");
    drop(following);
}

/// Kazoo `ExistingDataWatch`, `test_no_such_node`.
#[test]
fn existing_watch_tells_that_the_node_is_gone() {
    let yard = Yard::new();
    let client = yard.client();
    assert_code(data_watch(&client).existing().recv(), Code::NoNode);
    client.create("/node", "1", CreateMode::Persistent).expect("new");
    let watch = data_watch(&client).existing();
    assert_eq!(next(&watch).as_deref(), Some("1"));
    client.delete("/node", Version::Any).expect("there");
    assert_code(watch.recv(), Code::NoNode);
    assert_eq!(client.watch_count(), 0);
}

/// B9. Kazoo `test_func_stops`, `test_watcher_with_closing`; kazoo #733, #648.
#[test]
fn b9_dropped_watches_are_taken_back_here_and_on_the_server() {
    let yard = Yard::new();
    let client = yard.client();
    for there in [false, true] {
        if there {
            client.create("/node", "", CreateMode::Persistent).expect("new");
        }
        let watch = data_watch(&client);
        watch.recv().expect("answered");
        let (following, told) = follow(&client);
        heard(&told);
        assert!(is_watched(&client, "/node"));
        drop((watch, following));
        eventually("no watch left", patience(), || {
            client.watch_count() == 0 && !is_watched(&client, "/node")
        });
        // Stopped while the first read is on its way.
        for _ in 0..50 {
            drop(follow(&client));
        }
        client.sync("/").expect("connected");
        eventually("no watch left", patience(), || {
            client.watch_count() == 0 && !is_watched(&client, "/node")
        });
    }
    // A wait that times out keeps its watch for the next one, and only one.
    let watch = data_watch(&client);
    watch.recv().expect("there");
    for _ in 0..20 {
        let result = watch.recv_timeout(ms(1));
        assert!(matches!(result, Err(Error::Timeout { .. })));
    }
    assert_eq!(client.watch_count(), 1);
}

/// B6: reconnects and foreign events end no wait.
#[test]
fn b6_wait_is_not_ended_by_events_that_are_not_its_turn() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).connect().expect("serves");
    let writer = yard.client();
    writer.create("/node", "1", CreateMode::Persistent).expect("new");
    let watch = data_watch(&client);
    assert_eq!(next(&watch).as_deref(), Some("1"));
    let waiting = thread::spawn(move || next(&watch));
    for round in 0..5 {
        proxy.cut();
        writer.create(&format!("/node/{round}"), "", CreateMode::Persistent).expect("new");
        client.sync("/").or_else(|_| client.sync("/")).expect("connected");
        client.remove_watches_local("/node", WatcherType::Any).expect("open");
        thread::sleep(ms(10));
        assert!(!waiting.is_finished());
    }
    writer.set_data("/node", "2", Version::Any).expect("there");
    assert_eq!(waiting.join().expect("no panic").as_deref(), Some("2"));
}

#[test]
fn wait_is_ended_by_cancel_and_at_its_deadline_also_behind_another() {
    undisturbed(|| {
        let yard = Yard::new();
        let client = yard.client();
        let watch = data_watch(&client);
        watch.recv().expect("answered");
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let watch = watch.clone();
                thread::spawn(move || {
                    assert_recipe(watch.recv(), RecipeError::Cancelled, Instant::now(), patience());
                })
            })
            .collect();
        thread::sleep(ms(30));
        let start = Instant::now();
        let late = watch.recv_timeout(scaled(ms(100)));
        assert!(matches!(late, Err(Error::Timeout { .. })), "{late:?}");
        assert!(start.elapsed() < scaled(ms(200)), "{:?}", start.elapsed());
        let all = || waiting.into_iter().for_each(|one| one.join().expect("no panic"));
        cancelled(|| watch.cancel(), all);
    });
}

#[test]
fn waits_work_in_callbacks_and_cost_one_request_a_state() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).connect().expect("serves");
    let writer = yard.client();
    writer.create("/node", "1", CreateMode::Persistent).expect("new");
    let watch = data_watch(&client);
    let own = watch.clone();
    let seen = in_callback(&client, move || {
        let first = next(&own);
        writer.set_data("/node", "2", Version::Any).expect("there");
        (first, next(&own), writer)
    });
    assert_eq!((seen.0.as_deref(), seen.1.as_deref()), (Some("1"), Some("2")));
    proxy.reset_counts();
    for n in 0..10 {
        seen.2.set_data("/node", n.to_string(), Version::Any).expect("there");
        assert_eq!(next(&watch), Some(n.to_string()));
        assert!(watch.try_recv().expect("answered").is_none());
    }
    assert_eq!(proxy.counts().to_server.requests(), 10);
}

#[test]
fn slow_callback_hears_the_last_state_and_one_that_panics_is_called_again() {
    let yard = Yard::new();
    let client = yard.client();
    let writer = yard.client();
    writer.create("/node", "0", CreateMode::Persistent).expect("new");
    let (tell, told) = channel();
    let (go, wait) = channel::<()>();
    let following = DataWatch::on_change(&client, "/node", move |seen| {
        let seen = text(seen.expect("no error")).expect("there");
        tell.send(seen.clone()).expect("the test waits");
        match seen.as_str() {
            "0" => wait.recv_timeout(patience()).expect("told to go on"),
            "9" => panic!("as a user's callback may"),
            _ => {}
        }
    });
    let following = following.expect("open");
    let heard = || told.recv_timeout(patience()).expect("called");
    assert_eq!(heard(), "0");
    for n in 1..10 {
        writer.set_data("/node", n.to_string(), Version::Any).expect("there");
    }
    go.send(()).expect("waits");
    assert_eq!(heard(), "9", "not each of them");
    writer.set_data("/node", "10", Version::Any).expect("there");
    assert_eq!(heard(), "10");
    drop(following);
    writer.set_data("/node", "11", Version::Any).expect("there");
    client.sync("/").expect("connected");
    in_callback(&client, || ());
    assert!(told.try_recv().is_err(), "dropped");
}

#[test]
fn closed_client_is_the_last_that_a_callback_hears_and_ends_a_wait() {
    let yard = Yard::new();
    let client = yard.client();
    let watch = data_watch(&client);
    watch.recv().expect("answered");
    let (following, told) = follow(&client);
    assert_eq!(heard(&told), None);
    let waiting = thread::spawn(move || watch.recv_timeout(patience()));
    thread::sleep(ms(20));
    client.close().expect("acknowledged");
    let result = waiting.join().expect("no panic");
    assert!(matches!(result, Err(Error::Closed { .. })), "{result:?}");
    let last = told.recv_timeout(patience()).expect("called");
    assert!(matches!(last, Err(Error::Closed { .. })), "{last:?}");
    drop(following);
}

#[test]
fn following_does_not_keep_the_client_alive() {
    let yard = Yard::new();
    let client = yard.client();
    client.create("/ephemeral", "", CreateMode::Ephemeral).expect("new");
    let (following, told) = follow(&client);
    heard(&told);
    drop(client);
    assert!(yard.raw().exists(&whole(&yard, "/ephemeral")).is_err(), "the session is closed");
    drop(following);
}

/// Kazoo `test_child_watcher`, `test_no_such_node_for_children_watch`: here it waits for the node.
#[test]
fn children_are_told_sorted_whenever_they_changed() {
    let yard = Yard::new();
    let client = yard.client();
    let watch = ChildrenWatch::new(&client, "/node").expect("legal");
    let next = || watch.recv_timeout(patience()).expect("news");
    assert_eq!(next(), None);
    client.create("/node", "", CreateMode::Persistent).expect("new");
    let empty: Option<NodeChildren> = next();
    assert_eq!(empty.expect("there").names, Vec::<String>::new());
    client.set_data("/node", "data", Version::Any).expect("there");
    for (name, wanted) in [("b", vec!["b"]), ("a", vec!["a", "b"]), ("c", vec!["a", "b", "c"])] {
        client.create(&format!("/node/{name}"), "", CreateMode::Persistent).expect("new");
        assert_eq!(next().expect("there").names, wanted);
    }
    // The same names, but not the same node.
    let again = client.transaction().delete("/node/b", Version::Any).create("/node/b", "");
    again.commit().expect("committed");
    assert_eq!(next().expect("there").names, ["a", "b", "c"]);
    client.delete_recursive("/node").expect("there");
    eventually("gone", patience(), || next().is_none());
}

/// Kazoo `test_patient_children_watch`.
#[test]
fn settled_children_are_those_that_did_not_change_for_a_while() {
    undisturbed(|| {
        let yard = Yard::new();
        let (client, writer) = (yard.client(), yard.client());
        writer.create("/node", "", CreateMode::Persistent).expect("new");
        let watch = ChildrenWatch::new(&client, "/node").expect("legal");
        let quiet = scaled(ms(800));
        let arriving = thread::spawn(move || {
            for n in 0..8 {
                writer.create(&format!("/node/{n}"), "", CreateMode::Persistent).expect("new");
                thread::sleep(scaled(ms(40)));
            }
            writer
        });
        let start = Instant::now();
        let seen = watch.recv_settled(quiet).expect("settled").expect("there");
        assert_eq!(seen.names.len(), 8);
        assert!(start.elapsed() >= scaled(ms(40 * 7 + 800)));
        let writer = arriving.join().expect("no panic");
        let late = watch.recv_settled_timeout(quiet, quiet * 2);
        assert!(matches!(late, Err(Error::Timeout { .. })), "{late:?}");
        writer.delete("/node/3", Version::Any).expect("there");
        let seen = watch.recv_settled(quiet).expect("settled").expect("there");
        assert_eq!(seen.names.len(), 7);
    });
}

#[test]
fn many_watches_cost_no_threads() {
    let yard = Yard::new();
    let client = yard.client();
    let (tell, told) = channel();
    let following: Vec<_> = (0..1_000)
        .map(|n| {
            let tell = tell.clone();
            let follow = move |_| {
                let _ = tell.send(n);
            };
            DataWatch::on_change(&client, &format!("/n{n}"), follow).expect("open")
        })
        .collect();
    for _ in 0..1_000 {
        told.recv_timeout(patience()).expect("called");
    }
    assert_eq!(client.watch_count(), 1_000);
    client.create("/n500", "", CreateMode::Persistent).expect("new");
    assert_eq!(told.recv_timeout(patience()), Ok(500));
    drop(following);
    eventually("no watch left", patience(), || client.watch_count() == 0);
}
