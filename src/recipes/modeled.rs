//! Nodes that hold values of a type.
//!
//! ```text
//! <path>          persistent, holds a value as the codec writes it
//! <path>/<name>   the same, for values that are many
//! ```

use std::collections::BTreeMap;
use std::fmt;

use crate::client::Client;
use crate::client::op::{self, Version};
use crate::error::{At, Error, RecipeError, Result};
use crate::path;
use crate::proto::acl::Acl;
use crate::proto::code::Code;
use crate::proto::stat::Stat;
use crate::recipes::codec::Codec;
use crate::recipes::configuration::Configuration;
use crate::recipes::site::Site;

/// A node whose data are a value of the program's own type; Curator's `ModeledFramework`.
///
/// The operations of [`Client`], with values for bytes: the same promises, the same errors, and one
/// more for data that are no value ([`RecipeError::Unreadable`]; why, the log says).
///
/// ```no_run
/// use zookeeper_blocking::{Client, Version, recipes::{Codec, Modeled}};
///
/// let zk = Client::connect("localhost:2181")?;
/// let limits: Modeled<u32> = Modeled::new(&zk, "/app/limits", Codec::text())?;
/// limits.child("upload")?.put(&100)?;
/// let (value, stat) = limits.child("upload")?.get()?;
/// limits.child("upload")?.set(&(value * 2), stat.version)?;
/// for (name, (value, _)) in limits.values()? {
///     println!("{name}: {value}");
/// }
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
///
/// With the feature `serde`, `Codec::json()` takes any type that serde does. A value that is to be at
/// hand all the time is a [`Configuration`]; [`configuration`](Self::configuration) gives that.
///
/// Each call costs one round trip where nothing else is said. Cloning makes one more handle.
pub struct Modeled<T> {
    site: Site,
    codec: Codec<T>,
}

impl<T> Modeled<T> {
    /// The node at `path`. Nothing is sent.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `path` is not a legal path, or is "/".
    pub fn new(client: &Client, path: &str, codec: Codec<T>) -> Result<Self> {
        Ok(Self { site: Site::new(client, "modeled", path)?, codec })
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

    /// The node of this name below, for a value of the same type.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `name` is no name of a node.
    pub fn child(&self, name: &str) -> Result<Self> {
        let below = self.site.below(name);
        let legal = match name.contains('/') {
            true => Err("the name contains a /"),
            false => path::validate(&below),
        };
        legal.map_err(|why| Error::invalid("modeled", &below, why))?;
        Ok(Self { site: self.site.at(below), codec: self.codec.clone() })
    }

    /// The value, and the node's [`Stat`], whose version makes a [`set`](Self::set) conditional.
    ///
    /// # Errors
    /// * [`Code::NoNode`] if there is no node.
    /// * [`RecipeError::Unreadable`] if it holds no value.
    pub fn get(&self) -> Result<(T, Stat)> {
        let (bytes, stat) = self.site.client.get_data(&self.site.path)?;
        Ok((self.read(&self.site.path, &bytes)?, stat))
    }

    /// As [`get`](Self::get); `None` if there is no node.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn find(&self) -> Result<Option<(T, Stat)>> {
        match self.get() {
            Err(error) if error.code() == Some(Code::NoNode) => Ok(None),
            found => found.map(Some),
        }
    }

    /// Makes the node, and its parents if they are missing.
    ///
    /// # Errors
    /// * [`Code::NodeExists`] if there is one; also if the answer to a create of ours was lost.
    /// * [`Error::Invalid`] if the value has no bytes.
    pub fn create(&self, value: &T) -> Result<()> {
        let bytes = self.write(value)?;
        self.site.patiently(self.site.deadline(), "create", |patience| {
            loop {
                let create = op::Create::new(&*self.site.path)
                    .data(bytes.as_slice())
                    .acl(self.site.acl.iter().cloned());
                match self.site.client.call(create) {
                    Err(error) if error.code() == Some(Code::NoNode) => {
                        self.site.ensure_above(patience, &self.site.path)?;
                    }
                    created => return created.map(drop),
                }
            }
        })
    }

