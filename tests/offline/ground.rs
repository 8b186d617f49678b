//! The ground's own tests: what the scripted server and the proxy promise, shown on plain sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::forge::{AUTO, Forge, adler32};
use crate::support::ports::SilentPort;
use crate::support::process;
use crate::support::proxy::{Act, Kind, Pick, Proxy, Way};
use crate::support::raw::{Raw, expire};
use crate::support::scripted::{self, HANDSHAKE, Scripted, Step};
use crate::support::txnlog::{self, Change};
use crate::support::wait::{eventually, within};
use crate::support::wire::{
    ConnectRequest, ConnectResponse, In, Out, Stat, code, event, op, read_frame, xid,
};

/// A server on which every path exists, with "x" as its data.
fn yes_server() -> Scripted {
    Scripted::start(|_, peer| {
        peer.handshake();
        peer.serve(|request| match request.op {
            op::GET_DATA => (7, 0, Out::new().buffer(b"x").stat(&Stat::default()).0),
            op::CREATE => (8, 0, Out::new().string(&request.path()).0),
            _ => (9, 0, Vec::new()),
        });
    })
}

fn raw(proxy: &Proxy) -> Raw {
    Raw::connect(proxy.address())
}

fn read_to_end(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.read_to_end(&mut all)?;
    Ok(all)
}

// ---- the bytes ----

#[test]
fn bytes_match_the_golden_frames() {
    let hex = |text: &str| -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
        (0..text.len()).step_by(2).map(digit).collect()
    };
    let connect = ConnectRequest { timeout_ms: 30_000, ..ConnectRequest::new() };
    let golden = "0000002d000000000000000000000000000075300000000000000000000000100000000000000000\
                  000000000000000000";
    assert_eq!(Out(connect.encode()).framed(), hex(golden));
    assert_eq!(ConnectRequest::decode(&connect.encode()), connect);

    let response = ConnectResponse::new(0x0100_000a_1b2c_0001, 30_000);
    let golden = "0000002500000000000075300100000a1b2c000100000010000102030405060708090a0b0c0d0e0f\
                  00";
    assert_eq!(Out(response.encode()).framed(), hex(golden));
    assert_eq!(ConnectResponse::decode(&response.encode()), response);

    let create2 = Out::new().i32(2).i32(op::CREATE2).string("/a").buffer(b"hi").open_acl().i32(3);
    let golden = "00000033000000020000000f000000022f61000000026869000000010000001f00000005776f726c\
                  6400000006616e796f6e6500000003";
    assert_eq!(create2.framed(), hex(golden));

    let changed = scripted::notification(event::DATA_CHANGED, "/a");
    let golden = "0000001effffffffffffffffffffffff000000000000000300000003000000022f61";
    assert_eq!(Out(changed).framed(), hex(golden));
}

// ---- the scripted server ----

#[test]
fn scripted_server_grants_answers_and_records() {
    let server = Scripted::start(|_, peer| {
        peer.handshake();
        let request = peer.expect(op::GET_DATA);
        peer.notify(event::DATA_CHANGED, "/a");
        peer.reply(&request, 7, &Out::new().buffer(b"x").stat(&Stat::default()).0);
        let request = peer.expect(op::EXISTS);
        peer.reply_error(&request, code::NO_NODE);
        peer.expect(op::CLOSE_SESSION);
    });
    let mut client = Raw::connect(server.address());
    assert_eq!(client.session.session_id, 0x100);
    assert_eq!(client.get("/a").expect("scripted").0, b"x");
    assert_eq!(client.events, [(event::DATA_CHANGED, "/a".to_owned())]);
    assert_eq!(client.exists("/b"), Err(code::NO_NODE));
    client.close();

    let received = server.received();
    let ops: Vec<i32> = received.iter().map(|request| request.op).collect();
    assert_eq!(ops, [HANDSHAKE, op::GET_DATA, op::EXISTS, op::CLOSE_SESSION]);
    assert_eq!(received[1].path(), "/a");
    assert_eq!(server.wait_for(op::EXISTS, 1)[0].xid, 2);
    server.finish();
}

