//! The first look at a file: how it is written, and what its columns are called.

use bytes::Bytes;
use futures::StreamExt;
use longshore_csv::{FieldRules, Header, Inference, LengthUnit, Options, RecordReader, Type, sniff};

use super::names;
use crate::bucket::{Bucket, BucketError, Object};

/// Bytes of a file that are looked at first.
const SAMPLE: usize = 256 << 10;
/// Records of the sample that tell a header from data.
const RECORDS: usize = 200;
/// Control characters among so many that make a text none.
const CONTROL_SHARE: usize = 100;

/// What a file seems to be.
#[derive(Debug, Clone)]
pub(super) struct Look {
    /// How it is to be read.
    pub(super) options: Options,
    /// The names in its header, or the numbered names of its fields.
    pub(super) names: Vec<String>,
    /// Whether its first record is to be passed over: it is a header.
    pub(super) has_header: bool,
    /// Physical lines up to the end of the header.
    pub(super) header_lines: u64,
    /// Whether the first records are ASCII, which most encodings share.
    pub(super) is_ascii: bool,
}

/// Why a file is not looked at any further.
#[derive(Debug)]
pub(super) enum Unfit {
    /// It is not there, or cannot be read.
    Bucket(BucketError),
    /// There is nothing in it.
    Empty,
    /// It is no CSV, or a damaged one.
    Object(String),
}

impl From<BucketError> for Unfit {
    fn from(error: BucketError) -> Self {
        Self::Bucket(error)
    }
}

impl From<longshore_csv::ObjectFault> for Unfit {
    fn from(fault: longshore_csv::ObjectFault) -> Self {
        Self::Object(fault.to_string())
    }
}

impl Look {
    /// Finds out how a file is written.
    pub(super) async fn at(bucket: &dyn Bucket, object: &Object) -> Result<Self, Unfit> {
        let (sample, is_whole) = sample(bucket, object).await?;
        let sniffed = sniff(&sample);
        let options = Options { delimiter: sniffed.delimiter, quote: sniffed.quote, ..Options::default() };
        let mut look = match Self::by(&options, &sample, is_whole, None) {
            // A mark says enough; what has none is read as it seems.
            Ok(found) if found.1 == sniffed.encoding.name() => found.0,
            Err(Unfit::Empty) => return Err(Unfit::Empty),
            first if sniffed.encoding == encoding_rs::UTF_8 => first?.0,
            _ => {
                let options = Options { encoding: Some(sniffed.encoding), ..options };
                Self::by(&options, &sample, is_whole, None)?.0
            }
        };
        look.options.header = if look.has_header { Header::Yes } else { Header::No };
        Ok(look)
    }

    /// Looks at a file that is written as these settings say.
    pub(super) async fn by_settings(bucket: &dyn Bucket, object: &Object, options: &Options) -> Result<Self, Unfit> {
        let (sample, is_whole) = sample(bucket, object).await?;
        let has_header = match options.header {
            Header::Yes => Some(true),
            Header::No => Some(false),
            Header::Auto => None,
        };
        let mut look = Self::by(options, &sample, is_whole, has_header)?.0;
        if options.header == Header::Auto && !look.has_header {
            look.options.header = Header::No;
        }
        Ok(look)
    }

    fn by(
        options: &Options,
        sample: &[u8],
        is_whole: bool,
        has_header: Option<bool>,
    ) -> Result<(Self, &'static str), Unfit> {
        let mut reader = RecordReader::new(options)?;
        reader.push(Bytes::copy_from_slice(sample));
        if is_whole {
            reader.finish();
        }
        let mut records: Vec<Vec<(String, bool)>> = Vec::new();
        let mut header_lines = 1;
        while records.len() < RECORDS {
            let Some(record) = reader.next_record()? else {
                break;
            };
            let fields: Vec<(String, bool)> =
                record.fields().map(|field| (String::from_utf8_lossy(field.text).into_owned(), field.quoted)).collect();
            if records.is_empty() {
                let within: usize = fields.iter().map(|(text, _)| line_ends(text)).sum();
                header_lines = record.line + within as u64;
            }
            records.push(fields);
        }
        let Some(first) = records.first() else {
            return Err(if is_whole {
                Unfit::Empty
            } else {
                Unfit::Object(format!("its first record is longer than {} KiB", SAMPLE >> 10))
            });
        };
        if is_junk(&records) {
            return Err(Unfit::Object("it is no text".to_owned()));
        }
        let has_header = has_header.unwrap_or_else(|| is_header(&records));
        let names = if has_header {
            first.iter().map(|(text, _)| text.trim().to_owned()).collect()
        } else {
            (0..first.len()).map(names::numbered).collect()
        };
        let look = Self {
            options: options.clone(),
            names,
            has_header,
            header_lines,
            is_ascii: options.encoding.is_none()
                && reader.encoding() == encoding_rs::UTF_8.name()
                && records.iter().flatten().all(|(text, _)| text.is_ascii()),
        };
        Ok((look, reader.encoding()))
    }

