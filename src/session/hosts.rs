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
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn host(name: &str, port: u16) -> Host {
        Host { name: name.into(), port }
    }

    /// `servers(1, 3)` are s1, s2, s3.
    fn servers(from: usize, to: usize) -> Vec<Host> {
        (from..=to).map(|n| host(&format!("s{n}"), 2181)).collect()
    }

    fn fixed(hosts: Vec<Host>) -> HostList {
        HostList::new(hosts, false, Rng::with_seed(7))
    }

    fn names(list: &mut HostList, count: usize) -> String {
        let names: Vec<_> = (0..count).map(|_| list.next().0.name).collect();
        names.join(" ")
    }

    #[test]
    fn connect_strings_are_read() {
        for (text, hosts, chroot) in [
            ("h1", "h1:2181", ""),
            ("h1:2182", "h1:2182", ""),
            ("10.10.10.1,10.10.10.2", "10.10.10.1:2181 10.10.10.2:2181", ""),
            ("10.10.10.1:112,10.10.10.2:110", "10.10.10.1:112 10.10.10.2:110", ""),
            ("10.10.10.1/chroot/two", "10.10.10.1:2181", "/chroot/two"),
            ("10.10.10.1:112,10.10.10.2/a", "10.10.10.1:112 10.10.10.2:2181", "/a"),
            (
                "127.0.0.1:2181, 192.168.1.2:2181 ,h3 /a b",
                "127.0.0.1:2181 192.168.1.2:2181 h3:2181",
                "/a b",
            ),
            (" h1:1 , h2:2 ", "h1:1 h2:2", ""),
            ("h1:2181/", "h1:2181", ""),
            ("h1/", "h1:2181", ""),
            ("zk://h1,h2:1/app", "h1:2181 h2:1", "/app"),
            ("[::1]", "[::1]:2181", ""),
            ("[::1]:1,[2001:db8:1::242:ac11:2]/a", "[::1]:1 [2001:db8:1::242:ac11:2]:2181", "/a"),
            ("[fe80::1%eth0]:99", "[fe80::1%eth0]:99", ""),
            ("h_1.example.com.:65535", "h_1.example.com.:65535", ""),
            // One chroot for all hosts: what follows the first slash is a path, commas too.
            ("h1/a,b", "h1:2181", "/a,b"),
            ("h1/日本", "h1:2181", "/日本"),
            ("h1/a:b", "h1:2181", "/a:b"),
        ] {
            let read = ConnectString::parse(text).unwrap();
            let printed: Vec<_> = read.hosts.iter().map(Host::to_string).collect();
            assert_eq!(
                (printed.join(" ").as_str(), read.chroot.as_str()),
                (hosts, chroot),
                "{text}"
            );
        }
    }

    #[test]
    fn bad_connect_string_names_the_culprit() {
        for (text, words) in [
            ("", "names no host"),
            ("  ", "names no host"),
            ("/app", "names no host"),
            ("zk://", "names no host"),
            ("zk:///app", "names no host"),
            (",", "host 1 "),
            ("h1,,h3", "host 2 "),
            ("h1,h2,", "host 3 "),
            ("h1, ,h3", "host 2 "),
            (":2181", "`:2181`: the name is empty"),
            ("h1,h2:", "`h2:`: `` is not a port"),
            ("h1:0", "`0` is not a port"),
            ("h1:65536", "`65536` is not a port"),
            ("h1:+1", "`+1` is not a port"),
            ("h1:-1", "`-1` is not a port"),
            ("h1:1 2", "`1 2` is not a port"),
            ("h1:http", "`http` is not a port"),
            ("::1", "brackets"),
            ("2001:db8::1:2181", "brackets"),
            ("[::1", "not closed"),
            ("[::1]2181", "follow the bracket"),
            ("[h1]:2181", "no IPv6"),
            ("[]:2181", "no IPv6"),
            ("h 1", "`h 1` is not a host name"),
            ("h1;h2", ""),
            ("h1]:1", "not a host name"),
            ("h1/app/", "chroot `/app/`: the path must not end"),
            ("h1//", "chroot `//`"),
            ("h1/a//b", "chroot `/a//b`: a name"),
            ("h1/..", "chroot `/..`"),
            ("h1/a\u{1}", "forbids"),
            ("zks://h1", "zks:// is not supported yet"),
            ("dns-srv://zk.example.com/app", "dns-srv:// is not supported yet"),
            ("http://h1", "`http://` is not a scheme"),
        ] {
            if words.is_empty() {
                // A semicolon is no separator, and DNS will say so with the whole name.
                assert!(ConnectString::parse(text).is_ok(), "{text}");
                continue;
            }
            let said = ConnectString::parse(text).unwrap_err();
            assert!(said.contains(words), "{text}: {said}");
        }
    }

    #[test]
    fn password_in_the_connect_string_is_not_repeated() {
        let said = ConnectString::parse("zk://bob:secret@h1:2181").unwrap_err();
        assert!(said.contains("auth") && !said.contains("secret"), "{said}");
    }

    #[test]
    fn a24_chroot_slash_is_no_chroot() {
        for text in ["h1/", "zk://h1:2181/", " h1/ "] {
            assert_eq!(ConnectString::parse(text).unwrap().chroot, "", "{text}");
        }
    }

    #[test]
    fn printed_host_is_read_back() {
        for text in ["h1:1", "[::1]:2181", "10.0.0.1:65535"] {
            let read = ConnectString::parse(text).unwrap();
            assert_eq!(read.hosts.iter().map(Host::to_string).collect::<String>(), text);
        }
    }

    #[test]
    fn servers_are_tried_round_robin() {
        let mut list = fixed(servers(1, 3));
        assert_eq!(names(&mut list, 7), "s1 s2 s3 s1 s2 s3 s1");
    }

    #[test]
    fn round_ends_when_all_were_tried_in_vain() {
        let mut list = fixed(servers(1, 3));
        let ends: Vec<_> = (0..7).map(|_| list.next().1).collect();
        assert_eq!(ends, [false, false, false, true, false, false, true]);

        // Connected to s2: s3 and s1 come before the round is over.
        list.next();
        list.connected(&host("s2", 2181));
        let ends: Vec<_> = (0..6).map(|_| list.next().1).collect();
        assert_eq!(ends, [false, false, true, false, false, true]);
        assert_eq!(list.next().0.name, "s3");
    }

    #[test]
    fn only_server_ends_a_round_each_time_but_the_first() {
        let mut list = fixed(servers(1, 1));
        assert_eq!(list.next(), (host("s1", 2181), false));
        list.connected(&host("s1", 2181));
        assert_eq!(list.next(), (host("s1", 2181), true));
        assert_eq!(list.next(), (host("s1", 2181), true));
    }

    #[test]
    fn connection_to_a_host_out_of_turn_moves_the_place() {
        // Two attempts may run at a time, and the earlier one may win (trap A14).
        let mut list = fixed(servers(1, 4));
        names(&mut list, 3);
        list.connected(&host("s2", 2181));
        assert_eq!(names(&mut list, 2), "s3 s4");
        // A host that is no more in the list moves nothing.
        list.connected(&host("gone", 1));
        assert_eq!(names(&mut list, 1), "s1");
    }

    #[test]
    fn seed_repeats_the_order_and_orders_spread() {
        let mut first = HashMap::new();
        for seed in 0..3_000 {
            let mut list = HostList::new(servers(1, 3), true, Rng::with_seed(seed));
            let again = HostList::new(servers(1, 3), true, Rng::with_seed(seed));
            assert_eq!(list.hosts(), again.hosts());
            *first.entry(list.next().0.name).or_insert(0) += 1;
        }
        assert_eq!(first.len(), 3);
        assert!(first.values().all(|count| (900..1100).contains(count)), "{first:?}");
    }

    #[test]
    fn same_name_with_another_port_is_another_server() {
        let mut list = fixed(vec![host("s1", 1), host("s1", 2)]);
        list.next();
        list.connected(&host("s1", 1));
        assert!(list.replace(vec![host("s1", 2)], Some(&host("s1", 1))));
        assert_eq!(list.next(), (host("s1", 2), false));
    }

    #[test]
    fn a27_empty_list_changes_nothing() {
        let mut list = fixed(servers(1, 3));
        list.next();
        assert!(!list.replace(Vec::new(), Some(&host("s1", 2181))));
        assert_eq!(list.len(), 3);
        assert_eq!(names(&mut list, 2), "s2 s3");
        assert_eq!(HostList::new(Vec::new(), true, Rng::with_seed(1)).len(), 1);
    }

    #[test]
    fn a27_current_server_removed_drops_the_connection() {
        let mut list = fixed(servers(1, 3));
        list.next();
        let current = host("s1", 2181);
        list.connected(&current);
        assert!(list.replace(servers(2, 3), Some(&current)));
        let (a, b) = (list.next(), list.next());
        assert!(!a.1 && !b.1 && a.0 != b.0);
        // Both tried in vain: the move is over, and the round too.
        assert_eq!(list.next(), (host("s2", 2181), true));
        assert_eq!(list.next(), (host("s3", 2181), false));
        assert_eq!(list.next(), (host("s2", 2181), true));
    }

    #[test]
    fn a27_all_new_list_is_taken_connected_or_not() {
        for current in [None, Some(host("s1", 2181))] {
            let mut list = fixed(servers(1, 3));
            list.next();
            assert!(list.replace(servers(4, 6), current.as_ref()));
            assert_eq!(names(&mut list, 3), "s4 s5 s6");
        }
    }

    #[test]
    fn a27_list_updated_before_the_first_connection_and_again_while_moving() {
        let mut list = fixed(servers(1, 3));
        assert!(list.replace(servers(4, 6), None));
        assert!(list.replace(servers(7, 8), None));
        assert_eq!(list.len(), 2);
        assert_eq!(names(&mut list, 2), "s7 s8");
        // Moving to s8 would be next to nothing: the same list again moves nobody.
        assert!(!list.replace(servers(7, 8), None));
    }

    #[test]
    fn a27_same_list_keeps_the_connection_and_the_place() {
        let mut list = fixed(servers(1, 3));
        names(&mut list, 2);
        let current = host("s2", 2181);
        list.connected(&current);
        assert!(
            !list
                .replace(vec![host("s3", 2181), current.clone(), host("s1", 2181)], Some(&current))
        );
        assert_eq!(list.next(), (host("s1", 2181), false));
        assert_eq!(list.next(), (host("s3", 2181), false));
        assert_eq!(list.next(), (current, true));
    }

    #[test]
    fn a27_stale_current_divides_by_nothing() {
        // The list did not lose a server, and yet the current one is not in it: 0 / 0.
        let mut list = fixed(servers(1, 3));
        list.next();
        assert!(list.replace(servers(1, 3), Some(&host("stranger", 1))));
        assert_eq!(names(&mut list, 3), "s1 s2 s3");
        // A list may name a server twice: both entries are old, and the other one is not gone.
        let mut list = fixed(vec![host("s1", 2181), host("s1", 2181)]);
        assert!(list.replace(vec![host("s1", 2181); 2], Some(&host("stranger", 1))));
        assert_eq!(list.next().0.name, "s1");
        for (old, before, after) in [(3, 3, 3), (2, 2, 1), (2, 1, 2), (0, 0, 0), (0, 3, 0)] {
            let odds = old_probability(old, before, after);
            assert_eq!(odds, 0.0, "{old} of {before} stay, {after} in all");
        }
    }

    #[test]
    fn connection_ends_the_move() {
        let mut list = fixed(servers(1, 2));
        list.next();
        list.connected(&host("s1", 2181));
        assert!(list.replace(servers(3, 4), Some(&host("s1", 2181))));
        let (moved_to, _) = list.next();
        list.connected(&moved_to);
        assert!(!list.replace(servers(3, 4), Some(&moved_to)));

        // What is left of the move is forgotten: the round goes on behind the connection.
        let mut list = fixed(servers(1, 2));
        assert!(list.replace(servers(3, 6), None));
        list.next();
        list.connected(&host("s5", 2181));
        assert_eq!(names(&mut list, 4), "s6 s3 s4 s5");
    }

    #[test]
    fn a27_client_without_connection_decides_for_the_server_it_would_go_to() {
        // The last one, while nothing else was decided.
        let mut list = fixed(servers(1, 3));
        list.connected(&host("s2", 2181));
        assert!(!list.clone().replace(servers(2, 3), None));
        assert!(list.replace(vec![host("s1", 2181), host("s3", 2181)], None));

        // On the move, the one that is next: s4 was tried already.
        let mut list = fixed(servers(1, 3));
        assert!(list.replace(servers(4, 6), None));
        assert_eq!(names(&mut list, 1), "s4");
        assert!(!list.replace(servers(5, 6), None));
    }

    #[test]
    fn move_in_vain_ends_a_round_and_begins_one() {
        let mut list = fixed(servers(1, 4));
        list.connected(&host("s2", 2181));
        let rest = vec![host("s1", 2181), host("s3", 2181), host("s4", 2181)];
        assert!(list.replace(rest, Some(&host("s2", 2181))));
        let tried: Vec<_> = (0..7).map(|_| list.next()).collect();
        let ends: Vec<_> = tried.iter().map(|(_, finished)| *finished).collect();
        assert_eq!(ends, [false, false, false, true, false, false, true]);
        let tried: Vec<_> = tried.iter().map(|(host, _)| host.name.as_str()).collect();
        assert_eq!(tried.join(" "), "s1 s3 s4 s1 s3 s4 s1");

        // Fresh servers first, so the move ends elsewhere: the round goes on from there.
        let mut list = fixed(servers(1, 2));
        let more = vec![host("s1", 2181), host("s3", 2181), host("s4", 2181)];
        assert!(list.replace(more, Some(&host("s2", 2181))));
        assert_eq!(names(&mut list, 6), "s3 s4 s1 s3 s4 s1");
    }

    /// Lets `clients` clients, spread evenly over `before`, hear of `after`; gives back how many
    /// end on each server.
    fn spread(before: &[Host], after: &[Host], clients: usize) -> HashMap<String, usize> {
        let mut seeds = Rng::with_seed(20_261_122);
        let mut counts = HashMap::new();
        for client in 0..clients {
            let mut list = HostList::new(before.to_vec(), true, seeds.fork());
            let mut current = before[client % before.len()].clone();
            while list.next().0 != current {}
            list.connected(&current);
            if list.replace(after.to_vec(), Some(&current)) {
                current = list.next().0;
                list.connected(&current);
            }
            *counts.entry(current.name).or_insert(0) += 1;
        }
        counts
    }

    /// Within a twentieth of a server's share: three standard deviations or more.
    fn assert_even(counts: &HashMap<String, usize>, over: &[Host], clients: usize) {
        let share = clients / over.len();
        assert_eq!(counts.len(), over.len(), "{counts:?}");
        for host in over {
            let count = counts[&host.name];
            assert!(
                count.abs_diff(share) <= share / 20,
                "{host}: {count}, not {share}: {counts:?}"
            );
        }
    }

    #[test]
    fn a27_rebalancing_evens_the_load() {
        let clients = 30_000;
        for (before, after) in [
            ((1, 3), (1, 5)),  // grows
            ((1, 5), (1, 3)),  // shrinks
            ((1, 9), (5, 9)),  // shrinks by the first four
            ((1, 5), (3, 7)),  // as many, two of them fresh
            ((1, 5), (4, 7)),  // shrinks, two of them fresh
            ((1, 4), (3, 10)), // grows, two are gone
            ((1, 3), (4, 6)),  // all new
            ((1, 3), (1, 3)),  // the same
        ] {
            let (before, after) = (servers(before.0, before.1), servers(after.0, after.1));
            assert_even(&spread(&before, &after, clients), &after, clients);
        }
    }

    #[test]
    fn rebalancing_moves_no_client_without_need() {
        // 3 -> 5: two in five must move; 5 -> 3: only those whose server is gone.
        for (before, after, moved) in [(3, 5, 12_000), (5, 3, 12_000)] {
            let (before, after) = (servers(1, before), servers(1, after));
            let mut seeds = Rng::with_seed(3);
            let mut drops: usize = 0;
            for client in 0..30_000 {
                let current = &before[client % before.len()];
                let mut list = HostList::new(before.clone(), true, seeds.fork());
                list.connected(current);
                drops += usize::from(list.replace(after.clone(), Some(current)));
            }
            assert!(drops.abs_diff(moved) < 400, "{drops} of 30000, not {moved}");
        }
    }

    #[test]
    fn a25_first_attempt_comes_at_once_and_the_next_ones_spread() {
        let mut rng = Rng::with_seed(1);
        let mut first = Vec::new();
        let mut sixth = Vec::new();
        for _ in 0..500 {
            let mut backoff = Backoff::default();
            let waits: Vec<_> = (0..7).map(|_| backoff.next(&mut rng)).collect();
            assert_eq!(waits[0], Duration::ZERO);
            for (n, full_ms) in [(1, 50), (2, 100), (3, 200), (4, 400), (5, 800), (6, 1_000)] {
                let full = Duration::from_millis(full_ms);
                assert!(waits[n] > full / 2 && waits[n] <= full, "wait {n} is {:?}", waits[n]);
            }
            first.push(waits[1]);
            sixth.push(waits[6]);
        }
        let width =
            |waits: &[Duration]| *waits.iter().max().unwrap() - *waits.iter().min().unwrap();
        assert!(width(&first) > Duration::from_millis(20));
        assert!(width(&sixth) > Duration::from_millis(450));
    }

    #[test]
    fn a26_backoff_never_overflows() {
        let mut rng = Rng::with_seed(1);
        let mut backoff = Backoff::default();
        for n in 0..1_000_000 {
            let wait = backoff.next(&mut rng);
            assert!(wait <= MAX_DELAY && (n < 6 || wait >= MAX_DELAY / 2), "wait {n} is {wait:?}");
        }
        for attempts in [31, 32, 33, 64, u32::MAX - 1, u32::MAX] {
            let wait = Backoff { attempts }.next(&mut rng);
            assert!(wait >= MAX_DELAY / 2 && wait <= MAX_DELAY, "{attempts}: {wait:?}");
        }
        backoff.reset();
        assert_eq!(backoff.next(&mut rng), Duration::ZERO);
    }

    #[test]
    fn a26_million_failed_attempts_go_on_round_and_round() {
        let mut list = HostList::new(servers(1, 3), true, Rng::with_seed(1));
        let mut rounds = 0;
        for n in 0..1_000_000 {
            let (_, finished) = list.next();
            assert_eq!(finished, n > 0 && n % 3 == 0, "attempt {n}");
            rounds += u32::from(finished);
        }
        assert_eq!(rounds, 333_333);
    }
}
