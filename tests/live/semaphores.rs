//! The semaphore: never more holders than leases, in order, with a maximum that may change.
//!
//! Behaviours of Kazoo's `test_lock.py` (`TestSemaphore`) and of Curator's `TestInterProcessSemaphore`
//! (`testReleaseInChunks`, `testRelease1AtATime`, `testThreadedLeaseIncrease`, `testNoOrphanedNodes`,
//! `testMaxPerSession`, `testAcquireAfterLostServer`), told anew.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use zookeeper_blocking::recipes::{NameStyle, Semaphore, SemaphoreGuard};
use zookeeper_blocking::{Acl, Client, Code, CreateMode, Error, RecipeError, Version};

use crate::clients::{doomed, expire, patience};
use crate::faults::figure;
use crate::locks::{Yard, assert_code, assert_recipe, ms};
use crate::support::calm::undisturbed;
use crate::support::forge::{AUTO, Forge};
use crate::support::proxy::{Act, Pick, Proxy, Way};
use crate::support::server::Place;
use crate::support::wait::{eventually, scaled};
use crate::support::wire::op;

const STYLES: [NameStyle; 2] = [NameStyle::Kazoo, NameStyle::Curator];

fn semaphore(client: &Client, style: NameStyle, max: u32) -> Semaphore {
    Semaphore::new(client, "/sem", max).expect("legal").name_style(style)
}

fn wait_for(semaphore: &Semaphore) -> thread::JoinHandle<SemaphoreGuard> {
    let semaphore = semaphore.clone();
    thread::spawn(move || semaphore.acquire().expect("granted in time"))
}

/// Where the leases are, and where the door is.
fn rooms(style: NameStyle) -> [&'static str; 2] {
    match style {
        NameStyle::Kazoo => ["/sem", "/sem-__lock__"],
        _ => ["/sem/leases", "/sem/locks"],
    }
}

/// How many leases and waiters a witness sees.
fn seen(yard: &Yard, style: NameStyle) -> [usize; 2] {
    let mut raw = yard.raw();
    let count = rooms(style).map(|room| {
        raw.children(&format!("{}{room}", yard.chroot.path())).unwrap_or_default().len()
    });
    raw.close();
    count
}

#[track_caller]
fn await_seen(yard: &Yard, style: NameStyle, wanted: [usize; 2]) {
    let mut last = [0; 2];
    let start = Instant::now();
    while start.elapsed() < patience() {
        last = seen(yard, style);
        if last == wanted {
            return;
        }
        thread::sleep(ms(2));
    }
    panic!("not {wanted:?} leases and waiters but {last:?}");
}

#[test]
fn as_many_hold_as_there_are_leases_and_the_next_waits_its_turn() {
    for style in STYLES {
        let yard = Yard::new();
        let clients: Vec<_> = (0..4).map(|_| yard.client()).collect();
        let semaphores: Vec<_> = clients.iter().map(|client| semaphore(client, style, 2)).collect();
        assert_eq!(semaphores[0].holders().expect("answered"), []);
        let first = semaphores[0].clone().identifier("first").acquire().expect("free");
        let second = semaphores[1].clone().identifier("second").acquire().expect("free");
        assert!(second.fence() > first.fence());
        assert!(semaphores[2].try_acquire().expect("answered").is_none());
        // Who came in leaves the door behind the answer: the next is to be the only one at it.
        await_seen(&yard, style, [2, 0]);
        let third = wait_for(&semaphores[2]);
        await_seen(&yard, style, [2, 1]);
        let fourth = wait_for(&semaphores[3]);
        await_seen(&yard, style, [2, 2]);
        let holders = semaphores[3].holders().expect("answered");
        let who: Vec<_> = holders.iter().map(|holder| holder.identifier_text()).collect();
        assert_eq!(who, ["first", "second"]);
        assert_eq!(holders[0].session_id, clients[0].session_id());
        assert_eq!(holders[0].fence, first.fence());
        let fence = second.fence();
        second.release().expect("held");
        let third = third.join().expect("no panic");
        assert!(third.fence() > fence);
        thread::sleep(ms(30));
        assert!(!fourth.is_finished(), "more holders than leases");
        first.release().expect("held");
        let fourth = fourth.join().expect("no panic");
        assert!(fourth.fence() > third.fence());
        third.release().expect("held");
        drop(fourth);
        await_seen(&yard, style, [0, 0]);
    }
}

