//! The machine alone, with a clock that the tests turn: no socket, no thread, no waiting.

// The doubled attribute tells scripts/check-floors that these files are tests.
#[cfg(test)]
mod connection;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod watching;

use std::time::{Duration, Instant};

use super::*;
use crate::proto::connect::ConnectResponse;
use crate::proto::frame::Piece;
use crate::proto::header::XID_NOTIFICATION;
use crate::proto::jute::Reader;
use crate::session::batch::Ended;
use crate::session::watches::WatchKind;
use crate::session::{Arming, Reply};

/// A machine whose tokens and sinks are numbers, its clock, and what it said.
struct Bench {
    machine: Machine<u32, u32>,
    now: Instant,
    fx: Vec<Effect<u32, u32>>,
}

/// An effect, in a form that compares.
#[derive(Clone, Debug, PartialEq)]
enum Said {
    Answered(u32, i32),
    Failed(u32, Failure),
    AnsweredAll(u32, Vec<Result<i32, Failure>>),
    /// Watch, event, last.
    Heard(u64, EventKind, bool),
    Forgot(u64),
    Published(SessionState),
    Announced(SessionState),
}

/// A frame that the machine wrote. The greeting has xid and op 0 and its whole body.
#[derive(Clone, Debug, PartialEq)]
struct Wrote {
    xid: i32,
    op: i32,
    body: Vec<u8>,
}

const GREETING: i32 = 0;
const T: Duration = Duration::from_millis(6_000);

