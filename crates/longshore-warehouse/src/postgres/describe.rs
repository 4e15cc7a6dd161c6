//! What PostgreSQL's catalog says about a table. Two round trips: which table it is, then all about it; a third
//! for columns of types that are not PostgreSQL's own. A load begins with this, so what cannot be there is not
//! asked for.

use longshore_postgres::quote::{ident, literal};
use tokio_postgres::SimpleQueryRow;

use super::columns::{self, Wire};
use crate::session::{Answer, Session};
use crate::{Column, ColumnType, Ident, Kind, QualifiedName, Table, TableName, WarehouseError, sql};

/// A table, with what a load has to know beyond [`Table`].
#[derive(Debug, Clone)]
pub(super) struct Described {
    pub(super) table: Table,
    pub(super) oid: u32,
    /// As long as `table.columns`.
    pub(super) details: Vec<Detail>,
    /// Whether row-level security holds for this user.
    pub(super) is_guarded_by_row: bool,
    /// Whether nothing but an error can keep the table from taking a row as it is: no row trigger, no
    /// rule, no row-level security, and an ordinary or partitioned table.
    pub(super) is_plain: bool,
    /// An ordinary table: it has no partitions, and may have tables that inherit from it.
    pub(super) is_alone: bool,
    /// Tables whose rows vanish or change when one of this table is deleted.
    pub(super) cascades: Vec<String>,
    pub(super) rights: Rights,
}

/// A column, beyond [`Column`].
#[derive(Debug, Clone)]
pub(super) struct Detail {
    /// Type and collation for a staging table.
    pub(super) staged_as: String,
    pub(super) kind: columns::Kind,
    /// Quoted schema of the operators by which indexes order the type's values.
    pub(super) operators: String,
    /// An identity column that takes a value only when told to.
    pub(super) is_always_identity: bool,
}

/// What this user may do.
#[derive(Debug, Clone, Default)]
pub(super) struct Rights {
    pub(super) user: String,
    /// May use the schema of the table.
    pub(super) usage: bool,
    pub(super) select: bool,
    pub(super) insert: bool,
    pub(super) update: bool,
    pub(super) delete: bool,
    /// May create temporary tables in the database.
    pub(super) temporary: bool,
    /// Whether the server counts rows per transaction.
    pub(super) counts: bool,
    /// Nobody may write: the server is a standby, or set so.
    pub(super) read_only: bool,
}

impl Described {
    /// The quoted name for a statement.
    pub(super) fn sql(&self) -> String {
        quoted(&self.table.name)
    }

    /// The same where rows are read, changed or deleted: those of tables that inherit from this one are
    /// not its own. Those of partitions are.
    pub(super) fn rows_sql(&self) -> String {
        if self.is_alone { format!("ONLY {}", self.sql()) } else { self.sql() }
    }
}

/// Schema and name in double quotes.
pub(super) fn quoted(name: &QualifiedName) -> String {
    format!("{}.{}", ident(&name.schema), ident(&name.name))
}

/// An identifier as PostgreSQL folds it: ASCII only.
pub(super) fn folded(ident: &Ident) -> String {
    if ident.quoted { ident.text.clone() } else { ident.text.to_ascii_lowercase() }
}

/// The query that finds a table: oid, schema, kind, whether it may have indexes, whether it may have triggers.
pub(super) fn find_sql(table: &TableName) -> String {
    let name = literal(&folded(&table.name));
    let schemas = match &table.schema {
        Some(schema) => format!("(SELECT {} AS schema, 1 AS place)", literal(&folded(schema))),
        None => "unnest(pg_catalog.current_schemas(false)) WITH ORDINALITY".to_owned(),
    };
    format!(
        "SELECT c.oid, n.nspname, c.relkind, c.relhasindex, c.relhastriggers FROM {schemas} AS s (schema, place)
         JOIN pg_catalog.pg_namespace n ON n.nspname = s.schema
         JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = {name}
         WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm') ORDER BY s.place LIMIT 1"
    )
}

