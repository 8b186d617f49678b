//! Whether to look at the socket once more before sleeping.
//!
//! Where client and server share a CPU, the answer is there as soon as the server had the CPU for a
//! moment: giving it up once and looking again costs less than to sleep in the poll and be woken
//! (measured with one caller: 7 % more calls). Where the server is elsewhere, the look is for
//! nothing, but for the two short system calls that it takes. So looks are taken while they pay, and
//! now and then to see whether they would.

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Glance {
    /// Rises with looks that paid, falls with those that did not; at 0 there are none.
    luck: u8,
    /// Sleeps since the last look.
    slept: u8,
    /// Looks since the last poll, which also tells of what is not the socket.
    since_poll: u8,
}

impl Glance {
    pub(super) fn new() -> Self {
        Self { luck: MOST_LUCK, slept: 0, since_poll: 0 }
    }

    /// Whether to look now.
    pub(super) fn is_due(&mut self) -> bool {
        if self.since_poll >= LOOKS_A_POLL {
            return false;
        }
        if self.luck == 0 {
            self.slept += 1;
            if self.slept < SLEEPS_A_TRY {
                return false;
            }
        }
        self.slept = 0;
        true
    }

    /// Tells whether bytes were there.
    pub(super) fn looked(&mut self, paid: bool) {
        self.since_poll += 1;
        // A try that pays opens the door for several more.
        self.luck = if paid { (self.luck + 2).min(MOST_LUCK) } else { self.luck.saturating_sub(1) };
    }

    pub(super) fn polled(&mut self) {
        self.since_poll = 0;
    }
}

const MOST_LUCK: u8 = 8;

/// Sleeps from one try to the next where looks do not pay.
const SLEEPS_A_TRY: u8 = 64;

/// Timers and other sockets wait for the poll meanwhile.
const LOOKS_A_POLL: u8 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `turns` that each end in a sleep unless a look pays, how many took a look.
    fn looks(glance: &mut Glance, turns: usize, pays: bool) -> usize {
        let mut taken = 0;
        for _ in 0..turns {
            if glance.is_due() {
                taken += 1;
                glance.looked(pays);
                if pays {
                    continue;
                }
            }
            glance.polled();
        }
        taken
    }

    #[test]
    fn looks_that_do_not_pay_become_rare() {
        let mut glance = Glance::new();
        assert!(looks(&mut glance, 100, false) < 12);
        assert!(looks(&mut glance, 6_400, false) <= 100);
    }

    #[test]
    fn looks_are_taken_while_they_pay_and_the_poll_has_its_turns() {
        let mut glance = Glance::new();
        looks(&mut glance, 1_000, false);
        // After the next try each turn but those of the poll.
        assert!(looks(&mut glance, 1_700, true) >= 1_500);
        let mut in_a_row = 0;
        while glance.is_due() {
            glance.looked(true);
            in_a_row += 1;
        }
        assert!(in_a_row <= usize::from(LOOKS_A_POLL));
    }
}
