//! What most tests here share: a server that says yes, clients in a hurry, states as a queue.

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use zookeeper_blocking::{Client, ClientBuilder, SessionState};

use crate::support::scripted::{Peer, Request, Scripted};
use crate::support::wait::scaled;
use crate::support::wire::{Out, Stat, op};

/// A success for any request: zxid, error code, body. Every node has the data "x".
pub(crate) fn yes(request: &Request) -> (i64, i32, Vec<u8>) {
    let stat = Stat { czxid: 7, mzxid: 7, ..Stat::default() };
    let body = match request.op {
        op::CREATE | op::SYNC => Out::new().string(&request.path()),
        op::CREATE2 | op::CREATE_CONTAINER | op::CREATE_TTL => {
            Out::new().string(&request.path()).stat(&stat)
        }
        op::EXISTS | op::SET_DATA | op::SET_ACL => Out::new().stat(&stat),
        op::GET_DATA => Out::new().buffer(b"x").stat(&stat),
        op::GET_ACL => Out::new().open_acl().stat(&stat),
        op::GET_CHILDREN => Out::new().strings(&["c"]),
        op::GET_CHILDREN2 => Out::new().strings(&["c"]).stat(&stat),
        op::GET_EPHEMERALS => Out::new().strings(&[]),
        // The number of children, the error code of addWatch, an empty list.
        op::GET_ALL_CHILDREN_NUMBER | op::ADD_WATCH | op::WHO_AM_I => Out::new().i32(0),
        _ => Out::new(),
    };
    (7, 0, body.0)
}

/// A server that grants every session and says yes.
pub(crate) fn yes_server() -> Scripted {
    Scripted::start(|_, peer| serve_yes(peer))
}

pub(crate) fn serve_yes(peer: &mut Peer) {
    peer.handshake();
    peer.serve(yes);
}

/// A client with a session of 30 s, in the order of the list, whose calls last 20 s at most: longer
/// than anything that happens at once, on a busy machine too.
pub(crate) fn hurried(connect_string: &str) -> ClientBuilder {
    Client::builder(connect_string)
        .session_timeout(scaled(Duration::from_secs(30)))
        .connect_timeout(scaled(Duration::from_secs(20)))
        .call_timeout(scaled(Duration::from_secs(20)))
        .shuffle(false)
}

/// How long that takes at most which waits for nothing, on a busy machine. What waits for what it
/// must not wait for, an answer, the end of a session, takes longer.
pub(crate) fn soon() -> Duration {
    scaled(Duration::from_secs(5))
}

/// The states of a client from the first on.
#[derive(Debug)]
pub(crate) struct States {
    states: Receiver<SessionState>,
    seen: Vec<SessionState>,
}

impl States {
    /// Listens on a client that is about to be made.
    pub(crate) fn of(builder: ClientBuilder) -> (ClientBuilder, Self) {
        let (sender, states) = channel();
        let builder = builder.on_state(move |state| {
            // A test that is over does not listen.
            let _ = sender.send(state);
        });
        (builder, Self { states, seen: Vec::new() })
    }

    /// Waits for `state`, and gives when it came.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, state: SessionState) -> Instant {
        let limit = scaled(Duration::from_secs(20));
        loop {
            match self.states.recv_timeout(limit) {
                Ok(next) => self.seen.push(next),
                Err(_) => panic!("{state} never came, only {:?}", self.seen),
            }
            if self.seen.last() == Some(&state) {
                return Instant::now();
            }
        }
    }

    /// All states so far.
    pub(crate) fn seen(&mut self) -> &[SessionState] {
        self.seen.extend(self.states.try_iter());
        &self.seen
    }
}
