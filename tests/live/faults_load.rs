//! Servers killed, lines cut and black-holed while many calls are on their way: what each call is
//! told agrees with the server's log.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use zookeeper_blocking::{
    Applied, Client, Code, CreateMode, Error, RetryPolicy, SessionState, StateEvents,
};

use crate::faults::{await_state, builder, connect, figure, ms};
use crate::faults_history::{Load, Tally, first_done_after, judge, judge_all};
use crate::support::calm::undisturbed;
use crate::support::proxy::{Act, Pick, Proxy, Way};
use crate::support::raw::Raw;
use crate::support::server::{Ensemble, Options, Server};
use crate::support::txnlog;
use crate::support::wire::op;

const TIMEOUT: Duration = Duration::from_secs(10);

/// No session was lost: its id is the first one, and nobody heard of an expiry.
#[track_caller]
fn assert_same_session(client: &Client, id: i64, states: &StateEvents) {
    assert_eq!(client.session_id(), id);
    let expired = states.try_iter().any(|state| state == SessionState::Expired);
    assert!(!expired, "the session expired");
}

#[test]
fn killed_and_restarted_server_agrees_with_what_each_call_was_told() {
    let server = Server::start();
    let client = connect(&server.connect_string(), TIMEOUT);
    let (id, states) = (client.session_id(), client.subscribe().expect("open"));
    let load = Load::start(&client, "kill", 2, TIMEOUT);
    let mut killed = Vec::new();
    for _ in 0..3 {
        load.wait_more(300);
        killed.push(Instant::now());
        server.kill();
        server.launch();
    }
    load.wait_more(300);
    let books = load.finish();
    assert_same_session(&client, id, &states);
    let tally = judge(&server.data(), &books);
    assert!(tally.done >= 1_200 && tally.unknown() > 0, "{tally:?}");
    for at in killed {
        let gap = first_done_after(&books, at + ms(50)).map(|gap| gap + ms(50));
        figure("standalone, kill -9 and start to first answered call", gap);
    }
    figure("standalone, kill -9", tally);
}

#[test]
fn cut_connections_agree_with_what_each_call_was_told() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let client = connect(&proxy.connect_string(), TIMEOUT);
    let (id, states) = (client.session_id(), client.subscribe().expect("open"));
    let plain = Load::start(&client, "plain", 1, TIMEOUT);
    // a3: repeats what was not applied, and nothing else.
    let policy = RetryPolicy::default().max_tries(100).base_delay(ms(1));
    let repeating = Load::start(&client.with_retry(policy), "repeating", 1, TIMEOUT);
    for round in 0..32 {
        plain.wait_more(20);
        repeating.wait_more(20);
        let caught = proxy.caught().len();
        match round % 8 {
            0 => proxy.drop_reply(7),
            1 => proxy.once(Way::ToServer, Pick::AnyOp, 3, Act::LoseAndCut),
            2 => proxy.drop_reply_to(op::MULTI),
            3 => proxy.drop_request(op::CREATE),
            4 => proxy.once(Way::ToClient, Pick::AnyOp, 5, Act::Tear(9)),
            5 => proxy.once(Way::ToServer, Pick::AnyOp, 5, Act::Tear(30)),
            6 => proxy.half_close(Way::ToClient),
            _ => proxy.cut(),
        }
        if round % 8 < 6 {
            proxy.wait_caught(caught + 1);
        }
    }
    plain.wait_more(100);
    repeating.wait_more(100);
    let mut books = plain.finish();
    books.extend(repeating.finish());
    assert_same_session(&client, id, &states);
    let tally = judge(&server.data(), &books);
    // Both kinds of unknown occurred, or the test has tested nothing.
    assert!(tally.unknown_applied > 0 && tally.unknown_not > 0, "{tally:?}");
    figure("32 cuts", tally);
}

/// Has `fault` strike under load, and gives how long the client took to notice.
fn strike(fault: impl Fn(&Proxy)) -> (Duration, Tally) {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let client = connect(&proxy.connect_string(), ms(1_500));
    let states = client.subscribe().expect("open");
    // A short deadline, so that calls end by it and not by the lost connection only.
    let load = Load::start(&client, "silence", 2, ms(400));
    load.wait_more(200);
    let start = Instant::now();
    fault(&proxy);
    let noticed = await_state(&states, SessionState::Disconnected) - start;
    proxy.heal();
    load.wait_more(200);
    let books = load.finish();
    let tally = judge(&server.data(), &books);
    assert!(tally.unknown() > 0, "{tally:?}");
    (noticed, tally)
}

/// 2/3 of the session timeout, and a little for a busy machine.
const NOTICED: Duration = Duration::from_millis(1_000 + 250);

#[test]
fn a16_black_hole_is_noticed_within_two_thirds_of_the_timeout_under_load() {
    undisturbed(|| {
        let (noticed, tally) = strike(Proxy::black_hole);
        assert!(noticed <= NOTICED, "{noticed:?}");
        figure("black hole under load, T 1.5 s, noticed after", noticed);
        figure("black hole under load", tally);
    });
}

