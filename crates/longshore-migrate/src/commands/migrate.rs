//! `migrate`: runs what is pending.

use std::time::Instant;

use serde::Serialize;

use super::{not_empty, shown_time};
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::history::Row;
use crate::migrator::Migrator;
use crate::name::Kind;
use crate::run::{Failed, How, Ran};
use crate::script::Script;
use crate::settings::{Pattern, Target};
use crate::state::{Item, Standing, State};
use crate::validate::validate;
use crate::version::Version;

/// One migration that ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// `Versioned`, `Repeatable` or `Baseline`.
    pub category: &'static str,
    /// Its version; empty for repeatables.
    pub version: String,
    /// Its description.
    pub description: String,
    /// `SQL` or `SQL_BASELINE`.
    pub r#type: String,
    /// Where its script lies.
    pub filepath: String,
    /// How long it took, in milliseconds.
    pub execution_time: i64,
}

/// What `migrate` did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Migrated {
    /// The version before.
    pub initial_schema_version: Option<String>,
    /// The version after, if something ran.
    pub target_schema_version: Option<String>,
    /// The schema of the history.
    pub schema_name: String,
    /// What ran, in order.
    pub migrations: Vec<Applied>,
    /// How many that are.
    pub migrations_executed: usize,
}

impl Migrator<'_> {
    /// Runs what is pending.
    ///
    /// # Errors
    /// History and scripts do not go together, a migration failed before or fails now, or the database refuses. What
    /// was applied before a failure stays.
    pub async fn migrate(&mut self) -> Result<Migrated, Error> {
        let result = self.migrate_all().await;
        self.unlock().await;
        self.restore_session().await;
        self.end(result, Event::AFTER_MIGRATE_ERROR, Event::AFTER_MIGRATE_OPERATION_FINISH).await
    }

    async fn migrate_all(&mut self) -> Result<Migrated, Error> {
        self.fire(Event::AFTER_CONNECT).await?;
        // Who waits here finds what the other one did, and takes nothing of it for a failure.
        self.lock().await?;
        if !self.history.exists {
            self.appeared_meanwhile().await?;
        }
        if self.settings.validate_on_migrate {
            self.validate_before().await?;
        }
        // What a version must be is known before anything is made.
        let rows = self.rows().await?;
        let target = self.fixed_target(&rows)?;
        let created = self.create_schemas().await?;
        if !self.history.exists {
            self.begin_history(&created).await?;
        }
        self.fire(Event::BEFORE_MIGRATE).await?;
        self.run_pending(&target).await
    }

    async fn validate_before(&mut self) -> Result<(), Error> {
        let started = Instant::now();
        self.fire(Event::BEFORE_VALIDATE).await?;
        let rows = self.rows().await?;
        let standing = self.standing(&rows, &self.settings.target);
        let mut patterns = self.settings.ignore_migration_patterns.clone();
        patterns.push(Pattern::of(&[State::Pending]));
        let faults = validate(&standing, &patterns, true, self.history.is_old());
        if !faults.is_empty() {
            let error = super::validate::error(&faults);
            self.fire(Event::AFTER_VALIDATE_ERROR).await?;
            return Err(error);
        }
        let count = standing.items.len();
        self.say(&format!(
            "Successfully validated {count} migration{} (execution time {})",
            plural(count),
            shown_time(started)
        ));
        self.fire(Event::AFTER_VALIDATE).await
    }

    /// The target as a version, so that it does not move with what is applied.
    fn fixed_target(&self, rows: &[Row]) -> Result<Target, Error> {
        let fixed = |version: Version| Target::Version { version, must_exist: false };
        match &self.settings.target {
            Target::Latest => Ok(Target::Latest),
            Target::Next => {
                let standing = self.standing(rows, &Target::Latest);
                let next = standing.pending().find_map(Script::version).cloned();
                Ok(next.or(standing.current).map_or(Target::Latest, fixed))
            }
            Target::Current => {
                let current = self.standing(rows, &Target::Latest).current;
                Ok(fixed(current.unwrap_or_else(|| Version::of_history("0"))))
            }
            Target::Version { version, must_exist } => {
                let is_known = self.scripts.migrations.iter().any(|script| script.version() == Some(version))
                    || rows.iter().any(|row| row.version.as_ref() == Some(version));
                if *must_exist && !is_known {
                    return Err(Error::new(
                        ErrorKind::Refused,
                        format!("there is no migration with the target's version {version}"),
                    )
                    .cure(format!("correct `target`, or write `{version}?` if it need not exist")));
                }
                Ok(fixed(version.clone()))
            }
        }
    }

    /// Creates the history of a database that has none.
    async fn begin_history(&mut self, created: &[String]) -> Result<(), Error> {
        self.observer.passed("schemas");
        let filled = self.holds_something().await?;
        // What fills it may be what somebody else applies at this moment: their history table was there first.
        if !filled.is_empty() && self.appeared_meanwhile().await? {
            return Ok(());
        }
        let mut rows: Vec<Row> = self.schema_row(created).into_iter().collect();
        if !filled.is_empty() {
            if !self.settings.baseline_on_migrate {
                return Err(not_empty(&filled));
            }
            let rank = crate::run::next_rank(&rows);
            self.say(&format!(
                "Baselining schema {} with version {}",
                self.schema_shown(),
                self.settings.baseline_version
            ));
            rows.push(self.baseline_row(rank));
        }
        self.create_history(&rows).await
    }

    async fn run_pending(&mut self, target: &Target) -> Result<Migrated, Error> {
        let started = Instant::now();
        let mut rows = self.rows().await?;
        let standing = self.standing(&rows, target);
        let mut done = Migrated {
            initial_schema_version: standing.current.as_ref().map(|version| version.as_str().to_owned()),
            schema_name: self.history.schema.clone(),
            ..Migrated::default()
        };
        let schema = self.schema_shown();
        match &standing.current {
            Some(version) => self.say(&format!("Current version of schema {schema}: {version}")),
            None => self.say(&format!("Current version of schema {schema}: << Empty Schema >>")),
        }
        self.warn_of_future(&standing);
        let mut versioned_are_done = false;
        let mut raced = 0;
        loop {
            let standing = self.standing(&rows, target);
            let is_passed_over = |item: &Item| {
                let patterns = &self.settings.ignore_migration_patterns;
                item.state == State::FailedFuture && patterns.iter().any(|own| own.matches(item.category(), item.state))
            };
            if let Some(failed) = standing.failed().filter(|item| !is_passed_over(item)) {
                return Err(self.failed_before(failed.version(), failed.description()));
            }
            let pending: Vec<Script> = standing.pending().cloned().collect();
            if self.settings.group && !pending.is_empty() {
                match self.run_group(&pending, &rows, &standing).await? {
                    Some(new) => {
                        for (script, row) in pending.iter().zip(&new) {
                            done.migrations.push(applied(script, row));
                        }
                        rows.extend(new);
                        versioned_are_done |= pending.iter().any(|script| script.kind == Kind::Repeatable);
                    }
                    None => rows = self.look_again(&mut raced).await?,
                }
                continue;
            }
            // What cannot be read is told before anything runs.
            for script in &pending {
                let statements = self.ready(script)?;
                self.how(script, &statements)?;
            }
            let mut again = false;
            for script in &pending {
                if self.hold_lock().await? {
                    again = true;
                    break;
                }
                if script.kind == Kind::Repeatable && !versioned_are_done {
                    versioned_are_done = true;
                    self.fire(Event::AFTER_VERSIONED).await?;
                    self.fire(Event::BEFORE_REPEATABLES).await?;
                }
                match self.run_migration(script, &rows, &remark(script, &standing)).await? {
                    Ran::Applied(row) => {
                        done.migrations.push(applied(script, &row));
                        rows.push(*row);
                    }
                    Ran::Raced => {
                        again = true;
                        break;
                    }
                }
            }
            if !again {
                break;
            }
            rows = self.look_again(&mut raced).await?;
        }
        if !versioned_are_done {
            self.fire(Event::AFTER_VERSIONED).await?;
        }
        if !done.migrations.is_empty() {
            self.fire(Event::AFTER_MIGRATE_APPLIED).await?;
        }
        self.fire(Event::AFTER_MIGRATE).await?;
        self.tell(&mut done, &rows, target, started);
        Ok(done)
    }

    fn tell(&mut self, done: &mut Migrated, rows: &[Row], target: &Target, started: Instant) {
        let schema = self.schema_shown();
        done.migrations_executed = done.migrations.len();
        if done.migrations.is_empty() {
            self.say(&format!("Schema {schema} is up to date. No migration necessary."));
            return;
        }
        let current = self.standing(rows, target).current;
        done.target_schema_version = current.as_ref().map(|version| version.as_str().to_owned());
        let now = current.map(|version| format!(", now at version v{version}")).unwrap_or_default();
        let count = done.migrations_executed;
        self.say(&format!(
            "Successfully applied {count} migration{} to schema {schema}{now} (execution time {})",
            plural(count),
            shown_time(started)
        ));
    }

    /// Reads the history once more, as somebody else wrote to it.
    async fn look_again(&mut self, raced: &mut u32) -> Result<Vec<Row>, Error> {
        *raced += 1;
        if *raced > 1_000 {
            return Err(Error::new(ErrorKind::Locked, "somebody else keeps writing to the history table")
                .cure("run the same command again when that has ended"));
        }
        self.rows().await
    }

    /// Runs all that is pending in one transaction. `None`: somebody else was faster.
    async fn run_group(
        &mut self,
        pending: &[Script],
        rows: &[Row],
        standing: &Standing,
    ) -> Result<Option<Vec<Row>>, Error> {
        let mut ready = Vec::with_capacity(pending.len());
        for script in pending {
            let statements = self.ready(script)?;
            if self.how(script, &statements)? == How::Outside {
                return Err(Error::new(
                    ErrorKind::Refused,
                    format!(
                        "`{}` cannot run in a transaction, and `group` asks for one transaction for all",
                        script.path.display()
                    ),
                )
                .cure("set `group = false`"));
            }
            ready.push(statements);
        }
        self.reset_session().await.map_err(|error| Error::database("setting the search path", error))?;
        self.write("BEGIN").await.map_err(|error| Error::database("beginning a transaction", error))?;
        let ran: Result<Option<Vec<Row>>, Failed> = async {
            if !self.is_ours(rows).await? {
                return Ok(None);
            }
            let mut all = rows.to_vec();
            let mut versioned_are_done = false;
            for (script, statements) in pending.iter().zip(&ready) {
                if script.kind == Kind::Repeatable && !versioned_are_done {
                    versioned_are_done = true;
                    self.fire_inside(Event::AFTER_VERSIONED, How::Inside).await?;
                    self.fire_inside(Event::BEFORE_REPEATABLES, How::Inside).await?;
                }
                let what = if script.version().is_some() { "to version" } else { "with repeatable migration" };
                let remark = remark(script, standing);
                self.say(&format!("Migrating schema {} {what} \"{}\"{remark}", self.schema_shown(), script.title()));
                self.remark(&script.script);
                let row = self.run_in_transaction(script, statements, &all, Instant::now()).await?;
                all.push(row);
            }
            self.observer.passed("before COMMIT");
            self.write("COMMIT").await.map_err(|error| Failed::of("committing the group of migrations", error))?;
            Ok(Some(all.split_off(rows.len())))
        }
        .await;
        if !matches!(ran, Ok(Some(_))) {
            self.roll_back().await;
        }
        ran.map_err(|failed| failed.error)
    }

    fn failed_before(&self, version: Option<&Version>, description: &str) -> Error {
        let schema = self.schema_shown();
        let what = match version {
            Some(version) => format!("a failed migration to version {version} ({description})"),
            None => format!("the failed repeatable migration `{description}`"),
        };
        // Redshift has no lock that outlives a transaction: the row may be of somebody who is at it.
        let running =
            if self.engine == crate::Engine::Redshift { ", or one that another process runs right now" } else { "" };
        Error::new(ErrorKind::Migration, format!("schema {schema} contains {what}{running}"))
            .cure("complete or take back by hand what it left half done, then run `longshore migrate repair`")
    }

    fn warn_of_future(&mut self, standing: &Standing) {
        let is_future = |state: State| matches!(state, State::Future | State::FailedFuture);
        if let Some(item) = standing.items.iter().rev().find(|item| is_future(item.state)) {
            let version = item.version().map(Version::to_string).unwrap_or_default();
            self.observer.warning(&format!(
                "schema {} has a version ({version}) that is newer than the latest script",
                self.schema_shown()
            ));
        }
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// ` [out of order]`, where it is.
fn remark(script: &Script, standing: &Standing) -> String {
    let is_late = script.version().is_some_and(|own| standing.current.as_ref().is_some_and(|current| own < current));
    if is_late { " [out of order]".to_owned() } else { String::new() }
}

fn applied(script: &Script, row: &Row) -> Applied {
    Applied {
        category: match script.kind {
            Kind::Baseline(_) => "Baseline",
            Kind::Repeatable => "Repeatable",
            _ => "Versioned",
        },
        version: script.version().map(|version| version.as_str().to_owned()).unwrap_or_default(),
        description: script.description.clone(),
        r#type: row.kind.as_str().to_owned(),
        filepath: script.path.display().to_string(),
        execution_time: row.execution_ms,
    }
}
