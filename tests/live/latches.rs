//! Candidates that stand all the time: latches, and elections that queue again.
//!
//! Retold by behaviour: Curator `TestLeaderLatch` (`testCallbackNotifyLeader`, `testCallbackSilent`,
//! `testNoServerAtStart`, `testProperCloseWithoutConnectionEstablished`, `testWaiting`,
//! `testErrorPolicies`), `TestLeaderSelector` (`testAutoRequeue`, `testRotatingLeaders`,
//! `testErrorPolicies`). Without a server is here: the client had one before.

use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use zookeeper_blocking::recipes::{CloseMode, Election, Latch, Leadership, NameStyle};
use zookeeper_blocking::{Client, Error, RecipeError};

use crate::clients::{doomed, expire, patience};
use crate::locks::{Yard, assert_recipe, cancelled, ms};
use crate::support::process;
use crate::support::wait::{eventually, scaled};

fn election(client: &Client) -> Election {
    Election::new(client, "/lock").expect("a legal path")
}

/// A latch, and what its listener hears: fences, and `None`.
fn latch(client: &Client) -> (Latch, Receiver<Option<i64>>) {
    let (tell, told) = channel();
    let latch = election(client).latch(move |leadership| {
        // The test may have heard enough.
        let _ = tell.send(leadership.map(|leadership| leadership.fence()));
    });
    (latch.expect("a thread"), told)
}

#[track_caller]
fn hears(told: &Receiver<Option<i64>>) -> Option<i64> {
    told.recv_timeout(patience()).expect("told in time")
}

#[test]
fn latches_lead_one_after_the_other_and_are_told_by_their_mode() {
    let yard = Yard::new();
    let client = yard.client();
    let (first, first_told) = latch(&client);
    first.wait_elected(patience()).expect("alone");
    let fence = hears(&first_told).expect("elected");
    assert_eq!((first.has_leadership(), first.fence()), (true, Some(fence)));
    let (second, second_told) = latch(&client);
    yard.await_nodes(2);
    let (third, third_told) = latch(&client);
    yard.await_nodes(3);
    assert!(!second.has_leadership() && second.fence().is_none());
    let start = Instant::now();
    let timed_out = second.wait_elected(scaled(ms(100)));
    assert!(matches!(timed_out, Err(Error::Timeout { .. })), "{timed_out:?}");
    assert!(start.elapsed() < Duration::from_secs(5));
    first.close(CloseMode::NotifyLeader).expect("led");
    assert_eq!(first_told.recv(), Ok(None));
    assert!(first_told.recv().is_err(), "its last word");
    let next = hears(&second_told).expect("elected");
    assert!(next > fence);
    second.close(CloseMode::Silent).expect("led");
    assert!(second_told.recv().is_err(), "not a word");
    assert!(hears(&third_told).expect("elected") > next);
    drop(third);
    eventually("resigned", patience(), || yard.nodes().is_empty());
    assert!(third_told.recv().is_err(), "not a word");
    eventually("no watch left", patience(), || client.watch_count() == 0);
}

#[test]
fn leader_is_told_before_another_is_elected() {
    let yard = Yard::new();
    let book = std::sync::Arc::new(Mutex::new(Vec::new()));
    let note = |name: &'static str| {
        let book = book.clone();
        let listener = move |leadership: Option<&Leadership>| {
            book.lock().expect("no panic").push((name, leadership.is_some()));
            // Whoever is told late is seen.
            thread::sleep(ms(30));
        };
        election(&yard.client()).latch(listener).expect("a thread")
    };
    let first = note("first");
    first.wait_elected(patience()).expect("alone");
    let second = note("second");
    yard.await_nodes(2);
    first.close(CloseMode::NotifyLeader).expect("led");
    second.wait_elected(patience()).expect("next");
    second.close(CloseMode::NotifyLeader).expect("led");
    let heard = book.lock().expect("no panic").clone();
    assert_eq!(heard, [("first", true), ("first", false), ("second", true), ("second", false)]);
}

#[test]
fn latch_whose_session_expires_is_told_and_stands_again() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    let (latch, told) = latch(&client);
    let fence = hears(&told).expect("elected");
    expire(&proxy, yard.chroot.server(), &session);
    assert_eq!(hears(&told), None);
    assert!(hears(&told).expect("elected again") > fence);
    assert!(latch.has_leadership());
    latch.close(CloseMode::Silent).expect("led");
}

/// Curator's `SessionConnectionStateErrorPolicy`: a leader is one as long as its session is.
#[test]
fn latch_leads_on_over_a_cut_that_its_session_survives() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).connect().expect("serves");
    let (latch, told) = latch(&client);
    let fence = hears(&told).expect("elected");
    for _ in 0..3 {
        proxy.cut();
        client.sync("/").or_else(|_| client.sync("/")).expect("connected again");
        assert_eq!(latch.fence(), Some(fence));
    }
    assert!(told.try_recv().is_err(), "nothing has changed");
    latch.close(CloseMode::Silent).expect("led");
    yard.await_nodes(0);
}

