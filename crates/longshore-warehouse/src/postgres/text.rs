//! Arrow batches to the lines of `COPY … (FORMAT text)`, for columns whose type only the server reads.
//!
//! One such column takes the whole load this way. Values of the other columns are written so that the
//! server reads exactly them: in ISO order, instants in UTC, floats by as many digits as they need.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef};

use super::columns::Wire;
use super::encode::Output;
use crate::plain::{self, Cell, date, decimal, shown, time, timestamp, whole};

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
                put(&mut line, |cell| whole(first + row as i64, cell));
                line.push(b'\t');
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

fn cell(wire: Wire, array: &ArrayRef, row: usize, line: &mut Vec<u8>) {
    match wire {
        Wire::Bool => line.push(if array.as_boolean().value(row) { b't' } else { b'f' }),
        Wire::Int2 => put(line, |cell| whole(array.as_primitive::<Int16Type>().value(row), cell)),
        Wire::Int4 => put(line, |cell| whole(array.as_primitive::<Int32Type>().value(row), cell)),
        Wire::Int8 => put(line, |cell| whole(array.as_primitive::<Int64Type>().value(row), cell)),
        Wire::Float4 => {
            put(line, |cell| shown(format_args!("{:e}", array.as_primitive::<Float32Type>().value(row)), cell));
        }
        Wire::Float8 => {
            put(line, |cell| shown(format_args!("{:e}", array.as_primitive::<Float64Type>().value(row)), cell));
        }
        Wire::Numeric { scale } => {
            put(line, |cell| decimal(array.as_primitive::<Decimal128Type>().value(row), scale, cell));
        }
        Wire::Date => put(line, |cell| date(i64::from(array.as_primitive::<Date32Type>().value(row)), cell)),
        Wire::Time => put(line, |cell| time(array.as_primitive::<Time64MicrosecondType>().value(row), cell)),
        Wire::Timestamp | Wire::Instant => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            put(line, |cell| timestamp(micros, wire == Wire::Instant, cell));
        }
        Wire::Uuid => hex(array.as_fixed_size_binary().value(row), line),
        Wire::Bytea => {
            line.extend_from_slice(br"\\x");
            hex(array.as_binary_view().value(row), line);
        }
        Wire::Text | Wire::Jsonb | Wire::Unknown => escaped(array.as_string_view().value(row), line),
    }
}

/// Writes a value that fits a cell.
fn put(line: &mut Vec<u8>, write: impl FnOnce(&mut Cell) -> usize) {
    let at = line.len();
    line.resize(at + size_of::<Cell>(), 0);
    let length = write(plain::cell(line, at));
    line.truncate(at + length);
}

fn hex(bytes: &[u8], line: &mut Vec<u8>) {
    for byte in bytes {
        line.extend_from_slice(&plain::hex(*byte));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_cell_is_escaped() {
        let mut line = Vec::new();
        escaped("a\\N\tb\r\n", &mut line);
        assert_eq!(String::from_utf8(line).unwrap(), r"a\\N\tb\r\n");
    }
}
