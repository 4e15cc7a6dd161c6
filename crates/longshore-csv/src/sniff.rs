//! What a file seems to be, by its first bytes.

use std::collections::BTreeMap;

use bytes::Bytes;
use encoding_rs::Encoding;

use crate::decompress::{Decompressor, by_magic};
use crate::{
    Compression, FieldRules, Header, Inference, LengthUnit, MAX_RATIO, ObjectFault, ObjectFaultKind, Options,
    RecordReader, Type,
};

/// Files that are no text, by their first bytes.
const FORMATS: [(&[u8], &str); 8] = [
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook"),
    (b"PAR1", "a Parquet file"),
    (b"\xFD7zXZ\0", "an xz archive"),
    (b"7z\xBC\xAF\x27\x1C", "a 7z archive"),
    (b"\x04\x22\x4D\x18", "an lz4 archive"),
    (b"%PDF-", "a PDF document"),
    (b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", "an old Excel workbook"),
    (b"Obj\x01", "an Avro file"),
];

/// One byte in so many being NUL, a text is none (UTF-16 of Western text: one in two).
const NUL_SHARE: usize = 4;
/// The first of them comes early; a single one in a short text is a fault of its row.
const NUL_EARLY: usize = 4;

/// The fault of an object that begins with this decoded text, if it is no text at all.
pub(crate) fn binary(text: &[u8], encoding: Option<&'static Encoding>) -> Option<ObjectFault> {
    if let Some((_, name)) = FORMATS.iter().find(|(magic, _)| text.starts_with(magic)) {
        return Some(fault(format!("the object is {name}, no CSV")).cure("export it as CSV"));
    }
    let nuls = text.iter().filter(|byte| **byte == 0).count();
    let is_early = text.iter().take(NUL_EARLY).any(|byte| *byte == 0);
    if !is_early || nuls * NUL_SHARE < text.len() {
        return None;
    }
    let is_utf8 = encoding == Some(encoding_rs::UTF_8);
    let at_even = text.iter().step_by(2).filter(|byte| **byte == 0).count();
    let cure = match (is_utf8, at_even * 2 > nuls) {
        (true, false) => "if it is UTF-16, set `encoding = \"utf-16le\"`",
        (true, true) => "if it is UTF-16, set `encoding = \"utf-16be\"`",
        (false, _) => "check `encoding`",
    };
    Some(fault("the object begins with NUL bytes: it is no text".to_owned()).cure(cure))
}

fn fault(message: String) -> ObjectFault {
    ObjectFault::new(ObjectFaultKind::Binary, message).at(1, 0)
}

/// What a sample of a file seems to be. A guess for people to look over, not for loading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sniffed {
    /// The byte between fields that gives the most even records.
    pub delimiter: u8,
    /// The byte around fields.
    pub quote: Option<u8>,
    /// Whether the first record looks like names.
    pub header_likely: bool,
    /// The encoding: by mark, by NULs, UTF-8 where it is sound, else windows-1252.
    pub encoding: crate::Encoding,
    /// The compression, by magic bytes.
    pub compression: Compression,
}

/// Delimiters tried, the likelier first.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// Decompressed bytes of a sample that are looked at, and records of those.
const SAMPLE: usize = 256 << 10;
const RECORDS: usize = 200;

/// Guesses what a file is from its first bytes; some 64 KiB make a good sample.
pub fn sniff(sample: &[u8]) -> Sniffed {
    let compression = by_magic(sample);
    let text = decompress(sample, compression);
    let encoding = sniff_encoding(&text);
    let quote = if is_single_quoted(&text) { b'\'' } else { b'"' };
    let best = DELIMITERS
        .into_iter()
        .map(|delimiter| {
            let records = records(&text, delimiter, quote, encoding);
            (evenness(&records), delimiter, records)
        })
        .reduce(|best, next| if next.0 > best.0 { next } else { best });
    let (delimiter, records) = best.map_or((b',', Vec::new()), |(_, delimiter, records)| (delimiter, records));
    Sniffed { delimiter, quote: Some(quote), header_likely: is_header_likely(&records), encoding, compression }
}

/// As much of a sample as can be decompressed: its end is cut off as a rule.
fn decompress(sample: &[u8], compression: Compression) -> Vec<u8> {
    let Ok(mut decompressor) = Decompressor::new(Some(compression), MAX_RATIO) else {
        return Vec::new();
    };
    decompressor.push(Bytes::copy_from_slice(sample));
    let mut text = Vec::new();
    while text.len() < SAMPLE
        && let Ok(Some(piece)) = decompressor.next()
    {
        text.extend_from_slice(&piece);
    }
    text.truncate(SAMPLE);
    text
}

fn sniff_encoding(text: &[u8]) -> crate::Encoding {
    if let Some((encoding, _)) = Encoding::for_bom(text) {
        return encoding;
    }
    let nuls = |first: usize| {
        let bytes = text.iter().skip(first).step_by(2);
        bytes.filter(|byte| **byte == 0).count()
    };
    let (even, odd) = (nuls(0), nuls(1));
    if (even + odd) * NUL_SHARE > text.len() {
        return if even > odd { encoding_rs::UTF_16BE } else { encoding_rs::UTF_16LE };
    }
    match str::from_utf8(text) {
        // A sample may end within a character.
        Err(cause) if cause.error_len().is_some() => encoding_rs::WINDOWS_1252,
        _ => encoding_rs::UTF_8,
    }
}

