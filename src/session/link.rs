//! One connection: what is in flight on it, what is to be written, its clocks.
//!
//! The server answers in the order asked, so requests in flight are a queue, and their xids are
//! contiguous: a reply's place is its distance from the front, without a map. Only an *error*
//! may overtake (protocol.md 1.5: unknown opcodes, read-only refusals); a success out of order
//! is a broken server and drops the connection.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use crate::proto::header::ReplyHeader;
use crate::proto::jute::Reader;
use crate::proto::opcode::OpCode;
use crate::session::batch::Answers;
use crate::session::heartbeat::Heartbeat;
use crate::session::{Change, Failure};

/// Who asked.
#[derive(Debug)]
pub(crate) enum Owner<T> {
    User(T),
    /// SetWatches: a refusal means that watches are not set.
    SetWatches,
    /// removeWatches and the like: the answer does not matter.
    Housekeeping,
    CloseSession,
    /// Whoever asked for the batch that the request belongs to; the last of the batch knows.
    LaterOne,
}

/// A request that was given to the socket, or is about to be. A hundred thousand may be in flight:
/// it is small.
#[derive(Debug)]
pub(crate) struct Sent<T> {
    pub(crate) owner: Owner<T>,
    pub(crate) op: OpCode,
    /// Whether it is the last of a batch.
    pub(crate) ends_batch: bool,
    /// Whether it has an entry among the changes.
    changes: bool,
}

/// A request whose answer came.
#[derive(Debug)]
pub(crate) struct Answered<T, W> {
    pub(crate) sent: Sent<T>,
    pub(crate) change: Option<Box<Change<W>>>,
    /// When it was sent, at the latest.
    pub(crate) at: Instant,
}

/// Requests that were sent at one time.
#[derive(Debug)]
struct Sending {
    at: Instant,
    /// How many of them are in flight.
    count: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// ConnectRequest is out.
    Greeting,
    /// Connected, but credentials are not all acknowledged: nothing else may be sent.
    Authenticating,
    Serving,
    /// closeSession is out.
    Closing,
}

#[derive(Debug)]
pub(crate) struct Link<T, W> {
    pub(crate) phase: Phase,
    pub(crate) beat: Heartbeat,
    /// When the ConnectRequest was written.
    pub(crate) greeted_at: Instant,
    /// Whether the server is cut off from its quorum.
    pub(crate) read_only: bool,
    /// Which of the machine's credentials were sent and not yet acknowledged.
    pub(crate) auth_in_flight: VecDeque<usize>,
    next_xid: i32,
    in_flight: VecDeque<Option<Sent<T>>>,
    /// What those in flight do to watches, oldest first: most do nothing.
    changes: VecDeque<(i32, Box<Change<W>>)>,
    /// When those in flight were sent, oldest first: one entry for all of a turn.
    sendings: VecDeque<Sending>,
    /// The answers so far of the batch at the front.
    answers: Answers,
    /// Refusals that overtook, of requests that belong to batches; they wait for their turn.
    early: BTreeMap<i32, ReplyHeader>,
    out: Vec<u8>,
    written: usize,
}

impl<T> Sent<T> {
    pub(crate) fn new(owner: Owner<T>, op: OpCode) -> Self {
        Self { owner, op, ends_batch: false, changes: false }
    }

    /// Whether it was queued together with others.
    pub(crate) fn is_in_batch(&self) -> bool {
        self.ends_batch || matches!(self.owner, Owner::LaterOne)
    }
}

/// Where a reply belongs.
#[derive(Debug)]
pub(crate) enum Match<T, W> {
    Found(Answered<T, W>),
    /// A success that overtook: the server is broken.
    OutOfOrder,
    /// A refusal within a batch overtook; it is kept until it is its turn.
    Kept,
    /// Nobody asked.
    Unknown,
}

