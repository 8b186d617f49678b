//! Connect strings as people write them, the rebalancing rule by its numbers, the back-off.

use std::collections::HashMap;

use super::*;

fn host(name: &str, port: u16) -> Host {
    Host { name: name.into(), port }
}

/// `servers(1, 3)` are s1, s2, s3.
fn servers(from: usize, to: usize) -> Vec<Host> {
    (from..=to).map(|n| host(&format!("s{n}"), 2181)).collect()
}

fn fixed(hosts: Vec<Host>) -> HostList {
    HostList::new(hosts, false, Rng::with_seed(7))
}

fn names(list: &mut HostList, count: usize) -> String {
    let names: Vec<_> = (0..count).map(|_| list.next().0.name).collect();
    names.join(" ")
}

#[test]
fn connect_strings_are_read() {
    for (text, hosts, chroot) in [
        ("h1", "h1:2181", ""),
        ("h1:2182", "h1:2182", ""),
        ("10.10.10.1,10.10.10.2", "10.10.10.1:2181 10.10.10.2:2181", ""),
        ("10.10.10.1:112,10.10.10.2:110", "10.10.10.1:112 10.10.10.2:110", ""),
        ("10.10.10.1/chroot/two", "10.10.10.1:2181", "/chroot/two"),
        ("10.10.10.1:112,10.10.10.2/a", "10.10.10.1:112 10.10.10.2:2181", "/a"),
        (
            "127.0.0.1:2181, 192.168.1.2:2181 ,h3 /a b",
            "127.0.0.1:2181 192.168.1.2:2181 h3:2181",
            "/a b",
        ),
        (" h1:1 , h2:2 ", "h1:1 h2:2", ""),
        ("h1:2181/", "h1:2181", ""),
        ("h1/", "h1:2181", ""),
        ("zk://h1,h2:1/app", "h1:2181 h2:1", "/app"),
        ("[::1]", "[::1]:2181", ""),
        ("[::1]:1,[2001:db8:1::242:ac11:2]/a", "[::1]:1 [2001:db8:1::242:ac11:2]:2181", "/a"),
        ("[fe80::1%eth0]:99", "[fe80::1%eth0]:99", ""),
        ("h_1.example.com.:65535", "h_1.example.com.:65535", ""),
        // One chroot for all hosts: what follows the first slash is a path, commas too.
        ("h1/a,b", "h1:2181", "/a,b"),
        ("h1/日本", "h1:2181", "/日本"),
        ("h1/a:b", "h1:2181", "/a:b"),
    ] {
        let read = ConnectString::parse(text).unwrap();
        let printed: Vec<_> = read.hosts.iter().map(Host::to_string).collect();
        assert_eq!((printed.join(" ").as_str(), read.chroot.as_str()), (hosts, chroot), "{text}");
    }
}

#[test]
fn bad_connect_string_names_the_culprit() {
    for (text, words) in [
        ("", "names no host"),
        ("  ", "names no host"),
        ("/app", "names no host"),
        ("zk://", "names no host"),
        ("zk:///app", "names no host"),
        (",", "host 1 "),
        ("h1,,h3", "host 2 "),
        ("h1,h2,", "host 3 "),
        ("h1, ,h3", "host 2 "),
        (":2181", "`:2181`: the name is empty"),
        ("h1,h2:", "`h2:`: `` is not a port"),
        ("h1:0", "`0` is not a port"),
        ("h1:65536", "`65536` is not a port"),
        ("h1:+1", "`+1` is not a port"),
        ("h1:-1", "`-1` is not a port"),
        ("h1:1 2", "`1 2` is not a port"),
        ("h1:http", "`http` is not a port"),
        ("::1", "brackets"),
        ("2001:db8::1:2181", "brackets"),
        ("[::1", "not closed"),
        ("[::1]2181", "follow the bracket"),
        ("[h1]:2181", "no IPv6"),
        ("[]:2181", "no IPv6"),
        ("h 1", "`h 1` is not a host name"),
        ("h1;h2", ""),
        ("h1]:1", "not a host name"),
        ("h1/app/", "chroot `/app/`: the path must not end"),
        ("h1//", "chroot `//`"),
        ("h1/a//b", "chroot `/a//b`: a name"),
        ("h1/..", "chroot `/..`"),
        ("h1/a\u{1}", "forbids"),
        ("zks://h1", "zks:// is not supported yet"),
        ("dns-srv://zk.example.com/app", "dns-srv:// is not supported yet"),
        ("http://h1", "`http://` is not a scheme"),
    ] {
        if words.is_empty() {
            // A semicolon is no separator, and DNS will say so with the whole name.
            assert!(ConnectString::parse(text).is_ok(), "{text}");
            continue;
        }
        let said = ConnectString::parse(text).unwrap_err();
        assert!(said.contains(words), "{text}: {said}");
    }
}