/// How ledger and leases know a table, whether it exists or not.
pub(super) async fn resolve(session: &Session, table: &TableName) -> Result<QualifiedName, WarehouseError> {
    let name = folded(&table.name);
    if let Some(schema) = &table.schema {
        return Ok(QualifiedName::new(folded(schema), name));
    }
    let sql = format!("{}; SELECT coalesce(pg_catalog.current_schema(), 'public')", find_sql(table));
    let answers = session.ask(&sql, || format!("looking for `{table}`")).await?;
    let found = answers.first().and_then(|answer| answer.rows.first()).and_then(|row| row.get(1));
    let schema = found.or_else(|| answers.get(1).and_then(Answer::value)).unwrap_or("public");
    Ok(QualifiedName::new(schema, name))
}

/// Describes a table that [`find_sql`] found, or did not.
pub(super) async fn describe(
    session: &Session,
    table: &TableName,
    found: Option<&Answer>,
) -> Result<Described, WarehouseError> {
    let Some(row) = found.and_then(|answer| answer.rows.first()) else {
        return Err(missing(session, table).await?);
    };
    let (oid, schema, kind) = (number(row, 0), text(row, 1), text(row, 2));
    if matches!(kind.as_str(), "v" | "m") {
        return Err(WarehouseError::new(
            Kind::Unsupported,
            format!("`{table}` is a view, and rows can only be loaded into a table"),
        )
        .cure("name the table behind the view in the pipeline's `table`"));
    }
    let doing = || format!("describing `{table}`");
    let may_have = May { indexes: flag(row, 3), triggers: flag(row, 4), partitions: kind == "p" };
    let answers = session.ask(&details_sql(oid, may_have), doing).await?;
    let [columns, keys, references, triggers, rights] = &answers[..] else {
        return Err(WarehouseError::new(Kind::Other, format!("{}: an answer is missing", doing())));
    };
    let dropped = || WarehouseError::new(Kind::Missing, format!("the table `{table}` was dropped just now"));
    let Some(of) = rights.rows.first() else { return Err(dropped()) };
    let is_guarded_by_row = flag(of, 0);
    let row_triggers: Vec<String> = triggers.rows.iter().map(|row| text(row, 0)).collect();
    let mut described = Described {
        is_plain: row_triggers.is_empty() && !is_guarded_by_row && kind != "f" && !flag(of, 10),
        is_alone: kind == "r",
        table: Table {
            name: QualifiedName::new(schema, folded(&table.name)),
            columns: Vec::with_capacity(columns.rows.len()),
            unique_keys: unique_keys(keys),
            referenced_by: references.rows.iter().map(|row| text(row, 0)).collect(),
            row_triggers,
        },
        oid,
        details: Vec::with_capacity(columns.rows.len()),
        is_guarded_by_row,
        // NO ACTION and RESTRICT only refuse.
        cascades: references
            .rows
            .iter()
            .filter(|row| !matches!(row.get(1), Some("a" | "r")))
            .map(|row| text(row, 0))
            .collect(),
        rights: Rights {
            select: flag(of, 1),
            insert: flag(of, 2),
            update: flag(of, 3),
            delete: flag(of, 4),
            temporary: flag(of, 5),
            counts: flag(of, 6),
            read_only: flag(of, 7),
            user: text(of, 8),
            usage: flag(of, 9),
        },
    };
    let special = match columns.rows.iter().any(|row| flag(row, IS_SPECIAL)) {
        true => session.ask(&special_columns_sql(oid), doing).await?,
        false => Vec::new(),
    };
    let columns = special.first().unwrap_or(columns);
    if columns.rows.is_empty() && !special.is_empty() {
        return Err(dropped());
    }
    let mut enums = Vec::new();
    for row in &columns.rows {
        let (column, detail, labels) = column(row);
        enums.extend(labels.map(|of| (described.table.columns.len(), of)));
        described.table.columns.push(column);
        described.details.push(detail);
    }
    if !enums.is_empty() {
        read_labels(session, &mut described, &enums).await?;
    }
    Ok(described)
}

