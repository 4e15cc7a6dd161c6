//! Fields of many rows in, Arrow columns out, one column after the other.
//!
//! Values go into plain vectors; rows that are NULL and rows that do not fit are remembered by
//! their number. A row that does not fit stays in its place until the batch ends, and is then
//! taken out of all columns at once.

use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BinaryViewArray, BooleanArray, FixedSizeBinaryArray, PrimitiveArray, StringViewArray,
};
use arrow_buffer::{BooleanBuffer, Buffer, MutableBuffer, NullBuffer, ScalarBuffer};
use arrow_schema::{DataType, TimeUnit};

use crate::split::{Dialect, Row};
use crate::values::boolean::Boolean;
use crate::values::date::Date;
use crate::values::decimal::Decimal;
use crate::values::float::{Double, Single};
use crate::values::integer::Integer;
use crate::values::text::{Cell, Limit, NullTexts, trim_by, unquote};
use crate::values::time::Time;
use crate::values::timestamp::Timestamp;
use crate::values::uuid::{Uuid, read_bytes};
use crate::values::{Fault, Parse, Scratch, is_blank, json, trim};
use crate::{Bound, Column, Rule, Trim, Type};

/// Some rows of a window, all with as many fields as there should be.
pub(crate) struct Stretch<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) ends: &'a [u32],
    pub(crate) rows: &'a [Row],
    pub(crate) dialect: Dialect,
    pub(crate) has_quotes: bool,
    /// Whether a field in quotes may hold quotes or escapes.
    pub(crate) is_tricky: bool,
    /// Whether records are wanted as they stand.
    pub(crate) keeps_verbatim: bool,
    /// Which of the batch's buffers `text` lies in, and where.
    pub(crate) buffer: u32,
    pub(crate) offset: u32,
}

impl Stretch<'_> {
    /// Where a field of a row begins and ends.
    #[inline(always)]
    pub(crate) fn bounds(&self, row: &Row, field: usize) -> (usize, usize) {
        let at = row.first as usize + field;
        let start = if field == 0 { row.start } else { self.ends[at - 1] + 1 };
        (start as usize, self.ends[at] as usize)
    }

    /// Text of a row, without its line end.
    #[inline(always)]
    pub(crate) fn record(&self, row: &Row) -> &[u8] {
        &self.text[row.start as usize..self.ends[(row.first + row.count - 1) as usize] as usize]
    }

    pub(crate) fn raw(&self, row: usize, field: usize) -> &[u8] {
        let (start, end) = self.bounds(&self.rows[row], field);
        &self.text[start..end]
    }
}

/// A fault, the row of the stretch and the field it lies in.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) row: u32,
    pub(crate) field: u32,
    pub(crate) fault: Fault,
}

/// What columns write to besides their values.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) faults: Vec<Found>,
    pub(crate) scratch: Scratch,
    /// Rows of the stretch, in no order, with a value whose text could be read otherwise: they are to be written anew.
    pub(crate) rewritten: Vec<u32>,
    cell: Vec<u8>,
    careful: Vec<u32>,
}

impl Notes {
    /// These rows were read with care, which no value needs whose text can be read in one way only.
    fn rewrite(&mut self, careful: Vec<u32>, keeps_verbatim: bool) {
        if keeps_verbatim {
            self.rewritten.extend_from_slice(&careful);
        }
        self.careful = careful;
    }
}

