//! Starting the two threads, and ending them.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::unbounded;

use crate::io::dispatch::{self, Event, ListenerId};
use crate::io::driver::{Driver, Setup};
use crate::io::shared::Shared;
use crate::session::state::SessionState;

/// The threads of one client.
#[derive(Debug)]
pub(crate) struct Threads {
    pub(crate) io: JoinHandle<()>,
    pub(crate) event: JoinHandle<()>,
}

/// Starts a client's threads. On failure nothing is left behind.
pub(crate) fn start(mut setup: Setup) -> io::Result<(Arc<Shared>, Threads)> {
    let poll = mio::Poll::new()?;
    let waker = mio::Waker::new(poll.registry(), Driver::WAKER)?;
    let (requests, queue) = unbounded();
    let (events, event_queue) = unbounded();
    // Never sent on: they disconnect when the thread that holds the sender ends.
    let (io_alive, io_done) = crossbeam_channel::bounded::<()>(0);
    let (event_alive, event_done) = crossbeam_channel::bounded::<()>(0);
    let limit = setup.in_flight;
    let shared = Arc::new(Shared::new(requests, events.clone(), waker, limit, io_done, event_done));

    for listener in std::mem::take(&mut setup.listeners) {
        let _ = events.send(Event::Listen(ListenerId(shared.next_id()), listener));
    }
    let event = thread::Builder::new().name("zk-event".into()).spawn(move || {
        dispatch::run(&event_queue);
        drop(event_queue);
        drop(event_alive);
    })?;
    let driver = Driver::new(setup, poll, queue, shared.clone());
    let spawned = thread::Builder::new().name("zk-io".into()).spawn({
        let events = events.clone();
        let shared = shared.clone();
        move || {
            let mut driver = driver;
            let run = catch_unwind(AssertUnwindSafe(|| driver.run()));
            if run.is_err() {
                // A bug of ours. The client must not live on as a zombie: it closes, loudly.
                log::error!("the IO thread panicked; the client is closed");
                let (epoch, _) = shared.standing();
                shared.publish(epoch, SessionState::Closed);
                let _ = catch_unwind(AssertUnwindSafe(|| driver.abort()));
            }
            // Whatever is still queued or in flight answers from its `Drop`.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(driver)));
            let _ = events.send(Event::Last);
            drop(io_alive);
        }
    });
    match spawned {
        Ok(io) => Ok((shared, Threads { io, event })),
        Err(error) => {
            let _ = events.send(Event::Last);
            let _ = event.join();
            Err(error)
        }
    }
}
