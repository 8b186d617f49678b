//! What the tests of locks share: one lock in a chroot of its own, with a witness; a book that
//! judges who held when.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use zookeeper_blocking::recipes::{Hold, Lock, LockGuard};
use zookeeper_blocking::{Client, ClientBuilder, Code, Error, RecipeError};

use crate::clients::{client, patience, soon, through};
use crate::support::proxy::Proxy;
use crate::support::raw::Raw;
use crate::support::server::{Chroot, fresh_chroot};
use crate::support::wait::{eventually, scaled};

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A chroot with the lock "/lock" in it.
pub(crate) struct Yard {
    pub(crate) chroot: Chroot,
}

impl Yard {
    pub(crate) fn new() -> Self {
        Self { chroot: fresh_chroot() }
    }

    pub(crate) fn client(&self) -> Client {
        client(&self.chroot)
    }

    pub(crate) fn proxy(&self) -> Proxy {
        Proxy::start(self.chroot.server().address())
    }

    pub(crate) fn through(&self, proxy: &Proxy) -> ClientBuilder {
        through(proxy, &self.chroot)
    }

    /// A lock of a client that goes through the proxy.
    pub(crate) fn lock_through(&self, proxy: &Proxy) -> Lock {
        lock(&self.through(proxy).connect().expect("the shared server serves"))
    }

    /// A lock of a client of its own, connected to the server itself.
    pub(crate) fn lock(&self) -> Lock {
        lock(&self.client())
    }

    pub(crate) fn raw(&self) -> Raw {
        self.chroot.server().raw()
    }

    /// The path of the lock, as a witness without chroot sees it.
    pub(crate) fn path(&self) -> String {
        format!("{}/lock", self.chroot.path())
    }

    /// The children of the lock, sorted by name; none if there is no such node.
    pub(crate) fn nodes(&self) -> Vec<String> {
        let mut raw = self.raw();
        let nodes = raw.children(&self.path()).unwrap_or_default();
        raw.close();
        nodes
    }

    #[track_caller]
    pub(crate) fn await_nodes(&self, count: usize) {
        let mut raw = self.raw();
        let mut last = Vec::new();
        let start = Instant::now();
        while start.elapsed() < patience() {
            last = raw.children(&self.path()).unwrap_or_default();
            if last.len() == count {
                return raw.close();
            }
            thread::sleep(ms(1));
        }
        panic!("not {count} contenders but {last:?}");
    }
}

/// The lock at "/lock" of this client.
pub(crate) fn lock(client: &Client) -> Lock {
    Lock::new(client, "/lock").expect("a legal path")
}

/// Acquires in a thread; `None` if the wait was cancelled.
pub(crate) fn wait_for(lock: &Lock) -> thread::JoinHandle<Option<LockGuard>> {
    let lock = lock.clone();
    thread::spawn(move || match lock.acquire() {
        Err(Error::Recipe { why: RecipeError::Cancelled, .. }) => None,
        result => Some(result.expect("granted in time")),
    })
}

/// What a wait comes to that is cancelled some time after it has begun. A cancel is of the waits that
/// have begun and of no later one, and a busy machine may take its time to begin: so it is cancelled
/// until it is over.
pub(crate) fn cancelled<T>(cancel: impl Fn() + Sync, wait: impl FnOnce() -> T) -> T {
    /// Also where the wait panics.
    struct Over<'a>(&'a AtomicBool);

    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(ms(30));
            while !is_over.load(Ordering::SeqCst) {
                cancel();
                thread::sleep(ms(5));
            }
        });
        let _over = Over(&is_over);
        wait()
    })
}

/// Asks the lock itself who is there, as many as wanted.
#[track_caller]
pub(crate) fn await_contenders(lock: &Lock, count: usize) {
    eventually(&format!("{count} contenders"), Duration::from_secs(10), || {
        lock.contenders().is_ok_and(|contenders| contenders.len() == count)
    });
}

pub(crate) fn sequence(node: &str) -> i32 {
    node[node.len() - 10..].parse().expect("ten digits")
}

#[track_caller]
pub(crate) fn assert_recipe<T: std::fmt::Debug>(
    result: Result<T, Error>,
    wanted: RecipeError,
    started: Instant,
    within: Duration,
) {
    let took = started.elapsed();
    match result {
        Err(Error::Recipe { why, .. }) if why == wanted => {}
        other => panic!("not {wanted:?} but {other:?}"),
    }
    // What waits for what does not come takes longer than this, on any machine.
    assert!(took <= scaled(within) + soon(), "{took:?}");
}

#[track_caller]
pub(crate) fn assert_code<T: std::fmt::Debug>(result: Result<T, Error>, wanted: Code) {
    match result {
        Err(error) if error.code() == Some(wanted) => {}
        other => panic!("not {wanted:?} but {other:?}"),
    }
}

/// When one guard was surely held, by the clock of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tenure {
    pub(crate) fence: i64,
    pub(crate) from: Instant,
    pub(crate) until: Instant,
}

/// All tenures of one lock, to be judged at the end.
#[derive(Debug, Default)]
pub(crate) struct Book(Mutex<Vec<Tenure>>);

impl Book {
    /// Holds for `time`, or until the guard says that it is lost; asks it all the while. What goes
    /// into the book is the last time at which it said that it was held.
    pub(crate) fn hold(&self, guard: &Hold, time: Duration) {
        let from = Instant::now();
        let mut until = None;
        loop {
            // The clock first: this thread may stand still between the two, and lose it meanwhile.
            let now = Instant::now();
            if !guard.is_held() {
                break;
            }
            until = Some(now);
            if now - from >= time {
                break;
            }
            thread::sleep(ms(1));
        }
        if let Some(until) = until {
            self.note(guard.fence(), from, until);
        }
    }

    pub(crate) fn note(&self, fence: i64, from: Instant, until: Instant) {
        self.0.lock().expect("no panic").push(Tenure { fence, from, until });
    }

    /// How many there are so far.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().expect("no panic").len()
    }

    /// Never two at a time, and a larger fence for each later one. Gives how many there were.
    #[track_caller]
    pub(crate) fn judge(&self) -> usize {
        self.judge_unless(|_| false)
    }

    /// As [`judge`](Self::judge); but from an excused time on, one may hold beside the one before.
    #[track_caller]
    pub(crate) fn judge_unless(&self, is_excused: impl Fn(Instant) -> bool) -> usize {
        let mut tenures = self.0.lock().expect("no panic").clone();
        tenures.sort_by_key(|tenure| tenure.from);
        for pair in tenures.windows(2) {
            let is_alone = pair[0].until <= pair[1].from || is_excused(pair[1].from);
            assert!(is_alone, "two holders at a time: {pair:?}");
            assert!(pair[0].fence < pair[1].fence, "the fence did not grow: {pair:?}");
        }
        tenures.len()
    }
}
