//! Waiting for the next change under a pattern, from a transaction on: Doozer's `wait`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use zookeeper_blocking::recipes::{Glob, GlobChange, GlobNews};
use zookeeper_blocking::{Client, CreateMode, Error, RecipeError, Version, op};

use crate::clients::{doomed, expire, patience};
use crate::faults::figure;
use crate::locks::{Yard, assert_recipe, ms};
use crate::nodes::in_callback;
use crate::support::wait::eventually;
use crate::support::wire::op as ops;

fn put(client: &Client, path: &str, data: &str) {
    client.create_with_parents(op::Create::new(path).data(data)).expect("new");
}

/// Each change as a sign and a path, in the order of paths.
fn signs(news: &GlobNews) -> Vec<String> {
    let sign = |change: &GlobChange| match change {
        GlobChange::Created { path, .. } => format!("+{path}"),
        GlobChange::Changed { path, .. } => format!("={path}"),
        GlobChange::Deleted { path, .. } => format!("-{path}"),
        GlobChange::Unclear { path } => format!("?{path}"),
        other => panic!("{other:?}"),
    };
    news.changes.iter().map(sign).collect()
}

#[track_caller]
fn next(glob: &Glob, from: i64, wanted: &[&str]) -> i64 {
    let news = glob.wait_timeout(from, patience()).expect("news");
    assert_eq!(signs(&news), wanted);
    news.zxid
}

#[track_caller]
fn assert_nothing(glob: &Glob, from: i64) {
    let news = glob.wait_timeout(from, ms(50));
    assert!(matches!(news, Err(Error::Timeout { .. })), "{news:?}");
}

#[test]
fn changes_come_by_transaction_each_with_all_its_nodes() {
    let yard = Yard::new();
    let (client, writer) = (yard.client(), yard.client());
    for path in ["/svc/b/addr", "/svc/a/addr", "/svc/a/port", "/svc/a/addr/deep", "/addr"] {
        put(&writer, path, "1");
    }
    let glob = Glob::new(&client, "/svc/*/addr").expect("read");
    assert_eq!(glob.pattern(), "/svc/*/addr");
    let from = next(&glob, 0, &["+/svc/b/addr"]);
    let from = next(&glob, from, &["+/svc/a/addr"]);
    assert_eq!(glob.try_wait(from).expect("it lives"), None);
    assert_nothing(&glob, from);
    writer.set_data("/svc/a/port", "2", Version::Any).expect("there");
    writer.set_data("/svc/a/addr", "2", Version::Any).expect("there");
    let after = next(&glob, from, &["=/svc/a/addr"]);
    let (_, stat) = writer.get_data("/svc/a/addr").expect("there");
    assert_eq!(after, stat.mzxid);
    let both = writer
        .transaction()
        .set_data("/svc/b/addr", "3", Version::Any)
        .set_data("/svc/a/addr", "3", Version::Any)
        .create("/svc/c", "")
        .create("/svc/c/addr", "3");
    both.commit().expect("committed");
    let last = next(&glob, after, &["=/svc/a/addr", "=/svc/b/addr", "+/svc/c/addr"]);
    writer.delete("/svc/b/addr", Version::Any).expect("there");
    assert_eq!(next(&glob, last, &["-/svc/b/addr"]), last, "no server says when it was");
    assert_nothing(&glob, last);
    // From anywhere in the past, and made anew.
    next(&glob, from, &["=/svc/a/addr", "+/svc/c/addr"]);
    put(&writer, "/svc/b/addr", "4");
    let last = next(&glob, last, &["+/svc/b/addr"]);
    assert!(glob.zxid() >= last);
    drop(glob);
    eventually("no watch left", patience(), || client.watch_count() == 0);
}

#[test]
fn what_happened_while_nobody_watched_is_told_as_far_as_the_tree_tells() {
    let yard = Yard::new();
    let writer = yard.client();
    for path in ["/svc/a/addr", "/svc/b/addr", "/svc/c/addr"] {
        put(&writer, path, "1");
    }
    let from = Glob::new(&yard.client(), "/svc/*/addr").expect("read").zxid();
    writer.delete("/svc/a/addr", Version::Any).expect("there");
    writer.set_data("/svc/b/addr", "2", Version::Any).expect("there");
    writer.delete_recursive("/svc/c").expect("there");
    put(&writer, "/svc/d/addr", "1");
    let glob = Glob::new(&yard.client(), "/svc/*/addr").expect("read");
    let from = next(&glob, from, &["?/svc/a"]);
    let from = next(&glob, from, &["=/svc/b/addr"]);
    // The list of /svc was changed last by the new service: c may be missing, and is.
    let from = next(&glob, from, &["?/svc"]);
    let from = next(&glob, from, &["+/svc/d/addr"]);
    assert_nothing(&glob, from);
    // Who begins knows nothing that could be missing.
    let news = glob.wait(0).expect("news");
    assert_eq!(signs(&news), ["+/svc/b/addr"]);
}

