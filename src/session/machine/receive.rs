//! What the server says, and what follows from it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Effects, Machine, build, protocol, send_auth};
use crate::proto::code::Code;
use crate::proto::connect::ConnectResponse;
use crate::proto::event::{EventKind, WatcherEvent};
use crate::proto::frame::Piece;
use crate::proto::header::{ReplyHeader, XID_AUTH, XID_NOTIFICATION, XID_PING};
use crate::proto::jute::{Reader, Writer};
use crate::proto::opcode::OpCode;
use crate::proto::reply;
use crate::proto::request::AddWatchRequest;
use crate::session::event::WatchedEvent;
use crate::session::heartbeat::Heartbeat;
use crate::session::link::{Answered, Link, Match, Owner, Phase, Sent};
use crate::session::state::SessionState;
use crate::session::watches::{Disarm, WatchId, WatchKind};
use crate::session::{Arming, Change, Drop, Effect, Failure, Outcome, Reply};

impl<T, W: Clone> Machine<T, W> {
    /// One frame, or the head of one that is too large to read.
    pub(crate) fn on_piece(
        &mut self,
        piece: Piece<'_>,
        now: Instant,
        fx: &mut Effects<T, W>,
    ) -> Result<(), Drop> {
        let Some(link) = &mut self.link else {
            return Ok(());
        };
        if link.phase == Phase::Greeting {
            return match piece {
                Piece::Frame(bytes) => self.on_greeting(bytes, now, fx),
                Piece::Oversize { .. } => Err(protocol("the answer to the greeting is too large")),
            };
        }
        link.beat.framed(now);
        match piece {
            Piece::Frame(bytes) => self.on_frame(bytes, now, fx),
            Piece::Oversize { head, len } => self.on_oversize(head, len, now, fx),
        }
    }

    fn on_greeting(
        &mut self,
        bytes: &[u8],
        now: Instant,
        fx: &mut Effects<T, W>,
    ) -> Result<(), Drop> {
        let answer = ConnectResponse::decode(bytes).map_err(|e| protocol(&e.to_string()))?;
        let read_only = answer.read_only.unwrap_or(false);
        if read_only && !self.options.read_only {
            return Err(protocol("a read-only server took a client that wants writes"));
        }
        if answer.timeout_ms <= 0 {
            if self.id == 0 {
                return Err(protocol("a new session was refused"));
            }
            self.expire(fx);
            return Err(Drop::Expired);
        }
        if !read_only && self.id != 0 && answer.session_id != self.id {
            // The server made a new session without saying that the old one is gone; some do
            // (reliability.md A6). It is gone all the same. The new one is not taken over: a
            // fresh greeting will make one that both sides agree on.
            self.expire(fx);
            return Err(Drop::Expired);
        }
        // A server without quorum hands out ids that no other server knows.
        if !read_only {
            self.id = answer.session_id;
            self.password = answer.password;
        }
        self.negotiated = Duration::from_millis(u64::try_from(answer.timeout_ms).unwrap_or(0));
        let Some(link) = &mut self.link else {
            return Ok(());
        };
        link.read_only = read_only;
        self.lease_from = self.lease_from.max(Some(link.greeted_at));
        link.beat = Heartbeat::new(self.negotiated, now);
        link.phase = Phase::Authenticating;
        for index in 0..self.auths.len() {
            send_auth(link, &self.auths, index);
        }
        if self.auths.is_empty() {
            self.establish(now, fx);
        }
        Ok(())
    }

    fn on_frame(&mut self, bytes: &[u8], now: Instant, fx: &mut Effects<T, W>) -> Result<(), Drop> {
        let mut reader = Reader::new(bytes);
        let header = ReplyHeader::decode(&mut reader).map_err(|e| protocol(&e.to_string()))?;
        match header.xid {
            XID_NOTIFICATION => self.on_event(&header, reader.rest(), now, fx),
            XID_PING => {
                if let Some(link) = &mut self.link {
                    let answered = link.beat.ponged();
                    self.lease_from = self.lease_from.max(answered);
                }
                Ok(())
            }
            XID_AUTH => self.on_auth(&header, now, fx),
            _ => self.on_reply(&header, reader.rest(), now, fx),
        }
    }

    fn on_event(
        &mut self,
        header: &ReplyHeader,
        body: &[u8],
        now: Instant,
        fx: &mut Effects<T, W>,
    ) -> Result<(), Drop> {
        let heard = WatcherEvent::decode(body).map_err(|e| protocol(&e.to_string()))?;
        let kind = EventKind::from_raw(heard.kind);
        let zxid = (header.zxid > 0).then_some(header.zxid);
        let state = self.state;
        let path = &*heard.path;
        if self.watches.repeats(kind, path) {
            return Ok(());
        }
        let parent = self.watches.implied(kind, path);
        let of_parent = parent.map(|parent| (EventKind::ChildrenChanged, parent));
        for (kind, path) in [(kind, path)].into_iter().chain(of_parent) {
            let disarm = self.watches.fire(kind, path, |id, sink, path, last| {
                let event = WatchedEvent { kind, path: path.clone(), state, zxid };
                fx.push(Effect::Fire { id, sink, event, last });
            });
            self.disarm(path, disarm, now);
        }
        Ok(())
    }

