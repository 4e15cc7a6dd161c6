//! Logins that are fetched anew for every connection.

use std::error::Error;
use std::fmt;

use async_trait::async_trait;
use secrecy::SecretString;

/// As whom to connect, and the proof of it.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The user.
    pub user: String,
    /// The password.
    pub password: SecretString,
}

/// Gives out logins that are good for a short time, as identity services do.
///
/// Asked once for each connection, before the first host is tried: a password that was good for the last
/// connection need not be good for the next. It may keep one as long as it is valid.
#[async_trait]
pub trait Credentials: fmt::Debug + Send + Sync + 'static {
    /// Fetches a login.
    async fn fetch(&self) -> Result<Credential, CredentialsError>;
}

/// Why no login is given out. The text says what was asked of whom; it holds no secret.
#[derive(Debug)]
pub struct CredentialsError {
    message: String,
    hint: Option<String>,
    transient: bool,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl CredentialsError {
    /// An error that stays until somebody does something about it.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, transient: false, source: None }
    }

    /// Says what to do about it.
    #[must_use]
    pub fn cure(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says that it may be gone at the next try.
    #[must_use]
    pub fn transient(mut self) -> Self {
        self.transient = true;
        self
    }

    /// Keeps the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Returns whether another try may succeed without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        self.transient
    }
}

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for CredentialsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Hop};

    #[derive(Debug)]
    struct Refuses;

    #[async_trait]
    impl Credentials for Refuses {
        async fn fetch(&self) -> Result<Credential, CredentialsError> {
            Err(CredentialsError::new("the cluster `c` is not known").cure("correct the name").transient())
        }
    }

    #[tokio::test]
    async fn a_login_that_is_not_given_out_ends_the_connection_before_it_begins() {
        let config = Config::with_environment("redshift://u@192.0.2.1/analytics", &|_| None).expect("a URL");
        let config = config.credentials(std::sync::Arc::new(Refuses));
        let error = config.connect().await.expect_err("no login");
        assert_eq!(error.hop(), Hop::Login);
        assert_eq!(
            (error.to_string().as_str(), error.hint()),
            ("there is no login for `analytics`", Some("correct the name"))
        );
        assert!(error.is_transient() && error.source().is_some());
    }
}
