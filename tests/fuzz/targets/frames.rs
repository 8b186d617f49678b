//! Frames out of a stream that arrives in any pieces.

#![no_main]

mod allowance;

libfuzzer_sys::fuzz_target!(|data: &[u8]| allowance::run(
    zookeeper_blocking::fuzzing::frames,
    data
));
