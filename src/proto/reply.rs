//! The bodies of replies: what follows a reply header whose error is 0.
//!
//! Each function reads one shape of body, named after what it holds; several operations share one.
//! Bytes after the record are ignored: newer servers may say more.
//!
//! Source: the `…Response` records in `zookeeper.jute`.

use std::ops::Range;

use super::acl::Acl;
use super::buffer::Buffer;
use super::jute::{DecodeError, Reader};
use super::stat::Stat;

/// One identity of a session, as the server sees it.
///
/// Source: ZooKeeper `ClientInfo` in `zookeeper.jute`; since 3.7.0.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientInfo {
    /// The authentication scheme: `ip`, `digest`, `sasl`, `x509`, …
    pub scheme: String,
    /// Who the session is under that scheme, without any secret: an address, a user name, a
    /// principal.
    pub user: String,
}

impl ClientInfo {
    /// The least that one takes on the wire: two empty strings.
    const MIN_LEN: usize = 8;

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { scheme: r.string()?, user: r.string()? })
    }
}

/// create, sync.
pub(crate) fn path(body: &[u8]) -> Result<String, DecodeError> {
    Reader::new(body).string()
}

/// create2, create_container, create_ttl.
pub(crate) fn path_and_stat(body: &[u8]) -> Result<(String, Stat), DecodeError> {
    let mut r = Reader::new(body);
    Ok((r.string()?, Stat::decode(&mut r)?))
}

/// exists, set_data, set_acl.
pub(crate) fn stat(body: &[u8]) -> Result<Stat, DecodeError> {
    Stat::decode(&mut Reader::new(body))
}

/// The body of a large answer to get_data as it is kept: its first four bytes, the length of the
/// data, are the last. So the data begins where the memory does, and need not be moved.
pub(crate) fn rotated_data(body: &[u8]) -> Buffer {
    Buffer::rotated_copy_of(body, LENGTH)
}

/// Reads what [`rotated_data`] made; gives where in it the data is.
pub(crate) fn data_in_rotated(body: &[u8]) -> Result<(Option<Range<usize>>, Stat), DecodeError> {
    let mut rest = Reader::new(body);
    let rotated = body.len().checked_sub(LENGTH).and_then(|at| body.split_at_checked(at));
    let Some((front, length)) = rotated else { return Err(rest.error("buffer cut short")) };
    let len = Reader::new(length).length()?;
    rest = Reader::new(front);
    rest.bytes(len.unwrap_or(0))?;
    Ok((len.map(|len| 0..len), Stat::decode(&mut rest)?))
}

/// get_data, reconfig. A node made with null data has none.
///
/// Gives where in the body the data is.
pub(crate) fn data(body: &[u8]) -> Result<(Option<Range<usize>>, Stat), DecodeError> {
    let mut r = Reader::new(body);
    let len = r.buffer()?.map(<[u8]>::len);
    let stat = Stat::decode(&mut r)?;
    Ok((len.map(|len| LENGTH..LENGTH + len), stat))
}

/// get_acl.
pub(crate) fn acl(body: &[u8]) -> Result<(Vec<Acl>, Stat), DecodeError> {
    let mut r = Reader::new(body);
    Ok((Acl::decode_all(&mut r)?, Stat::decode(&mut r)?))
}

/// get_children, get_ephemerals.
pub(crate) fn children(body: &[u8]) -> Result<Vec<String>, DecodeError> {
    strings(&mut Reader::new(body))
}

/// get_children2.
pub(crate) fn children_and_stat(body: &[u8]) -> Result<(Vec<String>, Stat), DecodeError> {
    let mut r = Reader::new(body);
    Ok((strings(&mut r)?, Stat::decode(&mut r)?))
}

/// get_all_children_number.
pub(crate) fn count(body: &[u8]) -> Result<i32, DecodeError> {
    Reader::new(body).i32()
}

/// who_am_i.
pub(crate) fn client_infos(body: &[u8]) -> Result<Vec<ClientInfo>, DecodeError> {
    Reader::new(body).vector(ClientInfo::MIN_LEN, ClientInfo::decode)
}

/// add_watch, whose reply says its error in the body a second time; a body that is empty says 0.
pub(crate) fn error_body(body: &[u8]) -> Result<i32, DecodeError> {
    if body.is_empty() {
        return Ok(0);
    }
    Reader::new(body).i32()
}

