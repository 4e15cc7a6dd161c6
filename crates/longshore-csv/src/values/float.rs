//! Binary floating point.

use super::{Fault, Parse, Scratch, describe_first, number};
use crate::{Bound, FieldRules, Rule};

/// Parses doubles.
#[derive(Debug)]
pub(crate) struct Double {
    rules: FieldRules,
    is_finite: bool,
}

/// Parses singles.
#[derive(Debug)]
pub(crate) struct Single {
    rules: FieldRules,
    is_finite: bool,
}

/// Powers of ten that a double holds exactly.
const POWERS: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

impl Double {
    pub(crate) fn new(rules: &FieldRules) -> Self {
        Self { rules: rules.clone(), is_finite: false }
    }

    /// Takes less than its type.
    pub(crate) fn within(self, bound: Option<Bound>) -> Self {
        Self { is_finite: bound == Some(Bound::Finite), ..self }
    }
}

impl Single {
    pub(crate) fn new(rules: &FieldRules) -> Self {
        Self { rules: rules.clone(), is_finite: false }
    }

    /// Takes less than its type.
    pub(crate) fn within(self, bound: Option<Bound>) -> Self {
        Self { is_finite: bound == Some(Bound::Finite), ..self }
    }
}

/// Digits (at most 15, so that a double holds them) and how many stand after the point.
#[inline(always)]
fn short(text: &[u8], start: usize, end: usize) -> Option<(bool, u64, usize)> {
    let negative = *text.get(start)? == b'-';
    let start = start + usize::from(negative);
    if end - start > 16 {
        return None;
    }
    let cell = text.get(start..end)?;
    match cell.iter().position(|byte| *byte == b'.') {
        None if cell.len() <= 15 => Some((negative, number::digits(text, start, end)?, 0)),
        Some(at) if at > 0 && at + 1 < cell.len() => {
            let fraction = cell.len() - at - 1;
            let whole = number::digits(text, start, start + at)?;
            let rest = number::digits(text, end - fraction, end)?;
            let digits = whole.checked_mul(10_u64.pow(fraction as u32))?.checked_add(rest)?;
            Some((negative, digits, fraction))
        }
        _ => None,
    }
}

impl Parse for Double {
    type Native = f64;

    #[inline(always)]
    fn fast(&self, text: &[u8], start: usize, end: usize) -> Option<f64> {
        if self.rules.decimal_comma {
            return None;
        }
        let (negative, digits, fraction) = short(text, start, end)?;
        if digits >= 1 << 53 {
            return None;
        }
        // Both are exact, so that the one rounding of the division is the right one.
        let value = digits as f64 / POWERS.get(fraction)?;
        Some(if negative { -value } else { value })
    }

    fn careful(&self, cell: &[u8], scratch: &mut Scratch) -> Result<f64, Fault> {
        parse(cell, &self.rules, self.is_finite, scratch, f64::is_infinite, |value: f64| value == 0.0)
    }
}

impl Parse for Single {
    type Native = f32;

    #[inline(always)]
    fn fast(&self, text: &[u8], start: usize, end: usize) -> Option<f32> {
        if self.rules.decimal_comma {
            return None;
        }
        let (negative, digits, fraction) = short(text, start, end)?;
        if digits >= 1 << 24 || fraction > 10 {
            return None;
        }
        let value = digits as f32 / (*POWERS.get(fraction)? as f32);
        Some(if negative { -value } else { value })
    }

    fn careful(&self, cell: &[u8], scratch: &mut Scratch) -> Result<f32, Fault> {
        parse(cell, &self.rules, self.is_finite, scratch, f32::is_infinite, |value: f32| value == 0.0)
    }
}

fn parse<T: std::str::FromStr + Copy>(
    cell: &[u8],
    rules: &FieldRules,
    is_finite: bool,
    scratch: &mut Scratch,
    is_infinite: fn(T) -> bool,
    is_zero: fn(T) -> bool,
) -> Result<T, Fault> {
    if let Some(value) = special(cell).and_then(|word| word.parse().ok()) {
        if is_finite {
            return Err(Fault::new(
                Rule::Range,
                "the column takes neither infinity nor NaN (`null` names words for NULL)",
            ));
        }
        return Ok(value);
    }
    // Checks the spelling; the digits are then put together as Rust spells them.
    let parts = number::parts(cell, rules, "a number", scratch)?;
    let fraction = parts.fraction.unwrap_or_default();
    let mut plain = String::with_capacity(cell.len() + 8);
    if parts.negative {
        plain.push('-');
    }
    plain.push('0');
    plain.extend(parts.whole.iter().map(|digit| char::from(*digit)));
    plain.push('.');
    plain.extend(fraction.iter().map(|digit| char::from(*digit)));
    plain.push('0');
    if let Some(exponent) = parts.exponent {
        plain.push_str(&format!("e{exponent}"));
    }
    let value: T = plain.parse().map_err(|_| {
        let found = describe_first(cell, |byte| byte.is_ascii_digit());
        Fault::unexpected("a number", found)
    })?;
    let is_nothing = parts.whole.iter().chain(fraction).all(|digit| *digit == b'0');
    if is_infinite(value) || (is_zero(value) && !is_nothing) {
        return Err(Fault::new(Rule::Range, "the number is outside of the column's range"));
    }
    Ok(value)
}

/// The words for what is no finite number, as PostgreSQL takes them.
fn special(cell: &[u8]) -> Option<&'static str> {
    let (negative, word) = match cell {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    if is("nan") && word.len() == cell.len() {
        Some("NaN")
    } else if is("inf") || is("infinity") {
        Some(if negative { "-inf" } else { "inf" })
    } else {
        None
    }
}
