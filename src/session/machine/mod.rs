//! What survives a reconnect, and the rules by which it does.

mod receive;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::proto::connect::ConnectRequest;
use crate::proto::event::EventKind;
use crate::proto::frame::{self};
use crate::proto::header::{self, XID_AUTH, XID_PING};
use crate::proto::jute::Writer;
use crate::proto::opcode::OpCode;
use crate::proto::request::{AuthRequest, RemoveWatchesRequest};
use crate::session::event::WatchedEvent;
use crate::session::heartbeat::Heartbeat;
use crate::session::link::{LOST, Link, Owner, Phase, Sent};
use crate::session::state::SessionState;
use crate::session::watches::{Disarm, WatchId, WatchKind, Watches};
use crate::session::{Change, Drop, Effect, Failure, Outcome, Request};

/// What the machine is told once.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The session timeout to ask for.
    pub(crate) timeout: Duration,
    /// Whether a server without quorum will do.
    pub(crate) read_only: bool,
    /// The first xid of each connection; 1 but in tests of the wrap.
    pub(crate) first_xid: i32,
    /// The largest answer that is read.
    pub(crate) max_reply: usize,
}

/// Credentials, replayed on each connection.
struct Auth<T> {
    scheme: String,
    credential: Vec<u8>,
    /// Who waits for the first acknowledgement.
    token: Option<T>,
}

/// The session machine; see the [module](super) for the picture.
pub(crate) struct Machine<T, W> {
    options: Options,
    state: SessionState,
    /// Counts sessions: requests and pinned handles name the session that they are for.
    epoch: u64,
    id: i64,
    password: Vec<u8>,
    /// Whether the session was given by the user, to be re-attached or to fail.
    attached: bool,
    last_zxid: i64,
    negotiated: Duration,
    /// The send time of the latest request that the server answered.
    lease_from: Option<Instant>,
    auths: Vec<Auth<T>>,
    watches: Watches<W>,
    /// Whether a server of this session did not know how to take a watch back: those before 3.5.
    /// It closes the connection on being asked, so it is asked once a session.
    keeps_watches: bool,
    link: Option<Link<T, W>>,
    /// Whether any connection of this session was announced: the next one is a reconnect.
    was_connected: bool,
}

type Effects<T, W> = Vec<Effect<T, W>>;

