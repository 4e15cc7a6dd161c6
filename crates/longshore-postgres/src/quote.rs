//! Names and texts inside SQL, where no parameter can stand.
//!
//! A zero byte cannot stand in SQL at all: the client refuses a statement that has one before it
//! sends anything.

/// A name in double quotes: `sales"2` becomes `"sales""2"`.
pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in single quotes: `it's` becomes `'it''s'`. With a backslash in it, it is written as `E'…'`,
/// so that it means the same whatever `standard_conforming_strings` is.
pub fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled_and_backslashes_escaped() {
        assert_eq!(ident("orders"), r#""orders""#);
        assert_eq!(ident(r#"a"b.c\"#), r#""a""b.c\""#);
        assert_eq!(literal(""), "''");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"C:\it's"), r"E'C:\\it''s'");
    }
}
