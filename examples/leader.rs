//! Two candidates and an onlooker: one leads, proclaims, and dies; the other leads.
//!
//! Run it: `cargo run --example leader -- "$(scripts/zk-server start)"`

use std::thread;
use std::time::Duration;

use zookeeper_blocking::recipes::{Contender, Election};
use zookeeper_blocking::{Client, Result};

fn say(leader: Option<Contender>) {
    match leader {
        Some(leader) => println!("onlooker: {} leads", leader.identifier_text()),
        None => println!("onlooker: nobody leads"),
    }
}

fn main() -> Result<()> {
    env_logger::init();
    let servers = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2181".into());
    let onlooker = Election::new(&Client::connect(&servers)?, "/leader")?;
    let mut seen = onlooker.observe();
    say(seen.recv()?);

    let first = Client::connect(&servers)?;
    let leadership = Election::new(&first, "/leader")?.identifier("first").campaign()?;
    say(seen.recv()?);
    leadership.proclaim("first at host:8001")?;
    say(seen.recv()?);

    let second = Election::new(&Client::connect(&servers)?, "/leader")?.identifier("second");
    let fence = leadership.fence();
    // It gets its leadership, and can see there that it is lost: one step after the other.
    let steps = thread::spawn(move || second.run(|lead| lead.is_held() && lead.fence() > fence));
    while onlooker.contenders()?.len() < 2 {
        thread::sleep(Duration::from_millis(10));
    }

    first.close()?;
    println!("first: lost: {:?}", leadership.lost());
    println!("second: led, with a larger fence: {}", steps.join().expect("no panic")?);
    Ok(())
}

// Output:
// onlooker: nobody leads
// onlooker: first leads
// onlooker: first at host:8001 leads
// first: lost: Some(Closed)
// second: led, with a larger fence: true
