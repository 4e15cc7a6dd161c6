//! The ledger: which objects are in, written in the transaction of their rows.
//!
//! A write locks its whole table to the end of the transaction, so every target has a pair of tables of its
//! own: `head_*` with one row, the fence, and `ledger_*` with the entries. Both bear the target's name as a
//! hash, and say it in full. Nothing unique is enforced here: that an entry is there once comes from the fence.

use std::collections::HashSet;

use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};
use tokio_postgres::SimpleQueryRow;

use super::load::LONGEST;
use super::quote::{ident, literal};
use crate::session::{Answer, Session};
use crate::{
    Candidate, Cursor, Entry, EntryKind, Generation, Kind, Known, KnownHash, ObjectId, ObjectSpec, PAGE_ENTRIES,
    Position, QualifiedName, WarehouseError,
};

/// Version of the ledger's tables that this driver writes.
const VERSION: i64 = 1;

/// Objects asked about in one statement: as many as a load may have.
const ASKED: usize = 10_000;

/// Bytes of what grows with the number of objects in a statement, which may have 16 MB: the entries of 5,000
/// objects fit into one, however long their keys.
const MOST_STATEMENT: usize = 14 << 20;

/// Entries in the answer to who is newer: one is enough.
const NEWER: usize = 1_000;

/// How often the ledger's tables are tried to be made while somebody else makes them too.
const TRIES: u32 = 3;

const SCHEMA: &str = "CREATE SCHEMA IF NOT EXISTS \"longshore\"";
const META: &str = "CREATE TABLE IF NOT EXISTS \"longshore\".\"meta\" (\"version\" BIGINT NOT NULL)";

/// Names and types of the columns, in their order. Times are in UTC.
const COLUMNS: [(&str, &str); 23] = [
    ("table_name", "VARCHAR(600) NOT NULL"),
    ("identity", "VARCHAR(64) NOT NULL"),
    ("generation", "BIGINT NOT NULL"),
    ("pipeline", "VARCHAR(1024) NOT NULL"),
    ("mode", "VARCHAR(16) NOT NULL"),
    ("kind", "VARCHAR(16) NOT NULL"),
    ("parent", "VARCHAR(64)"),
    ("load_id", "VARCHAR(36) NOT NULL"),
    ("bucket", "VARCHAR(4096) NOT NULL"),
    ("key", "VARCHAR(4096) NOT NULL"),
    ("etag", "VARCHAR(1024) NOT NULL"),
    ("size", "BIGINT NOT NULL"),
    ("modified_at", "TIMESTAMP NOT NULL"),
    ("content_hash", "VARCHAR(64)"),
    ("rules_hash", "VARCHAR(128) NOT NULL"),
    ("rows_read", "BIGINT NOT NULL"),
    ("rows_loaded", "BIGINT NOT NULL"),
    ("rows_rejected", "BIGINT NOT NULL"),
    ("rows_duplicate", "BIGINT NOT NULL"),
    ("rows_superseded", "BIGINT NOT NULL"),
    ("late", "BOOLEAN NOT NULL"),
    ("loaded_at", "TIMESTAMP NOT NULL"),
    ("archive_key", "VARCHAR(4096)"),
];

/// The pair of tables of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ledger {
    table: QualifiedName,
    suffix: String,
}

/// What the fence says, and which of the objects that are to be loaded are in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) epoch: i64,
    pub(super) entries: Vec<Entry>,
}

impl Ledger {
    /// That of a table, whether it exists or not.
    pub(super) fn of(table: &QualifiedName) -> Self {
        use sha2::{Digest, Sha256};
        let digest = Sha256::digest(table.to_string().as_bytes());
        let suffix = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Self { table: table.clone(), suffix }
    }

    fn head(&self) -> String {
        format!("\"longshore\".{}", ident(&format!("head_{}", self.suffix)))
    }

    fn entries(&self) -> String {
        format!("\"longshore\".{}", ident(&format!("ledger_{}", self.suffix)))
    }

