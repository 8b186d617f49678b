//! Tables of a run, in Markdown.

mod plot;

use std::fmt::Write;
use std::path::Path;

use zk_bench::Result;

use crate::compare::peers::{Kind, NAMES};
use crate::compare::rows::{self, Cell};
use crate::record::{Run, Spread};

/// Writes the table and the plot beside the file of figures.
pub fn run(file: &Path) -> Result<()> {
    let run = Run::read(file)?;
    let plot = file.with_extension("svg");
    std::fs::write(&plot, plot::draw(&run))?;
    let name = plot.file_name().map(|name| name.to_string_lossy().into_owned());
    let table = file.with_extension("md");
    std::fs::write(&table, tables(&run, &name.unwrap_or_default()))?;
    eprintln!("{}\n{}", table.display(), plot.display());
    Ok(())
}

fn tables(run: &Run, plot: &str) -> String {
    let mut out = "# Measured\n\n".to_owned();
    for (name, value) in &run.facts {
        out += &format!("- {name}: {value}\n");
    }
    out += "\nMedians of the rounds. \"CPU\" is that of the client process, user and system, in \
            microseconds a call.\nA dash: the client has no such call.\n";
    let _ = write!(out, "\n![All rates]({plot})\n");
    for (server, title) in [("null", "A server that answers at once"), ("real", "A real server")] {
        let cells: Vec<Cell> =
            rows::rates().into_iter().filter(|c| c.server == server && run.has(c)).collect();
        if cells.is_empty() {
            continue;
        }
        let _ = write!(out, "\n## {title}\n\n{}", summary(run, &cells));
        let _ = write!(out, "\n### All, calls per second (CPU)\n\n{}", rates(run, &cells));
        out += &latencies(run, &cells);
        out += &peaks(run, &cells);
    }
    out += &counts(run);
    out += &once(run);
    out
}

/// Ours beside the floor, and beside the best of the others.
fn summary(run: &Run, cells: &[Cell]) -> String {
    let mut out = "| work | raw | ours (CPU) | min-max | ours, in batches | best with threads (CPU) | ours / it | \
                   best with tasks (CPU) | ours / it | ours / raw |\n\
                   |---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for cell in cells {
        let rate = |peer: &str| run.median(cell, peer, "rate");
        let best = |kind: Kind| {
            let peers = NAMES.into_iter().filter(|name| Kind::of(name) == kind);
            let rated = peers.filter_map(|peer| Some((peer, rate(peer)?)));
            rated.max_by(|(_, a), (_, b)| a.total_cmp(b))
        };
        let ours = rate("ours");
        let ratio = |other: Option<f64>| match (ours, other) {
            (Some(ours), Some(other)) => format!("{:.2}", ours / other),
            _ => "-".to_owned(),
        };
        let named = |best: Option<(&str, f64)>| match best {
            Some((peer, _)) => format!("{peer} {}", rate_cpu(run, cell, peer)),
            None => "-".to_owned(),
        };
        let range = run.spread(cell, "ours", "rate");
        let range =
            range.map_or("-".to_owned(), |s| format!("{}-{}", short(s.least), short(s.most)));
        let (threads, tasks) = (best(Kind::Threads), best(Kind::Tasks));
        let _ = writeln!(
            out,
            "| {} | {} | {} | {range} | {} | {} | {} | {} | {} | {} |",
            cell.name(),
            rate_cpu(run, cell, "raw"),
            rate_cpu(run, cell, "ours"),
            rate_cpu(run, cell, "ours-batch"),
            named(threads),
            ratio(threads.map(|(_, rate)| rate)),
            named(tasks),
            ratio(tasks.map(|(_, rate)| rate)),
            ratio(rate("raw")),
        );
    }
    out
}

fn rates(run: &Run, cells: &[Cell]) -> String {
    matrix(cells, |cell, peer| rate_cpu(run, cell, peer))
}

fn latencies(run: &Run, cells: &[Cell]) -> String {
    let timed: Vec<Cell> = cells
        .iter()
        .filter(|cell| cell.work.starts_with("sync-") || cell.work == "lock")
        .cloned()
        .collect();
    let show = |cell: &Cell, peer: &str| {
        let percentile = |figure| run.median(cell, peer, figure);
        match (percentile("p50_us"), percentile("p99_us")) {
            (Some(p50), Some(p99)) => format!("{} / {}", micros(p50), micros(p99)),
            _ => "-".to_owned(),
        }
    };
    section("How long a call takes, median / 99th percentile, us", matrix(&timed, show))
}

fn peaks(run: &Run, cells: &[Cell]) -> String {
    let show = |cell: &Cell, peer: &str| {
        let kib = run.median(cell, peer, "peak_kib");
        kib.map_or("-".to_owned(), |kib| format!("{:.1}", kib / 1024.0))
    };
    section("Peak memory of the process, MiB", matrix(cells, show))
}

