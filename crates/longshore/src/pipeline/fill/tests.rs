use std::path::Path;

use arrow_array::Array as _;
use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Int64Type};
use longshore_csv::FieldRules;

use super::*;
use crate::bucket::{Object, ObjectKey};
use crate::config::Config;

fn pipeline() -> Pipeline {
    let text = "[bucket]\nurl = \"./b\"\n[[pipeline]]\nname = \"p\"\ntable = \"t\"\nmode = \"append\"
regex = '^(?<shop>.*)/(?<day>[-0-9]*)(?<rest>z)?\\.csv$'";
    let config = Config::parse(text, Path::new("/"), &|_| None).unwrap();
    config.pipelines.into_iter().next().unwrap()
}

fn landed(key: &str) -> Landed {
    let object = Object { key: ObjectKey::new(key), etag: "e".to_owned(), size: 1, modified_at: Timestamp::UNIX_EPOCH };
    let identity = object.identity("b");
    Landed::pending(object, identity)
}

fn filled(ty: Type, fill: Fill) -> Filled {
    let column = Column {
        name: "c".to_owned(),
        type_sql: "x".to_owned(),
        ty,
        required: false,
        optional: true,
        bound: None,
        rules: FieldRules::default(),
    };
    Filled { column, fill }
}

const TEXT: Type = Type::Text { length: None, padded: false };

fn filler(ty: Type, fill: Fill) -> Result<Filler, FillError> {
    Filler::new(
        &[filled(ty, fill)],
        &pipeline(),
        &landed("pending/a \"b\", c/2026-01-31.csv"),
        "pending/",
        LoadId::draw(),
        "2026-01-31T01:02:03.000004Z".parse().unwrap(),
    )
}

/// Rows at the lines 2 and 5, with a filled column behind their own.
fn column(ty: Type, fill: Fill) -> ArrayRef {
    let own = filled(TEXT, Fill::Constant(String::new())).column;
    let mut decoder = CsvDecoder::new(Options::default(), vec![own]).unwrap();
    decoder.push(Bytes::from_static(b"c\nx\n\n\ny\n")).unwrap();
    decoder.finish().unwrap();
    let batch = decoder.take().unwrap();
    let rows = filler(ty, fill).unwrap_or_else(|error| panic!("{error:?}")).fill(0, &batch);
    assert!(rows.verbatim.is_none());
    let rows = rows.rows;
    assert_eq!((rows.num_columns(), rows.num_rows()), (2, 2));
    Arc::clone(rows.column(1))
}

#[test]
fn a_constant_becomes_a_value_as_a_field_does() {
    let numbers = column(Type::Int64, Fill::Constant("-7".to_owned()));
    assert_eq!(numbers.as_primitive::<Int64Type>().values(), &[-7, -7]);
    let error = filler(Type::Int64, Fill::Constant("seven".to_owned())).err();
    assert_eq!(error.map(|error| error.column), Some("c".to_owned()));
}

#[test]
fn a_capture_is_taken_from_the_key_without_pending() {
    let shops = column(TEXT, Fill::Capture("shop".to_owned()));
    assert_eq!(shops.as_string_view().value(1), "a \"b\", c");
    let days = column(Type::Date, Fill::Capture("day".to_owned()));
    assert_eq!(days.as_primitive::<Date32Type>().value(0), 20_484);
    let absent = column(Type::Date, Fill::Capture("rest".to_owned()));
    assert_eq!(absent.null_count(), 2);
}

#[test]
fn lines_are_those_at_which_rows_begin() {
    let numbers = column(Type::Int64, Fill::Metadata(Metadata::Line));
    assert_eq!(numbers.as_primitive::<Int64Type>().values(), &[2, 5]);
    let texts = column(TEXT, Fill::Metadata(Metadata::Line));
    assert_eq!(texts.as_string_view().value(1), "5");
    assert!(filler(Type::Date, Fill::Metadata(Metadata::Line)).is_err());
}

#[test]
fn the_time_of_the_load_fits_timestamps_with_and_without_zone() {
    for ty in [Type::Timestamp, Type::TimestampTz] {
        let times = column(ty, Fill::Metadata(Metadata::LoadedAt));
        assert_eq!(times.null_count(), 0);
    }
}
