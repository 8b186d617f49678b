//! What a real server says: requests as we encode them, and the replies, byte by byte.
//!
//! Server: Apache ZooKeeper 3.8.0, standalone, `zookeeper.extendedTypesEnabled=true`. Captured
//! 2026-11-22 with a script that writes hand-made frames to a socket and prints what comes back; it
//! does not use this crate. Frames are shown without their length, in the order of the capture; all
//! but the connects and the last four exchanges were one session. `/a` has data and two children,
//! `/n` null data.

use super::acl::{Acl, Permissions};
use super::code::Code;
use super::connect::{ConnectRequest, ConnectResponse};
use super::event::{EventKind, SetWatches, WatcherEvent};
use super::frame::{FrameBuffer, Piece, begin_frame, end_frame};
use super::header::{ReplyHeader, XID_AUTH, XID_NOTIFICATION, XID_PING, request_header};
use super::jute::{Reader, Writer};
use super::multi::{self, MultiResult, MultiWriter};
use super::opcode::OpCode;
use super::reply;
use super::request::{
    AddWatchRequest, AuthRequest, CheckRequest, CreateRequest, CreateTtlRequest, DeleteRequest,
    PathRequest, RemoveWatchesRequest, SetAclRequest, SetDataRequest, WatchedRead,
};

/// Bytes from hexadecimal digits.
pub(super) fn unhex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// One request and the frames that came back: notifications, then the reply.
struct Exchange {
    request: &'static str,
    replies: &'static [&'static str],
}

impl Exchange {
    /// The header and body of the reply.
    fn answer(&self) -> (ReplyHeader, Vec<u8>) {
        split(self.replies.last().unwrap())
    }

    /// The body of a reply without error.
    fn body(&self) -> Vec<u8> {
        let (header, body) = self.answer();
        assert_eq!(header.err, 0);
        body
    }

    /// The error of a reply that has one, and so no body.
    fn code(&self) -> Code {
        let (header, body) = self.answer();
        assert_eq!(body, [0_u8; 0]);
        Code::from_raw(header.err)
    }

    /// The notifications before the reply.
    fn events(&self) -> Vec<(EventKind, String)> {
        let (_reply, events) = self.replies.split_last().unwrap();
        let event = |hex: &&str| {
            let (header, body) = split(hex);
            assert_eq!((header.xid, header.zxid), (XID_NOTIFICATION, -1));
            let event = WatcherEvent::decode(&body).unwrap();
            assert_eq!(event.state, 3);
            (EventKind::from_raw(event.kind), event.path.into_owned())
        };
        events.iter().map(event).collect()
    }

