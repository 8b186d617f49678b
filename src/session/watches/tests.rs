//! The table against a model that is too simple to be wrong, and its words to the server by hand.

use proptest::prelude::*;

use super::WatchKind::*;
use super::*;
use crate::proto::jute::Reader;

const KINDS: [WatchKind; 5] = [Data, Exist, Child, Persistent, Recursive];
const EVENTS: [EventKind; 6] = [
    EventKind::Created,
    EventKind::Deleted,
    EventKind::DataChanged,
    EventKind::ChildrenChanged,
    EventKind::Resync,
    EventKind::Unknown(77),
];

/// Arms watch `id` and lets the reply come.
fn arm(table: &mut Watches<()>, path: &str, kind: WatchKind, id: u64) {
    let path = Arc::from(path);
    table.arming(&path, kind);
    table.armed(&path, kind, WatchId(id), ());
}

fn fire(table: &mut Watches<()>, event: EventKind, path: &str) -> (Vec<u64>, Disarm) {
    let mut heard = Vec::new();
    let disarm = table.fire(event, path, |id, (), name, _| {
        assert_eq!(&**name, path);
        heard.push(id.0);
    });
    heard.sort_unstable();
    (heard, disarm)
}

/// Whether a request that arms `kind` on `path` now would leave the watch out.
fn covered(table: &Watches<()>, path: &str, kind: WatchKind) -> bool {
    table.entries.get(path).is_some_and(|entry| entry.covers(kind))
}

fn take(table: &mut Watches<()>, path: &str, wanted: impl Fn(WatchKind) -> bool) -> Vec<u64> {
    let mut ids = Vec::new();
    let count = table.take(path, wanted, |name, id, ()| {
        assert_eq!(&**name, path);
        ids.push(id.0);
    });
    assert_eq!(count, ids.len());
    ids
}

/// The requests that set all watches again: the length of each, and its lists.
fn batches(table: &Watches<()>, max: usize) -> Vec<(usize, Vec<Vec<String>>)> {
    let mut batches = Vec::new();
    table.batches(max, |batch| {
        let mut body = Vec::new();
        batch.encode(&mut body, 7);
        let mut reader = Reader::new(&body);
        assert_eq!(reader.i64(), Ok(7));
        let mut lists = Vec::new();
        for _ in 0..if batch.needs_two() { 5 } else { 3 } {
            lists.push(reader.vector(4, Reader::string).unwrap());
        }
        assert_eq!(reader.remaining(), 0);
        batches.push((REQUEST_HEADER + body.len(), lists));
    });
    batches
}

fn remove(table: &mut Watches<()>, path: &str, id: u64) -> Option<Disarm> {
    table.remove(path, WatchId(id)).map(|((), disarm)| disarm)
}

#[test]
fn each_kind_hears_its_events() {
    use EventKind::{ChildrenChanged, Created, DataChanged, Deleted, Unknown};
    // kind; heard on the path itself; heard on a child's path
    let rows: [(WatchKind, &[EventKind], &[EventKind]); 5] = [
        (Data, &[Created, Deleted, DataChanged], &[]),
        (Exist, &[Created, Deleted, DataChanged], &[]),
        (Child, &[Deleted, ChildrenChanged], &[]),
        (Persistent, &[Created, Deleted, DataChanged, ChildrenChanged, Unknown(77)], &[]),
        (
            Recursive,
            &[Created, Deleted, DataChanged, Unknown(77)],
            &[Created, Deleted, DataChanged, Unknown(77)],
        ),
    ];
    for (kind, own, below) in rows {
        for event in EVENTS {
            for (path, heard) in [("/a", own), ("/a/b", below), ("/ab", &[][..]), ("/", &[])] {
                let mut table = Watches::new();
                arm(&mut table, "/a", kind, 1);
                let expected = heard.contains(&event);
                let (ids, _) = fire(&mut table, event, path);
                assert_eq!(!ids.is_empty(), expected, "{kind:?} {event:?} {path}");
            }
        }
    }
}

