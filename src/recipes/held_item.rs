//! An item of a queue that somebody works on, and what may become of it.

use std::time::SystemTime;

use crate::client::op::{self, CreateMode};
use crate::client::session::Session;
use crate::client::transaction::{ClientTransaction, Transaction};
use crate::error::{Applied, Error, RecipeError, Result};
use crate::path;
use crate::proto::code::Code;
use crate::recipes::entries::{Entry, Layout};
use crate::recipes::own_node::{OwnNode, WRITTEN_TWICE};
use crate::recipes::patience::Patience;
use crate::recipes::site::Site;
use crate::recipes::wall_clock;

/// An item that this process holds.
///
/// Dropping it lets others have it, in the background, again and again until the server answered or
/// the session is gone; [`release`](Self::release) waits and tells.
///
/// # How the servers know
/// Who gets hold of an item writes its hold and the item once more. So each hold has seen a version
/// of the item that none before it had, and the version of its own node is not that of Kazoo's or
/// Curator's. What is done in the name of the hold checks both, in one transaction: it does not go
/// through if somebody deleted the hold and another has the item now, or the item was changed. (An
/// item of more than 64 KiB, or one that may be read but not written, is not written again: then
/// another of ours that got hold of it like that is not told from us.)
#[must_use = "dropping it lets others have the item"]
#[derive(Debug)]
pub struct HeldItem {
    pub(crate) site: Site,
    pub(crate) hold: OwnNode,
    pub(crate) path: String,
    /// That of the item's node, since it is held.
    pub(crate) version: i32,
    pub(crate) entry: Entry,
    pub(crate) layout: Layout,
    pub(crate) data: Vec<u8>,
    /// What is to be left in the node when this is taken out of it, where it is not alone there.
    pub(crate) rest: Option<Vec<u8>>,
}

impl HeldItem {
    /// What was put.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The smaller is served first. [`i32::MIN`] for what was put without one in Curator's layout, 0
    /// where the queue has no priorities.
    pub fn priority(&self) -> i32 {
        if self.layout == Layout::Delay { 0 } else { self.entry.priority() }
    }

    /// When it was due, by the clock of whoever put it; `None` if its queue is not one of delays. What
    /// a consumer of Curator's failed with and put back was due in 1970.
    pub fn due(&self) -> Option<SystemTime> {
        (self.layout == Layout::Delay).then(|| wall_clock::time_of(self.entry.rank))
    }

    /// Its id, with `_` where there was a `/` or a `|`; `None` if its queue is not one of ids.
    pub fn id(&self) -> Option<&str> {
        (self.layout == Layout::Id).then(|| self.entry.id())
    }

    /// The path of the item's node.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The session that holds the item.
    pub fn session(&self) -> &Session {
        &self.hold.session
    }

    /// A number larger than that of every earlier hold of this item: the transaction (czxid) that
    /// made the hold.
    pub fn fence(&self) -> i64 {
        self.hold.czxid
    }

    /// Whether this process may go on with the item: its session is not lost, by word of a server or
    /// by this process's own clock. Asks no server: it does not see that somebody deleted the hold by
    /// hand; a [`transaction`](Self::transaction) does.
    pub fn is_held(&self) -> bool {
        self.hold.session.is_sure()
    }

