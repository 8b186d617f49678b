//! The measure of tasks, where `zk_bench::measure` has threads.

use std::future::Future;
use std::sync::Arc;

use tokio::time::sleep;
use zk_bench::measure::{Length, Meter, WARM_UP};
use zk_bench::{Result, cue};

/// Runs `work` in so many tasks, warm-up first, and gives the figures.
pub async fn measure<F: Future<Output = Result<()>> + Send + 'static>(
    tasks: usize,
    length: Length,
    work: impl Fn(Arc<Meter>, usize) -> F,
) -> Result<String> {
    let meter = Arc::new(Meter::new(tasks, length));
    let mut before = meter.begin_if_counted(length)?;
    let tasks: Vec<_> = (0..tasks).map(|i| tokio::spawn(work(meter.clone(), i))).collect();
    let mut after = None;
    if let Length::Time(time) = length {
        sleep(WARM_UP).await;
        before = Some(meter.begin()?);
        sleep(time).await;
        after = Some(meter.end()?);
    }
    for task in tasks {
        task.await??;
    }
    let after = after.map_or_else(|| meter.end(), Ok)?;
    Ok(meter.figures(&before.ok_or("no measurement")?, &after))
}

/// Waits for a line on standard input, not on a thread of the runtime.
pub async fn go() -> Result<bool> {
    tokio::task::spawn_blocking(cue::go).await?
}

pub async fn wait_end() -> Result<()> {
    tokio::task::spawn_blocking(cue::wait_end).await?
}

/// Ends the process at the end of standard input.
pub fn end_with_input() {
    std::thread::spawn(|| {
        let _ = cue::wait_end();
        std::process::exit(0);
    });
}
