//! What the threads of one client share: queues, a few published words, the count of requests.
//!
//! Every word has one writer, the IO thread. Nothing here is locked on the way of a request,
//! but for the gate when it is full.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering, fence};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use parking_lot::{Condvar, Mutex};

use crate::io::crowd::Crowd;
use crate::io::dispatch::Event;
use crate::io::driver::{Command, Submit};
use crate::io::life::{Life, Loss};
use crate::session::state::SessionState;

/// Shared by handles, watches, guards and the two threads.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) requests: Sender<Command>,
    pub(crate) events: Sender<Event>,
    waker: mio::Waker,
    /// Whether the IO thread sleeps, or is about to, and must be woken.
    sleeping: AtomicBool,
    /// Epoch << 8 | state, so that both are read at once.
    word: AtomicU64,
    session_id: AtomicI64,
    last_zxid: AtomicI64,
    timeout_ms: AtomicU64,
    /// Nanoseconds since `origin` until which the session surely lives; 0 for never.
    lease_until: AtomicU64,
    watches: AtomicUsize,
    origin: Instant,
    pub(crate) gate: Gate,
    pub(crate) crowd: Crowd,
    next_id: AtomicU64,
    pid: u32,
    /// Whether a server acknowledged the end of the session, or there was none to end.
    session_ended: AtomicBool,
    host: Mutex<Option<String>>,
    /// The present session's life; over while there is none.
    life: Mutex<Arc<Life>>,
    /// Disconnects when the thread named has ended.
    io_done: Receiver<()>,
    event_done: Receiver<()>,
}

/// A point in time as nanoseconds since the client was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packed(u64);

/// The request could not be queued: the IO thread has ended.
#[derive(Debug)]
pub(crate) struct Ended;

impl Shared {
    pub(crate) fn new(
        requests: Sender<Command>,
        events: Sender<Event>,
        waker: mio::Waker,
        limit: usize,
        io_done: Receiver<()>,
        event_done: Receiver<()>,
    ) -> Self {
        Self {
            requests,
            events,
            waker,
            sleeping: AtomicBool::new(false),
            word: AtomicU64::new(1 << 8 | u64::from(SessionState::Connecting.as_u8())),
            session_id: AtomicI64::new(0),
            last_zxid: AtomicI64::new(0),
            timeout_ms: AtomicU64::new(0),
            lease_until: AtomicU64::new(0),
            watches: AtomicUsize::new(0),
            origin: Instant::now(),
            gate: Gate::new(limit),
            crowd: Crowd::default(),
            next_id: AtomicU64::new(1),
            pid: std::process::id(),
            session_ended: AtomicBool::new(false),
            host: Mutex::new(None),
            life: Mutex::new(Arc::new(Life::over(Loss::Silence))),
            io_done,
            event_done,
        }
    }

    /// Queues a command and wakes the IO thread if it sleeps.
    pub(crate) fn command(&self, command: Command) -> Result<(), Ended> {
        self.requests.send(command).map_err(|refused| {
            if let Command::Submit(Submit { request, .. }) = refused.into_inner() {
                let mut token = request.token;
                token.defuse();
            }
            Ended
        })?;
        self.wake();
        Ok(())
    }

