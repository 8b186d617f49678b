//! What queues have that are put into: with priorities, with times, with ids; each with holds and
//! without.

/// Writes the calls that put items with a priority, or none, into `$shelf` of `$queue`.
macro_rules! puts {
    ($queue:ident, $($shelf:ident).+) => {
        impl $queue {
            /// Puts an item, with priority 100 in Kazoo's layout and with none in others. Gives the
            /// name of its node.
            ///
            /// # Errors
            /// * Where [`applied`](crate::Error::applied) is [`Unknown`](crate::Applied::Unknown): the item
            ///   was put once or not at all.
            /// * [`Error::Timeout`](crate::Error::Timeout) if a queue with [`max_items`](Self::max_items) had no room.
            /// * [`RecipeError::Cancelled`](crate::RecipeError::Cancelled) after
            ///   [`cancel`](Self::cancel).
            /// * [`Error::Invalid`](crate::Error::Invalid) if it is larger than the servers take;
            ///   [`Code::NoAuth`](crate::Code::NoAuth) and the like.
            ///
            /// # Blocking
            /// Until the deadline of the client's calls at most (30 s by default).
            pub fn put(&self, item: impl AsRef<[u8]>) -> Result<String> {
                let room = Room::Until(self.$($shelf).+.site.deadline());
                self.$($shelf).+.one_put(self.$($shelf).+.put_alike([item.as_ref()], None, room))
            }

            /// As [`put`](Self::put), but waits for `timeout` at most.
            ///
            /// # Errors
            /// As [`put`](Self::put).
            pub fn put_timeout(
                &self,
                item: impl AsRef<[u8]>,
                timeout: Duration,
            ) -> Result<String> {
                let room = Room::Until(Instant::now().checked_add(timeout));
                self.$($shelf).+.one_put(self.$($shelf).+.put_alike([item.as_ref()], None, room))
            }

            /// As [`put`](Self::put), but `None` if there is no room now.
            ///
            /// # Errors
            /// As [`put`](Self::put).
            pub fn try_put(&self, item: impl AsRef<[u8]>) -> Result<Option<String>> {
                let put = self.$($shelf).+.put_alike([item.as_ref()], None, Room::Now)?;
                Ok(put.and_then(|names| names.into_iter().next()))
            }

            /// As [`put`](Self::put), with a priority: the smaller is served first. From 0 to 999 in
            /// Kazoo's layout, any in Curator's.
            ///
            /// # Errors
            /// As [`put`](Self::put), and [`Error::Invalid`](crate::Error::Invalid) for a priority that the layout does not
            /// have.
            pub fn put_priority(&self, item: impl AsRef<[u8]>, priority: i32) -> Result<String> {
                let room = Room::Until(self.$($shelf).+.site.deadline());
                let put = self.$($shelf).+.put_alike([item.as_ref()], Some(priority), room);
                self.$($shelf).+.one_put(put)
            }

            /// As [`put_priority`](Self::put_priority), but waits for `timeout` at most.
            ///
            /// # Errors
            /// As [`put_priority`](Self::put_priority).
            pub fn put_priority_timeout(
                &self,
                item: impl AsRef<[u8]>,
                priority: i32,
                timeout: Duration,
            ) -> Result<String> {
                let room = Room::Until(Instant::now().checked_add(timeout));
                let put = self.$($shelf).+.put_alike([item.as_ref()], Some(priority), room);
                self.$($shelf).+.one_put(put)
            }

            /// As [`put_priority`](Self::put_priority), but `None` if there is no room now.
            ///
            /// # Errors
            /// As [`put_priority`](Self::put_priority).
            pub fn try_put_priority(
                &self,
                item: impl AsRef<[u8]>,
                priority: i32,
            ) -> Result<Option<String>> {
                let put = self.$($shelf).+.put_alike([item.as_ref()], Some(priority), Room::Now)?;
                Ok(put.and_then(|names| names.into_iter().next()))
            }

            /// Puts items, all or none, in this order, with a priority, or with `None` as
            /// [`put`](Self::put) does. Gives the names of their nodes.
            ///
            /// # Errors
            /// As [`put_priority`](Self::put_priority); together they must not be larger than the
            /// servers take, nor more than the queue may hold.
            pub fn put_all<I: AsRef<[u8]>>(
                &self,
                items: impl IntoIterator<Item = I>,
                priority: impl Into<Option<i32>>,
            ) -> Result<Vec<String>> {
                let items: Vec<I> = items.into_iter().collect();
                let (items, room) = (items.iter().map(AsRef::as_ref), self.$($shelf).+.site.deadline());
                let put = self.$($shelf).+.put_alike(items, priority.into(), Room::Until(room));
                self.$($shelf).+.all_put(put)
            }

            /// As [`put_all`](Self::put_all), but waits for `timeout` at most.
            ///
            /// # Errors
            /// As [`put_all`](Self::put_all).
            pub fn put_all_timeout<I: AsRef<[u8]>>(
                &self,
                items: impl IntoIterator<Item = I>,
                priority: impl Into<Option<i32>>,
                timeout: Duration,
            ) -> Result<Vec<String>> {
                let room = Room::Until(Instant::now().checked_add(timeout));
                let items: Vec<I> = items.into_iter().collect();
                let items = items.iter().map(AsRef::as_ref);
                self.$($shelf).+.all_put(self.$($shelf).+.put_alike(items, priority.into(), room))
            }

            /// As [`put_all`](Self::put_all), but `None` if there is no room for all now.
            ///
            /// # Errors
            /// As [`put_all`](Self::put_all).
            pub fn try_put_all<I: AsRef<[u8]>>(
                &self,
                items: impl IntoIterator<Item = I>,
                priority: impl Into<Option<i32>>,
            ) -> Result<Option<Vec<String>>> {
                let items: Vec<I> = items.into_iter().collect();
                let items = items.iter().map(AsRef::as_ref);
                self.$($shelf).+.put_alike(items, priority.into(), Room::Now)
            }
        }
    };
}

