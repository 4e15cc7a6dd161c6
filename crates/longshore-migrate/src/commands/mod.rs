//! The commands, a file for each.

mod baseline;
mod clean;
mod info;
mod migrate;
mod repair;
mod validate;

pub use baseline::Baselined;
pub use clean::Cleaned;
pub use info::{Info, Pending, Shown};
pub use migrate::{Applied, Migrated};
pub use repair::Repaired;
pub use validate::Validated;

use std::time::{Duration, Instant};

use crate::database::Catalog;
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::history::{Row, RowKind};
use crate::migrator::Migrator;

/// Description of the row that says which schemas were created.
const SCHEMA_CREATION: &str = "<< Flyway Schema Creation >>";
/// Tries to create the history table: two processes may begin at once.
const CREATE_TRIES: u32 = 10;
/// Between two of them.
const CREATE_PAUSE: Duration = Duration::from_secs(1);

/// `00:01.234s`, as Flyway writes times.
fn shown_time(since: Instant) -> String {
    let elapsed = since.elapsed();
    format!("{:02}:{:02}.{:03}s", elapsed.as_secs() / 60, elapsed.as_secs() % 60, elapsed.subsec_millis())
}

impl Migrator<'_> {
    /// Creates schemas that are missing. Returns those that it created.
    async fn create_schemas(&mut self) -> Result<Vec<String>, Error> {
        let mut created = Vec::new();
        if !self.settings.create_schemas {
            let schema = self.history.schema.clone();
            let exists = Catalog::of(self.database.as_mut()).schema_exists(&schema).await;
            if !exists.map_err(|error| Error::database("looking for schemas", error))? {
                let quoted = self.schema_shown();
                return Err(Error::new(ErrorKind::Refused, format!("the schema {quoted} does not exist"))
                    .cure("create it, or set `create_schemas = true`"));
            }
            self.schema_is_there = true;
            return Ok(created);
        }
        self.fire(Event::CREATE_SCHEMA).await?;
        self.fire(Event::BEFORE_CREATE_SCHEMA).await?;
        for schema in self.schemas.clone() {
            let exists = Catalog::of(self.database.as_mut()).schema_exists(&schema).await;
            if exists.map_err(|error| Error::database("looking for schemas", error))? {
                continue;
            }
            let quoted = self.engine.ident(&schema);
            self.say(&format!("Creating schema {quoted} ..."));
            self.write(&format!("CREATE SCHEMA {quoted}")).await.map_err(|error| {
                Error::database(&format!("creating the schema {quoted}"), error)
                    .cure("create it, or let somebody do it who may; `create_schemas = false` expects it to be there")
            })?;
            created.push(schema);
        }
        self.schema_is_there = true;
        Ok(created)
    }

    /// Whether a schema of the project holds something.
    async fn holds_something(&mut self) -> Result<Vec<String>, Error> {
        let mut filled = Vec::new();
        for schema in self.schemas.clone() {
            let mut catalog = Catalog::of(self.database.as_mut());
            let looking = |error| Error::database("looking into schemas", error);
            if catalog.schema_exists(&schema).await.map_err(looking)?
                && !catalog.is_empty(&schema).await.map_err(looking)?
            {
                filled.push(self.engine.ident(&schema));
            }
        }
        Ok(filled)
    }

    /// Creates the history table, with first rows, in one transaction.
    async fn create_history(&mut self, rows: &[Row]) -> Result<(), Error> {
        if self.history.exists {
            return Ok(());
        }
        let quoted = self.history.quoted();
        self.say(&format!("Creating Schema History table {quoted} ..."));
        self.remark("the history table");
        let mut tries = 1;
        loop {
            match self.try_to_create_history(rows).await {
                Ok(()) => break,
                Err(_) if self.appeared_meanwhile().await? => return Ok(()),
                Err(error) if error.is_transient && !error.is_lost && tries < CREATE_TRIES => {
                    tracing::debug!("{error}; trying again");
                    tries += 1;
                    tokio::time::sleep(CREATE_PAUSE).await;
                }
                Err(error) => {
                    return Err(Error::database(&format!("creating the history table {quoted}"), error)
                        .cure(format!("this user needs CREATE on the schema {}", self.schema_shown())));
                }
            }
        }
        if self.dry.is_some() {
            self.dry_rows = rows.to_vec();
        } else {
            self.history.exists = true;
        }
        Ok(())
    }

    async fn try_to_create_history(&mut self, rows: &[Row]) -> Result<(), crate::SqlError> {
        let mut statements = self.history.create(self.settings.tablespace.as_deref());
        statements.extend(rows.iter().map(|row| self.history.insert(row)));
        self.write("BEGIN").await?;
        for statement in &statements {
            if let Err(error) = self.write(statement).await {
                self.roll_back().await;
                return Err(error);
            }
        }
        self.observer.passed("history");
        self.write("COMMIT").await
    }

    /// Whether somebody else has created the history table since it was looked for.
    pub(super) async fn appeared_meanwhile(&mut self) -> Result<bool, Error> {
        let mut catalog = Catalog::of(self.database.as_mut());
        let exists = catalog.table_exists(&self.history.schema, &self.history.table).await;
        self.history.exists = exists.map_err(|error| Error::database("looking for the history table", error))?;
        Ok(self.history.exists)
    }

    /// The row that says which schemas were created.
    fn schema_row(&self, created: &[String]) -> Option<Row> {
        let script = created.iter().map(|schema| self.engine.ident(schema)).collect::<Vec<_>>().join(",");
        (!created.is_empty()).then(|| Row {
            rank: i64::from(self.history.is_old()),
            kind: RowKind::Schema,
            script: crate::history::cut_script(&script),
            ..self.mark(SCHEMA_CREATION)
        })
    }

    /// The row of a baseline.
    fn baseline_row(&self, rank: i64) -> Row {
        Row {
            rank,
            version: Some(self.settings.baseline_version.clone()),
            script: crate::history::cut_script(&self.settings.baseline_description),
            ..self.mark(&self.settings.baseline_description)
        }
    }

    /// A row that marks something; nothing ran.
    fn mark(&self, description: &str) -> Row {
        Row {
            rank: 1,
            version: None,
            description: crate::history::cut_description(description),
            kind: RowKind::Baseline,
            script: String::new(),
            checksum: None,
            installed_by: self.installed_by(),
            installed_on: String::new(),
            execution_ms: 0,
            success: true,
        }
    }
}

/// The error of a database that holds something and has no history.
fn not_empty(filled: &[String]) -> Error {
    Error::new(
        ErrorKind::Refused,
        format!("the schema {} holds something already, and there is no history table", filled.join(", ")),
    )
    .cure("if it is at the state of a version, say so: `longshore migrate baseline --set baselineVersion=N`, or `baseline_on_migrate = true` with `baseline_version`")
}
