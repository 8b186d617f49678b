//! What happens, chapter by chapter.

use std::time::{Duration, Instant};

use zookeeper_blocking::recipes::Lock;
use zookeeper_blocking::{Client, Error, RetryPolicy, Version};

use crate::ensemble::Ensemble;
use crate::stage::{Failure, Stage, micros};
use crate::worker::SESSION_TIMEOUT;

const NAMES: [&str; 4] = ["ann", "bob", "cem", "dee"];

pub(crate) fn tell(ensemble: &Ensemble) -> Result<(), Failure> {
    let stage = &mut Stage::new();
    let zk = Client::connect(&ensemble.connect)?;
    zk.delete_recursive("/tour")?;
    zk.ensure_path("/tour")?;
    let tour = zk.with_chroot("/tour")?;

    share(stage, ensemble, &tour)?;
    line_up(stage, &tour)?;
    kill_holder(stage, &tour)?;
    kill_server(stage, ensemble, &tour)?;
    hand_over(stage, &tour)?;

    stage.chapter("At the end");
    for worker in 0..stage.workers.len() {
        if stage.workers[worker].alive {
            let in_order = stage.workers[worker].leave(Duration::from_secs(5))?;
            let name = stage.workers[worker].name;
            stage.claim(in_order, format_args!("{name} left in order"));
        }
    }
    one_at_a_time(stage);
    stage.claim(contenders(&tour).is_empty(), "nobody is left in the queue");
    zk.delete_recursive("/tour")?;
    zk.close()?;
    stage.end()
}

