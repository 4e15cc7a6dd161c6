//! Facts about records, NULL, errors and whole files.

use std::io::Write as _;

use crate::copy::testing::{code, column, field, field_with, load_with, options, some, texts};
use crate::copy::{Column, Compression, Encoding, Options, Switches, Type};

fn strings(row: &[Option<String>]) -> Vec<&str> {
    row.iter().map(|value| value.as_deref().unwrap_or("NULL")).collect()
}

/// The only row of a file, which has no errors.
#[track_caller]
fn row(bytes: impl AsRef<[u8]>, count: usize, text: &str) -> Vec<String> {
    let (rows, errors) = texts(bytes, count, text);
    assert_eq!((rows.len(), errors.len()), (1, 0), "{rows:?} {errors:?}");
    strings(&rows[0]).into_iter().map(str::to_owned).collect()
}

/// The codes of all errors of a file.
fn codes(bytes: impl AsRef<[u8]>, count: usize, text: &str) -> Vec<u32> {
    texts(bytes, count, text).1.into_iter().map(|error| error.code).collect()
}

#[test]
fn without_csv_quotes_are_data() {
    assert_eq!(row("\"a\"|b\n", 2, ""), ["\"a\"", "b"]);
    assert_eq!(row("a,b|c\n", 2, ""), ["a,b", "c"]);
    assert_eq!(codes("\"a|b\"\n", 1, ""), [1202]);
}

#[test]
fn csv_fields_may_hold_delimiters_quotes_and_ends_of_lines_in_quotes() {
    assert_eq!(row("\"a,b\",\"say \"\"x\"\"\"\n", 2, "CSV"), ["a,b", "say \"x\""]);
    assert_eq!(row("\"a\r\nb\",c\n", 2, "CSV"), ["a\r\nb", "c"]);
    assert_eq!(row("%a,%%%,b\n", 2, "CSV QUOTE '%'"), ["a,%", "b"]);
    assert_eq!(row("a\\,b\n", 2, "CSV"), ["a\\", "b"]);
}

#[test]
fn blanks_around_quotes_do_not_count_in_csv() {
    assert_eq!(row("a , \"b\" ,c\n", 3, "CSV"), ["a ", "b", "c"]);
    assert_eq!(row("\"a\"\t\"b\"\n", 2, r"CSV DELIMITER '\011'"), ["a", "b"]);
}

#[test]
fn quotes_out_of_place_are_errors_and_the_next_line_is_read() {
    let (rows, errors) = texts("a\"b,c\n\"a\"b,c\nx,y\n\"open,z", 2, "CSV");
    assert_eq!(rows.len(), 1);
    assert_eq!(
        errors.iter().map(|error| (error.line, error.code)).collect::<Vec<_>>(),
        [(1, 1214), (2, 1214), (4, 1214)]
    );
    assert_eq!(errors[0].message, "Invalid quote formatting for CSV");
}

#[test]
fn escape_guards_delimiters_ends_of_lines_and_itself() {
    assert_eq!(row("a\\|b\\\\|c\\\nd\n", 2, "ESCAPE"), ["a|b\\", "c\nd"]);
    assert_eq!(row("\\N|x\n", 2, "ESCAPE"), ["NULL", "x"]);
    assert_eq!(row("a\\|b\n", 2, ""), ["a\\", "b"]);
}

#[test]
fn removequotes_takes_surrounding_quotes_off() {
    assert_eq!(row("\"a|b\"|'c'|d\n", 3, "REMOVEQUOTES"), ["a|b", "c", "d"]);
    assert_eq!(row("\"it's\"|'x\"\n", 1, "REMOVEQUOTES DELIMITER ';'").len(), 1);
}

#[test]
fn removequotes_needs_the_closing_mark() {
    assert_eq!(codes("\"abc|d\n", 2, "REMOVEQUOTES"), [1214]);
}

