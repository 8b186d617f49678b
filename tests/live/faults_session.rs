//! The end of sessions, as the client learns it, or comes to know it before anybody tells.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use zookeeper_blocking::{
    Applied, Client, CreateMode, Error, EventKind, ExpiryPolicy, SessionCredentials, SessionState,
    Version,
};

use crate::clients;
use crate::faults::{
    await_connected, await_state, builder, connect, figure, gentle_ensemble, ms, next_state,
};
use crate::support::calm::undisturbed;
use crate::support::process::signal;
use crate::support::proxy::{Proxy, Way};
use crate::support::raw::{Raw, expire};
use crate::support::server::{Server, fresh_chroot};
use crate::support::txnlog;
use crate::support::wait::eventually;
use crate::support::wire::{ConnectRequest, code, op};

/// A client whose session's password is known to the test: it was another client's before.
fn with_password(at: &str, timeout: Duration) -> (Client, SessionCredentials) {
    let first = connect(at, timeout);
    let credentials = first.detach().expect("open");
    let client = builder(at, timeout).attach(credentials.clone()).connect();
    let client = client.expect("the session lives");
    assert_eq!(client.session_id(), credentials.id());
    (client, credentials)
}

#[test]
fn a7_session_that_somebody_else_closed_expires_loudly_and_is_renewed() {
    let chroot = fresh_chroot();
    let proxy = Proxy::start(chroot.server().address());
    let at = format!("{}{}", proxy.connect_string(), chroot.path());
    let (client, old) = with_password(&at, ms(5_000));
    let states = client.subscribe().expect("open");
    let pinned = client.session().expect("connected");
    client.create("/mine", b"", CreateMode::Ephemeral).expect("our chroot");
    let (_, watch) = client.watch_exists("/later").expect("connected");
    let lost = Arc::new(AtomicUsize::new(0));
    let heard = Arc::clone(&lost);
    client
        .add_watch_with("/", zookeeper_blocking::WatchMode::Recursive, move |event| {
            heard.fetch_add(usize::from(event.is_end()), Ordering::Relaxed);
        })
        .expect("connected");

    // Not back before it is gone: on a busy machine, and among several servers, that takes a moment.
    clients::expire(&proxy, chroot.server(), &old);
    next_state(&states, SessionState::Disconnected);
    next_state(&states, SessionState::Expired);
    next_state(&states, SessionState::Connecting);
    next_state(&states, SessionState::Connected);

    assert!(!pinned.is_alive() && pinned.deadline().is_none());
    let error = pinned.exists("/").expect_err("another session's");
    assert!(matches!(error, Error::SessionExpired { sent: false, .. }));
    let last = watch.recv_timeout(ms(5_000)).expect("one last event");
    assert_eq!(last.kind, EventKind::Ended);
    assert!(watch.recv().is_none());
    eventually("the callback hears its end", ms(5_000), || lost.load(Ordering::Relaxed) == 1);
    assert_ne!(client.session_id(), old.id());
    assert_eq!(client.exists("/mine").expect("connected"), None);
    assert_eq!(client.watch_count(), 0);
}

#[test]
fn a7_expired_session_closes_the_client_if_that_is_its_policy() {
    let chroot = fresh_chroot();
    let proxy = Proxy::start(chroot.server().address());
    let first = connect(&proxy.connect_string(), ms(5_000));
    let old = first.detach().expect("open");
    let client = builder(&proxy.connect_string(), ms(5_000))
        .attach(old.clone())
        .expiry_policy(ExpiryPolicy::Close);
    let client = client.connect().expect("the session lives");
    let states = client.subscribe().expect("open");
    clients::expire(&proxy, chroot.server(), &old);
    await_state(&states, SessionState::Expired);
    next_state(&states, SessionState::Closed);
    assert_eq!(states.recv(), None);
    assert!(matches!(client.exists("/"), Err(Error::Closed { .. })));
}

#[test]
fn a7_wrong_password_and_unknown_session_are_expiries_and_no_server_is_asked_twice() {
    let chroot = fresh_chroot();
    let proxy = Proxy::start(chroot.server().address());
    let victim = connect(&chroot.connect_string(), ms(5_000));
    for credentials in [
        SessionCredentials::new(victim.session_id(), vec![7; 16]),
        SessionCredentials::new(0x1234_5678_9abc, vec![0; 16]),
    ] {
        let before = proxy.counts().connections;
        let attempt = builder(&proxy.connect_string(), ms(5_000)).attach(credentials);
        let error = attempt.connect().expect_err("not ours");
        assert!(matches!(error, Error::SessionExpired { .. }), "{error}");
        assert_eq!(proxy.counts().connections, before + 1);
    }
    victim.exists("/").expect("unharmed");
}

