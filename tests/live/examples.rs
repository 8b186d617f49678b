//! The examples do what their last lines say, and the tour keeps its claims.
//!
//! Each example ends with the output that it prints, from `// Output:` on; `…` there stands for
//! anything. `cargo test` builds them, and this runs them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use crate::support::server::{Ensemble, Server, fresh_chroot};
use crate::support::wait::scaled;

/// An example that runs. Killed when dropped.
struct Run {
    name: &'static str,
    child: Child,
    lines: Receiver<String>,
    printed: Vec<String>,
}

impl Run {
    #[track_caller]
    fn start(name: &'static str, set_up: impl FnOnce(&mut Command)) -> Self {
        let program = binary(name);
        assert!(program.exists(), "no {}: `cargo build --examples` makes it", program.display());
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        set_up(&mut command);
        let mut child = command.spawn().expect("a program");
        let output = child.stdout.take().expect("piped above");
        let (tell, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    break;
                }
            }
        });
        Self { name, child, lines, printed: Vec::new() }
    }

    /// The next line, or `None` at the end of the output.
    #[track_caller]
    fn line(&mut self) -> Option<&str> {
        use std::sync::mpsc::RecvTimeoutError::{Disconnected, Timeout};
        match self.lines.recv_timeout(scaled(Duration::from_secs(60))) {
            Ok(line) => self.printed.push(line),
            Err(Disconnected) => return None,
            Err(Timeout) => panic!("{} is silent after {:#?}", self.name, self.printed),
        }
        self.printed.last().map(String::as_str)
    }

    /// Reads lines until one begins so.
    #[track_caller]
    fn until(&mut self, beginning: &str) {
        while !self.line().expect("more to come").starts_with(beginning) {}
    }

    /// All that it prints, once it has ended in order.
    #[track_caller]
    fn end(mut self) -> Vec<String> {
        while self.line().is_some() {}
        let status = self.child.wait().expect("our child");
        assert!(status.success(), "{}: {status} after {:#?}", self.name, self.printed);
        std::mem::take(&mut self.printed)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Of one that has ended already, both are no more than an error.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Beside this test's own binary: `target/debug/deps/live-…` and `target/debug/examples/…`.
fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("this test");
    own.parent().and_then(Path::parent).expect("target/debug").join("examples").join(name)
}

fn source(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    fs::read_to_string(path.with_extension("rs")).expect("its source")
}

/// The output that the example's last lines promise.
fn promised(name: &str) -> Vec<String> {
    let source = source(name);
    let (_, output) = source.split_once("\n// Output:\n").expect("its output as its last lines");
    output.lines().map(|line| line.trim_start_matches("// ").to_owned()).collect()
}

/// Whether `line` is what was promised, where `…` stands for anything.
fn is_as(line: &str, promise: &str) -> bool {
    let mut parts = promise.split('…');
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in between {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[track_caller]
fn prints_what_it_promises(run: Run) {
    let promise = promised(run.name);
    let name = run.name;
    let printed = run.end();
    let same = printed.len() == promise.len()
        && printed.iter().zip(&promise).all(|(line, promise)| is_as(line, promise));
    assert!(same, "{name} printed {printed:#?}, its last lines promise {promise:#?}");
}

#[track_caller]
fn runs(name: &'static str) {
    let chroot = fresh_chroot();
    prints_what_it_promises(Run::start(name, |command| {
        command.arg(chroot.connect_string());
    }));
}

#[test]
fn hello() {
    runs("hello");
}

#[test]
fn leader() {
    runs("leader");
}

#[test]
fn lock() {
    runs("lock");
}

#[test]
fn pipeline() {
    runs("pipeline");
}

#[test]
fn transaction() {
    runs("transaction");
}

#[test]
fn unknown_outcome() {
    runs("unknown_outcome");
}

#[test]
fn watch_loop() {
    runs("watch_loop");
}

#[test]
fn session_events() {
    let server = Server::start();
    let mut run = Run::start("session_events", |command| {
        command.arg(server.connect_string());
    });
    run.until("connected: stop the server now");
    server.stop();
    run.until("meanwhile: ");
    server.launch();
    prints_what_it_promises(run);
}

#[test]
fn the_tour_keeps_its_claims() {
    let ensemble = Ensemble::start(3);
    // What scripts/zk-server leaves beside the port of each server.
    for node in ensemble.nodes() {
        let pid = node.pid().expect("it runs").to_string();
        fs::write(node.log_path().with_file_name("pid"), pid).expect("a file");
    }
    let log = ensemble.nodes()[0].log_path();
    let base = log.parent().and_then(Path::parent).expect("one directory per server");
    let tour = Run::start("tour", |command| {
        command.env("ZK_CONNECT", ensemble.connect_string()).env("ZK_DIR", base);
    });
    let printed = tour.end();
    assert!(printed.last().expect("a result").ends_with("claims held"), "{printed:#?}");
    assert!(!printed.iter().any(|line| line.contains("NOT SO")), "{printed:#?}");
}

#[test]
fn each_example_is_short_and_says_how_to_run_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let own = include_str!("examples.rs");
    for entry in fs::read_dir(folder).expect("the examples") {
        let path = entry.expect("a file").path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let source = source(&name);
        assert!(source.lines().count() <= 80, "{name} has more than 80 lines");
        let run = format!("--example {name} -- ");
        assert!(source.lines().take(4).any(|line| line.contains(&run)), "{name}: how to run it");
        assert!(!promised(&name).is_empty(), "{name}: what it prints");
        assert!(own.contains(&format!("\nfn {name}()")), "{name} has no test here");
    }
}

#[test]
fn a_promise_may_leave_something_open() {
    assert!(is_as("abc", "abc") && !is_as("abcd", "abc"));
    assert!(is_as("took 12 ms", "took … ms") && !is_as("took 12 s", "took … ms"));
    assert!(is_as("a 1 b 2 c", "a … b … c") && !is_as("a 1 c", "a … b … c"));
    assert!(is_as("anything", "…") && is_as("", ""));
}
