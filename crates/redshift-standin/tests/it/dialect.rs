//! What Redshift's SQL has, and what it has not.

use redshift_standin::Mode;

use crate::standin::Bench;

#[tokio::test]
async fn what_redshift_lacks_is_refused() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session.sql("CREATE TABLE t (a INT, b VARCHAR(10))").await;
    for (sql, state) in [
        ("INSERT INTO t VALUES (1, 'x') ON CONFLICT DO NOTHING", "42601"),
        ("INSERT INTO t VALUES (1, 'x') RETURNING a", "42601"),
        ("SAVEPOINT s", "42601"),
        ("SELECT * FROM t FOR UPDATE", "42601"),
        ("SELECT DISTINCT ON (a) * FROM t", "42601"),
        ("SELECT count(*) FILTER (WHERE a = 1) FROM t", "42601"),
        ("SELECT pg_advisory_lock(1)", "42883"),
        ("LISTEN x", "0A000"),
        ("CREATE INDEX i ON t (a)", "0A000"),
        ("CREATE SEQUENCE s", "0A000"),
        ("CREATE TRIGGER x BEFORE INSERT ON t EXECUTE FUNCTION f()", "0A000"),
        ("CREATE TABLE u (a SERIAL)", "0A000"),
        ("CREATE TABLE u (a UUID)", "0A000"),
        ("CREATE TABLE u (a JSONB)", "0A000"),
        ("CREATE TABLE u (a BYTEA)", "0A000"),
        ("CREATE TABLE u (a INT[])", "42601"),
        ("CREATE TABLE u (a INT CHECK (a > 0))", "42601"),
        ("CREATE TABLE u (a INT) PARTITION BY RANGE (a)", "42601"),
        ("CREATE TABLE u (a DECIMAL(39,0))", "22023"),
        ("CREATE TABLE u (a VARCHAR(65536))", "22023"),
        ("CREATE TEMP TABLE u (a INT) ON COMMIT DROP", "42601"),
        ("CREATE TABLE u (LIKE t INCLUDING ALL)", "42601"),
        ("COPY t FROM STDIN", "0A000"),
        ("SELECT nextval('s')", "0A000"),
        ("SELECT tag FROM t", "42601"),
        ("EXPLAIN SELECT 1", "LS000"),
        ("SELECT pg_read_file('/etc/passwd')", "LS000"),
        ("SELECT * FROM pg_authid", "LS000"),
        ("SELECT * FROM standin.users", "3F000"),
        ("SELECT \"pg_read_file\"('/etc/passwd')", "LS000"),
        ("SELECT pg_catalog.pg_read_file('/etc/passwd')", "LS000"),
        ("SELECT standin.create_user('x', 'y')", "LS000"),
        ("DROP SCHEMA standin CASCADE", "3F000"),
        ("DROP TABLE standin.load_files", "3F000"),
        ("TRUNCATE standin.load_files", "3F000"),
        ("CREATE TABLE standin.evil (a INT)", "3F000"),
        ("GRANT SELECT ON standin.users TO public", "3F000"),
        ("LOCK standin.users", "3F000"),
        ("SET search_path TO standin", "LS000"),
        (
            "MERGE INTO t USING standin.users u ON t.b = u.name WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (b) VALUES (u.password)",
            "3F000",
        ),
        ("SELECT * FROM (pg_shadow JOIN t ON true)", "LS000"),
        ("WITH x AS (DELETE FROM t WHERE a = 1) SELECT 1", "42601"),
        ("SELECT CAST('{1}' AS INT ARRAY)", "42601"),
        ("SELECT money '1'", "LS000"),
        ("SELECT a INTO u FROM t", "LS000"),
        ("SELECT ctid FROM t", "LS000"),
        ("CREATE TABLE u (a CHAR(4097))", "22023"),
        ("CREATE TABLE u (tag INT)", "42601"),
        ("CREATE TABLE u (\"ctid\" INT)", "42701"),
        ("CREATE TABLE nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn (a INT)", "LS000"),
        ("COMMIT now", "42601"),
        ("ROLLBACK TO SAVEPOINT a", "42601"),
        ("GRANT SELECT ON t, standin.users TO public", "3F000"),
        ("GRANT SELECT ON t TO GROUP g", "LS000"),
        ("GRANT SELECT ON pg_user TO public", "42501"),
        ("GRANT SELECT ON t TO public WITH GRANT OPTION", "LS000"),
        ("VACUUM nowhere", "42P01"),
        ("ANALYZE nowhere", "42P01"),
        ("ALTER TABLE nowhere ADD PRIMARY KEY (a)", "42P01"),
        ("LOCK nowhere", "42P01"),
        ("SELECT TOP 1 a FROM t", "LS000"),
        ("SET analyze_threshold_percent TO 1", "LS000"),
        ("SELECT skew_rows FROM svv_table_info", "LS000"),
        ("SELECT a AS b2, b2 FROM t", "LS000"),
        ("SELECT avg(a) FROM t", "LS000"),
        ("ALTER TABLE t ADD CONSTRAINT x CHECK (a > 0)", "42601"),
        ("VACUUM nonsense 12", "LS000"),
        ("SET statement_timeout TO 'abc'", "22023"),
        ("SELECT lo_import('x')", "LS000"),
        ("DO $$ BEGIN END $$", "LS000"),
    ] {
        assert_eq!(session.state(sql).await, state, "{sql}");
    }
}

