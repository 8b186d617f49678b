//! The first words of a connection: what a server may answer, or not, and what becomes of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use zookeeper_blocking::SessionState::{Connected, Connecting, Disconnected, Expired, ReadOnly};
use zookeeper_blocking::{Applied, Code, Error};

use crate::answers::{States, hurried, yes, yes_server};
use crate::support::calm::undisturbed;
use crate::support::proxy::Proxy;
use crate::support::scripted::{HANDSHAKE, Scripted};
use crate::support::wait::scaled;
use crate::support::wire::{ConnectResponse, In, code, op};

const SECOND: Duration = Duration::from_secs(1);

/// Serves session 0x100 until a `sync` comes, which is the sign to close the connection; the
/// answer to whoever comes back with that session is `then`, any other gets a new session.
fn session_lost_at_sync(then: impl Fn() -> ConnectResponse + Send + Sync + 'static) -> Scripted {
    Scripted::start(move |number, peer| {
        let request = peer.read_connect();
        if request.session_id == 0x100 {
            peer.grant(&then());
            return peer.hang();
        }
        peer.grant(&ConnectResponse::new(0x100 + number as i64, request.timeout_ms));
        while let Some(request) = peer.next() {
            if request.op == op::SYNC {
                return peer.close();
            }
            let (zxid, err, body) = yes(&request);
            peer.reply_with(request.xid, zxid, err, &body);
        }
    })
}

fn is_expired_and_renewed(server: &Scripted) {
    let (builder, mut states) = States::of(hurried(&server.connect_string()));
    let client = builder.connect().expect("connects");
    assert_eq!(client.session_id(), 0x100);
    let session = client.session().expect("a session");
    let (_, _, watch) = client.watch_data("/a").expect("yes");

    let lost = client.sync("/").expect_err("the connection is cut");
    assert_eq!(lost.applied(), Applied::Unknown, "{lost}");
    states.wait_for(Expired);
    states.wait_for(Connected);
    let expected = [Connected, Disconnected, Expired, Connecting, Connected];
    assert_eq!(states.seen(), expected);

    assert!(watch.recv().expect("a last word").is_end());
    assert_eq!(watch.recv(), None);
    assert!(!session.is_alive());
    assert_eq!(session.deadline(), None);
    let dead = session.get_data("/a").expect_err("its session is gone");
    assert!(matches!(dead, Error::SessionExpired { sent: false, .. }), "{dead}");
    assert_ne!(client.session_id(), 0x100);
    client.get_data("/a").expect("the client goes on");
    let greetings = server.received_of(HANDSHAKE);
    let mut last = In(&greetings.last().expect("some").body);
    assert_eq!((last.i32(), last.i64()), (0, 0), "the new session has seen nothing");
}

#[test]
fn a6_another_session_on_reconnect_is_an_expiry() {
    is_expired_and_renewed(&session_lost_at_sync(|| ConnectResponse::new(0x999, 3_000)));
}

#[test]
fn a7_timeout_zero_is_an_expiry() {
    is_expired_and_renewed(&session_lost_at_sync(ConnectResponse::expired));
}

#[test]
fn a7_negative_timeout_is_an_expiry() {
    is_expired_and_renewed(&session_lost_at_sync(|| ConnectResponse::new(0x100, -5)));
}

#[test]
fn session_lost_before_it_was_announced_is_renewed_not_reported() {
    // Granted, but cut while the credentials were on their way; gone at the next greeting.
    let server = Scripted::start(|number, peer| {
        let request = peer.read_connect();
        match number {
            0 => {
                peer.grant(&ConnectResponse::new(0x100, request.timeout_ms));
                peer.expect(op::AUTH);
                peer.close();
            }
            1 => {
                assert_eq!(request.session_id, 0x100);
                peer.grant(&ConnectResponse::expired());
                peer.hang();
            }
            _ => {
                assert_eq!(request.session_id, 0);
                peer.grant(&ConnectResponse::new(0x102, request.timeout_ms));
                peer.serve(yes);
            }
        }
    });
    let client = hurried(&server.connect_string())
        .auth("digest", "a:b")
        .connect()
        .expect("nobody asked for that session by name");
    assert_eq!(client.session_id(), 0x102);
}

#[test]
fn a8_session_moved_is_an_answer_and_a_reason_to_reconnect() {
    let server = Scripted::start(|number, peer| {
        peer.handshake();
        if number > 0 {
            return peer.serve(yes);
        }
        let moved = peer.expect(op::SET_DATA);
        peer.reply_error(&moved, code::SESSION_MOVED);
        peer.hang();
    });
    let (builder, mut states) = States::of(hurried(&server.connect_string()));
    let client = builder.connect().expect("connects");
    let moved = client.set_data("/a", "y", 1).expect_err("-118");
    assert_eq!(moved.code(), Some(Code::SessionMoved));
    client.set_data("/a", "y", 1).expect("on the next connection");
    states.wait_for(Connected);
    assert_eq!(client.session_id(), 0x100, "the same session");
    assert_eq!(server.connections(), 2, "no loop");
}

