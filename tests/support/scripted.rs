//! A server that says exactly what a test tells it to say, right or wrong.
//!
//! ```text
//! let server = Scripted::start(|number, peer| {
//!     peer.handshake();
//!     let request = peer.expect(op::GET_DATA);
//!     if number == 0 {
//!         return peer.close();                    // the first connection loses its reply
//!     }
//!     peer.reply(&request, 7, &Out::new().buffer(b"x").stat(&Stat::default()).0);
//!     peer.hang();                                // until the client goes
//! });
//! ... use server.connect_string() ...
//! server.finish();                                // every script ran to its end as written
//! ```
//!
//! Each connection runs the script in a thread of its own, with its number (from 0). Everything
//! that clients sent is in [`Scripted::received`]. A script that meets an operation that it did not
//! expect fails the test when the `Scripted` is dropped; one whose client went away in the middle
//! does so only in [`Scripted::finish`], since most tests end by dropping the client.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::ports;
use super::wait::{eventually, scaled};
use super::wire::{ConnectRequest, ConnectResponse, In, Out, op, read_frame, xid};

/// A frame that a client sent.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Which connection, from 0.
    pub(crate) connection: usize,
    /// 0 for the handshake.
    pub(crate) xid: i32,
    /// [`HANDSHAKE`] for the handshake.
    pub(crate) op: i32,
    /// What follows the header.
    pub(crate) body: Vec<u8>,
    pub(crate) at: Instant,
}

impl Request {
    /// The body's first field, for the many operations where it is the path.
    pub(crate) fn path(&self) -> String {
        In(&self.body).string()
    }
}

/// The number under which [`Request`] records a handshake; no operation has it.
pub(crate) const HANDSHAKE: i32 = 0;

/// The listening server. Dropping it closes all connections and ends all scripts.
#[derive(Debug)]
pub(crate) struct Scripted {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    received: Vec<Request>,
    /// By connection, as long as its script runs.
    streams: Vec<(usize, TcpStream)>,
    threads: Vec<JoinHandle<()>>,
    /// How many scripts have neither ended nor come to a verb that only the client ends.
    busy: usize,
    /// What went wrong, and whether it was only that the client left.
    failures: Vec<(String, bool)>,
    stopping: bool,
}

