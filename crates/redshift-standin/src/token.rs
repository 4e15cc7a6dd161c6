//! The words of SQL as Redshift reads them: quoted names fold to lower case, a backslash in a literal
//! escapes.

use crate::refusal::Refusal;

/// One word of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// An unquoted word as written: a keyword or a name.
    Word(String),
    /// A name in double quotes.
    Quoted(String),
    /// A text, its escapes resolved.
    Literal(String),
    /// A number as written.
    Number(String),
    /// `$1`.
    Parameter(u32),
    /// Any other character.
    Symbol(char),
}

impl Token {
    /// Whether this is the keyword, in whatever case.
    pub(crate) fn is(&self, keyword: &str) -> bool {
        matches!(self, Self::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    /// Whether this is the character.
    pub(crate) fn is_symbol(&self, symbol: char) -> bool {
        *self == Self::Symbol(symbol)
    }

    /// A name, folded: quoted or not, Redshift folds it to lower case.
    pub(crate) fn name(&self) -> Option<String> {
        match self {
            Self::Word(name) | Self::Quoted(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        }
    }

    /// The word as an error shows it.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Word(text) | Self::Quoted(text) | Self::Number(text) => text.clone(),
            Self::Literal(text) => format!("'{text}'"),
            Self::Parameter(number) => format!("${number}"),
            Self::Symbol(symbol) => symbol.to_string(),
        }
    }
}

/// The longest name that the server behind can keep; Redshift's own limit is 127 bytes.
const LONGEST_NAME: usize = 63;

/// The statements of a text, each as its words; `glued` says which follow the one before without a space.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) tokens: Vec<Token>,
    pub(crate) glued: Vec<bool>,
}

/// Splits a text into statements.
///
/// # Errors
/// Where a literal, a name or a comment does not end, and for what Redshift has and this does not read.
#[cfg(test)]
pub(crate) fn statements(sql: &str) -> Result<Vec<Words>, Refusal> {
    statements_with(sql, false)
}

/// The same. In a COPY `\N` may keep its backslash, which is not documented.
///
/// # Errors
/// As of `statements`.
pub(crate) fn statements_with(sql: &str, keeps_backslash_n: bool) -> Result<Vec<Words>, Refusal> {
    let mut lexer = Lexer { rest: sql, glued: false, keeps_backslash_n: false };
    let mut statements = vec![Words::default()];
    while let Some((token, glued)) = lexer.next()? {
        if statements.last().is_some_and(|words| words.tokens.is_empty()) {
            lexer.keeps_backslash_n = keeps_backslash_n && token.is("copy");
        }
        if token.is_symbol(';') {
            statements.push(Words::default());
        } else if let Some(words) = statements.last_mut() {
            words.tokens.push(token);
            words.glued.push(glued);
        }
    }
    statements.retain(|words| !words.tokens.is_empty());
    Ok(statements)
}

struct Lexer<'a> {
    rest: &'a str,
    glued: bool,
    keeps_backslash_n: bool,
}

