//! What Longshore makes of PostgreSQL's types, and how a value of each travels.

use arrow_schema::DataType;

use crate::{ColumnType, LengthUnit};

/// How a value stands in binary COPY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric {
        scale: u8,
    },
    Date,
    Time,
    Timestamp,
    Instant,
    Uuid,
    Text,
    /// Text after a version byte.
    Jsonb,
    Bytea,
    /// Only as text, which the server reads.
    Unknown,
}

/// What has to hold of a value besides that the server reads it, because it would read something
/// else than what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    None,
    /// A time with so many digits of a second: the server rounds what has more.
    Fraction(u8),
    /// A number with so many digits after its point (fewer than none: zeros before it).
    Scale(i16),
    /// A time of day with an offset and so many digits of a second. The server reads days and words
    /// like `now` too, and drops what it does not need.
    TimeTz(u8),
    /// Words and numbers with at most so many digits of a second.
    Interval(u8),
    /// A number without sign: the server reads -1 as 4294967295.
    Unsigned,
    /// Days and times with so many digits of a second, and none of the words that mean another time at
    /// every load.
    Moment(u8),
}

/// A column's type, beyond what [`crate::Column`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) ty: ColumnType,
    pub(super) wire: Wire,
    pub(super) guard: Guard,
    /// Whether the guard holds for each part of the text: of an array or a range.
    pub(super) in_parts: bool,
}

/// Digits of a second that the server keeps.
const MICROSECONDS: u8 = 6;

/// What Longshore makes of a type of `pg_catalog`, after domains were followed to their base.
pub(super) fn kind(name: &str, modifier: i32) -> Kind {
    let plain = |ty, wire| Kind { ty, wire, guard: Guard::None, in_parts: false };
    let other = |guard| Kind { ty: ColumnType::Other, wire: Wire::Unknown, guard, in_parts: false };
    let digits = u8::try_from(modifier).ok().filter(|digits| *digits < MICROSECONDS);
    let of_time = |ty, wire| Kind { ty, wire, guard: digits.map_or(Guard::None, Guard::Fraction), in_parts: false };
    let length = u32::try_from(i64::from(modifier) - 4).ok();
    match name {
        "bool" => plain(ColumnType::Boolean, Wire::Bool),
        "int2" => plain(ColumnType::Int16, Wire::Int2),
        "int4" => plain(ColumnType::Int32, Wire::Int4),
        "int8" => plain(ColumnType::Int64, Wire::Int8),
        "float4" => plain(ColumnType::Float32, Wire::Float4),
        "float8" => plain(ColumnType::Float64, Wire::Float8),
        "numeric" => numeric(modifier),
        "bpchar" => match length {
            Some(length) => plain(ColumnType::Char { length, unit: LengthUnit::Characters }, Wire::Text),
            None => plain(ColumnType::Text, Wire::Text),
        },
        "varchar" => match length {
            Some(length) => plain(ColumnType::Varchar { length, unit: LengthUnit::Characters }, Wire::Text),
            None => plain(ColumnType::Text, Wire::Text),
        },
        "text" => plain(ColumnType::Text, Wire::Text),
        // As text the server would cut it.
        "name" => plain(ColumnType::Varchar { length: 63, unit: LengthUnit::Bytes }, Wire::Text),
        "date" => plain(ColumnType::Date, Wire::Date),
        "time" => of_time(ColumnType::Time, Wire::Time),
        "timestamp" => of_time(ColumnType::Timestamp, Wire::Timestamp),
        "timestamptz" => of_time(ColumnType::TimestampTz, Wire::Instant),
        "uuid" => plain(ColumnType::Uuid, Wire::Uuid),
        "json" => plain(ColumnType::Json, Wire::Text),
        "jsonb" => plain(ColumnType::Json, Wire::Jsonb),
        "bytea" => plain(ColumnType::Bytes, Wire::Bytea),
        "timetz" => other(Guard::TimeTz(digits.unwrap_or(MICROSECONDS))),
        // The lower half of its modifier; -1 is all that there are.
        "interval" => {
            let digits = u8::try_from(modifier & 0xffff).ok().filter(|digits| modifier >= 0 && *digits < MICROSECONDS);
            other(Guard::Interval(digits.unwrap_or(MICROSECONDS)))
        }
        "money" => other(Guard::Scale(2)),
        "oid" | "xid" | "cid" => other(Guard::Unsigned),
        "daterange" | "tsrange" | "tstzrange" | "datemultirange" | "tsmultirange" | "tstzmultirange" => {
            Kind { in_parts: true, ..other(Guard::Moment(MICROSECONDS)) }
        }
        _ => match name.strip_prefix('_') {
            Some(element) => Kind { in_parts: true, ..other(guard_of(&kind(element, modifier))) },
            None => other(Guard::None),
        },
    }
}

