//! Keeps one node present: a thread that makes it, watches it, and makes it again.
//!
//! ```text
//!          ┌───────────── the node was deleted, the session ended ───────────────┐
//!          ▼                                                                     │
//!  wait for a session ─▶ create ─▶ watch it, tell that it is there ─▶ wait ─▶ an event
//!                          │                                          ▲
//!                          └─ somebody else has the name: watch that ─┘
//! ```
//!
//! A thread of its own, because user code on the event thread may block, and the node must come
//! back all the same; and a blocking one, because then this page is the whole story. It sleeps
//! unless something happens, and holds the client only while it asks something of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, after, bounded, never, select};
use parking_lot::{Condvar, Mutex};

use crate::client::op::{self, CreateMode};
use crate::client::session::Session;
use crate::client::watch::Watch;
use crate::client::{Client, WeakClient};
use crate::error::{Error, Result};
use crate::path;
use crate::proto::acl::Acl;
use crate::proto::code::Code;
use crate::proto::event::EventKind;
use crate::proto::stat::Stat;
use crate::recipes::own_node;
use crate::recipes::patience::Patience;
use crate::recipes::site::{Site, look};

/// What lives how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ephemeral,
    Persistent,
    /// A container, and in it a node with a time to live that is touched.
    Ttl(Duration),
}

/// What is known of the node, between the keeper and its handle.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) path: Arc<str>,
    pub(crate) acl: Arc<[Acl]>,
    pub(crate) kind: Kind,
    pub(crate) closed: AtomicBool,
    pub(crate) state: Mutex<State>,
    pub(crate) changed: Condvar,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) data: Arc<[u8]>,
    /// Counts the data that were given to the keeper.
    pub(crate) given: u64,
    /// Which of them the node has.
    pub(crate) written: Option<u64>,
    pub(crate) there: Option<There>,
    /// A session in which a create was sent whose answer is not known yet.
    pub(crate) unsure: Option<Session>,
    /// How often the node was made.
    pub(crate) made: u64,
    /// Whether somebody else has the name.
    pub(crate) taken: bool,
    /// Why it could not be made, the last time.
    pub(crate) failed: Option<Error>,
    /// The handle was dropped: whoever has `there` last deletes the node.
    pub(crate) dropped: bool,
    /// The thread has ended.
    pub(crate) ended: bool,
}

/// The node, as it was made.
#[derive(Clone, Debug)]
pub(crate) struct There {
    pub(crate) session: Session,
    pub(crate) czxid: i64,
}

impl State {
    /// The session in which a node of ours is, or may be; forgets it.
    pub(crate) fn take_node(&mut self) -> Option<Session> {
        let unsure = self.unsure.take();
        self.there.take().map(|there| there.session).or(unsure)
    }
}

impl Kept {
    pub(crate) fn new(site: &Site, kind: Kind, data: Arc<[u8]>) -> Arc<Self> {
        Arc::new(Self {
            path: site.path.clone(),
            acl: site.acl.clone(),
            kind,
            closed: AtomicBool::new(false),
            state: Mutex::new(State {
                data,
                given: 0,
                written: None,
                there: None,
                unsure: None,
                made: 0,
                taken: false,
                failed: None,
                dropped: false,
                ended: false,
            }),
            changed: Condvar::new(),
        })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Changes what is known, and wakes whoever waits for it.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let changed = change(&mut state);
        drop(state);
        self.changed.notify_all();
        changed
    }
}

/// Starts the keeper; it ends when `news` disconnects, and with the client.
pub(crate) fn start(kept: Arc<Kept>, client: &Client, news: Receiver<()>) -> Result<()> {
    let keeper = Keeper { kept, client: client.downgrade(), news };
    let run = move || {
        keeper.run();
        let left = keeper.kept.change(|state| {
            state.ended = true;
            let is_ours = state.dropped && !matches!(keeper.kept.kind, Kind::Ttl(_));
            if is_ours { state.take_node() } else { None }
        });
        if let Some(session) = left {
            remove_behind(&session, &keeper.kept);
        }
    };
    thread::Builder::new()
        .name("zk-keeper".into())
        .spawn(run)
        .map(drop)
        .map_err(|source| Error::Start { source: Arc::new(source) })
}

