//! Many watches of all kinds on few paths, set, taken back and fired in random order, against a
//! model of what each of them must hear.
//!
//! The servers before 3.9 make this hard: they keep one mode for a connection, path and table, so
//! that one watch replaces another (ZOOKEEPER-4466), and a removal takes more than was meant.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use zookeeper_blocking::{
    Client, CreateMode, EventKind, Version, Watch, WatchWait, WatcherType, op, path,
};

use crate::clients::client;
use crate::support::server::fresh_chroot;
use crate::watches::{KINDS, Kind};

#[derive(Clone, Copy, Debug)]
enum Step {
    Add(Kind, usize),
    /// Drops the handle of a watch.
    Drop(usize),
    Remove(WatcherType, usize),
    Create(usize),
    Delete(usize),
    Set(usize),
}

/// Below a root of each case's own.
const PATHS: [&str; 3] = ["/p", "/p/x", "/p/x/y"];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let at = 0..PATHS.len();
    let kinds = [WatcherType::Data, WatcherType::Children, WatcherType::Any];
    let step = prop_oneof![
        6 => (prop::sample::select(KINDS.to_vec()), at.clone()).prop_map(|(k, n)| Step::Add(k, n)),
        3 => (0..8_usize).prop_map(Step::Drop),
        1 => (prop::sample::select(kinds.to_vec()), at.clone())
            .prop_map(|(kind, n)| Step::Remove(kind, n)),
        4 => at.clone().prop_map(Step::Create),
        2 => at.clone().prop_map(Step::Delete),
        2 => at.prop_map(Step::Set),
    ];
    prop::collection::vec(step, 1..40)
}

/// A watch that the model knows of.
#[derive(Debug)]
struct Watcher {
    kind: Kind,
    path: String,
    handle: Watch,
    /// What it has heard since the last comparison.
    heard: Vec<(EventKind, Arc<str>)>,
    over: bool,
}

#[derive(Debug, Default)]
struct Model {
    nodes: BTreeSet<String>,
    watchers: Vec<Watcher>,
}

impl Model {
    fn fire(&mut self, event: EventKind, path: &str) {
        use EventKind::{ChildrenChanged, Created, DataChanged, Deleted};
        for watcher in self.watchers.iter_mut().filter(|watcher| !watcher.over) {
            let same = watcher.path == path;
            let below = path.starts_with(&format!("{}/", watcher.path));
            let hears = match watcher.kind {
                Kind::Data | Kind::Exist => same && event != ChildrenChanged,
                Kind::Child => same && matches!(event, Deleted | ChildrenChanged),
                Kind::Persistent => same,
                Kind::Recursive => {
                    (same || below) && matches!(event, Created | DataChanged | Deleted)
                }
            };
            if hears {
                watcher.heard.push((event, path.into()));
                watcher.over = watcher.kind.is_one_shot();
            }
        }
    }

    fn end(&mut self, kind: WatcherType, path: &str) {
        for watcher in self.watchers.iter_mut().filter(|watcher| !watcher.over) {
            let meant = match watcher.kind {
                Kind::Data | Kind::Exist => kind != WatcherType::Children,
                Kind::Child => kind != WatcherType::Data,
                Kind::Persistent | Kind::Recursive => kind == WatcherType::Any,
            };
            if meant && watcher.path == path {
                watcher.heard.push((EventKind::Ended, path.into()));
                watcher.over = true;
            }
        }
    }
}