impl Lexer<'_> {
    fn next(&mut self) -> Result<Option<(Token, bool)>, Refusal> {
        self.glued = true;
        self.skip_blanks()?;
        let glued = self.glued;
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        let token = match first {
            '\'' => Token::Literal(self.literal()?),
            '"' => Token::Quoted(self.quoted()?),
            '$' => self.parameter()?,
            '#' => {
                let name = self.take(1, |c| c.is_alphanumeric() || c == '_' || c == '$');
                Token::Quoted(name.to_ascii_lowercase())
            }
            c if c.is_alphabetic() || c == '_' => self.word()?,
            c if c.is_ascii_digit() => Token::Number(self.number()),
            '.' if self.rest[1..].starts_with(|c: char| c.is_ascii_digit()) => Token::Number(self.number()),
            '\0' => return Err(Refusal::syntax("\\0")),
            other => {
                self.rest = &self.rest[other.len_utf8()..];
                Token::Symbol(other)
            }
        };
        let name = match &token {
            Token::Word(name) | Token::Quoted(name) => name.as_str(),
            _ => "",
        };
        if name.len() > LONGEST_NAME {
            return Err(Refusal::not_modelled(&format!("a name of more than {LONGEST_NAME} bytes")));
        }
        Ok(Some((token, glued)))
    }

    fn skip_blanks(&mut self) -> Result<(), Refusal> {
        loop {
            let trimmed = self.rest.trim_start();
            if trimmed.len() < self.rest.len() {
                self.glued = false;
            }
            self.rest = trimmed;
            if self.rest.starts_with("--") {
                self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest);
                self.glued = false;
            } else if self.rest.starts_with("/*") {
                self.comment()?;
                self.glued = false;
            } else {
                return Ok(());
            }
        }
    }

    fn comment(&mut self) -> Result<(), Refusal> {
        let mut depth = 0_u32;
        loop {
            if let Some(rest) = self.rest.strip_prefix("/*") {
                depth += 1;
                self.rest = rest;
            } else if let Some(rest) = self.rest.strip_prefix("*/") {
                depth -= 1;
                self.rest = rest;
                if depth == 0 {
                    return Ok(());
                }
            } else {
                let mut rest = self.rest.chars();
                if rest.next().is_none() {
                    return Err(Refusal::new("42601", "unterminated /* comment"));
                }
                self.rest = rest.as_str();
            }
        }
    }

    /// Takes `skip` bytes, and what follows them as long as `more` says so.
    fn take(&mut self, skip: usize, more: impl Fn(char) -> bool) -> String {
        let end = self.rest[skip..].find(|c| !more(c)).map_or(self.rest.len(), |end| skip + end);
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken.to_owned()
    }

    fn word(&mut self) -> Result<Token, Refusal> {
        let word = self.take(0, |c| c.is_alphanumeric() || c == '_' || c == '$');
        if word.eq_ignore_ascii_case("e") && self.rest.starts_with('\'') {
            return Ok(Token::Literal(self.literal()?));
        }
        let is_prefix = ["b", "x", "n", "u"].iter().any(|prefix| word.eq_ignore_ascii_case(prefix));
        if is_prefix && self.rest.starts_with('\'') {
            return Err(Refusal::not_modelled(&format!("a literal that begins with {word}'")));
        }
        Ok(Token::Word(word))
    }

    fn number(&mut self) -> String {
        let mut number = self.take(0, |c| c.is_ascii_digit() || c == '.');
        let exponent = self.rest.strip_prefix(['e', 'E']).map(|rest| rest.trim_start_matches(['+', '-']));
        if exponent.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
            let signs = usize::from(self.rest[1..].starts_with(['+', '-']));
            number.push_str(&self.take(1 + signs, |c| c.is_ascii_digit()));
        }
        number
    }

    fn parameter(&mut self) -> Result<Token, Refusal> {
        let text = self.take(1, |c| c.is_ascii_digit());
        match text[1..].parse() {
            Ok(number) => Ok(Token::Parameter(number)),
            Err(_) => Err(Refusal::not_modelled("dollar quotes")),
        }
    }

    fn quoted(&mut self) -> Result<String, Refusal> {
        let mut name = String::new();
        let mut rest = self.rest[1..].chars();
        loop {
            match rest.next() {
                Some('"') if rest.as_str().starts_with('"') => {
                    name.push('"');
                    rest.next();
                }
                Some('"') => break,
                Some(c) => name.push(c),
                None => return Err(Refusal::new("42601", "unterminated quoted identifier")),
            }
        }
        self.rest = rest.as_str();
        if name.is_empty() {
            return Err(Refusal::new("42601", "zero-length delimited identifier at or near \"\"\"\""));
        }
        Ok(name)
    }

    fn literal(&mut self) -> Result<String, Refusal> {
        let mut text = String::new();
        let mut rest = self.rest[1..].chars();
        loop {
            match rest.next() {
                Some('\'') if rest.as_str().starts_with('\'') => {
                    text.push('\'');
                    rest.next();
                }
                Some('\'') => break,
                Some('\\') => match rest.next() {
                    Some('n') => text.push('\n'),
                    Some('r') => text.push('\r'),
                    Some('t') => text.push('\t'),
                    Some('b') => text.push('\u{8}'),
                    Some('f') => text.push('\u{c}'),
                    Some(first @ '0'..='7') => {
                        let mut code = first.to_digit(8).unwrap_or_default();
                        for _ in 0..2 {
                            let Some(digit) = rest.as_str().chars().next().and_then(|c| c.to_digit(8)) else { break };
                            code = code * 8 + digit;
                            rest.next();
                        }
                        let byte = char::from_u32(code).filter(char::is_ascii).filter(|c| *c != '\0');
                        text.push(byte.ok_or_else(|| Refusal::not_modelled("an octal escape beyond ASCII"))?);
                    }
                    Some('N') if self.keeps_backslash_n => text.push_str("\\N"),
                    Some('x' | 'u' | 'U') => return Err(Refusal::not_modelled("an escape by \\x or \\u")),
                    Some(c) => text.push(c),
                    None => return Err(Refusal::new("42601", "unterminated quoted string")),
                },
                Some(c) => text.push(c),
                None => return Err(Refusal::new("42601", "unterminated quoted string")),
            }
        }
        self.rest = rest.as_str();
        Ok(text)
    }
}

