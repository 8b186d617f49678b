//! Transactions: several operations in one request, several results in one reply.
//!
//! ```text
//! request   ( header{op, false, -1}  body )*   header{-1, true, -1}
//! reply     ( header{op, false, err} result )* header{-1, true, -1}
//! ```
//!
//! A transaction that failed has a reply header without an error and one error per operation: 0 for
//! those before the one that failed, its code, and -2 for those after it. Batches of reads have the
//! same shape, there each operation stands alone.
//!
//! Source: `MultiHeader` in `zookeeper.jute`; `MultiOperationRecord.java`, `MultiResponse.java`.

use super::jute::{DecodeError, Reader, Writer};
use super::opcode::OpCode;
use super::reply;
use super::stat::Stat;

/// Writes the body of a multi request.
#[derive(Debug)]
pub(crate) struct MultiWriter<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> MultiWriter<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// Starts the next operation. Its body goes into the writer that comes back.
    pub(crate) fn op(&mut self, op: OpCode) -> Writer<'_> {
        let mut w = Writer::new(self.out);
        write_header(&mut w, op.raw(), false);
        w
    }

    /// Ends the list of operations.
    pub(crate) fn finish(self) {
        write_header(&mut Writer::new(self.out), NO_OP, true);
    }
}

/// What became of one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MultiResult {
    Check,
    Children(Vec<String>),
    /// A node was created. ZooKeeper answers create and create2 without a stat, the latter only in
    /// a transaction (ZOOKEEPER-4026); the other kinds have one and are called create2 here.
    Create {
        path: String,
        stat: Option<Stat>,
    },
    Data(Option<Vec<u8>>, Stat),
    Delete,
    /// The operation failed, or was undone or not tried because another one failed. 0 is possible.
    Error(i32),
    SetData(Stat),
}

/// Reads the body of a reply to multi or multi_read.
pub(crate) fn results(body: &[u8]) -> Result<Vec<MultiResult>, DecodeError> {
    let mut r = Reader::new(body);
    let mut results = Vec::new();
    loop {
        let start = r.clone();
        let op = r.i32()?;
        let done = r.bool()?;
        let _err = r.i32()?;
        if done {
            return Ok(results);
        }
        results.push(match OpCode::from_raw(op) {
            None if op == NO_OP => MultiResult::Error(r.i32()?),
            Some(OpCode::Create) => MultiResult::Create { path: r.string()?, stat: None },
            Some(OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl) => {
                MultiResult::Create { path: r.string()?, stat: Some(Stat::decode(&mut r)?) }
            }
            Some(OpCode::Check) => MultiResult::Check,
            Some(OpCode::Delete) => MultiResult::Delete,
            Some(OpCode::GetChildren) => MultiResult::Children(reply::strings(&mut r)?),
            Some(OpCode::GetData) => {
                MultiResult::Data(r.buffer()?.map(<[u8]>::to_vec), Stat::decode(&mut r)?)
            }
            Some(OpCode::SetData) => MultiResult::SetData(Stat::decode(&mut r)?),
            _ => return Err(start.error("unknown kind of result in a multi reply")),
        });
    }
}

fn write_header(w: &mut Writer<'_>, op: i32, done: bool) {
    w.i32(op);
    w.bool(done);
    w.i32(NO_ERR);
}

