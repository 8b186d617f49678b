//! Shares of a set: by Kazoo's rule, held by locks, and never by two at a time.
//!
//! Retold by behaviour: Kazoo `test_partitioner.py` (`test_party_of_one`, `test_party_of_two`,
//! `test_party_expansion`, `test_more_members_than_set_items`, `test_party_session_failure`,
//! `test_connection_loss`, `test_race_condition_new_partitioner_during_the_lock`,
//! `test_race_condition_new_partitioner_steals_the_lock`). Failure is not the end here: the member
//! joins again. And a lost connection that the session survives does not take the share away.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use zookeeper_blocking::recipes::{
    Lock, Partition, PartitionMember, PartitionState, Partitioner, ShallowParty,
};
use zookeeper_blocking::{Acl, Client, Code, CreateMode, Error, RecipeError, Version};

use crate::clients::{doomed, expire, patience};
use crate::faults::figure;
use crate::locks::{Yard, assert_code, assert_recipe, ms};
use crate::nodes::{assert_ours, await_children, children, in_callback, we};
use crate::support::calm::undisturbed;
use crate::support::proxy::{Act, Pick, Way};
use crate::support::wait::{eventually, scaled};
use crate::support::wire::op;

const ITEMS: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];

fn partitioner(client: &Client, identifier: &str) -> Partitioner<&'static str> {
    let partitioner = Partitioner::new(client, "/set", identifier, ITEMS).expect("legal");
    partitioner.settle(scaled(ms(40)))
}

fn join(client: &Client, identifier: &str) -> PartitionMember<&'static str> {
    partitioner(client, identifier).join().expect("joined")
}

fn items(partition: &Partition<&'static str>) -> Vec<&'static str> {
    partition.items().copied().collect()
}

#[track_caller]
fn await_state(partition: &Partition<&'static str>, wanted: PartitionState) {
    assert_eq!(partition.wait_change(patience()), wanted);
}

/// All of them acquire at the same time, as they must: each waits for what another has.
#[track_caller]
fn acquire_all<'m>(
    members: impl IntoIterator<Item = &'m PartitionMember<&'static str>>,
) -> Vec<Partition<&'static str>> {
    thread::scope(|scope| {
        let each = members.into_iter().map(|member| {
            scope.spawn(|| member.acquire_timeout(patience()).expect("acquired in time"))
        });
        let each: Vec<_> = each.collect();
        each.into_iter().map(|one| one.join().expect("no panic")).collect()
    })
}

#[test]
fn shares_are_kazoos_slices_and_follow_the_party() {
    let yard = Yard::new();
    let client = yard.client();
    // Named so that the order of joining is not that of the names.
    let second = join(&client, "n");
    let alone = second.acquire().expect("free");
    assert_eq!((items(&alone), alone.state()), (ITEMS.to_vec(), PartitionState::Acquired));
    let first = join(&client, "m");
    await_state(&alone, PartitionState::Release);
    assert!(alone.is_held(), "until it is given up");
    alone.release().expect("held");
    let two = acquire_all([&first, &second]);
    assert_eq!(items(&two[0]), ["a", "c", "e", "g"]);
    assert_eq!(items(&two[1]), ["b", "d", "f"]);
    let third = join(&yard.client(), "o");
    for partition in two {
        await_state(&partition, PartitionState::Release);
        partition.release().expect("held");
    }
    let three = acquire_all([&first, &second, &third]);
    let shares: Vec<_> = three.iter().map(items).collect();
    assert_eq!(shares, [vec!["a", "d", "g"], vec!["b", "e"], vec!["c", "f"]]);
    assert_eq!(partitioner(&client, "x").members().expect("answered"), ["m", "n", "o"]);
    let mut three = three.into_iter();
    three.next().expect("three").release().expect("held");
    first.leave().expect("was there");
    for partition in three {
        await_state(&partition, PartitionState::Release);
        partition.release().expect("held");
    }
    let two = acquire_all([&second, &third]);
    assert_eq!([items(&two[0]).len(), items(&two[1]).len()], [4, 3]);
}

