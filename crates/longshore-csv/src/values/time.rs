//! Times of day.

use super::{Fault, Parse, Scratch, describe_first};
use crate::Rule;

const SECOND: i64 = 1_000_000;

/// Parses times of day into microseconds since midnight.
pub(crate) struct Time;

impl Parse for Time {
    type Native = i64;

    #[inline(always)]
    fn fast(&self, text: &[u8], start: usize, end: usize) -> Option<i64> {
        fast_clock(text.get(start..end)?.as_array::<8>()?)
    }

    fn may_be_verbatim(&self) -> bool {
        true
    }

    #[inline(always)]
    fn is_verbatim(&self, _text: &[u8], _start: usize, _end: usize, _value: i64) -> bool {
        true
    }

    fn careful(&self, cell: &[u8], _scratch: &mut Scratch) -> Result<i64, Fault> {
        let (micros, rest) = clock(cell)?;
        match rest.first() {
            None => Ok(micros),
            Some(_) => {
                let found = describe_first(rest, |_| false);
                Err(Fault::unexpected(EXPECTED, found))
            }
        }
    }
}

const EXPECTED: &str = "a time (HH:MM:SS)";

/// The microseconds of a text `HH:MM:SS`; `None` if it is none.
#[inline(always)]
pub(crate) fn fast_clock(cell: &[u8; 8]) -> Option<i64> {
    let two = |at: usize| {
        let (tens, ones) = (cell[at].wrapping_sub(b'0'), cell[at + 1].wrapping_sub(b'0'));
        (tens <= 9 && ones <= 9).then(|| i64::from(tens) * 10 + i64::from(ones))
    };
    let (hour, minute, second) = (two(0)?, two(3)?, two(6)?);
    if cell[2] != b':' || cell[5] != b':' || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some(((hour * 60 + minute) * 60 + second) * SECOND)
}

/// Reads `HH:MM[:SS[.ffffff]]` at the beginning of a text; gives the rest too.
pub(crate) fn clock(cell: &[u8]) -> Result<(i64, &[u8]), Fault> {
    let (hour, rest) = two_digits(cell)?;
    let (minute, rest) = two_digits(colon(rest)?)?;
    let (second, rest) = match rest {
        [b':', rest @ ..] => two_digits(rest)?,
        rest => (0, rest),
    };
    if hour > 23 || minute > 59 || second > 59 {
        return Err(Fault::new(Rule::Range, "the day has no such time (00:00:00 to 23:59:59)"));
    }
    let whole = ((hour * 60 + minute) * 60 + second) * SECOND;
    match rest {
        [b'.', digits @ ..] => {
            let (micros, rest) = fraction(digits)?;
            Ok((whole + micros, rest))
        }
        rest => Ok((whole, rest)),
    }
}

fn two_digits(cell: &[u8]) -> Result<(i64, &[u8]), Fault> {
    match cell {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9', rest @ ..] => {
            Ok((i64::from(tens - b'0') * 10 + i64::from(ones - b'0'), rest))
        }
        other => {
            let of = &other[..other.len().min(2)];
            Err(Fault::unexpected(EXPECTED, describe_first(of, |byte| byte.is_ascii_digit())))
        }
    }
}

fn colon(cell: &[u8]) -> Result<&[u8], Fault> {
    match cell {
        [b':', rest @ ..] => Ok(rest),
        other => Err(Fault::unexpected(EXPECTED, describe_first(other, |_| false))),
    }
}

/// Digits after the point of a second, as microseconds.
fn fraction(digits: &[u8]) -> Result<(i64, &[u8]), Fault> {
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = digits.split_at(count);
    if digits.is_empty() {
        return Err(Fault::unexpected(EXPECTED, describe_first(rest, |_| false)));
    }
    if digits.iter().skip(6).any(|digit| *digit != b'0') {
        return Err(Fault::new(Rule::Scale, "the time has more than 6 digits after the point"));
    }
    let micros = (0..6).fold(0, |value, at| value * 10 + digits.get(at).map_or(0, |digit| i64::from(digit - b'0')));
    Ok((micros, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<i64, Rule> {
        Time.careful(text.as_bytes(), &mut Scratch::default()).map_err(|fault| fault.rule)
    }

    #[test]
    fn times_of_day_are_read() {
        assert_eq!(read("00:00"), Ok(0));
        assert_eq!(read("23:59:59.999999"), Ok(86_399_999_999));
        assert_eq!(read("01:02:03.5"), Ok(3_723_500_000));
        assert_eq!(read("01:02:03.50000000"), Ok(3_723_500_000));
    }

    #[test]
    fn what_no_clock_shows_is_refused() {
        assert_eq!(read("24:00"), Err(Rule::Range));
        assert_eq!(read("23:59:60"), Err(Rule::Range));
        assert_eq!(read("01:02:03.1234567"), Err(Rule::Scale));
        for text in ["", "1:02", "01", "01:", "01:02:", "01:02:03.", "01:02 PM", "now", "01-02"] {
            assert_eq!(read(text), Err(Rule::Type), "{text}");
        }
    }
}
