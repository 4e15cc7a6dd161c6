//! CREATE and ALTER TABLE: types that are carried on, keys, what may be changed where.

use redshift_standin::Mode;

use crate::standin::Bench;

const DEFINITIONS: &str = "SELECT \"column\", type, \"notnull\" FROM pg_table_def WHERE tablename =";

#[tokio::test]
async fn a_table_from_a_query_has_the_types_of_its_columns() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session.sql("CREATE TABLE t (a INT NOT NULL, v VARCHAR(4) ENCODE lzo, d DECIMAL(8,2), s SUPER)").await;
    session.sql("INSERT INTO t VALUES (1, 'abcd', 1.5, NULL)").await;
    session.sql("CREATE TABLE u AS SELECT v, a, d, s, 1 AS one FROM (SELECT * FROM t) x").await;
    assert_eq!(
        session.sql(&format!("{DEFINITIONS} 'u'")).await,
        ["v|character varying(4)|f", "a|integer|f", "d|numeric(8,2)|f", "s|super|f", "one|integer|f"]
    );
    assert_eq!(session.state("INSERT INTO u (v) VALUES ('abcde')").await, "22001");
    for query in ["SELECT v || 'x' AS v FROM t", "SELECT 'x' AS v", "SELECT sum(d) AS d FROM t"] {
        assert_eq!(session.state(&format!("CREATE TABLE w AS {query}")).await, "LS000", "{query}");
    }
    assert_eq!(session.state("CREATE TABLE IF NOT EXISTS w AS SELECT a FROM t").await, "42601");
}

#[tokio::test]
async fn casts_to_varchar_count_bytes() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    assert_eq!(
        session.sql("SELECT 'äöü'::varchar(4), CAST('abc' AS varchar(2)), 'a '::varchar || '.'").await,
        ["äö|ab|a ."]
    );
    assert_eq!(session.state("SELECT 'äöü'::varchar(3)").await, "LS000");
}

#[tokio::test]
async fn decimals_of_19_digits_are_kept_in_64_bits() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session.sql("CREATE TABLE t (a DECIMAL(19,0), b DECIMAL(19,2), c DECIMAL(38,0))").await;
    session
        .sql(
            "INSERT INTO t VALUES (9223372036854775807, -92233720368547758.07, 99999999999999999999999999999999999999)",
        )
        .await;
    assert_eq!(session.state("INSERT INTO t (a) VALUES (9223372036854775808)").await, "22003");
    assert_eq!(session.state("INSERT INTO t (b) VALUES (92233720368547758.08)").await, "22003");
    session.sql("CREATE TABLE u AS SELECT a FROM t").await;
    assert_eq!(session.state("INSERT INTO u VALUES (9999999999999999999)").await, "22003");
}

#[tokio::test]
async fn keys_of_a_table_need_their_columns() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    for (sql, state) in [
        ("CREATE TABLE t (a INT, PRIMARY KEY (b))", "42703"),
        ("CREATE TABLE t (a INT, UNIQUE (b))", "42703"),
        ("CREATE TABLE t (a INT, FOREIGN KEY (a) REFERENCES nowhere (a))", "42P01"),
        ("CREATE TABLE t (a INT) DISTKEY (b)", "42703"),
        ("CREATE TABLE t (a INT) DISTSTYLE KEY", "42601"),
        ("CREATE TABLE t (a INT DISTKEY) DISTSTYLE EVEN", "42601"),
        ("CREATE TABLE t (a INT DISTKEY, b INT DISTKEY)", "42601"),
        ("CREATE TABLE t (a SUPER DISTKEY)", "0A000"),
        ("CREATE TABLE t (a SUPER) SORTKEY (a)", "0A000"),
    ] {
        assert_eq!(session.state(sql).await, state, "{sql}");
    }
    session.sql("CREATE TABLE t (a INT, b INT, PRIMARY KEY (a))").await;
    assert_eq!(session.state("INSERT INTO t VALUES (NULL, 1)").await, "23502");
    let columns = |count: usize| (0..count).map(|n| format!("c{n}")).collect::<Vec<_>>();
    let wide = columns(401).iter().map(|name| format!("{name} INT")).collect::<Vec<_>>().join(", ");
    assert_eq!(session.state(&format!("CREATE TABLE w ({wide}) SORTKEY ({})", columns(401).join(", "))).await, "54011");
    assert_eq!(
        session.state(&format!("CREATE TABLE w ({wide}) INTERLEAVED SORTKEY ({})", columns(9).join(", "))).await,
        "54011"
    );
}

