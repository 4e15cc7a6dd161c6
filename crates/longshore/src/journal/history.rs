//! What the journal remembers, row by row.

use jiff::Timestamp;
use longshore_csv::Reject;
use longshore_warehouse::{Entry, EntryKind, Generation, ObjectId};
use rusqlite::types::Type;
use rusqlite::{OptionalExtension, Row, Transaction, TransactionBehavior, params};
use serde::Serialize;

use super::{Journal, JournalError};

/// Where an object is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It waits.
    Pending,
    /// Its rows are in.
    Loaded,
    /// It cannot be loaded as it is.
    Failed,
    /// A newer object had replaced the table, or its bytes were loaded before.
    Superseded,
    /// It is done and out of the way.
    Archived,
}

impl State {
    const ALL: [Self; 5] = [Self::Pending, Self::Loaded, Self::Failed, Self::Superseded, Self::Archived];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Loaded => "loaded",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
            Self::Archived => "archived",
        }
    }

    /// Whether an object may make this move. Any other move is a bug. To stay is no move.
    pub fn may_become(self, next: Self) -> bool {
        use State::{Archived, Failed, Loaded, Pending, Superseded};
        matches!(
            (self, next),
            (Pending, Loaded | Failed | Superseded) | (Loaded | Superseded, Archived) | (Failed, Loaded | Superseded) // an operator asked for a retry
        )
    }
}

/// How a load ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Committed.
    Loaded,
    /// Committed, with nothing to load: repeats, or objects that a newer one supersedes.
    Skipped,
    /// Its objects were refused.
    Failed,
    /// The surroundings did not allow it: its objects wait.
    Waiting,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Loaded, Self::Skipped, Self::Failed, Self::Waiting];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
            Self::Waiting => "waiting",
        }
    }
}

/// One attempt at a load.
#[derive(Debug, Clone, Serialize)]
pub struct LoadRow {
    /// Its id.
    pub load_id: String,
    /// Pipeline.
    pub pipeline: String,
    /// Table, folded and qualified.
    pub table: String,
    /// Mode.
    pub mode: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// Objects in it.
    pub objects: u64,
    /// Listed bytes of its objects.
    pub bytes: u64,
    /// Rows, as in the ledger.
    #[serde(flatten)]
    pub rows: Totals,
    /// What went wrong.
    pub error: Option<String>,
    /// What to do about it.
    pub cure: Option<String>,
}

/// Numbers of rows, as in the ledger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Data records that the reader counted.
    pub rows_read: u64,
    /// Rows that the warehouse took.
    pub rows_loaded: u64,
    /// Rows that did not fit.
    pub rows_rejected: u64,
    /// Rows that lost to a row of the same load.
    pub rows_duplicate: u64,
    /// Rows that lost to a row already in the target.
    pub rows_superseded: u64,
}

impl Totals {
    /// Adds an entry's rows.
    pub fn add(&mut self, entry: &Entry) {
        self.rows_read += entry.rows_read;
        self.rows_loaded += entry.rows_loaded;
        self.rows_rejected += entry.rows_rejected;
        self.rows_duplicate += entry.rows_duplicate;
        self.rows_superseded += entry.rows_superseded;
    }

    /// Adds the rows of others.
    pub fn merge(&mut self, other: Self) {
        self.rows_read += other.rows_read;
        self.rows_loaded += other.rows_loaded;
        self.rows_rejected += other.rows_rejected;
        self.rows_duplicate += other.rows_duplicate;
        self.rows_superseded += other.rows_superseded;
    }
}

/// What is known of an object.
#[derive(Debug, Clone, Serialize)]
pub struct ObjectRow {
    /// Its identity.
    pub identity: String,
    /// Which load of it.
    pub generation: Generation,
    /// Pipeline.
    pub pipeline: String,
    /// Table, folded and qualified.
    pub table: String,
    /// Its key when it landed.
    pub key: String,
    /// Its key now.
    pub lies_at: String,
    /// Where it is on its way.
    pub state: State,
    /// The load it went in with.
    pub load_id: Option<String>,
    /// Size in bytes.
    pub size: u64,
    /// Last-modified when it landed.
    pub modified_at: Timestamp,
    /// Data records.
    pub rows_read: u64,
    /// Rows taken.
    pub rows_loaded: u64,
    /// Rows that did not fit.
    pub rows_rejected: u64,
    /// What is wrong with it.
    pub error: Option<String>,
    /// What to do about it.
    pub cure: Option<String>,
    /// Key of its report.
    pub report: Option<String>,
    /// When this was written.
    pub updated_at: Timestamp,
}

