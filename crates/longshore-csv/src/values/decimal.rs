//! Exact decimals.

use super::{Fault, Parse, Scratch, number};
use crate::{Bound, DecimalRule, FieldRules, Rule};

/// Parses decimals of one precision and scale.
#[derive(Debug)]
pub(crate) struct Decimal {
    rules: FieldRules,
    scale: u32,
    /// The least power of ten that is too large.
    bound: i128,
    /// Whether the point is a point, as the fast way expects.
    plain: bool,
    /// As `bound`, as far as it fits.
    small_bound: i64,
}

/// The least number that 64 bits with a sign do not hold.
const BEYOND_64_BITS: i128 = 1 << 63;

const MASK_DOT: u64 = 0x2E2E_2E2E_2E2E_2E2E;
const LOW7: u64 = 0x7F7F_7F7F_7F7F_7F7F;

const POWERS: [i64; 19] = {
    let mut powers = [1; 19];
    let mut at = 1;
    while at < 19 {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

impl Decimal {
    pub(crate) fn new(precision: u8, scale: u8, rules: &FieldRules) -> Self {
        let bound = 10_i128.checked_pow(u32::from(precision)).unwrap_or(i128::MAX);
        Self {
            rules: rules.clone(),
            scale: u32::from(scale),
            bound,
            plain: !rules.decimal_comma,
            small_bound: i64::try_from(bound).unwrap_or(i64::MAX),
        }
    }

    /// Takes less than its digits allow.
    pub(crate) fn within(self, bound: Option<Bound>) -> Self {
        let bound = match bound {
            Some(Bound::Bits64) => self.bound.min(BEYOND_64_BITS),
            _ => self.bound,
        };
        Self { bound, small_bound: i64::try_from(bound).unwrap_or(i64::MAX), ..self }
    }

    /// A value from its digits and how many of them stand after the point.
    #[inline(always)]
    fn scaled(&self, negative: bool, digits: u64, fraction: u32) -> Option<i128> {
        let missing = self.scale.checked_sub(fraction)?;
        let power = *POWERS.get(missing as usize)?;
        let value = digits.cast_signed().checked_mul(power)?;
        if value >= self.small_bound {
            return None;
        }
        Some(i128::from(if negative { -value } else { value }))
    }
}

impl Parse for Decimal {
    type Native = i128;

    #[inline(always)]
    fn fast(&self, text: &[u8], start: usize, end: usize) -> Option<i128> {
        let negative = *text.get(start)? == b'-';
        let start = start + usize::from(negative);
        let len = end - start;
        if len == 0 || len > 16 || !self.plain {
            return None;
        }
        // The last eight bytes: digits, and at most one point.
        let near = len.min(8);
        let shift = 8 * (8 - near as u32);
        let word = number::word_before(text, end)? >> shift;
        let differs = word ^ MASK_DOT;
        // A point gives 0x80; bytes beyond the text are zeros and give none.
        let points = !(((differs & LOW7) + LOW7) | differs | LOW7);
        if points == 0 {
            let digits = number::digits(text, start, end)?;
            return self.scaled(negative, digits, 0);
        }
        let point = points.trailing_zeros() / 8;
        let fraction = near as u32 - 1 - point;
        // Closes the gap: the digits before the point move up by one byte.
        let below = word & !(!0 << (8 * point));
        let above = word >> 8 >> (8 * point) << 8 << (8 * point);
        let joined = (above | (below << 8)) << shift;
        let room = shift + 8;
        let filler = 0x3030_3030_3030_3030_u64 & if room >= 64 { !0 } else { !(!0 << room) };
        let low = number::eight_digits(joined | filler)?;
        if near == 1 {
            return None;
        }
        let high = if len > 8 { number::digits_before(text, end - 8, len - 8)? } else { 0 };
        self.scaled(negative, high * 10_000_000 + low, fraction)
    }

    fn may_be_verbatim(&self) -> bool {
        true
    }

    #[inline(always)]
    fn is_verbatim(&self, text: &[u8], start: usize, end: usize, value: i128) -> bool {
        let negative = text[start] == b'-';
        let start = start + usize::from(negative);
        let is_short = end - start == 1 || text[start + 1] == b'.';
        let is_whole = text[start] != b'.' && text[end - 1] != b'.';
        is_whole && (is_short || text[start] != b'0') && !(negative && value == 0)
    }

    fn careful(&self, cell: &[u8], scratch: &mut Scratch) -> Result<i128, Fault> {
        scratch.rounded = false;
        let parts = number::parts(cell, &self.rules, "a decimal", scratch)?;
        let fraction = parts.fraction.unwrap_or_default();
        // The number is `digits` × 10^(exponent − fraction digits); of it we want × 10^scale.
        let exponent = parts.exponent.unwrap_or(0);
        let shift = exponent - fraction.len() as i64 + i64::from(self.scale);
        let digits = || parts.whole.iter().chain(fraction).map(|digit| digit - b'0');
        let count = (parts.whole.len() + fraction.len()) as i64;
        let kept = (count + shift.min(0)).max(0) as usize;
        let out_of_range = || Fault::new(Rule::Range, "the number has more digits than the column");
        let mut value = 0_i128;
        for digit in digits().take(kept) {
            value = value
                .checked_mul(10)
                .and_then(|value| value.checked_add(i128::from(digit)))
                .ok_or_else(out_of_range)?;
        }
        if value != 0 && shift > 0 {
            value = u32::try_from(shift)
                .ok()
                .and_then(|shift| 10_i128.checked_pow(shift))
                .and_then(|power| value.checked_mul(power))
                .ok_or_else(out_of_range)?;
        }
        let is_lost = digits().skip(kept).any(|digit| digit != 0);
        // The first digit that goes, unless only zeros lie between.
        let first_lost = if count + shift < 0 { 0 } else { digits().nth(kept).unwrap_or(0) };
        if is_lost {
            match self.rules.decimal {
                DecimalRule::Reject => {
                    return Err(Fault::new(Rule::Scale, "the number has more digits after the point than the column"));
                }
                DecimalRule::Truncate => {}
                DecimalRule::Round => value = value.saturating_add(i128::from(first_lost >= 5)),
            }
        }
        if value >= self.bound {
            return Err(match self.bound {
                BEYOND_64_BITS => Fault::new(Rule::Range, "the number is outside of the column's range"),
                _ => out_of_range(),
            });
        }
        let negative = parts.negative;
        scratch.rounded = is_lost;
        Ok(if negative { -value } else { value })
    }
}