#[test]
fn layout_is_kazoos() {
    let yard = Yard::new();
    let client = yard.client();
    let numbers = Partitioner::new(&client, "/set", "worker-7", [10, 9, 10]).expect("legal");
    assert_eq!(numbers.items(), [9, 10], "by number, as Python sorts numbers");
    let member = numbers.join().expect("joined");
    let partition = member.acquire().expect("free");
    assert_eq!(children(&yard, "/set"), ["locks", "party"]);
    assert_eq!(children(&yard, "/set/locks"), ["10", "9"]);
    let party = children(&yard, "/set/party");
    let (hex, identifier) = party[0].split_once('-').expect("two parts");
    assert_eq!((party.len(), hex.len(), identifier), (1, 32, "worker-7"));
    let node = member.membership().node().to_owned();
    assert_eq!(client.get_data(&node).expect("there").0, b"worker-7");
    let lock = children(&yard, "/set/locks/9");
    assert_eq!(lock, [format!("{}__lock__0000000000", &lock[0][..32])]);
    let hold = partition.hold(&9).expect("ours");
    assert_eq!(hold.node(), format!("/set/locks/9/{}", lock[0]));
    assert_eq!(hold.fence(), client.exists(hold.node()).expect("answered").expect("there").czxid);
    assert!(partition.hold(&11).is_none());
    for (_, hold) in partition.iter() {
        hold.transaction().set_data("/set", "written", Version::Any).commit().expect("held");
    }
    partition.release().expect("held");
    assert_eq!(children(&yard, "/set/locks/9"), Vec::<String>::new());
    member.leave().expect("was there");
    assert_eq!(children(&yard, "/set/party"), Vec::<String>::new());
}

#[test]
fn foreign_members_count_by_what_stands_after_the_first_dash() {
    let yard = Yard::new();
    let client = yard.client();
    client.ensure_path("/set/party").expect("made");
    client.ensure_path("/set/locks/a/junk").expect("made");
    // Without a dash the whole name is the identifier, as Kazoo reads it.
    client.create("/set/party/b", "", CreateMode::Ephemeral).expect("new");
    let theirs = ShallowParty::new(&client, "/set/party", "c-d").expect("legal");
    let theirs = theirs.join().expect("joined");
    let member = join(&client, "c");
    let partition = member.acquire().expect("free");
    assert_eq!(items(&partition), ["b", "e"], "b, c, c-d");
    partition.release().expect("held");
    theirs.leave().expect("was there");
    let partition = member.acquire().expect("free");
    assert_eq!(items(&partition), ["b", "d", "f"]);
}

#[test]
fn members_without_an_item_have_an_empty_share() {
    let yard = Yard::new();
    let client = yard.client();
    let named = |name: &str| Partitioner::new(&client, "/set", name, ["x"]).expect("legal");
    let members: Vec<_> = ["1", "2", "3"]
        .map(|name| named(name).settle(scaled(ms(40))).join().expect("joined"))
        .into();
    let partitions = acquire_all(&members);
    assert_eq!(partitions.iter().map(Partition::len).collect::<Vec<_>>(), [1, 0, 0]);
    for partition in &partitions {
        assert_eq!(partition.state(), PartitionState::Acquired);
        assert_eq!(partition.wait_change(ms(20)), PartitionState::Acquired);
    }
    client.close().expect("acknowledged");
    for partition in &partitions {
        assert_eq!(partition.state(), PartitionState::Failure);
        assert!(partition.lost().is_some());
    }
}

#[test]
fn expired_member_is_told_and_has_its_share_again_in_the_next_session() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    let (doomed, other) = (join(&client, "m"), join(&yard.client(), "n"));
    let mut partitions = acquire_all([&doomed, &other]).into_iter();
    let (lost, kept) = (partitions.next().expect("two"), partitions.next().expect("two"));
    expire(&proxy, yard.chroot.server(), &session);
    await_state(&lost, PartitionState::Failure);
    assert!(!lost.is_held() && lost.lost().is_some());
    await_state(&kept, PartitionState::Release);
    let fences: BTreeMap<_, _> = lost.iter().map(|(item, hold)| (*item, hold.fence())).collect();
    let released = lost.release();
    assert!(matches!(released, Err(Error::SessionExpired { .. })), "{released:?}");
    kept.release().expect("held");
    // Or the other would take all, and would have to give it up again.
    eventually("joined again", patience(), || doomed.membership().presence().made > 1);
    let again = acquire_all([&doomed, &other]);
    assert_eq!(items(&again[0]), ["a", "c", "e", "g"]);
    for (item, hold) in again[0].iter() {
        assert!(hold.fence() > fences[item], "{item}");
        assert_eq!(hold.session().id(), client.session_id(), "E22");
    }
}

