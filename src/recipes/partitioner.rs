//! A set of items that is shared among those who are here: Kazoo's `SetPartitioner`.
//!
//! ```text
//! <path>/party/<32 hex>-<identifier>               the members: a shallow party
//! <path>/locks/<item>/<32 hex>__lock__<number>     who has the item: a lock each
//! ```
//!
//! The party says who is to have what, the locks say who has it: members that see the party
//! differently for a while wait for each other, and never have an item together.

use std::fmt::{self, Display};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::client::op;
use crate::client::session::Session;
use crate::client::watch::{Watch, Watcher};
use crate::error::{Error, Result};
use crate::path;
use crate::proto::acl::Acl;
use crate::proto::code::Code;
use crate::recipes::guard::Hold;
use crate::recipes::line::Line;
use crate::recipes::partition::Partition;
use crate::recipes::party::{Membership, ShallowParty, identifier_in};
use crate::recipes::patience::Patience;
use crate::recipes::role::Role;
use crate::recipes::site::{Site, look};

/// A set of items, of which each member of a party has its share, and nobody else.
///
/// # What it promises
/// * The share of the member whose identifier is the n-th, of m, is every m-th item from the n-th
///   on, both in order: Kazoo's rule. Text is ordered by its UTF-8 bytes, as in Python; so
///   processes in both languages get the same shares of the same items.
/// * An item has one owner at a time. It is held by a lock of its own, and each [`Partition`]
///   knows the [fence](crate::recipes::Hold::fence) of each of its items, which is larger than
///   that of every earlier owner.
/// * When somebody joins, leaves or dies, every partition says
///   [`Release`](crate::recipes::PartitionState::Release): give it up, and acquire the next. Members
///   join again by themselves after an expiry.
///
/// # What it does not promise
/// * That an item has an owner at every moment. Between two shares it has none; and a member that
///   does not give up what is no longer its share keeps others waiting.
/// * Shares at all, if the members do not agree on the items, or if two of them have one
///   identifier: then they wait for each other.
/// * What [locks](crate::recipes) cannot promise: a process that was stopped may act once more as
///   the owner before it looks. The fence tells it apart.
///
/// | Kazoo's state | here |
/// |---|---|
/// | `ALLOCATING` | [`acquire`](PartitionMember::acquire) waits |
/// | `ACQUIRED`, `RELEASE`, `FAILURE` | [`PartitionState`](crate::recipes::PartitionState) of the [`Partition`] |
///
/// ```no_run
/// use std::time::Duration;
/// use zookeeper_blocking::{Client, recipes::{PartitionState, Partitioner}};
///
/// let zk = Client::connect("localhost:2181")?;
/// let queues = ["orders", "returns", "letters"];
/// let member = Partitioner::new(&zk, "/app/queues", "worker 7", queues)?.join()?;
/// loop {
///     let partition = member.acquire()?;
///     while partition.wait_change(Duration::from_secs(1)) == PartitionState::Acquired {
///         for (queue, hold) in partition.iter() {
///             println!("working on {queue} as {}", hold.fence());
///         }
///         # break;
///     }
///     if partition.state() == PartitionState::Release {
///         partition.release()?;
///     }
///     # if true { break }
/// }
/// member.leave()?;
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
///
/// Costs two round trips to join; to acquire, one to look, and one for each item.
#[derive(Clone)]
pub struct Partitioner<T> {
    site: Site,
    party: ShallowParty,
    identifier: Arc<str>,
    /// In order, each once.
    items: Arc<[T]>,
    settle: Duration,
}

impl<T: Ord + Clone + Display> Partitioner<T> {
    /// The items at `path`, for whoever is called `identifier`: unlike all others, and part of a
    /// node's name. Nothing is sent yet. An item that is there twice counts once.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `path` is not a legal path or is "/", or if the identifier, or the text
    /// of an item, cannot be part of a path.
    pub fn new(
        client: &Client,
        path: &str,
        identifier: &str,
        items: impl IntoIterator<Item = T>,
    ) -> Result<Self> {
        let site = Site::new(client, "partitioner", path)?;
        let party = ShallowParty::new(client, &site.below(PARTY), identifier)?;
        let mut items: Vec<_> = items.into_iter().collect();
        items.sort();
        items.dedup();
        for item in &items {
            let path = lock_path(&site, item);
            path::validate(&path).map_err(|why| Error::invalid("partitioner", &path, why))?;
        }
        let (identifier, items) = (identifier.into(), items.into());
        Ok(Self { site, party, identifier, items, settle: SETTLE })
    }

