//! A process of ours that holds something until it is killed.

use std::process::{Child, Command, Stdio};
use std::thread;

use zookeeper_blocking::Client;

use crate::clients::patience;
use crate::locks::ms;

/// This test binary once more, with one test in its other role. Killed (-9) when dropped.
pub(crate) struct Victim(Child);

impl Victim {
    /// Starts it in the test of this name, which begins with [`play`].
    pub(crate) fn start(test: &str, connect: &str) -> Self {
        let own = std::env::current_exe().expect("the test binary");
        let mut command = Command::new(own);
        command.args([test, "--exact", "--test-threads=1"]).env(ROLE, connect);
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("starts"))
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        self.0.wait().expect("our own child");
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Plays the role if this process was started for it: holds what `take` gives, in a session with a
/// time-out of 2 s. Gives whether it did; then the test is over.
pub(crate) fn play<T>(take: impl FnOnce(&Client) -> T) -> bool {
    let Ok(connect) = std::env::var(ROLE) else { return false };
    let client = Client::builder(&connect).session_timeout(ms(2_000)).connect().expect("serves");
    let _held = take(&client);
    // The parent kills us long before; should it die, we end.
    thread::sleep(6 * patience());
    true
}

const ROLE: &str = "ZK_TEST_INTEROP_VICTIM";
