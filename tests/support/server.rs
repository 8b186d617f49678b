//! Real ZooKeeper servers: one ([`Server`]) or several ([`Ensemble`]), to start, kill, pause and
//! restart; and the place where all gentle tests of a process meet ([`fresh_chroot`]), which is one
//! server, or an ensemble of so many as `ZK_TEST_SERVERS` says.
//!
//! The configuration has one home, `scripts/zk-server prepare`: what a human starts by hand is what
//! the tests run against. It writes the servers' directories and command lines; the processes are
//! children of the test itself, which can then kill exactly what it started and sees them die.
//!
//! Nothing is left behind. Dropping stops the servers and removes their directory; if the test
//! process is itself killed, even by -9, the [`Watchdog`] does the same. A test that fails prints
//! the end of each server's log, and the directory stays.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::thread;
use std::time::Duration;

use super::ports;
use super::process::signal;
use super::raw::Raw;
use super::wait::{eventually, eventually_some, scaled};

/// What differs from the usual configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    config: String,
    flags: Vec<String>,
    log: Option<Vec<u8>>,
}

impl Options {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a line to each zoo.cfg; a key set twice has its last value.
    pub(crate) fn config(mut self, line: &str) -> Self {
        self.config.push_str(line);
        self.config.push('\n');
        self
    }

    /// Adds an argument of the Java machine, such as `-Djute.maxbuffer=4000`.
    pub(crate) fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// Starts from this transaction log (see [`super::forge`]) instead of from nothing.
    pub(crate) fn log(mut self, log: Vec<u8>) -> Self {
        self.log = Some(log);
        self.flag("-Dzookeeper.snapshot.trust.empty=true")
    }
}

/// One real server, standalone.
#[derive(Debug)]
pub(crate) struct Server {
    nodes: Nodes,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(&Options::new())
    }

    pub(crate) fn with(options: &Options) -> Self {
        Self { nodes: Nodes::start(1, false, options) }
    }
}

impl Deref for Server {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.nodes.list[0]
    }
}

/// A server to meet at, and to be left in peace: a single one; or a follower of an ensemble of so
/// many as `ZK_TEST_SERVERS` says. All clients that meet at one follower see there what any of them
/// has done, as at a single server; but what they write goes through the leader.
#[derive(Debug)]
pub(crate) struct Place {
    nodes: Nodes,
    met: Vec<usize>,
}

impl Place {
    pub(crate) fn start() -> Self {
        Self::with(&Options::new())
    }

    /// Starts from a forged transaction log.
    pub(crate) fn start_with_log(log: Vec<u8>) -> Self {
        Self::with(&Options::new().log(log))
    }

    fn with(options: &Options) -> Self {
        let count = std::env::var("ZK_TEST_SERVERS").ok();
        let count = count.map_or(1, |text| text.parse().expect("ZK_TEST_SERVERS: a number"));
        let nodes = Nodes::start(count, count > 1, options);
        let wanted = if count > 1 { "follower" } else { "standalone" };
        let met = eventually_some("the servers have their roles", Duration::from_secs(30), || {
            let is_met = |at: &usize| nodes.list[*at].mode().as_deref() == Some(wanted);
            let met: Vec<_> = (0..count).filter(is_met).collect();
            (met.len() == (count - 1).max(1)).then_some(met)
        });
        Self { nodes, met }
    }

    fn servers(&self) -> impl ExactSizeIterator<Item = &Node> {
        self.met.iter().map(|at| &self.nodes.list[*at])
    }
}

impl Deref for Place {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.nodes.list[self.met[0]]
    }
}

/// An ensemble of real servers, with reconfig enabled; of one, where a test needs reconfig and no
/// failover.
#[derive(Debug)]
pub(crate) struct Ensemble {
    nodes: Nodes,
}

impl Ensemble {
    pub(crate) fn start(count: usize) -> Self {
        Self::with(count, &Options::new())
    }

