//! What only a real ZooKeeper can show. Without one, these tests fail and say how to get it.

mod batches;
mod batches_faults;
mod callbacks;
mod chroots;
mod clients;
mod counters;
mod errors;
mod examples;
mod faults;
mod faults_history;
mod faults_hosts;
mod faults_load;
mod faults_session;
mod faults_silence;
mod faults_watches;
mod fork;
mod ground;
mod kept_nodes;
mod limits;
mod lock_basics;
mod lock_loss;
mod lock_orphans;
mod lock_queue;
mod locks;
mod nodes;
mod operations;
mod paths;
#[path = "../support/mod.rs"]
mod support;
mod tree;
mod watch_histories;
mod watch_model;
mod watch_order;
mod watch_parity;
mod watches;
mod words;
