//! What all handles of one client share: its threads, and their end.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::error::{At, Error, Result};
use crate::io::driver::Command;
use crate::io::shared::Shared;
use crate::io::threads::Threads;

#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
    /// The shutdown latch: whoever finds the threads in it joins them.
    threads: Mutex<Option<Threads>>,
    event_thread: thread::ThreadId,
    pub(crate) close_timeout: Duration,
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>, threads: Threads, close_timeout: Duration) -> Self {
        let event_thread = threads.event.thread().id();
        Self { shared, threads: Mutex::new(Some(threads)), event_thread, close_timeout }
    }

    /// Ends the client: what was submitted before is sent, the session is closed, both threads
    /// end. At `deadline` all of that is cut short.
    pub(crate) fn close(&self, deadline: Instant) -> Result<()> {
        let at = || At::new("close", "");
        if self.shared.is_forked() {
            return Err(Error::Forked { at: at() });
        }
        // If it cannot be queued the IO thread has ended already.
        let _ = self.shared.command(Command::Close { deadline });
        if !self.wait_ended(deadline) {
            return Err(Error::Timeout { sent: true, at: at() });
        }
        if self.shared.is_session_ended() {
            Ok(())
        } else {
            Err(Error::ConnectionLoss { sent: true, at: at() })
        }
    }

    /// Waits for the threads to end, and joins them. On the event thread, which cannot wait for
    /// itself, for the IO thread only.
    pub(crate) fn wait_ended(&self, deadline: Instant) -> bool {
        let on_event_thread = thread::current().id() == self.event_thread;
        // The IO thread keeps the deadline; a little is left for it to say so.
        let patience = deadline + Duration::from_millis(100);
        if !self.shared.wait_ended(patience, !on_event_thread) {
            return false;
        }
        if let Some(threads) = self.threads.lock().take() {
            // Both are past their last statement: this takes microseconds.
            let _ = threads.io.join();
            if !on_event_thread {
                let _ = threads.event.join();
            }
        }
        true
    }
}

impl Drop for Handle {
    /// Closes the session in the background, and waits a little for it: a program that ends right
    /// after must not leave its ephemeral nodes behind until the session times out.
    fn drop(&mut self) {
        if self.shared.is_forked() {
            // The threads are the parent's; not even their handles mean anything here.
            std::mem::forget(self.threads.lock().take());
            return;
        }
        let deadline = Instant::now() + self.close_timeout.min(DROP_AT_MOST);
        if self.shared.command(Command::Close { deadline }).is_err() {
            // Ended already: take the threads down if they were not joined yet.
            self.wait_ended(Instant::now());
        } else if thread::current().id() != self.event_thread && !thread::panicking() {
            self.wait_ended(deadline);
        }
    }
}

const DROP_AT_MOST: Duration = Duration::from_secs(1);
