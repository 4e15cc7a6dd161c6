//! Finds the row that PostgreSQL refuses.
//!
//! While it reads rows it names them: `COPY orders, line 7, column n`. What it finds later (foreign
//! keys, deferred constraints, triggers of a whole statement, everything in a merge) it does not. Then
//! the row is looked for among the staged ones: by a question where one will do, else by bringing in
//! parts of them between savepoints.

use std::ops::Range;

use longshore_postgres::quote::{ident, literal};
use tokio_postgres::error::DbError;

use super::error::{self, During};
use super::merge::{self, Staging};
use super::plan::Plan;
use crate::lines::{Lines, Place};
use crate::session::Session;
use crate::{Kind, LoadSpec, Mode, WarehouseError};

/// Row (the first is 0) and column that the server names in the CONTEXT of a COPY into `relation`. The
/// words in between are translated, the order is not.
pub(super) fn named<'a>(
    refusal: &DbError,
    relation: &str,
    columns: impl Iterator<Item = (String, &'a str)>,
) -> Option<(u64, Option<String>)> {
    let context = refusal.where_()?;
    let line = context.lines().rev().find(|line| line.contains("COPY") && line.contains(relation))?;
    let (_, rest) = line.split_once(relation)?;
    let start = rest.find(|c: char| c.is_ascii_digit())?;
    let digits = rest[start..].find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len() - start);
    let number: u64 = rest[start..start + digits].parse().ok()?;
    let rest = &rest[start + digits..];
    // What follows a colon is the value.
    let named = rest.split_once(": ").map_or(rest, |(named, _)| named);
    let fits = |(staged, name): (String, &'a str)| {
        let is_it = named.strip_suffix(staged.as_str()).is_some_and(|before| before.ends_with([' ', '"', '»']));
        is_it.then(|| (staged.len(), name.to_owned()))
    };
    let column = columns.filter_map(fits).max().map(|(_, name)| name);
    Some((number.checked_sub(1)?, column))
}

/// The column that a refusal is about, where it is one of those loaded.
pub(super) async fn column_of(session: &Session, plan: &Plan, refusal: &DbError) -> Option<String> {
    let is_loaded = |name: &&str| (0..plan.layout.columns.len()).any(|index| plan.name(index) == *name);
    if let Some(column) = refusal.column().filter(is_loaded) {
        return Some(column.to_owned());
    }
    let sql = format!(
        "SELECT a.attname FROM pg_catalog.pg_constraint c
         JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
         WHERE c.conrelid = {} AND c.conname = {} AND cardinality(c.conkey) = 1",
        plan.table.oid,
        literal(refusal.constraint()?)
    );
    let answers = session.ask(&sql, || "looking up a constraint".to_owned()).await.ok()?;
    answers.first().and_then(|answer| answer.value()).filter(is_loaded).map(str::to_owned)
}

/// The error for a row of a load.
pub(super) fn refused(
    plan: &Plan,
    spec: &LoadSpec,
    place: Option<Place>,
    column: Option<String>,
    refusal: &DbError,
) -> WarehouseError {
    let what = match refusal.code().code() {
        "23502" => "NULL in a column that takes none",
        _ if error::is_of_policy(refusal) => "a row-level security policy refuses the row",
        "23514" if refusal.routine() == Some("ExecFindPartition") => "no partition takes the row",
        "23503" => "a foreign key finds no row to point at",
        "23505" => "a row with this unique key is there already",
        "23514" => "a CHECK constraint refuses the row",
        "23P01" => "an exclusion constraint refuses the row",
        "P0001" => "a trigger refuses the row",
        "22P05" => "a character that the encoding of the database does not have",
        code if code.starts_with("22") => "a value that the column's type cannot hold",
        _ => "the row is refused",
    };
    let constraint = refusal.constraint().map_or_else(String::new, |name| format!(" (`{name}`)"));
    let table = &plan.table.table.name;
    let at = column.as_ref().map_or_else(String::new, |column| format!(", column `{column}`"));
    // A load of one object leaves no doubt.
    let object = place.map(|place| place.object).or((spec.objects.len() == 1).then_some(0));
    let line = place.and_then(|place| place.line);
    let key = object.and_then(|object| spec.objects.get(object as usize)).map(|object| object.key.as_str());
    let place = match (line, key) {
        (Some(line), Some(key)) => format!("line {line} of `{key}`{at}: "),
        (None, Some(key)) => format!("`{key}`{at}: "),
        _ => String::new(),
    };
    let message = format!("{place}{what}{constraint} in `{table}`");
    let refused = WarehouseError::new(Kind::Rows { object, line, column }, message).server(error::words(refusal));
    match refusal.code().code() {
        "23503" => refused.cure("load the rows that it points at, then run `longshore retry KEY`; or correct the row"),
        _ => refused,
    }
}

/// Whether a foreign key of another table holds a row of this one.
pub(super) fn is_held(plan: &Plan, refusal: &DbError) -> bool {
    let name = &plan.table.table.name;
    let is_own = refusal.table() == Some(name.name.as_str()) && refusal.schema() == Some(name.schema.as_str());
    refusal.code().code() == "23503" && !is_own
}

