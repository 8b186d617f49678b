//! The session itself: pinned handles, and passing it on.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use crate::client::{Client, WeakClient};
use crate::io::life::{self, Life, Loss};
use crate::io::shared::Novelty;
use crate::session::state::SessionState;

/// A client handle that works in one session only.
///
/// All calls of [`Client`] work on it, but once this session is gone they fail with
/// [`Error::SessionExpired`](crate::Error::SessionExpired), while the client itself has gone on to
/// a new session. Whatever owns ephemeral nodes should hold one: what was meant for the old
/// session can never leak into the next.
#[derive(Clone, Debug)]
pub struct Session {
    client: Client,
    id: i64,
    life: Arc<Life>,
}

impl Session {
    pub(crate) fn new(client: Client, id: i64, life: Arc<Life>) -> Self {
        Self { client, id, life }
    }

    /// The session's id, as nodes carry it in [`Stat::ephemeral_owner`](crate::Stat).
    pub fn id(&self) -> i64 {
        self.id
    }

    /// Whether no server said yet that the session is gone, and the client was not closed.
    ///
    /// A fact of the past: see [`is_sure`](Self::is_sure) for a promise.
    pub fn is_alive(&self) -> bool {
        let (epoch, state) = self.client.shared().standing();
        Some(epoch) == self.client.scope().pin
            && !state.is_terminal()
            && state != SessionState::Expired
    }

    /// Until when this process may rely on the session, if nothing more is heard: the time at
    /// which the last answered request was sent, plus the session timeout, less a margin of a
    /// quarter. Moves on with each answer. `None` if the session counts as lost.
    ///
    /// The margin covers what the leader may not have heard yet of our requests from the server
    /// that died with us; it is right for session timeouts of two ticks or more, the servers'
    /// default minimum. It does not cover a server that is cut off from its leader, does not know
    /// it yet, and goes on answering reads and pings: no client can tell. A write that was
    /// answered proves that the session lived when it was made.
    pub fn deadline(&self) -> Option<Instant> {
        if self.loss_so_far().is_some() || !self.is_alive() {
            return None;
        }
        let shared = self.client.shared();
        let until = shared.lease_until()?.checked_sub(life::margin(shared.timeout()));
        // Looked at again: the words may have been those of the next session.
        if self.is_alive() { until } else { None }
    }

    /// Whether this process may rely on the session now: no loss was found, and the
    /// [`deadline`](Self::deadline) is not over. Once this was false for a handle it stays false.
    ///
    /// Answers from this process's own clock, without asking a server: right also in the first
    /// moment after the process was stopped for an hour.
    pub fn is_sure(&self) -> bool {
        match self.deadline() {
            Some(until) if Instant::now() < until => true,
            Some(_) => {
                self.life.lose(Loss::Silence);
                false
            }
            None => false,
        }
    }

    /// Why the session cannot be relied on any more, if so.
    pub fn loss(&self) -> Option<Loss> {
        if self.is_sure() { None } else { Some(self.loss_so_far().unwrap_or(Loss::Expired)) }
    }

    /// Waits for the loss of the session for `timeout` at most.
    ///
    /// The loss is told when a server says that the session expired, when the client is closed,
    /// and, without any server, at the [`deadline`](Self::deadline).
    pub fn wait_lost(&self, timeout: Duration) -> Option<Loss> {
        let limit = Duration::from_secs(365 * 24 * 3600);
        self.life.wait(Instant::now() + timeout.min(limit)).or_else(|| self.loss())
    }

    /// Disconnects with the loss.
    pub(crate) fn lost_signal(&self) -> &Receiver<()> {
        &self.life.ended
    }

    fn loss_so_far(&self) -> Option<Loss> {
        self.life.loss()
    }

    /// A handle that keeps neither the client nor its session alive.
    pub(crate) fn downgrade_session(&self) -> WeakSession {
        WeakSession { client: self.client.downgrade(), id: self.id, life: self.life.clone() }
    }

    /// The deadline of a call that begins now.
    pub(crate) fn call_deadline(&self) -> Option<Instant> {
        self.client.deadline(Instant::now())
    }

    /// Whether no server of this session said that it does not know it.
    pub(crate) fn knows(&self, what: Novelty) -> bool {
        !self.client.shared().is_without(what, self.epoch())
    }

    pub(crate) fn note_without(&self, what: Novelty) {
        self.client.shared().note_without(what, self.epoch());
    }

    /// The number of the session among those of the client.
    fn epoch(&self) -> u64 {
        self.client.scope().pin.unwrap_or(u64::MAX)
    }

    /// The same session, with the life that it has now: a loss that it survived is forgotten.
    pub(crate) fn refreshed(&self) -> Self {
        let mut life = self.client.shared().life();
        // Looked at after it: it may have been the life of the next session.
        if !self.is_alive() {
            life = Arc::new(Life::over(Loss::Expired));
        }
        Self { client: self.client.clone(), id: self.id, life }
    }
}

/// See [`Session::downgrade_session`].
#[derive(Debug)]
pub(crate) struct WeakSession {
    client: WeakClient,
    id: i64,
    life: Arc<Life>,
}

impl WeakSession {
    pub(crate) fn upgrade(self) -> Option<Session> {
        let Self { client, id, life } = self;
        client.upgrade().map(|client| Session { client, id, life })
    }
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// A session's id and password: whoever has them has the session.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionCredentials {
    id: i64,
    password: Vec<u8>,
}

impl SessionCredentials {
    /// From parts, as another client gave them.
    pub fn new(id: i64, password: impl Into<Vec<u8>>) -> Self {
        Self { id, password: password.into() }
    }

    /// The session's id.
    pub fn id(&self) -> i64 {
        self.id
    }

    /// The session's password; a secret.
    pub fn password(&self) -> &[u8] {
        &self.password
    }

    pub(crate) fn into_parts(self) -> (i64, Vec<u8>) {
        (self.id, self.password)
    }
}

impl fmt::Debug for SessionCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionCredentials(0x{:x}, …)", self.id)
    }
}
