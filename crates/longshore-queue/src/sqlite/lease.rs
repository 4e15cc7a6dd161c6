//! Which task is next, and for how long.

use rusqlite::{Connection, Transaction, params};

use super::moves::{self, Given, Held, Released};
use super::schema::{AN_OLDER_WAITS, BY_URGENCY, WAITING};
use super::time::{after, length};
use super::{Result, pause, read, word};
use crate::{End, Lease, PauseKind, Renewal, Renewed, State, TaskId, Token};

/// Tasks among which those to be leased are, whatever else waits: of every table that is free its
/// oldest task (the only one of those in order that may run), the most urgent one of each pipeline
/// of those without order, and the probes. Found by hopping from table to table and from pipeline
/// to pipeline in the indexes, so that the length of the queue does not matter. The indexes are named,
/// since SQLite by itself would rather read all that waits.
fn heads() -> String {
    format!(
        "each_table (t) AS (
           SELECT min(table_name) FROM task INDEXED BY task_by_age WHERE {WAITING}
           UNION ALL
           SELECT (SELECT min(table_name) FROM task INDEXED BY task_by_age WHERE {WAITING} AND table_name > t)
             FROM each_table WHERE t IS NOT NULL),
         free (t) AS (
           SELECT t FROM each_table WHERE t IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM task INDEXED BY task_running WHERE state = 'running' AND table_name = t)),
         each_pipeline (t, p) AS (
           SELECT t, (SELECT min(pipeline) FROM task INDEXED BY task_unordered
                     WHERE state = 'available' AND ordered = 0 AND table_name = t)
             FROM free
           UNION ALL
           SELECT t, (SELECT min(pipeline) FROM task INDEXED BY task_unordered
                     WHERE state = 'available' AND ordered = 0 AND table_name = t AND pipeline > p)
             FROM each_pipeline WHERE p IS NOT NULL),
         candidate (id) AS (
           SELECT (SELECT id FROM task INDEXED BY task_by_age WHERE {WAITING} AND table_name = t
                     ORDER BY modified_at, key, id LIMIT 1)
             FROM free
           UNION
           SELECT (SELECT id FROM task INDEXED BY task_unordered
                     WHERE state = 'available' AND ordered = 0 AND table_name = t AND pipeline = p
                     ORDER BY {BY_URGENCY} LIMIT 1)
             FROM each_pipeline WHERE p IS NOT NULL
           UNION
           SELECT id FROM task INDEXED BY task_probe WHERE probe = 1)"
    )
}

/// The whole rule, over some candidates. The limit is no parameter: SQLite plans anew whenever that changes.
fn select(candidates: &str, limit: i64) -> String {
    format!(
        "WITH RECURSIVE {candidates}
         SELECT id FROM (
           SELECT task.id, priority, modified_at, key,
             row_number() OVER (PARTITION BY table_name ORDER BY priority DESC, modified_at, key, task.id) AS place
           FROM candidate CROSS JOIN task ON task.id = candidate.id
           LEFT JOIN queue_pause ON queue_pause.pipeline = task.pipeline
           WHERE state = 'available'
             AND (queue_pause.kind IS NULL OR queue_pause.kind = 'objects' OR (queue_pause.kind = 'fault' AND probe))
             AND NOT EXISTS (SELECT 1 FROM task AS other INDEXED BY task_running WHERE other.state = 'running'
               AND other.table_name = task.table_name)
             AND NOT (ordered AND {AN_OLDER_WAITS}))
         WHERE place = 1 ORDER BY {BY_URGENCY} LIMIT {limit}"
    )
}

/// Makes tasks available whose time has come.
fn promote(tx: &Transaction<'_>, now: i64) -> Result<()> {
    let due = tx
        .prepare_cached(
            "SELECT id, state FROM task INDEXED BY task_due \
             WHERE state IN ('scheduled', 'retryable') AND not_before <= ?1",
        )?
        .query_map([now], |row| Ok((row.get(0)?, word(row, 1, State::parse)?)))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for (id, from) in due {
        moves::advance(tx, id, from, State::Available, now)?;
    }
    Ok(())
}