/// The error for a table that cannot be replaced because others point at rows that would go.
pub(super) fn held(plan: &Plan, refusal: &DbError) -> WarehouseError {
    let by = refusal.table().unwrap_or_default();
    WarehouseError::new(
        Kind::Unsupported,
        format!("rows of `{by}` point at rows of `{}`, which therefore cannot be replaced", plan.table.table.name),
    )
    .cure("use `mode = \"upsert\"`, or make the foreign key DEFERRABLE INITIALLY DEFERRED")
    .server(error::words(refusal))
}

/// Looks for the refused row among the staged ones, inside a transaction that holds nothing of them
/// yet. What it brings in on the way has to be rolled back.
pub(super) async fn locate(
    session: &Session,
    plan: &Plan,
    staging: &Staging,
    lines: &Lines,
    refusal: &DbError,
) -> Result<Option<Place>, WarehouseError> {
    if refusal.code().code() == "23503"
        && let Some(row) = orphan(session, plan, staging, refusal).await?
    {
        return Ok(lines.find(row));
    }
    let doing = || format!("looking for the row that `{}` refuses", plan.table.table.name);
    merge::drop_duplicates(session, plan, staging, &mut []).await.during(doing)?;
    if plan.mode == Mode::Replace {
        merge::delete_all(session, plan).await.during(doing)?;
    }
    let row = search(session, plan, staging, 0..lines.rows()).await?;
    Ok(row.and_then(|row| lines.find(row)))
}

/// The first row whose foreign key finds nothing. `None` where this user may not look.
async fn orphan(
    session: &Session,
    plan: &Plan,
    staging: &Staging,
    refusal: &DbError,
) -> Result<Option<u64>, WarehouseError> {
    let Some(constraint) = refusal.constraint() else { return Ok(None) };
    let doing = || format!("looking up the foreign key `{constraint}`");
    let sql = format!(
        "SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(r.relname), a.attname, f.attname,
                has_table_privilege(r.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE'), c.confrelid = c.conrelid
         FROM pg_catalog.pg_constraint c
         JOIN pg_catalog.pg_class r ON r.oid = c.confrelid JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
         CROSS JOIN LATERAL unnest(c.conkey, c.confkey) AS k (own, other)
         JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.own
         JOIN pg_catalog.pg_attribute f ON f.attrelid = c.confrelid AND f.attnum = k.other
         WHERE c.conrelid = {} AND c.contype = 'f' AND c.conname = {}",
        plan.table.oid,
        literal(constraint)
    );
    let answers = session.ask(&sql, doing).await?;
    let rows = answers.first().map(|answer| answer.rows.as_slice()).unwrap_or_default();
    let Some(first) = rows.first().filter(|row| row.get(3) == Some("t")) else { return Ok(None) };
    let place = |name: &str| (0..plan.layout.columns.len()).find(|index| plan.name(*index) == name);
    let (mut filled, mut same, mut same_in_load) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        let (Some(own), other) = (row.get(1).and_then(place), row.get(2).unwrap_or_default()) else {
            return Ok(None);
        };
        filled.push(format!("s.c{own} IS NOT NULL"));
        same.push(format!("f.{} = s.c{own}", ident(other)));
        if let Some(other) = place(other) {
            same_in_load.push(format!("o.c{other} = s.c{own}"));
        }
    }
    let mut sql = format!(
        "SELECT _ls_row & {} FROM {staged} AS s WHERE {} AND NOT EXISTS (SELECT FROM {} AS f WHERE {})",
        (1_i64 << 40) - 1,
        filled.join(" AND "),
        first.get(0).unwrap_or_default(),
        same.join(" AND "),
        staged = staging.sql
    );
    if first.get(4) == Some("t") && same_in_load.len() == same.len() {
        sql.push_str(&format!(
            " AND NOT EXISTS (SELECT FROM {} AS o WHERE {})",
            staging.sql,
            same_in_load.join(" AND ")
        ));
    }
    let answers = session.run(&format!("{sql} ORDER BY 1 LIMIT 1")).await.during(doing)?;
    Ok(answers.first().and_then(|answer| answer.value()).and_then(|text| text.parse().ok()))
}

/// Brings in halves: what works stays, so that each row is brought in about twice in all.
async fn search(
    session: &Session,
    plan: &Plan,
    staging: &Staging,
    all: Range<u64>,
) -> Result<Option<u64>, WarehouseError> {
    let Range { mut start, mut end } = all;
    while end > start {
        let middle = if end - start == 1 { end } else { start + (end - start) / 2 };
        let is_fine = try_part(session, plan, staging, &(start..middle)).await?;
        match (is_fine, end - start) {
            (false, 1) => return Ok(Some(start)),
            (true, _) => start = middle,
            (false, _) => end = middle,
        }
    }
    Ok(None)
}

/// Whether rows can be brought in on top of what is in by now.
async fn try_part(
    session: &Session,
    plan: &Plan,
    staging: &Staging,
    rows: &Range<u64>,
) -> Result<bool, WarehouseError> {
    let doing = || format!("trying some of the rows for `{}`", plan.table.table.name);
    let sql = merge::part_sql(plan, staging, rows);
    let tried = format!("SAVEPOINT ls_part; {sql}; SET CONSTRAINTS ALL IMMEDIATE; RELEASE ls_part");
    let Err(error) = session.run(&tried).await else { return Ok(true) };
    match error.as_db_error() {
        Some(refusal) if matches!(error::kind(refusal), Kind::Rows { .. }) => {
            session.ask("ROLLBACK TO ls_part; RELEASE ls_part", doing).await?;
            Ok(false)
        }
        _ => Err(error::failed(&doing(), &error)),
    }
}
