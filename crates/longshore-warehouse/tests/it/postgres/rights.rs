//! What a user may do, and what is said when it is not enough.

use std::sync::Arc;

use longshore_postgres::testing::Server;
use longshore_warehouse::testing::PostgresBench;
use longshore_warehouse::testing::conformance::*;
use longshore_warehouse::{Committed, Kind, Mode, Severity, Warehouse, WarehouseError};

/// A user of the bench's database who is nobody's owner, and a warehouse as that user.
fn loader(bench: &PostgresBench) -> (String, Arc<dyn Warehouse>) {
    let role = format!("loader_{}", bench.database().name());
    Server::shared().role(&role, "secret", "");
    let url = format!("postgres://{role}:secret@127.0.0.1:{}/{}", Server::shared().port(), bench.database().name());
    let warehouse = bench.warehouse_at(&url);
    (role, warehouse)
}

async fn load_as(warehouse: &Arc<dyn Warehouse>, mode: Mode, key: &str) -> Result<Committed, WarehouseError> {
    let objects = [object(key, 1, &["1|1", "2|2"])];
    let mut spec = plan(warehouse.as_ref(), "t", mode, &["id", "n"], &objects).await;
    spec.load_id = longshore_warehouse::LoadId::draw();
    try_load_with(warehouse.as_ref(), spec, &objects).await
}

#[tokio::test]
async fn an_append_needs_insert_and_nothing_more() {
    let bench = PostgresBench::new();
    bench.execute("CREATE TABLE t (id int PRIMARY KEY, n int)").await;
    let (role, warehouse) = loader(&bench);

    let error = load_as(&warehouse, Mode::Append, "a").await.expect_err("no ledger");
    assert_eq!(*error.kind(), Kind::AccessDenied);
    assert!(error.hint().is_some_and(|hint| hint.contains("--print-sql") && hint.contains("CREATE ON DATABASE")));
    let findings = warehouse.check(&[(name("t"), Mode::Append)]).await;
    assert!(findings.iter().any(|finding| finding.severity == Severity::Fault), "{findings:?}");

    // Somebody else creates the ledger.
    let (create, grant) = {
        let sql = warehouse.ledger_sql().await.expect("statements");
        let at = sql.find("GRANT").expect("rights for the user who loads");
        (sql[..at].to_owned(), sql[at..].to_owned())
    };
    bench.database().sql(&create);
    let error = warehouse.lookup(&name("t"), &[]).await.expect_err("no right to the ledger");
    assert_eq!(*error.kind(), Kind::AccessDenied);
    assert!(error.hint().is_some_and(|hint| hint.contains("longshore.ledger")), "{:?}", error.hint());
    bench.database().sql(&grant);
    let error = load_as(&warehouse, Mode::Append, "a").await.expect_err("no right to the table");
    assert_eq!(*error.kind(), Kind::AccessDenied);
    assert!(error.hint().is_some_and(|hint| hint.contains("GRANT INSERT ON public.t TO")), "{:?}", error.hint());

    bench.database().sql(&format!("GRANT INSERT ON t TO {role}"));
    assert!(matches!(load_as(&warehouse, Mode::Append, "a").await, Ok(Committed::Loaded(_))));
    let findings = warehouse.check(&[(name("t"), Mode::Append)]).await;
    assert!(findings.iter().all(|finding| finding.severity < Severity::Fault), "{findings:?}");

    let faults = async |mode: Mode| {
        let findings = warehouse.check(&[(name("t"), mode)]).await;
        findings.into_iter().filter(|finding| finding.severity == Severity::Fault).collect::<Vec<_>>()
    };
    for (mode, rights) in [(upsert(&["id"]), "SELECT, UPDATE"), (Mode::Replace, "DELETE")] {
        let found = faults(mode).await;
        assert!(found.len() == 1 && found[0].message.contains(rights), "{found:?}");
        assert!(found[0].cure.as_deref().is_some_and(|cure| cure.contains(&format!("GRANT {rights} ON public.t TO"))));
    }
    let error = load_as(&warehouse, upsert(&["id"]), "b").await.expect_err("more rights");
    assert!(error.to_string().contains("SELECT, UPDATE"), "{error}");
    let error = load_as(&warehouse, Mode::Replace, "b").await.expect_err("more rights");
    assert!(error.to_string().contains("DELETE"), "{error}");
    bench.database().sql(&format!("GRANT SELECT, UPDATE ON t TO {role}"));
    assert!(matches!(load_as(&warehouse, upsert(&["id"]), "b").await, Ok(Committed::Loaded(_))));
    bench.database().sql(&format!("GRANT DELETE ON t TO {role}"));
    assert!(matches!(load_as(&warehouse, Mode::Replace, "c").await, Ok(Committed::Loaded(_))));

    // A schema that may not be used, and no place to stage rows in.
    bench
        .database()
        .sql(&format!("CREATE SCHEMA shop; CREATE TABLE shop.t (id int, n int); GRANT ALL ON shop.t TO {role}"));
    let shop: longshore_warehouse::TableName = "shop.t".parse().expect("a name");
    let cure = "GRANT USAGE ON SCHEMA \"shop\" TO";
    let findings = warehouse.check(&[(shop, Mode::Append)]).await;
    assert!(
        findings.iter().any(|found| found.cure.as_deref().is_some_and(|text| text.starts_with(cure))),
        "{findings:?}"
    );
    bench.database().sql(&format!("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC", bench.database().name()));
    let found = faults(Mode::Replace).await;
    assert!(found.len() == 1 && found[0].message.contains("temporary"), "{found:?}");
    assert_eq!(faults(Mode::Append).await.len(), 0);
    bench.database().sql(&format!("DROP OWNED BY {role}"));
}

