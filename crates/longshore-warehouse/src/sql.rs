//! Names and statements as people write them, and the name that was meant.

use crate::{ColumnType, Ident, NewTable, TableName};

/// An identifier as a person would write it: quoted only where it has to be.
pub(crate) fn readable(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !RESERVED.contains(&name);
    if plain { name.to_owned() } else { longshore_postgres::quote::ident(name) }
}

/// A configured table name as a person would write it.
pub(crate) fn readable_table(table: &TableName) -> String {
    let part = |ident: &Ident| readable(&ident.folded());
    match &table.schema {
        Some(schema) => format!("{}.{}", part(schema), part(&table.name)),
        None => part(&table.name),
    }
}

/// The CREATE TABLE statement for a proposed table, its types written by `type_sql`.
pub(crate) fn create_table_sql(table: &NewTable, type_sql: impl Fn(&ColumnType) -> String) -> String {
    let width = table.columns.iter().map(|column| readable(&column.name).chars().count()).max().unwrap_or_default();
    let columns: Vec<String> = table
        .columns
        .iter()
        .map(|column| {
            let name = readable(&column.name);
            let null = if column.nullable { "" } else { " NOT NULL" };
            format!("    {name:width$} {}{null}", type_sql(&column.ty))
        })
        .collect();
    format!("CREATE TABLE {} (\n{}\n);", readable_table(&table.name), columns.join(",\n"))
}

/// Words that DuckDB or PostgreSQL does not take as a column or table name without quotes.
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
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
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
    "grant",
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
    "localtime",
    "localtimestamp",
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
    "session_user",
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
    "user",
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
pub(crate) fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
