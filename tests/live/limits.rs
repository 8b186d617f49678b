//! Deadlines, repeats, the bound on requests in flight, and what is never printed.

use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use zookeeper_blocking::{
    Applied, Client, CreateMode, Error, RetryPolicy, SessionState, Version, WhenDisconnected,
    WhenFull, op,
};

use crate::clients::{await_state, client, patience, through};
use crate::support::calm::undisturbed;
use crate::support::proxy::{Proxy, Way};
use crate::support::server::fresh_chroot;
use crate::support::wire;

/// How much later than its deadline a call may return.
const GRACE: Duration = Duration::from_millis(100);

#[test]
fn d13_each_form_of_a_call_ends_at_its_deadline() {
    undisturbed(|| {
        let chroot = fresh_chroot();
        let proxy = Proxy::start(chroot.server().address());
        let zk = through(&proxy, &chroot).connect().expect("serves");
        let states = zk.subscribe().expect("not closed");
        let limit = Duration::from_millis(150);
        let short = zk.with_timeout(limit);
        // The answer does not come; then there is nobody to ask.
        for connected in [true, false] {
            if connected {
                proxy.hold(Way::ToClient);
            } else {
                proxy.heal();
                proxy.refuse();
                proxy.cut();
                await_state(&states, SessionState::Disconnected);
            }
            let applied = if connected { Applied::Unknown } else { Applied::No };
            type Call<'a> = Box<dyn Fn() -> Error + 'a>;
            let calls: [(&str, Call<'_>); 5] = [
                (
                    "call",
                    Box::new(|| short.set_data("/", "", Version::Any).expect_err("no answer")),
                ),
                (
                    "submit",
                    Box::new(|| {
                        let pending = short.submit(op::SetData::new("/", "")).expect("room");
                        let short_wait = pending.wait_timeout(Duration::from_millis(10));
                        short_wait.expect_err("given back").wait().expect_err("no answer")
                    }),
                ),
                (
                    "submit_with",
                    Box::new(|| {
                        let (tell, told) = channel();
                        let done = move |result| {
                            let _ = tell.send(result);
                        };
                        short.submit_with(op::SetData::new("/", ""), done).expect("room");
                        told.recv_timeout(patience())
                            .expect("at the deadline")
                            .expect_err("no answer")
                    }),
                ),
                (
                    "commit",
                    Box::new(|| short.transaction().check("/", 0).commit().expect_err("no answer")),
                ),
                ("watch", Box::new(|| short.watch_children("/").expect_err("no answer"))),
            ];
            for (form, call) in calls {
                let start = Instant::now();
                let error = call();
                let took = start.elapsed();
                assert!(matches!(error, Error::Timeout { .. }), "{form}: {error:?}");
                assert_eq!(error.applied(), applied, "{form}, connected: {connected}: {error}");
                assert!(took >= limit && took < limit + GRACE, "{form}: {took:?}");
            }
        }
        proxy.accept();
        await_state(&states, SessionState::Connected);
        zk.exists("/").expect("goes on");
        assert_eq!(zk.watch_count(), 0);
    });
}

#[test]
fn calls_without_a_connection_wait_or_fail_as_told() {
    let chroot = fresh_chroot();
    let proxy = Proxy::start(chroot.server().address());
    let waits = through(&proxy, &chroot).connect().expect("serves");
    let fails = through(&proxy, &chroot)
        .when_disconnected(WhenDisconnected::Fail)
        .connect()
        .expect("serves");
    let states = [waits.subscribe(), fails.subscribe()].map(|states| states.expect("open"));
    proxy.refuse();
    proxy.cut();
    for states in &states {
        await_state(states, SessionState::Disconnected);
    }
    let error = fails.exists("/").expect_err("no connection");
    assert!(matches!(error, Error::ConnectionLoss { sent: false, .. }), "{error:?}");
    let pending = waits.submit(op::Exists::new("/")).expect("room");
    proxy.accept();
    assert!(pending.wait().expect("connected again").is_some());
    await_state(&states[1], SessionState::Connected);
    fails.exists("/").expect("connected again");
}

#[test]
fn d12_requests_in_flight_are_bounded() {
    let chroot = fresh_chroot();
    let proxy = Proxy::start(chroot.server().address());
    let bound = 10;
    let fails = through(&proxy, &chroot)
        .max_in_flight(bound)
        .when_full(WhenFull::Fail)
        .connect()
        .expect("serves");
    proxy.hold(Way::ToClient);
    let submit = || fails.submit(op::Exists::new("/"));
    let held: Vec<_> = (0..bound).map(|_| submit().expect("room")).collect();
    for error in [
        submit().expect_err("full"),
        fails.exists("/").expect_err("full"),
        fails.submit_with(op::Exists::new("/"), |_| panic!("never run")).expect_err("full"),
    ] {
        assert!(matches!(error, Error::Busy { limit: 10, .. }), "{error:?}");
        assert_eq!(error.applied(), Applied::No);
        assert_eq!(error.to_string(), "exists /: 10 requests are in flight already");
    }
    proxy.release(Way::ToClient);
    for pending in held {
        pending.wait().expect("there");
    }
    for _ in 0..3 * bound {
        submit().expect("room").wait().expect("there");
    }
}

#[test]
fn d12_full_client_makes_callers_wait_until_their_deadline() {
    undisturbed(|| {
        let chroot = fresh_chroot();
        let proxy = Proxy::start(chroot.server().address());
        let zk = through(&proxy, &chroot).max_in_flight(10).connect().expect("serves");
        let first = zk.create("/n-", "", CreateMode::PersistentSequential).expect("a fresh chroot");
        assert_eq!(first, "/n-0000000000");
        proxy.hold(Way::ToClient);
        let create = || op::Create::new("/n-").mode(CreateMode::PersistentSequential);
        let mut held: Vec<_> = (0..10).map(|_| zk.submit(create()).expect("room")).collect();
        let limit = Duration::from_millis(100);
        let start = Instant::now();
        let error = zk.with_timeout(limit).submit(create()).expect_err("full");
        assert!(matches!(error, Error::Timeout { sent: false, .. }), "{error:?}");
        assert!(start.elapsed() >= limit && start.elapsed() < limit + GRACE);
        // With room again they go on, in order, and what gave up has left no trace.
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let all = (0..500).map(|_| zk.submit(create()).expect("room some time"));
                all.collect::<Vec<_>>()
            });
            proxy.release(Way::ToClient);
            held.extend(waiting.join().expect("no panic"));
        });
        for (n, pending) in held.into_iter().enumerate() {
            let created = pending.wait().expect("new");
            assert_eq!(created.path, format!("/n-{:010}", n + 1));
        }
    });
}

