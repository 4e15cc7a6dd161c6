//! CREATE and DROP. What Redshift keeps of a table and PostgreSQL cannot (its distribution and
//! sort keys, encodings, lengths in bytes) goes into comments on its columns, which come and go with it.

use serde_json::{Value, json};

use super::{Cursor, Ddl, Known, Name, Plan, alter, names, query};
use crate::refusal::Refusal;
use crate::token::{Token, Words, ident, literal};

const ENCODINGS: &[&str] = &[
    "az64",
    "bytedict",
    "delta",
    "delta32k",
    "lzo",
    "mostly8",
    "mostly16",
    "mostly32",
    "raw",
    "runlength",
    "text255",
    "text32k",
    "zstd",
];

/// A statement that begins with CREATE, DROP or ALTER.
pub(super) fn plan(words: &Words, known: &Known) -> Result<Plan, Refusal> {
    let mut cursor = Cursor::new(&words.tokens, 0);
    if cursor.eat("create") {
        let is_temporary = cursor.eat("temp") || cursor.eat("temporary") || cursor.eat("local");
        if is_temporary {
            cursor.eat("temp");
            cursor.eat("temporary");
        }
        if cursor.eat("table") {
            return create_table(&mut cursor, words, known, is_temporary);
        }
        if is_temporary {
            return Err(cursor.unexpected());
        }
        return create_other(&mut cursor);
    }
    if cursor.eat("drop") {
        return drop_any(&mut cursor);
    }
    cursor.expect("alter")?;
    cursor.expect("table").map_err(|_| Refusal::not_modelled("this ALTER"))?;
    alter::plan(&mut cursor, words)
}

fn create_other(cursor: &mut Cursor<'_>) -> Result<Plan, Refusal> {
    if cursor.eat("schema") {
        let is_lenient = if_not_exists(cursor)?;
        let name = cursor.name()?;
        names::of_users(Some(&name))?;
        cursor.end().map_err(|_| Refusal::not_modelled("words after the name of a schema"))?;
        let lenient = if is_lenient { "IF NOT EXISTS " } else { "" };
        return Ok(Plan::Manage(format!("CREATE SCHEMA {lenient}{}", ident(&name))));
    }
    for absent in ["index", "unique", "sequence", "trigger", "domain", "extension", "type", "rule", "aggregate"] {
        if cursor.eat(absent) {
            return Err(Refusal::unsupported(&format!("CREATE {}", absent.to_uppercase())));
        }
    }
    if cursor.eat("user") {
        let name = cursor.name()?;
        cursor.eat("with");
        cursor.expect("password")?;
        let Some(Token::Literal(password)) = cursor.next() else { return Err(cursor.unexpected()) };
        cursor.end().map_err(|_| Refusal::not_modelled("more options of a user"))?;
        return Ok(Plan::Manage(format!("SELECT standin.create_user({}, {})", literal(&name), literal(password))));
    }
    let what = cursor.peek().map(Token::shown).unwrap_or_default();
    Err(Refusal::not_modelled(&format!("CREATE {}", what.to_uppercase())))
}

fn if_not_exists(cursor: &mut Cursor<'_>) -> Result<bool, Refusal> {
    if !cursor.eat("if") {
        return Ok(false);
    }
    cursor.expect("not")?;
    cursor.expect("exists")?;
    Ok(true)
}

/// What is gathered of a table while its definition is read.
#[derive(Default)]
pub(super) struct Table {
    /// Columns and what else goes between the brackets.
    pub(super) parts: Vec<String>,
    /// Name and what Redshift keeps of it.
    columns: Vec<(String, Value)>,
    pub(super) dist_key: Option<String>,
    pub(super) sort_key: Vec<String>,
    is_interleaved: bool,
    dist_style: Option<String>,
    like: Option<Name>,
    /// Columns of the primary key, and all that keys name.
    primary: Vec<String>,
    keyed: Vec<String>,
    /// Tables that foreign keys name.
    referenced: Vec<Name>,
    has_attributes: bool,
}