fn options() -> Options {
    Options { timeout: T, read_only: false, first_xid: 1, max_reply: 1 << 20 }
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

impl Bench {
    fn new() -> Self {
        Self::with(options())
    }

    fn with(options: Options) -> Self {
        Self { machine: Machine::new(options), now: Instant::now(), fx: Vec::new() }
    }

    fn read_only() -> Self {
        Self::with(Options { read_only: true, ..options() })
    }

    /// A machine that serves in session 7, what it said and wrote until then forgotten.
    fn serving() -> Self {
        let mut bench = Self::new();
        bench.serve();
        bench.said();
        bench
    }

    fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    fn connect(&mut self) {
        self.machine.connected(self.now);
    }

    /// Connects, and is granted session 7 with the timeout that was asked for.
    fn serve(&mut self) {
        self.connect();
        self.grant(7, 6_000, false).unwrap();
        self.wrote();
    }

    fn grant(&mut self, id: i64, timeout_ms: i32, read_only: bool) -> Result<(), Drop> {
        let answer = ConnectResponse {
            timeout_ms,
            session_id: id,
            password: vec![9; 16],
            read_only: Some(read_only),
        };
        let mut bytes = Vec::new();
        answer.encode(&mut bytes);
        self.frame(&bytes)
    }

    /// What a server says of a session that it does not know.
    fn refuse_session(&mut self) -> Result<(), Drop> {
        self.grant(0, 0, false)
    }

    fn frame(&mut self, bytes: &[u8]) -> Result<(), Drop> {
        self.machine.heard(1, self.now);
        self.machine.on_piece(Piece::Frame(bytes), self.now, &mut self.fx)
    }

    fn reply(&mut self, xid: i32, zxid: i64, err: i32, body: &[u8]) -> Result<(), Drop> {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        writer.i32(xid);
        writer.i64(zxid);
        writer.i32(err);
        bytes.extend_from_slice(body);
        self.frame(&bytes)
    }

    /// The head of an answer that is too large to read.
    fn oversize(&mut self, xid: i32) -> Result<(), Drop> {
        let mut head = Vec::new();
        let mut writer = Writer::new(&mut head);
        writer.i32(xid);
        writer.i64(5);
        writer.i32(0);
        let piece = Piece::Oversize { head: &head, len: 2 << 20 };
        self.machine.on_piece(piece, self.now, &mut self.fx)
    }

    fn event(&mut self, kind: i32, path: &str, zxid: i64) -> Result<(), Drop> {
        let mut body = Vec::new();
        let mut writer = Writer::new(&mut body);
        writer.i32(kind);
        writer.i32(3);
        writer.string(path);
        self.reply(XID_NOTIFICATION, zxid, 0, &body)
    }

    fn lose(&mut self) {
        self.machine.disconnected(&mut self.fx);
    }

    fn request(&mut self, op: OpCode, token: u32, change: Option<Change<u32>>) {
        let mut frame = Vec::new();
        // A path and the watch flag, as the reads have them.
        build(&mut frame, op, |out| {
            Writer::new(out).string("/a");
            out.push(u8::from(change.is_some()));
        });
        let request =
            Request { frame: frame.into(), count: 1, op, change: change.map(Box::new), token };
        self.machine.send(request, self.now);
    }

    /// Sends `count` gets as one batch.
    fn batch(&mut self, count: u32, token: u32) {
        let mut frame = Vec::new();
        for n in 0..count {
            build(&mut frame, OpCode::GetData, |out| {
                Writer::new(out).string(&format!("/{n}"));
                out.push(0);
            });
        }
        let request =
            Request { frame: frame.into(), count, op: OpCode::GetData, change: None, token };
        self.machine.send(request, self.now);
    }

    fn get(&mut self, token: u32) {
        self.request(OpCode::GetData, token, None);
    }

    /// Sends a request that arms watch `id`; its token is the same number.
    fn arm(&mut self, op: OpCode, kind: WatchKind, path: &str, id: u64) {
        let arming = Arming { path: path.into(), kind, id: WatchId(id), sink: id as u32 };
        self.request(op, id as u32, Some(Change::Arm(arming)));
    }

    /// What was said since the last time.
    fn said(&mut self) -> Vec<Said> {
        let said = |effect| match effect {
            Effect::Done { token, outcome: Outcome::Reply(Reply { code, .. }), .. } => {
                Said::Answered(token, code)
            }
            Effect::Done { token, outcome: Outcome::Failed(failure), .. } => {
                Said::Failed(token, failure)
            }
            Effect::Done { token, outcome: Outcome::Batch(answers), count, .. } => {
                let ended = answers.each().take(count as usize).map(|ended| match ended {
                    Ended::Reply { code, .. } => Ok(code),
                    Ended::Failed(failure) => Err(failure),
                });
                Said::AnsweredAll(token, ended.collect())
            }
            Effect::Fire { id, event, last, .. } => Said::Heard(id.0, event.kind, last),
            Effect::Forget { id, .. } => Said::Forgot(id.0),
            Effect::Publish(state) => Said::Published(state),
            Effect::Announce(state) => Said::Announced(state),
        };
        std::mem::take(&mut self.fx).into_iter().map(said).collect()
    }

    /// The frames that were written since the last time.
    fn wrote(&mut self) -> Vec<Wrote> {
        let bytes = self.machine.output().to_vec();
        if !bytes.is_empty() {
            self.machine.wrote(bytes.len(), self.now);
        }
        let mut frames = Vec::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let len = i32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
            let (frame, after) = rest[4..].split_at(len);
            rest = after;
            // The greeting begins with protocol version 0, which no request has as its xid.
            let xid = i32::from_be_bytes(frame[..4].try_into().unwrap());
            frames.push(if xid == 0 {
                Wrote { xid, op: GREETING, body: frame.to_vec() }
            } else {
                Wrote {
                    xid,
                    op: i32::from_be_bytes(frame[4..8].try_into().unwrap()),
                    body: frame[8..].to_vec(),
                }
            });
        }
        frames
    }

    fn wrote_ops(&mut self) -> Vec<i32> {
        self.wrote().into_iter().map(|frame| frame.op).collect()
    }

    /// What the greeting told of: last zxid, timeout, session.
    fn greeted(&mut self) -> (i64, i32, i64) {
        let wrote = self.wrote();
        let body = &wrote[0].body;
        assert_eq!(wrote[0].op, GREETING);
        let mut reader = Reader::new(&body[4..]);
        (reader.i64().unwrap(), reader.i32().unwrap(), reader.i64().unwrap())
    }
}