impl Scripted {
    /// Runs `script` for each connection, with the connection's number.
    pub(crate) fn start(script: impl Fn(usize, &mut Peer) + Send + Sync + 'static) -> Self {
        let listener = ports::listen();
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Mutex::new(Shared::default()));
        let for_acceptor = Arc::clone(&shared);
        let acceptor = thread::Builder::new().name("scripted".to_owned());
        let acceptor = acceptor
            .spawn(move || accept(&listener, &for_acceptor, &Arc::new(script)))
            .expect("a thread");
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// Runs the steps of the list at a connection's number; connections beyond it are closed at
    /// once.
    pub(crate) fn steps(connections: Vec<Vec<Step>>) -> Self {
        Self::start(move |number, peer| {
            for step in connections.get(number).map(Vec::as_slice).unwrap_or_default() {
                peer.step(step);
            }
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn connect_string(&self) -> String {
        self.address.to_string()
    }

    /// All that the clients have sent, in the order of arrival.
    pub(crate) fn received(&self) -> Vec<Request> {
        locked(&self.shared).received.clone()
    }

    /// The requests of one operation ([`HANDSHAKE`] for handshakes), in the order of arrival.
    pub(crate) fn received_of(&self, op: i32) -> Vec<Request> {
        self.received().into_iter().filter(|request| request.op == op).collect()
    }

    /// Waits until `count` requests of one operation have arrived, and gives them.
    #[track_caller]
    pub(crate) fn wait_for(&self, op: i32, count: usize) -> Vec<Request> {
        eventually(&format!("{count} requests of operation {op}"), LIMIT, || {
            self.received_of(op).len() >= count
        });
        self.received_of(op)
    }

    /// How many connections were accepted so far.
    pub(crate) fn connections(&self) -> usize {
        locked(&self.shared).threads.len()
    }

    /// Ends, and panics unless every script ran to its end as written (hanging is an end).
    #[track_caller]
    pub(crate) fn finish(mut self) {
        eventually("all scripts are at their end", LIMIT, || locked(&self.shared).busy == 0);
        self.stop();
        let failures = std::mem::take(&mut locked(&self.shared).failures);
        assert!(failures.is_empty(), "scripted server: {failures:?}\n{}", self.transcript());
    }

    fn stop(&mut self) {
        let Some(acceptor) = self.acceptor.take() else {
            return;
        };
        locked(&self.shared).stopping = true;
        // Wakes the acceptor, which waits for a connection.
        drop(TcpStream::connect(self.address));
        acceptor.join().expect("the acceptor does not panic");
        let (streams, threads) = {
            let mut shared = locked(&self.shared);
            (std::mem::take(&mut shared.streams), std::mem::take(&mut shared.threads))
        };
        for (_, stream) in streams {
            // The client may have closed it.
            let _ = stream.shutdown(Shutdown::Both);
        }
        for thread in threads {
            thread.join().expect("a script's panic is caught");
        }
    }

    fn transcript(&self) -> String {
        let line = |r: &Request| {
            format!("  connection {} xid {} op {} {:02x?}\n", r.connection, r.xid, r.op, r.body)
        };
        self.received().iter().map(line).collect()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.stop();
        let failures = std::mem::take(&mut locked(&self.shared).failures);
        if thread::panicking() {
            eprintln!("scripted server: {failures:?}\n{}", self.transcript());
        } else if let Some((what, _)) = failures.iter().find(|(_, left)| !left) {
            panic!("scripted server: {what}\n{}", self.transcript());
        }
    }
}

/// One thing to do, for scripts that are lists.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Reads the connect request, grants what is given.
    Handshake(ConnectResponse),
    /// Reads a request of this operation.
    Expect(i32),
    /// Answers the request read last: zxid and body.
    Reply(i64, Vec<u8>),
    /// Answers the request read last with an error code.
    ReplyError(i32),
    /// Sends a notification: event type and path.
    Notify(i32, String),
    /// Sends bytes as they are.
    Raw(Vec<u8>),
    Delay(Duration),
    /// Reads on, answers nothing.
    Hang,
    Close,
}

/// The script's end of one connection.
#[derive(Debug)]
pub(crate) struct Peer {
    number: usize,
    stream: TcpStream,
    shared: Arc<Mutex<Shared>>,
    answer_pings: bool,
    resting: bool,
    last: Option<Request>,
}

/// How a script ends early: thrown with `resume_unwind`, which prints nothing by itself.
enum Ended {
    Left(String),
    Wrong(String),
}

impl Peer {
    /// Reads the connect request and grants a session: number 0x100 + the connection's number, or
    /// the one that the client came back with.
    pub(crate) fn handshake(&mut self) -> ConnectRequest {
        let request = self.read_connect();
        let session_id = match request.session_id {
            0 => 0x100 + self.number as i64,
            id => id,
        };
        self.grant(&ConnectResponse::new(session_id, request.timeout_ms));
        request
    }

    /// Reads the connect request, answers nothing.
    pub(crate) fn read_connect(&mut self) -> ConnectRequest {
        let Some(body) = self.read(Some(LIMIT)) else { self.left("the handshake") };
        let request = ConnectRequest::decode(&body);
        self.record(0, HANDSHAKE, body);
        request
    }

    /// Reads the four-letter word with which this connection begins; `None`, and nothing read, if
    /// it begins with something else.
    pub(crate) fn word(&mut self) -> Option<String> {
        let limit = Some(scaled(LIMIT));
        self.stream.set_read_timeout(limit).expect("a limit above 0");
        let mut word = [0; 4];
        loop {
            match self.stream.peek(&mut word) {
                Ok(4) => break,
                Ok(1..4) => thread::yield_now(),
                _ => return None,
            }
        }
        if !word.iter().all(u8::is_ascii_lowercase) {
            return None;
        }
        self.stream.read_exact(&mut word).ok()?;
        Some(String::from_utf8_lossy(&word).into_owned())
    }

    pub(crate) fn grant(&mut self, response: &ConnectResponse) {
        self.frame(&response.encode());
    }

    /// Whether pings that arrive while the script reads are answered by themselves; they are at
    /// first. An `expect(op::PING)` gets the ping either way.
    pub(crate) fn answer_pings(&mut self, yes: bool) {
        self.answer_pings = yes;
    }

    /// Reads the next request, which must be of this operation.
    pub(crate) fn expect(&mut self, op: i32) -> Request {
        loop {
            let Some(request) = self.next_unanswered() else {
                self.left(&format!("a request of operation {op}"))
            };
            if request.op == op {
                self.last = Some(request.clone());
                return request;
            } else if request.op == op::PING {
                self.pong_if_wanted(&request);
            } else if request.op == op::CLOSE_SESSION {
                self.left(&format!("a request of operation {op}"));
            } else {
                let got = format!("{} {:02x?}", request.op, request.body);
                let wrong = format!("operation {op} expected, got {got}");
                resume_unwind(Box::new(Ended::Wrong(wrong)));
            }
        }
    }

    /// Reads the next request that is no ping; `None` when the client has closed.
    pub(crate) fn next(&mut self) -> Option<Request> {
        loop {
            let request = self.next_unanswered()?;
            if request.op != op::PING {
                self.last = Some(request.clone());
                return Some(request);
            }
            self.pong_if_wanted(&request);
        }
    }

    /// Answers every request with what `answer` gives, until the client closes: zxid, error code
    /// and body. A closed session is answered too, and then its connection is closed.
    pub(crate) fn serve(&mut self, mut answer: impl FnMut(&Request) -> (i64, i32, Vec<u8>)) {
        self.rest();
        while let Some(request) = self.next() {
            let (zxid, err, body) = match request.op {
                op::CLOSE_SESSION => (1, 0, Vec::new()),
                _ => answer(&request),
            };
            self.reply_with(request.xid, zxid, err, &body);
            if request.op == op::CLOSE_SESSION {
                return self.close();
            }
        }
    }

    /// Answers `request` with success.
    pub(crate) fn reply(&mut self, request: &Request, zxid: i64, body: &[u8]) {
        self.reply_with(request.xid, zxid, 0, body);
    }

    /// Answers `request` with an error code.
    pub(crate) fn reply_error(&mut self, request: &Request, err: i32) {
        self.reply_with(request.xid, 0, err, &[]);
    }

    /// Sends a reply of any header.
    pub(crate) fn reply_with(&mut self, xid: i32, zxid: i64, err: i32, body: &[u8]) {
        self.frame(&reply(xid, zxid, err, body));
    }

    /// Sends a notification as servers before 3.9 do, with zxid -1.
    pub(crate) fn notify(&mut self, kind: i32, path: &str) {
        self.frame(&notification(kind, path));
    }

    /// Sends one frame of any content.
    pub(crate) fn frame(&mut self, content: &[u8]) {
        self.raw(&Out::new().buffer(content).0);
    }

    /// Sends bytes as they are: half a frame, several, nonsense.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        if self.stream.write_all(bytes).is_err() {
            self.left("bytes to be taken");
        }
    }

