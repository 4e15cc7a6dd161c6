//! DuckDB: a warehouse in one file, inside this process.
//!
//! What it cannot do: it has no triggers, keeps no length of a VARCHAR, and lets one process at a
//! time into the file, even to read. So the file is held only while there is work (`connect.rs`
//! says how), and a file held by somebody else is waited for. It reads nested values (lists,
//! structs) by its own casts, which round numbers inside them.
//!
//! Rows travel by Arrow through a table function (`rows.rs`), straight into the target for append
//! without constraints, else by way of a TEMP table (`merge.rs`). One writer per table: a mutex in
//! this process, the file's lock between processes.

mod check;
mod columns;
mod connect;
mod error;
mod fault;
mod ledger;
mod load;
mod merge;
mod plan;
mod rows;
mod session;
mod sql;
mod vectors;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

pub use self::session::Session;

use self::connect::{Holder, Lease, Work};
use self::error::During;
use crate::{
    Begun, Candidate, Cursor, Entry, Finding, Kind, Known, LoadId, LoadSpec, Mode, NewTable, Swept, Table, TableName,
    Warehouse, WarehouseError,
};

/// Where the database is and how much of the machine it may use.
#[derive(Debug, Clone)]
pub struct DuckDbConfig {
    /// The database file; created when it is missing.
    pub path: PathBuf,
    /// DuckDB's own memory limit in bytes.
    pub memory_limit: u64,
    /// Threads that DuckDB may use; `None`: cores.
    pub threads: Option<usize>,
    /// How long to wait for a file that another process holds, and for a table's fence.
    pub wait: Duration,
}

/// A DuckDB file as a warehouse.
///
/// All values for one file share it within a process; the settings of whoever opens it hold until
/// it is closed.
#[derive(Debug)]
pub struct DuckDb {
    config: DuckDbConfig,
    holder: OnceLock<Arc<Holder>>,
}

impl DuckDb {
    /// A warehouse in this file. Opens nothing until there is work.
    pub fn new(config: DuckDbConfig) -> Self {
        Self { config, holder: OnceLock::new() }
    }

    /// Runs statements, for the demo and for tests.
    ///
    /// # Errors
    /// What DuckDB says.
    pub async fn execute(&self, sql: &str) -> Result<(), WarehouseError> {
        let sql = sql.to_owned();
        self.with(move |lease| lease.connection().execute_batch(&sql).during(|| "running a statement".to_owned())).await
    }

    /// The rows of a query as texts, for the demo and for tests: instants in UTC, bytes in
    /// hexadecimal digits.
    ///
    /// # Errors
    /// What DuckDB says.
    pub async fn query(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, WarehouseError> {
        let sql = sql.to_owned();
        self.with(move |lease| sql::texts(lease.connection(), &sql).during(|| "running a query".to_owned())).await
    }

    fn holder(&self) -> Result<Arc<Holder>, WarehouseError> {
        if let Some(holder) = self.holder.get() {
            return Ok(holder.clone());
        }
        let holder = Holder::of(&self.config.path)?;
        Ok(self.holder.get_or_init(|| holder).clone())
    }

    /// Does something with a connection, off the async runtime.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Lease) -> Result<T, WarehouseError> + Send + 'static,
    ) -> Result<T, WarehouseError> {
        let holder = self.holder()?;
        let config = self.config.clone();
        let task = move || {
            let lease = holder.lease(&config, Work::Short)?;
            let done = work(&lease);
            if let Err(error) = &done
                && error.server_text().is_some_and(error::is_fatal)
            {
                holder.give_up();
            }
            done
        };
        tokio::task::spawn_blocking(task)
            .await
            .map_err(|error| WarehouseError::new(Kind::Other, "a call of DuckDB did not return").because(error))?
    }
}

#[async_trait]
impl Warehouse for DuckDb {
    async fn describe(&self, table: &TableName) -> Result<Table, WarehouseError> {
        if !self.holder()?.is_there() {
            let path = self.config.path.display();
            return Err(WarehouseError::new(
                Kind::Missing,
                format!("the table `{table}` does not exist, nor does the database file `{path}`"),
            )
            .cure("create the table (`longshore init` proposes a statement); the file comes with it"));
        }
        let table = table.clone();
        self.with(move |lease| Ok(columns::describe(lease.connection(), &table)?.table)).await
    }

    async fn lookup(&self, table: &TableName, candidates: &[Candidate]) -> Result<Known, WarehouseError> {
        if !self.holder()?.is_there() {
            return Ok(Known::default());
        }
        let table = columns::folded(table);
        let candidates = candidates.to_vec();
        self.with(move |lease| match ledger::find(lease.connection())? {
            true => ledger::lookup(lease.connection(), &table, &candidates),
            false => Ok(Known::default()),
        })
        .await
    }

    async fn page(&self, table: &TableName, after: Option<&Cursor>) -> Result<Vec<Entry>, WarehouseError> {
        if !self.holder()?.is_there() {
            return Ok(Vec::new());
        }
        let table = columns::folded(table);
        let after = after.cloned();
        self.with(move |lease| match ledger::find(lease.connection())? {
            true => ledger::page(lease.connection(), &table, after.as_ref()),
            false => Ok(Vec::new()),
        })
        .await
    }

    async fn begin(&self, spec: LoadSpec) -> Result<Begun, WarehouseError> {
        load::begin(self.holder()?, self.config.clone(), spec).await
    }

    /// Staging tables are temporary and die with their connection, so a dead load leaves nothing in
    /// the database. What it can leave is DuckDB's spill files beside it: those that are older than
    /// our hold of the file, and than `before`, are removed.
    async fn sweep(&self, _live: &HashSet<LoadId>, before: Timestamp) -> Result<Swept, WarehouseError> {
        self.with(move |lease| Ok(check::sweep(lease.holder(), before))).await
    }

    async fn check(&self, uses: &[(TableName, Mode)]) -> Vec<Finding> {
        let tables: Vec<TableName> = uses.iter().map(|(table, _)| table.clone()).collect();
        let memory_limit = self.config.memory_limit;
        match self.with(move |lease| Ok(check::check(lease, &tables, memory_limit))).await {
            Ok(findings) => findings,
            Err(error) => vec![check::fault(&error)],
        }
    }

    async fn ledger_sql(&self) -> Result<String, WarehouseError> {
        Ok(ledger::DDL.to_owned())
    }

    fn create_table_sql(&self, table: &NewTable) -> String {
        crate::sql::create_table_sql(table, columns::type_sql)
    }

    async fn release(&self) {
        let Ok(holder) = self.holder() else { return };
        if let Err(error) = tokio::task::spawn_blocking(move || holder.release()).await {
            tracing::debug!("closing the database file: {error}");
        }
    }
}
