//! Four-letter words, versions and credentials: what goes beside the session's requests.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use zookeeper_blocking::{Client, Error, SessionState, four_letter_word};

use crate::clients::{await_state, client, patience, soon};
use crate::support::ports;
use crate::support::server::fresh_chroot;

#[test]
fn words_are_answered_by_any_server_and_by_the_one_that_the_client_is_connected_to() {
    let chroot = fresh_chroot();
    let zk = client(&chroot);
    let host = chroot.server().connect_string();
    assert_eq!(zk.connected_host().as_deref(), Some(host.as_str()));
    for word in ["srvr", "stat", "mntr", "conf", "envi"] {
        let answer = zk.four_letter_word(word).expect("serves");
        assert!(answer.lines().count() > 3, "{word}: {answer}");
    }
    assert_eq!(zk.four_letter_word("ruok").expect("serves"), "imok");
    let ours = format!("sid=0x{:x},", zk.session_id());
    let answer = four_letter_word(&host, "cons", patience()).expect("serves");
    assert!(answer.contains(&ours), "{ours} in {answer}");
}

#[test]
fn answer_to_a_word_is_read_to_its_end() {
    let chroot = fresh_chroot();
    let zk = client(&chroot);
    let mut watches = Vec::new();
    let mut longest = String::new();
    for n in 0..200 {
        let mut path = format!("/{n}-");
        for _ in 0..10 {
            write!(path, "0123456789").expect("a string takes all");
        }
        watches.push(zk.watch_exists(&path).expect("absence is an answer").1);
        longest = path;
    }
    let answer = zk.four_letter_word("wchp").expect("serves");
    assert!(answer.len() > 3 * 8192, "{} bytes", answer.len());
    for watch in &watches {
        let path = format!("{}{}\n", chroot.path(), watch.path());
        assert!(answer.contains(&path), "{path} is missing; last {longest}");
    }
}

#[test]
fn server_tells_its_version() {
    let zk = client(&fresh_chroot());
    let version = zk.server_version().expect("serves");
    let srvr = zk.four_letter_word("srvr").expect("serves");
    let told = format!("Zookeeper version: {version}");
    assert!(srvr.starts_with(&told), "{told} in {srvr}");
    assert!(version.major == 3 && version.minor >= 4, "{version}");
}

#[test]
fn word_to_nobody_fails_in_time_and_says_whom_it_asked() {
    let free = ports::free(1)[0];
    let nobody = format!("127.0.0.1:{free}");
    let error = four_letter_word(&nobody, "ruok", patience()).expect_err("nobody there");
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert!(error.to_string().contains(&nobody), "{error}");

    // Accepts, by its backlog, and never answers.
    let silent = ports::listen();
    let address = silent.local_addr().expect("bound").to_string();
    let start = Instant::now();
    let limit = Duration::from_millis(200);
    let error = four_letter_word(&address, "ruok", limit).expect_err("silent");
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert!(start.elapsed() >= limit && start.elapsed() < patience());

    for nonsense in ["", "ruo", "ruok!", "ru k", "rü4k"] {
        let error = four_letter_word(&address, nonsense, limit).expect_err("no word");
        assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
    }
}

#[test]
fn good_credentials_are_acknowledged_and_open_doors() {
    use zookeeper_blocking::{Acl, Code, Permissions, op};
    let chroot = fresh_chroot();
    let zk = client(&chroot);
    let own = Acl::digest("ann", "secret", Permissions::ALL);
    zk.call(op::Create::new("/closed").data("x").acl([own])).expect("a fresh chroot");
    let error = zk.get_data("/closed").expect_err("we are nobody yet");
    assert_eq!(error.code(), Some(Code::NoAuth));
    zk.add_auth("digest", "ann:secret").expect("acknowledged");
    assert_eq!(zk.get_data("/closed").expect("we are ann").0, b"x");
    let early = Client::builder(&chroot.connect_string())
        .auth("digest", "ann:secret")
        .connect()
        .expect("acknowledged");
    assert_eq!(early.get_data("/closed").expect("we are ann").0, b"x");
}

#[test]
fn refused_credentials_finish_the_client() {
    let chroot = fresh_chroot();
    let zk = client(&chroot);
    let states = zk.subscribe().expect("not closed");
    let error = zk.add_auth("no-such-scheme", "x").expect_err("refused");
    assert!(matches!(error, Error::AuthFailed { .. }), "{error:?}");
    await_state(&states, SessionState::AuthFailed);
    assert_eq!(zk.state(), SessionState::AuthFailed);
    for error in [
        zk.exists("/").expect_err("finished"),
        zk.add_auth("digest", "ann:secret").expect_err("finished"),
    ] {
        assert!(matches!(error, Error::AuthFailed { .. }), "{error:?}");
        assert!(error.is_terminal());
    }
    let start = Instant::now();
    // The server has closed the connection, and with it nothing but the connection.
    let _ = zk.close();
    assert!(start.elapsed() < soon());

    let never = Client::builder(&chroot.connect_string()).auth("no-such-scheme", "x");
    let error = never.connect().expect_err("refused");
    assert!(matches!(error, Error::AuthFailed { .. }), "{error:?}");
}
