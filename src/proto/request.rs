//! The bodies of requests, smallest first. Each is what follows the request header.
//!
//! Paths are those of the server: whoever has a chroot has put it in front already. Nothing is
//! checked here; a bad path is refused before it comes this far.
//!
//! Source: the records of the same names in `zookeeper.jute`.

use std::fmt;

use super::acl::Acl;
use super::jute::Writer;
#[cfg(test)]
use super::jute::{DecodeError, Reader};

/// A path and nothing else: get_acl, sync, get_ephemerals, get_all_children_number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PathRequest<'a> {
    pub(crate) path: &'a str,
}

impl PathRequest<'_> {
    pub(crate) fn encode(&self, w: &mut Writer<'_>) {
        w.string(self.path);
    }

    #[cfg(test)]
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<String, DecodeError> {
        r.string()
    }
}

/// A read that may leave a watch: exists, get_data, get_children.
///
/// The flag is the last byte of the body, so that it can be switched in an encoded request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WatchedRead<'a> {
    pub(crate) path: &'a str,
    pub(crate) watch: bool,
}

impl WatchedRead<'_> {
    pub(crate) fn encode(&self, w: &mut Writer<'_>) {
        w.string(self.path);
        w.bool(self.watch);
    }

    #[cfg(test)]
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<(String, bool), DecodeError> {
        Ok((r.string()?, r.bool()?))
    }
}

/// delete; version -1 is any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeleteRequest<'a> {
    pub(crate) path: &'a str,
    pub(crate) version: i32,
}

impl DeleteRequest<'_> {
    pub(crate) fn encode(&self, w: &mut Writer<'_>) {
        w.string(self.path);
        w.i32(self.version);
    }

    #[cfg(test)]
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<(String, i32), DecodeError> {
        Ok((r.string()?, r.i32()?))
    }
}

/// check, the member of a transaction; version -1 is any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CheckRequest<'a> {
    pub(crate) path: &'a str,
    pub(crate) version: i32,
}

impl CheckRequest<'_> {
    pub(crate) fn encode(&self, w: &mut Writer<'_>) {
        w.string(self.path);
        w.i32(self.version);
    }

    #[cfg(test)]
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<(String, i32), DecodeError> {
        Ok((r.string()?, r.i32()?))
    }
}

/// add_watch; mode 0 is persistent, 1 is persistent and recursive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AddWatchRequest<'a> {
    pub(crate) path: &'a str,
    pub(crate) mode: i32,
}

impl AddWatchRequest<'_> {
    pub(crate) fn encode(&self, w: &mut Writer<'_>) {
        w.string(self.path);
        w.i32(self.mode);
    }

    #[cfg(test)]
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<(String, i32), DecodeError> {
        Ok((r.string()?, r.i32()?))
    }
}

/// remove_watches and check_watches; kind 1 is children, 2 data, 3 any; from 3.9.0 also 4
/// persistent and 5 persistent and recursive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RemoveWatchesRequest<'a> {
    pub(crate) path: &'a str,
    pub(crate) kind: i32,
}

impl RemoveWatchesRequest<'_> {
    pub(crate) fn encode(&self, w: &mut Writer<'_>) {
        w.string(self.path);
        w.i32(self.kind);
    }

    #[cfg(test)]
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<(String, i32), DecodeError> {
        Ok((r.string()?, r.i32()?))
    }
}

/// set_data; version -1 is any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SetDataRequest<'a> {
    pub(crate) path: &'a str,
    pub(crate) data: Option<&'a [u8]>,
    pub(crate) version: i32,
}

impl SetDataRequest<'_> {
    pub(crate) fn encode(&self, w: &mut Writer<'_>) {
        w.string(self.path);
        w.buffer(self.data);
        w.i32(self.version);
    }

    #[cfg(test)]
    pub(crate) fn decode(
        r: &mut Reader<'_>,
    ) -> Result<(String, Option<Vec<u8>>, i32), DecodeError> {
        Ok((r.string()?, r.buffer()?.map(<[u8]>::to_vec), r.i32()?))
    }
}

