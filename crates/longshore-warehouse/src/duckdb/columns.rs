//! What DuckDB's catalog says about a table, and how each of its columns is carried into it.

use duckdb::types::Value;
use duckdb::{Connection, params};

use super::error::During;
use super::sql::{self, quoted};
use super::vectors::Physical;
use crate::{Column, ColumnType, Kind, QualifiedName, Table, TableName, WarehouseError};

/// A table, with what a load has to know beyond [`Table`].
#[derive(Debug, Clone)]
pub(super) struct Described {
    pub(super) table: Table,
    /// Schema and name as the catalog spells them.
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) checks: Vec<Check>,
}

/// A constraint that only DuckDB can check, beyond NOT NULL and unique keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    /// As the catalog prints it.
    pub(super) text: String,
    /// Columns it looks at.
    pub(super) columns: Vec<String>,
}

impl Described {
    /// The quoted name for a statement.
    pub(super) fn sql(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }
}

/// How a table is known to ledger and leases: DuckDB compares names without case, quoted or not.
pub(super) fn folded(table: &TableName) -> QualifiedName {
    let schema = table.schema.as_ref().map_or_else(|| "main".to_owned(), |schema| schema.text.to_lowercase());
    QualifiedName::new(schema, table.name.text.to_lowercase())
}

/// Describes a table of the database file.
pub(super) fn describe(connection: &Connection, table: &TableName) -> Result<Described, WarehouseError> {
    let wanted = folded(table);
    let doing = || format!("describing `{table}`");
    let mut found = connection
        .prepare(
            "SELECT schema_name, table_name FROM duckdb_tables()
             WHERE database_name = current_database() AND NOT temporary
               AND lower(schema_name) = lower(?) AND lower(table_name) = lower(?)",
        )
        .during(doing)?;
    let mut rows = found.query(params![wanted.schema, wanted.name]).during(doing)?;
    let Some(row) = rows.next().during(doing)? else {
        return Err(missing(connection, table, &wanted));
    };
    let schema: String = row.get(0).during(doing)?;
    let name: String = row.get(1).during(doing)?;
    let mut described = Described {
        table: Table {
            name: QualifiedName::new(schema.to_lowercase(), name.to_lowercase()),
            columns: columns(connection, &schema, &name).during(doing)?,
            unique_keys: Vec::new(),
            referenced_by: referenced_by(connection, &name).during(doing)?,
            // DuckDB has no triggers.
            row_triggers: Vec::new(),
        },
        schema,
        name,
        checks: Vec::new(),
    };
    constraints(connection, &mut described).during(doing)?;
    unique_indexes(connection, &mut described).during(doing)?;
    Ok(described)
}

fn missing(connection: &Connection, table: &TableName, wanted: &QualifiedName) -> WarehouseError {
    let views = names(
        connection,
        "SELECT view_name FROM duckdb_views() WHERE database_name = current_database() AND lower(schema_name) = lower(?)",
        &wanted.schema,
    );
    if views.iter().any(|view| view.to_lowercase() == wanted.name) {
        return WarehouseError::new(
            Kind::Unsupported,
            format!("`{table}` is a view, and rows can only be loaded into a table"),
        )
        .cure("name the table behind the view in the pipeline's `table`");
    }
    let attached = names(
        connection,
        "SELECT database_name FROM duckdb_databases() WHERE NOT internal AND database_name <> current_database() AND ? <> ''",
        &wanted.schema,
    );
    if attached.iter().any(|name| name.to_lowercase() == wanted.schema) {
        return WarehouseError::new(Kind::Unsupported, format!("`{table}` lies in an attached database"))
            .cure("let `[warehouse] url` name the file of that database");
    }
    let tables = names(
        connection,
        "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database() AND NOT temporary AND lower(schema_name) = lower(?)",
        &wanted.schema,
    );
    let error = WarehouseError::new(Kind::Missing, format!("the table `{table}` does not exist"));
    if let Some(name) = sql::nearest(&wanted.name, tables.iter().map(String::as_str)) {
        return error.cure(format!("create it, or write `{name}`, which exists, in the pipeline's `table`"));
    }
    let schemas = names(
        connection,
        "SELECT schema_name FROM duckdb_schemas() WHERE database_name = current_database() AND ? <> ''",
        &wanted.schema,
    );
    if !schemas.iter().any(|schema| schema.to_lowercase() == wanted.schema) {
        return error
            .cure(format!("create the schema `{}` and the table, or correct the pipeline's `table`", wanted.schema));
    }
    error.cure("create it (`longshore init` proposes a statement), or correct the pipeline's `table`")
}

