//! The ledger: which objects are in, written in the transaction of their rows.
//!
//! Operators are named with their schema: the search path is the user's, and may find others first.

use std::time::SystemTime;

use jiff::Timestamp;
use longshore_postgres::quote::{ident, literal};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::session::Session;
use crate::{
    Candidate, Cursor, Entry, EntryKind, Generation, Kind, Known, KnownHash, ObjectId, ObjectSpec, PAGE_ENTRIES,
    Position, QualifiedName, WarehouseError,
};

/// Version of the ledger's tables that this driver writes.
const VERSION: i64 = 1;

/// The advisory key under which the ledger is created: "longshor" in ASCII.
const CREATION_KEY: i64 = 0x6c6f_6e67_7368_6f72;

/// The statements that create the ledger. Texts are compared as bytes, as positions are.
pub(super) const DDL: &str = "\
CREATE SCHEMA IF NOT EXISTS longshore;
CREATE TABLE IF NOT EXISTS longshore.meta (version bigint NOT NULL);
CREATE TABLE IF NOT EXISTS longshore.ledger (
    table_name text COLLATE \"C\" NOT NULL,
    identity text COLLATE \"C\" NOT NULL,
    generation bigint NOT NULL,
    pipeline text COLLATE \"C\" NOT NULL,
    mode text NOT NULL,
    kind text NOT NULL,
    parent text,
    load_id text NOT NULL,
    bucket text NOT NULL,
    key text COLLATE \"C\" NOT NULL,
    etag text NOT NULL,
    size bigint NOT NULL,
    modified_at timestamptz NOT NULL,
    content_hash text,
    rules_hash text NOT NULL,
    rows_read bigint NOT NULL,
    rows_loaded bigint NOT NULL,
    rows_rejected bigint NOT NULL,
    rows_duplicate bigint NOT NULL,
    rows_superseded bigint NOT NULL,
    late boolean NOT NULL,
    loaded_at timestamptz NOT NULL,
    archive_key text,
    PRIMARY KEY (table_name, identity, generation)
);
CREATE INDEX IF NOT EXISTS ledger_content ON longshore.ledger (table_name, pipeline, key) WHERE kind = 'load';
CREATE INDEX IF NOT EXISTS ledger_latest ON longshore.ledger (table_name, modified_at, key) WHERE kind = 'load';
CREATE INDEX IF NOT EXISTS ledger_position ON longshore.ledger (table_name, modified_at, key);
INSERT INTO longshore.meta SELECT 1 WHERE NOT EXISTS (SELECT FROM longshore.meta);
";

const COLUMNS: &str = "table_name, identity, generation, pipeline, mode, kind, parent, load_id, bucket, key, etag, size, \
     modified_at, content_hash, rules_hash, rows_read, rows_loaded, rows_rejected, rows_duplicate, rows_superseded, late, \
     loaded_at, archive_key";

/// What somebody runs who may create the ledger, for the user who loads.
pub(super) fn sql(user: &str) -> String {
    let user = ident(user);
    format!(
        "{DDL}GRANT USAGE ON SCHEMA longshore TO {user};
GRANT SELECT ON longshore.meta TO {user};
GRANT SELECT, INSERT ON longshore.ledger TO {user};
"
    )
}

