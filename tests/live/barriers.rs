//! Barriers: nobody passes early, nobody hangs, nothing is left behind.
//!
//! Retold by behaviour: Kazoo `test_barrier.py` (all eight; of "own node existing is re-used" what
//! remains is that a lost answer makes no second member: each entry has a name of its own here);
//! Curator `TestDistributedBarrier` (`testBasic`, `testMultiBarrier`, `testNoBarrier`,
//! `testServerCrash`), `TestDistributedDoubleBarrier` (`testBasic`, `testMultiClient`,
//! `testOverSubscribed`, GH-1290 `testSpuriousWakeup`).

use std::sync::Barrier as Meeting;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::Instant;

use zookeeper_blocking::recipes::{Barrier, DoubleBarrier, Inside};
use zookeeper_blocking::{Acl, Client, Code, CreateMode, Error, RecipeError, Version, WatcherType};

use crate::clients::{doomed, expire, patience};
use crate::faults::figure;
use crate::locks::{Yard, assert_code, assert_recipe, cancelled, ms};
use crate::nodes::{assert_ours, await_children, children, in_callback, we, whole};
use crate::support::calm::undisturbed;
use crate::support::proxy::{Act, Pick, Way};
use crate::support::wait::{eventually, scaled};
use crate::support::wire::op;

fn barrier(client: &Client) -> Barrier {
    Barrier::new(client, "/a/barrier").expect("legal")
}

fn double(client: &Client, count: usize) -> DoubleBarrier {
    DoubleBarrier::new(client, "/a/double", count).expect("legal")
}

/// Enters in a thread.
fn enter(barrier: &DoubleBarrier) -> thread::JoinHandle<Inside> {
    let barrier = barrier.clone();
    thread::spawn(move || barrier.enter().expect("all come in time"))
}

fn members(yard: &Yard) -> Vec<String> {
    children(yard, "/a/double").into_iter().filter(|name| name.len() == 32).collect()
}

#[track_caller]
fn await_members(yard: &Yard, count: usize) {
    let start = Instant::now();
    while members(yard).len() != count {
        assert!(start.elapsed() < patience(), "not {count} but {:?}", members(yard));
        thread::sleep(ms(1));
    }
}

#[track_caller]
fn assert_late<T: std::fmt::Debug>(result: zookeeper_blocking::Result<T>) {
    assert!(matches!(result, Err(Error::Timeout { .. })), "{result:?}");
}

// ---- the simple one ----

#[test]
fn wait_passes_where_there_is_no_barrier_and_ends_when_it_is_removed() {
    let yard = Yard::new();
    let client = yard.client();
    let barrier = barrier(&client);
    barrier.wait().expect("there is none");
    assert!(barrier.try_wait().expect("answered"));
    assert!(!barrier.remove().expect("answered"));
    barrier.create().expect("made");
    barrier.create().expect("there");
    assert_eq!(client.get_data("/a/barrier").expect("there").0, b"");
    assert!(!barrier.try_wait().expect("answered"));
    assert_late(barrier.wait_timeout(ms(30)));
    eventually("b9: its watch goes with the wait", patience(), || client.watch_count() == 0);
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let other = self::barrier(&yard.client());
            thread::spawn(move || other.wait())
        })
        .collect();
    thread::sleep(ms(50));
    assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
    assert!(barrier.remove().expect("answered"));
    for waiting in waiting {
        waiting.join().expect("no panic").expect("open");
    }
}

#[test]
fn b6_wait_is_not_ended_by_cuts_and_expiry_and_is_ended_by_cancel() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    let barrier = barrier(&client);
    barrier.create().expect("made");
    let waiting = {
        let barrier = barrier.clone();
        thread::spawn(move || barrier.wait())
    };
    let other = yard.client();
    for _ in 0..3 {
        proxy.cut();
        thread::sleep(ms(20));
        other.set_data("/a/barrier", "", Version::Any).expect("there");
        let _ = client.remove_watches_local("/a/barrier", WatcherType::Any);
    }
    expire(&proxy, yard.chroot.server(), &session);
    thread::sleep(ms(100));
    assert!(!waiting.is_finished());
    // Removed and made again while nobody can tell: closed is closed.
    proxy.refuse();
    proxy.cut();
    other.delete("/a/barrier", Version::Any).expect("there");
    other.create("/a/barrier", "", CreateMode::Persistent).expect("gone");
    proxy.accept();
    thread::sleep(ms(50));
    assert!(!waiting.is_finished());
    proxy.refuse();
    proxy.cut();
    other.delete("/a/barrier", Version::Any).expect("there");
    proxy.accept();
    waiting.join().expect("no panic").expect("open");
    barrier.create().expect("made");
    let ended = cancelled(|| barrier.cancel(), || barrier.wait());
    assert_recipe(ended, RecipeError::Cancelled, Instant::now(), ms(2_000));
}

