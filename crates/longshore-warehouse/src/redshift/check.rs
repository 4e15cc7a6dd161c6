//! What `check` asks of Redshift.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;

use super::describe::{self, Described, is_true};
use super::encode::{self, NullToken};
use super::ledger::Ledger;
use super::quote::{ident, literal, table};
use super::{Shared, columns, error, manifest, parts, plan, sql, staging, user, without_temp};
use crate::session::Session;
use crate::{Finding, Kind, LoadId, Mode, QualifiedName, Severity, TableName, WarehouseError};

/// How long Redshift may take to read a few bytes: without a way to S3 it tries for half an hour and more.
const PROBE: Duration = Duration::from_secs(60);

fn fine(message: String) -> Finding {
    Finding { severity: Severity::Fine, message, cure: None }
}

fn warning(message: String, cure: String) -> Finding {
    Finding { severity: Severity::Warning, message, cure: Some(cure) }
}

fn broken(message: String, cure: String) -> Finding {
    Finding { severity: Severity::Fault, message, cure: Some(cure) }
}

/// The finding for a hop that failed.
fn fault(error: &WarehouseError) -> Finding {
    Finding { severity: Severity::Fault, message: error.to_string(), cure: error.hint().map(str::to_owned) }
}

/// Tries what loading needs, hop by hop.
pub(super) async fn check(shared: &Shared, uses: &[(TableName, Mode)]) -> Vec<Finding> {
    let session = match shared.pool.fresh().await {
        Ok(session) => session,
        Err(error) => return vec![fault(&error)],
    };
    let mut findings = vec![fine(format!("the server lets us in (`{}`)", place(shared, &session).await))];
    match version(&session).await {
        Ok(finding) => {
            let is_other = finding.severity == Severity::Fault;
            findings.push(finding);
            if is_other {
                return findings;
            }
        }
        Err(error) => {
            findings.push(fault(&error));
            return findings;
        }
    }
    findings.push(isolation(&session, shared.config.connect.database()).await);
    findings.extend(bucket(shared, &session).await);
    for (name, mode) in uses {
        table_findings(&session, name, mode, &mut findings).await;
    }
    session.give_back();
    findings
}

/// Where we are and as whom, which with a login by IAM only the session knows.
async fn place(shared: &Shared, session: &Session) -> String {
    let said = shared.pool.describe();
    if shared.pool.has_fetched_user()
        && let Some((_, place)) = said.split_once('@')
        && let Ok(user) = user(session).await
    {
        return format!("{}@{place}", user.trim_matches('"'));
    }
    said
}

async fn version(session: &Session) -> Result<Finding, WarehouseError> {
    let answers = session.ask("SELECT version()", || "asking the server for its version".to_owned()).await?;
    let version = answers.first().and_then(|answer| answer.value()).unwrap_or_default();
    Ok(match version.split_once("Redshift ") {
        Some((_, number)) => fine(format!("the server is Amazon Redshift {}", number.trim())),
        None => broken(
            "the server is not Amazon Redshift".to_owned(),
            "correct `[warehouse] url`; for PostgreSQL it begins with `postgres://`".to_owned(),
        ),
    })
}

/// The statement that tells how transactions of a database are kept apart.
fn isolation_sql(database: &str) -> String {
    format!(
        "SELECT database_isolation_level FROM svv_redshift_databases WHERE database_name = {}",
        literal(&super::quote::folded(database))
    )
}

/// The same of a cluster, from where it stood first.
const OLDER_ISOLATION: &str = "SELECT isolation_level FROM stv_db_isolation_level WHERE db_name = ";

/// Both ways of isolation will do; it is told for whoever looks into conflicts.
async fn isolation(session: &Session, database: &str) -> Finding {
    let older = format!("{OLDER_ISOLATION}{}", literal(&super::quote::folded(database)));
    let mut level = None;
    for sql in [isolation_sql(database), older] {
        let asked = session.ask(&sql, || "looking how transactions are kept apart".to_owned()).await;
        level = asked.ok().and_then(|answers| answers.first()?.value().map(str::to_owned));
        if level.is_some() {
            break;
        }
    }
    match level {
        Some(level) => fine(format!("transactions of `{database}` are kept apart by: {}", level.trim())),
        None => fine(format!(
            "how transactions of `{database}` are kept apart is not told to this user; loads do not rely on it"
        )),
    }
}