/// Whether the ledger is there; refuses one of a newer version.
pub(super) async fn find(session: &Session) -> Result<bool, WarehouseError> {
    let doing = || "looking for the ledger".to_owned();
    let tables = "SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'longshore' AND c.relname IN ('ledger', 'meta')";
    let answers = session.ask(tables, doing).await?;
    match answers.first().and_then(|answer| answer.value()) {
        Some("0") | None => return Ok(false),
        Some("1") => {
            return Err(WarehouseError::new(Kind::Ledger, "one of `longshore.ledger` and `longshore.meta` is missing")
                .cure("restore the missing table from a backup"));
        }
        Some(_) => {}
    }
    let answers = session.ask("SELECT count(*), max(version) FROM longshore.meta", doing).await.map_err(explained)?;
    let row = answers.first().and_then(|answer| answer.rows.first());
    let number = |index| row.and_then(|row| row.get(index)).and_then(|text| text.parse::<i64>().ok());
    match (number(0), number(1)) {
        (Some(1), Some(VERSION)) => Ok(true),
        (_, Some(newer)) if newer > VERSION => Err(WarehouseError::new(
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

/// Says which right on the ledger is missing. An entry that is there already is no fault of the rows:
/// at the next try it is found.
pub(super) fn explained(error: WarehouseError) -> WarehouseError {
    match error.kind() {
        Kind::AccessDenied => {
            let text = "this user may not use the ledger `longshore.ledger`";
            let denied = WarehouseError::new(Kind::AccessDenied, text).cure(
                "as its owner: GRANT USAGE ON SCHEMA longshore TO …; GRANT SELECT ON longshore.meta TO …; \
                 GRANT SELECT, INSERT ON longshore.ledger TO …",
            );
            denied.server(error.server_text().unwrap_or_default())
        }
        Kind::Rows { .. } => error.with_kind(Kind::Conflict),
        _ => error,
    }
}

/// Creates the ledger where it is missing; returns whether it did. Of several who try at once, one
/// does.
pub(super) async fn ensure(session: &Session) -> Result<bool, WarehouseError> {
    if find(session).await? {
        return Ok(false);
    }
    let doing = || "creating the ledger `longshore.ledger`".to_owned();
    let rights = "SELECT current_user, current_database(), has_database_privilege(current_database(), 'CREATE'),
        coalesce((SELECT has_schema_privilege(oid, 'CREATE') FROM pg_catalog.pg_namespace WHERE nspname = 'longshore'), false),
        EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'longshore')";
    let answers = session.ask(rights, doing).await?;
    if let Some(row) = answers.first().and_then(|answer| answer.rows.first()) {
        let (user, database) = (row.get(0).unwrap_or_default(), row.get(1).unwrap_or_default());
        let right = match (row.get(4), row.get(3), row.get(2)) {
            (Some("t"), Some("f"), _) => Some("CREATE ON SCHEMA longshore".to_owned()),
            (Some("f"), _, Some("f")) => {
                Some(format!("CREATE ON DATABASE {}", longshore_postgres::quote::ident(database)))
            }
            _ => None,
        };
        if let Some(right) = right {
            let user = longshore_postgres::quote::ident(user);
            return Err(WarehouseError::new(
                Kind::AccessDenied,
                format!("the ledger does not exist, and this user may not create it: it lacks {right}"),
            )
            .cure(format!(
                "let somebody who may run what `longshore check --print-sql` prints, or GRANT {right} TO {user}"
            )));
        }
    }
    // `IF NOT EXISTS` would complain about a schema that exists to somebody who may not create one.
    let has_schema = answers.first().and_then(|answer| answer.rows.first()).is_some_and(|row| row.get(4) == Some("t"));
    let ddl = if has_schema { DDL.split_once('\n').map_or(DDL, |(_, rest)| rest) } else { DDL };
    let create = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '30s'; SET LOCAL client_min_messages = warning;
         SELECT pg_advisory_xact_lock({CREATION_KEY});
         {ddl}
         COMMIT"
    );
    if let Err(error) = session.ask(&create, doing).await {
        session.ask("ROLLBACK", doing).await?;
        // The schema may have come into being between the look and the lock.
        return if find(session).await.unwrap_or(false) { Ok(false) } else { Err(error) };
    }
    Ok(true)
}

/// The first statements of whoever is to hold the fence of a table.
pub(super) fn fence_sql(table: &QualifiedName) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(table.to_string().as_bytes());
    let mut key = [0; 8];
    key.copy_from_slice(&digest[..8]);
    format!("SELECT pg_catalog.pg_advisory_xact_lock({})", i64::from_be_bytes(key))
}

async fn query(
    session: &Session,
    sql: &str,
    parameters: &[(&(dyn ToSql + Sync), Type)],
    doing: impl Fn() -> String,
) -> Result<Vec<Row>, WarehouseError> {
    session.soon(doing, session.query_typed(sql, parameters)).await.map_err(explained)
}

/// What the ledger knows of candidates.
pub(super) async fn lookup(
    session: &Session,
    table: &QualifiedName,
    candidates: &[Candidate],
) -> Result<Known, WarehouseError> {
    let identities: Vec<ObjectId> = candidates.iter().map(|candidate| candidate.identity).collect();
    let pipelines: Vec<&str> = candidates.iter().map(|candidate| candidate.pipeline.as_str()).collect();
    let keys: Vec<&str> = candidates.iter().map(|candidate| candidate.key.as_str()).collect();
    let name = table.to_string();
    let parameters: [(&(dyn ToSql + Sync), Type); 3] =
        [(&name, Type::TEXT), (&pipelines, Type::TEXT_ARRAY), (&keys, Type::TEXT_ARRAY)];
    let hashes = query(
        session,
        "SELECT DISTINCT l.pipeline, l.key, l.content_hash, l.identity
         FROM unnest($2, $3) AS c (pipeline, key)
         JOIN longshore.ledger l ON l.table_name OPERATOR(pg_catalog.=) $1
             AND l.pipeline OPERATOR(pg_catalog.=) c.pipeline AND l.key OPERATOR(pg_catalog.=) c.key
         WHERE l.kind OPERATOR(pg_catalog.=) 'load' AND l.content_hash IS NOT NULL ORDER BY 1, 2, 3, 4",
        &parameters,
        || format!("looking up {} keys in the ledger of `{table}`", candidates.len()),
    );
    // All three are sent before the first is answered.
    let (latest, entries, hashes) =
        futures::try_join!(latest(session, table), of(session, table, &identities), hashes)?;
    let hash = |row: &Row| -> Result<KnownHash, tokio_postgres::Error> {
        Ok(KnownHash {
            pipeline: row.try_get(0)?,
            key: row.try_get(1)?,
            content_hash: row.try_get(2)?,
            identity: parsed(row, 3)?,
        })
    };
    Ok(Known { latest: latest.map(|(latest, _)| latest), entries, hashes: read(&hashes, hash, table)? })
}

/// All entries of these objects.
async fn of(session: &Session, table: &QualifiedName, identities: &[ObjectId]) -> Result<Vec<Entry>, WarehouseError> {
    let identities: Vec<String> = identities.iter().map(ObjectId::to_string).collect();
    let rows = query(
        session,
        &format!(
            "SELECT {COLUMNS} FROM longshore.ledger WHERE table_name OPERATOR(pg_catalog.=) $1
             AND identity OPERATOR(pg_catalog.=) ANY ($2)
             ORDER BY modified_at, key, identity, generation"
        ),
        &[(&table.to_string(), Type::TEXT), (&identities, Type::TEXT_ARRAY)],
        || format!("looking up {} objects in the ledger of `{table}`", identities.len()),
    )
    .await?;
    read(&rows, entry, table)
}

/// Those of these objects that are in, in the generation that is to be loaded.
pub(super) async fn already_in(
    session: &Session,
    table: &QualifiedName,
    objects: &[ObjectSpec],
) -> Result<Vec<Entry>, WarehouseError> {
    let identities: Vec<ObjectId> = objects.iter().map(|object| object.identity).collect();
    let mut entries = of(session, table, &identities).await?;
    entries.retain(|entry| {
        objects.iter().any(|object| (object.identity, object.generation) == (entry.identity, entry.generation))
    });
    Ok(entries)
}

/// The greatest position among the entries of kind `load`, with its identity.
pub(super) async fn latest(
    session: &Session,
    table: &QualifiedName,
) -> Result<Option<(Position, ObjectId)>, WarehouseError> {
    let rows = query(
        session,
        "SELECT modified_at, key, identity FROM longshore.ledger
         WHERE table_name OPERATOR(pg_catalog.=) $1 AND kind OPERATOR(pg_catalog.=) 'load'
         ORDER BY modified_at DESC, key DESC LIMIT 1",
        &[(&table.to_string(), Type::TEXT)],
        || format!("reading the latest position of `{table}` from the ledger"),
    )
    .await?;
    let position = |row: &Row| Ok((Position { modified_at: instant(row, 0)?, key: row.try_get(1)? }, parsed(row, 2)?));
    Ok(read(&rows, position, table)?.pop())
}

/// The entries of the object at the latest position.
pub(super) async fn of_one(
    session: &Session,
    table: &QualifiedName,
    identity: ObjectId,
) -> Result<Vec<Entry>, WarehouseError> {
    of(session, table, &[identity]).await
}

/// The next entries of a table.
pub(super) async fn page(
    session: &Session,
    table: &QualifiedName,
    after: Option<&Cursor>,
) -> Result<Vec<Entry>, WarehouseError> {
    let name = table.to_string();
    let (mut filter, mut parameters) = ("", vec![(&name as &(dyn ToSql + Sync), Type::TEXT)]);
    let after = after.map(|cursor| {
        let Cursor { position, identity, generation } = cursor;
        (system_time(position.modified_at), &position.key, identity.to_string(), i64::from(*generation))
    });
    if let Some((modified_at, key, identity, generation)) = &after {
        filter = "AND (modified_at, key, identity, generation) OPERATOR(pg_catalog.>) ($2, $3, $4, $5)";
        parameters.extend([
            (modified_at as &(dyn ToSql + Sync), Type::TIMESTAMPTZ),
            (key as &(dyn ToSql + Sync), Type::TEXT),
            (identity as &(dyn ToSql + Sync), Type::TEXT),
            (generation as &(dyn ToSql + Sync), Type::INT8),
        ]);
    }
    let rows = query(
        session,
        &format!(
            "SELECT {COLUMNS} FROM longshore.ledger WHERE table_name OPERATOR(pg_catalog.=) $1 {filter}
             ORDER BY modified_at, key, identity, generation LIMIT {PAGE_ENTRIES}"
        ),
        &parameters,
        || format!("reading the ledger of `{table}`"),
    )
    .await?;
    read(&rows, entry, table)
}

/// Entries up to which they are written as literals, in the round trip of other statements.
const FEW: usize = 16;

/// The statement that writes a few entries.
pub(super) fn insert_sql(entries: &[Entry]) -> Option<String> {
    if entries.len() > FEW {
        return None;
    }
    let rows: Vec<String> = entries.iter().map(literals).collect();
    Some(format!("INSERT INTO longshore.ledger ({COLUMNS}) VALUES {}", rows.join(", ")))
}

fn literals(entry: &Entry) -> String {
    let maybe = |text: Option<String>| text.map_or_else(|| "NULL".to_owned(), |text| literal(&text));
    let texts = |texts: &[&str]| texts.iter().map(|text| literal(text)).collect::<Vec<_>>().join(", ");
    format!(
        "({}, {}, {}, {}, {}, {}, {}::timestamptz, {}, {}, {}, {}, {}, {}, {}, {}, {}::timestamptz, {})",
        texts(&[&entry.table.to_string(), &entry.identity.to_string()]),
        entry.generation,
        texts(&[&entry.pipeline, &entry.mode, entry.kind.as_str()]),
        maybe(entry.parent.map(|parent| parent.to_string())),
        texts(&[&entry.load_id.to_string(), &entry.bucket, &entry.key, &entry.etag]),
        number(entry.size),
        literal(&entry.modified_at.to_string()),
        maybe(entry.content_hash.clone()),
        literal(&entry.rules_hash),
        number(entry.rows_read),
        number(entry.rows_loaded),
        number(entry.rows_rejected),
        number(entry.rows_duplicate),
        number(entry.rows_superseded),
        entry.late,
        literal(&entry.loaded_at.to_string()),
        maybe(entry.archive_key.clone()),
    )
}

/// Writes many entries.
pub(super) async fn insert(session: &Session, entries: &[Entry]) -> Result<u64, WarehouseError> {
    let texts = |value: fn(&Entry) -> String| entries.iter().map(value).collect::<Vec<_>>();
    let maybe = |value: fn(&Entry) -> Option<String>| entries.iter().map(value).collect::<Vec<_>>();
    let numbers = |value: fn(&Entry) -> u64| entries.iter().map(|entry| number(value(entry))).collect::<Vec<_>>();
    let times = |value: fn(&Entry) -> Timestamp| {
        entries.iter().map(|entry| system_time(value(entry))).collect::<Vec<SystemTime>>()
    };
    let late: Vec<bool> = entries.iter().map(|entry| entry.late).collect();
    let columns: [(Box<dyn ToSql + Sync + Send>, Type); 23] = [
        (Box::new(texts(|e| e.table.to_string())), Type::TEXT_ARRAY),
        (Box::new(texts(|e| e.identity.to_string())), Type::TEXT_ARRAY),
        (Box::new(numbers(|e| u64::from(e.generation))), Type::INT8_ARRAY),
        (Box::new(texts(|e| e.pipeline.clone())), Type::TEXT_ARRAY),
        (Box::new(texts(|e| e.mode.clone())), Type::TEXT_ARRAY),
        (Box::new(texts(|e| e.kind.as_str().to_owned())), Type::TEXT_ARRAY),
        (Box::new(maybe(|e| e.parent.map(|parent| parent.to_string()))), Type::TEXT_ARRAY),
        (Box::new(texts(|e| e.load_id.to_string())), Type::TEXT_ARRAY),
        (Box::new(texts(|e| e.bucket.clone())), Type::TEXT_ARRAY),
        (Box::new(texts(|e| e.key.clone())), Type::TEXT_ARRAY),
        (Box::new(texts(|e| e.etag.clone())), Type::TEXT_ARRAY),
        (Box::new(numbers(|e| e.size)), Type::INT8_ARRAY),
        (Box::new(times(|e| e.modified_at)), Type::TIMESTAMPTZ_ARRAY),
        (Box::new(maybe(|e| e.content_hash.clone())), Type::TEXT_ARRAY),
        (Box::new(texts(|e| e.rules_hash.clone())), Type::TEXT_ARRAY),
        (Box::new(numbers(|e| e.rows_read)), Type::INT8_ARRAY),
        (Box::new(numbers(|e| e.rows_loaded)), Type::INT8_ARRAY),
        (Box::new(numbers(|e| e.rows_rejected)), Type::INT8_ARRAY),
        (Box::new(numbers(|e| e.rows_duplicate)), Type::INT8_ARRAY),
        (Box::new(numbers(|e| e.rows_superseded)), Type::INT8_ARRAY),
        (Box::new(late), Type::BOOL_ARRAY),
        (Box::new(times(|e| e.loaded_at)), Type::TIMESTAMPTZ_ARRAY),
        (Box::new(maybe(|e| e.archive_key.clone())), Type::TEXT_ARRAY),
    ];
    let parameters: Vec<(&(dyn ToSql + Sync), Type)> =
        columns.iter().map(|(values, ty)| (values.as_ref() as &(dyn ToSql + Sync), ty.clone())).collect();
    let places: Vec<String> = (1..=columns.len()).map(|n| format!("${n}")).collect();
    let sql = format!("INSERT INTO longshore.ledger ({COLUMNS}) SELECT * FROM unnest({})", places.join(", "));
    session.soon(|| "writing the ledger".to_owned(), session.execute_typed(&sql, &parameters)).await.map_err(explained)
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn system_time(time: Timestamp) -> SystemTime {
    SystemTime::from(time)
}

fn read<T>(
    rows: &[Row],
    one: impl Fn(&Row) -> Result<T, tokio_postgres::Error>,
    table: &QualifiedName,
) -> Result<Vec<T>, WarehouseError> {
    let read: Result<Vec<T>, _> = rows.iter().map(one).collect();
    read.map_err(|error| {
        WarehouseError::new(Kind::Ledger, format!("the ledger of `{table}` holds something that is no entry"))
            .because(error.to_string())
    })
}

/// A row of [`COLUMNS`].
fn entry(row: &Row) -> Result<Entry, tokio_postgres::Error> {
    let number = |index: usize| -> Result<u64, tokio_postgres::Error> {
        Ok(u64::try_from(row.try_get::<_, i64>(index)?).unwrap_or_default())
    };
    let parent: Option<Parsed<ObjectId>> = row.try_get(6)?;
    Ok(Entry {
        table: parsed(row, 0)?,
        identity: parsed(row, 1)?,
        generation: Generation::try_from(number(2)?).unwrap_or(Generation::MAX),
        pipeline: row.try_get(3)?,
        mode: row.try_get(4)?,
        kind: parsed::<KindWord>(row, 5)?.0,
        parent: parent.map(|parent| parent.0),
        load_id: parsed(row, 7)?,
        bucket: row.try_get(8)?,
        key: row.try_get(9)?,
        etag: row.try_get(10)?,
        size: number(11)?,
        modified_at: instant(row, 12)?,
        content_hash: row.try_get(13)?,
        rules_hash: row.try_get(14)?,
        rows_read: number(15)?,
        rows_loaded: number(16)?,
        rows_rejected: number(17)?,
        rows_duplicate: number(18)?,
        rows_superseded: number(19)?,
        late: row.try_get(20)?,
        loaded_at: instant(row, 21)?,
        archive_key: row.try_get(22)?,
    })
}

/// A text that has to parse.
struct Parsed<T>(T);

impl<'a, T> tokio_postgres::types::FromSql<'a> for Parsed<T>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        let text = <&str as tokio_postgres::types::FromSql>::from_sql(ty, raw)?;
        Ok(Self(text.parse()?))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TEXT
    }
}

/// An instant of the ledger.
struct Instant(Timestamp);

impl<'a> tokio_postgres::types::FromSql<'a> for Instant {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(Timestamp::try_from(SystemTime::from_sql(ty, raw)?)?))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }
}

struct KindWord(EntryKind);

impl std::str::FromStr for KindWord {
    type Err = std::io::Error;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let unknown = || std::io::Error::other(format!("`{word}` is not a kind of entry"));
        EntryKind::from_word(word).map(Self).ok_or_else(unknown)
    }
}

fn parsed<T>(row: &Row, index: usize) -> Result<T, tokio_postgres::Error>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    Ok(row.try_get::<_, Parsed<T>>(index)?.0)
}

fn instant(row: &Row, index: usize) -> Result<Timestamp, tokio_postgres::Error> {
    Ok(row.try_get::<_, Instant>(index)?.0)
}
