//! What `check`, `init` and `sweep` ask of PostgreSQL.

use std::collections::HashSet;

use jiff::Timestamp;
use longshore_postgres::quote::literal;

use super::{Shared, describe, ledger, plan};
use crate::session::{self, Session};
use crate::{Finding, LoadId, Mode, Severity, Swept, TableName, WarehouseError};

/// The least version whose catalog and statements this driver knows.
const LEAST_VERSION: u32 = 12;

fn fine(message: String) -> Finding {
    Finding { severity: Severity::Fine, message, cure: None }
}

fn warning(message: String, cure: &str) -> Finding {
    Finding { severity: Severity::Warning, message, cure: Some(cure.to_owned()) }
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
    let mut findings = vec![fine(format!("the server lets us in (`{}`)", shared.pool.describe()))];
    let sql = "SELECT current_setting('server_version_num'), current_setting('server_version'),
        current_setting('transaction_read_only')";
    let answers = match session.ask(sql, || "asking the server for its version".to_owned()).await {
        Ok(answers) => answers,
        Err(error) => {
            findings.push(fault(&error));
            return findings;
        }
    };
    let row = answers.first().and_then(|answer| answer.rows.first());
    let value = |index| row.and_then(|row| row.get(index)).unwrap_or_default();
    let version = value(0).parse::<u32>().unwrap_or_default() / 10_000;
    if version < LEAST_VERSION {
        findings.push(broken(
            format!("the server is PostgreSQL {}, which is too old", value(1)),
            format!("use PostgreSQL {LEAST_VERSION} or newer"),
        ));
        return findings;
    }
    findings.push(fine(format!("the server is PostgreSQL {}", value(1))));
    if value(2) == "on" {
        findings.push(broken(
            "this is a read-only server: a standby, or `default_transaction_read_only` is set for it or for this role"
                .to_owned(),
            "let `[warehouse] url` name the primary (`target_session_attrs=read-write` finds it among several hosts)"
                .to_owned(),
        ));
        return findings;
    }
    findings.push(match ledger::ensure(&session).await {
        Ok(false) => fine("the ledger `longshore.ledger` is there".to_owned()),
        Ok(true) => fine("the ledger `longshore.ledger` was created".to_owned()),
        Err(error) => fault(&error),
    });
    findings.extend(ledger_rights(&session).await);
    if uses.iter().any(|(_, mode)| *mode != Mode::Append) {
        findings.extend(staging_rights(&session).await);
    }
    for (table, mode) in uses {
        table_findings(&session, table, mode, &mut findings).await;
    }
    session.give_back();
    findings
}

/// What is missing to read and write the ledger.
async fn ledger_rights(session: &Session) -> Option<Finding> {
    let sql = "SELECT has_schema_privilege(n.oid, 'USAGE'), has_table_privilege(c.oid, 'SELECT'),
            has_table_privilege(c.oid, 'INSERT'), quote_ident(current_user),
            coalesce((SELECT has_table_privilege(m.oid, 'SELECT') FROM pg_catalog.pg_class m
                WHERE m.relnamespace = n.oid AND m.relname = 'meta'), true)
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'longshore' AND c.relname = 'ledger'";
    let answers = session.ask(sql, || "looking at the rights on the ledger".to_owned()).await.ok()?;
    let row = answers.first()?.rows.first()?;
    let lacks = |index: usize| row.get(index) == Some("f");
    let user = row.get(3).unwrap_or_default();
    let missing: Vec<String> = [
        (lacks(0), format!("GRANT USAGE ON SCHEMA longshore TO {user}")),
        (lacks(4), format!("GRANT SELECT ON longshore.meta TO {user}")),
        (lacks(1), format!("GRANT SELECT ON longshore.ledger TO {user}")),
        (lacks(2), format!("GRANT INSERT ON longshore.ledger TO {user}")),
    ]
    .into_iter()
    .filter_map(|(lacks, grant)| lacks.then_some(grant))
    .collect();
    (!missing.is_empty())
        .then(|| broken("this user may not use the ledger `longshore.ledger`".to_owned(), missing.join("; ")))
}

/// Where the rows of an upsert or a replace can be staged.
async fn staging_rights(session: &Session) -> Option<Finding> {
    let sql = "SELECT has_database_privilege(current_database(), 'TEMP'), quote_ident(current_database()),
            quote_ident(current_user), coalesce((SELECT has_schema_privilege(oid, 'CREATE')
                FROM pg_catalog.pg_namespace WHERE nspname = 'longshore'), false)";
    let answers = session.ask(sql, || "looking at the rights to stage rows".to_owned()).await.ok()?;
    let row = answers.first()?.rows.first()?;
    if row.get(0) != Some("f") {
        return None;
    }
    let (database, user) = (row.get(1).unwrap_or_default(), row.get(2).unwrap_or_default());
    let grant = format!("GRANT TEMPORARY ON DATABASE {database} TO {user}");
    Some(match row.get(3) {
        Some("t") => warning(
            "this user may create no temporary tables: rows are staged in the schema `longshore`, which is slower"
                .to_owned(),
            &grant,
        ),
        _ => broken(
            "this user may create no temporary tables, in which upsert and replace stage their rows".to_owned(),
            grant,
        ),
    })
}

