//! The stat of a node.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[cfg(test)]
use super::jute::Writer;
use super::jute::{DecodeError, Reader};

/// What the server keeps about a node besides its data and its ACL.
///
/// The fields are the server's own numbers. A *zxid* is the number of a transaction; zxids grow
/// over the life of an ensemble, so the node with the smaller [`czxid`](Self::czxid) is the older
/// one. Versions begin at 0, grow by one with each change, and wrap around after 2³¹ - 1.
///
/// Source: ZooKeeper `Stat` in `zookeeper.jute`; `DataNode.java`, `EphemeralType.java`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stat {
    /// The transaction that created the node. No other node ever has it, not even one of the same
    /// path.
    pub czxid: i64,
    /// The transaction that set the data last.
    pub mzxid: i64,
    /// The transaction that created or deleted a child last; `czxid` while there was none.
    pub pzxid: i64,
    /// When the node was created, in milliseconds since the Unix epoch, by the clock of the leader.
    /// See [`created`](Self::created).
    pub ctime_ms: i64,
    /// When the data was set last, in milliseconds since the Unix epoch, by the clock of the
    /// leader. See [`modified`](Self::modified).
    pub mtime_ms: i64,
    /// How often the data was set. `set_data` and `delete` compare with it.
    pub version: i32,
    /// How often a child was created or deleted.
    ///
    /// It is not the number of the next sequential child: the server counts creates only, and
    /// shows twice that count less the children there are. The next number is
    /// `(cversion + num_children) / 2`, as long as the doubling has not wrapped around.
    pub cversion: i32,
    /// How often the ACL was set. `set_acl` compares with it.
    pub aversion: i32,
    /// The session that owns the node if it is ephemeral, 0 if it is not.
    ///
    /// Inside the server, containers and nodes with a time to live have a mark of their own here.
    /// ZooKeeper itself shows 0 to clients in its place; servers that show the mark are why
    /// [`is_ephemeral`](Self::is_ephemeral) asks more than whether this is 0.
    pub ephemeral_owner: i64,
    /// The size of the data in bytes.
    pub data_length: i32,
    /// How many children the node has.
    pub num_children: i32,
}

impl Stat {
    /// The size of the record in bytes.
    #[cfg(test)]
    pub(crate) const LEN: usize = 68;

    /// When the node was created, by the clock of the leader.
    pub fn created(&self) -> SystemTime {
        since_epoch(self.ctime_ms)
    }

    /// When the data was set last, by the clock of the leader.
    pub fn modified(&self) -> SystemTime {
        since_epoch(self.mtime_ms)
    }

    /// Whether the node belongs to a session and goes when that session ends.
    pub fn is_ephemeral(&self) -> bool {
        self.ephemeral_owner != 0 && !self.is_container() && self.ttl().is_none()
    }

    /// Whether the server shows the node as a container, to be deleted some time after its last
    /// child is gone.
    ///
    /// ZooKeeper hides the mark from clients (`DataNode.getClientEphemeralOwner`): `false` says
    /// nothing.
    pub(crate) fn is_container(&self) -> bool {
        self.ephemeral_owner == CONTAINER_OWNER
    }

    /// How long the node may be without change and without children before the server deletes it,
    /// if the server shows it.
    ///
    /// ZooKeeper hides the mark from clients (`DataNode.getClientEphemeralOwner`) unless it runs
    /// without `zookeeper.extendedTypesEnabled`: `None` says nothing. Nodes made by a 3.5.3 server,
    /// which marked them in a way that can be mistaken for a session, are never recognised.
    pub(crate) fn ttl(&self) -> Option<Duration> {
        let owner = self.ephemeral_owner as u64;
        (owner & TTL_MASK == TTL_MARK).then(|| Duration::from_millis(owner & !TTL_MASK))
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match r.fixed::<LEN>() {
            Some(bytes) => Self::fields(&mut Reader::new(bytes)),
            // Says where the bytes end.
            None => Self::fields(r),
        }
    }

    #[inline(always)]
    fn fields(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            czxid: r.i64()?,
            mzxid: r.i64()?,
            ctime_ms: r.i64()?,
            mtime_ms: r.i64()?,
            version: r.i32()?,
            cversion: r.i32()?,
            aversion: r.i32()?,
            ephemeral_owner: r.i64()?,
            data_length: r.i32()?,
            num_children: r.i32()?,
            pzxid: r.i64()?,
        })
    }

    #[cfg(test)]
    pub(crate) fn encode(&self, w: &mut Writer<'_>) {
        w.i64(self.czxid);
        w.i64(self.mzxid);
        w.i64(self.ctime_ms);
        w.i64(self.mtime_ms);
        w.i32(self.version);
        w.i32(self.cversion);
        w.i32(self.aversion);
        w.i64(self.ephemeral_owner);
        w.i32(self.data_length);
        w.i32(self.num_children);
        w.i64(self.pzxid);
    }
}