#[test]
fn recursive_watch_on_the_root_hears_everything_once() {
    let mut table = Watches::new();
    arm(&mut table, "/", Recursive, 1);
    for path in ["/", "/a", "/a/b/c"] {
        assert_eq!(fire(&mut table, EventKind::Created, path).0, [1], "{path}");
    }
}

#[test]
fn several_watches_of_a_path_hear_together() {
    let mut table = Watches::new();
    for (id, kind) in (1..).zip(KINDS) {
        arm(&mut table, "/a", kind, id);
    }
    assert_eq!(fire(&mut table, EventKind::Deleted, "/a").0, [1, 2, 3, 4, 5]);
    assert_eq!(fire(&mut table, EventKind::Deleted, "/a").0, [4, 5]);
    assert_eq!(table.len(), 2);
}

#[test]
fn one_shot_under_a_lasting_watch_is_covered() {
    for (lasting, one_shot, expected) in [
        (Persistent, Data, true),
        (Persistent, Exist, true),
        (Persistent, Child, true),
        (Recursive, Data, true),
        (Recursive, Exist, true),
        // The server tells a recursive watch nothing of children's names.
        (Recursive, Child, false),
    ] {
        let mut table = Watches::new();
        arm(&mut table, "/a", lasting, 1);
        assert_eq!(covered(&table, "/a", one_shot), expected, "{lasting:?}");
        assert!(!covered(&table, "/a/b", one_shot), "its own path only");
        assert!(table.is_shared("/a"));
        remove(&mut table, "/a", 1);
        assert!(!covered(&table, "/a", one_shot));
    }
    let mut table = Watches::new();
    arm(&mut table, "/a", Data, 1);
    assert!(!covered(&table, "/a", Data), "one-shot watches share, but cover nothing");
    assert!(!table.is_shared("/a"));
}

#[test]
fn lasting_watch_in_flight_covers_until_it_is_refused() {
    let mut table: Watches<()> = Watches::new();
    let path = Arc::from("/a");
    assert!(table.arming(&path, Persistent));
    assert!(!table.arming(&path, Data), "and so is not asked for");
    table.not_armed("/a", Data);
    assert!(covered(&table, "/a", Data) && table.is_shared("/a"));
    table.not_armed("/a", Persistent);
    assert!(!covered(&table, "/a", Data) && !table.is_shared("/a"));
}

#[test]
fn b9_watch_given_up_under_a_request_that_fails_is_taken_off_the_server() {
    let mut table = Watches::new();
    arm(&mut table, "/a", Persistent, 1);
    let path = Arc::from("/a");
    table.arming(&path, Data);
    table.arming(&path, Child);
    // Not now: the removal would reach the server after the requests under way.
    assert_eq!(remove(&mut table, "/a", 1), Some(Disarm::Nothing));
    assert_eq!(table.not_armed("/a", Data), Disarm::Nothing, "one is still under way");
    assert_eq!(table.not_armed("/a", Child), Disarm::Remove(3));
    assert!(!table.is_in_use("/a"));
}

#[test]
fn last_watch_of_its_kind_is_taken_off_the_server() {
    for (kind, watcher_type) in [(Data, 2), (Exist, 2), (Child, 1), (Persistent, 3), (Recursive, 3)]
    {
        let mut table = Watches::new();
        arm(&mut table, "/a", kind, 1);
        arm(&mut table, "/a", kind, 2);
        assert_eq!(remove(&mut table, "/a", 1), Some(Disarm::Nothing));
        assert_eq!(remove(&mut table, "/a", 2), Some(Disarm::Remove(watcher_type)), "{kind:?}");
        assert_eq!(remove(&mut table, "/a", 2), None, "once");
    }
}

#[test]
fn data_and_exist_share_the_servers_table() {
    let mut table = Watches::new();
    arm(&mut table, "/a", Data, 1);
    arm(&mut table, "/a", Exist, 2);
    arm(&mut table, "/a", Child, 3);
    assert_eq!(remove(&mut table, "/a", 1), Some(Disarm::Nothing));
    assert_eq!(remove(&mut table, "/a", 3), Some(Disarm::Remove(1)));
    assert_eq!(remove(&mut table, "/a", 2), Some(Disarm::Remove(2)));
}

