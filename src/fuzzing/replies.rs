//! Every decoder of what a server says.

use super::BASE;
use super::script::Script;
use crate::client::chroot::Chroot;
use crate::client::op::sealed::{Answer, Body};
use crate::client::op::{self, Operation};
use crate::client::transaction::Transaction;
use crate::error::At;
use crate::proto::acl::Acl;
use crate::proto::buffer::Buffer;
use crate::proto::code::Code;
use crate::proto::connect::ConnectResponse;
use crate::proto::event::{SetWatches, WatcherEvent};
use crate::proto::header::ReplyHeader;
use crate::proto::jute::{Reader, Writer};
use crate::proto::multi;

/// Reads bytes as the answer to one operation, or as one of the records that answer none.
///
/// The first byte picks the decoder, the second the error in the header (128 is none), the rest is the body.
pub fn replies(data: &[u8], allow: &dyn Fn(usize)) {
    let mut script = Script(data);
    let read = script.pick(READERS);
    let code = i32::from(script.byte()) - 128;
    // A name of no bytes takes 4 on the wire and 24 here, in a vector that doubles.
    allow(BASE + 48 * data.len());
    read(Given { code, body: script.0 });
}

/// What the server sent.
#[derive(Clone, Copy)]
struct Given<'a> {
    code: i32,
    body: &'a [u8],
}

impl Given<'_> {
    /// Reads the body as the answer to `op`, and prints the refusal.
    fn answers<O: Operation>(self, mut op: O) {
        let chroot = Chroot::new("/app");
        let (name, path) = (O::NAME, op.path().to_owned());
        let Ok((request, memo)) = op.encode(&chroot, &mut Buffer::default()) else {
            return;
        };
        let code = Code::from_raw(self.code);
        let answer =
            Answer { op: request.op, code, zxid: 7, body: Body::Part(self.body), chroot: &chroot };
        if let Err(unread) = O::decode(answer, memo) {
            let error = unread.into_error(At::new(name, path));
            assert!(!error.to_string().is_empty());
        }
    }
}

/// One per kind of answer. New ones go to the end: the corpus counts on the places.
const READERS: &[fn(Given<'_>)] = &[
    |given| given.answers(op::GetData::new("/a")),
    |given| given.answers(op::GetDataOrNull::new("/a")),
    |given| given.answers(op::Exists::new("/a")),
    |given| given.answers(op::GetChildren::new("/a")),
    |given| given.answers(op::GetChildrenWithStat::new("/a")),
    |given| given.answers(op::GetAcl::new("/a")),
    |given| given.answers(op::SetAcl::new("/a", [Acl::open()])),
    |given| given.answers(op::SetData::new("/a", "x")),
    |given| given.answers(op::Delete::new("/a")),
    |given| given.answers(op::Create::new("/a")),
    |given| given.answers(op::Create::new("/a").mode(op::CreateMode::Container)),
    |given| given.answers(op::Sync::new("/a")),
    |given| given.answers(op::GetEphemerals::new("/a")),
    |given| given.answers(op::GetAllChildrenNumber::new("/a")),
    |given| given.answers(op::WhoAmI),
    |given| given.answers(op::GetConfig::new()),
    |given| given.answers(op::Reconfig::new().joining("server.4=localhost:1:2;3")),
    |given| given.answers(op::RemoveWatches::new("/a", op::WatcherType::Any)),
    |given| given.answers(op::CheckWatches::new("/a", op::WatcherType::Data)),
    |given| given.answers(op::MultiRead::new().get_data("/a").get_children("/b")),
    |given| given.answers(Transaction::new().check("/a", 1).delete("/a", 1)),
    |given| {
        let transaction = Transaction::new().op(op::Create::new("/a"));
        given.answers(transaction.op(op::SetData::new("/a", "x")));
    },
    connect_response,
    notification,
    header,
    set_watches,
    |given| drop(multi::results(given.body)),
];

fn connect_response(given: Given<'_>) {
    if let Ok(response) = ConnectResponse::decode(given.body) {
        let mut out = Vec::new();
        response.encode(&mut out);
        assert_eq!(ConnectResponse::decode(&out), Ok(response));
    }
}

fn notification(given: Given<'_>) {
    if let Ok(event) = WatcherEvent::decode(given.body) {
        let mut out = Vec::new();
        event.encode(&mut Writer::new(&mut out));
        assert_eq!(WatcherEvent::decode(&out), Ok(event));
    }
}

fn header(given: Given<'_>) {
    let mut reader = Reader::new(given.body);
    if let Ok(header) = ReplyHeader::decode(&mut reader) {
        let mut out = Vec::new();
        header.encode(&mut Writer::new(&mut out));
        out.extend_from_slice(reader.rest());
        assert_eq!(out, given.body);
    }
}

/// Paths as they come, one a line, into the lists; then reads the request back.
fn set_watches(given: Given<'_>) {
    let sent = if given.code & 1 == 1 { 5 } else { 3 };
    let text = String::from_utf8_lossy(given.body);
    let mut lists: [Vec<&str>; 5] = Default::default();
    let mut batch = SetWatches::new();
    let mut foretold = batch.len_with("") - 4;
    for (line, place) in text.lines().zip((0..sent).cycle()) {
        if let Some(list) = lists.get_mut(place) {
            foretold = batch.len_with(line);
            list.push(line);
            batch.push(place, line);
        }
    }
    let mut out = Vec::new();
    batch.encode(&mut out, 7);
    let sent = if batch.needs_two() { 5 } else { 3 };
    assert_eq!(out.len(), foretold - (5 - sent) * 4);
    let mut reader = Reader::new(&out);
    assert_eq!(reader.i64(), Ok(7));
    for list in lists.iter().take(sent) {
        let read = reader.vector(4, Reader::string);
        assert!(read.is_ok_and(|paths| paths == *list));
    }
    assert_eq!(reader.remaining(), 0);
}
