//! COPY: what befalls it, and what is told of it afterwards.

use std::sync::Arc;
use std::time::Duration;

use redshift_standin::Mode;
use tokio::sync::Notify;

use crate::s3::{BUCKET, Fault, On};
use crate::standin::{Bench, ROLE, copy_sql};

async fn with_table(columns: &str) -> (Bench, crate::standin::Session) {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session.sql(&format!("CREATE TABLE t ({columns})")).await;
    (bench, session)
}

/// Waits until this statement answers so, for a while.
async fn until(session: &crate::standin::Session, sql: &str, expected: &str) {
    for _ in 0..200 {
        if session.sql(sql).await == [expected] {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{sql} does not answer {expected}");
}

#[tokio::test]
async fn a_copy_outlives_its_client_unless_it_is_in_a_transaction() {
    for (begin, count) in [("", "1"), ("BEGIN", "0")] {
        let (bench, session) = with_table("a INT").await;
        bench.put("a.csv", "1\n");
        let held = Arc::new(Notify::new());
        bench.s3.inject(On::first("GetObject").key("a.csv"), Fault::Hold(held.clone()));
        session.sql(begin).await;
        let connection = session.connection.abort_handle();
        let copying =
            tokio::spawn(async move { session.client.simple_query(&copy_sql("t", "a.csv", "CSV")).await.is_ok() });
        while !bench.s3.requests().iter().any(|request| request.operation == "GetObject" && request.key == "a.csv") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        connection.abort();
        assert!(!copying.await.unwrap());
        held.notify_one();
        let session = bench.client().await;
        until(&session, "SELECT status FROM sys_load_history", "completed").await;
        until(&session, "SELECT count(*) FROM t", count).await;
    }
}

#[tokio::test]
async fn a_copy_ends_when_its_time_is_up_or_it_is_cancelled() {
    let bench = Bench::with(|config| config.unknowns.serverless_takes_cancel = true).await;
    let session = bench.client().await;
    session.sql("CREATE TABLE t (a INT)").await;
    bench.put("a.csv", "1\n");
    bench.s3.inject(On::every("GetObject").key("a.csv"), Fault::Delay(Duration::from_secs(60)));
    session.sql("SET statement_timeout TO 200").await;
    assert_eq!(session.state(&copy_sql("t", "a.csv", "CSV")).await, "57014");
    session.sql("SET statement_timeout TO 0").await;
    let token = session.client.cancel_token();
    let before = bench.standin.statements();
    let asking = async {
        while bench.standin.statements() <= before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        token.cancel_query(tokio_postgres::NoTls).await.unwrap();
    };
    let copy = copy_sql("t", "a.csv", "CSV");
    let (state, ()) = tokio::join!(session.state(&copy), asking);
    assert_eq!(state, "57014");
    assert_eq!(session.sql("SELECT count(*), pg_last_copy_id() FROM (SELECT 1 AS a) x").await, ["1|-1"]);
}

#[tokio::test]
async fn an_object_that_goes_between_listing_and_reading_fails_the_copy() {
    let (bench, session) = with_table("a INT").await;
    bench.put("a.csv", "1\n");
    bench.s3.inject(On::every("GetObject").key("a.csv"), Fault::Answer(404, "NoSuchKey"));
    let error = session.refused(&copy_sql("t", "a.csv", "CSV")).await;
    assert!(error.message().contains("The specified key does not exist.,Status 404,Error NoSuchKey"), "{error}");
}

#[tokio::test]
async fn an_object_that_changes_between_listing_and_reading_is_loaded_as_it_is_then() {
    let (bench, session) = with_table("a INT").await;
    bench.put("a.csv", "1\n");
    let store = bench.s3.clone();
    bench.s3.inject(On::first("GetObject").key("a.csv"), Fault::before(move || store.put("a.csv", "7\n8\n")));
    session.sql(&copy_sql("t", "a.csv", "CSV")).await;
    assert_eq!(session.sql("SELECT a FROM t ORDER BY a").await, ["7", "8"], "nothing pins a version");
}

#[tokio::test]
async fn a_file_that_breaks_off_loads_nothing() {
    let (bench, session) = with_table("a INT").await;
    bench.put("a.csv", "1\n2\n3\n");
    bench.put("b.csv", "4\n");
    bench.s3.inject(On::every("GetObject").key("a.csv"), Fault::Truncate(3));
    let url = bench.manifest(&["b.csv", "a.csv"]);
    assert_eq!(session.state(&format!("COPY t FROM '{url}' IAM_ROLE '{ROLE}' MANIFEST CSV")).await, "XX000");
    assert_eq!(session.sql("SELECT count(*) FROM t").await, ["0"]);
}

#[tokio::test]
async fn a_slow_copy_holds_its_table_and_comes_to_its_end() {
    let (bench, session) = with_table("a INT").await;
    bench.put("a.csv", "1\n");
    bench.s3.inject(On::first("GetObject").key("a.csv"), Fault::Delay(Duration::from_millis(400)));
    let other = bench.client().await;
    let copying = tokio::spawn(async move { session.sql(&copy_sql("t", "a.csv", "CSV")).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(other.count("DELETE FROM t").await, 1, "it waited for the COPY");
    copying.await.unwrap();
}

#[tokio::test]
async fn noload_needs_the_right_to_insert() {
    let (bench, session) = with_table("a INT").await;
    bench.put("a.csv", "1\n");
    session.sql("CREATE USER reader PASSWORD 'Reader-1'; GRANT SELECT ON t TO reader").await;
    let reader = bench.client_as("reader", "Reader-1").await.unwrap();
    assert_eq!(reader.state(&copy_sql("t", "a.csv", "CSV NOLOAD")).await, "42501");
}

#[tokio::test]
async fn what_is_said_is_info_and_the_tag_has_no_count() {
    let (bench, mut session) = with_table("a INT").await;
    bench.put("a.csv", "1\n");
    assert_eq!(session.count(&copy_sql("t", "a.csv", "CSV")).await, 0);
    let said = session.said_how();
    assert_eq!(
        said,
        [("INFO".to_owned(), "Load into table 't' completed, 1 record(s) loaded successfully.".to_owned())]
    );
}

#[tokio::test]
async fn manifests_may_have_more_keys_and_need_entries() {
    let (bench, session) = with_table("a INT").await;
    bench.put("a.csv", "1\n");
    let copy = copy_sql("t", "m", "MANIFEST CSV");
    bench.put(
        "m",
        format!(
            r#"{{"entries":[{{"url":"s3://{BUCKET}/a.csv","mandatory":true,"meta":{{"content_length":999}},"x":1}}],"y":[]}}"#
        ),
    );
    session.sql(&copy).await;
    assert_eq!(session.sql("SELECT count(*) FROM t").await, ["1"], "content_length is no check");
    bench.put("m", r#"{"entries":[]}"#);
    assert_eq!(session.state(&copy).await, "XX000");
    let error = session.refused(&copy.replace(BUCKET, "no-such-bucket")).await;
    assert!(error.message().contains("Error NoSuchBucket"), "{error}");
}

#[tokio::test]
async fn a_column_left_out_that_takes_no_null_fails_the_copy() {
    let (bench, session) = with_table("a INT, n INT NOT NULL, g INT GENERATED BY DEFAULT AS IDENTITY(1,1)").await;
    bench.put("a.csv", "1\n");
    let error = session.refused(&copy_sql("t (a)", "a.csv", "CSV")).await;
    assert_eq!(error.message(), "Cannot insert a NULL value into column n");
    bench.put("a.csv", "1,2,99\n");
    session.sql(&copy_sql("t (a, n, g)", "a.csv", "CSV")).await;
    assert_eq!(session.sql("SELECT g FROM t").await, ["99"], "BY DEFAULT needs no EXPLICIT_IDS");
}

#[tokio::test]
async fn all_errors_may_be_ignored_and_all_are_kept() {
    let (bench, session) = with_table("a INT").await;
    bench.put("a.csv", "x\n".repeat(1_500) + "1\n");
    session.sql(&copy_sql("t", "a.csv", "CSV IGNOREALLERRORS")).await;
    assert_eq!(session.sql("SELECT count(*) FROM t").await, ["1"]);
    assert_eq!(session.sql("SELECT count(*) FROM sys_load_error_detail").await, ["1500"]);
}

#[tokio::test]
async fn views_tell_of_rows_and_files_and_of_the_users_own_loads() {
    let bench = Bench::with(|config| config.mode = Mode::Provisioned).await;
    let session = bench.client().await;
    session.sql("CREATE TABLE t (a INT); CREATE USER loader PASSWORD 'Loader-1'; GRANT INSERT ON t TO loader").await;
    let key = format!("{}.csv", "k".repeat(300));
    bench.put(&key, "1\nx9\n");
    session.sql(&copy_sql("t", &key, "CSV MAXERROR 2")).await;
    let url = format!("s3://{BUCKET}/{key}");
    let cut = &url[..256];
    assert_eq!(
        session
            .sql(
                "SELECT trim(filename), line_number, trim(colname), trim(type), trim(raw_line), trim(raw_field_value),
                    err_code, trim(err_reason) FROM stl_load_errors"
            )
            .await,
        [format!("{cut}|2|a|int4|x9|x9|1207|Invalid digit, Value 'x', Pos 0, Type: Integer")]
    );
    assert_eq!(
        session.sql("SELECT trim(file_name), lines_scanned, status FROM sys_load_detail").await,
        [format!("{cut}|2|0")]
    );
    let loader = bench.client_as("loader", "Loader-1").await.unwrap();
    assert!(loader.sql("SELECT * FROM stl_load_errors").await.is_empty());
    loader.sql(&copy_sql("t", &key, "CSV MAXERROR 2")).await;
    for view in ["sys_load_history", "sys_load_detail", "sys_load_error_detail"] {
        assert_eq!(loader.sql(&format!("SELECT count(*) FROM {view}")).await, ["1"], "{view}");
    }
}

#[tokio::test]
async fn the_last_copy_is_one_that_began_and_was_not_rolled_back() {
    let (bench, session) = with_table("a INT").await;
    bench.put("a.csv", "1\n");
    bench.put("m", format!(r#"{{"entries":[{{"url":"s3://{BUCKET}/gone.csv","mandatory":true}}]}}"#));
    session.refused(&copy_sql("t", "m", "MANIFEST CSV")).await;
    assert_eq!(session.sql("SELECT pg_last_copy_id()").await, ["-1"], "it did not begin to load");
    session.sql("BEGIN").await;
    session.sql(&copy_sql("t", "a.csv", "CSV")).await;
    session.refused("SELECT nonsense FROM t").await;
    session.sql("COMMIT").await;
    assert_eq!(session.sql("SELECT pg_last_copy_id(), pg_last_copy_count()").await, ["-1|0"], "COMMIT rolled it back");
    session.sql(&copy_sql("t", "a.csv", "CSV")).await;
    assert_eq!(session.sql("SELECT pg_last_copy_count()").await, ["1"]);
}
