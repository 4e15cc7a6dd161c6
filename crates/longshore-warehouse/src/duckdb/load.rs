//! One open load: an async face over a thread that owns the connection.
//!
//! DuckDB's calls block, and one INSERT lasts as long as rows keep coming, so every open load has a
//! thread of its own. The face queues batches into the thread's INSERT ([`super::rows`]) and sends
//! it commands; dropping the face closes both queues, on which the INSERT fails and the thread
//! rolls back and ends.

use std::sync::{Arc, mpsc};

use async_trait::async_trait;
use duckdb::InterruptHandle;
use tokio::sync::{OwnedMutexGuard, oneshot};

use super::connect::{Holder, Lease, Work};
use super::error::During;
use super::plan::Plan;
use super::rows::{Batch, Feed, FeedColumn, Sender, feed};
use super::{DuckDbConfig, columns, error, fault, ledger, merge};
use crate::{
    Begun, Committed, Entry, EntryKind, Kind, Load, LoadSpec, QualifiedName, Receipt, RowBatch, Tally, WarehouseError,
    crash_point, entries,
};

/// Stack of a load's thread: DuckDB plans by recursion and expects the main thread's 8 MiB.
const STACK_BYTES: usize = 8 << 20;

type Reply<T> = oneshot::Sender<Result<T, WarehouseError>>;

/// What the face asks of the thread.
enum Command {
    /// Begin: with the fence where rows go straight into the target. Answers entries that are in.
    Begin { fence: Option<OwnedMutexGuard<()>>, reply: Reply<Vec<Entry>> },
    /// Run the INSERT that reads this feed to its end.
    Insert { feed: Feed, reply: Reply<u64> },
    /// Look at the staged rows and drop those that lose to a row of the same load.
    Settle { reply: Reply<()> },
    /// Merge, ledger, COMMIT.
    Commit { fence: Option<OwnedMutexGuard<()>>, entries: Vec<Entry>, reply: Reply<Committed> },
    /// Roll back and end.
    Rollback { reply: Reply<()> },
}