async fn table_findings(session: &Session, table: &TableName, mode: &Mode, findings: &mut Vec<Finding>) {
    let doing = || format!("looking for `{table}`");
    let described = match session.ask(&describe::find_sql(table), doing).await {
        Ok(found) => describe::describe(session, table, found.first()).await,
        Err(error) => Err(error),
    };
    let described = match described {
        Ok(described) => described,
        Err(error) => return findings.push(fault(&error)),
    };
    let (of, user) = (&described.table, longshore_postgres::quote::ident(&described.rights.user));
    findings.push(fine(format!("the table `{table}` is there, with {} columns", of.columns.len())));
    if !described.rights.usage {
        findings.push(broken(
            format!("this user may not use the schema of `{table}`"),
            format!("GRANT USAGE ON SCHEMA {} TO {user}", longshore_postgres::quote::ident(&of.name.schema)),
        ));
    }
    let missing = plan::missing_rights(&described, mode).join(", ");
    if !missing.is_empty() {
        findings.push(broken(
            format!("this user may not {missing} on `{table}`, which `mode = \"{}\"` needs", mode.as_str()),
            format!("GRANT {missing} ON {} TO {user}", of.name),
        ));
    }
    if matches!(mode, Mode::Upsert { .. }) && of.unique_keys.is_empty() {
        findings.push(warning(
            format!("`{table}` has no unique index: an upsert has to read the whole table"),
            "create a unique index on the columns of `key`",
        ));
    }
    let cure = "load as a role with BYPASSRLS, or as the owner of the table";
    match (described.is_guarded_by_row, mode) {
        (false, _) => {}
        (true, Mode::Replace) => findings.push(broken(
            format!("row-level security may hide rows of `{table}` from this user: it cannot be replaced"),
            cure.to_owned(),
        )),
        (true, _) => findings.push(warning(
            format!("row-level security holds for this user on `{table}`: rows are staged, and policies may refuse or hide some"),
            cure,
        )),
    }
    if !of.row_triggers.is_empty() {
        findings.push(warning(
            format!(
                "`{table}` has row triggers (`{}`): they run for every row, and one that drops rows stops the load",
                of.row_triggers.join("`, `")
            ),
            "disable them for the role that loads if they are not meant for loads",
        ));
    }
    if *mode == Mode::Replace && !described.cascades.is_empty() {
        findings.push(broken(
            format!(
                "deleting rows of `{table}` deletes or changes rows of `{}`: it cannot be replaced",
                described.cascades.join("`, `")
            ),
            "use `mode = \"upsert\"`, or a foreign key without ON DELETE".to_owned(),
        ));
    }
}

/// Ends the backends of loads that are not alive. Staging tables cannot be left over: they were made in
/// a transaction that is gone.
pub(super) async fn sweep(
    session: &Session,
    project: &str,
    live: &HashSet<LoadId>,
    before: Timestamp,
) -> Result<Swept, WarehouseError> {
    let doing = || "looking for loads that were left behind".to_owned();
    let sql = "SELECT pid, application_name FROM pg_catalog.pg_stat_activity
        WHERE datname = current_database() AND application_name LIKE 'longshore %' AND pid <> pg_backend_pid()";
    let mut swept = Swept::default();
    for row in session.ask(sql, doing).await?.first().map(|answer| answer.rows.as_slice()).unwrap_or_default() {
        let (pid, name) = (row.get(0).unwrap_or_default(), row.get(1).unwrap_or_default());
        let Some(load_id) = session::load_of(name, project) else { continue };
        if live.contains(&load_id) || load_id.drawn_at().is_none_or(|drawn_at| drawn_at >= before) {
            continue;
        }
        // The name is asked for again: by now the process may be somebody else's.
        let end = format!(
            "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
             WHERE pid = {} AND application_name = {}",
            pid.parse::<i32>().unwrap_or_default(),
            literal(name)
        );
        match session.ask(&end, || format!("ending the load `{load_id}`")).await {
            Ok(answers) => {
                swept.backends += u64::from(answers.first().is_some_and(|answer| answer.value() == Some("t")));
            }
            // One of another role, which this user may not end.
            Err(error) => tracing::debug!("{error}"),
        }
    }
    Ok(swept)
}
