//! One open load: a transaction on a connection of its own.
//!
//! Append goes straight into the target, behind the fence; the other modes stage their rows in the
//! same transaction and take the fence in `commit`.

use std::sync::Arc;

use async_trait::async_trait;
use longshore_postgres::quote::literal;
use tokio_postgres::Error;

use super::copy::{self, Chunk, Copy};
use super::error::{self, During};
use super::merge::{Applied, Staging};
use super::plan::Plan;
use super::{Shared, describe, fault, ledger, merge};
use crate::lines::Lines;
use crate::session::{self, Answer, Session};
use crate::{
    Begun, Committed, Entry, EntryKind, Kind, Load, LoadSpec, Receipt, RowBatch, Tally, WarehouseError, crash_point,
    entries,
};

/// Memory for the sorts of a merge, unless the server grants more anyway: half a million rows of 200
/// bytes are sorted in it without a file.
const WORK_MEM: &str = "256MB";

/// Begins a load.
pub(super) async fn begin(shared: Arc<Shared>, spec: LoadSpec) -> Result<Begun, WarehouseError> {
    shared.ensure_ledger().await?;
    let (session, found) = open(&shared, &spec).await?;
    let mut load = PgLoad::new(shared, spec, session);
    match load.begin(found).await {
        Ok(entries) if entries.is_empty() => Ok(Begun::Open(Box::new(load))),
        Ok(entries) => {
            load.give_up().await;
            Ok(Begun::AlreadyIn(entries))
        }
        Err(error) => {
            load.give_up().await;
            Err(error)
        }
    }
}

/// Opens the transaction and finds the table. An idle connection may turn out to be broken. An object
/// leaves `pending/` once its load is in, so a COMMIT that a crash may undo is not enough.
async fn open(shared: &Arc<Shared>, spec: &LoadSpec) -> Result<(Session, Answer), WarehouseError> {
    let sql = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED;
         SET LOCAL lock_timeout = {}; SET LOCAL application_name = {};
         SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off';
         {}",
        shared.lock_timeout(),
        literal(&session::name_of(spec.load_id, &shared.project)),
        describe::find_sql(&spec.table)
    );
    let doing = || format!("beginning a load of `{}`", spec.table);
    let mut session = shared.pool.session().await?;
    let answers = match session.ask(&sql, doing).await {
        Err(error) if session.was_idle && *error.kind() == Kind::Unreachable => {
            session = shared.pool.fresh().await?;
            session.ask(&sql, doing).await?
        }
        answers => answers?,
    };
    Ok((session, answers.into_iter().next_back().unwrap_or_default()))
}

fn gone() -> WarehouseError {
    WarehouseError::new(Kind::Other, "a load was used after it failed: this is a bug in longshore")
}

/// An open load.
struct PgLoad {
    shared: Arc<Shared>,
    spec: LoadSpec,
    /// `None` once it was given back or given up.
    session: Option<Session>,
    /// `None` until the table is described.
    plan: Option<Arc<Plan>>,
    copy: Option<Copy>,
    staging: Option<Staging>,
    lines: Lines,
    /// Rows given per object.
    written: Vec<u64>,
}

impl PgLoad {
    fn new(shared: Arc<Shared>, spec: LoadSpec, session: Session) -> Self {
        let written = vec![0; spec.objects.len()];
        let session = Some(session);
        Self { shared, spec, session, plan: None, copy: None, staging: None, lines: Lines::default(), written }
    }

    fn parts(&self) -> Result<(&Session, Arc<Plan>), WarehouseError> {
        match (&self.session, &self.plan) {
            (Some(session), Some(plan)) => Ok((session, plan.clone())),
            _ => Err(gone()),
        }
    }

