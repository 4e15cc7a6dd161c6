//! Records as text, for whoever wants to look at an object without knowing its columns.

use std::fmt;

use bytes::Bytes;

use crate::build::Stretch;
use crate::options::check;
use crate::records::Records;
use crate::values::text::unquote;
use crate::{ObjectFault, ObjectFaultKind, Options};

/// Gives the records of one object as texts: decompressed, transcoded and split by the same code
/// and settings as [`CsvDecoder`](crate::CsvDecoder).
///
/// Push bytes, take records until there is none, push more; `finish` after the last byte, then
/// take until there is none. The header is a record like the others.
pub struct RecordReader {
    records: Records,
    cursor: usize,
    count: u64,
    text: Vec<u8>,
    fields: Vec<Extent>,
    scratch: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Extent {
    end: usize,
    quoted: bool,
}

/// One record of an object.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Physical line at which it begins, 1 the first.
    pub line: u64,
    /// Its number, 1 the first; skipped and blank lines are none, a header is one.
    pub record: u64,
    text: &'a [u8],
    fields: &'a [Extent],
}

/// One field of a record, without quotes and escapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its text: UTF-8, unless the object holds bytes that are none.
    pub text: &'a [u8],
    /// Whether it was in quotes.
    pub quoted: bool,
}

impl RecordReader {
    /// A reader for one object.
    ///
    /// # Errors
    /// Settings that contradict each other.
    pub fn new(options: &Options) -> Result<Self, ObjectFault> {
        let mut options = options.clone();
        // How fields find their columns is not for here.
        options.columns = crate::Columns::default();
        let faults = check(&options, &[]);
        if !faults.is_empty() {
            return Err(ObjectFault::new(ObjectFaultKind::Settings, faults.join("; ")));
        }
        let mut records = Records::new(&options)?;
        records.close_head(None);
        Ok(Self { records, cursor: 0, count: 0, text: Vec::new(), fields: Vec::new(), scratch: Vec::new() })
    }

    /// Takes the next bytes of the object.
    pub fn push(&mut self, bytes: Bytes) {
        self.records.push(bytes);
    }

    /// Says that there are no more bytes.
    pub fn finish(&mut self) {
        self.records.end();
    }

    /// The next record; `None` if there is none before more bytes come, or after the end.
    ///
    /// # Errors
    /// The object cannot be read.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, ObjectFault> {
        while self.cursor >= self.records.tape().rows.len() {
            self.cursor = 0;
            if !self.records.advance()? {
                return Ok(None);
            }
        }
        let tape = self.records.tape();
        let row = tape.rows[self.cursor];
        let stretch = Stretch {
            text: self.records.text(),
            ends: tape.ends(),
            rows: &tape.rows,
            dialect: self.records.dialect(),
            has_quotes: tape.has_quotes,
            is_tricky: tape.is_tricky,
            keeps_verbatim: false,
            buffer: 0,
            offset: 0,
        };
        self.text.clear();
        self.fields.clear();
        for field in 0..row.count as usize {
            let raw = stretch.raw(self.cursor, field);
            // Text after a closing quote is given as it stands.
            let (text, quoted) = match unquote(raw, stretch.dialect, &mut self.scratch) {
                Ok(cell) => (cell.text, cell.quoted),
                Err(_) => (raw, false),
            };
            self.text.extend_from_slice(text);
            self.fields.push(Extent { end: self.text.len(), quoted });
        }
        self.cursor += 1;
        self.count += 1;
        Ok(Some(Record {
            line: self.records.line() + u64::from(row.line),
            record: self.count,
            text: &self.text,
            fields: &self.fields,
        }))
    }

    /// Name of the encoding found; empty before the first record.
    pub fn encoding(&self) -> &'static str {
        self.records.encoding_name()
    }
}

impl fmt::Debug for RecordReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordReader").field("records", &self.count).finish_non_exhaustive()
    }
}

impl<'a> Record<'a> {
    /// How many fields it has; at least one.
    pub fn field_count(&self) -> usize {
        self.fields.len()
    }

    /// Its fields in order.
    pub fn fields(&self) -> impl Iterator<Item = Field<'a>> + use<'a> {
        let mut start = 0;
        let text = self.text;
        self.fields.iter().map(move |extent| {
            let field = Field { text: &text[start..extent.end], quoted: extent.quoted };
            start = extent.end;
            field
        })
    }
}
