//! The blocking, thread-based client for Apache ZooKeeper.

#![deny(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod client;
mod error;
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
pub use client::{Client, Pending, WeakClient};
pub use error::{Applied, At, Error, RecipeError, Result};
pub use io::life::Loss;
pub use proto::acl::{Acl, Permissions, digest_id};
pub use proto::code::Code;
pub use proto::event::EventKind;
pub use proto::stat::Stat;
pub use session::event::WatchedEvent;
pub use session::state::SessionState;
