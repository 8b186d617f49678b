//! All or nothing: several writes in one.

use std::borrow::Cow;

use crate::client::chroot::Chroot;
use crate::client::op::sealed::{Answer, Encode, Unread};
use crate::client::op::{Create, Created, Data, Delete, Encoded, Operation, SetData, Version};
use crate::client::{Client, Pending};
use crate::error::{Error, Result};
use crate::path;
use crate::proto::buffer::Buffer;
use crate::proto::code::Code;
use crate::proto::frame;
use crate::proto::header;
use crate::proto::multi::{self, MultiResult, MultiWriter};
use crate::proto::opcode::OpCode;
use crate::proto::request::CheckRequest;
use crate::proto::stat::Stat;

/// Several writes that happen all or not at all, in order, with nothing in between.
///
/// As an [`Operation`] it answers one [`OpResult`] per member. A transaction that fails is an
/// [`Error::Transaction`] that names the member, its index and its code; nothing was applied.
///
/// ```no_run
/// # let zk = zookeeper_blocking::Client::connect("localhost:2181")?;
/// use zookeeper_blocking::Version;
///
/// // Moves a node, if nobody changed it since we read it.
/// let (data, stat) = zk.get_data("/old")?;
/// zk.transaction().create("/new", data).delete("/old", stat.version).commit()?;
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a transaction does nothing until it is committed"]
pub struct Transaction<'a> {
    members: Vec<Member<'a>>,
}

#[derive(Clone, Debug)]
enum Member<'a> {
    Check { path: Cow<'a, str>, version: Version },
    Create(Create<'a>),
    Delete(Delete<'a>),
    SetData(SetData<'a>),
}

/// What one member of a transaction did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpResult {
    /// A check that held.
    Checked,
    /// A node was created.
    Created(Created),
    /// A node was deleted.
    Deleted,
    /// Data was set; the node's new [`Stat`].
    DataSet(Stat),
}

impl OpResult {
    /// The node that this member created.
    pub fn created(&self) -> Option<&Created> {
        match self {
            Self::Created(created) => Some(created),
            _ => None,
        }
    }

    /// The node's [`Stat`] after this member, if the server told.
    pub fn stat(&self) -> Option<&Stat> {
        match self {
            Self::Created(created) => created.stat.as_ref(),
            Self::DataSet(stat) => Some(stat),
            _ => None,
        }
    }
}

impl<'a> Transaction<'a> {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The number of members.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Goes through only if `path` exists and has `version`.
    pub fn check(mut self, path: impl Into<Cow<'a, str>>, version: impl Into<Version>) -> Self {
        self.members.push(Member::Check { path: path.into(), version: version.into() });
        self
    }

    /// Creates a persistent node; for other kinds see [`op`](Self::op).
    pub fn create(self, path: impl Into<Cow<'a, str>>, data: impl Into<Data<'a>>) -> Self {
        self.op(Create::new(path).data(data))
    }

    /// Deletes a node.
    pub fn delete(self, path: impl Into<Cow<'a, str>>, version: impl Into<Version>) -> Self {
        self.op(Delete::new(path).version(version))
    }

    /// Sets a node's data.
    pub fn set_data(
        self,
        path: impl Into<Cow<'a, str>>,
        data: impl Into<Data<'a>>,
        version: impl Into<Version>,
    ) -> Self {
        self.op(SetData::new(path, data).version(version))
    }

    /// Adds an operation value: [`Create`], [`Delete`] or [`SetData`].
    pub fn op(mut self, op: impl Into<TransactionOp<'a>>) -> Self {
        self.members.push(op.into().0);
        self
    }

    /// Adds the members of another one.
    pub fn and(mut self, other: Self) -> Self {
        self.members.extend(other.members);
        self
    }
}

/// An operation that a [`Transaction`] takes; made from [`Create`], [`Delete`], [`SetData`].
#[derive(Clone, Debug)]
pub struct TransactionOp<'a>(Member<'a>);

impl<'a> From<Create<'a>> for TransactionOp<'a> {
    fn from(op: Create<'a>) -> Self {
        Self(Member::Create(op))
    }
}

impl<'a> From<Delete<'a>> for TransactionOp<'a> {
    fn from(op: Delete<'a>) -> Self {
        Self(Member::Delete(op))
    }
}

impl<'a> From<SetData<'a>> for TransactionOp<'a> {
    fn from(op: SetData<'a>) -> Self {
        Self(Member::SetData(op))
    }
}

