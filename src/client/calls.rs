//! The way of a request: from an operation value to the IO thread, and back to a result.

use std::sync::Arc;
use std::time::Instant;

use crate::client::op::{Encoded, Operation};
use crate::client::pending::{Pending, Waited, finish, wait};
use crate::client::short_path::ShortPath;
use crate::client::watch::{ArmedWatch, Watch, Watcher};
use crate::client::{Armed, Client};
use crate::error::{At, Error, Result};
use crate::io::completion::Completion;
use crate::io::dispatch::{Event, WatchCallback};
use crate::io::driver::{Command, Sink, Submit};
use crate::io::mailbox::Post;
use crate::io::slot::Slot;
use crate::proto::buffer::Buffer;
use crate::session::watches::WatchId;
use crate::session::{Arming, Change, Outcome, Request};

impl Client {
    /// Does `op` and waits for its answer.
    ///
    /// # Errors
    /// Those of the operation, and those of every call: see [`Error`].
    ///
    /// # Blocking
    /// Until the deadline of the call at most; safe on the event thread, but holds up later
    /// callbacks.
    pub fn call<O: Operation>(&self, op: O) -> Result<O::Reply> {
        self.call_armed(op).map(|(reply, _)| reply)
    }

    /// As [`call`](Self::call), telling the watch that was set.
    pub(crate) fn call_armed<O: Operation>(&self, mut op: O) -> Result<(O::Reply, Armed)> {
        let started = Instant::now();
        let deadline = self.deadline(started);
        let mut tries = 0;
        let mut now = started;
        loop {
            let (frame, encoded, memo) = self.encode(&mut op)?;
            let repeatable = !matches!(encoded.change.as_deref(), Some(Change::Arm(_)));
            let slot = Slot::take();
            let completion = Completion::slot(&slot);
            let limits = Limits { deadline, patient: false };
            let queued = self.enqueue(frame, encoded, completion, limits, O::NAME, op.path());
            let result = queued.and_then(|armed| {
                let reply = match wait(&slot, deadline, now, self.shared()) {
                    Waited::Outcome(outcome) => {
                        finish::<O>(outcome, memo, &self.scope.chroot, || at(&op))?
                    }
                    Waited::Forked => return Err(Error::Forked { at: at(&op) }),
                };
                Ok((reply, armed))
            });
            tries += 1;
            let error = match result {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            now = Instant::now();
            let pause = self
                .scope
                .retry
                .for_reads(op.is_read())
                .decide(tries, started, now, &error, &mut fastrand::Rng::new())
                .filter(|_| repeatable);
            match (pause, deadline) {
                (None, _) => return Err(error),
                (Some(pause), Some(deadline)) if now + pause >= deadline => return Err(error),
                (Some(pause), _) => {
                    std::thread::sleep(pause);
                    now = Instant::now();
                }
            }
        }
    }

    /// Sends `op` and gives the answer that is to come. Many requests of one thread so share a
    /// round trip; they are done in the order of their submission.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Busy`], [`Error::Closed`] and the like: nothing was sent.
    ///
    /// # Blocking
    /// Only while too many requests are in flight (see [`max_in_flight`](crate::ClientBuilder::max_in_flight)).
    pub fn submit<O: Operation>(&self, op: O) -> Result<Pending<O::Reply>> {
        self.submit_armed(op, None).map(|(pending, _)| pending)
    }

    /// As [`submit`](Self::submit), for a recipe that waits by its own rules: for a connection and
    /// for room, whatever the client's options say, and until its own `deadline`. Only the wait
    /// for room is ended here: whoever waits for the answer keeps the time.
    pub(crate) fn submit_until<O: Operation>(
        &self,
        op: O,
        deadline: Option<Instant>,
    ) -> Result<Pending<O::Reply>> {
        let limits = Limits { deadline, patient: true };
        self.submit_armed(op, Some(limits)).map(|(pending, _)| pending)
    }

    fn submit_armed<O: Operation>(
        &self,
        mut op: O,
        recipe: Option<Limits>,
    ) -> Result<(Pending<O::Reply>, Armed)> {
        let (limits, deadline) = match recipe {
            Some(limits) => (limits, None),
            None => {
                let deadline = self.deadline(Instant::now());
                (Limits { deadline, patient: false }, deadline)
            }
        };
        let (frame, encoded, memo) = self.encode(&mut op)?;
        let slot = Slot::take();
        let completion = Completion::slot(&slot);
        let armed = self.enqueue(frame, encoded, completion, limits, O::NAME, op.path())?;
        let pending = Pending::new(&op, memo, slot, deadline, self.scope.clone());
        Ok((pending, armed))
    }

    /// Sends `op`; `done` gets the result on the event thread, in order with the events of
    /// watches. It runs exactly once; if no answer comes, at the deadline of the call, or up to
    /// 50 ms after it.
    ///
    /// # Errors
    /// As [`submit`](Self::submit); then `done` is dropped, unrun.
    ///
    /// # Blocking
    /// Only while too many requests are in flight.
    pub fn submit_with<O: Operation>(
        &self,
        mut op: O,
        done: impl FnOnce(Result<O::Reply>) + Send + 'static,
    ) -> Result<()> {
        let deadline = self.deadline(Instant::now());
        let (frame, encoded, memo) = self.encode(&mut op)?;
        let (path, scope) = (ShortPath::from(op.path()), self.scope.clone());
        let run = move |outcome: Outcome| {
            let at = || At::new(O::NAME, path);
            done(finish::<O>(outcome, memo, &scope.chroot, at));
        };
        let completion = Completion::callback(run, deadline, self.shared().events.clone());
        let limits = Limits { deadline, patient: false };
        self.enqueue(frame, encoded, completion, limits, O::NAME, op.path())?;
        Ok(())
    }

    /// As [`submit_until`](Self::submit_until), of a read that leaves a watch; gives its handle
    /// along: if the read fails the handle is worth nothing.
    pub(crate) fn submit_watched<O: Operation>(
        &self,
        read: impl FnOnce(Watcher) -> O,
        deadline: Option<Instant>,
    ) -> Result<(Pending<O::Reply>, Watch)> {
        let (watcher, events) = Watcher::handle();
        let op = read(watcher);
        let (pending, armed) = self.submit_armed(op, Some(Limits { deadline, patient: true }))?;
        let Some((path, id)) = armed else {
            return Err(Error::invalid(O::NAME, "", "no watch was set"));
        };
        let chroot = self.scope.chroot.clone();
        let watch = Watch::new(events, path, id, self.shared().clone(), chroot);
        Ok((pending, watch))
    }

    /// As [`submit_watched`](Self::submit_watched), of a watch whose event goes where those of
    /// others go. What it gives along takes the watch back when it is dropped.
    pub(crate) fn submit_posted<O: Operation>(
        &self,
        read: impl FnOnce(Watcher) -> O,
        post: Post,
        deadline: Option<Instant>,
    ) -> Result<(Pending<O::Reply>, Option<ArmedWatch>)> {
        let op = read(Watcher::Handle(post));
        let (pending, armed) = self.submit_armed(op, Some(Limits { deadline, patient: true }))?;
        let armed = armed.map(|(path, id)| ArmedWatch::new(path, id, self.shared().clone()));
        Ok((pending, armed))
    }

    /// As [`submit_with`](Self::submit_with), but never waits, has no deadline, and is kept while
    /// there is no connection: for requests that clean up behind a user. `done` runs on the event
    /// thread.
    pub(crate) fn submit_behind<O: Operation>(
        &self,
        op: O,
        done: impl FnOnce(Result<O::Reply>) + Send + 'static,
    ) -> Result<()> {
        self.submit_armed_behind(op, done).map(drop)
    }

    /// As [`submit_behind`](Self::submit_behind), of a read that leaves a watch with a callback.
    /// What it gives takes the watch back when it is dropped; if the read fails it is worth
    /// nothing.
    pub(crate) fn submit_armed_behind<O: Operation>(
        &self,
        mut op: O,
        done: impl FnOnce(Result<O::Reply>) + Send + 'static,
    ) -> Result<Option<ArmedWatch>> {
        let (frame, encoded, memo) = self.encode(&mut op)?;
        let epoch = self.standing(O::NAME, op.path())?;
        let (path, scope) = (ShortPath::from(op.path()), self.scope.clone());
        let run = move |outcome: Outcome| {
            let at = || At::new(O::NAME, path);
            done(finish::<O>(outcome, memo, &scope.chroot, at));
        };
        let token = Completion::callback(run, None, self.shared().events.clone());
        let Encoded { op: opcode, mut change, callback } = encoded;
        let watch = match change.as_deref_mut() {
            Some(Change::Arm(arming)) => {
                let (path, id) = self.arm(arming, callback);
                Some(ArmedWatch::new(path, id, self.shared().clone()))
            }
            _ => None,
        };
        let request = Request { frame, count: 1, op: opcode, change, token };
        self.shared().gate.force();
        self.shared()
            .command(Command::Submit(Submit { request, epoch, patient: true }))
            .map_err(|_| self.ended(O::NAME, op.path()))?;
        Ok(watch)
    }

    fn encode<O: Operation>(&self, op: &mut O) -> Result<(Buffer, Encoded, O::Memo)> {
        let mut frame = Buffer::default();
        let (encoded, memo) = op.encode(&self.scope.chroot, &mut frame)?;
        Ok((frame, encoded, memo))
    }

    /// Queues a request; everything that can be refused here is.
    fn enqueue(
        &self,
        frame: Buffer,
        encoded: Encoded,
        mut completion: Completion,
        limits: Limits,
        op: &'static str,
        path: &str,
    ) -> Result<Armed> {
        let prepared = self.admit(frame.len(), limits, op, path);
        let epoch = match prepared {
            Ok(epoch) => epoch,
            Err(error) => {
                completion.defuse();
                return Err(error);
            }
        };
        let Encoded { op: opcode, mut change, callback } = encoded;
        let armed = match change.as_deref_mut() {
            Some(Change::Arm(arming)) => Some(self.arm(arming, callback)),
            _ => None,
        };
        let request = Request { frame, count: 1, op: opcode, change, token: completion };
        let submit = Submit { request, epoch, patient: limits.patient };
        if self.shared().command(Command::Submit(submit)).is_err() {
            return Err(self.ended(op, path));
        }
        Ok(armed)
    }

    /// Checks size, state and room; gives the session that the request is for.
    fn admit(&self, frame_len: usize, limits: Limits, op: &'static str, path: &str) -> Result<u64> {
        self.check_len(frame_len, op, path)?;
        self.enter(1, limits, op, path)
    }

    pub(super) fn check_len(&self, frame_len: usize, op: &'static str, path: &str) -> Result<()> {
        let (len, limit) = (frame_len.saturating_sub(4), self.scope.max_request);
        if len > limit {
            let why = format!("the request has {len} bytes, the servers' limit is {limit}");
            return Err(Error::invalid(op, path, why));
        }
        Ok(())
    }

    /// Takes room for `count` requests in flight, at most as many as there may be, waiting for it
    /// as the handle says; gives the session that a request of now is for.
    pub(crate) fn enter(
        &self,
        count: usize,
        limits: Limits,
        op: &'static str,
        path: &str,
    ) -> Result<u64> {
        let epoch = self.standing(op, path)?;
        let gate = &self.shared().gate;
        if gate.try_enter(count) {
            return Ok(epoch);
        }
        if !self.scope.wait_full && !limits.patient {
            return Err(Error::Busy { limit: gate.limit(), at: At::new(op, path) });
        }
        let give_up = || self.standing(op, path).is_err() || self.shared().is_forked();
        if gate.enter(count, limits.deadline, give_up) {
            return Ok(epoch);
        }
        self.standing(op, path)?;
        if self.shared().is_forked() {
            return Err(Error::Forked { at: At::new(op, path) });
        }
        Err(Error::Timeout { sent: false, at: At::new(op, path) })
    }

    /// Gives a watch its id, and its callback to the event thread: before the request that names
    /// it, so that no event can come first.
    fn arm(
        &self,
        arming: &mut Arming<Sink>,
        callback: Option<WatchCallback>,
    ) -> (Arc<str>, WatchId) {
        arming.id = WatchId(self.shared().next_id());
        if let Some(callback) = callback {
            let callback = self.chrooted(callback);
            // If the event thread has ended the request will be refused too.
            let _ = self.shared().events.send(Event::Watch(arming.id, callback));
        }
        (arming.path.clone(), arming.id)
    }

    /// A callback that sees paths as this handle does.
    fn chrooted(&self, mut callback: WatchCallback) -> WatchCallback {
        if self.scope.chroot.prefix().is_empty() {
            return callback;
        }
        let chroot = self.scope.chroot.clone();
        Box::new(move |mut event| {
            event.path = chroot.up(event.path);
            callback(event);
        })
    }
}

/// How long a request may wait before it is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// For room among the requests in flight.
    pub(crate) deadline: Option<Instant>,
    /// Waits for room and for a connection even if the client's options say that calls fail.
    pub(crate) patient: bool,
}

fn at<O: Operation>(op: &O) -> Box<At> {
    At::new(O::NAME, op.path())
}
