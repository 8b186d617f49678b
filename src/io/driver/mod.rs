//! The IO thread: one turn after the other of *take what callers queued, write it all, read all
//! that arrived, carry out what the session machine says, sleep*.
//!
//! It owns the socket, the session and the watch table. The poll's time-out is its only timer.

mod commands;
mod effects;
mod glance;
mod outlook;

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::Arc;
use std::thread::Thread;
use std::time::{Duration, Instant};

pub(crate) use commands::{Command, Submit};
use crossbeam_channel::{Receiver, Sender};
use glance::Glance;
use mio::{Events, Poll, Token};

use crate::io::completion::Completion;
use crate::io::dial::{Dialed, Dialer};
use crate::io::dispatch::StateCallback;
use crate::io::life::{Life, LifeLine};
use crate::io::mailbox::Post;
use crate::io::shared::Shared;
use crate::io::transport::Transport;
use crate::proto::frame::FrameBuffer;
use crate::session::hosts::{Host, HostList};
use crate::session::state::SessionState;
use crate::session::{Drop, Effect, Machine, Options};

/// Where a watch's events go.
#[derive(Clone, Debug)]
pub(crate) enum Sink {
    /// To the callback that the event thread holds under the watch's id.
    Callback,
    /// Straight into a handle's queue, so that a slow callback cannot hold it up.
    Handle(Post),
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
    spare: Vec<Effect<Completion, Sink>>,
    /// Callers to wake once all of a read is completed, and whether some are in the crowd.
    to_wake: Vec<Thread>,
    /// Watch handles whose readers are to be woken then.
    to_call: Vec<Post>,
    call_crowd: bool,
    /// Callers answered since they were last woken.
    answered: usize,
    /// Whether somebody was woken in this turn.
    woke: bool,
    glance: Glance,
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
    /// The life of the session, while it surely lives.
    life: Option<(Arc<Life>, LifeLine)>,
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
            spare: Vec::new(),
            to_wake: Vec::new(),
            to_call: Vec::new(),
            call_crowd: false,
            answered: 0,
            woke: false,
            glance: Glance::new(),
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
            life: None,
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
            if self.look_again() {
                continue;
            }
            let more = self.connection.as_ref().is_some_and(|c| c.readable);
            let wait = if !more && self.shared.may_sleep(&self.queue) {
                self.next_deadline().map(|at| at.saturating_duration_since(now))
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
            self.glance.polled();
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
            self.take_in(now);
        }
        self.finish(SessionState::Closed);
    }

    /// Reads, and tells what came. False if nothing did.
    fn take_in(&mut self, now: Instant) -> bool {
        let came = self.read(now);
        self.carry_out(now);
        if std::mem::take(&mut self.woke) {
            // Whoever got an answer is likely to ask again at once: let him, before we sleep
            // and have to be woken for it.
            std::thread::yield_now();
        }
        came
    }

    /// Before sleeping: lets others have the CPU, and looks whether answers came of it.
    fn look_again(&mut self) -> bool {
        let Some(connection) = &mut self.connection else { return false };
        let expects = self.machine.has_in_flight() && self.queue.is_empty();
        if connection.readable || !expects || !self.glance.is_due() {
            return false;
        }
        std::thread::yield_now();
        // As far as we know.
        connection.readable = true;
        let came = self.take_in(Instant::now());
        self.glance.looked(came);
        came
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
        self.refuse_queued();
        self.carry_out(Instant::now());
        self.shared.publish_host(None);
    }

    fn tick(&mut self, now: Instant) {
        if let Err(why) = self.machine.tick(now) {
            self.lost(why, now);
        }
        self.look_at_life(now);
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

    fn next_deadline(&self) -> Option<Instant> {
        let life = self.life.as_ref().and_then(|_| self.life_until());
        let closing = self.closing.as_ref().map(|closing| closing.deadline);
        let probe = earlier(self.next_sweep, self.next_probe);
        let session = earlier(self.machine.deadline(), life);
        earlier(earlier(session, self.dialer.deadline()), earlier(probe, closing))
    }

    fn greet(&mut self, dialed: Dialed, now: Instant) {
        let Dialed { token, host, transport } = dialed;
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
    /// pauses cannot keep pings and requests from being written. False if nothing came.
    fn read(&mut self, now: Instant) -> bool {
        let mut came = false;
        for _ in 0..MAX_READS {
            let Some(connection) = &mut self.connection else {
                break;
            };
            if !connection.readable {
                break;
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
                    self.lost(why, now);
                    break;
                }
                Ok(n) => {
                    came = true;
                    connection.frames.filled(n);
                    connection.readable = n == room || connection.at_end;
                    self.machine.heard(n, now);
                    self.progressed = true;
                    if let Err(drop) = self.digest(now) {
                        self.on_drop(drop, now);
                        break;
                    }
                    self.give(now);
                    self.carry_out(now);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    connection.readable = false;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.lost(&error.to_string(), now);
                    break;
                }
            }
        }
        came
    }

    fn digest(&mut self, now: Instant) -> Result<(), Drop> {
        loop {
            let Some(connection) = &mut self.connection else {
                return Ok(());
            };
            match connection.frames.next() {
                Ok(Some(piece)) => {
                    self.machine.on_piece(piece, now, &mut self.effects)?;
                    if self.effects.len() >= GIVE_AT {
                        self.give(now);
                    }
                }
                Ok(None) => return Ok(()),
                Err(error) => return Err(Drop::Protocol(error.to_string())),
            }
        }
    }

    fn on_drop(&mut self, drop: Drop, now: Instant) {
        match drop {
            Drop::Protocol(why) => self.lost(&why, now),
            Drop::Expired => self.lost("the server says that the session expired", now),
            Drop::AuthFailed => {
                log::warn!("the server refused the credentials; the client is closed");
                self.ended = true;
            }
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
        let since = connection.since;
        if served && now.saturating_duration_since(since) >= GOOD_AFTER {
            self.dialer.calm();
        }
        drop(connection);
        self.machine.disconnected(&mut self.effects);
        self.next_probe = None;
        self.shared.publish_host(None);
        if self.closing.as_ref().is_some_and(|closing| closing.asked) {
            self.ended = true;
        } else if served {
            self.dialer.search_after(since, now);
        } else {
            self.dialer.go_on(now);
        }
        if self.turned_away && !self.probing && self.next_probe.is_none() {
            let over = self.lost_at.map(|at| at + self.machine.timeout());
            self.next_probe = over.map(|at| at.max(now));
        }
        self.carry_out(now);
    }
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// So many answers are put in their places together, while they are warm in the cache. Nobody is
/// woken before all of a read are.
const GIVE_AT: usize = 32;

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
