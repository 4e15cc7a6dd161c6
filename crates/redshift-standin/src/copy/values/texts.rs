//! Texts, booleans, JSON and bytes.

use super::super::options::Options;
use super::super::reader::Switches;
use super::Fault;

/// Only the words that are listed: PostgreSQL also takes `on`, `off` and beginnings of words.
pub(super) fn boolean(bytes: &[u8], switches: &Switches) -> Result<&'static str, Fault> {
    let lower = if switches.boolean_words_any_case { bytes.to_ascii_lowercase() } else { bytes.to_vec() };
    match lower.as_slice() {
        b"t" | b"true" | b"y" | b"yes" | b"1" => Ok("t"),
        b"f" | b"false" | b"n" | b"no" | b"0" => Ok("f"),
        _ => Err(Fault::new(1210, "Unknown boolean format")),
    }
}

/// CHAR holds ASCII only.
pub(super) fn char(bytes: &[u8], size: u32, options: &Options) -> Result<String, Fault> {
    if let Some(at) = bytes.iter().position(|byte| !byte.is_ascii()) {
        let end = bytes[at..].iter().take(4).take_while(|byte| !byte.is_ascii()).count();
        let message = "Multibyte character not supported for CHAR (Hint: Try using VARCHAR). Invalid char: ";
        return Err(Fault::new(1220, format!("{message}{}", hex(&bytes[at..at + end]))));
    }
    let text: String = bytes.iter().copied().map(char::from).collect();
    let size = size as usize;
    if text.len() <= size {
        return Ok(text);
    }
    if options.truncate_columns || text.as_bytes()[size..].iter().all(|byte| *byte == b' ') {
        return Ok(text[..size].to_owned());
    }
    Err(Fault::new(1204, "Char length exceeds DDL length"))
}

/// VARCHAR holds valid UTF-8; its size counts bytes.
pub(super) fn varchar(bytes: &[u8], size: u32, options: &Options, switches: &Switches) -> Result<String, Fault> {
    let mut text = utf8(bytes, options.accept_invalid_chars, switches.unassigned_characters_pass)?;
    if options.trim_blanks {
        text.truncate(text.trim_end_matches([' ', '\t']).len());
    }
    let size = size as usize;
    if text.len() <= size {
        return Ok(text);
    }
    if text.as_bytes()[size..].iter().all(|byte| *byte == b' ') {
        text.truncate(size);
        return Ok(text);
    }
    if !options.truncate_columns {
        return Err(Fault::new(1204, "String length exceeds DDL length"));
    }
    let whole = text.floor_char_boundary(size);
    if whole < size && !switches.truncation_keeps_characters_whole {
        return Err(bad_utf8(&text.as_bytes()[whole..size], 2));
    }
    text.truncate(whole);
    Ok(text)
}

/// Reads UTF-8; each byte of a bad sequence becomes `instead`, if there is one.
fn utf8(bytes: &[u8], instead: Option<u8>, unassigned_pass: bool) -> Result<String, Fault> {
    let mut good = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        let (size, problem) = sequence(rest);
        let (taken, left) = rest.split_at(size);
        match (problem, instead) {
            (None, _) => good.extend_from_slice(taken),
            (Some(9), _) if unassigned_pass => good.extend_from_slice(taken),
            (Some(_), Some(byte)) => good.extend(std::iter::repeat_n(byte, size)),
            (Some(number), None) => return Err(bad_utf8(taken, number)),
        }
        rest = left;
    }
    String::from_utf8(good).map_err(|_| bad_utf8(bytes, 3))
}

fn bad_utf8(bytes: &[u8], number: u32) -> Fault {
    let message = "String contains invalid or unsupported UTF-8 codepoints. Bad UTF-8 hex sequence:";
    Fault::new(1220, format!("{message} {} (error {number})", hex(bytes)))
}

fn hex(bytes: &[u8]) -> String {
    let shown: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    shown.join(" ")
}

/// The size of the first sequence, and the number of what is wrong with it: 1 over four bytes, 2 incomplete,
/// 3 bad first byte, 4 bad continuation, 5 surrogate, 8 beyond the maximum, 9 unassigned.
fn sequence(bytes: &[u8]) -> (usize, Option<u32>) {
    let size = match bytes[0] {
        0x00..=0x7f => return (1, None),
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf7 => 4,
        0xf8..=0xfd => return (1, Some(1)),
        _ => return (1, Some(3)),
    };
    let mut point = u32::from(bytes[0]) & (0x7f >> size);
    for at in 1..size {
        match bytes.get(at) {
            None => return (at, Some(2)),
            Some(byte) if byte & 0xc0 == 0x80 => point = (point << 6) | u32::from(byte & 0x3f),
            Some(_) => return (at, Some(4)),
        }
    }
    let problem = match point {
        0..0x800 if size == 3 => Some(4),
        0..0x1_0000 if size == 4 => Some(4),
        0xd800..=0xdfff => Some(5),
        0x11_0000.. => Some(8),
        0xfdd0..=0xfdef => Some(9),
        _ if point & 0xfffe == 0xfffe => Some(9),
        _ => None,
    };
    (size, problem)
}

/// SUPER takes JSON. A NUL that is written as an escape is refused: the server behind cannot keep it.
pub(super) fn json(bytes: &[u8]) -> Result<String, Fault> {
    let text = utf8(bytes, None, true)?;
    let is_json = serde_json::from_str::<serde_json::Value>(&text).is_ok();
    if is_json && !text.contains("\\u0000") {
        Ok(text)
    } else {
        Err(Fault::new(1224, "Invalid JSON format for a SUPER column"))
    }
}

/// VARBYTE takes hexadecimal digits, two for a byte.
pub(super) fn varbyte(bytes: &[u8], size: u32) -> Result<String, Fault> {
    if !bytes.len().is_multiple_of(2) || !bytes.iter().all(u8::is_ascii_hexdigit) {
        return Err(Fault::new(1200, "Invalid hexadecimal text for a VARBYTE column"));
    }
    if bytes.len() / 2 > size as usize {
        return Err(Fault::new(1204, "Value length exceeds DDL length"));
    }
    Ok(format!("\\x{}", String::from_utf8_lossy(bytes).to_lowercase()))
}

#[cfg(test)]
#[path = "texts_tests.rs"]
mod tests;
