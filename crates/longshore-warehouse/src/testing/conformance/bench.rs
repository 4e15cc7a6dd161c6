//! What a driver lends to the suite, and how cases speak of objects and rows.

use std::str::FromStr;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float32Array,
    Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, RecordBatch, StringViewArray, Time64MicrosecondArray,
    TimestampMicrosecondArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use async_trait::async_trait;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use sha2::{Digest, Sha256};

use crate::{
    Begun, ColumnType, Committed, EntryKind, Kind, LengthUnit, Load, LoadId, LoadSpec, Mode, ObjectId, ObjectSpec,
    Receipt, RowBatch, Table, TableName, Tally, Warehouse, WarehouseError,
};

/// A constraint that an engine may or may not enforce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Constraint {
    /// PRIMARY KEY and UNIQUE.
    Unique,
    /// CHECK.
    Check,
    /// FOREIGN KEY.
    ForeignKey,
    /// GENERATED ALWAYS AS (expression).
    Generated,
}

/// A type that is not one of Longshore's, with texts that it reads and texts that it refuses.
#[derive(Debug, Clone)]
pub struct TextRoute {
    /// The type in the engine's words.
    pub type_sql: &'static str,
    /// Texts, and what a query shows for them.
    pub good: Vec<(&'static str, &'static str)>,
    /// Texts that must not become a value.
    pub bad: Vec<&'static str>,
}

/// Lends a warehouse with an empty database to one case, and looks into it.
#[async_trait]
pub trait Bench: Send + Sync {
    /// The warehouse.
    fn warehouse(&self) -> Arc<dyn Warehouse>;

    /// Another warehouse on the same database, as a second worker would have.
    fn rival(&self) -> Arc<dyn Warehouse>;

    /// Runs a statement; panics where it fails. Cases use SQL that PostgreSQL reads.
    async fn execute(&self, sql: &str);

    /// The rows of a query as texts: booleans `true` and `false`, decimals with all digits of their
    /// scale, times as in ISO 8601 with a blank, fractions without trailing zeros, instants in UTC
    /// with `+00`, bytes as lower-case hexadecimal digits.
    async fn query(&self, sql: &str) -> Vec<Vec<Option<String>>>;

    /// Rows in a table.
    async fn row_count(&self, table: &str) -> u64 {
        let rows = self.query(&format!("SELECT count(*) FROM {table}")).await;
        rows[0][0].as_deref().and_then(|text| text.parse().ok()).expect("a count")
    }

    /// Whether the engine enforces a constraint.
    fn enforces(&self, _constraint: Constraint) -> bool {
        true
    }

    /// Whether an append is fenced when it begins, so that a second one is held off while the first is
    /// written; else the fence comes in `commit`, and the second may be in before it.
    fn fences_appends_early(&self) -> bool {
        true
    }

    /// Whether a name in double quotes keeps the case of its letters.
    fn keeps_case(&self) -> bool {
        true
    }

    /// The type for text of any length, and how many bytes of it the suite tries.
    fn longest_text(&self) -> (&'static str, usize) {
        ("VARCHAR", 140_000)
    }

    /// Whether a DECIMAL holds as many digits as its precision says.
    fn holds_decimal(&self, _precision: u8, _scale: u8) -> bool {
        true
    }

    /// Makes the engine drop rows that are inserted into this table where `id` is 13, without an
    /// error; whether it can (a trigger, a rule).
    async fn swallow_thirteen(&self, _table: &str) -> bool {
        false
    }

    /// The types that a proposed table may have.
    fn types(&self) -> Vec<ColumnType> {
        common_types()
    }

    /// Types for the text route.
    fn text_routes(&self) -> Vec<TextRoute>;
}

/// The types that every warehouse has.
pub fn common_types() -> Vec<ColumnType> {
    vec![
        ColumnType::Boolean,
        ColumnType::Int16,
        ColumnType::Int32,
        ColumnType::Int64,
        ColumnType::Decimal { precision: 4, scale: 2 },
        ColumnType::Decimal { precision: 9, scale: 0 },
        ColumnType::Decimal { precision: 18, scale: 6 },
        ColumnType::Decimal { precision: 38, scale: 10 },
        ColumnType::Float32,
        ColumnType::Float64,
        ColumnType::Text,
        ColumnType::Varchar { length: 40, unit: LengthUnit::Characters },
        ColumnType::Date,
        ColumnType::Time,
        ColumnType::Timestamp,
        ColumnType::TimestampTz,
        ColumnType::Uuid,
        ColumnType::Json,
        ColumnType::Bytes,
    ]
}