impl<T, W: Clone> Machine<T, W> {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            state: SessionState::Connecting,
            epoch: 1,
            id: 0,
            password: vec![0; PASSWORD_LEN],
            attached: false,
            last_zxid: 0,
            negotiated: options.timeout,
            lease_from: None,
            auths: Vec::new(),
            watches: Watches::new(),
            keeps_watches: false,
            link: None,
            was_connected: false,
            options,
        }
    }

    /// Goes on with a session that another client left.
    pub(crate) fn attach(&mut self, id: i64, password: Vec<u8>) {
        self.id = id;
        self.password = password;
        self.attached = true;
    }

    /// Whether the user named the session, and no server took it yet.
    pub(crate) fn is_attached(&self) -> bool {
        self.attached
    }

    pub(crate) fn state(&self) -> SessionState {
        self.state
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The session's id and password; id 0 until a server with quorum gave one.
    pub(crate) fn identity(&self) -> (i64, &[u8]) {
        (self.id, &self.password)
    }

    pub(crate) fn last_zxid(&self) -> i64 {
        self.last_zxid
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.negotiated
    }

    /// Until when the server cannot have given the session up.
    pub(crate) fn lease_until(&self) -> Option<Instant> {
        self.lease_from.map(|from| from + self.negotiated)
    }

    pub(crate) fn watch_count(&self) -> usize {
        self.watches.len()
    }

    /// Whether requests may be [`send`](Self::send)ed now.
    pub(crate) fn is_serving(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.phase == Phase::Serving)
    }

    pub(crate) fn output(&self) -> &[u8] {
        self.link.as_ref().map(Link::output).unwrap_or_default()
    }

    pub(crate) fn wrote(&mut self, n: usize, now: Instant) {
        if let Some(link) = &mut self.link {
            link.wrote(n, now);
        }
    }

    /// Bytes came, of whatever kind.
    pub(crate) fn heard(&mut self, n: usize, now: Instant) {
        if let Some(link) = &mut self.link {
            link.beat.read(n, now);
        }
    }

    /// Whether an answer is to come.
    pub(crate) fn has_in_flight(&self) -> bool {
        self.link.as_ref().is_some_and(Link::has_in_flight)
    }

    /// Those in flight, for the deadlines that nobody waits for.
    pub(crate) fn in_flight_mut(&mut self) -> impl Iterator<Item = &mut Sent<T>> {
        self.link.iter_mut().flat_map(Link::in_flight_mut)
    }

    /// A socket is open: greet. After the end there is nobody to greet as.
    pub(crate) fn connected(&mut self, now: Instant) {
        if self.state.is_terminal() {
            return;
        }
        let beat = Heartbeat::new(self.negotiated, now);
        let mut link = Link::new(beat, now, self.options.first_xid);
        let request = ConnectRequest {
            last_zxid: self.last_zxid,
            timeout_ms: i32::try_from(self.options.timeout.as_millis()).unwrap_or(i32::MAX),
            session_id: self.id,
            password: &self.password,
            read_only: self.options.read_only,
        };
        link.write_raw(|out| {
            let start = frame::begin_frame(out);
            request.encode(out);
            frame::end_frame(out, start);
        });
        self.link = Some(link);
    }

    /// The one place where the state changes: it is published before anything else follows.
    fn enter(&mut self, next: SessionState, fx: &mut Effects<T, W>) {
        debug_assert!(self.state.may_become(next), "{} cannot become {next}", self.state);
        self.state = next;
        fx.push(Effect::Publish(next));
    }

    /// The socket is gone, for whatever reason.
    pub(crate) fn disconnected(&mut self, fx: &mut Effects<T, W>) {
        let Some(mut link) = self.link.take() else {
            return;
        };
        let was = self.state;
        if was.is_connected() {
            self.enter(SessionState::Disconnected, fx);
        }
        self.fail_in_flight(&mut link, LOST, fx);
        self.watches.connection_lost();
        if was.is_connected() {
            fx.push(Effect::Announce(self.state));
        }
    }

    /// Queues a request; only while [`is_serving`](Self::is_serving).
    pub(crate) fn send(&mut self, mut request: Request<T, W>, now: Instant) {
        let Some(link) = &mut self.link else { return };
        if request.count != 1 {
            let Request { frame, count, op, token, .. } = request;
            return link.send_batch(&frame, token, count, op, now);
        }
        match request.change.as_deref() {
            Some(Change::Arm(arming)) => {
                let ask = self.watches.arming(&arming.path, arming.kind);
                // The watch flag is the last byte of the reads that have one.
                if let (false, Some(flag)) = (ask, request.frame.last_mut()) {
                    *flag = 0;
                }
            }
            // Servers before 3.9 would take the persistent watch with the one-shot ones.
            Some(Change::Remove { path, watcher_type }) if self.watches.is_shared(path) => {
                if let Some(check) = request.frame.get_mut(8..12) {
                    if *watcher_type != 3 {
                        check.copy_from_slice(&OpCode::CheckWatches.raw().to_be_bytes());
                    }
                }
            }
            _ => {}
        }
        let Request { frame, op, change, token, .. } = request;
        link.send(&frame, Sent::new(Owner::User(token), op), change, now);
    }

    /// Adds credentials; `token` hears of the first acknowledgement.
    pub(crate) fn add_auth(&mut self, scheme: String, credential: Vec<u8>, token: Option<T>) {
        let known = |auth: &Auth<T>| {
            auth.token.is_none() && auth.scheme == scheme && auth.credential == credential
        };
        // The same credentials again are sent again, but not twice on each connection to come.
        let index = match self.auths.iter().position(known) {
            Some(index) => index,
            None => {
                self.auths.push(Auth { scheme, credential, token: None });
                self.auths.len() - 1
            }
        };
        if let Some(auth) = self.auths.get_mut(index) {
            auth.token = token;
        }
        if let Some(link) = self.link.as_mut().filter(|link| link.phase != Phase::Greeting) {
            send_auth(link, &self.auths, index);
        }
    }

    /// Takes back a watch whose handle is gone.
    pub(crate) fn unwatch(
        &mut self,
        path: &str,
        id: WatchId,
        now: Instant,
        fx: &mut Effects<T, W>,
    ) {
        if let Some((sink, disarm)) = self.watches.remove(path, id) {
            fx.push(Effect::Forget { id, sink });
            self.disarm(path, disarm, now);
        }
    }

    /// Takes every watcher of a `WatcherType` off `path`, here only; each hears that it ended.
    pub(crate) fn end_watches(
        &mut self,
        path: &str,
        watcher_type: i32,
        fx: &mut Effects<T, W>,
    ) -> usize {
        let state = self.state;
        let of_type = |kind: WatchKind| kind.is_of_type(watcher_type);
        self.watches.take(path, of_type, |path, id, sink| {
            let event = ended_event(path, state);
            fx.push(Effect::Fire { id, sink, event, last: true });
        })
    }

    fn end_lasting_watches(&mut self, fx: &mut Effects<T, W>) {
        let mut paths = Vec::new();
        self.watches.lasting(|path, _, _| paths.push(path.clone()));
        for path in paths {
            for lasting in [4, 5] {
                self.end_watches(&path, lasting, fx);
            }
        }
    }

    /// Asks the server to end the session; the answer comes as [`Drop::Closed`].
    pub(crate) fn close_session(&mut self, now: Instant) -> bool {
        let Some(link) = &mut self.link else {
            return false;
        };
        if link.phase != Phase::Serving {
            return false;
        }
        let mut bytes = Vec::with_capacity(12);
        build(&mut bytes, OpCode::CloseSession, |_| {});
        link.send(&bytes, Sent::new(Owner::CloseSession, OpCode::CloseSession), None, now);
        link.phase = Phase::Closing;
        true
    }

    /// Enters a terminal state: everything fails, every watch gets its last call.
    pub(crate) fn terminate(&mut self, state: SessionState, fx: &mut Effects<T, W>) {
        if self.state.is_terminal() {
            return;
        }
        let failure = match state {
            SessionState::AuthFailed => Failure::AuthFailed { sent: true },
            _ => Failure::Closed { sent: true },
        };
        self.enter(state, fx);
        if let Some(mut link) = self.link.take() {
            self.fail_in_flight(&mut link, failure, fx);
        }
        self.fail_auths(failure, fx);
        fx.push(Effect::Announce(state));
        self.end_all_watches(state, fx);
    }

    /// What is due by the clock. `Err` says why the connection has to go.
    pub(crate) fn tick(&mut self, now: Instant) -> Result<(), &'static str> {
        let greeting = self.greeting_timeout();
        let Some(link) = &mut self.link else {
            return Ok(());
        };
        match link.phase {
            Phase::Greeting if now >= link.greeted_at + greeting => {
                return Err("no answer to the greeting in time");
            }
            Phase::Greeting => {}
            _ if link.beat.dead(now) => return Err("no sign of life in time"),
            _ if link.beat.ping_due(now) => {
                link.write_raw(|out| {
                    let start = frame::begin_frame(out);
                    header::request_header(out, XID_PING, OpCode::Ping);
                    frame::end_frame(out, start);
                });
                link.beat.pinged(now);
            }
            _ => {}
        }
        Ok(())
    }

    /// When [`tick`](Self::tick) has to be called at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let link = self.link.as_ref()?;
        Some(match link.phase {
            Phase::Greeting => link.greeted_at + self.greeting_timeout(),
            _ => link.beat.deadline(),
        })
    }

    /// A server that accepts and never answers must not use up the session: a third of it, but
    /// time enough for a busy server.
    fn greeting_timeout(&self) -> Duration {
        (self.negotiated / 3).clamp(Duration::from_millis(300), Duration::from_secs(5))
    }

    /// The server knows who we are: set the watches again, then let requests through.
    fn establish(&mut self, now: Instant, fx: &mut Effects<T, W>) {
        let Some(link) = &mut self.link else { return };
        link.phase = Phase::Serving;
        let mut bytes = Vec::new();
        self.watches.batches(SET_WATCHES_MAX_LEN, |batch| {
            let two = batch.needs_two();
            let op = if two { OpCode::SetWatches2 } else { OpCode::SetWatches };
            bytes.clear();
            build(&mut bytes, op, |out| batch.encode(out, self.last_zxid));
            link.send(&bytes, Sent::new(Owner::SetWatches, op), None, now);
        });
        let read_only = link.read_only;
        self.enter(if read_only { SessionState::ReadOnly } else { SessionState::Connected }, fx);
        fx.push(Effect::Announce(self.state));
        if self.was_connected {
            // The server arms persistent watches again but does not replay what they missed.
            let state = self.state;
            self.watches.lasting(|path, id, sink| {
                let event =
                    WatchedEvent { kind: EventKind::Resync, path: path.clone(), state, zxid: None };
                fx.push(Effect::Fire { id, sink: sink.clone(), event, last: false });
            });
        }
        self.was_connected = true;
        self.attached = false;
    }

    fn disarm(&mut self, path: &str, disarm: Disarm, now: Instant) {
        let Disarm::Remove(kind) = disarm else { return };
        if self.keeps_watches {
            // What is left there fires once at most, and then finds nobody.
            return;
        }
        let Some(link) = &mut self.link else { return };
        if link.phase != Phase::Serving {
            return;
        }
        let mut bytes = Vec::new();
        build(&mut bytes, OpCode::RemoveWatches, |out| {
            RemoveWatchesRequest { path, kind }.encode(&mut Writer::new(out));
        });
        link.send(&bytes, Sent::new(Owner::Housekeeping, OpCode::RemoveWatches), None, now);
    }

    /// The server's verdict: the session is gone. The caller drops the connection.
    fn expire(&mut self, fx: &mut Effects<T, W>) {
        self.epoch += 1;
        self.enter(SessionState::Expired, fx);
        if let Some(mut link) = self.link.take() {
            self.fail_in_flight(&mut link, Failure::SessionExpired { sent: true }, fx);
        }
        fx.push(Effect::Announce(self.state));
        self.end_all_watches(self.state, fx);
        self.id = 0;
        self.password = vec![0; PASSWORD_LEN];
        self.last_zxid = 0;
        self.lease_from = None;
        self.keeps_watches = false;
        self.negotiated = self.options.timeout;
        self.was_connected = false;
    }

    /// Every server is provably behind what this session saw, and the session's time is over:
    /// the ensemble lost its data, and the session with it.
    pub(crate) fn give_up_session(&mut self, fx: &mut Effects<T, W>) {
        if self.state == SessionState::Disconnected {
            self.expire(fx);
        }
    }

    /// Starts over after an expiry.
    pub(crate) fn renew(&mut self, fx: &mut Effects<T, W>) {
        if self.state == SessionState::Expired {
            self.enter(SessionState::Connecting, fx);
            fx.push(Effect::Announce(self.state));
        }
    }

    fn fail_in_flight(&mut self, link: &mut Link<T, W>, failure: Failure, fx: &mut Effects<T, W>) {
        // The answers that came are those of the first batch.
        let mut answers = link.take_answers();
        let mut count = u32::try_from(answers.len()).unwrap_or(u32::MAX);
        for (sent, change) in link.drain() {
            count += u32::from(sent.is_in_batch());
            if let Some(Change::Arm(arming)) = change.map(|change| *change) {
                // The connection is gone, and with it what the server held: nothing to take back.
                self.watches.not_armed(&arming.path, arming.kind);
                fx.push(Effect::Forget { id: arming.id, sink: arming.sink });
            }
            match sent.owner {
                Owner::User(token) if sent.ends_batch => {
                    let mut answers = std::mem::take(&mut answers);
                    answers.fail(failure);
                    let outcome = Outcome::Batch(answers);
                    let count = std::mem::take(&mut count);
                    fx.push(Effect::Done { token, outcome, count, armed: None });
                }
                Owner::User(token) => {
                    let outcome = Outcome::Failed(failure);
                    fx.push(Effect::Done { token, outcome, count: 1, armed: None });
                }
                _ => {}
            }
        }
    }

    fn fail_auths(&mut self, failure: Failure, fx: &mut Effects<T, W>) {
        for token in self.auths.iter_mut().filter_map(|auth| auth.token.take()) {
            let outcome = Outcome::Failed(failure);
            fx.push(Effect::Done { token, outcome, count: 1, armed: None });
        }
    }

    fn end_all_watches(&mut self, state: SessionState, fx: &mut Effects<T, W>) {
        self.watches.end(|path, id, sink| {
            let event = ended_event(path, state);
            fx.push(Effect::Fire { id, sink, event, last: true });
        });
    }
}

