//! A double barrier: so many begin together, and end together.
//!
//! ```text
//! <path>/<32 hex>     ephemeral, holds the identifier: one who is inside, or wants to be
//! <path>/ready        persistent, empty: so many are there
//! ```
//!
//! The layout of Kazoo's `DoubleBarrier`, and of Curator's `DistributedDoubleBarrier`, whose
//! members' names have dashes.
//!
//! # A `ready` of an earlier time
//!
//! The node `ready` may be left over from a round whose members died. It must let nobody in. So it
//! counts only for those who were there before it: who was made after it (by czxid) waits for a
//! newer one, and whoever finds the members complete replaces an old one, in one transaction.
//! (Kazoo counts the left-over as a member, and passes one short.) The last who leaves deletes it,
//! in one transaction with its own node.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::client::op::{self, Version};
use crate::client::session::Session;
use crate::client::transaction::Transaction;
use crate::client::watch::Watch;
use crate::error::{Error, RecipeError, Result};
use crate::path;
use crate::proto::acl::Acl;
use crate::proto::code::Code;
use crate::proto::event::EventKind;
use crate::proto::stat::Stat;
use crate::recipes::own_node::OwnNode;
use crate::recipes::patience::Patience;
use crate::recipes::role::NameStyle;
use crate::recipes::site::{Site, look};

/// A barrier that lets in so many at once, and out again when all are done.
///
/// # What it promises
/// * Nobody passes [`enter`](Self::enter) before so many have come; whatever is left from earlier
///   rounds.
/// * [`leave`](Inside::leave) returns when nobody of those that were inside is left, dead members
///   included.
/// * Every wait ends at its deadline, and then leaves no node behind.
///
/// # What it does not promise
/// * That all who came are still alive when they pass. Who dies while others wait counts no more:
///   they wait for another, or to their deadline.
/// * To keep more out: the number is a threshold, not a limit.
/// * A wait whose connection is broken just while the last one comes *and* all leave again may not
///   see it, and ends at its deadline.
///
/// ```no_run
/// use zookeeper_blocking::{Client, recipes::DoubleBarrier};
///
/// let zk = Client::connect("localhost:2181")?;
/// let barrier = DoubleBarrier::new(&zk, "/app/round", 3)?;
/// # for _ in 0..2 {
/// #     let other = barrier.clone();
/// #     std::thread::spawn(move || other.enter()?.leave());
/// # }
/// let inside = barrier.enter()?;
/// // Compute.
/// inside.leave()?;
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
///
/// Costs three round trips to enter, and wakes each who waits once.
#[derive(Clone)]
pub struct DoubleBarrier {
    site: Site,
    count: usize,
    identifier: Arc<[u8]>,
}

impl DoubleBarrier {
    /// The barrier at `path` for `count` members. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `path` is not a legal path, or is "/", or if `count` is 0.
    pub fn new(client: &Client, path: &str, count: usize) -> Result<Self> {
        if count == 0 {
            return Err(Error::invalid("double_barrier", path, "the count is 0"));
        }
        let site = Site::new(client, "double_barrier", path)?;
        Ok(Self { site, count, identifier: [].into() })
    }

    /// What the member's node holds. Defaults to nothing (Kazoo: host name and process id).
    pub fn identifier(mut self, identifier: impl AsRef<[u8]>) -> Self {
        self.identifier = identifier.as_ref().into();
        self
    }

    /// The ACL of the nodes that are made, parents included. Defaults to everybody everything.
    pub fn acl(mut self, acl: impl IntoIterator<Item = Acl>) -> Self {
        self.site.set_acl(acl);
        self
    }

    /// The barrier's path.
    pub fn path(&self) -> &str {
        &self.site.path
    }

    /// Comes, and waits until so many have come, until the deadline of the client's calls. A session
    /// that expires meanwhile is replaced by the next.
    ///
    /// # Errors
    /// * [`Error::Timeout`] if too few came.
    /// * [`RecipeError::Cancelled`] after [`cancel`](Self::cancel).
    /// * [`Code::NoAuth`], [`Error::Closed`] and the like.
    ///
    /// After each of them this process counts no more.
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most (30 s by default).
    pub fn enter(&self) -> Result<Inside> {
        self.enter_until(self.site.deadline())
    }

