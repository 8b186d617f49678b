//! Writes a transaction log for a server to start from: counters that would take 2^31 operations
//! to reach stand there after two seconds.
//!
//! ```text
//! let log = Forge::new()
//!     .create("/queue", b"", AUTO)
//!     .create("/queue/old", b"", 2_147_483_644)       // the parent's cversion from here on
//!     .set_data("/ver", b"", 2_147_483_645)
//!     .finish();
//! let server = Place::start_with_log(log);
//! ```
//!
//! Source: `FileTxnLog`, `SerializeUtils`, `zookeeper.jute` (the `...Txn` records); the server takes
//! a log without a snapshot only with `-Dzookeeper.snapshot.trust.empty=true`.

use super::wire::{Out, op};

/// Instead of a parent's cversion: one more than it was.
pub(crate) const AUTO: i32 = -1;

/// A log in the making. Each record has the next zxid, from 1 or from what was set.
#[derive(Clone, Debug)]
pub(crate) struct Forge {
    file: Out,
    zxid: i64,
}

impl Forge {
    pub(crate) fn new() -> Self {
        let (version, database) = (2, 0);
        Self { file: Out::new().bytes(b"ZKLG").i32(version).i64(database), zxid: 0 }
    }

    /// Gives the next record this zxid, which must be larger than all before.
    pub(crate) fn zxid(mut self, next: i64) -> Self {
        assert!(next > self.zxid, "zxids grow");
        self.zxid = next - 1;
        self
    }

    /// A persistent node that everybody may change; its parent's cversion is set to
    /// `parent_cversion`, or counts on with [`AUTO`].
    pub(crate) fn create(self, path: &str, data: &[u8], parent_cversion: i32) -> Self {
        let ephemeral = false;
        let txn = Out::new().string(path).buffer(data).open_acl();
        self.record(0, op::CREATE, &txn.bool(ephemeral).i32(parent_cversion))
    }

    /// An ephemeral node of a session that `create_session` has made.
    pub(crate) fn create_ephemeral(self, session: i64, path: &str, data: &[u8]) -> Self {
        let ephemeral = true;
        let txn = Out::new().string(path).buffer(data).open_acl();
        self.record(session, op::CREATE, &txn.bool(ephemeral).i32(AUTO))
    }

    /// Sets data and version of a node.
    pub(crate) fn set_data(self, path: &str, data: &[u8], version: i32) -> Self {
        let txn = Out::new().string(path).buffer(data).i32(version);
        self.record(0, op::SET_DATA, &txn)
    }

    pub(crate) fn delete(self, path: &str) -> Self {
        self.record(0, op::DELETE, &Out::new().string(path))
    }

    /// Lets everybody do everything, and sets the ACL's version.
    pub(crate) fn set_acl(self, path: &str, version: i32) -> Self {
        let txn = Out::new().string(path).open_acl().i32(version);
        self.record(0, op::SET_ACL, &txn)
    }

    /// A session that the server takes over; it expires `timeout_ms` after the start.
    pub(crate) fn create_session(self, session: i64, timeout_ms: i32) -> Self {
        self.record(session, op::CREATE_SESSION, &Out::new().i32(timeout_ms))
    }

    /// Any record.
    pub(crate) fn record(mut self, session: i64, op: i32, txn: &Out) -> Self {
        self.zxid += 1;
        let (cxid, time_ms) = (0, 1_600_000_000_000);
        let header = Out::new().i64(session).i32(cxid).i64(self.zxid).i64(time_ms).i32(op);
        let body = header.bytes(&txn.0);
        let sum = i64::from(adler32(&body.0));
        self.file = self.file.i64(sum).buffer(&body.0).bytes(&[END]);
        self
    }

    /// The file's content.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.file.0
    }
}

/// The checksum of each record.
///
/// Source: RFC 1950, 8.2.
pub(crate) fn adler32(bytes: &[u8]) -> u32 {
    const PRIME: u32 = 65_521;
    let (mut low, mut high) = (1, 0);
    for byte in bytes {
        low = (low + u32::from(*byte)) % PRIME;
        high = (high + low) % PRIME;
    }
    high << 16 | low
}

/// Stands behind each record.
pub(crate) const END: u8 = b'B';
