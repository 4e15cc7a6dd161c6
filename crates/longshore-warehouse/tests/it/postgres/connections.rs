//! Connections that break, servers that stop, loads that are given up.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use longshore_postgres::testing::{Fault, Moment, Options, Proxy, Server};
use longshore_warehouse::testing::PostgresBench;
use longshore_warehouse::testing::conformance::*;
use longshore_warehouse::{Committed, Kind, Load, LoadId, Mode, Warehouse, WarehouseError};

const COLUMNS: [&str; 2] = ["id", "n"];

async fn bench() -> PostgresBench {
    let bench = PostgresBench::new();
    bench.execute("CREATE TABLE t (id int PRIMARY KEY, n int)").await;
    bench
}

async fn begun(warehouse: &Arc<dyn Warehouse>, mode: Mode, object: &Object) -> (LoadId, Box<dyn Load>) {
    let objects = std::slice::from_ref(object);
    let spec = plan(warehouse.as_ref(), "t", mode, &COLUMNS, objects).await;
    let table = warehouse.describe(&spec.table).await.expect("a table");
    let id = spec.load_id;
    let mut load = open(warehouse.as_ref(), spec.clone()).await;
    write_all(&mut load, &table, &spec, objects, 1).await.expect("room");
    (id, load)
}

async fn load_once(warehouse: &Arc<dyn Warehouse>, mode: Mode, object: &Object) -> Result<Committed, WarehouseError> {
    let objects = std::slice::from_ref(object);
    let spec = plan(warehouse.as_ref(), "t", mode, &COLUMNS, objects).await;
    try_load_with(warehouse.as_ref(), spec, objects).await
}

