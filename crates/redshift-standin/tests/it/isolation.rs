//! Locks, isolation, 1023 and 1018.

use std::time::Duration;

use redshift_standin::Isolation;

use crate::standin::Bench;

async fn with(isolation: Isolation) -> Bench {
    Bench::with(|config| config.isolation = isolation).await
}

#[tokio::test]
async fn a_fence_that_waited_updates_no_row_in_both_modes() {
    for isolation in [Isolation::Snapshot, Isolation::Serializable] {
        let bench = with(isolation).await;
        let (one, two) = (bench.client().await, bench.client().await);
        one.sql("CREATE TABLE head (one SMALLINT NOT NULL, epoch BIGINT NOT NULL)").await;
        one.sql("INSERT INTO head VALUES (1, 0)").await;
        let fence = "UPDATE head SET epoch = 1 WHERE epoch = 0";
        one.sql("BEGIN").await;
        two.sql("BEGIN").await;
        assert_eq!(one.count(fence).await, 1);
        let waiting = tokio::spawn(async move {
            let count = two.count(fence).await;
            two.sql("ROLLBACK").await;
            count
        });
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!waiting.is_finished());
        one.sql("COMMIT").await;
        assert_eq!(waiting.await.unwrap(), 0);
    }
}

#[tokio::test]
async fn write_skew_passes_in_snapshot_and_is_1023_in_serializable() {
    for (isolation, is_refused) in [(Isolation::Snapshot, false), (Isolation::Serializable, true)] {
        let bench = with(isolation).await;
        let (one, two) = (bench.client().await, bench.client().await);
        one.sql("CREATE TABLE ledger (id INT)").await;
        one.sql("BEGIN; SELECT count(*) FROM ledger").await;
        two.sql("BEGIN; SELECT count(*) FROM ledger").await;
        one.sql("INSERT INTO ledger VALUES (1); COMMIT").await;
        if is_refused {
            let error = two.refused("INSERT INTO ledger VALUES (1)").await;
            assert_eq!((error.code().code(), error.message()), ("XX000", "1023"));
            let detail = error.detail().unwrap();
            assert!(detail.starts_with("Serializable isolation violation on table - "), "{detail}");
            two.sql("ROLLBACK").await;
        } else {
            two.sql("INSERT INTO ledger VALUES (1); COMMIT").await;
        }
        assert_eq!(one.sql("SELECT count(*) FROM ledger").await, [if is_refused { "1" } else { "2" }]);
    }
}

#[tokio::test]
async fn a_change_of_the_same_row_is_1023_in_snapshot() {
    let bench = with(Isolation::Snapshot).await;
    let (one, two) = (bench.client().await, bench.client().await);
    one.sql("CREATE TABLE t (a INT, b INT)").await;
    one.sql("INSERT INTO t VALUES (1, 1)").await;
    two.sql("BEGIN; SELECT count(*) FROM t").await;
    one.sql("UPDATE t SET b = 2 WHERE a = 1").await;
    let error = two.refused("UPDATE t SET b = 3 WHERE a = 1").await;
    assert_eq!((error.code().code(), error.message()), ("XX000", "1023"));
}

