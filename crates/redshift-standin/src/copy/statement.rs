//! The statement as a whole: which table, from where, with whose rights.

use super::authorization::{self, Authorization};
use super::clashes;
use super::grammar::{Draft, Words};
use super::options::Options;
use super::reader::Switches;
use crate::token::Token;

/// Why a statement is not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) sqlstate: &'static str,
    pub(crate) message: String,
}

impl Refusal {
    pub(super) fn new(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self { sqlstate, message: message.into() }
    }

    /// Redshift's parser stops at this word, or at the end.
    pub(super) fn syntax(near: Option<&Token>) -> Self {
        let message = match near {
            Some(Token::Literal(_)) => "syntax error at or near \"'\"".to_owned(),
            Some(token) => format!("syntax error at or near \"{}\"", token.shown()),
            None => "syntax error at end of input".to_owned(),
        };
        Self::new("42601", message)
    }

    /// Two things of the statement, or an option and its value, do not go together.
    pub(super) fn clash(message: impl Into<String>) -> Self {
        Self::new("42601", message)
    }

    /// Redshift may have it; nothing can be said here.
    pub(super) fn not_modelled(what: &str) -> Self {
        Self::new("LS000", format!("stand-in: not modelled: {what}"))
    }
}

/// The name of a table, folded to lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) schema: Option<String>,
    pub(crate) name: String,
}

/// One COPY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) table: Name,
    /// As listed; all of the table's if there is no list.
    pub(crate) columns: Option<Vec<String>>,
    /// `s3://bucket/prefix`, or the key of a manifest.
    pub(crate) from: String,
    pub(crate) authorization: Authorization,
    pub(crate) options: Options,
}

/// Reads the words of one statement, without its semicolon.
///
/// # Errors
/// What Redshift refuses and what is not modelled.
pub(crate) fn parse(tokens: &[Token], switches: &Switches) -> Result<Statement, Refusal> {
    if let Some(parameter) = tokens.iter().find(|token| matches!(token, Token::Parameter(_))) {
        return Err(Refusal::syntax(Some(parameter)));
    }
    let mut words = Words::new(tokens);
    words.keyword("COPY")?;
    let table = table(&mut words)?;
    let columns = columns(&mut words)?;
    if words.peek().is_some_and(|token| token.is("TO")) {
        return Err(Refusal::new("0A000", "COPY TO is not supported"));
    }
    words.keyword("FROM")?;
    let from = source(&mut words)?;
    let mut draft = Draft::default();
    let mut rights = authorization::Draft::default();
    while let Some(token) = words.peek() {
        if !rights.take(&mut words)? {
            draft.take(&mut words, token)?;
        }
    }
    let authorization = rights.finish()?;
    let options = clashes::check(draft, switches)?;
    Ok(Statement { table, columns, from, authorization, options })
}

fn table(words: &mut Words<'_>) -> Result<Name, Refusal> {
    let first = name(words)?;
    if !words.take_symbol('.') {
        return Ok(Name { schema: None, name: first });
    }
    let second = name(words)?;
    if words.peek().is_some_and(|token| token.is_symbol('.')) {
        return Err(Refusal::not_modelled("a database in the name of COPY's table"));
    }
    Ok(Name { schema: Some(first), name: second })
}

fn name(words: &mut Words<'_>) -> Result<String, Refusal> {
    let token = words.next();
    match token {
        Some(Token::Word(word)) if word.eq_ignore_ascii_case("from") => Err(Refusal::syntax(token)),
        Some(other) => other.name().filter(|name| !name.is_empty()).ok_or_else(|| Refusal::syntax(token)),
        None => Err(Refusal::syntax(None)),
    }
}

fn columns(words: &mut Words<'_>) -> Result<Option<Vec<String>>, Refusal> {
    if !words.take_symbol('(') {
        return Ok(None);
    }
    let mut columns = vec![name(words)?];
    while words.take_symbol(',') {
        columns.push(name(words)?);
    }
    if words.take_symbol(')') { Ok(Some(columns)) } else { Err(Refusal::syntax(words.peek())) }
}

