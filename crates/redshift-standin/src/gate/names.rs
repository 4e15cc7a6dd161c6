//! What of Redshift's functions, system views and words is modelled.

use super::Mode;
use crate::refusal::Refusal;

/// Functions that the server behind computes as Redshift does.
const FUNCTIONS: &[&str] = &[
    "abs",
    "avg",
    "btrim",
    "ceil",
    "ceiling",
    "char_length",
    "character_length",
    "coalesce",
    "concat",
    "count",
    "current_schema",
    "current_schemas",
    "date_part",
    "date_trunc",
    "dense_rank",
    "extract",
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
    "left",
    "lower",
    "lpad",
    "ltrim",
    "max",
    "md5",
    "min",
    "mod",
    "now",
    "nullif",
    "octet_length",
    "pg_backend_pid",
    "pg_terminate_backend",
    "position",
    "quote_ident",
    "rank",
    "repeat",
    "replace",
    "right",
    "round",
    "row_number",
    "rpad",
    "rtrim",
    "sign",
    "split_part",
    "strpos",
    "substring",
    "sum",
    "to_char",
    "trim",
    "trunc",
    "upper",
];

/// Functions that this crate brings along, in the schema `standin`.
const OWN: &[&str] = &["getdate", "len", "nvl", "json_parse", "json_serialize", "length", "quote_literal", "to_hex"];

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

/// Words that Redshift keeps for itself and PostgreSQL does not.
const RESERVED: &[&str] = &[
    "aes128",
    "aes256",
    "allowoverwrite",
    "az64",
    "backup",
    "blanksasnull",
    "bytedict",
    "bzip2",
    "credentials",
    "current_user_id",
    "deflate",
    "defrag",
    "delta",
    "delta32k",
    "disable",
    "emptyasnull",
    "enable",
    "encode",
    "encrypt",
    "encryption",
    "explicit",
    "globaldict256",
    "globaldict64k",
    "gzip",
    "identity",
    "ignore",
    "interval",
    "lun",
    "luns",
    "lzo",
    "lzop",
    "minus",
    "mostly8",
    "mostly16",
    "mostly32",
    "new",
    "off",
    "offline",
    "oid",
    "old",
    "open",
    "parallel",
    "percent",
    "permissions",
    "pivot",
    "raw",
    "readratio",
    "recover",
    "rejectlog",
    "resort",
    "respect",
    "restore",
    "snapshot",
    "system",
    "tag",
    "tdes",
    "text255",
    "text32k",
    "timestamp",
    "top",
    "truncatecolumns",
    "unpivot",
    "wallet",
    "without",
];

/// Types to which a value may be cast.
const TYPES: &[&str] = &[
    "bigint",
    "bool",
    "boolean",
    "bpchar",
    "char",
    "character",
    "date",
    "decimal",
    "double",
    "float",
    "float4",
    "float8",
    "int",
    "int2",
    "int4",
    "int8",
    "integer",
    "numeric",
    "real",
    "smallint",
    "text",
    "time",
    "timestamp",
    "timestamptz",
    "timetz",
    "varchar",
    "nvarchar",
    "super",
    "varbyte",
];

/// How a call of a function goes on to the server behind.
pub(super) enum Call {
    /// As it is.
    Same,
    /// To this name.
    Renamed(String),
    /// The whole call, with its empty brackets, is the session's number or text.
    Value(Value),
}

/// What only the session knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    LastCopyId,
    LastCopyCount,
    Version,
}

/// What a call of this function is.
pub(super) fn function(name: &str) -> Result<Call, Refusal> {
    match name {
        "pg_last_copy_id" => return Ok(Call::Value(Value::LastCopyId)),
        "pg_last_copy_count" => return Ok(Call::Value(Value::LastCopyCount)),
        "version" => return Ok(Call::Value(Value::Version)),
        _ => {}
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

pub(super) fn is_type(word: &str) -> bool {
    TYPES.contains(&word)
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

/// Where a relation that belongs to the system is; `None` for one of a user.
pub(super) fn system(schema: Option<&str>, name: &str, mode: Mode) -> Result<Option<String>, Refusal> {
    of_users(schema)?;
    if schema == Some("information_schema") {
        return match name {
            "columns" | "tables" => Ok(Some(format!("standin.is_{name}"))),
            _ => Err(Refusal::not_modelled(&format!("information_schema.{name}"))),
        };
    }
    let is_catalog = schema == Some("pg_catalog");
    if VIEWS.contains(&name) && (schema.is_none() || is_catalog) {
        if mode == Mode::Serverless && (name.starts_with("stl_") || name.starts_with("stv_")) {
            return Err(Refusal::new("42501", format!("permission denied for relation {name}")));
        }
        return Ok(Some(format!("standin.{name}")));
    }
    if CATALOGS.contains(&name) && (schema.is_none() || is_catalog) {
        return Ok(Some(format!("pg_catalog.{name}")));
    }
    let is_system = ["pg_", "stl_", "stv_", "svl_", "svv_", "sys_", "svcs_", "stcs_"];
    if is_catalog || (schema.is_none() && is_system.iter().any(|prefix| name.starts_with(prefix))) {
        return Err(Refusal::not_modelled(&format!("the system view {name}")));
    }
    Ok(None)
}
