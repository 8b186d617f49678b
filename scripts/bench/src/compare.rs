//! All cells, each peer after the other, over and over: what disturbs one disturbs all.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use zk_bench::measure::Figures;
use zk_bench::{Result, ours};

/// One line of a table.
struct Work {
    name: &'static str,
    kind: &'static str,
    n: &'static str,
    /// A throw-away sketch of the same shape as the client reached this on the null server of
    /// Nov 2026, on one CPU: calls per second, CPU us per call.
    sketch: &'static str,
}

const WORK: [Work; 5] = [
    Work { name: "blocking get, 1 thread", kind: "sync", n: "1", sketch: "24-29 k (22-25)" },
    Work { name: "blocking get, 8 threads", kind: "sync", n: "8", sketch: "86-102 k (8-9)" },
    Work { name: "blocking get, 64 threads", kind: "sync", n: "64", sketch: "128-147 k (6.5-7.3)" },
    Work { name: "pipelined get, window 100", kind: "pipe", n: "100", sketch: "1.15-1.29 M (0.6)" },
    Work {
        name: "pipelined get, window 1,000",
        kind: "pipe",
        n: "1000",
        sketch: "1.76-2.08 M (0.42-0.49)",
    },
];

const PEERS: [&str; 2] = ["raw", "ours"];

pub fn run(options: &[&str]) -> Result<()> {
    let (mut rounds, mut seconds, mut real) = (3, "1.5", None);
    for pair in options.chunks(2) {
        match pair {
            ["--rounds", n] => rounds = n.parse()?,
            ["--seconds", s] => seconds = s,
            ["--server", address] => real = Some(*address),
            _ => return Err(format!("unknown option {}", pair[0]).into()),
        }
    }
    let null = Server::start()?;
    println!("\n{}\n", place()?);
    table("null server", &null.address, rounds, seconds, true)?;
    if let Some(address) = real {
        ours::prepare(address)?;
        table("real server", address, rounds, seconds, false)?;
    }
    Ok(())
}

fn table(title: &str, address: &str, rounds: usize, seconds: &str, sketch: bool) -> Result<()> {
    let mut cells: Vec<Vec<Figures>> = vec![Vec::new(); WORK.len() * PEERS.len()];
    for round in 1..=rounds {
        eprintln!("{title}: round {round} of {rounds}");
        for (cell, (work, peer)) in cells.iter_mut().zip(all()) {
            cell.push(one(peer, address, work, seconds)?);
        }
    }
    let last = if sketch { " sketch |" } else { "" };
    println!("| {title} | raw: calls/s (CPU us) | ours: calls/s (CPU us) | min-max |{last}");
    println!("|---|---|---|---|{}", if sketch { "---|" } else { "" });
    for (work, figures) in WORK.iter().zip(cells.chunks(PEERS.len())) {
        let [raw, ours] = figures else { continue };
        let rates = sorted(ours, |f| f.calls_per_second);
        let range = match &rates[..] {
            [least, .., most] => format!("{}-{}", short(*least), short(*most)),
            _ => "one round".to_owned(),
        };
        let last = if sketch { format!(" {} |", work.sketch) } else { String::new() };
        println!("| {} | {} | {} | {range} |{last}", work.name, show(raw), show(ours));
    }
    println!();
    Ok(())
}

fn all() -> impl Iterator<Item = (&'static Work, &'static str)> {
    WORK.iter().flat_map(|work| PEERS.into_iter().map(move |peer| (work, peer)))
}

/// A process of its own, so that its CPU time is the client's and nobody else's.
fn one(peer: &str, address: &str, work: &Work, seconds: &str) -> Result<Figures> {
    let run = Command::new(std::env::current_exe()?)
        .args(["client", peer, address, work.kind, work.n, &format!("{seconds}s")])
        .stderr(Stdio::inherit())
        .output()?;
    if !run.status.success() {
        return Err(format!("{peer}, {}: {}", work.name, run.status).into());
    }
    String::from_utf8(run.stdout)?.parse()
}

fn show(rounds: &[Figures]) -> String {
    let rate = median(rounds, |f| f.calls_per_second);
    let cpu = median(rounds, |f| f.cpu_us_per_call);
    let digits = if cpu < 3.0 { 2 } else { 1 };
    format!("{} ({cpu:.digits$})", short(rate))
}

fn median(rounds: &[Figures], of: impl Fn(&Figures) -> f64) -> f64 {
    let values = sorted(rounds, of);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn sorted(rounds: &[Figures], of: impl Fn(&Figures) -> f64) -> Vec<f64> {
    let mut values: Vec<f64> = rounds.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values
}

fn short(rate: f64) -> String {
    if rate >= 1e6 { format!("{:.2} M", rate / 1e6) } else { format!("{:.1} k", rate / 1e3) }
}

/// On which CPUs this runs, and what else keeps them busy.
fn place() -> Result<String> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let cpus = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let load: Vec<&str> = load.split_whitespace().take(1).collect();
    Ok(format!("CPUs {}, load {} at the start.", cpus.unwrap_or("?").trim(), load.concat()))
}

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start() -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("null-server")
            .stdout(Stdio::piped())
            .spawn()?;
        let mut address = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut address)?;
        }
        Ok(Self { child, address: address.trim().to_owned() })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
