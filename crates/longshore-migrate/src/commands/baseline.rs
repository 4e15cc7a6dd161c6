//! `baseline`: declares a database to be at a version.

use serde::Serialize;

use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::history::RowKind;
use crate::migrator::Migrator;

/// What `baseline` did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Baselined {
    /// Whether the mark is there now.
    pub successfully_baselined: bool,
    /// Its version.
    pub baseline_version: String,
}

impl Migrator<'_> {
    /// Marks the database as being at `baselineVersion`. Nothing is run.
    ///
    /// # Errors
    /// It has a history already, or the database refuses.
    pub async fn baseline(&mut self) -> Result<Baselined, Error> {
        let result = self.mark_baseline().await;
        self.unlock().await;
        self.end(result, Event::AFTER_BASELINE_ERROR, Event::AFTER_BASELINE_OPERATION_FINISH).await
    }

    async fn mark_baseline(&mut self) -> Result<Baselined, Error> {
        self.fire(Event::AFTER_CONNECT).await?;
        self.lock().await?;
        let created = self.create_schemas().await?;
        self.fire(Event::BEFORE_BASELINE).await?;
        let version = &self.settings.baseline_version;
        let description = &self.settings.baseline_description;
        let (schema, table) = (self.schema_shown(), self.history.quoted());
        let done = Baselined { successfully_baselined: true, baseline_version: version.as_str().to_owned() };
        if self.history.exists || self.appeared_meanwhile().await? {
            let rows = self.rows().await?;
            if let Some(row) = rows.iter().find(|row| matches!(row.kind, RowKind::Baseline | RowKind::SqlBaseline)) {
                if row.version.as_ref() == Some(version) && row.description == *description {
                    self.say(&format!(
                        "Schema history table {table} is baselined with ({version},{description}) already. Skipping."
                    ));
                    self.fire(Event::AFTER_BASELINE).await?;
                    return Ok(done);
                }
                let own = row.version.as_ref().map(ToString::to_string).unwrap_or_default();
                return Err(Error::new(
                    ErrorKind::Refused,
                    format!("{table} has a baseline already: version {own} (`{}`), and not version {version} (`{description}`)", row.description),
                )
                .cure("leave it as it is; `baseline_version` and `baseline_description` have to be the same"));
            }
            let why = if rows.is_empty() { "is there already, and empty" } else { "contains migrations already" };
            return Err(Error::new(
                ErrorKind::Refused,
                format!("{table} {why}: a baseline is for a database without a history"),
            )
            .cure(if rows.is_empty() {
                "remove the empty table, and run the same command again"
            } else {
                "run `longshore migrate`"
            }));
        }
        let mut rows: Vec<_> = self.schema_row(&created).into_iter().collect();
        let rank = crate::run::next_rank(&rows);
        rows.push(self.baseline_row(rank));
        self.create_history(&rows).await?;
        self.say(&format!("Successfully baselined schema {schema} with version: {version}"));
        self.fire(Event::AFTER_BASELINE).await?;
        Ok(done)
    }
}
