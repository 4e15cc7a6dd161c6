//! One session with a database, in which commands run.

use std::fmt::Write as _;
use std::time::Duration;

use crate::database::{Catalog, Database, Engine, SqlError};
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::history::{History, Row};
use crate::placeholder::Placeholders;
use crate::script::{self, Script, Scripts};
use crate::settings::{Settings, Target};
use crate::state::{self, Rules, Standing};

/// Between two tries to get the lock, as Flyway has it.
const LOCK_PAUSE: Duration = Duration::from_secs(1);

/// Is told what happens.
pub trait Observer: Send {
    /// Something was done.
    fn line(&mut self, text: &str);

    /// Something is not as it should be, and hinders nothing.
    fn warning(&mut self, text: &str);

    /// A point is passed at which a test may end the process.
    fn passed(&mut self, _point: &'static str) {}
}

/// Whether something may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touch {
    /// Commands do what they say.
    Yes,
    /// Nothing is changed: what commands would run is kept.
    No,
}

/// A project's scripts and its database, side by side.
pub struct Migrator<'a> {
    pub(crate) database: Box<dyn Database + 'a>,
    pub(crate) settings: &'a Settings,
    pub(crate) observer: &'a mut dyn Observer,
    pub(crate) scripts: Scripts,
    pub(crate) history: History,
    /// All schemas of the project, the one with the history first.
    pub(crate) schemas: Vec<String>,
    pub(crate) engine: Engine,
    /// The database's user, and its own name.
    pub(crate) user: String,
    original_path: String,
    /// Whether new tables are made in the default schema anyway.
    is_current: bool,
    /// Whether the default schema is known to exist.
    pub(crate) schema_is_there: bool,
    /// The time that scripts are told, the same for a whole run.
    now: String,
    /// What would be run, where nothing is to be touched.
    pub(crate) dry: Option<String>,
    /// Rows of a history table that would be made.
    pub(crate) dry_rows: Vec<Row>,
    is_locked: bool,
}

impl std::fmt::Debug for Migrator<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Migrator")
            .field("database", &self.database.name())
            .field("history", &self.history)
            .finish_non_exhaustive()
    }
}

