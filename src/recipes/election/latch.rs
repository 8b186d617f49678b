//! Standing for an election all the time, in the background.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::error::{Error, RecipeError, Result};
use crate::recipes::election::Leadership;
use crate::recipes::line::Line;
use crate::recipes::patience::{Patience, Waits};

/// A candidate of an [`Election`](crate::recipes::Election) that stands until it is closed: a thread
/// of its own campaigns, tells that it leads, tells that it does not any more, and campaigns again.
///
/// # What it promises
/// * The listener hears the [`Leadership`] when it is elected, and `None` when that is lost, in
///   turn; on the latch's thread, which waits for it. While it still runs nothing is told, and
///   nobody resigns: what it is called with says whether it leads still.
/// * [`has_leadership`](Self::has_leadership) goes by the leadership's own clock, and is false before
///   another can be elected.
/// * Dropping it is a [`close`](Self::close) without a word, in the background.
///
/// Curator's `LeaderLatch`.
///
/// ```no_run
/// use std::time::Duration;
/// use zookeeper_blocking::{Client, recipes::{CloseMode, Election}};
///
/// let zk = Client::connect("localhost:2181")?;
/// let election = Election::new(&zk, "/app/leader")?.identifier("worker 7");
/// let latch = election.latch(|leadership| match leadership {
///     Some(leadership) => println!("leads, with fence {}", leadership.fence()),
///     None => println!("does not lead"),
/// })?;
/// latch.wait_elected(Duration::from_secs(60))?;
/// latch.close(CloseMode::NotifyLeader)?;
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
#[must_use = "dropping the latch ends its candidacy"]
pub struct Latch {
    shared: Arc<Shared>,
    thread: ThreadId,
}

/// Whether the listener of a [`Latch`] that leads hears of its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseMode {
    /// The listener is told that it does not lead any more, and has returned before another can be
    /// elected.
    NotifyLeader,
    /// The listener is not called any more.
    Silent,
}

struct Shared {
    line: Line,
    closed: AtomicBool,
    silent: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    leadership: Option<Arc<Leadership>>,
    /// How it ended.
    ended: Option<Result<()>>,
}