#[test]
fn scripted_server_runs_each_connections_own_steps() {
    let server = Scripted::steps(vec![
        vec![Step::Handshake(ConnectResponse::new(1, 4000)), Step::Expect(op::DELETE), Step::Close],
        vec![
            Step::Handshake(ConnectResponse::new(2, 4000)),
            Step::Expect(op::DELETE),
            Step::Delay(Duration::from_millis(1)),
            Step::Reply(5, vec![]),
            Step::Hang,
        ],
    ]);
    let delete = Out::new().string("/a").i32(-1).0;
    let lost = Raw::connect(server.address()).call(op::DELETE, &delete).expect_err("closed");
    assert_eq!(lost.kind(), ErrorKind::UnexpectedEof);
    let mut second = Raw::connect(server.address());
    assert_eq!(second.call(op::DELETE, &delete).expect("scripted").zxid, 5);
    let third = Raw::handshake(server.address(), &ConnectRequest::new()).expect_err("no script");
    assert!(matches!(third.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset));
    server.finish();
}

#[test]
fn scripted_server_answers_pings_unless_told_otherwise() {
    let server = Scripted::start(|_, peer| {
        peer.handshake();
        let request = peer.expect(op::SYNC);
        peer.reply(&request, 1, &Out::new().string("/").0);
        let ping = peer.expect(op::PING);
        peer.reply_with(ping.xid, 0, 0, &[]);
        peer.idle();
    });
    let mut client = Raw::connect(server.address());
    client.call(op::PING, &[]).expect("answered by itself");
    client.sync("/").expect("scripted");
    client.call(op::PING, &[]).expect("answered by the script");
    assert_eq!(server.received_of(op::PING).len(), 2);
    server.finish();
}

#[test]
#[should_panic(expected = "operation 4 expected, got 3")]
fn scripted_server_fails_the_test_when_the_client_asks_something_else() {
    let server = Scripted::start(|_, peer| {
        peer.handshake();
        peer.expect(op::GET_DATA);
    });
    let mut client = Raw::connect(server.address());
    let _ = client.call(op::EXISTS, &Out::new().string("/a").bool(false).0);
    drop(client);
    drop(server);
}

#[test]
#[should_panic(expected = "the client left")]
fn scripted_server_finish_fails_when_the_client_left_early() {
    let server = Scripted::start(|_, peer| {
        peer.handshake();
        peer.expect(op::GET_DATA);
    });
    drop(Raw::connect(server.address()));
    server.finish();
}

#[test]
fn scripted_server_can_reset_a_connection() {
    let server = Scripted::start(|_, peer| {
        peer.handshake();
        peer.reset();
    });
    let error = Raw::connect(server.address()).call(op::PING, &[]).expect_err("reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn session_is_taken_away_by_id_and_password() {
    let server = Scripted::start(|_, peer| {
        let request = peer.handshake();
        assert_eq!(request.password, [7; 16]);
        let request = peer.expect(op::CLOSE_SESSION);
        peer.reply(&request, 1, &[]);
    });
    expire(server.address(), 0x77, &[7; 16]);
    server.finish();
}

// ---- the proxy ----

#[test]
fn proxy_passes_and_counts_frames_by_operation_and_round_trip() {
    let server = yes_server();
    let proxy = Proxy::start(server.address());
    let mut client = raw(&proxy);
    client.get("/a").expect("passes");
    client.call(op::PING, &[]).expect("passes");
    // Two requests at once: one round trip.
    let get = |xid: i32| Out::new().i32(xid).i32(op::GET_DATA).string("/a").bool(false).0;
    client.send_all(&[&get(3), &get(4)]).expect("sends");
    assert!(client.read().expect("passes").is_some());
    assert!(client.read().expect("passes").is_some());

    let counts = proxy.counts();
    assert_eq!(counts.connections, 1);
    assert_eq!(counts.to_server.ops[&op::GET_DATA], 3);
    assert_eq!(counts.to_client.ops[&op::GET_DATA], 3);
    assert_eq!(counts.to_server.requests(), 3);
    assert_eq!((counts.to_server.pings, counts.to_client.pings), (1, 1));
    assert_eq!((counts.to_server.handshakes, counts.to_client.handshakes), (1, 1));
    assert_eq!(counts.to_server.frames, 5);
    assert_eq!(counts.to_server.bytes, 49 + 3 * 19 + 12);
    assert_eq!(counts.round_trips, 2);
    let first = proxy.seen()[0];
    assert_eq!((first.link, first.way, first.kind), (0, Way::ToServer, Kind::Handshake));

    proxy.reset_counts();
    assert_eq!(proxy.counts().to_server.frames, 0);
}

#[test]
fn proxy_passes_four_letter_words_and_closes_on_both_sides() {
    let listener = crate::support::ports::listen();
    let proxy = Proxy::start(listener.local_addr().expect("bound"));
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the proxy");
        let mut word = [0; 4];
        stream.read_exact(&mut word).expect("four letters");
        stream.write_all(b"imok").expect("takes it");
        word
    });
    let mut client = TcpStream::connect(proxy.address()).expect("listens");
    client.write_all(b"ruok").expect("takes it");
    assert_eq!(read_to_end(&mut client).expect("closes"), b"imok");
    assert_eq!(&server.join().expect("no panic"), b"ruok");
    drop(client);
    eventually("the link is gone", Duration::from_secs(5), || proxy.open() == 0);
}

