//! An election: one leader at a time, in the order of asking, and everybody can see who it is.
//!
//! The line of a [lock](crate::recipes::Lock): the first in it leads. What a candidate says of
//! itself is its node's data, and so is what it proclaims when it leads.

mod latch;
mod observer;

use std::fmt;
use std::ops::{ControlFlow, Deref};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::client::op;
use crate::error::{RecipeError, Result};
use crate::path;
use crate::proto::acl::Acl;
use crate::proto::code::Code;
use crate::recipes::guard::Hold;
use crate::recipes::line::{Contender, Line};
use crate::recipes::patience::Waits;
use crate::recipes::role::{NameStyle, Role};

pub use latch::{CloseMode, Latch};
pub use observer::Observer;

/// An election of one leader at a time.
///
/// [`campaign`](Self::campaign) waits to be elected and gives the [`Leadership`]; whoever has it
/// leads until it is dropped or lost. The next leader is the candidate that has waited longest.
///
/// # What is not promised
/// * That a leader stops when it is told so late: it has to look at its [`Leadership`], which says
///   that it is lost before another can be elected. A process that stood still past its session may
///   act once more; give what it writes to the [fence](Hold::fence) or the
///   [transaction](Hold::transaction).
/// * That there is a leader at all times: between two, there is none.
///
/// # Layout
///
/// ```text
/// <path>/<32 hex>__lock__<10 digits>          a candidate; Curator: _c_<uuid>-latch-<10 digits>
/// ```
///
/// Kazoo's `Election`, and with [`NameStyle::Curator`] the nodes of Curator's `LeaderLatch`, whose
/// behaviour [`latch`](Self::latch) has. (A `LeaderSelector` stands in line as a mutex does: beside
/// it, use a [`Lock`](crate::recipes::Lock) of Curator's style.) Kazoo's leaders are not told when
/// their session is gone, and lead on.
///
/// # Example
///
/// ```no_run
/// use zookeeper_blocking::{Client, recipes::Election};
///
/// let zk = Client::connect("localhost:2181")?;
/// let election = Election::new(&zk, "/app/leader")?.identifier("worker 7");
/// let leadership = election.campaign()?;
/// leadership.proclaim("worker 7 at host:8000")?;
/// while leadership.is_held() {
///     // One step of a leader's work.
///     # break;
/// }
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
///
/// Costs one round trip to be elected if there is no other candidate, one to resign.
#[derive(Clone)]
pub struct Election(Line);

impl Election {
    /// The election at `path`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if `path` is not a legal path, or is "/".
    pub fn new(client: &Client, path: &str) -> Result<Self> {
        Line::new(client, path, Role::Candidate, "election").map(Self)
    }

    /// What a candidate says of itself, for all to see. Defaults to nothing.
    pub fn identifier(mut self, identifier: impl AsRef<[u8]>) -> Self {
        self.0.identifier = identifier.as_ref().into();
        self
    }

    /// The ACL of the nodes that it makes, parents included. Defaults to everybody everything.
    pub fn acl(mut self, acl: impl IntoIterator<Item = Acl>) -> Self {
        self.0.acl = acl.into_iter().collect();
        self
    }

    /// Whose names its nodes have. Defaults to [`NameStyle::Kazoo`].
    pub fn name_style(mut self, style: NameStyle) -> Self {
        self.0.style = style;
        self
    }

    /// The election's path.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// Waits to be elected until the deadline of the client's calls (30 s by default; see
    /// [`Client::with_timeout`] for another, or none).
    ///
    /// # Errors
    /// As [`Lock::acquire`](crate::recipes::Lock::acquire).
    pub fn campaign(&self) -> Result<Leadership> {
        self.0.acquire("campaign").map(Leadership)
    }

    /// Waits to be elected for `timeout` at most, in all.
    ///
    /// # Errors
    /// As [`campaign`](Self::campaign).
    pub fn campaign_timeout(&self, timeout: Duration) -> Result<Leadership> {
        self.0.acquire_timeout(timeout, "campaign").map(Leadership)
    }

    /// Leads if there is no candidate; `None` if there is one.
    ///
    /// # Errors
    /// As [`campaign`](Self::campaign).
    pub fn try_campaign(&self) -> Result<Option<Leadership>> {
        Ok(self.0.try_acquire("try_campaign")?.map(Leadership))
    }

    /// Waits to be elected, as [`campaign`](Self::campaign), has `lead` lead, and resigns, also when
    /// `lead` panics. Gives what `lead` gave, though the leadership may have been lost meanwhile:
    /// `lead` has to look.
    ///
    /// # Errors
    /// As [`campaign`](Self::campaign).
    ///
    /// # Example
    ///
    /// ```no_run
    /// # let zk = zookeeper_blocking::Client::connect("localhost:2181")?;
    /// # use zookeeper_blocking::recipes::Election;
    /// let election = Election::new(&zk.with_timeout(None), "/app/leader")?;
    /// loop {
    ///     election.run(|leadership| while leadership.is_held() {
    ///         // One step of a leader's work.
    ///         # break;
    ///     })?;
    ///     # break;
    /// }
    /// # Ok::<(), zookeeper_blocking::Error>(())
    /// ```
    pub fn run<T>(&self, lead: impl FnOnce(&Leadership) -> T) -> Result<T> {
        let leadership = self.campaign()?;
        let given = lead(&leadership);
        // If nobody hears it in time it goes on in the background; if it was lost, it is done.
        let _ = leadership.resign();
        Ok(given)
    }

