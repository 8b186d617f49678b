//! Nodes that are kept present, and the parties and groups that stand on them.
//!
//! Retold by behaviour: Curator `TestPersistentEphemeralNode` (`testDeletesNodeWhenClosed`,
//! `testRecreatesNodeWhenSessionReconnects`, `testRecreatesNodeWhenItGetsDeleted`,
//! `testNodesCreateUniquePaths`, `testData`, `testSetUpdatedDataWhenReconnected`,
//! `testRecreatesNodeWhenEphemeralOwnerSessionExpires`), `TestPersistentTtlNode.testBasic`,
//! `testForcedDeleteOfTouchNode`, `TestGroupMember`; Kazoo `test_party.py` (all four but the re-use
//! of a node that somebody made beforehand: each join has a name of its own here).

use std::collections::BTreeMap;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use zookeeper_blocking::recipes::{
    GroupMember, KeptNode, Party, PersistentNode, Presence, ShallowParty,
};
use zookeeper_blocking::{Acl, Client, Code, CreateMode, Error, RecipeError, Version};

use crate::clients::{doomed, expire, patience, soon};
use crate::locks::{Yard, assert_code, assert_recipe, cancelled, ms};
use crate::nodes::{assert_ours, await_children, children, in_callback, we, whole};
use crate::support::calm::undisturbed;
use crate::support::process;
use crate::support::wait::{eventually, scaled};
use crate::support::wire::{code, op};

fn node(client: &Client) -> PersistentNode {
    PersistentNode::new(client, "/a/node").expect("legal").data("here")
}

#[track_caller]
fn await_made(kept: &KeptNode, made: u64) -> Presence {
    let mut presence = kept.presence();
    let start = Instant::now();
    while presence.made < made || presence.czxid.is_none() {
        assert!(start.elapsed() < patience(), "{presence:?}");
        if let Some(changed) = kept.wait_change(&presence, ms(200)) {
            presence = changed;
        }
    }
    assert_eq!(presence.made, made);
    presence
}

#[test]
fn node_is_there_until_its_handle_is_closed_or_dropped() {
    let yard = Yard::new();
    let client = yard.client();
    let kept = node(&client).keep().expect("made");
    let (data, stat) = client.get_data("/a/node").expect("there");
    assert_eq!((data.as_slice(), stat.ephemeral_owner), (&b"here"[..], client.session_id()));
    let presence = kept.presence();
    assert_eq!(presence.made, 1);
    assert_eq!(presence.czxid, Some(stat.czxid));
    assert_eq!(presence.session_id, Some(client.session_id()));
    assert!(kept.is_present() && kept.failure().is_none());
    kept.close().expect("deleted");
    assert_eq!(children(&yard, "/a"), Vec::<String>::new());
    drop(node(&client).keep().expect("made"));
    await_children(&yard, "/a", 0);
}

#[test]
fn node_that_somebody_deletes_is_made_again_and_told() {
    let yard = Yard::new();
    let client = yard.client();
    let kept = node(&client).keep().expect("made");
    let mut before = kept.presence();
    for made in 2..5 {
        client.delete("/a/node", Version::Any).expect("there");
        let now = await_made(&kept, made);
        assert!(now.czxid > before.czxid);
        assert_eq!(client.get_data("/a/node").expect("there").0, b"here");
        before = now;
    }
}

#[test]
fn e9_node_whose_parents_were_removed_is_made_again() {
    let yard = Yard::new();
    let client = yard.client();
    let kept = node(&client).keep().expect("made");
    // The keeper is quick: the parent may have its node back before it is to go.
    eventually("removed once", patience(), || {
        let _ = client.delete_recursive("/a");
        kept.presence().made > 1 || client.exists("/a").expect("answered").is_none()
    });
    eventually("back", patience(), || kept.presence().czxid.is_some());
    eventually("back", patience(), || client.exists("/a/node").expect("answered").is_some());
}

