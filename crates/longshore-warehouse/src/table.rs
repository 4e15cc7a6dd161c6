//! Tables as a warehouse describes them, and tables that it is asked to create.

use arrow_schema::{DataType, TimeUnit};

use crate::{QualifiedName, TableName};

/// A table of the warehouse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name, resolved.
    pub name: QualifiedName,
    /// Its columns in their order.
    pub columns: Vec<Column>,
    /// Column sets of primary key, unique constraints and unique indexes.
    pub unique_keys: Vec<Vec<String>>,
    /// Names of tables with a foreign key to this one.
    pub referenced_by: Vec<String>,
    /// Names of row triggers.
    pub row_triggers: Vec<String>,
}

impl Table {
    /// The column of this exact name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name as the catalog spells it.
    pub name: String,
    /// What Longshore makes of its type.
    pub ty: ColumnType,
    /// The type in the warehouse's words, for messages and casts.
    pub type_sql: String,
    /// Whether it takes NULL.
    pub nullable: bool,
    /// Its default expression.
    pub default: Option<String>,
    /// Whether the warehouse numbers it.
    pub identity: bool,
    /// Whether it is computed from other columns.
    pub generated: bool,
    /// What it takes less of than its type tells.
    pub bound: Option<Bound>,
}

/// What a column takes less of than its [`ColumnType`] tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bound {
    /// A value of bytes has one at least, and at most so many.
    Bytes(u32),
    /// A decimal is kept in 64 bits with a sign, whatever its scale.
    Bits64,
    /// A number is neither infinite nor NaN.
    Finite,
}

/// What a length counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LengthUnit {
    /// Unicode code points.
    Characters,
    /// Bytes of UTF-8.
    Bytes,
}

/// The type of a column, as far as Longshore turns text into its values itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ColumnType {
    /// True or false.
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
    /// Exact, `precision` digits (at most 38), `scale` of them after the point.
    Decimal {
        /// Digits in all.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// IEEE 754, 32 bits.
    Float32,
    /// IEEE 754, 64 bits.
    Float64,
    /// Text of fixed length, padded by the warehouse.
    Char {
        /// Greatest length.
        length: u32,
        /// What `length` counts.
        unit: LengthUnit,
    },
    /// Text up to a length.
    Varchar {
        /// Greatest length.
        length: u32,
        /// What `length` counts.
        unit: LengthUnit,
    },
    /// Text.
    Text,
    /// Day.
    Date,
    /// Time of day, microseconds.
    Time,
    /// Day and time without zone, microseconds.
    Timestamp,
    /// Instant, microseconds.
    TimestampTz,
    /// UUID.
    Uuid,
    /// A JSON document (`json`, `jsonb`, `super`).
    Json,
    /// Bytes (`bytea`, `varbyte`, `blob`).
    Bytes,
    /// One of these labels.
    Enum(Vec<String>),
    /// Anything else: the text goes to the warehouse, which reads it (the text route).
    Other,
}

impl ColumnType {
    /// The Arrow type in which batches carry this column.
    ///
    /// Text of all kinds travels as `Utf8View`, whose views may point into the bytes that were
    /// read; a UUID as its 16 bytes; an instant as microseconds since 1970 in UTC.
    pub fn arrow(&self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Int8 => DataType::Int8,
            Self::Int16 => DataType::Int16,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::UInt8 => DataType::UInt8,
            Self::UInt16 => DataType::UInt16,
            Self::UInt32 => DataType::UInt32,
            Self::UInt64 => DataType::UInt64,
            Self::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale as i8),
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Uuid => DataType::FixedSizeBinary(16),
            Self::Bytes => DataType::BinaryView,
            Self::Char { .. } | Self::Varchar { .. } | Self::Text | Self::Json | Self::Enum(_) | Self::Other => {
                DataType::Utf8View
            }
        }
    }
}

/// A table that `init` proposes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTable {
    /// Its name.
    pub name: TableName,
    /// Its columns.
    pub columns: Vec<NewColumn>,
}

/// A column of a [`NewTable`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewColumn {
    /// Its name.
    pub name: String,
    /// Its type; never [`ColumnType::Other`].
    pub ty: ColumnType,
    /// Whether it takes NULL.
    pub nullable: bool,
}

/// One hop that [`crate::Warehouse::check`] tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was tried, or what is wrong: one line, lower case, names in backticks.
    pub message: String,
    /// What to do about it.
    pub cure: Option<String>,
}

/// How bad a [`Finding`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It works.
    Fine,
    /// It works, but something about it deserves a look.
    Warning,
    /// Loading will not work.
    Fault,
}