impl<T, W> Link<T, W> {
    pub(crate) fn new(beat: Heartbeat, now: Instant, first_xid: i32) -> Self {
        Self {
            phase: Phase::Greeting,
            beat,
            greeted_at: now,
            read_only: false,
            auth_in_flight: VecDeque::new(),
            next_xid: first_xid,
            in_flight: VecDeque::new(),
            changes: VecDeque::new(),
            sendings: VecDeque::new(),
            answers: Answers::default(),
            early: BTreeMap::new(),
            out: Vec::new(),
            written: 0,
        }
    }

    /// The bytes that the socket has not taken yet.
    pub(crate) fn output(&self) -> &[u8] {
        self.out.get(self.written..).unwrap_or_default()
    }

    pub(crate) fn wrote(&mut self, n: usize, now: Instant) {
        self.written += n;
        if self.written >= self.out.len() {
            self.out.clear();
            self.written = 0;
            // One large write must not pin its memory for the life of the connection.
            if self.out.capacity() > KEEP_OUT {
                self.out.shrink_to(KEEP_OUT);
            }
        }
        self.beat.wrote(now);
    }

    /// Appends bytes that carry no ordinary xid: greeting, ping, credentials.
    pub(crate) fn write_raw(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.out);
    }

    /// Gives `frame` the next xid and queues it. `change` is what it does to watches.
    pub(crate) fn send(
        &mut self,
        frame: &[u8],
        mut sent: Sent<T>,
        change: Option<Box<Change<W>>>,
        now: Instant,
    ) {
        let xid = self.next_xid;
        self.next_xid = after(xid);
        let start = self.out.len();
        self.out.extend_from_slice(frame);
        if let Some(place) = self.out.get_mut(start + 4..start + 8) {
            place.copy_from_slice(&xid.to_be_bytes());
        }
        if let Some(change) = change {
            sent.changes = true;
            self.changes.push_back((xid, change));
        }
        self.in_flight.push_back(Some(sent));
        match self.sendings.back_mut() {
            Some(last) if last.at == now => last.count += 1,
            _ => self.sendings.push_back(Sending { at: now, count: 1 }),
        }
    }

    /// Gives each of the frames in `batch` the next xid and queues them; `token` is for all.
    pub(crate) fn send_batch(
        &mut self,
        batch: &[u8],
        token: T,
        count: u32,
        op: OpCode,
        now: Instant,
    ) {
        let mut frames = batch;
        let mut token = Some(token);
        for left in (0..count).rev() {
            let ends_batch = left == 0;
            let owner = token.take_if(|_| ends_batch).map_or(Owner::LaterOne, Owner::User);
            let (frame, rest) = split_frame(frames);
            frames = rest;
            self.send(frame, Sent { ends_batch, ..Sent::new(owner, op) }, None, now);
        }
    }

    /// Where the answers of the batch at the front are put.
    pub(crate) fn answers(&mut self) -> &mut Answers {
        &mut self.answers
    }

    /// The answers of a batch whose last one was put there.
    pub(crate) fn take_answers(&mut self) -> Box<Answers> {
        // The next is probably as large.
        let next = Answers::with_room(self.answers.len());
        Box::new(std::mem::replace(&mut self.answers, next))
    }

    /// A refusal that overtook and whose turn it is now.
    pub(crate) fn overdue(&mut self) -> Option<(ReplyHeader, Answered<T, W>)> {
        if self.early.is_empty() {
            return None;
        }
        let front = self.front_xid();
        let header = self.early.remove(&front)?;
        match self.answer(&header) {
            Match::Found(answered) => Some((header, answered)),
            _ => None,
        }
    }

    /// Takes the request that `header` answers out of the queue.
    pub(crate) fn answer(&mut self, header: &ReplyHeader) -> Match<T, W> {
        match self.place(header.xid) {
            Some(0) => {}
            Some(place) => return self.answer_early(place, header),
            None => return Match::Unknown,
        }
        let found = self.in_flight.pop_front().flatten();
        let at = self.forget_oldest();
        // Whatever overtook is behind us.
        while let Some(None) = self.in_flight.front() {
            self.in_flight.pop_front();
            self.forget_oldest();
        }
        self.answered(found, at, header.xid)
    }

    /// As [`answer`](Self::answer), of a request that is not the oldest.
    #[cold]
    fn answer_early(&mut self, place: usize, header: &ReplyHeader) -> Match<T, W> {
        match self.in_flight.get_mut(place) {
            Some(Some(_)) if header.err == 0 => Match::OutOfOrder,
            Some(Some(sent)) if sent.is_in_batch() => {
                match self.early.insert(header.xid, *header) {
                    None => Match::Kept,
                    Some(_) => Match::Unknown,
                }
            }
            Some(sent) => {
                let found = sent.take();
                self.answered(found, self.sent_at(place), header.xid)
            }
            None => Match::Unknown,
        }
    }

    #[inline]
    fn answered(&mut self, sent: Option<Sent<T>>, at: Option<Instant>, xid: i32) -> Match<T, W> {
        match (sent, at) {
            (Some(sent), Some(at)) => {
                let change = if sent.changes { self.take_change(xid) } else { None };
                Match::Found(Answered { sent, change, at })
            }
            _ => Match::Unknown,
        }
    }

    /// What the request `xid` does to watches. Mostly it is the oldest that does anything.
    fn take_change(&mut self, xid: i32) -> Option<Box<Change<W>>> {
        let at = self.changes.iter().position(|(of, _)| *of == xid)?;
        self.changes.remove(at).map(|(_, change)| change)
    }

    /// When the request at `place` was sent.
    fn sent_at(&self, mut place: usize) -> Option<Instant> {
        for sending in &self.sendings {
            match place.checked_sub(sending.count) {
                Some(later) => place = later,
                None => return Some(sending.at),
            }
        }
        None
    }

    /// The oldest request is not in flight any more; gives when it was sent.
    fn forget_oldest(&mut self) -> Option<Instant> {
        let oldest = self.sendings.front_mut()?;
        let at = oldest.at;
        oldest.count -= 1;
        if oldest.count == 0 {
            self.sendings.pop_front();
        }
        Some(at)
    }

    /// Whether `xid` is in flight, for a frame whose body will not be read.
    pub(crate) fn expects(&self, xid: i32) -> bool {
        self.place(xid).is_some_and(|place| matches!(self.in_flight.get(place), Some(Some(_))))
    }

    /// Everything in flight, oldest first.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (Sent<T>, Option<Box<Change<W>>>)> + '_ {
        self.sendings.clear();
        let changes = &mut self.changes;
        self.in_flight.drain(..).flatten().map(|sent| {
            let change = if sent.changes { changes.pop_front() } else { None };
            (sent, change.map(|(_, change)| change))
        })
    }

    pub(crate) fn has_in_flight(&self) -> bool {
        !self.in_flight.is_empty()
    }

    pub(crate) fn in_flight_mut(&mut self) -> impl Iterator<Item = &mut Sent<T>> {
        self.in_flight.iter_mut().flatten()
    }

    fn front_xid(&self) -> i32 {
        let back = i64::try_from(self.in_flight.len()).unwrap_or(i64::MAX);
        let mut front = i64::from(self.next_xid) - back;
        if front < 1 {
            front += i64::from(i32::MAX);
        }
        i32::try_from(front).unwrap_or(i32::MAX)
    }

    fn place(&self, xid: i32) -> Option<usize> {
        if xid < 1 {
            return None;
        }
        let ahead = i64::try_from(self.in_flight.len()).ok()?;
        // The xid space is 1..=i32::MAX, so it has i32::MAX members and wraps past zero.
        let mut back = i64::from(self.next_xid) - i64::from(xid);
        if back <= 0 {
            back += i64::from(i32::MAX);
        }
        usize::try_from(ahead - back).ok()
    }
}

