//! Amazon Redshift, by its stand-in.

use longshore_migrate::{Database, Engine, Error, Migrated, Migrator, Observer, PostgresDatabase};
use longshore_postgres::Config;
use redshift_standin::{Isolation, Mode, ObjectsConfig, Standin, StandinConfig, Unknowns};

use crate::bench::{Bench, ROWS, Told, ask, connect};

struct Redshift {
    bench: Bench,
    standin: Standin,
}

impl Redshift {
    async fn new(files: &[(&str, &str)]) -> Self {
        let bench = Bench::with(files);
        let config = StandinConfig {
            behind: bench.database.admin_url(),
            listen: "127.0.0.1:0".to_owned(),
            user: "awsuser".to_owned(),
            password: "Not-A-Secret-1".to_owned(),
            mode: Mode::Provisioned,
            isolation: Isolation::Snapshot,
            objects: ObjectsConfig { endpoint: None, region: "us-east-1".to_owned(), keys: None },
            roles: Vec::new(),
            unknowns: Unknowns { refuse_truncate_in_block: true, ..Unknowns::default() },
            seed: 7,
        };
        let standin = Standin::start(config).await.expect("a stand-in");
        Self { bench, standin }
    }

    async fn open(&self) -> Box<dyn Database> {
        let config = Config::with_environment(&self.standin.url(), &|_| None).unwrap();
        Box::new(PostgresDatabase::connect(&config, Engine::Redshift).await.unwrap())
    }

    async fn migrate(&self) -> Result<Migrated, Error> {
        let mut told = Told::default();
        Migrator::open(self.open().await, &self.bench.settings, &mut told).await?.migrate().await
    }

    async fn ask(&self, sql: &str) -> Vec<String> {
        ask(&connect(&self.standin.url()).await, sql).await
    }

    async fn rows(&self) -> Vec<String> {
        self.ask(&format!("{ROWS} flyway_schema_history ORDER BY installed_rank")).await
    }
}

const SEED: &str = include_str!("seed/V1__initial_tables.sql");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_recipe_s_own_ddl_is_applied_as_it_is() {
    let redshift = Redshift::new(&[
        ("V1__initial_tables.sql", SEED),
        ("V2__more.sql", "ALTER TABLE titanic ADD COLUMN note VARCHAR(20);\n"),
    ])
    .await;
    assert_eq!(redshift.migrate().await.unwrap().migrations_executed, 2);
    assert_eq!(
        redshift.rows().await,
        [
            "1|1|initial tables|SQL|V1__initial_tables.sql|-2076166630|t",
            &format!(
                "2|2|more|SQL|V2__more.sql|{}|t",
                longshore_migrate::checksum("ALTER TABLE titanic ADD COLUMN note VARCHAR(20);\n")
            )
        ]
    );
    assert_eq!(redshift.migrate().await.unwrap().migrations_executed, 0);
    let keys = "SELECT \"column\", distkey, sortkey FROM pg_table_def WHERE tablename = 'titanic' AND \"column\" = 'pasengerid'";
    assert_eq!(redshift.ask(keys).await, ["pasengerid|t|1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_migration_takes_its_row_with_it() {
    let redshift = Redshift::new(&[("V1__a.sql", "CREATE TABLE a (id INT);\nINSERT INTO a VALUES ('x');\n")]).await;
    let error = redshift.migrate().await.unwrap_err();
    assert!(error.to_string().contains("V1__a.sql` failed at line 2"), "{error}");
    assert!(redshift.rows().await.is_empty());
    assert_eq!(redshift.ask("SELECT count(*) FROM pg_table_def WHERE tablename = 'a'").await, ["0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outside_of_a_transaction_the_row_comes_first() {
    let redshift = Redshift::new(&[
        ("V1__a.sql", "CREATE TABLE a (id INT);\n"),
        ("V2__vac.sql", "VACUUM a;\n"),
        ("V3__empty.sql", "TRUNCATE a;\nSELECT nonsense;\n"),
    ])
    .await;
    redshift.migrate().await.unwrap_err();
    let rows = redshift.rows().await;
    assert!(rows[1].ends_with("|t") && rows[2].ends_with("|f"), "{rows:?}");
    assert!(redshift.migrate().await.unwrap_err().to_string().contains("failed"));
    let mut told = Told::default();
    Migrator::open(redshift.open().await, &redshift.bench.settings, &mut told).await.unwrap().repair().await.unwrap();
    assert_eq!(redshift.rows().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_at_once_apply_everything_once() {
    let redshift = Redshift::new(&[
        ("V1__a.sql", "CREATE TABLE a (id INT);\n"),
        ("V2__b.sql", "CREATE TABLE b (id INT);\n"),
        ("V3__c.sql", "INSERT INTO a VALUES (1);\n"),
    ])
    .await;
    let (one, two) = tokio::join!(redshift.migrate(), redshift.migrate());
    assert_eq!(one.unwrap().migrations_executed + two.unwrap().migrations_executed, 3);
    assert_eq!(redshift.rows().await.len(), 3);
    assert_eq!(redshift.ask("SELECT count(*) FROM a").await, ["1"]);
}

/// Has somebody else migrate at the point where it was seen that there is no history.
struct Overtaken<'a> {
    redshift: &'a Redshift,
    theirs: Option<usize>,
}

impl Observer for Overtaken<'_> {
    fn line(&mut self, _: &str) {}

    fn warning(&mut self, _: &str) {}

    fn passed(&mut self, point: &'static str) {
        if point == "schemas" {
            let theirs = || tokio::runtime::Runtime::new().unwrap().block_on(self.redshift.migrate());
            let theirs = std::thread::scope(|scope| scope.spawn(theirs).join().unwrap());
            self.theirs = Some(theirs.unwrap().migrations_executed);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_overtaken_finds_the_work_done() {
    let redshift = Redshift::new(&[("V1__a.sql", "CREATE TABLE a (id INT);\n")]).await;
    let mut overtaken = Overtaken { redshift: &redshift, theirs: None };
    let mut migrator = Migrator::open(redshift.open().await, &redshift.bench.settings, &mut overtaken).await.unwrap();
    assert_eq!(migrator.migrate().await.unwrap().migrations_executed, 0);
    drop(migrator);
    assert_eq!(overtaken.theirs, Some(1));
    assert_eq!(redshift.rows().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clean_and_baseline_work_there_too() {
    let mut redshift = Redshift::new(&[("V1__a.sql", SEED), ("V2__b.sql", "CREATE TABLE b (id INT);\n")]).await;
    redshift.migrate().await.unwrap();
    redshift.bench.settings.clean_disabled = false;
    let mut told = Told::default();
    Migrator::open(redshift.open().await, &redshift.bench.settings, &mut told).await.unwrap().clean().await.unwrap();
    assert_eq!(redshift.ask("SELECT count(*) FROM pg_table_def WHERE schemaname = 'public'").await, ["0"]);
    let mut told = Told::default();
    Migrator::open(redshift.open().await, &redshift.bench.settings, &mut told).await.unwrap().baseline().await.unwrap();
    assert_eq!(redshift.rows().await, ["1|1|<< Flyway Baseline >>|BASELINE|<< Flyway Baseline >>|∅|t"]);
}
