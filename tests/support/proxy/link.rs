//! One connection through the proxy: its four threads (a reader and a writer for each direction)
//! and what it takes to know the frames apart.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::super::ports;
use super::super::wire::{In, op, xid};
use super::{Act, Hub, Kind, Seen, Shot, Way};

/// One client's connection and ours to the server for it.
#[derive(Debug)]
pub(super) struct Link {
    number: usize,
    pub(super) client: TcpStream,
    server: TcpStream,
    dialogue: Mutex<Dialogue>,
    /// How many directions have come to their end.
    ended: AtomicUsize,
    /// Cut.
    gone: AtomicBool,
    /// Has lost bytes.
    pub(super) lost: AtomicBool,
    /// The client's side was cut, the server's was not.
    pub(super) orphan: AtomicBool,
    /// To be reset by dropping: nobody may shut the client's socket down before.
    resetting: AtomicBool,
}

/// What has to be remembered to tell what a frame is.
#[derive(Debug, Default)]
struct Dialogue {
    /// By direction.
    shaken: [bool; 2],
    /// Requests without a reply: xid and operation.
    open: VecDeque<(i32, i32)>,
    /// Whether the last frame that matters was a request.
    asked: bool,
}

impl Link {
    fn from(&self, way: Way) -> &TcpStream {
        match way {
            Way::ToServer => &self.client,
            Way::ToClient => &self.server,
        }
    }

    pub(super) fn to(&self, way: Way) -> &TcpStream {
        match way {
            Way::ToServer => &self.server,
            Way::ToClient => &self.client,
        }
    }

    fn dialogue(&self) -> MutexGuard<'_, Dialogue> {
        self.dialogue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    pub(super) fn cut(&self) {
        self.gone.store(true, Ordering::Relaxed);
        let _ = self.server.shutdown(Shutdown::Both);
        if !self.resetting.load(Ordering::Relaxed) {
            let _ = self.client.shutdown(Shutdown::Both);
        }
    }

    /// Tells what a frame is; `true` beside it if it begins a round trip.
    fn look(&self, way: Way, chunk: &Chunk) -> (Seen, bool) {
        let mut dialogue = self.dialogue();
        let (kind, bytes, at) = (Kind::Other, chunk.bytes.len(), Instant::now());
        let mut seen = Seen { at, link: self.number, way, kind, xid: 0, zxid: 0, err: 0, bytes };
        if !chunk.whole {
            return (seen, false);
        }
        let mut from = In(&chunk.bytes[4..]);
        if !std::mem::replace(&mut dialogue.shaken[way as usize], true) {
            seen.kind = Kind::Handshake;
        } else if way == Way::ToServer && from.0.len() >= 8 {
            seen.xid = from.i32();
            let op = from.i32();
            seen.kind = if op == op::PING { Kind::Ping } else { Kind::Op(op) };
            if op != op::PING {
                dialogue.open.push_back((seen.xid, op));
                return (seen, !std::mem::replace(&mut dialogue.asked, true));
            }
        } else if way == Way::ToClient && from.0.len() >= 16 {
            (seen.xid, seen.zxid, seen.err) = (from.i32(), from.i64(), from.i32());
            let asked = dialogue.open.iter().position(|(xid, _)| *xid == seen.xid);
            seen.kind = match (seen.xid, asked) {
                (xid::PING, _) => Kind::Ping,
                (xid::NOTIFICATION, _) => Kind::Notification,
                (_, Some(at)) => Kind::Op(dialogue.open.remove(at).expect("found there").1),
                (_, None) => Kind::Other,
            };
        }
        (seen, false)
    }
}

/// Bytes on their way: one frame, or what is none.
#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    whole: bool,
    due: Instant,
    act: Option<Act>,
    /// Whether it answers a request: whoever asks after it was given this begins a round trip.
    answers: bool,
}

/// Takes connections until the proxy refuses them.
pub(super) fn accept(listener: &TcpListener, hub: &Arc<Hub>) {
    while let Ok((client, _)) = listener.accept() {
        let mut state = hub.lock();
        if state.refusing {
            return;
        }
        let number = state.next_link;
        state.next_link += 1;
        state.counts.connections += 1;
        let (target, black_hole, cuts) = (state.target, state.black_hole, state.cuts);
        drop(state);
        let hub = Arc::clone(hub);
        spawn("proxy-dial", move || {
            // A black hole never reaches the server: its far side is a connection to ourselves.
            let dialled = if black_hole { nowhere() } else { TcpStream::connect(target) };
            // Without a server the client is accepted and closed: std cannot refuse one by one.
            let Ok(server) = dialled else { return };
            let _ = client.set_nodelay(true);
            let _ = server.set_nodelay(true);
            let link = Arc::new(Link {
                number,
                client,
                server,
                dialogue: Mutex::default(),
                ended: AtomicUsize::new(0),
                gone: AtomicBool::new(false),
                lost: AtomicBool::new(black_hole),
                orphan: AtomicBool::new(false),
                resetting: AtomicBool::new(false),
            });
            let mut state = hub.lock();
            // Nor does a link into nowhere outlive the black hole that it was made in.
            if state.cuts == cuts && (state.black_hole || !black_hole) {
                state.links.push(Arc::clone(&link));
                drop(state);
                run(&hub, &link);
            }
        });
    }
}

