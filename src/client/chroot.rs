//! The chroot: a prefix on the way down, stripped on the way up. The only place that knows.

use std::borrow::Cow;
use std::sync::Arc;

/// The part of the tree that a client sees as its root.
#[derive(Clone, Debug)]
pub struct Chroot(Arc<str>);

impl Chroot {
    /// `prefix` is empty for none, else a valid path that is not "/".
    pub(crate) fn new(prefix: &str) -> Self {
        Self(if prefix == "/" { "".into() } else { prefix.into() })
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.0
    }

    /// A chroot below this one.
    pub(crate) fn below(&self, path: &str) -> Self {
        Self::new(&self.down(path))
    }

    /// The server's name of a path.
    pub(crate) fn down<'a>(&self, path: &'a str) -> Cow<'a, str> {
        if self.0.is_empty() {
            Cow::Borrowed(path)
        } else if path == "/" {
            Cow::Owned(self.0.to_string())
        } else {
            Cow::Owned(format!("{}{path}", self.0))
        }
    }

    /// Whether a server's path is inside.
    pub(crate) fn holds(&self, path: &str) -> bool {
        path.strip_prefix(&*self.0)
            .is_some_and(|rest| self.0.is_empty() || rest.is_empty() || rest.starts_with('/'))
    }

    /// The client's name of a server's path. A path outside, as `/zookeeper/config`, stays as it
    /// is; so does one that merely begins alike, as `/application` under `/app`.
    pub(crate) fn up<P: AsRef<str> + for<'a> From<&'a str>>(&self, path: P) -> P {
        if self.0.is_empty() {
            return path;
        }
        match path.as_ref().strip_prefix(&*self.0) {
            Some("") => "/".into(),
            Some(inside) if inside.starts_with('/') => inside.into(),
            _ => path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a24_what_goes_down_comes_up_the_same() {
        for prefix in ["", "/", "/app", "/a/b"] {
            let chroot = Chroot::new(prefix);
            for path in ["/", "/x", "/x/y", "/app", "/zookeeper/config"] {
                let down = chroot.down(path).into_owned();
                assert_eq!(chroot.up(down), path, "under {prefix:?}");
            }
        }
    }

    #[test]
    fn a24_a_path_outside_stays_as_it_is() {
        let chroot = Chroot::new("/app");
        for path in ["/zookeeper/config", "/application", "/ap"] {
            assert_eq!(chroot.up(path.to_owned()), path);
        }
    }

    #[test]
    fn a24_a_chroot_holds_no_path_that_merely_begins_alike() {
        let chroot = Chroot::new("/app");
        assert!(chroot.holds("/app") && chroot.holds("/app/a"));
        assert!(!chroot.holds("/application") && !chroot.holds("/"));
        assert!(Chroot::new("").holds("/a"));
    }

    #[test]
    fn chroots_stack() {
        let chroot = Chroot::new("/a").below("/b");
        assert_eq!(chroot.down("/c"), "/a/b/c");
        assert_eq!(chroot.below("/").down("/c"), "/a/b/c");
    }
}
