//! A server that answers at once: what a client costs against it is the client's own.
//!
//! One thread. Per burst one wait, one read, and one write with all the answers.

mod answers;

pub use answers::child;

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::Result;
use crate::wire::{CLOSE, buffer, connect_response, first_frame, int, long};
use answers::Answers;

struct Peer {
    stream: TcpStream,
    held: Vec<u8>,
    out: Vec<u8>,
    /// How much of `out` is sent.
    sent: usize,
    greeted: bool,
    closing: bool,
}

pub fn run() -> Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
    poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
    crate::cue::say(&listener.local_addr()?.to_string())?;

    let mut answers = Answers::new();
    let mut peers: HashMap<Token, Peer> = HashMap::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut events = Events::with_capacity(64);
    let mut next = 1;
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            if event.token() == Token(0) {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    poll.registry().register(&mut stream, Token(next), interest)?;
                    peers.insert(Token(next), Peer::new(stream));
                    next += 1;
                }
            } else if let Some(peer) = peers.get_mut(&event.token())
                && !peer.serve(&mut buffer, &mut answers)
            {
                peers.remove(&event.token());
            }
        }
    }
}

impl Peer {
    fn new(stream: TcpStream) -> Self {
        Self { stream, held: vec![], out: vec![], sent: 0, greeted: false, closing: false }
    }

    /// False when the connection is over.
    fn serve(&mut self, buffer: &mut [u8], answers: &mut Answers) -> bool {
        loop {
            let n = match self.stream.read(buffer) {
                Ok(0) => return false,
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.flush(),
                Err(_) => return false,
            };
            // Straight from the buffer, but for a request that is not all there.
            if self.held.is_empty() {
                let used = self.answer(&buffer[..n], answers);
                self.held.extend_from_slice(&buffer[used..n]);
            } else {
                self.held.extend_from_slice(&buffer[..n]);
                let mut held = std::mem::take(&mut self.held);
                let used = self.answer(&held, answers);
                held.drain(..used);
                self.held = held;
            }
            if !self.flush() {
                return false;
            }
            if n < buffer.len() {
                return true;
            }
        }
    }

    fn answer(&mut self, bytes: &[u8], answers: &mut Answers) -> usize {
        let mut at = 0;
        while let Some(request) = first_frame(&bytes[at..]) {
            at += 4 + request.len();
            if self.greeted {
                answers.answer(request, &mut self.out);
                self.closing |= int(request, 4) == CLOSE;
            } else {
                self.greeted = true;
                self.out.extend_from_slice(&greeting(request));
            }
        }
        at
    }

    fn flush(&mut self) -> bool {
        while self.sent < self.out.len() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
        self.out.clear();
        self.sent = 0;
        !self.closing
    }
}

/// The session that was asked for again, or a new one, with the time-out that was asked for.
fn greeting(request: &[u8]) -> Vec<u8> {
    // Old clients do not know the last byte.
    let without_read_only = 28 + buffer(request, 24).len();
    let session = match long(request, 16) {
        0 => 7,
        again => again,
    };
    connect_response(int(request, 12), session, request.len() > without_read_only)
}
