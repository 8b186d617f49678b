//! The instances of one service, kept in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::client::Client;
use crate::error::Result;
use crate::path;
use crate::recipes::cache::Cache;
use crate::recipes::discovery::ServiceInstance;
use crate::recipes::sight::NodeData;

/// The instances of a service, kept as the servers have them: by a [`Cache`], whose promises are
/// these. Looking at them asks no server. Cloning makes one more handle.
///
/// Curator's `ServiceCache`.
#[derive(Clone)]
pub struct ServiceCache {
    cache: Cache,
    read: Arc<Mutex<BTreeMap<Arc<str>, Read>>>,
}

/// What a node was read as; `None` for no record.
struct Read {
    node: Arc<NodeData>,
    instance: Option<Arc<ServiceInstance>>,
}

impl ServiceCache {
    pub(super) fn new(client: &Client, path: &str) -> Result<Self> {
        Ok(Self { cache: Cache::new(client, path)?, read: Arc::default() })
    }

    /// The instances, in the order of their ids. Those that are not enabled are among them.
    pub fn instances(&self) -> Vec<Arc<ServiceInstance>> {
        let mut read = self.read.lock();
        let mut now = BTreeMap::new();
        for (path, node) in self.cache.snapshot() {
            if path::parent(&path) != Some(self.cache.path()) {
                continue;
            }
            // Records are read once, not with each look.
            let known = read.remove(&path).filter(|known| Arc::ptr_eq(&known.node, &node));
            let fresh = || {
                let instance = ServiceInstance::decode(&node.data).map(Arc::new);
                Read { node: node.clone(), instance }
            };
            now.insert(path, known.unwrap_or_else(fresh));
        }
        *read = now;
        read.values().filter_map(|read| read.instance.clone()).collect()
    }

    /// What it stands on: its events, and whether it is fresh.
    pub fn nodes(&self) -> &Cache {
        &self.cache
    }
}

impl fmt::Debug for ServiceCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServiceCache").field(&self.cache).finish()
    }
}
