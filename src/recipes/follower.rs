//! Looking at a node again and again, each time that it changed: for a callback.
//!
//! ```text
//!            ┌──────────────── event: changed, deleted, session ended ──────────────┐
//!            ▼                                                                      │
//!      read and watch ──▶ seen: not as before? callback ────────────────────────────┤
//!            │ NoNode                                                               │
//!            └──▶ exists and watch ──▶ not there: not as before? callback ──────────┘
//! ```
//!
//! All of it on the event thread, without waiting: a follower costs no thread. Each step asks and
//! leaves; the answer, or the event, is the next step. What is submitted here is kept while there
//! is no connection, so no step needs to know of one.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::client::op::{self, Operation};
use crate::client::watch::{ArmedWatch, Watcher};
use crate::client::{Client, WeakClient};
use crate::error::{Error, Result};
use crate::proto::code::Code;
use crate::recipes::sight::{Mark, Sight};

/// Hears what is seen: a node, no node, or, at last, why nothing more will be.
pub(crate) type Callback<S> = Box<dyn FnMut(Result<Option<<S as Sight>::Seen>>) + Send>;

pub(crate) struct Follower<S: Sight> {
    client: WeakClient,
    path: Box<str>,
    stopped: AtomicBool,
    inside: Mutex<Inside<S>>,
}

struct Inside<S: Sight> {
    armed: Option<ArmedWatch>,
    /// The request that sets it is not answered yet.
    asking: bool,
    told: Option<Option<Mark>>,
    /// Taken out while it runs.
    callback: Option<Callback<S>>,
}

impl<S: Sight> Follower<S> {
    /// Begins with a look, whose result is the first that the callback hears.
    pub(crate) fn start(client: &Client, path: &str, callback: Callback<S>) -> Result<Arc<Self>> {
        let follower = Arc::new(Self {
            client: client.downgrade(),
            path: path.into(),
            stopped: AtomicBool::new(false),
            inside: Mutex::new(Inside {
                armed: None,
                asking: false,
                told: None,
                callback: Some(callback),
            }),
        });
        follower.ask(client)?;
        Ok(follower)
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        let mut inside = self.inside.lock();
        // While the request is on its way there is no watch yet that could be taken back.
        let armed = if inside.asking { None } else { inside.armed.take() };
        let gone = (armed, inside.callback.take());
        // The drop of what a user's callback holds may do anything.
        drop(inside);
        drop(gone);
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    fn look(self: &Arc<Self>) {
        let Some(client) = self.client.upgrade() else { return };
        if let Err(error) = self.ask(&client) {
            self.end(error);
        }
    }

    fn ask(self: &Arc<Self>, client: &Client) -> Result<()> {
        let (watching, reading) = (self.clone(), self.clone());
        let read = S::read(&self.path, Watcher::once(move |_| watching.look()));
        self.arm(client, read, move |reply| reading.on_read(reply))
    }

    /// Submits a read with a watch. The lock is held meanwhile: the answer, which another thread
    /// gets, must find the watch that belongs to it.
    fn arm<O: Operation>(
        &self,
        client: &Client,
        read: O,
        done: impl FnOnce(Result<O::Reply>) + Send + 'static,
    ) -> Result<()> {
        let mut inside = self.inside.lock();
        if self.is_stopped() {
            return Ok(());
        }
        let before = inside.armed.take();
        inside.armed = client.submit_armed_behind(read, done)?;
        inside.asking = true;
        drop(inside);
        drop(before);
        Ok(())
    }

    fn on_read(self: &Arc<Self>, reply: Result<<S::Read as Operation>::Reply>) {
        self.answered();
        match reply {
            Ok(reply) => {
                let seen = S::seen(reply);
                let mark = S::mark(&seen);
                self.tell(Some(seen), Some(mark));
            }
            Err(error) if error.code() == Some(Code::NoNode) => self.await_creation(),
            Err(error) => self.on_error(error),
        }
    }

    fn await_creation(self: &Arc<Self>) {
        let Some(client) = self.client.upgrade() else { return };
        let (watching, asking) = (self.clone(), self.clone());
        let watcher = Watcher::once(move |_| watching.look());
        let exists = op::Exists::new(self.path.to_string()).watcher(watcher);
        let armed = self.arm(&client, exists, move |found| {
            asking.answered();
            match found {
                Ok(None) => asking.tell(None, None),
                // Made since we read.
                Ok(Some(_)) => asking.look(),
                Err(error) => asking.on_error(error),
            }
        });
        if let Err(error) = armed {
            self.end(error);
        }
    }

    fn on_error(self: &Arc<Self>, error: Error) {
        match error {
            // In the next session, unless the handle is pinned to this one: then it is refused.
            Error::SessionExpired { .. } => self.look(),
            error if error.is_connection() => self.look(),
            error => self.end(error),
        }
    }

    fn tell(&self, seen: Option<S::Seen>, mark: Option<Mark>) {
        let mut inside = self.inside.lock();
        if inside.told.as_ref() == Some(&mark) {
            return;
        }
        let Some(mut callback) = inside.callback.take() else { return };
        inside.told = Some(mark);
        drop(inside);
        // One that panics is called again the next time, as other callbacks are.
        let ran = catch_unwind(AssertUnwindSafe(|| callback(Ok(seen))));
        let mut inside = self.inside.lock();
        let over =
            if self.is_stopped() { Some(callback) } else { inside.callback.replace(callback) };
        drop(inside);
        drop(over);
        if let Err(payload) = ran {
            resume_unwind(payload);
        }
    }

    /// The answer to the last request is there. If the follower was stopped before, its watch was
    /// set after all.
    fn answered(&self) {
        let mut inside = self.inside.lock();
        inside.asking = false;
        let armed = if self.is_stopped() { inside.armed.take() } else { None };
        drop(inside);
        drop(armed);
    }

    /// The last that the callback hears.
    fn end(&self, error: Error) {
        let mut inside = self.inside.lock();
        let callback = inside.callback.take();
        drop(inside);
        self.stopped.store(true, Ordering::SeqCst);
        if let Some(mut callback) = callback {
            callback(Err(error));
        }
    }
}