fn source(words: &mut Words<'_>) -> Result<String, Refusal> {
    let token = words.next();
    let from = match token {
        Some(Token::Literal(from)) => from,
        Some(other) if other.is("STDIN") => return Err(Refusal::new("0A000", "COPY FROM STDIN is not supported")),
        other => return Err(Refusal::syntax(other)),
    };
    for other in ["dynamodb://", "emr://", "ssh://"] {
        if from.starts_with(other) {
            return Err(Refusal::not_modelled(&format!("COPY FROM '{other}..'")));
        }
    }
    let place = from.strip_prefix("s3://").and_then(|rest| rest.split_once('/'));
    if place.is_none_or(|(bucket, _)| bucket.is_empty()) {
        let message = format!("COPY needs a source of the form 's3://bucket/prefix', found '{from}'");
        return Err(Refusal::clash(message));
    }
    if words.peek().is_some_and(|token| token.is("SSH")) {
        return Err(Refusal::not_modelled("SSH"));
    }
    Ok(from.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::testing::{ROLE, copy, refused, tokens};

    #[test]
    fn a_table_with_schema_and_columns_folds_to_lower_case_even_in_quotes() {
        let sql = format!("copy \"S\".\"T\" (\"A\", b) from 's3://b/k' {ROLE}");
        let statement = parse(&tokens(&sql), &Switches::default()).unwrap();
        assert_eq!(statement.table, Name { schema: Some("s".into()), name: "t".into() });
        assert_eq!(statement.columns, Some(vec!["a".into(), "b".into()]));
        assert_eq!(statement.from, "s3://b/k");
        assert_eq!(copy("").columns, None);
    }

    #[test]
    fn only_s3_is_a_source() {
        let state = |from: &str| {
            parse(&tokens(&format!("COPY t FROM {from} {ROLE}")), &Switches::default()).unwrap_err().sqlstate
        };
        assert_eq!(state("'/tmp/a.csv'"), "42601");
        assert_eq!(state("'s3://bucket'"), "42601");
        assert_eq!(state("'s3:///key'"), "42601");
        assert_eq!(state("'S3://b/k'"), "42601");
        assert_eq!(state("'dynamodb://t'"), "LS000");
        assert_eq!(state("'emr://t'"), "LS000");
        assert_eq!(state("'s3://b/k' SSH"), "LS000");
        assert_eq!(state("STDIN"), "0A000");
        assert_eq!(state("t2"), "42601");
        assert_eq!(parse(&tokens("COPY t TO 's3://b/k'"), &Switches::default()).unwrap_err().sqlstate, "0A000");
    }

    #[test]
    fn parameters_cannot_appear_in_copy() {
        let sql = format!("COPY t FROM $1 {ROLE}");
        assert_eq!(
            parse(&tokens(&sql), &Switches::default()).unwrap_err(),
            Refusal::clash("syntax error at or near \"$1\"")
        );
        assert_eq!(refused("MAXERROR $2").sqlstate, "42601");
    }

    #[test]
    fn a_statement_cut_short_is_a_syntax_error() {
        let all = tokens(&format!("COPY s.t (a, b) FROM 's3://b/k' {ROLE} CSV DELIMITER ';'"));
        for end in (0..=12).chain([15]) {
            assert_eq!(parse(&all[..end], &Switches::default()).unwrap_err().sqlstate, "42601", "{end}");
        }
        assert!(parse(&tokens(&format!("COPY t () FROM 's3://b/k' {ROLE}")), &Switches::default()).is_err());
        let three = format!("COPY d.s.t FROM 's3://b/k' {ROLE}");
        assert_eq!(parse(&tokens(&three), &Switches::default()).unwrap_err().sqlstate, "LS000");
    }
}
