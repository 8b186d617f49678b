//! ZooKeeper's bytes, written down a second time and independently of the library.
//!
//! [`Out`] writes, [`In`] reads (and panics on torn records: in a test that is the finding).
//!
//! Source: `zookeeper.jute`, `BinaryOutputArchive`, `ZooDefs.OpCode`.

use std::io::{self, Read};

/// The operations' numbers.
pub(crate) mod op {
    pub(crate) const CREATE: i32 = 1;
    pub(crate) const DELETE: i32 = 2;
    pub(crate) const EXISTS: i32 = 3;
    pub(crate) const GET_DATA: i32 = 4;
    pub(crate) const SET_DATA: i32 = 5;
    pub(crate) const GET_ACL: i32 = 6;
    pub(crate) const SET_ACL: i32 = 7;
    pub(crate) const GET_CHILDREN: i32 = 8;
    pub(crate) const SYNC: i32 = 9;
    pub(crate) const PING: i32 = 11;
    pub(crate) const GET_CHILDREN2: i32 = 12;
    pub(crate) const CHECK: i32 = 13;
    pub(crate) const MULTI: i32 = 14;
    pub(crate) const CREATE2: i32 = 15;
    pub(crate) const RECONFIG: i32 = 16;
    pub(crate) const CHECK_WATCHES: i32 = 17;
    pub(crate) const REMOVE_WATCHES: i32 = 18;
    pub(crate) const CREATE_CONTAINER: i32 = 19;
    pub(crate) const DELETE_CONTAINER: i32 = 20;
    pub(crate) const CREATE_TTL: i32 = 21;
    pub(crate) const MULTI_READ: i32 = 22;
    pub(crate) const AUTH: i32 = 100;
    pub(crate) const SET_WATCHES: i32 = 101;
    pub(crate) const SASL: i32 = 102;
    pub(crate) const GET_EPHEMERALS: i32 = 103;
    pub(crate) const GET_ALL_CHILDREN_NUMBER: i32 = 104;
    pub(crate) const SET_WATCHES2: i32 = 105;
    pub(crate) const ADD_WATCH: i32 = 106;
    pub(crate) const WHO_AM_I: i32 = 107;
    pub(crate) const CREATE_SESSION: i32 = -10;
    pub(crate) const CLOSE_SESSION: i32 = -11;
    pub(crate) const ERROR: i32 = -1;
}

/// The xids that are no numbers of requests.
pub(crate) mod xid {
    pub(crate) const NOTIFICATION: i32 = -1;
    pub(crate) const PING: i32 = -2;
    pub(crate) const AUTH: i32 = -4;
    pub(crate) const SET_WATCHES: i32 = -8;
}

/// The types of events, as in a notification.
pub(crate) mod event {
    pub(crate) const CREATED: i32 = 1;
    pub(crate) const DELETED: i32 = 2;
    pub(crate) const DATA_CHANGED: i32 = 3;
    pub(crate) const CHILDREN_CHANGED: i32 = 4;
}

/// Some of the server's error numbers.
pub(crate) mod code {
    pub(crate) const MARSHALLING_ERROR: i32 = -5;
    pub(crate) const UNIMPLEMENTED: i32 = -6;
    pub(crate) const NO_NODE: i32 = -101;
    pub(crate) const NO_AUTH: i32 = -102;
    pub(crate) const BAD_VERSION: i32 = -103;
    pub(crate) const NODE_EXISTS: i32 = -110;
    pub(crate) const NOT_EMPTY: i32 = -111;
    pub(crate) const SESSION_EXPIRED: i32 = -112;
    pub(crate) const AUTH_FAILED: i32 = -115;
    pub(crate) const SESSION_MOVED: i32 = -118;
    pub(crate) const NOT_READ_ONLY: i32 = -119;
}

/// Writes a record field by field.
#[derive(Clone, Debug, Default)]
pub(crate) struct Out(pub(crate) Vec<u8>);

impl Out {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn i32(self, value: i32) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(crate) fn i64(self, value: i64) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(crate) fn bool(self, value: bool) -> Self {
        self.bytes(&[u8::from(value)])
    }

    pub(crate) fn string(self, value: &str) -> Self {
        self.buffer(value.as_bytes())
    }

    pub(crate) fn buffer(self, value: &[u8]) -> Self {
        self.i32(i32::try_from(value.len()).expect("a record below 2 GiB")).bytes(value)
    }

    /// A string or buffer that is NULL: length -1.
    pub(crate) fn null(self) -> Self {
        self.i32(-1)
    }

    pub(crate) fn strings(self, values: &[&str]) -> Self {
        let count = self.i32(i32::try_from(values.len()).expect("a short list"));
        values.iter().fold(count, |out, value| out.string(value))
    }

    /// The list of one entry that lets everybody do everything.
    pub(crate) fn open_acl(self) -> Self {
        self.i32(1).i32(31).string("world").string("anyone")
    }

    pub(crate) fn stat(self, stat: &Stat) -> Self {
        self.i64(stat.czxid)
            .i64(stat.mzxid)
            .i64(stat.ctime)
            .i64(stat.mtime)
            .i32(stat.version)
            .i32(stat.cversion)
            .i32(stat.aversion)
            .i64(stat.ephemeral_owner)
            .i32(stat.data_length)
            .i32(stat.num_children)
            .i64(stat.pzxid)
    }

