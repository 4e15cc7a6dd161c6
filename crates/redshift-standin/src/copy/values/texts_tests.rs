//! Facts about texts, booleans, JSON and bytes.

use crate::copy::testing::{code, field, field_with, options, some};
use crate::copy::{Switches, Type};

const V: Type = Type::Varchar(8);

fn varchar(bytes: &[u8], text: &str) -> Result<String, (u32, String)> {
    let switches = Switches::default();
    super::varchar(bytes, 8, &options(text), &switches).map_err(|fault| (fault.code, fault.message))
}

#[test]
fn booleans_are_the_listed_words_only() {
    for (words, value) in [(["t", "true", "y", "yes", "1"], "t"), (["f", "false", "n", "no", "0"], "f")] {
        for word in words {
            assert_eq!(field(word, Type::Boolean, ""), some(value), "{word}");
        }
    }
    for word in ["on", "off", "tr", "fals", "ye", "2", "01", " t"] {
        assert_eq!(code(field(word, Type::Boolean, "")), 1210, "{word}");
    }
}

#[test]
fn the_case_of_boolean_words_follows_the_switch() {
    assert_eq!(code(field("TRUE", Type::Boolean, "")), 1210);
    let on = Switches { boolean_words_any_case: true, ..Switches::default() };
    assert_eq!(field_with("TRUE", Type::Boolean, "", &on), some("t"));
    assert_eq!(field_with("nO", Type::Boolean, "", &on), some("f"));
    assert_eq!(code(field_with("ON", Type::Boolean, "", &on)), 1210);
}

#[test]
fn char_holds_ascii_only() {
    let message = "Multibyte character not supported for CHAR (Hint: Try using VARCHAR). Invalid char: c3 a9";
    assert_eq!(field("aé", Type::Char(8), ""), Err((1220, message.to_owned())));
    assert_eq!(code(field("é", Type::Char(8), "ACCEPTINVCHARS")), 1220);
    assert_eq!(field("ab ", Type::Char(8), ""), some("ab "));
}

#[test]
fn sizes_of_varchar_are_in_bytes() {
    assert_eq!(field("éééé", V, ""), some("éééé"));
    let too_long = Err((1204, "String length exceeds DDL length".to_owned()));
    assert_eq!(field("ééééa", V, ""), too_long);
    assert_eq!(field("abc", Type::Char(2), ""), Err((1204, "Char length exceeds DDL length".to_owned())));
}

#[test]
fn an_excess_of_spaces_only_is_no_error() {
    assert_eq!(field("12345678   ", V, ""), some("12345678"));
    assert_eq!(field("ab   ", Type::Char(3), ""), some("ab "));
    assert_eq!(code(field("12345678  x", V, "")), 1204);
    assert_eq!(code(field("12345678\t", V, "")), 1204);
}

#[test]
fn truncatecolumns_cuts_to_the_size_of_the_column() {
    assert_eq!(field("1234567890", V, "TRUNCATECOLUMNS"), some("12345678"));
    assert_eq!(field("abc", Type::Char(2), "TRUNCATECOLUMNS"), some("ab"));
}

#[test]
fn where_truncation_cuts_a_character_follows_the_switch() {
    let wrong = field("1234567é", V, "TRUNCATECOLUMNS").unwrap_err();
    assert!(wrong.0 == 1220 && wrong.1.ends_with("c3 (error 2)"), "{wrong:?}");
    let on = Switches { truncation_keeps_characters_whole: true, ..Switches::default() };
    assert_eq!(field_with("1234567é", V, "TRUNCATECOLUMNS", &on), some("1234567"));
}

#[test]
fn trimblanks_strips_trailing_white_space_of_varchar_only() {
    assert_eq!(field(" ab  ", V, "TRIMBLANKS"), some(" ab"));
    assert_eq!(field("ab  ", Type::Char(8), "TRIMBLANKS"), some("ab  "));
    assert_eq!(field("ab  ", V, ""), some("ab  "));
}

#[test]
fn utf8_errors_have_their_numbers() {
    for (bytes, hex, number) in [
        (&b"\xf8\x88"[..], "f8", 1),
        (b"a\xe2\x82", "e2 82", 2),
        (b"\xa4", "a4", 3),
        (b"\xff", "ff", 3),
        (b"\xc0\xaf", "c0", 3),
        (b"\xe2\x28\xa1", "e2", 4),
        (b"\xe0\x80\xaf", "e0 80 af", 4),
        (b"\xed\xa0\x80", "ed a0 80", 5),
        (b"\xf4\x90\x80\x80", "f4 90 80 80", 8),
        (b"\xef\xbf\xbf", "ef bf bf", 9),
    ] {
        let message = format!(
            "String contains invalid or unsupported UTF-8 codepoints. Bad UTF-8 hex sequence: {hex} (error {number})"
        );
        assert_eq!(varchar(bytes, ""), Err((1220, message)));
    }
    assert_eq!(varchar("a€😀".as_bytes(), ""), Ok("a€😀".to_owned()));
}

#[test]
fn acceptinvchars_replaces_each_bad_byte_and_keeps_the_length() {
    assert_eq!(varchar(b"a\xe2\x82", "ACCEPTINVCHARS"), Ok("a??".to_owned()));
    assert_eq!(varchar(b"\xed\xa0\x80z", "ACCEPTINVCHARS AS '^'"), Ok("^^^z".to_owned()));
    assert_eq!(field(b"\xffb", V, "ACCEPTINVCHARS"), some("?b"));
    assert_eq!(code(field(b"\xff", Type::Char(8), "ACCEPTINVCHARS")), 1220);
}

#[test]
fn every_two_bytes_are_judged_as_the_standard_library_does() {
    for first in 0..=255_u8 {
        for second in 0..=255_u8 {
            let bytes = [first, second];
            assert_eq!(varchar(&bytes, "").is_ok(), std::str::from_utf8(&bytes).is_ok(), "{bytes:02x?}");
        }
    }
}

#[test]
fn super_takes_json_and_nothing_else() {
    assert_eq!(field("\"{\"\"a\"\": [1, null]}\"", Type::Super, ""), some("{\"a\": [1, null]}"));
    assert_eq!(field("17", Type::Super, ""), some("17"));
    for text in ["{a:1}", "hello", "[1", "NaN", "1 2"] {
        assert_eq!(code(field(text, Type::Super, "")), 1224, "{text}");
    }
}

#[test]
fn varbyte_takes_hexadecimal_text() {
    assert_eq!(field("00fF", Type::Varbyte(2), ""), some("\\x00ff"));
    assert_eq!(code(field("0", Type::Varbyte(2), "")), 1200);
    assert_eq!(code(field("xy", Type::Varbyte(2), "")), 1200);
    assert_eq!(code(field("001122", Type::Varbyte(2), "")), 1204);
}
