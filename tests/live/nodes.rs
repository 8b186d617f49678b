//! What the tests of recipes on nodes and watches share.

use std::sync::mpsc::channel;
use std::time::Duration;

use zookeeper_blocking::{Client, op};

use crate::clients::patience;
use crate::locks::Yard;
use crate::support::wait::eventually;
use crate::support::wire::{In, Out, op as code};

/// The path as a witness without chroot sees it.
pub(crate) fn whole(yard: &Yard, path: &str) -> String {
    format!("{}{path}", yard.chroot.path())
}

/// Does `work` on the event thread of the client, and gives what it gave.
#[track_caller]
pub(crate) fn in_callback<T: Send + 'static>(
    client: &Client,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (tell, told) = channel();
    let run = move |_| {
        let _ = tell.send(work());
    };
    client.submit_with(op::Exists::new("/"), run).expect("room");
    told.recv_timeout(patience()).expect("the callback runs to its end")
}

/// A client known as "we", for nodes that only "we" may touch.
pub(crate) fn we(yard: &Yard) -> Client {
    let builder = Client::builder(&yard.chroot.connect_string());
    builder.auth("digest", "we:secret").connect().expect("serves")
}

/// Each of these nodes is "we"'s, and nobody else's.
#[track_caller]
pub(crate) fn assert_ours(yard: &Yard, paths: &[&str]) {
    let mut raw = yard.raw();
    raw.auth("super:test").expect("as in scripts/zk-server");
    for path in paths {
        let answer =
            raw.call(code::GET_ACL, &Out::new().string(&whole(yard, path)).0).expect("a reply");
        assert_eq!(answer.err, 0, "{path}");
        let mut from = In(&answer.body);
        assert_eq!(from.i32(), 1, "{path}: one entry");
        assert_eq!((from.i32(), from.string().as_str()), (31, "digest"), "{path}");
        assert!(from.string().starts_with("we:"), "{path}");
    }
    raw.close();
}

/// The children, sorted; none if there is no such node.
pub(crate) fn children(yard: &Yard, path: &str) -> Vec<String> {
    let mut raw = yard.raw();
    let names = raw.children(&whole(yard, path)).unwrap_or_default();
    raw.close();
    names
}

#[track_caller]
pub(crate) fn await_children(yard: &Yard, path: &str, count: usize) {
    let mut raw = yard.raw();
    eventually(&format!("{count} children of {path}"), Duration::from_secs(10), || {
        raw.children(&whole(yard, path)).unwrap_or_default().len() == count
    });
    raw.close();
}
