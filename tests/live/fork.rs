//! A forked child has the parent's memory but none of its threads: it must be told, not hang, and
//! must not touch the parent's session.

#![allow(unsafe_code)]

use std::time::{Duration, Instant};

use zookeeper_blocking::{CreateMode, Error, WatchMode, op};

use crate::clients::client;
use crate::support::server::fresh_chroot;

// std links the C library, which has these everywhere that fork exists.
unsafe extern "C" {
    fn fork() -> i32;
    fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
    fn _exit(status: i32) -> !;
}

/// Runs `child` in a forked child, and gives its answer back as an exit status.
fn in_a_fork(child: impl FnOnce() -> u8) -> i32 {
    // SAFETY: the child runs plain code on its only thread and leaves by `_exit`, which runs no
    // exit handlers of the parent's; the C library makes its allocator usable after a fork.
    unsafe {
        match fork() {
            -1 => panic!("cannot fork"),
            0 => {
                let verdict = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
                _exit(i32::from(verdict.unwrap_or(99)))
            }
            pid => {
                // The child drops its copy; ours stays as it is.
                std::mem::forget(child);
                let mut status = 0;
                assert_eq!(waitpid(pid, &mut status, 0), pid);
                assert_eq!(status & 0x7f, 0, "the child was killed by signal {}", status & 0x7f);
                (status >> 8) & 0xff
            }
        }
    }
}

#[test]
fn d7_a_forked_child_is_told_and_the_parent_s_session_lives() {
    let chroot = fresh_chroot();
    let zk = client(&chroot);
    zk.create("/mine", "", CreateMode::Ephemeral).unwrap();
    let watch = zk.add_watch("/mine", WatchMode::Persistent).unwrap();
    let id = zk.session_id();
    let parent = zk.downgrade();

    let verdict = in_a_fork(|| {
        let start = Instant::now();
        let forked = |result: Result<(), Error>| matches!(result, Err(Error::Forked { .. }));
        let checks = [
            forked(zk.get_data("/mine").map(drop)),
            forked(zk.submit(op::Exists::new("/mine")).and_then(|p| p.wait()).map(drop)),
            forked(zk.close()),
            start.elapsed() < Duration::from_secs(5),
        ];
        // What the child drops must not end what is the parent's.
        drop(watch);
        drop(zk);
        checks.iter().position(|ok| !ok).map_or(0, |failed| failed as u8 + 1)
    });
    assert_eq!(verdict, 0, "the child's check of that number failed");

    let zk = parent.upgrade().expect("the parent's handle was not dropped");
    let stat = zk.exists("/mine").unwrap().expect("the session of the parent lives");
    assert_eq!((stat.ephemeral_owner, zk.session_id()), (id, id));
    assert_eq!(zk.watch_count(), 1, "the child took back the parent's watch");
    zk.close().unwrap();
}
