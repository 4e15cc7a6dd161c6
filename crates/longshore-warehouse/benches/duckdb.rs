//! How much CPU the DuckDB driver takes, beside DuckDB's own COPY in the same run.
//!
//! `cargo bench -p longshore-warehouse --bench duckdb [-- rows]`. Rows look like TPC-H's lineitem and
//! are made before the clock runs; COPY reads them from a CSV file that DuckDB wrote, and its
//! parsing is measured by a query that reads the same file and throws the rows away.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, Date32Array, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringViewArray};
use longshore_warehouse::duckdb::{DuckDb, DuckDbConfig};
use longshore_warehouse::{
    Begun, Committed, EntryKind, LoadId, LoadSpec, Mode, ObjectId, ObjectSpec, RowBatch, Tally, Warehouse,
};

/// Rows of lineitem at scale factor 1.
const ROWS: usize = 6_001_215;
/// Rows in a batch of the reader.
const BATCH: usize = 16_384;
/// Different batches; they repeat, but for their keys.
const POOL: usize = 24;

const COLUMNS: &str = "l_orderkey BIGINT, l_partkey BIGINT, l_suppkey BIGINT, l_linenumber INTEGER, \
    l_quantity DECIMAL(15, 2), l_extendedprice DECIMAL(15, 2), l_discount DECIMAL(15, 2), \
    l_tax DECIMAL(15, 2), l_returnflag VARCHAR, l_linestatus VARCHAR, l_shipdate DATE, \
    l_commitdate DATE, l_receiptdate DATE, l_shipinstruct VARCHAR, l_shipmode VARCHAR, \
    l_comment VARCHAR";

/// A small generator, so that runs are alike.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn columns(random: &mut Random) -> Vec<ArrayRef> {
    let n = 0..BATCH;
    let mut text = |words: &[&str]| -> ArrayRef {
        let values = n.clone().map(|_| Some(words[random.below(words.len() as u64) as usize]));
        Arc::new(values.collect::<StringViewArray>())
    };
    let flags = text(&["A", "N", "R"]);
    let status = text(&["F", "O"]);
    let instruct = text(&["DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN"]);
    let ship = text(&["AIR", "FOB", "MAIL", "RAIL", "REG AIR", "SHIP", "TRUCK"]);
    let words = ["carefully", "final", "quick", "deposits", "requests", "sleep", "bold", "ironic", "even", "pending"];
    let comment = (0..BATCH).map(|_| {
        let length = 10 + random.below(34) as usize;
        let mut comment = String::new();
        while comment.len() < length {
            comment.push_str(words[random.below(10) as usize]);
            comment.push(' ');
        }
        comment.truncate(length);
        Some(comment)
    });
    let comment: ArrayRef = Arc::new(comment.collect::<StringViewArray>());
    let mut integers = |limit: u64| (0..BATCH).map(|_| random.below(limit) as i64).collect::<Vec<_>>();
    let decimal = |values: Vec<i64>| -> ArrayRef {
        let values = values.into_iter().map(|value| Some(i128::from(value)));
        Arc::new(Decimal128Array::from_iter(values).with_precision_and_scale(15, 2).expect("a decimal"))
    };
    let date = |values: Vec<i64>| -> ArrayRef {
        Arc::new(Date32Array::from_iter_values(values.into_iter().map(|day| 8_000 + day as i32)))
    };
    vec![
        Arc::new(Int64Array::from(vec![0; BATCH])),
        Arc::new(Int64Array::from(integers(200_000))),
        Arc::new(Int64Array::from(integers(10_000))),
        Arc::new(Int32Array::from_iter_values(integers(7).into_iter().map(|n| n as i32 + 1))),
        decimal(integers(5_000)),
        decimal(integers(10_000_000)),
        decimal(integers(11)),
        decimal(integers(9)),
        flags,
        status,
        date(integers(2_500)),
        date(integers(2_500)),
        date(integers(2_500)),
        instruct,
        ship,
        comment,
    ]
}

/// The batch number `index`, with keys of its own: four lines to an order.
fn batch(pool: &[Vec<ArrayRef>], index: usize, rows: usize, from: i64) -> RowBatch {
    let mut columns = pool[index % POOL].clone();
    let first = (index * BATCH) as i64;
    columns[0] = Arc::new(Int64Array::from_iter_values((0..BATCH as i64).map(|row| from + (first + row) / 4)));
    columns[3] = Arc::new(Int32Array::from_iter_values((0..BATCH as i32).map(|row| row % 4)));
    let names: Vec<&str> = names();
    let fields = names.into_iter().zip(columns).map(|(name, column)| (name, column, true));
    RowBatch {
        object: 0,
        lines: (0..rows as u64).map(|row| first as u64 + row).collect::<Vec<_>>().into(),
        rows: RecordBatch::try_from_iter_with_nullable(fields).expect("one length").slice(0, rows),
    }
}

