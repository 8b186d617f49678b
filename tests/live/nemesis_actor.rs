//! A process that holds a lock, a lease of a semaphore, an office and a lease for a time, again and
//! again, and tells at which times it believed to hold what; under `nemesis.rs`, which stops it,
//! kills it and cuts it off.
//!
//! ```text
//! actor: held <tab> lock <tab> 8589934611 <tab> 1795710834412345 <tab> 1795710834432345
//! actor: expired
//! ```
//!
//! The numbers are the fence, and the first and the last time, in microseconds since the Unix epoch
//! so far: all processes of a machine have that clock.

use std::io::{BufRead, BufReader, Read, Write, stdout};
use std::ops::Deref;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use zookeeper_blocking::recipes::{
    Election, HeldLease, Hold, Leadership, Lease, Lock, LockGuard, Semaphore, SemaphoreGuard,
};
use zookeeper_blocking::{Client, Result, SessionState, Version};

use crate::clients::patience;
use crate::locks::ms;
use crate::support::process::signal;
use crate::support::wait::{eventually_some, scaled};

/// How many hold the semaphore at most.
pub(crate) const MAX: u32 = 2;

/// Where everything is.
pub(crate) const ROOT: &str = "/nemesis";

pub(crate) fn now_us() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since_epoch.as_micros()).expect("before the year 500000")
}

/// What an actor tells.
pub(crate) enum Word {
    Expired,
    Held { what: String, fence: i64, from_us: u64, until_us: u64 },
}

/// The process. Killed (-9) when dropped; if the test process dies its input ends, and so does it.
pub(crate) struct Actor {
    child: Child,
    input: Option<ChildStdin>,
    reader: Option<JoinHandle<()>>,
}

impl Actor {
    /// Starts one in the test of this name, which begins with [`play`].
    pub(crate) fn start(
        test: &str,
        connect: &str,
        mut hear: impl FnMut(Word) + Send + 'static,
    ) -> Self {
        let own = std::env::current_exe().expect("the test binary");
        let mut command = Command::new(own);
        command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(ROLE, connect);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("starts");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let reader = thread::spawn(move || {
            for line in output.lines().map_while(std::result::Result::ok) {
                // Of one that was killed the last line may be torn.
                let word = line.split_once("actor: ").and_then(|(_, word)| parse(word));
                if let Some(word) = word {
                    hear(word);
                }
            }
        });
        Self { input: child.stdin.take(), child, reader: Some(reader) }
    }

    /// Stops the process, as SIGSTOP does, for a time.
    pub(crate) fn pause(&self, time: Duration) {
        signal(self.child.id(), "STOP");
        thread::sleep(time);
        signal(self.child.id(), "CONT");
    }

    /// kill -9; all that it told has been heard then.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        self.child.wait().expect("our own child");
        self.reader.take().map(JoinHandle::join);
    }

    /// Lets it end: it gives up what it holds, and closes its session.
    #[track_caller]
    pub(crate) fn finish(mut self) {
        drop(self.input.take());
        let ended = eventually_some("the actor ends", 3 * patience(), || {
            self.child.try_wait().expect("our own child")
        });
        assert!(ended.success(), "{ended}");
        self.reader.take().map(JoinHandle::join);
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.kill();
    }
}

fn parse(word: &str) -> Option<Word> {
    let words: Vec<_> = word.split('\t').collect();
    match words[..] {
        ["expired"] => Some(Word::Expired),
        ["held", what, fence, from, until, "."] => Some(Word::Held {
            what: what.to_owned(),
            fence: fence.parse().ok()?,
            from_us: from.parse().ok()?,
            until_us: until.parse().ok()?,
        }),
        _ => None,
    }
}

fn tell(word: &str) {
    // One write, or lines of threads get mixed. Who listens may be gone.
    let _ = stdout().write_all(format!("actor: {word}\n").as_bytes());
}

