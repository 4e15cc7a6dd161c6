//! The SQL that brings staged rows into their table.
//!
//! Rows are staged in a TEMP table of the load's own connection, outside any transaction, so that
//! they are still there when the transaction failed and the fault has to be found. Its columns are
//! `_ls_object`, `_ls_line`, and `c0`, `c1` … in the order of the batches, of the target's own types
//! (with their collation), so that keys are compared as the target compares them.

use duckdb::{Connection, params};

use super::columns::Carrier;
use super::error::During;
use super::plan::Plan;
use super::rows::Feed;
use super::sql::{list, quoted};
use crate::{Mode, WarehouseError};

/// What a merge did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Applied {
    /// Rows that the warehouse took, by its own count.
    pub(super) loaded: u64,
    /// Rows of the target that were replaced or removed.
    pub(super) replaced: u64,
    /// Rows per object that lost to a row in the target.
    pub(super) superseded: Vec<u64>,
}

/// INSERT straight into the target, for append.
pub(super) fn insert_straight(connection: &Connection, plan: &Plan, feed: &Feed) -> Result<u64, WarehouseError> {
    let values: Vec<String> =
        plan.carriers.iter().enumerate().map(|(index, carrier)| carrier.value(&format!("c{index}"))).collect();
    let insert =
        format!("INSERT INTO {} ({}) SELECT {} FROM {}", plan.table.sql(), names(plan), values.join(", "), feed.sql());
    count(connection, &insert, || format!("adding rows to `{}`", plan.table.table.name))
}

/// Creates the staging table.
pub(super) fn create_staging(connection: &Connection, plan: &Plan, staging: &str) -> Result<(), WarehouseError> {
    let columns: Vec<String> = plan
        .carriers
        .iter()
        .enumerate()
        .map(|(index, carrier)| match carrier.staged_as {
            Some(ty) => format!("NULL::{ty} AS c{index}"),
            None => format!("t.{} AS c{index}", quoted(&carrier.column.name)),
        })
        .collect();
    let create = format!(
        "CREATE TEMP TABLE {} AS SELECT 0::UINTEGER AS _ls_object, 0::UBIGINT AS _ls_line, {} FROM {} t LIMIT 0",
        quoted(staging),
        columns.join(", "),
        plan.table.sql()
    );
    connection.execute_batch(&create).during(|| format!("creating a staging table for `{}`", plan.table.table.name))
}

/// INSERT into the staging table.
pub(super) fn insert_staged(
    connection: &Connection,
    plan: &Plan,
    staging: &str,
    feed: &Feed,
) -> Result<u64, WarehouseError> {
    let insert = format!("INSERT INTO {} SELECT * FROM {}", quoted(staging), feed.sql());
    count(connection, &insert, || format!("staging rows for `{}`", plan.table.table.name))
}

/// Drops the staged rows that lose to a row of the same load; returns how many per object.
pub(super) fn dedupe(
    connection: &Connection,
    plan: &Plan,
    staging: &str,
    objects: usize,
) -> Result<Vec<u64>, WarehouseError> {
    let doing = || format!("looking for rows of the same key among the rows for `{}`", plan.table.table.name);
    let mut lost = vec![0; objects];
    if plan.layout.key.is_empty() {
        return Ok(lost);
    }
    let (staged, several, losers) =
        (quoted(staging), quoted(&format!("{staging}_several")), quoted(&format!("{staging}_losers")));
    let key: Vec<String> = plan.layout.key.iter().map(|index| value(plan, *index, "s")).collect();
    let group = key.join(", ");
    let named: Vec<String> = key.iter().enumerate().map(|(i, key)| format!("{key} AS k{i}")).collect();
    // Most loads have no key twice: a plain aggregation proves it, and the sort below is spared.
    connection
        .execute_batch(&format!(
            "CREATE TEMP TABLE {several} AS SELECT {} FROM {staged} s GROUP BY {group} HAVING count(*) > 1",
            named.join(", ")
        ))
        .during(doing)?;
    let keys: i64 =
        connection.query_row(&format!("SELECT count(*) FROM {several}"), [], |row| row.get(0)).during(doing)?;
    if keys > 0 {
        let same: Vec<String> = key.iter().enumerate().map(|(i, key)| format!("{key} = d.k{i}")).collect();
        let order = match plan.layout.order_by {
            Some(index) => format!("{} DESC NULLS LAST, ", value(plan, index, "s")),
            None => String::new(),
        };
        connection
            .execute_batch(&format!(
                "CREATE TEMP TABLE {losers} AS SELECT place, _ls_object FROM (
                     SELECT s.rowid AS place, s._ls_object, row_number() OVER (
                         PARTITION BY {group} ORDER BY {order}s._ls_object DESC, s._ls_line DESC) AS n
                     FROM {staged} s WHERE EXISTS (SELECT 1 FROM {several} d WHERE {}))
                 WHERE n > 1;
                 DELETE FROM {staged} WHERE rowid IN (SELECT place FROM {losers})",
                same.join(" AND ")
            ))
            .during(doing)?;
        per_object(connection, &format!("SELECT _ls_object, count(*) FROM {losers} GROUP BY 1"), &mut lost)
            .during(doing)?;
        connection.execute_batch(&format!("DROP TABLE {losers}")).during(doing)?;
    }
    connection.execute_batch(&format!("DROP TABLE {several}")).during(doing)?;
    Ok(lost)
}

