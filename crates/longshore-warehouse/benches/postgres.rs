//! How long the PostgreSQL driver takes, beside `psql` doing the same in the same run.
//!
//! `cargo bench -p longshore-warehouse --bench postgres [-- rows] [-- ledger]`. Rows look like TPC-H's
//! lineitem; `psql` reads them from a CSV file that the server wrote. With `ledger`, one of ten million
//! entries is asked instead.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod lineitem;

use std::process::Command;
use std::time::{Duration, Instant};

use lineitem::{BATCH, COLUMNS, ROWS, batch, load, pool, spec};
use longshore_postgres::Config;
use longshore_postgres::testing::{Options, Server};
use longshore_warehouse::postgres::{PATIENCE, Postgres, PostgresConfig, encoded};
use longshore_warehouse::{Candidate, Mode, ObjectId, Warehouse};

/// The types of lineitem, as the catalog has them.
const TYPES: &[(&str, i32)] = &[
    ("int8", -1),
    ("int8", -1),
    ("int8", -1),
    ("int4", -1),
    ("numeric", DECIMAL),
    ("numeric", DECIMAL),
    ("numeric", DECIMAL),
    ("numeric", DECIMAL),
    ("text", -1),
    ("text", -1),
    ("date", -1),
    ("date", -1),
    ("date", -1),
    ("text", -1),
    ("text", -1),
    ("text", -1),
];
/// The modifier of DECIMAL(15, 2).
const DECIMAL: i32 = (15 << 16) + 2 + 4;

const KEY: [&str; 2] = ["l_orderkey", "l_linenumber"];

fn line(what: &str, took: Duration, than: Option<Duration>) -> Duration {
    let ratio = than.map_or_else(String::new, |than| format!("  {:5.2}", took.as_secs_f64() / than.as_secs_f64()));
    println!("{what:60} {:9.3} s{ratio}", took.as_secs_f64());
    took
}

async fn timed<T>(work: impl Future<Output = T>) -> Duration {
    let start = Instant::now();
    work.await;
    start.elapsed()
}

/// Runs `psql` with statements of one transaction.
fn psql(url: &str, statements: &[String]) -> Duration {
    let start = Instant::now();
    let mut psql = Command::new("psql");
    psql.args(["-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-d", url]);
    for statement in statements {
        psql.args(["-c", statement]);
    }
    assert!(psql.status().expect("psql runs").success(), "psql fails");
    start.elapsed()
}

fn encoder(rows: usize, csv_bytes: u64) {
    let pool = pool();
    let batches: Vec<_> = (0..pool.len()).map(|index| batch(&pool, index, BATCH, 0, None).rows).collect();
    let (mut into, mut done) = (vec![0; 4 << 20], 0);
    let start = Instant::now();
    while done < rows {
        encoded(TYPES, &batches[done / BATCH % batches.len()], &mut into);
        std::hint::black_box(&into);
        done += BATCH;
    }
    let took = start.elapsed();
    let speed = csv_bytes as f64 * done as f64 / rows as f64 / took.as_secs_f64() / 1e6;
    println!(
        "the encoder alone, of one core: {speed:.0} MB/s of CSV, {:.0} ns a row",
        took.as_nanos() as f64 / done as f64
    );
}