#[tokio::test]
async fn without_temporary_tables_rows_are_staged_in_our_schema() {
    let bench = PostgresBench::new();
    bench.execute("CREATE TABLE t (id int PRIMARY KEY, n int CHECK (n < 100))").await;
    let (role, warehouse) = loader(&bench);
    bench.database().sql(&warehouse.ledger_sql().await.expect("statements"));
    bench.database().sql(&format!(
        "REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC; GRANT CREATE, USAGE ON SCHEMA longshore TO {role};
         GRANT ALL ON ALL TABLES IN SCHEMA longshore TO {role}; GRANT ALL ON t TO {role}",
        bench.database().name()
    ));
    assert!(matches!(load_as(&warehouse, upsert(&["id"]), "a").await, Ok(Committed::Loaded(_))));
    assert!(matches!(load_as(&warehouse, Mode::Replace, "b").await, Ok(Committed::Loaded(_))));
    let objects = [object("bad", 5, &["1|1", "2|100"])];
    let spec = plan(warehouse.as_ref(), "t", upsert(&["id"]), &["id", "n"], &objects).await;
    let (_, line, _) = refused_at(try_load_with(warehouse.as_ref(), spec, &objects).await);
    assert_eq!(line, Some(3));
    let left = bench.database().sql("SELECT count(*) FROM pg_class WHERE relname LIKE 'ls%' OR relname LIKE '\\_ls%'");
    assert_eq!(left.as_deref(), Some("0"));
    bench.database().sql(&format!("DROP OWNED BY {role}"));
}

#[tokio::test]
async fn a_newer_ledger_is_left_alone() {
    let bench = PostgresBench::new();
    bench.execute("CREATE TABLE t (id int, n int)").await;
    bench.database().sql(&bench.warehouse().ledger_sql().await.expect("statements"));
    bench.database().sql("UPDATE longshore.meta SET version = 2");
    bench
        .database()
        .sql("GRANT ALL ON SCHEMA longshore TO PUBLIC; GRANT ALL ON ALL TABLES IN SCHEMA longshore TO PUBLIC");
    assert_eq!(kind_of(bench.warehouse().lookup(&name("t"), &[]).await), Kind::Ledger);
}

#[tokio::test]
async fn many_who_create_the_ledger_at_once_create_one() {
    let bench = PostgresBench::new();
    bench.execute("CREATE TABLE t (id int, n int)").await;
    let warehouses: Vec<_> = (0..8).map(|_| bench.rival()).collect();
    let checks = warehouses.iter().map(|warehouse| async {
        let tables = [(name("t"), Mode::Append)];
        warehouse.check(&tables).await
    });
    for findings in futures::future::join_all(checks).await {
        assert!(findings.iter().all(|finding| finding.severity < Severity::Fault), "{findings:?}");
    }
    assert_eq!(bench.row_count("longshore.meta").await, 1);
}

#[tokio::test]
async fn a_server_on_which_nobody_may_write_is_named() {
    let bench = PostgresBench::new();
    bench.execute("CREATE TABLE t (id int, n int)").await;
    bench.warehouse().check(&[]).await;
    bench.database().sql(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", bench.database().name()));
    let warehouse = bench.rival();
    let error = load_as(&warehouse, Mode::Append, "a").await.expect_err("read-only");
    assert!(error.to_string().contains("read-only"), "{error}");
    let findings = warehouse.check(&[(name("t"), Mode::Append)]).await;
    assert!(findings.iter().any(|finding| finding.message.contains("read-only")), "{findings:?}");
}