#[test]
fn latch_without_a_server_leads_once_there_is_one_and_can_be_closed_before() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).connect().expect("serves");
    proxy.refuse();
    proxy.cut();
    let (closed, closed_told) = latch(&client);
    let (stays, told) = latch(&client);
    let timed_out = stays.wait_elected(ms(100));
    assert!(matches!(timed_out, Err(Error::Timeout { .. })), "{timed_out:?}");
    let start = Instant::now();
    closed.close(CloseMode::NotifyLeader).expect("it only waited");
    assert!(start.elapsed() < patience());
    assert!(closed_told.recv().is_err(), "it never led");
    proxy.accept();
    assert!(hears(&told).is_some());
    yard.await_nodes(1);
    drop(stays);
}

#[test]
fn latch_that_waits_leaves_the_line_when_it_is_closed_or_dropped() {
    let yard = Yard::new();
    let client = yard.client();
    let held = election(&client).campaign().expect("alone");
    for is_dropped in [false, true] {
        let (waiting, told) = latch(&client);
        yard.await_nodes(2);
        if is_dropped {
            drop(waiting);
        } else {
            waiting.close(CloseMode::NotifyLeader).expect("stood");
        }
        yard.await_nodes(1);
        assert!(told.recv().is_err(), "it never led");
    }
    held.resign().expect("led");
    let (latch, _told) = latch(&client);
    latch.wait_elected(patience()).expect("alone");
    client.close().expect("acknowledged");
    let closed = latch.close(CloseMode::Silent);
    assert!(closed.is_err(), "{closed:?}");
}

#[test]
fn latch_tells_why_it_stands_no_more() {
    let yard = Yard::new();
    let client = yard.client();
    client.close().expect("acknowledged");
    let (latch, told) = latch(&client);
    let closed = latch.wait_elected(patience());
    assert!(matches!(closed, Err(Error::Closed { .. })), "{closed:?}");
    assert!(told.recv().is_err());
    let closed = latch.close(CloseMode::Silent);
    assert!(matches!(closed, Err(Error::Closed { .. })), "{closed:?}");
}

#[test]
fn listener_that_panics_is_called_again() {
    let yard = Yard::new();
    let (tell, told) = channel();
    let latch = election(&yard.client()).latch(move |leadership| {
        tell.send(leadership.is_some()).expect("the test waits");
        assert!(leadership.is_none(), "as the test wants it");
    });
    let latch = latch.expect("a thread");
    assert_eq!(told.recv_timeout(patience()), Ok(true));
    latch.close(CloseMode::NotifyLeader).expect("led");
    assert_eq!(told.recv_timeout(patience()), Ok(false));
}

#[test]
fn thread_of_a_latch_ends_with_it() {
    process::alone("latches::thread_of_a_latch_ends_with_it", || {
        let yard = Yard::new();
        let client = yard.client();
        let latches: Vec<_> = (0..5).map(|_| latch(&client)).collect();
        eventually("one leads", patience(), || latches.iter().any(|(it, _)| it.has_leadership()));
        drop(latches);
        eventually("no thread", patience(), || {
            !process::thread_names().iter().any(|name| name.starts_with("zk-latch"))
        });
    });
}

#[test]
fn election_that_runs_again_goes_to_the_end_of_the_line_each_time() {
    let yard = Yard::new();
    let terms = Mutex::new(Vec::new());
    let run = |client: &Client, name: &'static str| {
        let election = election(client).name_style(NameStyle::Curator);
        let mut left = 5;
        election.run_again(|leadership| {
            terms.lock().expect("no panic").push((name, leadership.fence()));
            // Until the other stands in the line, or has had enough.
            let start = Instant::now();
            let others = || {
                let terms = terms.lock().expect("no panic");
                terms.iter().filter(|(whose, _): &&(&str, i64)| *whose != name).count()
            };
            while election.contenders().expect("answered").len() < 2
                && others() < 5
                && start.elapsed() < patience()
            {
                thread::sleep(ms(1));
            }
            left -= 1;
            if left > 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(name) }
        })
    };
    thread::scope(|scope| {
        for name in ["a", "b"] {
            let (client, run) = (yard.client(), &run);
            scope.spawn(move || assert_eq!(run(&client, name).expect("elected"), name));
        }
    });
    let terms = terms.lock().expect("no panic");
    assert_eq!(terms.len(), 10);
    for pair in terms.windows(2) {
        assert!(pair[0].0 != pair[1].0 && pair[0].1 < pair[1].1, "in turn: {terms:?}");
    }
    yard.await_nodes(0);
}

#[test]
fn election_that_runs_again_ends_by_a_cancel() {
    let yard = Yard::new();
    let held = election(&yard.client()).campaign().expect("alone");
    let election = election(&yard.client());
    let running = election.clone();
    let waiting = thread::spawn(move || running.run_again(|_| ControlFlow::<()>::Continue(())));
    yard.await_nodes(2);
    let started = Instant::now();
    election.cancel();
    assert_recipe(waiting.join().expect("no panic"), RecipeError::Cancelled, started, ms(1_000));
    yard.await_nodes(1);
    held.resign().expect("led");
    // And between two terms.
    let started = Instant::now();
    let running = || election.run_again(|_| ControlFlow::<()>::Continue(()));
    let ended = cancelled(|| election.cancel(), running);
    assert_recipe(ended, RecipeError::Cancelled, started, patience());
}
