//! Turns what PostgreSQL says into errors of the boundary: one table from SQLSTATE to kind.

use tokio_postgres::Error;
use tokio_postgres::error::{DbError, SqlState};

pub(super) use crate::broken::words;
use crate::broken::{unanswered, uncommitted};
use crate::{Fault, Kind, WarehouseError};

/// What to make of a code: the kind, what to say, and what to do.
fn judge(code: &str) -> (Kind, &'static str, Option<&'static str>) {
    let rows = || Kind::Rows { object: None, line: None, column: None };
    match code {
        "40001" => (Kind::Conflict, "another transaction changed the same rows", None),
        "40P01" => (Kind::Conflict, "another transaction waits for the same rows, and each held up the other", None),
        "25P03" | "25P04" => (
            Kind::Conflict,
            "the server ended the transaction because it was idle or took too long",
            Some("raise `idle_in_transaction_session_timeout` (and `transaction_timeout`) of this role"),
        ),
        "55P03" => (Kind::Busy, "somebody else holds a lock on it", None),
        "53300" => {
            (Kind::Busy, "the server has no connection left", Some("raise `max_connections`, or lower `--concurrency`"))
        }
        "53200" => (Kind::Conflict, "the server is out of memory", None),
        "53100" | "54P01" => (Kind::Full, "no space is left on the server's disk", None),
        "53400" => (
            Kind::Full,
            "a limit of the server is reached",
            Some("raise `temp_file_limit` of this role, or load smaller objects"),
        ),
        "57014" => (
            Kind::Other,
            "the server broke the statement off because it took too long",
            Some("`ALTER ROLE … SET statement_timeout = 0` for the role that loads"),
        ),
        "57P01" | "57P02" | "57P03" | "57P05" => (Kind::Unreachable, "the server ended the connection", None),
        "25006" => (
            Kind::Other,
            "this is a read-only server: a standby, or `default_transaction_read_only` is set for it or for this role",
            Some(
                "let `[warehouse] url` name the primary (`target_session_attrs=read-write` finds it among several hosts), or `ALTER ROLE … RESET default_transaction_read_only`",
            ),
        ),
        "42501" => (Kind::AccessDenied, "this user may not do it", None),
        "42P01" | "42703" | "3F000" | "3D000" => (Kind::Missing, "something it needs does not exist", None),
        "42883" | "42809" | "428C9" => (Kind::Unsupported, "the table or its types cannot do it", None),
        "P0001" => (rows(), "a trigger refuses the row", None),
        _ => match &code[..2.min(code.len())] {
            "08" => (Kind::Unreachable, "the connection broke", None),
            "22" => (rows(), "a value that the column cannot hold", None),
            "23" => (rows(), "a constraint refuses the row", None),
            "28" => (Kind::Login, "the server refuses the login", None),
            "40" => (Kind::Conflict, "the server undid the transaction", None),
            "53" => (Kind::Conflict, "the server lacks a resource", None),
            "57" => (Kind::Unreachable, "the server was told to stop it", None),
            "58" => (Kind::Other, "the server cannot use its own files", None),
            "0A" => (Kind::Unsupported, "the server does not do it", None),
            _ => (Kind::Other, "the server refuses", None),
        },
    }
}

/// What to make of what the server said. A policy that refuses a row says that rights are missing.
fn judged(error: &DbError) -> (Kind, &'static str, Option<&'static str>) {
    if is_of_policy(error) {
        return (
            Kind::Rows { object: None, line: None, column: None },
            "a row-level security policy refuses the row",
            None,
        );
    }
    judge(error.code().code())
}

/// Whether a row-level security policy refuses a row.
pub(super) fn is_of_policy(error: &DbError) -> bool {
    error.code() == &SqlState::INSUFFICIENT_PRIVILEGE && error.routine() == Some("ExecWithCheckOptions")
}

/// The kind of what the server said.
pub(super) fn kind(error: &DbError) -> Kind {
    judged(error).0
}

/// What the server said, where it can hold no cell values: it is about tables, rights or itself, and no
/// trigger of somebody's said it.
fn plain_words(error: &DbError) -> Option<String> {
    let is_plain = kind(error).advice().fault == Fault::Environment && error.routine() != Some("exec_stmt_raise");
    is_plain.then(|| error.message().to_owned())
}

/// An error of the server or the connection while `doing` something, such as "reading the ledger".
pub(super) fn failed(doing: &str, error: &Error) -> WarehouseError {
    if let Some(refusal) = error.as_db_error() {
        let (kind, why, cure) = judged(refusal);
        let failed = WarehouseError::new(kind, format!("{doing}: {why}")).server(words(refusal));
        let failed = match plain_words(refusal) {
            Some(words) => failed.because(words),
            None => failed,
        };
        return match cure {
            Some(cure) => failed.cure(cure),
            None => failed,
        };
    }
    unanswered(doing, error)
}

/// A COMMIT that failed.
pub(super) fn commit_failed(doing: &str, error: &Error) -> WarehouseError {
    uncommitted(doing, error, failed)
}

/// The error for a server at which nobody can write.
pub(super) fn read_only(doing: &str) -> WarehouseError {
    let (kind, why, cure) = judge("25006");
    WarehouseError::new(kind, format!("{doing}: {why}")).cure(cure.unwrap_or_default())
}

/// Names what is being done when a statement fails.
pub(super) trait During<T> {
    /// Turns the error into one of the boundary.
    fn during(self, doing: impl FnOnce() -> String) -> Result<T, WarehouseError>;
}

impl<T> During<T> for Result<T, Error> {
    fn during(self, doing: impl FnOnce() -> String) -> Result<T, WarehouseError> {
        self.map_err(|error| failed(&doing(), &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_decides() {
        for (code, fault) in [
            ("40001", Fault::Transient),
            ("40P01", Fault::Transient),
            ("55P03", Fault::Transient),
            ("57P01", Fault::Transient),
            ("08006", Fault::Transient),
            ("25P03", Fault::Transient),
            ("53300", Fault::Transient),
            ("57014", Fault::Environment),
            ("53100", Fault::Environment),
            ("42501", Fault::Environment),
            ("42P01", Fault::Environment),
            ("25006", Fault::Environment),
            ("28P01", Fault::Environment),
            ("0A000", Fault::Environment),
            ("XX000", Fault::Environment),
            ("22003", Fault::Object),
            ("23514", Fault::Object),
            ("P0001", Fault::Object),
        ] {
            assert_eq!(judge(code).0.advice().fault, fault, "{code}");
        }
    }
}