    pub(crate) fn with(count: usize, options: &Options) -> Self {
        Self { nodes: Nodes::start(count, true, options) }
    }

    /// `host:port,host:port,...` of all nodes, running or not.
    pub(crate) fn connect_string(&self) -> String {
        let hosts: Vec<String> = self.nodes().iter().map(Node::connect_string).collect();
        hosts.join(",")
    }

    /// In the order of their ids, which begin at 1.
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes.list
    }

    /// The node that leads; waits for an election under way.
    #[track_caller]
    pub(crate) fn leader(&self) -> &Node {
        eventually_some("one node leads", Duration::from_secs(30), || {
            self.nodes().iter().find(|node| node.mode().as_deref() == Some("leader"))
        })
    }

    /// The nodes that follow just now, without waiting.
    pub(crate) fn followers(&self) -> Vec<&Node> {
        let follows = |node: &&Node| node.mode().as_deref() == Some("follower");
        self.nodes().iter().filter(follows).collect()
    }

    /// A node that follows; waits for an election under way.
    #[track_caller]
    pub(crate) fn follower(&self) -> &Node {
        eventually_some("one node follows", Duration::from_secs(30), || {
            self.followers().first().copied()
        })
    }

    /// Waits until every running node serves.
    #[track_caller]
    pub(crate) fn wait_ready(&self) {
        for node in self.nodes().iter().filter(|node| node.pid().is_some()) {
            node.wait_ready();
        }
    }
}

/// One server process and its directory.
#[derive(Debug)]
pub(crate) struct Node {
    id: usize,
    port: u16,
    home: PathBuf,
    child: Mutex<Option<Child>>,
    /// Where in the log the present life of the server begins.
    log_from: AtomicUsize,
}

impl Node {
    /// 1, 2, 3 ... in its ensemble.
    pub(crate) fn id(&self) -> usize {
        self.id
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn connect_string(&self) -> String {
        self.address().to_string()
    }

    /// The process, if one was started and not killed.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child().as_ref().map(Child::id)
    }

    /// What the server said, over all its lives.
    pub(crate) fn log_path(&self) -> PathBuf {
        self.home.join("log")
    }

    /// Where the transaction logs and snapshots are.
    pub(crate) fn data(&self) -> PathBuf {
        self.home.join("data/version-2")
    }

    /// Ends the process as a crash does: kill -9.
    pub(crate) fn kill(&self) {
        if let Some(mut child) = self.child().take() {
            end(&mut child);
        }
    }

