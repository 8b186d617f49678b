//! Who offers a service, and where: Curator's service discovery.

mod failures;
mod instance;
mod instances;
mod picker;
mod registration;

use std::fmt;
use std::time::Duration;

use crate::client::Client;
use crate::error::{At, Error, RecipeError, Result};
use crate::path;
use crate::proto::acl::Acl;
use crate::proto::code::Code;
use crate::recipes::party;
use crate::recipes::persistent::PersistentNode;
use crate::recipes::site::Site;

pub use instance::{ServiceInstance, ServiceKind};
pub use instances::ServiceCache;
pub use picker::Picker;
pub use registration::Registration;

/// Services, and the instances of each, below one path.
///
/// # What it promises
/// * A [`Registration`] registers again by itself, in the next session after an expiry, or after
///   somebody deleted its node or those above. Dropping it takes the instance off.
/// * Records are Curator's, byte by byte as far as names and addresses are ASCII (others are
///   written as `\u` escapes, which mean the same). Children that are no records are passed over.
///
/// # What it does not promise
/// That an instance that is listed answers. Who dies is listed until its session times out, and who
/// was cut off may be listed, or not, without knowing.
///
/// ```no_run
/// use zookeeper_blocking::{Client, recipes::{Discovery, Picker, ServiceInstance}};
///
/// let zk = Client::connect("localhost:2181")?;
/// let discovery = Discovery::new(&zk, "/services")?;
/// let here = ServiceInstance::new("mail").address("h7.example").port(25);
/// let registration = discovery.register(&here)?;
///
/// // Where it is needed:
/// let picker = Picker::round_robin(&discovery.cache("mail")?);
/// if let Some(mail) = picker.pick() {
///     println!("{}:{:?}", mail.address, mail.port);
/// }
/// registration.unregister()?;
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
///
/// Costs two round trips to register, and a thread that sleeps; two to list.
///
/// # Layout
///
/// ```text
/// <path>/<service>/<id>       ephemeral, or persistent by its kind; holds the record
/// ```
///
/// The record is described at [`ServiceInstance`]. Curator makes the nodes above as containers,
/// these are persistent.
#[derive(Clone)]
pub struct Discovery {
    site: Site,
}

impl Discovery {
    /// The services below `path`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `path` is not a legal path, or is "/".
    pub fn new(client: &Client, path: &str) -> Result<Self> {
        Ok(Self { site: Site::new(client, "discovery", path)? })
    }

    /// The ACL of the nodes that are made, parents included. Defaults to everybody everything.
    pub fn acl(mut self, acl: impl IntoIterator<Item = Acl>) -> Self {
        self.site.set_acl(acl);
        self
    }

    /// The path.
    pub fn path(&self) -> &str {
        &self.site.path
    }

    /// Registers an instance. Waits while another session has its id, until the deadline of the
    /// client's calls.
    ///
    /// # Errors
    /// * [`Error::Invalid`] if the name of the service or the id is no name of a node, if what is to
    ///   be JSON is none, or if the kind is
    ///   [`DynamicSequential`](ServiceKind::DynamicSequential).
    /// * As [`PersistentNode::keep`].
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most (30 s by default).
    pub fn register(&self, instance: &ServiceInstance) -> Result<Registration> {
        self.node(instance)?.keep().map(|kept| Registration::new(instance, kept))
    }

    /// As [`register`](Self::register), for `timeout` at most.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub fn register_timeout(
        &self,
        instance: &ServiceInstance,
        timeout: Duration,
    ) -> Result<Registration> {
        let kept = self.node(instance)?.keep_timeout(timeout)?;
        Ok(Registration::new(instance, kept))
    }

    /// As [`register`](Self::register), but `None` if another session has its id.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub fn try_register(&self, instance: &ServiceInstance) -> Result<Option<Registration>> {
        let kept = self.node(instance)?.try_keep()?;
        Ok(kept.map(|kept| Registration::new(instance, kept)))
    }

    /// Ends the waits of [`register`](Self::register) of this handle and its clones.
    pub fn cancel(&self) {
        self.site.cancel();
    }

    /// The names of the services, sorted; those without instances are among them. One round trip.
    ///
    /// # Errors
    /// Those of every call.
    pub fn services(&self) -> Result<Vec<String>> {
        let mut names = party::list(&self.site)?;
        names.sort_unstable();
        Ok(names)
    }

    /// The instances of a service, in the order of their ids. Two round trips.
    ///
    /// # Errors
    /// * [`Error::Invalid`] if `service` is no name of a node.
    /// * Those of every call. A service that nobody registered has no instances.
    pub fn instances(&self, service: &str) -> Result<Vec<ServiceInstance>> {
        let site = self.site.at(self.below(&[service])?);
        let mut ids = party::list(&site)?;
        ids.sort_unstable();
        let reads = site.client.get_many(ids.iter().map(|id| site.below(id)))?;
        let mut instances = Vec::with_capacity(ids.len());
        for read in reads {
            match read {
                Ok((record, _)) => instances.extend(ServiceInstance::decode(&record)),
                // Gone since we looked.
                Err(error) if error.code() == Some(Code::NoNode) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(instances)
    }

    /// One instance of a service; `None` if there is none. One round trip.
    ///
    /// # Errors
    /// * [`Error::Invalid`] if `service` or `id` is no name of a node.
    /// * [`RecipeError::Unreadable`] if the node is no record of an instance.
    /// * Those of every call.
    pub fn instance(&self, service: &str, id: &str) -> Result<Option<ServiceInstance>> {
        let path = self.below(&[service, id])?;
        let record = match self.site.client.get_data(&path) {
            Err(error) if error.code() == Some(Code::NoNode) => return Ok(None),
            read => read?.0,
        };
        let unreadable = || {
            let at = At::new("instance", path.as_str());
            Error::Recipe { why: RecipeError::Unreadable, at }
        };
        ServiceInstance::decode(&record).map(Some).ok_or_else(unreadable)
    }

    /// The instances of a service, kept in memory.
    ///
    /// # Errors
    /// * [`Error::Invalid`] if `service` is no name of a node.
    /// * As [`Cache::new`](crate::recipes::Cache::new).
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most (30 s by default).
    pub fn cache(&self, service: &str) -> Result<ServiceCache> {
        ServiceCache::new(&self.site.client, &self.below(&[service])?)
    }

    fn node(&self, instance: &ServiceInstance) -> Result<PersistentNode> {
        let path = self.below(&[&instance.name, &instance.id])?;
        let invalid = |why: &str| Error::invalid("register", &path, why);
        let record = instance.encode().map_err(invalid)?;
        let node = |path| PersistentNode::of(self.site.at(path), record.as_bytes().into());
        match instance.kind {
            ServiceKind::Dynamic => Ok(node(path)),
            ServiceKind::DynamicSequential => Err(invalid("a number in its name has no use here")),
            ServiceKind::Permanent | ServiceKind::Static => Ok(node(path).persistent()),
        }
    }

    /// The path of a service, or of an instance.
    fn below(&self, names: &[&str]) -> Result<String> {
        let mut below = self.site.path.to_string();
        for name in names {
            let why = "the name of the service, or the id, contains a /";
            let legal = if name.contains('/') { Err(why) } else { Ok(()) };
            below = path::join(&below, name);
            legal
                .and_then(|()| path::validate(&below))
                .map_err(|why| Error::invalid("discovery", &below, why))?;
        }
        Ok(below)
    }
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery").field("path", &self.site.path).finish_non_exhaustive()
    }
}
