//! Reads options one by one, in any order; what goes together is judged when all are read.

use super::options::{CompUpdate, Compression, Encoding, Options};
use super::statement::Refusal;
use super::values::{DateFormat, TimeFormat};
use crate::token::Token;

/// The most errors that MAXERROR allows.
const MOST_ERRORS: u64 = 100_000;

/// The words that are still to be read.
pub(super) struct Words<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl<'a> Words<'a> {
    pub(super) fn new(tokens: &'a [Token]) -> Self {
        Self { tokens, at: 0 }
    }

    pub(super) fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at)
    }

    pub(super) fn next(&mut self) -> Option<&'a Token> {
        let token = self.peek();
        self.at += usize::from(token.is_some());
        token
    }

    /// Takes the word if it is the next.
    pub(super) fn take_keyword(&mut self, keyword: &str) -> bool {
        let is_next = self.peek().is_some_and(|token| token.is(keyword));
        self.at += usize::from(is_next);
        is_next
    }

    pub(super) fn take_symbol(&mut self, symbol: char) -> bool {
        let is_next = self.peek().is_some_and(|token| token.is_symbol(symbol));
        self.at += usize::from(is_next);
        is_next
    }

    pub(super) fn keyword(&mut self, keyword: &str) -> Result<(), Refusal> {
        if self.take_keyword(keyword) { Ok(()) } else { Err(Refusal::syntax(self.peek())) }
    }

    pub(super) fn literal(&mut self) -> Result<String, Refusal> {
        match self.next() {
            Some(Token::Literal(text)) => Ok(text.clone()),
            other => Err(Refusal::syntax(other)),
        }
    }

    /// `[AS] 'text'`
    fn text(&mut self) -> Result<String, Refusal> {
        self.take_keyword("AS");
        self.literal()
    }

    /// `[AS] n`
    fn number(&mut self, range: std::ops::RangeInclusive<u64>) -> Result<u64, Refusal> {
        self.take_keyword("AS");
        let token = self.next();
        let Some(Token::Number(text)) = token else { return Err(Refusal::syntax(token)) };
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Refusal::syntax(token));
        }
        let number = text.parse().ok().filter(|number| range.contains(number));
        let message = || format!("value {text} is out of range {} to {}", range.start(), range.end());
        number.ok_or_else(|| Refusal::new("22023", message()))
    }

    /// `[ON | TRUE | OFF | FALSE]`; nothing is ON.
    fn switch(&mut self) -> bool {
        if self.take_keyword("OFF") || self.take_keyword("FALSE") {
            return false;
        }
        let _said: bool = self.take_keyword("ON") || self.take_keyword("TRUE");
        true
    }

    fn one_ascii(&mut self) -> Result<u8, Refusal> {
        let text = self.text()?;
        match text.as_bytes() {
            [byte] if byte.is_ascii() && !matches!(byte, 0 | b'\n' | b'\r') => Ok(*byte),
            _ => Err(Refusal::clash(format!("one ASCII character is needed, found '{text}'"))),
        }
    }
}

/// The options read so far.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) options: Options,
    /// Names of the options, in upper case; a compression or a format by its own name.
    pub(super) seen: Vec<&'static str>,
    /// What the statement asks for and nothing here does.
    pub(super) not_modelled: Option<&'static str>,
}

impl Draft {
    pub(super) fn has(&self, name: &str) -> bool {
        self.seen.contains(&name)
    }

    /// Reads the option that begins with `token`.
    pub(super) fn take(&mut self, words: &mut Words<'_>, token: &Token) -> Result<(), Refusal> {
        if words.take_keyword("FORMAT") {
            self.note("FORMAT")?;
            words.take_keyword("AS");
            return self.format(words);
        }
        if words.take_keyword("AS") {
            return self.format(words);
        }
        let known = NAMES.iter().find(|name| token.is(name)).ok_or_else(|| Refusal::syntax(Some(token)))?;
        words.next();
        self.note(known)?;
        self.option(known, words)
    }

