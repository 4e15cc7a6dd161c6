//! What Longshore makes of Redshift's types, and how a value of each is written.

use arrow_schema::{DataType, TimeUnit};

use crate::{Bound, ColumnType, LengthUnit};

/// The most bytes of a VARCHAR.
const MOST_VARCHAR: u32 = 65_535;

/// The most bytes of a CHAR.
const MOST_CHAR: u32 = 4_096;

/// Bytes of a VARBYTE whose length is not told.
const USUAL_VARBYTE: u32 = 64_000;

/// How a value stands in a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Decimal {
        scale: u8,
    },
    Date,
    Time,
    Timestamp,
    /// With the offset of UTC.
    Instant,
    Text,
    /// Text that has to be ASCII.
    Ascii,
    /// Hexadecimal digits.
    Bytes,
}

/// A type of the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) ty: ColumnType,
    /// `None` where rows cannot be brought in.
    pub(super) wire: Option<Wire>,
    /// The type of a staging column.
    pub(super) staged_as: String,
    pub(super) bound: Option<Bound>,
}

/// Reads a type as the catalog spells it: `character varying(256)`, `numeric(18,0)`.
pub(super) fn kind(spelled: &str) -> Kind {
    let spelled = spelled.trim().to_ascii_lowercase();
    let (name, numbers) = match (spelled.find('('), spelled.find(')')) {
        (Some(from), Some(to)) if from < to => {
            let numbers = spelled[from + 1..to].split(',').filter_map(|number| number.trim().parse::<u32>().ok());
            (format!("{}{}", &spelled[..from], &spelled[to + 1..]), numbers.collect::<Vec<_>>())
        }
        _ => (spelled.clone(), Vec::new()),
    };
    let kind = |ty, wire, staged_as: String| Kind { ty, wire: Some(wire), staged_as, bound: None };
    let plain = |ty, wire, staged_as: &str| kind(ty, wire, staged_as.to_owned());
    let finite = |ty, wire, staged_as| Kind { bound: Some(Bound::Finite), ..plain(ty, wire, staged_as) };
    let first = numbers.first().copied();
    match name.trim() {
        "boolean" | "bool" => plain(ColumnType::Boolean, Wire::Bool, "BOOLEAN"),
        "smallint" | "int2" => plain(ColumnType::Int16, Wire::Int2, "SMALLINT"),
        "integer" | "int" | "int4" => plain(ColumnType::Int32, Wire::Int4, "INTEGER"),
        "bigint" | "int8" => plain(ColumnType::Int64, Wire::Int8, "BIGINT"),
        "real" | "float4" => finite(ColumnType::Float32, Wire::Float4, "REAL"),
        "double precision" | "float8" | "float" => finite(ColumnType::Float64, Wire::Float8, "DOUBLE PRECISION"),
        "numeric" | "decimal" => decimal(first.unwrap_or(18), numbers.get(1).copied().unwrap_or(0)),
        "character" | "char" | "nchar" | "bpchar" => {
            let length = first.unwrap_or(if name == "bpchar" { 256 } else { 1 });
            let ty = ColumnType::Char { length, unit: LengthUnit::Bytes };
            kind(ty, Wire::Ascii, format!("CHAR({length})"))
        }
        "character varying" | "varchar" | "nvarchar" | "text" => {
            let length = first.unwrap_or(256);
            let ty = ColumnType::Varchar { length, unit: LengthUnit::Bytes };
            kind(ty, Wire::Text, format!("VARCHAR({length})"))
        }
        "date" => plain(ColumnType::Date, Wire::Date, "DATE"),
        "time" | "time without time zone" => plain(ColumnType::Time, Wire::Time, "TIME"),
        "timestamp" | "timestamp without time zone" => plain(ColumnType::Timestamp, Wire::Timestamp, "TIMESTAMP"),
        "timestamptz" | "timestamp with time zone" => plain(ColumnType::TimestampTz, Wire::Instant, "TIMESTAMPTZ"),
        "super" => plain(ColumnType::Json, Wire::Text, "SUPER"),
        "varbyte" | "varbinary" | "binary varying" => {
            let length = first.unwrap_or(USUAL_VARBYTE);
            let bound = Some(Bound::Bytes(length));
            Kind { bound, ..kind(ColumnType::Bytes, Wire::Bytes, format!("VARBYTE({length})")) }
        }
        // What it would read from a text need not be what the text says.
        _ => Kind { ty: ColumnType::Other, wire: None, staged_as: spelled, bound: None },
    }
}

fn decimal(precision: u32, scale: u32) -> Kind {
    match (u8::try_from(precision), u8::try_from(scale)) {
        (Ok(precision @ 1..=38), Ok(scale)) if scale <= precision => Kind {
            ty: ColumnType::Decimal { precision, scale },
            wire: Some(Wire::Decimal { scale }),
            staged_as: format!("DECIMAL({precision},{scale})"),
            bound: (precision == 19).then_some(Bound::Bits64),
        },
        _ => {
            Kind { ty: ColumnType::Other, wire: None, staged_as: format!("DECIMAL({precision},{scale})"), bound: None }
        }
    }
}