/// Writes the calls that put items with a time into `$shelf` of `$queue`.
macro_rules! delayed_puts {
    ($queue:ident, $($shelf:ident).+) => {
        impl $queue {
            /// Puts an item that is due after `delay`. Gives the name of its node.
            ///
            /// # Errors
            /// As [`Queue::put`](super::Queue::put), and [`Error::Invalid`](crate::Error::Invalid) for a delay that no clock
            /// shows.
            ///
            /// # Blocking
            /// Until the deadline of the client's calls at most (30 s by default).
            pub fn put(&self, item: impl AsRef<[u8]>, delay: Duration) -> Result<String> {
                let (shelf, due) = (&self.$($shelf).+, wall_clock::after(delay));
                let room = Room::Until(shelf.site.deadline());
                shelf.one_put(shelf.put_due([item.as_ref()], due, room))
            }

            /// As [`put`](Self::put), but waits for `timeout` at most.
            ///
            /// # Errors
            /// As [`put`](Self::put).
            pub fn put_timeout(
                &self,
                item: impl AsRef<[u8]>,
                delay: Duration,
                timeout: Duration,
            ) -> Result<String> {
                let (shelf, due) = (&self.$($shelf).+, wall_clock::after(delay));
                let room = Room::Until(Instant::now().checked_add(timeout));
                shelf.one_put(shelf.put_due([item.as_ref()], due, room))
            }

            /// As [`put`](Self::put), but `None` if there is no room now.
            ///
            /// # Errors
            /// As [`put`](Self::put).
            pub fn try_put(
                &self,
                item: impl AsRef<[u8]>,
                delay: Duration,
            ) -> Result<Option<String>> {
                let due = wall_clock::after(delay);
                let put = self.$($shelf).+.put_due([item.as_ref()], due, Room::Now)?;
                Ok(put.and_then(|names| names.into_iter().next()))
            }

            /// Puts an item that is due at `time`, which may have passed. Gives the name of its node.
            ///
            /// # Errors
            /// As [`Queue::put`](super::Queue::put), and [`Error::Invalid`](crate::Error::Invalid) for a time that is not
            /// after 1970.
            ///
            /// # Blocking
            /// Until the deadline of the client's calls at most (30 s by default).
            pub fn put_at(&self, item: impl AsRef<[u8]>, time: SystemTime) -> Result<String> {
                let shelf = &self.$($shelf).+;
                let room = Room::Until(shelf.site.deadline());
                shelf.one_put(shelf.put_due([item.as_ref()], Some(time), room))
            }

            /// As [`put_at`](Self::put_at), but waits for `timeout` at most.
            ///
            /// # Errors
            /// As [`put_at`](Self::put_at).
            pub fn put_at_timeout(
                &self,
                item: impl AsRef<[u8]>,
                time: SystemTime,
                timeout: Duration,
            ) -> Result<String> {
                let shelf = &self.$($shelf).+;
                let room = Room::Until(Instant::now().checked_add(timeout));
                shelf.one_put(shelf.put_due([item.as_ref()], Some(time), room))
            }

            /// As [`put_at`](Self::put_at), but `None` if there is no room now.
            ///
            /// # Errors
            /// As [`put_at`](Self::put_at).
            pub fn try_put_at(
                &self,
                item: impl AsRef<[u8]>,
                time: SystemTime,
            ) -> Result<Option<String>> {
                let put = self.$($shelf).+.put_due([item.as_ref()], Some(time), Room::Now)?;
                Ok(put.and_then(|names| names.into_iter().next()))
            }

            /// Puts items that are due after `delay`, all or none, to come in this order. Gives the
            /// names of their nodes.
            ///
            /// # Errors
            /// As [`put`](Self::put); together they must not be larger than the servers take, nor
            /// more than the queue may hold.
            pub fn put_all<I: AsRef<[u8]>>(
                &self,
                items: impl IntoIterator<Item = I>,
                delay: Duration,
            ) -> Result<Vec<String>> {
                let (shelf, due) = (&self.$($shelf).+, wall_clock::after(delay));
                let items: Vec<I> = items.into_iter().collect();
                let room = Room::Until(shelf.site.deadline());
                shelf.all_put(shelf.put_due(items.iter().map(AsRef::as_ref), due, room))
            }

            /// As [`put_all`](Self::put_all), but waits for `timeout` at most.
            ///
            /// # Errors
            /// As [`put_all`](Self::put_all).
            pub fn put_all_timeout<I: AsRef<[u8]>>(
                &self,
                items: impl IntoIterator<Item = I>,
                delay: Duration,
                timeout: Duration,
            ) -> Result<Vec<String>> {
                let (shelf, due) = (&self.$($shelf).+, wall_clock::after(delay));
                let room = Room::Until(Instant::now().checked_add(timeout));
                let items: Vec<I> = items.into_iter().collect();
                shelf.all_put(shelf.put_due(items.iter().map(AsRef::as_ref), due, room))
            }

            /// As [`put_all`](Self::put_all), but `None` if there is no room for all now.
            ///
            /// # Errors
            /// As [`put_all`](Self::put_all).
            pub fn try_put_all<I: AsRef<[u8]>>(
                &self,
                items: impl IntoIterator<Item = I>,
                delay: Duration,
            ) -> Result<Option<Vec<String>>> {
                let (shelf, due) = (&self.$($shelf).+, wall_clock::after(delay));
                let items: Vec<I> = items.into_iter().collect();
                shelf.put_due(items.iter().map(AsRef::as_ref), due, Room::Now)
            }

            /// When the first item is due, or was; `None` if there is none.
            ///
            /// # Errors
            /// Those of every call.
            pub fn first_due(&self) -> Result<Option<SystemTime>> {
                let shelf = &self.$($shelf).+;
                shelf.site.patiently(shelf.site.deadline(), "first_due", |patience| {
                    let entries = shelf.list(patience)?;
                    Ok(entries.first().map(|first| wall_clock::time_of(first.rank)))
                })
            }
        }
    };
}