/// One column of a batch that is being filled.
pub(crate) trait Builder: Send {
    /// Takes a field of all rows of the stretch.
    fn append(&mut self, stretch: &Stretch<'_>, field: usize, notes: &mut Notes);

    /// Whether texts of this column may be passed on as they stand.
    fn may_be_verbatim(&self) -> bool;

    /// Takes rows out, by their numbers in the batch, ascending.
    fn remove(&mut self, rows: &[u32]);

    /// The column, after which the builder is empty; and how many of its values lost digits.
    fn finish(&mut self, buffers: &[Buffer]) -> (ArrayRef, u64);
}

/// A builder for a column.
pub(crate) fn builder(column: &Column, dialect: Dialect) -> Box<dyn Builder> {
    let rules = &column.rules;
    match &column.ty {
        Type::Boolean => values(column, Boolean, |values: Vec<bool>, nulls| {
            Arc::new(BooleanArray::new(BooleanBuffer::from(values), nulls))
        }),
        Type::Int8 => primitive::<_, Int8Type>(column, Integer::<i8>::new(rules)),
        Type::Int16 => primitive::<_, Int16Type>(column, Integer::<i16>::new(rules)),
        Type::Int32 => primitive::<_, Int32Type>(column, Integer::<i32>::new(rules)),
        Type::Int64 => primitive::<_, Int64Type>(column, Integer::<i64>::new(rules)),
        Type::UInt8 => primitive::<_, UInt8Type>(column, Integer::<u8>::new(rules)),
        Type::UInt16 => primitive::<_, UInt16Type>(column, Integer::<u16>::new(rules)),
        Type::UInt32 => primitive::<_, UInt32Type>(column, Integer::<u32>::new(rules)),
        Type::UInt64 => primitive::<_, UInt64Type>(column, Integer::<u64>::new(rules)),
        Type::Decimal { precision, scale } => {
            primitive::<_, Decimal128Type>(column, Decimal::new(*precision, *scale, rules).within(column.bound))
        }
        Type::Float32 => primitive::<_, Float32Type>(column, Single::new(rules).within(column.bound)),
        Type::Float64 => primitive::<_, Float64Type>(column, Double::new(rules).within(column.bound)),
        Type::Date => primitive::<_, Date32Type>(column, Date::new(rules)),
        Type::Time => primitive::<_, Time64MicrosecondType>(column, Time),
        Type::Timestamp => primitive::<_, TimestampMicrosecondType>(column, Timestamp::local(rules)),
        Type::TimestampTz => primitive::<_, TimestampMicrosecondType>(column, Timestamp::instant(rules)),
        Type::Uuid => values(column, Uuid, |values: Vec<[u8; 16]>, nulls| {
            let bytes = Buffer::from_vec(values.into_flattened());
            Arc::new(FixedSizeBinaryArray::new(16, bytes, nulls))
        }),
        Type::Text { .. } | Type::Enum(_) | Type::Json | Type::Bytes | Type::Opaque => {
            Box::new(Texts::new(column, dialect))
        }
    }
}

/// The Arrow type of a column.
pub(crate) fn data_type(ty: &Type) -> DataType {
    match ty {
        Type::Boolean => DataType::Boolean,
        Type::Int8 => DataType::Int8,
        Type::Int16 => DataType::Int16,
        Type::Int32 => DataType::Int32,
        Type::Int64 => DataType::Int64,
        Type::UInt8 => DataType::UInt8,
        Type::UInt16 => DataType::UInt16,
        Type::UInt32 => DataType::UInt32,
        Type::UInt64 => DataType::UInt64,
        Type::Decimal { precision, scale } => DataType::Decimal128(*precision, scale.cast_signed()),
        Type::Float32 => DataType::Float32,
        Type::Float64 => DataType::Float64,
        Type::Date => DataType::Date32,
        Type::Time => DataType::Time64(TimeUnit::Microsecond),
        Type::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        Type::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Type::Uuid => DataType::FixedSizeBinary(16),
        Type::Bytes => DataType::BinaryView,
        Type::Text { .. } | Type::Enum(_) | Type::Json | Type::Opaque => DataType::Utf8View,
    }
}

fn primitive<P, A>(column: &Column, parser: P) -> Box<dyn Builder>
where
    P: Parse<Native = A::Native> + Send + 'static,
    A: ArrowPrimitiveType,
    A::Native: Send,
{
    let ty = data_type(&column.ty);
    values(column, parser, move |values, nulls| {
        let array = PrimitiveArray::<A>::new(ScalarBuffer::from(values), nulls);
        Arc::new(array.with_data_type(ty.clone()))
    })
}

fn values<P>(
    column: &Column,
    parser: P,
    make: impl Fn(Vec<P::Native>, Option<NullBuffer>) -> ArrayRef + Send + 'static,
) -> Box<dyn Builder>
where
    P: Parse + Send + 'static,
    P::Native: Send,
{
    let nulls = Nulls::new(column);
    let mut scratch = Scratch::default();
    // A NULL text that could be taken for a value has to be looked for in every field.
    let is_unambiguous = nulls.texts.texts().iter().all(|text| {
        let text = trim(text);
        text.is_empty() || parser.careful(text, &mut scratch).is_err()
    });
    Box::new(Values { parser, make, nulls, values: Vec::new(), rounded: Vec::new(), is_unambiguous })
}

/// Rows that are NULL.
struct Nulls {
    texts: NullTexts,
    required: bool,
    rows: Vec<u32>,
}

impl Nulls {
    fn new(column: &Column) -> Self {
        Self { texts: NullTexts::new(&column.rules), required: column.required, rows: Vec::new() }
    }

