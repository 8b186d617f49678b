//! Elections: in the order of asking, seen by all, lost in time, and never two leaders.
//!
//! Behaviours of Kazoo's `test_election.py` and of Curator's `TestLeaderLatch` (`testResetRace`,
//! `testWatchedNodeDeletedOnReconnect`, `testUncreatedPathGetLeader`, `testCallbackNotifyLeader`,
//! `testSessionInterruptionDoNotCauseBrainSplit`) and `TestLeaderSelector` (`testAutoRequeue`,
//! `testKillSessionThenCloseShouldElectNewLeader`), told anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use zookeeper_blocking::recipes::{Election, Leadership, NameStyle, Observer};
use zookeeper_blocking::{Client, Error, Loss, RecipeError, Version};

use crate::clients::{doomed, expire, patience};
use crate::ensemble::trouble::{OverWhenDropped, churn_time};
use crate::faults::figure;
use crate::locks::{Book, Yard, assert_recipe, cancelled, ms, wait_for};
use crate::support::calm::undisturbed;
use crate::support::proxy::{Proxy, Way};
use crate::support::wait::{eventually, scaled};
use crate::support::wire::op;

fn election(client: &Client) -> Election {
    Election::new(client, "/lock").expect("a legal path")
}

fn candidate(yard: &Yard, name: &str) -> Election {
    election(&yard.client()).identifier(name)
}

fn campaign(election: &Election) -> thread::JoinHandle<Leadership> {
    let election = election.clone();
    thread::spawn(move || election.campaign().expect("elected in time"))
}

fn names(election: &Election) -> Vec<String> {
    let contenders = election.contenders().expect("answered");
    contenders.iter().map(|contender| contender.identifier_text()).collect()
}

fn told(observer: &mut Observer) -> Option<String> {
    let leader = observer.recv_timeout(patience()).expect("a change");
    leader.map(|leader| leader.identifier_text())
}

#[test]
fn candidates_lead_in_the_order_of_their_asking_and_may_stand_again() {
    // Kazoo's `test_election`: three candidates, the second is cancelled, the first stands again.
    let yard = Yard::new();
    let elections: Vec<_> = (0..3).map(|n| candidate(&yard, &n.to_string())).collect();
    let (tell, events) = channel();
    let go_on: Vec<_> = (0..3).map(|_| Arc::new(AtomicBool::new(false))).collect();
    let mut threads = Vec::new();
    for (number, election) in elections.iter().enumerate() {
        let (own, tell, go_on) = (election.clone(), tell.clone(), go_on[number].clone());
        threads.push(thread::spawn(move || {
            own.run(|leadership| {
                tell.send((number, leadership.fence())).expect("the test waits");
                while leadership.is_held() && !go_on.load(Ordering::SeqCst) {
                    thread::sleep(ms(1));
                }
                number
            })
        }));
        yard.await_nodes(number + 1);
    }
    let first = events.recv_timeout(patience()).expect("elected");
    assert_eq!(first.0, 0);
    assert_eq!(names(&elections[2]), ["0", "1", "2"]);
    let started = Instant::now();
    elections[1].cancel();
    let cancelled = threads.remove(1).join().expect("no panic");
    assert_recipe(cancelled, RecipeError::Cancelled, started, Duration::from_secs(1));
    yard.await_nodes(2);
    go_on[0].store(true, Ordering::SeqCst);
    assert_eq!(threads.remove(0).join().expect("no panic").expect("led"), 0);
    let third = events.recv_timeout(patience()).expect("elected");
    assert!(third.0 == 2 && third.1 > first.1, "{third:?}");
    let again = campaign(&elections[0]);
    yard.await_nodes(2);
    assert_eq!(names(&elections[1]), ["2", "0"]);
    go_on[2].store(true, Ordering::SeqCst);
    assert_eq!(threads.remove(0).join().expect("no panic").expect("led"), 2);
    let leadership = again.join().expect("no panic");
    assert!(leadership.fence() > third.1);
    leadership.resign().expect("held");
    yard.await_nodes(0);
}

#[test]
fn leader_that_panics_has_resigned() {
    let yard = Yard::new();
    let (first, second) = (candidate(&yard, "first"), candidate(&yard, "second"));
    let leading = thread::spawn(move || first.run(|_| -> () { panic!("in the lead") }));
    assert!(leading.join().is_err(), "the panic comes through");
    second.campaign().expect("elected").resign().expect("held");
    yard.await_nodes(0);
}