    /// The two tables, and what a load does to them.
    pub(super) fn rights(&self) -> [(QualifiedName, &'static [&'static str]); 2] {
        let named = |kind: &str| QualifiedName::new("longshore", format!("{kind}_{}", self.suffix));
        [(named("head"), &["SELECT", "UPDATE"]), (named("ledger"), &["SELECT", "INSERT"])]
    }

    fn create_head_sql(&self) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {} (\"one\" SMALLINT NOT NULL, \"epoch\" BIGINT NOT NULL, \
             \"table_name\" VARCHAR(600) NOT NULL)",
            self.head()
        )
    }

    fn create_entries_sql(&self) -> String {
        let columns: Vec<String> = COLUMNS.iter().map(|(name, ty)| format!("\"{name}\" {ty}")).collect();
        format!("CREATE TABLE IF NOT EXISTS {} ({}) DISTSTYLE AUTO", self.entries(), columns.join(", "))
    }

    /// The statements that make the pair, each by itself and outside a transaction.
    pub(super) fn create_sql(&self) -> [String; 4] {
        [SCHEMA.to_owned(), META.to_owned(), self.create_head_sql(), self.create_entries_sql()]
    }

    /// Which of the tables are there.
    fn find_sql(&self) -> String {
        format!(
            "SELECT DISTINCT table_name FROM svv_columns WHERE table_schema = 'longshore' \
             AND table_name IN ('meta', 'head_{0}', 'ledger_{0}')",
            self.suffix
        )
    }

    /// The fence: the first statement of a load's transaction. It changes one row, or somebody was faster.
    /// Its comment says whose it is: a session that is left over is found by it (`sessions.rs`).
    pub(super) fn fence_sql(&self, epoch: i64, load: &str) -> String {
        format!(
            "UPDATE {} SET \"epoch\" = {} WHERE \"epoch\" = {epoch} {}",
            self.head(),
            epoch + 1,
            super::sessions::tag(load)
        )
    }

    /// The fence's epoch, beside the entries of some objects.
    pub(super) fn head_sql(&self, objects: &[ObjectSpec]) -> String {
        let columns: Vec<String> = COLUMNS.iter().map(|(name, _)| format!("l.\"{name}\"")).collect();
        let identities = objects.iter().map(|object| object.identity);
        format!(
            "SELECT h.\"epoch\", h.\"table_name\", {} FROM {} h LEFT JOIN {} l \
             ON l.\"table_name\" = h.\"table_name\" AND l.\"identity\" IN ({})",
            columns.join(", "),
            self.head(),
            self.entries(),
            listed(identities)
        )
    }

    /// The fenced look: entries of the objects; in ordered modes those of newer objects too.
    pub(super) fn fenced_sql(&self, objects: &[ObjectSpec], newer_than: Option<Option<&Position>>) -> String {
        let ours = format!("\"identity\" IN ({})", listed(objects.iter().map(|object| object.identity)));
        let (filter, limit) = match newer_than {
            None => (ours, String::new()),
            Some(None) => (format!("{ours} OR \"kind\" = 'load'"), format!(" LIMIT {NEWER}")),
            Some(Some(position)) => {
                let (time, key) = (stamp(position.modified_at), literal(&position.key));
                let newer = format!("(\"modified_at\" > {time} OR (\"modified_at\" = {time} AND \"key\" > {key}))");
                (format!("{ours} OR (\"kind\" = 'load' AND {newer})"), format!(" LIMIT {NEWER}"))
            }
        };
        format!(
            "SELECT {} FROM {} WHERE {filter} ORDER BY \"modified_at\" DESC, \"key\" DESC{limit}",
            names(),
            self.entries()
        )
    }

    /// The statements that write entries: mostly one.
    pub(super) fn insert_sql(&self, entries: &[Entry]) -> Vec<String> {
        let mut statements: Vec<String> = Vec::new();
        for entry in entries {
            let row = values(entry);
            match statements.last_mut() {
                Some(statement) if statement.len() + row.len() < MOST_STATEMENT => {
                    statement.push_str(", ");
                    statement.push_str(&row);
                }
                _ => statements.push(format!("INSERT INTO {} ({}) VALUES {row}", self.entries(), names())),
            }
        }
        statements
    }

    fn doing(&self) -> String {
        format!("using the ledger of `{}`", self.table)
    }

    /// Whether the pair is there; refuses one of a newer version.
    pub(super) async fn find(&self, session: &Session) -> Result<bool, WarehouseError> {
        if self.tables(session).await?.len() < 3 {
            return Ok(false);
        }
        check_version(session).await.map(|version| version.is_some())
    }

    /// Which of the three tables are there.
    async fn tables(&self, session: &Session) -> Result<Vec<String>, WarehouseError> {
        let found = session.ask(&self.find_sql(), || self.doing()).await?;
        Ok(rows(&found).iter().filter_map(|row| row.get(0).map(str::to_owned)).collect())
    }

    /// Makes the pair where it is missing; returns whether it did.
    pub(super) async fn ensure(&self, session: &Session) -> Result<bool, WarehouseError> {
        if self.find(session).await? && !self.heads(session).await?.is_empty() {
            return Ok(false);
        }
        let mut tries = 0;
        loop {
            tries += 1;
            match self.create(session).await {
                Ok(()) => return Ok(true),
                // Somebody else makes the same tables just now, and this one came second.
                Err(error) if tries < TRIES && is_rivalry(&error) && !session.is_closed() => {
                    tokio::time::sleep(super::transaction::pause(tries)).await;
                }
                Err(error) => return Err(explained(error)),
            }
        }
    }

    async fn create(&self, session: &Session) -> Result<(), WarehouseError> {
        let doing = || format!("creating the ledger of `{}`", self.table);
        // Who may not create schemas may not say so either, though this one is there.
        let has_schema = self.tables(session).await?.iter().any(|name| name == "meta");
        for statement in self.create_sql().iter().skip(if has_schema { 2 } else { 0 }) {
            session.ask_within(LONGEST, statement, doing).await?;
        }
        session.ask("BEGIN", doing).await?;
        match self.begin_epochs(session).await {
            Ok(()) => session.ask_within(LONGEST, "COMMIT", doing).await.map(drop),
            Err(error) => {
                if !session.is_closed() {
                    session.ask("ROLLBACK", doing).await?;
                }
                Err(error)
            }
        }
    }

    /// Writes the version and the head row if they are missing, behind a lock that only this takes.
    async fn begin_epochs(&self, session: &Session) -> Result<(), WarehouseError> {
        let doing = || format!("creating the ledger of `{}`", self.table);
        session.ask_within(LONGEST, "LOCK \"longshore\".\"meta\"", doing).await?;
        if check_version(session).await?.is_none() {
            let sql = format!("INSERT INTO \"longshore\".\"meta\" (\"version\") VALUES ({VERSION})");
            session.ask_within(LONGEST, &sql, doing).await?;
        }
        if self.heads(session).await?.is_empty() {
            let name = literal(&self.table.to_string());
            let sql = format!("INSERT INTO {} (\"one\", \"epoch\", \"table_name\") VALUES (1, 0, {name})", self.head());
            session.ask_within(LONGEST, &sql, doing).await?;
        }
        Ok(())
    }

    /// The head rows, of which there is to be one: epoch and table.
    async fn heads(&self, session: &Session) -> Result<Vec<i64>, WarehouseError> {
        let sql = format!("SELECT \"epoch\", \"table_name\" FROM {}", self.head());
        let answers = session.ask_within(LONGEST, &sql, || self.doing()).await?;
        rows(&answers).iter().map(|row| self.epoch(row)).collect()
    }

    /// The epoch of a head row, which has to be of this table.
    fn epoch(&self, row: &SimpleQueryRow) -> Result<i64, WarehouseError> {
        let name = row.get(1).unwrap_or_default();
        if name != self.table.to_string() {
            return Err(WarehouseError::new(
                Kind::Ledger,
                format!("the ledger that `{}` would have is that of `{name}`", self.table),
            )
            .cure("rename one of the two tables: their names have the same hash"));
        }
        row.get(0).and_then(|text| text.parse().ok()).ok_or_else(|| self.damaged())
    }

    fn damaged(&self) -> WarehouseError {
        WarehouseError::new(Kind::Ledger, format!("the ledger of `{}` holds something that is no entry", self.table))
            .cure(format!("restore {} and {} from a backup", self.head(), self.entries()))
    }

    /// The error for a fence that changed more than one row.
    pub(super) fn doubled(&self, count: u64) -> WarehouseError {
        WarehouseError::new(
            Kind::Ledger,
            format!("{} has {count} rows where one is to be: the fence of `{}` is of no use", self.head(), self.table),
        )
        .cure(format!("delete all but the row with the greatest epoch from {}", self.head()))
    }

    /// The epoch, and which of the objects are in.
    pub(super) async fn look(&self, session: &Session, objects: &[ObjectSpec]) -> Result<Head, WarehouseError> {
        let answers = session.ask_within(LONGEST, &self.head_sql(objects), || self.doing()).await.map_err(explained)?;
        let first = rows(&answers).first().ok_or_else(|| {
            WarehouseError::new(Kind::Ledger, format!("{} has no row", self.head())).cure(format!(
                "INSERT INTO {} VALUES (1, 0, {})",
                self.head(),
                literal(&self.table.to_string())
            ))
        })?;
        let epoch = self.epoch(first)?;
        // Without entries of these objects one row comes all the same, with nothing but the head.
        let joined = rows(&answers).iter().filter(|row| row.get(3).is_some());
        let entries = joined.map(|row| self.entry(row, 2)).collect::<Result<Vec<_>, _>>()?;
        Ok(Head { epoch, entries: ours(entries, objects) })
    }

    /// Under the fence: entries of these objects, else those of newer ones.
    pub(super) async fn fenced(
        &self,
        session: &Session,
        objects: &[ObjectSpec],
        newer_than: Option<Option<&Position>>,
    ) -> Result<Vec<Entry>, WarehouseError> {
        let answers = session
            .ask_within(LONGEST, &self.fenced_sql(objects, newer_than), || self.doing())
            .await
            .map_err(explained)?;
        let found = self.read(&answers)?;
        let known = ours(found.clone(), objects);
        if !known.is_empty() {
            return Ok(known);
        }
        let Some(seen) = newer_than else { return Ok(known) };
        // Older generations of these objects were found too.
        Ok(found.into_iter().filter(|entry| entry.kind == EntryKind::Load && Some(&entry.position()) > seen).collect())
    }

    /// Entries of the candidates, and what was loaded under their keys.
    fn lookup_sql(&self, candidates: &[Candidate]) -> [String; 2] {
        let keys: Vec<String> = candidates.iter().map(|candidate| literal(&candidate.key)).collect();
        [
            format!(
                "SELECT {} FROM {} WHERE \"identity\" IN ({}) ORDER BY \"modified_at\", \"key\", \"identity\", \"generation\"",
                names(),
                self.entries(),
                listed(candidates.iter().map(|candidate| candidate.identity))
            ),
            format!(
                "SELECT DISTINCT \"pipeline\", \"key\", \"content_hash\", \"identity\" FROM {} \
                 WHERE \"kind\" = 'load' AND \"content_hash\" IS NOT NULL AND \"key\" IN ({}) ORDER BY 1, 2, 3, 4",
                self.entries(),
                keys.join(", ")
            ),
        ]
    }

    fn latest_sql(&self) -> String {
        format!(
            "SELECT \"modified_at\", \"key\" FROM {} WHERE \"kind\" = 'load' ORDER BY \"modified_at\" DESC, \"key\" DESC LIMIT 1",
            self.entries()
        )
    }

    /// What is asked before a load of these objects: to plan it, then to begin it.
    pub(super) fn looks_sql(&self, candidates: &[Candidate], objects: &[ObjectSpec]) -> Vec<String> {
        let planning = asked(candidates).into_iter().flat_map(|some| self.lookup_sql(some));
        [self.find_sql()].into_iter().chain(planning).chain([self.latest_sql(), self.head_sql(objects)]).collect()
    }

    /// What the ledger knows of candidates.
    pub(super) async fn lookup(&self, session: &Session, candidates: &[Candidate]) -> Result<Known, WarehouseError> {
        let mut known = Known::default();
        for some in asked(candidates) {
            let of = some.iter().map(|candidate| (candidate.pipeline.as_str(), candidate.key.as_str()));
            let of: HashSet<(&str, &str)> = of.collect();
            let [of_identities, of_keys] = self.lookup_sql(some);
            known.entries.extend(
                self.read(&session.ask_within(LONGEST, &of_identities, || self.doing()).await.map_err(explained)?)?,
            );
            let answers = session.ask_within(LONGEST, &of_keys, || self.doing()).await.map_err(explained)?;
            for row in rows(&answers) {
                let hash = self.hash(row).ok_or_else(|| self.damaged())?;
                // The server takes texts for equal that differ by blanks at their end.
                if of.contains(&(hash.pipeline.as_str(), hash.key.as_str())) {
                    known.hashes.push(hash);
                }
            }
        }
        known.latest = self.latest(session).await?;
        Ok(known)
    }

    fn hash(&self, row: &SimpleQueryRow) -> Option<KnownHash> {
        Some(KnownHash {
            pipeline: row.get(0)?.to_owned(),
            key: row.get(1)?.to_owned(),
            content_hash: row.get(2)?.to_owned(),
            identity: row.get(3)?.parse().ok()?,
        })
    }

    /// The greatest position among the entries of kind `load`.
    async fn latest(&self, session: &Session) -> Result<Option<Position>, WarehouseError> {
        let answers = session.ask_within(LONGEST, &self.latest_sql(), || self.doing()).await.map_err(explained)?;
        let Some(row) = rows(&answers).first() else { return Ok(None) };
        let position = || Some(Position { modified_at: instant(row.get(0)?)?, key: row.get(1)?.to_owned() });
        position().map(Some).ok_or_else(|| self.damaged())
    }

    /// The statement for the next entries.
    fn page_sql(&self, after: Option<&Cursor>) -> String {
        // Rows are compared column by column: servers of this age take a row for less where each of its columns is.
        let filter = after.map_or_else(String::new, |cursor| {
            let (time, key) = (stamp(cursor.position.modified_at), literal(&cursor.position.key));
            let (identity, generation) = (literal(&cursor.identity.to_string()), cursor.generation);
            format!(
                "WHERE \"modified_at\" > {time} OR (\"modified_at\" = {time} AND (\"key\" > {key} OR (\"key\" = {key} AND \
                 (\"identity\" > {identity} OR (\"identity\" = {identity} AND \"generation\" > {generation}))))) "
            )
        });
        format!(
            "SELECT {} FROM {} {filter}ORDER BY \"modified_at\", \"key\", \"identity\", \"generation\" LIMIT {PAGE_ENTRIES}",
            names(),
            self.entries()
        )
    }

    /// The next entries.
    pub(super) async fn page(&self, session: &Session, after: Option<&Cursor>) -> Result<Vec<Entry>, WarehouseError> {
        let answers = session.ask_within(LONGEST, &self.page_sql(after), || self.doing()).await.map_err(explained)?;
        self.read(&answers)
    }

    fn read(&self, answers: &[Answer]) -> Result<Vec<Entry>, WarehouseError> {
        rows(answers).iter().map(|row| self.entry(row, 0)).collect()
    }

    /// The entry whose columns begin at a place of a row.
    fn entry(&self, row: &SimpleQueryRow, from: usize) -> Result<Entry, WarehouseError> {
        entry(&|index| row.get(from + index)).ok_or_else(|| self.damaged())
    }
}

