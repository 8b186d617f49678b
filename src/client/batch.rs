//! Many operations handed over at once.
//!
//! One by one, each request costs a place for its answer, an entry in the queue and a look whether
//! the IO thread sleeps. Handed over together they share all of that, and the clock is read once:
//! see [`Client::submit_all`].

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;
use std::vec;

use crate::client::calls::Limits;
use crate::client::chroot::Chroot;
use crate::client::op::sealed::{Answer, Body, Encode};
use crate::client::op::{self, Operation};
use crate::client::pending::{Waited, failed, wait};
use crate::client::short_path::ShortPath;
use crate::client::{Client, Scope};
use crate::error::{At, Error, Result};
use crate::io::completion::Completion;
use crate::io::driver::{Command, Submit};
use crate::io::slot::Slot;
use crate::proto::buffer::Buffer;
use crate::proto::code::Code;
use crate::proto::opcode::OpCode;
use crate::proto::stat::Stat;
use crate::session::batch::Ended;
use crate::session::{Failure, Outcome, Reply, Request};

impl Client {
    /// Sends operations of one kind together, and gives the answers that are to come, in the same
    /// order. Each succeeds or fails for itself: this is no [transaction](Self::transaction).
    ///
    /// For many small operations this costs a fraction of as many [`submit`](Self::submit)s. The
    /// operations are handed over in parts of up to 256; a part is answered when its last
    /// operation is.
    ///
    /// ```no_run
    /// # let zk = zookeeper_blocking::Client::connect("localhost:2181")?;
    /// use zookeeper_blocking::{CreateMode, op};
    ///
    /// let names = (0..1_000).map(|n| format!("/jobs/job-{n}"));
    /// for created in zk.submit_all(names.map(|path| op::Create::new(path).data("new")))? {
    ///     println!("{}", created?.path);
    /// }
    /// # Ok::<(), zookeeper_blocking::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`submit`](Self::submit); then nothing was sent. All operations are checked and encoded
    /// before the first is sent. [`Error::Invalid`] for one that leaves a watch, or takes watches
    /// away: those go by themselves.
    ///
    /// # Blocking
    /// Only while too many requests are in flight (see
    /// [`max_in_flight`](crate::ClientBuilder::max_in_flight)).
    pub fn submit_all<O: Operation>(
        &self,
        ops: impl IntoIterator<Item = O>,
    ) -> Result<PendingAll<O::Reply>> {
        let deadline = self.deadline(Instant::now());
        let parts = self.encode_all(ops)?;
        let left = parts.iter().map(|part| part.asked.len()).sum();
        let mut pending = PendingAll {
            left,
            parts: VecDeque::with_capacity(parts.len()),
            ready: Vec::new().into_iter(),
            deadline,
            scope: self.scope.clone(),
        };
        for part in parts {
            match self.enqueue_part::<O>(part, deadline) {
                Ok(part) => pending.parts.push_back(part),
                Err((why, _)) if pending.parts.is_empty() => return Err(why),
                // Some are on their way, and their answers are owed: so this is an answer too.
                Err((why, asked)) => pending.parts.push_back(Part::refused::<O>(why, asked)),
            }
        }
        Ok(pending)
    }

    /// The data and [`Stat`] of many nodes, each found or not by itself, in the order of `paths`.
    ///
    /// ```no_run
    /// # let zk = zookeeper_blocking::Client::connect("localhost:2181")?;
    /// for (path, read) in ["/a", "/b"].iter().zip(zk.get_many(["/a", "/b"])?) {
    ///     match read {
    ///         Ok((data, stat)) => println!("{path}: {} bytes, version {}", data.len(), stat.version),
    ///         Err(error) => println!("{error}"),
    ///     }
    /// }
    /// # Ok::<(), zookeeper_blocking::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`submit_all`](Self::submit_all).
    ///
    /// # Blocking
    /// Until the deadline of the call at most.
    // A name for the type would hide that each read succeeds or fails for itself.
    #[allow(clippy::type_complexity)]
    pub fn get_many<P: AsRef<str>>(
        &self,
        paths: impl IntoIterator<Item = P>,
    ) -> Result<Vec<Result<(Vec<u8>, Stat)>>> {
        let reads = paths.into_iter().map(|path| op::GetData::new(path.as_ref().to_owned()));
        self.submit_all(reads).map(PendingAll::wait)
    }