/// A row from a text: cells between bars, `\N` for NULL.
pub fn cells(row: &str) -> Vec<Option<String>> {
    row.split('|').map(|cell| (cell != r"\N").then(|| cell.to_owned())).collect()
}

/// An object for a case.
#[derive(Debug, Clone)]
pub struct Object {
    /// What the load is told of it.
    pub spec: ObjectSpec,
    /// Its rows, each with the line at which it begins.
    pub rows: Vec<(u64, Vec<Option<String>>)>,
    /// What its entry is to record.
    pub kind: EntryKind,
    /// Rejects that its tally names.
    pub rejected: u64,
}

/// An object with this key, last modified so many seconds after the turn of 2024, with rows by
/// [`cells`]; the first begins at line 2, below a header.
pub fn object(key: &str, seconds: i64, rows: &[&str]) -> Object {
    let digest = Sha256::digest(format!("{key} {seconds}").as_bytes());
    let mut identity = [0; 32];
    identity.copy_from_slice(&digest);
    Object {
        spec: ObjectSpec {
            identity: ObjectId::new(identity),
            generation: crate::FIRST_GENERATION,
            parent: None,
            bucket: "file:///landing".to_owned(),
            key: key.to_owned(),
            etag: format!("\"{key}\""),
            size: rows.iter().map(|row| row.len() as u64 + 1).sum(),
            modified_at: at(seconds),
            late: false,
            archive_key: Some(format!("processed/{key}")),
        },
        rows: rows.iter().enumerate().map(|(n, row)| (n as u64 + 2, cells(row))).collect(),
        kind: EntryKind::Load,
        rejected: 0,
    }
}

impl Object {
    /// The same object, of which nothing is loaded.
    pub fn of_kind(mut self, kind: EntryKind) -> Self {
        self.kind = kind;
        self.rows.clear();
        self
    }

    /// The same object as another generation.
    pub fn generation(mut self, generation: u32) -> Self {
        self.spec.generation = generation;
        self
    }

    /// What the reader would have counted.
    pub fn tally(&self) -> Tally {
        let rejected = if self.kind == EntryKind::Load { self.rejected } else { 0 };
        Tally {
            kind: self.kind,
            content_hash: (self.kind == EntryKind::Load).then(|| "c".repeat(64)),
            rows_read: self.rows.len() as u64 + rejected,
            rows_rejected: rejected,
        }
    }
}

/// So many seconds after the turn of 2024.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_704_067_200 + seconds).expect("a time in range")
}

/// A table name that has to be one.
pub fn name(table: &str) -> TableName {
    TableName::from_str(table).expect("a table name")
}

/// Upsert by these columns; the later row wins.
pub fn upsert(key: &[&str]) -> Mode {
    Mode::Upsert { key: key.iter().map(|&name| name.to_owned()).collect(), order_by: None }
}

/// Upsert in which the greater value of a column wins.
pub fn upsert_by(key: &[&str], order_by: &str) -> Mode {
    Mode::Upsert { key: key.iter().map(|&name| name.to_owned()).collect(), order_by: Some(order_by.to_owned()) }
}

/// A load as the product would plan it now: with the latest position that the ledger knows.
pub async fn plan(
    warehouse: &dyn Warehouse,
    table: &str,
    mode: Mode,
    columns: &[&str],
    objects: &[Object],
) -> LoadSpec {
    let known = warehouse.lookup(&name(table), &[]).await.expect("a lookup");
    LoadSpec {
        load_id: LoadId::draw(),
        table: name(table),
        pipeline: "suite".to_owned(),
        mode,
        objects: objects.iter().map(|object| object.spec.clone()).collect(),
        columns: columns.iter().map(|&column| column.to_owned()).collect(),
        rules_hash: "rules".to_owned(),
        seen_latest: known.latest,
        loaded_at: at(1_000_000),
    }
}

/// Writes the rows of all objects into an open load, `rows_per_batch` at a time.
pub async fn write_all(
    load: &mut Box<dyn Load>,
    table: &Table,
    spec: &LoadSpec,
    objects: &[Object],
    rows_per_batch: usize,
) -> Result<(), WarehouseError> {
    for (index, object) in objects.iter().enumerate() {
        for rows in object.rows.chunks(rows_per_batch) {
            load.write(batch(table, &spec.columns, index as u32, rows)).await?;
        }
    }
    Ok(())
}

