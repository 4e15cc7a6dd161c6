//! One connection on which statements follow each other, for whoever migrates the tables.

use std::sync::{Arc, Mutex, PoisonError};

use super::DuckDb;
use super::connect::{Lease, Work};
use super::error::During;
use super::sql;
use crate::{Kind, WarehouseError};

/// A connection of its own. The file is held as long as it lives; dropping it rolls back what is open.
#[derive(Debug)]
pub struct Session(Arc<Mutex<Lease>>);

impl DuckDb {
    /// Connects, and waits for a file that another process holds.
    ///
    /// # Errors
    /// The file cannot be had.
    pub async fn session(&self) -> Result<Session, WarehouseError> {
        let (holder, config) = (self.holder()?, self.config.clone());
        let lease = off_the_runtime(move || holder.lease(&config, Work::Load)).await?;
        Ok(Session(Arc::new(Mutex::new(lease))))
    }

    /// Whether there is a database file at all; it is not opened.
    ///
    /// # Errors
    /// Its folder cannot be reached.
    pub fn is_there(&self) -> Result<bool, WarehouseError> {
        Ok(self.holder()?.is_there())
    }
}

impl Session {
    /// Runs a statement.
    ///
    /// # Errors
    /// What DuckDB says, as the server's text.
    pub async fn execute(&self, sql: &str) -> Result<(), WarehouseError> {
        let (lease, sql) = (self.0.clone(), sql.to_owned());
        off_the_runtime(move || {
            let lease = lease.lock().unwrap_or_else(PoisonError::into_inner);
            lease.connection().execute_batch(&sql).during(|| "running a statement".to_owned())
        })
        .await
    }

    /// The rows of a query as texts.
    ///
    /// # Errors
    /// What DuckDB says, as the server's text.
    pub async fn query(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, WarehouseError> {
        let (lease, sql) = (self.0.clone(), sql.to_owned());
        off_the_runtime(move || {
            let lease = lease.lock().unwrap_or_else(PoisonError::into_inner);
            sql::texts(lease.connection(), &sql).during(|| "running a query".to_owned())
        })
        .await
    }
}

async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WarehouseError> + Send + 'static,
) -> Result<T, WarehouseError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| WarehouseError::new(Kind::Other, "a call of DuckDB did not return").because(error))?
}
