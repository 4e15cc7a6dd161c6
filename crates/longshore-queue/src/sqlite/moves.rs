//! Every statement that changes a state. Each asks the state machine first.
//!
//! States stand in the statements as words: SQLite prepares a statement anew for each value of a
//! parameter that decides whether a partial index fits.

use rusqlite::{OptionalExtension, Transaction, params};

use super::{Fault, Result};
use crate::{State, TaskId, Token};

/// Asks the state machine.
fn check(id: i64, from: State, to: State) -> Result<()> {
    if from.may_become(to) { Ok(()) } else { Err(Fault::Move { task: id, from, to }) }
}

/// Makes sure that the task was in the state that it was said to be in.
fn changed(rows: usize, id: i64, from: State, to: State) -> Result<()> {
    if rows == 1 { Ok(()) } else { Err(Fault::Move { task: id, from, to }) }
}

/// Moves a task that does not run, and is not to.
pub(super) fn advance(tx: &Transaction<'_>, id: i64, from: State, to: State, now: i64) -> Result<()> {
    check(id, from, to)?;
    let ended_at = (!to.is_waiting()).then_some(now);
    let (old, new) = (from.as_str(), to.as_str());
    let sql = format!("UPDATE task SET state = '{new}', ended_at = ?2 WHERE id = ?1 AND state = '{old}'");
    let rows = tx.prepare_cached(&sql)?.execute(params![id, ended_at])?;
    changed(rows, id, from, to)
}

/// How a task is given to a worker.
#[derive(Debug)]
pub(super) struct Given<'a> {
    pub(super) worker: &'a str,
    pub(super) token: &'a Token,
    /// When the lease runs out.
    pub(super) until: i64,
    /// Bytes of its objects.
    pub(super) bytes: u64,
}

/// Gives a task to a worker.
pub(super) fn take(tx: &Transaction<'_>, id: i64, given: &Given<'_>, now: i64) -> Result<()> {
    let (from, to) = (State::Available, State::Running);
    check(id, from, to)?;
    let rows = tx
        .prepare_cached(
            "UPDATE task SET state = 'running', worker = ?2, token = ?3, started_at = ?4, lease_until = ?5, \
             attempts = attempts + 1, bytes_read = 0, bytes_total = ?6 \
             WHERE id = ?1 AND state = 'available'",
        )?
        .execute(params![id, given.worker, given.token.0, now, given.until, given.bytes.cast_signed()])?;
    changed(rows, id, from, to)
}

/// A task that runs.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) id: i64,
    pub(super) pipeline: String,
    pub(super) cancel_asked: bool,
    pub(super) deaths: u32,
    pub(super) not_before: i64,
}

/// Columns of a [`Held`].
const HELD: &str = "id, pipeline, cancel_asked, deaths, not_before";

impl Held {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            pipeline: row.get(1)?,
            cancel_asked: row.get(2)?,
            deaths: u32::try_from(row.get::<_, i64>(3)?).unwrap_or(u32::MAX),
            not_before: row.get(4)?,
        })
    }

    /// The task, if this token holds it.
    pub(super) fn find(tx: &Transaction<'_>, id: TaskId, token: &Token) -> Result<Option<Self>> {
        let sql = format!("SELECT {HELD} FROM task WHERE id = ?1 AND state = 'running' AND token = ?2");
        Ok(tx.prepare_cached(&sql)?.query_row(params![id.0, token.0], Self::read).optional()?)
    }

    /// Tasks whose worker is this one.
    pub(super) fn by_worker(tx: &Transaction<'_>, worker: &str) -> Result<Vec<Self>> {
        let sql = format!("SELECT {HELD} FROM task WHERE state = 'running' AND worker = ?1 ORDER BY id");
        let mut statement = tx.prepare_cached(&sql)?;
        let rows = statement.query_map([worker], Self::read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Tasks whose lease has run out.
    pub(super) fn expired(tx: &Transaction<'_>, now: i64) -> Result<Vec<Self>> {
        let sql = format!("SELECT {HELD} FROM task WHERE state = 'running' AND lease_until < ?1 ORDER BY id");
        let mut statement = tx.prepare_cached(&sql)?;
        let rows = statement.query_map([now], Self::read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Ends the lease. Returns the state that the task has now: what was to be cancelled is not made
    /// available again.
    pub(super) fn release(&self, tx: &Transaction<'_>, ended: &Released<'_>, now: i64) -> Result<State> {
        let from = State::Running;
        let to = if self.cancel_asked && ended.to.is_waiting() { State::Cancelled } else { ended.to };
        check(self.id, from, to)?;
        let ended_at = (!to.is_waiting()).then_some(now);
        let sql = format!(
            "UPDATE task SET state = '{}', error = ?2, not_before = ?3, attempts = max(attempts - ?4, 0), deaths = ?5, \
             ended_at = ?6, worker = NULL, token = NULL, lease_until = NULL, started_at = NULL, bytes_read = 0, \
             bytes_total = 0, load = NULL, cancel_asked = 0, probe = 0 WHERE id = ?1 AND state = 'running'",
            to.as_str()
        );
        let rows = tx.prepare_cached(&sql)?.execute(params![
            self.id,
            ended.error,
            ended.not_before.unwrap_or(self.not_before),
            ended.uncounted,
            self.deaths.saturating_add(u32::from(ended.died)),
            ended_at,
        ])?;
        changed(rows, self.id, from, to)?;
        Ok(to)
    }
}

/// How a lease ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Released<'a> {
    /// The state that the task is to have.
    pub(super) to: State,
    /// What went wrong.
    pub(super) error: Option<&'a str>,
    /// Not to be leased before; as it was if `None`.
    pub(super) not_before: Option<i64>,
    /// Whether it does not count as an attempt.
    pub(super) uncounted: bool,
    /// Whether the worker died.
    pub(super) died: bool,
}

impl<'a> Released<'a> {
    /// To this state, and nothing else to say.
    pub(super) fn to(to: State) -> Self {
        Self { to, error: None, not_before: None, uncounted: false, died: false }
    }

    /// With what went wrong.
    pub(super) fn because(self, error: &'a str) -> Self {
        Self { error: Some(error), ..self }
    }
}