struct Keeper {
    kept: Arc<Kept>,
    client: WeakClient,
    news: Receiver<()>,
}

/// What the node is to be, as a round begins.
struct Plan {
    data: Arc<[u8]>,
    given: u64,
    /// Whether the node had these data when it was last made or written.
    is_written: bool,
    /// The node that is there, by its czxid.
    known: Option<i64>,
}

/// Why the keeper stopped waiting.
enum Woken {
    /// Look at the node again.
    Look,
    /// Nobody needs the node any more.
    Over,
}

/// What came of the attempt to make the node.
enum Made {
    There(Stat, Watch),
    /// Somebody else has the name; the watch tells when it is free.
    Taken(Watch),
    /// Gone again: once more.
    Again,
}

impl Keeper {
    fn run(&self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.round() {
                Ok(Woken::Look) => {
                    pause = FIRST_PAUSE;
                    continue;
                }
                Ok(Woken::Over) => return,
                Err(error) => error,
            };
            if self.kept.is_closed() || self.is_last(&error) {
                self.kept.change(|state| state.failed = Some(error));
                return;
            }
            if matches!(error, Error::SessionExpired { .. }) {
                continue;
            }
            log::warn!("cannot keep {}: {error}", self.kept.path);
            let never_made = self.kept.change(|state| {
                state.there = None;
                state.failed = Some(error);
                state.made == 0
            });
            // Whoever asked for it waits still, and is told.
            if never_made {
                return;
            }
            select! {
                recv(self.news) -> news => if news.is_err() { return },
                recv(after(pause)) -> _ => {}
            }
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// Whether the node can never be made again: the client is closed, or pinned to a session.
    fn is_last(&self, error: &Error) -> bool {
        let pinned = || self.client.upgrade().is_none_or(|client| client.scope().pin.is_some());
        error.is_terminal() || matches!(error, Error::SessionExpired { .. }) && pinned()
    }

    /// Makes the node if it is missing, and waits until there is a reason to look again.
    fn round(&self) -> Result<Woken> {
        let kept = &self.kept;
        let cancelled = || kept.is_closed();
        let patience = Patience::of_thread(&cancelled, "keep", &kept.path);
        let Some(client) = self.client.upgrade() else { return Ok(Woken::Over) };
        let site = Site::of(client, kept.path.clone(), kept.acl.clone());
        let session = site.session(&patience)?;
        let plan = {
            let state = kept.state.lock();
            Plan {
                data: state.data.clone(),
                given: state.given,
                is_written: state.written == Some(state.given),
                known: state.there.as_ref().map(|there| there.czxid),
            }
        };
        let watch = match self.make(&site, &session, &plan, &patience)? {
            Made::Again => return Ok(Woken::Look),
            Made::Taken(watch) => {
                kept.change(|state| (state.taken, state.unsure) = (true, None));
                watch
            }
            Made::There(stat, watch) => {
                let there = There { session: session.clone(), czxid: stat.czxid };
                kept.change(|state| {
                    state.made += u64::from(plan.known != Some(stat.czxid));
                    (state.there, state.unsure) = (Some(there), None);
                    (state.taken, state.failed) = (false, None);
                    state.written = Some(plan.given);
                });
                watch
            }
        };
        // Nothing may keep the client alive while it is only waited.
        drop((session, site));
        let woken = self.wait(&watch, plan.given);
        let changed_only = watch.try_iter().all(|event| event.kind == EventKind::DataChanged);
        if !changed_only {
            kept.change(|state| state.there = None);
        }
        Ok(woken)
    }

    fn make(
        &self,
        site: &Site,
        session: &Session,
        plan: &Plan,
        patience: &Patience<'_>,
    ) -> Result<Made> {
        let mut is_written = plan.is_written;
        if plan.known.is_none() {
            if self.kept.kind == Kind::Ephemeral {
                self.kept.change(|state| state.unsure = Some(session.clone()));
            }
            is_written |= self.create(site, session, &plan.data, patience)?;
        }
        if let Kind::Ttl(ttl) = self.kept.kind {
            self.touch(session, ttl, patience)?;
        }
        let (stat, watch) = self.look(session, patience)?;
        let Some(stat) = stat else {
            self.kept.change(|state| (state.there, state.unsure) = (None, None));
            return Ok(Made::Again);
        };
        if self.kept.kind == Kind::Ephemeral && stat.ephemeral_owner != session.id() {
            self.kept.change(|state| state.there = None);
            return Ok(Made::Taken(watch));
        }
        if is_written {
            return Ok(Made::There(stat, watch));
        }
        drop(watch);
        match patience.ask(session, || op::SetData::new(&*self.kept.path, &*plan.data)) {
            Err(error) if error.code() == Some(Code::NoNode) => return Ok(Made::Again),
            set => set?,
        };
        let (stat, watch) = self.look(session, patience)?;
        Ok(stat.map_or(Made::Again, |stat| Made::There(stat, watch)))
    }

    /// Gives whether the node was made now; `false` if there is one of this name.
    fn create(
        &self,
        site: &Site,
        session: &Session,
        data: &[u8],
        patience: &Patience<'_>,
    ) -> Result<bool> {
        let mode = match self.kept.kind {
            Kind::Ephemeral => CreateMode::Ephemeral,
            Kind::Persistent => CreateMode::Persistent,
            Kind::Ttl(_) => CreateMode::Container,
        };
        loop {
            let acl = self.kept.acl.iter().cloned();
            let create =
                || op::Create::new(&*self.kept.path).mode(mode).data(data).acl(acl.clone());
            // Repeated blindly: if the first was made, its node is there, and is ours.
            match patience.ask(session, create) {
                Ok(_) => return Ok(true),
                Err(error) if error.code() == Some(Code::NodeExists) => return Ok(false),
                Err(error) if error.code() == Some(Code::NoNode) => {
                    site.ensure_above(patience, &self.kept.path)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn look(&self, session: &Session, patience: &Patience<'_>) -> Result<(Option<Stat>, Watch)> {
        look(session, patience, |watcher| op::Exists::new(&*self.kept.path).watcher(watcher))
    }

    /// Keeps the node with a time to live alive.
    fn touch(&self, session: &Session, ttl: Duration, patience: &Patience<'_>) -> Result<()> {
        let touched = path::join(&self.kept.path, TOUCHED);
        loop {
            match patience.ask(session, || op::SetData::new(touched.as_str(), &b""[..])) {
                Err(error) if error.code() == Some(Code::NoNode) => {}
                set => return set.map(drop),
            }
            let create =
                || op::Create::new(touched.as_str()).ttl(ttl).acl(self.kept.acl.iter().cloned());
            match patience.ask(session, create) {
                Err(error) if error.code() == Some(Code::NodeExists) => {}
                // The container expired meanwhile: it is made again in the next round.
                Err(error) if error.code() == Some(Code::NoNode) => return Ok(()),
                created => return created.map(drop),
            }
        }
    }

    /// Waits for an event of the watch, for news of the handle's, or for the next touch.
    fn wait(&self, watch: &Watch, given: u64) -> Woken {
        let (bell, rung) = bounded(0);
        watch.ring(bell);
        if self.kept.state.lock().given != given {
            return Woken::Look;
        }
        let tick = match self.kept.kind {
            Kind::Ttl(ttl) => after(ttl / 2),
            _ => never(),
        };
        select! {
            recv(rung) -> _ => Woken::Look,
            recv(self.news) -> news => if news.is_err() { Woken::Over } else { Woken::Look },
            recv(tick) -> _ => Woken::Look,
        }
    }
}

/// Deletes a node that is kept no more, and waits for it.
pub(crate) fn remove(session: &Session, kept: &Kept, patience: &Patience<'_>) -> Result<()> {
    own_node::remove(session, &kept.path, kept.kind == Kind::Ephemeral, patience)
}

/// Deletes a node that is kept no more, in the background.
pub(crate) fn remove_behind(session: &Session, kept: &Kept) {
    let (is_owned, owner) = (kept.kind == Kind::Ephemeral, session.id());
    let is_ours = move |_: &[u8], stat: &Stat| !is_owned || stat.ephemeral_owner == owner;
    own_node::look_behind(session, kept.path.clone(), Arc::new(is_ours));
}

/// As Curator's `PersistentTtlNode` calls it.
const TOUCHED: &str = "touch";

/// Between attempts that the servers refuse, the first time and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(30);
