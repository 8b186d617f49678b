//! A server that hears what we send and may answer anything.

use std::collections::VecDeque;

use super::{CODES, EVENTS, PATHS};
use crate::fuzzing::script::Script;
use crate::proto::connect::ConnectResponse;
use crate::proto::event::WatcherEvent;
use crate::proto::frame::{begin_frame, end_frame};
use crate::proto::header::{ReplyHeader, XID_AUTH, XID_NOTIFICATION, XID_PING};
use crate::proto::jute::{Reader, Writer};
use crate::proto::opcode::OpCode;

/// One end of one connection.
#[derive(Debug)]
pub(super) struct Server {
    /// The start of a frame that is not all there.
    heard: Vec<u8>,
    greeted: bool,
    welcomed: bool,
    closing: bool,
    /// Pings and credentials not answered yet.
    pings: usize,
    auths: usize,
    /// Whether this server said only what a sound one may say: then nothing that it said is a
    /// reason to drop the connection.
    pub(super) in_step: bool,
    next_xid: i32,
    unanswered: VecDeque<i32>,
    zxid: i64,
}

impl Server {
    pub(super) fn new(first_xid: i32) -> Self {
        Self {
            heard: Vec::new(),
            greeted: false,
            welcomed: false,
            closing: false,
            pings: 0,
            auths: 0,
            in_step: true,
            next_xid: first_xid,
            unanswered: VecDeque::new(),
            zxid: 1,
        }
    }

    /// Takes what the client sent: a greeting, then requests with contiguous xids.
    pub(super) fn hear(&mut self, bytes: &[u8]) {
        self.heard.extend_from_slice(bytes);
        let heard = std::mem::take(&mut self.heard);
        let mut reader = Reader::new(&heard);
        loop {
            let before = reader.clone();
            match reader.buffer() {
                Ok(Some(frame)) if self.greeted => {
                    let mut header = Reader::new(frame);
                    let (xid, op) = (header.i32(), header.i32().map(OpCode::from_raw));
                    self.note(xid.unwrap_or_default(), op.unwrap_or_default());
                }
                Ok(Some(frame)) => {
                    assert!(frame.len() >= 29, "no greeting: {frame:?}");
                    self.greeted = true;
                }
                Ok(None) => unreachable!("we sent a length of -1"),
                // The rest is still to come.
                Err(_) => {
                    self.heard = before.rest().to_vec();
                    return;
                }
            }
        }
    }

    fn note(&mut self, xid: i32, op: Option<OpCode>) {
        match xid {
            XID_PING => {
                assert_eq!(op, Some(OpCode::Ping));
                self.pings += 1;
            }
            XID_AUTH => {
                assert_eq!(op, Some(OpCode::Auth));
                self.auths += 1;
            }
            _ => {
                assert!(op.is_some(), "an operation that no server knows");
                assert!(!self.closing, "{op:?} after the end of the session");
                assert_eq!(xid, self.next_xid);
                self.next_xid = if xid == i32::MAX { 1 } else { xid + 1 };
                self.closing = op == Some(OpCode::CloseSession);
                self.unanswered.push_back(xid);
            }
        }
    }

    pub(super) fn greeting(&mut self, script: &mut Script<'_>, asked_for: i64) -> Vec<u8> {
        let timeout_ms = script.pick(&[10_000, 3_000, 1, 0, -1, i32::MAX]);
        let read_only = script.pick(&[Some(false), None, Some(true)]);
        let session_id = match asked_for {
            0 => 7,
            id => id + i64::from(script.byte() % 8 == 1),
        };
        let granted = timeout_ms > 0 || asked_for != 0;
        self.in_step &= !self.welcomed && granted && read_only != Some(true);
        self.welcomed = true;
        let password = vec![7; 16];
        frame(|out| ConnectResponse { timeout_ms, session_id, password, read_only }.encode(out))
    }

    /// Answers the oldest request, or a later one, or none that there is.
    pub(super) fn answer(&mut self, script: &mut Script<'_>) -> Vec<u8> {
        let (err, place) = (script.pick(&CODES), script.byte());
        let place = if place < 128 { 0 } else { usize::from(place - 128) % 4 };
        let asked = self.unanswered.remove(place);
        let xid = asked.unwrap_or(self.next_xid);
        let len = usize::from(script.byte() % 64);
        // Refused watches, or a body that says that the session moved: not worth telling apart.
        self.in_step &= asked.is_some() && place == 0 && err == 0 && len == 0;
        reply(ReplyHeader { xid, zxid: self.zxid(script), err }, script.bytes(len))
    }

    pub(super) fn notification(&mut self, script: &mut Script<'_>) -> Vec<u8> {
        self.in_step &= self.welcomed;
        let path = script.pick(&PATHS).into();
        let mut body = Vec::new();
        let event = WatcherEvent { kind: script.pick(&EVENTS), state: 3, path };
        event.encode(&mut Writer::new(&mut body));
        reply(ReplyHeader { xid: XID_NOTIFICATION, zxid: self.zxid(script), err: 0 }, &body)
    }

    /// The answer to a ping or to credentials.
    pub(super) fn special(&mut self, script: &mut Script<'_>) -> Vec<u8> {
        let xid = script.pick(&[XID_PING, XID_AUTH]);
        let err = if xid == XID_AUTH { script.pick(&CODES) } else { 0 };
        let asked = if xid == XID_PING { &mut self.pings } else { &mut self.auths };
        self.in_step &= self.welcomed && *asked > 0;
        *asked = asked.saturating_sub(1);
        reply(ReplyHeader { xid, zxid: self.zxid(script), err }, &[])
    }

    /// The start of a frame over the limit, and so much of the rest as the script gives.
    pub(super) fn too_large(&mut self, script: &mut Script<'_>) -> Vec<u8> {
        self.in_step = false;
        let len = script.pick(&[101, 1_000, (1 << 20) + 1, i32::MAX]);
        let err = script.pick(&CODES);
        let xid = self.unanswered.pop_front().unwrap_or_else(|| script.pick(&[-1, -2, -4, 1]));
        let mut out = len.to_be_bytes().to_vec();
        ReplyHeader { xid, zxid: self.zxid(script), err }.encode(&mut Writer::new(&mut out));
        let sent = usize::try_from(len).unwrap_or(0).min(1_000);
        out.resize(4 + sent, 0);
        out
    }

    /// Forward, standing still, or none.
    fn zxid(&mut self, script: &mut Script<'_>) -> i64 {
        match script.byte() % 4 {
            0 => -1,
            step => {
                self.zxid += i64::from(step) - 1;
                self.zxid
            }
        }
    }
}

fn reply(header: ReplyHeader, body: &[u8]) -> Vec<u8> {
    frame(|out| {
        header.encode(&mut Writer::new(out));
        out.extend_from_slice(body);
    })
}

fn frame(body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    let start = begin_frame(&mut out);
    body(&mut out);
    end_frame(&mut out, start);
    out
}
