//! What a workload of `ensemble/faults.rs` is.

use zookeeper_blocking::Client;

use crate::support::txnlog::Txn;

/// How many clients there are.
pub(crate) const CLIENTS: usize = 4;

/// Recipes at work, by all clients at once, and what is known of that.
pub(crate) trait Play: Sync {
    /// What one of the clients does again and again while servers and lines fail: one turn.
    fn turn(&self, who: usize);

    /// What is to be done when all is calm, and turns are over: before the log is read. The witness
    /// has suffered nothing.
    fn settle(&self, witness: &Client);

    /// Compares the books with the log; prints what there was.
    fn judge(&self, log: &[Txn]);
}
