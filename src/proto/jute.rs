//! Jute, the encoding of every record: big-endian integers, length-prefixed strings and buffers,
//! counted vectors. No tags, no padding, no names.
//!
//! A length or count of -1 stands for null. [`Reader`] hands out null buffers as `None` and reads
//! null strings and vectors as empty ones, since no record gives the difference a meaning.
//!
//! Source: `BinaryOutputArchive.java`, `BinaryInputArchive.java`.

use std::borrow::Cow;

use byteorder::{BigEndian, ByteOrder};

/// Bytes that are not the record they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct DecodeError {
    /// What is wrong, in words.
    pub(crate) what: &'static str,
    /// Where it is wrong, counted from the start of the bytes given to the [`Reader`].
    pub(crate) at: usize,
}

/// Appends values to a buffer. It cannot fail.
///
/// A length beyond `i32::MAX` is written as `i32::MAX`; such a frame is refused by its size before
/// anyone sends it.
#[derive(Debug)]
pub(crate) struct Writer<'a>(&'a mut Vec<u8>);

impl<'a> Writer<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        Self(out)
    }

    pub(crate) fn i32(&mut self, value: i32) {
        let mut bytes = [0; 4];
        BigEndian::write_i32(&mut bytes, value);
        self.0.extend_from_slice(&bytes);
    }

    pub(crate) fn i64(&mut self, value: i64) {
        let mut bytes = [0; 8];
        BigEndian::write_i64(&mut bytes, value);
        self.0.extend_from_slice(&bytes);
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.0.push(u8::from(value));
    }

    pub(crate) fn buffer(&mut self, value: Option<&[u8]>) {
        match value {
            Some(bytes) => {
                self.count(bytes.len());
                self.0.extend_from_slice(bytes);
            }
            None => self.i32(NULL),
        }
    }

    pub(crate) fn string(&mut self, value: &str) {
        self.buffer(Some(value.as_bytes()));
    }

    pub(crate) fn opt_string(&mut self, value: Option<&str>) {
        self.buffer(value.map(str::as_bytes));
    }

    /// Writes the number of elements of a vector; the caller writes the elements.
    pub(crate) fn count(&mut self, count: usize) {
        self.i32(length(count));
    }
}

/// Takes values from the front of a slice.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, at: 0 }
    }

    pub(crate) fn i32(&mut self) -> Result<i32, DecodeError> {
        self.take(4, "int cut short").map(BigEndian::read_i32)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, DecodeError> {
        self.take(8, "long cut short").map(BigEndian::read_i64)
    }

    /// Reads a boolean; like the Java reader, it takes any byte but 0 for true.
    pub(crate) fn bool(&mut self) -> Result<bool, DecodeError> {
        let byte = self.take(1, "boolean cut short")?;
        Ok(byte != [0])
    }

    pub(crate) fn buffer(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        match self.count("negative buffer length")? {
            Some(len) => self.take(len, "buffer cut short").map(Some),
            None => Ok(None),
        }
    }

    /// The length of a buffer, whose bytes are elsewhere.
    pub(crate) fn length(&mut self) -> Result<Option<usize>, DecodeError> {
        self.count("negative buffer length")
    }

    /// The bytes of a buffer, whose length was elsewhere.
    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        self.take(len, "buffer cut short")
    }

    /// Reads a string; null reads as empty.
    ///
    /// The Java server writes each half of a surrogate pair by itself, which is not UTF-8. Such a
    /// pair is put together again, anything else that is not UTF-8 becomes U+FFFD: odd text in an
    /// ACL id is no reason to drop a connection.
    pub(crate) fn string(&mut self) -> Result<String, DecodeError> {
        self.text().map(Cow::into_owned)
    }

    /// As [`string`](Self::string), in place if it can be.
    pub(crate) fn text(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        let bytes = match self.count("negative string length")? {
            Some(len) => self.take(len, "string cut short")?,
            None => return Ok(Cow::Borrowed("")),
        };
        Ok(match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => Cow::Owned(String::from_utf8_lossy(&join_surrogates(bytes)).into_owned()),
        })
    }

    /// Reads a vector whose elements take at least `min_len_of_element` bytes each; null reads as
    /// empty.
    ///
    /// A count that the remaining bytes cannot hold is refused before anything is allocated, and
    /// what is allocated up front is at most six times the bytes that remain: enough for strings of
    /// four bytes and more, each of which takes three words beside them.
    pub(crate) fn vector<T>(
        &mut self,
        min_len_of_element: usize,
        mut element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let at = self.at;
        let Some(count) = self.count("negative vector count")? else {
            return Ok(Vec::new());
        };
        if count > self.remaining() / min_len_of_element.max(1) {
            return Err(DecodeError { what: "vector count larger than its bytes", at });
        }
        // Room in powers of two, as a vector that grows has: what glibc gives back to the system
        // follows from the largest block that it mapped by itself. With room cut to measure, the
        // memory of 10,000 names was given back and faulted in again by every call, for a third
        // of its time.
        let room = count.min(self.remaining() * 3 / size_of::<T>().max(1));
        let mut elements = Vec::with_capacity(room.next_power_of_two());
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(elements)
    }

    /// The next `N` bytes, for a record of nothing but integers: read from them, no integer needs
    /// a check of its own. `None`, and nothing taken, if there are fewer.
    pub(crate) fn fixed<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        self.at += N;
        Some(taken)
    }

    /// How many bytes have not been read.
    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The bytes that have not been read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Makes an error that points at the next byte, for what only the record can know is wrong.
    pub(crate) fn error(&self, what: &'static str) -> DecodeError {
        DecodeError { what, at: self.at }
    }

    /// Reads a length or count, `None` for null; `negative` names what is below -1.
    fn count(&mut self, negative: &'static str) -> Result<Option<usize>, DecodeError> {
        let at = self.at;
        match self.i32()? {
            NULL => Ok(None),
            count => match usize::try_from(count) {
                Ok(count) => Ok(Some(count)),
                Err(_) => Err(DecodeError { what: negative, at }),
            },
        }
    }

    fn take(&mut self, len: usize, short: &'static str) -> Result<&'a [u8], DecodeError> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            return Err(self.error(short));
        };
        self.rest = rest;
        self.at += len;
        Ok(taken)
    }
}

