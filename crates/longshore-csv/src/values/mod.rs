//! One field's text in, one value out; a room per family of types.
//!
//! Each family is a [`Parse`]: a fast way that knows the common spelling and gives up on anything
//! else, and a careful way that knows all spellings and says which rule a text breaks. What both
//! accept means the same.

pub(crate) mod boolean;
pub(crate) mod date;
pub(crate) mod decimal;
pub(crate) mod float;
pub(crate) mod integer;
pub(crate) mod json;
pub(crate) mod number;
pub(crate) mod text;
pub(crate) mod time;
pub(crate) mod timestamp;
pub(crate) mod uuid;

use std::borrow::Cow;

use crate::Rule;

/// The rule that a text breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) rule: Rule,
    pub(crate) message: Cow<'static, str>,
}

impl Fault {
    pub(crate) fn new(rule: Rule, message: impl Into<Cow<'static, str>>) -> Self {
        Self { rule, message: message.into() }
    }

    /// The text is not of the type: names what was expected and the byte that does not belong.
    pub(crate) fn unexpected(expected: &str, found: &str) -> Self {
        Self::new(Rule::Type, format!("expected {expected}, found {found}"))
    }
}

/// Memory and counts that parsing shares.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) bytes: Vec<u8>,
    /// Whether the last value lost digits after the point.
    pub(crate) rounded: bool,
}

/// A family of types.
pub(crate) trait Parse {
    /// The value's form in the column.
    type Native: Copy + Default;

    /// The value at `text[start..end]`, which may lie anywhere in `text`; `None`: not the common
    /// spelling.
    fn fast(&self, text: &[u8], start: usize, end: usize) -> Option<Self::Native>;

    /// Whether a text that the fast way reads may be the value's own ([`Self::is_verbatim`]).
    fn may_be_verbatim(&self) -> bool {
        false
    }

    /// Whether the text at `text[start..end]`, which the fast way read as this value, is the value's own: one that
    /// nobody could read otherwise. Before the point of a number stands a digit, after it too, and none that is not
    /// needed before; zero has no sign. Days and times are in ISO order with a blank between them, and times have
    /// seconds; true is `t`, false is `f`.
    fn is_verbatim(&self, _text: &[u8], _start: usize, _end: usize, _value: Self::Native) -> bool {
        false
    }

    /// The value of a text that is not empty and has no blanks around it.
    fn careful(&self, cell: &[u8], scratch: &mut Scratch) -> Result<Self::Native, Fault>;
}

/// Whether blanks may be this byte.
pub(crate) const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Takes the blanks off both ends.
pub(crate) fn trim(mut cell: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = cell
        && is_blank(*first)
    {
        cell = rest;
    }
    while let [rest @ .., last] = cell
        && is_blank(*last)
    {
        cell = rest;
    }
    cell
}

/// What kind of thing a byte is, in words.
pub(crate) const fn describe(byte: u8) -> &'static str {
    match byte {
        b'0'..=b'9' => "a digit",
        b'a'..=b'z' | b'A'..=b'Z' => "a letter",
        b',' => "a comma",
        b'.' => "a decimal point",
        b'+' | b'-' => "a sign",
        b' ' | b'\t' => "a blank",
        b'"' | b'\'' => "a quote",
        b'/' => "a slash",
        b':' => "a colon",
        b'$' => "a currency sign",
        b'%' => "a percent sign",
        b'\n' | b'\r' => "a line end",
        0..=31 | 127 => "a control character",
        33..=126 => "punctuation",
        128..=255 => "a character beyond ASCII",
    }
}

/// The first byte that does not satisfy `belongs`, in words; the end if all do.
pub(crate) fn describe_first(cell: &[u8], belongs: impl Fn(u8) -> bool) -> &'static str {
    match cell.iter().find(|byte| !belongs(**byte)) {
        Some(byte) => describe(*byte),
        None => "the end of the text",
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use proptest::prelude::*;

    use super::*;
    use crate::FieldRules;

    /// Where the fast way gives a value the careful way gives the same, wherever the text lies.
    fn agree<P: Parse>(parser: &P, cell: &str) -> Result<(), TestCaseError>
    where
        P::Native: Debug,
    {
        let careful = parser.careful(cell.as_bytes(), &mut Scratch::default());
        for (before, after) in [("", ""), ("9", "9"), ("99999999,.-", ",0.-99999999")] {
            let text = format!("{before}{cell}{after}");
            let (start, end) = (before.len(), before.len() + cell.len());
            if let Some(value) = parser.fast(text.as_bytes(), start, end) {
                let fast = format!("{:?}", Ok::<_, Fault>(value));
                prop_assert_eq!(fast, format!("{:?}", &careful), "{:?}", cell);
            }
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn fast_numbers_are_careful_numbers(
            cell in "-?[0-9]{0,9}\\.?[0-9]{0,9}|[-+]?[0-9]{1,19}|[-.0-9eE,+ ]{1,17}|\\PC{1,8}",
        ) {
            let rules = FieldRules::default();
            agree(&integer::Integer::<i8>::new(&rules), &cell)?;
            agree(&integer::Integer::<i32>::new(&rules), &cell)?;
            agree(&integer::Integer::<u64>::new(&rules), &cell)?;
            agree(&integer::Integer::<i64>::new(&rules), &cell)?;
            agree(&decimal::Decimal::new(15, 2, &rules), &cell)?;
            agree(&decimal::Decimal::new(38, 10, &rules), &cell)?;
            agree(&decimal::Decimal::new(5, 0, &rules), &cell)?;
            agree(&float::Double::new(&rules), &cell)?;
            agree(&float::Single::new(&rules), &cell)?;
        }

        #[test]
        fn fast_times_are_careful_times(
            cell in "[0-9]{4}-[0-1][0-9]-[0-3][0-9]([ T][0-2][0-9]:[0-6][0-9]:[0-6][0-9])?|[0-2][0-9]:[0-6][0-9]:[0-6][0-9]|[-0-9:/ T]{8,19}",
        ) {
            let rules = FieldRules::default();
            agree(&date::Date::new(&rules), &cell)?;
            agree(&time::Time, &cell)?;
            agree(&timestamp::Timestamp::local(&rules), &cell)?;
            agree(&timestamp::Timestamp::instant(&rules), &cell)?;
        }

        #[test]
        fn doubles_are_what_rust_reads(cell in "-?[0-9]{1,9}\\.[0-9]{1,9}|-?[0-9]{1,17}") {
            let careful = float::Double::new(&FieldRules::default())
                .careful(cell.as_bytes(), &mut Scratch::default());
            prop_assert_eq!(careful, Ok(cell.parse::<f64>().unwrap()));
        }
    }
}
