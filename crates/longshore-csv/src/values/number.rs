//! Digits of numbers: eight at a time, and the spelling of thousands and decimal commas.

use super::{Fault, Scratch, describe_first};
use crate::{FieldRules, Rule};

const ZEROS: u64 = 0x3030_3030_3030_3030;

/// The value of eight ASCII digits, the first in the lowest byte; `None` if any is no digit.
#[inline(always)]
pub(crate) fn eight_digits(word: u64) -> Option<u64> {
    let digits = word ^ ZEROS;
    // Each byte is at most 9: adding 0x76 keeps the top bit clear, and none has it itself.
    if (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8) & 0x00FF_00FF_00FF_00FF;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_FFFF_0000_FFFF;
    Some(fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xFFFF_FFFF)
}

/// The eight bytes that end before `end`.
#[inline(always)]
pub(crate) fn word_before(text: &[u8], end: usize) -> Option<u64> {
    let bytes = text.get(end.checked_sub(8)?..end)?;
    Some(u64::from_le_bytes(*bytes.first_chunk()?))
}

/// The value of the `len` digits (at most 8) that end before `end`.
#[inline(always)]
pub(crate) fn digits_before(text: &[u8], end: usize, len: usize) -> Option<u64> {
    if len > 8 || len == 0 {
        return None;
    }
    let shift = 8 * (8 - len as u32);
    let word = word_before(text, end)?;
    eight_digits((word >> shift << shift) | (ZEROS & !(!0 << shift)))
}

/// The value of `text[start..end]` if that is 1 to 16 digits and nothing else.
#[inline(always)]
pub(crate) fn digits(text: &[u8], start: usize, end: usize) -> Option<u64> {
    let len = end - start;
    if len <= 8 {
        return digits_before(text, end, len);
    }
    if len > 16 {
        return None;
    }
    let low = digits_before(text, end, 8)?;
    let high = digits_before(text, end - 8, len - 8)?;
    Some(high * 100_000_000 + low)
}

/// The parts of a number as it is written, signs and separators taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parts<'a> {
    pub(crate) negative: bool,
    pub(crate) whole: &'a [u8],
    /// Digits after the point; `None`: there is no point.
    pub(crate) fraction: Option<&'a [u8]>,
    /// Power of ten; `None`: none is written.
    pub(crate) exponent: Option<i64>,
}

/// Takes a number apart. `expected` names the type in messages.
pub(crate) fn parts<'a>(
    cell: &'a [u8],
    rules: &FieldRules,
    expected: &str,
    scratch: &'a mut Scratch,
) -> Result<Parts<'a>, Fault> {
    let (negative, rest) = match cell {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let (number, exponent) = match rest.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let point = if rules.decimal_comma { b',' } else { b'.' };
    let (whole, fraction) = match number.iter().position(|byte| *byte == point) {
        Some(at) => (&number[..at], Some(&number[at + 1..])),
        None => (number, None),
    };
    let whole = ungroup(whole, rules, scratch)?;
    let fine =
        whole.iter().all(u8::is_ascii_digit) && fraction.is_none_or(|digits| digits.iter().all(u8::is_ascii_digit));
    if !fine {
        return Err(not_a_number(rest, whole, fraction, rules, expected));
    }
    if whole.is_empty() && fraction.is_none_or(<[u8]>::is_empty) {
        return Err(Fault::unexpected(expected, describe_first(rest, |_| false)));
    }
    let exponent = exponent.map(|digits| parse_exponent(digits, expected)).transpose()?;
    Ok(Parts { negative, whole, fraction, exponent })
}

fn not_a_number(cell: &[u8], whole: &[u8], fraction: Option<&[u8]>, rules: &FieldRules, expected: &str) -> Fault {
    let is_digit = |byte: u8| byte.is_ascii_digit();
    let bad = if whole.iter().all(u8::is_ascii_digit) { fraction.unwrap_or_default() } else { whole };
    let found = describe_first(bad, is_digit);
    let fault = Fault::unexpected(expected, found);
    let hint = match found {
        "a comma" if !rules.decimal_comma && rules.thousands.is_none() => {
            let looks_grouped = cell.contains(&b'.') || cell.iter().filter(|byte| **byte == b',').count() > 1;
            match (looks_grouped, expected) {
                (true, _) => "; is it `thousands = \",\"`?",
                (false, "an integer") => return fault,
                (false, _) => "; is it `decimal_comma = true`?",
            }
        }
        "a decimal point" if rules.decimal_comma && rules.thousands.is_none() => "; is it `thousands = \".\"`?",
        _ => return fault,
    };
    Fault::new(Rule::Type, format!("{}{hint}", fault.message))
}

/// Takes the separators out of the whole part: one to three digits, then groups of three.
fn ungroup<'a>(whole: &'a [u8], rules: &FieldRules, scratch: &'a mut Scratch) -> Result<&'a [u8], Fault> {
    let Some(separator) = rules.thousands else {
        return Ok(whole);
    };
    let mut encoded = [0; 4];
    let separator = separator.encode_utf8(&mut encoded).as_bytes();
    if separator.len() > whole.len() || whole.iter().all(u8::is_ascii_digit) {
        return Ok(whole);
    }
    scratch.bytes.clear();
    let mut group = 0;
    let mut groups = 0;
    let mut at = 0;
    let misplaced = || Fault::new(Rule::Type, "expected groups of three digits");
    while at < whole.len() {
        if whole[at..].starts_with(separator) {
            if group == 0 || group > 3 || (groups > 0 && group != 3) {
                return Err(misplaced());
            }
            groups += 1;
            group = 0;
            at += separator.len();
        } else {
            scratch.bytes.push(whole[at]);
            group += 1;
            at += 1;
        }
    }
    if groups > 0 && group != 3 {
        return Err(misplaced());
    }
    Ok(&scratch.bytes)
}

fn parse_exponent(digits: &[u8], expected: &str) -> Result<i64, Fault> {
    let (negative, digits) = match digits {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        let found = describe_first(digits, |byte| byte.is_ascii_digit());
        return Err(Fault::unexpected(expected, found));
    }
    let value = digits.iter().fold(0_i64, |value, digit| (value * 10 + i64::from(digit - b'0')).min(1 << 40));
    Ok(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_digits_have_their_value() {
        assert_eq!(eight_digits(u64::from_le_bytes(*b"12345678")), Some(12_345_678));
        assert_eq!(eight_digits(u64::from_le_bytes(*b"99999999")), Some(99_999_999));
        for other in *b"/:-. a\xFF\x00" {
            for at in 0..8 {
                let mut word = *b"12345678";
                word[at] = other;
                assert_eq!(eight_digits(u64::from_le_bytes(word)), None, "{word:?}");
            }
        }
    }

    #[test]
    fn up_to_sixteen_digits_are_read() {
        let text = b"........1234567890123456";
        assert_eq!(digits(text, 8, 24), Some(1_234_567_890_123_456));
        assert_eq!(digits(text, 8, 9), Some(1));
        assert_eq!(digits(text, 7, 9), None);
        assert_eq!(digits(b"12", 0, 2), None, "too near to the beginning to be fast");
    }
}
