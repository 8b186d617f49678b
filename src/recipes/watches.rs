//! Watches with memory: what a node is now, told whenever it is not what was told last.

use std::fmt;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::error::{Error, Result};
use crate::path;
use crate::recipes::follower::Follower;
use crate::recipes::lookout::Lookout;
use crate::recipes::sight::{Children, Data, NodeChildren, NodeData, Sight};

/// Writes what is the same for data and children: they differ in what is read.
macro_rules! watch_with_memory {
    ($(#[$doc:meta])* $name:ident, $sight:ident, $seen:ident, $op:literal) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(Lookout<$sight>);

        impl $name {
            /// Nothing is sent yet: the first wait looks, and gives what it sees.
            ///
            /// # Errors
            /// [`Error::Invalid`] if `path` is not a legal path.
            pub fn new(client: &Client, path: &str) -> Result<Self> {
                Lookout::new(client, $op, path).map(Self)
            }

            /// Does not wait for a node that is missing, but fails then with
            /// [`Code::NoNode`](crate::Code::NoNode).
            pub fn existing(mut self) -> Self {
                self.0.existing = true;
                self
            }

            /// The watched path.
            pub fn path(&self) -> &str {
                &self.0.site.path
            }

            /// Waits until there is something else than what was given last, and gives it: `None`
            /// for a node that is not there. The first time it gives what is there. Until the
            /// deadline of the client's calls.
            ///
            /// # Errors
            /// * [`Error::Timeout`] if nothing changed.
            /// * [`RecipeError::Cancelled`](crate::RecipeError::Cancelled) after
            ///   [`cancel`](Self::cancel).
            /// * [`Code::NoAuth`](crate::Code::NoAuth), [`Error::Closed`] and the like.
            ///
            /// # Blocking
            /// Until the deadline of the client's calls at most (30 s by default).
            pub fn recv(&self) -> Result<Option<$seen>> {
                self.0.recv(self.0.site.deadline())
            }

            /// As [`recv`](Self::recv), for `timeout` at most.
            ///
            /// # Errors
            /// As [`recv`](Self::recv).
            pub fn recv_timeout(&self, timeout: Duration) -> Result<Option<$seen>> {
                self.0.recv(Instant::now().checked_add(timeout))
            }

            /// What there is, if it is not what was given last; else `None`. Asks the server only if
            /// it said that there is news, and the first time.
            ///
            /// # Errors
            /// As [`recv`](Self::recv).
            pub fn try_recv(&self) -> Result<Option<Option<$seen>>> {
                self.0.try_recv()
            }

            /// As [`recv`](Self::recv), but gives what did not change for the time of `quiet`: for
            /// those who act on a whole group that is on its way. Kazoo's `PatientChildrenWatch`.
            ///
            /// # Errors
            /// As [`recv`](Self::recv); [`Error::Timeout`] also if it never was quiet.
            ///
            /// # Blocking
            /// As [`recv`](Self::recv).
            pub fn recv_settled(&self, quiet: Duration) -> Result<Option<$seen>> {
                self.0.recv_settled(quiet, self.0.site.deadline())
            }

            /// As [`recv_settled`](Self::recv_settled), for `timeout` at most.
            ///
            /// # Errors
            /// As [`recv_settled`](Self::recv_settled).
            pub fn recv_settled_timeout(
                &self,
                quiet: Duration,
                timeout: Duration,
            ) -> Result<Option<$seen>> {
                self.0.recv_settled(quiet, Instant::now().checked_add(timeout))
            }

            /// Ends the waits of all threads on this handle and its clones.
            pub fn cancel(&self) {
                self.0.site.cancel();
            }

            /// Has `callback` hear what there is, at first and whenever it is something else, on the
            /// event thread, until the handle is dropped. `Err` is the last that it hears: the client
            /// was closed, or the node may not be read.
            ///
            /// While it runs nothing is told: afterwards, what there is then. It does not keep the
            /// client alive. Should it panic, it is called again the next time.
            ///
            /// # Errors
            /// [`Error::Invalid`] if `path` is not a legal path; [`Error::Closed`] and the like.
            pub fn on_change(
                client: &Client,
                path: &str,
                callback: impl FnMut(Result<Option<$seen>>) + Send + 'static,
            ) -> Result<Following> {
                follow::<$sight>(client, $op, path, Box::new(callback))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).field("path", &self.path()).finish_non_exhaustive()
            }
        }
    };
}

