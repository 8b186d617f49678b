//! Clients of the library as the tests of this binary like to have them.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use zookeeper_blocking::{
    Client, ClientBuilder, SessionCredentials, SessionState, StateEvents, WatchedEvent,
};

use crate::support::proxy::Proxy;
use crate::support::raw;
use crate::support::server::{Chroot, Node};
use crate::support::wait::scaled;

/// Long enough for anything that does happen, on a busy machine.
pub(crate) fn patience() -> Duration {
    scaled(Duration::from_secs(20))
}

/// How long that takes at most which waits for nothing, on a busy machine. What waits for what it
/// must not wait for takes longer: a call has 30 s, a session 10 s.
pub(crate) fn soon() -> Duration {
    scaled(Duration::from_secs(5))
}

/// A client in its chroot, connected to the server itself.
#[track_caller]
pub(crate) fn client(chroot: &Chroot) -> Client {
    Client::connect(&chroot.connect_string()).expect("the shared server serves")
}

/// Options of a client that goes through the proxy into the chroot.
pub(crate) fn through(proxy: &Proxy, chroot: &Chroot) -> ClientBuilder {
    Client::builder(&format!("{}{}", proxy.connect_string(), chroot.path()))
}

/// A client whose session the test can [`expire`]: the password is known from a client that left
/// the session behind.
#[track_caller]
pub(crate) fn doomed(builder: impl Fn() -> ClientBuilder) -> (Client, SessionCredentials) {
    let first = builder().connect().expect("the server serves");
    let session = first.detach().expect("not closed");
    let client = builder().attach(session.clone()).connect();
    (client.expect("the session is still there"), session)
}

/// Ends the session of a client that sits behind the proxy, while the client cannot come back in
/// between; then lets it, to be told.
#[track_caller]
pub(crate) fn expire(proxy: &Proxy, server: &Node, session: &SessionCredentials) {
    proxy.refuse();
    proxy.cut();
    raw::expire(server.address(), session.id(), session.password());
    proxy.accept();
}

/// Waits for this state; those before it are passed over.
#[track_caller]
pub(crate) fn await_state(states: &StateEvents, wanted: SessionState) {
    loop {
        match states.recv_timeout(patience()) {
            Ok(state) if state == wanted => return,
            Ok(_) => {}
            Err(why) => panic!("never {wanted}: {why}"),
        }
    }
}

/// A callback that hands its events to the test.
pub(crate) fn ear() -> (impl FnMut(WatchedEvent) + Send + 'static, Receiver<WatchedEvent>) {
    let (tell, heard) = channel();
    let callback = move |event| {
        // The test may have heard enough.
        let _ = tell.send(event);
    };
    (callback, heard)
}
