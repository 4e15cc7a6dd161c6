//! What is not documented of Redshift: each switch in both positions.

use redshift_standin::{Mode, Unknowns};

use crate::standin::{Bench, copy_sql};

async fn with(change: impl FnOnce(&mut Unknowns)) -> Bench {
    Bench::with(|config| change(&mut config.unknowns)).await
}

#[tokio::test]
async fn the_tag_of_merge_may_have_a_count() {
    for counts in [false, true] {
        let bench = with(|unknowns| unknowns.merge_tag_has_count = counts).await;
        let session = bench.client().await;
        session.sql("CREATE TABLE t (k INT); CREATE TABLE s (k INT); INSERT INTO s VALUES (1), (2)").await;
        let merge =
            "MERGE INTO t USING s ON t.k = s.k WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (s.k)";
        assert_eq!(session.count(merge).await, if counts { 2 } else { 0 });
        assert_eq!(
            session.count("MERGE INTO t USING s ON t.k = s.k REMOVE DUPLICATES").await,
            if counts { 2 } else { 0 }
        );
    }
}

#[tokio::test]
async fn keys_of_a_source_may_repeat() {
    for may in [false, true] {
        let bench = with(|unknowns| unknowns.source_keys_may_repeat = may).await;
        let session = bench.client().await;
        session.sql("CREATE TABLE t (k INT); CREATE TABLE s (k INT); INSERT INTO s VALUES (1), (1)").await;
        let merged = session.client.simple_query("MERGE INTO t USING s ON t.k = s.k REMOVE DUPLICATES").await;
        assert_eq!(merged.is_ok(), may);
        assert_eq!(session.sql("SELECT count(*) FROM t").await, [if may { "2" } else { "0" }]);
    }
}

#[tokio::test]
async fn a_backslash_and_n_may_reach_copy() {
    for reaches in [false, true] {
        let bench = with(|unknowns| unknowns.backslash_n_reaches_copy = reaches).await;
        let session = bench.client().await;
        session.sql("CREATE TABLE t (a VARCHAR(9))").await;
        bench.put("a.csv", "N\n");
        session.sql(&copy_sql("t", "a.csv", r"CSV NULL AS '\N'")).await;
        assert_eq!(session.sql("SELECT a FROM t").await, [if reaches { "N" } else { "NULL" }]);
        assert_eq!(session.sql(r"SELECT '\N'").await, ["N"], "in a COPY alone");
    }
}

#[tokio::test]
async fn a_prefix_may_have_no_objects() {
    for may in [false, true] {
        let bench = with(|unknowns| unknowns.prefix_may_be_empty = may).await;
        let session = bench.client().await;
        session.sql("CREATE TABLE t (a INT)").await;
        assert_eq!(session.client.simple_query(&copy_sql("t", "nothing/", "CSV")).await.is_ok(), may);
    }
}

#[tokio::test]
async fn code_points_of_nobody_may_pass() {
    for pass in [false, true] {
        let bench = with(|unknowns| unknowns.reading.unassigned_characters_pass = pass).await;
        let session = bench.client().await;
        session.sql("CREATE TABLE t (a VARCHAR(9))").await;
        bench.put("a.csv", "\u{fdd0}\n");
        assert_eq!(session.client.simple_query(&copy_sql("t", "a.csv", "CSV")).await.is_ok(), pass);
    }
}

#[tokio::test]
async fn the_mark_of_utf_16_with_an_order_may_be_data() {
    for is_skipped in [false, true] {
        let bench = with(|unknowns| unknowns.reading.bom_is_skipped = is_skipped).await;
        let session = bench.client().await;
        session.sql("CREATE TABLE t (a VARCHAR(9))").await;
        for (encoding, body) in
            [("UTF16LE", [0xff, 0xfe, b'x', 0, b'\n', 0]), ("UTF16BE", [0xfe, 0xff, 0, b'x', 0, b'\n'])]
        {
            bench.put("a.csv", body);
            session.sql("DELETE FROM t").await;
            session.sql(&copy_sql("t", "a.csv", &format!("CSV ENCODING {encoding}"))).await;
            assert_eq!(session.sql("SELECT len(a) FROM t").await, [if is_skipped { "1" } else { "2" }], "{encoding}");
        }
        bench.put("a.csv", [0xff, 0xfe, b'x', 0, b'\n', 0]);
        session.sql("DELETE FROM t").await;
        session.sql(&copy_sql("t", "a.csv", "CSV ENCODING UTF16")).await;
        assert_eq!(session.sql("SELECT len(a) FROM t").await, ["1"], "UTF16 has to have one");
    }
}

#[tokio::test]
async fn a_cancel_request_may_pass_the_endpoint_of_a_workgroup() {
    for takes in [false, true] {
        let bench = Bench::with(|config| {
            config.mode = Mode::Serverless;
            config.unknowns.serverless_takes_cancel = takes;
        })
        .await;
        let (one, two) = (bench.client().await, bench.client().await);
        one.sql("CREATE TABLE t (a INT); BEGIN; LOCK t").await;
        let token = two.client.cancel_token();
        let waiting = tokio::spawn(async move { two.client.simple_query("DELETE FROM t").await.is_ok() });
        for _ in 0..10 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            let _asked: Result<_, _> = token.cancel_query(tokio_postgres::NoTls).await;
        }
        if !takes {
            assert!(!waiting.is_finished());
        }
        one.sql("ROLLBACK").await;
        assert_eq!(waiting.await.unwrap(), !takes);
    }
}
