//! How a client is made.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, bounded};

use crate::client::chroot::Chroot;
use crate::client::handle::Handle;
use crate::client::op::CreateMode;
use crate::client::retry::RetryPolicy;
use crate::client::session::SessionCredentials;
use crate::client::{Client, Scope};
use crate::error::{At, Error, Result};
use crate::io::dispatch::StateCallback;
use crate::io::driver::{Command, FirstFailure, Setup};
use crate::io::threads;
use crate::session::Options;
use crate::session::hosts::{ConnectString, HostList};
use crate::session::state::SessionState;

/// What the client does when its session expires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExpiryPolicy {
    /// Says so, loudly, and makes a new session.
    #[default]
    Renew,
    /// Says so and closes.
    Close,
}

/// What a call does while there is no connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenDisconnected {
    /// Waits for a connection until its deadline.
    #[default]
    Wait,
    /// Fails at once with [`Error::ConnectionLoss`], not sent.
    Fail,
}

/// What a call does while as many requests as allowed are in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenFull {
    /// Waits for room until its deadline.
    #[default]
    Wait,
    /// Fails at once with [`Error::Busy`].
    Fail,
}

/// Options of a [`Client`] that is about to be made.
#[must_use = "a builder does nothing until `connect`"]
pub struct ClientBuilder {
    connect_string: String,
    session_timeout: Duration,
    connect_timeout: Duration,
    call_timeout: Option<Duration>,
    close_timeout: Duration,
    read_only: bool,
    shuffle: bool,
    expiry: ExpiryPolicy,
    when_disconnected: WhenDisconnected,
    when_full: WhenFull,
    in_flight: usize,
    max_reply: usize,
    max_request: usize,
    auths: Vec<(String, Vec<u8>)>,
    attach: Option<SessionCredentials>,
    listeners: Vec<StateCallback>,
    retry: RetryPolicy,
}

impl ClientBuilder {
    pub(crate) fn new(connect_string: &str) -> Self {
        Self {
            connect_string: connect_string.to_owned(),
            session_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(15),
            call_timeout: Some(Duration::from_secs(30)),
            close_timeout: Duration::from_secs(2),
            read_only: false,
            shuffle: true,
            expiry: ExpiryPolicy::Renew,
            when_disconnected: WhenDisconnected::Wait,
            when_full: WhenFull::Wait,
            in_flight: 65_536,
            max_reply: 64 * 1024 * 1024,
            max_request: 0xf_ffff,
            auths: Vec::new(),
            attach: None,
            listeners: Vec::new(),
            retry: RetryPolicy::none(),
        }
    }

