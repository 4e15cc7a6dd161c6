//! Quoting and the few helpers that every statement needs.

use crate::{Ident, TableName};

/// An identifier in double quotes.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text literal in single quotes.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// `"a", "b"`.
pub(super) fn list<I>(names: I) -> String
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    names.into_iter().map(|name| quoted(name.as_ref())).collect::<Vec<_>>().join(", ")
}

/// An identifier as a person would write it: quoted only where it has to be.
pub(super) fn readable(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !RESERVED.contains(&name);
    if plain { name.to_owned() } else { quoted(name) }
}

/// A configured table name as a person would write it.
pub(super) fn readable_table(table: &TableName) -> String {
    let part = |ident: &Ident| readable(&ident.folded());
    match &table.schema {
        Some(schema) => format!("{}.{}", part(schema), part(&table.name)),
        None => part(&table.name),
    }
}

/// Words that DuckDB does not take as a column or table name without quotes.
const RESERVED: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "constraint",
    "create",
    "default",
    "deferrable",
    "desc",
    "describe",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "foreign",
    "from",
    "group",
    "having",
    "in",
    "initially",
    "intersect",
    "into",
    "lambda",
    "lateral",
    "leading",
    "limit",
    "not",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "pivot",
    "pivot_longer",
    "pivot_wider",
    "placing",
    "primary",
    "qualify",
    "references",
    "returning",
    "select",
    "show",
    "some",
    "summarize",
    "symmetric",
    "table",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "unpivot",
    "using",
    "variadic",
    "when",
    "where",
    "window",
    "with",
    // Names of types and functions: a column may bear them, but a reader stumbles.
    "anti",
    "asof",
    "at",
    "authorization",
    "binary",
    "by",
    "collation",
    "concurrently",
    "cross",
    "freeze",
    "full",
    "generated",
    "glob",
    "ilike",
    "inner",
    "is",
    "isnull",
    "join",
    "left",
    "like",
    "map",
    "natural",
    "notnull",
    "outer",
    "overlaps",
    "positional",
    "right",
    "semi",
    "similar",
    "struct",
    "tablesample",
    "try_cast",
    "unpack",
    "verbose",
];

/// The name of `names` that is most like `wanted`, if one is like it at all.
pub(super) fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = wanted.to_lowercase();
    names
        .into_iter()
        .map(|name| (distance(&wanted, &name.to_lowercase()), name))
        .min()
        .filter(|(distance, _)| *distance <= 1 + wanted.chars().count() / 3)
        .map(|(_, name)| name)
}

/// Edits that turn one text into the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// The rows of a query as texts.
pub(super) fn texts(connection: &duckdb::Connection, sql: &str) -> duckdb::Result<Vec<Vec<Option<String>>>> {
    let columns = connection
        .prepare(&format!("DESCRIBE {sql}"))?
        .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?
        .collect::<duckdb::Result<Vec<_>>>()?;
    let text = |(name, ty): &(String, String)| match ty.as_str() {
        "BLOB" => format!("lower(hex({}))", quoted(name)),
        "TIMESTAMP WITH TIME ZONE" => {
            format!("CAST(make_timestamp(epoch_us({})) AS VARCHAR) || '+00'", quoted(name))
        }
        _ => format!("CAST({} AS VARCHAR)", quoted(name)),
    };
    let select: Vec<String> = columns.iter().map(text).collect();
    connection
        .prepare(&format!("SELECT {} FROM ({sql})", select.join(", ")))?
        .query_map([], |row| (0..columns.len()).map(|index| row.get(index)).collect())?
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_inside_a_name_are_doubled() {
        assert_eq!(quoted(r#"a"b"#), r#""a""b""#);
        assert_eq!(literal("it's"), "'it''s'");
    }

    #[test]
    fn only_names_that_need_it_are_quoted_for_people() {
        assert_eq!(readable("passenger_id"), "passenger_id");
        assert_eq!(readable("PassengerId"), "\"PassengerId\"");
        assert_eq!(readable("order"), "\"order\"");
        assert_eq!(readable_table(&"Sales.\"Order Lines\"".parse().unwrap()), "sales.\"Order Lines\"");
    }

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        assert_eq!(nearest("titanik", ["orders", "titanic"]), Some("titanic"));
        assert_eq!(nearest("Orders", ["orders"]), Some("orders"));
        assert_eq!(nearest("invoice", ["orders", "titanic"]), None);
    }
}