impl Latch {
    pub(super) fn start(
        line: Line,
        listener: impl FnMut(Option<&Leadership>) + Send + 'static,
    ) -> Result<Self> {
        let shared = Arc::new(Shared {
            line: Line { waits: Waits::default(), ..line },
            closed: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let running = shared.clone();
        let run = move || {
            let ended = running.run(listener);
            running.change(|state| state.ended = Some(ended));
        };
        let thread = thread::Builder::new()
            .name("zk-latch".into())
            .spawn(run)
            .map_err(|source| Error::Start { source: Arc::new(source) })?;
        Ok(Self { shared, thread: thread.thread().id() })
    }

    /// Whether it leads now: see [`Hold::is_held`](crate::recipes::Hold::is_held).
    pub fn has_leadership(&self) -> bool {
        self.shared.state.lock().leadership.as_ref().is_some_and(|lead| lead.is_held())
    }

    /// The fence of its leadership; `None` if it does not lead.
    pub fn fence(&self) -> Option<i64> {
        let state = self.shared.state.lock();
        state.leadership.as_ref().filter(|lead| lead.is_held()).map(|lead| lead.fence())
    }

    /// Waits until it leads, for `timeout` at most.
    ///
    /// # Errors
    /// * [`Error::Timeout`].
    /// * Why it stands no more: [`Error::Closed`], [`Code::NoAuth`](crate::Code::NoAuth) and the
    ///   like.
    pub fn wait_elected(&self, timeout: Duration) -> Result<()> {
        let deadline = Instant::now().checked_add(timeout);
        self.shared.line.waits.patiently(deadline, "wait_elected", self.path(), |patience| {
            let mut state = self.shared.state.lock();
            loop {
                if state.leadership.as_ref().is_some_and(|lead| lead.is_held()) {
                    return Ok(());
                }
                if let Some(ended) = &state.ended {
                    let closed = Error::Closed { sent: false, at: patience.at() };
                    let ended = ended.clone().err();
                    return Err(ended.map_or(closed, |error| error.moved_to(patience.at())));
                }
                patience.check()?;
                let look = Instant::now() + LOOK_EVERY;
                let until = deadline.map_or(look, |deadline| deadline.min(look));
                self.shared.changed.wait_until(&mut state, until);
            }
        })
    }

    /// The election's path.
    pub fn path(&self) -> &str {
        &self.shared.line.path
    }

    /// Stands no more: leaves the line, or resigns, and waits for that. Called within the listener
    /// it does not wait.
    ///
    /// # Errors
    /// * Why it stood no more before.
    /// * As [`Leadership::resign`].
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most.
    pub fn close(self, mode: CloseMode) -> Result<()> {
        self.shared.close(mode);
        if thread::current().id() == self.thread {
            return Ok(());
        }
        let deadline = self.shared.line.client.deadline(Instant::now());
        let mut state = self.shared.state.lock();
        loop {
            if let Some(ended) = &state.ended {
                return ended.clone();
            }
            match deadline {
                None => self.shared.changed.wait(&mut state),
                Some(deadline) => {
                    if self.shared.changed.wait_until(&mut state, deadline).timed_out() {
                        let at = crate::error::At::new("close", self.path());
                        return Err(Error::Timeout { sent: true, at });
                    }
                }
            }
        }
    }
}

impl Drop for Latch {
    fn drop(&mut self) {
        // After a close it changes nothing.
        if !self.shared.closed.load(Ordering::SeqCst) {
            self.shared.close(CloseMode::Silent);
        }
    }
}

impl Shared {
    fn close(&self, mode: CloseMode) {
        self.silent.store(mode == CloseMode::Silent, Ordering::SeqCst);
        self.closed.store(true, Ordering::SeqCst);
        self.line.waits.cancel();
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.changed.notify_all();
    }

    fn run(&self, mut listener: impl FnMut(Option<&Leadership>)) -> Result<()> {
        // One that panics is called again the next time, as other callbacks are.
        let mut tell = |leadership: Option<&Leadership>| {
            let told = catch_unwind(AssertUnwindSafe(|| listener(leadership)));
            if told.is_err() {
                log::warn!("the listener of a latch at {} panicked", self.line.path);
            }
        };
        while let Some(leadership) = self.elect()? {
            self.change(|state| state.leadership = Some(leadership.clone()));
            tell(Some(&leadership));
            self.lead(&leadership);
            self.change(|state| state.leadership = None);
            if !(self.is_closed() && self.silent.load(Ordering::SeqCst)) {
                tell(None);
            }
            // The state's was the only other.
            if let (true, Some(leadership)) = (self.is_closed(), Arc::into_inner(leadership)) {
                return leadership.resign();
            }
        }
        Ok(())
    }

    /// Waits to be elected, for however long; `None` once it is closed.
    fn elect(&self) -> Result<Option<Arc<Leadership>>> {
        match self.until_closed(|patience| self.line.acquire_by(patience)) {
            Ok(hold) => Ok(Some(Arc::new(Leadership(hold)))),
            Err(Error::Recipe { why: RecipeError::Cancelled, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits until the leadership is lost, or the latch is closed.
    fn lead(&self, leadership: &Leadership) {
        let _ = self.until_closed(|patience| patience.wait_lost(leadership.session()));
    }

    /// A close cancels it.
    fn until_closed<T>(&self, wait: impl FnOnce(&Patience<'_>) -> Result<T>) -> Result<T> {
        self.line.waits.patiently(None, "latch", &self.line.path, |patience| {
            // Before the wait began, the close found nothing to cancel.
            if self.is_closed() {
                return Err(patience.error(RecipeError::Cancelled));
            }
            wait(patience)
        })
    }
}

/// How often a wait looks whether the leadership, or its own patience, is over.
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl fmt::Debug for Latch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latch")
            .field("path", &self.path())
            .field("has_leadership", &self.has_leadership())
            .finish_non_exhaustive()
    }
}
