//! A proof of holding that can be handed to another process as text: Chubby's sequencer.
//!
//! ```text
//! 10000002c/app/lock/514e5a831836450cb1a56c741e990fd8__lock__0000000032
//! └ fence  └ the holder's node, as the servers call it
//! ```

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::client::Client;
use crate::client::op::{self, Version};
use crate::client::transaction::ClientTransaction;
use crate::error::{Error, Result};
use crate::path;
use crate::recipes::guard::Hold;
use crate::recipes::site::Site;

/// Says what somebody held, in a form that goes into a request, a header, a row of a table; and can
/// be checked there against ZooKeeper.
///
/// The holder of a lock sends it along with what it asks of a server that does the work. That server
/// refuses requests of holders that are none any more:
///
/// * with a [`check`](Self::check), if it has a client of ZooKeeper;
/// * without, if it remembers the largest [`fence`](Self::fence) that it has seen of the
///   [`lock`](Self::lock), and refuses smaller ones;
/// * or, if the work is a write to ZooKeeper, with a [`transaction`](Self::transaction), which is
///   the only one of them that cannot be too late.
///
/// Every guard has one: [`Hold::sequencer`].
///
/// # What it does not promise
/// * That it still is held when `check` has said so: it may be lost while the answer is on its way.
/// * To be a secret: whoever can read the names of the nodes can make one. It tells the late from
///   the present, not the honest from others.
///
/// ```no_run
/// use zookeeper_blocking::{Client, Version, recipes::{Lock, Sequencer}};
///
/// let zk = Client::connect("localhost:2181")?;
/// let guard = Lock::new(&zk, "/app/lock")?.acquire()?;
/// let header = guard.sequencer().to_string();
/// # zk.create("/app/state", "", zookeeper_blocking::CreateMode::Persistent)?;
///
/// // In another process, with a client of its own:
/// let sequencer: Sequencer = header.parse()?;
/// if sequencer.check(&zk)? {
///     sequencer.transaction(&zk)?.set_data("/app/state", "mine", Version::Any).commit()?;
/// }
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sequencer {
    fence: i64,
    /// As the servers call it: the process that checks may have another chroot.
    node: Arc<str>,
}

impl Sequencer {
    pub(crate) fn of(hold: &Hold) -> Self {
        let node = hold.session().scope().chroot.down(hold.node()).into();
        Self { fence: hold.fence(), node }
    }

    /// See [`Hold::fence`]. To be compared with those of the same [`lock`](Self::lock).
    pub fn fence(&self) -> i64 {
        self.fence
    }

    /// The holder's node, as the servers call it: with the chroot of the holder's client, if it has
    /// one.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The lock's node, which is the same for all its holders; in the same way.
    pub fn lock(&self) -> &str {
        path::parent(&self.node).unwrap_or("/")
    }

    /// Whether it was held still, at some time after this was called. Two round trips.
    ///
    /// # Errors
    /// * [`Error::Invalid`] if the chroot of `client` does not have the node in it.
    /// * Those of every call. What was not answered says nothing.
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most (30 s by default).
    pub fn check(&self, client: &Client) -> Result<bool> {
        let node = self.seen_by(client)?;
        let site = Site::of(client.clone(), node.into(), [].into());
        site.patiently(site.deadline(), "check", |patience| {
            // Or the server may be one that has not heard of the holder's end.
            site.ask(patience, || op::Sync::new(&*site.path))?;
            let stat = site.ask(patience, || op::Exists::new(&*site.path))?;
            Ok(stat.is_some_and(|stat| stat.czxid == self.fence))
        })
    }

    /// Begins a transaction of `client` that goes through only while the *other* process holds: its
    /// first operation, index 0, checks the node, whose name is never used again.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the chroot of `client` does not have the node in it.
    pub fn transaction<'c>(&self, client: &'c Client) -> Result<ClientTransaction<'c>> {
        Ok(client.transaction().check(self.seen_by(client)?, Version::Any))
    }

    /// The node as this client calls it.
    fn seen_by(&self, client: &Client) -> Result<String> {
        let chroot = &client.scope().chroot;
        if !chroot.holds(&self.node) {
            let why = "the client's chroot does not have it";
            return Err(Error::invalid("sequencer", &self.node, why));
        }
        Ok(chroot.up(self.node.to_string()))
    }
}

impl fmt::Display for Sequencer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}{}", self.fence, self.node)
    }
}

impl FromStr for Sequencer {
    type Err = Error;

    /// [`Error::Invalid`] for anything else than what [`Display`](fmt::Display) writes.
    fn from_str(text: &str) -> Result<Self> {
        let invalid = |why: &str| Error::invalid("sequencer", text, why);
        let (digits, node) = text.split_at(text.find('/').unwrap_or(text.len()));
        if !digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(invalid("no fence in hexadecimal digits"));
        }
        let fence = i64::from_str_radix(digits, 16).map_err(|_| invalid("no fence"))?;
        path::validate(node).map_err(invalid)?;
        Ok(Self { fence, node: node.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_as_it_is_written() {
        for (fence, node) in [(0, "/l/n"), (0x1_0000_002c, "/a b/\u{e9}/x-lock-0000000001")] {
            let sequencer = Sequencer { fence, node: node.into() };
            let read: Sequencer = sequencer.to_string().parse().expect("just written");
            assert_eq!(read, sequencer);
        }
        let read: Sequencer = "2c/app/lock/n__lock__0000000003".parse().expect("legal");
        assert_eq!((read.fence(), read.node()), (0x2c, "/app/lock/n__lock__0000000003"));
        assert_eq!(read.lock(), "/app/lock");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "2c",
            "/app/lock/n",
            "+2c/app/lock/n",
            "-1/app/lock/n",
            "2C/app/lock/n",
            "8000000000000000/app/lock/n",
            "2c/app/",
            "2c/app//n",
            "2c /app/n",
        ] {
            let read: Result<Sequencer> = text.parse();
            assert!(matches!(read, Err(Error::Invalid { .. })), "{text}: {read:?}");
        }
    }
}
