//! One open load.
//!
//! Rows travel while they are read: into parts under the staging prefix. Only `commit` talks to the server:
//! COPY of the parts into a temporary table, outside any transaction, then a short transaction that begins
//! with the fence. The staged rows outlive it, so a transaction that the server undid is played again without
//! reading anything twice.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::Error;

use super::encode::{Chunk, Columns, Misfit, NullToken};
use super::error;
use super::ledger::Ledger;
use super::parts::{CHUNK, Parts};
use super::plan::Plan;
use super::sql::{self, Statements};
use super::{Shared, describe, refusal, staging};
use crate::lines::Lines;
use crate::session::{Answer, Session};
use crate::{
    Begun, Committed, Entry, EntryKind, Kind, Load, LoadSpec, Mode, Receipt, RowBatch, Tally, WarehouseError,
    crash_point, entries,
};

/// How long a statement may take that moves rows, with its time in the server's queue. The server itself
/// tries for up to half an hour to read an object.
pub(super) const LONGEST: Duration = Duration::from_secs(3600);

/// How often a transaction is played again that the server undid.
const REPLAYS: u32 = 4;

/// The first pause before that; each next one is three times as long.
const PAUSE: Duration = Duration::from_millis(200);

/// Bytes that are kept about lines, so that a refused row is found.
const LINES_BYTES: usize = 16 << 20;

/// A pause before another try, of a length that rivals do not share.
pub(super) fn pause(tries: u32) -> Duration {
    let jitter = 50 + (uuid::Uuid::new_v4().as_u128() % 100) as u32;
    PAUSE * 3_u32.pow(tries.clamp(1, REPLAYS) - 1) * jitter / 100
}

/// Begins a load.
pub(super) async fn begin(shared: Arc<Shared>, spec: LoadSpec) -> Result<Begun, WarehouseError> {
    let prepare = |session: Session| async {
        let prepared = prepare(&shared, &session, &spec).await;
        (session, prepared)
    };
    let (plan, ledger, head) = shared.pool.with(prepare).await?;
    if !head.entries.is_empty() {
        return Ok(Begun::AlreadyIn(head.entries));
    }
    let folder = staging::of_load(&shared.config.prefix, &shared.config.project, spec.load_id);
    let parts = Parts::new(shared.config.staging.clone(), folder, shared.config.slices);
    Ok(Begun::Open(Box::new(RedshiftLoad {
        written: vec![0; spec.objects.len()],
        shared,
        spec,
        plan: Arc::new(plan),
        ledger,
        epoch: head.epoch,
        parts,
        null: NullToken::draw(),
        chunk: Chunk::default(),
        lines: Lines::at_most(LINES_BYTES),
        session: None,
    })))
}

/// Describes the table, and looks whether the objects are in.
async fn prepare(
    shared: &Shared,
    session: &Session,
    spec: &LoadSpec,
) -> Result<(Plan, Ledger, super::ledger::Head), WarehouseError> {
    let plan = Plan::new(describe::describe(session, &spec.table).await?, spec)?;
    let name = plan.table.table.name.clone();
    if !plan.layout.columns.is_empty() {
        shared.may_load(session, &name, &spec.mode).await?;
    }
    let ledger = Ledger::of(&name);
    shared.ensure_ledger(session, &name, &ledger).await?;
    let head = ledger.look(session, &spec.objects).await.inspect_err(|_| shared.forget_ledger(&name))?;
    Ok((plan, ledger, head))
}

