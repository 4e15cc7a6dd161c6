//! Compressed objects: several members, cut off, damaged, too dense.

use std::io::Write as _;

use bytes::Bytes;
use longshore_csv::{Compression, CsvDecoder, Decoder, ObjectFaultKind, Options, Type};

use crate::harness::{column, read, read_pieces, text};

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 3).unwrap()
}

fn bzip2(text: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

type Compress = fn(&[u8]) -> Vec<u8>;

const COMPRESSORS: [Compress; 3] = [gzip, zstd, bzip2];

fn columns() -> [longshore_csv::Column; 2] {
    [column("a", Type::Int32), column("b", text())]
}

fn object() -> String {
    (0..30_000).fold("a,b\n".to_owned(), |text, row| text + &format!("{row},text {}\n", row * 7_919 % 10_007))
}

#[test]
fn compressed_objects_read_as_plain_ones() {
    let object = object();
    let plain = read(&Options::default(), &columns(), &object).unwrap();
    let (first, second) = object.as_bytes().split_at(100_001);
    for compress in COMPRESSORS {
        let whole = compress(object.as_bytes());
        let members = [compress(first), compress(b""), compress(second)].concat();
        for packed in [&whole, &members] {
            for size in [1_000, packed.len()] {
                let unpacked = read_pieces(&Options::default(), &columns(), packed.chunks(size)).unwrap();
                assert_eq!(unpacked, plain);
            }
        }
        let small = compress(b"a,b\n1,x\n");
        let unpacked = read_pieces(&Options::default(), &columns(), small.chunks(1)).unwrap();
        assert_eq!(unpacked.table(), "1|x");
    }
}

#[test]
fn data_that_is_cut_off_is_a_fault() {
    for compress in COMPRESSORS {
        let packed = compress(object().as_bytes());
        for end in [20, packed.len() / 2, packed.len() - 1] {
            let fault = read(&Options::default(), &columns(), &packed[..end]).unwrap_err();
            assert_eq!(fault.kind, ObjectFaultKind::Compression, "{end}");
            assert!(fault.message.contains("cut off"), "{fault}");
            assert!(fault.cure.is_some());
        }
    }
}

#[test]
fn damaged_data_is_a_fault() {
    let is_damaged = |object: &[u8]| {
        let fault = read(&Options::default(), &columns(), object).unwrap_err();
        assert_eq!(fault.kind, ObjectFaultKind::Compression, "{fault}");
    };
    for compress in COMPRESSORS {
        let packed = compress(object().as_bytes());
        is_damaged(&[&packed[..], b"garbage"].concat());
    }
    // A checksum at the end finds what still decompresses; until then garbage may break other
    // rules. (zstd has one only if the writer asked for it.)
    let mut packed = gzip(object().as_bytes());
    let late = packed.len() * 7 / 8;
    packed[late..late + 8].fill(0x55);
    is_damaged(&packed);
    let mut packed = bzip2(object().as_bytes());
    let late = packed.len() * 7 / 8;
    packed[late..late + 8].fill(0x55);
    assert!(read(&Options::default(), &columns(), &packed).is_err());
}

#[test]
fn zeros_after_the_last_gzip_member_are_padding() {
    let padded = [gzip(b"a,b\n1,x\n"), vec![0; 700]].concat();
    assert_eq!(read(&Options::default(), &columns(), &padded).unwrap().table(), "1|x");
}

#[test]
fn a_bomb_is_a_fault_before_it_is_unpacked() {
    let zeros = vec![b'\n'; 200 << 20];
    let packed = zstd(&zeros);
    drop(zeros);
    let mut decoder = CsvDecoder::new(Options::default(), columns().into()).unwrap();
    let fault = decoder.push(Bytes::from(packed)).unwrap_err();
    assert_eq!(fault.kind, ObjectFaultKind::Compression);
    assert!(decoder.summary().decoded_bytes < 8 << 20);
}

#[test]
fn a_push_is_expanded_no_further_than_to_the_next_batch() {
    let line = "1,a text that is repeated\n".repeat(1_000_000);
    let packed = gzip(format!("a,b\n{line}").as_bytes());
    let mut decoder = CsvDecoder::new(Options::default(), columns().into()).unwrap();
    decoder.push(Bytes::from(packed)).unwrap();
    assert!(decoder.summary().decoded_bytes < 2 << 20);
    let mut rows = 0;
    let mut taken = 0;
    while let Some(batch) = decoder.take() {
        rows += batch.rows.num_rows();
        taken += batch.decoded_bytes;
        assert!(decoder.summary().decoded_bytes < taken + (2 << 20));
    }
    decoder.finish().unwrap();
    while let Some(batch) = decoder.take() {
        rows += batch.rows.num_rows();
    }
    assert_eq!(rows, 1_000_000);
}

#[test]
fn a_setting_beats_the_magic_bytes() {
    let options = Options { compression: Some(Compression::None), ..Options::default() };
    let columns = [column("BZh91AY&SY", text())];
    assert_eq!(read(&options, &columns, "BZh91AY&SY\nx\n").unwrap().table(), "x");
    let options = Options { compression: Some(Compression::Gzip), ..Options::default() };
    let fault = read(&options, &columns, "a\nx\n").unwrap_err();
    assert_eq!(fault.kind, ObjectFaultKind::Compression);
}

#[test]
fn other_formats_are_named() {
    let fault = read(&Options::default(), &columns(), b"PK\x03\x04\x14\x00\x06\x00").unwrap_err();
    assert_eq!(fault.kind, ObjectFaultKind::Binary);
    assert!(fault.message.contains("Excel"));
    let wide: Vec<u8> = "a,b\n1,2\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let fault = read(&Options::default(), &columns(), &wide).unwrap_err();
    assert_eq!(fault.cure.as_deref(), Some("if it is UTF-16, set `encoding = \"utf-16le\"`"));
}