/// Writes the calls that put items with ids into `$shelf` of `$queue`.
macro_rules! puts_with_ids {
    ($queue:ident, $($shelf:ident).+) => {
        impl $queue {
            /// Puts an item with an id. Gives the name of its node.
            ///
            /// # Errors
            /// As [`Queue::put`](super::Queue::put), and [`Error::Invalid`](crate::Error::Invalid) for an id that is empty or
            /// has a character that ZooKeeper forbids in names.
            ///
            /// # Blocking
            /// Until the deadline of the client's calls at most (30 s by default).
            pub fn put(&self, item: impl AsRef<[u8]>, id: &str) -> Result<String> {
                let shelf = &self.$($shelf).+;
                let room = Room::Until(shelf.site.deadline());
                shelf.one_put(shelf.put_with_ids([(item, id)], room))
            }

            /// As [`put`](Self::put), but waits for `timeout` at most.
            ///
            /// # Errors
            /// As [`put`](Self::put).
            pub fn put_timeout(
                &self,
                item: impl AsRef<[u8]>,
                id: &str,
                timeout: Duration,
            ) -> Result<String> {
                let shelf = &self.$($shelf).+;
                let room = Room::Until(Instant::now().checked_add(timeout));
                shelf.one_put(shelf.put_with_ids([(item, id)], room))
            }

            /// As [`put`](Self::put), but `None` if there is no room now.
            ///
            /// # Errors
            /// As [`put`](Self::put).
            pub fn try_put(&self, item: impl AsRef<[u8]>, id: &str) -> Result<Option<String>> {
                let put = self.$($shelf).+.put_with_ids([(item, id)], Room::Now)?;
                Ok(put.and_then(|names| names.into_iter().next()))
            }

            /// Puts items with their ids, all or none, in this order. Gives the names of their nodes.
            ///
            /// # Errors
            /// As [`put`](Self::put); together they must not be larger than the servers take, nor
            /// more than the queue may hold.
            pub fn put_all<I: AsRef<[u8]>, S: AsRef<str>>(
                &self,
                items: impl IntoIterator<Item = (I, S)>,
            ) -> Result<Vec<String>> {
                let shelf = &self.$($shelf).+;
                let room = Room::Until(shelf.site.deadline());
                shelf.all_put(shelf.put_with_ids(items, room))
            }

            /// As [`put_all`](Self::put_all), but waits for `timeout` at most.
            ///
            /// # Errors
            /// As [`put_all`](Self::put_all).
            pub fn put_all_timeout<I: AsRef<[u8]>, S: AsRef<str>>(
                &self,
                items: impl IntoIterator<Item = (I, S)>,
                timeout: Duration,
            ) -> Result<Vec<String>> {
                let shelf = &self.$($shelf).+;
                let room = Room::Until(Instant::now().checked_add(timeout));
                shelf.all_put(shelf.put_with_ids(items, room))
            }

            /// As [`put_all`](Self::put_all), but `None` if there is no room for all now.
            ///
            /// # Errors
            /// As [`put_all`](Self::put_all).
            pub fn try_put_all<I: AsRef<[u8]>, S: AsRef<str>>(
                &self,
                items: impl IntoIterator<Item = (I, S)>,
            ) -> Result<Option<Vec<String>>> {
                self.$($shelf).+.put_with_ids(items, Room::Now)
            }

            /// Whether there is an item with this id.
            ///
            /// # Errors
            /// Those of every call, and [`Error::Invalid`](crate::Error::Invalid) for an id that is empty.
            pub fn contains(&self, id: &str) -> Result<bool> {
                let shelf = &self.$($shelf).+;
                let id = shelf.fitting_id("contains", id)?;
                shelf.site.patiently(shelf.site.deadline(), "contains", |patience| {
                    Ok(shelf.list(patience)?.iter().any(|entry| entry.id() == id))
                })
            }
        }
    };
}

pub(crate) use {delayed_puts, puts, puts_with_ids};