/// The most columns of a sort key.
const MOST_SORTED: usize = 400;

/// The same of an interleaved one.
const MOST_INTERLEAVED: usize = 8;

impl Table {
    /// What Redshift refuses of a whole definition.
    fn check(&mut self) -> Result<(), Refusal> {
        let refuse = |text: &str| Err(Refusal::new("42601", text));
        if self.like.is_some() && (self.has_attributes || self.dist_key.is_some() || !self.sort_key.is_empty()) {
            return refuse("LIKE takes distribution and sort keys of its table, which cannot be given anew");
        }
        match (self.dist_style.as_deref(), &self.dist_key) {
            (Some("KEY"), None) => return refuse("DISTSTYLE KEY needs a DISTKEY"),
            (Some("EVEN" | "ALL" | "AUTO"), Some(_)) => return refuse("a DISTKEY goes with DISTSTYLE KEY only"),
            _ => {}
        }
        let most = if self.is_interleaved { MOST_INTERLEAVED } else { MOST_SORTED };
        if self.sort_key.len() > most {
            return Err(Refusal::new("54011", format!("a sort key has at most {most} columns")));
        }
        let is_key = |name: &String| self.dist_key.as_ref() == Some(name) || self.sort_key.contains(name);
        if self.columns.iter().any(|(name, known)| known["type"] == "super" && is_key(name)) {
            return Err(Refusal::new("0A000", "a column of type super cannot be a distribution or sort key"));
        }
        if self.like.is_some() {
            return if self.keyed.is_empty() { Ok(()) } else { Err(Refusal::not_modelled("LIKE together with keys")) };
        }
        let has = |name: &&String| !self.columns.iter().any(|(column, _)| column == *name);
        if let Some(absent) = self.keyed.iter().find(has) {
            return Err(Refusal::new("42703", format!("column \"{absent}\" named in key does not exist")));
        }
        for (nth, (name, _)) in self.columns.iter().enumerate() {
            if self.primary.contains(name) && !self.parts[nth].contains(" NOT NULL") {
                self.parts[nth].push_str(" NOT NULL");
            }
        }
        Ok(())
    }
}

fn create_table(cursor: &mut Cursor<'_>, words: &Words, known: &Known, is_temporary: bool) -> Result<Plan, Refusal> {
    let is_lenient = if_not_exists(cursor)?;
    let is_hash = matches!(words.tokens.get(cursor.at), Some(Token::Quoted(name)) if name.starts_with('#'));
    let is_temporary = is_temporary || is_hash;
    let name = cursor.table()?;
    if is_temporary && name.schema.is_some() {
        return Err(Refusal::new("42P16", "cannot create temporary relation in non-temporary schema"));
    }
    let mut table = Table::default();
    if cursor.peek().is_some_and(|token| token.is_symbol('(')) {
        columns(cursor, &mut table, known)?;
    }
    attributes(cursor, &mut table)?;
    table.check()?;
    let words_before = format!(
        "CREATE {}TABLE {}{}",
        if is_temporary { "TEMP " } else { "" },
        if is_lenient { "IF NOT EXISTS " } else { "" },
        name.sql()
    );
    let mut ddl = Ddl { creates: vec![name.clone()], is_temporary, ..Ddl::default() };
    if cursor.eat("as") {
        if !table.parts.is_empty() {
            return Err(Refusal::not_modelled("CREATE TABLE AS with names of columns"));
        }
        if is_lenient {
            return Err(Refusal::syntax("as"));
        }
        let rest = Words { tokens: words.tokens[cursor.at..].to_vec(), glued: words.glued[cursor.at..].to_vec() };
        let change = query::plan(&rest, known)?;
        if change.target.is_some() {
            return Err(cursor.unexpected());
        }
        if change.is_of_system {
            return Err(Refusal::not_modelled("rows of a system view into a table"));
        }
        ddl.sql.push(format!("{words_before} AS {}", change.sql));
        ddl.reads = change.reads;
        ddl.carries = Some((name.clone(), change.sql));
    } else {
        cursor.end()?;
        if table.parts.is_empty() {
            return Err(cursor.unexpected());
        }
        ddl.sql.push(format!("{words_before} ({})", table.parts.join(", ")));
        ddl.reads.extend(table.like.clone());
        let must = |other: &Name| format!("SELECT standin.must_exist({})", literal(&other.sql()));
        ddl.sql.extend(table.referenced.iter().map(must));
    }
    ddl.sql.push(remember(&name, &table));
    Ok(Plan::Ddl(ddl))
}

