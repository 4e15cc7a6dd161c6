//! What a field of a file becomes.

/// A type of a column; sizes of texts are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Boolean,
    SmallInt,
    Integer,
    BigInt,
    Decimal { precision: u8, scale: u8 },
    Real,
    Double,
    Char(u32),
    Varchar(u32),
    Date,
    Time,
    TimeTz,
    Timestamp,
    TimestampTz,
    Super,
    Varbyte(u32),
}

impl Type {
    /// Its name in the views on load errors.
    pub(super) fn shown(self) -> &'static str {
        match self {
            Self::Boolean => "bool",
            Self::SmallInt => "int2",
            Self::Integer => "int4",
            Self::BigInt => "int8",
            Self::Decimal { .. } => "numeric",
            Self::Real => "float4",
            Self::Double => "float8",
            Self::Char(_) => "char",
            Self::Varchar(_) => "varchar",
            Self::Date => "date",
            Self::Time => "time",
            Self::TimeTz => "timetz",
            Self::Timestamp => "timestamp",
            Self::TimestampTz => "timestamptz",
            Self::Super => "super",
            Self::Varbyte(_) => "varbyte",
        }
    }

    /// Its length in the views on load errors.
    pub(super) fn length(self) -> String {
        match self {
            Self::Char(size) | Self::Varchar(size) | Self::Varbyte(size) => size.to_string(),
            Self::Decimal { precision, scale } => format!("{precision},{scale}"),
            _ => "0".to_owned(),
        }
    }

    /// Whether an empty field is a value of it.
    pub(super) fn is_text(self) -> bool {
        matches!(self, Self::Char(_) | Self::Varchar(_))
    }
}

/// A column that fields go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) ty: Type,
    pub(crate) not_null: bool,
}