    /// The session timeout to ask for. Defaults to 10 s.
    ///
    /// The server grants what lies between 2 and 20 of its ticks;
    /// [`Client::session_timeout`] tells what it was. A client that is silent for so long loses
    /// its session, its ephemeral nodes and its locks; a dead server is noticed after two thirds.
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.session_timeout = timeout;
        self
    }

    /// How long [`connect`](Self::connect) may take. Defaults to 15 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// The deadline of each call, from its start. Defaults to 30 s; `None` waits for ever.
    ///
    /// [`Client::with_timeout`] gives a handle with another.
    pub fn call_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.call_timeout = timeout.into();
        self
    }

    /// How long [`Client::close`] may take. Defaults to 2 s.
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }

    /// Whether a server that is cut off from its quorum will do, for reads that may be stale.
    /// Defaults to false. While connected to one the client looks for one with a quorum.
    pub fn read_only(mut self, allowed: bool) -> Self {
        self.read_only = allowed;
        self
    }

    /// Whether the servers are tried in random order. Defaults to true: clients spread evenly.
    pub fn shuffle(mut self, shuffle: bool) -> Self {
        self.shuffle = shuffle;
        self
    }

    /// What to do when the session expires. Defaults to [`ExpiryPolicy::Renew`].
    pub fn expiry_policy(mut self, policy: ExpiryPolicy) -> Self {
        self.expiry = policy;
        self
    }

    /// What calls do while there is no connection. Defaults to [`WhenDisconnected::Wait`].
    pub fn when_disconnected(mut self, when: WhenDisconnected) -> Self {
        self.when_disconnected = when;
        self
    }

    /// How many requests may be in flight. Defaults to 65,536; at least 1.
    pub fn max_in_flight(mut self, requests: usize) -> Self {
        self.in_flight = requests;
        self
    }

    /// What calls do while that many are in flight. Defaults to [`WhenFull::Wait`].
    pub fn when_full(mut self, when: WhenFull) -> Self {
        self.when_full = when;
        self
    }

    /// The largest answer to accept, in bytes. Defaults to 64 MiB. A larger one fails its call
    /// with [`Error::TooLarge`] and is read over; the connection lives on.
    pub fn max_reply(mut self, bytes: usize) -> Self {
        self.max_reply = bytes;
        self
    }

    /// The largest request to send, in bytes. Defaults to 1,048,575, the servers' own default
    /// (`jute.maxbuffer`): they close the connection on more, without a word.
    pub fn max_request(mut self, bytes: usize) -> Self {
        self.max_request = bytes;
        self
    }

    /// Adds credentials, sent on each connection before anything else: `digest` with
    /// `user:password`, in the clear as the protocol has it. The client counts as connected only
    /// when the server acknowledged all of them.
    pub fn auth(mut self, scheme: impl Into<String>, credential: impl Into<Vec<u8>>) -> Self {
        self.auths.push((scheme.into(), credential.into()));
        self
    }

    /// Goes on with a session that [`Client::detach`] left, perhaps in another process. If it is
    /// gone, [`connect`](Self::connect) fails with [`Error::SessionExpired`].
    pub fn attach(mut self, session: SessionCredentials) -> Self {
        self.attach = Some(session);
        self
    }

    /// Calls `listener` on the event thread with each new state, from the first on.
    pub fn on_state(mut self, listener: impl FnMut(SessionState) + Send + 'static) -> Self {
        self.listeners.push(Box::new(listener));
        self
    }

    /// Repeats failed calls by `policy`; not those that leave a watch, nor what is submitted.
    /// Defaults to [`RetryPolicy::none`].
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Connects: waits until a session is made and all credentials are acknowledged.
    ///
    /// # Errors
    /// * [`Error::Invalid`] for a bad connect string or option.
    /// * [`Error::Connect`] if no server could be reached in time, with each host's last failure.
    /// * [`Error::AuthFailed`] if the server refused the credentials.
    /// * [`Error::SessionExpired`] if the session to [attach](Self::attach) is gone.
    /// * [`Error::Start`] if the system has no threads or descriptors left.
    ///
    /// # Blocking
    /// For the connect timeout at most.
    pub fn connect(self) -> Result<Client> {
        let invalid = |why: String| Error::invalid("connect", "", why);
        let parsed = ConnectString::parse(&self.connect_string).map_err(invalid)?;
        if self.session_timeout.as_millis() == 0
            || i32::try_from(self.session_timeout.as_millis()).is_err()
        {
            return Err(invalid("the session timeout is 1 ms to 24 days".into()));
        }
        let (first, connected) = bounded(1);
        let setup = Setup {
            options: Options {
                timeout: self.session_timeout,
                read_only: self.read_only,
                first_xid: 1,
                max_reply: self.max_reply,
            },
            hosts: HostList::new(parsed.hosts, self.shuffle, fastrand::Rng::new()),
            renew: self.expiry == ExpiryPolicy::Renew,
            wait_disconnected: self.when_disconnected == WhenDisconnected::Wait,
            in_flight: self.in_flight,
            auths: self.auths,
            attach: self.attach.map(SessionCredentials::into_parts),
            first,
            listeners: self.listeners,
        };
        let started = threads::start(setup);
        let (shared, threads) =
            started.map_err(|source| Error::Start { source: Arc::new(source) })?;
        let scope = Scope {
            shared: shared.clone(),
            chroot: Chroot::new(&parsed.chroot),
            timeout: self.call_timeout,
            wait_full: self.when_full == WhenFull::Wait,
            max_request: self.max_request,
            pin: None,
            retry: self.retry,
            parents: CreateMode::Persistent,
        };
        let handle = Handle::new(shared, threads, self.close_timeout);
        let client = Client::new(Arc::new(handle), scope);

        match connected.recv_timeout(self.connect_timeout) {
            Ok(Ok(())) => Ok(client),
            Ok(Err(FirstFailure::AuthFailed)) => {
                Err(Error::AuthFailed { sent: true, at: At::new("connect", "") })
            }
            Ok(Err(FirstFailure::SessionExpired)) => {
                Err(Error::SessionExpired { sent: true, at: At::new("connect", "") })
            }
            Err(RecvTimeoutError::Timeout) => {
                let tried = client.tried(Instant::now() + Duration::from_secs(1));
                Err(Error::Connect { tried: tried.into() })
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(Error::Closed { sent: false, at: At::new("connect", "") })
            }
        }
    }
}

impl Client {
    /// Each host that failed, with why; empty if the IO thread does not answer in time.
    fn tried(&self, deadline: Instant) -> Vec<(String, String)> {
        let (answer, tried) = bounded(1);
        if self.shared().command(Command::Tried(answer)).is_err() {
            return Vec::new();
        }
        tried.recv_deadline(deadline).unwrap_or_default()
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No credentials.
        f.debug_struct("ClientBuilder")
            .field("connect_string", &self.connect_string)
            .field("session_timeout", &self.session_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("call_timeout", &self.call_timeout)
            .finish_non_exhaustive()
    }
}
