//! Looking at a node again and again, each time that it changed: by a thread that waits.
//!
//! No thread of its own: whoever waits does the reading, so that it works on the event thread too.
//! Between two waits the watch stays armed and keeps one event.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use crate::client::Client;
use crate::client::op;
use crate::client::watch::{Watch, WatchWait};
use crate::error::{Error, Result};
use crate::proto::code::Code;
use crate::recipes::patience::Patience;
use crate::recipes::sight::{Mark, Sight};
use crate::recipes::site::Site;

#[derive(Debug)]
pub(crate) struct Lookout<S: Sight> {
    pub(crate) site: Site,
    /// Fails with `NoNode` instead of waiting for the node.
    pub(crate) existing: bool,
    memory: Arc<Mutex<Memory>>,
    sight: std::marker::PhantomData<fn() -> S>,
}

#[derive(Debug, Default)]
struct Memory {
    /// Tells when there is something new. None if nobody looked since there was.
    watch: Option<Watch>,
    /// What was given last: nothing yet, no node, a node.
    given: Option<Option<Mark>>,
}

impl<S: Sight> Lookout<S> {
    pub(crate) fn new(client: &Client, recipe: &'static str, path: &str) -> Result<Self> {
        let site = match path {
            "/" => Site::of(client.clone(), path.into(), [].into()),
            _ => Site::new(client, recipe, path)?,
        };
        Ok(Self { site, existing: false, memory: Arc::default(), sight: std::marker::PhantomData })
    }

    /// Waits until what is seen is not what was given last.
    pub(crate) fn recv(&self, deadline: Option<Instant>) -> Result<Option<S::Seen>> {
        self.site.patiently(deadline, "recv", |patience| {
            let mut memory = self.memory(patience)?;
            loop {
                self.await_news(&mut memory, patience)?;
                let (seen, mark) = self.look(&mut memory, patience)?;
                if memory.given.as_ref() != Some(&mark) {
                    memory.given = Some(mark);
                    return Ok(seen);
                }
            }
        })
    }

    /// What is seen if it is not what was given last. Asks no server if there is no news.
    pub(crate) fn try_recv(&self) -> Result<Option<Option<S::Seen>>> {
        self.site.patiently(self.site.deadline(), "try_recv", |patience| {
            let mut memory = self.memory(patience)?;
            if memory.watch.as_ref().is_some_and(|watch| watch.try_recv() == Err(WatchWait::Empty))
            {
                return Ok(None);
            }
            let (seen, mark) = self.look(&mut memory, patience)?;
            if memory.given.as_ref() == Some(&mark) {
                return Ok(None);
            }
            memory.given = Some(mark);
            Ok(Some(seen))
        })
    }

    /// As [`recv`](Self::recv), once what is seen was the same for the time of `quiet`.
    pub(crate) fn recv_settled(
        &self,
        quiet: Duration,
        deadline: Option<Instant>,
    ) -> Result<Option<S::Seen>> {
        self.site.patiently(deadline, "recv_settled", |patience| {
            let mut memory = self.memory(patience)?;
            loop {
                self.await_news(&mut memory, patience)?;
                let (mut seen, mut mark) = self.look(&mut memory, patience)?;
                while let Some(calm) = Instant::now().checked_add(quiet) {
                    let until = patience.deadline.map_or(calm, |deadline| deadline.min(calm));
                    let short = patience.until(until);
                    match self.await_news(&mut memory, &short) {
                        Ok(()) => (seen, mark) = self.look(&mut memory, patience)?,
                        Err(Error::Timeout { .. }) => break,
                        Err(error) => return Err(error),
                    }
                }
                patience.check()?;
                if memory.given.as_ref() != Some(&mark) {
                    memory.given = Some(mark);
                    return Ok(seen);
                }
            }
        })
    }

    /// One thread looks at a time; the others wait for their turn as they wait for news.
    fn memory(&self, patience: &Patience<'_>) -> Result<MutexGuard<'_, Memory>> {
        loop {
            let look = Instant::now() + LOOK_EVERY;
            let until = patience.deadline.map_or(look, |deadline| deadline.min(look));
            match self.memory.try_lock_until(until) {
                Some(memory) => return Ok(memory),
                None => patience.check()?,
            }
        }
    }

    /// Waits for the event of the watch, if there is one.
    fn await_news(&self, memory: &mut Memory, patience: &Patience<'_>) -> Result<()> {
        while let Some(watch) = &memory.watch {
            if watch.try_recv() != Err(WatchWait::Empty) {
                memory.watch = None;
                break;
            }
            patience.wait_for(&[watch])?;
        }
        Ok(())
    }

    /// Reads, leaving a watch.
    fn look(
        &self,
        memory: &mut Memory,
        patience: &Patience<'_>,
    ) -> Result<(Option<S::Seen>, Option<Mark>)> {
        memory.watch = None;
        let path = &*self.site.path;
        loop {
            match self.site.watch(patience, |watcher| S::read(path, watcher)) {
                Ok((reply, watch)) => {
                    memory.watch = Some(watch);
                    let seen = S::seen(reply);
                    let mark = S::mark(&seen);
                    return Ok((Some(seen), Some(mark)));
                }
                Err(error) if error.code() == Some(Code::NoNode) && !self.existing => {}
                Err(error) => return Err(error),
            }
            let exists = |watcher| op::Exists::new(path).watcher(watcher);
            if let (None, watch) = self.site.watch(patience, exists)? {
                memory.watch = Some(watch);
                return Ok((None, None));
            }
        }
    }
}

impl<S: Sight> Clone for Lookout<S> {
    fn clone(&self) -> Self {
        Self {
            site: self.site.clone(),
            existing: self.existing,
            memory: self.memory.clone(),
            sight: std::marker::PhantomData,
        }
    }
}

/// How often whoever waits for another's look sees whether it was cancelled.
const LOOK_EVERY: Duration = Duration::from_millis(50);
