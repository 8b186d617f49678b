//! The clients that are compared: their names, and the commands that run them.

use std::path::Path;

use zk_bench::Result;

use super::place::say;

#[derive(Clone, Debug)]
pub struct Peer {
    pub name: String,
    /// Needs longer to show what it can: a just-in-time compiler, or an interpreter.
    pub slow: bool,
    pub program: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A bare socket.
    Floor,
    Ours,
    /// Has calls that block an OS thread.
    Threads,
    /// Has calls that are awaited, by tasks.
    Tasks,
}

impl Kind {
    pub fn of(name: &str) -> Self {
        match name {
            "empty" | "raw" => Self::Floor,
            "ours" | "ours-batch" => Self::Ours,
            "kezhuw-mt" | "kezhuw-ct" | "tokiozk-mt" | "tokiozk-ct" => Self::Tasks,
            _ => Self::Threads,
        }
    }
}

/// All of them, in the order of the tables.
pub const NAMES: [&str; 15] = [
    "empty",
    "raw",
    "ours",
    "ours-batch",
    "c-nodns",
    "c",
    "java",
    "curator",
    "kazoo",
    "zk08",
    "kezhuw-bo",
    "kezhuw-mt",
    "kezhuw-ct",
    "tokiozk-mt",
    "tokiozk-ct",
];

/// Those that are built. Says which are not.
pub(super) fn found(programs: &Path) -> Result<Vec<Peer>> {
    let mut found = vec![];
    for name in NAMES {
        let (needs, program) = program(name, programs)?;
        if needs.as_ref().is_some_and(|path| !path.exists()) {
            eprintln!("left out: {name} (scripts/bench/peers/build tells why)");
            continue;
        }
        let slow = matches!(name, "java" | "curator" | "kazoo");
        found.push(Peer { name: name.to_owned(), slow, program });
    }
    Ok(found)
}

/// The file that must be there, and the command.
fn program(name: &str, programs: &Path) -> Result<(Option<std::path::PathBuf>, Vec<String>)> {
    let own = |path: &Path| path.to_string_lossy().into_owned();
    let java = |class: &str| -> Result<_> {
        let classes = programs.join("java");
        let path = std::fs::read_to_string(classes.join("class-path")).unwrap_or_default();
        let path = format!("{}:{}", own(&classes), path.trim());
        let command = ["java", "-Xmx1g", "-cp", &path, class, name].map(str::to_owned);
        Ok((Some(classes.join(format!("{class}.class"))), command.to_vec()))
    };
    Ok(match name {
        "empty" | "raw" | "ours" | "ours-batch" => {
            let exe = own(&std::env::current_exe()?);
            (None, vec![exe, "client".to_owned(), name.to_owned()])
        }
        "c" | "c-nodns" => {
            let file = programs.join("c-driver");
            (Some(file.clone()), vec![own(&file), name.to_owned()])
        }
        "java" => java("Driver")?,
        "curator" => java("CuratorLock")?,
        "kazoo" => {
            let (python, file) =
                (programs.join("venv/bin/python"), programs.join("kazoo-driver.py"));
            (Some(file.clone()), vec![own(&python), own(&file), name.to_owned()])
        }
        _ => {
            let file = programs.join("zk-bench-peers");
            (Some(file.clone()), vec![own(&file), name.to_owned()])
        }
    })
}

/// What exactly was measured.
pub(super) fn versions(programs: &Path, peers: &[Peer]) -> Result<Vec<(String, String)>> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let commit = say(&["git", "-C", root, "rev-parse", "--short=12", "HEAD"])?;
    let changed = say(&["git", "-C", root, "status", "--porcelain", "--", "src", "Cargo.lock"])?;
    let changed = if changed.is_empty() { "" } else { ", with changes" };
    let mut versions = vec![
        ("ours".to_owned(), format!("zookeeper-blocking at {commit}{changed}")),
        ("Rust".to_owned(), say(&["rustc", "--version"])?),
    ];
    let lines = std::fs::read_to_string(programs.join("versions")).unwrap_or_default();
    let all = lines.lines().filter_map(|line| line.split_once(": "));
    // A line tells of one client, or of what some of them stand on.
    let measured = |name: &&str| {
        let base = |peer: &Peer| peer.name.starts_with(*name);
        peers.iter().any(base) || !NAMES.iter().any(|peer| peer.starts_with(*name))
    };
    versions
        .extend(all.filter(|(name, _)| measured(name)).map(|(n, v)| (n.to_owned(), v.to_owned())));
    Ok(versions)
}
