//! Having the items of a queue worked on, one after the other, in a thread.
//!
//! ```text
//!            ┌──────────────────────────────────────────────────────────────┐
//!            ▼                                                              │
//!  wait for an item, however long ─▶ handler ─▶ done: out of the queue ─────┤
//!            │                          └─ failed: out, or to its end ──────┤
//!            └─ error: tell, pause ─────────────────────────────────────────┘
//! ```

use std::error::Error as StdError;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::error::{At, Error, RecipeError, Result};
use crate::recipes::consumer_error::{ConsumerError, ErrorMode};
use crate::recipes::held_item::HeldItem;
use crate::recipes::patience::{Patience, Waits};
use crate::recipes::site::Site;

/// A thread that has each item of a queue worked on: a handler is called with it, and when that
/// returns the next is had. Made by the `consumer` of each queue, as
/// [`LockingQueue::consumer`](super::LockingQueue::consumer).
///
/// # What it promises
/// * Of a queue whose items are held ([`LockingQueue`](super::LockingQueue) and its like): an item is
///   taken out when the handler has returned. If this process dies meanwhile another gets it. If the
///   handler fails or panics, the [`ErrorMode`] says what becomes of it.
/// * Of another queue ([`Queue`](super::Queue) and its like): an item is taken out before the handler
///   is called. It is worked on once at most, and lost if that fails.
/// * It goes on through lost connections and expired sessions, until it is closed or the client is.
///   What goes wrong is told to [`on_error`](ConsumerBuilder::on_error), and tried again after a
///   pause of a tenth of a second, which grows up to 30 s. So it is with an item that cannot be read,
///   and holds up those behind it until somebody removes it.
/// * Dropping it ends it: no item is begun any more. [`close`](Self::close) waits for the one in work.
///
/// # What it does not promise
/// That a held item is worked on once only: whose session expires meanwhile may be at work still when
/// another gets it. The handler has the item, and can look: [`HeldItem::is_held`].
///
/// Curator's `QueueConsumer`. For several at a time, in place of its executor, start several. Its
/// `minItemsBeforeRefresh` is [`batch`](ConsumerBuilder::batch) here. There is no `flushPuts` and no
/// `finalFlushTime`: whoever puts waits for the answer, so nothing is left to be flushed. And no
/// `stateChanged`: [`Client::subscribe`](crate::Client::subscribe) tells.
///
/// ```no_run
/// use zookeeper_blocking::{Client, recipes::{ErrorMode, LockingQueue}};
///
/// let zk = Client::connect("localhost:2181")?;
/// let queue = LockingQueue::new(&zk, "/app/jobs")?;
/// queue.put("resize 7.png")?;
/// let consumer = queue
///     .consumer(|item| {
///         println!("{}", std::str::from_utf8(item.data())?);
///         Ok::<_, std::str::Utf8Error>(())
///     })
///     .error_mode(ErrorMode::Delete)
///     .on_error(|error| eprintln!("{error}"))
///     .start()?;
/// # while !queue.is_empty()? {}
/// consumer.close()?;
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
///
/// Costs what getting and consuming cost: four round trips an item that is held, three another; with
/// a [`batch`](ConsumerBuilder::batch) less. None while there is no item.
#[must_use = "dropping the consumer ends it"]
pub struct Consumer {
    shared: Arc<Shared>,
    thread: ThreadId,
}

/// What a [`Consumer`] is to do, before it is started.
#[must_use = "a consumer does nothing until it is started"]
pub struct ConsumerBuilder<I> {
    supply: Box<dyn Supply<I>>,
    work: Work<I>,
    mode: ErrorMode,
    batch: usize,
    on_error: OnError,
}

/// Where items come from, and what becomes of them then.
pub(crate) trait Supply<I>: Send {
    fn site(&self) -> &Site;