/// The statement that keeps what PostgreSQL cannot. Runs even where the table existed: then it changes
/// nothing, as it goes by what is not yet known of a column.
pub(super) fn remember(name: &Name, table: &Table) -> String {
    let columns: Vec<Value> = table.columns.iter().map(|(column, known)| json!([column, known])).collect();
    format!(
        "SELECT standin.remember({}, {}, {}, {}, {}, {})",
        literal(&name.sql()),
        literal(&Value::Array(columns).to_string()),
        table.dist_key.as_deref().map_or("NULL".to_owned(), literal),
        literal(&json!(table.sort_key).to_string()),
        table.dist_style.as_deref().map_or("NULL".to_owned(), literal),
        table.like.as_ref().map_or("NULL".to_owned(), |like| literal(&like.sql())),
    )
}

fn columns(cursor: &mut Cursor<'_>, table: &mut Table, known: &Known) -> Result<(), Refusal> {
    cursor.expect_symbol('(')?;
    loop {
        if cursor.eat("like") {
            let source = cursor.table()?;
            let mut part = format!("LIKE {} INCLUDING COMMENTS", source.sql());
            while let Some(word) = ["including", "excluding"].into_iter().find(|word| cursor.eat(word)) {
                if !cursor.eat("defaults") {
                    return Err(cursor.unexpected());
                }
                part.push_str(if word == "including" { " INCLUDING DEFAULTS" } else { " EXCLUDING DEFAULTS" });
            }
            if known.like_inherits_identity {
                part.push_str(" INCLUDING IDENTITY");
            }
            table.parts.push(part);
            table.like = Some(source);
        } else if cursor.eat("primary") {
            cursor.expect("key")?;
            table.primary = name_list(cursor)?;
            table.keyed.extend(table.primary.clone());
        } else if cursor.eat("unique") {
            table.keyed.extend(name_list(cursor)?);
        } else if cursor.eat("foreign") {
            cursor.expect("key")?;
            table.keyed.extend(name_list(cursor)?);
            cursor.expect("references")?;
            table.referenced.push(references(cursor)?);
        } else if ["check", "exclude", "constraint"].iter().any(|word| cursor.peek().is_some_and(|next| next.is(word)))
        {
            return Err(cursor.unexpected());
        } else {
            column(cursor, table)?;
        }
        if !cursor.eat_symbol(',') {
            break;
        }
    }
    cursor.expect_symbol(')')
}

pub(super) fn references(cursor: &mut Cursor<'_>) -> Result<Name, Refusal> {
    let table = cursor.table()?;
    if cursor.peek().is_some_and(|token| token.is_symbol('(')) {
        name_list(cursor)?;
    }
    Ok(table)
}

pub(super) fn name_list(cursor: &mut Cursor<'_>) -> Result<Vec<String>, Refusal> {
    cursor.expect_symbol('(')?;
    let mut names = vec![cursor.name()?];
    while cursor.eat_symbol(',') {
        names.push(cursor.name()?);
    }
    cursor.expect_symbol(')')?;
    Ok(names)
}

/// A type of Redshift for the server behind.
pub(super) struct Type {
    /// Its name there.
    behind: String,
    /// Its name in Redshift's catalog.
    pub(super) shown: String,
}

impl Type {
    fn plain(behind: &str, shown: &str) -> Self {
        Self { behind: behind.to_owned(), shown: shown.to_owned() }
    }
}

