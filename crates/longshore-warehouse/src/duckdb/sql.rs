//! Quoting and the few helpers that every statement needs.

pub(super) use crate::sql::nearest;

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
}
