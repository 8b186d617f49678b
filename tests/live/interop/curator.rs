//! Curator in a process of its own: see `Driver.java`.

use std::env;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::interop::driven::{Asked, Driven};
use crate::support::wait::scaled;

/// One Curator client, in a Java process that all tests share, or in one of its own, which is
/// killed (-9) when dropped.
pub(crate) struct Curator {
    own: Option<Driven>,
    connect: String,
}

impl Curator {
    /// A client in the process that all share: to start one costs two seconds.
    #[track_caller]
    pub(crate) fn start(connect: &str) -> Self {
        Self { own: None, connect: connect.to_owned() }
    }

    /// A client in a process that can be killed, with a session time-out of 2 s.
    #[track_caller]
    pub(crate) fn start_alone(connect: &str) -> Self {
        Self { own: Some(java("2000")), connect: connect.to_owned() }
    }

    /// Has the recipe of this name do something, and does not wait.
    #[track_caller]
    pub(crate) fn begin(&self, name: &str, words: &[&str]) -> Asked {
        // As long as servers let a session be: the process may be starved for a while.
        static SHARED: OnceLock<Driven> = OnceLock::new();
        let process = self.own.as_ref().unwrap_or_else(|| SHARED.get_or_init(|| java("10000")));
        let words: Vec<_> = [self.connect.as_str(), name].iter().chain(words).copied().collect();
        process.begin(&words)
    }

    /// Has the recipe of this name do something, and waits for the answer.
    #[track_caller]
    pub(crate) fn ask(&self, name: &str, words: &[&str]) -> String {
        self.begin(name, words).answer()
    }

    /// Makes a recipe under a name.
    #[track_caller]
    pub(crate) fn make(&self, name: &str, kind: &str, rest: &[&str]) {
        let words: Vec<_> = ["new", kind].iter().chain(rest).copied().collect();
        assert_eq!(self.ask(name, &words), "made");
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.own.as_mut().expect("started alone").kill();
    }
}

/// Compiles the driver as it starts it, which any Java runtime with the module jdk.compiler can.
#[track_caller]
fn java(session_ms: &str) -> Driven {
    let jars = Path::new("/usr/share/java");
    let needed = |name: &str| {
        let jar = jars.join(format!("curator-{name}.jar"));
        assert!(jar.exists(), "no {}: scripts/install-needs --tests gets it", jar.display());
        jar.display().to_string()
    };
    // They name the others that they need. The last keeps what they log to itself.
    let nop = jars.join("slf4j-nop.jar").display().to_string();
    let class_path = [needed("recipes"), needed("x-discovery"), nop].join(":");
    let home = env::var("JAVA_HOME").ok().filter(|home| !home.is_empty());
    let java = home.map_or_else(|| "java".to_owned(), |home| home + "/bin/java");
    let mut command = Command::new(java);
    // Small and soon started.
    command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m", "-cp", &class_path]);
    let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/live/interop/Driver.java");
    command.arg(driver).arg(session_ms);
    Driven::start(command, scaled(Duration::from_secs(60)))
}
