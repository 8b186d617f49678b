//! Leases: one holder until the end, by the leader's clock, with a fence that grows.
//!
//! Behaviours of Kazoo's `test_lease.py`, told anew; its made-up clock is the leader's here, so the
//! leases are short.

use std::thread;
use std::time::{Duration, Instant};

use zookeeper_blocking::recipes::{HeldLease, Lease, MultiLease};
use zookeeper_blocking::{Acl, Client, Error, RecipeError, Version};

use crate::clients::{doomed, expire, patience};
use crate::faults::figure;
use crate::locks::{Yard, assert_recipe, ms};
use crate::support::calm::undisturbed;
use crate::support::proxy::{Act, Pick, Way};
use crate::support::wait::{eventually, scaled};
use crate::support::wire::op;

const LONG: Duration = Duration::from_secs(600);

fn lease(client: &Client, holder: &str, duration: Duration) -> Lease {
    Lease::new(client, "/lock", holder, duration).expect("legal")
}

fn take(lease: &Lease) -> Option<HeldLease> {
    lease.try_acquire().expect("answered")
}

/// Waits until only the record is left: whoever wrote it is gone from the line.
#[track_caller]
fn await_record_alone(yard: &Yard) {
    eventually("only the record", patience(), || yard.nodes() == ["lease_holder"]);
}

#[test]
fn lease_is_refused_to_others_renewed_by_its_holder_and_taken_over_at_its_end() {
    undisturbed(|| {
        let yard = Yard::new();
        let (one, two) = (yard.client(), yard.client());
        let (short, other) = (lease(&one, "one", ms(2_000)), lease(&two, "two", LONG));
        assert_eq!(other.holder().expect("answered"), None);
        let first = take(&short).expect("free");
        assert!(first.is_held() && take(&other).is_none());
        let holder = other.holder().expect("answered").expect("one");
        assert_eq!((&*holder.holder, holder.fence), ("one", first.fence()));
        // Renewed before its end: the end moves.
        thread::sleep(ms(1_100));
        let again = take(&short).expect("ours");
        assert!(again.fence() > first.fence() && again.deadline() > first.deadline());
        assert!(take(&other).is_none());
        eventually("the end", patience(), || take(&other).is_some());
        assert!(!again.is_held(), "taken over before its end");
        let second = other.holder().expect("answered").expect("one");
        assert!(second.holder == "two" && second.fence > again.fence());
        // The one that was overtaken is refused, the one that overtook renews.
        assert!(take(&short).is_none());
        assert!(take(&other).expect("its own").fence() > second.fence);
        await_record_alone(&yard);
    });
}