impl ObjectRow {
    /// What an entry of the ledger says of an object.
    pub fn from_entry(entry: &Entry, lies_at: &str, report: Option<String>, at: Timestamp) -> Self {
        let state = match entry.kind {
            EntryKind::Load => State::Loaded,
            EntryKind::Failed => State::Failed,
            _ => State::Superseded,
        };
        Self {
            identity: entry.identity.to_string(),
            generation: entry.generation,
            pipeline: entry.pipeline.clone(),
            table: entry.table.to_string(),
            key: entry.key.clone(),
            lies_at: lies_at.to_owned(),
            state,
            load_id: Some(entry.load_id.to_string()),
            size: entry.size,
            modified_at: entry.modified_at,
            rows_read: entry.rows_read,
            rows_loaded: entry.rows_loaded,
            rows_rejected: entry.rows_rejected,
            error: None,
            cure: None,
            report,
            updated_at: at,
        }
    }
}

/// A row that did not fit.
#[derive(Debug, Clone, Serialize)]
pub struct RejectRow {
    /// Physical line at which it begins.
    pub line: u64,
    /// Number of the data record.
    pub record: u64,
    /// Offset in the decompressed object.
    pub byte: u64,
    /// Column.
    pub column: Option<String>,
    /// Name of the rule.
    pub rule: String,
    /// The rule in words.
    pub message: String,
    /// The record, as text.
    pub raw: String,
}

