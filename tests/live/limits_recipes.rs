//! E12: more children than a reply may hold. It is told, soon; nobody tries again and again, and
//! nothing is left behind; and with a larger limit there is a way out.
//!
//! Retold by behaviour: Curator `TestCuratorCache.testGreaterThan64kZNodes` (CURATOR-690).

use std::time::{Duration, Instant};

use zookeeper_blocking::recipes::{Cache, Discovery, Election, Lock, Party, Queue, Semaphore};
use zookeeper_blocking::{Client, CreateMode, Error, Result, op};

use crate::clients::patience;
use crate::faults::figure;
use crate::locks::{Yard, ms};
use crate::nodes::{await_children, children};
use crate::support::wait::{eventually, scaled};

#[track_caller]
fn assert_too_large(result: Result<()>, started: Instant) {
    assert!(matches!(result, Err(Error::TooLarge { .. })), "{result:?}");
    assert!(started.elapsed() < scaled(Duration::from_secs(5)), "it was tried again");
}

/// So many children that are none of the recipe's.
fn fill(client: &Client, path: &str, count: usize) {
    client.ensure_path(path).expect("made");
    let create = |number| op::Create::new(format!("{path}/junk {number:05}"));
    let made = client.submit_all((0..count).map(create)).expect("room").wait();
    assert!(made.iter().all(Result::is_ok));
}

#[test]
fn e12_too_many_children_of_a_recipe_are_told_and_nobody_stays_in_line() {
    const JUNK: usize = 1_500;
    let yard = Yard::new();
    let large = yard.client();
    let small = Client::builder(&yard.chroot.connect_string()).max_reply(20_000);
    let small = small.connect().expect("serves");
    for path in ["/lock", "/sem", "/office", "/party", "/services/mail"] {
        fill(&large, path, JUNK);
    }
    let now = Instant::now;
    let lock = Lock::new(&small, "/lock").expect("legal");
    let start = now();
    assert_too_large(lock.acquire().map(drop), start);
    assert_too_large(lock.try_acquire().map(drop), start);
    assert_too_large(lock.contenders().map(drop), start);
    let semaphore = Semaphore::new(&small, "/sem", 1).expect("legal");
    assert_too_large(semaphore.acquire().map(drop), now());
    let election = Election::new(&small, "/office").expect("legal");
    assert_too_large(election.campaign().map(drop), now());
    assert_too_large(Party::new(&small, "/party").expect("legal").members().map(drop), now());
    let discovery = Discovery::new(&small, "/services").expect("legal");
    assert_too_large(discovery.instances("mail").map(drop), now());
    let start = now();
    let cache = Cache::new_timeout(&small, "/lock", scaled(ms(500))).map(drop);
    assert!(matches!(cache, Err(Error::TooLarge { .. } | Error::Timeout { .. })), "{cache:?}");
    assert!(start.elapsed() < patience());
    // Nobody is left behind, and with a larger limit all goes on.
    for path in ["/lock", "/sem", "/office"] {
        await_children(&yard, path, JUNK);
    }
    await_children(&yard, "/sem-__lock__", 0);
    let held = Lock::new(&large, "/lock").expect("legal").acquire().expect("free");
    held.release().expect("held");
    assert_eq!(Cache::new(&large, "/lock").expect("read").len(), 1 + JUNK);
    eventually("no watch is left", patience(), || small.watch_count() == 0);
    small.get_data("/lock").expect("the client goes on");
}

/// 1.7 MB of names: more than Kazoo or Java take by default; and more than 16 bits count.
#[test]
fn e12_sixty_six_thousand_items_are_cached_taken_in_order_and_removed() {
    const ITEMS: usize = 66_000;
    let yard = Yard::new();
    // More in one call than usual, on a machine that may be busy.
    let client = yard.client().with_timeout(scaled(Duration::from_secs(120)));
    let queue = Queue::new(&client, "/queue").expect("legal");
    let start = Instant::now();
    for first in (0..ITEMS).step_by(1_000) {
        queue.put_all((first..first + 1_000).map(|number| number.to_string()), 100).expect("put");
    }
    let put = start.elapsed();
    assert_eq!(queue.len().expect("answered"), ITEMS);
    let start = Instant::now();
    let cache = Cache::new(&client, "/queue").expect("read");
    assert_eq!(cache.len(), 1 + ITEMS);
    let cached = start.elapsed();
    drop(cache);
    let start = Instant::now();
    for number in 0..20 {
        let item = queue.try_take().expect("answered").expect("one");
        assert_eq!(String::from_utf8_lossy(&item.data), number.to_string());
    }
    let taken = start.elapsed() / 20;
    let many = queue.try_take_all(500).expect("answered");
    assert_eq!((many.len(), many[0].data.as_slice()), (500, b"20".as_slice()));
    let start = Instant::now();
    client.delete_recursive("/queue").expect("removed");
    assert_eq!(children(&yard, "/"), Vec::<String>::new());
    let figures = (put, cached, taken, start.elapsed());
    figure("e12: 66,000 items: put by 1,000, cached, one of them taken, all removed", figures);
    client.create("/queue", "", CreateMode::Persistent).expect("gone");
}
