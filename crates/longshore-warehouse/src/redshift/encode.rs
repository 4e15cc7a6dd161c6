//! Arrow batches to the lines of a part: UTF-8, LF, commas, NULL as one token.
//!
//! What Redshift would read is settled here, not left to its options: an empty field is the empty text,
//! NULL is always the token, and a text stands in quotes where it has to. Whether quotes would keep a
//! text that reads like the token from being NULL is not documented; so the token is drawn at random for
//! each load, and a text that equals it ends the load, which then draws another.
//!
//! Most records of most files can be read in one way only. Where the reader says so their text is passed on.

use std::fmt;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use arrow_array::{Array, BinaryViewArray, BooleanArray, StringViewArray};
use arrow_buffer::NullBuffer;
use uuid::Uuid;
use zstd::stream::raw::CParameter;
use zstd::zstd_safe::ParamSwitch;

use super::columns::Wire;
use crate::RowBatch;
use crate::plain::{Cell, cell, date, decimal, hex, shown, time, timestamp, whole};

/// The most bytes of a row that COPY takes.
const MOST_ROW: usize = 4 << 20;

/// The length from which records are written rather than passed on: without its quotes one may be a row that COPY takes.
const LONGEST_PASSED: usize = MOST_ROW / 2;

/// What stands for NULL in the parts of one load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NullToken(String);

impl NullToken {
    /// Draws one of 122 random bits.
    pub(super) fn draw() -> Self {
        Self(format!("_ls_null_{}", Uuid::new_v4().simple()))
    }

    /// One that everybody knows.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn of_tests() -> Self {
        Self("TOKEN_OF_TESTS".to_owned())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a text reads like it; blanks around it might not count. A text of a few bytes never does.
    fn is(&self, text: &str) -> bool {
        text.len() >= self.0.len() && text.trim() == self.0
    }
}

/// Lines on their way into a part.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) bytes: Vec<u8>,
    pub(super) rows: u64,
    /// Whether a value spans lines, so that lines are not rows.
    pub(super) has_breaks: bool,
}

/// A value that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Misfit {
    /// Text that equals the token.
    Token,
    /// NUL, which would end the row.
    Nul { row: usize, column: usize },
    /// No bytes at all in a VARBYTE, which COPY takes for NULL.
    NoBytes { row: usize, column: usize },
    /// More bytes than a row may have.
    TooLong { row: usize },
}

