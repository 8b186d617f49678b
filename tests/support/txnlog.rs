//! Reads the server's transaction log: what really happened, and whose request did it.
//!
//! This is the oracle for "applied exactly once": each transaction carries the session and the xid
//! of the request (`cxid`) that caused it, and the zxid that its reply carried. A request that
//! failed has no transaction, or one that is an error.
//!
//! Of an ensemble, read the log of the leader, after all is quiet: a node that fell behind may lack
//! the newest, and one that led before may have proposals that never came to be. A node that was
//! brought up to date by a snapshot lacks what lies before it.
//!
//! Source: `FileTxnLog`, `TxnHeader`, `SerializeUtils.deserializeTxn`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::forge::{END, adler32};
use super::wait::eventually_some;
use super::wire::{In, op};

/// One transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Txn {
    pub(crate) session: i64,
    /// The request's xid.
    pub(crate) cxid: i32,
    pub(crate) zxid: i64,
    pub(crate) time_ms: i64,
    /// The request's operation; [`op::ERROR`] if it failed.
    pub(crate) op: i32,
    /// What it changed, in order: several for a multi, none for sessions and failures.
    pub(crate) changes: Vec<Change>,
    /// Why it failed; for a multi, of the member that did.
    pub(crate) err: Option<i32>,
}

/// One change of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// [`op::CREATE`], [`op::DELETE`], [`op::SET_DATA`] ...
    pub(crate) op: i32,
    pub(crate) path: String,
    /// What was written, of creates and setData; `None` also for NULL.
    pub(crate) data: Option<Vec<u8>>,
    /// The version after the change, of setData and setACL; the parent's cversion, of creates.
    pub(crate) version: i32,
}

/// All transactions in a server's data directory ([`super::server::Node::data`]), oldest first.
///
/// The server may be running: a record that it is about to finish is waited for.
#[track_caller]
pub(crate) fn read(data: &Path) -> Vec<Txn> {
    eventually_some("a log without a torn record", Duration::from_secs(5), || try_read(data))
}

/// The transactions whose request one session sent with this xid: none, one, or a mistake.
pub(crate) fn of_request(log: &[Txn], session: i64, cxid: i32) -> Vec<&Txn> {
    log.iter().filter(|txn| (txn.session, txn.cxid) == (session, cxid)).collect()
}

/// The transactions that changed `path`, oldest first.
pub(crate) fn of_path<'a>(log: &'a [Txn], path: &str) -> Vec<&'a Txn> {
    log.iter().filter(|txn| txn.changes.iter().any(|change| change.path == path)).collect()
}

/// `None` while the end is being written.
fn try_read(data: &Path) -> Option<Vec<Txn>> {
    // log.<zxid of the first record, in hex>: a new file after each start and each snapshot.
    let first = |path: &PathBuf| {
        let name = path.file_name()?.to_str()?.strip_prefix("log.")?;
        i64::from_str_radix(name, 16).ok()
    };
    let files = fs::read_dir(data).expect("a server's data directory").flatten();
    let mut files: Vec<(i64, PathBuf)> =
        files.filter_map(|file| Some((first(&file.path())?, file.path()))).collect();
    files.sort();
    // A follower that catches up may write down again what it has: 3.8.0 warns and goes on.
    let mut log: BTreeMap<i64, Txn> = BTreeMap::new();
    for (_, path) in files {
        for txn in parse(&fs::read(&path).ok()?)? {
            let known = log.entry(txn.zxid).or_insert_with(|| txn.clone());
            assert_eq!(*known, txn, "{}: another of this zxid", path.display());
        }
    }
    Some(log.into_values().collect())
}

/// The transactions of one file; `None` if it ends in a torn one.
pub(crate) fn parse(file: &[u8]) -> Option<Vec<Txn>> {
    let mut from = In(file);
    if file.len() < 16 {
        return None;
    }
    assert_eq!(from.take(4), b"ZKLG", "no transaction log");
    assert_eq!(from.i32(), 2, "the format's version");
    let _database = from.i64();
    let mut txns = Vec::new();
    while from.0.len() >= 12 {
        let (sum, len) = (from.i64(), from.i32());
        // The rest of the file was only allocated.
        if len == 0 {
            break;
        }
        let len = usize::try_from(len).ok()?;
        if from.0.len() <= len {
            return None;
        }
        let (body, end) = (from.take(len), from.take(1));
        if end != [END] || i64::from(adler32(body)) != sum {
            return None;
        }
        txns.push(txn(body));
    }
    Some(txns)
}

fn txn(body: &[u8]) -> Txn {
    let mut from = In(body);
    let (session, cxid, zxid) = (from.i64(), from.i32(), from.i64());
    let (time_ms, op) = (from.i64(), from.i32());
    let mut txn = Txn { session, cxid, zxid, time_ms, op, changes: Vec::new(), err: None };
    if op == op::MULTI {
        for _ in 0..from.i32() {
            let op = from.i32();
            let part = from.buffer().unwrap_or_default();
            add(&mut txn, op, &mut In(part));
        }
        // The log has the members before the one that failed as if they had happened; or, if it was
        // written after the server found that they did not, as failures that hold what they were.
        if txn.err.is_some() {
            txn.changes.clear();
        }
    } else {
        add(&mut txn, op, &mut from);
    }
    // Behind it, since 3.6, there may be a digest of the tree.
    txn
}

fn add(txn: &mut Txn, op: i32, from: &mut In<'_>) {
    let owned = |data: Option<&[u8]>| data.map(<[u8]>::to_vec);
    let skip_acl = |from: &mut In<'_>| {
        for _ in 0..from.i32() {
            let _entry = (from.i32(), from.string(), from.string());
        }
    };
    match op {
        op::ERROR => {
            // In a failed multi, those after the one that failed have -2.
            let err = from.i32();
            if err < 0 && txn.err.is_none() {
                txn.err = Some(err);
            }
        }
        op::CREATE | op::CREATE2 | op::CREATE_CONTAINER | op::CREATE_TTL => {
            let (path, data) = (from.string(), owned(from.buffer()));
            skip_acl(from);
            if matches!(op, op::CREATE | op::CREATE2) {
                let _ephemeral = from.bool();
            }
            let version = from.i32();
            txn.changes.push(Change { op, path, data, version });
        }
        op::DELETE | op::DELETE_CONTAINER => {
            let path = from.string();
            txn.changes.push(Change { op, path, data: None, version: 0 });
        }
        op::SET_DATA | op::RECONFIG => {
            let (path, data, version) = (from.string(), owned(from.buffer()), from.i32());
            txn.changes.push(Change { op, path, data, version });
        }
        op::SET_ACL => {
            let path = from.string();
            skip_acl(from);
            let version = from.i32();
            txn.changes.push(Change { op, path, data: None, version });
        }
        op::CHECK => {
            let (path, version) = (from.string(), from.i32());
            txn.changes.push(Change { op, path, data: None, version });
        }
        // Sessions: they change no node by a path of their own.
        _ => {}
    }
}