#[test]
fn a8_client_takes_a_session_back_that_another_connection_took() {
    let chroot = fresh_chroot();
    let (client, own) = with_password(&chroot.connect_string(), ms(5_000));
    let states = client.subscribe().expect("open");
    let request = ConnectRequest {
        session_id: own.id(),
        password: own.password().to_vec(),
        ..ConnectRequest::new()
    };
    let mut thief = Raw::handshake(chroot.server().address(), &request).expect("serves");
    assert_eq!(thief.session.session_id, own.id());
    next_state(&states, SessionState::Disconnected);
    next_state(&states, SessionState::Connected);
    client.exists("/").expect("back");
    assert_eq!(client.session_id(), own.id());
    assert!(thief.call(op::PING, &[]).is_err(), "the server cut it");
}

#[test]
fn a8_write_at_the_server_that_the_session_left_is_not_applied_and_the_client_goes_on() {
    let ensemble = gentle_ensemble();
    let (here, there) = (&ensemble.nodes()[0], &ensemble.nodes()[1]);
    let (client, own) = with_password(&here.connect_string(), ms(5_000));
    client.create("/a8", b"", CreateMode::Persistent).expect("nobody else's name");
    let states = client.subscribe().expect("open");
    let request = ConnectRequest {
        session_id: own.id(),
        password: own.password().to_vec(),
        ..ConnectRequest::new()
    };
    let thief = Raw::handshake(there.address(), &request).expect("serves");
    assert_eq!(thief.session.session_id, own.id());
    // The first server does not know yet; the leader does, as soon as it is asked to write. To the
    // first server -118 is a matter of the connection: it closes it and answers nothing.
    let error = client.set_data("/a8", b"lost", Version::Any).expect_err("moved");
    assert!(matches!(error, Error::ConnectionLoss { sent: true, .. }), "{error}");
    assert_eq!(error.applied(), Applied::Unknown);
    await_state(&states, SessionState::Connected);
    client.set_data("/a8", b"done", Version::Any).expect("moved back");
    assert_eq!(client.session_id(), own.id());
    let mut witness = Raw::connect(ensemble.leader().address());
    witness.sync("/").expect("quorum");
    let log = txnlog::read(&ensemble.leader().data());
    let values: Vec<_> = txnlog::of_path(&log, "/a8")
        .into_iter()
        .filter_map(|txn| txn.changes[0].data.clone())
        .collect();
    // Nor was it applied.
    assert_eq!(values, [b"".to_vec(), b"done".to_vec()]);
    witness.close();
}

/// What the client knew and when, beside what the server did.
struct Race {
    /// The last moment at which the session was still said to be alive.
    held_until: Instant,
    /// The last moment at which the ephemeral node surely was there.
    there_until: Instant,
}

/// Cuts a client off that polls its session's deadline, while a witness polls its node.
fn race(round: u64) -> Race {
    let chroot = fresh_chroot();
    let proxy = Proxy::start(chroot.server().address());
    let at = format!("{}{}", proxy.connect_string(), chroot.path());
    let client = connect(&at, ms(1_000));
    let session = client.session().expect("connected");
    session.create("/lease", b"", CreateMode::Ephemeral).expect("our chroot");
    let mut witness = Raw::connect(chroot.server().address());
    let node = format!("{}/lease", chroot.path());
    // Anywhere between two pings.
    thread::sleep(ms(37 * round));
    if round % 2 == 0 {
        proxy.black_hole();
    } else {
        // What the client says still arrives; the server's clock runs on from that.
        proxy.lose(Way::ToClient);
    }
    let holder = thread::spawn(move || {
        let mut held_until = Instant::now();
        loop {
            let now = Instant::now();
            match session.deadline() {
                Some(deadline) if now < deadline => held_until = now,
                _ => return held_until,
            }
            thread::sleep(ms(1));
        }
    });
    let mut there_until = Instant::now();
    eventually("the session expires on the server", ms(10_000), || {
        let now = Instant::now();
        let gone = witness.exists(&node) == Err(code::NO_NODE);
        if !gone {
            there_until = now;
        }
        if holder.is_finished() {
            // One way is enough for a greeting to keep the session alive for ever.
            proxy.black_hole();
        }
        gone
    });
    let held_until = holder.join().expect("does not panic");
    witness.close();
    Race { held_until, there_until }
}

#[test]
fn a4_deadline_of_the_session_passes_before_the_server_gives_it_up() {
    undisturbed(|| {
        let rounds: Vec<_> = (0..12_u64)
            .map(|round| thread::Builder::new().spawn(move || race(round)).expect("a thread"))
            .collect();
        let mut margins = Vec::new();
        for round in rounds {
            let race = round.join().expect("a race that ends");
            let margin = race.there_until.checked_duration_since(race.held_until);
            margins.push(margin.expect("held by us and gone on the server"));
        }
        figure("a4, server's expiry after our deadline, least", margins.iter().min());
        figure("a4, server's expiry after our deadline, most", margins.iter().max());
    });
}

