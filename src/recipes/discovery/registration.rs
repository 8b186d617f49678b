//! What stands for an instance that is registered.

use std::fmt;

use crate::error::{Error, Result};
use crate::recipes::discovery::ServiceInstance;
use crate::recipes::persistent::KeptNode;

/// An instance that is registered, and registers again by itself. Dropping it takes the instance
/// off, in the background; [`unregister`](Self::unregister) waits and tells.
#[must_use = "dropping the registration takes the instance off"]
pub struct Registration {
    instance: ServiceInstance,
    kept: KeptNode,
}

impl Registration {
    pub(super) fn new(instance: &ServiceInstance, kept: KeptNode) -> Self {
        Self { instance: instance.clone(), kept }
    }

    /// What is registered.
    pub fn instance(&self) -> &ServiceInstance {
        &self.instance
    }

    /// Its node: whether it is there, how often it was made, why it could not be.
    pub fn node(&self) -> &KeptNode {
        &self.kept
    }

    /// Registers this instead, under the same name and id: another payload, or not enabled any
    /// more. Waits until the node has it.
    ///
    /// # Errors
    /// * [`Error::Invalid`] if the name, the id or the kind is another, or if what is to be JSON is
    ///   none.
    /// * As [`KeptNode::set_data`].
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most.
    pub fn update(&mut self, instance: &ServiceInstance) -> Result<()> {
        let invalid = |why: &str| Error::invalid("update", self.kept.path(), why);
        let known = &self.instance;
        if (&instance.name, &instance.id, instance.kind) != (&known.name, &known.id, known.kind) {
            return Err(invalid("the name, the id or the kind is another"));
        }
        let record = instance.encode().map_err(invalid)?;
        self.instance = instance.clone();
        self.kept.set_data(record)
    }

    /// Takes the instance off, and waits for the server's word.
    ///
    /// # Errors
    /// As [`KeptNode::close`].
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most.
    pub fn unregister(self) -> Result<()> {
        self.kept.close()
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registration").field(&self.kept).finish()
    }
}
