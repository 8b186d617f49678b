//! The flag that says whether the IO thread sleeps.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::Model;
use crate::io::doze::Doze;

pub(crate) const MODELS: &[Model] = &[
    ("no request is left in the queue of a sleeping IO thread, one caller", 4, || all_are_taken(1)),
    ("no request is left in the queue of a sleeping IO thread, two callers", 3, || {
        all_are_taken(2)
    }),
];

/// Each caller queues twice. The queue is a count, with no order of its own: the flag's fences
/// must do.
fn all_are_taken(callers: usize) {
    let doze = Arc::new(Doze::new());
    let queue = Arc::new(AtomicUsize::new(0));
    let io = thread::current();
    let callers: Vec<_> = (0..callers)
        .map(|_| {
            let (doze, queue, io) = (doze.clone(), queue.clone(), io.clone());
            thread::spawn(move || {
                for _ in 0..2 {
                    queue.fetch_add(1, Ordering::Relaxed);
                    // As with the poll's waker: rung before the sleep, it ends the sleep at once.
                    doze.wake(|| io.unpark());
                }
            })
        })
        .collect();
    let mut taken = 0;
    while taken < 2 * callers.len() {
        if doze.may_sleep(|| queue.load(Ordering::Relaxed) == taken) {
            thread::park();
        }
        doze.awake();
        taken = queue.load(Ordering::Relaxed);
    }
    for caller in callers {
        caller.join().unwrap();
    }
}
