//! Names and texts inside SQL, as Redshift reads them.

use crate::{Ident, QualifiedName, TableName};

/// The schema of a table that is named without one. Redshift would look along the role's search path,
/// and the ledger has to know a table by the same name whoever loads.
const USUAL_SCHEMA: &str = "public";

/// A name as the catalog spells it: letters of ASCII fold to lower case, in double quotes too.
pub(super) fn folded(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// A folded name in double quotes.
pub(super) fn ident(name: &str) -> String {
    longshore_postgres::quote::ident(&folded(name))
}

/// A text in single quotes. A backslash escapes in any literal here, so it is doubled as quotes are.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Schema and name in double quotes.
pub(super) fn table(name: &QualifiedName) -> String {
    format!("{}.{}", ident(&name.schema), ident(&name.name))
}

/// How catalog and ledger know a table, whether it exists or not.
pub(super) fn resolved(name: &TableName) -> QualifiedName {
    let part = |ident: &Ident| folded(&ident.text);
    QualifiedName::new(name.schema.as_ref().map_or_else(|| USUAL_SCHEMA.to_owned(), part), part(&name.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_double_quotes_and_backslashes() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"x\'; drop"), r"'x\\''; drop'");
        assert_eq!(literal(""), "''");
    }

    #[test]
    fn names_fold_in_quotes_too_and_only_in_ascii() {
        assert_eq!(ident("PassengerId"), "\"passengerid\"");
        assert_eq!(ident("a\"B Ü"), "\"a\"\"b Ü\"");
        assert_eq!(resolved(&"\"Orders\"".parse().unwrap()), QualifiedName::new("public", "orders"));
        assert_eq!(table(&resolved(&"Sales.Orders".parse().unwrap())), "\"sales\".\"orders\"");
    }
}
