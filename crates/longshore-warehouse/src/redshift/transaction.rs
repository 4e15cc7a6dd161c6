//! The short transaction that brings staged rows into their table: fence, ledger check, merge, ledger, COMMIT.

use std::time::Duration;

use super::error;
use super::load::{LONGEST, RedshiftLoad};
use super::sql;
use crate::{Committed, Entry, EntryKind, Kind, Mode, Receipt, WarehouseError, crash_point, entries};

/// How often a transaction is played again that the server undid.
const REPLAYS: u32 = 4;

/// The first pause before that; each next one is three times as long.
const PAUSE: Duration = Duration::from_millis(200);

/// A pause before another try, of a length that rivals do not share.
pub(super) fn pause(tries: u32) -> Duration {
    let jitter = 50 + (uuid::Uuid::new_v4().as_u128() % 100) as u32;
    PAUSE * 3_u32.pow(tries.clamp(1, REPLAYS) - 1) * jitter / 100
}

/// How a transaction ended that did not fail.
enum Ended {
    Committed(Receipt),
    AlreadyIn(Vec<Entry>),
    /// Another load was between its own fence and its end.
    Raced,
}

/// What a merge did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Applied {
    loaded: u64,
    replaced: u64,
    duplicate: Vec<u64>,
    superseded: Vec<u64>,
}

