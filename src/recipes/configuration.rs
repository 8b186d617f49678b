//! A typed value in one node, kept fresh.
//!
//! ```text
//! <path>      persistent, holds the value as the program writes it
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::client::Client;
use crate::error::{At, Error, RecipeError, Result};
use crate::recipes::codec::Codec;
#[cfg(feature = "serde")]
use crate::recipes::codec::from_json;
use crate::recipes::sight::NodeData;
use crate::recipes::watches::{DataWatch, Following};

/// A value that all processes share and that this one always has at hand: read as the program's own
/// type, checked, kept fresh.
///
/// # What it promises
/// * [`get`](Self::get) asks no server: it gives the last value that was good.
/// * A new value is there one notification and one read after it was written: as
///   [`DataWatch`], the last one is always seen, in the next session too.
/// * A value that the program's check refuses, or a node that is gone, replaces nothing: the last
///   good value stays, and [`problem`](Self::problem) says what is wrong.
///
/// # What it does not promise
/// * That two processes have the same value in this moment.
/// * To be fresh during an outage, or while a callback blocks the event thread: it is fed there.
///
/// ```no_run
/// use zookeeper_blocking::{Client, recipes::Configuration};
///
/// let zk = Client::connect("localhost:2181")?;
/// # use zookeeper_blocking::op;
/// # zk.create_with_parents(op::Create::new("/app/database").data("10.0.0.9:5432"))?;
/// let database = Configuration::new(&zk, "/app/database", |bytes| {
///     let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
///     text.parse::<std::net::SocketAddr>().map_err(|error| error.to_string())
/// })?;
/// println!("connecting to {}", database.get());
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
///
/// Costs one round trip for each new value. The last handle that is dropped ends it.
pub struct Configuration<T> {
    shared: Arc<Shared<T>>,
    _following: Arc<Following>,
    path: Arc<str>,
}

struct Shared<T> {
    inside: Mutex<Inside<T>>,
    changed: Condvar,
    /// Run on the event thread, one at a time.
    listeners: Mutex<Vec<Arc<Mutex<Listener<T>>>>>,
}

struct Listener<T>(Box<dyn Hears<T>>);

trait Hears<T>: Send {
    fn hear(&mut self, value: &Arc<T>);
}

impl<T, F: FnMut(&Arc<T>) + Send> Hears<T> for F {
    fn hear(&mut self, value: &Arc<T>) {
        self(value);
    }
}

struct Inside<T> {
    good: Arc<T>,
    problem: Option<ConfigurationProblem>,
}

/// Why the last good value of a [`Configuration`] is not what the node holds now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ConfigurationProblem {
    /// Nothing more will be heard: the client was closed, or the node may not be read.
    Ended(Error),
    /// There is no node.
    Missing,
    /// The program's check refused what the node holds, with this reason.
    Refused(String),
}

