//! Who allocates.

use crate::allocator;

/// What noticeably often allocates, and on whose behalf.
pub fn print(calls: u64) {
    for (trace, times) in allocator::sites() {
        let per_call = times as f64 / calls as f64;
        if per_call >= 0.005 {
            println!("{per_call:.2} per call:");
            own_frames(&trace).iter().for_each(|frame| println!("    {frame}"));
        }
    }
}

/// The frames of a trace from the allocation's own up to where the thread starts, each with its
/// file and line; the standard library's innards are left out.
fn own_frames(trace: &str) -> Vec<String> {
    let mut frames: Vec<String> = Vec::new();
    for line in trace.lines().map(str::trim) {
        match line.strip_prefix("at ") {
            Some(place) => {
                if let Some(frame) = frames.last_mut() {
                    frame.push_str("  ");
                    frame.push_str(place.rsplit_once("/src/").map_or(place, |(_, file)| file));
                }
            }
            None => frames.push(line.split_once(": ").map_or(line, |(_, name)| name).to_owned()),
        }
    }
    let inner =
        ["__rustc::", "alloc::alloc::", "<alloc::alloc::", "alloc::raw_vec", "<alloc::raw_vec"];
    let is_inner = |frame: &String| inner.iter().any(|start| frame.starts_with(start));
    let first = frames.iter().rposition(is_inner).map_or(0, |at| at + 1);
    let last = frames
        .iter()
        .rposition(|frame| frame.contains("zookeeper_blocking") || frame.contains("zk_gates"))
        .map_or(frames.len(), |at| at + 1);
    frames.get(first..last).map(<[String]>::to_vec).unwrap_or(frames)
}
