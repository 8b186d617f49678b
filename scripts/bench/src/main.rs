//! The measuring process, the measured ones, and the server that costs nothing.

mod compare;
mod record;
mod report;

use std::path::Path;
use std::process::ExitCode;

use zk_bench::{Job, Result, empty, null_server, ours, raw};

const USAGE: &str = "\
zk-bench compare [OPTION VALUE]...      all cells, all clients: see scripts/bench/run
zk-bench report FILE.tsv                the table and the plot of a run, once more
zk-bench null-server                    answers at once; prints its address
zk-bench proxy HOST:PORT                cuts its connections at each line of input
zk-bench grow HOST:PORT N               makes a tree of so many nodes on a real server
zk-bench prepare HOST:PORT              makes the nodes that the clients read on a real server
zk-bench client PEER HOST:PORT WORK N LENGTH SIZE
                                        one measurement; prints its figures

PEER    empty | raw | ours | ours-batch
WORK    sync-get | sync-set | sync-list: N threads, each waits for its answer
        pipe-get | pipe-set | pipe-create: one thread, N requests in flight
        watch: N watches, set again when they fire (null server)
        lock: N threads want one lock (real server)
        connect | inflight | watched | rearm | delete: once; driven by words, see src/cue.rs
LENGTH  0.5s after a warm-up | 100000: so many calls, for tools that count
SIZE    bytes of data, or number of children";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    zk_bench::exit(match args.as_slice() {
        ["compare", options @ ..] => compare::run(options),
        ["report", file] => report::run(Path::new(file)),
        ["null-server"] => null_server::run(),
        ["proxy", target] => compare::proxy(target),
        ["grow", address, n] => n.parse().map_err(Into::into).and_then(|n| ours::grow(address, n)),
        ["prepare", address] => {
            ours::prepare(address, &compare::rows::SIZES, compare::rows::CHILDREN)
        }
        ["client", peer, job @ ..] => client(peer, job),
        _ => Err(USAGE.into()),
    })
}

fn client(peer: &str, job: &[&str]) -> Result<()> {
    let job = Job::parse(job)?;
    match peer {
        "empty" => empty::run(&job),
        "raw" => raw::run(&job),
        "ours" => ours::run(&job),
        "ours-batch" => ours::run_batches(&job),
        _ => Err(USAGE.into()),
    }
}