impl RedshiftLoad {
    /// Plays the transaction, again where the server undid it.
    pub(super) async fn transact(&mut self, entries: &[Entry]) -> Result<Committed, WarehouseError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let ended = self.attempt(entries.to_vec()).await;
            if !matches!(ended, Ok(Ended::Committed(_)))
                && !is_unknown(&ended)
                && let Err(failed) = self.roll_back().await
            {
                return Err(ended.err().unwrap_or(failed));
            }
            let failed = match ended {
                Ok(Ended::Committed(receipt)) => return Ok(Committed::Loaded(receipt)),
                Ok(Ended::AlreadyIn(known)) => return Ok(Committed::AlreadyIn(known)),
                Ok(Ended::Raced) => WarehouseError::new(
                    Kind::Busy,
                    format!("another load of `{}` was faster {tries} times", self.spec.table),
                ),
                Err(error) if *error.kind() == Kind::Conflict => error,
                Err(error) => return Err(error),
            };
            let head = self.ledger.look(self.session()?, &self.spec.objects).await?;
            if !head.entries.is_empty() {
                return Ok(Committed::AlreadyIn(head.entries));
            }
            if tries > REPLAYS {
                return Err(failed);
            }
            tracing::debug!("{failed}: trying again");
            self.epoch = head.epoch;
            tokio::time::sleep(pause(tries)).await;
        }
    }

    async fn roll_back(&self) -> Result<(), WarehouseError> {
        if self.session()?.is_closed() {
            // The server rolls back by itself.
            return Ok(());
        }
        self.ask("ROLLBACK", "rolling back a load of").await.map(drop)
    }

    /// One transaction, from the fence to COMMIT.
    async fn attempt(&self, mut entries: Vec<Entry>) -> Result<Ended, WarehouseError> {
        let loads = entries.iter().any(|entry| entry.kind == EntryKind::Load);
        if !self.fence().await? {
            return Ok(Ended::Raced);
        }
        crash_point("fence");
        self.ask(&sql::timeout_sql(LONGEST), "loading").await?;
        let newer_than = (loads && self.spec.mode.is_ordered()).then_some(self.spec.seen_latest.as_ref());
        let known = self.ledger.fenced(self.session()?, &self.spec.objects, newer_than).await?;
        if !known.is_empty() {
            return Ok(Ended::AlreadyIn(known));
        }
        let applied = if loads { self.apply().await? } else { self.nothing() };
        entries::settle(&mut entries, &applied.duplicate, &applied.superseded, applied.loaded)?;
        self.write_ledger(&entries).await?;
        crash_point("before-commit");
        let doing = || self.doing("committing a load of");
        let session = self.session()?;
        match session.within(LONGEST, doing, session.run("COMMIT")).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error::commit_failed(&doing(), &error)),
            Err(silent) => return Err(silent.with_kind(Kind::OutcomeUnknown)),
        }
        crash_point("commit-sent");
        Ok(Ended::Committed(Receipt { load_id: self.spec.load_id, entries, rows_replaced: applied.replaced }))
    }

    /// Begins the transaction with the fence, which waits for rivals; whether it was first.
    async fn fence(&self) -> Result<bool, WarehouseError> {
        let doing = "waiting for another load of";
        let wait = self.shared.config.wait;
        self.ask(&sql::timeout_sql(wait), doing).await?;
        self.ask("BEGIN", doing).await?;
        let session = self.session()?;
        let fence = self.ledger.fence_sql(self.epoch);
        let fenced = session.within(wait, || self.doing(doing), session.run(&fence)).await?;
        match fenced.map(|answers| answers.last().map_or(0, |answer| answer.count)) {
            Ok(0) => Ok(false),
            Ok(1) => Ok(true),
            Ok(count) => Err(self.ledger.doubled(count)),
            Err(error) => {
                let failed = error::failed_on_ours(&self.doing(doing), &error);
                if *failed.kind() == Kind::Conflict { Ok(false) } else { Err(failed) }
            }
        }
    }

    fn nothing(&self) -> Applied {
        let none = vec![0; self.written.len()];
        Applied { duplicate: none.clone(), superseded: none, ..Applied::default() }
    }

    /// Brings the staged rows in.
    async fn apply(&self) -> Result<Applied, WarehouseError> {
        let doing = "bringing rows into";
        let (sql, has_rows) = (self.sql(), !self.lines.is_empty());
        let mut applied = self.nothing();
        let mut kept = 0;
        if has_rows && let Some(count_rows) = sql.count_rows() {
            let answers = self.run(&count_rows, doing).await?.map_err(|e| error::failed(&self.doing(doing), &e))?;
            let rows = answers.first().map(|answer| answer.rows.as_slice()).unwrap_or_default();
            let number = |row: &tokio_postgres::SimpleQueryRow, at: usize| {
                row.get(at).and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or_default()
            };
            let counts: Vec<[u64; 4]> = rows.iter().map(|row| [0, 1, 2, 3].map(|at| number(row, at))).collect();
            kept = self.weigh(&counts, &mut applied)?;
        }
        if let Some(replace) = sql.replace_rows(has_rows) {
            applied.replaced = self.count(&replace, doing).await?;
        } else if self.spec.mode != Mode::Append {
            applied.replaced = kept;
        }
        if has_rows {
            applied.loaded = kept + self.count(&sql.insert_rows(), doing).await?;
        }
        Ok(applied)
    }

    /// Tells apart which rows lost, per object, from file, winners, losers to the target, and rows whose key
    /// the target has. Returns the sum of the last.
    fn weigh(&self, counts: &[[u64; 4]], applied: &mut Applied) -> Result<u64, WarehouseError> {
        applied.duplicate.clone_from(&self.written);
        let mut kept = 0;
        for [file, winners, lost, here] in counts {
            let duplicate = applied.duplicate.get_mut(*file as usize).and_then(|slot| {
                *slot = slot.checked_sub(*winners)?;
                Some(())
            });
            if duplicate.is_none() {
                let given = self.written.get(*file as usize).copied().unwrap_or_default();
                return Err(entries::mismatch(&self.plan.table.table.name, given, *winners));
            }
            applied.superseded[*file as usize] = *lost;
            kept += here;
        }
        Ok(kept)
    }

    async fn write_ledger(&self, entries: &[Entry]) -> Result<(), WarehouseError> {
        let mut written = 0;
        for statement in self.ledger.insert_sql(entries) {
            written += self.count(&statement, "writing the ledger of").await?;
        }
        if written == entries.len() as u64 {
            return Ok(());
        }
        let text = format!("the ledger of `{}` took {written} of {} entries", self.spec.table, entries.len());
        Err(WarehouseError::new(Kind::Ledger, text))
    }
}

/// Whether nobody knows how a transaction ended, or the server is not there to ask.
fn is_unknown(ended: &Result<Ended, WarehouseError>) -> bool {
    matches!(ended, Err(error) if matches!(error.kind(), Kind::OutcomeUnknown | Kind::Unreachable))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_differ() {
        for tries in 1..=REPLAYS {
            let usual = PAUSE * 3_u32.pow(tries - 1);
            for _ in 0..50 {
                let pause = pause(tries);
                assert!(pause >= usual / 2 && pause < usual * 3 / 2, "{tries} {pause:?}");
            }
        }
        assert!((0..20).map(|_| pause(1)).collect::<std::collections::HashSet<_>>().len() > 1);
    }
}