#[tokio::test]
async fn inserts_share_a_table_in_snapshot_and_then_deadlock_when_they_delete() {
    let bench = with(Isolation::Snapshot).await;
    let (one, two) = (bench.client().await, bench.client().await);
    one.sql("CREATE TABLE t (a INT)").await;
    one.sql("BEGIN; INSERT INTO t VALUES (1)").await;
    two.sql("BEGIN; INSERT INTO t VALUES (2)").await;
    let waiting = tokio::spawn(async move {
        let result = one.client.simple_query("DELETE FROM t WHERE a = 0").await.is_ok();
        (one, result)
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(two.state("DELETE FROM t WHERE a = 0").await, "40P01");
    // The victim gives its locks back before it says ROLLBACK.
    let (one, deleted) = waiting.await.unwrap();
    assert!(deleted);
    two.sql("ROLLBACK").await;
    one.sql("COMMIT").await;
}

#[tokio::test]
async fn inserts_wait_for_each_other_in_serializable() {
    let bench = with(Isolation::Serializable).await;
    let (one, two) = (bench.client().await, bench.client().await);
    one.sql("CREATE TABLE t (a INT)").await;
    one.sql("BEGIN; INSERT INTO t VALUES (1)").await;
    let waiting = tokio::spawn(async move { two.count("INSERT INTO t VALUES (2)").await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    one.sql("COMMIT").await;
    assert_eq!(waiting.await.unwrap(), 1);
}

#[tokio::test]
async fn lock_blocks_readers_too_and_has_no_modes() {
    let bench = Bench::new().await;
    let (one, two) = (bench.client().await, bench.client().await);
    one.sql("CREATE TABLE t (a INT)").await;
    assert_eq!(one.state("LOCK t IN SHARE MODE").await, "42601");
    one.sql("BEGIN; LOCK TABLE t").await;
    let waiting = tokio::spawn(async move { two.sql("SELECT count(*) FROM t").await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    one.sql("COMMIT").await;
    assert_eq!(waiting.await.unwrap(), ["0"]);
}

#[tokio::test]
async fn a_table_made_after_the_snapshot_is_1018() {
    let bench = Bench::new().await;
    let (one, two) = (bench.client().await, bench.client().await);
    one.sql("CREATE TABLE a (a INT)").await;
    one.sql("BEGIN; SELECT count(*) FROM a").await;
    two.sql("CREATE TABLE b (a INT)").await;
    let error = one.refused("SELECT count(*) FROM b").await;
    assert_eq!((error.code().code(), error.message()), ("XX000", "1018"));
    one.sql("ROLLBACK").await;
    one.sql("SELECT count(*) FROM b").await;
}

#[tokio::test]
async fn the_snapshot_is_taken_by_the_first_statement_and_not_by_begin() {
    let bench = Bench::new().await;
    let (one, two) = (bench.client().await, bench.client().await);
    one.sql("CREATE TABLE t (a INT)").await;
    one.sql("BEGIN ISOLATION LEVEL READ COMMITTED").await;
    two.sql("INSERT INTO t VALUES (1)").await;
    assert_eq!(one.sql("SELECT count(*) FROM t").await, ["1"]);
    two.sql("INSERT INTO t VALUES (2)").await;
    assert_eq!(one.sql("SELECT count(*) FROM t").await, ["1"]);
    one.sql("COMMIT").await;
}

#[tokio::test]
async fn truncate_commits_the_transaction_it_runs_in() {
    for stays_open in [false, true] {
        let bench = Bench::with(|config| {
            config.unknowns.refuse_truncate_in_block = false;
            config.unknowns.truncate_leaves_block_open = stays_open;
        })
        .await;
        let session = bench.client().await;
        session.sql("CREATE TABLE t (a INT); CREATE TABLE u (a INT); INSERT INTO t VALUES (1)").await;
        session.sql("BEGIN; INSERT INTO u VALUES (1); TRUNCATE t; INSERT INTO u VALUES (2); ROLLBACK").await;
        assert_eq!(session.sql("SELECT count(*) FROM t").await, ["0"]);
        assert_eq!(session.sql("SELECT a FROM u ORDER BY a").await.len(), if stays_open { 1 } else { 2 });
        session.sql("CREATE USER reader PASSWORD 'Reader-1'; GRANT SELECT, INSERT ON u TO reader").await;
        let reader = bench.client_as("reader", "Reader-1").await.unwrap();
        for (sql, state) in [("TRUNCATE nowhere", "42P01"), ("TRUNCATE u", "42501")] {
            reader.sql("BEGIN; INSERT INTO u VALUES (3)").await;
            assert_eq!(reader.state(sql).await, state);
            reader.sql("ROLLBACK").await;
            assert_eq!(session.sql("SELECT count(*) FROM u WHERE a = 3").await, ["0"], "{sql} commits nothing");
        }
    }
    let strict = Bench::new().await;
    let session = strict.client().await;
    session.sql("CREATE TABLE t (a INT); BEGIN").await;
    assert_eq!(session.state("TRUNCATE t").await, "LS000");
}

#[tokio::test]
async fn append_and_vacuum_are_refused_in_a_transaction() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session.sql("CREATE TABLE t (a INT); CREATE TABLE u (a INT); INSERT INTO u VALUES (1)").await;
    session.sql("BEGIN").await;
    assert_eq!(session.state("ALTER TABLE t APPEND FROM u").await, "25001");
    session.sql("ROLLBACK; BEGIN").await;
    assert_eq!(session.state("VACUUM").await, "25001");
    session.sql("ROLLBACK; ALTER TABLE t APPEND FROM u; VACUUM DELETE ONLY t; ANALYZE t").await;
    assert_eq!(session.sql("SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM u)").await, ["1|0"]);
}

#[tokio::test]
async fn a_table_dropped_after_the_snapshot_is_1018() {
    let bench = Bench::new().await;
    let (one, two) = (bench.client().await, bench.client().await);
    one.sql("CREATE TABLE a (a INT); CREATE TABLE b (a INT)").await;
    one.sql("BEGIN; SELECT count(*) FROM a").await;
    two.sql("DROP TABLE b").await;
    let error = one.refused("SELECT count(*) FROM b").await;
    assert_eq!((error.code().code(), error.message()), ("XX000", "1018"));
}

#[tokio::test]
async fn create_drop_and_rename_are_undone_by_rollback() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session.sql("CREATE TABLE a (a INT); CREATE TABLE b (a INT)").await;
    session.sql("BEGIN; CREATE TABLE c (a INT); DROP TABLE a; ALTER TABLE b RENAME TO d; ROLLBACK").await;
    session.sql("SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b)").await;
    assert_eq!(session.state("SELECT * FROM c").await, "42P01");
}

#[tokio::test]
async fn a_database_tells_how_it_isolates() {
    for (isolation, expected) in
        [(Isolation::Snapshot, "Snapshot Isolation"), (Isolation::Serializable, "Serializable")]
    {
        let bench = Bench::with(|config| {
            config.isolation = isolation;
            config.mode = redshift_standin::Mode::Provisioned;
        })
        .await;
        let session = bench.client().await;
        assert_eq!(session.sql("SELECT trim(isolation_level) FROM stv_db_isolation_level").await, [expected]);
        assert_eq!(session.sql("SELECT database_isolation_level FROM svv_redshift_databases").await, [expected]);
    }
}

#[tokio::test]
async fn lock_needs_the_right_to_change_rows() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session.sql("CREATE TABLE t (a INT); CREATE USER reader PASSWORD 'Reader-1'; GRANT SELECT ON t TO reader").await;
    let reader = bench.client_as("reader", "Reader-1").await.unwrap();
    reader.sql("BEGIN").await;
    assert_eq!(reader.state("LOCK t").await, "42501");
}
