//! Recipes on three servers that are killed, behind lines that are cut: what the tests share that do
//! so, and the workloads of one of them.

mod faults;
mod gates;
mod members;
mod numbers;
mod play;
mod queues;
pub(crate) mod trouble;
mod watches;
