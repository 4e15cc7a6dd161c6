//! Integers, decimals and floats.

use super::super::column::Type;
use super::super::reader::Switches;
use super::Fault;

fn trimmed<'a>(bytes: &'a [u8], switches: &Switches) -> &'a [u8] {
    if switches.spaces_around_numbers { bytes.trim_ascii() } else { bytes }
}

/// The error about the byte at `at`.
fn invalid(bytes: &[u8], at: usize, name: &str, code: u32) -> Fault {
    let value = match bytes.get(at) {
        Some(byte) if byte.is_ascii() => char::from(*byte).to_string(),
        Some(_) => char::REPLACEMENT_CHARACTER.to_string(),
        None => String::new(),
    };
    Fault::new(code, format!("Invalid digit, Value '{value}', Pos {at}, Type: {name}"))
}

/// An integer: digits, before them at most a minus.
pub(super) fn integer(bytes: &[u8], ty: Type, switches: &Switches) -> Result<String, Fault> {
    let bytes = trimmed(bytes, switches);
    let (name, smallest, largest) = match ty {
        Type::SmallInt => ("Short", i128::from(i16::MIN), i128::from(i16::MAX)),
        Type::Integer => ("Integer", i128::from(i32::MIN), i128::from(i32::MAX)),
        _ => ("Long", i128::from(i64::MIN), i128::from(i64::MAX)),
    };
    let is_negative = bytes.first() == Some(&b'-');
    let signs = usize::from(is_negative);
    let bad = bytes[signs..].iter().position(|byte| !byte.is_ascii_digit()).map(|at| at + signs);
    if bad.is_some() || bytes.len() == signs {
        return Err(invalid(bytes, bad.unwrap_or(signs), name, 1207));
    }
    let mut number: i128 = 0;
    for digit in &bytes[signs..] {
        number = (number * 10 + i128::from(digit - b'0')).min(1 << 100);
    }
    if is_negative {
        number = -number;
    }
    if (smallest..=largest).contains(&number) {
        Ok(number.to_string())
    } else {
        Err(Fault::new(1222, format!("Overflow, Type: {name}")))
    }
}

/// A decimal: what does not fit behind the point is cut off, or rounded with ROUNDEC.
pub(super) fn decimal(bytes: &[u8], precision: u8, scale: u8, rounds: bool, s: &Switches) -> Result<String, Fault> {
    let bytes = trimmed(bytes, s);
    let signs = usize::from(matches!(bytes.first(), Some(b'-' | b'+')));
    let is_negative = bytes.first() == Some(&b'-');
    let (mut whole, mut fraction, mut has_point) = (Vec::new(), Vec::new(), false);
    for (at, byte) in bytes.iter().enumerate().skip(signs) {
        match byte {
            b'.' if !has_point => has_point = true,
            b'0'..=b'9' if has_point => fraction.push(byte - b'0'),
            b'0'..=b'9' => whole.push(byte - b'0'),
            _ => return Err(invalid(bytes, at, "Decimal", 1209)),
        }
    }
    if whole.is_empty() && fraction.is_empty() {
        return Err(invalid(bytes, bytes.len(), "Decimal", 1209));
    }
    let scale = usize::from(scale);
    let rounds_up = rounds && fraction.get(scale).is_some_and(|digit| *digit >= 5);
    fraction.resize(scale, 0);
    let overflow = || Fault::new(1204, format!("Overflow for NUMERIC({precision},{scale})"));
    let mut digits = 0_u128;
    for digit in whole.iter().chain(&fraction) {
        digits = digits.checked_mul(10).and_then(|number| number.checked_add((*digit).into())).ok_or_else(overflow)?;
    }
    digits = digits.saturating_add(rounds_up.into());
    let limit = 10_u128.checked_pow(precision.into()).map_or(u128::MAX, |limit| limit - 1);
    let limit = if precision <= 19 { limit.min(i64::MAX as u128) } else { limit };
    if digits > limit {
        return Err(overflow());
    }
    let sign = if is_negative && digits != 0 { "-" } else { "" };
    let shown = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = shown.split_at(shown.len() - scale);
    Ok(if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

/// A float: decimal, with or without an exponent.
pub(super) fn float(bytes: &[u8], ty: Type, switches: &Switches) -> Result<String, Fault> {
    let bytes = trimmed(bytes, switches);
    let invalid = || Fault::new(1208, "Invalid floating point value");
    let text = std::str::from_utf8(bytes).map_err(|_| invalid())?;
    if !text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)) {
        return Err(invalid());
    }
    let number: f64 = text.parse().map_err(|_| invalid())?;
    let is_zero = text.bytes().take_while(|byte| !b"eE".contains(byte)).all(|byte| !(b'1'..=b'9').contains(&byte));
    let single = number as f32;
    let is_lost = match ty {
        Type::Real => single.is_infinite() || (single == 0.0 && !is_zero),
        _ => number.is_infinite() || (number == 0.0 && !is_zero),
    };
    if is_lost { Err(Fault::new(1204, "Input data exceeded the range of the data type")) } else { Ok(text.to_owned()) }
}

#[cfg(test)]
#[path = "numbers_tests.rs"]
mod tests;
