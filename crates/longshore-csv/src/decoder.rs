//! From bytes to batches.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions, StringViewArray, UInt64Array};
use arrow_buffer::Buffer;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;

use crate::bind;
use crate::build::{Builder, Found, Notes, Stretch, builder, data_type, remove_at};
use crate::options::check;
use crate::records::Records;
use crate::split::{Dialect, Row};
use crate::values::Fault;
use crate::values::text::unquote;
use crate::verbatim::Verbatim;
use crate::{Binding, Column, FieldFault, Header, ObjectFault, ObjectFaultKind, Options, Reject, Rule};

/// Turns the bytes of one object into typed rows and rejects.
///
/// Push bytes, take batches until there is none, push more; `finish` after the last byte, then
/// take until there is none. After an error the decoder is spent.
pub trait Decoder: Send {
    /// Takes the next bytes of the object.
    ///
    /// # Errors
    /// The object cannot be read; its rows so far must not be loaded.
    fn push(&mut self, bytes: Bytes) -> Result<(), ObjectFault>;

    /// Says that there are no more bytes.
    ///
    /// # Errors
    /// As `push`: a quoted field or compressed data that does not end.
    fn finish(&mut self) -> Result<(), ObjectFault>;

    /// How fields were bound; `None` until the first record (or the end) was seen. Known before
    /// the first batch comes.
    fn binding(&self) -> Option<&Binding>;

    /// The next batch, if there is a full one, or after `finish` whatever is left.
    fn take(&mut self) -> Option<Batch>;

    /// What was read so far; complete after `finish` and the last `take`.
    fn summary(&self) -> Summary;
}

/// Rows and rejects of one stretch of an object.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Line at which each row begins, ascending; as long as `rows`.
    pub lines: UInt64Array,
    /// Typed rows: the columns of [`Binding::columns`], in that order.
    pub rows: RecordBatch,
    /// For each row the text of its record, without its line end, where that is one line of a CSV of these columns in
    /// this order that nobody could read otherwise; else NULL. It is delimited by commas, no field is NULL, and a
    /// field stands in double quotes only if it is a text that is not empty and holds none; one without them holds none
    /// either, and has no blank at an end. Numbers have a digit on both sides of their point and none before it that is
    /// not needed; days and times are in ISO order with a blank between them, and times have seconds; true is `t` and
    /// false is `f`. `None` where no row has such a text, or where [`CsvDecoder::keep_verbatim`] did not ask for it.
    pub verbatim: Option<StringViewArray>,
    /// Rows of the same stretch that did not fit, in order.
    pub rejects: Vec<Reject>,
    /// Decoded bytes of this stretch, for limits on memory.
    pub decoded_bytes: u64,
}

/// What a decoder counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Data records: rows and rejects, without header, skipped and blank lines.
    pub records: u64,
    /// Of those, rejects.
    pub rejects: u64,
    /// Decimals that lost digits after the point.
    pub rounded: u64,
    /// Bytes after decompression.
    pub decoded_bytes: u64,
    /// Name of the encoding found.
    pub encoding: &'static str,
    /// Raw bytes of the header record with its line end, in the object's encoding, for a rejects
    /// file; empty where there is none.
    pub header: Vec<u8>,
}

/// The decoder for CSV.
///
/// Pushed bytes are expanded and decoded no further than to the next full batch, so that memory
/// stays bounded however well they were compressed: drain it with `take` until that gives `None`
/// before pushing more and before `finish`. What is not drained is decoded all the same, but has
/// to be held. A fault met during `take` ends the batches and is told by the next `push` or
/// `finish`.
pub struct CsvDecoder {
    options: Options,
    columns: Vec<Column>,
    keeps_verbatim: bool,
    records: Records,
    bound: Option<Bound>,
    batch: Open,
    notes: Notes,
    ready: VecDeque<Batch>,
    /// Rows of the window that were dealt with.
    cursor: usize,
    /// Whether the text of the window is not what the encoding knows.
    is_malformed: bool,
    is_finished: bool,
    is_drained: bool,
    fault: Option<ObjectFault>,
    summary: Summary,
}

