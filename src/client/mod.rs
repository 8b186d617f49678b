//! The client: handles, calls, and what they share.

mod batch;
pub(crate) mod behind;
pub(crate) mod builder;
mod calls;
pub(crate) mod chroot;
pub(crate) mod gathering;
mod handle;
pub mod op;
pub(crate) mod pending;
pub(crate) mod plain;
pub(crate) mod protected;
pub(crate) mod retry;
pub(crate) mod server;
pub(crate) mod session;
mod short_path;
pub(crate) mod states;
pub(crate) mod transaction;
pub(crate) mod tree;
pub(crate) mod watch;

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;

use crate::client::builder::ClientBuilder;
use crate::client::calls::Limits;
use crate::client::chroot::Chroot;
use crate::client::handle::Handle;
use crate::client::op::CreateMode;
use crate::client::pending::{Waited, wait};
use crate::client::retry::RetryPolicy;
use crate::client::session::{Session, SessionCredentials};
use crate::error::{At, Error, Result};
use crate::io::completion::Completion;
use crate::io::driver::Command;
use crate::io::shared::Shared;
use crate::io::slot::Slot;
use crate::path;
use crate::session::Outcome;
use crate::session::hosts::ConnectString;
use crate::session::state::SessionState;
use crate::session::watches::WatchId;

pub use batch::PendingAll;
pub use pending::Pending;

/// A handle to a client of one ensemble.
///
/// Cloning makes one more handle to the same client: same session, same threads. When the last
/// is dropped the session is closed, and the drop waits for that up to 1 s, unless it happens on
/// the event thread. [`close`](Self::close) tells how it went.
///
/// The client outlives its sessions. When one expires, everything that was in flight or waiting
/// fails with [`Error::SessionExpired`], every watch gets its last event, listeners hear
/// [`SessionState::Expired`], and then a new session is made (see
/// [`ExpiryPolicy`](crate::ExpiryPolicy)). For work that must not outlive its session, use the
/// handle that [`session`](Self::session) gives.
///
/// Every call may be made from any thread, callbacks included, and has a deadline
/// ([`ClientBuilder::call_timeout`]). A call in a callback holds up the callbacks after it.
#[derive(Clone)]
pub struct Client {
    handle: Arc<Handle>,
    scope: Arc<Scope>,
}

/// What may differ between handles to one client, and what they share.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) shared: Arc<Shared>,
    pub(crate) chroot: Chroot,
    pub(crate) timeout: Option<Duration>,
    pub(crate) wait_full: bool,
    pub(crate) max_request: usize,
    /// The only session that the handle works in.
    pub(crate) pin: Option<u64>,
    pub(crate) retry: RetryPolicy,
    /// How parents are made that nobody asked for by name.
    pub(crate) parents: CreateMode,
}

/// A handle that does not keep the client alive, for callbacks that the client itself holds.
#[derive(Clone, Debug)]
pub struct WeakClient {
    handle: Weak<Handle>,
    scope: Arc<Scope>,
}

impl WeakClient {
    /// The handle, if the client still has others.
    pub fn upgrade(&self) -> Option<Client> {
        let handle = self.handle.upgrade()?;
        Some(Client { handle, scope: self.scope.clone() })
    }
}

/// A watch that a request set: its path and id.
pub(crate) type Armed = Option<(Arc<str>, WatchId)>;

impl Client {
    pub(crate) fn new(handle: Arc<Handle>, scope: Scope) -> Self {
        Self { handle, scope: Arc::new(scope) }
    }

    /// Connects to `connect_string` with default options: `host:port,host:port/chroot`.
    ///
    /// # Errors
    /// As [`ClientBuilder::connect`].
    ///
    /// # Blocking
    /// For 15 s at most.
    pub fn connect(connect_string: &str) -> Result<Self> {
        Self::builder(connect_string).connect()
    }

    /// Options for a client of `connect_string`: `host[:port],…[/chroot]`, IPv6 in brackets, port
    /// 2181 by default.
    pub fn builder(connect_string: &str) -> ClientBuilder {
        ClientBuilder::new(connect_string)
    }

    /// The session that a request of now is for.
    fn standing(&self, op: &'static str, path: &str) -> Result<u64> {
        let (epoch, state) = self.shared().standing();
        if state.is_terminal() {
            return Err(self.ended(op, path));
        }
        match self.scope.pin {
            Some(pin) if pin != epoch => {
                Err(Error::SessionExpired { sent: false, at: At::new(op, path) })
            }
            Some(pin) => Ok(pin),
            None => Ok(epoch),
        }
    }

