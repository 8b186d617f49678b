//! What callers queue, and what becomes of it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Sender;

use super::{Closing, Driver, MAX_COMMANDS, MAX_OUT, SWEEP_EVERY, Sink};
use crate::io::completion::Completion;
use crate::io::probe::Verdict;
use crate::session::hosts::Host;
use crate::session::link::Owner;
use crate::session::state::SessionState;
use crate::session::watches::WatchId;
use crate::session::{Change, Effect, Failure, Outcome, Request};

/// What a caller queues.
#[derive(Debug)]
pub(crate) enum Command {
    Submit(Submit),
    AddAuth {
        scheme: String,
        credential: Vec<u8>,
        token: Completion,
    },
    /// A watch handle is gone.
    Unwatch {
        path: Arc<str>,
        id: WatchId,
    },
    /// Take watches off a path without asking the server; answers how many there were.
    EndWatches {
        path: String,
        watcher_type: i32,
        ended: Sender<usize>,
    },
    SetHosts(Vec<Host>),
    /// Told when it is done.
    Subscribe(Sender<SessionState>, Sender<()>),
    /// Each host that failed, with its last failure.
    Tried(Sender<Vec<(String, String)>>),
    Resolved(Host, Result<Vec<SocketAddr>, String>),
    Probed(Verdict),
    /// End the client, not the session; answers the session's id and password.
    Detach(Sender<(i64, Vec<u8>)>),
    Close {
        deadline: Instant,
    },
}

/// A request and the session that it is for.
#[derive(Debug)]
pub(crate) struct Submit {
    pub(crate) request: Request<Completion, Sink>,
    pub(crate) epoch: u64,
    /// Waits for a connection even if calls do not.
    pub(crate) patient: bool,
}

impl Driver {
    pub(super) fn take_commands(&mut self, now: Instant) {
        // Bounded, so that callers who never pause cannot keep answers from being read.
        for _ in 0..MAX_COMMANDS {
            let Ok(command) = self.queue.try_recv() else {
                break;
            };
            self.on_command(command, now);
        }
        self.send_backlog(now);
    }

