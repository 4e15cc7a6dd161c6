//! Days with a time, and instants.

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

use super::date::{self, Format};
use super::{Fault, Parse, Scratch, describe_first, time};
use crate::{FieldRules, OffsetRule, Rule};

pub(crate) const MICROS_PER_DAY: i64 = 86_400_000_000;
const MICROS_PER_SECOND: i64 = 1_000_000;
/// 0001-01-01 and 10000-01-01.
const FIRST: i64 = -719_162 * MICROS_PER_DAY;
const BEYOND: i64 = 2_932_897 * MICROS_PER_DAY;
/// Greatest offset that PostgreSQL takes, in seconds.
const MAX_OFFSET: i64 = 16 * 3600 - 1;

const EXPECTED: &str = "a timestamp (YYYY-MM-DD HH:MM:SS)";

/// Parses timestamps into microseconds since 1970-01-01 00:00, local or UTC.
#[derive(Debug)]
pub(crate) struct Timestamp {
    formats: Vec<Format>,
    iso_only: bool,
    offset: OffsetRule,
    /// `None`: without zone.
    zone: Option<TimeZone>,
    /// Whether a text without offset needs no conversion.
    is_direct: bool,
}

impl Timestamp {
    pub(crate) fn local(rules: &FieldRules) -> Self {
        Self::new(rules, None)
    }

    pub(crate) fn instant(rules: &FieldRules) -> Self {
        Self::new(rules, Some(rules.timezone.clone()))
    }

    fn new(rules: &FieldRules, zone: Option<TimeZone>) -> Self {
        let formats = Format::all(&rules.timestamp_formats);
        Self {
            iso_only: matches!(formats[..], [Format::Iso]),
            formats,
            offset: rules.timestamp_offset,
            is_direct: zone.as_ref().is_none_or(|zone| *zone == TimeZone::UTC),
            zone,
        }
    }

    /// The value of a local time and the offset given with it, if any.
    fn settle(&self, local: i64, offset: Option<i64>) -> Result<i64, Fault> {
        let value = match (&self.zone, offset) {
            (Some(_), Some(offset)) => local - offset * MICROS_PER_SECOND,
            (Some(zone), None) => self.to_utc(zone, local)?,
            (None, None) => local,
            (None, Some(offset)) => match self.offset {
                OffsetRule::Drop => local,
                OffsetRule::Utc => local - offset * MICROS_PER_SECOND,
                OffsetRule::Reject => {
                    return Err(Fault::new(Rule::Offset, "expected a timestamp without offset (`timestamp_offset`)"));
                }
            },
        };
        if (FIRST..BEYOND).contains(&value) { Ok(value) } else { Err(date::out_of_range()) }
    }

    fn to_utc(&self, zone: &TimeZone, local: i64) -> Result<i64, Fault> {
        if self.is_direct {
            return Ok(local);
        }
        let civil = civil(local).ok_or_else(date::out_of_range)?;
        match zone.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => Ok(local - i64::from(offset.seconds()) * MICROS_PER_SECOND),
            AmbiguousOffset::Gap { .. } => {
                Err(Fault::new(Rule::LocalTime, "the time zone skips this local time; give an offset"))
            }
            AmbiguousOffset::Fold { .. } => {
                Err(Fault::new(Rule::LocalTime, "the time zone has this local time twice; give an offset"))
            }
        }
    }

    fn iso(&self, cell: &[u8]) -> Result<i64, Fault> {
        let (local, rest) = read_iso(cell)?;
        self.settle(local, read_offset(rest)?)
    }

    fn by_format(&self, format: &str, cell: &[u8]) -> Result<i64, Fault> {
        let mismatch = || Fault::new(Rule::Type, format!("expected a timestamp like `{format}`"));
        let parts = date::strptime(format, cell).ok_or_else(mismatch)?;
        if let Some(instant) = parts.timestamp() {
            let second = instant.as_microsecond();
            return self.settle(second, Some(0));
        }
        let day = parts.to_date().map_err(|_| Fault::new(Rule::Range, "the calendar has no such day"))?;
        let clock = match parts.hour() {
            None => jiff::civil::Time::midnight(),
            Some(_) => parts.to_time().map_err(|_| mismatch())?,
        };
        if clock.subsec_nanosecond() % 1000 != 0 {
            return Err(Fault::new(Rule::Scale, "the time has more than 6 digits after the point"));
        }
        let day = date::days(day.year().into(), day.month().cast_unsigned().into(), day.day().cast_unsigned().into());
        let seconds = (i64::from(clock.hour()) * 60 + i64::from(clock.minute())) * 60 + i64::from(clock.second());
        let local =
            i64::from(day) * MICROS_PER_DAY + seconds * MICROS_PER_SECOND + i64::from(clock.subsec_nanosecond() / 1000);
        if let (None, Some(name)) = (parts.offset(), parts.iana_time_zone()) {
            let zone = TimeZone::get(name).map_err(|_| mismatch())?;
            let utc = Self::new(&FieldRules::default(), Some(zone.clone())).to_utc(&zone, local)?;
            return self.settle(local, Some((local - utc) / MICROS_PER_SECOND));
        }
        self.settle(local, parts.offset().map(|offset| i64::from(offset.seconds())))
    }
}

impl Parse for Timestamp {
    type Native = i64;

