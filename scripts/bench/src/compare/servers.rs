//! The servers: the one that answers at once, and a real one.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use zk_bench::Result;

use super::driver::Driver;
use super::place::Place;

pub(super) struct Servers {
    pub(super) null: Driver,
    null_address: String,
    pub(super) real: Option<Real>,
}

impl Servers {
    pub(super) fn start(place: &Place, real: bool) -> Result<Self> {
        let exe = std::env::current_exe()?.to_string_lossy().into_owned();
        let mut null = Driver::spawn(place.command(&[exe, "null-server".to_owned()]))?;
        let address = null.line(Duration::from_secs(5)).map_err(|_| "no null server")?;
        let real = if real { Some(Real::start()?) } else { None };
        Ok(Self { null, null_address: address, real })
    }

    pub(super) fn address(&self, server: &str) -> Result<&str> {
        match (server, &self.real) {
            ("null", _) => Ok(&self.null_address),
            (_, Some(real)) => Ok(&real.address),
            (_, None) => Err("there is no real server".into()),
        }
    }
}

/// A real server with the heap of a real one, on a free port of the loopback.
pub(super) struct Real {
    child: Child,
    pub(super) address: String,
    home: PathBuf,
}

impl Real {
    fn start() -> Result<Self> {
        let home = std::env::temp_dir().join(format!("zk-bench-{}", std::process::id()));
        fs::create_dir_all(&home)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let config = home.join("zoo.cfg");
        fs::write(
            &config,
            format!(
                "tickTime=2000\ndataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\n\
                 admin.enableServer=false\nmaxClientCnxns=0\n4lw.commands.whitelist=*\n",
                home.join("data").display()
            ),
        )?;
        let log = fs::File::create(home.join("log"))?;
        let child = Command::new("java")
            .args(["-Xms1g", "-Xmx2g", "-Dzookeeper.forceSync=no"])
            // A snapshot in the middle of a cell would be that cell's.
            .arg("-Dzookeeper.snapCount=100000000")
            .args(["-cp", &class_path()?])
            .arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let server = Self { child, address: format!("127.0.0.1:{port}"), home };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !server.say("srvr").is_ok_and(|answer| answer.contains("Mode:")) {
            if Instant::now() > deadline {
                return Err("the real server does not serve".into());
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(server)
    }

    /// What the server answers to a four-letter word.
    pub(super) fn say(&self, word: &str) -> Result<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(word.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// How many watches the server has.
    pub(super) fn watches(&self) -> Result<f64> {
        let answer = self.say("mntr")?;
        let count = answer.lines().find_map(|line| line.strip_prefix("zk_watch_count"));
        Ok(count.and_then(|count| count.trim().parse().ok()).ok_or("no watch count")?)
    }

    /// Lets its compiler see the work before the measuring begins, on all CPUs.
    pub(super) fn warm(&self) -> Result<()> {
        eprintln!("warming the real server");
        let works = ["pipe-get 100", "pipe-set 100", "sync-get 8", "sync-set 8", "pipe-create 100"];
        for _ in 0..2 {
            for work in works {
                let (work, n) = work.split_once(' ').unwrap_or((work, "1"));
                let warm = Command::new(std::env::current_exe()?)
                    .args(["client", "ours", &self.address, work, n, "2.5s", "100"])
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .status()?;
                if !warm.success() {
                    return Err("the real server could not be warmed".into());
                }
            }
        }
        Ok(())
    }

    pub(super) fn pin(&self, place: &Place) -> Result<()> {
        place.take(self.child.id())
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.home);
    }
}

/// Debian's jars, or those of an unpacked release at ZOOKEEPER_HOME.
fn class_path() -> Result<String> {
    let Some(home) = std::env::var_os("ZOOKEEPER_HOME") else {
        return Ok("/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar".to_owned());
    };
    let home = Path::new(&home);
    let mut jars = vec![home.join("conf")];
    for dir in [home.to_path_buf(), home.join("lib")] {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|ext| ext == "jar") {
                jars.push(path);
            }
        }
    }
    let jars: Vec<String> = jars.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    Ok(jars.join(":"))
}