    /// Fails unless we encode the request as the server was given it.
    fn asked(&self, xid: i32, op: OpCode, encode: impl FnOnce(&mut Writer<'_>)) -> &Self {
        let mut out = Vec::new();
        request_header(&mut out, xid, op);
        encode(&mut Writer::new(&mut out));
        assert_eq!(out, unhex(self.request));
        self
    }
}

fn split(hex: &str) -> (ReplyHeader, Vec<u8>) {
    let bytes = unhex(hex);
    let mut r = Reader::new(&bytes);
    let header = ReplyHeader::decode(&mut r).unwrap();
    (header, r.rest().to_vec())
}

/// The session that most of the requests were made in.
const SESSION: i64 = 0x0100_0016_fd15_0000;

#[test]
fn new_session_has_an_id_and_a_password() {
    let mut out = Vec::new();
    let request = ConnectRequest {
        last_zxid: 0,
        timeout_ms: 10_000,
        session_id: 0,
        password: &[0; 16],
        read_only: false,
    };
    request.encode(&mut out);
    assert_eq!(out, unhex(CONNECT_NEW.request));
    let response = ConnectResponse::decode(&unhex(CONNECT_NEW.replies[0])).unwrap();
    assert_eq!((response.timeout_ms, response.session_id), (10_000, SESSION));
    assert_eq!((response.password.len(), response.read_only), (16, Some(false)));
}

#[test]
fn server_leaves_out_the_read_only_byte_if_the_client_does() {
    let response = ConnectResponse::decode(&unhex(CONNECT_WITHOUT_READ_ONLY.replies[0])).unwrap();
    assert_eq!((response.session_id, response.read_only), (SESSION + 1, None));
}

#[test]
fn unknown_session_is_answered_with_zeros() {
    let response = ConnectResponse::decode(&unhex(CONNECT_UNKNOWN_SESSION.replies[0])).unwrap();
    assert_eq!((response.timeout_ms, response.session_id), (0, 0));
    assert_eq!(response.password, [0; 16]);
}

#[test]
fn ping_and_auth_are_answered_with_their_own_xids() {
    let (header, body) = PING.asked(XID_PING, OpCode::Ping, |_| {}).answer();
    assert_eq!((header.xid, header.zxid, header.err), (XID_PING, 3, 0));
    assert_eq!(body, [0_u8; 0]);

    let auth = AuthRequest { scheme: "digest", credential: b"u:p" };
    let (header, body) = AUTH.asked(XID_AUTH, OpCode::Auth, |w| auth.encode(w)).answer();
    assert_eq!((header.xid, header.zxid, header.err), (XID_AUTH, 0, 0));
    assert_eq!(body, [0_u8; 0]);
}

#[test]
fn errors_have_a_header_and_no_body() {
    assert_eq!(AUTH_UNKNOWN_SCHEME.code(), Code::AuthFailed);
    assert_eq!(CREATE_NODE_EXISTS.code(), Code::NodeExists);
    assert_eq!(CREATE_TTL_0.code(), Code::BadArguments);
    assert_eq!(EXISTS_NO_NODE.code(), Code::NoNode);
    assert_eq!(SET_DATA_BAD_VERSION.code(), Code::BadVersion);
    assert_eq!(ADD_WATCH_BAD_MODE.code(), Code::MarshallingError);
    assert_eq!(CHECK_WATCHES_NO_WATCHER.code(), Code::NoWatcher);
    assert_eq!(MULTI_UNKNOWN_OP.code(), Code::MarshallingError);
    assert_eq!(RECONFIG.code(), Code::ReconfigDisabled);
    assert_eq!(UNKNOWN_OP.code(), Code::Unimplemented);
    assert_eq!(UNKNOWN_OP.answer().0.zxid, -1);
}

fn create<'a>(path: &'a str, data: &'a [u8], flags: i32, acl: &'a [Acl]) -> CreateRequest<'a> {
    CreateRequest { path, data: Some(data), acl, flags }
}

#[test]
fn create_answers_with_the_path() {
    let open = [Acl::open()];
    let request = create("/a", b"hi", 0, &open);
    let body = CREATE.asked(1, OpCode::Create, |w| request.encode(w)).body();
    assert_eq!(reply::path(&body).unwrap(), "/a");
}

#[test]
fn create2_answers_with_the_path_and_the_stat() {
    let open = [Acl::open()];
    let request = create("/a/s-", b"", 3, &open);
    let body = CREATE2.asked(4, OpCode::Create2, |w| request.encode(w)).body();
    let (path, stat) = reply::path_and_stat(&body).unwrap();
    assert_eq!(path, "/a/s-0000000001");
    assert_eq!((stat.czxid, stat.mzxid, stat.pzxid), (7, 7, 7));
    assert_eq!(stat.ephemeral_owner, SESSION);
    assert!(stat.is_ephemeral());
}

#[test]
fn containers_and_nodes_with_a_time_to_live_look_like_any_other() {
    let open = [Acl::open()];
    let container = create("/c", b"", 4, &open);
    let ttl = CreateTtlRequest { path: "/t", data: None, acl: &open, flags: 5, ttl_ms: 1_000 };
    CREATE_CONTAINER.asked(6, OpCode::CreateContainer, |w| container.encode(w));
    CREATE_TTL.asked(7, OpCode::CreateTtl, |w| ttl.encode(w));
    let stats = [
        reply::path_and_stat(&CREATE_CONTAINER.body()).unwrap().1,
        reply::path_and_stat(&CREATE_TTL.body()).unwrap().1,
        reply::stat(&EXISTS_CONTAINER.body()).unwrap(),
        reply::stat(&EXISTS_TTL.body()).unwrap(),
    ];
    for stat in stats {
        assert_eq!(stat.ephemeral_owner, 0);
        assert!(!stat.is_container() && !stat.is_ephemeral() && stat.ttl().is_none());
    }
}

#[test]
fn exists_answers_with_the_stat() {
    let request = WatchedRead { path: "/a", watch: false };
    let body = EXISTS.asked(9, OpCode::Exists, |w| request.encode(w)).body();
    let stat = reply::stat(&body).unwrap();
    assert_eq!((stat.czxid, stat.mzxid, stat.pzxid), (4, 4, 7));
    assert_eq!((stat.version, stat.cversion, stat.aversion), (0, 2, 0));
    assert_eq!((stat.data_length, stat.num_children), (2, 2));
    assert_eq!((stat.ctime_ms, stat.mtime_ms), (0x01a2_050a_d425, 0x01a2_050a_d425));
    assert!(!stat.is_ephemeral());
}

