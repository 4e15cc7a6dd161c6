//! How tasks come in.

use std::collections::HashSet;

use rusqlite::{Connection, Transaction, params};

use super::Result;
use super::schema::WAITING;
use super::time::{after, length, micros};
use crate::{Enqueued, NewTask, State, TaskId, TaskObject};

/// Adds tasks, after those that are withdrawn have gone.
pub(super) fn enqueue(tx: &Transaction<'_>, tasks: &[NewTask], withdraw: &[TaskId], now: i64) -> Result<Enqueued> {
    for task in withdraw {
        let sql = format!("DELETE FROM task WHERE id = ?1 AND {WAITING}");
        tx.prepare_cached(&sql)?.execute([task.0])?;
    }
    let mut enqueued = Enqueued::default();
    for task in tasks {
        let objects = new_objects(tx, task)?;
        if let Some(first) = objects.first() {
            let id = insert(tx, task, first, objects.len(), now)?;
            insert_objects(tx, task, id, &objects)?;
            enqueued.tasks.push(id);
            enqueued.objects += objects.len() as u64;
        }
    }
    Ok(enqueued)
}

/// Those objects of a task that are in no open task of its table.
fn new_objects<'a>(tx: &Transaction<'_>, task: &'a NewTask) -> Result<Vec<&'a TaskObject>> {
    let mut seen = HashSet::new();
    let mut objects = Vec::with_capacity(task.objects.len());
    for object in &task.objects {
        if seen.insert(object.identity.as_str()) && !is_open(tx, &task.table, &object.identity)? {
            objects.push(object);
        }
    }
    Ok(objects)
}

fn insert(tx: &Transaction<'_>, task: &NewTask, first: &TaskObject, objects: usize, now: i64) -> Result<TaskId> {
    let delay = task.delay.map_or(0, length);
    let state = if delay > 0 { State::Scheduled } else { State::Available };
    tx.prepare_cached(
        "INSERT INTO task (table_name, pipeline, ordered, priority, modified_at, key, object_count, state, queued_at, \
         not_before) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute(params![
        task.table,
        task.pipeline,
        task.ordered,
        task.priority,
        micros(first.position.modified_at),
        first.position.key,
        i64::try_from(objects).unwrap_or(i64::MAX),
        state.as_str(),
        now,
        after(now, delay),
    ])?;
    Ok(TaskId(tx.last_insert_rowid()))
}

fn insert_objects(tx: &Transaction<'_>, task: &NewTask, id: TaskId, objects: &[&TaskObject]) -> Result<()> {
    let mut statement = tx.prepare_cached(
        "INSERT INTO task_object (task, place, table_name, identity, modified_at, key, bytes, payload) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for (place, object) in (0i64..).zip(objects) {
        let (modified_at, key) = (micros(object.position.modified_at), &object.position.key);
        let bytes = object.bytes.cast_signed();
        statement.execute(params![
            id.0,
            place,
            task.table,
            object.identity,
            modified_at,
            key,
            bytes,
            object.payload
        ])?;
    }
    Ok(())
}

fn is_open(connection: &Connection, table: &str, identity: &str) -> Result<bool> {
    let mut statement =
        connection.prepare_cached("SELECT 1 FROM task_object WHERE table_name = ?1 AND identity = ?2")?;
    Ok(statement.exists([table, identity])?)
}

/// Which of these identities are in an open task of this table.
pub(super) fn are_open(connection: &Connection, table: &str, identities: &[String]) -> Result<Vec<bool>> {
    identities.iter().map(|identity| is_open(connection, table, identity)).collect()
}
