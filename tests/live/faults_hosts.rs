//! Servers that are gone, silent, behind, read-only, renamed or no longer listed: what the search
//! for a server makes of them.

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use zookeeper_blocking::{Applied, Client, Code, CreateMode, Error, SessionState, Version};

use crate::faults::{await_connected, await_state, builder, connect, figure, gentle_ensemble, ms};
use crate::support::calm::undisturbed;
use crate::support::ports::{self, SilentPort};
use crate::support::proxy::Proxy;
use crate::support::raw::Raw;
use crate::support::server::{Ensemble, Options, Server, fresh_chroot, shared};
use crate::support::wait::eventually;

#[test]
fn a9_wiped_server_is_not_hammered_and_a_new_session_is_made_once_the_old_one_is_over() {
    undisturbed(|| {
        let server = Server::start();
        let proxy = Proxy::start(server.address());
        let client = connect(&proxy.connect_string(), ms(2_000));
        for number in 0..20 {
            client
                .create(&format!("/{number}"), b"", CreateMode::Persistent)
                .expect("an empty server");
        }
        let (old, states) = (client.session_id(), client.subscribe().expect("open"));
        let killed = Instant::now();
        server.kill();
        fs::remove_dir_all(server.data()).expect("the server's own directory");
        let lost = await_state(&states, SessionState::Disconnected);
        server.launch();
        server.wait_ready();
        proxy.reset_counts();
        let counted = Instant::now();
        let expired = await_state(&states, SessionState::Expired);
        let connections = proxy.counts().connections;
        await_state(&states, SessionState::Connected);
        assert_ne!(client.session_id(), old);
        assert_eq!(client.exists("/0").expect("a new world"), None);
        client.create("/0", b"", CreateMode::Persistent).expect("a new world");
        // Not before the session's time is over: a server that is merely behind may catch up.
        assert!(expired - killed >= ms(2_000), "{:?}", expired - killed);
        assert!(expired - lost < ms(8_000), "{:?}", expired - lost);
        let seconds = (expired - counted).as_secs_f64();
        assert!(connections as f64 <= 5.0 * seconds + 3.0, "{connections} in {seconds} s");
        figure("a9, data wiped: loss to Expired, T 2 s", expired - lost);
        figure("a9, connections to the wiped server, and seconds", (connections, seconds));
    });
}

#[test]
fn a11_cut_off_node_serves_reads_to_those_who_allow_it_and_is_left_when_writes_are_back() {
    undisturbed(|| {
        let options = Options::new().config("localSessionsEnabled=true");
        let options = options.config("localSessionsUpgradingEnabled=true");
        let ensemble = Ensemble::with(3, &options);
        let at = ensemble.connect_string();
        let reader = || builder(&at, ms(6_000)).read_only(true).connect().expect("serves");
        let owner = reader();
        owner.create("/a", b"x", CreateMode::Persistent).expect("an empty ensemble");
        // Makes the session a global one; a local one is known to its own server only.
        let own =
            owner.create("/a/own", b"", CreateMode::Ephemeral).expect("nothing is broken yet");
        let id = owner.session_id();
        let strict = connect(&at, ms(6_000));

        let nodes = ensemble.nodes();
        // A sync, so that the one that stays has the nodes.
        let mut witness = nodes[2].raw();
        witness.sync("/a").expect("quorum");
        nodes[0].kill();
        nodes[1].kill();
        eventually("the third is read-only", Duration::from_secs(30), || {
            nodes[2].four_letter("isro").is_ok_and(|text| text == "ro")
        });
        // One that has never seen the quorum has no session that others know, and so no id.
        let fresh = reader();
        assert_eq!((fresh.state(), fresh.session_id()), (SessionState::ReadOnly, 0));
        assert_eq!(fresh.get_data("/a").expect("a read").0, b"x");
        assert!(fresh.exists(&own).expect("a read").is_some());
        for _ in 0..3 {
            let error = fresh.set_data("/a", b"y", Version::Any).expect_err("read-only");
            assert_eq!(error.code(), Some(Code::NotReadOnly), "{error}");
            assert_eq!(error.applied(), Applied::No);
        }
        assert_eq!(fresh.state(), SessionState::ReadOnly, "a refusal is no fault");
        let states = fresh.subscribe().expect("open");
        // Since 3.7 a read-only server refuses a session of the quorum, by closing: the client keeps
        // the session, and has no server. One that wants writes has none either.
        for client in [&owner, &strict] {
            let error = client.with_timeout(ms(300)).exists("/a").expect_err("nowhere");
            assert!(error.is_connection(), "{error}");
        }
        assert_eq!((owner.state(), owner.session_id()), (SessionState::Disconnected, id));

        nodes[0].launch();
        let leads = || nodes.iter().any(|node| node.mode().as_deref() == Some("leader"));
        eventually("two of three elect", Duration::from_secs(30), leads);
        let healed = Instant::now();
        let back = await_state(&states, SessionState::Connected).saturating_duration_since(healed);
        figure("a11, quorum back to read-write", back);
        assert!(back <= ms(2_500), "{back:?}");
        assert_ne!(fresh.session_id(), 0);
        fresh.set_data("/a", b"y", Version::Any).expect("read-write");
        await_connected(&owner);
        assert_eq!(owner.session_id(), id);
        let stat = owner.exists(&own).expect("back").expect("kept");
        assert_eq!(stat.ephemeral_owner, id);
        await_connected(&strict);
    });
}