impl<T: Send + Sync + 'static> Configuration<T> {
    /// Reads the value at `path` with `read`, and follows it from then on. `read` makes a value of
    /// the node's bytes, or says why they are none.
    ///
    /// # Errors
    /// * [`Code::NoNode`](crate::Code::NoNode) if there is no node, [`RecipeError::Unreadable`] if
    ///   `read` refuses what it holds: there is no good value to begin with. See
    ///   [`with_default`](Self::with_default).
    /// * [`Error::Timeout`], [`Error::Closed`] and the like.
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most (30 s by default).
    pub fn new(
        client: &Client,
        path: &str,
        read: impl FnMut(&[u8]) -> Result<T, String> + Send + 'static,
    ) -> Result<Self> {
        Self::begin(client, path, None, read)
    }

    /// As [`new`](Self::new), beginning with `default` if there is no good value.
    ///
    /// # Errors
    /// [`Error::Timeout`], [`Error::Closed`] and the like.
    ///
    /// # Blocking
    /// As [`new`](Self::new).
    pub fn with_default(
        client: &Client,
        path: &str,
        default: T,
        read: impl FnMut(&[u8]) -> Result<T, String> + Send + 'static,
    ) -> Result<Self> {
        Self::begin(client, path, Some(default), read)
    }

    /// As [`new`](Self::new), reading with `codec`.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    ///
    /// # Blocking
    /// As [`new`](Self::new).
    pub fn with_codec(client: &Client, path: &str, codec: &Codec<T>) -> Result<Self> {
        let codec = codec.clone();
        Self::begin(client, path, None, move |bytes| codec.decode(bytes))
    }

    fn begin(
        client: &Client,
        path: &str,
        default: Option<T>,
        mut read: impl FnMut(&[u8]) -> Result<T, String> + Send + 'static,
    ) -> Result<Self> {
        // By this thread, which may be the event thread; from then on, by that one.
        let watch = DataWatch::new(client, path)?;
        let watch = if default.is_none() { watch.existing() } else { watch };
        let node = watch.recv()?;
        let mut known = Some(mark(node.as_ref()));
        let (good, problem) = match (judge(node, &mut read), default) {
            (Ok(value), _) => (value, None),
            (Err(problem), Some(default)) => (default, Some(problem)),
            (Err(problem), None) => {
                log::warn!("{path}: {problem:?}");
                let at = At::new("configuration", path);
                return Err(Error::Recipe { why: RecipeError::Unreadable, at });
            }
        };
        let shared = Arc::new(Shared {
            inside: Mutex::new(Inside { good: Arc::new(good), problem }),
            changed: Condvar::new(),
            listeners: Mutex::default(),
        });
        let fed = shared.clone();
        let following = DataWatch::on_change(client, path, move |seen| {
            // What was read just now is heard once more.
            let is_known = matches!((&seen, known.take()), (Ok(node), Some(read)) if mark(node.as_ref()) == read);
            if !is_known {
                let heard = seen.map_err(ConfigurationProblem::Ended);
                fed.take(heard.and_then(|node| judge(node, &mut read)));
            }
        })?;
        Ok(Self { shared, _following: Arc::new(following), path: path.into() })
    }

    /// The path of the value's node.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The last good value. Asks no server.
    pub fn get(&self) -> Arc<T> {
        self.shared.inside.lock().good.clone()
    }

    /// Why the last good value is not what the node holds now, if so.
    pub fn problem(&self) -> Option<ConfigurationProblem> {
        self.shared.inside.lock().problem.clone()
    }

    /// Waits until the good value is another than `known`, for `timeout` at most. `None` if it still
    /// is that one. Not on the event thread, where the values are fed.
    pub fn wait_change(&self, known: &Arc<T>, timeout: Duration) -> Option<Arc<T>> {
        let deadline = Instant::now().checked_add(timeout);
        let mut inside = self.shared.inside.lock();
        while Arc::ptr_eq(&inside.good, known) {
            match deadline {
                None => self.shared.changed.wait(&mut inside),
                Some(deadline) => {
                    if self.shared.changed.wait_until(&mut inside, deadline).timed_out() {
                        break;
                    }
                }
            }
        }
        (!Arc::ptr_eq(&inside.good, known)).then(|| inside.good.clone())
    }

    /// Has `callback` hear each new good value from now on, on the event thread.
    pub fn on_change(&self, callback: impl FnMut(&Arc<T>) + Send + 'static) {
        let listener = Arc::new(Mutex::new(Listener(Box::new(callback))));
        self.shared.listeners.lock().push(listener);
    }
}

#[cfg(feature = "serde")]
impl<T: serde::de::DeserializeOwned + Send + Sync + 'static> Configuration<T> {
    /// As [`new`](Self::new), reading JSON as serde does. With the feature `serde`.
    ///
    /// ```no_run
    /// use std::collections::BTreeMap;
    /// use zookeeper_blocking::{Client, recipes::Configuration};
    ///
    /// let zk = Client::connect("localhost:2181")?;
    /// # use zookeeper_blocking::op;
    /// # zk.create_with_parents(op::Create::new("/app/limits").data(r#"{"upload": 7}"#))?;
    /// let limits = Configuration::<BTreeMap<String, u32>>::json(&zk, "/app/limits")?;
    /// println!("{:?}", limits.get().get("upload"));
    /// # Ok::<(), zookeeper_blocking::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](Self::new).
    ///
    /// # Blocking
    /// As [`new`](Self::new).
    pub fn json(client: &Client, path: &str) -> Result<Self> {
        Self::begin(client, path, None, from_json)
    }

    /// As [`json`](Self::json), beginning with `default` if there is no good value.
    ///
    /// # Errors
    /// As [`with_default`](Self::with_default).
    ///
    /// # Blocking
    /// As [`new`](Self::new).
    pub fn json_with_default(client: &Client, path: &str, default: T) -> Result<Self> {
        Self::begin(client, path, Some(default), from_json)
    }
}

impl<T> Shared<T> {
    fn take(&self, heard: Result<T, ConfigurationProblem>) {
        let mut inside = self.inside.lock();
        let good = match heard {
            Ok(value) => Arc::new(value),
            Err(problem) => {
                inside.problem = Some(problem);
                return;
            }
        };
        (inside.good, inside.problem) = (good.clone(), None);
        drop(inside);
        self.changed.notify_all();
        let listeners = self.listeners.lock().clone();
        for listener in listeners {
            listener.lock().0.hear(&good);
        }
    }
}

/// What tells one state of the node from another.
fn mark(node: Option<&NodeData>) -> Option<(i64, i64)> {
    node.map(|node| (node.stat.czxid, node.stat.mzxid))
}

fn judge<T>(
    node: Option<NodeData>,
    read: &mut impl FnMut(&[u8]) -> Result<T, String>,
) -> Result<T, ConfigurationProblem> {
    let node = node.ok_or(ConfigurationProblem::Missing)?;
    read(&node.data).map_err(ConfigurationProblem::Refused)
}

impl<T> Clone for Configuration<T> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            _following: self._following.clone(),
            path: self.path.clone(),
        }
    }
}

impl<T> fmt::Debug for Configuration<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Configuration").field("path", &self.path).finish_non_exhaustive()
    }
}
