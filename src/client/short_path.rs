//! A path that is kept beside a request in flight, only to be named if it fails.

use std::fmt;

/// Text of up to 22 bytes in place, longer text in an allocation of its own.
pub(crate) enum ShortPath {
    Here { len: u8, bytes: [u8; HERE] },
    Away(Box<str>),
}

/// So that the whole is three words.
const HERE: usize = 22;

impl From<&str> for ShortPath {
    fn from(path: &str) -> Self {
        let mut bytes = [0; HERE];
        match (bytes.get_mut(..path.len()), u8::try_from(path.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(path.as_bytes());
                Self::Here { len, bytes }
            }
            _ => Self::Away(path.into()),
        }
    }
}

impl fmt::Display for ShortPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here { len, bytes } => {
                let bytes = bytes.get(..usize::from(*len)).unwrap_or_default();
                f.write_str(&String::from_utf8_lossy(bytes))
            }
            Self::Away(path) => f.write_str(path),
        }
    }
}

impl From<ShortPath> for Box<str> {
    fn from(path: ShortPath) -> Self {
        match path {
            ShortPath::Away(path) => path,
            here => here.to_string().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_back_what_it_was_given() {
        for len in 0..60 {
            let path = "/ä".repeat(len / 3) + &"x".repeat(len % 3);
            assert_eq!(*Box::<str>::from(ShortPath::from(&*path)), path);
        }
    }

    #[test]
    fn it_is_three_words() {
        assert_eq!(size_of::<ShortPath>(), 24);
    }
}
