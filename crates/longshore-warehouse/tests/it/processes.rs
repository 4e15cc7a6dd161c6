//! What another process sees of the file, and what a killed one leaves.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use longshore_warehouse::duckdb::{DuckDb, DuckDbConfig};
use longshore_warehouse::testing::conformance::{Bench, cells, object};
use longshore_warehouse::{Begun, Committed, Kind, Load, LoadId, LoadSpec, Mode, RowBatch, Severity, Tally, Warehouse};

fn warehouse(path: &Path, wait: Duration) -> DuckDb {
    let path = path.to_owned();
    DuckDb::new(DuckDbConfig { path, memory_limit: 1 << 30, threads: None, wait })
}

/// This test binary, run again to do something with the file in a process of its own.
struct Other {
    child: Child,
    input: Option<ChildStdin>,
    /// Kept open, or the child could not write its end.
    output: BufReader<ChildStdout>,
}

impl Other {
    /// Starts it and waits for its word that it has come to its point.
    fn start(what: &str, path: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", &format!("processes::child_{what}"), "--ignored", "--nocapture"])
            .env("LONGSHORE_TEST_FILE", path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let input = child.stdin.take();
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        let mut line = String::new();
        while !line.contains("REACHED") {
            line.clear();
            let read = output.read_line(&mut line).expect("a line");
            assert!(read > 0, "the child ended before it came to its point");
        }
        Self { child, input, output }
    }

    fn id(&self) -> u32 {
        self.child.id()
    }

    /// Lets it go on, and waits for its end.
    fn finish(mut self) {
        drop(self.input.take());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).expect("the rest");
        assert!(self.child.wait().expect("its end").success());
    }

    fn kill(mut self) {
        self.child.kill().expect("a kill");
        self.child.wait().expect("its end");
    }
}

/// In the child: says so and waits until the parent lets go.
fn reached() {
    let mut output = std::io::stdout();
    writeln!(output, "REACHED").and_then(|()| output.flush()).expect("output");
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest).expect("input");
}

fn file() -> PathBuf {
    PathBuf::from(std::env::var_os("LONGSHORE_TEST_FILE").expect("run by another test"))
}

#[test]
#[ignore = "run by other tests, in a process of its own"]
fn child_hold() {
    let connection = duckdb::Connection::open(file()).expect("the file");
    reached();
    drop(connection);
}

