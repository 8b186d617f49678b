//! Many one-shot watches whose events come in one queue.

use std::time::Instant;

use crossbeam_channel::Sender;

use crate::client::op::Operation;
use crate::client::watch::{ArmedWatch, Watcher};
use crate::client::{Client, Pending};
use crate::error::Result;
use crate::io::mailbox::{Mailbox, Post, mailbox};
use crate::session::event::WatchedEvent;

/// The queue. Its watches are those of the reads that were submitted here, each until its event, or
/// until what was given for it is dropped.
#[derive(Debug)]
pub(crate) struct Gathering {
    post: Post,
    events: Mailbox,
}

impl Gathering {
    pub(crate) fn new() -> Self {
        let (post, events) = mailbox();
        Self { post, events }
    }

    /// Submits a read that leaves a watch. If it fails, what is given along is worth nothing.
    pub(crate) fn submit<O: Operation>(
        &self,
        client: &Client,
        read: impl FnOnce(Watcher) -> O,
        deadline: Option<Instant>,
    ) -> Result<(Pending<O::Reply>, Option<ArmedWatch>)> {
        client.submit_posted(read, self.post.clone(), deadline)
    }

    /// The next event if it is there, with its path as the servers call it.
    pub(crate) fn try_recv(&self) -> Option<WatchedEvent> {
        self.events.try_take().ok()
    }

    /// Drops `bell` as soon as there is an event.
    pub(crate) fn ring(&self, bell: Sender<()>) {
        self.events.ring(bell);
    }
}