#[test]
fn leader_is_seen_from_outside_with_what_it_proclaims() {
    let yard = Yard::new();
    let outside = election(&yard.client());
    assert_eq!(outside.leader().expect("answered"), None, "the path does not even exist");
    let mut observer = outside.observe();
    assert_eq!(told(&mut observer), None);
    let quiet = observer.recv_timeout(ms(30));
    assert!(matches!(quiet, Err(Error::Timeout { .. })), "{quiet:?}");
    let first = candidate(&yard, "first").campaign().expect("free");
    assert_eq!(told(&mut observer).as_deref(), Some("first"));
    let leader = outside.leader().expect("answered").expect("one");
    assert_eq!((leader.fence, leader.session_id), (first.fence(), first.session().id()));
    first.proclaim("first at host:1").expect("held");
    assert_eq!(told(&mut observer).as_deref(), Some("first at host:1"));
    let second = campaign(&candidate(&yard, "second"));
    yard.await_nodes(2);
    let quiet = observer.recv_timeout(ms(30));
    assert!(matches!(quiet, Err(Error::Timeout { .. })), "a candidate is no leader: {quiet:?}");
    first.resign().expect("held");
    assert_eq!(told(&mut observer).as_deref(), Some("second"));
    second.join().expect("no panic").resign().expect("held");
    assert_eq!(told(&mut observer), None);
    // The election's node goes, and comes back.
    yard.client().delete("/lock", Version::Any).expect("empty");
    let third = candidate(&yard, "third").campaign().expect("made again");
    assert_eq!(told(&mut observer).as_deref(), Some("third"));
    drop(third);
    assert_eq!(told(&mut observer), None);
}

#[test]
fn cancel_ends_an_observation_and_its_drop_takes_the_watch_back() {
    let yard = Yard::new();
    let client = yard.client();
    let outside = election(&client);
    let mut observer = outside.observe();
    assert_eq!(told(&mut observer), None);
    let started = Instant::now();
    let result = cancelled(|| outside.cancel(), || observer.recv());
    assert_recipe(result, RecipeError::Cancelled, started, Duration::from_secs(1));
    assert_eq!(client.watch_count(), 1);
    drop(observer);
    eventually("no watch is left", patience(), || client.watch_count() == 0);
}

#[test]
fn observer_goes_on_in_the_next_session() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    let mut observer = election(&client).observe();
    let first = candidate(&yard, "first").campaign().expect("free");
    assert_eq!(told(&mut observer).as_deref(), Some("first"));
    expire(&proxy, yard.chroot.server(), &session);
    let quiet = observer.recv_timeout(ms(100));
    assert!(matches!(quiet, Err(Error::Timeout { .. })), "nothing changed: {quiet:?}");
    proxy.refuse();
    proxy.cut();
    first.proclaim("while away").expect("held");
    proxy.accept();
    assert_eq!(told(&mut observer).as_deref(), Some("while away"));
    first.resign().expect("held");
    assert_eq!(told(&mut observer), None);
}

#[test]
fn lost_leadership_is_told_before_another_leads_and_proclaims_nothing() {
    undisturbed(|| {
        let yard = Yard::new();
        let proxy = yard.proxy();
        let client = yard.through(&proxy).session_timeout(ms(1_000)).connect().expect("serves");
        let first = election(&client).identifier("first").campaign().expect("free");
        let second = candidate(&yard, "second");
        let elected = thread::spawn(move || (second.campaign().expect("elected"), Instant::now()));
        yard.await_nodes(2);
        proxy.black_hole();
        assert_eq!(first.wait_lost(patience()), Some(Loss::Silence));
        let lost = Instant::now();
        let (second, at) = elected.join().expect("no panic");
        assert!(lost < at, "told {:?} too late", lost - at);
        assert!(second.fence() > first.fence() && !first.is_held());
        proxy.heal();
        let refused = first.proclaim("late");
        assert!(matches!(refused, Err(Error::SessionExpired { .. })), "{refused:?}");
        let leader = election(&yard.client()).leader().expect("answered").expect("one");
        assert_eq!(leader.identifier_text(), "second");
        second.resign().expect("held");
        figure("election: from loss to the next leader", at - lost);
    });
}

#[test]
fn proclaiming_without_the_node_tells_that_it_is_not_held() {
    let yard = Yard::new();
    let client = yard.client();
    let leadership = election(&client).campaign().expect("free");
    client.delete(leadership.node(), Version::Any).expect("there");
    let started = Instant::now();
    assert_recipe(leadership.proclaim("x"), RecipeError::NotHeld, started, ms(1_000));
    assert_recipe(leadership.resign(), RecipeError::NotHeld, started, ms(1_000));
}

