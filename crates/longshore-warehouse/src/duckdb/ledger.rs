//! The ledger: which objects are in, written in the transaction of their rows.
//!
//! `longshore.ledger` has no index and no constraint. That an identity and generation stand in it
//! once per table is kept by the fence: only its holder writes entries of a table, after it looked.
//! An index would have to be kept in memory, and be loaded each time the file is opened again
//! (`design.md` beside this file has the measurements).

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Int64Array, StringViewArray, TimestampMicrosecondArray};
use duckdb::types::{TimeUnit, Value};
use duckdb::{Connection, Row, params, params_from_iter};
use jiff::Timestamp;

use super::connect::Lease;
use super::error::{During, failed};
use super::rows::feed_of;
use super::vectors::Physical;
use crate::{
    Candidate, Cursor, Entry, EntryKind, Generation, Kind, Known, KnownHash, ObjectId, ObjectSpec, PAGE_ENTRIES,
    Position, QualifiedName, WarehouseError,
};

/// Version of the ledger's tables that this driver writes.
const VERSION: i64 = 1;

/// The statements that create the ledger.
pub(super) const DDL: &str = "\
CREATE SCHEMA IF NOT EXISTS longshore;
CREATE TABLE IF NOT EXISTS longshore.meta (version BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS longshore.ledger (
    table_name VARCHAR NOT NULL,
    identity VARCHAR NOT NULL,
    generation BIGINT NOT NULL,
    pipeline VARCHAR NOT NULL,
    mode VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    parent VARCHAR,
    load_id VARCHAR NOT NULL,
    bucket VARCHAR NOT NULL,
    key VARCHAR NOT NULL,
    etag VARCHAR NOT NULL,
    size BIGINT NOT NULL,
    modified_at TIMESTAMPTZ NOT NULL,
    content_hash VARCHAR,
    rules_hash VARCHAR NOT NULL,
    rows_read BIGINT NOT NULL,
    rows_loaded BIGINT NOT NULL,
    rows_rejected BIGINT NOT NULL,
    rows_duplicate BIGINT NOT NULL,
    rows_superseded BIGINT NOT NULL,
    late BOOLEAN NOT NULL,
    loaded_at TIMESTAMPTZ NOT NULL,
    archive_key VARCHAR
);
INSERT INTO longshore.meta SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM longshore.meta);
";

const COLUMNS: &str = "table_name, identity, generation, pipeline, mode, kind, parent, load_id, bucket, key, etag, size, \
     modified_at, content_hash, rules_hash, rows_read, rows_loaded, rows_rejected, rows_duplicate, rows_superseded, late, \
     loaded_at, archive_key";

/// [`COLUMNS`] as they are read: instants as microseconds.
const READ: &str = "l.table_name, l.identity, l.generation, l.pipeline, l.mode, l.kind, l.parent, l.load_id, l.bucket, l.key, \
     l.etag, l.size, epoch_us(l.modified_at), l.content_hash, l.rules_hash, l.rows_read, l.rows_loaded, l.rows_rejected, \
     l.rows_duplicate, l.rows_superseded, l.late, epoch_us(l.loaded_at), l.archive_key";

