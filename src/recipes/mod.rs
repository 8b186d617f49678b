//! What processes build together on the nodes: locks, elections, queues, caches and more.
//!
//! | recipe | what it is for |
//! |---|---|
//! | [`Lock`] | one holder at a time, in the order of asking |
//! | [`ReadLock`], [`WriteLock`] | many readers or one writer, in the order of asking |
//! | [`MultiLock`] | several locks, all or none |
//! | [`ReentrantLock`] | a lock that its thread may take again |
//! | [`DelayedLock`] | a lock that stays closed for a while if its holder fails; Chubby's lock-delay |
//! | [`Election`], [`Latch`] | one leader at a time, whom all can see |
//! | [`Lease`], [`MultiLease`] | one holder for a fixed time, whatever becomes of its process |
//! | [`Semaphore`] | so many holders at a time, in the order of asking |
//! | [`Counter`] | a number that many change; Kazoo's text, Curator's 4 and 8 bytes |
//! | [`SharedCount`] | a number that is set by version and kept in sight; Curator's |
//! | [`AtomicValue`] | bytes that many change, each change made of what it replaces |
//! | [`Party`], [`ShallowParty`] | who is here; Kazoo's parties, which join again by themselves |
//! | [`GroupMember`] | the same with names and payloads; Curator's |
//! | [`Partitioner`] | a set of items, of which each member has its share; Kazoo's `SetPartitioner` |
//! | [`Discovery`], [`Picker`] | who offers a service, and where; Curator's |
//! | [`PersistentNode`] | a node that is made again whenever it is gone |
//! | [`DataWatch`], [`ChildrenWatch`] | what a node is now, told whenever it is not what was told last |
//! | [`Cache`] | a part of the tree, kept in memory |
//! | [`Glob`] | the next change under a pattern of paths, from a transaction on; Doozer's wait |
//! | [`Configuration`] | a value of the program's own type, kept fresh, with the last good one at hand |
//! | [`Modeled`], [`Codec`] | nodes that hold values of a type; Curator's `ModeledFramework` |
//! | [`Barrier`] | all wait until somebody removes it |
//! | [`DoubleBarrier`] | so many begin together, and end together |
//! | [`Queue`] | items that are taken out; with priorities, and a bound |
//! | [`DelayQueue`], [`IdQueue`] | items that wait for their time, or can be taken back by id; Curator's |
//! | [`LockingQueue`], [`LockingDelayQueue`], [`LockingIdQueue`] | items that are held while they are worked on, and come back if that fails |
//! | [`QueueSharder`] | several queues as one, and more of them when they get long; Curator's |
//! | [`Consumer`] | a thread that has the items of a queue worked on; Curator's `QueueConsumer` |
//!
//! Each has a form that waits until the deadline of the client's calls (`acquire`), one that waits
//! so long (`acquire_timeout`), one that does not wait for others (`try_acquire`), and a `cancel`
//! from another thread. The nodes are as Kazoo makes them, or Curator ([`NameStyle`]), so that
//! programs in other languages take part.
//!
//! # What all of them promise
//!
//! * A [guard](Hold) stands for what is held, and knows its session. It counts as lost when
//!   a server says that the session is gone, *and* when no server answered for the session
//!   timeout: by this process's own clock, before a server can give the lock to another.
//! * A guard's [fence](Hold::fence) is larger than that of every earlier holder.
//! * [`Hold::sequencer`] says what is held in a text that another process can check.
//! * Dropping a guard gives up what it holds in the background, until that is done or the
//!   session is gone. `release()` waits and tells. (A [`HeldLease`] is no guard: it outlives its
//!   session, and ends at its time.)
//! * No node is left behind, however an attempt ends, and no watch. Parents that are missing, or
//!   that somebody removes, are made again; as containers, if the client's handle
//!   [says so](crate::Client::with_container_parents). Children of other names are passed by.
//! * Who leaves wakes only those whose turn it is. (The end of a lease wakes all that wait for it.)
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
//! guard's [transaction](Hold::transaction).
//!
//! A server that is cut off from its leader answers its clients a while longer (`syncLimit` ticks),
//! and a clock that stands still while the machine sleeps counts no time: then the leader may give
//! the lock to another before this process hears of a loss. The fence and the transaction hold.

mod atomic;
mod barrier;
mod cache;
mod codec;
mod configuration;
mod consumer;
mod consumer_error;
pub(crate) mod contender;
mod counter;
mod delay_queue;
mod delayed_lock;
mod discovery;
mod double_barrier;
mod election;
mod entries;
mod follower;
mod gets;
mod glob;
mod group;
mod guard;
mod held_item;
mod holding;
mod holds;
mod id_queue;
mod json;
mod keeper;
mod lease;
mod line;
mod lock;
mod locking_delay_queue;
mod locking_id_queue;
mod locking_queue;
mod lookout;
mod mirror;
mod modeled;
mod multilock;
mod own_node;
mod parcel;
mod partition;
mod partitioner;
mod party;
mod patience;
mod persistent;
mod place;
mod puts;
mod queue;
mod reentrant;
mod revocation;
mod role;
mod room;
mod rwlock;
mod semaphore;
mod sequencer;
mod sharder;
mod shards;
mod shared_count;
mod shelf;
mod sight;
mod site;
mod takes;
mod wall_clock;
mod watches;

pub use atomic::{AtomicValue, Change};
pub use barrier::Barrier;
pub use cache::{Cache, CacheEvents};
pub use codec::Codec;
pub use configuration::{Configuration, ConfigurationProblem};
pub use consumer::{Consumer, ConsumerBuilder};
pub use consumer_error::{ConsumerError, ErrorMode};
pub use counter::{BinaryNumber, Counter, Number};
pub use delay_queue::{DelayQueue, DelayedItem};
pub use delayed_lock::{DelayedGuard, DelayedLock};
pub use discovery::{Discovery, Picker, Registration, ServiceCache, ServiceInstance, ServiceKind};
pub use double_barrier::{DoubleBarrier, Inside};
pub use election::{CloseMode, Election, Latch, Leadership, Observer};
pub use glob::{Glob, GlobChange, GlobNews};
pub use group::GroupMember;
pub use guard::{Hold, LockGuard};
pub use held_item::HeldItem;
pub use id_queue::{IdItem, IdQueue};
pub use lease::{HeldLease, Lease, LeaseHolder, MultiLease};
pub use line::Contender;
pub use lock::Lock;
pub use locking_delay_queue::LockingDelayQueue;
pub use locking_id_queue::LockingIdQueue;
pub use locking_queue::LockingQueue;
pub use mirror::CacheEvent;
pub use modeled::Modeled;
pub use multilock::{MultiLock, MultiLockGuard};
pub use partition::{Partition, PartitionState};
pub use partitioner::{PartitionMember, Partitioner};
pub use party::{Member, Membership, Party, ShallowParty};
pub use persistent::{KeptNode, PersistentNode, Presence};
pub use queue::{Item, Queue};
pub use reentrant::{ReentrantGuard, ReentrantLock};
pub use revocation::Revocation;
pub use role::NameStyle;
pub use rwlock::{ReadLock, WriteLock};
pub use semaphore::{Semaphore, SemaphoreGuard};
pub use sequencer::Sequencer;
pub use sharder::{QueueSharder, QueueShards};
pub use shared_count::{SharedCount, VersionedCount};
pub use sight::{NodeChildren, NodeData};
pub use watches::{ChildrenWatch, DataWatch, Following};
