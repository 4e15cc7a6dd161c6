//! Records that the reader says can be passed on are read as what the writer for Redshift writes.

use arrow_array::{Array, RecordBatch};
use bytes::Bytes;
use longshore_csv::{Batch, Column, CsvDecoder, Decoder, FieldRules, Header, LengthUnit, Options, Type};
use longshore_warehouse::{RowBatch, redshift};
use proptest::collection::vec;
use proptest::prelude::*;
use regex::Regex;

/// Types as Redshift spells them, and texts of such values: usual ones, unusual ones, and what is none.
fn kinds() -> [(&'static str, Type, BoxedStrategy<String>); 10] {
    let text = |length, unit| Type::Text { length: Some((length, unit)), padded: unit == LengthUnit::Ascii };
    let number = "-?[0-9]{1,9}|-?0{0,2}[0-9]{0,3}|\\+1|1e2|";
    let decimal = "-?[0-9]{1,12}\\.[0-9]{2}|-?0?[0-9]\\.[0-9]{0,3}|-?[0-9]{0,4}|\\.[0-9]{1,2}|-0\\.00| 1\\.50|";
    let texts = "[a-z]{1,30}|[ -~]{0,6}| ?\u{feff}?[a-zäß€]{0,3}[ \t\u{1}]?|\"[a-z,\n]{0,5}(\"\"x)?\"|_|";
    [
        ("bigint", Type::Int64, number.boxed()),
        ("smallint", Type::Int16, number.boxed()),
        ("numeric(15,2)", Type::Decimal { precision: 15, scale: 2 }, decimal.boxed()),
        ("numeric(5,0)", Type::Decimal { precision: 5, scale: 0 }, "-?[0-9]{0,5}\\.?0?".boxed()),
        ("date", Type::Date, "(19|20)[0-9]{2}-[01][0-9]-[0-2][0-9]|0001-01-01|".boxed()),
        (
            "timestamp without time zone",
            Type::Timestamp,
            "20[0-9]{2}-0[1-9]-[0-2][1-8][ T]1[0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{0,6})?|2020-01-01|".boxed(),
        ),
        ("time without time zone", Type::Time, "[01][0-9]:[0-5][0-9](:[0-5][0-9](\\.0{1,6})?)?|".boxed()),
        ("character varying(20)", text(20, LengthUnit::Bytes), texts.boxed()),
        ("character(5)", text(5, LengthUnit::Ascii), texts.boxed()),
        ("boolean", Type::Boolean, "[tfTF10]|true|no|".boxed()),
    ]
}

/// Rows of some of these kinds, by their numbers: at most some hundred, so that all are one batch.
fn rows() -> impl Strategy<Value = (Vec<usize>, Vec<Vec<String>>)> {
    vec(0..kinds().len(), 1..5).prop_flat_map(|chosen| {
        let cells: Vec<_> = chosen.iter().map(|kind| kinds()[*kind].2.clone()).collect();
        (Just(chosen), vec(cells, 0..40))
    })
}

/// How a field of a kind is spelled in a record that may be passed on: so that it can be read in one way only.
const STRICT: [&str; 10] = [
    WHOLE,
    WHOLE,
    "(?:-?[1-9][0-9]*(?:\\.[0-9]{1,2})?|-?0\\.(?:[1-9][0-9]?|0[1-9])|0(?:\\.00?)?)",
    WHOLE,
    "[0-9]{4}-[0-9]{2}-[0-9]{2}",
    "[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}",
    "[0-9]{2}:[0-9]{2}:[0-9]{2}",
    TEXT,
    TEXT,
    "[tf]",
];
const WHOLE: &str = "(?:-?[1-9][0-9]*|0)";
const TEXT: &str = "(?:\"[^\"\r\n\\x00]+\"|[^\",\\x00-\\x20\\x{feff}](?:[^\",\r\n\\x00]*[^\",\\x00-\\x20])?)";

fn decode(chosen: &[usize], text: &str, null: &str) -> Option<Batch> {
    let column = |(place, kind): (usize, &usize)| Column {
        name: format!("c{place}"),
        ty: kinds()[*kind].1.clone(),
        type_sql: kinds()[*kind].0.to_owned(),
        required: false,
        optional: false,
        bound: None,
        rules: FieldRules { null: vec![null.to_owned()], ..FieldRules::default() },
    };
    let columns = chosen.iter().enumerate().map(column).collect();
    let options = Options { header: Header::No, ..Options::default() };
    let mut decoder = CsvDecoder::new(options, columns).expect("settings that fit");
    decoder.keep_verbatim();
    decoder.push(Bytes::from(text.to_owned())).ok()?;
    decoder.finish().ok()?;
    decoder.take()
}

/// What is written of a batch, with and without the text of its records; and how many have one.
fn written(chosen: &[usize], batch: Batch) -> (Option<Vec<u8>>, Option<Vec<u8>>, usize) {
    let types: Vec<&str> = chosen.iter().map(|kind| kinds()[*kind].0).collect();
    let count = batch.verbatim.as_ref().map_or(0, |texts| texts.len() - texts.null_count());
    let passed = RowBatch { object: 0, lines: batch.lines, rows: batch.rows, verbatim: batch.verbatim };
    let anew = RowBatch { verbatim: None, ..passed.clone() };
    (redshift::lines(&types, &passed), redshift::lines(&types, &anew), count)
}

/// What anybody reads in lines that were written.
fn read(chosen: &[usize], lines: Vec<u8>) -> Option<RecordBatch> {
    let text = String::from_utf8(lines).expect("text");
    let batch = decode(chosen, &text, "TOKEN_OF_TESTS")?;
    assert_eq!(batch.rejects, [], "{text}");
    Some(batch.rows)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn what_is_passed_on_is_read_as_what_would_be_written(((chosen, rows), ends) in (rows(), prop_oneof!["\n", "\r\n"])) {
        let text: String = rows.iter().map(|row| row.join(",") + &ends).collect();
        if let Some(batch) = decode(&chosen, &text, "_") {
            let fields: Vec<&str> = chosen.iter().map(|kind| STRICT[*kind]).collect();
            let strict = Regex::new(&format!("^{}$", fields.join(","))).expect("a pattern");
            for record in batch.verbatim.iter().flatten().flatten() {
                prop_assert!(strict.is_match(record), "{:?} of {:?}", record, text);
            }
            let (passed, anew, _) = written(&chosen, batch);
            let read = |lines: Option<Vec<u8>>| lines.map(|lines| read(&chosen, lines));
            prop_assert_eq!(read(passed), read(anew), "{:?}", text);
        }
    }
}

#[test]
fn usual_records_are_passed_on_and_others_are_not() {
    let all: Vec<usize> = (0..kinds().len()).collect();
    let usual = "-12,7,-0.05,99999,2024-02-29,2024-02-29 12:34:56,23:59:59,a b,abc,t\n";
    // Of four records the first is never passed on: its first number lies too near to the start to be read the usual
    // way. Nor is the last where there are quotes: it might go on in another line.
    let others = [
        ("007,7,1.50,1,2024-02-29,2024-02-29 12:34:56,23:59:59,aa,bb,t", 2),
        ("7,7,.5,1,2024-02-29,2024-02-29 12:34:56,23:59:59,aa,bb,t", 2),
        ("7,7,1.,1,2024-02-29,2024-02-29 12:34:56,23:59:59,aa,bb,t", 2),
        ("7,7,-0.0,1,2024-02-29,2024-02-29 12:34:56,23:59:59,aa,bb,t", 2),
        ("7,7,1.50,1,2024-02-29,2024-02-29T12:34:56,23:59:59,aa,bb,t", 2),
        ("7,7,1.50,1,2024-02-29,2024-02-29 12:34:56,23:59,aa,bb,t", 2),
        ("7,7,1.50,1,2024-02-29,2024-02-29 12:34:56,23:59:59,aa ,bb,t", 2),
        ("7,7,1.50,1,2024-02-29,2024-02-29 12:34:56,23:59:59,_,bb,t", 2),
        ("7,7,1.50,1,2024-02-29,2024-02-29 12:34:56,23:59:59,aa,bb,true", 2),
        ("7,7,,1,2024-02-29,2024-02-29 12:34:56,23:59:59,aa,bb,f", 2),
        ("7,7,1.5,1,2024-02-29,2024-02-29 12:34:56,23:59:59,aa,bb,f", 3),
        ("0,7,0,0,2024-02-29,2024-02-29 12:34:56,23:59:59,aa,bb,f", 3),
        ("7,7,1.5,1,2024-02-29,2024-02-29 12:34:56,23:59:59,\" a, b \",bb,f", 2),
        ("7,7,1.5,1,2024-02-29,2024-02-29 12:34:56,23:59:59,\"a\nb\",bb,f", 1),
        ("7,7,1.5,1,2024-02-29,2024-02-29 12:34:56,23:59:59,\"a\"\"b\",bb,f", 1),
        ("7,7,1.5,1,2024-02-29,2024-02-29 12:34:56,23:59:59,\"\",bb,f", 1),
        ("7,7,1.5,1,2024-02-29,2024-02-29 12:34:56,23:59:59,a\"a,bb,f", 1),
        ("7,7,\"1.5\",1,2024-02-29,2024-02-29 12:34:56,23:59:59,aa,bb,f", 1),
    ];
    for (other, expected) in others {
        let batch = decode(&all, &format!("{usual}{usual}{other}\n{usual}"), "_").expect("four rows");
        assert_eq!(batch.rows.num_rows(), 4, "{other}");
        let (passed, anew, count) = written(&all, batch);
        assert_eq!(read(&all, passed.expect("lines")), read(&all, anew.expect("lines")), "{other}");
        assert_eq!(count, expected, "{other}");
    }
    // Of a batch with rejects the others keep theirs.
    let batch = decode(&all, &format!("{usual}{usual}{}{usual}", usual.replace("-12", "x")), "_").expect("three rows");
    assert_eq!((batch.rows.num_rows(), batch.rejects.len()), (3, 1));
    assert_eq!(written(&all, batch).2, 2);
}
