//! The IO thread: one turn after the other of *take what callers queued, write it all, read all
//! that arrived, carry out what the session machine says, sleep*.
//!
//! It owns the socket, the session and the watch table. The poll's time-out is its only timer.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::Thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use mio::{Events, Poll, Token};

use crate::io::dial::{Dialed, Dialer};
use crate::io::dispatch::{Event, StateCallback};
use crate::io::probe::{self, Question, Verdict};
use crate::io::shared::Shared;
use crate::io::slot::{Abandoned, Completion};
use crate::io::transport::Transport;
use crate::proto::frame::FrameBuffer;
use crate::session::event::WatchedEvent;
use crate::session::hosts::{Host, HostList};
use crate::session::state::SessionState;
use crate::session::watches::WatchId;
use crate::session::{Change, Drop, Effect, Failure, Machine, Options, Outcome, Request};

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
    /// Dial this server next, now.
    Subscribe(Sender<SessionState>),
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
}

/// Where a watch's events go.
#[derive(Clone, Debug)]
pub(crate) enum Sink {
    /// To the callback that the event thread holds under the watch's id.
    Callback,
    /// Straight into a handle's queue, so that a slow callback cannot hold it up.
    Handle(Sender<WatchedEvent>),
}

/// Why the first connection never came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FirstFailure {
    AuthFailed,
    SessionExpired,
}

/// What a client is made of.
pub(crate) struct Setup {
    pub(crate) options: Options,
    pub(crate) hosts: HostList,
    pub(crate) renew: bool,
    pub(crate) wait_disconnected: bool,
    pub(crate) in_flight: usize,
    pub(crate) auths: Vec<(String, Vec<u8>)>,
    pub(crate) attach: Option<(i64, Vec<u8>)>,
    pub(crate) first: Sender<Result<(), FirstFailure>>,
    pub(crate) listeners: Vec<StateCallback>,
}

struct Connection {
    token: Token,
    host: Host,
    transport: Transport,
    frames: FrameBuffer,
    /// Whether the socket may take bytes, has bytes, is at its end. The poll tells of changes
    /// only, so what was not used up must be remembered.
    writable: bool,
    readable: bool,
    at_end: bool,
    since: Instant,
}

struct Closing {
    deadline: Instant,
    asked: bool,
}

/// The state of the IO thread.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    queue: Receiver<Command>,
    poll: Poll,
    machine: Machine<Completion, Sink>,
    dialer: Dialer,
    connection: Option<Connection>,
    /// Requests that wait for a connection, or for room in the outgoing buffer; oldest first.
    backlog: VecDeque<Submit>,
    effects: Vec<Effect<Completion, Sink>>,
    /// Callers to wake once all of a read is completed.
    to_wake: Vec<Thread>,
    /// Requests completed in this turn, to be given back to the gate.
    finished: usize,
    /// Whether bytes came since the words were last published.
    progressed: bool,
    subscribers: Vec<Sender<SessionState>>,
    first: Option<Sender<Result<(), FirstFailure>>>,
    closing: Option<Closing>,
    ended: bool,
    renew: bool,
    wait_disconnected: bool,
    read_only: bool,
    max_reply: usize,
    /// When to look for callbacks whose deadline passed; `None` while there are none.
    next_sweep: Option<Instant>,
    next_probe: Option<Instant>,
    probe_pause: Duration,
    probing: bool,
    /// When the last connection of this session broke.
    lost_at: Option<Instant>,
    turned_away: bool,
}

impl Driver {
    pub(crate) const WAKER: Token = Token(0);

    pub(crate) fn new(
        setup: Setup,
        poll: Poll,
        queue: Receiver<Command>,
        shared: Arc<Shared>,
    ) -> Self {
        let max_reply = setup.options.max_reply;
        let read_only = setup.options.read_only;
        let mut machine = Machine::new(setup.options);
        for (scheme, credential) in setup.auths {
            machine.add_auth(scheme, credential, None);
        }
        if let Some((id, password)) = setup.attach {
            machine.attach(id, password);
        }
        Self {
            shared,
            queue,
            poll,
            machine,
            dialer: Dialer::new(setup.hosts, 1),
            connection: None,
            backlog: VecDeque::new(),
            effects: Vec::new(),
            to_wake: Vec::new(),
            finished: 0,
            progressed: false,
            subscribers: Vec::new(),
            first: Some(setup.first),
            closing: None,
            ended: false,
            renew: setup.renew,
            wait_disconnected: setup.wait_disconnected,
            read_only,
            max_reply,
            next_sweep: None,
            next_probe: None,
            probe_pause: PROBE_FIRST,
            probing: false,
            lost_at: None,
            turned_away: false,
        }
    }