/// Names for a hint; none where even that fails.
fn names(connection: &Connection, sql: &str, parameter: &str) -> Vec<String> {
    let read = || -> duckdb::Result<Vec<String>> {
        connection.prepare(sql)?.query_map(params![parameter], |row| row.get(0))?.collect()
    };
    read().unwrap_or_default()
}

fn columns(connection: &Connection, schema: &str, name: &str) -> duckdb::Result<Vec<Column>> {
    let mut columns = connection
        .prepare(
            "SELECT column_name, data_type, is_nullable, column_default FROM duckdb_columns()
             WHERE database_name = current_database() AND schema_name = ? AND table_name = ? ORDER BY column_index",
        )?
        .query_map(params![schema, name], |row| {
            let type_sql: String = row.get(1)?;
            Ok(Column {
                name: row.get(0)?,
                ty: column_type(&type_sql),
                type_sql,
                nullable: row.get(2)?,
                default: row.get(3)?,
                identity: false,
                generated: false,
                bound: None,
            })
        })?
        .collect::<duckdb::Result<Vec<_>>>()?;
    for column in columns.iter_mut().filter(|column| column.default.is_some()) {
        column.generated = is_generated(connection, schema, name, &column.name);
        if column.generated {
            column.default = None;
        }
    }
    Ok(columns)
}

/// The catalog gives the expression of a generated column as its default and no other sign, so the
/// binder is asked: it refuses an INSERT into such a column. Nothing is executed.
fn is_generated(connection: &Connection, schema: &str, name: &str, column: &str) -> bool {
    let insert =
        format!("INSERT INTO {}.{} ({}) SELECT NULL WHERE false", quoted(schema), quoted(name), quoted(column));
    connection.prepare(&insert).is_err_and(|error| error.to_string().contains("generated column"))
}

fn referenced_by(connection: &Connection, name: &str) -> duckdb::Result<Vec<String>> {
    connection
        .prepare(
            "SELECT DISTINCT table_name FROM duckdb_constraints()
             WHERE database_name = current_database() AND constraint_type = 'FOREIGN KEY'
               AND lower(referenced_table) = lower(?) ORDER BY 1",
        )?
        .query_map(params![name], |row| row.get(0))?
        .collect()
}

fn constraints(connection: &Connection, described: &mut Described) -> duckdb::Result<()> {
    let mut statement = connection.prepare(
        "SELECT constraint_type, constraint_text, constraint_column_names FROM duckdb_constraints()
         WHERE database_name = current_database() AND schema_name = ? AND table_name = ? ORDER BY constraint_index",
    )?;
    let mut rows = statement.query(params![described.schema, described.name])?;
    while let Some(row) = rows.next()? {
        let ty: String = row.get(0)?;
        let text: String = row.get(1)?;
        let columns = texts(row.get(2)?);
        match ty.as_str() {
            "PRIMARY KEY" | "UNIQUE" => described.table.unique_keys.push(columns),
            "NOT NULL" => {}
            _ => described.checks.push(Check { text, columns }),
        }
    }
    Ok(())
}

fn texts(value: Value) -> Vec<String> {
    let Value::List(items) = value else {
        return Vec::new();
    };
    items
        .into_iter()
        .filter_map(|item| match item {
            Value::Text(text) => Some(text),
            _ => None,
        })
        .collect()
}