#[test]
fn record_is_kazoos_byte_for_byte_with_the_leaders_time() {
    let yard = Yard::new();
    let client = yard.client();
    let held = take(&lease(&client, "caf\u{e9} \"7\"", LONG)).expect("free");
    let (data, stat) = client.get_data("/lock/lease_holder").expect("there");
    let text = String::from_utf8(data).expect("ASCII");
    let end = text.strip_prefix(r#"{"version": 1, "holder": "caf\u00e9 \"7\"", "end": ""#);
    let end = end.and_then(|rest| rest.strip_suffix("\"}")).expect("Kazoo's form");
    assert_eq!(end.len(), "2026-11-26T13:00:00".len(), "{end}");
    assert_eq!((stat.ephemeral_owner, stat.czxid), (0, held.fence()));
    let holder = lease(&client, "x", LONG).holder().expect("answered").expect("one");
    let exact = stat.ctime_ms + 600_000;
    let late = exact - holder.end_s * 1000;
    assert!((0..2_000).contains(&late), "{late} ms early");
    // Ours counts it over no later.
    let left = held.deadline() - Instant::now();
    assert!(left <= LONG && left > LONG - Duration::from_secs(3), "{left:?}");
}

#[test]
fn lease_outlives_its_client_and_its_session() {
    let yard = Yard::new();
    let client = yard.client();
    let held = take(&lease(&client, "gone", LONG)).expect("free");
    client.close().expect("acknowledged");
    assert!(held.is_held(), "a lease is no ephemeral node");
    drop(held);
    assert!(take(&lease(&yard.client(), "other", LONG)).is_none());
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    let own = lease(&client, "gone", LONG);
    let held = take(&own).expect("the same name");
    expire(&proxy, yard.chroot.server(), &session);
    eventually("the next session", patience(), || client.session_id() != session.id());
    let again = held.renew().expect("answered").expect("ours still");
    assert!(again.fence() > held.fence());
    again.release().expect("ours");
    assert!(take(&lease(&yard.client(), "other", LONG)).is_some());
}

#[test]
fn renewal_is_for_the_lease_itself_and_not_for_its_name() {
    let yard = Yard::new();
    let (one, two) = (yard.client(), yard.client());
    let first = take(&lease(&one, "same", LONG)).expect("free");
    let second = take(&lease(&two, "same", LONG)).expect("as Kazoo, by the name");
    assert!(second.fence() > first.fence());
    assert!(first.renew().expect("answered").is_none(), "taken over meanwhile");
    let started = Instant::now();
    assert_recipe(first.release(), RecipeError::NotHeld, started, ms(2_000));
    let third = second.renew().expect("answered").expect("the present one");
    assert!(third.fence() > second.fence());
    third.release().expect("ours");
    assert_eq!(lease(&one, "x", LONG).holder().expect("answered"), None);
    await_gone(&yard);
}

#[track_caller]
fn await_gone(yard: &Yard) {
    eventually("nothing left", patience(), || yard.nodes().is_empty());
}

#[test]
fn wait_ends_with_the_lease_of_another_or_with_its_release() {
    let yard = Yard::new();
    let (one, two) = (yard.client(), yard.client());
    let short = take(&lease(&one, "one", ms(1_500))).expect("free");
    let long = lease(&two, "two", LONG);
    let second = long.acquire().expect("granted at the end");
    assert!(Instant::now() >= short.deadline(), "before the end");
    assert!(second.fence() > short.fence());
    let own = lease(&one, "one", LONG);
    let timed_out = own.acquire_timeout(scaled(ms(150)));
    assert!(matches!(timed_out, Err(Error::Timeout { .. })), "{timed_out:?}");
    eventually("no watch is left", patience(), || one.watch_count() == 0);
    let (waiter, started) = (own.clone(), Instant::now());
    let waiting = thread::spawn(move || waiter.acquire());
    eventually("it watches", patience(), || one.watch_count() == 1);
    own.cancel();
    let cancelled = waiting.join().expect("no panic");
    assert_recipe(cancelled, RecipeError::Cancelled, started, patience());
    eventually("no watch is left", patience(), || one.watch_count() == 0);
    let waiting = thread::spawn(move || own.acquire().expect("granted in time"));
    eventually("it watches", patience(), || one.watch_count() == 1);
    let fence = second.fence();
    second.release().expect("ours");
    assert!(waiting.join().expect("no panic").fence() > fence);
    await_record_alone(&yard);
}

#[test]
fn newer_version_is_left_alone_and_junk_is_told() {
    let yard = Yard::new();
    let client = yard.client();
    let own = lease(&client, "one", LONG);
    assert!(take(&own).is_some());
    // Kazoo's `test_overtake_refuse`/`test_old_version_crashes`: another version is nobody's to take.
    client.set_data("/lock/lease_holder", "{\"version\": 2}", Version::Any).expect("there");
    assert!(take(&own).is_none());
    assert_eq!(own.holder().expect("answered"), None);
    client.set_data("/lock/lease_holder", "junk", Version::Any).expect("there");
    let started = Instant::now();
    assert_recipe(own.try_acquire(), RecipeError::Unreadable, started, ms(2_000));
    assert_recipe(own.holder(), RecipeError::Unreadable, started, ms(2_000));
    await_record_alone(&yard);
}

#[test]
fn slots_are_taken_from_the_first_on() {
    undisturbed(|| {
        let yard = Yard::new();
        let clients: Vec<_> = (0..3).map(|_| yard.client()).collect();
        let multi = |number: usize, duration| {
            let name = format!("{number}");
            MultiLease::new(&clients[number], "/slots", &name, 2, duration).expect("legal")
        };
        let taken = |lease: &MultiLease| lease.try_acquire().expect("answered");
        let first = taken(&multi(0, LONG)).expect("free");
        let second = taken(&multi(1, ms(1_200))).expect("free");
        assert!(taken(&multi(2, LONG)).is_none());
        assert!(taken(&multi(0, LONG)).expect("its own").fence() > first.fence());
        assert_eq!(clients[0].get_children("/slots").expect("there").len(), 2);
        eventually("the end of one", patience(), || taken(&multi(2, LONG)).is_some());
        assert!(!second.is_held());
        assert!(taken(&multi(1, LONG)).is_none());
    });
}

#[test]
fn e18_crowd_never_has_two_holders_and_every_fence_is_larger() {
    let yard = Yard::new();
    let book = crate::locks::Book::default();
    let stop = Instant::now() + Duration::from_secs(7);
    let last = stop + 2 * patience();
    thread::scope(|scope| {
        for number in 0..4 {
            let (client, book) = (yard.client(), &book);
            scope.spawn(move || {
                let own = lease(&client, &number.to_string(), ms(1_300));
                // And on a busy machine until there is something to judge.
                while Instant::now() < stop || (book.len() <= 5 && Instant::now() < last) {
                    let Ok(held) = own.acquire_timeout(scaled(ms(2_000))) else { continue };
                    let from = Instant::now();
                    let mut until = from;
                    loop {
                        // The clock first: this thread may stand still between the two.
                        let now = Instant::now();
                        if !held.is_held() || now - from >= ms(300) {
                            break;
                        }
                        until = now;
                        thread::sleep(ms(1));
                    }
                    book.note(held.fence(), from, until);
                    // Some give it up, some let it run out.
                    if number % 2 == 0 && held.is_held() {
                        let end = held.deadline();
                        match held.release() {
                            Ok(()) => {}
                            // Its time came to an end on the way, and another was faster.
                            Err(Error::Recipe { why: RecipeError::NotHeld, .. })
                                if Instant::now() > end => {}
                            other => panic!("{other:?}"),
                        }
                    }
                }
            });
        }
    });
    let held = book.judge();
    assert!(held > 5, "too little happened: {held}");
    figure("e18: leases held", held);
    await_only_records(&yard);
}

#[track_caller]
fn await_only_records(yard: &Yard) {
    eventually("nobody in the line", patience(), || {
        yard.nodes().iter().all(|node| node == "lease_holder")
    });
}

#[test]
fn e4_lost_answers_make_no_second_lease_and_leave_nobody_in_the_line() {
    let yard = Yard::new();
    for step in [op::CREATE2, op::GET_CHILDREN, op::SET_DATA, op::GET_DATA, op::MULTI] {
        for way in [Way::ToServer, Way::ToClient] {
            let proxy = yard.proxy();
            let client = yard.through(&proxy).connect().expect("serves");
            let own = lease(&client, "one", LONG);
            proxy.once(way, Pick::Op(step), 1, Act::LoseAndCut);
            let held = take(&own).expect("free");
            let (_, stat) = client.get_data("/lock/lease_holder").expect("there");
            assert_eq!(stat.czxid, held.fence(), "{step}");
            proxy.once(way, Pick::Op(step), 1, Act::LoseAndCut);
            let renewed = held.renew().expect("answered").expect("ours");
            assert!(renewed.fence() > held.fence(), "{step}");
            proxy.once(way, Pick::Op(step), 1, Act::LoseAndCut);
            renewed.release().expect("ours");
            await_gone(&yard);
        }
    }
}

#[test]
fn line_node_deleted_by_hand_is_no_reason_to_give_up() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).connect().expect("serves");
    let own = lease(&client, "one", LONG);
    for step in [op::SET_DATA, op::MULTI] {
        let caught = proxy.caught().len();
        proxy.once(Way::ToServer, Pick::Op(step), 1, Act::Hold);
        let taking = own.clone();
        let taking = thread::spawn(move || take(&taking).expect("ours"));
        proxy.wait_caught(caught + 1);
        let mut raw = yard.raw();
        for node in yard.nodes().iter().filter(|node| *node != "lease_holder") {
            raw.delete(&format!("{}/{node}", yard.path()), -1).expect("there");
        }
        proxy.heal();
        let held = taking.join().expect("no panic");
        let (_, stat) = client.get_data("/lock/lease_holder").expect("there");
        assert_eq!(stat.czxid, held.fence());
        await_record_alone(&yard);
    }
}

