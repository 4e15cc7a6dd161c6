//! Names of tables: as configured, and as a warehouse resolves them.

use std::fmt;
use std::str::FromStr;

/// A table name as an SQL identifier, `name` or `schema.name`: an unquoted part folds as the
/// warehouse folds it, a part in double quotes is taken as written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TableName {
    /// Schema; `None` leaves it to the warehouse's search path.
    pub schema: Option<Ident>,
    /// Name of the table.
    pub name: Ident,
}

/// One part of a [`TableName`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ident {
    /// The text without its quotes.
    pub text: String,
    /// Whether it was quoted.
    pub quoted: bool,
}

impl Ident {
    /// The text, folded to lower case unless it was quoted.
    pub fn folded(&self) -> String {
        if self.quoted { self.text.clone() } else { self.text.to_lowercase() }
    }
}

/// Why a text is not a table name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a table name: {why}; write `table`, `schema.table` or `schema.\"Table\"`")]
pub struct NameError {
    text: String,
    why: &'static str,
}

impl FromStr for TableName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let fault = |why| NameError { text: text.to_owned(), why };
        let mut parts = Vec::new();
        let mut rest = text;
        loop {
            let (part, tail) = ident(rest).map_err(fault)?;
            parts.push(part);
            match tail.strip_prefix('.') {
                Some(tail) => rest = tail,
                None if tail.is_empty() => break,
                None => return Err(fault("a name ends at its closing quote, a space or a dot")),
            }
        }
        let mut parts = parts.into_iter();
        match (parts.next(), parts.next(), parts.next()) {
            (Some(name), None, _) => Ok(Self { schema: None, name }),
            (Some(schema), Some(name), None) => Ok(Self { schema: Some(schema), name }),
            _ => Err(fault("it has more than two parts")),
        }
    }
}

/// Reads one identifier; returns it with what follows.
fn ident(text: &str) -> Result<(Ident, &str), &'static str> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        return match name.chars().next() {
            None => Err("a part is empty or begins with a character that needs double quotes"),
            Some(c) if c.is_numeric() || c == '$' => Err("a name that begins with a digit needs double quotes"),
            Some(_) => Ok((Ident { text: name.to_owned(), quoted: false }, rest)),
        };
    };
    let mut name = String::new();
    let mut rest = quoted;
    loop {
        let end = rest.find('"').ok_or("its closing quote is missing")?;
        name.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(tail) => {
                name.push('"');
                rest = tail;
            }
            None if name.is_empty() => return Err("a part is empty"),
            None if name.contains('\0') => return Err("a name cannot contain NUL"),
            None => {
                return Ok((Ident { text: name, quoted: true }, rest));
            }
        }
    }
}

impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.quoted { write!(f, "\"{}\"", self.text.replace('"', "\"\"")) } else { f.write_str(&self.text) }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{schema}.")?;
        }
        fmt::Display::fmt(&self.name, f)
    }
}

/// A table as a warehouse resolved it: schema and name as its catalog spells them, folded where
/// the warehouse compares without case. What the ledger and leases know a table by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QualifiedName {
    /// Schema.
    pub schema: String,
    /// Name of the table.
    pub name: String,
}

impl QualifiedName {
    /// Names a table.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }
}

/// `schema.name`; a part that is not a plain lower-case identifier stands in double quotes, so
/// that the text is unambiguous and parses as a [`TableName`].
impl fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |text: &str| {
            let plain = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
                && !text.is_empty()
                && !text.starts_with(|c: char| c.is_ascii_digit());
            Ident { text: text.to_owned(), quoted: !plain }
        };
        write!(f, "{}.{}", part(&self.schema), part(&self.name))
    }
}

impl FromStr for QualifiedName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.parse()? {
            TableName { schema: Some(schema), name } => Ok(Self { schema: schema.text, name: name.text }),
            TableName { schema: None, .. } => Err(NameError { text: text.to_owned(), why: "it lacks the schema" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unquoted_parts_fold_and_quoted_parts_do_not() {
        let name: TableName = r#"Sales."Order ""Lines""""#.parse().unwrap();
        assert_eq!(name.schema.as_ref().unwrap().folded(), "sales");
        assert_eq!(name.name.folded(), r#"Order "Lines""#);
        assert_eq!(name.to_string(), r#"Sales."Order ""Lines""""#);
    }

    #[test]
    fn what_is_not_a_name_is_refused() {
        for text in ["", ".", "a.", ".a", "a.b.c", "\"a", "\"\"", "a b", "1a", "a;drop", "\"a\"b", "\"a\0\""] {
            assert!(text.parse::<TableName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_qualified_name_reads_back() {
        for name in [QualifiedName::new("main", "titanic"), QualifiedName::new("My.Schema", "a\"b")] {
            assert_eq!(name.to_string().parse::<QualifiedName>().unwrap(), name);
        }
    }
}
