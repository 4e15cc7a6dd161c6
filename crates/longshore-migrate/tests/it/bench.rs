//! A folder of scripts, and a database of its own.

use std::path::Path;

use longshore_migrate::{Database, Engine, Error, Info, Migrated, Migrator, Observer, PostgresDatabase, Settings};
use longshore_postgres::testing::{Database as Lent, Server};
use longshore_postgres::{Config, Connection};
use tempfile::TempDir;
use tokio_postgres::SimpleQueryMessage;

/// Keeps what it is told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) lines: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

impl Observer for Told {
    fn line(&mut self, text: &str) {
        self.lines.push(text.to_owned());
    }

    fn warning(&mut self, text: &str) {
        self.warnings.push(text.to_owned());
    }
}

pub(crate) struct Bench {
    pub(crate) database: Lent<'static>,
    pub(crate) folder: TempDir,
    pub(crate) settings: Settings,
    pub(crate) told: Told,
}

pub(crate) async fn connect(url: &str) -> Connection {
    Config::with_environment(url, &|_| None).expect("a URL").connect().await.expect("a connection")
}

/// Rows as texts, fields with `|` between them, `∅` for NULL.
pub(crate) async fn ask(connection: &Connection, sql: &str) -> Vec<String> {
    let messages = connection.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    rows.map(|row| (0..row.len()).map(|at| row.get(at).unwrap_or("∅")).collect::<Vec<_>>().join("|")).collect()
}

/// What the reference shows of a history.
pub(crate) const ROWS: &str = "SELECT installed_rank, version, description, type, script, checksum, success FROM";

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("migrations")).unwrap();
        let settings = Settings { folder: folder.path().to_owned(), ..Settings::default() };
        let database = Server::shared().database();
        // In PostgreSQL 15 nobody but the owner of the database may create in `public`.
        database.sql("GRANT ALL ON SCHEMA public TO longshore");
        Self { database, folder, settings, told: Told::default() }
    }

    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        let bench = Self::new();
        files.iter().for_each(|(name, text)| bench.write(name, text));
        bench
    }

    pub(crate) fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.set(key, value).unwrap();
        self
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.folder.path().join("migrations").join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new(""))).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        std::fs::remove_file(self.folder.path().join("migrations").join(name)).unwrap();
    }

    pub(crate) async fn open(&self) -> Box<dyn Database> {
        let config = Config::with_environment(&self.database.url(), &|_| None).unwrap();
        Box::new(PostgresDatabase::connect(&config, Engine::Postgres).await.unwrap())
    }

    pub(crate) async fn migrate(&mut self) -> Result<Migrated, Error> {
        let database = self.open().await;
        self.told = Told::default();
        Migrator::open(database, &self.settings, &mut self.told).await?.migrate().await
    }

    /// Runs what is pending, and says how many that were.
    pub(crate) async fn migrated(&mut self) -> usize {
        self.migrate().await.unwrap_or_else(|error| panic!("{error}")).migrations_executed
    }

    pub(crate) async fn info(&mut self) -> Info {
        let database = self.open().await;
        Migrator::open(database, &self.settings, &mut self.told).await.unwrap().info().await.unwrap()
    }

    /// Versions or descriptions, with their states.
    pub(crate) async fn states(&mut self) -> Vec<String> {
        let info = self.info().await;
        let name = |version: &str, description: &str| {
            if version.is_empty() { description.to_owned() } else { version.to_owned() }
        };
        info.migrations.iter().map(|one| format!("{} {}", name(&one.version, &one.description), one.state)).collect()
    }

    pub(crate) async fn ask(&self, sql: &str) -> Vec<String> {
        ask(&connect(&self.database.url()).await, sql).await
    }

    pub(crate) async fn run(&self, sql: &str) {
        connect(&self.database.url()).await.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    pub(crate) async fn rows(&self) -> Vec<String> {
        self.ask(&format!("{ROWS} flyway_schema_history ORDER BY installed_rank")).await
    }
}
