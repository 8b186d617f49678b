//! Questions to other servers, asked on a thread of their own while the client goes on.
//!
//! Two occasions: a client on a read-only server looks for one with quorum, and a client that
//! every server turns away finds out whether they are all behind what it has seen.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::io::driver::Command;
use crate::io::four_letter;
use crate::io::shared::Shared;
use crate::session::hosts::Host;

/// What the servers said.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// This one has a quorum and takes writes.
    ReadWrite(Host),
    /// All of them serve, and none has seen the transaction that we have seen.
    AllBehind,
    /// Nothing that helps.
    Nothing,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Question {
    WhoTakesWrites,
    WhoIsBehind { last_zxid: i64 },
}

/// Asks on a detached thread; the answer comes as [`Command::Probed`].
pub(crate) fn ask(shared: Arc<Shared>, hosts: Vec<Host>, question: Question) -> bool {
    let run = move || {
        let verdict = match question {
            Question::WhoTakesWrites => who_takes_writes(&hosts),
            Question::WhoIsBehind { last_zxid } => who_is_behind(&hosts, last_zxid),
        };
        // The client may be closed by now; then nobody wants to know.
        let _ = shared.command(Command::Probed(verdict));
    };
    thread::Builder::new().name("zk-probe".into()).stack_size(128 * 1024).spawn(run).is_ok()
}

fn who_takes_writes(hosts: &[Host]) -> Verdict {
    for host in hosts {
        let deadline = Instant::now() + PATIENCE;
        let answer = four_letter::ask(&host.name, host.port, "isro", deadline);
        if answer.is_ok_and(|text| text.trim() == "rw") {
            return Verdict::ReadWrite(host.clone());
        }
    }
    Verdict::Nothing
}

fn who_is_behind(hosts: &[Host], last_zxid: i64) -> Verdict {
    for host in hosts {
        let deadline = Instant::now() + PATIENCE;
        let answer = four_letter::ask(&host.name, host.port, "srvr", deadline);
        let behind = answer.is_ok_and(|text| {
            text.contains("\nMode: ") && served_zxid(&text).is_some_and(|zxid| zxid < last_zxid)
        });
        if !behind {
            return Verdict::Nothing;
        }
    }
    if hosts.is_empty() { Verdict::Nothing } else { Verdict::AllBehind }
}

fn served_zxid(srvr: &str) -> Option<i64> {
    let line = srvr.lines().find_map(|line| line.strip_prefix("Zxid: 0x"))?;
    u64::from_str_radix(line.trim(), 16).ok().map(|zxid| zxid as i64)
}

const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zxid_of_srvr_is_read_in_hex() {
        let text = "Zookeeper version: 3.8.0\nZxid: 0x1000000f2\nMode: standalone\n";
        assert_eq!(served_zxid(text), Some(0x1_0000_00f2));
        assert_eq!(served_zxid("Zxid: none"), None);
    }
}
