//! Creating nodes.

use std::borrow::Cow;
use std::time::Duration;

use super::sealed::{Answer, Encode, Unread};
use super::{Data, Encoded, Operation};
use crate::client::chroot::Chroot;
use crate::error::{Error, Result};
use crate::path;
use crate::proto::acl::Acl;
use crate::proto::buffer::Buffer;
use crate::proto::jute::Writer;
use crate::proto::opcode::OpCode;
use crate::proto::reply;
use crate::proto::request::{CreateRequest, CreateTtlRequest};
use crate::proto::stat::Stat;

/// How long a node lives and whether the server numbers it.
///
/// Source: `CreateMode.java`. A time to live is an option of [`Create`], not a mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CreateMode {
    /// Lives until it is deleted.
    #[default]
    Persistent,
    /// As persistent, with a number of ten digits appended to its name by the server.
    PersistentSequential,
    /// Lives as long as the session. Cannot have children.
    Ephemeral,
    /// As ephemeral, with a number of ten digits appended to its name by the server.
    EphemeralSequential,
    /// Deleted by the server some time after its last child is. Since 3.5.1.
    Container,
}

/// Creates a node. Answers [`Created`].
#[derive(Clone, Debug)]
#[must_use = "an operation does nothing until it is called, submitted or committed"]
pub struct Create<'a> {
    path: Cow<'a, str>,
    data: Option<Data<'a>>,
    acl: Cow<'a, [Acl]>,
    mode: CreateMode,
    ttl: Option<Duration>,
    with_stat: bool,
}

/// A node that was created.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Created {
    /// The path of the node, with the number that the server appended.
    pub path: String,
    /// The new node's [`Stat`], if it was asked for with [`Create::with_stat`], or the server says
    /// it unasked (containers, nodes with a time to live).
    pub stat: Option<Stat>,
    /// The transaction that created the node.
    pub zxid: i64,
}

impl<'a> Create<'a> {
    /// A persistent node at `path` with empty data, open to everybody.
    pub fn new(path: impl Into<Cow<'a, str>>) -> Self {
        Self {
            path: path.into(),
            data: Some(Data::default()),
            acl: Cow::Borrowed(Acl::open_list()),
            mode: CreateMode::Persistent,
            ttl: None,
            with_stat: false,
        }
    }

    /// The node's data. Defaults to empty.
    pub fn data(mut self, data: impl Into<Data<'a>>) -> Self {
        self.data = Some(data.into());
        self
    }

    /// Null data, which the server tells apart from empty data.
    pub fn null_data(mut self) -> Self {
        self.data = None;
        self
    }

    /// Defaults to [`CreateMode::Persistent`].
    pub fn mode(mut self, mode: CreateMode) -> Self {
        self.mode = mode;
        self
    }

    /// Who may do what. Defaults to everybody everything ([`Acl::open`]).
    pub fn acl(mut self, acl: impl IntoIterator<Item = Acl>) -> Self {
        self.acl = acl.into_iter().collect();
        self
    }

    /// Has the server delete the node when it had no child and was not changed for `ttl`.
    ///
    /// From 1 ms to 2^40 - 1 ms, some 34 years, in whole milliseconds; persistent nodes only.
    /// Since 3.5.3, and only if the server runs with `extendedTypesEnabled`: else it answers
    /// [`Code::Unimplemented`](crate::Code::Unimplemented).
    ///
    /// Source: `EphemeralType.java`.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Asks for the new node's [`Stat`] too (`create2`, since 3.5).
    pub fn with_stat(mut self) -> Self {
        self.with_stat = true;
        self
    }

    pub(crate) fn path_ref(&self) -> &str {
        &self.path
    }

    /// The same at another path.
    pub(crate) fn at(mut self, path: String) -> Self {
        self.path = path.into();
        self
    }

    pub(crate) fn is_ephemeral(&self) -> bool {
        matches!(self.mode, CreateMode::Ephemeral | CreateMode::EphemeralSequential)
    }