impl Journal {
    /// Keeps a load and what is known of its objects, in one transaction.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn record_load(&self, load: &LoadRow, objects: &[ObjectRow]) -> Result<(), JournalError> {
        self.with(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            insert_load(&transaction, load, "OR REPLACE", "")?;
            insert_objects(&transaction, objects)?;
            transaction.commit()
        })
    }

    /// Keeps a load of which only now some objects are found, and these. Found in several goes, they are
    /// added up.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn record_found(&self, load: &LoadRow, objects: &[ObjectRow]) -> Result<(), JournalError> {
        self.with(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let add =
                ["objects", "bytes", "rows_read", "rows_loaded", "rows_rejected", "rows_duplicate", "rows_superseded"]
                    .map(|column| format!("{column} = {column} + excluded.{column}"))
                    .join(", ");
            insert_load(&transaction, load, "", &format!("ON CONFLICT (load_id) DO UPDATE SET {add}"))?;
            insert_objects(&transaction, objects)?;
            transaction.commit()
        })
    }

    /// Notes that objects are archived, with the keys that they have now.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn record_archived(&self, moved: &[(ObjectId, Generation, String)], at: Timestamp) -> Result<(), JournalError> {
        self.with(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            {
                let mut update = transaction.prepare_cached(
                    "UPDATE object SET state = 'archived', lies_at = ?3, updated_at = ?4
                     WHERE identity = ?1 AND generation = ?2 AND state IN ('loaded', 'superseded', 'archived')",
                )?;
                for (identity, generation, key) in moved {
                    update.execute(params![identity.to_string(), generation, key, at.to_string()])?;
                }
            }
            transaction.commit()
        })
    }

    /// Keeps the rejects of an object in place of those of an earlier attempt.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn record_rejects(
        &self,
        identity: ObjectId,
        generation: Generation,
        rejects: &[Reject],
    ) -> Result<(), JournalError> {
        let identity = identity.to_string();
        self.with(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction
                .execute("DELETE FROM reject WHERE identity = ?1 AND generation = ?2", params![identity, generation])?;
            {
                let mut insert =
                    transaction.prepare_cached("INSERT INTO reject VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9)")?;
                for reject in rejects {
                    for fault in &reject.faults {
                        insert.execute(params![
                            identity,
                            generation,
                            reject.line as i64,
                            reject.record as i64,
                            reject.byte as i64,
                            fault.column,
                            fault.rule.as_str(),
                            fault.message,
                            reject.raw,
                        ])?;
                    }
                }
            }
            transaction.commit()
        })
    }

    /// The rejects of an object, by line.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn rejects(&self, identity: &str, generation: Generation, limit: u64) -> Result<Vec<RejectRow>, JournalError> {
        self.with(|connection| {
            let mut select = connection.prepare_cached(
                "SELECT line, record, byte, column_name, rule, message, raw FROM reject
                 WHERE identity = ?1 AND generation = ?2 ORDER BY line, rowid LIMIT ?3",
            )?;
            let rows = select.query_map(params![identity, generation, limit as i64], |row| {
                let raw: Vec<u8> = row.get(6)?;
                Ok(RejectRow {
                    line: unsigned(row, 0)?,
                    record: unsigned(row, 1)?,
                    byte: unsigned(row, 2)?,
                    column: row.get(3)?,
                    rule: row.get(4)?,
                    message: row.get(5)?,
                    raw: String::from_utf8_lossy(&raw).into_owned(),
                })
            })?;
            rows.collect()
        })
    }

    /// What is known of the objects of this key (as it landed, or as it lies now), newest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn objects_of_key(&self, key: &str) -> Result<Vec<ObjectRow>, JournalError> {
        self.with(|connection| {
            let mut select = connection.prepare_cached(
                "SELECT * FROM object WHERE key = ?1 OR lies_at = ?1 ORDER BY updated_at DESC, generation DESC LIMIT 100",
            )?;
            select.query_map(params![key], object_row)?.collect()
        })
    }

    /// What is known of an object.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn object(&self, identity: ObjectId, generation: Generation) -> Result<Option<ObjectRow>, JournalError> {
        self.with(|connection| {
            connection
                .prepare_cached("SELECT * FROM object WHERE identity = ?1 AND generation = ?2")?
                .query_row(params![identity.to_string(), generation], object_row)
                .optional()
        })
    }

    /// Objects in a state that were not loaded anew since, newest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn objects_in(&self, state: State, limit: u64) -> Result<Vec<ObjectRow>, JournalError> {
        self.with(|connection| {
            let mut select = connection.prepare_cached(
                "SELECT * FROM object WHERE state = ?1 AND NOT EXISTS (
                   SELECT 1 FROM object AS newer
                   WHERE newer.identity = object.identity AND newer.generation > object.generation)
                 ORDER BY updated_at DESC, key LIMIT ?2",
            )?;
            select.query_map(params![state.as_str(), limit as i64], object_row)?.collect()
        })
    }

    /// Objects with rejects, newest first: those that failed, and those whose good rows loaded.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn objects_with_rejects(&self, limit: u64) -> Result<Vec<ObjectRow>, JournalError> {
        self.with(|connection| {
            let mut select = connection.prepare_cached(
                "SELECT * FROM object WHERE rows_rejected > 0 OR state = 'failed' ORDER BY updated_at DESC, key LIMIT ?1",
            )?;
            select.query_map(params![limit as i64], object_row)?.collect()
        })
    }

    /// Loads, newest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn loads(&self, pipeline: Option<&str>, limit: u64) -> Result<Vec<LoadRow>, JournalError> {
        self.with(|connection| {
            let mut select = connection.prepare_cached(
                "SELECT * FROM load WHERE ?1 IS NULL OR pipeline = ?1 ORDER BY finished_at DESC, load_id DESC LIMIT ?2",
            )?;
            select.query_map(params![pipeline, limit as i64], load_row)?.collect()
        })
    }

    /// Notes that something was said. Returns whether it is said for the first time.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn notice(&self, kind: &str, subject: &str, at: Timestamp) -> Result<bool, JournalError> {
        self.with(|connection| {
            let added = connection
                .execute("INSERT OR IGNORE INTO notice VALUES (?1, ?2, ?3)", params![kind, subject, at.to_string()])?;
            Ok(added > 0)
        })
    }
}