    #[inline(always)]
    fn fast(&self, text: &[u8], start: usize, end: usize) -> Option<i64> {
        if !self.iso_only || !self.is_direct {
            return None;
        }
        let cell = text.get(start..end)?.as_array::<19>()?;
        let day = date::fast_iso(cell.first_chunk()?)?;
        let clock = time::fast_clock(cell.last_chunk()?)?;
        matches!(cell[10], b' ' | b'T').then(|| i64::from(day) * MICROS_PER_DAY + clock)
    }

    fn may_be_verbatim(&self) -> bool {
        // An instant is written with its offset, which the fast way does not read.
        self.zone.is_none()
    }

    #[inline(always)]
    fn is_verbatim(&self, text: &[u8], start: usize, _end: usize, _value: i64) -> bool {
        text[start + 10] == b' '
    }

    fn careful(&self, cell: &[u8], _scratch: &mut Scratch) -> Result<i64, Fault> {
        let mut first = None;
        for format in &self.formats {
            let outcome = match format {
                Format::Iso => self.iso(cell),
                // An epoch counts from UTC: for a timestamp without zone that is its value.
                Format::Epoch(epoch) => epoch.read(cell),
                Format::Strptime(format) => self.by_format(format, cell),
            };
            match outcome {
                Ok(value) => return Ok(value),
                Err(fault) => {
                    first.get_or_insert(fault);
                }
            }
        }
        Err(first.unwrap_or_else(|| Fault::unexpected("a timestamp", "another text")))
    }
}

/// Reads the day and the time at the beginning of a text; gives the rest too.
fn read_iso(cell: &[u8]) -> Result<(i64, &[u8]), Fault> {
    let Some((day, rest)) = cell.split_first_chunk::<10>() else {
        return Err(Fault::unexpected(EXPECTED, describe_first(cell, |byte| byte.is_ascii_digit() || byte == b'-')));
    };
    let day = i64::from(date::iso(day)?) * MICROS_PER_DAY;
    match rest {
        [] => Ok((day, rest)),
        [b' ' | b'T' | b't', rest @ ..] => {
            let (clock, rest) = time::clock(rest)?;
            Ok((day + clock, rest))
        }
        other => Err(Fault::unexpected(EXPECTED, describe_first(other, |_| false))),
    }
}

/// Reads `Z`, `+02`, `+0200`, `+02:00` or nothing, in seconds east of UTC; a blank may be before
/// it.
fn read_offset(cell: &[u8]) -> Result<Option<i64>, Fault> {
    let fault = || {
        Fault::unexpected(
            "an offset (Z or +HH:MM)",
            describe_first(cell, |byte| matches!(byte, b'+' | b'-' | b':' | b'0'..=b'9')),
        )
    };
    let cell = match cell {
        [] => return Ok(None),
        [b' ', rest @ ..] => rest,
        rest => rest,
    };
    let (sign, digits) = match cell {
        [b'Z' | b'z'] | b"UTC" => return Ok(Some(0)),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return Err(fault()),
    };
    let (hours, minutes) = match digits {
        [a, b] => ([*a, *b], [b'0', b'0']),
        [a, b, c, d] | [a, b, b':', c, d] => ([*a, *b], [*c, *d]),
        _ => return Err(fault()),
    };
    if !hours.iter().chain(&minutes).all(u8::is_ascii_digit) {
        return Err(fault());
    }
    let value = |two: [u8; 2]| i64::from(two[0] - b'0') * 10 + i64::from(two[1] - b'0');
    let seconds = value(hours) * 3600 + value(minutes) * 60;
    if value(minutes) > 59 || seconds > MAX_OFFSET {
        return Err(Fault::new(Rule::Range, "the offset is beyond 15:59"));
    }
    Ok(Some(sign * seconds))
}

/// The calendar's view of microseconds since 1970-01-01.
fn civil(micros: i64) -> Option<DateTime> {
    let instant = jiff::Timestamp::from_microsecond(micros).ok()?;
    Some(TimeZone::UTC.to_datetime(instant))
}

/// What a number since 1970-01-01 UTC counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Epoch {
    Seconds,
    Millis,
    Micros,
}

impl Epoch {
    /// Microseconds from a number, which may have as many digits after the point as microseconds
    /// take.
    pub(crate) fn read(self, cell: &[u8]) -> Result<i64, Fault> {
        let (scale, expected) = match self {
            Self::Seconds => (6, "seconds since 1970"),
            Self::Millis => (3, "milliseconds since 1970"),
            Self::Micros => (0, "microseconds since 1970"),
        };
        let (negative, number) = match cell {
            [b'-', rest @ ..] => (true, rest),
            rest => (false, rest),
        };
        let mut halves = number.splitn(2, |byte| *byte == b'.');
        let whole = halves.next().unwrap_or_default();
        let fraction = halves.next();
        let is_digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
        if !is_digits(whole) || !fraction.is_none_or(is_digits) {
            let found = describe_first(number, |byte| byte.is_ascii_digit());
            return Err(Fault::unexpected(expected, found));
        }
        let fraction = fraction.unwrap_or_default();
        if fraction.iter().skip(scale).any(|digit| *digit != b'0') {
            return Err(Fault::new(Rule::Scale, "the number is finer than a microsecond"));
        }
        let zeros = std::iter::repeat_n(&b'0', scale.saturating_sub(fraction.len()));
        let value = whole
            .iter()
            .chain(fraction.iter().take(scale))
            .chain(zeros)
            .try_fold(0_i64, |value, digit| value.checked_mul(10)?.checked_add(i64::from(digit - b'0')))
            .map(|value| if negative { -value } else { value });
        value.filter(|value| (FIRST..BEYOND).contains(value)).ok_or_else(date::out_of_range)
    }
}
