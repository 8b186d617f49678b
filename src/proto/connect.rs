//! The first frame each way: the client names the session it wants, the server says which it got.
//!
//! Neither has a header. Both end with a read-only byte that servers before 3.4.0 leave out.
//!
//! Source: `ConnectRequest` and `ConnectResponse` in `zookeeper.jute`.

use std::fmt;

use super::jute::{DecodeError, Reader, Writer};

/// What the client asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnectRequest<'a> {
    /// The last transaction that the client has seen; a server that is behind it hangs up.
    pub(crate) last_zxid: i64,
    /// The session timeout asked for, in milliseconds.
    pub(crate) timeout_ms: i32,
    /// The session to go on with, 0 for a new one.
    pub(crate) session_id: i64,
    /// The password of that session; 16 zero bytes for a new one.
    pub(crate) password: &'a [u8],
    /// Whether a server that serves reads only will do.
    pub(crate) read_only: bool,
}

impl ConnectRequest<'_> {
    /// Appends the body, without the length of the frame.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut w = Writer::new(out);
        w.i32(PROTOCOL_VERSION);
        w.i64(self.last_zxid);
        w.i32(self.timeout_ms);
        w.i64(self.session_id);
        w.buffer(Some(self.password));
        w.bool(self.read_only);
    }
}

/// Shows everything but the password.
impl fmt::Debug for ConnectRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectRequest")
            .field("last_zxid", &self.last_zxid)
            .field("timeout_ms", &self.timeout_ms)
            .field("session_id", &format_args!("{:#x}", self.session_id))
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

/// What the server grants.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ConnectResponse {
    /// The session timeout granted, in milliseconds; 0 or less if the session asked for is over.
    pub(crate) timeout_ms: i32,
    /// The session; 0 if the one asked for is over.
    pub(crate) session_id: i64,
    /// The password of the session.
    pub(crate) password: Vec<u8>,
    /// Whether the server serves reads only; `None` from a server that is older than the question.
    pub(crate) read_only: Option<bool>,
}

impl ConnectResponse {
    /// Reads the body of the first frame. Bytes after the read-only byte are ignored.
    pub(crate) fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(body);
        let _protocol_version = r.i32()?;
        Ok(Self {
            timeout_ms: r.i32()?,
            session_id: r.i64()?,
            password: r.buffer()?.unwrap_or_default().to_vec(),
            read_only: if r.remaining() > 0 { Some(r.bool()?) } else { None },
        })
    }

    #[cfg(any(test, feature = "_fuzz"))]
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut w = Writer::new(out);
        w.i32(PROTOCOL_VERSION);
        w.i32(self.timeout_ms);
        w.i64(self.session_id);
        w.buffer(Some(&self.password));
        if let Some(read_only) = self.read_only {
            w.bool(read_only);
        }
    }
}

/// Shows everything but the password.
impl fmt::Debug for ConnectResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectResponse")
            .field("timeout_ms", &self.timeout_ms)
            .field("session_id", &format_args!("{:#x}", self.session_id))
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

/// The only version there has been.
const PROTOCOL_VERSION: i32 = 0;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::captured::unhex;

    #[test]
    fn request_for_a_new_session_is_golden() {
        let request = ConnectRequest {
            last_zxid: 0,
            timeout_ms: 30_000,
            session_id: 0,
            password: &[0; 16],
            read_only: false,
        };
        let mut out = Vec::new();
        request.encode(&mut out);
        let golden = "000000000000000000000000000075300000000000000000000000100000000000000000\
                      000000000000000000";
        assert_eq!(out, unhex(golden));
    }

    #[test]
    fn response_is_golden() {
        let golden = "00000000000075300100000a1b2c000100000010000102030405060708090a0b0c0d0e0f00";
        let response = ConnectResponse::decode(&unhex(golden)).unwrap();
        let expected = ConnectResponse {
            timeout_ms: 30_000,
            session_id: 0x0100_000a_1b2c_0001,
            password: (0..16).collect(),
            read_only: Some(false),
        };
        assert_eq!(response, expected);
    }

    #[test]
    fn response_cut_short_is_an_error() {
        let bytes =
            unhex("00000000000075300100000a1b2c000100000010000102030405060708090a0b0c0d0e0f");
        for len in 0..bytes.len() {
            assert!(ConnectResponse::decode(&bytes[..len]).is_err());
        }
        assert!(ConnectResponse::decode(&bytes).is_ok());
    }

    #[test]
    fn null_password_reads_as_empty() {
        let bytes = unhex("0000000000000000000000000000000000000000ffffffff");
        let response = ConnectResponse::decode(&bytes[4..]).unwrap();
        assert!(response.password.is_empty());
    }

    #[test]
    fn password_is_not_printed() {
        let password = b"\x7b".repeat(16);
        let request = ConnectRequest {
            last_zxid: 0,
            timeout_ms: 1,
            session_id: -1,
            password: &password,
            read_only: false,
        };
        let response = ConnectResponse {
            timeout_ms: 1,
            session_id: -1,
            password: password.clone(),
            read_only: None,
        };
        for shown in [format!("{request:?}"), format!("{response:?}")] {
            assert!(shown.contains("0xffffffffffffffff"), "{shown}");
            assert!(!shown.contains("123"), "{shown}");
        }
    }

    proptest! {
        #[test]
        fn response_comes_back_whatever_follows(
            timeout_ms: i32,
            session_id: i64,
            password: Vec<u8>,
            read_only: Option<bool>,
            tail: Vec<u8>,
        ) {
            let response = ConnectResponse { timeout_ms, session_id, password, read_only };
            let mut out = Vec::new();
            response.encode(&mut out);
            if read_only.is_some() {
                out.extend(tail);
            }
            prop_assert_eq!(ConnectResponse::decode(&out)?, response);
        }

        #[test]
        fn any_bytes_are_a_response_or_an_error(bytes: Vec<u8>) {
            let _ = ConnectResponse::decode(&bytes);
        }
    }
}
