//! Follows a node by one-shot watches without losing the last word.
//!
//! Run it: `cargo run --example watch_loop -- "$(scripts/zk-server start)"`
//!
//! Reading and watching are *one* request, so no change can slip in between. Changes that come
//! faster than we read become one: a watch says that there is news, not what it is.

use std::thread;

use zookeeper_blocking::{Client, Code, CreateMode, EventKind, Result, Version};

const UPDATES: usize = 1_000;

fn main() -> Result<()> {
    env_logger::init();
    let servers = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2181".into());
    let zk = Client::connect(&servers)?;
    zk.create("/watch_loop", "update 0", CreateMode::Ephemeral)?;

    let writer = thread::spawn({
        let zk = zk.clone();
        move || -> Result<()> {
            for n in 1..=UPDATES {
                zk.set_data("/watch_loop", format!("update {n}"), Version::Any)?;
            }
            zk.delete("/watch_loop", Version::Any)
        }
    });

    let mut reads = 0;
    let mut version = -1;
    let mut last = String::new();
    let end = loop {
        let (data, stat, watch) = match zk.watch_data("/watch_loop") {
            Err(error) if error.code() == Some(Code::NoNode) => break "the node was deleted",
            read => read?,
        };
        assert!(stat.version > version, "news are new: {} after {version}", stat.version);
        (version, last) = (stat.version, String::from_utf8_lossy(&data).into_owned());
        reads += 1;

        // Exactly one event: the change, or the end of the session.
        match watch.recv() {
            Some(event) if event.kind == EventKind::Deleted => break "the node was deleted",
            Some(event) if event.is_end() => break "the session ended",
            _ => {} // Changed: read it again, which arms the next watch.
        }
    };
    writer.join().expect("the writer does not panic")?;

    println!("{reads} reads for {UPDATES} updates, each newer than the one before");
    println!("the last: {last}, then {end}");
    zk.close()
}
// Output:
// … reads for 1000 updates, each newer than the one before
// the last: update …, then the node was deleted
