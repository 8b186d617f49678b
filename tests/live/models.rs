//! Nodes that hold values of a type. Curator `TestModeledFramework` (`testCrud`, `testChildren`,
//! `testBadNode`, `testVersioned`), `TestJacksonModelSerializer` in small.

use std::collections::BTreeMap;

use zookeeper_blocking::recipes::{Codec, Configuration, Modeled};
use zookeeper_blocking::{Acl, Client, Code, CreateMode, Error, RecipeError, Version};

use crate::clients::patience;
use crate::locks::{Yard, assert_code, ms};
use crate::nodes::{assert_ours, we};
use crate::support::wait::eventually;

fn limits(client: &Client) -> Modeled<u32> {
    Modeled::new(client, "/app/limits", Codec::text()).expect("a legal path")
}

#[track_caller]
fn assert_unreadable<T: std::fmt::Debug>(result: Result<T, Error>, path: &str) {
    match result {
        Err(Error::Recipe { why: RecipeError::Unreadable, at, .. }) if &*at.path == path => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn values_are_made_read_set_by_version_and_deleted() {
    let yard = Yard::new();
    let limits = limits(&yard.client());
    let upload = limits.child("upload").expect("a name");
    assert_eq!(upload.path(), "/app/limits/upload");
    assert_code(upload.get(), Code::NoNode);
    assert_eq!(upload.find().expect("answered"), None);
    assert_code(upload.set(&1, Version::Any), Code::NoNode);
    assert!(limits.children().expect("answered").is_empty());
    upload.create(&100).expect("new");
    assert_code(upload.create(&101), Code::NodeExists);
    let (value, stat) = upload.get().expect("there");
    assert_eq!((value, stat.version), (100, 0));
    assert_eq!(upload.set(&200, stat.version).expect("there").version, 1);
    assert_code(upload.set(&300, stat.version), Code::BadVersion);
    let doubled = upload.update(|value| (value < 1_000).then_some(value * 2)).expect("there");
    assert_eq!((upload.get().expect("there").0, doubled.version), (400, 2));
    let left = upload.update(|_| None).expect("there");
    assert_eq!(left.version, 2, "nothing was written");
    limits.child("download").expect("a name").put(&7).expect("made");
    limits.child("download").expect("a name").put(&8).expect("set");
    assert_eq!(limits.children().expect("there"), ["download", "upload"]);
    let values = limits.values().expect("there");
    let values: Vec<_> = values.iter().map(|(name, (value, _))| (name.as_str(), *value)).collect();
    assert_eq!(values, [("download", 8), ("upload", 400)]);
    assert_code(upload.delete(1), Code::BadVersion);
    upload.delete(2).expect("there");
    assert_eq!(upload.find().expect("answered"), None);
    for name in ["", "a/b", ".."] {
        assert!(matches!(limits.child(name), Err(Error::Invalid { .. })), "{name}");
    }
}

#[test]
fn what_is_no_value_is_refused_and_left_alone() {
    let yard = Yard::new();
    let client = yard.client();
    let limits = limits(&client);
    let bad = limits.child("bad").expect("a name");
    limits.child("good").expect("a name").put(&1).expect("made");
    client.create("/app/limits/bad", "many", CreateMode::Persistent).expect("new");
    assert_unreadable(bad.get(), "/app/limits/bad");
    assert_unreadable(limits.values(), "/app/limits/bad");
    assert_unreadable(bad.update(|value| Some(value + 1)), "/app/limits/bad");
    assert_eq!(client.get_data("/app/limits/bad").expect("there").0, b"many");
    let odd = Codec::new(
        |value: &u32| if value % 2 == 0 { Ok(vec![1]) } else { Err("odd".into()) },
        |_| Ok(0),
    );
    let odd = Modeled::new(&client, "/odd", odd).expect("a legal path");
    assert!(matches!(odd.put(&1), Err(Error::Invalid { .. })));
    odd.put(&2).expect("made");
    assert!(matches!(odd.update(|_| Some(3)), Err(Error::Invalid { .. })));
    assert_eq!(odd.get().expect("there").1.version, 0, "nothing was written");
}

#[test]
fn nodes_have_the_acl_that_was_asked_for_and_values_are_kept_fresh() {
    let yard = Yard::new();
    let client = we(&yard);
    let limits = limits(&client).acl([Acl::creator_all()]);
    let upload = limits.child("upload").expect("a name");
    upload.put(&1).expect("made");
    assert_ours(&yard, &["/app", "/app/limits", "/app/limits/upload"]);
    let fresh = upload.configuration().expect("there");
    let known = fresh.get();
    upload.set(&2, Version::Any).expect("there");
    assert_eq!(fresh.wait_change(&known, patience()).as_deref(), Some(&2));
}

#[cfg(feature = "serde")]
#[test]
fn json_is_read_into_any_type_that_serde_reads() {
    type Limits = BTreeMap<String, Vec<u32>>;
    let yard = Yard::new();
    let client = yard.client();
    let node: Modeled<Limits> = Modeled::new(&client, "/l", Codec::json()).expect("legal");
    let mut limits = Limits::from([("a \"b\"".to_owned(), vec![1, 2])]);
    let early = Configuration::<Limits>::json_with_default(&client, "/l", Limits::new());
    let early = early.expect("there is none");
    assert!(early.get().is_empty());
    node.create(&limits).expect("new");
    assert_eq!(client.get_data("/l").expect("there").0, br#"{"a \"b\"":[1,2]}"#);
    assert_eq!(node.get().expect("there").0, limits);
    let fresh = Configuration::<Limits>::json(&client, "/l").expect("read");
    let known = fresh.get();
    assert_eq!(*known, limits);
    eventually("heard", patience(), || *early.get() == limits);
    client.set_data("/l", "{\"a\":[1,", Version::Any).expect("there");
    eventually("told what is wrong", patience(), || fresh.problem().is_some());
    assert!(fresh.wait_change(&known, ms(20)).is_none());
    assert_unreadable(node.get(), "/l");
    limits.insert("c".to_owned(), Vec::new());
    node.put(&limits).expect("there");
    assert_eq!(fresh.wait_change(&known, patience()).as_deref(), Some(&limits));
}
