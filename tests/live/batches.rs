//! Operations submitted together.

use std::sync::mpsc::channel;
use std::time::Duration;

use zookeeper_blocking::{
    Acl, Applied, Client, Code, CreateMode, Error, EventKind, OpResult, Permissions, Transaction,
    Version, WatchMode, WatcherType, WhenFull, op,
};

use crate::clients::{client, patience, through};
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

#[test]
fn ten_thousand_creates_in_one_batch() {
    let zk = client(&fresh_chroot());
    let batch = zk.submit_all((0..10_000).map(|n| op::Create::new(name(n)))).expect("sound");
    assert_eq!(batch.len(), 10_000);
    for (n, created) in batch.enumerate() {
        assert_eq!(created.expect("new").path, name(n));
    }
    assert_eq!(zk.get_children("/").expect("there").len(), 10_000);
}

#[test]
fn every_operation_that_leaves_no_watch_may_be_in_a_batch() {
    #[track_caller]
    fn twice<O: op::Operation>(zk: &Client, first: O, second: O) -> [O::Reply; 2] {
        let both = zk.submit_all([first, second]).expect("sound").wait();
        let both: Vec<_> = both.into_iter().map(|done| done.expect("done")).collect();
        both.try_into().map_err(|_| "two").expect("as many as were asked")
    }
    let zk = client(&fresh_chroot());
    let everybody = || [Acl::new(Permissions::ALL, "world", "anyone")];
    // Creates of different opcodes are one kind of operation.
    let modes = [
        op::Create::new("/p"),
        op::Create::new("/p/s-").mode(CreateMode::PersistentSequential),
        op::Create::new("/e").mode(CreateMode::Ephemeral).with_stat(),
        op::Create::new("/c").mode(CreateMode::Container),
        op::Create::new("/p/d").data("d").acl(everybody()),
    ];
    let paths = zk.submit_all(modes).expect("sound").map(|created| created.expect("new").path);
    assert!(paths.eq(["/p", "/p/s-0000000000", "/e", "/c", "/p/d"]));

    let [p, none] = twice(&zk, op::Exists::new("/p"), op::Exists::new("/none"));
    assert_eq!((p.map(|stat| stat.num_children), none), (Some(2), None));
    let [d, p] = twice(&zk, op::GetData::new("/p/d"), op::GetData::new("/p"));
    assert_eq!((&*d.0, &*p.0), (&b"d"[..], &b""[..]));
    let set = |data: &'static str| op::SetData::new("/p/d", data);
    let [one, two] = twice(&zk, set("x").version(0), set("y").version(1));
    assert_eq!((one.version, two.version), (1, 2));
    let [acl, _] = twice(&zk, op::GetAcl::new("/p/d"), op::GetAcl::new("/p"));
    assert_eq!(acl.0, everybody());
    let set = || op::SetAcl::new("/p/d", everybody());
    assert_eq!(twice(&zk, set().version(0), set().version(1))[1].aversion, 2);
    let list = || op::GetChildren::new("/p");
    let mut children = twice(&zk, list(), list());
    children.iter_mut().for_each(|children| children.sort());
    assert_eq!(children, [["d", "s-0000000000"]; 2]);
    let count = |path| op::GetAllChildrenNumber::new(path);
    assert_eq!(twice(&zk, count("/p"), count("/p/d")), [2, 0]);
    let mine = || op::GetEphemerals::new("/");
    assert_eq!(twice(&zk, mine(), mine()), [["/e"]; 2]);
    assert_eq!(twice(&zk, op::Sync::new("/p"), op::Sync::new("/e"))[1], "/e");
    assert_eq!(twice(&zk, op::WhoAmI::new(), op::WhoAmI::new())[0][0].scheme, "ip");
    let reads = |path| op::MultiRead::new().get_data(path).get_children("/p");
    assert!(twice(&zk, reads("/p"), reads("/none")).iter().all(|read| read.len() == 2));
    let moves =
        |from: &'static str, to| Transaction::new().delete(from, Version::Any).create(to, "");
    let moved = zk.submit_all([moves("/c", "/c2"), moves("/none", "/no"), moves("/c2", "/c3")]);
    let moved = moved.expect("sound").wait();
    assert!(matches!(moved[0].as_deref(), Ok([OpResult::Deleted, _])), "{moved:?}");
    assert!(matches!(moved[1], Err(Error::Transaction { index: 0, .. })), "{moved:?}");
    assert!(moved[2].is_ok(), "{moved:?}");
    let delete = |path| op::Delete::new(path);
    twice(&zk, delete("/p/d"), delete("/p/s-0000000000").version(0));
    // Configurations are an administrator's; each is refused for itself.
    let configs =
        zk.submit_all([op::Reconfig::new().leaving("9"), op::Reconfig::new().leaving("8")]);
    assert!(configs.expect("sound").all(|refused| refused.is_err()));
}

