//! What can be shown without a real server: scripted servers, made-up peers.

mod answers;
mod batches;
mod bodies;
mod credentials;
mod deadlines;
mod dialing;
mod ending;
mod ground;
mod handshake;
mod old_servers;
mod policies;
mod protected;
mod resources;
#[path = "../support/mod.rs"]
mod support;
mod watching;
mod wire;