    pub(crate) fn delay(&self, time: Duration) {
        thread::sleep(scaled(time));
    }

    /// Reads and records what comes, and answers nothing, not even pings, until the client closes.
    pub(crate) fn hang(&mut self) {
        self.rest();
        while let Some(body) = self.read(None) {
            self.record_request(body);
        }
    }

    /// Answers pings only, until the client closes its session or its connection.
    pub(crate) fn idle(&mut self) {
        self.rest();
        while let Some(request) = self.next() {
            if request.op == op::CLOSE_SESSION {
                self.reply(&request, 1, &[]);
                return self.close();
            }
        }
    }

    /// Closes the connection in both directions. What was sent arrives first.
    pub(crate) fn close(&self) {
        // The client may have been faster.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Stops sending; goes on receiving.
    pub(crate) fn half_close(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Waits until the client sends something, and then resets the connection (RST): closing a
    /// socket with unread bytes does that. Ends the script.
    pub(crate) fn reset(&self) {
        let _ = self.stream.peek(&mut [0]);
        // Another handle to the same socket would keep it open.
        locked(&self.shared).streams.retain(|(number, _)| *number != self.number);
    }

    fn step(&mut self, step: &Step) {
        let last = |peer: &Self| peer.last.clone().expect("a reply needs an Expect before it");
        match step {
            Step::Handshake(response) => {
                self.read_connect();
                self.grant(response);
            }
            Step::Expect(op) => drop(self.expect(*op)),
            Step::Reply(zxid, body) => self.reply(&last(self), *zxid, body),
            Step::ReplyError(err) => self.reply_error(&last(self), *err),
            Step::Notify(kind, path) => self.notify(*kind, path),
            Step::Raw(bytes) => self.raw(bytes),
            Step::Delay(time) => self.delay(*time),
            Step::Hang => self.hang(),
            Step::Close => self.close(),
        }
    }

    /// From here on, only the client ends the script.
    fn rest(&mut self) {
        if !std::mem::replace(&mut self.resting, true) {
            locked(&self.shared).busy -= 1;
        }
    }

    fn next_unanswered(&mut self) -> Option<Request> {
        let body = self.read(Some(LIMIT))?;
        Some(self.record_request(body))
    }

    fn pong_if_wanted(&mut self, ping: &Request) {
        if self.answer_pings {
            self.reply_with(ping.xid, 0, 0, &[]);
        }
    }

    fn read(&mut self, limit: Option<Duration>) -> Option<Vec<u8>> {
        self.stream.set_read_timeout(limit.map(scaled)).expect("a limit above 0");
        read_frame(&mut self.stream).ok().flatten()
    }

    fn record_request(&self, body: Vec<u8>) -> Request {
        let mut from = In(&body);
        let (xid, op) = (from.i32(), from.i32());
        let rest = from.0.to_vec();
        self.record(xid, op, rest)
    }

    fn record(&self, xid: i32, op: i32, body: Vec<u8>) -> Request {
        let request = Request { connection: self.number, xid, op, body, at: Instant::now() };
        locked(&self.shared).received.push(request.clone());
        request
    }

    fn left(&self, waiting_for: &str) -> ! {
        resume_unwind(Box::new(Ended::Left(format!(
            "connection {}: the client left (or was silent for {LIMIT:?}) before {waiting_for}",
            self.number
        ))))
    }
}

/// The content of a reply's frame.
pub(crate) fn reply(xid: i32, zxid: i64, err: i32, body: &[u8]) -> Vec<u8> {
    Out::new().i32(xid).i64(zxid).i32(err).bytes(body).0
}

/// The content of a notification's frame, as servers before 3.9 send it.
pub(crate) fn notification(kind: i32, path: &str) -> Vec<u8> {
    const CONNECTED: i32 = 3;
    let header = Out::new().i32(xid::NOTIFICATION).i64(-1).i32(0);
    header.i32(kind).i32(CONNECTED).string(path).0
}

fn accept(
    listener: &TcpListener,
    shared: &Arc<Mutex<Shared>>,
    script: &Arc<impl Fn(usize, &mut Peer) + Send + Sync + 'static>,
) {
    for number in 0.. {
        let Ok((stream, _)) = listener.accept() else {
            return;
        };
        let mut guard = locked(shared);
        if guard.stopping {
            return;
        }
        stream.set_nodelay(true).expect("a connected socket");
        guard.streams.push((number, stream.try_clone().expect("a descriptor")));
        guard.busy += 1;
        let (shared, script) = (Arc::clone(shared), Arc::clone(script));
        let (answer_pings, resting, last) = (true, false, None);
        let mut peer = Peer { number, stream, shared, answer_pings, resting, last };
        let thread = thread::Builder::new().name(format!("scripted-{number}"));
        let thread = thread.spawn(move || run(&mut peer, &*script)).expect("a thread");
        guard.threads.push(thread);
    }
}

fn run(peer: &mut Peer, script: &impl Fn(usize, &mut Peer)) {
    let ended = catch_unwind(AssertUnwindSafe(|| script(peer.number, peer)));
    let failure = match ended.map_err(|cause| cause.downcast::<Ended>()) {
        Ok(()) => None,
        Err(Ok(ended)) => Some(match *ended {
            Ended::Left(what) => (what, true),
            Ended::Wrong(what) => (format!("connection {}: {what}", peer.number), false),
        }),
        Err(Err(cause)) => {
            let text = cause.downcast_ref::<String>().cloned();
            let text = text.or_else(|| cause.downcast_ref::<&str>().map(|&text| text.to_owned()));
            Some((text.unwrap_or_else(|| "a script panicked".to_owned()), false))
        }
    };
    let mut shared = locked(&peer.shared);
    // Once the test is over, connections are closed under the scripts.
    if !shared.stopping {
        shared.failures.extend(failure);
    }
    shared.busy -= usize::from(!peer.resting);
    // A script that is over holds no connection open; `reset` has let go of it in its own way.
    if let Some(at) = shared.streams.iter().position(|(number, _)| *number == peer.number) {
        let _ = shared.streams.swap_remove(at).1.shutdown(Shutdown::Both);
    }
}

fn locked(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a script waits for a client before it gives up; no test waits this long on purpose.
const LIMIT: Duration = Duration::from_secs(20);
