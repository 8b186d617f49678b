//! A program of another language at the word of a test: it is asked in lines on its standard input,
//! and answers in lines on its standard output.
//!
//! ```text
//! in   7 <tab> acquire <tab> a
//! out  7 <tab> True                 each answer has the number of its question
//!      led <tab> a                  from Kazoo, when an election is won
//! ```

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::clients::patience;

/// The process. Killed (-9) when dropped; if the test process dies its input ends, and so does it.
pub(crate) struct Driven {
    child: Child,
    input: Mutex<ChildStdin>,
    replies: Arc<Mutex<Replies>>,
    led: Mutex<Receiver<String>>,
}

#[derive(Default)]
struct Replies {
    next: usize,
    waiting: HashMap<usize, Sender<String>>,
}

/// An answer that is to come.
pub(crate) struct Asked(Receiver<String>);

impl Driven {
    /// Starts it, and waits `most` until it says that it is ready: its answer to 0.
    #[track_caller]
    pub(crate) fn start(mut command: Command, most: Duration) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the driver starts");
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
                // The test may not care.
                let _ = asked.expect("asked before").send(answer.to_owned());
            }
            // Nobody is answered any more.
            known.lock().expect("no panic").waiting.clear();
        });
        let driven = Self { child, input, replies, led: Mutex::new(led) };
        let started = is_started.recv_timeout(most).expect("starts in time, and says so");
        assert_eq!(started, "started");
        driven
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
        let led = self.led.lock().expect("no panic");
        led.recv_timeout(patience()).expect("elected in time")
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

impl Drop for Driven {
    fn drop(&mut self) {
        self.kill();
    }
}