    /// Makes a row of the batch NULL, if the column takes it.
    fn push(&mut self, row: u32) -> Result<(), Fault> {
        if self.required {
            return Err(Fault::new(Rule::NotNull, "expected a value, found NULL"));
        }
        self.rows.push(row);
        Ok(())
    }

    fn finish(&mut self, len: usize) -> Option<NullBuffer> {
        if self.rows.is_empty() {
            return None;
        }
        let mut bits = MutableBuffer::new(0);
        bits.resize(len.div_ceil(8), 0xFF);
        for row in self.rows.drain(..) {
            bits[row as usize / 8] &= !(1 << (row % 8));
        }
        Some(NullBuffer::new(BooleanBuffer::new(bits.into(), 0, len)))
    }
}

/// Takes the values at these places out.
pub(crate) fn remove_at<T: Copy>(values: &mut Vec<T>, rows: &[u32]) {
    let Some(first) = rows.first() else { return };
    let mut to = *first as usize;
    for (index, row) in rows.iter().enumerate() {
        let from = *row as usize + 1;
        let until = rows.get(index + 1).map_or(values.len(), |next| *next as usize);
        values.copy_within(from..until, to);
        to += until - from;
    }
    values.truncate(to);
}

/// Takes rows out of a list of row numbers, and closes the gaps in their numbering.
fn remove_rows(list: &mut Vec<u32>, rows: &[u32]) {
    let mut gone = 0;
    list.retain_mut(|row| {
        while gone < rows.len() && rows[gone] < *row {
            gone += 1;
        }
        let stays = rows.get(gone) != Some(row);
        *row -= gone as u32;
        stays
    });
}

/// Values of fixed size.
struct Values<P: Parse, M> {
    parser: P,
    make: M,
    nulls: Nulls,
    values: Vec<P::Native>,
    rounded: Vec<u32>,
    is_unambiguous: bool,
}

impl<P, M> Values<P, M>
where
    P: Parse,
{
    /// Reads what the fast way can read; notes the rows of the others.
    #[inline(always)]
    fn append_fast<const FIRST: bool, const VERBATIM: bool>(
        &mut self,
        stretch: &Stretch<'_>,
        field: usize,
        careful: &mut Vec<u32>,
        rewritten: &mut Vec<u32>,
    ) {
        let parser = &self.parser;
        self.values.extend(stretch.rows.iter().enumerate().map(|(index, row)| {
            let (start, end) = stretch.bounds(row, if FIRST { 0 } else { field });
            if start < end
                && let Some(value) = parser.fast(stretch.text, start, end)
            {
                if VERBATIM && !parser.is_verbatim(stretch.text, start, end, value) {
                    rewritten.push(index as u32);
                }
                return value;
            }
            careful.push(index as u32);
            P::Native::default()
        }));
    }

    fn append_careful(&mut self, raw: &[u8], row: u32, dialect: Dialect, notes: &mut Notes) -> Result<(), Fault> {
        let cell = unquote(raw, dialect, &mut notes.cell)?;
        let text = trim(cell.text);
        // The raw text too: an escape may be part of a NULL text.
        if text.is_empty() || self.nulls.texts.contains(cell.text) || self.nulls.texts.contains(raw) {
            return self.nulls.push(row);
        }
        notes.scratch.rounded = false;
        self.values[row as usize] = self.parser.careful(text, &mut notes.scratch)?;
        if notes.scratch.rounded {
            self.rounded.push(row);
        }
        Ok(())
    }
}

impl<P, M> Builder for Values<P, M>
where
    P: Parse + Send,
    P::Native: Send,
    M: Fn(Vec<P::Native>, Option<NullBuffer>) -> ArrayRef + Send,
{
    fn append(&mut self, stretch: &Stretch<'_>, field: usize, notes: &mut Notes) {
        let base = self.values.len() as u32;
        let mut careful = std::mem::take(&mut notes.careful);
        careful.clear();
        if !self.is_unambiguous {
            careful.extend(0..stretch.rows.len() as u32);
            self.values.extend(std::iter::repeat_n(P::Native::default(), stretch.rows.len()));
        } else {
            let rewritten = &mut notes.rewritten;
            match (field == 0, stretch.keeps_verbatim) {
                (true, true) => self.append_fast::<true, true>(stretch, 0, &mut careful, rewritten),
                (true, false) => self.append_fast::<true, false>(stretch, 0, &mut careful, rewritten),
                (false, true) => self.append_fast::<false, true>(stretch, field, &mut careful, rewritten),
                (false, false) => self.append_fast::<false, false>(stretch, field, &mut careful, rewritten),
            }
        }
        for row in &careful {
            let raw = stretch.raw(*row as usize, field);
            if let Err(fault) = self.append_careful(raw, base + row, stretch.dialect, notes) {
                notes.faults.push(Found { row: *row, field: field as u32, fault });
            }
        }
        notes.rewrite(careful, stretch.keeps_verbatim);
    }

    fn may_be_verbatim(&self) -> bool {
        self.parser.may_be_verbatim() && self.is_unambiguous
    }

    fn remove(&mut self, rows: &[u32]) {
        remove_at(&mut self.values, rows);
        remove_rows(&mut self.nulls.rows, rows);
        remove_rows(&mut self.rounded, rows);
    }

    fn finish(&mut self, _buffers: &[Buffer]) -> (ArrayRef, u64) {
        let room = self.values.len();
        let values = std::mem::replace(&mut self.values, Vec::with_capacity(room));
        let nulls = self.nulls.finish(values.len());
        let rounded = self.rounded.drain(..).len() as u64;
        ((self.make)(values, nulls), rounded)
    }
}

/// Texts and bytes: views into the buffers they came in.
struct Texts {
    ty: Type,
    limit: Limit,
    trim: Trim,
    nulls: Nulls,
    /// Whether a field without quotes may be taken as it is.
    is_plain: bool,
    surely: usize,
    views: Vec<u128>,
    /// Texts that are not as they stand in the buffers. Buffer 0 of the column.
    own: Vec<u8>,
    /// How many bytes a value may have that is no text.
    bytes: RangeInclusive<usize>,
}

/// Longest text that lies in its view.
const INLINE: usize = 12;

impl Texts {
    fn new(column: &Column, dialect: Dialect) -> Self {
        let (length, padded) = match column.ty {
            Type::Text { length, padded } => (length, padded),
            _ => (None, false),
        };
        let limit = Limit { length, padded, max_bytes: column.rules.max_bytes };
        Self {
            ty: column.ty.clone(),
            bytes: match column.bound {
                Some(Bound::Bytes(most)) => 1..=most as usize,
                _ => 0..=usize::MAX,
            },
            limit,
            trim: column.rules.trim,
            nulls: Nulls::new(column),
            is_plain: matches!(column.ty, Type::Text { .. } | Type::Opaque)
                && column.rules.trim == Trim::None
                && dialect.escape.is_none(),
            surely: limit.surely(),
            views: Vec::new(),
            own: Vec::new(),
        }
    }

