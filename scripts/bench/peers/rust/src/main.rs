//! Rust clients, measured. Same command line and output as `zk-bench client`.
//!
//!   zk-bench-peers PEER HOST:PORT WORK N LENGTH SIZE
//!
//! PEER is zk08 (crate zookeeper), kezhuw-mt, -ct, -bo (crate zookeeper-client: tasks on a runtime
//! of many threads or of one, or OS threads that wait for each call), or tokiozk-mt, -ct (crate
//! tokio-zookeeper).

mod kezhuw;
mod tasks;
mod tokiozk;
mod zk08;

use std::process::ExitCode;

use tokio::runtime::{Builder, Runtime};
use zk_bench::{Job, Result};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    zk_bench::exit(match args.as_slice() {
        [peer, job @ ..] => run(peer, job),
        _ => Err("which client?".into()),
    })
}

fn run(peer: &str, job: &[&str]) -> Result<()> {
    let job = Job::parse(job)?;
    match peer {
        "zk08" => zk08::run(&job),
        "kezhuw-mt" => many()?.block_on(kezhuw::run(&job)),
        "kezhuw-ct" => one()?.block_on(kezhuw::run(&job)),
        "kezhuw-bo" => kezhuw::run_threads(&job, &many()?),
        "tokiozk-mt" => many()?.block_on(tokiozk::run(&job)),
        "tokiozk-ct" => one()?.block_on(tokiozk::run(&job)),
        _ => Err("unknown client".into()),
    }
}

fn many() -> Result<Runtime> {
    Ok(Builder::new_multi_thread().enable_all().build()?)
}

fn one() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

fn same(got: usize, wanted: usize) -> Result<()> {
    if got == wanted { Ok(()) } else { Err(format!("{got} instead of {wanted}").into()) }
}
