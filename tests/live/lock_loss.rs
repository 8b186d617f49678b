//! A lock that is lost says so before another can have it, and its guard is dead for good.
//!
//! Retold by behaviour: Kazoo `test_lock.py` (`test_lock_reconnect`); Curator
//! `TestInterProcessMutexBase` (`testKilledSession`).

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use zookeeper_blocking::recipes::LockGuard;
use zookeeper_blocking::{Client, Code, CreateMode, Error, Loss, SessionState, Version};

use crate::clients::{await_state, doomed, expire, patience};
use crate::faults::figure;
use crate::locks::{Book, Yard, lock, ms, wait_for};
use crate::support::calm::undisturbed;
use crate::support::process::signal;
use crate::support::proxy::{Proxy, Way};
use crate::support::wait::{eventually, scaled};
use crate::support::wire::op;

/// A transaction of a holder that is none any more is refused, and changes nothing.
#[track_caller]
fn assert_dead(guard: LockGuard, loss: Loss) {
    assert!(!guard.is_held());
    assert_eq!((guard.lost(), guard.deadline()), (Some(loss), None));
    assert_eq!(guard.wait_lost(Duration::from_secs(60)), Some(loss), "at once");
    let refused = guard.transaction().set_data("/state", "late", Version::Any).commit();
    assert!(matches!(refused, Err(Error::SessionExpired { .. })), "{refused:?}");
    let released = guard.release();
    assert!(matches!(released, Err(Error::SessionExpired { .. })), "{released:?}");
}

#[test]
fn e22_guard_of_an_expired_session_is_dead_while_the_client_goes_on() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    client.create("/state", b"", CreateMode::Persistent).expect("new");
    let guard = lock(&client).acquire().expect("free");
    assert!(guard.is_held() && guard.wait_lost(ms(1)).is_none());
    let states = client.subscribe().expect("open");
    let (tell, told) = channel();
    let (held_by, fence) = (guard.session().clone(), guard.fence());
    let waiting = thread::spawn(move || tell.send(held_by.wait_lost(patience())));
    expire(&proxy, yard.chroot.server(), &session);
    await_state(&states, SessionState::Connected);
    assert_ne!(client.session_id(), session.id());
    assert_eq!(told.recv_timeout(patience()), Ok(Some(Loss::Expired)));
    waiting.join().expect("no panic").expect("received");
    // A new one beside it, in the new session: nothing of it rubs off.
    let again = lock(&client).acquire().expect("free");
    assert!(again.is_held() && again.fence() > fence);
    assert_dead(guard, Loss::Expired);
    assert!(again.is_held());
    again.release().expect("held");
    assert_eq!(client.get_data("/state").expect("there").0, b"");
}

#[test]
fn closed_client_ends_its_guards() {
    let yard = Yard::new();
    let client = yard.client();
    let guard = lock(&client).acquire().expect("free");
    client.close().expect("acknowledged");
    assert_eq!((guard.is_held(), guard.lost()), (false, Some(Loss::Closed)));
}

#[test]
fn e20_fence_is_that_of_the_create_and_never_changes() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let guard = yard.lock_through(&proxy).acquire().expect("free");
    let path = format!("{}{}", yard.chroot.path(), guard.node());
    let mut raw = yard.raw();
    let fence = guard.fence();
    assert_eq!(raw.get(&path).expect("there").1.czxid, fence);
    raw.set(&path, b"changed", -1).expect("there");
    proxy.cut();
    guard.session().sync("/").or_else(|_| guard.session().sync("/")).expect("connected again");
    assert_eq!(guard.fence(), fence);
    // Made again by somebody else under its name: not our node, and the number is still ours.
    raw.delete(&path, -1).expect("there");
    raw.create(&path, b"", 0).expect("deleted");
    assert!(raw.get(&path).expect("there").1.czxid > fence);
    assert_eq!(guard.fence(), fence);
    raw.delete(&path, -1).expect("there");
}

/// Holds the lock behind a black hole: gives when the guard said that it was lost, when a rival
/// had the lock, and the session timeout.
fn black_holed(yard: &Yard, way: Option<Way>) -> (Instant, Instant, Duration) {
    let proxy = yard.proxy();
    let client = yard.through(&proxy).session_timeout(ms(1_000)).connect().expect("serves");
    let guard = lock(&client).acquire().expect("free");
    let timeout = client.session_timeout();
    let rival = yard.lock();
    let waiting = thread::spawn(move || {
        let guard = rival.acquire().expect("granted in time");
        (guard, Instant::now())
    });
    yard.await_nodes(2);
    let fence = guard.fence();
    let from = Instant::now();
    match way {
        Some(way) => proxy.lose(way),
        None => proxy.black_hole(),
    }
    assert_eq!(guard.wait_lost(patience()), Some(Loss::Silence));
    let lost = Instant::now();
    assert!(!guard.is_held());
    assert!(lost - from <= timeout, "{:?} of {timeout:?}", lost - from);
    let (second, granted) = waiting.join().expect("no panic");
    assert!(second.fence() > fence);
    proxy.heal();
    // The server's word comes later, and does not change what was said.
    eventually("the next session", patience(), || client.state() == SessionState::Connected);
    let released = guard.release();
    assert!(matches!(released, Err(Error::SessionExpired { .. })), "{released:?}");
    second.release().expect("held");
    (lost, granted, timeout)
}

