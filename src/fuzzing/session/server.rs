//! A server that hears what we send and may answer anything.

use std::collections::VecDeque;

use super::books::{Member, Said};
use super::{CODES, EVENTS, PATHS};
use crate::fuzzing::script::Script;
use crate::proto::code::Code;
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
    /// Whether it answered what was not asked: it may be asked just that next.
    pub(super) forged: bool,
    next_xid: i32,
    unanswered: VecDeque<Asked>,
    /// What it said to requests of batches, and whether it was their turn, until the books have it.
    pub(super) said: Vec<(Member, Said, bool)>,
    zxid: i64,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    xid: i32,
    /// If it is one of a batch.
    member: Option<Member>,
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
            forged: false,
            next_xid: first_xid,
            unanswered: VecDeque::new(),
            said: Vec::new(),
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
                    let path = header.string().ok();
                    let member = path.as_deref().and_then(Member::of_path);
                    self.note(xid.unwrap_or_default(), op.unwrap_or_default(), member);
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

    fn note(&mut self, xid: i32, op: Option<OpCode>, member: Option<Member>) {
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
                self.unanswered.push_back(Asked { xid, member });
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
        self.forged |= asked.is_none();
        let xid = asked.map_or(self.next_xid, |asked| asked.xid);
        let len = usize::from(script.byte() % 64);
        let (zxid, body) = (self.zxid(script), script.bytes(len));
        match asked.and_then(|asked| asked.member) {
            Some(member) => {
                self.in_step &= (place == 0 || err != 0) && is_of_request(err);
                let said = Said::Reply { code: err, zxid, body: body.to_vec() };
                self.said.push((member, said, place == 0));
            }
            // Refused watches, or a body that says that the session moved: not worth telling
            // apart.
            None => self.in_step &= asked.is_some() && place == 0 && err == 0 && len == 0,
        }
        reply(ReplyHeader { xid, zxid, err }, body)
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
    pub(super) fn too_large(&mut self, script: &mut Script<'_>, max_reply: usize) -> Vec<u8> {
        let len = script.pick(&[101, 1_000, (1 << 20) + 1, i32::MAX]);
        let err = script.pick(&CODES);
        let asked = self.unanswered.pop_front();
        self.forged |= asked.is_none();
        let xid = asked.map_or_else(|| script.pick(&[-1, -2, -4, 1]), |asked| asked.xid);
        let zxid = self.zxid(script);
        let mut out = len.to_be_bytes().to_vec();
        ReplyHeader { xid, zxid, err }.encode(&mut Writer::new(&mut out));
        let sent = usize::try_from(len).unwrap_or(0).min(1_000);
        let body = vec![0; sent - HEADER];
        out.extend_from_slice(&body);
        let whole = out.len() == 4 + usize::try_from(len).unwrap_or(usize::MAX);
        let member = asked.and_then(|asked| asked.member);
        self.in_step &= member.is_some() && whole && is_of_request(err);
        if let Some(member) = member {
            let said = match whole && sent <= max_reply {
                true => Said::Reply { code: err, zxid, body },
                false => Said::TooLarge,
            };
            self.said.push((member, said, true));
        }
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

/// Whether a code says nothing of the session, only of its request.
fn is_of_request(code: i32) -> bool {
    !matches!(Code::from_raw(code), Code::SessionExpired | Code::SessionMoved)
}

/// The bytes of a reply's header.
const HEADER: usize = 16;

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