#[test]
fn barriers_work_in_callbacks() {
    let yard = Yard::new();
    let client = yard.client();
    barrier(&client).create().expect("made");
    let (own, other) = (client.clone(), yard.client());
    in_callback(&client, move || {
        assert_late(barrier(&own).wait_timeout(ms(20)));
        let removing = thread::spawn(move || barrier(&other).remove());
        barrier(&own).wait().expect("open");
        removing.join().expect("no panic").expect("removed");
        let alone = double(&own, 1).enter().expect("enough");
        alone.leave().expect("alone");
    });
}

// ---- the double one ----

/// Kazoo `test_basic`, `test_two`, `test_three`; Curator `testMultiClient`.
#[test]
fn members_enter_together_and_leave_together() {
    let yard = Yard::new();
    for count in 1..=5 {
        let clients: Vec<_> = (0..count).map(|_| yard.client()).collect();
        let (came, left) = (AtomicI64::new(0), AtomicI64::new(0));
        thread::scope(|scope| {
            for client in &clients {
                let (came, left) = (&came, &left);
                scope.spawn(move || {
                    thread::sleep(ms(fastrand(10)));
                    came.fetch_add(1, Ordering::SeqCst);
                    let inside = double(client, count).enter().expect("all come");
                    assert_eq!(came.load(Ordering::SeqCst), count as i64);
                    thread::sleep(ms(fastrand(10)));
                    left.fetch_add(1, Ordering::SeqCst);
                    inside.leave().expect("all leave");
                    assert_eq!(left.load(Ordering::SeqCst), count as i64);
                });
            }
        });
        assert_eq!(members(&yard), Vec::<String>::new());
    }
}

/// A number below `limit` from the clock: enough to mix up the order of threads.
fn fastrand(limit: u64) -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::from(now.expect("after 1970").subsec_micros()) % limit
}

#[test]
fn rounds_follow_each_other_and_the_price_is_small() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let clients: Vec<_> = (0..3).map(|_| yard.through(&proxy).connect().expect("serves")).collect();
    double(&clients[0], 1).enter().expect("alone").leave().expect("alone");
    proxy.reset_counts();
    let start = Instant::now();
    const ROUNDS: usize = 20;
    let meeting = Meeting::new(3);
    thread::scope(|scope| {
        for client in &clients {
            let meeting = &meeting;
            scope.spawn(move || {
                let barrier = double(client, 3);
                for _ in 0..ROUNDS {
                    let inside = barrier.enter().expect("all come");
                    inside.leave().expect("all leave");
                    meeting.wait();
                }
            });
        }
    });
    let requests = proxy.counts().to_server.requests() as f64 / (3 * ROUNDS) as f64;
    figure(
        "double barrier of 3: time a round, requests a member",
        (start.elapsed() / 20, requests),
    );
    assert!(requests < 16.0, "{requests}");
}

#[test]
fn e13_ready_node_of_an_earlier_time_lets_nobody_in() {
    let yard = Yard::new();
    let clients: Vec<_> = (0..3).map(|_| yard.client()).collect();
    clients[0].ensure_path("/a/double/ready").expect("made");
    let first = enter(&double(&clients[0], 3));
    await_members(&yard, 1);
    let second = enter(&double(&clients[1], 3));
    await_members(&yard, 2);
    thread::sleep(ms(100));
    // Kazoo counts three children here, and passes.
    assert!(!first.is_finished() && !second.is_finished());
    assert!(double(&clients[2], 4).try_enter().expect("answered").is_none());
    await_members(&yard, 2);
    let third = double(&clients[2], 3).enter().expect("complete");
    let inside = [first.join().expect("no panic"), second.join().expect("no panic"), third];
    let leaving = inside.map(|inside| thread::spawn(move || inside.leave()));
    for leaving in leaving {
        leaving.join().expect("no panic").expect("all leave");
    }
    assert_eq!(children(&yard, "/a/double"), Vec::<String>::new());
}