/// Brings the rows of `source`, a table laid out as the staging table, into the target. `None`: no
/// rows at all.
pub(super) fn apply(
    connection: &Connection,
    plan: &Plan,
    source: Option<&str>,
    objects: usize,
) -> Result<Applied, WarehouseError> {
    let mut applied = Applied { superseded: vec![0; objects], ..Applied::default() };
    let doing = || format!("bringing rows into `{}`", plan.table.table.name);
    match &plan.mode {
        Mode::Append => {}
        Mode::Replace => {
            applied.replaced = count(connection, &format!("DELETE FROM {}", plan.table.sql()), doing)?;
        }
        Mode::Upsert { .. } => {
            let Some(source) = source else {
                return Ok(applied);
            };
            if let Some(order_by) = plan.layout.order_by {
                drop_superseded(connection, plan, source, order_by, &mut applied.superseded)?;
            }
            if !may_delete(plan) {
                return merge(connection, plan, source, applied);
            }
            let delete =
                format!("DELETE FROM {} AS t USING {} AS s WHERE {}", plan.table.sql(), quoted(source), on_key(plan));
            applied.replaced = count(connection, &delete, doing)?;
        }
    }
    if let Some(source) = source {
        applied.loaded = count(connection, &insert_from(plan, source, ""), doing)?;
    }
    Ok(applied)
}

/// Whether a row may be replaced by deleting it: nothing is lost that the object does not bring,
/// and nothing hangs on the row.
fn may_delete(plan: &Plan) -> bool {
    plan.covers_table() && plan.table.table.referenced_by.is_empty() && plan.table.table.row_triggers.is_empty()
}

