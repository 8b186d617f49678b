//! Operations submitted together while servers stop, lines break and sessions end: what each is
//! told agrees with what the server did.

use std::thread;
use std::time::{Duration, Instant};

use zookeeper_blocking::{Client, CreateMode, Error, Result, SessionState, WhenDisconnected, op};

use crate::clients::{await_state, client, doomed, expire, through};
use crate::faults_history::{Book, judge};
use crate::support::calm::undisturbed;
use crate::support::proxy::{Act, Pick, Proxy, Way};
use crate::support::server::{Server, fresh_chroot};
use crate::support::wait::{eventually, scaled};
use crate::support::wire::op as opcode;

const SECOND: Duration = Duration::from_secs(1);

/// A value as the judge of histories knows it.
fn value(n: usize) -> String {
    format!("value {n}")
}

/// Sets `/a` to as many values, and notes what each was told.
fn set_all(zk: &Client, book: &mut Book, from: usize, count: usize) -> Result<()> {
    let sets = (from..from + count).map(|n| op::SetData::new("/a", value(n)));
    for (n, set) in (from..).zip(zk.submit_all(sets)?) {
        book.note(value(n), set.map(|stat| stat.mzxid));
    }
    Ok(())
}

#[test]
fn cuts_in_the_middle_of_batches_agree_with_what_each_was_told() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let zk = Client::builder(&proxy.connect_string()).connect().expect("serves");
    zk.create("/a", "", CreateMode::Persistent).expect("new");
    let mut book = Book::default();
    let mut next = 0;
    for round in 0..12 {
        let nth = 1 + round * 37 % 290;
        let caught = proxy.caught().len();
        let set = Pick::Op(opcode::SET_DATA);
        match round % 6 {
            0 => proxy.once(Way::ToClient, set, nth, Act::LoseAndCut),
            1 => proxy.once(Way::ToServer, set, nth, Act::LoseAndCut),
            2 => proxy.once(Way::ToClient, set, nth, Act::Tear(7)),
            3 => proxy.once(Way::ToServer, set, nth, Act::Tear(20)),
            4 => proxy.once(Way::ToClient, set, nth, Act::Cut),
            _ => proxy.once(Way::ToServer, set, nth, Act::Cut),
        }
        let count = 300 + round * 17 % 300;
        set_all(&zk, &mut book, next, count).expect("sound");
        next += count;
        proxy.wait_caught(caught + 1);
    }
    let tally = judge(&server.data(), &[book]);
    assert!(tally.done > 0 && tally.unknown_applied > 0 && tally.unknown_not > 0, "{tally:?}");
    assert_eq!(tally.done + tally.not_applied + tally.unknown(), next);
}

#[test]
fn d13_a_server_that_stops_in_the_middle_leaves_a_batch_to_its_deadline() {
    undisturbed(|| {
        let server = Server::start();
        let zk = Client::builder(&server.connect_string())
            .session_timeout(scaled(10 * SECOND))
            .connect()
            .expect("serves");
        zk.create("/a", "", CreateMode::Persistent).expect("new");
        let mut book = Book::default();
        let limit = scaled(SECOND);
        let short = zk.with_timeout(limit);
        // Until one is caught by the stop in its middle.
        let mut next = 0;
        eventually("a batch that was stopped in its middle", 60 * SECOND, || {
            let sets = (next..next + 3_000).map(|n| op::SetData::new("/a", value(n)));
            let start = Instant::now();
            let mut batch = short.submit_all(sets).expect("room");
            let first = batch.next().expect("3,000");
            server.pause();
            let ended: Vec<_> = std::iter::once(first).chain(batch).collect();
            let took = start.elapsed();
            server.resume();
            assert!(took < limit + scaled(SECOND / 4), "{took:?}");
            let mut done = 0;
            for (n, ended) in (next..).zip(ended) {
                done += usize::from(ended.is_ok());
                let error = book.note(value(n), ended.map(|stat| stat.mzxid));
                assert!(
                    matches!(error, None | Some(Error::Timeout { sent: true, .. })),
                    "{error:?}"
                );
            }
            next += 3_000;
            done > 0 && done < 3_000
        });
        zk.get_data("/a").expect("goes on");
        let tally = judge(&server.data(), &[book]);
        assert!(tally.done > 0 && tally.unknown() > 0, "{tally:?}");
    });
}