#[test]
fn e13_member_that_dies_while_others_wait_counts_no_more() {
    let yard = Yard::new();
    let (dying, staying) = (yard.client(), yard.client());
    let late = {
        let barrier = double(&dying, 3);
        thread::spawn(move || barrier.enter())
    };
    let first = enter(&double(&staying, 3));
    await_members(&yard, 2);
    dying.close().expect("acknowledged");
    assert!(late.join().expect("no panic").is_err());
    await_members(&yard, 1);
    assert!(double(&staying, 3).try_enter().expect("answered").is_none());
    let second = enter(&double(&staying, 3));
    await_members(&yard, 2);
    thread::sleep(ms(50));
    assert!(!first.is_finished() && !second.is_finished(), "two of three");
    let third = double(&staying, 3).enter().expect("complete");
    drop((first.join().expect("no panic"), second.join().expect("no panic"), third));
    await_members(&yard, 0);
}

#[test]
fn e13_member_that_dies_inside_holds_up_nobody_who_leaves() {
    let yard = Yard::new();
    let clients: Vec<_> = (0..3).map(|_| yard.client()).collect();
    let entering: Vec<_> = clients.iter().map(|client| enter(&double(client, 3))).collect();
    let mut inside: Vec<_> =
        entering.into_iter().map(|entering| entering.join().expect("no panic")).collect();
    inside.sort_by_key(|inside| inside.node().to_owned());
    let lowest = inside.remove(0);
    let leaving: Vec<_> =
        inside.into_iter().map(|inside| thread::spawn(move || inside.leave())).collect();
    await_members(&yard, 1);
    assert!(leaving.iter().all(|leaving| !leaving.is_finished()));
    // The one whom all wait for.
    lowest.session().close().expect("acknowledged");
    for leaving in leaving {
        leaving.join().expect("no panic").expect("nobody is left");
    }
    let left = lowest.leave();
    assert!(matches!(left, Err(Error::Closed { .. })), "{left:?}");
}

/// Curator GH-1290, B6.
#[test]
fn e13_cuts_and_foreign_events_let_nobody_in() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).connect().expect("serves");
    let waiting = enter(&double(&client, 2));
    await_members(&yard, 1);
    for round in 0..5 {
        proxy.cut();
        yard.client().ensure_path(&format!("/a/double/junk{round}")).expect("made");
        client.sync("/").or_else(|_| client.sync("/")).expect("connected");
        let _ = client.remove_watches_local("/a/double/ready", WatcherType::Any);
        thread::sleep(ms(20));
        assert!(!waiting.is_finished(), "round {round}");
    }
    let second = double(&yard.client(), 2).enter().expect("complete");
    drop((waiting.join().expect("no panic"), second));
}

/// Curator `testOverSubscribed`: so many are a threshold, not a limit.
#[test]
fn one_more_than_so_many_passes_too_and_those_of_the_next_round_hold_up_nobody() {
    let yard = Yard::new();
    let client = yard.client();
    let (first, second) = (enter(&double(&client, 2)), enter(&double(&client, 2)));
    let (first, second) = (first.join().expect("no panic"), second.join().expect("no panic"));
    let third = double(&client, 2).enter().expect("enough are inside");
    drop(third);
    await_members(&yard, 2);
    first.leave_timeout(ms(1)).expect_err("the second is inside");
    // One who comes now waits for another; whoever leaves does not wait for him.
    await_members(&yard, 1);
    let next = enter(&double(&client, 2));
    await_members(&yard, 2);
    second.leave().expect("alone, but for the next round");
    await_members(&yard, 1);
    let last = double(&client, 2).enter().expect("complete");
    drop((last, next.join().expect("no panic")));
}

