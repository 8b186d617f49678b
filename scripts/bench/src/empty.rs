//! Threads without a client: what memory a client adds to, and what blocking threads cost by
//! themselves.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use crate::measure::measure;
use crate::{Job, NoSuchCall, Result, cue};

pub fn run(job: &Job) -> Result<()> {
    match job.work.as_str() {
        "connect" => {
            let idle = || {
                loop {
                    thread::park();
                }
            };
            thread::spawn(idle);
            thread::spawn(idle);
            cue::stamp("answered")?;
            cue::wait_end()
        }
        "sync-get" => {
            println!("{}", sleep_and_wake(job)?);
            Ok(())
        }
        _ => Err(NoSuchCall.into()),
    }
}

/// Each thread sleeps, and all of them are woken by one call when all do: the floor of any client
/// whose calls block a thread each.
fn sleep_and_wake(job: &Job) -> Result<String> {
    let bed: &'static Bed = Box::leak(Box::new(Bed::default()));
    bed.room().members = job.n;
    thread::spawn(|| bed.wake_all());
    measure(job.n, job.length, |tally| {
        loop {
            let start = Instant::now();
            bed.sleep();
            if !tally.took(start) {
                bed.room().members -= 1;
                return Ok(());
            }
        }
    })
}

#[derive(Default)]
struct Bed {
    room: Mutex<Room>,
    called: Condvar,
}

#[derive(Default)]
struct Room {
    members: usize,
    asleep: usize,
    calls: u64,
}

impl Bed {
    fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sleep(&self) {
        let mut room = self.room();
        room.asleep += 1;
        let calls = room.calls;
        while room.calls == calls {
            room = self.called.wait(room).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn wake_all(&self) {
        loop {
            let mut room = self.room();
            if room.asleep >= room.members {
                room.asleep = 0;
                room.calls += 1;
                drop(room);
                self.called.notify_all();
            } else {
                drop(room);
            }
            thread::yield_now();
        }
    }
}