#[test]
fn retry_repeats_reads_and_what_was_not_applied() {
    let chroot = fresh_chroot();
    let proxy = Proxy::start(chroot.server().address());
    let zk = through(&proxy, &chroot).connect().expect("serves");
    zk.create("/a", "x", CreateMode::Persistent).expect("new");
    let policy = || RetryPolicy::default().base_delay(Duration::from_millis(5)).max_tries(4);
    let retry = zk.with_retry(policy());
    let sent = |op: i32| proxy.counts().to_server.ops.get(&op).copied().unwrap_or(0);

    // A read may be repeated whatever happened to it; without a policy it is not.
    proxy.drop_reply_to(wire::op::GET_DATA);
    let error = zk.get_data("/a").expect_err("the answer is lost");
    assert!(error.is_connection() && error.applied() == Applied::Unknown, "{error:?}");
    proxy.drop_reply_to(wire::op::GET_DATA);
    assert_eq!(retry.get_data("/a").expect("the second try").0, b"x");
    assert_eq!(sent(wire::op::GET_DATA), 3);

    // A write that may have happened is not.
    proxy.drop_reply_to(wire::op::SET_DATA);
    let error = retry.set_data("/a", "y", 0).expect_err("the answer is lost");
    assert!(matches!(error, Error::ConnectionLoss { sent: true, .. }), "{error:?}");
    assert_eq!(sent(wire::op::SET_DATA), 1);
    assert_eq!(zk.get_data("/a").expect("there").1.version, 1, "it was applied");

    // Unless the caller says that twice is as good as once.
    proxy.drop_reply_to(wire::op::SET_DATA);
    let stat = zk.with_retry(policy().idempotent()).set_data("/a", "z", Version::Any);
    assert_eq!(stat.expect("the second try").version, 3);
    assert_eq!(sent(wire::op::SET_DATA), 3);

    // What the server refused stays refused.
    let before = sent(wire::op::SET_DATA);
    retry.set_data("/a", "", 99).expect_err("another version");
    assert_eq!(sent(wire::op::SET_DATA), before + 1);
}

