//! Instructions, counted by valgrind's callgrind: of each thread, and of each function.
//!
//! The same work is run twice, with few calls and with many. What the difference cost is what
//! the calls cost, without the start, the connecting and the end.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Result;

/// Instructions of each function of one thread, without those that it called.
pub type Profile = HashMap<String, i64>;

/// The threads that matter. Callers are one here: the main thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    Caller,
    Io,
    Event,
    Other,
}

/// Per call and thread.
#[derive(Debug, Default)]
pub struct Instructions {
    pub of: HashMap<Role, HashMap<String, f64>>,
}

impl Instructions {
    pub fn total(&self, role: Role) -> f64 {
        self.of.get(&role).map_or(0.0, |functions| functions.values().sum())
    }
}

/// Counts a step: what it costs to take it once.
pub fn count_step(step: &str, times: u64) -> Result<f64> {
    let toggle = format!("--toggle-collect={}", crate::steps::COUNTED);
    let work = ["step".to_owned(), step.to_owned()];
    let threads = profile(&[&toggle], &work, times)?;
    let all: i64 = threads.values().flat_map(HashMap::values).sum();
    Ok(all as f64 / times as f64)
}

/// Counts `work`, a command line of this program that ends with the number of calls.
pub fn count(work: &[String], few: u64, many: u64) -> Result<Instructions> {
    let less = profile(&[], work, few)?;
    let more = profile(&[], work, many)?;
    let mut per_call = Instructions::default();
    for (role, functions) in more {
        let before = less.get(&role);
        let of = per_call.of.entry(role).or_default();
        for (name, cost) in functions {
            let extra = cost - before.and_then(|before| before.get(&name)).copied().unwrap_or(0);
            of.insert(name, extra as f64 / (many - few) as f64);
        }
    }
    Ok(per_call)
}

fn profile(options: &[&str], work: &[String], calls: u64) -> Result<HashMap<Role, Profile>> {
    let dir = std::env::temp_dir().join(format!("zk-gates-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let run = || {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--separate-threads=yes", "--compress-strings=no"])
            // Threads take turns, instead of one that runs on and another that starves.
            .args(["--fair-sched=yes", "--quiet"])
            .args(options)
            .arg(format!("--callgrind-out-file={}", dir.join("out").display()))
            .arg(std::env::current_exe()?)
            .args(work)
            .arg(calls.to_string())
            .output()?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("valgrind: {}: {why}", output.status).into());
        }
        read_all(&dir)
    };
    let profiles = run();
    fs::remove_dir_all(&dir)?;
    profiles
}

/// Reads the file of each thread: `out-01` is the main thread's.
fn read_all(dir: &Path) -> Result<HashMap<Role, Profile>> {
    let mut profiles: HashMap<Role, Profile> = HashMap::new();
    for file in fs::read_dir(dir)? {
        let path = file?.path();
        let Some(number) =
            path.extension().is_none().then(|| path.to_string_lossy()).and_then(|name| {
                name.rsplit_once("out-").and_then(|(_, number)| number.parse::<u32>().ok())
            })
        else {
            continue;
        };
        let functions = parse(&fs::read_to_string(&path)?)?;
        let role = if number == 1 { Role::Caller } else { role(&functions) };
        let profile = profiles.entry(role).or_default();
        for (name, cost) in functions {
            *profile.entry(name).or_default() += cost;
        }
    }
    if profiles.is_empty() {
        return Err("valgrind left no profile".into());
    }
    Ok(profiles)
}

/// A thread is known by what it runs.
fn role(functions: &Profile) -> Role {
    let runs = |what| functions.keys().any(|name| name.contains(what));
    if runs("::io::driver::") {
        Role::Io
    } else if runs("::io::dispatch::") {
        Role::Event
    } else {
        Role::Other
    }
}

/// Sums the lines of cost of each function. The line after a `calls=` is the cost of the called.
fn parse(text: &str) -> Result<Profile> {
    let mut functions = Profile::new();
    let mut current: Option<&str> = None;
    let mut skip = false;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("fn=") {
            current = Some(name);
        } else if line.starts_with("calls=") {
            skip = true;
        } else if line.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '*')) {
            if std::mem::take(&mut skip) {
                continue;
            }
            let cost = line.split_whitespace().nth(1).unwrap_or("0");
            if let Some(name) = current {
                *functions.entry(name.to_owned()).or_default() += cost.parse::<i64>()?;
            }
        }
    }
    Ok(functions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_of_a_called_function_is_not_its_callers() {
        let text = "events: Ir\n\nfl=a.rs\nfn=outer\n3 10\n+1 5\ncfn=inner\ncalls=2 7\n4 100\n* 1\n\
                    \nfn=inner\n7 100\ntotals: 116\n";
        let functions = parse(text).unwrap();
        assert_eq!(functions["outer"], 16);
        assert_eq!(functions["inner"], 100);
    }
}
