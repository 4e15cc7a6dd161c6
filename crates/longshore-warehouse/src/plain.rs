//! Values as plain text that any server reads as exactly them: in ISO order, instants in UTC.

use std::io::Write;

/// Microseconds of a day.
const DAY_MICROS: i64 = 86_400_000_000;

/// Writing into memory does not fail.
pub(crate) fn shown(line: &mut Vec<u8>, value: std::fmt::Arguments<'_>) {
    drop(line.write_fmt(value));
}

/// A number with so many digits after its point.
pub(crate) fn decimal(value: i128, scale: u8, line: &mut Vec<u8>) {
    // The greatest has 39 digits, and a point.
    let mut digits = [b'0'; 40];
    let (mut at, mut left, scale) = (digits.len(), value.unsigned_abs(), usize::from(scale));
    let mut written = 0;
    while left > 0 || written <= scale {
        if written == scale && scale > 0 {
            at -= 1;
            digits[at] = b'.';
        }
        at -= 1;
        digits[at] = match u64::try_from(left) {
            // Division of what fits is several times as fast.
            Ok(small) => {
                left = u128::from(small / 10);
                b'0' + (small % 10) as u8
            }
            Err(_) => {
                let digit = b'0' + (left % 10) as u8;
                left /= 10;
                digit
            }
        };
        written += 1;
    }
    if value < 0 {
        line.push(b'-');
    }
    line.extend_from_slice(&digits[at..]);
}

/// A day, counted from the first of 1970.
pub(crate) fn date(days: i64, line: &mut Vec<u8>) {
    civil(days, line);
    before_christ(year_month_day(days).0, line);
}

/// A day and time, counted from the turn of 1970; `is_instant`: with the offset of UTC.
pub(crate) fn timestamp(micros: i64, is_instant: bool, line: &mut Vec<u8>) {
    let day = micros.div_euclid(DAY_MICROS);
    civil(day, line);
    line.push(b' ');
    time(micros.rem_euclid(DAY_MICROS), line);
    if is_instant {
        line.extend_from_slice(b"+00");
    }
    before_christ(year_month_day(day).0, line);
}

/// The year before 1 is 1 BC.
fn civil(days: i64, line: &mut Vec<u8>) {
    let (year, month, day) = year_month_day(days);
    let year = if year > 0 { year } else { 1 - year };
    if year < 10_000 {
        two(year / 100, line);
        two(year % 100, line);
    } else {
        shown(line, format_args!("{year}"));
    }
    line.push(b'-');
    two(month, line);
    line.push(b'-');
    two(day, line);
}

/// A number below 100 in two digits.
fn two(number: i64, line: &mut Vec<u8>) {
    line.extend_from_slice(&[b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]);
}

fn before_christ(year: i64, line: &mut Vec<u8>) {
    if year < 1 {
        line.extend_from_slice(b" BC");
    }
}

/// A time of day with six digits of a second.
pub(crate) fn time(micros: i64, line: &mut Vec<u8>) {
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    two(seconds / 3600, line);
    line.push(b':');
    two(seconds / 60 % 60, line);
    line.push(b':');
    two(seconds % 60, line);
    line.push(b'.');
    for pair in [micros / 10_000, micros / 100 % 100, micros % 100] {
        two(pair, line);
    }
}

/// The day of the Gregorian calendar so many days after the first of 1970, by eras of 400 years that
/// begin in March.
fn year_month_day(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let (day, month) = (day_of_year - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut line = Vec::new();
        write(&mut line);
        String::from_utf8(line).unwrap()
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
        assert_eq!(text(|line| date(-719_528, line)), "0001-01-01 BC");
        assert_eq!(text(|line| date(2_932_897, line)), "10000-01-01");
        assert_eq!(text(|line| time(DAY_MICROS - 1, line)), "23:59:59.999999");
        assert_eq!(text(|line| timestamp(-1, true, line)), "1969-12-31 23:59:59.999999+00");
    }
}