    fn encode_all<O: Operation>(
        &self,
        ops: impl IntoIterator<Item = O>,
    ) -> Result<Vec<Unsent<O::Memo>>> {
        let most = MOST_REQUESTS.min(self.shared().gate.limit());
        let mut parts: Vec<Unsent<O::Memo>> = Vec::new();
        for mut op in ops {
            let full = |part: &Unsent<O::Memo>| {
                part.asked.len() >= most || part.frames.len() >= ENOUGH_BYTES
            };
            if parts.last().is_none_or(full) {
                // Most are as large as the one before.
                let frames = Buffer::with_room(parts.last().map_or(0, |part| part.frames.len()));
                let asked = Vec::with_capacity(parts.last().map_or(0, |part| part.asked.len()));
                parts.push(Unsent { frames, asked });
            }
            let Some(part) = parts.last_mut() else { continue };
            let start = part.frames.len();
            let (encoded, memo) = op.encode(&self.scope.chroot, &mut part.frames)?;
            self.check_len(part.frames.len() - start, O::NAME, op.path())?;
            if encoded.change.is_some() {
                let why = "operations on watches cannot be submitted together";
                return Err(Error::invalid(O::NAME, op.path(), why));
            }
            part.asked.push(Asked { op: encoded.op, memo, path: op.path().into() });
        }
        Ok(parts)
    }

    fn enqueue_part<O: Operation>(
        &self,
        part: Unsent<O::Memo>,
        deadline: Option<Instant>,
    ) -> Result<Part<O::Reply>, Refused<O::Memo>> {
        let Unsent { frames, asked } = part;
        let limits = Limits { deadline, patient: false };
        // Its error is told of the first; each gets its own path where it is told of all.
        let path = asked.first().map(|first| first.path.to_string()).unwrap_or_default();
        let epoch = match self.enter(asked.len(), limits, O::NAME, &path) {
            Ok(epoch) => epoch,
            Err(why) => return Err((why, asked)),
        };
        let slot = Slot::take();
        let request = Request {
            frame: frames,
            count: u32::try_from(asked.len()).unwrap_or(u32::MAX),
            op: asked.first().map_or(OpCode::Ping, |first| first.op),
            change: None,
            token: Completion::slot(&slot),
        };
        if self
            .shared()
            .command(Command::Submit(Submit { request, epoch, patient: false }))
            .is_err()
        {
            return Err((self.ended(O::NAME, &path), asked));
        }
        let read = move |waited, chroot: &Chroot| read_all::<O>(waited, asked, chroot);
        Ok(Part { slot: Some(slot), read: Box::new(read) })
    }
}

/// A part before it is handed over.
struct Unsent<M> {
    frames: Buffer,
    asked: Vec<Asked<M>>,
}

/// Why a part was not queued, and what was in it.
type Refused<M> = (Error, Vec<Asked<M>>);

/// What is kept of an operation until its answer comes.
struct Asked<M> {
    op: OpCode,
    memo: M,
    path: ShortPath,
}