    /// The ACL of the nodes that are made, parents included. Defaults to everybody everything.
    pub fn acl(mut self, acl: impl IntoIterator<Item = Acl>) -> Self {
        self.site.set_acl(acl);
        self.party = self.party.acl(self.site.acl.iter().cloned());
        self
    }

    /// How long the party must not have changed before shares are taken, so that a fleet that
    /// starts does not share anew with each member. Defaults to 1 s (Kazoo's `time_boundary`: 30 s);
    /// members need not agree on it.
    pub fn settle(mut self, time: Duration) -> Self {
        self.settle = time;
        self
    }

    /// The path.
    pub fn path(&self) -> &str {
        &self.site.path
    }

    /// The items, in order.
    pub fn items(&self) -> &[T] {
        &self.items
    }

    /// The identifiers of those who are here, in order. One round trip.
    ///
    /// # Errors
    /// Those of every call.
    pub fn members(&self) -> Result<Vec<String>> {
        let mut members = self.party.members()?;
        members.sort_unstable();
        Ok(members)
    }

    /// Joins the party: from now on there is a share for us, and the others make room.
    ///
    /// # Errors
    /// As [`ShallowParty::join`].
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most (30 s by default).
    pub fn join(&self) -> Result<PartitionMember<T>> {
        self.party.join().map(|membership| self.member(membership))
    }

    /// As [`join`](Self::join), for `timeout` at most.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn join_timeout(&self, timeout: Duration) -> Result<PartitionMember<T>> {
        self.party.join_timeout(timeout).map(|membership| self.member(membership))
    }

    /// Ends all waits of this handle, its clones and their members, with
    /// [`RecipeError::Cancelled`](crate::RecipeError::Cancelled). Partitions are not concerned.
    pub fn cancel(&self) {
        self.party.cancel();
        self.site.cancel();
    }

    fn member(&self, membership: Membership) -> PartitionMember<T> {
        PartitionMember { partitioner: self.clone(), membership }
    }

    /// The lock of an item.
    fn line(&self, item: &T) -> Result<Line> {
        let path = lock_path(&self.site, item);
        let mut line = Line::new(&self.site.client, &path, Role::Lock, "partitioner")?;
        line.acl = self.site.acl.clone();
        Ok(line)
    }

    /// Our items, if these are the children of the party, and `node` of them is ours. `None` if it
    /// is not there (yet, or any more), or somebody else is called alike: our former self, mostly,
    /// whose session is not over yet.
    fn share(&self, children: &[String], node: &str) -> Option<Vec<&T>> {
        let mut members: Vec<_> = children.iter().map(|name| identifier_in(name)).collect();
        members.sort_unstable();
        let alike = members.iter().filter(|member| **member == &*self.identifier).count();
        if alike != 1 || !children.iter().any(|child| child == node) {
            return None;
        }
        let first = members.binary_search(&&*self.identifier).ok()?;
        Some(self.items.iter().skip(first).step_by(members.len().max(1)).collect())
    }
}

/// A member of a [`Partitioner`]'s party. Dropping it leaves, in the background.
#[must_use = "dropping the member leaves"]
pub struct PartitionMember<T> {
    partitioner: Partitioner<T>,
    membership: Membership,
}

impl<T: Ord + Clone + Display> PartitionMember<T> {
    /// Waits until the party has settled, and for our share of the items; until the deadline of the
    /// client's calls. If the party changes meanwhile it begins again.
    ///
    /// The share may have no items, if there are more members. Give up the partition that you have
    /// before you ask for the next: else it waits for itself.
    ///
    /// # Errors
    /// * [`Error::Timeout`] at the deadline, with no lock left behind: the party did not settle, or
    ///   somebody did not give up what is our share now.
    /// * [`RecipeError::Cancelled`](crate::RecipeError::Cancelled) after [`cancel`](Self::cancel).
    /// * As [`Lock::acquire`](crate::recipes::Lock::acquire).
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most (30 s by default).
    pub fn acquire(&self) -> Result<Partition<T>> {
        self.acquire_until(self.partitioner.site.deadline())
    }

