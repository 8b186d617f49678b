//! A load of writes, what each call was told, and the server's log as judge.
//!
//! Every call writes a value that no other call writes. So the transaction log tells of each how
//! often it was applied, and in which order: acknowledged means exactly once, at the zxid of the
//! reply; *not applied* means never; *unknown* means at most once. And what one thread submitted
//! is in the log in the order of its submission, over all reconnects of the session.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use zookeeper_blocking::{Applied, Client, Code, CreateMode, Error, OpResult, Pending, Result, op};

use crate::support::txnlog;
use crate::support::wait::eventually;

/// What a call was told.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    Done { zxid: i64 },
    NotApplied,
    Unknown,
}

/// What one thread submitted, in its order.
#[derive(Debug, Default)]
pub(crate) struct Book {
    calls: Vec<(String, Told)>,
    /// The longest that a call took beyond its deadline.
    overrun: Duration,
    /// When each acknowledged call was acknowledged.
    done_at: Vec<Instant>,
}

impl Book {
    /// Notes what came of the call that wrote `value`; gives the error, if it was one.
    pub(crate) fn note(&mut self, value: String, result: Result<i64>) -> Option<Error> {
        let (told, error) = match result {
            Ok(zxid) => (Told::Done { zxid }, None),
            Err(error) => {
                let told = match error.applied() {
                    Applied::No => Told::NotApplied,
                    _ => Told::Unknown,
                };
                (told, Some(error))
            }
        };
        if matches!(told, Told::Done { .. }) {
            self.done_at.push(Instant::now());
        }
        self.calls.push((value, told));
        error
    }
}

/// What came of all calls.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) done: usize,
    pub(crate) not_applied: usize,
    /// Told unknown, and found in the log.
    pub(crate) unknown_applied: usize,
    /// Told unknown, and not found in the log.
    pub(crate) unknown_not: usize,
}

impl Tally {
    pub(crate) fn unknown(&self) -> usize {
        self.unknown_applied + self.unknown_not
    }
}

/// Compares what the calls were told with the log in `data`, which holds nothing else whose value
/// begins as theirs do.
#[track_caller]
pub(crate) fn judge(data: &Path, books: &[Book]) -> Tally {
    judge_all([data], books)
}

/// As [`judge`], by the logs of an ensemble together: one that comes back after a while is given a
/// snapshot, and its log lacks what was done meanwhile. What was acknowledged is in some log, as a
/// quorum had written it.
#[track_caller]
pub(crate) fn judge_all<'p>(data: impl IntoIterator<Item = &'p Path>, books: &[Book]) -> Tally {
    let mut log: HashMap<String, BTreeSet<i64>> = HashMap::new();
    for txn in data.into_iter().flat_map(txnlog::read) {
        let values = txn.changes.iter().filter_map(|change| change.data.clone());
        let values = values.filter_map(|value| String::from_utf8(value).ok());
        let values: HashSet<String> = values.filter(|value| value.starts_with(MARK)).collect();
        for value in values {
            log.entry(value).or_default().insert(txn.zxid);
        }
    }
    let mut tally = Tally::default();
    for book in books {
        let mut last = 0;
        for (value, told) in &book.calls {
            let found = log.remove(value).unwrap_or_default();
            assert!(found.len() <= 1, "{value} was applied twice: {found:x?}");
            match (told, found.first()) {
                (Told::Done { zxid }, Some(in_log)) => {
                    assert_eq!(zxid, in_log, "{value}: the reply's zxid is not the log's");
                    tally.done += 1;
                }
                (Told::Done { .. }, None) => panic!("{value} was acknowledged and never happened"),
                (Told::NotApplied, Some(_)) => panic!("{value} was `not applied`, and happened"),
                (Told::NotApplied, None) => tally.not_applied += 1,
                (Told::Unknown, Some(_)) => tally.unknown_applied += 1,
                (Told::Unknown, None) => tally.unknown_not += 1,
            }
            if let Some(zxid) = found.first() {
                assert!(*zxid > last, "{value} overtook what was submitted before");
                last = *zxid;
            }
        }
    }
    assert!(log.is_empty(), "nobody asked for {log:?}");
    tally
}

/// With what the values begin.
const MARK: &str = "value ";

/// Threads that write through one client, until they are told to stop.
#[derive(Debug)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    timeout: Duration,
    threads: Vec<JoinHandle<Book>>,
}

impl Load {
    /// Starts `blocking` threads that wait for each call and one that has 100 calls in flight.
    /// Each call of theirs has `timeout`. The nodes are made below `/load-<name>`.
    #[track_caller]
    pub(crate) fn start(client: &Client, name: &str, blocking: usize, timeout: Duration) -> Self {
        let root = format!("/load-{name}");
        client.create(&root, b"", CreateMode::Persistent).expect("nothing is broken yet");
        let (stop, done) = (Arc::default(), Arc::default());
        let mut load = Self { stop, done, timeout, threads: Vec::new() };
        for number in 0..=blocking {
            let node = format!("{root}/{number}");
            client.create(&node, b"", CreateMode::Persistent).expect("nothing is broken yet");
            let writer = Writer {
                client: client.with_timeout(timeout),
                node,
                book: Book::default(),
                timeout,
                next: 0,
                stop: Arc::clone(&load.stop),
                done: Arc::clone(&load.done),
            };
            let run = if number == 0 { Writer::pipeline } else { Writer::block };
            load.threads.push(thread::spawn(move || run(writer)));
        }
        load
    }

