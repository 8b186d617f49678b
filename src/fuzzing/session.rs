//! The whole session machine: connections, requests, watches and the clock in any order, against
//! a server that says anything.
//!
//! The input is a script; each step is one decision of the driver above or of the server. What the
//! machine does is checked by [`Books`] (what is owed to whom) and [`Server`] (what was asked).

mod books;
mod server;

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::books::{Books, Token};
use self::server::Server;
use super::BASE;
use super::script::Script;
use crate::proto::code::Code;
use crate::proto::frame::{FrameBuffer, Piece};
use crate::proto::jute::Writer;
use crate::proto::opcode::OpCode;
use crate::proto::request::{AddWatchRequest, RemoveWatchesRequest, WatchedRead};
use crate::session::state::SessionState;
use crate::session::watches::{WatchId, WatchKind};
use crate::session::{Arming, Change, Drop, Machine, Options, Request, machine};

/// Runs the script. The first byte picks the options, the rest are steps.
///
/// Checked throughout: no panic, no illegal change of state, the effects of one cause in their
/// order, memory by what arrived. And at the end: one outcome for each request, one end for each
/// watch, no more.
pub fn session(data: &[u8], allow: &dyn Fn(usize)) {
    let mut script = Script(data);
    let options = script.byte();
    let first_xid = if options & 1 == 0 { 1 } else { i32::MAX - 2 };
    let max_reply = if options & 2 == 0 { 1 << 20 } else { 100 };
    let mut machine = Machine::new(Options {
        timeout: Duration::from_secs(10),
        read_only: options & 4 != 0,
        first_xid,
        max_reply,
    });
    if options & 8 != 0 {
        machine.attach(7, vec![7; 16]);
    }
    let mut run = Run {
        machine,
        now: Instant::now(),
        max_reply,
        connection: None,
        books: Books::default(),
        auths: 0,
        over: false,
        allow,
    };
    while !script.is_over() && !run.over {
        run.step(&mut script, first_xid);
        run.carry_out();
    }
    run.machine.terminate(SessionState::Closed, &mut run.books.effects);
    run.books.carry_out();
    run.books.nothing_is_owed();
    assert_eq!(run.machine.watch_count(), 0);
}

struct Run<'a> {
    machine: Machine<Token, WatchId>,
    now: Instant,
    max_reply: usize,
    connection: Option<Connection>,
    books: Books,
    auths: usize,
    /// The driver has ended: the machine is in a terminal state.
    over: bool,
    allow: &'a dyn Fn(usize),
}

/// What the driver holds for one connection, and who is at its other end.
struct Connection {
    frames: FrameBuffer,
    server: Server,
}

