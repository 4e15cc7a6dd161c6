//! What operators, and those who clean up, do to tasks.

use std::collections::BTreeMap;

use rusqlite::{Params, Transaction};

use super::schema::WAITING;
use super::{Result, moves, pause, word};
use crate::{State, TaskId, Which};

/// [`Which`], for another thread.
#[derive(Debug)]
pub(super) enum Picked {
    Ids(Vec<TaskId>),
    Keys(Vec<String>),
    Pipeline(String),
    All,
}

impl From<Which<'_>> for Picked {
    fn from(which: Which<'_>) -> Self {
        match which {
            Which::Ids(ids) => Self::Ids(ids.to_vec()),
            Which::Keys(keys) => Self::Keys(keys.to_vec()),
            Which::Pipeline(pipeline) => Self::Pipeline(pipeline.to_owned()),
            Which::All => Self::All,
        }
    }
}

/// The tasks that are meant, with their states, by id. Completed ones are nobody's business.
fn pick(tx: &Transaction<'_>, which: &Picked) -> Result<BTreeMap<i64, State>> {
    let mut found = BTreeMap::new();
    match which {
        Picked::Ids(ids) => {
            for id in ids {
                found.extend(select(tx, "id = ?1", [id.0])?);
            }
        }
        Picked::Keys(keys) => {
            for key in keys {
                found.extend(select(tx, "id IN (SELECT task FROM task_object WHERE key = ?1)", [key])?);
            }
        }
        Picked::Pipeline(pipeline) => found.extend(select(tx, "pipeline = ?1", [pipeline])?),
        Picked::All => found.extend(select(tx, "true", [])?),
    }
    Ok(found)
}

fn select(tx: &Transaction<'_>, condition: &str, params: impl Params) -> Result<Vec<(i64, State)>> {
    let sql = format!("SELECT id, state FROM task WHERE {condition} AND state <> 'completed'");
    let mut statement = tx.prepare_cached(&sql)?;
    let rows = statement.query_map(params, |row| Ok((row.get(0)?, word(row, 1, State::parse)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Cancels tasks that wait, and asks for those that run. Returns how many of each.
pub(super) fn cancel(tx: &Transaction<'_>, which: &Picked, now: i64) -> Result<(u64, u64)> {
    let (mut waiting, mut running) = (0, 0);
    for (id, state) in pick(tx, which)? {
        if state.is_waiting() {
            moves::advance(tx, id, state, State::Cancelled, now)?;
            tx.prepare_cached("UPDATE task SET probe = 0 WHERE id = ?1")?.execute([id])?;
            waiting += 1;
        } else if state == State::Running {
            tx.prepare_cached("UPDATE task SET cancel_asked = 1 WHERE id = ?1")?.execute([id])?;
            running += 1;
        }
    }
    Ok((waiting, running))
}

/// Makes discarded and cancelled tasks available again, as if they were new.
pub(super) fn retry(tx: &Transaction<'_>, which: &Picked, now: i64) -> Result<Vec<TaskId>> {
    let mut retried = Vec::new();
    for (id, state) in pick(tx, which)? {
        if matches!(state, State::Cancelled | State::Discarded) {
            moves::advance(tx, id, state, State::Available, now)?;
            tx.prepare_cached("UPDATE task SET attempts = 0, deaths = 0, error = NULL, not_before = ?2 WHERE id = ?1")?
                .execute([id, now])?;
            pause::end_by_task(tx, id)?;
            retried.push(TaskId(id));
        }
    }
    Ok(retried)
}

/// Counts tasks that wait, and removes them if `really`.
pub(super) fn purge(tx: &Transaction<'_>, really: bool) -> Result<u64> {
    if really {
        return Ok(tx.execute(&format!("DELETE FROM task WHERE {WAITING}"), [])? as u64);
    }
    let count: i64 = tx.query_row(&format!("SELECT count(*) FROM task WHERE {WAITING}"), [], |row| row.get(0))?;
    Ok(count.cast_unsigned())
}

/// Removes completed tasks that ended before.
pub(super) fn prune(tx: &Transaction<'_>, before: i64) -> Result<u64> {
    Ok(tx.execute("DELETE FROM task WHERE state = 'completed' AND ended_at < ?1", [before])? as u64)
}

/// Removes these tasks, if they are cancelled or discarded.
pub(super) fn forget(tx: &Transaction<'_>, tasks: &[TaskId]) -> Result<()> {
    for task in tasks {
        let rows = tx
            .prepare_cached("DELETE FROM task WHERE id = ?1 AND state IN ('cancelled', 'discarded')")?
            .execute([task.0])?;
        if rows > 0 {
            pause::end_by_task(tx, task.0)?;
        }
    }
    Ok(())
}
