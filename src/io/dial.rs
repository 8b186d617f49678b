//! Finding a server: names resolved anew for each dial, the next host dialed while the first
//! still hangs, a pause with jitter after each fruitless round.
//!
//! A round tries each host once. Within a round hosts follow each other after a short head
//! start, or at once when one fails, and all dials go on until one is connected: a host that
//! swallows packets costs its head start, not its time-out.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mio::{Registry, Token};

use crate::io::driver::Command;
use crate::io::shared::Shared;
use crate::io::transport::Transport;
use crate::session::hosts::{Backoff, Host, HostList};

/// One address being dialed.
#[derive(Debug)]
struct Attempt {
    token: Token,
    host: Host,
    transport: Transport,
    give_up: Instant,
}

/// A server that took the connection.
#[derive(Debug)]
pub(crate) struct Dialed {
    pub(crate) token: Token,
    pub(crate) host: Host,
    pub(crate) transport: Transport,
}

/// The search for a server.
#[derive(Debug)]
pub(crate) struct Dialer {
    hosts: HostList,
    rng: fastrand::Rng,
    backoff: Backoff,
    patience: Duration,
    /// Asked for by name, before the turn of any other.
    preferred: Option<Host>,
    /// Hosts of this round that were not started yet.
    left: usize,
    /// When the next host, or the next round, may start; `None` while not searching.
    next_start: Option<Instant>,
    /// Hosts whose names are being resolved, each on its own thread.
    resolving: Vec<Host>,
    addresses: VecDeque<(Host, SocketAddr)>,
    attempts: Vec<Attempt>,
    next_token: usize,
    /// The last failure of each host.
    tried: Vec<(Host, String)>,
}

impl Dialer {
    pub(crate) fn new(hosts: HostList, first_token: usize) -> Self {
        Self {
            hosts,
            rng: fastrand::Rng::new(),
            backoff: Backoff::new(),
            patience: Duration::from_secs(5),
            preferred: None,
            left: 0,
            next_start: None,
            resolving: Vec::new(),
            addresses: VecDeque::new(),
            attempts: Vec::new(),
            next_token: first_token,
            tried: Vec::new(),
        }
    }

    /// Starts a search; the pause before it grows with each that led to nothing.
    pub(crate) fn search(&mut self, now: Instant) {
        self.search_after(now, now);
    }

    /// As [`search`](Self::search), after a connection that served since then: the pause bounds
    /// the rate of searches, so the time that it served counts.
    pub(crate) fn search_after(&mut self, since: Instant, now: Instant) {
        self.left = self.hosts.len();
        self.next_start = Some(now.max(since + self.backoff.next(&mut self.rng)));
    }

    /// Goes on with the round after a server took the connection but would not talk.
    pub(crate) fn go_on(&mut self, now: Instant) {
        if self.left > 0 {
            self.next_start = Some(now);
        } else {
            self.search(now);
        }
    }

    /// A connection proved good: the next search starts at once.
    pub(crate) fn calm(&mut self) {
        self.backoff.reset();
    }

    pub(crate) fn prefer(&mut self, host: Host) {
        self.preferred = Some(host);
    }

    pub(crate) fn hosts(&self) -> Vec<Host> {
        self.hosts.hosts().to_vec()
    }

    pub(crate) fn connected_to(&mut self, host: &Host) {
        self.hosts.connected(host);
    }

    /// Replaces the hosts. True if the present connection has to go, by the rule that spreads
    /// clients evenly over the new list.
    pub(crate) fn replace(
        &mut self,
        hosts: Vec<Host>,
        current: Option<&Host>,
        now: Instant,
    ) -> bool {
        self.tried.retain(|(host, _)| hosts.contains(host));
        if self.next_start.is_some() {
            // A host that left must not hold up the round, and the pause was for the old list.
            self.attempts.retain(|attempt| hosts.contains(&attempt.host));
            self.addresses.retain(|(host, _)| hosts.contains(host));
            self.resolving.retain(|host| hosts.contains(host));
            self.next_start = Some(now);
            self.left = hosts.len();
        }
        self.preferred = self.preferred.take().filter(|host| hosts.contains(host));
        let leave = self.hosts.replace(hosts, current);
        self.left = self.left.min(self.hosts.len());
        leave
    }

    /// Notes why `host` is of no use now.
    pub(crate) fn failed(&mut self, host: &Host, why: &str) {
        log::debug!("{host}: {why}");
        match self.tried.iter_mut().find(|(known, _)| known == host) {
            Some((_, last)) => why.clone_into(last),
            None => self.tried.push((host.clone(), why.to_owned())),
        }
    }

    /// Each host that failed, with its last failure.
    pub(crate) fn tried(&self) -> Vec<(String, String)> {
        self.tried.iter().map(|(host, why)| (host.to_string(), why.clone())).collect()
    }

    /// Stops the search.
    pub(crate) fn stop(&mut self) {
        self.next_start = None;
        self.addresses.clear();
        self.attempts.clear();
    }

    /// When [`tick`](Self::tick) has work.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let give_up = self.attempts.iter().map(|attempt| attempt.give_up).min();
        match (self.next_start, give_up) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Starts what is due and gives up what took too long.
    pub(crate) fn tick(&mut self, now: Instant, registry: &Registry, shared: &Arc<Shared>) {
        let Some(start) = self.next_start else { return };
        let late: Vec<Host> = self.attempts.extract_late(now);
        for host in late {
            self.failed(&host, "no answer to the dial in time");
        }
        if now >= start {
            self.start_next(now, registry, shared);
        }
        self.finish_round(now);
    }

