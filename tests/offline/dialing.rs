//! Looking for a server: which one, how soon, how often.

use std::time::{Duration, Instant};

use zookeeper_blocking::Error;
use zookeeper_blocking::SessionState::{Connected, Disconnected};

use crate::answers::{States, hurried, soon, yes_server};
use crate::support::calm::undisturbed;
use crate::support::ports::SilentPort;
use crate::support::process;
use crate::support::scripted::Scripted;
use crate::support::wait::{eventually, scaled};
use crate::support::wire::op;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a14_two_black_holes_cost_a_second_at_most() {
    undisturbed(|| {
        let (first, second, server) = (SilentPort::new(), SilentPort::new(), yes_server());
        let hosts = format!("{},{},{}", first.address(), second.address(), server.address());
        let start = Instant::now();
        let client = hurried(&hosts).connect().expect("connects to the third");
        let took = start.elapsed();
        assert!(took <= scaled(SECOND), "{took:?}");
        assert_eq!(client.connected_host(), Some(server.connect_string()));
    });
}

#[test]
fn a14_connect_gives_up_in_time_and_names_every_host() {
    let silent = SilentPort::new();
    let free = crate::support::ports::free(1)[0];
    let hosts = format!("{},127.0.0.1:{free}", silent.address());
    let limit = scaled(SECOND / 2);
    let start = Instant::now();
    let error = hurried(&hosts).connect_timeout(limit).connect().expect_err("nobody is there");
    let took = start.elapsed();
    assert!(took >= limit && took <= limit + soon(), "{took:?}");
    assert!(error.to_string().contains(&format!("127.0.0.1:{free}")), "{error}");
}

#[test]
fn a17_server_that_accepts_and_never_answers_is_left() {
    undisturbed(|| {
        let silent = Scripted::start(|_, peer| peer.hang());
        let server = yes_server();
        let hosts = format!("{},{}", silent.address(), server.address());
        let start = Instant::now();
        let builder = hurried(&hosts).session_timeout(scaled(3 * SECOND));
        let client = builder.connect().expect("connects to the second");
        let took = start.elapsed();
        // A third of the session of 3 s, and a little.
        assert!(took <= scaled(SECOND * 3 / 2), "{took:?}");
        assert_eq!(client.connected_host(), Some(server.connect_string()));
    });
}

#[test]
fn a18_server_that_closes_at_once_is_tried_with_pauses() {
    process::alone("dialing::a18_server_that_closes_at_once_is_tried_with_pauses", || {
        let server = Scripted::start(|_, peer| peer.close());
        let limit = Duration::from_secs(4);
        let error =
            hurried(&server.connect_string()).connect_timeout(limit).connect().expect_err("never");
        assert!(matches!(error, Error::Connect { .. }), "{error}");
        let tries = server.connections();
        // At the pace of 20 in 10 s, and some for the first, shorter pauses.
        assert!((2..=12).contains(&tries), "{tries}");
    });
}

#[test]
fn a27_client_moves_when_its_server_leaves_the_list() {
    let (old, new) = (yes_server(), yes_server());
    let (builder, mut states) = States::of(hurried(&old.connect_string()));
    let client = builder.connect().expect("connects");
    let id = client.session_id();
    client.set_hosts(&new.connect_string()).expect("a list");
    states.wait_for(Disconnected);
    states.wait_for(Connected);
    assert_eq!(client.connected_host(), Some(new.connect_string()));
    assert_eq!(client.session_id(), id, "the session goes along");
    client.get_data("/a").expect("works");
}

#[test]
fn a27_empty_and_wrong_lists_are_refused_and_change_nothing() {
    let server = yes_server();
    let client = hurried(&server.connect_string()).connect().expect("connects");
    for wrong in ["", ",", "a:b:c", ":2181", "host:0x1"] {
        let error = client.set_hosts(wrong).expect_err(wrong);
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
    }
    client.get_data("/a").expect("works");
    assert_eq!(server.connections(), 1);
}

#[test]
fn a27_list_that_changes_while_disconnected_is_used_at_once() {
    undisturbed(|| {
        // The old host refuses, or answers nothing at all.
        let silent = SilentPort::new();
        for black_hole in [false, true] {
            let old = Scripted::start(|number, peer| {
                if number == 0 {
                    peer.handshake();
                    peer.expect(op::SYNC);
                }
                peer.close();
            });
            let new = yes_server();
            let (builder, mut states) = States::of(hurried(&old.connect_string()));
            let client = builder.connect().expect("connects");
            if black_hole {
                client.set_hosts(&silent.address().to_string()).expect("a list");
            } else {
                client.sync("/").expect_err("cut");
            }
            states.wait_for(Disconnected);
            std::thread::sleep(scaled(SECOND / 2));
            let start = Instant::now();
            client.set_hosts(&new.connect_string()).expect("a list");
            let took = states.wait_for(Connected) - start;
            assert!(took <= scaled(SECOND * 3 / 4), "black hole {black_hole}: {took:?}");
            assert_eq!(client.connected_host(), Some(new.connect_string()));
        }
    });
}

#[test]
fn a27_new_list_that_keeps_the_server_may_keep_the_connection() {
    let (one, two) = (yes_server(), yes_server());
    let client = hurried(&one.connect_string()).connect().expect("connects");
    // As many servers as before: by the rule the client stays.
    client.set_hosts(&one.connect_string()).expect("a list");
    client.get_data("/a").expect("works");
    assert_eq!(one.connections(), 1);
    // Twice as many: it stays or goes, by chance; it works either way.
    client.set_hosts(&format!("{},{}", one.address(), two.address())).expect("a list");
    eventually("the client works", SECOND * 5, || client.get_data("/a").is_ok());
}

#[test]
fn dialed_name_that_resolves_to_nothing_does_not_hide_the_next_host() {
    let server = yes_server();
    let hosts = format!("no-such-host.invalid:2181,{}", server.address());
    let client = hurried(&hosts).connect().expect("connects to the second");
    client.get_data("/a").expect("works");
}
