//! `clean`: drops everything in the schemas of the project.

use serde::Serialize;

use crate::database::{Catalog, LEDGER};
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::history::RowKind;
use crate::migrator::Migrator;

/// What `clean` did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cleaned {
    /// Schemas that hold nothing now.
    pub schemas_cleaned: Vec<String>,
    /// Schemas that are gone.
    pub schemas_dropped: Vec<String>,
}

impl Migrator<'_> {
    /// Drops everything in the schemas of the project, in one transaction; schemas themselves only if the history
    /// says that they were created by a migration.
    ///
    /// # Errors
    /// It is not allowed by `cleanDisabled`, or the database refuses.
    pub async fn clean(&mut self) -> Result<Cleaned, Error> {
        if self.settings.clean_disabled {
            return Err(Error::new(ErrorKind::Refused, "`clean` drops everything in the schemas, and is switched off")
                .cure("if that is what you want, here and now: `longshore migrate clean --set cleanDisabled=false`"));
        }
        if self.schemas.iter().any(|schema| schema == LEDGER) {
            let message = format!("`{LEDGER}` holds the ledger, which says what is loaded: it is not cleaned");
            return Err(Error::new(ErrorKind::Refused, message).cure("take it out of `schemas`"));
        }
        let result = self.clean_all().await;
        self.unlock().await;
        self.end(result, Event::AFTER_CLEAN_ERROR, Event::AFTER_CLEAN_OPERATION_FINISH).await
    }

    async fn clean_all(&mut self) -> Result<Cleaned, Error> {
        self.fire(Event::AFTER_CONNECT).await?;
        self.fire(Event::BEFORE_CLEAN).await?;
        self.lock().await?;
        let rows = self.rows().await?;
        let created =
            rows.iter().find(|row| row.kind == RowKind::Schema).map(|row| row.script.clone()).unwrap_or_default();
        let mut done = Cleaned::default();
        let cleaning = |error| Error::database("cleaning", error);
        self.write("BEGIN").await.map_err(cleaning)?;
        let cleaned = async {
            for schema in self.schemas.clone() {
                let mut catalog = Catalog::of(self.database.as_mut());
                if !catalog.schema_exists(&schema).await.map_err(cleaning)? {
                    continue;
                }
                let quoted = self.engine.ident(&schema);
                for drop in catalog.drops(&schema).await.map_err(cleaning)? {
                    self.write(&drop).await.map_err(|error| Error::database(&format!("cleaning: `{drop}`"), error))?;
                }
                if created.split(',').any(|own| own == quoted) {
                    self.write(&format!("DROP SCHEMA {quoted}")).await.map_err(cleaning)?;
                    done.schemas_dropped.push(schema);
                } else {
                    done.schemas_cleaned.push(schema);
                }
            }
            self.write("COMMIT").await.map_err(cleaning)
        }
        .await;
        if let Err(error) = cleaned {
            self.roll_back().await;
            return Err(error);
        }
        self.history.exists = false;
        for schema in &done.schemas_cleaned {
            let quoted = self.engine.ident(schema);
            self.say(&format!("Successfully cleaned schema {quoted}"));
        }
        for schema in &done.schemas_dropped {
            let quoted = self.engine.ident(schema);
            self.say(&format!("Successfully dropped schema {quoted}"));
        }
        self.fire(Event::AFTER_CLEAN).await?;
        Ok(done)
    }
}