#[test]
fn a_delimiter_of_several_characters_follows_the_switch() {
    let given = Options { delimiter: "|~|".to_owned(), ..Options::default() };
    let columns = vec![column(Type::Varchar(9)); 2];
    let on = Switches { several_character_delimiters: true, ..Switches::default() };
    let (rows, ..) = load_with(b"a|b|~|c\n", &columns, &given, &on).unwrap();
    assert_eq!(strings(&rows[0]), ["a|b", "c"]);
    assert!(load_with(b"a|b|~|c\n", &columns, &given, &Switches::default()).is_err());
}

#[test]
fn ignoreheader_skips_lines_and_names_are_not_read() {
    assert_eq!(row("b,a\nx\n1,2\n", 2, "CSV IGNOREHEADER 2"), ["1", "2"]);
    assert_eq!(texts("b,a\n1,2\n", 2, "CSV").0.len(), 2);
}

#[test]
fn lines_are_counted_with_the_header_and_those_in_quotes() {
    let columns = vec![column(Type::Varchar(9)); 2];
    let file = b"h,h\n\"a\nb\",c\nx\ny,z";
    let read = load_with(file, &columns, &options("CSV IGNOREHEADER 1"), &Switches::default());
    let (rows, errors, lines) = read.unwrap();
    assert_eq!((rows.len(), errors[0].line, errors[0].code, lines), (2, 4, 1203, 5));
}

#[test]
fn the_null_token_is_backslash_n_in_csv_too() {
    assert_eq!(row("\\N,a\n", 2, "CSV"), ["NULL", "a"]);
    assert_eq!(row("\\N|a\n", 2, ""), ["NULL", "a"]);
    assert_eq!(row("\\N,x\n", 2, "CSV NULL AS 'x'"), ["\\N", "NULL"]);
    assert_eq!(field("x", Type::Integer, "NULL AS 'x'"), Ok(None));
}

#[test]
fn the_null_token_in_quotes_follows_the_switch() {
    assert_eq!(field("\"x\"", Type::Varchar(9), "NULL AS 'x'"), Ok(None));
    let off = Switches { null_token_matches_quoted: false, ..Switches::default() };
    assert_eq!(field_with("\"x\"", Type::Varchar(9), "NULL AS 'x'", &off), some("x"));
}

#[test]
fn an_empty_text_is_empty_unless_emptyasnull() {
    assert_eq!(row(",a\n", 2, "CSV"), ["", "a"]);
    assert_eq!(row(",a\n", 2, "CSV EMPTYASNULL"), ["NULL", "a"]);
    assert_eq!(row(",a\n", 2, "CSV NULL AS ''"), ["NULL", "a"]);
    assert_eq!(field("", Type::Char(3), ""), some(""));
}

#[test]
fn an_empty_field_of_another_type_is_null() {
    for ty in [Type::Integer, Type::Boolean, Type::Date, Type::Real, Type::Super, Type::TimestampTz] {
        assert_eq!(field("", ty, ""), Ok(None));
        assert_eq!(field("\"\"", ty, ""), Ok(None));
    }
}

#[test]
fn empty_quotes_under_emptyasnull_follow_the_switch() {
    let off = Switches { quoted_empty_is_null: false, ..Switches::default() };
    for text in ["EMPTYASNULL", "NULL AS ''"] {
        assert_eq!(field("\"\"", Type::Varchar(9), text), Ok(None));
        assert_eq!(field_with("\"\"", Type::Varchar(9), text, &off), some(""));
        assert_eq!(row(",a\n", 2, &format!("CSV {text}")), ["NULL", "a"]);
    }
    assert_eq!(field("\"\"", Type::Varchar(9), ""), some(""));
}

#[test]
fn blanksasnull_is_for_texts_and_blanks_of_other_types_are_always_null() {
    assert_eq!(field("   ", Type::Varchar(9), ""), some("   "));
    assert_eq!(field("   ", Type::Varchar(9), "BLANKSASNULL"), Ok(None));
    assert_eq!(field("   ", Type::Char(9), "BLANKSASNULL"), Ok(None));
    assert_eq!(field("", Type::Varchar(9), "BLANKSASNULL"), some(""));
    assert_eq!(field("   ", Type::Integer, ""), Ok(None));
}

