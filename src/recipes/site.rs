//! Where a recipe works: a client, a path, the ACL of what it makes, and the threads that wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Select, Sender, bounded};
use parking_lot::Mutex;

use crate::client::Client;
use crate::client::op::{self, Operation};
use crate::client::session::Session;
use crate::client::watch::{Watch, Watcher};
use crate::error::{Applied, Error, Result};
use crate::path;
use crate::proto::acl::Acl;
use crate::proto::code::Code;
use crate::recipes::place::Patience;

#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) client: Client,
    pub(crate) path: Arc<str>,
    pub(crate) acl: Arc<[Acl]>,
    waits: Arc<Waits>,
}

/// Those who wait for this recipe in this process, to be cancelled.
#[derive(Debug, Default)]
struct Waits {
    cancels: AtomicU64,
    wakers: Mutex<Vec<(u64, Sender<()>)>>,
}

impl Site {
    /// Nothing is sent. `Invalid` if `path` is not a legal path, or is "/".
    pub(crate) fn new(client: &Client, recipe: &'static str, path: &str) -> Result<Self> {
        let legal =
            if path == "/" { Err("the root cannot be used for it") } else { path::validate(path) };
        legal.map_err(|why| Error::invalid(recipe, path, why))?;
        Ok(Self {
            client: client.clone(),
            path: path.into(),
            acl: [Acl::open()].into(),
            waits: Arc::default(),
        })
    }

    /// As it was checked before.
    pub(crate) fn of(client: Client, path: Arc<str>, acl: Arc<[Acl]>) -> Self {
        Self { client, path, acl, waits: Arc::default() }
    }

    pub(crate) fn set_acl(&mut self, acl: impl IntoIterator<Item = Acl>) {
        self.acl = acl.into_iter().collect();
    }

    /// The same client and ACL, and the same waits, at another path.
    pub(crate) fn at(&self, path: String) -> Self {
        Self { path: path.into(), ..self.clone() }
    }

    /// The path of a node below.
    pub(crate) fn below(&self, name: &str) -> String {
        path::join(&self.path, name)
    }