/// An open load.
struct RedshiftLoad {
    shared: Arc<Shared>,
    spec: LoadSpec,
    plan: Arc<Plan>,
    ledger: Ledger,
    /// The fence's epoch when it was looked at last.
    epoch: i64,
    parts: Parts,
    null: NullToken,
    /// Lines that wait to be a part's.
    chunk: Chunk,
    lines: Lines,
    /// Rows given per object.
    written: Vec<u64>,
    /// `None` until `commit`, and once it was given back or given up.
    session: Option<Session>,
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
    fn sql(&self) -> Statements<'_> {
        Statements { plan: &self.plan, load_id: self.spec.load_id }
    }

    fn session(&self) -> Result<&Session, WarehouseError> {
        let gone =
            || WarehouseError::new(Kind::Other, "the load has no connection any more: this is a bug in longshore");
        self.session.as_ref().ok_or_else(gone)
    }

    fn doing(&self, what: &str) -> String {
        format!("{what} `{}`", self.plan.table.table.name)
    }

    /// Runs something short.
    async fn ask(&self, sql: &str, what: &str) -> Result<Vec<Answer>, WarehouseError> {
        self.session()?.ask(sql, || self.doing(what)).await
    }

    /// Runs something that may take long.
    async fn run(&self, sql: &str, what: &str) -> Result<Result<Vec<Answer>, Error>, WarehouseError> {
        let session = self.session()?;
        session.within(LONGEST, || self.doing(what), session.run(sql)).await
    }

    /// Runs something that may take long and moves rows; returns its count.
    async fn count(&self, sql: &str, what: &str) -> Result<u64, WarehouseError> {
        let answers = self.run(sql, what).await?.map_err(|error| error::failed(&self.doing(what), &error))?;
        Ok(answers.last().map_or(0, |answer| answer.count))
    }

    async fn take(&mut self, batch: &RowBatch) -> Result<(), WarehouseError> {
        self.plan.admit(batch, &self.spec)?;
        let plan = self.plan.clone();
        let null = self.null.clone();
        let columns = Columns::new(&plan.wires, &batch.rows, batch.object, batch.lines.values(), &null);
        let rows = batch.rows.num_rows();
        let mut row = 0;
        while row < rows {
            let first = row;
            row = columns.write(row, &mut self.chunk, CHUNK).map_err(|misfit| self.misfit(batch, misfit))?;
            self.lines.add(batch.object, &batch.lines.values()[first..row]);
            self.written[batch.object as usize] += (row - first) as u64;
            if self.chunk.bytes.len() >= CHUNK {
                self.turn_over().await?;
            }
        }
        Ok(())
    }

    /// Hands filled lines to a part.
    async fn turn_over(&mut self) -> Result<(), WarehouseError> {
        if self.chunk.rows == 0 {
            return Ok(());
        }
        let chunk = std::mem::take(&mut self.chunk);
        let first = self.lines.rows() - chunk.rows;
        self.parts.take(chunk, first).await
    }

    fn misfit(&self, batch: &RowBatch, misfit: Misfit) -> WarehouseError {
        let key = self.spec.objects.get(batch.object as usize).map_or("", |object| &object.key);
        match misfit {
            Misfit::Token => WarehouseError::new(
                Kind::Conflict,
                format!(
                    "a text of `{key}` equals the word that stands for NULL in this load; the next try draws another"
                ),
            ),
            Misfit::Nul { row, column } => self.plan.layout.refused(
                batch,
                &self.spec,
                row,
                column,
                "a NUL character, which Redshift does not take",
            ),
            Misfit::NoBytes { row, column } => self.plan.layout.refused(
                batch,
                &self.spec,
                row,
                column,
                "an empty VARBYTE: COPY would take it for NULL; write NULL, or load it into a VARCHAR",
            ),
            Misfit::TooLong { row } => {
                let line = batch.lines.value(row);
                WarehouseError::new(
                    Kind::Rows { object: Some(batch.object), line: Some(line), column: None },
                    format!(
                        "line {line} of `{key}`: the row has more than 4 MB, which is the most that Redshift takes"
                    ),
                )
            }
        }
    }

    async fn commit_or_fail(&mut self, tallies: &[Tally]) -> Result<Committed, WarehouseError> {
        let name = self.plan.table.table.name.clone();
        let entries = entries::entries(&self.spec, &name, &self.written, tallies)?;
        self.turn_over().await?;
        let manifest = if self.lines.is_empty() { None } else { Some(self.parts.finish().await?) };
        self.connect().await?;
        if let Some(key) = manifest {
            self.stage(&key).await?;
        }
        self.transact(&entries).await
    }

    /// Takes a connection and names it. An idle one may turn out to be broken.
    async fn connect(&mut self) -> Result<(), WarehouseError> {
        let name = sql::name_sql(self.spec.load_id, &self.shared.config.project);
        let doing = || format!("beginning a load of `{}`", self.spec.table);
        let pool = &self.shared.pool;
        let mut session = pool.session().await?;
        match session.ask(&name, doing).await {
            Err(failed) if session.was_idle && *failed.kind() == Kind::Unreachable => {
                session = pool.fresh().await?;
                session.ask(&name, doing).await?;
            }
            named => drop(named?),
        }
        self.session = Some(session);
        Ok(())
    }

    /// Has the server read the parts into a table of this session.
    async fn stage(&self, manifest: &str) -> Result<(), WarehouseError> {
        let doing = "staging rows for";
        let ours = |error: Error| error::failed_on_ours(&self.doing(doing), &error);
        self.run(&self.sql().create_stage(), doing).await?.map_err(ours)?;
        let config = &self.shared.config;
        let (url, access) = (config.staging.url(manifest), sql::access_sql(config, true));
        let copy = sql::copy_sql(&self.sql().stage(), &url, &access, self.null.as_str());
        if let Err(failed) = self.run(&copy, doing).await? {
            return Err(match failed.as_db_error() {
                Some(refused) if refusal::is_of_rows(refused) => {
                    let session = self.session()?;
                    refusal::refused(session, &self.plan, &self.spec, &self.parts, &self.lines, refused).await
                }
                _ => ours(failed),
            });
        }
        let answers = self.ask(sql::COPY_COUNT, doing).await?;
        let count = answers.first().and_then(Answer::value).and_then(|text| text.trim().parse::<u64>().ok());
        if count != Some(self.lines.rows()) {
            return Err(entries::mismatch(&self.plan.table.table.name, self.lines.rows(), count.unwrap_or_default()));
        }
        crash_point("staged");
        if let Some(create) = self.sql().create_last() {
            self.run(&create, doing).await?.map_err(ours)?;
        }
        Ok(())
    }

    /// Plays the transaction, again where the server undid it.
    async fn transact(&mut self, entries: &[Entry]) -> Result<Committed, WarehouseError> {
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
            let answers = self.ask(&statement, "writing the ledger of").await?;
            written += answers.last().map_or(0, |answer| answer.count);
        }
        if written == entries.len() as u64 {
            return Ok(());
        }
        let text = format!("the ledger of `{}` took {written} of {} entries", self.spec.table, entries.len());
        Err(WarehouseError::new(Kind::Ledger, text))
    }

    /// Removes the staged rows and keeps the connection. Should that fail they end with the connection.
    async fn tidy(&mut self) {
        let Some(session) = self.session.take() else { return };
        if !self.lines.is_empty()
            && let Err(error) = session.ask(&self.sql().drop(), || self.doing("removing what was staged for")).await
        {
            tracing::debug!("{error}");
            return;
        }
        session.give_back();
    }

    /// Removes the parts from the bucket. What cannot be removed is swept later.
    async fn clear(&mut self) {
        self.parts.stop().await;
        let keys = self.parts.keys();
        if !keys.is_empty()
            && let Err(error) = self.shared.config.staging.delete(&keys).await
        {
            tracing::debug!("the parts of the load `{}` are left to the next sweep: {error}", self.spec.load_id);
        }
        self.parts.forget();
    }
}

