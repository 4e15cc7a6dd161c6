//! What texts mean as values of each type: a file of texts in `corpus/` and, beside it, what
//! comes of each line. `UPDATE_CORPUS=1 cargo test -p longshore-csv` writes the latter anew.

use std::fmt::Write as _;
use std::path::PathBuf;

use jiff::tz::TimeZone;
use longshore_csv::{Bound, Column, DecimalRule, FieldRules, Header, LengthUnit, OffsetRule, Options, Trim, Type};

use crate::harness::{column, read, text};

fn corpus(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "corpus", name].iter().collect()
}

/// Reads `corpus/<name>.csv` and compares with `corpus/<name>.expected`.
fn matches_corpus(name: &str, ty: Type, rules: FieldRules) {
    let object = std::fs::read(corpus(&format!("{name}.csv"))).unwrap();
    let value = Column { rules, ..column("v", ty) };
    let found = show(&object, value);
    let expected = corpus(&format!("{name}.expected"));
    if std::env::var_os("UPDATE_CORPUS").is_some() {
        std::fs::write(&expected, &found).unwrap();
    }
    let expected = std::fs::read_to_string(expected).unwrap_or_default();
    pretty(&found, &expected);
}

#[track_caller]
fn pretty(found: &str, expected: &str) {
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(found, expected);
}

/// A line for each record: its number and value, or its faults.
fn show(object: &[u8], value: Column) -> String {
    let columns = [column("n", Type::Int32), value];
    let read = read(&Options::default(), &columns, object).unwrap();
    let mut lines: Vec<(u64, String)> = Vec::new();
    for (line, row) in &read.rows {
        lines.push((*line, format!("{}: {:?}", row[0], row[1])));
    }
    for reject in &read.rejects {
        let raw = String::from_utf8(reject.raw.clone()).unwrap();
        let number = raw.split(',').next().unwrap().to_owned();
        let faults = reject.faults.iter().fold(String::new(), |mut all, fault| {
            write!(all, " {}: {};", fault.rule.as_str(), fault.message).unwrap();
            all
        });
        lines.push((reject.line, format!("{number}:{faults}")));
    }
    lines.sort();
    let mut shown = lines.into_iter().fold(String::new(), |all, (_, line)| all + &line + "\n");
    if read.summary.rounded > 0 {
        writeln!(shown, "rounded: {}", read.summary.rounded).unwrap();
    }
    shown
}

fn null() -> FieldRules {
    FieldRules { null: vec!["NULL".to_owned()], ..FieldRules::default() }
}

fn limited(length: u32, padded: bool) -> Type {
    Type::Text { length: Some((length, LengthUnit::Characters)), padded }
}

fn decimal(precision: u8, scale: u8) -> Type {
    Type::Decimal { precision, scale }
}

#[test]
fn booleans() {
    matches_corpus("boolean", Type::Boolean, null());
}

#[test]
fn integers() {
    matches_corpus("integer", Type::Int32, null());
    matches_corpus("unsigned", Type::UInt8, null());
}

#[test]
fn decimals() {
    matches_corpus("decimal", decimal(9, 2), FieldRules::default());
}

#[test]
fn doubles() {
    matches_corpus("double", Type::Float64, FieldRules::default());
}

#[test]
fn dates_and_times() {
    matches_corpus("date", Type::Date, FieldRules::default());
    matches_corpus("time", Type::Time, FieldRules::default());
    matches_corpus("timestamp", Type::Timestamp, FieldRules::default());
}

#[test]
fn instants_in_a_zone() {
    let rules = FieldRules { timezone: TimeZone::get("Europe/Berlin").unwrap(), ..FieldRules::default() };
    matches_corpus("instant", Type::TimestampTz, rules);
}

#[test]
fn texts_uuids_bytes_and_json() {
    matches_corpus("text", text(), null());
    matches_corpus("varchar", limited(5, false), FieldRules::default());
    matches_corpus("char", limited(5, true), FieldRules::default());
    matches_corpus("uuid", Type::Uuid, FieldRules::default());
    matches_corpus("bytes", Type::Bytes, FieldRules::default());
    matches_corpus("json", Type::Json, FieldRules::default());
    let labels = ["red", "green", "light blue"].map(str::to_owned).into();
    matches_corpus("label", Type::Enum(labels), FieldRules::default());
}

/// The value or the first rule broken of one text.
fn one(ty: Type, rules: FieldRules, text: &str) -> String {
    of(Column { rules, ..column("v", ty) }, text)
}

fn of(column_of_text: Column, text: &str) -> String {
    let columns = [column("n", Type::Int32), column_of_text];
    let options = Options { delimiter: b'\t', header: Header::No, ..Options::default() };
    let read = read(&options, &columns, format!("1\t{text}\n")).unwrap();
    match read.rejects.first() {
        Some(reject) => reject.faults[0].rule.as_str().to_owned(),
        None => read.rows[0].1[1].clone(),
    }
}

