//! Which server to try next, and how long to wait before.
//!
//! Three values: [`ConnectString`] is what the user wrote, [`HostList`] goes round it in a
//! shuffled order, [`Backoff`] spaces the attempts. None of them looks up a name or opens a socket;
//! names stay text, so that each attempt asks DNS anew (ZOOKEEPER-2184).
//!
//! [`HostList::replace`] moves clients when the list of servers changes. Every client decides alone
//! and by chance, with odds that leave each server the same share of all clients:
//!
//! ```text
//!                     my server stays in the list      my server is gone
//! more servers        move to a new one with           move to a new one
//!                     probability 1 - before/after
//! as many or fewer    stay                             an old one with probability pOld,
//!                                                      else a new one
//! ```

use std::fmt;
use std::net::Ipv6Addr;
use std::time::Duration;

use fastrand::Rng;

use crate::path;

/// A server as the connect string names it.
///
/// Two hosts are the same if name and port are: nothing is resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Host {
    /// A host name or an address; an IPv6 address without its brackets.
    pub(crate) name: String,
    pub(crate) port: u16,
}

impl Default for Host {
    /// The server that ZooKeeper's own tools try when they are not told one: `localhost:2181`.
    fn default() -> Self {
        Self { name: "localhost".into(), port: DEFAULT_PORT }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}

/// What a connect string says: `host[:port],host[:port],…[/chroot]`.
///
/// Source: ZooKeeper `ConnectStringParser`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConnectString {
    /// At least one, in the order in which they were written.
    pub(crate) hosts: Vec<Host>,
    /// The node that is the root of this client; empty for none.
    pub(crate) chroot: String,
}

impl ConnectString {
    /// Reads a connect string; the error says what is wrong and where.
    ///
    /// Spaces around hosts are ignored, `zk://` in front too. The port defaults to 2181. IPv6
    /// addresses stand in brackets. The first `/` begins the chroot, which holds for all hosts;
    /// `/` alone means none.
    ///
    /// Stricter than ZooKeeper's parser, which skips empty hosts and takes the last group of a bare
    /// IPv6 address for the port.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let rest = match text.split_once("://") {
            None | Some(("zk", _)) => text.strip_prefix("zk://").unwrap_or(text),
            Some((scheme @ ("zks" | "dns-srv"), _)) => {
                return Err(format!("{scheme}:// is not supported yet"));
            }
            Some((scheme, _)) => {
                return Err(format!(
                    "`{scheme}://` is not a scheme of ZooKeeper, use zk:// or none"
                ));
            }
        };
        let (hosts, chroot) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if hosts.trim().is_empty() {
            return Err("the connect string names no host".into());
        }
        if hosts.contains('@') {
            // Says nothing of the text: it may hold a password.
            return Err("the connect string names a user, add credentials as auth instead".into());
        }
        let hosts = hosts.split(',').enumerate().map(|(at, host)| parse_host(at, host.trim()));
        let hosts = hosts.collect::<Result<_, _>>()?;
        let chroot = if chroot == "/" { "" } else { chroot };
        if !chroot.is_empty() {
            path::validate(chroot).map_err(|why| format!("chroot `{chroot}`: {why}"))?;
        }
        Ok(Self { hosts, chroot: chroot.into() })
    }
}

/// The servers in the order in which they are tried, and the place that was reached.
///
/// Never empty. The random numbers are its own: give a seeded generator to have the order repeat.
///
/// Source: ZooKeeper `StaticHostProvider`, whose `next`, `onConnected` and `updateServerList` these
/// are.
#[derive(Clone, Debug)]
pub(crate) struct HostList {
    servers: Vec<Host>,
    shuffle: bool,
    rng: Rng,
    /// The place of the server that [`HostList::next`] gave last.
    current: Option<usize>,
    /// The place at which a round began: that of the server we were last connected to.
    last: Option<usize>,
    /// Present from a change of the list to the next connection.
    moving: Option<Moving>,
}