/// Columns that are bound, and their builders.
struct Bound {
    binding: Binding,
    schema: SchemaRef,
    /// For each field its builder, if it is loaded.
    fields: Vec<Option<usize>>,
    builders: Vec<Box<dyn Builder>>,
    has_views: bool,
    /// Whether records may be the columns' own lines.
    keeps_verbatim: bool,
}

/// The batch being filled.
#[derive(Default)]
struct Open {
    /// Records so far, and the line of those that have as many fields as they should.
    records: usize,
    lines: Vec<u64>,
    /// Rows to take out, by their place in `lines`.
    bad: Vec<u32>,
    rejects: Vec<Reject>,
    verbatim: Verbatim,
    buffers: Vec<Buffer>,
    /// The buffer that was added last.
    last: Option<Bytes>,
    /// Offset in the decoded text at which the batch begins.
    start: u64,
}

/// Decoded bytes after which a batch is full: a unit that downstream limits can count with.
const BATCH_BYTES: u64 = 1 << 20;

impl CsvDecoder {
    /// A decoder for one object.
    ///
    /// # Errors
    /// Settings that contradict each other or the columns; found by `longshore check` as well,
    /// by way of [`check`](crate::check).
    pub fn new(options: Options, columns: Vec<Column>) -> Result<Self, ObjectFault> {
        let faults = check(&options, &columns);
        if !faults.is_empty() {
            return Err(ObjectFault::new(ObjectFaultKind::Settings, faults.join("; ")));
        }
        Ok(Self {
            records: Records::new(&options)?,
            options,
            columns,
            keeps_verbatim: false,
            bound: None,
            batch: Open::default(),
            notes: Notes::default(),
            ready: VecDeque::new(),
            cursor: 0,
            is_malformed: false,
            is_finished: false,
            is_drained: false,
            fault: None,
            summary: Summary::default(),
        })
    }

    /// Keeps the text of records beside their values ([`Batch::verbatim`]).
    pub fn keep_verbatim(&mut self) {
        self.keeps_verbatim = true;
    }

