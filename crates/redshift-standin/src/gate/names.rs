//! What of Redshift's functions, system views and words is modelled.

use super::Mode;
use crate::refusal::Refusal;

/// Functions that the server behind computes as Redshift does.
const FUNCTIONS: &[&str] = &[
    "abs",
    "ceil",
    "ceiling",
    "coalesce",
    "count",
    "current_schema",
    "current_schemas",
    "date_part",
    "dense_rank",
    "first_value",
    "floor",
    "greatest",
    "has_database_privilege",
    "has_schema_privilege",
    "has_table_privilege",
    "lag",
    "last_value",
    "lead",
    "least",
    "max",
    "min",
    "mod",
    "now",
    "nullif",
    "pg_backend_pid",
    "pg_terminate_backend",
    "position",
    "rank",
    "round",
    "row_number",
    "sign",
    "sum",
    "to_char",
    "trunc",
];

/// Functions that this crate brings along, in the schema `standin`: those of texts keep blanks at the end.
const OWN: &[&str] = &[
    "btrim",
    "concat",
    "date_trunc",
    "getdate",
    "json_parse",
    "json_serialize",
    "left",
    "len",
    "length",
    "lower",
    "lpad",
    "ltrim",
    "md5",
    "octet_length",
    "quote_ident",
    "quote_literal",
    "repeat",
    "replace",
    "right",
    "rpad",
    "rtrim",
    "split_part",
    "strpos",
    "substring",
    "to_hex",
    "upper",
];

/// Functions that are another by a second name.
const ALIASES: &[(&str, &str)] =
    &[("nvl", "coalesce"), ("char_length", "standin.len"), ("character_length", "standin.len")];

/// Functions that only the leader node has: not together with a user's table.
const LEADER: &[&str] = &[
    "current_schema",
    "current_schemas",
    "has_database_privilege",
    "has_schema_privilege",
    "has_table_privilege",
    "now",
    "pg_backend_pid",
    "pg_terminate_backend",
    "pg_last_copy_id",
    "pg_last_copy_count",
    "version",
    "quote_ident",
];

/// Functions of PostgreSQL that Redshift lacks, and what it says.
const ABSENT: &[(&str, &str)] = &[
    ("nextval", "0A000"),
    ("currval", "0A000"),
    ("setval", "0A000"),
    ("gen_random_uuid", "42883"),
    ("unnest", "42883"),
    ("to_regclass", "42883"),
    ("array_agg", "42883"),
    ("string_agg", "42883"),
    ("jsonb_build_object", "42883"),
];

/// Views of the stand-in, by Redshift's names.
const VIEWS: &[&str] = &[
    "sys_load_error_detail",
    "sys_load_history",
    "sys_load_detail",
    "stl_load_errors",
    "stl_load_commits",
    "svv_columns",
    "svv_all_columns",
    "svv_table_info",
    "svv_tables",
    "svv_transactions",
    "sys_query_history",
    "pg_table_def",
    "stv_db_isolation_level",
    "svv_redshift_databases",
];

/// Catalogs of the server behind that are as Redshift's.
const CATALOGS: &[&str] = &["pg_namespace", "pg_user"];

/// Words that Redshift keeps for itself.
const RESERVED: &[&str] = &[
    "aes128",
    "aes256",
    "all",
    "allowoverwrite",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "authorization",
    "az64",
    "backup",
    "between",
    "binary",
    "blanksasnull",
    "both",
    "bytedict",
    "bzip2",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "constraint",
    "create",
    "credentials",
    "cross",
    "current_date",
    "current_time",
    "current_timestamp",
    "current_user",
    "current_user_id",
    "default",
    "deferrable",
    "deflate",
    "defrag",
    "delta",
    "delta32k",
    "desc",
    "disable",
    "distinct",
    "do",
    "else",
    "emptyasnull",
    "enable",
    "encode",
    "encrypt",
    "encryption",
    "end",
    "except",
    "explicit",
    "false",
    "for",
    "foreign",
    "freeze",
    "from",
    "full",
    "globaldict256",
    "globaldict64k",
    "grant",
    "group",
    "gzip",
    "having",
    "identity",
    "ignore",
    "ilike",
    "in",
    "initially",
    "inner",
    "intersect",
    "interval",
    "into",
    "is",
    "isnull",
    "join",
    "leading",
    "left",
    "like",
    "limit",
    "localtime",
    "localtimestamp",
    "lun",
    "luns",
    "lzo",
    "lzop",
    "minus",
    "mostly16",
    "mostly32",
    "mostly8",
    "natural",
    "new",
    "not",
    "notnull",
    "null",
    "off",
    "offline",
    "offset",
    "oid",
    "old",
    "on",
    "only",
    "open",
    "or",
    "order",
    "outer",
    "overlaps",
    "parallel",
    "partition",
    "percent",
    "permissions",
    "pivot",
    "placing",
    "primary",
    "raw",
    "readratio",
    "recover",
    "references",
    "rejectlog",
    "resort",
    "respect",
    "restore",
    "right",
    "select",
    "session_user",
    "similar",
    "snapshot",
    "some",
    "sysdate",
    "system",
    "table",
    "tag",
    "tdes",
    "text255",
    "text32k",
    "then",
    "timestamp",
    "to",
    "top",
    "trailing",
    "true",
    "truncatecolumns",
    "union",
    "unique",
    "unpivot",
    "user",
    "using",
    "verbose",
    "wallet",
    "when",
    "where",
    "with",
    "without",
];