/// Plays the role if this process was started for it. Gives whether it did; then the test is over.
pub(crate) fn play() -> bool {
    let Ok(connect) = std::env::var(ROLE) else { return false };
    let builder = || {
        let builder = Client::builder(&connect).session_timeout(ms(1_000));
        builder.call_timeout(scaled(ms(3_000)))
    };
    tell("\n");
    let client = eventually_some("connected", 6 * patience(), || builder().connect().ok());
    let stop = Arc::new(AtomicBool::new(false));
    let is_over = stop.clone();
    thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        is_over.store(true, Ordering::SeqCst);
    });
    let states = client.subscribe().expect("open");
    thread::spawn(move || {
        while let Some(state) = states.recv() {
            if state == SessionState::Expired {
                tell("expired");
            }
        }
    });
    let most = scaled(ms(3_000));
    let at = |name: &str| format!("{ROOT}/{name}");
    thread::scope(|scope| {
        scope.spawn(|| {
            let lock = Lock::new(&client, &at("lock")).expect("legal");
            hold_again("lock", &stop, || lock.acquire_timeout(most), LockGuard::release);
        });
        scope.spawn(|| {
            let semaphore = Semaphore::new(&client, &at("sem"), MAX).expect("legal");
            let acquire = || semaphore.acquire_timeout(most);
            hold_again("sem", &stop, acquire, SemaphoreGuard::release);
        });
        scope.spawn(|| {
            let election = Election::new(&client, &at("lead")).expect("legal");
            let campaign = || election.campaign_timeout(most);
            hold_again("lead", &stop, campaign, Leadership::resign);
        });
        scope.spawn(|| {
            let holder = format!("actor {}", std::process::id());
            let lease = Lease::new(&client, &at("lease"), &holder, ms(2_000)).expect("legal");
            lease_again(&stop, || lease.acquire_timeout(most));
        });
    });
    client.close().expect("acknowledged");
    true
}

/// Acquires, believes, and gives up, until it is over.
fn hold_again<G: Deref<Target = Hold>>(
    what: &str,
    stop: &AtomicBool,
    acquire: impl Fn() -> Result<G>,
    release: impl Fn(G) -> Result<()>,
) {
    let mark = format!("{ROOT}/marks/{what}");
    while !stop.load(Ordering::SeqCst) {
        let Ok(held) = acquire() else { continue };
        let write = || {
            let fence = held.fence().to_string();
            // Whether it goes through is the servers' matter; what they let through is judged.
            if fastrand::bool() {
                let _ = held.session().set_data(&mark, fence, Version::Any);
            } else {
                let _ = held.transaction().set_data(mark.as_str(), fence, Version::Any).commit();
            }
        };
        believe(what, stop, held.fence(), || held.is_held(), write);
        if fastrand::bool() {
            let _ = release(held);
        } else {
            drop(held);
        }
        thread::sleep(ms(fastrand::u64(..10)));
    }
}

fn lease_again(stop: &AtomicBool, acquire: impl Fn() -> Result<HeldLease>) {
    while !stop.load(Ordering::SeqCst) {
        let Ok(held) = acquire() else { continue };
        believe("lease", stop, held.fence(), || held.is_held(), || {});
        // Or it runs to its end.
        if fastrand::u8(..4) > 0 {
            let _ = held.release();
        }
        thread::sleep(ms(fastrand::u64(..10)));
    }
}

/// Tells of each moment at which it is held, for a while, mostly a short one; writes a mark at the
/// beginning and at the end.
fn believe(what: &str, stop: &AtomicBool, fence: i64, is_held: impl Fn() -> bool, mark: impl Fn()) {
    let start = Instant::now();
    let most = if fastrand::u8(..8) == 0 { 800 } else { fastrand::u64(..60) };
    mark();
    let mut from_us = None;
    loop {
        // The clock first: if this process stands still in between, it is not held any more.
        let now_us = now_us();
        if !is_held() {
            return;
        }
        let from_us = *from_us.get_or_insert(now_us);
        tell(&format!("held\t{what}\t{fence}\t{from_us}\t{now_us}\t."));
        if start.elapsed() > ms(most) || stop.load(Ordering::SeqCst) {
            break;
        }
        thread::sleep(ms(10));
    }
    mark();
}

const ROLE: &str = "ZK_TEST_NEMESIS_ACTOR";