    /// Calls acknowledged so far.
    pub(crate) fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    /// Waits until so many more calls were acknowledged.
    #[track_caller]
    pub(crate) fn wait_more(&self, calls: usize) {
        let goal = self.done() + calls;
        eventually("the load goes on", Duration::from_secs(30), || self.done() >= goal);
    }

    /// Stops, and checks that no call overran its deadline.
    #[track_caller]
    pub(crate) fn finish(self) -> Vec<Book> {
        self.stop.store(true, Ordering::Relaxed);
        let books: Vec<Book> = self
            .threads
            .into_iter()
            .map(|thread| thread.join().expect("a writer that does not panic"))
            .collect();
        let overrun = books.iter().map(|book| book.overrun).max();
        // 100 ms is the promise (d13); the rest is for a machine with more threads than cores. With
        // long deadlines it is something else that is tested.
        let most = Duration::from_millis(400).max(self.timeout / 4);
        assert!(overrun <= Some(most), "a call came back {overrun:?} after its deadline");
        books
    }
}

/// The first acknowledgement after `start`, as a time from it.
pub(crate) fn first_done_after(books: &[Book], start: Instant) -> Option<Duration> {
    let times = books.iter().flat_map(|book| &book.done_at);
    times.filter_map(|at| at.checked_duration_since(start)).min()
}

struct Writer {
    client: Client,
    node: String,
    book: Book,
    timeout: Duration,
    next: u64,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
}

impl Writer {
    fn value(&mut self) -> String {
        self.next += 1;
        format!("{MARK}{}-{}", self.node, self.next)
    }

    /// One call at a time, of all kinds that write, those that must fail among them.
    fn block(mut self) -> Book {
        while !self.stop.load(Ordering::Relaxed) {
            let value = self.value();
            let start = Instant::now();
            let (client, node) = (&self.client, &self.node);
            let result = match self.next % 5 {
                0 => client.set_data(node, &value, i32::MAX).map(|s| s.mzxid),
                1 => {
                    let create = op::Create::new(format!("{node}/n-")).data(value.as_str());
                    let create = create.mode(CreateMode::PersistentSequential);
                    client.call(create).map(|created| created.zxid)
                }
                2 => {
                    let transaction = client.transaction().check(node, -7 + i32::MAX);
                    transaction
                        .set_data(node, value.as_str(), zookeeper_blocking::Version::Any)
                        .commit()
                        .map(|results| zxid_of(&results))
                }
                3 => {
                    let transaction = client.transaction();
                    transaction
                        .set_data(node, value.as_str(), zookeeper_blocking::Version::Any)
                        .create(format!("{node}/t-{}", self.next), value.as_str())
                        .commit()
                        .map(|results| zxid_of(&results))
                }
                _ => client
                    .set_data(node, &value, zookeeper_blocking::Version::Any)
                    .map(|stat| stat.mzxid),
            };
            let over = start.elapsed().saturating_sub(self.timeout);
            self.book.overrun = self.book.overrun.max(over);
            let meant = [0, 2].contains(&(self.next % 5));
            self.note(value, result, meant);
        }
        self.book
    }

    /// A hundred calls in flight.
    fn pipeline(mut self) -> Book {
        let mut flying = std::collections::VecDeque::new();
        loop {
            let stopping = self.stop.load(Ordering::Relaxed);
            if !stopping {
                let value = self.value();
                let set = op::SetData::new(self.node.as_str(), value.as_str());
                match self.client.submit(set) {
                    Ok(pending) => flying.push_back((value, pending)),
                    Err(error) => self.note(value, Err(error), false),
                }
            }
            if stopping || flying.len() >= 100 {
                let Some((value, pending)) = flying.pop_front() else {
                    return self.book;
                };
                let pending: Pending<_> = pending;
                let result = pending.wait().map(|stat| stat.mzxid);
                self.note(value, result, false);
            }
        }
    }

    /// `meant` calls are meant to be refused.
    fn note(&mut self, value: String, result: Result<i64>, meant: bool) {
        let acknowledged = result.is_ok();
        assert!(!(meant && acknowledged), "{value} had the wrong version");
        if let Some(error) = self.book.note(value, result) {
            let refused = matches!(error.code(), Some(Code::BadVersion)) && meant;
            assert!(refused || is_fault(&error), "{error}");
            if !refused && !error.is_connection() {
                // Nothing to wait for: the session is gone, or the client.
                thread::sleep(Duration::from_millis(1));
            }
        }
        self.done.fetch_add(usize::from(acknowledged), Ordering::Relaxed);
    }
}

/// Whether the error is one that faults of servers and lines may cause.
fn is_fault(error: &Error) -> bool {
    error.is_connection() || matches!(error, Error::SessionExpired { .. })
}

fn zxid_of(results: &[OpResult]) -> i64 {
    results
        .iter()
        .find_map(|result| result.stat().map(|stat| stat.mzxid))
        .expect("the transaction sets data")
}
