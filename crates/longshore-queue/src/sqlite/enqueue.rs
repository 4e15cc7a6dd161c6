//! How tasks come in.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, Transaction, params};

use super::Result;
use super::schema::WAITING;
use super::time::{after, length, micros};
use crate::{Enqueued, NewTask, State, TaskId, TaskObject};

/// Adds tasks, after those that are withdrawn have gone.
pub(super) fn enqueue(tx: &Transaction<'_>, tasks: &[NewTask], withdraw: &[TaskId], now: i64) -> Result<Enqueued> {
    let since = remove(tx, withdraw)?;
    let mut enqueued = Enqueued::default();
    for task in tasks {
        let objects = new_objects(tx, task)?;
        if let [first, ..] = objects[..] {
            let last = objects.iter().max_by_key(|object| &object.position).unwrap_or(&first);
            let queued_at = objects.iter().filter_map(|object| since.get(&object.identity)).min().copied();
            let place = Place { first, last, objects: objects.len(), queued_at: queued_at.unwrap_or(now) };
            let id = insert(tx, task, &place, now)?;
            insert_objects(tx, task, id, &objects)?;
            enqueued.tasks.push(id);
            enqueued.objects += objects.len() as u64;
        }
    }
    Ok(enqueued)
}

/// Removes tasks that have not begun. Returns since when each object of them is queued.
fn remove(tx: &Transaction<'_>, withdraw: &[TaskId]) -> Result<HashMap<String, i64>> {
    let mut since = HashMap::new();
    let objects = format!(
        "SELECT identity, queued_at FROM task_object JOIN task ON task.id = task_object.task WHERE task.id = ?1 AND {WAITING}"
    );
    let delete = format!("DELETE FROM task WHERE id = ?1 AND {WAITING}");
    for task in withdraw {
        let mut statement = tx.prepare_cached(&objects)?;
        for row in statement.query_map([task.0], |row| Ok((row.get(0)?, row.get(1)?)))? {
            let (identity, queued_at) = row?;
            since.insert(identity, queued_at);
        }
        tx.prepare_cached(&delete)?.execute([task.0])?;
    }
    Ok(since)
}

/// Where a new task stands.
struct Place<'a> {
    first: &'a TaskObject,
    last: &'a TaskObject,
    objects: usize,
    queued_at: i64,
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

fn insert(tx: &Transaction<'_>, task: &NewTask, place: &Place<'_>, now: i64) -> Result<TaskId> {
    let delay = task.delay.map_or(0, length);
    let state = if delay > 0 { State::Scheduled } else { State::Available };
    tx.prepare_cached(
        "INSERT INTO task (table_name, pipeline, ordered, priority, modified_at, key, last_modified_at, last_key, \
         object_count, state, queued_at, not_before) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?
    .execute(params![
        task.table,
        task.pipeline,
        task.ordered,
        task.priority,
        micros(place.first.position.modified_at),
        place.first.position.key,
        micros(place.last.position.modified_at),
        place.last.position.key,
        i64::try_from(place.objects).unwrap_or(i64::MAX),
        state.as_str(),
        place.queued_at,
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