    #[inline(always)]
    fn append_fast<const FIRST: bool, const VERBATIM: bool>(
        &mut self,
        stretch: &Stretch<'_>,
        field: usize,
        careful: &mut Vec<u32>,
        rewritten: &mut Vec<u32>,
    ) {
        let text = stretch.text;
        let quote = stretch.dialect.quote.filter(|_| stretch.has_quotes);
        let is_tricky = stretch.is_tricky;
        let has_nulls = !self.nulls.texts.texts().is_empty();
        let is_opaque = self.ty == Type::Opaque;
        let (nulls, surely, is_ascii) = (&self.nulls.texts, self.surely, self.limit.is_ascii());
        let surely_fits =
            |start: usize, end: usize| end - start <= surely && (!is_ascii || text[start..end].is_ascii());
        self.views.extend(stretch.rows.iter().enumerate().map(|(index, row)| {
            let (start, end) = stretch.bounds(row, if FIRST { 0 } else { field });
            let len = end - start;
            if len == 0 {
                careful.push(index as u32);
                return 0;
            }
            let may_be_null = || nulls.may_be(len) || is_blank(text[start]) || is_blank(text[end - 1]);
            if let Some(quote) = quote
                && text[start] == quote
            {
                // Where no field is tricky, only the outer two can be quotes.
                let is_simple = !is_tricky && !is_opaque && len >= 2 && text[end - 1] == quote;
                if is_simple && surely_fits(start + 1, end - 1) {
                    if VERBATIM && len == 2 {
                        rewritten.push(index as u32);
                    }
                    return view(text, start + 1, end - 1, stretch.buffer, stretch.offset);
                }
                careful.push(index as u32);
                return 0;
            }
            if !surely_fits(start, end) || ((has_nulls || is_opaque) && may_be_null()) {
                careful.push(index as u32);
                return 0;
            }
            let view = view(text, start, end, stretch.buffer, stretch.offset);
            if VERBATIM
                && (!stands_alone(&text[start..end]) || quote.is_some_and(|quote| holds(view, text, start, quote)))
            {
                rewritten.push(index as u32);
            }
            view
        }));
    }