#[tokio::test]
async fn like_takes_keys_and_not_null_and_defaults_only_if_told() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session.sql("CREATE TABLE t (a INT NOT NULL DEFAULT 7, b INT) DISTSTYLE EVEN SORTKEY (b)").await;
    session.sql("CREATE TABLE u (LIKE t INCLUDING DEFAULTS); CREATE TABLE v (LIKE t EXCLUDING DEFAULTS)").await;
    session.sql("INSERT INTO u (b) VALUES (1)").await;
    assert_eq!(session.sql("SELECT a FROM u").await, ["7"]);
    assert_eq!(session.state("INSERT INTO v (b) VALUES (1)").await, "23502");
    assert_eq!(
        session.sql("SELECT diststyle, sortkey1, tbl_rows FROM svv_table_info WHERE \"table\" = 'u'").await,
        ["EVEN|b|1"]
    );
    for more in ["DISTKEY (a)", "SORTKEY (a)", "DISTSTYLE ALL", "BACKUP NO"] {
        assert_eq!(session.state(&format!("CREATE TABLE w (LIKE t) {more}")).await, "42601", "{more}");
    }
}

#[tokio::test]
async fn a_text_becomes_longer_outside_of_a_transaction_only() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session.sql("CREATE TABLE t (v VARCHAR(4), n INT); BEGIN").await;
    assert_eq!(session.state("ALTER TABLE t ALTER COLUMN v TYPE VARCHAR(8)").await, "25001");
    session.sql("ROLLBACK; ALTER TABLE t ALTER COLUMN v TYPE VARCHAR(8); INSERT INTO t VALUES ('abcdefgh', 1)").await;
    assert_eq!(session.state("INSERT INTO t VALUES ('abcdefghi', 1)").await, "22001");
    assert_eq!(session.sql(&format!("{DEFINITIONS} 't'")).await[0], "v|character varying(8)|f");
    assert_eq!(session.state("ALTER TABLE t ALTER COLUMN n TYPE BIGINT").await, "0A000");
    assert_eq!(session.state("ALTER TABLE t ALTER COLUMN n TYPE VARCHAR(9)").await, "0A000");
    assert_eq!(session.state("ALTER TABLE t ALTER COLUMN v TYPE VARCHAR(2)").await, "LS000");
}

#[tokio::test]
async fn append_needs_permanent_tables_that_are_alike() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session
        .sql("CREATE TABLE t (a INT, v VARCHAR(4)); CREATE TABLE same (LIKE t); INSERT INTO same VALUES (1, 'x')")
        .await;
    session.sql("CREATE TABLE longer (a INT, v VARCHAR(5)); CREATE TABLE named (b INT, v VARCHAR(4))").await;
    session.sql("CREATE TABLE fewer (a INT); CREATE TABLE sorted (a INT SORTKEY, v VARCHAR(4))").await;
    session.sql("CREATE TEMP TABLE passing (a INT, v VARCHAR(4))").await;
    for source in ["longer", "named", "fewer", "sorted", "passing", "t"] {
        assert_eq!(session.state(&format!("ALTER TABLE t APPEND FROM {source}")).await, "0A000", "{source}");
    }
    session.sql("ALTER TABLE t APPEND FROM same").await;
    assert_eq!(session.sql("SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM same)").await, ["1|0"]);
}

#[tokio::test]
async fn a_temporary_table_keeps_its_session_under_another_name() {
    let bench = Bench::new().await;
    let (one, two) = (bench.client().await, bench.client().await);
    one.sql("CREATE TEMP TABLE a (n INT); ALTER TABLE a RENAME TO b; INSERT INTO b VALUES (1)").await;
    two.sql("CREATE TABLE b (n INT); BEGIN; LOCK b").await;
    assert_eq!(one.sql("SELECT n FROM b").await, ["1"], "it is nobody else's");
    two.sql("ROLLBACK").await;
}

#[tokio::test]
async fn bpchar_is_a_char_of_256() {
    let bench = Bench::with(|config| config.mode = Mode::Provisioned).await;
    let session = bench.client().await;
    session.sql("CREATE TABLE t (a BPCHAR, b CHAR(4096))").await;
    assert_eq!(session.sql(&format!("{DEFINITIONS} 't'")).await, ["a|character(256)|f", "b|character(4096)|f"]);
}

#[tokio::test]
async fn merge_without_duplicates_replaces_rows_by_key() {
    let bench = Bench::new().await;
    let session = bench.client().await;
    session.sql("CREATE TABLE t (k INT, v INT); CREATE TABLE s (k INT, v INT); CREATE TABLE other (k INT)").await;
    session.sql("INSERT INTO t VALUES (1, 1), (1, 2), (2, 2); INSERT INTO s VALUES (1, 10), (3, 30)").await;
    session.sql("MERGE INTO t USING s x ON t.k = x.k REMOVE DUPLICATES").await;
    assert_eq!(session.sql("SELECT k, v FROM t ORDER BY k").await, ["1|10", "2|2", "3|30"]);
    assert_eq!(session.state("MERGE INTO t USING other ON t.k = other.k REMOVE DUPLICATES").await, "42601");
    assert_eq!(session.state("MERGE INTO t USING t ON t.k = t.k REMOVE DUPLICATES").await, "XX000");
}
