//! A fair lock.
//!
//! ```text
//! <path>                                  persistent, made if it is missing
//! <path>/<32 hex>__lock__<10 digits>      ephemeral, holds the identifier
//! ```
//!
//! Kazoo's layout, so that Python processes queue with ours; nodes of Curator and of the Go client
//! count as contenders too. The first in the order of sequence numbers holds; each other watches
//! the one before it, so a release wakes one waiter.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, select};
use parking_lot::Mutex;

use crate::client::Client;
use crate::client::op;
use crate::client::session::Session;
use crate::client::watch::Watch;
use crate::error::{Error, RecipeError, Result};
use crate::path;
use crate::proto::acl::Acl;
use crate::proto::code::Code;
use crate::recipes::contender::{self, Decision, EXCLUSIVE, Rest};
use crate::recipes::guard::LockGuard;
use crate::recipes::place::{Patience, Place, PlaceOptions};

/// A lock that one holder at a time has, in the order of asking.
///
/// Not re-entrant: a thread that asks twice waits for itself. Handles of one lock, and of one
/// path in any process, contend with each other alike. Cloning makes one more handle; a
/// [`cancel`](Self::cancel) on one ends the waits of all clones.
///
/// ```no_run
/// use zookeeper_blocking::{Client, recipes::Lock};
///
/// let zk = Client::connect("localhost:2181")?;
/// let lock = Lock::new(&zk, "/app/lock")?.identifier("worker 7");
/// let guard = lock.acquire()?;
/// guard.transaction().set_data("/app/state", "mine", zookeeper_blocking::Version::Any).commit()?;
/// guard.release()?;
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
///
/// Costs one round trip to acquire uncontended, one to release.
#[derive(Clone)]
pub struct Lock {
    client: Client,
    path: Arc<str>,
    identifier: Arc<[u8]>,
    acl: Arc<[Acl]>,
    waits: Arc<Waits>,
}

/// One that holds the lock or waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Contender {
    /// The name of its node under the lock's path.
    pub node: String,
    /// What it said of itself.
    pub identifier: Vec<u8>,
    /// The session that made the node.
    pub session_id: i64,
    /// The fence that it has, or would have.
    pub fence: i64,
}

impl Contender {
    /// The identifier as text.
    pub fn identifier_text(&self) -> String {
        String::from_utf8_lossy(&self.identifier).into_owned()
    }
}

/// Those who wait on this lock in this process, to be cancelled.
#[derive(Debug, Default)]
struct Waits {
    cancels: AtomicU64,
    wakers: Mutex<Vec<(u64, Sender<()>)>>,
}

impl Lock {
    /// The lock at `path`. Nothing is sent yet; the node is made when it is first needed.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `path` is not a legal path, or is "/".
    pub fn new(client: &Client, path: &str) -> Result<Self> {
        let legal =
            if path == "/" { Err("the root cannot be a lock") } else { path::validate(path) };
        legal.map_err(|why| Error::invalid("lock", path, why))?;
        Ok(Self {
            client: client.clone(),
            path: path.into(),
            identifier: [].into(),
            acl: [Acl::open()].into(),
            waits: Arc::default(),
        })
    }

    /// What [`contenders`](Self::contenders) shows of whoever acquires through this handle.
    /// Defaults to nothing.
    pub fn identifier(mut self, identifier: impl AsRef<[u8]>) -> Self {
        self.identifier = identifier.as_ref().into();
        self
    }

    /// The ACL of the nodes that the lock makes, parents included. Defaults to everybody
    /// everything. All contenders need READ, CREATE and DELETE on the lock's path.
    pub fn acl(mut self, acl: impl IntoIterator<Item = Acl>) -> Self {
        self.acl = acl.into_iter().collect();
        self
    }

