//! A lease: a lock with an end, which outlives sessions and processes.
//!
//! Kazoo's clients go by their own clocks. Ours go by the leader's: the time is taken
//! from the server's answer to a write made under the lock, so that a wrong clock of a client can
//! neither end a lease early nor make one too long.

mod held;
mod multi;
mod record;

use std::fmt;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::client::op::{self, Version};
use crate::client::transaction::{OpResult, Transaction};
use crate::client::watch::Watch;
use crate::error::{Error, RecipeError, Result};
use crate::path;
use crate::proto::acl::Acl;
use crate::proto::code::Code;
use crate::proto::stat::Stat;
use crate::recipes::guard::Hold;
use crate::recipes::line::Line;
use crate::recipes::patience::Patience;
use crate::recipes::role::Role;
use record::{NoRecord, Record};

pub use held::HeldLease;
pub use multi::MultiLease;

/// A lock for a fixed time, for work that only one of several hosts is to do.
///
/// Who took it has it until its end, whatever happens to its session and its process: dropping the
/// [`HeldLease`] does not give it up. To renew a lease, take it again as the same holder.
///
/// # What is not promised
/// * That only one acts as the holder, if Kazoo's clients take part and their clocks are wrong, or
///   if two processes have the same holder's name: the later one takes over. The
///   [fence](HeldLease::fence), which Kazoo's lacks, tells them apart.
/// * That the leader's clock is right, nor that it agrees with the next leader's.
/// * That a machine that slept noticed the time: the clock that [`HeldLease::is_held`] asks stands
///   still meanwhile on some systems.
/// * An order of those who want it: for that, use a [`Lock`](crate::recipes::Lock).
///
/// # Layout
///
/// ```text
/// <path>/lease_holder                     persistent: {"version": 1, "holder": "…", "end": "…"}
/// <path>/<32 hex>__lock__<10 digits>      whoever reads or writes it, one at a time
/// ```
///
/// Kazoo's. Times are by the leader's clock, where Kazoo goes by its own.
///
/// # Example
///
/// ```no_run
/// use std::time::Duration;
/// use zookeeper_blocking::{Client, recipes::Lease};
///
/// let zk = Client::connect("localhost:2181")?;
/// let hourly = Duration::from_secs(70 * 60);
/// let cleanup = Lease::new(&zk, "/app/leases/cleanup", "worker 7", hourly)?;
/// if let Some(lease) = cleanup.try_acquire()? {
///     println!("cleaning up, with fence {}", lease.fence());
/// }
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
///
/// Costs three round trips to take.
#[derive(Clone)]
pub struct Lease {
    line: Line,
    holder: String,
    duration: Duration,
}

/// Who has a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseHolder {
    /// The name that the holder gave itself.
    pub holder: String,
    /// The end of the lease, in seconds since the Unix epoch.
    pub end_s: i64,
    /// The holder's fence.
    pub fence: i64,
}

impl Lease {
    /// The lease at `path`, as `holder` wants it, for `duration`, at whose end it is cut to the
    /// whole second. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `path` is not a legal path, or is "/", if `holder` is empty, or if
    /// `duration` is less than a second or more than a hundred years.
    pub fn new(client: &Client, path: &str, holder: &str, duration: Duration) -> Result<Self> {
        let mut line = Line::new(client, path, Role::Lock, "lease")?;
        if holder.is_empty() {
            return Err(Error::invalid("lease", path, "a holder without a name"));
        }
        if duration < Duration::from_secs(1) || duration > HUNDRED_YEARS {
            return Err(Error::invalid("lease", path, "less than 1 s, or more than 100 years"));
        }
        line.identifier = holder.as_bytes().into();
        Ok(Self { line, holder: holder.to_owned(), duration })
    }

    /// The ACL of the nodes that it makes, parents included. Defaults to everybody everything.
    pub fn acl(mut self, acl: impl IntoIterator<Item = Acl>) -> Self {
        self.line.acl = acl.into_iter().collect();
        self
    }

    /// The lease's path.
    pub fn path(&self) -> &str {
        &self.line.path
    }

    /// Takes the lease if it is free, over, or our own; `None` if another has it, or if it is of a
    /// newer version of the layout. Waits for others who look at it in the same moment, until the
    /// deadline of the client's calls.
    ///
    /// # Errors
    /// * [`RecipeError::Unreadable`] if the node does not hold a lease.
    /// * [`Error::Timeout`] and the like: if the request was sent (see [`Error::applied`]) the lease
    ///   may have been taken, and runs to its end. Ask again: its holder gets it.
    /// * Those of [`Lock::acquire`](crate::recipes::Lock::acquire).
    pub fn try_acquire(&self) -> Result<Option<HeldLease>> {
        let deadline = self.line.client.deadline(Instant::now());
        self.patiently(deadline, "try_acquire", |patience| {
            Ok(self.take(None, false, patience)?.lease)
        })
    }