#[test]
fn node_is_made_again_in_the_next_session_with_the_data_of_last() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    let kept = node(&client).keep().expect("made");
    kept.set_data("new").expect("written");
    assert_eq!(client.get_data("/a/node").expect("there").0, b"new");
    let before = kept.presence();
    expire(&proxy, yard.chroot.server(), &session);
    let lost = kept.wait_change(&before, patience()).expect("told");
    assert_eq!((lost.czxid, lost.session_id, lost.made), (None, None, 1));
    let now = await_made(&kept, 2);
    assert_eq!(now.session_id, Some(client.session_id()));
    assert_ne!(now.session_id, before.session_id);
    let (data, stat) = client.get_data("/a/node").expect("there");
    assert_eq!((data.as_slice(), stat.ephemeral_owner), (&b"new"[..], client.session_id()));
    kept.close().expect("deleted");
}

#[test]
fn data_set_while_there_is_no_connection_is_written_after() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).connect().expect("serves");
    let kept = node(&client).keep().expect("made");
    proxy.refuse();
    proxy.cut();
    let setting = thread::spawn(move || kept.set_data("later").map(|()| kept));
    thread::sleep(ms(100));
    proxy.accept();
    let kept = setting.join().expect("no panic").expect("written");
    assert_eq!(yard.client().get_data("/a/node").expect("there").0, b"later");
    kept.close().expect("deleted");
}

#[test]
fn name_of_another_session_is_waited_for() {
    let yard = Yard::new();
    let (first, second) = (yard.client(), yard.client());
    let held = node(&first).keep().expect("made");
    assert!(node(&second).try_keep().expect("answered").is_none());
    let start = Instant::now();
    let late = node(&second).keep_timeout(scaled(ms(150)));
    assert!(matches!(late, Err(Error::Timeout { .. })), "{late:?}");
    assert!(start.elapsed() < soon());
    let again = node(&second);
    let ended = cancelled(|| again.cancel(), || again.keep());
    assert_recipe(ended, RecipeError::Cancelled, Instant::now(), ms(1_000));
    // Nothing of these was left behind, and nothing was taken from the holder.
    assert_eq!(held.presence().made, 1);
    let waiting = thread::spawn(move || node(&second).keep());
    held.close().expect("deleted");
    let kept = waiting.join().expect("no panic").expect("free");
    assert!(kept.is_present());
}

#[test]
fn e4_lost_answers_make_no_second_node_and_leave_none() {
    undisturbed(|| {
        let yard = Yard::new();
        let proxy = yard.proxy();
        let client = yard.through(&proxy).connect().expect("serves");
        client.ensure_path("/a").expect("made");
        for code in [op::CREATE, op::EXISTS] {
            proxy.drop_reply_to(code);
            let kept = node(&client).keep().expect("made");
            assert_eq!(kept.presence().made, 1);
            proxy.drop_reply_to(op::DELETE);
            kept.close().expect("deleted");
            assert_eq!(children(&yard, "/a"), Vec::<String>::new());
        }
        // Given up while the create is on its way.
        for code in [op::CREATE, op::EXISTS] {
            let caught = proxy.caught().len();
            proxy.once(
                crate::support::proxy::Way::ToServer,
                crate::support::proxy::Pick::Op(code),
                1,
                crate::support::proxy::Act::Hold,
            );
            let late = node(&client).keep_timeout(scaled(ms(150)));
            assert!(matches!(late, Err(Error::Timeout { .. })), "{late:?}");
            proxy.wait_caught(caught + 1);
            proxy.heal();
            client.sync("/").expect("served");
            await_children(&yard, "/a", 0);
            thread::sleep(ms(50));
            assert_eq!(children(&yard, "/a"), Vec::<String>::new());
        }
    });
}

#[test]
fn close_tells_that_the_node_was_gone() {
    let yard = Yard::new();
    let client = yard.client();
    let kept = node(&client).keep().expect("made");
    client.close().expect("acknowledged");
    let closed = kept.close();
    assert!(matches!(closed, Err(Error::Closed { .. })), "{closed:?}");
}