impl Wire {
    /// Whether values of this Arrow type can be written.
    pub(super) fn takes(self, ty: &DataType) -> bool {
        match self {
            Self::Bool => *ty == DataType::Boolean,
            Self::Int2 => *ty == DataType::Int16,
            Self::Int4 => *ty == DataType::Int32,
            Self::Int8 => *ty == DataType::Int64,
            Self::Float4 => *ty == DataType::Float32,
            Self::Float8 => *ty == DataType::Float64,
            Self::Decimal { scale } => {
                matches!(ty, DataType::Decimal128(_, of) if i16::from(*of) == i16::from(scale))
            }
            Self::Date => *ty == DataType::Date32,
            Self::Time => matches!(ty, DataType::Time64(TimeUnit::Microsecond)),
            // A local time is no instant: the column may have become one after the values were read.
            Self::Timestamp => matches!(ty, DataType::Timestamp(TimeUnit::Microsecond, None)),
            Self::Instant => matches!(ty, DataType::Timestamp(TimeUnit::Microsecond, Some(_))),
            Self::Text | Self::Ascii => *ty == DataType::Utf8View,
            Self::Bytes => *ty == DataType::BinaryView,
        }
    }
}

/// The type for a column that `init` proposes. Redshift counts bytes where others count characters, of
/// which the usual take up to three.
pub(super) fn type_sql(ty: &ColumnType) -> String {
    let bytes = |length: u32, unit: LengthUnit, most: u32| match unit {
        LengthUnit::Bytes => length.clamp(1, most),
        LengthUnit::Characters => length.saturating_mul(3).clamp(1, most),
    };
    match ty {
        ColumnType::Boolean => "boolean".to_owned(),
        // Redshift has no integers without sign, nor of eight bits.
        ColumnType::Int8 | ColumnType::UInt8 | ColumnType::Int16 => "smallint".to_owned(),
        ColumnType::UInt16 | ColumnType::Int32 => "integer".to_owned(),
        ColumnType::UInt32 | ColumnType::Int64 => "bigint".to_owned(),
        ColumnType::UInt64 => "decimal(20,0)".to_owned(),
        // Up to 37 digits may follow the point.
        ColumnType::Decimal { precision, scale } => format!("decimal({precision},{})", (*scale).min(37)),
        ColumnType::Float32 => "real".to_owned(),
        ColumnType::Float64 => "double precision".to_owned(),
        // CHAR takes ASCII only: characters that are more than bytes go into a VARCHAR.
        ColumnType::Char { length, unit: LengthUnit::Bytes } if *length <= MOST_CHAR => format!("char({length})"),
        ColumnType::Char { length, unit } | ColumnType::Varchar { length, unit } => {
            format!("varchar({})", bytes(*length, *unit, MOST_VARCHAR))
        }
        ColumnType::Date => "date".to_owned(),
        ColumnType::Time => "time".to_owned(),
        ColumnType::Timestamp => "timestamp".to_owned(),
        ColumnType::TimestampTz => "timestamptz".to_owned(),
        ColumnType::Uuid => "varchar(36)".to_owned(),
        ColumnType::Json => "super".to_owned(),
        ColumnType::Bytes => format!("varbyte({USUAL_VARBYTE})"),
        ColumnType::Text | ColumnType::Enum(_) | ColumnType::Other => format!("varchar({MOST_VARCHAR})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_as_both_catalogs_spell_them() {
        let varchar = |length| ColumnType::Varchar { length, unit: LengthUnit::Bytes };
        for (spelled, ty, staged_as) in [
            ("character varying(128)", varchar(128), "VARCHAR(128)"),
            ("character varying", varchar(256), "VARCHAR(256)"),
            ("character(5)", ColumnType::Char { length: 5, unit: LengthUnit::Bytes }, "CHAR(5)"),
            ("numeric(8,2)", ColumnType::Decimal { precision: 8, scale: 2 }, "DECIMAL(8,2)"),
            ("numeric", ColumnType::Decimal { precision: 18, scale: 0 }, "DECIMAL(18,0)"),
            ("timestamp without time zone", ColumnType::Timestamp, "TIMESTAMP"),
            ("timestamp with time zone", ColumnType::TimestampTz, "TIMESTAMPTZ"),
            ("time without time zone", ColumnType::Time, "TIME"),
            ("super", ColumnType::Json, "SUPER"),
            ("binary varying(1000)", ColumnType::Bytes, "VARBYTE(1000)"),
            ("double precision", ColumnType::Float64, "DOUBLE PRECISION"),
        ] {
            let kind = kind(spelled);
            assert_eq!((kind.ty, kind.staged_as.as_str()), (ty, staged_as), "{spelled}");
            assert!(kind.wire.is_some(), "{spelled}");
        }
        for other in ["geometry", "hllsketch", "time with time zone", "interval year to month", "numeric(40,2)"] {
            assert_eq!((kind(other).ty, kind(other).wire), (ColumnType::Other, None), "{other}");
        }
    }

    #[test]
    fn proposed_types_count_bytes() {
        let of = |length, unit| type_sql(&ColumnType::Varchar { length, unit });
        assert_eq!(of(40, LengthUnit::Characters), "varchar(120)");
        assert_eq!(of(40, LengthUnit::Bytes), "varchar(40)");
        assert_eq!(of(60_000, LengthUnit::Characters), "varchar(65535)");
        assert_eq!(type_sql(&ColumnType::Uuid), "varchar(36)");
    }
}