#[test]
fn password_in_the_connect_string_is_not_repeated() {
    let said = ConnectString::parse("zk://bob:secret@h1:2181").unwrap_err();
    assert!(said.contains("auth") && !said.contains("secret"), "{said}");
}

#[test]
fn a24_chroot_slash_is_no_chroot() {
    for text in ["h1/", "zk://h1:2181/", " h1/ "] {
        assert_eq!(ConnectString::parse(text).unwrap().chroot, "", "{text}");
    }
}

#[test]
fn printed_host_is_read_back() {
    for text in ["h1:1", "[::1]:2181", "10.0.0.1:65535"] {
        let read = ConnectString::parse(text).unwrap();
        assert_eq!(read.hosts.iter().map(Host::to_string).collect::<String>(), text);
    }
}

#[test]
fn servers_are_tried_round_robin() {
    let mut list = fixed(servers(1, 3));
    assert_eq!(names(&mut list, 7), "s1 s2 s3 s1 s2 s3 s1");
}

#[test]
fn round_ends_when_all_were_tried_in_vain() {
    let mut list = fixed(servers(1, 3));
    let ends: Vec<_> = (0..7).map(|_| list.next().1).collect();
    assert_eq!(ends, [false, false, false, true, false, false, true]);

    // Connected to s2: s3 and s1 come before the round is over.
    list.next();
    list.connected(&host("s2", 2181));
    let ends: Vec<_> = (0..6).map(|_| list.next().1).collect();
    assert_eq!(ends, [false, false, true, false, false, true]);
    assert_eq!(list.next().0.name, "s3");
}

#[test]
fn only_server_ends_a_round_each_time_but_the_first() {
    let mut list = fixed(servers(1, 1));
    assert_eq!(list.next(), (host("s1", 2181), false));
    list.connected(&host("s1", 2181));
    assert_eq!(list.next(), (host("s1", 2181), true));
    assert_eq!(list.next(), (host("s1", 2181), true));
}

#[test]
fn connection_to_a_host_out_of_turn_moves_the_place() {
    // Two attempts may run at a time, and the earlier one may win (trap A14).
    let mut list = fixed(servers(1, 4));
    names(&mut list, 3);
    list.connected(&host("s2", 2181));
    assert_eq!(names(&mut list, 2), "s3 s4");
    // A host that is no more in the list moves nothing.
    list.connected(&host("gone", 1));
    assert_eq!(names(&mut list, 1), "s1");
}

#[test]
fn seed_repeats_the_order_and_orders_spread() {
    let mut first = HashMap::new();
    for seed in 0..3_000 {
        let mut list = HostList::new(servers(1, 3), true, Rng::with_seed(seed));
        let again = HostList::new(servers(1, 3), true, Rng::with_seed(seed));
        assert_eq!(list.hosts(), again.hosts());
        *first.entry(list.next().0.name).or_insert(0) += 1;
    }
    assert_eq!(first.len(), 3);
    assert!(first.values().all(|count| (900..1100).contains(count)), "{first:?}");
}

#[test]
fn same_name_with_another_port_is_another_server() {
    let mut list = fixed(vec![host("s1", 1), host("s1", 2)]);
    list.next();
    list.connected(&host("s1", 1));
    assert!(list.replace(vec![host("s1", 2)], Some(&host("s1", 1))));
    assert_eq!(list.next(), (host("s1", 2), false));
}

#[test]
fn a27_empty_list_changes_nothing() {
    let mut list = fixed(servers(1, 3));
    list.next();
    assert!(!list.replace(Vec::new(), Some(&host("s1", 2181))));
    assert_eq!(list.len(), 3);
    assert_eq!(names(&mut list, 2), "s2 s3");
    assert_eq!(HostList::new(Vec::new(), true, Rng::with_seed(1)).len(), 1);
}

#[test]
fn a27_current_server_removed_drops_the_connection() {
    let mut list = fixed(servers(1, 3));
    list.next();
    let current = host("s1", 2181);
    list.connected(&current);
    assert!(list.replace(servers(2, 3), Some(&current)));
    let (a, b) = (list.next(), list.next());
    assert!(!a.1 && !b.1 && a.0 != b.0);
    // Both tried in vain: the move is over, and the round too.
    assert_eq!(list.next(), (host("s2", 2181), true));
    assert_eq!(list.next(), (host("s3", 2181), false));
    assert_eq!(list.next(), (host("s2", 2181), true));
}

#[test]
fn a27_all_new_list_is_taken_connected_or_not() {
    for current in [None, Some(host("s1", 2181))] {
        let mut list = fixed(servers(1, 3));
        list.next();
        assert!(list.replace(servers(4, 6), current.as_ref()));
        assert_eq!(names(&mut list, 3), "s4 s5 s6");
    }
}

