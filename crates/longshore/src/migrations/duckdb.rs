//! DuckDB, as a database that is migrated.

use async_trait::async_trait;
use longshore_migrate::{Database, Engine, Server, SqlError};
use longshore_warehouse::duckdb::{DuckDb, DuckDbConfig, Session};
use longshore_warehouse::{Fault, WarehouseError};

/// The first part of DuckDB's version.
const MAJOR: u32 = 1;

/// A session of a DuckDB file, which it holds.
#[derive(Debug)]
pub(super) struct DuckDbDatabase {
    session: Session,
    name: String,
    database: String,
}

impl DuckDbDatabase {
    pub(super) async fn open(config: &DuckDbConfig) -> Result<Self, SqlError> {
        let session = DuckDb::new(config.clone()).session().await.map_err(|error| refused(&error))?;
        let database = config.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { session, name: config.path.display().to_string(), database })
    }
}

#[async_trait]
impl Database for DuckDbDatabase {
    fn server(&self) -> Server {
        Server { engine: Engine::DuckDb, major: MAJOR }
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn database(&self) -> &str {
        &self.database
    }

    async fn execute(&mut self, sql: &str) -> Result<(), SqlError> {
        self.session.execute(sql).await.map_err(|error| refused(&error))
    }

    async fn query(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, SqlError> {
        self.session.query(sql).await.map_err(|error| refused(&error))
    }

    async fn copy_in(&mut self, _: &str, _: &str) -> Result<(), SqlError> {
        Err(SqlError {
            message: "DuckDB takes no data from the script itself (COPY … FROM STDIN)".to_owned(),
            hint: Some("put the data into a CSV file and write `COPY … FROM 'FILE'`, or INSERT".to_owned()),
            ..SqlError::default()
        })
    }
}

/// What DuckDB says, with the line that it names.
fn refused(error: &WarehouseError) -> SqlError {
    let text = error.server_text();
    let line = text.and_then(|text| {
        let (_, rest) = text.split_once("LINE ")?;
        rest.split(':').next()?.trim().parse().ok()
    });
    // Behind it DuckDB repeats the statement, which is shown anyway.
    let message = text
        .and_then(|text| text.split("LINE ").next())
        .map(str::trim)
        .map_or_else(|| error.to_string(), str::to_owned);
    SqlError {
        message,
        line,
        is_transient: error.kind().advice().fault == Fault::Transient,
        hint: error.own_cure().map(str::to_owned),
        ..SqlError::default()
    }
}
