//! Shows the states of a session while its server is stopped and started again.
//!
//! Run it: `cargo run --example session_events -- "$(scripts/zk-server start)"`, and while it runs,
//! in another terminal: `scripts/zk-server stop; sleep 3; scripts/zk-server start`

use std::time::Duration;

use zookeeper_blocking::{Client, EventKind, Result, SessionState, WatchMode};

fn main() -> Result<()> {
    env_logger::init();
    let servers = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2181".into());
    let zk = Client::connect(&servers)?;
    // A queue of states: none is missed by who looks late. For a callback there is `on_state`.
    let states = zk.subscribe()?;
    // Works in this session only: what it owns can never leak into the next one.
    let session = zk.session()?;
    let watch = zk.add_watch("/", WatchMode::Recursive)?;

    println!("{}: stop the server now, then start it again", zk.state());
    while let Ok(state) = states.recv_timeout(Duration::from_secs(60)) {
        println!("{state}");
        match state {
            SessionState::Disconnected => {
                // Calls wait for a connection, each to its own deadline (30 s by default).
                let quick = zk.with_timeout(Duration::from_secs(1));
                if let Err(error) = quick.exists("/") {
                    println!("meanwhile: {error}; applied: {:?}", error.applied());
                }
            }
            SessionState::Connected => {
                println!("the same session: {}", session.is_alive());
                // The watch was armed again. What it missed is not told: read what matters again.
                let told = watch.recv_timeout(Duration::from_secs(10)).map(|event| event.kind);
                println!("the watch says to read again: {}", told == Ok(EventKind::Resync));
                break;
            }
            SessionState::Expired => println!("ephemeral nodes and locks are gone"),
            _ => {}
        }
    }
    zk.close()?;
    println!("{}", states.recv().unwrap_or(SessionState::Closed));
    Ok(())
}
// Output:
// connected: stop the server now, then start it again
// disconnected
// meanwhile: exists /: deadline passed before the request was sent; applied: No
// connected
// the same session: true
// the watch says to read again: true
// closed