#[test]
fn operations_on_watches_are_refused_wherever_they_stand_in_a_batch() {
    let chroot = fresh_chroot();
    let proxy = Proxy::start(chroot.server().address());
    let zk = through(&proxy, &chroot).connect().expect("serves");
    zk.create("/a", "", CreateMode::Persistent).expect("new");
    let watch = zk.add_watch("/a", WatchMode::Persistent).expect("there");
    proxy.reset_counts();
    for at in [0, 1, 299, 599] {
        let read = |n| match n == at {
            true => op::GetData::new("/a").watch(|_| panic!("never set")),
            false => op::GetData::new("/a"),
        };
        let refused = zk.submit_all((0..600).map(read)).expect_err("a watch");
        assert!(matches!(refused, Error::Invalid { .. }), "{refused:?}");
        assert_eq!(refused.applied(), Applied::No);
        let path = |n| if n == at { "no/slash".to_owned() } else { name(n) };
        let refused = zk.submit_all((0..600).map(|n| op::Create::new(path(n)))).expect_err("bad");
        assert!(refused.to_string().contains("no/slash"), "{refused}");
    }
    let adds = [(); 2].map(|()| op::AddWatch::new("/a", WatchMode::Recursive, |_| ()));
    zk.submit_all(adds).expect_err("they leave watches");
    let removes = [(); 2].map(|()| op::RemoveWatches::new("/a", WatcherType::Any));
    zk.submit_all(removes).expect_err("they take watches away");
    assert_eq!(proxy.counts().to_server.requests(), 0, "{:?}", proxy.counts());
    assert_eq!(zk.watch_count(), 1);
    zk.set_data("/a", "", Version::Any).expect("there");
    let heard = watch.recv_timeout(patience()).expect("still set");
    assert_eq!(heard.kind, EventKind::DataChanged);
}

#[test]
fn paths_of_a_batch_are_those_of_the_chroot() {
    let chroot = fresh_chroot();
    let zk = client(&chroot);
    zk.create("/inner", "", CreateMode::Persistent).expect("new");
    let inner = Client::connect(&format!("{}/inner", chroot.connect_string())).expect("serves");
    let creates = (0..600).map(|n| op::Create::new(name(n)).data(name(n)));
    for (n, created) in inner.submit_all(creates).expect("sound").enumerate() {
        assert_eq!(created.expect("new").path, name(n));
    }
    let reads = zk.get_many((0..600).map(|n| format!("/inner{}", name(n)))).expect("sound");
    for (n, read) in reads.into_iter().enumerate() {
        assert_eq!(read.expect("there").0, name(n).into_bytes());
    }
    let missing = inner.get_many(["/inner/n00000"]).expect("sound").remove(0).expect_err("outside");
    assert_eq!(missing.to_string(), "get_data /inner/n00000: no node");
}

#[test]
fn d6_a_callback_may_submit_a_batch_and_wait_for_it() {
    let chroot = fresh_chroot();
    // Room for less than the batch: its callback waits for room, too.
    let zk = Client::builder(&chroot.connect_string()).max_in_flight(5).connect().expect("serves");
    let (tell, told) = channel();
    let inside = zk.clone();
    let done = move |synced: Result<String, Error>| {
        synced.expect("serves");
        let created = inside.submit_all((0..100).map(|n| op::Create::new(name(n))));
        let created = created.expect("sound").filter(Result::is_ok).count();
        let read = inside.get_many((0..100).map(name)).expect("sound");
        let _ = tell.send((created, read.iter().filter(|read| read.is_ok()).count()));
    };
    zk.submit_with(op::Sync::new("/"), done).expect("room");
    assert_eq!(told.recv_timeout(patience()).expect("ends"), (100, 100));
}

#[test]
fn batches_single_calls_and_watches_keep_one_order() {
    let zk = client(&fresh_chroot());
    zk.create("/a", "", CreateMode::Persistent).expect("new");
    let lasting = zk.add_watch("/a", WatchMode::Persistent).expect("there");
    let set = |n: i32| op::SetData::new("/a", n.to_string()).version(n);
    let (tell, told) = channel();
    let (mut batches, mut singles, mut armed) = (Vec::new(), Vec::new(), 0);
    let mut version = 0;
    for round in 0..50 {
        let count = 1 + round * 13 % 40;
        batches.push((version, zk.submit_all((version..version + count).map(set)).expect("sound")));
        version += count;
        let tell = tell.clone();
        let read = op::GetData::new("/a").watch(move |event| drop(tell.send((event, version))));
        singles.push((version, zk.submit(read).expect("room")));
        let alone = zk.submit(set(version)).expect("room");
        armed += 1;
        version += 1;
        batches.push((version, zk.submit_all([op::SetData::new("/a", "x")]).expect("sound")));
        version += 1;
        assert_eq!(alone.wait().expect("in its place").version, version - 1);
    }
    for (before, batch) in batches {
        for (version, set) in (before + 1..).zip(batch) {
            assert_eq!(
                set.expect("each finds the version that the one before it left").version,
                version
            );
        }
    }
    for (version, read) in singles {
        assert_eq!(read.wait().expect("there").1.version, version, "it saw all before it, no more");
    }
    for _ in 0..armed {
        let (event, _) = told.recv_timeout(patience()).expect("each fires");
        assert_eq!(event.kind, EventKind::DataChanged);
    }
    for _ in 0..version {
        let event = lasting.recv_timeout(patience()).expect("one a change");
        assert_eq!(event.kind, EventKind::DataChanged);
    }
    assert!(lasting.try_recv().is_err());
}
