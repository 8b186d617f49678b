//! How long a recipe waits, and what may end the wait: its deadline, a cancel, the client's end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Select, Sender, bounded};
use parking_lot::Mutex;

use crate::client::op::Operation;
use crate::client::session::Session;
use crate::client::watch::{Watch, Watcher};
use crate::client::{Client, Pending};
use crate::error::{At, Error, RecipeError, Result};

/// What a wait of a recipe may be ended by.
pub(crate) struct Patience<'a> {
    pub(crate) deadline: Option<Instant>,
    cancelled: &'a dyn Fn() -> bool,
    /// Rings with a cancel, where it may come from another thread at any time.
    woken: Option<&'a Receiver<()>>,
    /// Its first news end the wait as a cancel does.
    beside: Option<&'a Watch>,
    /// The recipe's operation and path, for errors.
    op: &'static str,
    path: &'a str,
}

impl<'a> Patience<'a> {
    /// That of a thread of our own, which waits until `cancelled` says that nobody needs it.
    pub(crate) fn of_thread(
        cancelled: &'a dyn Fn() -> bool,
        op: &'static str,
        path: &'a str,
    ) -> Self {
        Self { deadline: None, cancelled, woken: None, beside: None, op, path }
    }

    /// The same, but for no longer than `deadline`.
    pub(crate) fn until(&self, deadline: Instant) -> Self {
        let deadline = self.deadline.map_or(deadline, |own| own.min(deadline));
        Self { deadline: Some(deadline), ..*self }
    }

    /// The same, but not beyond the first news of `watch`: then it ends as cancelled.
    pub(crate) fn beside<'b>(&'b self, watch: &'b Watch) -> Patience<'b> {
        let own: &Patience<'b> = self;
        Patience { beside: Some(watch), ..*own }
    }

    pub(crate) fn at(&self) -> Box<At> {
        At::new(self.op, self.path)
    }

    /// What `why` is, of this operation.
    pub(crate) fn error(&self, why: RecipeError) -> Error {
        Error::Recipe { why, at: self.at() }
    }

    pub(crate) fn check(&self) -> Result<()> {
        if (self.cancelled)() || self.beside.is_some_and(Watch::has_news) {
            return Err(self.error(RecipeError::Cancelled));
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(Error::Timeout { sent: false, at: self.at() });
        }
        Ok(())
    }

    /// Waits for an answer. If patience ends first the request is given up: `Err` tells whether it
    /// may have been sent.
    pub(crate) fn wait<T>(&self, mut pending: Pending<T>) -> Result<Result<T>> {
        loop {
            let look = Instant::now() + LOOK_EVERY;
            let until = self.deadline.map_or(look, |deadline| deadline.min(look));
            match pending.wait_deadline(until) {
                Ok(result) => return Ok(result),
                Err(still) => {
                    self.check()?;
                    pending = still;
                }
            }
        }
    }

    /// Waits for the answer to a read that leaves a watch with a handle.
    pub(crate) fn watch<O: Operation>(
        &self,
        client: &Client,
        read: impl FnOnce(Watcher) -> O,
    ) -> Result<Result<(O::Reply, Watch)>> {
        let (pending, watch) = client.submit_watched(read, self.deadline)?;
        // If this gives up, the handle is dropped and takes the watch back.
        Ok(self.wait(pending)?.map(|reply| (reply, watch)))
    }

    /// Asks until there is an answer: for operations that may be repeated.
    pub(crate) fn ask<O: Operation>(
        &self,
        client: &Client,
        op: impl Fn() -> O,
    ) -> Result<O::Reply> {
        loop {
            self.check()?;
            match self.wait(client.submit_until(op(), self.deadline)?)? {
                Err(error) if error.is_connection() => {}
                result => return result,
            }
        }
    }

