//! Creates, reads, changes and deletes one node.
//!
//! Run it: `cargo run --example hello -- "$(scripts/zk-server start)"`

use zookeeper_blocking::{Client, CreateMode, Result};

fn main() -> Result<()> {
    env_logger::init();
    let servers = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2181".into());
    let zk = Client::connect(&servers)?;

    let path = zk.create("/hello-", "hi", CreateMode::EphemeralSequential)?;
    let (data, stat) = zk.get_data(&path)?;
    println!("{path} holds {:?}, version {}", String::from_utf8_lossy(&data), stat.version);

    // Only if nobody changed it since we read it.
    let stat = zk.set_data(&path, "hello", stat.version)?;
    println!("now version {}", stat.version);

    zk.delete(&path, stat.version)?;
    println!("gone: {}", zk.exists(&path)?.is_none());
    zk.close()
}
// Output:
// /hello-000000000… holds "hi", version 0
// now version 1
// gone: true