#[test]
fn nodes_are_as_each_client_makes_them() {
    let yard = Yard::new();
    let client = yard.client();
    let lease = semaphore(&client, NameStyle::Kazoo, 3).identifier("we").acquire().expect("free");
    assert_eq!(client.get_data("/sem").expect("there").0, b"3");
    let name = lease.node().strip_prefix("/sem/").expect("a child");
    assert!(name.len() == 32 && name.bytes().all(|b| b.is_ascii_hexdigit()), "{name}");
    let (data, stat) = client.get_data(lease.node()).expect("there");
    assert_eq!((&*data, stat.ephemeral_owner), (&b"we"[..], client.session_id()));
    assert_eq!(stat.czxid, lease.fence());
    lease.release().expect("held");

    let curator = Semaphore::new(&client, "/two", 3).expect("legal").name_style(NameStyle::Curator);
    let lease = curator.acquire().expect("free");
    let name = lease.node().strip_prefix("/two/leases/_c_").expect("a protected child");
    assert!(name.contains("-lease-") && name.ends_with("-0000000000"), "{name}");
    let locks = client.exists("/two/locks").expect("answered").expect("made");
    assert_eq!(locks.num_children, 0);
    lease.release().expect("held");
}

#[test]
fn maximum_that_is_not_ours_is_refused_and_one_that_is_no_number_is_not() {
    let yard = Yard::new();
    let client = yard.client();
    let ours = semaphore(&client, NameStyle::Kazoo, 1);
    ours.acquire().expect("free").release().expect("held");
    let other = semaphore(&client, NameStyle::Kazoo, 2);
    let started = Instant::now();
    let within = Duration::from_secs(1);
    assert_recipe(other.acquire().map(drop), RecipeError::LimitMismatch, started, within);
    assert_recipe(other.try_acquire().map(drop), RecipeError::LimitMismatch, started, within);
    assert_recipe(other.get_max(), RecipeError::LimitMismatch, started, within);
    await_seen(&yard, NameStyle::Kazoo, [0, 0]);
    // Kazoo's `test_inconsistent_max_leases_other_data`.
    for data in ["a$", ""] {
        client.set_data("/sem", data, Version::Any).expect("there");
        other.acquire().expect("free").release().expect("held");
    }
    assert_eq!(other.get_max().expect("answered"), 2);
    let refused = other.set_max(3);
    assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
}

#[test]
fn followed_maximum_lets_more_in_and_fewer() {
    let yard = Yard::new();
    let client = yard.client();
    for (style, count) in [(NameStyle::Kazoo, None), (NameStyle::Curator, Some("/count"))] {
        let make = |client: &Client| {
            let semaphore = semaphore(client, style, 1);
            match count {
                Some(path) => semaphore.shared_count(path).expect("legal"),
                None => semaphore.follow_max(),
            }
        };
        let one = make(&client);
        let first = one.acquire().expect("free");
        let waiting = [wait_for(&make(&yard.client())), wait_for(&make(&yard.client()))];
        await_seen(&yard, style, [1, 2]);
        thread::sleep(ms(20));
        one.set_max(3).expect("stored");
        let [second, third] = waiting.map(|waiting| waiting.join().expect("no panic"));
        assert_eq!(one.get_max().expect("answered"), 3);
        if let Some(path) = count {
            assert_eq!(client.get_data(path).expect("there").0, [0, 0, 0, 3]);
        }
        // Fewer: nobody comes in until fewer hold.
        one.set_max(1).expect("stored");
        assert!(first.is_held() && second.is_held() && third.is_held());
        let waiting = wait_for(&make(&yard.client()));
        await_seen(&yard, style, [3, 1]);
        first.release().expect("held");
        second.release().expect("held");
        thread::sleep(ms(30));
        assert!(!waiting.is_finished(), "let in beside as many as there may be");
        third.release().expect("held");
        waiting.join().expect("no panic").release().expect("held");
        one.set_max(0).expect("stored");
        assert!(one.try_acquire().expect("answered").is_none());
    }
}