#[test]
fn a4_silence_is_told_as_loss_before_a_rival_can_acquire() {
    undisturbed(|| {
        let (mut rounds, mut least) = (0, Duration::MAX);
        for way in [None, Some(Way::ToServer), Some(Way::ToClient)] {
            // Four at a time: each is nearly all waiting.
            let each = (0..4).map(|_| thread::spawn(move || black_holed(&Yard::new(), way)));
            for round in each.collect::<Vec<_>>() {
                let (lost, granted, _) = round.join().expect("no panic");
                assert!(lost < granted, "lost {:?} after the rival's acquire", lost - granted);
                least = least.min(granted - lost);
                rounds += 1;
            }
        }
        figure("a4: rounds, least time from loss to the rival's acquire", (rounds, least));
    });
}

#[test]
fn silence_that_the_session_survives_is_a_loss_for_good_and_the_next_lock_is_sound() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).session_timeout(ms(2_000)).connect().expect("serves");
    let session = client.session_id();
    // The server hears us, but we do not hear it: it keeps the session, we cannot know.
    let guard = lock(&client).acquire().expect("free");
    proxy.lose(Way::ToClient);
    proxy.refuse();
    let mut survivors = 0;
    assert_eq!(guard.wait_lost(patience()), Some(Loss::Silence));
    // The session is kept alive by hand meanwhile: what a server does that hears us and is not
    // heard.
    proxy.heal();
    eventually("connected", patience(), || client.state() == SessionState::Connected);
    if client.session_id() == session {
        survivors += 1;
    }
    assert!(!guard.is_held(), "once lost, lost for ever");
    let fence = guard.fence();
    let released = guard.release();
    assert!(matches!(&released, Ok(()) | Err(Error::SessionExpired { .. })), "{released:?}");
    let next = lock(&client).acquire().expect("free");
    assert!(next.is_held() && next.lost().is_none() && next.fence() > fence);
    assert!(next.deadline().is_some_and(|deadline| deadline > Instant::now()));
    next.release().expect("held");
    figure("silence survived by the session", survivors);
}

// ---- our own process stands still ----

const CHILD: &str = "ZK_TEST_LOCK_CHILD";

/// The process that will be stopped: takes the lock, says so, and acts when told to.
fn child(connect: &str) {
    let client = Client::builder(connect).session_timeout(ms(1_000)).connect().expect("serves");
    let guard = lock(&client).acquire().expect("free");
    println!("child: held {}", guard.fence());
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("the parent's word");
    // The first thing after the pause, before the IO thread had a chance to hear anything.
    println!("child: is_held {}", guard.is_held());
    println!("child: lost {:?}", guard.lost());
    let commit = guard.transaction().set_data("/state", "late", Version::Any).commit();
    println!("child: refused {}", commit.is_err());
}

fn start_child(name: &str, connect: &str) -> Child {
    let own = std::env::current_exe().expect("the test binary");
    let mut command = Command::new(own);
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]);
    command.env(CHILD, connect).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().expect("starts")
}

#[test]
fn a21_process_that_stood_still_knows_it_first_thing_and_cannot_write() {
    undisturbed(|| {
        if let Ok(connect) = std::env::var(CHILD) {
            return child(&connect);
        }
        let yard = Yard::new();
        let client = yard.client();
        client.create("/state", b"", CreateMode::Persistent).expect("new");
        let name = "lock_loss::a21_process_that_stood_still_knows_it_first_thing_and_cannot_write";
        let mut stopped = start_child(name, &yard.chroot.connect_string());
        let (tell, said) = channel();
        let output = BufReader::new(stopped.stdout.take().expect("piped"));
        let reader = thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                // The harness prints its own words on the same line.
                if let Some((_, word)) = line.split_once("child: ") {
                    tell.send(word.to_owned()).expect("the test waits");
                }
            }
        });
        let hear = || said.recv_timeout(patience()).expect("the child speaks");
        let held = hear();
        let fence: i64 = held.strip_prefix("held ").and_then(|n| n.parse().ok()).expect("a fence");
        signal(stopped.id(), "STOP");
        let rival = lock(&client).acquire().expect("granted after the session's end");
        assert!(rival.fence() > fence);
        client.set_data("/state", "rival", Version::Any).expect("there");
        // Told before it goes on, so that it looks at once.
        let mut input = stopped.stdin.take().expect("piped");
        input.write_all(b"go on\n").expect("the pipe takes it");
        signal(stopped.id(), "CONT");
        assert_eq!(hear(), "is_held false");
        assert_eq!(hear(), "lost Some(Silence)");
        assert_eq!(hear(), "refused true");
        assert!(stopped.wait().expect("our own child").success());
        reader.join().expect("no panic");
        assert_eq!(client.get_data("/state").expect("there").0, b"rival");
        rival.release().expect("held");
    });
}

