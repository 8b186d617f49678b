//! A proof of holding that travels as text.

use zookeeper_blocking::recipes::{Election, Lock, Semaphore, Sequencer};
use zookeeper_blocking::{Client, Code, CreateMode, Error, Version};

use crate::clients::{doomed, patience};
use crate::locks::{Yard, lock};
use crate::nodes::{in_callback, whole};
use crate::support::raw::Raw;
use crate::support::wait::eventually;
use crate::support::wire::op;

/// What the other process makes of the text.
fn handed_on(text: &str) -> Sequencer {
    text.parse().expect("written by ours")
}

/// A client that sees the servers' whole tree.
fn without_chroot(yard: &Yard) -> Client {
    Client::connect(&yard.chroot.server().address().to_string()).expect("serves")
}

#[test]
fn sequencer_is_true_until_the_lock_is_released_and_for_its_holder_only() {
    let yard = Yard::new();
    let (client, other) = (yard.client(), yard.client());
    let guard = lock(&client).acquire().expect("free");
    let text = guard.sequencer().to_string();
    let fence = guard.fence();
    assert_eq!(text, format!("{fence:x}{}", whole(&yard, guard.node())));
    let sequencer = handed_on(&text);
    assert_eq!((sequencer.fence(), sequencer.lock()), (fence, yard.path().as_str()));
    assert!(sequencer.check(&other).expect("answered"));
    guard.release().expect("held");
    assert!(!sequencer.check(&other).expect("answered"));
    let next = lock(&other).acquire().expect("free");
    let later = handed_on(&next.sequencer().to_string());
    assert!(later.fence() > sequencer.fence() && later.lock() == sequencer.lock());
    assert!(later.check(&client).expect("answered"));
    assert!(!sequencer.check(&client).expect("answered"));
}

#[test]
fn transaction_of_another_client_goes_through_only_while_it_is_held() {
    let yard = Yard::new();
    let (client, other) = (yard.client(), yard.client());
    client.create("/state", "", CreateMode::Persistent).expect("new");
    let guard = lock(&client).acquire().expect("free");
    let sequencer = handed_on(&guard.sequencer().to_string());
    let write = |data: &str| {
        let begun = sequencer.transaction(&other).expect("within its chroot");
        begun.set_data("/state", data.to_owned(), Version::Any).commit()
    };
    write("held").expect("held");
    guard.release().expect("held");
    match write("late") {
        Err(Error::Transaction { index: 0, code: Code::NoNode, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(client.get_data("/state").expect("there").0, b"held");
}

#[test]
fn sequencer_of_an_expired_session_is_false_before_its_holder_knows() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    let guard = lock(&client).acquire().expect("free");
    let sequencer = handed_on(&guard.sequencer().to_string());
    let other = yard.client();
    assert!(sequencer.check(&other).expect("answered"));
    proxy.refuse();
    proxy.cut();
    crate::support::raw::expire(yard.chroot.server().address(), session.id(), session.password());
    assert!(!sequencer.check(&other).expect("answered"));
    assert!(guard.is_held(), "nobody told the holder yet");
    proxy.accept();
    guard.wait_lost(patience()).expect("told");
}

/// E20: a node that somebody made by hand under the same name is another.
#[test]
fn e20_node_of_the_same_name_is_not_the_holders() {
    let yard = Yard::new();
    let client = yard.client();
    let guard = lock(&client).acquire().expect("free");
    let sequencer = guard.sequencer();
    let node = whole(&yard, guard.node());
    let mut raw: Raw = yard.raw();
    raw.delete(&node, -1).expect("there");
    assert!(!sequencer.check(&client).expect("answered"));
    raw.create(&node, b"", 0).expect("deleted");
    assert!(!sequencer.check(&client).expect("answered"));
    raw.delete(&node, -1).expect("there");
    raw.close();
}

#[test]
fn sequencer_passes_between_chroots() {
    let yard = Yard::new();
    let inner = yard.client().with_chroot("/app/deep").expect("legal");
    let guard = lock(&inner).acquire().expect("free");
    let sequencer = handed_on(&guard.sequencer().to_string());
    for client in [&inner, &yard.client(), &without_chroot(&yard)] {
        assert!(sequencer.check(client).expect("answered"), "{}", client.chroot());
        sequencer.transaction(client).expect("inside").commit().expect("held");
    }
    let elsewhere = yard.client().with_chroot("/app/de").expect("legal");
    let outside = sequencer.check(&elsewhere);
    assert!(matches!(outside, Err(Error::Invalid { .. })), "{outside:?}");
}

#[test]
fn every_guard_has_one() {
    let yard = Yard::new();
    let client = yard.client();
    let lease = Semaphore::new(&client, "/sem", 2).expect("legal").acquire().expect("free");
    let lead = Election::new(&client, "/lead").expect("legal").campaign().expect("alone");
    let lock = Lock::new(&client, "/l").expect("legal").acquire().expect("free");
    for sequencer in [lease.sequencer(), lead.sequencer(), lock.sequencer()] {
        assert!(handed_on(&sequencer.to_string()).check(&client).expect("answered"));
    }
    let sequencers = [lease.sequencer(), lead.sequencer(), lock.sequencer()];
    drop((lease, lead, lock));
    for sequencer in sequencers {
        eventually("given up", patience(), || !sequencer.check(&client).expect("answered"));
    }
}

#[test]
fn check_survives_a_lost_answer_and_works_in_a_callback() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).connect().expect("serves");
    let guard = lock(&yard.client()).acquire().expect("free");
    let sequencer = guard.sequencer();
    for step in [op::SYNC, op::EXISTS] {
        proxy.drop_reply_to(step);
        assert!(sequencer.check(&client).expect("asked again"));
    }
    proxy.reset_counts();
    assert!(sequencer.check(&client).expect("answered"));
    assert_eq!(proxy.counts().to_server.requests(), 2);
    let inside = client.clone();
    assert!(in_callback(&client, move || sequencer.check(&inside).expect("answered")));
}
