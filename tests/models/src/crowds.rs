//! Many who wait and are called together.

use std::time::Duration;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;

use crate::Model;
use crate::io::completion::Completion;
use crate::io::crowd::Crowd;
use crate::io::slot::Slot;
use crate::io::sync::clock;
use crate::slots::{answer_in_crowd, wait_for};

pub(crate) const MODELS: &[Model] = &[
    ("nobody in the crowd misses his call", 3, nobody_misses_his_call),
    ("callers are woken while the crowd opens and closes", 3, || opens_and_closes(false)),
    ("callers are woken while the crowd closes and opens", 3, || opens_and_closes(true)),
    ("who comes back at once keeps nobody from watching", 2, comes_back),
    ("while anybody trusts, somebody keeps watch", 3, somebody_keeps_watch),
];

fn open(crowd: &Crowd) {
    crowd.answered(2, 2);
    crowd.answered(2, 2);
    assert!(crowd.is_open());
}

/// Two callers and the IO thread, which answers both and calls once.
fn nobody_misses_his_call() {
    let crowd = Arc::new(Crowd::default());
    open(&crowd);
    let (callers, completions): (Vec<_>, Vec<_>) = [1, 2]
        .map(|with| {
            let slot = Slot::take();
            let completion = Completion::slot(&slot);
            let crowd = crowd.clone();
            (thread::spawn(move || wait_for(&slot, &crowd, with)), (completion, with))
        })
        .into_iter()
        .unzip();
    let answered = completions.into_iter().map(|(c, with)| answer_in_crowd(c, with));
    if answered.collect::<Vec<_>>().contains(&true) {
        crowd.call();
    }
    callers.into_iter().for_each(|caller| caller.join().unwrap());
}

/// The IO thread changes its mind while callers choose where to wait.
fn opens_and_closes(open_first: bool) {
    let crowd = Arc::new(Crowd::default());
    if open_first {
        open(&crowd);
    }
    let (callers, completions): (Vec<_>, Vec<_>) = [1, 2]
        .map(|with| {
            let slot = Slot::take();
            let completion = Completion::slot(&slot);
            let crowd = crowd.clone();
            (thread::spawn(move || wait_for(&slot, &crowd, with)), (completion, with))
        })
        .into_iter()
        .unzip();
    for (completion, with) in completions {
        if answer_in_crowd(completion, with) {
            crowd.call();
        }
        if open_first {
            crowd.answered(0, 2);
        } else {
            crowd.answered(2, 2);
        }
    }
    callers.into_iter().for_each(|caller| caller.join().unwrap());
}

/// One caller calls twice in a row, the other waits all the while; the IO thread calls after each.
fn comes_back() {
    let crowd = Arc::new(Crowd::default());
    open(&crowd);
    let given = Arc::new(AtomicUsize::new(0));
    let waits = |until: usize| {
        let (crowd, given) = (crowd.clone(), given.clone());
        move || {
            for wanted in 1..=until {
                while given.load(Ordering::Acquire) < wanted {
                    let done = || given.load(Ordering::Acquire) >= wanted;
                    crowd.wait(Duration::from_millis(50), false, done);
                }
            }
        }
    };
    let callers = [thread::spawn(waits(2)), thread::spawn(waits(1))];
    for _ in 0..2 {
        given.fetch_add(1, Ordering::AcqRel);
        crowd.call();
    }
    callers.into_iter().for_each(|caller| caller.join().unwrap());
}

/// The IO thread ends, and swallows a call: everybody notices after some time, which only passes
/// for those who have a limit.
fn somebody_keeps_watch() {
    let crowd = Arc::new(Crowd::default());
    let over = Arc::new(AtomicBool::new(false));
    let waits = || {
        let (crowd, over) = (crowd.clone(), over.clone());
        move || {
            while !over.load(Ordering::Acquire) {
                crowd.wait(Duration::from_millis(50), false, || over.load(Ordering::Acquire));
            }
        }
    };
    let callers = [thread::spawn(waits()), thread::spawn(waits())];
    crowd.call();
    over.store(true, Ordering::Release);
    clock::run();
    callers.into_iter().for_each(|caller| caller.join().unwrap());
}