/// Begins a load.
pub(super) async fn begin(holder: Arc<Holder>, config: DuckDbConfig, spec: LoadSpec) -> Result<Begun, WarehouseError> {
    let spec = Arc::new(spec);
    let (commands, inbox) = mpsc::channel();
    let (ready, prepared) = oneshot::channel();
    let thread = {
        let (holder, spec) = (holder.clone(), spec.clone());
        move || {
            let opened = Session::open(&holder, &config, spec);
            match opened {
                Ok(session) => {
                    let plan = session.plan.clone();
                    let interrupt = session.lease.connection().interrupt_handle();
                    if ready.send(Ok((plan, interrupt, config.wait))).is_ok() {
                        session.serve(&inbox);
                    }
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        }
    };
    std::thread::Builder::new()
        .name("longshore-load".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(thread)
        .map_err(|error| WarehouseError::new(Kind::Busy, "no thread could be started for a load").because(error))?;
    let (plan, interrupt, wait) = prepared.await.map_err(|_| ended())??;
    let fence = match plan.is_straight {
        true => Some(holder.fence(&plan.table.table.name.to_string(), wait).await?),
        false => None,
    };
    let load = DuckDbLoad {
        written: vec![0; spec.objects.len()],
        holder,
        wait,
        spec,
        plan,
        commands,
        insert: None,
        interrupt,
    };
    let entries = load.ask(|reply| Command::Begin { fence, reply }).await?;
    if entries.is_empty() { Ok(Begun::Open(Box::new(load))) } else { Ok(Begun::AlreadyIn(entries)) }
}

fn ended() -> WarehouseError {
    WarehouseError::new(Kind::Conflict, "the load's thread ended before it answered")
}

/// The face of an open load.
struct DuckDbLoad {
    spec: Arc<LoadSpec>,
    plan: Arc<Plan>,
    holder: Arc<Holder>,
    wait: std::time::Duration,
    commands: mpsc::Sender<Command>,
    insert: Option<Insert>,
    interrupt: Arc<InterruptHandle>,
    /// Rows given per object.
    written: Vec<u64>,
}

/// An INSERT that is waiting for rows.
struct Insert {
    rows: Sender,
    count: oneshot::Receiver<Result<u64, WarehouseError>>,
}

impl DuckDbLoad {
    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, WarehouseError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    /// The running INSERT, started by the first rows.
    fn inserting(&mut self) -> Result<&mut Insert, WarehouseError> {
        if self.insert.is_none() {
            let staged = [FeedColumn::Object, FeedColumn::Line];
            let head = if self.plan.is_straight { &[][..] } else { &staged };
            let carried = self.plan.carriers.iter().map(|carrier| FeedColumn::Rows(carrier.physical));
            let (rows, feed) = feed(head.iter().copied().chain(carried).collect());
            let (reply, count) = oneshot::channel();
            self.commands.send(Command::Insert { feed, reply }).map_err(|_| ended())?;
            self.insert = Some(Insert { rows, count });
        }
        self.insert.as_mut().ok_or_else(ended)
    }

    /// Ends the INSERT and returns its count.
    async fn inserted(&mut self) -> Result<u64, WarehouseError> {
        let Some(insert) = self.insert.take() else {
            return Ok(0);
        };
        insert.rows.finish();
        let count = insert.count.await.map_err(|_| ended())?;
        count.map_err(|error| self.located(error))
    }

    /// Where the load has one object, a fault lies in it.
    fn located(&self, error: WarehouseError) -> WarehouseError {
        let Kind::Rows { object: None, line, column } = error.kind().clone() else {
            return error;
        };
        let object = (self.spec.objects.len() == 1).then_some(0);
        error.with_kind(Kind::Rows { object, line, column })
    }
}

#[async_trait]
impl Load for DuckDbLoad {
    async fn write(&mut self, batch: RowBatch) -> Result<(), WarehouseError> {
        self.plan.admit(&batch, &self.spec)?;
        let rows = batch.rows.num_rows();
        let object = batch.object as usize;
        let batch =
            Batch { object: batch.object, lines: Some(batch.lines), columns: batch.rows.columns().to_vec(), rows };
        if self.inserting()?.rows.send(batch).await.is_err() {
            // The statement ended before all rows were taken: it says why.
            let Some(insert) = self.insert.take() else {
                return Err(ended());
            };
            let answer = insert.count.await.map_err(|_| ended())?;
            return Err(answer.err().map_or_else(ended, |error| self.located(error)));
        }
        self.written[object] += rows as u64;
        Ok(())
    }

    async fn commit(mut self: Box<Self>, tallies: &[Tally]) -> Result<Committed, WarehouseError> {
        let inserted = self.inserted().await?;
        let entries = entries::entries(&self.spec, &self.plan.table.table.name, &self.written, tallies)?;
        let written: u64 = self.written.iter().sum();
        if inserted != written {
            return Err(entries::mismatch(&self.plan.table.table.name, written, inserted));
        }
        if self.plan.is_straight {
            return self.ask(|reply| Command::Commit { fence: None, entries, reply }).await;
        }
        if written > 0 {
            self.ask(|reply| Command::Settle { reply }).await.map_err(|error| self.located(error))?;
        }
        let fence = self.holder.fence(&self.plan.table.table.name.to_string(), self.wait).await?;
        self.ask(|reply| Command::Commit { fence: Some(fence), entries, reply })
            .await
            .map_err(|error| self.located(error))
    }

    async fn rollback(mut self: Box<Self>) -> Result<(), WarehouseError> {
        if let Some(insert) = self.insert.take() {
            drop(insert.rows);
            self.interrupt.interrupt();
            // The statement's failure is what was asked for.
            drop(insert.count.await);
        }
        self.ask(|reply| Command::Rollback { reply }).await
    }
}

impl Drop for DuckDbLoad {
    fn drop(&mut self) {
        if let Some(insert) = self.insert.take() {
            drop(insert.rows);
            self.interrupt.interrupt();
        }
    }
}

/// What the thread owns.
struct Session {
    lease: Lease,
    spec: Arc<LoadSpec>,
    plan: Arc<Plan>,
    fence: Option<OwnedMutexGuard<()>>,
    /// Name of the staging table, once it exists.
    staging: Option<String>,
    /// Rows per object that lost to a row of the same load.
    duplicates: Vec<u64>,
}

impl Session {
    fn open(holder: &Arc<Holder>, config: &DuckDbConfig, spec: Arc<LoadSpec>) -> Result<Self, WarehouseError> {
        let lease = holder.lease(config, Work::Load)?;
        let table = columns::describe(lease.connection(), &spec.table)?;
        let plan = Arc::new(Plan::new(table, &spec)?);
        ledger::ensure(&lease)?;
        Ok(Self { lease, duplicates: vec![0; spec.objects.len()], spec, plan, fence: None, staging: None })
    }

    /// Does what it is asked until the face has gone.
    fn serve(mut self, inbox: &mpsc::Receiver<Command>) {
        while let Ok(command) = inbox.recv() {
            match command {
                Command::Begin { fence, reply } => {
                    self.fence = fence;
                    let begun = self.begin();
                    answer(reply, begun);
                }
                Command::Insert { feed, reply } => {
                    let inserted = self.insert(&feed);
                    drop(feed);
                    answer(reply, inserted);
                }
                Command::Settle { reply } => {
                    let settled = self.settle();
                    answer(reply, settled);
                }
                Command::Commit { fence, entries, reply } => {
                    self.fence = self.fence.take().or(fence);
                    let committed = self.commit(entries, &reply);
                    // The fence falls before the answer: whoever waits for the answer can begin.
                    self.end();
                    return answer(reply, committed);
                }
                Command::Rollback { reply } => {
                    self.end();
                    return answer(reply, Ok(()));
                }
            }
        }
        self.end();
    }

    /// Rolls back what is open, closes the connection (with its TEMP tables), lets the fence fall.
    fn end(self) {
        ledger::roll_back(self.lease.connection());
        drop(self.lease);
        drop(self.fence);
    }

    /// Opens the transaction where rows go straight into the target; answers what is in already.
    fn begin(&mut self) -> Result<Vec<Entry>, WarehouseError> {
        if self.plan.is_straight {
            self.transaction()?;
            crash_point("fence");
        }
        self.already_in()
    }

    fn transaction(&self) -> Result<(), WarehouseError> {
        let begun = self.lease.connection().execute_batch("BEGIN TRANSACTION");
        begun.during(|| format!("beginning a transaction for `{}`", self.spec.table))
    }

    fn already_in(&self) -> Result<Vec<Entry>, WarehouseError> {
        ledger::already_in(self.lease.connection(), &self.plan.table.table.name, &self.spec.objects)
    }

    fn insert(&mut self, feed: &Feed) -> Result<u64, WarehouseError> {
        let connection = self.lease.connection();
        let inserted = if self.plan.is_straight {
            merge::insert_straight(connection, &self.plan, feed)
        } else {
            let staging = format!("ls_{}", self.spec.load_id);
            merge::create_staging(connection, &self.plan, &staging)?;
            let staging = self.staging.insert(staging);
            merge::insert_staged(connection, &self.plan, staging, feed)
        };
        inserted.inspect_err(|error| self.note(error))
    }

    /// Opens the file anew after an error that leaves the instance useless.
    fn note(&self, error: &WarehouseError) {
        if error.server_text().is_some_and(error::is_fatal) {
            self.lease.holder().give_up();
        }
    }

    /// Judges the staged rows as far as that needs no look at the target.
    fn settle(&mut self) -> Result<(), WarehouseError> {
        let Some(staging) = &self.staging else {
            return Ok(());
        };
        let connection = self.lease.connection();
        let objects = self.spec.objects.len();
        let settled = fault::refuse_silent_changes(connection, &self.plan, staging, &self.spec)
            .and_then(|()| merge::dedupe(connection, &self.plan, staging, objects));
        self.duplicates = settled.map_err(|error| self.explain(error))?;
        Ok(())
    }

    /// Looks for the row behind a refusal.
    fn explain(&self, error: WarehouseError) -> WarehouseError {
        self.note(&error);
        let connection = self.lease.connection();
        ledger::roll_back(connection);
        match (&self.staging, error.kind()) {
            (Some(staging), Kind::Rows { line: None, .. }) => {
                fault::locate(connection, &self.plan, staging, &self.spec, error)
            }
            _ => error,
        }
    }

    fn commit(&mut self, entries: Vec<Entry>, reply: &Reply<Committed>) -> Result<Committed, WarehouseError> {
        let committed = self.commit_or_fail(entries, reply);
        committed.map_err(|error| self.explain(error))
    }

    fn commit_or_fail(
        &mut self,
        mut entries: Vec<Entry>,
        reply: &Reply<Committed>,
    ) -> Result<Committed, WarehouseError> {
        let connection = self.lease.connection();
        let table = &self.plan.table.table.name;
        if !self.plan.is_straight {
            self.transaction()?;
            crash_point("fence");
            let known = self.already_in()?;
            if !known.is_empty() {
                return Ok(Committed::AlreadyIn(known));
            }
        }
        let loads = entries.iter().any(|entry| entry.kind == EntryKind::Load);
        if loads
            && self.spec.mode.is_ordered()
            && let Some((latest, identity)) = ledger::latest(connection, table)?
            && Some(&latest) > self.spec.seen_latest.as_ref()
        {
            return Ok(Committed::AlreadyIn(ledger::of(connection, table, identity, &latest.key)?));
        }
        let mut replaced = 0;
        if loads && !self.plan.is_straight {
            let applied = merge::apply(connection, &self.plan, self.staging.as_deref(), entries.len())?;
            replaced = applied.replaced;
            entries::settle(&mut entries, &self.duplicates, &applied.superseded, applied.loaded)?;
        }
        ledger::write(connection, &entries)?;
        if reply.is_closed() {
            // The load was dropped before COMMIT was sent: that rolls back.
            return Err(ended());
        }
        crash_point("before-commit");
        if let Err(error) = connection.execute_batch("COMMIT") {
            return Err(commit_failed(table, &error));
        }
        crash_point("commit-sent");
        Ok(Committed::Loaded(Receipt { load_id: self.spec.load_id, entries, rows_replaced: replaced }))
    }
}

/// A COMMIT that DuckDB refuses has not happened; one that broke while the log was written may have.
fn commit_failed(table: &QualifiedName, error: &duckdb::Error) -> WarehouseError {
    let text = error.to_string();
    let doing = format!("committing a load of `{table}`");
    if error::is_fatal(&text) || text.starts_with("IO Error") {
        return WarehouseError::new(
            Kind::OutcomeUnknown,
            format!("{doing}: the database file could not be written to the end"),
        )
        .server(text);
    }
    error::failed(&doing, error)
}

/// An answer that nobody waits for any more is no loss.
fn answer<T>(reply: Reply<T>, result: Result<T, WarehouseError>) {
    drop(reply.send(result));
}