    /// As [`enter`](Self::enter), for `timeout` at most.
    ///
    /// # Errors
    /// As [`enter`](Self::enter).
    pub fn enter_timeout(&self, timeout: Duration) -> Result<Inside> {
        self.enter_until(Instant::now().checked_add(timeout))
    }

    /// As [`enter`](Self::enter), but `None` if it would have to wait for others: enters as the last
    /// who comes, or not at all.
    ///
    /// # Errors
    /// As [`enter`](Self::enter).
    pub fn try_enter(&self) -> Result<Option<Inside>> {
        self.site.patiently(self.site.deadline(), "try_enter", |patience| {
            let session = self.site.session(patience)?;
            let mut own = self.come(&session, patience)?;
            match self.look(&own, patience)? {
                Look::Pass => Ok(Some(self.inside(own))),
                Look::Wait(_) | Look::Lost => match own.leave(patience) {
                    Err(Error::Recipe { why: RecipeError::NotHeld, .. }) => Ok(None),
                    left => left.map(|()| None),
                },
            }
        })
    }

    /// Ends the waits of all threads on this handle and its clones, in [`enter`](Self::enter) and in
    /// [`leave`](Inside::leave).
    pub fn cancel(&self) {
        self.site.cancel();
    }

    fn enter_until(&self, deadline: Option<Instant>) -> Result<Inside> {
        self.site.patiently(deadline, "enter", |patience| {
            loop {
                let session = self.site.session(patience)?;
                match self.come_and_wait(&session, patience) {
                    // Our node went with the session: come again in the next.
                    Err(Error::SessionExpired { .. }) if self.site.may_renew() => {
                        patience.check()?;
                    }
                    // Somebody deleted our node.
                    Ok(None) => {}
                    Ok(Some(own)) => return Ok(self.inside(own)),
                    Err(error) => return Err(error),
                }
            }
        })
    }

    fn inside(&self, own: OwnNode) -> Inside {
        // A look was answered since `ready` was made: whoever came later has a larger number.
        Inside { site: self.site.clone(), passed: own.session.last_zxid(), own }
    }

    fn come(&self, session: &Session, patience: &Patience<'_>) -> Result<OwnNode> {
        loop {
            let path = self.site.below(&NameStyle::Kazoo.unique(""));
            let own = OwnNode::make(&self.site, session, &path, &self.identifier, patience)?;
            if let Some(own) = own {
                return Ok(own);
            }
        }
    }

    fn come_and_wait(&self, session: &Session, patience: &Patience<'_>) -> Result<Option<OwnNode>> {
        let own = self.come(session, patience)?;
        let (mut was_made, mut own_watch) = (false, None);
        loop {
            let watch = match self.look(&own, patience)? {
                Look::Pass => return Ok(Some(own)),
                Look::Lost => return Ok(None),
                // Made after we looked, so after us. Who left first has deleted it again.
                Look::Wait(_) if was_made => return Ok(Some(own)),
                Look::Wait(watch) => watch,
            };
            // Should somebody delete our node, nobody else would count us.
            let armed = own_watch.take().filter(|watch: &Watch| watch.try_iter().next().is_none());
            let own_watch = match armed {
                Some(watch) => own_watch.insert(watch),
                None => {
                    let read = |watcher| op::GetData::new(&*own.path).watcher(watcher);
                    match patience.watch(session, read)? {
                        Ok((_, watch)) => own_watch.insert(watch),
                        Err(error) if error.code() == Some(Code::NoNode) => return Ok(None),
                        Err(error) if error.is_connection() => continue,
                        Err(error) => return Err(error),
                    }
                }
            };
            patience.wait_for(&[&watch, own_watch])?;
            was_made = watch.try_iter().any(|event| event.kind == EventKind::Created);
        }
    }

