//! No contender is left behind, whatever is lost on the way in or out: an orphan would hold the
//! lock for nobody as long as the session lives.
//!
//! Retold by behaviour: Kazoo `test_lock.py` (`test_lock_fail_first_call`); Curator `TestLockInternals`
//! (`testNodeDeletedCleanlyWithFaults`, `testAttemptLockFailedException`), `TestFrameworkEdges`
//! (`testMissedResponseOnESCreate`, `testProtectionWithKilledSession`).

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use zookeeper_blocking::recipes::Lock;
use zookeeper_blocking::{Client, Code, Error, RecipeError, WhenDisconnected};

use crate::clients::{await_state, doomed, expire, patience};
use crate::faults::figure;
use crate::locks::{Yard, assert_code, lock, ms, wait_for};
use crate::support::calm::undisturbed;
use crate::support::process;
use crate::support::proxy::{Act, Kind, Pick, Proxy, Way};
use crate::support::wait::{eventually, scaled};
use crate::support::wire::op;

const STEPS: [i32; 3] = [op::CREATE2, op::GET_CHILDREN, op::GET_DATA];

#[test]
fn a1_create_whose_reply_is_lost_is_found_again_and_never_doubled() {
    let yard = Yard::new();
    let path = yard.path();
    yard.lock().acquire().expect("free").release().expect("held");
    let mut raw = yard.raw();
    let rounds = 30;
    let started = Instant::now();
    for round in 0..rounds {
        // A connection that has only just been made is not remade at once: so each round has its
        // own clients.
        let proxies = [yard.proxy(), yard.proxy()];
        let locks = proxies.each_ref().map(|proxy| yard.lock_through(proxy));
        proxies[0].drop_reply_to(op::CREATE2);
        let first = locks[0].acquire().expect("granted");
        assert_eq!(raw.children(&path).expect("there").len(), 1, "round {round}");
        let (_, stat) = raw.get(&format!("{}{}", yard.chroot.path(), first.node())).expect("there");
        assert_eq!((stat.czxid, stat.ephemeral_owner), (first.fence(), first.session().id()));
        proxies[1].drop_reply_to(op::CREATE2);
        let waiting = wait_for(&locks[1]);
        proxies[1].wait_caught(1);
        // Looked for behind a sync: the server may not have known of the create yet.
        let second_link = asked_after_cut(&proxies[0]);
        assert_eq!(second_link[..3], [op::SYNC, op::GET_CHILDREN, op::EXISTS]);
        first.release().expect("held");
        let second = waiting.join().expect("no panic").expect("not cancelled");
        assert_eq!(raw.children(&path).expect("there").len(), 1, "round {round}");
        second.release().expect("held");
        assert_eq!(raw.children(&path).expect("there").len(), 0, "round {round}");
    }
    figure("a1: rounds with two lost replies each", (rounds, started.elapsed()));
}

/// The operations asked on the second connection, in order; but for the list that goes along with a
/// create, which is sent there if the cut was faster.
fn asked_after_cut(proxy: &Proxy) -> Vec<i32> {
    let ours = proxy.seen().into_iter().filter(|seen| seen.link == 1 && seen.way == Way::ToServer);
    let ops = ours.filter_map(|seen| match seen.kind {
        Kind::Op(op) => Some(op),
        _ => None,
    });
    let mut ops: Vec<i32> = ops.collect();
    if ops.starts_with(&[op::GET_CHILDREN]) {
        ops.remove(0);
    }
    ops
}

#[test]
fn a1_create_that_never_arrived_is_made_once() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let lock = yard.lock_through(&proxy);
    lock.acquire().expect("free").release().expect("held");
    proxy.drop_request(op::CREATE2);
    let guard = lock.acquire().expect("free");
    assert_eq!(yard.nodes().len(), 1);
    assert_eq!(asked_after_cut(&proxy)[..3], [op::SYNC, op::GET_CHILDREN, op::CREATE2]);
    guard.release().expect("held");
}

