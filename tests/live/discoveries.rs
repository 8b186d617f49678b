//! Services that are registered, found and picked.
//!
//! Retold by behaviour: Curator x-discovery `TestServiceDiscovery` (`testBasic`,
//! `testMultipleInstances`, `testCrashedServer`, `testCrashedInstance`, `testUpdateService`,
//! `testNoServerOnStart` in part), `TestServiceCache` (`testInitialLoad`, `testUpdate`,
//! `testExpiredInstance` in part), `TestStrategies` (`testRandom`, `testRoundRobin`, `testSticky`),
//! `TestJsonInstanceSerializer`.

use std::collections::BTreeSet;

use zookeeper_blocking::recipes::{Discovery, Picker, ServiceCache, ServiceInstance, ServiceKind};
use zookeeper_blocking::{Acl, Client, Code, CreateMode, Error, RecipeError, Version};

use crate::clients::{doomed, expire, patience};
use crate::locks::{Yard, assert_code, assert_recipe, cancelled, ms};
use crate::nodes::{assert_ours, await_children, children, in_callback, we};
use crate::support::wait::{eventually, scaled};

fn discovery(client: &Client) -> Discovery {
    Discovery::new(client, "/services").expect("legal")
}

fn mail(id: &str) -> ServiceInstance {
    ServiceInstance::new("mail").id(id).address("h7.example").port(25)
}

fn ids(instances: &[ServiceInstance]) -> Vec<&str> {
    instances.iter().map(|instance| instance.id.as_str()).collect()
}

fn cached(cache: &ServiceCache) -> Vec<String> {
    cache.instances().iter().map(|instance| instance.id.clone()).collect()
}

#[track_caller]
fn await_cached(cache: &ServiceCache, wanted: &[&str]) {
    eventually("cached", patience(), || cached(cache) == wanted);
}

#[test]
fn registered_instance_is_found_until_it_is_unregistered() {
    let yard = Yard::new();
    let client = yard.client();
    let discovery = discovery(&client);
    assert_eq!(discovery.services().expect("answered"), Vec::<String>::new());
    assert_eq!(discovery.instances("mail").expect("answered"), []);
    let (a, b) = (mail("a").payload(r#"{"@class":"x.Y","n":1}"#), mail("b").ssl_port(465));
    let registration = discovery.register(&a).expect("registered");
    assert_eq!(registration.node().path(), "/services/mail/a");
    let second = discovery.register(&b).expect("registered");
    let web = discovery.register(&ServiceInstance::new("web")).expect("registered");
    assert_eq!(discovery.services().expect("answered"), ["mail", "web"]);
    assert_eq!(discovery.instances("mail").expect("answered"), [a.clone(), b]);
    assert_eq!(discovery.instance("mail", "a").expect("answered"), Some(a));
    assert_eq!(discovery.instance("mail", "x").expect("answered"), None);
    registration.unregister().expect("was there");
    assert_eq!(ids(&discovery.instances("mail").expect("answered")), ["b"]);
    drop(second);
    await_children(&yard, "/services/mail", 0);
    drop(web);
}

#[test]
fn record_is_curators_and_its_node_ephemeral() {
    let yard = Yard::new();
    let client = yard.client();
    let mut instance = mail("7c4");
    instance.registered_ms = 1_586_597_630_241;
    let _registration = discovery(&client).register(&instance).expect("registered");
    let (record, stat) = client.get_data("/services/mail/7c4").expect("there");
    let text = concat!(
        r#"{"name":"mail","id":"7c4","address":"h7.example","port":25,"sslPort":null,"#,
        r#""payload":null,"registrationTimeUTC":1586597630241,"serviceType":"DYNAMIC","#,
        r#""uriSpec":null}"#
    );
    assert_eq!(String::from_utf8_lossy(&record), text);
    assert_eq!(stat.ephemeral_owner, client.session_id());
}

#[test]
fn children_that_are_no_records_are_passed_over() {
    let yard = Yard::new();
    let client = yard.client();
    let discovery = discovery(&client);
    client.ensure_path("/services/mail/junk/deep").expect("made");
    let registration = discovery.register(&mail("a")).expect("registered");
    assert_eq!(ids(&discovery.instances("mail").expect("answered")), ["a"]);
    let cache = discovery.cache("mail").expect("read");
    assert_eq!(cached(&cache), ["a"]);
    let started = std::time::Instant::now();
    let junk = discovery.instance("mail", "junk");
    assert_recipe(junk, RecipeError::Unreadable, started, ms(1_000));
    registration.unregister().expect("was there");
}

#[test]
fn instance_registers_again_after_an_expiry_and_a_deletion() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    let registration = discovery(&client).register(&mail("a")).expect("registered");
    let witness = discovery(&yard.client());
    expire(&proxy, yard.chroot.server(), &session);
    eventually("registered again", patience(), || registration.node().presence().made == 2);
    assert_eq!(ids(&witness.instances("mail").expect("answered")), ["a"]);
    // E9: with everything above it. It is quick: the parent may be there again before it is to go.
    eventually("removed", patience(), || {
        let _ = client.delete_recursive("/services");
        registration.node().presence().made > 2
    });
    eventually("registered again", patience(), || {
        witness.instances("mail").is_ok_and(|found| ids(&found) == ["a"])
    });
}

#[test]
fn update_is_seen_and_survives_an_expiry() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    let mut registration = discovery(&client).register(&mail("a")).expect("registered");
    let witness = discovery(&yard.client());
    let now = registration.instance().clone().address("h8").enabled(false);
    registration.update(&now).expect("written");
    assert_eq!(witness.instance("mail", "a").expect("answered"), Some(now.clone()));
    expire(&proxy, yard.chroot.server(), &session);
    eventually("registered again", patience(), || registration.node().presence().made == 2);
    assert_eq!(witness.instance("mail", "a").expect("answered"), Some(now));
    for other in [mail("b"), ServiceInstance::new("web").id("a"), mail("a").payload("{")] {
        let refused = registration.update(&other);
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }
}