#[test]
fn a14_black_holed_hosts_beside_a_real_one_cost_a_second_at_most() {
    undisturbed(|| {
        let chroot = fresh_chroot();
        let silent = [SilentPort::new(), SilentPort::new()];
        let at =
            format!("{},{},{}", silent[0].address(), silent[1].address(), chroot.connect_string());
        let start = Instant::now();
        let client = connect(&at, ms(10_000));
        let took = start.elapsed();
        client.exists("/").expect("connected");
        figure("a14, connect with two of three hosts black-holed", took);
        assert!(took <= ms(1_000 + 250), "{took:?}");
    });
}

#[test]
fn a17_server_that_accepts_and_never_answers_is_passed_by_within_a_third_of_the_timeout() {
    undisturbed(|| {
        let (paused, chroot) = (Server::start(), fresh_chroot());
        let at = format!("{},{}", paused.address(), chroot.connect_string());
        paused.pause();
        let start = Instant::now();
        let client = connect(&at, ms(3_000));
        let took = start.elapsed();
        assert_eq!(client.connected_host(), Some(chroot.server().connect_string()));
        figure("a17, connect past a paused server, T 3 s", took);
        assert!(took <= ms(1_000 + 300), "{took:?}");
    });
}

#[test]
fn a27_client_leaves_a_host_that_is_no_longer_listed_and_keeps_its_session() {
    undisturbed(|| {
        let ensemble = gentle_ensemble();
        let client = connect(&ensemble.connect_string(), ms(6_000));
        let (id, states) = (client.session_id(), client.subscribe().expect("open"));
        let own = client
            .create("/a27-", b"", CreateMode::EphemeralSequential)
            .expect("nobody else's name");
        let first = client.connected_host().expect("connected");
        let rest: Vec<String> = ensemble
            .nodes()
            .iter()
            .map(|node| node.connect_string())
            .filter(|host| *host != first)
            .collect();
        client.set_hosts(&rest.join(",")).expect("hosts");
        await_state(&states, SessionState::Connected);
        let second = client.connected_host().expect("connected");
        assert!(rest.contains(&second), "{second} is not of {rest:?}");
        assert_eq!(client.session_id(), id);
        let stat = client.exists(&own).expect("connected").expect("kept");
        assert_eq!(stat.ephemeral_owner, id);

        // A list without a host is refused and changes nothing.
        assert!(matches!(client.set_hosts(""), Err(Error::Invalid { .. })));
        client.exists("/").expect("connected");

        // All new, while connected nowhere.
        let proxy = Proxy::start(ensemble.nodes()[0].address());
        client.set_hosts(&proxy.connect_string()).expect("hosts");
        await_state(&states, SessionState::Connected);
        assert_eq!(client.connected_host(), Some(proxy.connect_string()));
        proxy.refuse();
        proxy.cut();
        await_state(&states, SessionState::Disconnected);
        client.set_hosts(&rest.join(",")).expect("hosts");
        let changed = Instant::now();
        let back = await_state(&states, SessionState::Connected) - changed;
        figure("a27, list replaced while disconnected to connected", back);
        assert!(back < ms(2_000), "{back:?}");
        assert_eq!(client.session_id(), id);
    });
}

#[test]
fn a25_200_clients_come_back_from_a_restart_in_time_and_not_all_at_once() {
    undisturbed(|| {
        const CLIENTS: usize = 200;
        let server = Server::start();
        let back = Arc::new(Mutex::new(Vec::new()));
        let clients: Vec<Client> = (0..CLIENTS)
            .map(|_| {
                let back = Arc::clone(&back);
                let client = builder(&server.connect_string(), ms(10_000)).on_state(move |state| {
                    if state == SessionState::Connected {
                        back.lock().expect("no panic").push(Instant::now());
                    }
                });
                client.connect().expect("serves")
            })
            .collect();
        let ids: Vec<i64> = clients.iter().map(Client::session_id).collect();
        eventually("all have said so", ms(5_000), || {
            back.lock().expect("no panic").len() == CLIENTS
        });
        back.lock().expect("no panic").clear();
        let start = Instant::now();
        server.kill();
        // Down for longer than the first tries take, so that all are in their back-off.
        thread::sleep(ms(1_000));
        server.launch();
        server.wait_ready();
        eventually("all are back", ms(10_000), || back.lock().expect("no panic").len() >= CLIENTS);
        let mut times = back.lock().expect("no panic").clone();
        times.sort();
        let (first, last) = (times[0] - start, times[CLIENTS - 1] - start);
        assert!(last <= ms(10_000), "{last:?}");
        let now: Vec<i64> = clients.iter().map(Client::session_id).collect();
        assert_eq!(now, ids, "no session was lost");
        // Two of three wait less than a second; what is left of the herd is its densest tenth.
        let densest = (0..CLIENTS)
            .map(|at| {
                let until = times[at] + ms(50);
                times[at..].iter().take_while(|time| **time <= until).count()
            })
            .max();
        figure("a25, 200 clients: first and last back after the kill", (first, last));
        figure("a25, most of 200 within 50 ms", densest);
        assert!(densest <= Some(CLIENTS / 2), "a herd of {densest:?}");
    });
}

