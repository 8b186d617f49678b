//! A server that answers at once: what a client costs against it is the client's own.
//!
//! One thread. Per burst one wait, one read, and one write with all the answers.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::Result;
use crate::wire::{
    CLOSE, CREATE, DATA, EXISTS, GET_DATA, NODE, SET_DATA, STAT_LEN, XID_PING, connect_response,
    first_frame, int, reply, text,
};

struct Peer {
    stream: TcpStream,
    held: Vec<u8>,
    out: Vec<u8>,
    greeted: bool,
}

/// What to say, encoded once.
struct Answers {
    ok: Vec<u8>,
    data: Vec<u8>,
    stat: Vec<u8>,
    path: Vec<u8>,
    unknown: Vec<u8>,
}

pub fn run() -> Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
    poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
    println!("{}", listener.local_addr()?);

    let stat = [0; STAT_LEN];
    let answers = Answers {
        ok: reply(0, &[]),
        data: reply(0, &[&text(&DATA), &stat[..]].concat()),
        stat: reply(0, &stat),
        path: reply(0, &text(NODE.as_bytes())),
        unknown: reply(-6, &[]),
    };
    let mut peers: HashMap<Token, Peer> = HashMap::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut events = Events::with_capacity(64);
    let mut next = 1;
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == Token(0) {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    poll.registry().register(&mut stream, Token(next), interest)?;
                    let peer = Peer { stream, held: vec![], out: vec![], greeted: false };
                    peers.insert(Token(next), peer);
                    next += 1;
                }
            } else if let Some(peer) = peers.get_mut(&event.token())
                && !peer.serve(&mut buffer, &answers)
            {
                peers.remove(&event.token());
            }
        }
    }
}

impl Peer {
    /// False when the connection is over.
    fn serve(&mut self, buffer: &mut [u8], answers: &Answers) -> bool {
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
                let held = std::mem::take(&mut self.held);
                let used = self.answer(&held, answers);
                self.held.extend_from_slice(&held[used..]);
            }
            if !self.flush() {
                return false;
            }
            if n < buffer.len() {
                return true;
            }
        }
    }

    fn answer(&mut self, bytes: &[u8], answers: &Answers) -> usize {
        let mut at = 0;
        while let Some(request) = first_frame(&bytes[at..]) {
            at += 4 + request.len();
            if !self.greeted {
                self.greeted = true;
                self.out.extend_from_slice(&connect_response(7));
                continue;
            }
            let xid = int(request, 0);
            let answer = match int(request, 4) {
                _ if xid == XID_PING => &answers.ok,
                GET_DATA => &answers.data,
                SET_DATA | EXISTS => &answers.stat,
                CREATE => &answers.path,
                CLOSE => &answers.ok,
                _ => &answers.unknown,
            };
            let start = self.out.len();
            self.out.extend_from_slice(answer);
            self.out[start + 4..start + 8].copy_from_slice(&xid.to_be_bytes());
        }
        at
    }

    fn flush(&mut self) -> bool {
        if self.out.is_empty() {
            return true;
        }
        match self.stream.write(&self.out) {
            Ok(n) => drop(self.out.drain(..n)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
        true
    }
}