// ---- many faults, several holders ----

/// One of several who want the lock all the time: counts on the node "/count", each time in a
/// transaction under the lock, and keeps its own count of what surely and what perhaps happened.
fn contend(
    client: &Client,
    book: &Book,
    stop: &AtomicBool,
    done: &AtomicUsize,
    unknown: &AtomicUsize,
) {
    let lock = lock(client);
    while !stop.load(Ordering::SeqCst) {
        let Ok(guard) = lock.acquire_timeout(scaled(ms(5_000))) else { continue };
        book.hold(&guard, ms(2));
        let Ok((data, _)) = guard.session().get_data("/count") else { continue };
        let count: usize = String::from_utf8_lossy(&data).parse().expect("a number");
        let next = (count + 1).to_string();
        // Without a version: only the lock keeps two from writing the same number.
        match guard.transaction().set_data("/count", next, Version::Any).commit() {
            Ok(_) => done.fetch_add(1, Ordering::SeqCst),
            Err(error) if error.applied() == zookeeper_blocking::Applied::No => 0,
            Err(_) => unknown.fetch_add(1, Ordering::SeqCst),
        };
    }
}

#[test]
fn e1_suspended_and_resumed_clients_never_hold_together_and_lose_no_update() {
    let yard = Arc::new(Yard::new());
    let setup = yard.client();
    setup.create("/count", b"0", CreateMode::Persistent).expect("new");
    let (book, stop) = (Arc::new(Book::default()), Arc::new(AtomicBool::new(false)));
    let (done, unknown) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let proxies: Vec<Proxy> = (0..3).map(|_| yard.proxy()).collect();
    let clients: Vec<Client> = proxies
        .iter()
        .map(|proxy| {
            let builder = yard.through(proxy).session_timeout(ms(1_000));
            builder.call_timeout(scaled(ms(3_000))).connect().expect("serves")
        })
        .collect();
    let threads: Vec<_> = clients
        .iter()
        .map(|client| {
            let (client, book, stop) = (client.clone(), book.clone(), stop.clone());
            let (done, unknown) = (done.clone(), unknown.clone());
            thread::spawn(move || contend(&client, &book, &stop, &done, &unknown))
        })
        .collect();
    let (mut rounds, started) = (0_usize, Instant::now());
    // And on a busy machine until there is something to judge.
    while started.elapsed() < Duration::from_secs(6)
        || (book.len() <= 50 && started.elapsed() < 3 * patience())
    {
        let proxy = &proxies[rounds % 3];
        rounds += 1;
        match rounds % 12 {
            // Longer than the session: it expires, its holder has to know.
            5 => {
                proxy.black_hole();
                thread::sleep(ms(1_200));
            }
            // Nearly as long.
            10 => {
                proxy.hold_both();
                thread::sleep(ms(600));
            }
            n if n % 4 == 0 => proxy.drop_reply_to(op::MULTI),
            n if n % 2 == 0 => proxy.drop_reply(1 + n % 3),
            n if n % 3 == 0 => proxy.once(
                Way::ToServer,
                crate::support::proxy::Pick::AnyOp,
                1,
                crate::support::proxy::Act::LoseAndCut,
            ),
            _ => proxy.cut(),
        }
        thread::sleep(ms(40));
        proxy.heal();
    }
    stop.store(true, Ordering::SeqCst);
    for thread in threads {
        thread.join().expect("no panic");
    }
    let tenures = book.judge();
    let count = setup.get_data("/count").expect("there").0;
    let count: usize = String::from_utf8_lossy(&count).parse().expect("a number");
    let (done, unknown) = (done.load(Ordering::SeqCst), unknown.load(Ordering::SeqCst));
    assert!(done <= count && count <= done + unknown, "{done} <= {count} <= {done} + {unknown}");
    assert!(tenures > 50, "too little happened: {tenures}");
    // Nobody is left but the dead, and they only until their time is over.
    drop(clients);
    yard.await_nodes(0);
    let figures = (rounds, tenures, done, unknown);
    figure("e1: faults, times held, updates done, unknown", figures);
}

#[test]
fn waiter_whose_session_expires_lines_up_anew() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    let holder = yard.lock().acquire().expect("free");
    let waiting = wait_for(&lock(&client));
    yard.await_nodes(2);
    expire(&proxy, yard.chroot.server(), &session);
    eventually("the next session's place", patience(), || {
        let contenders = lock(&client).contenders().unwrap_or_default();
        contenders.len() == 2 && contenders[1].session_id != session.id()
    });
    holder.release().expect("held");
    let guard = waiting.join().expect("no panic").expect("not cancelled");
    assert!(guard.is_held() && guard.session().id() == client.session_id());
    let check = guard.transaction().check("/nowhere", Version::Any).commit();
    match check {
        // Its own node is there: it is the other check that fails.
        Err(Error::Transaction { index, code, .. }) => assert_eq!((index, code), (1, Code::NoNode)),
        other => panic!("{other:?}"),
    }
    guard.release().expect("held");
}
