//! The workers as the tour sees them: child processes, and what each of them said last.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use crate::stage::{Failure, micros};

/// What a worker said.
pub(crate) struct Line {
    pub(crate) worker: usize,
    /// By the worker's own clock, which is this machine's.
    pub(crate) at: u64,
    pub(crate) word: String,
    pub(crate) rest: String,
}

/// A worker process. Killed when dropped, so that none is left behind however the tour ends.
pub(crate) struct Worker {
    pub(crate) name: &'static str,
    child: Child,
    input: Option<ChildStdin>,
    pub(crate) alive: bool,
    pub(crate) server: String,
    pub(crate) session: String,
    pub(crate) config: String,
    /// The fence of the lock while it holds it, and since when.
    pub(crate) holds: Option<(i64, u64)>,
    pub(crate) wrote: bool,
}

impl Worker {
    pub(crate) fn start(
        index: usize,
        name: &'static str,
        servers: &str,
        lines: Sender<Line>,
    ) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["worker", name, servers])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take();
        let output = child.stdout.take().ok_or("no output")?;
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let mut parts = line.splitn(3, ' ').map(str::to_owned);
                let mut part = || parts.next().unwrap_or_default();
                let (at, word, rest) = (part().parse().unwrap_or_default(), part(), part());
                if lines.send(Line { worker: index, at, word, rest }).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            name,
            child,
            input,
            alive: true,
            server: String::new(),
            session: String::new(),
            config: String::new(),
            holds: None,
            wrote: false,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells it to release the lock.
    pub(crate) fn release(&mut self) -> Result<(), Failure> {
        let input = self.input.as_mut().ok_or("its input is closed")?;
        Ok(writeln!(input, "release")?)
    }

    /// Kills it with -9: it cannot close its session, nor anything else. Gives the time.
    pub(crate) fn kill(&mut self) -> Result<u64, Failure> {
        let at = micros();
        self.child.kill()?;
        self.child.wait()?;
        self.alive = false;
        Ok(at)
    }

    /// Ends its input and waits for it; true if it left in order.
    pub(crate) fn leave(&mut self, timeout: Duration) -> Result<bool, Failure> {
        self.input = None;
        let start = Instant::now();
        while start.elapsed() < timeout {
            if let Some(status) = self.child.try_wait()? {
                self.alive = false;
                return Ok(status.success());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(false)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Of one that has ended already, both are no more than an error.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
