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
        self.room(bytes.len());
        self.put_slice(bytes);
    }

    fn room(&mut self, bytes: usize) {
        if self.bytes.len() - self.length < bytes {
            let grown = (self.length + bytes).next_power_of_two();
            self.bytes.resize(grown, 0);
        }
    }

    fn put<const N: usize>(&mut self, cell: [u8; N]) {
        self.put_slice(&cell);
    }

    fn put_slice(&mut self, cell: &[u8]) {
        let end = self.length + cell.len();
        self.bytes[self.length..end].copy_from_slice(cell);
        self.length = end;
    }
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
        while row < self.rows && out.length < enough {
            out.room(self.fixed);
            out.put(head);
            if let Some(first) = self.first {
                out.put(with_length::<12>(&(first + row as i64).to_be_bytes()));
            }
            for column in &self.columns {
                if let Some(nulls) = column.nulls
                    && nulls.is_null(row)
                {
                    out.put([0xff; 4]);
                } else {
                    self.cell(&column.cells, row, out);
                }
            }
            row += 1;
        }
        row
    }

    #[inline]
    fn cell(&self, cells: &Cells<'_>, row: usize, out: &mut Output) {
        match cells {
            Cells::Bool(array) => out.put([0, 0, 0, 1, u8::from(array.value(row))]),
            Cells::Int2(values) => out.put(with_length::<6>(&values[row].to_be_bytes())),
            Cells::Int4(values) => out.put(with_length::<8>(&values[row].to_be_bytes())),
            Cells::Int8(values) => out.put(with_length::<12>(&values[row].to_be_bytes())),
            Cells::Float4(values) => out.put(with_length::<8>(&values[row].to_be_bytes())),
            Cells::Float8(values) => out.put(with_length::<12>(&values[row].to_be_bytes())),
            Cells::Numeric(values, shape) => numeric(values[row], *shape, out),
            Cells::Date(values) => out.put(with_length::<8>(&date(values[row]).to_be_bytes())),
            Cells::Timestamp(values) => out.put(with_length::<12>(&instant(values[row]).to_be_bytes())),
            Cells::Uuid(values) => out.put(with_length::<20>(&values[row * 16..row * 16 + 16])),
            Cells::Bytes { views, buffers } => self.bytes(views[row], buffers, &[], out),
            Cells::Jsonb { views, buffers } => self.bytes(views[row], buffers, &[1], out),
        }
    }

    /// A text or bytes, from an Arrow view: the length, then up to twelve bytes or where they are.
    #[inline]
    fn bytes(&self, view: u128, buffers: &[Buffer], prefix: &[u8], out: &mut Output) {
        let length = view as u32;
        out.put((length + prefix.len() as u32).to_be_bytes());
        out.put_slice(prefix);
        if length <= 12 {
            // All twelve are copied, and those too many are written over by the next cell.
            let inline = &view.to_le_bytes()[4..];
            let end = out.length + 12;
            out.bytes[out.length..end].copy_from_slice(inline);
            out.length += length as usize;
        } else {
            let (buffer, offset) = ((view >> 64) as u32 as usize, (view >> 96) as u32 as usize);
            let text = &buffers[buffer].as_slice()[offset..offset + length as usize];
            out.room(text.len() + self.fixed);
            out.put_slice(text);
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
fn numeric(value: i128, shape: Shape, out: &mut Output) {
    let mut groups = [0_u16; 12];
    let mut at = groups.len();
    let mut push = |group: u64| {
        at -= 1;
        groups[at] = group as u16;
    };
    let rest = value.unsigned_abs();
    let mut rest = match u64::try_from(rest) {
        Ok(rest) => {
            push(rest % shape.least * shape.factor);
            rest / shape.least
        }
        Err(_) => {
            push((rest % u128::from(shape.least)) as u64 * shape.factor);
            let mut rest = rest / u128::from(shape.least);
            while rest > u128::from(u64::MAX) {
                push((rest % 10_000) as u64);
                rest /= 10_000;
            }
            rest as u64
        }
    };
    while rest > 0 {
        push(rest % 10_000);
        rest /= 10_000;
    }
    let mut digits = &groups[at..];
    let weight = match digits {
        [0] => {
            digits = &[];
            0
        }
        digits => digits.len() as i16 - shape.groups - 1,
    };
    let length = (8 + 2 * digits.len()) as u32;
    let sign: u16 = if value < 0 { 0x4000 } else { 0 };
    let head = (u128::from(length) << 64)
        | (u128::from(digits.len() as u16) << 48)
        | (u128::from(weight as u16) << 32)
        | (u128::from(sign) << 16)
        | u128::from(shape.scale);
    let head = head.to_be_bytes();
    out.put_slice(&head[4..]);
    for digit in digits {
        out.put(digit.to_be_bytes());
    }
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
        Wire::Timestamp => Cells::Timestamp(array.as_primitive::<TimestampMicrosecondType>().values()),
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