/// Columns that PostgreSQL keeps for itself, and Redshift does too.
const SYSTEM_COLUMNS: &[&str] = &["oid", "tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

pub(super) fn column(cursor: &mut Cursor<'_>, table: &mut Table) -> Result<(), Refusal> {
    let name = cursor.name()?;
    if SYSTEM_COLUMNS.contains(&name.as_str()) {
        return Err(Refusal::new("42701", format!("column name \"{name}\" conflicts with a system column name")));
    }
    if table.columns.iter().any(|(other, _)| *other == name) {
        return Err(Refusal::new("42701", format!("column \"{name}\" specified more than once")));
    }
    let ty = type_of(cursor)?;
    let mut part = format!("{} {}", ident(&name), ty.behind);
    let mut known = json!({ "type": ty.shown });
    loop {
        if cursor.eat("not") {
            cursor.expect("null")?;
            part.push_str(" NOT NULL");
        } else if cursor.eat("null") {
        } else if cursor.eat("default") {
            part.push_str(&format!(" DEFAULT {}", default(cursor)?));
        } else if cursor.eat("identity") {
            let (seed, step) = identity(cursor)?;
            part.push_str(&numbered("ALWAYS", &seed, &step));
            known["identity"] = json!([seed, step]);
        } else if cursor.eat("generated") {
            for word in ["by", "default", "as", "identity"] {
                cursor.expect(word)?;
            }
            let (seed, step) = identity(cursor)?;
            part.push_str(&numbered("BY DEFAULT", &seed, &step));
            known["default_identity"] = json!([seed, step]);
        } else if cursor.eat("encode") {
            let encoding = cursor.next().and_then(Token::name).unwrap_or_default();
            if !ENCODINGS.contains(&encoding.as_str()) && encoding != "auto" {
                return Err(Refusal::new("42601", format!("invalid encoding type \"{encoding}\"")));
            }
            known["encoding"] = json!(encoding);
        } else if cursor.eat("distkey") {
            if table.dist_key.replace(name.clone()).is_some() {
                return Err(Refusal::new("42601", "a table has one DISTKEY"));
            }
        } else if cursor.eat("sortkey") {
            if !std::mem::replace(&mut table.sort_key, vec![name.clone()]).is_empty() {
                return Err(Refusal::new("42601", "more than one SORTKEY of a column"));
            }
        } else if cursor.eat("collate") {
            return Err(Refusal::not_modelled("COLLATE"));
        } else if cursor.eat("unique") {
        } else if cursor.eat("primary") {
            cursor.expect("key")?;
            part.push_str(" NOT NULL");
        } else if cursor.eat("references") {
            table.referenced.push(references(cursor)?);
        } else {
            break;
        }
    }
    if !cursor.peek().is_some_and(|token| token.is_symbol(',') || token.is_symbol(')')) {
        return Err(cursor.unexpected());
    }
    table.parts.push(part);
    table.columns.push((name, known));
    Ok(())
}

/// Numbers with gaps, as Redshift's are.
fn numbered(when: &str, seed: &str, step: &str) -> String {
    let gap = step.parse::<i64>().unwrap_or(1).saturating_mul(3);
    let seed = seed.parse::<i64>().unwrap_or(1);
    let limit = if gap < 0 { format!("MAXVALUE {}", seed.max(-1)) } else { format!("MINVALUE {}", seed.min(1)) };
    format!(" GENERATED {when} AS IDENTITY (START WITH {seed} INCREMENT BY {gap} {limit})")
}

fn identity(cursor: &mut Cursor<'_>) -> Result<(String, String), Refusal> {
    let signed = |cursor: &mut Cursor<'_>| {
        let sign = if cursor.eat_symbol('-') { "-" } else { "" };
        cursor.number().map(|number| format!("{sign}{number}"))
    };
    cursor.expect_symbol('(')?;
    let seed = signed(cursor)?;
    cursor.expect_symbol(',')?;
    let step = signed(cursor)?;
    cursor.expect_symbol(')')?;
    Ok((seed, step))
}

