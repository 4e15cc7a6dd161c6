//! From an object as stored to the text in it, as UTF-8 as far as it is any.

use std::borrow::Cow;
use std::io::Read;

use super::options::{Compression, Encoding, Options};
use super::reader::Switches;
use super::values::Fault;

/// The bytes of the text.
///
/// # Errors
/// The file cannot be unpacked (1200), or is in another encoding (1221).
pub(super) fn text<'a>(bytes: &'a [u8], options: &Options, switches: &Switches) -> Result<Cow<'a, [u8]>, Fault> {
    let unpacked = match options.compression {
        None => Cow::Borrowed(bytes),
        Some(_) if bytes.is_empty() => Cow::Borrowed(bytes),
        Some(compression) => Cow::Owned(unpack(bytes, compression)?),
    };
    decode(unpacked, options.encoding, switches)
}

fn unpack(bytes: &[u8], compression: Compression) -> Result<Vec<u8>, Fault> {
    let mut text = Vec::new();
    let (name, done) = match compression {
        Compression::Gzip => ("GZIP", flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut text)),
        Compression::Bzip2 => ("BZIP2", bzip2::read::MultiBzDecoder::new(bytes).read_to_end(&mut text)),
        Compression::Zstd => {
            ("ZSTD", zstd::stream::read::Decoder::new(bytes).and_then(|mut decoder| decoder.read_to_end(&mut text)))
        }
    };
    match done {
        Ok(_) => Ok(text),
        Err(_) => Err(Fault::new(1200, format!("The file is not compressed as {name} or is cut off"))),
    }
}

fn decode<'a>(bytes: Cow<'a, [u8]>, encoding: Encoding, switches: &Switches) -> Result<Cow<'a, [u8]>, Fault> {
    let mark = match bytes.as_ref() {
        [0xff, 0xfe, ..] => Some(Encoding::Utf16Le),
        [0xfe, 0xff, ..] => Some(Encoding::Utf16Be),
        _ => None,
    };
    let other = || Err(Fault::new(1221, "File has an encoding that differs from the one that ENCODING names"));
    match (encoding, mark) {
        (Encoding::Utf8, None) => {
            let skipped = switches.bom_is_skipped && bytes.starts_with(&[0xef, 0xbb, 0xbf]);
            Ok(if skipped { Cow::Owned(bytes[3..].to_vec()) } else { bytes })
        }
        (Encoding::Iso88591, None) => {
            let text: String = bytes.iter().copied().map(char::from).collect();
            Ok(Cow::Owned(text.into_bytes()))
        }
        (Encoding::Utf8 | Encoding::Iso88591, Some(_)) => other(),
        (Encoding::Utf16, None) if bytes.is_empty() => Ok(bytes),
        (Encoding::Utf16, None) => other(),
        (Encoding::Utf16, Some(order)) => utf16(&bytes[2..], order),
        (order, Some(found)) if order != found => other(),
        (order, Some(_)) if switches.bom_is_skipped => utf16(&bytes[2..], order),
        (order, _) => utf16(&bytes, order),
    }
}

/// UTF-8 with each lone surrogate kept as three bytes, so that it is found where it stands.
fn utf16<'a>(bytes: &[u8], order: Encoding) -> Result<Cow<'a, [u8]>, Fault> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Fault::new(1221, "File has an odd number of bytes: it is not UTF-16"));
    }
    let big = order == Encoding::Utf16Be;
    let units = pairs.iter().map(|pair| if big { u16::from_be_bytes(*pair) } else { u16::from_le_bytes(*pair) });
    let mut text = Vec::with_capacity(bytes.len());
    for decoded in char::decode_utf16(units) {
        match decoded {
            Ok(c) => text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Err(lone) => {
                let [high, low] = lone.unpaired_surrogate().to_be_bytes();
                text.extend([0xe0 | (high >> 4), 0x80 | ((high & 0xf) << 2) | (low >> 6), 0x80 | (low & 0x3f)]);
            }
        }
    }
    Ok(Cow::Owned(text))
}