async fn ledger(server: &Server) {
    let database = server.database();
    let warehouse = warehouse(&database.url());
    database.sql("CREATE TABLE orders (id int); GRANT ALL ON orders TO PUBLIC");
    let table: longshore_warehouse::TableName = "public.orders".parse().expect("a name");
    warehouse.check(&[(table.clone(), Mode::Append)]).await;
    let fill = "INSERT INTO longshore.ledger SELECT 'public.orders', encode(sha256(n::text::bytea), 'hex'), 1, 'orders', 'append',
        'load', NULL, gen_random_uuid()::text, 's3://bench', 'pending/orders/' || n || '.csv', 'etag', 1000,
        timestamptz '2024-01-01' + n * interval '1 second', encode(sha256(n::text::bytea), 'hex'), 'rules', 10, 10, 0, 0, 0,
        false, now(), 'processed/orders/' || n || '.csv' FROM generate_series(1, 10000000) n";
    line("a ledger of ten million entries is written", timed(async { database.sql(fill) }).await, None);
    database.sql("VACUUM ANALYZE longshore.ledger");
    println!(
        "it takes {}",
        database.sql("SELECT pg_size_pretty(pg_total_relation_size('longshore.ledger'))").unwrap_or_default()
    );
    let candidates: Vec<Candidate> = (0..1_000_u64)
        .map(|n| {
            use sha2::{Digest, Sha256};
            let n = n * 10_007 + 3;
            let mut digest = [0; 32];
            digest.copy_from_slice(&Sha256::digest(n.to_string().as_bytes()));
            Candidate {
                identity: ObjectId::new(digest),
                pipeline: "orders".to_owned(),
                key: format!("pending/orders/{n}.csv"),
            }
        })
        .collect();
    for what in ["1,000 candidates, first time", "1,000 candidates, again"] {
        let known = async {
            let known = warehouse.lookup(&table, &candidates).await.expect("a lookup");
            assert_eq!((known.entries.len(), known.hashes.len()), (1_000, 1_000));
        };
        line(what, timed(known).await, None);
    }
    let mut page = warehouse.page(&table, None).await.expect("a page");
    let walk = async {
        for _ in 0..20 {
            let after = page.last().map(longshore_warehouse::Cursor::from);
            page = warehouse.page(&table, after.as_ref()).await.expect("a page");
        }
    };
    line("20 pages of 1,000", timed(walk).await, None);
    let pool = pool();
    let small = async {
        for n in 0..100 {
            let mut spec = spec("orders", Mode::Append, n, None);
            spec.columns = vec!["id".to_owned()];
            load(&warehouse, spec, &pool, 0, 0, None).await;
        }
    };
    line("100 loads without rows", timed(small).await, None);
}

fn warehouse(url: &str) -> Postgres {
    let connect = Config::with_environment(url, &|_| None).expect("a URL");
    Postgres::new(PostgresConfig {
        connect,
        wait: Duration::from_secs(5),
        patience: PATIENCE,
        project: "bench".to_owned(),
    })
}

