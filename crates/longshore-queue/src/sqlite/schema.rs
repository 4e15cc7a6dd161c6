//! The tables of the queue, and their layout's version.
//!
//! They share the file with the history of loads, which counts its own version in `user_version`;
//! this one lies in `queue_meta`.

use rusqlite::{OptionalExtension, Transaction};

use super::{Fault, Result};

/// The layout that this program writes; a file of a newer one is refused.
const VERSION: i64 = 1;

/// States in which a task waits, as every query and index on them says it: SQLite uses a partial
/// index only where the words are the same. Not `IN`: SQLite builds a table for three words or more,
/// anew with each row that is written.
pub(super) const WAITING: &str = "(state = 'available' OR state = 'scheduled' OR state = 'retryable')";

/// The rule of order, for a task of the query around it: an older one of its table waits.
pub(super) const AN_OLDER_WAITS: &str = "EXISTS (
    SELECT 1 FROM task AS older INDEXED BY task_by_age
    WHERE (older.state = 'available' OR older.state = 'scheduled' OR older.state = 'retryable')
      AND older.table_name = task.table_name
      AND (older.modified_at, older.key, older.id) < (task.modified_at, task.key, task.id))";

/// Order of urgency.
pub(super) const BY_URGENCY: &str = "priority DESC, modified_at, key, id";

/// Instants are microseconds since 1970. Numbers of bytes are the bits of a `u64`.
const TABLES: &str = "
CREATE TABLE task (
  id INTEGER PRIMARY KEY AUTOINCREMENT, table_name TEXT NOT NULL, pipeline TEXT NOT NULL,
  ordered INTEGER NOT NULL, priority INTEGER NOT NULL, modified_at INTEGER NOT NULL, key TEXT NOT NULL,
  last_modified_at INTEGER NOT NULL, last_key TEXT NOT NULL, object_count INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state = 'available' OR state = 'scheduled' OR state = 'running' OR state = 'retryable'
    OR state = 'completed' OR state = 'cancelled' OR state = 'discarded'),
  queued_at INTEGER NOT NULL, not_before INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
  deaths INTEGER NOT NULL DEFAULT 0, probe INTEGER NOT NULL DEFAULT 0,
  worker TEXT, token TEXT, lease_until INTEGER, started_at INTEGER,
  bytes_read INTEGER NOT NULL DEFAULT 0, bytes_total INTEGER NOT NULL DEFAULT 0, load TEXT,
  cancel_asked INTEGER NOT NULL DEFAULT 0, error TEXT, ended_at INTEGER,
  CHECK ((state = 'running') = (token IS NOT NULL))) STRICT;
CREATE TABLE task_object (
  task INTEGER NOT NULL REFERENCES task (id) ON DELETE CASCADE, place INTEGER NOT NULL, table_name TEXT NOT NULL,
  identity TEXT NOT NULL, modified_at INTEGER NOT NULL, key TEXT NOT NULL, bytes INTEGER NOT NULL,
  payload TEXT NOT NULL, PRIMARY KEY (task, place)) STRICT, WITHOUT ROWID;
CREATE TABLE worker (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, since INTEGER NOT NULL, lease INTEGER NOT NULL) STRICT;
CREATE TABLE queue_pause (
  pipeline TEXT PRIMARY KEY, kind TEXT NOT NULL, since INTEGER NOT NULL, error TEXT NOT NULL, cure TEXT,
  task INTEGER) STRICT;
CREATE TABLE schedule (
  name TEXT PRIMARY KEY, rule TEXT NOT NULL, next_at INTEGER NOT NULL, worker TEXT, token TEXT, tick_rule TEXT,
  busy_since INTEGER, busy_until INTEGER, last_at INTEGER, error TEXT) STRICT;
";

/// Rules that the engine keeps, then ways to find things.
fn indexes() -> String {
    format!(
        "
CREATE UNIQUE INDEX task_running ON task (table_name) WHERE state = 'running';
CREATE UNIQUE INDEX task_object_open ON task_object (table_name, identity);
CREATE INDEX task_object_by_key ON task_object (key);
CREATE INDEX task_by_state ON task (state, {BY_URGENCY}, object_count);
CREATE INDEX task_by_age ON task (table_name, modified_at, key, id) WHERE {WAITING};
CREATE INDEX task_by_pipeline ON task (pipeline, {BY_URGENCY}) WHERE {WAITING};
CREATE INDEX task_unordered ON task (table_name, pipeline, {BY_URGENCY}) WHERE state = 'available' AND ordered = 0;
CREATE INDEX task_due ON task (not_before) WHERE state IN ('scheduled', 'retryable');
CREATE INDEX task_probe ON task (pipeline) WHERE probe = 1;
CREATE INDEX task_ended ON task (ended_at) WHERE state = 'completed';
"
    )
}

/// Makes the tables where there are none.
pub(super) fn migrate(tx: &Transaction<'_>) -> Result<()> {
    tx.execute_batch("CREATE TABLE IF NOT EXISTS queue_meta (version INTEGER NOT NULL) STRICT")?;
    let found: Option<i64> =
        tx.query_row("SELECT max(version) FROM queue_meta", [], |row| row.get(0)).optional()?.flatten();
    match found {
        Some(found) if found > VERSION => Err(Fault::Newer { found, known: VERSION }),
        Some(_) => Ok(()),
        None => {
            tx.execute_batch(TABLES)?;
            tx.execute_batch(&indexes())?;
            tx.execute("INSERT INTO queue_meta (version) VALUES (?1)", [VERSION])?;
            Ok(())
        }
    }
}
