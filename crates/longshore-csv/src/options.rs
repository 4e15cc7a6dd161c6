//! How an object is to be read.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use crate::bind;
use crate::{Column, Type};

/// Settings for a whole object.
#[derive(Debug, Clone)]
pub struct Options {
    /// Byte between fields.
    pub delimiter: u8,
    /// Byte around fields; `None`: quotes are data.
    pub quote: Option<u8>,
    /// Byte that takes the meaning from the byte after it, inside and outside quotes; `None`: a
    /// quote inside a quoted field is doubled.
    pub escape: Option<u8>,
    /// Whether the first record names the columns.
    pub header: Header,
    /// Physical lines to pass over before anything else is read.
    pub skip_lines: u64,
    /// Encoding of the text; `None`: by byte order mark, else UTF-8.
    pub encoding: Option<Encoding>,
    /// Compression; `None`: by magic bytes.
    pub compression: Option<Compression>,
    /// How fields find their columns.
    pub columns: Columns,
    /// Bytes of the longest record.
    pub max_record: usize,
    /// Decoded bytes that one compressed byte may stand for, after the first MiB.
    pub max_ratio: u32,
    /// Rows of a batch; fewer where they are long.
    pub batch_rows: usize,
}

/// Default of [`Options::max_record`]: longer than any sane record, short enough to hold.
pub const MAX_RECORD: usize = 16 << 20;
/// Default of [`Options::max_ratio`]: real CSV stays under 100; a bomb reaches 1,000.
pub const MAX_RATIO: u32 = 500;
/// Default of [`Options::batch_rows`]: four DuckDB vectors, 1 MiB of lineitem.
pub const BATCH_ROWS: usize = 8_192;

impl Default for Options {
    fn default() -> Self {
        Self {
            delimiter: b',',
            quote: Some(b'"'),
            escape: None,
            header: Header::Yes,
            skip_lines: 0,
            encoding: None,
            compression: None,
            columns: Columns::default(),
            max_record: MAX_RECORD,
            max_ratio: MAX_RATIO,
            batch_rows: BATCH_ROWS,
        }
    }
}

/// Whether the first record names the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Header {
    /// It does: fields are bound by name.
    Yes,
    /// It does not: fields are bound by position.
    No,
    /// All of its fields name columns: header. None does: data. Some do: an error.
    Auto,
}

/// How fields find their columns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Columns {
    /// With a header: CSV name → target column, for the names that differ. A CSV column mapped to
    /// `None` is passed over on purpose.
    pub renamed: BTreeMap<String, Option<String>>,
    /// Without a header: the target columns in the order of the fields; empty: the loadable
    /// columns of the table in their order.
    pub order: Vec<String>,
}

/// Encodings are named by their WHATWG labels (`utf-8`, `windows-1252`, `iso-8859-15`,
/// `utf-16le`, `shift_jis` …).
pub type Encoding = &'static encoding_rs::Encoding;

/// Compression of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// None, whatever the first bytes look like.
    None,
    /// gzip, several members allowed.
    Gzip,
    /// Zstandard, several frames allowed, window up to 64 MiB.
    Zstd,
    /// bzip2, several streams allowed.
    Bzip2,
}

/// How the text of one column's fields becomes values.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldRules {
    /// Texts that mean NULL: unquoted fields, and quoted ones where the column is not text.
    pub null: Vec<String>,
    /// Blanks to take off before anything else (after NULL strings were compared untrimmed and
    /// trimmed). Non-text columns always ignore blanks around the value.
    pub trim: Trim,
    /// Formats of a date, tried in order (`strptime` words as in jiff, or `iso`); empty: ISO.
    pub date_formats: Vec<String>,
    /// Formats of a timestamp, tried in order; also `iso`, `epoch`, `epoch_ms`, `epoch_us`;
    /// empty: ISO.
    pub timestamp_formats: Vec<String>,
    /// Zone of a timestamptz text that gives no offset.
    pub timezone: TimeZone,
    /// What to do with an offset given to a timestamp without zone.
    pub timestamp_offset: OffsetRule,
    /// What to do with decimals that have too many digits after the point.
    pub decimal: DecimalRule,
    /// Whether the decimal separator is a comma.
    pub decimal_comma: bool,
    /// Byte that may stand between groups of three digits.
    pub thousands: Option<char>,
    /// Greatest length of a text in bytes, besides the type's own.
    pub max_bytes: Option<u32>,
}

impl Default for FieldRules {
    fn default() -> Self {
        Self {
            null: Vec::new(),
            trim: Trim::None,
            date_formats: Vec::new(),
            timestamp_formats: Vec::new(),
            timezone: TimeZone::UTC,
            timestamp_offset: OffsetRule::Reject,
            decimal: DecimalRule::Round,
            decimal_comma: false,
            thousands: None,
            max_bytes: None,
        }
    }
}