#[test]
fn get_data_tells_null_from_some() {
    let request = WatchedRead { path: "/a", watch: true };
    let body = GET_DATA.asked(11, OpCode::GetData, |w| request.encode(w)).body();
    let data = reply::data(&body).unwrap().0.unwrap();
    assert_eq!(&body[data], b"hi");
    assert_eq!(reply::data(&GET_DATA_NULL.body()).unwrap().0, None);
}

#[test]
fn event_comes_before_the_reply_of_the_write_that_made_it() {
    let request = SetDataRequest { path: "/a", data: Some(b"ho"), version: 0 };
    SET_DATA.asked(13, OpCode::SetData, |w| request.encode(w));
    assert_eq!(SET_DATA.events(), [(EventKind::DataChanged, "/a".to_owned())]);
    assert_eq!(reply::stat(&SET_DATA.body()).unwrap().version, 1);
}

#[test]
fn acl_comes_back_with_what_the_server_made_of_it() {
    let asked =
        [Acl::new(Permissions::ALL, "digest", "us😀er:hash"), Acl::creator_all(), Acl::open()];
    let request = create("/u", b"", 0, &asked);
    CREATE_ODD_ACL.asked(15, OpCode::Create2, |w| request.encode(w));

    let body = GET_ACL.asked(16, OpCode::GetAcl, |w| PathRequest { path: "/u" }.encode(w)).body();
    let (acl, stat) = reply::acl(&body).unwrap();
    // The server sent the emoji as six bytes, and its own idea of `auth`.
    let [digest, _auth, open] = asked;
    assert_eq!(acl, [digest, Acl::digest("u", "p", Permissions::ALL), open]);
    assert_eq!(stat.aversion, 0);
}

#[test]
fn set_acl_counts_the_version_of_the_acl() {
    let acl = [Acl::read_open(), Acl::ip("127.0.0.1", Permissions::ALL)];
    let request = SetAclRequest { path: "/u", acl: &acl, version: 0 };
    let body = SET_ACL.asked(17, OpCode::SetAcl, |w| request.encode(w)).body();
    assert_eq!(reply::stat(&body).unwrap().aversion, 1);
}

#[test]
fn children_come_in_no_order() {
    let mut request = WatchedRead { path: "/a", watch: false };
    GET_CHILDREN.asked(19, OpCode::GetChildren, |w| request.encode(w));
    request.watch = true;
    GET_CHILDREN2.asked(20, OpCode::GetChildren2, |w| request.encode(w));
    let names = ["s-0000000001", "e"];
    assert_eq!(reply::children(&GET_CHILDREN.body()).unwrap(), names);
    let (children, stat) = reply::children_and_stat(&GET_CHILDREN2.body()).unwrap();
    assert_eq!(children, names);
    assert_eq!((stat.version, stat.num_children), (1, 2));
}

#[test]
fn sync_answers_with_the_path_and_delete_with_nothing() {
    let body = SYNC.asked(21, OpCode::Sync, |w| PathRequest { path: "/a" }.encode(w)).body();
    assert_eq!(reply::path(&body).unwrap(), "/a");
    let request = DeleteRequest { path: "/u", version: -1 };
    let body = DELETE.asked(24, OpCode::Delete, |w| request.encode(w)).body();
    assert_eq!(body, [0_u8; 0]);
}

#[test]
fn next_sequence_number_is_half_of_cversion_and_children() {
    let stat = reply::stat(&EXISTS_AFTER_DELETES.body()).unwrap();
    // Five were created, three deleted.
    assert_eq!((stat.cversion, stat.num_children), (8, 2));
    let next = reply::path(&CREATE_AFTER_DELETES.body()).unwrap();
    assert_eq!(next, format!("/q/s-{:010}", (stat.cversion + stat.num_children) / 2));
}

#[test]
fn counts_ephemerals_and_identities_are_read() {
    let root = PathRequest { path: "/" };
    GET_ALL_CHILDREN_NUMBER.asked(28, OpCode::GetAllChildrenNumber, |w| root.encode(w));
    assert_eq!(reply::count(&GET_ALL_CHILDREN_NUMBER.body()), Ok(9));

    GET_EPHEMERALS.asked(29, OpCode::GetEphemerals, |w| root.encode(w));
    let paths = reply::children(&GET_EPHEMERALS.body()).unwrap();
    assert_eq!(paths, ["/a/s-0000000001", "/a/e"]);

    WHO_AM_I.asked(31, OpCode::WhoAmI, |_| {});
    let infos = reply::client_infos(&WHO_AM_I.body()).unwrap();
    let infos: Vec<_> = infos.iter().map(|info| (&*info.scheme, &*info.user)).collect();
    assert_eq!(infos, [("ip", "127.0.0.1"), ("digest", "u")]);
}