#[test]
fn several_are_taken_all_or_none_and_given_back_one_by_one() {
    for style in STYLES {
        let yard = Yard::new();
        let client = yard.client();
        let semaphore = semaphore(&client, style, 5);
        for (count, why) in [(0, "none"), (6, "more than there are")] {
            let refused = semaphore.acquire_many(count);
            assert!(matches!(refused, Err(Error::Invalid { .. })), "{why}: {refused:?}");
        }
        let mut three = semaphore.acquire_many(3).expect("free");
        let fences: Vec<_> = three.iter().map(|lease| lease.fence()).collect();
        assert!(fences.is_sorted_by(|a, b| a < b), "{fences:?}");
        assert!(semaphore.try_acquire_many(3).expect("answered").is_none());
        await_seen(&yard, style, [3, 0]);
        let (own, timeout) = (semaphore.clone(), scaled(ms(150)));
        let timed_out = thread::spawn(move || own.acquire_many_timeout(3, timeout));
        let timed_out = timed_out.join().expect("no panic");
        assert!(matches!(timed_out, Err(Error::Timeout { .. })), "{timed_out:?}");
        await_seen(&yard, style, [3, 0]);
        let own = semaphore.clone();
        let waiting = thread::spawn(move || own.acquire_many(4).expect("granted in time"));
        await_seen(&yard, style, [3, 1]);
        // One that wants fewer does not pass it.
        let behind = wait_for(&semaphore);
        await_seen(&yard, style, [3, 2]);
        three.pop().expect("three").release().expect("held");
        thread::sleep(ms(30));
        assert!(!waiting.is_finished() && !behind.is_finished());
        three.pop().expect("two").release().expect("held");
        let four = waiting.join().expect("no panic");
        await_seen(&yard, style, [5, 1]);
        drop(four);
        behind.join().expect("no panic").release().expect("held");
        drop(three);
        await_seen(&yard, style, [0, 0]);
    }
}

#[test]
fn cancel_ends_the_waits_and_a_later_acquire_is_not_concerned() {
    let yard = Yard::new();
    let client = yard.client();
    let semaphore = semaphore(&client, NameStyle::Kazoo, 1);
    let held = semaphore.acquire().expect("free");
    await_seen(&yard, NameStyle::Kazoo, [1, 0]);
    // One behind the door, one in the line before it.
    let waiting: Vec<_> = (0..2)
        .map(|number| {
            let own = semaphore.clone();
            let waiting = thread::spawn(move || own.acquire().map(drop));
            await_seen(&yard, NameStyle::Kazoo, [1, number + 1]);
            waiting
        })
        .collect();
    let started = Instant::now();
    semaphore.cancel();
    for waiting in waiting {
        let result = waiting.join().expect("no panic");
        assert_recipe(result, RecipeError::Cancelled, started, Duration::from_secs(1));
    }
    await_seen(&yard, NameStyle::Kazoo, [1, 0]);
    held.release().expect("held");
    semaphore.acquire().expect("free").release().expect("held");
}

#[test]
fn timed_out_waits_leave_no_watch_and_no_node() {
    for style in STYLES {
        let yard = Yard::new();
        let client = yard.client();
        let held = semaphore(&client, style, 1).acquire().expect("free");
        let waiter = yard.client();
        let own = semaphore(&waiter, style, 1);
        for _ in 0..5 {
            let timed_out = own.acquire_timeout(scaled(ms(60)));
            assert!(matches!(timed_out, Err(Error::Timeout { .. })), "{timed_out:?}");
        }
        await_seen(&yard, style, [1, 0]);
        eventually("no watch is left", patience(), || waiter.watch_count() == 0);
        held.release().expect("held");
    }
}

#[test]
fn waiter_whose_session_expires_gets_its_lease_with_the_next() {
    // Kazoo's `test_handle_session_loss`.
    for style in STYLES {
        let yard = Yard::new();
        let proxy = yard.proxy();
        let (client, session) = doomed(|| yard.through(&proxy));
        let held = semaphore(&yard.client(), style, 1).acquire().expect("free");
        let waiting = wait_for(&semaphore(&client, style, 1));
        await_seen(&yard, style, [1, 1]);
        expire(&proxy, yard.chroot.server(), &session);
        eventually("the next session", patience(), || {
            client.session_id() != session.id() && client.session().is_ok()
        });
        await_seen(&yard, style, [1, 1]);
        held.release().expect("held");
        let lease = waiting.join().expect("no panic");
        assert_eq!(lease.session().id(), client.session_id());
        lease.release().expect("held");
    }
}

