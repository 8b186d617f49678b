//! Free loopback ports.
//!
//! `bind(0)` would give ports out of the kernel's range for outgoing connections. There, while a
//! server is down, any passing connection may take its port, even the very client that tries to
//! reach it: a loopback connection to an unused port of that range can connect to itself. So ports
//! are tried below that range, by binding, from a random start.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A listener on a free port of 127.0.0.1.
pub(crate) fn listen() -> TcpListener {
    let (bottom, top) = range();
    let size = top - bottom;
    for _ in 0..size {
        let port = bottom + NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(start()) % size;
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port as u16)) {
            return listener;
        }
    }
    panic!("no free port between {bottom} and {top}");
}

/// `count` different ports that were free just now. Another process may take one before it is
/// used; whoever starts a server with them must be ready to try again.
pub(crate) fn free(count: usize) -> Vec<u16> {
    let held: Vec<TcpListener> = (0..count).map(|_| listen()).collect();
    held.iter().map(port_of).collect()
}

pub(crate) fn port_of(listener: &TcpListener) -> u16 {
    listener.local_addr().expect("a bound listener has an address").port()
}

/// A port that does not answer, not even to a connection attempt: its queue of connections is full,
/// so that the kernel ignores every further one, as a firewall would.
#[derive(Debug)]
pub(crate) struct SilentPort {
    listener: TcpListener,
    queued: Vec<TcpStream>,
}

impl SilentPort {
    pub(crate) fn new() -> Self {
        let listener = listen();
        let address = listener.local_addr().expect("a bound listener has an address");
        let mut queued = Vec::new();
        // The queue takes 128 or so; a connection that is not made within this time on loopback
        // was ignored.
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            queued.push(stream);
            assert!(queued.len() < 10_000, "this kernel's queues have no end");
        }
        Self { listener, queued }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("a bound listener has an address")
    }
}

fn whole_range() -> (u32, u32) {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let low = text.ok().and_then(|text| text.split_whitespace().next()?.parse().ok());
    (10_000, low.filter(|low| *low >= 14_000).unwrap_or(32_768))
}

/// The ports for this process. A test that runs a part of itself in a process of its own must not lose
/// a port to it that it wants back, of a server or a proxy that is away for a while: each has a half
/// of the range.
fn range() -> (u32, u32) {
    let (bottom, top) = whole_range();
    let middle = bottom + (top - bottom) / 2;
    static IS_CHILD: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    let is_child = || {
        let parents =
            std::fs::read_link(format!("/proc/{}/exe", std::os::unix::process::parent_id()));
        parents.is_ok_and(|parents| std::env::current_exe().is_ok_and(|own| own == parents))
    };
    if *IS_CHILD.get_or_init(is_child) { (middle, top) } else { (bottom, middle) }
}

/// Where this process starts to look: test processes run side by side.
fn start() -> u32 {
    static START: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    *START.get_or_init(|| RandomState::new().hash_one(std::process::id()) as u32)
}

/// Counts on, so that one process does not hand out a port twice in a row.
static NEXT: AtomicU32 = AtomicU32::new(0);