/// Whether fields are wrapped in single quotes and none in double ones.
fn is_single_quoted(text: &[u8]) -> bool {
    let wrapped = |quote: u8| {
        let is_edge = |byte: u8| DELIMITERS.contains(&byte) || matches!(byte, b'\n' | b'\r');
        let pairs = text.windows(2);
        pairs.filter(|two| is_edge(two[0]) && two[1] == quote || is_edge(two[1]) && two[0] == quote).count()
    };
    wrapped(b'"') == 0 && wrapped(b'\'') > 3
}

/// The fields of the first records, the last left out: the sample may cut it off.
fn records(text: &[u8], delimiter: u8, quote: u8, encoding: crate::Encoding) -> Vec<Vec<String>> {
    let options = Options {
        delimiter,
        quote: Some(quote),
        encoding: Some(encoding),
        compression: Some(Compression::None),
        header: Header::No,
        ..Options::default()
    };
    let Ok(mut reader) = RecordReader::new(&options) else {
        return Vec::new();
    };
    reader.push(Bytes::copy_from_slice(text));
    reader.finish();
    let mut records = Vec::new();
    while records.len() <= RECORDS
        && let Ok(Some(record)) = reader.next_record()
    {
        let fields = record.fields();
        records.push(fields.map(|field| String::from_utf8_lossy(field.text).into_owned()).collect());
    }
    if records.len() > 2 {
        records.pop();
    }
    records
}

/// How alike the records are in their number of fields, more fields being better: share of the
/// commonest number, and that number.
fn evenness(records: &[Vec<String>]) -> (usize, usize) {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for record in records {
        *counts.entry(record.len()).or_default() += 1;
    }
    let commonest = counts.into_iter().max_by_key(|(_, times)| *times);
    match commonest {
        Some((fields, times)) if fields > 1 => (times * 100 / records.len(), fields),
        _ => (0, 0),
    }
}

/// Whether the first record looks like names: all different and none empty, and where another
/// record has a number or a date, it has none.
fn is_header_likely(records: &[Vec<String>]) -> bool {
    let Some((first, rest)) = records.split_first() else {
        return false;
    };
    let is_name = |text: &String| !text.trim().is_empty() && text.len() <= 128 && type_of(&[text]).is_none();
    let mut names: Vec<_> = first.iter().map(|name| name.to_lowercase()).collect();
    names.sort();
    names.dedup();
    if names.len() < first.len() || !first.iter().all(is_name) {
        return false;
    }
    let is_typed = |column: usize| {
        let texts: Vec<&String> = rest.iter().filter_map(|record| record.get(column)).collect();
        type_of(&texts).is_some()
    };
    // Without numbers or dates to tell by, names have no blanks at most.
    rest.is_empty()
        || (0..first.len()).any(is_typed)
        || first.iter().all(|name| !name.contains(' ') && !names_recur(name, rest))
}

fn names_recur(name: &String, rest: &[Vec<String>]) -> bool {
    rest.iter().any(|record| record.contains(name))
}

/// The type of some texts, if it is not text.
fn type_of(texts: &[&String]) -> Option<Type> {
    let mut inference = Inference::new(&FieldRules::default());
    for text in texts {
        inference.observe_texts([(text.as_bytes(), false)].into_iter());
    }
    let proposal = inference.finish(LengthUnit::Characters).pop()?;
    (proposal.values > 0 && !matches!(proposal.ty, Type::Text { .. })).then_some(proposal.ty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters_are_told_by_even_records() {
        for (text, delimiter) in [
            ("a,b,c\n1,2,3\n4,5,6\n", b','),
            ("a;b\n1,5;2\n\"x;y\";3,5\n", b';'),
            ("a\tb\n1, 2\t3\n", b'\t'),
            ("a|b|c\nx, y|1|2\nz|3|4\n", b'|'),
            ("one\ntwo\n", b','),
        ] {
            assert_eq!(sniff(text.as_bytes()).delimiter, delimiter, "{text}");
        }
    }

    #[test]
    fn names_are_told_from_data() {
        for (text, header) in [
            ("id,name\n1,x\n2,y\n", true),
            ("1,x\n2,y\n", false),
            ("id,id\n1,2\n", false),
            ("id,\n1,2\n", false),
            ("name,city\nann,rome\n", true),
        ] {
            assert_eq!(sniff(text.as_bytes()).header_likely, header, "{text}");
        }
    }

    #[test]
    fn encodings_and_quotes_are_told() {
        assert_eq!(sniff("a,é\n".as_bytes()).encoding, encoding_rs::UTF_8);
        assert_eq!(sniff(b"a,\xE9t\xE9\n").encoding, encoding_rs::WINDOWS_1252);
        let wide: Vec<u8> = "a,b\n1,2\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(sniff(&wide).encoding, encoding_rs::UTF_16BE);
        assert_eq!(sniff(b"'a','b'\n'1','2'\n").quote, Some(b'\''));
        assert_eq!(sniff(b"").delimiter, b',');
    }
}
