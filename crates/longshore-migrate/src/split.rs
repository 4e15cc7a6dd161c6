//! Cuts a script into statements.
//!
//! A statement ends at a `;` that stands outside parentheses, quotes, comments and `BEGIN ATOMIC … END`. Statements
//! are trimmed and keep the comments before them; what holds no more than comments is none. After `COPY … FROM
//! STDIN;` the lines up to `\.` are data. Unlike Flyway, `$1` opens no dollar quote, `e'…'` escapes as `E'…'` does,
//! and what is opened and never closed is an error.

use std::ops::Range;

use crate::database::Engine;
use crate::lexer::{Lexer, Token, TokenKind};

/// A statement of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Where it stands in the text, in bytes.
    pub range: Range<usize>,
    /// The line of its first word, 1 the first.
    pub line: usize,
    /// The line on which [`Statement::range`] begins.
    pub first_line: usize,
    /// Where the data of a `COPY … FROM STDIN` stand, without the line that ends them.
    pub data: Option<Range<usize>>,
}

/// Something is opened and never closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct SplitError {
    /// The line on which it is opened.
    pub line: usize,
    /// What it is.
    pub what: &'static str,
}

/// Cuts a script into statements, in order.
///
/// # Errors
/// A quote, a comment, a parenthesis or the data of a COPY never end.
pub fn split(text: &str, engine: Engine) -> Result<Vec<Statement>, SplitError> {
    let mut statements = Vec::new();
    let mut lines = Lines { text, at: 0, line: 1 };
    let mut open = Open::default();
    let mut lexer = Lexer::new(text, engine);
    while let Some(token) = lexer.next() {
        if !token.is_closed {
            return Err(SplitError { line: lines.of(token.range.start), what: unterminated(text, &token) });
        }
        if token.kind != TokenKind::Semicolon || !open.may_end() {
            open.take(text, &token);
            continue;
        }
        let ended = std::mem::take(&mut open);
        let is_copy = ended.is_copy_from_stdin();
        if let Some(mut statement) = ended.finish(&mut lines) {
            if is_copy {
                let (data, next) = data(text, token.range.end).ok_or(SplitError {
                    line: statement.line,
                    what: "the data of this COPY are not ended by a line `\\.`",
                })?;
                statement.data = Some(data);
                lexer.seek(next);
            }
            statements.push(statement);
        }
    }
    if let Some(at) = open.parentheses.first() {
        return Err(SplitError { line: lines.of(*at), what: "a parenthesis is opened and never closed" });
    }
    if let Some(at) = open.atomic.first() {
        return Err(SplitError { line: lines.of(*at), what: "`BEGIN ATOMIC` has no `END`" });
    }
    statements.extend(open.finish(&mut lines));
    Ok(statements)
}

/// The words of a statement, in capitals: keywords and names without quotes.
pub fn words(statement: &str, engine: Engine) -> impl Iterator<Item = String> + '_ {
    Lexer::new(statement, engine)
        .filter(|token| token.kind == TokenKind::Word)
        .map(|token| statement[token.range].to_ascii_uppercase())
}

fn unterminated(text: &str, token: &Token) -> &'static str {
    match token.kind {
        TokenKind::Comment => "a comment is opened and never closed",
        TokenKind::Name => "a name in double quotes is opened and never closed",
        TokenKind::Dollar => "a text in dollar quotes is opened and never closed",
        _ if text[token.range.clone()].starts_with(['e', 'E']) => "a text `E'…'` is opened and never closed",
        _ => "a text in single quotes is opened and never closed",
    }
}

/// What was read of a statement that goes on.
#[derive(Default)]
struct Open {
    /// Where its first token begins, comments included.
    start: Option<usize>,
    /// Where its last word ends.
    end: usize,
    /// Where its first word begins.
    word: Option<usize>,
    parentheses: Vec<usize>,
    /// `BEGIN ATOMIC`, and each `CASE` within.
    atomic: Vec<usize>,
    /// Its first words and the last two, in capitals.
    first: String,
    last: [String; 2],
    is_from_stdin: bool,
}

impl Open {
    fn may_end(&self) -> bool {
        self.parentheses.is_empty() && self.atomic.is_empty()
    }

    fn take(&mut self, text: &str, token: &Token) {
        let at = token.range.start;
        if token.kind != TokenKind::Space {
            self.start.get_or_insert(at);
        }
        if token.is_significant() {
            self.word.get_or_insert(at);
            // A comment at the end belongs to nothing, unless the statement goes on.
            self.end = token.range.end;
        }
        match token.kind {
            TokenKind::Open => self.parentheses.push(at),
            TokenKind::Close => drop(self.parentheses.pop()),
            TokenKind::Word => self.word_read(text[token.range.clone()].to_ascii_uppercase(), at),
            _ => {}
        }
    }

