//! A TCP proxy between client and server that knows where frames begin, and misbehaves on request.
//!
//! ```text
//!              link 0, 1, 2 ...  (one per connection)
//! client ──► reader ─ queue ─► writer ──► server        Way::ToServer
//! client ◄── writer ◄─ queue ─ reader ◄── server        Way::ToClient
//!            hold, delay, slice,   count, pick frames for `once`
//!            lose: at the writer   : at the reader
//! ```
//!
//! Faults that last (`hold`, `delay`, `slice`, `lose`, `refuse`, `black_hole`) are switched by verbs
//! and act on all links, old and new, until [`Proxy::heal`]. Faults that happen once, at a chosen
//! frame, are armed by [`Proxy::once`]: lose the reply that the server has given after it applied
//! the request, tear a frame, flip a bit.
//!
//! Closing in `std` is orderly (FIN); linger 0 for a reset would need unsafe code. But closing a
//! socket with unread bytes resets it, which [`Act::Reset`] uses.

mod link;

use std::collections::BTreeMap;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use self::link::Link;
use super::ports;
use super::wait::{eventually, scaled};

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    ToServer,
    ToClient,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Handshake,
    /// A request, or the reply to one, with the operation.
    Op(i32),
    Ping,
    Notification,
    /// No frame: a four-letter word and its answer, nonsense, or the torn end of a connection.
    Other,
}

/// Which frames [`Proxy::once`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pick {
    Handshake,
    /// Requests or replies of this operation.
    Op(i32),
    /// Requests or replies of any operation, pings and handshakes not counted.
    AnyOp,
    Ping,
    Notification,
}

impl Pick {
    fn takes(self, kind: Kind) -> bool {
        match (self, kind) {
            (Self::Handshake, Kind::Handshake)
            | (Self::AnyOp, Kind::Op(_))
            | (Self::Ping, Kind::Ping)
            | (Self::Notification, Kind::Notification) => true,
            (Self::Op(op), Kind::Op(of)) => op == of,
            _ => false,
        }
    }
}

/// What [`Proxy::once`] does with the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Delivers the frame, then cuts the connection.
    Cut,
    /// Holds its direction before this frame, as [`Proxy::hold`] does.
    Hold,
    /// Loses the frame, goes on as if nothing were: a gap in the stream.
    Lose,
    /// Loses the frame and cuts the connection. For a reply: the server has applied the request,
    /// the client never hears of it. For a request: the client has sent it, the server never saw it.
    LoseAndCut,
    /// Only ToServer. Leaves the frame unread and resets the client's connection (RST). A frame
    /// that came in one burst behind others has been read with them: then it is `LoseAndCut`.
    Reset,
    /// Delivers so many bytes of the frame (the length's four count), then cuts.
    Tear(usize),
    /// Delivers the frame with these bits turned over in the byte at this place.
    Flip(usize, u8),
}

/// A frame that passed, or was picked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    /// Which connection, from 0.
    pub(crate) link: usize,
    pub(crate) way: Way,
    pub(crate) kind: Kind,
    pub(crate) xid: i32,
    /// Replies only, like the next.
    pub(crate) zxid: i64,
    pub(crate) err: i32,
    /// With the length's four bytes.
    pub(crate) bytes: usize,
}

/// What passed in one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) frames: usize,
    pub(crate) bytes: usize,
    /// Requests, or replies, by operation.
    pub(crate) ops: BTreeMap<i32, usize>,
    pub(crate) handshakes: usize,
    pub(crate) pings: usize,
    pub(crate) notifications: usize,
}

impl Tally {
    /// Requests, or replies, of all operations together.
    pub(crate) fn requests(&self) -> usize {
        self.ops.values().sum()
    }
}

/// What passed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) connections: usize,
    pub(crate) to_server: Tally,
    pub(crate) to_client: Tally,
    /// How often a client sent a request after it had been given a reply (or as its first). What
    /// it sends at once, without waiting, is one round trip; pings are none.
    pub(crate) round_trips: usize,
}