    /// Checks everything that can be checked here and gives the opcode.
    pub(crate) fn check(&self) -> Result<OpCode> {
        let invalid = |why: &str| Err(Error::invalid("create", &self.path, why));
        let legal = match self.mode {
            CreateMode::PersistentSequential | CreateMode::EphemeralSequential => {
                path::validate_sequential(&self.path)
            }
            _ => path::validate(&self.path),
        };
        if let Err(why) = legal {
            return invalid(why);
        }
        if self.acl.is_empty() {
            return invalid("the ACL is empty: nobody could do anything with the node");
        }
        match (self.ttl, self.mode) {
            (None, CreateMode::Container) => Ok(OpCode::CreateContainer),
            (None, _) if self.with_stat => Ok(OpCode::Create2),
            (None, _) => Ok(OpCode::Create),
            (Some(ttl), CreateMode::Persistent | CreateMode::PersistentSequential) => {
                match ttl_ms(ttl) {
                    Some(_) => Ok(OpCode::CreateTtl),
                    None => invalid("a time to live is 1 ms to 2^40 - 1 ms"),
                }
            }
            (Some(_), _) => invalid("only persistent nodes have a time to live"),
        }
    }

    /// Writes the body; only after [`check`](Self::check).
    pub(crate) fn write(&self, server_path: &str, w: &mut Writer<'_>) {
        let data = self.data.as_deref();
        match self.ttl.and_then(ttl_ms) {
            Some(ttl_ms) => {
                let flags = if self.mode == CreateMode::PersistentSequential { 6 } else { 5 };
                CreateTtlRequest { path: server_path, data, acl: &self.acl, flags, ttl_ms }
                    .encode(w);
            }
            None => {
                let flags = self.mode.flags();
                CreateRequest { path: server_path, data, acl: &self.acl, flags }.encode(w);
            }
        }
    }
}

impl CreateMode {
    fn flags(self) -> i32 {
        match self {
            Self::Persistent => 0,
            Self::Ephemeral => 1,
            Self::PersistentSequential => 2,
            Self::EphemeralSequential => 3,
            Self::Container => 4,
        }
    }
}

impl Encode for Create<'_> {
    type Memo = ();

    const NAME: &'static str = "create";

    fn path(&self) -> &str {
        &self.path
    }

    fn encode(&mut self, chroot: &Chroot, out: &mut Buffer) -> Result<(Encoded, ())> {
        let op = self.check()?;
        let path = chroot.down(&self.path);
        let len =
            path.len() + self.data.as_ref().map_or(0, |data| data.len()) + 64 * self.acl.len();
        let encoded = Encoded::new(out, op, len, |out| self.write(&path, &mut Writer::new(out)));
        Ok((encoded, ()))
    }
}

impl Operation for Create<'_> {
    type Reply = Created;

    fn decode(answer: Answer<'_>, (): ()) -> Result<Created, Unread> {
        let Answer { op, body, chroot, zxid, .. } = answer.ok()?;
        let (path, stat) = match op {
            OpCode::Create => (reply::path(&body)?, None),
            _ => {
                let (path, stat) = reply::path_and_stat(&body)?;
                (path, Some(stat))
            }
        };
        Ok(Created { path: chroot.up(path), stat, zxid })
    }
}

/// The wire's form of a time to live, if it has one.
fn ttl_ms(ttl: Duration) -> Option<i64> {
    let ms = i64::try_from(ttl.as_millis()).ok()?;
    (1..=MAX_TTL_MS).contains(&ms).then_some(ms)
}

/// Source: `EphemeralType.java`, where 40 bits are left for it.
const MAX_TTL_MS: i64 = 0xff_ffff_ffff;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c14_a_time_to_live_out_of_range_is_refused_here() {
        let create = |ttl| Create::new("/a").ttl(ttl).check();
        assert!(create(Duration::ZERO).is_err());
        assert!(create(Duration::from_micros(999)).is_err());
        assert!(create(Duration::from_millis(1)).is_ok());
        assert!(create(Duration::from_millis(0xff_ffff_ffff)).is_ok());
        assert!(create(Duration::from_millis(0x100_0000_0000)).is_err());
        assert!(create(Duration::MAX).is_err());
        let ephemeral = Create::new("/a").ttl(Duration::from_secs(1)).mode(CreateMode::Ephemeral);
        assert!(ephemeral.check().is_err());
    }

    #[test]
    fn a_sequential_name_may_end_in_a_slash() {
        assert!(Create::new("/a/").check().is_err());
        assert!(Create::new("/a/").mode(CreateMode::EphemeralSequential).check().is_ok());
    }
}