#[test]
fn watches_are_added_checked_and_removed() {
    let add = AddWatchRequest { path: "/p", mode: 1 };
    let body = ADD_WATCH.asked(32, OpCode::AddWatch, |w| add.encode(w)).body();
    assert_eq!(body.len(), 4);
    assert_eq!(reply::error_body(&body), Ok(0));

    let check = RemoveWatchesRequest { path: "/none2", kind: 3 };
    CHECK_WATCHES_NO_WATCHER.asked(34, OpCode::CheckWatches, |w| check.encode(w));

    let remove = RemoveWatchesRequest { path: "/none", kind: 2 };
    let body = REMOVE_WATCHES.asked(35, OpCode::RemoveWatches, |w| remove.encode(w)).body();
    assert_eq!(reply::error_body(&body), Ok(0));
}

#[test]
fn set_watches_brings_missed_events_before_its_reply() {
    let mut out = Vec::new();
    request_header(&mut out, 46, OpCode::SetWatches);
    let mut batch = SetWatches::new();
    batch.push(0, "/a");
    batch.push(2, "/a");
    batch.encode(&mut out, 1);
    assert_eq!(out, unhex(SET_WATCHES.request));
    let events = [EventKind::DataChanged, EventKind::ChildrenChanged];
    assert_eq!(SET_WATCHES.events(), events.map(|kind| (kind, "/a".to_owned())));
    assert_eq!(SET_WATCHES.body(), [0_u8; 0]);

    let mut out = Vec::new();
    request_header(&mut out, 47, OpCode::SetWatches2);
    batch.clear();
    batch.push(0, "/a");
    batch.push(3, "/p");
    batch.push(4, "/a");
    batch.encode(&mut out, 1 << 40);
    assert_eq!(out, unhex(SET_WATCHES2.request));
    assert_eq!(SET_WATCHES2.body(), [0_u8; 0]);
}

#[test]
fn close_deletes_ephemeral_nodes_before_its_reply() {
    CLOSE.asked(48, OpCode::CloseSession, |_| {});
    let events = ["/a/s-0000000001", "/a/e"].map(|path| (EventKind::Deleted, path.to_owned()));
    assert_eq!(CLOSE.events(), events);
    assert_eq!(CLOSE.body(), [0_u8; 0]);
}

#[test]
fn create2_in_a_transaction_is_answered_as_create() {
    let open = [Acl::open()];
    let mut out = Vec::new();
    request_header(&mut out, 37, OpCode::Multi);
    let mut request = MultiWriter::new(&mut out);
    create("/p", b"", 0, &open).encode(&mut request.op(OpCode::Create));
    create("/p/b", b"b", 0, &open).encode(&mut request.op(OpCode::Create2));
    create("/p/c", b"", 4, &open).encode(&mut request.op(OpCode::CreateContainer));
    let ttl =
        CreateTtlRequest { path: "/p/t", data: Some(b""), acl: &open, flags: 5, ttl_ms: 5_000 };
    ttl.encode(&mut request.op(OpCode::CreateTtl));
    let set_data = SetDataRequest { path: "/p/b", data: Some(b"bb"), version: 0 };
    set_data.encode(&mut request.op(OpCode::SetData));
    let check = CheckRequest { path: "/p/b", version: 1 };
    check.encode(&mut request.op(OpCode::Check));
    let delete = DeleteRequest { path: "/p/b", version: -1 };
    delete.encode(&mut request.op(OpCode::Delete));
    request.finish();
    assert_eq!(out, unhex(MULTI.request));

    let mut paths = Vec::new();
    let results = multi::results(&MULTI.body()).unwrap();
    assert_eq!(results.len(), 7);
    for result in &results {
        if let MultiResult::Create { path, stat } = result {
            paths.push((path.as_str(), stat.map(|stat| stat.czxid)));
        }
    }
    let zxid = MULTI.answer().0.zxid;
    let expected = [("/p", None), ("/p/b", None), ("/p/c", Some(zxid)), ("/p/t", Some(zxid))];
    assert_eq!(paths, expected);
    assert!(matches!(&results[4], MultiResult::SetData(stat) if stat.version == 1));
    assert_eq!(results[5..], [MultiResult::Check, MultiResult::Delete]);
    assert_eq!(MULTI.events().len(), 6);
}

