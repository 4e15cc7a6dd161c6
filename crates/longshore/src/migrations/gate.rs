//! Loading waits while migrations of the project are pending, or one failed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use longshore_migrate::script;
use longshore_migrate::{Migrator, Observer, Pending, Settings, Touch};
use tokio::sync::Mutex;

use super::{Target, settings, variables};
use crate::config::{Config, MigrateConfig};
use crate::pipeline::Error;

/// How long an answer holds: what is deployed is seen within this, and small files do not pay for the question.
const HOLDS: Duration = Duration::from_secs(2);
/// Migrations that a message names.
const NAMED: usize = 3;

/// Asks whether loading may go on.
#[derive(Debug, Clone)]
pub struct Gate(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    own: Option<MigrateConfig>,
    target: Target,
    /// When it was last found that nothing is pending.
    open_since: Mutex<Option<Instant>>,
}

impl Gate {
    /// The gate of a project: open for good if the project says that loading does not wait.
    pub(crate) async fn of(config: &Config) -> Self {
        if config.migrate.as_ref().is_some_and(|own| !own.pause_loads) {
            return Self::open();
        }
        Self(Some(Arc::new(Inner {
            folder: config.folder.clone(),
            own: config.migrate.clone(),
            target: Target::of(config).await,
            open_since: Mutex::default(),
        })))
    }

    /// A gate that is open for good.
    pub fn open() -> Self {
        Self(None)
    }

    /// Whether loading may go on.
    ///
    /// # Errors
    /// Migrations are pending, one failed, or it cannot be found out: faults of the surroundings, with the cure.
    pub async fn pass(&self) -> Result<(), Error> {
        let Some(inner) = &self.0 else { return Ok(()) };
        let mut open_since = inner.open_since.lock().await;
        if open_since.is_some_and(|since| since.elapsed() < HOLDS) {
            return Ok(());
        }
        *open_since = None;
        if let Some(pending) = inner.look().await?
            && let Some(error) = hindrance(&pending)
        {
            return Err(error);
        }
        *open_since = Some(Instant::now());
        Ok(())
    }
}

/// What `longshore check` has to say of a project's migrations; nothing if it has none.
///
/// # Errors
/// Scripts, settings or the history cannot be read.
pub(crate) async fn state(config: &Config) -> Result<Option<Pending>, Error> {
    let inner = Inner {
        folder: config.folder.clone(),
        own: config.migrate.clone(),
        target: Target::of(config).await,
        open_since: Mutex::default(),
    };
    inner.look().await
}

impl Inner {
    /// What is pending, if the project has migrations.
    async fn look(&self) -> Result<Option<Pending>, Error> {
        if self.own.is_none() && !has_folder(&self.folder) {
            return Ok(None);
        }
        let (settings, _) = settings(&self.folder, self.own.as_ref(), &variables(), &[]).map_err(surroundings)?;
        let scripts = script::find(&settings).map_err(surroundings)?;
        if scripts.migrations.is_empty() {
            return Ok(None);
        }
        if self.target.is_unmade() {
            let pending = scripts.migrations.iter().map(script::Script::title).collect();
            return Ok(Some(Pending { pending, ..Pending::default() }));
        }
        self.ask(&settings, scripts).await.map(Some)
    }

    async fn ask(&self, settings: &Settings, scripts: script::Scripts) -> Result<Pending, Error> {
        let database = self.target.open(settings).await.map_err(|error| {
            let text = format!("the history of migrations cannot be read: {error}");
            let fault = if error.is_transient { Error::transient(text) } else { Error::environment(text) };
            fault.cure(error.hint.unwrap_or_else(|| "`longshore check` names the hop that fails".to_owned()))
        })?;
        let mut silent = Silent;
        let mut migrator =
            Migrator::over(database, settings, scripts, Touch::No, &mut silent).await.map_err(surroundings)?;
        migrator.pending().await.map_err(surroundings)
    }
}

/// Whether anything says that the project may have migrations: the folder, or a file of Flyway's.
fn has_folder(folder: &Path) -> bool {
    let signs =
        [longshore_migrate::settings::LOCATIONS, "flyway.conf", "flyway.toml", "conf/flyway.conf", "conf/flyway.toml"];
    signs.iter().any(|sign| folder.join(sign).exists())
}

/// Why loading cannot go on.
pub(crate) fn hindrance(pending: &Pending) -> Option<Error> {
    if pending.is_running {
        return Some(Error::transient(
            "a migration of this project's database is under way: loading goes on when it is done",
        ));
    }
    if let Some(failed) = &pending.failed {
        let error = Error::environment(format!("the migration `{failed}` of this project failed"));
        return Some(error.cure("`longshore migrate info` shows it; complete or take back what is half done, then `longshore migrate repair` and `longshore migrate`"));
    }
    let count = pending.pending.len();
    if count == 0 {
        return None;
    }
    let named: Vec<String> = pending.pending.iter().take(NAMED).map(|title| format!("`{title}`")).collect();
    let more = if count > NAMED { format!(" and {} more", count - NAMED) } else { String::new() };
    let are = if count == 1 { "a migration of this project is" } else { "migrations of this project are" };
    let error = Error::environment(format!("{are} pending: {}{more}", named.join(", ")));
    Some(error.cure("run `longshore migrate`; or set `pause_loads = false` in `[migrate]` to load all the same"))
}

fn surroundings(error: longshore_migrate::Error) -> Error {
    let text = error.to_string();
    let fault = if error.is_transient() { Error::transient(text) } else { Error::environment(text) };
    match error.hint() {
        Some(hint) => fault.cure(hint),
        None => fault,
    }
}

/// Looks do not talk.
struct Silent;

impl Observer for Silent {
    fn line(&mut self, _: &str) {}

    fn warning(&mut self, text: &str) {
        tracing::debug!("{text}");
    }
}