#[test]
fn extra_columns_are_an_error() {
    let (_, errors) = texts("a,b,c\n", 2, "CSV");
    assert_eq!((errors[0].code, errors[0].message.as_str(), errors[0].position), (1202, "Extra column(s) found", 4));
    assert_eq!(codes("a,b,\n", 2, "CSV FILLRECORD"), [1202]);
}

#[test]
fn missing_columns_are_an_error_unless_fillrecord() {
    assert_eq!(codes("a\n", 2, "CSV"), [1203]);
    let columns = [Type::Varchar(9), Type::Varchar(9), Type::Char(9), Type::Integer].map(column);
    let read = |text: &str| load_with(b"a\n", &columns, &options(text), &Switches::default()).unwrap().0;
    assert_eq!(strings(&read("CSV FILLRECORD")[0]), ["a", "", "NULL", "NULL"]);
    assert_eq!(strings(&read("CSV FILLRECORD EMPTYASNULL")[0]), ["a", "NULL", "NULL", "NULL"]);
}

#[test]
fn blank_lines_are_errors_unless_ignored() {
    assert_eq!(codes("a,b\n\nc,d\n", 2, "CSV"), [1211]);
    assert_eq!(texts("a,b\n\n\nc,d\n\n", 2, "CSV IGNOREBLANKLINES").0.len(), 2);
    assert_eq!(codes("a,b\n \nc,d\n", 2, "CSV IGNOREBLANKLINES"), [1203]);
}

#[test]
fn null_in_a_not_null_column_is_missing_data() {
    let columns = [Column { not_null: true, ..column(Type::Integer) }];
    let (_, errors, _) = load_with(b"\\N\n", &columns, &options("CSV"), &Switches::default()).unwrap();
    assert_eq!((errors[0].code, errors[0].message.as_str()), (1213, "Missing data for not-null field"));
    assert_eq!(errors[0].raw_value, "\\N");
}

#[test]
fn an_error_names_its_column_type_length_place_and_value() {
    let columns = [column(Type::Varchar(9)), Column { name: "n".into(), ..column(Type::Char(2)) }];
    let (rows, errors, _) = load_with(b"a,b\nc,dddd\n", &columns, &options("CSV"), &Switches::default()).unwrap();
    let error = &errors[0];
    assert_eq!((rows.len(), error.line, error.position, error.code), (1, 2, 2, 1204));
    let named = (error.column.as_deref(), error.column_type.as_deref(), error.column_length.as_deref());
    assert_eq!(named, (Some("n"), Some("char"), Some("2")));
    assert_eq!((error.raw_line.as_str(), error.raw_value.as_str()), ("c,dddd", "dddd"));
}

#[test]
fn an_error_shows_at_most_1024_bytes() {
    let (_, errors) = texts("é".repeat(2000), 1, "CSV");
    assert_eq!((errors[0].raw_line.len(), errors[0].raw_value.len()), (1024, 1024));
}

#[test]
fn crlf_follows_the_switch() {
    let columns = vec![column(Type::Integer); 2];
    let (_, errors, _) = load_with(b"1,2\r\n", &columns, &options("CSV"), &Switches::default()).unwrap();
    assert_eq!(errors[0].code, 1207);
    assert_eq!(row("a,b\r\n", 2, "CSV"), ["a", "b\r"]);
    assert_eq!(codes("a,\"b\"\r\n", 2, "CSV"), [1214]);
    let on = Switches { crlf_ends_lines: true, ..Switches::default() };
    let (rows, ..) = load_with(b"1,2\r\n\"3\",\"4\"\r\n", &columns, &options("CSV"), &on).unwrap();
    assert_eq!([strings(&rows[0]), strings(&rows[1])], [["1", "2"], ["3", "4"]]);
}

#[test]
fn a_byte_order_mark_follows_the_switch() {
    assert_eq!(code(field("\u{feff}1", Type::Integer, "")), 1207);
    let on = Switches { bom_is_skipped: true, ..Switches::default() };
    assert_eq!(field_with("\u{feff}1", Type::Integer, "", &on), some("1"));
}

