//! What the tour tells and checks: lines with times, claims, and waiting for what workers say.

use std::fmt;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use crate::cast::{Line, Worker};

/// Why the tour cannot go on.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl<E: fmt::Display> From<E> for Failure {
    fn from(why: E) -> Self {
        Self(why.to_string())
    }
}

/// Microseconds since 1970: the one clock that all processes of this machine share.
pub(crate) fn micros() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

/// One stretch of time in which a worker believed that it held the lock.
#[derive(Clone, Debug)]
pub(crate) struct Hold {
    pub(crate) name: &'static str,
    pub(crate) fence: i64,
    pub(crate) from: u64,
    pub(crate) until: u64,
}

pub(crate) struct Stage {
    began: u64,
    pub(crate) workers: Vec<Worker>,
    /// All that are over.
    pub(crate) holds: Vec<Hold>,
    claims: usize,
    broken: usize,
    tell: Sender<Line>,
    lines: Receiver<Line>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let (tell, lines) = channel();
        let (workers, holds) = (Vec::new(), Vec::new());
        Self { began: micros(), workers, holds, claims: 0, broken: 0, tell, lines }
    }

    pub(crate) fn chapter(&self, title: &str) {
        println!("\n== {title}");
    }

    /// What the tour itself does, or sees.
    pub(crate) fn say(&self, text: impl fmt::Display) {
        self.line(micros(), "tour", &text.to_string());
    }

    /// Why what happens is right.
    pub(crate) fn why(&self, text: &str) {
        println!("{:>15}  ({text})", "");
    }

    /// Checks a claim and goes on either way; the tour fails at its end.
    pub(crate) fn claim(&mut self, holds: bool, text: impl fmt::Display) {
        self.claims += 1;
        self.broken += usize::from(!holds);
        println!("{:>15}  {} {text}", "", if holds { "✓" } else { "✗ NOT SO:" });
    }

    pub(crate) fn enter(&mut self, name: &'static str, servers: &str) -> Result<(), Failure> {
        let worker = Worker::start(self.workers.len(), name, servers, self.tell.clone())?;
        self.say(format_args!("starts {name}, process {}", worker.pid()));
        self.workers.push(worker);
        Ok(())
    }

    pub(crate) fn living(&self) -> impl Iterator<Item = &Worker> {
        self.workers.iter().filter(|worker| worker.alive)
    }

    /// The worker that holds the lock.
    pub(crate) fn holder(&self) -> Option<usize> {
        self.workers.iter().position(|worker| worker.alive && worker.holds.is_some())
    }

    /// Listens to the workers until something is so; false if it is not within `seconds`.
    pub(crate) fn until(&mut self, seconds: u64, so: impl Fn(&Self) -> bool) -> bool {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        while !so(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.hear(line),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
            }
        }
        true
    }

    /// Notes the end of a hold.
    pub(crate) fn let_go(&mut self, worker: usize, until: u64) {
        let worker = &mut self.workers[worker];
        if let Some((fence, from)) = worker.holds.take() {
            self.holds.push(Hold { name: worker.name, fence, from, until });
        }
    }

    fn hear(&mut self, line: Line) {
        let Line { worker: index, at, word, rest } = line;
        let worker = &mut self.workers[index];
        let name = worker.name;
        if !worker.alive {
            return;
        }
        let text = match word.as_str() {
            "connected" => {
                let (server, session) = rest.split_once(' ').unwrap_or_default();
                (worker.server, worker.session) = (server.to_owned(), session.to_owned());
                format!("is connected to {server}, session {session}")
            }
            "disconnected" => "lost its connection; its session lives on".to_owned(),
            "expired" => "is told that its session expired".to_owned(),
            "config" => {
                worker.config.clone_from(&rest);
                format!("sees the configuration {rest:?}")
            }
            "holds" => {
                let fence = rest.parse().unwrap_or_default();
                worker.holds = Some((fence, at));
                worker.wrote = false;
                format!("HOLDS the lock, fence 0x{fence:x}")
            }
            "wrote" => {
                worker.wrote = true;
                "wrote to the ledger, under the lock".to_owned()
            }
            "releases" => "releases the lock".to_owned(),
            "lost" => format!("LOST the lock: {rest}"),
            other => format!("{other} {rest}"),
        };
        self.line(at, name, &text);
        if matches!(word.as_str(), "releases" | "lost") {
            self.let_go(index, at);
        }
    }

    fn line(&self, at: u64, who: &str, text: &str) {
        let seconds = Duration::from_micros(at.saturating_sub(self.began)).as_secs_f64();
        println!("{seconds:>8.3} s {who:>5}  {text}");
    }

    /// The result of it all.
    pub(crate) fn end(&self) -> Result<(), Failure> {
        let held = self.claims - self.broken;
        self.say(format_args!("{held} of {} claims held", self.claims));
        match self.broken {
            0 => Ok(()),
            n => {
                Err(format!("{n} of {} claims did not hold, see NOT SO above", self.claims).into())
            }
        }
    }
}