impl<'a> Migrator<'a> {
    /// Reads the scripts and asks the database who and where it is. Nothing is changed, but by the project's own
    /// `initSql`.
    ///
    /// # Errors
    /// The scripts cannot be read, or the database refuses.
    pub async fn open(
        database: Box<dyn Database + 'a>,
        settings: &'a Settings,
        observer: &'a mut dyn Observer,
    ) -> Result<Migrator<'a>, Error> {
        let scripts = script::find(settings)?;
        Self::over(database, settings, scripts, Touch::Yes, observer).await
    }

    /// The same, with scripts that were found before. Where nothing is to be touched, of `initSql` only a SET is run,
    /// and what commands would run is kept: [`Migrator::script`] gives it.
    ///
    /// # Errors
    /// As [`Migrator::open`].
    pub async fn over(
        mut database: Box<dyn Database + 'a>,
        settings: &'a Settings,
        scripts: Scripts,
        touch: Touch,
        observer: &'a mut dyn Observer,
    ) -> Result<Migrator<'a>, Error> {
        let engine = database.server().engine;
        let asking = |error| Error::database("asking the database where this is", error);
        let is_setting = |sql: &String| crate::split::words(sql, engine).next().is_some_and(|word| word == "SET");
        if let Some(sql) = settings.init_sql.as_ref().filter(|sql| touch == Touch::Yes || is_setting(sql)) {
            database.execute(sql).await.map_err(|error| Error::database("running `init_sql`", error))?;
        }
        let mut catalog = Catalog::of(database.as_mut());
        let user = catalog.user().await.map_err(asking)?;
        let original_path = catalog.search_path().await.map_err(asking)?;
        let current = catalog.current_schema().await.map_err(asking)?;
        let wanted = settings.default_schema.clone().or_else(|| settings.schemas.first().cloned());
        let schema = wanted.or_else(|| current.clone()).ok_or_else(|| {
            Error::new(ErrorKind::Refused, "the search path of this user names no schema that exists")
                .cure("name one: `default_schema = \"…\"` in `[migrate]`")
        })?;
        let history = History::find(database.as_mut(), &schema, settings.table.as_deref())
            .await
            .map_err(|error| Error::database("looking for the history table", error))?;
        let mut schemas = vec![history.schema.clone()];
        schemas.extend(settings.schemas.iter().filter(|other| **other != schema).cloned());
        let mut migrator = Self {
            database,
            settings,
            observer,
            scripts,
            history,
            schemas,
            engine,
            user,
            original_path,
            is_current: current.as_ref() == Some(&schema),
            now: jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string(),
            dry: (touch == Touch::No)
                .then(|| settings.init_sql.as_ref().map(|sql| format!("{sql};\n")).unwrap_or_default()),
            schema_is_there: false,
            dry_rows: Vec::new(),
            is_locked: false,
        };
        migrator.look_at_scripts()?;
        Ok(migrator)
    }

    /// What would have been run.
    pub fn script(&self) -> &str {
        self.dry.as_deref().unwrap_or_default()
    }

    fn look_at_scripts(&mut self) -> Result<(), Error> {
        let mut scripts = std::mem::take(&mut self.scripts);
        let sealed = scripts.seal(self.settings, |script| self.placeholders(script));
        self.scripts = scripts;
        sealed?;
        for missing in &self.scripts.missing {
            self.observer.warning(&format!("the location `{}` does not exist, and is passed over", missing.display()));
        }
        for (path, why) in &self.scripts.misnamed {
            self.observer.warning(&format!("`{}` is not run: {why}", path.display()));
        }
        Ok(())
    }

    /// The values that a script's placeholders have.
    pub(crate) fn placeholders(&self, script: &Script) -> Placeholders {
        let mut placeholders = self.settings.placeholders.clone();
        let file = script.path.file_name().unwrap_or_default().to_string_lossy();
        let folder = std::path::absolute(&self.settings.folder).unwrap_or_else(|_| self.settings.folder.clone());
        for (name, value) in [
            ("defaultSchema", self.history.schema.as_str()),
            ("user", &self.user),
            ("database", self.database.database()),
            ("timestamp", &self.now),
            ("filename", &file),
            ("workingDirectory", &folder.to_string_lossy()),
            ("table", &self.history.table),
            ("environment", "default"),
        ] {
            placeholders.set(&format!("flyway{}{name}", self.settings.placeholder_separator), value);
        }
        placeholders
    }

    /// Runs a statement; where nothing is to be touched, keeps it.
    pub(crate) async fn write(&mut self, sql: &str) -> Result<(), SqlError> {
        match &mut self.dry {
            Some(script) => {
                writeln!(script, "{sql};").expect("a text has room");
                Ok(())
            }
            None => self.database.execute(sql).await,
        }
    }

    /// Keeps a remark among what would be run.
    pub(crate) fn remark(&mut self, text: &str) {
        if let Some(script) = &mut self.dry {
            let gap = if script.is_empty() { "" } else { "\n" };
            writeln!(script, "{gap}-- {text}").expect("a text has room");
        }
    }

    /// Says what is done, in a real run.
    pub(crate) fn say(&mut self, text: &str) {
        if self.dry.is_none() {
            self.observer.line(text);
        }
    }

    pub(crate) async fn rows(&mut self) -> Result<Vec<Row>, Error> {
        if !self.history.exists {
            return Ok(self.dry_rows.clone());
        }
        self.history
            .rows(self.database.as_mut())
            .await
            .map_err(|error| Error::database(&format!("reading the history {}", self.history.quoted()), error))
    }

    pub(crate) fn standing(&self, rows: &[Row], target: &Target) -> Standing {
        let rules = Rules { target, out_of_order: self.settings.out_of_order };
        state::resolve(rows, &self.scripts.migrations, rules)
    }

    /// Runs the project's scripts for an event, each in a transaction of its own.
    pub(crate) async fn fire(&mut self, event: Event) -> Result<(), Error> {
        for script in self.callbacks(event) {
            self.run_callback(&script, event).await?;
        }
        Ok(())
    }

    pub(crate) fn callbacks(&self, event: Event) -> Vec<Script> {
        self.scripts.callbacks.iter().filter(|(own, _)| *own == event).map(|(_, script)| script.clone()).collect()
    }

    /// Fires the events of a command's end. What they say against it is a warning: the command's own error counts.
    pub(crate) async fn end<T>(
        &mut self,
        result: Result<T, Error>,
        failed: Event,
        finished: Event,
    ) -> Result<T, Error> {
        let events = if result.is_err() { vec![failed, finished] } else { vec![finished] };
        for event in events {
            if let Err(error) = self.fire(event).await {
                self.observer.warning(&error.to_string());
            }
        }
        result
    }

    /// Makes the default schema the first of the search path, and the user the one who connected.
    pub(crate) async fn reset_session(&mut self) -> Result<(), SqlError> {
        if self.dry.is_some() && self.is_current {
            return Ok(());
        }
        self.reset_role().await?;
        let path = self.search_path();
        self.write(&path).await
    }

    /// Makes the user the one who connected.
    pub(crate) async fn reset_role(&mut self) -> Result<(), SqlError> {
        if self.engine != Engine::Postgres || self.dry.is_some() {
            return Ok(());
        }
        self.database.execute(&format!("SET ROLE {}", self.engine.literal(&self.user))).await
    }

    pub(crate) fn search_path(&self) -> String {
        let schema = self.engine.ident(&self.history.schema);
        if self.engine == Engine::DuckDb {
            return format!("USE {}.{schema}", self.engine.ident(self.database.database()));
        }
        let own = path_as_sql(&self.original_path, self.engine);
        let path = match own.as_str() {
            "" => schema,
            _ if self.is_first_in_path() => own,
            _ => format!("{schema}, {own}"),
        };
        format!("SET search_path TO {path}")
    }

    /// Whether the default schema is the first in the path that the session had.
    fn is_first_in_path(&self) -> bool {
        path_names(&self.original_path).first() == Some(&self.history.schema)
    }

    /// Gives the session back the search path that it had.
    pub(crate) async fn restore_session(&mut self) {
        let own = path_as_sql(&self.original_path, self.engine);
        if self.dry.is_none() && self.engine != Engine::DuckDb && !own.is_empty() {
            // The session ends soon; who it belongs to is told nothing of it.
            drop(self.database.execute(&format!("SET search_path TO {own}")).await);
        }
    }

    /// Takes the lock that keeps any Flyway and any Longshore out, for this session. Redshift has none: there each
    /// transaction locks the history table. DuckDB's file is one process's anyway.
    pub(crate) async fn lock(&mut self) -> Result<(), Error> {
        if self.engine != Engine::Postgres || self.dry.is_some() || self.is_locked {
            return Ok(());
        }
        let key = self.history.lock_key();
        let retries = self.settings.lock_retry_count;
        let mut tries = 0;
        loop {
            let taken = self.database.query(&format!("SELECT pg_catalog.pg_try_advisory_lock({key})")).await;
            let taken = taken.map_err(|error| Error::database("taking the lock of the history table", error))?;
            if taken.first().and_then(|row| row.first()?.as_deref()) == Some("t") {
                self.is_locked = true;
                return Ok(());
            }
            if tries == 0 {
                self.say("another migration of this database is under way; waiting for it to end");
            }
            if retries >= 0 && tries >= retries {
                return Err(self.is_locked_by_another(tries).await);
            }
            tries += 1;
            tokio::time::sleep(LOCK_PAUSE).await;
        }
    }

    async fn is_locked_by_another(&mut self, tries: i64) -> Error {
        let sql = format!("SELECT string_agg('process ' || pid, ', ') FROM ({}) AS held", self.holders());
        let holder =
            self.database.query(&sql).await.ok().and_then(|rows| rows.into_iter().next()?.into_iter().next()?);
        let holder = holder.map(|holder| format!(" ({holder} of the server holds it)")).unwrap_or_default();
        Error::new(
            ErrorKind::Locked,
            format!("another migration of this database holds the lock of {}{holder}; tried {tries} times, a second apart", self.history.quoted()),
        )
        .cure("wait for it to end, or end that session (`SELECT pg_terminate_backend(…)`) if nobody is behind it; `lock_retry_count` says how long to wait")
    }

    /// Takes the lock once more if a script gave it away (`DISCARD ALL`, `pg_advisory_unlock_all`). Says whether it was
    /// gone: then the history may have changed.
    pub(crate) async fn hold_lock(&mut self) -> Result<bool, Error> {
        if !self.is_locked {
            return Ok(false);
        }
        let sql = format!("SELECT count(*) FROM ({}) AS held WHERE pid = pg_catalog.pg_backend_pid()", self.holders());
        if self.count(&sql).await? > 0 {
            return Ok(false);
        }
        self.is_locked = false;
        self.lock().await?;
        Ok(true)
    }

    /// Whether another session holds the lock right now: a row that is not done may be of a migration under way.
    pub(crate) async fn is_running(&mut self) -> Result<bool, Error> {
        if self.engine != Engine::Postgres {
            return Ok(false);
        }
        let sql = format!("SELECT count(*) FROM ({}) AS held WHERE pid <> pg_catalog.pg_backend_pid()", self.holders());
        Ok(self.count(&sql).await? > 0)
    }

    async fn count(&mut self, sql: &str) -> Result<u64, Error> {
        let rows = self.database.query(sql).await;
        let rows = rows.map_err(|error| Error::database("looking for the lock of the history table", error))?;
        Ok(rows.first().and_then(|row| row.first()?.as_deref()?.parse().ok()).unwrap_or_default())
    }

    /// The query for the sessions of this database that hold the lock.
    fn holders(&self) -> String {
        format!(
            "SELECT pid FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 \
             AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) \
             AND (CAST(classid AS bigint) << 32) + CAST(objid AS bigint) = {}",
            self.history.lock_key()
        )
    }

    /// Gives the lock back.
    pub(crate) async fn unlock(&mut self) {
        if self.is_locked {
            let key = self.history.lock_key();
            // With the session the lock goes too.
            drop(self.database.query(&format!("SELECT pg_catalog.pg_advisory_unlock({key})")).await);
            self.is_locked = false;
        }
    }

    /// How people know the schema of the history.
    pub(crate) fn schema_shown(&self) -> String {
        self.engine.ident(&self.history.schema)
    }
}