#[test]
fn a2_node_of_our_name_with_another_owner_is_not_adopted() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let lock = yard.lock_through(&proxy);
    lock.acquire().expect("free").release().expect("held");
    proxy.refuse();
    proxy.drop_reply_to(op::CREATE2);
    let waiting = wait_for(&lock);
    proxy.wait_caught(1);
    yard.await_nodes(1);
    // The server's view after an expiry that it has not carried out yet: a node of that name, but
    // of another session.
    let mut other = yard.raw();
    let node = yard.nodes().pop().expect("one");
    let (path, unique) = (yard.path(), &node[..node.len() - 10]);
    let theirs = other.create(&format!("{path}/{unique}"), b"", 3).expect("a parent");
    other.delete(&format!("{path}/{node}"), -1).expect("there");
    proxy.accept();
    // Its own, behind the foreign one.
    yard.await_nodes(2);
    assert!(!waiting.is_finished());
    other.delete(&theirs, -1).expect("there");
    let guard = waiting.join().expect("no panic").expect("not cancelled");
    assert!(!theirs.ends_with(guard.node()));
    let own = format!("{}{}", yard.chroot.path(), guard.node());
    let (_, stat) = yard.raw().get(&own).expect("there");
    assert_eq!((stat.czxid, stat.ephemeral_owner), (guard.fence(), guard.session().id()));
    guard.release().expect("held");
}

#[test]
fn a2_expiry_after_a_lost_create_lines_up_anew_with_the_next_session() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    let holder = yard.lock().acquire().expect("free");
    proxy.refuse();
    proxy.drop_reply_to(op::CREATE2);
    let waiting = wait_for(&lock(&client));
    proxy.wait_caught(1);
    yard.await_nodes(2);
    expire(&proxy, yard.chroot.server(), &session);
    eventually("a place of the next session", Duration::from_secs(10), || {
        let contenders = lock(&client).contenders().unwrap_or_default();
        contenders.len() == 2 && contenders[1].session_id != session.id()
    });
    let before = holder.fence();
    holder.release().expect("held");
    let guard = waiting.join().expect("no panic").expect("not cancelled");
    assert_ne!(guard.session().id(), session.id());
    assert!(guard.is_held() && guard.fence() > before);
    assert_eq!(yard.nodes().len(), 1);
    guard.release().expect("held");
}

/// Cuts the connection at every step of an acquisition that has to wait, and ends it by `exit`;
/// only the holder's node may be left. With `away`, the client is without a connection when the
/// wait ends.
fn leaves_no_orphan(away: bool, exit: impl Fn(&Lock, &Proxy) -> Result<(), Error>) {
    for step in STEPS {
        for way in [Way::ToServer, Way::ToClient] {
            let yard = Yard::new();
            let holder = yard.lock().acquire().expect("free");
            let proxy = yard.proxy();
            let lock = yard.lock_through(&proxy);
            if away {
                proxy.refuse();
            }
            proxy.once(way, Pick::Op(step), 1, Act::LoseAndCut);
            let error = exit(&lock, &proxy).expect_err("the lock is not free");
            assert!(
                matches!(error, Error::Timeout { .. } | Error::Recipe { .. }),
                "{step} {way:?}: {error}"
            );
            assert_eq!(proxy.caught().len(), 1, "{step} {way:?}");
            proxy.accept();
            // All that was asked behind the user's back is done before this.
            eventually("only the holder is left", Duration::from_secs(10), || {
                let nodes = yard.nodes();
                nodes.len() == 1 && holder.node().ends_with(&nodes[0])
            });
            // And none comes later.
            Lock::contenders(&lock).expect("connected again");
            assert_eq!(yard.nodes().len(), 1, "{step} {way:?}");
            holder.release().expect("held");
        }
    }
}

#[test]
fn e4_timeout_leaves_no_orphan_at_any_step() {
    undisturbed(|| {
        leaves_no_orphan(false, |lock, _| lock.acquire_timeout(scaled(ms(150))).map(drop));
    });
}

#[test]
fn e4_timeout_while_disconnected_leaves_no_orphan_at_any_step() {
    undisturbed(|| {
        leaves_no_orphan(true, |lock, _| lock.acquire_timeout(scaled(ms(150))).map(drop));
    });
}

fn cancelled(lock: &Lock, proxy: &Proxy) -> Result<(), Error> {
    let waiter = lock.clone();
    let waiting = thread::spawn(move || waiter.acquire_timeout(patience()).map(drop));
    proxy.wait_caught(1);
    lock.cancel();
    waiting.join().expect("no panic")
}

#[test]
fn e4_cancel_leaves_no_orphan_at_any_step() {
    leaves_no_orphan(false, cancelled);
}

