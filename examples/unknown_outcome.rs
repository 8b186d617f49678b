//! The answer to a create is lost: did it happen? Found out by reading again.
//!
//! Run it: `cargo run --example unknown_outcome -- "$(scripts/zk-server start)"`

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::{io, thread};

use zookeeper_blocking::{Applied, Client, Code, CreateMode, Result};

/// Creates `path` with data that nobody else writes. True if we did, false if another had.
fn create_once(zk: &Client, path: &str, mine: &[u8]) -> Result<bool> {
    loop {
        match zk.create(path, mine, CreateMode::Persistent) {
            Ok(_) => return Ok(true),
            // By another, or by us: an earlier try whose answer was lost.
            Err(error) if error.code() == Some(Code::NodeExists) => {
                println!("create again: {error}");
                return Ok(zk.get_data(path)?.0 == mine);
            }
            // Safe to ask again: not applied, or seen above when we do.
            Err(error) if error.is_connection() => {
                println!("{error}; applied: {:?}", error.applied());
                if error.applied() == Applied::Unknown {
                    // The server that we are with now may be behind the one that did it.
                    zk.sync(path)?;
                    println!("is there now: {}", zk.exists(path)?.is_some());
                }
            }
            Err(error) => return Err(error),
        }
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    env_logger::init();
    let servers = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2181".into());
    let (server, chroot) = servers.split_at(servers.find('/').unwrap_or(servers.len()));
    let cut = Arc::new(AtomicBool::new(false));
    let proxy = proxy(server.to_owned(), cut.clone())?;
    let zk = Client::connect(&format!("{proxy}{chroot}"))?;

    cut.store(true, SeqCst);
    let mine = format!("job of session {:x}", zk.session_id());
    println!("we made it: {}", create_once(&zk, "/unknown_outcome", mine.as_bytes())?);
    zk.delete("/unknown_outcome", 0)?;
    Ok(zk.close()?)
}

/// Passes bytes on, but for the next answer after `cut` is set: instead of it, the connection ends.
fn proxy(server: String, cut: Arc<AtomicBool>) -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    thread::spawn(move || -> io::Result<()> {
        for client in listener.incoming() {
            let (mut down, mut up, cut) = (client?, TcpStream::connect(&server)?, cut.clone());
            let (mut requests, mut onward) = (down.try_clone()?, up.try_clone()?);
            thread::spawn(move || io::copy(&mut requests, &mut onward));
            thread::spawn(move || -> io::Result<()> {
                let mut bytes = [0; 4096];
                loop {
                    let n = up.read(&mut bytes)?;
                    if n == 0 || cut.swap(false, SeqCst) {
                        return down.shutdown(Shutdown::Both);
                    }
                    down.write_all(&bytes[..n])?;
                }
            });
        }
        Ok(())
    });
    Ok(address)
}
// Output:
// create /unknown_outcome: connection lost after the request was sent; applied: Unknown
// is there now: true
// create again: create /unknown_outcome: node exists
// we made it: true