    /// Behind FORMAT stands a format and nothing else.
    fn format(&mut self, words: &mut Words<'_>) -> Result<(), Refusal> {
        let token = words.next();
        let is_it = |name: &&&str| token.is_some_and(|token| token.is(name));
        let Some(name) = FORMATS.iter().find(is_it) else { return Err(Refusal::syntax(token)) };
        self.note(name)?;
        self.option(name, words)
    }

    fn note(&mut self, name: &'static str) -> Result<(), Refusal> {
        if self.has(name) {
            return Err(Refusal::clash(format!("conflicting or redundant options: {name} is given twice")));
        }
        self.seen.push(name);
        Ok(())
    }

    fn option(&mut self, name: &'static str, words: &mut Words<'_>) -> Result<(), Refusal> {
        let options = &mut self.options;
        match name {
            "CSV" => options.csv = true,
            "QUOTE" => options.quote = words.one_ascii()?,
            "DELIMITER" => options.delimiter = delimiter(&words.text()?)?,
            "ESCAPE" => options.escape = true,
            "REMOVEQUOTES" => options.remove_quotes = true,
            "IGNOREHEADER" => options.ignore_header = words.number(0..=2_147_483_647)?,
            "NULL" => options.null_as = null(words.text()?)?,
            "EMPTYASNULL" => options.empty_as_null = true,
            "BLANKSASNULL" => options.blanks_as_null = true,
            "TRIMBLANKS" => options.trim_blanks = true,
            "TRUNCATECOLUMNS" => options.truncate_columns = true,
            "FILLRECORD" => options.fill_record = true,
            "IGNOREBLANKLINES" => options.ignore_blank_lines = true,
            "ROUNDEC" => options.round_decimals = true,
            "ACCEPTINVCHARS" => {
                let has_one = words.peek().is_some_and(|token| token.is("AS") || matches!(token, Token::Literal(_)));
                options.accept_invalid_chars = Some(if has_one { words.one_ascii()? } else { b'?' });
            }
            "ACCEPTANYDATE" => options.accept_any_date = true,
            "DATEFORMAT" => options.date_format = DateFormat::parse(&words.text()?).map_err(format_refusal)?,
            "TIMEFORMAT" => options.time_format = TimeFormat::parse(&words.text()?).map_err(format_refusal)?,
            "ENCODING" => options.encoding = encoding(words)?,
            "GZIP" => options.compression = Some(Compression::Gzip),
            "BZIP2" => options.compression = Some(Compression::Bzip2),
            "ZSTD" => options.compression = Some(Compression::Zstd),
            "MAXERROR" => options.max_error = words.number(0..=MOST_ERRORS)? as u32,
            "IGNOREALLERRORS" => options.ignore_all_errors = true,
            "NOLOAD" => options.no_load = true,
            "COMPUPDATE" => options.comp_update = Some(comp_update(words)),
            "STATUPDATE" => options.stat_update = Some(words.switch()),
            "EXPLICIT_IDS" => options.explicit_ids = true,
            "REGION" => options.region = Some(words.text()?),
            "MANIFEST" => options.manifest = true,
            "COMPROWS" => options.comp_rows = Some(words.number(1_000..=2_147_483_647)? as u32),
            "READRATIO" => return Err(Refusal::clash("READRATIO is not allowed for a load from S3")),
            _ => return self.other(name, words),
        }
        Ok(())
    }

    /// What Redshift has and this does not do.
    fn other(&mut self, name: &'static str, words: &mut Words<'_>) -> Result<(), Refusal> {
        match name {
            "JSON" | "AVRO" | "FIXEDWIDTH" | "MASTER_SYMMETRIC_KEY" => {
                words.text()?;
            }
            "USING" => return Err(not_modelled_after(words, "TEMPLATE", "USING TEMPLATE")),
            "JOB" => return Err(not_modelled_after(words, "CREATE", "COPY JOB")),
            "SHAPEFILE" if words.take_keyword("SIMPLIFY") => {
                words.take_keyword("AUTO");
                if matches!(words.peek(), Some(Token::Number(_))) {
                    words.next();
                }
            }
            _ => {}
        }
        self.not_modelled = Some(name);
        Ok(())
    }
}

