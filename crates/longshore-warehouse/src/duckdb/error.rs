//! Turns what DuckDB says into errors of the boundary.

use crate::{Kind, WarehouseError};

/// A kind for what DuckDB said, by the class that opens its message.
pub(super) fn kind(text: &str) -> Kind {
    let lower = text.to_lowercase();
    let has = |part: &str| lower.contains(part);
    if has("could not set lock") || has("conflicting lock") {
        Kind::Busy
    } else if has("no space left")
        || has("out of disk")
        || has("max_temp_directory_size")
        || has("disk quota")
        || has("file too large")
    {
        Kind::Full
    } else if has("permission denied") || has("read-only") || has("operation not permitted") {
        Kind::AccessDenied
    } else if ["FATAL", "Out of Memory", "INTERRUPT", "Transaction"].iter().any(|class| text.starts_with(class))
        || has("write-write conflict")
    {
        Kind::Conflict
    } else if text.starts_with("Constraint Error")
        || text.starts_with("Conversion Error")
        || text.starts_with("Out of Range Error")
        || text.starts_with("Mismatch Type Error")
    {
        Kind::Rows { object: None, line: None, column: None }
    } else if text.starts_with("Catalog Error") && has("does not exist") || has("no such file or directory") {
        Kind::Missing
    } else if has("not a valid duckdb database file") || has("database file with version number") {
        Kind::Unsupported
    } else {
        Kind::Other
    }
}

/// Whether the database instance is of no more use and has to be opened anew.
pub(super) fn is_fatal(text: &str) -> bool {
    text.starts_with("FATAL") || text.starts_with("INTERNAL") || text.contains("database has been invalidated")
}

/// An error of DuckDB while `doing` something, such as "reading the ledger".
pub(super) fn failed(doing: &str, error: &duckdb::Error) -> WarehouseError {
    let text = error.to_string();
    let kind = kind(&text);
    let why = match &kind {
        Kind::Busy => "another process holds the database file",
        Kind::Full => "no space is left for the database or its temporary files",
        Kind::AccessDenied => "this user may not write there",
        Kind::Conflict if text.starts_with("Out of Memory") => "DuckDB's memory limit is reached",
        Kind::Conflict if is_fatal(&text) => "DuckDB gave the database up and has to open it anew",
        Kind::Conflict if text.starts_with("INTERRUPT") => "the statement was interrupted",
        Kind::Conflict => "another transaction changed the same rows",
        Kind::Rows { .. } => "DuckDB refuses a row",
        Kind::Missing => "something it needs does not exist",
        Kind::Unsupported => "the file is not a database that this DuckDB reads",
        _ => "DuckDB refuses",
    };
    let error = WarehouseError::new(kind.clone(), format!("{doing}: {why}")).server(text.clone());
    match kind {
        Kind::Full => error.cure("make room on the disk of the database file"),
        Kind::Conflict if text.starts_with("Out of Memory") => {
            error.cure("raise `memory_limit` in `[warehouse]`, or run with a lower `--concurrency`")
        }
        _ => error,
    }
}

/// What a database says, in one line.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Names what is being done when a call of DuckDB fails.
pub(super) trait During<T> {
    /// Turns the error into one of the boundary.
    fn during(self, doing: impl FnOnce() -> String) -> Result<T, WarehouseError>;
}

impl<T> During<T> for Result<T, duckdb::Error> {
    fn during(self, doing: impl FnOnce() -> String) -> Result<T, WarehouseError> {
        self.map_err(|error| failed(&doing(), &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_of_a_message_decides() {
        let rows = Kind::Rows { object: None, line: None, column: None };
        for (text, expected) in [
            ("IO Error: Could not set lock on file \"x\": Conflicting lock is held in y (PID 1)", Kind::Busy),
            ("IO Error: Could not write file \"x\": No space left on device", Kind::Full),
            ("IO Error: Cannot open file \"x\": Permission denied", Kind::AccessDenied),
            ("Constraint Error: CHECK constraint failed", rows.clone()),
            ("Conversion Error: Could not convert string", rows),
            ("Out of Memory Error: could not allocate", Kind::Conflict),
            ("Catalog Error: Table with name x does not exist!", Kind::Missing),
            ("IO Error: The file \"x\" exists, but it is not a valid DuckDB database file!", Kind::Unsupported),
            ("Parser Error: syntax error", Kind::Other),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
    }
}
