//! Rows that do not fit, and objects that cannot be read.

use std::fmt;

/// A row that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Physical line of the object at which the record begins, 1 the first.
    pub line: u64,
    /// Number of the data record, 1 the first after header and skipped lines.
    pub record: u64,
    /// Offset of the record's first byte in the decompressed object.
    pub byte: u64,
    /// Everything that is wrong with it, in the order of the fields; at least one.
    pub faults: Vec<FieldFault>,
    /// The record's original bytes in the object's encoding, without its line end.
    pub raw: Vec<u8>,
}

/// One thing wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldFault {
    /// The column; `None` where the fault is of the whole record.
    pub column: Option<String>,
    /// The rule that it breaks.
    pub rule: Rule,
    /// The rule in words, without the cell's value: "expected an integer, found a letter".
    pub message: String,
}

/// The rules that a row can break. The names are stable: they stand in reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// More or fewer fields than columns.
    FieldCount,
    /// A NUL byte.
    Nul,
    /// Bytes that are not text in the object's encoding.
    Encoding,
    /// A quote where none may stand, or text after a closing quote.
    Quote,
    /// NULL in a column that does not take it.
    NotNull,
    /// Text that is not of the column's type.
    Type,
    /// A value outside of the type's range.
    Range,
    /// Text longer than the column.
    Length,
    /// Digits after the point that the column does not keep (`decimal = "reject"`).
    Scale,
    /// A label that the enum does not have.
    Label,
    /// An offset given to a timestamp without zone.
    Offset,
    /// A local time that the zone skips or has twice.
    LocalTime,
    /// The warehouse refused the row.
    Warehouse,
}

impl Rule {
    /// The rule's name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FieldCount => "field-count",
            Self::Nul => "nul",
            Self::Encoding => "encoding",
            Self::Quote => "quote",
            Self::NotNull => "not-null",
            Self::Type => "type",
            Self::Range => "range",
            Self::Length => "length",
            Self::Scale => "scale",
            Self::Label => "label",
            Self::Offset => "offset",
            Self::LocalTime => "local-time",
            Self::Warehouse => "warehouse",
        }
    }
}

/// Why an object cannot be read at all, whatever `max_rejects` says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ObjectFault {
    /// What is wrong.
    pub kind: ObjectFaultKind,
    /// Physical line, 1 the first, where there is one.
    pub line: Option<u64>,
    /// Offset in the decompressed object, where there is one.
    pub byte: Option<u64>,
    /// Column, where there is one.
    pub column: Option<String>,
    /// What is wrong in words: one line, lower case, names in backticks, no cell values but those
    /// of a header.
    pub message: String,
    /// What to do about it.
    pub cure: Option<String>,
}

impl ObjectFault {
    pub(crate) fn new(kind: ObjectFaultKind, message: impl Into<String>) -> Self {
        Self { kind, line: None, byte: None, column: None, message: message.into(), cure: None }
    }

    pub(crate) fn at(mut self, line: u64, byte: u64) -> Self {
        self.line = Some(line);
        self.byte = Some(byte);
        self
    }

    pub(crate) fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }
}

impl fmt::Display for ObjectFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}")?;
            if let Some(byte) = self.byte {
                write!(f, " (byte {byte})")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.message)
    }
}

/// What is wrong with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ObjectFaultKind {
    /// Header and columns do not match: unknown, doubled or missing columns, or a header that
    /// may be data.
    Header,
    /// A record is longer than `max_record`.
    RecordTooLong,
    /// The object ends inside a quoted field.
    UnterminatedQuote,
    /// Compressed data that is cut off, damaged, or decompresses beyond the ratio.
    Compression,
    /// Bytes that are no text at all (NULs, no valid encoding) from the start.
    Binary,
    /// Settings that contradict each other or the columns; not the object's fault.
    Settings,
}
