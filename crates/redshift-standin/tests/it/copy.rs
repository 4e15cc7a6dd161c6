//! COPY FROM S3: which objects, with whose rights, and what is said of it.

use redshift_standin::{Mode, Role};

use crate::s3::{BUCKET, Fault, On};
use crate::standin::{Bench, ROLE, copy_sql};

#[tokio::test]
async fn a_path_without_manifest_is_a_prefix() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session.sql("CREATE TABLE t (a INT)").await;
    bench.put("in/a.csv", "1\n");
    bench.put("in/a.csv.bak", "2\n");
    session.sql(&copy_sql("t", "in/a.csv", "CSV")).await;
    assert_eq!(session.sql("SELECT a FROM t ORDER BY a").await, ["1", "2"]);
    let error = session.refused(&copy_sql("t", "nothing/here", "CSV")).await;
    assert_eq!(
        (error.code().code(), error.message()),
        ("XX000", "The specified S3 prefix 'nothing/here' does not exist")
    );
    assert!(error.detail().unwrap().contains("code:      8001"));
}

#[tokio::test]
async fn a_manifest_names_full_keys_and_mandatory_is_off_by_default() {
    let bench = Bench::new().await;
    let mut session = bench.client().await;
    session.sql("CREATE TABLE t (a INT)").await;
    bench.put("p/1.csv", "1\n2\n");
    bench.put("p/1.csv.bak", "9\n");
    let one = format!(r#"{{"url":"s3://{BUCKET}/p/1.csv"}}"#);
    let absent = format!(r#"{{"url":"s3://{BUCKET}/p/2.csv"}}"#);
    bench.put("m", format!(r#"{{"entries":[{one},{absent},{one}]}}"#));
    session.sql(&copy_sql("t", "m", "MANIFEST CSV")).await;
    assert_eq!(session.sql("SELECT count(*) FROM t").await, ["4"], "listed twice is loaded twice");
    assert_eq!(session.said(), ["Load into table 't' completed, 4 record(s) loaded successfully."]);
    bench.put("m", format!(r#"{{"entries":[{one},{{"url":"s3://{BUCKET}/p/2.csv","mandatory":true}}]}}"#));
    let error = session.refused(&copy_sql("t", "m", "MANIFEST CSV")).await;
    assert!(error.message().contains("The specified key does not exist.,Status 404,Error NoSuchKey"), "{error}");
    bench.put("m", format!(r#"{{"entries":[{absent}]}}"#));
    assert_eq!(session.state(&copy_sql("t", "m", "MANIFEST CSV")).await, "XX000", "no file at all stops it");
    for broken in ["{", "[]", r#"{"entries":[{"url":"p/1.csv"}]}"#] {
        bench.put("m", broken);
        assert!(session.refused(&copy_sql("t", "m", "MANIFEST CSV")).await.message().contains("manifest"), "{broken}");
    }
    let error = session.refused(&copy_sql("t", "p/", "MANIFEST CSV")).await;
    assert_eq!(error.message(), "COPY with MANIFEST parameter requires full path of an Amazon S3 object.");
    assert_eq!(session.sql("SELECT count(*) FROM t").await, ["4"]);
    assert_eq!(session.state(&copy_sql("t", "m", "CSV")).await, "XX000", "without MANIFEST it is data");
}

#[tokio::test]
async fn roles_are_looked_up_and_need_both_rights() {
    let named = |name: &str| format!("arn:aws:iam::123456789012:role/{name}");
    let bench = Bench::with(|config| {
        config.roles.push(Role { can_get: false, ..Role::new(named("lister")) });
        config.roles.push(Role { can_list: false, ..Role::new(named("getter")) });
    })
    .await;
    let session = bench.client().await;
    session.sql("CREATE TABLE t (a INT)").await;
    bench.put("a.csv", "1\n");
    let url = bench.manifest(&["a.csv"]);
    let copy = |role: &str| format!("COPY t FROM '{url}' IAM_ROLE '{role}' MANIFEST CSV");
    for role in [named("stranger"), named("getter")] {
        let error = session.refused(&copy(&role)).await;
        assert!(
            error.message().starts_with("S3ServiceException:Access Denied,Status 403,Error AccessDenied"),
            "{error}"
        );
    }
    let error = session.refused(&copy(&named("lister"))).await;
    assert_eq!(error.message(), "COPY with MANIFEST parameter requires full path of an Amazon S3 object.");
    session.sql(&copy(ROLE)).await;
    session.sql(&copy(&format!("{ROLE},{ROLE}"))).await;
    session.sql(&format!("COPY t FROM '{url}' IAM_ROLE default MANIFEST CSV")).await;
    let error =
        session.refused(&format!("COPY t FROM '{url}' IAM_ROLE '{ROLE}' MANIFEST CSV REGION 'eu-west-1'")).await;
    assert!(error.message().contains("must be addressed using the specified endpoint"), "{error}");
}

#[tokio::test]
async fn a_failed_load_tells_where_and_its_errors_outlive_a_rollback() {
    for mode in [Mode::Provisioned, Mode::Serverless] {
        let bench = Bench::with(|config| config.mode = mode).await;
        let session = bench.client().await;
        session.sql("CREATE TABLE t (a INT, b DECIMAL(8,2))").await;
        assert_eq!(session.sql("SELECT pg_last_copy_id()").await, ["-1"]);
        bench.put("a.csv", "1,1.5\n2,2.5\n");
        bench.put("b.csv", "3,3.5\n1.0,9\n");
        let url = bench.manifest(&["a.csv", "b.csv"]);
        session.sql("BEGIN").await;
        let error = session.refused(&format!("COPY t FROM '{url}' IAM_ROLE '{ROLE}' MANIFEST CSV")).await;
        let view = if mode == Mode::Provisioned { "stl_load_errors" } else { "sys_load_error_detail" };
        assert_eq!(error.code().code(), "XX000");
        assert!(
            error.message().starts_with(&format!("Load into table 't' failed.  Check '{view}' system table")),
            "{error}"
        );
        assert_eq!(session.state("SELECT 1").await, "25P02");
        session.sql("ROLLBACK").await;
        assert_eq!(
            session
                .sql(
                    "SELECT trim(file_name), line_number, trim(column_name), error_code, trim(error_message)
                      FROM sys_load_error_detail WHERE session_id = pg_backend_pid()"
                )
                .await,
            [format!("s3://{BUCKET}/b.csv|2|a|1207|Invalid digit, Value '.', Pos 1, Type: Integer")]
        );
        assert_eq!(session.sql("SELECT status, error_count FROM sys_load_history").await, ["aborted|1"]);
        assert_eq!(session.sql("SELECT count(*) FROM t").await, ["0"], "a COPY is atomic over all its files");
        session.refused(&format!("COPY t FROM '{url}' IAM_ROLE '{ROLE}' MANIFEST CSV")).await;
        let found =
            session.sql("SELECT query_id = pg_last_copy_id() FROM sys_load_error_detail ORDER BY query_id DESC").await;
        assert_eq!(found[0], "t");
        assert_eq!(session.sql("SELECT pg_last_copy_count()").await, ["0"]);
        assert!(bench.client().await.sql("SELECT * FROM sys_load_history").await.len() == 2);
    }
}

#[tokio::test]
async fn maxerror_lets_rows_go_and_says_how_many() {
    let bench = Bench::new().await;
    let mut session = bench.client().await;
    session.sql("CREATE TABLE t (a INT)").await;
    bench.put("a.csv", "1\nx\n3\ny\n");
    session.refused(&copy_sql("t", "a.csv", "CSV MAXERROR 2")).await;
    session.said();
    session.sql(&copy_sql("t", "a.csv", "CSV MAXERROR 3")).await;
    let said = session.said();
    assert!(said[1].contains("2 record(s) could not be loaded"), "{said:?}");
    assert_eq!(session.sql("SELECT count(*) FROM t").await, ["2"]);
    assert_eq!(session.sql("SELECT pg_last_copy_count()").await, ["2"]);
}

#[tokio::test]
async fn rows_come_in_no_order_and_noload_loads_none() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session.sql("CREATE TABLE t (a INT, id INT IDENTITY(1,1))").await;
    let body: String = (0..100).map(|n| format!("{n}\n")).collect();
    bench.put("a.csv", body);
    session.sql(&copy_sql("t (a)", "a.csv", "CSV NOLOAD")).await;
    assert_eq!(session.sql("SELECT count(*) FROM t").await, ["0"]);
    session.sql(&copy_sql("t", "a.csv", "CSV")).await;
    let rows = session.sql("SELECT a FROM t ORDER BY id").await;
    let sorted: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    assert_ne!(rows, sorted);
    assert_eq!(session.sql("SELECT a FROM t ORDER BY a").await, sorted);
}

#[tokio::test]
async fn a_column_list_leaves_defaults_and_identity_to_the_table() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session.sql("CREATE TABLE t (id INT IDENTITY(1,1), a INT, b INT DEFAULT 7, c VARCHAR(3))").await;
    bench.put("a.csv", "x,1\n,2\n");
    session.sql(&copy_sql("t (c, a)", "a.csv", "CSV")).await;
    assert_eq!(
        session.sql("SELECT a, b, c FROM t ORDER BY a").await,
        ["1|7|x", "2|7|"],
        "empty text is the empty text"
    );
    bench.put("b.csv", "9,,z\n");
    session.sql(&copy_sql("t (a, b, c)", "b.csv", "CSV")).await;
    assert_eq!(
        session.sql("SELECT b FROM t WHERE a = 9").await,
        ["NULL"],
        "a listed column that is empty gets no default"
    );
    session.refused(&copy_sql("t (id, a)", "b.csv", "CSV")).await;
    bench.put("c.csv", "1000,5\n");
    session.sql(&copy_sql("t (id, a)", "c.csv", "CSV EXPLICIT_IDS")).await;
    assert_eq!(session.sql("SELECT id FROM t WHERE a = 5").await, ["1000"]);
    session.refused(&copy_sql("t (a)", "c.csv", "CSV EXPLICIT_IDS")).await;
    assert_eq!(session.state(&copy_sql("t (nope)", "c.csv", "CSV")).await, "42703");
}

#[tokio::test]
async fn insert_is_enough_to_copy_and_statupdate_is_the_owners() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session.sql("CREATE USER loader PASSWORD 'Loader-1'; CREATE TABLE t (a INT); CREATE TABLE u (a INT); GRANT INSERT ON t TO loader").await;
    bench.put("a.csv", "1\n");
    let loader = bench.client_as("loader", "Loader-1").await.unwrap();
    loader.sql(&copy_sql("t", "a.csv", "CSV")).await;
    assert_eq!(loader.state(&copy_sql("t", "a.csv", "CSV STATUPDATE OFF")).await, "42501");
    assert_eq!(loader.state(&copy_sql("u", "a.csv", "CSV")).await, "42501");
    assert_eq!(loader.sql("SELECT count(*) FROM sys_load_history").await, ["1"], "one began");
    loader.refused(&copy_sql("t", "a.csv", "CSV GZIP")).await;
}

#[tokio::test]
async fn a_store_that_fails_between_listing_and_reading_fails_the_copy() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session.sql("CREATE TABLE t (a INT)").await;
    bench.put("a.csv", "1\n");
    let url = bench.manifest(&["a.csv"]);
    bench.s3.inject(On::every("GetObject").key("a.csv"), Fault::Answer(503, "SlowDown"));
    let error = session.refused(&format!("COPY t FROM '{url}' IAM_ROLE '{ROLE}' MANIFEST CSV")).await;
    assert!(error.message().contains("Status 503,Error SlowDown"), "{error}");
    assert!(error.detail().unwrap().contains(&format!("S3 key being read : s3://{BUCKET}/a.csv")));
}

#[tokio::test]
async fn a_copy_in_a_transaction_is_rolled_back_with_it() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session.sql("CREATE TABLE t (a INT)").await;
    bench.put("a.csv", "1\n");
    session.sql("BEGIN").await;
    session.sql(&copy_sql("t", "a.csv", "CSV")).await;
    assert_eq!(session.sql("SELECT count(*) FROM t").await, ["1"]);
    assert_ne!(session.sql("SELECT pg_last_copy_id()").await, ["-1"]);
    session.sql("ROLLBACK").await;
    assert_eq!(session.sql("SELECT count(*) FROM t").await, ["0"]);
    assert_eq!(session.sql("SELECT pg_last_copy_id()").await, ["-1"]);
    assert_eq!(session.sql("SELECT status FROM sys_load_history").await, ["completed"], "which proves no commit");
}

#[tokio::test]
async fn decimals_are_cut_unless_rounded() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session.sql("CREATE TABLE t (a DECIMAL(8,2))").await;
    bench.put("a.csv", "20.259\n");
    session.sql(&copy_sql("t", "a.csv", "CSV")).await;
    session.sql(&copy_sql("t", "a.csv", "CSV ROUNDEC")).await;
    session.sql("INSERT INTO t VALUES (20.259)").await;
    assert_eq!(session.sql("SELECT a FROM t ORDER BY a").await, ["20.25", "20.26", "20.26"]);
}
