//! E17: a set whose members come and go, die, are cut off and lose their sessions.
//!
//! Kazoo #271, #283. `ZK_TEST_CHURN_S` says how many seconds it goes on (12 by default).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use zookeeper_blocking::recipes::{Hold, Partition, PartitionState, Partitioner};
use zookeeper_blocking::{Client, CreateMode, Pending, Stat, op};

use crate::clients::patience;
use crate::faults::figure;
use crate::locks::{Book, ms};
use crate::replay::Line;
use crate::support::proxy::Proxy;
use crate::support::server::Server;
use crate::support::txnlog;
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

/// What the proxies do meanwhile, and on a busy machine until there is something to judge; gives how
/// often they did what.
fn disturb(
    proxies: &[Proxy],
    time: Duration,
    is_enough: impl Fn() -> bool,
) -> BTreeMap<&'static str, usize> {
    let mut done = BTreeMap::new();
    let start = Instant::now();
    for round in 0.. {
        let took = start.elapsed();
        if took > time && (done.len() == 3 && is_enough() || took > time + 3 * patience()) {
            break;
        }
        let proxy = &proxies[fastrand::usize(..proxies.len())];
        let what = match round % 4 {
            0 => {
                proxy.cut();
                "cut"
            }
            1 => {
                // Longer than the session lives.
                proxy.black_hole();
                thread::sleep(ms(1_500));
                proxy.cut();
                proxy.heal();
                "expired"
            }
            _ => {
                proxy.hold_both();
                thread::sleep(ms(fastrand::u64(100..700)));
                proxy.heal();
                "held up"
            }
        };
        *done.entry(what).or_default() += 1;
        thread::sleep(ms(fastrand::u64(50..400)));
    }
    done
}

#[test]
fn e17_churn_never_overlaps_with_equal_tokens_and_ends_with_all_items_owned() {
    let server = Server::start();
    let proxies: Vec<_> = (0..WORKERS).map(|_| Proxy::start(server.address())).collect();
    let setup = Client::connect(&server.connect_string()).expect("serves");
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
            let builder = Client::builder(&proxies[worker].connect_string());
            builder.session_timeout(ms(1_000)).call_timeout(scaled(ms(3_000)))
        };
        // Through a black hole, perhaps.
        eventually_some("connected", patience(), || builder().connect().ok())
    };
    let mut faults = BTreeMap::new();
    thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (churn, connect) = (&churn, &connect);
            scope.spawn(move || churn.work(worker, || connect(worker)));
        }
        let time = std::env::var("ZK_TEST_CHURN_S").ok();
        let time = time.map_or(12, |text| text.parse().expect("ZK_TEST_CHURN_S: a number"));
        let is_enough = || {
            let died = churn.died.load(Ordering::SeqCst);
            let marks =
                setup.submit_all((0..ITEMS).map(|item| op::Exists::new(format!("/marks/{item}"))));
            let marks = marks.expect("room").wait();
            let marked = |it: &Option<Stat>| it.as_ref().is_some_and(|stat| stat.version > 2);
            let marked = marks.iter().all(|it| it.as_ref().is_ok_and(marked));
            died > 0 && churn.left.load(Ordering::SeqCst) > died && marked
        };
        faults = disturb(&proxies, scaled(Duration::from_secs(time)), is_enough);
        churn.is_calm.store(true, Ordering::SeqCst);
        let calm = Instant::now();
        eventually("all items are owned", Duration::from_secs(30), || {
            churn.owned.iter().map(|owned| owned.load(Ordering::SeqCst)).sum::<usize>() == ITEMS
        });
        figure("e17: all items owned after calm", calm.elapsed());
        churn.is_over.store(true, Ordering::SeqCst);
    });
    let count = |count: &AtomicUsize| count.load(Ordering::SeqCst);
    figure("e17: faults", &faults);
    let (left, died, lost) = (count(&churn.left), count(&churn.died), count(&churn.lost));
    figure(
        "e17: members that left or died, that died, that lost their session",
        (left, died, lost),
    );
    // By the clock of this process.
    let tenures: usize = churn.books.iter().map(Book::judge).sum();
    figure("e17: partitions, tenures of items", (count(&churn.partitions), tenures));
    // By the server's log: at each zxid.
    let log = txnlog::read(&server.data());
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
    assert!(faults.len() == 3 && left > died && died > 0, "{left} left, {died} died");
}