    /// Begins a transaction that goes through only while the item is held: indexes 0 and 1 check
    /// that.
    pub fn transaction(&self) -> ClientTransaction<'_> {
        let transaction = self.hold.session.transaction();
        transaction.check(&*self.path, self.version).check(&*self.hold.path, WRITTEN_TWICE)
    }

    /// Takes the item out of the queue, for good.
    ///
    /// # Errors
    /// * [`RecipeError::NotHeld`]: the hold was lost, or the item was changed; nothing was done.
    ///   Another has the item, or will have it.
    /// * [`Error::SessionExpired`]: the hold went with its session. Where
    ///   [`applied`](Error::applied) is [`Unknown`](Applied::Unknown) the item may be consumed.
    /// * [`Error::Timeout`]: no answer by the deadline of the client's calls.
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most.
    pub fn consume(self) -> Result<()> {
        self.consume_with(Transaction::new())
    }

    /// As [`consume`](Self::consume), in one transaction with `more`: what comes of the work is
    /// written if, and only if, the item is consumed. The members of `more` come after the two of
    /// the queue's, from index 2 on.
    ///
    /// # Errors
    /// As [`consume`](Self::consume), and [`Error::Transaction`] if a member of `more` is refused:
    /// then nothing was done, and others can have the item.
    pub fn consume_with(self, more: Transaction<'_>) -> Result<()> {
        self.finish("consume", more)
    }

    /// Takes the item and the hold away, in one transaction with `more`.
    fn finish(mut self, op: &'static str, more: Transaction<'_>) -> Result<()> {
        let site = self.site.clone();
        site.patiently(site.deadline(), op, |patience| {
            let session = self.hold.session.clone();
            loop {
                let (item, hold) = (self.path.as_str(), &*self.hold.path);
                let consume = || {
                    let own = Transaction::new();
                    let own = match &self.rest {
                        Some(rest) => own.set_data(item, rest.as_slice(), self.version),
                        None => own.delete(item, self.version),
                    };
                    own.delete(hold, WRITTEN_TWICE).and(more.clone())
                };
                let Err(error) = site.write(&session, patience, consume) else {
                    self.hold.disarm();
                    return Ok(());
                };
                if is_of_another(&error) {
                    return Err(patience.error(RecipeError::NotHeld));
                }
                if error.applied() == Applied::No || !error.is_connection() {
                    return Err(error);
                }
                // The answer was lost. While our hold is there nobody else may take the item out:
                // it is not as it was if we did it.
                let look = patience
                    .ask(&session, || op::Sync::new(item))
                    .and_then(|_| patience.ask(&session, || op::Exists::new(item)));
                match look {
                    Ok(Some(left)) if left.version == self.version => {}
                    Ok(_) => {
                        self.hold.disarm();
                        return Ok(());
                    }
                    // Not known. This one was not sent, perhaps; what may have consumed it was.
                    Err(Error::SessionExpired { at, .. }) => {
                        return Err(Error::SessionExpired { sent: true, at });
                    }
                    Err(Error::Timeout { at, .. }) => {
                        return Err(Error::Timeout { sent: true, at });
                    }
                    Err(_) => return Err(error),
                }
            }
        })
    }

    /// Puts the item to the end of the queue, or of its priority or time, under a new name, for all to
    /// have. What comes after it is served before it. As a consumer of Curator's does with an item that
    /// it failed with; but Curator forgets the priority or the time then.
    ///
    /// # Errors
    /// As [`consume`](Self::consume).
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most.
    pub fn requeue(self) -> Result<()> {
        let prefix = path::join(path::parent(&self.path).unwrap_or("/"), self.entry.prefix());
        let create = op::Create::new(prefix).mode(CreateMode::PersistentSequential);
        let create = create.data(self.layout.pack(&self.data).into_owned());
        let create = create.acl(self.site.acl.iter().cloned());
        self.finish("requeue", Transaction::new().op(create))
    }

    /// Lets others have the item, and waits for the server's word.
    ///
    /// # Errors
    /// * [`RecipeError::NotHeld`]: it was not held any more.
    /// * [`Error::SessionExpired`]: the hold went with its session.
    /// * [`Error::Timeout`]: not done by the deadline of the client's calls; it goes on in the
    ///   background.
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most.
    pub fn release(mut self) -> Result<()> {
        let site = self.site.clone();
        site.patiently(site.deadline(), "release", |patience| self.let_go(patience))
    }

    fn let_go(&mut self, patience: &Patience<'_>) -> Result<()> {
        let mut is_unsure = false;
        loop {
            let own = Transaction::new().check(self.path.as_str(), self.version);
            let own = own.delete(&*self.hold.path, WRITTEN_TWICE);
            // Whatever ends this early: the drop of the hold goes on.
            let pending = self.hold.session.submit_until(own, patience.deadline)?;
            match patience.wait(pending)? {
                Ok(_) => break,
                // That whose answer was lost had been done.
                Err(error) if is_of_another(&error) && is_unsure => break,
                Err(error) if is_of_another(&error) => {
                    return Err(patience.error(RecipeError::NotHeld));
                }
                Err(error) if error.is_connection() => {
                    is_unsure |= error.applied() == Applied::Unknown;
                    patience.check()?;
                }
                Err(error) => return Err(error),
            }
        }
        self.hold.disarm();
        Ok(())
    }
}

/// Whether a transaction in the name of a hold was refused because the hold is no more.
fn is_of_another(error: &Error) -> bool {
    matches!(error, Error::Transaction { index: 0 | 1, code: Code::NoNode | Code::BadVersion, .. })
}
