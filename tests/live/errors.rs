//! What a refusal says: the code, the operation, the path as the caller wrote it, and that nothing
//! was applied.

use std::sync::mpsc::channel;
use std::time::Duration;

use zookeeper_blocking::{
    Acl, Applied, Client, Code, CreateMode, Error, Permissions, Result, Transaction, Version,
    WatcherType, op,
};

use crate::clients::{client, patience, through};
use crate::support::proxy::Proxy;
use crate::support::server::{Options, Server, fresh_chroot};

/// What is asked, and the refusal that it must bring: code, operation, path.
type Row<'a> = (Code, &'a str, &'a str, Result<()>);

#[track_caller]
fn check(rows: Vec<Row<'_>>) {
    for (code, op, path, result) in rows {
        let error = result.expect_err(&format!("{op} {path}: {code}"));
        assert_eq!(error.code(), Some(code), "{error}");
        assert_eq!(error.applied(), Applied::No, "{error}");
        let at = error.at().expect("a refusal is of something");
        assert_eq!((at.op, &*at.path), (op, path), "{error}");
        let named = if path.is_empty() { op.to_owned() } else { format!("{op} {path}") };
        assert_eq!(error.to_string(), format!("{named}: {code}"));
        assert!(!error.is_terminal() && !error.is_connection(), "{error}");
    }
}

fn unit<T>(result: Result<T>) -> Result<()> {
    result.map(drop)
}

#[test]
fn each_refusal_names_its_code_operation_and_path() {
    let chroot = fresh_chroot();
    let zk = client(&chroot);
    let is_alone = chroot.server().mode().as_deref() == Some("standalone");
    // An ensemble may be changed, but not by us.
    let no_reconfig = if is_alone { Code::ReconfigDisabled } else { Code::NoAuth };
    let create = |path, mode| unit(zk.create(path, "", mode));
    create("/a", CreateMode::Persistent).expect("a fresh chroot");
    create("/a/b", CreateMode::Persistent).expect("a fresh chroot");
    create("/own", CreateMode::Ephemeral).expect("a fresh chroot");
    let closed = Acl::digest("ann", "secret", Permissions::ALL);
    unit(zk.call(op::Create::new("/closed").acl([closed]))).expect("a fresh chroot");
    let acl = |path, acl: Acl| unit(zk.call(op::Create::new(path).acl([acl])));
    let open = || [Acl::open()];
    let any = Version::Any;
    check(vec![
        (Code::NoNode, "create", "/no/x", create("/no/x", CreateMode::Persistent)),
        (Code::NoNode, "delete", "/no", zk.delete("/no", any)),
        (Code::NoNode, "get_data", "/no", unit(zk.get_data("/no"))),
        (Code::NoNode, "get_data", "/no", unit(zk.watch_data("/no"))),
        (Code::NoNode, "set_data", "/no", unit(zk.set_data("/no", "", any))),
        (Code::NoNode, "get_acl", "/no", unit(zk.get_acl("/no"))),
        (Code::NoNode, "set_acl", "/no", unit(zk.set_acl("/no", open(), any))),
        (Code::NoNode, "get_children", "/no", unit(zk.get_children("/no"))),
        (Code::NoNode, "get_children", "/no", unit(zk.watch_children("/no"))),
        (Code::NoNode, "get_children_with_stat", "/no", unit(zk.get_children_with_stat("/no"))),
        (Code::NoNode, "check", "/no", zk.check("/no", any)),
        (Code::BadVersion, "delete", "/a/b", zk.delete("/a/b", 1)),
        (Code::BadVersion, "set_data", "/a", unit(zk.set_data("/a", "", 1))),
        (Code::BadVersion, "set_acl", "/a", unit(zk.set_acl("/a", open(), 1))),
        (Code::BadVersion, "check", "/a", zk.check("/a", 1)),
        (Code::NodeExists, "create", "/a", create("/a", CreateMode::Container)),
        (Code::NotEmpty, "delete", "/a", zk.delete("/a", any)),
        (
            Code::NoChildrenForEphemerals,
            "create",
            "/own/x",
            create("/own/x", CreateMode::Persistent),
        ),
        (Code::NoAuth, "get_data", "/closed", unit(zk.get_data("/closed"))),
        (Code::NoAuth, "set_data", "/closed", unit(zk.set_data("/closed", "", any))),
        (Code::NoAuth, "get_children", "/closed", unit(zk.get_children("/closed"))),
        (Code::NoAuth, "set_acl", "/closed", unit(zk.set_acl("/closed", open(), any))),
        (Code::NoAuth, "create", "/closed/x", create("/closed/x", CreateMode::Persistent)),
        // The creator's ids are asked for, and there are none.
        (Code::InvalidAcl, "create", "/x", acl("/x", Acl::creator_all())),
        (
            Code::InvalidAcl,
            "create",
            "/x",
            acl("/x", Acl::new(Permissions::ALL, "no-such-scheme", "x")),
        ),
        (Code::NoWatcher, "remove_watches", "/a", zk.remove_watches("/a", WatcherType::Any)),
        (no_reconfig, "reconfig", "", unit(zk.call(op::Reconfig::new().leaving("1")))),
    ]);
    assert_eq!(zk.get_data("/a").expect("there").1.version, 0);
    assert_eq!(zk.watch_count(), 0);
}

