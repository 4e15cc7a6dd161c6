//! Arrow batches to the lines of `COPY … (FORMAT text)`, for columns whose type only the server reads.
//!
//! One such column takes the whole load this way. Values of the other columns are written so that the
//! server reads exactly them: in ISO order, instants in UTC, floats by as many digits as they need.

use std::io::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;

use super::columns::Wire;
use super::encode::Output;

const DAY_MICROS: i64 = 86_400_000_000;

/// The columns of a batch.
pub(super) struct Columns<'a> {
    pub(super) wires: &'a [Wire],
    pub(super) arrays: &'a [ArrayRef],
    /// `_ls_row` of the first row, where rows are numbered.
    pub(super) first: Option<i64>,
    pub(super) rows: usize,
}

impl Columns<'_> {
    /// Writes rows from `row` on until the output holds `enough` bytes or all are written; returns the
    /// first row that is not.
    pub(super) fn write(&self, mut row: usize, out: &mut Output, enough: usize) -> usize {
        let mut line = Vec::new();
        while row < self.rows && out.length < enough {
            line.clear();
            if let Some(first) = self.first {
                shown(&mut line, format_args!("{}\t", first + row as i64));
            }
            for (index, (wire, array)) in self.wires.iter().zip(self.arrays).enumerate() {
                if index > 0 {
                    line.push(b'\t');
                }
                if array.is_null(row) {
                    line.extend_from_slice(br"\N");
                } else {
                    cell(*wire, array, row, &mut line);
                }
            }
            line.push(b'\n');
            out.extend(&line);
            row += 1;
        }
        row
    }
}

/// Writing into memory does not fail.
fn shown(line: &mut Vec<u8>, value: std::fmt::Arguments<'_>) {
    drop(line.write_fmt(value));
}

fn cell(wire: Wire, array: &ArrayRef, row: usize, line: &mut Vec<u8>) {
    match wire {
        Wire::Bool => line.push(if array.as_boolean().value(row) { b't' } else { b'f' }),
        Wire::Int2 => shown(line, format_args!("{}", array.as_primitive::<Int16Type>().value(row))),
        Wire::Int4 => shown(line, format_args!("{}", array.as_primitive::<Int32Type>().value(row))),
        Wire::Int8 => shown(line, format_args!("{}", array.as_primitive::<Int64Type>().value(row))),
        Wire::Float4 => shown(line, format_args!("{:e}", array.as_primitive::<Float32Type>().value(row))),
        Wire::Float8 => shown(line, format_args!("{:e}", array.as_primitive::<Float64Type>().value(row))),
        Wire::Numeric { scale } => decimal(array.as_primitive::<Decimal128Type>().value(row), scale, line),
        Wire::Date => date(i64::from(array.as_primitive::<Date32Type>().value(row)), line),
        Wire::Time => time(array.as_primitive::<Time64MicrosecondType>().value(row), line),
        Wire::Timestamp => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            let year = year_month_day(micros.div_euclid(DAY_MICROS)).0;
            civil(micros.div_euclid(DAY_MICROS), line);
            line.push(b' ');
            time(micros.rem_euclid(DAY_MICROS), line);
            if matches!(array.data_type(), DataType::Timestamp(_, Some(_))) {
                line.extend_from_slice(b"+00");
            }
            before_christ(year, line);
        }
        Wire::Uuid => {
            for byte in array.as_fixed_size_binary().value(row) {
                shown(line, format_args!("{byte:02x}"));
            }
        }
        Wire::Bytea => {
            line.extend_from_slice(br"\\x");
            for byte in array.as_binary_view().value(row) {
                shown(line, format_args!("{byte:02x}"));
            }
        }
        Wire::Text | Wire::Jsonb | Wire::Unknown => escaped(array.as_string_view().value(row), line),
    }
}

/// What would end a cell or a line, and the backslash itself, after a backslash.
fn escaped(text: &str, line: &mut Vec<u8>) {
    for &byte in text.as_bytes() {
        match byte {
            b'\\' => line.extend_from_slice(br"\\"),
            b'\t' => line.extend_from_slice(br"\t"),
            b'\n' => line.extend_from_slice(br"\n"),
            b'\r' => line.extend_from_slice(br"\r"),
            byte => line.push(byte),
        }
    }
}

fn decimal(value: i128, scale: u8, line: &mut Vec<u8>) {
    if value < 0 {
        line.push(b'-');
    }
    let scale = usize::from(scale);
    let digits = format!("{:0width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    line.extend_from_slice(whole.as_bytes());
    if scale > 0 {
        line.push(b'.');
        line.extend_from_slice(fraction.as_bytes());
    }
}

fn date(days: i64, line: &mut Vec<u8>) {
    civil(days, line);
    before_christ(year_month_day(days).0, line);
}

/// The year before 1 is 1 BC.
fn civil(days: i64, line: &mut Vec<u8>) {
    let (year, month, day) = year_month_day(days);
    let year = if year > 0 { year } else { 1 - year };
    shown(line, format_args!("{year:04}-{month:02}-{day:02}"));
}

fn before_christ(year: i64, line: &mut Vec<u8>) {
    if year < 1 {
        line.extend_from_slice(b" BC");
    }
}

fn time(micros: i64, line: &mut Vec<u8>) {
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    shown(line, format_args!("{hours:02}:{minutes:02}:{seconds:02}.{micros:06}"));
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
    fn values_are_written_as_the_server_reads_them() {
        assert_eq!(text(|line| decimal(-5, 2, line)), "-0.05");
        assert_eq!(text(|line| decimal(i128::from(u64::MAX), 0, line)), "18446744073709551615");
        assert_eq!(text(|line| date(0, line)), "1970-01-01");
        assert_eq!(text(|line| date(19_782, line)), "2024-02-29");
        assert_eq!(text(|line| date(-719_528, line)), "0001-01-01 BC");
        assert_eq!(text(|line| date(2_932_897, line)), "10000-01-01");
        assert_eq!(text(|line| time(DAY_MICROS - 1, line)), "23:59:59.999999");
        assert_eq!(text(|line| escaped("a\\N\tb\r\n", line)), r"a\\N\tb\r\n");
    }
}