#[test]
#[ignore = "run by other tests, in a process of its own"]
fn child_read() {
    // As a person with a shell would: tries until it gets in.
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        match duckdb::Connection::open(file()) {
            Ok(connection) => {
                let rows: i64 = connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).expect("a count");
                println!("{rows} rows");
                return reached();
            }
            Err(error) if Instant::now() > until => panic!("{error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn spec(n: i64, mode: Mode) -> LoadSpec {
    LoadSpec {
        load_id: LoadId::draw(),
        table: "t".parse().expect("a name"),
        pipeline: "p".to_owned(),
        mode,
        objects: vec![object(&format!("o{n}"), n, &[]).spec],
        columns: vec!["id".to_owned(), "name".to_owned()],
        rules_hash: String::new(),
        seen_latest: None,
        loaded_at: jiff::Timestamp::UNIX_EPOCH,
    }
}

fn batch(rows: u64) -> RowBatch {
    let ids = arrow_array::Int32Array::from_iter_values(0..rows as i32);
    let names: arrow_array::StringViewArray =
        (0..rows).map(|row| Some(format!("a name of some length {row}"))).collect();
    let columns: Vec<(&str, arrow_array::ArrayRef)> =
        vec![("id", std::sync::Arc::new(ids)), ("name", std::sync::Arc::new(names))];
    RowBatch {
        object: 0,
        lines: (0..rows).collect::<Vec<_>>().into(),
        rows: arrow_array::RecordBatch::try_from_iter(columns).expect("columns"),
        verbatim: None,
    }
}

fn tally(rows: u64) -> Tally {
    Tally { kind: longshore_warehouse::EntryKind::Load, content_hash: None, rows_read: rows, rows_rejected: 0 }
}

async fn open(db: &DuckDb, spec: LoadSpec) -> Box<dyn Load> {
    match db.begin(spec).await {
        Ok(Begun::Open(load)) => load,
        Ok(Begun::AlreadyIn(_)) => panic!("already in"),
        Err(error) => panic!("{error}: {:?}", error.server_text()),
    }
}

const ROWS: u64 = 300_000;

async fn half_a_load(db: &DuckDb) -> Box<dyn Load> {
    let mut load = open(db, spec(1, Mode::Append)).await;
    for _ in 0..3 {
        load.write(batch(ROWS / 3)).await.expect("room");
    }
    load
}

#[test]
#[ignore = "run by other tests, in a process of its own"]
fn child_die_before_commit() {
    longshore_warehouse::testing::conformance::block_on(async {
        let db = warehouse(&file(), Duration::from_secs(1));
        let load = half_a_load(&db).await;
        tokio::task::spawn_blocking(reached).await.expect("killed here");
        drop(load);
    });
}

#[test]
#[ignore = "run by other tests, in a process of its own"]
fn child_die_after_commit() {
    longshore_warehouse::testing::conformance::block_on(async {
        let db = warehouse(&file(), Duration::from_secs(1));
        let load = half_a_load(&db).await;
        load.commit(&[tally(ROWS)]).await.expect("a commit");
        tokio::task::spawn_blocking(reached).await.expect("killed here");
    });
}

async fn with_table(path: &Path) -> DuckDb {
    let db = warehouse(path, Duration::from_secs(10));
    db.execute("CREATE TABLE t (id INTEGER, name VARCHAR)").await.expect("a table");
    db
}

async fn count(db: &DuckDb) -> String {
    let rows = db.query("SELECT count(*) FROM t").await.expect("a count");
    rows[0][0].clone().expect("a number")
}

#[tokio::test]
async fn a_file_that_another_process_holds_is_busy_and_the_process_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("w.duckdb");
    let other = Other::start("hold", &path);
    let db = warehouse(&path, Duration::from_millis(100));
    let error = db.describe(&"t".parse().expect("a name")).await.expect_err("held");
    assert_eq!(*error.kind(), Kind::Busy);
    assert!(error.to_string().contains(&format!("process {}", other.id())), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("close that program")));
    let findings = db.check(&[]).await;
    assert!(matches!(&findings[..], [finding] if finding.severity == Severity::Fault), "{findings:?}");
    assert!(matches!(db.begin(spec(1, Mode::Append)).await, Err(error) if *error.kind() == Kind::Busy));
    other.finish();
    db.execute("CREATE TABLE t (id INTEGER)").await.expect("the file is free");
}

#[tokio::test]
async fn a_held_file_is_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("w.duckdb");
    let other = Other::start("hold", &path);
    let db = std::sync::Arc::new(warehouse(&path, Duration::from_secs(20)));
    let waiting = tokio::spawn({
        let db = db.clone();
        async move { db.execute("CREATE TABLE t (id INTEGER)").await }
    });
    tokio::task::spawn_blocking(move || other.finish()).await.expect("its end");
    waiting.await.expect("no panic").expect("the file was waited for");
}

#[tokio::test]
async fn the_file_is_free_between_loads() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("w.duckdb");
    let db = with_table(&path).await;
    // At once when it is asked for …
    db.release().await;
    let path_too = path.clone();
    tokio::task::spawn_blocking(move || Other::start("read", &path_too).finish()).await.expect("read");
    let mut load = open(&db, spec(1, Mode::Append)).await;
    load.write(batch(10)).await.expect("room");
    load.commit(&[tally(10)]).await.expect("a commit");
    // … and by itself soon after the last load.
    tokio::task::spawn_blocking(move || Other::start("read", &path).finish()).await.expect("read");
    assert_eq!(count(&db).await, "10");
}

#[tokio::test]
async fn a_process_that_is_killed_before_commit_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("w.duckdb");
    let db = with_table(&path).await;
    db.release().await;
    let path_too = path.clone();
    tokio::task::spawn_blocking(move || Other::start("die_before_commit", &path_too).kill()).await.expect("killed");
    assert_eq!(count(&db).await, "0");
    let load = half_a_load(&db).await;
    assert!(matches!(load.commit(&[tally(ROWS)]).await, Ok(Committed::Loaded(_))));
    assert_eq!(count(&db).await, ROWS.to_string());
}

#[tokio::test]
async fn a_process_that_is_killed_after_commit_has_loaded() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("w.duckdb");
    let db = with_table(&path).await;
    db.release().await;
    let path_too = path.clone();
    tokio::task::spawn_blocking(move || Other::start("die_after_commit", &path_too).kill()).await.expect("killed");
    assert!(matches!(db.begin(spec(1, Mode::Append)).await, Ok(Begun::AlreadyIn(_))));
    assert_eq!(count(&db).await, ROWS.to_string());
}

