//! A node that stays present across sessions.
//!
//! ```text
//! <path>            ephemeral, holds the data; or persistent; or, with a time to live, a container
//! <path>/touch      only with a time to live: expires if nobody touches it
//! ```
//!
//! The layout of Curator's `PersistentNode` and `PersistentTtlNode`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};

use crate::client::Client;
use crate::client::session::Session;
use crate::error::{Error, RecipeError, Result};
use crate::proto::acl::Acl;
use crate::recipes::keeper::{self, Kept, Kind};
use crate::recipes::patience::Patience;
use crate::recipes::site::Site;

/// A node that is made, and made again whenever it is gone, for as long as its handle lives.
///
/// # What it promises
/// * [`keep`](Self::keep) gives a [`KeptNode`] once the node is there. If the session expires the
///   node is made again in the next; if somebody deletes it, at once; its parents too. The
///   [presence](KeptNode::presence) tells how often that was.
/// * Dropping the handle deletes the node in the background; [`close`](KeptNode::close) waits and
///   tells. No exit leaves a node behind while its session lives.
///
/// # What it does not promise
/// * That the node is there in this moment. Between the end of a session and the next one it is
///   not, and during a partition nobody can tell.
/// * To keep the *data*: what others write to the node stays, until
///   [`set_data`](KeptNode::set_data).
/// * To push others away. While a node of that name belongs to another session, the keeper waits
///   until it is gone; so a process that was killed and started again waits for the session of its
///   former self.
/// * To keep two handles of one client at one path apart: they have one node, and the end of either
///   takes it away, until the other makes it again.
///
/// ```no_run
/// use zookeeper_blocking::{Client, recipes::PersistentNode};
///
/// let zk = Client::connect("localhost:2181")?;
/// let node = PersistentNode::new(&zk, "/app/servers/h7")?.data("10.0.0.7:80").keep()?;
/// node.set_data("10.0.0.7:81")?;
/// node.close()?;
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
///
/// Costs two round trips to make, and a thread that sleeps.
#[derive(Clone)]
pub struct PersistentNode {
    site: Site,
    data: Arc<[u8]>,
    kind: Kind,
}

impl PersistentNode {
    /// A node at `path`, ephemeral and empty. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `path` is not a legal path, or is "/".
    pub fn new(client: &Client, path: &str) -> Result<Self> {
        let site = Site::new(client, "persistent_node", path)?;
        Ok(Self { site, data: [].into(), kind: Kind::Ephemeral })
    }

    /// An ephemeral node of another recipe's.
    pub(crate) fn of(site: Site, data: Arc<[u8]>) -> Self {
        Self { site, data, kind: Kind::Ephemeral }
    }

    /// What the node holds. Defaults to nothing.
    pub fn data(mut self, data: impl AsRef<[u8]>) -> Self {
        self.data = data.as_ref().into();
        self
    }

    /// The ACL of the nodes that are made, parents included. Defaults to everybody everything.
    pub fn acl(mut self, acl: impl IntoIterator<Item = Acl>) -> Self {
        self.site.set_acl(acl);
        self
    }

    /// Makes the node persistent: it outlives a process that dies, not the handle.
    pub fn persistent(mut self) -> Self {
        self.kind = Kind::Persistent;
        self
    }

