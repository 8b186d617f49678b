//! E17: a set whose members come and go, die, are cut off and lose their sessions, on three servers
//! that are killed and stand still.
//!
//! Kazoo #271, #283. `ZK_TEST_CHURN_S` says how many seconds it goes on (12 by default).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use zookeeper_blocking::recipes::{Hold, Partition, PartitionState, Partitioner};
use zookeeper_blocking::{Client, CreateMode, Pending, Stat, op};

use crate::clients::patience;
use crate::ensemble::trouble::{Lines, OverWhenDropped, Upsets, churn_time, torment};
use crate::faults::figure;
use crate::locks::{Book, ms};
use crate::replay::{Line, committed};
use crate::support::server::Ensemble;
use crate::support::wait::{eventually, eventually_some, scaled};

const WORKERS: usize = 5;
const ITEMS: usize = 30;

/// What is known of the churn so far.
#[derive(Default)]
struct Churn {
    /// One for each item.
    books: Vec<Book>,
    /// How many items each worker has.
    owned: Vec<AtomicUsize>,
    /// Members do not leave and die any more.
    is_calm: AtomicBool,
    is_over: AtomicBool,
    partitions: AtomicUsize,
    /// Members that go: every other one dies.
    gone: AtomicUsize,
    left: AtomicUsize,
    died: AtomicUsize,
    lost: AtomicUsize,
}