/// Where to go after a change of the list.
#[derive(Clone, Debug)]
struct Moving {
    /// The servers of the new list that were in the list before, those not yet tried.
    old: std::vec::IntoIter<Host>,
    /// The servers of the new list that were not, those not yet tried.
    fresh: std::vec::IntoIter<Host>,
    /// How probable it is that a fresh one is tried before an old one.
    fresh_probability: f64,
}

impl HostList {
    /// Takes the hosts in a random order, or as they come if not `shuffle`.
    ///
    /// An empty list, which [`ConnectString::parse`] never makes, stands for `localhost:2181`.
    pub(crate) fn new(mut hosts: Vec<Host>, shuffle: bool, mut rng: Rng) -> Self {
        if hosts.is_empty() {
            hosts.push(Host::default());
        }
        if shuffle {
            rng.shuffle(&mut hosts);
        }
        Self { servers: hosts, shuffle, rng, current: None, last: None, moving: None }
    }

    /// How many servers there are; at least 1.
    pub(crate) fn len(&self) -> usize {
        self.servers.len()
    }

    /// The servers in the order in which they are tried.
    pub(crate) fn hosts(&self) -> &[Host] {
        &self.servers
    }

    /// Gives the server to try now, and whether all others were tried since the last connection.
    ///
    /// Wait before the attempt if so: that is the moment to ask [`Backoff`].
    pub(crate) fn next(&mut self) -> (Host, bool) {
        let was_moving = self.moving.is_some();
        if let Some(moving) = &mut self.moving {
            if let Some(host) = moving.next(&mut self.rng) {
                self.current = self.place(&host);
                return (host, false);
            }
            self.moving = None;
        }
        let next = match self.current {
            Some(at) if at + 1 < self.servers.len() => at + 1,
            _ => 0,
        };
        self.current = Some(next);
        let round_finished = was_moving || self.last == Some(next);
        // The very first attempt ends no round, but begins one.
        self.last.get_or_insert(0);
        (self.servers.get(next).cloned().unwrap_or_default(), round_finished)
    }

    /// Notes that a session was established with `host`: the round begins anew behind it.
    pub(crate) fn connected(&mut self, host: &Host) {
        self.current = self.place(host).or(self.current);
        self.last = self.current;
        self.moving = None;
    }

    /// Takes a new list and says whether the connection to `current` must be dropped, so that all
    /// servers get their share of the clients.
    ///
    /// The session survives the drop; [`HostList::next`] then prefers the servers to move to. Give
    /// `None` for `current` while there is no connection. An empty list changes nothing.
    pub(crate) fn replace(&mut self, mut new: Vec<Host>, current: Option<&Host>) -> bool {
        if new.is_empty() {
            return false;
        }
        if self.shuffle {
            self.rng.shuffle(&mut new);
        }
        let mine = match current {
            // On the move already: it is as good as connected to the one it would try next.
            _ if self.moving.is_some() => self.next().0,
            Some(host) => host.clone(),
            None => self.servers.get(self.last.unwrap_or(0)).cloned().unwrap_or_default(),
        };
        let mine_stays = new.contains(&mine);
        let before = self.servers.len();
        let after = new.len();
        let (old, fresh): (Vec<_>, Vec<_>) =
            new.iter().cloned().partition(|host| self.servers.contains(host));

        let fresh_probability = match (after > before, mine_stays) {
            (true, true) => {
                let moves = self.rng.f64() <= 1.0 - before as f64 / after as f64;
                moves.then_some(1.0)
            }
            (true, false) => Some(1.0),
            (false, true) => None,
            (false, false) => Some(1.0 - old_probability(old.len(), before, after)),
        };
        self.current = match fresh_probability {
            Some(_) => None,
            None => {
                let host = self.current.and_then(|at| self.servers.get(at));
                host.and_then(|host| new.iter().position(|other| other == host))
            }
        };
        self.moving = fresh_probability.map(|fresh_probability| Moving {
            old: old.into_iter(),
            fresh: fresh.into_iter(),
            fresh_probability,
        });
        self.servers = new;
        self.last = self.current;
        self.moving.is_some()
    }

    fn place(&self, host: &Host) -> Option<usize> {
        self.servers.iter().position(|other| other == host)
    }
}

