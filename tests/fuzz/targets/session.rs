//! The session machine against a server that says anything.

#![no_main]

mod allowance;

libfuzzer_sys::fuzz_target!(|data: &[u8]| allowance::run(
    zookeeper_blocking::fuzzing::session,
    data
));
