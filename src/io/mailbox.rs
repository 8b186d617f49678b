//! The queue of one watch handle.
//!
//! There may be 100,000 of them, nearly all empty: a channel for each would take half a kilobyte
//! before its first event and two with it, a mailbox takes 100 bytes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crossbeam_channel::Sender;
use parking_lot::{Condvar, Mutex};

use crate::session::event::WatchedEvent;

/// Makes a mailbox. It is over when its last [`Post`] is dropped and its last event taken.
pub(crate) fn mailbox() -> (Post, Mailbox) {
    let common = Arc::new(Common {
        inside: Mutex::new(Inside::default()),
        came: Condvar::new(),
        posts: AtomicUsize::new(1),
    });
    (Post(common.clone()), Mailbox(common))
}

#[derive(Debug)]
struct Common {
    inside: Mutex<Inside>,
    came: Condvar,
    posts: AtomicUsize,
}

#[derive(Debug, Default)]
struct Inside {
    events: VecDeque<WatchedEvent>,
    /// Nothing comes any more.
    over: bool,
    /// Whether somebody waits for `came` who was not called yet.
    waited_for: bool,
    /// Dropped when something happens.
    bell: Option<Sender<()>>,
}

/// The end where events are put in.
#[derive(Debug)]
pub(crate) struct Post(Arc<Common>);

impl Post {
    /// Never waits for whoever reads, but for the moment in which he takes an event out. Says
    /// whether somebody is to be [called](Self::call): once for all events of a read, since each
    /// call may give the CPU to the reader, who would find one event at a time.
    #[must_use = "whoever waits must be called"]
    pub(crate) fn put(&self, event: WatchedEvent) -> bool {
        let mut inside = self.0.inside.lock();
        inside.events.push_back(event);
        std::mem::take(&mut inside.waited_for) || inside.bell.is_some()
    }

    /// Wakes whoever waits.
    pub(crate) fn call(&self) {
        let bell = self.0.inside.lock().bell.take();
        self.0.came.notify_all();
        drop(bell);
    }
}

impl Clone for Post {
    fn clone(&self) -> Self {
        self.0.posts.fetch_add(1, Ordering::Relaxed);
        Self(self.0.clone())
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        if self.0.posts.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.inside.lock().over = true;
            self.call();
        }
    }
}

/// Why there is no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nothing {
    Yet,
    /// And there will be none.
    Ever,
}

/// The end where events are taken out, by any number of threads.
#[derive(Debug)]
pub(crate) struct Mailbox(Arc<Common>);

impl Mailbox {
    pub(crate) fn try_take(&self) -> Result<WatchedEvent, Nothing> {
        self.0.inside.lock().take()
    }

    /// Waits until `deadline`, or without a limit.
    pub(crate) fn take(&self, deadline: Option<Instant>) -> Result<WatchedEvent, Nothing> {
        let mut inside = self.0.inside.lock();
        loop {
            let taken = inside.take();
            if taken != Err(Nothing::Yet) {
                return taken;
            }
            inside.waited_for = true;
            match deadline {
                None => self.0.came.wait(&mut inside),
                Some(deadline) => {
                    if self.0.came.wait_until(&mut inside, deadline).timed_out() {
                        return inside.take();
                    }
                }
            }
        }
    }

    /// Waits until there is an event or there will be none, and leaves it inside. `false` if there
    /// was none until `deadline`.
    pub(crate) fn wait(&self, deadline: Instant) -> bool {
        let mut inside = self.0.inside.lock();
        while !inside.has_news() {
            inside.waited_for = true;
            if self.0.came.wait_until(&mut inside, deadline).timed_out() {
                return inside.has_news();
            }
        }
        true
    }

    /// Whether there is an event, or there will be none.
    pub(crate) fn has_news(&self) -> bool {
        self.0.inside.lock().has_news()
    }

    /// Whether nothing comes any more; events may be left inside.
    pub(crate) fn is_over(&self) -> bool {
        self.0.inside.lock().over
    }

    /// Drops `bell` as soon as there is an event, or there will be none: for those who wait for
    /// other things too. It replaces the bell before it.
    pub(crate) fn ring(&self, bell: Sender<()>) {
        let mut inside = self.0.inside.lock();
        let unused = if inside.has_news() { Some(bell) } else { inside.bell.replace(bell) };
        drop(inside);
        drop(unused);
    }
}