#[test]
fn e4_cancel_while_disconnected_leaves_no_orphan_at_any_step() {
    leaves_no_orphan(true, cancelled);
}

/// Ends the holding of a lock by `exit` with the delete lost on its way there or back.
fn gives_up_the_lock(exit: impl Fn(Lock, &Proxy)) {
    for way in [Way::ToServer, Way::ToClient] {
        let yard = Yard::new();
        let proxy = yard.proxy();
        let client = yard.through(&proxy).call_timeout(scaled(ms(1_000))).connect();
        let client = client.expect("serves");
        let (lock, session) = (lock(&client), client.session_id());
        proxy.once(way, Pick::Op(op::DELETE), 1, Act::LoseAndCut);
        exit(lock.clone(), &proxy);
        proxy.wait_caught(1);
        proxy.accept();
        yard.await_nodes(0);
        // The session went on: nothing but the delete took the node away.
        assert_eq!(client.session_id(), session);
        lock.acquire().expect("free").release().expect("held");
    }
}

#[test]
fn e4_release_repeats_a_delete_that_was_lost() {
    gives_up_the_lock(|lock, _| lock.acquire().expect("free").release().expect("held"));
}

#[test]
fn e4_dropped_guard_gives_the_lock_up_after_the_reconnect() {
    undisturbed(|| {
        gives_up_the_lock(|lock, proxy| {
            let guard = lock.acquire().expect("free");
            proxy.refuse();
            let started = Instant::now();
            drop(guard);
            assert!(started.elapsed() < scaled(ms(100)), "{:?}", started.elapsed());
            proxy.wait_caught(1);
        });
    });
}

#[test]
fn e4_release_that_runs_out_of_time_goes_on_behind() {
    gives_up_the_lock(|lock, proxy| {
        let guard = lock.acquire().expect("free");
        proxy.refuse();
        let result = guard.release();
        assert!(matches!(result, Err(Error::Timeout { .. })), "{result:?}");
    });
}

#[test]
fn e4_panic_of_the_holder_gives_the_lock_up() {
    gives_up_the_lock(|lock, _| {
        let holder = thread::Builder::new().name("to panic".into());
        let holder = holder.spawn(move || {
            let _guard = lock.acquire().expect("free");
            panic!("on purpose");
        });
        assert!(holder.expect("a thread").join().is_err());
    });
}

#[test]
fn e4_release_into_a_full_client_loses_nothing() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard
        .through(&proxy)
        .max_in_flight(1)
        .when_full(zookeeper_blocking::WhenFull::Fail)
        .call_timeout(scaled(ms(200)))
        .connect()
        .expect("serves");
    let guard = lock(&client).acquire().expect("free");
    proxy.hold(Way::ToServer);
    let in_flight = client.submit(zookeeper_blocking::op::Sync::new("/")).expect("room for one");
    let result = guard.release();
    assert!(matches!(result, Err(Error::Timeout { .. } | Error::Busy { .. })), "{result:?}");
    proxy.heal();
    drop(in_flight);
    yard.await_nodes(0);
}

#[test]
fn e4_closed_client_leaves_no_node() {
    let yard = Yard::new();
    let client = yard.client();
    let guard = lock(&client).acquire().expect("free");
    let waiter = lock(&client);
    let waiting = thread::spawn(move || waiter.acquire().map(drop));
    yard.await_nodes(2);
    client.close().expect("acknowledged");
    assert_eq!(yard.nodes(), Vec::<String>::new());
    assert!(matches!(waiting.join().expect("no panic"), Err(Error::Closed { .. })));
    assert!(!guard.is_held());
    assert!(matches!(guard.release(), Err(Error::Closed { .. })));
}

#[test]
fn e4_last_handle_dropped_with_the_guard_leaves_no_node() {
    let yard = Yard::new();
    // The guard is the last handle: its drop queues the delete, then closes the client.
    let guard = yard.lock().acquire().expect("free");
    assert!(guard.is_held());
    drop(guard);
    yard.await_nodes(0);
}

