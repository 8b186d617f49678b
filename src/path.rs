//! Paths of nodes, and the numbers that the server appends to sequential ones.
//!
//! The functions here cut and join text; none of them talks to a server. Each call of the client
//! checks its path before anything is sent, so nothing here needs to be called for that.
//!
//! A sequential node gets its name from two parts: a prefix, chosen by who creates it, and ten
//! digits, appended by the server.
//!
//! ```text
//! /app/queue / qn-      0000000017
//! └ parent ┘   └prefix┘ └sequence┘
//!              └────── name ─────┘
//! ```
//!
//! The number counts the children that were ever created under the parent. It is a signed 32-bit
//! integer: after 2 147 483 647 it is negative, and its text grows to eleven characters.
//!
//! # Example
//!
//! ```
//! use zookeeper_blocking::path;
//!
//! let created = "/app/queue/qn-0000000017";
//! assert_eq!(path::parent(created), Some("/app/queue"));
//! assert_eq!(path::name(created), "qn-0000000017");
//! assert_eq!(path::sequence(created), Some(17));
//! assert_eq!(path::join("/app/queue", "qn-"), "/app/queue/qn-");
//! ```

/// Puts `child` below `parent`.
///
/// `child` is a name, as `get_children` returns it, or several names with `/` between them. An
/// empty `child` gives `parent/`, the prefix of a sequential node whose name is its number only.
///
/// # Example
///
/// ```
/// use zookeeper_blocking::path;
///
/// assert_eq!(path::join("/", "app"), "/app");
/// assert_eq!(path::join("/app", "a/b"), "/app/a/b");
/// assert_eq!(path::join("/app/", "a"), "/app/a");
/// assert_eq!(path::join("/app", ""), "/app/");
/// ```
pub fn join(parent: &str, child: &str) -> String {
    let parent = parent.strip_suffix('/').unwrap_or(parent);
    let mut path = String::with_capacity(parent.len() + 1 + child.len());
    path.push_str(parent);
    path.push('/');
    path.push_str(child);
    path
}

/// Returns the path of the node above, `None` for the root and for a path without `/`.
///
/// # Example
///
/// ```
/// use zookeeper_blocking::path;
///
/// assert_eq!(path::parent("/app/a"), Some("/app"));
/// assert_eq!(path::parent("/app"), Some("/"));
/// assert_eq!(path::parent("/"), None);
/// ```
pub fn parent(path: &str) -> Option<&str> {
    match path.rsplit_once('/')? {
        ("", "") => None,
        ("", _) => Some("/"),
        (parent, _) => Some(parent),
    }
}

/// Returns what follows the last `/`: the name under which the parent lists the node.
///
/// The name of the root is empty.
///
/// # Example
///
/// ```
/// use zookeeper_blocking::path;
///
/// assert_eq!(path::name("/app/a"), "a");
/// assert_eq!(path::name("a"), "a");
/// assert_eq!(path::name("/"), "");
/// ```
pub fn name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// Returns the number at the end of the name of a sequential node.
///
/// `None` if the text does not end in a number as the server prints it: ten digits, or a minus
/// sign and as many digits as make at least ten characters.
///
/// A minus sign before ten digits may be the end of the prefix or the sign. It is taken for the
/// sign where only that can be, and after another minus sign: negative numbers only come up after
/// 2^31 creates under one parent, prefixes like `qn-` every day. Take the prefix off yourself where
/// it can end in two of them.
///
/// # Example
///
/// ```
/// use zookeeper_blocking::path;
///
/// assert_eq!(path::sequence("/app/queue/qn-0000000017"), Some(17));
/// assert_eq!(path::sequence("qn-2147483647"), Some(i32::MAX));
/// assert_eq!(path::sequence("qn--2147483648"), Some(i32::MIN));
/// assert_eq!(path::sequence("qn--000000001"), Some(-1));
/// assert_eq!(path::sequence("config"), None);
/// ```
///
/// Source: ZooKeeper `PrepRequestProcessor.pRequest2TxnCreate`, which appends `%010d` of the
/// parent's count of creates.
pub fn sequence(name: &str) -> Option<i32> {
    split(name).map(|(_, sequence)| sequence)
}

/// Returns what stands before the number of a sequential node: the text it was created with.
///
/// `None` where [`sequence`] is `None`.
///
/// # Example
///
/// ```
/// use zookeeper_blocking::path;
///
/// assert_eq!(path::sequence_prefix("/app/queue/qn-0000000017"), Some("/app/queue/qn-"));
/// assert_eq!(path::sequence_prefix("0000000017"), Some(""));
/// assert_eq!(path::sequence_prefix("config"), None);
/// ```
pub fn sequence_prefix(name: &str) -> Option<&str> {
    split(name).map(|(prefix, _)| prefix)
}

