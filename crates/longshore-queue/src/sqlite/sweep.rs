//! What becomes of the tasks of workers that died.

use rusqlite::{Connection, Transaction, params};

use super::moves::{Held, Released};
use super::{Result, pause, schedule, worker};
use crate::{MAX_DEATHS, State, Swept, TaskId};

const DIED: &str = "its worker died, or did not renew its lease in time";

/// Whether something has run out.
pub(super) fn is_any(connection: &Connection, now: i64) -> Result<bool> {
    let sql = "SELECT 1 FROM task WHERE state = 'running' AND lease_until < ?1 \
        UNION ALL SELECT 1 FROM schedule WHERE busy_until < ?1";
    Ok(connection.prepare_cached(sql)?.exists([now])?)
}

/// Ends the leases of these workers, and those that have run out.
pub(super) fn sweep(tx: &Transaction<'_>, dead: &[String], now: i64) -> Result<Swept> {
    let mut swept = Swept::default();
    for id in dead {
        for held in Held::by_worker(tx, id)? {
            died(tx, &held, now, &mut swept)?;
        }
        worker::remove(tx, id)?;
    }
    for held in Held::expired(tx, now)? {
        died(tx, &held, now, &mut swept)?;
    }
    schedule::free_expired(tx, now)?;
    Ok(swept)
}

fn died(tx: &Transaction<'_>, held: &Held, now: i64, swept: &mut Swept) -> Result<()> {
    let deaths = held.deaths.saturating_add(1);
    if deaths < MAX_DEATHS || held.cancel_asked {
        let ended = Released { died: true, ..Released::to(State::Available).because(DIED) };
        if held.release(tx, &ended, now)? == State::Available {
            swept.returned.push(TaskId(held.id));
        }
        return Ok(());
    }
    let error = reason(tx, held.id, deaths)?;
    held.release(tx, &Released { died: true, ..Released::to(State::Discarded).because(&error) }, now)?;
    swept.discarded.push(TaskId(held.id));
    pause::pause(tx, &pause::by_task(&held.pipeline, TaskId(held.id), error), now)
}

/// Says over what a worker died, by the oldest object.
fn reason(tx: &Transaction<'_>, task: i64, deaths: u32) -> Result<String> {
    let (key, objects): (String, i64) =
        tx.query_row("SELECT key, object_count FROM task WHERE id = ?1", params![task], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let others = match objects.saturating_sub(1) {
        ..=0 => String::new(),
        1 => " (and 1 more object)".to_owned(),
        more => format!(" (and {more} more objects)"),
    };
    Ok(format!("a worker died {deaths} times over `{key}`{others}"))
}
