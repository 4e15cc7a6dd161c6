//! Quotes, NULL texts, lengths.

use super::{Fault, trim};
use crate::split::Dialect;
use crate::{FieldRules, LengthUnit, Rule, Trim};

/// A field without its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cell<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) quoted: bool,
    /// Where `text` begins in the field; `None`: it is a copy without doubled quotes or escapes.
    pub(crate) offset: Option<usize>,
}

/// Takes quotes and escapes off a field.
pub(crate) fn unquote<'a>(raw: &'a [u8], dialect: Dialect, scratch: &'a mut Vec<u8>) -> Result<Cell<'a>, Fault> {
    match dialect.quote {
        Some(quote) if raw.first() == Some(&quote) => unwrap(raw, quote, dialect.escape, scratch),
        _ => Ok(unescape(raw, dialect.escape, scratch)),
    }
}

fn unescape<'a>(raw: &'a [u8], escape: Option<u8>, scratch: &'a mut Vec<u8>) -> Cell<'a> {
    let is_escape = |byte: &u8| escape == Some(*byte);
    if escape.is_none() || !raw.iter().any(is_escape) {
        return Cell { text: raw, quoted: false, offset: Some(0) };
    }
    scratch.clear();
    let mut bytes = raw.iter();
    while let Some(byte) = bytes.next() {
        // An escape at the very end has nothing to escape and is data.
        let byte = if is_escape(byte) { bytes.next().unwrap_or(byte) } else { byte };
        scratch.push(*byte);
    }
    Cell { text: scratch, quoted: false, offset: None }
}

fn unwrap<'a>(raw: &'a [u8], quote: u8, escape: Option<u8>, scratch: &'a mut Vec<u8>) -> Result<Cell<'a>, Fault> {
    let is_special = |byte: &u8| *byte == quote || escape == Some(*byte);
    if let [_, inner @ .., last] = raw
        && *last == quote
        && !inner.iter().any(is_special)
    {
        return Ok(Cell { text: inner, quoted: true, offset: Some(1) });
    }
    scratch.clear();
    let mut at = 1;
    while let Some(byte) = raw.get(at) {
        if escape == Some(*byte) {
            scratch.push(*raw.get(at + 1).unwrap_or(byte));
            at += 2;
        } else if *byte != quote {
            scratch.push(*byte);
            at += 1;
        } else if raw.get(at + 1) == Some(&quote) {
            scratch.push(quote);
            at += 2;
        } else if at + 1 == raw.len() {
            return Ok(Cell { text: scratch, quoted: true, offset: None });
        } else {
            return Err(Fault::new(Rule::Quote, "expected the delimiter after the closing quote, found text"));
        }
    }
    Err(Fault::new(Rule::Quote, "the closing quote is missing"))
}

/// The texts that mean NULL.
#[derive(Debug, Clone, Default)]
pub(crate) struct NullTexts {
    texts: Vec<Vec<u8>>,
    /// Bit `n`: there is a text of `n` bytes (the last bit: of that or more).
    lengths: u64,
}

impl NullTexts {
    pub(crate) fn new(rules: &FieldRules) -> Self {
        let texts: Vec<Vec<u8>> = rules.null.iter().map(|text| text.clone().into()).collect();
        let lengths = texts.iter().fold(0, |bits, text| bits | length_bit(text.len()));
        Self { texts, lengths }
    }

    pub(crate) fn texts(&self) -> &[Vec<u8>] {
        &self.texts
    }

    /// Whether a text of this length may be one of them.
    #[inline(always)]
    pub(crate) fn may_be(&self, len: usize) -> bool {
        self.lengths & length_bit(len) != 0
    }

    /// Whether a text is one of them, with or without the blanks around it.
    pub(crate) fn contains(&self, text: &[u8]) -> bool {
        if self.texts.is_empty() {
            return false;
        }
        let trimmed = trim(text);
        self.texts.iter().any(|null| null == text || null == trimmed)
    }
}

fn length_bit(len: usize) -> u64 {
    1 << len.min(63)
}

/// Takes the blanks off a text that the rule names; gives how many went at the beginning.
pub(crate) fn trim_by(rule: Trim, text: &[u8]) -> (usize, &[u8]) {
    let all = trim(text);
    let front = text.iter().take_while(|byte| super::is_blank(**byte)).count();
    let back = if all.is_empty() { text.len() } else { front + all.len() };
    match rule {
        Trim::None => (0, text),
        Trim::Start => (front, &text[front..]),
        Trim::End => (0, &text[..if all.is_empty() { 0 } else { back }]),
        Trim::Both => (front, all),
    }
}

/// How long a text may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) length: Option<(u32, LengthUnit)>,
    pub(crate) padded: bool,
    pub(crate) max_bytes: Option<u32>,
}

impl Limit {
    /// Whether only ASCII fits.
    pub(crate) fn is_ascii(&self) -> bool {
        matches!(self.length, Some((_, LengthUnit::Ascii)))
    }

    /// Texts up to so many bytes fit, whatever they hold; of ASCII, where only that fits.
    pub(crate) fn surely(&self) -> usize {
        let length = self.length.map_or(u32::MAX, |(length, _)| length);
        length.min(self.max_bytes.unwrap_or(u32::MAX)) as usize
    }

    /// The bytes of a text that the column takes: all of them, or for `char(n)` those before the
    /// blanks beyond its length.
    pub(crate) fn fit(&self, text: &[u8]) -> Result<usize, Fault> {
        let mut len = text.len();
        if let Some((length, unit)) = self.length {
            if self.is_ascii() && !text.is_ascii() {
                return Err(Fault::new(Rule::Type, "expected ASCII only, which is all that the column holds"));
            }
            let end = end_of(text, length as usize, unit);
            let beyond = &text[end..];
            if self.padded && beyond.iter().all(|byte| *byte == b' ') {
                len = end;
            } else if !beyond.is_empty() {
                return Err(too_long(text, length, unit));
            }
        }
        match self.max_bytes {
            Some(most) if len > most as usize => {
                Err(Fault::new(Rule::Length, format!("expected at most {most} bytes (`max_bytes`), found {len}")))
            }
            _ => Ok(len),
        }
    }
}

/// Where the first `length` characters or bytes of a text end.
fn end_of(text: &[u8], length: usize, unit: LengthUnit) -> usize {
    if text.len() <= length {
        return text.len();
    }
    match unit {
        LengthUnit::Bytes | LengthUnit::Ascii => length,
        LengthUnit::Characters => text
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte & 0xC0 != 0x80)
            .nth(length)
            .map_or(text.len(), |(at, _)| at),
    }
}

fn too_long(text: &[u8], length: u32, unit: LengthUnit) -> Fault {
    let (found, unit) = match unit {
        LengthUnit::Bytes | LengthUnit::Ascii => (text.len(), "byte"),
        LengthUnit::Characters => {
            let is_first = |byte: &&u8| **byte & 0xC0 != 0x80;
            (text.iter().filter(is_first).count(), "character")
        }
    };
    let plural = if length == 1 { "" } else { "s" };
    Fault::new(Rule::Length, format!("expected at most {length} {unit}{plural}, found {found}"))
}
