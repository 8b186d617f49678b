//! A process with two threads that do nothing: what memory a client adds to.

use std::thread;

use crate::{Job, NoSuchCall, Result, cue};

pub fn run(job: &Job) -> Result<()> {
    if job.work != "connect" {
        return Err(NoSuchCall.into());
    }
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
