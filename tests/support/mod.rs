//! The test ground: real servers, a scripted server, a fault proxy, and what tests share.
//!
//! Nothing here uses the library: these parts speak raw bytes, so that a mistake in the library's
//! codec cannot hide behind the same mistake in its tests.
//!
//! | module | gives |
//! |---|---|
//! | [`server`] | real ZooKeeper: `Server`, `Ensemble`, kill, pause, restart; `fresh_chroot()` |
//! | [`scripted`] | a server that says exactly what a test tells it to say |
//! | [`proxy`] | a TCP proxy that knows frames: cut, hold, delay, slice, lose, flip, refuse |
//! | [`raw`] | a ten-call client of its own, as witness and as helper |
//! | [`wire`] | the bytes: writer, reader, opcodes, `Stat` |
//! | [`txnlog`], [`forge`] | read and write the server's transaction log |
//! | [`wait`], [`process`], [`ports`] | conditions, leaks and processes, ports |
//! | [`calm`] | tight limits of time on a machine that is busy now and then |
//!
//! Each test binary includes this module whole and uses its part of it, hence:
#![allow(dead_code)]

pub(crate) mod calm;
pub(crate) mod forge;
pub(crate) mod ports;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod raw;
pub(crate) mod scripted;
pub(crate) mod server;
pub(crate) mod txnlog;
pub(crate) mod wait;
pub(crate) mod wire;
