//! How many leases a semaphore has, and where that number is kept.
//!
//! | kept | as |
//! |---|---|
//! | on the semaphore's node (Kazoo) | decimal text |
//! | on a node of its own (Curator's `SharedCount`) | four bytes, big-endian |
//! | nowhere (Curator's `InterProcessSemaphoreV2` with a plain number) | – |

use std::sync::Arc;

use crate::error::{Error, RecipeError, Result};
use crate::recipes::patience::Patience;

/// The number, as one handle of the semaphore knows it.
#[derive(Clone, Debug)]
pub(super) struct Limit {
    /// What this handle was made with.
    pub(super) own: u32,
    pub(super) kept: Kept,
}

/// Where the number is kept for all.
#[derive(Clone, Debug)]
pub(super) enum Kept {
    Nowhere,
    /// On the semaphore's node, and ours has to be the same.
    OnNode,
    /// On the semaphore's node, whatever we were made with.
    OnNodeFollowed,
    SharedCount(Arc<str>),
}

impl Limit {
    /// The node that it is kept on; `semaphore` is the semaphore's own.
    pub(super) fn node<'a>(&'a self, semaphore: &'a str) -> Option<&'a str> {
        match &self.kept {
            Kept::Nowhere => None,
            Kept::OnNode | Kept::OnNodeFollowed => Some(semaphore),
            Kept::SharedCount(path) => Some(path),
        }
    }

    /// Whether it may change while a handle is in use.
    pub(super) fn is_followed(&self) -> bool {
        matches!(self.kept, Kept::OnNodeFollowed | Kept::SharedCount(_))
    }

    /// `max` as the node has it.
    pub(super) fn bytes(&self, max: u32) -> Vec<u8> {
        match &self.kept {
            Kept::SharedCount(_) => i32::try_from(max).unwrap_or(i32::MAX).to_be_bytes().into(),
            _ => max.to_string().into_bytes(),
        }
    }

    /// What the node's data says.
    pub(super) fn read(&self, data: &[u8], patience: &Patience<'_>) -> Result<u32> {
        match &self.kept {
            Kept::SharedCount(_) => {
                let bytes = data.try_into().map_err(|_| patience.error(RecipeError::Unreadable))?;
                // A negative count lets nobody in.
                Ok(u32::try_from(i32::from_be_bytes(bytes)).unwrap_or(0))
            }
            // As Kazoo: what is no number says nothing.
            _ => match (number(data), &self.kept) {
                (Some(stored), Kept::OnNodeFollowed) => Ok(u32::try_from(stored).unwrap_or(0)),
                (Some(stored), _) if stored != i64::from(self.own) => {
                    Err(patience.error(RecipeError::LimitMismatch))
                }
                _ => Ok(self.own),
            },
        }
    }

    /// Refuses a number that the node cannot have.
    pub(super) fn check(max: u32, op: &'static str, path: &str) -> Result<()> {
        if i32::try_from(max).is_err() {
            return Err(Error::invalid(op, path, "at most 2147483647 leases"));
        }
        Ok(())
    }
}

/// As Python's `int()` takes it.
fn number(data: &[u8]) -> Option<i64> {
    std::str::from_utf8(data).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipes::patience::Waits;

    fn read(kept: Kept, data: &[u8]) -> Result<u32> {
        let limit = Limit { own: 3, kept };
        Waits::default().patiently(None, "acquire", "/sem", |patience| limit.read(data, patience))
    }

    fn why(result: Result<u32>) -> RecipeError {
        match result {
            Err(Error::Recipe { why, .. }) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn number_of_kazoo_has_to_be_ours_or_no_number() {
        for ours in ["3", " 3\n", "", "a$", "3.0"] {
            assert_eq!(read(Kept::OnNode, ours.as_bytes()).unwrap(), 3, "{ours:?}");
        }
        for other in ["2", "0", "-3", "99999999999"] {
            assert_eq!(why(read(Kept::OnNode, other.as_bytes())), RecipeError::LimitMismatch);
        }
    }

    #[test]
    fn followed_number_is_what_the_node_says() {
        for (data, max) in [("7", 7), ("0", 0), ("-1", 0), ("x", 3), ("", 3)] {
            assert_eq!(read(Kept::OnNodeFollowed, data.as_bytes()).unwrap(), max, "{data}");
        }
    }

    #[test]
    fn shared_count_is_four_bytes() {
        let count = || Kept::SharedCount("/count".into());
        assert_eq!(read(count(), &[0, 0, 1, 0]).unwrap(), 256);
        assert_eq!(read(count(), &(-1_i32).to_be_bytes()).unwrap(), 0);
        assert_eq!(why(read(count(), b"3")), RecipeError::Unreadable);
        assert_eq!(Limit { own: 3, kept: count() }.bytes(258), [0, 0, 1, 2]);
        assert_eq!(Limit { own: 3, kept: Kept::OnNode }.bytes(258), b"258");
    }
}