    /// Stops the process without ending it (SIGSTOP): its connections stay open, and silent.
    pub(crate) fn pause(&self) {
        let pid = self.pid().expect("a running server");
        signal(pid, "STOP");
        // Each thread stops when it next comes by; until then it may answer.
        let all_stopped = || {
            let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
            tasks
                .filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok())
                .all(|stat| stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with('T')))
        };
        eventually("all threads stop", Duration::from_secs(10), all_stopped);
    }

    /// Lets a paused process go on.
    pub(crate) fn resume(&self) {
        signal(self.pid().expect("a running server"), "CONT");
    }

    /// Ends the process politely; by force when it takes more than 5 s.
    pub(crate) fn stop(&self) {
        let Some(mut child) = self.child().take() else {
            return;
        };
        signal(child.id(), "TERM");
        signal(child.id(), "CONT");
        for _ in 0..500 {
            if child.try_wait().expect("our own child").is_some() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        end(&mut child);
    }

    /// Starts the process again, at the same port with the same data, and does not wait.
    pub(crate) fn launch(&self) {
        let mut child = self.child();
        assert!(child.is_none(), "server {} runs already", self.id);
        let before = fs::metadata(self.log_path()).map_or(0, |log| log.len());
        self.log_from.store(before as usize, Ordering::Relaxed);
        let words = fs::read_to_string(self.home.join("command")).expect("as prepared");
        let mut words = words.lines();
        let log = || -> io::Result<File> {
            OpenOptions::new().create(true).append(true).open(self.log_path())
        };
        let mut command = Command::new(words.next().expect("the path of java"));
        command.args(words).stdin(Stdio::null());
        command.stdout(log().expect("a log")).stderr(log().expect("a log"));
        let started = command.spawn().expect("java starts");
        watchdog().tell("run", started.id());
        *child = Some(started);
    }

    /// Stops the process if it runs, starts it again and waits until it serves.
    #[track_caller]
    pub(crate) fn restart(&self) {
        self.stop();
        self.launch();
        self.wait_ready();
    }

    /// Waits until the server serves; panics with its log when it dies or takes a minute.
    #[track_caller]
    pub(crate) fn wait_ready(&self) {
        if let Err(trouble) = self.try_ready() {
            panic!("server {} does not serve: {trouble:?}\n{}", self.id, self.log_tail());
        }
    }

    /// `leader`, `follower`, `standalone`, `read-only` ..., or `None` while it does not serve.
    pub(crate) fn mode(&self) -> Option<String> {
        // A process that was killed has no mode, whoever may have its port now.
        self.pid()?;
        let text = self.four_letter("srvr").ok()?;
        let mode = text.lines().find_map(|line| line.strip_prefix("Mode: "));
        mode.map(str::to_owned)
    }

    /// Major and minor version: what a server does differs between those that tests meet by
    /// `ZOOKEEPER_HOME`.
    #[track_caller]
    pub(crate) fn version(&self) -> (u32, u32) {
        let text = self.four_letter("srvr").expect("serves");
        let version = text.lines().find_map(|line| line.strip_prefix("Zookeeper version: "));
        let mut numbers = version.expect("a version").split('.').map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => (major, minor),
            _ => panic!("no version: {text}"),
        }
    }

    /// Sends a four-letter word and gives the whole answer.
    pub(crate) fn four_letter(&self, word: &str) -> io::Result<String> {
        let limit = scaled(Duration::from_secs(2));
        let mut stream = TcpStream::connect_timeout(&self.address(), limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.write_all(word.as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }

    /// A witness's connection to this server.
    #[track_caller]
    pub(crate) fn raw(&self) -> Raw {
        Raw::connect(self.address())
    }

    /// The last 50 lines that the server said, without those on four-letter words, under the path
    /// of its log.
    pub(crate) fn log_tail(&self) -> String {
        let log = fs::read(self.log_path()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let own =
            |line: &&str| !(line.contains(" - Processing ") && line.contains(" command from "));
        let lines: Vec<&str> = log.lines().filter(own).collect();
        let mut text = format!("--- server {}: {}", self.id, self.log_path().display());
        for line in &lines[lines.len().saturating_sub(50)..] {
            let _ = write!(text, "\n{line}");
        }
        text
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        // A test that panicked while it held this lock has done no harm to the child.
        self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn try_ready(&self) -> Result<(), Trouble> {
        let mut trouble = None;
        let mut settled = || {
            if let Some(child) = self.child().as_mut() {
                if let Some(status) = child.try_wait().expect("our own child") {
                    trouble = Some(Trouble::Died(status.to_string()));
                }
            }
            if self.port_taken() {
                trouble = Some(Trouble::PortTaken);
            }
            trouble.is_some() || self.serves()
        };
        let start = std::time::Instant::now();
        while !settled() {
            if start.elapsed() > scaled(Duration::from_secs(60)) {
                return Err(Trouble::Slow);
            }
            thread::sleep(Duration::from_millis(10));
        }
        trouble.map_or(Ok(()), Err)
    }

    /// Whether the server serves, and is ours: the port may have been taken by another test's.
    /// (`ruok` says `imok` some 0.2 s too early.)
    fn serves(&self) -> bool {
        let ours = format!("dataDir={}/", self.home.join("data").display());
        self.mode().is_some() && self.four_letter("conf").is_ok_and(|text| text.contains(&ours))
    }

    fn port_taken(&self) -> bool {
        let log = fs::read(self.log_path()).unwrap_or_default();
        let log = log.get(self.log_from.load(Ordering::Relaxed)..).unwrap_or_default();
        let log = String::from_utf8_lossy(log);
        log.contains("BindException") || log.contains("Address already in use")
    }
}

#[derive(Debug)]
enum Trouble {
    Died(String),
    PortTaken,
    Slow,
}

fn end(child: &mut Child) {
    let pid = child.id();
    // It may have ended by itself.
    let _ = child.kill();
    child.wait().expect("our own child");
    watchdog().tell("ended", pid);
}

/// The nodes of one directory; stopped, reported on and removed together.
#[derive(Debug)]
struct Nodes {
    base: PathBuf,
    list: Vec<Node>,
}

impl Nodes {
    fn start(count: usize, ensemble: bool, options: &Options) -> Self {
        for _ in 0..5 {
            let nodes = Self::prepare(count, ensemble, options);
            for node in &nodes.list {
                node.launch();
            }
            let troubles = nodes.list.iter().map(|node| (node, node.try_ready()));
            match troubles.into_iter().find_map(|(node, ready)| Some((node, ready.err()?))) {
                None => return nodes,
                // Between choosing a port and binding it, another process took it.
                Some((_, Trouble::PortTaken)) => continue,
                Some((node, trouble)) => {
                    panic!("server {} does not serve: {trouble:?}", node.id)
                }
            }
        }
        panic!("five times in a row, somebody took a port that was free");
    }

    fn prepare(count: usize, ensemble: bool, options: &Options) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let base = loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let name = format!("zk-test-{}-{number}", std::process::id());
            let base = std::env::temp_dir().join(name);
            match fs::create_dir(&base) {
                // Left by a process of the same number that was killed with its watchdog.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => break made.map(|()| base).expect("a directory for the servers"),
            }
        };
        let base = base.canonicalize().expect("just made");
        watchdog().tell("made", base.display());
        // From here on, `drop` cleans up, also when what follows panics.
        let mut nodes = Self { base, list: Vec::new() };

        let ports = ports::free(if ensemble { 3 * count } else { count });
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/zk-server");
        let mut command = Command::new("bash");
        command.arg(script).arg("prepare").arg(&nodes.base);
        let output = command.args(ports.iter().map(u16::to_string)).output().expect("bash");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "no server to test with\n{said}");

        for id in 1..=count {
            let home = nodes.base.join(id.to_string());
            let port = ports[if ensemble { 3 * (id - 1) } else { 0 }];
            let append = |file: &str, text: &str| {
                let mut file = OpenOptions::new().append(true).open(home.join(file))?;
                file.write_all(text.as_bytes())
            };
            append("zoo.cfg", &options.config).expect("as prepared");
            let words = fs::read_to_string(home.join("command")).expect("as prepared");
            let (java, rest) = words.split_once('\n').expect("more than one word");
            let words: Vec<&str> = [java].into_iter().chain(rest.lines()).collect();
            // Behind the usual flags, so that they win, but before `-cp`, the first of the rest.
            let at = words.iter().position(|word| *word == "-cp").expect("a class path");
            let flags = options.flags.iter().map(String::as_str);
            let words = words[..at].iter().copied().chain(flags).chain(words[at..].iter().copied());
            let words: String = words.flat_map(|word| [word, "\n"]).collect();
            fs::write(home.join("command"), words).expect("our own file");
            let (child, log_from) = (Mutex::new(None), AtomicUsize::new(0));
            let node = Node { id, port, home, child, log_from };
            if let Some(log) = &options.log {
                fs::create_dir_all(node.data()).expect("our own directory");
                fs::write(node.data().join("log.1"), log).expect("our own directory");
            }
            nodes.list.push(node);
        }
        nodes
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        // Nothing to show of servers that never were.
        let failed = thread::panicking() && !self.list.is_empty();
        if failed {
            report(&self.list);
            watchdog().tell("kept", self.base.display());
        }
        for node in &self.list {
            node.kill();
        }
        if !failed {
            // The watchdog tries again when this process ends.
            let _ = fs::remove_dir_all(&self.base);
        }
    }
}