/// What a table may have, as far as that is known before it is asked for.
#[derive(Debug, Clone, Copy)]
struct May {
    indexes: bool,
    /// A foreign key that points to a table is a trigger on it too.
    triggers: bool,
    /// Which may have triggers of their own.
    partitions: bool,
}

/// Place of what says, in a row of the columns, that the row is not enough.
const IS_SPECIAL: usize = 13;

/// Columns as [`special_columns_sql`] has them, where their types, their order and their collations are PostgreSQL's own.
fn columns_sql(oid: u32) -> String {
    format!(
        "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.atttypid, a.atttypmod, a.attnotnull,
                pg_catalog.pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated,
                t.typtype, t.typname, true, NULL, NULL,
                t.typtype = 'd' OR t.typnamespace <> 'pg_catalog'::regnamespace OR a.attcollation <> t.typcollation
                    OR t.oid IN (SELECT oc.opcintype FROM pg_catalog.pg_opclass oc WHERE oc.opcmethod = 403
                                 AND oc.opcdefault AND oc.opcnamespace <> 'pg_catalog'::regnamespace)
         FROM pg_catalog.pg_attribute a
         JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
         LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
         WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
    )
}

/// Columns: of a domain's column the type is that below it; then the collation, if it is another than the type's,
/// and where its operators are.
fn special_columns_sql(oid: u32) -> String {
    format!(
        "WITH RECURSIVE base AS (
             SELECT a.attnum, a.atttypid AS type, a.atttypmod AS modifier, a.attnotnull AS is_not_null,
                    NULL::text COLLATE \"C\" AS preset, 0 AS depth
             FROM pg_catalog.pg_attribute a WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped
             UNION ALL
             SELECT b.attnum, t.typbasetype, CASE WHEN t.typtypmod = -1 THEN b.modifier ELSE t.typtypmod END,
                    b.is_not_null OR t.typnotnull, coalesce(b.preset, t.typdefault COLLATE \"C\"), b.depth + 1
             FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.type WHERE t.typtype = 'd')
         SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), b.type, b.modifier, b.is_not_null,
                coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), b.preset), a.attidentity, a.attgenerated, t.typtype,
                t.typname, t.typnamespace = 'pg_catalog'::regnamespace,
                CASE WHEN a.attcollation <> at.typcollation
                     THEN pg_catalog.quote_ident(cn.nspname) || '.' || pg_catalog.quote_ident(co.collname) END,
                (SELECT pg_catalog.quote_ident(opn.nspname) FROM pg_catalog.pg_opclass oc
                 JOIN pg_catalog.pg_amop ao ON ao.amopfamily = oc.opcfamily AND ao.amoplefttype = oc.opcintype
                     AND ao.amoprighttype = oc.opcintype AND ao.amopstrategy = 3
                 JOIN pg_catalog.pg_operator op ON op.oid = ao.amopopr
                 JOIN pg_catalog.pg_namespace opn ON opn.oid = op.oprnamespace
                 WHERE oc.opcmethod = 403 AND oc.opcdefault AND oc.opcintype = b.type)
         FROM pg_catalog.pg_attribute a
         JOIN (SELECT DISTINCT ON (attnum) * FROM base ORDER BY attnum, depth DESC) b ON b.attnum = a.attnum
         JOIN pg_catalog.pg_type t ON t.oid = b.type
         JOIN pg_catalog.pg_type at ON at.oid = a.atttypid
         LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
         LEFT JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation
         LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace
         WHERE a.attrelid = {oid} ORDER BY a.attnum"
    )
}