#[test]
fn numbers_with_groups_and_commas() {
    let english = FieldRules { thousands: Some(','), ..FieldRules::default() };
    let german = FieldRules { thousands: Some('.'), decimal_comma: true, ..FieldRules::default() };
    let french = FieldRules { thousands: Some('\u{202F}'), decimal_comma: true, ..FieldRules::default() };
    for (rules, text, expected) in [
        (&english, "1,234,567.89", "1234567.89"),
        (&english, "-1,234", "-1234.00"),
        (&english, "1234.5", "1234.50"),
        (&english, "12,34", "type"),
        (&english, "1,2345", "type"),
        (&english, "1234,567", "type"),
        (&english, ",123", "type"),
        (&english, "123,", "type"),
        (&english, "1.234,567", "type"),
        (&german, "1.234.567,89", "1234567.89"),
        (&german, "0,5", "0.50"),
        (&german, "1.5", "type"),
        (&french, "1\u{202F}234,5", "1234.50"),
    ] {
        assert_eq!(one(decimal(9, 2), rules.clone(), text), expected, "{text}");
    }
    assert_eq!(one(Type::Int32, english.clone(), "1,234,567"), "1234567");
    assert_eq!(one(Type::Float64, english, "1,234.5"), "1234.5");
    assert_eq!(one(Type::Float64, german, "1.234,5"), "1234.5");
}

#[test]
fn digits_too_many_are_rounded_cut_or_refused() {
    let rules = |decimal| FieldRules { decimal, ..FieldRules::default() };
    for (text, rounded, cut, refused) in [
        ("1.005", "1.01", "1.00", "scale"),
        ("-1.005", "-1.01", "-1.00", "scale"),
        ("1.0049", "1.00", "1.00", "scale"),
        ("1.500000", "1.50", "1.50", "1.50"),
        ("9999999.999", "range", "9999999.99", "scale"),
    ] {
        assert_eq!(one(decimal(9, 2), rules(DecimalRule::Round), text), rounded);
        assert_eq!(one(decimal(9, 2), rules(DecimalRule::Truncate), text), cut);
        assert_eq!(one(decimal(9, 2), rules(DecimalRule::Reject), text), refused);
    }
    let widest = "99999999999999999999999999999999999999";
    assert_eq!(one(decimal(38, 0), FieldRules::default(), widest), widest);
    assert_eq!(one(decimal(38, 0), FieldRules::default(), &format!("{widest}.5")), "range");
}

#[test]
fn what_a_column_takes_less_of_than_its_type_is_a_reject() {
    let within = |bound, ty, text| of(Column { bound: Some(bound), ..column("v", ty) }, text);
    let decimal = |scale| Type::Decimal { precision: 19, scale };
    for (scale, text, expected) in [
        (0, "9223372036854775807", "9223372036854775807"),
        (0, "-9223372036854775807", "-9223372036854775807"),
        (0, "9223372036854775808", "range"),
        (0, "9999999999999999999", "range"),
        (0, "99999999999999999999", "range"),
        (4, "922337203685477.5807", "922337203685477.5807"),
        (4, "922337203685477.58074", "922337203685477.5807"),
        (4, "922337203685477.5808", "range"),
        (4, "-999999999999999.9999", "range"),
    ] {
        assert_eq!(within(Bound::Bits64, decimal(scale), text), expected, "{text}");
    }
    for ty in [Type::Float32, Type::Float64] {
        for (text, expected) in [("1.5", "1.5"), ("1e2", "100"), ("", "NULL")] {
            assert_eq!(within(Bound::Finite, ty.clone(), text), expected, "{text}");
        }
        for text in ["inf", "-Infinity", "NaN"] {
            assert_eq!(within(Bound::Finite, ty.clone(), text), "range", "{text}");
            assert_ne!(one(ty.clone(), FieldRules::default(), text), "range", "{text}");
        }
    }
    for (text, expected) in [("00ff", "00ff"), ("\"00ff\"", "00ff"), ("00ff7f", "length"), ("", "NULL")] {
        assert_eq!(within(Bound::Bytes(2), Type::Bytes, text), expected, "{text}");
    }
    assert_eq!(within(Bound::Bytes(2), Type::Bytes, "\\x"), "length");
    assert_eq!(one(Type::Bytes, FieldRules::default(), "\\x"), "");
}

#[test]
fn dates_by_format() {
    let dates = |formats: &[&str]| FieldRules {
        date_formats: formats.iter().map(|format| (*format).to_owned()).collect(),
        ..FieldRules::default()
    };
    let german = dates(&["%d.%m.%Y", "iso"]);
    assert_eq!(one(Type::Date, german.clone(), "31.12.1969"), "-1");
    assert_eq!(one(Type::Date, german.clone(), "1970-01-02"), "1");
    assert_eq!(one(Type::Date, german.clone(), "31/12/1969"), "type");
    assert_eq!(one(Type::Date, german, "30.02.1970"), "range");
    assert_eq!(one(Type::Date, dates(&["epoch"]), "86400"), "1");
    assert_eq!(one(Type::Date, dates(&["epoch"]), "86401"), "type");
}

