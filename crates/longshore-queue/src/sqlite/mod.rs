//! A queue in tables of the journal's SQLite file, for workers on one machine.
//!
//! Any number of processes may use one file. All writes are `BEGIN IMMEDIATE` transactions that are
//! on the disk when they answer, one at a time; other processes wait their turn. Instants are kept to
//! the microsecond. What it cannot do: tell that a worker on another machine died before its leases run
//! out, and more than some thousand tasks per second.

mod enqueue;
mod lease;
mod moves;
mod operator;
mod pause;
mod queue;
mod read;
mod schedule;
mod schema;
mod sweep;
mod time;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::types::{FromSqlError, Type};
use rusqlite::{Connection, ErrorCode, Row, Transaction, TransactionBehavior};

use crate::{Clock, QueueError, State};

/// How long a write waits for another process's: they last milliseconds, but for a batch of thousands.
const BUSY: Duration = Duration::from_secs(10);
/// Pause between attempts to write. SQLite's own grow to a tenth of a second, in which others that come
/// later get in again and again.
const AGAIN: Duration = Duration::from_millis(1);
/// More than there are statements.
const STATEMENTS: usize = 128;

/// Where a [`SqliteQueue`] lies.
#[derive(Debug, Clone)]
pub struct SqliteConfig {
    /// Path of the journal's file; it is made, with its folder, where there is none.
    pub path: PathBuf,
    /// The time by which leases and schedules go.
    pub clock: Arc<dyn Clock>,
}

/// A queue in a SQLite file. Workers that arrived by it die with it.
#[derive(Debug, Clone)]
pub struct SqliteQueue {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    connection: Mutex<Connection>,
    locks: worker::Locks,
}

impl SqliteQueue {
    /// Opens the queue, and makes it where there is none.
    ///
    /// # Errors
    /// The file cannot be read and written, or is of a newer layout. The path is in the message.
    pub fn open(config: SqliteConfig) -> std::result::Result<Self, QueueError> {
        let SqliteConfig { path, clock } = config;
        let connection = open(&path).map_err(|fault| fault.at(&path))?;
        let locks = worker::Locks::new(&path);
        let queue = Self { inner: Arc::new(Inner { path, clock, connection: Mutex::new(connection), locks }) };
        queue.inner.transact(|tx, _| schema::migrate(tx))?;
        Ok(queue)
    }

    /// Runs work that changes something, on a thread that may block.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>, &Inner) -> Result<T> + Send + 'static,
    ) -> std::result::Result<T, QueueError> {
        self.spawn(move |inner| inner.transact(work)).await
    }

    /// Runs work that only looks, all of it at one state of the file.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &Inner) -> Result<T> + Send + 'static,
    ) -> std::result::Result<T, QueueError> {
        self.spawn(move |inner| inner.look(work)).await
    }

    async fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> std::result::Result<T, QueueError> + Send + 'static,
    ) -> std::result::Result<T, QueueError> {
        let inner = Arc::clone(&self.inner);
        match tokio::task::spawn_blocking(move || work(&inner)).await {
            Ok(answer) => answer,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(QueueError::Stopped { path: self.inner.path.clone() }),
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic while the lock was held left no half-written transaction: SQLite rolls it back.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Now, in microseconds.
    fn now(&self) -> i64 {
        time::micros(self.clock.now())
    }

    /// Looks at one state of the file; whoever writes meanwhile is not held up.
    fn look<T>(&self, work: impl FnOnce(&Connection, &Self) -> Result<T>) -> std::result::Result<T, QueueError> {
        let mut connection = self.lock();
        let answer = connection.transaction().map_err(Fault::from).and_then(|tx| work(&tx, self));
        answer.map_err(|fault| fault.at(&self.path))
    }

    /// Changes the file, alone.
    fn transact<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>, &Self) -> Result<T>,
    ) -> std::result::Result<T, QueueError> {
        let mut connection = self.lock();
        let run = || {
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let answer = work(&tx, self)?;
            tx.commit()?;
            Ok(answer)
        };
        run().map_err(|fault: Fault| fault.at(&self.path))
    }
}

fn open(path: &Path) -> Result<Connection> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|source| Fault::File { path: folder.to_owned(), source })?;
    }
    let mut connection = Connection::open(path)?;
    connection.busy_handler(Some(wait))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    use_wal(&connection)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

/// Waits for another process's write, the `n`th time; whether to try again.
fn wait(n: i32) -> bool {
    std::thread::sleep(AGAIN);
    u32::try_from(n).is_ok_and(|n| AGAIN.saturating_mul(n) < BUSY)
}

/// Processes that open a new file at once refuse each other this, without waiting.
fn use_wal(connection: &Connection) -> Result<()> {
    let until = Instant::now() + BUSY;
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && Instant::now() < until => {
                std::thread::sleep(AGAIN);
            }
            done => return Ok(done?),
        }
    }
}

/// What goes wrong inside; where, the border adds.
#[derive(Debug)]
enum Fault {
    Sqlite(rusqlite::Error),
    File { path: PathBuf, source: std::io::Error },
    Newer { found: i64, known: i64 },
    Move { task: i64, from: State, to: State },
}

type Result<T> = std::result::Result<T, Fault>;

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Fault {
    fn at(self, path: &Path) -> QueueError {
        let path = path.to_owned();
        match self {
            Self::Sqlite(source) => QueueError::Sqlite { path, source },
            Self::File { path, source } => QueueError::File { path, source },
            Self::Newer { found, known } => QueueError::Newer { path, found, known },
            Self::Move { task, from, to } => QueueError::Move { task, from: from.as_str(), to: to.as_str() },
        }
    }
}

/// A column that holds one of several words.
fn word<T>(row: &Row<'_>, column: usize, parse: impl FnOnce(&str) -> Option<T>) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    parse(&text).ok_or_else(|| {
        let error = FromSqlError::Other(format!("`{text}` is none of the words that belong here").into());
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })
}

/// A name that nobody else has.
fn draw() -> String {
    uuid::Uuid::now_v7().to_string()
}
