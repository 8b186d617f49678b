//! The machine, and where on it things run.

use std::fs;
use std::process::{Command, Stdio};

use zk_bench::Result;

#[derive(Clone, Debug)]
pub(super) enum Place {
    /// Client and server on one CPU: a hand-over is a context switch, and the rate is one over the
    /// CPU time of both. Rounds repeat well.
    Pinned(usize),
    /// Where the kernel puts them.
    Free,
}

impl Place {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Pinned(_) => "pinned",
            Self::Free => "free",
        }
    }

    /// A command that runs there.
    pub(super) fn command(&self, program: &[String]) -> Command {
        let mut words = vec![];
        if let Self::Pinned(cpu) = self {
            words = vec!["taskset".to_owned(), "-c".to_owned(), cpu.to_string()];
        }
        words.extend_from_slice(program);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command
    }

    /// Moves a process that runs, with all its threads.
    pub(super) fn take(&self, pid: u32) -> Result<()> {
        if let Self::Pinned(cpu) = self {
            let taskset = Command::new("taskset")
                .args(["-acp", &cpu.to_string(), &pid.to_string()])
                .stdout(Stdio::null())
                .status()?;
            if !taskset.success() {
                return Err("taskset failed".into());
            }
        }
        Ok(())
    }
}

pub(super) fn date() -> Result<String> {
    say(&["date", "-u", "+%F"])
}

pub(super) fn facts(place: &Place) -> Result<Vec<(String, String)>> {
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cpus = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let memory = fs::read_to_string("/proc/meminfo")?;
    let kib = memory.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0.0);
    let load = fs::read_to_string("/proc/loadavg")?;
    let placement = match place {
        Place::Pinned(cpu) => format!("client and server on CPU {cpu}"),
        Place::Free => "client and server where the kernel puts them".to_owned(),
    };
    let model = model.map_or("unknown", |(_, model)| model);
    let fact = |name: &str, value: String| (name.to_owned(), value);
    Ok(vec![
        fact("date", say(&["date", "-u", "+%F %H:%M UTC"])?),
        fact("machine", format!("{cpus} x {model}, {:.0} GiB", kib / 1024.0 / 1024.0)),
        fact("kernel", say(&["uname", "-sr"])?),
        fact("placement", placement),
        fact("load at the start", load.split_whitespace().next().unwrap_or("?").to_owned()),
    ])
}

/// What a command prints, without its last newline; nothing if it fails.
pub(super) fn say(command: &[&str]) -> Result<String> {
    let output = Command::new(command[0]).args(&command[1..]).stderr(Stdio::null()).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}
