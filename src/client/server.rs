//! Asking servers outside the session: four-letter words, versions.

use std::fmt;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::error::{At, Error, Result};
use crate::io::four_letter;
use crate::session::hosts::ConnectString;

/// A server's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct ServerVersion {
    /// 3 in 3.8.0.
    pub major: u32,
    /// 8 in 3.8.0.
    pub minor: u32,
    /// 0 in 3.8.0.
    pub patch: u32,
}

impl ServerVersion {
    /// From the first line of the answer to `srvr`.
    fn parse(srvr: &str) -> Option<Self> {
        let line = srvr.lines().find_map(|line| line.strip_prefix("Zookeeper version: "))?;
        let digits = line.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
        let mut parts = digits.split('.').map(str::parse);
        let mut part = || parts.next()?.ok();
        Some(Self { major: part()?, minor: part()?, patch: part()? })
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Sends a four-letter word (`srvr`, `ruok`, `mntr`, …) to one server, `host[:port]`, and gives
/// its answer, read to the end.
///
/// Since 3.5.3 servers answer only the words on their list, by default `srvr` only; to others
/// they answer that.
///
/// # Errors
/// * [`Error::Connect`] if the server cannot be reached or does not finish in time.
/// * [`Error::Invalid`] if `word` has not four letters, or `server` is not one server.
///
/// # Blocking
/// For `timeout` at most, once the name is resolved.
pub fn four_letter_word(server: &str, word: &str, timeout: Duration) -> Result<String> {
    let invalid = |why: String| Error::invalid("four_letter_word", "", why);
    if word.len() != 4 || !word.bytes().all(|b| b.is_ascii_alphabetic()) {
        return Err(invalid(format!("{word:?} is not a word of four letters")));
    }
    let parsed = ConnectString::parse(server).map_err(invalid)?;
    let [host] = parsed.hosts.as_slice() else {
        return Err(invalid("one server, please".into()));
    };
    let limit = Duration::from_secs(365 * 24 * 3600);
    let deadline = Instant::now() + timeout.min(limit);
    four_letter::ask(&host.name, host.port, word, deadline)
        .map_err(|error| Error::Connect { tried: [(host.to_string(), error.to_string())].into() })
}

impl Client {
    /// Sends a four-letter word to the server that the client is connected to, on a connection of
    /// its own. See [`four_letter_word`].
    ///
    /// # Errors
    /// [`Error::ConnectionLoss`] if the client is not connected; else as [`four_letter_word`].
    ///
    /// # Blocking
    /// Until the deadline of the call at most, once the name is resolved.
    pub fn four_letter_word(&self, word: &str) -> Result<String> {
        let Some(host) = self.connected_host() else {
            let at = At::new("four_letter_word", "");
            return Err(Error::ConnectionLoss { sent: false, at });
        };
        four_letter_word(&host, word, self.scope().timeout.unwrap_or(FOR_EVER))
    }

    /// The version of the server that the client is connected to, from `srvr`.
    ///
    /// # Errors
    /// As [`four_letter_word`](Self::four_letter_word); [`Error::Protocol`] if the answer does not
    /// tell, as of a server that does not serve yet.
    pub fn server_version(&self) -> Result<ServerVersion> {
        let answer = self.four_letter_word("srvr")?;
        ServerVersion::parse(&answer).ok_or_else(|| Error::Protocol {
            what: "no version in the answer to srvr".into(),
            at: At::new("server_version", ""),
        })
    }
}

const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_srvr() {
        let version = ServerVersion::parse("Zookeeper version: 3.8.0-${mvngit.commit.id}, built");
        assert_eq!(version.unwrap().to_string(), "3.8.0");
        let older = ServerVersion::parse("Zookeeper version: 3.4.13--1, built on").unwrap();
        assert!(older < version.unwrap());
        assert_eq!(ServerVersion::parse("This instance is not currently serving requests"), None);
    }
}
