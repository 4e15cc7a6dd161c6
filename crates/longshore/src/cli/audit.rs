//! `longshore audit`: the archive and the bucket against the ledger. Exit code 1 on a gap.

use std::collections::HashSet;

use futures::TryStreamExt;
use longshore_warehouse::{Cursor, EntryKind};
use rusqlite::{Connection, params};
use serde::Serialize;

use super::{Failure, Global, Outcome, Result, output};
use crate::pipeline::archive::with_identity;
use crate::pipeline::quarantine::{REPORT_SUFFIX, read_report};
use crate::pipeline::{Context, Error};

/// Gaps of a kind that are named before only their number is told.
const NAMED: usize = 1_000;

#[derive(Debug, Default, Serialize)]
struct Document {
    /// Entries of the ledger.
    entries: u64,
    /// Objects in the archive.
    archived: u64,
    /// Objects that wait.
    pending: u64,
    /// Objects in the archive that are in no ledger of the pipelines' tables.
    unknown: Vec<String>,
    /// Entries whose objects are nowhere.
    missing: Vec<String>,
    /// Objects in the archive that are not as large any more as when they were loaded.
    changed: Vec<String>,
    /// Objects that are in and wait to be archived.
    unarchived: Vec<String>,
    /// Objects that are in, by a retry, and lie in quarantine still.
    quarantined: Vec<String>,
    /// Pipelines whose ledger could not be read.
    unreadable: Vec<String>,
}

pub(super) async fn run(global: &Global) -> Result {
    let (config, context) = global.open().await?;
    let spool = Spool::open()?;
    let mut document = Document::default();
    let mut tables = HashSet::new();
    for pipeline in &config.pipelines {
        let table = match context.warehouse.describe(&pipeline.table).await {
            Ok(table) => table,
            Err(error) => {
                document.unreadable.push(format!("{}: {error}", pipeline.name));
                continue;
            }
        };
        if !tables.insert(table.name) {
            continue;
        }
        let mut after: Option<Cursor> = None;
        loop {
            let entries = context.warehouse.page(&pipeline.table, after.as_ref()).await?;
            let Some(last) = entries.last() else { break };
            after = Some(Cursor::from(last));
            document.entries += entries.len() as u64;
            spool.add_entries(&entries)?;
        }
    }
    read_pending(&spool, &context, &mut document).await?;
    if !context.keep {
        read_quarantine(&spool, &context, &mut document).await?;
        read_archive(&spool, &context, &mut document).await?;
        document.missing = spool.missing()?;
        if !document.unreadable.is_empty() {
            // Some of them may be in a ledger that was not read.
            document.unknown.clear();
        }
    }
    if global.json {
        output::json(&document)?;
    } else {
        print(&document);
    }
    let has_gap = !(document.unknown.is_empty()
        && document.missing.is_empty()
        && document.changed.is_empty()
        && document.unarchived.is_empty()
        && document.quarantined.is_empty()
        && document.unreadable.is_empty());
    Ok(if has_gap { Outcome::Incomplete } else { Outcome::Done })
}

async fn read_pending(spool: &Spool, context: &Context, document: &mut Document) -> Result<()> {
    let mut pages = context.bucket.list(&context.prefixes.pending);
    while let Some(page) = pages.try_next().await? {
        for object in page.objects {
            document.pending += 1;
            let identity = object.identity(context.bucket.id()).to_string();
            if !context.keep && spool.seen_pending(&identity)? {
                name(&mut document.unarchived, object.key.as_str());
            }
        }
    }
    Ok(())
}

/// A retry that was cut off after COMMIT leaves its object in quarantine; its report says which one
/// it is.
async fn read_quarantine(spool: &Spool, context: &Context, document: &mut Document) -> Result<()> {
    let mut pages = context.bucket.list(&context.prefixes.failed);
    while let Some(page) = pages.try_next().await? {
        for object in page.objects.iter().filter(|object| !object.key.as_str().ends_with(REPORT_SUFFIX)) {
            let report = read_report(&format!("{}{REPORT_SUFFIX}", object.key), context).await?;
            let Some(report) = report else { continue };
            if spool.seen_pending(&report.identity)? {
                name(&mut document.quarantined, object.key.as_str());
            }
        }
    }
    Ok(())
}

async fn read_archive(spool: &Spool, context: &Context, document: &mut Document) -> Result<()> {
    let mut pages = context.bucket.list(&context.prefixes.processed);
    while let Some(page) = pages.try_next().await? {
        for object in page.objects {
            document.archived += 1;
            match spool.seen_archived(object.key.as_str(), object.size)? {
                Archived::AsLoaded => {}
                Archived::OtherSize => name(&mut document.changed, object.key.as_str()),
                Archived::Unknown => name(&mut document.unknown, object.key.as_str()),
            }
        }
    }
    Ok(())
}

fn name(list: &mut Vec<String>, key: &str) {
    if list.len() < NAMED {
        list.push(key.to_owned());
    }
}