    /// Waits until one of the watches hears something, the wait is cancelled, or patience ends.
    /// Without a watch there is nothing to wait for.
    pub(crate) fn wait_for(&self, watches: &[&Watch]) -> Result<()> {
        if watches.is_empty() {
            return self.check();
        }
        let deadline = match self.deadline {
            Some(deadline) => crossbeam_channel::at(deadline),
            None => crossbeam_channel::never(),
        };
        // The bell of each is dropped with its first event.
        let mut select = Select::new();
        let rung: Vec<_> = watches
            .iter()
            .copied()
            .chain(self.beside)
            .map(|watch| {
                let (bell, rung) = bounded::<()>(0);
                watch.ring(bell);
                rung
            })
            .collect();
        for rung in &rung {
            select.recv(rung);
        }
        if let Some(woken) = self.woken {
            select.recv(woken);
        }
        select.recv(&deadline);
        select.ready();
        self.check()
    }

    /// Waits for its own end.
    pub(crate) fn wait_end(&self) -> Result<()> {
        let deadline = match self.deadline {
            Some(deadline) => crossbeam_channel::at(deadline),
            None => crossbeam_channel::never(),
        };
        let mut select = Select::new();
        if let Some(woken) = self.woken {
            select.recv(woken);
        }
        select.recv(&deadline);
        select.ready();
        self.check()
    }

    /// Waits out `until`, a point in time. `false` as soon as one of the watches has news.
    pub(crate) fn wait_out(&self, until: Option<Instant>, watches: &[&Watch]) -> Result<bool> {
        let short = until.map(|until| self.until(until));
        while !watches.iter().any(|watch| watch.has_news()) {
            if short.as_ref().unwrap_or(self).wait_for(watches).is_err() {
                // It is only `until`, unless our own patience ended.
                self.check()?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Waits until what rests on `session` is lost.
    pub(crate) fn wait_lost(&self, session: &Session) -> Result<()> {
        let deadline = match self.deadline {
            Some(deadline) => crossbeam_channel::at(deadline),
            None => crossbeam_channel::never(),
        };
        while session.wait_lost(Duration::ZERO).is_none() {
            self.check()?;
            let mut select = Select::new();
            select.recv(session.lost_signal());
            if let Some(woken) = self.woken {
                select.recv(woken);
            }
            select.recv(&deadline);
            select.ready();
        }
        Ok(())
    }

    /// The present session; waits for one while there is none.
    pub(crate) fn session(&self, client: &Client) -> Result<Session> {
        // Heard only while there is none: the client keeps a subscription until the next state.
        let mut states = None;
        loop {
            match client.session() {
                // A handle that is pinned to a session has no other to wait for.
                Err(Error::SessionExpired { .. }) if client.scope().pin.is_none() => {
                    self.check()?;
                    let Some(states) = &states else {
                        states = Some(client.subscribe()?);
                        continue;
                    };
                    // Looks now and then all the same, for a cancel.
                    let _ = states.recv_timeout(LOOK_EVERY);
                }
                result => return result,
            }
        }
    }
}

/// Those who wait on one recipe in this process, to be cancelled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waits {
    shared: Arc<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    cancels: AtomicU64,
    wakers: Mutex<Vec<(u64, Sender<()>)>>,
}

impl Waits {
    /// Ends all waits of now.
    pub(crate) fn cancel(&self) {
        self.shared.cancels.fetch_add(1, Ordering::SeqCst);
        for (_, waker) in &*self.shared.wakers.lock() {
            let _ = waker.try_send(());
        }
    }

    /// Runs `work` with a patience that ends with `deadline` or a cancel.
    pub(crate) fn patiently<T>(
        &self,
        deadline: Option<Instant>,
        op: &'static str,
        path: &str,
        work: impl FnOnce(&Patience<'_>) -> Result<T>,
    ) -> Result<T> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let (waker, woken) = bounded(1);
        let before = self.shared.cancels.load(Ordering::SeqCst);
        self.shared.wakers.lock().push((id, waker));
        let cancelled = || self.shared.cancels.load(Ordering::SeqCst) != before;
        let woken = Some(&woken);
        let patience = Patience { deadline, cancelled: &cancelled, woken, beside: None, op, path };
        let result = work(&patience);
        self.shared.wakers.lock().retain(|(known, _)| *known != id);
        result
    }
}

/// How often a waiting recipe looks whether it was cancelled while the server does not answer.
const LOOK_EVERY: Duration = Duration::from_millis(50);
