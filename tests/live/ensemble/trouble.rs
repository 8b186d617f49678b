//! What happens to three servers, and to the lines of a client to them.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::locks::ms;
use crate::nemesis_actor::now_us;
use crate::support::proxy::{Act, Pick, Proxy, Way};
use crate::support::server::{Ensemble, Node};
use crate::support::wait::scaled;
use crate::support::wire::op;

/// The lines of one client: to each server one, through a proxy of its own.
pub(crate) struct Lines(Vec<Proxy>);

impl Lines {
    pub(crate) fn new(ensemble: &Ensemble) -> Self {
        Self(ensemble.nodes().iter().map(|node| Proxy::start(node.address())).collect())
    }

    pub(crate) fn connect_string(&self) -> String {
        let hosts: Vec<_> = self.0.iter().map(Proxy::connect_string).collect();
        hosts.join(",")
    }

    /// How many kinds of faults there are.
    pub(crate) const KINDS: usize = 5;

    /// One fault of this kind, and its end. Sessions are meant to live for 1 s.
    pub(crate) fn suffer(&self, kind: usize) -> &'static str {
        let fault = match kind {
            0 => {
                self.each(Proxy::cut);
                "suspended: cut"
            }
            1 => {
                self.each(Proxy::hold_both);
                thread::sleep(short());
                "suspended: held up"
            }
            2 => {
                // The reply to what is asked next, or to what recipes do.
                let nth = fastrand::usize(1..4);
                match fastrand::u8(..4) {
                    0 => self.each(|line| line.drop_reply_to(op::MULTI)),
                    1 => self.each(|line| line.drop_reply_to(op::CREATE2)),
                    2 => self.each(|line| line.drop_reply(nth)),
                    _ => self.each(|line| {
                        line.once(Way::ToServer, Pick::AnyOp, nth, Act::LoseAndCut);
                    }),
                }
                thread::sleep(short());
                "suspended: lost"
            }
            3 => {
                self.each(Proxy::black_hole);
                thread::sleep(long());
                self.each(Proxy::cut);
                "expired: black hole"
            }
            _ => {
                self.each(Proxy::refuse);
                self.each(Proxy::cut);
                thread::sleep(long());
                self.each(Proxy::accept);
                "expired: refused"
            }
        };
        self.each(Proxy::heal);
        fault
    }

    fn each(&self, act: impl Fn(&Proxy)) {
        self.0.iter().for_each(act);
    }
}

/// How many rounds: as `ZK_TEST_ROUNDS` says, or so many.
pub(crate) fn rounds(usually: usize) -> usize {
    let rounds = std::env::var("ZK_TEST_ROUNDS").ok();
    rounds.map_or(usually, |text| text.parse().expect("ZK_TEST_ROUNDS: a number"))
}

/// How long: as `ZK_TEST_CHURN_S` says, in seconds, or so long.
pub(crate) fn churn_time(usually: u64) -> Duration {
    let time = std::env::var("ZK_TEST_CHURN_S").ok();
    let time = time.map_or(usually, |text| text.parse().expect("ZK_TEST_CHURN_S: a number"));
    scaled(Duration::from_secs(time))
}

/// A session survives this.
pub(crate) fn short() -> Duration {
    ms(fastrand::u64(100..700))
}

/// A session does not survive this.
pub(crate) fn long() -> Duration {
    ms(fastrand::u64(1_300..2_000))
}

/// How often there was which fault.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<BTreeMap<&'static str, usize>>);

impl Tally {
    pub(crate) fn note(&self, fault: &'static str) {
        *self.0.lock().expect("no panic").entry(fault).or_default() += 1;
    }

    pub(crate) fn counts(&self) -> BTreeMap<&'static str, usize> {
        self.0.lock().expect("no panic").clone()
    }
}

/// From when to when a server was not as it should be.
///
/// One that stood still may have told its client that its session lives when the leader knew better:
/// then the clocks may disagree, and only then.
#[derive(Debug, Default)]
pub(crate) struct Upsets(Mutex<Vec<(u64, u64)>>);

impl Upsets {
    /// One fault of a server, and its end: all three serve again.
    ///
    /// Those that are killed never stand still, and the other way round: a server that comes back
    /// after it stood still may know transactions that are not in its log (ZOOKEEPER-4712, in 3.8.0),
    /// and would have forgotten them when it is started again: what was deleted is there once more.
    pub(crate) fn upset(&self, ensemble: &Ensemble, round: usize) -> &'static str {
        let from_us = now_us();
        let leader = ensemble.leader().id();
        // Of equals the last one is elected: so it leads at times, and the others when it stands.
        let (sleeper, mortals) = ensemble.nodes().split_last().expect("three");
        let node: &Node = match mortals.iter().find(|node| node.id() == leader) {
            _ if round % 2 == 1 => sleeper,
            Some(leader) if round % 3 > 0 => leader,
            _ => &mortals[fastrand::usize(..mortals.len())],
        };
        let fault = if round % 2 == 0 {
            node.kill();
            thread::sleep(ms(fastrand::u64(..500)));
            node.launch();
            if node.id() == leader { "server: leader killed" } else { "server: follower killed" }
        } else {
            node.pause();
            thread::sleep(ms(fastrand::u64(300..3_000)));
            node.resume();
            if node.id() == leader { "server: leader paused" } else { "server: follower paused" }
        };
        node.wait_ready();
        ensemble.leader();
        // What the followers were told in between may count for a while.
        let until_us = now_us() + 3_000_000;
        self.0.lock().expect("no panic").push((from_us, until_us));
        fault
    }

    /// Whether a server was upset at this time of our own clock.
    pub(crate) fn excuse_at(&self, at: Instant) -> bool {
        let ago = u64::try_from(at.elapsed().as_micros()).expect("not so long ago");
        self.excuse(now_us() - ago)
    }

    /// Whether a server was upset at this time.
    pub(crate) fn excuse(&self, at_us: u64) -> bool {
        let upset = self.0.lock().expect("no panic");
        upset.iter().any(|(from, until)| (from..=until).contains(&&at_us))
    }
}

/// Faults of all lines and of the servers, until it is over; and all is healed then.
pub(crate) fn torment(
    ensemble: &Ensemble,
    lines: &[Lines],
    upsets: &Upsets,
    is_over: impl Fn() -> bool + Sync,
) -> BTreeMap<&'static str, usize> {
    let (tally, is_over) = (Tally::default(), &is_over);
    thread::scope(|scope| {
        for (index, lines) in lines.iter().enumerate() {
            let tally = &tally;
            scope.spawn(move || {
                for round in 0.. {
                    thread::sleep(ms(fastrand::u64(300..3_000)));
                    if is_over() {
                        break;
                    }
                    // All kinds in turn, and not the same for all.
                    tally.note(lines.suffer((round + index * 3) % Lines::KINDS));
                }
            });
        }
        scope.spawn(|| {
            for round in 0.. {
                thread::sleep(ms(fastrand::u64(500..3_000)));
                if is_over() {
                    break;
                }
                tally.note(upsets.upset(ensemble, round));
            }
        });
    });
    tally.counts()
}

/// Set when dropped, also where a thread of the test panics.
pub(crate) struct OverWhenDropped<'a>(pub(crate) &'a AtomicBool);

impl Drop for OverWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