fn print(document: &Document) {
    outln!(
        "{} in the ledger, {} in the archive, {} pending",
        output::counted_as(document.entries, "entry", "entries"),
        output::counted(document.archived, "object"),
        document.pending
    );
    for (keys, what, cure) in [
        (&document.unarchived, "in, but not archived", "`longshore run --once` archives them"),
        (&document.quarantined, "in, but still in quarantine", "`longshore retry --all` archives them"),
        (
            &document.missing,
            "in the ledger, but nowhere in the archive",
            "somebody removed or renamed them; their rows are in",
        ),
        (
            &document.changed,
            "in the archive with another size than was loaded",
            "somebody wrote into them after they were loaded: drop a whole copy into `pending`",
        ),
        (
            &document.unknown,
            "in the archive, but in the ledger of no pipeline's table",
            "the ledger of a table that no pipeline loads any more is not read; to load one, move it to `pending`",
        ),
        (&document.unreadable, "pipelines whose ledger cannot be read", "run `longshore check`"),
    ] {
        if !keys.is_empty() {
            outln!("\n{} {what}:", keys.len());
            keys.iter().for_each(|key| outln!("  {key}"));
            outln!("hint: {cure}");
        }
    }
    let gaps = [
        &document.unarchived,
        &document.quarantined,
        &document.missing,
        &document.changed,
        &document.unknown,
        &document.unreadable,
    ];
    if gaps.iter().all(|keys| keys.is_empty()) {
        outln!("no gaps");
    }
}

/// What an object in the archive is.
enum Archived {
    AsLoaded,
    OtherSize,
    Unknown,
}

/// Entries on disk: the ledger may have millions.
struct Spool {
    connection: Connection,
}

impl Spool {
    fn open() -> Result<Self> {
        let open = || {
            let connection = Connection::open("")?;
            connection.execute_batch(
                "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
                 CREATE TABLE entry (identity TEXT, key TEXT, place TEXT, other TEXT, size INTEGER,
                   found INTEGER DEFAULT 0, taken INTEGER DEFAULT 0) STRICT;
                 CREATE INDEX entry_identity ON entry (identity);
                 CREATE INDEX entry_key ON entry (key);
                 CREATE INDEX entry_place ON entry (place);
                 CREATE INDEX entry_other ON entry (other);",
            )?;
            Ok::<_, rusqlite::Error>(connection)
        };
        Ok(Self { connection: open().map_err(spool_failed)? })
    }

    fn add_entries(&self, entries: &[longshore_warehouse::Entry]) -> Result<()> {
        let add = || {
            let transaction = self.connection.unchecked_transaction()?;
            {
                let mut insert = transaction.prepare_cached(
                    "INSERT INTO entry (identity, key, place, other, size) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?;
                for entry in entries.iter().filter(|entry| entry.kind != EntryKind::Failed) {
                    let other = entry.archive_key.as_ref().map(|key| with_identity(key, entry.identity));
                    let size = entry.size as i64;
                    insert.execute(params![entry.identity.to_string(), entry.key, entry.archive_key, other, size])?;
                }
            }
            transaction.commit()
        };
        add().map_err(spool_failed)
    }

    /// Notes that an object waits, or lies in quarantine. Returns whether it is in.
    fn seen_pending(&self, identity: &str) -> Result<bool> {
        self.note("UPDATE entry SET found = 1 WHERE identity = ?1", identity)
    }

    /// Notes that an object lies at this key of the archive. Tells whether an entry may have put it
    /// there: under its own key, or under that with digits of its identity.
    fn seen_archived(&self, key: &str, size: u64) -> Result<Archived> {
        let own = self.note("UPDATE entry SET found = 1 WHERE other = ?1", key)?;
        let shared = self.note("UPDATE entry SET taken = 1 WHERE place = ?1", key)?;
        if !(own || shared) {
            return Ok(Archived::Unknown);
        }
        let is_as_loaded = self
            .connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM entry WHERE (place = ?1 OR other = ?1) AND size = ?2)")
            .and_then(|mut select| select.query_row(params![key, size as i64], |row| row.get(0)))
            .map_err(spool_failed)?;
        Ok(if is_as_loaded { Archived::AsLoaded } else { Archived::OtherSize })
    }

    fn note(&self, statement: &str, value: &str) -> Result<bool> {
        self.connection
            .prepare_cached(statement)
            .and_then(|mut update| update.execute(params![value]))
            .map(|count| count > 0)
            .map_err(spool_failed)
    }

    /// Keys of the objects that are nowhere. Several objects may share a plain key; only one of
    /// them can lie there.
    fn missing(&self) -> Result<Vec<String>> {
        let read = || {
            let mut select = self.connection.prepare(
                "WITH object AS (
                   SELECT min(rowid), place, other, max(found) AS found, max(taken) AS taken
                   FROM entry WHERE place IS NOT NULL GROUP BY identity),
                 claimant AS (
                   SELECT *, row_number() OVER (PARTITION BY place) AS nth FROM object WHERE found = 0)
                 SELECT CASE WHEN taken = 1 THEN other ELSE place END AS key FROM claimant
                 WHERE taken = 0 OR nth > 1 ORDER BY key LIMIT ?1",
            )?;
            let rows = select.query_map(params![NAMED as i64], |row| row.get(0))?;
            rows.collect::<rusqlite::Result<Vec<String>>>()
        };
        read().map_err(spool_failed)
    }
}

fn spool_failed(error: rusqlite::Error) -> Failure {
    Error::from(error).into()
}