/// Overwrites the int at byte `at`, which was written before its value was known.
pub(crate) fn patch_i32(out: &mut [u8], at: usize, value: i32) {
    if let Some(slot) = out.get_mut(at..).and_then(|tail| tail.get_mut(..4)) {
        BigEndian::write_i32(slot, value);
    }
}

/// A length as it goes on the wire.
pub(crate) fn length(len: usize) -> i32 {
    i32::try_from(len).unwrap_or(i32::MAX)
}

/// Turns each pair of three-byte surrogates into the four bytes that UTF-8 has for it.
fn join_surrogates(mut bytes: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(bytes.len());
    while let Some((&first, rest)) = bytes.split_first() {
        let pair = bytes.split_first_chunk::<6>();
        if let Some((pair, rest)) = pair.and_then(|(pair, rest)| Some((surrogates(pair)?, rest))) {
            joined.extend_from_slice(pair.encode_utf8(&mut [0; 4]).as_bytes());
            bytes = rest;
        } else {
            joined.push(first);
            bytes = rest;
        }
    }
    joined
}

/// The character that a high and a low surrogate stand for, each in the three bytes that UTF-8
/// would have for its number.
fn surrogates(bytes: &[u8; 6]) -> Option<char> {
    let [0xED, high @ 0xA0..=0xAF, b @ 0x80..=0xBF, 0xED, low @ 0xB0..=0xBF, d @ 0x80..=0xBF] =
        *bytes
    else {
        return None;
    };
    let half = |upper: u8, lower: u8| u32::from(upper & 0x0F) << 6 | u32::from(lower & 0x3F);
    char::from_u32(0x1_0000 + (half(high, b) << 10) + half(low & 0x0F, d))
}