#[test]
fn e4_error_leaves_no_orphan() {
    let yard = Yard::new();
    // Everybody may create and list here, nobody may read: an error in the middle of the way.
    let holder = yard.client();
    let unreadable = zookeeper_blocking::Acl::world(zookeeper_blocking::Permissions::DELETE);
    let node = zookeeper_blocking::op::Create::new("/lock/x__lock__").acl([unreadable]);
    holder.ensure_path("/lock").expect("an empty chroot");
    let node = node.mode(zookeeper_blocking::CreateMode::EphemeralSequential);
    let created = holder.call(node).expect("a parent");
    let result = yard.lock().acquire();
    assert_code(result.map(drop), Code::NoAuth);
    yard.await_nodes(1);
    holder.delete(&created.path, zookeeper_blocking::Version::Any).expect("there");
}

#[test]
fn e4_try_acquire_that_loses_its_answers_leaves_no_orphan() {
    for (way, op) in [
        (Way::ToClient, op::CREATE2),
        (Way::ToServer, op::CREATE2),
        (Way::ToClient, op::GET_CHILDREN),
        (Way::ToServer, op::GET_CHILDREN),
    ] {
        let yard = Yard::new();
        let proxy = yard.proxy();
        let lock = yard.lock_through(&proxy);
        proxy.once(way, Pick::Op(op), 1, Act::LoseAndCut);
        let guard = lock.try_acquire().expect("answered in the end").expect("free");
        assert_eq!(yard.nodes().len(), 1);
        guard.release().expect("held");
        assert_eq!(yard.nodes().len(), 0);
    }
}

#[test]
fn create_that_was_never_sent_is_not_sent_later() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).connect().expect("serves");
    let states = client.subscribe().expect("open");
    proxy.refuse();
    proxy.cut();
    await_state(&states, zookeeper_blocking::SessionState::Disconnected);
    let result = lock(&client).acquire_timeout(scaled(ms(50)));
    assert!(matches!(result, Err(Error::Timeout { .. })), "{result:?}");
    proxy.accept();
    client.sync("/").expect("connected again");
    let creates = |proxy: &Proxy| proxy.counts().to_server.ops.contains_key(&op::CREATE2);
    assert!(!creates(&proxy), "{:?}", proxy.counts());
}

/// CPU time that this process used so far, in clock ticks of 10 ms.
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let after_name = stat.rsplit(')').next().expect("a name");
    let fields: Vec<u64> =
        after_name.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
    fields[11] + fields[12]
}

#[test]
fn client_whose_calls_fail_without_a_connection_waits_in_a_lock_all_the_same() {
    process::alone(
        "lock_orphans::client_whose_calls_fail_without_a_connection_waits_in_a_lock_all_the_same",
        || {
            let yard = Yard::new();
            let proxy = yard.proxy();
            let builder = yard.through(&proxy).when_disconnected(WhenDisconnected::Fail);
            let client: Client = builder.connect().expect("serves");
            let states = client.subscribe().expect("open");
            let guard = lock(&client).acquire().expect("free");
            proxy.refuse();
            proxy.cut();
            await_state(&states, zookeeper_blocking::SessionState::Disconnected);
            drop(guard);
            let waiting = wait_for(&lock(&client));
            let before = cpu_ticks();
            thread::sleep(ms(500));
            let used = cpu_ticks() - before;
            // Without turning round and round meanwhile.
            assert!(used <= 10, "{used} ticks of 10 ms in half a second");
            proxy.accept();
            let guard = waiting.join().expect("no panic").expect("not cancelled");
            assert_eq!(yard.nodes().len(), 1);
            guard.release().expect("held");
        },
    );
}

#[test]
fn cancel_of_many_waiters_leaves_nothing_and_no_watch() {
    let yard = Yard::new();
    let holder = yard.lock().acquire().expect("free");
    let client = yard.client();
    let lock = Arc::new(lock(&client));
    let waiting: Vec<_> = (0..30).map(|_| wait_for(&lock)).collect();
    yard.await_nodes(31);
    eventually("each watches its predecessor", patience(), || client.watch_count() == 30);
    lock.cancel();
    for waiting in waiting {
        assert!(waiting.join().expect("no panic").is_none());
    }
    yard.await_nodes(1);
    eventually("no watch is left", patience(), || client.watch_count() == 0);
    assert!(holder.is_held());
    drop(holder);
    let again = lock.acquire_timeout(patience());
    assert!(!matches!(&again, Err(Error::Recipe { why: RecipeError::Cancelled, .. })));
    again.expect("free").release().expect("held");
}
