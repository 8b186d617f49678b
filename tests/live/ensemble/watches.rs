//! E19: what is kept in memory is as the servers are once all is calm, and never goes back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use zookeeper_blocking::recipes::{
    Cache, CacheEvents, ChildrenWatch, Configuration, DataWatch, Following, NodeChildren, NodeData,
};
use zookeeper_blocking::{Client, CreateMode, Result, Version};

use crate::caches::{assert_in_order, await_same};
use crate::clients::patience;
use crate::ensemble::play::Play;
use crate::faults::figure;
use crate::locks::ms;
use crate::support::txnlog::Txn;
use crate::support::wait::eventually;
use crate::support::wire::op;

/// All clients change a tree and a setting, and see what all do.
pub(crate) struct Watches {
    eyes: Vec<Mutex<Eyes>>,
    clients: Vec<Client>,
    steps: AtomicUsize,
}

/// What one client sees.
struct Eyes {
    cache: Cache,
    events: CacheEvents,
    /// Asked now and then; the data of a node that comes and goes.
    data: DataWatch,
    seen: Option<NodeData>,
    changes: usize,
    /// Told of by itself; the children of a node that comes and goes.
    told: Receiver<Result<Option<NodeChildren>>>,
    _following: Following,
    setting: Configuration<usize>,
    settings: Arc<Mutex<Vec<usize>>>,
}

const TREE: &str = "/play/tree";
const NODE: &str = "/play/tree/0";
const SETTING: &str = "/play/setting";

fn number(data: &[u8]) -> std::result::Result<usize, String> {
    String::from_utf8_lossy(data).parse().map_err(|error| format!("{error}"))
}

impl Eyes {
    fn new(client: &Client) -> Self {
        let cache = Cache::new(client, TREE).expect("read");
        let events = cache.subscribe();
        let (tell, told) = channel();
        let following = ChildrenWatch::on_change(client, NODE, move |seen| {
            // The test may have heard enough.
            let _ = tell.send(seen);
        });
        let setting = Configuration::new(client, SETTING, number).expect("read");
        let settings = Arc::<Mutex<Vec<usize>>>::default();
        let heard = settings.clone();
        setting.on_change(move |value: &Arc<usize>| heard.lock().expect("no panic").push(**value));
        Self {
            cache,
            events,
            data: DataWatch::new(client, NODE).expect("legal"),
            seen: None,
            changes: 0,
            told,
            _following: following.expect("open"),
            setting,
            settings,
        }
    }

    /// Takes what is new; it is newer than what was seen before.
    fn look(&mut self, most: Duration) {
        // Without a connection there is nothing to see.
        while let Ok(seen) = self.data.recv_timeout(most) {
            if let (Some(seen), Some(last)) = (&seen, &self.seen) {
                assert!(seen.stat.mzxid > last.stat.mzxid, "{seen:?} after {last:?}");
            }
            self.changes += 1;
            // What is deleted stays known, for what comes after.
            self.seen = seen.or_else(|| self.seen.take());
        }
    }
}

impl Watches {
    pub(crate) fn new(clients: &[Client], witness: &Client) -> Self {
        // The node itself comes later: nothing is told of what is there from the first.
        for (path, data) in [(TREE, ""), (SETTING, "0")] {
            witness.create(path, data, CreateMode::Persistent).expect("new");
        }
        // Or they may be told of it as of a change.
        for client in clients {
            client.sync("/").expect("serves");
        }
        let eyes = clients.iter().map(Eyes::new).map(Mutex::new).collect();
        Self { eyes, clients: clients.to_vec(), steps: AtomicUsize::new(0) }
    }
}

