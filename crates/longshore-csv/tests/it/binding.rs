//! Headers, positions, and the faults of both.

use longshore_csv::{BindingSource, Columns, Header, ObjectFaultKind, Options, Type};

use crate::harness::{column, read, text, texts};

fn options(header: Header) -> Options {
    Options { header, ..Options::default() }
}

#[test]
fn names_are_bound_in_any_order_and_case() {
    let columns = [column("a", Type::Int32), column("b", text()), column("c", text())];
    let read = read(&Options::default(), &columns, "B, A \nx,1\n").unwrap();
    assert_eq!(read.table(), "1|x");
    let binding = read.binding.unwrap();
    assert_eq!(binding.columns, [0, 1]);
    assert_eq!(binding.fields[0].column, Some(1));
}

#[test]
fn faults_of_a_header_are_told_at_once() {
    let mut columns = texts(&["id", "name", "total"]);
    columns[0].optional = false;
    let fault = read(&Options::default(), &columns, "nmae,total,Total,zzz\n").unwrap_err();
    assert_eq!(fault.kind, ObjectFaultKind::Header);
    assert_eq!(
        fault.message,
        "`total` and `Total` both name column `total`; \
         `nmae` is no column of the table; the nearest is `name`; \
         `zzz` is no column of the table; \
         column `id` has to be loaded but is missing in the header"
    );
    assert_eq!(
        fault.cure.as_deref(),
        Some(
            "correct the header, or set `columns = { \"nmae\" = \"name\", \"zzz\" = false }` \
             (`false` passes a field over)"
        )
    );
}

#[test]
fn settings_that_contradict_each_other_are_told_before_any_byte() {
    let options = Options {
        delimiter: b'"',
        escape: Some(b'\n'),
        batch_rows: 0,
        columns: Columns { order: vec!["x".to_owned()], ..Columns::default() },
        ..Options::default()
    };
    let mut columns = texts(&["a"]);
    columns[0].rules.thousands = Some('.');
    columns[0].rules.decimal_comma = false;
    columns[0].rules.date_formats = vec!["%!".to_owned(), "%H:%M".to_owned(), "%d.%m.%y".to_owned()];
    let faults = longshore_csv::check(&options, &columns);
    let expected = [
        "`escape` must be an ASCII byte",
        "`quote` and `delimiter` must differ",
        "`batch_rows` must be greater",
        "`columns` in order goes with",
        "`x` is no column",
        "column `a`: `thousands`",
        "column `a`: `date_formats`: `%!` is no format",
        "column `a`: `date_formats`: `%H:%M` does not give a day",
    ];
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
    for (fault, expected) in faults.iter().zip(expected) {
        assert!(fault.starts_with(expected), "{fault} / {expected}");
    }
    let fault = read(&options, &columns, "").unwrap_err();
    assert_eq!(fault.kind, ObjectFaultKind::Settings);
}

#[test]
fn a_header_with_another_delimiter_says_so() {
    let fault = read(&Options::default(), &texts(&["a", "b"]), "a;b\n1;2\n").unwrap_err();
    assert_eq!(fault.cure.as_deref(), Some("set `delimiter = \";\"`"));
}

#[test]
fn data_in_place_of_a_header_says_so() {
    let fault = read(&Options::default(), &texts(&["a", "b"]), "1,2\n").unwrap_err();
    assert!(fault.cure.unwrap().contains("header = false"));
}

#[test]
fn names_can_be_sent_elsewhere_or_passed_over() {
    let renamed = [("First Name", Some("a")), ("junk", None)];
    let options = Options {
        columns: Columns {
            renamed: renamed.map(|(from, to)| (from.to_owned(), to.map(str::to_owned))).into(),
            order: Vec::new(),
        },
        ..Options::default()
    };
    let read = read(&options, &texts(&["a", "b"]), "first name,JUNK,b\n1,2,3\n").unwrap();
    assert_eq!(read.table(), "1|3");
}

#[test]
fn positions_must_match_in_number() {
    let columns = texts(&["a", "b"]);
    let read_it = |object: &str| read(&options(Header::No), &columns, object);
    assert_eq!(read_it("1,2\n3\n").unwrap().faults(), ["2 - field-count"]);
    let fault = read_it("1,2,3\n").unwrap_err();
    assert_eq!(fault.message, "the first record has 3 fields, but 2 columns are to be loaded: `a`, `b`");
}

#[test]
fn auto_tells_headers_from_data() {
    let columns = texts(&["a", "b"]);
    let read_it = |object: &str| read(&options(Header::Auto), &columns, object);
    let source = |object: &str| read_it(object).unwrap().binding.unwrap().source;
    assert_eq!(source("B,a\n1,2\n"), BindingSource::AutoHeader);
    assert_eq!(source("1,2\n3,4\n"), BindingSource::AutoPosition);
    assert_eq!(read_it("1,2\n3,4\n").unwrap().rows.len(), 2);
    let fault = read_it("a,2\n").unwrap_err();
    assert_eq!(fault.kind, ObjectFaultKind::Header);
    assert!(fault.message.contains("`2` is not known"), "{}", fault.message);
}

#[test]
fn objects_without_records_are_empty_or_header_only() {
    let columns = texts(&["a", "b"]);
    for object in ["", "\n\r\n\n"] {
        let read = read(&Options::default(), &columns, object).unwrap();
        assert_eq!(read.binding.unwrap().source, BindingSource::Empty);
        assert_eq!(read.batches, 0);
    }
    let read = read(&Options::default(), &columns, "a,b").unwrap();
    assert_eq!(read.binding.unwrap().source, BindingSource::Header);
    assert_eq!(read.summary.records, 0);
    assert_eq!(read.batches, 0);
}

#[test]
fn skipped_lines_count_as_lines_and_belong_to_the_head() {
    let options = Options { skip_lines: 2, ..Options::default() };
    let read = read(&options, &texts(&["a"]), "report \"x\r\nof,today\ra\nv\n").unwrap();
    assert_eq!(read.rows, [(4, vec!["v".to_owned()])]);
    assert_eq!(read.summary.header, b"report \"x\r\nof,today\ra\n");
}
