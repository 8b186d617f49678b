//! The session itself: pinned handles, and passing it on.

use std::fmt;
use std::ops::Deref;
use std::time::Instant;

use crate::client::Client;
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
}

impl Session {
    pub(crate) fn new(client: Client, id: i64) -> Self {
        Self { client, id }
    }

    /// The session's id, as nodes carry it in [`Stat::ephemeral_owner`](crate::Stat).
    pub fn id(&self) -> i64 {
        self.id
    }

    /// Whether no server said yet that the session is gone, and the client was not closed.
    ///
    /// A fact of the past: see [`deadline`](Self::deadline) for a promise.
    pub fn is_alive(&self) -> bool {
        let (epoch, state) = self.client.shared().standing();
        Some(epoch) == self.client.scope().pin
            && !state.is_terminal()
            && state != SessionState::Expired
    }

    /// Until when the servers cannot have given the session up: the time at which the last
    /// answered request was sent, plus the session timeout. Moves on with each answer. `None` if
    /// the session is gone.
    pub fn deadline(&self) -> Option<Instant> {
        if !self.is_alive() {
            return None;
        }
        let until = self.client.shared().lease_until();
        // Looked at again: the words may have been those of the next session.
        if self.is_alive() { until } else { None }
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
        Self {
            id,
            password: password.into(),
        }
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
