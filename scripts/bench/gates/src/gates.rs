//! The gates: counts everything, and prints it beside what is recorded.

use std::fs;
use std::process::Command;

use crate::probes::{self, Probe};
use crate::recorded::{self, Allowed, Figure, Line, Verdict};
use crate::server::Server;
use crate::{Result, strace};

/// Counts those figures whose names have one of `words` in them, all if there is none. Prints the
/// table; false if one is worse than recorded. With `record`, writes them down instead.
pub fn run(words: &[&str], record: bool) -> Result<bool> {
    let book = Book::open()?;
    let server = Server::start()?;
    let wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word));
    let no_trace = strace::obstacle();
    let mut counted: Vec<Figure> = Vec::new();
    let mut skipped = Vec::new();

    println!("{:34} {:>9} {:>9} {:>6}  verdict", "gate", "recorded", "counted", "ratio");
    for probe in probes::all() {
        let names: Vec<_> = probe.names().into_iter().filter(|name| wanted(name)).collect();
        if names.is_empty() {
            continue;
        }
        if matches!(probe, Probe::Traced(..)) && no_trace.is_some() {
            skipped.extend(names);
            continue;
        }
        let figures = book.best_of(probe, &server.address, &names, record)?;
        for name in names {
            match figures.iter().find(|figure| figure.name == name) {
                Some(figure) => {
                    println!("{}", book.row(figure));
                    counted.push(figure.clone());
                }
                None => skipped.push(name),
            }
        }
    }

    for name in &skipped {
        println!("{name:34} {:9.2} {:>9} {:>6}  SKIPPED", was(book.line(name)), "-", "-");
    }
    if !skipped.is_empty() {
        let why = no_trace.unwrap_or_else(|| "this kernel does not count them".to_owned());
        println!("\nSKIPPED, NOT COUNTED: {} gates. {why}", skipped.len());
    }
    if record {
        recorded::write(RECORDED, &head(), &counted, &book.lines)?;
        println!("\nwritten to {RECORDED}: look at its diff before you commit it");
        return Ok(true);
    }
    Ok(book.sum_up(&counted))
}

/// What is recorded, and where that was.
struct Book {
    lines: Vec<Line>,
    /// `rustc` and the like.
    with: String,
    kernel: String,
}

impl Book {
    fn open() -> Result<Self> {
        let head = fs::read_to_string(RECORDED).unwrap_or_default();
        let find = |start: &str| head.lines().find_map(|line| line.strip_prefix(start));
        Ok(Self {
            lines: recorded::read(RECORDED)?,
            with: find(WITH).unwrap_or_default().to_owned(),
            kernel: find(KERNEL).unwrap_or_default().to_owned(),
        })
    }

    fn line(&self, name: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.name == name)
    }

    fn verdict(&self, figure: &Figure) -> Verdict {
        figure.verdict(self.line(&figure.name), self.slack(&figure.name))
    }

    /// Who runs next is decided by the kernel, and another one may decide otherwise: it takes more
    /// to fail there. What a thread does by itself is the same under each.
    fn slack(&self, name: &str) -> f64 {
        let by_itself = name.starts_with("instructions/") || name.starts_with("allocations/");
        if by_itself || self.kernel == kernel() { 1.0 } else { OTHER_KERNEL }
    }

    /// Runs a probe, and again if one of the figures `names` came out worse than recorded; to
    /// record, as often as that could be.
    fn best_of(
        &self,
        probe: Probe,
        address: &str,
        names: &[String],
        record: bool,
    ) -> Result<Vec<Figure>> {
        let mut figures = probe.run(address)?;
        for _ in 1..TRIES {
            let is_worse = |figure: &Figure| {
                names.contains(&figure.name) && self.verdict(figure) == Verdict::Worse
            };
            if !record && !figures.iter().any(is_worse) {
                break;
            }
            let again = probe.run(address)?;
            let both = figures.into_iter().zip(again);
            figures = both.map(|(one, other)| one.or_better(other)).collect();
        }
        Ok(figures)
    }

    fn row(&self, figure: &Figure) -> String {
        let Figure { name, value, unit, .. } = figure;
        let line = self.line(name);
        let allowed = line.map_or(Allowed::Info, |line| line.allowed);
        let verdict = match self.verdict(figure) {
            Verdict::Ok if allowed == Allowed::Info => "info".to_owned(),
            Verdict::Ok => format!("ok ({allowed})"),
            Verdict::Better => "better: re-record".to_owned(),
            Verdict::Worse => format!("WORSE ({allowed})"),
            Verdict::New => "new: record it".to_owned(),
        };
        let ratio = match was(line) {
            was if was > 0.0 => format!("{:6.2}", value / was),
            _ => "     -".to_owned(),
        };
        format!("{name:34} {:9.2} {value:9.2} {ratio}  {verdict:18} {unit}", was(line))
    }

    /// Says how it ended; false if a figure is worse.
    fn sum_up(&self, counted: &[Figure]) -> bool {
        let worse: Vec<_> =
            counted.iter().filter(|figure| self.verdict(figure) == Verdict::Worse).collect();
        if self.kernel != kernel() {
            println!(
                "\nRecorded on Linux {}, this is {}: what the scheduler has a hand in may differ \
                 {OTHER_KERNEL} times as much.",
                self.kernel,
                kernel()
            );
        }
        if worse.is_empty() {
            println!("\n{} gates passed", counted.len());
            return true;
        }
        println!("\nWORSE than recorded, in each of {TRIES} tries:");
        for figure in worse {
            let was = was(self.line(&figure.name));
            println!("    {}: {:.2}, recorded {was:.2} {}", figure.name, figure.value, figure.unit);
        }
        println!("\n{ADVICE}\nrecorded with  {}\nthis is        {}", self.with, with());
        false
    }
}

fn was(line: Option<&Line>) -> f64 {
    line.map_or(f64::NAN, |line| line.value)
}

/// What the figures depend on, beside the code and the kernel.
fn with() -> String {
    let version = |program: &str| {
        let output = Command::new(program).arg("--version").output();
        let text = output.map(|out| String::from_utf8_lossy(&out.stdout).into_owned());
        text.ok().and_then(|text| text.lines().next().map(str::to_owned)).unwrap_or_default()
    };
    [version("rustc"), version("valgrind"), version("ldd")].join("; ")
}

/// The kernel's version, without what follows the second dot.
fn kernel() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.trim().split('.').take(2).collect::<Vec<_>>().join(".")
}

fn head() -> String {
    format!("{HEAD}{WITH}{}\n{KERNEL}{}\n", with(), kernel())
}

/// Tries of a probe that came out worse. A thread that was preempted at the wrong moment costs a
/// turn more; work that is really longer is so in every try.
const TRIES: usize = 3;

/// See [`Book::slack`].
const OTHER_KERNEL: f64 = 3.0;

const RECORDED: &str = "recorded.txt";
const WITH: &str = "# Recorded with ";
const KERNEL: &str = "# Recorded on Linux ";
const HEAD: &str = "\
# What calls cost, as counted by scripts/bench/gates/run --record, which rewrites the figures and
# keeps the third column: how far a new figure may be from the recorded one.
#
#     +10%   higher is worse, by up to 10 % it passes      +0.03   so too, by up to so much
#     -10%   lower is worse, by up to 10 % it passes       info    never fails
#
";
const ADVICE: &str = "\
To see where it goes:       scripts/bench/gates/run top WORK, or: sites WORK
If it is meant, or another rustc, libc or valgrind alone moved it:
                            scripts/bench/gates/run --record, and commit recorded.txt";