#[test]
fn a_session_that_ends_in_the_middle_takes_nothing_into_the_next() {
    let chroot = fresh_chroot();
    let proxy = Proxy::start(chroot.server().address());
    let (zk, session) = doomed(|| through(&proxy, &chroot));
    let direct = client(&chroot);
    let states = zk.subscribe().expect("not closed");
    let create = |n: usize| op::Create::new(format!("/n{n:04}")).mode(CreateMode::Ephemeral);
    // The answers to the first are held and lost; the second gets as far as the proxy, or not even
    // there if the cut is faster than the IO thread.
    proxy.once(Way::ToClient, Pick::Op(opcode::CREATE), 100, Act::Hold);
    let sent = zk.submit_all((0..500).map(create)).expect("room");
    eventually("all are done", 10 * SECOND, || {
        direct.get_children("/").is_ok_and(|children| children.len() == 500)
    });
    thread::scope(|scope| {
        let told = scope.spawn(move || sent.wait());
        proxy.hold(Way::ToServer);
        let unsent = zk.submit_all((500..700).map(create)).expect("room");
        proxy.refuse();
        proxy.cut();
        await_state(&states, SessionState::Disconnected);
        let waiting = zk.submit_all((700..900).map(create)).expect("room");
        // Nothing is lost by a hold: the next connection must not be held too.
        proxy.release(Way::ToServer);
        proxy.release(Way::ToClient);
        expire(&proxy, chroot.server(), &session);
        await_state(&states, SessionState::Expired);
        await_state(&states, SessionState::Connected);
        for ended in told.join().expect("no panic") {
            assert!(
                matches!(ended, Ok(_) | Err(Error::ConnectionLoss { sent: true, .. })),
                "{ended:?}"
            );
        }
        for ended in unsent.wait() {
            let told = matches!(
                ended,
                Err(Error::ConnectionLoss { sent: true, .. }
                    | Error::SessionExpired { sent: false, .. })
            );
            assert!(told, "{ended:?}");
        }
        for ended in waiting.wait() {
            assert!(matches!(ended, Err(Error::SessionExpired { sent: false, .. })), "{ended:?}");
        }
    });
    assert_eq!(direct.get_children("/").expect("serves"), [""; 0], "not in the next session");
    let again = zk.submit_all((0..500).map(create)).expect("room").wait();
    assert!(again.iter().all(Result::is_ok));
}

#[test]
fn a_batch_without_a_connection_fails_or_waits_as_told() {
    let chroot = fresh_chroot();
    let proxy = Proxy::start(chroot.server().address());
    let fails = through(&proxy, &chroot).when_disconnected(WhenDisconnected::Fail).connect();
    let (fails, waits) = (fails.expect("serves"), through(&proxy, &chroot).connect());
    let waits = waits.expect("serves");
    let states = [&fails, &waits].map(|zk| zk.subscribe().expect("not closed"));
    proxy.refuse();
    proxy.cut();
    states.iter().for_each(|states| await_state(states, SessionState::Disconnected));
    let create = |n: usize| op::Create::new(format!("/n{n}"));
    for ended in fails.submit_all((0..300).map(create)).expect("sound") {
        assert!(matches!(ended, Err(Error::ConnectionLoss { sent: false, .. })), "{ended:?}");
    }
    let soon = waits.with_timeout(scaled(SECOND / 5));
    for ended in soon.submit_all((0..300).map(create)).expect("room") {
        assert!(matches!(ended, Err(Error::Timeout { sent: false, .. })), "{ended:?}");
    }
    let later = waits.submit_all((300..600).map(create)).expect("room");
    proxy.accept();
    assert!(later.wait().iter().all(Result::is_ok));
    assert_eq!(waits.get_children("/").expect("there").len(), 300, "what failed was not sent");
}

#[test]
fn close_in_the_middle_of_batches_leaves_no_thread_waiting() {
    let chroot = fresh_chroot();
    let start = Instant::now();
    for round in 0..6 {
        let zk = Client::builder(&chroot.connect_string())
            .max_in_flight(if round % 2 == 0 { 400 } else { 64 * 1024 })
            .close_timeout(30 * SECOND)
            .connect()
            .expect("serves");
        thread::scope(|scope| {
            for thread in 0..4 {
                let zk = zk.clone();
                scope.spawn(move || {
                    loop {
                        let name = |n: usize| format!("/{round}-{thread}-{n}");
                        match zk.submit_all((0..700).map(|n| op::Exists::new(name(n)))) {
                            Ok(batch) => assert!(batch.wait().iter().all(|ended| {
                                matches!(ended, Ok(None) | Err(Error::Closed { .. }))
                            })),
                            Err(error) => {
                                assert!(matches!(error, Error::Closed { .. }), "{error:?}");
                                return;
                            }
                        }
                    }
                });
            }
            thread::sleep(Duration::from_millis(20 + round * 7));
            zk.clone().close().expect("serves");
        });
    }
    assert!(start.elapsed() < scaled(60 * SECOND), "{:?}", start.elapsed());
}
