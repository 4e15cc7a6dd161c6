//! Which types the texts of a whole file would fit.
//!
//! Every text is tried with the parsers that the decoder uses, so that what is proposed loads
//! without rejects. Proposals leave room: longer texts and larger numbers than were seen.

use crate::reader::Record;
use crate::values::date::Date;
use crate::values::decimal::Decimal;
use crate::values::float::Double;
use crate::values::integer::Integer;
use crate::values::text::NullTexts;
use crate::values::time::Time;
use crate::values::timestamp::Timestamp;
use crate::values::uuid::Uuid;
use crate::values::{Parse, Scratch, trim};
use crate::{FieldRules, LengthUnit, Type};

/// Digits before the point that a decimal has beyond those seen.
const SPARE_DIGITS: usize = 2;
/// Most digits of a decimal.
const MAX_DIGITS: usize = 38;
/// Beyond this, a text gets no length.
const LONGEST_TEXT: u64 = 10_000;
/// Least length of a text: a column of codes grows.
const SHORTEST_TEXT: u64 = 10;

/// Looks at the records of a file and proposes a type for each column.
#[derive(Debug)]
pub struct Inference {
    rules: FieldRules,
    nulls: NullTexts,
    parsers: Parsers,
    scratch: Scratch,
    columns: Vec<Seen>,
    records: u64,
}

/// What a column would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The narrowest type that all of its texts fit, with room to spare.
    pub ty: Type,
    /// Whether some of its fields are NULL as that type, or missing.
    pub nullable: bool,
    /// Fields that hold a value.
    pub values: u64,
    /// Characters of the longest text seen.
    pub max_characters: u64,
    /// Bytes of the longest text seen.
    pub max_bytes: u64,
}

#[derive(Debug)]
struct Parsers {
    double: Double,
    decimal: Decimal,
    integer: Integer<i64>,
    date: Date,
    timestamp: Timestamp,
    instant: Timestamp,
}

/// Types that all texts of a column so far fit, and what they need.
#[derive(Debug, Clone)]
struct Seen {
    boolean: bool,
    integer: bool,
    small_integer: bool,
    decimal: bool,
    double: bool,
    date: bool,
    time: bool,
    timestamp: bool,
    instant: bool,
    uuid: bool,
    whole_digits: usize,
    fraction_digits: usize,
    max_characters: u64,
    max_bytes: u64,
    /// Fields with a value if the column is text, and if it is not.
    texts: u64,
    values: u64,
}

impl Seen {
    const fn new() -> Self {
        Self {
            boolean: true,
            integer: true,
            small_integer: true,
            decimal: true,
            double: true,
            date: true,
            time: true,
            timestamp: true,
            instant: true,
            uuid: true,
            whole_digits: 0,
            fraction_digits: 0,
            max_characters: 0,
            max_bytes: 0,
            texts: 0,
            values: 0,
        }
    }
}

impl Inference {
    /// Looks at columns the texts of which are read by these rules.
    pub fn new(rules: &FieldRules) -> Self {
        // Rounding would hide digits.
        let exact = FieldRules { decimal: crate::DecimalRule::Reject, ..rules.clone() };
        Self {
            nulls: NullTexts::new(rules),
            parsers: Parsers {
                double: Double::new(&exact),
                decimal: Decimal::new(38, 0, &exact),
                integer: Integer::new(&exact),
                date: Date::new(&exact),
                timestamp: Timestamp::local(&exact),
                instant: Timestamp::instant(&exact),
            },
            rules: exact,
            scratch: Scratch::default(),
            columns: Vec::new(),
            records: 0,
        }
    }

    /// Takes a data record into account; headers are for the caller to leave out.
    pub fn observe(&mut self, record: &Record<'_>) {
        self.observe_texts(record.fields().map(|field| (field.text, field.quoted)));
    }