    /// As [`acquire`](Self::acquire), for `timeout` at most.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Partition<T>> {
        self.acquire_until(Instant::now().checked_add(timeout))
    }

    /// Our share by the party as it is now, if all of it is free; `None` if not, or if the party
    /// does not have us at the moment. Waits for nobody but the server.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub fn try_acquire(&self) -> Result<Option<Partition<T>>> {
        let (site, node) = (&self.partitioner.site, path::name(self.membership.node()));
        site.patiently(site.deadline(), "try_acquire", |patience| {
            let session = site.session(patience)?;
            let (children, watch) = match self.look(&session, patience) {
                Err(error) if error.code() == Some(Code::NoNode) => return Ok(None),
                looked => looked?,
            };
            let Some(share) = self.partitioner.share(&children, node) else { return Ok(None) };
            let mut held = Vec::with_capacity(share.len());
            for item in share {
                let line = self.partitioner.line(item)?;
                match line.try_by(&session, &patience.beside(&watch)) {
                    Ok(Some(hold)) => held.push((item.clone(), hold)),
                    Ok(None) => return Ok(None),
                    Err(error) => {
                        patience.check()?;
                        return if watch.has_news() { Ok(None) } else { Err(error) };
                    }
                }
            }
            Ok(Some(Partition::new(&session, watch, held)))
        })
    }

    /// Ends the waits of this member, and those of its [`Partitioner`].
    pub fn cancel(&self) {
        self.partitioner.cancel();
    }

    /// What stands for us in the party: whether we are there, and how often we joined again.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Leaves the party, and waits for the server's word. The others share without us once our
    /// partition is given up too: do that first.
    ///
    /// # Errors
    /// As [`Membership::leave`].
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most.
    pub fn leave(self) -> Result<()> {
        self.membership.leave()
    }

    fn acquire_until(&self, deadline: Option<Instant>) -> Result<Partition<T>> {
        let site = &self.partitioner.site;
        site.patiently(deadline, "acquire", |patience| {
            loop {
                let session = site.session(patience)?;
                match self.acquire_in(&session, patience) {
                    // What was held went with the session; the membership joins with the next.
                    Err(Error::SessionExpired { .. }) if site.may_renew() => patience.check()?,
                    result => return result,
                }
            }
        })
    }

    /// Takes our share as long as the session lives.
    fn acquire_in(&self, session: &Session, patience: &Patience<'_>) -> Result<Partition<T>> {
        loop {
            let (share, watch) = self.await_share(session, patience)?;
            if let Some(held) = self.take(share, &watch, session, patience)? {
                let partition = Partition::new(session, watch, held);
                // While it waited for the last item, the first may have been lost.
                if partition.is_held() {
                    return Ok(partition);
                }
                patience.check()?;
            }
        }
    }

    /// Waits until the party has us and has not changed for a while. Gives our items, and the watch
    /// that tells of the next change.
    fn await_share(&self, session: &Session, patience: &Patience<'_>) -> Result<(Vec<&T>, Watch)> {
        let node = path::name(self.membership.node());
        loop {
            let (children, watch) = match self.look(session, patience) {
                // Somebody removed it, and our membership makes it again; or we do.
                Err(error) if error.code() == Some(Code::NoNode) => {
                    let site = &self.partitioner.site;
                    site.ensure(patience, &site.below(PARTY))?;
                    continue;
                }
                looked => looked?,
            };
            match self.partitioner.share(&children, node) {
                Some(share) => {
                    let calm = Instant::now().checked_add(self.partitioner.settle);
                    if patience.wait_out(calm, &[&watch])? {
                        return Ok((share, watch));
                    }
                }
                None => patience.wait_for(&[&watch])?,
            }
        }
    }

    /// Takes the locks of these items, one after the other. `None`, and none of them, as soon as
    /// the party changes: whoever has one of them may wait for another that we have.
    fn take(
        &self,
        share: Vec<&T>,
        watch: &Watch,
        session: &Session,
        patience: &Patience<'_>,
    ) -> Result<Option<Vec<(T, Hold)>>> {
        let while_same = patience.beside(watch);
        let mut held = Vec::with_capacity(share.len());
        for item in share {
            match self.partitioner.line(item)?.acquire_in(session, &while_same) {
                Ok(hold) => held.push((item.clone(), hold)),
                Err(error) => {
                    patience.check()?;
                    return if watch.has_news() { Ok(None) } else { Err(error) };
                }
            }
        }
        Ok((!watch.has_news()).then_some(held))
    }

    fn look(&self, session: &Session, patience: &Patience<'_>) -> Result<(Vec<String>, Watch)> {
        let party = self.partitioner.party.path();
        look(session, patience, |watcher: Watcher| op::GetChildren::new(party).watcher(watcher))
    }
}

/// As Kazoo calls them.
const PARTY: &str = "party";
const LOCKS: &str = "locks";

/// How long the party must be the same, unless it is said otherwise.
const SETTLE: Duration = Duration::from_secs(1);

fn lock_path(site: &Site, item: &impl Display) -> String {
    path::join(&site.below(LOCKS), &item.to_string())
}

impl<T> fmt::Debug for Partitioner<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partitioner")
            .field("path", &self.site.path)
            .field("identifier", &self.identifier)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for PartitionMember<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionMember")
            .field("node", &self.membership.node())
            .finish_non_exhaustive()
    }
}