/// What was counted.
fn counts(run: &Run) -> String {
    let cells: Vec<Cell> = rows::once()
        .into_iter()
        .filter(|cell| cell.work.starts_with("count-") && run.has(cell))
        .collect();
    let figure = |name: &'static str, digits: usize| {
        move |cell: &Cell, peer: &str| {
            let value = run.median(cell, peer, name);
            value.map_or("-".to_owned(), |value| format!("{value:.*}", rounding(value, digits)))
        }
    };
    let mut out = String::new();
    let title = "System calls per call, all threads (strace)";
    out += &section(title, matrix(&cells, figure("syscalls", 1)));
    let title = "Allocations per call, all threads (valgrind)";
    out += &section(title, matrix(&cells, figure("allocations", 2)));
    let rated: Vec<Cell> = rows::rates()
        .into_iter()
        .filter(|c| c.server == "null" && c.size == 100 && c.work.ends_with("-get") && run.has(c))
        .collect();
    let title = "Context switches per call, of the client";
    out += &section(title, matrix(&rated, figure("per_call_switches", 1)));
    out
}

/// What is done once in a process.
fn once(run: &Run) -> String {
    let mut out = String::new();
    for (figure, title, works) in [
        ("connect_ms", "From the start of the process to the first answer, ms", &["connect"][..]),
        ("rss_kib", "Memory after the first answer, KiB (RSS)", &["connect"]),
        ("threads", "Threads after the first answer", &["connect"]),
        ("bytes_each", "Bytes per call in flight, per watch (RSS)", &["inflight", "watched"]),
        ("drain_ms", "Then all of them answered, ms", &["inflight"]),
        ("resumed_ms", "From the cut to the session resumed, ms", &["rearm"]),
        ("answered_ms", "From the cut to the next answer, ms", &["rearm"]),
        ("watches", "Watches that the server then has", &["rearm"]),
        ("delete_s", "Recursive delete, s", &["delete"]),
        ("cpu_s", "Its CPU time, s", &["delete"]),
    ] {
        let cells: Vec<Cell> = rows::once()
            .into_iter()
            .filter(|cell| works.contains(&cell.work) && run.has(cell))
            .map(|cell| Cell { size: 100, ..cell })
            .collect();
        let show = |cell: &Cell, peer: &str| match (
            run.spread(cell, peer, figure),
            run.median(cell, peer, "never"),
        ) {
            (Some(spread), None) => range(figure, spread),
            (Some(spread), Some(_)) => format!("{}, then never", range(figure, spread)),
            (None, Some(_)) => "never".to_owned(),
            (None, None) => missing(run, cell, peer),
        };
        out += &section(title, matrix(&cells, show));
    }
    out
}

/// The median, and what it lies between if that is not the same.
fn range(figure: &str, spread: Spread) -> String {
    let Spread { median, least, most } = spread;
    let number = |value: f64| format!("{value:.*}", rounding(value, 1));
    if figure == "watches" || figure == "threads" || number(least) == number(most) {
        return number(median);
    }
    format!("{} ({}-{})", number(median), number(least), number(most))
}

/// Fewer digits for large figures.
fn rounding(value: f64, digits: usize) -> usize {
    match value {
        v if v >= 1000.0 => 0,
        v if v >= 10.0 || v == 0.0 => digits.min(1),
        v if v >= 0.1 => digits.max(2),
        _ => 4,
    }
}

fn section(title: &str, table: String) -> String {
    if table.is_empty() { table } else { format!("\n### {title}\n\n{table}") }
}

/// Work down, clients across: those that have a figure.
fn matrix(cells: &[Cell], show: impl Fn(&Cell, &str) -> String) -> String {
    let told =
        |peer: &&str| cells.iter().any(|cell| !["-", "failed"].contains(&&*show(cell, peer)));
    let peers: Vec<&str> = NAMES.into_iter().filter(|peer| told(peer)).collect();
    if cells.is_empty() || peers.is_empty() {
        return String::new();
    }
    let mut out =
        format!("| work | {} |\n|---|{}\n", peers.join(" | "), "---|".repeat(peers.len()));
    let servers: Vec<&str> = cells.iter().map(|cell| cell.server).collect();
    let mixed = servers.contains(&"null") && servers.contains(&"real");
    for cell in cells {
        let _ = write!(out, "| {}", cell.name());
        if mixed {
            let _ = write!(out, " ({})", cell.server);
        }
        for peer in &peers {
            let _ = write!(out, " | {}", show(cell, peer));
        }
        out += " |\n";
    }
    out
}

fn rate_cpu(run: &Run, cell: &Cell, peer: &str) -> String {
    match (run.median(cell, peer, "rate"), run.median(cell, peer, "cpu")) {
        (Some(rate), Some(cpu)) => format!("{} ({cpu:.*})", short(rate), rounding(cpu, 1)),
        _ => missing(run, cell, peer),
    }
}

fn missing(run: &Run, cell: &Cell, peer: &str) -> String {
    let failed = run.median(cell, peer, "failed").is_some();
    if failed { "failed".to_owned() } else { "-".to_owned() }
}

/// 1.23 M, 45.6 k, 789.
fn short(rate: f64) -> String {
    match rate {
        r if r >= 1e6 => format!("{:.2} M", r / 1e6),
        r if r >= 1e5 => format!("{:.0} k", r / 1e3),
        r if r >= 1e3 => format!("{:.1} k", r / 1e3),
        r => format!("{r:.0}"),
    }
}

fn micros(us: f64) -> String {
    if us >= 100.0 { format!("{us:.0}") } else { format!("{us:.1}") }
}
