//! Writes that are sure in the end: creates that find their own node, deletes that go on. Curator
//! `TestFrameworkEdge` (`testProtectedCreateNodeDeletion`, `testProtectionWithKilledSession`,
//! `testOverrideCreateParentContainers` in part), `TestFailedDeleteManager` (`testBasic`,
//! `testGuaranteedDeleteOnNonExistentNode`, `testLostSession`).

use std::thread;

use zookeeper_blocking::{Client, Code, CreateMode, Error, Version, op};

use crate::clients::{doomed, expire, patience};
use crate::locks::{Yard, assert_code, ms};
use crate::nodes::{await_children, children};
use crate::support::calm::undisturbed;
use crate::support::proxy::{Act, Pick, Way};
use crate::support::wait::{eventually, scaled};
use crate::support::wire::op as ops;

const MODES: [CreateMode; 4] = [
    CreateMode::Persistent,
    CreateMode::PersistentSequential,
    CreateMode::Ephemeral,
    CreateMode::EphemeralSequential,
];

fn item(mode: CreateMode) -> op::Create<'static> {
    op::Create::new("/q/item-").data("x").mode(mode)
}

#[test]
fn protected_node_is_made_once_whether_request_or_answer_is_lost() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).connect().expect("serves");
    client.ensure_path("/q").expect("made");
    for (round, mode) in MODES.into_iter().enumerate() {
        for way in [Way::ToClient, Way::ToServer] {
            proxy.once(way, Pick::Op(ops::CREATE), 1, Act::LoseAndCut);
            let created = client.create_protected(item(mode)).expect("made");
            let names = children(&yard, "/q");
            assert_eq!(names.len(), 1, "{mode:?}, {way:?}: {names:?}");
            assert_eq!(created.path, format!("/q/{}", names[0]));
            assert!(names[0].starts_with("_c_") && names[0].contains("-item-"), "{names:?}");
            let (data, stat) = client.get_data(&created.path).expect("there");
            assert_eq!((data, stat.czxid), (b"x".to_vec(), created.zxid));
            client.delete(&created.path, Version::Any).expect("there");
        }
        proxy.wait_caught(2 * (round + 1));
    }
    assert_code(client.create_protected(op::Create::new("/none/x")), Code::NoNode);
    let bad = client.create_protected(op::Create::new("/q/../x"));
    assert!(matches!(bad, Err(Error::Invalid { .. })), "{bad:?}");
    let at_root = client.create_protected(op::Create::new("/x")).expect("made");
    assert!(at_root.path.starts_with("/_c_"), "{at_root:?}");
}

#[test]
fn protected_create_costs_one_round_trip_and_four_after_a_lost_answer() {
    undisturbed(|| {
        let yard = Yard::new();
        let proxy = yard.proxy();
        let client = yard.through(&proxy).connect().expect("serves");
        client.ensure_path("/q").expect("made");
        proxy.far();
        for (loses, trips) in [(false, 1), (true, 4)] {
            if loses {
                proxy.once(Way::ToClient, Pick::Op(ops::CREATE), 1, Act::LoseAndCut);
            }
            proxy.reset_counts();
            client.create_protected(item(CreateMode::Ephemeral)).expect("made");
            assert_eq!(proxy.counts().round_trips, trips, "{:?}", proxy.counts());
        }
    });
}

#[test]
fn protected_node_of_a_session_that_ended_is_not_taken_for_ours() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    client.ensure_path("/q").expect("made");
    proxy.once(Way::ToClient, Pick::Op(ops::CREATE), 1, Act::LoseAndCut);
    // The connection that there is stays.
    proxy.refuse();
    thread::scope(|scope| {
        let creating = scope.spawn(|| client.create_protected(item(CreateMode::Ephemeral)));
        proxy.wait_caught(1);
        await_children(&yard, "/q", 1);
        expire(&proxy, yard.chroot.server(), &session);
        let created = creating.join().expect("no panic").expect("made");
        let (_, stat) = client.get_data(&created.path).expect("there");
        assert_ne!(client.session_id(), session.id());
        assert_eq!(stat.ephemeral_owner, client.session_id());
        await_children(&yard, "/q", 1);
    });
}

#[test]
fn protected_create_that_gives_up_leaves_no_node() {
    undisturbed(|| {
        let yard = Yard::new();
        let proxy = yard.proxy();
        let client = yard.through(&proxy).connect().expect("serves");
        client.ensure_path("/q").expect("made");
        for mode in MODES {
            proxy.hold(Way::ToClient);
            let hurried = client.with_timeout(scaled(ms(200)));
            let late = hurried.create_protected(item(mode));
            assert!(matches!(late, Err(Error::Timeout { .. })), "{late:?}");
            // The server did it, if a little later on a busy machine.
            await_children(&yard, "/q", 1);
            proxy.release(Way::ToClient);
            await_children(&yard, "/q", 0);
        }
    });
}

#[test]
fn guaranteed_delete_goes_on_after_its_error() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).connect().expect("serves");
    let writer = yard.client();
    let hurried = client.with_timeout(scaled(ms(100)));
    let make = || writer.create("/n", "", CreateMode::Persistent).expect("new");
    make();
    client.delete_guaranteed("/n", Version::Any).expect("there");
    assert_code(client.delete_guaranteed("/n", Version::Any), Code::NoNode);
    make();
    proxy.refuse();
    proxy.cut();
    let lost = hurried.delete_guaranteed("/n", Version::Any);
    assert!(matches!(&lost, Err(error) if error.is_connection()), "{lost:?}");
    assert!(writer.exists("/n").expect("answered").is_some());
    proxy.accept();
    let is_gone = |client: &Client| client.exists("/n").expect("answered").is_none();
    eventually("gone", patience(), || is_gone(&writer));
    // Not what was set meanwhile.
    make();
    proxy.refuse();
    proxy.cut();
    let lost = hurried.delete_guaranteed("/n", 0);
    assert!(matches!(&lost, Err(error) if error.is_connection()), "{lost:?}");
    writer.set_data("/n", "new", Version::Any).expect("there");
    proxy.accept();
    eventually("connected", patience(), || client.exists("/n").is_ok());
    client.sync("/n").expect("behind the delete");
    assert!(!is_gone(&writer));
}

#[test]
fn guaranteed_delete_goes_on_in_the_next_session_unless_it_is_pinned() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    let writer = yard.client();
    writer.create("/free", "", CreateMode::Persistent).expect("new");
    writer.create("/pinned", "", CreateMode::Persistent).expect("new");
    let pinned = client.session().expect("there is one").with_timeout(scaled(ms(100)));
    let free = client.with_timeout(scaled(ms(100)));
    proxy.refuse();
    proxy.cut();
    pinned.delete_guaranteed("/pinned", Version::Any).expect_err("no connection");
    free.delete_guaranteed("/free", Version::Any).expect_err("no connection");
    expire(&proxy, yard.chroot.server(), &session);
    let gone = |path: &str| writer.exists(path).expect("answered").is_none();
    eventually("gone", patience(), || gone("/free"));
    assert_ne!(client.session_id(), session.id());
    assert!(!gone("/pinned"));
}
