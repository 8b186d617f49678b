//! Credentials: before everything else, or nothing at all.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use zookeeper_blocking::Error;
use zookeeper_blocking::SessionState::{AuthFailed, Connected};

use crate::answers::{States, hurried, soon, yes};
use crate::support::proxy::Proxy;
use crate::support::scripted::{HANDSHAKE, Scripted};
use crate::support::wire::{code, op};

#[test]
fn a22_refused_credentials_fail_all_that_waits_and_close_is_quick() {
    let server = Scripted::start(|_, peer| {
        peer.handshake();
        peer.expect(op::GET_DATA);
        peer.expect(op::GET_DATA);
        let auth = peer.expect(op::AUTH);
        peer.reply_error(&auth, code::AUTH_FAILED);
        peer.hang();
    });
    let (builder, mut states) = States::of(hurried(&server.connect_string()));
    let client = builder.connect().expect("connects");
    let get = || zookeeper_blocking::op::GetData::new("/a");
    let pending = [client.submit(get()), client.submit(get())].map(|p| p.expect("queued"));
    let start = Instant::now();
    let refused = client.add_auth("digest", "a:b").expect_err("refused");
    assert!(matches!(refused, Error::AuthFailed { .. }), "{refused}");
    for pending in pending {
        let error = pending.wait().expect_err("the client is finished");
        assert!(matches!(error, Error::AuthFailed { sent: true, .. }), "{error}");
    }
    states.wait_for(AuthFailed);
    assert_eq!(client.state(), AuthFailed);
    let after = client.get_data("/a").expect_err("finished");
    assert!(matches!(after, Error::AuthFailed { sent: false, .. }), "{after}");
    let _ = client.close();
    assert!(start.elapsed() <= soon(), "{:?}", start.elapsed());
    assert_eq!(server.connections(), 1, "terminal");
}

#[test]
fn a22_connect_with_refused_credentials_fails_at_once() {
    let server = Scripted::start(|_, peer| {
        peer.handshake();
        let auth = peer.expect(op::AUTH);
        peer.reply_error(&auth, code::AUTH_FAILED);
        peer.hang();
    });
    let start = Instant::now();
    let error = hurried(&server.connect_string()).auth("x", "y").connect().expect_err("refused");
    assert!(matches!(error, Error::AuthFailed { .. }), "{error}");
    assert!(start.elapsed() <= soon(), "{:?}", start.elapsed());
}

#[test]
fn a22_connected_is_announced_only_after_credentials_are_acknowledged() {
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let server = Scripted::start(move |_, peer| {
        peer.handshake();
        let auth = peer.expect(op::AUTH);
        released.lock().expect("one connection").recv().expect("released");
        peer.reply(&auth, 0, &[]);
        peer.serve(yes);
    });
    let (builder, mut states) = States::of(hurried(&server.connect_string()).auth("x", "y"));
    let connecting = std::thread::spawn(move || builder.connect());
    server.wait_for(op::AUTH, 1);
    std::thread::sleep(Duration::from_millis(50));
    assert!(states.seen().is_empty() && !connecting.is_finished());
    release.send(()).expect("the script waits");
    let client = connecting.join().expect("no panic").expect("connects");
    states.wait_for(Connected);
    client.get_data("/a").expect("works");
}

#[test]
fn a22_order_on_reconnect_is_greeting_credentials_watches_requests() {
    let server = Scripted::start(|_, peer| {
        peer.handshake();
        while let Some(request) = peer.next() {
            if request.op == op::SYNC && request.connection == 0 {
                return peer.close();
            }
            let (zxid, err, body) = yes(&request);
            peer.reply_with(request.xid, zxid, err, &body);
        }
    });
    let proxy = Proxy::start(server.address());
    let client = hurried(&proxy.connect_string())
        .auth("digest", "a:b")
        .auth("digest", "c:d")
        .connect()
        .expect("connects");
    let (_, _, _watch) = client.watch_data("/a").expect("yes");
    proxy.refuse();
    client.sync("/").expect_err("cut");
    let waiting = client
        .submit(zookeeper_blocking::op::GetChildren::new("/a"))
        .expect("waits for a connection");
    proxy.accept();
    waiting.wait().expect("sent on the next one");
    let second: Vec<i32> =
        server.received().iter().filter(|r| r.connection == 1).map(|r| r.op).collect();
    assert!(!second.contains(&op::PING), "none was due yet");
    let expected = [HANDSHAKE, op::AUTH, op::AUTH, op::SET_WATCHES];
    assert_eq!(second[..4], expected, "{second:?}");
    assert_eq!(second.len(), 5, "{second:?}");
}
