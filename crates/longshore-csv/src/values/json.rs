//! Checks JSON documents (RFC 8259) without recursion, so that no depth can exhaust the stack.

/// Whether a text is one JSON document. `open` is memory for the brackets that are open.
pub(crate) fn is_valid(text: &[u8], open: &mut Vec<u8>) -> bool {
    open.clear();
    check(text, open).is_some()
}

fn check(text: &[u8], open: &mut Vec<u8>) -> Option<()> {
    let mut at = skip_blanks(text, 0);
    loop {
        // A value begins here.
        match text.get(at)? {
            b'{' => {
                at = skip_blanks(text, at + 1);
                if text.get(at)? == &b'}' {
                    at += 1;
                } else {
                    open.push(b'}');
                    at = key(text, at)?;
                    continue;
                }
            }
            b'[' => {
                at = skip_blanks(text, at + 1);
                if text.get(at)? == &b']' {
                    at += 1;
                } else {
                    open.push(b']');
                    continue;
                }
            }
            b'"' => at = string(text, at)?,
            b'-' | b'0'..=b'9' => at = number(text, at)?,
            _ => at = word(text, at)?,
        }
        // A value ended here.
        loop {
            at = skip_blanks(text, at);
            let Some(close) = open.last() else {
                return (at == text.len()).then_some(());
            };
            let byte = text.get(at)?;
            if byte == close {
                open.pop();
                at += 1;
            } else if *byte == b',' {
                at = skip_blanks(text, at + 1);
                if *close == b'}' {
                    at = key(text, at)?;
                }
                break;
            } else {
                return None;
            }
        }
    }
}

fn skip_blanks(text: &[u8], mut at: usize) -> usize {
    while matches!(text.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// Passes over a name and its colon.
fn key(text: &[u8], at: usize) -> Option<usize> {
    let at = skip_blanks(text, string(text, at)?);
    (text.get(at)? == &b':').then(|| skip_blanks(text, at + 1))
}

fn string(text: &[u8], at: usize) -> Option<usize> {
    if text.get(at)? != &b'"' {
        return None;
    }
    let mut at = at + 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => match text.get(at + 1)? {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at += 2,
                b'u' if text.get(at + 2..at + 6)?.iter().all(u8::is_ascii_hexdigit) => at += 6,
                _ => return None,
            },
            0..=31 => return None,
            _ => at += 1,
        }
    }
}

fn number(text: &[u8], at: usize) -> Option<usize> {
    let mut at = at + usize::from(text[at] == b'-');
    at = match text.get(at)? {
        b'0' => at + 1,
        b'1'..=b'9' => digits(text, at)?,
        _ => return None,
    };
    if text.get(at) == Some(&b'.') {
        at = digits(text, at + 1)?;
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        at += 1;
        at += usize::from(matches!(text.get(at), Some(b'+' | b'-')));
        at = digits(text, at)?;
    }
    Some(at)
}

fn digits(text: &[u8], at: usize) -> Option<usize> {
    let count = text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    (count > 0).then_some(at + count)
}

fn word(text: &[u8], at: usize) -> Option<usize> {
    [&b"true"[..], b"false", b"null"].into_iter().find(|word| text[at..].starts_with(word)).map(|word| at + word.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_told_from_other_texts() {
        let mut open = Vec::new();
        for good in [
            "0",
            "-0.5e+3",
            "\"\"",
            "null",
            " true ",
            "{}",
            "[]",
            "[1, 2,3]",
            "{\"a\": {\"b\": []}, \"c\" : [{}]}",
            "\"\\u00e9\\n\"",
            "[[[[]]]]",
            "1E5",
        ] {
            assert!(is_valid(good.as_bytes(), &mut open), "{good}");
        }
        for bad in [
            "",
            " ",
            "01",
            "1.",
            ".5",
            "+1",
            "nul",
            "nulll",
            "[1,]",
            "[,1]",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "[1 2]",
            "\"\\x\"",
            "\"\\u12\"",
            "\"a\nb\"",
            "[",
            "]",
            "{\"a\":1,}",
            "[}",
            "1 1",
            "'a'",
            "NaN",
            "-",
            "1e",
            "\"",
        ] {
            assert!(!is_valid(bad.as_bytes(), &mut open), "{bad}");
        }
    }

    #[test]
    fn depth_is_no_matter() {
        let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
        assert!(is_valid(deep.as_bytes(), &mut Vec::new()));
    }
}