    /// The next `most`; waits until there is one.
    fn next(&self, most: usize, patience: &Patience<'_>) -> Result<Vec<I>>;

    /// The path of its node.
    fn node(&self, item: &I) -> String;

    /// Whether others get what is not worked on.
    fn is_held(&self) -> bool;

    /// It was worked on.
    fn settle(&self, item: I, failed_in: Option<ErrorMode>) -> Result<()>;
}

type Work<I> = Box<dyn FnMut(&I) -> Result<(), Box<dyn StdError + Send + Sync>> + Send>;
type OnError = Box<dyn FnMut(&ConsumerError) + Send>;

impl<I: 'static> ConsumerBuilder<I> {
    pub(crate) fn new<E: Into<Box<dyn StdError + Send + Sync>>>(
        supply: impl Supply<I> + 'static,
        mut work: impl FnMut(&I) -> Result<(), E> + Send + 'static,
    ) -> Self {
        let on_error = |error: &ConsumerError| log::warn!("{error}");
        Self {
            supply: Box::new(supply),
            work: Box::new(move |item| work(item).map_err(Into::into)),
            mode: ErrorMode::default(),
            batch: 1,
            on_error: Box::new(on_error),
        }
    }

    /// How many items are had at once, at most, to be worked on one after the other; up to 1,000.
    /// Defaults to 1.
    ///
    /// More cost fewer round trips; but while the first is worked on nobody else gets the others. Of
    /// a queue without holds they are all lost if the process dies; a [`Consumer`] that is closed
    /// works on all that it has. Of a queue with holds it lets the others go.
    pub fn batch(mut self, most: usize) -> Self {
        self.batch = most.max(1);
        self
    }

    /// Who hears what could not be done, on the consumer's thread. Defaults to a line in the log.
    pub fn on_error(mut self, on_error: impl FnMut(&ConsumerError) + Send + 'static) -> Self {
        self.on_error = Box::new(on_error);
        self
    }

    /// Begins.
    ///
    /// # Errors
    /// [`Error::Start`] if there is no thread for it.
    pub fn start(self) -> Result<Consumer>
    where
        I: Send,
    {
        let site = self.supply.site();
        let shared = Arc::new(Shared {
            site: Site::of(site.client.clone(), site.path.clone(), site.acl.clone()),
            waits: Waits::default(),
            closed: AtomicBool::new(false),
            ended: Mutex::new(None),
            changed: Condvar::new(),
        });
        let running = shared.clone();
        let run = move || {
            let ended = Running { shared: &running, builder: self }.run();
            *running.ended.lock() = Some(ended);
            running.changed.notify_all();
        };
        let thread = thread::Builder::new()
            .name("zk-consumer".into())
            .spawn(run)
            .map_err(|source| Error::Start { source: Arc::new(source) })?;
        Ok(Consumer { shared, thread: thread.thread().id() })
    }
}

impl ConsumerBuilder<HeldItem> {
    /// What becomes of an item when its handler fails. Defaults to [`ErrorMode::Requeue`].
    pub fn error_mode(mut self, mode: ErrorMode) -> Self {
        self.mode = mode;
        self
    }
}

impl<I> fmt::Debug for ConsumerBuilder<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("ConsumerBuilder");
        f.field("path", &self.supply.site().path).field("batch", &self.batch);
        f.finish_non_exhaustive()
    }
}

/// What the thread and its handle share.
struct Shared {
    site: Site,
    /// Those for an item. What becomes of an item is not cancelled.
    waits: Waits,
    closed: AtomicBool,
    /// How it ended.
    ended: Mutex<Option<Result<()>>>,
    changed: Condvar,
}

impl Consumer {
    /// The queue's path.
    pub fn path(&self) -> &str {
        &self.shared.site.path
    }

    /// Whether it is at work, or waits for it. Not so once the client is closed.
    pub fn is_running(&self) -> bool {
        self.shared.ended.lock().is_none()
    }

    /// Begins no item any more, and waits until the one in work is done. Called within the handler it
    /// does not wait.
    ///
    /// # Errors
    /// * [`Error::Timeout`] if the handler was not done by the deadline of the client's calls. It goes
    ///   on, and what becomes of its item is seen to.
    /// * Why the consumer had ended before: [`Error::Closed`] and the like.
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most (30 s by default).
    pub fn close(self) -> Result<()> {
        let deadline = self.shared.site.deadline();
        self.close_by(deadline)
    }

