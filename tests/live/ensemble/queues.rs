//! E11: each item is had once, of each sort of queue.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use zookeeper_blocking::{Applied, Client};

use crate::ensemble::play::{CLIENTS, Play};
use crate::faults::figure;
use crate::locks::ms;
use crate::queue_sorts::{SEVERAL, Sort};
use crate::support::txnlog::Txn;
use crate::support::wait::eventually;
use crate::support::wire::op;

/// What a producer was told of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Put {
    Done,
    Never,
    Unknown,
}

/// All clients put and take.
pub(crate) struct Queues {
    sort: Sort,
    path: String,
    clients: Vec<Client>,
    turns: [AtomicUsize; CLIENTS],
    put: Mutex<HashMap<String, Put>>,
    had: Mutex<Vec<String>>,
    /// How many may have been taken beyond those that were had.
    unknown: AtomicUsize,
}

impl Queues {
    pub(crate) fn new(sort: Sort, clients: &[Client]) -> Self {
        Self {
            sort,
            path: format!("/play/{}", sort.name.replace(' ', "-")),
            clients: clients.to_vec(),
            turns: Default::default(),
            put: Mutex::default(),
            had: Mutex::default(),
            unknown: AtomicUsize::new(0),
        }
    }

    fn put(&self, who: usize) {
        let turn = self.turns[who].fetch_add(1, Ordering::SeqCst);
        let items: Vec<_> = (0..3).map(|part| format!("<{who}-{turn}-{part}>")).collect();
        let told = match (self.sort.put)(&self.clients[who], &self.path, items.clone()) {
            Ok(_) => Put::Done,
            Err(error) if error.applied() == Applied::Unknown => Put::Unknown,
            Err(_) => Put::Never,
        };
        self.put.lock().expect("no panic").extend(items.into_iter().map(|item| (item, told)));
    }

    fn take(&self, client: &Client, waits: bool) {
        let mut items = Vec::new();
        let mut had = |item| items.push(String::from_utf8(item).expect("text"));
        let (taken, most) = if waits {
            ((self.sort.take)(client, &self.path, ms(500), &mut had), 1)
        } else {
            ((self.sort.try_take)(client, &self.path, &mut had), SEVERAL)
        };
        if taken.is_err_and(|error| error.applied() == Applied::Unknown) {
            self.unknown.fetch_add(most - items.len(), Ordering::SeqCst);
        }
        self.had.lock().expect("no panic").extend(items);
    }
}

impl Play for Queues {
    fn turn(&self, who: usize) {
        self.put(who);
        self.take(&self.clients[who], fastrand::bool());
        self.take(&self.clients[who], fastrand::bool());
    }

    /// What is left is taken.
    fn settle(&self, _: &Client) {
        let client = &self.clients[0];
        eventually(&format!("{} is empty", self.sort.name), ms(30_000), || {
            self.take(client, false);
            (self.sort.len)(client, &self.path).is_ok_and(|len| len == 0)
        });
    }

    fn judge(&self, log: &[Txn]) {
        let begins = format!("{}{}", self.path, self.sort.mark);
        let changes = log.iter().flat_map(|txn| &txn.changes);
        let (mut nodes, mut made, mut gone) = (HashMap::new(), HashMap::new(), HashMap::new());
        for change in changes.filter(|change| change.path.starts_with(&begins)) {
            match change.op {
                op::DELETE => {
                    let item: String = nodes.remove(&change.path).expect("it was made");
                    *gone.entry(item).or_insert(0) += 1;
                }
                // Who holds an item marks that.
                op::SET_DATA => {}
                _ => {
                    let item = item_in(change.data.as_deref().expect("an item"));
                    *made.entry(item.clone()).or_insert(0) += 1;
                    nodes.insert(change.path.clone(), item);
                }
            }
        }
        assert!(nodes.is_empty(), "{}: left {nodes:?}", self.sort.name);
        let put = self.put.lock().expect("no panic");
        let (mut done, mut unknown_made, mut unknown_not) = (0, 0, 0);
        for (item, told) in put.iter() {
            match (told, made.get(item).copied().unwrap_or(0)) {
                (Put::Done, 1) => done += 1,
                (Put::Never, 0) => {}
                (Put::Unknown, 0) => unknown_not += 1,
                (Put::Unknown, 1) => unknown_made += 1,
                (told, count) => panic!("{}: {item}: {told:?}, put {count} times", self.sort.name),
            }
        }
        assert!(made.keys().all(|item| put.contains_key(item)), "what nobody put");
        let had = self.had.lock().expect("no panic");
        let unique: HashSet<_> = had.iter().collect();
        assert_eq!(unique.len(), had.len(), "{}: had twice", self.sort.name);
        for item in had.iter() {
            assert_eq!(gone.get(item), Some(&1), "{}: {item} was had", self.sort.name);
        }
        let (lost, unknown) = (gone.len() - had.len(), self.unknown.load(Ordering::SeqCst));
        assert!(lost <= unknown, "{}: {lost} lost, {unknown} unknown", self.sort.name);
        figure(
            &format!(
                "ensemble, e11, {}: put, of unknown outcome and put, and not; had; deleted and not \
                 had, of at most",
                self.sort.name
            ),
            (done, unknown_made, unknown_not, had.len(), lost, unknown),
        );
        assert!(had.len() > 10, "{}: hardly any item came", self.sort.name);
    }
}

/// The text between angles in what a queue writes around an item.
fn item_in(data: &[u8]) -> String {
    let text = String::from_utf8_lossy(data);
    let (from, until) = (text.find('<').expect("an item"), text.find('>').expect("an item"));
    text[from..=until].to_owned()
}