    /// Describes the table, takes the fence where rows go straight; answers what is in already.
    async fn begin(&mut self, found: Answer) -> Result<Vec<Entry>, WarehouseError> {
        let Some(session) = &self.session else { return Ok(Vec::new()) };
        let described = describe::describe(session, &self.spec.table, Some(&found)).await?;
        let is_suspect = self.shared.is_suspect(&described.table.name);
        let plan = Arc::new(Plan::new(described, &self.spec, is_suspect)?);
        let mut settings = String::new();
        if plan.as_text {
            settings.push_str(
                "SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'postgres'; SET LOCAL TimeZone = 'UTC'; ",
            );
        }
        if plan.is_straight {
            settings.push_str(&ledger::fence_sql(&plan.table.table.name));
        }
        if !settings.is_empty() {
            self.fence(session, &settings).await?;
        }
        if plan.is_straight {
            crash_point("fence");
        }
        let entries = ledger::already_in(session, &plan.table.table.name, &self.spec.objects).await?;
        self.plan = Some(plan);
        Ok(entries)
    }

    /// Runs what takes the fence; waits for it as long as the server's `lock_timeout` says.
    async fn fence(&self, session: &Session, sql: &str) -> Result<(), WarehouseError> {
        let doing = || format!("waiting for another load of `{}`", self.spec.table);
        session.within(self.shared.wait, doing, session.run(sql)).await?.map(drop).during(doing)
    }

    /// Starts the COPY, for the first rows.
    async fn start(&mut self) -> Result<(), WarehouseError> {
        if self.copy.is_none() {
            let (session, plan) = self.parts()?;
            let doing = || format!("sending rows for `{}`", plan.table.table.name);
            let mut staging = None;
            let sql = if plan.is_straight {
                merge::copy_sql(&plan)
            } else {
                let staged = staging.insert(Staging::new(&plan, self.spec.load_id));
                session.ask(&staged.create_sql(&plan, false), doing).await?;
                staged.copy_sql(&plan, false)
            };
            let started = Copy::start(session, &sql, plan.as_text, plan.is_straight);
            let copy = session.within(self.shared.wait, doing, started).await?.during(doing)?;
            (self.copy, self.staging) = (Some(copy), staging);
        }
        Ok(())
    }

    /// Ends the COPY and compares counts.
    async fn copied(&mut self) -> Result<Option<Vec<Chunk>>, WarehouseError> {
        let Some(mut copy) = self.copy.take() else { return Ok(None) };
        let finished = copy.finish().await;
        let kept = copy.into_kept();
        let (_, plan) = self.parts()?;
        match finished {
            Ok(count) if count != self.lines.rows() => {
                Err(entries::mismatch(&plan.table.table.name, self.lines.rows(), count))
            }
            Ok(_) => Ok(kept),
            Err(error) => {
                let doing = format!("sending rows for `{}`", plan.table.table.name);
                Err(self.explain(&doing, &error, kept).await)
            }
        }
    }

    /// Says which row was refused, if a row was; after it the transaction is of no more use.
    async fn explain(&self, doing: &str, error: &Error, kept: Option<Vec<Chunk>>) -> WarehouseError {
        let failed = error::failed(doing, error);
        let (Some(refusal), Ok((session, plan))) = (error.as_db_error(), self.parts()) else { return failed };
        if fault::is_held(&plan, refusal) {
            return fault::held(&plan, refusal);
        }
        if !matches!(failed.kind(), Kind::Rows { .. }) {
            return failed;
        }
        let relation = self.staging.as_ref().map_or(&plan.table.table.name.name, |staging| &staging.relation);
        let columns = (0..plan.layout.columns.len()).map(|index| {
            let name = plan.name(index);
            (if self.staging.is_some() { format!("c{index}") } else { name.to_owned() }, name)
        });
        let named = fault::named(refusal, relation, columns);
        let located = self.locate(session, &plan, refusal, &named, kept).await;
        let place = located.unwrap_or_else(|other| {
            tracing::debug!("the refused row could not be found: {other}");
            None
        });
        let column = match named {
            Some((_, Some(column))) => Some(column),
            _ => fault::column_of(session, &plan, refusal).await,
        };
        if place.is_none() && plan.is_straight {
            self.shared.suspect(&plan.table.table.name);
            return WarehouseError::new(
                Kind::Conflict,
                format!(
                    "{doing}: the server refuses a row without saying which; the next try stages the rows to find it"
                ),
            )
            .server(error::words(refusal));
        }
        fault::refused(&plan, &self.spec, place, column, refusal)
    }