impl Member<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Check { .. } => "check",
            Self::Create(_) => "create",
            Self::Delete(_) => "delete",
            Self::SetData(_) => "set_data",
        }
    }

    fn path(&self) -> &str {
        match self {
            Self::Check { path, .. } => path,
            Self::Create(op) => op.path_ref(),
            Self::Delete(op) => op.path(),
            Self::SetData(op) => op.path(),
        }
    }

    fn encode(&self, chroot: &Chroot, writer: &mut MultiWriter<'_>) -> Result<Wanted> {
        let path = self.path();
        let valid = || path::validate(path).map_err(|why| Error::invalid(self.name(), path, why));
        let server_path = chroot.down(path);
        match self {
            Self::Check { version, .. } => {
                valid()?;
                let version = version.wire("check", path)?;
                CheckRequest { path: &server_path, version }.encode(&mut writer.op(OpCode::Check));
                Ok(Wanted::Check)
            }
            Self::Create(op) => {
                let opcode = op.check()?;
                op.write(&server_path, &mut writer.op(opcode));
                Ok(Wanted::Create)
            }
            Self::Delete(op) => {
                valid()?;
                op.write(&server_path, &mut writer.op(OpCode::Delete))?;
                Ok(Wanted::Delete)
            }
            Self::SetData(op) => {
                valid()?;
                op.write(&server_path, &mut writer.op(OpCode::SetData))?;
                Ok(Wanted::SetData)
            }
        }
    }
}

/// The kind of result that a member must get.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted {
    Check,
    Create,
    Delete,
    SetData,
}

/// What is kept of a member until the answer comes.
#[derive(Debug)]
pub struct MemberMemo {
    wanted: Wanted,
    op: &'static str,
    path: Box<str>,
}

impl Encode for Transaction<'_> {
    type Memo = Vec<MemberMemo>;

    const NAME: &'static str = "commit";

    fn path(&self) -> &str {
        ""
    }

    fn encode(&mut self, chroot: &Chroot, out: &mut Buffer) -> Result<(Encoded, Self::Memo)> {
        if self.members.is_empty() {
            return Err(Error::invalid("commit", "", "the transaction is empty"));
        }
        out.make_room(64 * self.members.len());
        let start = frame::begin_frame(out);
        header::request_header(out, 0, OpCode::Multi);
        let mut writer = MultiWriter::new(out);
        let mut memo = Vec::with_capacity(self.members.len());
        for member in &self.members {
            let wanted = member.encode(chroot, &mut writer)?;
            memo.push(MemberMemo { wanted, op: member.name(), path: member.path().into() });
        }
        writer.finish();
        frame::end_frame(out, start);
        Ok((Encoded { op: OpCode::Multi, change: None, callback: None }, memo))
    }
}

impl Operation for Transaction<'_> {
    type Reply = Vec<OpResult>;

    fn decode(answer: Answer<'_>, memo: Self::Memo) -> Result<Self::Reply, Unread> {
        // A transaction that failed has a header without an error: the members tell. A header
        // with one is a refusal of the whole request, and older servers send the body with it.
        let header = answer.code;
        let results = match multi::results(&answer.body) {
            Ok(results) => results,
            Err(_) if header != Code::Ok => return Err(Unread::Code(header)),
            Err(error) => return Err(error.into()),
        };
        if let Some((index, code)) = culprit(&results) {
            let MemberMemo { op, path, .. } = memo
                .into_iter()
                .nth(index)
                .ok_or(Unread::Shape("an error of an operation that was not sent"))?;
            return Err(Unread::Member { index, code, op, path });
        }
        if header != Code::Ok {
            return Err(Unread::Code(header));
        }
        if results.len() != memo.len() {
            return Err(Unread::Shape("not as many results as operations"));
        }
        let zxid = answer.zxid;
        results
            .into_iter()
            .zip(memo)
            .map(|(result, member)| match (member.wanted, result) {
                (Wanted::Check, MultiResult::Check) => Ok(OpResult::Checked),
                (Wanted::Delete, MultiResult::Delete) => Ok(OpResult::Deleted),
                (Wanted::SetData, MultiResult::SetData(stat)) => Ok(OpResult::DataSet(stat)),
                // Some servers answer a create2 as a create (ZOOKEEPER-4026).
                (Wanted::Create, MultiResult::Create { path, stat }) => {
                    let path = answer.chroot.up(path);
                    Ok(OpResult::Created(Created { path, stat, zxid }))
                }
                _ => Err(Unread::Shape("the result of another operation")),
            })
            .collect()
    }
}