    /// The deadline of a call that begins now.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.client.deadline(Instant::now())
    }

    /// Ends the waits that are under way.
    pub(crate) fn cancel(&self) {
        self.waits.cancels.fetch_add(1, Ordering::SeqCst);
        for (_, waker) in &*self.waits.wakers.lock() {
            let _ = waker.try_send(());
        }
    }

    /// Runs `work` with a patience that ends with `deadline` or a cancel.
    pub(crate) fn patiently<T>(
        &self,
        deadline: Option<Instant>,
        op: &'static str,
        work: impl FnOnce(&Patience<'_>, &Receiver<()>) -> Result<T>,
    ) -> Result<T> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let (waker, woken) = bounded(1);
        let before = self.waits.cancels.load(Ordering::SeqCst);
        self.waits.wakers.lock().push((id, waker));
        let cancelled = || self.waits.cancels.load(Ordering::SeqCst) != before;
        let patience = Patience { deadline, cancelled: &cancelled, op, path: &self.path };
        let result = work(&patience, &woken);
        self.waits.wakers.lock().retain(|(known, _)| *known != id);
        result
    }

    /// The present session; waits for one while there is none.
    pub(crate) fn session(&self, patience: &Patience<'_>) -> Result<Session> {
        // Heard only while there is none: the client keeps a subscription until the next state.
        let mut states = None;
        loop {
            match self.client.session() {
                Err(Error::SessionExpired { .. }) if self.may_renew() => {
                    patience.check()?;
                    let Some(states) = &states else {
                        states = Some(self.client.subscribe()?);
                        continue;
                    };
                    // Looks now and then all the same, for a cancel.
                    let _ = states.recv_timeout(LOOK_EVERY);
                }
                result => return result,
            }
        }
    }

    /// Whether the next session will do as well. A handle that is pinned to one has no other.
    pub(crate) fn may_renew(&self) -> bool {
        self.client.scope().pin.is_none()
    }

    /// Reads, until there is an answer, in this session or the next.
    pub(crate) fn ask<O: Operation>(
        &self,
        patience: &Patience<'_>,
        op: impl Fn() -> O,
    ) -> Result<O::Reply> {
        loop {
            match patience.ask(&self.client, &op) {
                Err(Error::SessionExpired { .. }) if self.may_renew() => patience.check()?,
                result => return result,
            }
        }
    }

    /// Reads and leaves a watch, until there is an answer, in this session or the next.
    pub(crate) fn watch<O: Operation>(
        &self,
        patience: &Patience<'_>,
        read: impl Fn(Watcher) -> O,
    ) -> Result<(O::Reply, Watch)> {
        loop {
            match look(&self.client, patience, &read) {
                Err(Error::SessionExpired { .. }) if self.may_renew() => {}
                result => return result,
            }
        }
    }

    /// Writes, once. What was not sent is sent again; where the answer was lost the error says so.
    ///
    /// A cancel does not end the wait: whoever cancels wants to know what happened.
    pub(crate) fn write<O: Operation>(
        &self,
        client: &Client,
        patience: &Patience<'_>,
        op: impl Fn() -> O,
    ) -> Result<O::Reply> {
        loop {
            patience.check()?;
            let pending = client.submit_until(op(), patience.deadline)?;
            match pending.wait_or_give_up(patience.deadline) {
                Err(error) if error.applied() == Applied::No && error.is_connection() => {}
                Err(error @ Error::SessionExpired { .. })
                    if error.applied() == Applied::No && client.scope().pin.is_none() => {}
                result => return result,
            }
        }
    }

    /// Makes the node at `path` and those above it, persistent and empty, where they are missing.
    pub(crate) fn ensure(&self, patience: &Patience<'_>, path: &str) -> Result<()> {
        self.client.ensure_by(path, &|client, path| {
            let create = || op::Create::new(path).acl(self.acl.iter().cloned());
            match patience.ask(client, create) {
                // The server looks at the parent's ACL before it looks for the node.
                Err(error)
                    if error.code() == Some(Code::NoAuth)
                        && patience.ask(client, || op::Exists::new(path))?.is_some() =>
                {
                    Ok(())
                }
                created => created.map(drop),
            }
        })
    }

    /// Makes what is missing above `path`, the chroot included.
    pub(crate) fn ensure_above(&self, patience: &Patience<'_>, path: &str) -> Result<()> {
        self.ensure(patience, path::parent(path).unwrap_or("/"))
    }
}

/// Reads and leaves a watch, until there is an answer.
pub(crate) fn look<O: Operation>(
    client: &Client,
    patience: &Patience<'_>,
    read: impl Fn(Watcher) -> O,
) -> Result<(O::Reply, Watch)> {
    loop {
        patience.check()?;
        // If this gives up, the handle is dropped and takes the watch back.
        let (pending, watch) = client.submit_watched(&read, patience.deadline)?;
        match patience.wait(pending)? {
            Ok(reply) => return Ok((reply, watch)),
            Err(error) if error.is_connection() => {}
            Err(error) => return Err(error),
        }
    }
}

/// Waits until a watch hears something, the wait is cancelled, or patience ends.
pub(crate) fn wait_for(
    watches: &[&Watch],
    patience: &Patience<'_>,
    woken: &Receiver<()>,
) -> Result<()> {
    let rung: Vec<Receiver<()>> = watches
        .iter()
        .map(|watch| {
            let (bell, rung) = bounded(0);
            watch.ring(bell);
            rung
        })
        .collect();
    let mut select = Select::new();
    for rung in &rung {
        select.recv(rung);
    }
    select.recv(woken);
    // Whoever waits looks again whatever it was, so that nobody needs to know.
    match patience.deadline {
        Some(deadline) => drop(select.ready_deadline(deadline)),
        None => drop(select.ready()),
    }
    let _ = woken.try_recv();
    patience.check()
}

/// How often a recipe that waits for a session looks whether it was cancelled.
const LOOK_EVERY: Duration = Duration::from_millis(50);