    /// As [`run`](Self::run), again and again, at the end of the line each time; until `lead` breaks,
    /// and gives what it broke with. Waits to be elected for however long. Curator's
    /// `LeaderSelector` with `autoRequeue`.
    ///
    /// # Errors
    /// As [`campaign`](Self::campaign), but for the time-out.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # let zk = zookeeper_blocking::Client::connect("localhost:2181")?;
    /// # use zookeeper_blocking::recipes::Election;
    /// use std::ops::ControlFlow;
    ///
    /// let mut terms = 0;
    /// Election::new(&zk, "/app/leader")?.run_again(|leadership| {
    ///     while leadership.is_held() {
    ///         // One step of a leader's work.
    ///         # break;
    ///     }
    ///     terms += 1;
    ///     if terms < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    /// })?;
    /// # Ok::<(), zookeeper_blocking::Error>(())
    /// ```
    pub fn run_again<T>(&self, mut lead: impl FnMut(&Leadership) -> ControlFlow<T>) -> Result<T> {
        let line = &self.0;
        // One patience for all of it: a cancel between two terms is heard.
        line.waits.patiently(None, "run_again", &line.path, |patience| {
            loop {
                patience.check()?;
                let leadership = Leadership(line.acquire_by(patience)?);
                let given = lead(&leadership);
                let _ = leadership.resign();
                if let ControlFlow::Break(given) = given {
                    return Ok(given);
                }
            }
        })
    }

    /// Stands all the time, in the background, and has `listener` hear when it leads and when not
    /// any more: see [`Latch`].
    ///
    /// # Errors
    /// [`Error::Start`](crate::Error::Start) if there is no thread for it.
    pub fn latch(
        &self,
        listener: impl FnMut(Option<&Leadership>) + Send + 'static,
    ) -> Result<Latch> {
        Latch::start(self.0.clone(), listener)
    }

    /// Ends the waits of all threads that wait for this handle, its clones and its observers, with
    /// [`RecipeError::Cancelled`]. Who leads is not concerned.
    pub fn cancel(&self) {
        self.0.waits.cancel();
    }

    /// The candidates, the leader first, then in the order in which they will be elected.
    ///
    /// # Errors
    /// Those of every call. An election where nobody ever stood has none.
    pub fn contenders(&self) -> Result<Vec<Contender>> {
        self.0.contenders()
    }

    /// Who leads; `None` if nobody does. For more than one look, see [`observe`](Self::observe).
    ///
    /// # Errors
    /// Those of every call.
    pub fn leader(&self) -> Result<Option<Contender>> {
        let line = &self.0;
        let deadline = line.client.deadline(Instant::now());
        line.waits.patiently(deadline, "leader", &line.path, |patience| {
            loop {
                let ask = || op::GetChildren::new(&*line.path);
                let children = match patience.ask(&line.client, ask) {
                    Err(error) if error.code() == Some(Code::NoNode) => return Ok(None),
                    children => children?,
                };
                let Some(name) = observer::leader_among(line, &children) else { return Ok(None) };
                let node = path::join(&line.path, name);
                match patience.ask(&line.client, || op::GetData::new(node.as_str())) {
                    // Gone since we looked: there may be another.
                    Err(error) if error.code() == Some(Code::NoNode) => {}
                    read => {
                        let (data, stat) = read?;
                        return Ok(Some(Contender::new(name.to_owned(), data, &stat)));
                    }
                }
            }
        })
    }

    /// Tells who leads, and from then on each change. Needs no candidacy.
    pub fn observe(&self) -> Observer {
        Observer::new(self.0.clone())
    }
}

impl fmt::Debug for Election {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Election").field("path", &self.0.path).finish_non_exhaustive()
    }
}

/// The lead in an [`Election`]; what it can tell is in [`Hold`].
///
/// Dropping it resigns in the background; [`resign`](Self::resign) waits and tells.
#[derive(Debug)]
#[must_use = "dropping it resigns"]
pub struct Leadership(Hold);

impl Leadership {
    /// Tells all observers `value`, in place of the identifier. One round trip.
    ///
    /// # Errors
    /// * [`RecipeError::NotHeld`], [`Error::SessionExpired`](crate::Error::SessionExpired): the
    ///   leadership is lost.
    /// * [`Error::Timeout`](crate::Error::Timeout): it may be told or not.
    pub fn proclaim(&self, value: impl AsRef<[u8]>) -> Result<()> {
        let (session, node) = (self.0.session(), self.0.node());
        Waits::default().patiently(session.call_deadline(), "proclaim", node, |patience| {
            match patience.ask(session, || op::SetData::new(node, value.as_ref())) {
                Err(error) if error.code() == Some(Code::NoNode) => {
                    Err(patience.error(RecipeError::NotHeld))
                }
                set => set.map(drop),
            }
        })
    }

    /// Gives the lead up and waits for the server's word. One round trip.
    ///
    /// # Errors
    /// As [`LockGuard::release`](crate::recipes::LockGuard::release).
    ///
    /// # Blocking
    /// Until the deadline of the call at most.
    pub fn resign(self) -> Result<()> {
        self.0.release("resign")
    }
}

impl Deref for Leadership {
    type Target = Hold;

    fn deref(&self) -> &Hold {
        &self.0
    }
}