    /// Where the refused row came from.
    async fn locate(
        &self,
        session: &Session,
        plan: &Plan,
        refusal: &tokio_postgres::error::DbError,
        named: &Option<(u64, Option<String>)>,
        kept: Option<Vec<Chunk>>,
    ) -> Result<Option<crate::lines::Place>, WarehouseError> {
        let doing = || format!("looking for a row that `{}` refuses", plan.table.table.name);
        let place = named.as_ref().and_then(|(row, _)| self.lines.find(*row));
        match (&self.staging, kept) {
            _ if place.is_some() => session.ask("ROLLBACK", doing).await.map(|_| place),
            (Some(staging), _) => {
                session.ask("ROLLBACK TO ls_merge", doing).await?;
                let found = fault::locate(session, plan, staging, &self.lines, refusal).await;
                session.ask("ROLLBACK", doing).await?;
                found
            }
            (None, Some(kept)) => {
                let staging = Staging::new(plan, self.spec.load_id);
                let name = &plan.table.table.name;
                let sql = format!(
                    "ROLLBACK; BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = {}; {}; {}",
                    self.shared.lock_timeout(),
                    ledger::fence_sql(name),
                    staging.create_sql(plan, true)
                );
                session.ask(&sql, doing).await?;
                copy::replay(session, &staging.copy_sql(plan, true), kept).await?;
                let found = fault::locate(session, plan, &staging, &self.lines, refusal).await;
                session.ask("ROLLBACK", doing).await?;
                found
            }
            (None, None) => session.ask("ROLLBACK", doing).await.map(|_| None),
        }
    }

    async fn commit_or_fail(&mut self, tallies: &[Tally]) -> Result<Committed, WarehouseError> {
        let kept = self.copied().await?;
        let (session, plan) = self.parts()?;
        let name = plan.table.table.name.clone();
        let mut entries = entries::entries(&self.spec, &name, &self.written, tallies)?;
        let loads = entries.iter().any(|entry| entry.kind == EntryKind::Load);
        if !plan.is_straight {
            let fence = format!(
                "{}; SET LOCAL jit = off; SELECT set_config('work_mem', '{WORK_MEM}', true)
                 WHERE pg_size_bytes(current_setting('work_mem')) < pg_size_bytes('{WORK_MEM}'); SAVEPOINT ls_merge",
                ledger::fence_sql(&name)
            );
            self.fence(session, &fence).await?;
            crash_point("fence");
            let known = ledger::already_in(session, &name, &self.spec.objects).await?;
            if !known.is_empty() {
                return Ok(Committed::AlreadyIn(known));
            }
            if loads
                && self.spec.mode.is_ordered()
                && let Some((latest, identity)) = ledger::latest(session, &name).await?
                && Some(&latest) > self.spec.seen_latest.as_ref()
            {
                return Ok(Committed::AlreadyIn(ledger::of_one(session, &name, identity).await?));
            }
        }
        let mut applied = Applied { loaded: self.lines.rows(), ..self.nothing() };
        if loads && !plan.is_straight {
            let merged = match &self.staging {
                Some(staging) => merge::apply(session, &plan, staging, &self.written).await,
                None if self.spec.mode == crate::Mode::Replace => merge::delete_all(session, &plan)
                    .await
                    .map(|(replaced, is_left)| Applied { replaced, is_left, ..self.nothing() }),
                None => Ok(self.nothing()),
            };
            match merged {
                Ok(merged) => applied = merged,
                Err(error) => return Err(self.explain(&format!("bringing rows into `{name}`"), &error, None).await),
            }
        }
        if applied.is_left {
            return Err(WarehouseError::new(
                Kind::CountMismatch,
                format!("`{name}` has rows left after all were deleted; nothing was loaded"),
            )
            .cure("look for a trigger or rule on the table that keeps rows from being deleted"));
        }
        entries::settle(&mut entries, &applied.duplicate, &applied.superseded, applied.loaded)?;
        if !self.lines.is_empty() || applied.replaced > 0 {
            // A constraint that is deferred speaks up now, while the row can still be found.
            if let Err(error) = session.run("SET CONSTRAINTS ALL IMMEDIATE").await {
                return Err(self.explain(&format!("checking the constraints of `{name}`"), &error, kept).await);
            }
        }
        self.write_ledger(session, &entries).await?;
        crash_point("before-commit");
        let doing = || format!("committing a load of `{name}`");
        // WORK changes nothing; it tells a test where READ COMMITTED is not meant.
        match session.within(self.shared.wait, doing, session.run("COMMIT WORK")).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error::commit_failed(&doing(), &error)),
            Err(silent) => return Err(silent.with_kind(Kind::OutcomeUnknown)),
        }
        crash_point("commit-sent");
        self.shared.acquit(&name);
        Ok(Committed::Loaded(Receipt { load_id: self.spec.load_id, entries, rows_replaced: applied.replaced }))
    }

    fn nothing(&self) -> Applied {
        let none = vec![0; self.written.len()];
        Applied { duplicate: none.clone(), superseded: none, ..Applied::default() }
    }

    async fn write_ledger(&self, session: &Session, entries: &[Entry]) -> Result<(), WarehouseError> {
        let doing = || "writing the ledger".to_owned();
        let drop_staging = self.staging.as_ref().and_then(Staging::drop_sql);
        let written = match ledger::insert_sql(entries) {
            Some(sql) => {
                let sql = drop_staging.map_or_else(|| sql.clone(), |drop_sql| format!("{drop_sql}; {sql}"));
                let written = session.ask(&sql, doing).await;
                written.map(|answers| answers.last().map_or(0, |answer| answer.count))
            }
            None => {
                if let Some(sql) = drop_staging {
                    session.ask(&sql, doing).await?;
                }
                ledger::insert(session, entries).await
            }
        };
        let written = written.map_err(ledger::explained)?;
        if written != entries.len() as u64 {
            return Err(WarehouseError::new(
                Kind::Ledger,
                format!("the ledger took {written} of {} entries", entries.len()),
            ));
        }
        Ok(())
    }

    /// Rolls back and keeps the connection. What fails in that fails for a connection that is gone.
    async fn give_up(&mut self) {
        self.copy = None;
        if let Some(session) = self.session.take()
            && let Err(error) = session.roll_back().await
        {
            tracing::debug!("{error}");
        }
    }
}

