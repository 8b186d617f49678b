//! Writes that are sure in the end: creates that find their own node, deletes that go on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::client::behind::{Cleanup, delete_behind, goes_on};
use crate::client::op::{self, Created, Operation, Version};
use crate::client::{Client, Pending};
use crate::error::{Applied, Error, Result};
use crate::path;
use crate::proto::code::Code;

impl Client {
    /// Creates a node whose name nobody else uses, so that it is found again if the answer is lost;
    /// Curator's `withProtection`.
    ///
    /// The name gets `_c_<uuid>-` in front: `/queue/item-` is made as `/queue/_c_<uuid>-item-` and
    /// the number, if the mode has one. The path is in what is given. After a lost answer the
    /// parent's children are searched for that name (after a `sync`), and only if it is not there
    /// the node is created again: so there is one node, or none.
    ///
    /// An ephemeral node that is found counts if it is of the present session. If this gives up, at
    /// the deadline of the call, a node that was made all the same is deleted in the background,
    /// until that is done or the client is closed.
    ///
    /// ```no_run
    /// use zookeeper_blocking::{Client, CreateMode, op};
    ///
    /// let zk = Client::connect("localhost:2181")?;
    /// let create = op::Create::new("/queue/item-").mode(CreateMode::PersistentSequential);
    /// let created = zk.create_protected(create)?;
    /// println!("made once: {}", created.path);
    /// # Ok::<(), zookeeper_blocking::Error>(())
    /// ```
    ///
    /// # Errors
    /// * Those of [`op::Create`]: nothing is there.
    /// * [`Error::Timeout`] and [`Error::ConnectionLoss`], at the deadline only, and
    ///   [`Error::Closed`] and the like.
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most (30 s by default), also while there is no
    /// connection. One round trip, or four after a lost answer.
    pub fn create_protected(&self, create: op::Create<'_>) -> Result<Created> {
        let deadline = self.deadline(Instant::now());
        create.check()?;
        let (parent, name) = create.path_ref().rsplit_once('/').unwrap_or_default();
        let (parent, name) = (if parent.is_empty() { "/" } else { parent }, name.to_owned());
        let parent = parent.to_owned();
        // Where a session ended, its node is dying under the name of before.
        loop {
            let unique = curator_name("");
            let create = create.clone().at(path::join(&parent, &format!("{unique}{name}")));
            match self.create_as(&create, &parent, &unique, deadline)? {
                Some(created) => return Ok(created),
                None => self.in_time(deadline, create.path_ref())?,
            }
        }
    }

    /// `None` if there is a node of that name, of another session.
    fn create_as(
        &self,
        create: &op::Create<'_>,
        parent: &str,
        unique: &str,
        deadline: Option<Instant>,
    ) -> Result<Option<Created>> {
        let mut is_unsure = false;
        // From the first send on, the node may exist, or come to exist.
        let mut cleanup = Cleanup::armed(self, parent, unique);
        loop {
            let asked = self.submit_until(create.clone(), deadline);
            match asked.and_then(|pending: Pending<_>| pending.wait_or_give_up(deadline)) {
                Ok(created) => {
                    cleanup.disarm();
                    return Ok(Some(created));
                }
                Err(error) if goes_on(self, &error) => {
                    is_unsure |= error.applied() == Applied::Unknown;
                    self.in_time(deadline, create.path_ref()).map_err(|_| error)?;
                }
                Err(error) if is_unsure && error.code() == Some(Code::NodeExists) => {}
                Err(error) => {
                    cleanup.armed_only_if(is_unsure || error.applied() == Applied::Unknown);
                    return Err(error);
                }
            }
            if is_unsure {
                if let Some(found) = self.find_protected(create, parent, unique, deadline)? {
                    cleanup.disarm();
                    return Ok(found);
                }
            }
        }
    }

    /// Looks for the node whose create was not answered; `Some(None)` if it is another session's.
    fn find_protected(
        &self,
        create: &op::Create<'_>,
        parent: &str,
        unique: &str,
        deadline: Option<Instant>,
    ) -> Result<Option<Option<Created>>> {
        self.ask_until(deadline, || op::Sync::new(parent))?;
        let names = match self.ask_until(deadline, || op::GetChildren::new(parent)) {
            Err(error) if error.code() == Some(Code::NoNode) => return Ok(None),
            names => names?,
        };
        let Some(name) = names.iter().find(|name| name.starts_with(unique)) else {
            return Ok(None);
        };
        let path = path::join(parent, name);
        let Some(stat) = self.ask_until(deadline, || op::Exists::new(path.as_str()))? else {
            return Ok(None);
        };
        if create.is_ephemeral() && stat.ephemeral_owner != self.session_id() {
            return Ok(Some(None));
        }
        Ok(Some(Some(Created { path, zxid: stat.czxid, stat: Some(stat) })))
    }

    /// Asks until there is an answer.
    fn ask_until<O: Operation>(
        &self,
        deadline: Option<Instant>,
        op: impl Fn() -> O,
    ) -> Result<O::Reply> {
        loop {
            let asked = self.submit_until(op(), deadline);
            match asked.and_then(|pending| pending.wait_or_give_up(deadline)) {
                Err(error) if goes_on(self, &error) => {
                    self.in_time(deadline, op().path()).map_err(|_| error)?;
                }
                answer => return answer,
            }
        }
    }

    fn in_time(&self, deadline: Option<Instant>, path: &str) -> Result<()> {
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            let at = crate::error::At::new("create_protected", path);
            return Err(Error::Timeout { sent: false, at });
        }
        Ok(())
    }

    /// Deletes a node; if no answer comes, goes on in the background, after this has returned its
    /// error, until a server has answered or the client is closed. Curator's `guaranteed`.
    ///
    /// It goes on over reconnects, and in the next session too, unless the handle is pinned to one
    /// ([`session`](Self::session)). It is a node's *name* that is deleted: if somebody makes another
    /// node of that name meanwhile, that goes; a `version` prevents it where versions differ. Nothing
    /// is left of it when the process ends.
    ///
    /// # Errors
    /// As [`delete`](Self::delete). After [`Error::ConnectionLoss`], [`Error::Timeout`] and
    /// [`Error::SessionExpired`] it goes on; what becomes of it is not told, but a refusal is logged.
    ///
    /// # Blocking
    /// Until the deadline of the call at most.
    pub fn delete_guaranteed(&self, path: &str, version: impl Into<Version>) -> Result<()> {
        let version = version.into();
        let deleted = self.delete(path, version);
        if deleted.as_ref().is_err_and(|error| goes_on(self, error)) {
            delete_behind(self, path.to_owned(), version);
        }
        deleted
    }
}

/// What tells one name of this client from all others: random, but for a count that keeps two of
/// one process apart whatever the random numbers are.
pub(crate) fn unique_bits() -> (u128, u32) {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed) as u32;
    (fastrand::u128(..) >> 32, count)
}

/// `_c_<uuid>-` and `mark`, as Curator protects its nodes.
pub(crate) fn curator_name(mark: &str) -> String {
    format!("_c_{}-{mark}", uuid())
}

/// 32 hex digits in five parts, which nobody else has.
pub(crate) fn uuid() -> String {
    let (random, count) = unique_bits();
    let [a, b, c, d] = [random >> 64, random >> 48, random >> 32, random >> 16];
    let part = |bits: u128| bits & 0xffff;
    let first = a & 0xffff_ffff;
    let (b, c, d, e) = (part(b), part(c), part(d), part(random));
    format!("{first:08x}-{b:04x}-{c:04x}-{d:04x}-{e:04x}{count:08x}")
}