/// Writes to the staging bucket, has Redshift read it, and removes what was written.
async fn bucket(shared: &Shared, session: &Session) -> Vec<Finding> {
    let config = &shared.config;
    let load_id = LoadId::draw();
    let folder = staging::of_load(&config.prefix, &config.project, load_id);
    let (part, list) = (format!("{folder}part-00000.csv.zst"), parts::manifest_key(&folder));
    // As a load does it.
    let compressed = encode::compressor(0).and_then(|mut compressor| {
        compressor.write_all(b"1\n")?;
        compressor.finish()
    });
    let lines = match compressed {
        Ok(lines) => lines,
        Err(error) => return vec![fault(&parts::uncompressed(error))],
    };
    let entries = manifest::manifest([config.staging.url(&part)].into_iter());
    for (key, bytes) in [(&part, lines), (&list, entries)] {
        if let Err(error) = config.staging.put(key, Bytes::from(bytes)).await {
            return vec![fault(&error)];
        }
    }
    let url = config.staging.url(&folder);
    let read = match read_probe(shared, session, load_id, &config.staging.url(&list)).await {
        Ok(()) => {
            let region = config.region.as_ref().map_or_else(
                || "in the region of Redshift itself".to_owned(),
                |region| format!("in the region {region}"),
            );
            fine(format!("Redshift reads what lies under `{url}`, {region}"))
        }
        Err(error) => fault(&error),
    };
    let removed = match config.staging.delete(&[part, list]).await {
        Ok(()) => {
            fine(format!("the staging prefix `{}` can be written to and cleared", config.staging.url(&config.prefix)))
        }
        Err(error) => fault(&error),
    };
    vec![removed, read]
}

/// A COPY that reads and loads nothing.
async fn read_probe(shared: &Shared, session: &Session, load_id: LoadId, url: &str) -> Result<(), WarehouseError> {
    let doing =
        || format!("letting Redshift read from the staging bucket with {}", shared.config.authorization.describe());
    let probe = ident(&format!("ls_probe_{load_id}").replace('-', ""));
    let create = format!("CREATE TEMP TABLE {probe} (\"c0\" INTEGER)");
    if let Err(error) = session.ask(&create, || "creating a temporary table".to_owned()).await {
        return Err(without_temp(error, session, shared).await);
    }
    let access = sql::access_sql(&shared.config, true);
    let copy = format!("{} NOLOAD", sql::copy_sql(&probe, url, &access, NullToken::draw().as_str()));
    session.ask(&sql::timeout_sql(PROBE), doing).await?;
    let read = session.within(PROBE, doing, session.run(&copy)).await;
    let read = read.and_then(|read| read.map_err(|e| error::failed(&doing(), &e))).map_err(without_a_way);
    if matches!(&read, Err(error) if *error.kind() == Kind::Unreachable) {
        // The table ends with its session, which may still be busy.
        return read.map(drop);
    }
    session.ask(&sql::timeout_sql(super::load::LONGEST), doing).await?;
    let dropped = session.ask(&format!("DROP TABLE {probe}"), doing).await;
    // What the server found wrong comes first. What was staged here is well-formed.
    match read {
        Err(error) if matches!(error.kind(), Kind::Rows { .. }) => Err(error.with_kind(Kind::Other)),
        read => read.and(dropped).map(drop),
    }
}

/// What a COPY that does not come to an end mostly means.
fn without_a_way(error: WarehouseError) -> WarehouseError {
    match error.kind() {
        Kind::Busy | Kind::Unreachable => error.with_kind(Kind::Unreachable).cure(
            "see that Redshift has a way to S3: with enhanced VPC routing or in a private subnet it needs a gateway \
             endpoint for S3 (or a NAT) in its route table, and a security group that lets it out by port 443",
        ),
        _ => error,
    }
}

/// The statement that asks for rights on a table.
fn rights_sql(name: &QualifiedName, rights: &[&str]) -> String {
    let asked: Vec<String> = rights
        .iter()
        .map(|right| format!("has_table_privilege({}, {})", literal(&table(name)), literal(&right.to_lowercase())))
        .collect();
    format!("SELECT {}", asked.join(", "))
}

