//! What a client does when its connection or its session ends, as its builder was told.

use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use zookeeper_blocking::SessionState::{Closed, Connected, Connecting, Disconnected, Expired};
use zookeeper_blocking::{
    Applied, CreateMode, Error, EventKind, ExpiryPolicy, SessionCredentials, WatchMode,
    WhenDisconnected, op as ops,
};

use crate::answers::{States, hurried, soon, yes, yes_server};
use crate::support::proxy::Proxy;
use crate::support::scripted::{HANDSHAKE, Scripted};
use crate::support::wait::{eventually, scaled};
use crate::support::wire::{ConnectResponse, op};

const SECOND: Duration = Duration::from_secs(1);

/// Serves until a `sync` comes, then closes the connection; does not know the session any more
/// when it comes back.
fn forgetful() -> Scripted {
    Scripted::start(|number, peer| {
        let request = peer.read_connect();
        if request.session_id != 0 {
            peer.grant(&ConnectResponse::expired());
            return peer.hang();
        }
        peer.grant(&ConnectResponse::new(0x100 + number as i64, request.timeout_ms));
        while let Some(request) = peer.next() {
            if request.op == op::SYNC {
                return peer.close();
            }
            let (zxid, err, body) = yes(&request);
            peer.reply_with(request.xid, zxid, err, &body);
            if request.op == op::CLOSE_SESSION {
                return peer.close();
            }
        }
    })
}

#[test]
fn requests_not_sent_at_expiry_fail_with_it_and_do_not_leak_into_the_next_session() {
    let server = forgetful();
    let proxy = Proxy::start(server.address());
    let (builder, mut states) = States::of(hurried(&proxy.connect_string()));
    let client = builder.connect().expect("connects");
    proxy.refuse();
    client.sync("/").expect_err("cut");
    states.wait_for(Disconnected);
    let create = ops::Create::new("/mine").mode(CreateMode::Ephemeral);
    let waiting = client.submit(create).expect("waits for a connection");
    let (sender, done) = channel();
    client
        .submit_with(ops::GetData::new("/a"), move |result| drop(sender.send(result)))
        .expect("waits for a connection");
    proxy.accept();
    let error = waiting.wait().expect_err("its session is gone");
    assert!(matches!(error, Error::SessionExpired { sent: false, .. }), "{error}");
    assert_eq!(error.applied(), Applied::No);
    let error = done.recv().expect("once").expect_err("its session is gone");
    assert!(matches!(error, Error::SessionExpired { sent: false, .. }), "{error}");
    states.wait_for(Connected);
    client.get_data("/a").expect("the new session works");
    let ops: Vec<i32> = server.received().iter().map(|r| r.op).collect();
    assert!(!ops.iter().any(|o| [op::CREATE, op::CREATE2].contains(o)), "{ops:?}");
}

#[test]
fn policy_close_ends_the_client_with_its_session() {
    let server = forgetful();
    let builder = hurried(&server.connect_string()).expiry_policy(ExpiryPolicy::Close);
    let builder = builder.close_timeout(scaled(20 * SECOND));
    let (builder, mut states) = States::of(builder);
    let client = builder.connect().expect("connects");
    let watch = client.add_watch("/a", WatchMode::Persistent).expect("yes");
    client.sync("/").expect_err("cut");
    states.wait_for(Closed);
    assert_eq!(states.seen(), [Connected, Disconnected, Expired, Closed]);
    assert_eq!(watch.recv().map(|event| event.kind), Some(EventKind::Ended));
    assert_eq!(watch.recv(), None);
    let error = client.get_data("/a").expect_err("closed");
    assert!(matches!(error, Error::Closed { .. }), "{error}");
    assert_eq!(server.received_of(HANDSHAKE).len(), 2, "no new session");
    let start = Instant::now();
    let _ = client.close();
    assert!(start.elapsed() < soon());
}

#[test]
fn pinned_handle_dies_with_its_session_and_a_new_one_can_be_had() {
    let server = forgetful();
    let (builder, mut states) = States::of(hurried(&server.connect_string()));
    let client = builder.connect().expect("connects");
    let old = client.session().expect("a session");
    assert!(old.is_alive() && old.deadline().expect("a lease") > Instant::now());
    old.get_data("/a").expect("works");
    let copy = old.clone();
    client.sync("/").expect_err("cut");
    states.wait_for(Connecting);
    states.wait_for(Connected);
    for pinned in [&old, &copy] {
        assert!(!pinned.is_alive());
        let error = pinned.get_data("/a").expect_err("gone");
        assert!(matches!(error, Error::SessionExpired { sent: false, .. }), "{error}");
        let error = pinned.submit(ops::GetData::new("/a")).expect_err("gone");
        assert!(matches!(error, Error::SessionExpired { sent: false, .. }), "{error}");
    }
    let new = client.session().expect("the next session");
    assert_ne!(new.id(), old.id());
    new.get_data("/a").expect("works");
}

#[test]
fn pinned_handle_lives_through_a_reconnect_of_its_session() {
    let server = yes_server();
    let proxy = Proxy::start(server.address());
    let (builder, mut states) = States::of(hurried(&proxy.connect_string()));
    let client = builder.connect().expect("connects");
    let session = client.session().expect("a session");
    proxy.cut();
    states.wait_for(Disconnected);
    states.wait_for(Connected);
    assert!(session.is_alive());
    session.get_data("/a").expect("the same session");
}