#[tokio::test]
async fn what_is_no_database_is_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let table = "t".parse().expect("a name");
    let error = async |path: PathBuf| {
        let db = warehouse(&path, Duration::from_secs(5));
        db.describe(&table).await.expect_err("no database")
    };
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "not a database, but long enough to hold a header\n".repeat(500)).expect("a file");
    let found = error(text).await;
    assert_eq!(*found.kind(), Kind::Unsupported, "{found} {:?}", found.server_text());
    assert!(found.to_string().contains("is not a DuckDB database"), "{found}");

    let found = error(folder.path().to_owned()).await;
    assert_eq!(*found.kind(), Kind::Unsupported, "{found} {:?}", found.server_text());

    let found = error(folder.path().join("missing").join("w.duckdb")).await;
    assert_eq!(*found.kind(), Kind::Missing, "{found} {:?}", found.server_text());

    let newer = folder.path().join("newer.duckdb");
    drop(duckdb::Connection::open(&newer).expect("a database"));
    let mut bytes = std::fs::read(&newer).expect("its bytes");
    // A checksum of 8 bytes and the magic `DUCK` stand before the version.
    assert_eq!(&bytes[8..12], b"DUCK");
    let sum = |bytes: &[u8]| {
        let words = bytes[8..4096].chunks_exact(8);
        words.fold(5381, |sum: u64, word| {
            let word = u64::from_le_bytes(word.try_into().expect("eight bytes"));
            sum ^ word.wrapping_mul(0xbf58_476d_1ce4_e5b9)
        })
    };
    assert_eq!(sum(&bytes).to_le_bytes(), bytes[..8], "DuckDB's checksum of the header");
    bytes[12..20].copy_from_slice(&999_u64.to_le_bytes());
    let sum = sum(&bytes).to_le_bytes();
    bytes[..8].copy_from_slice(&sum);
    std::fs::write(&newer, bytes).expect("written");
    let found = error(newer).await;
    assert_eq!(*found.kind(), Kind::Unsupported, "{found} {:?}", found.server_text());
    assert!(found.to_string().contains("newer DuckDB"), "{found} {:?}", found.server_text());
}

#[tokio::test]
async fn a_newer_or_broken_ledger_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = with_table(&folder.path().join("w.duckdb")).await;
    open(&db, spec(1, Mode::Append)).await.rollback().await.expect("a rollback");
    db.execute("UPDATE longshore.meta SET version = 2").await.expect("an update");
    db.release().await;
    let answer = db.begin(spec(1, Mode::Append)).await;
    let Err(error) = answer else { panic!("begun") };
    assert_eq!(*error.kind(), Kind::Ledger);
    let error = db.lookup(&"t".parse().expect("a name"), &[]).await.expect_err("newer");
    assert_eq!(*error.kind(), Kind::Ledger);
    db.execute("DROP TABLE longshore.meta").await.expect("a drop");
    let error = db.lookup(&"t".parse().expect("a name"), &[]).await.expect_err("broken");
    assert_eq!(*error.kind(), Kind::Ledger);
    let findings = db.check(&[("t".parse().expect("a name"), Mode::Append)]).await;
    assert!(findings.iter().any(|finding| finding.severity == Severity::Fault), "{findings:?}");
}

#[tokio::test]
async fn a_view_is_not_loaded() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = with_table(&folder.path().join("w.duckdb")).await;
    db.execute("CREATE VIEW v AS SELECT * FROM t").await.expect("a view");
    let error = db.describe(&"V".parse().expect("a name")).await.expect_err("a view");
    assert_eq!(*error.kind(), Kind::Unsupported);
    assert!(error.to_string().contains("is a view"), "{error}");
}

#[tokio::test]
async fn check_warns_of_an_index_on_a_loaded_table() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = with_table(&folder.path().join("w.duckdb")).await;
    db.execute("CREATE UNIQUE INDEX i ON t (id)").await.expect("an index");
    let findings = db.check(&[("t".parse().expect("a name"), Mode::Append)]).await;
    let warned = findings.iter().find(|finding| finding.severity == Severity::Warning);
    assert!(warned.is_some_and(|finding| finding.message.contains("unique")), "{findings:?}");
}