#[test]
fn retry_ends_with_the_deadline_of_the_call() {
    undisturbed(|| {
        let chroot = fresh_chroot();
        let proxy = Proxy::start(chroot.server().address());
        let zk = through(&proxy, &chroot)
            .when_disconnected(WhenDisconnected::Fail)
            .connect()
            .expect("serves");
        let states = zk.subscribe().expect("not closed");
        proxy.refuse();
        proxy.cut();
        await_state(&states, SessionState::Disconnected);
        let policy =
            RetryPolicy::default().max_tries(u32::MAX).base_delay(Duration::from_millis(10));
        let limit = Duration::from_millis(200);
        let start = Instant::now();
        let error = zk.with_retry(policy.clone()).with_timeout(limit).exists("/");
        let error = error.expect_err("nobody there");
        assert!(error.is_connection() && error.applied() == Applied::No, "{error:?}");
        assert!(start.elapsed() < limit + GRACE, "{:?}", start.elapsed());
        // A write that was never sent is repeated until it goes through.
        thread::scope(|scope| {
            let policy = policy.max_delay(Duration::from_millis(50));
            let (zk, proxy) = (zk.with_retry(policy), &proxy);
            let call = scope.spawn(move || zk.create("/a", "", CreateMode::Persistent));
            thread::sleep(Duration::from_millis(30));
            proxy.accept();
            call.join().expect("no panic").expect("connected again");
        });
    });
}

#[test]
fn nothing_that_is_printed_shows_a_secret() {
    let secret = "s3cr3t";
    let chroot = fresh_chroot();
    let credential = format!("ann:{secret}");
    let builder = Client::builder(&chroot.connect_string()).auth("digest", credential.as_str());
    let mut said = vec![format!("{builder:?}")];
    let zk = builder.connect().expect("any will do");
    zk.add_auth("digest", format!("bob:{secret}")).expect("any will do");
    said.push(format!("{zk:?} {:?} {:?}", zk.downgrade(), zk.session().expect("alive")));
    let set = op::SetData::new("/none", secret);
    let error = zk.call(set).expect_err("nothing there");
    said.push(format!("{error} {error:?}"));
    let refused = client(&chroot).add_auth("no-such-scheme", secret);
    let error = refused.expect_err("refused");
    said.push(format!("{error} {error:?}"));
    let session = zk.detach().expect("not closed");
    said.push(format!("{session:?}"));
    let password = session.password().to_vec();
    assert_eq!(password.len(), 16);
    let attaching = Client::builder(&chroot.connect_string()).attach(session);
    said.push(format!("{attaching:?}"));
    drop(attaching.connect().expect("the session is there"));
    for text in said {
        assert!(!text.contains(secret), "{text}");
        assert!(!text.contains(&format!("{password:?}")), "{text}");
        assert!(!text.contains(&format!("{}, {}", password[0], password[1])), "{text}");
    }
}
