//! A semaphore: so many leases, and whoever has one.
//!
//! The door is a [lock](crate::recipes::Lock): whoever has it may take leases, and keeps it while
//! it waits for one to come free. So leases are given out in the order of asking, one process at a
//! time watches them, and they are never more than the maximum.

mod limit;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::op::{self, CreateMode, Operation};
use crate::client::session::Session;
use crate::client::watch::{Watch, Watcher};
use crate::client::{Client, Pending};
use crate::error::{Error, Result};
use crate::path;
use crate::proto::acl::Acl;
use crate::proto::code::Code;
use crate::recipes::contender::{self, LEASES};
use crate::recipes::guard::Hold;
use crate::recipes::line::{Contender, Line, check_path, read_contenders};
use crate::recipes::patience::{Patience, Waits};
use crate::recipes::place::{Place, PlaceOptions, ensure_node, ensure_parent};
use crate::recipes::role::{NameStyle, Role};
use limit::{Kept, Limit};

/// So many holders at a time, in the order of asking.
///
/// # What is not promised
/// * That a lowered maximum takes leases back: their holders keep them, and nobody is let in until
///   there are fewer than the new one.
/// * What no lock over a network can: see [`Hold`]. There are never more leases than the maximum on
///   the servers; a holder that was stopped past its session may not know yet that its own is gone.
///
/// # Layout
///
/// ```text
/// Kazoo                                        Curator (InterProcessSemaphoreV2)
/// <path>              the maximum, as text     <path>/leases/_c_<uuid>-lease-<10 digits>   a lease
/// <path>/<32 hex>     a lease                  <path>/locks/…                              the door
/// <path>-__lock__/…   the door
/// ```
///
/// Whoever has the door, a lock, takes a lease, or waits for one. Leases of the other clients count.
///
/// # Example
///
/// ```no_run
/// use zookeeper_blocking::{Client, recipes::Semaphore};
///
/// let zk = Client::connect("localhost:2181")?;
/// let workers = Semaphore::new(&zk, "/app/workers", 3)?.identifier("worker 7");
/// let lease = workers.acquire()?;
/// for holder in workers.holders()? {
///     println!("{} works", holder.identifier_text());
/// }
/// lease.release()?;
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
///
/// Costs three round trips to acquire, one to release.
#[derive(Clone)]
pub struct Semaphore {
    client: Client,
    path: Arc<str>,
    limit: Limit,
    identifier: Arc<[u8]>,
    acl: Arc<[Acl]>,
    style: NameStyle,
    waits: Waits,
}

impl Semaphore {
    /// The semaphore at `path` with `max` leases. Nothing is sent yet.
    ///
    /// As with Kazoo, whoever makes the node stores the maximum on it, and a handle that was made
    /// with another one is refused, unless it [follows](Self::follow_max).
    ///
    /// # Errors
    /// [`Error::Invalid`] if `path` is not a legal path, or is "/", or `max` is 0 or above
    /// 2147483647.
    pub fn new(client: &Client, path: &str, max: u32) -> Result<Self> {
        check_path(path, "semaphore")?;
        Limit::check(max, "semaphore", path)?;
        if max == 0 {
            return Err(Error::invalid("semaphore", path, "no leases at all"));
        }
        Ok(Self {
            client: client.clone(),
            path: path.into(),
            limit: Limit { own: max, kept: Kept::OnNode },
            identifier: [].into(),
            acl: [Acl::open()].into(),
            style: NameStyle::Kazoo,
            waits: Waits::default(),
        })
    }

    /// Goes by the maximum on the semaphore's node, should it differ from ours, and as it changes.
    /// Kazoo's clients do not: they refuse to work with a maximum that is not theirs.
    pub fn follow_max(mut self) -> Self {
        self.limit.kept = Kept::OnNodeFollowed;
        self
    }

    /// Goes by the count at `path`, as it changes, made with ours if it is missing: a `SharedCount`
    /// of Curator.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `path` is not a legal path, or is "/".
    pub fn shared_count(mut self, path: &str) -> Result<Self> {
        check_path(path, "shared_count")?;
        self.limit.kept = Kept::SharedCount(path.into());
        Ok(self)
    }

    /// What [`holders`](Self::holders) shows of whoever acquires through this handle. Defaults to
    /// nothing.
    pub fn identifier(mut self, identifier: impl AsRef<[u8]>) -> Self {
        self.identifier = identifier.as_ref().into();
        self
    }

    /// The ACL of the nodes that it makes, parents included. Defaults to everybody everything.
    pub fn acl(mut self, acl: impl IntoIterator<Item = Acl>) -> Self {
        self.acl = acl.into_iter().collect();
        self
    }