/// Whether the ledger is there; refuses one of a newer version.
pub(super) fn find(connection: &Connection) -> Result<bool, WarehouseError> {
    let doing = || "looking for the ledger".to_owned();
    let tables: i64 = connection
        .query_row(
            "SELECT count(*) FROM duckdb_tables()
             WHERE database_name = current_database() AND schema_name = 'longshore' AND table_name IN ('ledger', 'meta')",
            [],
            |row| row.get(0),
        )
        .during(doing)?;
    if tables == 0 {
        return Ok(false);
    }
    if tables == 1 {
        return Err(WarehouseError::new(Kind::Ledger, "one of `longshore.ledger` and `longshore.meta` is missing")
            .cure("restore the missing table from a backup"));
    }
    let (versions, version): (i64, Option<i64>) = connection
        .query_row("SELECT count(*), max(version)::BIGINT FROM longshore.meta", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .during(doing)?;
    match version {
        Some(VERSION) if versions == 1 => Ok(true),
        Some(newer) if newer > VERSION => Err(WarehouseError::new(
            Kind::Ledger,
            format!("the ledger has version {newer}, and this longshore knows versions up to {VERSION}"),
        )
        .cure("run the newest longshore against this warehouse")),
        _ => Err(WarehouseError::new(Kind::Ledger, "`longshore.meta` does not have one row with the ledger's version")
            .cure(
                "restore `longshore.meta` from a backup, or run `INSERT INTO longshore.meta VALUES (1)` if it is empty",
            )),
    }
}

/// Creates the ledger where it is missing.
pub(super) fn ensure(lease: &Lease) -> Result<(), WarehouseError> {
    if lease.holder().ledger_seen() {
        return Ok(());
    }
    let connection = lease.connection();
    if !find(connection)? {
        create(connection)?;
    }
    lease.holder().set_ledger_seen();
    Ok(())
}

/// Creates the ledger. Two loads of this process may do so at once: one of them loses, and finds it.
fn create(connection: &Connection) -> Result<(), WarehouseError> {
    let created = connection.execute_batch(&format!("BEGIN TRANSACTION;\n{DDL}COMMIT;"));
    let Err(error) = created else { return Ok(()) };
    roll_back(connection);
    for _ in 0..20 {
        if matches!(find(connection), Ok(true)) {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    Err(failed("creating the ledger `longshore.ledger`", &error))
}

/// Ends a transaction that may or may not be open; the crate cannot tell which.
pub(super) fn roll_back(connection: &Connection) {
    if let Err(error) = connection.execute_batch("ROLLBACK") {
        tracing::trace!("ROLLBACK: {error}");
    }
}

/// What is known of some objects. The ledger has to be there.
pub(super) fn lookup(
    connection: &Connection,
    table: &QualifiedName,
    candidates: &[Candidate],
) -> Result<Known, WarehouseError> {
    let doing = || format!("looking up {} objects of `{table}` in the ledger", candidates.len());
    let name = table.to_string();
    let mut known = Known { latest: latest(connection, table)?.map(|entry| entry.0), ..Known::default() };
    if candidates.is_empty() {
        return Ok(known);
    }
    let identities = text(candidates.iter().map(|candidate| Some(candidate.identity.to_string())));
    let pipelines = text(candidates.iter().map(|candidate| Some(candidate.pipeline.clone())));
    let keys = text(candidates.iter().map(|candidate| Some(candidate.key.clone())));
    known.entries = of_objects(connection, &name, &identities, &keys).during(doing)?;
    let asked = feed_of(vec![Physical::Text, Physical::Text], vec![pipelines, keys]);
    known.hashes = connection
        .prepare(&format!(
            "SELECT DISTINCT pipeline, key, content_hash, identity FROM longshore.ledger
             WHERE table_name = ? AND kind = 'load' AND content_hash IS NOT NULL
               AND (key, pipeline) IN (SELECT c1, c0 FROM {})
             ORDER BY ALL",
            asked.sql()
        ))
        .and_then(|mut statement| {
            let hash = |row: &Row<'_>| {
                Ok(KnownHash {
                    pipeline: row.get(0)?,
                    key: row.get(1)?,
                    content_hash: row.get(2)?,
                    identity: parsed(row, 3)?,
                })
            };
            statement.query_map(params![name], hash)?.collect()
        })
        .during(doing)?;
    Ok(known)
}

/// Entries of these objects, each an identity and its key. The identity is made of the key, so the
/// key adds nothing to what is found: it is there because DuckDB skips most blocks by it, as keys
/// of one day lie together and identities nowhere.
fn of_objects(
    connection: &Connection,
    table: &str,
    identities: &ArrayRef,
    keys: &ArrayRef,
) -> duckdb::Result<Vec<Entry>> {
    let identities = feed_of(vec![Physical::Text], vec![identities.clone()]);
    let keys = feed_of(vec![Physical::Text], vec![keys.clone()]);
    connection
        .prepare(&format!(
            "SELECT {READ} FROM longshore.ledger l
             WHERE l.table_name = ? AND l.key IN (SELECT c0 FROM {})
               AND l.identity IN (SELECT c0 FROM {})
             ORDER BY l.modified_at, l.key, l.identity, l.generation",
            keys.sql(),
            identities.sql()
        ))?
        .query_map(params![table], entry)?
        .collect()
}

/// Those of these objects that are in, in the generation that is to be loaded.
pub(super) fn already_in(
    connection: &Connection,
    table: &QualifiedName,
    objects: &[ObjectSpec],
) -> Result<Vec<Entry>, WarehouseError> {
    let identities = text(objects.iter().map(|object| Some(object.identity.to_string())));
    let keys = text(objects.iter().map(|object| Some(object.key.clone())));
    let mut entries = of_objects(connection, &table.to_string(), &identities, &keys)
        .during(|| format!("looking up the objects of a load of `{table}` in the ledger"))?;
    let loads: HashSet<_> = objects.iter().map(|object| (object.identity, object.generation)).collect();
    entries.retain(|entry| loads.contains(&(entry.identity, entry.generation)));
    Ok(entries)
}

/// The greatest position among the entries of kind `load`, with its identity.
pub(super) fn latest(
    connection: &Connection,
    table: &QualifiedName,
) -> Result<Option<(Position, ObjectId)>, WarehouseError> {
    let doing = || format!("reading the latest position of `{table}` from the ledger");
    let mut statement = connection
        .prepare(
            "SELECT epoch_us(modified_at), key, identity FROM longshore.ledger WHERE table_name = ? AND kind = 'load'
             ORDER BY modified_at DESC, key DESC LIMIT 1",
        )
        .during(doing)?;
    let mut rows = statement.query(params![table.to_string()]).during(doing)?;
    let Some(row) = rows.next().during(doing)? else {
        return Ok(None);
    };
    let read =
        || -> duckdb::Result<_> { Ok((Position { modified_at: instant(row, 0)?, key: row.get(1)? }, parsed(row, 2)?)) };
    read().map(Some).during(doing)
}

/// All entries of an object.
pub(super) fn of(
    connection: &Connection,
    table: &QualifiedName,
    identity: ObjectId,
    key: &str,
) -> Result<Vec<Entry>, WarehouseError> {
    let (identity, key) = (text([Some(identity.to_string())]), text([Some(key.to_owned())]));
    of_objects(connection, &table.to_string(), &identity, &key)
        .during(|| format!("reading the newest entry of `{table}` from the ledger"))
}

/// The next entries of a table.
pub(super) fn page(
    connection: &Connection,
    table: &QualifiedName,
    after: Option<&Cursor>,
) -> Result<Vec<Entry>, WarehouseError> {
    let doing = || format!("reading the ledger of `{table}`");
    let mut filter = String::new();
    let mut parameters = vec![Value::Text(table.to_string())];
    if let Some(cursor) = after {
        let micros = cursor.position.modified_at.as_microsecond();
        // The first condition lets DuckDB skip what lies before, by the least and greatest value
        // of each block; the second is exact.
        filter = "AND l.modified_at >= CAST(? AS TIMESTAMPTZ)
                  AND (epoch_us(l.modified_at), l.key, l.identity, l.generation) > (?, ?, ?, ?)"
            .to_owned();
        parameters.extend([
            Value::Timestamp(TimeUnit::Microsecond, micros),
            Value::BigInt(micros),
            Value::Text(cursor.position.key.clone()),
            Value::Text(cursor.identity.to_string()),
            Value::BigInt(i64::from(cursor.generation)),
        ]);
    }
    connection
        .prepare(&format!(
            "SELECT {READ} FROM longshore.ledger l WHERE l.table_name = ? {filter}
             ORDER BY l.modified_at, l.key, l.identity, l.generation LIMIT {PAGE_ENTRIES}"
        ))
        .and_then(|mut statement| statement.query_map(params_from_iter(parameters), entry)?.collect())
        .during(doing)
}

/// Writes entries.
pub(super) fn write(connection: &Connection, entries: &[Entry]) -> Result<(), WarehouseError> {
    let of = |value: fn(&Entry) -> String| text(entries.iter().map(|entry| Some(value(entry))));
    let number = |value: fn(&Entry) -> u64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(
            entries.iter().map(|entry| i64::try_from(value(entry)).unwrap_or(i64::MAX)),
        ))
    };
    let time = |value: fn(&Entry) -> Timestamp| -> ArrayRef {
        let micros = entries.iter().map(|entry| value(entry).as_microsecond());
        Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"))
    };
    let late: ArrayRef = Arc::new(entries.iter().map(|entry| Some(entry.late)).collect::<BooleanArray>());
    let (physicals, arrays): (Vec<_>, Vec<_>) = [
        (Physical::Text, of(|e| e.table.to_string())),
        (Physical::Text, of(|e| e.identity.to_string())),
        (Physical::Int64, number(|e| u64::from(e.generation))),
        (Physical::Text, of(|e| e.pipeline.clone())),
        (Physical::Text, of(|e| e.mode.clone())),
        (Physical::Text, of(|e| e.kind.as_str().to_owned())),
        (Physical::Text, text(entries.iter().map(|e| e.parent.map(|parent| parent.to_string())))),
        (Physical::Text, of(|e| e.load_id.to_string())),
        (Physical::Text, of(|e| e.bucket.clone())),
        (Physical::Text, of(|e| e.key.clone())),
        (Physical::Text, of(|e| e.etag.clone())),
        (Physical::Int64, number(|e| e.size)),
        (Physical::TimestampTz, time(|e| e.modified_at)),
        (Physical::Text, text(entries.iter().map(|e| e.content_hash.clone()))),
        (Physical::Text, of(|e| e.rules_hash.clone())),
        (Physical::Int64, number(|e| e.rows_read)),
        (Physical::Int64, number(|e| e.rows_loaded)),
        (Physical::Int64, number(|e| e.rows_rejected)),
        (Physical::Int64, number(|e| e.rows_duplicate)),
        (Physical::Int64, number(|e| e.rows_superseded)),
        (Physical::Boolean, late),
        (Physical::TimestampTz, time(|e| e.loaded_at)),
        (Physical::Text, text(entries.iter().map(|e| e.archive_key.clone()))),
    ]
    .into_iter()
    .unzip();
    let feed = feed_of(physicals, arrays);
    let doing = || "writing the ledger".to_owned();
    let written = connection
        .execute(&format!("INSERT INTO longshore.ledger ({COLUMNS}) SELECT * FROM {}", feed.sql()), [])
        .during(doing)?;
    if written != entries.len() {
        return Err(WarehouseError::new(
            Kind::Ledger,
            format!("the ledger took {written} of {} entries", entries.len()),
        ));
    }
    Ok(())
}

