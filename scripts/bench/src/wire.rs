//! The few records that are needed here, written down without the library that is measured.

pub const XID_EVENT: i32 = -1;
pub const XID_PING: i32 = -2;

pub const CREATE: i32 = 1;
pub const DELETE: i32 = 2;
pub const EXISTS: i32 = 3;
pub const GET_DATA: i32 = 4;
pub const SET_DATA: i32 = 5;
pub const GET_CHILDREN: i32 = 8;
pub const SYNC: i32 = 9;
pub const PING: i32 = 11;
pub const GET_CHILDREN2: i32 = 12;
pub const CHECK: i32 = 13;
pub const MULTI: i32 = 14;
pub const CREATE2: i32 = 15;
pub const REMOVE_WATCHES: i32 = 18;
pub const AUTH: i32 = 100;
pub const SET_WATCHES: i32 = 101;
pub const SET_WATCHES2: i32 = 105;
pub const ADD_WATCH: i32 = 106;
pub const CLOSE: i32 = -11;

pub const OK: i32 = 0;
pub const UNIMPLEMENTED: i32 = -6;

/// The length of a `Stat`.
pub const STAT_LEN: usize = 68;

/// The length of a reply's header, without the length of the frame.
pub const REPLY_HEADER_LEN: usize = 16;

/// The node whose data has `size` bytes. The null server reads the size from the name.
pub fn node(size: usize) -> String {
    format!("/zk-bench-{size}")
}

/// The node that has `count` children.
pub fn list_node(count: usize) -> String {
    format!("/zk-bench-list-{count}")
}

/// The `i`th of the nodes that are watched, all names equally long. The null server answers a
/// read that leaves a watch here with an event behind the reply.
pub fn watched_node(i: usize) -> String {
    format!("/w{i:06}")
}

/// The `i`th of the names that are watched for long and where there is no node.
pub fn missing_node(i: usize) -> String {
    format!("/zk-bench/{i:06}")
}

/// Where sequential nodes are made, and the beginning of their names.
pub const CREATED: &str = "/zk-bench/e-";

/// The tree that is deleted.
pub const TREE: &str = "/zk-bench-tree";

/// Where locks are.
pub const LOCK: &str = "/zk-bench-lock";

/// A frame: its length, then what `parts` hold.
pub fn frame(parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&i32::try_from(body.len()).expect("a small frame").to_be_bytes(), &*body].concat()
}

pub fn text(bytes: &[u8]) -> Vec<u8> {
    frame(&[bytes])
}

/// Asks for a session, or for the one with that id and password again.
pub fn connect_request(session: i64, password: &[u8], zxid: i64) -> Vec<u8> {
    let timeout = 30_000_i32.to_be_bytes();
    let session = session.to_be_bytes();
    frame(&[&[0; 4], &zxid.to_be_bytes(), &timeout, &session, &text(password), &[0]])
}

/// Grants the time-out that was asked for.
pub fn connect_response(timeout: i32, session: i64, read_only_known: bool) -> Vec<u8> {
    let last: &[u8] = if read_only_known { &[0] } else { &[] };
    frame(&[&[0; 4], &timeout.to_be_bytes(), &session.to_be_bytes(), &text(&[7; 16]), last])
}

pub fn request(xid: i32, op: i32, parts: &[&[u8]]) -> Vec<u8> {
    let header = [xid.to_be_bytes(), op.to_be_bytes()].concat();
    frame(&[&header, &parts.concat()])
}

/// A reply with xid 0, to be filled in at bytes 4 to 8.
pub fn reply(err: i32, parts: &[&[u8]]) -> Vec<u8> {
    frame(&[&[0; 4], &1_i64.to_be_bytes(), &err.to_be_bytes(), &parts.concat()])
}

/// "The data of the node at `path` changed."
pub fn event(path: &[u8]) -> Vec<u8> {
    const DATA_CHANGED: i32 = 3;
    const CONNECTED: i32 = 3;
    let header = [&XID_EVENT.to_be_bytes(), &(-1_i64).to_be_bytes()[..], &OK.to_be_bytes()];
    let kind = [DATA_CHANGED.to_be_bytes(), CONNECTED.to_be_bytes()];
    frame(&[&header.concat(), &kind.concat(), &text(path)])
}

/// The frame that `bytes` begin with, without its length.
pub fn first_frame(bytes: &[u8]) -> Option<&[u8]> {
    let (len, rest) = bytes.split_first_chunk()?;
    rest.get(..usize::try_from(i32::from_be_bytes(*len)).ok()?)
}

pub fn int(bytes: &[u8], at: usize) -> i32 {
    bytes.get(at..at + 4).map_or(0, |b| i32::from_be_bytes(b.try_into().expect("four bytes")))
}

pub fn long(bytes: &[u8], at: usize) -> i64 {
    bytes.get(at..at + 8).map_or(0, |b| i64::from_be_bytes(b.try_into().expect("eight bytes")))
}

/// The string or buffer at `at`, without its length; empty if it is null or cut off.
pub fn buffer(bytes: &[u8], at: usize) -> &[u8] {
    let len = usize::try_from(int(bytes, at)).unwrap_or(0);
    bytes.get(at + 4..at + 4 + len).unwrap_or_default()
}
