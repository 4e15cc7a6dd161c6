//! Days.

use jiff::fmt::strtime::BrokenDownTime;

use super::timestamp::{Epoch, MICROS_PER_DAY};
use super::{Fault, Parse, Scratch, describe_first};
use crate::{FieldRules, Rule};

/// Days from 0000-03-01 to 1970-01-01.
const EPOCH: i32 = 719_468;

/// How a date or a timestamp may be spelled.
#[derive(Debug, Clone)]
pub(crate) enum Format {
    Iso,
    Epoch(Epoch),
    Strptime(String),
}

impl Format {
    /// The formats of a setting; ISO where it names none.
    pub(crate) fn all(formats: &[String]) -> Vec<Self> {
        if formats.is_empty() {
            return vec![Self::Iso];
        }
        formats.iter().map(|format| Self::new(format)).collect()
    }

    fn new(format: &str) -> Self {
        match format {
            "iso" => Self::Iso,
            "epoch" => Self::Epoch(Epoch::Seconds),
            "epoch_ms" => Self::Epoch(Epoch::Millis),
            "epoch_us" => Self::Epoch(Epoch::Micros),
            other => Self::Strptime(other.to_owned()),
        }
    }
}

/// The parts of a text by a `strptime` format; `None` where it does not fit.
pub(crate) fn strptime(format: &str, cell: &[u8]) -> Option<BrokenDownTime> {
    let parts = BrokenDownTime::parse(format, cell).ok()?;
    // jiff reads a leap second as second 59; that would be a silent change.
    let contains = |digits: &[u8]| cell.windows(2).any(|two| two == digits);
    if parts.second() == Some(59) && contains(b"60") && !contains(b"59") {
        return None;
    }
    Some(parts)
}

/// Parses dates into days since 1970-01-01.
#[derive(Debug)]
pub(crate) struct Date {
    formats: Vec<Format>,
    iso_only: bool,
}

impl Date {
    pub(crate) fn new(rules: &FieldRules) -> Self {
        let formats = Format::all(&rules.date_formats);
        Self { iso_only: matches!(formats[..], [Format::Iso]), formats }
    }
}

impl Parse for Date {
    type Native = i32;

    #[inline(always)]
    fn fast(&self, text: &[u8], start: usize, end: usize) -> Option<i32> {
        if !self.iso_only {
            return None;
        }
        fast_iso(text.get(start..end)?.as_array::<10>()?)
    }

    fn may_be_verbatim(&self) -> bool {
        true
    }

    #[inline(always)]
    fn is_verbatim(&self, _text: &[u8], _start: usize, _end: usize, _value: i32) -> bool {
        true
    }

    fn careful(&self, cell: &[u8], _scratch: &mut Scratch) -> Result<i32, Fault> {
        let mut first = None;
        for format in &self.formats {
            let outcome = match format {
                Format::Iso => iso(cell),
                Format::Epoch(epoch) => epoch.read(cell).and_then(whole_day),
                Format::Strptime(format) => by_format(format, cell),
            };
            match outcome {
                Ok(day) => return Ok(day),
                Err(fault) => {
                    first.get_or_insert(fault);
                }
            }
        }
        Err(first.unwrap_or_else(|| Fault::unexpected("a date", "another text")))
    }
}

fn by_format(format: &str, cell: &[u8]) -> Result<i32, Fault> {
    let mismatch = || Fault::new(Rule::Type, format!("expected a date like `{format}`"));
    let parts = strptime(format, cell).ok_or_else(mismatch)?;
    let date = parts.to_date().map_err(|_| no_such_day())?;
    let has_time = [parts.hour(), parts.minute(), parts.second()].into_iter().flatten().any(|part| part != 0);
    if has_time {
        return Err(Fault::unexpected("a date", "a time of day"));
    }
    if date.year() < 1 {
        return Err(out_of_range());
    }
    Ok(days(date.year().into(), date.month().cast_unsigned().into(), date.day().cast_unsigned().into()))
}

/// A day from microseconds, which must be midnight.
fn whole_day(micros: i64) -> Result<i32, Fault> {
    if micros.rem_euclid(MICROS_PER_DAY) != 0 {
        return Err(Fault::unexpected("a date", "a time of day"));
    }
    i32::try_from(micros / MICROS_PER_DAY).map_err(|_| out_of_range())
}

