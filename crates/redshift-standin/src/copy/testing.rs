//! What the tests of COPY share: words of a statement, and one field or one file read.

use super::{Column, LoadError, Options, Refusal, Statement, Switches, Type, parse, read};
use crate::token::Token;

pub(super) const ROLE: &str = "IAM_ROLE 'arn:aws:iam::123456789012:role/longshore'";

/// The words of a statement; a backslash in a literal stays as it is.
pub(super) fn tokens(sql: &str) -> Vec<Token> {
    let (mut tokens, mut rest) = (Vec::new(), sql.trim_start());
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let end = |from: &str| from.find(|c| !is_word(c)).unwrap_or(from.len());
        let size = match first {
            '\'' | '"' => {
                let inner = rest[1..].find(first).unwrap();
                let text = rest[1..=inner].to_owned();
                tokens.push(if first == '"' { Token::Quoted(text) } else { Token::Literal(text) });
                inner + 2
            }
            '$' => {
                tokens.push(Token::Parameter(rest[1..2].parse().unwrap()));
                2
            }
            c if is_word(c) => {
                let word = rest[..end(rest)].to_owned();
                tokens.push(if c.is_ascii_digit() { Token::Number(word) } else { Token::Word(word) });
                end(rest)
            }
            c => {
                tokens.push(Token::Symbol(c));
                c.len_utf8()
            }
        };
        rest = rest[size..].trim_start();
    }
    tokens
}

pub(super) fn try_copy(options: &str) -> Result<Statement, Refusal> {
    parse(&tokens(&format!("COPY t FROM 's3://b/k' {ROLE} {options}")), &Switches::default())
}

pub(super) fn copy(options: &str) -> Statement {
    try_copy(options).unwrap_or_else(|refusal| panic!("{options}: {refusal:?}"))
}

pub(super) fn options(text: &str) -> Options {
    copy(text).options
}

pub(super) fn refused(options: &str) -> Refusal {
    try_copy(options).expect_err(options)
}

pub(super) fn column(ty: Type) -> Column {
    Column { name: "c".to_owned(), ty, not_null: false }
}

pub(super) type Rows = Vec<Vec<Option<String>>>;

#[expect(clippy::result_large_err, reason = "as the reader gives it")]
pub(super) fn load_with(
    bytes: &[u8],
    columns: &[Column],
    options: &Options,
    switches: &Switches,
) -> Result<(Rows, Vec<LoadError>, u64), LoadError> {
    let (mut rows, mut errors) = (Vec::new(), Vec::new());
    let lines = read(bytes, columns, options, switches, &mut |row| rows.push(row), &mut |error| errors.push(error))?;
    Ok((rows, errors, lines))
}

/// Reads a file into columns of VARCHAR(64).
pub(super) fn texts(bytes: impl AsRef<[u8]>, count: usize, text: &str) -> (Rows, Vec<LoadError>) {
    let columns = vec![column(Type::Varchar(64)); count];
    let (rows, errors, _) = load_with(bytes.as_ref(), &columns, &options(text), &Switches::default()).unwrap();
    (rows, errors)
}

/// Reads one field of a CSV file; an error is its code and text.
pub(super) fn field_with(
    bytes: impl AsRef<[u8]>,
    ty: Type,
    text: &str,
    switches: &Switches,
) -> Result<Option<String>, (u32, String)> {
    let file = [bytes.as_ref(), b"\n"].concat();
    let (mut rows, mut errors, _) =
        load_with(&file, &[column(ty)], &options(&format!("CSV {text}")), switches).unwrap();
    match errors.pop() {
        Some(error) => Err((error.code, error.message)),
        None => Ok(rows.remove(0).remove(0)),
    }
}

pub(super) fn field(bytes: impl AsRef<[u8]>, ty: Type, text: &str) -> Result<Option<String>, (u32, String)> {
    field_with(bytes, ty, text, &Switches::default())
}

pub(super) fn some(text: &str) -> Result<Option<String>, (u32, String)> {
    Ok(Some(text.to_owned()))
}

pub(super) fn code<T: std::fmt::Debug>(result: Result<T, (u32, String)>) -> u32 {
    result.expect_err("a load error").0
}
