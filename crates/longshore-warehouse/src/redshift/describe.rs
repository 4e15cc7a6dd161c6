//! What Redshift's catalog says about a table.
//!
//! `svv_columns` gives names, order, defaults and lengths; `pg_table_def` the keys by which rows are
//! distributed and sorted, and knows ordinary tables only. Primary and foreign keys are left out: the server
//! enforces none, so nothing may rely on them.

use std::collections::HashMap;

use tokio_postgres::SimpleQueryRow;

use super::columns::{self, Kind as Type};
use super::quote::{ident, literal, resolved, table};
use crate::session::{Answer, Session};
use crate::{Column, Kind, QualifiedName, Table, TableName, WarehouseError, sql};

/// A table, with what a load has to know beyond [`Table`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) table: Table,
    /// As long as `table.columns`.
    pub(super) details: Vec<Detail>,
}

/// A column, beyond [`Column`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Detail {
    pub(super) kind: Type,
    /// Whether rows are distributed by it.
    pub(super) is_distkey: bool,
    /// Its place among those by which rows are sorted, 1 the first; 0 for none, negative in an interleaved key.
    pub(super) sort: i32,
    /// The server numbers it, and takes no value.
    pub(super) is_always_identity: bool,
}

impl Described {
    /// The quoted name for a statement.
    pub(super) fn sql(&self) -> String {
        table(&self.table.name)
    }

    /// The column by which rows are distributed.
    pub(super) fn distkey(&self) -> Option<usize> {
        self.details.iter().position(|detail| detail.is_distkey)
    }

    /// Names of the columns by which rows are sorted, in their order.
    pub(super) fn sortkey(&self) -> Vec<&str> {
        let mut sorted: Vec<(i32, &str)> = self
            .details
            .iter()
            .zip(&self.table.columns)
            .filter(|(detail, _)| detail.sort != 0)
            .map(|(detail, column)| (detail.sort.abs(), column.name.as_str()))
            .collect();
        sorted.sort_unstable();
        sorted.into_iter().map(|(_, name)| name).collect()
    }
}

/// The columns of a table.
pub(super) fn columns_sql(name: &QualifiedName) -> String {
    format!(
        "SELECT column_name, column_default, is_nullable, data_type, character_maximum_length, numeric_precision, \
         numeric_scale FROM svv_columns WHERE table_schema = {} AND table_name = {} ORDER BY ordinal_position",
        literal(&name.schema),
        literal(&name.name)
    )
}

/// Lets `pg_table_def` see a schema.
pub(super) fn path_sql(schema: &str) -> String {
    format!("SET search_path TO {}", ident(schema))
}

/// The keys of a table.
pub(super) fn keys_sql(name: &QualifiedName) -> String {
    format!(
        "SELECT \"column\", type, distkey, sortkey, \"notnull\" FROM pg_table_def WHERE schemaname = {} AND tablename = {}",
        literal(&name.schema),
        literal(&name.name)
    )
}