fn run(hub: &Arc<Hub>, link: &Arc<Link>) {
    for way in [Way::ToServer, Way::ToClient] {
        let (sender, queue) = mpsc::channel();
        let (reader, readers) = (Arc::clone(link), Arc::clone(hub));
        let (writer, writers) = (Arc::clone(link), Arc::clone(hub));
        spawn("proxy-read", move || read(&readers, &reader, way, &sender));
        spawn("proxy-write", move || write(&writers, &writer, way, &queue));
    }
}

/// A connection whose other end is ours too, and silent.
fn nowhere() -> io::Result<TcpStream> {
    let listener = ports::listen();
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    spawn("proxy-nowhere", move || {
        // Until the link is cut.
        let _ = io::copy(&mut &far, &mut io::sink());
    });
    Ok(near)
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(body).expect("a thread");
}

/// Reads one direction of a link, frame by frame, until its end.
fn read(hub: &Hub, link: &Link, way: Way, queue: &Sender<Chunk>) {
    let mut split = Splitter::default();
    let mut from = link.from(way);
    let mut buffer = vec![0; 64 << 10];
    loop {
        hub.gate(link, way);
        if way == Way::ToServer && reset_due(hub, link) {
            return;
        }
        let got = match from.read(&mut buffer) {
            Ok(got) if got > 0 => got,
            // A reset is the other side's way to end: it is passed on as an end.
            _ => break,
        };
        split.push(&buffer[..got]);
        let burst = std::iter::from_fn(|| split.next());
        if enqueue(hub, link, way, queue, burst).is_err() {
            return;
        }
    }
    let torn = split.rest();
    if !torn.is_empty() {
        // The writer may be gone with the link.
        let _ = enqueue(hub, link, way, queue, [(torn, false)].into_iter());
    }
}

/// Waits for something to read; `true` when it was a frame for [`Act::Reset`], which stays unread.
fn reset_due(hub: &Hub, link: &Link) -> bool {
    let mut header = [0; 12];
    let armed = |kind: Kind| {
        let due = |shot: &Shot| shot.act == Act::Reset && shot.left == 1 && shot.pick.takes(kind);
        hub.lock().shots.iter().position(due)
    };
    if !matches!(link.client.peek(&mut header), Ok(1..)) {
        return false;
    }
    if hub.lock().shots.iter().all(|shot| shot.act != Act::Reset) {
        return false;
    }
    // The rest of the header follows, or it is no frame.
    for _ in 0..100 {
        match link.client.peek(&mut header) {
            Ok(12) => break,
            _ => thread::sleep(Duration::from_millis(1)),
        }
    }
    let shaken = link.dialogue().shaken[Way::ToServer as usize];
    let mut from = In(&header[4..]);
    let (xid, op) = (from.i32(), from.i32());
    let kind = match op {
        _ if !shaken => Kind::Handshake,
        op::PING => Kind::Ping,
        op => Kind::Op(op),
    };
    let Some(shot) = armed(kind) else {
        return false;
    };
    let mut state = hub.lock();
    state.shots.remove(shot);
    let (at, link_number, way, bytes) = (Instant::now(), link.number, Way::ToServer, 0);
    state.caught.push(Seen { at, link: link_number, way, kind, xid, zxid: 0, err: 0, bytes });
    // The last of the threads to drop the link closes the socket, with the request unread.
    link.resetting.store(true, Ordering::Relaxed);
    link.cut();
    state.links.retain(|other| other.number != link.number);
    hub.changed.notify_all();
    true
}