    pub(super) fn on_command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Submit(submit) => self.on_submit(submit, now),
            Command::AddAuth { scheme, credential, token } => {
                self.machine.add_auth(scheme, credential, Some(token));
            }
            Command::Unwatch { path, id } => {
                self.machine.unwatch(&path, id, now, &mut self.effects);
                self.progressed = true;
            }
            Command::EndWatches { path, watcher_type, ended } => {
                let n = self.machine.end_watches(&path, watcher_type, &mut self.effects);
                // Before the answer: the caller may ask for the count next.
                self.publish_progress();
                let _ = ended.send(n);
            }
            Command::SetHosts(hosts) => self.set_hosts(hosts, now),
            Command::Subscribe(subscriber, taken) => {
                self.subscribers.push(subscriber);
                let _ = taken.send(());
            }
            Command::Tried(answer) => {
                let _ = answer.send(self.dialer.tried());
            }
            Command::Resolved(host, answer) => self.dialer.resolved(&host, answer, now),
            Command::Probed(verdict) => self.on_verdict(verdict, now),
            Command::Detach(answer) => {
                let (id, password) = self.machine.identity();
                let _ = answer.send((id, password.to_vec()));
                self.ended = true;
            }
            Command::Close { deadline } => self.on_close(deadline, now),
        }
    }

    pub(super) fn on_submit(&mut self, submit: Submit, now: Instant) {
        log::trace!("{:?}, {} bytes", submit.request.op, submit.request.frame.len());
        if let Some(at) = submit.request.token.watched_deadline() {
            let soon = at.min(now + SWEEP_EVERY);
            self.next_sweep = Some(self.next_sweep.map_or(soon, |next| next.min(soon)));
        }
        if self.closing.is_some() {
            return self.refuse(submit, Failure::Closed { sent: false });
        }
        if submit.epoch != self.machine.epoch() {
            return self.refuse(submit, Failure::SessionExpired { sent: false });
        }
        if self.can_send() && self.backlog.is_empty() {
            if submit.request.token.claim() {
                self.machine.send(submit.request, now);
            } else {
                self.finished += submit.request.count as usize;
                self.forget(submit);
            }
        } else if !(self.wait_disconnected || submit.patient || self.machine.is_serving()) {
            self.refuse(submit, Failure::ConnectionLoss { sent: false });
        } else {
            self.backlog.push_back(submit);
        }
    }

    pub(super) fn can_send(&self) -> bool {
        self.machine.is_serving() && self.machine.output().len() < MAX_OUT
    }

    pub(super) fn send_backlog(&mut self, now: Instant) {
        while !self.backlog.is_empty() && self.can_send() {
            let Some(submit) = self.backlog.pop_front() else {
                break;
            };
            if submit.request.token.claim() {
                self.machine.send(submit.request, now);
            } else {
                self.finished += submit.request.count as usize;
                self.forget(submit);
            }
        }
    }

    /// Answers a request that was not sent, after what was decided before it.
    pub(super) fn refuse(&mut self, submit: Submit, failure: Failure) {
        let Request { change, token, count, .. } = submit.request;
        if let Some(Change::Arm(arming)) = change.map(|change| *change) {
            self.effects.push(Effect::Forget { id: arming.id, sink: arming.sink });
        }
        let outcome = Outcome::Failed(failure);
        self.effects.push(Effect::Done { token, outcome, count, armed: None });
    }

    /// Drops a request that nobody waits for any more.
    pub(super) fn forget(&mut self, submit: Submit) {
        if let Some(Change::Arm(arming)) = submit.request.change.map(|change| *change) {
            self.effects.push(Effect::Forget { id: arming.id, sink: arming.sink });
        }
    }

    /// Refuses what does not wait for the next connection.
    pub(super) fn refuse_impatient(&mut self) {
        let all = std::mem::take(&mut self.backlog).into_iter();
        let (kept, refused): (VecDeque<_>, VecDeque<_>) = all.partition(|submit| submit.patient);
        self.backlog = kept;
        for submit in refused {
            self.refuse(submit, Failure::ConnectionLoss { sent: false });
        }
    }

    /// Answers what is in the queue at the end with what the end was. What comes still later is
    /// answered by its own drop.
    pub(super) fn refuse_queued(&mut self) {
        let failure = match self.machine.state() {
            SessionState::AuthFailed => Failure::AuthFailed { sent: false },
            _ => Failure::Closed { sent: false },
        };
        while let Ok(command) = self.queue.try_recv() {
            match command {
                Command::Submit(submit) => self.refuse(submit, failure),
                Command::AddAuth { token, .. } => {
                    let outcome = Outcome::Failed(failure);
                    self.effects.push(Effect::Done { token, outcome, count: 1, armed: None });
                }
                _ => {}
            }
        }
    }

    pub(super) fn refuse_backlog(&mut self, failure: Failure) {
        for submit in std::mem::take(&mut self.backlog) {
            self.refuse(submit, failure);
        }
    }

    pub(super) fn set_hosts(&mut self, hosts: Vec<Host>, now: Instant) {
        let current = self.connection.as_ref().map(|c| c.host.clone());
        if self.dialer.replace(hosts, current.as_ref(), now) && current.is_some() {
            self.lost("the list of servers changed", now);
        }
    }

    pub(super) fn on_close(&mut self, deadline: Instant, now: Instant) {
        if self.closing.is_some() {
            return;
        }
        // Without a session there is nothing to tell a server.
        let deadline = if self.machine.identity().0 != 0 { deadline } else { now };
        self.closing = Some(Closing { deadline, asked: false });
    }

    /// Times out what only a callback waits for.
    pub(super) fn sweep(&mut self, now: Instant) {
        let mut next: Option<Instant> = None;
        let mut look = |token: &mut Completion| {
            let timed_out = token.expire(now);
            if let Some(at) = token.watched_deadline() {
                next = Some(next.map_or(at, |known| known.min(at)));
            }
            timed_out
        };
        for sent in self.machine.in_flight_mut() {
            if let Owner::User(token) = &mut sent.owner {
                look(token);
            }
        }
        let mut kept = VecDeque::with_capacity(self.backlog.len());
        for mut submit in std::mem::take(&mut self.backlog) {
            if look(&mut submit.request.token) {
                self.finished += submit.request.count as usize;
                self.forget(submit);
            } else {
                kept.push_back(submit);
            }
        }
        self.backlog = kept;
        self.next_sweep = next.map(|at| at.max(now + SWEEP_EVERY));
    }
}