#[test]
fn e10_acl_is_on_the_node_and_its_parents_and_refusal_is_told() {
    let yard = Yard::new();
    let kept = node(&we(&yard)).acl([Acl::creator_all()]).keep().expect("made");
    assert_ours(&yard, &["/a", "/a/node"]);
    let stranger = PersistentNode::new(&yard.client(), "/a/b").expect("legal");
    let start = Instant::now();
    assert_code(stranger.keep(), Code::NoAuth);
    assert!(start.elapsed() < soon(), "no retries");
    drop(kept);
}

#[test]
fn persistent_node_outlives_sessions_and_goes_with_its_handle() {
    let yard = Yard::new();
    let client = yard.client();
    let kept = node(&client).persistent().keep().expect("made");
    assert_eq!(client.exists("/a/node").expect("answered").expect("there").ephemeral_owner, 0);
    client.delete("/a/node", Version::Any).expect("there");
    await_made(&kept, 2);
    kept.close().expect("deleted");
    assert_eq!(children(&yard, "/a"), Vec::<String>::new());
    // One that is there already is taken over, with our data.
    client.create("/a/node", "theirs", CreateMode::Persistent).expect("new");
    let kept = node(&client).persistent().keep().expect("made");
    assert_eq!(client.get_data("/a/node").expect("there").0, b"here");
    drop(kept);
    await_children(&yard, "/a", 0);
}

/// Curator `TestPersistentTtlNode.testBasic`, `testForcedDeleteOfTouchNode`.
#[test]
fn node_with_a_time_to_live_is_touched_and_expires_when_nobody_touches_it() {
    undisturbed(|| {
        let yard = Yard::new();
        let client = yard.client();
        let kept = node(&client).ttl(scaled(ms(600))).keep().expect("made");
        let start = Instant::now();
        while start.elapsed() < scaled(ms(1_500)) {
            assert!(client.exists("/a/node").expect("answered").is_some());
            thread::sleep(ms(20));
        }
        client.delete("/a/node/touch", Version::Any).expect("there");
        eventually("touched again", patience(), || {
            client.exists("/a/node/touch").expect("answered").is_some()
        });
        kept.close().expect("stopped");
        assert!(client.exists("/a/node").expect("answered").is_some());
        await_children(&yard, "/a", 0);
    });
}

#[test]
fn node_is_kept_while_a_callback_blocks_and_may_be_made_and_closed_in_one() {
    let yard = Yard::new();
    let client = yard.client();
    let kept = node(&client).keep().expect("made");
    let (release, held) = channel::<()>();
    let (tell, told) = channel();
    let block = move |_| {
        let _ = tell.send(());
        let _ = held.recv_timeout(Duration::from_secs(30));
    };
    client.submit_with(zookeeper_blocking::op::Exists::new("/"), block).expect("room");
    told.recv_timeout(patience()).expect("runs");
    client.delete("/a/node", Version::Any).expect("there");
    await_made(&kept, 2);
    drop(release);
    kept.close().expect("deleted");
    let own = client.clone();
    in_callback(&client, move || {
        let kept = node(&own).keep().expect("made");
        kept.set_data("x").expect("written");
        kept.close().expect("deleted");
    });
    assert_eq!(children(&yard, "/a"), Vec::<String>::new());
}

#[test]
fn keepers_end_with_their_handles_and_keep_no_client_alive() {
    process::alone("kept_nodes::keepers_end_with_their_handles_and_keep_no_client_alive", || {
        let yard = Yard::new();
        let keepers = || process::thread_names().iter().filter(|name| *name == "zk-keeper").count();
        let client = yard.client();
        let kept: Vec<_> = (0..5)
            .map(|n| PersistentNode::new(&client, &format!("/n{n}")).expect("legal"))
            .map(|node| node.keep().expect("made"))
            .collect();
        // A thread gives itself its name.
        eventually("five keepers", patience(), || keepers() == 5);
        let mut raw = yard.raw();
        let session = client.session_id();
        // The handles hold the client, the keepers do not.
        drop(client);
        assert_eq!(raw.get(&whole(&yard, "/n1")).expect("there").1.ephemeral_owner, session);
        drop(kept);
        eventually("the session is closed", patience(), || {
            raw.exists(&whole(&yard, "/n1")) == Err(code::NO_NODE)
        });
        eventually("no keepers left", patience(), || keepers() == 0);
    });
}

