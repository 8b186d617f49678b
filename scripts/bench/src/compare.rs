//! All cells, each peer after the other, over and over: what disturbs one disturbs all.

mod counts;
mod driver;
mod once;
pub mod peers;
mod place;
mod proxy;
pub mod rows;
mod servers;

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use zk_bench::Result;

use crate::record::{Record, Sink};
use crate::report;
use driver::{Driver, Ended};
use peers::Peer;
use place::Place;
use rows::{CHILDREN, Cell, SIZES};
use servers::Servers;

pub use proxy::run as proxy;

/// What is asked for on the command line.
pub struct Options {
    rounds: usize,
    seconds: f64,
    only: Vec<String>,
    peers: Vec<String>,
    place: Place,
    /// Where scripts/bench/peers/build put the other clients.
    programs: PathBuf,
    results: PathBuf,
}

impl Options {
    fn parse(args: &[&str]) -> Result<Self> {
        let mut options = Self {
            rounds: 5,
            seconds: 0.4,
            only: vec![],
            peers: vec![],
            place: Place::Pinned(0),
            programs: "target/peers".into(),
            results: "results".into(),
        };
        let list = |text: &str| text.split(',').map(str::to_owned).collect();
        let mut args = args.iter();
        while let Some(&arg) = args.next() {
            if arg == "--free" {
                options.place = Place::Free;
                continue;
            }
            let value = *args.next().ok_or_else(|| format!("{arg}: a value is missing"))?;
            match arg {
                "--rounds" => options.rounds = value.parse()?,
                "--seconds" => options.seconds = value.parse()?,
                "--only" => options.only = list(value),
                "--peers" => options.peers = list(value),
                "--cpu" => options.place = Place::Pinned(value.parse()?),
                "--programs" => options.programs = value.into(),
                "--results" => options.results = value.into(),
                _ => return Err(format!("unknown option {arg}").into()),
            }
        }
        Ok(options)
    }

    fn wants(&self, cell: &Cell) -> bool {
        let key = cell.to_string();
        self.only.is_empty() || self.only.iter().any(|part| key.contains(part.as_str()))
    }

    /// Whether everything is measured that there is.
    fn whole(&self) -> bool {
        self.only.is_empty() && self.peers.is_empty()
    }
}

pub fn run(args: &[&str]) -> Result<()> {
    let options = Options::parse(args)?;
    let mut peers = peers::found(&options.programs)?;
    peers.retain(|peer| options.peers.is_empty() || options.peers.contains(&peer.name));
    let rates: Vec<Cell> = rows::rates().into_iter().filter(|cell| options.wants(cell)).collect();
    let once: Vec<Cell> = rows::once().into_iter().filter(|cell| options.wants(cell)).collect();
    let real = rates.iter().chain(&once).any(|cell| cell.server == "real");

    let file = options.results.join(format!(
        "{}-{}{}.tsv",
        place::date()?,
        options.place.name(),
        if options.whole() { "" } else { "-part" }
    ));
    std::fs::create_dir_all(&options.results)?;
    let mut sink = Sink::create(&file)?;
    sink.facts(&options.facts(&peers)?)?;

    let servers = Servers::start(&options.place, real)?;
    let mut bench = Bench { options, peers, servers, sink, cannot: HashSet::new() };
    bench.prepare()?;
    for round in 1..=bench.options.rounds {
        for (i, cell) in rates.iter().enumerate() {
            eprintln!("round {round} of {}, {}: {cell}", bench.options.rounds, i + 1);
            bench.rates(cell, round)?;
        }
    }
    for cell in &once {
        eprintln!("{cell}");
        bench.once(cell)?;
    }
    drop(bench);
    report::run(&file)
}

/// A run.
struct Bench {
    options: Options,
    peers: Vec<Peer>,
    servers: Servers,
    sink: Sink,
    /// Who has said that he has no such call: peer and work.
    cannot: HashSet<(String, String)>,
}

impl Bench {
    /// Nodes for all on the real server, and a server that has compiled what it will run.
    fn prepare(&mut self) -> Result<()> {
        let Some(real) = &self.servers.real else { return Ok(()) };
        zk_bench::ours::prepare(&real.address, &SIZES, CHILDREN)?;
        real.warm()?;
        real.pin(&self.options.place)
    }

    fn rates(&mut self, cell: &Cell, round: usize) -> Result<()> {
        let mut peers: Vec<Peer> = self.peers.clone();
        // Nobody is always the one after the slowest.
        let first = round % peers.len().max(1);
        peers.rotate_left(first);
        for peer in peers.iter().filter(|peer| cell.is_for(peer)) {
            let Some(mut driver) = self.start(peer, cell, self.options.seconds)? else { continue };
            match driver.line(Duration::from_secs(60)) {
                Ok(line) => {
                    let peak = driver.memory()?.peak_kib;
                    self.sink.line(cell, peer, round, &line)?;
                    self.sink.put(&Record::new(cell, peer, round, "peak_kib", peak as f64))?;
                }
                Err(ended) => self.failed(cell, peer, round, ended)?,
            }
            driver.end(Duration::from_secs(15));
        }
        Ok(())
    }

    /// A driver, unless its client is known not to have the call.
    fn start(&self, peer: &Peer, cell: &Cell, seconds: f64) -> Result<Option<Driver>> {
        if self.cannot.contains(&(peer.name.clone(), cell.work.to_owned())) {
            return Ok(None);
        }
        let length = format!("{:.2}s", seconds * if peer.slow { 2.0 } else { 1.0 });
        let job = cell.job(self.servers.address(cell.server)?, &length);
        Driver::start(peer, &self.options.place, &job).map(Some)
    }

    /// Notes that there is no figure, and goes on.
    fn failed(&mut self, cell: &Cell, peer: &Peer, round: usize, ended: Ended) -> Result<()> {
        match ended {
            Ended::NoSuchCall => {
                self.cannot.insert((peer.name.clone(), cell.work.to_owned()));
                Ok(())
            }
            Ended::Failed(why) => {
                eprintln!("{}, {cell}: {why}", peer.name);
                self.sink.put(&Record::new(cell, peer, round, "failed", 1.0))
            }
        }
    }
}

impl Options {
    /// What a reader of the results must know.
    fn facts(&self, peers: &[Peer]) -> Result<Vec<(String, String)>> {
        let mut facts = place::facts(&self.place)?;
        let seconds = format!("{} rounds of {} s a cell", self.rounds, self.seconds);
        facts.push(("rounds".into(), seconds));
        facts.extend(peers::versions(&self.programs, peers)?);
        Ok(facts)
    }
}
