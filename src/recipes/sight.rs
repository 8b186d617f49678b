//! What a watch with memory looks at, and whether it looks other than before.

use crate::client::op::{self, Operation};
use crate::client::watch::Watcher;
use crate::proto::stat::Stat;

/// One sort of reading a node.
pub(crate) trait Sight: Send + Sync + 'static {
    /// What is seen of a node that is there.
    type Seen: Send + 'static;
    type Read: Operation;

    fn read(path: &str, watcher: Watcher) -> Self::Read;

    fn seen(reply: <Self::Read as Operation>::Reply) -> Self::Seen;

    fn mark(seen: &Self::Seen) -> Mark;
}

/// Two looks at a node that is the same have the same mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The node: one that was made anew is another.
    pub(crate) czxid: i64,
    /// Its last change.
    pub(crate) zxid: i64,
    /// Where the change does not tell: the zxid of the children freezes when the parent has counted
    /// 2^31 of them.
    pub(crate) names: Vec<String>,
}

/// A node's data, as a [`DataWatch`](super::DataWatch) saw them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeData {
    /// The data; null data are empty.
    pub data: Vec<u8>,
    /// The node's [`Stat`].
    pub stat: Stat,
}

/// A node's children, as a [`ChildrenWatch`](super::ChildrenWatch) saw them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeChildren {
    /// Their names, sorted.
    pub names: Vec<String>,
    /// The node's [`Stat`].
    pub stat: Stat,
}

#[derive(Debug)]
pub(crate) struct Data;

impl Sight for Data {
    type Seen = NodeData;
    type Read = op::GetData<'static>;

    fn read(path: &str, watcher: Watcher) -> Self::Read {
        op::GetData::new(path.to_owned()).watcher(watcher)
    }

    fn seen((data, stat): (Vec<u8>, Stat)) -> NodeData {
        NodeData { data, stat }
    }

    fn mark(seen: &NodeData) -> Mark {
        Mark { czxid: seen.stat.czxid, zxid: seen.stat.mzxid, names: Vec::new() }
    }
}

#[derive(Debug)]
pub(crate) struct Children;

impl Sight for Children {
    type Seen = NodeChildren;
    type Read = op::GetChildrenWithStat<'static>;

    fn read(path: &str, watcher: Watcher) -> Self::Read {
        op::GetChildrenWithStat::new(path.to_owned()).watcher(watcher)
    }

    fn seen((mut names, stat): (Vec<String>, Stat)) -> NodeChildren {
        names.sort_unstable();
        NodeChildren { names, stat }
    }

    fn mark(seen: &NodeChildren) -> Mark {
        Mark { czxid: seen.stat.czxid, zxid: seen.stat.pzxid, names: seen.names.clone() }
    }
}