/// Two servers that have lost their data: they close on whoever has seen more than they have.
fn behind(srvr: &'static str, until_asked: usize) -> (Scripted, Scripted, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let lost_data = Arc::new(AtomicUsize::new(0));
    let start = || {
        let (asked, lost_data) = (asked.clone(), lost_data.clone());
        Scripted::start(move |_, peer| {
            if peer.word().is_some() {
                asked.fetch_add(1, Ordering::SeqCst);
                peer.raw(srvr.as_bytes());
                return peer.close();
            }
            let request = peer.read_connect();
            let first = lost_data.fetch_add(1, Ordering::SeqCst) == 0;
            let forgiven = asked.load(Ordering::SeqCst) >= until_asked;
            if request.last_zxid > 0 && !first && !forgiven {
                return peer.close();
            }
            let id = if request.session_id == 0 { 0x100 } else { request.session_id };
            peer.grant(&ConnectResponse::new(id, request.timeout_ms));
            while let Some(request) = peer.next() {
                if request.op == op::SYNC {
                    return peer.close();
                }
                let (_, err, body) = yes(&request);
                peer.reply_with(request.xid, 0x100, err, &body);
            }
        })
    };
    (start(), start(), asked)
}

#[test]
fn a9_all_servers_behind_is_an_expiry_without_a_hot_loop() {
    undisturbed(|| {
        let (one, two, asked) = behind("Zxid: 0x5\nMode: follower\n", usize::MAX);
        let hosts = format!("{},{}", one.address(), two.address());
        let timeout = scaled(2 * SECOND);
        let (builder, mut states) = States::of(hurried(&hosts).session_timeout(timeout));
        let client = builder.connect().expect("connects");
        client.get_data("/a").expect("zxid 0x100 was seen");
        let lost = Instant::now();
        client.sync("/").expect_err("cut");
        let gone = states.wait_for(Expired) - lost;
        assert!(gone >= timeout, "{gone:?}: not before the session's time is over");
        assert!(gone <= timeout + scaled(3 * SECOND), "{gone:?}");
        assert!(asked.load(Ordering::SeqCst) >= 2, "both servers were asked");

        for server in [&one, &two] {
            let greetings = server.received_of(HANDSHAKE);
            let tries = greetings.iter().filter(|g| g.at > lost && g.at < lost + gone).count();
            // The first few follow each other quickly, for the server that is just restarting.
            let most = (5.0 * gone.as_secs_f64()).ceil() as usize;
            assert!(tries > 0 && tries <= most, "{tries} connections in {gone:?}");
        }
        states.wait_for(Connected);
        client.get_data("/a").expect("the new session works");
    });
}

#[test]
fn a9_servers_that_do_not_serve_yet_are_waited_for() {
    undisturbed(|| {
        let (one, two, asked) =
            behind("This ZooKeeper instance is not currently serving requests\n", 4);
        let hosts = format!("{},{}", one.address(), two.address());
        let (builder, mut states) = States::of(hurried(&hosts).session_timeout(scaled(SECOND / 2)));
        let client = builder.connect().expect("connects");
        client.get_data("/a").expect("zxid 0x100 was seen");
        client.sync("/").expect_err("cut");
        states.wait_for(Disconnected);
        states.wait_for(Connected);
        assert!(asked.load(Ordering::SeqCst) >= 4);
        assert_eq!(states.seen(), [Connected, Disconnected, Connected], "no verdict without proof");
        assert_eq!(client.session_id(), 0x100);
    });
}

#[test]
fn a11_read_only_server_gives_no_session_and_is_left_for_one_that_writes() {
    undisturbed(|| {
        let minority = Scripted::start(|_, peer| {
            if peer.word().is_some() {
                peer.raw(b"ro");
                return peer.close();
            }
            let request = peer.read_connect();
            assert_eq!(request.read_only, Some(true));
            let response = ConnectResponse::new(0x55, request.timeout_ms);
            peer.grant(&ConnectResponse { read_only: Some(true), ..response });
            peer.serve(|request| match request.op {
                op::SET_DATA => (0, code::NOT_READ_ONLY, Vec::new()),
                _ => yes(request),
            });
        });
        let (ready, is_ready) =
            (Arc::new(AtomicUsize::new(0)), |r: &AtomicUsize| r.load(Ordering::SeqCst) > 0);
        let for_script = ready.clone();
        let quorum = Scripted::start(move |_, peer| {
            if peer.word().is_some() {
                peer.raw(if is_ready(&for_script) { b"rw" } else { b"ro" });
                return peer.close();
            }
            assert_eq!(peer.handshake().session_id, 0, "0x55 means nothing here");
            peer.serve(yes);
        });
        let hosts = format!("{},{}", minority.address(), quorum.address());
        let (builder, mut states) = States::of(hurried(&hosts).read_only(true));
        let client = builder.connect().expect("connects");
        states.wait_for(ReadOnly);
        assert_eq!(client.session_id(), 0);
        client.get_data("/a").expect("reads work");
        let refused = client.set_data("/a", "y", 1).expect_err("writes do not");
        assert_eq!(refused.code(), Some(Code::NotReadOnly));
        ready.store(1, Ordering::SeqCst);
        let healed = Instant::now();
        let back = states.wait_for(Connected) - healed;
        assert!(back <= scaled(2 * SECOND), "{back:?}");
        assert_ne!(client.session_id(), 0);
        client.set_data("/a", "y", 1).expect("writes work");
    });
}

