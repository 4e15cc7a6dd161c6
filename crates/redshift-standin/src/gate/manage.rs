//! Settings, locks, rights, upkeep.

use super::{Cursor, Plan, names};
use crate::refusal::Refusal;
use crate::token::{Token, Words, ident, join};

/// Settings that a session may have, and their values where none is set.
pub(crate) const SETTINGS: &[(&str, &str)] = &[
    ("application_name", ""),
    ("client_encoding", "UTF8"),
    ("datestyle", "ISO, MDY"),
    ("enable_case_sensitive_identifier", "false"),
    ("enable_result_cache_for_session", "true"),
    ("extra_float_digits", "0"),
    ("query_group", "unset"),
    ("search_path", "$user, public"),
    ("statement_timeout", "0"),
    ("timezone", "UTC"),
    ("wlm_query_slot_count", "1"),
];

/// Settings that Redshift has and the stand-in has not.
const OTHERS: &[&str] = &[
    "analyze_threshold_percent",
    "auto_analyze",
    "cast_super_null_on_error",
    "client_min_messages",
    "datashare_break_glass_session_var",
    "default_geometry_encoding",
    "default_transaction_isolation",
    "describe_field_name_in_uppercase",
    "downcase_delimited_identifier",
    "enable_numeric_rounding",
    "enable_vacuum_boost",
    "error_on_nondeterministic_update",
    "interval_forbid_composite_literals",
    "json_serialization_enable",
    "json_serialization_parse_nested_strings",
    "max_concurrency_scaling_clusters",
    "max_cursor_result_set_size",
    "mv_enable_aqmv_for_session",
    "navigate_super_null_on_error",
    "parse_super_null_on_error",
    "pg_federation_repeatable_read",
    "session_authorization",
    "spectrum_enable_pseudo_columns",
    "spectrum_query_maxerror",
    "stored_proc_log_min_messages",
    "transaction_isolation",
    "use_fips_ssl",
];

/// A statement that is neither about rows nor about tables.
pub(super) fn plan(first: &str, words: &Words) -> Result<Plan, Refusal> {
    let mut cursor = Cursor::new(&words.tokens, 1);
    match first {
        "set" => set(&mut cursor),
        "reset" => {
            let name = known(&mut cursor)?;
            cursor.end()?;
            Ok(Plan::Set(name, None))
        }
        "show" => {
            let name = known(&mut cursor)?;
            cursor.end()?;
            Ok(Plan::Show(name))
        }
        "lock" => {
            cursor.eat("table");
            let mut names = vec![cursor.table()?];
            while cursor.eat_symbol(',') {
                names.push(cursor.table()?);
            }
            cursor.end()?;
            Ok(Plan::Lock(names))
        }
        "truncate" => {
            cursor.eat("table");
            let name = cursor.table()?;
            cursor.end()?;
            Ok(Plan::Truncate(name))
        }
        "analyze" => upkeep(&mut cursor, "ANALYZE", true),
        "vacuum" => {
            for words in [&["full"][..], &["sort", "only"], &["delete", "only"], &["reindex"]] {
                if cursor.eat(words[0]) {
                    words[1..].iter().try_for_each(|word| cursor.expect(word))?;
                }
            }
            upkeep(&mut cursor, "VACUUM", false)
        }
        "grant" | "revoke" => grant(first, words),
        "discard" | "prepare" | "execute" | "deallocate" | "declare" | "fetch" | "close" | "explain" | "unload"
        | "call" | "comment" | "values" | "cancel" | "do" => Err(Refusal::not_modelled(&first.to_uppercase())),
        _ => Err(Refusal::syntax(&words.tokens[0].shown())),
    }
}

/// VACUUM and ANALYZE of one table, or of all.
fn upkeep(cursor: &mut Cursor<'_>, tag: &'static str, in_block: bool) -> Result<Plan, Refusal> {
    let table = if cursor.peek().is_some() { Some(cursor.table()?) } else { None };
    cursor.end().map_err(|_| Refusal::not_modelled("options of VACUUM and ANALYZE"))?;
    Ok(Plan::Nothing { tag, in_block, table })
}

fn known(cursor: &mut Cursor<'_>) -> Result<String, Refusal> {
    let name = cursor.next().and_then(Token::name).ok_or_else(|| Refusal::syntax("SET"))?;
    setting(&name)?;
    Ok(name)
}

/// Whether there is this setting, and here.
pub(crate) fn setting(name: &str) -> Result<(), Refusal> {
    if SETTINGS.iter().any(|(known, _)| *known == name) {
        return Ok(());
    }
    if OTHERS.contains(&name) {
        return Err(Refusal::not_modelled(&format!("the setting {name}")));
    }
    Err(Refusal::new("42704", format!("unrecognized configuration parameter \"{name}\"")))
}

fn set(cursor: &mut Cursor<'_>) -> Result<Plan, Refusal> {
    if cursor.eat("local") {
        return Err(Refusal::not_modelled("SET LOCAL"));
    }
    cursor.eat("session");
    if cursor.peek().is_some_and(|token| token.is("authorization") || token.is("transaction")) {
        return Err(Refusal::not_modelled("SET of this kind"));
    }
    let name = known(cursor)?;
    if !cursor.eat("to") {
        cursor.expect_symbol('=')?;
    }
    let mut values = Vec::new();
    loop {
        let sign = if cursor.eat_symbol('-') { "-" } else { "" };
        let value = match cursor.next() {
            Some(Token::Literal(text) | Token::Number(text)) => text.clone(),
            Some(Token::Quoted(text) | Token::Word(text)) => text.to_lowercase(),
            _ => return Err(Refusal::new("42601", "syntax error at end of input")),
        };
        values.push(format!("{sign}{value}"));
        if !cursor.eat_symbol(',') {
            break;
        }
    }
    cursor.end()?;
    let value = values.join(", ");
    if values.len() > 1 && !matches!(name.as_str(), "search_path" | "datestyle") {
        return Err(Refusal::new("22023", format!("SET {name} takes only one argument")));
    }
    value_of(&name, &value)?;
    Ok(Plan::Set(name, (value != "default").then_some(value)))
}

