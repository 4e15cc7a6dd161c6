//! Connecting, settings, the protocols.

use redshift_standin::{Fault, Mode};

use crate::standin::{Bench, connect};

#[tokio::test]
async fn a_client_connects_by_md5_and_is_told_version_8_0_2() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    let version = session.sql("SELECT version()").await;
    assert!(version[0].starts_with("PostgreSQL 8.0.2 on i686-pc-linux-gnu") && version[0].contains("Redshift 1.0."));
    assert_eq!(session.version, "8.0.2");
    let error = bench.client_as("awsuser", "wrong").await.err().unwrap();
    assert!(error.as_db_error().unwrap().message().contains("password authentication failed"));
}

#[tokio::test]
async fn unknown_parameters_at_startup_are_fatal() {
    let bench = Bench::new().await;
    let mut config = bench.config();
    config.options("-c standard_conforming_strings=on");
    let error = connect(&config).await.err().unwrap();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.severity(), "FATAL");
    assert_eq!(error.message(), "unrecognized configuration parameter \"standard_conforming_strings\"");
    for options in ["-c search_path=x", "-c enable_result_cache_for_session=off", "-c timezone=UTC"] {
        let mut config = bench.config();
        config.options(options);
        assert_eq!(connect(&config).await.err().unwrap().as_db_error().unwrap().code().code(), "LS000", "{options}");
    }
    let mut config = bench.config();
    config.options("-c extra_float_digits=2");
    let session = connect(&config).await.unwrap();
    assert_eq!(session.sql("SHOW extra_float_digits").await, ["2"]);
    let mut config = bench.config();
    config.options("-c extra_float_digits=3");
    assert_eq!(connect(&config).await.err().unwrap().as_db_error().unwrap().code().code(), "22023");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named() {
    let bench = Bench::new().await;
    let mut config = bench.config();
    config.dbname("nowhere");
    assert_eq!(connect(&config).await.err().unwrap().as_db_error().unwrap().code().code(), "3D000");
}

#[tokio::test]
async fn settings_are_those_of_redshift() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session
        .sql("SET query_group TO 'longshore'; SET statement_timeout TO 3600000; SET search_path TO public, \"$user\"")
        .await;
    assert_eq!(session.sql("SHOW statement_timeout").await, ["3600000"]);
    session.sql("SET enable_result_cache_for_session TO off; RESET search_path").await;
    assert_eq!(session.sql("SHOW search_path").await, ["$user, public"]);
    assert_eq!(session.state("SET standard_conforming_strings TO on").await, "42704");
    assert_eq!(session.state("SET wlm_query_slot_count TO 51").await, "22023");
    assert_eq!(session.state("SET enable_case_sensitive_identifier TO true").await, "LS000");
    assert_eq!(session.state("SET LOCAL statement_timeout TO 1").await, "LS000");
}

#[tokio::test]
async fn text_is_varchar_and_select_and_copy_have_no_count_in_their_tags() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session.sql("CREATE TABLE t (a VARCHAR(10), b BIGINT)").await;
    assert_eq!(session.count("INSERT INTO t VALUES ('x', 1), ('y', 2)").await, 2);
    let statement = session.client.prepare("SELECT a, b FROM t").await.unwrap();
    let types: Vec<u32> = statement.columns().iter().map(|column| column.type_().oid()).collect();
    assert_eq!(types, [1043, 20]);
    assert_eq!(session.client.query(&statement, &[]).await.unwrap().len(), 2);
    assert_eq!(session.count("SELECT * FROM t").await, 0);
    let row = session.client.query_one("SELECT count(*) FROM t WHERE a = $1", &[&"x"]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 1);
    assert_eq!(session.client.execute("UPDATE t SET b = b + 1 WHERE a = 'x'", &[]).await.unwrap(), 1);
    let error = session.client.prepare("COPY t FROM $1").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42601");
    assert_eq!(session.sql("SELECT a, b FROM t ORDER BY b, a").await, ["x|2", "y|2"]);
}

#[tokio::test]
async fn an_error_ends_a_transaction_even_where_the_gate_refuses() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session.sql("CREATE TABLE t (a INT)").await;
    session.sql("BEGIN; INSERT INTO t VALUES (1)").await;
    assert_eq!(session.state("SAVEPOINT a").await, "42601");
    assert_eq!(session.state("SELECT 1").await, "25P02");
    session.sql("ROLLBACK").await;
    assert_eq!(session.sql("SELECT count(*) FROM t").await, ["0"]);
}

#[tokio::test]
async fn a_setting_is_undone_by_rollback() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session.sql("SET query_group TO 'x'; BEGIN; SET query_group TO 'y'; ROLLBACK").await;
    assert_eq!(session.sql("SHOW query_group").await, ["x"]);
    session.sql("ROLLBACK; COMMIT").await;
    assert_eq!(session.sql("SHOW query_group").await, ["x"], "outside of a transaction nothing is undone");
    session.sql("SET query_group TO 'z'; ROLLBACK").await;
    assert_eq!(session.sql("SHOW query_group").await, ["z"]);
    assert_eq!(session.sql("SELECT 1.567::decimal").await, ["2"], "a bare DECIMAL has no digits after the point");
}

