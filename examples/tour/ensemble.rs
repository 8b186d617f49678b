//! The servers, as `scripts/zk-server` left them: who is who, and the end of one of them.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use zookeeper_blocking::four_letter_word;

use crate::stage::Failure;

pub(crate) struct Ensemble {
    pub(crate) connect: String,
    dir: PathBuf,
}

/// One of the servers.
pub(crate) struct Server {
    /// From 1, as its directory is named.
    pub(crate) number: usize,
    pub(crate) pid: u32,
    /// `leader` or `follower`.
    pub(crate) mode: String,
}

impl Ensemble {
    pub(crate) fn from_env() -> Result<Self, Failure> {
        match (env::var("ZK_CONNECT"), env::var("ZK_DIR")) {
            (Ok(connect), Ok(dir)) => Ok(Self { connect, dir: dir.into() }),
            _ => Err("ZK_CONNECT and ZK_DIR are not set: run scripts/demo".into()),
        }
    }

    /// The servers that run.
    pub(crate) fn len(&self) -> usize {
        self.connect.split(',').filter(|server| mode(server).is_some()).count()
    }

    /// The server at `address`, `127.0.0.1:port`.
    pub(crate) fn server(&self, address: &str) -> Result<Server, Failure> {
        for number in 1.. {
            let home = self.dir.join(number.to_string());
            let Ok(port) = fs::read_to_string(home.join("port")) else { break };
            if address.ends_with(&format!(":{}", port.trim())) {
                let pid = fs::read_to_string(home.join("pid"))?;
                let pid = pid.trim().parse().map_err(|_| "that is no pid")?;
                return Ok(Server { number, pid, mode: mode(address).ok_or("it does not serve")? });
            }
        }
        Err(format!("no server at {address} in ZK_DIR").into())
    }
}

impl Server {
    /// With -9: it can tell nobody. By the shell's own `kill`, as a small Debian has no other.
    pub(crate) fn kill(&self) -> Result<(), Failure> {
        let status = Command::new("sh").args(["-c", &format!("kill -9 {}", self.pid)]).status()?;
        if status.success() { Ok(()) } else { Err("the server could not be killed".into()) }
    }
}

/// What a server says it is; `None` if it does not serve.
fn mode(address: &str) -> Option<String> {
    let answer = four_letter_word(address, "srvr", Duration::from_secs(2)).ok()?;
    answer.lines().find_map(|line| line.strip_prefix("Mode: ")).map(str::to_owned)
}