#[async_trait]
impl Load for PgLoad {
    async fn write(&mut self, batch: RowBatch) -> Result<(), WarehouseError> {
        let (_, plan) = self.parts()?;
        plan.admit(&batch, &self.spec)?;
        let rows = batch.rows.num_rows() as u64;
        if rows == 0 {
            return Ok(());
        }
        let first = (!plan.is_straight).then(|| merge::row_number(batch.object, self.lines.rows()));
        self.lines.add(batch.object, batch.lines.values());
        self.written[batch.object as usize] += rows;
        self.start().await?;
        match (&mut self.copy, &self.session) {
            (Some(copy), Some(session)) => copy.write(session, &plan, &batch, first).await,
            _ => Err(gone()),
        }
    }

    async fn commit(mut self: Box<Self>, tallies: &[Tally]) -> Result<Committed, WarehouseError> {
        let committed = self.commit_or_fail(tallies).await;
        match &committed {
            Ok(Committed::Loaded(_)) => {
                if let Some(session) = self.session.take() {
                    session.give_back();
                }
            }
            // Nobody knows what the connection is good for.
            Err(error) if *error.kind() == Kind::OutcomeUnknown => drop(self.session.take()),
            _ => self.give_up().await,
        }
        committed
    }

    async fn rollback(mut self: Box<Self>) -> Result<(), WarehouseError> {
        self.copy = None;
        match self.session.take() {
            Some(session) => session.roll_back().await,
            None => Ok(()),
        }
    }
}

impl Drop for PgLoad {
    /// Closes the connection, and has the server stop what it does meanwhile.
    fn drop(&mut self) {
        self.copy = None;
        if let Some(session) = self.session.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(session.abandon());
        }
    }
}