/// The size of a `Stat` in bytes.
const LEN: usize = 68;

/// A point in time from milliseconds since the epoch; the epoch itself for what the system cannot
/// express.
fn since_epoch(ms: i64) -> SystemTime {
    let distance = Duration::from_millis(ms.unsigned_abs());
    let time =
        if ms < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    time.unwrap_or(UNIX_EPOCH)
}

/// The owner of every container, `CONTAINER_EPHEMERAL_OWNER` in `EphemeralType.java`.
const CONTAINER_OWNER: i64 = i64::MIN;
/// The owner of a node with a time to live is the mark 0xff, the feature number 0 in two bytes, and
/// the milliseconds in five. A session of server 255 has the same mark, but not the zeros.
const TTL_MARK: u64 = 0xff << 56;
const TTL_MASK: u64 = 0xff_ffff << 40;

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in crate::proto) fn any_stat() -> impl Strategy<Value = Stat> {
        (any::<[i64; 6]>(), any::<[i32; 5]>()).prop_map(|(long, int)| Stat {
            czxid: long[0],
            mzxid: long[1],
            pzxid: long[2],
            ctime_ms: long[3],
            mtime_ms: long[4],
            ephemeral_owner: long[5],
            version: int[0],
            cversion: int[1],
            aversion: int[2],
            data_length: int[3],
            num_children: int[4],
        })
    }

    fn owned_by(ephemeral_owner: u64) -> Stat {
        Stat { ephemeral_owner: ephemeral_owner as i64, ..Stat::default() }
    }

    #[test]
    fn node_of_no_one_is_persistent() {
        let stat = owned_by(0);
        assert!(!stat.is_ephemeral() && !stat.is_container() && stat.ttl().is_none());
    }

    #[test]
    fn node_of_a_session_is_ephemeral() {
        // Server 1, server 128 (a negative number), server 255 with a clock in its id.
        for owner in [0x0100_0014_bcaf_0002, 0x8000_0014_bcaf_0002, 0xff00_8014_bcaf_0002] {
            let stat = owned_by(owner);
            assert!(stat.is_ephemeral() && !stat.is_container() && stat.ttl().is_none());
        }
    }

    #[test]
    fn container_has_the_smallest_owner() {
        let stat = owned_by(1 << 63);
        assert!(stat.is_container() && !stat.is_ephemeral() && stat.ttl().is_none());
    }

    #[test]
    fn time_to_live_is_the_low_five_bytes_of_the_owner() {
        for ms in [1, 1_000, 0xff_ffff_ffff] {
            let stat = owned_by(0xff << 56 | ms);
            assert_eq!(stat.ttl(), Some(Duration::from_millis(ms)));
            assert!(!stat.is_ephemeral() && !stat.is_container());
        }
        assert_eq!(owned_by(0xff00_0100_0000_03e8).ttl(), None);
    }

    #[test]
    fn times_count_from_the_epoch_both_ways() {
        let stat = Stat { ctime_ms: 1_500, mtime_ms: -1_500, ..Stat::default() };
        assert_eq!(stat.created(), UNIX_EPOCH + Duration::from_millis(1_500));
        assert_eq!(stat.modified(), UNIX_EPOCH - Duration::from_millis(1_500));
    }

    #[test]
    fn stat_cut_short_is_an_error() {
        let bytes = [0; Stat::LEN];
        for len in 0..Stat::LEN {
            assert!(Stat::decode(&mut Reader::new(&bytes[..len])).is_err());
        }
    }

    proptest! {
        #[test]
        fn stat_comes_back(stat in any_stat()) {
            let mut out = Vec::new();
            stat.encode(&mut Writer::new(&mut out));
            prop_assert_eq!(out.len(), Stat::LEN);
            prop_assert_eq!(Stat::decode(&mut Reader::new(&out))?, stat);
        }

        #[test]
        fn any_stat_can_be_asked_anything(stat in any_stat()) {
            let _ = (stat.created(), stat.modified(), stat.ttl());
            let kinds = [stat.is_ephemeral(), stat.is_container(), stat.ttl().is_some()];
            let none = stat.ephemeral_owner == 0;
            prop_assert_eq!(kinds.iter().filter(|kind| **kind).count(), usize::from(!none));
        }
    }
}
