//! What holds for the CSV decoder whatever its input. The fuzz target calls it, and so does a
//! property test of `longshore-csv`, so that it runs with all other tests.

use bytes::Bytes;
use longshore_csv::{
    Column, Compression, CsvDecoder, Decoder, FieldRules, Header, LengthUnit, ObjectFault, Options, RecordReader,
    Reject, Summary, Trim, Type,
};

/// Bytes at the beginning that choose the settings.
const SETTINGS: usize = 8;

/// All that came out of an object.
#[derive(Debug, PartialEq)]
struct Read {
    lines: Vec<u64>,
    rows: Vec<arrow_array::RecordBatch>,
    rejects: Vec<Reject>,
    summary: Summary,
}

/// Decodes an object under settings that are chosen by its first bytes, and checks what must hold
/// for all.
pub(crate) fn any_bytes(data: &[u8]) {
    let Some((settings, object)) = data.split_first_chunk::<SETTINGS>() else {
        return;
    };
    let options = options(settings);
    let columns = columns(settings[5]);
    let whole = read(&options, &columns, object, object.len().max(1));
    let size = usize::from(settings[6]) + 1;
    let split = read(&options, &columns, object, size);
    match (&whole, &split) {
        (Ok(whole), Ok(split)) => assert_eq!(whole, split, "pieces of {size} bytes"),
        (Err(whole), Err(split)) => assert_eq!(whole.kind, split.kind, "{whole} / {split}"),
        (whole, split) => panic!("whole: {whole:?}, in pieces of {size} bytes: {split:?}"),
    }
    let Ok(read) = whole else { return };
    check(&read);
    let records = count_records(&options, object);
    assert!(records == read.summary.records || records == read.summary.records + 1);
}

fn check(read: &Read) {
    let rows: usize = read.rows.iter().map(|batch| batch.num_rows()).sum();
    assert_eq!(read.summary.records, (rows + read.rejects.len()) as u64);
    assert_eq!(read.summary.rejects, read.rejects.len() as u64);
    assert_eq!(read.lines.len(), rows);
    assert!(read.lines.is_sorted_by(|a, b| a < b));
    assert!(read.rejects.is_sorted_by(|a, b| { a.line < b.line && a.record < b.record && a.byte < b.byte }));
    for reject in &read.rejects {
        assert!(!reject.faults.is_empty());
        assert!(!reject.raw.is_empty());
    }
}

fn read(options: &Options, columns: &[Column], object: &[u8], size: usize) -> Result<Read, ObjectFault> {
    let mut decoder = CsvDecoder::new(options.clone(), columns.to_vec())?;
    let mut read = Read { lines: Vec::new(), rows: Vec::new(), rejects: Vec::new(), summary: Summary::default() };
    let mut drain = |decoder: &mut CsvDecoder| {
        while let Some(batch) = decoder.take() {
            read.lines.extend(batch.lines.values());
            read.rows.push(batch.rows);
            read.rejects.extend(batch.rejects);
        }
    };
    for piece in object.chunks(size) {
        decoder.push(Bytes::copy_from_slice(piece))?;
        drain(&mut decoder);
    }
    decoder.finish()?;
    drain(&mut decoder);
    read.summary = decoder.summary();
    Ok(read)
}

fn count_records(options: &Options, object: &[u8]) -> u64 {
    let mut reader = RecordReader::new(options).expect("the settings fit");
    reader.push(Bytes::copy_from_slice(object));
    reader.finish();
    let mut count = 0;
    while let Some(record) = reader.next_record().expect("the decoder could read it") {
        count += 1;
        assert_eq!(record.record, count);
        assert_eq!(record.fields().count(), record.field_count());
    }
    count
}

fn options(settings: &[u8; SETTINGS]) -> Options {
    let pick = |at: usize, of: usize| usize::from(settings[at]) % of;
    Options {
        delimiter: [b',', b';', b'\t', b'|'][pick(0, 4)],
        quote: [Some(b'"'), Some(b'\''), None][pick(1, 3)],
        escape: [None, None, Some(b'\\'), Some(b'"')][pick(2, 4)],
        header: [Header::No, Header::No, Header::Auto, Header::Yes][pick(3, 4)],
        skip_lines: [0, 0, 0, 2][pick(4, 4)],
        encoding: [
            None,
            None,
            Some(encoding_rs::UTF_16LE),
            Some(encoding_rs::SHIFT_JIS),
            Some(encoding_rs::ISO_2022_JP),
            Some(encoding_rs::WINDOWS_1252),
            Some(encoding_rs::GB18030),
        ][pick(7, 7)],
        compression: [None, None, None, Some(Compression::None)][pick(4, 16) / 4],
        max_record: [16 << 20, 100][pick(0, 8) / 4 % 2],
        batch_rows: [8_192, 3][pick(1, 6) / 3],
        ..Options::default()
    }
}

fn columns(choice: u8) -> Vec<Column> {
    let text = |length, padded| Type::Text { length, padded };
    let all = [
        Type::Int32,
        text(None, false),
        Type::Decimal { precision: 9, scale: 2 },
        text(Some((3, LengthUnit::Characters)), true),
        Type::Timestamp,
        Type::Bytes,
        Type::Json,
        Type::Float64,
        Type::Uuid,
        Type::TimestampTz,
        Type::Enum(vec!["a".to_owned(), "b c".to_owned()]),
        Type::Boolean,
    ];
    let count = usize::from(choice) % 5 + 1;
    let start = usize::from(choice) / 5;
    (0..count)
        .map(|index| Column {
            name: ["a", "b", "c", "d", "e"][index].to_owned(),
            ty: all[(start + index) % all.len()].clone(),
            type_sql: String::new(),
            required: choice == index as u8,
            optional: true,
            bound: None,
            rules: FieldRules {
                null: [vec![], vec!["NA".to_owned()]][index % 2].clone(),
                trim: [Trim::None, Trim::Both][index / 2 % 2],
                ..FieldRules::default()
            },
        })
        .collect()
}