/// The names in a search path as SHOW writes it: with commas between them, in double quotes or not.
fn path_names(path: &str) -> Vec<String> {
    let (mut names, mut name, mut is_quoted) = (Vec::new(), String::new(), false);
    let mut letters = path.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if is_quoted && letters.peek() == Some(&'"') => name.extend(letters.next()),
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => names.push(std::mem::take(&mut name)),
            letter if letter.is_whitespace() && !is_quoted => {}
            letter => name.push(letter),
        }
    }
    names.push(name);
    names.retain(|name| !name.is_empty());
    names
}

/// A search path as SET takes it. Redshift shows the user's own schema without the quotes that it wants.
fn path_as_sql(path: &str, engine: Engine) -> String {
    let quoted = |name: &String| match (name.as_str(), engine) {
        ("$user", Engine::Redshift) => engine.literal(name),
        _ => engine.ident(name),
    };
    path_names(path).iter().map(quoted).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_path_is_written_as_it_is_taken() {
        for (shown, engine, sql) in [
            ("\"$user\", public", Engine::Postgres, "\"$user\", \"public\""),
            ("$user, public", Engine::Redshift, "'$user', \"public\""),
            ("\"a, \"\"b\"", Engine::Postgres, "\"a, \"\"b\""),
            ("\"\"", Engine::Postgres, ""),
            ("", Engine::Postgres, ""),
        ] {
            assert_eq!(path_as_sql(shown, engine), sql, "{shown}");
        }
    }
}
