//! Has 1,000 creates in flight from one thread, and compares with one after the other.
//!
//! Run it: `cargo run --release --example pipeline -- "$(scripts/zk-server start)"`

use std::time::Instant;

use zookeeper_blocking::{Client, CreateMode, Pending, Result, op};

const NODES: usize = 1_000;

fn main() -> Result<()> {
    env_logger::init();
    let servers = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2181".into());
    let zk = Client::connect(&servers)?;
    zk.ensure_path("/pipeline/one")?;
    zk.ensure_path("/pipeline/many")?;

    let start = Instant::now();
    for n in 0..NODES {
        zk.create(&format!("/pipeline/one/{n}"), "", CreateMode::Persistent)?;
    }
    println!("{NODES} creates, one after the other: {:.0?}", start.elapsed());

    // `submit` queues and returns. The server does them in this order, whenever we wait.
    let start = Instant::now();
    let pending: Vec<Pending<op::Created>> = (0..NODES)
        .map(|n| zk.submit(op::Create::new(format!("/pipeline/many/{n}"))))
        .collect::<Result<_>>()?;
    for answer in pending {
        answer.wait()?;
    }
    println!("{NODES} creates, all in flight: {:.0?}", start.elapsed());

    println!("created: {}", zk.get_children("/pipeline/many")?.len());
    // Pipelined too: two folders, their nodes, and the root of them.
    println!("deleted: {}", zk.delete_recursive("/pipeline")?);
    zk.close()
}
// Output:
// 1000 creates, one after the other: …
// 1000 creates, all in flight: …
// created: 1000
// deleted: 2003
