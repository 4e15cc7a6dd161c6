//! Paused pipelines, and the probes that show whether they may go on.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::schema::{AN_OLDER_WAITS, BY_URGENCY, WAITING};
use super::time::instant;
use super::{Result, moves, word};
use crate::{Pause, PauseKind, State, TaskId};

const PAUSE: &str = "SELECT pipeline, kind, since, error, cure, task FROM queue_pause";

fn read_pause(row: &Row<'_>) -> rusqlite::Result<Pause> {
    Ok(Pause {
        pipeline: row.get(0)?,
        kind: word(row, 1, PauseKind::parse)?,
        since: instant(row.get(2)?),
        error: row.get(3)?,
        cure: row.get(4)?,
        task: row.get::<_, Option<i64>>(5)?.map(TaskId),
    })
}

/// Paused pipelines, by name.
pub(super) fn pauses(connection: &Connection) -> Result<Vec<Pause>> {
    let mut statement = connection.prepare_cached(&format!("{PAUSE} ORDER BY pipeline"))?;
    let rows = statement.query_map([], read_pause)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Pauses a pipeline, or replaces why it is paused, if that may be.
pub(super) fn pause(tx: &Transaction<'_>, pause: &Pause, now: i64) -> Result<()> {
    let sql = format!("{PAUSE} WHERE pipeline = ?1");
    let present = tx.prepare_cached(&sql)?.query_row([&pause.pipeline], read_pause).optional()?;
    if present.as_ref().is_some_and(|present| !present.kind.may_be_replaced_by(pause.kind)) {
        return Ok(());
    }
    if present.as_ref().is_some_and(|present| present.kind != pause.kind) {
        forget_probes(tx, &pause.pipeline)?;
    }
    let same = present.filter(|present| present.kind == pause.kind && present.error == pause.error);
    let since = same.map_or(now, |present| super::time::micros(present.since));
    tx.prepare_cached(
        "INSERT OR REPLACE INTO queue_pause (pipeline, kind, since, error, cure, task) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        pause.pipeline,
        pause.kind.as_str(),
        since,
        pause.error,
        pause.cure,
        pause.task.map(|task| task.0)
    ])?;
    Ok(())
}

/// Ends a pause of one of these kinds. Returns whether there was one. Where an operator's word ends,
/// the pause by a discarded task that it covered comes to light.
pub(super) fn resume(tx: &Transaction<'_>, pipeline: &str, kinds: &[PauseKind], now: i64) -> Result<bool> {
    let sql = format!("{PAUSE} WHERE pipeline = ?1");
    let present = tx.prepare_cached(&sql)?.query_row([pipeline], read_pause).optional()?;
    let Some(present) = present.filter(|present| kinds.contains(&present.kind)) else { return Ok(false) };
    tx.prepare_cached("DELETE FROM queue_pause WHERE pipeline = ?1")?.execute([pipeline])?;
    forget_probes(tx, pipeline)?;
    if present.kind == PauseKind::Operator {
        let discarded = tx
            .prepare_cached(
                "SELECT id, error FROM task WHERE pipeline = ?1 AND state = 'discarded' ORDER BY ended_at DESC LIMIT 1",
            )?
            .query_row([pipeline], |row| Ok((row.get(0)?, row.get::<_, Option<String>>(1)?)))
            .optional()?;
        if let Some((task, error)) = discarded {
            pause(tx, &by_task(pipeline, TaskId(task), error.unwrap_or_default()), now)?;
        }
    }
    Ok(true)
}

/// The pause that a discarded task brings about.
pub(super) fn by_task(pipeline: &str, task: TaskId, error: String) -> Pause {
    Pause {
        pipeline: pipeline.to_owned(),
        kind: PauseKind::Discarded,
        since: jiff::Timestamp::UNIX_EPOCH,
        error,
        cure: Some("look at the object and the memory of the machine, then `longshore retry --all`".to_owned()),
        task: Some(task),
    }
}

/// Ends the pause that a discarded task brought about.
pub(super) fn end_by_task(tx: &Transaction<'_>, task: i64) -> Result<()> {
    tx.prepare_cached("DELETE FROM queue_pause WHERE task = ?1 AND kind = 'discarded'")?.execute([task])?;
    Ok(())
}

/// A probe is one for the pause in which it was chosen, and for no later one.
fn forget_probes(tx: &Transaction<'_>, pipeline: &str) -> Result<()> {
    let sql = format!("UPDATE task SET probe = 0 WHERE pipeline = ?1 AND probe = 1 AND {WAITING}");
    tx.prepare_cached(&sql)?.execute([pipeline])?;
    Ok(())
}

/// Chooses a probe for each pipeline that is paused by a fault.
pub(super) fn probe(tx: &Transaction<'_>, now: i64) -> Result<Vec<TaskId>> {
    let paused = pauses(tx)?.into_iter().filter(|pause| pause.kind == PauseKind::Fault);
    let mut probes = Vec::new();
    for pause in paused {
        if let Some((id, state)) = choose_probe(tx, &pause.pipeline)? {
            if state != State::Available {
                moves::advance(tx, id, state, State::Available, now)?;
            }
            tx.prepare_cached("UPDATE task SET probe = 1, not_before = min(not_before, ?2) WHERE id = ?1")?
                .execute([id, now])?;
            probes.push(TaskId(id));
        }
    }
    Ok(probes)
}

/// The most urgent task of a pipeline that waits: one that order does not hold back, if there is any.
/// None while a probe runs.
fn choose_probe(tx: &Transaction<'_>, pipeline: &str) -> Result<Option<(i64, State)>> {
    let running = "SELECT 1 FROM task WHERE pipeline = ?1 AND probe = 1 AND state = 'running'";
    if tx.prepare_cached(running)?.exists([pipeline])? {
        return Ok(None);
    }
    forget_probes(tx, pipeline)?;
    let unhindered = format!("AND NOT (ordered AND {AN_OLDER_WAITS})");
    for rule in [unhindered.as_str(), ""] {
        let sql = format!(
            "SELECT id, state FROM task INDEXED BY task_by_pipeline WHERE pipeline = ?1 AND {WAITING} {rule} ORDER BY {BY_URGENCY} LIMIT 1"
        );
        let mut statement = tx.prepare_cached(&sql)?;
        let found = statement.query_row([pipeline], |row| Ok((row.get(0)?, word(row, 1, State::parse)?))).optional()?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}
