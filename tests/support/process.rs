//! What a process holds (threads, descriptors), signals, and tests that need a process of their own.

use std::fs;
use std::process::{Command, Stdio};

/// The number of threads of this process.
pub(crate) fn threads() -> usize {
    entries("/proc/self/task")
}

/// The names of this process's threads, sorted.
pub(crate) fn thread_names() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux");
    let names =
        tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    let mut names: Vec<String> = names.map(|name| name.trim_end().to_owned()).collect();
    names.sort();
    names
}

/// The number of open descriptors of this process, without the one used for counting.
pub(crate) fn descriptors() -> usize {
    entries("/proc/self/fd") - 1
}

/// Sends a signal by its name, `STOP`, `CONT`, `TERM` ..., to a process that the caller started.
pub(crate) fn signal(pid: u32, name: &str) {
    // The shell's own `kill`: a small Debian has no other.
    let status = Command::new("bash").args(["-c", &format!("kill -{name} {pid}")]).status();
    assert!(status.expect("bash").success(), "kill -{name} {pid}");
}

/// Runs `body` in a process of its own, with nothing else in it: a copy of this test binary that
/// runs the test `name` ("module::function") only. For counting threads, for stopping or killing
/// the client itself, and for anything else that other tests would disturb.
#[track_caller]
pub(crate) fn alone(name: &str, body: impl FnOnce()) {
    const INSIDE: &str = "ZK_TEST_ALONE";
    if std::env::var_os(INSIDE).is_some_and(|inside| inside == *name) {
        return body();
    }
    let own = std::env::current_exe().expect("the test binary");
    let mut command = Command::new(own);
    command.args([name, "--exact", "--include-ignored", "--nocapture", "--test-threads=1"]);
    let output = command.env(INSIDE, name).stdin(Stdio::null()).output().expect("starts");
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{name}, alone in its process: {}\n{text}", output.status);
    // A wrong name would run no test, and that would look like success.
    assert!(text.contains("1 passed"), "no test of the name {name}:\n{text}");
}

fn entries(directory: &str) -> usize {
    fs::read_dir(directory).expect("Linux").count()
}