    /// Looks whether so many are there, and says so to all if they are.
    fn look(&self, own: &OwnNode, patience: &Patience<'_>) -> Result<Look> {
        let (session, ready) = (&own.session, self.site.below(READY));
        // Once so many were seen we pass, even if some have left before all were told.
        let mut is_complete = false;
        loop {
            let exists = |watcher| op::Exists::new(ready.as_str()).watcher(watcher);
            let (pending, watch) = session.submit_watched(exists, patience.deadline)?;
            let list = op::GetChildren::new(&*self.site.path);
            let listed = session.submit_until(list, patience.deadline)?;
            let stat = match patience.wait(pending)? {
                Err(error) if error.is_connection() => continue,
                stat => stat?,
            };
            let names = match patience.wait(listed)? {
                Err(error) if error.is_connection() => continue,
                Err(error) if error.code() == Some(Code::NoNode) => Vec::new(),
                names => names?,
            };
            if stat.is_some_and(|stat| stat.czxid > own.czxid) {
                return Ok(Look::Pass);
            }
            let members: Vec<&str> = members(&names).collect();
            if !is_complete && !members.contains(&path::name(&own.path)) {
                return Ok(Look::Lost);
            }
            is_complete |= members.len() >= self.count;
            if !is_complete {
                return Ok(Look::Wait(watch));
            }
            if self.make_ready(session, &ready, stat.as_ref(), patience)? {
                return Ok(Look::Pass);
            }
        }
    }