/// The rights on a table that this user lacks.
pub(super) async fn missing_rights(
    session: &Session,
    name: &QualifiedName,
    mode: &Mode,
) -> Result<Vec<&'static str>, WarehouseError> {
    rights_of(session, name, plan::rights(mode)).await
}

/// Those of these rights on a table that this user lacks.
async fn rights_of(
    session: &Session,
    name: &QualifiedName,
    needed: &[&'static str],
) -> Result<Vec<&'static str>, WarehouseError> {
    let answers = session.ask(&rights_sql(name, needed), || format!("looking at the rights on `{name}`")).await?;
    let Some(row) = answers.first().and_then(|answer| answer.rows.first()) else { return Ok(Vec::new()) };
    let lacks = |at: usize| row.get(at).is_some_and(|word| !is_true(word));
    Ok(needed.iter().enumerate().filter(|(at, _)| lacks(*at)).map(|(_, right)| *right).collect())
}

async fn table_findings(session: &Session, name: &TableName, mode: &Mode, findings: &mut Vec<Finding>) {
    let described = match describe::describe(session, name).await {
        Ok(described) => described,
        Err(error) => return findings.push(fault(&error)),
    };
    let of = &described.table;
    findings.push(fine(format!("the table `{name}` is there, with {} columns", of.columns.len())));
    match lacking(session, name, &of.name, mode).await {
        Ok(missing) => findings.extend(missing),
        Err(error) => findings.push(fault(&error)),
    }
    let ledger = Ledger::of(&of.name);
    match ledger.ensure(session).await {
        Ok(is_new) => {
            let done = if is_new { "was created" } else { "is there" };
            findings.push(fine(format!("the ledger of `{name}` {done}")));
            match of_ledger(session, name, &ledger).await {
                Ok(missing) => findings.extend(missing),
                Err(error) => findings.push(fault(&error)),
            }
        }
        Err(error) => findings.push(fault(&error)),
    }
    findings.push(keys(name, &described, mode));
    findings.extend(advice(name, &described, mode));
}

/// The rights on a table that are missing. Without those on its schema it was not described.
async fn lacking(
    session: &Session,
    name: &TableName,
    table: &QualifiedName,
    mode: &Mode,
) -> Result<Option<Finding>, WarehouseError> {
    let missing = missing_rights(session, table, mode).await?.join(", ");
    if missing.is_empty() {
        return Ok(None);
    }
    Ok(Some(broken(
        format!("this user may not {missing} on `{name}`, which `mode = \"{}\"` needs", mode.as_str()),
        format!("GRANT {missing} ON {table} TO {}", user(session).await?),
    )))
}

/// The rights on a ledger that are missing: somebody else may have made it.
async fn of_ledger(session: &Session, name: &TableName, ledger: &Ledger) -> Result<Option<Finding>, WarehouseError> {
    let mut grants = Vec::new();
    for (table, needed) in ledger.rights() {
        let missing = rights_of(session, &table, needed).await?.join(", ");
        if !missing.is_empty() {
            grants.push(format!("GRANT {missing} ON {table} TO {}", user(session).await?));
        }
    }
    Ok((!grants.is_empty()).then(|| broken(format!("this user may not use the ledger of `{name}`"), grants.join("; "))))
}

/// By what a table is distributed and sorted, and what to make of it.
fn keys(name: &TableName, described: &Described, mode: &Mode) -> Finding {
    let columns = &described.table.columns;
    let by = |names: &[&str]| format!("by `{}`", names.join("`, `"));
    let distkey = described.distkey().map(|at| columns[at].name.as_str());
    let distributed = distkey.map_or_else(|| "without a distkey".to_owned(), |key| by(&[key]));
    let sortkey = described.sortkey();
    let sorted = if sortkey.is_empty() { "without a sortkey".to_owned() } else { by(&sortkey) };
    let said = format!("`{name}` is distributed {distributed} and sorted {sorted}");
    match (mode, distkey) {
        (Mode::Upsert { key, .. }, None) => warning(
            format!("{said}: an upsert may have to move its rows between nodes"),
            format!(
                "ALTER TABLE {} ALTER DISTKEY {}, or leave it to DISTSTYLE AUTO where the table is small",
                described.table.name,
                key.iter()
                    .find(|key| columns.iter().any(|column| column.name.eq_ignore_ascii_case(key)))
                    .map_or_else(|| "to a column of `key`".to_owned(), |column| ident(column))
            ),
        ),
        (Mode::Upsert { .. }, Some(_)) => fine(said),
        _ => fine(format!(
            "{said}; `mode = \"{}\"` compares no rows, so choose both by the queries that read it",
            mode.as_str()
        )),
    }
}