#[test]
fn candidate_whose_predecessor_went_while_it_was_away_leads_on_its_return() {
    // Curator's `testWatchedNodeDeletedOnReconnect`.
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).connect().expect("serves");
    let first = candidate(&yard, "first").campaign().expect("free");
    let second = campaign(&election(&client));
    yard.await_nodes(2);
    proxy.refuse();
    proxy.cut();
    first.resign().expect("held");
    thread::sleep(ms(20));
    assert!(!second.is_finished());
    proxy.accept();
    second.join().expect("no panic").resign().expect("held");
}

#[test]
fn candidate_whose_node_was_deleted_stands_again() {
    // Curator's resets: CURATOR-644, CURATOR-645, CURATOR-724.
    let yard = Yard::new();
    let client = yard.client();
    let first = candidate(&yard, "first").campaign().expect("free");
    let election = candidate(&yard, "second");
    let second = campaign(&election);
    yard.await_nodes(2);
    let lost = election.contenders().expect("answered").pop().expect("two").node;
    client.delete(&format!("/lock/{lost}"), Version::Any).expect("there");
    // It finds out when it looks: when the one before it goes.
    first.resign().expect("held");
    let leadership = second.join().expect("no panic");
    assert!(!leadership.node().ends_with(&lost));
    leadership.resign().expect("held");
    yard.await_nodes(0);
}

#[test]
fn e1_cut_and_expired_candidates_never_lead_together() {
    let yard = Yard::new();
    let (book, stop) = (Book::default(), AtomicBool::new(false));
    let proxies: Vec<Proxy> = (0..3).map(|_| yard.proxy()).collect();
    let mut rounds = 0_usize;
    thread::scope(|scope| {
        for proxy in &proxies {
            let client = yard.through(proxy).session_timeout(ms(1_000)).connect();
            let client = client.expect("serves");
            let (book, stop) = (&book, &stop);
            scope.spawn(move || {
                let election = election(&client);
                while !stop.load(Ordering::SeqCst) {
                    let Ok(lead) = election.campaign_timeout(scaled(ms(3_000))) else { continue };
                    book.hold(&lead, ms(2));
                }
            });
        }
        let started = Instant::now();
        // And on a busy machine until there is something to judge.
        while started.elapsed() < Duration::from_secs(4)
            || (book.len() <= 20 && started.elapsed() < 3 * patience())
        {
            rounds += 1;
            let proxy = &proxies[rounds % 3];
            match rounds % 10 {
                4 => {
                    proxy.black_hole();
                    thread::sleep(ms(1_200));
                }
                7 => {
                    proxy.hold_both();
                    thread::sleep(ms(500));
                }
                n if n % 2 == 0 => proxy.drop_reply(1 + n % 3),
                _ => proxy.cut(),
            }
            thread::sleep(ms(40));
            proxy.heal();
        }
        stop.store(true, Ordering::SeqCst);
    });
    let led = book.judge();
    assert!(led > 20, "too little happened: {led}");
    yard.await_nodes(0);
    figure("e1: election: faults, times led", (rounds, led));
}

/// `ZK_TEST_CHURN_S` says how many seconds (4 by default).
#[test]
fn e2_cuts_bring_no_storm_of_nodes_and_a_leader_is_found_soon_after_the_last() {
    undisturbed(|| {
        const CANDIDATES: usize = 5;
        let yard = Yard::new();
        let proxies: Vec<Proxy> = (0..CANDIDATES).map(|_| yard.proxy()).collect();
        let stop = AtomicBool::new(false);
        let (faults, elected) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let timeout = scaled(ms(4_000));
        thread::scope(|scope| {
            let _over = OverWhenDropped(&stop);
            for proxy in &proxies {
                let client =
                    yard.through(proxy).session_timeout(timeout).connect().expect("serves");
                let (stop, elected) = (&stop, &elected);
                scope.spawn(move || {
                    let election = election(&client);
                    while !stop.load(Ordering::SeqCst) {
                        let Ok(lead) = election.campaign_timeout(scaled(ms(500))) else { continue };
                        elected.fetch_add(1, Ordering::SeqCst);
                        // Leads until it is lost, or the test is over.
                        while lead.is_held() && !stop.load(Ordering::SeqCst) {
                            thread::sleep(ms(2));
                        }
                    }
                });
            }
            let created = || -> usize {
                let ops = |proxy: &Proxy| proxy.counts().to_server.ops.get(&op::CREATE2).copied();
                proxies.iter().filter_map(ops).sum()
            };
            eventually("the first leader", patience(), || elected.load(Ordering::SeqCst) == 1);
            let started = Instant::now();
            let mut rng = 7_usize;
            let time = churn_time(4);
            while started.elapsed() < time {
                rng = rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                proxies[(rng >> 33) % CANDIDATES].cut();
                faults.fetch_add(1, Ordering::SeqCst);
                thread::sleep(ms(20 + ((rng >> 40) % 60) as u64));
            }
            let outside = election(&yard.client());
            eventually("a leader", 2 * timeout, || outside.leader().is_ok_and(|it| it.is_some()));
            let (created, faults) = (created(), faults.load(Ordering::SeqCst));
            // Those that gave up after 500 ms and stood again made nodes too.
            let turns = CANDIDATES * (started.elapsed().as_millis() as usize / 500 + 1);
            assert!(created <= 2 * faults + turns, "{created} nodes, {faults} faults");
            assert_eq!(elected.load(Ordering::SeqCst), 1, "a cut costs no leadership");
            let leaders = elected.load(Ordering::SeqCst);
            figure("e2: cuts, nodes created, leaders", (faults, created, leaders));
        });
        yard.await_nodes(0);
    });
}