/// set_acl; the version is that of the ACL, -1 is any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SetAclRequest<'a> {
    pub(crate) path: &'a str,
    pub(crate) acl: &'a [Acl],
    pub(crate) version: i32,
}

impl SetAclRequest<'_> {
    pub(crate) fn encode(&self, w: &mut Writer<'_>) {
        w.string(self.path);
        Acl::encode_all(self.acl, w);
        w.i32(self.version);
    }

    #[cfg(test)]
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<(String, Vec<Acl>, i32), DecodeError> {
        Ok((r.string()?, Acl::decode_all(r)?, r.i32()?))
    }
}

/// create, in its three plain forms: create, create2, create_container.
///
/// Flags: 0 persistent, 1 ephemeral, 2 persistent sequential, 3 ephemeral sequential, 4 container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CreateRequest<'a> {
    pub(crate) path: &'a str,
    pub(crate) data: Option<&'a [u8]>,
    pub(crate) acl: &'a [Acl],
    pub(crate) flags: i32,
}

impl CreateRequest<'_> {
    pub(crate) fn encode(&self, w: &mut Writer<'_>) {
        w.string(self.path);
        w.buffer(self.data);
        Acl::encode_all(self.acl, w);
        w.i32(self.flags);
    }

    #[cfg(test)]
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<DecodedCreate, DecodeError> {
        Ok(DecodedCreate {
            path: r.string()?,
            data: r.buffer()?.map(<[u8]>::to_vec),
            acl: Acl::decode_all(r)?,
            flags: r.i32()?,
        })
    }
}

/// What a create request says, read back.
#[cfg(test)]
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DecodedCreate {
    pub(crate) path: String,
    pub(crate) data: Option<Vec<u8>>,
    pub(crate) acl: Vec<Acl>,
    pub(crate) flags: i32,
}

/// create of a node that is deleted when it has been without change and without children for
/// `ttl_ms`.
///
/// Flags: 5 persistent, 6 persistent sequential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CreateTtlRequest<'a> {
    pub(crate) path: &'a str,
    pub(crate) data: Option<&'a [u8]>,
    pub(crate) acl: &'a [Acl],
    pub(crate) flags: i32,
    /// 1 to 2^40 - 1 milliseconds, see `EphemeralType.java`.
    pub(crate) ttl_ms: i64,
}

impl CreateTtlRequest<'_> {
    pub(crate) fn encode(&self, w: &mut Writer<'_>) {
        w.string(self.path);
        w.buffer(self.data);
        Acl::encode_all(self.acl, w);
        w.i32(self.flags);
        w.i64(self.ttl_ms);
    }

    #[cfg(test)]
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<(DecodedCreate, i64), DecodeError> {
        Ok((CreateRequest::decode(r)?, r.i64()?))
    }
}

/// reconfig: either servers that join and leave, or all members; version -1 is any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReconfigRequest<'a> {
    pub(crate) joining: Option<&'a str>,
    pub(crate) leaving: Option<&'a str>,
    pub(crate) members: Option<&'a str>,
    pub(crate) version: i64,
}

impl ReconfigRequest<'_> {
    pub(crate) fn encode(&self, w: &mut Writer<'_>) {
        w.opt_string(self.joining);
        w.opt_string(self.leaving);
        w.opt_string(self.members);
        w.i64(self.version);
    }

    #[cfg(test)]
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<(String, String, String, i64), DecodeError> {
        Ok((r.string()?, r.string()?, r.string()?, r.i64()?))
    }
}

/// auth. It is sent with [`XID_AUTH`](super::header::XID_AUTH).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct AuthRequest<'a> {
    pub(crate) scheme: &'a str,
    pub(crate) credential: &'a [u8],
}

impl AuthRequest<'_> {
    pub(crate) fn encode(&self, w: &mut Writer<'_>) {
        w.i32(AUTH_TYPE);
        w.string(self.scheme);
        w.buffer(Some(self.credential));
    }

    #[cfg(test)]
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<(String, Vec<u8>), DecodeError> {
        let _auth_type = r.i32()?;
        Ok((r.string()?, r.buffer()?.unwrap_or_default().to_vec()))
    }
}