/// What could be better about a table.
fn advice(name: &TableName, described: &Described, mode: &Mode) -> Vec<Finding> {
    let mut findings = Vec::new();
    let columns = &described.table.columns;
    let unloadable = columns.iter().filter(|column| columns::kind(&column.type_sql).wire.is_none());
    let unloadable: Vec<String> = unloadable.map(|column| format!("`{}`", column.name)).collect();
    if !unloadable.is_empty() {
        findings.push(warning(
            format!("`{name}` has columns of types into which nothing can be loaded: {}", unloadable.join(", ")),
            "leave them out of the pipeline's `columns`".to_owned(),
        ));
    }
    let Mode::Upsert { key, .. } = mode else { return findings };
    let is_key = |column: &str| key.iter().any(|name| name.eq_ignore_ascii_case(column));
    if let Some(distkey) = described.distkey().map(|at| &columns[at].name)
        && !is_key(distkey)
    {
        findings.push(warning(
            format!("`{name}` is distributed by `{distkey}`, which is no column of `key`: every upsert moves rows between nodes"),
            format!("ALTER TABLE {} ALTER DISTKEY to a column of `key`", described.table.name),
        ));
    }
    let sortkey = described.sortkey();
    if !sortkey.is_empty() && !sortkey.iter().any(|column| is_key(column)) {
        findings.push(warning(
            format!(
                "`{name}` is sorted by `{}`, which is no column of `key`: every upsert reads the whole table",
                sortkey.join("`, `")
            ),
            format!("ALTER TABLE {} ALTER SORTKEY to columns that begin with the key", described.table.name),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::describe::tests::table_of;
    use super::*;

    #[test]
    fn an_upsert_is_told_about_keys_that_do_not_fit() {
        let described = table_of(
            "orders",
            &["id||NO|bigint|||", "day||YES|date|||", "g||YES|geometry|||"],
            &["id|bigint|f|0|t", "day|date|t|1|f", "g|geometry|f|0|f"],
        )
        .unwrap();
        let name: TableName = "orders".parse().unwrap();
        let mode = |key: &str| Mode::Upsert { key: vec![key.to_owned()], order_by: None };
        let said = advice(&name, &described, &mode("id"));
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said.iter().all(|finding| finding.severity == Severity::Warning && finding.cure.is_some()));
        assert_eq!(advice(&name, &described, &mode("DAY")).len(), 1);
        assert_eq!(advice(&name, &described, &Mode::Append).len(), 1);
        let said = keys(&name, &described, &Mode::Append);
        assert!(said.message.contains("distributed by `day` and sorted by `day`; `mode = \"append\"`"), "{said:?}");
        let bare = table_of("orders", &["id||NO|bigint|||"], &["id|bigint|f|0|t"]).unwrap();
        let said = keys(&name, &bare, &mode("id"));
        assert!(said.severity == Severity::Warning && said.message.contains("without a distkey"), "{said:?}");
        assert!(said.cure.is_some_and(|cure| cure.contains("ALTER DISTKEY \"id\"")));
    }

    #[test]
    fn rights_are_asked_for_by_the_quoted_name() {
        let name = QualifiedName::new("sales", "it's");
        assert_eq!(
            rights_sql(&name, &["SELECT", "INSERT"]),
            "SELECT has_table_privilege('\"sales\".\"it''s\"', 'select'), has_table_privilege('\"sales\".\"it''s\"', 'insert')"
        );
        assert_eq!(
            isolation_sql("Analytics"),
            "SELECT database_isolation_level FROM svv_redshift_databases WHERE database_name = 'analytics'"
        );
    }
}
