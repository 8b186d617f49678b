//! An allocator that ends the process, and so the fuzz run, when the library takes more memory
//! than what arrived can justify.

use std::alloc::System;

use cap::Cap;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// Allows `more` bytes on top of what is allocated now.
pub fn allow(more: usize) {
    let limit = ALLOCATOR.allocated().saturating_add(more);
    ALLOCATOR.set_limit(limit).expect("more than nothing is always within the limit");
}

/// Runs one input, then lifts its limit: the engine's own memory is not ours to judge.
pub fn run(target: fn(&[u8], &dyn Fn(usize)), data: &[u8]) {
    target(data, &allow);
    allow(usize::MAX);
}