    /// The lock's path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Waits for the lock until the deadline of the client's calls (30 s by default; see
    /// [`Client::with_timeout`] for another, or none).
    ///
    /// A connection that breaks meanwhile is waited out; a session that expires costs the place
    /// in the queue, and the wait goes on at its end with the next session.
    ///
    /// # Errors
    /// * [`Error::Timeout`] at the deadline, with no node left behind.
    /// * [`RecipeError::Cancelled`] after [`cancel`](Self::cancel).
    /// * [`RecipeError::SequenceExhausted`] after 2^31 acquisitions, if the lock's node cannot be
    ///   made anew because a child that is no contender is in it, or a client that knows nothing
    ///   of used-up numbers. (Contenders with sound numbers are waited for; whoever comes after
    ///   them lines up anew, this one time in no order.)
    /// * [`Code::NoAuth`](crate::Code::NoAuth), [`Error::Closed`] and the like.
    pub fn acquire(&self) -> Result<LockGuard> {
        self.acquire_until(self.client.deadline(Instant::now()))
    }

    /// Waits for the lock for `timeout` at most, in all.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<LockGuard> {
        self.acquire_until(Instant::now().checked_add(timeout))
    }

    /// Takes the lock if it is free; `None` if it is not. Does not wait for other holders, but for
    /// the server, until the deadline of the client's calls.
    ///
    /// Makes a node only if a look shows no contender.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub fn try_acquire(&self) -> Result<Option<LockGuard>> {
        let deadline = self.client.deadline(Instant::now());
        self.patiently(deadline, "try_acquire", |patience, _| {
            let session = self.session(patience)?;
            loop {
                let children = patience.ask(&session, || op::GetChildren::new(&*self.path));
                match children {
                    Ok(children) if !contender::ordered(&children, EXCLUSIVE).is_empty() => {
                        return Ok(None);
                    }
                    Err(error) if error.code() != Some(Code::NoNode) => return Err(error),
                    _ => {}
                }
                let (place, listed) = self.take_place(&session, patience)?;
                match self.look(&place, listed, patience) {
                    Ok(Turn::Held(guard)) => return Ok(Some(guard)),
                    Ok(Turn::Wait(_)) => match place.leave(patience) {
                        // Gone before we left it, all the same.
                        Ok(()) | Err(Error::Recipe { why: RecipeError::NotHeld, .. }) => {
                            return Ok(None);
                        }
                        Err(error) => return Err(error),
                    },
                    // Somebody took our place away: the lock may be free.
                    Ok(Turn::Again) => {}
                    Ok(Turn::Exhausted) => {
                        if !self.renew_parent(&place, patience, None)? {
                            return Ok(None);
                        }
                    }
                    Err(error) => {
                        place.leave_behind();
                        return Err(error);
                    }
                }
            }
        })
    }

    /// Ends the waits of all threads that wait for this handle or its clones, with
    /// [`RecipeError::Cancelled`]. Guards that are held and later acquisitions are not concerned.
    pub fn cancel(&self) {
        self.waits.cancels.fetch_add(1, Ordering::SeqCst);
        for (_, waker) in &*self.waits.wakers.lock() {
            let _ = waker.try_send(());
        }
    }

    /// Who holds the lock, first, and who waits for it, in order. Nodes of other clients of the
    /// same family (Kazoo, Curator, Go) are among them.
    ///
    /// # Errors
    /// Those of every call. A lock that was never used has no contenders.
    pub fn contenders(&self) -> Result<Vec<Contender>> {
        let children = match self.client.get_children(&self.path) {
            Err(error) if error.code() == Some(Code::NoNode) => return Ok(Vec::new()),
            children => children?,
        };
        let pending: Vec<_> = contender::ordered(&children, EXCLUSIVE)
            .into_iter()
            .map(|name| {
                let read = op::GetData::new(path::join(&self.path, name));
                Ok((name.to_owned(), self.client.submit(read)?))
            })
            .collect::<Result<_>>()?;
        let mut contenders = Vec::with_capacity(pending.len());
        for (node, pending) in pending {
            match pending.wait() {
                Ok((identifier, stat)) => contenders.push(Contender {
                    node,
                    identifier,
                    session_id: stat.ephemeral_owner,
                    fence: stat.czxid,
                }),
                // Gone since we looked.
                Err(error) if error.code() == Some(Code::NoNode) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(contenders)
    }

    fn acquire_until(&self, deadline: Option<Instant>) -> Result<LockGuard> {
        self.patiently(deadline, "acquire", |patience, woken| {
            loop {
                let session = self.session(patience)?;
                match self.wait_for_turn(&session, patience, woken) {
                    // The place went with the session: line up anew with the next one.
                    Err(Error::SessionExpired { .. }) => patience.check()?,
                    Ok(None) => {}
                    Ok(Some(guard)) => return Ok(guard),
                    Err(error) => return Err(error),
                }
            }
        })
    }

    /// Lines up once. `None` if the place was lost, or used up, and a new one is to be taken.
    fn wait_for_turn(
        &self,
        session: &Session,
        patience: &Patience<'_>,
        woken: &Receiver<()>,
    ) -> Result<Option<LockGuard>> {
        let (place, mut listed) = self.take_place(session, patience)?;
        loop {
            let turn = self.look(&place, listed.take(), patience);
            let watch = match turn {
                Ok(Turn::Held(guard)) => return Ok(Some(guard)),
                Ok(Turn::Again) => return Ok(None),
                Ok(Turn::Exhausted) => {
                    return self.renew_parent(&place, patience, Some(woken)).map(|_| None);
                }
                Ok(Turn::Wait(watch)) => watch,
                Err(error) => {
                    place.leave_behind();
                    return Err(error);
                }
            };
            if let Err(over) = wait_for(watch.as_ref(), patience, woken) {
                place.leave_behind();
                return Err(over);
            }
        }
    }

    fn take_place(
        &self,
        session: &Session,
        patience: &Patience<'_>,
    ) -> Result<(Place, Option<Vec<String>>)> {
        let options = PlaceOptions {
            parent: &self.path,
            infix: contender::Pattern::KAZOO_LOCK.text,
            data: &self.identifier,
            acl: &self.acl,
        };
        Place::take(session, &options, patience)
    }

    /// Looks at the queue, or at what was `listed` since our node was made, and says what to do.
    ///
    /// That our node is listed, under a name that only we use and with an owner that was compared
    /// when it was made, is the proof that our session was alive when the server looked: no more
    /// has to be read before claiming.
    fn look(
        &self,
        place: &Place,
        listed: Option<Vec<String>>,
        patience: &Patience<'_>,
    ) -> Result<Turn> {
        let session = &place.session;
        let ask = || patience.ask(session, || op::GetChildren::new(&*self.path));
        let children = match listed.map_or_else(ask, Ok) {
            Err(error) if error.code() == Some(Code::NoNode) => return Ok(Turn::Again),
            children => children?,
        };
        match contender::decide(&children, place.name(), EXCLUSIVE, 1) {
            Decision::Held => {
                let mut place = place.clone();
                place.session = session.refreshed();
                Ok(Turn::Held(LockGuard::new(place)))
            }
            Decision::Missing => Ok(Turn::Again),
            Decision::Exhausted => Ok(Turn::Exhausted),
            Decision::Wait { predecessor } => {
                self.watch(predecessor, session, patience).map(Turn::Wait)
            }
        }
    }

    /// Watches a contender; `None` if it has to be looked again at once.
    fn watch(
        &self,
        contender: &str,
        session: &Session,
        patience: &Patience<'_>,
    ) -> Result<Option<Watch>> {
        let node = path::join(&self.path, contender);
        let read = |watcher| op::GetData::new(node.as_str()).watcher(watcher);
        match patience.watch(session, read)? {
            Ok(watch) => Ok(Some(watch)),
            // Gone since we looked.
            Err(error) if error.code() == Some(Code::NoNode) => Ok(None),
            Err(error) if error.is_connection() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The parent has counted its creates to the end, and gives every node the same number now.
    /// Only a new parent counts anew; it can be made when nobody is there. Those with sound
    /// numbers are waited for, if there is something to be `woken` by; else `false`.
    fn renew_parent(
        &self,
        place: &Place,
        patience: &Patience<'_>,
        woken: Option<&Receiver<()>>,
    ) -> Result<bool> {
        match place.leave(patience) {
            Err(Error::Recipe { why: RecipeError::NotHeld, .. }) | Ok(()) => {}
            Err(error) => return Err(error),
        }
        log::warn!("{}: the sequence numbers are used up, making the node anew", self.path);
        let session = &place.session;
        let mut tries = 0;
        while tries < RENEWALS {
            match patience.ask(session, || op::Delete::new(&*self.path)) {
                Err(error) if error.code() == Some(Code::NotEmpty) => {}
                Err(error) if error.code() != Some(Code::NoNode) => return Err(error),
                _ => return Ok(true),
            }
            let children = match patience.ask(session, || op::GetChildren::new(&*self.path)) {
                Err(error) if error.code() == Some(Code::NoNode) => return Ok(true),
                children => children?,
            };
            match (contender::rest(&children), woken) {
                (Rest::Stranger, _) => break,
                (Rest::Sound(_), None) => return Ok(false),
                (Rest::Sound(last), Some(woken)) => {
                    let watch = self.watch(last, session, patience)?;
                    wait_for(watch.as_ref(), patience, woken)?;
                }
                // Others found out just now, as we did, and are about to leave.
                (Rest::Exhausted, _) => {
                    tries += 1;
                    std::thread::sleep(RENEWAL_PAUSE.mul_f64(fastrand::f64()));
                }
            }
        }
        Err(Error::Recipe { why: RecipeError::SequenceExhausted, at: patience.at() })
    }

    /// The present session; waits for one while there is none.
    fn session(&self, patience: &Patience<'_>) -> Result<Session> {
        // Heard only while there is none: the client keeps a subscription until the next state.
        let mut states = None;
        loop {
            match self.client.session() {
                // A handle that is pinned to a session has no other to wait for.
                Err(Error::SessionExpired { .. }) if self.client.scope().pin.is_none() => {
                    patience.check()?;
                    let Some(states) = &states else {
                        states = Some(self.client.subscribe()?);
                        continue;
                    };
                    // Looks now and then all the same, for a cancel.
                    let _ = states.recv_timeout(Duration::from_millis(50));
                }
                result => return result,
            }
        }
    }

    /// Runs `work` with a patience that ends with `deadline` or a cancel.
    fn patiently<T>(
        &self,
        deadline: Option<Instant>,
        op: &'static str,
        work: impl FnOnce(&Patience<'_>, &Receiver<()>) -> Result<T>,
    ) -> Result<T> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let (waker, woken) = bounded(1);
        let before = self.waits.cancels.load(Ordering::SeqCst);
        self.waits.wakers.lock().push((id, waker));
        let cancelled = || self.waits.cancels.load(Ordering::SeqCst) != before;
        let patience = Patience { deadline, cancelled: &cancelled, op, path: &self.path };
        let result = work(&patience, &woken);
        self.waits.wakers.lock().retain(|(known, _)| *known != id);
        result
    }
}

/// How often a used-up parent is tried to be deleted while only those stand in the way whose
/// numbers are used up too: ours leave at once, clients that know nothing of it stay.
const RENEWALS: usize = 20;

/// At most, and half of it on average.
const RENEWAL_PAUSE: Duration = Duration::from_millis(20);

/// What a look at the queue showed.
enum Turn {
    /// Lost: line up anew.
    Again,
    /// Our number is used up.
    Exhausted,
    Held(LockGuard),
    /// Wait for this watch, if there is one, and look again.
    Wait(Option<Watch>),
}

/// Waits until the watch hears something, the wait is cancelled, or patience ends.
fn wait_for(watch: Option<&Watch>, patience: &Patience<'_>, woken: &Receiver<()>) -> Result<()> {
    let Some(watch) = watch else {
        return patience.check();
    };
    let deadline = match patience.deadline {
        Some(deadline) => crossbeam_channel::at(deadline),
        None => crossbeam_channel::never(),
    };
    let (bell, rung) = bounded(0);
    watch.ring(bell);
    select! {
        recv(rung) -> _ => {}
        recv(woken) -> _ => {}
        recv(deadline) -> _ => {}
    }
    patience.check()
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").field("path", &self.path).finish_non_exhaustive()
    }
}