/// Whether a table could not be made because another session made it at the same time.
fn is_rivalry(error: &WarehouseError) -> bool {
    let says = |words: &str| error.server_text().is_some_and(|text| text.contains(words));
    matches!(error.kind(), Kind::Conflict | Kind::Rows { .. } | Kind::Missing)
        || says("already exists")
        || says("concurrent transaction")
}

/// Says which rights on the ledger are missing.
fn explained(error: WarehouseError) -> WarehouseError {
    if *error.kind() != Kind::AccessDenied {
        return error;
    }
    let text = "this user may not create or use the tables of the ledger, in the schema `longshore`";
    WarehouseError::new(Kind::AccessDenied, text)
        .cure("let somebody who may run what `longshore check --print-sql` prints")
        .server(error.server_text().unwrap_or_default())
}

/// The version of the ledger's tables; `None` where none was written yet.
async fn check_version(session: &Session) -> Result<Option<i64>, WarehouseError> {
    let sql = "SELECT count(*), max(\"version\") FROM \"longshore\".\"meta\"";
    let answers = session.ask_within(LONGEST, sql, || "looking for the ledger".to_owned()).await.map_err(explained)?;
    let row = rows(&answers).first();
    let number = |index| row.and_then(|row| row.get(index)).and_then(|text| text.parse::<i64>().ok());
    match (number(0), number(1)) {
        (Some(0), _) => Ok(None),
        (Some(1), Some(VERSION)) => Ok(Some(VERSION)),
        (_, Some(newer)) if newer > VERSION => Err(WarehouseError::new(
            Kind::Ledger,
            format!("the ledger has version {newer}, and this longshore knows versions up to {VERSION}"),
        )),
        _ => Err(WarehouseError::new(Kind::Ledger, "`longshore.meta` does not have one row with the ledger's version")
            .cure("delete all rows of `longshore.meta` but one")),
    }
}