    fn on_auth(
        &mut self,
        header: &ReplyHeader,
        now: Instant,
        fx: &mut Effects<T, W>,
    ) -> Result<(), Drop> {
        let Some(link) = &mut self.link else {
            return Ok(());
        };
        let Some(index) = link.auth_in_flight.pop_front() else {
            return Err(protocol("an answer to credentials that were not sent"));
        };
        if header.err != 0 {
            self.terminate(SessionState::AuthFailed, fx);
            return Err(Drop::AuthFailed);
        }
        if let Some(token) = self.auths.get_mut(index).and_then(|auth| auth.token.take()) {
            let reply = Reply::new(OpCode::Auth, 0, header.zxid, &[]);
            fx.push(Effect::Done { token, outcome: Outcome::Reply(reply), count: 1, armed: None });
        }
        if link.phase == Phase::Authenticating && link.auth_in_flight.is_empty() {
            self.establish(now, fx);
        }
        Ok(())
    }

    fn on_reply(
        &mut self,
        header: &ReplyHeader,
        body: &[u8],
        now: Instant,
        fx: &mut Effects<T, W>,
    ) -> Result<(), Drop> {
        let Some(link) = &mut self.link else {
            return Ok(());
        };
        let answered = match link.answer(header) {
            Match::Found(answered) => answered,
            Match::Kept => return Ok(()),
            Match::OutOfOrder => return Err(protocol("an answer overtook an earlier request")),
            Match::Unknown => return Err(protocol("an answer to no request")),
        };
        self.on_answer(answered, header, body, now, fx)?;
        self.on_overdue(now, fx)
    }

    /// Refusals that overtook, and whose turn it is after the answer before them.
    fn on_overdue(&mut self, now: Instant, fx: &mut Effects<T, W>) -> Result<(), Drop> {
        while let Some((header, answered)) = self.link.as_mut().and_then(Link::overdue) {
            self.on_answer(answered, &header, &[], now, fx)?;
        }
        Ok(())
    }

    /// The answer to a request whose turn it is.
    fn on_answer(
        &mut self,
        Answered { sent, change, at }: Answered<T, W>,
        header: &ReplyHeader,
        body: &[u8],
        now: Instant,
        fx: &mut Effects<T, W>,
    ) -> Result<(), Drop> {
        self.lease_from = self.lease_from.max(Some(at));
        if sent.is_in_batch() {
            if header.zxid > 0 {
                self.last_zxid = header.zxid;
            }
            if let Some(link) = &mut self.link {
                link.answers().push(header.err, header.zxid, body);
            }
            self.end_batch(sent.owner, fx);
            return verdict(header.err);
        }
        match sent.owner {
            Owner::User(token) => {
                // Only answers move it: an event or a ping may run ahead of events of the same
                // transaction that are still to come (ZOOKEEPER-1417).
                if header.zxid > 0 {
                    self.last_zxid = header.zxid;
                }
                let code = match sent.op {
                    // addWatch says in its body what others say in the header. A body that
                    // cannot be read leaves the watch unset.
                    OpCode::AddWatch if header.err == 0 => {
                        reply::error_body(body).unwrap_or(Code::MarshallingError.raw())
                    }
                    _ => header.err,
                };
                let mut uncovered = false;
                let armed = match change.map(|change| *change) {
                    Some(Change::Arm(arming)) if sent.op == OpCode::AddWatch && code != 0 => {
                        let path = arming.path.clone();
                        self.settle(arming, sent.op, code, now, fx);
                        uncovered = self.watches.is_in_use(&path);
                        None
                    }
                    Some(Change::Arm(arming)) => self.settle(arming, sent.op, code, now, fx),
                    Some(Change::Remove { path, watcher_type }) => {
                        if matches!(Code::from_raw(code), Code::Ok | Code::NoWatcher) {
                            let stale = self.watches.is_stale(&path);
                            self.end_watches(&path, watcher_type, fx);
                            if stale && !self.watches.is_stale(&path) {
                                self.disarm(&path, Disarm::Remove(3), now);
                            }
                        }
                        None
                    }
                    None => None,
                };
                let reply = Reply::new(sent.op, code, header.zxid, body);
                fx.push(Effect::Done { token, outcome: Outcome::Reply(reply), count: 1, armed });
                if uncovered {
                    // One-shot reads sent meanwhile counted on it, and were not armed. A new
                    // connection arms everything that there is.
                    return Err(protocol("a persistent watch was refused"));
                }
                verdict(code)
            }
            Owner::SetWatches if header.err != 0 => {
                if Code::from_raw(header.err) == Code::Unimplemented {
                    // A server before 3.6: persistent watches cannot live on. The others can, on
                    // the next connection.
                    self.end_lasting_watches(fx);
                }
                Err(protocol(&format!("watches were refused: {}", Code::from_raw(header.err))))
            }
            Owner::Housekeeping => {
                let unknown = Code::from_raw(header.err) == Code::Unimplemented;
                self.keeps_watches |= unknown && sent.op == OpCode::RemoveWatches;
                Ok(())
            }
            Owner::SetWatches | Owner::LaterOne => Ok(()),
            Owner::CloseSession => Err(Drop::Closed),
        }
    }