    /// Runs until the client is closed.
    pub(crate) fn run(&mut self) {
        let mut events = Events::with_capacity(64);
        self.dialer.search(Instant::now());
        while !self.ended {
            let now = Instant::now();
            self.take_commands(now);
            self.tick(now);
            self.write(now);
            self.carry_out(now);
            if self.ended {
                break;
            }
            let more = self.connection.as_ref().is_some_and(|c| c.readable);
            let wait = if !more && self.shared.may_sleep(&self.queue) {
                self.next_deadline()
                    .map(|at| at.saturating_duration_since(now))
            } else {
                Some(Duration::ZERO)
            };
            if let Err(error) = self.poll.poll(&mut events, wait) {
                if error.kind() != ErrorKind::Interrupted {
                    log::error!("poll failed: {error}");
                    break;
                }
            }
            self.shared.awake();
            let now = Instant::now();
            for event in &events {
                match event.token() {
                    Self::WAKER => {}
                    token if self.connection.as_ref().is_some_and(|c| c.token == token) => {
                        if let Some(connection) = &mut self.connection {
                            let at_end = event.is_read_closed() || event.is_error();
                            connection.writable |= event.is_writable();
                            connection.readable |= event.is_readable() || at_end;
                            connection.at_end |= at_end;
                        }
                    }
                    token => {
                        if let Some(dialed) = self.dialer.ready(token, now) {
                            self.greet(dialed, now);
                        }
                    }
                }
            }
            self.read(now);
            self.carry_out(now);
        }
        self.finish(SessionState::Closed);
    }

    /// After a panic: answers what can still be answered.
    pub(crate) fn abort(&mut self) {
        self.finish(SessionState::Closed);
    }

    fn finish(&mut self, state: SessionState) {
        if self.machine.identity().0 == 0 {
            self.shared.publish_session_ended();
        }
        self.connection = None;
        self.dialer.stop();
        self.machine.terminate(state, &mut self.effects);
        self.carry_out(Instant::now());
        self.shared.publish_host(None);
    }

    fn take_commands(&mut self, now: Instant) {
        // Bounded, so that callers who never pause cannot keep answers from being read.
        for _ in 0..MAX_COMMANDS {
            let Ok(command) = self.queue.try_recv() else {
                break;
            };
            self.on_command(command, now);
        }
        self.send_backlog(now);
    }

    fn on_command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Submit(submit) => self.on_submit(submit, now),
            Command::AddAuth {
                scheme,
                credential,
                token,
            } => {
                self.machine.add_auth(scheme, credential, Some(token));
            }
            Command::Unwatch { path, id } => {
                self.machine.unwatch(&path, id, now, &mut self.effects);
            }
            Command::EndWatches {
                path,
                watcher_type,
                ended,
            } => {
                let n = self
                    .machine
                    .end_watches(&path, watcher_type, &mut self.effects);
                let _ = ended.send(n);
            }
            Command::SetHosts(hosts) => self.set_hosts(hosts, now),
            Command::Subscribe(subscriber) => self.subscribers.push(subscriber),
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