    /// Why nothing can be queued any more.
    fn ended(&self, op: &'static str, path: &str) -> Error {
        let at = At::new(op, path);
        match self.shared().standing().1 {
            SessionState::AuthFailed => Error::AuthFailed { sent: false, at },
            _ => Error::Closed { sent: false, at },
        }
    }

    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        // A time-out too large to be a point in time is none.
        self.scope.timeout.and_then(|timeout| now.checked_add(timeout))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.scope.shared
    }

    pub(crate) fn scope(&self) -> &Arc<Scope> {
        &self.scope
    }

    /// Another handle, which `change` makes differ from this one.
    fn scoped(&self, change: impl FnOnce(&mut Scope)) -> Self {
        let mut other = self.clone();
        change(Arc::make_mut(&mut other.scope));
        other
    }

    /// A handle whose calls have another deadline; `None` waits for ever.
    pub fn with_timeout(&self, timeout: impl Into<Option<Duration>>) -> Self {
        self.scoped(|scope| scope.timeout = timeout.into())
    }

    /// A handle whose failed calls are repeated by `policy`; see
    /// [`ClientBuilder::retry`](crate::ClientBuilder::retry).
    pub fn with_retry(&self, policy: RetryPolicy) -> Self {
        self.scoped(|scope| scope.retry = policy)
    }

    /// A handle that sees `path`, below its present chroot, as its root; Curator's `usingNamespace`.
    ///
    /// The node is not made: what makes parents makes it too when it is needed
    /// ([`create_with_parents`](Self::create_with_parents), [`ensure_path`](Self::ensure_path), all
    /// [recipes](crate::recipes)); [`ensure_chroot`](Self::ensure_chroot) makes it at once. A plain
    /// [`create`](Self::create) fails with [`Code::NoNode`](crate::Code::NoNode) until then, unlike
    /// Curator's, which looks before the first call of any sort.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `path` is not a legal path.
    pub fn with_chroot(&self, path: &str) -> Result<Self> {
        path::validate(path).map_err(|why| Error::invalid("with_chroot", path, why))?;
        Ok(self.scoped(|scope| scope.chroot = scope.chroot.below(path)))
    }

    /// A handle that makes parents which are missing as containers: the servers delete them some time
    /// after their last child is gone, and they are made again when they are needed. So what comes
    /// and goes by the thousand, locks by the name of a thing, leaves nothing behind.
    ///
    /// For all that makes parents by itself: [recipes](crate::recipes) that are given this handle,
    /// and [`create_with_parents`](Self::create_with_parents); also for
    /// [`ensure_path`](Self::ensure_path), whose last node counts as a parent. Nodes that hold
    /// something of their own stay persistent: counters, barriers, stored limits. A semaphore's node
    /// is made again with its limit, a queue's has its numbers begin anew.
    ///
    /// Servers before 3.5.1 know no containers, answer that they do not, and close the connection:
    /// there the parents are persistent.
    ///
    /// ```no_run
    /// use zookeeper_blocking::{Client, recipes::Lock};
    ///
    /// let zk = Client::connect("localhost:2181")?.with_container_parents();
    /// let guard = Lock::new(&zk, "/locks/orders/4711")?.acquire()?;
    /// guard.release()?; // and some time later, /locks/orders/4711, orders and locks are gone
    /// # Ok::<(), zookeeper_blocking::Error>(())
    /// ```
    pub fn with_container_parents(&self) -> Self {
        self.scoped(|scope| scope.parents = CreateMode::Container)
    }

    /// The path on the servers of what this handle calls "/"; "/" if it has no chroot.
    pub fn chroot(&self) -> &str {
        match self.scope.chroot.prefix() {
            "" => "/",
            prefix => prefix,
        }
    }

    /// A handle that does not keep the client alive: for callbacks, which the client itself holds.
    pub fn downgrade(&self) -> WeakClient {
        WeakClient { handle: Arc::downgrade(&self.handle), scope: self.scope.clone() }
    }

    /// A handle pinned to the present session: its calls fail with [`Error::SessionExpired`] once
    /// that session is gone.
    ///
    /// # Errors
    /// [`Error::SessionExpired`] while the client has no session: one expired and the next is not
    /// made yet; [`Error::Closed`] and the like if there will be none.
    pub fn session(&self) -> Result<Session> {
        let epoch = self.standing("session", "")?;
        let state = self.state();
        let id = self.shared().session_id();
        if matches!(state, SessionState::Connecting | SessionState::Expired) {
            return Err(Error::SessionExpired { sent: false, at: At::new("session", "") });
        }
        let pinned = self.scoped(|scope| scope.pin = Some(epoch));
        // The id and the epoch are two words: if the epoch moved, the id may be another's.
        let life = self.shared().life();
        pinned.standing("session", "")?;
        Ok(Session::new(pinned, id, life))
    }

    /// The present state. A local fact, and of the past as soon as it is read.
    pub fn state(&self) -> SessionState {
        self.shared().standing().1
    }

    /// The session's id; 0 before there is one. Servers print it in hex.
    pub fn session_id(&self) -> i64 {
        self.shared().session_id()
    }

    /// The session timeout that the server granted; zero before there is a session.
    pub fn session_timeout(&self) -> Duration {
        self.shared().timeout()
    }

    /// The last transaction that an answer told of.
    pub fn last_zxid(&self) -> i64 {
        self.shared().last_zxid()
    }

    /// The number of watches that are set.
    pub fn watch_count(&self) -> usize {
        self.shared().watch_count()
    }

    /// The server that the client is connected to, as the connect string names it.
    pub fn connected_host(&self) -> Option<String> {
        self.shared().host()
    }

    /// Replaces the list of servers; `hosts` is a connect string, whose chroot is ignored.
    ///
    /// The client stays where it is, or moves, by the rule of the Java client, which leaves all
    /// servers of the new list with equally many clients.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad or empty list.
    pub fn set_hosts(&self, hosts: &str) -> Result<()> {
        let parsed =
            ConnectString::parse(hosts).map_err(|why| Error::invalid("set_hosts", "", why))?;
        self.shared()
            .command(Command::SetHosts(parsed.hosts))
            .map_err(|_| self.ended("set_hosts", ""))
    }

    /// Adds credentials and waits for the server's acknowledgement. They are sent again on each
    /// connection.
    ///
    /// # Errors
    /// [`Error::AuthFailed`] if the server refused them: then the client is finished.
    ///
    /// # Blocking
    /// Until the deadline of the call at most.
    pub fn add_auth(
        &self,
        scheme: impl Into<String>,
        credential: impl Into<Vec<u8>>,
    ) -> Result<()> {
        let deadline = self.deadline(Instant::now());
        self.enter(1, Limits { deadline, patient: false }, "add_auth", "")?;
        let at = || At::new("add_auth", "");
        let slot = Slot::take();
        let token = Completion::slot(&slot);
        let command =
            Command::AddAuth { scheme: scheme.into(), credential: credential.into(), token };
        self.shared().command(command).map_err(|_| self.ended("add_auth", ""))?;
        match wait(&slot, deadline, Instant::now(), self.shared()) {
            Waited::Outcome(Outcome::Reply(_) | Outcome::Batch(_)) => Ok(()),
            Waited::Outcome(Outcome::Failed(failure)) => Err(pending::failed(failure, at())),
            Waited::Forked => Err(Error::Forked { at: at() }),
        }
    }

    /// Ends the client but not its session, which lives on for its timeout: give the credentials
    /// to [`ClientBuilder::attach`], in this process or another. Watches do not go along.
    ///
    /// # Errors
    /// [`Error::Closed`] if the client is closed already.
    pub fn detach(&self) -> Result<SessionCredentials> {
        let (answer, credentials) = bounded(1);
        self.shared().command(Command::Detach(answer)).map_err(|_| self.ended("detach", ""))?;
        let deadline = Instant::now() + self.handle.close_timeout;
        let (id, password) =
            credentials.recv_deadline(deadline).map_err(|_| self.ended("detach", ""))?;
        self.handle.wait_ended(deadline);
        Ok(SessionCredentials::new(id, password))
    }

    /// Closes the client: sends what was submitted before, ends the session, and with it its
    /// ephemeral nodes, and stops the threads. Legal from any thread and any callback, any number
    /// of times. Calls made meanwhile and afterwards fail with [`Error::Closed`].
    ///
    /// # Errors
    /// * [`Error::ConnectionLoss`] if no server acknowledged the end: the session lives on until
    ///   it times out.
    /// * [`Error::Timeout`] if a callback of the user's still runs at the deadline.
    ///
    /// # Blocking
    /// For the close timeout (2 s by default) at most. On the event thread it does not wait for
    /// the callbacks that are still queued.
    pub fn close(&self) -> Result<()> {
        self.close_timeout(self.handle.close_timeout)
    }

    /// As [`close`](Self::close), with another limit of time.
    ///
    /// # Errors
    /// As [`close`](Self::close).
    pub fn close_timeout(&self, timeout: Duration) -> Result<()> {
        let now = Instant::now();
        let limit = Duration::from_secs(365 * 24 * 3600);
        self.handle.close(now + timeout.min(limit))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("state", &self.state())
            .field("session", &format_args!("0x{:x}", self.session_id()))
            .field("chroot", &self.chroot())
            .finish_non_exhaustive()
    }
}