/// What an element has to hold that is text inside an array.
fn guard_of(element: &Kind) -> Guard {
    match (&element.ty, element.guard) {
        (ColumnType::Decimal { scale, .. }, _) => Guard::Scale(i16::from(*scale)),
        (ColumnType::Time | ColumnType::Timestamp | ColumnType::TimestampTz, Guard::Fraction(digits)) => {
            Guard::Moment(digits)
        }
        (ColumnType::Date | ColumnType::Time | ColumnType::Timestamp | ColumnType::TimestampTz, _) => {
            Guard::Moment(MICROSECONDS)
        }
        (_, guard) => guard,
    }
}

/// The modifier holds precision and, since version 15, a scale that may be negative.
fn numeric(modifier: i32) -> Kind {
    let other = |guard| Kind { ty: ColumnType::Other, wire: Wire::Unknown, guard, in_parts: false };
    if modifier < 4 {
        return other(Guard::None);
    }
    let modifier = modifier - 4;
    let (precision, scale) = ((modifier >> 16) & 0xffff, ((modifier & 0x7ff) ^ 1024) - 1024);
    match (u8::try_from(precision), u8::try_from(scale)) {
        (Ok(precision @ 1..=38), Ok(scale)) if scale <= precision => Kind {
            ty: ColumnType::Decimal { precision, scale },
            wire: Wire::Numeric { scale },
            guard: Guard::None,
            in_parts: false,
        },
        _ => other(Guard::Scale(scale as i16)),
    }
}

impl Wire {
    /// Whether values of this Arrow type can be encoded.
    pub(super) fn takes(self, ty: &DataType) -> bool {
        match self {
            Self::Bool => *ty == DataType::Boolean,
            Self::Int2 => *ty == DataType::Int16,
            Self::Int4 => *ty == DataType::Int32,
            Self::Int8 => *ty == DataType::Int64,
            Self::Float4 => *ty == DataType::Float32,
            Self::Float8 => *ty == DataType::Float64,
            Self::Numeric { scale } => {
                matches!(ty, DataType::Decimal128(_, of) if i16::from(*of) == i16::from(scale))
            }
            Self::Date => *ty == DataType::Date32,
            Self::Time => matches!(ty, DataType::Time64(arrow_schema::TimeUnit::Microsecond)),
            // A local time is no instant: the column may have become one after the values were read.
            Self::Timestamp => matches!(ty, DataType::Timestamp(arrow_schema::TimeUnit::Microsecond, None)),
            Self::Instant => matches!(ty, DataType::Timestamp(arrow_schema::TimeUnit::Microsecond, Some(_))),
            Self::Uuid => *ty == DataType::FixedSizeBinary(16),
            Self::Text | Self::Jsonb | Self::Unknown => *ty == DataType::Utf8View,
            Self::Bytea => *ty == DataType::BinaryView,
        }
    }
}

