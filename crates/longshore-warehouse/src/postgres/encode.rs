//! Arrow batches to the bytes of `COPY … (FORMAT binary)`.
//!
//! Row by row, one pass, into a buffer that is there already. A cell costs a branch on its column's
//! kind, which repeats from row to row, and a copy of a few bytes; nothing is allotted but when a
//! text is longer than what is left of the buffer.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_buffer::{Buffer, NullBuffer};

use super::columns::Wire;

/// What opens a binary COPY: signature, flags, no extension.
pub(super) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What closes it.
pub(super) const TRAILER: &[u8] = &[0xff, 0xff];

/// Days from 1970 to 2000, from which PostgreSQL counts.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// The most bytes of a cell whose length is bounded: a numeric has up to 12 groups of digits.
const MOST_FIXED: usize = 4 + 8 + 2 * 12;

/// A buffer that is written from its start; what lies behind `length` is left over.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) bytes: Vec<u8>,
    pub(super) length: usize,
}

impl Output {
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        room(&mut self.bytes, self.length, bytes.len());
        self.length = put_slice(bytes, &mut self.bytes, self.length);
    }
}

/// Makes room for so many bytes more.
#[inline]
fn room(out: &mut Vec<u8>, at: usize, bytes: usize) {
    if out.len() - at < bytes {
        out.resize((at + bytes).next_power_of_two(), 0);
    }
}

#[inline]
fn put<const N: usize>(cell: [u8; N], out: &mut [u8], at: usize) -> usize {
    put_slice(&cell, out, at)
}

#[inline]
fn put_slice(cell: &[u8], out: &mut [u8], at: usize) -> usize {
    out[at..at + cell.len()].copy_from_slice(cell);
    at + cell.len()
}

/// The columns of a batch, ready to be read row by row.
pub(super) struct Columns<'a> {
    columns: Vec<Column<'a>>,
    /// `_ls_row` of the first row, where rows are numbered.
    first: Option<i64>,
    /// Room for a row but for its texts.
    fixed: usize,
    rows: usize,
}

struct Column<'a> {
    nulls: Option<&'a NullBuffer>,
    cells: Cells<'a>,
}