#[test]
fn c14_server_says_what_it_does_not_offer_and_when_it_is_full() {
    let options = Options::new()
        .flag("-Dzookeeper.extendedTypesEnabled=false")
        .flag("-Dzookeeper.enforceQuota=true")
        .config("reconfigEnabled=true");
    let server = Server::with(&options);
    let zk = Client::connect(&server.connect_string()).expect("serves");
    zk.create("/q", "", CreateMode::Persistent).expect("empty");
    zk.ensure_path("/zookeeper/quota/q").expect("empty");
    let limits = "count=-1,bytes=-1=;byteHardLimit=3;countHardLimit=-1";
    for (name, data) in [("limits", limits), ("stats", "count=1,bytes=0")] {
        let path = format!("/zookeeper/quota/q/zookeeper_{name}");
        zk.create(&path, data, CreateMode::Persistent).expect("empty");
    }
    let mortal = op::Create::new("/mortal").ttl(Duration::from_secs(1));
    check(vec![
        (Code::Unimplemented, "create", "/mortal", unit(zk.call(mortal))),
        // Only an ensemble can be changed.
        (Code::Unimplemented, "reconfig", "", unit(zk.call(op::Reconfig::new().leaving("1")))),
        (Code::QuotaExceeded, "set_data", "/q", unit(zk.set_data("/q", "1234", Version::Any))),
    ]);
    zk.set_data("/q", "123", Version::Any).expect("just so");
}

