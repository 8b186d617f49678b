//! Recipes on three servers that are killed, behind lines that are cut: what the tests share that do
//! so.

pub(crate) mod trouble;
