//! The work: what is measured, of whom.

use std::fmt;

use super::peers::Peer;

/// One kind of work against one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    pub server: &'static str,
    pub work: &'static str,
    /// Threads, requests in flight, watches, nodes: as the work has it.
    pub n: usize,
    /// Bytes of data, or number of children.
    pub size: usize,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.server, self.work, self.n, self.size)
    }
}

pub const SIZES: [usize; 3] = [100, 4096, 512 * 1024];
pub const CHILDREN: usize = 10_000;

/// What is done over and over.
pub fn rates() -> Vec<Cell> {
    let big = SIZES[2];
    let mut cells = vec![];
    let mut add = |server, work, sizes: &[(usize, usize)]| {
        cells.extend(sizes.iter().map(|&(n, size)| Cell { server, work, n, size }));
    };
    add("null", "sync-get", &[(1, 100), (2, 100), (8, 100), (64, 100), (1, 4096), (1, big)]);
    add("null", "sync-set", &[(1, 100), (2, 100), (8, 100), (64, 100), (1, 4096)]);
    add("null", "sync-list", &[(1, CHILDREN)]);
    add("null", "pipe-get", &[(100, 100), (1000, 100), (100, 4096), (16, big)]);
    add("null", "pipe-set", &[(100, 100), (1000, 100), (100, 4096)]);
    add("null", "pipe-create", &[(100, 100), (1000, 100)]);
    add("null", "watch", &[(1000, 100)]);
    add("real", "sync-get", &[(1, 100), (8, 100), (64, 100), (1, 4096), (1, big)]);
    add("real", "sync-set", &[(1, 100), (8, 100), (64, 100), (1, 4096)]);
    add("real", "sync-list", &[(1, CHILDREN)]);
    add("real", "pipe-get", &[(100, 100), (1000, 100), (16, big)]);
    add("real", "pipe-set", &[(100, 100), (1000, 100)]);
    add("real", "pipe-create", &[(100, 100), (1000, 100)]);
    add("real", "lock", &[(1, 0), (8, 0)]);
    cells
}

/// What is done once in a process.
pub fn once() -> Vec<Cell> {
    let cell = |server, work, n| Cell { server, work, n, size: 100 };
    vec![
        cell("null", "connect", 1),
        cell("real", "connect", 1),
        cell("null", "inflight", 100_000),
        cell("null", "watched", 100_000),
        cell("real", "rearm", 0),
        cell("real", "rearm", 10_000),
        cell("real", "rearm", 100_000),
        cell("real", "delete", 100_000),
        cell("null", "count-sync-get", 1),
        cell("null", "count-sync-get", 64),
        cell("null", "count-sync-set", 1),
        cell("null", "count-pipe-get", 1000),
    ]
}

impl Cell {
    /// The arguments of a driver.
    pub(super) fn job(&self, address: &str, length: &str) -> [String; 5] {
        let work = self.work.strip_prefix("count-").unwrap_or(self.work);
        [
            address.to_owned(),
            work.to_owned(),
            self.n.to_string(),
            length.to_owned(),
            self.size.to_string(),
        ]
    }

    /// Whether that client has its say. The C client with its resolution of names is measured
    /// where it tells something, and clients of tasks need no rows for two threads.
    pub(super) fn is_for(&self, peer: &Peer) -> bool {
        match (self.work, peer.name.as_str()) {
            (work, "empty") => {
                matches!(work, "connect" | "sync-get") && self.server == "null" && self.size == 100
            }
            ("lock", name) => !matches!(name, "raw" | "ours-batch" | "c" | "c-nodns"),
            (_, "curator") => false,
            (work, "ours-batch") => work.contains("pipe-"),
            ("sync-get" | "pipe-get", "c") => self.size == 100 && matches!(self.n, 1 | 1000),
            (_, "c") => !matches!(self.work, "sync-set" | "sync-list" | "pipe-set" | "pipe-create"),
            ("sync-get" | "sync-set", name) if name.ends_with("-mt") => {
                self.n != 2 && self.size == 100 || self.size > 100_000
            }
            _ => true,
        }
    }

    /// As a person says it.
    pub fn name(&self) -> String {
        let thing = match self.size {
            0 | 100 | CHILDREN => String::new(),
            size => format!(" of {} KiB", size / 1024),
        };
        let n = grouped(self.n);
        let threads = if self.n == 1 { "1 thread".to_owned() } else { format!("{n} threads") };
        let watches = if self.n == 0 { "no watches".to_owned() } else { format!("{n} watches") };
        match self.work.strip_prefix("count-").unwrap_or(self.work) {
            "sync-get" => format!("blocking get{thing}, {threads}"),
            "sync-set" => format!("blocking set{thing}, {threads}"),
            "sync-list" => format!("blocking list of {} children", grouped(self.size)),
            "pipe-get" => format!("pipelined get{thing}, window {n}"),
            "pipe-set" => format!("pipelined set{thing}, window {n}"),
            "pipe-create" => format!("pipelined create, window {n}"),
            "watch" => format!("watch notifications, {n} watches"),
            "lock" if self.n == 1 => "lock and unlock, alone".to_owned(),
            "lock" => format!("lock and unlock, {n} contenders"),
            "connect" => "connect".to_owned(),
            "inflight" => format!("memory with {n} calls in flight"),
            "watched" => format!("memory with {watches}"),
            "rearm" => format!("back after a cut, {watches}"),
            "delete" => format!("recursive delete of {n} nodes"),
            other => other.to_owned(),
        }
    }
}

/// 10000 as 10,000.
pub fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