#[test]
fn a_nul_is_an_error() {
    assert_eq!(codes("a\0,b\nc,d\n", 2, "CSV"), [1218]);
    assert_eq!(codes("a\0|b\n", 2, ""), [1218]);
    assert_eq!(codes("a\0|b\n", 2, "ESCAPE ACCEPTINVCHARS"), [1218]);
}

#[test]
fn rows_over_4_mb_follow_the_switch() {
    let file = format!("{}\n", "a".repeat((4 << 20) + 1));
    let columns = [column(Type::Varchar(4))];
    let given = options("CSV TRUNCATECOLUMNS");
    let (_, errors, _) = load_with(file.as_bytes(), &columns, &given, &Switches::default()).unwrap();
    assert_eq!(errors[0].code, 1216);
    let on = Switches { rows_over_4_mb: true, ..Switches::default() };
    assert_eq!(strings(&load_with(file.as_bytes(), &columns, &given, &on).unwrap().0[0]), ["aaaa"]);
}

#[test]
fn a_file_without_rows_follows_the_switch() {
    let on = Switches { files_may_have_no_rows: true, ..Switches::default() };
    let given = options("CSV IGNOREHEADER 1");
    for (file, lines) in [(&b""[..], 0), (b"a,b\n", 1)] {
        assert_eq!(load_with(file, &[], &given, &Switches::default()).unwrap_err().code, 1201);
        assert_eq!(load_with(file, &[], &given, &on).unwrap().2, lines);
    }
}

fn packed(compression: Compression, text: &[u8]) -> Vec<u8> {
    match compression {
        Compression::Gzip => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            writer.write_all(text).unwrap();
            writer.finish().unwrap()
        }
        Compression::Bzip2 => {
            let mut writer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            writer.write_all(text).unwrap();
            writer.finish().unwrap()
        }
        Compression::Zstd => zstd::encode_all(text, 1).unwrap(),
    }
}

#[test]
fn compressed_files_are_read_whole_or_not_at_all() {
    for (compression, name) in [(Compression::Gzip, "GZIP"), (Compression::Bzip2, "BZIP2"), (Compression::Zstd, "ZSTD")]
    {
        let mut file = packed(compression, b"a,b\n");
        file.extend(packed(compression, b"c,d\n"));
        assert_eq!(texts(&file, 2, &format!("CSV {name}")).0.len(), 2, "{name}");
        let (columns, given) = ([column(Type::Varchar(9))], options(&format!("CSV {name}")));
        let failed = |bytes: &[u8]| load_with(bytes, &columns, &given, &Switches::default()).unwrap_err().code;
        assert_eq!(failed(b"a,b\n"), 1200, "{name}");
        assert_eq!(failed(&file[..file.len() - 3]), 1200, "{name}");
    }
}