#[test]
fn proxy_cut_ends_both_sides() {
    let server = yes_server();
    let proxy = Proxy::start(server.address());
    let mut client = raw(&proxy);
    proxy.cut();
    assert!(client.call(op::GET_DATA, &get_body()).is_err());
    assert_eq!(proxy.open(), 0);
    // New connections are not concerned.
    raw(&proxy).get("/a").expect("passes");
}

#[test]
fn proxy_hold_delivers_nothing_and_loses_nothing() {
    let server = yes_server();
    let proxy = Proxy::start(server.address());
    let mut client = raw(&proxy);
    proxy.hold(Way::ToClient);
    client.send(&get_frame(1)).expect("sends");
    // The request goes through, its reply does not; whether the proxy has read it already, and so
    // counted it, depends on how far its reader had come when the hold began.
    server.wait_for(op::GET_DATA, 1);
    client.set_limit(Duration::from_millis(100));
    assert_eq!(client.read().expect_err("held").kind(), ErrorKind::WouldBlock);
    proxy.release(Way::ToClient);
    client.set_limit(Duration::from_secs(10));
    assert!(client.read().expect("released").is_some());
}

#[test]
fn proxy_hold_makes_a_sender_feel_it() {
    let server = yes_server();
    let proxy = Proxy::start(server.address());
    let mut client = raw(&proxy);
    proxy.hold(Way::ToServer);
    client.set_limit(Duration::from_millis(300));
    let big = vec![0; 1 << 20];
    let sent = (0..100).map_while(|_| client.send(&big).ok()).count();
    assert!(sent < 100, "buffers without end");
}

#[test]
fn proxy_delay_keeps_what_is_sent_together_together() {
    let server = yes_server();
    let proxy = Proxy::start(server.address());
    let mut client = raw(&proxy);
    let time = Duration::from_millis(50);
    proxy.delay(Way::ToServer, time);
    proxy.delay(Way::ToClient, time);
    let start = Instant::now();
    for xid in 1..=400 {
        client.send(&get_frame(xid)).expect("sends");
    }
    for _ in 1..=400 {
        assert!(client.read().expect("passes").is_some());
    }
    let took = start.elapsed();
    // Twice 50 ms, not four hundred times as much.
    assert!(took >= time * 2 && took < time * 200, "{took:?}");
}

#[test]
fn proxy_slices_frames_into_pieces() {
    let server = yes_server();
    let proxy = Proxy::start(server.address());
    proxy.slice(Way::ToClient, 3);
    // A reader that is kept waiting for a processor finds several pieces at once.
    eventually("a reader sees pieces", Duration::from_secs(20), || {
        let mut client = TcpStream::connect(proxy.address()).expect("listens");
        let request = Out(ConnectRequest::new().encode()).framed();
        client.write_all(&request).expect("sends");
        let mut pieces = Vec::new();
        let mut buffer = [0; 100];
        while pieces.iter().sum::<usize>() < 41 {
            pieces.push(client.read(&mut buffer).expect("passes"));
        }
        pieces.len() > 3
    });
}