/// Reads a vector of strings.
pub(super) fn strings(r: &mut Reader<'_>) -> Result<Vec<String>, DecodeError> {
    r.vector(STRING_MIN_LEN, Reader::string)
}

/// The size of the length before a buffer.
const LENGTH: usize = 4;

/// The least that a string takes on the wire: its length.
const STRING_MIN_LEN: usize = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::acl::tests::any_acl;
    use super::super::jute::Writer;
    use super::super::stat::tests::any_stat;
    use super::*;
    use crate::proto::captured::unhex;

    fn body(write: impl FnOnce(&mut Writer<'_>), tail: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut Writer::new(&mut out));
        out.extend_from_slice(tail);
        out
    }

    fn write_strings(w: &mut Writer<'_>, list: &[String]) {
        w.count(list.len());
        list.iter().for_each(|text| w.string(text));
    }

    #[test]
    fn empty_body_is_no_error() {
        assert_eq!(error_body(&[]), Ok(0));
        assert_eq!(error_body(&unhex("ffffff9b")), Ok(-101));
        assert!(error_body(&[0]).is_err());
    }

    #[test]
    fn null_lists_are_empty() {
        assert_eq!(children(&unhex("ffffffff")), Ok(vec![]));
        assert_eq!(client_infos(&unhex("ffffffff")), Ok(vec![]));
    }

    #[test]
    fn list_that_claims_two_billion_names_is_an_error() {
        assert!(children(&unhex("7fffffff00000000")).is_err());
        assert!(client_infos(&unhex("7fffffff00000000")).is_err());
        assert!(acl(&unhex("7fffffff00000000")).is_err());
    }

    proptest! {
        #[test]
        fn replies_come_back_whatever_follows(
            name in ".*",
            bytes: Option<Vec<u8>>,
            names in prop::collection::vec(".{0,8}", 0..8),
            list in prop::collection::vec(any_acl(), 0..4),
            record in any_stat(),
            number: i32,
            tail: Vec<u8>,
        ) {
            let encoded = body(|w| w.string(&name), &tail);
            prop_assert_eq!(&path(&encoded)?, &name);

            let encoded = body(|w| { w.string(&name); record.encode(w) }, &tail);
            prop_assert_eq!(path_and_stat(&encoded)?, (name, record));

            let encoded = body(|w| record.encode(w), &tail);
            prop_assert_eq!(stat(&encoded)?, record);

            let encoded = body(|w| { w.buffer(bytes.as_deref()); record.encode(w) }, &tail);
            let rotated = rotated_data(&encoded);
            let (part, stat) = data_in_rotated(&rotated)?;
            prop_assert_eq!((part.map(|part| &rotated[part]), stat), (bytes.as_deref(), record));
            let (part, stat) = data(&encoded)?;
            prop_assert_eq!((part.map(|part| &encoded[part]), stat), (bytes.as_deref(), record));

            let encoded = body(|w| { Acl::encode_all(&list, w); record.encode(w) }, &tail);
            prop_assert_eq!(acl(&encoded)?, (list, record));

            let encoded = body(|w| write_strings(w, &names), &tail);
            prop_assert_eq!(&children(&encoded)?, &names);

            let encoded = body(|w| { write_strings(w, &names); record.encode(w) }, &tail);
            prop_assert_eq!(children_and_stat(&encoded)?, (names, record));

            let encoded = body(|w| w.i32(number), &tail);
            prop_assert_eq!(count(&encoded)?, number);
            prop_assert_eq!(error_body(&encoded)?, number);
        }

        #[test]
        fn client_infos_come_back(
            infos in prop::collection::vec((".{0,8}", ".{0,8}"), 0..8),
        ) {
            let encoded = body(|w| {
                w.count(infos.len());
                for (scheme, user) in &infos {
                    w.string(scheme);
                    w.string(user);
                }
            }, &[]);
            let read = client_infos(&encoded)?.into_iter().map(|info| (info.scheme, info.user));
            prop_assert_eq!(read.collect::<Vec<_>>(), infos);
        }

        #[test]
        fn any_bytes_are_a_reply_or_an_error(bytes: Vec<u8>) {
            let _ = path(&bytes);
            let _ = path_and_stat(&bytes);
            let _ = stat(&bytes);
            let _ = data(&bytes);
            let _ = data_in_rotated(&bytes);
            let _ = acl(&bytes);
            let _ = children(&bytes);
            let _ = children_and_stat(&bytes);
            let _ = count(&bytes);
            let _ = client_infos(&bytes);
            let _ = error_body(&bytes);
        }
    }
}
