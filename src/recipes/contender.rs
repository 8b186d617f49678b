//! Who holds, and whom to watch: the one decision of everything that queues on sequential nodes.
//!
//! A pure function of the names of the children. Lock, read-write lock, semaphore and election
//! differ only in which names count as rivals and in how many may hold at a time. It knows nothing
//! of sessions: before a caller believes [`Decision::Held`] it has to know that its own node is of
//! its own session (CURATOR-498, CURATOR-696).
//!
//! ```text
//! 514e…__lock__0000000007   _c_9b1f…-lock-0000000008   514e…__rlock__0000000009   config
//! └ anything ┘└pattern┘└ sequence ┘                                                └ junk
//! ```
//!
//! # The order
//!
//! The server numbers children 0, 1, … 2147483647, -2147483648, … -1 as it creates them, so the
//! order of creation is the order of the sequence *as `u32`*. Comparing in a circle
//! (`a.wrapping_sub(b) < 0`) gives the same for any two numbers less than 2^31 apart, but is no
//! order of three: 0 < 2^30 < 2^31-1 < -2^30 < 0. It would make sorting fail, and would put a node
//! of the worn-out end of the circle in front of a sound one.
//!
//! Equal numbers come up in two ways. Curator gives a reader the number of the writer that it was
//! (CURATOR-621); so exclusive goes before shared, and no reader is let in beside a writer. And an
//! exhausted parent gives the same number over and over; so at last the name decides, the same way
//! for all that look.
//!
//! # Exhaustion
//!
//! The server's count sticks at 2147483647: from then on every node gets that number, or, if
//! creates are pipelined, numbers past the wrap. Neither says any more who came first. Whoever sees
//! such a number on its *own* node never claims, whatever the others hold.
//!
//! Others may hold on in the same directory. All sound numbers, 0 to 2147483646, were given out
//! before the first exhausted one, and no sound one comes after it while the parent lives; as `u32`
//! the exhausted ones are greater, so a sound contender never waits for one. Among the sound ones
//! the order is the plain order of numbers. So there is at most one holder: the first sound
//! contender if there is one, nobody else ever. Clients that do not know the rule (all that we
//! know of) claim with an exhausted number once the sound contenders are gone, several at a time;
//! those we cannot stop, but we are never one of them.

use crate::path;

/// Whether a contender lets others in beside it.
///
/// The order of the variants is the order of contenders that have the same sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A lock, a writer, a candidate: holds alone.
    Exclusive,
    /// A lease of a semaphore: holds beside as many as the semaphore allows.
    Lease,
    /// A reader: holds beside other readers.
    Shared,
}

/// What stands before the sequence in the names of one sort of contender.
///
/// Anything may stand before the pattern: a GUID, mostly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pattern<'p> {
    pub(crate) text: &'p str,
    pub(crate) kind: Kind,
}

impl<'p> Pattern<'p> {
    pub(crate) const fn new(text: &'p str, kind: Kind) -> Self {
        Self { text, kind }
    }

    /// Kazoo `Lock`, `WriteLock`, `Election`.
    pub(crate) const KAZOO_LOCK: Self = Self::new("__lock__", Kind::Exclusive);
    /// Kazoo `ReadLock`.
    pub(crate) const KAZOO_READ: Self = Self::new("__rlock__", Kind::Shared);
    /// Curator `InterProcessMutex` and `LeaderSelector`; Go's `zk.Lock`.
    pub(crate) const CURATOR_LOCK: Self = Self::new("-lock-", Kind::Exclusive);
    /// Curator `InterProcessReadWriteLock`.
    pub(crate) const CURATOR_WRITE: Self = Self::new("__WRIT__", Kind::Exclusive);
    /// Curator `InterProcessReadWriteLock`.
    pub(crate) const CURATOR_READ: Self = Self::new("__READ__", Kind::Shared);
    /// Curator `LeaderLatch`.
    pub(crate) const CURATOR_LATCH: Self = Self::new("-latch-", Kind::Exclusive);
    /// Curator `InterProcessSemaphoreV2`.
    pub(crate) const CURATOR_LEASE: Self = Self::new("-lease-", Kind::Lease);
}

/// The rivals of a plain lock, of a reader and of a candidate: all that hold alone, by whatever
/// client. Kazoo's plain lock passes readers by too.
pub(crate) const EXCLUSIVE: &[Pattern<'static>] =
    &[Pattern::KAZOO_LOCK, Pattern::CURATOR_LOCK, Pattern::CURATOR_WRITE, Pattern::CURATOR_LATCH];

/// The rivals of a writer: all that hold alone, and the readers.
pub(crate) const EXCLUSIVE_AND_SHARED: &[Pattern<'static>] = &[
    Pattern::KAZOO_LOCK,
    Pattern::KAZOO_READ,
    Pattern::CURATOR_LOCK,
    Pattern::CURATOR_WRITE,
    Pattern::CURATOR_READ,
    Pattern::CURATOR_LATCH,
];

/// The rivals of a lease.
pub(crate) const LEASES: &[Pattern<'static>] = &[Pattern::CURATOR_LEASE];

/// A child that queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contender<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: Kind,
    pub(crate) sequence: i32,
}

impl<'a> Contender<'a> {
    /// Reads the name of a child; `None` for a child that none of the patterns fits.
    pub(crate) fn parse(name: &'a str, patterns: &[Pattern<'_>]) -> Option<Self> {
        patterns.iter().find_map(|pattern| {
            // A minus sign may belong to the pattern or to the number: the pattern tells.
            let mut cuts = path::sequence_cuts(name);
            let (_, sequence) = cuts.find(|(prefix, _)| prefix.ends_with(pattern.text))?;
            Some(Self { name, kind: pattern.kind, sequence })
        })
    }

    /// Whether the sequence says nothing any more about who came first.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.sequence < 0 || self.sequence == i32::MAX
    }

    /// Contenders are served in the order of this key.
    fn turn(&self) -> (u32, Kind, &'a str) {
        (self.sequence as u32, self.kind, self.name)
    }
}

