//! Changing and deleting nodes.

use std::borrow::Cow;

use super::sealed::{Answer, Encode, Unread};
use super::{Data, Encoded, Operation, server_path};
use crate::client::chroot::Chroot;
use crate::error::{Error, Result};
use crate::proto::acl::Acl;
use crate::proto::buffer::Buffer;
use crate::proto::jute::Writer;
use crate::proto::opcode::OpCode;
use crate::proto::reply;
use crate::proto::request::{DeleteRequest, SetAclRequest, SetDataRequest};
use crate::proto::stat::Stat;

/// The version that a node must have for a change to happen.
///
/// An `i32` converts into [`Version::Exactly`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Version {
    /// Whatever it is: the change is unconditional.
    Any,
    /// This one, as a [`Stat`] told it.
    ///
    /// The wire's word for *any* is -1, and servers before 3.9 let a version that wraps pass -1
    /// (ZOOKEEPER-4743). So `Exactly(-1)` is refused here: sent, it would overwrite blindly.
    Exactly(i32),
}

impl From<i32> for Version {
    fn from(version: i32) -> Self {
        Self::Exactly(version)
    }
}

impl Version {
    pub(crate) fn wire(self, op: &'static str, path: &str) -> Result<i32> {
        match self {
            Self::Any => Ok(-1),
            Self::Exactly(-1) => Err(Error::invalid(
                op,
                path,
                "version -1 would mean any version: read the node again, or say Version::Any",
            )),
            Self::Exactly(version) => Ok(version),
        }
    }
}

/// Sets a node's data. Answers its new [`Stat`].
#[derive(Clone, Debug)]
#[must_use = "an operation does nothing until it is called, submitted or committed"]
pub struct SetData<'a> {
    path: Cow<'a, str>,
    data: Option<Data<'a>>,
    version: Version,
}

impl<'a> SetData<'a> {
    /// Sets the data of `path` to `data`, whatever its version.
    pub fn new(path: impl Into<Cow<'a, str>>, data: impl Into<Data<'a>>) -> Self {
        Self { path: path.into(), data: Some(data.into()), version: Version::Any }
    }

    /// Sets null data, which the server tells apart from empty data.
    pub fn null(path: impl Into<Cow<'a, str>>) -> Self {
        Self { path: path.into(), data: None, version: Version::Any }
    }

    /// The version that the node must have. Defaults to [`Version::Any`].
    pub fn version(mut self, version: impl Into<Version>) -> Self {
        self.version = version.into();
        self
    }

    pub(crate) fn write(&self, server_path: &str, w: &mut Writer<'_>) -> Result<()> {
        let version = self.version.wire("set_data", &self.path)?;
        SetDataRequest { path: server_path, data: self.data.as_deref(), version }.encode(w);
        Ok(())
    }
}

impl Encode for SetData<'_> {
    type Memo = ();

    const NAME: &'static str = "set_data";

    fn path(&self) -> &str {
        &self.path
    }

    fn encode(&mut self, chroot: &Chroot, out: &mut Buffer) -> Result<(Encoded, ())> {
        let path = server_path("set_data", &self.path, chroot)?;
        let len = 12 + path.len() + self.data.as_ref().map_or(0, |data| data.len());
        let mut written = Ok(());
        let encoded = Encoded::new(out, OpCode::SetData, len, |out| {
            written = self.write(&path, &mut Writer::new(out));
        });
        written.map(|()| (encoded, ()))
    }
}

impl Operation for SetData<'_> {
    type Reply = Stat;

    fn decode(answer: Answer<'_>, (): ()) -> Result<Stat, Unread> {
        Ok(reply::stat(&answer.ok()?.body)?)
    }
}

/// Deletes a node.
#[derive(Clone, Debug)]
#[must_use = "an operation does nothing until it is called, submitted or committed"]
pub struct Delete<'a> {
    path: Cow<'a, str>,
    version: Version,
}