fn text(values: impl IntoIterator<Item = Option<String>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<StringViewArray>())
}

/// A row of [`READ`].
fn entry(row: &Row<'_>) -> duckdb::Result<Entry> {
    let number = |index| -> duckdb::Result<u64> { Ok(u64::try_from(row.get::<_, i64>(index)?).unwrap_or_default()) };
    let parent: Option<String> = row.get(6)?;
    Ok(Entry {
        table: parsed(row, 0)?,
        identity: parsed(row, 1)?,
        generation: Generation::try_from(row.get::<_, i64>(2)?).unwrap_or(Generation::MAX),
        pipeline: row.get(3)?,
        mode: row.get(4)?,
        kind: kind(row, 5)?,
        parent: parent.is_some().then(|| parsed(row, 6)).transpose()?,
        load_id: parsed(row, 7)?,
        bucket: row.get(8)?,
        key: row.get(9)?,
        etag: row.get(10)?,
        size: number(11)?,
        modified_at: instant(row, 12)?,
        content_hash: row.get(13)?,
        rules_hash: row.get(14)?,
        rows_read: number(15)?,
        rows_loaded: number(16)?,
        rows_rejected: number(17)?,
        rows_duplicate: number(18)?,
        rows_superseded: number(19)?,
        late: row.get(20)?,
        loaded_at: instant(row, 21)?,
        archive_key: row.get(22)?,
    })
}

/// A text that has to parse.
fn parsed<T>(row: &Row<'_>, index: usize) -> duckdb::Result<T>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: String = row.get(index)?;
    text.parse()
        .map_err(|error| duckdb::Error::FromSqlConversionFailure(index, duckdb::types::Type::Text, Box::new(error)))
}

fn instant(row: &Row<'_>, index: usize) -> duckdb::Result<Timestamp> {
    Timestamp::from_microsecond(row.get(index)?)
        .map_err(|error| duckdb::Error::FromSqlConversionFailure(index, duckdb::types::Type::BigInt, Box::new(error)))
}

fn kind(row: &Row<'_>, index: usize) -> duckdb::Result<EntryKind> {
    let word: String = row.get(index)?;
    EntryKind::from_word(&word).ok_or_else(|| {
        let error = format!("`{word}` is not a kind of entry");
        duckdb::Error::FromSqlConversionFailure(index, duckdb::types::Type::Text, error.into())
    })
}
