//! How a measured process and the one that measures it keep in step: words on standard output and
//! lines on standard input.

use std::io::{self, BufRead, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::Result;

/// Tells how far we are.
pub fn say(word: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{word}")?;
    Ok(out.flush()?)
}

/// Tells what has happened just now, with the time: the reader may be late.
pub fn stamp(word: &str) -> Result<()> {
    say(&format!("{word} {}", now()))
}

/// Nanoseconds of the wall clock, which two processes share.
pub fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos())
}

/// Waits to be told to go on; false at the end of the input.
pub fn go() -> Result<bool> {
    let mut line = String::new();
    Ok(io::stdin().lock().read_line(&mut line)? > 0)
}

/// Waits for the end of the input: until then, others look at this process.
pub fn wait_end() -> Result<()> {
    while go()? {}
    Ok(())
}