impl Inside {
    fn has_news(&self) -> bool {
        self.over || !self.events.is_empty()
    }

    fn take(&mut self) -> Result<WatchedEvent, Nothing> {
        match self.events.pop_front() {
            Some(event) => Ok(event),
            None if self.over => Err(Nothing::Ever),
            None => Err(Nothing::Yet),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::event::EventKind;
    use crate::session::state::SessionState;
    use std::thread;
    use std::time::Duration;

    fn event(n: i64) -> WatchedEvent {
        let state = SessionState::Connected;
        WatchedEvent { kind: EventKind::Created, path: "/a".into(), state, zxid: Some(n) }
    }

    fn put(post: &Post, n: i64) {
        if post.put(event(n)) {
            post.call();
        }
    }

    fn soon() -> Option<Instant> {
        Some(Instant::now() + Duration::from_millis(20))
    }

    fn in_time() -> Option<Instant> {
        Some(Instant::now() + Duration::from_secs(20))
    }

    #[test]
    fn it_gives_events_in_order_then_nothing_ever() {
        let (post, mailbox) = mailbox();
        assert_eq!(mailbox.try_take(), Err(Nothing::Yet));
        assert_eq!(mailbox.take(soon()), Err(Nothing::Yet));
        let second = post.clone();
        put(&post, 1);
        drop(post);
        put(&second, 2);
        assert!(!mailbox.is_over());
        drop(second);
        assert!(mailbox.is_over());
        assert_eq!(mailbox.take(None), Ok(event(1)));
        assert_eq!(mailbox.try_take(), Ok(event(2)));
        assert_eq!(mailbox.take(None), Err(Nothing::Ever));
    }

    #[test]
    fn whoever_waits_is_woken_by_an_event_and_by_the_end() {
        let (post, mailbox) = mailbox();
        thread::scope(|scope| {
            let readers: Vec<_> = (0..3).map(|_| scope.spawn(|| mailbox.take(in_time()))).collect();
            thread::sleep(Duration::from_millis(20));
            put(&post, 1);
            thread::sleep(Duration::from_millis(20));
            drop(post);
            let mut took: Vec<_> = readers.into_iter().map(|r| r.join().unwrap().is_ok()).collect();
            took.sort_unstable();
            assert_eq!(took, [false, false, true]);
        });
    }

    #[test]
    fn no_event_of_many_is_lost_between_two_threads() {
        let (post, mailbox) = mailbox();
        let putter = thread::spawn(move || (0..20_000).for_each(|n| put(&post, n)));
        for n in 0..20_000 {
            assert_eq!(mailbox.take(in_time()), Ok(event(n)));
        }
        assert_eq!(mailbox.take(in_time()), Err(Nothing::Ever));
        putter.join().unwrap();
    }

    #[test]
    fn one_call_is_asked_for_many_events() {
        let (post, mailbox) = mailbox();
        assert!(!post.put(event(0)), "nobody waits");
        mailbox.try_take().unwrap();
        thread::scope(|scope| {
            let reader = scope.spawn(|| [mailbox.take(in_time()), mailbox.take(in_time())]);
            while !mailbox.0.inside.lock().waited_for {
                thread::yield_now();
            }
            assert!(post.put(event(1)));
            assert!(!post.put(event(2)), "it was asked for");
            post.call();
            assert_eq!(reader.join().unwrap(), [Ok(event(1)), Ok(event(2))]);
        });
    }

    #[test]
    fn the_bell_rings_for_what_is_there_what_comes_and_the_end() {
        use crossbeam_channel::TryRecvError::{Disconnected, Empty};
        let (post, mailbox) = mailbox();
        let ring = || {
            let (bell, rung) = crossbeam_channel::bounded(0);
            mailbox.ring(bell);
            rung
        };
        let first = ring();
        assert_eq!(first.try_recv(), Err(Empty));
        put(&post, 1);
        assert_eq!(first.try_recv(), Err(Disconnected));
        assert_eq!(ring().try_recv(), Err(Disconnected), "it is still there");
        mailbox.try_take().unwrap();
        let last = ring();
        assert_eq!(last.try_recv(), Err(Empty));
        drop(post);
        assert_eq!(last.try_recv(), Err(Disconnected));
        assert_eq!(ring().try_recv(), Err(Disconnected));
    }
}