    /// Wakes the IO thread, but only if it said that it sleeps: most wake-ups are not needed,
    /// and each costs a system call.
    ///
    /// No wake-up is lost. The caller *queues, then looks at the flag*; the IO thread *sets the
    /// flag, then looks at the queue* ([`Shared::may_sleep`]). The two fences put these four steps
    /// into one order in which at least one of the two looks sees the other's step: either the
    /// caller sees the flag and wakes, or the IO thread sees the request and does not sleep.
    fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::SeqCst) {
            // Fails only if the descriptor is gone, and then so is the IO thread.
            let _ = self.waker.wake();
        }
    }

    /// The IO thread announces that it is about to sleep. False if there is work after all.
    pub(crate) fn may_sleep(&self, queue: &Receiver<Command>) -> bool {
        self.sleeping.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if queue.is_empty() {
            return true;
        }
        self.sleeping.store(false, Ordering::SeqCst);
        false
    }

    pub(crate) fn awake(&self) {
        self.sleeping.store(false, Ordering::SeqCst);
    }

    pub(crate) fn publish(&self, epoch: u64, state: SessionState) {
        self.word.store(epoch << 8 | u64::from(state.as_u8()), Ordering::SeqCst);
    }

    /// The session's number and state, read together.
    pub(crate) fn standing(&self) -> (u64, SessionState) {
        let word = self.word.load(Ordering::SeqCst);
        (word >> 8, SessionState::from_u8((word & 0xff) as u8))
    }

    pub(crate) fn publish_session(&self, id: i64, timeout: Duration) {
        self.session_id.store(id, Ordering::Release);
        let ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        self.timeout_ms.store(ms, Ordering::Release);
    }

    pub(crate) fn session_id(&self) -> i64 {
        self.session_id.load(Ordering::Acquire)
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms.load(Ordering::Acquire))
    }

    pub(crate) fn publish_progress(&self, zxid: i64, lease: Option<Instant>, watches: usize) {
        self.last_zxid.store(zxid, Ordering::Release);
        self.watches.store(watches, Ordering::Release);
        let nanos = lease.map_or(0, |until| {
            let since = until.saturating_duration_since(self.origin);
            u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
        });
        self.lease_until.store(nanos, Ordering::Release);
    }

    pub(crate) fn last_zxid(&self) -> i64 {
        self.last_zxid.load(Ordering::Acquire)
    }

    pub(crate) fn watch_count(&self) -> usize {
        self.watches.load(Ordering::Acquire)
    }

    /// Until when the server cannot have given the session away.
    pub(crate) fn lease_until(&self) -> Option<Instant> {
        match self.lease_until.load(Ordering::Acquire) {
            0 => None,
            nanos => Some(self.origin + Duration::from_nanos(nanos)),
        }
    }

    pub(crate) fn publish_host(&self, host: Option<String>) {
        *self.host.lock() = host;
    }

    pub(crate) fn host(&self) -> Option<String> {
        self.host.lock().clone()
    }

    pub(crate) fn publish_life(&self, life: Arc<Life>) {
        *self.life.lock() = life;
    }

    pub(crate) fn life(&self) -> Arc<Life> {
        self.life.lock().clone()
    }

    pub(crate) fn publish_session_ended(&self) {
        self.session_ended.store(true, Ordering::Release);
    }

    pub(crate) fn is_session_ended(&self) -> bool {
        self.session_ended.load(Ordering::Acquire)
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// A point in time in eight bytes; `None` for never.
    pub(crate) fn pack(&self, at: Option<Instant>) -> Packed {
        Packed(at.map_or(u64::MAX, |at| {
            let since = at.saturating_duration_since(self.origin);
            u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
        }))
    }

    pub(crate) fn unpack(&self, at: Packed) -> Option<Instant> {
        (at.0 != u64::MAX).then(|| self.origin + Duration::from_nanos(at.0))
    }

    /// Whether this process was forked off the one that made the client: then nobody serves it.
    pub(crate) fn is_forked(&self) -> bool {
        std::process::id() != self.pid
    }

    /// Waits until the threads have ended; false if `deadline` came first.
    pub(crate) fn wait_ended(&self, deadline: Instant, events_too: bool) -> bool {
        use crossbeam_channel::RecvTimeoutError::Timeout;
        if self.io_done.recv_deadline(deadline) == Err(Timeout) {
            return false;
        }
        !events_too || self.event_done.recv_deadline(deadline) != Err(Timeout)
    }
}

/// Bounds the requests in flight.
#[derive(Debug)]
pub(crate) struct Gate {
    limit: usize,
    inside: AtomicUsize,
    waiting: AtomicUsize,
    lock: Mutex<()>,
    room: Condvar,
}

impl Gate {
    fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            inside: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            lock: Mutex::new(()),
            room: Condvar::new(),
        }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// How many are inside now.
    pub(crate) fn inside(&self) -> usize {
        self.inside.load(Ordering::Relaxed)
    }

    /// Enters with `n` at once, at most the limit.
    pub(crate) fn try_enter(&self, n: usize) -> bool {
        if self.inside.fetch_add(n, Ordering::AcqRel) + n <= self.limit {
            return true;
        }
        self.leave(n);
        false
    }

    /// Enters whether there is room or not: for the few requests that clean up behind a user and
    /// may not wait.
    pub(crate) fn force(&self) {
        self.inside.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits for room; false if there was none until `deadline`, or `give_up` says so.
    pub(crate) fn enter(
        &self,
        n: usize,
        deadline: Option<Instant>,
        give_up: impl Fn() -> bool,
    ) -> bool {
        if self.try_enter(n) {
            return true;
        }
        let mut guard = self.lock.lock();
        // Counted before the next try: `leave` looks at the count after making room, so either
        // it sees us, or we see the room. The lock keeps its signal from falling between our try
        // and our wait.
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let entered = loop {
            if self.inside.fetch_add(n, Ordering::SeqCst) + n <= self.limit {
                break true;
            }
            self.inside.fetch_sub(n, Ordering::SeqCst);
            let now = Instant::now();
            if give_up() || deadline.is_some_and(|deadline| now >= deadline) {
                break false;
            }
            let look = now + Duration::from_millis(50);
            let until = deadline.map_or(look, |deadline| deadline.min(look));
            self.room.wait_until(&mut guard, until);
        };
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        entered
    }

    pub(crate) fn leave(&self, n: usize) {
        if n == 0 {
            return;
        }
        self.inside.fetch_sub(n, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            let _guard = self.lock.lock();
            self.room.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

    #[test]
    fn d12_the_gate_never_lets_more_in_than_its_limit() {
        let gate = Arc::new(Gate::new(3));
        let most = Arc::new(AtomicUsize::new(0));
        let inside = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (gate, most, inside) = (gate.clone(), most.clone(), inside.clone());
                thread::spawn(move || {
                    for _ in 0..500 {
                        assert!(gate.enter(1, None, || false));
                        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        gate.leave(1);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(most.load(Ordering::SeqCst) <= 3);
        assert_eq!(gate.inside.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_full_gate_refuses_at_the_deadline() {
        let gate = Gate::new(1);
        assert!(gate.try_enter(1));
        assert!(!gate.try_enter(1));
        assert!(!gate.enter(1, Some(Instant::now() + Duration::from_millis(20)), || false));
        gate.leave(1);
        assert!(gate.enter(1, Some(Instant::now()), || false));
    }
}