fn report(nodes: &[Node]) {
    for node in nodes {
        eprintln!("{}", node.log_tail());
    }
}

/// A place of one's own on the shared server: `host:port/name`.
#[derive(Debug)]
pub(crate) struct Chroot {
    path: String,
    server: &'static Node,
}

impl Chroot {
    pub(crate) fn connect_string(&self) -> String {
        format!("{}{}", self.server().connect_string(), self.path)
    }

    /// The chroot's path, as a witness without chroot sees it.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn server(&self) -> &'static Node {
        self.server
    }
}

impl Drop for Chroot {
    fn drop(&mut self) {
        if thread::panicking() {
            report(&shared().nodes.list);
            watchdog().tell("kept", shared().nodes.base.display());
        }
    }
}

/// A new empty node on the shared server, for one test: other tests neither see nor disturb it.
#[track_caller]
pub(crate) fn fresh_chroot() -> Chroot {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    // The test's name, for whoever reads the server's log.
    let name = thread::current().name().unwrap_or("unnamed").replace("::", "-");
    let path = format!("/{number}-{name}");
    let mut servers = shared().servers();
    let server = servers.nth(number as usize % servers.len()).expect("as many");
    let mut raw = server.raw();
    raw.create(&path, b"", 0).expect("a path used once");
    raw.close();
    Chroot { path, server }
}

