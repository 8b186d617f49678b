//! What the counting gates of `scripts/bench/gates` call; no part of the API.
//!
//! The way of a request in single steps, as the client takes them, but without threads, sockets
//! or kernel: what they cost can then be counted to the instruction.

use std::time::{Duration, Instant};

use crate::client::chroot::Chroot;
use crate::client::op::sealed::{Answer, Body, Encode};
use crate::client::op::{Create, GetData, Operation, SetData};
use crate::io::completion::Completion;
use crate::io::slot::Slot;
use crate::proto::buffer::Buffer;
use crate::proto::code::Code;
use crate::proto::frame::{FrameBuffer, Piece};
use crate::proto::opcode::OpCode;
use crate::session::{Machine, Options, Outcome, Reply, Request};

/// Encodes, and decodes, for a client without a chroot.
#[derive(Debug)]
pub struct Codec(Chroot);

impl Default for Codec {
    fn default() -> Self {
        Self(Chroot::new(""))
    }
}

impl Codec {
    /// Encodes a request, gives its length.
    pub fn get(&self, path: &str) -> usize {
        self.encode(GetData::new(path))
    }

    /// As [`get`](Self::get).
    pub fn set(&self, path: &str, data: &[u8]) -> usize {
        self.encode(SetData::new(path, data))
    }

    /// As [`get`](Self::get).
    pub fn create(&self, path: &str, data: &[u8]) -> usize {
        self.encode(Create::new(path).data(data))
    }

    fn encode(&self, mut op: impl Operation) -> usize {
        let mut out = Buffer::default();
        Encode::encode(&mut op, &self.0, &mut out).map_or(0, |_| out.len())
    }

    /// Decodes the answer to a get, without its header; gives the length of the data.
    pub fn got(&self, body: &[u8]) -> usize {
        let body = Body::Own(Buffer::copy_of(body));
        let op = OpCode::GetData;
        let answer = Answer { op, code: Code::Ok, zxid: 1, body, chroot: &self.0 };
        GetData::decode(answer, ()).map_or(0, |(data, _)| data.len())
    }
}

/// An outcome goes from one end of a slot to the other, by way of no other thread. True if it came.
pub fn hand_off() -> bool {
    let slot = Slot::take();
    let completion = Completion::slot(&slot);
    let sent = completion.claim();
    let reply = Reply { op: OpCode::Sync, code: 0, zxid: 1, body: Buffer::default() };
    let finished = completion.finish(Outcome::Reply(reply)).is_ok();
    sent && finished && slot.try_take().is_some()
}

/// Cuts a stream into frames, in the pieces in which a socket brings it.
#[derive(Debug)]
pub struct Cutter(FrameBuffer);

impl Default for Cutter {
    fn default() -> Self {
        Self(FrameBuffer::new(1024 * 1024))
    }
}

impl Cutter {
    /// How many frames there were.
    pub fn cut(&mut self, stream: &[u8]) -> usize {
        let mut frames = 0;
        take_in(&mut self.0, stream, |_| frames += 1);
        frames
    }
}

/// The session machine: what the IO thread does with a request and its answer, but for the socket.
#[derive(Debug)]
pub struct Session {
    machine: Machine<u32, ()>,
    frames: FrameBuffer,
    now: Instant,
}

impl Session {
    /// `greeting` is what a server answers to the ConnectRequest.
    pub fn new(greeting: &[u8]) -> Self {
        let timeout = Duration::from_secs(30);
        let options = Options { timeout, read_only: false, first_xid: 1, max_reply: 1024 * 1024 };
        let now = Instant::now();
        let frames = FrameBuffer::new(1024 * 1024);
        let mut session = Self { machine: Machine::new(options), frames, now };
        session.machine.connected(now);
        session.wrote();
        session.answers(greeting);
        assert!(session.machine.is_serving());
        session
    }

    /// Sends a get of `path`.
    pub fn get(&mut self, path: &str, codec: &Codec) {
        let mut frame = Buffer::default();
        if let Ok((encoded, ())) = GetData::new(path).encode(&codec.0, &mut frame) {
            let request = Request { frame, count: 1, op: encoded.op, change: None, token: 0 };
            self.machine.send(request, self.now);
        }
    }

    /// The socket took all that was to be written; gives its length.
    pub fn wrote(&mut self) -> usize {
        let len = self.machine.output().len();
        self.machine.wrote(len, self.now);
        len
    }

    /// Takes in a server's answers; gives how much came of them.
    pub fn answers(&mut self, stream: &[u8]) -> usize {
        let (machine, now) = (&mut self.machine, self.now);
        let mut effects = Vec::new();
        machine.heard(stream.len(), now);
        take_in(&mut self.frames, stream, |piece| {
            let taken = machine.on_piece(piece, now, &mut effects);
            assert!(taken.is_ok(), "{taken:?}");
        });
        effects.len()
    }
}

/// A read brings what there is room for.
fn take_in(frames: &mut FrameBuffer, mut stream: &[u8], mut each: impl FnMut(Piece<'_>)) {
    while !stream.is_empty() {
        let space = frames.space();
        let n = space.len().min(stream.len());
        let (now, later) = stream.split_at(n);
        if let Some(space) = space.get_mut(..n) {
            space.copy_from_slice(now);
        }
        frames.filled(n);
        stream = later;
        while let Ok(Some(piece)) = frames.next() {
            each(piece);
        }
    }
}
