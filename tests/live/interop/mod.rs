//! Real clients of other languages in processes of their own, on the same paths as ours.

mod curator;
mod curator_discovery;
mod curator_leaders;
mod curator_locks;
mod curator_members;
mod curator_numbers;
mod curator_queues;
mod cut;
mod driven;
mod kazoo;
mod kazoo_counters;
mod kazoo_leases;
mod kazoo_locks;
mod kazoo_members;
mod kazoo_partitions;
mod kazoo_queues;
mod killed;
mod victim;