/// The property of a resume: who goes on from the last transaction, in whatever process, has seen
/// each node's last data when it is quiet, and never goes back.
#[test]
fn nothing_is_missed_over_cuts_expiries_and_readers_that_begin_again() {
    resume(&[]);
}

#[test]
fn nothing_is_missed_with_servers_before_3_6() {
    resume(&[ops::ADD_WATCH, ops::SET_WATCHES2]);
}

type Seen = BTreeMap<String, Option<Vec<u8>>>;

/// What the nodes hold now: those that were seen, and those that are there.
fn now(writer: &Client, seen: &Seen) -> Seen {
    let mut paths = writer.subtree("/g").expect("answered");
    paths.retain(|path| path.ends_with("/v"));
    paths.extend(seen.keys().cloned());
    let read = |path: String| {
        let data = writer.get_data(&path).ok().map(|(data, _)| data);
        (path, data)
    };
    paths.into_iter().map(read).collect()
}

fn resume(forgotten: &[i32]) {
    let yard = Yard::new();
    let proxy = yard.proxy();
    proxy.forget_ops(forgotten);
    let (client, session) = doomed(|| yard.through(&proxy));
    let writer = yard.client();
    writer.ensure_path("/g").expect("made");
    let over = AtomicBool::new(false);
    let mut seen = Seen::new();
    let (mut from, mut steps, mut readers) = (0, 0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0.. {
                thread::sleep(ms(141 + number % 160));
                proxy.wait_replies(40, &over);
                if over.load(Ordering::Relaxed) {
                    return;
                }
                match number {
                    9 => expire(&proxy, yard.chroot.server(), &session),
                    _ => proxy.cut(),
                }
            }
        });
        let writing = scope.spawn(|| {
            let mut seed = 98_765_u64;
            let mut random = |limit: u64| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (seed >> 33) % limit
            };
            for step in 0..4_000 {
                let path = format!("/g/{}/v", random(6));
                let data = step.to_string();
                let _ = match random(20) {
                    0 => writer.delete(&path, Version::Any),
                    1..6 => {
                        let create = op::Create::new(path.as_str()).data(data);
                        writer.create_with_parents(create).map(drop)
                    }
                    6..10 => {
                        let other = format!("/g/{}/v", random(6));
                        let both = writer.transaction().set_data(&path, &data, Version::Any);
                        both.set_data(&other, &data, Version::Any).commit().map(drop)
                    }
                    _ => writer.set_data(&path, data, Version::Any).map(drop),
                };
                // Nobody of those who match.
                let _ = writer.set_data("/g", "", Version::Any);
            }
            over.store(true, Ordering::Relaxed);
        });
        let (mut quiet, mut over_since) = (false, None);
        while !quiet {
            // A reader that lives for a while. It makes the next.
            readers += 1;
            let glob = Glob::new(&client, "/g/*/v").expect("read");
            for _ in 0..10 {
                let was_over = writing.is_finished();
                let news = match glob.wait_timeout(from, ms(300)) {
                    Ok(news) => news,
                    Err(Error::Timeout { .. }) if was_over => {
                        // The last cut may take longer than this to be over.
                        let since = *over_since.get_or_insert_with(Instant::now);
                        quiet = seen == now(&writer, &seen) || since.elapsed() > patience();
                        match quiet {
                            true => break,
                            false => continue,
                        }
                    }
                    Err(Error::Timeout { .. }) => continue,
                    Err(error) => panic!("{error}"),
                };
                steps += 1;
                assert!(news.zxid >= from && !news.changes.is_empty(), "{news:?}");
                for change in news.changes {
                    match change {
                        GlobChange::Created { path, node } | GlobChange::Changed { path, node } => {
                            assert!(node.stat.mzxid >= news.zxid && news.zxid > from);
                            seen.insert(path.to_string(), Some(node.data.clone()));
                        }
                        GlobChange::Deleted { path, .. } => {
                            drop(seen.insert(path.to_string(), None))
                        }
                        // Who is told to look looks.
                        GlobChange::Unclear { path } => {
                            for (known, data) in &mut seen {
                                let is_below = known.starts_with(&format!("{path}/"));
                                if is_below && writer.exists(known).expect("answered").is_none() {
                                    *data = None;
                                }
                            }
                        }
                        other => panic!("{other:?}"),
                    }
                }
                from = news.zxid;
            }
        }
    });
    figure("glob: news, readers one after the other", (steps, readers));
    assert!(readers > 1);
    assert_eq!(seen, now(&writer, &seen));
    proxy.heal();
}