#[test]
fn timestamps_by_format() {
    let stamps = |format: &str| FieldRules { timestamp_formats: vec![format.to_owned()], ..FieldRules::default() };
    for (format, text, expected) in [
        ("epoch", "1", "1000000"),
        ("epoch", "-1.5", "-1500000"),
        ("epoch", "1.0000001", "scale"),
        ("epoch_ms", "1500", "1500000"),
        ("epoch_us", "1500", "1500"),
        ("epoch_us", "1.5", "scale"),
        ("%m/%d/%Y %I:%M %p", "01/01/1970 01:30 PM", "48600000000"),
        ("%m/%d/%Y", "01/02/1970", "86400000000"),
        ("%Y-%m-%d %H:%M:%S", "1970-01-01 00:00:60", "type"),
        ("%Y-%m-%d %H:%M:%S", "1970-01-01 00:00:59", "59000000"),
        ("%Y-%m-%d %H:%M:%S%.f", "1970-01-01 00:00:00.1234567", "scale"),
        ("%Y-%m-%d %H:%M %z", "1970-01-01 00:00 +0000", "offset"),
    ] {
        assert_eq!(one(Type::Timestamp, stamps(format), text), expected, "{text}");
    }
    let zoned = stamps("%Y-%m-%d %H:%M %z");
    assert_eq!(one(Type::TimestampTz, zoned, "1970-01-01 01:00 +0100"), "0");
}

#[test]
fn offsets_of_local_timestamps_follow_the_rule() {
    let text = "1970-01-01 02:00:00+02:00";
    let rules = |timestamp_offset| FieldRules { timestamp_offset, ..FieldRules::default() };
    assert_eq!(one(Type::Timestamp, rules(OffsetRule::Reject), text), "offset");
    assert_eq!(one(Type::Timestamp, rules(OffsetRule::Utc), text), "0");
    assert_eq!(one(Type::Timestamp, rules(OffsetRule::Drop), text), "7200000000");
}

#[test]
fn blanks_are_trimmed_as_told() {
    let trimmed = |trim| FieldRules { trim, ..FieldRules::default() };
    for (trim, expected) in [(Trim::None, "  a  "), (Trim::Start, "a  "), (Trim::End, "  a"), (Trim::Both, "a")] {
        assert_eq!(one(text(), trimmed(trim), "  a  "), expected);
        assert_eq!(one(text(), trimmed(trim), "\"  a  \""), expected);
    }
    assert_eq!(one(text(), trimmed(Trim::Both), "  "), "NULL");
    assert_eq!(one(text(), trimmed(Trim::End), "\"  \""), "");
}

#[test]
fn null_texts_win_over_values() {
    let nulls = |texts: &[&str]| FieldRules {
        null: texts.iter().map(|text| (*text).to_owned()).collect(),
        ..FieldRules::default()
    };
    assert_eq!(one(Type::Int32, nulls(&["-999"]), "-999"), "NULL");
    assert_eq!(one(Type::Int32, nulls(&["-999"]), "\" -999\""), "NULL");
    assert_eq!(one(Type::Int32, nulls(&["-999"]), "-998"), "-998");
    assert_eq!(one(text(), nulls(&["NA"]), " NA "), "NULL");
    assert_eq!(one(text(), nulls(&["NA"]), "\"NA\""), "NA");
    assert_eq!(one(text(), nulls(&["\\N"]), "\\N"), "NULL");
    assert_eq!(one(text(), nulls(&["NA"]), "NAN"), "NAN");
}

#[test]
fn null_in_a_required_column_is_a_reject() {
    let columns = [column("n", Type::Int32), Column { required: true, ..column("v", text()) }];
    let read = read(&Options::default(), &columns, "n,v\n1,\n2,\"\"\n").unwrap();
    assert_eq!(read.faults(), ["2 v not-null"]);
    assert_eq!(read.rejects[0].faults[0].message, "expected a value, found NULL");
    assert_eq!(read.table(), "2|");
}

#[test]
fn bytes_are_counted_where_the_warehouse_counts_bytes() {
    let bytes = Type::Text { length: Some((4, LengthUnit::Bytes)), padded: false };
    assert_eq!(one(bytes.clone(), FieldRules::default(), "éé"), "éé");
    assert_eq!(one(bytes, FieldRules::default(), "ééa"), "length");
    let most = FieldRules { max_bytes: Some(3), ..FieldRules::default() };
    assert_eq!(one(text(), most.clone(), "abcd"), "length");
    assert_eq!(one(text(), most, "abc"), "abc");
}

#[test]
fn a_column_of_ascii_takes_nothing_else() {
    let ascii = |length| Type::Text { length: Some((length, LengthUnit::Ascii)), padded: true };
    for text in ["abcd", "ab", "abcd  "] {
        assert_eq!(one(ascii(4), FieldRules::default(), text), text.get(..4).unwrap_or(text));
    }
    // A text that would fit into a view as it is, one in quotes, one that is long.
    for (length, text) in [(4, "é"), (4, "\"é\""), (60, "a text that is longer than what a view holds: é")] {
        assert_eq!(one(ascii(length), FieldRules::default(), text), "type", "{text}");
    }
    assert_eq!(one(ascii(4), FieldRules::default(), "abcde"), "length");
}
