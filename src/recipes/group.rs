//! Members with names, each with something to tell.
//!
//! ```text
//! <path>/<id>       ephemeral, holds the payload
//! ```
//!
//! The layout of Curator's `GroupMember`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::client::Client;
use crate::error::{Error, Result};
use crate::path;
use crate::proto::acl::Acl;
use crate::proto::code::Code;
use crate::recipes::party::{self, Membership};
use crate::recipes::persistent::PersistentNode;
use crate::recipes::site::Site;

/// A group: each member has a name of its own, and a payload that others read.
///
/// # What it promises
/// A name has one member at a time. A [`Membership`] joins again by itself, in the next session
/// after an expiry, or after somebody deleted its node or the group's; and tells how often.
/// Dropping it leaves.
///
/// # What it does not promise
/// That the list is right in this moment: see [`Party`](super::Party).
///
/// ```no_run
/// use zookeeper_blocking::{Client, recipes::GroupMember};
///
/// let zk = Client::connect("localhost:2181")?;
/// let group = GroupMember::new(&zk, "/app/servers", "h7")?.payload("10.0.0.7:80");
/// let membership = group.join()?;
/// for (name, payload) in group.members()? {
///     println!("{name}: {}", String::from_utf8_lossy(&payload));
/// }
/// membership.set_data("10.0.0.7:81")?;
/// membership.leave()?;
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
#[derive(Clone)]
pub struct GroupMember {
    site: Site,
    id: Arc<str>,
    payload: Arc<[u8]>,
}

impl GroupMember {
    /// Whoever is called `id` in the group at `path`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `path` is not a legal path or is "/", or if `id` is no name of a node.
    pub fn new(client: &Client, path: &str, id: &str) -> Result<Self> {
        let site = Site::new(client, "group_member", path)?;
        let illegal = |why| Error::invalid("group_member", path, why);
        if id.contains('/') {
            return Err(illegal("the id contains a /"));
        }
        path::validate(&path::join(path, id)).map_err(illegal)?;
        Ok(Self { site, id: id.into(), payload: [].into() })
    }

    /// What the member's node holds. Defaults to nothing (Curator: the local address).
    pub fn payload(mut self, payload: impl AsRef<[u8]>) -> Self {
        self.payload = payload.as_ref().into();
        self
    }

    /// The ACL of the nodes that are made, parents included. Defaults to everybody everything.
    pub fn acl(mut self, acl: impl IntoIterator<Item = Acl>) -> Self {
        self.site.set_acl(acl);
        self
    }

    /// The group's path.
    pub fn path(&self) -> &str {
        &self.site.path
    }

    /// Joins. Waits while another session has the name, until the deadline of the client's calls.
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

    /// As [`join`](Self::join), but `None` if another session has the name.
    ///
    /// # Errors
    /// As [`PersistentNode::keep`].
    pub fn try_join(&self) -> Result<Option<Membership>> {
        Ok(self.node().try_keep()?.map(Membership))
    }

    /// Ends the waits of [`join`](Self::join) of this handle and its clones.
    pub fn cancel(&self) {
        self.site.cancel();
    }

    /// The names and payloads of those who are here. Two round trips.
    ///
    /// # Errors
    /// Those of every call. A group that was never joined has no members.
    pub fn members(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        let names = party::list(&self.site)?;
        let reads = self.site.client.get_many(names.iter().map(|name| self.site.below(name)))?;
        let mut members = BTreeMap::new();
        for (name, read) in names.into_iter().zip(reads) {
            match read {
                Ok((payload, _)) => {
                    members.insert(name, payload);
                }
                // Left since we looked.
                Err(error) if error.code() == Some(Code::NoNode) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(members)
    }

    fn node(&self) -> PersistentNode {
        PersistentNode::of(self.site.at(self.site.below(&self.id)), self.payload.clone())
    }
}

impl fmt::Debug for GroupMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupMember")
            .field("path", &self.site.path)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