    /// Waits until it has the lease, until the deadline of the client's calls: for its end, or for
    /// its release.
    ///
    /// All that wait wake at the end of the lease, and one of them has it.
    ///
    /// # Errors
    /// * [`Error::Timeout`] at the deadline.
    /// * [`RecipeError::Cancelled`] after [`cancel`](Self::cancel).
    /// * As [`try_acquire`](Self::try_acquire).
    pub fn acquire(&self) -> Result<HeldLease> {
        self.acquire_until(self.line.client.deadline(Instant::now()))
    }

    /// Waits until it has the lease for `timeout` at most, in all.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<HeldLease> {
        self.acquire_until(Instant::now().checked_add(timeout))
    }

    /// Ends the waits of all threads that wait for this handle or its clones, with
    /// [`RecipeError::Cancelled`]. Leases that are held are not concerned.
    pub fn cancel(&self) {
        self.line.waits.cancel();
    }

    /// Who has the lease, or had it last, as the node says it. `None` if nobody ever had it, it was
    /// released, or it is of a newer version of the layout.
    ///
    /// # Errors
    /// [`RecipeError::Unreadable`], and those of every call.
    pub fn holder(&self) -> Result<Option<LeaseHolder>> {
        let deadline = self.line.client.deadline(Instant::now());
        self.patiently(deadline, "holder", |patience| {
            let node = self.node();
            match patience.ask(&self.line.client, || op::GetData::new(node.as_str())) {
                Err(error) if error.code() == Some(Code::NoNode) => Ok(None),
                read => {
                    let (data, stat) = read?;
                    let record = known(&data, patience)?;
                    Ok(record.map(|Record { holder, end: end_s }| LeaseHolder {
                        holder,
                        end_s,
                        fence: stat.czxid,
                    }))
                }
            }
        })
    }

    fn acquire_until(&self, deadline: Option<Instant>) -> Result<HeldLease> {
        self.patiently(deadline, "acquire", |patience| {
            loop {
                let taken = self.take(None, true, patience)?;
                if let Some(lease) = taken.lease {
                    return Ok(lease);
                }
                // Not all in the same moment.
                let until = taken.over + CROWD.mul_f64(fastrand::f64());
                let nap = patience.until(until);
                match nap.wait_for(taken.watch.as_ref().as_slice()) {
                    // The lease is over, not our patience.
                    Err(Error::Timeout { .. }) => patience.check()?,
                    result => result?,
                }
            }
        })
    }

    fn patiently<T>(
        &self,
        deadline: Option<Instant>,
        op: &'static str,
        work: impl FnOnce(&Patience<'_>) -> Result<T>,
    ) -> Result<T> {
        self.line.waits.patiently(deadline, op, &self.line.path, work)
    }

    /// Looks under the lock, in one session after the other, and takes the lease if it may; if
    /// `only` is given, only the one with that fence. If not, and if it is to be `watched`, there
    /// is a watch on what it saw.
    fn take(&self, only: Option<i64>, watched: bool, patience: &Patience<'_>) -> Result<Taken> {
        loop {
            // Dropped at the end of the turn, and given up in the background.
            let door = self.line.acquire_by(patience)?;
            match self.take_inside(&door, only, watched, patience) {
                // Taken anew it is ours whatever happened; renewed it may be another one already.
                Err(Error::SessionExpired { .. }) if only.is_none() => patience.check()?,
                Ok(None) => patience.check()?,
                Ok(Some(taken)) => return Ok(taken),
                Err(error) => return Err(error),
            }
        }
    }

    /// `None` if the lock was lost, and it has to be lined up anew.
    fn take_inside(
        &self,
        door: &Hold,
        only: Option<i64>,
        watched: bool,
        patience: &Patience<'_>,
    ) -> Result<Option<Taken>> {
        let mut sent: Option<(Vec<u8>, Instant)> = None;
        let mut before = None;
        loop {
            let Some(seen) = self.look(door, patience)? else { return Ok(None) };
            let fence = seen.stat.map(|stat| stat.czxid);
            if let Some((data, until)) = sent.take() {
                // The write whose answer was lost: nobody else writes under our lock.
                if fence != before && data == seen.data {
                    return Ok(fence.map(|fence| Taken::of(self.held(fence, until))));
                }
            }
            let record = match seen.stat {
                Some(_) => Some(known(&seen.data, patience)?),
                None => None,
            };
            let ours = match (&record, only) {
                (_, Some(only)) => fence == Some(only),
                (None, None) => true,
                (Some(None), None) => false,
                (Some(Some(record)), None) => {
                    record.holder == self.holder || record.end * 1000 <= seen.now_ms
                }
            };
            if !ours {
                let end = record.flatten().map_or(i64::MAX, |record| record.end * 1000);
                return self.refused(fence, seen.until(end), watched, patience).map(Some);
            }
            // Cut to the second as Kazoo does: never longer than asked for.
            let end_ms = seen.now_ms.saturating_add(millis(self.duration));
            let record = Record { holder: self.holder.clone(), end: end_ms.div_euclid(1000) };
            let until = seen.until(record.end * 1000);
            let data = record.encode().into_bytes();
            match self.write(door, &seen, &data, patience) {
                Ok(Some(fence)) => return Ok(Some(Taken::of(self.held(fence, until)))),
                // The check of the lock, or of the record that somebody wrote without the lock.
                Ok(None) | Err(Error::Transaction { .. }) => return Ok(None),
                Err(error) if error.is_connection() => {
                    patience.check()?;
                    (sent, before) = (Some((data, until)), fence);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads the record and the leader's clock, in one round trip; `None` if the lock was lost.
    fn look(&self, door: &Hold, patience: &Patience<'_>) -> Result<Option<Seen>> {
        let (session, node) = (door.session(), self.node());
        loop {
            patience.check()?;
            let asked = Instant::now();
            // Any write tells the time; this one changes nothing.
            let stamp = op::SetData::new(door.node(), &*self.line.identifier);
            let stamp = session.submit_until(stamp, patience.deadline)?;
            let read = op::GetData::new(node.as_str());
            let read = session.submit_until(read, patience.deadline)?;
            let (stamp, read) = (patience.wait(stamp)?, patience.wait(read)?);
            let (data, stat) = match read {
                Err(error) if error.is_connection() => continue,
                Err(error) if error.code() == Some(Code::NoNode) => (Vec::new(), None),
                read => read.map(|(data, stat)| (data, Some(stat)))?,
            };
            match stamp {
                Err(error) if error.is_connection() => {}
                Err(error) if error.code() == Some(Code::NoNode) => return Ok(None),
                stamp => return Ok(Some(Seen { data, stat, now_ms: stamp?.mtime_ms, asked })),
            }
        }
    }

    /// Writes the record in the place of what was seen, and gives the fence.
    fn write(
        &self,
        door: &Hold,
        seen: &Seen,
        data: &[u8],
        patience: &Patience<'_>,
    ) -> Result<Option<i64>> {
        let node = self.node();
        let mut change = Transaction::new().check(door.node(), Version::Any);
        if let Some(stat) = seen.stat {
            change = change.delete(node.as_str(), stat.version);
        }
        let create = op::Create::new(node.as_str()).data(data);
        let change = change.op(create.acl(self.line.acl.iter().cloned()));
        let session = door.session();
        let results = patience.wait(session.submit_until(change, patience.deadline)?)??;
        Ok(results.iter().find_map(OpResult::created).map(|created| created.zxid))
    }

    /// Not ours: what to wait for, if it is to be waited.
    fn refused(
        &self,
        fence: Option<i64>,
        over: Instant,
        watched: bool,
        patience: &Patience<'_>,
    ) -> Result<Taken> {
        let mut taken = Taken { lease: None, over, watch: None };
        if !watched {
            return Ok(taken);
        }
        let node = self.node();
        let read = |watcher| op::GetData::new(node.as_str()).watcher(watcher);
        match patience.watch(&self.line.client, read)? {
            Ok(((_, stat), watch)) if Some(stat.czxid) == fence => taken.watch = Some(watch),
            // Changed since we looked: there is nothing to wait for.
            Ok(_) => {}
            Err(error) if error.is_connection() => {}
            Err(error) if error.code() == Some(Code::NoNode) => {}
            Err(error) => return Err(error),
        }
        Ok(taken)
    }

    fn held(&self, fence: i64, until: Instant) -> HeldLease {
        HeldLease::new(self.clone(), fence, until)
    }

    fn node(&self) -> String {
        path::join(&self.line.path, "lease_holder")
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("path", &self.line.path)
            .field("holder", &self.holder)
            .finish_non_exhaustive()
    }
}

/// What a look under the lock showed.
struct Seen {
    data: Vec<u8>,
    /// `None` if there is no record.
    stat: Option<Stat>,
    /// The clock of the leader, some time after `asked`.
    now_ms: i64,
    asked: Instant,
}

impl Seen {
    /// When it is so late by the clock of the leader, at the earliest.
    fn until(&self, ms: i64) -> Instant {
        let left = u64::try_from(ms.saturating_sub(self.now_ms)).unwrap_or(0);
        let left = Duration::from_millis(left).min(HUNDRED_YEARS);
        self.asked.checked_add(left).unwrap_or(self.asked)
    }
}

/// What came of an attempt.
struct Taken {
    lease: Option<HeldLease>,
    /// When the lease of another is over.
    over: Instant,
    watch: Option<Watch>,
}

impl Taken {
    fn of(lease: HeldLease) -> Self {
        Self { over: lease.deadline(), lease: Some(lease), watch: None }
    }
}

/// The record; `None` if it is of a version to come.
fn known(data: &[u8], patience: &Patience<'_>) -> Result<Option<Record>> {
    match Record::decode(data) {
        Ok(record) => Ok(Some(record)),
        Err(NoRecord::Foreign) => Ok(None),
        Err(NoRecord::Unreadable) => Err(patience.error(RecipeError::Unreadable)),
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

const HUNDRED_YEARS: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The time over which those spread who wait for one lease to end.
const CROWD: Duration = Duration::from_millis(20);