    /// Decodes on until a batch is ready or the pushed bytes are used up.
    fn drive(&mut self) -> Result<(), ObjectFault> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let outcome = self.fill();
        if let Err(fault) = &outcome {
            self.fault = Some(fault.clone());
            self.ready.clear();
        }
        outcome
    }

    fn fill(&mut self) -> Result<(), ObjectFault> {
        let ready = self.ready.len();
        while self.ready.len() == ready && !self.is_drained {
            if self.cursor < self.records.tape().rows.len() {
                self.convert();
                continue;
            }
            self.cursor = 0;
            if self.records.advance()? {
                self.enter_window()?;
            } else if self.is_finished {
                self.is_drained = true;
                self.close()?;
            } else {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Looks over a new window; binds by its first record if that is the object's first.
    fn enter_window(&mut self) -> Result<(), ObjectFault> {
        let text = self.records.window_text();
        self.is_malformed = simdutf8::basic::from_utf8(text).is_err();
        if self.bound.is_none()
            && let Some(first) = self.records.tape().rows.first().copied()
        {
            let is_header = self.bind(&first)?;
            self.cursor = usize::from(is_header);
            self.records.close_head(is_header.then_some(&first));
            self.batch.start = self.end_of_rows(self.cursor);
        }
        Ok(())
    }

    fn bind(&mut self, first: &Row) -> Result<bool, ObjectFault> {
        let (line, byte) = self.records.position(first);
        bind::check_count(first.count as usize, &self.options.columns, &self.columns)
            .map_err(|fault| fault.at(line, byte))?;
        let fields = header_fields(&self.records, first).map_err(|fault| {
            let fault = ObjectFault::new(ObjectFaultKind::Header, fault).at(line, byte);
            fault.cure("check `encoding` and `quote`")
        });
        let fields = match (fields, self.options.header) {
            (Ok(fields), _) => fields,
            // By position only their number matters.
            (Err(_), Header::No) => vec![String::new(); first.count as usize],
            (Err(fault), _) => return Err(fault),
        };
        let settings = &self.options.columns;
        let (binding, is_header) =
            bind::bind(self.options.header, &fields, settings, &self.columns).map_err(|fault| fault.at(line, byte))?;
        let mut bound = Bound::new(binding, &self.columns, self.records.dialect());
        bound.keeps_verbatim &= self.keeps_verbatim;
        self.bound = Some(bound);
        Ok(is_header)
    }

    /// Offset in the decoded text of the end of the window's first `count` rows.
    fn end_of_rows(&self, count: usize) -> u64 {
        let tape = self.records.tape();
        let end = count.checked_sub(1).map_or(0, |last| tape.row_end(&tape.rows[last]) + 1);
        self.records.decoded_offset() + u64::from(end)
    }

    /// Turns rows of the window into values, as many as the batch takes.
    fn convert(&mut self) {
        let tape = self.records.tape();
        let rest = &tape.rows[self.cursor..];
        let room = self.options.batch_rows - self.batch.records;
        let most = &rest[..rest.len().min(room)];
        let base = self.records.decoded_offset();
        let (start, cursor) = (self.batch.start, self.cursor);
        // The row that makes the batch full is its last one.
        let is_before = |row: &Row| base + u64::from(tape.row_end(row)) + 1 < start + BATCH_BYTES;
        let count = most.len().min(most.partition_point(is_before) + 1);
        let is_full = self.batch.records + count == self.options.batch_rows || !is_before(&most[count - 1]);
        self.append(cursor, count);
        self.cursor += count;
        self.batch.records += count;
        self.summary.records += count as u64;
        if is_full {
            self.finish_batch();
        }
    }

    /// Adds rows of the window to the batch.
    fn append(&mut self, cursor: usize, count: usize) {
        let Some(bound) = &mut self.bound else { return };
        let records = &self.records;
        let tape = records.tape();
        let all = &tape.rows[cursor..cursor + count];
        let expected = bound.fields.len() as u32;
        let is_regular = |row: &Row| row.count == expected;
        let kept: Vec<Row>;
        let rows = if all.iter().all(is_regular) {
            all
        } else {
            kept = all.iter().copied().filter(is_regular).collect();
            &kept
        };
        let first_line = records.line();
        let lines = rows.iter().map(|row| first_line + u64::from(row.line));
        let base = self.batch.lines.len() as u32;
        self.batch.lines.extend(lines);
        let has_views = bound.has_views || bound.keeps_verbatim;
        let offset = if has_views { self.batch.add_buffer(records) } else { 0 };
        let is_suspect = self.is_malformed || tape.has_nul;
        let stretch = Stretch {
            text: records.text(),
            ends: tape.ends(),
            rows,
            dialect: records.dialect(),
            has_quotes: tape.has_quotes,
            is_tricky: tape.is_tricky,
            keeps_verbatim: bound.keeps_verbatim && !is_suspect,
            buffer: self.batch.buffers.len() as u32,
            offset,
        };
        bound.append(&stretch, is_suspect, &mut self.notes);
        if bound.keeps_verbatim {
            self.batch.verbatim.append(&stretch, &mut self.notes.rewritten);
        }
        if self.notes.faults.is_empty() && rows.len() == all.len() {
            return;
        }
        let first_record = self.summary.records + 1;
        self.batch.bad.extend(bad_rows(&mut self.notes.faults).map(|row| base + row));
        let rejects = Rejects { records, bound, columns: &self.columns, expected };
        rejects.make(all, first_record, &mut self.notes.faults, &mut self.batch.rejects);
    }

    fn finish_batch(&mut self) {
        let Some(bound) = &mut self.bound else { return };
        let end = {
            let tape = self.records.tape();
            let last = self.cursor.checked_sub(1).and_then(|last| tape.rows.get(last));
            last.map_or(0, |row| tape.row_end(row) + 1)
        };
        let end = self.records.decoded_offset() + u64::from(end);
        let next = Open { start: end, ..Open::default() };
        let mut batch = std::mem::replace(&mut self.batch, next);
        if !batch.bad.is_empty() {
            remove_at(&mut batch.lines, &batch.bad);
            batch.verbatim.remove(&batch.bad);
        }
        let mut arrays = Vec::with_capacity(bound.builders.len());
        for builder in &mut bound.builders {
            if !batch.bad.is_empty() {
                builder.remove(&batch.bad);
            }
            let (array, rounded) = builder.finish(&batch.buffers);
            self.summary.rounded += rounded;
            arrays.push(array);
        }
        let count = RecordBatchOptions::new().with_row_count(Some(batch.lines.len()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&bound.schema), arrays, &count)
            .expect("builders make what the schema says, NULL only where it may be");
        self.summary.rejects += batch.rejects.len() as u64;
        self.ready.push_back(Batch {
            lines: batch.lines.into(),
            rows,
            verbatim: batch.verbatim.finish(&batch.buffers),
            rejects: batch.rejects,
            decoded_bytes: end - batch.start,
        });
    }

    /// Ends the object: gives out the last batch.
    fn close(&mut self) -> Result<(), ObjectFault> {
        if self.bound.is_none() {
            self.bound = Some(Bound::new(bind::empty(), &self.columns, self.records.dialect()));
            self.records.close_head(None);
        }
        if self.batch.records > 0 {
            self.finish_batch();
        }
        Ok(())
    }
}

impl Bound {
    fn new(binding: Binding, columns: &[Column], dialect: Dialect) -> Self {
        let bound = || binding.columns.iter().map(|index| &columns[*index]);
        let field = |column: &Column| Field::new(&column.name, data_type(&column.ty), !column.required);
        let fields = binding.fields.iter().map(|field| {
            let column = field.column?;
            binding.columns.iter().position(|index| *index == column)
        });
        let views = [DataType::Utf8View, DataType::BinaryView];
        let fields: Vec<Option<usize>> = fields.collect();
        let builders: Vec<Box<dyn Builder>> = bound().map(|column| builder(column, dialect)).collect();
        let is_usual = dialect.delimiter == b',' && dialect.quote == Some(b'"') && dialect.escape.is_none();
        Self {
            keeps_verbatim: is_usual
                && fields.iter().enumerate().all(|(field, builder)| *builder == Some(field))
                && builders.iter().all(|builder| builder.may_be_verbatim()),
            schema: Arc::new(Schema::new(bound().map(field).collect::<Vec<_>>())),
            fields,
            builders,
            has_views: bound().any(|column| views.contains(&data_type(&column.ty))),
            binding,
        }
    }

    /// Adds rows to all columns, in the order of the fields.
    fn append(&mut self, stretch: &Stretch<'_>, is_suspect: bool, notes: &mut Notes) {
        for (field, builder) in self.fields.iter().enumerate() {
            if is_suspect {
                check_text(stretch, field, notes);
            }
            match builder {
                Some(builder) => self.builders[*builder].append(stretch, field, notes),
                None if stretch.has_quotes => check_quotes(stretch, field, notes),
                None => {}
            }
        }
    }
}

/// Finds fields of a column that hold NULs or what the encoding does not know.
fn check_text(stretch: &Stretch<'_>, field: usize, notes: &mut Notes) {
    for row in 0..stretch.rows.len() {
        let raw = stretch.raw(row, field);
        let fault = if std::str::from_utf8(raw).is_err() {
            Fault::new(Rule::Encoding, "found bytes that are no text in the object's encoding")
        } else if raw.contains(&0) {
            Fault::new(Rule::Nul, "found a NUL byte")
        } else {
            continue;
        };
        notes.faults.push(Found { row: row as u32, field: field as u32, fault });
    }
}

/// Finds fields that are not loaded and yet make their record unreadable.
fn check_quotes(stretch: &Stretch<'_>, field: usize, notes: &mut Notes) {
    let mut scratch = Vec::new();
    let quote = stretch.dialect.quote;
    for row in 0..stretch.rows.len() {
        let raw = stretch.raw(row, field);
        let is_plain = raw.first().copied() != quote;
        if is_plain || (!stretch.is_tricky && raw.len() > 1 && raw.last().copied() == quote) {
            continue;
        }
        if let Err(fault) = unquote(raw, stretch.dialect, &mut scratch) {
            notes.faults.push(Found { row: row as u32, field: field as u32, fault });
        }
    }
}

/// Orders faults by row and field; gives the rows, each once.
fn bad_rows(faults: &mut [Found]) -> impl Iterator<Item = u32> {
    // Stable: of two faults of one field the first says more.
    faults.sort_by_key(|found| (found.row, found.field));
    let mut last = None;
    faults.iter().filter_map(move |found| {
        let is_new = last != Some(found.row);
        last = Some(found.row);
        is_new.then_some(found.row)
    })
}

/// Makes rejects of rows with faults.
struct Rejects<'a> {
    records: &'a Records,
    bound: &'a Bound,
    columns: &'a [Column],
    expected: u32,
}

impl Rejects<'_> {
    /// `faults` are sorted; their rows count only records with as many fields as there should be.
    fn make(&self, rows: &[Row], first: u64, faults: &mut Vec<Found>, out: &mut Vec<Reject>) {
        let mut faults = faults.drain(..).peekable();
        let mut regular = 0;
        for (record, row) in (first..).zip(rows) {
            let mut told = Vec::new();
            if row.count == self.expected {
                let mut last = None;
                while let Some(found) = faults.next_if(|found| found.row == regular) {
                    if last != Some(found.field) {
                        last = Some(found.field);
                        told.push(self.field_fault(found));
                    }
                }
                regular += 1;
            } else {
                told.push(self.wrong_count(row.count));
            }
            if !told.is_empty() {
                let (line, byte) = self.records.position(row);
                let raw = self.records.raw(row);
                out.push(Reject { line, record, byte, faults: told, raw });
            }
        }
    }

    fn field_fault(&self, found: Found) -> FieldFault {
        let field = &self.bound.binding.fields[found.field as usize];
        let name = field.column.map_or(&field.name, |column| &self.columns[column].name);
        FieldFault { column: Some(name.clone()), rule: found.fault.rule, message: found.fault.message.into_owned() }
    }

    fn wrong_count(&self, found: u32) -> FieldFault {
        let expected = self.expected;
        let fields = if expected == 1 { "field" } else { "fields" };
        FieldFault {
            column: None,
            rule: Rule::FieldCount,
            message: format!("expected {expected} {fields}, found {found}"),
        }
    }
}