/// The words as a text for the server behind.
pub(crate) fn join(words: &Words) -> String {
    let mut sql = String::new();
    for (index, token) in words.tokens.iter().enumerate() {
        if index > 0 && !words.glued[index] {
            sql.push(' ');
        }
        push(&mut sql, token);
    }
    sql
}

/// One word for the server behind.
pub(crate) fn push(sql: &mut String, token: &Token) {
    match token {
        Token::Word(text) | Token::Number(text) => sql.push_str(text),
        Token::Quoted(name) => sql.push_str(&ident(&name.to_ascii_lowercase())),
        Token::Literal(text) => sql.push_str(&literal(text)),
        Token::Parameter(number) => sql.push_str(&format!("${number}")),
        Token::Symbol(symbol) => sql.push(*symbol),
    }
}

/// A name in double quotes.
pub(crate) fn ident(name: &str) -> String {
    longshore_postgres::quote::ident(name)
}

/// A text in single quotes, whatever the server's settings.
pub(crate) fn literal(text: &str) -> String {
    if text.contains('\\') {
        format!(" E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(sql: &str) -> Vec<Token> {
        statements(sql).unwrap().remove(0).tokens
    }

    #[test]
    fn a_backslash_in_a_literal_escapes() {
        assert_eq!(one(r"'a\'b'"), [Token::Literal("a'b".to_owned())]);
        assert_eq!(one(r"'\\N'"), [Token::Literal(r"\N".to_owned())]);
        assert_eq!(one(r"'a\tb\174'"), [Token::Literal("a\tb|".to_owned())]);
        assert_eq!(one("'it''s'"), [Token::Literal("it's".to_owned())]);
        assert!(statements(r"'ends\'").is_err());
    }

    #[test]
    fn a_quoted_name_folds_to_lower_case() {
        assert_eq!(join(&statements("select \"PassengerId\"").unwrap()[0]), "select \"passengerid\"");
        assert_eq!(one("#Stage"), [Token::Quoted("#stage".to_owned())]);
    }

    #[test]
    fn statements_end_at_semicolons_outside_of_texts_and_comments() {
        let all = statements("select ';' -- ; \n; /* ; /* ; */ */ select \";\";").unwrap();
        assert_eq!(all.iter().map(join).collect::<Vec<_>>(), ["select ';'", "select \";\""]);
        assert!(statements("select /* no end").is_err());
    }

    #[test]
    fn operators_stay_together_and_words_apart() {
        let all = statements("SELECT a::varchar, b<>1.5e-3,c>= $2 FROM s.t").unwrap();
        assert_eq!(join(&all[0]), "SELECT a::varchar, b<>1.5e-3,c>= $2 FROM s.t");
    }

    #[test]
    fn what_a_literal_means_is_what_the_server_behind_reads() {
        assert_eq!(literal("a\\'b"), r" E'a\\''b'");
    }
}