#[tokio::main]
async fn main() {
    let rows = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(ROWS);
    // As a server is: what is committed is on the disk.
    let options = Options::default()
        .set("fsync", "on")
        .set("synchronous_commit", "on")
        .set("full_page_writes", "on")
        .set("shared_buffers", "512MB")
        .set("max_wal_size", "4GB");
    let server = Server::start(options);
    if std::env::args().any(|arg| arg == "ledger") {
        return ledger(&server).await;
    }
    let database = server.database();
    let admin = database.admin_url();
    let warehouse = warehouse(&database.url());
    let create =
        |table: &str| database.sql(&format!("CREATE TABLE {table} ({COLUMNS}); GRANT ALL ON {table} TO PUBLIC"));
    for table in ["ours", "theirs", "staged"] {
        create(table);
    }
    let pool = pool();
    println!("{rows} rows of lineitem");
    let making = timed(async {
        for index in 0..rows.div_ceil(BATCH) {
            std::hint::black_box(batch(&pool, index, BATCH.min(rows - index * BATCH), 0, None));
        }
    })
    .await;
    line("making the batches, as part of each load", making, None);
    let append = timed(load(&warehouse, spec("ours", Mode::Append, 1, None), &pool, rows, 0, None)).await;
    let csv = server.folder().join("lineitem.csv");
    let csv = csv.display().to_string();
    database.sql(&format!("COPY ours TO '{csv}' (FORMAT csv)"));
    let csv_bytes = std::fs::metadata(&csv).expect("the file").len();
    encoder(rows, csv_bytes);
    let copy = psql(&admin, &[format!("\\copy theirs from '{csv}' csv")]);
    line(&format!("psql's \\copy of {} MB", csv_bytes / 1_000_000), copy, None);
    line("append", append, Some(copy));
    let sums =
        "SELECT (count(*), sum(l_orderkey), sum(l_extendedprice), sum(length(l_comment)), min(l_shipdate))::text FROM";
    assert_eq!(database.sql(&format!("{sums} ours")), database.sql(&format!("{sums} theirs")));
    let again = psql(&admin, &["DELETE FROM ours".to_owned(), format!("\\copy ours from '{csv}' csv")]);
    line("psql's DELETE and \\copy", again, None);
    line(
        "replace",
        timed(load(&warehouse, spec("theirs", Mode::Replace, 2, None), &pool, rows, 0, None)).await,
        Some(again),
    );
    database.sql("DROP TABLE theirs; DROP TABLE ours");

    // A quarter, half of it new.
    let (base, part) = (rows / 4, rows / 12);
    let from = (base - part / 2) as i64 / 4;
    let key: Vec<String> = KEY.iter().map(|&name| name.to_owned()).collect();
    let upsert = Mode::Upsert { key: key.clone(), order_by: None };
    let guarded = Mode::Upsert { key, order_by: Some("l_shipdate".to_owned()) };
    load(&warehouse, spec("staged", Mode::Append, 3, None), &pool, part, from, Some(part)).await;
    database.sql(&format!("COPY staged TO '{csv}' (FORMAT csv)"));
    let fresh = async |table: &str, with_key: bool| {
        database.sql(&format!("DROP TABLE IF EXISTS {table}"));
        create(table);
        load(&warehouse, spec(table, Mode::Append, 4, None), &pool, base, 0, None).await;
        if with_key {
            database.sql(&format!("ALTER TABLE {table} ADD PRIMARY KEY (l_orderkey, l_linenumber)"));
        }
        database.sql("DELETE FROM longshore.ledger");
        database.sql(&format!("VACUUM ANALYZE {table}"));
        database.sql("CHECKPOINT");
    };
    fresh("target", true).await;
    let set: Vec<String> = lineitem::names()
        .into_iter()
        .filter(|name| !KEY.contains(name))
        .map(|name| format!("{name} = EXCLUDED.{name}"))
        .collect();
    let theirs = psql(
        &admin,
        &[
            "CREATE TEMP TABLE s (LIKE target)".to_owned(),
            format!("\\copy s from '{csv}' csv"),
            format!(
                "INSERT INTO target SELECT * FROM s ON CONFLICT (l_orderkey, l_linenumber) DO UPDATE SET {}",
                set.join(", ")
            ),
        ],
    );
    line(&format!("psql's \\copy of {part} rows, INSERT ON CONFLICT into {base}"), theirs, None);
    for (what, mode, with_key) in [
        ("upsert with a primary key", &upsert, true),
        ("the same with order_by", &guarded, true),
        ("upsert without an index", &upsert, false),
    ] {
        fresh("target", with_key).await;
        let took = timed(load(&warehouse, spec("target", mode.clone(), 5, None), &pool, part, from, Some(part))).await;
        line(what, took, Some(theirs));
        let count = database.sql("SELECT count(*) FROM target").unwrap_or_default();
        let expected = base + part - (base - from as usize * 4);
        assert_eq!(count, expected.to_string());
    }
    create("small");
    database
        .sql("CREATE TABLE merged (LIKE small, PRIMARY KEY (l_orderkey, l_linenumber)); GRANT ALL ON merged TO PUBLIC");
    let insert = "INSERT INTO small SELECT * FROM target LIMIT 1000".to_owned();
    let commits = timed(async {
        for _ in 0..20 {
            database.sql(&insert);
        }
    })
    .await;
    line("an INSERT of 1,000 rows on a new connection, each", commits / 20, None);
    let small = async |table: &str, mode: &Mode| {
        let start = Instant::now();
        for n in 0..200 {
            load(&warehouse, spec(table, mode.clone(), 1_000 + n, None), &pool, 1_000, i64::from(n) * 100, None).await;
        }
        start.elapsed() / 200
    };
    line("append of 1,000 rows, each", small("small", &Mode::Append).await, None);
    line("upsert of 1,000 rows, each", small("merged", &guarded).await, None);
}