#[test]
fn instance_of_another_session_is_waited_for() {
    let yard = Yard::new();
    let (first, second) = (discovery(&yard.client()), discovery(&yard.client()));
    let held = first.register(&mail("a")).expect("registered");
    assert!(second.try_register(&mail("a")).expect("answered").is_none());
    let timed_out = second.register_timeout(&mail("a"), scaled(ms(150)));
    assert!(matches!(timed_out, Err(Error::Timeout { .. })), "{timed_out:?}");
    std::thread::scope(|scope| {
        let started = std::time::Instant::now();
        let ended = cancelled(|| second.cancel(), || second.register(&mail("a")));
        assert_recipe(ended, RecipeError::Cancelled, started, ms(1_000));
        let waiting = scope.spawn(|| second.register(&mail("a")));
        held.unregister().expect("was there");
        waiting.join().expect("no panic").expect("registered").unregister().expect("was there");
    });
}

#[test]
fn static_instance_outlives_the_session_and_goes_with_its_registration() {
    let yard = Yard::new();
    let client = yard.client();
    for kind in [ServiceKind::Static, ServiceKind::Permanent] {
        let fixed = mail("a").kind(kind);
        let registration = discovery(&client).register(&fixed).expect("registered");
        let stat = client.exists("/services/mail/a").expect("answered").expect("there");
        assert_eq!(stat.ephemeral_owner, 0);
        assert_eq!(discovery(&client).instance("mail", "a").expect("answered"), Some(fixed));
        registration.unregister().expect("was there");
        assert_eq!(children(&yard, "/services/mail"), Vec::<String>::new());
    }
    let numbered = discovery(&client).register(&mail("a").kind(ServiceKind::DynamicSequential));
    assert!(matches!(numbered, Err(Error::Invalid { .. })), "{numbered:?}");
}

#[test]
fn cache_follows_and_asks_no_server() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).connect().expect("serves");
    let cache = discovery(&client).cache("mail").expect("there is none yet");
    assert!(cache.instances().is_empty());
    let others = discovery(&yard.client());
    let a = others.register(&mail("a")).expect("registered");
    let b = others.register(&mail("b")).expect("registered");
    await_cached(&cache, &["a", "b"]);
    let mut changed = b;
    changed.update(&mail("b").address("h9")).expect("written");
    eventually("seen", patience(), || cache.instances().iter().any(|it| it.address == "h9"));
    a.unregister().expect("was there");
    await_cached(&cache, &["b"]);
    proxy.reset_counts();
    let picker = Picker::random(&cache);
    for _ in 0..1_000 {
        assert_eq!(picker.pick().expect("one").id, "b");
    }
    assert_eq!(proxy.counts().to_server.requests(), 0);
    assert!(std::sync::Arc::ptr_eq(&cache.instances()[0], &cache.instances()[0]), "read once");
    drop((cache, picker));
    eventually("no watch left", patience(), || client.watch_count() == 0);
}

