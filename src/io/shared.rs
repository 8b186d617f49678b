//! What the threads of one client share: queues, a few published words, the count of requests.
//!
//! Every word has one writer, the IO thread. Nothing here is locked on the way of a request,
//! but for the gate when it is full.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;

use crate::io::crowd::Crowd;
use crate::io::dispatch::Event;
use crate::io::doze::Doze;
use crate::io::driver::{Command, Submit};
use crate::io::gate::Gate;
use crate::io::life::{Life, Loss};
use crate::session::state::SessionState;

/// Shared by handles, watches, guards and the two threads.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) requests: Sender<Command>,
    pub(crate) events: Sender<Event>,
    waker: mio::Waker,
    doze: Doze,
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
    /// The epoch of the last session in which a server did not know the [`Novelty`].
    without_lasting: AtomicU64,
    without_stat: AtomicU64,
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

/// What old servers do not know. On being asked they say so and close the connection: so it is asked
/// once a session.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Novelty {
    /// Watches that stay, since 3.6.
    LastingWatches,
    /// A create that is answered with a Stat, since 3.5.
    CreateWithStat,
}

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
            doze: Doze::new(),
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
            without_lasting: AtomicU64::new(0),
            without_stat: AtomicU64::new(0),
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

    /// Wakes the IO thread if it said that it sleeps.
    fn wake(&self) {
        self.doze.wake(|| {
            // Fails only if the descriptor is gone, and then so is the IO thread.
            let _ = self.waker.wake();
        });
    }

    /// The IO thread announces that it is about to sleep. False if there is work after all.
    pub(crate) fn may_sleep(&self, queue: &Receiver<Command>) -> bool {
        self.doze.may_sleep(|| queue.is_empty())
    }

    pub(crate) fn awake(&self) {
        self.doze.awake();
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

    /// A server of the session does not know it.
    pub(crate) fn note_without(&self, what: Novelty, epoch: u64) {
        self.without(what).store(epoch, Ordering::Relaxed);
    }

    pub(crate) fn is_without(&self, what: Novelty, epoch: u64) -> bool {
        self.without(what).load(Ordering::Relaxed) == epoch
    }

    fn without(&self, what: Novelty) -> &AtomicU64 {
        match what {
            Novelty::LastingWatches => &self.without_lasting,
            Novelty::CreateWithStat => &self.without_stat,
        }
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
