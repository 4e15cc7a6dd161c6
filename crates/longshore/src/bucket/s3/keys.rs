//! Keys as they stand in headers and in listings.

/// Percent-encodes all but what RFC 3986 leaves alone, and slashes.
pub(super) fn encode(key: &str) -> String {
    let mut encoded = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => encoded.push(byte.into()),
            _ => {
                encoded.push('%');
                encoded.extend([byte >> 4, byte & 15].map(|digit| char::from(b"0123456789ABCDEF"[usize::from(digit)])));
            }
        }
    }
    encoded
}

/// Decodes a key of a listing that was asked for with `encoding-type=url`: once, with `+` for a
/// space, as S3 writes it. What is no escape stays as it is.
pub(super) fn decode(encoded: &str) -> Result<String, Vec<u8>> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    loop {
        rest = match rest {
            [] => break,
            [b'+', rest @ ..] => {
                bytes.push(b' ');
                rest
            }
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.push(digit(*high) << 4 | digit(*low));
                rest
            }
            [byte, rest @ ..] => {
                bytes.push(*byte);
                rest
            }
        };
    }
    String::from_utf8(bytes).map_err(|error| error.into_bytes())
}

fn digit(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        _ => byte - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_decoded_once() {
        for key in ["a b+c%2Fd", "ü/☃", "a//b", "../x", "%25", "+", "\u{1}\r\n", "🦀.csv"] {
            assert_eq!(decode(&encode(key)).unwrap(), key);
        }
        assert_eq!(encode("a b+c%/ü"), "a%20b%2Bc%25/%C3%BC");
    }

    #[test]
    fn a_plus_of_a_listing_is_a_space() {
        assert_eq!(decode("a+b%2Bc%20d%2").unwrap(), "a b+c d%2");
        assert!(decode("%FF").is_err());
    }
}
