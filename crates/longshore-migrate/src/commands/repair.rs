//! `repair`: makes the history fit the scripts.

use serde::Serialize;

use crate::database::Engine;
use crate::error::Error;
use crate::event::Event;
use crate::history::{Row, RowKind, cut_description};
use crate::migrator::Migrator;
use crate::name::Kind;
use crate::run::next_rank;
use crate::settings::Target;
use crate::state::{Item, Standing, State};

/// What `repair` did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Repaired {
    /// In words.
    pub repair_actions: Vec<String>,
    /// Failed rows that were removed.
    pub migrations_removed: Vec<String>,
    /// Rows without a script that were marked as deleted.
    pub migrations_deleted: Vec<String>,
    /// Rows that got what their script says now.
    pub migrations_aligned: Vec<String>,
}

impl Migrator<'_> {
    /// Removes rows of failed migrations, marks rows whose scripts are gone as deleted, and gives changed rows what
    /// their scripts say now. All in one transaction; no script runs.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn repair(&mut self) -> Result<Repaired, Error> {
        let result = self.repair_all().await;
        self.unlock().await;
        self.end(result, Event::AFTER_REPAIR_ERROR, Event::AFTER_REPAIR_OPERATION_FINISH).await
    }

    async fn repair_all(&mut self) -> Result<Repaired, Error> {
        self.fire(Event::AFTER_CONNECT).await?;
        self.fire(Event::BEFORE_REPAIR).await?;
        self.lock().await?;
        if !self.history.exists {
            self.say("there is no history table: nothing to repair");
            self.fire(Event::AFTER_REPAIR).await?;
            return Ok(Repaired::default());
        }
        let beginning = |error| Error::database("repairing the history", error);
        self.write("BEGIN").await.map_err(beginning)?;
        let done = async {
            if self.engine == Engine::Redshift {
                let lock = format!("DELETE FROM {} WHERE FALSE", self.history.quoted());
                self.write(&lock).await.map_err(beginning)?;
            }
            let rows = self.rows().await?;
            let standing = self.standing(&rows, &Target::Latest);
            let (statements, done) = self.repairs(&rows, &standing);
            for statement in statements {
                self.write(&statement).await.map_err(beginning)?;
            }
            self.observer.passed("before COMMIT");
            self.write("COMMIT").await.map_err(beginning)?;
            Ok(done)
        }
        .await;
        if done.is_err() {
            self.roll_back().await;
        }
        let done = done?;
        for action in &done.repair_actions {
            self.say(action);
        }
        let table = self.history.quoted();
        self.say(&match done.repair_actions.len() {
            0 => format!("Repair of {table} was not necessary"),
            _ => format!("Successfully repaired schema history table {table}. Manual cleanup of what failed migrations left behind may still be needed."),
        });
        self.fire(Event::AFTER_REPAIR).await?;
        Ok(done)
    }

    /// The statements that make the history fit, and what they do in words.
    fn repairs(&self, rows: &[Row], standing: &Standing) -> (Vec<String>, Repaired) {
        let (mut statements, mut done) = (Vec::new(), Repaired::default());
        let mut rank = next_rank(rows);
        for item in &standing.items {
            let Some(row) = &item.row else { continue };
            let title = match &row.version {
                Some(version) => format!("version {version} ({})", row.description),
                None => format!("the repeatable `{}`", row.description),
            };
            if item.state.is_failed() {
                statements.push(self.history.remove(row.rank));
                done.repair_actions.push(format!("removed the row of {title}, which failed"));
                done.migrations_removed.push(title);
            } else if matches!(item.state, State::Missing | State::Future) {
                let is_passed_over = self
                    .settings
                    .ignore_migration_patterns
                    .iter()
                    .any(|pattern| pattern.matches(item.category(), item.state));
                if is_passed_over || self.history.is_old() {
                    continue;
                }
                let deleted = Row {
                    rank,
                    kind: RowKind::Delete,
                    execution_ms: 0,
                    installed_by: self.installed_by(),
                    ..row.clone()
                };
                rank += 1;
                statements.push(self.history.insert(&deleted));
                done.repair_actions.push(format!("marked {title} as deleted, whose script is gone"));
                done.migrations_deleted.push(title);
            } else if let Some(statement) = self.alignment(item, row) {
                statements.push(statement);
                done.repair_actions.push(format!("gave the row of {title} what its script says now"));
                done.migrations_aligned.push(title);
            }
        }
        (statements, done)
    }

    /// What gives a row what its script says now, if that differs.
    fn alignment(&self, item: &Item, row: &Row) -> Option<String> {
        let script = item.script.as_ref()?;
        if matches!(item.state, State::Undone | State::Deleted) || row.kind == RowKind::Delete {
            return None;
        }
        let description = cut_description(&script.description);
        let (kind, checksum) = match script.kind {
            Kind::Baseline(_) => (RowKind::SqlBaseline, script.checksum),
            // A repeatable that changed runs again. Only one that Flyway 4 wrote is brought up to date.
            Kind::Repeatable if self.history.is_old() || row.checksum != Some(script.raw_checksum) => return None,
            _ => (RowKind::Sql, script.checksum),
        };
        let is_same = row.kind == kind && row.checksum == Some(checksum) && row.description == description;
        (!is_same).then(|| self.history.align(row.rank, &description, &kind, checksum))
    }
}