watch_with_memory! {
    /// A node's data, told whenever they are not what was told last.
    ///
    /// # What it promises
    /// * The last state is always told, whatever happens on the way: lost connections, expired
    ///   sessions, the node's deletion and creation. It is read and watched in one request, so no
    ///   change falls between.
    /// * A state is told once: a write is a new state, be it of the same bytes; a wake-up or a
    ///   reconnect is not.
    /// * Dropping the handle takes the watch back.
    ///
    /// # What it does not promise
    /// To tell every state: who writes twice quickly may be seen once.
    ///
    /// Threads that share a handle, or its clones, share its memory: each state goes to one of them.
    ///
    /// Kazoo's `DataWatch`, and its `ExistingDataWatch` with [`existing`](Self::existing).
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use zookeeper_blocking::{Client, Error, recipes::DataWatch};
    ///
    /// let zk = Client::connect("localhost:2181")?;
    /// let colour = DataWatch::new(&zk, "/app/colour")?;
    /// loop {
    ///     match colour.recv_timeout(Duration::from_secs(3600)) {
    ///         Ok(Some(node)) => println!("now {}", String::from_utf8_lossy(&node.data)),
    ///         Ok(None) => println!("there is none"),
    ///         Err(Error::Timeout { .. }) => {}
    ///         Err(error) => return Err(error),
    ///     }
    ///     # break;
    /// }
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// Or, without a thread that waits:
    ///
    /// ```no_run
    /// # use zookeeper_blocking::{Client, recipes::DataWatch};
    /// # let zk = Client::connect("localhost:2181")?;
    /// let following = DataWatch::on_change(&zk, "/app/colour", |seen| println!("{seen:?}"))?;
    /// # drop(following);
    /// # Ok::<(), zookeeper_blocking::Error>(())
    /// ```
    ///
    /// Costs one round trip for each state that is told.
    DataWatch, Data, NodeData, "data_watch"
}

watch_with_memory! {
    /// The names of a node's children, told whenever they are not what was told last.
    ///
    /// Promises as [`DataWatch`], of the children's names. A child that was deleted and made again
    /// is a change; so is the node itself when it was made anew.
    ///
    /// Kazoo's `ChildrenWatch`, which ends where the node is missing, and with
    /// [`recv_settled`](Self::recv_settled) its `PatientChildrenWatch`.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use zookeeper_blocking::{Client, recipes::ChildrenWatch};
    ///
    /// let zk = Client::connect("localhost:2181")?;
    /// let workers = ChildrenWatch::new(&zk, "/app/workers")?;
    /// while let Some(there) = workers.recv_settled(Duration::from_secs(2))? {
    ///     println!("{:?}", there.names);
    ///     # break;
    /// }
    /// # Ok::<(), zookeeper_blocking::Error>(())
    /// ```
    ///
    /// Costs one round trip for each state that is told.
    ChildrenWatch, Children, NodeChildren, "children_watch"
}

/// A callback that follows a node; dropping it ends that, and takes the watch back. A callback that
/// runs meanwhile runs to its end.
#[must_use = "dropping it ends the callback's calls"]
pub struct Following {
    stop: Box<dyn Fn() + Send + Sync>,
    path: Box<str>,
}

fn follow<S: Sight>(
    client: &Client,
    op: &'static str,
    path: &str,
    callback: crate::recipes::follower::Callback<S>,
) -> Result<Following> {
    path::validate(path).map_err(|why| Error::invalid(op, path, why))?;
    let follower = Follower::<S>::start(client, path, callback)?;
    Ok(Following { stop: Box::new(move || follower.stop()), path: path.into() })
}

impl Drop for Following {
    fn drop(&mut self) {
        (self.stop)();
    }
}

impl fmt::Debug for Following {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Following").field("path", &self.path).finish_non_exhaustive()
    }
}
