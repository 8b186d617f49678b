//! What the tests of faults share: watching a client's states, and an ensemble to be gentle to.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use zookeeper_blocking::{Client, ClientBuilder, SessionState, StateEvents};

use crate::support::server::Ensemble;
use crate::support::wait::{eventually, scaled};

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A client in the making whose calls wait 10 s at most and whose hosts are tried as they come.
pub(crate) fn builder(connect: &str, session_timeout: Duration) -> ClientBuilder {
    Client::builder(connect)
        .session_timeout(session_timeout)
        .call_timeout(Duration::from_secs(10))
        .shuffle(false)
}

/// A client made by [`builder`].
#[track_caller]
pub(crate) fn connect(connect: &str, session_timeout: Duration) -> Client {
    match builder(connect, session_timeout).connect() {
        Ok(client) => client,
        Err(error) => panic!("{error}"),
    }
}

/// Waits for `wanted` among the states to come, and gives the time; panics after 30 s.
#[track_caller]
pub(crate) fn await_state(states: &StateEvents, wanted: SessionState) -> Instant {
    let deadline = Instant::now() + scaled(Duration::from_secs(30));
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match states.recv_timeout(left) {
            Ok(state) if state == wanted => return Instant::now(),
            Ok(_) => {}
            Err(why) => panic!("the client never was {wanted}: {why}"),
        }
    }
}

/// The next state; panics if it is not `wanted`.
#[track_caller]
pub(crate) fn next_state(states: &StateEvents, wanted: SessionState) -> Instant {
    let next = states.recv_timeout(scaled(Duration::from_secs(20)));
    assert_eq!(next, Ok(wanted));
    Instant::now()
}

/// Waits until the client is connected, read-write.
#[track_caller]
pub(crate) fn await_connected(client: &Client) {
    eventually("the client is connected", Duration::from_secs(20), || {
        client.state() == SessionState::Connected
    });
}

/// An ensemble of three for tests that leave all its servers alone. It ends with the process.
pub(crate) fn gentle_ensemble() -> &'static Ensemble {
    static ENSEMBLE: OnceLock<Ensemble> = OnceLock::new();
    ENSEMBLE.get_or_init(|| Ensemble::start(3))
}

/// Prints a figure; `cargo test -- --nocapture` shows it.
pub(crate) fn figure(what: &str, value: impl std::fmt::Debug) {
    eprintln!("figure: {what}: {value:?}");
}