/// The columns of a batch, ready to be read row by row.
pub(super) struct Columns<'a> {
    columns: Vec<Column<'a>>,
    null: &'a NullToken,
    /// Lines that are known, but for the numbers before them.
    verbatim: Option<&'a StringViewArray>,
    /// Index of the object, where rows are numbered.
    object: Option<u32>,
    lines: &'a [u64],
    /// Room for a row but for its texts.
    fixed: usize,
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
    Decimal(&'a [i128], u8),
    Date(&'a [i32]),
    Time(&'a [i64]),
    Timestamp(&'a [i64], bool),
    Text(&'a StringViewArray),
    Bytes(&'a BinaryViewArray),
}

impl<'a> Columns<'a> {
    /// The columns of a batch that was found to be of these kinds.
    pub(super) fn new(wires: &[Wire], batch: &'a RowBatch, object: Option<u32>, null: &'a NullToken) -> Self {
        let columns = wires.iter().zip(batch.rows.columns()).map(|(wire, array)| Column {
            nulls: array.nulls().filter(|nulls| nulls.null_count() > 0),
            cells: match wire {
                Wire::Bool => Cells::Bool(array.as_boolean()),
                Wire::Int2 => Cells::Int2(array.as_primitive::<Int16Type>().values()),
                Wire::Int4 => Cells::Int4(array.as_primitive::<Int32Type>().values()),
                Wire::Int8 => Cells::Int8(array.as_primitive::<Int64Type>().values()),
                Wire::Float4 => Cells::Float4(array.as_primitive::<Float32Type>().values()),
                Wire::Float8 => Cells::Float8(array.as_primitive::<Float64Type>().values()),
                Wire::Decimal { scale } => Cells::Decimal(array.as_primitive::<Decimal128Type>().values(), *scale),
                Wire::Date => Cells::Date(array.as_primitive::<Date32Type>().values()),
                Wire::Time => Cells::Time(array.as_primitive::<Time64MicrosecondType>().values()),
                Wire::Timestamp | Wire::Instant => {
                    let values = array.as_primitive::<TimestampMicrosecondType>().values();
                    Cells::Timestamp(values, *wire == Wire::Instant)
                }
                Wire::Text | Wire::Ascii => Cells::Text(array.as_string_view()),
                Wire::Bytes => Cells::Bytes(array.as_binary_view()),
            },
        });
        let columns: Vec<_> = columns.collect();
        // Each with its comma; the number of the object and of the row too.
        let fixed = (columns.len() + 2) * (size_of::<Cell>() + 1);
        Self { columns, null, verbatim: batch.verbatim.as_ref(), object, lines: batch.lines.values(), fixed }
    }

    /// Writes rows from `row` on until the chunk holds `enough` bytes or all are written; returns the
    /// first row that is not.
    pub(super) fn write(&self, mut row: usize, chunk: &mut Chunk, enough: usize) -> Result<usize, Misfit> {
        let mut end = chunk.bytes.len();
        let mut outcome = Ok(());
        while row < self.lines.len() && end < enough {
            let written = match self.verbatim.filter(|texts| texts.is_valid(row)) {
                // Only its quotes may make it too long.
                Some(texts) if texts.value(row).len() < LONGEST_PASSED => {
                    self.pass(texts.value(row), row, &mut chunk.bytes, end)
                }
                _ => self.row(row, chunk, end),
            };
            match written {
                Ok(at) if at - end > MOST_ROW => outcome = Err(Misfit::TooLong { row }),
                Ok(at) => end = at,
                Err(misfit) => outcome = Err(misfit),
            }
            if outcome.is_err() {
                break;
            }
            chunk.rows += 1;
            row += 1;
        }
        // What was made as room for more.
        chunk.bytes.truncate(end);
        outcome.map(|()| row)
    }

    /// Writes a row from a place on; returns its end. The place is a local, so that it can stay in a register from
    /// cell to cell.
    #[inline]
    fn row(&self, row: usize, chunk: &mut Chunk, mut at: usize) -> Result<usize, Misfit> {
        let out = &mut chunk.bytes;
        make_room(out, at, self.fixed);
        at = self.numbers(row, out, at);
        for (index, column) in self.columns.iter().enumerate() {
            if column.nulls.is_some_and(|nulls| nulls.is_null(row)) {
                at = put(self.null.as_str().as_bytes(), out, at);
            } else {
                at = match &column.cells {
                    Cells::Bool(array) => put(if array.value(row) { b"t" } else { b"f" }, out, at),
                    Cells::Int2(values) => at + whole(values[row], cell(out, at)),
                    Cells::Int4(values) => at + whole(values[row], cell(out, at)),
                    Cells::Int8(values) => at + whole(values[row], cell(out, at)),
                    Cells::Float4(values) => at + float(values[row], cell(out, at)),
                    Cells::Float8(values) => at + float(values[row], cell(out, at)),
                    Cells::Decimal(values, scale) => at + decimal(values[row], *scale, cell(out, at)),
                    Cells::Date(values) => at + date(i64::from(values[row]), cell(out, at)),
                    Cells::Time(values) => at + time(values[row], cell(out, at)),
                    Cells::Timestamp(values, is_instant) => at + timestamp(values[row], *is_instant, cell(out, at)),
                    Cells::Bytes(array) => {
                        self.bytes(array.value(row), out, at).ok_or(Misfit::NoBytes { row, column: index })?
                    }
                    Cells::Text(array) => match inline(array.views()[row], out, at) {
                        Some(at) => at,
                        None => {
                            let (at, marks) = self.text(array.value(row), out, at)?;
                            if marks & NUL != 0 {
                                return Err(Misfit::Nul { row, column: index });
                            }
                            chunk.has_breaks |= marks & BREAK != 0;
                            at
                        }
                    },
                };
            }
            out[at] = b',';
            at += 1;
        }
        if let Some(end) = out[..at].last_mut() {
            *end = b'\n';
        }
        Ok(at)
    }

    /// Passes the text of a row's record on; returns its end.
    #[inline]
    fn pass(&self, text: &str, row: usize, out: &mut Vec<u8>, at: usize) -> Result<usize, Misfit> {
        for column in &self.columns {
            if let Cells::Text(array) = &column.cells
                && array.views()[row] as u32 as usize >= self.null.0.len()
                && self.null.is(array.value(row))
            {
                return Err(Misfit::Token);
            }
        }
        make_room(out, at, text.len() + self.fixed);
        let at = self.numbers(row, out, at);
        let at = put(text.as_bytes(), out, at);
        Ok(put(b"\n", out, at))
    }

    /// The numbers of a row, where rows are numbered.
    #[inline]
    fn numbers(&self, row: usize, out: &mut [u8], mut at: usize) -> usize {
        if let Some(object) = self.object {
            for number in [u64::from(object), self.lines[row]] {
                at += whole(number.cast_signed(), cell(out, at));
                out[at] = b',';
                at += 1;
            }
        }
        at
    }

    /// Bytes by their digits; `None` if there are none.
    fn bytes(&self, bytes: &[u8], out: &mut Vec<u8>, mut at: usize) -> Option<usize> {
        make_room(out, at, 2 * bytes.len() + self.fixed);
        for byte in bytes {
            at = put(&hex(*byte), out, at);
        }
        (!bytes.is_empty()).then_some(at)
    }

    /// A text; in quotes where a byte asks for it, a blank stands at an end, or a byte order mark before it.
    /// Returns its end and its marks.
    fn text(&self, text: &str, out: &mut Vec<u8>, mut at: usize) -> Result<(usize, u8), Misfit> {
        if self.null.is(text) {
            return Err(Misfit::Token);
        }
        let bytes = text.as_bytes();
        let marks = marks(bytes);
        // Each quote may be one of two.
        let most = if marks & QUOTE == 0 { bytes.len() } else { 2 * bytes.len() };
        make_room(out, at, most + self.fixed);
        let is_blank = |byte: Option<&u8>| byte.is_some_and(|byte| *byte <= b' ');
        // At the start of a part this one could be taken for the file's own.
        let is_mark = text.starts_with('\u{feff}');
        if marks & QUOTED == 0 && !is_blank(bytes.first()) && !is_blank(bytes.last()) && !is_mark {
            return Ok((put(bytes, out, at), marks));
        }
        at = put(b"\"", out, at);
        if marks & QUOTE == 0 {
            at = put(bytes, out, at);
        } else {
            for piece in bytes.split_inclusive(|byte| *byte == b'"') {
                at = put(piece, out, at);
                if piece.ends_with(b"\"") {
                    at = put(b"\"", out, at);
                }
            }
        }
        Ok((put(b"\"", out, at), marks))
    }
}

/// Bytes by which room grows at least: it is filled with zeros, best shortly before it is used.
const ROOM: usize = 64 << 10;

/// Makes room for so many bytes more.
#[inline]
fn make_room(out: &mut Vec<u8>, at: usize, bytes: usize) {
    if out.len() - at < bytes {
        let most = out.capacity().min(at + ROOM);
        out.resize(most.max(at + bytes), 0);
    }
}

#[inline]
fn put(bytes: &[u8], out: &mut [u8], at: usize) -> usize {
    out[at..at + bytes.len()].copy_from_slice(bytes);
    at + bytes.len()
}

/// The longest text that lies in its view, above its length.
const INLINE: u32 = 12;

/// Writes the text of a view as it is, if it lies there and nothing in it asks for more; returns its end.
#[inline]
fn inline(view: u128, out: &mut [u8], at: usize) -> Option<usize> {
    let length = view as u32;
    if length > INLINE {
        return None;
    }
    if length == 0 {
        return Some(at);
    }
    let text = view >> 32;
    let (first, last) = (text as u8, (text >> (8 * (length - 1))) as u8);
    let is_plain = first > b' '
        && last > b' '
        && !asks(text | u128::MAX << (8 * length))
        && text as u32 & 0xff_ffff != BYTE_ORDER_MARK;
    if !is_plain {
        return None;
    }
    // All are copied, and what is too much is written over by what follows.
    let cell = cell(out, at);
    cell[..16].copy_from_slice(&text.to_le_bytes());
    Some(at + length as usize)
}

/// U+FEFF as a text begins with it.
const BYTE_ORDER_MARK: u32 = u32::from_le_bytes([0xef, 0xbb, 0xbf, 0]);

/// Whether one of sixteen bytes may have a mark.
#[inline]
fn asks(bytes: u128) -> bool {
    const ONES: u128 = u128::from_ne_bytes([1; 16]);
    // The highest bit of each byte, or of one above such a byte, that is below a number: all of them are needed,
    // or none.
    let below = |bytes: u128, number: u8| bytes.wrapping_sub(ONES * u128::from(number)) & !bytes;
    let equals = |byte: u8| below(bytes ^ (ONES * u128::from(byte)), 1);
    (below(bytes, b'\r' + 1) | equals(b',') | equals(b'"')) & (ONES << 7) != 0
}

/// A number by as many digits as it needs, with an exponent where zeros would be many.
fn float<T: fmt::Display + fmt::LowerExp + Into<f64> + Copy>(value: T, cell: &mut Cell) -> usize {
    let size: f64 = value.into();
    if size.is_nan() {
        put(b"NaN", cell, 0)
    } else if size.is_infinite() {
        put(if size > 0.0 { b"Infinity" } else { b"-Infinity" }, cell, 0)
    } else if size == 0.0 || (1e-5..1e16).contains(&size.abs()) {
        shown(format_args!("{value}"), cell)
    } else {
        shown(format_args!("{value:e}"), cell)
    }
}

const QUOTED: u8 = 1;
const QUOTE: u8 = 2;
const BREAK: u8 = 4;
const NUL: u8 = 8;

/// What each byte asks for.
const MARKS: [u8; 256] = {
    let mut marks = [0; 256];
    marks[b',' as usize] = QUOTED;
    marks[b'"' as usize] = QUOTED | QUOTE;
    marks[b'\n' as usize] = QUOTED | BREAK;
    marks[b'\r' as usize] = QUOTED | BREAK;
    marks[0] = NUL;
    marks
};

/// What all bytes of a text ask for.
fn marks(bytes: &[u8]) -> u8 {
    let one_by_one = |bytes: &[u8]| bytes.iter().fold(0, |marks, byte| marks | MARKS[usize::from(*byte)]);
    // Most texts ask for nothing, which sixteen bytes say together; the last sixteen may be looked at twice.
    let Some(last) = bytes.last_chunk::<16>() else { return one_by_one(bytes) };
    let is_marked = |byte: u8| u8::from(byte <= b'\r') | u8::from(byte == b',') | u8::from(byte == b'"');
    let asks = |sixteen: &&[u8; 16]| sixteen.iter().fold(0, |any, byte| any | is_marked(*byte)) != 0;
    let (sixteens, _) = bytes.as_chunks::<16>();
    sixteens.iter().chain([last]).filter(asks).fold(0, |marks, sixteen| marks | one_by_one(sixteen))
}

/// How hard zstd tries: level 3 takes half again as much time and saves hundredths.
const LEVEL: i32 = 1;

/// Bytes that it looks back over, as a power of two: with the usual 512 KiB it takes a tenth more time and
/// saves hundredths.
const WINDOW_LOG: u32 = 17;

/// Places that it remembers, as a power of two: they fit the first cache level.
const HASH_LOG: u32 = 13;

/// The fewest bytes that it takes for alike: with the usual seven it takes as long and saves less.
const LEAST_MATCH: u32 = 6;

/// Bytes that it goes on by where it finds nothing alike: one by one it takes a third more time and saves an eighth.
const STEP: u32 = 8;

/// Compresses lines into memory.
pub(super) type Compressor = zstd::stream::write::Encoder<'static, Vec<u8>>;

/// Compresses what follows into memory that is there already.
pub(super) fn compressor(room: usize) -> std::io::Result<Compressor> {
    let mut compressor = Compressor::new(Vec::with_capacity(room), LEVEL)?;
    compressor.window_log(WINDOW_LOG)?;
    compressor.set_parameter(CParameter::HashLog(HASH_LOG))?;
    compressor.set_parameter(CParameter::MinMatch(LEAST_MATCH))?;
    compressor.set_parameter(CParameter::TargetLength(STEP))?;
    compressor.set_parameter(CParameter::LiteralCompressionMode(ParamSwitch::Enable))?;
    compressor.include_checksum(true)?;
    Ok(compressor)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        ArrayRef, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray,
    };

    use super::*;

    fn lines(wires: &[Wire], columns: Vec<ArrayRef>) -> Result<Chunk, Misfit> {
        lines_of(Some(7), wires, columns)
    }

    fn lines_of(object: Option<u32>, wires: &[Wire], columns: Vec<ArrayRef>) -> Result<Chunk, Misfit> {
        let rows = columns[0].len();
        let names = (0..columns.len()).map(|n| format!("c{n}"));
        let named = names.zip(columns).map(|(name, column)| (name, column, true));
        let batch = RowBatch {
            object: object.unwrap_or_default(),
            lines: (0..rows as u64).map(|n| n + 2).collect::<Vec<_>>().into(),
            rows: RecordBatch::try_from_iter_with_nullable(named).unwrap(),
            verbatim: None,
        };
        lines_of_batch(object, wires, &batch)
    }

    fn lines_of_batch(object: Option<u32>, wires: &[Wire], batch: &RowBatch) -> Result<Chunk, Misfit> {
        let token = NullToken::of_tests();
        let mut chunk = Chunk::default();
        Columns::new(wires, batch, object, &token).write(0, &mut chunk, usize::MAX)?;
        Ok(chunk)
    }

    fn texts(values: &[Option<&str>]) -> Result<String, Misfit> {
        let array = values.iter().copied().collect::<StringViewArray>();
        Ok(String::from_utf8(lines(&[Wire::Text], vec![Arc::new(array)])?.bytes).unwrap())
    }

    #[test]
    fn null_is_the_token_and_the_empty_text_is_empty() {
        assert_eq!(texts(&[None, Some("")]).unwrap(), "7,2,TOKEN_OF_TESTS\n7,3,\n");
    }

    #[test]
    fn a_record_that_is_known_is_passed_on() {
        let column: ArrayRef = Arc::new(StringViewArray::from(vec!["a", "b"]));
        let batch = |rows: usize, verbatim: Vec<Option<&str>>| RowBatch {
            object: 7,
            lines: (2..2 + rows as u64).collect::<Vec<_>>().into(),
            rows: RecordBatch::try_from_iter([("c", column.slice(0, rows))]).unwrap(),
            verbatim: Some(verbatim.into()),
        };
        let two = batch(2, vec![Some("known"), None]);
        let written = |object| lines_of_batch(object, &[Wire::Text], &two).unwrap();
        assert_eq!(written(None).bytes, b"known\nb\n");
        assert_eq!(written(Some(7)).bytes, b"7,2,known\n7,3,b\n");
        assert_eq!(written(None).rows, 2);
        // What a NULL would be may stand in no text, passed on or not.
        let texts = StringViewArray::from(vec!["  TOKEN_OF_TESTS", "a"]);
        let column: ArrayRef = Arc::new(texts);
        let token = RowBatch {
            rows: RecordBatch::try_from_iter([("c", column)]).unwrap(),
            ..batch(2, vec![Some("  TOKEN_OF_TESTS"), Some("a")])
        };
        assert_eq!(lines_of_batch(None, &[Wire::Text], &token).unwrap_err(), Misfit::Token);
    }

    #[test]
    fn rows_are_numbered_where_they_have_to_be() {
        let columns = || -> Vec<ArrayRef> {
            let texts = [Some("x"), None].into_iter().collect::<StringViewArray>();
            vec![Arc::new(Int64Array::from(vec![1, 2])), Arc::new(texts)]
        };
        let written = |object| lines_of(object, &[Wire::Int8, Wire::Text], columns()).unwrap().bytes;
        assert_eq!(written(None), b"1,x\n2,TOKEN_OF_TESTS\n");
        assert_eq!(written(Some(3)), b"3,2,1,x\n3,3,2,TOKEN_OF_TESTS\n");
    }

    #[test]
    fn a_text_stands_in_quotes_where_it_has_to() {
        for (text, written) in [
            ("a", "a"),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("\"", "\"\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("cr\r", "\"cr\r\""),
            ("sixteen and more, of which one asks", "\"sixteen and more, of which one asks\""),
            ("sixteen and more: none of them asks for it", "sixteen and more: none of them asks for it"),
            (" lead", "\" lead\""),
            ("trail\t", "\"trail\t\""),
            ("\u{feff}mark", "\"\u{feff}mark\""),
            ("no\u{feff}mark", "no\u{feff}mark"),
            (r"\N", r"\N"),
            ("Ü|日", "Ü|日"),
        ] {
            assert_eq!(texts(&[Some(text)]).unwrap(), format!("7,2,{written}\n"), "{text:?}");
        }
    }

    #[test]
    fn every_character_stands_in_quotes_where_it_has_to_at_every_place() {
        let others = "xxxxxxxxxxxxxxxxxxxxxxxx";
        for length in 1..=20 {
            for place in 0..length {
                for character in ('\u{1}'..='\u{7f}').chain(['\u{e9}', '\u{feff}']) {
                    let text = format!("{}{character}{}", &others[..place], &others[place + 1..length]);
                    let is_end = place == 0 || place + 1 == length;
                    let is_quoted = match character {
                        ',' | '"' | '\n' | '\r' => true,
                        '\u{feff}' => place == 0,
                        other => is_end && other <= ' ',
                    };
                    let written = if is_quoted { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.clone() };
                    assert_eq!(texts(&[Some(&text)]).unwrap(), format!("7,2,{written}\n"), "{text:?}");
                }
                let text = format!("{}\0{}", &others[..place], &others[place + 1..length]);
                assert_eq!(texts(&[Some(&text)]), Err(Misfit::Nul { row: 0, column: 0 }));
            }
        }
    }

    #[test]
    fn a_text_that_reads_like_the_token_ends_the_load() {
        assert_eq!(texts(&[Some("x"), Some("TOKEN_OF_TESTS")]), Err(Misfit::Token));
        assert_eq!(texts(&[Some(" TOKEN_OF_TESTS ")]), Err(Misfit::Token));
        assert_eq!(texts(&[Some("TOKEN_OF_TESTS!")]).unwrap(), "7,2,TOKEN_OF_TESTS!\n");
        assert_ne!(NullToken::draw(), NullToken::draw());
    }

    #[test]
    fn what_no_row_can_hold_is_named() {
        assert_eq!(texts(&[Some("x"), Some("a\0b")]), Err(Misfit::Nul { row: 1, column: 0 }));
        let long = "x".repeat(MOST_ROW);
        assert_eq!(texts(&[Some(&long)]), Err(Misfit::TooLong { row: 0 }));
        // Quotes that need not be there make no row too long.
        let long = &long[..MOST_ROW - "7,2,\n".len()];
        let column: ArrayRef = Arc::new(StringViewArray::from(vec![long]));
        let quoted = format!("\"{long}\"");
        let quoted = RowBatch {
            object: 7,
            lines: vec![2].into(),
            rows: RecordBatch::try_from_iter([("c", column)]).unwrap(),
            verbatim: Some(vec![Some(quoted.as_str())].into()),
        };
        let written = lines_of_batch(Some(7), &[Wire::Text], &quoted).unwrap();
        assert_eq!((written.rows, written.bytes.len()), (1, MOST_ROW));
    }

    #[test]
    fn every_kind_of_value_is_plain_text() {
        let columns: Vec<(Wire, ArrayRef)> = vec![
            (Wire::Bool, Arc::new(BooleanArray::from(vec![true, false]))),
            (Wire::Int8, Arc::new(Int64Array::from(vec![i64::MIN, 7]))),
            (Wire::Float8, Arc::new(Float64Array::from(vec![0.1, 1e300]))),
            (
                Wire::Decimal { scale: 2 },
                Arc::new(Decimal128Array::from(vec![-5, 1234]).with_precision_and_scale(9, 2).unwrap()),
            ),
            (Wire::Date, Arc::new(Date32Array::from(vec![0, 19_782]))),
            (Wire::Timestamp, Arc::new(TimestampMicrosecondArray::from(vec![0, -1]))),
            (Wire::Instant, Arc::new(TimestampMicrosecondArray::from(vec![0, 1]).with_timezone("UTC"))),
            (
                Wire::Bytes,
                Arc::new([Some(&b"\x00\xff"[..]), Some(&b"\x7f"[..])].into_iter().collect::<BinaryViewArray>()),
            ),
        ];
        let (wires, arrays): (Vec<Wire>, Vec<ArrayRef>) = columns.into_iter().unzip();
        let chunk = lines(&wires, arrays).unwrap();
        assert_eq!(
            String::from_utf8(chunk.bytes).unwrap(),
            "7,2,t,-9223372036854775808,0.1,-0.05,1970-01-01,1970-01-01 00:00:00,1970-01-01 00:00:00+00,00ff\n\
             7,3,f,7,1e300,12.34,2024-02-29,1969-12-31 23:59:59.999999,1970-01-01 00:00:00.000001+00,7f\n"
        );
        assert_eq!((chunk.rows, chunk.has_breaks), (2, false));
    }

    /// Reads the fields of one record, as RFC 4180 has it.
    fn fields(record: &str) -> Vec<String> {
        let mut fields = vec![String::new()];
        let (mut is_quoted, mut characters) = (false, record.chars().peekable());
        while let Some(character) = characters.next() {
            let field = fields.last_mut().unwrap();
            match character {
                '"' if is_quoted && characters.peek() == Some(&'"') => {
                    characters.next();
                    field.push('"');
                }
                '"' => is_quoted = !is_quoted,
                ',' if !is_quoted => fields.push(String::new()),
                other => field.push(other),
            }
        }
        fields
    }

    proptest::proptest! {
        #[test]
        fn any_text_reads_back(cells in proptest::collection::vec(
            proptest::option::of("[a-c,\"'\\\\ \t\r\n\u{e9}\u{65e5}]{0,8}"), 1..6
        )) {
            let columns: Vec<ArrayRef> = cells
                .iter()
                .map(|cell| Arc::new([cell.as_deref()].into_iter().collect::<StringViewArray>()) as ArrayRef)
                .collect();
            let chunk = lines(&vec![Wire::Text; cells.len()], columns).unwrap();
            let record = String::from_utf8(chunk.bytes).unwrap();
            let expected = cells.iter().map(|cell| cell.clone().unwrap_or_else(|| NullToken::of_tests().0));
            proptest::prop_assert_eq!(&fields(record.strip_suffix('\n').unwrap())[2..], &expected.collect::<Vec<_>>()[..]);
        }
    }

    #[test]
    fn lines_that_are_not_rows_are_told() {
        let array: ArrayRef = Arc::new([Some("a\nb")].into_iter().collect::<StringViewArray>());
        assert!(lines(&[Wire::Text], vec![array]).unwrap().has_breaks);
    }
}