/// Shows the scheme, never the credential.
impl fmt::Debug for AuthRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthRequest").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

/// The type of every auth packet; the server does not look at it.
const AUTH_TYPE: i32 = 0;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::acl::tests::any_acl;
    use super::super::frame::{begin_frame, end_frame};
    use super::super::header::{XID_AUTH, request_header};
    use super::super::opcode::OpCode;
    use super::*;
    use crate::proto::captured::unhex;

    fn frame(xid: i32, op: OpCode, encode: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        let start = begin_frame(&mut out);
        request_header(&mut out, xid, op);
        encode(&mut Writer::new(&mut out));
        end_frame(&mut out, start);
        out
    }

    fn body(encode: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut Writer::new(&mut out));
        out
    }

    #[test]
    fn get_data_is_golden() {
        let request = WatchedRead { path: "/a", watch: true };
        let golden = "0000000f0000000100000004000000022f6101";
        assert_eq!(frame(1, OpCode::GetData, |w| request.encode(w)), unhex(golden));
    }

    #[test]
    fn create2_is_golden() {
        let request =
            CreateRequest { path: "/a", data: Some(b"hi"), acl: &[Acl::open()], flags: 3 };
        let golden = "00000033000000020000000f000000022f61000000026869000000010000001f0000000577\
                      6f726c6400000006616e796f6e6500000003";
        assert_eq!(frame(2, OpCode::Create2, |w| request.encode(w)), unhex(golden));
    }

    #[test]
    fn create_ttl_with_null_data_is_golden() {
        let request = CreateTtlRequest {
            path: "/t",
            data: None,
            acl: &[Acl::open()],
            flags: 5,
            ttl_ms: 1_000,
        };
        let golden = "000000390000000300000015000000022f74ffffffff000000010000001f00000005776f72\
                      6c6400000006616e796f6e650000000500000000000003e8";
        assert_eq!(frame(3, OpCode::CreateTtl, |w| request.encode(w)), unhex(golden));
    }

    #[test]
    fn auth_is_golden() {
        let request = AuthRequest { scheme: "digest", credential: b"u:p" };
        let golden = "0000001dfffffffc00000064000000000000000664696765737400000003753a70";
        assert_eq!(frame(XID_AUTH, OpCode::Auth, |w| request.encode(w)), unhex(golden));
    }

    #[test]
    fn watch_flag_is_the_last_byte() {
        let [off, on] = [false, true].map(|watch| {
            let request = WatchedRead { path: "/a", watch };
            body(|w| request.encode(w))
        });
        assert_eq!(off[..off.len() - 1], on[..on.len() - 1]);
        assert_eq!((off.last(), on.last()), (Some(&0), Some(&1)));
    }

    #[test]
    fn reconfig_writes_null_for_what_is_not_given() {
        let request =
            ReconfigRequest { joining: None, leaving: Some("3"), members: None, version: -1 };
        let golden = "ffffffff0000000133ffffffffffffffffffffffff";
        assert_eq!(body(|w| request.encode(w)), unhex(golden));
    }

    #[test]
    fn credential_is_not_printed() {
        let request = AuthRequest { scheme: "digest", credential: b"AAAA" };
        let shown = format!("{request:?}");
        assert!(shown.contains("digest") && !shown.contains("65"), "{shown}");
    }

    proptest! {
        #[test]
        fn requests_with_a_path_and_a_number_come_back(path in ".*", number: i32, watch: bool) {
            let path = path.as_str();
            let numbered = [
                body(|w| DeleteRequest { path, version: number }.encode(w)),
                body(|w| CheckRequest { path, version: number }.encode(w)),
                body(|w| AddWatchRequest { path, mode: number }.encode(w)),
                body(|w| RemoveWatchesRequest { path, kind: number }.encode(w)),
            ];
            let [delete, check, add, remove] = numbered.each_ref().map(|body| Reader::new(body));
            let [mut delete, mut check, mut add, mut remove] = [delete, check, add, remove];
            let expected = (path.to_owned(), number);
            prop_assert_eq!(&DeleteRequest::decode(&mut delete)?, &expected);
            prop_assert_eq!(&CheckRequest::decode(&mut check)?, &expected);
            prop_assert_eq!(&AddWatchRequest::decode(&mut add)?, &expected);
            prop_assert_eq!(&RemoveWatchesRequest::decode(&mut remove)?, &expected);

            let bytes = body(|w| WatchedRead { path, watch }.encode(w));
            let read = WatchedRead::decode(&mut Reader::new(&bytes))?;
            prop_assert_eq!(read, (path.to_owned(), watch));

            let bytes = body(|w| PathRequest { path }.encode(w));
            prop_assert_eq!(PathRequest::decode(&mut Reader::new(&bytes))?, path);
        }

        #[test]
        fn set_data_comes_back(path in ".*", data: Option<Vec<u8>>, version: i32) {
            let request = SetDataRequest { path: &path, data: data.as_deref(), version };
            let bytes = body(|w| request.encode(w));
            let read = SetDataRequest::decode(&mut Reader::new(&bytes))?;
            prop_assert_eq!(read, (path, data, version));
        }

        #[test]
        fn set_acl_comes_back(
            path in ".*",
            acl in prop::collection::vec(any_acl(), 0..4),
            version: i32,
        ) {
            let bytes = body(|w| SetAclRequest { path: &path, acl: &acl, version }.encode(w));
            let read = SetAclRequest::decode(&mut Reader::new(&bytes))?;
            prop_assert_eq!(read, (path, acl, version));
        }

        #[test]
        fn creates_come_back(
            path in ".*",
            data: Option<Vec<u8>>,
            acl in prop::collection::vec(any_acl(), 0..4),
            flags: i32,
            ttl_ms: i64,
        ) {
            let plain = CreateRequest { path: &path, data: data.as_deref(), acl: &acl, flags };
            let with_ttl = CreateTtlRequest {
                path: &path,
                data: data.as_deref(),
                acl: &acl,
                flags,
                ttl_ms,
            };
            let plain = body(|w| plain.encode(w));
            let with_ttl = body(|w| with_ttl.encode(w));
            let read = CreateRequest::decode(&mut Reader::new(&plain))?;
            let (read_with_ttl, read_ttl) = CreateTtlRequest::decode(&mut Reader::new(&with_ttl))?;
            let expected = DecodedCreate { path, data, acl, flags };
            prop_assert_eq!(&read, &expected);
            prop_assert_eq!(&read_with_ttl, &expected);
            prop_assert_eq!(read_ttl, ttl_ms);
        }

        #[test]
        fn reconfig_comes_back(
            joining: Option<String>,
            leaving: Option<String>,
            members: Option<String>,
            version: i64,
        ) {
            let request = ReconfigRequest {
                joining: joining.as_deref(),
                leaving: leaving.as_deref(),
                members: members.as_deref(),
                version,
            };
            let bytes = body(|w| request.encode(w));
            let read = ReconfigRequest::decode(&mut Reader::new(&bytes))?;
            let [joining, leaving, members] =
                [joining, leaving, members].map(Option::unwrap_or_default);
            prop_assert_eq!(read, (joining, leaving, members, version));
        }

        #[test]
        fn auth_comes_back(scheme in ".*", credential: Vec<u8>) {
            let request = AuthRequest { scheme: &scheme, credential: &credential };
            let bytes = body(|w| request.encode(w));
            let read = AuthRequest::decode(&mut Reader::new(&bytes))?;
            prop_assert_eq!(read, (scheme, credential));
        }

        #[test]
        fn any_bytes_are_a_request_or_an_error(bytes: Vec<u8>) {
            let r = || Reader::new(&bytes);
            let _ = PathRequest::decode(&mut r());
            let _ = WatchedRead::decode(&mut r());
            let _ = DeleteRequest::decode(&mut r());
            let _ = SetDataRequest::decode(&mut r());
            let _ = SetAclRequest::decode(&mut r());
            let _ = CreateTtlRequest::decode(&mut r());
            let _ = ReconfigRequest::decode(&mut r());
            let _ = AuthRequest::decode(&mut r());
        }
    }
}
