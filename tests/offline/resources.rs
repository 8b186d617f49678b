//! What the process has to give (threads, descriptors, signals) and a client that dies inside.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use zookeeper_blocking::SessionState::{Closed, Connected, Disconnected};
use zookeeper_blocking::{Error, Pending, op as ops};

use crate::answers::{States, hurried, serve_yes, soon, yes_server};
use crate::support::proxy::{Proxy, Way};
use crate::support::scripted::Scripted;
use crate::support::wait::{eventually, scaled};
use crate::support::wire::{ConnectRequest, ConnectResponse, Out, read_frame};
use crate::support::{ports, process};

const SECOND: Duration = Duration::from_secs(1);

/// Grants and ends sessions, one connection at a time, in one thread.
fn serve_quickly(listener: &TcpListener) {
    for stream in listener.incoming() {
        let mut stream = stream.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        let Ok(Some(greeting)) = read_frame(&mut stream) else { return };
        let timeout = ConnectRequest::decode(&greeting).timeout_ms;
        let granted = Out(ConnectResponse::new(0x100, timeout).encode()).framed();
        // The client may be gone already, as may be whatever follows.
        let _ = stream.write_all(&granted);
        while let Ok(Some(request)) = read_frame(&mut stream) {
            let _ = stream.write_all(&Out::new().bytes(&request[..4]).bytes(&[0; 12]).framed());
        }
    }
}

#[test]
fn d8_ten_thousand_clients_leave_no_thread_and_no_descriptor() {
    process::alone("resources::d8_ten_thousand_clients_leave_no_thread_and_no_descriptor", || {
        let listener = ports::listen();
        let address = listener.local_addr().expect("bound");
        thread::spawn(move || serve_quickly(&listener));
        let cycle = |n: usize| {
            let builder = hurried(&address.to_string()).close_timeout(scaled(20 * SECOND));
            let client = builder.connect().expect("connects");
            // Half of them say goodbye, half are only dropped.
            if n % 2 == 0 {
                client.close().expect("acknowledged");
            }
        };
        (0..100).for_each(cycle);
        let before = (process::threads(), process::descriptors());
        let memory = resident_kib();
        (0..10_000).for_each(cycle);
        let mut after = (0, 0);
        eventually("threads and descriptors are back", 5 * SECOND, || {
            after = (process::threads(), process::descriptors());
            after.0 <= before.0 && after.1 <= before.1
        });
        let grown = resident_kib().saturating_sub(memory);
        assert!(grown < 2 * 1024, "{grown} KiB");
        println!("10,000 cycles: {before:?} before, {after:?} after, {grown} KiB more");
    });
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Takes all descriptors above the first three away from this process, until it is dropped. The
/// dropping needs none: a shell that was started before waits for the end of its input.
struct NoDescriptors(Child);

impl NoDescriptors {
    fn new() -> Self {
        let pid = std::process::id().to_string();
        let script =
            "prlimit --pid $0 --nofile=3: && echo done && read _; prlimit --pid $0 --nofile=1000:";
        let mut shell = Command::new("bash");
        shell.args(["-c", script, &pid]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = shell.spawn().expect("bash");
        let mut done = [0; 5];
        let said = shell.stdout.as_mut().expect("piped").read_exact(&mut done);
        said.expect("prlimit of util-linux");
        Self(shell)
    }
}

impl Drop for NoDescriptors {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // Whatever it says, it has ended.
        let _ = self.0.wait();
    }
}

#[test]
fn d9_descriptors_run_out_and_come_back() {
    process::alone("resources::d9_descriptors_run_out_and_come_back", || {
        let server = yes_server();
        let proxy = Proxy::start(server.address());
        let (builder, mut states) = States::of(hurried(&proxy.connect_string()));
        let client = builder.connect().expect("connects");
        let no_descriptors = NoDescriptors::new();
        let error = hurried(&server.connect_string()).connect().expect_err("no descriptors");
        assert!(matches!(error, Error::Start { .. }), "{error}");
        assert_eq!(error.applied(), zookeeper_blocking::Applied::No);
        client.get_data("/a").expect("the old connection works");

        proxy.cut();
        states.wait_for(Disconnected);
        let quick = client.with_timeout(scaled(SECOND / 2));
        let start = Instant::now();
        let error = quick.get_data("/a").expect_err("cannot dial");
        assert!(matches!(error, Error::Timeout { sent: false, .. }), "{error}");
        assert!(start.elapsed() < soon(), "{:?}", start.elapsed());
        assert_eq!(client.state(), Disconnected, "it goes on trying");

        drop(no_descriptors);
        states.wait_for(Connected);
        client.get_data("/a").expect("works again");
    });
}

#[test]
fn d10_stopped_and_continued_a_hundred_times_loses_nothing() {
    process::alone("resources::d10_stopped_and_continued_a_hundred_times_loses_nothing", || {
        let server = yes_server();
        let client = hurried(&server.connect_string()).connect().expect("connects");
        // A stop interrupts every wait of every thread (EINTR), handler or not.
        let script = "for i in $(seq 100); do kill -STOP $0; kill -CONT $0; sleep 0.002; done";
        let pid = std::process::id().to_string();
        let mut calls = 0;
        // Once more where the machine was too busy for calls meanwhile.
        while calls <= 10 {
            let mut storm = Command::new("bash").args(["-c", script, &pid]).spawn().expect("bash");
            while storm.try_wait().expect("a child").is_none() {
                client.get_data("/a").expect("an interruption is no failure");
                calls += 1;
            }
        }
        assert_eq!(server.connections(), 1);
        client.close().expect("acknowledged");
    });
}

/// A logger that panics on the IO thread: the one piece of foreign code that runs there.
struct Trap {
    armed: AtomicBool,
    /// How many records are let through before.
    left: AtomicUsize,
    sprung: AtomicBool,
}

static TRAP: Trap = Trap {
    armed: AtomicBool::new(false),
    left: AtomicUsize::new(0),
    sprung: AtomicBool::new(false),
};

impl log::Log for Trap {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if thread::current().name() != Some("zk-io") || !self.armed.load(Ordering::SeqCst) {
            return;
        }
        if self.left.fetch_sub(1, Ordering::SeqCst) == 0 {
            self.armed.store(false, Ordering::SeqCst);
            self.sprung.store(true, Ordering::SeqCst);
            panic!("planted at: {}", record.args());
        }
    }

    fn flush(&self) {}
}

