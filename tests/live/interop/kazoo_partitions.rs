//! A set that Kazoo 2.11 and ours share among their members.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use zookeeper_blocking::Client;
use zookeeper_blocking::recipes::{Partition, PartitionState, Partitioner};

use crate::clients::patience;
use crate::faults::figure;
use crate::interop::kazoo::Kazoo;
use crate::interop::victim::{Victim, play};
use crate::locks::{Yard, ms};
use crate::nodes::{await_children, children};
use crate::support::wait::eventually;

/// In Python's order: by code point, so "10" is before "9".
const ITEMS: [&str; 8] = ["10", "9", "A", "_", "a", "aa", "b", "\u{fc}"];

fn kazoo(yard: &Yard) -> Kazoo {
    Kazoo::start(&yard.chroot.connect_string())
}

/// One of Kazoo's, which waits so long for a party that is quiet.
fn join_kazoo(python: &Kazoo, name: &str) {
    // In another order than it is to be shared in.
    let items = ["b", "a", "\u{fc}", "9", "aa", "10", "A", "_"];
    let words: Vec<_> = ["/set", name, "0.1"].into_iter().chain(items).collect();
    python.make(name, "partitioner", &words);
}

fn partitioner(client: &Client, name: &str) -> Partitioner<&'static str> {
    Partitioner::new(client, "/set", name, ITEMS).expect("legal").settle(ms(100))
}

fn share(partition: &Partition<&'static str>) -> String {
    partition.items().copied().collect::<Vec<_>>().join(",")
}

/// What each of these members is to have: the items from its place on, so many apart.
fn slices(members: &[&str]) -> BTreeMap<String, String> {
    let mut sorted = members.to_vec();
    sorted.sort_unstable();
    let slice = |at: usize| ITEMS.iter().skip(at).step_by(sorted.len()).copied();
    let slices = sorted.iter().enumerate();
    slices.map(|(at, name)| ((*name).to_owned(), slice(at).collect::<Vec<_>>().join(","))).collect()
}

#[track_caller]
fn await_word(python: &Kazoo, verb: &str, name: &str, wanted: &str) {
    eventually(&format!("{name}: {verb} {wanted}"), patience(), || {
        python.ask(&[verb, name]) == wanted
    });
}

#[test]
fn shares_of_both_are_slices_and_each_waits_until_the_other_gave_up_its_own() {
    let yard = Yard::new();
    let python = kazoo(&yard);
    let client = yard.client();
    join_kazoo(&python, "m");
    await_word(&python, "share", "m", &ITEMS.join(","));
    // Ours comes: Kazoo is to give up, and until it does, ours waits.
    let ours = partitioner(&client, "a-b").join().expect("joined");
    await_word(&python, "state", "m", "RELEASE");
    assert!(ours.try_acquire().expect("answered").is_none());
    thread::scope(|scope| {
        let waiting = scope.spawn(|| ours.acquire_timeout(patience()).expect("given up in time"));
        thread::sleep(ms(300));
        assert!(!waiting.is_finished(), "two owners");
        python.ask(&["release_set", "m"]);
        let wanted = slices(&["m", "a-b"]);
        let partition = waiting.join().expect("no panic");
        assert_eq!(share(&partition), wanted["a-b"]);
        await_word(&python, "share", "m", &wanted["m"]);
        // Each item has one lock, and ours are ours.
        for item in ITEMS {
            let nodes = children(&yard, &format!("/set/locks/{item}"));
            assert_eq!(nodes.len(), 1, "{item}: {nodes:?}");
        }
        // Kazoo's second comes: both are to give up, and now Kazoo's waits for ours.
        join_kazoo(&python, "z");
        assert_eq!(partition.wait_change(patience()), PartitionState::Release);
        await_word(&python, "state", "m", "RELEASE");
        python.ask(&["release_set", "m"]);
        thread::sleep(ms(500));
        let theirs = ["m", "z"].map(|name| python.ask(&["share", name]));
        // Each is to have something of ours.
        assert_eq!(theirs, ["none", "none"], "beside {}", share(&partition));
        partition.release().expect("held");
        let wanted = slices(&["m", "a-b", "z"]);
        let partition = ours.acquire_timeout(patience()).expect("given up in time");
        assert_eq!(share(&partition), wanted["a-b"]);
        for name in ["m", "z"] {
            await_word(&python, "share", name, &wanted[name]);
        }
        // Kazoo's leave; what they had is ours.
        python.ask(&["finish", "m"]);
        assert_eq!(partition.wait_change(patience()), PartitionState::Release);
        python.ask(&["finish", "z"]);
        partition.release().expect("held");
        let partition = ours.acquire_timeout(patience()).expect("given up in time");
        assert_eq!(share(&partition), ITEMS.join(","));
    });
}

