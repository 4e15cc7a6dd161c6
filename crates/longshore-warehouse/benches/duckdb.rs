//! How much CPU the DuckDB driver takes, beside DuckDB's own COPY in the same run.
//!
//! `cargo bench -p longshore-warehouse --bench duckdb [-- rows]`. Rows look like TPC-H's lineitem and
//! are made before the clock runs; COPY reads them from a CSV file that DuckDB wrote, and its
//! parsing is measured by a query that reads the same file and throws the rows away.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod lineitem;

use std::time::{Duration, Instant};

use lineitem::{BATCH, COLUMNS, ROWS, batch, load, pool, spec};
use longshore_warehouse::duckdb::{DuckDb, DuckDbConfig};
use longshore_warehouse::{Mode, Warehouse};

/// CPU time of this process so far.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("procfs");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime");
    Duration::from_millis(ticks * 10)
}

async fn measured<T>(what: &str, work: impl Future<Output = T>) -> (Duration, T) {
    let (wall, before) = (Instant::now(), cpu());
    let result = work.await;
    let used = cpu() - before;
    println!("{what:44} {:7.2} CPU s  {:7.2} s", used.as_secs_f32(), wall.elapsed().as_secs_f32());
    (used, result)
}

#[tokio::main]
async fn main() {
    let rows = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(ROWS);
    let folder = tempfile::tempdir().expect("a folder");
    let db = DuckDb::new(DuckDbConfig {
        path: folder.path().join("bench.duckdb"),
        memory_limit: 1 << 30,
        threads: None,
        wait: Duration::from_secs(5),
    });
    let run =
        async |sql: String| db.execute(&sql).await.unwrap_or_else(|error| panic!("{sql}: {:?}", error.server_text()));
    let pool = pool();
    for table in ["ours", "theirs", "merged", "partly"] {
        run(format!("CREATE TABLE {table} ({COLUMNS})")).await;
    }
    println!("{rows} rows of lineitem");
    let (making, ()) = measured("making the batches, as part of the next", async {
        for index in 0..rows.div_ceil(BATCH) {
            std::hint::black_box(batch(&pool, index, BATCH.min(rows - index * BATCH), 0, None));
        }
    })
    .await;
    let (append, ()) = measured("append", load(&db, spec("ours", Mode::Append, 1, None), &pool, rows, 0, None)).await;
    let csv = folder.path().join("lineitem.csv");
    let csv = csv.display();
    run(format!("COPY ours TO '{csv}' (HEADER)")).await;
    let types: Vec<String> = COLUMNS
        .split(", l_")
        .map(|column| {
            let (name, ty) = column.split_once(' ').expect("name and type");
            format!("'l_{}': '{ty}'", name.trim_start_matches("l_"))
        })
        .collect();
    let read = format!("read_csv('{csv}', header = true, columns = {{{}}})", types.join(", "));
    let (parse, ()) =
        measured("DuckDB parses the CSV", run(format!("CREATE TEMP TABLE c AS SELECT max(COLUMNS(*)) FROM {read}")))
            .await;
    let (copy, ()) = measured("DuckDB's COPY", run(format!("COPY theirs FROM '{csv}' (HEADER)"))).await;
    let (select, ()) =
        measured("DuckDB's CREATE TABLE AS from a table", run("CREATE TABLE same AS SELECT * FROM theirs".to_owned()))
            .await;
    let ours = append.saturating_sub(making).as_secs_f32();
    println!(
        "append without making the batches: {ours:.2} CPU s; COPY less parsing {:.2}; CREATE TABLE AS {:.2}",
        copy.saturating_sub(parse).as_secs_f32(),
        select.as_secs_f32()
    );
    let sums = "SELECT count(*), sum(l_orderkey), sum(l_extendedprice), sum(length(l_comment)), min(l_shipdate)";
    let (a, b) = (db.query(&format!("{sums} FROM ours")).await, db.query(&format!("{sums} FROM theirs")).await);
    assert_eq!(a.expect("sums"), b.expect("sums"));

    let key = vec!["l_orderkey".to_owned(), "l_linenumber".to_owned()];
    let upsert = Mode::Upsert { key: key.clone(), order_by: None };
    let part = rows / 4;
    measured("upsert: all new", load(&db, spec("merged", upsert.clone(), 2, None), &pool, rows, 0, None)).await;
    let latest = async |table: &str| db.lookup(&table.parse().expect("a name"), &[]).await.expect("a lookup").latest;
    let seen = latest("merged").await;
    measured(
        "upsert: a quarter, half of it new",
        load(&db, spec("merged", upsert, 3, seen), &pool, part, (rows - part / 2) as i64 / 4, None),
    )
    .await;
    run("DROP TABLE ours".to_owned()).await;
    run("ALTER TABLE merged ADD COLUMN extra INTEGER".to_owned()).await;
    let guarded = Mode::Upsert { key, order_by: Some("l_shipdate".to_owned()) };
    let seen = latest("merged").await;
    measured(
        "the same in place, with order_by",
        load(&db, spec("merged", guarded, 4, seen), &pool, part, (rows - part / 2) as i64 / 4, None),
    )
    .await;
    measured("replace", load(&db, spec("theirs", Mode::Replace, 5, None), &pool, rows, 0, None)).await;
    run(format!("CREATE TABLE small ({COLUMNS})")).await;
    measured("200 loads of 1,000 rows, append", async {
        for n in 0..200 {
            load(&db, spec("small", Mode::Append, n, None), &pool, 1_000, 0, None).await;
        }
    })
    .await;
    let guarded = Mode::Upsert { key: vec!["l_orderkey".to_owned()], order_by: Some("l_shipdate".to_owned()) };
    run("CREATE TABLE small_merged AS FROM small LIMIT 0".to_owned()).await;
    measured("200 loads of 1,000 rows, upsert", async {
        for n in 0..200 {
            load(&db, spec("small_merged", guarded.clone(), n, None), &pool, 1_000, i64::from(n) * 100, None).await;
        }
    })
    .await;
}
