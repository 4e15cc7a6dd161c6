//! DuckDB passes the conformance suite, and keeps what it promises beyond it.

mod conformance {
    use async_trait::async_trait;
    use longshore_warehouse::ColumnType;
    use longshore_warehouse::Warehouse;
    use longshore_warehouse::testing::DuckDbBench;
    use longshore_warehouse::testing::conformance::{Bench, TextRoute};
    use std::sync::Arc;

    /// A bench whose file goes with its folder.
    struct Temporary {
        bench: DuckDbBench,
        _folder: tempfile::TempDir,
    }

    fn bench() -> Temporary {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Temporary { bench: DuckDbBench::new(&folder.path().join("w.duckdb")), _folder: folder }
    }

    #[async_trait]
    impl Bench for Temporary {
        fn warehouse(&self) -> Arc<dyn Warehouse> {
            self.bench.warehouse()
        }
        fn rival(&self) -> Arc<dyn Warehouse> {
            self.bench.rival()
        }
        async fn execute(&self, sql: &str) {
            self.bench.execute(sql).await;
        }
        async fn query(&self, sql: &str) -> Vec<Vec<Option<String>>> {
            self.bench.query(sql).await
        }
        fn types(&self) -> Vec<ColumnType> {
            self.bench.types()
        }
        fn text_routes(&self) -> Vec<TextRoute> {
            self.bench.text_routes()
        }
    }

    longshore_warehouse::conformance_tests!(super::super::conformance::bench);
}