/// How a call of a function goes on to the server behind.
pub(super) enum Call {
    /// As it is.
    Same,
    /// To this name.
    Renamed(String),
    /// The whole call, with its empty brackets, is this.
    Value(String),
}

/// Names that the server behind keeps for its own columns.
const SYSTEM_COLUMNS: &[&str] = &["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

/// Refuses names that mean a column of the system.
pub(super) fn of_columns(name: &str) -> Result<(), Refusal> {
    if SYSTEM_COLUMNS.contains(&name) {
        return Err(Refusal::not_modelled(&format!("the system column {name}")));
    }
    Ok(())
}

/// What a call of this function is.
pub(super) fn function(name: &str) -> Result<Call, Refusal> {
    match name {
        "pg_last_copy_id" => return Ok(Call::Value("standin.last_copy_id()".to_owned())),
        "pg_last_copy_count" => return Ok(Call::Value("standin.last_copy_count()".to_owned())),
        "version" => return Ok(Call::Value(format!("'{}'::text", crate::VERSION))),
        _ => {}
    }
    if let Some((_, behind)) = ALIASES.iter().find(|(alias, _)| *alias == name) {
        return Ok(Call::Renamed((*behind).to_owned()));
    }
    if FUNCTIONS.contains(&name) {
        return Ok(Call::Same);
    }
    if OWN.contains(&name) {
        return Ok(Call::Renamed(format!("standin.{name}")));
    }
    if let Some((_, sqlstate)) = ABSENT.iter().find(|(absent, _)| *absent == name) {
        return Err(Refusal::new(sqlstate, format!("function {name} does not exist")));
    }
    if name.starts_with("pg_advisory") || name.starts_with("pg_try_advisory") {
        return Err(Refusal::new("42883", format!("function {name}(integer) does not exist")));
    }
    Err(Refusal::not_modelled(&format!("the function {name}")))
}

/// The error for what the compute nodes cannot do.
pub(super) fn leader_only() -> Refusal {
    Refusal::new("0A000", "Specified types or functions (one per INFO message) not supported on Redshift tables.")
}

pub(super) fn is_leader_only(name: &str) -> bool {
    LEADER.contains(&name)
}

pub(super) fn is_reserved(word: &str) -> bool {
    RESERVED.contains(&word)
}

/// Refuses the schema of what the stand-in keeps for itself, which Redshift does not have.
pub(crate) fn of_users(schema: Option<&str>) -> Result<(), Refusal> {
    match schema {
        Some(schema @ "standin") => Err(Refusal::new("3F000", format!("schema \"{schema}\" does not exist"))),
        Some(schema) if schema.starts_with("pg_") && schema != "pg_catalog" => {
            Err(Refusal::not_modelled(&format!("the schema {schema}")))
        }
        _ => Ok(()),
    }
}

/// A relation of the system.
pub(super) struct View {
    /// Where it is behind.
    pub(super) behind: String,
    /// Whether only the leader node has it: it cannot be joined with users' tables.
    pub(super) is_leader_only: bool,
}

/// Where a relation that belongs to the system is; `None` for one of a user.
pub(super) fn system(schema: Option<&str>, name: &str, mode: Mode) -> Result<Option<View>, Refusal> {
    of_users(schema)?;
    let view = |behind: String, is_leader_only| Ok(Some(View { behind, is_leader_only }));
    if schema == Some("information_schema") {
        return match name {
            "columns" | "tables" => view(format!("standin.is_{name}"), true),
            _ => Err(Refusal::not_modelled(&format!("information_schema.{name}"))),
        };
    }
    let is_catalog = schema == Some("pg_catalog");
    if VIEWS.contains(&name) && (schema.is_none() || is_catalog) {
        if mode == Mode::Serverless && (name.starts_with("stl_") || name.starts_with("stv_")) {
            return Err(Refusal::new("42501", format!("permission denied for relation {name}")));
        }
        return view(format!("standin.{name}"), name.starts_with("svv_") || name.starts_with("pg_"));
    }
    if CATALOGS.contains(&name) && (schema.is_none() || is_catalog) {
        return view(format!("pg_catalog.{name}"), true);
    }
    let is_system = ["pg_", "stl_", "stv_", "svl_", "svv_", "sys_", "svcs_", "stcs_"];
    if is_catalog || (schema.is_none() && is_system.iter().any(|prefix| name.starts_with(prefix))) {
        return Err(Refusal::not_modelled(&format!("the system view {name}")));
    }
    Ok(None)
}