    /// Whose layout it has. Defaults to [`NameStyle::Kazoo`]. All of a semaphore need the same.
    ///
    /// Curator's does not store the maximum: all handles have to be made with the same one, or
    /// [share a count](Self::shared_count).
    pub fn name_style(mut self, style: NameStyle) -> Self {
        self.limit.kept = match (style, self.limit.kept) {
            (NameStyle::Kazoo, Kept::Nowhere) => Kept::OnNode,
            (NameStyle::Curator, Kept::OnNode) => Kept::Nowhere,
            (_, kept) => kept,
        };
        self.style = style;
        self
    }

    /// The semaphore's path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Waits for a lease until the deadline of the client's calls.
    ///
    /// A connection that breaks meanwhile is waited out; a session that expires costs the place in
    /// the queue, and the wait goes on at its end with the next session.
    ///
    /// # Errors
    /// * [`Error::Timeout`] at the deadline, with no node left behind.
    /// * [`RecipeError::Cancelled`](crate::RecipeError::Cancelled) after [`cancel`](Self::cancel).
    /// * [`RecipeError::LimitMismatch`](crate::RecipeError::LimitMismatch) if the stored maximum is
    ///   not ours.
    /// * Those of [`Lock::acquire`](crate::recipes::Lock::acquire).
    pub fn acquire(&self) -> Result<SemaphoreGuard> {
        self.enter(1, self.client.deadline(Instant::now()), |session, patience| {
            self.take_lease(session, patience)
        })
    }