    /// How many fields a record has.
    pub(super) fn width(&self) -> usize {
        self.names.len()
    }
}

/// The first bytes of an object, and whether they are all.
async fn sample(bucket: &dyn Bucket, object: &Object) -> Result<(Vec<u8>, bool), BucketError> {
    let mut body = bucket.read(object).await?;
    let mut sample = Vec::new();
    while let Some(chunk) = body.next().await {
        sample.extend_from_slice(&chunk?);
        if sample.len() > SAMPLE {
            sample.truncate(SAMPLE);
            return Ok((sample, false));
        }
    }
    Ok((sample, true))
}

fn line_ends(text: &str) -> usize {
    text.replace("\r\n", "\n").matches(['\n', '\r']).count()
}

/// Whether control characters show that this is something else than text.
fn is_junk(records: &[Vec<(String, bool)>]) -> bool {
    let texts = || records.iter().flatten().flat_map(|(text, _)| text.chars());
    let odd = texts().filter(|char| char.is_control() && !matches!(char, '\t' | '\r' | '\n')).count();
    odd * CONTROL_SHARE > texts().count()
}

/// Whether the first record names columns. A value where others have values of a type says no, a
/// word there says yes; where all is text, names are short, different and come only once.
fn is_header(records: &[Vec<(String, bool)>]) -> bool {
    let Some((first, rest)) = records.split_first() else {
        return false;
    };
    let above = types(std::slice::from_ref(first));
    let below = types(rest);
    let is_value = above.iter().any(Option::is_some);
    let is_word_above_values = first
        .iter()
        .zip(&above)
        .zip(&below)
        .any(|(((text, _), above), below)| !text.trim().is_empty() && above.is_none() && below.is_some());
    if is_word_above_values || is_value {
        let words = first.iter().zip(&above).filter(|((text, _), ty)| ty.is_none() && !text.trim().is_empty()).count();
        // `id,2023,2024` is a header; `1,NA,2024` is not.
        return is_word_above_values && (!is_value || words * 2 > first.len());
    }
    let mut seen = std::collections::HashSet::new();
    let is_name = |text: &str| !text.is_empty() && text.len() <= 64 && !text.contains(['\n', '\r']);
    let blank = first.iter().filter(|(text, _)| text.trim().is_empty()).count();
    let differ = first
        .iter()
        .all(|(text, _)| text.trim().is_empty() || (is_name(text.trim()) && seen.insert(text.trim().to_lowercase())));
    let recurs = |(text, _): &(String, bool)| !text.is_empty() && rest.iter().flatten().any(|(other, _)| other == text);
    differ && blank * 2 < first.len().max(1) && !first.iter().any(recurs)
}

/// The types of columns that are not text.
fn types(records: &[Vec<(String, bool)>]) -> Vec<Option<Type>> {
    let mut inference = Inference::new(&FieldRules::default());
    for record in records {
        inference.observe_texts(record.iter().map(|(text, quoted)| (text.as_bytes(), *quoted)));
    }
    let found = inference.finish(LengthUnit::Characters).into_iter();
    found.map(|found| (found.values > 0 && !matches!(found.ty, Type::Text { .. })).then_some(found.ty)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> bool {
        let options = Options::default();
        Look::by(&options, text.as_bytes(), true, None).unwrap().0.has_header
    }

    #[test]
    fn headers_are_told_from_data() {
        assert!(header("id,name\n1,x\n2,y\n"));
        assert!(header("name,city\nann,rome\nbob,oslo\n"));
        assert!(header("id,,total\n1,x,2.5\n"));
        assert!(header("id,id\n1,2\n"));
        assert!(header("id,kind,2024\n1,x,3\n2,y,4\n"));
        assert!(header("only,names\n"));
        assert!(!header("1,x\n2,y\n"));
        assert!(!header("1,NA,2024-01-01\n2,3,2024-01-02\n"));
        assert!(!header("x,red\ny,red\nz,red\n"));
    }

    #[test]
    fn control_characters_make_no_text() {
        let junk: Vec<u8> = (0..4_000_u32).map(|n| (n * 7 % 31) as u8).collect();
        assert!(Look::by(&Options::default(), &junk, true, None).is_err());
    }
}