fn utf16(text: &str, is_big: bool) -> Vec<u8> {
    text.encode_utf16().flat_map(|unit| if is_big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
}

#[test]
fn utf16_needs_its_byte_order_mark() {
    for is_big in [false, true] {
        assert_eq!(row(utf16("\u{feff}é😀,b\n", is_big), 2, "CSV ENCODING UTF16"), ["é😀", "b"]);
        let word = if is_big { "UTF16BE" } else { "UTF16LE" };
        assert_eq!(row(utf16("é,b\n", is_big), 2, &format!("CSV ENCODING {word}")), ["é", "b"]);
    }
}

#[test]
fn a_file_in_another_encoding_is_skipped_whole() {
    let columns = [column(Type::Varchar(9))];
    let failed = |bytes: &[u8], encoding| {
        let given = Options { encoding, ..Options::default() };
        load_with(bytes, &columns, &given, &Switches::default()).unwrap_err().code
    };
    assert_eq!(failed(&utf16("\u{feff}a\n", false), Encoding::Utf8), 1221);
    assert_eq!(failed(&utf16("\u{feff}a\n", true), Encoding::Iso88591), 1221);
    assert_eq!(failed(&utf16("a\n", false), Encoding::Utf16), 1221);
    assert_eq!(failed(&utf16("\u{feff}a\n", false), Encoding::Utf16Be), 1221);
    assert_eq!(failed(b"abc", Encoding::Utf16Le), 1221);
}

#[test]
fn a_lone_surrogate_of_utf16_is_a_bad_code_point() {
    let (_, errors) = texts(b"\x00\xd8\n\x00", 1, "CSV ENCODING UTF16LE");
    assert_eq!(errors[0].code, 1220);
    assert!(errors[0].message.ends_with("ed a0 80 (error 5)"), "{}", errors[0].message);
}

#[test]
fn iso88591_is_read_byte_by_byte() {
    assert_eq!(row(b"\xe9|b\n", 2, "ENCODING ISO88591"), ["é", "b"]);
    assert_eq!(codes(b"\xe9|b\n", 2, ""), [1220]);
}

#[test]
fn no_bytes_make_it_panic() {
    let samples: [&[u8]; 4] = [
        b"h,h,h\n1,\"a\nb\",2024-01-02 03:04:05.5+02\n-7,\" \"\"x\"\" \" ,J2451187 04:05:06\n,\\N,17 Dec 07:37:16 1997 PST\n",
        "12.50|'é😀'|31.12.1999 BC\r\nt|\\|x|{\"a\":[1]}\n\n0|f|99.99".as_bytes(),
        &utf16("\u{feff}1,é,2019-02-11T05:09:12.195Z\n", true),
        &packed(Compression::Gzip, b"1,a,2024-01-02\n2,b,2024-02-30 10:00:00 PM\n"),
    ];
    let sets = [
        "CSV IGNOREHEADER 1 DATEFORMAT 'auto' TIMEFORMAT 'auto' FILLRECORD",
        "ESCAPE EMPTYASNULL BLANKSASNULL TRIMBLANKS ROUNDEC IGNOREBLANKLINES",
        "REMOVEQUOTES ESCAPE ACCEPTINVCHARS TRUNCATECOLUMNS DATEFORMAT 'DD.MON.YY HH12:MI:SS PM' ACCEPTANYDATE",
        "CSV ENCODING UTF16 TIMEFORMAT 'epochmillisecs'",
        "CSV GZIP TIMEFORMAT 'YY/MM/DD HH12:MI:SS AM' NULL AS ''",
        "CSV ZSTD",
        "CSV BZIP2",
        "DELIMITER ',' ENCODING ISO88591 TRUNCATECOLUMNS",
    ];
    let sets = sets.map(options);
    let types = [
        [Type::Integer, Type::Varchar(5), Type::TimestampTz],
        [Type::Decimal { precision: 5, scale: 2 }, Type::Char(3), Type::Date],
        [Type::Boolean, Type::Super, Type::Timestamp],
        [Type::Varbyte(3), Type::Double, Type::TimeTz],
    ];
    let open =
        Switches { crlf_ends_lines: true, bom_is_skipped: true, spaces_around_numbers: true, ..Switches::default() };
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    for turn in 0..4_000 {
        let mut file = samples[random(samples.len())].to_vec();
        for _ in 0..=random(6) {
            let at = random(file.len().max(1)).min(file.len());
            match random(4) {
                0 => file.insert(at, b"\"'\\|,\n\r\0 .:-+J9\xed\xff"[random(17)]),
                1 => drop(file.drain(at..(at + random(4)).min(file.len()))),
                2 if at < file.len() => file[at] = random(256) as u8,
                _ => file.truncate(file.len().max(8) - random(4).min(file.len())),
            }
        }
        let columns = types[random(types.len())].map(column);
        let switches = if turn % 2 == 0 { open.clone() } else { Switches::default() };
        let given = &sets[random(sets.len())];
        if let Ok((rows, errors, _)) = load_with(&file, &columns, given, &switches) {
            assert!(rows.iter().flatten().flatten().all(|value| !value.contains('\0')));
            assert!(rows.iter().all(|row| row.len() == 3));
            assert!(errors.iter().all(|error| error.code > 0 && error.line > 0 && error.raw_line.len() <= 1024));
        }
    }
}