    fn word_read(&mut self, word: String, at: usize) {
        match (self.last[1].as_str(), word.as_str()) {
            ("BEGIN", "ATOMIC") => self.atomic.push(at),
            (_, "CASE") if !self.atomic.is_empty() => self.atomic.push(at),
            (_, "END") => drop(self.atomic.pop()),
            ("FROM", "STDIN") if self.parentheses.is_empty() => self.is_from_stdin = true,
            _ => {}
        }
        if self.first.is_empty() {
            self.first.clone_from(&word);
        }
        self.last.swap(0, 1);
        self.last[1] = word;
    }

    fn is_copy_from_stdin(&self) -> bool {
        self.first == "COPY" && self.is_from_stdin
    }

    fn finish(self, lines: &mut Lines<'_>) -> Option<Statement> {
        let (start, word) = (self.start?, self.word?);
        let first_line = lines.of(start);
        Some(Statement { first_line, line: lines.of(word), range: start..self.end, data: None })
    }
}

/// The data that begin on the line after `at`, and where the script goes on behind them.
fn data(text: &str, at: usize) -> Option<(Range<usize>, usize)> {
    let start = at + text[at..].find('\n')? + 1;
    let mut line = start;
    while line < text.len() {
        let end = text[line..].find('\n').map_or(text.len(), |length| line + length);
        if text[line..end].trim_end_matches('\r') == "\\." {
            return Some((start..line, (end + 1).min(text.len())));
        }
        line = end + 1;
    }
    None
}

/// Counts lines forward.
struct Lines<'t> {
    text: &'t str,
    at: usize,
    line: usize,
}

impl Lines<'_> {
    fn of(&mut self, offset: usize) -> usize {
        if offset < self.at {
            (self.at, self.line) = (0, 1);
        }
        self.line += newlines(&self.text[self.at..offset]);
        self.at = offset;
        self.line
    }
}