/// The trap of a listing that is of no one moment: a is read as the last transaction left it before
/// the event of b was read, whose transaction was the one before. Who goes on from a's must hear of
/// b's all the same.
#[test]
fn transaction_that_was_overtaken_while_it_was_read_is_told_first() {
    let yard = Yard::new();
    let (client, writer) = (yard.client(), yard.client());
    put(&writer, "/g/a", "");
    put(&writer, "/g/b", "");
    let glob = Glob::new(&client, "/g/*").expect("read");
    let mut from = glob.zxid();
    for round in 0..500 {
        let data = round.to_string();
        let set = |path: &'static str| {
            writer.submit(op::SetData::new(path, data.as_str())).expect("room")
        };
        let sets = [set("/g/a"), set("/g/b"), set("/g/a")];
        let mut missing = vec!["/g/a", "/g/b"];
        let mut last = BTreeMap::new();
        while !missing.is_empty() {
            let news = glob.wait_timeout(from, patience());
            let news = news.unwrap_or_else(|error| panic!("{error}; {missing:?} in {round}"));
            from = news.zxid;
            for change in news.changes {
                let GlobChange::Changed { path, node } = change else { panic!("{change:?}") };
                last.insert(path, node.data.clone());
            }
            missing.retain(|path| last.get(*path).is_none_or(|told| *told != data.as_bytes()));
        }
        for set in sets {
            set.wait().expect("there");
        }
        // The second of a may come by itself.
        if let Ok(Some(news)) = glob.try_wait(from) {
            from = news.zxid;
        }
    }
}

/// Each reading of a node that changes all the time is overtaken by the next change.
#[test]
fn node_that_is_set_all_the_time_does_not_keep_its_readers_waiting() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).connect().expect("serves");
    let writer = yard.client();
    put(&writer, "/g/busy", "");
    let glob = Glob::new(&client, "/g/*").expect("read");
    // Slower than the writer by far.
    proxy.delay(crate::support::proxy::Way::ToServer, ms(20));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0.. {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                writer.set_data("/g/busy", format!("{n}"), Version::Any).expect("there");
            }
        });
        let mut from = glob.zxid();
        for _ in 0..10 {
            let result = glob.wait_timeout(from, patience());
            if result.is_err() {
                over.store(true, Ordering::Relaxed);
            }
            let news = result.expect("news");
            assert!(news.zxid > from);
            from = news.zxid;
        }
        over.store(true, Ordering::Relaxed);
        proxy.heal();
    });
}

#[test]
fn waits_end_by_a_cancel_by_the_client_and_work_in_callbacks() {
    let yard = Yard::new();
    let client = yard.client();
    let bad = Glob::new(&client, "/a**/b");
    assert!(matches!(bad, Err(Error::Invalid { .. })), "{bad:?}");
    let glob = Glob::new(&client, "/svc/**").expect("there is none");
    let waiting = glob.clone();
    let waiter = thread::spawn(move || waiting.wait(0));
    let start = Instant::now();
    eventually("cancelled", patience(), || {
        glob.cancel();
        waiter.is_finished()
    });
    assert_recipe(waiter.join().expect("no panic"), RecipeError::Cancelled, start, ms(5_000));
    let own = client.clone();
    let in_back = glob.clone();
    let news = in_callback(&client, move || {
        own.create("/svc", "", CreateMode::Persistent).expect("new");
        in_back.wait_timeout(0, patience())
    });
    assert_eq!(signs(&news.expect("news")), ["+/svc"]);
    let from = glob.zxid();
    client.close().expect("acknowledged");
    let closed = glob.wait_timeout(from, patience());
    assert!(matches!(closed, Err(Error::Closed { .. })), "{closed:?}");
}
