//! Figures as they were measured, one a line, in a file of tab-separated values. Lines that begin
//! with `#` are facts about the run: a name, a colon, and what there is to say.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use zk_bench::Result;

use crate::compare::peers::Peer;
use crate::compare::rows::Cell;

/// One figure.
#[derive(Clone, Debug)]
pub struct Record {
    /// As the cell displays itself.
    pub cell: String,
    pub peer: String,
    pub round: usize,
    pub figure: String,
    pub value: f64,
}

impl Record {
    pub fn new(cell: &Cell, peer: &Peer, round: usize, figure: &str, value: f64) -> Self {
        let (cell, peer) = (cell.to_string(), peer.name.clone());
        Self { cell, peer, round, figure: figure.to_owned(), value }
    }

    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split('\t');
        let mut next = || fields.next().map(str::to_owned);
        Some(Self {
            cell: next()?,
            peer: next()?,
            round: next()?.parse().ok()?,
            figure: next()?,
            value: next()?.parse().ok()?,
        })
    }
}

/// The file, written as the run goes: a run that is broken off leaves what it has.
pub struct Sink {
    file: File,
}

impl Sink {
    pub fn create(path: &Path) -> Result<Self> {
        Ok(Self { file: File::create(path)? })
    }

    pub fn facts(&mut self, facts: &[(String, String)]) -> Result<()> {
        for (name, value) in facts {
            writeln!(self.file, "# {name}: {value}")?;
        }
        Ok(())
    }

    pub fn put(&mut self, record: &Record) -> Result<()> {
        let Record { cell, peer, round, figure, value } = record;
        writeln!(self.file, "{cell}\t{peer}\t{round}\t{figure}\t{value}")?;
        Ok(())
    }

    /// Takes the line that a driver printed: names and values in turn.
    pub fn line(&mut self, cell: &Cell, peer: &Peer, round: usize, line: &str) -> Result<()> {
        let words: Vec<&str> = line.split_whitespace().collect();
        for pair in words.chunks(2) {
            let [figure, value] = pair else { return Err(format!("no figures: {line}").into()) };
            self.put(&Record::new(cell, peer, round, figure, value.parse()?))?;
        }
        Ok(())
    }
}

/// A whole file.
pub struct Run {
    pub facts: Vec<(String, String)>,
    records: Vec<Record>,
}

/// Median, least and most of the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Run {
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)?;
        let fact = |line: &str| {
            let (name, value) = line.strip_prefix("# ")?.split_once(": ")?;
            Some((name.to_owned(), value.to_owned()))
        };
        let facts = text.lines().filter_map(fact).collect();
        let records = text.lines().filter_map(Record::parse).collect();
        Ok(Self { facts, records })
    }

    pub fn has(&self, cell: &Cell) -> bool {
        let key = cell.to_string();
        self.records.iter().any(|record| record.cell == key)
    }

    /// A figure as it was measured, or one of those that follow: `rate` (calls per second), `cpu`
    /// (microseconds a call), `per_call_switches`.
    pub fn spread(&self, cell: &Cell, peer: &str, figure: &str) -> Option<Spread> {
        let quotient = |over: &str, under: &str, scale: f64| {
            let under = self.values(cell, peer, under);
            let of = |&(round, over): &(usize, f64)| {
                let &(_, under) = under.iter().find(|(other, _)| *other == round)?;
                (under > 0.0).then_some(over / under * scale)
            };
            self.values(cell, peer, over).iter().filter_map(of).collect()
        };
        let mut values: Vec<f64> = match figure {
            "rate" => quotient("calls", "seconds", 1.0),
            "cpu" => quotient("cpu_us", "calls", 1.0),
            "per_call_switches" => quotient("switches", "calls", 1.0),
            _ => self.values(cell, peer, figure).into_iter().map(|(_, value)| value).collect(),
        };
        values.sort_by(f64::total_cmp);
        let (&least, &most) = (values.first()?, values.last()?);
        Some(Spread { median: values[values.len() / 2], least, most })
    }

    /// The median, the figure that tables show.
    pub fn median(&self, cell: &Cell, peer: &str, figure: &str) -> Option<f64> {
        self.spread(cell, peer, figure).map(|spread| spread.median)
    }

    fn values(&self, cell: &Cell, peer: &str, figure: &str) -> Vec<(usize, f64)> {
        let key = cell.to_string();
        let of =
            |record: &&Record| record.cell == key && record.peer == peer && record.figure == figure;
        self.records.iter().filter(of).map(|record| (record.round, record.value)).collect()
    }
}
