//! A database of its own in a private PostgreSQL server, for tests.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use longshore_postgres::testing::{Database, Server};
use longshore_postgres::{Config, Connection};
use tokio::sync::OnceCell;
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::types::Type;

use super::conformance::{Bench, Constraint, TextRoute};
use crate::postgres::{Postgres, PostgresConfig};
use crate::{ColumnType, Warehouse};

/// Lends a warehouse in a database of its own, and looks into it as its owner.
#[derive(Debug)]
pub struct PostgresBench {
    warehouse: Arc<Postgres>,
    connection: OnceCell<Connection>,
    database: Database<'static>,
}

/// How long the bench's warehouses wait for a fence: longer than any step of a case, short enough that
/// a case that waits for `Busy` is soon done.
const WAIT: Duration = Duration::from_millis(1500);

/// How long they wait for a server that has stopped to answer.
const PATIENCE: Duration = Duration::from_secs(8);

impl PostgresBench {
    /// A bench with a new database in the server that tests share.
    pub fn new() -> Self {
        let database = Server::shared().database();
        let warehouse = Arc::new(Postgres::new(config(&database.url())));
        Self { warehouse, connection: OnceCell::new(), database }
    }

    /// Its database.
    pub fn database(&self) -> &Database<'static> {
        &self.database
    }

    /// Another warehouse on the same database, by this URL.
    pub fn warehouse_at(&self, url: &str) -> Arc<dyn Warehouse> {
        Arc::new(Postgres::new(config(url)))
    }

    /// The warehouse as another project has it.
    pub fn of_another_project(&self) -> Arc<dyn Warehouse> {
        let config = config(&self.database.url());
        Arc::new(Postgres::new(PostgresConfig { project: "another".to_owned(), ..config }))
    }

    async fn connection(&self) -> &Connection {
        let connect = || async {
            let config = Config::with_environment(&self.database.url(), &|_| None).expect("a URL");
            let connection = config.connect().await.expect("a connection");
            connection.batch_execute("SET TimeZone = 'UTC'").await.expect("a setting");
            connection
        };
        self.connection.get_or_init(connect).await
    }
}

impl Default for PostgresBench {
    fn default() -> Self {
        Self::new()
    }
}

fn config(url: &str) -> PostgresConfig {
    PostgresConfig {
        connect: Config::with_environment(url, &|_| None).expect("a URL"),
        wait: WAIT,
        patience: PATIENCE,
        project: "suite".to_owned(),
    }
}

/// A value in the words of [`Bench::query`].
fn shown(text: &str, ty: &Type) -> String {
    match *ty {
        Type::BOOL => if text == "t" { "true" } else { "false" }.to_owned(),
        Type::BYTEA => text.trim_start_matches("\\x").to_owned(),
        Type::FLOAT4 | Type::FLOAT8 if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') => {
            format!("{text}.0")
        }
        _ => text.to_owned(),
    }
}

#[async_trait]
impl Bench for PostgresBench {
    fn warehouse(&self) -> Arc<dyn Warehouse> {
        self.warehouse.clone()
    }

    fn rival(&self) -> Arc<dyn Warehouse> {
        self.warehouse_at(&self.database.url())
    }

    async fn execute(&self, sql: &str) {
        let done = self.connection().await.batch_execute(sql).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    async fn query(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let connection = self.connection().await;
        let statement = connection.prepare(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let types: Vec<Type> = statement.columns().iter().map(|column| column.type_().clone()).collect();
        let answers = connection.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let rows = answers.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        rows.map(|row| types.iter().enumerate().map(|(n, ty)| row.get(n).map(|text| shown(text, ty))).collect())
            .collect()
    }

    fn enforces(&self, _constraint: Constraint) -> bool {
        true
    }

    async fn swallow_thirteen(&self, table: &str) -> bool {
        self.execute(&format!(
            "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
             CREATE TRIGGER swallow BEFORE INSERT ON {table} FOR EACH ROW WHEN (NEW.id = 13) EXECUTE FUNCTION swallow()"
        ))
        .await;
        true
    }

    fn types(&self) -> Vec<ColumnType> {
        super::conformance::common_types()
    }

    fn text_routes(&self) -> Vec<TextRoute> {
        let route = |type_sql, good: &[(&'static str, &'static str)], bad: &[&'static str]| TextRoute {
            type_sql,
            good: good.to_vec(),
            bad: bad.to_vec(),
        };
        vec![
            route("INTEGER[]", &[("{1,2}", "{1,2}"), ("{}", "{}")], &["one", "{1,x}", "{1.5}"]),
            route(
                "TEXT[]",
                &[(r#"{"a\\b","c d",NULL}"#, r#"{"a\\b","c d",NULL}"#), ("{\"x\ty\n\"}", "{\"x\ty\n\"}")],
                &["a"],
            ),
            route("INET", &[("10.0.0.1", "10.0.0.1"), ("fe80::1/64", "fe80::1/64")], &["10.0.0", "10.0.0.1/33"]),
            route("INT4RANGE", &[("[1,5)", "[1,5)"), ("empty", "empty")], &["[5,1)", "1-5"]),
            route(
                "NUMERIC",
                &[
                    ("NaN", "NaN"),
                    ("1234567890123456789012345678901234567890.5", "1234567890123456789012345678901234567890.5"),
                ],
                &["one", "1,5", ""],
            ),
            // A plain cast would round these.
            route("NUMERIC(40, 2)", &[("1.5", "1.50"), ("1.230", "1.23")], &["1.234", "1e-3", "1e39"]),
            route("MONEY", &[("1.5", "$1.50"), ("$1,234.50", "$1,234.50")], &["1.234", "x"]),
            route(
                "INTERVAL",
                &[
                    ("1 day", "1 day"),
                    ("2 months 3 days 04:05:06.25", "2 mons 3 days 04:05:06.25"),
                    ("-90 s", "-00:01:30"),
                ],
                &["a while", "0.9999999 seconds"],
            ),
            route(
                "TIMETZ",
                &[("12:30:00+02", "12:30:00+02"), ("12:30:00.5+00", "12:30:00.5+00"), ("1:30", "01:30:00+00")],
                &["noon", "now", "2024-01-01T00:00:00+05:30", "12:30:00.1234567+02"],
            ),
            route("DATE[]", &[("{2024-01-01,NULL}", "{2024-01-01,NULL}")], &["{today}", "{2024-13-01}"]),
            route("NUMERIC(5, 2)[]", &[("{1.5,2}", "{1.50,2.00}")], &["{1.555}", "{x}"]),
            route("BIT(3)", &[("101", "101")], &["10", "102"]),
            route("OID", &[("7", "7")], &["-1", "x"]),
            route("POINT", &[("(1,2)", "(1,2)")], &["1"]),
        ]
    }
}
