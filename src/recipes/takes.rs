//! What all queues have whose items are taken out at once. They differ in what is put, and in what
//! an item tells.

use crate::error::Result;
use crate::recipes::consumer::Supply;
use crate::recipes::consumer_error::ErrorMode;
use crate::recipes::patience::Patience;
use crate::recipes::shelf::{Shelf, Taken};
use crate::recipes::site::Site;

/// Writes the calls that take items out of the shelf of `$queue`, and those that count them.
macro_rules! takes {
    ($queue:ident, $item:ident, $first:literal, $some:literal) => {
        impl $queue {
            /// The ACL of the nodes that are made, parents and items included. Defaults to everybody
            /// everything.
            pub fn acl(mut self, acl: impl IntoIterator<Item = Acl>) -> Self {
                self.shelf.site.set_acl(acl);
                self
            }

            /// Lets this handle put only while there are no more than `most` items then: see
            /// [`Queue`](super::Queue#a-bound). Defaults to any number.
            pub fn max_items(mut self, most: usize) -> Self {
                self.shelf.most = Some(most);
                self
            }

            /// The queue's path.
            pub fn path(&self) -> &str {
                &self.shelf.site.path
            }

            #[doc = concat!("Takes ", $first, " out; waits for one, until the deadline of the")]
            /// client's calls.
            ///
            /// # Errors
            /// * [`Error::Timeout`](crate::Error::Timeout) if none came.
            /// * [`RecipeError::Cancelled`](crate::RecipeError::Cancelled) after
            ///   [`cancel`](Self::cancel).
            /// * Where [`applied`](crate::Error::applied) is [`Unknown`](crate::Applied::Unknown): an item
            ///   may have been taken out, and then is lost.
            /// * [`RecipeError::Unreadable`](crate::RecipeError::Unreadable), in Curator's layouts:
            ///   the first node, which the error names, holds what Curator does not write. It stays,
            ///   and nothing behind it is served until somebody removes it.
            /// * [`Error::TooLarge`](crate::Error::TooLarge), [`Error::Closed`](crate::Error::Closed) and the like.
            ///
            /// # Blocking
            /// Until the deadline of the client's calls at most (30 s by default).
            pub fn take(&self) -> Result<$item> {
                self.shelf.take_one(self.shelf.site.deadline()).map($item::of)
            }

            /// As [`take`](Self::take), for `timeout` at most.
            ///
            /// # Errors
            /// As [`take`](Self::take).
            pub fn take_timeout(&self, timeout: Duration) -> Result<$item> {
                self.shelf.take_one(Instant::now().checked_add(timeout)).map($item::of)
            }

            #[doc = concat!("Takes ", $first, " out if there is one.")]
            ///
            /// # Errors
            /// As [`take`](Self::take).
            pub fn try_take(&self) -> Result<Option<$item>> {
                Ok(self.try_take_all(1)?.into_iter().next())
            }

            #[doc = concat!("Takes out ", $some, ", `most` at most and never those of more than 1,000")]
            /// nodes, in one transaction; waits until there is one, until the deadline of the
            /// client's calls.
            ///
            /// # Errors
            /// As [`take`](Self::take); all of them were taken out, or none.
            ///
            /// # Blocking
            /// Until the deadline of the client's calls at most (30 s by default).
            pub fn take_all(&self, most: usize) -> Result<Vec<$item>> {
                let taken = self.shelf.take(most, self.shelf.site.deadline())?;
                Ok(taken.into_iter().map($item::of).collect())
            }

            /// As [`take_all`](Self::take_all), for `timeout` at most.
            ///
            /// # Errors
            /// As [`take_all`](Self::take_all).
            pub fn take_all_timeout(&self, most: usize, timeout: Duration) -> Result<Vec<$item>> {
                let taken = self.shelf.take(most, Instant::now().checked_add(timeout))?;
                Ok(taken.into_iter().map($item::of).collect())
            }

            /// As [`take_all`](Self::take_all), but takes what is there: none if there is none.
            ///
            /// # Errors
            /// As [`take_all`](Self::take_all).
            pub fn try_take_all(&self, most: usize) -> Result<Vec<$item>> {
                Ok(self.shelf.try_take(most)?.into_iter().map($item::of).collect())
            }

            /// Has each item worked on by `handler`, in a thread, as it is taken out: see [`Consumer`].
            /// An item with which it fails is lost, and told.
            ///
            /// [`Consumer`]: super::Consumer
            pub fn consumer<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
                &self,
                handler: impl FnMut(&$item) -> Result<(), E> + Send + 'static,
            ) -> ConsumerBuilder<$item> {
                let mut shelf = self.shelf.clone();
                shelf.site = shelf.site.apart();
                let takes = Takes { shelf, item: $item::of, name: |item: &$item| item.name.as_str() };
                ConsumerBuilder::new(takes, handler)
            }

            /// How many nodes with items there are: as many as items, unless Curator put several at
            /// once.
            ///
            /// # Errors
            /// Those of every call.
            pub fn len(&self) -> Result<usize> {
                self.shelf.len()
            }

            /// Whether there is no item.
            ///
            /// # Errors
            /// Those of every call.
            pub fn is_empty(&self) -> Result<bool> {
                Ok(self.len()? == 0)
            }

            /// Ends the waits of all threads on this handle and its clones. A take that is on its
            /// way is waited for.
            pub fn cancel(&self) {
                self.shelf.site.cancel();
            }
        }

        impl fmt::Debug for $queue {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($queue)).field("path", &self.path()).finish_non_exhaustive()
            }
        }
    };
}

/// Has items that are taken out at once worked on.
pub(crate) struct Takes<I> {
    pub(crate) shelf: Shelf,
    pub(crate) item: fn(Taken) -> I,
    pub(crate) name: fn(&I) -> &str,
}

impl<I> Supply<I> for Takes<I> {
    fn site(&self) -> &Site {
        &self.shelf.site
    }

    fn next(&self, most: usize, patience: &Patience<'_>) -> Result<Vec<I>> {
        Ok(self.shelf.take_by(most, patience)?.into_iter().map(self.item).collect())
    }

    fn node(&self, item: &I) -> String {
        self.shelf.site.below((self.name)(item))
    }

    fn is_held(&self) -> bool {
        false
    }

    fn settle(&self, _: I, _: Option<ErrorMode>) -> Result<()> {
        Ok(())
    }
}

pub(crate) use takes;
