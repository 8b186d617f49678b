//! Every decoder of what a server says.

#![no_main]

mod allowance;

libfuzzer_sys::fuzz_target!(|data: &[u8]| allowance::run(
    zookeeper_blocking::fuzzing::replies,
    data
));