    /// Makes `ready`, in the place of an old one if there is one. `false` to look again.
    fn make_ready(
        &self,
        session: &Session,
        ready: &str,
        old: Option<&Stat>,
        patience: &Patience<'_>,
    ) -> Result<bool> {
        let create = op::Create::new(ready).acl(self.site.acl.iter().cloned());
        let change = match old {
            Some(_) => Transaction::new().delete(ready, Version::Any).op(create),
            None => Transaction::new().op(create),
        };
        let pending = session.submit_until(change, patience.deadline)?;
        match patience.wait(pending)? {
            Ok(_) => Ok(true),
            // Made since we looked, so after our own node.
            Err(error) if error.code() == Some(Code::NodeExists) => Ok(true),
            // Others changed it, or nobody knows.
            Err(error) if error.is_connection() || error.code() == Some(Code::NoNode) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// What a look at the barrier showed.
enum Look {
    /// Our own node is gone.
    Lost,
    /// So many have come.
    Pass,
    /// Too few. The watch is on `ready`.
    Wait(Watch),
}

/// Being inside a [`DoubleBarrier`].
///
/// Dropping it leaves without waiting for the others: its node is deleted in the background.
#[must_use = "dropping it leaves without waiting for the others"]
#[derive(Debug)]
pub struct Inside {
    site: Site,
    own: OwnNode,
    /// A transaction no earlier than the one that let us in.
    passed: i64,
}

impl Inside {
    /// The path of the member's node.
    pub fn node(&self) -> &str {
        &self.own.path
    }

    /// The session that the member is of.
    pub fn session(&self) -> &Session {
        &self.own.session
    }

    /// Leaves, and waits until all have left, until the deadline of the client's calls.
    ///
    /// # Errors
    /// * [`Error::Timeout`] if some are inside still; this process is not, or will not be: the rest
    ///   goes on in the background.
    /// * [`RecipeError::Cancelled`] after [`DoubleBarrier::cancel`], likewise.
    /// * [`Error::SessionExpired`]: for the others this process has left when its session ended.
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most (30 s by default).
    pub fn leave(self) -> Result<()> {
        let deadline = self.site.deadline();
        self.leave_until(deadline)
    }

    /// As [`leave`](Self::leave), for `timeout` at most.
    ///
    /// # Errors
    /// As [`leave`](Self::leave).
    pub fn leave_timeout(self, timeout: Duration) -> Result<()> {
        self.leave_until(Instant::now().checked_add(timeout))
    }

    /// The lowest stays until it is alone and waits for the highest; all others leave and wait for
    /// the lowest. So each that leaves wakes one, and the last wakes all.
    fn leave_until(mut self, deadline: Option<Instant>) -> Result<()> {
        let site = self.site.clone();
        site.patiently(deadline, "leave", |patience| {
            let session = self.own.session.clone();
            let own = path::name(&self.own.path).to_owned();
            // Those who came for the next round: they may wait for us.
            let mut later: Vec<String> = Vec::new();
            loop {
                let names = match patience.ask(&session, || op::GetChildren::new(&*site.path)) {
                    Err(error) if error.code() == Some(Code::NoNode) => return Ok(()),
                    names => names?,
                };
                let mut members: Vec<&str> =
                    members(&names).filter(|name| !later.iter().any(|l| l == name)).collect();
                members.sort_unstable();
                let (Some(&lowest), Some(&highest)) = (members.first(), members.last()) else {
                    return Ok(());
                };
                let awaited = if lowest != own { lowest } else { highest };
                if awaited == own {
                    return if later.is_empty() {
                        self.go_last(&session, &site.below(READY), patience)
                    } else {
                        self.go(patience)
                    };
                }
                let node = site.below(awaited);
                let read = |watcher| op::GetData::new(node.as_str()).watcher(watcher);
                match look(&session, patience, read) {
                    Ok(((_, stat), _)) if stat.czxid > self.passed => {
                        later.push(awaited.to_owned());
                    }
                    Ok((_, watch)) => {
                        if lowest != own && members.contains(&own.as_str()) {
                            self.go(patience)?;
                        }
                        patience.wait_for(&[&watch])?;
                    }
                    // Gone since we looked.
                    Err(error) if error.code() == Some(Code::NoNode) => {}
                    Err(error) => return Err(error),
                }
            }
        })
    }

    /// Takes `ready` along: not earlier, since others that pass more slowly may not have seen it.
    fn go_last(&mut self, session: &Session, ready: &str, patience: &Patience<'_>) -> Result<()> {
        let both =
            Transaction::new().delete(ready, Version::Any).delete(&*self.own.path, Version::Any);
        let pending = session.submit_until(both, patience.deadline)?;
        match patience.wait(pending)? {
            Ok(_) => {
                self.own.disarm();
                Ok(())
            }
            // There is no such node, as Kazoo deletes it earlier; or nobody knows.
            Err(error) if error.is_connection() || error.code() == Some(Code::NoNode) => {
                self.go(patience)
            }
            Err(error) => Err(error),
        }
    }

    fn go(&mut self, patience: &Patience<'_>) -> Result<()> {
        match self.own.leave(patience) {
            Err(Error::Recipe { why: RecipeError::NotHeld, .. }) => Ok(()),
            left => left,
        }
    }
}

/// The children that are members: 32 hex digits, as Kazoo and we write them, or with dashes, as
/// Curator does.
fn members(names: &[String]) -> impl Iterator<Item = &str> {
    let is_member = |name: &&str| {
        let dashes = name.bytes().filter(|byte| *byte == b'-').count();
        let digits = name.bytes().filter(u8::is_ascii_hexdigit).count();
        digits == 32 && digits + dashes == name.len() && matches!(dashes, 0 | 4)
    };
    names.iter().map(String::as_str).filter(is_member)
}

/// As Kazoo and Curator call it.
const READY: &str = "ready";

impl fmt::Debug for DoubleBarrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DoubleBarrier")
            .field("path", &self.site.path)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_told_from_the_ready_node_and_from_junk() {
        let names = [
            "ready",
            "514e5a831836450cb1a56c741e990fd8",
            "514e5a83-1836-450c-b1a5-6c741e990fd8",
            "514e5a831836450cb1a56c741e990fd",
            "514e5a831836450cb1a56c741e990fd8__lock__0000000032",
            "config",
        ]
        .map(str::to_owned);
        assert_eq!(members(&names).count(), 2);
    }
}
