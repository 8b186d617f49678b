//! One worker process: follows the configuration, queues for the lock, and says what it sees.
//!
//! What it says are lines on its output, `<microseconds since 1970> <word> <rest>`; what it is told
//! are lines on its input. When the input ends it closes its client and leaves, so a worker does
//! not outlive the tour, however that ends.

use std::io::BufRead;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, SystemTime};

use zookeeper_blocking::recipes::{Lock, LockGuard};
use zookeeper_blocking::{Client, Result, SessionState, Version};

/// Short, so that the tour need not wait long for a dead holder's session to expire.
pub(crate) const SESSION_TIMEOUT: Duration = Duration::from_secs(4);

pub(crate) fn run(name: &str, servers: &str) -> Result<()> {
    let told = commands();
    // In the order given: which worker is with which server is part of the story.
    let builder = Client::builder(servers).session_timeout(SESSION_TIMEOUT).shuffle(false);
    let zk = builder.connect()?;
    let states = zk.subscribe()?;
    report_connection(&zk);
    thread::scope(|scope| {
        scope.spawn(|| {
            while let Some(state) = states.recv() {
                match state {
                    SessionState::Connected => report_connection(&zk),
                    SessionState::Disconnected => say("disconnected", ""),
                    SessionState::Expired => say("expired", ""),
                    _ => {}
                }
            }
        });
        scope.spawn(|| follow(&zk));
        let result = queue(&zk, name, &told);
        // Ends the states and the watch, and with them the two threads.
        let closed = zk.close();
        result.and(closed)
    })
}

/// Reads the configuration and watches it in one request, so that no change is missed.
fn follow(zk: &Client) {
    let mut known = None;
    loop {
        match zk.watch_data("/config") {
            Ok((data, stat, watch)) => {
                // After a reconnect the same configuration may be read once more.
                if known != Some(stat.mzxid) {
                    known = Some(stat.mzxid);
                    say("config", &String::from_utf8_lossy(&data));
                }
                watch.recv();
            }
            Err(error) if error.is_terminal() => return,
            // Lost with its connection; calls wait for the next one.
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Holds the lock until it is told to release it, or loses it; then queues again, but only if it
/// was lost.
fn queue(zk: &Client, name: &str, told: &Receiver<()>) -> Result<()> {
    // No deadline: the queue may be long. Everything else keeps the usual 30 s.
    let lock = Lock::new(&zk.with_timeout(None), "/lock")?.identifier(name);
    loop {
        let guard = lock.acquire()?;
        say("holds", &guard.fence().to_string());
        // Goes through only while the lock is held: the servers check that in the same step.
        let entry = format!("{name} {}", guard.fence());
        match guard.transaction().set_data("/ledger", entry, Version::Any).commit() {
            Ok(_) => say("wrote", ""),
            Err(error) => say("refused", &error.to_string()),
        }
        if hold(&guard, told) {
            // Said before it is done: from here on others may hold.
            say("releases", "");
            guard.release()?;
            break;
        }
        say("lost", &guard.lost().map_or_else(String::new, |loss| loss.to_string()));
    }
    // A word or the end of the input: there is nothing left to do.
    let _ = told.recv();
    Ok(())
}

/// True when told to release, false when the lock was lost.
fn hold(guard: &LockGuard, told: &Receiver<()>) -> bool {
    loop {
        match told.recv_timeout(Duration::from_millis(20)) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return true,
            Err(RecvTimeoutError::Timeout) if !guard.is_held() => return false,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// One word is known, "release". The end of the input ends the process, in whatever it waits.
fn commands() -> Receiver<()> {
    let (tell, told) = channel();
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if line.is_err() || tell.send(()).is_err() {
                break;
            }
        }
        drop(tell);
        // Time to leave in order; a worker that still waits for the lock has none.
        thread::sleep(Duration::from_secs(1));
        std::process::exit(2);
    });
    told
}

fn report_connection(zk: &Client) {
    let server = zk.connected_host().unwrap_or_default();
    say("connected", &format!("{server} 0x{:x}", zk.session_id()));
}

fn say(word: &str, rest: &str) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    println!("{} {word} {rest}", now.as_micros());
}