/// The failure of a request whose connection broke.
pub(crate) const LOST: Failure = Failure::ConnectionLoss { sent: true };

const KEEP_OUT: usize = 256 * 1024;

/// The first frame, and what comes after it.
fn split_frame(frames: &[u8]) -> (&[u8], &[u8]) {
    let mut reader = Reader::new(frames);
    let len = reader.i32().ok().and_then(|len| usize::try_from(len).ok());
    len.and_then(|len| frames.split_at_checked(4 + len)).unwrap_or((frames, &[]))
}

fn after(xid: i32) -> i32 {
    if xid == i32::MAX { 1 } else { xid + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn link(first_xid: i32) -> Link<u32, ()> {
        let now = Instant::now();
        Link::new(Heartbeat::new(Duration::from_secs(10), now), now, first_xid)
    }

    fn send(link: &mut Link<u32, ()>, token: u32) -> i32 {
        let sent = Sent::new(Owner::User(token), OpCode::GetData);
        let start = link.output().len();
        link.send(&[0; 12], sent, None, Instant::now());
        i32::from_be_bytes(link.output()[start + 4..start + 8].try_into().unwrap())
    }

    fn token(found: Match<u32, ()>) -> u32 {
        match found {
            Match::Found(Answered { sent: Sent { owner: Owner::User(token), .. }, .. }) => token,
            other => panic!("{other:?}"),
        }
    }

    fn header(xid: i32, err: i32) -> ReplyHeader {
        ReplyHeader { xid, zxid: 1, err }
    }

    #[test]
    fn c6_xids_wrap_to_one_with_requests_in_flight() {
        let mut link = link(i32::MAX - 3);
        let xids: Vec<_> = (0..8).map(|n| send(&mut link, n)).collect();
        assert_eq!(xids[3], i32::MAX);
        assert_eq!(xids[4], 1);
        assert!(xids.iter().all(|xid| *xid > 0));
        for (n, xid) in (0..).zip(xids) {
            assert_eq!(token(link.answer(&header(xid, 0))), n);
        }
    }

    #[test]
    fn c5_an_answer_that_nobody_asked_for_matches_nothing() {
        let mut link = link(1);
        assert!(matches!(link.answer(&header(1, 0)), Match::Unknown));
        let xid = send(&mut link, 7);
        assert!(matches!(link.answer(&header(xid + 1, 0)), Match::Unknown));
        assert!(matches!(link.answer(&header(xid - 1, 0)), Match::Unknown));
        assert!(matches!(link.answer(&header(i32::MIN, 0)), Match::Unknown));
        assert_eq!(token(link.answer(&header(xid, 0))), 7);
        assert!(matches!(link.answer(&header(xid, 0)), Match::Unknown), "answered twice");
    }

    #[test]
    fn an_error_may_overtake_and_a_success_may_not() {
        let mut link = link(1);
        let xids: Vec<_> = (0..3).map(|n| send(&mut link, n)).collect();
        assert!(matches!(link.answer(&header(xids[1], 0)), Match::OutOfOrder));
        assert_eq!(token(link.answer(&header(xids[1], -6))), 1);
        assert!(matches!(link.answer(&header(xids[1], -6)), Match::Unknown));
        assert_eq!(token(link.answer(&header(xids[0], 0))), 0);
        assert_eq!(token(link.answer(&header(xids[2], 0))), 2);
    }

    #[test]
    fn the_bytes_come_out_in_the_order_of_the_requests() {
        let mut link = link(1);
        send(&mut link, 0);
        send(&mut link, 1);
        assert_eq!(link.output().len(), 24);
        link.wrote(10, Instant::now());
        assert_eq!(link.output().len(), 14);
        link.wrote(14, Instant::now());
        assert!(link.output().is_empty());
    }
}