fn insert_load(transaction: &Transaction<'_>, load: &LoadRow, or: &str, conflict: &str) -> rusqlite::Result<()> {
    let sql =
        format!("INSERT {or} INTO load VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16) {conflict}");
    transaction.prepare_cached(&sql)?.execute(params![
        load.load_id,
        load.pipeline,
        load.table,
        load.mode,
        load.started_at.to_string(),
        load.finished_at.to_string(),
        load.outcome.as_str(),
        load.objects as i64,
        load.bytes as i64,
        load.rows.rows_read as i64,
        load.rows.rows_loaded as i64,
        load.rows.rows_rejected as i64,
        load.rows.rows_duplicate as i64,
        load.rows.rows_superseded as i64,
        load.error,
        load.cure,
    ])?;
    Ok(())
}

fn insert_objects(transaction: &Transaction<'_>, objects: &[ObjectRow]) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT OR REPLACE INTO object VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17)",
    )?;
    let mut select = transaction.prepare_cached("SELECT state FROM object WHERE identity = ?1 AND generation = ?2")?;
    for object in objects {
        let known = select
            .query_row(params![object.identity, object.generation], |row| word(row, 0, &State::ALL, State::as_str))
            .optional()?;
        if known.is_some_and(|known| known != object.state && !known.may_become(object.state)) {
            // What is known is further on than what is told: it stays.
            tracing::debug!(object.key = object.key, "{known:?} does not become {:?}", object.state);
            continue;
        }
        insert.execute(params![
            object.identity,
            object.generation,
            object.pipeline,
            object.table,
            object.key,
            object.lies_at,
            object.state.as_str(),
            object.load_id,
            object.size as i64,
            object.modified_at.to_string(),
            object.rows_read as i64,
            object.rows_loaded as i64,
            object.rows_rejected as i64,
            object.error,
            object.cure,
            object.report,
            object.updated_at.to_string(),
        ])?;
    }
    Ok(())
}

fn unsigned(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(at).map(|value| value as u64)
}

fn parsed<T: std::str::FromStr>(row: &Row<'_>, at: usize) -> rusqlite::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: String = row.get(at)?;
    text.parse().map_err(|error| rusqlite::Error::FromSqlConversionFailure(at, Type::Text, Box::new(error)))
}

fn timestamp(row: &Row<'_>, at: usize) -> rusqlite::Result<Timestamp> {
    parsed(row, at)
}

fn word<T: Copy>(row: &Row<'_>, at: usize, all: &[T], as_str: fn(T) -> &'static str) -> rusqlite::Result<T> {
    let text: String = row.get(at)?;
    let unknown = || rusqlite::Error::InvalidColumnType(at, text.clone(), Type::Text);
    all.iter().copied().find(|value| as_str(*value) == text).ok_or_else(unknown)
}

fn object_row(row: &Row<'_>) -> rusqlite::Result<ObjectRow> {
    Ok(ObjectRow {
        identity: row.get(0)?,
        generation: row.get(1)?,
        pipeline: row.get(2)?,
        table: row.get(3)?,
        key: row.get(4)?,
        lies_at: row.get(5)?,
        state: word(row, 6, &State::ALL, State::as_str)?,
        load_id: row.get(7)?,
        size: unsigned(row, 8)?,
        modified_at: timestamp(row, 9)?,
        rows_read: unsigned(row, 10)?,
        rows_loaded: unsigned(row, 11)?,
        rows_rejected: unsigned(row, 12)?,
        error: row.get(13)?,
        cure: row.get(14)?,
        report: row.get(15)?,
        updated_at: timestamp(row, 16)?,
    })
}

fn load_row(row: &Row<'_>) -> rusqlite::Result<LoadRow> {
    Ok(LoadRow {
        load_id: row.get(0)?,
        pipeline: row.get(1)?,
        table: row.get(2)?,
        mode: row.get(3)?,
        started_at: timestamp(row, 4)?,
        finished_at: timestamp(row, 5)?,
        outcome: word(row, 6, &Outcome::ALL, Outcome::as_str)?,
        objects: unsigned(row, 7)?,
        bytes: unsigned(row, 8)?,
        rows: Totals {
            rows_read: unsigned(row, 9)?,
            rows_loaded: unsigned(row, 10)?,
            rows_rejected: unsigned(row, 11)?,
            rows_duplicate: unsigned(row, 12)?,
            rows_superseded: unsigned(row, 13)?,
        },
        error: row.get(14)?,
        cure: row.get(15)?,
    })
}
