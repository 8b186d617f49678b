//! E1: no two holders with equal or non-increasing fences, whatever is stopped, cut, killed or
//! expires; and the semaphore never over its limit.
//!
//! Four processes hold a lock, a semaphore, an office and a lease all the time, each through proxies
//! of its own, on three servers. Each round is one fault:
//!
//! | suspended | lines cut, held up, or replies lost and the line cut; the session survives |
//! | expired | lines dead, or refused, for longer than the session lives |
//! | paused | the process stands still (SIGSTOP), for less or for longer than its session lives |
//! | killed | the process is killed (-9), and another comes |
//! | server | a server, the leader among them, is killed (-9) or stands still |
//!
//! `ZK_TEST_ROUNDS` says how many rounds (48 by default: about 40 s).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use zookeeper_blocking::{Client, CreateMode};

use crate::ensemble::trouble::{Lines, Tally, Upsets, long, rounds, short};
use crate::faults::figure;
use crate::locks::ms;
use crate::nemesis_actor::{Actor, MAX, ROOT, Word, now_us, play};
use crate::replay::{Line, Room, committed, marks};
use crate::support::server::Ensemble;
use crate::support::txnlog::Txn;
use crate::support::wait::eventually;
use crate::support::wire::op;

const ACTORS: usize = 4;
const RECIPES: [&str; 4] = ["lead", "lease", "lock", "sem"];
const TEST: &str = "nemesis::e1_no_two_holders_with_equal_or_non_increasing_fences_under_a_nemesis";

/// When an actor believed to hold, by its own word.
#[derive(Clone, Copy, Debug)]
struct Tenure {
    /// Which process: each has a number of its own.
    life: usize,
    fence: i64,
    from_us: u64,
    until_us: u64,
}

/// What is known so far.
#[derive(Default)]
struct Book {
    /// By recipe and fence.
    tenures: Mutex<BTreeMap<(String, i64), Tenure>>,
    expired: AtomicUsize,
    lives: AtomicUsize,
    faults: Tally,
    upsets: Upsets,
}

impl Book {
    fn hear(&self, life: usize, word: Word) {
        match word {
            Word::Expired => drop(self.expired.fetch_add(1, Ordering::SeqCst)),
            Word::Held { what, fence, from_us, until_us } => {
                let new = Tenure { life, fence, from_us, until_us };
                let mut tenures = self.tenures.lock().expect("no panic");
                let known = *tenures
                    .entry((what, fence))
                    .and_modify(|it| it.until_us = until_us)
                    .or_insert(new);
                drop(tenures);
                assert_eq!(
                    (known.life, known.from_us),
                    (life, from_us),
                    "one fence for two: {new:?}"
                );
            }
        }
    }

    fn of(&self, recipe: &str) -> Vec<Tenure> {
        let tenures = self.tenures.lock().expect("no panic");
        tenures.iter().filter(|((what, _), _)| what == recipe).map(|(_, it)| *it).collect()
    }

    /// Those who held one after the other by their fences held in turn by the clock, too, but for
    /// upsets. Gives how often for those.
    #[track_caller]
    fn judge(&self, recipe: &str, at_once: usize) -> usize {
        let tenures = self.of(recipe);
        let mut excused = 0;
        // Of those with smaller fences, the ones that held longest.
        let mut last: Vec<Tenure> = Vec::new();
        for tenure in tenures {
            let beside: Vec<_> =
                last.iter().filter(|other| other.until_us > tenure.from_us).copied().collect();
            last.push(tenure);
            last.sort_by_key(|it| std::cmp::Reverse(it.until_us));
            last.truncate(at_once);
            if beside.len() < at_once {
                continue;
            }
            assert!(self.upsets.excuse(tenure.from_us), "{recipe}: {tenure:?} beside {beside:?}");
            excused += 1;
        }
        excused
    }
}

/// One actor, and the lines that it hangs on.
struct Stage {
    book: Arc<Book>,
    lines: Lines,
    actor: Actor,
}

impl Stage {
    fn new(book: &Arc<Book>, ensemble: &Ensemble) -> Self {
        let lines = Lines::new(ensemble);
        let actor = Self::act(book, &lines);
        Self { book: book.clone(), lines, actor }
    }

    fn act(book: &Arc<Book>, lines: &Lines) -> Actor {
        let (life, book) = (book.lives.fetch_add(1, Ordering::SeqCst), book.clone());
        Actor::start(TEST, &lines.connect_string(), move |word| book.hear(life, word))
    }

    /// One fault of this kind, and its end. The session lives for 1 s.
    fn suffer(&mut self, kind: usize) -> &'static str {
        match kind.checked_sub(Lines::KINDS) {
            None => return self.lines.suffer(kind),
            Some(0) => self.actor.pause(short()),
            Some(1) => self.actor.pause(long()),
            Some(_) => {
                self.actor.kill();
                self.actor = Self::act(&self.book, &self.lines);
            }
        }
        ["paused: short", "paused: long", "killed"][kind - Lines::KINDS]
    }
}

const KINDS: usize = Lines::KINDS + 3;