impl Open {
    /// Makes the window's buffer the last of the batch's; gives where in it the window lies.
    fn add_buffer(&mut self, records: &Records) -> u32 {
        let (buffer, at) = records.buffer();
        let is_same = |last: &Bytes| last.as_ptr() == buffer.as_ptr() && last.len() == buffer.len();
        if !self.last.as_ref().is_some_and(is_same) {
            self.buffers.push(Buffer::from(buffer.clone()));
            self.last = Some(buffer.clone());
        }
        at as u32
    }
}

/// The texts of a record that may be a header.
fn header_fields(records: &Records, row: &Row) -> Result<Vec<String>, String> {
    let tape = records.tape();
    let stretch = Stretch {
        text: records.text(),
        ends: tape.ends(),
        rows: std::slice::from_ref(row),
        dialect: records.dialect(),
        has_quotes: tape.has_quotes,
        is_tricky: tape.is_tricky,
        keeps_verbatim: false,
        buffer: 0,
        offset: 0,
    };
    let mut scratch = Vec::new();
    (0..row.count as usize)
        .map(|field| {
            let raw = stretch.raw(0, field);
            let cell = unquote(raw, stretch.dialect, &mut scratch)
                .map_err(|fault| format!("field {} of the header: {}", field + 1, fault.message))?;
            String::from_utf8(cell.text.to_vec())
                .map_err(|_| format!("field {} of the header is no text in the object's encoding", field + 1))
        })
        .collect()
}

impl Decoder for CsvDecoder {
    fn push(&mut self, bytes: Bytes) -> Result<(), ObjectFault> {
        self.records.push(bytes);
        if self.ready.is_empty() { self.drive() } else { Ok(()) }
    }

    fn finish(&mut self) -> Result<(), ObjectFault> {
        if !self.is_finished {
            self.is_finished = true;
            self.records.end();
        }
        while !self.is_drained {
            self.drive()?;
        }
        self.drive()
    }

    fn binding(&self) -> Option<&Binding> {
        self.bound.as_ref().map(|bound| &bound.binding)
    }

    fn take(&mut self) -> Option<Batch> {
        if self.ready.is_empty() && self.drive().is_err() {
            return None;
        }
        self.ready.pop_front()
    }

    fn summary(&self) -> Summary {
        Summary {
            decoded_bytes: self.records.bytes_out(),
            encoding: self.records.encoding_name(),
            header: self.records.head().to_vec(),
            ..self.summary.clone()
        }
    }
}

impl fmt::Debug for CsvDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CsvDecoder")
            .field("options", &self.options)
            .field("summary", &self.summary)
            .finish_non_exhaustive()
    }
}
