//! Records, positions, and what stands in their fields.

use longshore_csv::{Header, ObjectFaultKind, Options, Rule, Type};

use crate::harness::{column, read, text, texts};

#[test]
fn line_ends_of_all_kinds_end_records() {
    let read = read(&Options::default(), &texts(&["a", "b"]), "a,b\n1,2\r\n3,4\r5,6\n\n\r\n7,8").unwrap();
    assert_eq!(read.table(), "1|2\n3|4\n5|6\n7|8");
    let lines: Vec<u64> = read.rows.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [2, 3, 4, 7]);
    assert_eq!(read.summary.records, 4);
    assert_eq!(read.summary.header, b"a,b\n");
}

#[test]
fn quotes_keep_delimiters_line_ends_and_quotes() {
    let read =
        read(&Options::default(), &texts(&["a", "b"]), "a,b\n\"1,\r\n\"\"x\"\"\n\",2\n\"\",\n5\" pipe,6\"\n").unwrap();
    assert_eq!(read.table(), "1,\r\n\"x\"\n|2\n|NULL\n5\" pipe|6\"");
    let lines: Vec<u64> = read.rows.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [2, 5, 6]);
}

#[test]
fn rows_that_do_not_fit_are_rejects_with_their_bytes() {
    let columns = [column("a", Type::Int32), column("b", text()), column("c", Type::Date)];
    let read = read(
        &Options::default(),
        &columns,
        "a,b,c\n1,x,2020-01-01\nx,y,2020-02-30\n2,z\n3,\"q\"r,\n4,\0,\n5,\u{e9},\n",
    )
    .unwrap();
    assert_eq!(read.table(), "1|x|18262\n5|é|NULL");
    assert_eq!(read.faults(), ["3 a type", "3 c range", "4 - field-count", "5 b quote", "6 b nul"]);
    let raw: Vec<_> = read.rejects.iter().map(|reject| String::from_utf8_lossy(&reject.raw)).collect();
    assert_eq!(raw, ["x,y,2020-02-30", "2,z", "3,\"q\"r,", "4,\0,"]);
    let records: Vec<_> = read.rejects.iter().map(|reject| (reject.record, reject.byte)).collect();
    assert_eq!(records, [(2, 21), (3, 36), (4, 40), (5, 48)]);
    assert_eq!(read.rejects[1].faults[0].message, "expected 3 fields, found 2");
    assert_eq!((read.summary.records, read.summary.rejects), (6, 4));
}

#[test]
fn bytes_that_are_no_text_reject_their_row() {
    let mut object = b"a,b\n1,x\n2,".to_vec();
    object.extend_from_slice(b"\xC3(\n3,z\n");
    let read = read(&Options::default(), &texts(&["a", "b"]), &object).unwrap();
    assert_eq!(read.table(), "1|x\n3|z");
    assert_eq!(read.rejects[0].faults[0].rule, Rule::Encoding);
    assert_eq!(read.rejects[0].raw, b"2,\xC3(");
}

#[test]
fn a_quote_that_does_not_end_fails_the_object_at_its_line() {
    let columns = texts(&["a", "b"]);
    let fault = read(&Options::default(), &columns, "a,b\n1,2\n\"x\ny\",\"z\n3,4\n").unwrap_err();
    assert_eq!(fault.kind, ObjectFaultKind::UnterminatedQuote);
    assert_eq!((fault.line, fault.byte), (Some(4), Some(14)));
}

#[test]
fn a_record_that_is_too_long_fails_the_object_at_the_opening_quote() {
    let options = Options { max_record: 20, ..Options::default() };
    let columns = texts(&["a", "b"]);
    let long = "a,b\n1,2\n3,\n4,\"aaaaaaaaaaa\nbbbbbbbbbbbbb\n\n";
    let fault = read(&options, &columns, long).unwrap_err();
    assert_eq!(fault.kind, ObjectFaultKind::RecordTooLong);
    assert_eq!(fault.line, Some(4));
    let plain = "a,b\n1,2\n3,444444444444444444444444444\n5,6\n";
    let fault = read(&options, &columns, plain).unwrap_err();
    assert_eq!((fault.kind, fault.line), (ObjectFaultKind::RecordTooLong, Some(3)));
}

#[test]
fn an_escape_takes_the_meaning_from_the_next_byte() {
    let options = Options { escape: Some(b'\\'), header: Header::No, ..Options::default() };
    let object = "\"a\\\"b\",c\\,d\ne\\\nf,\\\\\n";
    let read = read(&options, &texts(&["a", "b"]), object).unwrap();
    assert_eq!(read.table(), "a\"b|c,d\ne\nf|\\");
    assert_eq!(read.rows[1].0, 2);
}

#[test]
fn without_quotes_a_quote_is_data() {
    let options = Options { quote: None, ..Options::default() };
    let read = read(&options, &texts(&["a", "b"]), "a,b\n\"1,2\"\n").unwrap();
    assert_eq!(read.table(), "\"1|2\"");
}

#[test]
fn many_rows_come_in_several_batches() {
    let mut object = "a,b\n".to_owned();
    for row in 0..20_000 {
        object.push_str(&format!("{row},a text that is too long for a view {row}\n"));
    }
    let columns = [column("a", Type::Int32), column("b", text())];
    let read = read(&Options::default(), &columns, &object).unwrap();
    assert_eq!(read.rows.len(), 20_000);
    assert_eq!(read.batches, 3);
    for (index, (line, row)) in read.rows.iter().enumerate() {
        assert_eq!(*line, index as u64 + 2);
        assert_eq!(row[0], index.to_string());
        assert_eq!(row[1], format!("a text that is too long for a view {index}"));
    }
}