const FORMATS: &[&str] = &["CSV", "DELIMITER", "FIXEDWIDTH", "JSON", "AVRO", "PARQUET", "ORC", "SHAPEFILE"];

#[rustfmt::skip]
const NAMES: &[&str] = &[
    "CSV", "QUOTE", "DELIMITER", "ESCAPE", "REMOVEQUOTES", "IGNOREHEADER", "NULL", "EMPTYASNULL", "BLANKSASNULL",
    "TRIMBLANKS", "TRUNCATECOLUMNS", "FILLRECORD", "IGNOREBLANKLINES", "ROUNDEC", "ACCEPTINVCHARS", "ACCEPTANYDATE",
    "DATEFORMAT", "TIMEFORMAT", "ENCODING", "GZIP", "BZIP2", "LZOP", "ZSTD", "MAXERROR", "IGNOREALLERRORS", "NOLOAD",
    "COMPUPDATE", "STATUPDATE", "EXPLICIT_IDS", "REGION", "MANIFEST", "ENCRYPTED", "MASTER_SYMMETRIC_KEY", "COMPROWS",
    "READRATIO", "SSH", "FIXEDWIDTH", "JSON", "AVRO", "PARQUET", "ORC", "SHAPEFILE", "USING", "JOB",
];

fn not_modelled_after(words: &Words<'_>, keyword: &str, what: &str) -> Refusal {
    match words.peek() {
        Some(token) if token.is(keyword) => Refusal::not_modelled(what),
        other => Refusal::syntax(other),
    }
}

fn format_refusal(message: String) -> Refusal {
    Refusal::new("22023", message)
}

/// A backslash and three octal digits are one character.
fn delimiter(text: &str) -> Result<String, Refusal> {
    let octal = text.strip_prefix('\\').filter(|digits| digits.len() == 3);
    let code = octal.and_then(|digits| digits.bytes().all(|b| b.is_ascii_digit()).then_some(digits));
    let decoded = match code.map(|digits| u8::from_str_radix(digits, 8)) {
        Some(Ok(code)) => char::from(code).to_string(),
        Some(Err(_)) => return Err(Refusal::clash(format!("not an octal code of a delimiter: '{text}'"))),
        None => text.to_owned(),
    };
    if decoded.is_empty() || !decoded.is_ascii() || decoded.contains(['\n', '\r', '\0']) {
        return Err(Refusal::clash(format!("COPY delimiter must be ASCII and no end of line, found '{text}'")));
    }
    Ok(decoded)
}

fn null(text: String) -> Result<String, Refusal> {
    if text.contains(['\n', '\r', '\0']) || text == "\\n" {
        return Err(Refusal::clash("NULL AS cannot be an end of line"));
    }
    Ok(text)
}

fn encoding(words: &mut Words<'_>) -> Result<Encoding, Refusal> {
    words.take_keyword("AS");
    let token = words.next();
    let known = [
        ("UTF8", Encoding::Utf8),
        ("UTF16", Encoding::Utf16),
        ("UTF16LE", Encoding::Utf16Le),
        ("UTF16BE", Encoding::Utf16Be),
        ("ISO88591", Encoding::Iso88591),
    ];
    let found = known.into_iter().find(|(name, _)| token.is_some_and(|token| token.is(name)));
    found.map(|(_, encoding)| encoding).ok_or_else(|| Refusal::syntax(token))
}

fn comp_update(words: &mut Words<'_>) -> CompUpdate {
    if words.take_keyword("PRESET") {
        return CompUpdate::Preset;
    }
    if words.switch() { CompUpdate::On } else { CompUpdate::Off }
}