/// The member that was refused. Those before it say 0, those after it say -2; only where every
/// error is -2 is the first of them the one.
fn culprit(results: &[MultiResult]) -> Option<(usize, Code)> {
    let errors = results.iter().enumerate().filter_map(|(index, result)| match result {
        MultiResult::Error(raw) => Some((index, Code::from_raw(*raw))),
        _ => None,
    });
    let mut first = None;
    let mut any = None;
    for (index, code) in errors {
        any = any.or(Some((index, code)));
        if code == Code::Ok {
            continue;
        }
        if code != Code::RuntimeInconsistency {
            return Some((index, code));
        }
        first = first.or(Some((index, code)));
    }
    first.or(any)
}

/// A [`Transaction`] with the client that will commit it.
#[derive(Clone, Debug)]
#[must_use = "a transaction does nothing until it is committed"]
pub struct ClientTransaction<'a> {
    client: &'a Client,
    transaction: Transaction<'a>,
}

impl<'a> ClientTransaction<'a> {
    pub(crate) fn new(client: &'a Client) -> Self {
        Self { client, transaction: Transaction::new() }
    }

    /// See [`Transaction::check`].
    pub fn check(mut self, path: impl Into<Cow<'a, str>>, version: impl Into<Version>) -> Self {
        self.transaction = self.transaction.check(path, version);
        self
    }

    /// See [`Transaction::create`].
    pub fn create(mut self, path: impl Into<Cow<'a, str>>, data: impl Into<Data<'a>>) -> Self {
        self.transaction = self.transaction.create(path, data);
        self
    }

    /// See [`Transaction::delete`].
    pub fn delete(mut self, path: impl Into<Cow<'a, str>>, version: impl Into<Version>) -> Self {
        self.transaction = self.transaction.delete(path, version);
        self
    }

    /// See [`Transaction::set_data`].
    pub fn set_data(
        mut self,
        path: impl Into<Cow<'a, str>>,
        data: impl Into<Data<'a>>,
        version: impl Into<Version>,
    ) -> Self {
        self.transaction = self.transaction.set_data(path, data, version);
        self
    }

    /// See [`Transaction::op`].
    pub fn op(mut self, op: impl Into<TransactionOp<'a>>) -> Self {
        self.transaction = self.transaction.op(op);
        self
    }

    /// Commits and waits for the answer.
    ///
    /// # Errors
    /// * [`Error::Transaction`] names the member that was refused; nothing was applied.
    /// * [`Error::ConnectionLoss`]: all of it may have happened, or none.
    pub fn commit(self) -> Result<Vec<OpResult>> {
        self.client.call(self.transaction)
    }

    /// Commits and gives the answer that is to come.
    ///
    /// # Errors
    /// As [`Client::submit`].
    pub fn submit(self) -> Result<Pending<Vec<OpResult>>> {
        self.client.submit(self.transaction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(raw: i32) -> MultiResult {
        MultiResult::Error(raw)
    }

    #[test]
    fn c8_the_culprit_is_the_one_with_a_code_of_its_own() {
        assert_eq!(culprit(&[MultiResult::Check]), None);
        let results = [error(0), error(-101), error(-2)];
        assert_eq!(culprit(&results), Some((1, Code::NoNode)));
        assert_eq!(culprit(&[error(-2), error(-2)]), Some((0, Code::RuntimeInconsistency)));
        assert_eq!(culprit(&[error(0), error(-2)]), Some((1, Code::RuntimeInconsistency)));
    }

    #[test]
    fn c8_an_empty_transaction_is_refused_here() {
        let mut empty = Transaction::new();
        assert!(matches!(
            empty.encode(&Chroot::new(""), &mut Buffer::default()),
            Err(Error::Invalid { .. })
        ));
    }

    #[test]
    fn c11_a_bad_path_among_good_ones_is_named() {
        let mut bad = Transaction::new().create("/a", "").delete("/b/../c", Version::Any);
        let error = bad.encode(&Chroot::new(""), &mut Buffer::default()).unwrap_err();
        assert!(error.to_string().starts_with("delete /b/../c: "), "{error}");
    }
}