/// The type for a column that `init` proposes.
pub(super) fn type_sql(ty: &ColumnType) -> String {
    match ty {
        ColumnType::Boolean => "boolean".to_owned(),
        // PostgreSQL has no integers without sign, nor of eight bits.
        ColumnType::Int8 | ColumnType::UInt8 | ColumnType::Int16 => "smallint".to_owned(),
        ColumnType::UInt16 | ColumnType::Int32 => "integer".to_owned(),
        ColumnType::UInt32 | ColumnType::Int64 => "bigint".to_owned(),
        ColumnType::UInt64 => "numeric(20, 0)".to_owned(),
        ColumnType::Decimal { precision, scale } => format!("numeric({precision}, {scale})"),
        ColumnType::Float32 => "real".to_owned(),
        ColumnType::Float64 => "double precision".to_owned(),
        ColumnType::Char { length, .. } => format!("char({length})"),
        ColumnType::Varchar { length, .. } => format!("varchar({length})"),
        ColumnType::Date => "date".to_owned(),
        ColumnType::Time => "time".to_owned(),
        ColumnType::Timestamp => "timestamp".to_owned(),
        ColumnType::TimestampTz => "timestamptz".to_owned(),
        ColumnType::Uuid => "uuid".to_owned(),
        ColumnType::Json => "jsonb".to_owned(),
        ColumnType::Bytes => "bytea".to_owned(),
        ColumnType::Text | ColumnType::Enum(_) | ColumnType::Other => "text".to_owned(),
    }
}

impl Kind {
    /// Whether a text means to the server what it says.
    pub(super) fn passes(&self, text: &str) -> bool {
        if !self.in_parts {
            return self.guard.passes(text);
        }
        let parts = text.split(['{', '}', '[', ']', '(', ')', ',', '"']);
        parts
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .all(|part| part.eq_ignore_ascii_case("NULL") || self.guard.passes(part))
    }
}

/// Words that mean the time at which they are read.
const WORDS: [&str; 4] = ["now", "today", "tomorrow", "yesterday"];

impl Guard {
    /// Whether a text means to the server what it says; blanks around it do not matter.
    fn passes(self, text: &str) -> bool {
        let text = text.trim();
        match self {
            // Looked at before it becomes text.
            Self::None | Self::Fraction(_) => true,
            Self::Unsigned => !text.starts_with('-'),
            Self::Scale(scale) => has_scale(text, scale),
            Self::Interval(digits) => longest_fraction(text) <= usize::from(digits),
            Self::TimeTz(digits) => is_time_tz(text, digits),
            Self::Moment(digits) => {
                let mut words = text.split(|c: char| !c.is_ascii_alphabetic());
                let is_fixed = words.all(|word| !WORDS.iter().any(|moving| word.eq_ignore_ascii_case(moving)));
                is_fixed && longest_fraction(text) <= usize::from(digits)
            }
        }
    }

    /// What to say of a value that does not pass.
    pub(super) const fn rule(self) -> &'static str {
        match self {
            Self::None => "not a value of the column's type",
            Self::Fraction(_) | Self::Interval(_) => "has more digits of a second than the column keeps",
            Self::Scale(_) => "has more digits after the point than the column keeps",
            Self::TimeTz(_) => {
                "expected a time of day with an offset, such as 12:30:00+02, of no more digits than the column keeps"
            }
            Self::Unsigned => "expected a number without sign",
            Self::Moment(_) => "a word such as `now`, or more digits of a second than the column keeps",
        }
    }
}

/// Whether a number needs no more digits after its point than `scale`. What is no number is left to
/// the server.
fn has_scale(text: &str, scale: i16) -> bool {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => match text[at + 1..].parse::<i64>() {
            Ok(exponent) => (&text[..at], exponent),
            Err(_) => return true,
        },
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.rsplit_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().filter(u8::is_ascii_digit).count() as i64;
    let zeros = |text: &str| text.bytes().rev().take_while(|byte| *byte == b'0').count() as i64;
    let needed = match digits(fraction.trim_end_matches('0')) {
        0 => -zeros(whole),
        needed => needed,
    };
    let is_zero = !mantissa.bytes().any(|byte| (b'1'..=b'9').contains(&byte));
    is_zero || needed.saturating_sub(exponent) <= i64::from(scale)
}

/// The most digits that follow a point.
fn longest_fraction(text: &str) -> usize {
    let fractions = text.split('.').skip(1);
    fractions.map(|rest| rest.trim_end_matches('0').bytes().take_while(u8::is_ascii_digit).count()).max().unwrap_or(0)
}