#[test]
fn a11_read_only_server_is_passed_over_unless_allowed() {
    let minority = Scripted::start(|_, peer| {
        let request = peer.read_connect();
        let response = ConnectResponse::new(0x55, request.timeout_ms);
        peer.grant(&ConnectResponse { read_only: Some(true), ..response });
        peer.hang();
    });
    let quorum = yes_server();
    let hosts = format!("{},{}", minority.address(), quorum.address());
    let client = hurried(&hosts).connect().expect("connects to the other");
    assert_eq!(client.connected_host(), Some(quorum.connect_string()));
    assert_eq!(client.state(), Connected);
}

#[test]
fn a12_connect_response_of_any_length() {
    for (len, accepted) in [(35, false), (36, true), (37, true), (38, true), (1_000, true)] {
        let server = Scripted::start(move |_, peer| {
            let request = peer.read_connect();
            let mut body = ConnectResponse::new(0x100, request.timeout_ms).encode();
            assert_eq!(body.len(), 37);
            body.resize(len, 0);
            peer.frame(&body);
            peer.serve(yes);
        });
        let connect_timeout = if accepted { 5 * SECOND } else { SECOND / 3 };
        let builder = hurried(&server.connect_string()).connect_timeout(scaled(connect_timeout));
        match builder.connect() {
            Ok(client) => {
                assert!(accepted, "{len} bytes");
                client.get_data("/a").expect("works");
                assert_eq!(client.session_id(), 0x100);
            }
            Err(error) => assert!(!accepted, "{len} bytes: {error}"),
        }
    }
}

#[test]
fn a13_no_session_without_time_to_live() {
    undisturbed(|| {
        for timeout in [0, -1, i32::MIN] {
            let server = Scripted::start(move |_, peer| {
                peer.read_connect();
                peer.grant(&ConnectResponse::new(0x100, timeout));
                peer.hang();
            });
            let builder = hurried(&server.connect_string()).connect_timeout(scaled(SECOND / 4));
            let error = builder.connect().expect_err("no session");
            assert!(matches!(error, Error::Connect { .. }), "{error}");
            assert!(error.to_string().contains(&server.connect_string()), "{error}");
        }
    });
}

#[test]
fn a13_granted_timeout_rules_not_the_one_asked_for() {
    undisturbed(|| {
        let granted = i32::try_from(scaled(SECOND * 6 / 10).as_millis()).expect("a short time");
        let server = Scripted::start(move |_, peer| {
            peer.read_connect();
            peer.grant(&ConnectResponse::new(0x100, granted));
            peer.idle();
        });
        let client = hurried(&server.connect_string())
            .session_timeout(Duration::from_secs(1_000))
            .connect()
            .expect("connects");
        let granted = Duration::from_millis(granted as u64);
        assert_eq!(client.session_timeout(), granted);
        let pings = server.wait_for(op::PING, 3);
        let gap = pings[2].at - pings[1].at;
        assert!(gap >= granted / 4 && gap <= granted * 2 / 3, "{gap:?}");
        let session = client.session().expect("a session");
        assert!(session.deadline().expect("alive") <= Instant::now() + granted);
    });
}

#[test]
fn a13_huge_timeout_overflows_nothing() {
    let server = Scripted::start(|_, peer| {
        peer.read_connect();
        peer.grant(&ConnectResponse::new(0x100, i32::MAX));
        peer.serve(yes);
    });
    let client = hurried(&server.connect_string()).connect().expect("connects");
    client.get_data("/a").expect("works");
    assert_eq!(client.session_timeout(), Duration::from_millis(i32::MAX as u64));
}

#[test]
fn a26_verdict_comes_soon_whatever_the_back_off() {
    undisturbed(|| {
        let server = session_lost_at_sync(ConnectResponse::expired);
        let proxy = Proxy::start(server.address());
        let (builder, mut states) = States::of(hurried(&proxy.connect_string()));
        let client = builder.connect().expect("connects");
        proxy.refuse();
        client.sync("/").expect_err("cut");
        states.wait_for(Disconnected);
        // Long enough for the pauses to have grown to their cap.
        std::thread::sleep(scaled(2 * SECOND));
        proxy.accept();
        let back = Instant::now();
        let verdict = states.wait_for(Expired) - back;
        assert!(verdict <= scaled(SECOND * 3 / 2), "{verdict:?}");
    });
}
