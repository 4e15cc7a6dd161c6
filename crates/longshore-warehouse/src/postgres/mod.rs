//! PostgreSQL, version 12 or newer.
//!
//! What it cannot do: an error that is found while a merge runs or by a deferred constraint names no
//! row, so that row has to be looked for (`fault.rs`). A COPY that the server refuses at its first row
//! takes all others before it says so.
//!
//! Rows travel by binary COPY (`encode.rs`), straight into the target for append, else by way of a
//! temporary table of the load's own transaction (`merge.rs`). One writer per table: an advisory lock.

mod check;
mod columns;
mod copy;
mod describe;
mod encode;
mod error;
mod fault;
mod ledger;
mod load;
mod merge;
mod plan;
mod text;

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use longshore_postgres::Config;

use crate::session::{Pool, Session};
use crate::{
    Begun, Candidate, Cursor, Entry, Finding, Known, LoadId, LoadSpec, Mode, NewTable, QualifiedName, Swept, Table,
    TableName, Warehouse, WarehouseError,
};

/// What [`PostgresConfig::patience`] should be: a server that is merely slow answers long before, and one
/// that is gone is noticed earlier by TCP's own means.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Tables remembered for a refused row that was not found: more than that at once are not looked into.
const SUSPECTS: usize = 64;

/// Where the database is and how long to wait.
#[derive(Debug, Clone)]
pub struct PostgresConfig {
    /// Where and as whom to connect.
    pub connect: Config,
    /// How long to wait for a table's fence, and for locks that others hold.
    pub wait: Duration,
    /// A word, the same for all processes of one project and for no other project: loads of others are
    /// not swept away.
    pub project: String,
    /// How long the server may take for a short statement, or to take some rows, before it is given up
    /// ([`PATIENCE`]). What may take long (a merge, the end of a COPY) has no such limit.
    pub patience: Duration,
}

/// A PostgreSQL database as a warehouse.
#[derive(Debug)]
pub struct Postgres {
    shared: Arc<Shared>,
}

/// What open loads share with their warehouse.
#[derive(Debug)]
struct Shared {
    pool: Arc<Pool>,
    wait: Duration,
    project: String,
    /// The ledger was there: it is not looked for before every load.
    ledger_seen: AtomicBool,
    /// Tables whose last load was refused for a row that was not found: the next one is staged.
    suspects: Mutex<VecDeque<QualifiedName>>,
}

impl Shared {
    /// Creates the ledger where it is missing.
    async fn ensure_ledger(&self) -> Result<(), WarehouseError> {
        if self.ledger_seen.load(Ordering::Relaxed) {
            return Ok(());
        }
        let ensure = |session: Session| async {
            let ensured = ledger::ensure(&session).await;
            (session, ensured)
        };
        self.pool.with(ensure).await?;
        self.ledger_seen.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Milliseconds for the server's `lock_timeout`, to which 0 means none.
    fn lock_timeout(&self) -> u128 {
        self.wait.as_millis().max(1)
    }

    fn is_suspect(&self, table: &QualifiedName) -> bool {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner).contains(table)
    }

    fn suspect(&self, table: &QualifiedName) {
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        if !suspects.contains(table) {
            suspects.push_back(table.clone());
        }
        if suspects.len() > SUSPECTS {
            suspects.pop_front();
        }
    }

    fn acquit(&self, table: &QualifiedName) {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner).retain(|suspect| suspect != table);
    }
}

impl Postgres {
    /// A warehouse in this database. Connects when there is work.
    pub fn new(config: PostgresConfig) -> Self {
        let shared = Shared {
            pool: Pool::new(config.connect, config.patience, error::failed, Vec::new()),
            wait: config.wait,
            project: config.project,
            ledger_seen: AtomicBool::new(false),
            suspects: Mutex::new(VecDeque::new()),
        };
        Self { shared: Arc::new(shared) }
    }
}

#[async_trait]
impl Warehouse for Postgres {
    async fn describe(&self, table: &TableName) -> Result<Table, WarehouseError> {
        let describe = |session: Session| async {
            let doing = || format!("looking for `{table}`");
            let described = match session.ask(&describe::find_sql(table), doing).await {
                Ok(found) => describe::describe(&session, table, found.first()).await,
                Err(error) => Err(error),
            };
            (session, described.map(|described| described.table))
        };
        self.shared.pool.with(describe).await
    }

    async fn lookup(&self, table: &TableName, candidates: &[Candidate]) -> Result<Known, WarehouseError> {
        let lookup = |session: Session| async {
            let known = match self.named(&session, table).await {
                Ok(Some(name)) => ledger::lookup(&session, &name, candidates).await,
                Ok(None) => Ok(Known::default()),
                Err(error) => Err(error),
            };
            (session, known)
        };
        self.shared.pool.with(lookup).await
    }

    async fn page(&self, table: &TableName, after: Option<&Cursor>) -> Result<Vec<Entry>, WarehouseError> {
        let page = |session: Session| async {
            let page = match self.named(&session, table).await {
                Ok(Some(name)) => ledger::page(&session, &name, after).await,
                Ok(None) => Ok(Vec::new()),
                Err(error) => Err(error),
            };
            (session, page)
        };
        self.shared.pool.with(page).await
    }

    async fn begin(&self, spec: LoadSpec) -> Result<Begun, WarehouseError> {
        load::begin(self.shared.clone(), spec).await
    }

    /// Ends the backends of loads that are dead or not known any more. A staging table is made in the
    /// load's own transaction, so none can be left behind.
    async fn sweep(&self, live: &HashSet<LoadId>, before: Timestamp) -> Result<Swept, WarehouseError> {
        let sweep = |session: Session| async {
            let swept = check::sweep(&session, &self.shared.project, live, before).await;
            (session, swept)
        };
        self.shared.pool.with(sweep).await
    }

    async fn check(&self, uses: &[(TableName, Mode)]) -> Vec<Finding> {
        check::check(&self.shared, uses).await
    }

    async fn ledger_sql(&self) -> Result<String, WarehouseError> {
        Ok(ledger::sql(self.shared.pool.user()))
    }

    fn create_table_sql(&self, table: &NewTable) -> String {
        crate::sql::create_table_sql(table, columns::type_sql)
    }

    async fn release(&self) {
        self.shared.pool.release().await;
    }
}

/// The bytes in which rows travel to columns of these types, for the benchmark.
#[cfg(feature = "testing")]
#[doc(hidden)]
pub fn encoded(types: &[(&str, i32)], rows: &arrow_array::RecordBatch, into: &mut Vec<u8>) {
    let wires: Vec<_> = types.iter().map(|(name, modifier)| columns::kind(name, *modifier).wire).collect();
    let mut out = encode::Output { bytes: std::mem::take(into), length: 0 };
    encode::Columns::new(&wires, rows.columns(), rows.num_rows(), None).write(0, &mut out, usize::MAX);
    *into = out.bytes;
    into.truncate(out.length.max(into.capacity() / 2));
}

impl Postgres {
    /// How the ledger knows a table, if there is a ledger.
    async fn named(&self, session: &Session, table: &TableName) -> Result<Option<QualifiedName>, WarehouseError> {
        if !self.shared.ledger_seen.load(Ordering::Relaxed) && !ledger::find(session).await? {
            return Ok(None);
        }
        describe::resolve(session, table).await.map(Some)
    }
}