/// Unique indexes made by CREATE UNIQUE INDEX. One on an expression has no column set, but is kept
/// as an empty one, so that rows are staged for it.
fn unique_indexes(connection: &Connection, described: &mut Described) -> duckdb::Result<()> {
    let mut statement = connection.prepare(
        "SELECT expressions FROM duckdb_indexes()
         WHERE database_name = current_database() AND schema_name = ? AND table_name = ? AND is_unique",
    )?;
    let mut rows = statement.query(params![described.schema, described.name])?;
    while let Some(row) = rows.next()? {
        let expressions: Option<String> = row.get(0)?;
        let text = expressions.unwrap_or_default();
        let inner = text.trim_start_matches('[').trim_end_matches(']');
        let parts: Vec<String> =
            inner.split(", ").map(|part| part.trim_matches('\'').trim_matches('"').replace("\"\"", "\"")).collect();
        let names = |part: &String| {
            described.table.columns.iter().find(|c| c.name.eq_ignore_ascii_case(part)).map(|c| c.name.clone())
        };
        let key = parts.iter().map(names).collect::<Option<Vec<_>>>();
        match key {
            Some(columns) => described.table.unique_keys.push(columns),
            None => described.checks.push(Check { text: format!("UNIQUE {text}"), columns: Vec::new() }),
        }
    }
    Ok(())
}

/// What Longshore makes of a type.
pub(super) fn column_type(type_sql: &str) -> ColumnType {
    match type_sql {
        "BOOLEAN" => ColumnType::Boolean,
        "TINYINT" => ColumnType::Int8,
        "SMALLINT" => ColumnType::Int16,
        "INTEGER" => ColumnType::Int32,
        "BIGINT" => ColumnType::Int64,
        "UTINYINT" => ColumnType::UInt8,
        "USMALLINT" => ColumnType::UInt16,
        "UINTEGER" => ColumnType::UInt32,
        "UBIGINT" => ColumnType::UInt64,
        "FLOAT" => ColumnType::Float32,
        "DOUBLE" => ColumnType::Float64,
        "VARCHAR" => ColumnType::Text,
        "DATE" => ColumnType::Date,
        "TIME" => ColumnType::Time,
        "TIMESTAMP" | "TIMESTAMP_S" | "TIMESTAMP_MS" | "TIMESTAMP_NS" => ColumnType::Timestamp,
        "TIMESTAMP WITH TIME ZONE" => ColumnType::TimestampTz,
        "UUID" => ColumnType::Uuid,
        "JSON" => ColumnType::Json,
        "BLOB" => ColumnType::Bytes,
        _ => decimal(type_sql).or_else(|| labels(type_sql).map(ColumnType::Enum)).unwrap_or(ColumnType::Other),
    }
}

fn decimal(type_sql: &str) -> Option<ColumnType> {
    let (precision, scale) = type_sql.strip_prefix("DECIMAL(")?.strip_suffix(')')?.split_once(',')?;
    Some(ColumnType::Decimal { precision: precision.trim().parse().ok()?, scale: scale.trim().parse().ok()? })
}

/// The labels in `ENUM('a', 'it''s')`.
fn labels(type_sql: &str) -> Option<Vec<String>> {
    let mut rest = type_sql.strip_prefix("ENUM(")?.strip_suffix(')')?;
    let mut labels = Vec::new();
    loop {
        let mut label = String::new();
        rest = rest.strip_prefix('\'')?;
        loop {
            let end = rest.find('\'')?;
            label.push_str(&rest[..end]);
            rest = &rest[end + 1..];
            match rest.strip_prefix('\'') {
                Some(tail) => {
                    label.push('\'');
                    rest = tail;
                }
                None => break,
            }
        }
        labels.push(label);
        if rest.is_empty() {
            return Some(labels);
        }
        rest = rest.strip_prefix(", ")?;
    }
}