/// Columns; keys; foreign keys that point here; triggers; rights and settings.
fn details_sql(oid: u32, may_have: May) -> String {
    const NOTHING: &str = "SELECT WHERE false";
    let keys = format!(
        "SELECT i.indexrelid, a.attname, o.opcdefault AND (k.coll = 0 OR k.coll = a.attcollation)
         FROM pg_catalog.pg_index i
         CROSS JOIN LATERAL unnest(i.indkey::int2[], i.indcollation::oid[], i.indclass::oid[])
              WITH ORDINALITY AS k (attnum, coll, class, place)
         JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
         JOIN pg_catalog.pg_opclass o ON o.oid = k.class
         WHERE i.indrelid = {oid} AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
           AND i.indexprs IS NULL AND k.place <= i.indnkeyatts
         ORDER BY i.indisprimary DESC, i.indexrelid, k.place"
    );
    let references = format!(
        "SELECT c.conrelid::regclass, c.confdeltype FROM pg_catalog.pg_constraint c
         WHERE c.confrelid = {oid} AND c.contype = 'f' AND c.conparentid = 0 ORDER BY 1"
    );
    let triggers = format!(
        "SELECT DISTINCT t.tgname FROM pg_catalog.pg_trigger t
         WHERE (t.tgrelid = {oid} OR t.tgrelid IN (SELECT relid FROM pg_catalog.pg_partition_tree({oid})))
           AND NOT t.tgisinternal AND (t.tgtype & 1) = 1 AND t.tgenabled <> 'D' ORDER BY 1"
    );
    let rights = format!(
        "SELECT pg_catalog.row_security_active(c.oid), has_any_column_privilege(c.oid, 'SELECT'),
                has_any_column_privilege(c.oid, 'INSERT'), has_any_column_privilege(c.oid, 'UPDATE'),
                has_table_privilege(c.oid, 'DELETE'), has_database_privilege(current_database(), 'TEMP'),
                current_setting('track_counts')::boolean, current_setting('transaction_read_only')::boolean,
                current_user, has_schema_privilege(c.relnamespace, 'USAGE'),
                EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid)
         FROM pg_catalog.pg_class c WHERE c.oid = {oid}"
    );
    let may_have_triggers = may_have.triggers || may_have.partitions;
    let if_any = |may_have: bool, sql: String| if may_have { sql } else { NOTHING.to_owned() };
    let statements = [
        columns_sql(oid),
        if_any(may_have.indexes, keys),
        if_any(may_have_triggers, references),
        if_any(may_have_triggers, triggers),
        rights,
    ];
    statements.join("; ")
}

/// A row of the first query; the type whose labels are wanted, if it is an enum.
fn column(row: &SimpleQueryRow) -> (Column, Detail, Option<u32>) {
    let type_sql = text(row, 1);
    let is_builtin = flag(row, 10);
    let mut kind = match row.get(9) {
        Some(name) if is_builtin => columns::kind(name, row.get(3).and_then(|text| text.parse().ok()).unwrap_or(-1)),
        _ => columns::kind("", -1),
    };
    let is_enum = row.get(8) == Some("e");
    let generated = row.get(7).is_some_and(|word| !word.is_empty());
    let identity = row.get(6).unwrap_or_default();
    let staged_as = match row.get(11) {
        Some(collation) => format!("{type_sql} COLLATE {collation}"),
        None => type_sql.clone(),
    };
    let column = Column {
        name: text(row, 0),
        ty: if is_enum { ColumnType::Enum(Vec::new()) } else { kind.ty.clone() },
        type_sql,
        nullable: !flag(row, 4),
        default: row.get(5).filter(|_| !generated).map(str::to_owned),
        identity: !identity.is_empty(),
        generated,
        bound: None,
    };
    if is_enum {
        kind.wire = Wire::Text;
    }
    let operators = row.get(12).unwrap_or("pg_catalog").to_owned();
    let detail = Detail { staged_as, kind, operators, is_always_identity: identity == "a" };
    (column, detail, is_enum.then(|| number(row, 2)))
}

