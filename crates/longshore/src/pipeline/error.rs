//! Why a stage could not do its work, whatever room it came from.

use std::error::Error as StdError;
use std::fmt;

use longshore_queue::QueueError;
use longshore_warehouse::{Fault, Kind, WarehouseError};

use crate::bucket::BucketError;
use crate::journal::JournalError;

/// Why a stage could not do its work: what class of fault it is, and what to do about it.
#[derive(Debug)]
pub struct Error {
    /// Class of the fault: retried, or the pipeline pauses. Faults of an object are no errors of a
    /// stage but refusals.
    pub fault: Fault,
    /// Whether somebody else has what is needed, and will be done with it soon.
    pub is_busy: bool,
    message: String,
    cure: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A fault of the surroundings.
    pub fn environment(message: impl Into<String>) -> Self {
        Self { fault: Fault::Environment, is_busy: false, message: message.into(), cure: None, source: None }
    }

    /// A fault that passes.
    pub fn transient(message: impl Into<String>) -> Self {
        Self { fault: Fault::Transient, ..Self::environment(message) }
    }

    /// Says what it kept from being done.
    #[must_use]
    pub fn about(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// Says that it is not the only one.
    #[must_use]
    pub fn and_more(mut self, count: usize) -> Self {
        let text = self.chain();
        if count > 0 {
            self.message = format!("{text} (and {count} more)");
            self.source = None;
        }
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        self.cure.as_deref()
    }

    /// The message with its causes, on one line.
    pub fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut source = self.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        // The message is the text of the boxed error: its own cause comes next.
        self.source.as_deref().and_then(StdError::source)
    }
}

impl From<BucketError> for Error {
    fn from(error: BucketError) -> Self {
        Self {
            fault: error.kind().advice().fault,
            is_busy: false,
            message: error.to_string(),
            cure: error.hint().map(str::to_owned),
            source: Some(Box::new(error)),
        }
    }
}

impl From<WarehouseError> for Error {
    fn from(error: WarehouseError) -> Self {
        Self {
            fault: error.kind().advice().fault,
            is_busy: *error.kind() == Kind::Busy,
            message: error.to_string(),
            cure: error.hint().map(str::to_owned),
            source: Some(Box::new(error)),
        }
    }
}

impl From<JournalError> for Error {
    fn from(error: JournalError) -> Self {
        Self {
            fault: Fault::Environment,
            is_busy: false,
            message: error.to_string(),
            cure: Some("see that the file can be written and that its disk has room".to_owned()),
            source: Some(Box::new(error)),
        }
    }
}

impl From<QueueError> for Error {
    fn from(error: QueueError) -> Self {
        Self {
            fault: Fault::Environment,
            is_busy: false,
            message: error.to_string(),
            cure: Some("see that the file can be written and that its disk has room".to_owned()),
            source: Some(Box::new(error)),
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self {
            fault: Fault::Environment,
            is_busy: false,
            message: format!("cannot keep the listing in a temporary file: {error}"),
            cure: Some("make room in the folder for temporary files (`TMPDIR`)".to_owned()),
            source: None,
        }
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self {
            fault: Fault::Environment,
            is_busy: false,
            message: format!("cannot write a temporary file: {error}"),
            cure: Some("make room in the folder for temporary files (`TMPDIR`)".to_owned()),
            source: None,
        }
    }
}
