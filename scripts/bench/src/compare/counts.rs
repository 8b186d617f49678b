//! Runs under tools that count: strace for system calls, valgrind for allocations. What a call
//! costs is the difference of two runs by the difference of their calls: what else a process does
//! is the same in both.

use std::process::{Command, Stdio};

use zk_bench::{NO_SUCH_CALL, Result};

use super::Bench;
use super::peers::Peer;
use super::rows::Cell;
use crate::record::Record;

impl Bench {
    pub(super) fn count(&mut self, cell: &Cell, peer: &Peer) -> Result<()> {
        // Where each call costs ten of what is counted, fewer of them tell as much, sooner.
        let many = !(peer.slow || peer.name.starts_with("c"));
        let calls: (u64, u64) = match (cell.work.contains("pipe"), many) {
            (true, true) => (4_000, 24_000),
            (true, false) => (1_000, 4_000),
            (false, true) => (640, 3_840),
            (false, false) => (320, 1_280),
        };
        let strace = ["strace", "-f", "-qq", "-c", "-U", "calls,name", "-o"];
        let valgrind = ["valgrind", "--leak-check=no", "--fair-sched=yes"];
        let own_heap = !peer.slow;
        let mut system = vec![];
        let mut allocations = vec![];
        for calls in [calls.0, calls.1] {
            let file = std::env::temp_dir().join(format!("zk-bench-{}.strace", std::process::id()));
            let path = file.to_string_lossy().into_owned();
            let tool: Vec<&str> = strace.iter().copied().chain([path.as_str()]).collect();
            if let Some((line, _)) = self.counted(&tool, peer, cell, calls)? {
                let counted = std::fs::read_to_string(&file).unwrap_or_default();
                let _ = std::fs::remove_file(&file);
                system.push((total(&counted), made(&line)));
            }
            if own_heap && let Some((line, said)) = self.counted(&valgrind, peer, cell, calls)? {
                allocations.push((heap(&said), made(&line)));
            }
        }
        for (figure, counts) in [("syscalls", system), ("allocations", allocations)] {
            if let [(Some(first), few), (Some(second), many)] = counts[..] {
                let value = (second - first) / (many - few);
                self.sink.put(&Record::new(cell, peer, 1, figure, value))?;
            }
        }
        Ok(())
    }

    /// Runs a driver under a tool; gives its line and what the tool said. Nothing if the client
    /// has no such call, or the tool is missing.
    fn counted(
        &self,
        tool: &[&str],
        peer: &Peer,
        cell: &Cell,
        calls: u64,
    ) -> Result<Option<(String, String)>> {
        let job = cell.job(self.servers.address(cell.server)?, &calls.to_string());
        let tool: Vec<String> = tool.iter().map(|&word| word.to_owned()).collect();
        let command = [&tool[..], &peer.program[..], &job].concat();
        let mut command: Command = self.options.place.command(&command);
        let output = command.stdin(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            if output.status.code() != Some(i32::from(NO_SUCH_CALL)) {
                let last = said.lines().last().unwrap_or_default();
                eprintln!("{}, {cell}, {}: {} {last}", peer.name, tool[0], output.status);
            }
            return Ok(None);
        }
        Ok(Some((String::from_utf8_lossy(&output.stdout).into_owned(), said)))
    }
}

/// How many calls the driver made.
fn made(line: &str) -> f64 {
    let mut words = line.split_whitespace().skip_while(|&word| word != "calls");
    words.nth(1).and_then(|calls| calls.parse().ok()).unwrap_or(0.0)
}

/// The last line of a summary of strace.
fn total(summary: &str) -> Option<f64> {
    let line = summary.lines().find(|line| line.trim_end().ends_with("total"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// "total heap usage: 1,234 allocs, …"
fn heap(said: &str) -> Option<f64> {
    let (_, rest) = said.split_once("total heap usage: ")?;
    rest.split_whitespace().next()?.replace(',', "").parse().ok()
}