    fn append_careful(
        &mut self,
        stretch: &Stretch<'_>,
        bounds: (usize, usize),
        row: u32,
        notes: &mut Notes,
    ) -> Result<(), Fault> {
        let (start, end) = bounds;
        let raw = &stretch.text[start..end];
        let cell = unquote(raw, stretch.dialect, &mut notes.cell)?;
        if self.is_null(raw, &cell) {
            return self.nulls.push(row);
        }
        let (front, text) = match self.ty {
            Type::Json | Type::Bytes | Type::Enum(_) => trim_by(Trim::Both, cell.text),
            _ => trim_by(self.trim, cell.text),
        };
        let len = match &self.ty {
            Type::Bytes => {
                let from = self.own.len();
                read_bytes(text, &mut self.own)?;
                let found = self.own.len() - from;
                if !self.bytes.contains(&found) {
                    self.own.truncate(from);
                    let most = self.bytes.end();
                    return Err(Fault::new(Rule::Length, format!("expected 1 to {most} bytes, found {found}")));
                }
                self.views[row as usize] = self.own_view(from);
                return Ok(());
            }
            Type::Enum(labels) => {
                let is_label = |text: &[u8]| labels.iter().any(|label| label.as_bytes() == text);
                if is_label(cell.text) {
                    self.views[row as usize] = self.place(stretch, &cell, start, 0, cell.text);
                    return Ok(());
                }
                if !is_label(text) {
                    return Err(no_label(labels));
                }
                text.len()
            }
            Type::Json => {
                if !json::is_valid(text, &mut notes.scratch.bytes) {
                    return Err(Fault::new(Rule::Type, "expected a JSON document"));
                }
                self.limit.fit(text)?
            }
            _ => self.limit.fit(text)?,
        };
        self.views[row as usize] = self.place(stretch, &cell, start, front, &text[..len]);
        Ok(())
    }

    fn is_null(&self, raw: &[u8], cell: &Cell<'_>) -> bool {
        let is_listed = || self.nulls.texts.contains(cell.text) || self.nulls.texts.contains(raw);
        match &self.ty {
            Type::Text { .. } => !cell.quoted && (trim_by(self.trim, cell.text).1.is_empty() || is_listed()),
            // A label may be blank, or look like NULL; written in quotes it is meant.
            Type::Enum(labels) if cell.quoted && labels.iter().any(|label| label.as_bytes() == cell.text) => false,
            _ => trim(cell.text).is_empty() || is_listed(),
        }
    }

    /// A view of a text that begins `front` bytes into the cell of a field at `start`.
    fn place(&mut self, stretch: &Stretch<'_>, cell: &Cell<'_>, start: usize, front: usize, text: &[u8]) -> u128 {
        match cell.offset {
            Some(offset) => {
                let start = start + offset + front;
                view(stretch.text, start, start + text.len(), stretch.buffer, stretch.offset)
            }
            None => {
                let from = self.own.len();
                self.own.extend_from_slice(text);
                self.own_view(from)
            }
        }
    }