#[test]
fn a19_replies_lost_one_way_leave_calls_unknown_that_the_log_resolves() {
    undisturbed(|| {
        let (noticed, tally) = strike(|proxy| proxy.lose(Way::ToClient));
        assert!(noticed <= NOTICED, "{noticed:?}");
        assert!(tally.unknown_applied > 0, "{tally:?}");
        figure("replies lost, T 1.5 s, noticed after", noticed);
        figure("replies lost", tally);
    });
}

#[test]
fn a19_requests_lost_one_way_never_happened() {
    undisturbed(|| {
        let (noticed, tally) = strike(|proxy| proxy.lose(Way::ToServer));
        assert!(noticed <= NOTICED, "{noticed:?}");
        assert!(tally.unknown_not > 0, "{tally:?}");
        figure("requests lost", tally);
    });
}

#[test]
fn a3_versioned_write_whose_reply_is_lost_is_unknown_and_never_refused() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let policy = RetryPolicy::default().base_delay(ms(1));
    let client = builder(&proxy.connect_string(), TIMEOUT).retry(policy);
    let client = client.connect().expect("serves");
    client.create("/a", b"old", CreateMode::Persistent).expect("an empty server");

    proxy.drop_reply_to(op::SET_DATA);
    let error = client.set_data("/a", b"new", 0).expect_err("no reply");
    // A blind second try would have had `BadVersion` from its own first one.
    assert!(matches!(error, Error::ConnectionLoss { sent: true, .. }), "{error}");
    assert_eq!(error.applied(), Applied::Unknown);
    assert_eq!(client.get_data("/a").expect("back").0, b"new");

    // What never reached the server may not be repeated either: the client cannot know.
    proxy.drop_request(op::SET_DATA);
    let error = client.set_data("/a", b"newer", 1).expect_err("no reply");
    assert_eq!(error.applied(), Applied::Unknown);
    assert_eq!(client.get_data("/a").expect("back").0, b"new");

    // Declared idempotent, it is repeated; unconditionally, that comes to the same.
    let policy = RetryPolicy::default().base_delay(ms(1)).idempotent();
    let any = zookeeper_blocking::Version::Any;
    proxy.drop_reply_to(op::SET_DATA);
    let stat = client.with_retry(policy).set_data("/a", b"last", any);
    assert_eq!(stat.expect("repeated").version, 3);
    assert_eq!(txnlog::of_path(&txnlog::read(&server.data()), "/a").len(), 4);
}

#[test]
fn a3_refused_write_is_told_so_and_is_not_in_the_log() {
    let server = Server::start();
    let client = connect(&server.connect_string(), TIMEOUT);
    client.create("/a", b"", CreateMode::Persistent).expect("an empty server");
    let error = client.set_data("/a", b"x", 7).expect_err("version 0");
    assert_eq!((error.code(), error.applied()), (Some(Code::BadVersion), Applied::No));
    let log = txnlog::read(&server.data());
    assert_eq!(txnlog::of_path(&log, "/a").len(), 1);
}

#[test]
fn f1_rolling_restart_of_an_ensemble_under_load_loses_no_session_and_no_call() {
    // 3.8.0 now and then fumbles the first election after a restart ("NEWLEADER ACK from a
    // different epoch") and tries again when this time is over.
    let ensemble = Ensemble::with(3, &Options::new().config("initLimit=6"));
    let clients: Vec<Client> = (0..2)
        .map(|_| {
            let client = builder(&ensemble.connect_string(), TIMEOUT).shuffle(true);
            client.connect().expect("serves")
        })
        .collect();
    let sessions: Vec<_> = clients
        .iter()
        .map(|client| (client.session_id(), client.subscribe().expect("open")))
        .collect();
    let loads: Vec<Load> = clients
        .iter()
        .zip(["rolling-a", "rolling-b"])
        .map(|(client, name)| Load::start(client, name, 1, TIMEOUT))
        .collect();
    let mut killed = Vec::new();
    for node in ensemble.nodes() {
        for load in &loads {
            load.wait_more(100);
        }
        let mode = node.mode().unwrap_or_default();
        killed.push((mode, Instant::now()));
        node.kill();
        // All writes stand still until the others have elected; then they go on without it.
        for load in &loads {
            load.wait_more(100);
        }
        node.launch();
        node.wait_ready();
    }
    for load in &loads {
        load.wait_more(100);
    }
    let mut books = Vec::new();
    for (at, load) in loads.into_iter().enumerate() {
        let own = load.finish();
        for (mode, at_kill) in &killed {
            let gap = first_done_after(&own, *at_kill + ms(20)).map(|gap| gap + ms(20));
            figure(&format!("client {at}, kill -9 of a {mode} to first answered call"), gap);
        }
        books.extend(own);
    }
    for (client, (id, states)) in clients.iter().zip(&sessions) {
        assert_same_session(client, *id, states);
    }
    Raw::connect(ensemble.leader().address()).sync("/").expect("quorum");
    let data: Vec<_> = ensemble.nodes().iter().map(|node| node.data()).collect();
    let tally = judge_all(data.iter().map(PathBuf::as_path), &books);
    assert!(tally.done >= 800, "{tally:?}");
    figure("rolling restart of 3 nodes", tally);
}