/// Does the step with the client and in the model.
fn take(zk: &Client, model: &mut Model, root: &str, step: Step) {
    let at = |n: usize| format!("{root}{}", PATHS[n]);
    match step {
        Step::Add(kind, n) => {
            let path = at(n);
            let there = model.nodes.contains(&path);
            let watch = kind.watch(zk, &path);
            if !there && matches!(kind, Kind::Data | Kind::Child) {
                watch.expect_err("no node");
                return;
            }
            let handle = watch.expect("may be watched");
            model.watchers.push(Watcher { kind, path, handle, heard: vec![], over: false });
        }
        Step::Drop(n) => {
            if n < model.watchers.len() {
                drop(model.watchers.swap_remove(n));
            }
        }
        Step::Remove(kind, n) => {
            // Whether the server had one is another matter: see `Watches`.
            let _ = zk.remove_watches(&at(n), kind);
            model.end(kind, &at(n));
        }
        Step::Create(n) => {
            let path = at(n);
            let parent = path::parent(&path).expect("not the root").to_owned();
            if zk.create(&path, "", CreateMode::Persistent).is_ok() {
                model.nodes.insert(path.clone());
                model.fire(EventKind::Created, &path);
                model.fire(EventKind::ChildrenChanged, &parent);
            }
        }
        Step::Delete(n) => {
            let path = at(n);
            let parent = path::parent(&path).expect("not the root").to_owned();
            if zk.delete(&path, Version::Any).is_ok() {
                model.nodes.remove(&path);
                model.fire(EventKind::Deleted, &path);
                model.fire(EventKind::ChildrenChanged, &parent);
            }
        }
        Step::Set(n) => {
            if zk.set_data(&at(n), "x", Version::Any).is_ok() {
                model.fire(EventKind::DataChanged, &at(n));
            }
        }
    }
}

/// Runs the steps against server and model below `root`; gives the number of events heard.
fn compare(zk: &Client, root: &str, steps: &[Step]) -> Result<usize, TestCaseError> {
    zk.create(root, "", CreateMode::Persistent).expect("used once");
    let mut model = Model::default();
    take(zk, &mut model, root, Step::Create(0));
    let mut heard = 0;
    for (n, step) in steps.iter().enumerate() {
        take(zk, &mut model, root, *step);
        for watcher in &mut model.watchers {
            let events: Vec<_> =
                watcher.handle.try_iter().map(|event| (event.kind, event.path)).collect();
            heard += events.len();
            let what = format!("step {n}: {:?} of {}", watcher.kind, watcher.path);
            prop_assert_eq!(&events, &watcher.heard, "{}", what);
            let end = if watcher.over { WatchWait::Over } else { WatchWait::Empty };
            prop_assert_eq!(watcher.handle.try_recv(), Err(end), "{}", what);
            watcher.heard.clear();
        }
        // The answer to a request after the last drop: the count is of after it.
        let _ = zk.exists("/").expect("serves");
        let live = model.watchers.iter().filter(|watcher| !watcher.over).count();
        prop_assert_eq!(zk.watch_count(), live);
    }
    drop(model);
    for path in PATHS {
        let ask = op::CheckWatches::new(format!("{root}{path}"), WatcherType::Any);
        prop_assert!(!zk.call(ask).expect("serves"), "{} is still watched", path);
    }
    prop_assert_eq!(zk.watch_count(), 0);
    Ok(heard)
}

#[test]
fn b7_each_watch_hears_what_it_would_hear_alone() {
    let zk = client(&fresh_chroot());
    let cases = Cell::new(0);
    let heard = Cell::new(0);
    let config = Config { failure_persistence: None, ..Config::with_cases(100) };
    let result = TestRunner::new(config).run(&steps(), |steps| {
        cases.set(cases.get() + 1);
        heard.set(heard.get() + compare(&zk, &format!("/{}", cases.get()), &steps)?);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    // Steps that make nothing happen show nothing.
    assert!(heard.get() > 50, "only {} events", heard.get());
}

/// What the test above has found, so that it is found each time.
#[test]
fn b7_what_went_wrong_once() {
    use Kind::{Child, Data, Persistent, Recursive};
    let zk = client(&fresh_chroot());
    let found: [&[Step]; 4] = [
        // The server sends no `ChildrenChanged` where the mode is recursive, whoever needs it.
        &[Step::Add(Persistent, 0), Step::Add(Recursive, 0), Step::Create(1)],
        &[Step::Add(Recursive, 0), Step::Add(Persistent, 0), Step::Create(1), Step::Delete(1)],
        &[Step::Add(Child, 0), Step::Add(Recursive, 0), Step::Create(1)],
        // The last one-shot watch was removed by request, and took no note of what was left over.
        &[
            Step::Add(Persistent, 0),
            Step::Add(Data, 0),
            Step::Add(Data, 0),
            Step::Drop(0),
            Step::Remove(WatcherType::Data, 0),
        ],
    ];
    for (n, steps) in found.into_iter().enumerate() {
        compare(&zk, &format!("/{n}"), steps).unwrap_or_else(|error| panic!("{n}: {error}"));
    }
}
