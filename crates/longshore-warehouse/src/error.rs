//! Errors of the warehouse boundary: a kind to decide by, and what to do about each kind.

use std::error::Error;
use std::fmt;

/// What went wrong, as far as the caller has to decide by it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The database cannot be reached, or the connection was lost before COMMIT was sent.
    Unreachable,
    /// Somebody else holds what is needed (a lock, the database file) for longer than we wait.
    Busy,
    /// The database undid the transaction and asks for another try (deadlock, serialization,
    /// restart, memory), or the table changed meanwhile.
    Conflict,
    /// COMMIT was sent and its answer lost.
    OutcomeUnknown,
    /// The database refuses rows of an object.
    Rows {
        /// Index into `spec.objects`; `None` where the server does not tell and the load has
        /// several.
        object: Option<u32>,
        /// Line of the object at which the row begins.
        line: Option<u64>,
        /// Column.
        column: Option<String>,
    },
    /// Table, schema or column does not exist.
    Missing,
    /// The login is refused.
    Login,
    /// This user may not do it.
    AccessDenied,
    /// No space is left.
    Full,
    /// The rows that the warehouse took are not the rows that it was given.
    CountMismatch,
    /// The configuration asks for something that this table or warehouse cannot do.
    Unsupported,
    /// The ledger is of a newer version, or not as it should be.
    Ledger,
    /// Anything else that the database says.
    Other,
}

/// Which of the design's three classes of fault a kind belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Retried with backoff.
    Transient,
    /// The object is at fault: it is quarantined.
    Object,
    /// The surroundings are at fault: the pipeline pauses until they are put right.
    Environment,
}

/// What to do about a kind of error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advice {
    /// Class of the fault.
    pub fault: Fault,
    /// What to tell the operator; the error's own cure, where it has one, comes first.
    pub hint: Option<&'static str>,
}

impl Kind {
    /// Decides, in one table, whether to retry and what to tell the operator.
    pub fn advice(&self) -> Advice {
        let (fault, hint) = match self {
            Self::Unreachable | Self::Conflict | Self::OutcomeUnknown => (Fault::Transient, None),
            Self::Busy => (Fault::Transient, Some("wait for the other process, or end it")),
            Self::Rows { .. } => (Fault::Object, Some("see `longshore rejects` for the rows")),
            Self::Missing => {
                (Fault::Environment, Some("create what is missing, or correct the name in `longshore.toml`"))
            }
            Self::Login => (Fault::Environment, Some("correct user and password in `[warehouse] url`")),
            Self::AccessDenied => (Fault::Environment, Some("grant this user what is missing")),
            Self::Full => (Fault::Environment, Some("make room on the warehouse's disk")),
            Self::CountMismatch => {
                (Fault::Environment, Some("look for a trigger or rule on the table that drops or adds rows"))
            }
            Self::Unsupported => (Fault::Environment, Some("change the pipeline or the table")),
            Self::Ledger => (Fault::Environment, Some("run the newest longshore against this warehouse")),
            Self::Other => (Fault::Environment, None),
        };
        Advice { fault, hint }
    }
}

/// An error of the warehouse boundary.
///
/// The text says what was attempted and what is wrong, without cell values; the database's own
/// words, which may hold cell values, are in [`WarehouseError::server_text`].
#[derive(Debug)]
pub struct WarehouseError(Box<Inner>);

/// Boxed, so that a `Result` stays small on the path where all is well.
#[derive(Debug)]
struct Inner {
    kind: Kind,
    message: String,
    cure: Option<String>,
    server_text: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl WarehouseError {
    /// An error of this kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), cure: None, server_text: None, source: None }))
    }

    /// Says what to do about it.
    #[must_use]
    pub fn cure(mut self, cure: impl Into<String>) -> Self {
        self.0.cure = Some(cure.into());
        self
    }

    /// Keeps what the database said word by word; it may hold cell values.
    #[must_use]
    pub fn server(mut self, text: impl Into<String>) -> Self {
        self.0.server_text = Some(text.into());
        self
    }

    /// Keeps the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same error, of another kind.
    #[must_use]
    pub(crate) fn with_kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> &Kind {
        &self.0.kind
    }

    /// What to do about it: the error's own cure, else that of its kind.
    pub fn hint(&self) -> Option<&str> {
        self.0.cure.as_deref().or(self.0.kind.advice().hint)
    }

    /// What to do about it, where this error has a cure of its own.
    pub fn own_cure(&self) -> Option<&str> {
        self.0.cure.as_deref()
    }

    /// What the database said word by word. For reports and `longshore rejects`, not for logs.
    pub fn server_text(&self) -> Option<&str> {
        self.0.server_text.as_deref()
    }
}

impl fmt::Display for WarehouseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl Error for WarehouseError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