    /// Takes the texts of a record into account, and whether each was in quotes.
    pub fn observe_texts<'a>(&mut self, texts: impl Iterator<Item = (&'a [u8], bool)>) {
        self.records += 1;
        for (index, (text, quoted)) in texts.enumerate() {
            if index == self.columns.len() {
                self.columns.push(Seen::new());
            }
            self.observe_field(index, text, quoted);
        }
    }

    fn observe_field(&mut self, index: usize, text: &[u8], quoted: bool) {
        let Ok(valid) = str::from_utf8(text) else {
            return;
        };
        let seen = &mut self.columns[index];
        let is_listed = self.nulls.contains(text);
        if quoted || !(text.is_empty() || is_listed) {
            seen.texts += 1;
            seen.max_bytes = seen.max_bytes.max(text.len() as u64);
            seen.max_characters = seen.max_characters.max(valid.chars().count() as u64);
        }
        let cell = trim(text);
        if cell.is_empty() || is_listed {
            return;
        }
        seen.values += 1;
        narrow(seen, cell, &self.parsers, &self.rules, &mut self.scratch);
    }

    /// What the columns would be, lengths counted in this unit.
    pub fn finish(self, unit: LengthUnit) -> Vec<Proposal> {
        let records = self.records;
        let columns = self.columns.into_iter();
        columns.map(|seen| propose(&seen, records, unit)).collect()
    }
}

/// Strikes the types that a value does not fit.
fn narrow(seen: &mut Seen, cell: &[u8], parsers: &Parsers, rules: &FieldRules, scratch: &mut Scratch) {
    let is_word = || cell.eq_ignore_ascii_case(b"true") || cell.eq_ignore_ascii_case(b"false");
    seen.boolean = seen.boolean && is_word();
    if seen.double {
        narrow_number(seen, cell, parsers, rules, scratch);
    }
    seen.date = seen.date && parsers.date.careful(cell, scratch).is_ok();
    seen.time = seen.time && Time.careful(cell, scratch).is_ok();
    seen.timestamp = seen.timestamp && parsers.timestamp.careful(cell, scratch).is_ok();
    seen.instant = seen.instant && parsers.instant.careful(cell, scratch).is_ok();
    seen.uuid = seen.uuid && cell.len() > 32 && Uuid.careful(cell, scratch).is_ok();
}

fn narrow_number(seen: &mut Seen, cell: &[u8], parsers: &Parsers, rules: &FieldRules, scratch: &mut Scratch) {
    let digits = cell.strip_prefix(b"-").unwrap_or(cell);
    // A leading zero or a plus is part of a code or a telephone number, not of a quantity.
    let is_code = matches!(digits, [b'0', b'0'..=b'9', ..] | [b'+', ..]);
    if is_code || parsers.double.careful(cell, scratch).is_err() {
        seen.double = false;
        seen.decimal = false;
        seen.integer = false;
        return;
    }
    let value = parsers.integer.careful(cell, scratch).ok();
    seen.integer = seen.integer && value.is_some();
    seen.small_integer = seen.small_integer && value.is_some_and(|value| i32::try_from(value).is_ok());
    if !seen.decimal {
        return;
    }
    match crate::values::number::parts(cell, rules, "a decimal", scratch) {
        Ok(parts) if parts.exponent.is_none() => {
            let whole = parts.whole.iter().skip_while(|digit| **digit == b'0').count();
            seen.whole_digits = seen.whole_digits.max(whole);
            let fraction = parts.fraction.map_or(0, <[u8]>::len);
            seen.fraction_digits = seen.fraction_digits.max(fraction);
        }
        _ => seen.decimal = false,
    }
    // A single value of more digits than any decimal has.
    seen.decimal = seen.decimal && seen.whole_digits + seen.fraction_digits <= MAX_DIGITS;
    if seen.whole_digits == MAX_DIGITS {
        seen.decimal = seen.decimal && parsers.decimal.careful(cell, scratch).is_ok();
    }
}

fn propose(seen: &Seen, records: u64, unit: LengthUnit) -> Proposal {
    let ty = propose_type(seen, unit);
    let values = match ty {
        Type::Text { .. } => seen.texts,
        _ => seen.values,
    };
    Proposal { ty, nullable: values < records, values, max_characters: seen.max_characters, max_bytes: seen.max_bytes }
}