#[test]
fn nodes_have_the_names_of_each_style_and_queue_together_with_locks() {
    let yard = Yard::new();
    let curator = candidate(&yard, "curator").name_style(NameStyle::Curator);
    let first = curator.campaign().expect("free");
    assert!(first.node().contains("/_c_") && first.node().contains("-latch-"), "{first:?}");
    let second = campaign(&candidate(&yard, "kazoo"));
    yard.await_nodes(2);
    let lock = wait_for(&yard.lock().identifier("lock"));
    yard.await_nodes(3);
    assert_eq!(names(&curator), ["curator", "kazoo", "lock"]);
    assert!(curator.try_campaign().expect("answered").is_none());
    first.resign().expect("held");
    second.join().expect("no panic").resign().expect("held");
    drop(lock.join().expect("no panic"));
}

#[test]
fn hand_over_is_one_notification_and_one_look() {
    undisturbed(|| {
        let yard = Yard::new();
        let proxy = yard.proxy();
        let client = yard.through(&proxy).connect().expect("serves");
        let first = candidate(&yard, "first").campaign().expect("free");
        let waiting: Vec<_> = (0..20)
            .map(|number| {
                let waiting = campaign(&election(&client));
                yard.await_nodes(number + 2);
                waiting
            })
            .collect();
        eventually("all wait", patience(), || client.watch_count() == 20);
        proxy.far();
        proxy.reset_counts();
        first.resign().expect("held");
        let mut waiting = waiting.into_iter();
        let second = waiting.next().expect("twenty").join().expect("no panic");
        let counts = proxy.counts();
        assert_eq!(counts.to_client.notifications, 1);
        assert_eq!((counts.to_server.requests(), counts.round_trips), (1, 1), "{counts:?}");
        figure("round trips: election hand-over", counts.round_trips);
        drop(second);
        for next in waiting {
            next.join().expect("no panic").resign().expect("held");
        }
        let counts = proxy.counts();
        assert!(counts.to_client.notifications <= 20, "{counts:?}");
    });
}

#[test]
fn election_may_be_held_in_a_callback_and_timed_out_candidates_leave_nothing() {
    undisturbed(|| {
        let yard = Yard::new();
        let client = yard.client();
        let first = candidate(&yard, "first").campaign().expect("free");
        let timed_out = election(&client).campaign_timeout(scaled(ms(80)));
        assert!(matches!(timed_out, Err(Error::Timeout { .. })), "{timed_out:?}");
        yard.await_nodes(1);
        eventually("no watch is left", patience(), || client.watch_count() == 0);
        let (tell, told) = channel();
        let inner = election(&client);
        client
            .submit_with(zookeeper_blocking::op::Exists::new("/"), move |_| {
                tell.send(inner.run(|leadership| leadership.fence())).expect("the test waits");
            })
            .expect("open");
        yard.await_nodes(2);
        let fence = first.fence();
        first.resign().expect("held");
        let led = told.recv_timeout(patience()).expect("not stuck").expect("elected");
        assert!(led > fence);
        yard.await_nodes(0);
        // The hold of both directions at once, for a deadline without any answer.
        let proxy = yard.proxy();
        let client = yard.through(&proxy).connect().expect("serves");
        proxy.hold(Way::ToServer);
        let started = Instant::now();
        let timed_out = election(&client).campaign_timeout(scaled(ms(100)));
        assert!(matches!(timed_out, Err(Error::Timeout { .. })), "{timed_out:?}");
        assert!(started.elapsed() <= scaled(ms(300)));
        proxy.heal();
        client.sync("/").expect("served");
        yard.await_nodes(0);
    });
}