/// Describes a table.
pub(super) async fn describe(session: &Session, name: &TableName) -> Result<Described, WarehouseError> {
    let doing = || format!("describing `{name}`");
    let qualified = resolved(name);
    let found = session.ask(&columns_sql(&qualified), doing).await?;
    if rows(&found).is_empty() {
        return Err(missing(session, name, &qualified).await?);
    }
    session.ask(&path_sql(&qualified.schema), doing).await?;
    let keys = session.ask(&keys_sql(&qualified), doing).await?;
    if rows(&keys).is_empty()
        && let Some(denied) = without_schema(session, name, &qualified.schema).await?
    {
        return Err(denied);
    }
    let cells = |row: &SimpleQueryRow| (0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect::<Vec<_>>();
    let found: Vec<Vec<Option<String>>> = rows(&found).iter().map(cells).collect();
    let keys: Vec<Vec<Option<String>>> = rows(&keys).iter().map(cells).collect();
    described(name, qualified, &found, &keys)
}

/// The error where this user may not use the schema of a table: then `pg_table_def` does not show it.
async fn without_schema(
    session: &Session,
    name: &TableName,
    schema: &str,
) -> Result<Option<WarehouseError>, WarehouseError> {
    // Here a name stands as it is, without quotes.
    let usage = format!("SELECT has_schema_privilege({}, 'usage')", literal(schema));
    let answers = session.ask(&usage, || format!("looking at the rights on the schema of `{name}`")).await?;
    if answers.first().and_then(Answer::value).is_none_or(is_true) {
        return Ok(None);
    }
    let cure = format!("GRANT USAGE ON SCHEMA {} TO {}", ident(schema), super::user(session).await?);
    let text = format!("this user may not use the schema of `{name}`");
    Ok(Some(WarehouseError::new(Kind::AccessDenied, text).cure(cure)))
}

fn rows(answers: &[Answer]) -> &[SimpleQueryRow] {
    answers.first().map(|answer| answer.rows.as_slice()).unwrap_or_default()
}

/// What rows of [`columns_sql`] and [`keys_sql`] say.
fn described(
    name: &TableName,
    qualified: QualifiedName,
    found: &[Vec<Option<String>>],
    keys: &[Vec<Option<String>>],
) -> Result<Described, WarehouseError> {
    if keys.is_empty() {
        return Err(WarehouseError::new(
            Kind::Unsupported,
            format!("`{name}` is a view, an external table or one of another database, and rows can only be loaded into a table"),
        )
        .cure("name a table of this database in the pipeline's `table`"));
    }
    let keys: HashMap<&str, &Vec<Option<String>>> =
        keys.iter().filter_map(|row| Some((row.first()?.as_deref()?, row))).collect();
    let mut described = Described {
        table: Table {
            name: qualified,
            columns: Vec::with_capacity(found.len()),
            unique_keys: Vec::new(),
            referenced_by: Vec::new(),
            row_triggers: Vec::new(),
        },
        details: Vec::with_capacity(found.len()),
    };
    for row in found {
        let text = |at: usize| row.get(at).and_then(|cell| cell.as_deref());
        let column_name = text(0).unwrap_or_default();
        let key = keys.get(column_name);
        let of_key = |at: usize| key.and_then(|row| row.get(at)).and_then(|cell| cell.as_deref());
        let spelled = of_key(1).map_or_else(|| spelled(&text), str::to_owned);
        let kind = columns::kind(&spelled);
        let numbering = Numbering::of(text(1));
        let nullable = text(2).is_none_or(|word| !word.eq_ignore_ascii_case("no")) && !of_key(4).is_some_and(is_true);
        described.table.columns.push(Column {
            name: column_name.to_owned(),
            ty: kind.ty.clone(),
            type_sql: spelled,
            nullable,
            default: text(1).filter(|_| numbering == Numbering::None).map(str::to_owned),
            identity: numbering != Numbering::None,
            generated: false,
            bound: kind.bound,
        });
        described.details.push(Detail {
            kind,
            is_distkey: of_key(2).is_some_and(is_true),
            sort: of_key(3).and_then(|number| number.parse().ok()).unwrap_or_default(),
            is_always_identity: numbering == Numbering::Always,
        });
    }
    Ok(described)
}

/// Whether a boolean is true, in the words of a table or of the leader node.
pub(super) fn is_true(word: &str) -> bool {
    matches!(word, "t" | "true" | "1")
}

/// The type of a column that `pg_table_def` does not show, as it would.
fn spelled<'a>(text: &impl Fn(usize) -> Option<&'a str>) -> String {
    let name = text(3).unwrap_or_default();
    match (text(4), text(5), text(6)) {
        (Some(length), ..) => format!("{name}({length})"),
        (None, Some(precision), Some(scale)) if matches!(name, "numeric" | "decimal") => {
            format!("{name}({precision},{scale})")
        }
        _ => name.to_owned(),
    }
}

/// How the server numbers a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Numbering {
    None,
    /// Where no value is given.
    ByDefault,
    Always,
}

impl Numbering {
    /// The catalog shows `"identity"(141349, 0, '1,1'::text)` for a default.
    fn of(default: Option<&str>) -> Self {
        let plain = default.unwrap_or_default().replace('"', "").to_ascii_lowercase();
        match plain.find("identity(") {
            None => Self::None,
            Some(at) if plain[..at].ends_with("default_") => Self::ByDefault,
            Some(_) => Self::Always,
        }
    }
}

