//! Finds the row that DuckDB refuses.
//!
//! DuckDB's errors name no row. The staged rows outlive the failed transaction, so the row is
//! looked for among them: by a question where one will do (a cast, a unique key), else by trying
//! halves of the rows in transactions that are rolled back.

use duckdb::Connection;

use super::error::During;
use super::plan::Plan;
use super::sql::quoted;
use super::{ledger, merge};
use crate::{Kind, LoadSpec, WarehouseError};

/// A row of the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    object: u32,
    line: u64,
}

/// Refuses values that a cast would change without an error, such as a fraction in a HUGEINT.
pub(super) fn refuse_silent_changes(
    connection: &Connection,
    plan: &Plan,
    staging: &str,
    spec: &LoadSpec,
) -> Result<(), WarehouseError> {
    if !plan.carriers.iter().any(|carrier| carrier.has_guard()) {
        return Ok(());
    }
    match misfit(connection, plan, staging, true)? {
        Some((place, column)) => Err(refused(plan, spec, place, Some(column), None)),
        None => Ok(()),
    }
}

/// Names object, line and column of the row behind an error of kind [`Kind::Rows`].
pub(super) fn locate(
    connection: &Connection,
    plan: &Plan,
    staging: &str,
    spec: &LoadSpec,
    error: WarehouseError,
) -> WarehouseError {
    ledger::roll_back(connection);
    let text = error.server_text().unwrap_or_default().to_owned();
    match find(connection, plan, staging, spec, &text) {
        Ok(Some((place, column))) => refused(plan, spec, place, column, Some(text)),
        Ok(None) => error,
        Err(other) => {
            tracing::debug!("the refused row could not be found: {other}");
            error
        }
    }
}

fn refused(
    plan: &Plan,
    spec: &LoadSpec,
    place: Place,
    column: Option<String>,
    server: Option<String>,
) -> WarehouseError {
    let key = spec.objects.get(place.object as usize).map_or("", |object| object.key.as_str());
    let what = match &server {
        None => "a value that the column's type cannot hold unchanged",
        Some(text) if text.contains("CHECK constraint") => "a CHECK constraint refuses the row",
        Some(text)
            if text.contains("Duplicate key") || text.contains("unique constraint") || text.contains("primary key") =>
        {
            "a row with this unique key is there already"
        }
        Some(text) if text.contains("foreign key") => "a foreign key finds no row to point at",
        Some(text) if text.starts_with("Conversion Error") => "a value that the column's type cannot hold",
        Some(_) => "the row is refused",
    };
    let at = column.as_ref().map_or(String::new(), |column| format!(", column `{column}`"));
    let message = format!("line {} of `{key}`{at}: {what} (`{}`)", place.line, plan.table.table.name);
    let error = WarehouseError::new(Kind::Rows { object: Some(place.object), line: Some(place.line), column }, message);
    match server {
        Some(text) => error.server(text),
        None => error,
    }
}

type Found = Option<(Place, Option<String>)>;

fn find(
    connection: &Connection,
    plan: &Plan,
    staging: &str,
    spec: &LoadSpec,
    text: &str,
) -> Result<Found, WarehouseError> {
    // Where even this question fails on a value, the halves below find it.
    if let Ok(Some((place, column))) = misfit(connection, plan, staging, false) {
        return Ok(Some((place, Some(column))));
    }
    let column = column_in(plan, text);
    let ordered = quoted(&format!("{staging}_ordered"));
    connection
        .execute_batch(&format!(
            "CREATE OR REPLACE TEMP TABLE {ordered} AS
             SELECT *, row_number() OVER (ORDER BY _ls_object, _ls_line) - 1 AS _ls_n FROM {}",
            quoted(staging)
        ))
        .during(|| "ordering the staged rows".to_owned())?;
    let probe = Probe { connection, plan, spec, staging };
    let total: i64 = connection
        .query_row(&format!("SELECT count(*) FROM {ordered}"), [], |row| row.get(0))
        .during(|| "counting the staged rows".to_owned())?;
    let total = total as u64;
    if !probe.fails(0, total)? {
        return Ok(None);
    }
    let n = match probe.alone(total)? {
        Some(n) => n,
        None => probe.together(total)?,
    };
    let place = connection
        .query_row(&format!("SELECT _ls_object, _ls_line FROM {ordered} WHERE _ls_n = {n}"), [], |row| {
            Ok(Place { object: row.get(0)?, line: row.get(1)? })
        })
        .during(|| "reading the refused row".to_owned())?;
    let column = column.or_else(|| uncastable(connection, plan, staging, place));
    Ok(Some((place, column)))
}