#[tokio::test]
async fn now_does_not_go_with_a_users_table_and_getdate_does() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session.sql("CREATE TABLE t (a TIMESTAMP)").await;
    assert_eq!(session.state("INSERT INTO t SELECT now()").await, "0A000");
    assert_eq!(session.state("SELECT current_timestamp FROM t").await, "0A000");
    session.sql("INSERT INTO t SELECT getdate(); INSERT INTO t VALUES (sysdate)").await;
    session.sql("SELECT now()").await;
}

#[tokio::test]
async fn quoted_names_fold_and_a_backslash_escapes() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session.sql("CREATE TABLE \"Orders\" (\"PassengerId\" INT, note VARCHAR(20))").await;
    session.sql(r"INSERT INTO orders VALUES (1, 'it\'s'), (2, 'a\\b')").await;
    assert_eq!(session.sql("SELECT passengerid, note FROM orders ORDER BY 1").await, ["1|it's", r"2|a\b"]);
}

#[tokio::test]
async fn keys_are_not_enforced_and_not_null_is() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session.sql("CREATE TABLE p (id INT PRIMARY KEY); CREATE TABLE t (id INT UNIQUE, p INT REFERENCES p (id), n INT NOT NULL)").await;
    session.sql("INSERT INTO p VALUES (1), (1); INSERT INTO t VALUES (1, 99, 1), (1, 99, 1)").await;
    let error = session.refused("INSERT INTO t VALUES (2, 2, NULL)").await;
    assert_eq!(error.message(), "Cannot insert a NULL value into column n");
    assert_eq!(session.sql("SELECT count(*) FROM t").await, ["2"]);
}

#[tokio::test]
async fn lengths_are_bytes_and_defaults_are_redshifts() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session.sql("CREATE TABLE t (v VARCHAR(4), c CHAR(2), plain VARCHAR, t TEXT, d DECIMAL, x VARCHAR(MAX))").await;
    session.sql("INSERT INTO t (v) VALUES ('äö')").await;
    assert_eq!(session.state("INSERT INTO t (v) VALUES ('äöü')").await, "22001");
    assert_eq!(session.state("INSERT INTO t (c) VALUES ('é')").await, "22001");
    let types = session.sql("SELECT \"column\", type FROM pg_table_def WHERE tablename = 't'").await;
    assert_eq!(
        types,
        [
            "v|character varying(4)",
            "c|character(2)",
            "plain|character varying(256)",
            "t|character varying(256)",
            "d|numeric(18,0)",
            "x|character varying(65535)"
        ]
    );
}

