//! Counts allocations, of all threads; on demand tells where they are made.
//!
//! The one file with `unsafe`: a global allocator is an unsafe trait. It hands every call on to
//! the system's allocator, unchanged.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

#[derive(Debug)]
pub struct Counting;

// SAFETY: each method passes what it was given to `System`, and gives back what that gave.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: our caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

/// How often this process allocated so far; a block that grows is one more.
pub fn allocations() -> u64 {
    TIMES.load(Relaxed)
}

/// From now on, notes where allocations are made. Slow.
pub fn note_sites() {
    NOTING.store(true, Relaxed);
}

pub fn stop_noting() {
    NOTING.store(false, Relaxed);
}

/// Where allocations were made between the two, and how often; most frequent first.
pub fn sites() -> Vec<(String, u64)> {
    let noted = SITES.lock().map(|mut sites| sites.take()).unwrap_or_default();
    let mut sites: Vec<_> = noted.unwrap_or_default().into_iter().collect();
    sites.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    sites
}

fn count() {
    TIMES.fetch_add(1, Relaxed);
    // Noting allocates too, and must not note itself.
    if NOTING.load(Relaxed) && !BUSY.replace(true) {
        let site = Backtrace::force_capture().to_string();
        if let Ok(mut sites) = SITES.lock() {
            *sites.get_or_insert_default().entry(site).or_default() += 1;
        }
        BUSY.set(false);
    }
}

static TIMES: AtomicU64 = AtomicU64::new(0);
static NOTING: AtomicBool = AtomicBool::new(false);
static SITES: Mutex<Option<HashMap<String, u64>>> = Mutex::new(None);

thread_local! {
    static BUSY: Cell<bool> = const { Cell::new(false) };
}