#[test]
fn failed_transaction_has_no_error_in_its_header() {
    let (header, body) = MULTI_FAILED.answer();
    assert_eq!(header.err, 0);
    let expected = [0, -101, -2].map(MultiResult::Error);
    assert_eq!(multi::results(&body).unwrap(), expected);
}

#[test]
fn empty_transaction_has_an_empty_answer() {
    assert_eq!(multi::results(&MULTI_EMPTY.body()), Ok(vec![]));
}

#[test]
fn batch_of_reads_fails_one_by_one() {
    let mut out = Vec::new();
    request_header(&mut out, 42, OpCode::MultiRead);
    let mut request = MultiWriter::new(&mut out);
    let reads = [
        (OpCode::GetChildren, "/a"),
        (OpCode::GetData, "/none"),
        (OpCode::GetData, "/n"),
        (OpCode::GetData, "/a"),
    ];
    for (op, path) in reads {
        let read = WatchedRead { path, watch: false };
        read.encode(&mut request.op(op));
    }
    request.finish();
    assert_eq!(out, unhex(MULTI_READ.request));

    let results = multi::results(&MULTI_READ.body()).unwrap();
    let [children, none, null, data] = results.as_slice() else {
        panic!("{results:?}");
    };
    let names = ["s-0000000001", "e"].map(str::to_owned);
    assert_eq!(children, &MultiResult::Children(names.to_vec()));
    assert_eq!(none, &MultiResult::Error(-101));
    assert!(matches!(null, MultiResult::Data(None, _)));
    assert!(
        matches!(data, MultiResult::Data(Some(data), stat) if data == b"ho" && stat.version == 1)
    );
}

#[test]
fn frames_of_a_whole_exchange_come_out_of_a_stream() {
    let mut bytes = Vec::new();
    for hex in MULTI.replies {
        let start = begin_frame(&mut bytes);
        bytes.extend(unhex(hex));
        end_frame(&mut bytes, start);
    }
    let mut buffer = FrameBuffer::new(1 << 20);
    let mut frames = Vec::new();
    for byte in bytes {
        buffer.space()[0] = byte;
        buffer.filled(1);
        while let Some(piece) = buffer.next().unwrap() {
            let Piece::Frame(frame) = piece else {
                panic!("{piece:?}");
            };
            frames.push(frame.to_vec());
        }
    }
    let expected: Vec<_> = MULTI.replies.iter().map(|hex| unhex(hex)).collect();
    assert_eq!(frames, expected);
}

const CONNECT_NEW: Exchange = Exchange {
    request: "\
     0000000000000000000000000000271000000000000000000000001000000000000000000000000000000000\
     00",
    replies: &["000000000000271001000016fd15000000000010a1f871dc1ab4e8e0e7d6dc10f352b19b00"],
};
const CONNECT_WITHOUT_READ_ONLY: Exchange = Exchange {
    request: "\
     0000000000000000000000000000271000000000000000000000001000000000000000000000000000000000",
    replies: &["000000000000271001000016fd15000100000010b4196cdcbaffc725dc19443cc7dbc568"],
};
const CONNECT_UNKNOWN_SESSION: Exchange = Exchange {
    request: "\
     0000000000000000000000000000271000000000000012340000001078787878787878787878787878787878\
     00",
    replies: &["00000000000000000000000000000000000000100000000000000000000000000000000000"],
};
const PING: Exchange =
    Exchange { request: "fffffffe0000000b", replies: &["fffffffe000000000000000300000000"] };