/// What the owner of a node is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision<'a> {
    /// The number of the own node is used up: delete it, never claim.
    Exhausted,
    /// It is our turn.
    Held,
    /// The own node is not there: the session is gone, or somebody deleted it.
    Missing,
    /// Somebody is first. Look again when `predecessor` is gone: that does not make it our turn,
    /// because contenders in the middle give up too.
    Wait {
        /// The name of the child to watch.
        predecessor: &'a str,
    },
}

/// Decides whether the node `own` holds, where up to `leases` rivals may at a time.
///
/// `children` are the names under the parent, in any order, `own` the name of our node among them.
/// Children that no pattern in `rivals` fits are ignored; `own` need not be among the rivals (a
/// reader's are the writers). No `leases` is taken for one.
///
/// With one lease the predecessor is the rival just before us, so each release wakes one waiter.
/// With more, *any* of those before us may be the one that makes room: watch the children instead.
pub(crate) fn decide<'a>(
    children: &'a [String],
    own: &str,
    rivals: &[Pattern<'_>],
    leases: usize,
) -> Decision<'a> {
    let Some(mine) = parse_own(own, rivals) else {
        return Decision::Missing;
    };
    if mine.is_exhausted() {
        return Decision::Exhausted;
    }
    if !children.iter().any(|child| child == own) {
        return Decision::Missing;
    }
    let mut before: Vec<_> = parse_all(children, rivals)
        .filter(|rival| rival.name != own && rival.turn() < mine.turn())
        .collect();
    let Some(watched) = before.len().checked_sub(leases.max(1)) else {
        return Decision::Held;
    };
    // `watched` is less than the length, as at least 1 was subtracted.
    let (_, rival, _) = before.select_nth_unstable_by(watched, |a, b| a.turn().cmp(&b.turn()));
    Decision::Wait { predecessor: rival.name }
}

/// The names of all contenders, the one whose turn is first at the front.
///
/// Exhausted contenders are at the end: they are there, but will not be served.
pub(crate) fn ordered<'a>(children: &'a [String], patterns: &[Pattern<'_>]) -> Vec<&'a str> {
    let mut contenders: Vec<_> = parse_all(children, patterns).collect();
    contenders.sort_unstable_by(|a, b| a.turn().cmp(&b.turn()));
    contenders.into_iter().map(|contender| contender.name).collect()
}

/// Whether one of the children is a contender.
pub(crate) fn is_any(children: &[String], patterns: &[Pattern<'_>]) -> bool {
    parse_all(children, patterns).next().is_some()
}

/// Who is left under a parent whose numbers are used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest<'a> {
    /// Nobody but contenders whose own numbers are used up, if anybody.
    Exhausted,
    /// A contender with a sound number, the last of them: it is served, and then goes.
    Sound(&'a str),
    /// A child that is no contender: it stays.
    Stranger,
}

/// Looks who keeps a used-up parent from being made anew.
pub(crate) fn rest(children: &[String]) -> Rest<'_> {
    let all: Option<Vec<_>> =
        children.iter().map(|child| Contender::parse(child, EXCLUSIVE_AND_SHARED)).collect();
    let Some(all) = all else {
        return Rest::Stranger;
    };
    let sound = all.into_iter().filter(|contender| !contender.is_exhausted());
    let last = sound.max_by(|a, b| a.turn().cmp(&b.turn()));
    last.map_or(Rest::Exhausted, |contender| Rest::Sound(contender.name))
}

fn parse_all<'a>(
    children: &'a [String],
    patterns: &[Pattern<'_>],
) -> impl Iterator<Item = Contender<'a>> {
    children.iter().filter_map(|child| Contender::parse(child, patterns))
}

/// Our own node may have a name that is no rival's, in a style that only the caller knows.
fn parse_own<'a>(own: &'a str, rivals: &[Pattern<'_>]) -> Option<Contender<'a>> {
    Contender::parse(own, rivals)
        .or_else(|| Contender::parse(own, EXCLUSIVE_AND_SHARED))
        .or_else(|| Contender::parse(own, LEASES))
        .or_else(|| {
            let sequence = path::sequence(own)?;
            Some(Contender { name: own, kind: Kind::Exclusive, sequence })
        })
}

#[cfg(test)]
mod tests;