impl Run<'_> {
    fn step(&mut self, script: &mut Script<'_>, first_xid: i32) {
        match script.byte() % 20 {
            0 => self.connect(first_xid),
            1 => self.disconnect(),
            2 => self.tick(u64::from(script.byte()) * 40),
            3 | 4 => self.request(script),
            5 => self.add_auth(script),
            6 => self.unwatch(script),
            7 => {
                let path = script.pick(&PATHS);
                self.machine.end_watches(path, script.pick(&TYPES), &mut self.books.effects);
            }
            8 => drop(self.machine.close_session(self.now)),
            9 => self.write(usize::from(script.byte()) + 1),
            10 => self.write(usize::MAX),
            11 => {
                let len = script.byte();
                if let Some(Connection { server, .. }) = &mut self.connection {
                    server.in_step = false;
                    self.books.forged = true;
                }
                self.hear(&[script.bytes(usize::from(len))]);
            }
            12 => {
                // The driver drops the connection before it gives the session up.
                self.disconnect();
                self.machine.give_up_session(&mut self.books.effects);
                self.expired();
            }
            13 => match script.byte() % 8 {
                0 => {
                    self.machine.terminate(SessionState::Closed, &mut self.books.effects);
                    self.over = true;
                }
                1..5 => self.batch(script),
                _ => {}
            },
            n => {
                let Some(Connection { server, .. }) = &mut self.connection else { return };
                let said = match n {
                    14 => server.greeting(script, self.machine.identity().0),
                    15 | 16 => server.answer(script),
                    17 => server.notification(script),
                    18 => server.special(script),
                    _ => server.too_large(script, self.max_reply),
                };
                for (member, what, in_turn) in server.said.drain(..) {
                    self.books.say(member, what, in_turn);
                }
                self.books.forged |= server.forged;
                let cut = usize::from(script.byte()).min(said.len());
                let (now, later) = said.split_at(cut);
                self.hear(&[now, later]);
                if self.connection.as_ref().is_some_and(|c| c.server.in_step) {
                    self.books.all_came();
                }
            }
        }
    }

    fn connect(&mut self, first_xid: i32) {
        let looking = [SessionState::Connecting, SessionState::Disconnected];
        if self.connection.is_some() || !looking.contains(&self.machine.state()) {
            return;
        }
        self.machine.connected(self.now);
        let frames = FrameBuffer::new(self.max_reply);
        self.connection = Some(Connection { frames, server: Server::new(first_xid) });
        self.books.new_server();
    }

    fn disconnect(&mut self) {
        self.connection = None;
        self.machine.disconnected(&mut self.books.effects);
        assert_eq!(self.machine.output(), [0_u8; 0]);
        assert_eq!(self.machine.deadline(), None);
    }

    fn tick(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        if self.machine.tick(self.now).is_err() {
            return self.disconnect();
        }
        let due = self.machine.deadline().is_some_and(|at| at <= self.now);
        assert!(!due, "a deadline that the tick did not move: the driver would spin");
    }

    fn request(&mut self, script: &mut Script<'_>) {
        let (op, kind, watcher_type) = script.pick(&REQUESTS);
        let path = script.pick(&PATHS);
        if !self.machine.is_serving() {
            return;
        }
        let watch = kind.is_some();
        let mut frame = Vec::new();
        machine::build(&mut frame, op, |out| {
            let mut w = Writer::new(out);
            match op {
                OpCode::AddWatch => AddWatchRequest { path, mode: 0 }.encode(&mut w),
                OpCode::RemoveWatches => {
                    RemoveWatchesRequest { path, kind: watcher_type }.encode(&mut w);
                }
                _ => WatchedRead { path, watch }.encode(&mut w),
            }
        });
        let path: Arc<str> = path.into();
        let change = match kind {
            Some(kind) => {
                let id = self.books.new_watch();
                Some(Box::new(Change::Arm(Arming { path, kind, id, sink: id })))
            }
            None if watcher_type != 0 => Some(Box::new(Change::Remove { path, watcher_type })),
            None => None,
        };
        let token = self.books.new_request();
        self.machine.send(Request { frame: frame.into(), count: 1, op, change, token }, self.now);
    }

    fn batch(&mut self, script: &mut Script<'_>) {
        let count = script.pick(&[2, 3, 5, 40]);
        if !self.machine.is_serving() {
            return;
        }
        let (token, members) = self.books.new_batch(count);
        let (mut frame, op) = (Vec::new(), OpCode::GetData);
        for member in members {
            machine::build(&mut frame, op, |out| {
                WatchedRead { path: &member.path(), watch: false }.encode(&mut Writer::new(out));
            });
        }
        self.machine
            .send(Request { frame: frame.into(), count, op, change: None, token }, self.now);
    }

    /// Few: each is sent again on each connection.
    fn add_auth(&mut self, script: &mut Script<'_>) {
        let credential = script.bytes(2).to_vec();
        if self.auths < 8 {
            self.auths += 1;
            let token = (script.byte() % 2 == 0).then(|| self.books.new_auth());
            self.machine.add_auth("digest".into(), credential, token);
        }
    }

    fn unwatch(&mut self, script: &mut Script<'_>) {
        let path = script.pick(&PATHS);
        let id = WatchId(u64::from(script.byte()));
        self.machine.unwatch(path, id, self.now, &mut self.books.effects);
    }

    /// The socket takes up to `most` bytes, and the server sees them.
    fn write(&mut self, most: usize) {
        let Some(connection) = &mut self.connection else { return };
        let output = self.machine.output();
        let (taken, _) = output.split_at(most.min(output.len()));
        let n = taken.len();
        if n > 0 {
            connection.server.hear(taken);
            self.machine.wrote(n, self.now);
        }
    }

    /// The socket brings bytes, in as many reads.
    fn hear(&mut self, reads: &[&[u8]]) {
        for bytes in reads {
            let mut rest = *bytes;
            while !rest.is_empty() {
                let Some(Connection { frames, .. }) = &mut self.connection else { return };
                let space = frames.space();
                let n = rest.len().min(space.len());
                let (now, later) = rest.split_at(n);
                if let Some(space) = space.get_mut(..n) {
                    space.copy_from_slice(now);
                }
                frames.filled(n);
                rest = later;
                self.machine.heard(n, self.now);
                if let Err(drop) = self.digest() {
                    return self.on_drop(&drop);
                }
            }
        }
    }

    fn digest(&mut self) -> Result<(), Drop> {
        let held = 512 * (1 + self.books.len() + self.auths) + 2 * self.machine.output().len();
        let Some(Connection { frames, .. }) = &mut self.connection else { return Ok(()) };
        loop {
            let piece = frames.next().map_err(|error| Drop::Protocol(error.to_string()))?;
            let Some(piece) = piece else { return Ok(()) };
            let (Piece::Frame(bytes) | Piece::Oversize { head: bytes, .. }) = piece;
            let zxid = self.machine.last_zxid();

            (self.allow)(BASE / 4 + 16 * bytes.len() + held);
            let done = self.machine.on_piece(piece, self.now, &mut self.books.effects);
            (self.allow)(usize::MAX);

            let moved = self.machine.last_zxid() != zxid;
            let expired = self.machine.state() == SessionState::Expired;
            assert!(!moved || expired || self.books.has_reply(), "only replies move the zxid");
            self.books.carry_out();
            done?;
        }
    }

    /// As the driver does it.
    fn on_drop(&mut self, drop: &Drop) {
        self.books.carry_out();
        match drop {
            Drop::Protocol(why) => {
                let in_step = self.connection.as_ref().is_some_and(|c| c.server.in_step);
                assert!(!in_step, "a sound server was left: {why}");
                self.disconnect();
            }
            Drop::Expired => {
                self.disconnect();
                self.expired();
            }
            Drop::AuthFailed => {
                assert_eq!(self.machine.state(), SessionState::AuthFailed);
                self.over = true;
            }
            Drop::Closed => {
                self.machine.terminate(SessionState::Closed, &mut self.books.effects);
                self.over = true;
            }
        }
    }

    fn expired(&mut self) {
        self.carry_out();
        if self.machine.state() == SessionState::Expired {
            assert_eq!(self.machine.watch_count(), 0, "a watch outlived its session");
            assert_eq!((self.machine.identity().0, self.machine.last_zxid()), (0, 0));
            self.machine.renew(&mut self.books.effects);
        }
    }

    fn carry_out(&mut self) {
        self.books.carry_out();
        assert_eq!(self.machine.watch_count(), self.books.armed());
        assert_eq!(self.machine.state(), self.books.state());
        if let Some(until) = self.machine.lease_until() {
            assert!(until <= self.now + self.machine.timeout(), "a lease from the future");
        }
    }
}

