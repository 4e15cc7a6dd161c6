//! `longshore migrate`: applies versioned SQL scripts, shares folder and history with Flyway.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use clap::{Args, Subcommand};
use longshore_migrate::flyway::Found;
use longshore_migrate::{ErrorKind, Migrator, Observer, Settings, Touch};
use longshore_warehouse::crash_point;
use longshore_warehouse::duckdb::DuckDbConfig;
use tempfile::TempDir;

use super::{Failure, Global, Outcome, Result, output};
use crate::config::Config;
use crate::migrations::{self, Target};

/// Where Flyway looks for scripts if nothing is said.
const FLYWAY_LOCATION: &str = "sql";

#[derive(Debug, Args)]
pub(super) struct Migrate {
    #[command(subcommand)]
    action: Option<Action>,
    /// Print the SQL that would be run, and touch nothing.
    #[arg(long, global = true)]
    dry_run: bool,
    /// Up to which version: one of the scripts, `latest`, `current`, `next`.
    #[arg(long, global = true, value_name = "VERSION")]
    target: Option<String>,
    /// Run versions below the highest applied one, too.
    #[arg(long, global = true)]
    out_of_order: bool,
    /// Any setting by Flyway's name: `outOfOrder=true`, `placeholders.schema=shop`.
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
enum Action {
    /// Run what is pending. The same as no word at all.
    Run,
    /// Show what is applied and what waits.
    Info,
    /// Say whether the history and the scripts go together.
    Validate,
    /// Declare a database that has tables, and no history, to be at a version.
    Baseline,
    /// Make the history fit: remove rows of failed migrations, take over what scripts say now.
    Repair,
    /// Drop everything in the schemas of the project.
    Clean,
}

/// A database with the settings for it.
pub(super) struct Place {
    pub(super) target: Target,
    pub(super) settings: Settings,
    pub(super) found: Found,
    /// Where a database file is made that is only looked at.
    scratch: OnceLock<TempDir>,
}

impl Place {
    /// What a project's configuration says, or where there is none, what Flyway's own files say.
    pub(super) async fn of(config: &Path, flags: &[(String, String)]) -> Result<Self> {
        let variables = migrations::variables();
        if config.exists() {
            return Self::of_project(&Config::read(config)?, flags).await;
        }
        let folder = config.parent().map_or_else(PathBuf::new, Path::to_owned);
        let folder = std::path::absolute(if folder.as_os_str().is_empty() { Path::new(".") } else { &folder })?;
        let (mut settings, mut found) = migrations::settings(&folder, None, &variables, flags)?;
        if !found.sets("locations") {
            // Where Flyway looks.
            settings.locations = vec![FLYWAY_LOCATION.to_owned()];
        }
        let target = Target::of_flyway(&mut settings, &folder, &mut found.remarks)
            .map_err(|(error, hint)| Failure::new(error).hint(hint))?;
        remark(&found.remarks);
        Ok(Self { target, settings, found, scratch: OnceLock::new() })
    }

    /// What a project's configuration says.
    pub(super) async fn of_project(config: &Config, flags: &[(String, String)]) -> Result<Self> {
        let (settings, mut found) =
            migrations::settings(&config.folder, config.migrate.as_ref(), &migrations::variables(), flags)?;
        let login = [settings.url.is_some(), settings.user.is_some(), settings.password.is_some()];
        if login.contains(&true) {
            let passed_over = "`flyway.url`, `flyway.user` and `flyway.password` are passed over: `[warehouse] url` says which database this is";
            found.remarks.push(passed_over.to_owned());
        }
        remark(&found.remarks);
        Ok(Self { target: Target::of(config).await, settings, found, scratch: OnceLock::new() })
    }

    /// Opens a session and puts the scripts beside it.
    pub(super) async fn open<'a>(&'a self, told: &'a mut Told) -> Result<Migrator<'a>> {
        self.beside(&self.target, Touch::Yes, told).await
    }

    /// The same, to look: a database file that is not there is not made; an empty one elsewhere stands in for it.
    pub(super) async fn look<'a>(&'a self, touch: Touch, told: &'a mut Told) -> Result<Migrator<'a>> {
        let Target::DuckDb(config) = &self.target else {
            return self.beside(&self.target, touch, told).await;
        };
        if !self.target.is_unmade() {
            return self.beside(&self.target, touch, told).await;
        }
        let scratch = tempfile::tempdir()?;
        let path = scratch.path().join(config.path.file_name().unwrap_or_default());
        self.scratch.get_or_init(|| scratch);
        self.beside(&Target::DuckDb(DuckDbConfig { path, ..config.clone() }), touch, told).await
    }