/// Says whether the server accepts `path`, and if not, why.
///
/// Agrees with the check that the server makes on each write. The server reads with less care:
/// see the tests for what it lets through there.
///
/// Source: ZooKeeper `PathUtils.validatePath`.
pub(crate) fn validate(path: &str) -> Result<(), &'static str> {
    if is_plain(path.as_bytes()) { Ok(()) } else { judge(path) }
}

/// The whole rule.
fn judge(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("the path is empty");
    }
    let Some(below) = path.strip_prefix('/') else {
        return Err("the path must start with /");
    };
    if below.is_empty() {
        return Ok(());
    }
    if below.ends_with('/') {
        return Err("the path must not end with /");
    }
    for name in below.split('/') {
        match name {
            "" => return Err("a name in the path is empty"),
            "." | ".." => return Err("the path must not contain . or .. as a name"),
            _ => {}
        }
    }
    match path.chars().find(|c| is_forbidden(*c)) {
        Some('\0') => Err("the path contains the null character"),
        Some(_) => Err("the path contains a character that ZooKeeper forbids"),
        None => Ok(()),
    }
}

/// Whether the path is as almost all are: printable ASCII, no empty name, none that begins with a
/// dot. One look at each byte, where the whole rule takes several at each character; every call
/// pays for it.
fn is_plain(path: &[u8]) -> bool {
    let Some((b'/', below)) = path.split_first() else { return false };
    let mut most = ANYWHERE;
    for byte in below {
        let class = CLASSES.get(usize::from(*byte)).copied().unwrap_or(NOWHERE);
        if class > most {
            return false;
        }
        most = if class == SLASH { ANYWHERE } else { SLASH };
    }
    most != ANYWHERE || below.is_empty()
}

// Where a byte may stand: what begins a name must be of the first class.
const ANYWHERE: u8 = 0;
const DOT: u8 = 1;
const SLASH: u8 = 2;
const NOWHERE: u8 = 3;

/// The class of each byte.
#[allow(clippy::indexing_slicing, reason = "worked out while compiling, which would fail")]
const CLASSES: [u8; 256] = {
    let mut classes = [NOWHERE; 256];
    let mut byte = b' ';
    while byte <= b'~' {
        classes[byte as usize] = match byte {
            b'/' => SLASH,
            b'.' => DOT,
            _ => ANYWHERE,
        };
        byte += 1;
    }
    classes
};

/// Says whether the server accepts `path` for a sequential node, and if not, why.
///
/// The number counts as part of the last name, so `/queue/` is fine and so is `/queue/..`.
///
/// Source: ZooKeeper `PathUtils.validatePath(path, isSequential)`.
pub(crate) fn validate_sequential(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("the path is empty");
    }
    if is_plain(path.as_bytes()) {
        return Ok(());
    }
    validate(&format!("{path}1"))
}

/// Reads text that is a sequence number and nothing else.
///
/// Accepts exactly what Java's `String.format("%010d", i)` prints: the sign is one of the ten
/// characters, and -1000000000 and below need eleven.
pub(crate) fn parse_sequence(text: &str) -> Option<i32> {
    let digits = text.strip_prefix('-');
    let all_digits = digits.unwrap_or(text).bytes().all(|b| b.is_ascii_digit());
    if !all_digits || !(10..=11).contains(&text.len()) {
        return None;
    }
    let sequence: i32 = text.parse().ok()?;
    // `-000000000` and `-0999999999` are numbers too, but nothing prints them so.
    let printed_so = match text.len() {
        11 => sequence <= -1_000_000_000,
        _ => (sequence < 0) == digits.is_some(),
    };
    printed_so.then_some(sequence)
}

/// The two places where a name may be cut, in the order in which they are to be tried: before the
/// last ten characters, and before the last eleven.
///
/// Who knows the prefix tells the two apart by it.
pub(crate) fn sequence_cuts(name: &str) -> impl Iterator<Item = (&str, i32)> {
    [10, 11].into_iter().filter_map(move |len| {
        let (prefix, digits) = name.split_at_checked(name.len().checked_sub(len)?)?;
        Some((prefix, parse_sequence(digits)?))
    })
}

fn split(name: &str) -> Option<(&str, i32)> {
    let mut cuts = sequence_cuts(name);
    let first = cuts.next()?;
    match cuts.next() {
        Some(signed) if signed.0.ends_with('-') => Some(signed),
        _ => Some(first),
    }
}