/// The column of a row whose cast fails. TRY_CAST does not tell of a fault inside a list: it puts
/// NULL in its place.
fn uncastable(connection: &Connection, plan: &Plan, staging: &str, place: Place) -> Option<String> {
    let fails = |index: usize| {
        let value = plan.carriers[index].value(&format!("c{index}"));
        let cast = format!("SELECT {value} FROM {} WHERE _ls_object = ? AND _ls_line = ?", quoted(staging));
        let read = connection.prepare(&cast).and_then(|mut statement| {
            let mut rows = statement.query(duckdb::params![place.object, place.line])?;
            rows.next().map(|_| ())
        });
        read.is_err()
    };
    (0..plan.carriers.len())
        .find(|index| plan.carriers[*index].is_checked_by_server() && fails(*index))
        .map(|index| plan.carriers[index].column.name.clone())
}

/// The first staged value that does not fit its column by a cast.
fn misfit(
    connection: &Connection,
    plan: &Plan,
    staging: &str,
    guarded: bool,
) -> Result<Option<(Place, String)>, WarehouseError> {
    let mut first: Option<(Place, String)> = None;
    for (index, carrier) in plan.carriers.iter().enumerate() {
        if !carrier.is_checked_by_server() || (guarded && !carrier.has_guard()) {
            continue;
        }
        let doing = || format!("looking at the values for `{}`", carrier.column.name);
        let mut statement = connection
            .prepare(&format!(
                "SELECT _ls_object, _ls_line FROM {} WHERE {} ORDER BY 1, 2 LIMIT 1",
                quoted(staging),
                carrier.misfit(&format!("c{index}"))
            ))
            .during(doing)?;
        let mut rows = statement.query([]).during(doing)?;
        let Some(row) = rows.next().during(doing)? else {
            continue;
        };
        let place = Place { object: row.get(0).during(doing)?, line: row.get(1).during(doing)? };
        if first.as_ref().is_none_or(|(seen, _)| (place.object, place.line) < (seen.object, seen.line)) {
            first = Some((place, carrier.column.name.clone()));
        }
    }
    Ok(first)
}

/// The column that an error is about, where that is one.
fn column_in(plan: &Plan, text: &str) -> Option<String> {
    if let Some((_, expression)) = text.split_once("with expression ") {
        let check = plan.table.checks.iter().find(|check| expression.trim().starts_with(check.text.trim()));
        if let Some([column]) = check.map(|check| check.columns.as_slice()) {
            return Some(column.clone());
        }
    }
    let (_, key) = text.split_once("key \"")?;
    let (column, _) = key.split_once(':')?;
    // Only the values of a key, not its names, can hold a second colon before a comma.
    let several = key.split_once('"').is_some_and(|(inside, _)| inside.contains(", "));
    let known = plan.carriers.iter().any(|carrier| carrier.column.name == column);
    (known && !several).then(|| column.to_owned())
}

/// Tries some of the rows, and undoes it.
struct Probe<'a> {
    connection: &'a Connection,
    plan: &'a Plan,
    spec: &'a LoadSpec,
    staging: &'a str,
}

impl Probe<'_> {
    /// Whether DuckDB refuses the rows from `from` up to `to`, on top of what the table holds.
    fn fails(&self, from: u64, to: u64) -> Result<bool, WarehouseError> {
        let doing = || "trying some of the staged rows".to_owned();
        let probe = format!("{}_probe", self.staging);
        self.connection
            .execute_batch(&format!(
                "BEGIN TRANSACTION;
                 CREATE TEMP TABLE {} AS SELECT * EXCLUDE (_ls_n) FROM {} WHERE _ls_n >= {from} AND _ls_n < {to}",
                quoted(&probe),
                quoted(&format!("{}_ordered", self.staging))
            ))
            .during(doing)?;
        let applied = merge::apply(self.connection, self.plan, Some(&probe), self.spec.objects.len());
        // Some constraints speak up only at COMMIT; these are not looked for here.
        ledger::roll_back(self.connection);
        match applied {
            Ok(_) => Ok(false),
            Err(error) if matches!(error.kind(), Kind::Rows { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The first row that is refused by itself, if one is.
    fn alone(&self, total: u64) -> Result<Option<u64>, WarehouseError> {
        let (mut from, mut to) = (0, total);
        while to - from > 1 {
            let middle = from + (to - from) / 2;
            if self.fails(from, middle)? {
                to = middle;
            } else if self.fails(middle, to)? {
                from = middle;
            } else {
                return Ok(None);
            }
        }
        Ok(Some(from))
    }

    /// The first row that is refused after the rows before it, such as the second of a unique key.
    fn together(&self, total: u64) -> Result<u64, WarehouseError> {
        let (mut fine, mut refused) = (0, total);
        while refused - fine > 1 {
            let middle = fine + (refused - fine) / 2;
            if self.fails(0, middle)? {
                refused = middle;
            } else {
                fine = middle;
            }
        }
        Ok(refused - 1)
    }
}
