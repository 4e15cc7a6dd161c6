//! Values as plain text that any server reads as exactly them: in ISO order, instants in UTC.

use std::io::Write;
use std::sync::LazyLock;

/// Microseconds of a day.
const DAY_MICROS: i64 = 86_400_000_000;

/// Room for any of these values, with some to spare: copies are of a fixed size, which is the cheapest, and what
/// is too much is written over by what follows.
pub(crate) type Cell = [u8; 64];

/// The beginning of what is there, as a cell.
///
/// # Panics
/// Where less is there.
#[inline]
pub(crate) fn cell(line: &mut [u8], at: usize) -> &mut Cell {
    line[at..].first_chunk_mut().expect("who writes makes room for a cell")
}

/// Whatever is known to fit. Like all of these it writes at the beginning, and returns how many bytes.
pub(crate) fn shown(value: std::fmt::Arguments<'_>, cell: &mut [u8]) -> usize {
    let room = cell.len();
    let mut rest = cell;
    drop(rest.write_fmt(value));
    room - rest.len()
}

/// A byte as two digits.
pub(crate) fn hex(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

/// A number with so many digits after its point, 38 at most.
#[inline]
pub(crate) fn decimal(value: i128, scale: u8, cell: &mut Cell) -> usize {
    let (size, scale, sign) = (value.unsigned_abs(), usize::from(scale), usize::from(value < 0));
    cell[0] = b'-';
    match u64::try_from(size) {
        Ok(size) if scale == 0 => digits(size, 1, cell, sign),
        Ok(size) if size < EIGHT && scale < 8 => {
            let (text, count) = short(size, scale + 1);
            let point = count - scale;
            put(text, cell, sign);
            cell[sign + point] = b'.';
            put(text >> (8 * point), cell, sign + point + 1);
            sign + count + 1
        }
        Ok(size) if scale < POWERS.len() => {
            let point = digits(size / POWERS[scale], 1, cell, sign);
            cell[point] = b'.';
            digits(size % POWERS[scale], scale, cell, point + 1)
        }
        _ => {
            let end = sign + shown(format_args!("{size:0width$}", width = scale + 1), &mut cell[sign..]);
            if scale == 0 {
                return end;
            }
            let point = end - scale;
            cell.copy_within(point..end, point + 1);
            cell[point] = b'.';
            end + 1
        }
    }
}

/// A number without digits after a point.
#[inline]
pub(crate) fn whole(value: impl Into<i64>, cell: &mut Cell) -> usize {
    let value = value.into();
    cell[0] = b'-';
    digits(value.unsigned_abs(), 1, cell, usize::from(value < 0))
}

/// A number of at least so many digits from a place on; returns their end.
#[inline]
fn digits(value: u64, least: usize, cell: &mut Cell, at: usize) -> usize {
    if value < EIGHT && least <= 8 {
        let (text, count) = short(value, least);
        put(text, cell, at);
        return at + count;
    }
    many(value, least, cell, at)
}

#[inline(never)]
fn many(value: u64, least: usize, cell: &mut Cell, at: usize) -> usize {
    let at = digits(value / EIGHT, least.saturating_sub(8).max(1), cell, at);
    put(eight(value % EIGHT), cell, at);
    at + 8
}

/// At least so many digits of a number below [`EIGHT`], the first in the lowest byte, and how many they are.
fn short(value: u64, least: usize) -> (u64, usize) {
    let text = eight(value);
    let zeros = ((text ^ ZEROS).trailing_zeros() as usize / 8).min(8 - least.max(1));
    (text >> (8 * zeros), 8 - zeros)
}

fn put(text: u64, cell: &mut Cell, at: usize) {
    cell[at..at + 8].copy_from_slice(&text.to_le_bytes());
}

const EIGHT: u64 = 100_000_000;
/// Eight times `0`.
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// The eight digits of a number below [`EIGHT`], the first in the lowest byte. As Paul Khuong does it (How to print
/// integers really fast, 2017): groups of four, two and one digits are parted side by side in one word.
fn eight(value: u64) -> u64 {
    let fours = (value / 10_000) | ((value % 10_000) << 32);
    // 10,486 / 2^20 is a hundredth, and 103 / 2^10 a tenth, exact enough for what is parted here.
    let top = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = ((fours - 100 * top) << 16) + top;
    let top = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    (((twos - 10 * top) << 8) + top) | ZEROS
}

/// Powers of ten, by their exponents.
const POWERS: [u64; 20] = {
    let mut powers = [1; 20];
    let mut exponent = 1;
    while exponent < 20 {
        powers[exponent] = 10 * powers[exponent - 1];
        exponent += 1;
    }
    powers
};

/// A day, counted from the first of 1970.
#[inline]
pub(crate) fn date(days: i64, cell: &mut Cell) -> usize {
    let (year, end) = civil(days, cell);
    before_christ(year, cell, end)
}

/// A day and time, counted from the turn of 1970; `is_instant`: with the offset of UTC.
pub(crate) fn timestamp(micros: i64, is_instant: bool, cell: &mut Cell) -> usize {
    let (year, at) = civil(micros.div_euclid(DAY_MICROS), cell);
    cell[at] = b' ';
    let mut at = clock(micros.rem_euclid(DAY_MICROS), cell, at + 1);
    if is_instant {
        cell[at..at + 3].copy_from_slice(b"+00");
        at += 3;
    }
    before_christ(year, cell, at)
}

/// Year, month and day; the year before 1 is 1 BC. Returns the year, or for a usual day some other after Christ,
/// and the end.
#[inline]
fn civil(days: i64, cell: &mut Cell) -> (i64, usize) {
    let known = usize::try_from(days).ok().and_then(|days| USUAL_DAYS.get(days));
    let (year, text, at) = known.map_or_else(|| unusual(days, cell), |text| (1, *text, 0));
    let dashes = u64::from(b'-') << 32 | u64::from(b'-') << 56;
    put(text & 0xffff_ffff | (text >> 32 & 0xffff) << 40 | dashes, cell, at);
    put(text >> 48, cell, at + 8);
    (year, at + 10)
}

/// The year of another day, the eight digits of the day, and where they begin: digits of the year above four stand
/// before them.
#[inline(never)]
fn unusual(days: i64, cell: &mut Cell) -> (i64, u64, usize) {
    let (year, month, day) = year_month_day(days);
    let shown = if year > 0 { year } else { 1 - year }.unsigned_abs();
    let at = if shown < 10_000 { 0 } else { digits(shown / 10_000, 1, cell, 0) };
    (year, eight(shown % 10_000 * 10_000 + 100 * month + day), at)
}

/// The eight digits of the days from 1970 to 2099: looking a day up costs less than working it out.
static USUAL_DAYS: LazyLock<Vec<u64>> = LazyLock::new(|| {
    let digits = |days| {
        let (year, month, day) = year_month_day(days);
        eight(year.unsigned_abs() * 10_000 + 100 * month + day)
    };
    (0..47_482).map(digits).collect()
});

fn before_christ(year: i64, cell: &mut Cell, at: usize) -> usize {
    if year >= 1 {
        return at;
    }
    cell[at..at + 3].copy_from_slice(b" BC");
    at + 3
}

/// A time of day, with six digits of a second where these are not zero.
pub(crate) fn time(micros: i64, cell: &mut Cell) -> usize {
    clock(micros, cell, 0)
}

fn clock(micros: i64, cell: &mut Cell, at: usize) -> usize {
    let micros = micros.unsigned_abs();
    let seconds = micros / 1_000_000;
    let text = eight(seconds / 3600 * 10_000 + seconds / 60 % 60 * 100 + seconds % 60) >> 16;
    let colons = u64::from(b':') << 16 | u64::from(b':') << 40;
    put((text & 0xffff) | (text >> 16 & 0xffff) << 24 | (text >> 32) << 48 | colons, cell, at);
    match micros % 1_000_000 {
        0 => at + 8,
        fraction => {
            cell[at + 8] = b'.';
            digits(fraction, 6, cell, at + 9)
        }
    }
}

/// The day of the Gregorian calendar so many days after the first of 1970: by eras of 400 years that begin
/// in March, and within them as Neri and Schneider do it (Euclidean affine functions and their application
/// to calendar algorithms, 2022).
fn year_month_day(days: i64) -> (i64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = match u32::try_from(days) {
        // The arithmetic holds for so many eras at once.
        Ok(day) if day < 50 * 146_097 => (0, day),
        _ => (days.div_euclid(146_097), days.rem_euclid(146_097) as u32),
    };
    let quarters = 4 * day + 3;
    let (century, day_of_century) = (quarters / 146_097, quarters % 146_097 / 4);
    let product = 2_939_745 * u64::from(4 * day_of_century + 3);
    let (year, day_of_year) = ((product >> 32) as u32, product as u32 / 2_939_745 / 4);
    let product = 2_141 * day_of_year + 197_913;
    let (month, day) = (product / 65_536, product % 65_536 / 2_141 + 1);
    let is_next = month > 12;
    let year = 400 * era + i64::from(100 * century + year + u32::from(is_next));
    (year, if is_next { month - 12 } else { month }.into(), day.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Cell) -> usize) -> String {
        let mut line = [b'x'; size_of::<Cell>()];
        let end = write(&mut line);
        String::from_utf8(line[..end].to_vec()).unwrap()
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        // Between the years that jiff knows.
        for days in (-4_371_587_i64..=2_932_896).step_by(7) {
            let civil = jiff::civil::date(1970, 1, 1).checked_add(jiff::Span::new().days(days)).unwrap();
            let (month, day) = (civil.month().unsigned_abs(), civil.day().unsigned_abs());
            let expected = (civil.year().into(), month.into(), day.into());
            assert_eq!(year_month_day(days), expected, "{days}");
        }
    }

    #[test]
    fn eight_digits_are_those_of_the_number() {
        // Every group of four, first and last.
        for value in (0..10_000).flat_map(|four| [four, 10_000 * four, 10_001 * four]) {
            assert_eq!(String::from_utf8(eight(value).to_le_bytes().into()).unwrap(), format!("{value:08}"));
        }
    }

    #[test]
    fn numbers_have_all_their_digits() {
        for exponent in 0..20_u32 {
            let power = 10_u64.pow(exponent);
            for value in [power - 1, power, power + 1, power / 9 * 8, power / 7] {
                assert_eq!(text(|line| digits(value, 1, line, 0)), value.to_string());
                assert_eq!(text(|line| digits(value, 7, line, 0)), format!("{value:07}"));
            }
        }
        assert_eq!(text(|line| digits(u64::MAX, 1, line, 0)), u64::MAX.to_string());
        assert_eq!(text(|line| whole(i64::MIN, line)), i64::MIN.to_string());
        for scale in 0..=38_u8 {
            for value in
                [0, 1, -1, 99, -123_456, 9_999_999, 10_000_000, 12_345_678_901_234_567_890, -(10_i128.pow(38) - 1)]
            {
                let size = format!("{:0width$}", value.unsigned_abs(), width = usize::from(scale) + 1);
                let (before, after) = size.split_at(size.len() - usize::from(scale));
                let sign = if value < 0 { "-" } else { "" };
                let point = if scale > 0 { "." } else { "" };
                assert_eq!(text(|line| decimal(value, scale, line)), format!("{sign}{before}{point}{after}"));
            }
        }
    }

    #[test]
    fn values_are_written_as_servers_read_them() {
        assert_eq!(text(|line| decimal(-5, 2, line)), "-0.05");
        assert_eq!(text(|line| decimal(i128::from(u64::MAX), 0, line)), "18446744073709551615");
        assert_eq!(text(|line| decimal(10_i128.pow(38) - 1, 38, line)), format!("0.{}", "9".repeat(38)));
        assert_eq!(text(|line| decimal(i128::MIN, 1, line)), "-17014118346046923173168730371588410572.8");
        assert_eq!(text(|line| decimal(0, 2, line)), "0.00");
        assert_eq!(text(|line| decimal(0, 0, line)), "0");
        assert_eq!(text(|line| date(0, line)), "1970-01-01");
        assert_eq!(text(|line| date(19_782, line)), "2024-02-29");
        assert_eq!(text(|line| date(-1, line)), "1969-12-31");
        assert_eq!(text(|line| date(47_481, line)), "2099-12-31");
        assert_eq!(text(|line| date(47_482, line)), "2100-01-01");
        assert_eq!(text(|line| date(4_000_000_000, line)), "10953598-01-11");
        assert_eq!(text(|line| date(-719_528, line)), "0001-01-01 BC");
        assert_eq!(text(|line| date(2_932_897, line)), "10000-01-01");
        assert_eq!(text(|line| time(DAY_MICROS - 1, line)), "23:59:59.999999");
        assert_eq!(text(|line| time(3_723_000_004, line)), "01:02:03.000004");
        assert_eq!(text(|line| time(3_723_000_000, line)), "01:02:03");
        assert_eq!(text(|line| timestamp(0, true, line)), "1970-01-01 00:00:00+00");
        assert_eq!(text(|line| timestamp(-1, true, line)), "1969-12-31 23:59:59.999999+00");
    }
}