#[test]
fn proxy_drops_the_chosen_reply_after_the_server_has_answered() {
    let server = yes_server();
    let proxy = Proxy::start(server.address());
    let mut client = raw(&proxy);
    proxy.drop_reply(2);
    client.get("/a").expect("the first reply passes");
    let error = client.call(op::GET_DATA, &get_body()).expect_err("the second does not");
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    let caught = proxy.caught();
    assert_eq!((caught.len(), caught[0].xid, caught[0].zxid), (1, 2, 7));
    assert_eq!(server.received_of(op::GET_DATA).len(), 2);

    proxy.drop_reply_to(op::CREATE);
    let mut client = raw(&proxy);
    client.get("/a").expect("another operation");
    let body = Out::new().string("/b").buffer(b"").open_acl().i32(0).0;
    assert!(client.call(op::CREATE, &body).is_err());
    assert_eq!(server.received_of(op::CREATE).len(), 1);
    proxy.wait_caught(2);
}

#[test]
fn proxy_drops_the_chosen_request_before_the_server_has_it() {
    let server = yes_server();
    let proxy = Proxy::start(server.address());
    proxy.drop_request(op::GET_DATA);
    assert!(raw(&proxy).call(op::GET_DATA, &get_body()).is_err());
    assert!(server.received_of(op::GET_DATA).is_empty());
}

#[test]
fn proxy_tears_flips_loses_and_holds_the_chosen_frame() {
    let server = yes_server();
    let proxy = Proxy::start(server.address());

    proxy.once(Way::ToClient, Pick::AnyOp, 1, Act::Tear(10));
    let error = raw(&proxy).call(op::GET_DATA, &get_body()).expect_err("torn");
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);

    // Byte 19 is the last of the error code.
    proxy.once(Way::ToClient, Pick::Op(op::GET_DATA), 1, Act::Flip(19, 0x80));
    assert_eq!(raw(&proxy).get("/a"), Err(0x80));

    let mut client = raw(&proxy);
    proxy.once(Way::ToClient, Pick::AnyOp, 1, Act::Lose);
    client.send(&get_frame(1)).expect("sends");
    client.send(&get_frame(2)).expect("sends");
    let reply = client.read().expect("the second passes").expect("a frame");
    assert_eq!(In(&reply).i32(), 2);

    proxy.once(Way::ToClient, Pick::Ping, 1, Act::Hold);
    client.send(&Out::new().i32(xid::PING).i32(op::PING).0).expect("sends");
    proxy.wait_caught(4);
    client.set_limit(Duration::from_millis(50));
    assert_eq!(client.read().expect_err("held").kind(), ErrorKind::WouldBlock);
    proxy.release(Way::ToClient);
    client.set_limit(Duration::from_secs(10));
    assert!(client.read().expect("released").is_some());

    proxy.once(Way::ToServer, Pick::Ping, 1, Act::Cut);
    client.send(&Out::new().i32(xid::PING).i32(op::PING).0).expect("sends");
    // The frame is delivered before the cut, so its answer may be faster than the cut.
    let mut ends = || client.read().map_or(true, |frame| frame.is_none());
    assert!(ends() || ends(), "not cut");
}

