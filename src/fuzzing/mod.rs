//! What the fuzz targets of `tests/fuzz` call; no part of the API.
//!
//! Each entry point takes bytes, derives from them what a hostile peer may do, does it, and
//! fails by a panic if the answer of our code is wrong. They know the right answer: a frame
//! buffer is compared with a cut of the whole stream, the session machine with a model of what
//! it owes. So the same functions serve cargo-fuzz and the short run in the ordinary tests.
//!
//! `allow` is called before foreign bytes are taken in, with the number of bytes that may be
//! allocated from there on (`usize::MAX`: any). A target that counts allocations enforces it:
//! memory follows what arrived, never what a length claims.

mod frames;
mod replies;
mod script;
mod session;
#[cfg(test)]
mod tests;

pub use frames::frames;
pub use replies::replies;
pub use session::session;

/// What a decoder may allocate, whatever it is given: the first size of the frame buffer.
const BASE: usize = 64 * 1024;
