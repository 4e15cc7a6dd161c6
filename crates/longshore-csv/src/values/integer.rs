//! Whole numbers.

use std::marker::PhantomData;

use super::{Fault, Parse, Scratch, describe_first, number};
use crate::{FieldRules, Rule};

/// Parses one of Rust's integers.
#[derive(Debug)]
pub(crate) struct Integer<T> {
    rules: FieldRules,
    native: PhantomData<T>,
}

impl<T> Integer<T> {
    pub(crate) fn new(rules: &FieldRules) -> Self {
        Self { rules: rules.clone(), native: PhantomData }
    }
}

impl<T> Parse for Integer<T>
where
    T: Copy + Default + TryFrom<i64> + TryFrom<i128>,
{
    type Native = T;

    #[inline(always)]
    fn fast(&self, text: &[u8], start: usize, end: usize) -> Option<T> {
        let negative = *text.get(start)? == b'-';
        let value = number::digits(text, start + usize::from(negative), end)?.cast_signed();
        T::try_from(if negative { -value } else { value }).ok()
    }

    fn may_be_verbatim(&self) -> bool {
        true
    }

    #[inline(always)]
    fn is_verbatim(&self, text: &[u8], start: usize, end: usize, _value: T) -> bool {
        let negative = text[start] == b'-';
        text[start + usize::from(negative)] != b'0' || (end - start == 1 && !negative)
    }

    fn careful(&self, cell: &[u8], scratch: &mut Scratch) -> Result<T, Fault> {
        let parts = number::parts(cell, &self.rules, "an integer", scratch)?;
        if parts.fraction.is_some() || parts.exponent.is_some() {
            let found = describe_first(cell, |byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-'));
            let found = if parts.fraction.is_some() { found } else { "an exponent" };
            return Err(Fault::unexpected("an integer", found));
        }
        let value = parts
            .whole
            .iter()
            .try_fold(0_i128, |value, digit| value.checked_mul(10)?.checked_add(i128::from(digit - b'0')));
        value
            .map(|value| if parts.negative { -value } else { value })
            .and_then(|value| T::try_from(value).ok())
            .ok_or_else(|| Fault::new(Rule::Range, "the number is outside of the column's range"))
    }
}
