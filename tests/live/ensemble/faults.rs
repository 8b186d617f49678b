//! The promises of the recipes that `nemesis.rs` does not cover, under the same faults: queues,
//! numbers, members, watches and caches, read-write locks and double barriers, all at once.
//!
//! Four clients, each through proxies of its own, on three servers. Each round is one fault: lines
//! cut, held up, or replies lost; lines dead, or refused, for longer than the session lives; a
//! server, the leader among them, killed (-9) and started again, or stopped for a while (SIGSTOP).
//!
//! `ZK_TEST_ROUNDS` says how many rounds (60 by default: about 40 s).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use zookeeper_blocking::{Client, CreateMode};

use crate::clients::patience;
use crate::ensemble::gates::{Readers, Rounds};
use crate::ensemble::members::Members;
use crate::ensemble::numbers::Numbers;
use crate::ensemble::play::{CLIENTS, Play};
use crate::ensemble::queues::Queues;
use crate::ensemble::trouble::{Lines, OverWhenDropped, Upsets, rounds, torment};
use crate::ensemble::watches::Watches;
use crate::faults::{await_connected, figure};
use crate::locks::ms;
use crate::queue_sorts::{DELAY, ID, LOCKING, PLAIN, PRIORITY};
use crate::replay::committed;
use crate::support::server::Ensemble;
use crate::support::wait::scaled;

#[test]
fn e4_e8_e9_e11_e13_e15_e19_e22_recipes_keep_their_promises_while_servers_are_killed() {
    let started = Instant::now();
    let ensemble = Ensemble::start(3);
    let witness = Client::connect(&ensemble.connect_string()).expect("serves");
    witness.create("/play", b"", CreateMode::Persistent).expect("new");
    let lines: Vec<_> = (0..CLIENTS).map(|_| Lines::new(&ensemble)).collect();
    let connect = |lines: &Lines| {
        let builder = Client::builder(&lines.connect_string()).session_timeout(ms(1_000));
        builder.call_timeout(scaled(ms(3_000))).connect().expect("serves")
    };
    let clients: Vec<_> = lines.iter().map(connect).collect();
    let mut plays: Vec<Box<dyn Play>> = Vec::new();
    for sort in [PLAIN, PRIORITY, DELAY, ID, LOCKING] {
        plays.push(Box::new(Queues::new(sort, &clients)));
    }
    plays.push(Box::new(Numbers::new(&clients, &witness)));
    plays.push(Box::new(Readers::new(&clients, &witness)));
    plays.push(Box::new(Rounds::new(&clients, &witness)));
    plays.push(Box::new(Members::new(&clients)));
    plays.push(Box::new(Watches::new(&clients, &witness)));
    let (over, begun, rounds) = (AtomicBool::new(false), AtomicUsize::new(0), rounds(60));
    let turns = AtomicUsize::new(0);
    thread::scope(|scope| {
        let ended = OverWhenDropped(&over);
        for play in &plays {
            for who in 0..CLIENTS {
                let (over, turns) = (&over, &turns);
                scope.spawn(move || {
                    while !over.load(Ordering::SeqCst) {
                        play.turn(who);
                        turns.fetch_add(1, Ordering::SeqCst);
                        thread::sleep(ms(fastrand::u64(..40)));
                    }
                });
            }
        }
        let is_over = || begun.fetch_add(1, Ordering::SeqCst) >= rounds;
        let faults = torment(&ensemble, &lines, &Upsets::default(), is_over);
        figure("ensemble: faults", faults);
        drop(ended);
    });
    figure("ensemble: rounds, time, turns", (rounds, started.elapsed(), turns));
    clients.iter().for_each(await_connected);
    for play in &plays {
        play.settle(&witness);
    }
    for client in &clients {
        // Who gave up in the background is done with it by then.
        client.with_timeout(patience()).close().expect("acknowledged");
    }
    witness.sync("/").expect("answered");
    let log = committed(ensemble.nodes());
    figure("ensemble: transactions", log.len());
    for play in &plays {
        play.judge(&log);
    }
}
