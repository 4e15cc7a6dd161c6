//! Many loads of few tables at once, some of which are given up: the ledger says what is in.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use longshore_warehouse::testing::DuckDbBench;
use longshore_warehouse::testing::conformance::{Bench, block_on, object};
use longshore_warehouse::{Begun, Committed, EntryKind, Kind, LoadId, LoadSpec, Mode, RowBatch, Tally, Warehouse};

const TABLES: u64 = 3;
const OBJECTS: u64 = 24;
const ROWS: i64 = 5_000;

/// Draws numbers by a seed, so that a failure can be played again.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn batch(n: u64, part: i64) -> RowBatch {
    let rows = ROWS / 5;
    let ids: Int64Array = (0..rows).map(|row| n as i64 * ROWS + part * rows + row).collect();
    let column: ArrayRef = Arc::new(ids);
    RowBatch {
        object: 0,
        lines: (0..rows as u64).collect::<Vec<_>>().into(),
        rows: RecordBatch::try_from_iter([("id", column)]).expect("a batch"),
        verbatim: None,
    }
}

/// Loads an object until it is in, with mishaps on the way.
async fn load(warehouse: Arc<dyn Warehouse>, n: u64, mut random: Random) {
    for _ in 0..200 {
        let object = object(&format!("o{n}"), n as i64, &[]);
        let mode = match n % 2 {
            0 => Mode::Append,
            _ => Mode::Upsert { key: vec!["id".to_owned()], order_by: Some("id".to_owned()) },
        };
        let spec = LoadSpec {
            load_id: LoadId::draw(),
            table: format!("t{}", n % TABLES).parse().expect("a name"),
            pipeline: "stress".to_owned(),
            mode,
            objects: vec![object.spec],
            columns: vec!["id".to_owned()],
            rules_hash: String::new(),
            seen_latest: None,
            loaded_at: jiff::Timestamp::UNIX_EPOCH,
        };
        let mut open = match warehouse.begin(spec).await {
            Ok(Begun::Open(open)) => open,
            Ok(Begun::AlreadyIn(_)) => return,
            Err(error) if *error.kind() == Kind::Busy => continue,
            Err(error) => panic!("{error}: {:?}", error.server_text()),
        };
        let end = random.below(6);
        let parts = if end < 3 { random.below(5) as i64 } else { 5 };
        for part in 0..parts {
            open.write(batch(n, part)).await.expect("room");
        }
        let tally = Tally { kind: EntryKind::Load, content_hash: None, rows_read: ROWS as u64, rows_rejected: 0 };
        match end {
            0 => drop(open),
            1 => open.rollback().await.expect("a rollback"),
            // A commit whose answer nobody waits for: it may or may not have happened.
            2 | 3 => {
                let tallies = [tally];
                let commit = open.commit(&tallies);
                drop(tokio::time::timeout(std::time::Duration::from_millis(random.below(4)), commit).await);
            }
            _ => match open.commit(&[tally]).await {
                Ok(Committed::Loaded(_) | Committed::AlreadyIn(_)) => return,
                Err(error) if *error.kind() == Kind::Busy => {}
                Err(error) => panic!("{error}: {:?}", error.server_text()),
            },
        }
    }
    panic!("object {n} did not get in");
}

#[test]
fn whatever_is_given_up_every_row_is_in_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = DuckDbBench::new(&folder.path().join("w.duckdb"));
    block_on(async {
        for table in 0..TABLES {
            bench.execute(&format!("CREATE TABLE t{table} (id BIGINT)")).await;
        }
        let loads: Vec<_> = (0..OBJECTS).map(|n| tokio::spawn(load(bench.warehouse(), n, Random(n)))).collect();
        for load in loads {
            load.await.expect("no panic");
        }
        let mut total = 0;
        for table in 0..TABLES {
            let sums = format!("SELECT count(*), count(DISTINCT id) FROM t{table}");
            let row = bench.query(&sums).await.remove(0);
            assert_eq!(row[0], row[1], "a row is in twice");
            total += row[0].as_deref().and_then(|text| text.parse::<i64>().ok()).expect("a count");
        }
        assert_eq!(total, OBJECTS as i64 * ROWS);
        let ledger = "SELECT count(*), count(DISTINCT identity), sum(rows_loaded) FROM longshore.ledger";
        let row = bench.query(ledger).await.remove(0);
        assert_eq!(row[0], row[1], "one entry per object");
        assert_eq!(row[2].as_deref(), Some((OBJECTS as i64 * ROWS).to_string().as_str()));
    });
}