/// Loads objects from begin to commit.
pub async fn try_load_with(
    warehouse: &dyn Warehouse,
    spec: LoadSpec,
    objects: &[Object],
) -> Result<Committed, WarehouseError> {
    let table = warehouse.describe(&spec.table).await?;
    match warehouse.begin(spec.clone()).await? {
        Begun::AlreadyIn(entries) => Ok(Committed::AlreadyIn(entries)),
        Begun::Open(mut load) => {
            if let Err(error) = write_all(&mut load, &table, &spec, objects, 3).await {
                load.rollback().await?;
                return Err(error);
            }
            let tallies: Vec<Tally> = objects.iter().map(Object::tally).collect();
            load.commit(&tallies).await
        }
    }
}

/// Loads objects as the product would.
pub async fn try_load(
    bench: &dyn Bench,
    table: &str,
    mode: Mode,
    columns: &[&str],
    objects: &[Object],
) -> Result<Committed, WarehouseError> {
    let warehouse = bench.warehouse();
    let spec = plan(warehouse.as_ref(), table, mode, columns, objects).await;
    try_load_with(warehouse.as_ref(), spec, objects).await
}

/// Loads objects, which has to succeed.
pub async fn load(bench: &dyn Bench, table: &str, mode: Mode, columns: &[&str], objects: &[Object]) -> Receipt {
    match try_load(bench, table, mode, columns, objects).await {
        Ok(Committed::Loaded(receipt)) => receipt,
        Ok(Committed::AlreadyIn(entries)) => panic!("already in: {entries:?}"),
        Err(error) => panic!("{error}: {}", error.server_text().unwrap_or_default()),
    }
}

/// Begins a load, which has to open.
pub async fn open(warehouse: &dyn Warehouse, spec: LoadSpec) -> Box<dyn Load> {
    match warehouse.begin(spec).await {
        Ok(Begun::Open(load)) => load,
        Ok(Begun::AlreadyIn(entries)) => panic!("already in: {entries:?}"),
        Err(error) => panic!("{error}: {}", error.server_text().unwrap_or_default()),
    }
}

/// The rows of a table, ordered, as `a|b|\N`.
pub async fn table_rows(bench: &dyn Bench, table: &str, columns: &str) -> Vec<String> {
    rows_of(bench, &format!("SELECT {columns} FROM {table} ORDER BY {columns}")).await
}

/// The rows of a query as `a|b|\N`.
pub async fn rows_of(bench: &dyn Bench, sql: &str) -> Vec<String> {
    let text = |row: Vec<Option<String>>| {
        let cells = row.into_iter().map(|cell| cell.unwrap_or_else(|| r"\N".to_owned()));
        cells.collect::<Vec<_>>().join("|")
    };
    bench.query(sql).await.into_iter().map(text).collect()
}

/// The kind of an error that has to be one.
pub fn kind_of<T: std::fmt::Debug>(answer: Result<T, WarehouseError>) -> Kind {
    answer.expect_err("this has to be refused").kind().clone()
}

/// Object, line and column of a refusal that has to be [`Kind::Rows`].
pub fn refused_at<T: std::fmt::Debug>(answer: Result<T, WarehouseError>) -> (Option<u32>, Option<u64>, Option<String>) {
    let error = answer.expect_err("this has to be refused");
    match error.kind().clone() {
        Kind::Rows { object, line, column } => (object, line, column),
        kind => panic!("{kind:?}: {error}: {}", error.server_text().unwrap_or_default()),
    }
}

/// A batch of rows for a table.
pub fn batch(table: &Table, columns: &[String], object: u32, rows: &[(u64, Vec<Option<String>>)]) -> RowBatch {
    let fields = columns.iter().enumerate().map(|(index, name)| {
        let column = table
            .columns
            .iter()
            .find(|column| column.name.eq_ignore_ascii_case(name))
            .unwrap_or_else(|| panic!("no column {name}"));
        let values: Vec<Option<&str>> = rows.iter().map(|(_, row)| row[index].as_deref()).collect();
        (name.as_str(), array(&column.ty, &values), true)
    });
    RowBatch {
        object,
        lines: rows.iter().map(|(line, _)| *line).collect::<Vec<_>>().into(),
        rows: RecordBatch::try_from_iter_with_nullable(fields).expect("columns of one length"),
        verbatim: None,
    }
}

