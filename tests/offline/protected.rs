//! A protected node whose session ended, and that the servers did not take away yet.

use std::sync::Mutex;

use zookeeper_blocking::{CreateMode, op as ops};

use crate::answers::hurried;
use crate::support::scripted::Scripted;
use crate::support::wire::{ConnectResponse, Out, Stat, op};

#[test]
fn dying_node_of_the_session_before_is_not_ours() {
    let first = Mutex::new(String::new());
    let server = Scripted::start(move |number, peer| match number {
        0 => {
            peer.handshake();
            let create = peer.expect(op::CREATE);
            *first.lock().expect("no panic") = create.path();
            peer.close();
        }
        1 => {
            peer.read_connect();
            peer.grant(&ConnectResponse::expired());
            peer.close();
        }
        _ => {
            peer.handshake();
            let first = first.lock().expect("no panic").clone();
            peer.serve(|request| match request.op {
                op::SYNC => (2, 0, Out::new().string("/q").0),
                op::GET_CHILDREN => {
                    let name = first.strip_prefix("/q/").expect("below it");
                    (2, 0, Out::new().strings(&["other", name]).0)
                }
                op::EXISTS => {
                    let stat = Stat { ephemeral_owner: 0x100, ..Stat::default() };
                    (2, 0, Out::new().stat(&stat).0)
                }
                op::CREATE => (3, 0, Out::new().string(&request.path()).0),
                _ => (3, 0, Vec::new()),
            });
        }
    });
    let client = hurried(&server.connect_string()).connect().expect("connects");
    let create = ops::Create::new("/q/me").mode(CreateMode::Ephemeral);
    let created = client.create_protected(create).expect("made");
    let creates: Vec<_> = server.received_of(op::CREATE).iter().map(|r| r.path()).collect();
    assert_eq!(creates.len(), 2, "{creates:?}");
    assert_ne!(creates[0], creates[1]);
    assert_eq!(created.path, creates[1]);
}