fn choose(tx: &Connection, limit: i64, only: Option<&[TaskId]>) -> Result<Vec<i64>> {
    let chosen = match only {
        None => tx.prepare_cached(&select(&heads(), limit))?.query_map([], |row| row.get(0))?.collect(),
        Some(only) => {
            let ids = only.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            let candidates = "candidate (id) AS (SELECT DISTINCT value FROM json_each(?1))";
            tx.prepare_cached(&select(candidates, limit))?
                .query_map([format!("[{ids}]")], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()
        }
    };
    Ok(chosen?)
}

/// Whether there may be something to lease: some task is, or has just become due.
pub(super) fn is_any(connection: &Connection, only: Option<&[TaskId]>, now: i64) -> Result<bool> {
    let due = "SELECT 1 FROM task INDEXED BY task_due WHERE state IN ('scheduled', 'retryable') AND not_before <= ?1";
    Ok(connection.prepare_cached(due)?.exists([now])? || !choose(connection, 1, only)?.is_empty())
}

/// Leases tasks to a worker whose leases last so long.
pub(super) fn lease(
    tx: &Transaction<'_>,
    (worker, lasts): (&str, i64),
    limit: usize,
    only: Option<&[TaskId]>,
    now: i64,
) -> Result<Vec<Lease>> {
    promote(tx, now)?;
    let mut leases = Vec::new();
    for id in choose(tx, i64::try_from(limit).unwrap_or(i64::MAX), only)? {
        let token = Token(super::draw());
        let objects = read::objects(tx, TaskId(id))?;
        let bytes = objects.iter().fold(0u64, |sum, object| sum.saturating_add(object.bytes));
        moves::take(tx, id, &Given { worker, token: &token, until: after(now, lasts), bytes }, now)?;
        leases.extend(read::task(tx, TaskId(id))?.map(|task| Lease { task, objects, token }));
    }
    Ok(leases)
}

/// Prolongs leases.
pub(super) fn renew(tx: &Transaction<'_>, lasts: i64, leases: &[Renewal], now: i64) -> Result<Vec<Renewed>> {
    let mut statement = tx.prepare_cached(
        "UPDATE task SET lease_until = ?3, bytes_read = ?4, bytes_total = ?5, load = ?6 \
         WHERE id = ?1 AND state = 'running' AND token = ?2",
    )?;
    let mut renewed = Vec::with_capacity(leases.len());
    for lease in leases {
        let Some(held) = Held::find(tx, lease.id, &lease.token)? else {
            renewed.push(Renewed::Lost);
            continue;
        };
        let (bytes, total) = (lease.progress.bytes.cast_signed(), lease.progress.total_bytes.cast_signed());
        statement.execute(params![held.id, lease.token.0, after(now, lasts), bytes, total, lease.load])?;
        renewed.push(if held.cancel_asked { Renewed::CancelAsked } else { Renewed::Held });
    }
    Ok(renewed)
}

/// Ends leases.
pub(super) fn finish(tx: &Transaction<'_>, ends: &[(TaskId, Token, End)], now: i64) -> Result<Vec<bool>> {
    let mut held = Vec::with_capacity(ends.len());
    for (id, token, end) in ends {
        let found = Held::find(tx, *id, token)?;
        held.push(found.is_some());
        if let Some(found) = found {
            finish_one(tx, &found, end, now)?;
        }
    }
    Ok(held)
}

fn finish_one(tx: &Transaction<'_>, held: &Held, end: &End, now: i64) -> Result<()> {
    match end {
        End::Completed => {
            held.release(tx, &Released::to(State::Completed), now)?;
            tx.prepare_cached("DELETE FROM task_object WHERE task = ?1")?.execute([held.id])?;
            // Whatever was wrong with the surroundings of its pipeline is so no more.
            pause::resume(tx, &held.pipeline, &[PauseKind::Fault], now)?;
        }
        End::Retry { after: wait, error } => {
            let not_before = Some(after(now, length(*wait)));
            held.release(tx, &Released { not_before, ..Released::to(State::Retryable).because(error) }, now)?;
        }
        End::Returned => {
            held.release(tx, &Released { uncounted: true, ..Released::to(State::Available) }, now)?;
        }
        End::Paused(pause) => {
            held.release(tx, &Released::to(State::Available).because(&pause.error), now)?;
            pause::pause(tx, pause, now)?;
        }
        End::Cancelled => {
            held.release(tx, &Released::to(State::Cancelled), now)?;
        }
    }
    Ok(())
}