    /// Bytes as they are, without a length.
    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// What was written, behind its length: a frame.
    pub(crate) fn framed(self) -> Vec<u8> {
        Self::new().buffer(&self.0).0
    }
}

/// Reads a record field by field.
#[derive(Clone, Debug)]
pub(crate) struct In<'a>(pub(crate) &'a [u8]);

impl<'a> In<'a> {
    pub(crate) fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.take(4).try_into().expect("four bytes"))
    }

    pub(crate) fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.take(8).try_into().expect("eight bytes"))
    }

    pub(crate) fn bool(&mut self) -> bool {
        self.take(1) != [0]
    }

    pub(crate) fn buffer(&mut self) -> Option<&'a [u8]> {
        let len = self.i32();
        (len >= 0).then(|| self.take(len as usize))
    }

    pub(crate) fn string(&mut self) -> String {
        String::from_utf8_lossy(self.buffer().expect("a string that is not NULL")).into_owned()
    }

    pub(crate) fn strings(&mut self) -> Vec<String> {
        (0..self.i32()).map(|_| self.string()).collect()
    }

    pub(crate) fn stat(&mut self) -> Stat {
        Stat {
            czxid: self.i64(),
            mzxid: self.i64(),
            ctime: self.i64(),
            mtime: self.i64(),
            version: self.i32(),
            cversion: self.i32(),
            aversion: self.i32(),
            ephemeral_owner: self.i64(),
            data_length: self.i32(),
            num_children: self.i32(),
            pzxid: self.i64(),
        }
    }

    pub(crate) fn take(&mut self, len: usize) -> &'a [u8] {
        assert!(len <= self.0.len(), "torn record: {len} bytes wanted, {:?} left", self.0);
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }
}

/// What the server knows of a node, in the order of the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) czxid: i64,
    pub(crate) mzxid: i64,
    pub(crate) ctime: i64,
    pub(crate) mtime: i64,
    pub(crate) version: i32,
    pub(crate) cversion: i32,
    pub(crate) aversion: i32,
    pub(crate) ephemeral_owner: i64,
    pub(crate) data_length: i32,
    pub(crate) num_children: i32,
    pub(crate) pzxid: i64,
}

/// The first frame of a connection, from the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConnectRequest {
    pub(crate) protocol: i32,
    pub(crate) last_zxid: i64,
    pub(crate) timeout_ms: i32,
    pub(crate) session_id: i64,
    pub(crate) password: Vec<u8>,
    /// `None`: the byte is missing, as from clients older than 3.4.
    pub(crate) read_only: Option<bool>,
}

impl ConnectRequest {
    /// Asks for a new session.
    pub(crate) fn new() -> Self {
        Self {
            protocol: 0,
            last_zxid: 0,
            timeout_ms: 10_000,
            session_id: 0,
            password: vec![0; 16],
            read_only: Some(false),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let out = Out::new().i32(self.protocol).i64(self.last_zxid).i32(self.timeout_ms);
        let out = out.i64(self.session_id).buffer(&self.password);
        self.read_only.into_iter().fold(out, Out::bool).0
    }

    pub(crate) fn decode(bytes: &[u8]) -> Self {
        let mut from = In(bytes);
        Self {
            protocol: from.i32(),
            last_zxid: from.i64(),
            timeout_ms: from.i32(),
            session_id: from.i64(),
            password: from.buffer().unwrap_or_default().to_vec(),
            read_only: (!from.0.is_empty()).then(|| from.bool()),
        }
    }
}

/// The first frame of a connection, from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConnectResponse {
    pub(crate) protocol: i32,
    pub(crate) timeout_ms: i32,
    pub(crate) session_id: i64,
    pub(crate) password: Vec<u8>,
    /// `None`: the byte is missing, as from servers older than 3.4.
    pub(crate) read_only: Option<bool>,
}

impl ConnectResponse {
    pub(crate) fn new(session_id: i64, timeout_ms: i32) -> Self {
        let password = (0..16).collect();
        Self { protocol: 0, timeout_ms, session_id, password, read_only: Some(false) }
    }

    /// What a server answers to a session that is no more, or a wrong password.
    pub(crate) fn expired() -> Self {
        Self { password: vec![0; 16], ..Self::new(0, 0) }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let out = Out::new().i32(self.protocol).i32(self.timeout_ms).i64(self.session_id);
        self.read_only.into_iter().fold(out.buffer(&self.password), Out::bool).0
    }

    pub(crate) fn decode(bytes: &[u8]) -> Self {
        let mut from = In(bytes);
        Self {
            protocol: from.i32(),
            timeout_ms: from.i32(),
            session_id: from.i64(),
            password: from.buffer().unwrap_or_default().to_vec(),
            read_only: (!from.0.is_empty()).then(|| from.bool()),
        }
    }
}

/// Reads one frame, without its length; `None` at a clean end.
pub(crate) fn read_frame(stream: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut len = [0; 4];
    let got = loop {
        match stream.read(&mut len) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    match got {
        0 => return Ok(None),
        got => stream.read_exact(&mut len[got..])?,
    }
    let len = i32::from_be_bytes(len);
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, format!("frame of {len} bytes"));
    // A guard against reading text as a length, no limit of the protocol.
    if len > 256 << 20 {
        return Err(wrong());
    }
    let mut frame = vec![0; usize::try_from(len).map_err(|_| wrong())?];
    stream.read_exact(&mut frame)?;
    Ok(Some(frame))
}