/// Runs `body` in a process of its own that sees `hosts` instead of the machine's own /etc/hosts,
/// and asks no name server. Gives false where the system does not let us.
fn with_hosts_file(name: &str, hosts: &std::path::Path, body: impl FnOnce()) -> bool {
    const INSIDE: &str = "ZK_TEST_HOSTS_FILE";
    if std::env::var_os(INSIDE).is_some() {
        body();
        return true;
    }
    let allowed = Command::new("unshare").args(["-rm", "true"]).output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED {name}: unshare -rm is not allowed here");
        return false;
    }
    fs::write(hosts, "").expect("our own file");
    let switch = hosts.with_extension("nsswitch");
    fs::write(&switch, "hosts: files\n").expect("our own file");
    let script = r#"mount --bind "$1" /etc/hosts && mount --bind "$2" /etc/nsswitch.conf &&
        exec "$3" "$4" --exact --nocapture --test-threads=1"#;
    let output = Command::new("unshare")
        .args(["-rm", "bash", "-c", script, "bash"])
        .args([hosts, switch.as_path()])
        .arg(std::env::current_exe().expect("the test binary"))
        .arg(name)
        .env(INSIDE, hosts)
        .env("ZK_TEST_TARGET", shared().address().to_string())
        .output()
        .expect("bash");
    let text = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    let _ = (fs::remove_file(hosts), fs::remove_file(switch));
    assert!(output.status.success() && text.contains("1 passed"), "{text}{said}");
    for line in said.lines().filter(|line| line.starts_with("figure")) {
        eprintln!("{line}");
    }
    true
}

#[test]
fn a15_names_are_looked_up_anew_and_all_their_addresses_tried() {
    let own = std::env::var_os("ZK_TEST_HOSTS_FILE");
    let hosts = own.map_or_else(
        || std::env::temp_dir().join(format!("zk-hosts-{}", std::process::id())),
        Into::into,
    );
    let name = thread::current().name().expect("a test has one").to_owned();
    with_hosts_file(&name, &hosts, || {
        let target = std::env::var("ZK_TEST_TARGET").expect("given");
        let target = target.parse().expect("an address");
        // In place: the file itself is what is mounted.
        let say = |text: &str| fs::write(&hosts, text).expect("our own file");

        // Two addresses, one of which nobody listens at.
        let listener = ports::listen();
        let port = ports::port_of(&listener);
        let proxy = Proxy::on(listener, target);
        say("127.0.0.1 zk.test\n127.0.0.2 zk.test\n127.0.0.3 zk.test\n");
        for _ in 0..5 {
            let client = connect(&format!("zk.test:{port}"), ms(6_000));
            client.exists("/").expect("connected");
        }
        // The other family too.
        say("::1 zk.test\n127.0.0.1 zk.test\n");
        connect(&format!("zk.test:{port}"), ms(6_000));
        // ZOOKEEPER-3723: a name that nobody knows spoils nothing.
        let at = format!("unknown.test:{port},zk.test:{port}");
        connect(&at, ms(6_000));

        // The name moves while the client is connected, and the old address dies.
        let elsewhere = TcpListener::bind(("127.0.0.9", port)).expect("an address of its own");
        let elsewhere = Proxy::on(elsewhere, target);
        say("127.0.0.1 zk.test\n");
        let client = connect(&format!("zk.test:{port}"), ms(6_000));
        let id = client.session_id();
        assert_eq!(elsewhere.counts().connections, 0);
        say("127.0.0.9 zk.test\n");
        proxy.refuse();
        let start = Instant::now();
        proxy.cut();
        eventually("the client follows the name", ms(6_000), || elsewhere.counts().connections > 0);
        await_connected(&client);
        figure("a15, name moved and connection cut to connected", start.elapsed());
        assert_eq!(client.session_id(), id);
        // A name that vanishes for a while is no reason to give up either.
        say("\n");
        elsewhere.cut();
        thread::sleep(ms(300));
        assert_eq!(client.state(), SessionState::Disconnected);
        say("127.0.0.9 zk.test\n");
        await_connected(&client);
        let mut raw = Raw::connect(target);
        assert!(raw.exists("/").is_ok());
        raw.close();
    });
}
