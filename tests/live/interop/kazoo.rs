//! Kazoo in a process of its own: see `driver.py`.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::clients::patience;

/// A Python process with one Kazoo client. Killed (-9) when dropped.
pub(crate) struct Kazoo {
    child: Child,
    input: Mutex<ChildStdin>,
    replies: Arc<Mutex<Replies>>,
    led: Receiver<String>,
}

#[derive(Default)]
struct Replies {
    next: usize,
    waiting: HashMap<usize, Sender<String>>,
}

/// An answer that is to come.
pub(crate) struct Asked(Receiver<String>);

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
        command.args([connect, "2"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("Python starts");
        let input = Mutex::new(child.stdin.take().expect("piped above"));
        let output = BufReader::new(child.stdout.take().expect("piped above"));
        let (started, is_started) = channel();
        let waiting = HashMap::from([(0, started)]);
        let replies = Arc::new(Mutex::new(Replies { next: 1, waiting }));
        let (tell, led) = channel();
        let known = replies.clone();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let (number, answer) = line.split_once('\t').expect("two words");
                if number == "led" {
                    // The test may have heard enough.
                    let _ = tell.send(answer.to_owned());
                    continue;
                }
                let number: usize = number.parse().expect("a number");
                let asked = known.lock().expect("no panic").waiting.remove(&number);
                let _ = asked.expect("asked before").send(answer.to_owned());
            }
            // Nobody is answered any more.
            known.lock().expect("no panic").waiting.clear();
        });
        assert_eq!(Asked(is_started).answer(), "started");
        Self { child, input, replies, led }
    }

    /// Has it do something, and does not wait.
    #[track_caller]
    pub(crate) fn begin(&self, words: &[&str]) -> Asked {
        let (tell, answer) = channel();
        let mut replies = self.replies.lock().expect("no panic");
        let number = replies.next;
        replies.next += 1;
        replies.waiting.insert(number, tell);
        drop(replies);
        let line = format!("{number}\t{}\n", words.join("\t"));
        let mut input = self.input.lock().expect("no panic");
        input.write_all(line.as_bytes()).expect("it reads");
        Asked(answer)
    }

    /// Has it do something, and waits for the answer.
    #[track_caller]
    pub(crate) fn ask(&self, words: &[&str]) -> String {
        self.begin(words).answer()
    }

    /// Makes a recipe under a name.
    #[track_caller]
    pub(crate) fn make(&self, name: &str, kind: &str, rest: &[&str]) {
        let words: Vec<_> = ["new", name, kind].iter().chain(rest).copied().collect();
        assert_eq!(self.ask(&words), "made");
    }

    /// Waits for one of its elections to be won, and gives its name.
    #[track_caller]
    pub(crate) fn leads(&self) -> String {
        self.led.recv_timeout(patience()).expect("elected in time")
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        self.child.wait().expect("our own child");
    }
}

impl Asked {
    #[track_caller]
    pub(crate) fn answer(&self) -> String {
        self.0.recv_timeout(patience()).expect("answered in time")
    }

    pub(crate) fn is_answered(&self) -> Option<String> {
        self.0.try_recv().ok()
    }
}

impl Drop for Kazoo {
    fn drop(&mut self) {
        self.kill();
    }
}
