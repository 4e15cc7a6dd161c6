//! Checksums as Flyway computes them, and the bytes of a file as text.

use encoding_rs::Encoding;

/// CRC-32 of the text's lines without their ends, as a signed number. One byte order mark at the start counts
/// for nothing; line ends are `\n`, `\r` and `\r\n` alone.
pub fn checksum(text: &str) -> i32 {
    let mut crc = crc32fast::Hasher::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // Without the ends of lines it makes no difference where a line stops.
    text.split(['\n', '\r']).for_each(|line| crc.update(line.as_bytes()));
    crc.finalize().cast_signed()
}

/// Reads bytes in an encoding, by a name that Java or the WHATWG knows.
///
/// # Errors
/// The encoding is not known, or the bytes are no text in it: what is wrong, with the line.
pub fn decode(bytes: &[u8], encoding: &str) -> Result<String, String> {
    let name = encoding.trim().to_ascii_lowercase();
    let malformed = |valid: usize| {
        let line = 1 + bytes[..valid].iter().filter(|byte| **byte == b'\n').count();
        format!("line {line}, byte {valid}: the bytes are no text in the encoding `{encoding}`")
    };
    match name.as_str() {
        "utf-8" | "utf8" => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(malformed(error.valid_up_to())),
        },
        "us-ascii" | "ascii" => match bytes.iter().position(|byte| !byte.is_ascii()) {
            None => Ok(bytes.iter().map(|byte| char::from(*byte)).collect()),
            Some(at) => Err(malformed(at)),
        },
        // The WHATWG takes this name for windows-1252; Java does not.
        "iso-8859-1" | "iso8859-1" | "iso8859_1" | "iso-latin-1" | "latin1" | "latin-1" => {
            Ok(bytes.iter().map(|byte| char::from(*byte)).collect())
        }
        // Without a mark Java reads big-endian, the WHATWG little-endian.
        "utf-16" | "utf16" | "unicode" if !bytes.starts_with(&[0xff, 0xfe]) => other(bytes, "utf-16be", encoding),
        _ => other(bytes, &name, encoding),
    }
}

fn other(bytes: &[u8], name: &str, shown: &str) -> Result<String, String> {
    let encoding = Encoding::for_label(name.replace('_', "-").as_bytes())
        .ok_or_else(|| format!("the encoding `{shown}` is not known"))?;
    encoding
        .decode_without_bom_handling_and_without_replacement(bytes)
        .map(std::borrow::Cow::into_owned)
        .ok_or_else(|| format!("the bytes are no text in the encoding `{shown}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: &str = include_str!("../tests/it/seed/V1__initial_tables.sql");

    #[test]
    fn checksums_are_flyways() {
        let two = "CREATE TABLE a (id INT);\nCREATE TABLE b (id INT);\n";
        assert_eq!(checksum(SEED), -2_076_166_630);
        assert_eq!(SEED.len(), 367);
        assert_eq!(checksum(&SEED.replace(" distkey sortkey", "")), 1_254_641_399);
        for same in [
            two.to_owned(),
            two.replace('\n', "\r\n"),
            two.replace('\n', "\r"),
            two.trim_end().to_owned(),
            two.replace('\n', "\n\n\n"),
            format!("\u{feff}{two}"),
            two.replace('\n', ""),
        ] {
            assert_eq!(checksum(&same), -1_039_437_746, "{same:?}");
        }
        for (text, wanted) in [
            ("CREATE TABLE a (id INT); \nCREATE TABLE b (id INT);\n", 1_923_788_602),
            ("", 0),
            ("\n\r\n\n", 0),
            ("\u{feff}", 0),
            ("-- nothing here\n", 552_342_527),
            ("SELECT 1;\n", 78_787_420),
            ("\u{feff}\nSELECT 1;\n", 78_787_420),
            ("\n\u{feff}SELECT 1;\n", -1_606_921_097),
            ("\u{feff}\u{feff}SELECT 1;\n", -1_606_921_097),
            ("-- x\n\u{feff}SELECT 1;\n", 1_887_140_810),
            ("SELECT 2;\n", 798_974_111),
            ("SELECT 3;\n", 914_641_374),
            ("SELECT 4;\n", 2_043_004_697),
            ("SELECT 5;\n", 1_625_224_792),
            ("INSERT INTO t VALUES ('Zürich 東京 😀');\n", 2_086_362_430),
            ("-- a\u{2028}b\u{c}c\u{85}d\nSELECT 1;\n", 1_983_126_302),
            ("-- a\tb\nSELECT 1;\n", -1_779_703_458),
            ("CREATE TABLE ${tbl} (id INT);\n", 1_860_376_282),
            ("CREATE OR REPLACE VIEW v AS SELECT 1 AS x;\n", -861_875_769),
            ("CREATE OR REPLACE VIEW w AS SELECT '${tbl}' AS x;\n", -1_295_450_094),
            ("CREATE OR REPLACE VIEW w AS SELECT 'zebra' AS x;\n", 1_077_730_467),
            ("SELECT '${tbl}';\n", -1_075_119_565),
            ("SELECT 'zebra';\n", -1_661_736_112),
            ("ALTER TABLE titanic ADD COLUMN x INT;\n", 1_026_856_037),
            ("CREATE INDEX titanic_x ON titanic (x);\n", 1_531_700_664),
            ("select 3;\n", -455_012_933),
            ("select 4;\n", -1_415_537_796),
            ("select 7;", -2_138_191_681),
            ("CREATE OR REPLACE VIEW v1 AS SELECT count(*) AS n FROM titanic;\n", -1_139_791_568),
            ("SELECT 'b2';\n", 1_583_870_439),
        ] {
            assert_eq!(checksum(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn bytes_are_read_in_their_encoding() {
        let latin = b"-- caf\xe9 latin-1 byte\nSELECT 1;\n";
        assert_eq!(checksum(&decode(latin, "ISO-8859-1").unwrap()), 1_854_477_996);
        assert_eq!(
            decode(latin, "UTF-8").unwrap_err(),
            "line 1, byte 6: the bytes are no text in the encoding `UTF-8`"
        );
        assert_eq!(decode(b"\x80", "ISO-8859-1").unwrap(), "\u{80}");
        assert_eq!(decode(b"\x80", "windows-1252").unwrap(), "€");
        assert_eq!(decode(b"\0a", "UTF-16").unwrap(), "a");
        assert_eq!(decode(b"\xff\xfea\0", "UTF-16").unwrap(), "\u{feff}a");
        assert!(decode(b"a", "klingon").unwrap_err().contains("not known"));
        assert!(decode(b"\xe9", "US-ASCII").is_err());
    }
}