#[test]
fn holder_whose_session_expires_is_told_and_its_lease_goes_to_the_next() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    let lost = semaphore(&client, NameStyle::Kazoo, 1).acquire().expect("free");
    let waiting = wait_for(&semaphore(&yard.client(), NameStyle::Kazoo, 1));
    await_seen(&yard, NameStyle::Kazoo, [1, 1]);
    expire(&proxy, yard.chroot.server(), &session);
    let lease = waiting.join().expect("no panic");
    assert!(lease.fence() > lost.fence());
    assert!(lost.wait_lost(patience()).is_some() && !lost.is_held());
    let released = lost.release();
    assert!(matches!(released, Err(Error::SessionExpired { .. })), "{released:?}");
    lease.release().expect("held");
}

#[test]
fn e4_no_lease_and_no_waiter_is_left_behind_whatever_answer_is_lost() {
    for style in STYLES {
        for step in [op::CREATE2, op::GET_CHILDREN, op::GET_DATA] {
            for nth in 1..=2 {
                for way in [Way::ToServer, Way::ToClient] {
                    let yard = Yard::new();
                    let proxy = yard.proxy();
                    let client = yard.through(&proxy).connect().expect("serves");
                    let semaphore = semaphore(&client, style, 1);
                    proxy.once(way, Pick::Op(step), nth, Act::LoseAndCut);
                    // Granted all the same, and one node only.
                    let lease = semaphore.acquire().expect("free");
                    await_seen(&yard, style, [1, 0]);
                    proxy.once(way, Pick::Op(op::DELETE), 1, Act::LoseAndCut);
                    lease.release().expect("held");
                    await_seen(&yard, style, [0, 0]);
                }
            }
        }
    }
}

#[test]
fn e4_wait_that_is_given_up_without_a_connection_is_cleaned_up_after() {
    undisturbed(|| {
        let yard = Yard::new();
        let proxy = yard.proxy();
        let client = yard.through(&proxy).connect().expect("serves");
        let style = NameStyle::Kazoo;
        let held = semaphore(&yard.client(), style, 1).acquire().expect("free");
        let own = semaphore(&client, style, 1);
        let waiting = thread::spawn(move || own.acquire_timeout(scaled(ms(400))));
        await_seen(&yard, style, [1, 1]);
        proxy.refuse();
        proxy.cut();
        let timed_out = waiting.join().expect("no panic");
        assert!(matches!(timed_out, Err(Error::Timeout { .. })), "{timed_out:?}");
        proxy.accept();
        await_seen(&yard, style, [1, 0]);
        held.release().expect("held");
    });
}

#[test]
fn e5_lease_that_is_given_back_wakes_one_of_fifty_waiters() {
    for style in STYLES {
        const WAITERS: usize = 50;
        let yard = Yard::new();
        let proxy = yard.proxy();
        let client = yard.through(&proxy).connect().expect("serves");
        let held = semaphore(&yard.client(), style, 2).acquire_many(2).expect("free");
        let own = semaphore(&client, style, 2);
        let served = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..WAITERS {
                scope.spawn(|| {
                    let lease = own.acquire().expect("granted in time");
                    served.fetch_add(1, Ordering::SeqCst);
                    lease.release().expect("held");
                });
            }
            await_seen(&yard, style, [2, WAITERS]);
            // All but one watch the one before them; that one watches the leases.
            eventually("all watch", patience(), || client.watch_count() == WAITERS);
            proxy.reset_counts();
            drop(held);
        });
        let counts = proxy.counts();
        assert_eq!(served.load(Ordering::SeqCst), WAITERS);
        let per = counts.to_client.notifications as f64 / WAITERS as f64;
        // One for the lease, one for the door.
        assert!(per <= 2.2, "{counts:?}");
        figure("e5: semaphore, notifications a hand-over", per);
    }
}