impl<'a> Delete<'a> {
    /// Deletes `path`, whatever its version.
    pub fn new(path: impl Into<Cow<'a, str>>) -> Self {
        Self { path: path.into(), version: Version::Any }
    }

    /// The version that the node must have. Defaults to [`Version::Any`].
    pub fn version(mut self, version: impl Into<Version>) -> Self {
        self.version = version.into();
        self
    }

    pub(crate) fn write(&self, server_path: &str, w: &mut Writer<'_>) -> Result<()> {
        if self.path == "/" {
            return Err(Error::invalid("delete", &self.path, "the root cannot be deleted"));
        }
        let version = self.version.wire("delete", &self.path)?;
        DeleteRequest { path: server_path, version }.encode(w);
        Ok(())
    }
}

impl Encode for Delete<'_> {
    type Memo = ();

    const NAME: &'static str = "delete";

    fn path(&self) -> &str {
        &self.path
    }

    fn encode(&mut self, chroot: &Chroot, out: &mut Buffer) -> Result<(Encoded, ())> {
        let path = server_path("delete", &self.path, chroot)?;
        let mut written = Ok(());
        let encoded = Encoded::new(out, OpCode::Delete, 8 + path.len(), |out| {
            written = self.write(&path, &mut Writer::new(out));
        });
        written.map(|()| (encoded, ()))
    }
}

impl Operation for Delete<'_> {
    type Reply = ();

    fn decode(answer: Answer<'_>, (): ()) -> Result<(), Unread> {
        answer.ok().map(drop)
    }
}

/// Sets a node's ACL. Answers its new [`Stat`].
#[derive(Clone, Debug)]
#[must_use = "an operation does nothing until it is called, submitted or committed"]
pub struct SetAcl<'a> {
    path: Cow<'a, str>,
    acl: Vec<Acl>,
    version: Version,
}

impl<'a> SetAcl<'a> {
    /// Sets the ACL of `path`, whatever its ACL version.
    pub fn new(path: impl Into<Cow<'a, str>>, acl: impl IntoIterator<Item = Acl>) -> Self {
        Self { path: path.into(), acl: acl.into_iter().collect(), version: Version::Any }
    }

    /// The ACL version (`Stat::aversion`) that the node must have. Defaults to [`Version::Any`].
    pub fn version(mut self, version: impl Into<Version>) -> Self {
        self.version = version.into();
        self
    }
}

impl Encode for SetAcl<'_> {
    type Memo = ();

    const NAME: &'static str = "set_acl";

    fn path(&self) -> &str {
        &self.path
    }

    fn encode(&mut self, chroot: &Chroot, out: &mut Buffer) -> Result<(Encoded, ())> {
        let path = server_path("set_acl", &self.path, chroot)?;
        if self.acl.is_empty() {
            let why = "the ACL is empty: nobody could do anything with the node";
            return Err(Error::invalid("set_acl", &self.path, why));
        }
        let version = self.version.wire("set_acl", &self.path)?;
        let len = 12 + path.len() + 64 * self.acl.len();
        let encoded = Encoded::new(out, OpCode::SetAcl, len, |out| {
            SetAclRequest { path: &path, acl: &self.acl, version }.encode(&mut Writer::new(out));
        });
        Ok((encoded, ()))
    }
}

impl Operation for SetAcl<'_> {
    type Reply = Stat;

    fn decode(answer: Answer<'_>, (): ()) -> Result<Stat, Unread> {
        Ok(reply::stat(&answer.ok()?.body)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e8_version_minus_one_is_not_sent_as_a_condition() {
        assert!(Version::Exactly(-1).wire("set_data", "/a").is_err());
        assert_eq!(Version::Exactly(-2).wire("set_data", "/a").unwrap(), -2);
        assert_eq!(Version::Any.wire("set_data", "/a").unwrap(), -1);
    }
}
