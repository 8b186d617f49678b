//! The fuzz targets as ordinary tests: the corpus again, then inputs made from it by chance, a
//! fixed number from fixed seeds.

use std::fs;
use std::path::Path;

use super::{frames, replies, session};

/// How many inputs each target gets on top of its corpus.
const INPUTS: u64 = 5_000;

#[test]
fn frames_survive_the_corpus_and_what_is_made_of_it() {
    run("frames", frames);
}

#[test]
fn replies_survive_the_corpus_and_what_is_made_of_it() {
    run("replies", replies);
}

#[test]
fn sessions_survive_the_corpus_and_what_is_made_of_it() {
    run("session", session);
}

fn run(target: &str, check: fn(&[u8], &dyn Fn(usize))) {
    let seeds = corpus(target);
    for input in &seeds {
        try_one(target, check, input);
    }
    let mut rng = fastrand::Rng::with_seed(1);
    for _ in 0..INPUTS {
        try_one(target, check, &mutant(&mut rng, &seeds));
    }
}

/// An input that fails is printed, ready for the corpus.
fn try_one(target: &str, check: fn(&[u8], &dyn Fn(usize)), input: &[u8]) {
    let run = std::panic::catch_unwind(|| check(input, &|_| {}));
    assert!(run.is_ok(), "{target} fails on {input:02x?}");
}

/// The inputs that cargo-fuzz found worth keeping; none in a package, which comes without them.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    if !fuzz.exists() {
        return vec![Vec::new()];
    }
    let mut files: Vec<_> = fs::read_dir(fuzz.join("corpus").join(target))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    // The order of a directory is not the same twice; the seeds must be.
    files.sort();
    assert!(!files.is_empty(), "the corpus of {target} is gone");
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// A few changes of one input, or of the start of one and the end of another.
fn mutant(rng: &mut fastrand::Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let pick = |rng: &mut fastrand::Rng| &seeds[rng.usize(..seeds.len())];
    let mut input = pick(rng).clone();
    if rng.bool() {
        let other = pick(rng);
        input.truncate(rng.usize(..=input.len()));
        input.extend_from_slice(&other[rng.usize(..=other.len())..]);
    }
    for _ in 0..rng.usize(0..8) {
        let at = rng.usize(..=input.len());
        match rng.u8(..4) {
            0 => input.insert(at, rng.u8(..)),
            1 if at < input.len() => drop(input.remove(at)),
            2 if at < input.len() => input[at] ^= 1 << rng.u8(..8),
            _ if at < input.len() => input[at] = rng.choice([0, 1, 0x7f, 0x80, 0xff]).unwrap(),
            _ => {}
        }
    }
    input.truncate(8 * 1024);
    input
}