// ---- parties ----

/// Kazoo `test_party.py: test_party`.
#[test]
fn party_lists_those_who_joined_as_kazoo_lists_them() {
    let yard = Yard::new();
    let client = yard.client();
    let party =
        |n: usize| Party::new(&client, "/party").expect("legal").identifier(format!("p{n}"));
    assert_eq!(party(0).members().expect("answered"), []);
    let mut here = Vec::new();
    for n in 0..5 {
        here.push(party(n).join().expect("joined"));
        assert_eq!(party(0).count().expect("answered"), n + 1);
    }
    client.create("/party/lease_holder", "", CreateMode::Persistent).expect("new");
    let mut who: Vec<_> = party(0)
        .members()
        .expect("answered")
        .iter()
        .map(|member| {
            assert_eq!(member.session_id, client.session_id());
            member.identifier_text()
        })
        .collect();
    who.sort();
    assert_eq!(who, ["p0", "p1", "p2", "p3", "p4"]);
    let name = here[0].node().strip_prefix("/party/").expect("below");
    let (unique, mark) = name.split_at(32);
    assert!(unique.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{name}");
    assert_eq!(mark, "__party__");
    for left in (0..5).rev() {
        here.pop().expect("joined").leave().expect("was there");
        assert_eq!(party(0).count().expect("answered"), left);
    }
}

/// Kazoo `test_party.py: test_party_shallow`, `test_party_vanishing_node`.
#[test]
fn shallow_party_reads_names_only() {
    let yard = Yard::new();
    let client = yard.client();
    let party = |who: &str| ShallowParty::new(&client, "/party", who).expect("legal");
    let first = party("p-1 ä").join().expect("joined");
    let second = party("").join().expect("joined");
    let mut who = party("x").members().expect("answered");
    who.sort();
    assert_eq!(who, ["", "p-1 ä"]);
    assert_eq!(client.get_data(first.node()).expect("there").0, "p-1 ä".as_bytes());
    assert!(ShallowParty::new(&client, "/party", "a/b").is_err());
    // A node that somebody removes comes back.
    let known = second.presence();
    client.delete(second.node(), Version::Any).expect("there");
    second.wait_change(&known, patience()).expect("told");
    await_children(&yard, "/party", 2);
    first.leave().expect("was there");
    drop(second);
    await_children(&yard, "/party", 0);
}

#[test]
fn e22_member_joins_again_after_expiry_and_tells() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    let party = Party::new(&client, "/party").expect("legal").identifier("me");
    let membership = party.join().expect("joined");
    let before = membership.presence();
    expire(&proxy, yard.chroot.server(), &session);
    let mut known = membership.wait_change(&before, patience()).expect("told");
    while known.czxid.is_none() {
        known = membership.wait_change(&known, patience()).expect("told");
    }
    assert_eq!(known.made, 2);
    let members = party.members().expect("answered");
    assert_eq!(members.len(), 1);
    assert_eq!(members[0].session_id, client.session_id());
    membership.leave().expect("was there");
}

/// Curator `TestGroupMember`.
#[test]
fn group_has_one_member_of_each_name_with_its_payload() {
    let yard = Yard::new();
    let (first, second) = (yard.client(), yard.client());
    let group = |client, id: &str| {
        GroupMember::new(client, "/group", id).expect("legal").payload(format!("of {id}"))
    };
    let one = group(&first, "1").join().expect("joined");
    let two = group(&second, "2").join().expect("joined");
    assert!(group(&second, "1").try_join().expect("answered").is_none());
    let members = group(&first, "x").members().expect("answered");
    let expected: BTreeMap<String, Vec<u8>> =
        [("1".into(), b"of 1".to_vec()), ("2".into(), b"of 2".to_vec())].into();
    assert_eq!(members, expected);
    two.set_data("new").expect("written");
    assert_eq!(group(&first, "x").members().expect("answered")["2"], b"new");
    one.leave().expect("was there");
    assert_eq!(group(&first, "x").members().expect("answered").len(), 1);
}
