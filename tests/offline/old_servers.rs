//! A server before 3.6, and a node that is made between the two reads of a visit.

use zookeeper_blocking::recipes::Cache;

use crate::answers::hurried;
use crate::support::scripted::Scripted;
use crate::support::wait::eventually;
use crate::support::wire::{Out, Stat, code, op};

#[test]
fn node_that_is_made_between_the_reads_of_its_halves_is_read_again() {
    let server = Scripted::start(|number, peer| {
        peer.handshake();
        if number == 0 {
            let add = peer.expect(op::ADD_WATCH);
            peer.reply_error(&add, code::UNIMPLEMENTED);
            return peer.close();
        }
        let mut data_reads = 0;
        peer.serve(|request| match request.op {
            op::GET_DATA => {
                data_reads += 1;
                match data_reads {
                    1 => (1, code::NO_NODE, Vec::new()),
                    _ => (2, 0, Out::new().buffer(b"x").stat(&Stat::default()).0),
                }
            }
            op::GET_CHILDREN2 => (2, 0, Out::new().strings(&[]).stat(&Stat::default()).0),
            _ => (2, 0, Vec::new()),
        });
    });
    let client = hurried(&server.connect_string()).connect().expect("connects");
    let cache = Cache::new(&client, "/t").expect("read");
    assert_eq!(cache.get("/t").expect("there").data, b"x");
    eventually("both halves are watched", std::time::Duration::from_secs(5), || {
        client.watch_count() == 2
    });
}
