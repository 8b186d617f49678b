//! When to ping, when to give a silent server up, and how long the session surely lives.
//!
//! With T the negotiated session timeout: a ping goes out after T/3 without a write, and the
//! connection is dead after 2T/3 without a byte read, busy or idle. A full T is never waited
//! for: the last third is left to reach another server before the session expires.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The clocks of one connection. Pure arithmetic on the `now` of the caller.
#[derive(Clone, Debug)]
pub(crate) struct Heartbeat {
    /// T/3, 2T/3 and 2T: asked for at each turn, so worked out once.
    ping_after: Duration,
    dead_after: Duration,
    broken_after: Duration,
    last_read: Instant,
    last_write: Instant,
    /// When a whole frame, or a good part of one, last came, and how many bytes since.
    last_progress: Instant,
    unfinished: usize,
    /// When the unanswered pings were written, oldest first. Their answers may be stuck behind
    /// megabytes of others, while the server counts the time since it last heard us: pings go on.
    pings: VecDeque<Instant>,
}

impl Heartbeat {
    pub(crate) fn new(timeout: Duration, now: Instant) -> Self {
        Self {
            ping_after: timeout / 3,
            dead_after: timeout * 2 / 3,
            broken_after: timeout * 2,
            last_read: now,
            last_write: now,
            last_progress: now,
            unfinished: 0,
            pings: VecDeque::new(),
        }
    }

    /// Any byte is life: a large answer that trickles in must not kill its own connection.
    pub(crate) fn read(&mut self, n: usize, now: Instant) {
        self.last_read = now;
        self.unfinished = self.unfinished.saturating_add(n);
        if self.unfinished >= PROGRESS {
            self.framed(now);
        }
    }

    /// A whole frame came. If none does for long the bytes are no life: a length that was garbled
    /// on the way makes one endless frame of everything after it, pongs included.
    pub(crate) fn framed(&mut self, now: Instant) {
        self.last_progress = now;
        self.unfinished = 0;
    }

    pub(crate) fn wrote(&mut self, now: Instant) {
        self.last_write = now;
    }

    pub(crate) fn ping_due(&self, now: Instant) -> bool {
        now >= self.next_ping()
    }

    pub(crate) fn pinged(&mut self, now: Instant) {
        self.pings.push_back(now);
        self.last_write = now;
    }

    /// Gives the time at which the answered ping, the oldest, was written; none if none was
    /// outstanding.
    pub(crate) fn ponged(&mut self) -> Option<Instant> {
        self.pings.pop_front()
    }

    pub(crate) fn dead(&self, now: Instant) -> bool {
        now >= self.dead_at()
    }

    /// The next time at which this must be looked at.
    pub(crate) fn deadline(&self) -> Instant {
        self.dead_at().min(self.next_ping())
    }

    fn next_ping(&self) -> Instant {
        self.last_write + self.ping_after
    }

    fn dead_at(&self) -> Instant {
        (self.last_read + self.dead_after).min(self.last_progress + self.broken_after)
    }
}

/// So many bytes of a frame within two session timeouts are a slow line, fewer are a broken one.
const PROGRESS: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const T: Duration = Duration::from_millis(3_000);

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a16_silence_of_two_thirds_is_death_for_the_idle() {
        let start = Instant::now();
        let mut beat = Heartbeat::new(T, start);
        assert!(!beat.ping_due(start + ms(999)));
        assert!(beat.ping_due(start + ms(1_000)));
        beat.pinged(start + ms(1_000));
        assert!(!beat.ping_due(start + ms(1_999)), "one ping at a time");
        assert!(!beat.dead(start + ms(1_999)));
        assert!(beat.dead(start + ms(2_000)));
        assert_eq!(beat.deadline(), start + ms(2_000));
    }

    #[test]
    fn a16_silence_of_two_thirds_is_death_for_the_busy_too() {
        let start = Instant::now();
        let mut beat = Heartbeat::new(T, start);
        for at in (0..2_000).step_by(10) {
            beat.wrote(start + ms(at));
        }
        assert!(beat.dead(start + ms(2_000)), "writes are no sign of life of the server");
    }

    #[test]
    fn any_byte_is_life() {
        let start = Instant::now();
        let mut beat = Heartbeat::new(T, start);
        beat.pinged(start + ms(1_000));
        beat.read(1, start + ms(1_900));
        assert!(!beat.dead(start + ms(3_800)));
        assert!(beat.dead(start + ms(3_900)));
    }

    #[test]
    fn c13_bytes_that_never_make_a_frame_are_no_life_for_ever() {
        let start = Instant::now();
        for (step, dies_at) in [(20, Some(6_000)), (16 * 1024, None)] {
            let mut beat = Heartbeat::new(T, start);
            let mut died = None;
            for at in (0..20_000).step_by(1_000) {
                if died.is_none() && beat.dead(start + ms(at)) {
                    died = Some(at);
                }
                beat.read(step, start + ms(at));
            }
            assert_eq!(died, dies_at, "{step} bytes a second");
        }
    }

    #[test]
    fn d11_pings_go_on_while_their_answers_are_stuck() {
        let start = Instant::now();
        let mut beat = Heartbeat::new(T, start);
        for n in 1..10 {
            let now = start + ms(1_000 * n);
            beat.read(1, now);
            beat.framed(now);
            assert_eq!(beat.deadline(), now);
            assert!(beat.ping_due(now), "{n}");
            beat.pinged(now);
        }
        for n in 1..10 {
            assert_eq!(beat.ponged(), Some(start + ms(1_000 * n)));
        }
        assert_eq!(beat.ponged(), None);
    }

    #[test]
    fn a_pong_tells_when_its_ping_was_written() {
        let start = Instant::now();
        let mut beat = Heartbeat::new(T, start);
        assert_eq!(beat.ponged(), None);
        beat.pinged(start + ms(1_000));
        assert_eq!(beat.ponged(), Some(start + ms(1_000)));
        assert_eq!(beat.ponged(), None);
    }
}
