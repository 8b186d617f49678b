//! Who is here: parties as Kazoo has them.
//!
//! ```text
//! <path>/<32 hex>__party__            ephemeral, holds the identifier     Party
//! <path>/<32 hex>-<identifier>        ephemeral, holds the identifier     ShallowParty
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::client::Client;
use crate::client::op;
use crate::error::{Error, Result};
use crate::path;
use crate::proto::acl::Acl;
use crate::proto::code::Code;
use crate::recipes::persistent::{KeptNode, PersistentNode, Presence};
use crate::recipes::role::NameStyle;
use crate::recipes::site::Site;

/// A party: its members are those who joined and are alive.
///
/// # What it promises
/// A [`Membership`] joins again by itself, in the next session after an expiry, or after somebody
/// deleted its node or the party's; and tells how often. Dropping it leaves.
///
/// # What it does not promise
/// That the list is right in this moment. Who dies is a member until the session times out; who
/// was cut off may be listed, or not, without knowing.
///
/// Kazoo's `Party`, which does not join again.
///
/// ```no_run
/// use zookeeper_blocking::{Client, recipes::Party};
///
/// let zk = Client::connect("localhost:2181")?;
/// let party = Party::new(&zk, "/app/party")?.identifier("worker 7");
/// let membership = party.join()?;
/// for member in party.members()? {
///     println!("{}", member.identifier_text());
/// }
/// membership.leave()?;
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
///
/// Costs two round trips to join, two to list.
#[derive(Clone)]
pub struct Party {
    site: Site,
    identifier: Arc<[u8]>,
}

/// A party whose members are known by the names of their nodes: one round trip lists them.
///
/// Promises as [`Party`]. Every child of its node counts as a member, whoever made it. Kazoo's
/// `ShallowParty`.
///
/// ```no_run
/// use zookeeper_blocking::{Client, recipes::ShallowParty};
///
/// let zk = Client::connect("localhost:2181")?;
/// let party = ShallowParty::new(&zk, "/app/party", "worker 7")?;
/// let membership = party.join()?;
/// println!("{:?}", party.members()?);
/// # membership.leave()?;
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
#[derive(Clone)]
pub struct ShallowParty {
    site: Site,
    identifier: Arc<str>,
}

/// One that joined a [`Party`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// The name of its node under the party's path.
    pub node: String,
    /// What it said of itself.
    pub identifier: Vec<u8>,
    /// The session that keeps it.
    pub session_id: i64,
}

impl Member {
    /// The identifier as text.
    pub fn identifier_text(&self) -> String {
        String::from_utf8_lossy(&self.identifier).into_owned()
    }
}

impl Party {
    /// The party at `path`. Nothing is sent yet; the node is made by the first who joins.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `path` is not a legal path, or is "/".
    pub fn new(client: &Client, path: &str) -> Result<Self> {
        Ok(Self { site: Site::new(client, "party", path)?, identifier: [].into() })
    }

    /// What [`members`](Self::members) shows of whoever joins through this handle. Defaults to
    /// nothing.
    pub fn identifier(mut self, identifier: impl AsRef<[u8]>) -> Self {
        self.identifier = identifier.as_ref().into();
        self
    }

    /// The ACL of the nodes that are made, parents included. Defaults to everybody everything.
    pub fn acl(mut self, acl: impl IntoIterator<Item = Acl>) -> Self {
        self.site.set_acl(acl);
        self
    }

    /// The party's path.
    pub fn path(&self) -> &str {
        &self.site.path
    }

    /// Joins. Each call makes one more member.
    ///
    /// # Errors
    /// As [`PersistentNode::keep`].
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most (30 s by default).
    pub fn join(&self) -> Result<Membership> {
        self.node().keep().map(Membership)
    }

    /// As [`join`](Self::join), for `timeout` at most.
    ///
    /// # Errors
    /// As [`PersistentNode::keep`].
    pub fn join_timeout(&self, timeout: Duration) -> Result<Membership> {
        self.node().keep_timeout(timeout).map(Membership)
    }

    /// Ends the waits of [`join`](Self::join) of this handle and its clones.
    pub fn cancel(&self) {
        self.site.cancel();
    }

