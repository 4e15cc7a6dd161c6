//! Tasks as they stand.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::schema::{BY_URGENCY, WAITING};
use super::time::instant;
use super::{Result, word};
use crate::{Counts, Position, Progress, State, Task, TaskId, TaskObject};

/// Columns of a [`Task`].
const TASK: &str = "task.id, table_name, pipeline, ordered, priority, state, queued_at, not_before, attempts, deaths, \
    probe, (SELECT name FROM worker WHERE worker.id = task.worker), started_at, bytes_read, bytes_total, \
    cancel_asked, error, ended_at, modified_at, key, last_modified_at, last_key, object_count, load";

fn small(row: &Row<'_>, column: usize) -> rusqlite::Result<u32> {
    Ok(u32::try_from(row.get::<_, i64>(column)?).unwrap_or(u32::MAX))
}

fn read_task(row: &Row<'_>) -> rusqlite::Result<Task> {
    Ok(Task {
        id: TaskId(row.get(0)?),
        table: row.get(1)?,
        pipeline: row.get(2)?,
        ordered: row.get(3)?,
        priority: row.get(4)?,
        state: word(row, 5, State::parse)?,
        queued_at: instant(row.get(6)?),
        not_before: instant(row.get(7)?),
        attempts: small(row, 8)?,
        deaths: small(row, 9)?,
        probe: row.get(10)?,
        worker: row.get(11)?,
        started_at: row.get::<_, Option<i64>>(12)?.map(instant),
        progress: Progress {
            bytes: row.get::<_, i64>(13)?.cast_unsigned(),
            total_bytes: row.get::<_, i64>(14)?.cast_unsigned(),
        },
        cancel_asked: row.get(15)?,
        error: row.get(16)?,
        ended_at: row.get::<_, Option<i64>>(17)?.map(instant),
        first: Position { modified_at: instant(row.get(18)?), key: row.get(19)? },
        last: Position { modified_at: instant(row.get(20)?), key: row.get(21)? },
        object_count: row.get::<_, i64>(22)?.cast_unsigned(),
        load: row.get(23)?,
    })
}

/// The objects of a task, in order.
pub(super) fn objects(connection: &Connection, task: TaskId) -> Result<Vec<TaskObject>> {
    let mut statement = connection.prepare_cached(
        "SELECT identity, modified_at, key, bytes, payload FROM task_object WHERE task = ?1 ORDER BY place",
    )?;
    let rows = statement.query_map([task.0], |row| {
        Ok(TaskObject {
            identity: row.get(0)?,
            position: Position { modified_at: instant(row.get(1)?), key: row.get(2)? },
            bytes: row.get::<_, i64>(3)?.cast_unsigned(),
            payload: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// A task.
pub(super) fn task(connection: &Connection, id: TaskId) -> Result<Option<Task>> {
    let sql = format!("SELECT {TASK} FROM task WHERE id = ?1");
    Ok(connection.prepare_cached(&sql)?.query_row([id.0], read_task).optional()?)
}

/// Tasks in these states, the most urgent first. Each state is read by itself, in the order of the
/// index, so that a long queue is not sorted for a short answer.
pub(super) fn tasks(connection: &Connection, states: &[State], limit: usize) -> Result<Vec<Task>> {
    let sql =
        format!("SELECT {TASK} FROM task INDEXED BY task_by_state WHERE state = ?1 ORDER BY {BY_URGENCY} LIMIT ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = Vec::new();
    for state in State::ALL.into_iter().filter(|state| states.contains(state)) {
        let rows = statement.query_map(params![state.as_str(), i64::try_from(limit).unwrap_or(i64::MAX)], read_task)?;
        for row in rows {
            found.push(row?);
        }
    }
    found.sort_by(|a: &Task, b: &Task| (b.priority, &a.first, a.id).cmp(&(a.priority, &b.first, b.id)));
    found.truncate(limit);
    Ok(found)
}

/// Open tasks that have an object of one of these keys, by id.
pub(super) fn having(connection: &Connection, keys: &[String]) -> Result<Vec<Task>> {
    let mut ids = connection.prepare_cached("SELECT DISTINCT task FROM task_object WHERE key = ?1")?;
    let mut found = BTreeSet::new();
    for key in keys {
        for id in ids.query_map([key], |row| row.get(0))? {
            found.insert(id?);
        }
    }
    let tasks = found.into_iter().map(|id| task(connection, TaskId(id)));
    tasks.filter_map(Result::transpose).collect()
}

/// Whether any task that is queued since then or longer waits or runs.
pub(super) fn has_work_since(connection: &Connection, queued_at: i64) -> Result<bool> {
    let sql = "SELECT 1 FROM task WHERE state = ?1 AND queued_at <= ?2";
    let mut statement = connection.prepare_cached(sql)?;
    for state in [State::Running, State::Available, State::Retryable, State::Scheduled] {
        if statement.exists(params![state.as_str(), queued_at])? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Tasks of a table that have not begun, the oldest first.
pub(super) fn waiting(connection: &Connection, table: &str) -> Result<Vec<Task>> {
    let sql = format!(
        "SELECT {TASK} FROM task INDEXED BY task_by_age WHERE table_name = ?1 AND {WAITING} ORDER BY modified_at, key, id"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([table], read_task)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Numbers of tasks and objects. A completed task has none any more, but is counted with those that it had.
pub(super) fn counts(connection: &Connection) -> Result<Counts> {
    let mut statement =
        connection.prepare_cached("SELECT state, count(*), sum(object_count) FROM task GROUP BY state")?;
    let rows = statement.query_map([], |row| {
        Ok((word(row, 0, State::parse)?, row.get::<_, i64>(1)?.cast_unsigned(), row.get::<_, i64>(2)?.cast_unsigned()))
    })?;
    let mut by_state = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    by_state.sort_by_key(|(state, ..)| *state);
    Ok(Counts { by_state })
}