/// Blanks to take off a text field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trim {
    /// Nothing.
    None,
    /// At the beginning.
    Start,
    /// At the end.
    End,
    /// Both.
    Both,
}

/// An offset given to a timestamp without zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OffsetRule {
    /// The row is a reject.
    Reject,
    /// The instant is converted to UTC.
    Utc,
    /// The offset is dropped.
    Drop,
}

/// A decimal with more digits after the point than the column has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DecimalRule {
    /// Half away from zero; counted in the summary.
    Round,
    /// Cut; counted in the summary.
    Truncate,
    /// The row is a reject. Digits that are zeros are no loss.
    Reject,
}

/// What is wrong with settings before any object is seen; empty: nothing. Each text is one line
/// that names the setting.
pub fn check(options: &Options, columns: &[Column]) -> Vec<String> {
    let mut faults = check_dialect(options);
    if options.encoding == Some(encoding_rs::REPLACEMENT) {
        faults.push("`encoding` names an encoding that cannot be read".to_owned());
    }
    for (name, is_zero) in [
        ("max_record", options.max_record == 0),
        ("max_ratio", options.max_ratio == 0),
        ("batch_rows", options.batch_rows == 0),
    ] {
        if is_zero {
            faults.push(format!("`{name}` must be greater than 0"));
        }
    }
    if options.header == Header::Yes && !options.columns.order.is_empty() {
        faults.push("`columns` in order goes with `header = false`, not with a header".to_owned());
    }
    if options.header == Header::No && !options.columns.renamed.is_empty() {
        faults.push("`columns` by name needs a header; give a list in order".to_owned());
    }
    if let Err(fault) = bind::order(&options.columns.order, columns) {
        faults.push(fault.message);
    }
    for column in columns {
        let found = check_column(column);
        faults.extend(found.into_iter().map(|fault| format!("column `{}`: {fault}", column.name)));
    }
    faults
}

fn check_dialect(options: &Options) -> Vec<String> {
    let bytes = [("delimiter", Some(options.delimiter)), ("quote", options.quote), ("escape", options.escape)];
    let mut faults = Vec::new();
    for (name, byte) in bytes {
        if byte.is_some_and(|byte| matches!(byte, b'\r' | b'\n' | 0) || !byte.is_ascii()) {
            faults.push(format!("`{name}` must be an ASCII byte that is no line end and no NUL"));
        }
    }
    if options.quote == Some(options.delimiter) {
        faults.push("`quote` and `delimiter` must differ".to_owned());
    }
    if options.escape == Some(options.delimiter) {
        faults.push("`escape` and `delimiter` must differ".to_owned());
    }
    faults
}

fn check_column(column: &Column) -> Vec<String> {
    let rules = &column.rules;
    let mut faults = Vec::new();
    if let Type::Decimal { precision, scale } = column.ty
        && (precision == 0 || precision > 38 || scale > precision)
    {
        faults.push(format!("decimal({precision},{scale}) is beyond 38 digits"));
    }
    if let Some(separator) = rules.thousands {
        let point = if rules.decimal_comma { ',' } else { '.' };
        if separator == point {
            faults.push("`thousands` must not be the decimal separator".to_owned());
        }
        if separator.is_ascii_alphanumeric() || matches!(separator, '+' | '-' | '\r' | '\n') {
            faults.push("`thousands` must not be a letter, a digit, a sign or a line end".to_owned());
        }
    }
    for format in &rules.date_formats {
        faults.extend(check_format("date_formats", format, false));
    }
    for format in &rules.timestamp_formats {
        faults.extend(check_format("timestamp_formats", format, true));
    }
    faults
}

fn check_format(setting: &str, format: &str, with_time: bool) -> Option<String> {
    if matches!(format, "iso" | "epoch" | "epoch_ms" | "epoch_us") {
        return None;
    }
    let instant = jiff::Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
    let fault = |reason: &str| Some(format!("`{setting}`: `{format}` {reason}"));
    // What a format writes it has to read, and to a day.
    let Ok(text) = jiff::fmt::strtime::format(format, &instant) else {
        return fault("is no format (`strptime` words, `iso`, `epoch`, `epoch_ms`, `epoch_us`)");
    };
    match jiff::fmt::strtime::parse(format, &text) {
        Err(_) => fault("cannot be read back"),
        Ok(parts) if parts.to_date().is_err() && (!with_time || parts.timestamp().is_none()) => {
            fault("does not give a day")
        }
        Ok(_) => None,
    }
}