#[tokio::test]
async fn statements_sent_together_are_transactions_of_their_own_unless_switched() {
    for is_one in [false, true] {
        let bench = Bench::with(|config| config.unknowns.batch_is_one_transaction = is_one).await;
        let session = bench.client().await;
        session.sql("CREATE TABLE t (a INT)").await;
        session.refused("INSERT INTO t VALUES (1); INSERT INTO t VALUES ('x')").await;
        assert_eq!(session.sql("SELECT count(*) FROM t").await, [if is_one { "0" } else { "1" }]);
    }
}

#[tokio::test]
async fn a_statement_timeout_and_a_cancel_are_57014() {
    let bench = Bench::with(|config| config.unknowns.serverless_takes_cancel = true).await;
    let (one, two) = (bench.client().await, bench.client().await);
    one.sql("CREATE TABLE t (a INT)").await;
    one.sql("BEGIN; LOCK t").await;
    two.sql("SET statement_timeout TO 100").await;
    let error = two.refused("DELETE FROM t").await;
    assert_eq!(error.code().code(), "57014");
    assert!(error.message().contains("canceled on user's request"));
    two.sql("SET statement_timeout TO 0").await;
    let token = two.client.cancel_token();
    let before = bench.standin.statements();
    let asking = async {
        while bench.standin.statements() <= before {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        token.cancel_query(tokio_postgres::NoTls).await.unwrap();
    };
    let (state, ()) = tokio::join!(two.state("DELETE FROM t"), asking);
    assert_eq!(state, "57014");
    one.sql("ROLLBACK").await;
    two.sql("DELETE FROM t").await;
}

#[tokio::test]
async fn faults_come_when_they_are_asked_for() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session.sql("CREATE TABLE t (a INT)").await;
    bench.standin.faults().at("insert into t", 2, Fault::SERIALIZATION);
    session.sql("INSERT INTO t VALUES (1)").await;
    let error = session.refused("INSERT INTO t VALUES (2)").await;
    assert_eq!((error.code().code(), error.message()), ("XX000", "1023"));
    bench.standin.faults().at("commit", 1, Fault::CutAfter);
    session.sql("BEGIN; INSERT INTO t VALUES (3)").await;
    session.client.simple_query("COMMIT").await.unwrap_err();
    let session = bench.client().await;
    assert_eq!(session.sql("SELECT a FROM t ORDER BY a").await, ["1", "3"]);
    bench.standin.faults().at("commit", 1, Fault::CutBefore);
    session.sql("BEGIN; INSERT INTO t VALUES (4)").await;
    session.client.simple_query("COMMIT").await.unwrap_err();
    assert_eq!(bench.client().await.sql("SELECT count(*) FROM t").await, ["2"]);
    assert!(bench.standin.faults().are_spent());
}

#[tokio::test]
async fn serverless_has_no_stl_and_stv_views() {
    let bench = Bench::with(|config| config.mode = Mode::Serverless).await;
    let session = bench.client().await;
    for view in ["stl_load_errors", "stl_load_commits", "stv_db_isolation_level"] {
        assert_eq!(session.state(&format!("SELECT * FROM {view}")).await, "42501", "{view}");
    }
    session.sql("SELECT * FROM sys_load_error_detail").await;
}

#[tokio::test]
async fn a_statement_has_at_most_16_mb() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    let long = format!("SELECT 1 -- {}", "x".repeat(16 << 20));
    assert_eq!(session.state(&long).await, "54001");
    session.sql("SELECT 1").await;
}

#[tokio::test]
async fn the_schema_of_the_users_name_comes_first() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session
        .sql("CREATE TABLE t (a INT); CREATE SCHEMA awsuser; CREATE TABLE awsuser.t (a INT); INSERT INTO t VALUES (1)")
        .await;
    assert_eq!(session.sql("SELECT (SELECT count(*) FROM awsuser.t), (SELECT count(*) FROM public.t)").await, ["1|0"]);
}

#[tokio::test]
async fn super_is_described_by_its_number_and_counts_are_those_of_now() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session.sql("CREATE TABLE t (s SUPER, b VARBYTE(4))").await;
    bench.put("a.csv", "1\n2\n");
    session.sql("CREATE TABLE n (a INT)").await;
    let count = session.client.prepare("SELECT pg_last_copy_count()").await.unwrap();
    assert_eq!(session.client.query_one(&count, &[]).await.unwrap().get::<_, i64>(0), 0);
    session.sql(&crate::standin::copy_sql("n", "a.csv", "CSV")).await;
    assert_eq!(session.client.query_one(&count, &[]).await.unwrap().get::<_, i64>(0), 2);
    let error = session.client.prepare("SELECT s FROM t").await.unwrap_err();
    // The client does not know the type and looks it up where Redshift has nothing.
    assert!(error.code().is_some(), "{error:?}");
}

#[tokio::test]
async fn a_prepared_statement_waits_before_it_takes_its_snapshot() {
    let bench = Bench::new().await;
    let (one, two) = (bench.client().await, bench.client().await);
    one.sql("CREATE TABLE head (epoch BIGINT NOT NULL); INSERT INTO head VALUES (0)").await;
    let fence = two.client.prepare("UPDATE head SET epoch = 1 WHERE epoch = 0").await.unwrap();
    one.sql("BEGIN; UPDATE head SET epoch = 1 WHERE epoch = 0").await;
    let waiting = tokio::spawn(async move { two.client.execute(&fence, &[]).await });
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    one.sql("COMMIT").await;
    assert_eq!(waiting.await.unwrap().unwrap(), 0);
}
