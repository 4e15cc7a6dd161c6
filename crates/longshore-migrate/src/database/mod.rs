//! The databases that are migrated.
//!
//! A [`Database`] is one session that runs SQL. What the engines do differently is decided by [`Engine`], in the
//! SQL that this crate writes; a driver only carries it.

mod catalog;
mod postgres;

use std::fmt;

use async_trait::async_trait;

pub(crate) use catalog::{Catalog, LEDGER};
pub use postgres::PostgresDatabase;

/// The kind of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Engine {
    /// PostgreSQL.
    Postgres,
    /// Amazon Redshift.
    Redshift,
    /// DuckDB.
    DuckDb,
}

impl Engine {
    /// A name in double quotes.
    pub(crate) fn ident(self, name: &str) -> String {
        longshore_postgres::quote::ident(name)
    }

    /// A text in single quotes.
    pub(crate) fn literal(self, text: &str) -> String {
        match self {
            Self::Postgres => longshore_postgres::quote::literal(text),
            Self::Redshift => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''")),
            Self::DuckDb => format!("'{}'", text.replace('\'', "''")),
        }
    }

    /// How people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::Redshift => "Amazon Redshift",
            Self::DuckDb => "DuckDB",
        }
    }
}

/// A kind of database, and its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    /// Its kind.
    pub engine: Engine,
    /// The first part of its version.
    pub major: u32,
}

/// What a database says when it refuses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SqlError {
    /// What it says.
    pub message: String,
    /// SQLSTATE, where it has one.
    pub code: Option<String>,
    /// The line within the SQL at which the fault lies, 1 the first.
    pub line: Option<usize>,
    /// More of what it says, each with its heading.
    pub more: Vec<(&'static str, String)>,
    /// Whether the session is lost with it: what the last statement did is not known.
    pub is_lost: bool,
    /// Whether another try may succeed without anybody doing anything.
    pub is_transient: bool,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(code) = &self.code {
            write!(f, " (SQLSTATE {code})")?;
        }
        self.more.iter().try_for_each(|(heading, text)| write!(f, "; {heading}: {text}"))
    }
}

impl std::error::Error for SqlError {}

/// One session of a database.
#[async_trait]
pub trait Database: Send {
    /// What it is.
    fn server(&self) -> Server;

    /// Where it is, for people: without a password.
    fn name(&self) -> &str;

    /// The database's own name: `flyway:database` in scripts.
    fn database(&self) -> &str;

    /// Runs one statement.
    ///
    /// # Errors
    /// What the database says.
    async fn execute(&mut self, sql: &str) -> Result<(), SqlError>;

    /// Runs one query. Values come as texts.
    ///
    /// # Errors
    /// What the database says.
    async fn query(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, SqlError>;

    /// Runs a `COPY … FROM STDIN` with its data.
    ///
    /// # Errors
    /// What the database says.
    async fn copy_in(&mut self, sql: &str, data: &str) -> Result<(), SqlError>;
}