/// The type for a column that `init` proposes.
pub(super) fn type_sql(ty: &ColumnType) -> String {
    match ty {
        ColumnType::Boolean => "BOOLEAN".to_owned(),
        ColumnType::Int8 => "TINYINT".to_owned(),
        ColumnType::Int16 => "SMALLINT".to_owned(),
        ColumnType::Int32 => "INTEGER".to_owned(),
        ColumnType::Int64 => "BIGINT".to_owned(),
        ColumnType::UInt8 => "UTINYINT".to_owned(),
        ColumnType::UInt16 => "USMALLINT".to_owned(),
        ColumnType::UInt32 => "UINTEGER".to_owned(),
        ColumnType::UInt64 => "UBIGINT".to_owned(),
        ColumnType::Decimal { precision, scale } => format!("DECIMAL({precision}, {scale})"),
        ColumnType::Float32 => "FLOAT".to_owned(),
        ColumnType::Float64 => "DOUBLE".to_owned(),
        ColumnType::Date => "DATE".to_owned(),
        ColumnType::Time => "TIME".to_owned(),
        ColumnType::Timestamp => "TIMESTAMP".to_owned(),
        ColumnType::TimestampTz => "TIMESTAMPTZ".to_owned(),
        ColumnType::Uuid => "UUID".to_owned(),
        ColumnType::Json => "JSON".to_owned(),
        ColumnType::Bytes => "BLOB".to_owned(),
        ColumnType::Enum(labels) => {
            format!("ENUM ({})", labels.iter().map(|label| sql::literal(label)).collect::<Vec<_>>().join(", "))
        }
        // DuckDB keeps no length, so none is promised.
        ColumnType::Char { .. } | ColumnType::Varchar { .. } | ColumnType::Text | ColumnType::Other => {
            "VARCHAR".to_owned()
        }
    }
}

/// How a column gets from batch to table.
#[derive(Debug, Clone)]
pub(super) struct Carrier {
    pub(super) column: Column,
    pub(super) physical: Physical,
    /// The type in the staging table where it is not the column's own; DuckDB casts it on the way
    /// into the target, and that cast may fail.
    pub(super) staged_as: Option<&'static str>,
    guard: Guard,
}

/// A time of day, then `Z` or an offset, as [`Guard::TimeTz`] lets it through.
const TIME_TZ: &str =
    r"\s*[0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?\s*(Z|[+-][0-9]{2}(:?[0-9]{2}(:?[0-9]{2})?)?)?\s*";

/// Numbers with units, then a time of day, as [`Guard::Interval`] lets it through.
const INTERVAL: &str = concat!(
    r"\s*([+-]?[0-9]+\s*(microseconds?|milliseconds?|seconds?|minutes?|hours?|days?|weeks?|months?|quarters?|years?",
    r"|us|ms|s|m|h|d|w|mon|mons|y|yr|yrs)\b,?\s*)*([+-]?[0-9]+:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?\s*)?"
);

/// What has to hold besides a cast that succeeds, because DuckDB's cast rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guard {
    None,
    /// An integer without fraction or exponent.
    Integer,
    /// A time of day with an offset, microseconds at most: DuckDB takes days and words too, and drops
    /// what it does not need.
    TimeTz,
    /// Whole numbers with units and a time of day, microseconds at most: DuckDB guesses at the rest.
    Interval,
    /// A timestamp that comes back from the coarser type as it was.
    SameTimestamp,
    /// A timestamp that nanoseconds in 64 bits reach.
    Nanoseconds,
}

