//! The only server is killed under those who hold and those who wait, and comes back.
//!
//! Retold by behaviour: Curator `TestInterProcessMutexBase` (`testWaitingProcessKilledServer`),
//! `TestInterProcessSemaphore` (`testAcquireAfterLostServer`), `TestInterProcessSemaphoreCluster`,
//! `TestLeaderSelectorCluster` (`testRestart`, `testLostRestart`), `TestLeaderSelector`
//! (`testServerDying`).

use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use zookeeper_blocking::Client;
use zookeeper_blocking::recipes::{CloseMode, Election, Lease, Lock, Queue, Semaphore};

use crate::clients::patience;
use crate::faults::figure;
use crate::locks::ms;
use crate::support::calm::undisturbed;
use crate::support::server::Server;
use crate::support::wait::{eventually, scaled};

fn connect(server: &Server, timeout: Duration) -> Client {
    let builder = Client::builder(&server.connect_string()).session_timeout(timeout);
    builder.call_timeout(scaled(Duration::from_secs(30))).connect().expect("serves")
}

/// Everybody waits for something that another has, while the server is away.
#[test]
fn holders_hold_and_waiters_wait_over_a_server_that_is_killed_and_comes_back() {
    let server = Server::start();
    let long = Duration::from_secs(10);
    let (has, wants) = (connect(&server, long), connect(&server, long));
    let lock = |client: &Client| Lock::new(client, "/lock").expect("legal");
    let semaphore = |client: &Client| Semaphore::new(client, "/sem", 1).expect("legal");
    let office = |client: &Client| Election::new(client, "/office").expect("legal");
    let lease = |client: &Client, name: &str| {
        Lease::new(client, "/lease", name, scaled(ms(4_000))).expect("legal")
    };
    let held = lock(&has).acquire().expect("free");
    let taken = semaphore(&has).acquire().expect("free");
    let leadership = office(&has).campaign().expect("free");
    let leased = lease(&has, "has").acquire().expect("free");
    thread::scope(|scope| {
        let (wants, most) = (&wants, 3 * patience());
        let locked = scope.spawn(move || lock(wants).acquire_timeout(most));
        let shared = scope.spawn(move || semaphore(wants).acquire_timeout(most));
        let leads = scope.spawn(move || office(wants).campaign_timeout(most));
        let later = scope.spawn(move || lease(wants, "wants").acquire_timeout(most));
        let item = scope.spawn(move || {
            let queue = Queue::new(wants, "/queue").expect("legal");
            queue.take_timeout(most)
        });
        for (path, count) in [("/lock", 2), ("/sem-__lock__", 1), ("/office", 2), ("/queue", 0)] {
            eventually(&format!("{count} at {path}"), patience(), || {
                has.get_children(path).is_ok_and(|names| names.len() == count)
            });
        }
        server.kill();
        thread::sleep(ms(300));
        assert!(held.is_held() && taken.is_held() && leadership.is_held(), "for all we know");
        let start = Instant::now();
        server.launch();
        server.wait_ready();
        has.sync("/").or_else(|_| has.sync("/")).expect("connected again");
        figure("outage: served again after", start.elapsed());
        for waiting in [locked.is_finished(), shared.is_finished(), leads.is_finished()] {
            assert!(!waiting, "two holders");
        }
        let fences = [held.fence(), taken.fence(), leadership.fence(), leased.fence()];
        held.release().expect("held");
        taken.release().expect("held");
        leadership.resign().expect("held");
        Queue::new(&has, "/queue").expect("legal").put("item").expect("put");
        assert_eq!(item.join().expect("no panic").expect("put").data, b"item");
        let next = [
            locked.join().expect("no panic").expect("granted").fence(),
            shared.join().expect("no panic").expect("granted").fence(),
            leads.join().expect("no panic").expect("granted").fence(),
            later.join().expect("no panic").expect("granted").fence(),
        ];
        for (next, fence) in next.iter().zip(fences) {
            assert!(*next > fence);
        }
    });
}

/// Away for longer than the session lives: whoever held knows it before, and goes on after.
#[test]
fn leader_of_a_server_that_is_gone_for_long_stops_and_leads_again_when_it_is_back() {
    undisturbed(|| {
        let server = Server::start();
        let client = connect(&server, ms(1_000));
        let (tell, told) = channel();
        let office = Election::new(&client, "/office").expect("legal");
        let latch = office.latch(move |leadership| {
            // The test may have heard enough.
            let _ = tell.send((leadership.map(|it| it.fence()), Instant::now()));
        });
        let latch = latch.expect("a thread");
        let hear = || told.recv_timeout(patience()).expect("told in time");
        let (fence, _) = hear();
        let timeout = client.session_timeout();
        let killed = Instant::now();
        server.kill();
        let (none, stopped) = hear();
        assert_eq!(none, None);
        // By our own clock; the rest is for a busy machine.
        assert!(stopped - killed < timeout + scaled(ms(500)), "{:?}", stopped - killed);
        assert!(!latch.has_leadership());
        server.launch();
        server.wait_ready();
        let (again, _) = hear();
        assert!(again > fence && again.is_some());
        latch.close(CloseMode::NotifyLeader).expect("led");
        assert_eq!(hear().0, None);
    });
}
