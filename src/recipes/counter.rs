//! Numbers in one node, in the forms of Kazoo and of Curator.
//!
//! | form | bytes | who else reads it |
//! |---|---|---|
//! | text | `-5`, `3.0`, `1e+16` in ASCII, as Python prints it | Kazoo `Counter` |
//! | binary, `i32` | 4, big-endian | Curator `SharedCount`, `DistributedAtomicInteger`; Kazoo `Counter(support_curator=True)` |
//! | binary, `i64` | 8, big-endian | Curator `DistributedAtomicLong` |
//!
//! No node, and no data, are 0 in all of them.

use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::error::{At, Error, RecipeError, Result};
use crate::proto::acl::Acl;
use crate::recipes::atomic::{AtomicValue, Change};

/// A number that many processes count up and down.
///
/// `i64`, `i32` or `f64`, written as text unless [`binary`](Self::binary) is asked for; the table
/// in the [documentation of recipes](super#counters) says who reads what. Cloning makes one more
/// handle; a [`cancel`](Self::cancel) on one ends the waits of all clones.
///
/// # What it promises
/// As [`AtomicValue`]: each addition is made once or not at all, and an error tells when that is
/// not known; it is never made twice. Additions are never lost to each other.
///
/// # What it does not promise
/// To be fast: each addition is a write of its own, and those of many processes get in each
/// other's way. A value that Python wrote and that does not fit the type (its integers have no
/// limit) is [`RecipeError::Unreadable`], and is left alone.
///
/// ```no_run
/// use zookeeper_blocking::{Client, recipes::Counter};
///
/// let zk = Client::connect("localhost:2181")?;
/// let visits: Counter = Counter::new(&zk, "/app/visits")?;
/// let change = visits.add(1)?;
/// println!("visit {}", change.after);
///
/// // What Curator's DistributedAtomicLong reads.
/// let ids = Counter::<i64>::new(&zk, "/app/ids")?.binary();
/// ids.add(100)?;
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
///
/// Costs two round trips for an addition, one more for each that somebody else made in between.
pub struct Counter<N: Number = i64> {
    value: AtomicValue,
    form: Form<N>,
    number: PhantomData<N>,
}

/// How a number is written, and read; `None` for what is no such number.
struct Form<N> {
    write: fn(N) -> Vec<u8>,
    read: fn(&[u8]) -> Option<N>,
}

/// The numbers that a [`Counter`] can count: `i32`, `i64`, `f64`.
pub trait Number: sealed::Number {}

/// The numbers that Curator has a form of: `i32`, `i64`.
pub trait BinaryNumber: Number + sealed::Binary {}

mod sealed {
    pub trait Number: Copy + PartialEq + Default + std::fmt::Debug + Send + Sync + 'static {
        fn plus(self, other: Self) -> Option<Self>;
        fn to_text(self) -> String;
        fn of_text(text: &str) -> Option<Self>;
    }

    pub trait Binary: Number {
        fn to_bytes(self) -> Vec<u8>;
        fn of_bytes(bytes: &[u8]) -> Option<Self>;
    }
}

macro_rules! integer {
    ($type:ty) => {
        impl sealed::Number for $type {
            fn plus(self, other: Self) -> Option<Self> {
                self.checked_add(other)
            }

            fn to_text(self) -> String {
                self.to_string()
            }

            fn of_text(text: &str) -> Option<Self> {
                text.parse().ok()
            }
        }

        impl sealed::Binary for $type {
            fn to_bytes(self) -> Vec<u8> {
                self.to_be_bytes().to_vec()
            }

            fn of_bytes(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self::from_be_bytes)
            }
        }

        impl Number for $type {}
        impl BinaryNumber for $type {}
    };
}

integer!(i32);
integer!(i64);

impl sealed::Number for f64 {
    fn plus(self, other: Self) -> Option<Self> {
        Some(self + other)
    }

    fn to_text(self) -> String {
        python_repr(self)
    }

    fn of_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Number for f64 {}

impl<N: Number> Counter<N> {
    /// The counter at `path`, in text. Nothing is sent yet; the node is made by the first change.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `path` is not a legal path, or is "/".
    pub fn new(client: &Client, path: &str) -> Result<Self> {
        Ok(Self {
            value: AtomicValue::new(client, path)?,
            form: Form {
                write: |number| number.to_text().into_bytes(),
                read: |bytes| N::of_text(std::str::from_utf8(bytes).ok()?.trim()),
            },
            number: PhantomData,
        })
    }

    /// As [`AtomicValue::acl`].
    pub fn acl(mut self, acl: impl IntoIterator<Item = Acl>) -> Self {
        self.value = self.value.acl(acl);
        self
    }

    /// As [`AtomicValue::promote_to_lock`].
    ///
    /// # Errors
    /// [`Error::Invalid`] if `lock_path` is not a legal path, or is "/".
    pub fn promote_to_lock(mut self, lock_path: &str, tries: u32) -> Result<Self> {
        self.value = self.value.promote_to_lock(lock_path, tries)?;
        Ok(self)
    }

    /// The counter's path.
    pub fn path(&self) -> &str {
        self.value.path()
    }

    /// The number; 0 if there is none yet. As the connected server knows it, which may be a little
    /// behind.
    ///
    /// # Errors
    /// [`RecipeError::Unreadable`] if the node holds no such number; those of every call.
    pub fn get(&self) -> Result<N> {
        self.parse("get", &self.value.get()?)
    }