#[test]
fn calls_fail_at_once_while_disconnected_if_so_wished() {
    let server = yes_server();
    let proxy = Proxy::start(server.address());
    let builder = hurried(&proxy.connect_string()).when_disconnected(WhenDisconnected::Fail);
    let (builder, mut states) = States::of(builder);
    let client = builder.connect().expect("connects");
    proxy.refuse();
    proxy.cut();
    states.wait_for(Disconnected);
    let start = Instant::now();
    let error = client.get_data("/a").expect_err("no connection");
    assert!(matches!(error, Error::ConnectionLoss { sent: false, .. }), "{error}");
    assert_eq!(error.applied(), Applied::No);
    assert!(start.elapsed() < soon(), "{:?}", start.elapsed());
    proxy.accept();
    states.wait_for(Connected);
    client.get_data("/a").expect("connected");
}

#[test]
fn calls_wait_for_a_connection_by_default_and_keep_their_order() {
    let server = yes_server();
    let proxy = Proxy::start(server.address());
    let (builder, mut states) = States::of(hurried(&proxy.connect_string()));
    let client = builder.connect().expect("connects");
    proxy.refuse();
    proxy.cut();
    states.wait_for(Disconnected);
    let pending: Vec<_> = (0..100)
        .map(|n| client.submit(ops::Delete::new(format!("/{n}"))).expect("waits"))
        .collect();
    proxy.accept();
    for pending in pending {
        pending.wait().expect("sent on the next connection");
    }
    let paths: Vec<String> = server.received_of(op::DELETE).iter().map(|r| r.path()).collect();
    assert_eq!(paths, (0..100).map(|n| format!("/{n}")).collect::<Vec<_>>());
}

#[test]
fn caller_woken_by_a_loss_never_reads_connected() {
    let server = yes_server();
    let proxy = Proxy::start(server.address());
    let client = hurried(&proxy.connect_string()).connect().expect("connects");
    for _ in 0..5 {
        eventually("connected", 5 * SECOND, || client.get_data("/a").is_ok());
        proxy.hold(crate::support::proxy::Way::ToClient);
        let before = proxy.counts().to_server.requests();
        let pending = client.submit(ops::GetData::new("/a")).expect("queued");
        eventually("sent", 5 * SECOND, || proxy.counts().to_server.requests() > before);
        // Down, so that a quick reconnect is not taken for the old connection.
        proxy.refuse();
        proxy.cut();
        let error = pending.wait().expect_err("lost");
        assert!(matches!(error, Error::ConnectionLoss { sent: true, .. }), "{error}");
        assert_eq!(client.state(), Disconnected);
        proxy.heal();
    }
}

#[test]
fn detached_session_goes_on_in_another_client() {
    let server = yes_server();
    let first = hurried(&server.connect_string()).connect().expect("connects");
    let watch = first.add_watch("/a", WatchMode::Persistent).expect("yes");
    let id = first.session_id();
    let credentials = first.detach().expect("credentials");
    assert_eq!(credentials.id(), id);
    assert!(!format!("{credentials:?}").contains("[0, 1, 2"), "the password is a secret");
    assert_eq!(watch.recv().map(|event| event.kind), Some(EventKind::Ended));
    assert!(matches!(first.get_data("/a"), Err(Error::Closed { .. })));
    assert_eq!(server.received_of(op::CLOSE_SESSION).len(), 0, "the session lives");

    let copy = SessionCredentials::new(credentials.id(), credentials.password());
    let second = hurried(&server.connect_string()).attach(copy).connect().expect("connects");
    assert_eq!(second.session_id(), id);
    second.get_data("/a").expect("works");
    assert!(matches!(first.detach(), Err(Error::Closed { .. })), "once");
}

#[test]
fn attaching_to_a_session_that_is_gone_fails_at_once() {
    let server = forgetful();
    let start = Instant::now();
    let gone = SessionCredentials::new(0x77, [1; 16]);
    let error = hurried(&server.connect_string()).attach(gone).connect().expect_err("gone");
    assert!(matches!(error, Error::SessionExpired { .. }), "{error}");
    assert!(start.elapsed() < soon(), "{:?}", start.elapsed());
    assert_eq!(server.received_of(HANDSHAKE).len(), 1, "no new session behind one's back");
}

#[test]
fn attached_session_that_another_server_swaps_is_gone_too() {
    let server = Scripted::start(|_, peer| {
        peer.read_connect();
        peer.grant(&ConnectResponse::new(0x999, 3_000));
        peer.hang();
    });
    let named = SessionCredentials::new(0x77, [1; 16]);
    let error = hurried(&server.connect_string()).attach(named).connect().expect_err("not ours");
    assert!(matches!(error, Error::SessionExpired { .. }), "{error}");
}

#[test]
fn a20_no_source_asks_the_wall_clock_but_that_of_items_that_are_due_by_it() {
    // A clock that an operator or a time server sets must not end sessions or extend deadlines:
    // whatever waits or expires counts on the monotonic clock, which `Instant` is.
    fn ask(folder: &Path, asked: &mut Vec<PathBuf>) -> usize {
        let mut files = 0;
        for entry in std::fs::read_dir(folder).expect("sources are beside the manifest") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                files += ask(&path, asked);
            } else {
                files += 1;
                let text = std::fs::read_to_string(&path).expect("text");
                if text.contains("SystemTime::now") || text.contains("UNIX_EPOCH.elapsed") {
                    asked.push(path);
                }
            }
        }
        files
    }
    let mut asked = Vec::new();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = ask(&sources, &mut asked);
    assert!(files > 40, "only {files} sources found");
    assert_eq!(asked, [sources.join("recipes/wall_clock.rs")]);
}
