//! Where the events of a watch go: a callback, or a handle.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use crate::client::chroot::Chroot;
use crate::io::dispatch::WatchCallback;
use crate::io::driver::Command;
use crate::io::mailbox::{Mailbox, Nothing, Post, mailbox};
use crate::io::shared::Shared;
use crate::proto::event::EventKind;
use crate::session::event::WatchedEvent;
use crate::session::watches::WatchId;

/// Who hears the events of a watch that is about to be set.
pub(crate) enum Watcher {
    Callback(WatchCallback),
    Handle(Post),
}

impl Watcher {
    pub(crate) fn once(callback: impl FnOnce(WatchedEvent) + Send + 'static) -> Self {
        let mut callback = Some(callback);
        Self::Callback(Box::new(move |event| {
            if let Some(callback) = callback.take() {
                callback(event);
            }
        }))
    }

    pub(crate) fn each(callback: impl FnMut(WatchedEvent) + Send + 'static) -> Self {
        Self::Callback(Box::new(callback))
    }

    pub(crate) fn handle() -> (Self, Mailbox) {
        let (post, mailbox) = mailbox();
        (Self::Handle(post), mailbox)
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Callback(_) => "Watcher::Callback",
            Self::Handle(_) => "Watcher::Handle",
        })
    }
}

/// A watch that is set, as a queue of its events.
///
/// Events come straight from the IO thread, in the order received: a callback that blocks the
/// event thread does not hold them up, so a handle may be waited on anywhere, even in a callback.
/// The queue is unbounded; nothing is dropped.
///
/// A one-shot watch gives one event, a persistent one gives events until it ends. Either way the
/// last event when the session ends is of kind [`EventKind::Ended`]; after the last event every
/// `recv` gives `None` at once.
///
/// Dropping the handle takes the watch back, here and, if it was the last of its kind on the
/// path, on the server, without waiting for it. The handle does not keep the client alive.
#[must_use = "dropping the handle takes the watch back"]
pub struct Watch {
    events: Mailbox,
    path: Arc<str>,
    id: WatchId,
    shared: Arc<Shared>,
    chroot: Chroot,
}

impl Watch {
    pub(crate) fn new(
        events: Mailbox,
        path: Arc<str>,
        id: WatchId,
        shared: Arc<Shared>,
        chroot: Chroot,
    ) -> Self {
        Self { events, path, id, shared, chroot }
    }

    /// The watched path.
    pub fn path(&self) -> String {
        self.chroot.up(self.path.to_string())
    }

    /// Waits for the next event, without a limit of time. `None` after the last.
    pub fn recv(&self) -> Option<WatchedEvent> {
        self.events.take(None).ok().map(|event| self.up(event))
    }

    /// The next event if it is there.
    ///
    /// # Errors
    /// [`WatchWait::Empty`] if there is none now, [`WatchWait::Over`] if there will be none.
    pub fn try_recv(&self) -> Result<WatchedEvent, WatchWait> {
        self.given(self.events.try_take())
    }

    /// Waits for the next event for `timeout` at most.
    ///
    /// # Errors
    /// As [`try_recv`](Self::try_recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<WatchedEvent, WatchWait> {
        // A time-out too large to be a point in time is none.
        self.given(self.events.take(Instant::now().checked_add(timeout)))
    }

    /// Waits for the next event until `deadline` at most.
    ///
    /// # Errors
    /// As [`try_recv`](Self::try_recv).
    pub fn recv_deadline(&self, deadline: Instant) -> Result<WatchedEvent, WatchWait> {
        self.given(self.events.take(Some(deadline)))
    }

    /// The events that are there now.
    pub fn try_iter(&self) -> impl Iterator<Item = WatchedEvent> + '_ {
        std::iter::from_fn(|| self.try_recv().ok())
    }

    /// Drops `bell` as soon as there is an event, or there will be none.
    pub(crate) fn ring(&self, bell: Sender<()>) {
        self.events.ring(bell);
    }

    /// Whether there is an event, or there will be none. Leaves it inside.
    pub(crate) fn has_news(&self) -> bool {
        self.events.has_news()
    }

    /// Waits until there are news, and leaves them inside. `false` if there were none until
    /// `deadline`.
    pub(crate) fn wait_news(&self, deadline: Instant) -> bool {
        self.events.wait(deadline)
    }

    fn given(&self, taken: Result<WatchedEvent, Nothing>) -> Result<WatchedEvent, WatchWait> {
        match taken {
            Ok(event) => Ok(self.up(event)),
            Err(Nothing::Yet) => Err(WatchWait::Empty),
            Err(Nothing::Ever) => Err(WatchWait::Over),
        }
    }

    fn up(&self, mut event: WatchedEvent) -> WatchedEvent {
        event.path = self.chroot.up(event.path);
        event
    }
}

/// Why there is no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WatchWait {
    /// None came in time; later there may be one.
    #[error("no event yet")]
    Empty,
    /// The watch had its last event.
    #[error("the watch is over")]
    Over,
}

impl Iterator for &Watch {
    type Item = WatchedEvent;

    /// Waits for the next event, without a limit of time.
    fn next(&mut self) -> Option<WatchedEvent> {
        self.recv()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // In a forked child the watch is the parent's. One that had its last event is gone already;
        // nobody needs to be told.
        if self.shared.is_forked() || self.events.is_over() {
            return;
        }
        let command = Command::Unwatch { path: self.path.clone(), id: self.id };
        let _ = self.shared.command(command);
    }
}

/// A watch with a callback; dropping it takes the watch back, as that of a [`Watch`] does.
#[derive(Debug)]
pub(crate) struct ArmedWatch {
    path: Arc<str>,
    id: WatchId,
    shared: Arc<Shared>,
}

impl ArmedWatch {
    pub(crate) fn new(path: Arc<str>, id: WatchId, shared: Arc<Shared>) -> Self {
        Self { path, id, shared }
    }
}

impl Drop for ArmedWatch {
    fn drop(&mut self) {
        if !self.shared.is_forked() {
            let _ = self.shared.command(Command::Unwatch { path: self.path.clone(), id: self.id });
        }
    }
}

impl WatchedEvent {
    /// Whether the watch ended without its node changing: the session ended, or the watch was
    /// removed.
    pub fn is_end(&self) -> bool {
        self.kind == EventKind::Ended
    }
}