impl Churn {
    fn is_calm(&self) -> bool {
        self.is_calm.load(Ordering::SeqCst)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// Holds a share until the party changes, it is lost, or there was enough of it; gives what it
    /// was at last, by its own word.
    fn hold(&self, worker: usize, partition: &Partition<usize>, most: Duration) -> PartitionState {
        let from = Instant::now();
        let mut until = None;
        let state = loop {
            let (now, state) = (Instant::now(), partition.state());
            if state == PartitionState::Failure {
                break state;
            }
            until = Some(now);
            self.owned[worker].store(partition.len(), Ordering::SeqCst);
            let is_enough = now - from > most && !self.is_calm();
            if state == PartitionState::Release || is_enough || self.is_over() {
                break state;
            }
            partition.wait_change(ms(10));
        };
        self.owned[worker].store(0, Ordering::SeqCst);
        if let Some(until) = until {
            for (item, hold) in partition.iter() {
                self.books[*item].note(hold.fence(), from, until);
            }
        }
        state
    }

    /// Joins, takes shares and gives them up, leaves or dies, and comes again.
    fn work(&self, worker: usize, connect: impl Fn() -> Client) {
        let mut client = connect();
        while !self.is_over() {
            let name = format!("w{worker}");
            let set = Partitioner::new(&client, "/set", &name, 0..ITEMS).expect("legal");
            // What the proxy does to us may last longer than this.
            let Ok(member) = set.settle(ms(30)).join_timeout(scaled(ms(5_000))) else { continue };
            let mut is_member = true;
            while is_member && !self.is_over() {
                let Ok(partition) = member.acquire_timeout(scaled(ms(3_000))) else { continue };
                self.partitions.fetch_add(1, Ordering::SeqCst);
                // Every other time it goes soon.
                let most = if fastrand::bool() { ms(fastrand::u64(..400)) } else { Duration::MAX };
                // Nobody waits for the answers.
                let _marks = mark(&partition);
                let state = self.hold(worker, &partition, most);
                if state == PartitionState::Failure {
                    self.lost.fetch_add(1, Ordering::SeqCst);
                }
                is_member = state != PartitionState::Acquired || self.is_calm();
                let goes = |it: &Self| it.gone.fetch_add(1, Ordering::SeqCst) % 2 == 0;
                if is_member || goes(self) {
                    // Or in the background, by its drop.
                    let _ = fastrand::bool().then(|| partition.release());
                    continue;
                }
                // As a process that is killed: nothing is given up, and nobody is told.
                client.detach().expect("not closed");
                self.died.fetch_add(1, Ordering::SeqCst);
                client = connect();
            }
            self.left.fetch_add(usize::from(!is_member), Ordering::SeqCst);
        }
    }
}

/// Writes the fences under which this worker believes to own the items; the answers are to come.
fn mark(partition: &Partition<usize>) -> Vec<Pending<Stat>> {
    let write = |(item, hold): (&usize, &Hold)| {
        let set = op::SetData::new(format!("/marks/{item}"), hold.fence().to_string());
        hold.session().submit(set).ok()
    };
    partition.iter().filter_map(write).collect()
}

#[test]
fn e17_churn_never_overlaps_with_equal_tokens_and_ends_with_all_items_owned() {
    let ensemble = Ensemble::start(3);
    let (lines, upsets): (Vec<_>, _) =
        ((0..WORKERS).map(|_| Lines::new(&ensemble)).collect(), Upsets::default());
    let setup = Client::connect(&ensemble.connect_string()).expect("serves");
    setup.ensure_path("/marks").expect("made");
    for item in 0..ITEMS {
        setup.create(&format!("/marks/{item}"), b"0", CreateMode::Persistent).expect("new");
    }
    let churn = Churn {
        books: (0..ITEMS).map(|_| Book::default()).collect(),
        owned: (0..WORKERS).map(|_| AtomicUsize::new(0)).collect(),
        ..Churn::default()
    };
    let connect = |worker: usize| {
        let builder = || {
            let builder = Client::builder(&lines[worker].connect_string());
            builder.session_timeout(ms(1_000)).call_timeout(scaled(ms(3_000)))
        };
        // Through a black hole, perhaps.
        eventually_some("connected", 2 * patience(), || builder().connect().ok())
    };
    let faults = thread::scope(|scope| {
        let over = OverWhenDropped(&churn.is_over);
        for worker in 0..WORKERS {
            let (churn, connect) = (&churn, &connect);
            scope.spawn(move || churn.work(worker, || connect(worker)));
        }
        let end = Instant::now() + churn_time(12);
        // On a busy machine until there is something to judge.
        let is_enough = || {
            let died = churn.died.load(Ordering::SeqCst);
            let marks =
                setup.submit_all((0..ITEMS).map(|item| op::Exists::new(format!("/marks/{item}"))));
            let marks = marks.map(|marks| marks.wait()).unwrap_or_default();
            let marked = |it: &Option<Stat>| it.as_ref().is_some_and(|stat| stat.version > 2);
            let marked = marks.iter().all(|it| it.as_ref().is_ok_and(marked));
            died > 0 && churn.left.load(Ordering::SeqCst) > died && !marks.is_empty() && marked
        };
        let faults = torment(&ensemble, &lines, &upsets, || {
            let now = Instant::now();
            now > end + 3 * patience() || now > end && is_enough()
        });
        churn.is_calm.store(true, Ordering::SeqCst);
        let calm = Instant::now();
        eventually("all items are owned", Duration::from_secs(30), || {
            churn.owned.iter().map(|owned| owned.load(Ordering::SeqCst)).sum::<usize>() == ITEMS
        });
        figure("e17: all items owned after calm", calm.elapsed());
        drop(over);
        faults
    });
    let count = |count: &AtomicUsize| count.load(Ordering::SeqCst);
    figure("e17: faults", &faults);
    let (left, died, lost) = (count(&churn.left), count(&churn.died), count(&churn.lost));
    figure(
        "e17: members that left or died, that died, that lost their session",
        (left, died, lost),
    );
    // By the clock of this process.
    let excused = AtomicUsize::new(0);
    let is_excused = |from| {
        let is_excused = upsets.excuse_at(from);
        excused.fetch_add(usize::from(is_excused), Ordering::SeqCst);
        is_excused
    };
    let tenures: usize = churn.books.iter().map(|book| book.judge_unless(is_excused)).sum();
    figure("e17: overlaps by the clock while a server was upset", excused);
    figure("e17: partitions, tenures of items", (count(&churn.partitions), tenures));
    // By the servers' logs: at each zxid.
    let log = committed(ensemble.nodes());
    let mut lines: Vec<_> = (0..ITEMS)
        .map(|item| Line::new(&format!("/set/locks/{item}"), &format!("/marks/{item}")))
        .collect();
    for txn in &log {
        lines.iter_mut().for_each(|line| line.step(txn));
    }
    let marks: Vec<_> = lines.iter().map(Line::marks).collect();
    figure("e17: transactions, marks", (log.len(), marks.iter().sum::<usize>()));
    // Or too little happened.
    assert!(marks.iter().all(|marks| *marks > 2), "{marks:?}");
    assert!(faults.len() > 4 && left > died && died > 0, "{left} left, {died} died");
}