/// How many lines end in a text: at `\n`, `\r\n` and `\r`.
pub(crate) fn newlines(text: &str) -> usize {
    let bytes = text.as_bytes();
    let is_end = |at: usize| bytes[at] == b'\n' || (bytes[at] == b'\r' && bytes.get(at + 1) != Some(&b'\n'));
    (0..bytes.len()).filter(|at| is_end(*at)).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(text: &str) -> Vec<(String, usize)> {
        split(text, Engine::Postgres).unwrap().into_iter().map(|s| (text[s.range].to_owned(), s.line)).collect()
    }

    fn texts(text: &str) -> Vec<String> {
        cut(text).into_iter().map(|(text, _)| text).collect()
    }

    #[test]
    fn statements_are_cut_as_flyway_cuts_them() {
        let pairs = |list: &[(&str, usize)]| list.iter().map(|(t, l)| ((*t).to_owned(), *l)).collect::<Vec<_>>();
        assert_eq!(cut("SELECT 1;;;\n;SELECT 2;"), pairs(&[("SELECT 1", 1), ("SELECT 2", 2)]));
        assert_eq!(
            cut("-- lead\nSELECT 1; -- trail\n\nSELECT 2; /* tail */"),
            pairs(&[("-- lead\nSELECT 1", 2), ("-- trail\n\nSELECT 2", 4)])
        );
        assert_eq!(texts(r"SELECT E'it\'s; x'; SELECT 2;"), [r"SELECT E'it\'s; x'", "SELECT 2"]);
        assert_eq!(texts(r"SELECT e'it\'s; x'; SELECT 2;"), [r"SELECT e'it\'s; x'", "SELECT 2"], "Flyway cuts inside");
        assert_eq!(texts(r"SELECT 'a\'; SELECT 2;"), [r"SELECT 'a\'", "SELECT 2"]);
        assert_eq!(texts("SELECT $1; SELECT 2;"), ["SELECT $1", "SELECT 2"], "Flyway takes it for a dollar quote");
        assert_eq!(texts("SELECT a$b; SELECT 2;"), ["SELECT a$b", "SELECT 2"]);
        assert_eq!(texts("SELECT $q$ ; $$ ; $q$; SELECT 2;"), ["SELECT $q$ ; $$ ; $q$", "SELECT 2"]);
        assert_eq!(texts("SELECT (1;2); SELECT 3;"), ["SELECT (1;2)", "SELECT 3"]);
        assert_eq!(texts("SELECT /* a /* b */ ; */ 1; SELECT 2;"), ["SELECT /* a /* b */ ; */ 1", "SELECT 2"]);
        let function = "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END";
        assert_eq!(texts(&format!("{function}; SELECT 9;")), [function, "SELECT 9"]);
        assert_eq!(texts("\\set x 1\nSELECT 1;"), ["\\set x 1\nSELECT 1"]);
        assert_eq!(texts("-- nothing here\n"), [""; 0]);
        assert_eq!(texts("SELECT 1"), ["SELECT 1"]);
        assert_eq!(texts("CREATE TABLE t (id int) -- trailing\n;"), ["CREATE TABLE t (id int)"]);
        assert_eq!(texts("SELECT U&'d\\0061;t'; SELECT \"a;\"\"b\""), ["SELECT U&'d\\0061;t'", "SELECT \"a;\"\"b\""]);
        assert_eq!(texts("SELECT B'1;', X'F;'; SELECT N'a;';"), ["SELECT B'1;', X'F;'", "SELECT N'a;'"]);
    }

    #[test]
    fn in_redshift_a_backslash_escapes_in_every_text() {
        let cut = |text: &str| split(text, Engine::Redshift).unwrap().len();
        assert_eq!(cut(r"SELECT 'it\'s; x'; SELECT 2;"), 2);
        assert_eq!(cut(r"SELECT 'a\\'; SELECT 2;"), 2);
    }

    #[test]
    fn data_of_a_copy_are_kept_apart() {
        let text = "COPY t (a) FROM stdin;\n1;\n2\n\\.\nSELECT 1;\nCOPY t FROM STDIN WITH (FORMAT csv);\n\\.\n";
        let statements = split(text, Engine::Postgres).unwrap();
        let seen: Vec<_> = statements
            .iter()
            .map(|s| (&text[s.range.clone()], s.line, s.data.clone().map(|data| &text[data])))
            .collect();
        assert_eq!(
            seen,
            [
                ("COPY t (a) FROM stdin", 1, Some("1;\n2\n")),
                ("SELECT 1", 5, None),
                ("COPY t FROM STDIN WITH (FORMAT csv)", 6, Some("")),
            ]
        );
        assert_eq!(texts("COPY (SELECT 1 FROM stdin) TO STDOUT; SELECT 1").len(), 2);
    }

    #[test]
    fn what_is_never_closed_is_told_with_its_line() {
        for (text, line, word) in [
            ("SELECT 1;\nSELECT 'a;\n", 2, "single quotes"),
            ("SELECT \"a;\n", 1, "double quotes"),
            ("\n/* a /* b */ ;", 2, "comment"),
            ("SELECT $x$ ;\n$$;", 1, "dollar"),
            ("SELECT 1;\nCREATE TABLE t (a int;\nSELECT 2;", 2, "parenthesis"),
            ("CREATE FUNCTION f() BEGIN ATOMIC SELECT 1;", 1, "END"),
            ("COPY t FROM stdin;\n1\n", 1, "COPY"),
            ("SELECT E'\\", 1, "E'"),
        ] {
            let error = split(text, Engine::Postgres).unwrap_err();
            assert_eq!(error.line, line, "{text}");
            assert!(error.what.contains(word), "{text}: {error}");
        }
    }

    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "SELECT 1",
            ";",
            "\n",
            " ",
            "'a;b'",
            "E'\\';'",
            "\"q;\"",
            "-- c;\n",
            "/* ; /* ; */ */",
            "$$;$$",
            "$a$ ; $a$",
            "(",
            ")",
            "$1",
            "é",
            "COPY t FROM stdin;\n1;2\n\\.\n",
            "BEGIN ATOMIC",
            "CASE",
            "END",
            "'",
            "\"",
            "$$",
            "\\",
            "/*",
            "\r\n",
            "ALTER",
        ]);
        prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn statements_and_what_lies_between_are_the_file(text in prop_oneof![pieces(), any::<String>()]) {
            for engine in [Engine::Postgres, Engine::Redshift] {
                let joined: String = Lexer::new(&text, engine).map(|token| &text[token.range]).collect();
                prop_assert_eq!(&joined, &text);
                let Ok(statements) = split(&text, engine) else { continue };
                let (mut at, mut all) = (0, String::new());
                for statement in &statements {
                    let between = &text[at..statement.range.start];
                    // Nothing but `;`, blanks, comments and the end of data lies between two statements.
                    let says = |token: Token| token.is_significant() && token.kind != TokenKind::Semicolon;
                    let between_data = between.trim_start_matches("\\.");
                    prop_assert!(!Lexer::new(between_data, engine).any(says), "{:?}", between);
                    all += between;
                    all += &text[statement.range.clone()];
                    at = statement.range.end;
                    if let Some(data) = &statement.data {
                        all += &text[at..data.end];
                        at = data.end;
                    }
                    let own = &text[statement.range.clone()];
                    prop_assert_eq!(own.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\u{b}'), own);
                }
                all += &text[at..];
                prop_assert_eq!(&all, &text);
            }
        }
    }
}
