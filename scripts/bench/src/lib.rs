//! What the measuring programs share: the server that costs nothing, the measured clients, and
//! the figures of one run.

pub mod measure;
pub mod null_server;
pub mod ours;
pub mod raw;
pub mod wire;

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