#[tokio::test]
async fn trailing_blanks_do_not_count_when_texts_are_compared() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session.sql("CREATE TABLE t (v VARCHAR(9), n INT); INSERT INTO t VALUES ('a', 1), ('a  ', 2)").await;
    assert_eq!(session.sql("SELECT count(*) FROM t WHERE v = 'a'").await, ["2"]);
    assert_eq!(session.sql("SELECT count(*), count(DISTINCT v) FROM t").await, ["2|1"]);
    let rows =
        "SELECT n FROM (SELECT n, ROW_NUMBER() OVER (PARTITION BY v ORDER BY n DESC) AS rn FROM t) x WHERE rn = 1";
    assert_eq!(session.sql(rows).await, ["2"]);
    assert_eq!(session.sql("SELECT len(v) FROM t ORDER BY n").await, ["1", "3"]);
}

#[tokio::test]
async fn keys_and_encodings_of_a_table_are_in_the_catalog() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session
        .sql(
            "CREATE TABLE titanic (PasengerId integer PRIMARY KEY distkey sortkey, Name varchar(128) encode lzo,
             Fare decimal(8,2) NOT NULL)",
        )
        .await;
    session.sql("CREATE TABLE two (a INT, b INT, c INT) DISTSTYLE KEY DISTKEY (b) COMPOUND SORTKEY (c, a)").await;
    let rows = "SELECT \"column\", encoding, distkey, sortkey, \"notnull\" FROM pg_table_def WHERE tablename =";
    assert_eq!(
        session.sql(&format!("{rows} 'titanic'")).await,
        ["pasengerid|none|t|1|t", "name|lzo|f|0|f", "fare|none|f|0|t"]
    );
    assert_eq!(session.sql(&format!("{rows} 'two'")).await, ["a|none|f|2|f", "b|none|t|0|f", "c|none|f|1|f"]);
    session.sql("CREATE TABLE copy_of (LIKE titanic)").await;
    assert_eq!(
        session.sql(&format!("{rows} 'copy_of'")).await,
        ["pasengerid|none|t|1|t", "name|lzo|f|0|f", "fare|none|f|0|t"]
    );
    assert_eq!(
        session
            .sql(
                "SELECT column_name, data_type, character_maximum_length, numeric_precision, numeric_scale, is_nullable
                  FROM svv_columns WHERE table_name = 'titanic' ORDER BY ordinal_position"
            )
            .await,
        ["pasengerid|integer|NULL|32|0|NO", "name|character varying|128|NULL|NULL|YES", "fare|numeric|NULL|8|2|NO"]
    );
    assert_eq!(session.sql("SELECT count(*) FROM svv_table_info WHERE \"table\" = 'titanic'").await, ["0"]);
}

#[tokio::test]
async fn identity_is_numbered_with_gaps_and_not_settable() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session
        .sql("CREATE TABLE t (id BIGINT IDENTITY(1,1), g INT GENERATED BY DEFAULT AS IDENTITY(5,2), n INT DEFAULT 7)")
        .await;
    session.sql("INSERT INTO t (n) VALUES (1), (2)").await;
    assert_eq!(session.sql("SELECT id, g, n FROM t ORDER BY id").await, ["1|5|1", "4|11|2"]);
    session.refused("INSERT INTO t (id, n) VALUES (9, 9)").await;
    session.sql("INSERT INTO t (g) VALUES (99)").await;
    let defaults =
        session.sql("SELECT column_default FROM svv_columns WHERE table_name = 't' ORDER BY ordinal_position").await;
    assert!(defaults[0].starts_with("\"identity\"(") && defaults[0].ends_with("'1,1'::text)"), "{defaults:?}");
    assert!(defaults[1].starts_with("\"default_identity\"("), "{defaults:?}");
    assert_eq!(defaults[2], "7");
    for inherits in [false, true] {
        let bench = Bench::with(|config| config.unknowns.like_inherits_identity = inherits).await;
        let session = bench.client().await;
        session.sql("CREATE TABLE t (id BIGINT IDENTITY(1,1), n INT); CREATE TABLE u (LIKE t)").await;
        assert_eq!(session.client.simple_query("INSERT INTO u (n) VALUES (1)").await.is_ok(), inherits);
    }
}