#[test]
fn a27_list_updated_before_the_first_connection_and_again_while_moving() {
    let mut list = fixed(servers(1, 3));
    assert!(list.replace(servers(4, 6), None));
    assert!(list.replace(servers(7, 8), None));
    assert_eq!(list.len(), 2);
    assert_eq!(names(&mut list, 2), "s7 s8");
    // Moving to s8 would be next to nothing: the same list again moves nobody.
    assert!(!list.replace(servers(7, 8), None));
}

#[test]
fn a27_same_list_keeps_the_connection_and_the_place() {
    let mut list = fixed(servers(1, 3));
    names(&mut list, 2);
    let current = host("s2", 2181);
    list.connected(&current);
    assert!(
        !list.replace(vec![host("s3", 2181), current.clone(), host("s1", 2181)], Some(&current))
    );
    assert_eq!(list.next(), (host("s1", 2181), false));
    assert_eq!(list.next(), (host("s3", 2181), false));
    assert_eq!(list.next(), (current, true));
}

#[test]
fn a27_stale_current_divides_by_nothing() {
    // The list did not lose a server, and yet the current one is not in it: 0 / 0.
    let mut list = fixed(servers(1, 3));
    list.next();
    assert!(list.replace(servers(1, 3), Some(&host("stranger", 1))));
    assert_eq!(names(&mut list, 3), "s1 s2 s3");
    // A list may name a server twice: both entries are old, and the other one is not gone.
    let mut list = fixed(vec![host("s1", 2181), host("s1", 2181)]);
    assert!(list.replace(vec![host("s1", 2181); 2], Some(&host("stranger", 1))));
    assert_eq!(list.next().0.name, "s1");
    for (old, before, after) in [(3, 3, 3), (2, 2, 1), (2, 1, 2), (0, 0, 0), (0, 3, 0)] {
        let odds = old_probability(old, before, after);
        assert_eq!(odds, 0.0, "{old} of {before} stay, {after} in all");
    }
}

#[test]
fn connection_ends_the_move() {
    let mut list = fixed(servers(1, 2));
    list.next();
    list.connected(&host("s1", 2181));
    assert!(list.replace(servers(3, 4), Some(&host("s1", 2181))));
    let (moved_to, _) = list.next();
    list.connected(&moved_to);
    assert!(!list.replace(servers(3, 4), Some(&moved_to)));

    // What is left of the move is forgotten: the round goes on behind the connection.
    let mut list = fixed(servers(1, 2));
    assert!(list.replace(servers(3, 6), None));
    list.next();
    list.connected(&host("s5", 2181));
    assert_eq!(names(&mut list, 4), "s6 s3 s4 s5");
}

#[test]
fn a27_client_without_connection_decides_for_the_server_it_would_go_to() {
    // The last one, while nothing else was decided.
    let mut list = fixed(servers(1, 3));
    list.connected(&host("s2", 2181));
    assert!(!list.clone().replace(servers(2, 3), None));
    assert!(list.replace(vec![host("s1", 2181), host("s3", 2181)], None));

    // On the move, the one that is next: s4 was tried already.
    let mut list = fixed(servers(1, 3));
    assert!(list.replace(servers(4, 6), None));
    assert_eq!(names(&mut list, 1), "s4");
    assert!(!list.replace(servers(5, 6), None));
}

#[test]
fn move_in_vain_ends_a_round_and_begins_one() {
    let mut list = fixed(servers(1, 4));
    list.connected(&host("s2", 2181));
    let rest = vec![host("s1", 2181), host("s3", 2181), host("s4", 2181)];
    assert!(list.replace(rest, Some(&host("s2", 2181))));
    let tried: Vec<_> = (0..7).map(|_| list.next()).collect();
    let ends: Vec<_> = tried.iter().map(|(_, finished)| *finished).collect();
    assert_eq!(ends, [false, false, false, true, false, false, true]);
    let tried: Vec<_> = tried.iter().map(|(host, _)| host.name.as_str()).collect();
    assert_eq!(tried.join(" "), "s1 s3 s4 s1 s3 s4 s1");

    // Fresh servers first, so the move ends elsewhere: the round goes on from there.
    let mut list = fixed(servers(1, 2));
    let more = vec![host("s1", 2181), host("s3", 2181), host("s4", 2181)];
    assert!(list.replace(more, Some(&host("s2", 2181))));
    assert_eq!(names(&mut list, 6), "s3 s4 s1 s3 s4 s1");
}