enum Cells<'a> {
    Bool(&'a BooleanArray),
    Int2(&'a [i16]),
    Int4(&'a [i32]),
    Int8(&'a [i64]),
    Float4(&'a [f32]),
    Float8(&'a [f64]),
    Numeric(&'a [i128], Shape),
    Date(&'a [i32]),
    Timestamp(&'a [i64]),
    Uuid(&'a [u8]),
    Bytes { views: &'a [u128], buffers: &'a [Buffer] },
    Jsonb { views: &'a [u128], buffers: &'a [Buffer] },
}

/// How a decimal of some scale falls into groups of four digits.
#[derive(Debug, Clone, Copy)]
struct Shape {
    scale: u8,
    /// Groups after the point.
    groups: i16,
    /// The last group is a number below `least`, times `factor`.
    least: u64,
    factor: u64,
}

impl Shape {
    const fn new(scale: u8) -> Self {
        let digits = match scale % 4 {
            0 => 4,
            digits => digits as u32,
        };
        Self { scale, groups: (scale as i16 + 3) / 4, least: 10_u64.pow(digits), factor: 10_u64.pow(4 - digits) }
    }

    /// All but the last group, as a number, and the last group.
    #[inline]
    fn part(self, size: u64) -> (u64, u64) {
        // Dividing by a number that the compiler knows is a multiplication.
        let (rest, last) = match self.least {
            100 => (size / 100, size % 100),
            10_000 => (size / 10_000, size % 10_000),
            least => (size / least, size % least),
        };
        (rest, last * self.factor)
    }
}

impl<'a> Columns<'a> {
    /// The columns of a batch that was found to be of these kinds.
    pub(super) fn new(wires: &[Wire], arrays: &'a [ArrayRef], rows: usize, first: Option<i64>) -> Self {
        let columns: Vec<Column<'a>> = wires
            .iter()
            .zip(arrays)
            .map(|(wire, array)| Column {
                nulls: array.nulls().filter(|nulls| nulls.null_count() > 0),
                cells: cells(*wire, array),
            })
            .collect();
        Self { fixed: 2 + 12 + columns.len() * MOST_FIXED, columns, first, rows }
    }

    /// Writes rows from `row` on until the output holds `enough` bytes or all are written; returns the
    /// first row that is not.
    pub(super) fn write(&self, mut row: usize, out: &mut Output, enough: usize) -> usize {
        let count = self.columns.len() + usize::from(self.first.is_some());
        let head = (count as u16).to_be_bytes();
        let Output { bytes, length } = out;
        while row < self.rows && *length < enough {
            // Where the next cell goes is a local, so that it can stay in a register from cell to cell.
            let mut at = *length;
            room(bytes, at, self.fixed);
            at = put(head, bytes, at);
            if let Some(first) = self.first {
                at = put(with_length::<12>(&(first + row as i64).to_be_bytes()), bytes, at);
            }
            for column in &self.columns {
                if let Some(nulls) = column.nulls
                    && nulls.is_null(row)
                {
                    at = put([0xff; 4], bytes, at);
                } else {
                    at = self.cell(&column.cells, row, bytes, at);
                }
            }
            *length = at;
            row += 1;
        }
        row
    }

    #[inline]
    fn cell(&self, cells: &Cells<'_>, row: usize, out: &mut Vec<u8>, at: usize) -> usize {
        match cells {
            Cells::Bool(array) => put([0, 0, 0, 1, u8::from(array.value(row))], out, at),
            Cells::Int2(values) => put(with_length::<6>(&values[row].to_be_bytes()), out, at),
            Cells::Int4(values) => put(with_length::<8>(&values[row].to_be_bytes()), out, at),
            Cells::Int8(values) => put(with_length::<12>(&values[row].to_be_bytes()), out, at),
            Cells::Float4(values) => put(with_length::<8>(&values[row].to_be_bytes()), out, at),
            Cells::Float8(values) => put(with_length::<12>(&values[row].to_be_bytes()), out, at),
            Cells::Numeric(values, shape) => numeric(values[row], *shape, out, at),
            Cells::Date(values) => put(with_length::<8>(&date(values[row]).to_be_bytes()), out, at),
            Cells::Timestamp(values) => put(with_length::<12>(&instant(values[row]).to_be_bytes()), out, at),
            Cells::Uuid(values) => put(with_length::<20>(&values[row * 16..row * 16 + 16]), out, at),
            Cells::Bytes { views, buffers } => self.bytes(views[row], buffers, &[], out, at),
            Cells::Jsonb { views, buffers } => self.bytes(views[row], buffers, &[1], out, at),
        }
    }

    /// A text or bytes, from an Arrow view: the length, then up to twelve bytes or where they are.
    #[inline]
    fn bytes(&self, view: u128, buffers: &[Buffer], prefix: &[u8], out: &mut Vec<u8>, at: usize) -> usize {
        let length = view as u32;
        let at = put((length + prefix.len() as u32).to_be_bytes(), out, at);
        let at = put_slice(prefix, out, at);
        if length <= 12 {
            // All twelve are copied, and those too many are written over by the next cell.
            put_slice(&view.to_le_bytes()[4..], out, at);
            at + length as usize
        } else {
            let (buffer, offset) = ((view >> 64) as u32 as usize, (view >> 96) as u32 as usize);
            let text = &buffers[buffer].as_slice()[offset..offset + length as usize];
            room(out, at, text.len() + self.fixed);
            put_slice(text, out, at)
        }
    }
}

/// A value after its length.
#[inline]
fn with_length<const N: usize>(value: &[u8]) -> [u8; N] {
    let mut cell = [0; N];
    cell[3] = (N - 4) as u8;
    cell[4..].copy_from_slice(value);
    cell
}

/// Days since 2000. A day that PostgreSQL cannot have is sent as one that it refuses: what follows its
/// greatest and precedes its least stands for infinity.
fn date(days: i32) -> i32 {
    match days.checked_sub(EPOCH_DAYS) {
        Some(days) if days != i32::MAX && days != i32::MIN => days,
        _ => i32::MIN + 1,
    }
}

/// Microseconds since 2000, with the same care.
fn instant(micros: i64) -> i64 {
    match micros.checked_sub(EPOCH_MICROS) {
        Some(micros) if micros != i64::MAX && micros != i64::MIN => micros,
        _ => i64::MIN + 1,
    }
}

/// Groups of four digits, the greatest first, with the place of the first.
#[inline]
fn numeric(value: i128, shape: Shape, out: &mut [u8], at: usize) -> usize {
    let (size, is_negative) = (value.unsigned_abs(), value < 0);
    match u64::try_from(size).map(|size| shape.part(size)) {
        Ok((rest, last)) if rest < 1_000_000_000_000 => {
            let (higher, second) = (rest / 10_000, rest % 10_000);
            let groups = (higher / 10_000) << 48 | (higher % 10_000) << 32 | second << 16 | last;
            let count = (79 - groups.leading_zeros()) / 16;
            let at = put_head(count as u16, is_negative, shape, out, at);
            // All four are copied, and those too many are written over by the next cell.
            put(groups.rotate_left(64 - 16 * count).to_be_bytes(), out, at);
            at + 2 * count as usize
        }
        _ => long_numeric(size, is_negative, shape, out, at),
    }
}

/// A numeric of more than four groups.
#[inline(never)]
fn long_numeric(size: u128, is_negative: bool, shape: Shape, out: &mut [u8], mut at: usize) -> usize {
    let mut groups = [0_u16; 12];
    let mut first = groups.len() - 1;
    groups[first] = (size % u128::from(shape.least)) as u16 * shape.factor as u16;
    let mut rest = size / u128::from(shape.least);
    while rest > 0 {
        first -= 1;
        groups[first] = (rest % 10_000) as u16;
        rest /= 10_000;
    }
    at = put_head((groups.len() - first) as u16, is_negative, shape, out, at);
    for group in &groups[first..] {
        at = put(group.to_be_bytes(), out, at);
    }
    at
}

/// What stands before the groups of a numeric: its length, how many they are, the place of the first, the sign and
/// the scale.
#[inline]
fn put_head(count: u16, is_negative: bool, shape: Shape, out: &mut [u8], at: usize) -> usize {
    let weight = if count == 0 { 0 } else { count.cast_signed() - shape.groups - 1 };
    let head = (u128::from(8 + 2 * count) << 64)
        | (u128::from(count) << 48)
        | (u128::from(weight.cast_unsigned()) << 32)
        | (u128::from(is_negative) << 30)
        | u128::from(shape.scale);
    put_slice(&head.to_be_bytes()[4..], out, at)
}

fn cells<'a>(wire: Wire, array: &'a ArrayRef) -> Cells<'a> {
    match wire {
        Wire::Bool => Cells::Bool(array.as_boolean()),
        Wire::Int2 => Cells::Int2(array.as_primitive::<Int16Type>().values()),
        Wire::Int4 => Cells::Int4(array.as_primitive::<Int32Type>().values()),
        Wire::Int8 => Cells::Int8(array.as_primitive::<Int64Type>().values()),
        Wire::Float4 => Cells::Float4(array.as_primitive::<Float32Type>().values()),
        Wire::Float8 => Cells::Float8(array.as_primitive::<Float64Type>().values()),
        Wire::Numeric { scale } => Cells::Numeric(array.as_primitive::<Decimal128Type>().values(), Shape::new(scale)),
        Wire::Date => Cells::Date(array.as_primitive::<Date32Type>().values()),
        Wire::Time => Cells::Int8(array.as_primitive::<Time64MicrosecondType>().values()),
        Wire::Timestamp | Wire::Instant => Cells::Timestamp(array.as_primitive::<TimestampMicrosecondType>().values()),
        Wire::Uuid => Cells::Uuid(array.as_fixed_size_binary().value_data()),
        Wire::Text | Wire::Unknown => {
            let array = array.as_string_view();
            Cells::Bytes { views: array.views(), buffers: array.data_buffers() }
        }
        Wire::Jsonb => {
            let array = array.as_string_view();
            Cells::Jsonb { views: array.views(), buffers: array.data_buffers() }
        }
        Wire::Bytea => {
            let array = array.as_binary_view();
            Cells::Bytes { views: array.views(), buffers: array.data_buffers() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A numeric as its digits say it, by PostgreSQL's `numeric_send`.
    fn by_digits(value: i128, scale: u8) -> Vec<u8> {
        let scale = usize::from(scale);
        let digits = format!("{:0width$}", value.unsigned_abs(), width = scale + 1);
        let (before, after) = digits.split_at(digits.len() - scale);
        let (whole, fraction) = (before.len().div_ceil(4), after.len().div_ceil(4));
        let text = format!(
            "{before:0>before_width$}{after:0<after_width$}",
            before_width = 4 * whole,
            after_width = 4 * fraction
        );
        let groups: Vec<u16> = (0..text.len()).step_by(4).map(|at| text[at..at + 4].parse().unwrap()).collect();
        let zeros = groups.iter().take_while(|group| **group == 0).count();
        let groups = &groups[zeros..];
        let weight = if groups.is_empty() { 0 } else { whole as i16 - 1 - zeros as i16 };
        let mut bytes = (8 + 2 * groups.len() as u32).to_be_bytes().to_vec();
        for short in [groups.len() as u16, weight as u16, if value < 0 { 0x4000 } else { 0 }, scale as u16] {
            bytes.extend(short.to_be_bytes());
        }
        groups.iter().for_each(|group| bytes.extend(group.to_be_bytes()));
        bytes
    }

    #[test]
    fn a_numeric_is_what_its_digits_say() {
        for scale in 0..=38 {
            for exponent in 0..=38 {
                let power = 10_i128.pow(exponent);
                for value in [power - 1, power, power + 1, power / 7 * 3, 1 - power, -power, power / 9 * 8] {
                    let mut out = [0xaa; 64];
                    let end = numeric(value, Shape::new(scale), &mut out, 1);
                    assert_eq!(out[1..end], by_digits(value, scale), "{value} at scale {scale}");
                    assert!(end - 1 <= MOST_FIXED);
                }
            }
        }
    }
}
