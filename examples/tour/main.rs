//! A tour on a real ensemble of three servers, in several processes that may be killed.
//!
//! Run it: `scripts/demo`, which starts the ensemble and sets `ZK_CONNECT` (the connect string) and
//! `ZK_DIR` (the directory with each server's pid).
//!
//! The processes are this program again, as workers ([`worker`]). They follow a configuration by
//! watch and queue for a lock. One holder is killed with -9, then one of the servers. The tour
//! prints what happened and why, checks each of its claims, and ends non-zero if one was not so.

mod cast;
mod ensemble;
mod stage;
mod story;
mod worker;

use std::process::ExitCode;

use crate::ensemble::Ensemble;
use crate::stage::Failure;

fn main() -> ExitCode {
    env_logger::init();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.as_slice() {
        [] => Ensemble::from_env().and_then(|ensemble| story::tell(&ensemble)),
        [role, name, servers] if role == "worker" => worker::run(name, servers).map_err(Into::into),
        _ => Err("the tour takes no arguments".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(why)) => {
            eprintln!("{}: {why}", args.get(1).map_or("tour", String::as_str));
            ExitCode::FAILURE
        }
    }
}
