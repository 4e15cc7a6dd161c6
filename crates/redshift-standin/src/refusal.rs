//! What the stand-in answers instead of running a statement.

/// An error for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// SQLSTATE.
    pub(crate) sqlstate: String,
    pub(crate) message: String,
    pub(crate) detail: Option<String>,
}

impl Refusal {
    pub(crate) fn new(sqlstate: &str, message: impl Into<String>) -> Self {
        Self { sqlstate: sqlstate.to_owned(), message: message.into(), detail: None }
    }

    #[must_use]
    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// What Redshift may do and the stand-in does not model.
    pub(crate) fn not_modelled(what: &str) -> Self {
        Self::new("LS000", format!("stand-in: not modelled: {what}"))
    }

    /// Redshift's parser does not know this.
    pub(crate) fn syntax(near: &str) -> Self {
        Self::new("42601", format!("syntax error at or near \"{near}\""))
    }

    /// Redshift does not have this.
    pub(crate) fn unsupported(what: &str) -> Self {
        Self::new("0A000", format!("{what} is not supported"))
    }
}

impl From<crate::copy::Refusal> for Refusal {
    fn from(refusal: crate::copy::Refusal) -> Self {
        Self::new(refusal.sqlstate, refusal.message)
    }
}