/// What somebody runs who may create the schema, for the user who loads: every target has tables of its own,
/// so that user has to be able to make them.
pub(super) fn sql(user: &str) -> String {
    format!(
        "CREATE SCHEMA IF NOT EXISTS \"longshore\";
GRANT USAGE, CREATE ON SCHEMA \"longshore\" TO {user};
{META};
GRANT ALL ON TABLE \"longshore\".\"meta\" TO {user};
-- {user} then makes a pair of tables for each target: longshore.head_… and longshore.ledger_…
"
    )
}

fn rows(answers: &[Answer]) -> &[SimpleQueryRow] {
    answers.first().map(|answer| answer.rows.as_slice()).unwrap_or_default()
}

fn names() -> String {
    COLUMNS.iter().map(|(name, _)| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

/// Identities for an IN list, which must not be empty.
fn listed(identities: impl Iterator<Item = ObjectId>) -> String {
    let listed: Vec<String> = identities.map(|identity| format!("'{identity}'")).collect();
    if listed.is_empty() { "''".to_owned() } else { listed.join(", ") }
}

/// Those of the entries that are to be loaded.
fn ours(mut entries: Vec<Entry>, objects: &[ObjectSpec]) -> Vec<Entry> {
    let objects: HashSet<_> = objects.iter().map(|object| (object.identity, object.generation)).collect();
    entries.retain(|entry| objects.contains(&(entry.identity, entry.generation)));
    entries
}

/// The candidates as they are asked about together: mostly all at once.
fn asked(candidates: &[Candidate]) -> Vec<&[Candidate]> {
    let mut bytes = 0;
    let mut count = 0;
    candidates
        .chunk_by(|_, next| {
            // As a literal a key has twice its bytes at most.
            (bytes, count) = (bytes + 2 * next.key.len() + 4, count + 1);
            let fits = bytes < MOST_STATEMENT && count < ASKED;
            if !fits {
                (bytes, count) = (0, 0);
            }
            fits
        })
        .collect()
}

/// A time as a literal, in UTC.
fn stamp(time: Timestamp) -> String {
    format!("'{}'", time.strftime("%Y-%m-%d %H:%M:%S%.6f"))
}

/// A time as the server shows it.
fn instant(text: &str) -> Option<Timestamp> {
    text.parse::<civil::DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// The values of an entry, in the order of [`COLUMNS`].
fn values(entry: &Entry) -> String {
    let maybe = |text: Option<String>| text.map_or_else(|| "NULL".to_owned(), |text| literal(&text));
    let values = [
        literal(&entry.table.to_string()),
        literal(&entry.identity.to_string()),
        entry.generation.to_string(),
        literal(&entry.pipeline),
        literal(&entry.mode),
        literal(entry.kind.as_str()),
        maybe(entry.parent.map(|parent| parent.to_string())),
        literal(&entry.load_id.to_string()),
        literal(&entry.bucket),
        literal(&entry.key),
        literal(&entry.etag),
        number(entry.size),
        stamp(entry.modified_at),
        maybe(entry.content_hash.clone()),
        literal(&entry.rules_hash),
        number(entry.rows_read),
        number(entry.rows_loaded),
        number(entry.rows_rejected),
        number(entry.rows_duplicate),
        number(entry.rows_superseded),
        entry.late.to_string(),
        stamp(entry.loaded_at),
        maybe(entry.archive_key.clone()),
    ];
    format!("({})", values.join(", "))
}

fn number(value: u64) -> String {
    i64::try_from(value).unwrap_or(i64::MAX).to_string()
}

/// The entry of a row of [`COLUMNS`].
fn entry<'a>(text: &impl Fn(usize) -> Option<&'a str>) -> Option<Entry> {
    let number = |index: usize| text(index)?.parse::<u64>().ok();
    let own = |index: usize| text(index).map(str::to_owned);
    Some(Entry {
        table: text(0)?.parse().ok()?,
        identity: text(1)?.parse().ok()?,
        generation: Generation::try_from(number(2)?).ok()?,
        pipeline: own(3)?,
        mode: own(4)?,
        kind: EntryKind::from_word(text(5)?)?,
        parent: match text(6) {
            Some(parent) => Some(parent.parse().ok()?),
            None => None,
        },
        load_id: text(7)?.parse().ok()?,
        bucket: own(8)?,
        key: own(9)?,
        etag: own(10)?,
        size: number(11)?,
        modified_at: instant(text(12)?)?,
        content_hash: own(13),
        rules_hash: own(14)?,
        rows_read: number(15)?,
        rows_loaded: number(16)?,
        rows_rejected: number(17)?,
        rows_duplicate: number(18)?,
        rows_superseded: number(19)?,
        late: super::describe::is_true(text(20)?),
        loaded_at: instant(text(21)?)?,
        archive_key: own(22),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LoadId;

    fn an_entry() -> Entry {
        Entry {
            table: QualifiedName::new("public", "orders"),
            identity: ObjectId::new([7; 32]),
            generation: 1,
            pipeline: "orders".to_owned(),
            mode: "append".to_owned(),
            kind: EntryKind::Load,
            parent: None,
            load_id: LoadId::draw(),
            bucket: "s3://b".to_owned(),
            key: r"päth/it's\here.csv".to_owned(),
            etag: "\"e\"".to_owned(),
            size: 1 << 40,
            modified_at: "2024-01-01T00:00:12.5Z".parse().unwrap(),
            content_hash: Some("c".repeat(64)),
            rules_hash: "r".to_owned(),
            rows_read: 5,
            rows_loaded: 2,
            rows_rejected: 3,
            rows_duplicate: 0,
            rows_superseded: 0,
            late: true,
            loaded_at: "2024-01-12T13:46:40Z".parse().unwrap(),
            archive_key: None,
        }
    }

    fn ledger() -> Ledger {
        Ledger::of(&QualifiedName::new("public", "orders"))
    }

    #[test]
    fn a_pair_of_tables_bears_the_hash_of_its_target() {
        let ledger = ledger();
        assert_eq!(ledger.suffix.len(), 16);
        assert_ne!(ledger.suffix, Ledger::of(&QualifiedName::new("public", "order")).suffix);
        assert_eq!(
            ledger.fence_sql(7, "longshore load project"),
            format!(
                "UPDATE \"longshore\".\"head_{0}\" SET \"epoch\" = 8 WHERE \"epoch\" = 7 /* fence of longshore load project */",
                ledger.suffix
            )
        );
        let [schema, meta, head, entries] = ledger.create_sql();
        assert_eq!(schema, "CREATE SCHEMA IF NOT EXISTS \"longshore\"");
        assert_eq!(meta, "CREATE TABLE IF NOT EXISTS \"longshore\".\"meta\" (\"version\" BIGINT NOT NULL)");
        assert!(head.contains("(\"one\" SMALLINT NOT NULL, \"epoch\" BIGINT NOT NULL"), "{head}");
        assert!(entries.contains("\"identity\" VARCHAR(64) NOT NULL") && entries.ends_with(") DISTSTYLE AUTO"));
    }

    #[test]
    fn an_entry_reads_back_as_it_was_written() {
        let entry = an_entry();
        let row = values(&entry);
        assert!(row.contains(r"'päth/it''s\\here.csv'") && row.contains("'2024-01-01 00:00:12.500000'"), "{row}");
        let shown: Vec<Option<String>> = [
            Some(entry.table.to_string()),
            Some(entry.identity.to_string()),
            Some("1".to_owned()),
            Some(entry.pipeline.clone()),
            Some(entry.mode.clone()),
            Some("load".to_owned()),
            None,
            Some(entry.load_id.to_string()),
            Some(entry.bucket.clone()),
            Some(entry.key.clone()),
            Some(entry.etag.clone()),
            Some(entry.size.to_string()),
            Some("2024-01-01 00:00:12.5".to_owned()),
            entry.content_hash.clone(),
            Some(entry.rules_hash.clone()),
            Some("5".to_owned()),
            Some("2".to_owned()),
            Some("3".to_owned()),
            Some("0".to_owned()),
            Some("0".to_owned()),
            Some("t".to_owned()),
            Some("2024-01-12 13:46:40".to_owned()),
            None,
        ]
        .to_vec();
        assert_eq!(super::entry(&|index| shown[index].as_deref()), Some(entry));
    }

    #[test]
    fn many_entries_are_few_statements() {
        let key = "k".repeat(1_024);
        let entry = Entry { key: key.clone(), archive_key: Some(key), ..an_entry() };
        assert_eq!(ledger().insert_sql(&vec![entry; 5_000]).len(), 1);
        let key = "'".repeat(1_024);
        let entry = Entry { key: key.clone(), archive_key: Some(key), ..an_entry() };
        let many = ledger().insert_sql(&vec![entry; 10_000]);
        assert!((2..=4).contains(&many.len()), "{}", many.len());
        assert!(many.iter().all(|statement| statement.len() < 16_000_000));
        let rows = |statement: &String| statement.matches("('public.orders'").count();
        assert_eq!(many.iter().map(rows).sum::<usize>(), 10_000);
    }

    #[test]
    fn many_objects_are_asked_about_at_once() {
        let candidate = |key: &str| Candidate {
            identity: ObjectId::new([7; 32]),
            pipeline: "orders".to_owned(),
            key: key.to_owned(),
        };
        let some = vec![candidate("pending/orders-000001.csv"); 10_000];
        assert_eq!(asked(&some).len(), 1);
        let longest = vec![candidate(&"'".repeat(1_024)); 10_000];
        let sizes: Vec<usize> = asked(&longest).iter().map(|some| some.len()).collect();
        assert_eq!((sizes.len(), sizes.iter().sum::<usize>()), (2, 10_000), "{sizes:?}");
        assert!(asked(&[]).is_empty());
        let objects = vec![crate::testing::conformance::object("a.csv", 1, &[]).spec; 10_000];
        assert!(ledger().head_sql(&objects).len() < MOST_STATEMENT);
    }

    #[test]
    fn ordered_modes_look_for_newer_entries_too() {
        let position = Position { modified_at: "2024-01-01T00:00:00Z".parse().unwrap(), key: "k'".to_owned() };
        let sql = ledger().fenced_sql(&[], Some(Some(&position)));
        assert!(
            sql.contains(
                "WHERE \"identity\" IN ('') OR (\"kind\" = 'load' AND (\"modified_at\" > '2024-01-01 00:00:00.000000' OR \
                 (\"modified_at\" = '2024-01-01 00:00:00.000000' AND \"key\" > 'k''')))"
            ),
            "{sql}"
        );
        assert!(!ledger().fenced_sql(&[], None).contains("LIMIT"));
        assert!(ledger().fenced_sql(&[], Some(None)).contains("OR \"kind\" = 'load' ORDER BY"));
    }

    #[test]
    fn pages_compare_column_by_column() {
        let cursor = Cursor::from(&an_entry());
        let sql = ledger().page_sql(Some(&cursor));
        assert!(sql.contains("\"generation\" > 1))))) ORDER BY") && sql.ends_with("LIMIT 1000"), "{sql}");
        assert!(!ledger().page_sql(None).contains("WHERE"));
    }
}