    /// Those who are here, in no order. Other children of the party's node are passed over.
    ///
    /// # Errors
    /// Those of every call. A party that was never joined has no members.
    pub fn members(&self) -> Result<Vec<Member>> {
        let mut names = list(&self.site)?;
        names.retain(|name| name.contains(MARK));
        let reads = self.site.client.get_many(names.iter().map(|name| self.site.below(name)))?;
        let mut members = Vec::with_capacity(names.len());
        for (node, read) in names.into_iter().zip(reads) {
            match read {
                Ok((identifier, stat)) => {
                    members.push(Member { node, identifier, session_id: stat.ephemeral_owner });
                }
                // Left since we looked.
                Err(error) if error.code() == Some(Code::NoNode) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(members)
    }

    /// How many are here. One round trip.
    ///
    /// # Errors
    /// As [`members`](Self::members).
    pub fn count(&self) -> Result<usize> {
        Ok(list(&self.site)?.iter().filter(|name| name.contains(MARK)).count())
    }

    fn node(&self) -> PersistentNode {
        let name = self.site.below(&format!("{}{MARK}", NameStyle::Kazoo.unique("")));
        PersistentNode::of(self.site.at(name), self.identifier.clone())
    }
}

impl ShallowParty {
    /// The party at `path`, for whoever is called `identifier`, which becomes part of a node's
    /// name. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `path` is not a legal path or is "/", or if `identifier` cannot be
    /// part of a name.
    pub fn new(client: &Client, path: &str, identifier: &str) -> Result<Self> {
        let site = Site::new(client, "shallow_party", path)?;
        let illegal = |why| Error::invalid("shallow_party", path, why);
        if identifier.contains('/') {
            return Err(illegal("the identifier contains a /"));
        }
        path::validate(&path::join(path, &format!("-{identifier}"))).map_err(illegal)?;
        Ok(Self { site, identifier: identifier.into() })
    }

    /// The ACL of the nodes that are made, parents included. Defaults to everybody everything.
    pub fn acl(mut self, acl: impl IntoIterator<Item = Acl>) -> Self {
        self.site.set_acl(acl);
        self
    }

    /// The party's path.
    pub fn path(&self) -> &str {
        &self.site.path
    }

    /// Joins. Each call makes one more member.
    ///
    /// # Errors
    /// As [`PersistentNode::keep`].
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most (30 s by default).
    pub fn join(&self) -> Result<Membership> {
        self.node().keep().map(Membership)
    }

    /// As [`join`](Self::join), for `timeout` at most.
    ///
    /// # Errors
    /// As [`PersistentNode::keep`].
    pub fn join_timeout(&self, timeout: Duration) -> Result<Membership> {
        self.node().keep_timeout(timeout).map(Membership)
    }

    /// Ends the waits of [`join`](Self::join) of this handle and its clones.
    pub fn cancel(&self) {
        self.site.cancel();
    }

    /// The identifiers of those who are here, in no order. One round trip.
    ///
    /// # Errors
    /// Those of every call. A party that was never joined has no members.
    pub fn members(&self) -> Result<Vec<String>> {
        let names = list(&self.site)?;
        Ok(names.iter().map(|name| identifier_in(name).to_owned()).collect())
    }

    fn node(&self) -> PersistentNode {
        let name = self.site.below(&format!("{}-{}", NameStyle::Kazoo.unique(""), self.identifier));
        PersistentNode::of(self.site.at(name), self.identifier.as_bytes().into())
    }
}

/// What stands after the first `-`; the whole name if there is none, as Kazoo reads it.
pub(crate) fn identifier_in(name: &str) -> &str {
    name.split_once('-').map_or(name, |(_, identifier)| identifier)
}

/// The children; none if there is no such node.
pub(crate) fn list(site: &Site) -> Result<Vec<String>> {
    site.patiently(site.deadline(), "members", |patience| {
        match site.ask(patience, || op::GetChildren::new(&*site.path)) {
            Err(error) if error.code() == Some(Code::NoNode) => Ok(Vec::new()),
            names => names,
        }
    })
}

/// What stands for a member. It joins again by itself; dropping it leaves, in the background.
#[must_use = "dropping the membership leaves"]
pub struct Membership(pub(crate) KeptNode);

impl Membership {
    /// The path of the member's node.
    pub fn node(&self) -> &str {
        self.0.path()
    }

    /// Whether the member was listed when it was last heard of, and no server said that its
    /// session ended.
    pub fn is_present(&self) -> bool {
        self.0.is_present()
    }

    /// What is known of the membership: [`Presence::made`] grows with each time it joined.
    pub fn presence(&self) -> Presence {
        self.0.presence()
    }

    /// Waits until the presence is another than `known`: it was lost, or joined again. See
    /// [`KeptNode::wait_change`].
    pub fn wait_change(&self, known: &Presence, timeout: Duration) -> Option<Presence> {
        self.0.wait_change(known, timeout)
    }

    /// Why it could not join again, if the servers refused it the last time.
    pub fn failure(&self) -> Option<Error> {
        self.0.failure()
    }

    /// Sets what the member's node holds, now and whenever it joins again.
    ///
    /// # Errors
    /// As [`KeptNode::set_data`].
    pub fn set_data(&self, data: impl AsRef<[u8]>) -> Result<()> {
        self.0.set_data(data)
    }

    /// Leaves, and waits for the server's word.
    ///
    /// # Errors
    /// As [`KeptNode::close`].
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most.
    pub fn leave(self) -> Result<()> {
        self.0.close()
    }
}

/// What the names of a party's members contain.
const MARK: &str = "__party__";

impl fmt::Debug for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Party").field("path", &self.site.path).finish_non_exhaustive()
    }
}

impl fmt::Debug for ShallowParty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShallowParty")
            .field("path", &self.site.path)
            .field("identifier", &self.identifier)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Membership").field(&self.0).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_read_as_kazoo_reads_them() {
        for (name, identifier) in
            [("8a1f-worker 7", "worker 7"), ("8a1f-a-b", "a-b"), ("8a1f-", ""), ("junk", "junk")]
        {
            assert_eq!(identifier_in(name), identifier);
        }
    }
}
