//! As much JSON as records on nodes need: one object, of which the texts matter.

use std::fmt::Write as _;

/// The value of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value<'t> {
    Text(String),
    /// A number, `true`, `null`, a list, an object: as it is written.
    Other(&'t str),
}

/// Reads an object and nothing else.
pub(crate) fn object(text: &str) -> Option<Vec<(String, Value<'_>)>> {
    let mut reader = Reader { text };
    let mut members = Vec::new();
    reader.expect("{")?;
    if !reader.skip("}") {
        loop {
            reader.space();
            let name = reader.text()?;
            reader.expect(":")?;
            members.push((name, reader.value()?));
            if !reader.skip(",") {
                break;
            }
        }
        reader.expect("}")?;
    }
    reader.space();
    reader.text.is_empty().then_some(members)
}

/// Whether this is a value of any kind, and nothing else.
pub(crate) fn is_value(text: &str) -> bool {
    let mut reader = Reader { text };
    let passed = reader.pass(DEPTH).is_some();
    reader.space();
    passed && reader.text.is_empty()
}

/// Writes a text as Python's `json.dumps` does: all of it ASCII.
pub(crate) fn write_text(text: &str, to: &mut String) {
    to.push('"');
    for c in text.chars() {
        match c {
            '"' => to.push_str("\\\""),
            '\\' => to.push_str("\\\\"),
            '\n' => to.push_str("\\n"),
            '\r' => to.push_str("\\r"),
            '\t' => to.push_str("\\t"),
            '\u{8}' => to.push_str("\\b"),
            '\u{c}' => to.push_str("\\f"),
            ' '..='~' => to.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // To a String, which takes everything.
                    let _ = write!(to, "\\u{unit:04x}");
                }
            }
        }
    }
    to.push('"');
}

/// What is left to read.
struct Reader<'t> {
    text: &'t str,
}

impl<'t> Reader<'t> {
    fn space(&mut self) {
        self.text = self.text.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// Whether `token` came next; then it is read.
    fn skip(&mut self, token: &str) -> bool {
        self.space();
        let rest = self.text.strip_prefix(token);
        self.text = rest.unwrap_or(self.text);
        rest.is_some()
    }

    fn expect(&mut self, token: &str) -> Option<()> {
        self.skip(token).then_some(())
    }

    fn value(&mut self) -> Option<Value<'t>> {
        self.space();
        if self.text.starts_with('"') {
            return self.text().map(Value::Text);
        }
        let start = self.text;
        self.pass(DEPTH)?;
        let read = start.len().checked_sub(self.text.len())?;
        start.get(..read).map(Value::Other)
    }

    /// Passes over a value of any kind.
    fn pass(&mut self, depth: usize) -> Option<()> {
        self.space();
        let depth = depth.checked_sub(1)?;
        if self.text.starts_with('"') {
            return self.text().map(drop);
        }
        for (open, close, named) in [("[", "]", false), ("{", "}", true)] {
            if !self.skip(open) {
                continue;
            }
            if self.skip(close) {
                return Some(());
            }
            loop {
                if named {
                    self.space();
                    self.text()?;
                    self.expect(":")?;
                }
                self.pass(depth)?;
                if !self.skip(",") {
                    return self.expect(close);
                }
            }
        }
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        let rest = self.text.trim_start_matches(is_part);
        let read = rest.len() < self.text.len();
        self.text = rest;
        read.then_some(())
    }

    fn text(&mut self) -> Option<String> {
        let mut chars = self.text.strip_prefix('"')?.chars();
        let mut units = Vec::new();
        loop {
            let unit = match chars.next()? {
                '"' => break,
                '\\' => match chars.next()? {
                    'n' => u16::from(b'\n'),
                    'r' => u16::from(b'\r'),
                    't' => u16::from(b'\t'),
                    'b' => 8,
                    'f' => 12,
                    'u' => {
                        let (digits, rest) = chars.as_str().split_at_checked(4)?;
                        let all = digits.bytes().all(|b| b.is_ascii_hexdigit());
                        chars = rest.chars();
                        u16::from_str_radix(digits, 16).ok().filter(|_| all)?
                    }
                    c @ ('"' | '\\' | '/') => c as u16,
                    _ => return None,
                },
                c if c < ' ' => return None,
                c => {
                    units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
                    continue;
                }
            };
            units.push(unit);
        }
        self.text = chars.as_str();
        String::from_utf16(&units).ok()
    }
}

/// How deep lists and objects may be within each other; the stack has an end.
const DEPTH: usize = 32;
