//! The recorded figures, and what a new one is worth beside them.
//!
//! A line of the file is a name, the figure, how far a new one may be from it, and the unit:
//!
//! ```text
//! +10%   higher is worse, by up to 10 % it passes
//! -10%   lower is worse
//! +0.03  higher is worse, by up to so much it passes
//! info   never fails
//! ```

use std::fmt;
use std::fs;
use std::str::FromStr;

use crate::Result;

/// A figure, as counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    pub name: String,
    pub value: f64,
    pub unit: &'static str,
    /// Used when the figure is recorded for the first time.
    pub allowed: Allowed,
}

/// How far a figure may be from the recorded one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Allowed {
    /// So much of the recorded one above it.
    Above(f64),
    /// So much of the recorded one below it.
    Below(f64),
    /// Above it by so much.
    Over(f64),
    Info,
}

/// A figure, as recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub name: String,
    pub value: f64,
    pub allowed: Allowed,
    pub unit: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Ok,
    Better,
    Worse,
    New,
}

impl Figure {
    pub fn new(name: String, value: f64, unit: &'static str, allowed: Allowed) -> Self {
        Self { name, value, unit, allowed }
    }

    /// `slack` multiplies what is allowed.
    pub fn verdict(&self, recorded: Option<&Line>, slack: f64) -> Verdict {
        let Some(line) = recorded else { return Verdict::New };
        let was = line.value;
        // What is printed is what is compared.
        let is = rounded(self.value);
        let (worse, margin) = match line.allowed {
            Allowed::Above(part) => (is - was, was * part * slack),
            Allowed::Below(part) => (was - is, was * part * slack),
            Allowed::Over(much) => (is - was, much * slack),
            Allowed::Info => return Verdict::Ok,
        };
        if worse > margin + EPSILON {
            Verdict::Worse
        } else if -worse > margin.max(was * 0.1) + EPSILON {
            Verdict::Better
        } else {
            Verdict::Ok
        }
    }

    /// The better one of two counts of the same.
    pub fn or_better(self, other: Self) -> Self {
        let high_is_good = matches!(self.allowed, Allowed::Below(_));
        if (other.value > self.value) == high_is_good { other } else { self }
    }
}

/// Less than what is printed can show, more than the arithmetic errs.
const EPSILON: f64 = 1e-6;

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Reads the file; one that is not there has no lines.
pub fn read(path: &str) -> Result<Vec<Line>> {
    let Ok(text) = fs::read_to_string(path) else { return Ok(Vec::new()) };
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::parse).collect()
}

/// Writes `figures` over the lines of the same names; the others stay, and so does what is allowed.
pub fn write(path: &str, head: &str, figures: &[Figure], lines: &[Line]) -> Result<()> {
    let mut all: Vec<Line> = lines.to_vec();
    for figure in figures {
        match all.iter_mut().find(|line| line.name == figure.name) {
            Some(line) => line.value = figure.value,
            None => all.push(Line {
                name: figure.name.clone(),
                value: figure.value,
                allowed: figure.allowed,
                unit: figure.unit.to_owned(),
            }),
        }
    }
    let body: String = all.iter().map(|line| format!("{line}\n")).collect();
    Ok(fs::write(path, format!("{head}{body}"))?)
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value, allowed, unit } = self;
        write!(f, "{name:34} {value:9.2}  {:6}  {unit}", allowed.to_string())
    }
}

impl FromStr for Line {
    type Err = Box<dyn std::error::Error + Send + Sync>;

    fn from_str(line: &str) -> Result<Self> {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            [name, value, allowed, ref unit @ ..] => Ok(Self {
                name: name.to_owned(),
                value: value.parse()?,
                allowed: allowed.parse()?,
                unit: unit.join(" "),
            }),
            _ => Err(format!("not a recorded figure: {line}").into()),
        }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Above(part) => write!(f, "+{:.0}%", part * 100.0),
            Self::Below(part) => write!(f, "-{:.0}%", part * 100.0),
            Self::Over(much) => write!(f, "+{much:.2}"),
            Self::Info => f.write_str("info"),
        }
    }
}

impl FromStr for Allowed {
    type Err = Box<dyn std::error::Error + Send + Sync>;

    fn from_str(word: &str) -> Result<Self> {
        if word == "info" {
            return Ok(Self::Info);
        }
        let (sign, number) = word.split_at_checked(1).unwrap_or_default();
        Ok(match (sign, number.strip_suffix('%')) {
            ("+", Some(percent)) => Self::Above(percent.parse::<f64>()? / 100.0),
            ("-", Some(percent)) => Self::Below(percent.parse::<f64>()? / 100.0),
            ("+", None) => Self::Over(number.parse()?),
            _ => return Err(format!("{word} is none of +10%, -10%, +0.03, info").into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(recorded: &str, value: f64) -> Verdict {
        let line = recorded.parse().unwrap();
        Figure::new("x".into(), value, "", Allowed::Info).verdict(Some(&line), 1.0)
    }

    #[test]
    fn a_tenth_passes_and_more_fails() {
        assert_eq!(verdict("x 200 +10% y", 220.0), Verdict::Ok);
        assert_eq!(verdict("x 200 +10% y", 220.1), Verdict::Worse);
        assert_eq!(verdict("x 200 +10% y", 179.0), Verdict::Better);
        assert_eq!(verdict("x 200 -10% y", 179.0), Verdict::Worse);
        assert_eq!(verdict("x 200 -10% y", 221.0), Verdict::Better);
        assert_eq!(verdict("x 200 info y", 900.0), Verdict::Ok);
    }

    #[test]
    fn slack_widens_what_is_allowed() {
        let line = "x 200 +10% y".parse().unwrap();
        let figure = Figure::new("x".into(), 250.0, "", Allowed::Info);
        assert_eq!(figure.verdict(Some(&line), 1.0), Verdict::Worse);
        assert_eq!(figure.verdict(Some(&line), 3.0), Verdict::Ok);
    }

    #[test]
    fn an_exact_figure_fails_from_a_hundredth_on() {
        assert_eq!(verdict("x 1.03 +0.00 y", 1.0349), Verdict::Ok);
        assert_eq!(verdict("x 1.03 +0.00 y", 1.0351), Verdict::Worse);
        assert_eq!(verdict("x 0.00 +0.00 y", 0.0049), Verdict::Ok);
        assert_eq!(verdict("x 0.00 +0.00 y", 0.0051), Verdict::Worse);
    }

    #[test]
    fn a_line_reads_as_it_was_written() {
        for line in ["a 1.50 +10% b c", "a 1.50 -5% b", "a 1.50 +0.03 b", "a 1.50 info b"] {
            let read: Line = line.parse().unwrap();
            assert_eq!(read.to_string().parse::<Line>().unwrap(), read);
        }
    }
}
