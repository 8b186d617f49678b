//! The client holds a watch exactly when the server does, whatever happened to the call that set
//! it.

use std::time::{Duration, Instant};

use zookeeper_blocking::{
    Acl, Client, CreateMode, Permissions, SessionState, Version, WatchMode, WatcherType, op,
};

use crate::clients::{await_state, ear, patience};
use crate::support::proxy::{Proxy, Way};
use crate::support::server::{Node, Server};
use crate::support::wait::eventually;
use crate::support::wire::op as code;
use crate::watches::{KINDS, Kind};

/// The server's count of watches: of the only client.
fn held(server: &Node) -> usize {
    let text = server.four_letter("mntr").expect("serves");
    let count = text.lines().find_map(|line| line.strip_prefix("zk_watch_count"));
    count.and_then(|count| count.trim().parse().ok()).expect("a count")
}

/// What a watch of the kind counts for on the server: lasting ones sit in two tables, recursive ones
/// from 3.9 on in one.
fn weight(kind: Kind, version: (u32, u32)) -> usize {
    match kind {
        Kind::Data | Kind::Exist | Kind::Child => 1,
        Kind::Recursive if version >= (3, 9) => 1,
        Kind::Persistent | Kind::Recursive => 2,
    }
}

fn opcode(kind: Kind) -> i32 {
    match kind {
        Kind::Data => code::GET_DATA,
        Kind::Exist => code::EXISTS,
        Kind::Child => code::GET_CHILDREN,
        Kind::Persistent | Kind::Recursive => code::ADD_WATCH,
    }
}

/// What happens to the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    NoNode,
    NoAuth,
    BadPath,
    RequestLost,
    ReplyLost,
    /// The answer comes after the caller has gone.
    Late,
}

#[test]
fn b1_client_and_server_hold_the_same_watches() {
    use Fate::{Answered, BadPath, Late, NoAuth, NoNode, ReplyLost, RequestLost};
    let server = Server::start();
    let version = server.version();
    let proxy = Proxy::start(server.address());
    let zk = Client::connect(&proxy.connect_string()).expect("serves");
    let states = zk.subscribe().expect("not closed");
    zk.create("/there", "", CreateMode::Persistent).expect("new");
    let closed = Acl::digest("ann", "secret", Permissions::ALL);
    zk.call(op::Create::new("/closed").acl([closed])).expect("new");
    let short = zk.with_timeout(Duration::from_millis(20));

    for fate in [Answered, NoNode, NoAuth, BadPath, RequestLost, ReplyLost, Late] {
        for kind in KINDS {
            for by_handle in [true, false] {
                if !by_handle && matches!(fate, RequestLost | ReplyLost) {
                    // The same to the client below, and a second for the back-off of two cuts.
                    continue;
                }
                let what = format!("{kind:?}, {fate:?}, by handle: {by_handle}");
                let path = match fate {
                    NoNode => "/none",
                    NoAuth => "/closed",
                    BadPath => "/a//b",
                    _ => "/there",
                };
                // Only reads of data and children need a node, and a permission; from 3.9 on the
                // latter is needed to see that there is a node too (ZOOKEEPER-2590).
                let set = match (fate, kind) {
                    (Answered, _) => true,
                    (NoAuth, Kind::Exist) => version < (3, 9),
                    (NoNode | NoAuth, kind) => !matches!(kind, Kind::Data | Kind::Child),
                    _ => false,
                };
                match fate {
                    RequestLost => proxy.drop_request(opcode(kind)),
                    ReplyLost => proxy.drop_reply_to(opcode(kind)),
                    Late => proxy.hold(Way::ToClient),
                    _ => {}
                }
                let caller = if fate == Late { &short } else { &zk };
                let (callback, heard) = ear();
                let watch = if by_handle {
                    drop(callback);
                    kind.watch(caller, path).map(Some)
                } else {
                    kind.call_back(caller, path, callback).map(|()| None)
                };
                assert_eq!(watch.is_ok(), set, "{what}: {watch:?}");
                match fate {
                    RequestLost | ReplyLost => await_state(&states, SessionState::Connected),
                    Late => proxy.release(Way::ToClient),
                    _ => {}
                }
                eventually(&what, patience(), || {
                    // An answer: what went before it has been done, there and here.
                    zk.sync("/").expect("serves");
                    let wanted = if set { weight(kind, version) } else { 0 };
                    zk.watch_count() == usize::from(set) && held(&server) == wanted
                });
                if by_handle {
                    drop(watch);
                } else if set {
                    zk.remove_watches(path, WatcherType::Any).expect("held");
                }
                eventually(&what, patience(), || zk.watch_count() == 0 && held(&server) == 0);
                let last = heard.recv_timeout(patience()).map(|event| event.is_end());
                assert_eq!(last.is_ok(), set && !by_handle, "{what}");
            }
        }
    }
}

fn how_long(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

#[test]
fn b9_neither_dropped_handles_nor_calls_out_of_time_leave_watches_behind() {
    let server = Server::start();
    let zk = Client::connect(&server.connect_string()).expect("serves");
    zk.create("/there", "", CreateMode::Persistent).expect("new");
    let mut outcomes = [0, 0];
    let mut usual = vec![Duration::ZERO; 1];
    for round in 0..3_000 {
        let kind = KINDS[round % KINDS.len()];
        // Around the time that a call takes here and now, so that both happen, in every order with
        // the answer.
        if round % 100 == 0 {
            usual = (0..9)
                .map(|_| how_long(|| assert!(zk.exists("/there").expect("serves").is_some())))
                .collect();
            usual.sort();
        }
        let timeout = usual[usual.len() / 2].mul_f64((round % 40) as f64 / 10.0);
        let path = if round % 7 == 0 { "/there" } else { &format!("/n{}", round % 11) };
        let short = zk.with_timeout(timeout);
        let watch = kind.watch(&short, path);
        outcomes[usize::from(watch.is_ok())] += 1;
        drop(watch);
    }
    assert!(outcomes.iter().all(|n| *n > 20), "{outcomes:?}");
    eventually("nothing is watched", patience(), || {
        zk.sync("/").expect("serves");
        zk.watch_count() == 0 && held(&server) == 0
    });
}

#[test]
fn b9_handles_dropped_by_many_threads_leave_the_watch_of_one() {
    let server = Server::start();
    let zk = Client::connect(&server.connect_string()).expect("serves");
    zk.create("/there", "", CreateMode::Persistent).expect("new");
    let kept = zk.watch_data("/there").expect("there").2;
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let zk = &zk;
            scope.spawn(move || {
                for round in 0..300 {
                    drop(KINDS[(seed + round) % KINDS.len()].watch(zk, "/there").expect("there"));
                }
            });
        }
    });
    eventually("one watch is left", patience(), || zk.watch_count() == 1);
    zk.set_data("/there", "new", Version::Any).expect("there");
    let event = kept.recv_timeout(patience()).expect("still armed");
    assert!(!event.is_end());
    eventually("nothing is watched", patience(), || {
        zk.sync("/").expect("serves");
        zk.watch_count() == 0 && held(&server) == 0
    });
    // And it can be watched again.
    let again = zk.add_watch("/there", WatchMode::Persistent).expect("there");
    zk.set_data("/there", "newer", Version::Any).expect("there");
    again.recv_timeout(patience()).expect("armed");
}
