//! Why a command could not do its work, and what to do about it.

use std::fmt;

use crate::database::SqlError;

/// What kind of fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The scripts or their names.
    Scripts,
    /// What the history holds and the scripts say does not go together.
    Validation,
    /// A migration failed.
    Migration,
    /// The database refuses, or cannot be reached.
    Database,
    /// Somebody else is at it.
    Locked,
    /// The state of the database or a setting forbids it.
    Refused,
}

/// Why a command could not do its work.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    is_transient: bool,
    source: Option<Box<SqlError>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, is_transient: false, source: None }
    }

    /// An error of the database while `doing` something, such as "reading the history".
    pub(crate) fn database(doing: &str, error: SqlError) -> Self {
        let hint = error.hint.clone();
        Self { hint, is_transient: error.is_transient, ..Self::new(ErrorKind::Database, format!("{doing}: {error}")) }
    }

    pub(crate) fn cure(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn because(mut self, error: SqlError) -> Self {
        self.is_transient = error.is_transient;
        self.source = Some(Box::new(error));
        self
    }

    /// The same, as part of running a migration.
    pub(crate) fn of_migration(mut self) -> Self {
        self.kind = ErrorKind::Migration;
        self.hint.get_or_insert_with(|| {
            "`longshore migrate info` shows what is applied; then run the same command again".to_owned()
        });
        self
    }

    /// What kind of fault it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Whether another try may succeed without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        self.is_transient
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}