/// Looks at what came in one burst, and hands it to the writer.
///
/// All of it under one lock: a reply to the burst's first frame must not be given before its last
/// is seen, or the burst would look like two round trips. And so the list of frames seen has each
/// link's own order.
fn enqueue(
    hub: &Hub,
    link: &Link,
    way: Way,
    queue: &Sender<Chunk>,
    burst: impl Iterator<Item = (Vec<u8>, bool)>,
) -> Result<(), mpsc::SendError<Chunk>> {
    let mut state = hub.lock();
    let due = Instant::now() + state.faults[way as usize].delay;
    for (bytes, whole) in burst {
        let mut chunk = Chunk { bytes, whole, due, act: None, answers: false };
        let (seen, round_trip) = link.look(way, &chunk);
        chunk.answers = way == Way::ToClient && matches!(seen.kind, Kind::Op(_));
        state.counts.round_trips += usize::from(round_trip);
        chunk.act = state.pass(seen);
        if chunk.act == Some(Act::Hold) {
            state.faults_mut(way).held = true;
        }
        let forgotten = |op: i32| way == Way::ToServer && state.forgotten.contains(&op);
        if matches!(seen.kind, Kind::Op(op) if forgotten(op)) {
            // Behind the length and the xid.
            chunk.bytes[8..12].copy_from_slice(&NO_OP.to_be_bytes());
        }
        queue.send(chunk)?;
    }
    Ok(())
}

/// An operation that no server knows.
const NO_OP: i32 = 10_000;

/// Delivers one direction of a link, until its end.
fn write(hub: &Hub, link: &Link, way: Way, queue: &Receiver<Chunk>) {
    let mut behind = None;
    while let Some(mut chunk) = behind.take().or_else(|| queue.recv().ok()) {
        if let Some(early) = chunk.due.checked_duration_since(Instant::now()) {
            thread::sleep(early);
        }
        behind = gather(&mut chunk, queue);
        let faults = hub.gate(link, way);
        let mut cut = false;
        match chunk.act {
            None | Some(Act::Hold) => {}
            Some(Act::Cut) => cut = true,
            Some(Act::Lose) => continue,
            Some(Act::LoseAndCut | Act::Reset) => {
                chunk.bytes.clear();
                cut = true;
            }
            Some(Act::Tear(bytes)) => {
                chunk.bytes.truncate(bytes);
                cut = true;
            }
            Some(Act::Flip(place, bits)) => chunk.bytes[place] ^= bits,
        }
        if chunk.answers {
            link.dialogue().asked = false;
        }
        if faults.lossy {
            link.lost.store(true, Ordering::Relaxed);
        } else if deliver(link.to(way), &chunk.bytes, faults.slice).is_err() {
            cut = true;
        }
        if cut && !link.orphan.load(Ordering::Relaxed) {
            // Under the lock, so that no thread of the link misses it on the way to sleep.
            let _state = hub.lock();
            link.cut();
            hub.changed.notify_all();
        }
        if link.gone() {
            break;
        }
    }
    hub.end_gate(link, way);
    if !link.resetting.load(Ordering::Relaxed) {
        let _ = link.to(way).shutdown(Shutdown::Write);
    }
    if link.ended.fetch_add(1, Ordering::Relaxed) == 1 || link.gone() {
        hub.lock().links.retain(|other| other.number != link.number);
    }
}

/// Adds to `chunk` what is queued behind it and due, as one write does for many frames; gives the
/// first that has to wait for its own turn.
fn gather(chunk: &mut Chunk, queue: &Receiver<Chunk>) -> Option<Chunk> {
    const ENOUGH: usize = 64 << 10;
    let now = Instant::now();
    while chunk.act.is_none() && chunk.bytes.len() < ENOUGH {
        let next = queue.try_recv().ok()?;
        if next.act.is_some() || next.due > now {
            return Some(next);
        }
        chunk.bytes.extend_from_slice(&next.bytes);
        chunk.answers |= next.answers;
    }
    None
}

fn deliver(mut to: &TcpStream, bytes: &[u8], slice: Option<usize>) -> io::Result<()> {
    let Some(slice) = slice else {
        return to.write_all(bytes);
    };
    for piece in bytes.chunks(slice.max(1)) {
        to.write_all(piece)?;
        // Long enough for a waiting reader to take this piece by itself.
        thread::sleep(Duration::from_micros(100));
    }
    Ok(())
}

/// Cuts a stream of bytes into frames; what cannot be frames passes as it comes.
#[derive(Debug, Default)]
struct Splitter {
    bytes: Vec<u8>,
    start: usize,
    raw: bool,
}

impl Splitter {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next frame with its length in front, and `true`; or bytes that are none.
    fn next(&mut self) -> Option<(Vec<u8>, bool)> {
        let have = &self.bytes[self.start..];
        if have.len() < 4 {
            return None;
        }
        // A length beyond this is a four-letter word, or nonsense: text from here on.
        const MOST: usize = 256 << 20;
        let len = usize::try_from(In(have).i32()).unwrap_or(usize::MAX);
        self.raw |= len > MOST;
        let size = if self.raw { have.len() } else { len + 4 };
        let frame = have.get(..size)?.to_vec();
        self.start += size;
        Some((frame, !self.raw))
    }

    fn rest(&mut self) -> Vec<u8> {
        self.bytes.split_off(self.start)
    }
}