/// The kind of an error result, and of the header that ends the list.
const NO_OP: i32 = -1;
/// What stands in the error field of every header that has no error to tell.
const NO_ERR: i32 = -1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::frame::{begin_frame, end_frame};
    use super::super::header::{ReplyHeader, request_header};
    use super::super::request::{CheckRequest, DeleteRequest};
    use super::super::stat::tests::any_stat;
    use super::*;
    use crate::proto::captured::unhex;

    /// Writes results as a server does.
    fn encode(results: &[MultiResult], container: OpCode) -> Vec<u8> {
        let mut out = Vec::new();
        let mut w = Writer::new(&mut out);
        for result in results {
            let (op, err) = match result {
                MultiResult::Check => (OpCode::Check.raw(), 0),
                MultiResult::Children(_) => (OpCode::GetChildren.raw(), 0),
                MultiResult::Create { stat: None, .. } => (OpCode::Create.raw(), 0),
                MultiResult::Create { stat: Some(_), .. } => (container.raw(), 0),
                MultiResult::Data(..) => (OpCode::GetData.raw(), 0),
                MultiResult::Delete => (OpCode::Delete.raw(), 0),
                MultiResult::Error(err) => (-1, *err),
                MultiResult::SetData(_) => (OpCode::SetData.raw(), 0),
            };
            w.i32(op);
            w.bool(false);
            w.i32(err);
            match result {
                MultiResult::Check | MultiResult::Delete => {}
                MultiResult::Children(names) => {
                    w.count(names.len());
                    names.iter().for_each(|name| w.string(name));
                }
                MultiResult::Create { path, stat } => {
                    w.string(path);
                    stat.iter().for_each(|stat| stat.encode(&mut w));
                }
                MultiResult::Data(data, stat) => {
                    w.buffer(data.as_deref());
                    stat.encode(&mut w);
                }
                MultiResult::Error(err) => w.i32(*err),
                MultiResult::SetData(stat) => stat.encode(&mut w),
            }
        }
        write_header(&mut w, NO_OP, true);
        out
    }

    #[test]
    fn check_and_delete_are_golden() {
        let mut out = Vec::new();
        let start = begin_frame(&mut out);
        request_header(&mut out, 4, OpCode::Multi);
        let mut multi = MultiWriter::new(&mut out);
        let check = CheckRequest { path: "/a", version: 7 };
        let delete = DeleteRequest { path: "/b", version: -1 };
        check.encode(&mut multi.op(OpCode::Check));
        delete.encode(&mut multi.op(OpCode::Delete));
        multi.finish();
        end_frame(&mut out, start);
        let golden = "00000037000000040000000e0000000d00ffffffff000000022f61000000070000000200ff\
                      ffffff000000022f62ffffffffffffffff01ffffffff";
        assert_eq!(out, unhex(golden));
    }

    #[test]
    fn failed_transaction_is_golden() {
        let reply = unhex(
            "00000004000000000000020000000000ffffffff000000000000000000ffffffff00ffffff9bffffff9b\
             ffffffff01ffffffff",
        );
        let mut r = Reader::new(&reply);
        assert_eq!(ReplyHeader::decode(&mut r).unwrap().err, 0);
        let expected = [MultiResult::Error(0), MultiResult::Error(-101)];
        assert_eq!(results(r.rest()).unwrap(), expected);
    }

    #[test]
    fn unknown_kind_of_result_is_an_error_that_says_where() {
        let body = unhex("0000000d0000000000000000630000000000");
        let error = results(&body).unwrap_err();
        assert_eq!(error.to_string(), "unknown kind of result in a multi reply at byte 9");
    }

    #[test]
    fn list_without_an_end_is_an_error() {
        assert!(results(&[]).is_err());
        assert!(results(&unhex("0000000d0000000000")).is_err());
    }

    fn any_result() -> impl Strategy<Value = MultiResult> {
        prop_oneof![
            Just(MultiResult::Check),
            Just(MultiResult::Delete),
            prop::collection::vec(".{0,8}", 0..4).prop_map(MultiResult::Children),
            any::<i32>().prop_map(MultiResult::Error),
            any_stat().prop_map(MultiResult::SetData),
            (any::<Option<Vec<u8>>>(), any_stat())
                .prop_map(|(data, stat)| MultiResult::Data(data, stat)),
            (".*", prop::option::of(any_stat()))
                .prop_map(|(path, stat)| MultiResult::Create { path, stat }),
        ]
    }

    proptest! {
        #[test]
        fn results_come_back_whatever_follows(
            list in prop::collection::vec(any_result(), 0..6),
            container in prop::sample::select(vec![
                OpCode::Create2,
                OpCode::CreateContainer,
                OpCode::CreateTtl,
            ]),
            tail: Vec<u8>,
        ) {
            let mut bytes = encode(&list, container);
            bytes.extend(tail);
            prop_assert_eq!(results(&bytes)?, list);
        }

        #[test]
        fn results_cut_short_are_an_error(
            list in prop::collection::vec(any_result(), 0..4),
            cut in 1..9_usize,
        ) {
            let bytes = encode(&list, OpCode::Create2);
            prop_assert!(results(&bytes[..bytes.len() - cut]).is_err());
        }

        #[test]
        fn any_bytes_are_results_or_an_error(bytes: Vec<u8>) {
            let _ = results(&bytes);
        }

        #[test]
        fn any_change_of_a_byte_gives_results_or_an_error(
            list in prop::collection::vec(any_result(), 1..4),
            at: prop::sample::Index,
            byte: u8,
        ) {
            let mut bytes = encode(&list, OpCode::Create2);
            *at.get_mut(&mut bytes) = byte;
            let _ = results(&bytes);
        }
    }
}