impl<M> Asked<M> {
    fn finish<O>(self, ended: Ended<'_>, chroot: &Chroot) -> Result<O::Reply>
    where
        O: Operation + Encode<Memo = M>,
    {
        let Self { op, memo, path } = self;
        match ended {
            Ended::Reply { code, zxid, body } => {
                let code = Code::from_raw(code);
                let answer = Answer { op, code, zxid, body: Body::Part(body), chroot };
                O::decode(answer, memo).map_err(|unread| unread.into_error(At::new(O::NAME, path)))
            }
            Ended::Failed(failure) => Err(failed(failure, At::new(O::NAME, path))),
        }
    }
}

/// Reads the answers to a part.
fn read_all<O: Operation>(
    waited: Waited,
    asked: Vec<Asked<O::Memo>>,
    chroot: &Chroot,
) -> Vec<Result<O::Reply>> {
    let all = asked.into_iter();
    let fail = |failure| Ended::Failed(failure);
    match waited {
        Waited::Outcome(Outcome::Batch(answers)) => {
            all.zip(answers.each()).map(|(asked, ended)| asked.finish::<O>(ended, chroot)).collect()
        }
        // A part of one is a request like any other.
        Waited::Outcome(Outcome::Reply(Reply { code, zxid, body, .. })) => all
            .map(|asked| asked.finish::<O>(Ended::Reply { code, zxid, body: &body }, chroot))
            .collect(),
        Waited::Outcome(Outcome::Failed(failure)) => {
            all.map(|asked| asked.finish::<O>(fail(failure), chroot)).collect()
        }
        Waited::Forked => {
            all.map(|asked| Err(Error::Forked { at: At::new(O::NAME, asked.path) })).collect()
        }
    }
}

type Read<T> = Box<dyn FnOnce(Waited, &Chroot) -> Vec<Result<T>> + Send>;

/// Operations that are answered together.
struct Part<T> {
    /// `None` if it was never queued: then the reader knows why.
    slot: Option<Slot>,
    read: Read<T>,
}

impl<T> Part<T> {
    fn refused<O: Operation<Reply = T>>(why: Error, asked: Vec<Asked<O::Memo>>) -> Self {
        let read = move |_, _: &Chroot| {
            let error =
                |asked: Asked<O::Memo>| Err(why.clone().moved_to(At::new(O::NAME, asked.path)));
            asked.into_iter().map(error).collect()
        };
        Self { slot: None, read: Box::new(read) }
    }
}

/// The answers to operations that were [submitted together](crate::Client::submit_all), still to
/// come, in the order of the operations.
///
/// An iterator: each step waits until that answer is there, or the deadline of the call has
/// passed. Dropping it drops the answers that were not taken, not the requests; those that were
/// not sent yet are not sent any more.
#[must_use = "dropping it drops the answers, not the requests"]
pub struct PendingAll<T> {
    parts: VecDeque<Part<T>>,
    ready: vec::IntoIter<Result<T>>,
    /// Answers that were not taken.
    left: usize,
    deadline: Option<Instant>,
    scope: Arc<Scope>,
}

impl<T> PendingAll<T> {
    /// Waits for all answers, until the deadline that the call was submitted with. Those that did
    /// not come by then are [`Error::Timeout`].
    pub fn wait(self) -> Vec<Result<T>> {
        self.collect()
    }
}

impl<T> Iterator for PendingAll<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        loop {
            if let Some(result) = self.ready.next() {
                self.left = self.left.saturating_sub(1);
                return Some(result);
            }
            let Part { slot, read } = self.parts.pop_front()?;
            let waited = match &slot {
                Some(slot) => wait(slot, self.deadline, Instant::now(), &self.scope.shared),
                None => Waited::Outcome(Outcome::Failed(Failure::Closed { sent: false })),
            };
            self.ready = read(waited, &self.scope.chroot).into_iter();
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T> ExactSizeIterator for PendingAll<T> {}

impl<T> Drop for PendingAll<T> {
    fn drop(&mut self) {
        for slot in self.parts.iter().filter_map(|part| part.slot.as_ref()) {
            let _ = slot.abandon();
        }
    }
}

impl<T> fmt::Debug for PendingAll<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingAll").field("left", &self.left).finish_non_exhaustive()
    }
}

/// Operations in one part at most: a part is answered when its last is.
const MOST_REQUESTS: usize = 256;

/// Bytes of requests after which a part takes no more.
const ENOUGH_BYTES: usize = 64 * 1024;