#[test]
fn e14_crowd_under_faults_never_holds_more_than_the_maximum_and_all_leases_are_usable_at_the_end() {
    const MAX: usize = 3;
    for style in STYLES {
        let yard = Yard::new();
        let proxies: Vec<Proxy> = (0..3).map(|_| yard.proxy()).collect();
        let clients: Vec<Client> = (0..9)
            .map(|number| {
                let builder = yard.through(&proxies[number % 3]).session_timeout(ms(1_000));
                builder.call_timeout(scaled(ms(3_000))).connect().expect("serves")
            })
            .collect();
        // (from, until, fence) of each tenure, as long as its guard said that it was held.
        let tenures = Mutex::new(Vec::new());
        let stop = std::sync::atomic::AtomicBool::new(false);
        thread::scope(|scope| {
            for client in &clients {
                let (tenures, stop) = (&tenures, &stop);
                scope.spawn(move || {
                    let own = semaphore(client, style, MAX as u32);
                    while !stop.load(Ordering::SeqCst) {
                        let Ok(lease) = own.acquire_timeout(scaled(ms(5_000))) else { continue };
                        let from = Instant::now();
                        let mut until = None;
                        loop {
                            // The clock first: this thread may stand still between the two.
                            let now = Instant::now();
                            if !lease.is_held() || now - from >= ms(3) {
                                break;
                            }
                            until = Some(now);
                            thread::sleep(ms(1));
                        }
                        if let Some(until) = until {
                            let tenure = (from, until, lease.fence());
                            tenures.lock().expect("no panic").push(tenure);
                        }
                    }
                });
            }
            // The servers' own view, at many points in time.
            scope.spawn(|| {
                let mut raw = yard.raw();
                let room = format!("{}{}", yard.chroot.path(), rooms(style)[0]);
                while !stop.load(Ordering::SeqCst) {
                    let leases = raw.children(&room).unwrap_or_default();
                    assert!(leases.len() <= MAX, "{leases:?}");
                    thread::sleep(ms(1));
                }
            });
            let started = Instant::now();
            let mut round = 0;
            let held = || tenures.lock().expect("no panic").len();
            // And on a busy machine until there is something to judge.
            while started.elapsed() < Duration::from_secs(4)
                || (held() <= 10 && started.elapsed() < 3 * patience())
            {
                round += 1;
                let proxy = &proxies[round % 3];
                match round % 8 {
                    3 => {
                        proxy.black_hole();
                        thread::sleep(ms(1_200));
                    }
                    0 => proxy.drop_reply_to(op::CREATE2),
                    n if n % 2 == 0 => proxy.drop_reply(1 + n % 3),
                    _ => proxy.cut(),
                }
                thread::sleep(ms(30));
                proxy.heal();
            }
            stop.store(true, Ordering::SeqCst);
        });
        let mut tenures = tenures.into_inner().expect("no panic");
        tenures.sort();
        for (number, (from, _, fence)) in tenures.iter().enumerate() {
            let beside = tenures.iter().take(number).filter(|(_, until, _)| until > from).count();
            assert!(beside < MAX, "{} holders at a time", beside + 1);
            let same = tenures.iter().filter(|tenure| tenure.2 == *fence).count();
            assert_eq!(same, 1, "one fence for two");
        }
        assert!(tenures.len() > 10, "too little happened: {}", tenures.len());
        let own = semaphore(&yard.client(), style, MAX as u32);
        let all = own.acquire_many(MAX as u32).expect("all usable");
        drop(all);
        await_seen(&yard, style, [0, 0]);
        figure("e14: leases held", tenures.len());
    }
}

#[test]
fn e7_numbers_that_run_out_let_in_no_more_than_the_maximum() {
    let mut log = Forge::new().create("/sem", b"", AUTO);
    for parent in ["/sem-__lock__", "/sem/locks", "/sem/leases"] {
        let child = format!("{parent}/x");
        log = log.create(parent, b"", AUTO).create(&child, b"", i32::MAX - 10).delete(&child);
    }
    let server = Place::start_with_log(log.finish());
    for style in STYLES {
        let inside = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let client = Client::connect(&server.connect_string()).expect("serves");
                    let own = semaphore(&client, style, 2);
                    for _ in 0..10 {
                        let lease = own.acquire().expect("granted in time");
                        assert!(inside.fetch_add(1, Ordering::SeqCst) < 2, "too many");
                        thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        lease.release().expect("held");
                    }
                });
            }
        });
    }
}

