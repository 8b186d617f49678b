//! What a call costs, counted: instructions, allocations, system calls, wake-ups. A noisy machine
//! does not blur these, so that they can be gates.

mod allocator;
mod callgrind;
mod gates;
mod null_server;
mod probes;
mod recorded;
mod server;
mod sites;
mod steps;
mod strace;
mod usage;
mod wire;
mod work;

use std::env;
use std::process::ExitCode;

use callgrind::Role;
use server::Server;
use work::Work;

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    match run(&args.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("zk-gates: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[&str]) -> Result<bool> {
    match args {
        // The processes that the others start.
        ["serve"] => null_server::run()?,
        ["step", step, times] => steps::run(step, times.parse()?)?,
        ["work", name, address, warm, calls] => {
            work::run(Work::named(name)?, address, warm.parse()?, calls.parse()?, false)?;
        }
        ["top", name, rest @ ..] => {
            let rows = rest.first().map_or(Ok(25), |rows| rows.parse())?;
            top(name, rows)?;
        }
        ["sites", name] => {
            let server = Server::start()?;
            work::run(Work::named(name)?, &server.address, 5_000, 500, true)?;
        }
        words => {
            let (options, words): (Vec<&str>, Vec<&str>) =
                words.iter().partition(|word| word.starts_with('-'));
            let record = match options[..] {
                [] => false,
                ["--record"] => true,
                _ => return Err("the one option is --record".into()),
            };
            return gates::run(&words, record);
        }
    }
    Ok(true)
}

/// Prints what each thread does, per call.
fn top(name: &str, rows: usize) -> Result<()> {
    Work::named(name)?;
    let server = Server::start()?;
    let counted = callgrind::count(&work::arguments(name, &server.address, 1_000), 2_000, 22_000)?;
    for role in [Role::Caller, Role::Io, Role::Event, Role::Other] {
        let Some(functions) = counted.of.get(&role) else { continue };
        if counted.total(role) < 1.0 {
            continue;
        }
        println!("{role:?}: {:.1} instructions per call", counted.total(role));
        let mut functions: Vec<_> = functions.iter().filter(|(_, cost)| **cost >= 0.5).collect();
        functions.sort_by(|a, b| b.1.total_cmp(a.1));
        for (name, cost) in functions.into_iter().take(rows) {
            println!("{cost:10.1}  {name}");
        }
    }
    Ok(())
}