/// `h:mm`, `:ss`, a fraction, then `Z` or an offset.
fn is_time_tz(text: &str, most_digits: u8) -> bool {
    let (time, offset) = match text.find(['Z', 'z', '+', '-']) {
        Some(at) => (text[..at].trim_end(), &text[at..]),
        None => (text, "Z"),
    };
    let numbers = |text: &str, lengths: std::ops::RangeInclusive<usize>| {
        lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let parts: Vec<&str> = time.split(':').collect();
    let is_time = (2..=3).contains(&parts.len())
        && numbers(parts[0], 1..=2)
        && parts[1..].iter().all(|part| numbers(part, 2..=2))
        && (parts.len() == 3 || fraction == "0")
        && numbers(fraction, 1..=usize::from(most_digits.max(1)))
        && (most_digits > 0 || fraction.trim_end_matches('0').is_empty());
    let is_offset = offset.eq_ignore_ascii_case("z")
        || offset[1..].split(':').all(|part| numbers(part, 2..=2)) && offset.split(':').count() <= 3
        || numbers(&offset[1..], 4..=4);
    is_time && is_offset
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn modifier(precision: i32, scale: i32) -> i32 {
        ((precision << 16) | (scale & 0x7ff)) + 4
    }

    #[test]
    fn a_decimal_of_up_to_38_digits_is_typed_and_any_other_is_text() {
        assert_eq!(kind("numeric", modifier(15, 2)).ty, ColumnType::Decimal { precision: 15, scale: 2 });
        assert_eq!(kind("numeric", modifier(38, 38)).ty, ColumnType::Decimal { precision: 38, scale: 38 });
        for other in [-1, modifier(39, 2), modifier(4, -2), modifier(2, 4)] {
            assert_eq!(kind("numeric", other).ty, ColumnType::Other, "{other}");
        }
        assert_eq!(kind("numeric", modifier(4, -2)).guard, Guard::Scale(-2));
    }

    #[test]
    fn a_value_that_the_server_would_round_does_not_pass() {
        for (guard, good, bad) in [
            (
                Guard::Scale(2),
                &["1.23", "1.230", "-5", "1e3", "123e-2", "NaN", "0.000", "$1,234.50"][..],
                &["1.234", "1234e-3"][..],
            ),
            (Guard::Scale(-2), &["100", "1e2", "0", "1200"], &["150", "1e1", "0.5"]),
            (Guard::Interval(6), &["1 day", "1.123456 s", "-00:00:01.5000000"], &["1.1234567 s"]),
            (
                Guard::TimeTz(6),
                &["12:30:00+02", "1:30", "12:30:00.123456 -05:30", "12:30Z", "12:30+0530"],
                &["now", "2024-01-01 12:30+02", "12:30:00.1234567+02", "12:30 Europe/Berlin", "noon", "", "12"],
            ),
            (Guard::TimeTz(0), &["12:30:00+02"], &["12:30:00.5+02"]),
            (Guard::Unsigned, &["7"], &["-7"]),
            (
                Guard::Moment(6),
                &["2024-01-01 12:00:00.5", "infinity", "snow"],
                &["Now", "today 12:00", "12:00:00.1234567"],
            ),
        ] {
            assert!(
                good.iter().all(|text| guard.passes(text)),
                "{guard:?} {:?}",
                good.iter().find(|text| !guard.passes(text))
            );
            assert!(
                !bad.iter().any(|text| guard.passes(text)),
                "{guard:?} {:?}",
                bad.iter().find(|text| guard.passes(text))
            );
        }
    }

    #[test]
    fn the_parts_of_an_array_are_looked_at_one_by_one() {
        let prices = kind("_numeric", modifier(5, 2));
        assert!(prices.passes("{1.25,NULL,{2.50}}") && !prices.passes("{1.25,1.255}"));
        let days = kind("_date", -1);
        assert!(days.passes("{2024-01-01}") && !days.passes("{2024-01-01,\"today\"}"));
        assert!(!kind("tsrange", -1).passes("[now,)") && kind("_text", -1).passes("{now}"));
    }
}