    /// The resolver's answer.
    pub(crate) fn resolved(
        &mut self,
        host: &Host,
        answer: Result<Vec<SocketAddr>, String>,
        now: Instant,
    ) {
        let wanted = self.resolving.contains(host);
        self.resolving.retain(|other| other != host);
        if self.next_start.is_none() || !wanted {
            return;
        }
        match answer {
            Ok(mut addresses) => {
                self.rng.shuffle(&mut addresses);
                self.addresses.extend(addresses.into_iter().map(|a| (host.clone(), a)));
            }
            Err(why) => self.failed(host, &why),
        }
        self.next_start = Some(now);
        self.finish_round(now);
    }

    /// A socket of ours is ready: gives the connection if that was the one.
    pub(crate) fn ready(&mut self, token: Token, now: Instant) -> Option<Dialed> {
        let at = self.attempts.iter().position(|attempt| attempt.token == token)?;
        let state = self.attempts.get(at)?.transport.is_connected();
        match state {
            Ok(false) => None,
            Ok(true) => {
                let Attempt { token, host, transport, .. } = self.attempts.swap_remove(at);
                self.stop();
                Some(Dialed { token, host, transport })
            }
            Err(error) => {
                let host = self.attempts.swap_remove(at).host;
                self.failed(&host, &error.to_string());
                if self.left > 0 || !self.addresses.is_empty() {
                    self.next_start = Some(now);
                }
                self.finish_round(now);
                None
            }
        }
    }

    fn start_next(&mut self, now: Instant, registry: &Registry, shared: &Arc<Shared>) {
        self.next_start = Some(now + self.head_start());
        if let Some((host, address)) = self.addresses.pop_front() {
            return self.dial(host, address, now, registry);
        }
        let host = match self.preferred.take() {
            Some(host) => host,
            None if self.left > 0 => {
                self.left -= 1;
                self.hosts.next().0
            }
            None => return,
        };
        if let Ok(ip) = host.name.parse::<IpAddr>() {
            let address = SocketAddr::new(ip, host.port);
            return self.dial(host, address, now, registry);
        }
        if self.resolving.contains(&host) {
            return self.failed(&host, "its name is still being resolved");
        }
        match resolve(shared.clone(), host.clone()) {
            Ok(()) => self.resolving.push(host),
            Err(error) => self.failed(&host, &format!("cannot resolve its name: {error}")),
        }
    }

    fn dial(&mut self, host: Host, address: SocketAddr, now: Instant, registry: &Registry) {
        let token = Token(self.next_token);
        self.next_token = self.next_token.wrapping_add(1).max(1);
        log::debug!("dialing {host} at {address}");
        match Transport::dial(address, registry, token) {
            Ok(transport) => {
                let give_up = now + self.patience;
                self.attempts.push(Attempt { token, host, transport, give_up });
            }
            Err(error) => {
                self.failed(&host, &error.to_string());
                self.next_start = Some(now);
            }
        }
    }

    /// With nothing under way and nothing left to start, the round is over: pause, then again. A
    /// name that is still being resolved does not hold it up: resolvers hang for half a minute, and
    /// the other hosts must have their turns.
    fn finish_round(&mut self, now: Instant) {
        let over = self.next_start.is_some()
            && self.left == 0
            && self.addresses.is_empty()
            && self.attempts.is_empty()
            && self.preferred.is_none();
        if over {
            self.search(now);
        }
    }

    /// All hosts but one may be black holes: the last one's turn must come within a second.
    fn head_start(&self) -> Duration {
        let hosts = u32::try_from(self.hosts.len()).unwrap_or(u32::MAX).max(1);
        (Duration::from_secs(1) / hosts)
            .clamp(Duration::from_millis(20), Duration::from_millis(250))
    }
}

/// Takes out of the attempts those whose time is over.
trait ExtractLate {
    fn extract_late(&mut self, now: Instant) -> Vec<Host>;
}

impl ExtractLate for Vec<Attempt> {
    fn extract_late(&mut self, now: Instant) -> Vec<Host> {
        let mut late = Vec::new();
        self.retain(|attempt| {
            if now >= attempt.give_up {
                late.push(attempt.host.clone());
            }
            now < attempt.give_up
        });
        late
    }
}

/// Resolves on a detached thread: the system's resolver blocks for as long as it likes, and a
/// resolver that hangs must not keep a live connection from its pings (ZOOKEEPER-1998).
fn resolve(shared: Arc<Shared>, host: Host) -> std::io::Result<()> {
    let run = move || {
        let answer = (host.name.as_str(), host.port)
            .to_socket_addrs()
            .map(Vec::from_iter)
            .map_err(|error| format!("cannot resolve its name: {error}"));
        // The client may be closed by now; then nobody wants to know.
        let _ = shared.command(Command::Resolved(host, answer));
    };
    thread::Builder::new().name("zk-resolve".into()).stack_size(256 * 1024).spawn(run)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a25_the_time_that_a_connection_served_counts_as_pause() {
        let hosts = HostList::new(Vec::new(), false, fastrand::Rng::with_seed(1));
        let mut dialer = Dialer::new(hosts, 1);
        let mut now = Instant::now();
        // Cut after cut: pauses of 0, 50, 100, 200 and 400 ms have passed when they begin.
        for _ in 0..5 {
            let since = now;
            now += Duration::from_millis(500);
            dialer.search_after(since, now);
            assert_eq!(dialer.deadline(), Some(now));
        }
        // One that served for no time waits in full.
        dialer.search_after(now, now);
        assert!(dialer.deadline() >= Some(now + Duration::from_millis(400)));
    }
}
