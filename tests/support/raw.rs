//! A ten-call client, one request at a time: the witness that a test asks when it does not want to
//! ask the library, and the second client that takes a session away.

use std::io::{self, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::wait::scaled;
use super::wire::{ConnectRequest, ConnectResponse, In, Out, Stat, op, read_frame, xid};

/// A connection with a session. It sends no pings: its session lives 10 s after its last call.
#[derive(Debug)]
pub(crate) struct Raw {
    stream: TcpStream,
    next_xid: i32,
    pub(crate) session: ConnectResponse,
    /// The notifications read so far: type and path.
    pub(crate) events: Vec<(i32, String)>,
}

/// A reply's header and body.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) zxid: i64,
    pub(crate) err: i32,
    pub(crate) body: Vec<u8>,
}

impl Raw {
    /// A new session; panics when there is none to be had.
    #[track_caller]
    pub(crate) fn connect(address: impl ToSocketAddrs) -> Self {
        match Self::handshake(address, &ConnectRequest::new()) {
            Ok(raw) => raw,
            Err(error) => panic!("raw client: no session: {error}"),
        }
    }

    /// Whatever session the server grants for `request`; a refused one has `timeout_ms` 0, a
    /// connection closed without an answer is an error of kind `UnexpectedEof`.
    pub(crate) fn handshake(
        address: impl ToSocketAddrs,
        request: &ConnectRequest,
    ) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(scaled(Duration::from_secs(10))))?;
        stream.write_all(&Out(request.encode()).framed())?;
        let frame = read_frame(&mut stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let session = ConnectResponse::decode(&frame);
        Ok(Self { stream, next_xid: 1, session, events: Vec::new() })
    }

    /// One request, one reply. Notifications on the way are kept in `events`.
    pub(crate) fn call(&mut self, op: i32, body: &[u8]) -> io::Result<Answer> {
        let xid = match op {
            op::PING => xid::PING,
            op::AUTH => xid::AUTH,
            _ => self.next_xid,
        };
        self.next_xid += i32::from(xid > 0);
        self.send(&Out::new().i32(xid).i32(op).bytes(body).0)?;
        loop {
            let frame = self.read()?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let mut from = In(&frame);
            let (got, zxid, err) = (from.i32(), from.i64(), from.i32());
            if got == xid::NOTIFICATION {
                let (kind, _state) = (from.i32(), from.i32());
                self.events.push((kind, from.string()));
            } else if got == xid {
                return Ok(Answer { zxid, err, body: from.0.to_vec() });
            } else {
                panic!("raw client: reply to {got}, but {xid} was asked");
            }
        }
    }

    /// A frame of any content.
    pub(crate) fn send(&mut self, body: &[u8]) -> io::Result<()> {
        self.send_all(&[body])
    }

    /// Several frames in one write.
    pub(crate) fn send_all(&mut self, bodies: &[&[u8]]) -> io::Result<()> {
        let frames = bodies.iter().fold(Out::new(), |out, body| out.buffer(body));
        self.stream.write_all(&frames.0)
    }

    /// The next frame of any content; `None` when the server closed.
    pub(crate) fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        read_frame(&mut self.stream)
    }

    /// How long a read or a write may take from now on; 10 s at first.
    pub(crate) fn set_limit(&self, limit: Duration) {
        self.stream.set_read_timeout(Some(limit)).expect("a limit above 0");
        self.stream.set_write_timeout(Some(limit)).expect("a limit above 0");
    }

    /// Reads the next frame, which must be a notification.
    pub(crate) fn next_event(&mut self) -> io::Result<(i32, String)> {
        let frame = self.read()?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut from = In(&frame);
        assert_eq!(from.i32(), xid::NOTIFICATION, "raw client: a reply where an event was due");
        let (_zxid, _err, kind, _state) = (from.i64(), from.i32(), from.i32(), from.i32());
        self.events.push((kind, from.string()));
        Ok(self.events[self.events.len() - 1].clone())
    }

    /// Creates a node that everybody may change; `flags` as in `CreateMode` (0 persistent,
    /// 1 ephemeral, 2 sequential, 3 both). Gives the path.
    pub(crate) fn create(&mut self, path: &str, data: &[u8], flags: i32) -> Result<String, i32> {
        let body = Out::new().string(path).buffer(data).open_acl().i32(flags);
        self.ask(op::CREATE, &body, |from| from.string())
    }

    pub(crate) fn get(&mut self, path: &str) -> Result<(Vec<u8>, Stat), i32> {
        let body = Out::new().string(path).bool(false);
        self.ask(op::GET_DATA, &body, |from| {
            (from.buffer().unwrap_or_default().to_vec(), from.stat())
        })
    }

    pub(crate) fn set(&mut self, path: &str, data: &[u8], version: i32) -> Result<Stat, i32> {
        let body = Out::new().string(path).buffer(data).i32(version);
        self.ask(op::SET_DATA, &body, |from| from.stat())
    }

    pub(crate) fn delete(&mut self, path: &str, version: i32) -> Result<(), i32> {
        self.ask(op::DELETE, &Out::new().string(path).i32(version), |_| ())
    }

    pub(crate) fn exists(&mut self, path: &str) -> Result<Stat, i32> {
        self.ask(op::EXISTS, &Out::new().string(path).bool(false), |from| from.stat())
    }

    /// Names of the children, sorted.
    pub(crate) fn children(&mut self, path: &str) -> Result<Vec<String>, i32> {
        let body = Out::new().string(path).bool(false);
        let mut names = self.ask(op::GET_CHILDREN, &body, |from| from.strings())?;
        names.sort();
        Ok(names)
    }

    pub(crate) fn sync(&mut self, path: &str) -> Result<(), i32> {
        self.ask(op::SYNC, &Out::new().string(path), |_| ())
    }

    /// `addauth digest user:password`.
    pub(crate) fn auth(&mut self, credential: &str) -> Result<(), i32> {
        let body = Out::new().i32(0).string("digest").string(credential);
        self.ask(op::AUTH, &body, |_| ())
    }

    /// Ends the session, not only the connection.
    pub(crate) fn close(mut self) {
        // The server may be gone: then the session ends by itself.
        let _ = self.call(op::CLOSE_SESSION, &[]);
    }

    fn ask<T>(
        &mut self,
        op: i32,
        body: &Out,
        read: impl FnOnce(&mut In<'_>) -> T,
    ) -> Result<T, i32> {
        let answer = match self.call(op, &body.0) {
            Ok(answer) => answer,
            Err(error) => panic!("raw client: operation {op}: {error}"),
        };
        if answer.err == 0 { Ok(read(&mut In(&answer.body))) } else { Err(answer.err) }
    }
}

/// Ends somebody else's session, as the protocol allows to whoever knows id and password: its
/// client's next contact is told that the session has expired.
pub(crate) fn expire(address: impl ToSocketAddrs, session_id: i64, password: &[u8]) {
    let password = password.to_vec();
    let request = ConnectRequest { session_id, password, ..ConnectRequest::new() };
    let raw = Raw::handshake(address, &request).expect("a server that answers");
    assert_eq!(raw.session.session_id, session_id, "the session was gone, or not this password");
    raw.close();
}
