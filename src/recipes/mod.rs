//! What processes build together on the nodes: locks, and more to come.
//!
//! | recipe | what it is for |
//! |---|---|
//! | [`Lock`] | one holder at a time, in the order of asking |
//! | [`Counter`] | a number that many change; Kazoo's text, Curator's 4 and 8 bytes |
//! | [`SharedCount`] | a number that is set by version and kept in sight; Curator's |
//! | [`AtomicValue`] | bytes that many change, each change made of what it replaces |
//! | [`Party`], [`ShallowParty`] | who is here; Kazoo's parties, which join again by themselves |
//! | [`GroupMember`] | the same with names and payloads; Curator's |
//! | [`PersistentNode`] | a node that is made again whenever it is gone |
//! | [`DataWatch`], [`ChildrenWatch`] | what a node is now, told whenever it is not what was told last |
//! | [`Cache`] | a part of the tree, kept in memory |
//! | [`Configuration`] | a value of the program's own type, kept fresh, with the last good one at hand |
//! | [`Barrier`] | all wait until somebody removes it |
//! | [`DoubleBarrier`] | so many begin together, and end together |
//! | [`Queue`] | items that are taken out; with priorities |
//! | [`LockingQueue`] | items that are held while they are worked on, and come back if that fails |
//!
//! # What all of them promise
//!
//! * A [guard](LockGuard) stands for what is held, and knows its session. It counts as lost when
//!   a server says that the session is gone, *and* when no server answered for the session
//!   timeout: by this process's own clock, before a server can give the lock to another.
//! * A guard's [fence](LockGuard::fence) is larger than that of every earlier holder.
//! * Dropping a guard gives up what it holds in the background, until that is done or the
//!   session is gone. `release()` waits and tells.
//! * Every wait ends: by its deadline, by a cancel from another thread, by the client's end.
//! * Recipes may be used in callbacks: they wait on queues that the IO thread fills.
//!
//! # Counters
//!
//! | form of a [`Counter`] | bytes | who else reads it |
//! |---|---|---|
//! | text | `-5`, `3.0`, `1e+16` in ASCII, as Python prints it | Kazoo `Counter` |
//! | [binary](Counter::binary), `i32` | 4, big-endian | Curator `SharedCount`, `DistributedAtomicInteger`; Kazoo `Counter(support_curator=True)` |
//! | [binary](Counter::binary), `i64` | 8, big-endian | Curator `DistributedAtomicLong` |
//!
//! # What none of them can promise
//!
//! A process that is stopped for longer than its session timeout, and goes on, may act once more
//! as the holder before it looks. Mutual exclusion over a network is a promise of the *resource*:
//! give it the fence, and have it refuse smaller ones; or write to ZooKeeper itself within the
//! guard's [transaction](LockGuard::transaction).
//!
//! A server that is cut off from its leader answers its clients a while longer (`syncLimit` ticks),
//! and a clock that stands still while the machine sleeps counts no time: then the leader may give
//! the lock to another before this process hears of a loss. The fence and the transaction hold.

mod atomic;
mod barrier;
mod cache;
mod configuration;
pub(crate) mod contender;
mod counter;
mod double_barrier;
mod entries;
mod follower;
mod group;
mod guard;
mod keeper;
mod lock;
mod locking_queue;
mod lookout;
mod mirror;
mod own_node;
mod party;
mod persistent;
mod place;
mod queue;
mod shared_count;
mod sight;
mod site;
mod watches;

pub use atomic::{AtomicValue, Change};
pub use barrier::Barrier;
pub use cache::{Cache, CacheEvents};
pub use configuration::{Configuration, ConfigurationProblem};
pub use counter::{BinaryNumber, Counter, Number};
pub use double_barrier::{DoubleBarrier, Inside};
pub use group::GroupMember;
pub use guard::LockGuard;
pub use lock::{Contender, Lock};
pub use locking_queue::{HeldItem, LockingQueue};
pub use mirror::CacheEvent;
pub use party::{Member, Membership, Party, ShallowParty};
pub use persistent::{KeptNode, PersistentNode, Presence};
pub use queue::{Item, Queue};
pub use shared_count::{SharedCount, VersionedCount};
pub use sight::{NodeChildren, NodeData};
pub use watches::{ChildrenWatch, DataWatch, Following};
