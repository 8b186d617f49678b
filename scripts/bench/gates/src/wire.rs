//! The few records that are needed here, written down without the library that is counted.

pub const NODE: &str = "/zk-gates";
pub const DATA: [u8; 100] = [b'x'; 100];

pub const XID_EVENT: i32 = -1;
pub const XID_PING: i32 = -2;
pub const CREATE: i32 = 1;
pub const EXISTS: i32 = 3;
pub const GET_DATA: i32 = 4;
pub const SET_DATA: i32 = 5;
pub const CLOSE: i32 = -11;

/// The error of an operation that the server does not know.
pub const UNIMPLEMENTED: i32 = -6;

/// The length of a `Stat`.
pub const STAT_LEN: usize = 68;

/// A frame: its length, then what `parts` hold.
pub fn frame(parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&i32::try_from(body.len()).expect("a small frame").to_be_bytes(), &*body].concat()
}

pub fn text(bytes: &[u8]) -> Vec<u8> {
    frame(&[bytes])
}

pub fn connect_response(session: i64) -> Vec<u8> {
    let timeout = 30_000_i32.to_be_bytes();
    frame(&[&[0; 4], &timeout, &session.to_be_bytes(), &text(&[7; 16]), &[0]])
}

/// The reply to request 0, to be given its number at bytes 4 to 8.
pub fn reply(err: i32, body: &[u8]) -> Vec<u8> {
    frame(&[&[0; 4], &1_i64.to_be_bytes(), &err.to_be_bytes(), body])
}

/// The event that the data of the node at `path` changed.
pub fn data_changed(path: &[u8]) -> Vec<u8> {
    let (changed, connected) = (3_i32.to_be_bytes(), 3_i32.to_be_bytes());
    let header = [&XID_EVENT.to_be_bytes()[..], &(-1_i64).to_be_bytes(), &[0; 4]].concat();
    frame(&[&header, &changed, &connected, &text(path)])
}

/// The frame that `bytes` begin with, without its length.
pub fn first_frame(bytes: &[u8]) -> Option<&[u8]> {
    let (len, rest) = bytes.split_first_chunk()?;
    rest.get(..usize::try_from(i32::from_be_bytes(*len)).ok()?)
}

pub fn int(bytes: &[u8], at: usize) -> i32 {
    bytes.get(at..at + 4).map_or(0, |b| i32::from_be_bytes(b.try_into().expect("four bytes")))
}
