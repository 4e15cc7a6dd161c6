//! Pieces, encodings, compressions.

use longshore_csv::{Header, Options, Rule, Type};

use crate::harness::{column, read, read_pieces, text, texts};

#[test]
fn a_mark_is_no_part_of_the_first_name() {
    let read = read(&Options::default(), &texts(&["a"]), "\u{FEFF}a\nx\n").unwrap();
    assert_eq!(read.table(), "x");
    assert_eq!(read.summary.header, "\u{FEFF}a\n".as_bytes());
}

#[test]
fn utf_16_is_told_by_its_mark() {
    let object = "\u{FEFF}a,b\r\n\"é\r\n\",1\r\nx,y\r\n";
    let columns = [column("a", text()), column("b", Type::Int32)];
    let little: Vec<u8> = object.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = object.encode_utf16().flat_map(u16::to_be_bytes).collect();
    for (object, reject) in [(&little, b"x\0,\0y\0"), (&big, b"\0x\0,\0y")] {
        for size in [1, 2, 3, 7, 100] {
            let read = read_pieces(&Options::default(), &columns, object.chunks(size)).unwrap();
            assert_eq!(read.table(), "é\r\n|1");
            assert_eq!(read.rejects[0].raw, reject);
            assert_eq!((read.rejects[0].line, read.rejects[0].byte), (4, 30));
        }
    }
}

#[test]
fn any_split_gives_the_same() {
    let mut object = "a,b\r\n".to_owned();
    for row in 0..3_000 {
        object.push_str(&format!("{row},\"text \"\"{row}\"\"\r\n longer than a view\"\r\nx,\n\n"));
    }
    let columns = [column("a", Type::Int16), column("b", text())];
    let whole = read(&Options::default(), &columns, &object).unwrap();
    assert_eq!((whole.rows.len(), whole.rejects.len()), (3_000, 3_000));
    for size in [1, 100, 4_095, 33_000, 70_000] {
        let pieces = object.as_bytes().chunks(size);
        assert_eq!(read_pieces(&Options::default(), &columns, pieces).unwrap(), whole);
    }
}

#[test]
fn legacy_encodings_are_decoded_and_rejects_keep_their_bytes() {
    let columns = [column("a", text()), column("b", Type::Int32)];
    for (label, good, expected, bad) in [
        ("windows-1252", &b"caf\xE9,1"[..], "café|1", &b"\xDCber,x"[..]),
        ("shift_jis", b"\x83\x65\x83\x58,1", "テス|1", b"\x95\x5C,x"),
        ("gb18030", b"\xD6\xD0,1", "中|1", b"\x81\x30\x81\x30,x"),
        ("iso-2022-jp", b"\x1B$B%F%9\x1B(B,1", "テス|1", b"\x1B$B%F%9\x1B(B,x"),
        ("euc-kr", b"\xB0\xA1,1", "가|1", b"\xB0\xA1,x"),
    ] {
        let options = Options { encoding: encoding_rs::Encoding::for_label(label.as_bytes()), ..Options::default() };
        let object = [b"a,b", good, bad, good].join(&b"\r\n"[..]);
        for size in [1, 2, 5, object.len()] {
            let read = read_pieces(&options, &columns, object.chunks(size)).unwrap();
            assert_eq!(read.table(), format!("{expected}\n{expected}"), "{label}");
            assert_eq!(read.rejects[0].raw, bad, "{label}");
            assert_eq!(read.rejects[0].byte, 7 + good.len() as u64, "{label}");
            assert_eq!(read.summary.header, b"a,b\r\n");
            assert_eq!(read.summary.encoding.to_lowercase(), label);
        }
    }
}

#[test]
fn what_the_encoding_does_not_know_rejects_its_row_only() {
    let columns = texts(&["a", "b"]);
    for (label, bad) in [
        ("shift_jis", &b"x,\x81"[..]),
        ("shift_jis", b"x,\xFF\x20"),
        ("euc-kr", b"x,\xB0"),
        ("iso-2022-jp", b"x,\x1B$B%"),
        ("utf-8", b"x,\xE9"),
    ] {
        let options = Options {
            encoding: encoding_rs::Encoding::for_label(label.as_bytes()),
            header: Header::No,
            ..Options::default()
        };
        let after: &[u8] = if label == "iso-2022-jp" { b"\x1B(B3,4" } else { b"3,4" };
        let object = [b"1,2", bad, after].join(&b"\n"[..]);
        for size in [1, 4, object.len()] {
            let read = read_pieces(&options, &columns, object.chunks(size)).unwrap();
            assert_eq!(read.table(), "1|2\n3|4", "{label}");
            assert_eq!(read.rejects[0].faults[0].rule, Rule::Encoding, "{label}");
            assert_eq!(read.rejects[0].faults[0].column.as_deref(), Some("b"));
            assert_eq!(read.rejects[0].raw, bad, "{label}");
            assert_eq!(read.rejects[0].line, 2);
        }
    }
}

#[test]
fn utf_16_without_a_mark_is_read_by_the_setting() {
    let object = "a,b\n1,x\u{0A0D}\n\u{1F4A9},\r\n";
    let options = Options { encoding: Some(encoding_rs::UTF_16LE), ..Options::default() };
    let mut object: Vec<u8> = object.encode_utf16().flat_map(u16::to_le_bytes).collect();
    // A surrogate without its other half.
    object.extend_from_slice(b"\x3D\xD8,\0y\0\n\0z\0,\0z\0");
    for size in [1, 3, object.len()] {
        let read = read_pieces(&options, &texts(&["a", "b"]), object.chunks(size)).unwrap();
        assert_eq!(read.table(), "1|x\u{0A0D}\n\u{1F4A9}|NULL\nz|z");
        assert_eq!(read.faults(), ["4 a encoding"]);
        assert_eq!(read.rejects[0].raw, b"\x3D\xD8,\0y\0");
    }
}

#[test]
fn a_header_of_another_encoding_says_so() {
    let fault = read(&Options::default(), &texts(&["a"]), b"\xE9\n1\n").unwrap_err();
    assert_eq!(fault.cure.as_deref(), Some("check `encoding` and `quote`"));
}

#[test]
fn rejects_with_the_head_before_them_read_as_the_object_did() {
    let object = "skip me\r\na;b\r\n1;x\r\nx;\"y\r\nz\"\r\n";
    let options = Options { delimiter: b';', skip_lines: 1, ..Options::default() };
    let columns = [column("a", Type::Int32), column("b", text())];
    let wide: Vec<u8> = format!("\u{FEFF}{object}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    for object in [object.as_bytes(), &wide] {
        let first = read(&options, &columns, object).unwrap();
        assert_eq!(first.rejects.len(), 1);
        let again = [&first.summary.header[..], &first.rejects[0].raw].concat();
        let second = read(&options, &columns, again).unwrap();
        assert_eq!(second.rejects[0].faults, first.rejects[0].faults);
        assert_eq!(second.rejects[0].raw, first.rejects[0].raw);
    }
}
