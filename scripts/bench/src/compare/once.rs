//! What is done once in a process: connecting, filling memory, coming back after a cut, deleting.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use zk_bench::Result;

use super::Bench;
use super::driver::{Driver, Ended};
use super::peers::Peer;
use super::rows::Cell;
use crate::record::Record;

/// What one process tells: names and figures.
type Told = Vec<(&'static str, f64)>;

/// What ends a measurement without figures, or the whole run.
enum Stop {
    Peer(Ended),
    Run(Box<dyn std::error::Error + Send + Sync>),
}

impl From<Ended> for Stop {
    fn from(ended: Ended) -> Self {
        Self::Peer(ended)
    }
}

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Run(error.into())
    }
}

const SHORT: Duration = Duration::from_secs(10);
/// To fill memory, to set watches, to delete a tree.
const LONG: Duration = Duration::from_secs(180);
const CUTS: usize = 5;

impl Bench {
    pub(super) fn once(&mut self, cell: &Cell) -> Result<()> {
        let repeats = match cell.work {
            "connect" => 20,
            "inflight" | "watched" => 3,
            _ => 1,
        };
        for round in 1..=repeats {
            for peer in self.peers.clone() {
                let quick = !peer.slow || cell.work == "connect";
                if !cell.is_for(&peer) || (round > 1 && !quick) {
                    continue;
                }
                if cell.work.starts_with("count-") {
                    self.count(cell, &peer)?;
                    continue;
                }
                let Some(mut driver) = self.start(&peer, cell, 1.0)? else { continue };
                let told = match cell.work {
                    "connect" => self.connect(&mut driver).map(|told| vec![told]),
                    "inflight" => self.inflight(&mut driver, cell).map(|told| vec![told]),
                    "watched" => watched(&mut driver, cell).map(|told| vec![told]),
                    "rearm" => {
                        drop(driver);
                        self.rearm(&peer, cell)
                    }
                    _ => self.delete(&mut driver, cell).map(|told| vec![told]),
                };
                match told {
                    Ok(rounds) => {
                        for (i, told) in rounds.iter().enumerate() {
                            for &(figure, value) in told {
                                let record = Record::new(cell, &peer, round + i, figure, value);
                                self.sink.put(&record)?;
                            }
                        }
                    }
                    Err(Stop::Peer(ended)) => self.failed(cell, &peer, round, ended)?,
                    Err(Stop::Run(error)) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn connect(&self, driver: &mut Driver) -> Result<Told, Stop> {
        let answered = driver.stamp("answered", SHORT)?;
        let memory = driver.memory()?;
        Ok(vec![
            ("connect_ms", (answered - driver.started) as f64 / 1e6),
            ("rss_kib", memory.rss_kib as f64),
            ("threads", memory.threads as f64),
        ])
    }

    /// Calls that nobody answers, for the server is stopped; then answers to all.
    fn inflight(&self, driver: &mut Driver, cell: &Cell) -> Result<Told, Stop> {
        driver.cue("ready", SHORT)?;
        let before = driver.memory()?.rss_kib;
        let server = Pid::from_raw(i32::try_from(self.servers.null.pid())?);
        kill(server, Signal::SIGSTOP)?;
        let start = Instant::now();
        let asked = driver.go("go").map_err(Stop::Run).and_then(|()| Ok(driver.cue("full", LONG)?));
        let (issued, full) = (start.elapsed(), driver.memory());
        kill(server, Signal::SIGCONT)?;
        asked?;
        let start = Instant::now();
        driver.cue("done", LONG)?;
        Ok(vec![
            ("bytes_each", (full?.rss_kib - before) as f64 * 1024.0 / cell.n as f64),
            ("issue_us", issued.as_secs_f64() * 1e6 / cell.n as f64),
            ("drain_ms", start.elapsed().as_secs_f64() * 1e3),
        ])
    }

    /// Cuts the connection, again and again, and sees when the session is back.
    fn rearm(&self, peer: &Peer, cell: &Cell) -> Result<Vec<Told>, Stop> {
        let real = self.servers.real.as_ref().ok_or("no real server")?;
        let place = &self.options.place;
        let exe = std::env::current_exe()?.to_string_lossy().into_owned();
        let mut proxy =
            Driver::spawn(place.command(&[exe, "proxy".to_owned(), real.address.clone()]))?;
        let address = proxy.line(SHORT)?;
        let mut driver = Driver::start(peer, place, &cell.job(&address, "1s"))?;
        driver.cue("ready", LONG)?;
        let mut told = vec![];
        // Curiously few clients take the second cut as they take the first.
        for _ in 0..CUTS {
            std::thread::sleep(Duration::from_millis(300));
            let cpu = driver.cpu()?;
            proxy.go("cut")?;
            let cut = proxy.stamp("cut", SHORT)?;
            let since = |at: u128| at.saturating_sub(cut) as f64 / 1e6;
            let back = driver
                .stamp("resumed", SHORT)
                .and_then(|resumed| Ok((resumed, driver.stamp("answered", SHORT)?)));
            let (resumed, answered) = match back {
                Ok(back) => back,
                Err(Ended::Failed(why)) => {
                    eprintln!("{}, {cell}: {why}", peer.name);
                    told.push(vec![("never", 1.0)]);
                    break;
                }
                Err(ended) => return Err(ended.into()),
            };
            // The server sets the watches of what was sent last after it has answered the get.
            std::thread::sleep(Duration::from_millis(500));
            told.push(vec![
                ("resumed_ms", since(resumed)),
                ("answered_ms", since(answered)),
                ("cpu_ms", (driver.cpu()? - cpu) * 1e3),
                ("watches", real.watches()?),
            ]);
        }
        driver.end(Duration::from_secs(1));
        Ok(told)
    }

    fn delete(&self, driver: &mut Driver, cell: &Cell) -> Result<Told, Stop> {
        driver.cue("ready", SHORT)?;
        let grown = Command::new(std::env::current_exe()?)
            .args(["grow", self.servers.address(cell.server)?, &cell.n.to_string()])
            .status()?;
        if !grown.success() {
            return Err("the tree could not be made".into());
        }
        let (start, cpu) = (Instant::now(), driver.cpu()?);
        driver.go("go")?;
        driver.cue("done", LONG + LONG)?;
        let seconds = start.elapsed().as_secs_f64();
        Ok(vec![("delete_s", seconds), ("cpu_s", driver.cpu()? - cpu)])
    }
}

fn watched(driver: &mut Driver, cell: &Cell) -> Result<Told, Stop> {
    driver.cue("ready", SHORT)?;
    let before = driver.memory()?.rss_kib;
    driver.go("go")?;
    driver.cue("full", LONG)?;
    let bytes = (driver.memory()?.rss_kib - before) as f64 * 1024.0;
    Ok(vec![("bytes_each", bytes / cell.n as f64)])
}