    /// Tells the answers of a batch, if this was its last request.
    fn end_batch(&mut self, owner: Owner<T>, fx: &mut Effects<T, W>) {
        if let (Owner::User(token), Some(link)) = (owner, &mut self.link) {
            let answers = link.take_answers();
            let count = u32::try_from(answers.len()).unwrap_or(u32::MAX);
            let outcome = Outcome::Batch(answers);
            fx.push(Effect::Done { token, outcome, count, armed: None });
        }
    }

    fn on_oversize(
        &mut self,
        head: &[u8],
        len: usize,
        now: Instant,
        fx: &mut Effects<T, W>,
    ) -> Result<(), Drop> {
        let header =
            ReplyHeader::decode(&mut Reader::new(head)).map_err(|e| protocol(&e.to_string()))?;
        let Some(link) = &mut self.link else {
            return Ok(());
        };
        // A length that is garbage would have us skip for ever: only what answers a request of
        // ours may be large.
        if !link.expects(header.xid) {
            return Err(protocol("a frame is too large"));
        }
        let failure = Failure::TooLarge { len, limit: self.options.max_reply };
        let Answered { sent, change, .. } = match link.answer(&header) {
            Match::Found(answered) => answered,
            Match::Kept => return Ok(()),
            _ => return Err(protocol("an answer overtook an earlier request")),
        };
        if sent.is_in_batch() {
            link.answers().push_failed(failure);
            self.end_batch(sent.owner, fx);
            return self.on_overdue(now, fx);
        }
        let Owner::User(token) = sent.owner else {
            return Err(protocol("a frame is too large"));
        };
        if let Some(Change::Arm(arming)) = change.map(|change| *change) {
            // The read was done, so the server holds the watch; its caller will not.
            if let Some((path, id)) = self.settle(arming, sent.op, header.err, now, fx) {
                self.unwatch(&path, id, now, fx);
            }
        }
        fx.push(Effect::Done { token, outcome: Outcome::Failed(failure), count: 1, armed: None });
        self.on_overdue(now, fx)
    }

    /// Enters a watch into the table, or forgets it, as the reply says.
    fn settle(
        &mut self,
        arming: Arming<W>,
        op: OpCode,
        code: i32,
        now: Instant,
        fx: &mut Effects<T, W>,
    ) -> Option<(Arc<str>, WatchId)> {
        let kind = match (op, Code::from_raw(code)) {
            (_, Code::Ok) => arming.kind,
            // The one failure that sets a watch: `exists` waits for the node to come.
            (OpCode::Exists, Code::NoNode) => WatchKind::Exist,
            _ => {
                let disarm = self.watches.not_armed(&arming.path, arming.kind);
                self.disarm(&arming.path, disarm, now);
                fx.push(Effect::Forget { id: arming.id, sink: arming.sink });
                return None;
            }
        };
        self.watches.armed(&arming.path, kind, arming.id, arming.sink);
        if op == OpCode::AddWatch && self.watches.has_both_lasting(&arming.path) {
            // Servers before 3.9 hold one mode a path: see the table's module.
            // Nothing may follow closeSession.
            if let Some(link) = self.link.as_mut().filter(|l| l.phase == Phase::Serving) {
                let mut bytes = Vec::new();
                build(&mut bytes, OpCode::AddWatch, |out| {
                    let request = AddWatchRequest { path: &arming.path, mode: 1 };
                    request.encode(&mut Writer::new(out));
                });
                link.send(&bytes, Sent::new(Owner::Housekeeping, OpCode::AddWatch), None, now);
            }
        }
        Some((arming.path, arming.id))
    }
}

/// What a code says of the connection.
fn verdict(code: i32) -> Result<(), Drop> {
    match Code::from_raw(code) {
        // The session is somewhere else, or gone: the next greeting tells.
        Code::SessionMoved => Err(protocol("the session moved to another server")),
        Code::SessionExpired => Err(protocol("the server says the session expired")),
        _ => Ok(()),
    }
}