#[test]
fn c8_failed_transaction_names_the_member_and_changes_nothing() {
    let zk = client(&fresh_chroot());
    zk.create("/a", "", CreateMode::Persistent).expect("a fresh chroot");
    // The member that fails, and how its message begins.
    let culprits: [(Transaction<'_>, Code, &str); 4] = [
        (Transaction::new().check("/a", 7), Code::BadVersion, "check /a"),
        (Transaction::new().create("/a", ""), Code::NodeExists, "create /a"),
        (Transaction::new().delete("/no", 0), Code::NoNode, "delete /no"),
        (Transaction::new().set_data("/a", "", 7), Code::BadVersion, "set_data /a"),
    ];
    for (at, (_, wanted, begins)) in culprits.iter().enumerate() {
        for index in 0..3 {
            let made = |way: usize| {
                let mut transaction = Transaction::new();
                for n in 0..3 {
                    transaction = if n == index {
                        match at {
                            0 => transaction.check("/a", 7),
                            1 => transaction.create("/a", ""),
                            2 => transaction.delete("/no", 0),
                            _ => transaction.set_data("/a", "", 7),
                        }
                    } else {
                        transaction.create(format!("/new-{way}-{n}"), "")
                    };
                }
                transaction
            };
            let (tell, told) = channel();
            zk.submit_with(made(2), move |result| {
                let _ = tell.send(result);
            })
            .expect("room in flight");
            let results = [
                zk.call(made(0)),
                zk.submit(made(1)).expect("room in flight").wait(),
                told.recv_timeout(patience()).expect("a completion"),
            ];
            for result in results {
                let error = result.expect_err("one member fails");
                let Error::Transaction { index: told, .. } = &error else {
                    panic!("{error:?}");
                };
                assert_eq!((*told, error.code()), (index, Some(*wanted)));
                assert_eq!(error.applied(), Applied::No);
                let says = format!("{begins}: operation {index} of the transaction: {wanted}");
                assert_eq!(error.to_string(), says);
            }
        }
    }
    assert_eq!(zk.get_children("/").expect("there"), ["a"]);
    assert_eq!(zk.get_data("/a").expect("there").1.version, 0);
}

#[test]
fn what_is_refused_here_is_never_sent() {
    let chroot = fresh_chroot();
    let proxy = Proxy::start(chroot.server().address());
    let zk = through(&proxy, &chroot).connect().expect("serves");
    let large = vec![0; 1 << 20];
    let sent = proxy.counts().to_server.requests();
    let refused: Vec<(&str, Result<()>)> = vec![
        ("create no-slash: ", unit(zk.create("no-slash", "", CreateMode::Persistent))),
        ("delete /: ", zk.delete("/", Version::Any)),
        ("get_data /a//b: ", unit(zk.get_data("/a//b"))),
        ("get_data /a/: ", unit(zk.watch_data("/a/"))),
        ("set_data /a: ", unit(zk.set_data("/a", "", -1))),
        ("set_data /a: ", unit(zk.set_data("/a", &large, Version::Any))),
        ("set_acl /a: ", unit(zk.set_acl("/a", [], Version::Any))),
        ("create /a: ", unit(zk.call(op::Create::new("/a").ttl(Duration::ZERO)))),
        ("multi_read: ", unit(zk.call(op::MultiRead::new()))),
        ("commit: ", unit(zk.transaction().commit())),
        ("delete /..: ", unit(zk.transaction().delete("/..", 0).commit())),
        ("commit: ", unit(zk.transaction().create("/a", &*large).create("/b", &*large).commit())),
        ("remove_watches_local x: ", unit(zk.remove_watches_local("x", WatcherType::Any))),
    ];
    for (begins, result) in refused {
        let error = result.expect_err(begins);
        assert!(matches!(error, Error::Invalid { .. }), "{begins}{error:?}");
        assert!(error.to_string().starts_with(begins), "{begins}{error}");
        assert_eq!((error.code(), error.applied()), (None, Applied::No));
    }
    assert_eq!(proxy.counts().to_server.requests(), sent);
    assert_eq!(zk.watch_count(), 0);
}

#[test]
fn c9_answer_that_is_too_large_fails_its_call_and_no_other() {
    let chroot = fresh_chroot();
    client(&chroot)
        .create("/large", vec![7; 10_000], CreateMode::Persistent)
        .expect("a fresh chroot");
    let zk = Client::builder(&chroot.connect_string()).max_reply(5_000).connect().expect("serves");
    let id = zk.session_id();
    let states = zk.subscribe().expect("not closed");
    let before = zk.submit(op::Exists::new("/large")).expect("room");
    let large = zk.submit(op::GetData::new("/large")).expect("room");
    let after = zk.submit(op::Exists::new("/large")).expect("room");
    before.wait().expect("small");
    let error = large.wait().expect_err("too large");
    let Error::TooLarge { len, limit, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(*len > 10_000 && *limit == 5_000, "{error}");
    assert_eq!(error.applied(), Applied::Unknown);
    after.wait().expect("small");
    zk.watch_data("/large").expect_err("no watch without answer");
    assert_eq!(zk.watch_count(), 0);
    assert_eq!((zk.session_id(), states.try_iter().count()), (id, 0));
}
