//! One process of a client, and what it says.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use zk_bench::{NO_SUCH_CALL, Result, cue};

use super::peers::Peer;
use super::place::Place;

pub(super) struct Driver {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    /// When it was started, on the clock that its cues have.
    pub(super) started: u128,
}

/// Why there is no line.
#[derive(Debug)]
pub(super) enum Ended {
    NoSuchCall,
    Failed(String),
}

/// What a process holds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Memory {
    pub(super) rss_kib: u64,
    pub(super) peak_kib: u64,
    pub(super) threads: u64,
}

impl Driver {
    pub(super) fn start(peer: &Peer, place: &Place, job: &[String]) -> Result<Self> {
        let program = [&peer.program[..], job].concat();
        Self::spawn(place.command(&program))
    }

    pub(super) fn spawn(mut command: Command) -> Result<Self> {
        let started = cue::now();
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (sender, lines) = channel();
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(std::io::Result::ok) {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        Ok(Self { input: child.stdin.take(), child, lines, started })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line, within `time`.
    pub(super) fn line(&mut self, time: Duration) -> Result<String, Ended> {
        match self.lines.recv_timeout(time) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => {
                Err(Ended::Failed(format!("nothing within {:.0} s", time.as_secs_f64())))
            }
            Err(RecvTimeoutError::Disconnected) => Err(match self.child.wait() {
                Ok(status) if status.code() == Some(i32::from(NO_SUCH_CALL)) => Ended::NoSuchCall,
                Ok(status) => Ended::Failed(status.to_string()),
                Err(error) => Ended::Failed(error.to_string()),
            }),
        }
    }

    /// Waits for a line that begins with `word`; gives the rest of it.
    pub(super) fn cue(&mut self, word: &str, time: Duration) -> Result<String, Ended> {
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.line(left).map_err(|ended| match ended {
                Ended::Failed(_) if left < time => {
                    Ended::Failed(format!("no '{word}' within {} s", time.as_secs()))
                }
                ended => ended,
            })?;
            if let Some(rest) = line.strip_prefix(word) {
                return Ok(rest.trim().to_owned());
            }
        }
    }

    /// The time at which something happened, nanoseconds of the wall clock.
    pub(super) fn stamp(&mut self, word: &str, time: Duration) -> Result<u128, Ended> {
        let rest = self.cue(word, time)?;
        rest.parse().map_err(|_| Ended::Failed(format!("{word} without a time")))
    }

    /// Tells it to go on.
    pub(super) fn go(&mut self, word: &str) -> Result<()> {
        let input = self.input.as_mut().ok_or("its input is closed")?;
        writeln!(input, "{word}")?;
        Ok(input.flush()?)
    }

    pub(super) fn memory(&self) -> Result<Memory> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let field = |name| {
            let line = status.lines().find_map(|line: &str| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        let (rss_kib, peak_kib) = (field("VmRSS:"), field("VmHWM:"));
        Ok(Memory { rss_kib, peak_kib, threads: field("Threads:") })
    }

    /// CPU seconds so far, to a hundredth.
    pub(super) fn cpu(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()))?;
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let ticks = |i: usize| fields.get(i).and_then(|f| f.parse().ok()).unwrap_or(0.0);
        Ok((ticks(11) + ticks(12)) / 100.0)
    }

    /// Closes its input, which ends it, and waits; kills it if it does not end.
    pub(super) fn end(mut self, time: Duration) {
        self.input = None;
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