    fn on_submit(&mut self, mut submit: Submit, now: Instant) {
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
                self.finished += 1;
                self.forget(submit);
            }
        } else if !self.wait_disconnected && !self.machine.is_serving() {
            self.refuse(submit, Failure::ConnectionLoss { sent: false });
        } else {
            self.backlog.push_back(submit);
        }
    }

    fn can_send(&self) -> bool {
        self.machine.is_serving() && self.machine.output().len() < MAX_OUT
    }

    fn send_backlog(&mut self, now: Instant) {
        while !self.backlog.is_empty() && self.can_send() {
            let Some(mut submit) = self.backlog.pop_front() else {
                break;
            };
            if submit.request.token.claim() {
                self.machine.send(submit.request, now);
            } else {
                self.finished += 1;
                self.forget(submit);
            }
        }
    }

    /// Answers a request that was not sent, after what was decided before it.
    fn refuse(&mut self, submit: Submit, failure: Failure) {
        let Request { change, token, .. } = submit.request;
        if let Some(Change::Arm(arming)) = change.map(|change| *change) {
            self.effects.push(Effect::Forget {
                id: arming.id,
                sink: arming.sink,
            });
        }
        let outcome = Outcome::Failed(failure);
        self.effects.push(Effect::Done {
            token,
            outcome,
            armed: None,
        });
    }

    /// Drops a request that nobody waits for any more.
    fn forget(&mut self, submit: Submit) {
        if let Some(Change::Arm(arming)) = submit.request.change.map(|change| *change) {
            self.effects.push(Effect::Forget {
                id: arming.id,
                sink: arming.sink,
            });
        }
    }

    fn refuse_backlog(&mut self, failure: Failure) {
        for submit in std::mem::take(&mut self.backlog) {
            self.refuse(submit, failure);
        }
    }

    fn set_hosts(&mut self, hosts: Vec<Host>, now: Instant) {
        let current = self.connection.as_ref().map(|c| c.host.clone());
        if self.dialer.replace(hosts, current.as_ref()) && current.is_some() {
            self.lost("the list of servers changed", now);
        }
    }

    fn on_close(&mut self, deadline: Instant, now: Instant) {
        if self.closing.is_some() {
            return;
        }
        // Without a session there is nothing to tell a server.
        let deadline = if self.machine.identity().0 != 0 {
            deadline
        } else {
            now
        };
        self.closing = Some(Closing {
            deadline,
            asked: false,
        });
    }

    fn tick(&mut self, now: Instant) {
        if let Err(why) = self.machine.tick(now) {
            self.lost(why, now);
        }
        self.dialer.tick(now, self.poll.registry(), &self.shared);
        if self.next_sweep.is_some_and(|at| now >= at) {
            self.sweep(now);
        }
        if self.next_probe.is_some_and(|at| now >= at) {
            self.probe(now);
        }
        if let Some(closing) = &mut self.closing {
            if !closing.asked && self.backlog.is_empty() {
                closing.asked = self.machine.close_session(now);
            }
            if now >= closing.deadline {
                self.ended = true;
            }
        }
    }

    /// Times out what only a callback waits for.
    fn sweep(&mut self, now: Instant) {
        let mut next: Option<Instant> = None;
        let mut look = |token: &mut Completion| {
            let timed_out = token.expire(now);
            if let Some(at) = token.watched_deadline() {
                next = Some(next.map_or(at, |known| known.min(at)));
            }
            timed_out
        };
        for sent in self.machine.in_flight_mut() {
            if let crate::session::link::Owner::User(token) = &mut sent.owner {
                look(token);
            }
        }
        let mut kept = VecDeque::with_capacity(self.backlog.len());
        for mut submit in std::mem::take(&mut self.backlog) {
            if look(&mut submit.request.token) {
                self.finished += 1;
                self.forget(submit);
            } else {
                kept.push_back(submit);
            }
        }
        self.backlog = kept;
        self.next_sweep = next.map(|at| at.max(now + SWEEP_EVERY));
    }

    fn next_deadline(&self) -> Option<Instant> {
        [
            self.machine.deadline(),
            self.dialer.deadline(),
            self.next_sweep,
            self.next_probe,
            self.closing.as_ref().map(|closing| closing.deadline),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn greet(&mut self, dialed: Dialed, now: Instant) {
        let Dialed {
            token,
            host,
            transport,
        } = dialed;
        let frames = FrameBuffer::new(self.max_reply);
        self.connection = Some(Connection {
            token,
            host,
            transport,
            frames,
            writable: true,
            readable: false,
            at_end: false,
            since: now,
        });
        self.machine.connected(now);
        self.write(now);
    }

    /// One write for all that is queued.
    fn write(&mut self, now: Instant) {
        loop {
            let Some(connection) = &mut self.connection else {
                return;
            };
            let bytes = self.machine.output();
            if bytes.is_empty() || !connection.writable {
                return;
            }
            match connection.transport.write(bytes) {
                Ok(0) => return self.lost("the socket takes no more bytes", now),
                Ok(n) => {
                    // A short write means a full socket; the poll tells when there is room.
                    connection.writable = n == bytes.len();
                    self.machine.wrote(n, now);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    connection.writable = false;
                    return;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.lost(&error.to_string(), now),
            }
            if !self.backlog.is_empty() {
                self.send_backlog(now);
            }
        }
    }

    /// Reads what arrived and hands each frame to the machine. A read that does not fill the
    /// buffer has emptied the socket, which saves the read that would say so; unless the stream
    /// is at its end, which comes with no event of its own. Bounded, so that a server that never
    /// pauses cannot keep pings and requests from being written.
    fn read(&mut self, now: Instant) {
        for _ in 0..MAX_READS {
            let Some(connection) = &mut self.connection else {
                return;
            };
            if !connection.readable {
                return;
            }
            let space = connection.frames.space();
            let room = space.len();
            match connection.transport.read(space) {
                Ok(0) => {
                    let why = if connection.frames.is_empty() {
                        "the server closed the connection"
                    } else {
                        "the server closed the connection in the middle of a frame"
                    };
                    return self.lost(why, now);
                }
                Ok(n) => {
                    connection.frames.filled(n);
                    connection.readable = n == room || connection.at_end;
                    self.machine.heard(now);
                    self.progressed = true;
                    if let Err(drop) = self.digest(now) {
                        return self.on_drop(drop, now);
                    }
                    self.carry_out(now);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    connection.readable = false;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.lost(&error.to_string(), now),
            }
        }
    }

    fn digest(&mut self, now: Instant) -> Result<(), Drop> {
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        loop {
            match connection.frames.next() {
                Ok(Some(piece)) => self.machine.on_piece(piece, now, &mut self.effects)?,
                Ok(None) => return Ok(()),
                Err(error) => return Err(Drop::Protocol(error.to_string())),
            }
        }
    }

    fn on_drop(&mut self, drop: Drop, now: Instant) {
        match drop {
            Drop::Protocol(why) => self.lost(&why, now),
            Drop::Expired => self.lost("the server says that the session expired", now),
            Drop::AuthFailed => self.ended = true,
            Drop::Closed => {
                self.shared.publish_session_ended();
                self.ended = true;
            }
        }
    }

    /// The connection is of no more use.
    fn lost(&mut self, why: &str, now: Instant) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        let served = self.machine.state().is_connected();
        if served {
            log::warn!("{}: connection lost: {why}", connection.host);
            self.lost_at = Some(now);
            self.turned_away = false;
        } else if self.machine.state() == SessionState::Disconnected {
            self.turned_away = true;
        }
        let why = if served || self.machine.last_zxid() == 0 {
            why.to_owned()
        } else {
            // Servers refuse a client that has seen more than they have by closing, wordlessly.
            format!("{why}; it may be behind, not serving yet, or have too many connections")
        };
        self.dialer.failed(&connection.host, &why);
        // A connection that lived for a moment only must not be a reason to hurry.
        if served && now.saturating_duration_since(connection.since) >= GOOD_AFTER {
            self.dialer.calm();
        }
        drop(connection);
        self.machine.disconnected(&mut self.effects);
        self.next_probe = None;
        self.shared.publish_host(None);
        if self.closing.as_ref().is_some_and(|closing| closing.asked) {
            self.ended = true;
        } else if served {
            self.dialer.search(now);
        } else {
            self.dialer.go_on(now);
        }
        if self.turned_away && !self.probing && self.next_probe.is_none() {
            let over = self.lost_at.map(|at| at + self.machine.timeout());
            self.next_probe = over.map(|at| at.max(now));
        }
        self.carry_out(now);
    }

    fn probe(&mut self, now: Instant) {
        self.next_probe = None;
        let question = match self.machine.state() {
            SessionState::ReadOnly => Question::WhoTakesWrites,
            SessionState::Disconnected => Question::WhoIsBehind {
                last_zxid: self.machine.last_zxid(),
            },
            _ => return,
        };
        self.probing = probe::ask(self.shared.clone(), self.dialer.hosts(), question);
        if !self.probing {
            self.next_probe = Some(now + PROBE_LAST);
        }
    }

    fn on_verdict(&mut self, verdict: Verdict, now: Instant) {
        self.probing = false;
        match (verdict, self.machine.state()) {
            (Verdict::ReadWrite(host), SessionState::ReadOnly) => {
                log::info!("{host} takes writes, leaving the read-only server");
                self.dialer.prefer(host);
                self.dialer.calm();
                self.lost("a server that takes writes was found", now);
            }
            (Verdict::AllBehind, SessionState::Disconnected) => {
                log::error!(
                    "all servers are behind zxid 0x{:x}, which this session has seen: the \
                     ensemble lost data, and the session with it",
                    self.machine.last_zxid()
                );
                self.machine.give_up_session(&mut self.effects);
            }
            (_, SessionState::ReadOnly | SessionState::Disconnected) => {
                self.next_probe = Some(now + self.probe_pause);
                self.probe_pause = (self.probe_pause * 2).min(PROBE_LAST);
            }
            _ => {}
        }
    }

    /// Carries out what the machine said, in its order, then wakes those who got an answer.
    fn carry_out(&mut self, now: Instant) {
        while !self.effects.is_empty() {
            for effect in std::mem::take(&mut self.effects) {
                self.on_effect(effect, now);
            }
        }
        self.shared.gate.leave(std::mem::take(&mut self.finished));
        if std::mem::take(&mut self.progressed) {
            self.publish_progress();
        }
        for waiter in self.to_wake.drain(..) {
            waiter.unpark();
        }
    }

    fn on_effect(&mut self, effect: Effect<Completion, Sink>, now: Instant) {
        match effect {
            Effect::Done {
                token,
                outcome,
                armed,
            } => {
                self.finished += 1;
                match (token.finish(outcome), armed) {
                    (Ok(waiter), _) => self.to_wake.extend(waiter),
                    // The caller timed out before its watch was set: take the watch back.
                    (Err(Abandoned), Some((path, id))) => {
                        self.machine.unwatch(&path, id, now, &mut self.effects);
                    }
                    (Err(Abandoned), None) => {}
                }
            }
            Effect::Fire {
                id,
                sink,
                event,
                last,
            } => match sink {
                Sink::Callback => {
                    let _ = self.shared.events.send(Event::Fire { id, event, last });
                }
                Sink::Handle(handle) => {
                    let _ = handle.send(event);
                }
            },
            Effect::Forget { id, sink } => {
                if matches!(sink, Sink::Callback) {
                    let _ = self.shared.events.send(Event::Forget(id));
                }
            }
            Effect::Publish(state) => self.on_publish(state),
            Effect::Announce(state) => self.on_announce(state, now),
        }
    }

    fn on_publish(&mut self, state: SessionState) {
        if state.is_connected() {
            self.shared
                .publish_session(self.machine.identity().0, self.machine.timeout());
        }
        self.publish_progress();
        self.shared.publish(self.machine.epoch(), state);
    }

    fn publish_progress(&self) {
        let machine = &self.machine;
        self.shared.publish_progress(
            machine.last_zxid(),
            machine.lease_until(),
            machine.watch_count(),
        );
    }

    fn on_announce(&mut self, state: SessionState, now: Instant) {
        match state {
            SessionState::Connected | SessionState::ReadOnly => self.on_connected(state, now),
            SessionState::Disconnected if !self.wait_disconnected => {
                self.refuse_backlog(Failure::ConnectionLoss { sent: false });
            }
            // Nothing that was meant for the old session may leak into the next.
            SessionState::Expired => self.refuse_backlog(Failure::SessionExpired { sent: false }),
            SessionState::AuthFailed => self.refuse_backlog(Failure::AuthFailed { sent: false }),
            SessionState::Closed => self.refuse_backlog(Failure::Closed { sent: false }),
            _ => {}
        }
        log::info!("session 0x{:x}: {state}", self.machine.identity().0);
        self.subscribers
            .retain(|subscriber| subscriber.send(state).is_ok());
        let _ = self.shared.events.send(Event::State(state));
        match state {
            SessionState::Expired if self.first.is_some() => {
                self.tell_first(Err(FirstFailure::SessionExpired));
                self.ended = true;
            }
            SessionState::Expired if self.renew && self.closing.is_none() => {
                self.lost_at = None;
                self.machine.renew(&mut self.effects);
            }
            SessionState::Expired => self.ended = true,
            SessionState::AuthFailed => {
                self.tell_first(Err(FirstFailure::AuthFailed));
                self.ended = true;
            }
            _ => {}
        }
    }

    fn on_connected(&mut self, state: SessionState, now: Instant) {
        if let Some(connection) = &self.connection {
            self.dialer.connected_to(&connection.host);
            self.shared.publish_host(Some(connection.host.to_string()));
        }
        self.lost_at = None;
        self.turned_away = false;
        self.probe_pause = PROBE_FIRST;
        self.next_probe =
            (state == SessionState::ReadOnly && self.read_only).then(|| now + PROBE_FIRST);
        self.tell_first(Ok(()));
        self.send_backlog(now);
    }

    fn tell_first(&mut self, result: Result<(), FirstFailure>) {
        if let Some(first) = self.first.take() {
            let _ = first.send(result);
        }
    }
}

/// Commands taken in one turn at most.
const MAX_COMMANDS: usize = 4096;

/// Bytes in the outgoing buffer above which requests stay queued: they are copied once, when
/// there is room.
const MAX_OUT: usize = 1024 * 1024;

const SWEEP_EVERY: Duration = Duration::from_millis(50);

/// A connection that served this long ends the series of failures before it.
const GOOD_AFTER: Duration = Duration::from_secs(1);

/// Reads in one turn at most.
const MAX_READS: usize = 16;

const PROBE_FIRST: Duration = Duration::from_millis(100);
const PROBE_LAST: Duration = Duration::from_secs(1);
