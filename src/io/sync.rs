//! The primitives that the hand-off between threads is built of, by one name each.
//!
//! `tests/models` compiles the files of the hand-off against a checker's primitives, which try
//! every order of their steps. So [`slot`](super::slot), [`completion`](super::completion),
//! [`crowd`](super::crowd), [`gate`](super::gate) and [`doze`](super::doze) take theirs from here.

pub(crate) use std::sync::{Arc, atomic};
pub(crate) use std::thread;
pub(crate) use std::thread_local;
pub(crate) use std::time::Instant;

pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};

/// The standard library's, for what it does better.
pub(crate) mod standard {
    pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
}
