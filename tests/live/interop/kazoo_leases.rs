//! Leases that Kazoo 2.11 and ours take from each other.

use std::thread;
use std::time::{Duration, Instant};

use zookeeper_blocking::recipes::{Lease, MultiLease};

use crate::clients::patience;
use crate::interop::kazoo::Kazoo;
use crate::locks::{Yard, ms};
use crate::support::wait::eventually;

const LONG: Duration = Duration::from_secs(600);

#[test]
fn lease_of_each_is_read_renewed_and_taken_over_by_the_other() {
    let yard = Yard::new();
    let python = Kazoo::start(&yard.chroot.connect_string());
    let client = yard.client();
    let lease = |holder, duration| Lease::new(&client, "/lock", holder, duration).expect("legal");
    let ours = lease("rust \u{1f980}", LONG);
    // Theirs.
    assert_eq!(python.ask(&["lease", "/lock", "600", "python", "0"]), "True");
    assert!(ours.try_acquire().expect("answered").is_none());
    let holder = ours.holder().expect("answered").expect("one");
    assert_eq!(holder.holder, "python");
    // The other language renews under the same name, with a larger fence.
    let renewed = lease("python", ms(1_500)).try_acquire().expect("answered").expect("renewed");
    assert!(renewed.fence() > holder.fence);
    assert!(ours.try_acquire().expect("answered").is_none());
    // It ends; ours takes it, and Kazoo reads ours.
    let started = Instant::now();
    let held = ours.acquire().expect("granted at its end");
    assert!(started.elapsed() < patience() && held.fence() > renewed.fence());
    assert_eq!(python.ask(&["lease", "/lock", "600", "python", "0"]), "False");
    assert_eq!(python.ask(&["lease", "/lock", "600", "rust \u{1f980}", "0"]), "True");
    // The one that took over by the name is the later one, and ours can tell.
    let now = ours.holder().expect("answered").expect("one");
    assert!(now.fence > held.fence());
    assert!(held.renew().expect("answered").is_none());
    let held = ours.try_acquire().expect("answered").expect("by the name");
    held.release().expect("ours");
    assert_eq!(python.ask(&["lease", "/lock", "600", "python", "0"]), "True");
    eventually("only the record", patience(), || yard.nodes() == ["lease_holder"]);
}

#[test]
fn e18_kazoo_with_a_wrong_clock_takes_over_and_the_fence_tells() {
    let yard = Yard::new();
    let python = Kazoo::start(&yard.chroot.connect_string());
    let client = yard.client();
    let ours = Lease::new(&client, "/lock", "rust", LONG).expect("legal");
    let held = ours.try_acquire().expect("answered").expect("free");
    // An hour slow: refused. An hour fast: for it, ours is over.
    assert_eq!(python.ask(&["lease", "/lock", "600", "python", "-3600"]), "False");
    assert_eq!(python.ask(&["lease", "/lock", "600", "python", "3600"]), "True");
    assert!(held.is_held(), "nobody told us");
    let theirs = ours.holder().expect("answered").expect("one");
    assert!(theirs.fence > held.fence(), "a resource that compares fences refuses ours");
    assert!(held.renew().expect("answered").is_none());
    // Its end is an hour ahead by the leader's clock: ours does not take it early.
    assert!(ours.try_acquire().expect("answered").is_none());
}

#[test]
fn slots_are_shared() {
    let yard = Yard::new();
    let python = Kazoo::start(&yard.chroot.connect_string());
    let client = yard.client();
    let multi = |name: &str| {
        MultiLease::new(&client, "/slots", name, 2, LONG).expect("legal").try_acquire()
    };
    assert_eq!(python.ask(&["multi", "2", "/slots", "600", "python"]), "True");
    let ours = multi("rust").expect("answered").expect("the second slot");
    assert!(multi("third").expect("answered").is_none());
    assert_eq!(python.ask(&["multi", "2", "/slots", "600", "third"]), "False");
    assert_eq!(python.ask(&["multi", "2", "/slots", "600", "python"]), "True");
    ours.release().expect("ours");
    assert_eq!(python.ask(&["multi", "2", "/slots", "600", "third"]), "True");
    // Both languages at once, at the line before the lease.
    let threads: Vec<_> = (0..4)
        .map(|number| {
            let own = Lease::new(&client, "/crowd", &format!("rust {number}"), LONG);
            let own = own.expect("legal");
            thread::spawn(move || usize::from(own.try_acquire().expect("answered").is_some()))
        })
        .collect();
    let asked: Vec<_> = (0..4)
        .map(|number| {
            let name = format!("python {number}");
            python.begin(&["lease", "/crowd", "600", &name, "0"])
        })
        .collect();
    let ours: usize = threads.into_iter().map(|thread| thread.join().expect("no panic")).sum();
    let theirs = asked.iter().filter(|asked| asked.answer() == "True").count();
    assert_eq!(ours + theirs, 1, "{ours} of ours and {theirs} of theirs");
}
