//! Services that Curator 5.4 registers and ours finds, and the other way round.

use std::thread;
use std::time::Instant;

use zookeeper_blocking::recipes::{Discovery, Picker, ServiceInstance, ServiceKind};
use zookeeper_blocking::{Client, Version};

use crate::clients::{doomed, expire, patience};
use crate::faults::figure;
use crate::interop::curator::Curator;
use crate::interop::victim::{Victim, play};
use crate::locks::{Yard, ms};
use crate::nodes::children;
use crate::support::wait::eventually;

fn curator(yard: &Yard) -> Curator {
    let java = Curator::start(&yard.chroot.connect_string());
    java.make("d", "discovery", &["/a/services"]);
    java
}

fn discovery(client: &Client) -> Discovery {
    Discovery::new(client, "/a/services").expect("legal")
}

/// As Curator's driver tells what it finds, but for the payload.
fn list<'i>(instances: impl IntoIterator<Item = &'i ServiceInstance>) -> String {
    let text = |it: &ServiceInstance| {
        let port = it.port.map_or_else(|| "null".to_owned(), |port| port.to_string());
        format!("{}={}:{port}", it.id, it.address)
    };
    instances.into_iter().map(text).collect::<Vec<_>>().join(",")
}

#[track_caller]
fn await_answer(java: &Curator, words: &[&str], wanted: &str) {
    eventually(&format!("{words:?}: {wanted}"), patience(), || java.ask("d", words) == wanted);
}

