//! Kazoo in a process of its own: see `driver.py`.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::Command;

use crate::clients::patience;
use crate::interop::driven::Driven;

/// A Python process with one Kazoo client. Killed (-9) when dropped.
pub(crate) struct Kazoo(Driven);

impl Kazoo {
    /// Starts one with a session time-out of 2 s.
    #[track_caller]
    pub(crate) fn start(connect: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = root.join(".zk/kazoo/bin/python");
        assert!(python.exists(), "no {}: scripts/install-needs --tests makes it", python.display());
        let mut command = Command::new(python);
        // Its deprecation warnings are its own business.
        command.args(["-W", "ignore"]).arg(root.join("tests/live/interop/driver.py"));
        command.args([connect, "2"]);
        Self(Driven::start(command, patience()))
    }
}

impl Deref for Kazoo {
    type Target = Driven;

    fn deref(&self) -> &Driven {
        &self.0
    }
}

impl DerefMut for Kazoo {
    fn deref_mut(&mut self) -> &mut Driven {
        &mut self.0
    }
}