/// The length or count that stands for null.
const NULL: i32 = -1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::captured::unhex;

    fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut Writer::new(&mut out));
        out
    }

    fn string(bytes: &[u8]) -> String {
        Reader::new(&written(|w| w.buffer(Some(bytes)))).string().unwrap()
    }

    #[test]
    fn integers_are_big_endian() {
        assert_eq!(written(|w| w.i32(-2)), unhex("fffffffe"));
        assert_eq!(written(|w| w.i64(0x0102)), unhex("0000000000000102"));
    }

    #[test]
    fn null_and_empty_differ_on_the_wire() {
        assert_eq!(written(|w| w.buffer(None)), unhex("ffffffff"));
        assert_eq!(written(|w| w.buffer(Some(b""))), unhex("00000000"));
        assert_eq!(written(|w| w.opt_string(None)), unhex("ffffffff"));
        assert_eq!(written(|w| w.opt_string(Some("a"))), unhex("0000000161"));
    }

    #[test]
    fn null_reads_as_none_or_empty() {
        let bytes = unhex("ffffffff");
        assert_eq!(Reader::new(&bytes).buffer(), Ok(None));
        assert_eq!(Reader::new(&bytes).string(), Ok(String::new()));
        assert_eq!(Reader::new(&bytes).vector(4, Reader::i32), Ok(vec![]));
    }

    #[test]
    fn any_byte_but_zero_is_true() {
        assert_eq!(Reader::new(&[0]).bool(), Ok(false));
        assert_eq!(Reader::new(&[1]).bool(), Ok(true));
        assert_eq!(Reader::new(&[0xff]).bool(), Ok(true));
    }

    #[test]
    fn length_below_null_is_an_error() {
        for bytes in [unhex("fffffffe"), unhex("80000000")] {
            assert!(Reader::new(&bytes).buffer().is_err());
            assert!(Reader::new(&bytes).string().is_err());
            assert!(Reader::new(&bytes).vector(1, Reader::bool).is_err());
        }
    }

    #[test]
    fn length_past_the_end_is_an_error() {
        let bytes = unhex("0000000401020");
        assert!(Reader::new(&bytes).buffer().is_err());
        assert!(Reader::new(&bytes).string().is_err());
    }

    #[test]
    fn vector_of_two_billion_in_eight_bytes_is_refused_before_its_elements_are_read() {
        let bytes = unhex("7fffffff00000000");
        let mut r = Reader::new(&bytes);
        let read = r.vector(4, |_| -> Result<(), DecodeError> { panic!("read an element") });
        let error = DecodeError { what: "vector count larger than its bytes", at: 0 };
        assert_eq!(read, Err(error));
    }

    #[test]
    fn vector_that_just_fits_is_read() {
        let bytes = unhex("000000020000000700000008");
        assert_eq!(Reader::new(&bytes).vector(4, Reader::i32), Ok(vec![7, 8]));
        let bytes = unhex("000000030000000700000008");
        assert!(Reader::new(&bytes).vector(4, Reader::i32).is_err());
    }

    #[test]
    fn error_says_what_and_where() {
        let bytes = unhex("0000000100000005616263");
        let mut r = Reader::new(&bytes);
        assert_eq!(r.i32(), Ok(1));
        let error = r.string().unwrap_err();
        assert_eq!(error.to_string(), "string cut short at byte 8");
    }

    #[test]
    fn surrogate_pair_of_a_java_server_is_one_character() {
        assert_eq!(string(&unhex("7573eda0bdedb8806572")), "us😀er");
        assert_eq!(string(&unhex("eda080edb080")), "\u{10000}");
        assert_eq!(string(&unhex("edafbfedbfbf")), "\u{10ffff}");
    }

    #[test]
    fn text_that_is_not_utf8_is_replaced_and_not_refused() {
        assert_eq!(string(b"a\xffb"), "a\u{fffd}b");
        // Half a pair, two first halves, a pair cut short.
        for half in ["eda0bd41", "eda0bdeda0bd", "eda0bdedb8"] {
            assert!(string(&unhex(half)).contains('\u{fffd}'));
        }
    }

    #[test]
    fn patch_beyond_the_end_changes_nothing() {
        let mut out = vec![1, 2, 3];
        patch_i32(&mut out, 0, 9);
        patch_i32(&mut out, 7, 9);
        assert_eq!(out, [1, 2, 3]);
    }

    #[test]
    fn length_stops_at_the_largest_int() {
        assert_eq!(length(3), 3);
        assert_eq!(length(usize::MAX), i32::MAX);
    }

    /// As the Java server writes strings: each half of a surrogate pair by itself.
    fn as_java_writes(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        for unit in text.encode_utf16() {
            match unit {
                0..0x80 => out.push(unit as u8),
                0x80..0x800 => out.extend([0xc0 | (unit >> 6) as u8, 0x80 | (unit & 0x3f) as u8]),
                _ => out.extend([
                    0xe0 | (unit >> 12) as u8,
                    0x80 | ((unit >> 6) & 0x3f) as u8,
                    0x80 | (unit & 0x3f) as u8,
                ]),
            }
        }
        out
    }

    proptest! {
        #[test]
        fn values_come_back(
            a: i32,
            b: i64,
            c: bool,
            d: Option<Vec<u8>>,
            e in ".*",
            f: Vec<i64>,
        ) {
            let bytes = written(|w| {
                w.i32(a);
                w.i64(b);
                w.bool(c);
                w.buffer(d.as_deref());
                w.string(&e);
                w.count(f.len());
                f.iter().for_each(|f| w.i64(*f));
            });
            let mut r = Reader::new(&bytes);
            prop_assert_eq!(r.i32()?, a);
            prop_assert_eq!(r.i64()?, b);
            prop_assert_eq!(r.bool()?, c);
            prop_assert_eq!(r.buffer()?, d.as_deref());
            prop_assert_eq!(r.string()?, e);
            prop_assert_eq!(r.vector(8, Reader::i64)?, f);
            prop_assert_eq!(r.remaining(), 0);
            prop_assert!(r.rest().is_empty());
        }

        #[test]
        fn text_of_a_java_server_comes_back(text in ".*") {
            prop_assert_eq!(string(&as_java_writes(&text)), text);
        }

        #[test]
        fn any_bytes_read_as_some_text(bytes: Vec<u8>) {
            string(&bytes);
        }

        #[test]
        fn any_surrogates_read_as_some_text(
            bytes in prop::collection::vec(
                prop::sample::select(b"\xed\xa0\xaf\xb0\xbf\x80A".to_vec()),
                0..24,
            ),
        ) {
            string(&bytes);
        }
    }
}
