//! The floor: requests encoded beforehand, one socket, no threads to wake.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::measure::{Tally, measure};
use crate::wire::{
    CLOSE, CREATE, CREATED, GET_CHILDREN, GET_DATA, OK, REPLY_HEADER_LEN, SET_DATA, SET_WATCHES2,
    STAT_LEN, XID_EVENT, connect_request, first_frame, int, list_node, long, missing_node, node,
    request, text, watched_node,
};
use crate::{Job, NoSuchCall, Result, cue};

pub fn run(job: &Job) -> Result<()> {
    match job.work.as_str() {
        "connect" => {
            let mut session = Session::new(&job.address)?;
            session.get()?;
            cue::stamp("answered")?;
            cue::wait_end()
        }
        "rearm" => rearm(job),
        _ => rate(job),
    }
}

/// Keeps `n` requests in flight: as many new ones as answers came, in one write.
fn rate(job: &Job) -> Result<()> {
    let session = Session::new(&job.address)?;
    let (one, answer_len) = request_of(job)?;
    // Twice the window: any run of requests in it lies in one piece.
    let requests: Vec<u8> = (0..2 * job.n).flat_map(|i| one(i % job.n)).collect();
    let len = requests.len() / job.n / 2;
    // A watch brings its event behind the answer.
    let frames_per_call = if job.work == "watch" { 2 } else { 1 };
    let figures = measure(1, job.length, |tally: Tally<'_>| {
        let mut stream = &session.stream;
        let mut answers = Answers::new(answer_len, frames_per_call == 2);
        let mut buffer = vec![0; 256 * 1024];
        let mut next = 0;
        let mut start = Instant::now();
        stream.write_all(&requests[..job.n * len])?;
        loop {
            let n = stream.read(&mut buffer)?;
            if n == 0 {
                return Err("the server closed the connection".into());
            }
            let calls = answers.take(&buffer[..n], frames_per_call)?;
            // Only one call at a time has a time of its own.
            let go_on = match (calls, job.n) {
                (0, _) => true,
                (_, 1) => tally.took(std::mem::replace(&mut start, Instant::now())),
                _ => tally.did(calls as u64),
            };
            if !go_on {
                return Ok(());
            }
            stream.write_all(&requests[next * len..(next + calls) * len])?;
            next = (next + calls) % job.n;
        }
    })?;
    cue::say(&figures)?;
    cue::wait_end()?;
    session.close()
}

/// The `i`th request, and how long the answer is, if that is known.
#[expect(clippy::type_complexity)]
fn request_of(job: &Job) -> Result<(Box<dyn Fn(usize) -> Vec<u8>>, Option<usize>)> {
    let Job { size, .. } = *job;
    let path = text(node(size).as_bytes());
    let data = text(&vec![b'x'; size]);
    let data_len = REPLY_HEADER_LEN + 4 + size + STAT_LEN;
    Ok(match job.work.as_str() {
        "sync-get" | "pipe-get" => {
            (Box::new(move |_| request(1, GET_DATA, &[&path, &[0]])), Some(data_len))
        }
        "sync-set" | "pipe-set" => {
            let any = (-1_i32).to_be_bytes();
            (
                Box::new(move |_| request(1, SET_DATA, &[&path, &data, &any])),
                Some(REPLY_HEADER_LEN + STAT_LEN),
            )
        }
        "pipe-create" => (Box::new(move |_| create(&data)), None),
        "sync-list" => {
            let path = text(list_node(size).as_bytes());
            (Box::new(move |_| request(1, GET_CHILDREN, &[&path, &[0]])), None)
        }
        "watch" => {
            (Box::new(|i| request(1, GET_DATA, &[&text(watched_node(i).as_bytes()), &[1]])), None)
        }
        _ => return Err(NoSuchCall.into()),
    })
}

fn create(data: &[u8]) -> Vec<u8> {
    const EPHEMERAL_SEQUENTIAL: i32 = 3;
    const ALL: i32 = 31;
    let acl = [&1_i32.to_be_bytes()[..], &ALL.to_be_bytes(), &text(b"world"), &text(b"anyone")];
    let flags = EPHEMERAL_SEQUENTIAL.to_be_bytes();
    request(1, CREATE, &[&text(CREATED.as_bytes()), data, &acl.concat(), &flags])
}

/// Counts answers without keeping them.
struct Answers {
    expected: Option<usize>,
    events: bool,
    /// The beginning of a frame: its length and its header.
    head: Vec<u8>,
    /// What is still to come of the frame whose head was seen.
    rest: usize,
    frames: usize,
}

impl Answers {
    fn new(expected: Option<usize>, events: bool) -> Self {
        Self { expected, events, head: Vec::new(), rest: 0, frames: 0 }
    }

