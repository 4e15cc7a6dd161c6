//! Prints how fast one core splits and types `lineitem`: `cargo bench -p longshore-csv`.

#![expect(clippy::print_stdout, reason = "a benchmark's only output")]

use std::fmt::Write as _;
use std::time::Instant;

use bytes::Bytes;
use longshore_csv::{Column, Columns, CsvDecoder, Decoder, FieldRules, LengthUnit, Options, Type};
use tpchgen::csv::LineItemCsv;
use tpchgen::generators::LineItemGenerator;

/// Bytes of one push, as a ranged GET gives them.
const PUSH: usize = 4 << 20;
/// Of so many runs the best counts: the others were disturbed.
const RUNS: usize = 7;

fn main() {
    let rows = LineItemGenerator::new(0.1, 1, 1);
    let mut quoted = format!("{}\n", LineItemCsv::header());
    for row in rows.iter() {
        writeln!(quoted, "{}", LineItemCsv::new(row)).expect("a string takes all");
    }
    let plain = unquoted(&quoted);
    for (name, text, delimiter) in [("unquoted", plain, b'|'), ("quoted comments", quoted, b',')] {
        let text = Bytes::from(text);
        println!("lineitem, {name}: {} MB", text.len() / 1_000_000);
        let options = Options { delimiter, ..Options::default() };
        let passed_over = Options {
            columns: Columns {
                renamed: columns().into_iter().map(|column| (column.name, None)).collect(),
                order: Vec::new(),
            },
            ..options.clone()
        };
        let split = best(&text, &passed_over, &optional());
        println!("  splitting    {:7.2} GB/s", split / 1e9);
        println!("  typed        {:7.0} MB/s", best(&text, &options, &columns()) / 1e6);
        if std::env::args().any(|argument| argument == "--columns") {
            by_column(&text, &options);
        }
    }
}

/// What each column costs besides the splitting.
fn by_column(text: &Bytes, options: &Options) {
    let size = text.len() as f64;
    let rows = text.iter().filter(|byte| **byte == b'\n').count() as f64;
    for column in columns() {
        let renamed = columns().into_iter().map(|other| (other.name, None));
        let renamed = renamed.filter(|(name, _)| *name != column.name).collect();
        let options = Options { columns: Columns { renamed, order: Vec::new() }, ..options.clone() };
        let rate = best(text, &options, std::slice::from_ref(&column));
        println!("    {:16} {:6.1} ns per row", column.name, size / rate / rows * 1e9);
    }
}

/// The same text with `|` between fields and no quotes.
fn unquoted(text: &str) -> String {
    let mut quoted = false;
    text.chars()
        .filter_map(|char| match char {
            '"' => {
                quoted = !quoted;
                None
            }
            ',' if !quoted => Some('|'),
            other => Some(other),
        })
        .collect()
}

/// Bytes per second of the best run.
fn best(text: &Bytes, options: &Options, columns: &[Column]) -> f64 {
    let run = || {
        let start = Instant::now();
        let rows = decode(text, options, columns);
        assert!(rows > 0);
        text.len() as f64 / start.elapsed().as_secs_f64()
    };
    (0..RUNS).map(|_| run()).fold(0.0, f64::max)
}

fn decode(text: &Bytes, options: &Options, columns: &[Column]) -> usize {
    let mut decoder = CsvDecoder::new(options.clone(), columns.to_vec()).expect("the settings fit");
    let mut rows = 0;
    let mut drain = |decoder: &mut CsvDecoder| {
        while let Some(batch) = decoder.take() {
            assert!(batch.rejects.is_empty(), "{:?}", batch.rejects[0]);
            rows += batch.rows.num_rows();
        }
    };
    for start in (0..text.len()).step_by(PUSH) {
        let end = (start + PUSH).min(text.len());
        decoder.push(text.slice(start..end)).expect("the object is sound");
        drain(&mut decoder);
    }
    decoder.finish().expect("the object is sound");
    drain(&mut decoder);
    rows
}

fn optional() -> Vec<Column> {
    columns().into_iter().map(|column| Column { optional: true, ..column }).collect()
}

fn columns() -> Vec<Column> {
    let decimal = Type::Decimal { precision: 15, scale: 2 };
    let text = |length, padded| Type::Text { length: Some((length, LengthUnit::Characters)), padded };
    [
        ("l_orderkey", Type::Int64),
        ("l_partkey", Type::Int64),
        ("l_suppkey", Type::Int64),
        ("l_linenumber", Type::Int32),
        ("l_quantity", decimal.clone()),
        ("l_extendedprice", decimal.clone()),
        ("l_discount", decimal.clone()),
        ("l_tax", decimal),
        ("l_returnflag", text(1, true)),
        ("l_linestatus", text(1, true)),
        ("l_shipdate", Type::Date),
        ("l_commitdate", Type::Date),
        ("l_receiptdate", Type::Date),
        ("l_shipinstruct", text(25, true)),
        ("l_shipmode", text(10, true)),
        ("l_comment", text(44, false)),
    ]
    .map(|(name, ty)| Column {
        name: name.to_owned(),
        ty,
        type_sql: String::new(),
        required: true,
        optional: false,
        bound: None,
        rules: FieldRules::default(),
    })
    .into()
}
