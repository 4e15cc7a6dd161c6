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
use super::{Shared, describe, refusal, staging, without_temp};
use crate::lines::Lines;
use crate::session::{Answer, Session};
use crate::{
    Begun, Committed, Kind, Load, LoadSpec, ObjectSpec, RowBatch, Tally, WarehouseError, crash_point, entries,
};

/// How long a statement may take that moves rows, with its time in the server's queue. The server itself
/// tries for up to half an hour to read an object.
pub(super) const LONGEST: Duration = Duration::from_secs(3600);

/// Bytes that are kept about lines, so that a refused row is found.
const LINES_BYTES: usize = 16 << 20;

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
pub(super) struct RedshiftLoad {
    pub(super) shared: Arc<Shared>,
    pub(super) spec: LoadSpec,
    pub(super) plan: Arc<Plan>,
    pub(super) ledger: Ledger,
    /// The fence's epoch when it was looked at last.
    pub(super) epoch: i64,
    pub(super) parts: Parts,
    pub(super) null: NullToken,
    /// Lines that wait to be a part's.
    pub(super) chunk: Chunk,
    pub(super) lines: Lines,
    /// Rows given per object.
    pub(super) written: Vec<u64>,
    /// `None` until `commit`, and once it was given back or given up.
    pub(super) session: Option<Session>,
}

impl RedshiftLoad {
    pub(super) fn sql(&self) -> Statements<'_> {
        Statements { plan: &self.plan, load_id: self.spec.load_id }
    }

    pub(super) fn session(&self) -> Result<&Session, WarehouseError> {
        let gone =
            || WarehouseError::new(Kind::Other, "the load has no connection any more: this is a bug in longshore");
        self.session.as_ref().ok_or_else(gone)
    }

    /// How its session and its fence are called.
    pub(super) fn name(&self) -> String {
        crate::session::name_of(self.spec.load_id, &self.shared.config.project)
    }

    pub(super) fn doing(&self, what: &str) -> String {
        format!("{what} `{}`", self.plan.table.table.name)
    }

    /// Runs something short.
    pub(super) async fn ask(&self, sql: &str, what: &str) -> Result<Vec<Answer>, WarehouseError> {
        self.session()?.ask(sql, || self.doing(what)).await
    }

    /// Runs something that may take long.
    pub(super) async fn run(&self, sql: &str, what: &str) -> Result<Result<Vec<Answer>, Error>, WarehouseError> {
        let session = self.session()?;
        session.within(LONGEST, || self.doing(what), session.run(sql)).await
    }

    /// Runs something that may take long and moves rows; returns its count.
    pub(super) async fn count(&self, sql: &str, what: &str) -> Result<u64, WarehouseError> {
        let answers = self.run(sql, what).await?.map_err(|error| error::failed(&self.doing(what), &error))?;
        Ok(answers.last().map_or(0, |answer| answer.count))
    }

    async fn take(&mut self, batch: &RowBatch) -> Result<(), WarehouseError> {
        self.plan.admit(batch, &self.spec)?;
        let plan = self.plan.clone();
        let null = self.null.clone();
        let object = plan.is_numbered().then_some(batch.object);
        let columns = Columns::new(&plan.wires, batch, object, &null);
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
        let room = self.chunk.bytes.capacity().min(2 * CHUNK);
        let next = Chunk { bytes: Vec::with_capacity(room), ..Chunk::default() };
        let chunk = std::mem::replace(&mut self.chunk, next);
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
        if let Err(failed) = self.run(&self.sql().create_stage(), doing).await? {
            return Err(without_temp(ours(failed), self.session()?, &self.shared).await);
        }
        let config = &self.shared.config;
        let (url, access) = (config.staging.url(manifest), sql::access_sql(config, true));
        let copy = sql::copy_sql(&self.sql().stage(), &url, &access, self.null.as_str());
        if let Err(failed) = self.run(&copy, doing).await? {
            return Err(match failed.as_db_error() {
                Some(refused) if refusal::is_of_rows(refused) => {
                    let session = self.session()?;
                    refusal::refused(session, &self.plan, &self.spec, &self.parts, &self.lines, refused).await
                }
                _ => {
                    let doing = format!("{} with {}", self.doing(doing), config.authorization.describe());
                    error::failed_on_ours(&doing, &failed)
                }
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

    /// Removes the staged rows and keeps the connection. Should that fail they end with the connection.
    async fn tidy(&mut self) {
        let Some(session) = self.session.take() else { return };
        if !self.lines.is_empty()
            && let Err(error) =
                session.ask_within(LONGEST, &self.sql().drop(), || self.doing("removing what was staged for")).await
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

#[async_trait]
impl Load for RedshiftLoad {
    async fn write(&mut self, batch: RowBatch) -> Result<(), WarehouseError> {
        self.take(&batch).await
    }

    fn join(&mut self, object: ObjectSpec) -> Result<(), WarehouseError> {
        self.spec.objects.push(object);
        self.written.push(0);
        Ok(())
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
