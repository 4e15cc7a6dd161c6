//! The target's columns, and how the fields of an object were bound to them.

use crate::FieldRules;

/// A column of the target that may be loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The type into which its texts are turned.
    pub ty: Type,
    /// The type as the warehouse spells it, for messages.
    pub type_sql: String,
    /// Whether NULL is a reject (the column is NOT NULL, or a key).
    pub required: bool,
    /// Whether the column may be missing from the object (it is nullable or has a default, and is
    /// no key).
    pub optional: bool,
    /// What it takes less of than its type.
    pub bound: Option<Bound>,
    /// How its texts are read.
    pub rules: FieldRules,
}

/// What a column takes less of than its type: a value beyond is a reject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bound {
    /// A value of bytes has one at least, and at most so many.
    Bytes(u32),
    /// A decimal has no more than the digits of a signed number of 64 bits, whatever its scale.
    Bits64,
    /// A number is neither infinite nor NaN.
    Finite,
}

/// What a text is turned into.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Type {
    /// `true`/`t`/`yes`/`y`/`1` and their opposites, whatever the case.
    Boolean,
    /// Signed, 8 bits.
    Int8,
    /// Signed, 16 bits.
    Int16,
    /// Signed, 32 bits.
    Int32,
    /// Signed, 64 bits.
    Int64,
    /// Unsigned, 8 bits.
    UInt8,
    /// Unsigned, 16 bits.
    UInt16,
    /// Unsigned, 32 bits.
    UInt32,
    /// Unsigned, 64 bits.
    UInt64,
    /// Exact, at most 38 digits.
    Decimal {
        /// Digits in all.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// 32 bits.
    Float32,
    /// 64 bits.
    Float64,
    /// Text up to `length`; trailing blanks beyond it are cut for `char(n)`.
    Text {
        /// Greatest length with its unit; `None`: any.
        length: Option<(u32, LengthUnit)>,
        /// Whether it is `char(n)`: trailing blanks carry no meaning, so that blanks over the
        /// length are cut.
        padded: bool,
    },
    /// One of these labels.
    Enum(Vec<String>),
    /// Day.
    Date,
    /// Time of day, microseconds.
    Time,
    /// Day and time, microseconds.
    Timestamp,
    /// Instant, microseconds, UTC.
    TimestampTz,
    /// UUID, with or without hyphens or braces, any case.
    Uuid,
    /// A JSON document (checked, kept as written).
    Json,
    /// Bytes: hexadecimal, with or without `\x`.
    Bytes,
    /// Text that only the warehouse can read.
    Opaque,
}

/// What a length counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LengthUnit {
    /// Unicode code points.
    Characters,
    /// Bytes of UTF-8.
    Bytes,
    /// Bytes, each of which is a character of ASCII: nothing else is taken.
    Ascii,
}

/// How the fields of an object were bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// Whether a header was found, and how.
    pub source: BindingSource,
    /// Fields in the order of the object.
    pub fields: Vec<Received>,
    /// Indexes into the columns that the decoder was given, ascending: the columns that batches
    /// carry, in that order.
    pub columns: Vec<usize>,
}

/// One field of the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Its name in the header, or the column's where there is none.
    pub name: String,
    /// Index into the columns that the decoder was given; `None`: passed over on purpose.
    pub column: Option<usize>,
}

/// Whether a header was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BindingSource {
    /// `header = true`.
    Header,
    /// `header = false`.
    Position,
    /// `header = "auto"` found a header.
    AutoHeader,
    /// `header = "auto"` found data.
    AutoPosition,
    /// The object holds no record at all.
    Empty,
}
