//! The headers of requests and replies, and the xids that mean something.

use super::jute::{DecodeError, Reader, Writer};
use super::opcode::OpCode;

/// The xid of a notification: the server tells of a watch that fired.
pub(crate) const XID_NOTIFICATION: i32 = -1;
/// The xid of a ping and of its answer.
pub(crate) const XID_PING: i32 = -2;
/// The xid of an auth packet and of its answer.
pub(crate) const XID_AUTH: i32 = -4;

/// The header of every reply and notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplyHeader {
    /// The xid of the request that this answers, or one of the constants of this module.
    pub(crate) xid: i32,
    /// The last transaction that the server had seen. Notifications carry -1 before 3.9.0 and the
    /// transaction of the event since.
    pub(crate) zxid: i64,
    /// The error number, 0 for none.
    pub(crate) err: i32,
}

impl ReplyHeader {
    /// The size of the header in bytes.
    pub(crate) const LEN: usize = 16;

    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match r.fixed::<{ Self::LEN }>() {
            Some(bytes) => Self::fields(&mut Reader::new(bytes)),
            // Says where the bytes end.
            None => Self::fields(r),
        }
    }

    #[inline(always)]
    fn fields(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { xid: r.i32()?, zxid: r.i64()?, err: r.i32()? })
    }

    #[cfg(any(test, feature = "_fuzz"))]
    pub(crate) fn encode(&self, w: &mut Writer<'_>) {
        w.i32(self.xid);
        w.i64(self.zxid);
        w.i32(self.err);
    }
}

/// Appends the header of a request.
pub(crate) fn request_header(out: &mut Vec<u8>, xid: i32, op: OpCode) {
    let mut w = Writer::new(out);
    w.i32(xid);
    w.i32(op.raw());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::captured::unhex;

    #[test]
    fn ping_is_a_header_and_nothing_else() {
        let mut out = Vec::new();
        request_header(&mut out, XID_PING, OpCode::Ping);
        assert_eq!(out, unhex("fffffffe0000000b"));
    }

    #[test]
    fn close_session_has_a_negative_number() {
        let mut out = Vec::new();
        request_header(&mut out, 5, OpCode::CloseSession);
        assert_eq!(out, unhex("00000005fffffff5"));
    }

    #[test]
    fn reply_header_cut_short_is_an_error() {
        let bytes = [0; ReplyHeader::LEN];
        for len in 0..ReplyHeader::LEN {
            assert!(ReplyHeader::decode(&mut Reader::new(&bytes[..len])).is_err());
        }
    }

    proptest! {
        #[test]
        fn reply_header_comes_back_and_leaves_the_body(
            xid: i32,
            zxid: i64,
            err: i32,
            body: Vec<u8>,
        ) {
            let header = ReplyHeader { xid, zxid, err };
            let mut out = Vec::new();
            header.encode(&mut Writer::new(&mut out));
            prop_assert_eq!(out.len(), ReplyHeader::LEN);
            out.extend_from_slice(&body);
            let mut r = Reader::new(&out);
            prop_assert_eq!(ReplyHeader::decode(&mut r)?, header);
            prop_assert_eq!(r.rest(), &body);
        }
    }
}