#[test]
fn e1_no_two_holders_with_equal_or_non_increasing_fences_under_a_nemesis() {
    if play() {
        return;
    }
    let started = Instant::now();
    let ensemble = Ensemble::start(3);
    let setup = Client::connect(&ensemble.connect_string()).expect("serves");
    setup.ensure_path(&format!("{ROOT}/marks")).expect("made");
    for recipe in RECIPES {
        let mark = format!("{ROOT}/marks/{recipe}");
        setup.create(&mark, b"0", CreateMode::Persistent).expect("new");
    }
    let book = Arc::new(Book::default());
    let mut stages: Vec<_> = (0..ACTORS).map(|_| Stage::new(&book, &ensemble)).collect();
    await_tenures(&book, now_us(), 1);
    let (rounds, begun) = (rounds(48), AtomicUsize::new(0));
    let is_over = || begun.fetch_add(1, Ordering::SeqCst) >= rounds;
    thread::scope(|scope| {
        for (index, stage) in stages.iter_mut().enumerate() {
            let (book, is_over) = (&book, &is_over);
            scope.spawn(move || {
                for round in 0.. {
                    thread::sleep(ms(fastrand::u64(300..3_000)));
                    if is_over() {
                        break;
                    }
                    // All kinds in turn, and not the same for all.
                    book.faults.note(stage.suffer((round + index * 3) % KINDS));
                }
            });
        }
        scope.spawn(|| {
            for round in 0.. {
                thread::sleep(ms(fastrand::u64(1_000..4_000)));
                if is_over() {
                    break;
                }
                book.faults.note(book.upsets.upset(&ensemble, round));
            }
        });
    });
    // All of them hold all again, soon.
    let calm = Instant::now();
    await_tenures(&book, now_us(), ACTORS);
    figure("nemesis: until all held everything again", calm.elapsed());
    stages.into_iter().for_each(|stage| stage.actor.finish());
    await_nobody(&ensemble);
    figure("nemesis: rounds, time", (rounds, started.elapsed()));
    figure("nemesis: faults", book.faults.counts());
    let (expired, lives) = (&book.expired, &book.lives);
    figure("nemesis: sessions that expired under a client, processes", (expired, lives));
    let log = committed(ensemble.nodes());
    let seen = judge_log(&log, &book);
    figure(
        "nemesis: transactions; marks in the lock, the office, the semaphore",
        (log.len(), seen),
    );
    for recipe in RECIPES {
        let at_once = if recipe == "sem" { MAX as usize } else { 1 };
        let excused = book.judge(recipe, at_once);
        let figures = (book.of(recipe).len(), excused);
        figure(&format!("nemesis: {recipe}: tenures, overlaps while a server was upset"), figures);
    }
    assert!(seen.iter().all(|marks| *marks > rounds / 2), "too little happened: {seen:?}");
}

/// Waits until so many processes held each of the recipes after `since`.
#[track_caller]
fn await_tenures(book: &Book, since_us: u64, count: usize) {
    eventually("everybody holds everything", Duration::from_secs(60), || {
        RECIPES.iter().all(|recipe| {
            let tenures = book.of(recipe);
            let lives = tenures.iter().filter(|it| it.from_us > since_us).map(|it| it.life);
            lives.collect::<BTreeSet<_>>().len() >= count
        })
    });
}

/// No orphan is left, of whatever came to an end.
#[track_caller]
fn await_nobody(ensemble: &Ensemble) {
    let client = Client::connect(&ensemble.connect_string()).expect("serves");
    for room in ["lock", "sem", "sem-__lock__", "lead", "lease"] {
        eventually(&format!("nobody is in {room}"), Duration::from_secs(10), || {
            let names = client.get_children(&format!("{ROOT}/{room}")).expect("answered");
            names.iter().all(|name| name == "lease_holder")
        });
    }
}

/// The servers' own view: at each zxid. Gives how many marks there were in the lock, the office and
/// the semaphore.
#[track_caller]
fn judge_log(log: &[Txn], book: &Book) -> [usize; 3] {
    let at = |name: &str| format!("{ROOT}/{name}");
    let mark = |name: &str| format!("{ROOT}/marks/{name}");
    let [mut lock, mut lead] = ["lock", "lead"].map(|name| Line::new(&at(name), &mark(name)));
    let (mut leases, sem) = (Room::new(&at("sem")), mark("sem"));
    let (mut marked, mut most) = (0, 0);
    for txn in log {
        lock.step(txn);
        lead.step(txn);
        for fence in marks(txn, &sem) {
            let session = leases.of_fence(fence).map(|it| it.session);
            assert_eq!(session, Some(txn.session), "0x{fence:x} at 0x{:x}", txn.zxid);
            marked += 1;
        }
        leases.step(txn);
        assert!(leases.len() <= MAX as usize, "at 0x{:x}: {leases:x?}", txn.zxid);
        most = most.max(leases.len());
    }
    assert_eq!(most, MAX as usize, "all of them were taken at times");
    // Each fence is the zxid at which a node of the recipe was made.
    for recipe in RECIPES {
        let prefix = format!("{}/", at(recipe));
        let makes = |txn: &&Txn| {
            let is_made = |op| matches!(op, op::CREATE | op::CREATE2);
            txn.changes.iter().any(|it| is_made(it.op) && it.path.starts_with(&prefix))
        };
        let made: BTreeSet<_> = log.iter().filter(makes).map(|txn| txn.zxid).collect();
        let unknown: Vec<_> =
            book.of(recipe).into_iter().filter(|it| !made.contains(&it.fence)).collect();
        assert!(unknown.is_empty(), "{recipe}: nobody made {unknown:x?}");
    }
    [lock.marks(), lead.marks(), marked]
}