fn names() -> Vec<&'static str> {
    COLUMNS
        .split(", ")
        .filter(|part| part.starts_with("l_"))
        .map(|part| part.split(' ').next().unwrap_or(part))
        .collect()
}

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

fn spec(table: &str, mode: Mode, n: u8, latest: Option<longshore_warehouse::Position>) -> LoadSpec {
    let object = ObjectSpec {
        identity: ObjectId::new([n; 32]),
        generation: 1,
        parent: None,
        bucket: "bench".to_owned(),
        key: format!("lineitem-{n}.csv"),
        etag: String::new(),
        size: 0,
        modified_at: jiff::Timestamp::from_second(i64::from(n)).expect("a time"),
        late: false,
        archive_key: None,
    };
    LoadSpec {
        load_id: LoadId::draw(),
        table: table.parse().expect("a name"),
        pipeline: "bench".to_owned(),
        mode,
        objects: vec![object],
        columns: names().into_iter().map(str::to_owned).collect(),
        rules_hash: String::new(),
        seen_latest: latest,
        loaded_at: jiff::Timestamp::now(),
    }
}

async fn load(db: &DuckDb, spec: LoadSpec, pool: &[Vec<ArrayRef>], rows: usize, from: i64) {
    let Ok(Begun::Open(mut load)) = db.begin(spec).await else { panic!("not begun") };
    for index in 0..rows.div_ceil(BATCH) {
        let length = BATCH.min(rows - index * BATCH);
        load.write(batch(pool, index, length, from)).await.expect("room");
    }
    let tally = Tally { kind: EntryKind::Load, content_hash: None, rows_read: rows as u64, rows_rejected: 0 };
    let committed = load.commit(&[tally]).await.unwrap_or_else(|error| panic!("{error}: {:?}", error.server_text()));
    assert!(matches!(committed, Committed::Loaded(_)));
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
    let pool: Vec<_> = (0..POOL).map(|seed| columns(&mut Random(seed as u64))).collect();
    for table in ["ours", "theirs", "merged", "partly"] {
        run(format!("CREATE TABLE {table} ({COLUMNS})")).await;
    }
    println!("{rows} rows of lineitem");
    let (making, ()) = measured("making the batches, as part of the next", async {
        for index in 0..rows.div_ceil(BATCH) {
            std::hint::black_box(batch(&pool, index, BATCH.min(rows - index * BATCH), 0));
        }
    })
    .await;
    let (append, ()) = measured("append", load(&db, spec("ours", Mode::Append, 1, None), &pool, rows, 0)).await;
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
    measured("upsert: all new", load(&db, spec("merged", upsert.clone(), 2, None), &pool, rows, 0)).await;
    let latest = async |table: &str| db.lookup(&table.parse().expect("a name"), &[]).await.expect("a lookup").latest;
    let seen = latest("merged").await;
    measured(
        "upsert: a quarter, half of it new",
        load(&db, spec("merged", upsert, 3, seen), &pool, part, (rows - part / 2) as i64 / 4),
    )
    .await;
    run("DROP TABLE ours".to_owned()).await;
    run("ALTER TABLE merged ADD COLUMN extra INTEGER".to_owned()).await;
    let guarded = Mode::Upsert { key, order_by: Some("l_shipdate".to_owned()) };
    let seen = latest("merged").await;
    measured(
        "the same in place, with order_by",
        load(&db, spec("merged", guarded, 4, seen), &pool, part, (rows - part / 2) as i64 / 4),
    )
    .await;
    measured("replace", load(&db, spec("theirs", Mode::Replace, 5, None), &pool, rows, 0)).await;
    run(format!("CREATE TABLE small ({COLUMNS})")).await;
    measured("200 loads of 1,000 rows, append", async {
        for n in 0..200 {
            load(&db, spec("small", Mode::Append, n, None), &pool, 1_000, 0).await;
        }
    })
    .await;
    let guarded = Mode::Upsert { key: vec!["l_orderkey".to_owned()], order_by: Some("l_shipdate".to_owned()) };
    run("CREATE TABLE small_merged AS FROM small LIMIT 0".to_owned()).await;
    measured("200 loads of 1,000 rows, upsert", async {
        for n in 0..200 {
            load(&db, spec("small_merged", guarded.clone(), n, None), &pool, 1_000, i64::from(n) * 100).await;
        }
    })
    .await;
}