impl<T, W> std::fmt::Debug for Machine<T, W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Neither the session's password nor the credentials: both open doors.
        f.debug_struct("Machine")
            .field("state", &self.state)
            .field("epoch", &self.epoch)
            .field("id", &format_args!("0x{:x}", self.id))
            .finish_non_exhaustive()
    }
}

fn ended_event(path: &Arc<str>, state: SessionState) -> WatchedEvent {
    WatchedEvent { kind: EventKind::Ended, path: path.clone(), state, zxid: None }
}

fn send_auth<T, W>(link: &mut Link<T, W>, auths: &[Auth<T>], index: usize) {
    let Some(auth) = auths.get(index) else { return };
    link.write_raw(|out| {
        let start = frame::begin_frame(out);
        header::request_header(out, XID_AUTH, OpCode::Auth);
        let request = AuthRequest { scheme: &auth.scheme, credential: &auth.credential };
        request.encode(&mut Writer::new(out));
        frame::end_frame(out, start);
    });
    link.auth_in_flight.push_back(index);
}

/// A whole frame with an xid to be filled in.
pub(crate) fn build(out: &mut Vec<u8>, op: OpCode, body: impl FnOnce(&mut Vec<u8>)) {
    let start = frame::begin_frame(out);
    header::request_header(out, 0, op);
    body(out);
    frame::end_frame(out, start);
}

fn protocol(what: &str) -> Drop {
    Drop::Protocol(what.to_owned())
}

const PASSWORD_LEN: usize = 16;

/// Java's figure, but of encoded bytes, where Java counts characters: ZOOKEEPER-706.
const SET_WATCHES_MAX_LEN: usize = 128 * 1024;

#[cfg(test)]
mod tests;
