//! The steps of a request alone, on one thread, without a server: their instructions are the same
//! in each run.

use std::hint::black_box;

use zookeeper_blocking::counted::{Codec, Cutter, Session, hand_off};

use crate::Result;
use crate::wire::{DATA, NODE, connect_response, reply, text};

/// All steps, in the order in which a request takes them.
pub const STEPS: [&str; 7] =
    ["encode-get", "encode-set", "encode-create", "session", "cut", "hand-off", "decode-get"];

/// Takes a step so often.
pub fn run(step: &str, times: u64) -> Result<()> {
    let codec = Codec::default();
    let body = [&*text(&DATA), &[0; 68]].concat();
    match step {
        "encode-get" => repeat(times, &mut || codec.get(black_box(NODE))),
        "encode-set" => repeat(times, &mut || codec.set(black_box(NODE), &DATA)),
        "encode-create" => repeat(times, &mut || codec.create(black_box(NODE), &DATA)),
        "decode-get" => repeat(times, &mut || codec.got(black_box(&body))),
        "hand-off" => repeat(times, &mut || hand_off().into()),
        // As many frames as a full read brings, and a part of one.
        "cut" => {
            let stream = reply(0, &body).repeat(AT_ONCE);
            let mut cutter = Cutter::default();
            repeat(times / AT_ONCE as u64, &mut || cutter.cut(black_box(&stream)));
        }
        // A window of requests goes out in one write, its answers come in one read.
        "session" => {
            let mut session = Session::new(&connect_response(7));
            let mut stream = reply(0, &body).repeat(AT_ONCE);
            let len = stream.len() / AT_ONCE;
            let mut next = 1_i32;
            for turn in 0..times / AT_ONCE as u64 + 1 {
                for frame in stream.chunks_mut(len) {
                    frame[4..8].copy_from_slice(&next.to_be_bytes());
                    next += 1;
                }
                let mut take_turn = || {
                    (0..AT_ONCE).for_each(|_| session.get(black_box(NODE), &codec));
                    session.wrote() + session.answers(&stream)
                };
                // The first turn makes the room that the others use.
                if turn == 0 {
                    take_turn();
                } else {
                    counted(&mut take_turn);
                }
            }
        }
        _ => return Err(format!("there is no step named {step}").into()),
    }
    Ok(())
}

fn repeat(times: u64, step: &mut dyn FnMut() -> usize) {
    for _ in 0..10 {
        assert_ne!(step(), 0);
    }
    for _ in 0..times {
        counted(step);
    }
}

/// Instructions are counted in here only; known to callgrind by its name.
#[inline(never)]
fn counted(step: &mut dyn FnMut() -> usize) {
    black_box(step());
}

/// See [`counted`].
pub const COUNTED: &str = "zk_gates::steps::counted*";

const AT_ONCE: usize = 100;