/// Operation, the watch that it sets, the `WatcherType` that it removes.
const REQUESTS: [(OpCode, Option<WatchKind>, i32); 13] = [
    (OpCode::GetData, None, 0),
    (OpCode::GetData, Some(WatchKind::Data), 0),
    (OpCode::Exists, Some(WatchKind::Data), 0),
    (OpCode::GetChildren2, Some(WatchKind::Child), 0),
    (OpCode::AddWatch, Some(WatchKind::Persistent), 0),
    (OpCode::AddWatch, Some(WatchKind::Recursive), 0),
    (OpCode::RemoveWatches, None, 1),
    (OpCode::RemoveWatches, None, 2),
    (OpCode::RemoveWatches, None, 3),
    (OpCode::RemoveWatches, None, 4),
    (OpCode::RemoveWatches, None, 5),
    (OpCode::Multi, None, 0),
    (OpCode::Sync, None, 0),
];

const PATHS: [&str; 7] = ["/", "/a", "/a/b", "/a/b/c", "/b", "/é", "/zookeeper/config"];
const TYPES: [i32; 6] = [3, 1, 2, 4, 5, 0];
const CODES: [i32; 10] = [
    0,
    0,
    0,
    Code::NoNode.raw(),
    Code::NoWatcher.raw(),
    Code::SessionExpired.raw(),
    Code::SessionMoved.raw(),
    Code::AuthFailed.raw(),
    Code::MarshallingError.raw(),
    i32::MIN,
];
const EVENTS: [i32; 6] = [1, 2, 3, 4, 0, -1];