    /// How many calls `bytes` complete.
    fn take(&mut self, mut bytes: &[u8], frames_per_call: usize) -> Result<usize> {
        const HEAD: usize = 4 + REPLY_HEADER_LEN;
        while !bytes.is_empty() {
            if self.rest > 0 {
                let n = self.rest.min(bytes.len());
                self.rest -= n;
                bytes = &bytes[n..];
            } else if self.head.is_empty() && bytes.len() >= HEAD {
                self.rest = self.check(&bytes[..HEAD])?;
                bytes = &bytes[HEAD..];
            } else {
                let n = (HEAD - self.head.len()).min(bytes.len());
                self.head.extend_from_slice(&bytes[..n]);
                bytes = &bytes[n..];
                if self.head.len() < HEAD {
                    continue;
                }
                let head = std::mem::take(&mut self.head);
                self.rest = self.check(&head)?;
            }
            if self.rest == 0 {
                self.frames += 1;
            }
        }
        let calls = self.frames / frames_per_call;
        self.frames %= frames_per_call;
        Ok(calls)
    }

    /// How many bytes follow behind a head.
    fn check(&self, head: &[u8]) -> Result<usize> {
        let (len, xid, err) = (usize::try_from(int(head, 0))?, int(head, 4), int(head, 16));
        let wrong = self.expected.is_some_and(|expected| expected != len)
            || (xid == XID_EVENT && !self.events);
        if err != OK || wrong {
            return Err(format!("an answer of {len} bytes, xid {xid}, error {err}").into());
        }
        Ok(len - REPLY_HEADER_LEN)
    }
}

/// Sets watches, and after each cut the session and its watches again: what the server takes.
fn rearm(job: &Job) -> Result<()> {
    let mut session = Session::new(&job.address)?;
    session.get()?;
    let watches = set_watches(job.n);
    session.set_watches(&watches)?;
    cue::say("ready")?;
    thread::spawn(|| {
        let _ = cue::wait_end();
        std::process::exit(0);
    });
    loop {
        // Until the connection is cut.
        let n = session.stream.read(&mut [0; 64]);
        if n.is_ok_and(|n| n > 0) {
            return Err("an answer that nobody asked for".into());
        }
        session.connect_again(&job.address)?;
        cue::stamp("resumed")?;
        session.set_watches(&watches)?;
        session.get()?;
        cue::stamp("answered")?;
    }
}

/// Requests that set so many watches on nodes that do not exist, each of 128 KiB at most.
fn set_watches(n: usize) -> Vec<Vec<u8>> {
    let none = 0_i32.to_be_bytes();
    let paths: Vec<Vec<u8>> = (0..n).map(|i| text(missing_node(i).as_bytes())).collect();
    let batches = paths.chunks(128 * 1024 / 20);
    let request_of = |batch: &[Vec<u8>]| {
        let count = i32::try_from(batch.len()).expect("not so many").to_be_bytes();
        let exist = [&count, &*batch.concat()].concat();
        // Data, exist, child, persistent and recursive watches.
        request(-8, SET_WATCHES2, &[&i64::MAX.to_be_bytes(), &none, &exist, &none, &none, &none])
    };
    batches.map(request_of).collect()
}

struct Session {
    stream: TcpStream,
    id: i64,
    password: Vec<u8>,
    held: Vec<u8>,
}

impl Session {
    fn new(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        let mut session = Self { stream, id: 0, password: vec![0; 16], held: vec![] };
        session.greet()?;
        Ok(session)
    }

    fn connect_again(&mut self, address: &str) -> Result<()> {
        self.stream = TcpStream::connect(address)?;
        self.held.clear();
        self.greet()
    }

    fn greet(&mut self) -> Result<()> {
        self.stream.set_nodelay(true)?;
        self.stream.write_all(&connect_request(self.id, &self.password, 0))?;
        let answer = self.frame()?;
        self.id = long(&answer, 8);
        self.password = crate::wire::buffer(&answer, 16).to_vec();
        if self.id == 0 { Err("the server refused the session".into()) } else { Ok(()) }
    }

    fn get(&mut self) -> Result<()> {
        let path = text(node(100).as_bytes());
        self.stream.write_all(&request(1, GET_DATA, &[&path, &[0]]))?;
        let answer = self.frame()?;
        if int(&answer, 12) != OK { Err("the get was refused".into()) } else { Ok(()) }
    }

    fn set_watches(&mut self, requests: &[Vec<u8>]) -> Result<()> {
        self.stream.write_all(&requests.concat())?;
        for _ in requests {
            if int(&self.frame()?, 12) != OK {
                return Err("the watches were refused".into());
            }
        }
        Ok(())
    }

    fn frame(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(frame) = first_frame(&self.held) {
                let frame = frame.to_vec();
                self.held.drain(..4 + frame.len());
                return Ok(frame);
            }
            let mut bytes = [0; 4096];
            let n = self.stream.read(&mut bytes)?;
            if n == 0 {
                return Err("the server closed the connection".into());
            }
            self.held.extend_from_slice(&bytes[..n]);
        }
    }

    /// Ends the session, so that its nodes are gone when this process is.
    fn close(mut self) -> Result<()> {
        self.stream.write_all(&request(1, CLOSE, &[]))?;
        self.stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut bytes = vec![0; 256 * 1024];
        while self.stream.read(&mut bytes)? > 0 {}
        let _ = self.stream.shutdown(Shutdown::Both);
        Ok(())
    }
}