#[test]
fn a5_paused_server_fails_calls_by_their_deadline_and_the_client_works_again_after() {
    undisturbed(|| {
        let server = Server::start();
        let client = connect(&server.connect_string(), ms(1_000));
        client.create("/a", b"", CreateMode::Persistent).expect("an empty server");
        server.pause();
        let start = Instant::now();
        let mut calls = 0;
        // Several session timeouts long: before the loss is noticed, in the dial, in the back-off.
        while start.elapsed() < ms(3_500) {
            let limit = ms(150);
            let begin = Instant::now();
            let error = client.with_timeout(limit).exists("/a").expect_err("paused");
            let took = begin.elapsed();
            assert!(error.is_connection(), "{error}");
            assert!(took < limit + ms(250), "{took:?} of {limit:?}");
            calls += 1;
        }
        server.resume();
        let resumed = Instant::now();
        eventually("a call succeeds", ms(10_000), || client.exists("/a").is_ok());
        figure("a5, server resumed to first answered call", resumed.elapsed());
        figure("a5, calls that failed by their deadline", calls);
        await_connected(&client);
        client.set_data("/a", b"again", Version::Any).expect("works without our doing");
    });
}

#[test]
fn a26_expiry_is_told_as_soon_as_a_server_can_tell_whatever_the_back_off() {
    undisturbed(|| {
        let chroot = fresh_chroot();
        let proxy = Proxy::start(chroot.server().address());
        let (client, own) = with_password(&proxy.connect_string(), ms(5_000));
        let states = client.subscribe().expect("open");
        proxy.refuse();
        proxy.cut();
        await_state(&states, SessionState::Disconnected);
        expire(chroot.server().address(), own.id(), own.password());
        // Until the waits between attempts are at their longest.
        thread::sleep(ms(2_500));
        let start = Instant::now();
        proxy.accept();
        let told = await_state(&states, SessionState::Expired) - start;
        figure("a26, server reachable to Expired", told);
        assert!(told < ms(1_500), "{told:?}");
        await_state(&states, SessionState::Connected);
    });
}

/// Set for the child of the next test, to where it shall connect.
const CHILD: &str = "ZK_TEST_PAUSED_CLIENT";

#[test]
fn a21_client_paused_longer_than_its_session_knows_so_before_it_has_asked_anybody() {
    undisturbed(|| {
        if let Ok(at) = std::env::var(CHILD) {
            return paused_client(&at);
        }
        let chroot = fresh_chroot();
        let own = std::env::current_exe().expect("the test binary");
        let name = thread::current().name().expect("a test has one").to_owned();
        let child = Command::new(own)
            .args([name.as_str(), "--exact", "--nocapture", "--test-threads=1"])
            .env(CHILD, chroot.connect_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = Ours(child.expect("starts"));
        let mut lines = BufReader::new(child.0.stdout.take().expect("piped")).lines();
        let mut said = || {
            let mut lines = lines.by_ref().map_while(Result::ok);
            let line = lines.find_map(|line| Some(line.split_once("child: ")?.1.to_owned()));
            line.unwrap_or_default()
        };
        let ready = said();
        let token = ready.strip_prefix("holds ").and_then(|token| token.parse().ok());
        signal(child.0.id(), "STOP");
        let mut witness = Raw::connect(chroot.server().address());
        let node = format!("{}/lease", chroot.path());
        eventually("the session expires on the server", ms(10_000), || {
            witness.exists(&node) == Err(code::NO_NODE)
        });
        // Another takes over, and its token is the larger.
        witness.create(&node, b"next holder", 0).expect("free now");
        let next = witness.exists(&node).expect("just created").czxid;
        assert!(token < Some(next) && token.is_some(), "{ready}");
        signal(child.0.id(), "CONT");
        assert_eq!(said(), "first check: lost");
        assert_eq!(said(), "fenced write: session expired");
        assert!(child.0.wait().expect("our own child").success());
    });
}

/// A process that goes with the test, even if the test fails while it is stopped.
struct Ours(Child);

impl Drop for Ours {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Holds a lease, notices by its own clock that it was stopped, looks at the lease first of all.
fn paused_client(at: &str) {
    let client = connect(at, ms(1_000));
    let session = client.session().expect("connected");
    let create = zookeeper_blocking::op::Create::new("/lease").mode(CreateMode::Ephemeral);
    let token = session.call(create.with_stat()).expect("our chroot").zxid;
    println!("\nchild: holds {token}");
    let mut last = Instant::now();
    loop {
        let now = Instant::now();
        // One look at the clock, one at two words in memory: no network could answer so fast.
        let held = session.deadline().is_some_and(|deadline| now < deadline);
        if now.duration_since(last) > ms(900) {
            println!("\nchild: first check: {}", if held { "held" } else { "lost" });
            break;
        }
        assert!(held, "a client that is not stopped holds its lease");
        last = now;
        thread::sleep(ms(1));
    }
    let fenced = || {
        let transaction = session.transaction().check("/lease", 0);
        transaction.create("/written", b"too late").commit()
    };
    // The first may go into a socket that the server has closed: then it is unknown, and tried
    // again, which is safe because it is fenced.
    let refused = loop {
        match fenced() {
            Err(Error::ConnectionLoss { .. }) => {}
            other => break other,
        }
    };
    match refused {
        Err(Error::SessionExpired { .. }) => println!("\nchild: fenced write: session expired"),
        other => println!("\nchild: fenced write: {other:?}"),
    }
    await_connected(&client);
    assert_eq!(client.exists("/written").expect("a new session"), None);
}
