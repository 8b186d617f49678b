//! Takes a lock, writes under it, loses it, and hears of that; what it then writes is refused.
//!
//! Run it: `cargo run --example lock -- "$(scripts/zk-server start)"`

use std::thread;
use std::time::Duration;

use zookeeper_blocking::recipes::Lock;
use zookeeper_blocking::{Client, Error, Result, SessionCredentials, Version};

/// Ends a session from outside, as a long pause or a cut cable would: whoever knows id and
/// password can attach to it, and close it.
fn expire(servers: &str, session: SessionCredentials) -> Result<()> {
    loop {
        let attached = Client::builder(servers).attach(session.clone()).connect();
        match attached.and_then(|client| client.close()) {
            // Its holder took it back before it was closed: once more.
            Err(error) if error.is_connection() => {}
            Ok(()) | Err(Error::SessionExpired { .. }) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn main() -> Result<()> {
    env_logger::init();
    let servers = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2181".into());
    let other = Client::connect(&servers)?;
    other.ensure_path("/lock/state")?;

    // The first holder's session, so that we can end it below.
    let session = Client::connect(&servers)?.detach()?;
    let zk = Client::builder(&servers).attach(session.clone()).connect()?;

    let guard = Lock::new(&zk, "/lock/door")?.identifier("first").acquire()?;
    // The servers check the lock's node and write in one step: no clock, no pause can fool it.
    guard.transaction().set_data("/lock/state", "of the first", Version::Any).commit()?;
    println!("first: holds, and wrote; held: {}", guard.is_held());

    let second = Lock::new(&other, "/lock/door")?.identifier("second");
    println!("second: free? {}", second.try_acquire()?.is_some());
    let waiting = thread::spawn({
        let second = second.clone();
        move || second.acquire_timeout(Duration::from_secs(20))
    });
    while second.contenders()?.len() < 2 {
        thread::sleep(Duration::from_millis(10));
    }
    for contender in second.contenders()? {
        println!("in the queue: {}", contender.identifier_text());
    }

    expire(&servers, session)?;
    // Also told without any server: when none answered for the session timeout.
    let loss = guard.wait_lost(Duration::from_secs(20)).expect("an expiry is a loss");
    println!("first: lost it, because {loss}; held: {}", guard.is_held());

    let next = waiting.join().expect("no panic")?;
    println!("second: holds; larger fence: {}", next.fence() > guard.fence());

    let late = guard.transaction().set_data("/lock/state", "too late", Version::Any).commit();
    println!("first: late write refused: {}", matches!(late, Err(Error::SessionExpired { .. })));
    println!("state: {:?}", String::from_utf8_lossy(&other.get_data("/lock/state")?.0));

    // A resource that is not in ZooKeeper gets the fence with each write, and refuses smaller ones.
    next.release()?;
    other.delete_recursive("/lock")?;
    zk.close()?;
    other.close()
}
// Output:
// first: holds, and wrote; held: true
// second: free? false
// in the queue: first
// in the queue: second
// first: lost it, because the session expired; held: false
// second: holds; larger fence: true
// first: late write refused: true
// state: "of the first"