/// The error for a table that is not there, with what was meant.
async fn missing(session: &Session, name: &TableName, at: &QualifiedName) -> Result<WarehouseError, WarehouseError> {
    let error =
        WarehouseError::new(Kind::Missing, format!("the table `{name}` does not exist, or this user may not see it"));
    let doing = || format!("looking for tables like `{name}`");
    let names = |answers: &[Answer]| -> Vec<String> {
        rows(answers).iter().filter_map(|row| row.get(0).map(str::to_owned)).collect()
    };
    let beside = names(&session.ask(&beside_sql(at), doing).await?);
    if let Some(nearest) = sql::nearest(&at.name, beside.iter().map(String::as_str)) {
        let nearest = sql::readable(nearest);
        return Ok(error.cure(format!("create it, or write `{nearest}`, which exists, in the pipeline's `table`")));
    }
    let schemas = names(&session.ask(&elsewhere_sql(at), doing).await?);
    if let Some(schema) = schemas.first() {
        let elsewhere = format!("{}.{}", sql::readable(schema), sql::readable(&at.name));
        return Ok(error.cure(format!("write `{elsewhere}`, which exists, in the pipeline's `table`")));
    }
    Ok(error.cure(
        "create it (`longshore init` proposes a statement), correct the pipeline's `table`, or let its owner GRANT this \
         user the rights that loading needs",
    ))
}

/// The tables of a schema.
pub(super) fn beside_sql(name: &QualifiedName) -> String {
    format!("SELECT DISTINCT table_name FROM svv_columns WHERE table_schema = {} ORDER BY 1", literal(&name.schema))
}

/// The schemas with a table of this name.
pub(super) fn elsewhere_sql(name: &QualifiedName) -> String {
    format!("SELECT DISTINCT table_schema FROM svv_columns WHERE table_name = {} ORDER BY 1", literal(&name.name))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{ColumnType, LengthUnit};

    /// A table from rows of both catalogs, cells between bars, an empty one for NULL.
    pub(in super::super) fn table_of(name: &str, found: &[&str], keys: &[&str]) -> Result<Described, WarehouseError> {
        let cells = |rows: &[&str]| -> Vec<Vec<Option<String>>> {
            let cell = |cell: &str| (!cell.is_empty()).then(|| cell.to_owned());
            rows.iter().map(|row| row.split('|').map(cell).collect()).collect()
        };
        let name: TableName = name.parse().unwrap();
        described(&name, resolved(&name), &cells(found), &cells(keys))
    }

    #[test]
    fn both_catalogs_make_a_table() {
        let described = table_of(
            "Sales.Orders",
            &[
                "id||NO|bigint|||64|0",
                "no|\"identity\"(141349, 1, '1,1'::text)|NO|bigint|||64|0",
                "nr|\"default_identity\"(141349, 2, '1,1'::text)|NO|bigint|||64|0",
                "name|'nobody'::character varying|YES|character varying|128||",
                "total||YES|numeric||8|2",
            ],
            &["id|bigint|t|2|t", "no|bigint|f|0|t", "nr|bigint|f|0|t", "name|character varying(128)|f|1|f"],
        )
        .unwrap();
        assert_eq!(described.table.name, QualifiedName::new("sales", "orders"));
        assert_eq!((described.distkey(), described.sortkey()), (Some(0), vec!["name", "id"]));
        let [id, no, nr, name, total] = &described.table.columns[..] else { panic!("{described:?}") };
        assert!(!id.nullable && id.default.is_none() && !id.identity);
        assert!(no.identity && no.default.is_none() && described.details[1].is_always_identity);
        assert!(nr.identity && !described.details[2].is_always_identity);
        assert_eq!(name.default.as_deref(), Some("'nobody'::character varying"));
        assert_eq!(name.ty, ColumnType::Varchar { length: 128, unit: LengthUnit::Bytes });
        // Not in pg_table_def: the other catalog has to do.
        assert_eq!((total.type_sql.as_str(), total.nullable), ("numeric(8,2)", true));
    }

    #[test]
    fn what_is_no_table_is_refused() {
        let error = table_of("v", &["id||YES|bigint|||"], &[]).unwrap_err();
        assert_eq!(*error.kind(), Kind::Unsupported);
    }

    #[test]
    fn the_catalog_is_asked_by_folded_names() {
        let name = resolved(&"Sales.\"Order's\"".parse().unwrap());
        assert!(
            columns_sql(&name)
                .ends_with("WHERE table_schema = 'sales' AND table_name = 'order''s' ORDER BY ordinal_position")
        );
        assert_eq!(path_sql("sales"), "SET search_path TO \"sales\"");
    }
}