async fn read_labels(
    session: &Session,
    described: &mut Described,
    enums: &[(usize, u32)],
) -> Result<(), WarehouseError> {
    let oids: Vec<String> = enums.iter().map(|(_, oid)| oid.to_string()).collect();
    let sql = format!(
        "SELECT enumtypid, enumlabel FROM pg_catalog.pg_enum WHERE enumtypid IN ({}) ORDER BY enumsortorder",
        oids.join(", ")
    );
    let answers = session.ask(&sql, || "reading the labels of an enum".to_owned()).await?;
    let rows = answers.first().map(|answer| answer.rows.as_slice()).unwrap_or_default();
    for (index, oid) in enums {
        let labels = rows.iter().filter(|row| number(row, 0) == *oid).map(|row| text(row, 1)).collect();
        described.table.columns[*index].ty = ColumnType::Enum(labels);
    }
    Ok(())
}

/// Unique indexes that `ON CONFLICT` can use: of plain columns that compare as they do in the table.
fn unique_keys(answer: &Answer) -> Vec<Vec<String>> {
    let mut keys: Vec<(u32, bool, Vec<String>)> = Vec::new();
    for row in &answer.rows {
        let (index, column, is_fit) = (number(row, 0), text(row, 1), flag(row, 2));
        match keys.last_mut() {
            Some((last, all_fit, columns)) if *last == index => {
                *all_fit &= is_fit;
                columns.push(column);
            }
            _ => keys.push((index, is_fit, vec![column])),
        }
    }
    keys.into_iter().filter(|(_, all_fit, _)| *all_fit).map(|(.., columns)| columns).collect()
}

/// The error for a table that is not there, with what was meant.
async fn missing(session: &Session, table: &TableName) -> Result<WarehouseError, WarehouseError> {
    let error = WarehouseError::new(Kind::Missing, format!("the table `{table}` does not exist"));
    let name = folded(&table.name);
    let schemas = match &table.schema {
        Some(schema) => format!("n.nspname = {}", literal(&folded(schema))),
        None => "n.nspname = ANY (pg_catalog.current_schemas(false))".to_owned(),
    };
    let sql = format!(
        "SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE {schemas} AND c.relkind IN ('r', 'p', 'f') ORDER BY 1;
         SELECT n.nspname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relname = {} AND c.relkind IN ('r', 'p', 'f') ORDER BY 1 LIMIT 1;
         SELECT n.nspname FROM pg_catalog.pg_namespace n ORDER BY 1",
        literal(&name)
    );
    let answers = session.ask(&sql, || format!("looking for tables like `{table}`")).await?;
    let names = |index: usize| -> Vec<String> {
        answers.get(index).map(|answer| answer.rows.iter().map(|row| text(row, 0)).collect()).unwrap_or_default()
    };
    if let Some(nearest) = sql::nearest(&name, names(0).iter().map(String::as_str)) {
        let nearest = sql::readable(nearest);
        return Ok(error.cure(format!("create it, or write `{nearest}`, which exists, in the pipeline's `table`")));
    }
    if let Some(schema) = names(1).first() {
        let elsewhere = format!("{}.{}", sql::readable(schema), sql::readable(&name));
        return Ok(error.cure(format!("write `{elsewhere}`, which exists, in the pipeline's `table`")));
    }
    if let Some(schema) = &table.schema
        && !names(2).contains(&folded(schema))
    {
        return Ok(error
            .cure(format!("create the schema `{}` and the table, or correct the pipeline's `table`", folded(schema))));
    }
    Ok(error.cure("create it (`longshore init` proposes a statement), or correct the pipeline's `table`"))
}

fn text(row: &SimpleQueryRow, index: usize) -> String {
    row.get(index).unwrap_or_default().to_owned()
}

fn number(row: &SimpleQueryRow, index: usize) -> u32 {
    row.get(index).and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn flag(row: &SimpleQueryRow, index: usize) -> bool {
    row.get(index) == Some("t")
}
