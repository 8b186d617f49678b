//! Operations submitted together.

use std::time::Duration;

use zookeeper_blocking::{Applied, Client, Code, Error, Version, WhenFull, op};

use crate::clients::{client, through};
use crate::support::proxy::{Act, Pick, Proxy, Way};
use crate::support::server::fresh_chroot;
use crate::support::wire::op as opcode;

fn name(n: usize) -> String {
    format!("/n{n:05}")
}

#[test]
fn each_of_a_batch_succeeds_or_fails_for_itself_and_in_order() {
    let zk = client(&fresh_chroot());
    let creates = (0..2_000).map(|n| op::Create::new(name(n)).data(n.to_string()));
    let pending = zk.submit_all(creates).expect("sound");
    assert_eq!(pending.len(), 2_000);
    for (n, created) in pending.enumerate() {
        assert_eq!(created.expect("no such node yet").path, name(n));
    }
    zk.submit_all((0..2_000).step_by(3).map(|n| op::Delete::new(name(n))))
        .expect("sound")
        .for_each(|deleted| deleted.expect("there"));
    for (n, read) in zk.get_many((0..2_000).map(name)).expect("sound").into_iter().enumerate() {
        match read {
            Ok((data, stat)) => {
                assert_eq!((data, stat.version), (n.to_string().into_bytes(), 0));
                assert_ne!(n % 3, 0);
            }
            Err(error) => {
                assert_eq!(error.code(), Some(Code::NoNode));
                assert_eq!(error.at().map(|at| &*at.path), Some(&*name(n)), "{error}");
                assert_eq!(n % 3, 0);
            }
        }
    }
    assert!(zk.get_many::<&str>([]).expect("nothing asked").is_empty());
    assert!(zk.get_many(["/n00001"]).expect("a batch of one")[0].is_ok());
}

#[test]
fn one_bad_operation_sends_none() {
    let chroot = fresh_chroot();
    let proxy = Proxy::start(chroot.server().address());
    let zk = through(&proxy, &chroot).connect().expect("serves");
    proxy.reset_counts();
    let bad = zk.submit_all([op::Create::new("/a"), op::Create::new("/b//c")]);
    assert!(matches!(bad, Err(Error::Invalid { .. })), "{bad:?}");
    let watch = zk.submit_all([op::Exists::new("/a"), op::Exists::new("/a").watch(|_| ())]);
    assert!(watch.expect_err("a watch").to_string().contains("watches"), "watch");
    assert_eq!(proxy.counts().to_server.requests(), 0, "{:?}", proxy.counts());
    assert_eq!(zk.exists("/a").expect("serves"), None);
}

#[test]
fn a_batch_larger_than_what_may_be_in_flight_waits_or_is_refused() {
    let chroot = fresh_chroot();
    let small =
        |full| Client::builder(&chroot.connect_string()).max_in_flight(5).when_full(full).connect();
    let zk = small(WhenFull::Wait).expect("serves");
    let created = zk.submit_all((0..300).map(|n| op::Create::new(name(n)))).expect("sound");
    assert_eq!(created.filter(|created| created.is_ok()).count(), 300);

    let zk = small(WhenFull::Fail).expect("serves");
    let (mut done, mut busy) = (0, 0);
    for (n, set) in
        zk.submit_all((0..300).map(|n| op::SetData::new(name(n), "x"))).expect("sound").enumerate()
    {
        match set {
            Ok(_) => done += 1,
            Err(Error::Busy { limit: 5, at, .. }) => {
                busy += 1;
                assert_eq!(*at.path, *name(n), "its own path");
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(done + busy, 300);
    assert!(done >= 5, "{done}");
    let all = client(&chroot).get_many((0..300).map(name)).expect("sound");
    let changed = all.into_iter().filter(|read| read.as_ref().is_ok_and(|(data, _)| data == b"x"));
    assert_eq!(changed.count(), done, "what was refused was not done");
}

#[test]
fn answers_that_came_before_a_cut_are_told_and_the_rest_is_unknown() {
    let chroot = fresh_chroot();
    let proxy = Proxy::start(chroot.server().address());
    let zk = through(&proxy, &chroot).connect().expect("serves");
    let direct = client(&chroot);
    // The 101st answer is lost, and all after it; of those before it, what the cut let through is
    // told.
    proxy.once(Way::ToClient, Pick::Op(opcode::CREATE), 101, Act::LoseAndCut);
    let created: Vec<_> =
        zk.submit_all((0..200).map(|n| op::Create::new(name(n)))).expect("sound").collect();
    assert_eq!(created.len(), 200);
    for (n, created) in created.iter().enumerate() {
        match created {
            Ok(created) => {
                assert!(n < 100, "{n}");
                assert_eq!(created.path, name(n));
                assert!(direct.exists(&name(n)).expect("serves").is_some());
            }
            Err(error) => {
                assert!(matches!(error, Error::ConnectionLoss { .. }), "{error}");
                assert_eq!(error.applied(), Applied::Unknown);
            }
        }
    }
    assert!(zk.get_data(&name(0)).is_ok(), "the client goes on");
}

#[test]
fn a_batch_keeps_its_deadline_and_its_place_among_other_calls() {
    let chroot = fresh_chroot();
    let proxy = Proxy::start(chroot.server().address());
    let zk = through(&proxy, &chroot).connect().expect("serves");
    // One session is answered in order: the read behind the batch sees it all.
    let created = zk.submit_all((0..500).map(|n| op::Create::new(name(n)))).expect("sound");
    let children = zk.get_children("/").expect("there");
    assert_eq!(children.len(), 500);
    assert!(created.wait().iter().all(Result::is_ok));

    proxy.once(Way::ToServer, Pick::Op(opcode::SET_DATA), 1, Act::Hold);
    let soon = zk.with_timeout(Duration::from_millis(300));
    let set =
        soon.submit_all((0..10).map(|n| op::SetData::new(name(n), "x").version(Version::Any)));
    let ended = set.expect("sound").wait();
    assert!(ended.iter().all(|set| matches!(set, Err(Error::Timeout { .. }))), "{ended:?}");
    proxy.heal();
    zk.get_data(&name(0)).expect("the answers that came late belong to nobody");
}
