//! What to make of connections that cannot be had or break, whatever the server.

use std::error::Error as _;
use std::io;

use longshore_postgres::{ConnectError, Hop};
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, SqlState};

use crate::session::Failed;
use crate::{Kind, WarehouseError};

/// A connection that cannot be had.
pub(crate) fn unconnected(error: ConnectError) -> WarehouseError {
    let is_full = error.sqlstate() == Some(&SqlState::TOO_MANY_CONNECTIONS);
    let kind = match error.hop() {
        _ if is_full => Kind::Busy,
        _ if error.is_transient() => Kind::Unreachable,
        Hop::Dns | Hop::Tcp => Kind::Unreachable,
        Hop::Login => Kind::Login,
        Hop::Database if error.sqlstate() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Kind::AccessDenied,
        Hop::Database => Kind::Missing,
        _ => Kind::Other,
    };
    let failed = WarehouseError::new(kind, error.to_string());
    let failed = match error.hint() {
        Some(hint) => failed.cure(hint),
        None => failed,
    };
    match error.into_cause() {
        Some(cause) => failed.because(cause),
        None => failed,
    }
}

/// What the server said word by word; it may hold cell values.
pub(crate) fn words(error: &DbError) -> String {
    let mut words = error.message().to_owned();
    for (name, part) in [("DETAIL", error.detail()), ("HINT", error.hint()), ("CONTEXT", error.where_())] {
        if let Some(part) = part {
            words.push_str(&format!("\n{name}: {part}"));
        }
    }
    format!("{words} (SQLSTATE {})", error.code().code())
}

/// An error that is not the server's own word, while `doing` something.
pub(crate) fn unanswered(doing: &str, error: &Error) -> WarehouseError {
    // A text with a NUL never leaves the client.
    let cause = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    let is_ours = cause.is_some_and(|cause| cause.kind() == io::ErrorKind::InvalidInput);
    let is_network = error.is_closed() || cause.is_some() || error.source().is_none();
    let (kind, why) = if is_network && !is_ours {
        (Kind::Unreachable, "the connection to the server broke")
    } else {
        (Kind::Other, "the server's answer is not understood")
    };
    WarehouseError::new(kind, format!("{doing}: {why}")).because(error.to_string())
}

/// A COMMIT without an answer may have happened; one that was refused has not, and is as it `failed`.
pub(crate) fn uncommitted(doing: &str, error: &Error, failed: Failed) -> WarehouseError {
    let is_unknown = match error.as_db_error() {
        Some(refusal) => matches!(refusal.code().code().get(..2), Some("08" | "57")),
        None => true,
    };
    if !is_unknown {
        return failed(doing, error);
    }
    let text = format!("{doing}: the connection broke before the server answered");
    WarehouseError::new(Kind::OutcomeUnknown, text).because(error.to_string())
}