    /// Waits for a lease for `timeout` at most, in all.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<SemaphoreGuard> {
        self.enter(1, Instant::now().checked_add(timeout), |session, patience| {
            self.take_lease(session, patience)
        })
    }

    /// Takes a lease if there is one; `None` if not, or if others are being given out just now.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub fn try_acquire(&self) -> Result<Option<SemaphoreGuard>> {
        self.try_enter(1, |session, patience| self.take_lease(session, patience))
    }

    /// Waits for `count` leases, and takes all of them or none. Those that come later wait behind,
    /// even if they want fewer.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire), and [`Error::Invalid`] for 0, or for more than there can be.
    pub fn acquire_many(&self, count: u32) -> Result<Vec<SemaphoreGuard>> {
        self.check_count(count)?;
        self.enter(count, self.client.deadline(Instant::now()), |session, patience| {
            (0..count).map(|_| self.take_lease(session, patience)).collect()
        })
    }

    /// Waits for `count` leases for `timeout` at most, in all, and takes all of them or none.
    ///
    /// # Errors
    /// As [`acquire_many`](Self::acquire_many).
    pub fn acquire_many_timeout(
        &self,
        count: u32,
        timeout: Duration,
    ) -> Result<Vec<SemaphoreGuard>> {
        self.check_count(count)?;
        self.enter(count, Instant::now().checked_add(timeout), |session, patience| {
            (0..count).map(|_| self.take_lease(session, patience)).collect()
        })
    }

    /// Takes `count` leases if there are so many, or none.
    ///
    /// # Errors
    /// As [`acquire_many`](Self::acquire_many).
    pub fn try_acquire_many(&self, count: u32) -> Result<Option<Vec<SemaphoreGuard>>> {
        self.check_count(count)?;
        self.try_enter(count, |session, patience| {
            (0..count).map(|_| self.take_lease(session, patience)).collect()
        })
    }

    /// Ends the waits of all threads that wait for this handle or its clones, with
    /// [`RecipeError::Cancelled`](crate::RecipeError::Cancelled). Leases that are held and later
    /// acquisitions are not concerned.
    pub fn cancel(&self) {
        self.waits.cancel();
    }

    /// Who holds a lease, the longest holder first. Those who wait are not among them.
    ///
    /// # Errors
    /// Those of every call. A semaphore that was never used has no holders.
    pub fn holders(&self) -> Result<Vec<Contender>> {
        let room = self.room();
        let children = match self.client.get_children(&room) {
            Err(error) if error.code() == Some(Code::NoNode) => return Ok(Vec::new()),
            children => children?,
        };
        let leases = children.iter().map(String::as_str).filter(|name| self.is_lease(name));
        let mut holders = read_contenders(&self.client, &room, leases)?;
        holders.sort_by_key(|holder| holder.fence);
        Ok(holders)
    }

    /// The maximum as it is stored; ours if it is not stored.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub fn get_max(&self) -> Result<u32> {
        let deadline = self.client.deadline(Instant::now());
        self.waits.patiently(deadline, "get_max", &self.path, |patience| {
            let Some(node) = self.limit.node(&self.path) else { return Ok(self.limit.own) };
            match patience.ask(&self.client, || op::GetData::new(node)) {
                Err(error) if error.code() == Some(Code::NoNode) => Ok(self.limit.own),
                data => self.limit.read(&data?.0, patience),
            }
        })
    }

    /// Stores another maximum. If it is larger, those who wait come in; if it is smaller, nobody
    /// does until enough leases were given back. With 0 nobody comes in any more.
    ///
    /// # Errors
    /// [`Error::Invalid`] unless the handle [follows](Self::follow_max) the maximum on the node or
    /// has a [shared count](Self::shared_count), and for numbers above 2147483647.
    pub fn set_max(&self, max: u32) -> Result<()> {
        Limit::check(max, "set_max", &self.path)?;
        let node = self.limit.node(&self.path).filter(|_| self.limit.is_followed());
        let Some(node) = node else {
            let why = "this handle does not follow a stored maximum";
            return Err(Error::invalid("set_max", &self.path, why));
        };
        let deadline = self.client.deadline(Instant::now());
        self.waits.patiently(deadline, "set_max", &self.path, |patience| {
            let bytes = self.limit.bytes(max);
            loop {
                match patience.ask(&self.client, || op::SetData::new(node, &bytes)) {
                    Err(error) if error.code() == Some(Code::NoNode) => {
                        ensure_node(&self.client, node, &bytes, &self.acl, patience)?;
                    }
                    set => return set.map(drop),
                }
            }
        })
    }

    /// Comes in for `count` leases, in one session after the other, and has `take` take them.
    fn enter<T>(
        &self,
        count: u32,
        deadline: Option<Instant>,
        take: impl Fn(&Session, &Patience<'_>) -> Result<T>,
    ) -> Result<T> {
        self.waits.patiently(deadline, "acquire", &self.path, |patience| {
            loop {
                let session = patience.session(&self.client)?;
                let entered = self.wait_inside(&session, count, patience);
                match entered.and_then(|_door| take(&session, patience)) {
                    // What was taken went with the session.
                    Err(Error::SessionExpired { .. }) => patience.check()?,
                    result => return result,
                }
            }
        })
    }

    /// Goes through the door, and waits behind it for room. Gives the door, to be kept until the
    /// leases are taken.
    fn wait_inside(&self, session: &Session, count: u32, patience: &Patience<'_>) -> Result<Hold> {
        let door = self.door().acquire_in(session, patience)?;
        // The first look leaves no watches: mostly there is room.
        let mut view = self.look(session, patience, false)?;
        while !view.has_room(count) {
            patience.wait_for(&view.watches.iter().collect::<Vec<_>>())?;
            view = self.look(session, patience, true)?;
        }
        Ok(door)
    }

    fn try_enter<T>(
        &self,
        count: u32,
        take: impl Fn(&Session, &Patience<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        let deadline = self.client.deadline(Instant::now());
        self.waits.patiently(deadline, "try_acquire", &self.path, |patience| {
            let session = patience.session(&self.client)?;
            // Before the door too: a node there would hold up others for nothing.
            if !self.look(&session, patience, false)?.has_room(count) {
                return Ok(None);
            }
            let Some(_door) = self.door().try_by(&session, patience)? else { return Ok(None) };
            if !self.look(&session, patience, false)?.has_room(count) {
                return Ok(None);
            }
            take(&session, patience).map(Some)
        })
    }

    fn take_lease(&self, session: &Session, patience: &Patience<'_>) -> Result<SemaphoreGuard> {
        let (mode, mark) = match self.style {
            NameStyle::Kazoo => (CreateMode::Ephemeral, ""),
            NameStyle::Curator => (CreateMode::EphemeralSequential, "lease-"),
        };
        let options = PlaceOptions {
            parent: &self.room(),
            parent_data: &self.node_data(),
            unique: self.style.unique(mark),
            mode,
            data: &self.identifier,
            acl: &self.acl,
        };
        let (place, _) = Place::take(session, &options, patience)?;
        Ok(SemaphoreGuard(Hold::new(place.refreshed())))
    }

    /// Counts the leases and reads the maximum, in one round trip; if `armed`, leaves watches.
    fn look(&self, session: &Session, patience: &Patience<'_>, armed: bool) -> Result<View> {
        let room = self.room();
        let node = self.limit.node(&self.path);
        loop {
            patience.check()?;
            let read = |watcher| match watcher {
                Some(watcher) => op::GetChildren::new(&*room).watcher(watcher),
                None => op::GetChildren::new(&*room),
            };
            let (children, leases) = submit(session, patience, armed, read)?;
            let follow = armed && self.limit.is_followed();
            let read = |node| {
                submit(session, patience, follow, move |watcher| match watcher {
                    Some(watcher) => op::GetData::new(node).watcher(watcher),
                    None => op::GetData::new(node),
                })
            };
            let data = node.map(read).transpose()?;
            let children = match patience.wait(children)? {
                Err(error) if error.is_connection() => continue,
                Err(error) if error.code() == Some(Code::NoNode) => {
                    ensure_parent(session, &room, &self.node_data(), &self.acl, patience)?;
                    continue;
                }
                children => children?,
            };
            let mut view = View { max: self.limit.own, leases: 0, watches: Vec::new() };
            view.leases = children.iter().filter(|name| self.is_lease(name)).count();
            view.watches.extend(leases);
            if let (Some((data, watch)), Some(node)) = (data, node) {
                match patience.wait(data)? {
                    Err(error) if error.is_connection() => continue,
                    Err(error) if error.code() == Some(Code::NoNode) => {
                        let bytes = self.limit.bytes(self.limit.own);
                        ensure_node(session, node, &bytes, &self.acl, patience)?;
                        continue;
                    }
                    data => view.max = self.limit.read(&data?.0, patience)?,
                }
                view.watches.extend(watch);
            }
            return Ok(view);
        }
    }

    /// The lock that lets them in one by one.
    fn door(&self) -> Line {
        let path = match self.style {
            NameStyle::Kazoo => format!("{}-__lock__", self.path),
            NameStyle::Curator => path::join(&self.path, "locks"),
        };
        Line {
            client: self.client.clone(),
            path: path.into(),
            identifier: self.identifier.clone(),
            acl: self.acl.clone(),
            style: self.style,
            role: Role::Lock,
            waits: self.waits.clone(),
        }
    }

    /// The node under which the leases are.
    fn room(&self) -> String {
        match self.style {
            NameStyle::Kazoo => self.path.to_string(),
            NameStyle::Curator => path::join(&self.path, "leases"),
        }
    }

    /// The data of that node, should it have to be made.
    fn node_data(&self) -> Vec<u8> {
        match self.limit.node(&self.path) {
            Some(node) if *node == *self.room() => self.limit.bytes(self.limit.own),
            _ => Vec::new(),
        }
    }

    /// Other children are not counted. (Kazoo counts all: it lets in fewer than we do, never more.)
    fn is_lease(&self, name: &str) -> bool {
        match self.style {
            NameStyle::Kazoo => name.len() == 32 && name.bytes().all(|b| b.is_ascii_hexdigit()),
            NameStyle::Curator => contender::Contender::parse(name, LEASES).is_some(),
        }
    }

    fn check_count(&self, count: u32) -> Result<()> {
        if count == 0 || (count > self.limit.own && !self.limit.is_followed()) {
            return Err(Error::invalid("acquire", &self.path, "never so many leases"));
        }
        Ok(())
    }
}

/// Sends a read, which leaves a watch if it is to be `armed`.
fn submit<O: Operation>(
    session: &Session,
    patience: &Patience<'_>,
    armed: bool,
    read: impl FnOnce(Option<Watcher>) -> O,
) -> Result<(Pending<O::Reply>, Option<Watch>)> {
    if armed {
        let watched = session.submit_watched(|watcher| read(Some(watcher)), patience.deadline)?;
        return Ok((watched.0, Some(watched.1)));
    }
    Ok((session.submit_until(read(None), patience.deadline)?, None))
}

/// What a look at the leases showed.
struct View {
    max: u32,
    leases: usize,
    /// Set if the look was armed.
    watches: Vec<Watch>,
}

impl View {
    fn has_room(&self, count: u32) -> bool {
        self.leases as u64 + u64::from(count) <= u64::from(self.max)
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A lease of a [`Semaphore`]; what it can tell is in [`Hold`].
///
/// Dropping it gives the lease back in the background; [`release`](Self::release) waits and tells.
/// Its fence is larger than that of every lease that was taken earlier.
#[derive(Debug)]
#[must_use = "dropping the guard gives the lease back"]
pub struct SemaphoreGuard(Hold);

impl SemaphoreGuard {
    /// Gives the lease back and waits for the server's word. One round trip.
    ///
    /// # Errors
    /// As [`LockGuard::release`](crate::recipes::LockGuard::release).
    ///
    /// # Blocking
    /// Until the deadline of the call at most.
    pub fn release(self) -> Result<()> {
        self.0.release("release")
    }
}

impl Deref for SemaphoreGuard {
    type Target = Hold;

    fn deref(&self) -> &Hold {
        &self.0
    }
}