/// Whether nobody knows how a transaction ended, or the server is not there to ask.
fn is_unknown(ended: &Result<Ended, WarehouseError>) -> bool {
    matches!(ended, Err(error) if matches!(error.kind(), Kind::OutcomeUnknown | Kind::Unreachable))
}

#[async_trait]
impl Load for RedshiftLoad {
    async fn write(&mut self, batch: RowBatch) -> Result<(), WarehouseError> {
        self.take(&batch).await
    }

    async fn commit(mut self: Box<Self>, tallies: &[Tally]) -> Result<Committed, WarehouseError> {
        let committed = self.commit_or_fail(tallies).await;
        match &committed {
            Ok(Committed::Loaded(_)) => self.tidy().await,
            // Staged rows and what was set end with the connection; one that is silent is told to stop.
            Err(error) if *error.kind() == Kind::Unreachable => {
                if let Some(session) = self.session.take() {
                    tokio::spawn(session.abandon());
                }
            }
            _ => drop(self.session.take()),
        }
        self.clear().await;
        committed
    }

    async fn rollback(mut self: Box<Self>) -> Result<(), WarehouseError> {
        self.clear().await;
        Ok(())
    }
}

impl Drop for RedshiftLoad {
    /// Has the server stop what it does meanwhile, and removes the parts.
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if let Some(session) = self.session.take() {
            runtime.spawn(session.abandon());
        }
        let (staging, keys) = (self.shared.config.staging.clone(), self.parts.keys());
        if !keys.is_empty() {
            runtime.spawn(async move {
                if let Err(error) = staging.delete(&keys).await {
                    tracing::debug!("the parts of a load that was given up are left to the next sweep: {error}");
                }
            });
        }
    }
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