#[test]
fn proxy_resets_a_client_at_the_chosen_request() {
    let server = yes_server();
    let proxy = Proxy::start(server.address());
    let mut client = raw(&proxy);
    proxy.once(Way::ToServer, Pick::Op(op::GET_DATA), 2, Act::Reset);
    client.get("/a").expect("the first passes");
    let error = client.call(op::GET_DATA, &get_body()).expect_err("reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(server.received_of(op::GET_DATA).len(), 1);
}

#[test]
fn proxy_black_hole_swallows_and_keeps_everybody_waiting() {
    let server = yes_server();
    let proxy = Proxy::start(server.address());
    let mut before = raw(&proxy);
    proxy.black_hole();
    before.send(&get_frame(1)).expect("swallowed");
    let mut during = TcpStream::connect(proxy.address()).expect("accepted all the same");
    during.write_all(&Out(ConnectRequest::new().encode()).framed()).expect("swallowed");
    during.set_read_timeout(Some(Duration::from_millis(100))).expect("a socket");
    assert_eq!(during.read(&mut [0]).expect_err("silence").kind(), ErrorKind::WouldBlock);
    before.set_limit(Duration::from_millis(1));
    assert_eq!(before.read().expect_err("silence").kind(), ErrorKind::WouldBlock);
    // The server hears neither requests nor that the client goes.
    drop(before);
    assert_eq!(server.connections(), 1);
    assert!(server.received_of(op::GET_DATA).is_empty());

    // Once its greeting was read: what is closed with something unread in it is reset.
    eventually("the second greets", Duration::from_secs(20), || {
        proxy.counts().to_server.handshakes == 2
    });
    proxy.heal();
    assert!(read_to_end(&mut during).is_ok_and(|bytes| bytes.is_empty()), "cut by the heal");
    raw(&proxy).get("/a").expect("passes");
}

#[test]
fn proxy_loses_one_way_only() {
    let server = yes_server();
    let proxy = Proxy::start(server.address());
    let mut client = raw(&proxy);
    proxy.lose(Way::ToClient);
    client.send(&get_frame(1)).expect("sends");
    server.wait_for(op::GET_DATA, 1);
    client.set_limit(Duration::from_millis(50));
    assert_eq!(client.read().expect_err("lost").kind(), ErrorKind::WouldBlock);
    proxy.wait_lost();
    proxy.heal();
    client.set_limit(Duration::from_secs(10));
    assert!(client.read().map_or(true, |frame| frame.is_none()), "cut by the heal");
}

#[test]
fn proxy_half_closes_one_way() {
    let server = yes_server();
    let proxy = Proxy::start(server.address());
    let mut client = raw(&proxy);
    proxy.half_close(Way::ToClient);
    assert!(client.read().expect("a clean end").is_none());
    client.send(&get_frame(1)).expect("the other way is open");
    server.wait_for(op::GET_DATA, 1);
}

#[test]
fn proxy_cuts_clients_while_the_server_sees_nothing() {
    let server = yes_server();
    let proxy = Proxy::start(server.address());
    let mut client = raw(&proxy);
    proxy.cut_clients();
    assert!(client.read().map_or(true, |frame| frame.is_none()));
    assert_eq!(proxy.open(), 1);
    proxy.heal();
    eventually("the link is gone", Duration::from_secs(5), || proxy.open() == 0);
}

#[test]
fn proxy_refuses_and_takes_connections_again_at_the_same_port() {
    let server = yes_server();
    let proxy = Proxy::start(server.address());
    let mut before = raw(&proxy);
    proxy.refuse();
    let refused = TcpStream::connect(proxy.address()).expect_err("refused");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    before.get("/a").expect("those that are, stay");
    proxy.accept();
    raw(&proxy).get("/a").expect("passes");
}

#[test]
fn proxy_leads_new_connections_to_another_server() {
    let (first, second) = (yes_server(), yes_server());
    let proxy = Proxy::start(first.address());
    let mut before = raw(&proxy);
    proxy.retarget(second.address());
    raw(&proxy).get("/a").expect("passes");
    before.get("/a").expect("passes");
    assert_eq!(first.received_of(op::GET_DATA).len(), 1);
    assert_eq!(second.received_of(op::GET_DATA).len(), 1);
}

#[test]
fn proxy_without_a_server_behind_it_accepts_and_closes() {
    let free = crate::support::ports::free(1)[0];
    let proxy = Proxy::start(([127, 0, 0, 1], free).into());
    let error = Raw::handshake(proxy.address(), &ConnectRequest::new()).expect_err("closed");
    assert!(matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset));
}