    /// Makes the node one that outlives the process and its sessions by `ttl`, from 2 ms on: a
    /// container with a child that expires, and is touched every half of `ttl`. The handle's end
    /// does not delete it. Curator's `PersistentTtlNode`.
    ///
    /// Since 3.5.3, and only if the servers run with `extendedTypesEnabled`.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.kind = Kind::Ttl(ttl);
        self
    }

    /// The node's path.
    pub fn path(&self) -> &str {
        &self.site.path
    }

    /// Makes the node and keeps it. Waits until it is there, until the deadline of the client's
    /// calls.
    ///
    /// # Errors
    /// * [`Error::Timeout`] at the deadline, with no node left behind.
    /// * [`RecipeError::Cancelled`] after [`cancel`](Self::cancel).
    /// * [`Code::NoAuth`](crate::Code::NoAuth), [`Error::Closed`] and the like.
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most (30 s by default).
    pub fn keep(&self) -> Result<KeptNode> {
        self.keep_until(self.site.deadline())
    }

    /// As [`keep`](Self::keep), for `timeout` at most.
    ///
    /// # Errors
    /// As [`keep`](Self::keep).
    pub fn keep_timeout(&self, timeout: Duration) -> Result<KeptNode> {
        self.keep_until(Instant::now().checked_add(timeout))
    }

    /// As [`keep`](Self::keep), but does not wait for another session to give the name up: then
    /// `None`.
    ///
    /// # Errors
    /// As [`keep`](Self::keep).
    pub fn try_keep(&self) -> Result<Option<KeptNode>> {
        self.keep_by(self.site.deadline(), "try_keep", true)
    }

    /// Ends the waits of [`keep`](Self::keep) of this handle and its clones. Nodes that are kept
    /// are not concerned.
    pub fn cancel(&self) {
        self.site.cancel();
    }

    fn keep_until(&self, deadline: Option<Instant>) -> Result<KeptNode> {
        let node = self.keep_by(deadline, "keep", false)?;
        node.ok_or_else(|| Error::invalid("keep", self.path(), "no node and no reason"))
    }

    fn keep_by(
        &self,
        deadline: Option<Instant>,
        op: &'static str,
        is_try: bool,
    ) -> Result<Option<KeptNode>> {
        self.site.patiently(deadline, op, |patience| {
            patience.check()?;
            let kept = Kept::new(&self.site, self.kind, self.data.clone());
            let (news, heard) = bounded(1);
            keeper::start(kept.clone(), &self.site.client, heard)?;
            // If this gives up, its drop stops the keeper and takes the node back.
            let node = KeptNode { site: self.site.clone(), kept, news: Some(news) };
            let mut state = node.kept.state.lock();
            loop {
                if state.there.is_some() {
                    break;
                }
                if let (Some(error), true) = (&state.failed, state.ended) {
                    return Err(error.clone().moved_to(patience.at()));
                }
                if state.ended {
                    return Err(Error::Closed { sent: false, at: patience.at() });
                }
                if state.taken && is_try {
                    return Ok(None);
                }
                patience.check()?;
                let look = Instant::now() + LOOK_EVERY;
                let until = deadline.map_or(look, |deadline| deadline.min(look));
                node.kept.changed.wait_until(&mut state, until);
            }
            drop(state);
            Ok(Some(node))
        })
    }
}

/// A node that is kept present.
///
/// Dropping it deletes the node in the background, again and again until the server answered or the
/// session is gone; [`close`](Self::close) waits and tells. (A node with a time to live is not
/// deleted, it is touched no more.)
#[must_use = "dropping the handle takes the node away"]
pub struct KeptNode {
    site: Site,
    kept: Arc<Kept>,
    /// Its end is the keeper's.
    news: Option<Sender<()>>,
}

/// What is known of a kept node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Presence {
    /// The transaction (czxid) that made the node that is there. `None` while none is there: the
    /// session ended, somebody deleted it, or has its name.
    pub czxid: Option<i64>,
    /// The session that keeps it; `None` while no node is there.
    pub session_id: Option<i64>,
    /// How often it was made: 1 at first, more after each loss.
    pub made: u64,
}

impl KeptNode {
    /// The node's path.
    pub fn path(&self) -> &str {
        &self.site.path
    }

    /// What is known of the node now: a fact of the past as soon as it is read.
    pub fn presence(&self) -> Presence {
        presence_of(&self.kept.state.lock())
    }

    /// Whether the node was there when it was last heard of, and no server said that its session
    /// ended.
    pub fn is_present(&self) -> bool {
        let state = self.kept.state.lock();
        state.there.as_ref().is_some_and(|there| there.session.is_alive())
    }

    /// Waits until the [`presence`](Self::presence) is another than `known`, for `timeout` at most.
    /// `None` if it still is the same.
    pub fn wait_change(&self, known: &Presence, timeout: Duration) -> Option<Presence> {
        let deadline = Instant::now().checked_add(timeout);
        let mut state = self.kept.state.lock();
        loop {
            let present = presence_of(&state);
            if present != *known {
                return Some(present);
            }
            match deadline {
                None => self.kept.changed.wait(&mut state),
                Some(deadline) => {
                    if self.kept.changed.wait_until(&mut state, deadline).timed_out() {
                        let present = presence_of(&state);
                        return (present != *known).then_some(present);
                    }
                }
            }
        }
    }