#[test]
fn e9_nodes_deleted_under_waiters_are_made_again_and_they_go_on() {
    for style in STYLES {
        let yard = Yard::new();
        let client = yard.client();
        let held = semaphore(&client, style, 1).acquire().expect("free");
        let waiting = wait_for(&semaphore(&yard.client(), style, 1));
        await_seen(&yard, style, [1, 1]);
        // An admin clears the place.
        client.delete_recursive("/sem").expect("there");
        let lease = waiting.join().expect("no panic");
        assert!(held.release().is_err(), "its node was deleted");
        lease.release().expect("held");
        for path in ["/sem", "/sem-__lock__"] {
            client.delete_recursive(path).expect("answered");
        }
        let lease = semaphore(&client, style, 1).acquire().expect("made again");
        lease.release().expect("held");
    }
}

#[test]
fn e6_children_that_are_no_leases_are_not_counted() {
    let yard = Yard::new();
    let client = yard.client();
    for style in STYLES {
        let room = rooms(style)[0];
        for junk in ["config", "x-lease-12", "__lock__0000000001"] {
            let path = format!("{room}/{junk}");
            client.create_with_parents(zookeeper_blocking::op::Create::new(path)).expect("new");
        }
        let semaphore = semaphore(&client, style, 1);
        let lease = semaphore.try_acquire().expect("answered").expect("free");
        assert_eq!(semaphore.holders().expect("answered").len(), 1);
        lease.release().expect("held");
        client.delete_recursive("/sem").expect("there");
    }
}

#[test]
fn e10_acl_is_set_on_every_node() {
    let yard = Yard::new();
    let builder = Client::builder(&yard.chroot.connect_string());
    let owner = builder.auth("digest", "we:secret").connect().expect("serves");
    for style in STYLES {
        let semaphore = semaphore(&owner, style, 2).acl([Acl::creator_all()]);
        let lease = semaphore.acquire().expect("free");
        let mut nodes = vec!["/sem", lease.node()];
        nodes.extend(rooms(style));
        for node in nodes {
            let (acl, _) = owner.get_acl(node).expect("ours");
            assert!(acl.len() == 1 && acl[0].id.starts_with("we:"), "{node}: {acl:?}");
        }
        let stranger = Semaphore::new(&yard.client(), "/sem", 2).expect("legal");
        assert_code(stranger.name_style(style).acquire().map(drop), Code::NoAuth);
        lease.release().expect("held");
        owner.delete_recursive("/sem").expect("ours");
        owner.delete_recursive("/sem-__lock__").expect("ours");
    }
}

#[test]
fn acquire_costs_three_round_trips_and_release_one() {
    undisturbed(|| {
        for style in STYLES {
            let yard = Yard::new();
            let proxy = yard.proxy();
            let client = yard.through(&proxy).connect().expect("serves");
            let semaphore = semaphore(&client, style, 2);
            semaphore.acquire().expect("free").release().expect("held");
            proxy.far();
            proxy.reset_counts();
            let lease = semaphore.acquire().expect("free");
            let acquired = proxy.counts().round_trips;
            // What is dropped behind us is none of it.
            client.sync("/").expect("served");
            proxy.reset_counts();
            lease.release().expect("held");
            let released = proxy.counts().round_trips;
            assert_eq!((acquired, released), (3, 1));
            figure("round trips: semaphore acquire, release", (acquired, released));
        }
    });
}

#[test]
fn semaphore_may_be_acquired_in_a_callback() {
    let yard = Yard::new();
    let client = yard.client();
    let held = semaphore(&yard.client(), NameStyle::Kazoo, 1).acquire().expect("free");
    let (tell, told) = std::sync::mpsc::channel();
    let inner = semaphore(&client, NameStyle::Kazoo, 1);
    client
        .submit_with(zookeeper_blocking::op::Exists::new("/"), move |_| {
            let result = inner.acquire().and_then(SemaphoreGuard::release);
            tell.send(result).expect("the test waits");
        })
        .expect("open");
    await_seen(&yard, NameStyle::Kazoo, [1, 1]);
    held.release().expect("held");
    told.recv_timeout(patience()).expect("not stuck").expect("granted and released");
}

#[test]
fn bad_paths_and_numbers_are_refused_at_once() {
    let yard = Yard::new();
    let client = yard.client();
    for (path, max) in [("/", 1), ("", 1), ("/a/", 1), ("/a", 0), ("/a", 1 << 31)] {
        let refused = Semaphore::new(&client, path, max);
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{path} {max}");
    }
    client.create("/x", "", CreateMode::Persistent).expect("new");
}
