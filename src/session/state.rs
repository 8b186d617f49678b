//! The states of a client and the legal steps between them.

use std::fmt;

/// Where the client stands towards the ensemble.
///
/// The other clients' words: `Disconnected` is Kazoo's and Curator's *suspended*, `Expired` their
/// *lost*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionState {
    /// No session yet: the first one is being made, or a new one after an expiry.
    Connecting,
    /// The session lives and the server takes reads and writes. Announced only after the server
    /// acknowledged all credentials.
    Connected,
    /// Connected to a server that is cut off from its quorum: reads only, perhaps stale. Only with
    /// `ClientBuilder::read_only`.
    ReadOnly,
    /// The connection broke. The session may live on; the client is looking for a server.
    Disconnected,
    /// The server said that the session is gone, with its ephemeral nodes and watches.
    Expired,
    /// The server refused the credentials. Terminal.
    AuthFailed,
    /// The client was closed. Terminal.
    Closed,
}

impl SessionState {
    /// Whether no other state can follow.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::AuthFailed | Self::Closed)
    }

    /// Whether requests reach a server in this state.
    pub fn is_connected(self) -> bool {
        matches!(self, Self::Connected | Self::ReadOnly)
    }

    /// Whether the machine may step from `self` to `next`. The tests walk this table.
    pub(crate) fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (Self::AuthFailed | Self::Closed, _) => false,
            (_, Self::Closed | Self::AuthFailed) => true,
            (Self::Connecting | Self::Disconnected, Self::Connected | Self::ReadOnly)
            | (Self::Connected | Self::ReadOnly, Self::Disconnected)
            | (Self::Disconnected, Self::Expired)
            // Only of a session that the user attached and no server knows.
            | (Self::Connecting, Self::Expired)
            | (Self::Expired, Self::Connecting) => true,
            _ => false,
        }
    }

    pub(crate) fn as_u8(self) -> u8 {
        match self {
            Self::Connecting => 0,
            Self::Connected => 1,
            Self::ReadOnly => 2,
            Self::Disconnected => 3,
            Self::Expired => 4,
            Self::AuthFailed => 5,
            Self::Closed => 6,
        }
    }

    pub(crate) fn from_u8(raw: u8) -> Self {
        match raw {
            0 => Self::Connecting,
            1 => Self::Connected,
            2 => Self::ReadOnly,
            3 => Self::Disconnected,
            4 => Self::Expired,
            5 => Self::AuthFailed,
            _ => Self::Closed,
        }
    }
}

impl fmt::Display for SessionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::ReadOnly => "connected read-only",
            Self::Disconnected => "disconnected",
            Self::Expired => "expired",
            Self::AuthFailed => "authentication failed",
            Self::Closed => "closed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::SessionState::*;
    use super::*;

    const ALL: [SessionState; 7] =
        [Connecting, Connected, ReadOnly, Disconnected, Expired, AuthFailed, Closed];

    #[test]
    fn terminal_states_have_no_way_out() {
        for from in ALL.into_iter().filter(|s| s.is_terminal()) {
            assert!(ALL.iter().all(|to| !from.may_become(*to)), "{from}");
        }
    }

    #[test]
    fn no_state_follows_itself() {
        assert!(ALL.iter().all(|s| !s.may_become(*s)));
    }

    #[test]
    fn expiry_is_learnt_only_when_looking_for_a_server() {
        let from: Vec<_> = ALL.into_iter().filter(|s| s.may_become(Expired)).collect();
        assert_eq!(from, [Connecting, Disconnected]);
    }

    #[test]
    fn every_state_keeps_its_number() {
        assert!(ALL.iter().all(|s| SessionState::from_u8(s.as_u8()) == *s));
    }
}
