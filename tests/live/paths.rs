//! The client accepts a path exactly when the real server does.
//!
//! The server looks at a path before anything else when it prepares a write: `setData` answers -8
//! to one that is not well formed, and "no node" to the others. Its reads do not look at all.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use zookeeper_blocking::{Client, Code, CreateMode, Error, Version};

use crate::clients::client;
use crate::support::raw::Raw;
use crate::support::server::{Chroot, fresh_chroot, shared};
use crate::support::wire::{In, Out, code, op};

const BAD_ARGUMENTS: i32 = -8;

/// Whether the client sends a request for this path at all.
fn client_accepts(zk: &Client, path: &str) -> bool {
    match zk.set_data(path, "", Version::Any) {
        Ok(_) => true,
        Err(Error::Invalid { .. }) => false,
        Err(error) if error.code() == Some(Code::NoNode) => true,
        Err(error) => panic!("{path:?}: {error}"),
    }
}

fn server_accepts(raw: &mut Raw, path: &str) -> bool {
    match raw.set(path, b"", -1) {
        Ok(_) | Err(code::NO_NODE) => true,
        Err(BAD_ARGUMENTS) => false,
        Err(other) => panic!("{path:?}: {other}"),
    }
}

fn paths() -> impl Strategy<Value = String> {
    // What the rules speak of, and now and then anything else.
    let piece = prop_oneof![
        8 => prop::sample::select(vec!["/", "a", ".", "..", "...", "//", "b", " ", "%", "é"])
            .prop_map(str::to_owned),
        3 => prop::sample::select(BORDERS.to_vec()).prop_map(String::from),
        2 => any::<char>().prop_map(String::from),
    ];
    let body = prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat());
    prop_oneof![
        9 => body.clone().prop_map(|body| format!("/{body}")),
        1 => body,
    ]
}

/// On both sides of each border of the forbidden ranges.
const BORDERS: [char; 16] = [
    '\0',
    '\u{1}',
    '\u{1f}',
    ' ',
    '\u{7e}',
    '\u{7f}',
    '\u{9f}',
    '\u{a0}',
    '\u{d7ff}',
    '\u{e000}',
    '\u{f8ff}',
    '\u{f900}',
    '\u{ffef}',
    '\u{fff0}',
    '\u{ffff}',
    '\u{10000}',
];

#[test]
fn c11_client_accepts_a_path_when_the_server_does() {
    let zk = Client::connect(&shared().connect_string()).expect("serves");
    let mut raw = shared().raw();
    let config = Config { failure_persistence: None, ..Config::with_cases(1500) };
    let raw = std::cell::RefCell::new(&mut raw);
    let (mut accepted, mut refused) = (0, 0);
    let result = TestRunner::new(config).run(&paths(), |path| {
        // "/" is the one path here that there is: leave the root alone.
        prop_assume!(path != "/");
        let server = server_accepts(*raw.borrow_mut(), &path);
        prop_assert_eq!(client_accepts(&zk, &path), server, "{:?}", path);
        Ok::<(), TestCaseError>(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    // A generator that makes only good or only bad paths shows nothing.
    for path in ["/a", "/a/.../b", "/é", "/%"] {
        accepted += usize::from(server_accepts(*raw.borrow_mut(), path));
    }
    for path in ["", "a", "/a/", "//", "/./a", "/a/..", "/\u{1}", "/\u{10000}"] {
        refused += usize::from(!server_accepts(*raw.borrow_mut(), path));
        assert!(!client_accepts(&zk, path), "{path:?}");
    }
    assert_eq!((accepted, refused), (4, 8));
}

#[test]
fn c11_each_character_is_forbidden_by_both_or_by_none() {
    let zk = Client::connect(&shared().connect_string()).expect("serves");
    let mut raw = shared().raw();
    let sample = (0..=0x1_00ff_u32).step_by(53);
    let borders = BORDERS.iter().map(|c| *c as u32);
    let near = borders.flat_map(|c| c.saturating_sub(2)..=c + 2);
    let chars: Vec<char> = sample.chain(near).filter_map(char::from_u32).collect();
    // Sent all at once: one by one would take a second for each thousand.
    for (xid, c) in (1..).zip(&chars) {
        let path = format!("/none{c}");
        let body = Out::new().string(&path).buffer(b"").i32(-1);
        let request = Out::new().i32(xid).i32(op::SET_DATA).bytes(&body.0);
        raw.send(&request.0).expect("serves");
    }
    let mut forbidden = 0;
    for (xid, c) in (1..).zip(&chars) {
        let frame = raw.read().expect("serves").expect("serves");
        let mut from = In(&frame);
        let (answered, _zxid, err) = (from.i32(), from.i64(), from.i32());
        assert_eq!(answered, xid);
        let server = match err {
            code::NO_NODE => true,
            BAD_ARGUMENTS => false,
            other => panic!("{c:?}: {other}"),
        };
        assert_eq!(client_accepts(&zk, &format!("/none{c}")), server, "{c:?}");
        forbidden += usize::from(!server);
    }
    assert!(forbidden > 100 && forbidden < chars.len() / 2, "{forbidden}");
}

#[test]
fn c11_sequential_names_are_judged_with_their_number() {
    let chroot = fresh_chroot();
    let zk = client(&chroot);
    let mut raw = chroot.server().raw();
    let names = prop_oneof![
        3 => "[a-c.]{0,3}",
        1 => prop::sample::select(BORDERS.to_vec()).prop_map(|c| format!("a{c}")),
    ];
    let raw = std::cell::RefCell::new(&mut raw);
    let config = Config { failure_persistence: None, ..Config::with_cases(200) };
    let result = TestRunner::new(config).run(&names, |name| {
        let server = server_numbers(*raw.borrow_mut(), &chroot, &name);
        let sent = match zk.create(&format!("/{name}"), "", CreateMode::PersistentSequential) {
            Ok(path) => {
                prop_assert!(path.starts_with(&format!("/{name}")), "{}", path);
                true
            }
            Err(Error::Invalid { .. }) => false,
            Err(error) => panic!("{name:?}: {error}"),
        };
        prop_assert_eq!(sent, server, "{:?}", name);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    let judge = |name| server_numbers(*raw.borrow_mut(), &chroot, name);
    assert!(judge("") && judge(".") && judge("..") && !judge("a\u{7f}"));
}

fn server_numbers(raw: &mut Raw, chroot: &Chroot, name: &str) -> bool {
    let sequential = 2;
    match raw.create(&format!("{}/{name}", chroot.path()), b"", sequential) {
        Ok(_) => true,
        Err(BAD_ARGUMENTS) => false,
        Err(other) => panic!("{name:?}: {other}"),
    }
}