    /// Adds to the number, until the deadline of the client's calls.
    ///
    /// # Errors
    /// * As [`AtomicValue::update`]. Where [`applied`](Error::applied) is
    ///   [`Unknown`](crate::Applied::Unknown), the addition was made once at most.
    /// * [`RecipeError::Unreadable`] if the node holds no such number; it is left alone.
    /// * [`RecipeError::Overflow`] if the sum does not fit; nothing was written.
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most (30 s by default).
    pub fn add(&self, summand: N) -> Result<Change<N>> {
        self.add_until(self.value.deadline(), summand)
    }

    /// As [`add`](Self::add), for `timeout` at most.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn add_timeout(&self, summand: N, timeout: Duration) -> Result<Change<N>> {
        self.add_until(Instant::now().checked_add(timeout), summand)
    }

    /// As [`add`](Self::add), once: `None` if somebody else was faster.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn try_add(&self, summand: N) -> Result<Option<Change<N>>> {
        let change = self.value.try_change(&mut |old| self.sum(old, summand))?;
        change.map(|change| change.read(|bytes| self.parse("add", &bytes))).transpose()
    }

    /// Has `change` make the new number of the present one; `None` leaves it as it is.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    ///
    /// # Blocking
    /// Until the deadline of the client's calls at most (30 s by default).
    pub fn update(&self, mut change: impl FnMut(N) -> Option<N>) -> Result<Change<N>> {
        let done = self.value.change_until(self.value.deadline(), &mut |old| {
            Ok(change(self.parse("update", old)?).map(self.form.write))
        })?;
        done.read(|bytes| self.parse("update", &bytes))
    }

    /// Sets the number to `new` if it is `expected`. Gives whether it was.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn compare_and_set(&self, expected: N, new: N) -> Result<bool> {
        let mut was = false;
        self.update(|number| {
            was = number == expected;
            was.then_some(new)
        })?;
        Ok(was)
    }

    /// Sets the number whatever it was, even if the node holds no such number.
    ///
    /// # Errors
    /// As [`AtomicValue::set`].
    pub fn set(&self, number: N) -> Result<()> {
        self.value.set((self.form.write)(number))
    }

    /// As [`AtomicValue::initialize`].
    ///
    /// # Errors
    /// As [`AtomicValue::initialize`].
    pub fn initialize(&self, number: N) -> Result<bool> {
        self.value.initialize((self.form.write)(number))
    }

    /// As [`AtomicValue::cancel`].
    pub fn cancel(&self) {
        self.value.cancel();
    }

    fn add_until(&self, deadline: Option<Instant>, summand: N) -> Result<Change<N>> {
        let change = self.value.change_until(deadline, &mut |old| self.sum(old, summand))?;
        change.read(|bytes| self.parse("add", &bytes))
    }

    fn sum(&self, old: &[u8], summand: N) -> Result<Option<Vec<u8>>> {
        let sum = self.parse("add", old)?.plus(summand).ok_or_else(|| Error::Recipe {
            why: RecipeError::Overflow,
            at: At::new("add", self.path()),
        })?;
        Ok(Some((self.form.write)(sum)))
    }

    fn parse(&self, op: &'static str, bytes: &[u8]) -> Result<N> {
        if bytes.is_empty() {
            return Ok(N::default());
        }
        (self.form.read)(bytes).ok_or_else(|| Error::Recipe {
            why: RecipeError::Unreadable,
            at: At::new(op, self.path()),
        })
    }
}

impl<N: BinaryNumber> Counter<N> {
    /// Writes and reads the number as Curator does: big-endian, in 4 bytes (`i32`) or 8 (`i64`).
    pub fn binary(mut self) -> Self {
        self.form = Form { write: N::to_bytes, read: N::of_bytes };
        self
    }
}

impl<N> Clone for Form<N> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<N> Copy for Form<N> {}

impl<N: Number> Clone for Counter<N> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), form: self.form, number: PhantomData }
    }
}

impl<N: Number> fmt::Debug for Counter<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counter").field("path", &self.path()).finish_non_exhaustive()
    }
}

/// The number as Python prints it: the shortest text that reads as the same number, with an
/// exponent from 1e16 on and below 1e-4.
///
/// Source: CPython `float_repr_style`, `PyOS_double_to_string` with 'r'.
fn python_repr(number: f64) -> String {
    if number.is_nan() {
        return "nan".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = number.to_string();
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_python_writes_them() {
        // From python3 -c "print(repr(x))".
        for (number, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (3.0, "3.0"),
            (-1.0, "-1.0"),
            (2.1, "2.1"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e16, "1e+16"),
            (1_234_567_890_123_456.0, "1234567890123456.0"),
            (12_345_678_901_234_568.0, "1.2345678901234568e+16"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (1e100, "1e+100"),
            (-2.5e-300, "-2.5e-300"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(python_repr(number), text);
            let back = <f64 as sealed::Number>::of_text(text).unwrap();
            assert!(back == number || number.is_nan(), "{text}");
        }
    }

    #[test]
    fn binary_forms_are_big_endian_and_of_one_length() {
        use sealed::Binary;
        assert_eq!(Binary::to_bytes(-2_i32), [0xff, 0xff, 0xff, 0xfe]);
        assert_eq!(Binary::to_bytes(258_i64), [0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(<i32 as Binary>::of_bytes(&[0, 0, 1, 0]), Some(256));
        assert_eq!(<i32 as Binary>::of_bytes(&[0; 8]), None);
        assert_eq!(<i64 as Binary>::of_bytes(&[0; 4]), None);
    }
}