fn propose_type(seen: &Seen, unit: LengthUnit) -> Type {
    if seen.values == 0 {
        return text(seen, unit);
    }
    let numbers = [
        (seen.boolean, Type::Boolean),
        (seen.integer && seen.small_integer, Type::Int32),
        (seen.integer, Type::Int64),
        (seen.decimal, decimal(seen)),
        (seen.double && !is_too_exact(seen), Type::Float64),
    ];
    let others = [
        (seen.date, Type::Date),
        (seen.time, Type::Time),
        (seen.timestamp, Type::Timestamp),
        (seen.instant, Type::TimestampTz),
        (seen.uuid, Type::Uuid),
    ];
    let mut all = numbers.into_iter().chain(others);
    all.find_map(|(fits, ty)| fits.then_some(ty)).unwrap_or_else(|| text(seen, unit))
}

fn decimal(seen: &Seen) -> Type {
    let scale = seen.fraction_digits.min(MAX_DIGITS);
    let precision = (seen.whole_digits + SPARE_DIGITS + scale).clamp(1, MAX_DIGITS);
    Type::Decimal { precision: precision as u8, scale: scale as u8 }
}

/// Whether the numbers have more digits than any number type keeps: only a text does.
fn is_too_exact(seen: &Seen) -> bool {
    seen.whole_digits + seen.fraction_digits > MAX_DIGITS
}

fn text(seen: &Seen, unit: LengthUnit) -> Type {
    let longest = match unit {
        LengthUnit::Characters => seen.max_characters,
        LengthUnit::Bytes | LengthUnit::Ascii => seen.max_bytes,
    };
    let wanted = (2 * longest).max(SHORTEST_TEXT);
    let length = (wanted <= LONGEST_TEXT && seen.texts > 0).then(|| (nice(wanted), unit));
    Type::Text { length, padded: false }
}

/// The next of 10, 20, 50, 100, 200, 500 …
fn nice(wanted: u64) -> u32 {
    let mut power = 10;
    loop {
        for step in [1, 2, 5] {
            if step * power >= wanted {
                return u32::try_from(step * power).unwrap_or(u32::MAX);
            }
        }
        power *= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str]) -> Proposal {
        let mut inference = Inference::new(&FieldRules::default());
        for text in texts {
            inference.observe_texts([(text.as_bytes(), false)].into_iter());
        }
        inference.finish(LengthUnit::Characters).remove(0)
    }

    fn text(length: u32) -> Type {
        Type::Text { length: Some((length, LengthUnit::Characters)), padded: false }
    }

    #[test]
    fn types_are_the_narrowest_with_room() {
        let decimal = |precision, scale| Type::Decimal { precision, scale };
        for (texts, ty) in [
            (&["true", "FALSE"][..], Type::Boolean),
            (&["1", "0"], Type::Int32),
            (&["1", "2147483648"], Type::Int64),
            (&["9223372036854775808"], decimal(21, 0)),
            (&["1", "28.5", ""], decimal(5, 1)),
            (&["0.25"], decimal(4, 2)),
            (&["1.5", "1e5"], Type::Float64),
            (&["007", "8"], text(10)),
            (&["+4930"], text(10)),
            (&["2020-01-01"], Type::Date),
            (&["2020-01-01", "2020-01-01 12:00"], Type::Timestamp),
            (&["2020-01-01T12:00:00Z", "2020-01-01 12:00"], Type::TimestampTz),
            (&["12:00"], Type::Time),
            (&["123e4567-e89b-12d3-a456-426614174000"], Type::Uuid),
            (&["x", "a text of twenty-six chars"], text(100)),
            (&["1", "x"], text(10)),
            (&["2020-02-30"], text(20)),
            (&["99999999999999999999999999999999999999.5"], text(100)),
        ] {
            assert_eq!(of(texts).ty, ty, "{texts:?}");
        }
        let nothing = of(&["", " "]);
        assert!(matches!(nothing.ty, Type::Text { .. }));
        assert!(nothing.nullable);
        assert!(!of(&["1"]).nullable);
    }
}
