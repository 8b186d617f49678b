//! Several leases of one kind.

use std::time::Duration;

use crate::client::Client;
use crate::error::{Error, Result};
use crate::path;
use crate::proto::acl::Acl;
use crate::recipes::lease::{HeldLease, Lease};

/// As many leases as there are slots: the first free one is taken.
///
/// Kazoo's layout: the leases `<path>/0`, `<path>/1` and so on.
///
/// ```no_run
/// use std::time::Duration;
/// use zookeeper_blocking::{Client, recipes::MultiLease};
///
/// let zk = Client::connect("localhost:2181")?;
/// let two = MultiLease::new(&zk, "/app/leases/mailers", "worker 7", 2, Duration::from_secs(60))?;
/// if let Some(lease) = two.try_acquire()? {
///     println!("one of two, with fence {}", lease.fence());
/// }
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MultiLease {
    leases: Vec<Lease>,
}

impl MultiLease {
    /// `count` leases under `path`; for the rest see [`Lease::new`].
    ///
    /// # Errors
    /// As [`Lease::new`], and [`Error::Invalid`] for a `count` of 0.
    pub fn new(
        client: &Client,
        path: &str,
        holder: &str,
        count: u32,
        duration: Duration,
    ) -> Result<Self> {
        if count == 0 {
            return Err(Error::invalid("lease", path, "no leases at all"));
        }
        let lease =
            |slot: u32| Lease::new(client, &path::join(path, &slot.to_string()), holder, duration);
        Ok(Self { leases: (0..count).map(lease).collect::<Result<_>>()? })
    }

    /// The ACL of the nodes that it makes, parents included. Defaults to everybody everything.
    pub fn acl(mut self, acl: impl IntoIterator<Item = Acl>) -> Self {
        let acl: Vec<Acl> = acl.into_iter().collect();
        self.leases = self.leases.into_iter().map(|lease| lease.acl(acl.clone())).collect();
        self
    }

    /// Ends all waits of now, with
    /// [`RecipeError::Cancelled`](crate::RecipeError::Cancelled).
    pub fn cancel(&self) {
        for lease in &self.leases {
            lease.cancel();
        }
    }

    /// Takes the first lease that is free, over, or our own; `None` if there is none.
    ///
    /// # Errors
    /// As [`Lease::try_acquire`].
    pub fn try_acquire(&self) -> Result<Option<HeldLease>> {
        for lease in &self.leases {
            if let Some(held) = lease.try_acquire()? {
                return Ok(Some(held));
            }
        }
        Ok(None)
    }
}