/// Values of a type from texts.
pub(crate) fn array(ty: &ColumnType, values: &[Option<&str>]) -> ArrayRef {
    fn all<T: FromStr>(values: &[Option<&str>]) -> Vec<Option<T>> {
        let parse = |text: &str| text.parse().unwrap_or_else(|_| panic!("{text:?} does not parse"));
        values.iter().map(|value| value.map(parse)).collect()
    }
    fn micros(values: &[Option<&str>], of: impl Fn(&str) -> i64) -> Vec<Option<i64>> {
        values.iter().map(|value| value.map(&of)).collect()
    }
    match ty {
        ColumnType::Boolean => Arc::new(BooleanArray::from(all::<bool>(values))),
        ColumnType::Int8 => Arc::new(Int8Array::from(all(values))),
        ColumnType::Int16 => Arc::new(Int16Array::from(all(values))),
        ColumnType::Int32 => Arc::new(Int32Array::from(all(values))),
        ColumnType::Int64 => Arc::new(Int64Array::from(all(values))),
        ColumnType::UInt8 => Arc::new(UInt8Array::from(all(values))),
        ColumnType::UInt16 => Arc::new(UInt16Array::from(all(values))),
        ColumnType::UInt32 => Arc::new(UInt32Array::from(all(values))),
        ColumnType::UInt64 => Arc::new(UInt64Array::from(all(values))),
        ColumnType::Float32 => Arc::new(Float32Array::from(all(values))),
        ColumnType::Float64 => Arc::new(Float64Array::from(all(values))),
        ColumnType::Decimal { precision, scale } => {
            let numbers = values.iter().map(|value| value.map(|text| decimal(text, *scale)));
            Arc::new(
                Decimal128Array::from_iter(numbers)
                    .with_precision_and_scale(*precision, *scale as i8)
                    .expect("a decimal type"),
            )
        }
        ColumnType::Date => {
            let epoch = jiff::civil::date(1970, 1, 1);
            let days = |text: &str| {
                let date: Date = text.parse().expect("a date");
                date.since((jiff::Unit::Day, epoch)).expect("days").get_days()
            };
            Arc::new(Date32Array::from_iter(values.iter().map(|value| value.map(days))))
        }
        ColumnType::Time => {
            let of = |text: &str| {
                let time: Time = text.parse().expect("a time");
                let seconds = i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second());
                seconds * 1_000_000 + i64::from(time.subsec_nanosecond()) / 1000
            };
            Arc::new(Time64MicrosecondArray::from(micros(values, of)))
        }
        ColumnType::Timestamp => {
            let of = |text: &str| {
                let time: DateTime = text.parse().expect("a timestamp");
                civil_micros(time)
            };
            Arc::new(TimestampMicrosecondArray::from(micros(values, of)))
        }
        ColumnType::TimestampTz => {
            let of = |text: &str| {
                let text = text.strip_suffix("+00").expect("an instant in UTC");
                civil_micros(text.parse().expect("an instant"))
            };
            let array = TimestampMicrosecondArray::from(micros(values, of));
            Arc::new(array.with_timezone("UTC"))
        }
        ColumnType::Uuid => {
            let bytes =
                values.iter().map(|value| value.map(|text| uuid::Uuid::parse_str(text).expect("a UUID").into_bytes()));
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(bytes, 16).expect("16 bytes"))
        }
        ColumnType::Bytes => {
            let bytes: Vec<Option<Vec<u8>>> = values.iter().map(|value| value.map(unhex)).collect();
            Arc::new(bytes.iter().map(Option::as_deref).collect::<BinaryViewArray>())
        }
        ColumnType::Char { .. }
        | ColumnType::Varchar { .. }
        | ColumnType::Text
        | ColumnType::Json
        | ColumnType::Enum(_)
        | ColumnType::Other => Arc::new(values.iter().copied().collect::<StringViewArray>()),
    }
}

/// Microseconds since 1970 of a day and time; beyond what an instant of jiff reaches (its years
/// are fine, its last hours are not).
fn civil_micros(time: DateTime) -> i64 {
    let days = time.date().since((jiff::Unit::Day, jiff::civil::date(1970, 1, 1))).expect("days");
    let time = time.time();
    let seconds = i64::from(days.get_days()) * 86_400
        + i64::from(time.hour()) * 3600
        + i64::from(time.minute()) * 60
        + i64::from(time.second());
    seconds * 1_000_000 + i64::from(time.subsec_nanosecond()) / 1000
}

fn decimal(text: &str, scale: u8) -> i128 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    assert!(fraction.len() <= usize::from(scale), "{text:?} has too many digits");
    let digits = format!("{whole}{fraction:0<width$}", width = usize::from(scale));
    digits.parse().expect("digits")
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |c: u8| (c as char).to_digit(16).expect("a hexadecimal digit") as u8;
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) * 16 + digit(pair[1])).collect()
}