#[tokio::test]
async fn merge_has_both_branches_and_nothing_more() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session.sql("CREATE TABLE t (k INT, v INT); CREATE TABLE s (k INT, v INT); INSERT INTO t VALUES (1, 1); INSERT INTO s VALUES (1, 10), (2, 20)").await;
    let merge = "MERGE INTO t USING s ON t.k = s.k WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT (k, v) VALUES (s.k, s.v)";
    session.sql(merge).await;
    assert_eq!(session.sql("SELECT k, v FROM t ORDER BY k").await, ["1|10", "2|20"]);
    for (sql, state) in [
        ("MERGE INTO t USING s ON t.k = s.k WHEN MATCHED THEN UPDATE SET v = s.v", "42601"),
        (
            "MERGE INTO t AS x USING s ON x.k = s.k WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (1, 1)",
            "42601",
        ),
        (
            "MERGE INTO t USING s ON t.k = s.k WHEN NOT MATCHED THEN INSERT VALUES (1, 1) WHEN MATCHED THEN DELETE",
            "42601",
        ),
        (
            "WITH w AS (SELECT 1) MERGE INTO t USING s ON t.k = s.k WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (1, 1)",
            "42601",
        ),
        (
            "MERGE INTO t USING s ON t.k < s.k WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (1, 1)",
            "LS000",
        ),
        (
            "MERGE INTO t USING s ON t.k = s.k WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (k) VALUES (extract(year from now()))",
            "0A000",
        ),
        (
            "MERGE INTO t USING s ON t.k = s.k WHEN MATCHED THEN UPDATE SET v = (SELECT count(*) FROM pg_shadow) WHEN NOT MATCHED THEN INSERT VALUES (1, 1)",
            "LS000",
        ),
        (
            "MERGE INTO t USING s ON t.k = s.k WHEN MATCHED THEN UPDATE SET v = (SELECT count(*) FROM t) WHEN NOT MATCHED THEN INSERT VALUES (1, 1)",
            "LS000",
        ),
        (
            "MERGE INTO t USING s ON t.k = s.k WHEN MATCHED AND s.v > 1 THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (1, 1)",
            "42601",
        ),
        (
            "MERGE INTO t USING s ON t.k = s.k WHEN MATCHED THEN DO NOTHING WHEN NOT MATCHED THEN INSERT VALUES (1, 1)",
            "42601",
        ),
        (
            "MERGE INTO t USING t ON t.k = t.k WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (1, 1)",
            "XX000",
        ),
    ] {
        assert_eq!(session.state(sql).await, state, "{sql}");
    }
    session.sql(&merge.replace("(s.k, s.v)", "(nvl(s.k, 0), s.v)").replace("= s.v", "= nvl(s.v, len('abc'))")).await;
    session.sql("INSERT INTO s VALUES (1, 11), (3, 30), (3, 31)").await;
    assert_eq!(session.refused(merge).await.message(), "Found multiple matches to update the same tuple.");
    session.sql(&merge.replace("USING s", "USING (SELECT k, v FROM s WHERE k = 3) s")).await;
    assert_eq!(
        session.sql("SELECT count(*) FROM t WHERE k = 3").await,
        ["2"],
        "duplicates that match nothing are all inserted"
    );
}

#[tokio::test]
async fn temporary_tables_shadow_others_and_end_with_the_session() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session.sql("CREATE TABLE t (a INT); INSERT INTO t VALUES (1)").await;
    session.sql("CREATE TEMP TABLE t (a INT); CREATE TABLE #u (a INT); INSERT INTO #u VALUES (3)").await;
    assert_eq!(session.sql("SELECT count(*) FROM t").await, ["0"]);
    assert_eq!(session.sql("SELECT count(*) FROM public.t").await, ["1"]);
    assert_eq!(session.sql("SELECT a FROM #u").await, ["3"]);
    assert_eq!(bench.client().await.sql("SELECT count(*) FROM t").await, ["1"]);
    assert_eq!(bench.client().await.state("SELECT a FROM #u").await, "42P01");
    session.sql("CREATE TEMP TABLE last DISTSTYLE KEY DISTKEY (a) AS SELECT a FROM public.t").await;
    assert_eq!(session.sql("SELECT a FROM last").await, ["1"]);
}

