//! Moves a node: all or nothing, and only if nobody changed it meanwhile.
//!
//! Run it: `cargo run --example transaction -- "$(scripts/zk-server start)"`

use zookeeper_blocking::{Client, CreateMode, Error, OpResult, Result, Stat, Version};

/// Moves `from`, as it was when `stat` was read, to `to`.
fn rename(zk: &Client, from: &str, to: &str, data: &[u8], stat: &Stat) -> Result<Vec<OpResult>> {
    zk.transaction().create(to, data).delete(from, stat.version).commit()
}

fn main() -> Result<()> {
    env_logger::init();
    let servers = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2181".into());
    let zk = Client::connect(&servers)?;
    zk.create("/transaction", "", CreateMode::Persistent)?;
    zk.create("/transaction/draft", "text", CreateMode::Persistent)?;

    let (data, stat) = zk.get_data("/transaction/draft")?;
    // Somebody else is faster.
    zk.set_data("/transaction/draft", "better text", Version::Any)?;

    match rename(&zk, "/transaction/draft", "/transaction/final", &data, &stat) {
        Err(error @ Error::Transaction { index, .. }) => {
            println!("operation {index} was refused: {error}");
        }
        other => println!("unexpected: {other:?}"),
    }
    // Operation 0, the create, was not applied either.
    println!("children: {:?}", zk.get_children("/transaction")?);

    let (data, stat) = zk.get_data("/transaction/draft")?;
    let results = rename(&zk, "/transaction/draft", "/transaction/final", &data, &stat)?;
    if let Some(created) = results.first().and_then(OpResult::created) {
        println!("moved to {}", created.path);
    }
    println!("children: {:?}", zk.get_children("/transaction")?);

    zk.delete_recursive("/transaction")?;
    zk.close()
}
// Output:
// operation 1 was refused: delete /transaction/draft: operation 1 of the transaction: bad version
// children: ["draft"]
// moved to /transaction/final
// children: ["final"]