#[test]
fn pickers_pick_by_turn_at_random_and_the_same() {
    let yard = Yard::new();
    let client = yard.client();
    let discovery = discovery(&client);
    let cache = discovery.cache("mail").expect("there is none yet");
    let (turn, random, same) =
        (Picker::round_robin(&cache), Picker::random(&cache), Picker::sticky(&cache));
    for picker in [&turn, &random, &same] {
        assert!(picker.pick().is_none());
    }
    let mut registrations: Vec<_> =
        ["a", "b", "c"].map(|id| discovery.register(&mail(id)).expect("registered")).into();
    registrations.push(discovery.register(&mail("off").enabled(false)).expect("registered"));
    await_cached(&cache, &["a", "b", "c", "off"]);
    let take = |picker: &Picker| picker.pick().expect("one").id.clone();
    let turns: Vec<_> = (0..6).map(|_| take(&turn)).collect();
    assert_eq!(turns[..3], turns[3..]);
    assert_eq!(turns.iter().collect::<BTreeSet<_>>().len(), 3);
    let randoms: BTreeSet<_> = (0..200).map(|_| take(&random)).collect();
    assert_eq!(randoms.into_iter().collect::<Vec<_>>(), ["a", "b", "c"]);
    let stuck = take(&same);
    assert!((0..20).all(|_| take(&same) == stuck));
    let other = same.pick_where(|instance| instance.id != stuck).expect("two are left");
    assert_ne!(other.id, stuck);
    assert!((0..20).all(|_| take(&same) == other.id), "it stays there");
    let gone = registrations.iter().position(|it| it.instance().id == other.id).expect("one");
    registrations.swap_remove(gone).unregister().expect("was there");
    eventually("not there any more", patience(), || take(&same) != other.id);
    assert!(turn.pick_where(|instance| instance.id == "off").is_none(), "not enabled");
}

#[test]
fn e10_acl_is_on_every_node() {
    let yard = Yard::new();
    let ours = discovery(&we(&yard)).acl([Acl::creator_all()]);
    let _registration = ours.register(&mail("a")).expect("registered");
    assert_ours(&yard, &["/services", "/services/mail", "/services/mail/a"]);
    let stranger = discovery(&yard.client());
    assert_code(stranger.register(&mail("b")).map(drop), Code::NoAuth);
}

#[test]
fn discovery_works_in_a_chroot_and_in_a_callback() {
    let yard = Yard::new();
    let client = yard.client().with_chroot("/not/there").expect("legal");
    let inside = client.clone();
    let picked = in_callback(&client, move || {
        let discovery = discovery(&inside);
        let registration = discovery.register(&mail("a")).expect("registered");
        let picked = Picker::sticky(&discovery.cache("mail").expect("read")).pick();
        registration.unregister().expect("was there");
        picked.expect("one").id.clone()
    });
    assert_eq!(picked, "a");
    assert_eq!(children(&yard, "/not/there/services"), ["mail"]);
}

#[test]
fn names_that_are_no_names_of_nodes_are_refused() {
    let yard = Yard::new();
    let client = yard.client();
    let discovery = discovery(&client);
    client.create("/services", "", CreateMode::Persistent).expect("new");
    for (name, id) in [("a/b", "1"), ("", "1"), ("a", ""), ("a", "1/2"), ("..", "1")] {
        let refused = discovery.register(&ServiceInstance::new(name).id(id));
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
        let refused = discovery.instance(name, id);
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }
    client.delete("/services", Version::Any).expect("nothing was made in it");
}

/// Curator's `ServiceProvider.noteError`; what counts as down is told by the tests of `failures`.
#[test]
fn instance_that_is_down_is_not_picked_until_it_is_registered_anew() {
    let yard = Yard::new();
    let discovery = discovery(&yard.client());
    let mut first = discovery.register(&mail("a")).expect("registered");
    let second = discovery.register(&mail("b")).expect("registered");
    let cache = discovery.cache("mail").expect("read");
    eventually("both are known", patience(), || cache.instances().len() == 2);
    let turn = Picker::round_robin(&cache).down_after(2, std::time::Duration::MAX);
    let same = Picker::sticky(&cache).down_after(1, std::time::Duration::MAX);
    let picked = |picker: &Picker| -> BTreeSet<String> {
        (0..20).filter_map(|_| picker.pick()).map(|instance| instance.id.clone()).collect()
    };
    turn.note_error(first.instance());
    assert_eq!(picked(&turn).len(), 2, "one error is not two");
    turn.note_error(first.instance());
    assert_eq!(picked(&turn), BTreeSet::from(["b".to_owned()]));
    // Who stays with one goes to the other, and stays there.
    let stuck = same.pick().expect("one");
    same.note_error(&stuck);
    let other = same.pick().expect("the other");
    assert_ne!(other.id, stuck.id);
    assert_eq!(picked(&same), BTreeSet::from([other.id.clone()]));
    same.note_error(&other);
    assert!(same.pick().is_none() && same.pick_where(|_| true).is_none());
    // Each picker counts for itself, and the registration is another's.
    assert_eq!(picked(&Picker::random(&cache)).len(), 2);
    let moved = mail("a").address("h8.example");
    first.update(&moved).expect("registered");
    eventually("it is known", patience(), || cache.instances().iter().any(|it| **it == moved));
    assert_eq!(picked(&turn).len(), 2);
    assert_eq!(same.pick().expect("one").id, "a");
    for registration in [first, second] {
        registration.unregister().expect("registered");
    }
}
