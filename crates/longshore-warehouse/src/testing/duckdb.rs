//! A DuckDB file in a temporary folder, for tests.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::conformance::{Bench, TextRoute};
use crate::duckdb::{DuckDb, DuckDbConfig};
use crate::{ColumnType, Warehouse, WarehouseError};

/// Lends a warehouse in a DuckDB file of its own, and looks into it from the same process.
#[derive(Debug)]
pub struct DuckDbBench {
    warehouse: Arc<DuckDb>,
    config: DuckDbConfig,
}

/// How long the bench's warehouses wait for a fence or file: longer than any step of a case, short
/// enough that a case that waits for `Busy` is soon done.
const WAIT: Duration = Duration::from_millis(1500);

impl DuckDbBench {
    /// A bench for this file, which need not exist.
    pub fn new(path: &Path) -> Self {
        let config = DuckDbConfig { path: path.to_owned(), memory_limit: 1 << 30, threads: Some(2), wait: WAIT };
        Self { warehouse: Arc::new(DuckDb::new(config.clone())), config }
    }

    /// The rows of a query as texts, without panicking.
    ///
    /// # Errors
    /// What DuckDB says.
    pub async fn try_query(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, WarehouseError> {
        self.warehouse.query(sql).await
    }
}

#[async_trait]
impl Bench for DuckDbBench {
    fn warehouse(&self) -> Arc<dyn Warehouse> {
        self.warehouse.clone()
    }

    fn rival(&self) -> Arc<dyn Warehouse> {
        Arc::new(DuckDb::new(self.config.clone()))
    }

    async fn execute(&self, sql: &str) {
        // DuckDB computes generated columns when they are read, and knows no other kind.
        let sql = &sql.replace(") STORED", ")");
        self.warehouse
            .execute(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}: {}", error.server_text().unwrap_or_default()));
    }

    async fn query(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.try_query(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}: {}", error.server_text().unwrap_or_default()))
    }

    fn types(&self) -> Vec<ColumnType> {
        let mut types = super::conformance::common_types();
        types.extend([
            ColumnType::Int8,
            ColumnType::UInt8,
            ColumnType::UInt16,
            ColumnType::UInt32,
            ColumnType::UInt64,
            ColumnType::Enum(vec!["small".to_owned(), "it's".to_owned(), "a, b".to_owned()]),
        ]);
        types
    }

    fn text_routes(&self) -> Vec<TextRoute> {
        let route = |type_sql, good: &[(&'static str, &'static str)], bad: &[&'static str]| TextRoute {
            type_sql,
            good: good.to_vec(),
            bad: bad.to_vec(),
        };
        vec![
            route("INTEGER[]", &[("[1, 2]", "[1, 2]"), ("[]", "[]")], &["one", "[1, x]"]),
            route(
                "HUGEINT",
                &[
                    ("170141183460469231731687303715884105727", "170141183460469231731687303715884105727"),
                    ("-170141183460469231731687303715884105728", "-170141183460469231731687303715884105728"),
                ],
                // A plain cast would round these.
                &["1.5", "1e3", "170141183460469231731687303715884105728"],
            ),
            route(
                "INTERVAL",
                &[
                    ("1 day", "1 day"),
                    ("2 months 3 days 04:05:06.25", "2 months 3 days 04:05:06.25"),
                    ("-90 s", "-00:01:30"),
                ],
                // DuckDB would drop the offset, the seventh digit, or guess the unit.
                &["a while", "12:00:00+02", "20240101", "0.9999999 seconds"],
            ),
            route(
                "TIMETZ",
                &[("12:30:00+02", "12:30:00+02"), ("12:30:00.5+00", "12:30:00.5+00")],
                &["noon", "epoch", "2024-01-01T00:00:00+05:30", "12:30:00.1234567+02"],
            ),
            route("STRUCT(a INTEGER, b VARCHAR)", &[("{'a': 1, 'b': x}", "{'a': 1, 'b': x}")], &["1"]),
        ]
    }
}