impl Carrier {
    pub(super) fn new(column: Column) -> Self {
        let (physical, staged_as, guard) = match &column.ty {
            ColumnType::Boolean => (Physical::Boolean, None, Guard::None),
            ColumnType::Int8 => (Physical::Int8, None, Guard::None),
            ColumnType::Int16 => (Physical::Int16, None, Guard::None),
            ColumnType::Int32 => (Physical::Int32, None, Guard::None),
            ColumnType::Int64 => (Physical::Int64, None, Guard::None),
            ColumnType::UInt8 => (Physical::UInt8, None, Guard::None),
            ColumnType::UInt16 => (Physical::UInt16, None, Guard::None),
            ColumnType::UInt32 => (Physical::UInt32, None, Guard::None),
            ColumnType::UInt64 => (Physical::UInt64, None, Guard::None),
            ColumnType::Float32 => (Physical::Float32, None, Guard::None),
            ColumnType::Float64 => (Physical::Float64, None, Guard::None),
            ColumnType::Decimal { precision, scale } => {
                (Physical::Decimal { precision: *precision, scale: *scale }, None, Guard::None)
            }
            ColumnType::Date => (Physical::Date, None, Guard::None),
            ColumnType::Time => (Physical::Time, None, Guard::None),
            ColumnType::Timestamp if column.type_sql == "TIMESTAMP" => (Physical::Timestamp, None, Guard::None),
            ColumnType::Timestamp if column.type_sql == "TIMESTAMP_NS" => {
                (Physical::Timestamp, Some("TIMESTAMP"), Guard::Nanoseconds)
            }
            ColumnType::Timestamp => (Physical::Timestamp, Some("TIMESTAMP"), Guard::SameTimestamp),
            ColumnType::TimestampTz => (Physical::TimestampTz, None, Guard::None),
            ColumnType::Uuid => (Physical::Uuid, None, Guard::None),
            ColumnType::Bytes => (Physical::Bytes, None, Guard::None),
            // The labels are checked before they are queued, so the cast cannot fail.
            ColumnType::Text | ColumnType::Char { .. } | ColumnType::Varchar { .. } | ColumnType::Enum(_) => {
                (Physical::Text, None, Guard::None)
            }
            ColumnType::Json => (Physical::Text, Some("VARCHAR"), Guard::None),
            ColumnType::Other => {
                let guard = match column.type_sql.as_str() {
                    "HUGEINT" | "UHUGEINT" | "BIGNUM" => Guard::Integer,
                    "TIME WITH TIME ZONE" => Guard::TimeTz,
                    "INTERVAL" => Guard::Interval,
                    _ => Guard::None,
                };
                (Physical::Text, Some("VARCHAR"), guard)
            }
        };
        Self { column, physical, staged_as, guard }
    }

    /// Whether only DuckDB can say that a value fits.
    pub(super) const fn is_checked_by_server(&self) -> bool {
        self.staged_as.is_some()
    }

    /// Whether values have to be looked at before the merge, because a cast would change them
    /// without an error.
    pub(super) fn has_guard(&self) -> bool {
        self.guard != Guard::None
    }

    /// The column's value, from an expression for the staged one.
    pub(super) fn value(&self, staged: &str) -> String {
        if self.is_checked_by_server() {
            format!("CAST({staged} AS {})", self.column.type_sql)
        } else {
            staged.to_owned()
        }
    }

    /// Whether a staged value does not fit, as an expression.
    pub(super) fn misfit(&self, staged: &str) -> String {
        let ty = &self.column.type_sql;
        let no_cast = format!("TRY_CAST({staged} AS {ty}) IS NULL");
        let misfit = match self.guard {
            Guard::None => no_cast,
            Guard::Integer => {
                format!(r"{no_cast} OR NOT regexp_full_match({staged}, '\s*[+-]?[0-9]+\s*')")
            }
            Guard::TimeTz => format!("{no_cast} OR NOT regexp_full_match({staged}, '{TIME_TZ}')"),
            Guard::Interval => format!("{no_cast} OR NOT regexp_full_match({staged}, '{INTERVAL}', 'i')"),
            Guard::SameTimestamp => {
                format!("TRY_CAST(TRY_CAST({staged} AS {ty}) AS TIMESTAMP) IS DISTINCT FROM {staged}")
            }
            // TRY_CAST fails here instead of answering NULL.
            Guard::Nanoseconds => {
                let reach = i64::MAX / 1000;
                format!("epoch_us({staged}) NOT BETWEEN -{reach} AND {reach}")
            }
        };
        format!("({staged} IS NOT NULL AND ({misfit}))")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_recognised() {
        assert_eq!(column_type("DECIMAL(38,10)"), ColumnType::Decimal { precision: 38, scale: 10 });
        assert_eq!(
            column_type("ENUM('a', 'it''s', 'x, y')"),
            ColumnType::Enum(vec!["a".into(), "it's".into(), "x, y".into()])
        );
        assert_eq!(column_type("TIMESTAMP WITH TIME ZONE"), ColumnType::TimestampTz);
        for other in
            ["HUGEINT", "INTEGER[]", "STRUCT(a INTEGER)", "INTERVAL", "DECIMAL(4,1)[]", "ENUM('a')[]", "TIME_NS"]
        {
            assert_eq!(column_type(other), ColumnType::Other, "{other}");
        }
    }
}
