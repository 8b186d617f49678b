//! A server that answers at once, in a process of its own: what is counted is the client's.
//!
//! A thread per connection: one read, then one write with all the answers. It counts the requests
//! and the reads that brought them, and tells whoever connects and says `cnts`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use crate::Result;
use crate::wire::{
    CLOSE, CREATE, DATA, EXISTS, GET_DATA, NODE, SET_DATA, STAT_LEN, UNIMPLEMENTED, XID_PING,
    connect_response, data_changed, first_frame, int, reply, text,
};

/// What came in, of all connections.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arrived {
    pub requests: u64,
    pub reads: u64,
}

/// Asks the server what came in so far.
pub fn arrived(address: &str) -> Result<Arrived> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(COUNTS)?;
    let mut answer = [0; 16];
    stream.read_exact(&mut answer)?;
    let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, b| sum << 8 | u64::from(*b));
    Ok(Arrived { requests: number(&answer[..8]), reads: number(&answer[8..]) })
}

/// Prints the address, and serves until the process is killed.
pub fn run() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    for stream in listener.incoming() {
        let stream = stream?;
        stream.set_nodelay(true)?;
        // A connection that breaks has no more requests, which is all there is to say about it.
        thread::spawn(move || Connection::new(stream).serve());
    }
    Ok(())
}

struct Connection {
    stream: TcpStream,
    answers: Answers,
    greeted: bool,
    out: Vec<u8>,
}

/// What to say, encoded once.
struct Answers {
    ok: Vec<u8>,
    data: Vec<u8>,
    stat: Vec<u8>,
    path: Vec<u8>,
    unknown: Vec<u8>,
    changed: Vec<u8>,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        let stat = [0; STAT_LEN];
        let answers = Answers {
            ok: reply(0, &[]),
            data: reply(0, &[&text(&DATA), &stat[..]].concat()),
            stat: reply(0, &stat),
            path: reply(0, &text(NODE.as_bytes())),
            unknown: reply(UNIMPLEMENTED, &[]),
            changed: data_changed(NODE.as_bytes()),
        };
        Self { stream, answers, greeted: false, out: Vec::new() }
    }

    fn serve(&mut self) -> Result<()> {
        let mut held = vec![0; 1024 * 1024];
        let mut len = 0;
        loop {
            let n = self.stream.read(&mut held[len..])?;
            if n == 0 {
                return Ok(());
            }
            len += n;
            if held.starts_with(COUNTS) {
                let [requests, reads] = [&REQUESTS, &READS].map(|n| n.load(Relaxed).to_be_bytes());
                self.stream.write_all(&[requests, reads].concat())?;
                return Ok(());
            }
            READS.fetch_add(1, Relaxed);
            let used = self.answer(&held[..len]);
            held.copy_within(used..len, 0);
            len -= used;
            self.stream.write_all(&self.out)?;
            self.out.clear();
        }
    }

    /// Answers the whole requests that `bytes` begin with; gives their length.
    fn answer(&mut self, bytes: &[u8]) -> usize {
        let (mut at, mut count) = (0, 0);
        while let Some(request) = first_frame(&bytes[at..]) {
            at += 4 + request.len();
            if !self.greeted {
                self.greeted = true;
                self.out.extend_from_slice(&connect_response(7));
                continue;
            }
            count += 1;
            let (xid, op) = (int(request, 0), int(request, 4));
            let answer = match op {
                _ if xid == XID_PING => &self.answers.ok,
                GET_DATA => &self.answers.data,
                SET_DATA | EXISTS => &self.answers.stat,
                CREATE => &self.answers.path,
                CLOSE => &self.answers.ok,
                _ => &self.answers.unknown,
            };
            let start = self.out.len();
            self.out.extend_from_slice(answer);
            self.out[start + 4..start + 8].copy_from_slice(&xid.to_be_bytes());
            // A watch fires as soon as it is set.
            if op == GET_DATA && request.last() == Some(&1) {
                self.out.extend_from_slice(&self.answers.changed);
            }
        }
        REQUESTS.fetch_add(count, Relaxed);
        at
    }
}

const COUNTS: &[u8] = b"cnts";

static REQUESTS: AtomicU64 = AtomicU64::new(0);
static READS: AtomicU64 = AtomicU64::new(0);
