//! The project's migrations: which settings hold, which database is meant, and whether loading has to wait for them.
//!
//! What a migration is, and what Flyway makes of it, is the business of `longshore-migrate`.

mod duckdb;
pub mod gate;

use std::path::Path;
use std::time::Duration;

use longshore_migrate::flyway::{self, Found};
use longshore_migrate::{Database, Engine, Error, PostgresDatabase, Settings, SqlError};
use longshore_warehouse::duckdb::{DuckDb, DuckDbConfig};

use self::duckdb::DuckDbDatabase;
use crate::config::{self, Config, MEMORY_LIMIT, MigrateConfig, WAIT};
use crate::project;

/// The shortest pause between two tries to connect, where further ones are asked for.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Variables of this process's environment.
pub(crate) fn variables() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// The settings that hold in a folder: Flyway's own files, then `[migrate]`, then `FLYWAY_…` in the environment, then
/// what the command line says. Later ones win.
///
/// # Errors
/// A file or a variable says what is not understood.
pub(crate) fn settings(
    folder: &Path,
    own: Option<&MigrateConfig>,
    variables: &[(String, String)],
    flags: &[(String, String)],
) -> Result<(Settings, Found), Error> {
    let mut settings = Settings { folder: folder.to_owned(), ..Settings::default() };
    let mut found = Found::default();
    flyway::read_files(&mut settings, folder, variables, &mut found)?;
    if let Some(own) = own {
        for (key, value) in &own.settings {
            flyway::take(&mut settings, key, value, "`[migrate]`", &mut found)?;
        }
        settings.strip_redshift = own.is_redshift;
    }
    flyway::read_environment(&mut settings, variables, &mut found)?;
    for (key, value) in flags {
        flyway::take(&mut settings, key, value, "the command line", &mut found)?;
    }
    Ok((settings, found))
}

/// A database that can be opened, again and again.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    DuckDb(DuckDbConfig),
    Postgres(Box<longshore_postgres::Config>),
    Redshift(Box<longshore_postgres::Config>),
}

impl Target {
    /// The warehouse of the project.
    pub(crate) async fn of(config: &Config) -> Self {
        match &config.warehouse.engine {
            config::Engine::DuckDb { path, memory_limit, threads } => Self::DuckDb(DuckDbConfig {
                path: path.clone(),
                memory_limit: *memory_limit,
                threads: *threads,
                wait: config.warehouse.wait,
            }),
            config::Engine::Postgres(connect) => Self::Postgres(connect.clone()),
            config::Engine::Redshift(settings) => Self::Redshift(Box::new(project::connect_redshift(settings).await)),
        }
    }

    /// The database that settings of Flyway name. A schema that its URL names becomes the default one.
    ///
    /// # Errors
    /// They name none, or none that is known: what is wrong, and the cure.
    pub(crate) fn of_flyway(
        settings: &mut Settings,
        folder: &Path,
        remarks: &mut Vec<String>,
    ) -> Result<Self, (String, String)> {
        let Some(url) = &settings.url else {
            return Err((
                "there is no `longshore.toml` here, and neither `flyway.conf` nor `FLYWAY_URL` names a database"
                    .to_owned(),
                "`longshore init FOLDER` writes a project; `--config FILE` names one; or set FLYWAY_URL".to_owned(),
            ));
        };
        let place = flyway::place(url, settings.user.as_deref())
            .map_err(|why| (format!("`flyway.url`: {why}"), "correct it".to_owned()))?;
        let passed_over = place.passed_over.iter();
        remarks.extend(
            passed_over
                .map(|name| format!("the parameter `{name}` of `flyway.url` has no meaning here, and is passed over")),
        );
        if let Some(schema) = &place.schema
            && settings.default_schema.is_none()
            && settings.schemas.is_empty()
        {
            settings.default_schema = Some(schema.clone());
        }
        if let Some(path) = place.url.strip_prefix("duckdb:") {
            let path = folder.join(path.trim_start_matches("//"));
            return Ok(Self::DuckDb(DuckDbConfig { path, memory_limit: MEMORY_LIMIT, threads: None, wait: WAIT }));
        }
        let password = place.password.as_ref().or(settings.password.as_ref());
        let password = password.map(|password| secrecy::ExposeSecret::expose_secret(password).to_owned());
        let env = |name: &str| match name {
            "PGPASSWORD" => password.clone().or_else(|| std::env::var(name).ok()),
            _ => std::env::var(name).ok(),
        };
        let connect = longshore_postgres::Config::with_environment(&place.url, &env).map_err(|error| {
            (format!("`flyway.url`: {error}"), error.hint().unwrap_or_else(|| "correct it".to_owned()))
        })?;
        Ok(match place.url.starts_with("redshift:") {
            true => Self::Redshift(Box::new(connect)),
            false => Self::Postgres(Box::new(connect)),
        })
    }

    /// Opens a session; tries again as often as the settings say.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub(crate) async fn open(&self, settings: &Settings) -> Result<Box<dyn Database>, SqlError> {
        let mut pause = FIRST_PAUSE;
        for _ in 0..settings.connect_retries {
            match self.try_to_open().await {
                Err(error) if error.is_transient => tracing::warn!("{error}; trying again in {} s", pause.as_secs()),
                other => return other,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(settings.connect_retries_interval).max(FIRST_PAUSE));
        }
        self.try_to_open().await
    }

    async fn try_to_open(&self) -> Result<Box<dyn Database>, SqlError> {
        let name = concat!("longshore migrate ", env!("CARGO_PKG_VERSION"));
        Ok(match self {
            Self::DuckDb(config) => Box::new(DuckDbDatabase::open(config).await?),
            Self::Postgres(connect) => Box::new(
                PostgresDatabase::connect(&connect.as_ref().clone().application_name(name), Engine::Postgres).await?,
            ),
            Self::Redshift(connect) => Box::new(
                PostgresDatabase::connect(&connect.as_ref().clone().application_name(name), Engine::Redshift).await?,
            ),
        })
    }

    /// Whether there is nothing yet to open: a DuckDB file that is made when it is first used.
    pub(crate) fn is_unmade(&self) -> bool {
        match self {
            Self::DuckDb(config) => DuckDb::new(config.clone()).is_there().is_ok_and(|is_there| !is_there),
            Self::Postgres(_) | Self::Redshift(_) => false,
        }
    }
}