#[test]
fn share_survives_a_lost_connection_and_still_hears_of_the_party() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).connect().expect("serves");
    let member = join(&client, "m");
    let partition = member.acquire().expect("free");
    proxy.cut();
    client.sync("/").or_else(|_| client.sync("/")).expect("connected again");
    assert_eq!(partition.wait_change(ms(50)), PartitionState::Acquired);
    // And of what happens while there is no connection.
    proxy.refuse();
    proxy.cut();
    let other = join(&yard.client(), "n");
    assert_eq!(partition.state(), PartitionState::Acquired, "nobody told us");
    proxy.accept();
    await_state(&partition, PartitionState::Release);
    partition.release().expect("held");
    let both = acquire_all([&member, &other]);
    assert_eq!(both.iter().map(Partition::len).sum::<usize>(), ITEMS.len());
}

/// kazoo #392: an item that an outsider has keeps us waiting, but not for ever.
#[test]
fn e4_wait_for_an_item_that_is_not_given_up_ends_and_leaves_nothing_behind() {
    let yard = Yard::new();
    let client = yard.client();
    let outsider = Lock::new(&yard.client(), "/set/locks/d").expect("legal");
    let held = outsider.acquire().expect("free");
    let member = join(&client, "m");
    let timed_out = member.acquire_timeout(scaled(ms(300)));
    assert!(matches!(timed_out, Err(Error::Timeout { .. })), "{timed_out:?}");
    let await_no_locks = || {
        for item in ITEMS {
            await_children(&yard, &format!("/set/locks/{item}"), usize::from(item == "d"));
        }
    };
    await_no_locks();
    assert!(member.try_acquire().expect("answered").is_none());
    await_no_locks();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| member.acquire());
        await_children(&yard, "/set/locks/d", 2);
        let started = Instant::now();
        member.cancel();
        let cancelled = waiting.join().expect("no panic");
        assert_recipe(cancelled, RecipeError::Cancelled, started, ms(1_000));
    });
    await_no_locks();
    held.release().expect("held");
    let partition = member.try_acquire().expect("answered").expect("all are free");
    assert_eq!(items(&partition), ITEMS);
    drop(partition);
    for item in ITEMS {
        await_children(&yard, &format!("/set/locks/{item}"), 0);
    }
    eventually("only the member's own watch", patience(), || client.watch_count() == 1);
}

/// kazoo #271, #283: who joins while another waits for a lock that he is to have.
#[test]
fn party_that_changes_during_the_wait_for_a_lock_is_shared_anew() {
    let yard = Yard::new();
    let client = yard.client();
    let outsider = Lock::new(&yard.client(), "/set/locks/b").expect("legal");
    let held = outsider.acquire().expect("free");
    let first = join(&client, "m");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| first.acquire_timeout(patience()));
        await_children(&yard, "/set/locks/b", 2);
        let second = join(&client, "n");
        // "b" is no matter of the first any more.
        let partition = waiting.join().expect("no panic").expect("the rest is free");
        assert_eq!(items(&partition), ["a", "c", "e", "g"]);
        await_children(&yard, "/set/locks/b", 1);
        held.release().expect("held");
        let rest = second.acquire_timeout(patience()).expect("free");
        assert_eq!(items(&rest), ["b", "d", "f"]);
        assert_eq!(partition.state(), PartitionState::Acquired);
    });
}

#[test]
fn party_that_does_not_settle_is_waited_for() {
    undisturbed(|| {
        let yard = Yard::new();
        let client = yard.client();
        let settle = scaled(ms(300));
        let member = partitioner(&client, "m").settle(settle).join().expect("joined");
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let restless = ShallowParty::new(&client, "/set/party", "z").expect("legal");
                while !stop.load(Ordering::SeqCst) {
                    restless.join().expect("joined").leave().expect("was there");
                    thread::sleep(ms(20));
                }
            });
            let timed_out = member.acquire_timeout(settle * 2);
            assert!(matches!(timed_out, Err(Error::Timeout { .. })), "{timed_out:?}");
            stop.store(true, Ordering::SeqCst);
        });
        let started = Instant::now();
        let partition = member.acquire().expect("free");
        assert!(started.elapsed() >= settle);
        assert_eq!(partition.len(), ITEMS.len());
    });
}

#[test]
fn two_members_of_one_name_have_nothing_together() {
    let yard = Yard::new();
    let client = yard.client();
    let (one, two) = (join(&client, "same"), join(&client, "same"));
    let timed_out = one.acquire_timeout(scaled(ms(300)));
    assert!(matches!(timed_out, Err(Error::Timeout { .. })), "{timed_out:?}");
    assert!(two.try_acquire().expect("answered").is_none());
    one.leave().expect("was there");
    assert_eq!(items(&two.acquire().expect("free")), ITEMS);
}

