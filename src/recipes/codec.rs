//! How values become bytes, and bytes values.

use std::fmt::{self, Display};
use std::str::FromStr;
use std::sync::Arc;

type Write<T> = dyn Fn(&T) -> Result<Vec<u8>, String> + Send + Sync;
type Read<T> = dyn Fn(&[u8]) -> Result<T, String> + Send + Sync;

/// How values of one type are written to nodes, and read: for [`Modeled`](super::Modeled) and
/// [`Configuration`](super::Configuration).
///
/// ```
/// use zookeeper_blocking::recipes::Codec;
///
/// let ports: Codec<u16> = Codec::text();
/// assert_eq!(ports.encode(&2181), Ok(b"2181".to_vec()));
/// assert_eq!(ports.decode(b"2181"), Ok(2181));
/// assert!(ports.decode(b"many").is_err());
/// ```
pub struct Codec<T> {
    write: Arc<Write<T>>,
    read: Arc<Read<T>>,
}

impl<T> Codec<T> {
    /// Writes with `write`, reads with `read`; either says why it cannot. What one of them writes
    /// the other must read.
    pub fn new(
        write: impl Fn(&T) -> Result<Vec<u8>, String> + Send + Sync + 'static,
        read: impl Fn(&[u8]) -> Result<T, String> + Send + Sync + 'static,
    ) -> Self {
        Self { write: Arc::new(write), read: Arc::new(read) }
    }

    /// The bytes of a value.
    ///
    /// # Errors
    /// Why there are none.
    pub fn encode(&self, value: &T) -> Result<Vec<u8>, String> {
        (self.write)(value)
    }

    /// The value of bytes.
    ///
    /// # Errors
    /// Why they are none.
    pub fn decode(&self, bytes: &[u8]) -> Result<T, String> {
        (self.read)(bytes)
    }
}

impl<T: Display + FromStr<Err: Display>> Codec<T> {
    /// As text in UTF-8, as the type prints itself. White space around it is passed over.
    pub fn text() -> Self {
        let read = |bytes: &[u8]| {
            let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
            text.trim().parse().map_err(|error: T::Err| error.to_string())
        };
        Self::new(|value: &T| Ok(value.to_string().into_bytes()), read)
    }
}

#[cfg(feature = "serde")]
impl<T: serde::Serialize + serde::de::DeserializeOwned + 'static> Codec<T> {
    /// As JSON, as serde writes the type. With the feature `serde`.
    pub fn json() -> Self {
        let write = |value: &T| serde_json::to_vec(value).map_err(|error| error.to_string());
        Self::new(write, from_json)
    }
}

#[cfg(feature = "serde")]
pub(super) fn from_json<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

impl<T> Clone for Codec<T> {
    fn clone(&self) -> Self {
        Self { write: self.write.clone(), read: self.read.clone() }
    }
}

impl<T> fmt::Debug for Codec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec").finish_non_exhaustive()
    }
}