impl Play for Watches {
    fn turn(&self, who: usize) {
        let client = &self.clients[who];
        for _ in 0..8 {
            let step = self.steps.fetch_add(1, Ordering::SeqCst) + 1;
            // Most of them are seldom changed: or whoever missed a change would see the next.
            let node = if fastrand::u8(..4) == 0 { 0 } else { fastrand::u8(..60) };
            let mut path = format!("{TREE}/{node}");
            if fastrand::bool() {
                path += &format!("/{}", fastrand::u8(..6));
            }
            let step = step.to_string();
            // Whatever becomes of it.
            let _ = match fastrand::u8(..8) {
                0..=2 => client.create(&path, step, CreateMode::Persistent).map(drop),
                3 => client.delete_recursive(&path).map(drop),
                4 => client.set_data(SETTING, step, Version::Any).map(drop),
                _ => client.set_data(&path, step, Version::Any).map(drop),
            };
        }
        self.eyes[who].lock().expect("no panic").look(ms(30));
    }

    fn settle(&self, witness: &Client) {
        let start = Instant::now();
        let mut eyes: Vec<_> =
            self.eyes.iter().map(|eyes| eyes.lock().expect("no panic")).collect();
        for eyes in &eyes {
            await_same(&eyes.cache, witness);
        }
        figure("ensemble, e19: until all caches were the tree", start.elapsed());
        let (mut events, mut children, mut data) = (0, 0, 0);
        let setting = number(&witness.get_data(SETTING).expect("there").0).expect("a number");
        // Of a node that is there, so that there is something to compare.
        let _ = witness.create(NODE, "", CreateMode::Persistent);
        let _ = witness.create(&format!("{NODE}/last"), "", CreateMode::Persistent);
        witness.set_data(NODE, "last", Version::Any).expect("there");
        let (names, stat) = {
            let names = witness.get_children(NODE).expect("there");
            (names, witness.exists(NODE).expect("answered").expect("there"))
        };
        for eyes in &mut eyes {
            eventually("the last data", patience(), || {
                eyes.look(ms(30));
                eyes.seen
                    .as_ref()
                    .is_some_and(|seen| (&seen.data[..], seen.stat) == (b"last", stat))
            });
            data += eyes.changes;
            let mut last: Option<NodeChildren> = None;
            while last.as_ref().is_none_or(|last| last.stat.pzxid != stat.pzxid) {
                let seen = eyes.told.recv_timeout(patience()).expect("told").expect("no error");
                if let (Some(seen), Some(last)) = (&seen, &last) {
                    assert!(seen.stat.pzxid > last.stat.pzxid, "{seen:?} after {last:?}");
                }
                children += 1;
                last = seen.or(last);
            }
            let mut seen = last.map(|last| last.names).unwrap_or_default();
            seen.sort();
            let mut names = names.clone();
            names.sort();
            assert_eq!(seen, names);
            eventually("the setting", patience(), || *eyes.setting.get() == setting);
            events += assert_in_order(&eyes.events);
        }
        let steps = self.steps.load(Ordering::SeqCst);
        figure(
            "ensemble, e19: steps; events of caches, changes of data and of children heard",
            (steps, events, data, children),
        );
        assert!(events > 50 && data > 3 && children > 3, "too little was heard");
    }

    /// The settings that were told were set in this order.
    fn judge(&self, log: &[Txn]) {
        let changes = log.iter().flat_map(|txn| &txn.changes);
        let sets = changes.filter(|it| it.op == op::SET_DATA && it.path == SETTING);
        let set: Vec<_> =
            sets.map(|it| number(it.data.as_deref().unwrap_or_default()).expect("ours")).collect();
        let mut count = 0;
        for eyes in &self.eyes {
            let mut rest = set.iter();
            let told = eyes.lock().expect("no panic").settings.lock().expect("no panic").clone();
            for value in &told {
                let is_next = rest.any(|set| set == value);
                assert!(is_next, "{value} was told out of order: {told:?} of {set:?}");
            }
            count += told.len();
        }
        figure("ensemble, e19: settings set, told", (set.len(), count));
        assert!(count > 3, "too little was told");
    }
}
