//! Dates, times and timestamps, by the formats of the COPY.

use std::sync::LazyLock;

use super::super::column::Type;
use super::super::options::Options;
use super::calendar::{DAY, Moment, SECOND};
use super::formats::{Format, Parts};
use super::{Fault, auto};

/// How dates are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DateFormat {
    Default,
    Auto,
    Given(Format),
}

impl DateFormat {
    /// The argument of DATEFORMAT; `auto` is case-sensitive.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            _ => Format::parse(text).map(Self::Given).ok_or_else(|| format!("not a date format: '{text}'")),
        }
    }
}

/// How timestamps are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TimeFormat {
    Default,
    Auto,
    EpochSecs,
    EpochMillisecs,
    Given(Format),
}

impl TimeFormat {
    /// The argument of TIMEFORMAT; its words are case-sensitive.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let given = || Format::parse(text).filter(Format::has_time);
        match text {
            "auto" => Ok(Self::Auto),
            "epochsecs" => Ok(Self::EpochSecs),
            "epochmillisecs" => Ok(Self::EpochMillisecs),
            _ => given().map(Self::Given).ok_or_else(|| format!("not a time format: '{text}'")),
        }
    }
}

static DATE: LazyLock<Format> = LazyLock::new(|| Format::own("YYYY-MM-DD"));
static TIME_BEHIND: LazyLock<Format> = LazyLock::new(|| Format::own(" HH:MI:SS"));
static TIME: LazyLock<Format> = LazyLock::new(|| Format::own("HH:MI:SS"));
static TIME_TZ: LazyLock<Format> = LazyLock::new(|| Format::own("HH:MI:SSOF"));
static TIMESTAMP: LazyLock<Format> = LazyLock::new(|| Format::own("YYYY-MM-DD HH:MI:SS"));
static TIMESTAMP_TZ: LazyLock<Format> = LazyLock::new(|| Format::own("YYYY-MM-DD HH:MI:SSOF"));

/// The value of a field of one of the types here; None where ACCEPTANYDATE makes NULL of it.
pub(super) fn value(bytes: &[u8], ty: Type, options: &Options) -> Result<Option<String>, Fault> {
    let read = |text| match ty {
        Type::Date => date(text, &options.date_format),
        Type::Time => Some(at(TIME.read_all(text)?.time()?).time()),
        Type::TimeTz => {
            let parts = TIME_TZ.read_all(text)?;
            Some(format!("{}+00", utc(at(parts.time()?), &parts).time()))
        }
        Type::Timestamp => {
            let (moment, _) = timestamp(text, &options.time_format, &TIMESTAMP)?;
            Some(shown(moment, ""))
        }
        _ => {
            let (moment, parts) = timestamp(text, &options.time_format, &TIMESTAMP_TZ)?;
            Some(shown(utc(moment, &parts), "+00"))
        }
    };
    let found = std::str::from_utf8(bytes).ok().and_then(read);
    let is_date = matches!(ty, Type::Date | Type::Timestamp | Type::TimestampTz);
    match (found, ty) {
        (Some(text), _) => Ok(Some(text)),
        (None, _) if is_date && options.accept_any_date => Ok(None),
        (None, Type::Date) => Err(Fault::new(1205, "Invalid Date Format")),
        (None, _) => Err(Fault::new(1206, "Invalid timestamp format or value")),
    }
}

fn at(micros: i64) -> Moment {
    Moment { days: 0, micros }
}

fn utc(moment: Moment, parts: &Parts) -> Moment {
    moment.plus(-parts.zone.unwrap_or(0) * SECOND)
}

fn shown(moment: Moment, zone: &str) -> String {
    let (date, era) = moment.date();
    format!("{date} {}{zone}{era}", moment.time())
}

/// A date; a time behind it is not looked at, though it has to be one.
fn date(text: &str, format: &DateFormat) -> Option<String> {
    let format = match format {
        DateFormat::Auto => {
            let (date, era) = auto::read(text)?.moment()?.date();
            return Some(format!("{date}{era}"));
        }
        DateFormat::Default => &*DATE,
        DateFormat::Given(format) => format,
    };
    let (parts, rest) = format.read(text)?;
    if !rest.is_empty() {
        TIME_BEHIND.read_all(rest)?;
    }
    let (date, era) = parts.moment()?.date();
    Some(format!("{date}{era}"))
}

fn timestamp(text: &str, format: &TimeFormat, default: &Format) -> Option<(Moment, Parts)> {
    let parts = match format {
        TimeFormat::Default => default.read_all(text)?,
        TimeFormat::Given(format) => format.read_all(text)?,
        TimeFormat::Auto => auto::read(text)?,
        TimeFormat::EpochSecs => return epoch(text, SECOND),
        TimeFormat::EpochMillisecs => return epoch(text, SECOND / 1_000),
    };
    let moment = parts.moment()?;
    utc(moment, &parts).is_kept().then_some((moment, parts))
}

/// Seconds or milliseconds since 1970.
fn epoch(text: &str, unit: i64) -> Option<(Moment, Parts)> {
    if text.len() > 18 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: i64 = text.parse().ok()?;
    let per_day = DAY / unit;
    let moment = Moment { days: count / per_day, micros: count % per_day * unit };
    moment.is_kept().then(|| (moment, Parts::default()))
}

#[cfg(test)]
#[path = "moments_tests.rs"]
mod tests;
