//! Errors of the bucket.

use std::error::Error;
use std::fmt;

use longshore_warehouse::{Advice, Fault};

/// What went wrong, as far as the caller has to decide by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The object is not there any more.
    Gone,
    /// Another object has the key now.
    Changed,
    /// The store cannot be reached, is overloaded, or broke off.
    Unreachable,
    /// Credentials are missing or refused.
    Login,
    /// These credentials may not do it.
    AccessDenied,
    /// There is no such bucket or directory.
    NoBucket,
    /// No space is left.
    Full,
    /// The store refuses the request.
    Refused,
}

impl Kind {
    /// Decides, in one table, whether to retry and what to tell the operator. `Gone` and
    /// `Changed` are neither: the object leaves the load, the next scan sees what is there.
    pub fn advice(self) -> Advice {
        let (fault, hint) = match self {
            Self::Gone | Self::Changed | Self::Unreachable => (Fault::Transient, None),
            Self::Login => {
                (Fault::Environment, Some("give credentials as the AWS tools take them, and try `aws s3 ls`"))
            }
            Self::AccessDenied => {
                (Fault::Environment, Some("allow this user to list, read, write and delete in the bucket"))
            }
            Self::NoBucket => (Fault::Environment, Some("correct `[bucket] url` in `longshore.toml`")),
            Self::Full => (Fault::Environment, Some("make room where the bucket lies")),
            Self::Refused => (Fault::Environment, None),
        };
        Advice { fault, hint }
    }
}

/// An error of the bucket: what was attempted on which object, and why it failed.
#[derive(Debug)]
pub struct BucketError {
    kind: Kind,
    message: String,
    cure: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl BucketError {
    /// An error of this kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), cure: None, source: None }
    }

    /// Says what to do about it.
    #[must_use]
    pub fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }

    /// Keeps the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What to do about it: the error's own cure, else that of its kind.
    pub fn hint(&self) -> Option<&str> {
        self.cure.as_deref().or(self.kind.advice().hint)
    }
}

impl fmt::Display for BucketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for BucketError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

/// An error with its causes on one line, for places that show one line.
pub(super) fn told(error: &BucketError) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told.push_str(": ");
        told.push_str(&error.to_string());
        cause = error.source();
    }
    told
}
