//! Reads one file: each record becomes the values of a row or a load error.
#![expect(clippy::result_large_err, reason = "an error is moved once, to the caller's list")]

use super::column::Column;
use super::options::Options;
use super::records::{Field, Record, Records};
use super::source;
use super::values::{self, Fault};

/// The most bytes of a row.
const LARGEST_ROW: usize = 4 << 20;

/// The most bytes of a line or a value that an error shows.
const SHOWN: usize = 1024;

/// A row that cannot be loaded, or a whole file, as the views on load errors show it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LoadError {
    /// Where the record begins, from 1; 0 for a whole file.
    pub(crate) line: u64,
    pub(crate) column: Option<String>,
    pub(crate) column_type: Option<String>,
    pub(crate) column_length: Option<String>,
    /// Bytes from the start of the record.
    pub(crate) position: u64,
    pub(crate) raw_line: String,
    pub(crate) raw_value: String,
    pub(crate) code: u32,
    pub(crate) message: String,
}

/// What is not documented of reading files, and has to be chosen. The default is the harsher reading of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switches {
    /// A carriage return before a line feed belongs to the line's end; else it is data of the last field.
    pub crlf_ends_lines: bool,
    /// A byte order mark at the start of UTF-8, UTF16LE or UTF16BE is no data; else it belongs to the first field.
    pub bom_is_skipped: bool,
    /// `""` is NULL under EMPTYASNULL and `NULL AS ''`; else only a field without quotes is.
    pub quoted_empty_is_null: bool,
    /// The token of NULL AS is NULL in quotes too.
    pub null_token_matches_quoted: bool,
    /// Spaces around a number do not count; else they are invalid digits.
    pub spaces_around_numbers: bool,
    /// `TRUE` and `Yes` are booleans as `true` and `yes` are.
    pub boolean_words_any_case: bool,
    /// A row may be larger than 4 MB.
    pub rows_over_4_mb: bool,
    /// DELIMITER may have several characters.
    pub several_character_delimiters: bool,
    /// TRUNCATECOLUMNS cuts before a character that does not fit whole; else such a row is an error.
    pub truncation_keeps_characters_whole: bool,
    /// Code points that Unicode gives to nobody are data; else error 9.
    pub unassigned_characters_pass: bool,
    /// A file with nothing but a header, or nothing at all, gives no rows; else it is an error.
    pub files_may_have_no_rows: bool,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            crlf_ends_lines: false,
            bom_is_skipped: false,
            quoted_empty_is_null: true,
            null_token_matches_quoted: true,
            spaces_around_numbers: false,
            boolean_words_any_case: false,
            rows_over_4_mb: false,
            several_character_delimiters: false,
            truncation_keeps_characters_whole: false,
            unassigned_characters_pass: false,
            files_may_have_no_rows: false,
        }
    }
}

/// Reads one file as stored, compressed or not: calls `row` with the values of each good row (texts as
/// PostgreSQL reads the type, or None for NULL) and `error` for each bad one. Errors do not stop the reading: the
/// caller counts them. `columns` are what the fields go to, in the order of the file. Returns the lines scanned,
/// a header among them.
///
/// # Errors
/// The whole file cannot be read: not compressed as said (1200), in another encoding (1221), no rows (1201).
pub(crate) fn read(
    bytes: &[u8],
    columns: &[Column],
    options: &Options,
    switches: &Switches,
    row: &mut dyn FnMut(Vec<Option<String>>),
    error: &mut dyn FnMut(LoadError),
) -> Result<u64, LoadError> {
    if options.delimiter.is_empty() || (options.delimiter.len() > 1 && !switches.several_character_delimiters) {
        return Err(whole_file(Fault::new(1200, "COPY delimiter must be a single character")));
    }
    let text = source::text(bytes, options, switches).map_err(whole_file)?;
    let mut records = Records::new(&text, options, switches);
    let mut has_records = false;
    for record in records.by_ref() {
        has_records = true;
        match values(&record, columns, options, switches) {
            Ok(values) => row(values),
            Err(found) => error(found),
        }
    }
    if !has_records && !switches.files_may_have_no_rows {
        return Err(whole_file(Fault::new(1201, "Field delimiter was not found in the input file: it has no rows")));
    }
    Ok(records.lines())
}

fn whole_file(fault: Fault) -> LoadError {
    LoadError { code: fault.code, message: fault.message, ..LoadError::default() }
}

fn values(
    record: &Record<'_>,
    columns: &[Column],
    options: &Options,
    switches: &Switches,
) -> Result<Vec<Option<String>>, LoadError> {
    if record.raw.len() > LARGEST_ROW && !switches.rows_over_4_mb {
        return Err(of_record(record, 0, Fault::new(1216, "Invalid input line: row exceeds the limit of 4 MB")));
    }
    if let Some(at) = record.raw.iter().position(|byte| *byte == 0) {
        return Err(of_record(record, at as u64, Fault::new(1218, "Field contains NUL (0x00)")));
    }
    let fields = match &record.fields {
        Ok(fields) => fields,
        Err((fault, position)) => return Err(of_record(record, *position, fault.clone())),
    };
    if let Some(extra) = fields.get(columns.len()) {
        return Err(of_record(record, extra.position, Fault::new(1202, "Extra column(s) found")));
    }
    if fields.len() < columns.len() && !options.fill_record {
        let fault = if record.raw.is_empty() {
            Fault::new(1211, "Input line was empty")
        } else {
            Fault::new(1203, "Input data had fewer columns than the DDL")
        };
        return Err(of_record(record, record.raw.len() as u64, fault));
    }
    let value = |(nth, column): (usize, &Column)| {
        let field = fields.get(nth);
        let value = match field {
            Some(field) => values::value(field, column.ty, options, switches),
            None => Ok(values::missing(column.ty, options)),
        };
        match value {
            Ok(None) if column.not_null => Err(Fault::new(1213, "Missing data for not-null field")),
            other => other,
        }
        .map_err(|fault| of_field(record, field, column, fault))
    };
    columns.iter().enumerate().map(value).collect()
}

fn of_record(record: &Record<'_>, position: u64, fault: Fault) -> LoadError {
    LoadError {
        line: record.line,
        position,
        raw_line: shown(record.raw),
        code: fault.code,
        message: fault.message,
        ..LoadError::default()
    }
}

fn of_field(record: &Record<'_>, field: Option<&Field>, column: &Column, fault: Fault) -> LoadError {
    LoadError {
        column: Some(column.name.clone()),
        column_type: Some(column.ty.shown().to_owned()),
        column_length: Some(column.ty.length()),
        raw_value: field.map_or_else(String::new, |field| shown(&field.bytes)),
        ..of_record(record, field.map_or(record.raw.len() as u64, |field| field.position), fault)
    }
}

/// As much as an error shows, as text without NUL.
fn shown(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(SHOWN)];
    let mut text = String::from_utf8_lossy(cut).replace('\0', "\u{fffd}");
    text.truncate(text.floor_char_boundary(SHOWN));
    text
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
