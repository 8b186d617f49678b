//! The bytes that a node is to hold.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

/// What a write puts into a node: bytes, borrowed or owned.
///
/// Made from anything that is bytes: `&str`, `&[u8]`, `&Vec<u8>`, `b"…"`, `String`, `Vec<u8>`, …
/// Borrowed bytes are copied once only, into the request.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Data<'a>(Cow<'a, [u8]>);

impl<'a> Data<'a> {
    /// Borrows bytes.
    pub fn borrowed<B: AsRef<[u8]> + ?Sized>(bytes: &'a B) -> Self {
        Self(Cow::Borrowed(bytes.as_ref()))
    }
}

impl Deref for Data<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Data<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the bytes: they may be secrets.
        write!(f, "Data({} bytes)", self.0.len())
    }
}

/// Borrowed from whatever is bytes already.
impl<'a, B: AsRef<[u8]> + ?Sized> From<&'a B> for Data<'a> {
    fn from(bytes: &'a B) -> Self {
        Self::borrowed(bytes)
    }
}

impl From<Vec<u8>> for Data<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Cow::Owned(bytes))
    }
}

impl From<String> for Data<'_> {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text.into_bytes()))
    }
}

impl From<Box<[u8]>> for Data<'_> {
    fn from(bytes: Box<[u8]>) -> Self {
        Self(Cow::Owned(bytes.into()))
    }
}

impl<const N: usize> From<[u8; N]> for Data<'_> {
    fn from(bytes: [u8; N]) -> Self {
        Self(Cow::Owned(bytes.to_vec()))
    }
}

impl<'a> From<Cow<'a, [u8]>> for Data<'a> {
    fn from(bytes: Cow<'a, [u8]>) -> Self {
        Self(bytes)
    }
}

impl<'a> From<Cow<'a, str>> for Data<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        match text {
            Cow::Borrowed(text) => Self::borrowed(text),
            Cow::Owned(text) => text.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_that_is_bytes_is_data() {
        fn data<'a>(bytes: impl Into<Data<'a>>) -> Vec<u8> {
            bytes.into().to_vec()
        }
        let (owned, bytes) = ("x".to_owned(), vec![b'x']);
        assert_eq!(data("x"), b"x");
        assert_eq!(data(&owned), b"x");
        assert_eq!(data(&bytes), b"x");
        assert_eq!(data(b"x"), b"x");
        assert_eq!(data(*b"x"), b"x");
        assert_eq!(data(&bytes[..]), b"x");
        assert_eq!(data(Cow::Borrowed("x")), b"x");
        assert_eq!(data(owned), b"x");
        assert_eq!(data(bytes), b"x");
    }

    #[test]
    fn its_debug_form_shows_no_bytes() {
        assert_eq!(format!("{:?}", Data::from("secret")), "Data(6 bytes)");
    }
}