    /// Writes the value if the node's version is `version`; gives the new [`Stat`].
    ///
    /// # Errors
    /// * [`Code::NoNode`], [`Code::BadVersion`]: nothing was written.
    /// * [`Error::Invalid`] if the value has no bytes.
    pub fn set(&self, value: &T, version: impl Into<Version>) -> Result<Stat> {
        self.site.client.set_data(&self.site.path, self.write(value)?, version)
    }

    /// Writes the value, whatever is there; makes the node and its parents if they are missing.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the value has no bytes.
    pub fn put(&self, value: &T) -> Result<()> {
        loop {
            match self.set(value, Version::Any) {
                Err(error) if error.code() == Some(Code::NoNode) => {}
                set => return set.map(drop),
            }
            match self.create(value) {
                Err(error) if error.code() == Some(Code::NodeExists) => {}
                created => return created,
            }
        }
    }

    /// Reads the value, has `change` make the new one of it, and writes that if nobody else wrote
    /// meanwhile; if somebody did, all over again. `change` gives `None` to leave it as it is.
    ///
    /// # Errors
    /// As [`Client::update`], and [`RecipeError::Unreadable`] or [`Error::Invalid`] for what has no
    /// value, or no bytes: nothing was written.
    pub fn update(&self, mut change: impl FnMut(T) -> Option<T>) -> Result<Stat> {
        let mut failed = None;
        let updated = self.site.client.update(&self.site.path, |bytes| {
            let new = self.read(&self.site.path, bytes).map(&mut change);
            match new.and_then(|new| new.map(|new| self.write(&new)).transpose()) {
                Ok(new) => new,
                Err(error) => {
                    failed = Some(error);
                    None
                }
            }
        });
        match failed {
            Some(error) => Err(error),
            None => updated,
        }
    }

    /// Deletes the node if its version is `version`.
    ///
    /// # Errors
    /// [`Code::NoNode`], [`Code::BadVersion`], [`Code::NotEmpty`].
    pub fn delete(&self, version: impl Into<Version>) -> Result<()> {
        self.site.client.delete(&self.site.path, version)
    }

    /// The names of the nodes below, sorted. None if there is no node.
    ///
    /// # Errors
    /// Those of every call.
    pub fn children(&self) -> Result<Vec<String>> {
        match self.site.client.get_children(&self.site.path) {
            Err(error) if error.code() == Some(Code::NoNode) => Ok(Vec::new()),
            names => names.map(|mut names| {
                names.sort_unstable();
                names
            }),
        }
    }

    /// The values of the nodes below, by name. Not of one moment. Two round trips, however many
    /// there are.
    ///
    /// # Errors
    /// [`RecipeError::Unreadable`] if one of them holds no value; its path says which.
    pub fn values(&self) -> Result<BTreeMap<String, (T, Stat)>> {
        let names = self.children()?;
        let paths: Vec<_> = names.iter().map(|name| self.site.below(name)).collect();
        let reads = self.site.client.get_many(&paths)?;
        let mut values = BTreeMap::new();
        for ((name, path), read) in names.into_iter().zip(&paths).zip(reads) {
            match read {
                Ok((bytes, stat)) => drop(values.insert(name, (self.read(path, &bytes)?, stat))),
                // Gone since we looked.
                Err(error) if error.code() == Some(Code::NoNode) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(values)
    }

    fn write(&self, value: &T) -> Result<Vec<u8>> {
        self.codec.encode(value).map_err(|why| Error::invalid("modeled", &self.site.path, why))
    }

    fn read(&self, path: &str, bytes: &[u8]) -> Result<T> {
        self.codec.decode(bytes).map_err(|why| {
            log::warn!("{path} holds no value: {why}");
            Error::Recipe { why: RecipeError::Unreadable, at: At::new("modeled", path) }
        })
    }
}

impl<T: Send + Sync + 'static> Modeled<T> {
    /// The value, kept fresh.
    ///
    /// # Errors
    /// As [`Configuration::new`].
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most (30 s by default).
    pub fn configuration(&self) -> Result<Configuration<T>> {
        Configuration::with_codec(&self.site.client, &self.site.path, &self.codec)
    }
}

impl<T> Clone for Modeled<T> {
    fn clone(&self) -> Self {
        Self { site: self.site.clone(), codec: self.codec.clone() }
    }
}

impl<T> fmt::Debug for Modeled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Modeled").field("path", &self.site.path).finish_non_exhaustive()
    }
}