#[test]
fn e10_acl_is_set_on_every_node_and_taking_costs_three_round_trips() {
    undisturbed(|| {
        let yard = Yard::new();
        let proxy = yard.proxy();
        let builder = yard.through(&proxy).auth("digest", "we:secret");
        let owner = builder.connect().expect("serves");
        let own = lease(&owner, "one", LONG).acl([Acl::creator_all()]);
        assert!(take(&own).is_some());
        for node in ["/lock", "/lock/lease_holder"] {
            let (acl, _) = owner.get_acl(node).expect("ours");
            assert!(acl.len() == 1 && acl[0].id.starts_with("we:"), "{node}: {acl:?}");
        }
        owner.sync("/").expect("served");
        proxy.far();
        proxy.reset_counts();
        assert!(take(&own).is_some());
        assert_eq!(proxy.counts().round_trips, 3, "{:?}", proxy.counts());
        figure("round trips: lease", proxy.counts().round_trips);
    });
}

#[test]
fn bad_durations_and_names_are_refused_at_once() {
    let yard = Yard::new();
    let client = yard.client();
    let year = Duration::from_secs(365 * 24 * 3600);
    for (path, holder, duration) in [
        ("/", "h", LONG),
        ("lock", "h", LONG),
        ("/lock", "", LONG),
        ("/lock", "h", ms(999)),
        ("/lock", "h", year * 101),
    ] {
        let refused = Lease::new(&client, path, holder, duration);
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{path} {holder} {duration:?}");
    }
    let refused = MultiLease::new(&client, "/lock", "h", 0, LONG);
    assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
}