/// Updates in place what is there and adds what is not.
fn merge(connection: &Connection, plan: &Plan, source: &str, mut applied: Applied) -> Result<Applied, WarehouseError> {
    let doing = || format!("merging rows into `{}`", plan.table.table.name);
    let (target, staged, on) = (plan.table.sql(), quoted(source), on_key(plan));
    let rest: Vec<usize> = (0..plan.carriers.len()).filter(|index| !plan.layout.key.contains(index)).collect();
    let given = rows(connection, &staged).during(doing)?;
    if rest.is_empty() {
        // Nothing but the key: rows that are there are as they should be.
        let there = format!("EXISTS (SELECT 1 FROM {target} AS t WHERE {on})");
        let matched: i64 = connection
            .query_row(&format!("SELECT count(*) FROM {staged} AS s WHERE {there}"), [], |row| row.get(0))
            .during(doing)?;
        applied.replaced = matched as u64;
        let added = count(connection, &insert_from(plan, source, &format!("WHERE NOT {there}")), doing)?;
        applied.loaded = applied.replaced + added;
        return Ok(applied);
    }
    let before = rows(connection, &target).during(doing)?;
    let set: Vec<String> = rest
        .iter()
        .map(|index| format!("{} = {}", quoted(&plan.carriers[*index].column.name), value(plan, *index, "s")))
        .collect();
    let sql = format!(
        "MERGE INTO {target} AS t USING {staged} AS s ON ({on})
         WHEN MATCHED THEN UPDATE SET {}
         WHEN NOT MATCHED THEN INSERT ({}) VALUES ({})",
        set.join(", "),
        names(plan),
        values(plan).join(", ")
    );
    let merged = count(connection, &sql, doing)?;
    let added = rows(connection, &target).during(doing)?.saturating_sub(before);
    applied.replaced = merged.saturating_sub(added);
    applied.loaded = merged;
    if merged != given {
        // A key that the table itself holds several times is counted for each of its rows.
        let (pairs, distinct): (i64, i64) = connection
            .query_row(
                &format!("SELECT count(*), count(DISTINCT s.rowid) FROM {target} AS t JOIN {staged} AS s ON ({on})"),
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .during(doing)?;
        if pairs as u64 == merged {
            applied.loaded = distinct as u64;
        }
    }
    Ok(applied)
}

/// Takes out of the source what is older than the row that the target has.
fn drop_superseded(
    connection: &Connection,
    plan: &Plan,
    source: &str,
    order_by: usize,
    superseded: &mut [u64],
) -> Result<(), WarehouseError> {
    let doing =
        || format!("comparing `{}` with the rows in `{}`", plan.carriers[order_by].column.name, plan.table.table.name);
    let (staged, new) = (quoted(source), value(plan, order_by, "s"));
    let old = format!("t.{}", quoted(&plan.carriers[order_by].column.name));
    let loses = format!(
        "EXISTS (SELECT 1 FROM {} AS t WHERE {} AND {old} IS NOT NULL AND ({new} IS NULL OR {new} < {old}))",
        plan.table.sql(),
        on_key(plan)
    );
    let tally = format!("SELECT s._ls_object, count(*) FROM {staged} AS s WHERE {loses} GROUP BY 1");
    if per_object(connection, &tally, superseded).during(doing)? {
        connection.execute(&format!("DELETE FROM {staged} AS s WHERE {loses}"), []).during(doing)?;
    }
    Ok(())
}

/// Adds to `counts` what a query of (object, count) finds; whether it found any.
fn per_object(connection: &Connection, sql: &str, counts: &mut [u64]) -> duckdb::Result<bool> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query(params![])?;
    let mut any = false;
    while let Some(row) = rows.next()? {
        let (object, count): (u32, i64) = (row.get(0)?, row.get(1)?);
        counts[object as usize] += count as u64;
        any = true;
    }
    Ok(any)
}

fn rows(connection: &Connection, quoted_table: &str) -> duckdb::Result<u64> {
    connection
        .query_row(&format!("SELECT count(*) FROM {quoted_table}"), [], |row| row.get::<_, i64>(0))
        .map(|n| n as u64)
}

/// Executes a statement and returns DuckDB's count of rows.
fn count(connection: &Connection, sql: &str, doing: impl FnOnce() -> String) -> Result<u64, WarehouseError> {
    connection.execute(sql, []).map(|count| count as u64).during(doing)
}

fn insert_from(plan: &Plan, source: &str, filter: &str) -> String {
    format!(
        "INSERT INTO {} ({}) SELECT {} FROM {} AS s {filter}",
        plan.table.sql(),
        names(plan),
        values(plan).join(", "),
        quoted(source)
    )
}

/// The names of the loaded columns.
fn names(plan: &Plan) -> String {
    list(plan.carriers.iter().map(|carrier: &Carrier| carrier.column.name.as_str()))
}

fn values(plan: &Plan) -> Vec<String> {
    (0..plan.carriers.len()).map(|index| value(plan, index, "s")).collect()
}

/// A staged column as a value of the target's type.
fn value(plan: &Plan, index: usize, alias: &str) -> String {
    plan.carriers[index].value(&format!("{alias}.c{index}"))
}

/// `t` and `s` have the same key.
fn on_key(plan: &Plan) -> String {
    let pairs = plan
        .layout
        .key
        .iter()
        .map(|index| format!("t.{} = {}", quoted(&plan.carriers[*index].column.name), value(plan, *index, "s")));
    pairs.collect::<Vec<_>>().join(" AND ")
}