/// Lets `clients` clients, spread evenly over `before`, hear of `after`; gives back how many
/// end on each server.
fn spread(before: &[Host], after: &[Host], clients: usize) -> HashMap<String, usize> {
    let mut seeds = Rng::with_seed(20_261_122);
    let mut counts = HashMap::new();
    for client in 0..clients {
        let mut list = HostList::new(before.to_vec(), true, seeds.fork());
        let mut current = before[client % before.len()].clone();
        while list.next().0 != current {}
        list.connected(&current);
        if list.replace(after.to_vec(), Some(&current)) {
            current = list.next().0;
            list.connected(&current);
        }
        *counts.entry(current.name).or_insert(0) += 1;
    }
    counts
}

/// Within a twentieth of a server's share: three standard deviations or more.
fn assert_even(counts: &HashMap<String, usize>, over: &[Host], clients: usize) {
    let share = clients / over.len();
    assert_eq!(counts.len(), over.len(), "{counts:?}");
    for host in over {
        let count = counts[&host.name];
        assert!(count.abs_diff(share) <= share / 20, "{host}: {count}, not {share}: {counts:?}");
    }
}

#[test]
fn a27_rebalancing_evens_the_load() {
    let clients = 30_000;
    for (before, after) in [
        ((1, 3), (1, 5)),  // grows
        ((1, 5), (1, 3)),  // shrinks
        ((1, 9), (5, 9)),  // shrinks by the first four
        ((1, 5), (3, 7)),  // as many, two of them fresh
        ((1, 5), (4, 7)),  // shrinks, two of them fresh
        ((1, 4), (3, 10)), // grows, two are gone
        ((1, 3), (4, 6)),  // all new
        ((1, 3), (1, 3)),  // the same
    ] {
        let (before, after) = (servers(before.0, before.1), servers(after.0, after.1));
        assert_even(&spread(&before, &after, clients), &after, clients);
    }
}

#[test]
fn rebalancing_moves_no_client_without_need() {
    // 3 -> 5: two in five must move; 5 -> 3: only those whose server is gone.
    for (before, after, moved) in [(3, 5, 12_000), (5, 3, 12_000)] {
        let (before, after) = (servers(1, before), servers(1, after));
        let mut seeds = Rng::with_seed(3);
        let mut drops: usize = 0;
        for client in 0..30_000 {
            let current = &before[client % before.len()];
            let mut list = HostList::new(before.clone(), true, seeds.fork());
            list.connected(current);
            drops += usize::from(list.replace(after.clone(), Some(current)));
        }
        assert!(drops.abs_diff(moved) < 400, "{drops} of 30000, not {moved}");
    }
}

#[test]
fn a25_first_attempt_comes_at_once_and_the_next_ones_spread() {
    let mut rng = Rng::with_seed(1);
    let mut first = Vec::new();
    let mut sixth = Vec::new();
    for _ in 0..500 {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..7).map(|_| backoff.next(&mut rng)).collect();
        assert_eq!(waits[0], Duration::ZERO);
        for (n, full_ms) in [(1, 50), (2, 100), (3, 200), (4, 400), (5, 800), (6, 1_000)] {
            let full = Duration::from_millis(full_ms);
            assert!(waits[n] > full / 2 && waits[n] <= full, "wait {n} is {:?}", waits[n]);
        }
        first.push(waits[1]);
        sixth.push(waits[6]);
    }
    let width = |waits: &[Duration]| *waits.iter().max().unwrap() - *waits.iter().min().unwrap();
    assert!(width(&first) > Duration::from_millis(20));
    assert!(width(&sixth) > Duration::from_millis(450));
}

#[test]
fn a26_backoff_never_overflows() {
    let mut rng = Rng::with_seed(1);
    let mut backoff = Backoff::default();
    for n in 0..1_000_000 {
        let wait = backoff.next(&mut rng);
        assert!(wait <= MAX_DELAY && (n < 6 || wait >= MAX_DELAY / 2), "wait {n} is {wait:?}");
    }
    for attempts in [31, 32, 33, 64, u32::MAX - 1, u32::MAX] {
        let wait = Backoff { attempts }.next(&mut rng);
        assert!(wait >= MAX_DELAY / 2 && wait <= MAX_DELAY, "{attempts}: {wait:?}");
    }
    backoff.reset();
    assert_eq!(backoff.next(&mut rng), Duration::ZERO);
}

#[test]
fn a26_million_failed_attempts_go_on_round_and_round() {
    let mut list = HostList::new(servers(1, 3), true, Rng::with_seed(1));
    let mut rounds = 0;
    for n in 0..1_000_000 {
        let (_, finished) = list.next();
        assert_eq!(finished, n > 0 && n % 3 == 0, "attempt {n}");
        rounds += u32::from(finished);
    }
    assert_eq!(rounds, 333_333);
}
