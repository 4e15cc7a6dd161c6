//! Settings, locks, rights, upkeep.

use super::{Cursor, Plan};
use crate::refusal::Refusal;
use crate::token::{Token, Words, join};

/// Settings that a session may have.
const SETTINGS: &[&str] = &[
    "application_name",
    "client_encoding",
    "datestyle",
    "enable_case_sensitive_identifier",
    "extra_float_digits",
    "query_group",
    "search_path",
    "statement_timeout",
    "timezone",
    "wlm_query_slot_count",
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
        "analyze" => upkeep(&mut cursor, Plan::Nothing { tag: "ANALYZE", in_block: true }),
        "vacuum" => {
            for words in [&["full"][..], &["sort", "only"], &["delete", "only"], &["reindex"]] {
                if cursor.eat(words[0]) {
                    words[1..].iter().try_for_each(|word| cursor.expect(word))?;
                }
            }
            upkeep(&mut cursor, Plan::Nothing { tag: "VACUUM", in_block: false })
        }
        "grant" | "revoke" => grant(first, words),
        "discard" | "prepare" | "execute" | "deallocate" | "declare" | "fetch" | "close" | "explain" | "unload"
        | "call" | "comment" | "values" | "cancel" | "do" => Err(Refusal::not_modelled(&first.to_uppercase())),
        _ => Err(Refusal::syntax(&words.tokens[0].shown())),
    }
}

/// VACUUM and ANALYZE of one table, or of all.
fn upkeep(cursor: &mut Cursor<'_>, plan: Plan) -> Result<Plan, Refusal> {
    if cursor.peek().is_some() {
        cursor.table()?;
    }
    cursor.end().map_err(|_| Refusal::not_modelled("options of VACUUM and ANALYZE"))?;
    Ok(plan)
}

fn known(cursor: &mut Cursor<'_>) -> Result<String, Refusal> {
    let name = cursor.next().and_then(Token::name).ok_or_else(|| Refusal::syntax("SET"))?;
    if SETTINGS.contains(&name.as_str()) {
        return Ok(name);
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
    match name.as_str() {
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
        "statement_timeout" if value != "default" && value.parse::<u32>().is_err() => {
            Err(Refusal::new("22023", format!("invalid value for parameter \"statement_timeout\": \"{value}\"")))
        }
        "enable_case_sensitive_identifier" if value != "false" && value != "off" => {
            Err(Refusal::not_modelled("names whose case counts"))
        }
        "query_group" if value.len() > 30 => Err(Refusal::not_modelled("a query group of more than 30 characters")),
        "wlm_query_slot_count" if !value.parse::<u32>().is_ok_and(|count| (1..=50).contains(&count)) => {
            Err(Refusal::new("22023", format!("{value} is outside the valid range for parameter \"{name}\" (1 .. 50)")))
        }
        _ => Ok(Plan::Set(name, (value != "default").then_some(value))),
    }
}

/// Rights on tables and schemas are as in PostgreSQL.
fn grant(first: &str, words: &Words) -> Result<Plan, Refusal> {
    const WORDS: &[&str] = &[
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
        "on",
        "table",
        "schema",
        "database",
        "to",
        "from",
        "public",
        "in",
        "tables",
        "drop",
        "truncate",
    ];
    let is_to = if first == "grant" { "to" } else { "from" };
    let on = words.tokens.iter().position(|token| token.is("on")).ok_or_else(|| Refusal::not_modelled("roles"))?;
    let right = |token: &Token| token.is_symbol(',') || WORDS.iter().any(|word| token.is(word));
    if !words.tokens[1..on].iter().all(right) {
        return Err(Refusal::not_modelled("this right"));
    }
    if words.tokens[1..on].iter().any(|token| token.is("drop") || token.is("truncate")) {
        return Err(Refusal::not_modelled("the rights to drop and to truncate"));
    }
    let names = words.tokens[on..].iter().filter_map(Token::name);
    if names.into_iter().any(|name| name == "standin" || name.starts_with("pg_")) {
        return Err(Refusal::new("42501", "permission denied"));
    }
    if !words.tokens.iter().any(|token| token.is(is_to)) {
        return Err(Refusal::new("42601", "syntax error at end of input"));
    }
    Ok(Plan::Manage(join(words)))
}