    async fn beside<'a>(&'a self, target: &Target, touch: Touch, told: &'a mut Told) -> Result<Migrator<'a>> {
        // What lies on this machine is looked at before a connection is made.
        let scripts = longshore_migrate::script::find(&self.settings)?;
        let database = target.open(&self.settings).await.map_err(|error| {
            let hint = error.hint.clone();
            let failure = Failure::new(format!("the database cannot be opened: {error}"));
            match hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        })?;
        Ok(Migrator::over(database, &self.settings, scripts, touch, told).await?)
    }
}

fn remark(remarks: &[String]) {
    remarks.iter().for_each(|remark| tracing::warn!("{remark}"));
}

/// Says what happens.
#[derive(Debug)]
pub(super) struct Told;

impl Observer for Told {
    fn line(&mut self, text: &str) {
        tracing::info!("{text}");
    }

    fn warning(&mut self, text: &str) {
        tracing::warn!("{text}");
    }

    fn passed(&mut self, point: &'static str) {
        crash_point(point);
    }
}

impl Migrate {
    pub(super) async fn run(self, global: &Global) -> Result {
        let action = self.action.unwrap_or(Action::Run);
        if self.dry_run && matches!(action, Action::Info | Action::Validate) {
            return Err(Failure::new("`info` and `validate` touch nothing anyway").hint("leave `--dry-run` out"));
        }
        let place = Place::of(&global.config, &self.flags()?).await?;
        let mut told = Told;
        // Who only looks makes no database file; its callbacks run all the same.
        let is_look = self.dry_run || matches!(action, Action::Info | Action::Validate);
        let touch = if self.dry_run { Touch::No } else { Touch::Yes };
        let mut migrator = if is_look { place.look(touch, &mut told).await? } else { place.open(&mut told).await? };
        match act(&mut migrator, action, global.json && !self.dry_run).await {
            Ok(outcome) => {
                match (self.dry_run, global.json) {
                    (true, true) => output::json(&serde_json::json!({ "sql": migrator.script() }))?,
                    (true, false) => outln!("{}", migrator.script().trim_end()),
                    (false, _) => {}
                }
                Ok(outcome)
            }
            Err(error) if matches!(error.kind(), ErrorKind::Migration | ErrorKind::Validation) => {
                if global.json {
                    output::json(&serde_json::json!({
                        "error": { "message": error.to_string(), "hint": error.hint() }
                    }))?;
                }
                Failure::from(error).print();
                Ok(Outcome::Incomplete)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn flags(&self) -> Result<Vec<(String, String)>> {
        let mut flags = Vec::new();
        if let Some(target) = &self.target {
            flags.push(("target".to_owned(), target.clone()));
        }
        if self.out_of_order {
            flags.push(("outOfOrder".to_owned(), "true".to_owned()));
        }
        for pair in &self.set {
            let Some((key, value)) = pair.split_once('=') else {
                return Err(Failure::new(format!("`--set {pair}` has no `=`")).hint("write `--set outOfOrder=true`"));
            };
            flags.push((key.strip_prefix("flyway.").unwrap_or(key).to_owned(), value.to_owned()));
        }
        Ok(flags)
    }
}

async fn act(
    migrator: &mut Migrator<'_>,
    action: Action,
    is_json: bool,
) -> std::result::Result<Outcome, longshore_migrate::Error> {
    let mut outcome = Outcome::Done;
    let document = match action {
        Action::Run => serde_json::to_value(migrator.migrate().await?),
        Action::Baseline => serde_json::to_value(migrator.baseline().await?),
        Action::Repair => serde_json::to_value(migrator.repair().await?),
        Action::Clean => serde_json::to_value(migrator.clean().await?),
        Action::Info => {
            let info = migrator.info().await?;
            if !is_json {
                let version = info.schema_version.as_deref().unwrap_or("<< Empty Schema >>");
                outln!("Schema version: {version}\n\n{}", info.to_table());
            }
            serde_json::to_value(info)
        }
        Action::Validate => {
            let found = migrator.validate().await?;
            if let Some(message) = &found.message {
                outcome = Outcome::Incomplete;
                if !is_json {
                    Failure::new(message.clone()).hint("`longshore migrate info` shows all of them").print();
                }
            }
            serde_json::to_value(found.to_json())
        }
    };
    if is_json {
        let document = document.unwrap_or_default();
        outln!("{document:#}");
    }
    Ok(outcome)
}