/// The proxy. Dropping it cuts all connections.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    hub: Arc<Hub>,
    acceptor: Mutex<Option<JoinHandle<()>>>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1.
    pub(crate) fn start(target: SocketAddr) -> Self {
        Self::on(ports::listen(), target)
    }

    /// Takes over a listener, say one of `[::1]`.
    pub(crate) fn on(listener: TcpListener, target: SocketAddr) -> Self {
        let address = listener.local_addr().expect("a bound listener has an address");
        let state = Mutex::new(State::new(target));
        let hub = Arc::new(Hub { state, changed: Condvar::new() });
        let proxy = Self { address, hub, acceptor: Mutex::new(None) };
        proxy.accept_from(listener);
        proxy
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn connect_string(&self) -> String {
        self.address.to_string()
    }

    // ---- at once ----

    /// Cuts all connections, on both sides.
    pub(crate) fn cut(&self) {
        self.hub.lock().cuts += 1;
        self.cut_where(|_| true);
    }

    /// Cuts the clients' sides; the server's sides stay open and silent until the heal or the
    /// drop, as when a router between them dies.
    pub(crate) fn cut_clients(&self) {
        let state = self.hub.lock();
        for link in &state.links {
            link.orphan.store(true, Ordering::Relaxed);
            let _ = link.client.shutdown(Shutdown::Both);
        }
    }

    /// Ends one direction of all connections with a FIN; the other goes on.
    pub(crate) fn half_close(&self, way: Way) {
        let state = self.hub.lock();
        for link in &state.links {
            let _ = link.to(way).shutdown(Shutdown::Write);
        }
    }

    // ---- until healed ----

    /// Stops a direction: nothing is delivered, and soon nothing more is read, so that a sender
    /// sees its buffers fill up. Nothing is lost.
    pub(crate) fn hold(&self, way: Way) {
        self.hub.change(|state| state.faults_mut(way).held = true);
    }

    /// Stops both directions.
    pub(crate) fn hold_both(&self) {
        self.hold(Way::ToServer);
        self.hold(Way::ToClient);
    }

    /// Lets a held direction go on with what was held.
    pub(crate) fn release(&self, way: Way) {
        self.hub.change(|state| state.faults_mut(way).held = false);
    }

    /// Delivers everything so much later, as a long line does: the order stays, and what is sent
    /// together arrives together.
    pub(crate) fn delay(&self, way: Way, time: Duration) {
        self.hub.change(|state| state.faults_mut(way).delay = scaled(time));
    }

    /// Has answers take a while: what a client sends at once counts as one round trip then, even if
    /// its machine is busy and sends it bit by bit.
    pub(crate) fn far(&self) {
        self.delay(Way::ToClient, Duration::from_millis(80));
    }

    /// Delivers at most `bytes` at a time, with a pause after each piece.
    pub(crate) fn slice(&self, way: Way, bytes: usize) {
        self.hub.change(|state| state.faults_mut(way).slice = Some(bytes));
    }

    /// Loses what comes in one direction, even the end of the connection. A link that has lost
    /// something is cut by `heal`: there is no way back for it.
    pub(crate) fn lose(&self, way: Way) {
        self.hub.change(|state| state.faults_mut(way).lossy = true);
    }

    /// Loses everything in both directions; new connections are accepted, and nothing else.
    pub(crate) fn black_hole(&self) {
        self.lose(Way::ToServer);
        self.lose(Way::ToClient);
        self.hub.change(|state| state.black_hole = true);
    }

    /// Refuses new connections (ECONNREFUSED); those that are, stay.
    pub(crate) fn refuse(&self) {
        self.hub.change(|state| state.refusing = true);
        let acceptor = self.acceptor().take();
        if let Some(acceptor) = acceptor {
            // Wakes the acceptor, which waits for a connection.
            drop(TcpStream::connect(self.address));
            acceptor.join().expect("the acceptor does not panic");
        }
    }

    /// Takes new connections again after `refuse`.
    pub(crate) fn accept(&self) {
        if self.acceptor().is_none() {
            self.hub.change(|state| state.refusing = false);
            let listener = TcpListener::bind(self.address).expect("our port is still free");
            self.accept_from(listener);
        }
    }

    /// Leads new connections elsewhere; those that are, stay.
    pub(crate) fn retarget(&self, target: SocketAddr) {
        self.hub.change(|state| state.target = target);
    }

    /// Makes the server an older one, to which these operations are unknown: their requests reach it
    /// under a number that no server knows, and so it does what it does then, which is to answer
    /// `Unimplemented` and to close the connection. Stays after [`heal`](Self::heal).
    pub(crate) fn forget_ops(&self, ops: &[i32]) {
        self.hub.change(|state| state.forgotten = ops.to_vec());
    }

    /// Ends all faults, also the armed ones. Links that have lost something, or their client, are
    /// cut.
    pub(crate) fn heal(&self) {
        self.hub.change(|state| {
            state.faults = Default::default();
            state.shots.clear();
            state.black_hole = false;
        });
        self.cut_where(|link| {
            link.lost.load(Ordering::Relaxed) || link.orphan.load(Ordering::Relaxed)
        });
        self.accept();
    }

    // ---- once, at a chosen frame ----

    /// Does `act` to the `nth` frame from now on (1: the next) that `pick` takes, on any link.
    pub(crate) fn once(&self, way: Way, pick: Pick, nth: usize, act: Act) {
        assert!(nth > 0, "the first frame is number 1");
        assert!(act != Act::Reset || way == Way::ToServer, "only a client can be reset");
        self.hub.change(|state| state.shots.push(Shot { way, pick, left: nth, act }));
    }

    /// Loses the `nth` reply from now on and cuts: applied, but the client never hears of it.
    pub(crate) fn drop_reply(&self, nth: usize) {
        self.once(Way::ToClient, Pick::AnyOp, nth, Act::LoseAndCut);
    }

    /// Loses the next reply to this operation and cuts.
    pub(crate) fn drop_reply_to(&self, op: i32) {
        self.once(Way::ToClient, Pick::Op(op), 1, Act::LoseAndCut);
    }

    /// Loses the next request of this operation and cuts: sent, but not applied.
    pub(crate) fn drop_request(&self, op: i32) {
        self.once(Way::ToServer, Pick::Op(op), 1, Act::LoseAndCut);
    }

    /// The frames that `once` has caught so far.
    pub(crate) fn caught(&self) -> Vec<Seen> {
        self.hub.lock().caught.clone()
    }

    /// Waits until `once` has caught so many frames, counted from the proxy's start.
    #[track_caller]
    pub(crate) fn wait_caught(&self, count: usize) {
        eventually(&format!("{count} frames caught"), Duration::from_secs(20), || {
            self.hub.lock().caught.len() >= count
        });
    }

    // ---- what passed ----

    /// Waits until so many more replies have passed, or it is over: whoever is cut again and again
    /// before he was given any comes to nothing, on a busy machine.
    pub(crate) fn wait_replies(&self, count: usize, is_over: &AtomicBool) {
        let passed = || self.hub.lock().counts.to_client.requests();
        let goal = passed() + count;
        while passed() < goal && !is_over.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until a link has lost something: what a sender has sent may not be lost yet.
    #[track_caller]
    pub(crate) fn wait_lost(&self) {
        eventually("something is lost", Duration::from_secs(20), || {
            self.hub.lock().links.iter().any(|link| link.lost.load(Ordering::Relaxed))
        });
    }

    /// What passed since the start or the last `reset_counts`.
    pub(crate) fn counts(&self) -> Counts {
        self.hub.lock().counts.clone()
    }

    /// The frames that passed since the start or the last `reset_counts`, in order.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.hub.lock().seen.clone()
    }

    pub(crate) fn reset_counts(&self) {
        self.hub.change(|state| {
            state.counts = Counts::default();
            state.seen.clear();
        });
    }

    /// The number of connections that are open now, as far as the proxy knows.
    pub(crate) fn open(&self) -> usize {
        self.hub.lock().links.len()
    }

    fn acceptor(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.acceptor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept_from(&self, listener: TcpListener) {
        let hub = Arc::clone(&self.hub);
        let acceptor = thread::Builder::new().name("proxy".to_owned());
        let acceptor = acceptor.spawn(move || link::accept(&listener, &hub)).expect("a thread");
        *self.acceptor() = Some(acceptor);
    }

    fn cut_where(&self, which: impl Fn(&Link) -> bool) {
        let mut state = self.hub.lock();
        state.links.retain(|link| {
            let cut = which(link);
            if cut {
                link.cut();
            }
            !cut
        });
        self.hub.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.refuse();
        self.cut();
    }
}

/// What the proxy's threads share.
#[derive(Debug)]
struct Hub {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    target: SocketAddr,
    /// By direction.
    faults: [Faults; 2],
    shots: Vec<Shot>,
    black_hole: bool,
    /// Operations that the server is not to know.
    forgotten: Vec<i32>,
    refusing: bool,
    links: Vec<Arc<Link>>,
    next_link: usize,
    /// How often all links were cut: one that was being dialled meanwhile is cut too.
    cuts: usize,
    counts: Counts,
    seen: Vec<Seen>,
    caught: Vec<Seen>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Faults {
    held: bool,
    lossy: bool,
    delay: Duration,
    slice: Option<usize>,
}

#[derive(Debug)]
struct Shot {
    way: Way,
    pick: Pick,
    left: usize,
    act: Act,
}

impl State {
    fn new(target: SocketAddr) -> Self {
        Self {
            target,
            faults: Default::default(),
            shots: Vec::new(),
            black_hole: false,
            forgotten: Vec::new(),
            refusing: false,
            links: Vec::new(),
            next_link: 0,
            cuts: 0,
            counts: Counts::default(),
            seen: Vec::new(),
            caught: Vec::new(),
        }
    }

    fn faults_mut(&mut self, way: Way) -> &mut Faults {
        &mut self.faults[way as usize]
    }

    /// Counts a frame, and gives what an armed `once` does to it.
    fn pass(&mut self, seen: Seen) -> Option<Act> {
        let tally = match seen.way {
            Way::ToServer => &mut self.counts.to_server,
            Way::ToClient => &mut self.counts.to_client,
        };
        tally.frames += 1;
        tally.bytes += seen.bytes;
        match seen.kind {
            Kind::Handshake => tally.handshakes += 1,
            Kind::Op(op) => *tally.ops.entry(op).or_default() += 1,
            Kind::Ping => tally.pings += 1,
            Kind::Notification => tally.notifications += 1,
            Kind::Other => {}
        }
        self.seen.push(seen);
        let mut fired = None;
        self.shots.retain_mut(|shot| {
            let hit = fired.is_none() && shot.way == seen.way && shot.pick.takes(seen.kind);
            shot.left -= usize::from(hit);
            if shot.left == 0 {
                fired = Some(shot.act);
            }
            shot.left > 0
        });
        if fired.is_some() {
            self.caught.push(seen);
        }
        fired
    }
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, how: impl FnOnce(&mut State)) {
        how(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits while the direction is held, or its end is to be lost; gives its faults.
    fn gate(&self, link: &Link, way: Way) -> Faults {
        let mut state = self.lock();
        while state.faults[way as usize].held && !link.gone() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.faults[way as usize]
    }

    /// Waits until the link is cut, or nothing keeps the direction's end from being delivered.
    fn end_gate(&self, link: &Link, way: Way) {
        let mut state = self.lock();
        let kept = |state: &State| {
            let faults = state.faults[way as usize];
            faults.held || faults.lossy || link.orphan.load(Ordering::Relaxed)
        };
        while kept(&state) && !link.gone() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
