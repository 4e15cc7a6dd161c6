//! Rows of TPC-H's lineitem, and loads of them, for the benchmarks of all drivers.

use std::sync::Arc;

use arrow_array::{ArrayRef, Date32Array, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringViewArray};
use longshore_warehouse::{
    Begun, Committed, EntryKind, LoadId, LoadSpec, Mode, ObjectId, ObjectSpec, RowBatch, Tally, Warehouse,
};

/// Rows of lineitem at scale factor 1.
pub(crate) const ROWS: usize = 6_001_215;
/// Rows in a batch of the reader.
pub(crate) const BATCH: usize = 16_384;
/// Different batches; they repeat, but for their keys.
const POOL: usize = 24;

/// Names and types.
pub(crate) const COLUMNS: &str = "l_orderkey BIGINT, l_partkey BIGINT, l_suppkey BIGINT, l_linenumber INTEGER, \
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

/// All different batches.
pub(crate) fn pool() -> Vec<Vec<ArrayRef>> {
    (0..POOL).map(|seed| columns(&mut Random(seed as u64))).collect()
}

/// The batch number `index`, with keys of its own from `from` on: four lines to an order. They
/// ascend, unless they are `scattered` over so many rows.
pub(crate) fn batch(
    pool: &[Vec<ArrayRef>],
    index: usize,
    rows: usize,
    from: i64,
    scattered: Option<usize>,
) -> RowBatch {
    let mut columns = pool[index % POOL].clone();
    let first = index * BATCH;
    let place = |row: usize| match scattered {
        None => (first + row) as i64,
        // A prime, so that every place comes once.
        Some(all) => ((first + row) % all * 1_000_003 % all) as i64,
    };
    columns[0] = Arc::new(Int64Array::from_iter_values((0..BATCH).map(|row| from + place(row) / 4)));
    columns[3] = Arc::new(Int32Array::from_iter_values((0..BATCH).map(|row| (place(row) % 4) as i32)));
    let fields = names().into_iter().zip(columns).map(|(name, column)| (name, column, true));
    RowBatch {
        object: 0,
        lines: (0..rows as u64).map(|row| first as u64 + row + 2).collect::<Vec<_>>().into(),
        rows: RecordBatch::try_from_iter_with_nullable(fields).expect("one length").slice(0, rows),
        verbatim: None,
    }
}

/// Names of the columns.
pub(crate) fn names() -> Vec<&'static str> {
    COLUMNS
        .split(", ")
        .filter(|part| part.starts_with("l_"))
        .map(|part| part.split(' ').next().unwrap_or(part))
        .collect()
}

/// A load of one object.
pub(crate) fn spec(table: &str, mode: Mode, n: u32, latest: Option<longshore_warehouse::Position>) -> LoadSpec {
    let mut identity = [7; 32];
    identity[..4].copy_from_slice(&n.to_be_bytes());
    let object = ObjectSpec {
        identity: ObjectId::new(identity),
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

/// Loads so many rows.
pub(crate) async fn load(
    warehouse: &dyn Warehouse,
    spec: LoadSpec,
    pool: &[Vec<ArrayRef>],
    rows: usize,
    from: i64,
    scattered: Option<usize>,
) {
    let Ok(Begun::Open(mut load)) = warehouse.begin(spec).await else { panic!("not begun") };
    for index in 0..rows.div_ceil(BATCH) {
        let length = BATCH.min(rows - index * BATCH);
        load.write(batch(pool, index, length, from, scattered)).await.expect("room");
    }
    let tally = Tally { kind: EntryKind::Load, content_hash: None, rows_read: rows as u64, rows_rejected: 0 };
    let committed = load.commit(&[tally]).await.unwrap_or_else(|error| panic!("{error}: {:?}", error.server_text()));
    assert!(matches!(committed, Committed::Loaded(_)));
}