#[test]
fn d15_io_thread_that_panics_leaves_no_zombie() {
    process::alone("resources::d15_io_thread_that_panics_leaves_no_zombie", || {
        log::set_logger(&TRAP).expect("the only logger");
        log::set_max_level(log::LevelFilter::Trace);
        let server = yes_server();
        let mut sprung = 0;
        for point in 0..30 {
            TRAP.left.store(point, Ordering::SeqCst);
            TRAP.sprung.store(false, Ordering::SeqCst);
            TRAP.armed.store(true, Ordering::SeqCst);
            let proxy = Proxy::start(server.address());
            let start = Instant::now();
            let connected = hurried(&proxy.connect_string()).auth("x", "y").connect();
            let Ok(client) = connected else {
                assert!(TRAP.sprung.load(Ordering::SeqCst), "{connected:?}");
                assert!(start.elapsed() < soon(), "point {point}: {:?}", start.elapsed());
                sprung += 1;
                continue;
            };
            let watch = client.watch_data("/a").map(|(.., watch)| watch);
            // Cuts and refusals, for the log has something to say of each.
            for _ in 0..6 {
                proxy.hold(Way::ToClient);
                let pending = client.submit(ops::GetData::new("/a"));
                let waiting = client.clone();
                let waiting = thread::spawn(move || waiting.sync("/"));
                proxy.cut();
                proxy.heal();
                let _ = pending.map(Pending::wait);
                let _ = waiting.join().expect("no panic of ours");
            }
            TRAP.armed.store(false, Ordering::SeqCst);
            if TRAP.sprung.load(Ordering::SeqCst) {
                sprung += 1;
                eventually("it closes, loudly", SECOND, || client.state() == Closed);
                let start = Instant::now();
                assert!(matches!(client.get_data("/a"), Err(Error::Closed { .. })));
                assert!(client.submit(ops::GetData::new("/a")).is_err());
                if let Ok(watch) = watch {
                    assert!(watch.recv().is_none_or(|last| last.is_end()), "point {point}");
                }
                let _ = client.close();
                assert!(start.elapsed() < soon(), "point {point}: {:?}", start.elapsed());
            }
        }
        assert!(sprung >= 20, "{sprung} of 30 points");
        eventually("no thread is left", 5 * SECOND, || {
            !process::thread_names().iter().any(|name| name.starts_with("zk-"))
        });
    });
}

#[test]
fn d7_descriptors_are_not_inherited() {
    process::alone("resources::d7_descriptors_are_not_inherited", || {
        let inherited = || {
            let listing = Command::new("ls").arg("/proc/self/fd").output().expect("ls");
            String::from_utf8_lossy(&listing.stdout).lines().count()
        };
        let before = inherited();
        let server = Scripted::start(|_, peer| serve_yes(peer));
        let client = hurried(&server.connect_string()).connect().expect("connects");
        assert_eq!(inherited(), before);
        client.get_data("/a").expect("works");
    });
}