    /// As [`close`](Self::close), for `timeout` at most.
    ///
    /// # Errors
    /// As [`close`](Self::close).
    pub fn close_timeout(self, timeout: Duration) -> Result<()> {
        self.close_by(Instant::now().checked_add(timeout))
    }

    fn close_by(self, deadline: Option<Instant>) -> Result<()> {
        self.shared.close();
        if thread::current().id() == self.thread {
            return Ok(());
        }
        let mut ended = self.shared.ended.lock();
        loop {
            if let Some(ended) = &*ended {
                return ended.clone();
            }
            match deadline {
                None => self.shared.changed.wait(&mut ended),
                Some(deadline) => {
                    if self.shared.changed.wait_until(&mut ended, deadline).timed_out()
                        && ended.is_none()
                    {
                        return Err(Error::Timeout {
                            sent: false,
                            at: At::new("close", self.path()),
                        });
                    }
                }
            }
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("Consumer");
        f.field("path", &self.path())
            .field("is_running", &self.is_running())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn close(&self) {
        // Under the lock, so that who is about to pause hears it.
        let ended = self.ended.lock();
        self.closed.store(true, Ordering::SeqCst);
        drop(ended);
        self.changed.notify_all();
        self.waits.cancel();
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    fn pause(&self, pause: Duration) {
        let mut ended = self.ended.lock();
        if !self.is_closed() {
            self.changed.wait_for(&mut ended, pause);
        }
    }
}

struct Running<'a, I> {
    shared: &'a Shared,
    builder: ConsumerBuilder<I>,
}

impl<I> Running<'_, I> {
    fn run(mut self) -> Result<()> {
        let mut pause = FIRST_PAUSE;
        while !self.shared.is_closed() {
            let error = match self.next() {
                Ok(items) => {
                    pause = FIRST_PAUSE;
                    for item in items {
                        // The others are let go, or would be lost.
                        if self.shared.is_closed() && self.builder.supply.is_held() {
                            break;
                        }
                        self.consume(item);
                    }
                    continue;
                }
                Err(Error::Recipe { why: RecipeError::Cancelled, .. }) => continue,
                Err(error) => error,
            };
            let is_expired = matches!(error, Error::SessionExpired { .. });
            let is_last =
                error.is_terminal() || is_expired && !self.builder.supply.site().may_renew();
            self.tell(&ConsumerError::Queue { source: error.clone() });
            if is_last {
                return Err(error);
            }
            self.shared.pause(pause);
            pause = (pause * 2).min(LAST_PAUSE);
        }
        Ok(())
    }

    /// Waits for items, for however long; a close cancels it.
    fn next(&self) -> Result<Vec<I>> {
        let (shared, builder) = (self.shared, &self.builder);
        shared.waits.patiently(None, "consumer", &shared.site.path, |patience| {
            // Before the wait began, the close found nothing to cancel.
            if shared.is_closed() {
                return Err(patience.error(RecipeError::Cancelled));
            }
            builder.supply.next(builder.batch, patience)
        })
    }

    fn consume(&mut self, item: I) {
        let node = self.builder.supply.node(&item);
        let worked = catch_unwind(AssertUnwindSafe(|| (self.builder.work)(&item)));
        let worked = worked.unwrap_or_else(|_| Err("the handler panicked".into()));
        let mut failed_in = None;
        if let Err(source) = worked {
            failed_in = Some(self.builder.mode);
            self.tell(&ConsumerError::Handler { node: node.clone(), source });
        }
        if let Err(source) = self.builder.supply.settle(item, failed_in) {
            self.tell(&ConsumerError::Settle { node, source });
        }
    }

    fn tell(&mut self, error: &ConsumerError) {
        let told = catch_unwind(AssertUnwindSafe(|| (self.builder.on_error)(error)));
        if told.is_err() {
            log::warn!("who was told by the consumer of {} panicked", self.shared.site.path);
        }
    }
}

/// Between attempts to have an item, the first time and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(30);