#[test]
fn proxy_passes_a_torn_end() {
    let server = Scripted::start(|_, peer| {
        peer.read_connect();
        peer.raw(&[0, 0, 0, 9, 1, 2]);
        peer.close();
    });
    let proxy = Proxy::start(server.address());
    let mut client = TcpStream::connect(proxy.address()).expect("listens");
    client.write_all(&Out(ConnectRequest::new().encode()).framed()).expect("sends");
    assert_eq!(read_frame(&mut client).expect_err("torn").kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn silent_port_does_not_answer_connection_attempts() {
    let silent = SilentPort::new();
    let start = Instant::now();
    let limit = Duration::from_millis(300);
    let error = TcpStream::connect_timeout(&silent.address(), limit).expect_err("silence");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(start.elapsed() >= limit);
}

// ---- the transaction log ----

#[test]
fn adler32_is_the_one_of_the_rfc() {
    assert_eq!(adler32(b""), 1);
    assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
    assert_eq!(adler32(&[0xff; 100_000]), 0x149a_302c);
}

#[test]
fn forged_log_reads_back() {
    let log = Forge::new()
        .create("/a", b"x", AUTO)
        .zxid(0x1_0000_0007)
        .set_data("/a", b"y", -4)
        .delete("/a")
        .create_session(0x77, 4000)
        .finish();
    let txns = txnlog::parse(&log).expect("whole");
    let zxids: Vec<i64> = txns.iter().map(|txn| txn.zxid).collect();
    assert_eq!(zxids, [1, 0x1_0000_0007, 0x1_0000_0008, 0x1_0000_0009]);
    let change = |op: i32, data: Option<&[u8]>, version: i32| {
        vec![Change { op, path: "/a".to_owned(), data: data.map(<[u8]>::to_vec), version }]
    };
    assert_eq!(txns[0].changes, change(op::CREATE, Some(b"x"), AUTO));
    assert_eq!(txns[1].changes, change(op::SET_DATA, Some(b"y"), -4));
    assert_eq!(txns[2].changes, change(op::DELETE, None, 0));
    assert_eq!((txns[3].session, txns[3].op), (0x77, op::CREATE_SESSION));
    assert_eq!(txnlog::of_path(&txns, "/a").len(), 3);
    assert_eq!(txnlog::of_request(&txns, 0x77, 0).len(), 1);
}

#[test]
fn log_ends_where_it_was_only_allocated_and_a_torn_record_is_seen() {
    let log = Forge::new().create("/a", b"x", AUTO).finish();
    let allocated = [&log[..], &[0; 1000]].concat();
    assert_eq!(txnlog::parse(&allocated).expect("whole").len(), 1);
    assert_eq!(txnlog::parse(&log[..log.len() - 1]), None);
    let mut wrong = log;
    wrong[40] ^= 1;
    assert_eq!(txnlog::parse(&wrong), None);
}

// ---- the rest ----

#[test]
fn ports_handed_out_together_differ() {
    let mut ports = crate::support::ports::free(50);
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 50);
}

#[test]
#[should_panic(expected = "not so after 10ms: pigs fly")]
fn eventually_panics_with_the_conditions_name() {
    within("pigs fly", Duration::from_millis(10), || None::<()>);
}

#[test]
fn scripted_servers_and_proxies_leave_no_thread_and_no_descriptor() {
    process::alone(
        "ground::scripted_servers_and_proxies_leave_no_thread_and_no_descriptor",
        || {
            let round = || {
                let server = yes_server();
                let proxy = Proxy::start(server.address());
                let mut client = raw(&proxy);
                client.get("/a").expect("passes");
                proxy.black_hole();
                let _during = TcpStream::connect(proxy.address()).expect("accepted");
                drop(client);
            };
            let before = (process::threads(), process::descriptors());
            for _ in 0..20 {
                round();
            }
            eventually("threads and descriptors are back", Duration::from_secs(5), || {
                (process::threads(), process::descriptors()) == before
            });
        },
    );
}

fn get_body() -> Vec<u8> {
    Out::new().string("/a").bool(false).0
}

fn get_frame(xid: i32) -> Vec<u8> {
    Out::new().i32(xid).i32(op::GET_DATA).bytes(&get_body()).0
}
