//! Lines that are cut, and answers that are lost, while both contend: one holds at a time, and no
//! node is left at the end.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use zookeeper_blocking::recipes::{Lock, NameStyle};

use crate::clients::patience;
use crate::faults::figure;
use crate::interop::curator::Curator;
use crate::interop::kazoo::Kazoo;
use crate::locks::{Yard, lock, ms};
use crate::support::proxy::{Act, Pick, Proxy, Way};
use crate::support::wait::{eventually, scaled};
use crate::support::wire::op;

/// A name and the times from when to when it surely held.
type Tenure = (&'static str, Instant, Instant);

fn connect(yard: &Yard, line: &Proxy) -> String {
    format!("{}{}", line.connect_string(), yard.chroot.path())
}

/// Ours beside theirs: `begin` returns once theirs holds, `end` once it does not. A line is cut each
/// so many milliseconds: as their client takes its time to come back.
#[track_caller]
fn contend(
    yard: &Yard,
    lines: &[Proxy; 2],
    style: NameStyle,
    pause: u64,
    [begin, end]: [&(dyn Fn() + Sync); 2],
) {
    let client = yard.through(&lines[1]).connect().expect("serves");
    let ours: Lock = lock(&client).name_style(style);
    let (tenures, stop) = (Mutex::new(Vec::<Tenure>::new()), AtomicBool::new(false));
    let note = |who, from, until| tenures.lock().expect("no panic").push((who, from, until));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                begin();
                let from = Instant::now();
                thread::sleep(ms(10));
                note("theirs", from, Instant::now());
                end();
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                let guard = ours.acquire_timeout(patience()).expect("granted in time");
                let from = Instant::now();
                thread::sleep(ms(10));
                let until = Instant::now();
                if guard.is_held() {
                    note("ours", from, until);
                }
                // Or in the background.
                let _ = fastrand::bool().then(|| guard.release());
            }
        });
        let until = Instant::now() + scaled(Duration::from_secs(6));
        for round in 0.. {
            thread::sleep(ms(fastrand::u64(pause / 2..pause * 3 / 2)));
            let line = &lines[round % 2];
            match round / 2 % 5 {
                0 => line.cut(),
                1 => line.drop_reply_to(op::CREATE2),
                2 => line.drop_reply_to(op::DELETE),
                3 => line.drop_reply_to(op::GET_CHILDREN),
                _ => line.once(Way::ToServer, Pick::AnyOp, 2, Act::LoseAndCut),
            }
            // And on a busy machine until there is something to judge.
            let enough = || {
                let tenures = tenures.lock().expect("no panic");
                let theirs = tenures.iter().filter(|it| it.0 == "theirs").count();
                theirs > 2 && tenures.len() > theirs + 2
            };
            if Instant::now() > until + 2 * patience() || (Instant::now() > until && enough()) {
                break;
            }
        }
        stop.store(true, Ordering::SeqCst);
    });
    lines.iter().for_each(Proxy::heal);
    eventually("no node is left", patience(), || yard.nodes().is_empty());
    let mut tenures = tenures.into_inner().expect("no panic");
    tenures.sort_by_key(|it| it.1);
    for pair in tenures.windows(2) {
        assert!(pair[0].2 <= pair[1].1, "two holders: {pair:?}");
    }
    let theirs = tenures.iter().filter(|it| it.0 == "theirs").count();
    figure("interop: tenures of theirs and of ours under cuts", (theirs, tenures.len() - theirs));
    assert!(theirs > 2 && tenures.len() > theirs + 2, "too little happened");
}

#[test]
fn kazoo_and_ours_exclude_each_other_while_their_lines_are_cut() {
    let yard = Yard::new();
    let lines = [yard.proxy(), yard.proxy()];
    let python = Kazoo::start(&connect(&yard, &lines[0]));
    python.make("a", "lock", &["/lock", "python"]);
    // Kazoo may miss its turn if its line is cut just then: it sleeps, first in line. It is to look
    // again.
    let begin = || {
        eventually("Kazoo has it", 2 * patience(), || {
            python.ask(&["acquire_timeout", "a", "2"]) == "True"
        });
    };
    let end = || assert_eq!(python.ask(&["release", "a"]), "True");
    contend(&yard, &lines, NameStyle::Kazoo, 150, [&begin, &end]);
}

#[test]
fn curator_and_ours_exclude_each_other_while_their_lines_are_cut() {
    let yard = Yard::new();
    let lines = [yard.proxy(), yard.proxy()];
    let java = Curator::start(&connect(&yard, &lines[0]));
    java.make("a", "mutex", &["/lock", "java"]);
    let begin = || assert_eq!(java.ask("a", &["acquire"]), "done");
    let end = || assert_eq!(java.ask("a", &["release"]), "done");
    contend(&yard, &lines, NameStyle::Curator, 800, [&begin, &end]);
}
