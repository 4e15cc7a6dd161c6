//! How long `info` and a `migrate` with nothing to do take with a thousand scripts, on a private PostgreSQL.
//!
//! `cargo bench -p longshore-migrate` prints the figures; the targets are 0.2 s and 0.3 s, connecting included.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and ends where it cannot go on")]

use std::time::{Duration, Instant};

use longshore_migrate::{Engine, Migrator, Observer, PostgresDatabase, Settings};
use longshore_postgres::Config;
use longshore_postgres::testing::Server;

const SCRIPTS: usize = 1_000;
const RUNS: usize = 5;

struct Silent;

impl Observer for Silent {
    fn line(&mut self, _: &str) {}

    fn warning(&mut self, _: &str) {}
}

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let migrations = folder.path().join("migrations");
    std::fs::create_dir(&migrations).unwrap();
    for n in 1..=SCRIPTS {
        let text =
            format!("CREATE TABLE t{n} (\n  id bigint NOT NULL,\n  name varchar(200),\n  total numeric(12,2)\n);\n");
        std::fs::write(migrations.join(format!("V{n}__create_table_number_{n}.sql")), text).unwrap();
    }
    let database = Server::shared().database();
    let settings = Settings { folder: folder.path().to_owned(), ..Settings::default() };
    let url = database.url();
    let first = Instant::now();
    assert_eq!(migrate(&url, &settings).await, SCRIPTS);
    println!("{SCRIPTS} scripts applied: {:.2} s", first.elapsed().as_secs_f64());
    let mut times: [Vec<Duration>; 2] = Default::default();
    for _ in 0..RUNS {
        let started = Instant::now();
        assert_eq!(info(&url, &settings).await, SCRIPTS);
        times[0].push(started.elapsed());
        let started = Instant::now();
        assert_eq!(migrate(&url, &settings).await, 0);
        times[1].push(started.elapsed());
    }
    for (what, times) in ["info", "migrate, nothing to do"].iter().zip(&mut times) {
        times.sort();
        println!("{what}: {:.3} s (median of {RUNS})", times[RUNS / 2].as_secs_f64());
    }
}

async fn open(url: &str) -> Box<PostgresDatabase> {
    let config = Config::with_environment(url, &|_| None).unwrap();
    Box::new(PostgresDatabase::connect(&config, Engine::Postgres).await.unwrap())
}

async fn migrate(url: &str, settings: &Settings) -> usize {
    let mut silent = Silent;
    Migrator::open(open(url).await, settings, &mut silent).await.unwrap().migrate().await.unwrap().migrations_executed
}

async fn info(url: &str, settings: &Settings) -> usize {
    let mut silent = Silent;
    let info = Migrator::open(open(url).await, settings, &mut silent).await.unwrap().info().await.unwrap();
    assert!(!info.to_table().is_empty());
    info.migrations.len()
}