const AUTH: Exchange = Exchange {
    request: "fffffffc00000064000000000000000664696765737400000003753a70",
    replies: &["fffffffc000000000000000000000000"],
};
const CREATE: Exchange = Exchange {
    request: "\
     0000000100000001000000022f61000000026869000000010000001f00000005776f726c6400000006616e79\
     6f6e6500000000",
    replies: &["00000001000000000000000400000000000000022f61"],
};
const CREATE_NODE_EXISTS: Exchange = Exchange {
    request: "\
     0000000200000001000000022f61000000026869000000010000001f00000005776f726c6400000006616e79\
     6f6e6500000000",
    replies: &["000000020000000000000005ffffff92"],
};
const CREATE2: Exchange = Exchange {
    request: "\
     000000040000000f000000052f612f732d00000000000000010000001f00000005776f726c6400000006616e\
     796f6e6500000003",
    replies: &["\
     000000040000000000000007000000000000000f2f612f732d30303030303030303031000000000000000700\
     00000000000007000001a2050ad446000001a2050ad44600000000000000000000000001000016fd15000000\
     000000000000000000000000000007"],
};
const CREATE_CONTAINER: Exchange = Exchange {
    request: "\
     0000000600000013000000022f6300000000000000010000001f00000005776f726c6400000006616e796f6e\
     6500000004",
    replies: &["\
     00000006000000000000000900000000000000022f6300000000000000090000000000000009000001a2050a\
     d450000001a2050ad45000000000000000000000000000000000000000000000000000000000000000000000\
     0009"],
};
const CREATE_TTL: Exchange = Exchange {
    request: "\
     0000000700000015000000022f74ffffffff000000010000001f00000005776f726c6400000006616e796f6e\
     650000000500000000000003e8",
    replies: &["\
     00000007000000000000000a00000000000000022f74000000000000000a000000000000000a000001a2050a\
     d454000001a2050ad45400000000000000000000000000000000000000000000000000000000000000000000\
     000a"],
};
const CREATE_TTL_0: Exchange = Exchange {
    request: "\
     0000000800000015000000032f7430ffffffff000000010000001f00000005776f726c6400000006616e796f\
     6e65000000050000000000000000",
    replies: &["00000008000000000000000bfffffff8"],
};
const EXISTS: Exchange = Exchange {
    request: "0000000900000003000000022f6100",
    replies: &["\
     00000009000000000000000b0000000000000000000000040000000000000004000001a2050ad425000001a2\
     050ad425000000000000000200000000000000000000000000000002000000020000000000000007"],
};
const EXISTS_NO_NODE: Exchange = Exchange {
    request: "0000000a00000003000000052f6e6f6e6501",
    replies: &["0000000a000000000000000bffffff9b"],
};
const GET_DATA: Exchange = Exchange {
    request: "0000000b00000004000000022f6101",
    replies: &["\
     0000000b000000000000000b0000000000000002686900000000000000040000000000000004000001a2050a\
     d425000001a2050ad42500000000000000020000000000000000000000000000000200000002000000000000\
     0007"],
};
const GET_DATA_NULL: Exchange = Exchange {
    request: "0000000c00000004000000022f6e00",
    replies: &["\
     0000000c000000000000000b00000000ffffffff00000000000000080000000000000008000001a2050ad44b\
     000001a2050ad44b000000000000000000000000000000000000000000000000000000000000000000000008"],
};
const SET_DATA: Exchange = Exchange {
    request: "0000000d00000005000000022f6100000002686f00000000",
    replies: &[
        "ffffffffffffffffffffffff000000000000000300000003000000022f61",
        "\
     0000000d000000000000000c000000000000000000000004000000000000000c000001a2050ad425000001a2\
     050ad46b000000010000000200000000000000000000000000000002000000020000000000000007",
    ],
};
const SET_DATA_BAD_VERSION: Exchange = Exchange {
    request: "0000000e00000005000000022f6100000002686f00000000",
    replies: &["0000000e000000000000000dffffff99"],
};
const CREATE_ODD_ACL: Exchange = Exchange {
    request: "\
     0000000f0000000f000000022f7500000000000000030000001f000000066469676573740000000d7573f09f\
     988065723a686173680000001f0000000461757468000000000000001f00000005776f726c6400000006616e\
     796f6e6500000000",
    replies: &["\
     0000000f000000000000000e00000000000000022f75000000000000000e000000000000000e000001a2050a\
     d481000001a2050ad48100000000000000000000000000000000000000000000000000000000000000000000\
     000e"],
};
const GET_ACL: Exchange = Exchange {
    request: "0000001000000006000000022f75",
    replies: &["\
     00000010000000000000000e00000000000000030000001f000000066469676573740000000f7573eda0bded\
     b88065723a686173680000001f000000066469676573740000001e753a4a7137774d79412f77325664355749\
     44414b6475344f49494645513d0000001f00000005776f726c6400000006616e796f6e65000000000000000e\
     000000000000000e000001a2050ad481000001a2050ad4810000000000000000000000000000000000000000\
     0000000000000000000000000000000e"],
};
const SET_ACL: Exchange = Exchange {
    request: "\
     0000001100000007000000022f75000000020000000100000005776f726c6400000006616e796f6e65000000\
     1f000000026970000000093132372e302e302e3100000000",
    replies: &["\
     00000011000000000000000f00000000000000000000000e000000000000000e000001a2050ad481000001a2\
     050ad48100000000000000000000000100000000000000000000000000000000000000000000000e"],
};
const GET_CHILDREN: Exchange = Exchange {
    request: "0000001300000008000000022f6100",
    replies: &["\
     00000013000000000000001000000000000000020000000c732d303030303030303030310000000165"],
};
const GET_CHILDREN2: Exchange = Exchange {
    request: "000000140000000c000000022f6101",
    replies: &["\
     00000014000000000000001000000000000000020000000c732d303030303030303030310000000165000000\
     0000000004000000000000000c000001a2050ad425000001a2050ad46b000000010000000200000000000000\
     000000000000000002000000020000000000000007"],
};
const SYNC: Exchange = Exchange {
    request: "0000001500000009000000022f61",
    replies: &["00000015000000000000001000000000000000022f61"],
};
const DELETE: Exchange = Exchange {
    request: "0000001800000002000000022f75ffffffff",
    replies: &["00000018000000000000001300000000"],
};
const EXISTS_CONTAINER: Exchange = Exchange {
    request: "0000001900000003000000022f6300",
    replies: &["\
     0000001900000000000000130000000000000000000000090000000000000009000001a2050ad450000001a2\
     050ad450000000000000000000000000000000000000000000000000000000000000000000000009"],
};
const EXISTS_TTL: Exchange = Exchange {
    request: "0000001a00000003000000022f7400",
    replies: &["\
     0000001a000000000000001300000000000000000000000a000000000000000a000001a2050ad454000001a2\
     050ad45400000000000000000000000000000000000000000000000000000000000000000000000a"],
};
const GET_ALL_CHILDREN_NUMBER: Exchange = Exchange {
    request: "0000001c00000068000000012f",
    replies: &["0000001c00000000000000130000000000000009"],
};
const GET_EPHEMERALS: Exchange = Exchange {
    request: "0000001d00000067000000012f",
    replies: &["\
     0000001d000000000000001300000000000000020000000f2f612f732d30303030303030303031000000042f\
     612f65"],
};
const WHO_AM_I: Exchange = Exchange {
    request: "0000001f0000006b",
    replies: &["\
     0000001f00000000000000130000000000000002000000026970000000093132372e302e302e310000000664\
     69676573740000000175"],
};
const ADD_WATCH: Exchange = Exchange {
    request: "000000200000006a000000022f7000000001",
    replies: &["0000002000000000000000130000000000000000"],
};
const ADD_WATCH_BAD_MODE: Exchange = Exchange {
    request: "000000210000006a000000022f7000000009",
    replies: &["000000210000000000000013fffffffb"],
};
const CHECK_WATCHES_NO_WATCHER: Exchange = Exchange {
    request: "0000002200000011000000062f6e6f6e653200000003",
    replies: &["000000220000000000000013ffffff87"],
};
const REMOVE_WATCHES: Exchange = Exchange {
    request: "0000002300000012000000052f6e6f6e6500000002",
    replies: &["00000023000000000000001300000000"],
};
const MULTI: Exchange = Exchange {
    request: "\
     000000250000000e0000000100ffffffff000000022f7000000000000000010000001f00000005776f726c64\
     00000006616e796f6e65000000000000000f00ffffffff000000042f702f620000000162000000010000001f\
     00000005776f726c6400000006616e796f6e65000000000000001300ffffffff000000042f702f6300000000\
     000000010000001f00000005776f726c6400000006616e796f6e65000000040000001500ffffffff00000004\
     2f702f7400000000000000010000001f00000005776f726c6400000006616e796f6e65000000050000000000\
     0013880000000500ffffffff000000042f702f62000000026262000000000000000d00ffffffff000000042f\
     702f62000000010000000200ffffffff000000042f702f62ffffffffffffffff01ffffffff",
    replies: &[
        "ffffffffffffffffffffffff000000000000000100000003000000022f70",
        "ffffffffffffffffffffffff000000000000000100000003000000042f702f62",
        "ffffffffffffffffffffffff000000000000000100000003000000042f702f63",
        "ffffffffffffffffffffffff000000000000000100000003000000042f702f74",
        "ffffffffffffffffffffffff000000000000000300000003000000042f702f62",
        "ffffffffffffffffffffffff000000000000000200000003000000042f702f62",
        "\
     00000025000000000000001400000000000000010000000000000000022f7000000001000000000000000004\
     2f702f620000000f0000000000000000042f702f6300000000000000140000000000000014000001a2050ad4\
     c9000001a2050ad4c90000000000000000000000000000000000000000000000000000000000000000000000\
     140000000f0000000000000000042f702f7400000000000000140000000000000014000001a2050ad4c90000\
     01a2050ad4c90000000000000000000000000000000000000000000000000000000000000000000000140000\
     0005000000000000000000000000140000000000000014000001a2050ad4c9000001a2050ad4c90000000100\
     000000000000000000000000000000000000020000000000000000000000140000000d000000000000000002\
     0000000000ffffffff01ffffffff",
    ],
};
const MULTI_FAILED: Exchange = Exchange {
    request: "\
     000000260000000e0000000d00ffffffff000000022f61000000010000000200ffffffff000000022f62ffff\
     ffff0000000100ffffffff000000022f7a00000000000000010000001f00000005776f726c6400000006616e\
     796f6e6500000000ffffffff01ffffffff",
    replies: &["\
     00000026000000000000001500000000ffffffff000000000000000000ffffffff00ffffff9bffffff9bffff\
     ffff00fffffffefffffffeffffffff01ffffffff"],
};
const MULTI_EMPTY: Exchange = Exchange {
    request: "000000270000000effffffff01ffffffff",
    replies: &["00000027000000000000001600000000ffffffff01ffffffff"],
};
const MULTI_UNKNOWN_OP: Exchange = Exchange {
    request: "000000280000000e0000001600ffffffff000000022f61ffffffff01ffffffff",
    replies: &["000000280000000000000017fffffffb"],
};
const MULTI_READ: Exchange = Exchange {
    request: "\
     0000002a000000160000000800ffffffff000000022f61000000000400ffffffff000000052f6e6f6e650000\
     00000400ffffffff000000022f6e000000000400ffffffff000000022f6100ffffffff01ffffffff",
    replies: &["\
     0000002a000000000000001800000000000000080000000000000000020000000c732d303030303030303030\
     310000000165ffffffff00ffffff9bffffff9b000000040000000000ffffffff000000000000000800000000\
     00000008000001a2050ad44b000001a2050ad44b000000000000000000000000000000000000000000000000\
     00000000000000000000000800000004000000000000000002686f0000000000000004000000000000000c00\
     0001a2050ad425000001a2050ad46b0000000100000002000000000000000000000000000000020000000200\
     00000000000007ffffffff01ffffffff"],
};
const RECONFIG: Exchange = Exchange {
    request: "\
     0000002b00000010ffffffffffffffff000000107365727665722e313d783a313a323b33ffffffffffffffff",
    replies: &["0000002b0000000000000019ffffff85"],
};
const SET_WATCHES: Exchange = Exchange {
    request: "0000002e00000065000000000000000100000001000000022f610000000000000001000000022f61",
    replies: &[
        "ffffffffffffffffffffffff000000000000000300000003000000022f61",
        "ffffffffffffffffffffffff000000000000000400000003000000022f61",
        "0000002e000000000000001900000000",
    ],
};
const SET_WATCHES2: Exchange = Exchange {
    request: "\
     0000002f00000069000001000000000000000001000000022f61000000000000000000000001000000022f70\
     00000001000000022f61",
    replies: &["0000002f000000000000001900000000"],
};
const CLOSE: Exchange = Exchange {
    request: "00000030fffffff5",
    replies: &[
        "\
     ffffffffffffffffffffffff0000000000000002000000030000000f2f612f732d30303030303030303031",
        "ffffffffffffffffffffffff000000000000000200000003000000042f612f65",
        "00000030000000000000001a00000000",
    ],
};
const AUTH_UNKNOWN_SCHEME: Exchange = Exchange {
    request: "fffffffc0000006400000000000000066e6f737563680000000175",
    replies: &["fffffffc0000000000000000ffffff8d"],
};
const UNKNOWN_OP: Exchange =
    Exchange { request: "0000000100000063", replies: &["00000001fffffffffffffffffffffffa"] };
const EXISTS_AFTER_DELETES: Exchange = Exchange {
    request: "0000000a00000003000000022f7100",
    replies: &["\
     0000000a000000000000002700000000000000000000001f000000000000001f000001a2050ad515000001a2\
     050ad515000000000000000800000000000000000000000000000000000000020000000000000027"],
};
const CREATE_AFTER_DELETES: Exchange = Exchange {
    request: "\
     0000000b00000001000000052f712f732d00000000000000010000001f00000005776f726c6400000006616e\
     796f6e6500000002",
    replies: &["0000000b0000000000000028000000000000000f2f712f732d30303030303030303035"],
};