#[test]
fn what_would_hurt_another_watch_stays_until_the_last_is_gone() {
    // Before 3.9 taking the recursive one back takes the persistent one with it.
    let mut table = Watches::new();
    arm(&mut table, "/a", Persistent, 1);
    arm(&mut table, "/a", Recursive, 2);
    assert!(table.has_both_lasting("/a"));
    assert_eq!(remove(&mut table, "/a", 2), Some(Disarm::Nothing));
    assert_eq!(remove(&mut table, "/a", 1), Some(Disarm::Remove(3)));

    // A lasting one that leaves a one-shot behind is stale, and goes with it...
    let mut table = Watches::new();
    arm(&mut table, "/a", Persistent, 1);
    arm(&mut table, "/a", Data, 2);
    assert_eq!(remove(&mut table, "/a", 1), Some(Disarm::Nothing));
    assert_eq!(remove(&mut table, "/a", 2), Some(Disarm::Remove(3)));

    // ... also when the one-shot goes by its event.
    let mut table = Watches::new();
    arm(&mut table, "/a", Persistent, 1);
    arm(&mut table, "/a", Data, 2);
    remove(&mut table, "/a", 1);
    let (heard, disarm) = fire(&mut table, EventKind::DataChanged, "/a");
    assert_eq!((heard, disarm), (vec![2], Disarm::Remove(3)));

    // A one-shot one under a lasting one was never armed.
    let mut table = Watches::new();
    arm(&mut table, "/a", Recursive, 1);
    arm(&mut table, "/a", Data, 2);
    assert_eq!(remove(&mut table, "/a", 2), Some(Disarm::Nothing));
    assert_eq!(remove(&mut table, "/a", 1), Some(Disarm::Remove(3)));
}

#[test]
fn nothing_is_taken_back_while_the_path_is_being_armed() {
    let mut table = Watches::new();
    arm(&mut table, "/a", Data, 1);
    let path = Arc::from("/a");
    table.arming(&path, Data);
    // The removal would reach the server behind the new watch, and take it away.
    assert_eq!(remove(&mut table, "/a", 1), Some(Disarm::Nothing));
    table.armed(&path, Data, WatchId(2), ());
    assert_eq!(fire(&mut table, EventKind::Created, "/a").0, [2]);
}

#[test]
fn new_connection_owes_nothing_for_the_old_one() {
    let mut table = Watches::new();
    arm(&mut table, "/a", Persistent, 1);
    arm(&mut table, "/a", Data, 2);
    remove(&mut table, "/a", 1);
    table.connection_lost();
    // The new server holds the data watch only.
    assert_eq!(remove(&mut table, "/a", 2), Some(Disarm::Remove(2)));
}

#[test]
fn paths_without_watches_are_forgotten() {
    let mut table = Watches::new();
    for n in 0..100 {
        let path = Arc::from(format!("/{n}"));
        table.arming(&path, Data);
        match n % 4 {
            0 => assert_eq!(table.not_armed(&path, Data), Disarm::Nothing),
            _ => table.armed(&path, Data, WatchId(n), ()),
        }
        match n % 4 {
            1 => drop(remove(&mut table, &path, n)),
            2 => drop(fire(&mut table, EventKind::Deleted, &path)),
            3 => drop(take(&mut table, &path, |_| true)),
            _ => {}
        }
    }
    assert!(table.entries.is_empty());
    assert_eq!(table.len(), 0);
}

#[test]
fn take_is_by_the_servers_watcher_type() {
    for (watcher_type, taken) in [
        (1, vec![3]),
        (2, vec![1, 2]),
        (3, vec![1, 2, 3, 4, 5]),
        (4, vec![4]),
        (5, vec![5]),
        (9, vec![]),
    ] {
        let mut table = Watches::new();
        for (id, kind) in (1..).zip(KINDS) {
            arm(&mut table, "/a", kind, id);
        }
        let ids = take(&mut table, "/a", |kind| kind.is_of_type(watcher_type));
        assert_eq!(ids, taken, "{watcher_type}");
        assert_eq!(table.len(), 5 - taken.len());
    }
}