fn share(stage: &mut Stage, ensemble: &Ensemble, tour: &Client) -> Result<(), Failure> {
    stage.chapter("Four processes share a configuration");
    let servers = ensemble.len();
    stage.claim(servers == 3, format_args!("an ensemble of 3 servers: {servers} serve"));
    tour.ensure_path("/config")?;
    tour.ensure_path("/ledger")?;
    tour.set_data("/config", "colour=red", Version::Any)?;
    for (index, name) in NAMES.into_iter().enumerate() {
        stage.enter(name, &format!("{}/tour", servers_for(index, ensemble, tour)))?;
        // One after the other, so that the order of the queue is known.
        let joined = |stage: &Stage| {
            contenders(tour).last().is_some_and(|last| last == name)
                && stage.workers.iter().all(|worker| worker.config == "colour=red")
        };
        let patience = Instant::now() + Duration::from_secs(15);
        while !joined(stage) && Instant::now() < patience {
            stage.until(0, |_| false);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    let all = stage.workers.iter().all(|worker| worker.config == "colour=red");
    stage.claim(all, "all four read the configuration");
    change(stage, tour, "colour=green")?;
    stage.why("each had left a watch with its read; the watch said that there is news");
    Ok(())
}

/// Each begins with another server, so that they spread; the second shares the tour's own.
fn servers_for(index: usize, ensemble: &Ensemble, tour: &Client) -> String {
    let mut servers: Vec<&str> = ensemble.connect.split(',').collect();
    let own = tour.connected_host().unwrap_or_default();
    let own = servers.iter().position(|server| *server == own).unwrap_or_default();
    let n = servers.len();
    servers.rotate_left((own + index + n - 1) % n);
    servers.join(",")
}

/// Changes the configuration; it must reach all who live.
fn change(stage: &mut Stage, tour: &Client, config: &'static str) -> Result<(), Failure> {
    stage.say(format_args!("sets the configuration to {config:?}"));
    let start = Instant::now();
    // Twice is as good as once here, so it may be repeated if its answer is lost.
    tour.with_retry(RetryPolicy::default().idempotent()).set_data(
        "/config",
        config,
        Version::Any,
    )?;
    let everybody = |stage: &Stage| stage.living().all(|worker| worker.config == config);
    let seen = stage.until(15, everybody);
    let (n, ms) = (stage.living().count(), start.elapsed().as_millis());
    stage.claim(seen, format_args!("the change reached all {n} of them, within {ms} ms"));
    Ok(())
}

fn line_up(stage: &mut Stage, tour: &Client) -> Result<(), Failure> {
    stage.chapter("They queue for a lock");
    let queue = contenders(tour);
    stage.say(format_args!("sees the queue: {}", queue.join(", ")));
    stage.claim(queue == NAMES, "who asked first is first");
    let wrote = stage.until(5, |stage| stage.workers[0].wrote);
    stage.claim(wrote && stage.holder() == Some(0), "ann holds the lock and wrote under it");
    Ok(())
}

fn kill_holder(stage: &mut Stage, tour: &Client) -> Result<(), Failure> {
    stage.chapter("The holder is killed");
    let contenders = Lock::new(tour, "/lock")?.contenders()?;
    let first = contenders.first().ok_or("nobody holds the lock")?;
    let node = format!("/lock/{}", first.node);
    stage.say(format_args!("kill -9 {}: ann can release nothing", stage.workers[0].pid()));
    let at = stage.workers[0].kill()?;
    stage.let_go(0, at);
    stage.why("her session keeps the lock until it expires, 4 s after she was heard of last");
    let next = stage.until(20, |stage| stage.workers[1].wrote);
    stage.claim(next && stage.holder() == Some(1), "the lock moved on to bob");
    fences_rise(stage);
    let since = stage.workers[1].holds.map_or(0, |(_, from)| from.saturating_sub(at));
    let since = Duration::from_micros(since);
    // Heartbeats go out at a third of the timeout: the last one may be that old.
    stage.claim(
        since > SESSION_TIMEOUT / 2,
        format_args!("but not before her session was over: after {:.1} s", since.as_secs_f64()),
    );
    let late = tour.transaction().check(&*node, Version::Any);
    let late = late.set_data("/ledger", "ann, from beyond", Version::Any).commit();
    stage.claim(
        matches!(late, Err(Error::Transaction { index: 0, .. })),
        "a write under ann's lock is refused now, by the servers",
    );
    Ok(())
}

fn kill_server(stage: &mut Stage, ensemble: &Ensemble, tour: &Client) -> Result<(), Failure> {
    stage.chapter("A server is killed");
    let address = tour.connected_host().ok_or("not connected")?;
    let server = ensemble.server(&address)?;
    let session = tour.session_id();
    let sessions: Vec<String> = stage.workers.iter().map(|w| w.session.clone()).collect();
    let with_it = stage.living().filter(|worker| worker.server == address).count();
    stage.say(format_args!(
        "kill -9 {}: server {}, the {}, which serves the tour itself and {with_it} of the workers",
        server.pid, server.number, server.mode
    ));
    let (states, holder) = (tour.subscribe()?, stage.holder());
    server.kill()?;
    // Until the client has noticed; a call would wait for the next connection by itself.
    let _ = states.recv_timeout(Duration::from_secs(5));
    change(stage, tour, "colour=blue")?;
    let now = tour.connected_host().unwrap_or_default();
    stage.say(format_args!("is connected to {now} now"));
    stage.claim(now != address && !now.is_empty(), "the tour found another server by itself");
    stage.claim(tour.session_id() == session, "its session is the same");
    let same = stage.workers.iter().zip(&sessions).all(|(w, before)| w.session == *before);
    stage.claim(same, "so are the sessions of the workers, with their watches and their places");
    if let Some(holder) = holder.filter(|holder| stage.holder() == Some(*holder)) {
        stage.say(format_args!("{} holds the lock all the while", stage.workers[holder].name));
    }
    stage.why("two of three servers are a quorum; sessions are the ensemble's, not a server's");
    Ok(())
}

fn hand_over(stage: &mut Stage, tour: &Client) -> Result<(), Failure> {
    stage.chapter("The lock moves on");
    loop {
        stage.until(20, |stage| stage.holder().is_some_and(|holder| stage.workers[holder].wrote));
        let holder = stage.holder().ok_or("nobody holds the lock")?;
        let (from, fence) = (stage.workers[holder].name, stage.workers[holder].holds);
        catch_up(tour);
        let (ledger, _) = tour.get_data("/ledger")?;
        let wanted = format!("{from} {}", fence.map_or(0, |(fence, _)| fence));
        stage.claim(ledger == wanted.as_bytes(), format_args!("the last word is {from}'s"));

        let is_last = contenders(tour).len() == 1;
        stage.workers[holder].release()?;
        if is_last {
            let released = stage.until(10, |stage| stage.holder().is_none());
            stage.claim(released, format_args!("{from} released it, and nobody waits any more"));
            return Ok(());
        }
        let moved = stage.until(20, |stage| {
            stage.holder().is_some_and(|to| to != holder && stage.workers[to].wrote)
        });
        let to = stage.holder().map_or("nobody", |to| stage.workers[to].name);
        stage.claim(moved, format_args!("from {from} to {to}"));
        if !moved {
            return Err("the lock does not move on".into());
        }
        fences_rise(stage);
    }
}

/// The holder's fence is larger than that of all before.
fn fences_rise(stage: &mut Stage) {
    let Some((fence, _)) = stage.holder().and_then(|holder| stage.workers[holder].holds) else {
        return stage.claim(false, "somebody holds the lock");
    };
    let before = stage.holds.iter().map(|hold| hold.fence).max().unwrap_or_default();
    let text = format!("with a larger fence: 0x{fence:x} after 0x{before:x}");
    stage.claim(fence > before, text);
}

/// No two holds overlap, by the one clock of this machine.
fn one_at_a_time(stage: &mut Stage) {
    let now = micros();
    let mut holds = stage.holds.clone();
    holds.sort_by_key(|hold| hold.from);
    let order: Vec<&str> = holds.iter().map(|hold| hold.name).collect();
    let apart = holds.windows(2).all(|pair| pair[0].until <= pair[1].from);
    let sound = apart && holds.iter().all(|hold| hold.from <= hold.until && hold.until <= now);
    stage.claim(sound, format_args!("one held at a time, in this order: {}", order.join(", ")));
}

/// Who holds the lock and who waits, in order.
fn contenders(tour: &Client) -> Vec<String> {
    catch_up(tour);
    let lock = Lock::new(tour, "/lock").and_then(|lock| lock.contenders());
    lock.unwrap_or_default().iter().map(|contender| contender.identifier_text()).collect()
}

/// What a worker did through its server, ours may not have seen yet; after a `sync` it has. If that
/// fails, so does the read after it.
fn catch_up(tour: &Client) {
    let _ = tour.sync("/");
}
