//! Why a URL is refused, and why a connection cannot be had.

use std::error::Error;
use std::fmt;

use tokio_postgres::error::SqlState;

/// Why a URL, or what completes it, is refused. Neither text repeats a value that may be a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It begins otherwise.
    #[error("the URL begins with none of `postgres://`, `postgresql://` and `redshift://`")]
    NotAUrl,
    /// It is not written as URLs are.
    #[error("the URL cannot be read: {what}")]
    Encoding {
        /// What is wrong.
        what: &'static str,
    },
    /// A parameter that nobody knows.
    #[error("the URL has a parameter `{name}`, which does not exist")]
    Unknown {
        /// Its name.
        name: String,
        /// The most similar one that exists.
        nearest: &'static str,
    },
    /// A parameter of libpq that has no meaning here.
    #[error("the parameter `{name}` of libpq is not supported here")]
    Unsupported {
        /// Its name.
        name: String,
    },
    /// A connection service file is asked for.
    #[error("{from} asks for a connection service, which is not supported here")]
    Service {
        /// Who asks.
        from: &'static str,
    },
    /// A value breaks the rule of its parameter.
    #[error("{place} breaks the rule: {rule}")]
    Value {
        /// Where it stands.
        place: String,
        /// The rule.
        rule: &'static str,
    },
    /// Nobody is named, and the operating system does not tell who runs this.
    #[error("no user is named, and the operating system does not tell who this is")]
    NoUser,
}

impl ConfigError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotAUrl => {
                "write it as `postgres://user@host:5432/database` or `redshift://user@host:5439/database`".to_owned()
            }
            Self::Encoding { .. } => {
                "in user, password and database write `@` as %40, `/` as %2F, `:` as %3A, `%` as %25".to_owned()
            }
            Self::Unknown { nearest, .. } => format!("did you mean `{nearest}`?"),
            Self::Unsupported { .. } => "take it out of the URL".to_owned(),
            Self::Service { .. } => "write host, port, database and user into the URL instead".to_owned(),
            Self::Value { .. } => return None,
            Self::NoUser => "name one: `postgres://user@host/database`".to_owned(),
        })
    }
}

/// The stations of connecting, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Hop {
    /// The host's name is resolved.
    Dns,
    /// The network connection, or that to a socket of this machine, is made.
    Tcp,
    /// Encryption is agreed on, and the server proves who it is.
    Tls,
    /// The server lets the user in.
    Login,
    /// The database is opened.
    Database,
    /// The server is of the kind that `target_session_attrs` asks for.
    Role,
}

/// Why a connection cannot be had. The text says what failed and where, the cause is in `source()`.
#[derive(Debug)]
pub struct ConnectError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    hop: Hop,
    message: String,
    hint: Option<String>,
    transient: bool,
    encrypted: bool,
    code: Option<SqlState>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl ConnectError {
    /// An error that stays until somebody does something about it.
    pub(crate) fn new(hop: Hop, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            hop,
            message: message.into(),
            hint: None,
            transient: false,
            encrypted: false,
            code: None,
            source: None,
        }))
    }

    /// Says what to do about it.
    pub(crate) fn cure(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Says that it may be gone at the next try.
    pub(crate) fn transient(mut self) -> Self {
        self.0.transient = true;
        self
    }

    /// Says that the connection was encrypted already.
    pub(crate) fn encrypted(mut self) -> Self {
        self.0.encrypted = true;
        self
    }

    /// Whether the connection was encrypted already.
    pub(crate) fn was_encrypted(&self) -> bool {
        self.0.encrypted
    }

    /// Keeps the server's code.
    pub(crate) fn code(mut self, code: SqlState) -> Self {
        self.0.code = Some(code);
        self
    }

    /// Keeps the cause.
    pub(crate) fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// One error for several hosts that all failed: the last one's, with what each said.
    pub(crate) fn of_all(mut failures: Vec<Self>) -> Self {
        let transient = failures.iter().any(|failure| failure.0.transient);
        let said = failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let count = failures.len();
        let mut last = failures.pop().expect("there is at least one host");
        if count > 1 {
            last.0.message = format!("none of {count} hosts can be used: {said}");
            last.0.transient = transient;
        }
        last
    }

    /// Where it failed.
    pub fn hop(&self) -> Hop {
        self.0.hop
    }

    /// The cause alone, for an error that says the same in its own words.
    pub fn into_cause(self) -> Option<Box<dyn Error + Send + Sync>> {
        self.0.source
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Returns whether another try may succeed without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        self.0.transient
    }

    /// The code that the server gave, if it was the server that refused.
    pub fn sqlstate(&self) -> Option<&SqlState> {
        self.0.code.as_ref()
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
