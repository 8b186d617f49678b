//! E15: readers and writers never mixed. E13: nobody passes a double barrier before all have come.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use zookeeper_blocking::recipes::{DoubleBarrier, LockGuard, ReadLock, WriteLock};
use zookeeper_blocking::{Client, CreateMode, Version};

use crate::ensemble::play::{CLIENTS, Play};
use crate::faults::figure;
use crate::locks::ms;
use crate::replay::{Room, marks};
use crate::support::txnlog::Txn;
use crate::support::wire::op;

/// Those who read and those who write.
pub(crate) struct Readers {
    clients: Vec<Client>,
    read: AtomicUsize,
    written: AtomicUsize,
}

const LOCK: &str = "/play/rw";
const LOCK_MARK: &str = "/play/rw-mark";

impl Readers {
    pub(crate) fn new(clients: &[Client], witness: &Client) -> Self {
        witness.create(LOCK_MARK, b"0", CreateMode::Persistent).expect("new");
        let (read, written) = Default::default();
        Self { clients: clients.to_vec(), read, written }
    }

    /// Says that it is held, while it is, as far as we know.
    fn hold(guard: LockGuard) -> usize {
        let fence = guard.fence().to_string();
        for _ in 0..2 {
            // Whether it goes through is the servers' matter; what they let through is judged.
            if fastrand::bool() {
                let _ = guard.session().set_data(LOCK_MARK, &fence, Version::Any);
            } else {
                let set = guard.transaction().set_data(LOCK_MARK, fence.as_str(), Version::Any);
                let _ = set.commit();
            }
            thread::sleep(ms(fastrand::u64(..20)));
        }
        if fastrand::bool() {
            let _ = guard.release();
        }
        1
    }
}

impl Play for Readers {
    fn turn(&self, who: usize) {
        let client = &self.clients[who];
        if fastrand::u8(..3) == 0 {
            let lock = WriteLock::new(client, LOCK).expect("legal");
            let held = lock.acquire_timeout(ms(2_000)).map_or(0, Self::hold);
            self.written.fetch_add(held, Ordering::SeqCst);
        } else {
            let lock = ReadLock::new(client, LOCK).expect("legal");
            let held = lock.acquire_timeout(ms(2_000)).map_or(0, Self::hold);
            self.read.fetch_add(held, Ordering::SeqCst);
        }
    }

    fn settle(&self, _: &Client) {}

    fn judge(&self, log: &[Txn]) {
        let mut room = Room::new(LOCK);
        let (mut of_readers, mut of_writers, mut beside) = (0, 0, 0);
        for txn in log {
            for fence in marks(txn, LOCK_MARK) {
                let zxid = txn.zxid;
                let own = room.of_fence(fence);
                let session = own.map(|own| own.session);
                assert_eq!(session, Some(txn.session), "0x{fence:x} at 0x{zxid:x}: {room:x?}");
                let (name, before) = room.line_of(fence);
                let is_writer = |name: &&String| name.contains("__lock__");
                if is_writer(&&name) {
                    assert!(before.is_empty(), "{name} writes at 0x{zxid:x} after {before:?}");
                    of_writers += 1;
                } else {
                    let writer = before.iter().find(is_writer);
                    assert_eq!(writer, None, "{name} reads at 0x{zxid:x} after {before:?}");
                    of_readers += 1;
                    beside += usize::from(!before.is_empty());
                }
            }
            room.step(txn);
        }
        assert_eq!(room.len(), 0, "somebody was left behind: {room:?}");
        let held = [&self.read, &self.written].map(|count| count.load(Ordering::SeqCst));
        figure("ensemble, e15: read, written", held);
        let figures = (of_readers, of_writers, beside);
        figure("ensemble, e15: marks of readers, of writers, of a reader beside another", figures);
        assert!(of_readers > 5 && of_writers > 3 && beside > 0, "too little happened");
    }
}

/// All come, and go in, and go on to the next round.
pub(crate) struct Rounds {
    clients: Vec<Client>,
    round: AtomicUsize,
    passed: AtomicUsize,
    late: AtomicUsize,
}

const ROUNDS: &str = "/play/rounds";
const ROUND_MARK: &str = "/play/rounds-mark";

impl Rounds {
    pub(crate) fn new(clients: &[Client], witness: &Client) -> Self {
        witness.create(ROUND_MARK, b"0", CreateMode::Persistent).expect("new");
        let (round, passed, late) = Default::default();
        Self { clients: clients.to_vec(), round, passed, late }
    }
}

impl Play for Rounds {
    fn turn(&self, who: usize) {
        let round = self.round.load(Ordering::SeqCst);
        let path = format!("{ROUNDS}/{round}");
        let barrier = DoubleBarrier::new(&self.clients[who], &path, CLIENTS).expect("legal");
        match barrier.enter_timeout(ms(2_000)) {
            Ok(inside) => {
                let _ = inside.session().set_data(ROUND_MARK, round.to_string(), Version::Any);
                self.passed.fetch_add(1, Ordering::SeqCst);
                let _ = inside.leave_timeout(ms(1_000));
            }
            Err(_) => drop(self.late.fetch_add(1, Ordering::SeqCst)),
        }
        // All of them are in the next soon, whoever was late.
        let _ = self.round.compare_exchange(round, round + 1, Ordering::SeqCst, Ordering::SeqCst);
        thread::sleep(ms(fastrand::u64(..100)));
    }

    fn settle(&self, _: &Client) {}

    fn judge(&self, log: &[Txn]) {
        // Of each round: who is there, and how many there were at most.
        let mut rooms: BTreeMap<i64, (Room, usize)> = BTreeMap::new();
        let mut marked = 0;
        for txn in log {
            for round in marks(txn, ROUND_MARK) {
                let most = rooms.get(&round).map(|(_, most)| *most);
                assert_eq!(most, Some(CLIENTS), "round {round} was passed at 0x{:x}", txn.zxid);
                marked += 1;
            }
            for change in &txn.changes {
                let Some(rest) = change.path.strip_prefix(&format!("{ROUNDS}/")) else { continue };
                let round = rest.split('/').next().unwrap_or_default();
                let round = round.parse().expect("a number");
                let room = || (Room::new(&format!("{ROUNDS}/{round}")), 0);
                rooms.entry(round).or_insert_with(room);
            }
            if txn.op != op::CLOSE_SESSION && txn.changes.is_empty() {
                continue;
            }
            for (room, most) in rooms.values_mut() {
                room.step(txn);
                *most = room.names().filter(|name| *name != "ready").count().max(*most);
            }
        }
        for (round, (room, _)) in &rooms {
            let left: Vec<_> = room.names().filter(|name| *name != "ready").collect();
            assert!(left.is_empty(), "round {round}: left behind {left:?}");
        }
        let counts = [&self.passed, &self.late].map(|count| count.load(Ordering::SeqCst));
        figure("ensemble, e13: rounds, passed, late, marks", (rooms.len(), counts, marked));
        assert!(marked > 4, "too little happened");
    }
}
