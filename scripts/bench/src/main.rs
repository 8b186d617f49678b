//! The measuring process, the measured ones, and the server that costs nothing.

mod compare;

use std::process::ExitCode;

use zk_bench::{Result, null_server, ours, raw};

const USAGE: &str = "\
zk-bench null-server                            answers at once; prints its address
zk-bench client PEER HOST:PORT WORK N LENGTH    one measurement; prints its figures
zk-bench compare [--rounds N] [--seconds S] [--server HOST:PORT]

PEER    raw | ours
WORK    sync: N threads, each waits for its answer | pipe: one thread, N requests in flight
LENGTH  1.5s after a warm-up | 100000: so many calls, for tools that count";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["null-server"] => null_server::run(),
        ["client", peer, address, work, n, length] => client(peer, address, work, n, length),
        ["compare", options @ ..] => compare::run(options),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn client(peer: &str, address: &str, work: &str, n: &str, length: &str) -> Result<()> {
    let n = n.parse()?;
    let length = length.parse()?;
    let figures = match (peer, work) {
        ("raw", "sync" | "pipe") => raw::run(address, n, length)?,
        ("ours", "sync") => ours::sync(address, n, length)?,
        ("ours", "pipe") => ours::pipe(address, n, length)?,
        _ => return Err(USAGE.into()),
    };
    println!("{figures}");
    Ok(())
}
