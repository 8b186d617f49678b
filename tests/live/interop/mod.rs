//! Real clients of other languages in processes of their own, on the same paths as ours.

mod driven;
mod kazoo;
mod kazoo_leases;
mod kazoo_locks;
mod victim;