#[test]
fn batches_hold_each_path_once_in_each_of_its_lists() {
    let mut table = Watches::new();
    for (id, kind) in (0..).zip(KINDS.into_iter().chain(KINDS)) {
        arm(&mut table, "/a", kind, id);
    }
    let batches = batches(&table, 1000);
    assert_eq!(batches.len(), 1);
    assert_eq!(batches[0].1.len(), 5);
    assert!(batches[0].1.iter().all(|list| *list == ["/a"]));
    assert!(self::batches(&Watches::new(), 1000).is_empty());
}

#[test]
fn b2_batches_are_as_large_as_they_may_be_and_no_larger() {
    let mut table = Watches::new();
    for n in 0..100 {
        arm(&mut table, &format!("/{n:05}"), KINDS[n % 3], n as u64);
    }
    // Header, zxid and five counts; then ten bytes a path.
    let fixed = 8 + 8 + 5 * 4;
    for (max, full) in [(fixed + 10, 1), (fixed + 19, 1), (fixed + 20, 2), (fixed + 75, 7)] {
        let batches = batches(&table, max);
        assert_eq!(batches.len(), 100_usize.div_ceil(full), "{max}");
        assert!(batches.iter().all(|(len, _)| *len <= max));
        let all = batches.iter().flat_map(|(_, lists)| lists).flatten();
        assert_eq!(all.count(), 100);
    }
    // A path that is too long by itself goes alone: the server may still take it.
    assert_eq!(batches(&table, 1).len(), 100);
}

#[test]
fn batches_go_in_the_order_of_arming() {
    let mut table = Watches::new();
    let paths: Vec<String> = (0..200).map(|n| format!("/{}", n * 7919 % 200)).collect();
    for (id, path) in (0..).zip(&paths) {
        arm(&mut table, path, Data, id);
    }
    // A later watch beside the first moves nothing, and one that is armed again goes last.
    arm(&mut table, &paths[0], Data, 300);
    fire(&mut table, EventKind::DataChanged, &paths[1]);
    arm(&mut table, &paths[1], Data, 301);
    let told: Vec<String> =
        batches(&table, 300).into_iter().flat_map(|(_, lists)| lists).flatten().collect();
    let wanted = paths[..1].iter().chain(&paths[2..]).chain(&paths[1..2]);
    assert_eq!(told, wanted.cloned().collect::<Vec<_>>());
}

/// What happens to a table. Paths and ids are small numbers.
#[derive(Clone, Debug)]
enum Step {
    Arm(usize, usize),
    Refuse(usize, usize),
    Remove(usize),
    Fire(usize, usize),
    Take(usize, i32),
    Lost,
    End,
}

const PATHS: [&str; 6] = ["/", "/a", "/a/b", "/a/b/c", "/ab", "/x"];

fn step() -> impl Strategy<Value = Step> {
    let path = 0..PATHS.len();
    prop_oneof![
        6 => (path.clone(), 0..5usize).prop_map(|(p, k)| Step::Arm(p, k)),
        1 => (path.clone(), 0..5usize).prop_map(|(p, k)| Step::Refuse(p, k)),
        3 => (0..40usize).prop_map(Step::Remove),
        4 => (path.clone(), 0..6usize).prop_map(|(p, e)| Step::Fire(p, e)),
        1 => (path, 1..6i32).prop_map(|(p, t)| Step::Take(p, t)),
        1 => Just(Step::Lost),
        1 => Just(Step::End),
    ]
}