#[tokio::test]
async fn a_load_that_is_dropped_in_full_flow_ends_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = with_table(&folder.path().join("w.duckdb")).await;
    for mode in [Mode::Append, Mode::Replace] {
        let mut load = open(&db, spec(1, mode.clone())).await;
        for _ in 0..20 {
            load.write(batch(50_000)).await.expect("room");
        }
        let began = Instant::now();
        drop(load);
        assert!(began.elapsed() < Duration::from_millis(100), "dropping blocks");
        // The table is free again within the wait for its fence.
        open(&db, spec(2, Mode::Append)).await.rollback().await.expect("a rollback");
    }
    assert_eq!(count(&db).await, "0");
}

#[tokio::test]
async fn coarser_and_finer_timestamps_take_what_fits_and_refuse_the_rest() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = warehouse(&folder.path().join("w.duckdb"), Duration::from_secs(5));
    for (ty, good, bad) in [
        ("TIMESTAMP_S", 1_700_000_000_000_000, 1_700_000_000_500_000),
        ("TIMESTAMP_MS", 1_700_000_000_123_000, 1_700_000_000_123_456),
        // Nanoseconds end in the year 2262.
        ("TIMESTAMP_NS", 1_700_000_000_123_456, 253_402_300_799_000_000),
    ] {
        let table = ty.to_lowercase();
        db.execute(&format!("CREATE TABLE {table} (v {ty})")).await.expect("a table");
        for (n, (value, fits)) in [(good, true), (bad, false)].into_iter().enumerate() {
            let mut spec = spec(n as i64, Mode::Append);
            spec.table = table.parse().expect("a name");
            spec.columns = vec!["v".to_owned()];
            let column: arrow_array::ArrayRef =
                std::sync::Arc::new(arrow_array::TimestampMicrosecondArray::from(vec![good, value]));
            let mut load = open(&db, spec).await;
            let rows = arrow_array::RecordBatch::try_from_iter([("v", column)]).expect("a batch");
            load.write(RowBatch { object: 0, lines: vec![5, 8].into(), rows, verbatim: None }).await.expect("room");
            let answer = load.commit(&[tally(2)]).await;
            if fits {
                assert!(matches!(answer, Ok(Committed::Loaded(_))), "{ty}: {answer:?}");
            } else {
                let error = answer.expect_err("does not fit");
                let place = Kind::Rows { object: Some(0), line: Some(8), column: Some("v".to_owned()) };
                assert_eq!(*error.kind(), place, "{ty}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn keys_are_compared_by_the_collation_of_the_target() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = longshore_warehouse::testing::DuckDbBench::new(&folder.path().join("w.duckdb"));
    bench.execute("CREATE TABLE t (id INTEGER, name VARCHAR COLLATE NOCASE)").await;
    bench.execute("INSERT INTO t VALUES (1, 'ANN'), (2, 'bob')").await;
    let db = bench.warehouse();
    let mode = Mode::Upsert { key: vec!["name".to_owned()], order_by: None };
    let Ok(Begun::Open(mut load)) = db.begin(spec(1, mode)).await else { panic!("not begun") };
    let names: arrow_array::StringViewArray = ["ann", "Cy", "CY"].into_iter().map(Some).collect();
    let columns: Vec<(&str, arrow_array::ArrayRef)> = vec![
        ("id", std::sync::Arc::new(arrow_array::Int32Array::from(vec![10, 11, 12]))),
        ("name", std::sync::Arc::new(names)),
    ];
    let rows = arrow_array::RecordBatch::try_from_iter(columns).expect("a batch");
    load.write(RowBatch { object: 0, lines: vec![1, 2, 3].into(), rows, verbatim: None }).await.expect("room");
    let Ok(Committed::Loaded(receipt)) = load.commit(&[tally(3)]).await else { panic!("not loaded") };
    assert_eq!((receipt.entries[0].rows_loaded, receipt.entries[0].rows_duplicate), (2, 1));
    let rows = bench.query("SELECT id, name FROM t ORDER BY id").await;
    assert_eq!(rows, [cells("2|bob"), cells("10|ann"), cells("12|CY")]);
}

#[tokio::test]
async fn a_document_that_is_no_json_is_refused_by_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = warehouse(&folder.path().join("w.duckdb"), Duration::from_secs(5));
    db.execute("CREATE TABLE t (id INTEGER, name JSON)").await.expect("a table");
    let names: arrow_array::StringViewArray = ["{}", "{\"a\": ", "[]"].into_iter().map(Some).collect();
    let columns: Vec<(&str, arrow_array::ArrayRef)> = vec![
        ("id", std::sync::Arc::new(arrow_array::Int32Array::from(vec![1, 2, 3]))),
        ("name", std::sync::Arc::new(names)),
    ];
    let rows = arrow_array::RecordBatch::try_from_iter(columns).expect("a batch");
    let mut load = open(&db, spec(1, Mode::Append)).await;
    load.write(RowBatch { object: 0, lines: vec![1, 2, 3].into(), rows, verbatim: None }).await.expect("room");
    let error = load.commit(&[tally(3)]).await.expect_err("no JSON");
    let place = Kind::Rows { object: Some(0), line: Some(2), column: Some("name".to_owned()) };
    assert_eq!(*error.kind(), place, "{error}: {:?}", error.server_text());
    assert!(!error.to_string().contains("\"a\""), "no cell values: {error}");
}

#[tokio::test]
async fn asking_creates_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("w.duckdb");
    let db = warehouse(&path, Duration::from_secs(5));
    let table = "t".parse().expect("a name");
    let error = db.describe(&table).await.expect_err("no table");
    assert_eq!(*error.kind(), Kind::Missing);
    assert_eq!(db.lookup(&table, &[]).await.expect("a lookup"), longshore_warehouse::Known::default());
    assert!(db.page(&table, None).await.expect("a page").is_empty());
    assert!(!path.exists());
}

#[test]
#[ignore = "run by other tests, in a process of its own"]
fn child_fill() {
    longshore_warehouse::testing::conformance::block_on(async {
        let db = warehouse(&file(), Duration::from_secs(5));
        let mut load = open(&db, spec(1, Mode::Append)).await;
        let mut answer = Ok(());
        let mut rows = 0;
        while answer.is_ok() && rows < 6_000_000 {
            answer = load.write(batch(ROWS)).await;
            rows += ROWS;
        }
        let error = match answer {
            Err(error) => error,
            Ok(()) => load.commit(&[tally(rows)]).await.expect_err("no room for this"),
        };
        let full = matches!(error.kind(), Kind::Full | Kind::OutcomeUnknown);
        assert!(full, "{:?} {error} {:?}", error.kind(), error.server_text());
        reached();
    });
}

#[tokio::test]
async fn a_full_disk_is_told_apart_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("w.duckdb");
    let db = with_table(&path).await;
    db.release().await;
    // A limit of the process on the size of its files stands in for a full disk.
    let binary = std::env::current_exe().expect("this binary");
    let script = "trap '' XFSZ; ulimit -f 8000; exec \"$0\" --exact processes::child_fill --ignored";
    let output = tokio::task::spawn_blocking({
        let path = path.clone();
        move || {
            Command::new("sh")
                .args(["-c", script])
                .arg(binary)
                .env("LONGSHORE_TEST_FILE", path)
                .stdin(Stdio::null())
                .output()
                .expect("a shell")
        }
    })
    .await
    .expect("its end");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(count(&db).await, "0");
    let load = half_a_load(&db).await;
    assert!(matches!(load.commit(&[tally(ROWS)]).await, Ok(Committed::Loaded(_))));
}

#[tokio::test]
async fn a_load_that_is_greater_than_the_memory_spills() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("w.duckdb");
    let db = DuckDb::new(DuckDbConfig { path, memory_limit: 64 << 20, threads: Some(2), wait: Duration::from_secs(5) });
    db.execute("CREATE TABLE t (id INTEGER, name VARCHAR)").await.expect("a table");
    let mode = Mode::Upsert { key: vec!["id".to_owned()], order_by: None };
    let mut load = open(&db, spec(1, mode)).await;
    for _ in 0..5 {
        load.write(batch(ROWS)).await.expect("room");
    }
    match load.commit(&[tally(5 * ROWS)]).await {
        Ok(Committed::Loaded(receipt)) => {
            let entry = &receipt.entries[0];
            assert_eq!((entry.rows_loaded, entry.rows_duplicate), (ROWS, 4 * ROWS));
        }
        Ok(Committed::AlreadyIn(_)) => panic!("already in"),
        Err(error) => panic!("{error}: {:?}", error.server_text()),
    }
}
