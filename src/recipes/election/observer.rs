//! Seeing from outside who leads.

use std::fmt;
use std::time::{Duration, Instant};

use crate::client::op;
use crate::client::session::Session;
use crate::client::watch::Watch;
use crate::error::{Error, Result};
use crate::path;
use crate::proto::code::Code;
use crate::recipes::contender::{self, Decision};
use crate::recipes::line::{Contender, Line};
use crate::recipes::patience::Patience;

/// Tells who leads an [`Election`](crate::recipes::Election), and each change.
///
/// A change is another leader, none, or another value that the leader proclaimed. The last change
/// is always told; of several in a row, those in the middle may not be. Keeps one watch, on the
/// leader's node, and goes on in the next session when one expires.
///
/// ```no_run
/// # let zk = zookeeper_blocking::Client::connect("localhost:2181")?.with_timeout(None);
/// use zookeeper_blocking::recipes::Election;
///
/// let mut observer = Election::new(&zk, "/app/leader")?.observe();
/// loop {
///     match observer.recv()? {
///         Some(leader) => println!("{} leads", leader.identifier_text()),
///         None => println!("nobody leads"),
///     }
///     # break;
/// }
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
pub struct Observer {
    line: Line,
    told: Option<Option<Contender>>,
    watch: Option<Watch>,
}

impl Observer {
    pub(super) fn new(line: Line) -> Self {
        Self { line, told: None, watch: None }
    }

    /// At first who leads now, `None` if nobody does; then waits for the next change, until the
    /// deadline of the client's calls.
    ///
    /// # Errors
    /// * [`Error::Timeout`] if there was no change until then. The next call waits on.
    /// * [`RecipeError::Cancelled`](crate::RecipeError::Cancelled) after the election's
    ///   [`cancel`](crate::recipes::Election::cancel).
    pub fn recv(&mut self) -> Result<Option<Contender>> {
        self.recv_until(self.line.client.deadline(Instant::now()))
    }

    /// As [`recv`](Self::recv), for `timeout` at most.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<Contender>> {
        self.recv_until(Instant::now().checked_add(timeout))
    }

    fn recv_until(&mut self, deadline: Option<Instant>) -> Result<Option<Contender>> {
        let line = self.line.clone();
        line.waits.patiently(deadline, "observe", &line.path, |patience| {
            loop {
                if let Some(watch) = &self.watch {
                    patience.wait_for(&[watch])?;
                }
                self.watch = None;
                let session = patience.session(&line.client)?;
                match look(&line, &session, patience) {
                    Err(Error::SessionExpired { .. }) => patience.check()?,
                    Ok(None) => {}
                    Ok(Some((leader, watch))) => {
                        self.watch = Some(watch);
                        if self.told.as_ref() != Some(&leader) {
                            self.told = Some(leader.clone());
                            return Ok(leader);
                        }
                    }
                    Err(error) => return Err(error),
                }
            }
        })
    }
}

/// Who leads, and a watch that hears of a change; `None` if it has to be looked again at once.
fn look(
    line: &Line,
    session: &Session,
    patience: &Patience<'_>,
) -> Result<Option<(Option<Contender>, Watch)>> {
    let path = &*line.path;
    let children = match patience.ask(session, || op::GetChildren::new(path)) {
        Err(error) if error.code() == Some(Code::NoNode) => {
            let made = patience.watch(session, |w| op::Exists::new(path).watcher(w))?;
            return settled(made.map(|(stat, watch)| (stat.is_none(), watch)));
        }
        children => children?,
    };
    let Some(name) = leader_among(line, &children) else {
        let read = |watcher| op::GetChildren::new(path).watcher(watcher);
        let listed = patience.watch(session, read)?;
        let nobody = |children: &[String]| leader_among(line, children).is_none();
        return settled(listed.map(|(children, watch)| (nobody(&children), watch)));
    };
    // Nobody can come before the leader: its own node is all that has to be watched.
    let node = path::join(path, name);
    let read = |watcher| op::GetData::new(node.as_str()).watcher(watcher);
    match patience.watch(session, read)? {
        Ok(((data, stat), watch)) => {
            Ok(Some((Some(Contender::new(name.to_owned(), data, &stat)), watch)))
        }
        Err(error) if error.code() == Some(Code::NoNode) || error.is_connection() => Ok(None),
        Err(error) => Err(error),
    }
}

/// That there is no leader, if the watch was set while it was so.
fn settled(seen: Result<(bool, Watch)>) -> Result<Option<(Option<Contender>, Watch)>> {
    match seen {
        Ok((true, watch)) => Ok(Some((None, watch))),
        Ok((false, _)) => Ok(None),
        // The parent came or went in between.
        Err(error) if error.code() == Some(Code::NoNode) || error.is_connection() => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn leader_among<'c>(line: &Line, children: &'c [String]) -> Option<&'c str> {
    let first = contender::ordered(children, line.role.company()).first().copied()?;
    // One whose number is used up never leads.
    let decision = contender::decide(children, first, line.role.rivals(), 1);
    (decision == Decision::Held).then_some(first)
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").field("path", &self.line.path).finish_non_exhaustive()
    }
}