    /// Why the node could not be made, if the servers refused it the last time. The keeper tries
    /// again, every 30 s at last.
    pub fn failure(&self) -> Option<Error> {
        self.kept.state.lock().failed.clone()
    }

    /// Has the node hold `data`, now and whenever it is made again. Waits until the node has it.
    ///
    /// # Errors
    /// * [`Error::Timeout`]: not written by the deadline of the client's calls; it goes on in the
    ///   background.
    /// * What the servers refused, [`Error::Closed`] and the like.
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most.
    pub fn set_data(&self, data: impl AsRef<[u8]>) -> Result<()> {
        let data: Arc<[u8]> = data.as_ref().into();
        let wanted = self.kept.change(|state| {
            (state.data, state.failed) = (data, None);
            state.given += 1;
            state.given
        });
        if let Some(news) = &self.news {
            let _ = news.try_send(());
        }
        self.site.patiently(self.site.deadline(), "set_data", |patience| {
            let mut state = self.kept.state.lock();
            loop {
                if state.written.is_some_and(|written| written >= wanted) {
                    return Ok(());
                }
                if let Some(error) = &state.failed {
                    return Err(error.clone().moved_to(patience.at()));
                }
                if state.ended {
                    return Err(Error::Closed { sent: false, at: patience.at() });
                }
                match patience.deadline {
                    None => self.kept.changed.wait(&mut state),
                    Some(deadline) => {
                        if self.kept.changed.wait_until(&mut state, deadline).timed_out() {
                            return Err(Error::Timeout { sent: true, at: patience.at() });
                        }
                    }
                }
            }
        })
    }

    /// Keeps the node no more: deletes it and waits for that.
    ///
    /// # Errors
    /// * [`RecipeError::NotHeld`]: no node of ours was there.
    /// * [`Error::SessionExpired`], [`Error::Closed`]: it is gone with its session.
    /// * [`Error::Timeout`]: not done by the deadline of the client's calls; it goes on in the
    ///   background.
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most.
    pub fn close(mut self) -> Result<()> {
        self.kept.closed.store(true, Ordering::SeqCst);
        self.news = None;
        self.site.patiently(self.site.deadline(), "close", |patience| {
            let (node, failed) = {
                let mut state = self.kept.state.lock();
                while !state.ended {
                    let look = Instant::now() + LOOK_EVERY;
                    self.kept.changed.wait_until(&mut state, look);
                    patience.check()?;
                }
                if matches!(self.kept.kind, Kind::Ttl(_)) {
                    return Ok(());
                }
                (state.take_node(), state.failed.clone())
            };
            let not_held = || match failed {
                Some(error) if error.is_terminal() => error.moved_to(patience.at()),
                _ => patience.error(RecipeError::NotHeld),
            };
            let session = match (self.kept.kind, node) {
                (Kind::Ephemeral, node) => node.ok_or_else(not_held)?,
                // Its session is not what keeps it.
                _ => self.site.session(patience)?,
            };
            self.remove(&session, patience)
        })
    }

    fn remove(&self, session: &Session, patience: &Patience<'_>) -> Result<()> {
        let removed = keeper::remove(session, &self.kept, patience);
        if let Err(Error::Timeout { .. } | Error::ConnectionLoss { .. }) = &removed {
            keeper::remove_behind(session, &self.kept);
        }
        removed
    }
}

impl Drop for KeptNode {
    fn drop(&mut self) {
        self.kept.closed.store(true, Ordering::SeqCst);
        self.news = None;
        let node = self.kept.change(|state| {
            state.dropped = true;
            state.take_node()
        });
        let lasting = || self.site.client.session().ok();
        let session = match self.kept.kind {
            Kind::Ephemeral => node,
            Kind::Persistent => node.and_then(|_| lasting()),
            Kind::Ttl(_) => None,
        };
        if let Some(session) = session {
            keeper::remove_behind(&session, &self.kept);
        }
    }
}

fn presence_of(state: &keeper::State) -> Presence {
    let there = state.there.as_ref();
    Presence {
        czxid: there.map(|there| there.czxid),
        session_id: there.map(|there| there.session.id()),
        made: state.made,
    }
}

/// How often a wait for the keeper looks whether it was cancelled.
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl fmt::Debug for PersistentNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PersistentNode")
            .field("path", &self.site.path)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for KeptNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptNode")
            .field("path", &self.site.path)
            .field("presence", &self.presence())
            .finish_non_exhaustive()
    }
}