/// Waits until the server runs no load in this database.
async fn no_backend(bench: &PostgresBench) {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'longshore %'";
    for _ in 0..100 {
        if bench.query(sql).await[0][0].as_deref() == Some("0") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("a backend is left");
}

#[tokio::test]
async fn a_commit_that_was_cut_off_is_settled_by_beginning_again() {
    let bench = bench().await;
    let proxy = Proxy::start(bench.database().server());
    let warehouse = bench.warehouse_at(&bench.database().url_at(proxy.port()));
    for (n, mode) in [Mode::Append, upsert(&["id"]), Mode::Replace].into_iter().enumerate() {
        let n = n as i64;
        // The rows of one mode are not those of the next.
        let rows = [format!("{}|1", n * 10), format!("{}|1", n * 10 + 1)];
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let object = object("a", n, &rows);
        warehouse.check(&[]).await;
        let fault = proxy.at_next(Fault::CutBefore(Moment::run("COMMIT WORK")));
        assert_eq!(kind_of(load_once(&warehouse, mode.clone(), &object).await), Kind::OutcomeUnknown);
        assert!(fault.has_happened());
        no_backend(&bench).await;
        proxy.at_next(Fault::CutAfter(Moment::run("COMMIT WORK")));
        assert_eq!(kind_of(load_once(&warehouse, mode.clone(), &object).await), Kind::OutcomeUnknown);
        let answer = load_once(&warehouse, mode, &object).await;
        assert!(matches!(answer, Ok(Committed::AlreadyIn(_))), "{answer:?}");
    }
    assert_eq!(bench.row_count("longshore.ledger").await, 3);
}

#[tokio::test]
async fn a_connection_that_breaks_before_commit_loads_nothing() {
    let bench = bench().await;
    let proxy = Proxy::start(bench.database().server());
    let warehouse = bench.warehouse_at(&bench.database().url_at(proxy.port()));
    warehouse.check(&[]).await;
    let object = object("a", 1, &["1|1", "2|2"]);
    for fault in [
        Fault::CutBefore(Moment::run("pg_advisory_xact_lock")),
        Fault::CutAfter(Moment::run("pg_advisory_xact_lock")),
        Fault::CutBefore(Moment::CopyData),
        Fault::CutBefore(Moment::CopyDone),
        Fault::CutAfter(Moment::CopyDone),
        Fault::Garbage(Moment::CopyDone),
        Fault::Garbage(Moment::run("SET CONSTRAINTS")),
        Fault::CutBefore(Moment::run("INSERT INTO longshore.ledger")),
    ] {
        let pending = proxy.at_next(fault.clone());
        let failed = load_once(&warehouse, Mode::Append, &object).await;
        pending.happened().await;
        assert_eq!(kind_of(failed), Kind::Unreachable, "{fault:?}");
        no_backend(&bench).await;
        assert_eq!(bench.row_count("t").await, 0);
    }
    assert!(matches!(load_once(&warehouse, Mode::Append, &object).await, Ok(Committed::Loaded(_))));
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up() {
    let bench = bench().await;
    let proxy = Proxy::start(bench.database().server());
    let warehouse = bench.warehouse_at(&bench.database().url_at(proxy.port()));
    warehouse.check(&[]).await;
    let object = object("a", 1, &["1|1", "2|2"]);
    let silent = proxy.at_next(Fault::Stall(Moment::run("pg_advisory_xact_lock")));
    assert_eq!(kind_of(load_once(&warehouse, Mode::Append, &object).await), Kind::Unreachable);
    silent.release();
    let silent = proxy.at_next(Fault::Stall(Moment::run("COMMIT WORK")));
    assert_eq!(kind_of(load_once(&warehouse, Mode::Append, &object).await), Kind::OutcomeUnknown);
    silent.release();
    assert!(load_once(&warehouse, Mode::Append, &object).await.is_ok());
    assert_eq!(bench.row_count("t").await, 2);
}

#[tokio::test]
async fn a_dropped_load_leaves_no_backend() {
    let bench = bench().await;
    let warehouse = bench.warehouse();
    for mode in [Mode::Append, upsert(&["id"]), Mode::Replace] {
        drop(begun(&warehouse, mode, &object("a", 1, &["1|1"])).await);
        no_backend(&bench).await;
    }
}

#[tokio::test]
async fn a_load_that_is_dropped_while_the_server_works_is_broken_off() {
    let bench = bench().await;
    bench
        .execute(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END';
             CREATE TRIGGER slow BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION slow()",
        )
        .await;
    let warehouse = bench.warehouse();
    let object = object("a", 1, &["1|1"]);
    let (_, load) = begun(&warehouse, upsert(&["id"]), &object).await;
    let tally = object.tally();
    let commit = tokio::spawn(async move { load.commit(&[tally]).await });
    let busy =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'longshore %' AND wait_event = 'PgSleep'";
    for _ in 0..100 {
        if bench.query(busy).await[0][0].as_deref() != Some("0") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    commit.abort();
    assert!(commit.await.is_err());
    no_backend(&bench).await;
    assert_eq!(bench.row_count("t").await, 0);
}

#[tokio::test]
async fn sweep_ends_a_zombie_and_spares_the_living() {
    let bench = bench().await;
    let (one, two) = (bench.warehouse(), bench.rival());
    let (zombie, living) = (object("a", 1, &["1|1"]), object("b", 2, &["2|2"]));
    let (_, dead) = begun(&one, Mode::Append, &zombie).await;
    let (id, alive) = begun(&two, upsert(&["id"]), &living).await;
    let live = HashSet::from([id]);
    let long_ago = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(1);
    assert_eq!(one.sweep(&live, long_ago).await.expect("a sweep").backends, 0);
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(1);
    let stranger = bench.of_another_project();
    assert_eq!(stranger.sweep(&HashSet::new(), soon).await.expect("a sweep").backends, 0);
    assert_eq!(one.sweep(&live, soon).await.expect("a sweep").backends, 1);
    assert!(matches!(alive.commit(&[living.tally()]).await, Ok(Committed::Loaded(_))));
    assert_eq!(kind_of(dead.commit(&[zombie.tally()]).await), Kind::Unreachable);
    assert_eq!(table_rows(&bench, "t", "id, n").await, ["2|2"]);
}

#[tokio::test]
async fn an_idle_transaction_that_the_server_ends_is_transient() {
    let bench = bench().await;
    let name = bench.database().name().to_owned();
    bench.database().sql(&format!("ALTER DATABASE {name} SET idle_in_transaction_session_timeout = '200ms'"));
    let warehouse = bench.rival();
    // While a COPY waits for rows the transaction is not idle; it is when nothing was written.
    let objects = [object("empty", 1, &[])];
    let spec = plan(warehouse.as_ref(), "t", Mode::Append, &COLUMNS, &objects).await;
    let load = open(warehouse.as_ref(), spec).await;
    no_backend(&bench).await;
    let kind = kind_of(load.commit(&[objects[0].tally()]).await);
    assert!(matches!(kind, Kind::Unreachable | Kind::Conflict), "{kind:?}");
}

#[tokio::test]
async fn a_server_that_restarts_takes_the_load_back_and_the_next_one_in() {
    let server = Server::start(Options::default());
    let database = server.database();
    database.sql("CREATE TABLE t (id int PRIMARY KEY, n int); GRANT ALL ON t TO PUBLIC");
    let shared = PostgresBench::new();
    let warehouse = shared.warehouse_at(&database.url());
    let object = object("a", 1, &["1|1", "2|2"]);
    for (n, mode) in [Mode::Append, upsert(&["id"])].into_iter().enumerate() {
        let (_, load) = begun(&warehouse, mode.clone(), &object.clone().generation(1 + n as u32)).await;
        if n == 0 {
            server.restart();
        } else {
            server.kill();
            server.start_again();
        }
        assert_eq!(kind_of(load.commit(&[object.tally()]).await), Kind::Unreachable);
        let objects = [object.clone().generation(1 + n as u32)];
        // What was idle is broken too, and nobody notices.
        let spec = plan(warehouse.as_ref(), "t", mode, &COLUMNS, &objects).await;
        let answer = try_load_with(warehouse.as_ref(), spec, &objects).await;
        assert!(matches!(answer, Ok(Committed::Loaded(_))), "{answer:?}");
    }
    assert_eq!(database.sql("SELECT count(*) FROM t").as_deref(), Some("2"));
}

#[tokio::test]
async fn loads_share_a_few_connections_and_release_closes_them() {
    let bench = bench().await;
    let warehouse = bench.rival();
    let backends =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'";
    let own = bench.query(backends).await[0][0].clone();
    for n in 0..20 {
        load_once(&warehouse, upsert(&["id"]), &object("a", n, &["1|1"])).await.expect("a load");
    }
    let more: u32 = bench.query(backends).await[0][0].as_deref().and_then(|text| text.parse().ok()).expect("a count");
    let before: u32 = own.as_deref().and_then(|text| text.parse().ok()).expect("a count");
    assert!(more > before && more <= before + 2, "{before} {more}");
    warehouse.release().await;
    for _ in 0..100 {
        if bench.query(backends).await[0][0] == own {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("a connection is left open");
}

#[tokio::test]
async fn a_login_that_is_refused_and_a_database_that_is_missing_are_named() {
    let bench = bench().await;
    let url = bench.database().url();
    let wrong = bench.warehouse_at(&url.replace("p%40ss", "wrong"));
    assert_eq!(kind_of(wrong.describe(&name("t")).await), Kind::Login);
    let missing = bench.warehouse_at(&url.replace(bench.database().name(), "no_such_database"));
    assert_eq!(kind_of(missing.describe(&name("t")).await), Kind::Missing);
    let findings = missing.check(&[(name("t"), Mode::Append)]).await;
    assert_eq!(findings.len(), 1);
}
