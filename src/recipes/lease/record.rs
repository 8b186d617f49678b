//! What a lease's node says: Kazoo's JSON, and its times.
//!
//! ```text
//! {"version": 1, "holder": "worker 7", "end": "2026-11-26T13:00:00"}
//! ```
//!
//! Written as Python's `json.dumps` writes it. Read in any order and with anything beside, since
//! that is what Kazoo reads. Times are UTC, in whole seconds.
//!
//! Source: Kazoo 2.11 `recipe/lease.py`.

use std::fmt::Write as _;

use crate::recipes::json::{self, Value};

/// Who has a lease, until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) holder: String,
    /// Seconds since the Unix epoch.
    pub(super) end: i64,
}

/// Why there is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRecord {
    /// It is of a version to come: hands off.
    Foreign,
    Unreadable,
}

impl Record {
    pub(super) fn encode(&self) -> String {
        let mut text = format!("{{\"version\": {VERSION}, \"holder\": ");
        json::write_text(&self.holder, &mut text);
        let (days, second) = (self.end.div_euclid(DAY), self.end.rem_euclid(DAY));
        let (year, month, day) = date(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        // To a String, which takes everything.
        let _ = write!(
            text,
            ", \"end\": \"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}\"}}"
        );
        text
    }

    pub(super) fn decode(data: &[u8]) -> Result<Self, NoRecord> {
        let text = std::str::from_utf8(data).map_err(|_| NoRecord::Unreadable)?;
        let members = json::object(text).ok_or(NoRecord::Unreadable)?;
        // Of two of one name the last counts, as in Python.
        let find = |name| members.iter().rev().find(|(known, _)| known == name).map(|(_, it)| it);
        match find("version") {
            Some(Value::Other(number)) if *number == VERSION => {}
            Some(_) => return Err(NoRecord::Foreign),
            None => return Err(NoRecord::Unreadable),
        }
        let (Some(Value::Text(holder)), Some(Value::Text(end))) = (find("holder"), find("end"))
        else {
            return Err(NoRecord::Unreadable);
        };
        let end = time(end).ok_or(NoRecord::Unreadable)?;
        Ok(Self { holder: holder.clone(), end })
    }
}

const VERSION: &str = "1";

const DAY: i64 = 24 * 3600;

/// Seconds since the epoch of `2026-11-26T13:00:00`.
fn time(text: &str) -> Option<i64> {
    let (date, clock) = text.split_once('T')?;
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(clock, ':')?;
    let sound = (1..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    sound.then(|| days_since_epoch(year, month, day) * DAY + hour * 3600 + minute * 60 + second)
}

fn numbers(text: &str, between: char) -> Option<[i64; 3]> {
    let mut parts = text.split(between).map(|part| {
        let digits = !part.is_empty() && part.len() <= 4;
        let all = digits && part.bytes().all(|b| b.is_ascii_digit());
        all.then(|| part.parse().ok()).flatten()
    });
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to the first of January of `year`.
fn days_before(year: i64) -> i64 {
    let leaps = |year: i64| year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    (year - 1970) * 365 + leaps(year - 1) - leaps(1969)
}

fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    days_before(year) + (1..month).map(|month| days_of(year, month)).sum::<i64>() + day - 1
}

/// Year, month and day of a day since the epoch.
fn date(days: i64) -> (i64, i64, i64) {
    // A year has 365 or 366 days: the guess is never too late, and little too early.
    let mut year = 1970 + days.div_euclid(if days < 0 { 365 } else { 366 });
    while days_before(year + 1) <= days {
        year += 1;
    }
    let mut left = days - days_before(year);
    let mut month = 1;
    while left >= days_of(year, month) {
        left -= days_of(year, month);
        month += 1;
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(holder: &str, end: i64) -> Record {
        Record { holder: holder.into(), end }
    }

    #[test]
    fn record_is_written_as_kazoo_writes_it() {
        // `json.dumps` of Python 3.11 gave these.
        for (holder, end, text) in [
            ("h", 1_704_067_200, r#"{"version": 1, "holder": "h", "end": "2024-01-01T00:00:00"}"#),
            (
                "caf\u{e9} \"\\\n\u{7f}\u{1f600}",
                951_827_696,
                r#"{"version": 1, "holder": "caf\u00e9 \"\\\n\u007f\ud83d\ude00", "end": "2000-02-29T12:34:56"}"#,
            ),
        ] {
            assert_eq!(record(holder, end).encode(), text);
            assert_eq!(Record::decode(text.as_bytes()), Ok(record(holder, end)));
        }
    }

    #[test]
    fn record_is_read_in_any_order_and_with_anything_beside() {
        for text in [
            r#"{"end":"2024-01-01T00:00:00","holder":"h","version":1}"#,
            " {\n\"more\": [1, {\"a\": [null, true]}, \"]}\"], \"version\" : 1 ,\"holder\":\"\\u0068\", \"end\": \"2024-1-1T0:0:0\"} ",
            r#"{"version": 2, "version": 1, "holder": "h", "end": "2024-01-01T00:00:00"}"#,
        ] {
            assert_eq!(Record::decode(text.as_bytes()), Ok(record("h", 1_704_067_200)), "{text}");
        }
    }

    #[test]
    fn record_of_another_version_is_foreign_whatever_else_it_says() {
        for text in [r#"{"version": 2}"#, r#"{"version": "1", "holder": 3}"#, r#"{"version":null}"#]
        {
            assert_eq!(Record::decode(text.as_bytes()), Err(NoRecord::Foreign), "{text}");
        }
    }

    #[test]
    fn junk_is_unreadable() {
        for text in [
            "",
            "{}",
            "null",
            r#"{"version": 1}"#,
            r#"{"version": 1, "holder": "h", "end": "2023-02-29T00:00:00"}"#,
            r#"{"version": 1, "holder": "h", "end": "2024-01-01 00:00:00"}"#,
            r#"{"version": 1, "holder": "h", "end": "2024-01-01T24:00:00"}"#,
            r#"{"version": 1, "holder": "h", "end": 1704067200}"#,
            r#"{"version": 1, "holder": 7, "end": "2024-01-01T00:00:00"}"#,
            r#"{"version": 1, "holder": "h", "end": "2024-01-01T00:00:00"} x"#,
            r#"{"version": 1, "holder": "\ud83d", "end": "2024-01-01T00:00:00"}"#,
        ] {
            assert_eq!(Record::decode(text.as_bytes()), Err(NoRecord::Unreadable), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(holder: String, end in 0_i64..253_402_300_800) {
            let record = Record { holder, end };
            let text = record.encode();
            prop_assert!(text.is_ascii());
            prop_assert_eq!(Record::decode(text.as_bytes()), Ok(record));
        }

        #[test]
        fn nothing_panics(data: Vec<u8>, text: String) {
            let _ = Record::decode(&data);
            let _ = Record::decode(text.as_bytes());
        }

        #[test]
        fn days_and_dates_agree(days in -719_162_i64..2_932_896) {
            let (year, month, day) = date(days);
            prop_assert_eq!(days_since_epoch(year, month, day), days);
            prop_assert!((1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day));
        }
    }
}
