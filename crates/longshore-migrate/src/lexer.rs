//! SQL as tokens, none of which is lost: joined they are the text.
//!
//! The lexical rules are those of PostgreSQL, which DuckDB shares. Redshift differs in one thing: a backslash
//! escapes in every text.

use std::ops::Range;

use crate::database::Engine;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Space,
    Comment,
    /// A keyword or a name without quotes.
    Word,
    Number,
    /// A text in single quotes.
    Text,
    /// A name in double quotes.
    Name,
    /// A text in dollar quotes.
    Dollar,
    Semicolon,
    Open,
    Close,
    Other,
}

/// A piece of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) range: Range<usize>,
    /// Whether the quote or comment that opens it is closed too.
    pub(crate) is_closed: bool,
}

impl Token {
    /// Whether it says something: no blank and no comment.
    pub(crate) fn is_significant(&self) -> bool {
        !matches!(self.kind, TokenKind::Space | TokenKind::Comment)
    }
}

/// Walks over the tokens of a text.
#[derive(Debug, Clone)]
pub(crate) struct Lexer<'t> {
    text: &'t str,
    at: usize,
    backslash: bool,
}

const fn begins_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

const fn continues_word(byte: u8) -> bool {
    begins_word(byte) || byte.is_ascii_digit() || byte == b'$'
}

impl<'t> Lexer<'t> {
    pub(crate) fn new(text: &'t str, engine: Engine) -> Self {
        Self { text, at: 0, backslash: engine == Engine::Redshift }
    }

    /// Goes on at another place, which has to be between two characters.
    pub(crate) fn seek(&mut self, at: usize) {
        self.at = at;
    }

    fn bytes(&self) -> &'t [u8] {
        self.text.as_bytes()
    }

    /// The end of the run of bytes from `at` on for which `holds` is true.
    fn run(&self, at: usize, holds: impl Fn(u8) -> bool) -> usize {
        self.bytes()[at..].iter().position(|byte| !holds(*byte)).map_or(self.text.len(), |length| at + length)
    }

    /// The end of a text that opens at `at` and is closed by `quote`, which stands for itself when doubled.
    fn quoted(&self, at: usize, quote: u8, backslash: bool) -> (usize, bool) {
        let bytes = self.bytes();
        let mut at = at + 1;
        while at < bytes.len() {
            if backslash && bytes[at] == b'\\' {
                at += 2;
            } else if bytes[at] != quote {
                at += 1;
            } else if bytes.get(at + 1) == Some(&quote) {
                at += 2;
            } else {
                return (at + 1, true);
            }
        }
        (bytes.len(), false)
    }

    /// The end of a comment that opens at `at`; comments nest.
    fn comment(&self, at: usize) -> (usize, bool) {
        let bytes = self.bytes();
        let (mut at, mut depth) = (at + 2, 1);
        while at < bytes.len() {
            match &bytes[at..(at + 2).min(bytes.len())] {
                b"/*" => (at, depth) = (at + 2, depth + 1),
                b"*/" => (at, depth) = (at + 2, depth - 1),
                _ => at += 1,
            }
            if depth == 0 {
                return (at, true);
            }
        }
        (bytes.len(), false)
    }

    /// The end of a text in dollar quotes, if one opens at `at`.
    fn dollar(&self, at: usize) -> Option<(usize, bool)> {
        let bytes = self.bytes();
        let tag = self.run(at + 1, |byte| continues_word(byte) && byte != b'$');
        let is_tag = bytes.get(tag) == Some(&b'$') && !bytes[at + 1].is_ascii_digit();
        if !is_tag {
            return None;
        }
        let quote = &self.text[at..=tag];
        match self.text[tag + 1..].find(quote) {
            Some(length) => Some((tag + 1 + length + quote.len(), true)),
            None => Some((bytes.len(), false)),
        }
    }
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let bytes = self.bytes();
        let at = self.at;
        let first = *bytes.get(at)?;
        let second = bytes.get(at + 1).copied();
        let escapes = matches!(first, b'e' | b'E') && second == Some(b'\'');
        let (kind, (end, is_closed)) = match first {
            byte if byte.is_ascii_whitespace() || byte == 0x0b => {
                (TokenKind::Space, (self.run(at, |byte| byte.is_ascii_whitespace() || byte == 0x0b), true))
            }
            b'-' if second == Some(b'-') => {
                (TokenKind::Comment, (self.run(at, |byte| byte != b'\n' && byte != b'\r'), true))
            }
            b'/' if second == Some(b'*') => (TokenKind::Comment, self.comment(at)),
            b'e' | b'E' if escapes => (TokenKind::Text, self.quoted(at + 1, b'\'', true)),
            b'\'' => (TokenKind::Text, self.quoted(at, b'\'', self.backslash)),
            b'"' => (TokenKind::Name, self.quoted(at, b'"', false)),
            b'$' => match self.dollar(at) {
                Some(end) => (TokenKind::Dollar, end),
                // A parameter such as `$1`.
                None => (TokenKind::Other, (self.run(at + 1, |byte| byte.is_ascii_digit()), true)),
            },
            byte if begins_word(byte) => (TokenKind::Word, (self.run(at, continues_word), true)),
            byte if byte.is_ascii_digit() => (
                TokenKind::Number,
                (self.run(at, |byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_'), true),
            ),
            b';' => (TokenKind::Semicolon, (at + 1, true)),
            b'(' => (TokenKind::Open, (at + 1, true)),
            b')' => (TokenKind::Close, (at + 1, true)),
            _ => (TokenKind::Other, (at + 1, true)),
        };
        // An escape at the very end of the text steps over it.
        let mut end = end.min(bytes.len());
        while !self.text.is_char_boundary(end) {
            end += 1;
        }
        self.at = end;
        Some(Token { kind, range: at..end, is_closed })
    }
}
