//! Shared by all subjects: columns in few words, objects in one go, values as text.

use std::fmt::Write as _;

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use bytes::Bytes;
use longshore_csv::{Binding, Column, CsvDecoder, Decoder, FieldRules, ObjectFault, Options, Reject, Summary, Type};

/// A nullable, optional column.
pub(crate) fn column(name: &str, ty: Type) -> Column {
    Column {
        name: name.to_owned(),
        ty,
        type_sql: String::new(),
        required: false,
        optional: true,
        bound: None,
        rules: FieldRules::default(),
    }
}

/// Text of any length.
pub(crate) fn text() -> Type {
    Type::Text { length: None, padded: false }
}

/// Columns of text.
pub(crate) fn texts(names: &[&str]) -> Vec<Column> {
    names.iter().map(|name| column(name, text())).collect()
}

/// All that came out of an object.
#[derive(Debug, PartialEq)]
pub(crate) struct Read {
    /// Values of each row as text, `NULL` for NULL; the line before them.
    pub(crate) rows: Vec<(u64, Vec<String>)>,
    pub(crate) rejects: Vec<Reject>,
    pub(crate) summary: Summary,
    pub(crate) binding: Option<Binding>,
    pub(crate) batches: usize,
}

impl Read {
    /// The rows as one text: fields apart by `|`, rows by a line.
    pub(crate) fn table(&self) -> String {
        let lines = self.rows.iter().map(|(_, row)| row.join("|"));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// `line column rule` of every fault.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut all = Vec::new();
        for reject in &self.rejects {
            for fault in &reject.faults {
                let column = fault.column.as_deref().unwrap_or("-");
                all.push(format!("{} {column} {}", reject.line, fault.rule.as_str()));
            }
        }
        all
    }
}

/// Reads an object that is pushed in the given pieces.
pub(crate) fn read_pieces<'a>(
    options: &Options,
    columns: &[Column],
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Read, ObjectFault> {
    let mut decoder = CsvDecoder::new(options.clone(), columns.to_vec())?;
    let mut read =
        Read { rows: Vec::new(), rejects: Vec::new(), summary: Summary::default(), binding: None, batches: 0 };
    for piece in pieces {
        decoder.push(Bytes::copy_from_slice(piece))?;
        drain(&mut decoder, &mut read);
    }
    decoder.finish()?;
    drain(&mut decoder, &mut read);
    read.summary = decoder.summary();
    read.binding = decoder.binding().cloned();
    Ok(read)
}

/// Reads an object that is pushed whole.
pub(crate) fn read(options: &Options, columns: &[Column], text: impl AsRef<[u8]>) -> Result<Read, ObjectFault> {
    read_pieces(options, columns, [text.as_ref()])
}

fn drain(decoder: &mut CsvDecoder, read: &mut Read) {
    while let Some(batch) = decoder.take() {
        assert!(decoder.binding().is_some());
        assert_eq!(batch.lines.len(), batch.rows.num_rows());
        read.batches += 1;
        for row in 0..batch.rows.num_rows() {
            let values = show_row(&batch.rows, row);
            read.rows.push((batch.lines.value(row), values));
        }
        read.rejects.extend(batch.rejects);
    }
}

fn show_row(batch: &RecordBatch, row: usize) -> Vec<String> {
    batch.columns().iter().map(|column| show(column, row)).collect()
}

fn show(array: &dyn Array, row: usize) -> String {
    if array.is_null(row) {
        return "NULL".to_owned();
    }
    macro_rules! show {
        ($ty:ty) => {
            array.as_primitive::<$ty>().value(row).to_string()
        };
    }
    match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::Int8 => show!(Int8Type),
        DataType::Int16 => show!(Int16Type),
        DataType::Int32 => show!(Int32Type),
        DataType::Int64 => show!(Int64Type),
        DataType::UInt8 => show!(UInt8Type),
        DataType::UInt16 => show!(UInt16Type),
        DataType::UInt32 => show!(UInt32Type),
        DataType::UInt64 => show!(UInt64Type),
        DataType::Float32 => show!(Float32Type),
        DataType::Float64 => show!(Float64Type),
        DataType::Date32 => show!(Date32Type),
        DataType::Time64(TimeUnit::Microsecond) => show!(Time64MicrosecondType),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            assert!(zone.as_deref().is_none_or(|zone| zone == "UTC"));
            show!(TimestampMicrosecondType)
        }
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::Utf8View => array.as_string_view().value(row).to_owned(),
        DataType::BinaryView => hex(array.as_binary_view().value(row)),
        DataType::FixedSizeBinary(16) => hex(array.as_fixed_size_binary().value(row)),
        other => panic!("no column is of type {other}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
