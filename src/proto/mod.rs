//! Floor 0: the bytes of the ZooKeeper protocol, and nothing else.
//!
//! Records are written to a `Vec<u8>` and read from a `&[u8]`. There is no socket here, no clock,
//! no thread and no logging; whoever holds those is upstairs. No input can make this floor panic,
//! and no number that a peer claims makes it allocate: memory follows the bytes that have arrived.
//!
//! ```text
//!            +--------+-----------------------------------------+
//! first      | len    | ConnectRequest | ConnectResponse        |      no header
//!            +--------+-----------------------------------------+
//!            +--------+----------+----------+-------------------+
//! request    | len i32| xid  i32 | op   i32 | body              |
//!            +--------+----------+----------+-------------------+
//!            +--------+----------+----------+---------+---------+
//! reply      | len i32| xid  i32 | zxid i64 | err i32 | body    |      body only if err is 0
//!            +--------+----------+----------+---------+---------+
//! ```
//!
//! `len` counts what follows it. All integers are big-endian and signed.
//!
//! | xid | what the frame is |
//! |--:|---|
//! | -1 | a notification, server to client: [`event::WatcherEvent`] |
//! | -2 | a ping and its answer, headers only |
//! | -4 | an auth packet and its answer, the answer a header only |
//! | -8 | set_watches of the C client; the server only echoes the number |
//! | 1.. | an ordinary request and its reply |
//!
//! Source: `zookeeper.jute`, `ZooDefs.java`, `ClientCnxn.java` and `BinaryInputArchive.java` of
//! ZooKeeper 3.4 to 3.9.

pub(crate) mod acl;
pub(crate) mod buffer;
#[cfg(test)]
mod captured;
pub(crate) mod code;
pub(crate) mod connect;
pub(crate) mod event;
pub(crate) mod frame;
pub(crate) mod header;
pub(crate) mod jute;
pub(crate) mod multi;
pub(crate) mod opcode;
pub(crate) mod reply;
pub(crate) mod request;
pub(crate) mod stat;
