//! A path that is kept beside a request in flight, only to be named if it fails.

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

impl From<ShortPath> for Box<str> {
    fn from(path: ShortPath) -> Self {
        match path {
            ShortPath::Here { len, bytes } => {
                let bytes = bytes.get(..usize::from(len)).unwrap_or_default();
                String::from_utf8_lossy(bytes).into()
            }
            ShortPath::Away(path) => path,
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
