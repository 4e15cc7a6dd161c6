//! `info`: what is applied, what waits, and what is wrong.

use std::collections::HashSet;

use serde::Serialize;

use crate::error::Error;
use crate::event::Event;
use crate::history::{Row, RowKind};
use crate::migrator::Migrator;
use crate::name::Kind;
use crate::script::Script;
use crate::state::{Category, Item, Standing};
use crate::table::table;
use crate::version::Version;

/// One line of `info`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// `Versioned`, `Repeatable`, `Baseline`, or empty.
    pub category: &'static str,
    /// The version; empty for repeatables.
    pub version: String,
    /// The description.
    pub description: String,
    /// The row's type, or the one that the script will have.
    pub r#type: String,
    /// When it was applied, as the database tells it.
    pub installed_on: String,
    /// The state.
    pub state: &'static str,
    /// Whether there is a script that takes it back: `Yes`, `No`, or empty.
    pub undoable: &'static str,
    /// Where its script lies.
    pub filepath: String,
    /// Who applied it.
    pub installed_by: String,
    /// How long it took, in milliseconds.
    pub execution_time: i64,
}

/// What `info` tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Info {
    /// The version of the schema.
    pub schema_version: Option<String>,
    /// The schema of the history.
    pub schema_name: String,
    /// The migrations.
    pub migrations: Vec<Shown>,
    /// Whether the schemas hold nothing.
    pub all_schemas_empty: bool,
    /// The database's name.
    pub database: String,
}

/// What keeps a project's tables from being as its scripts say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pending {
    /// Titles of migrations that wait.
    pub pending: Vec<String>,
    /// The title of one that failed, or runs right now.
    pub failed: Option<String>,
    /// Whether somebody migrates right now.
    pub is_running: bool,
}

impl Migrator<'_> {
    /// Tells what is applied and what waits.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn info(&mut self) -> Result<Info, Error> {
        let result = self.tell_all().await;
        self.end(result, Event::AFTER_INFO_ERROR, Event::AFTER_INFO_OPERATION_FINISH).await
    }

    async fn tell_all(&mut self) -> Result<Info, Error> {
        self.fire(Event::AFTER_CONNECT).await?;
        self.fire(Event::BEFORE_INFO).await?;
        let rows = self.rows().await?;
        let standing = self.standing(&rows, &self.settings.target);
        self.say_if_running(&standing).await?;
        let undos: HashSet<&Version> = self.scripts.undos.iter().filter_map(|script| script.version()).collect();
        let migrations = standing.items.iter().filter(|item| is_shown(item)).map(|item| shown(item, &undos)).collect();
        let all_schemas_empty = !self.history.exists && self.holds_something().await?.is_empty();
        let info = Info {
            schema_version: standing.current.map(|version| version.as_str().to_owned()),
            schema_name: self.history.schema.clone(),
            migrations,
            all_schemas_empty,
            database: self.database.name().to_owned(),
        };
        self.fire(Event::AFTER_INFO).await?;
        Ok(info)
    }

    /// What waits and what failed, asked by who loads into the tables. No callback runs.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn pending(&mut self) -> Result<Pending, Error> {
        let rows = self.rows().await?;
        let standing = self.standing(&rows, &self.settings.target);
        let failed = standing.failed().map(|item| match item.version() {
            Some(version) => format!("{version} - {}", item.description()),
            None => item.description().to_owned(),
        });
        let is_running = (failed.is_some() || standing.pending().next().is_some()) && self.is_running().await?;
        // One that names the time is another one at each run: it is done once it ran.
        let ran = |script: &Script| {
            rows.iter().any(|row| row.version.is_none() && row.success && row.script == script.script)
        };
        let pending = standing.pending().filter(|script| !(script.names_the_time && ran(script)));
        Ok(Pending { pending: pending.map(Script::title).collect(), failed, is_running })
    }

    /// Says that a row which is not done may be of a migration that runs right now.
    pub(super) async fn say_if_running(&mut self, standing: &Standing) -> Result<(), Error> {
        if standing.failed().is_some() && self.is_running().await? {
            self.observer.warning(
                "another process migrates this database right now: a migration that it runs shows as failed until it is done",
            );
        }
        Ok(())
    }
}

impl Info {
    /// The table as Flyway prints it.
    pub fn to_table(&self) -> String {
        let header = ["Category", "Version", "Description", "Type", "Installed On", "State", "Undoable"];
        let rows: Vec<[&str; 7]> = self
            .migrations
            .iter()
            .map(|one| {
                // Fractions of a second are of no use to people.
                let installed_on = one.installed_on.split('.').next().unwrap_or_default();
                [one.category, &one.version, &one.description, &one.r#type, installed_on, one.state, one.undoable]
            })
            .collect();
        table(&header, &rows, "No migrations found")
    }
}

/// Marks of deletions of versions, and what took versions back, are no lines.
fn is_shown(item: &Item) -> bool {
    match &item.row {
        Some(Row { kind: RowKind::Delete, version, .. }) => version.is_none(),
        Some(Row { kind: RowKind::Undo(_), success, .. }) => !success,
        _ => true,
    }
}

fn shown(item: &Item, undos: &HashSet<&Version>) -> Shown {
    use crate::state::State;
    let row = item.row.as_ref();
    let is_versioned = matches!(item.category(), Category::Versioned);
    Shown {
        category: match (&item.row, &item.script) {
            (None, Some(script)) if matches!(script.kind, Kind::Baseline(_)) => Category::Baseline.as_str(),
            _ => item.category().as_str(),
        },
        version: item.version().map(|version| version.as_str().to_owned()).unwrap_or_default(),
        description: item.description().to_owned(),
        r#type: item.kind().to_owned(),
        installed_on: row.map(|row| row.installed_on.clone()).unwrap_or_default(),
        state: item.state.as_str(),
        undoable: match item.version() {
            Some(version) if is_versioned && item.state != State::Deleted => {
                if undos.contains(version) {
                    "Yes"
                } else {
                    "No"
                }
            }
            Some(_) if item.category() != Category::Repeatable && item.state != State::Deleted => "No",
            _ => "",
        },
        filepath: item.script.as_ref().map(|script| script.path.display().to_string()).unwrap_or_default(),
        installed_by: row.map(|row| row.installed_by.clone()).unwrap_or_default(),
        execution_time: row.map(|row| row.execution_ms).unwrap_or_default(),
    }
}
