//! E8: each change of a number is counted once.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use zookeeper_blocking::recipes::{AtomicValue, Counter, SharedCount};
use zookeeper_blocking::{Applied, Client, CreateMode, Result};

use crate::ensemble::play::Play;
use crate::faults::figure;
use crate::support::txnlog::Txn;
use crate::support::wire::op;

/// A number that all clients add one to.
pub(crate) struct Numbers {
    clients: Vec<Client>,
    books: Vec<Book>,
}

struct Book {
    path: &'static str,
    /// One more; gives what it is then, or nothing if another was faster.
    add: fn(&Client) -> Result<Option<i64>>,
    /// What the node's data mean.
    read: fn(&[u8]) -> i64,
    told: Mutex<Vec<i64>>,
    unknown: AtomicUsize,
}

const COUNTER: &str = "/play/counter";
const SHARED: &str = "/play/shared";
const VALUE: &str = "/play/value";

fn text(data: &[u8]) -> i64 {
    std::str::from_utf8(data).expect("text").parse().expect("a number")
}

fn add_to_counter(client: &Client) -> Result<Option<i64>> {
    let counter = Counter::<i64>::new(client, COUNTER).expect("legal");
    counter.add(1).map(|change| Some(change.after))
}

fn add_to_shared(client: &Client) -> Result<Option<i64>> {
    let count = SharedCount::new(client, SHARED, 0)?;
    let read = count.get()?;
    let is_set = count.try_set(&read, read.value + 1)?;
    Ok(is_set.then(|| i64::from(read.value + 1)))
}

fn add_to_value(client: &Client) -> Result<Option<i64>> {
    let value = AtomicValue::new(client, VALUE).expect("legal");
    let change = value.update(|data| Some((text(data) + 1).to_string().into_bytes()))?;
    Ok(Some(text(&change.after)))
}

impl Numbers {
    pub(crate) fn new(clients: &[Client], witness: &Client) -> Self {
        for (path, zero) in [(COUNTER, &b"0"[..]), (SHARED, &[0; 4]), (VALUE, b"0")] {
            witness.create(path, zero, CreateMode::Persistent).expect("new");
        }
        let book = |path, add, read| Book {
            path,
            add,
            read,
            told: Mutex::default(),
            unknown: AtomicUsize::new(0),
        };
        let four = |data: &[u8]| i64::from(i32::from_be_bytes(data.try_into().expect("four")));
        let books = vec![
            book(COUNTER, add_to_counter, text),
            book(SHARED, add_to_shared, four),
            book(VALUE, add_to_value, text),
        ];
        Self { clients: clients.to_vec(), books }
    }
}

impl Play for Numbers {
    fn turn(&self, who: usize) {
        for book in &self.books {
            match (book.add)(&self.clients[who]) {
                Ok(told) => book.told.lock().expect("no panic").extend(told),
                Err(error) if error.applied() == Applied::Unknown => {
                    book.unknown.fetch_add(1, Ordering::SeqCst);
                }
                Err(_) => {}
            }
        }
    }

    fn settle(&self, _: &Client) {}

    fn judge(&self, log: &[Txn]) {
        for book in &self.books {
            let changes = log.iter().flat_map(|txn| &txn.changes);
            let sets = changes.filter(|it| it.op == op::SET_DATA && it.path == book.path);
            let values: Vec<_> =
                sets.map(|set| (book.read)(set.data.as_deref().unwrap_or_default())).collect();
            // One after the other, each one more.
            let expected: Vec<_> = (1..=values.len() as i64).collect();
            assert_eq!(values, expected, "{}", book.path);
            let told = book.told.lock().expect("no panic");
            let unique: HashSet<_> = told.iter().collect();
            assert_eq!(unique.len(), told.len(), "{}: one number told to two", book.path);
            let (sum, unknown) = (values.len(), book.unknown.load(Ordering::SeqCst));
            figure(
                &format!("ensemble, e8, {}: told, unknown, sum", book.path),
                (told.len(), unknown, sum),
            );
            assert!(told.len() <= sum && sum <= told.len() + unknown, "{}", book.path);
            assert!(told.iter().all(|told| *told <= sum as i64) && sum > 10);
        }
    }
}