/// Whether a setting may have this value.
pub(crate) fn value_of(name: &str, value: &str) -> Result<(), Refusal> {
    match name {
        _ if value == "default" => Ok(()),
        "client_encoding" if !["utf8", "utf-8", "unicode"].contains(&value.to_lowercase().as_str()) => {
            Err(Refusal::not_modelled("another client encoding than UTF8"))
        }
        "enable_result_cache_for_session" if !["on", "off", "true", "false"].contains(&value) => {
            Err(Refusal::new("22023", format!("parameter \"{name}\" requires a Boolean value")))
        }
        "extra_float_digits" if !value.parse::<i32>().is_ok_and(|digits| (-15..=2).contains(&digits)) => {
            Err(Refusal::new(
                "22023",
                format!("{value} is outside the valid range for parameter \"extra_float_digits\" (-15 .. 2)"),
            ))
        }
        "search_path"
            if value.split(',').any(|name| {
                let name = name.trim().trim_matches('\'');
                name == "standin" || name.starts_with("pg_") || name == "information_schema"
            }) =>
        {
            Err(Refusal::not_modelled("a search path with schemas of the system"))
        }
        "statement_timeout" if value.parse::<u32>().is_err() => {
            Err(Refusal::new("22023", format!("invalid value for parameter \"statement_timeout\": \"{value}\"")))
        }
        "enable_case_sensitive_identifier" if value != "false" && value != "off" => {
            Err(Refusal::not_modelled("names whose case counts"))
        }
        "query_group" if value.len() > 30 => Err(Refusal::not_modelled("a query group of more than 30 characters")),
        "wlm_query_slot_count" if !value.parse::<u32>().is_ok_and(|count| (1..=50).contains(&count)) => {
            Err(Refusal::new("22023", format!("{value} is outside the valid range for parameter \"{name}\" (1 .. 50)")))
        }
        _ => Ok(()),
    }
}

/// Rights on tables and schemas are as in PostgreSQL.
fn grant(first: &str, words: &Words) -> Result<Plan, Refusal> {
    const RIGHTS: &[&str] = &[
        "select",
        "insert",
        "update",
        "delete",
        "references",
        "usage",
        "create",
        "temp",
        "temporary",
        "all",
        "privileges",
    ];
    let mut cursor = Cursor::new(&words.tokens, 1);
    while !cursor.eat("on") {
        match cursor.next() {
            Some(Token::Symbol(',')) => {}
            Some(right) if RIGHTS.iter().any(|word| right.is(word)) => {}
            Some(right) if right.is("drop") || right.is("truncate") => {
                return Err(Refusal::not_modelled("the rights to drop and to truncate"));
            }
            Some(_) => return Err(Refusal::not_modelled("this right, or roles")),
            None => return Err(Refusal::not_modelled("roles")),
        }
    }
    let mut sql = join(&Words { tokens: words.tokens[..cursor.at].to_vec(), glued: words.glued[..cursor.at].to_vec() });
    if cursor.eat("schema") {
        sql.push_str(&format!(" SCHEMA {}", places(&mut cursor)?));
    } else if cursor.eat("database") {
        sql.push_str(&format!(" DATABASE {}", places(&mut cursor)?));
    } else if cursor.eat("all") {
        ["tables", "in", "schema"].into_iter().try_for_each(|word| cursor.expect(word))?;
        sql.push_str(&format!(" ALL TABLES IN SCHEMA {}", places(&mut cursor)?));
    } else {
        cursor.eat("table");
        let mut tables = vec![of_a_user(&mut cursor)?];
        while cursor.eat_symbol(',') {
            tables.push(of_a_user(&mut cursor)?);
        }
        sql.push_str(&format!(" {}", tables.join(", ")));
    }
    let word = if first == "grant" { "to" } else { "from" };
    cursor.expect(word)?;
    if cursor.peek().is_some_and(|token| token.is("group") || token.is("role")) {
        return Err(Refusal::not_modelled("groups and roles"));
    }
    let mut users = Vec::new();
    loop {
        let user = cursor.name()?;
        users.push(if user == "public" { "PUBLIC".to_owned() } else { ident(&user) });
        if !cursor.eat_symbol(',') {
            break;
        }
    }
    cursor.end().map_err(|_| Refusal::not_modelled("words after the names of users"))?;
    Ok(Plan::Manage(format!("{sql} {} {}", word.to_uppercase(), users.join(", "))))
}

/// A table that is no system view.
fn of_a_user(cursor: &mut Cursor<'_>) -> Result<String, Refusal> {
    let table = cursor.table()?;
    match names::system(table.schema.as_deref(), &table.name, super::Mode::Provisioned)? {
        Some(_) => Err(Refusal::new("42501", format!("permission denied for relation {}", table.name))),
        None => Ok(table.sql()),
    }
}

/// Names of schemas or databases.
fn places(cursor: &mut Cursor<'_>) -> Result<String, Refusal> {
    let mut places = Vec::new();
    loop {
        let name = cursor.name()?;
        names::of_users(Some(&name))?;
        places.push(ident(&name));
        if !cursor.eat_symbol(',') {
            return Ok(places.join(", "));
        }
    }
}