/// The day of a text `YYYY-MM-DD`; `None` if it is none.
#[inline(always)]
pub(crate) fn fast_iso(cell: &[u8; 10]) -> Option<i32> {
    let word = u64::from_le_bytes(*cell.first_chunk()?);
    // "YYYY-MM-": both hyphens become zeros so that all bytes are digits.
    const HYPHENS: u64 = 0x2D00_002D_0000_0000;
    const KEEP: u64 = 0x00FF_FF00_FFFF_FFFF;
    let digits = (word & KEEP) ^ 0x0030_3000_3030_3030;
    let checked = (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & 0x8080_8080_8080_8080;
    let (tens, ones) = (cell[8].wrapping_sub(b'0'), cell[9].wrapping_sub(b'0'));
    if word & !KEEP != HYPHENS || checked != 0 || tens > 9 || ones > 9 {
        return None;
    }
    let byte = |at: u32| (digits >> (8 * at)) as u32 & 0xFF;
    let year = byte(0) * 1000 + byte(1) * 100 + byte(2) * 10 + byte(3);
    let month = byte(5) * 10 + byte(6);
    let day = u32::from(tens) * 10 + u32::from(ones);
    if year == 0 || !is_day(year, month, day) {
        return None;
    }
    Some(days(year.cast_signed(), month, day))
}

/// The day of a text `YYYY-MM-DD`.
pub(crate) fn iso(cell: &[u8]) -> Result<i32, Fault> {
    let expected = "a date (YYYY-MM-DD)";
    let Some(date) = cell.as_array::<10>() else {
        let is_part = |byte: u8| byte.is_ascii_digit() || byte == b'-';
        let found = match describe_first(cell, is_part) {
            "the end of the text" => "another number of digits",
            found => found,
        };
        return Err(Fault::unexpected(expected, found));
    };
    for (at, byte) in date.iter().enumerate() {
        let belongs = if matches!(at, 4 | 7) { *byte == b'-' } else { byte.is_ascii_digit() };
        if !belongs {
            return Err(Fault::unexpected(expected, super::describe(*byte)));
        }
    }
    fast_iso(date).ok_or_else(no_such_day)
}

fn no_such_day() -> Fault {
    Fault::new(Rule::Range, "the calendar has no such day")
}

pub(crate) fn out_of_range() -> Fault {
    Fault::new(Rule::Range, "the date is not in the years 0001 to 9999")
}

/// Whether the month has this day.
#[inline(always)]
fn is_day(year: u32, month: u32, day: u32) -> bool {
    if day == 0 || month == 0 || month > 12 {
        return false;
    }
    if day <= 28 {
        return true;
    }
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = match month {
        2 => 28 + u32::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    day <= last
}

/// Days since 1970-01-01 of a day of the Gregorian calendar; years that begin in March make the
/// leap day the last of its year.
#[inline(always)]
pub(crate) fn days(year: i32, month: u32, day: u32) -> i32 {
    let is_early = month <= 2;
    let year = (year + 400 - i32::from(is_early)).cast_unsigned();
    let month = if is_early { month + 9 } else { month - 3 };
    let of_year = (153 * month + 2) / 5 + day - 1;
    let century = year / 100;
    let total = year * 365 + year / 4 - century + century / 4 + of_year;
    total.cast_signed() - EPOCH - 146_097
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_four_centuries_counts_on() {
        let mut expected = days(1800, 1, 1);
        for year in 1800..2204_u32 {
            for month in 1..=12 {
                for day in 1..=31 {
                    if is_day(year, month, day) {
                        assert_eq!(days(year.cast_signed(), month, day), expected);
                        let text = format!("{year:04}-{month:02}-{day:02}");
                        assert_eq!(iso(text.as_bytes()), Ok(expected), "{text}");
                        expected += 1;
                    }
                }
            }
        }
        assert_eq!(days(1970, 1, 1), 0);
        assert_eq!(days(1, 1, 1), -719_162);
        assert_eq!(days(9999, 12, 31), 2_932_896);
    }

    #[test]
    fn what_is_no_iso_date_is_refused() {
        for text in [
            "",
            "1970-1-1",
            "1970/01/01",
            "1970-01-01T",
            "infinity",
            "now",
            "19700101",
            "1970-13-01",
            "1970-02-30",
            "1900-02-29",
            "0000-01-01",
            "1970-00-10",
            "1970-01-00",
            "+970-01-01",
            "197a-01-01",
            "1970-01-3a",
            "1970-01\u{2212}01",
        ] {
            assert!(iso(text.as_bytes()).is_err(), "{text}");
        }
    }
}
