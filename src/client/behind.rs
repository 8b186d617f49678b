//! Cleaning up in the background: requests that go on until a server answered them.
//!
//! What is queued does not keep the client alive: if its last handle is dropped the session is
//! closed, and its ephemeral nodes go with it. A handle that is pinned to a session stops with it;
//! any other goes on in the next.

use crate::client::Client;
use crate::client::op::{self, Version};
use crate::error::Error;
use crate::path;
use crate::proto::code::Code;

/// Deletes `node` without waiting, again and again until the server answered.
pub(crate) fn delete_behind(client: &Client, node: String, version: Version) {
    let weak = client.downgrade();
    let delete = op::Delete::new(node.clone()).version(version);
    let _ = client.submit_behind(delete, move |result| match result {
        Err(Error::Refused { code, .. }) if code != Code::NoNode => {
            log::warn!("cannot give up {node}: {code}");
        }
        Err(error) => {
            if let Some(client) = weak.upgrade().filter(|client| goes_on(client, &error)) {
                delete_behind(&client, node, version);
            }
        }
        Ok(()) => {}
    });
}

/// Whether to ask again after `error`: in the next session too, unless the handle is pinned.
pub(crate) fn goes_on(client: &Client, error: &Error) -> bool {
    let renewed = matches!(error, Error::SessionExpired { .. }) && client.scope().pin.is_none();
    error.is_connection() || renewed
}

/// Finds and deletes the node of a create that was given up, in the background.
pub(crate) struct Cleanup {
    client: Client,
    parent: String,
    unique: String,
    armed: bool,
}

impl Cleanup {
    /// `unique` is how the node's name begins, and nobody else's does.
    pub(crate) fn armed(client: &Client, parent: &str, unique: &str) -> Self {
        Self {
            client: client.clone(),
            parent: parent.to_owned(),
            unique: unique.to_owned(),
            armed: true,
        }
    }

    pub(crate) fn disarm(&mut self) {
        self.armed = false;
    }

    /// Nothing is to be found if it is not `wanted`.
    pub(crate) fn armed_only_if(&mut self, wanted: bool) {
        self.armed &= wanted;
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        if self.armed {
            find_behind(&self.client, self.parent.clone(), self.unique.clone());
        }
    }
}

/// The create may still be in a queue of ours or of the server's; what is asked now is answered
/// after it, and on another server the `sync` waits for it. The list is asked for once the sync was
/// answered: from then on no server that is behind it takes us.
fn find_behind(client: &Client, parent: String, unique: String) {
    let weak = client.downgrade();
    let sync = op::Sync::new(parent.clone());
    let _ = client.submit_behind(sync, move |synced| {
        let Some(client) = weak.upgrade() else { return };
        match synced {
            Ok(_) => sweep_behind(&client, parent, unique),
            Err(error) if goes_on(&client, &error) => find_behind(&client, parent, unique),
            Err(_) => {}
        }
    });
}

/// Deletes what is listed under our unique name.
fn sweep_behind(client: &Client, parent: String, unique: String) {
    let weak = client.downgrade();
    let list = op::GetChildren::new(parent.clone());
    let _ = client.submit_behind(list, move |listed| {
        let Some(client) = weak.upgrade() else { return };
        match listed {
            Ok(names) => {
                for name in names.iter().filter(|name| name.starts_with(&unique)) {
                    delete_behind(&client, path::join(&parent, name), Version::Any);
                }
            }
            Err(error) if goes_on(&client, &error) => sweep_behind(&client, parent, unique),
            Err(error) => log::warn!("cannot look for {unique} under {parent}: {error}"),
        }
    });
}
