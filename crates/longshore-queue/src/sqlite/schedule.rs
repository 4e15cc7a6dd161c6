//! Schedules: who ticks, and when the next tick is due.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::Result;
use super::time::{after, instant};
use crate::{Schedule, Tick, Token};

/// Nobody is busy with it.
const FREE: &str = "UPDATE schedule SET worker = NULL, token = NULL, tick_rule = NULL, busy_since = NULL, \
    busy_until = NULL";

/// A schedule that wants to tick.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) schedule: String,
    pub(super) rule: String,
    pub(super) first: i64,
}

/// Takes a schedule for a worker whose leases last so long, if it is due and nobody is busy with it.
pub(super) fn begin(
    tx: &Transaction<'_>,
    wanted: &Wanted,
    (worker, lasts): (&str, i64),
    now: i64,
) -> Result<Option<Tick>> {
    // The rule comes first also while somebody is busy: that tick then leaves the next one alone.
    tx.prepare_cached(
        "INSERT INTO schedule (name, rule, next_at) VALUES (?1, ?2, ?3) ON CONFLICT (name) \
         DO UPDATE SET rule = excluded.rule, next_at = excluded.next_at WHERE rule <> excluded.rule",
    )?
    .execute(params![wanted.schedule, wanted.rule, wanted.first])?;
    let mut statement = tx.prepare_cached(
        // A worker makes one tick of a schedule at a time: what it holds is one that it could not end.
        "SELECT next_at FROM schedule \
         WHERE name = ?1 AND next_at <= ?2 AND (token IS NULL OR busy_until < ?2 OR worker = ?3)",
    )?;
    let due: Option<i64> = statement.query_row(params![wanted.schedule, now, worker], |row| row.get(0)).optional()?;
    let Some(due) = due else { return Ok(None) };
    let token = Token(super::draw());
    tx.prepare_cached(
        "UPDATE schedule SET worker = ?2, token = ?3, tick_rule = rule, busy_since = ?4, busy_until = ?5 \
         WHERE name = ?1",
    )?
    .execute(params![wanted.schedule, worker, token.0, now, after(now, lasts)])?;
    Ok(Some(Tick { schedule: wanted.schedule.clone(), token, due: instant(due) }))
}

/// Ends a tick. A rule that has changed meanwhile has said already when the next one is due.
pub(super) fn end(tx: &Transaction<'_>, tick: &Tick, next: i64, error: Option<&str>, now: i64) -> Result<bool> {
    let sql = format!(
        "{FREE}, next_at = iif(rule = tick_rule, ?3, next_at), last_at = ?4, error = ?5 WHERE name = ?1 AND token = ?2"
    );
    let rows = tx.prepare_cached(&sql)?.execute(params![tick.schedule, tick.token.0, next, now, error])?;
    Ok(rows > 0)
}

/// Prolongs what a worker is busy with.
pub(super) fn renew(tx: &Transaction<'_>, (worker, lasts): (&str, i64), now: i64) -> Result<()> {
    tx.prepare_cached("UPDATE schedule SET busy_until = ?2 WHERE worker = ?1")?
        .execute(params![worker, after(now, lasts)])?;
    Ok(())
}

/// Frees what a worker was busy with.
pub(super) fn free(tx: &Transaction<'_>, worker: &str) -> Result<()> {
    tx.prepare_cached(&format!("{FREE} WHERE worker = ?1"))?.execute([worker])?;
    Ok(())
}

/// Frees what was not renewed in time.
pub(super) fn free_expired(tx: &Transaction<'_>, now: i64) -> Result<()> {
    tx.prepare_cached(&format!("{FREE} WHERE busy_until < ?1"))?.execute([now])?;
    Ok(())
}

/// All schedules, by name.
pub(super) fn schedules(connection: &Connection) -> Result<Vec<Schedule>> {
    let mut statement =
        connection.prepare_cached("SELECT name, next_at, busy_since, last_at, error FROM schedule ORDER BY name")?;
    let rows = statement.query_map([], |row| {
        Ok(Schedule {
            name: row.get(0)?,
            next_at: instant(row.get(1)?),
            busy_since: row.get::<_, Option<i64>>(2)?.map(instant),
            last_at: row.get::<_, Option<i64>>(3)?.map(instant),
            error: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Forgets schedules of other names.
pub(super) fn keep(tx: &Transaction<'_>, names: &[String]) -> Result<()> {
    let names: HashSet<&str> = names.iter().map(String::as_str).collect();
    for schedule in schedules(tx)?.into_iter().filter(|schedule| !names.contains(schedule.name.as_str())) {
        tx.prepare_cached("DELETE FROM schedule WHERE name = ?1")?.execute([schedule.name])?;
    }
    Ok(())
}