/// One of ours that follows the party until it is told to leave; and what it has.
struct Ours {
    over: Arc<AtomicBool>,
    has: Arc<Mutex<String>>,
    thread: JoinHandle<()>,
}

impl Ours {
    fn join(client: Client, name: &str) -> Self {
        let (over, has) = (Arc::<AtomicBool>::default(), Arc::<Mutex<String>>::default());
        let member = partitioner(&client, name).join().expect("joined");
        let (is_over, had) = (over.clone(), has.clone());
        let thread = thread::spawn(move || {
            while !is_over.load(Ordering::SeqCst) {
                let Ok(partition) = member.acquire_timeout(ms(500)) else { continue };
                *had.lock().expect("no panic") = share(&partition);
                while !is_over.load(Ordering::SeqCst)
                    && partition.wait_change(ms(50)) == PartitionState::Acquired
                {}
                "none".clone_into(&mut had.lock().expect("no panic"));
                partition.release().expect("held");
            }
            member.leave().expect("was there");
        });
        Self { over, has, thread }
    }

    fn leave(self) {
        self.over.store(true, Ordering::SeqCst);
        self.thread.join().expect("no panic");
    }
}

#[test]
fn members_of_both_come_and_go_and_the_shares_are_slices_each_time() {
    if play(|client| {
        let member = partitioner(client, "victim").join().expect("joined");
        // Holds what it got, and does not give it up.
        let partition = member.acquire_timeout(patience()).expect("free");
        (partition, member)
    }) {
        return;
    }
    let yard = Yard::new();
    let (python, mut doomed) = (kazoo(&yard), kazoo(&yard));
    let mut ours: BTreeMap<&str, Ours> = BTreeMap::new();
    let shares = |ours: &BTreeMap<&str, Ours>, theirs: &[(&Kazoo, &str)]| {
        let has = |it: &Ours| it.has.lock().expect("no panic").clone();
        let ours = ours.iter().map(|(name, it)| ((*name).to_owned(), has(it)));
        let theirs = theirs.iter().map(|(at, name)| ((*name).to_owned(), at.ask(&["share", name])));
        ours.chain(theirs).collect::<BTreeMap<_, _>>()
    };
    let await_slices = |ours: &BTreeMap<&str, Ours>, theirs: &[(&Kazoo, &str)]| {
        let names: Vec<_> = ours.keys().copied().chain(theirs.iter().map(|it| it.1)).collect();
        let wanted = slices(&names);
        eventually(&format!("{wanted:?}"), patience() * 3, || shares(ours, theirs) == wanted);
    };
    let join = |at: &Kazoo, name: &str| {
        join_kazoo(at, name);
        at.begin(&["serve", name])
    };
    let _m = join(&python, "m");
    await_slices(&ours, &[(&python, "m")]);
    ours.insert("d", Ours::join(yard.client(), "d"));
    await_slices(&ours, &[(&python, "m")]);
    let _x = join(&doomed, "x");
    await_slices(&ours, &[(&python, "m"), (&doomed, "x")]);
    ours.insert("p", Ours::join(yard.client(), "p"));
    let _q = join(&python, "q");
    // Five, of eight items.
    await_slices(&ours, &[(&python, "m"), (&python, "q"), (&doomed, "x")]);
    // One of each leaves.
    python.ask(&["finish", "q"]);
    ours.remove("d").expect("joined").leave();
    await_slices(&ours, &[(&python, "m"), (&doomed, "x")]);
    // Kazoo's is killed.
    let started = Instant::now();
    doomed.kill();
    await_slices(&ours, &[(&python, "m")]);
    figure("interop: from kill -9 of Kazoo's member to new shares", started.elapsed());
    // Ours is killed, with a share that it never gives up.
    let name = "interop::kazoo_partitions::\
                members_of_both_come_and_go_and_the_shares_are_slices_each_time";
    let mut victim = Victim::start(name, &yard.chroot.connect_string());
    await_children(&yard, "/set/party", 3);
    let wanted = slices(&["m", "p", "victim"]);
    eventually("the two have their thirds", patience() * 3, || {
        let now = shares(&ours, &[(&python, "m")]);
        now["m"] == wanted["m"] && now["p"] == wanted["p"]
    });
    for item in wanted["victim"].split(',') {
        await_children(&yard, &format!("/set/locks/{item}"), 1);
    }
    let started = Instant::now();
    victim.kill();
    await_slices(&ours, &[(&python, "m")]);
    figure("interop: from kill -9 of our member to new shares", started.elapsed());
    python.ask(&["finish", "m"]);
    await_slices(&ours, &[]);
    ours.remove("p").expect("joined").leave();
    for item in ITEMS {
        await_children(&yard, &format!("/set/locks/{item}"), 0);
    }
    await_children(&yard, "/set/party", 0);
}