    /// A view of what was added to the own texts; what fits into the view is not kept there.
    fn own_view(&mut self, from: usize) -> u128 {
        let end = self.own.len();
        let view = view(&self.own, from, end, 0, 0);
        if end - from <= INLINE {
            self.own.truncate(from);
        }
        view
    }
}

/// Whether a text that is not empty is safe without quotes, in whatever file: nothing at an end of it could be taken
/// for a blank, or at its start for a byte order mark.
#[inline(always)]
fn stands_alone(text: &[u8]) -> bool {
    let is_dark = |byte: Option<&u8>| byte.is_some_and(|byte| *byte > b' ');
    is_dark(text.first()) && is_dark(text.last()) && !text.starts_with("\u{feff}".as_bytes())
}

/// Whether the text of a view, which begins at `start`, may hold a byte of ASCII.
#[inline(always)]
fn holds(view: u128, text: &[u8], start: usize, byte: u8) -> bool {
    const ONES: u128 = u128::from_ne_bytes([1; 16]);
    let len = view as u32 as usize;
    if len > INLINE {
        return text[start..start + len].contains(&byte);
    }
    // A byte that it holds becomes a zero; what lies beyond the text becomes the byte.
    let differs = (view >> 32) ^ (ONES * u128::from(byte));
    differs.wrapping_sub(ONES) & !differs & (ONES << 7) != 0
}

/// The view of `text[start..end]`, where `text` lies at `offset` in a buffer.
#[inline(always)]
pub(crate) fn view(text: &[u8], start: usize, end: usize, buffer: u32, offset: u32) -> u128 {
    let len = end - start;
    if len > INLINE {
        let prefix = text[start..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        let at = offset.wrapping_add(start as u32);
        return len as u128 | u128::from(prefix) << 32 | u128::from(buffer) << 64 | u128::from(at) << 96;
    }
    let bytes = match text[start..].first_chunk::<16>() {
        Some(bytes) => u128::from_le_bytes(*bytes) & ((1 << (8 * len)) - 1),
        None => text[start..end].iter().rev().fold(0, |bits, byte| bits << 8 | u128::from(*byte)),
    };
    len as u128 | bytes << 32
}

fn no_label(labels: &[String]) -> Fault {
    /// More are not listed.
    const SHOWN: usize = 8;
    let shown: Vec<_> = labels.iter().take(SHOWN).map(|label| format!("`{label}`")).collect();
    let more = if labels.len() > SHOWN { ", …" } else { "" };
    Fault::new(Rule::Label, format!("expected one of {}{more}", shown.join(", ")))
}

impl Builder for Texts {
    fn append(&mut self, stretch: &Stretch<'_>, field: usize, notes: &mut Notes) {
        let base = self.views.len() as u32;
        let mut careful = std::mem::take(&mut notes.careful);
        careful.clear();
        if !self.is_plain {
            careful.extend(0..stretch.rows.len() as u32);
            self.views.extend(std::iter::repeat_n(0, stretch.rows.len()));
        } else {
            let rewritten = &mut notes.rewritten;
            match (field == 0, stretch.keeps_verbatim) {
                (true, true) => self.append_fast::<true, true>(stretch, 0, &mut careful, rewritten),
                (true, false) => self.append_fast::<true, false>(stretch, 0, &mut careful, rewritten),
                (false, true) => self.append_fast::<false, true>(stretch, field, &mut careful, rewritten),
                (false, false) => self.append_fast::<false, false>(stretch, field, &mut careful, rewritten),
            }
        }
        for row in &careful {
            let bounds = stretch.bounds(&stretch.rows[*row as usize], field);
            if let Err(fault) = self.append_careful(stretch, bounds, base + row, notes) {
                notes.faults.push(Found { row: *row, field: field as u32, fault });
            }
        }
        notes.rewrite(careful, stretch.keeps_verbatim);
    }

    fn may_be_verbatim(&self) -> bool {
        self.is_plain
    }

    fn remove(&mut self, rows: &[u32]) {
        remove_at(&mut self.views, rows);
        remove_rows(&mut self.nulls.rows, rows);
    }

    fn finish(&mut self, buffers: &[Buffer]) -> (ArrayRef, u64) {
        let room = self.views.len();
        let views = std::mem::replace(&mut self.views, Vec::with_capacity(room));
        let nulls = self.nulls.finish(views.len());
        let own = Buffer::from_vec(std::mem::take(&mut self.own));
        let buffers: Vec<Buffer> = [own].into_iter().chain(buffers.iter().cloned()).collect();
        let views = ScalarBuffer::from(views);
        let array: ArrayRef = if self.ty == Type::Bytes {
            Arc::new(BinaryViewArray::new(views, buffers, nulls))
        } else {
            Arc::new(text_array(views, buffers, nulls))
        };
        (array, 0)
    }
}

/// A text column of views that were made from valid text.
///
/// `StringViewArray::new` would read all text a second time, which costs a third of the whole
/// decoding (`benches/csv.rs`). Builds with debug assertions, and so all tests, do it all the same.
pub(crate) fn text_array(
    views: ScalarBuffer<u128>,
    buffers: Vec<Buffer>,
    nulls: Option<NullBuffer>,
) -> StringViewArray {
    if cfg!(debug_assertions) {
        return StringViewArray::new(views, buffers, nulls);
    }
    #[expect(unsafe_code, reason = "the checked constructor validates all text twice")]
    // SAFETY: a window is validated as UTF-8 before its fields are looked at, and rows with fields
    // of a malformed window are taken out before this. A view begins and ends at a dialect byte,
    // which is ASCII, or at a character boundary that was searched for. Offsets and lengths were
    // computed within `buffers`, in this order, and inline views hold their bytes and zeros.
    unsafe {
        StringViewArray::new_unchecked(views, buffers, nulls)
    }
}
