//! The blocking, thread-based client for [Apache ZooKeeper](https://zookeeper.apache.org).
//!
//! ```no_run
//! use zookeeper_blocking::{Client, CreateMode, Version};
//!
//! let zk = Client::connect("zk1:2181,zk2:2181,zk3:2181/app")?;
//! let path = zk.create("/config", "colour=red", CreateMode::Persistent)?;
//!
//! let (data, stat) = zk.get_data(&path)?;
//! // Only if nobody changed it since we read it.
//! zk.set_data(&path, "colour=green", stat.version)?;
//!
//! // Read and watch in one request: no change slips in between.
//! let (data, stat, watch) = zk.watch_data(&path)?;
//! if let Some(event) = watch.recv() {
//!     println!("{:?} of {}", event.kind, event.path);
//! }
//! zk.delete(&path, Version::Any)?;
//! # Ok::<(), zookeeper_blocking::Error>(())
//! ```
//!
//! # What you get
//!
//! Every client operation of ZooKeeper 3.4 to 3.9; sessions and watches that survive lost
//! connections; a deadline on every call; errors that say whether the call may have happened; and
//! [recipes] that other clients share: locks, semaphores, elections and leases with fencing tokens;
//! counters, parties, barriers, queues, watches with memory, a cache.
//!
//! # What you do not get
//!
//! TLS and SASL are to come. An async interface is not. And nothing here hides the
//! end of a session: what was built on one is gone with it, and is told so.
//!
//! # Which servers
//!
//! All from 3.4 to 3.9. An older one answers what it does not know with [`Code::Unimplemented`] and
//! closes the connection: watches that stay before 3.6; containers and answers with a [`Stat`] to a
//! create before 3.5. What recipes need of it they ask for once a session, and do without: so there
//! the first lock, and the first watch that is dropped, cost a connection. Operations say since when
//! they are known.
//!
//! # Connecting
//!
//! [`Client::connect`] takes `host:port,host:port/chroot` and waits for a session;
//! [`Client::builder`] has the options. A [`Client`] is a handle: clone it, use it from any thread.
//! A lost connection is replaced in the background, by another server if need be. An expired
//! *session* ends all that was its own, and the client makes a new one (or closes, see
//! [`ExpiryPolicy`]); [`Client::session`] gives a handle that never crosses that line.
//!
//! # Reading and writing
//!
//! The methods of [`Client`] block for their answer. The same operations are values in [`op`], with
//! all their options: [`Client::submit`] gives a [`Pending`], so that one thread has many requests
//! in flight; [`Client::submit_with`] runs a callback. A [`Transaction`] does several writes, all
//! or none. A [`Version`] makes a write conditional; [`Client::update`] reads, changes and writes.
//!
//! [`Client::submit_all`] and [`Client::get_many`] hand over many at once, at a fraction of the
//! cost; see [What a call costs](#what-a-call-costs).
//!
//! # Watching
//!
//! [`Client::watch_data`] and its like read and leave a one-shot watch; [`Client::add_watch`] sets
//! one that stays. A [`Watch`] is a queue of events, and its drop takes the watch back. A watch
//! says *that* there is news: read again, which arms the next one. After a reconnect one-shot
//! watches tell what they missed; those that stay say [`EventKind::Resync`] instead.
//!
//! # When things fail
//!
//! [`Error`] is grouped by what you can do. [`Error::code`] is what the server said.
//! [`Error::applied`] says whether the call may have happened: [`Applied::No`] is safe to repeat;
//! [`Applied::Unknown`] was sent, and its answer was lost, so read again before you repeat it. A
//! [`RetryPolicy`] repeats what is safe. While there is no connection calls wait for one, to their
//! deadline, or fail at once ([`WhenDisconnected`]).
//!
//! # Threads and callbacks
//!
//! ```text
//! your threads ── requests ──▶ zk-io: socket, heartbeats, reconnects ──▶ server
//! your threads ◀── answers ─── zk-io ── watch events, states, completions ──▶ zk-event
//! ```
//!
//! Callbacks run on `zk-event`, one at a time, in the order in which the server sent their cause. A
//! callback may block, panic, call the client and close it; it holds up the callbacks after it, not
//! the session, and neither the calls nor the [`Watch`] handles of other threads. So a blocking
//! read can return before the callback of an earlier event has run. A callback should hold a
//! [`WeakClient`]: a [`Client`] in it keeps its own session alive.
//!
//! # What a call costs
//!
//! A blocking read by one thread: one allocation, the value that it returns (and one block of the
//! queue for 31 calls); six system calls in both threads together (write, poll, read; wait, wake,
//! and a yield, so that the caller's next request needs no wake-up; where the server shares the CPU,
//! a second yield instead of the poll); two switches between threads. The switches are nearly all
//! of the time. What is shared is cheaper:
//!
//! | many at once by | system calls per call | what is shared |
//! |---|---|---|
//! | 64 threads on one client | 1.1 | the write, the read, and one wake-up for all whom a read answers |
//! | [`submit`](Client::submit), 1,000 in flight | 0.01 | all of these; left are a queue entry, an encoding and a decoding |
//! | [`submit_all`](Client::submit_all) | 0.01 | also the queue entry, the place for the answer and the look at the clock |
//!
//! Answers are decoded in the thread that waits for them. Paths and data are borrowed and copied
//! once, into the request; data of up to 2 KiB is copied once more out of the answer, larger data
//! keeps the memory that it was copied to. A request in flight takes some 173 bytes (a path of up to
//! 22 included). The figures are held by counting gates; `scripts/bench` compares with other
//! clients.
//!
//! # Logging
//!
//! Through the [`log`] facade. Never data, credentials or session passwords.
//!
//! | level | tells |
//! |---|---|
//! | error | the client closed because of a fault of its own; an ensemble that lost its data |
//! | warn | a lost connection, refused credentials, a session that nobody answers for, a callback that panicked, a recipe's node that cannot be made or given up, a lock's that has used up its numbers |
//! | info | each state of the session, with its id; leaving a read-only server |
//! | debug | each dial, and each host that failed, with the reason |
//! | trace | each request: operation and size |
//!
//! # Features
//!
//! Nothing is on by default. `serde` reads and writes the values of
//! [configurations](recipes::Configuration) and [typed nodes](recipes::Modeled) as JSON; it brings
//! serde and serde_json.
//!
//! # Minimum Rust version
//!
//! 1.85.

#![deny(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod client;
#[cfg(feature = "_gates")]
#[doc(hidden)]
pub mod counted;
mod error;
#[cfg(any(test, feature = "_fuzz"))]
#[doc(hidden)]
pub mod fuzzing;
mod io;
pub mod path;
mod proto;
pub mod recipes;
mod session;

pub use client::builder::{ClientBuilder, ExpiryPolicy, WhenDisconnected, WhenFull};
pub use client::op::{self, CreateMode, Created, Version, WatchMode, WatcherType};
pub use client::retry::RetryPolicy;
pub use client::server::{ServerVersion, four_letter_word};
pub use client::session::{Session, SessionCredentials};
pub use client::states::{StateEvents, StateListener};
pub use client::transaction::{ClientTransaction, OpResult, Transaction, TransactionOp};
pub use client::watch::{Watch, WatchWait};
pub use client::{Client, Pending, PendingAll, WeakClient};
pub use error::{Applied, At, Error, RecipeError, Result};
pub use io::life::Loss;
pub use proto::acl::{Acl, Permissions, digest_id};
pub use proto::code::Code;
pub use proto::event::EventKind;
pub use proto::stat::Stat;
pub use session::event::WatchedEvent;
pub use session::state::SessionState;

/// The code of the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
