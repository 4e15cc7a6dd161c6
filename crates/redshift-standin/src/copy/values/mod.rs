//! From a field to a value, as PostgreSQL reads the type: by Redshift's rules, which are narrower.

mod auto;
mod calendar;
mod formats;
mod moments;
mod numbers;
mod texts;

pub(crate) use moments::{DateFormat, TimeFormat};

use super::column::Type;
use super::options::Options;
use super::reader::Switches;
use super::records::Field;

/// Why a field, a record or a file is refused, with the code of the load error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: u32,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// The value of a field that is there.
pub(super) fn value(field: &Field, ty: Type, options: &Options, switches: &Switches) -> Result<Option<String>, Fault> {
    if field.is_null || is_null(field, ty, options, switches) {
        return Ok(None);
    }
    match ty {
        Type::Char(size) => texts::char(&field.bytes, size, options).map(Some),
        Type::Varchar(size) => texts::varchar(&field.bytes, size, options, switches).map(Some),
        Type::Super => texts::json(&field.bytes).map(Some),
        Type::Varbyte(size) => texts::varbyte(&field.bytes, size).map(Some),
        Type::Boolean => texts::boolean(&field.bytes, switches).map(|value| Some(value.to_owned())),
        Type::SmallInt | Type::Integer | Type::BigInt => numbers::integer(&field.bytes, ty, switches).map(Some),
        Type::Decimal { precision, scale } => {
            numbers::decimal(&field.bytes, precision, scale, options.round_decimals, switches).map(Some)
        }
        Type::Real | Type::Double => numbers::float(&field.bytes, ty, switches).map(Some),
        Type::Date | Type::Time | Type::TimeTz | Type::Timestamp | Type::TimestampTz => {
            moments::value(&field.bytes, ty, options)
        }
    }
}

/// The value of a field that is not there, under FILLRECORD.
pub(super) fn missing(ty: Type, options: &Options) -> Option<String> {
    (matches!(ty, Type::Varchar(_)) && !options.empty_as_null).then(String::new)
}

/// Whether an empty or a blank field is NULL.
fn is_null(field: &Field, ty: Type, options: &Options, switches: &Switches) -> bool {
    let is_blank = field.bytes.iter().all(|byte| matches!(byte, b' ' | b'\t'));
    if !ty.is_text() {
        return is_blank;
    }
    if field.bytes.is_empty() {
        return options.empty_as_null && (!field.is_quoted || switches.quoted_empty_is_null);
    }
    is_blank && options.blanks_as_null
}