/// The one place that all tests of this process share, as long as they leave it in peace.
pub(crate) fn shared() -> &'static Place {
    static SHARED: OnceLock<Place> = OnceLock::new();
    SHARED.get_or_init(Place::start)
}

/// A process that outlives ours by a moment: when our end of its pipe closes, for whatever reason,
/// it kills the servers that are left and removes their directories. A destructor cannot do that
/// (kill -9, or the shared server, which is a static); tying a child's life to its parent's would
/// need unsafe code.
#[derive(Debug)]
struct Watchdog {
    pipe: Mutex<ChildStdin>,
    /// Never waited for: it outlives us.
    _process: Child,
}

impl Watchdog {
    fn tell(&self, what: &str, whom: impl std::fmt::Display) {
        let mut pipe = self.pipe.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        writeln!(pipe, "{what} {whom}").expect("the watchdog lives");
    }
}

fn watchdog() -> &'static Watchdog {
    static WATCHDOG: OnceLock<Watchdog> = OnceLock::new();
    WATCHDOG.get_or_init(|| {
        // Ctrl-C reaches the whole group; the watchdog is the one who must not go.
        const SCRIPT: &str = r#"
            trap '' INT TERM HUP
            declare -A pids homes
            while read -r what whom; do
                case $what in
                    run) pids[$whom]= ;;
                    ended) unset "pids[$whom]" ;;
                    made) homes[$whom]= ;;
                    kept) unset "homes[$whom]" ;;
                esac
            done
            for pid in "${!pids[@]}"; do kill -9 "$pid"; done
            sleep 0.2
            for home in "${!homes[@]}"; do rm -rf "$home"; done
        "#;
        let mut command = Command::new("bash");
        command.args(["-c", SCRIPT]).stdin(Stdio::piped());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("bash");
        let pipe = Mutex::new(child.stdin.take().expect("piped"));
        Watchdog { pipe, _process: child }
    })
}

/// Waits until a server's `mntr` (or other word) shows `line` somewhere.
#[track_caller]
pub(crate) fn eventually_says(node: &Node, word: &str, line: &str) {
    eventually(&format!("{word} says {line:?}"), Duration::from_secs(30), || {
        node.four_letter(word).is_ok_and(|text| text.contains(line))
    });
}