/// The server looks at UTF-16 units, so the surrogates U+D800 to U+DFFF stand for all characters
/// above U+FFFF.
fn is_forbidden(c: char) -> bool {
    matches!(
        c,
        '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{e000}'..='\u{f8ff}'
            | '\u{fff0}'..='\u{ffff}'
            | '\u{10000}'..
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a 3.8.0 server said to `create` without and with the sequential flag, parent present.
    const ASKED: &[(&str, bool, bool)] = &[
        ("/", true, true),
        ("", false, false),
        ("a", false, false),
        ("//", false, false),
        ("//t", false, false),
        ("/t/", false, true),
        ("/t//", false, false),
        ("/t//a", false, false),
        ("/.", false, true),
        ("/..", false, true),
        ("/...", true, true),
        ("/t/.", false, true),
        ("/t/..", false, true),
        ("/t/...", true, true),
        ("/t/./b", false, false),
        ("/t/../b", false, false),
        ("/t/.a", true, true),
        ("/t/a.", true, true),
        ("/t/..b", true, true),
        ("/t/a..", true, true),
        ("/t/a..b", true, true),
        ("/t/\0", false, false),
        ("/t/a\0b", false, false),
        ("/t/\u{1}", false, false),
        ("/t/\t", false, false),
        ("/t/\n", false, false),
        ("/t/\u{1f}", false, false),
        ("/t/ ", true, true),
        ("/t/~", true, true),
        ("/t/\u{7f}", false, false),
        ("/t/\u{80}", false, false),
        ("/t/\u{9f}", false, false),
        ("/t/\u{a0}", true, true),
        ("/t/\u{d7ff}", true, true),
        ("/t/\u{e000}", false, false),
        ("/t/\u{f8ff}", false, false),
        ("/t/\u{f900}", true, true),
        ("/t/\u{ffef}", true, true),
        ("/t/\u{fff0}", false, false),
        ("/t/\u{fffd}", false, false),
        ("/t/\u{ffff}", false, false),
        ("/t/\u{10000}", false, false),
        ("/t/\u{1f600}", false, false),
        ("/t/\u{10ffff}", false, false),
        ("/t/é", true, true),
        ("/t/日本", true, true),
        ("/t/:*?\"<>|", true, true),
        ("/t/a b", true, true),
        ("/t/\u{200b}", true, true),
        ("/t/.\u{301}", true, true),
        ("/zookeeper/x", true, true),
    ];

    // What the server does apart from the rule, found on 3.8.0 and not imitated here:
    // * Only writes of data and ACLs, `check` and `create` go through the rule. `exists`,
    //   `get_data`, `get_children` take any text for a name that may be absent (NoNode), except
    //   that `exists` refuses U+0000; `""` reads the root.
    // * `create` looks for the parent first: `/t//a` and `/t/./b` are NoNode, not BadArguments.
    //   `set_data` says BadArguments for exactly what the rule forbids: ask that one.
    // * `delete` looks for U+0000 and a missing `/` only, and refuses `/`, `/zookeeper` and
    //   `/zookeeper/config`, all of which are valid paths.
    #[test]
    fn plain_paths_are_legal_by_the_whole_rule() {
        let letters = ['/', '.', 'a', ' ', '~', '\x7f', '\x1f', 'é', '\0'];
        let mut paths = vec![String::new()];
        let mut plain = 0;
        for _ in 0..5 {
            let longer = |path: &String| letters.map(|letter| format!("{path}{letter}"));
            paths = paths.iter().flat_map(longer).collect();
            for path in paths.iter().filter(|path| is_plain(path.as_bytes())) {
                plain += 1;
                assert_eq!(judge(path), Ok(()), "{path:?}");
            }
        }
        assert!(is_plain(b"/") && is_plain(b"/a/b.c") && plain > 100, "{plain}");
    }

    #[test]
    fn c11_accepts_what_the_server_accepts() {
        for (path, plain, sequential) in ASKED {
            assert_eq!(validate(path).is_ok(), *plain, "{path:?}");
            assert_eq!(validate_sequential(path).is_ok(), *sequential, "{path:?}, sequential");
        }
    }

    #[test]
    fn reason_names_the_first_thing_to_fix() {
        for (path, reason) in [
            ("", "empty"),
            ("a", "start with /"),
            ("/a/", "end with /"),
            ("/a//b", "name in the path is empty"),
            ("/a/../b", ". or .."),
            ("/a\0", "null"),
            ("/a\u{7f}", "forbids"),
        ] {
            let said = validate(path).unwrap_err();
            assert!(said.contains(reason), "{path:?}: {said}");
        }
        assert_eq!(validate_sequential(""), Err("the path is empty"));
    }

    #[test]
    fn root_has_no_parent_and_no_name() {
        assert_eq!(parent("/"), None);
        assert_eq!(name("/"), "");
        assert_eq!(parent("/a"), Some("/"));
        assert_eq!(parent("a"), None);
    }

    #[test]
    fn join_never_doubles_the_slash() {
        assert_eq!(join("/", "a"), "/a");
        assert_eq!(join("/a/", "b"), "/a/b");
        // The chroot of a client without one is the empty string.
        assert_eq!(join("", "a"), "/a");
        assert_eq!(join("/", ""), "/");
    }

    #[test]
    fn e7_sequence_reads_what_the_server_prints_around_the_wrap() {
        // Printed by Java's %010d.
        for (text, sequence) in [
            ("0000000000", 0),
            ("0000000017", 17),
            ("2147483647", i32::MAX),
            ("-2147483648", i32::MIN),
            ("-2147483647", -i32::MAX),
            ("-1000000000", -1_000_000_000),
            ("-999999999", -999_999_999),
            ("-000000001", -1),
        ] {
            assert_eq!(parse_sequence(text), Some(sequence), "{text}");
            assert_eq!(sequence_cuts(&format!("x{text}")).last(), Some(("x", sequence)), "{text}");
        }
    }

    #[test]
    fn sequence_refuses_what_the_server_never_prints() {
        for text in [
            "",
            "1",
            "000000001",
            "00000000001",
            "2147483648",
            "9999999999",
            "-2147483649",
            "-0000000001",
            "-0999999999",
            "-000000000",
            "-00000001",
            "+000000001",
            "+0000000001",
            "--00000001",
            "00000 0001",
            "٠٠٠٠٠",
            "000000000\u{661}",
        ] {
            assert_eq!(parse_sequence(text), None, "{text:?}");
        }
        // Cuts in the middle of a character, and before the first.
        for name in ["é000000000", "日本日本", "-", "é"] {
            assert_eq!(sequence(name), None, "{name:?}");
        }
    }

    #[test]
    fn minus_sign_of_a_prefix_is_no_sign_of_the_number() {
        // From 1000000000 on, `qn-` and ten digits also read as eleven characters of a number.
        assert_eq!(sequence("qn-1000000000"), Some(1_000_000_000));
        assert_eq!(sequence_prefix("qn-1000000000"), Some("qn-"));
        assert_eq!(sequence("qn--1000000000"), Some(-1_000_000_000));
        assert_eq!(sequence_prefix("qn--1000000000"), Some("qn-"));
        // Nothing but a sign can stand before nine digits, or before 2147483648.
        assert_eq!(sequence("qn-000000001"), Some(-1));
        assert_eq!(sequence_prefix("qn-000000001"), Some("qn"));
        assert_eq!(sequence("qn-2147483648"), Some(i32::MIN));
    }

    proptest! {
        #[test]
        fn parts_join_to_the_whole(path in "(/[a-z.]{1,4}){1,4}") {
            prop_assert_eq!(join(parent(&path).unwrap(), name(&path)), path);
        }

        #[test]
        fn every_sequence_is_read_back(prefix in "[/a-z_-]{0,8}", sequence: i32) {
            let text = format!("{sequence:010}");
            prop_assert_eq!(parse_sequence(&text), Some(sequence));
            let created = format!("{prefix}{text}");
            prop_assert!(sequence_cuts(&created).any(|cut| cut == (prefix.as_str(), sequence)));
            if !prefix.ends_with('-') {
                let read = (sequence_prefix(&created), super::sequence(&created));
                // The one case that cannot be told from the name alone.
                if sequence > -1_000_000_000 || sequence == i32::MIN {
                    prop_assert_eq!(read, (Some(prefix.as_str()), Some(sequence)));
                }
            }
        }

        #[test]
        fn only_what_prints_back_is_a_sequence(text in "-?[0-9]{0,12}") {
            if let Some(sequence) = parse_sequence(&text) {
                prop_assert_eq!(format!("{sequence:010}"), text);
            }
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = (validate(&text), validate_sequential(&text), sequence(&text));
            let _ = (parent(&text), name(&text), join(&text, &text), sequence_prefix(&text));
        }

        #[test]
        fn join_of_valid_parts_is_valid(parent in "(/[a-z]{1,4}){0,3}", child in "[a-z]{1,4}") {
            prop_assert_eq!(validate(&join(&parent, &child)), Ok(()));
        }
    }
}
