//! System calls, counted by strace between the two marks that the work makes.

use std::collections::HashMap;
use std::fs;
use std::process::Command;

use crate::Result;
use crate::work::{BEGIN, END};

/// The calls of all threads of the client.
#[derive(Clone, Debug, Default)]
pub struct SystemCalls {
    pub all: u64,
    /// Of them, those that wake a thread which waits for a lock, an answer or an event.
    pub futex_wakes: u64,
    pub by_name: HashMap<String, u64>,
}

/// Why system calls cannot be counted here, if so.
pub fn obstacle() -> Option<String> {
    let tried = Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).output();
    match tried {
        Err(error) => Some(format!("strace: {error}")),
        Ok(output) if !output.status.success() => {
            let why = String::from_utf8_lossy(&output.stderr);
            Some(why.lines().next().unwrap_or("strace failed").to_owned())
        }
        Ok(_) => None,
    }
}

/// Counts those of `work`, a command line of this program.
pub fn count(work: &[String]) -> Result<SystemCalls> {
    let trace = std::env::temp_dir().join(format!("zk-gates-{}.strace", std::process::id()));
    let output = Command::new("strace")
        .args(["-f", "-o"])
        .arg(&trace)
        .arg(std::env::current_exe()?)
        .args(work)
        .output()?;
    let text = fs::read_to_string(&trace);
    let _ = fs::remove_file(&trace);
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("strace: {}: {why}", output.status).into());
    }
    parse(&text?)
}

/// A line is a thread's id, then a call; a call that another thread's interrupted ends in a line
/// of its own, which begins with `<...`.
fn parse(trace: &str) -> Result<SystemCalls> {
    let mut counted = SystemCalls::default();
    let mut inside = false;
    for line in trace.lines() {
        let Some((_, call)) = line.split_once(' ') else { continue };
        let Some((name, arguments)) = call.trim_start().split_once('(') else { continue };
        if arguments.contains(BEGIN) {
            inside = true;
        } else if arguments.contains(END) {
            return Ok(counted);
        } else if inside && name.starts_with(|c: char| c.is_ascii_lowercase()) {
            counted.all += 1;
            *counted.by_name.entry(name.to_owned()).or_default() += 1;
            if name == "futex" && arguments.contains("FUTEX_WAKE") {
                counted.futex_wakes += 1;
            }
        }
    }
    Err("the trace has not both marks".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_in_two_lines_is_one_and_those_outside_the_marks_are_none() {
        let trace = "7 write(1, \"\", 1) = 1\n\
                     7 statx(AT_FDCWD, \"/zk-gates/begin\", 0) = -1 ENOENT\n\
                     7 futex(0x1, FUTEX_WAIT_PRIVATE, 2, NULL <unfinished ...>\n\
                     8 futex(0x1, FUTEX_WAKE_PRIVATE, 1) = 1\n\
                     7 <... futex resumed>) = 0\n\
                     8 --- SIGURG {si_signo=SIGURG} ---\n\
                     8 epoll_wait(3, [], 1024, 5) = 0\n\
                     7 statx(AT_FDCWD, \"/zk-gates/end\", 0) = -1 ENOENT\n\
                     7 exit_group(0) = ?\n";
        let counted = parse(trace).unwrap();
        assert_eq!((counted.all, counted.futex_wakes), (3, 1));
        assert_eq!(counted.by_name["epoll_wait"], 1);
    }
}