#[test]
fn e4_lost_answers_leave_one_node_for_each_item_and_none_after() {
    for step in [op::CREATE2, op::GET_CHILDREN] {
        for nth in 1..=3 {
            for way in [Way::ToServer, Way::ToClient] {
                let yard = Yard::new();
                let proxy = yard.proxy();
                let client = yard.through(&proxy).connect().expect("serves");
                let member = join(&client, "m");
                proxy.once(way, Pick::Op(step), nth, Act::LoseAndCut);
                let partition = member.acquire().expect("free");
                assert_eq!(items(&partition), ITEMS);
                for item in ITEMS {
                    assert_eq!(children(&yard, &format!("/set/locks/{item}")).len(), 1, "{item}");
                }
                proxy.once(way, Pick::Op(op::DELETE), nth, Act::LoseAndCut);
                partition.release().expect("held");
                for item in ITEMS {
                    assert_eq!(children(&yard, &format!("/set/locks/{item}")).len(), 0, "{item}");
                }
            }
        }
    }
}

#[test]
fn e9_members_go_on_when_everything_was_removed_under_them() {
    let yard = Yard::new();
    let client = yard.client();
    let member = join(&client, "m");
    let partition = member.acquire().expect("free");
    // The member is quick: the party may be there again before the set is to go.
    eventually("removed", patience(), || {
        let _ = client.delete_recursive("/set");
        member.membership().presence().made > 1
    });
    await_state(&partition, PartitionState::Release);
    drop(partition);
    let partition = member.acquire().expect("made again");
    assert_eq!(items(&partition), ITEMS);
    partition.release().expect("held");
    member.leave().expect("was there");
}

#[test]
fn e10_acl_is_on_every_node() {
    let yard = Yard::new();
    let client = we(&yard);
    let member = partitioner(&client, "m").acl([Acl::creator_all()]).join().expect("joined");
    let partition = member.acquire().expect("free");
    let mut nodes = vec!["/set", "/set/party", "/set/locks", "/set/locks/a"];
    nodes.push(member.membership().node());
    nodes.extend(partition.iter().map(|(_, hold)| hold.node()));
    assert_ours(&yard, &nodes);
    assert_code(partitioner(&yard.client(), "n").join().map(drop), Code::NoAuth);
}

#[test]
fn partitions_work_in_a_callback_and_in_a_chroot_that_is_not_there() {
    let yard = Yard::new();
    let client = yard.client().with_chroot("/not/there").expect("legal");
    let inside = client.clone();
    let shared = in_callback(&client, move || {
        let member = join(&inside, "m");
        let partition = member.acquire().expect("free");
        let (count, state) = (partition.len(), partition.wait_change(ms(10)));
        partition.release().expect("held");
        member.leave().expect("was there");
        (count, state)
    });
    assert_eq!(shared, (ITEMS.len(), PartitionState::Acquired));
    assert_eq!(children(&yard, "/not/there/set"), ["locks", "party"]);
}

#[test]
fn names_that_are_no_part_of_a_path_are_refused() {
    let yard = Yard::new();
    let client = yard.client();
    for (path, name, item) in
        [("/", "m", "a"), ("/set", "m/n", "a"), ("/set", "m", ""), ("/set", "m", "..")]
    {
        let made = Partitioner::new(&client, path, name, [item]);
        assert!(matches!(made, Err(Error::Invalid { .. })), "{made:?}");
    }
}

#[test]
fn acquire_costs_one_look_and_one_round_trip_for_each_item() {
    undisturbed(|| {
        let yard = Yard::new();
        let proxy = yard.proxy();
        let client = yard.through(&proxy).connect().expect("serves");
        let member = join(&client, "m");
        member.acquire().expect("free").release().expect("held");
        // The watch on the party is taken back.
        eventually("only the member's own watch", patience(), || client.watch_count() == 1);
        client.sync("/").expect("served");
        proxy.far();
        proxy.reset_counts();
        let partition = member.acquire().expect("free");
        // The list of each line goes along with the create.
        let acquired = proxy.counts();
        partition.release().expect("held");
        let released = proxy.counts().to_server.ops[&op::DELETE];
        figure(
            "round trips to acquire 7 items, and to release them",
            (acquired.round_trips, released),
        );
        assert_eq!((acquired.round_trips, released), (1 + ITEMS.len(), ITEMS.len()));
    });
}
