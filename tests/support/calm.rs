//! Tests that have to measure time, on a machine that does other things too.
//!
//! "At once" and "within 200 ms" cannot be shown without a clock, and the clock goes on while a
//! thread waits for its turn on a processor. A limit so long that no busy machine reaches it shows
//! nothing any more. So the limits stay, and somebody watches the machine: two threads that only
//! sleep, and add up how much too late they were woken, and the kernel, if it tells how long anybody
//! had to wait for a processor or a disk, say a server of ours. A failure on a calm machine counts.
//! One on a machine that kept them waiting may be bad luck, and there is another attempt.

use std::fs;
use std::io::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Runs a test whose limits are tight, up to six times: again only if it failed while somebody had to
/// wait for a processor or a disk. Bad luck is not repeated so often, a fault is.
pub(crate) fn undisturbed(attempt: impl Fn()) {
    const ATTEMPTS: usize = 6;
    // In all, over the whole attempt. A calm machine stays far below.
    const CALM: Duration = Duration::from_millis(20);
    for number in 1..=ATTEMPTS {
        let watch = Watch::start();
        let Err(cause) = catch_unwind(AssertUnwindSafe(&attempt)) else { return };
        let late = watch.late();
        if late < CALM || number == ATTEMPTS {
            eprintln!("attempt {number}; the machine kept us waiting for {late:?}");
            resume_unwind(cause);
        }
        // Past the test runner, who would keep it to himself: it is to be seen how often that is.
        let name = thread::current().name().unwrap_or("a test").to_owned();
        let _ = writeln!(
            io::stderr(),
            "{name}: attempt {number} failed, and the machine kept us waiting for {late:?}: once more"
        );
    }
}

/// Counts how much too late threads are woken, until it is dropped.
#[derive(Debug)]
struct Watch {
    over: Arc<AtomicBool>,
    late_us: Arc<AtomicU64>,
    pressure_us: u64,
    /// Two, for there are two processors at least, and only one of them may be busy.
    threads: Vec<JoinHandle<()>>,
}

impl Watch {
    fn start() -> Self {
        let (over, late_us) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let threads = (0..2)
            .map(|_| {
                let (over, late_us) = (Arc::clone(&over), Arc::clone(&late_us));
                thread::spawn(move || watch(&over, &late_us))
            })
            .collect();
        Self { over, late_us, pressure_us: pressure_us(), threads }
    }

    fn late(&self) -> Duration {
        let pressure_us = pressure_us().saturating_sub(self.pressure_us);
        Duration::from_micros(self.late_us.load(Ordering::Relaxed) + pressure_us)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("it only sleeps");
        }
    }
}

/// How long somebody on this machine waited for a processor or a disk so far, as far as it is told.
fn pressure_us() -> u64 {
    let of = |what| {
        let text = fs::read_to_string(format!("/proc/pressure/{what}")).ok()?;
        let total = text.lines().next()?.rsplit_once("total=")?.1;
        total.parse::<u64>().ok()
    };
    ["cpu", "io"].into_iter().filter_map(of).sum()
}

fn watch(over: &AtomicBool, late_us: &AtomicU64) {
    const NAP: Duration = Duration::from_millis(2);
    // No timer is exact, on no machine.
    const USUAL: Duration = Duration::from_millis(1);
    while !over.load(Ordering::Relaxed) {
        let start = Instant::now();
        thread::sleep(NAP);
        let late = start.elapsed().saturating_sub(NAP + USUAL);
        late_us.fetch_add(late.as_micros() as u64, Ordering::Relaxed);
    }
}
