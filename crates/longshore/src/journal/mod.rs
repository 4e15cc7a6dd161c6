//! The control database: history of loads, objects and rejects, paused pipelines, things already
//! said.
//!
//! Losing it loses history, never a row and never the once-only promise: the ledger in the
//! warehouse is the only truth about "is it loaded?". One SQLite file, WAL. A write outlives the process at once, and
//! a power cut as soon as the queue writes into the same file, as it does when a task begins or ends: so a load does
//! not wait for the disk twice more.

mod history;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

pub use history::{LoadRow, ObjectRow, Outcome, RejectRow, State, Totals};

/// The journal's own layout; a file of a newer one is refused.
const VERSION: i64 = 1;
/// How long a write waits for another process's write: they last milliseconds.
const BUSY: Duration = Duration::from_secs(10);

const SCHEMA: &str = "
CREATE TABLE load (
  load_id TEXT PRIMARY KEY, pipeline TEXT NOT NULL, table_name TEXT NOT NULL, mode TEXT NOT NULL,
  started_at TEXT NOT NULL, finished_at TEXT NOT NULL, outcome TEXT NOT NULL, objects INTEGER NOT NULL,
  bytes INTEGER NOT NULL, rows_read INTEGER NOT NULL, rows_loaded INTEGER NOT NULL, rows_rejected INTEGER NOT NULL,
  rows_duplicate INTEGER NOT NULL, rows_superseded INTEGER NOT NULL, error TEXT, cure TEXT) STRICT;
CREATE INDEX load_by_time ON load (finished_at);
CREATE TABLE object (
  identity TEXT NOT NULL, generation INTEGER NOT NULL, pipeline TEXT NOT NULL, table_name TEXT NOT NULL,
  key TEXT NOT NULL, lies_at TEXT NOT NULL, state TEXT NOT NULL, load_id TEXT, size INTEGER NOT NULL,
  modified_at TEXT NOT NULL, rows_read INTEGER NOT NULL, rows_loaded INTEGER NOT NULL, rows_rejected INTEGER NOT NULL,
  error TEXT, cure TEXT, report TEXT, updated_at TEXT NOT NULL, PRIMARY KEY (identity, generation)) STRICT;
CREATE INDEX object_by_key ON object (key, updated_at);
CREATE INDEX object_by_place ON object (lies_at);
CREATE INDEX object_by_state ON object (state, updated_at);
CREATE TABLE reject (
  identity TEXT NOT NULL, generation INTEGER NOT NULL, line INTEGER NOT NULL, record INTEGER NOT NULL,
  byte INTEGER NOT NULL, column_name TEXT, rule TEXT NOT NULL, message TEXT NOT NULL, raw BLOB NOT NULL) STRICT;
CREATE INDEX reject_by_object ON reject (identity, generation, line);
CREATE TABLE notice (kind TEXT NOT NULL, subject TEXT NOT NULL, at TEXT NOT NULL, PRIMARY KEY (kind, subject)) STRICT;
";

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Its folder cannot be made.
    #[error("cannot create the folder of the journal `{path}`")]
    Folder {
        /// Path of the journal.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It was written by a newer version.
    #[error("the journal `{path}` is of a newer longshore (layout {found}, this one knows {VERSION})")]
    Newer {
        /// Path of the journal.
        path: PathBuf,
        /// Its layout.
        found: i64,
    },
    /// SQLite refuses.
    #[error("the journal `{path}` cannot be used")]
    Sqlite {
        /// Path of the journal.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

/// The control database.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl Journal {
    /// Opens the file, and makes it where there is none.
    ///
    /// # Errors
    /// It cannot be read and written, or is of a newer layout. The path is in the message.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(|source| JournalError::Folder { path: path.to_owned(), source })?;
        Self::over(path, Connection::open(path))
    }

    /// Opens the file if there is one; else a journal that is empty and stays in memory, for who
    /// only looks.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn look(path: &Path) -> Result<Self, JournalError> {
        if path.exists() {
            return Self::open(path);
        }
        Self::over(path, Connection::open_in_memory())
    }

    fn over(path: &Path, connection: rusqlite::Result<Connection>) -> Result<Self, JournalError> {
        let connection = connection.and_then(Self::prepare);
        let connection = connection.map_err(|source| JournalError::Sqlite { path: path.to_owned(), source })?;
        let journal = Self { path: path.to_owned(), connection: Mutex::new(connection) };
        journal.migrate()?;
        Ok(journal)
    }

    fn prepare(connection: Connection) -> rusqlite::Result<Connection> {
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        Ok(connection)
    }

    fn migrate(&self) -> Result<(), JournalError> {
        let found = self.with(|connection| {
            let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let found: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            if found == 0 {
                transaction.execute_batch(SCHEMA)?;
                transaction.pragma_update(None, "user_version", VERSION)?;
            }
            transaction.commit()?;
            Ok(found)
        })?;
        if found > VERSION {
            return Err(JournalError::Newer { path: self.path.clone(), found });
        }
        Ok(())
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn with<T>(&self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T, JournalError> {
        work(&mut self.lock()).map_err(|source| JournalError::Sqlite { path: self.path.clone(), source })
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic while the lock was held left no half-written transaction: SQLite rolls it back.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