/// A default: a literal, a number, NULL, a boolean or the time.
fn default(cursor: &mut Cursor<'_>) -> Result<String, Refusal> {
    let Some(token) = cursor.next() else { return Err(cursor.unexpected()) };
    let value = match token {
        Token::Literal(text) => literal(text),
        Token::Number(number) => number.clone(),
        Token::Symbol('-') => match cursor.next() {
            Some(Token::Number(number)) => format!("-{number}"),
            _ => return Err(Refusal::syntax("-")),
        },
        token if token.is("null") || token.is("true") || token.is("false") => token.shown(),
        token if token.is("sysdate") => "standin.sysdate()".to_owned(),
        token if token.is("getdate") => {
            cursor.expect_symbol('(')?;
            cursor.expect_symbol(')')?;
            "standin.getdate()".to_owned()
        }
        token if token.is("current_date") => "CURRENT_DATE".to_owned(),
        other => return Err(Refusal::not_modelled(&format!("a default that begins with {}", other.shown()))),
    };
    Ok(value)
}

pub(super) fn type_of(cursor: &mut Cursor<'_>) -> Result<Type, Refusal> {
    let word = cursor.peek().and_then(Token::name).ok_or_else(|| cursor.unexpected())?;
    cursor.at += 1;
    let size = |cursor: &mut Cursor<'_>| -> Result<Vec<u32>, Refusal> {
        let mut sizes = Vec::new();
        if cursor.eat_symbol('(') {
            loop {
                sizes.push(if cursor.eat("max") { u32::MAX } else { cursor.number()? });
                if !cursor.eat_symbol(',') {
                    break;
                }
            }
            cursor.expect_symbol(')')?;
        }
        Ok(sizes)
    };
    let text = |sizes: Vec<u32>, default: u32, greatest: u32, is_char: bool| -> Result<Type, Refusal> {
        let length = match sizes.first() {
            None => default,
            Some(&u32::MAX) => greatest,
            Some(&length) => length,
        };
        let word = if is_char { "character" } else { "character varying" };
        if length == 0 || length > greatest {
            return Err(Refusal::new("22023", format!("length for type {word} cannot exceed {greatest}")));
        }
        let behind = if is_char { format!("character({length})") } else { "bpchar".to_owned() };
        Ok(Type { behind, shown: format!("{word}({length})") })
    };
    Ok(match word.as_str() {
        "smallint" | "int2" => Type::plain("smallint", "smallint"),
        "integer" | "int" | "int4" => Type::plain("integer", "integer"),
        "bigint" | "int8" => Type::plain("bigint", "bigint"),
        "decimal" | "numeric" => {
            let sizes = size(cursor)?;
            let (precision, scale) = (sizes.first().copied().unwrap_or(18), sizes.get(1).copied().unwrap_or_default());
            if precision == 0 || precision > 38 || scale > 37 || scale > precision {
                return Err(Refusal::new("22023", format!("NUMERIC precision {precision} must be between 1 and 38")));
            }
            Type::plain(&format!("numeric({precision},{scale})"), &format!("numeric({precision},{scale})"))
        }
        "real" | "float4" => Type::plain("real", "real"),
        "float8" | "float" => Type::plain("double precision", "double precision"),
        "double" => {
            cursor.expect("precision")?;
            Type::plain("double precision", "double precision")
        }
        "boolean" | "bool" => Type::plain("boolean", "boolean"),
        "char" | "character" | "nchar" => {
            if cursor.eat("varying") {
                return text(size(cursor)?, 256, 65_535, false);
            }
            text(size(cursor)?, 1, 4_096, true)?
        }
        "bpchar" => text(Vec::new(), 256, 4_096, true)?,
        "varchar" | "nvarchar" => text(size(cursor)?, 256, 65_535, false)?,
        "text" => text(Vec::new(), 256, 65_535, false)?,
        "date" => Type::plain("date", "date"),
        "time" | "timestamp" => {
            let with = cursor.eat("with");
            let zone = with || cursor.eat("without");
            if zone {
                cursor.expect("time")?;
                cursor.expect("zone")?;
            }
            let shown = format!("{word} {} time zone", if with { "with" } else { "without" });
            Type::plain(&shown, &shown)
        }
        "timetz" => Type::plain("time with time zone", "time with time zone"),
        "timestamptz" => Type::plain("timestamp with time zone", "timestamp with time zone"),
        "super" => Type::plain("standin.super", "super"),
        "varbyte" | "varbinary" => {
            let length = size(cursor)?.first().copied().unwrap_or(64_000);
            if length == 0 || length > 16_777_216 {
                return Err(Refusal::new("22023", "length for type varbyte cannot exceed 16777216"));
            }
            Type::plain("bytea", &format!("binary varying({length})"))
        }
        "serial" | "bigserial" | "uuid" | "json" | "jsonb" | "bytea" | "money" | "inet" | "cidr" | "xml" | "bit" => {
            return Err(Refusal::unsupported(&format!("Column type \"{word}\"")));
        }
        other => return Err(Refusal::not_modelled(&format!("the type {other}"))),
    })
}

