//! The checker's primitives under the names of the library's `io::sync`.

use std::ops::{Deref, DerefMut};

pub(crate) use loom::sync::{Arc, atomic};

pub(crate) use self::clock::Instant;

/// As the standard library's, of one whose first value is a constant: the checker makes it when it
/// is first asked for.
macro_rules! of_threads {
    ($(#[$doc:meta])* static $name:ident: $of:ty = const $first:block;) => {
        loom::thread_local! {
            $(#[$doc])*
            static $name: $of = $first;
        }
    };
}
pub(crate) use of_threads as thread_local;

pub(crate) mod thread {
    use std::time::Duration;

    pub(crate) use loom::thread::{Thread, current};

    /// Ends by an unpark or by the clock.
    pub(crate) fn park_timeout(limit: Duration) {
        let until = super::clock::Instant::now() + limit;
        super::clock::unpark_at_ticks(&current());
        if super::clock::Instant::now() < until && !super::clock::is_running() {
            loom::thread::park();
        }
        super::clock::forget(&current());
    }
}

/// A clock that stands still until a model lets time pass.
pub(crate) mod clock {
    use std::ops::Add;
    use std::sync::Mutex;
    use std::time::Duration;

    use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use loom::thread::Thread;

    /// A point in time, in milliseconds.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub(crate) struct Instant(usize);

    impl Instant {
        pub(crate) fn now() -> Self {
            // Each look sees the present: the clocks of a machine do not run apart.
            Self(NOW.fetch_add(0, Ordering::AcqRel))
        }

        pub(crate) fn saturating_duration_since(self, earlier: Self) -> Duration {
            Duration::from_millis(self.0.saturating_sub(earlier.0) as u64)
        }
    }

    impl Add<Duration> for Instant {
        type Output = Self;

        fn add(self, more: Duration) -> Self {
            Self(self.0 + more.as_millis() as usize)
        }
    }

    loom::lazy_static! {
        static ref NOW: AtomicUsize = AtomicUsize::new(0);
        static ref RUNNING: AtomicBool = AtomicBool::new(false);
    }

    /// Who waits for time to pass. The checker runs one thread at a time and does not switch
    /// inside: an ordinary lock is never waited for.
    static SLEEPERS: Mutex<Vec<Thread>> = Mutex::new(Vec::new());

    pub(crate) fn unpark_at_ticks(thread: &Thread) {
        SLEEPERS.lock().unwrap().push(thread.clone());
    }

    /// Waits for it no more. The checker's `unpark` also ends a wait for a lock, wrongly: nobody may
    /// be noted here any longer than he parks.
    pub(crate) fn forget(thread: &Thread) {
        SLEEPERS.lock().unwrap().retain(|other| other.id() != thread.id());
    }

    /// Lets more time pass than anybody's limit.
    pub(crate) fn tick() {
        NOW.fetch_add(1_000, Ordering::AcqRel);
        let sleepers = std::mem::take(&mut *SLEEPERS.lock().unwrap());
        sleepers.iter().for_each(Thread::unpark);
    }

    /// Lets time run from now on: whoever waits with a limit does not wait any more.
    pub(crate) fn run() {
        RUNNING.fetch_or(true, Ordering::AcqRel);
        tick();
    }

    pub(crate) fn is_running() -> bool {
        RUNNING.fetch_or(false, Ordering::AcqRel)
    }

    /// Before each run.
    pub(crate) fn reset() {
        SLEEPERS.lock().unwrap().clear();
    }
}

/// As `parking_lot`'s.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

pub(crate) struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
    /// Gone while its holder waits on a condition.
    held: Option<loom::sync::MutexGuard<'a, T>>,
}

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard { mutex: self, held: Some(self.0.lock().unwrap()) }
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap()
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.held.as_ref().expect("held but while waiting")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.held.as_mut().expect("held but while waiting")
    }
}

/// As `parking_lot`'s, and what the standard one is made of.
#[derive(Debug, Default)]
pub(crate) struct Condvar {
    /// See [`clock::SLEEPERS`] for why an ordinary lock will do.
    waiting: std::sync::Mutex<Vec<std::sync::Arc<Waiter>>>,
}

#[derive(Debug)]
struct Waiter {
    thread: loom::thread::Thread,
    called: std::sync::atomic::AtomicBool,
}

impl Condvar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, until: Instant) {
        self.sleep(guard, Some(until));
    }

    pub(crate) fn notify_all(&self) {
        let called = std::mem::take(&mut *self.waiting.lock().unwrap());
        for waiter in called {
            waiter.called.store(true, std::sync::atomic::Ordering::Relaxed);
            waiter.thread.unpark();
        }
    }

    fn sleep<T>(&self, guard: &mut MutexGuard<'_, T>, until: Option<Instant>) {
        let thread = loom::thread::current();
        if until.is_some() {
            clock::unpark_at_ticks(&thread);
        }
        let waiter = std::sync::Arc::new(Waiter { thread, called: false.into() });
        self.waiting.lock().unwrap().push(waiter.clone());
        guard.held = None;
        while !waiter.called.load(std::sync::atomic::Ordering::Relaxed) {
            if until.is_some_and(|until| Instant::now() >= until || clock::is_running()) {
                break;
            }
            loom::thread::park();
        }
        clock::forget(&waiter.thread);
        self.waiting.lock().unwrap().retain(|other| !std::sync::Arc::ptr_eq(other, &waiter));
        guard.held = Some(guard.mutex.0.lock().unwrap());
    }
}

/// As the standard library's.
pub(crate) mod standard {
    use std::sync::LockResult;
    use std::time::Duration;

    pub(crate) use super::MutexGuard;
    use super::{Instant, clock};

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(super::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
            Ok(self.0.lock())
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct Condvar(super::Condvar);

    impl Condvar {
        pub(crate) fn wait<'a, T>(
            &self,
            mut guard: MutexGuard<'a, T>,
        ) -> LockResult<MutexGuard<'a, T>> {
            self.0.sleep(&mut guard, None);
            Ok(guard)
        }

        /// Gives the guard, and whether the time was over.
        pub(crate) fn wait_timeout<'a, T>(
            &self,
            mut guard: MutexGuard<'a, T>,
            limit: Duration,
        ) -> LockResult<(MutexGuard<'a, T>, bool)> {
            let until = clock::Instant::now() + limit;
            self.0.sleep(&mut guard, Some(until));
            Ok((guard, Instant::now() >= until || clock::is_running()))
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }
}