#[test]
fn curators_instances_are_found_cached_and_written_again_byte_by_byte() {
    let yard = Yard::new();
    let java = curator(&yard);
    let client = yard.client();
    let ours = discovery(&client);
    let cache = ours.cache("mail").expect("there is none yet");
    let cached = || list(cache.instances().iter().map(AsRef::as_ref));
    for words in [
        &["register", "mail", "plain", "h1", "25", "DYNAMIC"][..],
        // A name and a payload that JSON has to escape, or not.
        &["register", "mail", "more", "h\u{fc}2", "26", "DYNAMIC", "\"\\\u{2603} \u{7f}/"],
        &["register", "mail", "fixed", "h3", "27", "STATIC", ""],
        &["register", "mail", "stays", "h4", "28", "PERMANENT"],
        &["register", "web", "numbered", "h5", "80", "DYNAMIC_SEQUENTIAL"],
    ] {
        assert_eq!(java.ask("d", words), "done");
    }
    let all = "fixed=h3:27,more=h\u{fc}2:26,plain=h1:25,stays=h4:28";
    let found = ours.instances("mail").expect("answered");
    assert_eq!(list(&found), all);
    eventually("cached", patience(), || cached() == all);
    assert_eq!(ours.services().expect("answered"), ["mail", "web"]);
    let kinds: Vec<_> = found.iter().map(|instance| instance.kind).collect();
    let dynamic = ServiceKind::Dynamic;
    assert_eq!(kinds, [ServiceKind::Static, dynamic, dynamic, ServiceKind::Permanent]);
    assert!(found.iter().all(|it| it.enabled && it.registered_ms > 1_600_000_000_000));
    assert_eq!(found[2].payload, None);
    let payload = found[1].payload.as_deref().expect("with one");
    assert!(payload.starts_with(r#"{"@class":"Driver$Detail","#), "{payload}");
    assert!(found[2].uri_spec.as_deref().is_some_and(|json| json.contains("{\"parts\":[")));
    let numbered = ours.instances("web").expect("answered");
    assert_eq!(
        (list(&numbered).as_str(), numbered[0].kind),
        ("numbered=h5:80", ServiceKind::DynamicSequential)
    );
    assert_ne!(children(&yard, "/a/services/web"), ["numbered"], "a number behind");
    // What ours read it writes as Curator wrote it.
    let other = Discovery::new(&client, "/other").expect("legal");
    let read = |path: &str| {
        let data = client.get_data(path).expect("there").0;
        String::from_utf8(data).expect("text")
    };
    for instance in &found {
        let registration = other.register(instance).expect("registered");
        let wanted = read(&format!("/a/services/mail/{}", instance.id));
        let written = read(registration.node().path());
        if wanted.is_ascii() {
            assert_eq!(written, wanted);
        } else {
            assert_eq!(
                other.instance("mail", &instance.id).expect("answered").as_ref(),
                Some(instance)
            );
        }
    }
    // What changes, and what goes.
    java.ask("d", &["update", "mail", "plain", "h9", "29", "DYNAMIC"]);
    java.ask("d", &["unregister", "fixed"]);
    java.ask("d", &["unregister", "stays"]);
    let all = "more=h\u{fc}2:26,plain=h9:29";
    eventually("cached", patience(), || cached() == all);
    assert_eq!(list(&ours.instances("mail").expect("answered")), all);
    java.ask("d", &["unregister", "plain"]);
    java.ask("d", &["unregister", "more"]);
    eventually("none is left", patience(), || cache.instances().is_empty());
}

#[test]
fn our_instances_are_found_cached_and_picked_by_curator() {
    let yard = Yard::new();
    let java = curator(&yard);
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    let ours = discovery(&client);
    assert_eq!(java.ask("d", &["cached", "mail"]), "");
    assert_eq!(java.ask("d", &["pick", "mail"]), "none");
    let plain = ServiceInstance::new("mail").id("plain").address("h1").port(25);
    let more = ServiceInstance::new("mail").id("more").address("h\u{fc} \"2\"").port(26);
    let detail = r#"{"@class":"Driver$Detail","zone":"z\u00fc","weight":3}"#;
    let spec = concat!(
        r#"{"parts":[{"value":"scheme","variable":true},{"value":"://","variable":false},"#,
        r#"{"value":"address","variable":true},{"value":":","variable":false},"#,
        r#"{"value":"port","variable":true}]}"#
    );
    let more = more.ssl_port(465).payload(detail).registered(std::time::SystemTime::now());
    let fixed = ServiceInstance::new("mail").id("fixed").kind(ServiceKind::Static).uri_spec(spec);
    let fixed = fixed.address("h3").port(27).payload(r#""text""#);
    let mut plain = ours.register(&plain).expect("registered");
    let more = ours.register(&more).expect("registered");
    let fixed = ours.register(&fixed).expect("registered");
    let all = "fixed=h3:27 text,more=h\u{fc} \"2\":26/465 z\u{fc},plain=h1:25";
    assert_eq!(java.ask("d", &["find", "mail"]), all);
    await_answer(&java, &["cached", "mail"], all);
    assert_eq!(java.ask("d", &["names"]), "mail");
    assert_eq!(java.ask("d", &["uri", "mail", "fixed"]), "http://h3:27");
    // Curator's provider takes its turn through ours, but for the one that is not enabled.
    plain.update(&plain.instance().clone().enabled(false)).expect("written");
    await_answer(&java, &["cached", "mail"], &format!("{all} off"));
    eventually("picked in turn", patience(), || {
        let mut picked: Vec<_> = (0..4).map(|_| java.ask("d", &["pick", "mail"])).collect();
        picked.sort_unstable();
        picked == ["fixed", "fixed", "more", "more"]
    });
    plain.update(&plain.instance().clone().enabled(true).port(99)).expect("written");
    let all = "fixed=h3:27 text,more=h\u{fc} \"2\":26/465 z\u{fc},plain=h1:99";
    await_answer(&java, &["cached", "mail"], all);
    // Registered again in the next session.
    expire(&proxy, yard.chroot.server(), &session);
    eventually("registered again", patience(), || {
        [&plain, &more].iter().all(|it| it.node().presence().made > 1)
    });
    await_answer(&java, &["cached", "mail"], all);
    assert_eq!(java.ask("d", &["find", "mail"]), all);
    // Beside Curator's own, under one name.
    java.ask("d", &["register", "mail", "java", "h7", "70", "DYNAMIC"]);
    let picker = Picker::sticky(&ours.cache("mail").expect("read"));
    assert_eq!(picker.pick_where(|it| it.port == Some(70)).expect("Curator's").id, "java");
    for registration in [plain, more, fixed] {
        registration.unregister().expect("was there");
    }
    await_answer(&java, &["cached", "mail"], "java=h7:70");
    java.ask("d", &["unregister", "java"]);
    assert_eq!(ours.instances("mail").expect("answered"), []);
}

#[test]
fn id_that_one_has_is_not_the_others() {
    let yard = Yard::new();
    let java = curator(&yard);
    let client = yard.client();
    let ours = discovery(&client);
    java.ask("d", &["register", "mail", "one", "java", "1", "DYNAMIC"]);
    let instance = ServiceInstance::new("mail").id("one").address("rust").port(2);
    assert!(ours.try_register(&instance).expect("answered").is_none());
    let own = ours.clone();
    let waiting = thread::spawn(move || own.register(&instance).expect("registered in time"));
    thread::sleep(ms(100));
    assert!(!waiting.is_finished());
    assert_eq!(java.ask("d", &["find", "mail"]), "one=java:1");
    java.ask("d", &["unregister", "one"]);
    let registration = waiting.join().expect("no panic");
    assert_eq!(java.ask("d", &["find", "mail"]), "one=rust:2");
    // Curator deletes whom it finds under its name, when it comes and when it goes. Ours makes its
    // own again, before Curator's is there or after that is gone.
    let known = registration.node().presence().made;
    java.ask("d", &["register", "mail", "one", "java", "3", "DYNAMIC"]);
    java.ask("d", &["unregister", "one"]);
    eventually("ours is there again", patience(), || {
        registration.node().presence().made > known
            && java.ask("d", &["find", "mail"]) == "one=rust:2"
    });
    registration.unregister().expect("was there");
    // A record that is none fails nobody's search for the others on our side.
    client
        .create("/a/services/mail/junk", "{", zookeeper_blocking::CreateMode::Persistent)
        .expect("new");
    java.ask("d", &["register", "mail", "one", "java", "4", "DYNAMIC"]);
    assert_eq!(list(&ours.instances("mail").expect("answered")), "one=java:4");
    client.delete("/a/services/mail/junk", Version::Any).expect("there");
}

#[test]
fn killed_instances_of_both_are_gone_for_the_other() {
    if play(|client| {
        let victim = ServiceInstance::new("mail").id("victim").address("rust").port(1);
        discovery(client).register(&victim).expect("registered")
    }) {
        return;
    }
    let yard = Yard::new();
    let java = curator(&yard);
    let mut doomed = Curator::start_alone(&yard.chroot.connect_string());
    doomed.make("d", "discovery", &["/a/services"]);
    doomed.ask("d", &["register", "mail", "doomed", "java", "2", "DYNAMIC"]);
    let name = "interop::curator_discovery::killed_instances_of_both_are_gone_for_the_other";
    let mut ours = Victim::start(name, &yard.chroot.connect_string());
    let cache = discovery(&yard.client()).cache("mail").expect("read");
    let cached = || list(cache.instances().iter().map(AsRef::as_ref));
    let both = "doomed=java:2,victim=rust:1";
    eventually("both are there", patience(), || cached() == both);
    await_answer(&java, &["cached", "mail"], both);
    let started = Instant::now();
    doomed.kill();
    eventually("Curator's is gone", patience(), || cached() == "victim=rust:1");
    figure("interop: from kill -9 of Curator's instance to its absence", started.elapsed());
    ours.kill();
    await_answer(&java, &["cached", "mail"], "");
}