/// What stands behind the columns.
fn attributes(cursor: &mut Cursor<'_>, table: &mut Table) -> Result<(), Refusal> {
    let begun = cursor.at;
    loop {
        table.has_attributes = cursor.at > begun;
        if cursor.eat("backup") {
            if !(cursor.eat("yes") || cursor.eat("no")) {
                return Err(cursor.unexpected());
            }
        } else if cursor.eat("diststyle") {
            let style = cursor.next().and_then(Token::name).unwrap_or_default();
            if !["auto", "even", "key", "all"].contains(&style.as_str()) {
                return Err(Refusal::syntax(&style));
            }
            table.dist_style = Some(style.to_uppercase());
        } else if cursor.eat("distkey") {
            let names = name_list(cursor)?;
            let [name] = &names[..] else { return Err(Refusal::syntax(",")) };
            if table.dist_key.replace(name.clone()).is_some() {
                return Err(Refusal::new("42601", "a table has one DISTKEY"));
            }
        } else if ["compound", "interleaved", "sortkey"].iter().any(|word| cursor.peek().is_some_and(|t| t.is(word))) {
            table.is_interleaved = cursor.eat("interleaved");
            cursor.eat("compound");
            cursor.expect("sortkey")?;
            if !cursor.eat("auto") && !std::mem::replace(&mut table.sort_key, name_list(cursor)?).is_empty() {
                return Err(Refusal::new("42601", "a table has one SORTKEY"));
            }
        } else if cursor.eat("encode") {
            cursor.expect("auto")?;
        } else {
            return Ok(());
        }
    }
}

fn drop_any(cursor: &mut Cursor<'_>) -> Result<Plan, Refusal> {
    let is_table = cursor.eat("table");
    if !is_table && !cursor.eat("schema") {
        let what = cursor.peek().map(Token::shown).unwrap_or_default();
        return Err(Refusal::not_modelled(&format!("DROP {}", what.to_uppercase())));
    }
    let lenient = if cursor.eat("if") {
        cursor.expect("exists")?;
        "IF EXISTS "
    } else {
        ""
    };
    let mut drops = vec![cursor.table()?];
    while cursor.eat_symbol(',') {
        drops.push(cursor.table()?);
    }
    let cascade = if cursor.eat("cascade") { " CASCADE" } else { "" };
    cursor.eat("restrict");
    cursor.end()?;
    let list = drops.iter().map(Name::sql).collect::<Vec<_>>().join(", ");
    if !is_table {
        drops.iter().try_for_each(|name| names::of_users(Some(&name.name)))?;
        return Ok(Plan::Manage(format!("DROP SCHEMA {lenient}{list}{cascade}")));
    }
    Ok(Plan::Ddl(Ddl { sql: vec![format!("DROP TABLE {lenient}{list}{cascade}")], drops, ..Ddl::default() }))
}
