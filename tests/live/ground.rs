//! The ground's own tests: what the server fixture promises, shown on real servers.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::forge::{AUTO, Forge};
use crate::support::process;
use crate::support::proxy::{Proxy, Way};
use crate::support::raw::{Raw, expire};
use crate::support::server::{Ensemble, Node, Options, Place, Server, fresh_chroot};
use crate::support::txnlog::{self, Txn};
use crate::support::wait::eventually;
use crate::support::wire::{ConnectRequest, In, Out, code, event, op, read_frame};

fn lives(pid: u32) -> bool {
    // A zombie is dead.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

// ---- one server ----

#[test]
fn server_serves_as_soon_as_it_is_started() {
    let server = Server::start();
    assert_eq!(server.mode().as_deref(), Some("standalone"));
    assert_eq!(server.four_letter("ruok").expect("whitelisted"), "imok");
    let mut raw = server.raw();
    raw.create("/a", b"x", 0).expect("an empty server");
    assert_eq!(raw.get("/a").expect("just created").0, b"x");
    raw.close();
}

#[test]
fn server_stops_and_its_directory_goes_with_the_drop() {
    let server = Server::start();
    let (pid, log) = (server.pid().expect("runs"), server.log_path());
    assert!(log.exists() && lives(pid));
    drop(server);
    assert!(!lives(pid));
    assert!(!log.exists());
}

#[test]
fn killed_server_comes_back_at_its_port_with_its_data_and_sessions() {
    let server = Server::start();
    let (port, pid) = (server.port(), server.pid());
    let mut raw = server.raw();
    raw.create("/kept", b"x", 1).expect("an empty server");
    server.kill();
    assert_eq!((server.pid(), server.mode()), (None, None));
    assert!(raw.call(op::PING, &[]).is_err());
    let refused = Raw::handshake(server.address(), &ConnectRequest::new()).expect_err("dead");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

    server.restart();
    assert_eq!(server.port(), port);
    assert_ne!(server.pid(), pid);
    let again = ConnectRequest {
        session_id: raw.session.session_id,
        password: raw.session.password.clone(),
        ..ConnectRequest::new()
    };
    let mut again = Raw::handshake(server.address(), &again).expect("serves");
    assert_eq!(again.session.session_id, raw.session.session_id);
    let owner = again.get("/kept").expect("kept").1.ephemeral_owner;
    assert_eq!(owner, raw.session.session_id);
}

#[test]
fn paused_server_keeps_its_connections_and_is_silent() {
    let server = Server::start();
    let mut raw = server.raw();
    server.pause();
    raw.send(&Out::new().i32(-2).i32(op::PING).0).expect("the kernel takes it");
    raw.set_limit(Duration::from_millis(100));
    assert_eq!(raw.read().expect_err("silent").kind(), ErrorKind::WouldBlock);
    server.resume();
    raw.set_limit(Duration::from_secs(10));
    assert!(raw.read().expect("goes on").is_some());
}

#[test]
fn paused_server_can_be_stopped() {
    let server = Server::start();
    let pid = server.pid().expect("runs");
    server.pause();
    server.stop();
    assert!(!lives(pid));
}

#[test]
fn options_reach_the_configuration_and_the_java_machine() {
    let options = Options::new().config("tickTime=200").flag("-Djute.maxbuffer=1000");
    let server = Server::with(&options);
    let conf = server.four_letter("conf").expect("whitelisted");
    assert!(conf.contains("tickTime=200"), "{conf}");
    let mut raw = server.raw();
    let body = Out::new().string("/big").buffer(&[0; 2000]).open_acl().i32(0);
    assert!(raw.call(op::CREATE, &body.0).is_err(), "more than jute.maxbuffer");
}

#[test]
fn servers_offer_what_the_tests_need() {
    let chroot = fresh_chroot();
    let mut raw = chroot.server().raw();
    // Time to live: refused unless extended types are enabled.
    let path = format!("{}/ttl", chroot.path());
    let body = Out::new().string(&path).buffer(b"").open_acl().i32(5).i64(100_000);
    assert_eq!(raw.call(op::CREATE_TTL, &body.0).expect("a reply").err, 0);
    // Containers: gone soon after their last child.
    let path = format!("{}/container", chroot.path());
    let body = Out::new().string(&path).buffer(b"").open_acl().i32(4);
    assert_eq!(raw.call(op::CREATE_CONTAINER, &body.0).expect("a reply").err, 0);
    raw.create(&format!("{path}/child"), b"", 0).expect("a container");
    raw.delete(&format!("{path}/child"), -1).expect("just created");
    eventually("the empty container is gone", Duration::from_secs(10), || {
        raw.exists(&path) == Err(code::NO_NODE)
    });
    // The superuser.
    raw.auth("super:test").expect("as in scripts/zk-server");
    raw.get("/zookeeper/config").expect("readable");
}

#[test]
fn session_that_somebody_expires_is_gone_at_once() {
    let chroot = fresh_chroot();
    let server = chroot.server();
    let mut victim = server.raw();
    let path = format!("{}/ephemeral", chroot.path());
    victim.create(&path, b"", 1).expect("our chroot");
    expire(server.address(), victim.session.session_id, &victim.session.password);
    assert_eq!(server.raw().exists(&path), Err(code::NO_NODE));
    assert!(victim.call(op::PING, &[]).is_err());
    let again = ConnectRequest {
        session_id: victim.session.session_id,
        password: victim.session.password.clone(),
        ..ConnectRequest::new()
    };
    let again = Raw::handshake(server.address(), &again).expect("an answer");
    assert_eq!((again.session.session_id, again.session.timeout_ms), (0, 0));
}

#[test]
fn fresh_chroots_are_empty_and_differ() {
    let (first, second) = (fresh_chroot(), fresh_chroot());
    assert_ne!(first.path(), second.path());
    let at = format!("{}{}", first.server().connect_string(), first.path());
    assert_eq!(first.connect_string(), at);
    assert_eq!(first.server().raw().children(first.path()), Ok(vec![]));
    assert!(first.path().contains("fresh_chroots_are_empty_and_differ"));
}

#[test]
fn witness_sees_a_watch_fire() {
    let chroot = fresh_chroot();
    let mut raw = chroot.server().raw();
    let body = Out::new().string(chroot.path()).bool(true);
    assert_eq!(raw.call(op::GET_DATA, &body.0).expect("a reply").err, 0);
    chroot.server().raw().set(chroot.path(), b"new", -1).expect("our chroot");
    let seen = raw.next_event().expect("an event");
    assert_eq!(seen, (event::DATA_CHANGED, chroot.path().to_owned()));
}

#[test]
fn proxy_loses_the_reply_of_a_create_that_happened() {
    let chroot = fresh_chroot();
    let proxy = Proxy::start(chroot.server().address());
    let mut raw = Raw::connect(proxy.address());
    proxy.drop_reply_to(op::CREATE);
    let path = format!("{}/a", chroot.path());
    let body = Out::new().string(&path).buffer(b"").open_acl().i32(0);
    assert!(raw.call(op::CREATE, &body.0).is_err());
    let stat = chroot.server().raw().exists(&path).expect("it happened");
    assert_eq!(proxy.caught()[0].zxid, stat.czxid);
}

#[test]
fn server_that_hears_nothing_expires_the_session() {
    let chroot = fresh_chroot();
    let proxy = Proxy::start(chroot.server().address());
    // The least that a tick of 500 ms allows.
    let request = ConnectRequest { timeout_ms: 1, ..ConnectRequest::new() };
    let mut raw = Raw::handshake(proxy.address(), &request).expect("serves");
    assert_eq!(raw.session.timeout_ms, 1000);
    let path = format!("{}/ephemeral", chroot.path());
    raw.create(&path, b"", 1).expect("our chroot");
    proxy.lose(Way::ToServer);
    let start = Instant::now();
    let mut witness = chroot.server().raw();
    eventually("the session expires", Duration::from_secs(8), || {
        witness.exists(&path) == Err(code::NO_NODE)
    });
    assert!(start.elapsed() >= Duration::from_millis(500), "{:?}", start.elapsed());
}

// ---- ensembles ----

#[test]
fn ensemble_elects_replicates_and_elects_again_when_its_leader_is_killed() {
    let ensemble = Ensemble::start(3);
    assert_eq!(ensemble.connect_string().split(',').count(), 3);
    let leader = ensemble.leader();
    assert_eq!(ensemble.followers().len(), 2);
    let mut raw = ensemble.follower().raw();
    raw.create("/a", b"x", 0).expect("an empty ensemble");

    leader.kill();
    let next = ensemble.leader();
    assert_ne!(next.id(), leader.id());
    let mut raw = next.raw();
    assert_eq!(raw.get("/a").expect("replicated").0, b"x");
    raw.create("/b", b"", 0).expect("two of three are enough");

    leader.restart();
    assert_eq!(leader.mode().as_deref(), Some("follower"));
    let mut raw = leader.raw();
    raw.sync("/").expect("follows");
    assert!(raw.exists("/b").is_ok());
}

#[test]
fn ensemble_whose_leader_is_paused_elects_another() {
    let ensemble = Ensemble::start(3);
    let leader = ensemble.leader();
    leader.pause();
    let next = ensemble.leader();
    assert_ne!(next.id(), leader.id());
    leader.resume();
    eventually("the old leader follows", Duration::from_secs(30), || {
        leader.mode().as_deref() == Some("follower")
    });
}

/// Starts two nodes and kills one; gives the other as soon as it serves reads.
fn lone_survivor(options: &Options) -> (Ensemble, usize) {
    let ensemble = Ensemble::with(2, options);
    let stays: &Node = ensemble.follower();
    ensemble.leader().kill();
    eventually("the rest is read-only", Duration::from_secs(30), || {
        stays.four_letter("isro").is_ok_and(|text| text == "ro")
    });
    let at = stays.id() - 1;
    (ensemble, at)
}

#[test]
fn node_without_quorum_serves_read_only_clients_only() {
    // Since 3.7 a read-only server gives local sessions only, and only if they are allowed.
    let options = Options::new().config("localSessionsEnabled=true");
    let options = options.config("localSessionsUpgradingEnabled=true");
    let (ensemble, stays) = lone_survivor(&options);
    let address = ensemble.nodes()[stays].address();
    let request = ConnectRequest::new();
    let refused = Raw::handshake(address, &request).expect_err("closed without a word");
    assert!(matches!(refused.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset));
    let request = ConnectRequest { read_only: Some(true), ..request };
    let mut raw = Raw::handshake(address, &request).expect("serves");
    assert_eq!(raw.session.read_only, Some(true));
    assert_eq!(raw.create("/a", b"", 0), Err(code::NOT_READ_ONLY));
    assert!(raw.exists("/zookeeper").is_ok());
}

#[test]
fn read_only_node_without_local_sessions_answers_the_handshake_with_an_error_reply() {
    // Not a ConnectResponse: the 16 bytes of a reply header, with -119 in the error's place. A
    // client that reads them as a ConnectResponse runs out of bytes at the password.
    let (ensemble, stays) = lone_survivor(&Options::new());
    let mut stream = TcpStream::connect(ensemble.nodes()[stays].address()).expect("listens");
    let request = ConnectRequest { read_only: Some(true), ..ConnectRequest::new() };
    stream.write_all(&Out(request.encode()).framed()).expect("takes it");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
    let frame = read_frame(&mut stream).expect("a frame").expect("not closed");
    eprintln!("{frame:02x?}");
    assert_eq!(frame.len(), 16);
    let mut from = In(&frame);
    let (xid, _zxid, err) = (from.i32(), from.i64(), from.i32());
    assert_eq!((xid, err), (0, code::NOT_READ_ONLY));
}

#[test]
fn ensemble_of_one_can_be_reconfigured() {
    let ensemble = Ensemble::start(1);
    let mut raw = ensemble.nodes()[0].raw();
    raw.auth("super:test").expect("as in scripts/zk-server");
    let (config, _) = raw.get("/zookeeper/config").expect("readable");
    let config = String::from_utf8(config).expect("text");
    assert!(config.contains("server.1=127.0.0.1:"), "{config}");
    // An observer that nobody runs harms no quorum.
    let joining = "server.7=127.0.0.1:1:2:observer;127.0.0.1:3";
    let body = Out::new().string(joining).null().null().i64(-1);
    let answer = raw.call(op::RECONFIG, &body.0).expect("a reply");
    assert_eq!(answer.err, 0);
}

// ---- the transaction log ----

#[test]
fn forged_parent_gives_the_last_sequence_numbers_and_then_the_same_one_for_ever() {
    let log = Forge::new()
        .create("/wrap", b"", AUTO)
        .create("/wrap/old", b"", 2_147_483_644)
        .create("/version", b"", AUTO)
        .set_data("/version", b"", i32::MAX - 1)
        .set_data("/version", b"", i32::MAX)
        .finish();
    let server = Place::start_with_log(log);
    let mut raw = server.raw();
    for number in 2_147_483_644_i64..=2_147_483_647 {
        let path = raw.create("/wrap/n-", b"", 2).expect("a sequential node");
        assert_eq!(path, format!("/wrap/n-{number}"));
    }
    for _ in 0..3 {
        assert_eq!(raw.create("/wrap/n-", b"", 2), Err(code::NODE_EXISTS));
    }
    // And this is how two clients come to hold one lock: another prefix, the same number.
    let path = raw.create("/wrap/m-", b"", 2).expect("another name");
    assert_eq!(path, "/wrap/m-2147483647");

    assert_eq!(raw.get("/version").expect("forged").1.version, i32::MAX);
    assert_eq!(raw.set("/version", b"", -1).expect("any version").version, i32::MIN);
}

#[test]
fn log_tells_what_each_request_did_over_several_lives_of_the_server() {
    let server = Server::start();
    let mut first = server.raw();
    first.create("/a", b"x", 0).expect("an empty server");
    assert_eq!(first.create("/a", b"x", 0), Err(code::NODE_EXISTS));
    let session = first.session.session_id;
    let created = first.exists("/a").expect("just created").czxid;
    server.kill();
    server.restart();
    let mut second = server.raw();
    let set = second.set("/a", b"y", 0).expect("kept");
    let multi = |version: i32, path: &str| {
        let head = |op: i32| Out::new().i32(op).bool(false).i32(-1);
        let before = head(op::CREATE).string(path).buffer(b"z").open_acl().i32(0);
        let check = head(op::CHECK).string("/a").i32(version);
        let after = head(op::SET_DATA).string(path).buffer(b"y").i32(0);
        let end = Out::new().i32(-1).bool(true).i32(-1);
        before.bytes(&check.0).bytes(&after.0).bytes(&end.0)
    };
    let failed = second.call(op::MULTI, &multi(7, "/never").0).expect("a reply");
    let done = second.call(op::MULTI, &multi(1, "/b").0).expect("a reply");
    second.delete("/a", -1).expect("there");

    let log = txnlog::read(&server.data());
    let own = txnlog::of_request(&log, session, 1);
    assert_eq!((own.len(), own[0].op, own[0].zxid), (1, op::CREATE, created));
    assert_eq!(own[0].changes[0].data.as_deref(), Some(&b"x"[..]));
    let refused = txnlog::of_request(&log, session, 2);
    assert_eq!((refused.len(), refused[0].err), (1, Some(code::NODE_EXISTS)));
    let kinds = |txn: &&Txn| (txn.op, txn.zxid);
    let of_a: Vec<(i32, i64)> = txnlog::of_path(&log, "/a").iter().map(kinds).collect();
    assert_eq!(of_a.len(), 4, "{of_a:?}");
    assert_eq!(of_a[0], (op::CREATE, created));
    assert_eq!(of_a[1], (op::SET_DATA, set.mzxid));
    assert_eq!(of_a[2], (op::MULTI, done.zxid));
    assert_eq!(of_a[3].0, op::DELETE);
    let failed = log.iter().find(|txn| txn.zxid == failed.zxid).expect("failures are logged too");
    // The server writes down the member before the one that failed as if it had happened.
    assert_eq!((failed.err, failed.changes.len()), (Some(code::BAD_VERSION), 0));
    assert!(log.iter().any(|txn| (txn.op, txn.session) == (op::CREATE_SESSION, session)));
}

#[test]
fn ensemble_starts_from_a_forged_log_too() {
    let log = Forge::new().create("/a", b"x", AUTO).zxid(0xffff_fff0).create("/b", b"y", AUTO);
    let ensemble = Ensemble::with(3, &Options::new().log(log.finish()));
    let mut raw = ensemble.follower().raw();
    assert_eq!(raw.exists("/b").expect("forged").czxid, 0xffff_fff0);
    raw.create("/c", b"", 0).expect("goes on");
}

// ---- nothing is left behind ----

#[test]
fn killed_test_process_leaves_no_server_and_no_directory() {
    const NAME: &str = "ground::killed_test_process_leaves_no_server_and_no_directory";
    const INSIDE: &str = "ZK_TEST_KILLED";
    if let Some(told) = std::env::var_os(INSIDE) {
        // The victim: tells what it has started, and waits for its end.
        let server = Server::start();
        let home = server.log_path();
        let text = format!("{} {}", server.pid().expect("runs"), home.display());
        std::fs::write(Path::new(&told), text).expect("a file of the test outside");
        std::thread::sleep(Duration::from_secs(600));
        return;
    }
    let told = std::env::temp_dir().join(format!("zk-test-told-{}", std::process::id()));
    let own = std::env::current_exe().expect("the test binary");
    let mut victim = std::process::Command::new(own);
    victim.args([NAME, "--exact", "--nocapture"]).env(INSIDE, &told);
    let mut victim = victim.stdout(std::process::Stdio::null()).spawn().expect("starts");
    let mut text = String::new();
    eventually("the victim tells", Duration::from_secs(60), || {
        text = std::fs::read_to_string(&told).unwrap_or_default();
        text.contains(' ')
    });
    let (pid, log) = text.split_once(' ').expect("both");
    let (pid, log) = (pid.parse().expect("a pid"), Path::new(log));
    assert!(lives(pid) && log.exists());
    victim.kill().expect("our own child");
    victim.wait().expect("our own child");
    eventually("the server is gone", Duration::from_secs(5), || !lives(pid));
    eventually("its directory is gone", Duration::from_secs(5), || !log.exists());
    std::fs::remove_file(told).expect("ours");
}

#[test]
fn failing_test_prints_the_servers_log() {
    const NAME: &str = "ground::failing_test_prints_the_servers_log";
    const INSIDE: &str = "ZK_TEST_FAILS";
    if std::env::var_os(INSIDE).is_some() {
        let _server = Server::start();
        panic!("on purpose");
    }
    let own = std::env::current_exe().expect("the test binary");
    let mut failing = std::process::Command::new(own);
    failing.args([NAME, "--exact", "--nocapture"]).env(INSIDE, "1");
    let output = failing.output().expect("starts");
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    let path = text.lines().find_map(|line| line.strip_prefix("--- server 1: "));
    let path = Path::new(path.expect("the log's path"));
    assert!(text.contains("binding to port"), "the end of the log:\n{text}");
    assert!(path.exists(), "the log stays for whoever wants to read all of it");
    let home = path.ancestors().nth(2).expect("as the fixture lays it out");
    std::fs::remove_dir_all(home).expect("ours");
}

#[test]
fn without_java_a_live_test_fails_and_says_how_to_get_it() {
    const NAME: &str = "ground::without_java_a_live_test_fails_and_says_how_to_get_it";
    const INSIDE: &str = "ZK_TEST_NO_JAVA";
    if std::env::var_os(INSIDE).is_some() {
        Server::start();
        return;
    }
    let own = std::env::current_exe().expect("the test binary");
    let mut failing = std::process::Command::new(own);
    failing.args([NAME, "--exact", "--nocapture"]).env(INSIDE, "1");
    let output = failing.env("JAVA_HOME", "/nowhere").output().expect("starts");
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("scripts/install-needs") && text.contains("libzookeeper-java"), "{text}");
}

#[test]
fn server_fixture_leaves_no_thread_and_no_descriptor() {
    process::alone("ground::server_fixture_leaves_no_thread_and_no_descriptor", || {
        // The watchdog and its pipe come with the first server, and stay.
        drop(Server::start());
        let before = (process::threads(), process::descriptors());
        drop(Server::start());
        assert_eq!((process::threads(), process::descriptors()), before);
    });
}
