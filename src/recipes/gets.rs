//! What all queues have whose items are held while they are worked on. They differ in what is put.

/// Writes the calls that get hold of items of `$queue`, and those that count them.
macro_rules! gets {
    ($queue:ident, $first:literal, $some:literal) => {
        impl $queue {
            /// The ACL of the nodes that are made, parents and items included. Defaults to everybody
            /// everything.
            pub fn acl(mut self, acl: impl IntoIterator<Item = Acl>) -> Self {
                self.holds.set_acl(acl);
                self
            }

            /// Lets this handle put only while there are no more than `most` items then, those that
            /// are held included: see [`Queue`](super::Queue#a-bound). Defaults to any number.
            pub fn max_items(mut self, most: usize) -> Self {
                self.holds.entries.most = Some(most);
                self
            }

            /// The queue's path.
            pub fn path(&self) -> &str {
                &self.holds.site.path
            }

            #[doc = concat!(" Gets hold of ", $first, "; waits for one, until the deadline of the")]
            /// client's calls. A session that expires meanwhile is replaced by the next.
            ///
            /// # Errors
            /// * [`Error::Timeout`](crate::Error::Timeout) if none came; nothing is held.
            /// * [`RecipeError::Cancelled`](crate::RecipeError::Cancelled) after
            ///   [`cancel`](Self::cancel).
            /// * [`Error::TooLarge`](crate::Error::TooLarge), [`Code::NoAuth`](crate::Code::NoAuth),
            ///   [`Error::Closed`](crate::Error::Closed) and the like.
            ///
            /// # Blocking
            /// Until the deadline of the client's calls at most (30 s by default).
            pub fn get(&self) -> Result<HeldItem> {
                self.holds.get_one(self.holds.site.deadline())
            }

            /// As [`get`](Self::get), for `timeout` at most.
            ///
            /// # Errors
            /// As [`get`](Self::get).
            pub fn get_timeout(&self, timeout: Duration) -> Result<HeldItem> {
                self.holds.get_one(Instant::now().checked_add(timeout))
            }

            #[doc = concat!(" Gets hold of ", $first, ", if there is one.")]
            ///
            /// # Errors
            /// As [`get`](Self::get).
            pub fn try_get(&self) -> Result<Option<HeldItem>> {
                Ok(self.try_get_all(1)?.into_iter().next())
            }

            #[doc = concat!(" Gets hold of ", $some, ", `most` at most and never more than 1,000;")]
            /// waits until there is one, until the deadline of the client's calls. Each is held for
            /// itself.
            ///
            /// # Errors
            /// As [`get`](Self::get).
            ///
            /// # Blocking
            /// Until the deadline of the client's calls at most (30 s by default).
            pub fn get_all(&self, most: usize) -> Result<Vec<HeldItem>> {
                self.holds.get_until(most, self.holds.site.deadline())
            }

            /// As [`get_all`](Self::get_all), for `timeout` at most.
            ///
            /// # Errors
            /// As [`get`](Self::get).
            pub fn get_all_timeout(&self, most: usize, timeout: Duration) -> Result<Vec<HeldItem>> {
                self.holds.get_until(most, Instant::now().checked_add(timeout))
            }

            /// As [`get_all`](Self::get_all), but of those that are there: none if there is none.
            ///
            /// # Errors
            /// As [`get`](Self::get).
            pub fn try_get_all(&self, most: usize) -> Result<Vec<HeldItem>> {
                self.holds.try_get(most)
            }

            /// Has each item worked on by `handler`, in a thread, while it is held: see [`Consumer`].
            /// When it returns the item is consumed; when it fails, see [`ErrorMode`].
            ///
            /// [`Consumer`]: super::Consumer
            /// [`ErrorMode`]: super::ErrorMode
            pub fn consumer<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
                &self,
                handler: impl FnMut(&HeldItem) -> Result<(), E> + Send + 'static,
            ) -> ConsumerBuilder<HeldItem> {
                let mut holds = self.holds.clone();
                holds.site = holds.site.apart();
                ConsumerBuilder::new(holds, handler)
            }

            /// How many nodes with items there are, those that are held included.
            ///
            /// # Errors
            /// Those of every call.
            pub fn len(&self) -> Result<usize> {
                self.holds.entries.len()
            }

            /// Whether there is no item.
            ///
            /// # Errors
            /// Those of every call.
            pub fn is_empty(&self) -> Result<bool> {
                Ok(self.len()? == 0)
            }

            /// Ends the waits of all threads on this handle and its clones. Items that are held are not
            /// concerned.
            pub fn cancel(&self) {
                self.holds.site.cancel();
            }
        }

        impl fmt::Debug for $queue {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($queue))
                    .field("path", &self.path())
                    .finish_non_exhaustive()
            }
        }
    };
}

pub(crate) use gets;
