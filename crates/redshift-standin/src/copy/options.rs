//! What a COPY may be told, as read.

use super::values::{DateFormat, TimeFormat};

/// How all files of a COPY are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Gzip,
    Bzip2,
    Zstd,
}

/// How the text of all files is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Utf8,
    /// Its order of bytes stands in the byte order mark.
    Utf16,
    Utf16Le,
    Utf16Be,
    Iso88591,
}

/// What COPY does about column encodings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CompUpdate {
    Preset,
    On,
    Off,
}

/// The options of one COPY; what the reader does not need is for the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) csv: bool,
    pub(crate) quote: u8,
    pub(crate) delimiter: String,
    pub(crate) escape: bool,
    pub(crate) remove_quotes: bool,
    pub(crate) ignore_header: u64,
    pub(crate) null_as: String,
    /// Also set by `NULL AS ''`.
    pub(crate) empty_as_null: bool,
    pub(crate) blanks_as_null: bool,
    pub(crate) trim_blanks: bool,
    pub(crate) truncate_columns: bool,
    pub(crate) fill_record: bool,
    pub(crate) ignore_blank_lines: bool,
    pub(crate) round_decimals: bool,
    /// What stands for each bad byte.
    pub(crate) accept_invalid_chars: Option<u8>,
    pub(crate) accept_any_date: bool,
    pub(crate) date_format: DateFormat,
    pub(crate) time_format: TimeFormat,
    pub(crate) encoding: Encoding,
    pub(crate) compression: Option<Compression>,
    /// As given; 0 and 1 both mean that the first error fails the load.
    pub(crate) max_error: u32,
    pub(crate) ignore_all_errors: bool,
    pub(crate) no_load: bool,
    pub(crate) comp_update: Option<CompUpdate>,
    pub(crate) stat_update: Option<bool>,
    pub(crate) explicit_ids: bool,
    pub(crate) region: Option<String>,
    pub(crate) manifest: bool,
    pub(crate) comp_rows: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            csv: false,
            quote: b'"',
            delimiter: "|".to_owned(),
            escape: false,
            remove_quotes: false,
            ignore_header: 0,
            null_as: "\\N".to_owned(),
            empty_as_null: false,
            blanks_as_null: false,
            trim_blanks: false,
            truncate_columns: false,
            fill_record: false,
            ignore_blank_lines: false,
            round_decimals: false,
            accept_invalid_chars: None,
            accept_any_date: false,
            date_format: DateFormat::Default,
            time_format: TimeFormat::Default,
            encoding: Encoding::Utf8,
            compression: None,
            max_error: 0,
            ignore_all_errors: false,
            no_load: false,
            comp_update: None,
            stat_update: None,
            explicit_ids: false,
            region: None,
            manifest: false,
            comp_rows: None,
        }
    }
}