#[tokio::test]
async fn a_user_has_the_rights_that_were_granted_and_sees_the_own_loads_only() {
    let bench = Bench::with(|config| config.mode = Mode::Provisioned).await;
    let session = bench.client().await;
    session.sql("CREATE USER loader PASSWORD 'Loader-1'; CREATE TABLE t (a INT); GRANT INSERT ON t TO loader").await;
    let loader = bench.client_as("loader", "Loader-1").await.unwrap();
    loader.sql("INSERT INTO t VALUES (1)").await;
    assert_eq!(loader.state("SELECT * FROM t").await, "42501");
    assert_eq!(loader.state("CREATE USER other PASSWORD 'x'").await, "42501");
    assert_eq!(loader.state("SELECT * FROM svv_table_info").await, "42501");
    assert_eq!(
        loader.sql("SELECT has_table_privilege('t', 'insert'), has_table_privilege('t', 'delete')").await,
        ["t|f"]
    );
}

#[tokio::test]
async fn a_common_table_hides_a_table_from_its_end_on() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session.sql("CREATE TABLE t (a INT); INSERT INTO t VALUES (1)").await;
    assert_eq!(session.sql("WITH t AS (SELECT a + 1 AS a FROM t) SELECT a FROM t").await, ["2"]);
    assert_eq!(
        session.state("WITH pg_shadow AS (SELECT usename FROM pg_shadow) SELECT usename FROM pg_shadow").await,
        "LS000"
    );
    assert_eq!(session.state("SELECT '' UNION ALL TABLE standin.users").await, "42601");
    assert_eq!(session.state("SELECT t.row_to_json FROM t").await, "42703");
}

#[tokio::test]
async fn blanks_at_the_end_are_kept_by_functions_and_do_not_count_in_comparisons() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session.sql("CREATE TABLE t (v VARCHAR(9)); INSERT INTO t VALUES ('a  ')").await;
    assert_eq!(session.sql("SELECT 'a' = 'a  ', 'a' IN ('a '), upper(v) = 'A', v LIKE 'a' FROM t").await, ["t|t|t|f"]);
    assert_eq!(
        session.sql("SELECT v || 'x', len(upper(v)), '[' || trim(v) || ']', len(v), left(v, 2) || '.' FROM t").await,
        ["a  x|3|[a]|3|a ."]
    );
    assert_eq!(session.sql("SELECT DISTINCT k FROM (SELECT 'a' AS k UNION ALL SELECT 'a ') x").await.len(), 1);
    assert_eq!(session.sql(r"SELECT quote_literal('it\'s a \\')").await, [r"'it''s a \\'"]);
    assert_eq!(
        session.sql("SELECT concat('a', NULL), date_trunc('month', DATE '2024-02-29')").await,
        ["NULL|2024-02-01 00:00:00"]
    );
}

#[tokio::test]
async fn excess_of_blanks_is_no_error_and_is_cut_off() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session.sql("CREATE TABLE t (v VARCHAR(4)); INSERT INTO t VALUES ('ab         ')").await;
    assert_eq!(session.sql("SELECT len(v) FROM t").await, ["4"]);
    assert_eq!(session.state("INSERT INTO t VALUES ('abc     d')").await, "22001");
    session.sql("CREATE TABLE u (LIKE t)").await;
    assert_eq!(session.state("INSERT INTO u VALUES ('abcde')").await, "22001");
}

#[tokio::test]
async fn whole_numbers_are_texts_beside_a_text() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session.sql("CREATE TABLE t (v VARCHAR(9), n SMALLINT, d DECIMAL(8,2)); INSERT INTO t VALUES ('a ', 7, 1.5)").await;
    assert_eq!(session.sql("SELECT v || n || '.' || 1 || 'x' || v, 'a' || 'b' FROM t").await, ["a 7.1xa |ab"]);
    assert_eq!(session.state("SELECT v || d FROM t").await, "LS000");
}

#[tokio::test]
async fn words_that_redshift_does_not_keep_are_names() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session
        .sql("CREATE TABLE t (uuid INT, window INT, groups INT); INSERT INTO t (uuid, window, groups) VALUES (1, 2, 3)")
        .await;
    assert_eq!(session.sql("SELECT uuid, t.window, groups FROM t WHERE window = 2").await, ["1|2|3"]);
}