impl Moving {
    /// An old or a fresh server by chance; once one kind is used up, the other.
    fn next(&mut self, rng: &mut Rng) -> Option<Host> {
        if rng.f64() <= self.fresh_probability {
            self.fresh.next().or_else(|| self.old.next())
        } else {
            self.old.next().or_else(|| self.fresh.next())
        }
    }
}

/// How long to wait before an attempt to connect.
///
/// The first attempt comes at once, so that a lost connection costs no more than it must. Then
/// 50 ms, doubled each time up to 1 s, of which between half and all is waited: the clients of a
/// server that restarts must not come back all in one moment.
///
/// The wait bounds the rate of attempts only. Deadlines and the verdict on the session have their
/// own clocks and do not wait for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backoff {
    attempts: u32,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The wait before the next attempt.
    pub(crate) fn next(&mut self, rng: &mut Rng) -> Duration {
        let attempts = self.attempts;
        self.attempts = attempts.saturating_add(1);
        let Some(doublings) = attempts.checked_sub(1) else {
            return Duration::ZERO;
        };
        let full = BASE_DELAY.saturating_mul(2_u32.saturating_pow(doublings)).min(MAX_DELAY);
        full.mul_f64(1.0 - rng.f64() / 2.0)
    }

    /// Begins anew. For an established session only: a server that accepts and hangs up must not
    /// be called in a hot loop.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }
}

/// Of the clients whose server is gone, the share that goes to an old server.
///
/// The old servers had less than their share of the clients before the list shrank; this fills
/// them up, and the rest goes to the fresh ones.
fn old_probability(old: usize, before: usize, after: usize) -> f64 {
    let gone = before.saturating_sub(old);
    if gone == 0 || after == 0 {
        // No server left the list, and yet ours is not in it: a stale `current`, or a list that
        // names a server twice.
        return 0.0;
    }
    let shrunk_by = before.saturating_sub(after);
    (old as f64 * shrunk_by as f64) / (after as f64 * gone as f64)
}

fn parse_host(at: usize, text: &str) -> Result<Host, String> {
    if text.is_empty() {
        return Err(format!("host {} of the connect string is empty", at + 1));
    }
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((name, port)) = rest.split_once(']') else {
                return Err(format!("host `{text}`: the bracket is not closed"));
            };
            let (address, _zone) = name.split_once('%').unwrap_or((name, ""));
            if address.parse::<Ipv6Addr>().is_err() {
                return Err(format!("host `{text}`: no IPv6 address between the brackets"));
            }
            match port.strip_prefix(':') {
                None if port.is_empty() => (name, None),
                None => return Err(format!("host `{text}`: only a port may follow the bracket")),
                port => (name, port),
            }
        }
        None => match text.split_once(':') {
            None => (text, None),
            Some((_, port)) if port.contains(':') => {
                return Err(format!("host `{text}`: an IPv6 address must stand in brackets"));
            }
            Some((name, port)) => (name, Some(port)),
        },
    };
    if name.is_empty() {
        return Err(format!("host `{text}`: the name is empty"));
    }
    if name.contains(|c: char| c.is_whitespace() || c.is_control() || "[]\\?#".contains(c)) {
        return Err(format!("host `{text}`: `{}` is not a host name", name.escape_debug()));
    }
    let port = port.map_or(Ok(DEFAULT_PORT), |port| parse_port(text, port))?;
    Ok(Host { name: name.into(), port })
}

fn parse_port(host: &str, text: &str) -> Result<u16, String> {
    // `u16::from_str` takes a plus sign.
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(port @ 1..) if digits => Ok(port),
        _ => Err(format!("host `{host}`: `{text}` is not a port from 1 to 65535")),
    }
}

/// ZooKeeper's client port; `ConnectStringParser.DEFAULT_PORT`.
const DEFAULT_PORT: u16 = 2181;

/// The first wait that is not zero.
const BASE_DELAY: Duration = Duration::from_millis(50);

/// The longest wait. A server that is back is found within it, and a client alone makes no more
/// than two rounds a second.
const MAX_DELAY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