#[test]
fn e4_deadline_cancel_and_lost_answers_leave_no_member_behind() {
    undisturbed(|| {
        let yard = Yard::new();
        let proxy = yard.proxy();
        let client = yard.through(&proxy).connect().expect("serves");
        let barrier = double(&client, 2);
        let start = Instant::now();
        assert_late(barrier.enter_timeout(scaled(ms(100))));
        assert!(start.elapsed() < scaled(ms(250)));
        await_members(&yard, 0);
        let ended = cancelled(|| barrier.cancel(), || barrier.enter());
        assert_recipe(ended, RecipeError::Cancelled, Instant::now(), ms(2_000));
        await_members(&yard, 0);
        eventually("no watch left", patience(), || client.watch_count() == 0);
        // Lost answers make no second member.
        for code in [op::CREATE2, op::EXISTS, op::GET_CHILDREN, op::GET_DATA] {
            proxy.drop_reply_to(code);
            let waiting = enter(&barrier);
            await_members(&yard, 1);
            thread::sleep(ms(30));
            assert_eq!(members(&yard).len(), 1);
            let second = double(&yard.client(), 2).enter().expect("complete");
            proxy.drop_reply_to(op::DELETE);
            let first = waiting.join().expect("no panic");
            let leaving = thread::spawn(move || second.leave());
            first.leave().expect("all leave");
            leaving.join().expect("no panic").expect("all leave");
        }
        // The last one's word to all is lost.
        proxy.drop_reply_to(op::MULTI);
        let waiting = enter(&double(&yard.client(), 2));
        await_members(&yard, 1);
        drop((barrier.enter().expect("complete"), waiting.join().expect("no panic")));
        await_members(&yard, 0);
        // Whoever was the last to leave did so otherwise: that answer was not lost.
        proxy.heal();
        client.sync("/").or_else(|_| client.sync("/")).expect("connected");
        // Given up with the create on its way.
        for code in [op::CREATE2, op::EXISTS] {
            let caught = proxy.caught().len();
            proxy.once(Way::ToServer, Pick::Op(code), 1, Act::Hold);
            assert_late(barrier.enter_timeout(scaled(ms(100))));
            proxy.wait_caught(caught + 1);
            proxy.heal();
            client.sync("/").expect("served");
            await_members(&yard, 0);
        }
    });
}

#[test]
fn waiting_member_comes_again_in_the_next_session_and_after_its_node_was_deleted() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    let waiting = enter(&double(&client, 2));
    await_members(&yard, 1);
    let before = members(&yard);
    expire(&proxy, yard.chroot.server(), &session);
    let start = Instant::now();
    while members(&yard).is_empty() || members(&yard) == before {
        assert!(start.elapsed() < patience());
    }
    // E9: with the whole barrier.
    let before = members(&yard);
    yard.client().delete_recursive("/a").expect("there");
    let start = Instant::now();
    while members(&yard).is_empty() || members(&yard) == before {
        assert!(start.elapsed() < patience());
    }
    let second = double(&yard.client(), 2).enter().expect("complete");
    drop((waiting.join().expect("no panic"), second));
}

#[test]
fn e22_leaving_with_an_expired_session_says_so() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    let inside = double(&client, 1).enter().expect("enough");
    assert!(inside.session().is_alive());
    expire(&proxy, yard.chroot.server(), &session);
    let left = inside.leave();
    assert!(matches!(left, Err(Error::SessionExpired { .. })), "{left:?}");
}

/// Kazoo's is silent, and "not participating".
#[test]
fn parent_that_is_ephemeral_is_told() {
    let yard = Yard::new();
    let client = yard.client();
    client.create("/brief", "", CreateMode::Ephemeral).expect("new");
    for path in ["/brief", "/brief/below"] {
        let double = DoubleBarrier::new(&client, path, 1).expect("legal");
        assert_code(double.enter().map(drop), Code::NoChildrenForEphemerals);
    }
    let barrier = Barrier::new(&client, "/brief/below").expect("legal");
    assert_code(barrier.create(), Code::NoChildrenForEphemerals);
    assert!(barrier.try_wait().expect("answered"), "there is none");
}

#[test]
fn e10_acl_is_on_every_node() {
    let yard = Yard::new();
    let client = we(&yard);
    let barrier = barrier(&client).acl([Acl::creator_all()]);
    barrier.create().expect("made");
    let double = double(&client, 1).acl([Acl::creator_all()]).identifier("me");
    let inside = double.enter().expect("enough");
    assert_ours(&yard, &["/a", "/a/barrier", "/a/double", "/a/double/ready", inside.node()]);
    let mut raw = yard.raw();
    raw.auth("super:test").expect("as in scripts/zk-server");
    assert_eq!(raw.get(&whole(&yard, inside.node())).expect("there").0, b"me");
    inside.leave().expect("alone");
    await_children(&yard, "/a/double", 0);
}