/// A list of all watches, searched from end to end.
#[derive(Default)]
struct Model(Vec<(u64, &'static str, WatchKind)>);

impl Model {
    fn fire(&mut self, event: EventKind, path: &str) -> Vec<u64> {
        let hears = |at: &str, kind: WatchKind| {
            let below =
                at == "/" || path.strip_prefix(at).is_some_and(|rest| rest.starts_with('/'));
            at == path && kind.hears(event, true)
                || at != path && below && kind == Recursive && kind.hears(event, false)
        };
        let heard = self.0.iter().filter(|(_, at, kind)| hears(at, *kind));
        let mut heard: Vec<u64> = heard.map(|(id, ..)| *id).collect();
        self.0.retain(|(id, _, kind)| !(kind.is_one_shot() && heard.contains(id)));
        heard.sort_unstable();
        heard
    }

    fn on(&self, path: &str) -> Vec<WatchKind> {
        let on = self.0.iter().filter(|(_, at, _)| *at == path);
        on.map(|(.., kind)| *kind).collect()
    }

    /// A removal must not take from the server what a watch that is left lives on, and must be
    /// sent when there is none left.
    fn check(&self, path: &str, disarm: Disarm) -> Result<(), TestCaseError> {
        let left = self.on(path);
        match disarm {
            Disarm::Remove(3) => prop_assert!(left.is_empty(), "{left:?}"),
            Disarm::Remove(2) => prop_assert!(left.iter().all(|k| *k == Child), "{left:?}"),
            Disarm::Remove(1) => {
                prop_assert!(left.iter().all(|k| matches!(k, Data | Exist)), "{left:?}")
            }
            Disarm::Remove(other) => prop_assert!(false, "{other} is unknown before 3.9"),
            Disarm::Nothing => prop_assert!(!left.is_empty()),
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn b7_table_hears_what_a_plain_list_hears(
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let mut table = Watches::new();
        let mut model = Model::default();
        for (id, step) in (0u64..).zip(steps) {
            match step {
                Step::Arm(path, kind) => {
                    arm(&mut table, PATHS[path], KINDS[kind], id);
                    model.0.push((id, PATHS[path], KINDS[kind]));
                }
                Step::Refuse(path, kind) => {
                    table.arming(&Arc::from(PATHS[path]), KINDS[kind]);
                    table.not_armed(PATHS[path], KINDS[kind]);
                }
                Step::Remove(at) if at < model.0.len() => {
                    let (id, path, _) = model.0.remove(at);
                    let disarm = remove(&mut table, path, id).expect("it is there");
                    model.check(path, disarm)?;
                }
                Step::Remove(_) => prop_assert_eq!(remove(&mut table, "/a", 9_999), None),
                Step::Fire(path, event) => {
                    let (heard, disarm) = fire(&mut table, EVENTS[event], PATHS[path]);
                    prop_assert_eq!(heard, model.fire(EVENTS[event], PATHS[path]));
                    if disarm != Disarm::Nothing {
                        model.check(PATHS[path], disarm)?;
                    }
                }
                Step::Take(path, kind) => {
                    let gone = take(&mut table, PATHS[path], |k| k.is_of_type(kind));
                    let before = model.0.len();
                    model.0.retain(|(_, at, k)| *at != PATHS[path] || !k.is_of_type(kind));
                    prop_assert_eq!(gone.len(), before - model.0.len());
                }
                Step::Lost => table.connection_lost(),
                Step::End => {
                    let mut ended = Vec::new();
                    table.end(|_, id, ()| ended.push(id.0));
                    ended.sort_unstable();
                    let all: Vec<u64> = std::mem::take(&mut model.0).iter().map(|w| w.0).collect();
                    prop_assert_eq!(ended, all);
                }
            }
            prop_assert_eq!(table.len(), model.0.len());
            // After a reconnect the server is told of each kind of each path, once.
            let mut told: Vec<(usize, String)> = batches(&table, 64)
                .into_iter()
                .flat_map(|(_, lists)| lists.into_iter().enumerate())
                .flat_map(|(list, paths)| paths.into_iter().map(move |path| (list, path)))
                .collect();
            told.sort_unstable();
            let wanted = model.0.iter().map(|(_, at, kind)| (kind.list(), (*at).to_owned()));
            let mut wanted: Vec<_> = wanted.collect();
            wanted.sort_unstable();
            wanted.dedup();
            prop_assert_eq!(told, wanted);
        }
    }
}
